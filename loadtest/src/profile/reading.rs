//! A profile file as tables that remember where everything was written.
//!
//! Turns text into TOML tables, hands each value to serde on its own, and finds keys that nobody
//! asked for. So all that is wrong with a file is found in one reading, each with its place. A
//! syntax error ends the reading after the parse: what is left of a broken file would only add
//! problems that are not there. Never decides what a value may be: that is the type's `Part`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A value of a profile.
pub trait Part: for<'de> Deserialize<'de> {
    /// What may be written, for whoever wrote something else.
    const ALLOWED: &'static str;

    /// What serde cannot see, such as ranges.
    fn check(&self) -> Result<(), String>;
}

/// All that is wrong with one file.
pub struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Problems<'t> {
        Problems { file, text, found: Vec::new() }
    }

    /// `place` counts bytes from the start of the file.
    pub fn add(&mut self, place: usize, what: &str, allowed: &str) {
        self.tell(place, format!("{what}; allowed: {allowed}"));
    }

    /// A problem whose words say by themselves what is allowed.
    pub fn tell(&mut self, place: usize, what: String) {
        self.found.push((place, what));
    }

    /// `file:line:column: what is wrong; allowed: what is allowed`, in the order of the file.
    pub fn into_lines(mut self) -> Vec<String> {
        self.found.sort_by_key(|(place, _)| *place);
        let lines = self.found.iter().map(|(place, what)| {
            let (line, column) = position(self.text, *place);
            format!("{}:{line}:{column}: {what}", self.file)
        });
        lines.collect()
    }
}

/// Line and column of a byte, both from 1; columns are characters, as editors show them.
fn position(text: &str, place: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(place)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}

/// A table whose keys are taken out one by one; what is left at the `end` is unknown.
pub struct Table<'t> {
    /// As it is written: `[mail]`.
    heading: &'static str,
    entries: DeTable<'t>,
    place: usize,
    asked: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// The whole file; `None` when it is no TOML, and `problems` says why.
    pub fn parse(text: &'t str, problems: &mut Problems<'t>) -> Option<Table<'t>> {
        let (top, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // An error without a place is about what is missing at the end.
            let place = error.span().map_or(text.len(), |span| span.start);
            problems.add(place, &format!("not TOML: {}", error.message()), "TOML 1.1");
        }
        let entries = top.into_inner();
        let top = Table { heading: "the file", entries, place: 0, asked: Vec::new() };
        errors.is_empty().then_some(top)
    }

    /// The table under `key`; `absent` when nobody wrote it, `None` when it is no table.
    pub fn table_or<T>(
        &mut self,
        key: &'static str,
        heading: &'static str,
        absent: impl FnOnce() -> T,
        read: impl FnOnce(Table<'t>, &mut Problems<'_>) -> Option<T>,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        self.asked.push(key);
        let Some(found) = self.entries.remove(key) else {
            return Some(absent());
        };
        let place = found.span().start;
        match found.into_inner() {
            DeValue::Table(entries) => {
                read(Table { heading, entries, place, asked: Vec::new() }, problems)
            }
            _ => {
                problems.add(place, &format!("`{key}` is not a table"), heading);
                None
            }
        }
    }

    /// Leaves what stands under `key` to another reader.
    pub fn pass_over(&mut self, key: &'static str) {
        self.asked.push(key);
        self.entries.remove(key);
    }

    /// The value of a key that must be there.
    pub fn take<T: Part>(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<T> {
        let found = self.find(key, T::ALLOWED, problems)?;
        read(key, found, problems)
    }

    /// The value of a key, or `absent`.
    pub fn take_or<T: Part>(
        &mut self,
        key: &'static str,
        absent: T,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        self.asked.push(key);
        match self.entries.remove(key) {
            Some(found) => read(key, found, problems),
            None => Some(absent),
        }
    }

    /// A list that must be there and not be empty.
    pub fn take_list<T: Part>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<T>> {
        let found = self.find(key, T::ALLOWED, problems)?;
        let place = found.span().start;
        let items = match found.into_inner() {
            DeValue::Array(items) if !items.is_empty() => items,
            _ => {
                let what = format!("`{key}` is not a list of one or more");
                problems.add(place, &what, T::ALLOWED);
                return None;
            }
        };
        let read: Vec<Option<T>> =
            items.into_iter().map(|item| read(key, item, problems)).collect();
        read.into_iter().collect()
    }

    /// Adds a problem for each key that was not asked for.
    pub fn end(self, problems: &mut Problems<'_>) {
        let allowed = self.asked.join(", ");
        for (key, _) in self.entries.iter() {
            let what = format!("unknown key `{}` in {}", key.get_ref(), self.heading);
            problems.add(key.span().start, &what, &allowed);
        }
    }

    fn find(
        &mut self,
        key: &'static str,
        allowed: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Spanned<DeValue<'t>>> {
        self.asked.push(key);
        let found = self.entries.remove(key);
        if found.is_none() {
            let what = format!("`{key}` is missing in {}", self.heading);
            problems.add(self.place, &what, allowed);
        }
        found
    }
}

fn read<T: Part>(key: &str, found: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<T> {
    let place = found.span().start;
    let (place, what) = match T::deserialize(ValueDeserializer::from(found)) {
        Ok(value) => match value.check() {
            Ok(()) => return Some(value),
            Err(what) => (place, what),
        },
        Err(error) => (error.span().map_or(place, |span| span.start), error.message().to_owned()),
    };
    problems.add(place, &format!("`{key}`: {what}"), T::ALLOWED);
    None
}
