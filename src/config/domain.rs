//! Domain names as a configuration holds them: host names and the patterns of routes.
//!
//! Decides what a host name is (RFC 1123 2.1: letters, digits and hyphens in labels of 1..=63) and
//! which recipients' domains a [`DomainPattern`] matches.
//! Names are ASCII and kept in lower case. An internationalised name is written as its A-label
//! (`xn--...`), because that is what a recipient's domain is compared with.
//! Never resolves anything.

use std::fmt;

/// RFC 1035 2.3.4 less the root's dot and length byte.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Which recipients' domains a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// `*`: every domain, address literals included.
    Any,
    /// `*.example.net`: names below, at any depth, but not `example.net` itself. The text kept
    /// begins with the dot.
    Below(String),
    /// `example.net`: this one name.
    Exact(String),
}

impl DomainPattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(DomainPattern::Any),
            _ => match text.strip_prefix("*.") {
                Some(suffix) => {
                    host_name(suffix).map(|name| DomainPattern::Below(format!(".{name}")))
                }
                None => host_name(text).map(DomainPattern::Exact),
            },
        }
    }

    /// Compares without regard to ASCII case (RFC 5321 2.4); allocates nothing.
    pub fn matches(&self, domain: &str) -> bool {
        match self {
            DomainPattern::Any => true,
            DomainPattern::Exact(name) => name.eq_ignore_ascii_case(domain),
            DomainPattern::Below(suffix) => {
                // Bytes, because a peer's text may hold a longer character where the suffix begins.
                let (domain, suffix) = (domain.as_bytes(), suffix.as_bytes());
                domain.len() > suffix.len()
                    && domain[domain.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
        }
    }

    /// Does this pattern match everything that `other` matches?
    pub fn covers(&self, other: &DomainPattern) -> bool {
        match (self, other) {
            (DomainPattern::Any, _) => true,
            (_, DomainPattern::Any) => false,
            (DomainPattern::Exact(name), DomainPattern::Exact(other)) => name == other,
            (DomainPattern::Exact(_), DomainPattern::Below(_)) => false,
            (DomainPattern::Below(_), DomainPattern::Exact(other)) => self.matches(other),
            (DomainPattern::Below(suffix), DomainPattern::Below(other)) => other.ends_with(suffix),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::Any => f.write_str("*"),
            DomainPattern::Below(suffix) => write!(f, "*{suffix}"),
            DomainPattern::Exact(name) => f.write_str(name),
        }
    }
}

/// A host name in lower case; one label is enough, because a machine may have no domain.
pub fn host_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(format!("the name is longer than {NAME_BYTES_MAX} bytes"));
    }
    if text.ends_with('.') {
        return Err("the name ends with a dot".to_owned());
    }
    if !text.is_ascii() {
        return Err("the name is not ASCII: write its A-label form, xn--...".to_owned());
    }
    for label in text.split('.') {
        check_label(label)?;
    }
    // RFC 1123 2.1: a name whose last label is all digits is taken for an address.
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the last label is a number: a name is needed, not an address".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

fn check_label(label: &str) -> Result<(), String> {
    if label.is_empty() {
        return Err("a label is empty".to_owned());
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(format!("a label is longer than {LABEL_BYTES_MAX} bytes"));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("a label begins or ends with a hyphen".to_owned());
    }
    match label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        None => Ok(()),
        Some(odd) => Err(format!("`{}` is no letter, digit or hyphen", odd.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}.test", "a.".repeat(126));
        let rows = [
            ("relay.example.net", Ok("relay.example.net")),
            ("Relay.Example.NET", Ok("relay.example.net")),
            ("box", Ok("box")),
            ("3com.test", Ok("3com.test")),
            ("xn--bcher-kva.test", Ok("xn--bcher-kva.test")),
            // refused
            ("", Err("empty")),
            (".", Err("ends with a dot")),
            ("a.test.", Err("ends with a dot")),
            ("a..test", Err("label is empty")),
            ("-a.test", Err("hyphen")),
            ("a-.test", Err("hyphen")),
            ("a_b.test", Err("`_`")),
            ("a b", Err("` `")),
            ("b\u{fc}cher.test", Err("A-label")),
            ("192.0.2.1", Err("not an address")),
            ("[192.0.2.1]", Err("`[`")),
            (&long_label, Err("longer than 63")),
            (&long_name, Err("longer than 253")),
        ];
        for (text, expected) in rows {
            match (host_name(text), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{text}"),
                (Err(says), Err(expected)) => assert!(says.contains(expected), "{text}: {says}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn matching() {
        let rows = [
            ("*", "anything.test", true),
            ("*", "[192.0.2.1]", true),
            ("a.test", "a.test", true),
            ("a.test", "A.TEST", true),
            ("a.test", "b.a.test", false),
            ("a.test", "aa.test", false),
            ("*.test", "a.test", true),
            ("*.test", "b.a.Test", true),
            ("*.test", "test", false),
            ("*.test", ".test", false),
            ("*.test", "atest", false),
            ("*.a.test", "xa.test", false),
            // a longer character across the point where the suffix would begin
            ("*.test", "\u{20ac}est", false),
            ("*.test", "", false),
        ];
        for (pattern, domain, expected) in rows {
            let parsed = DomainPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.matches(domain), expected, "{pattern} {domain}");
        }
        for refused in ["", "**", "*test", "a.*.test", "*.", "*.*"] {
            assert!(DomainPattern::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn covering() {
        let rows = [
            ("*", "*", true),
            ("*", "*.test", true),
            ("*.test", "*", false),
            ("*.test", "*.test", true),
            ("*.test", "*.a.test", true),
            ("*.a.test", "*.test", false),
            ("*.test", "*.atest", false),
            ("*.test", "a.test", true),
            ("*.test", "test", false),
            ("a.test", "a.test", true),
            ("a.test", "*.a.test", false),
        ];
        for (first, second, expected) in rows {
            let parse = |text: &str| DomainPattern::parse(text).expect("a pattern");
            assert_eq!(parse(first).covers(&parse(second)), expected, "{first} {second}");
        }
    }
}
