//! What the DNS of a run says: by which MX records a domain is reached, and where nobody is.
//!
//! Domains share hosts in every way that was seen in the world: a set of their own, one set for
//! several, an alias of another domain, hosts of one preference or of two, one of which is dead or
//! has no address, and none at all but the domain's own address. Some domains lead nowhere.

use super::dns::{Manner, NameServer};
use super::plan::{DOMAINS, ROUTES};
use super::random::Random;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Of the name servers.
pub const PORT: u16 = 53;
pub const NAME_SERVERS: [&str; 2] = ["192.0.2.53:53", "192.0.2.54:53"];

/// The hosts of the shared sets, the first of them preferred; and one where nobody listens.
pub const SHARED: [(&str, &str); 2] =
    [("mx1.big.test", "192.0.2.6:25"), ("mx2.big.test", "192.0.2.7:25")];
pub const DEAD: (&str, &str) = ("dead.big.test", "192.0.2.8:25");

/// Domains that take no mail: null MX, no such domain, nothing but a name, and a mail host without
/// an address. All but the last say so for good.
pub const DEAD_ENDS: [&str; 4] = ["null.test", "nowhere.test", "bare.test", "void.test"];

/// How the domains of one route are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The hosts that the route lists.
    Hosts,
    /// By MX, as the route says.
    RoutedMx,
    /// By MX, because there is no route.
    Mx,
}

/// The records of a domain that is reached by MX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Own,
    /// A preferred host and another one.
    Shared,
    Equal,
    DeadFirst,
    /// The preferred host has no address.
    VoidFirst,
    /// No MX at all.
    Implicit,
    /// Another name of a domain with the shared set.
    Alias,
}

impl Set {
    pub fn draw(random: &Random) -> Set {
        // What is shared, more often than what is not.
        *random.pick(&[
            Set::Own,
            Set::Shared,
            Set::Shared,
            Set::Equal,
            Set::DeadFirst,
            Set::VoidFirst,
            Set::Implicit,
            Set::Alias,
        ])
    }

    /// Domains for which it is the same share a lane.
    pub fn site(self, domain: &str) -> String {
        match self {
            Set::Own => format!("mx.{domain}"),
            Set::Shared | Set::Alias => "shared".into(),
            Set::Equal => "equal".into(),
            Set::DeadFirst => "dead first".into(),
            Set::VoidFirst => "void first".into(),
            Set::Implicit => domain.into(),
        }
    }
}

impl Way {
    pub fn draw(random: &Random, by_mx: u64) -> Way {
        match random.permille(by_mx) {
            true => *random.pick(&[Way::RoutedMx, Way::Mx]),
            false => Way::Hosts,
        }
    }
}

/// The address of the relay's source with this number.
pub fn source(number: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11 + number as u8))
}

fn ip(endpoint: &str) -> IpAddr {
    endpoint.strip_suffix(":25").expect("port 25").parse().expect("an address")
}

/// Writes the records of all domains.
pub fn publish(server: &NameServer, sets: &[Set; DOMAINS.len()]) {
    for (name, address) in SHARED.iter().chain([&DEAD]) {
        server.add_address(name, ip(address));
    }
    server.add_name("void.big.test");
    let [(first, _), (second, _)] = SHARED;
    server.add_mx("big.test", 10, first);
    server.add_mx("big.test", 20, second);
    for (domain, set) in DOMAINS.iter().zip(sets) {
        let (_, hosts) = ROUTES.iter().find(|(route, _)| covers(route, domain)).expect("a route");
        match set {
            Set::Own => {
                let host = format!("mx.{domain}");
                server.add_mx(domain, 10, &host);
                hosts.iter().for_each(|address| server.add_address(&host, ip(address)));
            }
            Set::Implicit => hosts.iter().for_each(|host| server.add_address(domain, ip(host))),
            Set::Alias => server.add_alias(domain, "big.test"),
            Set::Shared | Set::Equal | Set::DeadFirst | Set::VoidFirst => {
                let records: &[(u16, &str)] = match set {
                    Set::Equal => &[(10, first), (10, second)],
                    Set::DeadFirst => &[(5, DEAD.0), (10, first)],
                    Set::VoidFirst => &[(5, "void.big.test"), (10, second)],
                    _ => &[(10, first), (20, second)],
                };
                records.iter().for_each(|(at, host)| server.add_mx(domain, *at, host));
            }
        }
    }
    server.add_mx("null.test", 0, ".");
    server.add_name("bare.test");
    server.add_mx("void.test", 10, "void.big.test");
}

/// Whether a route's pattern is that of `domain`.
pub fn covers(route: &str, domain: &str) -> bool {
    route.strip_prefix('*').map_or(route == domain, |parent| domain.ends_with(parent))
}

/// How a name server behaves for a while on a bad day.
pub fn bad_manner(random: &Random) -> Manner {
    let slow = Manner::Slow(random.millis(10..8_000));
    *random.pick(&[
        Manner::Silent,
        Manner::ServFail,
        Manner::Refused,
        Manner::Truncating,
        Manner::Overlong,
        Manner::WrongId,
        Manner::Nonsense,
        Manner::LowerCase,
        Manner::NoEdns,
        slow,
        Manner::Circle,
        Manner::Flooded,
    ])
}

/// For stories: as long as answers are kept.
pub const TTL: Duration = Duration::from_secs(super::dns::TTL as u64);
