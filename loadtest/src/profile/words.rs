//! The words of servers: replies as a profile gives them, chosen by weight and filled in.
//!
//! A reply is one text, `CODE [STATUS] words`; a line break in it makes a reply of several lines,
//! which repeats code and status on each (RFC 5321 4.2.1, RFC 2034). `{client}`, `{sender}`,
//! `{recipient}` and `{domain}` (the recipient's) stand for those of the session. Which codes fit a
//! behaviour is part of its type, so that a profile in which greylisting answers 550 is refused
//! when it is read. Never decides when a reply is due.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// A line without its code and what it stands for (RFC 5321 4.5.3.1.5: 512 with everything).
const LINE_BYTES_MAX: usize = 400;
const LINES_MAX: usize = 10;
const WEIGHT_MAX: u32 = 1_000_000;

/// Replies of a behaviour, one of which is given each time. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Replies {
    weighted: Vec<(u32, Reply)>,
    weights: u32,
}

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub code: u16,
    /// `4.7.28` and a space, or nothing.
    status: Box<str>,
    lines: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<str>),
    Client,
    Sender,
    Recipient,
    Domain,
}

/// What replies may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub client: IpAddr,
    pub sender: &'a [u8],
    pub recipient: &'a [u8],
}

impl Replies {
    /// The only reply, from a text of the program itself.
    pub fn of(text: &str) -> Replies {
        let reply = Reply::parse(text).expect("a built-in text is a reply");
        Replies { weighted: vec![(1, reply)], weights: 1 }
    }

    pub fn pick(&self, dice: &mut fastrand::Rng) -> &Reply {
        let mut throw = match self.weighted.len() {
            1 => 0,
            _ => dice.u32(..self.weights),
        };
        for (weight, reply) in &self.weighted {
            if throw < *weight {
                return reply;
            }
            throw -= weight;
        }
        unreachable!("the weights add up to their sum")
    }
}

impl Reply {
    pub fn parse(text: &str) -> Result<Reply, String> {
        let wrong = |what: &str| format!("{what}: {text:?}");
        let ascii = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
        if !text.bytes().all(ascii) {
            return Err(wrong("a reply is printable ASCII, with \\n between its lines"));
        }
        let (code, rest) = text.split_at(text.len().min(3));
        let rest = rest.strip_prefix(' ').filter(|rest| !rest.is_empty());
        let (Ok(code @ 200..600), Some(rest)) = (code.parse::<u16>(), rest) else {
            return Err(wrong("a reply is a code, a space and words, such as \"451 4.7.1 later\""));
        };
        let (status, words) = match rest.split_once(' ') {
            Some((first, words)) if is_status(first) => (format!("{first} "), words),
            _ => (String::new(), rest),
        };
        let lines: Vec<&str> = words.split('\n').collect();
        if lines.len() > LINES_MAX || lines.iter().any(|line| line.len() > LINE_BYTES_MAX) {
            let limits = format!("{LINES_MAX} lines of {LINE_BYTES_MAX} characters");
            return Err(wrong(&format!("a reply has at most {limits}")));
        }
        let lines = lines.into_iter().map(pieces).collect::<Result<_, _>>();
        Ok(Reply { code, status: status.into(), lines: lines.map_err(|what| wrong(&what))? })
    }

    /// Adds the whole reply, with the ends of its lines.
    pub fn say(&self, facts: Facts<'_>, replies: &mut Vec<u8>) {
        let last = self.lines.len() - 1;
        for (number, line) in self.lines.iter().enumerate() {
            let separator = if number == last { ' ' } else { '-' };
            let start = format!("{}{separator}{}", self.code, self.status);
            replies.extend_from_slice(start.as_bytes());
            for piece in line {
                match piece {
                    Piece::Text(text) => replies.extend_from_slice(text.as_bytes()),
                    Piece::Client => push_clean(replies, facts.client.to_string().as_bytes()),
                    Piece::Sender => push_clean(replies, facts.sender),
                    Piece::Recipient => push_clean(replies, facts.recipient),
                    Piece::Domain => push_clean(replies, domain(facts.recipient)),
                }
            }
            replies.extend_from_slice(b"\r\n");
        }
    }
}

/// What follows the last `@`.
pub fn domain(address: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', address).map_or(&[], |at| &address[at + 1..])
}

