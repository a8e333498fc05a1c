//! What a field of each header family claims: text in, a typed claim out.
//!
//! Decides how each family's value is read, and what is too long or too odd to be read at all.
//! Never decides whether a claim is believed: that is for `rules`. Every parser is one pass over a
//! text that is already bounded, and takes the reading that gives a stranger the least: what a
//! visitor of a web site can write (a path behind the script, a forwarded address) names nobody.

use crate::config::HeaderFamily;
use crate::identify::path;
use crate::identify::value::{Length, Text};
use std::net::IpAddr;

/// Octets of a login or user name: a mailbox of RFC 5321 4.5.3.1 with some room.
pub const LOGIN_BYTES_MAX: usize = 320;

/// Visitors of one script that are kept.
pub const VISITORS_MAX: usize = 16;

/// What a field says, if it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Another relay's sender id.
    Upstream {
        account: String,
        kind: String,
        value: String,
    },
    /// Who logged in; unique for the whole peer.
    Login(String),
    /// A mailbox, or a user of one server; `server` is empty where the field does not say it.
    User {
        server: String,
        name: String,
    },
    /// A user id of the server.
    Uid(u32),
    /// The name of the server.
    Server(String),
    Script(Script),
    /// The script and the owner of its home folder, of a command line; one may be empty.
    Arguments {
        script: String,
        owner: String,
    },
    Folder {
        vhost: String,
        path: String,
    },
    Originating {
        uid: u32,
        script: String,
        code: Code,
    },
    Program(String),
    Vhost(String),
    Visitor(IpAddr),
    /// A field of the family that names nobody.
    Nothing,
}

/// A script that a web server ran, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// In lower case, without port and leading `www.`.
    pub host: String,
    /// From the slash on, up to and with the script.
    pub path: String,
    /// Different addresses, [`VISITORS_MAX`] at most.
    pub visitors: Vec<IpAddr>,
}

/// Where the sending code stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    File,
    /// In a string that was run: `eval()'d code`.
    Evaluated,
}

/// Why a field claims nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    Empty,
    Overlong,
    Malformed,
}

/// Reads a field's value.
pub fn read(family: HeaderFamily, text: &Text<'_>) -> Result<Claim, Unread> {
    let (value, length) = (text.text.as_ref(), text.length);
    if value.is_empty() {
        return Err(Unread::Empty);
    }
    match family {
        HeaderFamily::XBatonSenderId
        | HeaderFamily::XMailChannelsSenderId
        | HeaderFamily::XSenderId => whole(length).and_then(|()| upstream(value)),
        HeaderFamily::XAuthUser => login(value).map(Claim::Login),
        HeaderFamily::XAuthenticatedId | HeaderFamily::XAuthenticatedUser => {
            let name = login(value)?;
            Ok(Claim::User { server: String::new(), name })
        }
        HeaderFamily::XAuthenticatedSender => authenticated_sender(value),
        HeaderFamily::XGetMessageSenderVia => sender_via(value),
        HeaderFamily::Received => received(value),
        HeaderFamily::XPhpScript => script(value),
        HeaderFamily::XSourceArgs => arguments(value),
        HeaderFamily::XSourceDir => folder(value),
        HeaderFamily::XSource => Ok(Claim::Program(value.to_owned())),
        HeaderFamily::XPhpOriginatingScript => originating(value),
        HeaderFamily::XAntiAbuse => anti_abuse(value),
        HeaderFamily::XAuthenticationWarning => warning(value),
        HeaderFamily::XPppVhost => host(value).map(Claim::Vhost),
        HeaderFamily::XPppMessageId => {
            let (_, server) = value.rsplit_once('@').ok_or(Unread::Malformed)?;
            host(server.trim_end_matches('>')).map(Claim::Server)
        }
        HeaderFamily::XOriginatingIp => address(value).map(Claim::Visitor).ok_or(Unread::Malformed),
        HeaderFamily::EnvelopeSender => Err(Unread::Empty),
    }
}

fn whole(length: Length) -> Result<(), Unread> {
    match length {
        Length::Whole => Ok(()),
        Length::Cut => Err(Unread::Overlong),
    }
}

