//! Replies, both ways: [`Reply`] is what we tell a peer, [`ReplyReader`] reads what one tells us.
//!
//! Ours is printed so that no text, whatever it quotes, can add a line or leave ASCII, and no
//! line passes 512 octets. Theirs is read with tolerance (bare LF, missing text, overlong lines)
//! and kept verbatim for notices, with a bound on all that is kept and all that is consumed.
//! Never decides what a reply means; that is `feedback/`.
//!
//! A multi-line reply whose lines carry different codes breaks RFC 5321 4.2.1. Within one class
//! (`250-` then `251`) the last code stands, as other relays have it. Across classes nobody can
//! say whether the message was taken, so it is no reply at all: [`BadReply::CodesDiffer`].
//!
//! RFC 5321 4.2 (replies), 4.5.3.1.5 (line length), RFC 2034 4 and RFC 3463 2 (enhanced codes).

use crate::message::{RemoteReply, StatusCode};
use std::borrow::Cow;
use std::fmt;

/// A line that we send, CR LF included (RFC 5321 4.5.3.1.5).
pub const REPLY_SENT_OCTETS_MAX: usize = 512;
/// A line of a remote, without its line end; longer is no SMTP server.
pub const REPLY_LINE_OCTETS_MAX: usize = 100_000;
/// What we keep of a remote's line, from its start, code included. Twice what it may send.
pub const REPLY_LINE_KEPT_OCTETS_MAX: usize = 1000;
/// Lines of one remote reply.
pub const REPLY_LINES_MAX: usize = 1000;
/// Lines of one remote reply that we keep, from the first. More than any EHLO lists.
pub const REPLY_LINES_KEPT_MAX: usize = 20;
/// What an error quotes of a line.
const SEEN_OCTETS_MAX: usize = 80;

/// What we tell a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200..=599.
    pub code: u16,
    pub status: Option<StatusCode>,
    /// Each LF begins another line of a multi-line reply.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// # Panics
    /// When `code` is no reply code, or `status` is of another class (RFC 2034 4).
    pub const fn fixed(code: u16, status: StatusCode, text: &'static str) -> Reply {
        assert!(code / 100 == status.class as u16, "both codes of a reply have one class");
        assert!(is_code(code), "a reply code is 200..=599");
        Reply { code, status: Some(status), text: Cow::Borrowed(text) }
    }

    /// # Panics
    /// As [`Reply::fixed`].
    pub fn new(code: u16, status: StatusCode, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { text: text.into(), ..Reply::fixed(code, status, "") }
    }

    /// A reply that carries no enhanced code: the greeting, the answer to EHLO, 334 and 354
    /// (RFC 2034 4).
    ///
    /// # Panics
    /// When `code` is no reply code.
    pub const fn bare(code: u16, text: &'static str) -> Reply {
        assert!(is_code(code), "a reply code is 200..=599");
        Reply { code, status: None, text: Cow::Borrowed(text) }
    }

    /// Whether the command succeeded, or succeeded so far (2yz and 3yz).
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Appends all lines, each with both codes and its CR LF. What is not printable ASCII becomes
    /// `?`: a peer's words come back in our texts, and its bytes must not make lines of ours.
    ///
    /// UTF-8 is replaced as well. RFC 6531 3.7.4.2 allows it only in a transaction that asked
    /// for SMTPUTF8, which the printer of a reply cannot know.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let start = out.len();
            let separator = if lines.peek().is_some() { b'-' } else { b' ' };
            push_number(out, self.code);
            out.push(separator);
            if let Some(StatusCode { class, subject, detail }) = self.status {
                push_number(out, class.into());
                out.push(b'.');
                push_number(out, subject);
                out.push(b'.');
                push_number(out, detail);
                if !line.is_empty() {
                    out.push(b' ');
                }
            }
            let room = (REPLY_SENT_OCTETS_MAX - b"\r\n".len()).saturating_sub(out.len() - start);
            match line.as_bytes() {
                bytes if bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => {
                    out.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                _ => out.extend(line.chars().take(room).map(printable)),
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends `number` in decimal. Replies are written for each command, and `write!` costs ten times as
/// much as the digits.
fn push_number(out: &mut Vec<u8>, number: u16) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

const fn is_code(code: u16) -> bool {
    code >= 200 && code <= 599
}

/// RFC 5321 4.2: textstring.
fn printable(letter: char) -> u8 {
    match letter {
        '\t' | ' '..='~' => letter as u8,
        _ => b'?',
    }
}

/// In one line, for the log.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        self.text.lines().try_for_each(|line| write!(f, " {line}"))
    }
}

/// Why the bytes of a remote are not a reply. The connection is of no use after it: where the
/// next reply would begin is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// A line that does not begin with a code of 200..=599 and a space, a hyphen or its end.
    NotAReply { seen: Box<str> },
    /// One reply in two classes; see the head of this file.
    CodesDiffer { first: u16, then: u16 },
    /// Longer than [`REPLY_LINE_OCTETS_MAX`].
    LineTooLong,
    /// More than [`REPLY_LINES_MAX`].
    TooManyLines,
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadReply::NotAReply { seen } => write!(f, "not an SMTP reply: {seen:?}"),
            BadReply::CodesDiffer { first, then } => {
                write!(f, "a reply began with code {first} and went on with {then}")
            }
            BadReply::LineTooLong => {
                write!(f, "a line of a reply was longer than {REPLY_LINE_OCTETS_MAX} octets")
            }
            BadReply::TooManyLines => {
                write!(f, "a reply had more than {REPLY_LINES_MAX} lines")
            }
        }
    }
}

