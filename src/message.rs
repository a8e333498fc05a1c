//! The nouns that all stages share: who sends what to whom, and what became of it.
//!
//! Plain values with private fields where a rule must hold. Nothing here decides, reads a clock
//! or touches a socket. Wire forms (parsing and printing of commands) are in `smtp/`,
//! disk forms in `queue/record.rs`.
//!
//! RFC 5321 (mailboxes, paths), RFC 3461 (DSN parameters), RFC 3463 (enhanced status codes).

use crate::time::Stamp;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Names one accepted message for ever: 42 bits of milliseconds, 8 of shard, 14 of sequence.
///
/// Ids sort by time of acceptance and need no coordination between shards. As text they are
/// 13 letters of Crockford's base 32 in lower case (no i, l, o, u), safe in a header or file name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

const ID_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_TEXT_LEN: usize = 13;
const SEQUENCE_BITS: u32 = 14;
const SHARD_BITS: u32 = 8;

impl MessageId {
    pub const fn from_u64(raw: u64) -> Self {
        MessageId(raw)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The slot (0..=255) of the shard that accepted the message; see [`crate::queue::key::Slot`].
    pub const fn slot(self) -> u8 {
        (self.0 >> SEQUENCE_BITS) as u8
    }

    /// When the message was accepted, to the millisecond.
    pub const fn stamp(self) -> Stamp {
        Stamp::from_millis(self.0 >> (SEQUENCE_BITS + SHARD_BITS))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; ID_TEXT_LEN];
        for (place, letter) in text.iter_mut().enumerate() {
            let shift = 5 * (ID_TEXT_LEN - 1 - place);
            *letter = ID_LETTERS[(self.0 >> shift) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not a message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessageId;

impl fmt::Display for BadMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a message id; allowed: {ID_TEXT_LEN} of the letters 0-9 a-z without i l o u")
    }
}

impl std::error::Error for BadMessageId {}

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        if text.len() != ID_TEXT_LEN {
            return Err(BadMessageId);
        }
        let mut raw: u128 = 0;
        for letter in text.bytes() {
            let value = ID_LETTERS.iter().position(|&known| known == letter.to_ascii_lowercase());
            raw = raw << 5 | value.ok_or(BadMessageId)? as u128;
        }
        u64::try_from(raw).map(MessageId).map_err(|_| BadMessageId)
    }
}

/// Makes the ids of one shard: strictly growing, also when the clock is set back.
#[derive(Debug)]
pub struct MessageIds {
    slot: u8,
    last: u64,
}

impl MessageIds {
    /// `newest` is the newest id that recovery found, so that a clock set back while the relay
    /// was down cannot make the id of a message that is still queued again.
    pub fn new(slot: u8, newest: Option<MessageId>) -> Self {
        let last = newest.map_or(0, |id| id.0 >> (SEQUENCE_BITS + SHARD_BITS));
        MessageIds { slot, last: last.saturating_add(1) << SEQUENCE_BITS }
    }

    pub fn next(&mut self, now: Stamp) -> MessageId {
        // `last` is (milliseconds, sequence) without the slot: a full sequence carries into the time.
        self.last = (self.last + 1).max(now.millis() << SEQUENCE_BITS);
        let (millis, sequence) =
            (self.last >> SEQUENCE_BITS, self.last & ((1 << SEQUENCE_BITS) - 1));
        let slot = u64::from(self.slot) << SEQUENCE_BITS;
        MessageId(millis << (SEQUENCE_BITS + SHARD_BITS) | slot | sequence)
    }
}

/// A mailbox as it was written, without angle brackets: `local@domain` (RFC 5321 4.1.2), or
/// the one name that needs no domain, `postmaster` (4.5.1). Made by `smtp::address` only, which
/// checks the grammar; what is read back from disk was checked when it came in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    at: usize,
}

impl Address {
    /// `at` is where the `@` before the domain stands; `text.len()` when there is no domain.
    ///
    /// # Panics
    /// When `at` is neither.
    pub fn from_checked(text: impl Into<Box<str>>, at: usize) -> Self {
        let text = text.into();
        assert!(at == text.len() || text.as_bytes()[at] == b'@', "an address splits at its last @");
        Address { text, at }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain as written; empty for a bare `postmaster`.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or("")
    }

    /// The domain in lower case: the form that routes, lanes and queues are keyed by.
    pub fn domain_key(&self) -> String {
        self.domain().to_lowercase()
    }

    /// Whether it can only travel under SMTPUTF8 (RFC 6531 3.3).
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// The argument of MAIL FROM. Notices are sent from, and never to, the null path (RFC 5321 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    Null,
    Mailbox(Address),
}

impl ReversePath {
    /// Without angle brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            ReversePath::Null => "",
            ReversePath::Mailbox(address) => address.as_str(),
        }
    }

    pub fn needs_utf8(&self) -> bool {
        !self.as_str().is_ascii()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What NOTIFY asks for (RFC 3461 4.1). Without the parameter: failure, and delay at our choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    #[default]
    Unspecified,
    Never,
    On {
        success: bool,
        failure: bool,
        delay: bool,
    },
}

