//! Profiles: one TOML file describes a day of mail, on both sides of the relay.
//!
//! `[mail]` says what `send` sends (`mail.rs`), the `[[site]]` tables how the fake internet
//! answers (`site.rs`, `words.rs`); `why` says what the day is good for. A profile may be about one side alone. Shipped
//! ones are compiled in and go by their names; anything else is the path of a file. A file is read
//! as a whole or not at all, and all its problems are told at once. Never decides how a message or
//! an answer looks.

pub mod mail;
pub mod reading;
pub mod site;
#[cfg(test)]
mod tests;
pub mod words;

use std::fs;
use std::path::Path;

use self::mail::Mixture;
use self::reading::{Part, Problems, Table};
use self::site::{Mistake, Site};
use crate::error::Error;

/// The profile that is used when none is named.
pub const DEFAULT: &str = "small";

/// Name and text of those that are compiled in.
const SHIPPED: &[(&str, &str)] = &[
    (DEFAULT, include_str!("../../profiles/small.toml")),
    ("hosting-day", include_str!("../../profiles/hosting-day.toml")),
    ("kind", include_str!("../../profiles/kind.toml")),
    ("bad-day", include_str!("../../profiles/bad-day.toml")),
    ("providers", include_str!("../../profiles/providers.toml")),
];

/// A whole file.
#[derive(Debug)]
pub struct Profile {
    /// What a run of this profile shows.
    pub why: String,
    pub mail: Mixture,
    /// What the internet is like; sites beyond these are ordinary and kind.
    pub sites: Vec<Site>,
}

impl Profile {
    /// A shipped one by its name, or a file by its path.
    pub fn load(name: &str) -> Result<Profile, Error> {
        if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Profile::parse(name, text).map_err(Error::Written);
        }
        let path = Path::new(name);
        if !name.contains(['/', '.']) && !path.exists() {
            return Err(Error::NoProfile { name: name.to_owned(), shipped: shipped() });
        }
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        Profile::parse(name, &text).map_err(Error::Written)
    }

    /// The profile, or all that is wrong with it, one line each.
    pub fn parse(file: &str, text: &str) -> Result<Profile, Vec<String>> {
        let mut problems = Problems::new(file, text);
        let profile = Table::parse(text, &mut problems).and_then(|mut top| {
            let why = top.take("why", &mut problems);
            let mail = top.table_or("mail", "[mail]", ordinary, Mixture::read, &mut problems);
            top.pass_over("site");
            let sites = site::read(text).unwrap_or_else(|mistakes| {
                for Mistake { place, what } in mistakes {
                    problems.tell(place, what);
                }
                Vec::new()
            });
            top.end(&mut problems);
            Some(Profile { why: why?, mail: mail?, sites })
        });
        let lines = problems.into_lines();
        profile.filter(|_| lines.is_empty()).ok_or(lines)
    }
}

/// What is sent when a profile is about the receiving side alone.
fn ordinary() -> Mixture {
    Profile::load(DEFAULT).expect("what is shipped was tested").mail
}

/// What can be named, and what for.
fn shipped() -> Vec<String> {
    let profiles = SHIPPED.iter().map(|(name, text)| {
        let profile = Profile::parse(name, text).expect("what is shipped was tested");
        format!("{name}: {}", profile.why.trim().replace('\n', " "))
    });
    profiles.collect()
}

/// Text for people.
impl Part for String {
    const ALLOWED: &'static str = "a text in quotes";

    fn check(&self) -> Result<(), String> {
        if self.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
    }
}
