//! The values of the queue's column families, as bytes and back.
//!
//! Every record starts with a version octet; integers are big-endian, texts carry their length in four octets.
//! Encoding cannot fail. Decoding trusts nothing: a record comes from a disk, so a damaged one
//! is a [`BadRecord`] that names the place, never a panic and never a guess.
//! The bytes of every version are golden files under `tests/golden/`.

use crate::limits::RECIPIENTS_MAX;
use crate::message::{
    Address, BodyKind, Cause, Envelope, MessageId, Notify, Origin, Protocol, Recipient,
    RemoteReply, Return, ReversePath, SenderId, StatusCode,
};
use crate::time::Stamp;
use std::fmt;
use std::net::IpAddr;

pub const DUE_VERSION: u8 = 2;
/// Of store format 1: without sender, size and delay notice. Only the upgrade reads it.
const DUE_VERSION_1: u8 = 1;
/// Since version 2 with `require_tls`.
pub const ENVELOPE_VERSION: u8 = 2;

/// The value of a `due` entry: what is left to do for one message in one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Lower case; every pending recipient is in it.
    pub domain: Box<str>,
    /// Verbatim: keys hold its hash only.
    pub sender_id: Box<str>,
    /// Octets of the whole message, at most [`u32::MAX`]: what it weighs among other senders'.
    pub size: u32,
    /// How many groups the message began with; all entries of a message agree.
    pub groups: u16,
    /// Attempts made so far.
    pub attempts: u16,
    /// When to give up.
    pub expires: Stamp,
    /// The sender has been told that it takes longer.
    pub delay_told: bool,
    /// Never empty.
    pub pending: Vec<Pending>,
}

/// A recipient that still waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its position in [`Envelope::recipients`].
    pub recipient: u16,
    /// Why the last attempt failed, for the notice and for `queue show`.
    pub last: Option<Cause>,
}

/// A record that cannot be read: its family, and where in it the trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    pub family: &'static str,
    pub at: usize,
    pub what: &'static str,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged {} record: {} at octet {}", self.family, self.what, self.at)
    }
}

impl std::error::Error for BadRecord {}

pub fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let mut w = Writer::new(ENVELOPE_VERSION, 256 + envelope.recipients.len() * 48);
    w.u64(envelope.received.millis());
    w.text(envelope.sender.as_str());
    w.text(envelope.sender_id.as_str());
    w.u8(match envelope.body {
        BodyKind::SevenBit => 0,
        BodyKind::EightBit => 1,
    });
    w.bool(envelope.utf8);
    w.bool(envelope.require_tls);
    w.u8(match envelope.ret {
        None => 0,
        Some(Return::Full) => 1,
        Some(Return::Headers) => 2,
    });
    w.optional_text(envelope.envid.as_deref());
    w.text(&envelope.origin.peer.to_string());
    w.text(&envelope.origin.helo);
    let Protocol { esmtp, tls, authenticated, utf8 } = envelope.origin.protocol;
    for flag in [esmtp, tls, authenticated, utf8] {
        w.bool(flag);
    }
    w.text(&envelope.origin.account);
    w.u64(envelope.size);
    w.u16(envelope.recipients.len() as u16);
    for recipient in &envelope.recipients {
        w.text(recipient.address.as_str());
        w.u8(notify_octet(recipient.notify));
        w.optional_text(recipient.original.as_deref());
    }
    w.0
}

