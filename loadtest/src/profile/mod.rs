//! Profiles: files in TOML that say what a run is like, for `--profile NAME|FILE`.
//!
//! A profile has a sentence on why it exists, and a `[[site]]` table for each kind of site that
//! the mail goes to (`site.rs`). Some are shipped and known by a name. Reading is the only way to
//! make one, and what is wrong with it is told with file, line and column.

pub mod site;
pub mod words;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, de::Error as _};

use self::site::{Mistake, Site};
use crate::error::Error;

/// Those that are known by a name.
const SHIPPED: [(&str, &str); 3] = [
    ("kind", include_str!("../../profiles/kind.toml")),
    ("bad-day", include_str!("../../profiles/bad-day.toml")),
    ("providers", include_str!("../../profiles/providers.toml")),
];

/// A profile that was read and makes sense.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What the internet is like; sites beyond these are ordinary and kind.
    pub sites: Vec<Site>,
}

/// The file but for its sites.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    #[serde(rename = "why", deserialize_with = "reason")]
    _why: String,
    /// What is sent; the sites do not depend on it.
    #[serde(default, rename = "mail")]
    _mail: IgnoredAny,
    #[serde(default, rename = "site")]
    _site: IgnoredAny,
}

impl Profile {
    /// A shipped one by its name, or a file by its path.
    pub fn load(name: &str) -> Result<Profile, Error> {
        if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Profile::parse(name, text).map_err(Error::Written);
        }
        let text = std::fs::read_to_string(name).map_err(|source| Error::NoProfile {
            name: name.to_owned(),
            shipped: SHIPPED.map(|(name, _)| name).join(", "),
            source,
        })?;
        Profile::parse(name, &text).map_err(Error::Written)
    }

    /// The profile, or what is wrong with it, a line each.
    pub fn parse(file: &str, text: &str) -> Result<Profile, Vec<String>> {
        let top: Result<Top, _> = toml::from_str(text);
        let (sites, mut mistakes) = match (top, site::read(text)) {
            (Ok(_), Ok(sites)) => return Ok(Profile { sites }),
            (Err(error), sites) => (sites, vec![Mistake::of(&error, 0)]),
            (Ok(_), sites) => (sites, Vec::new()),
        };
        // A file that is no TOML at all is told once.
        for mistake in sites.err().into_iter().flatten() {
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.place);
        Err(mistakes.iter().map(|mistake| print(file, text, mistake)).collect())
    }
}

/// `file:line:column: what`; columns are characters, as editors show them.
fn print(file: &str, text: &str, mistake: &Mistake) -> String {
    let before = &text[..text.floor_char_boundary(mistake.place)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) =
        (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count());
    format!("{file}:{line}:{column}: {}", mistake.what)
}

fn reason<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let why = String::deserialize(input)?;
    if why.trim().is_empty() {
        return Err(D::Error::custom("what the profile is good for, in a sentence"));
    }
    Ok(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_can_be_read_and_others_are_files() {
        for (name, _) in SHIPPED {
            Profile::load(name).unwrap();
        }
        let error = Profile::load("no-such-profile").unwrap_err().to_string();
        assert!(error.contains("one of kind, bad-day, providers"), "{error}");
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("why = \" \"\n", "p.toml:1:7: what the profile is good for"),
            ("[mail]\nany = 1\n", "p.toml:1:1: missing field `why`"),
            ("why = \"x\"\n[sites]\n", "p.toml:2:2: unknown field `sites`"),
            ("why = \"x\"\n\u{fc} = 1\n", "p.toml:2:1: "),
            ("why = \"x\"\nsite = 5\n", "p.toml:2:8: `site` is not a list of tables"),
        ] {
            let mistakes = Profile::parse("p.toml", text).unwrap_err();
            assert!(mistakes[0].starts_with(expected), "{text}: {mistakes:?}");
        }
        let site = "[[site]]\nname = \"a\"\nshare = 1001\n";
        let mistakes = Profile::parse("p.toml", &format!("why = \"\"\n{site}{site}")).unwrap_err();
        let places: Vec<&str> =
            mistakes.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["p.toml:1:7", "p.toml:4:9", "p.toml:7:9"]);
        assert_eq!(Profile::parse("p.toml", "why = \"x").unwrap_err().len(), 1);
    }
}
