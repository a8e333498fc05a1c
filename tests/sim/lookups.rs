//! The resolver that ships, asking simulated name servers: failover, loss, forgery, silence.
//!
//! Each story is told for several seeds: which packet is lost or overtaken hangs on them. All times
//! are virtual.

use super::clock::Clock;
use super::committer::{Committer, DiskFaults};
use super::disk::Disk;
use super::dns::{Manner, NameServer};
use super::executor::{Executor, OUTSIDE, Stepped};
use super::journal::Journal;
use super::network::{Network, Reach, Weather};
use super::random::Random;
use super::world::{Parts, SimWorld};
use baton::accept::Admission;
use baton::config::Config;
use baton::deliver::mx::MailHosts;
use baton::message::Outcome;
use baton::queue::schedule::Schedule;
use baton::shard::resolve::{Names, QUERIES_MAX, Resolver, TOTAL};
use baton::shard::{Place, Shard};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Its tasks are those of the relay's first life.
const LIFE: u32 = 2;
const STEPS_MAX: u64 = 2_000_000;
const SERVERS: [&str; 2] = ["192.0.2.53:53", "192.0.2.54:53"];

/// Shards, and the servers that they ask.
struct Scene {
    executor: Executor,
    network: Network,
    servers: Vec<Rc<NameServer>>,
    shards: Vec<Shard<SimWorld>>,
}

impl Scene {
    /// With the zone that all stories use on every server.
    fn new(seed: u64, weather: Weather, knobs: &str) -> Scene {
        let random = Random::new(seed);
        let executor = Executor::new(random.fork("executor"), 20);
        let network = Network::new(executor.clone(), random.fork("network"), weather);
        let addresses = SERVERS.map(|address| address.parse::<SocketAddr>().expect("an address"));
        let servers = addresses.map(|address| {
            NameServer::start(address, &executor, &network, random.fork(&address.to_string()))
        });
        for server in &servers {
            server.add_mx("x.test", 20, "b.x.test");
            server.add_mx("x.test", 10, "A.x.test");
            server.add_address("a.x.test", "192.0.2.1".parse().unwrap());
            server.add_address("a.x.test", "2001:db8::1".parse().unwrap());
            server.add_address("b.x.test", "192.0.2.2".parse().unwrap());
            server.add_address("bare.test", "192.0.2.3".parse().unwrap());
            server.add_mx("null.test", 0, ".");
            server.add_alias("alias.test", "x.test");
        }
        let text = format!("hostname = \"relay.test\"\n[dns]\nservers = {SERVERS:?}\n{knobs}");
        let config = Config::parse("lookups", &text, "relay.test");
        let config = Arc::new(config.unwrap_or_else(|problems| panic!("{problems:#?}")));
        let committer = Committer::new(
            executor.clone(),
            random.fork("committer"),
            Rc::new(Disk::default()),
            DiskFaults::none(),
            1 << 20,
        );
        let parts = Parts {
            executor: executor.clone(),
            clock: Clock::new(executor.clone()),
            network: network.clone(),
            committer,
            journal: Rc::new(Journal::default()),
            group: LIFE,
            address: "192.0.2.99".parse().unwrap(),
            mailboxes: Rc::default(),
        };
        let names = Names::new(config.dns.servers.clone(), config.dns.cache_bytes_max);
        let admission = Arc::new(Mutex::new(Admission::new(&config.limits)));
        let shard = |index: u16| {
            let world = SimWorld::new(parts.clone(), index, random.fork(&format!("shard {index}")));
            let (config, admission, names) = (config.clone(), admission.clone(), names.clone());
            let place = Place { index, count: 2 };
            Shard::new(world, config, place, admission, names, Schedule::default(), None)
        };
        let shards: Vec<_> = (0..2).map(shard).collect();
        shards.iter().for_each(Shard::start);
        Scene { executor, network, servers: servers.into(), shards }
    }

    fn fine(seed: u64) -> Scene {
        Scene::new(seed, Weather::fine(), "")
    }

    fn resolver(&self) -> Resolver<SimWorld> {
        self.shards[0].resolver().clone()
    }

    /// Both servers.
    fn all(&self, manner: Manner) {
        self.servers.iter().for_each(|server| server.set_manner(manner));
    }

    /// What both servers were asked since the last call, in order of the alphabet.
    fn asked(&self) -> Vec<String> {
        let mut asked: Vec<_> = self.servers.iter().flat_map(|one| one.take_asked()).collect();
        asked.sort();
        asked
    }

