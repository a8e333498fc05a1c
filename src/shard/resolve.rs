//! Asking the DNS: where mail for a domain goes, and the addresses of its hosts.
//!
//! Questions are answered from a cache that all shards share, else by the name servers. One
//! question is under way once per shard: who asks it meanwhile waits for the same answer. Servers
//! are asked in the order of the configuration, one that did not answer is asked last for a while,
//! and all of it ends within [`TOTAL`]. What answers mean is for `dns` and `deliver` to say.
//!
//! UDP first; TCP when the answer is too long, or when the server or a forger changed the case of
//! the letters; without EDNS when the server does not know it.
//!
//! A query runs in a task of its own: who gives up waiting takes nothing from the others, and the
//! answer is kept for the next to ask. Never uses a search domain.
//!
//! RFC 1035 7, RFC 5452, RFC 6891 7, RFC 7766 (TCP), RFC 9520.

use super::deadline::{Deadlines, OnStop};
use super::signal::Signal;
use super::wire::{read_exact, write_all};
use super::world::{Datagram, Share, World};
use crate::config::{Config, Dns, Families};
use crate::deliver::host::{self, Loopback};
use crate::deliver::mx::{self, Destination, Found, MailHosts};
use crate::dns::{
    self, Answer, Cache, EDNS_BYTES_MAX, Edns, Failure, Finding, Kind, Query, Question, Transport,
    Unusable,
};
use crate::message::Outcome;
use crate::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A resolution takes no longer, whatever the servers do.
pub const TOTAL: Duration = Duration::from_secs(20);
/// Questions that a shard asks at once: so many sockets.
pub const QUERIES_MAX: usize = 256;
/// Questions under way or waiting for that; more are not asked.
const FLIGHTS_MAX: usize = 4_096;
/// A server that did not answer is asked last for so long.
const FAILING: Duration = Duration::from_secs(30);
/// How long one family of addresses is waited for when the other is there (RFC 8305 3 waits 50 ms
/// before it connects; mail has more time, and the answer is worth having).
const PATIENCE: Duration = Duration::from_secs(2);
/// Packets that are not ours, in reply to one query: with more, somebody is guessing.
const STRAYS_MAX: usize = 16;
/// Ways in which one server is asked for one try: UDP, without EDNS, TCP.
const WAYS_MAX: usize = 3;

/// What all shards share of the DNS: the servers, and what they answered.
#[derive(Clone)]
pub struct Names {
    servers: Arc<[SocketAddr]>,
    cache: Arc<Mutex<Cache>>,
}

impl Names {
    /// Without `servers`, the one on this machine is asked, as resolv.conf(5) has it.
    pub fn new(mut servers: Vec<SocketAddr>, cache_bytes_max: u64) -> Names {
        if servers.is_empty() {
            servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        let cache_bytes_max = usize::try_from(cache_bytes_max).unwrap_or(usize::MAX);
        Names { servers: servers.into(), cache: Arc::new(Mutex::new(Cache::new(cache_bytes_max))) }
    }

    /// Held for a look-up or an insertion, never while waiting. A panic that held it may have left
    /// an answer uncounted, which is no reason to look up nothing ever after.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resolver of one shard.
pub struct Resolver<W: World> {
    inner: Rc<Inner<W>>,
}

impl<W: World> Clone for Resolver<W> {
    fn clone(&self) -> Self {
        Resolver { inner: self.inner.clone() }
    }
}

struct Inner<W: World> {
    world: W,
    deadlines: Deadlines,
    names: Names,
    rules: RefCell<Rc<Rules>>,
    /// By server: until when it is asked last.
    failing: RefCell<Vec<Moment>>,
    flights: RefCell<HashMap<Question, Rc<Flight>>>,
    asking: Cell<usize>,
    /// Raised when `asking` went down.
    room: Signal,
}

/// What the configuration says of it.
struct Rules {
    dns: Dns,
    /// In lower case.
    hostname: Box<str>,
}

impl Rules {
    fn of(config: &Config) -> Rc<Rules> {
        let (dns, hostname) = (config.dns.clone(), config.hostname.as_str().into());
        Rc::new(Rules { dns, hostname })
    }

    fn kinds(&self) -> &'static [Kind] {
        match self.dns.families {
            Families::Both => &[Kind::A, Kind::Aaaa],
            Families::Ipv4 => &[Kind::A],
            Families::Ipv6 => &[Kind::Aaaa],
        }
    }

    fn loopback(&self) -> Loopback {
        if self.dns.loopback { Loopback::Allowed } else { Loopback::Refused }
    }
}

impl<W: World> Resolver<W> {
    /// `deadlines` must be swept.
    pub(super) fn new(world: W, deadlines: Deadlines, names: Names, config: &Config) -> Self {
        let failing = RefCell::new(vec![Moment::default(); names.servers.len()]);
        let inner = Inner {
            world,
            deadlines,
            names,
            rules: RefCell::new(Rules::of(config)),
            failing,
            flights: RefCell::default(),
            asking: Cell::new(0),
            room: Signal::default(),
        };
        Resolver { inner: Rc::new(inner) }
    }

