//! `[[site]]` of a profile: one kind of receiving site, how frequent it is, and how it behaves.
//!
//! | key | value |
//! |---|---|
//! | `name` | a word that the summary tells it by |
//! | `share` | of 1000 sites; what all leave over is ordinary and kind |
//! | `dead` | `"silent"`: takes connections and never speaks; `"reset"`: ends them at once |
//! | `refuse-sessions` | `{ share, replies }` of 1000 sessions, in place of the greeting |
//! | `sessions-max` | `{ count, replies }` at once from a client address; more are not greeted |
//! | `messages-per-session` | `{ count, replies }`: the `MAIL` after the last, and the end |
//! | `messages-per-minute` | `{ count, replies }` from a client address; 421 ends the session |
//! | `tls` | `"none"`, `"works"`, `"refused"` (454), `"fails"` (alert), `"garbage"`, `"closes"` |
//! | `withhold` | extensions that are not offered: `["CHUNKING", "PIPELINING"]` |
//! | `size-max` | bytes of a message that SIZE offers (RFC 1870); more is answered 552 |
//! | `unknown-users` | `{ share, replies }` of 1000 addresses, always the same ones |
//! | `greylist` | `{ seconds, attempts, replies }`: refused so often, and so long after the first |
//! | `reject-recipients`, `defer-recipients` | `{ share, replies }` of 1000 `RCPT`s, at random |
//! | `reject-messages`, `defer-messages` | `{ share, replies }` of 1000 final dots, at random |
//! | `slow` | `{ greeting-ms, reply-ms, final-ms, spread-percent }` |
//! | `drop` | `{ greeting, mail, data, final, taken }`: of 1000 that get there, how many are cut |
//!
//! `replies` may be left out; it is a list of texts, or of `{ text, weight }` (`words.rs`). What is
//! rejected at `RCPT` or after the message is never a notice (null sender), or nobody would learn
//! what bounced. Only says what is there; what it means at which command is decided in `sink/`.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::words::Words;
use crate::args;

const MS_MAX: u32 = 3_600_000;
const SECONDS_MAX: u32 = 7 * 86_400;

/// A refusal of whatever duration.
pub type Negative = Words<400, 599>;
pub type Deferral = Words<400, 499>;
pub type Rejection = Words<500, 599>;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Site {
    #[serde(deserialize_with = "word")]
    pub name: String,
    pub share: Permille,
    pub dead: Option<Death>,
    pub refuse_sessions: Option<Chance<Negative>>,
    pub sessions_max: Option<Limit>,
    pub messages_per_session: Option<Limit>,
    pub messages_per_minute: Option<Limit>,
    /// Absent: as the arguments of the sink say.
    pub tls: Option<Tls>,
    #[serde(default)]
    pub withhold: Vec<Extension>,
    pub size_max: Option<Count>,
    pub unknown_users: Option<Chance<Rejection>>,
    pub greylist: Option<Greylist>,
    pub reject_recipients: Option<Chance<Rejection>>,
    pub defer_recipients: Option<Chance<Deferral>>,
    pub reject_messages: Option<Chance<Rejection>>,
    pub defer_messages: Option<Chance<Deferral>>,
    #[serde(default)]
    pub slow: Slow,
    #[serde(default, rename = "drop")]
    pub drops: Drops,
}

/// Of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Permille(pub u16);

/// From 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Count(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Death {
    Silent,
    Reset,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Chance<W: Default> {
    pub share: Permille,
    #[serde(default)]
    pub replies: W,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub count: Count,
    #[serde(default)]
    pub replies: Negative,
}

/// What becomes of `STARTTLS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// It is not offered.
    None,
    Works,
    /// 454, and the session goes on in clear text.
    Refused,
    /// The handshake ends with a fatal alert.
    Fails,
    /// The handshake is answered with something else.
    Garbage,
    /// The connection ends after the 220.
    Closes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Extension {
    Chunking,
    Pipelining,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Greylist {
    #[serde(default)]
    pub seconds: Seconds,
    #[serde(default = "one")]
    pub attempts: Count,
    #[serde(default)]
    pub replies: Deferral,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Seconds(pub u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Slow {
    pub greeting_ms: Milliseconds,
    /// Before the reply to each command, except the final one.
    pub reply_ms: Milliseconds,
    pub final_ms: Milliseconds,
    /// How far a single wait may be from these, either way.
    pub spread_percent: Percent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Milliseconds(pub u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Percent(pub u8);

/// Connections that end in the middle of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drops {
    /// Of 1000 sessions, before the greeting.
    pub greeting: Permille,
    /// Of 1000 `MAIL`s, in place of the reply.
    pub mail: Permille,
    /// Of 1000 messages, somewhere in their content.
    pub data: Permille,
    /// Of 1000 messages, after all of it came; it is thrown away.
    #[serde(rename = "final")]
    pub end: Permille,
    /// The same, but the message was taken and counts (RFC 1047): trying again duplicates it.
    pub taken: Permille,
}

/// What is wrong in a profile, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: usize,
    pub what: String,
}

impl Mistake {
    /// An error that does not know its place is about all of the value at `start`.
    pub fn of(error: &toml::de::Error, start: usize) -> Mistake {
        let place = error.span().map_or(start, |span| span.start);
        Mistake { place, what: error.message().to_owned() }
    }
}

/// Reads all `[[site]]` of a profile, and nothing else of it; checks what they are together.
pub fn read(text: &str) -> Result<Vec<Site>, Vec<Mistake>> {
    let top = DeTable::parse(text).map_err(|error| vec![Mistake::of(&error, 0)])?;
    let Some(found) = top.into_inner().remove("site") else {
        return Ok(Vec::new());
    };
    let place = found.span().start;
    let DeValue::Array(items) = found.into_inner() else {
        let what = "`site` is not a list of tables: [[site]]".to_owned();
        return Err(vec![Mistake { place, what }]);
    };
    let (mut sites, mut mistakes): (Vec<Site>, Vec<Mistake>) = Default::default();
    for item in items {
        let place = item.span().start;
        match Site::deserialize(ValueDeserializer::from(item)) {
            Ok(site) => {
                mistakes.extend(misfit(&site, &sites).map(|what| Mistake { place, what }));
                sites.push(site);
            }
            Err(error) => mistakes.push(Mistake::of(&error, place)),
        }
    }
    if mistakes.is_empty() { Ok(sites) } else { Err(mistakes) }
}

/// Why a site cannot be beside those before it.
fn misfit(site: &Site, others: &[Site]) -> Option<String> {
    let name = &site.name;
    if *name == ORDINARY || others.iter().any(|other| other.name == *name) {
        return Some(format!("another site is called {name:?}"));
    }
    let shares: u32 = others.iter().chain([site]).map(|site| u32::from(site.share.0)).sum();
    (shares > 1000).then(|| format!("with {name:?} the shares add up to {shares}, beyond 1000"))
}

/// The name of sites that no `[[site]]` is for.
pub const ORDINARY: &str = "ordinary";

fn one() -> Count {
    Count(1)
}

fn word<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    args::word(&String::deserialize(input)?).map_err(D::Error::custom)
}

fn whole<T>(value: i64, least: T, most: T) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let number = T::try_from(value).ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("a whole number from {least} to {most}, not {value}"))
}