    /// What came of `work`, and how long it took.
    fn run<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> (T, Duration) {
        let (done, began) = (Rc::new(RefCell::new(None)), self.executor.now());
        let (place, executor) = (done.clone(), self.executor.clone());
        self.executor.spawn(OUTSIDE, async move {
            let came = work.await;
            *place.borrow_mut() = Some((came, executor.now().since(began)));
        });
        for _ in 0..STEPS_MAX {
            assert_eq!(self.executor.step(), Stepped::Went);
            let panics = self.executor.take_panics();
            assert!(panics.is_empty(), "{panics:?}");
            if let Some(came) = done.take() {
                return came;
            }
        }
        panic!("no end after {STEPS_MAX} steps");
    }

    fn mail_hosts(&self, domain: &'static str) -> (String, Duration) {
        let resolver = self.resolver();
        let (found, took) = self.run(async move { resolver.mail_hosts(domain).await });
        (shown(&found), took)
    }

    fn addresses(&self, host: &'static str) -> (String, Duration) {
        let resolver = self.resolver();
        let (found, took) = self.run(async move { resolver.addresses(host).await });
        let shown = match found {
            Ok(addresses) => {
                let mut addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                addresses.sort();
                addresses.join(" ")
            }
            Err(outcome) => outcome.cause.to_string(),
        };
        (shown, took)
    }

    fn wait(&self, time: Duration) {
        let executor = self.executor.clone();
        self.run(async move { executor.sleep(time).await });
    }
}

