//! Profiles: files in TOML that say what a run is like, for `--profile NAME|FILE`.
//!
//! A profile has a sentence on why it exists, and a `[[site]]` table for each kind of site that
//! the mail goes to (`site.rs`). Some are shipped and known by a name. Reading is the only way to
//! make one, and all that can be wrong is found here, with file, line and column.

pub mod site;
pub mod words;

use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use self::site::Site;
use crate::error::Error;

/// Those that are known by a name.
const SHIPPED: [(&str, &str); 3] = [
    ("kind", include_str!("../../profiles/kind.toml")),
    ("bad-day", include_str!("../../profiles/bad-day.toml")),
    ("providers", include_str!("../../profiles/providers.toml")),
];

/// A profile that was read and makes sense.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is good for, in a sentence or two.
    #[serde(deserialize_with = "reason")]
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for whoever reads the file"))]
    pub why: String,
    /// What is sent; the sites do not depend on it.
    #[serde(default, rename = "mail")]
    _mail: Option<toml::Table>,
    /// What the internet is like; sites beyond these are ordinary and kind.
    #[serde(default, rename = "site", deserialize_with = "site::all")]
    pub sites: Vec<Site>,
}

impl Profile {
    /// The shipped profile of that name, else that file.
    pub fn open(name: &str) -> Result<Profile, Error> {
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Profile::parse(Path::new(name), text);
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|source| Error::ProfileFile {
            path: path.to_owned(),
            shipped: SHIPPED.map(|(name, _)| name).join(", "),
            source,
        })?;
        Profile::parse(path, &text)
    }

    pub fn parse(path: &Path, text: &str) -> Result<Profile, Error> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            Error::Profile {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                what: error.message().to_owned(),
            }
        })
    }
}

fn reason<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let why = String::deserialize(input)?;
    if why.trim().is_empty() {
        return Err(D::Error::custom("what the profile is good for, in a sentence"));
    }
    Ok(why)
}