/// A client's bytes must not end the line they are in.
fn push_clean(replies: &mut Vec<u8>, bytes: &[u8]) {
    replies.extend(bytes.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
}

fn is_status(word: &str) -> bool {
    let mut parts = word.split('.');
    let mut number = || {
        parts.next().is_some_and(|it| {
            (1..=3).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    number() && number() && number() && parts.next().is_none()
}

fn pieces(line: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err("a { without its }".to_owned());
        };
        pieces.push(Piece::Text(text.into()));
        pieces.push(match name {
            "client" => Piece::Client,
            "sender" => Piece::Sender,
            "recipient" => Piece::Recipient,
            "domain" => Piece::Domain,
            _ => {
                let names = "{client}, {sender}, {recipient} or {domain}";
                return Err(format!("{{{name}}} is none of {names}"));
            }
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest.into()));
    Ok(pieces)
}

/// `replies = [...]` in a profile, whose codes are `LOW` to `HIGH`; absent, the behaviour's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words<const LOW: u16, const HIGH: u16>(Option<Replies>);

impl<const LOW: u16, const HIGH: u16> Words<LOW, HIGH> {
    pub fn given(self) -> Option<Replies> {
        self.0
    }
}

impl<'de, const LOW: u16, const HIGH: u16> Deserialize<'de> for Words<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let entries = Vec::<Entry<LOW, HIGH>>::deserialize(input)?;
        if entries.is_empty() {
            return Err(D::Error::custom("replies: at least one is needed, or leave it out"));
        }
        let weighted: Vec<_> =
            entries.into_iter().map(|entry| (entry.weight, entry.reply)).collect();
        let weights = weighted.iter().try_fold(0, |sum: u32, (weight, _)| sum.checked_add(*weight));
        let weights = weights.ok_or_else(|| D::Error::custom("the weights add up to too much"))?;
        Ok(Words(Some(Replies { weighted, weights })))
    }
}

/// A text, or a table with `text` and `weight`.
struct Entry<const LOW: u16, const HIGH: u16> {
    weight: u32,
    reply: Reply,
}

impl<'de, const LOW: u16, const HIGH: u16> Deserialize<'de> for Entry<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(EntryVisitor(PhantomData))
    }
}

struct EntryVisitor<const LOW: u16, const HIGH: u16>(PhantomData<Entry<LOW, HIGH>>);

impl<'de, const LOW: u16, const HIGH: u16> Visitor<'de> for EntryVisitor<LOW, HIGH> {
    type Value = Entry<LOW, HIGH>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a reply such as \"451 4.7.1 later\", or { weight = 2, text = \"...\" }")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let reply = Reply::parse(text).map_err(E::custom)?;
        if !(LOW..=HIGH).contains(&reply.code) {
            return Err(E::custom(format!("the code must be from {LOW} to {HIGH}: {text:?}")));
        }
        Ok(Entry { weight: 1, reply })
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            text: String,
            weight: u32,
        }
        let Table { text, weight } = Table::deserialize(MapAccessDeserializer::new(map))?;
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(M::Error::custom(format!("a weight is from 1 to {WEIGHT_MAX}")));
        }
        Ok(Entry { weight, ..self.visit_str(&text)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'static> = Facts {
        client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        sender: b"a@x.test",
        recipient: b"b\r\n@y.test",
    };

    fn said(text: &str) -> String {
        let mut replies = Vec::new();
        Reply::parse(text).unwrap().say(FACTS, &mut replies);
        String::from_utf8(replies).unwrap()
    }

    #[test]
    fn replies_are_filled_in_and_keep_their_lines() {
        for (text, expected) in [
            ("451 later", "451 later\r\n"),
            ("421 4.7.28 no {client}", "421 4.7.28 no 127.0.0.1\r\n"),
            ("550 1.2 <{recipient}>: {sender}", "550 1.2 <b??@y.test>: a@x.test\r\n"),
            ("550 5.1.1 one\ntwo {domain}.", "550-5.1.1 one\r\n550 5.1.1 two y.test.\r\n"),
        ] {
            assert_eq!(said(text), expected);
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_with_a_reason() {
        let long = format!("550 {}", "x".repeat(LINE_BYTES_MAX + 1));
        for (text, reason) in [
            ("", "a reply is a code"),
            ("45", "a reply is a code"),
            ("451", "a reply is a code"),
            ("451 ", "a reply is a code"),
            ("4511 x", "a reply is a code"),
            ("999 x", "a reply is a code"),
            ("451 gr\u{fc}n", "printable ASCII"),
            ("451 a\r\nb", "printable ASCII"),
            ("451 {who}", "{who} is none of"),
            ("451 {client", "a { without its }"),
            (&long, "at most"),
        ] {
            let error = Reply::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn weights_are_kept() {
        let parse = |weight| (weight, Reply::parse(&format!("451 {weight}")).unwrap());
        let replies = Replies { weighted: vec![parse(1), parse(3)], weights: 4 };
        let mut dice = fastrand::Rng::with_seed(7);
        let heavy = (0..4000).filter(|_| *replies.pick(&mut dice) == replies.weighted[1].1).count();
        assert!((2800..3200).contains(&heavy), "{heavy}");
    }
}