pub fn decode_envelope(id: MessageId, bytes: &[u8]) -> Result<Envelope, BadRecord> {
    let mut r = Reader::new("envelope", bytes, ENVELOPE_VERSION)?;
    let received = Stamp::from_millis(r.u64()?);
    let sender = match r.text()? {
        "" => ReversePath::Null,
        text => ReversePath::Mailbox(address(text)),
    };
    let sender_id = SenderId::from_record(r.text()?);
    let body = match r.u8()? {
        0 => BodyKind::SevenBit,
        1 => BodyKind::EightBit,
        _ => return Err(r.bad("unknown body kind")),
    };
    let utf8 = r.bool()?;
    let require_tls = if r.version >= 2 { r.bool()? } else { false };
    let ret = match r.u8()? {
        0 => None,
        1 => Some(Return::Full),
        2 => Some(Return::Headers),
        _ => return Err(r.bad("unknown return")),
    };
    let envid = r.optional_text()?.map(Box::from);
    let peer: IpAddr = r.text()?.parse().map_err(|_| r.bad("not an IP address"))?;
    let helo = r.text()?.into();
    let protocol =
        Protocol { esmtp: r.bool()?, tls: r.bool()?, authenticated: r.bool()?, utf8: r.bool()? };
    let origin = Origin { peer, helo, protocol, account: r.text()?.into() };
    let size = r.u64()?;
    let count = usize::from(r.u16()?);
    if count == 0 || count > RECIPIENTS_MAX {
        return Err(r.bad("no or too many recipients"));
    }
    let mut recipients = Vec::with_capacity(count.min(1_000));
    for _ in 0..count {
        let address = address(r.text()?);
        let notify = notify_from_octet(r.u8()?).ok_or_else(|| r.bad("unknown notify"))?;
        let original = r.optional_text()?.map(Box::from);
        recipients.push(Recipient { address, notify, original });
    }
    r.end()?;
    Ok(Envelope {
        id,
        received,
        sender,
        sender_id,
        recipients,
        body,
        utf8,
        require_tls,
        ret,
        envid,
        origin,
        size,
    })
}

pub fn encode_due(due: &Due) -> Vec<u8> {
    let mut w = Writer::new(DUE_VERSION, 128 + due.pending.len() * 16);
    w.text(&due.domain);
    w.text(&due.sender_id);
    w.u32(due.size);
    w.u16(due.groups);
    w.u16(due.attempts);
    w.u64(due.expires.millis());
    w.bool(due.delay_told);
    w.u16(due.pending.len() as u16);
    for pending in &due.pending {
        w.u16(pending.recipient);
        w.cause(pending.last.as_ref());
    }
    w.0
}

pub fn decode_due(bytes: &[u8]) -> Result<Due, BadRecord> {
    let mut r = Reader::new("due", bytes, DUE_VERSION)?;
    let domain = r.text()?.into();
    let sender_id = r.text()?.into();
    let size = r.u32()?;
    let (groups, attempts) = (r.u16()?, r.u16()?);
    let expires = Stamp::from_millis(r.u64()?);
    let delay_told = r.bool()?;
    let pending = pending(&mut r, groups)?;
    Ok(Due { domain, sender_id, size, groups, attempts, expires, delay_told, pending })
}

/// Reads a record of version 1; `envelope` is that of its message and knows what it lacks.
pub fn decode_due_v1(bytes: &[u8], envelope: &Envelope) -> Result<Due, BadRecord> {
    let mut r = Reader::new("due", bytes, DUE_VERSION_1)?;
    let domain = r.text()?.into();
    let (groups, attempts) = (r.u16()?, r.u16()?);
    let expires = Stamp::from_millis(r.u64()?);
    let pending = pending(&mut r, groups)?;
    let sender_id = envelope.sender_id.as_str().into();
    let size = due_size(envelope.size);
    Ok(Due { domain, sender_id, size, groups, attempts, expires, delay_told: false, pending })
}

