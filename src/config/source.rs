//! Declaration of egress sources: the addresses that mail leaves from, and what they say they are.
//!
//! Decides defaults and ranges of these knobs, and which of a source's addresses reaches a host.
//! A pool is the sources that have its name; a route names a pool, and which source of it carries
//! an entry is `deliver::source`'s to choose.
//! Whether an address is on this machine is found out at start, not here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::form::{HOST_NAME, IP_ADDRESS, NAME};
use super::kind::{Count, List, Maybe, Required, Text};
use super::knob::section;

/// What a pool is called where none is written.
pub const POOL_DEFAULT: &str = "default";
/// One of IPv4 and one of IPv6.
const ADDRESSES_MAX: usize = 2;
const WEIGHT_MAX: u32 = 1_000;

section! {
    /// Where mail leaves from. Without any there is one, named "default", and the system chooses
    /// its address.
    Many "source" pub(super) struct SourceTable {
        /// What the source is called in events and metrics.
        name: String = Required { form: NAME },
            "retries keep the source by its name, so it must not depend on the order here", Restart;

        /// The addresses to connect from, at most one IPv4 and one IPv6. With one of them only,
        /// hosts of the other kind are not reached from this source.
        address: Vec<IpAddr> = List {
            form: IP_ADDRESS,
            items_max: ADDRESSES_MAX,
            absent: "the system chooses for each connection",
        },
            "right for a host with one address, and for one behind address translation", Restart;

        /// The name in EHLO; should be the reverse DNS name of the addresses.
        ehlo: Option<String> = Maybe { form: HOST_NAME, absent: "hostname" },
            "right when one address is all there is", Restart;

        /// The pool this source belongs to.
        pool: String = Text { form: NAME, default: POOL_DEFAULT },
            "mail without a route, and routes that name no pool, use this one", Restart;

        /// The share of the pool's mail that leaves from here, against the weights of the others.
        weight: u32 = Count { of: "shares", default: 1, min: 1, max: WEIGHT_MAX },
            "equal shares; a new address is warmed up with a small one", Restart;
    }
}

/// An address or two that mail leaves from. With neither, the system chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// 1 to 32 of `a-z0-9._-`.
    pub name: String,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// In lower case.
    pub ehlo: String,
    /// 1..=1000, against the others of the pool.
    pub weight: u32,
}

/// How a source connects to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// The system chooses the address.
    Any,
    From(IpAddr),
    /// The source has addresses, but none of the host's family.
    Unreachable,
}

impl Source {
    /// The one there is where none is written.
    pub(super) fn implicit(hostname: &str) -> Source {
        let (name, ehlo) = (POOL_DEFAULT.to_owned(), hostname.to_owned());
        Source { name, v4: None, v6: None, ehlo, weight: 1 }
    }

    /// `hostname` is what EHLO says where the table does not. Of two addresses of one family, which
    /// `check` refuses, the first.
    pub(super) fn new(table: &SourceTable, hostname: &str) -> Source {
        let (mut v4, mut v6) = (None, None);
        for address in &table.address {
            match address {
                IpAddr::V4(address) => v4 = v4.or(Some(*address)),
                IpAddr::V6(address) => v6 = v6.or(Some(*address)),
            }
        }
        let ehlo = table.ehlo.clone().unwrap_or_else(|| hostname.to_owned());
        Source { name: table.name.clone(), v4, v6, ehlo, weight: table.weight }
    }

    /// How this source connects to `host`.
    pub fn egress(&self, host: IpAddr) -> Egress {
        if self.v4.is_none() && self.v6.is_none() {
            return Egress::Any;
        }
        let own = match host {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        };
        own.map_or(Egress::Unreachable, Egress::From)
    }

    /// The addresses that must be on this machine.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

/// Which sources each route's mail leaves from, as indices into `Config::sources`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pools {
    /// By route; none is empty.
    routes: Vec<Box<[usize]>>,
    /// Of mail without a route; not empty.
    default: Box<[usize]>,
}

