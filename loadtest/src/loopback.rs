//! The one kind of address that the load generator talks to: this host's own.
//!
//! A load generator that is pointed at the Internet is abuse, so `Loopback` is the only address
//! type that sockets are opened with, and parsing is the only way to make one. Names are not
//! resolved: what a name means is decided elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A socket address in 127.0.0.0/8 or `[::1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback(SocketAddr);

impl Loopback {
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

/// Why a text is no loopback address.
#[derive(Debug, PartialEq, Eq)]
pub enum NotLoopback {
    NoAddress,
    OtherHost,
}

impl fmt::Display for NotLoopback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            NotLoopback::NoAddress => "not an IP address and port (such as 127.0.0.1:2525)",
            NotLoopback::OtherHost => {
                "refused: load stays on this host, only 127.0.0.0/8 and [::1] are allowed"
            }
        })
    }
}

impl std::error::Error for NotLoopback {}

impl FromStr for Loopback {
    type Err = NotLoopback;

    fn from_str(text: &str) -> Result<Loopback, NotLoopback> {
        let address: SocketAddr = text.parse().map_err(|_| NotLoopback::NoAddress)?;
        // `::ffff:127.0.0.1` is refused as well: the one spelling of an address is enough.
        if address.ip().is_loopback() { Ok(Loopback(address)) } else { Err(NotLoopback::OtherHost) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_an_address() {
        for good in ["127.0.0.1:25", "127.255.0.9:0", "[::1]:2525"] {
            assert!(good.parse::<Loopback>().is_ok(), "{good}");
        }
        for other in ["192.0.2.1:25", "0.0.0.0:25", "[::]:25", "[::ffff:127.0.0.1]:25"] {
            assert_eq!(other.parse::<Loopback>(), Err(NotLoopback::OtherHost), "{other}");
        }
        for bad in ["localhost:25", "127.0.0.1", "", ":25"] {
            assert_eq!(bad.parse::<Loopback>(), Err(NotLoopback::NoAddress), "{bad}");
        }
    }
}