    pub(super) fn reload(&self, config: &Config) {
        self.inner.rules.replace(Rules::of(config));
    }

    /// The hosts that take mail for `domain` (as behind the `@`, in lower case).
    ///
    /// # Errors
    /// Why there is nowhere to go, for good or for now; within [`TOTAL`].
    pub async fn mail_hosts(&self, domain: &str) -> Result<Arc<MailHosts>, Outcome> {
        let (until, rules) = (self.inner.world.moment().after(TOTAL), self.rules());
        let name = match Destination::of(domain)? {
            Destination::Address(address) => return Ok(Arc::new(Destination::literal(address))),
            Destination::Domain(name) => name,
        };
        let found = self.find(&name, &[Kind::Mx], until).await?;
        match mx::by_records(&name, &found[0].1, &[&rules.hostname])? {
            Found::Hosts(hosts) => Ok(trusted(hosts, &rules)),
            Found::NoMx { authentic } => {
                let found = self.find(&name, rules.kinds(), until).await?;
                mx::implicit(&name, authentic, &found).map(|hosts| trusted(hosts, &rules))
            }
        }
    }

    /// The same, if it is known without asking.
    pub fn known_mail_hosts(&self, domain: &str) -> Option<Result<Arc<MailHosts>, Outcome>> {
        let rules = self.rules();
        let name = match Destination::of(domain) {
            Ok(Destination::Domain(name)) => name,
            Ok(Destination::Address(address)) => {
                return Some(Ok(Arc::new(Destination::literal(address))));
            }
            Err(outcome) => return Some(Err(outcome)),
        };
        let found = self.known(&name, &[Kind::Mx])?;
        Some(match mx::by_records(&name, &found[0].1, &[&rules.hostname]) {
            Ok(Found::Hosts(hosts)) => Ok(trusted(hosts, &rules)),
            Ok(Found::NoMx { authentic }) => {
                let found = self.known(&name, rules.kinds())?;
                mx::implicit(&name, authentic, &found).map(|hosts| trusted(hosts, &rules))
            }
            Err(outcome) => Err(outcome),
        })
    }

    /// The addresses of a mail host in the order in which they are to be tried; never empty, at
    /// most [`host::ADDRESSES_MAX`]. `host` is a name or an address.
    ///
    /// # Errors
    /// Why there is none, for good or for now; within [`TOTAL`]. It speaks of this host alone.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, Outcome> {
        let (until, rules) = (self.inner.world.moment().after(TOTAL), self.rules());
        if let Ok(address) = host.parse() {
            return host::literal(address, rules.loopback()).map(|address| [address].into());
        }
        let found = self.find(host, rules.kinds(), until).await?;
        let random = self.inner.world.random();
        host::addresses(host, &found, rules.loopback(), random).map(Into::into)
    }

    fn rules(&self) -> Rc<Rules> {
        Rc::clone(&self.inner.rules.borrow())
    }

    /// What is known of `name`, when all of it is.
    fn known(&self, name: &str, kinds: &[Kind]) -> Option<Vec<(Kind, Finding)>> {
        let now = self.inner.world.moment();
        let mut cache = self.inner.names.cache();
        let known = |kind: &Kind| {
            let question = Question::new(name, *kind).ok()?;
            cache.get(&question, now).map(|finding| (*kind, finding))
        };
        kinds.iter().map(known).collect()
    }

