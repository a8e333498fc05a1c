//! Commands: a line in, a [`Command`] or the reply that refuses it out; and back to a line.
//!
//! Decides the syntax of what a client says, and which parameters of which extension exist. Never
//! decides whether a command may come now, whether a size is too large or a password right; that
//! is the session's. The client side prints with the same types, and what is printed parses back.
//!
//! Taken in peace: any case, several spaces between words, white space at the end, a space after
//! `FROM:` or `TO:`, arguments where none is looked at (NOOP, HELP, VRFY, EXPN), odd HELO names.
//! Refused on purpose: addresses without angle brackets (where would the parameters begin?), and
//! control characters anywhere, so that no argument can forge a line of a header or a log.
//!
//! RFC 5321 4.1 (commands), RFC 1870 (SIZE), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 3461 4
//! (DSN parameters), RFC 4616 (PLAIN), RFC 4954 (AUTH), RFC 6152 (BODY), RFC 6531 (SMTPUTF8),
//! RFC 8689 (REQUIRETLS).

use crate::message::{Address, BodyKind, Notify, Return, ReversePath, StatusCode};
use crate::smtp::address;
use crate::smtp::reply::Reply;
use crate::smtp::xtext;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The argument of HELO and EHLO, as long as a domain (RFC 5321 4.5.3.1.2).
pub const HELO_OCTETS_MAX: usize = 255;
/// RFC 1870 3: `size-value ::= 1*20DIGIT`, and the same for the size of a chunk.
pub const SIZE_DIGITS_MAX: usize = 20;
/// RFC 3461 4.4.
pub const ENVID_OCTETS_MAX: usize = 100;
/// RFC 3461 4.2.
pub const ORCPT_OCTETS_MAX: usize = 500;

/// What a client asks for. No `Debug` by derivation: a password could end up in a log.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    Helo(Box<str>),
    Ehlo(Box<str>),
    Mail(MailFrom),
    Rcpt(RcptTo),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth {
        mechanism: Mechanism,
        /// Still in base 64; `=` means an empty response (RFC 4954 4).
        initial: Option<Box<[u8]>>,
    },
}

/// The mechanisms that are offered; both only under TLS, which the session sees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
}

/// MAIL with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    pub sender: ReversePath,
    /// Octets, as declared.
    pub size: Option<u64>,
    pub body: Option<BodyKind>,
    pub utf8: bool,
    pub ret: Option<Return>,
    /// Still in xtext, so that it is passed on unchanged.
    pub envid: Option<Box<str>>,
    /// Whether AUTH= was given. Its value is checked and then ignored: we trust credentials, not
    /// claims of them, as RFC 4954 5 allows. It is printed as `AUTH=<>`.
    pub auth: bool,
    /// Whether every hop must be under TLS with a certificate that is verified (RFC 8689 2).
    pub require_tls: bool,
    /// Whether any parameter was given.
    pub esmtp: bool,
}

/// RCPT with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptTo {
    pub address: Address,
    pub notify: Notify,
    /// ORCPT, `type;address`, still encoded, so that it is passed on unchanged.
    pub original: Option<Box<str>>,
    /// Whether any parameter was given.
    pub esmtp: bool,
}

// The refusals that more than one command, or more than one of its parameters, can meet.
const SYNTAX: StatusCode = StatusCode::new(5, 5, 2);
const ARGUMENTS: StatusCode = StatusCode::new(5, 5, 4);
const NOT_A_LINE: Reply =
    Reply::fixed(500, SYNTAX, "Control characters have no place in a command");
const UNKNOWN: Reply = Reply::fixed(500, StatusCode::new(5, 5, 1), "Command not recognized");
const NOT_OFFERED: Reply = Reply::fixed(502, StatusCode::new(5, 5, 1), "Command not implemented");
const NO_ARGUMENT: Reply = Reply::fixed(501, ARGUMENTS, "This command takes no argument");
const BAD_PARAMETER: Reply = Reply::fixed(501, ARGUMENTS, "Malformed parameter");
const UNKNOWN_PARAMETER: Reply = Reply::fixed(555, ARGUMENTS, "Parameter not recognized");
const DUPLICATE: Reply = Reply::fixed(501, ARGUMENTS, "A parameter was given twice");
const BINARY: Reply =
    Reply::fixed(555, ARGUMENTS, "BODY=BINARYMIME is not offered, use 8BITMIME or 7BIT");