impl TryFrom<i64> for Permille {
    type Error = String;
    fn try_from(value: i64) -> Result<Permille, String> {
        whole(value, 0, 1000).map(Permille)
    }
}

impl TryFrom<i64> for Count {
    type Error = String;
    fn try_from(value: i64) -> Result<Count, String> {
        whole(value, 1, u32::MAX).map(Count)
    }
}

impl TryFrom<i64> for Seconds {
    type Error = String;
    fn try_from(value: i64) -> Result<Seconds, String> {
        whole(value, 0, SECONDS_MAX).map(Seconds)
    }
}

impl TryFrom<i64> for Milliseconds {
    type Error = String;
    fn try_from(value: i64) -> Result<Milliseconds, String> {
        whole(value, 0, MS_MAX).map(Milliseconds)
    }
}

impl TryFrom<i64> for Percent {
    type Error = String;
    fn try_from(value: i64) -> Result<Percent, String> {
        whole(value, 0, 100).map(Percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    /// The first mistake, behind its line and column.
    fn error(text: &str) -> String {
        Profile::parse("p.toml", text).expect_err(text).remove(0)
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_is_allowed() {
        let head = "why = \"x\"\n[[site]]\nname = \"a\"\nshare = 10\n";
        for (line, place, what) in [
            ("greylits = {}", "5:1", "unknown field `greylits`"),
            ("tls = \"broken\"", "5:7", "`garbage`"),
            ("withhold = [\"SIZE\"]", "5:13", "`CHUNKING`"),
            ("size-max = 0", "5:12", "a whole number from 1 to"),
            ("dead = \"yes\"", "5:8", "`silent`"),
            ("drop = { rcpt = 5 }", "5:10", "`mail`"),
            ("drop = { mail = 1001 }", "5:17", "a whole number from 0 to 1000, not 1001"),
            ("slow = { reply-ms = -1 }", "5:21", "from 0 to 3600000, not -1"),
            ("unknown-users = { replies = [] }", "5:29", "at least one"),
            ("unknown-users = { share = 5, replies = [\"450 x\"] }", "5:41", "from 500 to 599"),
            ("greylist = { replies = [\"550 x\"] }", "5:25", "from 400 to 499"),
            ("sessions-max = { count = 5, replies = [\"hi\"] }", "5:40", "a reply is a code"),
            (
                "sessions-max = { count = 5, replies = [{ text = \"421 x\", weight = 0 }] }",
                "5:40",
                "a weight is from 1",
            ),
            ("sessions-max = {}", "5:16", "missing field `count`"),
        ] {
            let error = error(&format!("{head}{line}\n"));
            assert!(error.starts_with(&format!("p.toml:{place}: ")), "{line}: {error}");
            assert!(error.contains(what), "{line}: {error}");
        }
    }

    #[test]
    fn sites_fit_together() {
        let site =
            |name: &str, share: u32| format!("[[site]]\nname = \"{name}\"\nshare = {share}\n");
        let all = |sites: [String; 2]| format!("why = \"x\"\n{}", sites.concat());
        let too_many = error(&all([site("a", 600), site("b", 401)]));
        assert_eq!(too_many, "p.toml:5:1: with \"b\" the shares add up to 1001, beyond 1000");
        for second in ["a", "ordinary"] {
            let twice = error(&all([site("a", 1), site(second, 1)]));
            assert_eq!(twice, format!("p.toml:5:1: another site is called {second:?}"));
        }
        let mine = read(&all([site("a", 600), site("b", 400)])).unwrap();
        assert_eq!((mine.len(), mine[1].share), (2, Permille(400)));
        assert_eq!(read("[mail]\nany = 1\n").unwrap(), []);
    }
}
