//! The PROXY protocol: what a load balancer says about the connection behind it, versions 1 and 2.
//!
//! Reads the header from the first bytes of a connection: needs more, is whole, or is wrong.
//! Decides what counts as a header and whose address it names, and nothing else: whether this
//! peer may send one is configuration, and a peer that must send one and does not is closed by
//! the driver without a word, since who speaks there is unknown. Never guesses: a connection
//! either has a header or it has none (`proxy-protocol.txt` 2).
//!
//! TLVs (TLS details, unique ids, checksums) are skipped unread: we would have no use for them
//! that a forwarding proxy could be trusted with. IPv4 addresses mapped into IPv6 come out as
//! IPv4, so that network rules match however the proxy's own socket was bound.
//!
//! HAProxy's `proxy-protocol.txt` 2.1 (version 1), 2.2 (version 2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Octets of a version 1 header with its CR LF (`proxy-protocol.txt` 2.1).
pub const V1_BYTES_MAX: usize = 107;
/// Octets of a version 2 header with its TLVs. The format allows 65,551; what proxies send is a
/// few hundred, with a TLS subject among it. It is held before a peer is known: less is better.
pub const V2_BYTES_MAX: usize = 2_048;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The start, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = V2_START.len() + 4;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The bytes are the beginning of a header.
    More,
    Whole(Header),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets of it; what the client itself says begins behind them.
    pub length: usize,
    /// Who connected to the proxy; `None` when the proxy speaks for itself (a health check) or
    /// names nobody (UNKNOWN, UNIX sockets): then the connection's own address counts.
    pub source: Option<SocketAddr>,
}

/// Why the bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin as neither version does.
    NoHeader,
    /// Longer than [`V1_BYTES_MAX`] or [`V2_BYTES_MAX`].
    TooLong,
    /// A line of version 1 that is not of its form.
    BadLine,
    /// A version, command, family or transport that version 2 does not know, or without SMTP.
    BadKind,
    /// A block of version 2 that is too short for the addresses of its family.
    TooShort,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::NoHeader => "the connection does not begin with a PROXY header",
            ProxyError::TooLong => "the PROXY header is too long",
            ProxyError::BadLine => "the line of the PROXY header is malformed",
            ProxyError::BadKind => "the PROXY header is of an unknown version, command or family",
            ProxyError::TooShort => "the PROXY header is too short for its addresses",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Reads a header from the beginning of `input`, which holds all that came so far.
pub fn read(input: &[u8]) -> Result<Progress, ProxyError> {
    if is_begun(input, V1_START) {
        read_v1(input)
    } else if is_begun(input, V2_START) {
        read_v2(input)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Whether `input` begins with `start`, or is the beginning of it.
fn is_begun(input: &[u8], start: &[u8]) -> bool {
    let common = input.len().min(start.len());
    input[..common] == start[..common]
}

fn read_v1(input: &[u8]) -> Result<Progress, ProxyError> {
    let window = &input[..input.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let full = window.len() == V1_BYTES_MAX;
        return if full { Err(ProxyError::TooLong) } else { Ok(Progress::More) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyError::BadLine)?;
    // A line end before the start is complete, as in "PROX\n", is excluded by `is_begun`.
    let line = std::str::from_utf8(&line[V1_START.len()..]).map_err(|_| ProxyError::BadLine)?;
    let source = v1_source(line)?;
    Ok(Progress::Whole(Header { length: end + 1, source }))
}

fn v1_source(line: &str) -> Result<Option<SocketAddr>, ProxyError> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        // What follows UNKNOWN is to be ignored (2.1).
        "UNKNOWN" => Ok(None),
        "TCP4" => v1_addresses::<Ipv4Addr>(rest).map(Some),
        "TCP6" => v1_addresses::<Ipv6Addr>(rest).map(Some),
        _ => Err(ProxyError::BadLine),
    }
}

/// `source destination source-port destination-port`, one space between them.
fn v1_addresses<A: FromStr + Into<IpAddr>>(text: &str) -> Result<SocketAddr, ProxyError> {
    let mut fields = text.split(' ');
    let mut field = || fields.next().ok_or(ProxyError::BadLine);
    let address = |text: &str| text.parse::<A>().map_err(|_| ProxyError::BadLine);
    let source = address(field()?)?;
    address(field()?)?;
    let port = v1_port(field()?)?;
    v1_port(field()?)?;
    if fields.next().is_some() {
        return Err(ProxyError::BadLine);
    }
    Ok(peer(source, port))
}

/// `parse` alone would take a sign and leading zeros, which 2.1 forbids.
fn v1_port(text: &str) -> Result<u16, ProxyError> {
    let padded = text.len() > 1 && text.starts_with('0');
    if padded || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(ProxyError::BadLine);
    }
    text.parse().map_err(|_| ProxyError::BadLine)
}