/// In lower case: what logs in as `Joe` and `joe` is one, and a thief who varies the case must not
/// get a new name each time.
fn login(text: &str) -> Result<String, Unread> {
    match text.trim() {
        "" => Err(Unread::Empty),
        name if name.len() > LOGIN_BYTES_MAX => Err(Unread::Overlong),
        name => Ok(name.to_lowercase()),
    }
}

fn host(text: &str) -> Result<String, Unread> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = text.trim().trim_end_matches('.');
    match name {
        "" => Err(Unread::Empty),
        _ if name.len() > 253 => Err(Unread::Overlong),
        _ if name.chars().all(plain) => Ok(name.to_lowercase()),
        _ => Err(Unread::Malformed),
    }
}

/// `[192.0.2.1]`, `192.0.2.1`, `[IPv6:2001:db8::1]`.
pub fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// `account|kind|value`. The first two are names, so that three parts stay three parts.
fn upstream(text: &str) -> Result<Claim, Unread> {
    let name = |text: &str| -> Result<String, Unread> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let good = !text.is_empty() && text.len() <= 64 && text.bytes().all(plain);
        good.then(|| text.to_ascii_lowercase()).ok_or(Unread::Malformed)
    };
    let mut parts = text.splitn(3, '|').map(str::trim);
    let (account, kind, value) = (parts.next(), parts.next(), parts.next());
    match (account, kind, value) {
        (Some(account), Some(kind), Some(value)) if !value.is_empty() => {
            Ok(Claim::Upstream { account: name(account)?, kind: name(kind)?, value: value.into() })
        }
        _ => Err(Unread::Malformed),
    }
}

/// `srv1.host.example: acct3` or `srv1.host.example: user@customer.example`.
fn authenticated_sender(text: &str) -> Result<Claim, Unread> {
    let (server, name) = text.split_once(": ").unwrap_or(("", text));
    Ok(Claim::User { server: host(server).unwrap_or_default(), name: login(name)? })
}

/// `server: how: name/more`, or `server: redirect/forwarder owner name -> target`.
///
/// Of `acct+customer.example/only user confirmed/..` the account alone was proven; else a plus
/// between name and domain is the panel's other way to write `@`.
fn sender_via(text: &str) -> Result<Claim, Unread> {
    let (server, rest) = text.split_once(": ").ok_or(Unread::Malformed)?;
    let server = host(server).unwrap_or_default();
    if let Some(forwarder) = rest.strip_prefix("redirect/forwarder owner ") {
        let name = forwarder.split(" -> ").next().unwrap_or(forwarder);
        return Ok(Claim::User { server, name: login(name)? });
    }
    let Some((_, value)) = rest.rsplit_once(": ") else {
        return Ok(Claim::Nothing);
    };
    let (name, how) = value.split_once('/').unwrap_or((value, ""));
    let name = login(name)?;
    let name = match name.split_once('+') {
        Some((user, _)) if how.starts_with("only user confirmed") => user.to_owned(),
        Some((user, domain)) if !name.contains('@') && domain.contains('.') => {
            format!("{user}@{domain}")
        }
        _ => name,
    };
    Ok(Claim::User { server, name: login(&name)? })
}

/// `host/path for address, address`. The first ` for ` counts: what follows may be written by a
/// visitor (a forwarded address), what stands before is the server's.
fn script(text: &str) -> Result<Claim, Unread> {
    let (place, visitors) = text.split_once(" for ").unwrap_or((text, ""));
    let (name, path) = place.split_at(place.find('/').ok_or(Unread::Malformed)?);
    let name = name.rsplit_once(':').map_or(name, |(name, _port)| name);
    let name = host(name)?;
    let mut found = Vec::new();
    for visitor in visitors.split(',').filter_map(address) {
        if found.len() < VISITORS_MAX && !found.contains(&visitor) {
            found.push(visitor);
        }
    }
    let host = name.strip_prefix("www.").unwrap_or(&name).to_owned();
    Ok(Claim::Script(Script { host, path: path::up_to_script(path), visitors: found }))
}

/// A command line. The script is the first word that names one; a home folder names its owner.
fn arguments(text: &str) -> Result<Claim, Unread> {
    let words = || text.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    let script = words().find(|word| path::is_script(word)).unwrap_or_default();
    let owner = match script {
        "" => words().find_map(path::owner),
        script => path::owner(script),
    };
    match (script, owner) {
        ("", None) => Ok(Claim::Nothing),
        (script, owner) => Ok(Claim::Arguments {
            script: script.to_owned(),
            owner: login(owner.unwrap_or_default()).unwrap_or_default(),
        }),
    }
}