impl Notify {
    pub fn wants_failure(self) -> bool {
        matches!(self, Notify::Unspecified | Notify::On { failure: true, .. })
    }

    pub fn wants_success(self) -> bool {
        matches!(self, Notify::On { success: true, .. })
    }
}

/// How much of the message a failure notice returns (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    Full,
    Headers,
}

/// One RCPT that was answered 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub address: Address,
    pub notify: Notify,
    /// ORCPT as it came, still in xtext (`rfc822;joe+40x.test`), so that it is passed on unchanged.
    pub original: Option<Box<str>>,
}

/// BODY= of the MAIL command (RFC 6152). BINARYMIME is not offered: a next hop without it
/// would force a re-encoding, and we do not touch messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    SevenBit,
    EightBit,
}

/// The `with` word of a Received field (RFC 5321 4.4, RFC 3848, RFC 6531 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    pub esmtp: bool,
    pub tls: bool,
    pub authenticated: bool,
    pub utf8: bool,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match (self.utf8, self.esmtp, self.tls, self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, false, ..) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, false, true) => "ESMTPA",
            (false, true, true, false) => "ESMTPS",
            (false, true, true, true) => "ESMTPSA",
        }
    }
}

/// Where a message came from, as the session knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub peer: IpAddr,
    pub helo: Box<str>,
    pub protocol: Protocol,
    /// The account that answers for the message: authenticated, or that of the declared peer.
    pub account: Box<str>,
}

/// Who is responsible for a message: `account|kind|value`, the subject of all reputation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(Box<str>);

impl SenderId {
    pub fn new(account: &str, kind: &str, value: &str) -> Self {
        // A value is a peer's words: the separator and control characters would forge another id.
        let clean = |text: &str| -> String {
            text.chars().map(|c| if c == '|' || c.is_control() { '_' } else { c }).collect()
        };
        SenderId(format!("{}|{kind}|{}", clean(account), clean(value)).into())
    }

    /// Takes back what `as_str` gave, from a record.
    pub fn from_record(text: &str) -> Self {
        SenderId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that is known of a message but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub id: MessageId,
    pub received: Stamp,
    pub sender: ReversePath,
    pub sender_id: SenderId,
    /// In the order of the RCPT commands; never empty. Positions are the names that `due` uses.
    pub recipients: Vec<Recipient>,
    pub body: BodyKind,
    /// Whether SMTPUTF8 was on MAIL: then headers may hold UTF-8 and a next hop must offer it.
    pub utf8: bool,
    /// Whether REQUIRETLS was on MAIL: then it travels only under TLS, to hosts whose certificate
    /// is verified and that promise the same (RFC 8689).
    pub require_tls: bool,
    pub ret: Option<Return>,
    /// ENVID as it came, in xtext.
    pub envid: Option<Box<str>>,
    pub origin: Origin,
    /// Octets of the message as it is sent on, our Received field included.
    pub size: u64,
}

/// What a TLS handshake agreed on, for headers and events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    pub cipher: Box<str>,
    /// Whether the other side's certificate has a chain that we trust and the name that was asked
    /// for. Always false on the server's side, which asks for none.
    pub verified: bool,
}

/// An enhanced status code `class.subject.detail` (RFC 3463).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

impl StatusCode {
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        StatusCode { class, subject, detail }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a remote server said, kept verbatim: lines joined by a single LF, codes cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteReply {
    /// 200..=599.
    pub code: u16,
    pub status: Option<StatusCode>,
    pub text: Box<str>,
}

/// In one line, as a Diagnostic-Code wants it.
impl fmt::Display for RemoteReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for line in self.text.lines() {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// How far an attempt had come when its outcome was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Route,
    Connect,
    Greeting,
    Ehlo,
    StartTls,
    Mail,
    Rcpt,
    /// DATA or BDAT and the body itself.
    Data,
    /// The body is sent, the final reply was awaited: what became of the message is unknown
    /// when this stage failed without a reply.
    Final,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Route => "route",
            Stage::Connect => "connect",
            Stage::Greeting => "greeting",
            Stage::Ehlo => "ehlo",
            Stage::StartTls => "starttls",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Final => "final",
        }
    }
}

/// Who is at fault. Only `Session` and `Site` may slow a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Recipient,
    Message,
    Session,
    Site,
    /// Our own limits, disk or configuration.
    Us,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    Transient,
    Permanent,
}

/// What one attempt concluded for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub scope: Scope,
    pub stage: Stage,
    pub cause: Cause,
}

/// The evidence of an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The remote answered.
    Reply(RemoteReply),
    /// It did not, or not in SMTP: a status of our own (`4.4.2`) and what happened, in words.
    Local { status: StatusCode, words: Box<str> },
}

impl Cause {
    pub fn local(status: StatusCode, words: impl Into<Box<str>>) -> Self {
        Cause::Local { status, words: words.into() }
    }

