//! The text of a dialogue, as rules, a gate and lines to play.
//!
//! A file begins with comments (`#`: the reason, the RFC section) and settings (`>`), then lines:
//!
//! ```text
//! C: text            the client sends it and CRLF; `C x100: text` a hundred times
//! C< "a\r\n" "b"*9   the client sends these octets; escapes \r \n \0 \t \\ \" \xNN
//! S: 250-text        the server answers, line by line; `*` is anything, `.` in a code any digit
//! S: 250 *           alone, it stands for a reply of any number of lines, compared by its last
//! S! close quit      the session asks the driver to close, for this reason
//! T! secured         the session asks for TLS, and gets it
//! A? name password   the session asks to check these credentials
//! A! name            they prove this account; `A! none`: no account
//! M? from=<a@b> ..   the session hands over a message; what it must hold, see `Key`
//! M! 250 2.0.0 text  the driver's answer to it
//! X! idle            the driver ends the session, as on a deadline
//! ? command          what the session says of itself, see `Check`
//! ```
//!
//! Panics with file and line at what it does not know: a dialogue that is misread tests nothing.

use baton::event::CloseReason;
use baton::message::StatusCode;
use baton::smtp::reply::Reply;
use baton::smtp::server::{Auth, Rules};
use std::path::Path;

pub struct Dialogue {
    pub name: String,
    pub rules: Rules,
    /// Whether the session begins under TLS.
    pub tls: bool,
    /// Whether cutting the input changes what it means.
    pub whole_only: bool,
    pub gate: GateRules,
    /// With the number of each in the file.
    pub lines: Vec<(usize, Line)>,
}

/// What the relay around the session refuses or rewrites.
#[derive(Clone, Default)]
pub struct GateRules {
    pub mail: Option<Reply>,
    /// By domain.
    pub recipients: Vec<(String, Reply)>,
    /// What a bare `postmaster` becomes.
    pub postmaster: Option<String>,
}

pub enum Line {
    Client(Vec<u8>),
    Server { pattern: String, times: usize },
    Closes(CloseReason),
    Secured,
    Asks { account: Vec<u8>, password: Vec<u8> },
    Proven(Option<String>),
    Carries(Vec<(Key, Vec<u8>)>),
    Settles(Reply),
    Ends(CloseReason),
    Says(Check),
}

/// What can be asked of a message.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// `<a@b>`
    From,
    /// `<a@b>,<c@d>`
    To,
    /// The message without what we put before it.
    Body,
    /// Its length.
    Octets,
    Account,
    Helo,
    /// The word of the Received field.
    With,
    /// The whole command, printed again.
    Mail,
    /// Of the first recipient.
    Rcpt,
}

/// What can be asked of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It waits for a command, for content; it is between messages, or not; it holds no octets
    /// of a message; it has asked for its replies to be written before it goes on.
    Command,
    Content,
    Resting,
    Busy,
    Empty,
    Flushed,
}

const KEYS: &[(&str, Key)] = &[
    ("from", Key::From),
    ("to", Key::To),
    ("body", Key::Body),
    ("octets", Key::Octets),
    ("account", Key::Account),
    ("helo", Key::Helo),
    ("with", Key::With),
    ("mail", Key::Mail),
    ("rcpt", Key::Rcpt),
];

const CHECKS: &[(&str, Check)] = &[
    ("command", Check::Command),
    ("content", Check::Content),
    ("resting", Check::Resting),
    ("busy", Check::Busy),
    ("empty", Check::Empty),
    ("flushed", Check::Flushed),
];

