//! Weights: what each finding of the filter does, as an operator reads and changes it.
//!
//! Owns the declaration of `[[weight]]`, the unit of scores ([`Points`]) and what a weight may say
//! ([`Effect`], [`Tag`]). A table names every finding once: one that is missing, unknown or written
//! twice is a problem, so that no check runs whose effect nobody stated. Never decides what a
//! message comes to; that is `filter/verdict.rs`.

use std::collections::BTreeSet;
use std::fmt;

use toml::Spanned;
use toml::de::DeValue;

use super::check::Unique;
use super::document::Document;
use super::form::Form;
use super::kind::{Required, plain, wrong_type};
use super::knob::{Description, Fault, Kind, Preset, Word, section, words};
use super::problem::{Problem, Problems};

/// The most that one finding may add or take away.
const FINDING_POINTS_MAX: Points = Points(1000);
const FINDING_NAME_BYTES_MAX: usize = 80;
const WHY_BYTES_MAX: usize = 300;

/// Hundredths of a point; more is worse. Whole numbers, so that sums are exact and the same in
/// every order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Points(i32);

impl Points {
    pub const ZERO: Points = Points(0);

    pub const fn of_hundredths(hundredths: i32) -> Points {
        Points(hundredths)
    }

    pub const fn hundredths(self) -> i32 {
        self.0
    }

    /// Stops at the ends of the range: no number of findings wraps round to the good.
    #[must_use]
    pub const fn plus(self, other: Points) -> Points {
        Points(self.0.saturating_add(other.0))
    }

    /// `2`, `2.5`, `-0.25`: at most seven digits before the point and two behind it.
    fn parse(text: &str) -> Option<Points> {
        let (negative, size) = match text.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, part) = size.split_once('.').unwrap_or((size, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || whole.len() > 7 || part.len() > 2 {
            return None;
        }
        let hundredths = format!("{whole}{part:0<2}").parse::<i32>().ok()?;
        Some(Points(if negative { -hundredths } else { hundredths }))
    }
}

/// `2.50`, `-0.30`.
impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", size / 100, size % 100)
    }
}

/// What a finding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It adds to what others say; good signs take away.
    Weighs(Points),
    /// Nothing can be said now: the message may come again.
    Defers,
    /// It is enough by itself.
    Refuses,
}

words! {
    /// The word in brackets that a refusal begins with: stable, so that a sender's software and a
    /// postmaster's filter can go by it.
    pub enum Tag {
        /// unwanted bulk mail
        Spam = "SPAM",
        /// it wants secrets under another's name
        Phish = "PHISH",
        /// it carries a program that harms
        Malware = "MALWARE",
        /// it comes from software that somebody took over, or hides who sent it
        Script = "SCRIPT",
        /// the record of its sender
        Sender = "SENDER",
        /// it goes to an address that nobody gave
        Trap = "TRAP",
        /// a domain that looks like that of a known brand
        Brand = "BRAND",
        /// a sender domain that is not there, cannot receive, or is another account's
        Domain = "DOMAIN",
    }
}

impl Tag {
    /// In the order of the declaration.
    pub fn all() -> impl DoubleEndedIterator<Item = Tag> {
        <Tag as Word>::WORDS.iter().map(|(tag, ..)| *tag)
    }
}

const TAG: Form<Tag> =
    Form::shown("SPAM, PHISH, MALWARE, SCRIPT, SENDER, TRAP, BRAND or DOMAIN", |text| {
        Tag::all().find(|tag| tag.word() == text).ok_or_else(|| "is no tag".to_owned())
    });

const FINDING: Form<String> =
    Form::shown("the name of a finding, such as \"content.form\"", |text| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let good = text.len() <= FINDING_NAME_BYTES_MAX && text.bytes().all(plain);
        let parts =
            text.split_once('.').is_some_and(|(area, name)| !area.is_empty() && !name.is_empty());
        if good && parts {
            Ok(text.to_owned())
        } else {
            Err("is not the name of a finding".to_owned())
        }
    });

const WHY: Form<String> = Form::shown("1 to 300 bytes of text", |text| {
    if text.trim().is_empty() || text.len() > WHY_BYTES_MAX {
        return Err("says nothing, or too much".to_owned());
    }
    Ok(text.to_owned())
});

section! {
    /// What one finding does to a message.
    Many "weight" pub struct Weight {
        /// Who says it, a dot, and what.
        finding: String = Required { form: FINDING },
            "a weight is of something", Applies;

        /// Points that it adds, or takes away when below zero; or that it is enough by itself.
        does: Effect = EffectKind,
            "a check whose effect nobody stated is noise", Applies;

        /// What a refusal because of it is tagged with.
        tag: Tag = Required { form: TAG },
            "a refusal says what it is about", Applies;

        /// Why it weighs that much.
        why: String = Required { form: WHY },
            "a number without its reason cannot be argued with", Applies;
    }
}

/// A number of points, or a word.
struct EffectKind;

impl Kind for EffectKind {
    type Value = Effect;

    fn describe(&self) -> Description {
        let most = FINDING_POINTS_MAX;
        let allowed = format!(
            "-{most} to {most} points with at most two digits behind the point, \"refuses\" or \
             \"defers\""
        );
        plain(Preset::Required, allowed)
    }

