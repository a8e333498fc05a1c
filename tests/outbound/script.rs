//! Outbound dialogues as text: a message, what baton must say, what the remote says, what follows.
//!
//! A file is a comment and then one or more exchanges, each in this order, each part optional:
//! ```text
//! # what this shows    RFC section
//! > from=joe@a.test                 the message; `from=` alone is the null path
//! > to=ann@b.test notify=failure,delay orcpt=rfc822;ann+40b.test
//! > body="Subject: x\r\n\r\nhi\r\n"   escapes: \r \n \t \" \\ \xNN
//! > fill=100000                     or a body of so many octets
//! > 8bit                            also: utf8, ret=full|hdrs, envid=xtext, requiretls
//! C: MAIL FROM:<joe@a.test>*        a line of baton's, exactly; a final `*` stands for anything
//! C< "raw octets"                   octets of baton's, exactly; `C< body` for the whole body
//! S: 250 ok                         a line of the remote's
//! S! tls verified                   TLS starts here: also `tls unverified`; `tls failed` when the
//!                                   handshake is broken
//! S< "250 ok\r\n250 o"              octets of the remote's
//! S! close                          also: reset; timeout mail; deaf (writes fail from here);
//!                                   pause (what follows comes after baton's next step)
//! = ann@b.test delivered recipient final 2.0.0 "some of its words"
//! = closed transient site greeting 5.0.0      also: `= stale`
//! ```
//! `> tls never` in the first exchange, also `offered` and `always`: the policy of the session,
//! `never` where there is none. `> unsplit` there: the behaviour depends on octets that arrive
//! together.
//! Several addressees are several `> to=` lines. This file only reads; who plays is another's.

use baton::message::{
    Address, Body, BodyKind, Envelope, MessageId, Notify, Origin, Protocol, Recipient, Return,
    ReversePath, SenderId,
};
use baton::smtp::address::{parse_forward_path, parse_mailbox};
use baton::smtp::client::{TlsPolicy, Trust};
use baton::time::Stamp;

#[derive(Debug)]
pub struct Dialogue {
    pub unsplit: bool,
    pub policy: TlsPolicy,
    pub exchanges: Vec<Exchange>,
}

/// At most one transaction and what is said around it.
#[derive(Debug, Default)]
pub struct Exchange {
    pub message: Option<Message>,
    pub turns: Vec<(usize, Turn)>,
    pub results: Vec<(usize, Expected)>,
}

#[derive(Debug)]
pub struct Message {
    pub envelope: Envelope,
    pub body: Body,
}

/// One line of the dialogue; the number beside it is that of the line in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Client(ClientSays),
    Server(Vec<u8>),
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSays {
    Line(String),
    LineBeginning(String),
    Octets(Vec<u8>),
    Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Close,
    Reset,
    Deaf,
    Pause,
    /// The handshake, when baton asks for it; without trust it fails.
    Tls(Option<Trust>),
    /// The remote is silent until the named wait ends.
    TimeOut(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `address verdict scope stage status`, and a part of the cause in words.
    Outcome {
        line: String,
        words: String,
    },
    Stale,
}

pub fn parse(text: &str) -> Result<Dialogue, String> {
    let mut dialogue = Dialogue { unsplit: false, policy: TlsPolicy::Never, exchanges: Vec::new() };
    let mut draft = Draft::default();
    let mut exchange = Exchange::default();
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let wrong = |what: &str| format!("line {at}: {what}: {line}");
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let starts_anew = !exchange.results.is_empty() && !matches!(mark, "=" | "" | "#");
        if starts_anew {
            dialogue.exchanges.push(std::mem::take(&mut draft).finish(exchange)?);
            exchange = Exchange::default();
        }
        match mark {
            "" | "#" => {}
            ">" if rest == "unsplit" => dialogue.unsplit = true,
            ">" if rest.starts_with("tls ") => {
                dialogue.policy = policy(rest).ok_or_else(|| wrong("unknown policy"))?;
            }
            ">" => draft.take(rest).map_err(|what| wrong(&what))?,
            "=" => exchange.results.push((at, expected(rest))),
            _ => {
                let turn = turn(mark, rest).ok_or_else(|| wrong("unknown kind of line"))?;
                exchange.turns.push((at, turn));
            }
        }
    }
    dialogue.exchanges.push(draft.finish(exchange)?);
    Ok(dialogue)
}

fn policy(words: &str) -> Option<TlsPolicy> {
    match words {
        "tls never" => Some(TlsPolicy::Never),
        "tls offered" => Some(TlsPolicy::WhenOffered),
        "tls always" => Some(TlsPolicy::Always),
        _ => None,
    }
}

