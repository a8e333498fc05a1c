//! A link taken apart as a browser would, and the list of those that a message holds.
//!
//! The WHATWG URL Standard (4.4 parsing, 3.5 IPv4), RFC 3986, UTS 46 for names. Forgers write what
//! browsers mend: backslashes, blanks inside, user names that look like hosts, addresses as one
//! number. Owns the bound on links: the first links of each of the first hosts are kept, all are
//! counted. Never resolves or fetches anything.

use super::limits::{Bound, ContentLimits};
use super::media::percent_octets;
use super::shortener::SHORTENERS;
use super::sign::{Facts, Sign, clipped};
use super::transfer::base64;
use memchr::memmem;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of one link that are read, more than browsers show and senders need.
const LINK_BYTES_MAX: usize = 2_048;
/// Links inside of links.
const REDIRECTS_MAX: usize = 3;
/// Labels of a host that are not yet many.
const LABELS_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Ftp,
    Mailto,
}

impl Scheme {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ftp => "ftp",
            Self::Mailto => "mailto",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Ftp => 21,
            Self::Mailto => 0,
        }
    }
}

/// Where a link was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// What a reader clicks on.
    Anchor,
    Image,
    /// Where a form goes.
    Form,
    Frame,
    Script,
    /// A style sheet, or `url()` in a style.
    Style,
    Refresh,
    Base,
    /// In text, with a scheme or without.
    Text,
    /// Inside of another link.
    Redirect,
}

/// A link in its pieces, none of them decoded but the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub scheme: Scheme,
    /// Lower case, as it stands in DNS (`xn--..`), or an address without brackets.
    pub host: Box<str>,
    /// The host as a reader would see it; the same for most.
    pub host_shown: Box<str>,
    pub port: u16,
    pub path: Box<str>,
    /// Without `?`.
    pub query: Box<str>,
    /// Without `#`.
    pub fragment: Box<str>,
    pub origin: Origin,
    /// The text of an anchor, cut.
    pub shown: Box<str>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.host, self.path)
    }
}

/// The links of a message.
#[derive(Clone, Debug, Default)]
pub struct Links {
    kept: Vec<Link>,
    hosts: Vec<(Box<str>, usize)>,
    seen: Vec<u64>,
    /// All that were met, kept or not, alike or not.
    pub count: usize,
    /// What was different and not kept.
    pub dropped: usize,
    /// Of the `count`, those that only show something.
    pub images: usize,
}

impl Links {
    pub fn kept(&self) -> &[Link] {
        &self.kept
    }

    /// Different hosts of those kept.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|(host, _)| &**host)
    }

    /// Takes what a text or an attribute holds. Returns the host when it is a link to one.
    pub(super) fn add(
        &mut self,
        raw: &str,
        origin: Origin,
        limits: &ContentLimits,
        facts: &mut Facts,
    ) -> Option<usize> {
        self.count += 1;
        self.images += usize::from(origin == Origin::Image);
        if self.count > limits.links_max {
            facts.exceeded(Bound::Links);
            return None;
        }
        let mut raw = mended(raw);
        let mut origin = origin;
        let mut kept = None;
        for round in 0..=REDIRECTS_MAX {
            let Some(parts) = parse(&raw, facts) else {
                break;
            };
            if round > 0 {
                facts.add(Sign::LinkRedirects, &raw);
            }
            let inner = inner_link(&parts);
            let at = self.keep(&parts, &raw, origin, limits, facts);
            kept = kept.or(at);
            let Some(inner) = inner else {
                break;
            };
            raw = Cow::Owned(inner);
            origin = Origin::Redirect;
        }
        kept
    }

    /// The place of the link in `kept`.
    fn keep(
        &mut self,
        parts: &Parts<'_>,
        raw: &str,
        origin: Origin,
        limits: &ContentLimits,
        facts: &mut Facts,
    ) -> Option<usize> {
        let hash = fnv(raw.as_bytes(), origin as u64);
        if self.seen.contains(&hash) {
            return self.kept.iter().position(|link| {
                link.origin == origin && *link.host == *parts.host && *link.path == *parts.path
            });
        }
        parts.tell(raw, facts);
        let known = self.hosts.iter().position(|(host, _)| **host == *parts.host);
        let index = known.unwrap_or(self.hosts.len());
        let kept = known.map_or(0, |index| self.hosts[index].1);
        if index == limits.hosts_max || kept == limits.links_of_host_max {
            self.dropped += 1;
            return None;
        }
        if known.is_none() {
            self.hosts.push((parts.host.as_ref().into(), 0));
        }
        self.hosts[index].1 += 1;
        self.seen.push(hash);
        self.kept.push(parts.link(origin));
        Some(self.kept.len() - 1)
    }

    pub(super) fn set_shown(&mut self, at: usize, text: &str) {
        if let Some(link) = self.kept.get_mut(at)
            && link.shown.is_empty()
        {
            link.shown = clipped(text);
        }
    }
}

