//! Is a message that arrived one of ours, and is it whole?
//!
//! Reads the header `X-Baton-Load` and counts the CRCs of the body and of the header below the mark
//! anew. Knows nothing about how messages are made: what is not one of ours is `Foreign`, such as a
//! notice of the relay. Headers that a relay adds above the mark, or behind all of ours, are no
//! damage. Whether the sender is the right one is for who has the envelope to ask (`sender_crc`).

use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::Finder;

use super::MARK;

/// Made once: making a finder costs as much as searching a header.
static MARK_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// What a received message turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Recognised<'a> {
    pub identity: Identity<'a>,
    /// CRC-32 of the body that was received.
    pub body_crc: u32,
    /// When it was due, on the sender's `kernel::monotonic`; absent when the header does not say.
    pub start: Option<Duration>,
    /// CRC of the envelope's sender; absent when the header does not say.
    pub sender: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// One of ours, and its body is what was sent.
    Whole(&'a [u8]),
    /// One of ours by its mark, but the body is another.
    Corrupt(&'a [u8]),
    /// The body is what was sent, but the rest of the header is not.
    AlteredHeader(&'a [u8]),
    /// Not one of ours, a bounce for instance.
    Foreign,
}

/// Looks at a whole message as it was received (dots already removed).
pub fn recognise(message: &[u8]) -> Recognised<'_> {
    let (head, body) = match HEAD_END.find(message) {
        Some(end) => (&message[..end + 2], &message[end + 4..]),
        None => (message, &[][..]),
    };
    let body_crc = crc32fast::hash(body);
    let Some(mark) = marked(head) else {
        return Recognised { identity: Identity::Foreign, body_crc, start: None, sender: None };
    };
    let identity = match mark.crc {
        Some(crc) if crc != body_crc => Identity::Corrupt(mark.serial),
        None => Identity::Corrupt(mark.serial),
        Some(_) if mark.header.is_some_and(|sent| sent.begins(mark.below)) => {
            Identity::Whole(mark.serial)
        }
        Some(_) => Identity::AlteredHeader(mark.serial),
    };
    Recognised { identity, body_crc, start: mark.start, sender: mark.sender }
}

/// What the mark says of a sender's address. Relays may write it in small letters.
pub fn sender_crc(address: &[u8]) -> u32 {
    crc32fast::hash(&address.to_ascii_lowercase())
}

/// What our header says, as far as it is not damaged.
struct Mark<'a> {
    serial: &'a [u8],
    crc: Option<u32>,
    header: Option<Header>,
    sender: Option<u32>,
    start: Option<Duration>,
    /// The header from the line behind the mark on.
    below: &'a [u8],
}

/// The header that was sent below the mark.
struct Header {
    crc: u32,
    bytes: usize,
}

impl Header {
    /// `00112233/0000456`
    fn parse(text: &str) -> Option<Header> {
        let (crc, bytes) = text.split_once('/')?;
        Some(Header { crc: hex(crc)?, bytes: bytes.parse().ok()? })
    }

    /// Whether it is what `below` begins with, and ends there with a line.
    fn begins(&self, below: &[u8]) -> bool {
        let Some((header, more)) = below.split_at_checked(self.bytes) else {
            return false;
        };
        !matches!(more.first(), Some(b' ' | b'\t')) && crc32fast::hash(header) == self.crc
    }
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn marked(head: &[u8]) -> Option<Mark<'_>> {
    let start =
        MARK_FINDER.find_iter(head).find(|at| *at == 0 || head[*at - 1] == b'\n')? + MARK.len();
    let value = &head[start..];
    let end = memchr::memchr(b'\n', value).map_or(value.len(), |end| end + 1);
    let (value, below) = value.split_at(end);
    let mut parts = value.trim_ascii_end().split(|byte| *byte == b' ');
    let serial = parts.next()?;
    let mut field = |name| str::from_utf8(parts.next()?).ok()?.strip_prefix(name);
    let crc = field("crc=").and_then(hex);
    let header = field("head=").and_then(Header::parse);
    let sender = field("from=").and_then(hex);
    let at = field("at=").and_then(|at| at.parse().ok());
    Some(Mark { serial, crc, header, sender, start: at.map(Duration::from_micros), below })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_counts_in_the_header_only() {
        let quoted = b"Subject: x\r\n\r\nX-Baton-Load: t-1 crc=00000000\r\n";
        assert_eq!(recognise(quoted).identity, Identity::Foreign);
        let inside = b"Subject: X-Baton-Load: t-1 crc=00000000\r\n\r\n";
        assert_eq!(recognise(inside).identity, Identity::Foreign);
        assert_eq!(recognise(b"").identity, Identity::Foreign);
        let damaged = b"X-Baton-Load: t-1 crc=zz\r\n\r\n";
        assert_eq!(recognise(damaged).identity, Identity::Corrupt(b"t-1"));
    }
}
