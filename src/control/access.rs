//! Who may use the admin API.
//!
//! With a token: whoever knows it. Without one: this machine only, which means that the port
//! listens on loopback, the peer comes from loopback, and the request names a loopback host. The
//! last keeps out a web page whose own name was made to resolve to 127.0.0.1 (DNS rebinding).
//!
//! `/metrics`, `/healthz` and `/readyz` name no address, domain or message and are open to
//! whoever reaches the port. RFC 6750 2.1 (bearer tokens), RFC 9112 3.2 (Host).

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 1_024;

/// A secret that opens the API.
pub(super) struct Token(Box<str>);

/// Why a token file gives no token.
#[derive(Debug)]
pub enum BadToken {
    Unreadable(io::Error),
    /// Not 16 to 1,024 visible ASCII characters on one line.
    Unfit,
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadToken::Unreadable(error) => write!(f, "{error}"),
            BadToken::Unfit => write!(
                f,
                "not a token; allowed: one line of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible \
                 ASCII characters, for example from `openssl rand -hex 32`"
            ),
        }
    }
}

impl Token {
    pub(super) fn read(path: &Path) -> Result<Self, BadToken> {
        let text = fs::read(path).map_err(BadToken::Unreadable)?;
        let text = text.trim_ascii();
        let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        match str::from_utf8(text) {
            Ok(text) if fits && text.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(Token(text.into()))
            }
            Ok(_) | Err(_) => Err(BadToken::Unfit),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// In a time that depends on the length only, so that a guess cannot be improved octet by
    /// octet.
    fn matches(&self, given: &[u8]) -> bool {
        let known = self.0.as_bytes();
        let pairs = known.iter().zip(given);
        let differs = pairs.fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        known.len() == given.len() && differs == 0
    }
}

/// Why a request may not use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// A token is required; none, or a wrong one, came.
    Token,
    /// No token is set up, so only this machine may ask.
    NotLocal,
}

/// The rule in force.
pub(super) struct Access {
    token: Option<Token>,
    /// Where the port listens.
    local: IpAddr,
}

impl Access {
    pub(super) fn new(token: Option<Token>, local: SocketAddr) -> Self {
        Access { token, local: local.ip() }
    }

    /// `host` and `authorization` are the header fields of the request.
    pub(super) fn check(
        &self,
        peer: SocketAddr,
        host: Option<&[u8]>,
        authorization: Option<&[u8]>,
    ) -> Result<(), Denied> {
        match &self.token {
            Some(token) => match authorization.and_then(bearer) {
                Some(given) if token.matches(given) => Ok(()),
                Some(_) | None => Err(Denied::Token),
            },
            None if self.local.is_loopback()
                && peer.ip().is_loopback()
                && host.is_some_and(names_loopback) =>
            {
                Ok(())
            }
            None => Err(Denied::NotLocal),
        }
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn names_loopback(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_token_only_this_machine_may_ask() {
        let (here, there) = ("127.0.0.1:9", "192.0.2.1:9");
        // where it listens, who asks, the Host it names, whether it may
        let cases = [
            (here, here, Some("127.0.0.1:9525"), true),
            ("[::1]:9525", "[::1]:9", Some("[::1]:9525"), true),
            (here, here, Some("[::1]"), true),
            (here, here, Some("localhost"), true),
            (here, here, Some("LocalHost:9525"), true),
            (here, here, Some("evil.example:9525"), false),
            (here, here, Some("localhost.evil.example"), false),
            (here, here, None, false),
            (here, there, Some("127.0.0.1:9525"), false),
            ("0.0.0.0:9525", here, Some("127.0.0.1:9525"), false),
            ("192.0.2.1:9525", here, Some("127.0.0.1:9525"), false),
        ];
        for (local, peer, host, may) in cases {
            let access = Access::new(None, address(local));
            let found = access.check(address(peer), host.map(str::as_bytes), None);
            assert_eq!(found.is_ok(), may, "{local} {peer} {host:?}");
        }
    }

    #[test]
    fn with_a_token_whoever_knows_it_may_ask() {
        let access = Access::new(Some(Token(TOKEN.into())), address("0.0.0.0:9525"));
        let cases = [
            (Some("Bearer 0123456789abcdef"), true),
            (Some("bearer  0123456789abcdef "), true),
            (Some("Bearer 0123456789abcdeF"), false),
            (Some("Bearer 0123456789abcde"), false),
            (Some("Bearer 0123456789abcdeff"), false),
            (Some("Bearer "), false),
            (Some("Basic 0123456789abcdef"), false),
            (Some("0123456789abcdef"), false),
            (None, false),
        ];
        for (authorization, may) in cases {
            let given = authorization.map(str::as_bytes);
            let found = access.check(address("192.0.2.1:9"), None, given);
            assert_eq!(found.is_ok(), may, "{authorization:?}");
        }
    }
}
