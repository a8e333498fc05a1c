//! The server half of one SMTP session, without a socket: bytes in, replies and messages out.
//!
//! Accepts everything (but for the dice of its `Personality`), in pieces of any size, and keeps
//! each message exactly as it was sent, with only the framing removed. It does not judge syntax
//! beyond what it needs to stay in step. The final reply of a message is given by `answer`, which
//! the driver calls once it has recorded the message. RFC 5321, 1870 (SIZE), 2920 (PIPELINING),
//! 3030 (CHUNKING).

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use crate::send::wire::push_line;

/// A longer command line ends the session (RFC 5321 4.5.3.1 asks for 512 plus extensions).
const LINE_BYTES_MAX: usize = 8192;
/// Messages beyond this are answered 552 and not kept.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Recipients of one message beyond this are answered 452.
const RECIPIENTS_MAX: usize = 50_000;
/// What ends a stretch of content that holds no framing; made once, as the making costs a search.
static LINE_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));
/// A message buffer that grew beyond this is given back after the message.
const BUFFER_KEPT_BYTES_MAX: usize = 256 << 10;

/// What this server offers and how it treats recipients.
#[derive(Clone, Copy, Debug)]
pub struct Personality {
    pub greeting: Greeting,
    /// Messages of one connection; the `MAIL` after the last is told 421. 0 is no limit.
    pub messages_max: u64,
    pub chunking: Offer,
    pub pipelining: Offer,
    /// Of 1,000 recipient addresses, how many never exist (550). A given address always fares
    /// alike.
    pub reject_permille: u16,
    /// Of 1,000 remaining `RCPT`s, how many are told to come back (451). Thrown anew each time.
    pub defer_permille: u16,
    pub seed: u64,
}

/// The first word to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    Ready,
    /// This code, 400 to 599, and no mail; 421 closes, after others the client may (RFC 5321 3.1).
    Refusal(u16),
    /// None: the connection is taken and nothing is said. The driver's business, as is all waiting.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Made,
    Withheld,
}

/// Where a call of `advance` stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// All input is used.
    Idle,
    /// A message is complete: record it, then call `answer`.
    Message,
    /// Send the replies and close.
    Close,
}

/// Who a message is from and for, in the client's own words.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The whole `MAIL` command, without CRLF; empty when no transaction is open.
    mail: Vec<u8>,
    /// The whole of each accepted `RCPT` command, without CRLF.
    recipients: Vec<Vec<u8>>,
}

impl Envelope {
    pub fn mail_line(&self) -> &[u8] {
        &self.mail
    }

    pub fn recipient_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.recipients.iter().map(Vec::as_slice)
    }

    /// The addresses alone, without angle brackets.
    pub fn recipients(&self) -> impl Iterator<Item = &[u8]> {
        self.recipients.iter().map(|line| path(line))
    }
}

/// One session.
pub struct Session {
    personality: Personality,
    dice: fastrand::Rng,
    phase: Phase,
    line: Vec<u8>,
    /// What the client called itself in `EHLO` or `HELO`, the last time.
    client: Vec<u8>,
    envelope: Envelope,
    content: Vec<u8>,
    fit: Fit,
    messages: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    Command,
    /// Greeted with a refusal: only `QUIT` is of use.
    Refused,
    Data(Dots),
    /// `BDAT`: so many bytes are still to come, and then this happens.
    Chunk(usize, AfterChunk),
    /// Waits for `answer`.
    Complete,
    Closed,
}

#[derive(Clone, Copy)]
enum AfterChunk {
    More,
    Last,
    /// The command was out of order; its bytes come nevertheless.
    Refuse,
}

/// What was seen of `CRLF . CRLF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    InLine,
    Cr,
    LineStart,
    Dot,
    DotCr,
}

/// Whether a message is within `MESSAGE_BYTES_MAX` so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Within,
    Over,
}

impl Session {
    /// `number` tells sessions apart for the dice.
    pub fn new(personality: Personality, number: u64) -> Session {
        let dice = fastrand::Rng::with_seed(personality.seed ^ number.rotate_left(32));
        Session {
            personality,
            dice,
            phase: Phase::Command,
            line: Vec::new(),
            client: Vec::new(),
            envelope: Envelope::default(),
            content: Vec::new(),
            fit: Fit::Within,
            messages: 0,
        }
    }