/// A link in pieces of its own text.
struct Parts<'a> {
    scheme: Scheme,
    userinfo: &'a str,
    host: Cow<'a, str>,
    host_shown: Cow<'a, str>,
    kind: HostKind,
    escaped: bool,
    port: u16,
    path: &'a str,
    query: &'a str,
    fragment: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostKind {
    Name,
    International,
    Literal,
    /// An address that is not written as four decimal numbers.
    Disguised,
}

/// Blanks at the ends and line ends inside go, as in a browser; what is too long is cut.
fn mended(raw: &str) -> Cow<'_, str> {
    let raw = raw.trim_matches(|letter: char| letter <= ' ');
    let mut end = raw.len().min(LINK_BYTES_MAX);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    let raw = &raw[..end];
    if raw.bytes().any(|octet| matches!(octet, b'\r' | b'\n' | b'\t' | 0)) {
        return Cow::Owned(raw.replace(['\r', '\n', '\t', '\0'], ""));
    }
    Cow::Borrowed(raw)
}

/// None for what leads to no host: fragments, paths, `tel:`, `cid:`; `data:` and scripts are told.
fn parse<'a>(raw: &'a str, facts: &mut Facts) -> Option<Parts<'a>> {
    let (scheme, rest) = scheme_of(raw, facts)?;
    if scheme == Scheme::Mailto {
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let (host, host_shown, kind, escaped) = host_of(domain)?;
        let path = address;
        return Some(Parts {
            scheme,
            userinfo: "",
            host,
            host_shown,
            kind,
            escaped,
            port: 0,
            path,
            query,
            fragment: "",
        });
    }
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = split_port(host, scheme);
    let (host, host_shown, kind, escaped) = host_of(host)?;
    let (after, fragment) = after.split_once('#').unwrap_or((after, ""));
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    Some(Parts { scheme, userinfo, host, host_shown, kind, escaped, port, path, query, fragment })
}

fn scheme_of<'a>(raw: &'a str, facts: &mut Facts) -> Option<(Scheme, &'a str)> {
    if raw.starts_with("//") {
        return Some((Scheme::Https, raw));
    }
    let (word, rest) = raw.split_once(':')?;
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is("https") {
        Some((Scheme::Https, rest))
    } else if is("http") {
        Some((Scheme::Http, rest))
    } else if is("ftp") {
        Some((Scheme::Ftp, rest))
    } else if is("mailto") {
        Some((Scheme::Mailto, rest))
    } else {
        if is("javascript") || is("vbscript") {
            facts.add(Sign::JavascriptUrl, raw);
        } else if is("data")
            && !rest.trim_start().get(..6).is_some_and(|head| head.eq_ignore_ascii_case("image/"))
        {
            facts.add(Sign::DataUrl, raw);
        }
        None
    }
}

fn split_port(host: &str, scheme: Scheme) -> (&str, u16) {
    if let Some((name, port)) = host.rsplit_once(':')
        && !port.contains(']')
    {
        let port = if port.is_empty() { Some(scheme.port()) } else { port.parse().ok() };
        return (name, port.unwrap_or(0));
    }
    (host, scheme.port())
}