fn turn(mark: &str, rest: &str) -> Option<Turn> {
    match mark {
        "C:" => Some(Turn::Client(match rest.strip_suffix('*') {
            Some(start) => ClientSays::LineBeginning(start.into()),
            None => ClientSays::Line(rest.into()),
        })),
        "C<" if rest == "body" => Some(Turn::Client(ClientSays::Body)),
        "C<" => Some(Turn::Client(ClientSays::Octets(quoted(rest)?))),
        "S:" => Some(Turn::Server(format!("{rest}\r\n").into_bytes())),
        "S<" => Some(Turn::Server(quoted(rest)?)),
        "S!" => Some(Turn::Event(match rest.split_once(' ') {
            None if rest == "close" => Event::Close,
            None if rest == "reset" => Event::Reset,
            None if rest == "deaf" => Event::Deaf,
            None if rest == "pause" => Event::Pause,
            Some(("tls", "verified")) => Event::Tls(Some(Trust::Verified)),
            Some(("tls", "unverified")) => Event::Tls(Some(Trust::Unverified)),
            Some(("tls", "failed")) => Event::Tls(None),
            Some(("timeout", wait)) => Event::TimeOut(wait.into()),
            _ => return None,
        })),
        _ => None,
    }
}

fn expected(rest: &str) -> Expected {
    if rest == "stale" {
        return Expected::Stale;
    }
    let (line, words) = rest.split_once(" \"").unwrap_or((rest, ""));
    Expected::Outcome { line: line.into(), words: words.trim_end_matches('"').into() }
}

/// Decodes `"text"` with its escapes.
fn quoted(text: &str) -> Option<Vec<u8>> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut octets = Vec::new();
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            octets.extend_from_slice(letter.to_string().as_bytes());
            continue;
        }
        octets.push(match letters.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            'x' => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok()?
            }
            same @ ('"' | '\\') => same as u8,
            _ => return None,
        });
    }
    Some(octets)
}

/// A message whose lines are not all read.
#[derive(Default)]
struct Draft {
    from: Option<String>,
    recipients: Vec<Recipient>,
    body: Option<Vec<u8>>,
    eight_bit: bool,
    utf8: bool,
    require_tls: bool,
    ret: Option<Return>,
    envid: Option<Box<str>>,
}

impl Draft {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match key {
            "from" => self.from = Some(value.into()),
            "to" => self.recipients.push(recipient(value)?),
            "body" => self.body = Some(quoted(value).ok_or("not a quoted text")?),
            "fill" => self.body = Some(filled(value.parse().map_err(|_| "not a number")?)),
            "8bit" => self.eight_bit = true,
            "utf8" => self.utf8 = true,
            "requiretls" => self.require_tls = true,
            "ret" if value == "full" => self.ret = Some(Return::Full),
            "ret" => self.ret = Some(Return::Headers),
            "envid" => self.envid = Some(value.into()),
            _ => return Err("unknown property of a message".into()),
        }
        Ok(())
    }

    fn finish(self, exchange: Exchange) -> Result<Exchange, String> {
        if self.recipients.is_empty() {
            return Ok(exchange);
        }
        let sender = match self.from.as_deref().unwrap_or("joe@a.test") {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(mailbox(text)?),
        };
        let body = self.body.unwrap_or_else(|| b"Subject: hi\r\n\r\nhello\r\n".into());
        let envelope = Envelope {
            id: MessageId::from_u64(1),
            received: Stamp::from_millis(0),
            sender,
            sender_id: SenderId::new("acme", "account", "acme"),
            recipients: self.recipients,
            body: if self.eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
            utf8: self.utf8,
            require_tls: self.require_tls,
            ret: self.ret,
            envid: self.envid,
            origin: Origin {
                peer: [127, 0, 0, 1].into(),
                helo: "client.test".into(),
                protocol: Protocol::default(),
                account: "acme".into(),
            },
            size: body.len() as u64,
        };
        let message = Some(Message { envelope, body: Body::from_message(&body) });
        Ok(Exchange { message, ..exchange })
    }
}

fn recipient(value: &str) -> Result<Recipient, String> {
    let mut words = value.split(' ');
    let written = format!("<{}>", words.next().unwrap_or(""));
    let (address, _) = parse_forward_path(written.as_bytes()).map_err(|bad| bad.to_string())?;
    let mut recipient = Recipient { address, notify: Notify::Unspecified, original: None };
    for word in words {
        match word.split_once('=') {
            Some(("notify", "never")) => recipient.notify = Notify::Never,
            Some(("notify", list)) => {
                let asks = |event: &str| list.split(',').any(|word| word == event);
                let (success, failure, delay) = (asks("success"), asks("failure"), asks("delay"));
                recipient.notify = Notify::On { success, failure, delay };
            }
            Some(("orcpt", original)) => recipient.original = Some(original.into()),
            _ => return Err(format!("unknown property of a recipient: {word}")),
        }
    }
    Ok(recipient)
}

fn mailbox(text: &str) -> Result<Address, String> {
    parse_mailbox(text.as_bytes()).map_err(|bad| bad.to_string())
}

/// A message of `octets` octets in lines of 64, without a dot at the start of one.
fn filled(octets: usize) -> Vec<u8> {
    let line = format!("{}\r\n", "abcdefgh.1234567".repeat(4).split_at(62).0);
    let mut body = format!("Subject: large\r\n\r\n{}", line.repeat(octets / line.len() + 1));
    body.truncate(octets.saturating_sub(2));
    body.push_str("\r\n");
    body.into_bytes()
}