impl Pools {
    /// `routes` are the names of the pools, by route. Where no source is written, the implicit one
    /// is in every pool. A name that no source has, which `check` refuses, means all sources.
    pub fn new<'a>(sources: &[SourceTable], routes: impl Iterator<Item = &'a str>) -> Pools {
        let all = 0..sources.len().max(1);
        let named = |pool: &str| -> Box<[usize]> {
            let found: Vec<usize> = sources
                .iter()
                .enumerate()
                .filter(|(_, s)| s.pool == pool)
                .map(|(i, _)| i)
                .collect();
            if found.is_empty() { all.clone().collect() } else { found.into() }
        };
        Pools { routes: routes.map(named).collect(), default: named(POOL_DEFAULT) }
    }

    /// # Panics
    /// When there is no such route.
    pub fn of(&self, route: Option<usize>) -> &[usize] {
        route.map_or(&self.default, |index| &self.routes[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Config {
        Config::parse("test", text, "box.test").unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    #[test]
    fn without_any_there_is_one_that_the_system_places() {
        let config = parse("[[route]]\ndomain = \"*\"\nvia = \"mx\"\n");
        assert_eq!(config.sources, [Source::implicit("box.test")]);
        assert_eq!((config.pool(None), config.pool(Some(0))), (&[0][..], &[0][..]));
        let source = &config.sources[0];
        assert_eq!((source.name.as_str(), source.ehlo.as_str()), ("default", "box.test"));
        assert_eq!(source.egress("192.0.2.1".parse().unwrap()), Egress::Any);
        assert_eq!(source.addresses().count(), 0);
    }

    #[test]
    fn pools_are_the_sources_of_their_name() {
        let text = r#"
            [[source]]
            name = "one"
            address = ["127.0.0.2", "::1"]
            [[source]]
            name = "bulk-1"
            address = ["127.0.0.3"]
            pool = "bulk"
            ehlo = "Bulk.Example.NET"
            [[source]]
            name = "two"
            weight = 5
            [[route]]
            domain = "a.test"
            via = "mx"
            pool = "bulk"
            [[route]]
            domain = "b.test"
            via = "mx"
        "#;
        let config = parse(text);
        let pools = [None, Some(0), Some(1)].map(|route| config.pool(route));
        assert_eq!(pools, [&[0, 2][..], &[1], &[0, 2]]);
        let ehlo: Vec<&str> = config.sources.iter().map(|source| source.ehlo.as_str()).collect();
        assert_eq!(ehlo, ["box.test", "bulk.example.net", "box.test"]);
        assert_eq!(config.sources[2].weight, 5);
    }

    #[test]
    fn a_source_with_every_mail_routed_elsewhere_needs_no_default_pool() {
        let config = parse(
            "[[source]]\nname = \"a\"\npool = \"x\"\n\
            [[route]]\ndomain = \"*\"\nvia = \"mx\"\npool = \"x\"\n",
        );
        assert_eq!((config.pool(None), config.pool(Some(0))), (&[0][..], &[0][..]));
    }

    #[test]
    fn hosts_are_reached_from_an_address_of_their_kind() {
        let config = parse(
            "[[source]]\nname = \"both\"\naddress = [\"::1\", \"127.0.0.2\"]\n\
            [[source]]\nname = \"four\"\naddress = [\"127.0.0.3\"]\n",
        );
        let (four, six) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let from = |text: &str| Egress::From(text.parse().unwrap());
        let [both, only] = &config.sources[..] else { panic!("{:?}", config.sources) };
        assert_eq!((both.egress(four), both.egress(six)), (from("127.0.0.2"), from("::1")));
        assert_eq!((only.egress(four), only.egress(six)), (from("127.0.0.3"), Egress::Unreachable));
        assert_eq!(both.addresses().count(), 2);
    }
}
