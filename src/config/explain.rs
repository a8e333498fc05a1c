//! The text of `baton config explain`: what each knob is for, its default, range and reload rule.
//!
//! Everything shown comes from the declarations; nothing here knows a knob by name.
//! Decides only how the question is understood: a knob with its table (`limits.hops_max`), a knob
//! alone (`tls`, which shows all of that name), a table (`limits`, `[limits]`), or nothing for all.

use std::fmt::Write;

use super::knob::{Knob, Preset, Reload, Section, Shape};
use super::problem::shown;
use super::settings::SECTIONS;
use super::spelling::nearest;

/// The explanation of one knob or table, or of all.
///
/// # Errors
/// A sentence for the operator when nothing has that name.
pub fn explain(knob: Option<&str>) -> Result<String, String> {
    let Some(asked) = knob else {
        let parts: Vec<String> = SECTIONS.iter().map(|section| section_text(section)).collect();
        return Ok(parts.join("\n"));
    };
    let asked = asked.trim_matches(['[', ']']);
    if let Some(section) = SECTIONS.iter().find(|s| s.shape != Shape::Top && s.name == asked) {
        return Ok(section_text(section));
    }
    let named =
        |(section, knob): &(&Section, &Knob)| knob.key == asked || section.full_name(knob) == asked;
    let parts: Vec<String> = all_knobs().filter(named).map(|(s, k)| knob_text(s, k)).collect();
    if parts.is_empty() { Err(unknown(asked)) } else { Ok(parts.join("\n")) }
}

fn unknown(asked: &str) -> String {
    let full: Vec<String> = all_knobs().map(|(section, knob)| section.full_name(knob)).collect();
    let keys = all_knobs().map(|(_, knob)| knob.key);
    let tables = SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty());
    let names = full.iter().map(String::as_str).chain(keys).chain(tables.clone());
    let word = shown(asked);
    match nearest(asked, names) {
        Some(near) => format!("unknown knob `{word}`, did you mean `{near}`?"),
        None => {
            let tables: Vec<&str> = tables.collect();
            format!("unknown knob `{word}`; tables with knobs: {}", tables.join(", "))
        }
    }
}

fn all_knobs() -> impl Iterator<Item = (&'static Section, &'static Knob)> {
    SECTIONS.iter().flat_map(|section| section.knobs.iter().map(move |knob| (*section, knob)))
}

fn section_text(section: &Section) -> String {
    let mut text = String::new();
    if section.shape != Shape::Top {
        push(&mut text, &section.heading());
    }
    for line in section.doc {
        push(&mut text, line.trim());
    }
    for knob in section.knobs {
        text.push('\n');
        text.push_str(&knob_text(section, knob));
    }
    text
}

fn knob_text(section: &Section, knob: &Knob) -> String {
    let described = (knob.describe)();
    let mut text = String::new();
    push(&mut text, &section.full_name(knob));
    for line in knob.doc {
        push(&mut text, &format!("    {}", line.trim()));
    }
    let default = match &described.default {
        Preset::Required => "none, must be written".to_owned(),
        Preset::Value(value) => value.clone(),
        Preset::Absent(meaning) => format!("none: {meaning}"),
    };
    push(&mut text, &format!("    default  {default}"));
    push(&mut text, &format!("    because  {}", knob.because));
    push(&mut text, &format!("    allowed  {}", described.allowed));
    for (word, meaning) in &described.words {
        push(&mut text, &format!("             {word}: {meaning}"));
    }
    let reload = match knob.reload {
        Reload::Applies => "applies at once to what is new",
        Reload::Restart => "needs a restart",
    };
    push(&mut text, &format!("    reload   {reload}"));
    text
}

fn push(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn one_knob() {
        let expected = "\
limits.hops_max
    Received header fields in a message, above which it is refused as looping.
    default  30
    because  real paths have less than ten; RFC 5321 6.3 says 100, a long time to loop
    allowed  1 to 100 hops
    reload   applies at once to what is new
";
        assert_eq!(explain(Some("limits.hops_max")).as_deref(), Ok(expected));
        assert_eq!(explain(Some("hops_max")).as_deref(), Ok(expected));
    }

    #[test]
    fn words_have_meanings() {
        let text = explain(Some("durability")).expect("a knob");
        assert!(text.contains("default  \"fsync\""), "{text}");
        assert!(text.contains("os: the log is with the operating system"), "{text}");
    }

    #[test]
    fn names_and_tables() {
        let both = explain(Some("tls")).expect("two knobs");
        assert!(both.contains("listener.tls\n") && both.contains("route.tls\n"), "{both}");
        let table = explain(Some("[[peer]]")).expect("a table");
        assert!(table.starts_with("[[peer]]\n") && table.contains("peer.i_know"), "{table}");
        let rows = [
            ("hop_max", "did you mean `hops_max`?"),
            ("limit.hops_max", "did you mean `limits.hops_max`?"),
            ("", "tables with knobs: listener, peer"),
            ("quantum", "tables with knobs: listener, peer"),
        ];
        for (asked, expected) in rows {
            let says = explain(Some(asked)).expect_err(asked);
            assert!(says.contains(expected), "{asked}: {says}");
        }
    }

    #[test]
    fn every_knob_is_explained_once() {
        let text = explain(None).expect("all knobs");
        for (section, knob) in all_knobs() {
            let heading = section.full_name(knob);
            let found = text.lines().filter(|line| *line == heading).count();
            assert_eq!(found, 1, "{heading}");
            assert!(!knob.because.is_empty(), "{heading}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "a line is too long");
    }

    /// What the explanation calls the default is what an empty file gives.
    #[test]
    fn written_defaults_change_nothing() {
        let mut text = String::new();
        for section in SECTIONS {
            let required = |knob: &Knob| (knob.describe)().default == Preset::Required;
            if section.knobs.iter().any(required) {
                continue;
            }
            if section.shape != Shape::Top {
                push(&mut text, &section.heading());
            }
            for knob in section.knobs {
                if let Preset::Value(value) = (knob.describe)().default {
                    push(&mut text, &format!("{} = {value}", knob.key));
                }
            }
        }
        let parse = |text| Config::parse("defaults", text, "box").expect(text);
        assert_eq!(parse(&text), parse(""), "{text}");
    }
}