    /// Finds all of it out, side by side.
    async fn find(
        &self,
        name: &str,
        kinds: &[Kind],
        until: Moment,
    ) -> Result<Vec<(Kind, Finding)>, Outcome> {
        let mut flights = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let question = Question::new(name, *kind).map_err(|_| host::no_name(name))?;
            flights.push((*kind, self.flight(question)));
        }
        let deadlines = &self.inner.deadlines;
        let enough = poll_fn(|cx| poll_all(&flights, cx, Patience::UntilSomeAreThere));
        if deadlines.within(until, OnStop::Finish, enough).await.is_ok() {
            let until = until.min(self.inner.world.moment().after(PATIENCE));
            let all = poll_fn(|cx| poll_all(&flights, cx, Patience::UntilAllAreThere));
            // In vain: then what is there is enough.
            let _in_vain = deadlines.within(until, OnStop::Finish, all).await;
        }
        let finding = |flight: Rc<Flight>| flight.landed().unwrap_or(Err(Failure::NoAnswer));
        Ok(flights.into_iter().map(|(kind, flight)| (kind, finding(flight))).collect())
    }

    /// The one way in which `question` is being answered.
    fn flight(&self, question: Question) -> Rc<Flight> {
        let inner = &self.inner;
        let known = inner.names.cache().get(&question, inner.world.moment());
        if let Some(finding) = known {
            return Flight::over(finding);
        }
        let mut flights = inner.flights.borrow_mut();
        if let Some(flight) = flights.get(&question) {
            return Rc::clone(flight);
        }
        if flights.len() >= FLIGHTS_MAX {
            return Flight::over(Err(Failure::NoAnswer));
        }
        let flight = Rc::new(Flight::default());
        flights.insert(question.clone(), Rc::clone(&flight));
        drop(flights);
        let landing = Landing { resolver: self.clone(), question, flight: Rc::clone(&flight) };
        inner.world.spawn(Share::Delivery, landing.fly());
        flight
    }

    /// Asks the servers in turn. One that has said what it can say is not asked again.
    async fn ask(&self, question: &Question) -> Finding {
        let mut servers = self.order();
        let mut said = Failure::NoAnswer;
        for _ in 0..self.rules().dns.tries {
            let mut silent = Vec::new();
            for server in servers {
                match self.ask_server(server, question).await {
                    Ok(answer) => return Ok(Arc::new(answer)),
                    Err(Failure::NoAnswer) => silent.push(server),
                    Err(failure) => said = failure,
                }
            }
            servers = silent;
        }
        Err(said)
    }

    /// The servers (by index), those that fail last.
    fn order(&self) -> Vec<usize> {
        let (now, failing) = (self.inner.world.moment(), self.inner.failing.borrow());
        let mut order: Vec<usize> = (0..failing.len()).collect();
        order.sort_by_key(|server| now < failing[*server]);
        order
    }

    /// Asks one server, in each of the ways that it may need.
    async fn ask_server(&self, server: usize, question: &Question) -> Result<Answer, Failure> {
        let Inner { world, deadlines, names, failing, .. } = &*self.inner;
        let (address, rules) = (names.servers[server], self.rules());
        let mut edns = Edns::With { authentic: rules.dns.trust_ad };
        let mut transport = Transport::Udp;
        for _ in 0..WAYS_MAX {
            let random = [world.random(), world.random()];
            let query = Query::new(question.clone(), edns, random);
            let until = world.moment().after(rules.dns.timeout);
            let exchange = async {
                match transport {
                    Transport::Udp => self.over_udp(address, &query).await,
                    Transport::Tcp => self.over_tcp(address, &query).await,
                }
            };
            let came = deadlines.within(until, OnStop::Finish, exchange).await;
            // Out of time, or no way to the server.
            let Ok(Ok(said)) = came else {
                failing.borrow_mut()[server] = world.moment().after(FAILING);
                return Err(Failure::NoAnswer);
            };
            failing.borrow_mut()[server] = Moment::default();
            match said {
                Ok(answer) => return Ok(answer),
                Err(Unusable::Failed(failure)) => return Err(failure),
                Err(Unusable::CaseLost | Unusable::Truncated | Unusable::NotOurs) => {
                    transport = Transport::Tcp;
                }
                // It does not understand the simplest query either.
                Err(Unusable::NoEdns) if edns == Edns::Without => return Err(Failure::Refused),
                Err(Unusable::NoEdns) => edns = Edns::Without,
            }
        }
        Err(Failure::Malformed)
    }

    /// The outer result is about the network.
    async fn over_udp(
        &self,
        server: SocketAddr,
        query: &Query,
    ) -> io::Result<Result<Answer, Unusable>> {
        let mut socket = self.inner.world.datagram(server).await?;
        socket.send(query.packet()).await?;
        // One octet more shows that a packet is longer than was asked for, and was cut.
        let mut packet = [0; EDNS_BYTES_MAX + 1];
        for _ in 0..STRAYS_MAX {
            let length = socket.receive(&mut packet).await?;
            match dns::read(query, &packet[..length], Transport::Udp) {
                Err(Unusable::NotOurs) => {}
                _ if length > EDNS_BYTES_MAX => return Ok(Err(Unusable::Truncated)),
                said => return Ok(said),
            }
        }
        Ok(Err(Unusable::NotOurs))
    }

    async fn over_tcp(
        &self,
        server: SocketAddr,
        query: &Query,
    ) -> io::Result<Result<Answer, Unusable>> {
        let mut stream = self.inner.world.connect(server, None).await?;
        // RFC 1035 4.2.2; both in one write, because some servers read but once (RFC 7766 8).
        let mut request = Vec::with_capacity(2 + query.packet().len());
        request.extend_from_slice(&(query.packet().len() as u16).to_be_bytes());
        request.extend_from_slice(query.packet());
        write_all(&mut stream, &request).await?;
        let mut length = [0; 2];
        read_exact(&mut stream, &mut length).await?;
        let mut packet = vec![0; u16::from_be_bytes(length).into()];
        read_exact(&mut stream, &mut packet).await?;
        Ok(match dns::read(query, &packet, Transport::Tcp) {
            // On a connection of its own nothing else can come.
            Err(Unusable::NotOurs) => Err(Unusable::Failed(Failure::Malformed)),
            said => said,
        })
    }
}