/// The size of a message as a `due` entry keeps it.
pub fn due_size(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The rest of a `due` record, in every version.
fn pending(r: &mut Reader<'_>, groups: u16) -> Result<Vec<Pending>, BadRecord> {
    let count = usize::from(r.u16()?);
    if count == 0 || groups == 0 {
        return Err(r.bad("no pending recipient"));
    }
    let mut pending = Vec::with_capacity(count.min(1_000));
    for _ in 0..count {
        pending.push(Pending { recipient: r.u16()?, last: r.cause()? });
    }
    r.end()?;
    Ok(pending)
}

/// An address that was checked before it was written.
fn address(text: &str) -> Address {
    Address::from_checked(text, text.rfind('@').unwrap_or(text.len()))
}

fn notify_octet(notify: Notify) -> u8 {
    match notify {
        Notify::Unspecified => 0,
        Notify::Never => 1,
        Notify::On { success, failure, delay } => {
            0x80 | u8::from(success) | u8::from(failure) << 1 | u8::from(delay) << 2
        }
    }
}

fn notify_from_octet(octet: u8) -> Option<Notify> {
    match octet {
        0 => Some(Notify::Unspecified),
        1 => Some(Notify::Never),
        0x80..=0x87 => Some(Notify::On {
            success: octet & 1 != 0,
            failure: octet & 2 != 0,
            delay: octet & 4 != 0,
        }),
        _ => None,
    }
}

/// Appends fields to a record.
struct Writer(Vec<u8>);

impl Writer {
    fn new(version: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(version);
        Writer(bytes)
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        let len = u32::try_from(text.len()).expect("texts in records are short");
        self.u32(len);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional_text(&mut self, text: Option<&str>) {
        self.bool(text.is_some());
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn status(&mut self, status: StatusCode) {
        self.u8(status.class);
        self.u16(status.subject);
        self.u16(status.detail);
    }

    fn cause(&mut self, cause: Option<&Cause>) {
        match cause {
            None => self.u8(0),
            Some(Cause::Reply(RemoteReply { code, status, text })) => {
                self.u8(if status.is_some() { 2 } else { 1 });
                self.u16(*code);
                if let Some(status) = status {
                    self.status(*status);
                }
                self.text(text);
            }
            Some(Cause::Local { status, words }) => {
                self.u8(3);
                self.status(*status);
                self.text(words);
            }
        }
    }
}

/// Takes fields off a record.
struct Reader<'a> {
    family: &'static str,
    version: u8,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A record of any version up to `newest`.
    fn new(family: &'static str, bytes: &'a [u8], newest: u8) -> Result<Self, BadRecord> {
        let mut reader = Reader { family, version: 0, bytes, at: 0 };
        reader.version = reader.u8()?;
        match reader.version {
            0 => Err(reader.bad("no version")),
            version if version <= newest => Ok(reader),
            _ => Err(reader.bad("unknown version (written by a newer baton?)")),
        }
    }

    fn bad(&self, what: &'static str) -> BadRecord {
        BadRecord { family: self.family, at: self.at, what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], BadRecord> {
        let end = self.at.checked_add(len).ok_or_else(|| self.bad("a length past the end"))?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(|| self.bad("cut short"))?;
        self.at = end;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, BadRecord> {
        Ok(self.take(1)?[0])
    }

    fn bool(&mut self) -> Result<bool, BadRecord> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("neither 0 nor 1")),
        }
    }

    fn u16(&mut self) -> Result<u16, BadRecord> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().expect("two octets")))
    }

    fn u32(&mut self) -> Result<u32, BadRecord> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().expect("four octets")))
    }

    fn u64(&mut self) -> Result<u64, BadRecord> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().expect("eight octets")))
    }

    fn text(&mut self) -> Result<&'a str, BadRecord> {
        let len = self.u32()?;
        let bytes = self.take(len as usize)?;
        std::str::from_utf8(bytes).map_err(|_| self.bad("not UTF-8"))
    }

    fn optional_text(&mut self) -> Result<Option<&'a str>, BadRecord> {
        if self.bool()? { self.text().map(Some) } else { Ok(None) }
    }

    fn status(&mut self) -> Result<StatusCode, BadRecord> {
        Ok(StatusCode::new(self.u8()?, self.u16()?, self.u16()?))
    }

    fn cause(&mut self) -> Result<Option<Cause>, BadRecord> {
        Ok(match self.u8()? {
            0 => None,
            kind @ (1 | 2) => {
                let code = self.u16()?;
                let status = if kind == 2 { Some(self.status()?) } else { None };
                Some(Cause::Reply(RemoteReply { code, status, text: self.text()?.into() }))
            }
            3 => Some(Cause::Local { status: self.status()?, words: self.text()?.into() }),
            _ => return Err(self.bad("unknown cause")),
        })
    }

    fn end(&self) -> Result<(), BadRecord> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.bad("more than a record")) }
    }
}