const TOO_LARGE: Reply = Reply::fixed(552, StatusCode::new(5, 3, 4), "No message is that large");
const NOT_BASE64: Reply = Reply::fixed(501, SYNTAX, "Cannot decode the base 64 response");

/// The first word of a line.
#[derive(Clone, Copy)]
enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
    /// Known by name, so that the answer can be 502 (RFC 5321 4.2.4).
    NotOffered,
}

const VERBS: &[(&str, Verb)] = &[
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("QUIT", Verb::Quit),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("AUTH", Verb::Auth),
    ("STARTTLS", Verb::StartTls),
    ("SEND", Verb::NotOffered),
    ("SOML", Verb::NotOffered),
    ("SAML", Verb::NotOffered),
    ("TURN", Verb::NotOffered),
    ("ETRN", Verb::NotOffered),
    ("ATRN", Verb::NotOffered),
    ("BURL", Verb::NotOffered),
];

/// A parameter of MAIL.
#[derive(Clone, Copy)]
enum MailKey {
    Size,
    Body,
    Utf8,
    Ret,
    Envid,
    Auth,
    RequireTls,
}

const MAIL_KEYS: &[(&str, MailKey)] = &[
    ("SIZE", MailKey::Size),
    ("BODY", MailKey::Body),
    ("SMTPUTF8", MailKey::Utf8),
    ("RET", MailKey::Ret),
    ("ENVID", MailKey::Envid),
    ("AUTH", MailKey::Auth),
    ("REQUIRETLS", MailKey::RequireTls),
];

/// A parameter of RCPT.
#[derive(Clone, Copy)]
enum RcptKey {
    Notify,
    Orcpt,
}

const RCPT_KEYS: &[(&str, RcptKey)] = &[("NOTIFY", RcptKey::Notify), ("ORCPT", RcptKey::Orcpt)];

/// A word of NOTIFY= that can stand beside others.
#[derive(Clone, Copy)]
enum Event {
    Success,
    Failure,
    Delay,
}

const EVENTS: &[(&str, Event)] =
    &[("SUCCESS", Event::Success), ("FAILURE", Event::Failure), ("DELAY", Event::Delay)];

const BODY_KINDS: &[(&str, BodyKind)] =
    &[("7BIT", BodyKind::SevenBit), ("8BITMIME", BodyKind::EightBit)];
const RETURNS: &[(&str, Return)] = &[("FULL", Return::Full), ("HDRS", Return::Headers)];
const MECHANISMS: &[(&str, Mechanism)] =
    &[("PLAIN", Mechanism::Plain), ("LOGIN", Mechanism::Login)];

/// Finds a word in its table, in any case.
fn named<T: Copy>(word: &[u8], table: &[(&str, T)]) -> Option<T> {
    let found = table.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value)
}

/// The word of a table that means `value`.
fn name_of<T: PartialEq>(value: T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// Reads one line, without its CR LF.
///
/// When a line that begins with BDAT is refused, the octets of its chunk follow all the same, and
/// nobody knows how many: the session must then close.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    // Not `trim_ascii_end`: a CR in front of the line end is no white space but an attempt.
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t'));
    let line = end.map_or(&line[..0], |end| &line[..=end]);
    if line.iter().any(u8::is_ascii_control) {
        return Err(NOT_A_LINE);
    }
    let (verb, rest) = split_word(line);
    match named(verb, VERBS) {
        Some(Verb::Helo) => helo_name(rest).map(Command::Helo),
        Some(Verb::Ehlo) => helo_name(rest).map(Command::Ehlo),
        Some(Verb::Mail) => mail(rest).map(Command::Mail),
        Some(Verb::Rcpt) => rcpt(rest).map(Command::Rcpt),
        Some(Verb::Bdat) => bdat(rest),
        Some(Verb::Auth) => auth(rest),
        Some(Verb::Data) => alone(rest, Command::Data),
        Some(Verb::Rset) => alone(rest, Command::Rset),
        Some(Verb::Quit) => alone(rest, Command::Quit),
        Some(Verb::StartTls) => alone(rest, Command::StartTls),
        Some(Verb::Noop) => Ok(Command::Noop),
        Some(Verb::Vrfy) => Ok(Command::Vrfy),
        Some(Verb::Expn) => Ok(Command::Expn),
        Some(Verb::Help) => Ok(Command::Help),
        Some(Verb::NotOffered) => Err(NOT_OFFERED),
        None if verb.is_empty() => Err(Reply::fixed(500, SYNTAX, "A command begins with its verb")),
        None => Err(UNKNOWN),
    }
}