fn peer(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into().to_canonical(), port)
}

fn read_v2(input: &[u8]) -> Result<Progress, ProxyError> {
    let Some(fixed) = input.get(V2_START.len()..V2_FIXED_BYTES) else {
        return Ok(Progress::More);
    };
    let [command, kind, high, low] = [fixed[0], fixed[1], fixed[2], fixed[3]];
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let form = Form::of(command, kind)?;
    if length - V2_FIXED_BYTES < form.address_bytes() {
        return Err(ProxyError::TooShort);
    }
    let Some(block) = input.get(V2_FIXED_BYTES..length) else {
        return Ok(Progress::More);
    };
    Ok(Progress::Whole(Header { length, source: form.source(block) }))
}

/// What the address block of version 2 holds.
#[derive(Clone, Copy)]
enum Form {
    /// LOCAL, or a family that was not told: to be skipped, whatever it is.
    Unread,
    Ipv4,
    Ipv6,
    Unix,
}

impl Form {
    fn of(command: u8, kind: u8) -> Result<Form, ProxyError> {
        let known_kind = kind >> 4 <= 3 && kind & 0xf <= 2;
        match (command, kind) {
            // LOCAL: the kind is to be ignored as well (2.2).
            (0x20, _) => Ok(Form::Unread),
            (0x21, 0x11) => Ok(Form::Ipv4),
            (0x21, 0x21) => Ok(Form::Ipv6),
            (0x21, 0x31) => Ok(Form::Unix),
            // A datagram carries no SMTP: whoever says so means another service.
            (0x21, _) if known_kind && kind & 0xf != 2 => Ok(Form::Unread),
            _ => Err(ProxyError::BadKind),
        }
    }

    /// Octets of both addresses and ports.
    fn address_bytes(self) -> usize {
        match self {
            Form::Unread => 0,
            Form::Ipv4 => 12,
            Form::Ipv6 => 36,
            Form::Unix => 216,
        }
    }

