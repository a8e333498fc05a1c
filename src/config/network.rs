//! [`Network`]: the addresses that share a prefix, such as `192.0.2.0/24` or `2001:db8::/32`.
//!
//! Decides what a well-formed network is (no bits set after the prefix, so that `10.1.2.3/8` is
//! caught as the slip it usually is) and which networks are *wide*: so many addresses that trusting
//! them makes an open relay.
//! IPv4 and IPv6 never match each other. A peer that reaches an IPv6 socket over IPv4 shows up as
//! `::ffff:192.0.2.1`; it is compared as 192.0.2.1, and mapped networks are therefore refused.
//! CIDR notation: RFC 4632 3.1, RFC 4291 2.3.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Shorter IPv4 prefixes are wide: a /8 is the largest block one organisation ever held.
const IPV4_PREFIX_MIN: u8 = 8;
/// Shorter IPv6 prefixes are wide: registries themselves are given blocks of about this size.
const IPV6_PREFIX_MIN: u8 = 16;

/// An address prefix. The bits after the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Is the address inside? IPv4-mapped IPv6 addresses count as the IPv4 address they carry.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
            (base, address) => masked(address, self.prefix) == base,
        }
    }

    /// Bits of the prefix: 0..=32 for IPv4, 0..=128 for IPv6. More bits, fewer addresses.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Holds so many addresses that nobody can vouch for all of them.
    pub fn is_wide(&self) -> bool {
        match self.base {
            IpAddr::V4(_) => self.prefix < IPV4_PREFIX_MIN,
            IpAddr::V6(_) => self.prefix < IPV6_PREFIX_MIN,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// `address/prefix`, or one address alone.
impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let bits = bits_of(base);
        let prefix = match prefix {
            None => bits,
            Some(digits) => parse_prefix(digits, bits)?,
        };
        if base.to_canonical() != base {
            return Err(NetworkError::Mapped);
        }
        let network = Network { base: masked(base, prefix), prefix };
        if network.base == base { Ok(network) } else { Err(NetworkError::HostBits { network }) }
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Not an IPv4 or IPv6 address before the slash.
    Address,
    /// The prefix is not a whole number up to `bits`.
    Prefix { bits: u8 },
    /// Bits after the prefix are set; `network` is the one without them.
    HostBits { network: Network },
    /// An IPv4-mapped IPv6 address.
    Mapped,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Address => f.write_str("not an IP address"),
            NetworkError::Prefix { bits } => write!(f, "the prefix is not a number up to {bits}"),
            NetworkError::HostBits { network } => {
                write!(f, "bits after the prefix are set, {network} is meant?")
            }
            NetworkError::Mapped => f.write_str("write an IPv4-mapped network as IPv4"),
        }
    }
}

impl Error for NetworkError {}

fn parse_prefix(digits: &str, bits: u8) -> Result<u8, NetworkError> {
    let wrong = NetworkError::Prefix { bits };
    // u8::from_str takes a leading `+`, and a leading zero hides a slip.
    let plain = digits.bytes().all(|b| b.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    if !plain {
        return Err(wrong);
    }
    digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or(wrong)
}

fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let rest = u32::from(bits_of(address).saturating_sub(prefix));
    match address {
        // Shifting by the full width is what a /0 asks for, hence the checked form.
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let rows = [
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            // refused
            ("", Err(NetworkError::Address)),
            ("localhost", Err(NetworkError::Address)),
            ("192.0.2/24", Err(NetworkError::Address)),
            ("192.0.2.0/", Err(NetworkError::Prefix { bits: 32 })),
            ("192.0.2.0/33", Err(NetworkError::Prefix { bits: 32 })),
            ("192.0.2.0/+8", Err(NetworkError::Prefix { bits: 32 })),
            ("192.0.2.0/08", Err(NetworkError::Prefix { bits: 32 })),
            ("192.0.2.0/999", Err(NetworkError::Prefix { bits: 32 })),
            ("::/129", Err(NetworkError::Prefix { bits: 128 })),
            ("::ffff:192.0.2.0/120", Err(NetworkError::Mapped)),
        ];
        for (text, expected) in rows {
            let found = text.parse::<Network>().map(|network| network.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
        let says = "10.1.2.3/8".parse::<Network>().expect_err("host bits").to_string();
        assert_eq!(says, "bits after the prefix are set, 10.0.0.0/8 is meant?");
    }

    #[test]
    fn containing() {
        let rows = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:11.1.2.3", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::/0", "2001:db8::1", true),
            // a mapped address is IPv4, which no IPv6 network holds
            ("::/0", "::ffff:10.0.0.1", false),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in rows {
            let parsed: Network = network.parse().expect(network);
            let found = parsed.contains(address.parse().expect(address));
            assert_eq!(found, expected, "{network} {address}");
        }
    }

    #[test]
    fn width() {
        let rows = [
            ("0.0.0.0/0", true),
            ("64.0.0.0/7", true),
            ("10.0.0.0/8", false),
            ("::/0", true),
            ("2000::/15", true),
            ("2001::/16", false),
        ];
        for (text, wide) in rows {
            assert_eq!(text.parse::<Network>().expect(text).is_wide(), wide, "{text}");
        }
    }
}