/// The first word, and what follows the spaces after it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&octet| octet == b' ').unwrap_or(text.len());
    (&text[..end], skip_spaces(&text[end..]))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&octet| octet != b' ').unwrap_or(text.len());
    &text[start..]
}

/// RFC 5321 4.1.1.4 to 4.1.1.10, RFC 3207 4: an argument is a 501.
fn alone(rest: &[u8], command: Command) -> Result<Command, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) }
}

/// Hosts introduce themselves with all sorts of names, and refusing one helps nobody: it is a
/// claim that we record and never trust. What could not stand in a Received field (specials of
/// RFC 5322 3.2.3, and anything outside ASCII, RFC 6531 3.7.1) becomes `?`.
fn helo_name(rest: &[u8]) -> Result<Box<str>, Reply> {
    if rest.is_empty() || rest.contains(&b' ') {
        return Err(Reply::fixed(501, ARGUMENTS, "Give one argument: your host name"));
    }
    if rest.len() > HELO_OCTETS_MAX {
        return Err(Reply::fixed(501, ARGUMENTS, "The host name is longer than 255 octets"));
    }
    let letter = |&octet: &u8| match octet {
        b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b'"' | b'\\' => '?',
        b'!'..=b'~' => char::from(octet),
        _ => '?',
    };
    Ok(rest.iter().map(letter).collect())
}

fn mail(rest: &[u8]) -> Result<MailFrom, Reply> {
    let Some(path) = after_keyword(rest, b"FROM:") else {
        return Err(Reply::fixed(501, ARGUMENTS, "The form is MAIL FROM:<address>"));
    };
    let (sender, rest) = address::parse_path(path)
        .map_err(|error| Reply::fixed(501, address::BAD_SENDER, error.as_str()))?;
    let mut mail = MailFrom {
        sender,
        size: None,
        body: None,
        utf8: false,
        ret: None,
        envid: None,
        auth: false,
        require_tls: false,
        esmtp: false,
    };
    for word in parameters(rest)? {
        mail.take(word)?;
    }
    if mail.sender.needs_utf8() && !mail.utf8 {
        let text = "An address outside ASCII needs the parameter SMTPUTF8";
        return Err(Reply::fixed(553, StatusCode::new(5, 6, 7), text));
    }
    Ok(mail)
}

fn rcpt(rest: &[u8]) -> Result<RcptTo, Reply> {
    let Some(path) = after_keyword(rest, b"TO:") else {
        return Err(Reply::fixed(501, ARGUMENTS, "The form is RCPT TO:<address>"));
    };
    let (address, rest) = address::parse_forward_path(path)
        .map_err(|error| Reply::fixed(501, address::BAD_RECIPIENT, error.as_str()))?;
    let mut rcpt = RcptTo { address, notify: Notify::Unspecified, original: None, esmtp: false };
    for word in parameters(rest)? {
        rcpt.take(word)?;
    }
    Ok(rcpt)
}

/// Cuts `FROM:` or `TO:`, and the spaces that many clients put after it.
fn after_keyword<'t>(text: &'t [u8], keyword: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then(|| skip_spaces(rest))
}

/// The words after a path. One that touches its closing bracket is an error, not a parameter.
fn parameters(rest: &[u8]) -> Result<impl Iterator<Item = &str>, Reply> {
    if rest.first().is_some_and(|&octet| octet != b' ') {
        return Err(Reply::fixed(501, ARGUMENTS, "A space is missing after the closing bracket"));
    }
    let text = std::str::from_utf8(rest).map_err(|_| BAD_PARAMETER)?;
    Ok(text.split(' ').filter(|word| !word.is_empty()))
}

/// Splits `KEY=value` or `KEY`. An empty value (`KEY=`) is none that RFC 5321 4.1.2 knows, and
/// none that any parameter here accepts.
fn split_parameter(word: &str) -> (&[u8], Option<&str>) {
    match word.split_once('=') {
        Some((key, value)) => (key.as_bytes(), Some(value)),
        None => (word.as_bytes(), None),
    }
}

/// Fills a parameter that was not given before.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Reply> {
    if slot.replace(value).is_some() { Err(DUPLICATE) } else { Ok(()) }
}

/// Raises the mark of a parameter that was not given before.
fn once_marked(mark: &mut bool) -> Result<(), Reply> {
    if std::mem::replace(mark, true) { Err(DUPLICATE) } else { Ok(()) }
}