fn trusted(mut hosts: MailHosts, rules: &Rules) -> Arc<MailHosts> {
    hosts.authentic &= rules.dns.trust_ad;
    Arc::new(hosts)
}

/// A question under way, and who waits for it.
#[derive(Default)]
struct Flight {
    finding: RefCell<Option<Finding>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Flight {
    fn over(finding: Finding) -> Rc<Flight> {
        Rc::new(Flight { finding: RefCell::new(Some(finding)), waiting: RefCell::default() })
    }

    fn landed(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// The first finding stays.
    fn land(&self, finding: Finding) {
        self.finding.borrow_mut().get_or_insert(finding);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn wake_later(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    UntilSomeAreThere,
    UntilAllAreThere,
}

fn poll_all(flights: &[(Kind, Rc<Flight>)], cx: &Context<'_>, patience: Patience) -> Poll<()> {
    let mut all = true;
    for (_, flight) in flights {
        match &*flight.finding.borrow() {
            None => {
                all = false;
                flight.wake_later(cx);
            }
            Some(Ok(answer))
                if patience == Patience::UntilSomeAreThere && !answer.records().is_empty() =>
            {
                return Poll::Ready(());
            }
            Some(Ok(_) | Err(_)) => {}
        }
    }
    if all { Poll::Ready(()) } else { Poll::Pending }
}

/// Sees to it that a flight ends, also when its task panics: else its question would never be asked
/// again.
struct Landing<W: World> {
    resolver: Resolver<W>,
    question: Question,
    flight: Rc<Flight>,
}

impl<W: World> Landing<W> {
    async fn fly(self) {
        let Inner { world, deadlines, names, .. } = &*self.resolver.inner;
        let until = world.moment().after(TOTAL);
        let ask = async {
            let _room = Room::take(&self.resolver.inner).await;
            self.resolver.ask(&self.question).await
        };
        let finding = deadlines.within(until, OnStop::Finish, ask).await;
        let finding = finding.unwrap_or(Err(Failure::NoAnswer));
        names.cache().put(self.question.clone(), finding.clone(), world.moment());
        self.flight.land(finding);
    }
}

impl<W: World> Drop for Landing<W> {
    fn drop(&mut self) {
        self.resolver.inner.flights.borrow_mut().remove(&self.question);
        self.flight.land(Err(Failure::NoAnswer));
    }
}

/// One of the [`QUERIES_MAX`] places.
struct Room<'a, W: World> {
    inner: &'a Inner<W>,
}

impl<'a, W: World> Room<'a, W> {
    async fn take(inner: &'a Inner<W>) -> Self {
        while inner.asking.get() >= QUERIES_MAX {
            inner.room.wait().await;
        }
        inner.asking.set(inner.asking.get() + 1);
        Room { inner }
    }
}

impl<W: World> Drop for Room<'_, W> {
    fn drop(&mut self) {
        self.inner.asking.set(self.inner.asking.get() - 1);
        self.inner.room.raise();
    }
}