/// The host as DNS has it and as it is shown, what it is, and whether it was percent-encoded.
fn host_of(raw: &str) -> Option<(Cow<'_, str>, Cow<'_, str>, HostKind, bool)> {
    let raw = raw.trim_matches(['.', ' ']);
    if raw.is_empty() || raw.len() > 512 {
        return None;
    }
    let lower = || -> Cow<'_, str> {
        if raw.bytes().any(|octet| octet.is_ascii_uppercase()) {
            Cow::Owned(raw.to_ascii_lowercase())
        } else {
            Cow::Borrowed(raw)
        }
    };
    if let Some(inside) = raw.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        let text = address.to_string();
        return Some((text.clone().into(), text.into(), HostKind::Literal, false));
    }
    let escaped = raw.contains('%');
    let host = if escaped {
        let mut octets = Vec::new();
        percent_octets(raw, &mut octets);
        Cow::Owned(String::from_utf8_lossy(&octets).to_lowercase())
    } else {
        lower()
    };
    let (host, shown, kind) = if host.is_ascii() && !host.contains("xn--") {
        (host, None, HostKind::Name)
    } else {
        let ascii = idna::domain_to_ascii(&host).unwrap_or_else(|_| host.to_string());
        let shown = idna::domain_to_unicode(&ascii).0;
        (Cow::Owned(ascii), Some(Cow::Owned(shown)), HostKind::International)
    };
    let forbidden = |octet: u8| {
        octet <= b' ' || octet == 0x7f || b"<>\"'`{}|\\^,;()!*/?#@:[]%".contains(&octet)
    };
    if host.is_empty() || host.bytes().any(forbidden) {
        return None;
    }
    if let Some((address, disguised)) = ipv4(&host) {
        let kind = if disguised { HostKind::Disguised } else { HostKind::Literal };
        let text = address.to_string();
        return Some((text.clone().into(), text.into(), kind, escaped));
    }
    let shown = shown.unwrap_or_else(|| host.clone());
    Some((host, shown, kind, escaped))
}

/// An address in any of the forms that browsers take (WHATWG URL 3.5), and whether it is not the
/// plain one.
fn ipv4(host: &str) -> Option<(Ipv4Addr, bool)> {
    let last = host.rsplit('.').next()?;
    if !last.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let labels: Vec<&str> = host.split('.').take(5).collect();
    if labels.len() > 4 {
        return None;
    }
    let mut numbers = [0u64; 4];
    let mut disguised = labels.len() != 4;
    for (number, label) in numbers.iter_mut().zip(&labels) {
        let (digits, radix) = match label.strip_prefix("0x") {
            Some(hex) => (hex, 16),
            None if label.len() > 1 && label.starts_with('0') => (&label[1..], 8),
            None => (*label, 10),
        };
        disguised |= radix != 10;
        *number = if digits.is_empty() { 0 } else { u64::from_str_radix(digits, radix).ok()? };
    }
    let (last, firsts) = numbers[..labels.len()].split_last()?;
    if firsts.iter().any(|number| *number > 255) || *last >= 256u64.pow(5 - labels.len() as u32) {
        return None;
    }
    let high =
        firsts.iter().enumerate().map(|(index, number)| number << (24 - 8 * index)).sum::<u64>();
    Some((Ipv4Addr::from((high + last) as u32), disguised))
}

impl Parts<'_> {
    fn link(&self, origin: Origin) -> Link {
        Link {
            scheme: self.scheme,
            host: self.host.as_ref().into(),
            host_shown: self.host_shown.as_ref().into(),
            port: self.port,
            path: self.path.into(),
            query: self.query.into(),
            fragment: self.fragment.into(),
            origin,
            shown: "".into(),
        }
    }

    /// What is odd about it.
    fn tell(&self, raw: &str, facts: &mut Facts) {
        match self.kind {
            HostKind::Name => {}
            HostKind::International => facts.add(Sign::LinkHostInternational, &self.host_shown),
            HostKind::Literal => facts.add(Sign::LinkIpLiteral, raw),
            HostKind::Disguised => facts.add(Sign::LinkIpDisguised, raw),
        }
        if self.scheme == Scheme::Mailto {
            return;
        }
        if !self.userinfo.is_empty() {
            facts.add(Sign::LinkUserinfo, raw);
        }
        if self.port != self.scheme.port() {
            facts.add(Sign::LinkPort, raw);
        }
        if self.escaped {
            facts.add(Sign::LinkHostEscaped, raw);
        }
        let named = matches!(self.kind, HostKind::Name | HostKind::International);
        if named && self.host.bytes().filter(|octet| *octet == b'.').count() >= LABELS_MAX {
            facts.add(Sign::LinkHostDeep, raw);
        }
        if SHORTENERS.binary_search(&self.host.as_ref()).is_ok() {
            facts.add(Sign::LinkShortened, raw);
        }
        self.tell_path(raw, facts);
    }

    fn tell_path(&self, raw: &str, facts: &mut Facts) {
        let path = self.path.as_bytes();
        if memmem::find(path, b"/wp-").is_some() {
            let lower = self.path.to_ascii_lowercase();
            // Pictures and styles of honest pages lie there; pages do not.
            let folder =
                ["/wp-content/", "/wp-includes/", "/wp-admin/"].iter().any(|at| lower.contains(at));
            let page = !STATIC.iter().any(|ending| lower.ends_with(ending));
            if folder && page {
                facts.add(Sign::LinkWordpressFolder, raw);
            }
        }
        if memmem::find(path, b"/.").is_some() {
            let hidden = self.path.split('/').any(|segment| {
                segment.len() > 1
                    && segment.starts_with('.')
                    && segment != ".."
                    && segment != ".well-known"
            });
            if hidden {
                facts.add(Sign::LinkHiddenFolder, raw);
            }
        }
        let tail = self.path.rsplit_once('.').map_or("", |(_, ending)| ending);
        if (2..=4).contains(&tail.len())
            && PROGRAMS.iter().any(|ending| tail.eq_ignore_ascii_case(ending))
        {
            facts.add(Sign::LinkProgram, raw);
        }
    }
}