    /// `block` is as long as `address_bytes` at least.
    fn source(self, block: &[u8]) -> Option<SocketAddr> {
        let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        match self {
            Form::Unread | Form::Unix => None,
            Form::Ipv4 => Some(peer(*block.first_chunk::<4>()?, port(8))),
            Form::Ipv6 => Some(peer(*block.first_chunk::<16>()?, port(32))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProxyError::{BadKind, BadLine, NoHeader, TooLong, TooShort};
    use proptest::prelude::*;

    fn source(input: &[u8]) -> Option<String> {
        match read(input) {
            Ok(Progress::Whole(header)) => {
                assert_eq!(header.length, input.len());
                header.source.map(|source| source.to_string())
            }
            other => panic!("{other:?} of {}", input.escape_ascii()),
        }
    }

    fn v2(command: u8, kind: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2_START, &[command, kind], &length, block].concat()
    }

    fn ipv4_block(tlvs: &[u8]) -> Vec<u8> {
        [&[192, 0, 2, 7, 127, 0, 0, 1, 0xdc, 0x04, 0, 25], tlvs].concat()
    }

    fn ipv6_block(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        let ports = [0x01, 0x00, 0, 25];
        [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &ports].concat()
    }

    fn whole_headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v1 = |line: &str| format!("PROXY {line}\r\n").into_bytes();
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        vec![
            (v1("TCP4 192.0.2.7 127.0.0.1 56324 25"), Some("192.0.2.7:56324")),
            (v1("TCP4 0.0.0.0 255.255.255.255 0 65535"), Some("0.0.0.0:0")),
            (v1("TCP6 2001:db8::7 ::1 56324 25"), Some("[2001:db8::7]:56324")),
            (v1("TCP6 ::ffff:192.0.2.7 ::1 56324 25"), Some("192.0.2.7:56324")),
            (v1("UNKNOWN"), None),
            (v1(&format!("UNKNOWN {longest} {longest} 65535 65535")), None),
            (v2(0x21, 0x11, &ipv4_block(b"")), Some("192.0.2.7:56324")),
            // a TLV: PP2_TYPE_UNIQUE_ID of two octets
            (v2(0x21, 0x11, &ipv4_block(b"\x05\x00\x02ab")), Some("192.0.2.7:56324")),
            (v2(0x21, 0x21, &ipv6_block("2001:db8::7")), Some("[2001:db8::7]:256")),
            (v2(0x21, 0x21, &ipv6_block("::ffff:192.0.2.7")), Some("192.0.2.7:256")),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x00, b"\x04\x00\x00"), None),
            (v2(0x20, 0x00, b""), None),
            // LOCAL: whatever else it holds is skipped
            (v2(0x20, 0x11, &ipv4_block(b"")), None),
            (v2(0x20, 0xff, b"x"), None),
            (v2(0x21, 0x11, &ipv4_block(&[0; V2_BYTES_MAX - 28])), Some("192.0.2.7:56324")),
        ]
    }

    #[test]
    fn whole_headers_name_the_source() {
        for (input, expected) in whole_headers() {
            assert_eq!(source(&input).as_deref(), expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more() {
        for (input, _) in whole_headers() {
            for end in 0..input.len() {
                let begun = &input[..end];
                assert_eq!(read(begun), Ok(Progress::More), "{}", begun.escape_ascii());
            }
        }
    }

    #[test]
    fn what_follows_a_header_is_not_its_own() {
        for (input, _) in whole_headers() {
            let followed = [&input[..], b"EHLO x\r\nPROXY UNKNOWN\r\n"].concat();
            assert_eq!(read(&followed), read(&input));
        }
    }

    #[test]
    fn lines_that_are_not_of_the_form_are_refused() {
        let cases: [(&str, ProxyError); 22] = [
            ("EHLO client.test\r\n", NoHeader),
            ("proxy TCP4 192.0.2.7 127.0.0.1 1 25\r\n", NoHeader),
            ("PROXY\r\n", NoHeader),
            ("\n", NoHeader),
            ("\r\n\r\nQ", NoHeader),
            ("PROXY \r\n", BadLine),
            ("PROXY TCP4\r\n", BadLine),
            ("PROXY UDP4 192.0.2.7 127.0.0.1 1 25\r\n", BadLine),
            ("PROXY UNKNOWNS\r\n", BadLine),
            ("PROXY UNKNOWN\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 1 25\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 1\r\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 1 25 \r\n", BadLine),
            ("PROXY TCP4  192.0.2.7 127.0.0.1 1 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.07 127.0.0.1 1 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.256 127.0.0.1 1 25\r\n", BadLine),
            ("PROXY TCP4 ::1 ::1 1 25\r\n", BadLine),
            ("PROXY TCP6 192.0.2.7 127.0.0.1 1 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 65536 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 +1 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1 01 25\r\n", BadLine),
            ("PROXY TCP4 192.0.2.7 127.0.0.1  25\r\n", BadLine),
        ];
        for (input, error) in cases {
            assert_eq!(read(input.as_bytes()), Err(error), "{input:?}");
        }
        assert_eq!(read(b"PROXY TCP4 \xff\r\n"), Err(BadLine));
        let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(endless.len(), V1_BYTES_MAX + 1);
        assert_eq!(read(endless.as_bytes()), Err(TooLong));
        assert_eq!(read(&endless.as_bytes()[..V1_BYTES_MAX - 1]), Ok(Progress::More));
    }

    #[test]
    fn blocks_that_are_not_of_the_form_are_refused() {
        let cases = [
            (v2(0x11, 0x11, &ipv4_block(b"")), BadKind),
            (v2(0x22, 0x11, &ipv4_block(b"")), BadKind),
            (v2(0x21, 0x12, &ipv4_block(b"")), BadKind),
            (v2(0x21, 0x13, &ipv4_block(b"")), BadKind),
            (v2(0x21, 0x41, &ipv4_block(b"")), BadKind),
            (v2(0x21, 0x11, &[0; 11]), TooShort),
            (v2(0x21, 0x21, &ipv4_block(b"")), TooShort),
            (v2(0x21, 0x31, &[0; 215]), TooShort),
            (v2(0x21, 0x11, &[0; V2_BYTES_MAX - 15]), TooLong),
        ];
        for (input, error) in cases {
            assert_eq!(read(&input), Err(error), "{}", input.escape_ascii());
            // Known as soon as the fixed part is there, before its block is waited for.
            assert_eq!(read(&input[..V2_FIXED_BYTES]), Err(error));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            version in 0..3usize,
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let input = [[b"".as_slice(), V1_START, V2_START][version], &rest[..]].concat();
            // An answer, once given, does not change with what follows.
            let mut settled = None;
            for end in 0..=input.len() {
                let now = read(&input[..end]);
                match settled {
                    None if now != Ok(Progress::More) => settled = Some(now),
                    Some(earlier) => prop_assert_eq!(now, earlier),
                    None => {}
                }
                if let Ok(Progress::Whole(header)) = now {
                    prop_assert!(header.length <= end);
                }
            }
        }
    }
}