impl Dialogue {
    pub fn parse(path: &Path, text: &str) -> Self {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let mut dialogue = Dialogue {
            name,
            rules: default_rules(),
            tls: false,
            whole_only: false,
            gate: GateRules::default(),
            lines: Vec::new(),
        };
        let reason = text.lines().find_map(|line| line.strip_prefix('#')).unwrap_or("");
        assert!(reason.contains("RFC "), "{}: the reason and its RFC are missing", dialogue.name);
        for (index, line) in text.lines().enumerate() {
            let place = format!("{}:{}", dialogue.name, index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(setting) = line.strip_prefix("> ") {
                assert!(dialogue.lines.is_empty(), "{place}: settings come first");
                dialogue.set(setting).unwrap_or_else(|| panic!("{place}: unknown: {setting}"));
                continue;
            }
            let read = read_line(line).unwrap_or_else(|| panic!("{place}: unknown: {line}"));
            dialogue.lines.push((index + 1, read));
        }
        dialogue
    }

    fn set(&mut self, setting: &str) -> Option<()> {
        let (key, value) = setting.split_once(' ')?;
        let rules = &mut self.rules;
        match key {
            "peer" => rules.peer_account = (value != "none").then(|| value.into()),
            "tls" => self.tls = value == "on",
            "starttls" => rules.starttls = value == "on",
            "auth" => {
                rules.auth = match value {
                    "off" => Auth::Off,
                    "offered" => Auth::Offered { in_clear: false },
                    "in_clear" => Auth::Offered { in_clear: true },
                    "required" => Auth::Required { in_clear: false },
                    "required in_clear" => Auth::Required { in_clear: true },
                    _ => return None,
                }
            }
            "message_bytes_max" => rules.message_bytes_max = value.parse().ok()?,
            "recipients_max" => rules.recipients_max = value.parse().ok()?,
            "errors_max" => rules.errors_max = value.parse().ok()?,
            "commands_max" => rules.commands_max = value.parse().ok()?,
            "messages_max" => rules.messages_max = value.parse().ok()?,
            "auth_failures_max" => rules.auth_failures_max = value.parse().ok()?,
            "whole" => self.whole_only = value == "only",
            "gate" => return self.gate.set(value),
            _ => return None,
        }
        Some(())
    }
}

impl GateRules {
    fn set(&mut self, rule: &str) -> Option<()> {
        let (what, rest) = rule.split_once(' ')?;
        match what {
            "mail" => self.mail = Some(reply(rest)?),
            "rcpt" => {
                let (domain, refusal) = rest.split_once(' ')?;
                self.recipients.push((domain.into(), reply(refusal)?));
            }
            "postmaster" => self.postmaster = Some(rest.into()),
            _ => return None,
        }
        Some(())
    }
}

/// Small enough that a dialogue about one of them need set only that one.
pub fn default_rules() -> Rules {
    Rules {
        hostname: "relay.test".into(),
        message_bytes_max: 10_000,
        recipients_max: 100,
        errors_max: 20,
        commands_max: 1000,
        messages_max: 100,
        auth_failures_max: 3,
        starttls: true,
        auth: Auth::Offered { in_clear: false },
        peer_account: Some("local".into()),
    }
}

fn read_line(line: &str) -> Option<Line> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match kind {
        "C:" => Line::Client(format!("{rest}\r\n").into_bytes()),
        "C" => {
            let (times, text) = repeated(rest)?;
            Line::Client(format!("{text}\r\n").repeat(times).into_bytes())
        }
        "C<" => Line::Client(octets(rest)?),
        "S:" => Line::Server { pattern: rest.into(), times: 1 },
        "S" => {
            let (times, pattern) = repeated(rest)?;
            Line::Server { pattern: pattern.into(), times }
        }
        "S!" => Line::Closes(close_reason(rest.strip_prefix("close ")?)?),
        "T!" if rest == "secured" => Line::Secured,
        "A?" => {
            let (account, password) = rest.split_once(' ')?;
            Line::Asks { account: value(account)?, password: value(password)? }
        }
        "A!" => Line::Proven((rest != "none").then(|| rest.into())),
        "M?" => Line::Carries(pairs(rest)?),
        "M!" => Line::Settles(reply(rest)?),
        "X!" => Line::Ends(close_reason(rest)?),
        "?" => Line::Says(CHECKS.iter().find(|(word, _)| *word == rest)?.1),
        _ => return None,
    })
}

/// `x100: text`
fn repeated(text: &str) -> Option<(usize, &str)> {
    let (times, text) = text.strip_prefix('x')?.split_once(": ")?;
    Some((times.parse().ok()?, text))
}

fn close_reason(word: &str) -> Option<CloseReason> {
    CloseReason::ALL.iter().copied().find(|reason| reason.as_str() == word)
}

/// `550 5.1.1 text`
fn reply(text: &str) -> Option<Reply> {
    let mut words = text.splitn(3, ' ');
    let code = words.next()?.parse().ok()?;
    let mut digits = words.next()?.split('.');
    let mut number = || digits.next()?.parse::<u16>().ok();
    let status = StatusCode::new(number()? as u8, number()?, number()?);
    Some(Reply::new(code, status, words.next().unwrap_or("").to_string()))
}

/// `key=value key="value with spaces"`
fn pairs(text: &str) -> Option<Vec<(Key, Vec<u8>)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = KEYS.iter().find(|(word, _)| *word == key)?.1;
        let end = match after.strip_prefix('"') {
            Some(_) => quoted(after)?.1,
            None => after.find(' ').unwrap_or(after.len()),
        };
        pairs.push((key, value(&after[..end])?));
        rest = after[end..].trim_start();
    }
    Some(pairs)
}

fn value(text: &str) -> Option<Vec<u8>> {
    if text.starts_with('"') { octets(text) } else { Some(text.into()) }
}

/// `"text" "text"*100`
fn octets(text: &str) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (piece, end) = quoted(rest)?;
        rest = &rest[end..];
        let mut times = 1;
        if let Some(after) = rest.strip_prefix('*') {
            let end = after.find(' ').unwrap_or(after.len());
            times = after[..end].parse().ok()?;
            rest = &after[end..];
        }
        all.extend_from_slice(&piece.repeat(times));
        rest = rest.trim_start();
    }
    Some(all)
}

/// The octets of a text in quotes at the front, and where it ends.
fn quoted(text: &str) -> Option<(Vec<u8>, usize)> {
    let mut found = Vec::new();
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        let plain = match byte {
            b'"' => return Some((found, at + 1)),
            b'\\' => match bytes.next()?.1 {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let (at, _) = bytes.next()?;
                    bytes.next()?;
                    u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?
                }
                mark @ (b'"' | b'\\') => mark,
                _ => return None,
            },
            _ => byte,
        };
        found.push(plain);
    }
    None
}
