//! The kinds of values a knob can have, and the default and range of each.
//!
//! Decides how a TOML value becomes a Rust one: sizes and durations from text with units, counts
//! from whole numbers, words from closed lists, other text through a [`Form`].
//! Every number has a range; there is no kind without one.
//! A value out of range is refused, never clamped: a silent clamp is a setting that lies.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::form::Form;
use super::knob::{Description, Fault, Kind, Preset, Word};
use super::problem::shown;
use super::unit;

/// Bytes.
pub struct Size {
    pub default: u64,
    pub min: u64,
    pub max: u64,
}

impl Kind for Size {
    type Value = u64;

    fn describe(&self) -> Description {
        let (min, max) = (unit::show_size(self.min), unit::show_size(self.max));
        let default = quoted(&unit::show_size(self.default));
        plain(Preset::Value(default), format!("{min} to {max} ({})", unit::SIZE_ALLOWED))
    }

    fn absent(&self) -> Option<u64> {
        Some(self.default)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<u64, Vec<Fault>> {
        let bytes = match found.get_ref() {
            DeValue::Integer(integer) => whole(integer, found)?,
            DeValue::String(text) => {
                unit::parse_size(text).map_err(|says| refused_text(found, text, &says))?
            }
            other => return Err(wrong_type(found, other)),
        };
        in_range(bytes, self.min, self.max, unit::show_size, found)
    }
}

/// A length of time.
pub struct Period {
    pub default: Duration,
    pub min: Duration,
    pub max: Duration,
}

impl Kind for Period {
    type Value = Duration;

    fn describe(&self) -> Description {
        let default = quoted(&unit::show_period(self.default));
        plain(Preset::Value(default), spanned(self.min, self.max))
    }

    fn absent(&self) -> Option<Duration> {
        Some(self.default)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Duration, Vec<Fault>> {
        read_period(found, self.min, self.max)
    }
}

/// A whole number of things.
pub struct Count {
    /// What is counted, in the plural.
    pub of: &'static str,
    pub default: u32,
    pub min: u32,
    pub max: u32,
}

impl Kind for Count {
    type Value = u32;

    fn describe(&self) -> Description {
        let allowed = counted(self.of, self.min, self.max);
        plain(Preset::Value(self.default.to_string()), allowed)
    }

    fn absent(&self) -> Option<u32> {
        Some(self.default)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<u32, Vec<Fault>> {
        read_count(found, self.min, self.max)
    }
}

/// A whole number of things, or nothing.
pub struct MaybeCount {
    pub of: &'static str,
    /// What absence means.
    pub absent: &'static str,
    pub min: u32,
    pub max: u32,
}

impl Kind for MaybeCount {
    type Value = Option<u32>;

    fn describe(&self) -> Description {
        plain(Preset::Absent(self.absent), counted(self.of, self.min, self.max))
    }

    fn absent(&self) -> Option<Option<u32>> {
        Some(None)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Option<u32>, Vec<Fault>> {
        read_count(found, self.min, self.max).map(Some)
    }
}

/// A length of time, or nothing.
pub struct MaybePeriod {
    /// What absence means.
    pub absent: &'static str,
    pub min: Duration,
    pub max: Duration,
}

impl Kind for MaybePeriod {
    type Value = Option<Duration>;

    fn describe(&self) -> Description {
        plain(Preset::Absent(self.absent), spanned(self.min, self.max))
    }

    fn absent(&self) -> Option<Option<Duration>> {
        Some(None)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Option<Duration>, Vec<Fault>> {
        read_period(found, self.min, self.max).map(Some)
    }
}

/// Yes or no.
pub struct Switch {
    pub default: bool,
}

impl Kind for Switch {
    type Value = bool;

    fn describe(&self) -> Description {
        plain(Preset::Value(self.default.to_string()), "true or false".to_owned())
    }