const STATIC: [&str; 11] =
    [".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".css", ".ico", ".pdf", ".woff", ".woff2"];

const PROGRAMS: [&str; 14] = [
    "exe", "scr", "msi", "bat", "cmd", "vbs", "ps1", "hta", "jar", "apk", "iso", "lnk", "pif", "js",
];

/// A link that stands in the query or path of another, percent-encoded or in base64.
fn inner_link(parts: &Parts<'_>) -> Option<String> {
    for text in [parts.query, parts.path, parts.fragment] {
        if text.len() < 8 {
            continue;
        }
        let octets = text.as_bytes();
        if let Some(at) = memmem::find(octets, b"aHR0c")
            && (at == 0 || matches!(octets[at - 1], b'=' | b'/' | b'&'))
        {
            let end = text[at..].find(['&', '#', '/', '.']).unwrap_or(text.len() - at);
            let plain: Vec<u8> = octets[at..at + end]
                .iter()
                .map(|octet| match octet {
                    b'-' => b'+',
                    b'_' => b'/',
                    octet => *octet,
                })
                .collect();
            let decoded = base64(&plain, LINK_BYTES_MAX).0;
            if let Ok(inner) = String::from_utf8(decoded)
                && starts_link(&inner)
            {
                return Some(inner);
            }
        }
        let inside = memmem::find_iter(octets, b"http").chain(memmem::find_iter(octets, b"HTTP"));
        for at in inside.take(4) {
            if let Some(inner) = unescaped_link(&text[at..]) {
                return Some(inner);
            }
        }
    }
    None
}

/// `text` begins with `http`: the link that it is after up to three rounds of decoding.
fn unescaped_link(text: &str) -> Option<String> {
    let mut candidate = text[..text.find('&').unwrap_or(text.len())].to_owned();
    for _ in 0..=REDIRECTS_MAX {
        if starts_link(&candidate) {
            return Some(candidate);
        }
        if !candidate.contains('%') {
            return None;
        }
        let mut octets = Vec::with_capacity(candidate.len());
        percent_octets(&candidate, &mut octets);
        candidate = String::from_utf8_lossy(&octets).into_owned();
    }
    None
}

fn starts_link(text: &str) -> bool {
    let lower: String = text.chars().take(8).collect::<String>().to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// FNV-1a, to tell links apart that were met before; a collision loses one link of a message.
fn fnv(octets: &[u8], seed: u64) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The host in a text that a reader would take for the target of a link: `www.shop.example/x`.
pub(super) fn host_in_text(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > 256 || text.contains('@') || text.contains(char::is_whitespace) {
        return None;
    }
    let lower = text.to_lowercase();
    let rest = match lower.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return None,
        None => &lower,
    };
    let host = rest[..rest.find(['/', '?', '#', ':']).unwrap_or(rest.len())].trim_end_matches('.');
    let schemeless = rest.len() == lower.len();
    if schemeless && !super::find::is_known_domain(host) {
        return None;
    }
    let (host, ..) = host_of(host)?;
    host.contains('.').then(|| host.into_owned())
}

/// Whether two hosts look like one owner's: one is below the other, or both are below one name.
/// Not the list of public suffixes: this only keeps `www.` and `click.` of one shop together.
pub(super) fn one_site(left: &str, right: &str) -> bool {
    site(left) == site(right)
}

fn site(host: &str) -> &str {
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), second) = (dots.next(), dots.next()) else {
        return host;
    };
    let Some(second) = second else {
        return host;
    };
    // `co.uk` and its like: a short label before a country.
    let suffix_like = host.len() - last == 3 && last - second <= 4;
    let start = if suffix_like { dots.next() } else { Some(second) };
    start.map_or(host, |at| &host[at + 1..])
}
