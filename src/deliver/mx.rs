//! From what DNS says of a domain to the hosts that take its mail.
//!
//! Decides which MX records count and in which order, what a domain without them means, and when
//! there is nowhere to go; each failure is an [`Outcome`] in words that a sender understands.
//! Domains whose hosts are the same share a site, whatever they are called.
//!
//! A mail host must have a name (RFC 5321 2.3.5, 5.1; RFC 2181 10.3). Records that hold an address
//! instead are dropped: some operators publish them, but a name of digits cannot be looked up,
//! other senders drop them too, and who reads the notice can mend the record. The same goes for
//! names that are no names, and for a null MX that is not alone (RFC 7505 3).
//!
//! Never asks: the findings come in. RFC 5321 5.1, RFC 7505, RFC 5891 4.4 (A-labels), RFC 3463 3.2,
//! 3.5.

use crate::dns::{Answer, Failure, Finding, Kind, Record, is_host_name};
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use ring::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hosts kept of a domain: the most preferred ones. Nobody is sent to the tenth.
pub const MX_HOSTS_MAX: usize = 32;
/// Octets of the name of a site.
pub const SITE_BYTES_MAX: usize = 255;
/// Octets of it that name hosts when not all fit; the rest is how many there are, and a hash.
const SITE_HEAD_BYTES_MAX: usize = 200;

/// The hosts that take mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHosts {
    /// By preference and then by name; 1..=[`MX_HOSTS_MAX`].
    pub hosts: Vec<MxHost>,
    /// All that led to them was validated, by a resolver whose word is taken (`dns.trust_ad`).
    pub authentic: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MxHost {
    /// The lower, the sooner.
    pub preference: u16,
    /// In lower case, without the last dot; or an address, `192.0.2.1` or `2001:db8::1`.
    pub name: Box<str>,
}

impl MailHosts {
    fn one(name: impl Into<Box<str>>, authentic: bool) -> Self {
        MailHosts { hosts: vec![MxHost { preference: 0, name: name.into() }], authentic }
    }

    /// The name of the set: domains with equal names share a site. The hosts in order, `,` between
    /// those of one preference, `>` before the next: `mx1.x.test,mx2.x.test>backup.x.test`. The
    /// preferences themselves are left out: only their order matters.
    ///
    /// A set too long for [`SITE_BYTES_MAX`] ends in half a SHA-256 of the whole: nobody can make a
    /// set that passes for another's, and have its mail.
    pub fn site(&self) -> Box<str> {
        let mut whole = String::new();
        let mut before = None;
        let mut head = 0;
        for host in &self.hosts {
            match before {
                None => {}
                Some(same) if same == host.preference => whole.push(','),
                Some(_) => whole.push('>'),
            }
            before = Some(host.preference);
            whole.push_str(&host.name);
            if whole.len() <= SITE_HEAD_BYTES_MAX {
                head = whole.len();
            }
        }
        if whole.len() > SITE_BYTES_MAX {
            let digest = digest(&SHA256, whole.as_bytes());
            whole.truncate(head);
            let cut = write!(whole, "+{}#", self.hosts.len()).and_then(|()| {
                digest.as_ref()[..16].iter().try_for_each(|octet| write!(whole, "{octet:02x}"))
            });
            cut.expect("a String takes everything");
        }
        whole.into()
    }

    /// The hosts in the order of an attempt: by preference, and those of one preference in an order
    /// that `random` decides (RFC 5321 5.1).
    pub fn in_order(&self, random: u64) -> Vec<&MxHost> {
        let mut order: Vec<&MxHost> = self.hosts.iter().collect();
        let mut random = random;
        for group in order.chunk_by_mut(|one, next| one.preference == next.preference) {
            shuffle(group, &mut random);
        }
        order
    }
}

/// Every order is as likely as any other (Fisher, Yates), as far as 64 bits go.
pub(super) fn shuffle<T>(items: &mut [T], random: &mut u64) {
    for last in (1..items.len()).rev() {
        // A step of the generator of Knuth's MMIX. Its high bits are the good ones: the upper half
        // is taken as a fraction of the choices.
        *random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = ((*random >> 32) * (last as u64 + 1)) >> 32;
        items.swap(last, chosen as usize);
    }
}

/// What stands behind the `@`, made ready to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A domain, in lower case, its international labels as A-labels (`xn--..`).
    Domain(Box<str>),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Address(IpAddr),
}

impl Destination {
    /// # Errors
    /// For what cannot lead anywhere: 5.1.2.
    pub fn of(domain: &str) -> Result<Destination, Outcome> {
        if let Some(literal) = domain.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(address_of);
            return address.map(Destination::Address).ok_or_else(|| {
                recipient_fault(
                    BAD_DOMAIN,
                    "the address literal of the recipient is not known here",
                )
            });
        }
        let ascii = match domain.is_ascii() {
            true => Ok(Cow::Borrowed(domain)),
            // Underscores and the like are judged below, as in a domain that was ASCII before.
            false => idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::EMPTY),
        };
        match ascii {
            Ok(name) if is_host_name(&name) => Ok(Destination::Domain(name.to_lowercase().into())),
            _ => Err(recipient_fault(BAD_DOMAIN, "the domain of the recipient is no valid name")),
        }
    }

    /// Where mail for a literal goes: there.
    pub fn literal(address: IpAddr) -> MailHosts {
        MailHosts::one(address.to_string(), false)
    }
}