impl MailFrom {
    fn take(&mut self, word: &str) -> Result<(), Reply> {
        self.esmtp = true;
        let (key, value) = split_parameter(word);
        let key = named(key, MAIL_KEYS).ok_or(UNKNOWN_PARAMETER)?;
        match (key, value) {
            (MailKey::Utf8, None) => once_marked(&mut self.utf8),
            (MailKey::RequireTls, None) => once_marked(&mut self.require_tls),
            (MailKey::Utf8 | MailKey::RequireTls, Some(_)) | (_, None) => Err(BAD_PARAMETER),
            (MailKey::Size, Some(value)) => once(&mut self.size, number(value.as_bytes())?),
            (MailKey::Body, Some(value)) => once(&mut self.body, body_kind(value)?),
            (MailKey::Ret, Some(value)) => {
                once(&mut self.ret, named(value.as_bytes(), RETURNS).ok_or(BAD_PARAMETER)?)
            }
            (MailKey::Envid, Some(value)) => {
                let fits = value.len() <= ENVID_OCTETS_MAX && xtext::is_printable(value);
                once(&mut self.envid, fits.then(|| value.into()).ok_or(BAD_PARAMETER)?)
            }
            (MailKey::Auth, Some(value)) => {
                let holds = value == "<>" || (!value.is_empty() && xtext::decode(value).is_some());
                if holds { once_marked(&mut self.auth) } else { Err(BAD_PARAMETER) }
            }
        }
    }

    /// Appends the whole line, CR LF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

impl RcptTo {
    fn take(&mut self, word: &str) -> Result<(), Reply> {
        self.esmtp = true;
        let (key, value) = split_parameter(word);
        let key = named(key, RCPT_KEYS).ok_or(UNKNOWN_PARAMETER)?;
        let value = value.ok_or(BAD_PARAMETER)?;
        match key {
            RcptKey::Notify if self.notify != Notify::Unspecified => Err(DUPLICATE),
            RcptKey::Notify => {
                self.notify = notify(value)?;
                Ok(())
            }
            RcptKey::Orcpt => {
                let fits = value.len() <= ORCPT_OCTETS_MAX && xtext::is_original_recipient(value);
                once(&mut self.original, fits.then(|| value.into()).ok_or(BAD_PARAMETER)?)
            }
        }
    }

    /// Appends the whole line, CR LF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

fn body_kind(value: &str) -> Result<BodyKind, Reply> {
    if value.eq_ignore_ascii_case("BINARYMIME") {
        return Err(BINARY);
    }
    named(value.as_bytes(), BODY_KINDS).ok_or(BAD_PARAMETER)
}

/// RFC 3461 4.1: NEVER alone, or a list without it.
fn notify(value: &str) -> Result<Notify, Reply> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        match named(word.as_bytes(), EVENTS).ok_or(BAD_PARAMETER)? {
            Event::Success => success = true,
            Event::Failure => failure = true,
            Event::Delay => delay = true,
        }
    }
    Ok(Notify::On { success, failure, delay })
}

/// RFC 3030 2.
fn bdat(rest: &[u8]) -> Result<Command, Reply> {
    let (size, rest) = split_word(rest);
    if size.is_empty() {
        return Err(Reply::fixed(501, ARGUMENTS, "The form is BDAT size, or BDAT size LAST"));
    }
    let size = number(size)?;
    match rest {
        b"" => Ok(Command::Bdat { size, last: false }),
        _ if rest.eq_ignore_ascii_case(b"LAST") => Ok(Command::Bdat { size, last: true }),
        _ => Err(BAD_PARAMETER),
    }
}

/// A number of octets.
fn number(digits: &[u8]) -> Result<u64, Reply> {
    let valid = !digits.is_empty() && digits.len() <= SIZE_DIGITS_MAX;
    if !valid || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BAD_PARAMETER);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, add).ok_or(TOO_LARGE)
}

/// RFC 4954 4.
fn auth(rest: &[u8]) -> Result<Command, Reply> {
    let (mechanism, rest) = split_word(rest);
    if mechanism.is_empty() {
        return Err(Reply::fixed(501, ARGUMENTS, "The form is AUTH mechanism"));
    }
    let Some(mechanism) = named(mechanism, MECHANISMS) else {
        return Err(Reply::fixed(504, ARGUMENTS, "Mechanism not offered, use PLAIN or LOGIN"));
    };
    if rest.contains(&b' ') {
        return Err(Reply::fixed(501, ARGUMENTS, "AUTH takes one initial response"));
    }
    if !rest.is_ascii() {
        return Err(NOT_BASE64);
    }
    Ok(Command::Auth { mechanism, initial: (!rest.is_empty()).then(|| rest.into()) })
}