    fn absent(&self) -> Option<bool> {
        Some(self.default)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<bool, Vec<Fault>> {
        match found.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(wrong_type(found, other)),
        }
    }
}

/// One word out of a few.
pub struct Choice<W: Word> {
    pub default: W,
}

impl<W: Word> Kind for Choice<W> {
    type Value = W;

    fn describe(&self) -> Description {
        let named = |value: W| W::WORDS.iter().find(|(other, ..)| *other == value);
        let default = named(self.default).map_or("", |(_, word, _)| word);
        let all: Vec<String> = W::WORDS.iter().map(|(_, word, _)| quoted(word)).collect();
        Description {
            default: Preset::Value(quoted(default)),
            allowed: all.join(", "),
            words: W::WORDS.iter().map(|(_, word, meaning)| (*word, meaning.trim())).collect(),
        }
    }

    fn absent(&self) -> Option<W> {
        Some(self.default)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<W, Vec<Fault>> {
        let text = text_of(found)?;
        match W::WORDS.iter().find(|(_, word, _)| *word == text) {
            Some((value, ..)) => Ok(*value),
            None => Err(fault(found, format!("is \"{}\"", shown(text)))),
        }
    }
}

/// Text of some form, with a default.
pub struct Text<T: 'static> {
    pub form: Form<T>,
    /// As it would be written, without the quotes.
    pub default: &'static str,
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn describe(&self) -> Description {
        plain(Preset::Value(quoted(self.default)), self.form.allowed.to_owned())
    }

    fn absent(&self) -> Option<T> {
        // A default that does not parse is a mistake in a declaration, and every start meets it.
        let value = self.form.parse(self.default);
        Some(value.unwrap_or_else(|says| panic!("default {}: {says}", self.default)))
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<T, Vec<Fault>> {
        read_text(&self.form, found)
    }
}

/// Text of some form that must be written.
pub struct Required<T: 'static> {
    pub form: Form<T>,
}

impl<T> Kind for Required<T> {
    type Value = T;

    fn describe(&self) -> Description {
        plain(Preset::Required, self.form.allowed.to_owned())
    }

    fn absent(&self) -> Option<T> {
        None
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<T, Vec<Fault>> {
        read_text(&self.form, found)
    }
}

/// Text of some form, or nothing.
pub struct Maybe<T: 'static> {
    pub form: Form<T>,
    /// What absence means.
    pub absent: &'static str,
}

impl<T> Kind for Maybe<T> {
    type Value = Option<T>;

    fn describe(&self) -> Description {
        plain(Preset::Absent(self.absent), self.form.allowed.to_owned())
    }

    fn absent(&self) -> Option<Option<T>> {
        Some(None)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Option<T>, Vec<Fault>> {
        read_text(&self.form, found).map(Some)
    }
}

/// A list of texts of one form, without repetition; absent is empty.
pub struct List<T: 'static> {
    pub form: Form<T>,
    pub items_max: usize,
    /// What an empty list means.
    pub absent: &'static str,
}

impl<T: PartialEq> Kind for List<T> {
    type Value = Vec<T>;

    fn describe(&self) -> Description {
        let allowed = format!("a list of up to {}, each {}", self.items_max, self.form.allowed);
        plain(Preset::Absent(self.absent), allowed)
    }

    fn absent(&self) -> Option<Vec<T>> {
        Some(Vec::new())
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Vec<T>, Vec<Fault>> {
        read_list(&self.form, self.items_max, found)
    }
}

/// The same, but it must be written and have an item.
pub struct RequiredList<T: 'static> {
    pub form: Form<T>,
    pub items_max: usize,
}

impl<T: PartialEq> Kind for RequiredList<T> {
    type Value = Vec<T>;

    fn describe(&self) -> Description {
        let allowed = format!("a list of 1 to {}, each {}", self.items_max, self.form.allowed);
        plain(Preset::Required, allowed)
    }

