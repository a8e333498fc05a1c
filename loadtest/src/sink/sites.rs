//! Which personality answers: the one of the address that was called, or of the recipient's domain.
//!
//! | the connection came to | behaviours |
//! |---|---|
//! | an address of `dns --spread`, 127.64.0.0/10 | all are those of the site that has the address |
//! | any other, such as 127.0.0.1 | those of domains, as far as one is known |
//!
//! The latter means: of a `RCPT`, those of the recipient's domain; of a message (its final reply,
//! the wait before, its cuts), those of its first accepted recipient's domain; all else, which is
//! what concerns sessions, `MAIL`, TLS and what is offered, is that of an ordinary site.
//!
//! A site's number is the one that `dns` made its address from, a domain's is a hash of its name.
//! Multiples of the golden ratio spread consecutive numbers evenly over the shares, so that ten
//! sites meet the shares as well as a million do; the seed is where they start.

use std::net::IpAddr;
use std::rc::Rc;

use super::personality::Personality;
use crate::dns::zone;

/// 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// All personalities of a sink.
#[derive(Clone, Debug)]
pub struct Sites {
    /// The ordinary one is the last.
    all: Vec<Rc<Personality>>,
    /// Of 1000, up to where the personality at the same place reaches.
    ends: Vec<u16>,
    seed: u64,
}

/// A server, as a client meets it.
#[derive(Clone, Debug)]
pub struct Server {
    pub personality: Rc<Personality>,
    /// Of the personality, among all.
    pub place: usize,
    /// Tells the servers of a personality apart.
    pub number: u64,
}

/// Who answers for recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The server itself.
    Itself,
    /// Each recipient's domain for its own.
    Domains,
}

impl Sites {
    /// `shared` has the share of each, of 1000 together; `ordinary` has what they leave.
    pub fn new(shared: Vec<(u16, Personality)>, ordinary: Personality, seed: u64) -> Sites {
        let mut end = 0;
        let ends = shared.iter().map(|(share, _)| {
            end += share;
            end
        });
        let ends = ends.collect();
        assert!(end <= 1000, "shares are of 1000");
        let shared = shared.into_iter().map(|(_, personality)| personality);
        Sites { all: shared.chain([ordinary]).map(Rc::new).collect(), ends, seed }
    }

    pub fn all(&self) -> &[Rc<Personality>] {
        &self.all
    }

    /// Whose server is at the address of this host that was called.
    pub fn at(&self, called: IpAddr) -> (Server, Reach) {
        if self.ends.is_empty() {
            return (self.ordinary(), Reach::Itself);
        }
        let site = match called.to_canonical() {
            IpAddr::V4(address) => zone::site_at(address),
            IpAddr::V6(_) => None,
        };
        match site {
            Some(number) => (self.number(number), Reach::Itself),
            None => (self.ordinary(), Reach::Domains),
        }
    }

    /// The server of a domain, in any case of its letters.
    pub fn of_domain(&self, domain: &[u8]) -> Server {
        // FNV-1a, as good as any: what follows spreads it.
        let hash = domain.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.number(hash)
    }

    fn number(&self, number: u64) -> Server {
        let fraction = number.wrapping_add(self.seed).wrapping_mul(GOLDEN);
        let permille = ((u128::from(fraction) * 1000) >> 64) as u16;
        let place = self.ends.partition_point(|end| *end <= permille);
        Server { personality: self.all[place].clone(), place, number }
    }

    fn ordinary(&self) -> Server {
        let place = self.all.len() - 1;
        Server { personality: self.all[place].clone(), place, number: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;
    use crate::dns::zone::{Addresses, End, Families, Zone};

    fn named(name: &str) -> Personality {
        Personality { name: name.into(), ..Personality::kind() }
    }

    fn sites(seed: u64) -> Sites {
        Sites::new(vec![(300, named("a")), (100, named("b"))], Personality::kind(), seed)
    }

    fn counts(sites: &Sites, servers: impl Iterator<Item = Server>) -> Vec<usize> {
        let mut counts = vec![0; sites.all().len()];
        servers.for_each(|server| counts[server.place] += 1);
        counts
    }

    #[test]
    fn shares_are_met_by_few_sites_and_by_many_domains() {
        for seed in [0, 1, 77] {
            let sites = sites(seed);
            let few = counts(&sites, (0..20).map(|number| sites.number(number)));
            assert!((5..=7).contains(&few[0]) && (1..=3).contains(&few[1]), "{few:?}");
            let domains = (0..10_000).map(|n| sites.of_domain(format!("d{n}.x.test").as_bytes()));
            let many = counts(&sites, domains);
            assert!((2800..3200).contains(&many[0]) && (900..1100).contains(&many[1]), "{many:?}");
        }
    }

    #[test]
    fn all_hosts_of_a_site_behave_alike_whatever_they_are_called() {
        let zone = Zone {
            suffix: Name::from_ascii("x.test.").unwrap(),
            sites: 50,
            addresses: Addresses::Spread,
            families: Families::Ipv4,
            ttl_s: 1,
        };
        let sites = sites(1);
        let mut numbers = Vec::new();
        for site in 0..50 {
            let server = |host: &str| {
                let name = Name::from_ascii(format!("{host}.site{site}.x.test.")).unwrap();
                let End::Records(records) = zone.look_up(&name, RecordType::A).end else {
                    panic!("{name} has an address");
                };
                let RData::A(address) = &records[0].data else { panic!("an A record") };
                sites.at(address.0.into())
            };
            let (one, two) = (server("mx0"), server("mx1"));
            assert_eq!((one.1, two.1), (Reach::Itself, Reach::Itself));
            assert_eq!((one.0.number, one.0.place), (two.0.number, two.0.place));
            numbers.push(one.0.number);
        }
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn other_addresses_are_ordinary_and_leave_recipients_to_their_domains() {
        let sites = sites(1);
        for address in ["127.0.0.1", "127.63.255.255", "127.128.0.0", "::1"] {
            let (server, reach) = sites.at(address.parse().unwrap());
            assert_eq!((server.place, reach), (2, Reach::Domains), "{address}");
        }
        let mapped = Ipv4Addr::new(127, 64, 0, 6).to_ipv6_mapped();
        assert_eq!(sites.at(mapped.into()).0.number, 3);
        let (lower, upper) = (sites.of_domain(b"a.test"), sites.of_domain(b"A.TEST"));
        assert_eq!(lower.number, upper.number);
        let alone = Sites::new(Vec::new(), Personality::kind(), 1);
        assert_eq!(alone.at("127.64.0.6".parse().unwrap()).1, Reach::Itself);
    }
}
