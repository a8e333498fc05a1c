//! A configuration file as tables with places.
//!
//! Turns text into TOML tables that remember where each key and value was written, hands them to
//! the declarations, and finds what no declaration knows: mistyped keys, keys in the wrong table,
//! tables in the wrong brackets.
//! Never decides what a value may be; that is the knob's kind.
//! Syntax errors end the reading after the parse (all of them are reported): what the parser makes
//! of the rest of a broken file would only add problems that are not there.

use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::knob::{Declared, Kind, Section, Shape};
use super::problem::{Problems, shown};
use super::settings::SECTIONS;
use super::spelling::nearest;

/// Tables of one name at most. Peers and routes are looked through one by one.
const TABLES_MAX: usize = 10_000;

/// A parsed file.
pub struct Document<'t> {
    top: DeTable<'t>,
}

impl<'t> Document<'t> {
    /// `None` when the text is no TOML; `problems` then says why.
    pub fn parse(text: &'t str, problems: &mut Problems<'_>) -> Option<Self> {
        let (top, errors) = DeTable::parse_recoverable(text);
        let mut lines = HashSet::new();
        for error in &errors {
            // An error without a place is about what is missing at the end.
            let place = error.span().map_or(text.len(), |span| span.start);
            // The first error of a line is the cause of the others.
            if lines.insert(problems.line_at(place)) {
                problems.add(place, format!("not TOML: {}", error.message()), None);
            }
        }
        errors.is_empty().then(|| Document { top: top.into_inner() })
    }

    /// The keys before the first header.
    pub fn top<S: Declared>(&self, problems: &mut Problems<'_>) -> Option<S> {
        let table = Table { section: S::SECTION, entries: Some(&self.top), header: 0 };
        table.check_keys(problems);
        S::read(&table, problems)
    }

    /// A table that is written once or not at all.
    pub fn one<S: Declared>(&self, problems: &mut Problems<'_>) -> Option<S> {
        let section = S::SECTION;
        let table = match self.top.get(section.name) {
            None => Table::absent(section),
            Some(found) => match found.get_ref() {
                DeValue::Table(entries) => Table::written(section, entries, found),
                other => {
                    add_wrong_brackets(section, found, other, problems);
                    return None;
                }
            },
        };
        table.check_keys(problems);
        S::read(&table, problems)
    }

    /// All tables of a list, without those that have problems.
    pub fn many<S: Declared>(&self, problems: &mut Problems<'_>) -> Vec<(Table<'_>, S)> {
        let section = S::SECTION;
        let Some(found) = self.top.get(section.name) else {
            return Vec::new();
        };
        let DeValue::Array(items) = found.get_ref() else {
            add_wrong_brackets(section, found, found.get_ref(), problems);
            return Vec::new();
        };
        if items.len() > TABLES_MAX {
            let what = format!("`{}` is written {} times", section.name, items.len());
            problems.add(found.span().start, what, Some(format!("up to {TABLES_MAX} times")));
            return Vec::new();
        }
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            let DeValue::Table(entries) = item.get_ref() else {
                add_wrong_brackets(section, item, item.get_ref(), problems);
                continue;
            };
            let table = Table::written(section, entries, item);
            table.check_keys(problems);
            if let Some(value) = S::read(&table, problems) {
                tables.push((table, value));
            }
        }
        tables
    }

    /// How often a table is written, those with problems included.
    pub fn count<S: Declared>(&self) -> usize {
        let found = self.top.get(S::SECTION.name).and_then(|found| found.get_ref().as_array());
        found.map_or(0, |items| items.len())
    }

    /// Adds a problem for everything that is not such a table.
    pub fn only<S: Declared>(&self, problems: &mut Problems<'_>) {
        let section = S::SECTION;
        for (key, _) in self.top.iter().filter(|(key, _)| *key.get_ref() != section.name) {
            let what = format!("unknown key `{}` in this file", shown(key.get_ref()));
            problems.add(key.span().start, what, Some(format!("{} only", section.heading())));
        }
    }

    /// Where a key of a table that is written once has its value, if it is written.
    pub fn place(&self, table: &str, key: &str) -> Option<usize> {
        let entries = self.top.get(table)?.get_ref().as_table()?;
        Some(entries.get(key)?.span().start)
    }
}