    fn absent(&self) -> Option<Vec<T>> {
        None
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Vec<T>, Vec<Fault>> {
        match found.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                Err(fault(found, "is an empty list".to_owned()))
            }
            _ => read_list(&self.form, self.items_max, found),
        }
    }
}

/// Every item, or what is wrong with each of those that are wrong.
pub(super) fn read_list<T: PartialEq>(
    form: &Form<T>,
    items_max: usize,
    found: &Spanned<DeValue<'_>>,
) -> Result<Vec<T>, Vec<Fault>> {
    let DeValue::Array(items) = found.get_ref() else {
        return Err(wrong_type(found, found.get_ref()));
    };
    if items.len() > items_max {
        return Err(fault(found, format!("has {} items", items.len())));
    }
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for item in items.iter() {
        match read_text(form, item) {
            Ok(value) if values.contains(&value) => {
                faults.extend(fault(item, "has this item twice".to_owned()));
            }
            Ok(value) => values.push(value),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// A whole number from `min` to `max`.
pub(super) fn read_count(
    found: &Spanned<DeValue<'_>>,
    min: u32,
    max: u32,
) -> Result<u32, Vec<Fault>> {
    let DeValue::Integer(integer) = found.get_ref() else {
        return Err(wrong_type(found, found.get_ref()));
    };
    let wide = whole(integer, found)?;
    let value = in_range(wide, u64::from(min), u64::from(max), |n| n.to_string(), found)?;
    // The range just passed lies inside u32; saturating says so without a panic.
    Ok(u32::try_from(value).unwrap_or(max))
}

fn read_period(
    found: &Spanned<DeValue<'_>>,
    min: Duration,
    max: Duration,
) -> Result<Duration, Vec<Fault>> {
    let text = text_of(found)?;
    let period = unit::parse_period(text).map_err(|says| refused_text(found, text, &says))?;
    in_range(period, min, max, unit::show_period, found)
}

fn spanned(min: Duration, max: Duration) -> String {
    let (min, max) = (unit::show_period(min), unit::show_period(max));
    format!("{min} to {max} ({})", unit::PERIOD_ALLOWED)
}

pub(super) fn counted(of: &str, min: u32, max: u32) -> String {
    format!("{min} to {max} {of}")
}

pub(super) fn plain(default: Preset, allowed: String) -> Description {
    Description { default, allowed, words: Vec::new() }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn wrong_type(at: &Spanned<DeValue<'_>>, value: &DeValue<'_>) -> Vec<Fault> {
    let kind = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    fault(at, format!("is {kind}, which does not fit here"))
}

fn fault(at: &Spanned<DeValue<'_>>, says: String) -> Vec<Fault> {
    vec![Fault { place: at.span().start, says }]
}

fn refused_text(at: &Spanned<DeValue<'_>>, text: &str, says: &str) -> Vec<Fault> {
    fault(at, format!("is \"{}\", which {says}", shown(text)))
}

fn text_of<'a>(found: &'a Spanned<DeValue<'_>>) -> Result<&'a str, Vec<Fault>> {
    match found.get_ref() {
        DeValue::String(text) => Ok(text),
        other => Err(wrong_type(found, other)),
    }
}

fn read_text<T>(form: &Form<T>, found: &Spanned<DeValue<'_>>) -> Result<T, Vec<Fault>> {
    form.parse(text_of(found)?).map_err(|says| fault(found, says))
}

fn whole(integer: &DeInteger<'_>, at: &Spanned<DeValue<'_>>) -> Result<u64, Vec<Fault>> {
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| fault(at, format!("is {}, out of range", shown(&integer.to_string()))))
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    show: fn(T) -> String,
    at: &Spanned<DeValue<'_>>,
) -> Result<T, Vec<Fault>> {
    if value < min {
        return Err(fault(at, format!("is {}, below {}", show(value), show(min))));
    }
    if value > max {
        return Err(fault(at, format!("is {}, above {}", show(value), show(max))));
    }
    Ok(value)
}
