//! The fake internet: which names exist, and their records, computed from the name alone.
//!
//! Every name below the suffix exists, so that 100,000 domains cost nothing to set up. A domain
//! belongs to a *site* by a hash of its name, the same in every run, and all domains of a site have
//! the same two MX hosts (RFC 5321 5.1). A first label can ask for trouble:
//!
//! | first label | what becomes of it |
//! |---|---|
//! | `nx-...` | no such name |
//! | `nullmx-...` | a null MX (RFC 7505) |
//! | `nomx-...` | no MX, only addresses: the implicit MX of RFC 5321 5.1 |
//! | `servfail-...` | SERVFAIL |
//! | `lost-...` | never answered |
//! | `cname-NAME` | an alias of `NAME` (RFC 1034 3.6.2), which may be one of these again |
//! | `mx0`, `mx1` | the hosts themselves |
//!
//! Everything else is a domain with MX. Knows nothing of packets, and never throws dice: what a
//! name means does not change while the server runs.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// MX hosts of a site, in the order of their preference.
const HOSTS: [(&[u8], u16); 2] = [(b"mx0", 10), (b"mx1", 20)];
/// Different addresses of a spread: 22 bits, in 127.64.0.0/10, which has neither 127.0.0.1 in it nor
/// the broadcast address of the loopback network.
const SPREAD_ADDRESSES: u64 = 1 << 22;
const SPREAD_BASE: u32 = u32::from_be_bytes([127, 64, 0, 0]);

/// Where domains lead.
#[derive(Clone, Debug)]
pub struct Zone {
    /// What all names end in.
    pub suffix: Name,
    /// Sites that share all domains among them; 0 makes each domain a site of its own.
    pub sites: u64,
    pub addresses: Addresses,
    pub families: Families,
    /// Of every record, in seconds; also how long a name may be remembered as missing (RFC 2308).
    pub ttl_s: u32,
}

/// The IPv4 addresses of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// 127.0.0.1 for all.
    One,
    /// Another one in 127.64.0.0/10 for each host, as far as 4 million go.
    Spread,
}

/// Which address records hosts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    Ipv4,
    /// `::1` as well.
    Both,
}

/// What the zone has to say about a name and a type.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The aliases that led to `end`, in order.
    pub aliases: Vec<Record>,
    pub end: End,
}

#[derive(Debug, PartialEq)]
pub enum End {
    Records(Vec<Record>),
    /// The name exists, with other types.
    NoData,
    NoName,
    /// The server is to say that it failed.
    Failure,
    /// The server is to say nothing.
    Silence,
    /// Not below the suffix.
    Elsewhere,
}

/// What a name is by its first label.
enum Kind {
    Missing,
    NullMx,
    NoMx,
    Failing,
    Lost,
    /// Of this name.
    Alias(Name),
    /// The host with this place in `HOSTS`.
    Host(u64),
    Domain,
}

impl Zone {
    /// Follows aliases to their end; each makes the name shorter, so there is one.
    pub fn look_up(&self, name: &Name, kind: RecordType) -> Found {
        let mut aliases = Vec::new();
        let mut name = name.clone();
        loop {
            if !self.suffix.zone_of(&name) {
                return Found { aliases, end: End::Elsewhere };
            }
            match self.kind(&name) {
                Kind::Alias(target) => {
                    let alias = self.record(&name, RData::CNAME(CNAME(target.clone())));
                    if matches!(kind, RecordType::CNAME | RecordType::ANY) {
                        return Found { aliases, end: End::Records(vec![alias]) };
                    }
                    aliases.push(alias);
                    name = target;
                }
                other => return Found { aliases, end: self.end(&name, &other, kind) },
            }
        }
    }

    /// The record that goes with "no such name" and "no such type" (RFC 2308 3).
    pub fn authority(&self) -> Record {
        let below =
            |label: &[u8]| below(label, &self.suffix).unwrap_or_else(|| self.suffix.clone());
        let times = (3600, 600, 86_400);
        let soa =
            SOA::new(below(b"ns"), below(b"hostmaster"), 1, times.0, times.1, times.2, self.ttl_s);
        self.record(&self.suffix, RData::SOA(soa))
    }

