//! Mailboxes and paths: bytes in, a checked [`Address`] or [`ReversePath`] out.
//!
//! Decides what counts as an address, once, at the edge: commands, header fields, configuration
//! and admin requests all come through here. Case stays as written, quotes stay as written, a
//! source route is checked and dropped. Never looks anything up, and never asks whether SMTPUTF8
//! was negotiated; the caller does, with `needs_utf8`.
//!
//! Looser than the grammar in one place: a domain may hold underscores, because domains that mail
//! comes from do. Stricter in another: compatibility forms that IDNA maps to other characters
//! are refused, so that no later stage can read a second dot or `@` out of a domain.
//!
//! RFC 5321 4.1.2 (paths), 4.1.3 (literals), 4.5.3.1 (lengths), appendix C (source routes),
//! RFC 6531 3.3 (UTF-8), RFC 5891 4.2 (labels).

use crate::message::{Address, ReversePath, StatusCode};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 5321 4.5.3.1.1.
pub const LOCAL_OCTETS_MAX: usize = 64;
/// RFC 5321 4.5.3.1.2.
pub const DOMAIN_OCTETS_MAX: usize = 255;
/// RFC 5321 4.5.3.1.3; the angle brackets count, a source route does not, since it is dropped.
pub const PATH_OCTETS_MAX: usize = 256;
/// RFC 1035 2.3.4. A U-label is counted in characters: its A-label, which the 63 octets are
/// about, is known only after IDNA, and its UTF-8 form may be longer (RFC 5890 4.2).
pub const LABEL_CHARACTERS_MAX: usize = 63;

/// The enhanced code of an [`AddressError`] in MAIL FROM (RFC 3463 3.2).
pub const BAD_SENDER: StatusCode = StatusCode::new(5, 1, 7);
/// The enhanced code of an [`AddressError`] in RCPT TO (RFC 3463 3.2).
pub const BAD_RECIPIENT: StatusCode = StatusCode::new(5, 1, 3);

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    Empty,
    NotUtf8,
    NoBrackets,
    NullRecipient,
    BadRoute,
    BadLocal,
    BadQuote,
    LocalTooLong,
    NoDomain,
    BadDomain,
    TrailingDot,
    DomainTooLong,
    BadLiteral,
    PathTooLong,
}

impl AddressError {
    /// In words that the sender of the address can act on.
    pub const fn as_str(self) -> &'static str {
        match self {
            AddressError::Empty => "The address is empty",
            AddressError::NotUtf8 => "The address is neither ASCII nor UTF-8",
            AddressError::NoBrackets => "Write the <address> in angle brackets",
            AddressError::NullRecipient => "The null address <> cannot receive mail",
            AddressError::BadRoute => "The source route before the address is malformed",
            AddressError::BadLocal => {
                "The part before @ is malformed: quote special characters, \
                 and dots that do not stand between letters"
            }
            AddressError::BadQuote => "The quoted part before @ is malformed",
            AddressError::LocalTooLong => "The part before @ is longer than 64 octets",
            AddressError::NoDomain => "The address has no @domain",
            AddressError::BadDomain => "The domain of the address is malformed",
            AddressError::TrailingDot => "The domain of an address does not end in a dot",
            AddressError::DomainTooLong => {
                "The domain of the address is longer than 255 octets, or a label of it than 63"
            }
            AddressError::BadLiteral => {
                "An address literal is written [192.0.2.1] or [IPv6:2001:db8::1]"
            }
            AddressError::PathTooLong => "The address is longer than 254 octets",
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for AddressError {}

/// Reads `local@domain`, without angle brackets, to the end of `text`.
pub fn parse_mailbox(text: &[u8]) -> Result<Address, AddressError> {
    let text = std::str::from_utf8(text).map_err(|_| AddressError::NotUtf8)?;
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let at = if text.starts_with('"') { quoted_end(text)? } else { dot_string_end(text)? };
    if at > LOCAL_OCTETS_MAX {
        return Err(AddressError::LocalTooLong);
    }
    check_domain_or_literal(&text[at + 1..])?;
    if text.len() + "<>".len() > PATH_OCTETS_MAX {
        return Err(AddressError::PathTooLong);
    }
    Ok(Address::from_checked(text, at))
}

/// Takes a reverse-path, `<local@domain>` or `<>`, off the front of `text`. Gives what follows
/// the closing bracket as well: the parameters of the command.
pub fn parse_path(text: &[u8]) -> Result<(ReversePath, &[u8]), AddressError> {
    let (inside, rest) = split_brackets(text)?;
    if inside.is_empty() {
        return Ok((ReversePath::Null, rest));
    }
    Ok((ReversePath::Mailbox(parse_mailbox(after_route(inside)?)?), rest))
}

/// Takes a forward-path off the front of `text`, like [`parse_path`]. It cannot be null, but it
/// may be `<postmaster>` without a domain (RFC 5321 4.5.1).
pub fn parse_forward_path(text: &[u8]) -> Result<(Address, &[u8]), AddressError> {
    let (inside, rest) = split_brackets(text)?;
    if inside.eq_ignore_ascii_case(b"postmaster") {
        let name = String::from_utf8_lossy(inside).into_owned();
        let end = name.len();
        return Ok((Address::from_checked(name, end), rest));
    }
    if inside.is_empty() {
        return Err(AddressError::NullRecipient);
    }
    Ok((parse_mailbox(after_route(inside)?)?, rest))
}

/// Splits `<inside>rest`. A `>` within a quoted string does not close the path.
fn split_brackets(text: &[u8]) -> Result<(&[u8], &[u8]), AddressError> {
    let Some(path) = text.strip_prefix(b"<") else {
        return Err(AddressError::NoBrackets);
    };
    let mut quoted = false;
    let mut escaped = false;
    for (place, &octet) in path.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok((&path[..place], &path[place + 1..])),
            _ => {}
        }
    }
    Err(AddressError::NoBrackets)
}