/// `domain:/path`.
fn folder(text: &str) -> Result<Claim, Unread> {
    let (vhost, path) = text.split_once(':').ok_or(Unread::Malformed)?;
    let vhost = host(vhost)?;
    let vhost = vhost.strip_prefix("www.").unwrap_or(&vhost).to_owned();
    Ok(Claim::Folder { vhost, path: path.to_owned() })
}

/// `uid:file`, and behind the file `(line) : eval()'d code(line) : ..` where code was evaluated.
fn originating(text: &str) -> Result<Claim, Unread> {
    let (uid, rest) = text.split_once(':').ok_or(Unread::Malformed)?;
    let uid = uid.trim().parse().map_err(|_| Unread::Malformed)?;
    let code = match rest.contains("eval()'d code") || rest.contains("runtime-created function") {
        true => Code::Evaluated,
        false => Code::File,
    };
    let script = match code {
        Code::File => rest,
        Code::Evaluated => rest.split('(').next().unwrap_or(rest),
    };
    Ok(Claim::Originating { uid, script: script.trim().to_owned(), code })
}

/// One of several fields of this name. Of `[originator] / [caller]` the first is the user; 47 is the
/// mail server itself, which says that the message came by SMTP.
fn anti_abuse(text: &str) -> Result<Claim, Unread> {
    const MAILNULL: u32 = 47;
    if let Some(server) = text.strip_prefix("Primary Hostname - ") {
        return host(server).map(Claim::Server);
    }
    let Some(ids) = text.strip_prefix("Originator/Caller UID/GID - [") else {
        return Ok(Claim::Nothing);
    };
    let uid = ids.split_ascii_whitespace().next().and_then(|uid| uid.parse().ok());
    match uid.ok_or(Unread::Malformed)? {
        MAILNULL => Ok(Claim::Nothing),
        uid => Ok(Claim::Uid(uid)),
    }
}

/// `server: user set sender to address using -f`, `server: user owned process doing -bs`.
fn warning(text: &str) -> Result<Claim, Unread> {
    let (server, rest) = text.split_once(": ").ok_or(Unread::Malformed)?;
    let user = [" set sender to ", " owned process doing "].iter();
    let user = user.filter_map(|says| rest.split_once(says)).map(|(user, _)| user).next();
    match user {
        Some(user) if !user.trim().contains(' ') => {
            Ok(Claim::User { server: host(server).unwrap_or_default(), name: login(user)? })
        }
        _ => Ok(Claim::Nothing),
    }
}

/// The comments that Postfix writes. Only comments at the first level count, and two that name
/// different users name nobody: a greeting cannot bring its own past the server's.
fn received(text: &str) -> Result<Claim, Unread> {
    let mut found = Ok(Claim::Nothing);
    for comment in comments(text) {
        let claim = if let Some(name) = comment.strip_prefix("Authenticated sender: ") {
            Claim::User { server: String::new(), name: login(name)? }
        } else if let Some(uid) = comment.strip_prefix("Postfix, from userid ") {
            Claim::Uid(uid.trim().parse().map_err(|_| Unread::Malformed)?)
        } else {
            continue;
        };
        match found {
            Ok(Claim::Nothing) => found = Ok(claim),
            Ok(before) if before == claim => found = Ok(before),
            _ => return Err(Unread::Malformed),
        }
    }
    match found {
        Ok(Claim::User { name, .. }) => Ok(Claim::User { server: by(text), name }),
        other => other,
    }
}

/// The insides of the comments that stand in no other comment (RFC 5322 3.2.2).
fn comments(text: &str) -> impl Iterator<Item = &str> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut escaped) = (0_usize, 0, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => {
                depth += 1;
                start = if depth == 1 { at + 1 } else { start };
            }
            b')' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    found.push(&text[start..at]);
                }
            }
            _ => {}
        }
    }
    found.into_iter()
}

/// The server that a Received field was written by; empty when it does not say.
fn by(text: &str) -> String {
    let mut words = text.split_ascii_whitespace();
    let name = words.by_ref().find(|word| *word == "by").and_then(|_| words.next());
    name.and_then(|name| host(name).ok()).unwrap_or_default()
}