    /// Says the first word: `Step::Idle` to go on, `Step::Close` to end.
    pub fn greet(&mut self, replies: &mut Vec<u8>) -> Step {
        match self.personality.greeting {
            Greeting::Ready => replies.extend_from_slice(b"220 sink.test ESMTP baton-load\r\n"),
            Greeting::Never => {}
            Greeting::Refusal(421) => {
                replies.extend_from_slice(b"421 4.3.2 sink.test not now\r\n");
                self.phase = Phase::Closed;
                return Step::Close;
            }
            Greeting::Refusal(code) => {
                push_line(replies, format_args!("{code} sink.test takes no mail"));
                self.phase = Phase::Refused;
            }
        }
        Step::Idle
    }

    /// Uses `input` as far as it can, moving its start; adds replies to `replies`.
    pub fn advance(&mut self, input: &mut &[u8], replies: &mut Vec<u8>) -> Step {
        loop {
            match self.phase {
                Phase::Command | Phase::Refused => {
                    let Some(line) = self.take_line(input) else {
                        if self.line.len() > LINE_BYTES_MAX {
                            replies.extend_from_slice(b"500 5.5.6 line too long\r\n");
                            self.phase = Phase::Closed;
                            return Step::Close;
                        }
                        return Step::Idle;
                    };
                    self.command(&line, replies);
                    self.line = line;
                    self.line.clear();
                }
                Phase::Data(dots) => {
                    let dots = unstuff(dots, input, &mut self.content);
                    self.check_fit();
                    match dots {
                        Some(dots) => {
                            self.phase = Phase::Data(dots);
                            return Step::Idle;
                        }
                        None => self.complete(replies),
                    }
                }
                Phase::Chunk(left, after) => {
                    let left = self.take_chunk(left, after, input);
                    self.phase = Phase::Chunk(left, after);
                    if left > 0 {
                        return Step::Idle;
                    }
                    self.end_chunk(after, replies);
                }
                Phase::Complete => return Step::Message,
                Phase::Closed => return Step::Close,
            }
        }
    }

    /// Who the client says it is; empty before it did.
    pub fn client(&self) -> &[u8] {
        &self.client
    }

    /// Messages that were answered.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The message after `Step::Message`: its envelope, and its bytes without any framing.
    pub fn message(&self) -> (&Envelope, &[u8]) {
        (&self.envelope, &self.content)
    }

    /// Answers the message after `Step::Message` with 250 and makes ready for the next.
    pub fn answer(&mut self, number: u64, replies: &mut Vec<u8>) {
        assert!(matches!(self.phase, Phase::Complete), "there is a message to answer");
        push_line(replies, format_args!("250 2.0.0 taken as {number}"));
        self.reset();
        self.messages += 1;
        self.phase = Phase::Command;
    }