/// Drops a source route `@one,@two:` (RFC 5321 appendix C: accept, and ignore).
fn after_route(path: &[u8]) -> Result<&[u8], AddressError> {
    if !path.starts_with(b"@") {
        return Ok(path);
    }
    let colon = memchr::memchr(b':', path).ok_or(AddressError::BadRoute)?;
    let route = std::str::from_utf8(&path[..colon]).map_err(|_| AddressError::NotUtf8)?;
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').ok_or(AddressError::BadRoute)?;
        check_domain(domain).map_err(|_| AddressError::BadRoute)?;
    }
    Ok(&path[colon + 1..])
}

/// Where the `@` after a Dot-string stands.
fn dot_string_end(text: &str) -> Result<usize, AddressError> {
    let mut after_dot = true;
    for (place, letter) in text.char_indices() {
        match letter {
            '@' | '.' if after_dot => return Err(AddressError::BadLocal),
            '@' => return Ok(place),
            '.' => after_dot = true,
            _ if is_atext(letter) => after_dot = false,
            _ => return Err(AddressError::BadLocal),
        }
    }
    Err(AddressError::NoDomain)
}

/// RFC 5322 3.2.3, and any UTF-8 (RFC 6531 3.3) but what would break or bend a line of text.
fn is_atext(letter: char) -> bool {
    match letter {
        _ if letter.is_ascii_alphanumeric() => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' => true,
        '=' | '?' | '^' | '_' | '`' | '{' | '|' | '}' | '~' => true,
        _ => !letter.is_ascii() && !letter.is_control() && !letter.is_whitespace(),
    }
}

/// Where the `@` after a Quoted-string stands.
fn quoted_end(text: &str) -> Result<usize, AddressError> {
    let mut letters = text.char_indices().skip(1);
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => {
                return match text.as_bytes().get(place + 1) {
                    Some(b'@') => Ok(place + 1),
                    Some(_) => Err(AddressError::BadQuote),
                    None => Err(AddressError::NoDomain),
                };
            }
            '\\' => match letters.next() {
                Some((_, ' '..='~')) => {}
                _ => return Err(AddressError::BadQuote),
            },
            _ if letter.is_control() => return Err(AddressError::BadQuote),
            _ => {}
        }
    }
    Err(AddressError::BadQuote)
}

fn check_domain_or_literal(domain: &str) -> Result<(), AddressError> {
    match domain.strip_prefix('[') {
        Some(literal) => check_literal(literal),
        None => check_domain(domain),
    }
}

/// The rest of `[...]` after its first bracket. Tags other than IPv6 have never been registered,
/// so a General-address-literal leads nowhere and is refused.
fn check_literal(rest: &str) -> Result<(), AddressError> {
    let inside = rest.strip_suffix(']').ok_or(AddressError::BadLiteral)?;
    let valid = match inside.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        _ => inside.parse::<Ipv4Addr>().is_ok(),
    };
    if valid { Ok(()) } else { Err(AddressError::BadLiteral) }
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.len() > DOMAIN_OCTETS_MAX {
        return Err(AddressError::DomainTooLong);
    }
    // Lanes and routes are keyed by the name: `a.test.` beside `a.test` would make two of one.
    if domain.ends_with('.') {
        return Err(AddressError::TrailingDot);
    }
    domain.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), AddressError> {
    let edges_hold = !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if !edges_hold || !label.chars().all(is_label_letter) {
        return Err(AddressError::BadDomain);
    }
    if label.chars().count() > LABEL_CHARACTERS_MAX {
        return Err(AddressError::DomainTooLong);
    }
    Ok(())
}

fn is_label_letter(letter: char) -> bool {
    match letter {
        '-' | '_' => true,
        // The ideographic full stop and the half- and full-width forms: none is valid in a
        // U-label, and UTS 46 maps them to ASCII, dots and `@` among them.
        '\u{3002}' | '\u{ff00}'..='\u{ffef}' => false,
        _ if letter.is_ascii() => letter.is_ascii_alphanumeric(),
        _ => !letter.is_control() && !letter.is_whitespace(),
    }
}