/// What stands between the brackets of an address literal (RFC 5321 4.1.3).
fn address_of(literal: &str) -> Option<IpAddr> {
    const TAG: &str = "ipv6:";
    match literal.get(..TAG.len()) {
        Some(tag) if tag.eq_ignore_ascii_case(TAG) => {
            literal[TAG.len()..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// What the MX records of a domain come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Hosts(MailHosts),
    /// The domain has none: its own addresses take its mail, if there are any. See [`implicit`].
    NoMx {
        authentic: bool,
    },
}

/// From the MX records of `domain` to its hosts. `own` are the names that this relay goes by.
///
/// # Errors
/// When there is none: for good, or until DNS answers.
pub fn by_records(domain: &str, finding: &Finding, own: &[&str]) -> Result<Found, Outcome> {
    let answer = match finding {
        Ok(answer) => answer,
        Err(failure) => return Err(unanswered(domain, Kind::Mx, *failure)),
    };
    let records = match &**answer {
        Answer::Records(records) => records,
        Answer::NoName { .. } => return Err(no_such_domain(domain)),
        // It would be its own mail host, and it is us.
        Answer::NoData { .. } if own.contains(&domain) => return Err(loops(domain)),
        Answer::NoData { authentic, .. } => return Ok(Found::NoMx { authentic: *authentic }),
    };
    let mut hosts = Vec::new();
    for record in &records.records {
        let Record::Mx { preference, exchange } = record else { continue };
        if exchange.is_empty() && records.records.len() == 1 {
            let words = format!("the domain {domain} does not take mail (null MX)");
            return Err(recipient_fault(StatusCode::new(5, 1, 10), words));
        }
        if is_host_name(exchange) {
            hosts.push(MxHost { preference: *preference, name: exchange.clone() });
        }
    }
    if hosts.is_empty() {
        let words = format!("the mail hosts (MX) of the domain {domain} have no valid names");
        return Err(recipient_fault(UNROUTABLE, words));
    }
    hosts.sort_unstable();
    // Of a host that is listed twice the better place counts.
    let mut seen = Vec::with_capacity(hosts.len());
    hosts.retain(|host| {
        let first = !seen.contains(&host.name);
        seen.push(host.name.clone());
        first
    });
    // What we could hand it to must come before us, or it would come back (RFC 5321 5.1).
    if let Some(us) = hosts.iter().find(|host| own.contains(&&*host.name)) {
        let preference = us.preference;
        hosts.retain(|host| host.preference < preference);
        if hosts.is_empty() {
            return Err(loops(domain));
        }
    }
    hosts.truncate(MX_HOSTS_MAX);
    Ok(Found::Hosts(MailHosts { hosts, authentic: records.authentic }))
}

/// The host of a domain without MX records: the domain itself, when it has an address (RFC 5321
/// 5.1). `findings` are about its addresses, of each family that we use; `authentic` is that of
/// [`Found::NoMx`].
///
/// # Errors
/// When it has none: 5.4.4, for which RFC 3463 3.5 gives just this case as its example, a domain
/// that exists and names no next hop; 5.1.2 would say that the domain does not exist. Or until DNS
/// answers.
pub fn implicit(
    domain: &str,
    authentic: bool,
    findings: &[(Kind, Finding)],
) -> Result<MailHosts, Outcome> {
    let mut unknown = None;
    let mut missing = false;
    let mut hosts: Option<MailHosts> = None;
    for (kind, finding) in findings {
        match finding.as_deref() {
            Ok(Answer::Records(records)) => {
                let earlier = hosts.as_ref().is_none_or(|hosts| hosts.authentic);
                let authentic = authentic && earlier && records.authentic;
                hosts = Some(MailHosts::one(domain, authentic));
            }
            Ok(Answer::NoData { .. }) => {}
            Ok(Answer::NoName { .. }) => missing = true,
            Err(failure) => unknown = Some((*kind, *failure)),
        }
    }
    match (hosts, unknown) {
        (Some(hosts), _) => Ok(hosts),
        (None, Some((kind, failure))) => Err(unanswered(domain, kind, failure)),
        (None, None) if missing => Err(no_such_domain(domain)),
        (None, None) => {
            let words = format!("the domain {domain} has no mail host (MX) and no address");
            Err(recipient_fault(UNROUTABLE, words))
        }
    }
}

const BAD_DOMAIN: StatusCode = StatusCode::new(5, 1, 2);
pub(super) const UNROUTABLE: StatusCode = StatusCode::new(5, 4, 4);

fn no_such_domain(domain: &str) -> Outcome {
    recipient_fault(BAD_DOMAIN, format!("the domain {domain} does not exist"))
}

fn loops(domain: &str) -> Outcome {
    let words = format!("the mail hosts of the domain {domain} lead back to this relay");
    recipient_fault(StatusCode::new(5, 4, 6), words)
}

/// Nothing that was done wrong here, and nothing that trying again could mend.
pub(super) fn recipient_fault(status: StatusCode, words: impl Into<Box<str>>) -> Outcome {
    Outcome {
        verdict: Verdict::Permanent,
        scope: Scope::Recipient,
        stage: Stage::Route,
        cause: Cause::local(status, words),
    }
}

/// DNS may answer later: 4.4.3 (directory server failure). A resolver that says nothing is ours to
/// mend; what it could not find out is the domain's.
pub(super) fn unanswered(name: &str, kind: Kind, failure: Failure) -> Outcome {
    let scope = match failure {
        Failure::NoAnswer | Failure::Refused => Scope::Us,
        Failure::ServerFailed | Failure::Code(_) | Failure::Malformed | Failure::Aliases => {
            Scope::Site
        }
    };
    let words = format!("looking up {} of {name}: {failure}", kind.as_str());
    Outcome {
        verdict: Verdict::Transient,
        scope,
        stage: Stage::Route,
        cause: Cause::local(StatusCode::new(4, 4, 3), words),
    }
}