    /// The next whole line without its end, or `None` with the part so far kept.
    fn take_line(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let Some(end) = memchr(b'\n', input) else {
            self.line.extend_from_slice(input);
            *input = &[];
            return None;
        };
        let (part, rest) = input.split_at(end + 1);
        *input = rest;
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&part[..end]);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_slice() {
            b"QUIT" => {
                replies.extend_from_slice(b"221 2.0.0 bye\r\n");
                self.phase = Phase::Closed;
            }
            _ if matches!(self.phase, Phase::Refused) => {
                replies.extend_from_slice(b"503 5.5.1 no mail is taken here\r\n");
            }
            b"EHLO" => {
                self.meet(line);
                self.ehlo(replies);
            }
            b"HELO" => {
                self.meet(line);
                replies.extend_from_slice(b"250 sink.test\r\n");
            }
            b"MAIL" => self.mail(line, replies),
            b"RCPT" => self.rcpt(line, replies),
            b"DATA" => self.data(replies),
            b"BDAT" if self.personality.chunking == Offer::Made => self.bdat(line, replies),
            b"RSET" => {
                self.reset();
                replies.extend_from_slice(b"250 2.0.0 reset\r\n");
            }
            b"NOOP" => replies.extend_from_slice(b"250 2.0.0 still here\r\n"),
            b"VRFY" => replies.extend_from_slice(b"252 2.5.0 send and see\r\n"),
            _ => replies.extend_from_slice(b"500 5.5.1 unknown command\r\n"),
        }
    }

    fn meet(&mut self, line: &[u8]) {
        self.reset();
        self.client = line.get(5..).unwrap_or_default().trim_ascii().to_vec();
    }

    fn ehlo(&self, replies: &mut Vec<u8>) {
        replies.extend_from_slice(b"250-sink.test\r\n");
        if self.personality.pipelining == Offer::Made {
            replies.extend_from_slice(b"250-PIPELINING\r\n");
        }
        if self.personality.chunking == Offer::Made {
            replies.extend_from_slice(b"250-CHUNKING\r\n");
        }
        push_line(replies, format_args!("250-SIZE {MESSAGE_BYTES_MAX}"));
        replies.extend_from_slice(b"250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n");
    }

    fn mail(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        if !has_keyword(line, b"FROM:") {
            replies.extend_from_slice(b"501 5.5.4 MAIL FROM:<address>\r\n");
        } else if !self.envelope.mail.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 one MAIL at a time\r\n");
        } else if (1..=self.messages).contains(&self.personality.messages_max) {
            replies.extend_from_slice(b"421 4.3.2 enough for one connection\r\n");
            self.phase = Phase::Closed;
        } else {
            self.envelope.mail.extend_from_slice(line);
            replies.extend_from_slice(b"250 2.1.0 ok\r\n");
        }
    }

    fn rcpt(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let reply: &[u8] = if !has_keyword(line, b"TO:") {
            b"501 5.5.4 RCPT TO:<address>\r\n"
        } else if self.envelope.mail.is_empty() || !self.content.is_empty() {
            b"503 5.5.1 RCPT comes after MAIL and before the message\r\n"
        } else if self.envelope.recipients.len() == RECIPIENTS_MAX {
            b"452 4.5.3 too many recipients\r\n"
        } else if self.rejects(path(line)) {
            b"550 5.1.1 no such mailbox here\r\n"
        } else if self.personality.defer_permille > self.dice.u16(..1000) {
            b"451 4.2.1 come back later\r\n"
        } else {
            self.envelope.recipients.push(line.to_vec());
            b"250 2.1.5 ok\r\n"
        };
        replies.extend_from_slice(reply);
    }

    /// Not the dice: a mailbox that does not exist must not exist at the next attempt either.
    fn rejects(&self, address: &[u8]) -> bool {
        let salt = (self.personality.seed as u32) ^ (self.personality.seed >> 32) as u32;
        let mut hash = crc32fast::Hasher::new_with_initial(salt);
        hash.update(address);
        // Mixed by the generator, because the CRCs of similar addresses are similar.
        let throw = fastrand::Rng::with_seed(hash.finalize().into()).u16(..1000);
        throw < self.personality.reject_permille
    }

    fn data(&mut self, replies: &mut Vec<u8>) {
        if self.envelope.recipients.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 DATA comes after a RCPT\r\n");
        } else if !self.content.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 DATA does not mix with BDAT\r\n");
        } else {
            replies.extend_from_slice(b"354 go ahead\r\n");
            self.phase = Phase::Data(Dots::LineStart);
        }
    }

    fn bdat(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_ascii_whitespace().skip(1);
        let Some(bytes) = words.next().and_then(|bytes| bytes.parse().ok()) else {
            replies.extend_from_slice(b"501 5.5.4 BDAT length [LAST]\r\n");
            // Where the chunk ends is unknown, so nothing after it can be understood.
            self.phase = Phase::Closed;
            return;
        };
        let after = match words.next() {
            _ if self.envelope.recipients.is_empty() => AfterChunk::Refuse,
            Some(last) if last.eq_ignore_ascii_case("LAST") => AfterChunk::Last,
            _ => AfterChunk::More,
        };
        self.phase = Phase::Chunk(bytes, after);
    }

    fn take_chunk(&mut self, left: usize, after: AfterChunk, input: &mut &[u8]) -> usize {
        let (piece, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        match after {
            AfterChunk::More | AfterChunk::Last => {
                self.content.extend_from_slice(piece);
                self.check_fit();
            }
            AfterChunk::Refuse => {}
        }
        left - piece.len()
    }

    fn end_chunk(&mut self, after: AfterChunk, replies: &mut Vec<u8>) {
        self.phase = Phase::Command;
        match after {
            AfterChunk::Last => self.complete(replies),
            AfterChunk::More => replies.extend_from_slice(b"250 2.0.0 chunk taken\r\n"),
            AfterChunk::Refuse => {
                replies.extend_from_slice(b"503 5.5.1 BDAT comes after a RCPT\r\n");
            }
        }
    }

    fn check_fit(&mut self) {
        if self.content.len() > MESSAGE_BYTES_MAX {
            self.fit = Fit::Over;
            self.content.truncate(1);
        }
    }

    fn complete(&mut self, replies: &mut Vec<u8>) {
        match self.fit {
            Fit::Within => self.phase = Phase::Complete,
            Fit::Over => {
                replies.extend_from_slice(b"552 5.3.4 message too big\r\n");
                self.reset();
                self.phase = Phase::Command;
            }
        }
    }

    fn reset(&mut self) {
        self.envelope.mail.clear();
        self.envelope.recipients.clear();
        self.content.clear();
        self.content.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.fit = Fit::Within;
    }
}