/// Decodes one response of an AUTH exchange, initial or not: `=` is the empty one, and `*` is
/// the client's wish to stop (RFC 4954 4).
pub fn decode_base64(response: &[u8]) -> Result<Vec<u8>, Reply> {
    match response {
        b"=" => Ok(Vec::new()),
        b"*" => Err(Reply::fixed(501, StatusCode::new(5, 7, 0), "Authentication cancelled")),
        _ => STANDARD.decode(response).map_err(|_| NOT_BASE64),
    }
}

/// Decodes the response of PLAIN, still in base 64, to (authentication identity, password)
/// (RFC 4616 2). An authorization identity other than that is refused: nobody acts for another.
pub fn decode_plain(response: &[u8]) -> Result<(String, Vec<u8>), Reply> {
    let decoded = decode_base64(response)?;
    let mut parts = decoded.split(|&octet| octet == 0);
    let (Some(acts_as), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reply::fixed(501, SYNTAX, "PLAIN takes identity NUL user NUL password"));
    };
    let refused = |text| Reply::fixed(535, StatusCode::new(5, 7, 8), text);
    if name.is_empty() || password.is_empty() {
        return Err(refused("User name and password must not be empty"));
    }
    if !acts_as.is_empty() && acts_as != name {
        return Err(refused("You cannot act as another identity"));
    }
    let name = std::str::from_utf8(name)
        .map_err(|_| Reply::fixed(501, SYNTAX, "The user name is not UTF-8"))?;
    Ok((name.into(), password.into()))
}

impl Command {
    /// Appends the whole line, CR LF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

fn write_line(command: &dyn fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{command}\r\n").as_bytes());
}

/// The line without its CR LF, credentials included: for the wire, not for a log.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Helo(name) => write!(f, "HELO {name}"),
            Command::Ehlo(name) => write!(f, "EHLO {name}"),
            Command::Mail(mail) => mail.fmt(f),
            Command::Rcpt(rcpt) => rcpt.fmt(f),
            Command::Data => f.write_str("DATA"),
            Command::Bdat { size, last: false } => write!(f, "BDAT {size}"),
            Command::Bdat { size, last: true } => write!(f, "BDAT {size} LAST"),
            Command::Rset => f.write_str("RSET"),
            Command::Noop => f.write_str("NOOP"),
            Command::Quit => f.write_str("QUIT"),
            Command::Vrfy => f.write_str("VRFY"),
            Command::Expn => f.write_str("EXPN"),
            Command::Help => f.write_str("HELP"),
            Command::StartTls => f.write_str("STARTTLS"),
            Command::Auth { mechanism, initial } => {
                write!(f, "AUTH {}", name_of(*mechanism, MECHANISMS))?;
                match initial {
                    Some(response) => write!(f, " {}", String::from_utf8_lossy(response)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The line, with credentials left out.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Auth { mechanism, initial } => {
                let hidden = if initial.is_some() { " (initial response)" } else { "" };
                write!(f, "AUTH {}{hidden}", name_of(*mechanism, MECHANISMS))
            }
            _ => fmt::Display::fmt(self, f),
        }
    }
}

impl fmt::Display for MailFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MAIL FROM:<{}>", self.sender)?;
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if let Some(body) = self.body {
            write!(f, " BODY={}", name_of(body, BODY_KINDS))?;
        }
        if self.utf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if let Some(ret) = self.ret {
            write!(f, " RET={}", name_of(ret, RETURNS))?;
        }
        if let Some(envid) = &self.envid {
            write!(f, " ENVID={envid}")?;
        }
        if self.auth {
            f.write_str(" AUTH=<>")?;
        }
        if self.require_tls {
            f.write_str(" REQUIRETLS")?;
        }
        Ok(())
    }
}

impl fmt::Display for RcptTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RCPT TO:<{}>", self.address)?;
        match self.notify {
            Notify::Unspecified => {}
            Notify::Never => f.write_str(" NOTIFY=NEVER")?,
            Notify::On { success, failure, delay } => {
                let chosen = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
                let mut separator = " NOTIFY=";
                for (_, word) in chosen.iter().filter(|(wanted, _)| *wanted) {
                    write!(f, "{separator}{word}")?;
                    separator = ",";
                }
            }
        }
        match &self.original {
            Some(original) => write!(f, " ORCPT={original}"),
            None => Ok(()),
        }
    }
}