    fn absent(&self) -> Option<Effect> {
        None
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Effect, Vec<Fault>> {
        let wrong = |says: String| vec![Fault { place: found.span().start, says }];
        let written = match found.get_ref() {
            DeValue::String(word) => {
                return match word.as_ref() {
                    "refuses" => Ok(Effect::Refuses),
                    "defers" => Ok(Effect::Defers),
                    other => Err(wrong(format!("is \"{}\"", super::problem::shown(other)))),
                };
            }
            DeValue::Integer(integer) => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            other => return Err(wrong_type(found, other)),
        };
        let points = Points::parse(written)
            .filter(|points| points.hundredths().abs() <= FINDING_POINTS_MAX.hundredths());
        points.map(Effect::Weighs).ok_or_else(|| wrong(format!("is {written}")))
    }
}

/// Reads a file of `[[weight]]` tables and nothing else. `findings` are all that there are, as
/// `area.name`.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub fn read_weights(
    file_name: &str,
    text: &str,
    findings: &BTreeSet<String>,
) -> Result<Vec<Weight>, Vec<Problem>> {
    let mut problems = Problems::new(file_name, text);
    let mut weights = Vec::new();
    if let Some(document) = Document::parse(text, &mut problems) {
        document.only::<Weight>(&mut problems);
        let mut unique = Unique::new("finding");
        for (table, weight) in document.many::<Weight>(&mut problems) {
            unique.check(weight.finding.clone(), &weight.finding, &table, &mut problems);
            if !findings.contains(&weight.finding) {
                let what = format!("`finding` {} is none of this version", weight.finding);
                let allowed = "those that `baton scan` names, each once".to_owned();
                problems.add(table.place("finding"), what, Some(allowed));
            }
            weights.push(weight);
        }
    }
    if problems.is_empty() {
        let weighed = |name: &&String| weights.iter().any(|weight| weight.finding == **name);
        for name in findings.iter().filter(|name| !weighed(name)) {
            let allowed = "every finding of this version, each once".to_owned();
            problems.add(text.len(), format!("`{name}` has no weight"), Some(allowed));
        }
    }
    if problems.is_empty() { Ok(weights) } else { Err(problems.into_sorted()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> BTreeSet<String> {
        ["content.form", "trap.address"].map(str::to_owned).into()
    }

    fn weight(finding: &str, does: &str) -> String {
        format!("[[weight]]\nfinding = \"{finding}\"\ndoes = {does}\ntag = \"SPAM\"\nwhy = \"x\"\n")
    }

    fn problems(text: &str) -> Vec<String> {
        let found = read_weights("w.toml", text, &findings()).expect_err(text);
        found.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn points_read_as_people_write_them() {
        let told = |hundredths| Points::of_hundredths(hundredths).to_string();
        assert_eq!([told(250), told(5), told(0), told(-30)], ["2.50", "0.05", "0.00", "-0.30"]);
        assert_eq!(told(i32::MIN), "-21474836.48");
        let read = |text| Points::parse(text).map(Points::hundredths);
        let good =
            [("2", 200), ("+2.5", 250), ("-0.25", -25), ("0.05", 5), ("9999999.99", 999_999_999)];
        for (text, hundredths) in good {
            assert_eq!(read(text), Some(hundredths), "{text}");
        }
        for text in ["", "-", ".5", "5.", "1.234", "1e3", "inf", "nan", "10000000", "--1", "0x1f"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn no_sum_turns_round() {
        let most = Points::of_hundredths(i32::MAX);
        assert_eq!(most.plus(Points::of_hundredths(1)), most);
    }

    #[test]
    fn a_whole_table_is_read() {
        let text = weight("content.form", "2.25") + &weight("trap.address", "\"refuses\"");
        let weights = read_weights("w.toml", &text, &findings()).expect("it is whole");
        let does: Vec<Effect> = weights.iter().map(|weight| weight.does).collect();
        assert_eq!(does, [Effect::Weighs(Points::of_hundredths(225)), Effect::Refuses]);
    }

    #[test]
    fn each_finding_is_weighed_once() {
        let form = weight("content.form", "1");
        assert_eq!(
            problems(&form),
            ["w.toml:6:1: `trap.address` has no weight; allowed: every finding of this version, \
              each once"]
        );
        let twice = form.clone() + &form + &weight("content.foam", "1");
        let starts = [
            "w.toml:7:11: `finding` content.form is in line 2 already",
            "w.toml:12:11: `finding` content.foam is none of this version",
        ];
        let shown = problems(&twice);
        assert_eq!(shown.len(), starts.len(), "{shown:#?}");
        for (shown, start) in shown.iter().zip(starts) {
            assert!(shown.starts_with(start), "{shown}");
        }
    }

    #[test]
    fn what_it_does_is_a_number_in_range_or_a_word() {
        for does in ["10.01", "-11", "1.234", "1e1", "\"rejects\"", "true", "nan"] {
            let shown = problems(&weight("content.form", does));
            assert!(shown[0].starts_with("w.toml:3:8: `does` is "), "{shown:#?}");
            assert!(shown[0].contains("-10.00 to 10.00 points"), "{shown:#?}");
        }
        for does in ["10.00", "-10", "0", "\"defers\""] {
            let text = weight("content.form", does) + &weight("trap.address", "1");
            assert!(read_weights("w.toml", &text, &findings()).is_ok(), "{does}");
        }
    }
}