/// Moves content from `input` to `content` without its dot-stuffing (RFC 5321 4.5.2).
///
/// Returns `None` once the final dot was seen. Only CRLF counts as the end of a line, so that what
/// some servers take for the end of the message (a bare LF around the dot) is delivered as it is.
fn unstuff(mut dots: Dots, input: &mut &[u8], content: &mut Vec<u8>) -> Option<Dots> {
    while let Some(&byte) = input.first() {
        let (used, next) = match (dots, byte) {
            (Dots::InLine, _) => {
                let (used, next) = skim(input);
                content.extend_from_slice(&input[..used]);
                (used, next)
            }
            (Dots::Cr, b'\n') => (keep(byte, content), Dots::LineStart),
            (Dots::Cr, b'\r') => (keep(byte, content), Dots::Cr),
            (Dots::LineStart, b'.') => (1, Dots::Dot),
            (Dots::Dot, b'\r') => (1, Dots::DotCr),
            (Dots::DotCr, b'\n') => {
                *input = &input[1..];
                return None;
            }
            (Dots::DotCr, _) => {
                content.push(b'\r');
                (0, Dots::Cr)
            }
            (Dots::Cr | Dots::LineStart | Dots::Dot, _) => (0, Dots::InLine),
        };
        *input = &input[used..];
        dots = next;
    }
    Some(dots)
}

fn keep(byte: u8, content: &mut Vec<u8>) -> usize {
    content.push(byte);
    1
}

/// How much of `input`, which starts within a line, is content up to the next dot that starts a
/// line; most of a message is one such stretch, found at memory speed.
fn skim(input: &[u8]) -> (usize, Dots) {
    match LINE_DOT.find(input) {
        Some(end) => (end + 2, Dots::LineStart),
        None if input.ends_with(b"\r\n") => (input.len(), Dots::LineStart),
        None if input.ends_with(b"\r") => (input.len(), Dots::Cr),
        None => (input.len(), Dots::InLine),
    }
}

/// Whether a command's first word is followed by `keyword`.
fn has_keyword(line: &[u8], keyword: &[u8]) -> bool {
    let rest = line.get(5..).unwrap_or_default();
    rest.trim_ascii_start().get(..keyword.len()).is_some_and(|it| it.eq_ignore_ascii_case(keyword))
}

/// The address in a `MAIL` or `RCPT` command; a quoted local part may hold angle brackets.
fn path(line: &[u8]) -> &[u8] {
    let Some(start) = memchr(b'<', line) else {
        let start = memchr(b':', line).map_or(line.len(), |colon| colon + 1);
        let rest = line[start..].trim_ascii_start();
        return rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    };
    let rest = &line[start + 1..];
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return &rest[..at],
            _ => {}
        }
    }
    rest
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