fn shown(found: &Result<Arc<MailHosts>, Outcome>) -> String {
    match found {
        Ok(hosts) => format!("{}{}", hosts.site(), if hosts.authentic { " authentic" } else { "" }),
        Err(outcome) => outcome.cause.to_string(),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What a good server says of x.test.
const FOUND: &str = "a.x.test>b.x.test";

#[test]
fn mail_hosts_and_their_addresses_are_found() {
    for seed in 0..20 {
        let scene = Scene::fine(seed);
        let rows = [
            ("x.test", FOUND),
            ("alias.test", FOUND),
            ("bare.test", "bare.test"),
            ("null.test", "5.1.10 the domain null.test does not take mail (null MX)"),
            ("none.test", "5.1.2 the domain none.test does not exist"),
            ("a.x.test", "a.x.test"),
            ("[192.0.2.9]", "192.0.2.9"),
        ];
        for (domain, expected) in rows {
            assert_eq!(scene.mail_hosts(domain).0, expected, "seed {seed}");
        }
        assert_eq!(scene.addresses("a.x.test").0, "192.0.2.1 2001:db8::1");
        assert_eq!(scene.addresses("b.x.test").0, "192.0.2.2");
        assert_eq!(scene.addresses("192.0.2.9").0, "192.0.2.9");
        let none = "5.4.4 the mail host c.x.test does not exist";
        assert_eq!(scene.addresses("c.x.test").0, none);
        let bad = "5.4.4 the mail host a..b has no valid name";
        assert_eq!(scene.addresses("a..b").0, bad);
    }
}

#[test]
fn what_is_known_is_not_asked_again_by_any_shard() {
    let scene = Scene::fine(1);
    let other = scene.shards[1].resolver().clone();
    assert!(other.known_mail_hosts("x.test").is_none());
    scene.mail_hosts("x.test");
    scene.mail_hosts("bare.test");
    scene.mail_hosts("none.test");
    scene.asked();
    assert_eq!(shown(&other.known_mail_hosts("x.test").expect("known")), FOUND);
    assert_eq!(shown(&other.known_mail_hosts("bare.test").expect("known")), "bare.test");
    let none = other.known_mail_hosts("none.test").expect("known");
    assert_eq!(shown(&none), "5.1.2 the domain none.test does not exist");
    assert_eq!(shown(&other.known_mail_hosts("[192.0.2.9]").expect("a literal")), "192.0.2.9");
    for domain in ["x.test", "bare.test", "none.test"] {
        let (_, took) = scene.mail_hosts(domain);
        assert!(took < Duration::from_millis(1), "{domain} took {took:?}");
    }
    assert_eq!(scene.asked(), [""; 0]);
    // It holds for as long as the records say, and no longer.
    scene.wait(seconds(301));
    assert!(other.known_mail_hosts("x.test").is_none());
    scene.mail_hosts("x.test");
    scene.mail_hosts("none.test");
    assert_eq!(scene.asked(), ["MX none.test", "MX x.test"]);
}

#[test]
fn one_question_is_asked_once_however_many_wait() {
    for seed in 0..10 {
        let scene = Scene::fine(seed);
        scene.all(Manner::Slow(Duration::from_millis(900)));
        let ended = Rc::new(Cell::new(0));
        for number in 0..500 {
            let (resolver, ended) = (scene.resolver(), ended.clone());
            let executor = scene.executor.clone();
            scene.executor.spawn(OUTSIDE, async move {
                // Some give up, and take the answer from nobody.
                let hosts = resolver.mail_hosts("x.test");
                match number % 7 {
                    0 => drop(executor.within(Duration::from_millis(100), hosts).await),
                    _ => assert_eq!(shown(&hosts.await), FOUND),
                }
                ended.set(ended.get() + 1);
            });
        }
        let (executor, all) = (scene.executor.clone(), ended.clone());
        scene.run(async move {
            while all.get() < 500 {
                executor.sleep(Duration::from_millis(50)).await;
            }
        });
        assert_eq!(scene.asked(), ["MX x.test"], "seed {seed}");
    }
}

/// More questions than may be under way at once: all are answered, and never more were open.
#[test]
fn questions_under_way_are_bounded() {
    let scene = Scene::fine(3);
    scene.all(Manner::Slow(Duration::from_millis(500)));
    let (ended, count) = (Rc::new(Cell::new(0)), 3 * QUERIES_MAX);
    for number in 0..count {
        let (resolver, ended) = (scene.resolver(), ended.clone());
        scene.executor.spawn(OUTSIDE, async move {
            let found = resolver.mail_hosts(&format!("{number}.test")).await;
            let none = format!("5.1.2 the domain {number}.test does not exist");
            assert_eq!(shown(&found), none);
            ended.set(ended.get() + 1);
        });
    }
    let (executor, network, all) = (scene.executor.clone(), scene.network.clone(), ended);
    let (most, _) = scene.run(async move {
        let mut most = 0;
        while all.get() < count {
            executor.sleep(Duration::from_millis(5)).await;
            most = most.max(network.open_datagrams() - SERVERS.len());
        }
        most
    });
    assert_eq!(most, QUERIES_MAX);
}

#[test]
fn a_server_that_does_not_answer_is_asked_last_for_a_while() {
    for reach in [None, Some(Reach::Silent), Some(Reach::Refusing)] {
        let scene = Scene::fine(4);
        match reach {
            None => scene.servers[0].set_manner(Manner::Silent),
            Some(reach) => scene.network.set_reach(SERVERS[0].parse().unwrap(), reach),
        }
        let (found, took) = scene.mail_hosts("x.test");
        assert_eq!(found, FOUND);
        // One try's timeout; with a refusal of the network not even that.
        let longest = if reach == Some(Reach::Refusing) { 1 } else { 4 };
        assert!(took < seconds(longest), "{reach:?} took {took:?}");
        let (_, took) = scene.mail_hosts("bare.test");
        assert!(took < seconds(1), "{reach:?} took {took:?} when it was known to fail");
        // It is back, and gets its turn again.
        scene.network.set_reach(SERVERS[0].parse().unwrap(), Reach::Open);
        scene.servers[0].set_manner(Manner::Good);
        scene.wait(seconds(31));
        scene.asked();
        scene.mail_hosts("none.test");
        assert_eq!(scene.servers[0].take_asked(), ["MX none.test"]);
    }
}

#[test]
fn a_server_that_cannot_say_leaves_it_to_the_next() {
    let failing = [Manner::ServFail, Manner::Refused, Manner::Circle, Manner::WrongId];
    for manner in failing.into_iter().chain([Manner::Nonsense]) {
        let scene = Scene::fine(5);
        scene.servers[0].set_manner(manner);
        let (found, took) = scene.mail_hosts("x.test");
        assert_eq!(found, FOUND, "{manner:?}");
        assert!(took < seconds(8), "{manner:?} took {took:?}");
    }
}

#[test]
fn when_no_server_can_say_it_is_tried_later() {
    let rows = [
        (Manner::ServFail, "the name server answered SERVFAIL"),
        (Manner::Refused, "the name server refused to answer"),
        (Manner::Circle, "its aliases (CNAME) lead nowhere"),
        (Manner::Silent, "no name server answered in time"),
        (Manner::WrongId, "no name server answered in time"),
        (Manner::Slow(seconds(60)), "no name server answered in time"),
    ];
    for (manner, words) in rows {
        let scene = Scene::fine(6);
        scene.all(manner);
        let (found, took) = scene.mail_hosts("x.test");
        assert_eq!(found, format!("4.4.3 looking up MX of x.test: {words}"));
        assert!(took <= TOTAL + seconds(1), "{manner:?} took {took:?}");
        // A failure is remembered for some seconds, then asked again (RFC 9520 3.2).
        scene.asked();
        let (again, took) = scene.mail_hosts("x.test");
        assert!(again == found && took < Duration::from_millis(1), "{manner:?} took {took:?}");
        assert_eq!(scene.asked(), [""; 0]);
        scene.all(Manner::Good);
        scene.wait(seconds(6));
        assert_eq!(scene.mail_hosts("x.test").0, FOUND, "{manner:?}");
    }
}

/// Each server was asked as often as the knob says, when it was silent; and once when it was not.
#[test]
fn tries_are_counted() {
    for (manner, times) in [(Manner::Silent, 3), (Manner::ServFail, 1)] {
        let scene = Scene::new(7, Weather::fine(), "tries = 3\ntimeout = \"1s\"");
        scene.all(manner);
        scene.mail_hosts("x.test");
        for server in &scene.servers {
            assert_eq!(server.take_asked(), vec!["MX x.test"; times], "{manner:?}");
        }
    }
}

#[test]
fn servers_with_odd_ways_are_asked_in_theirs() {
    for (manner, by_tcp) in [
        (Manner::Truncating, 1),
        (Manner::Overlong, 1),
        (Manner::LowerCase, 1),
        (Manner::NoEdns, 0),
        (Manner::Flooded, 1),
        (Manner::Slow(Duration::from_millis(1_500)), 0),
    ] {
        for seed in 0..5 {
            let scene = Scene::fine(seed);
            scene.servers[0].set_manner(manner);
            scene.servers[1].set_manner(Manner::ServFail);
            let (found, took) = scene.mail_hosts("x.test");
            assert_eq!(found, FOUND, "{manner:?}, seed {seed}");
            assert!(took < seconds(3), "{manner:?} took {took:?}, seed {seed}");
            // Among a flood the right answer may come first.
            let tcp = scene.servers[0].asked_by_tcp();
            assert!(tcp == by_tcp || manner == Manner::Flooded, "{manner:?}: {tcp} over TCP");
        }
    }
}

#[test]
fn one_family_is_enough_and_the_other_is_not_waited_for_long() {
    let scene = Scene::fine(8);
    scene.addresses("a.x.test");
    assert_eq!(scene.asked(), ["A a.x.test", "AAAA a.x.test"]);
    // The server keeps silent about one of the two.
    for server in &scene.servers {
        server.keep_silent_about("AAAA b.x.test");
    }
    let (found, took) = scene.addresses("b.x.test");
    assert_eq!(found, "192.0.2.2");
    assert!((seconds(1)..seconds(4)).contains(&took), "took {took:?}");
}

#[test]
fn families_are_those_of_the_configuration() {
    for (families, expected, asked) in
        [("ipv4", "192.0.2.1", "A a.x.test"), ("ipv6", "2001:db8::1", "AAAA a.x.test")]
    {
        let scene = Scene::new(9, Weather::fine(), &format!("families = \"{families}\""));
        assert_eq!(scene.addresses("a.x.test").0, expected);
        assert_eq!(scene.asked(), [asked]);
    }
}

#[test]
fn the_word_of_a_resolver_is_taken_when_told_so() {
    let rows = [(true, true), (true, false), (false, true), (false, false)];
    for (trusted, validates) in rows {
        let scene = Scene::new(10, Weather::fine(), &format!("trust_ad = {trusted}"));
        if validates {
            scene.servers.iter().for_each(|server| server.validate());
        }
        for (domain, plain) in [("x.test", FOUND), ("bare.test", "bare.test")] {
            let authentic = if trusted && validates { " authentic" } else { "" };
            let found = scene.mail_hosts(domain).0;
            assert_eq!(found, format!("{plain}{authentic}"), "{trusted} {validates}");
        }
    }
}

/// Loss, doubles, packets out of order, forged ones, connections that break: the answer is the
/// right one or "later", and with some patience it is the right one.
#[test]
fn a_bad_network_delays_and_never_misleads() {
    for seed in 0..40 {
        let weather = Weather {
            packet_lost: 250,
            packet_twice: 250,
            packet_forged: 500,
            latency_micros: 50..400_000,
            reset: 100,
            refused: 100,
            ..Weather::fine()
        };
        let scene = Scene::new(seed, weather, "timeout = \"1s\"");
        scene.servers[0].set_manner(Manner::Truncating);
        let mut left = 20;
        loop {
            let (found, took) = scene.mail_hosts("x.test");
            assert!(took <= TOTAL + seconds(1), "took {took:?}, seed {seed}");
            if found == FOUND {
                break;
            }
            assert_eq!(found, "4.4.3 looking up MX of x.test: no name server answered in time");
            left -= 1;
            assert!(left > 0, "never found, seed {seed}");
            scene.wait(seconds(6));
        }
    }
}
