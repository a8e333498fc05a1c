//! Is a message that arrived one of ours, and is it whole?
//!
//! Reads the header `X-Baton-Load` and counts the CRC of the body anew. Knows nothing about how
//! messages are made: what is not one of ours is `Foreign`, such as a notice of the relay.

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
}

#[derive(Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// One of ours, and its body is what was sent.
    Whole(&'a [u8]),
    /// One of ours by its header, but the body is another.
    Corrupt(&'a [u8]),
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
        return Recognised { identity: Identity::Foreign, body_crc, start: None };
    };
    let identity = match mark.crc {
        Some(crc) if crc == body_crc => Identity::Whole(mark.serial),
        Some(_) | None => Identity::Corrupt(mark.serial),
    };
    Recognised { identity, body_crc, start: mark.start }
}

/// What our header says, as far as it is not damaged.
struct Mark<'a> {
    serial: &'a [u8],
    crc: Option<u32>,
    start: Option<Duration>,
}

fn marked(head: &[u8]) -> Option<Mark<'_>> {
    let start =
        MARK_FINDER.find_iter(head).find(|at| *at == 0 || head[*at - 1] == b'\n')? + MARK.len();
    let value = &head[start..];
    let value = &value[..memchr::memchr(b'\r', value).unwrap_or(value.len())];
    let mut parts = value.split(|byte| *byte == b' ');
    let serial = parts.next()?;
    let mut field = |name| str::from_utf8(parts.next()?).ok()?.strip_prefix(name);
    let crc = field("crc=").and_then(|crc| u32::from_str_radix(crc, 16).ok());
    let at = field("at=").and_then(|at| at.parse().ok());
    Some(Mark { serial, crc, start: at.map(Duration::from_micros) })
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
