//! Forms of text: an address, a path, a host name, an account, a rate, a password hash and so on.
//!
//! A [`Form`] couples the words that describe a text with the function that parses it, so that a
//! message never promises what the parser refuses.
//! Decides what each text may look like; never whether the thing it names exists.
//! Messages show the refused text, except where it is a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::domain::{DomainPattern, host_name};
use super::network::Network;
use super::password::password_hash;
use super::problem::shown;
use super::unit::{Rate, parse_rate};

/// Names end up in every event of a delivery.
const NAME_BYTES_MAX: usize = 32;
const ACCOUNT_BYTES_MAX: usize = 64;
/// RFC 5321 4.5.3.1.1.
const LOCAL_PART_BYTES_MAX: usize = 64;
/// PATH_MAX of Linux.
const PATH_BYTES_MAX: usize = 4096;

/// A form of text.
pub struct Form<T: 'static> {
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// May a message repeat the text?
    shown: Shown,
    parser: fn(&str) -> Result<T, String>,
}

enum Shown {
    Text,
    Nothing,
}

impl<T> Form<T> {
    /// A form whose refused texts may be repeated in messages.
    pub const fn shown(allowed: &'static str, parser: fn(&str) -> Result<T, String>) -> Self {
        Form { allowed, shown: Shown::Text, parser }
    }

    /// The value, or the bare reason of the refusal: for forms made out of other forms.
    pub fn reason(&self, text: &str) -> Result<T, String> {
        (self.parser)(text)
    }

    /// The value, or the end of a sentence that begins with the key.
    pub fn parse(&self, text: &str) -> Result<T, String> {
        (self.parser)(text).map_err(|reason| match self.shown {
            Shown::Text => format!("is \"{}\": {reason}", shown(text)),
            Shown::Nothing => format!("is refused: {reason}"),
        })
    }
}

/// Where to listen.
pub const ADDRESS: Form<SocketAddr> = Form::shown(
    "ip:port, such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\"; port 0 takes any free one",
    address,
);

/// Where to connect to.
pub const ENDPOINT: Form<SocketAddr> =
    Form::shown("ip:port, such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\"", endpoint);

/// Where to connect from.
pub const IP_ADDRESS: Form<IpAddr> =
    Form::shown("an IP address, such as \"192.0.2.1\" or \"2001:db8::1\"", ip_address);

/// What an operator calls a source, a pool or a provider.
pub const NAME: Form<String> =
    Form::shown("1 to 32 of a-z, 0-9, dot, underscore and hyphen", |text| {
        name(text, NAME_BYTES_MAX).ok_or_else(|| "not a name".to_owned())
    });

pub const RATE: Form<Rate> = Form::shown(
    "1 to 1000000 messages per s, min or h, such as \"5/s\", \"100/min\" or \"2000/h\"",
    parse_rate,
);

pub const NETWORK: Form<Network> = Form::shown(
    "address/prefix or one address, such as \"192.0.2.0/24\" or \"2001:db8::1\"",
    |text| text.parse().map_err(|error: super::NetworkError| error.to_string()),
);

pub const HOST_NAME: Form<String> =
    Form::shown("a host name, such as \"relay.example.net\"", host_name);

pub const DOMAIN_PATTERN: Form<DomainPattern> = Form::shown(
    "a domain, \"*.\" and a domain for all names below it, or \"*\" for all",
    DomainPattern::parse,
);

pub const MAILBOX: Form<String> =
    Form::shown("a mail address, such as \"postmaster@example.net\"", mailbox);

pub const ACCOUNT_NAME: Form<String> =
    Form::shown("1 to 64 of a-z, 0-9, dot, underscore and hyphen", |text| {
        name(text, ACCOUNT_BYTES_MAX).ok_or_else(|| "not the name of an account".to_owned())
    });

pub const PASSWORD_HASH: Form<String> = Form {
    allowed: "\"$argon2id$v=19$m=..,t=..,p=..$salt$hash\"",
    shown: Shown::Nothing,
    parser: password_hash,
};

pub const PATH: Form<PathBuf> =
    Form::shown("a path; a relative one counts from the working directory", path);

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("it has no port".to_owned());
    };
    // `2001:db8::1` ends in what looks like a port.
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err("it has no port, and IPv6 needs brackets before one".to_owned());
    }
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the port is not a number".to_owned());
    }
    if port.parse::<u16>().is_err() {
        return Err("the port is above 65535".to_owned());
    }
    if host_name(host).is_ok() {
        return Err("the host is a name, an IP address is needed".to_owned());
    }
    Err("the host is not an IP address".to_owned())
}

fn endpoint(text: &str) -> Result<SocketAddr, String> {
    let endpoint = address(text)?;
    if endpoint.port() == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    if endpoint.ip().is_unspecified() || endpoint.ip().is_multicast() {
        return Err("this address cannot be connected to".to_owned());
    }
    Ok(endpoint)
}

/// A dot-atom before the at-sign (RFC 5322 3.2.3) and a host name after it. Quoted local parts are
/// legal in mail but only ever a slip here.
fn mailbox(text: &str) -> Result<String, String> {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err("it has no @".to_owned());
    };
    if local.is_empty() || local.len() > LOCAL_PART_BYTES_MAX {
        return Err(format!("the part before @ is not 1 to {LOCAL_PART_BYTES_MAX} bytes long"));
    }
    let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    if !local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext)) {
        return Err("the part before @ has characters that would need quoting".to_owned());
    }
    Ok(format!("{local}@{}", host_name(domain)?))
}

