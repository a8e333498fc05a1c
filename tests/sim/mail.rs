//! Messages of the simulated senders, and how to tell them apart wherever they turn up.
//!
//! Every *submission* has a token of its own, `serial.try`, in a header field: when a message is
//! sent a second time because the reply was lost, the oracle must know which of the two arrived. A
//! notice is named by its Message-ID; the token in the header it returns says what it is about.

use super::random::Random;
use std::fmt;

/// What a sender wants delivered.
#[derive(Clone, Debug)]
pub struct Mail {
    pub serial: u32,
    /// `None` is the null path.
    pub sender: Option<String>,
    pub recipients: Vec<String>,
    pub eight_bit: bool,
    pub notify: Notify,
    text: Vec<u8>,
}

/// What the sender wants to hear of (RFC 3461 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Without the parameter: of failure.
    Usual,
    Never,
    AlsoSuccess,
}

impl Notify {
    pub fn draw(random: &Random, share: u64) -> Notify {
        match random.permille(share) {
            true => *random.pick(&[Notify::Never, Notify::AlsoSuccess]),
            false => Notify::Usual,
        }
    }

    /// The parameter of RCPT.
    pub fn parameter(self) -> &'static str {
        match self {
            Notify::Usual => "",
            Notify::Never => " NOTIFY=NEVER",
            Notify::AlsoSuccess => " NOTIFY=SUCCESS,FAILURE",
        }
    }
}

/// What a message on disk or in a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A submission, by its token.
    Message(String),
    /// A notice of the relay, by its Message-ID.
    Notice(String),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Message(token) => write!(f, "message {token}"),
            Identity::Notice(id) => write!(f, "notice {id}"),
        }
    }
}

impl Mail {
    pub fn new(
        serial: u32,
        sender: Option<String>,
        recipients: Vec<String>,
        notify: Notify,
        bytes: u64,
        random: &Random,
    ) -> Mail {
        let eight_bit = random.permille(200);
        let text = text(bytes as usize, eight_bit, random);
        Mail { serial, sender, recipients, eight_bit, notify, text }
    }

    pub fn token(&self, attempt: u32) -> String {
        format!("{}.{attempt}", self.serial)
    }

    /// The message as the sender's side has it.
    pub fn content(&self, attempt: u32) -> Vec<u8> {
        let token = self.token(attempt);
        let from = self.sender.as_deref().unwrap_or("daemon@home.test");
        let header = format!(
            "From: <{from}>\r\nSubject: number {}\r\nMessage-ID: <{token}@home.test>\r\n\
             X-Token: {token}\r\n\r\n",
            self.serial
        );
        [header.as_bytes(), &self.text].concat()
    }
}

/// Lines of all kinds: empty, long, of dots, with octets that only 8BITMIME allows.
fn text(bytes: usize, eight_bit: bool, random: &Random) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 1_024);
    while text.len() < bytes {
        match random.below(0..8) {
            0 => text.push(b'.'),
            1 => text.extend_from_slice(b".."),
            2 => text.extend_from_slice(b".hidden"),
            3 => {}
            _ => {
                let length = random.index(if bytes > 4_096 { 900 } else { 100 });
                let letter = |_| match random.below(0..40) {
                    0 => b'.',
                    1 if eight_bit => 0x80 | random.below(0..0x80) as u8,
                    _ => b' ' + random.below(0..95) as u8,
                };
                text.extend((0..length).map(letter));
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// The form of DATA (RFC 5321 4.5.2), without the dot that ends it.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 64);
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// # Panics
/// When it is neither a submission nor a notice: then it was made up.
pub fn identify(message: &[u8]) -> Identity {
    let text = String::from_utf8_lossy(message);
    let header = text.split("\r\n\r\n").next().unwrap_or("");
    if field(header, "Auto-Submitted").is_some() {
        let id = field(header, "Message-ID").expect("a notice has a Message-ID");
        return Identity::Notice(id.to_owned());
    }
    let token = field(header, "X-Token");
    Identity::Message(token.unwrap_or_else(|| panic!("whose is this?\n{text}")).to_owned())
}

/// The value of the first line that begins with `name` and a colon, wherever it stands.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    fields(text, name).next()
}

pub fn fields<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.trim())
    })
}

/// What is below the first header field, which is to be our Received field.
pub fn below_received(message: &[u8]) -> Option<&[u8]> {
    if !message.starts_with(b"Received: from ") {
        return None;
    }
    let ends = |pair: &[u8]| pair[0] == b'\n' && pair[1] != b' ' && pair[1] != b'\t';
    let end = message.windows(2).position(ends)?;
    Some(&message[end + 1..])
}