/// One table, with the declaration it must follow.
pub struct Table<'a> {
    section: &'static Section,
    /// `None` when it is not written: every key is absent.
    entries: Option<&'a DeTable<'a>>,
    header: usize,
}

impl<'a> Table<'a> {
    /// A table that is not written.
    pub fn absent(section: &'static Section) -> Self {
        Table { section, entries: None, header: 0 }
    }

    fn written(
        section: &'static Section,
        entries: &'a DeTable<'a>,
        found: &Spanned<DeValue<'_>>,
    ) -> Self {
        Table { section, entries: Some(entries), header: found.span().start }
    }

    /// Where the value of a key is written, or the header of the table.
    pub fn place(&self, key: &str) -> usize {
        self.get(key).map_or(self.header, |value| value.span().start)
    }

    /// Where the value of a key is written, if it is.
    pub fn written_at(&self, key: &str) -> Option<usize> {
        self.get(key).map(|value| value.span().start)
    }

    /// The value of a key, or `None` after adding what is wrong with it.
    pub fn read<K: Kind>(
        &self,
        key: &'static str,
        kind: &K,
        problems: &mut Problems<'_>,
    ) -> Option<K::Value> {
        let Some(found) = self.get(key) else {
            let value = kind.absent();
            if value.is_none() {
                let what = format!("`{key}` is missing in {}", self.section.heading());
                problems.add(self.header, what, Some(kind.describe().allowed));
            }
            return value;
        };
        match kind.read(found) {
            Ok(value) => Some(value),
            Err(faults) => {
                for fault in faults {
                    let what = format!("`{key}` {}", fault.says);
                    problems.add(fault.place, what, Some(kind.describe().allowed));
                }
                None
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.and_then(|entries| entries.get(key))
    }

    /// Adds a problem for every key that the declaration does not have.
    fn check_keys(&self, problems: &mut Problems<'_>) {
        let Some(entries) = self.entries else {
            return;
        };
        for (key, _) in entries.iter() {
            let name: &str = key.get_ref();
            if self.names().any(|known| known == name) {
                continue;
            }
            let word = shown(name);
            let what = match (nearest(name, self.names()), home(name)) {
                (Some(near), _) => format!("unknown key `{word}`, did you mean `{near}`?"),
                (None, Some(home)) => format!("unknown key `{word}`, it belongs {home}"),
                (None, None) => format!("unknown key `{word}`"),
            };
            let allowed: Vec<&str> = self.names().collect();
            problems.add(key.span().start, what, Some(allowed.join(", ")));
        }
    }

    /// The keys allowed here. The top also holds the other tables.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let tables: &[&Section] = match self.section.shape {
            Shape::Top => SECTIONS,
            Shape::One | Shape::Many => &[],
        };
        let below = tables.iter().filter(|table| table.shape != Shape::Top);
        let knobs = self.section.knobs.iter().map(|knob| knob.key);
        knobs.chain(below.map(|table| table.name))
    }
}

/// Where a key that is unknown here is known: a key under the wrong header is the usual slip.
fn home(key: &str) -> Option<String> {
    if SECTIONS.iter().any(|section| section.shape != Shape::Top && section.name == key) {
        return Some("at the start of a line in brackets of its own".to_owned());
    }
    let section = SECTIONS.iter().find(|s| s.knobs.iter().any(|knob| knob.key == key))?;
    Some(match section.shape {
        Shape::Top => "at the top of the file, before the first [table]".to_owned(),
        Shape::One | Shape::Many => format!("in {}", section.heading()),
    })
}

fn add_wrong_brackets(
    section: &'static Section,
    found: &Spanned<DeValue<'_>>,
    value: &DeValue<'_>,
    problems: &mut Problems<'_>,
) {
    let written = match value {
        DeValue::Table(_) => format!("written as [{}]", section.name),
        DeValue::Array(_) => "written as a list".to_owned(),
        _ => "not a table".to_owned(),
    };
    let what = format!("`{}` is {written}", section.name);
    let often = if section.shape == Shape::Many { "any number of times" } else { "once" };
    problems.add(found.span().start, what, Some(format!("{}, {often}", section.heading())));
}