/// A mapped address is refused because the kernel would send from the IPv4 one, which then is what
/// should be written.
fn ip_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| match text.parse::<SocketAddr>() {
        Ok(_) => "it has a port, which the kernel chooses".to_owned(),
        Err(_) => "it is not an IP address".to_owned(),
    })?;
    let (nobody, mapped) = match address {
        IpAddr::V4(four) => (four.is_broadcast(), false),
        IpAddr::V6(six) => (false, six.to_ipv4_mapped().is_some()),
    };
    if mapped {
        return Err("it is an IPv4 address in IPv6 form, write it as IPv4".to_owned());
    }
    if nobody || address.is_unspecified() || address.is_multicast() {
        return Err("no host can connect from this address".to_owned());
    }
    Ok(address)
}

fn name(text: &str, bytes_max: usize) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let good = !text.is_empty() && text.len() <= bytes_max && text.bytes().all(plain);
    good.then(|| text.to_owned())
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if text.len() > PATH_BYTES_MAX || text.contains('\0') {
        return Err("no file can have this path".to_owned());
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text kept, or a part of what the message must say.
    type Row = (&'static str, Result<&'static str, &'static str>);

    fn check<T: ToString>(form: &Form<T>, rows: &[Row]) {
        for (text, expected) in rows {
            match (form.parse(text).map(|value| value.to_string()), expected) {
                (Ok(kept), Ok(expected)) => assert_eq!(&kept, expected, "{text}"),
                (Err(says), Err(expected)) => assert!(says.contains(expected), "{text}: {says}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn addresses() {
        let rows = [
            ("127.0.0.1:2525", Ok("127.0.0.1:2525")),
            ("[::1]:25", Ok("[::1]:25")),
            ("0.0.0.0:0", Ok("0.0.0.0:0")),
            ("127.0.0.1", Err("no port")),
            ("::1", Err("needs brackets")),
            ("2001:db8::1", Err("needs brackets")),
            ("127.0.0.1:", Err("port is not a number")),
            ("127.0.0.1:smtp", Err("port is not a number")),
            ("127.0.0.1:65536", Err("above 65535")),
            ("mx.example.net:25", Err("the host is a name")),
            ("1.2.3:25", Err("not an IP address")),
            ("", Err("no port")),
        ];
        check(&ADDRESS, &rows);
        let rows = [
            ("192.0.2.1:25", Ok("192.0.2.1:25")),
            ("192.0.2.1:0", Err("port 0")),
            ("0.0.0.0:25", Err("cannot be connected")),
            ("[::]:25", Err("cannot be connected")),
            ("224.0.0.1:25", Err("cannot be connected")),
        ];
        check(&ENDPOINT, &rows);
    }

    #[test]
    fn addresses_to_connect_from() {
        let rows = [
            ("192.0.2.1", Ok("192.0.2.1")),
            ("127.0.0.2", Ok("127.0.0.2")),
            ("2001:DB8::1", Ok("2001:db8::1")),
            ("::1", Ok("::1")),
            ("192.0.2.1:25", Err("has a port")),
            ("[::1]:25", Err("has a port")),
            ("192.0.2.0/24", Err("not an IP address")),
            ("mx.example.net", Err("not an IP address")),
            ("0.0.0.0", Err("no host can")),
            ("::", Err("no host can")),
            ("224.0.0.1", Err("no host can")),
            ("ff02::1", Err("no host can")),
            ("255.255.255.255", Err("no host can")),
            ("::ffff:192.0.2.1", Err("write it as IPv4")),
        ];
        check(&IP_ADDRESS, &rows);
    }

    #[test]
    fn mailboxes() {
        let rows = [
            ("postmaster@Example.NET", Ok("postmaster@example.net")),
            ("a.b+c@box", Ok("a.b+c@box")),
            ("postmaster", Err("no @")),
            ("@example.net", Err("before @")),
            ("a..b@example.net", Err("quoting")),
            ("a b@example.net", Err("quoting")),
            ("a@b@example.net", Err("quoting")),
            ("a@", Err("empty")),
            ("a@example.net\r\nX: y", Err("`\\r`")),
        ];
        check(&MAILBOX, &rows);
    }

    #[test]
    fn names() {
        let rows = [
            ("acme-1_2.x", Ok("acme-1_2.x")),
            ("Acme", Err("Acme")),
            ("", Err("")),
            ("a|b", Err("")),
        ];
        check(&ACCOUNT_NAME, &rows);
        check(&NAME, &rows);
        let long = "a".repeat(33);
        assert!(ACCOUNT_NAME.parse(&long).is_ok() && NAME.parse(&long).is_err());
    }

    #[test]
    fn messages_are_short_and_keep_secrets() {
        let says = HOST_NAME.parse(&"_".repeat(10_000)).expect_err("too long");
        assert!(says.len() < 300, "{}", says.len());
        let says = PASSWORD_HASH.parse("hunter2").expect_err("no hash");
        assert!(!says.contains("hunter2"), "{says}");
    }
}