impl std::error::Error for BadReply {}

/// Reads a remote's replies, one by one, from whatever pieces the network makes of them.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The start of the unfinished line; at most [`REPLY_LINE_KEPT_OCTETS_MAX`].
    line: Vec<u8>,
    /// Octets seen of the unfinished line, those not kept included.
    line_octets: usize,
    /// Finished lines of the unfinished reply.
    lines: usize,
    /// The code of the newest of them; zero before the first.
    code: u16,
    status: Option<StatusCode>,
    text: String,
}

/// Whether a line is the last of its reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Within,
    Last,
}

impl ReplyReader {
    pub fn new() -> Self {
        ReplyReader::default()
    }

    /// Takes the bytes of one reply off the front of `input` and gives it; `None` when all of
    /// `input` is taken and the reply goes on. What follows a reply is left in `input`.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<RemoteReply>, BadReply> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = input.split_at(end);
            *input = &rest[1..];
            self.gather(line)?;
            if self.end_line()? == Place::Last {
                return Ok(Some(self.finish()));
            }
        }
        self.gather(std::mem::take(input))?;
        Ok(None)
    }

    fn gather(&mut self, piece: &[u8]) -> Result<(), BadReply> {
        self.line_octets = self.line_octets.saturating_add(piece.len());
        if self.line_octets > REPLY_LINE_OCTETS_MAX {
            return Err(BadReply::LineTooLong);
        }
        let room = REPLY_LINE_KEPT_OCTETS_MAX - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Place, BadReply> {
        // RFC 5321 2.3.8 wants CR LF; a bare LF is taken too, since servers send it and a reply
        // cannot smuggle anything past a client that reads one command's answer at a time.
        if self.line_octets == self.line.len() && self.line.ends_with(b"\r") {
            self.line.pop();
        }
        let (code, place, text) = split_line(&self.line)?;
        if self.lines > 0 && self.code / 100 != code / 100 {
            return Err(BadReply::CodesDiffer { first: self.code, then: code });
        }
        self.lines += 1;
        if self.lines > REPLY_LINES_MAX {
            return Err(BadReply::TooManyLines);
        }
        self.code = code;
        if self.lines <= REPLY_LINES_KEPT_MAX {
            if self.lines > 1 {
                self.text.push('\n');
            }
            keep_text(&String::from_utf8_lossy(text), &mut self.status, &mut self.text);
        }
        self.line.clear();
        self.line_octets = 0;
        Ok(place)
    }

    fn finish(&mut self) -> RemoteReply {
        let text = std::mem::take(&mut self.text).into_boxed_str();
        self.lines = 0;
        RemoteReply { code: self.code, status: self.status.take(), text }
    }
}

/// Splits `250-text`, `250 text` or `250`.
fn split_line(line: &[u8]) -> Result<(u16, Place, &[u8]), BadReply> {
    let not_a_reply = || {
        let seen = String::from_utf8_lossy(&line[..line.len().min(SEEN_OCTETS_MAX)]);
        BadReply::NotAReply { seen: seen.into() }
    };
    let Some((digits, rest)) = line.split_first_chunk::<3>() else {
        return Err(not_a_reply());
    };
    if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(not_a_reply());
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Ok((code, Place::Last, rest)),
        Some((b' ', text)) => Ok((code, Place::Last, text)),
        Some((b'-', text)) => Ok((code, Place::Within, text)),
        Some(_) => Err(not_a_reply()),
    }
}

/// Appends one line's text. The enhanced code of the reply is the first that any line has, and is
/// cut off where it stands again; another one is left in the text, because we keep only one.
fn keep_text(line: &str, status: &mut Option<StatusCode>, text: &mut String) {
    let mut words = line;
    if let Some((found, rest)) = split_status(line)
        && *status.get_or_insert(found) == found
    {
        words = rest;
    }
    if words.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.push_str(words);
    }
    text.extend(words.chars().map(|letter| match letter {
        '\t' => ' ',
        _ if letter.is_control() => '?',
        _ => letter,
    }));
}

/// Splits `5.1.1 text` (RFC 3463 2). A number with leading zeros would not print back as it
/// came, so it stays in the text.
fn split_status(line: &str) -> Option<(StatusCode, &str)> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut numbers = word.split('.');
    let class = numbers.next().filter(|class| matches!(*class, "2" | "4" | "5"))?;
    let subject = status_number(numbers.next()?)?;
    let detail = status_number(numbers.next()?)?;
    if numbers.next().is_some() {
        return None;
    }
    Some((StatusCode::new(class.parse().ok()?, subject, detail), rest))
}

fn status_number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let padded = digits.len() > 1 && digits.starts_with('0');
    if !plain || padded || digits.len() > 3 { None } else { digits.parse().ok() }
}