    /// The enhanced code to report; a bare reply code gives its generic `x.0.0` (RFC 3463 2).
    pub fn status(&self) -> StatusCode {
        match self {
            Cause::Reply(reply) => {
                let class = (reply.code / 100) as u8;
                // A remote whose two codes disagree is taken at the word of the basic one.
                reply.status.filter(|s| s.class == class).unwrap_or(StatusCode::new(class, 0, 0))
            }
            Cause::Local { status, .. } => *status,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Reply(reply) => write!(f, "{reply}"),
            Cause::Local { status, words } => write!(f, "{status} {words}"),
        }
    }
}

/// A whole message as it is kept and sent on: one version octet, our Received field, then the
/// bytes of the sender. The octet stands in the same buffer so that storing copies nothing;
/// the buffer is shared with the committer's thread, so handing it over copies nothing either.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<Vec<u8>>);

/// The first octet of a stored body.
pub const BODY_VERSION: u8 = 1;

impl Body {
    /// `record` begins with [`BODY_VERSION`].
    ///
    /// # Panics
    /// When it does not.
    pub fn from_record(record: Vec<u8>) -> Self {
        assert_eq!(record.first(), Some(&BODY_VERSION), "a body record starts with its version");
        Body(Arc::new(record))
    }

    pub fn from_message(message: &[u8]) -> Self {
        let mut record = Vec::with_capacity(message.len() + 1);
        record.push(BODY_VERSION);
        record.extend_from_slice(message);
        Body(Arc::new(record))
    }

    /// The bytes to store.
    pub fn record(&self) -> &[u8] {
        &self.0
    }

    /// The bytes to send.
    pub fn message(&self) -> &[u8] {
        &self.0[1..]
    }

    /// The header section without the empty line that ends it; the whole message when there is
    /// none. Lines may end in a bare LF: what came in so is passed on so.
    pub fn header(&self) -> &[u8] {
        let message = self.message();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', message) {
            let line = &message[start..end];
            if line.is_empty() || line == b"\r" {
                return &message[..start];
            }
            start = end + 1;
        }
        message
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} octets)", self.message().len())
    }
}

/// Why a commit did not happen. Nothing of it is on disk, or nobody was promised that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The disk is nearly full; acceptance is stopped, outcomes are still written.
    LowDisk,
    /// More is waiting for the committer than the budget allows.
    Busy,
    /// A write or fsync failed: the store takes nothing more and the process ends (never retry an fsync).
    Poisoned,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommitError::LowDisk => "less disk is free than disk.free_bytes_min",
            CommitError::Busy => "more is waiting for the committer than memory.commit_bytes_max",
            CommitError::Poisoned => "an earlier write or fsync failed",
        })
    }
}

impl std::error::Error for CommitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_text_and_back_and_sort_by_time() {
        let mut ids = MessageIds::new(3, None);
        let first = ids.next(Stamp::from_millis(1_763_900_000_000));
        let second = ids.next(Stamp::from_millis(1_763_900_000_000));
        let after_clock_was_set_back = ids.next(Stamp::from_millis(1_000));
        assert!(first < second && second < after_clock_was_set_back);
        assert_eq!((first.slot(), first.stamp()), (3, Stamp::from_millis(1_763_900_000_000)));
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(first.to_string().to_uppercase().parse(), Ok(first));
        for wrong in ["", "0", "zzzzzzzzzzzzz", "0000000000u00", "00000000000000"] {
            assert_eq!(wrong.parse::<MessageId>(), Err(BadMessageId), "{wrong}");
        }
    }

    #[test]
    fn ids_stay_apart_when_one_millisecond_gives_more_than_a_sequence_holds() {
        let mut ids = MessageIds::new(255, None);
        let now = Stamp::from_millis(77);
        let made: Vec<_> = (0..40_000).map(|_| ids.next(now)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(made.iter().all(|id| id.slot() == 255));
        let mut restarted = MessageIds::new(255, made.last().copied());
        assert!(restarted.next(now) > *made.last().unwrap());
    }

    #[test]
    fn a_sender_id_cannot_be_forged_by_its_value() {
        let id = SenderId::new("acme", "x-authuser", "joe|x-authuser|boss\r\n");
        assert_eq!(id.as_str(), "acme|x-authuser|joe_x-authuser_boss__");
    }

    #[test]
    fn header_ends_at_the_first_empty_line() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\n", b"A: 1\r\nB: 2\r\n"),
            (b"A: 1\n\nbody", b"A: 1\n"),
            (b"\r\nbody", b""),
            (b"A: 1\r\n", b"A: 1\r\n"),
        ];
        for (message, header) in cases {
            assert_eq!(Body::from_message(message).header(), header);
        }
    }

    #[test]
    fn a_cause_has_the_class_of_its_basic_code() {
        let reply = |code, status| {
            Cause::Reply(RemoteReply { code, status, text: "no".into() }).status().to_string()
        };
        assert_eq!(reply(550, Some(StatusCode::new(5, 1, 1))), "5.1.1");
        assert_eq!(reply(450, Some(StatusCode::new(5, 1, 1))), "4.0.0");
        assert_eq!(reply(550, None), "5.0.0");
    }
}