    fn kind(&self, name: &Name) -> Kind {
        if *name == self.suffix {
            return Kind::Domain;
        }
        let label = name.iter().next().unwrap_or_default().to_ascii_lowercase();
        let begins = |prefix: &[u8]| label.len() > prefix.len() && label.starts_with(prefix);
        if let Some(place) = HOSTS.iter().position(|(host, _)| label == *host) {
            return Kind::Host(place as u64);
        }
        if begins(b"cname-") {
            let target = below(&label[b"cname-".len()..], &name.base_name());
            return target.map_or(Kind::Missing, Kind::Alias);
        }
        match () {
            () if begins(b"nx-") => Kind::Missing,
            () if begins(b"nullmx-") => Kind::NullMx,
            () if begins(b"nomx-") => Kind::NoMx,
            () if begins(b"servfail-") => Kind::Failing,
            () if begins(b"lost-") => Kind::Lost,
            () => Kind::Domain,
        }
    }

    fn end(&self, name: &Name, is: &Kind, kind: RecordType) -> End {
        let data = match (is, kind) {
            (Kind::Missing, _) => return End::NoName,
            (Kind::Failing, _) => return End::Failure,
            (Kind::Lost, _) => return End::Silence,
            (Kind::Host(place), RecordType::A) => self.ipv4(self.host(name, *place)),
            (Kind::NoMx, RecordType::A) => self.ipv4(hash(name)),
            (Kind::Host(_) | Kind::NoMx, RecordType::AAAA) => self.ipv6(),
            (Kind::NullMx, RecordType::MX) => vec![RData::MX(MX::new(0, Name::root()))],
            (Kind::Domain, RecordType::MX) => match self.exchanges(name) {
                Some(exchanges) => exchanges,
                // No room for the hosts below it, so it cannot have any.
                None => return End::NoName,
            },
            (Kind::Domain, RecordType::SOA) if *name == self.suffix => {
                return End::Records(vec![self.authority()]);
            }
            (Kind::Alias(_), _) => unreachable!("aliases are followed before"),
            (Kind::Host(_) | Kind::NoMx | Kind::NullMx | Kind::Domain, _) => Vec::new(),
        };
        if data.is_empty() {
            return End::NoData;
        }
        End::Records(data.into_iter().map(|data| self.record(name, data)).collect())
    }

    fn exchanges(&self, name: &Name) -> Option<Vec<RData>> {
        let site = match self.sites {
            0 => name.clone(),
            sites => below(format!("site{}", hash(name) % sites).as_bytes(), &self.suffix)?,
        };
        let exchanges = HOSTS
            .iter()
            .map(|(host, preference)| Some(RData::MX(MX::new(*preference, below(host, &site)?))));
        exchanges.collect()
    }

    /// The number of a host, from which a spread makes its address.
    fn host(&self, name: &Name, place: u64) -> u64 {
        let number = |label: &[u8]| -> Option<u64> {
            str::from_utf8(label.strip_prefix(b"site")?).ok()?.parse().ok()
        };
        let site = name.iter().nth(1).map(<[u8]>::to_ascii_lowercase);
        let site = match site.as_deref().and_then(number) {
            Some(site) if self.sites > 0 => site,
            Some(_) | None => hash(&name.base_name()),
        };
        site.wrapping_mul(HOSTS.len() as u64).wrapping_add(place)
    }

    fn ipv4(&self, number: u64) -> Vec<RData> {
        let address = match self.addresses {
            Addresses::One => Ipv4Addr::LOCALHOST,
            Addresses::Spread => {
                // Never more than 22 bits, so the sum stays in 127.64.0.0/10.
                Ipv4Addr::from_bits(SPREAD_BASE + (number % SPREAD_ADDRESSES) as u32)
            }
        };
        vec![RData::A(A(address))]
    }

    fn ipv6(&self) -> Vec<RData> {
        match self.families {
            Families::Ipv4 => Vec::new(),
            Families::Both => vec![RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))],
        }
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl_s, data)
    }
}

/// The site that has a host at this address of a spread, 21 bits wide; all its hosts give the same.
/// `None` for an address that no spread has.
pub fn site_at(address: Ipv4Addr) -> Option<u64> {
    let number = u64::from(address.to_bits().checked_sub(SPREAD_BASE)?);
    (number < SPREAD_ADDRESSES).then_some(number / HOSTS.len() as u64)
}

/// `label.parent`, unless that is too long (RFC 1035 2.3.4).
fn below(label: &[u8], parent: &Name) -> Option<Name> {
    parent.prepend_label(label).ok()
}

/// FNV-1a of the name in lower case, mixed once more because the low bits choose the site. Part of
/// what a run means: another hash would move domains between sites.
fn hash(name: &Name) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for label in name.iter() {
        for byte in label.iter().chain(b".") {
            hash ^= u64::from(byte.to_ascii_lowercase());
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
