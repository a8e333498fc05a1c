//! The simulated internet: addresses, listeners, connections, and the weather they live in.
//!
//! A connection is two [`Pipe`]s. It may be refused, never answered, reset after so many octets,
//! cut up into pieces of any size; how often is the [`Weather`], which the plan of a run sets and
//! the liveness phase clears. Streams remember which [`Group`] owns them, so that a crash takes
//! them along.
//!
//! There is no TLS: a handshake is eight octets each way and then a flag. It reads them from the
//! stream itself, so a server that had read ahead of its STARTTLS reply would miss them and fail.

use super::datagram::Inbox;
use super::executor::{Executor, Group, OUTSIDE};
use super::pipe::{Manner, Mark, Pipe, Written};
use super::random::Random;
use super::traffic::Call;
use baton::shard::world::{Stream, TlsSession, TlsTrust};
use baton::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// How often things go wrong, of a thousand connections.
#[derive(Clone, Debug)]
pub struct Weather {
    pub latency_micros: Range<u64>,
    pub refused: u64,
    pub never_answered: u64,
    pub reset: u64,
    pub tls_failed: u64,
    /// Connections whose octets come in pieces of a few.
    pub tiny_pieces: u64,
    pub short_writes: u64,
    /// Of a thousand UDP packets.
    pub packet_lost: u64,
    pub packet_twice: u64,
    /// Packets in whose company one comes that nobody sent.
    pub packet_forged: u64,
}

impl Weather {
    /// Nothing goes wrong, but pieces are still of any size.
    pub fn fine() -> Self {
        Weather {
            latency_micros: 50..2_000,
            refused: 0,
            never_answered: 0,
            reset: 0,
            tls_failed: 0,
            tiny_pieces: 100,
            short_writes: 100,
            packet_lost: 0,
            packet_twice: 0,
            packet_forged: 0,
        }
    }
}

/// Whether an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Open,
    Refusing,
    /// Every packet is dropped.
    Silent,
}

#[derive(Clone)]
pub struct Network(pub(super) Rc<Net>);

pub(super) struct Net {
    pub(super) executor: Executor,
    pub(super) random: Random,
    pub(super) weather: RefCell<Weather>,
    listeners: RefCell<BTreeMap<SocketAddr, Rc<Backlog>>>,
    /// Addresses that are not simply there.
    pub(super) reach: RefCell<BTreeMap<SocketAddr, Reach>>,
    /// Of UDP, see `datagram`.
    pub(super) sockets: RefCell<BTreeMap<SocketAddr, Rc<Inbox>>>,
    links: RefCell<Vec<(Group, Weak<Link>)>>,
    /// What the relay opened, see `traffic`.
    calls: RefCell<Vec<Rc<Call>>>,
    /// When the relay tried to, and where.
    knocks: RefCell<BTreeMap<SocketAddr, Vec<Moment>>>,
    next_port: Cell<u16>,
}

#[derive(Default)]
struct Backlog {
    waiting: RefCell<VecDeque<(Rc<Link>, SocketAddr)>>,
    waker: RefCell<Option<Waker>>,
}

/// A connection: `pipes[0]` carries what the client writes.
struct Link {
    pipes: [Rc<Pipe>; 2],
    /// Of the side that opened it.
    opened_by: Group,
    call: Rc<Call>,
    /// One side has lost its power and closes nothing any more.
    cut: Cell<bool>,
}

impl Link {
    fn reset(&self) {
        self.pipes.iter().for_each(|pipe| pipe.reset());
    }
}

impl Network {
    pub fn new(executor: Executor, random: Random, weather: Weather) -> Self {
        Network(Rc::new(Net {
            executor,
            random,
            weather: RefCell::new(weather),
            listeners: RefCell::default(),
            reach: RefCell::default(),
            sockets: RefCell::default(),
            links: RefCell::default(),
            calls: RefCell::default(),
            knocks: RefCell::default(),
            next_port: Cell::new(1_024),
        }))
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.0.weather.borrow_mut() = weather;
    }

    /// What becomes of connections to `address` from now on.
    pub fn set_reach(&self, address: SocketAddr, reach: Reach) {
        self.0.reach.borrow_mut().insert(address, reach);
    }

    /// # Panics
    /// When somebody listens there.
    pub fn listen(&self, address: SocketAddr) -> Listener {
        let backlog = Rc::new(Backlog::default());
        let before = self.0.listeners.borrow_mut().insert(address, backlog.clone());
        assert!(before.is_none(), "{address} is taken");
        Listener { network: self.clone(), address, backlog }
    }

    /// Opens a connection for a task of `group`.
    pub async fn connect(
        &self,
        group: Group,
        from: IpAddr,
        to: SocketAddr,
    ) -> io::Result<SimStream> {
        let net = &self.0;
        let latency = net.weather.borrow().latency_micros.clone();
        net.executor.sleep(net.random.micros(latency)).await;
        if group != OUTSIDE {
            let mut knocks = net.knocks.borrow_mut();
            knocks.entry(to).or_default().push(net.executor.now());
        }
        let weather = net.weather.borrow().clone();
        let reach = net.reach.borrow().get(&to).copied().unwrap_or(Reach::Open);
        if reach == Reach::Silent || net.random.permille(weather.never_answered) {
            return pending().await;
        }
        let refused = reach == Reach::Refusing || net.random.permille(weather.refused);
        let backlog = net.listeners.borrow().get(&to).cloned();
        let Some(backlog) = backlog.filter(|_| !refused) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let local = SocketAddr::new(from, self.next_port());
        let call = Rc::new(Call::new(group, from, to, net.executor.now()));
        if group != OUTSIDE {
            net.calls.borrow_mut().push(call.clone());
        }
        let link = self.link(&weather, group, call);
        backlog.waiting.borrow_mut().push_back((link.clone(), local));
        backlog.waker.take().into_iter().for_each(Waker::wake);
        Ok(self.stream(link, Side::Client, group, local, to))
    }

    /// The machine of `group` has lost its power: what it sent may not arrive, nothing closes its
    /// connections, and the other sides learn of it only later.
    pub fn cut(&self, group: Group) {
        let net = &self.0;
        for (owner, link) in net.links.borrow_mut().iter() {
            let Some(link) = link.upgrade().filter(|_| *owner == group) else { continue };
            link.pipes.iter().for_each(|pipe| pipe.lose_tail());
            link.cut.set(true);
            let (executor, wait) = (net.executor.clone(), net.random.millis(1..20_000));
            net.executor.spawn(OUTSIDE, async move {
                executor.sleep(wait).await;
                link.reset();
            });
        }
    }

    /// Every connection that the relay has opened, in order.
    pub fn calls(&self) -> Vec<Rc<Call>> {
        self.0.calls.borrow().clone()
    }

    /// When the relay tried to connect to `address`.
    pub fn knocks(&self, address: SocketAddr) -> Vec<Moment> {
        self.0.knocks.borrow().get(&address).cloned().unwrap_or_default()
    }

    fn link(&self, weather: &Weather, opened_by: Group, call: Rc<Call>) -> Rc<Link> {
        let random = &self.0.random;
        // One of the two directions breaks, early or late.
        let reset = random.permille(weather.reset).then(|| 1 << random.below(0..16));
        let broken = random.index(2);
        let tiny = random.permille(weather.tiny_pieces);
        let pipe = |side: usize| {
            let manner = Manner {
                capacity: 1 << random.below(9..17),
                latency_micros: weather.latency_micros.clone(),
                read_max: if tiny { 1 + random.index(40) } else { 0 },
                short_write_permille: weather.short_writes,
                reset_after: reset.filter(|_| side == broken),
            };
            let own = random.fork(&format!("pipe {}", random.next()));
            Pipe::new(self.0.executor.clone(), own, manner)
        };
        Rc::new(Link { pipes: [pipe(0), pipe(1)], opened_by, call, cut: Cell::new(false) })
    }

    fn stream(
        &self,
        link: Rc<Link>,
        side: Side,
        group: Group,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> SimStream {
        let mut links = self.0.links.borrow_mut();
        links.retain(|(_, link)| link.strong_count() > 0);
        links.push((group, Rc::downgrade(&link)));
        SimStream { network: self.clone(), link, side, local, peer, tls: false }
    }

    pub(super) fn next_port(&self) -> u16 {
        let port = self.0.next_port.get();
        self.0.next_port.set(port.checked_add(1).unwrap_or(1_024));
        port
    }

    fn handshake_fails(&self) -> bool {
        self.0.random.permille(self.0.weather.borrow().tls_failed)
    }
}

/// Takes connections for one address until it is dropped; those not taken are reset then.
pub struct Listener {
    network: Network,
    address: SocketAddr,
    backlog: Rc<Backlog>,
}

impl Listener {
    /// The next connection, for a task of `group`.
    pub async fn accept(&self, group: Group) -> SimStream {
        let next = poll_fn(|cx| {
            let next = self.backlog.waiting.borrow_mut().pop_front();
            if next.is_none() {
                *self.backlog.waker.borrow_mut() = Some(cx.waker().clone());
            }
            next.map_or(Poll::Pending, Poll::Ready)
        });
        let (link, peer) = next.await;
        self.network.stream(link, Side::Server, group, self.address, peer)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.network.0.listeners.borrow_mut().remove(&self.address);
        self.backlog.waiting.borrow_mut().drain(..).for_each(|(link, _)| link.reset());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client = 0,
    Server = 1,
}

pub struct SimStream {
    network: Network,
    link: Rc<Link>,
    side: Side,
    local: SocketAddr,
    peer: SocketAddr,
    tls: bool,
}

const CLIENT_HELLO: &[u8; 8] = b"SIMHELLO";
const SERVER_HELLO: &[u8; 8] = b"SIMREADY";

impl SimStream {
    /// A place behind what was written up to now.
    pub fn mark(&self) -> Mark {
        self.outgoing().mark()
    }

    /// The group of the side that opened the connection.
    pub fn opened_by(&self) -> Group {
        self.link.opened_by
    }

    /// The books of this connection.
    pub fn call(&self) -> Rc<Call> {
        self.link.call.clone()
    }

    fn outgoing(&self) -> &Rc<Pipe> {
        &self.link.pipes[self.side as usize]
    }

    fn incoming(&self) -> &Rc<Pipe> {
        &self.link.pipes[1 - self.side as usize]
    }

    async fn send(&mut self, hello: &[u8; 8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < hello.len() {
            sent += poll_fn(|cx| self.poll_write(cx, &hello[sent..])).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, hello: &[u8; 8]) -> io::Result<()> {
        let (mut heard, mut got) = ([0; 8], 0);
        while got < heard.len() {
            match poll_fn(|cx| self.poll_read(cx, &mut heard[got..])).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => got += count,
            }
        }
        let wait = self.network.0.random.micros(100..3_000);
        self.network.0.executor.sleep(wait).await;
        if heard != *hello || self.network.handshake_fails() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl Stream for SimStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.incoming().poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing().poll_write(cx, from).map_ok(|written| match written {
            Written::Some(count) => count,
            Written::Breaks(count) => {
                self.link.reset();
                count
            }
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing().close();
        Poll::Ready(Ok(()))
    }

    async fn accept_tls(mut self, _listener: usize) -> io::Result<Self> {
        // A server does not speak before it is spoken to.
        self.hear(CLIENT_HELLO).await?;
        self.send(SERVER_HELLO).await?;
        self.tls = true;
        Ok(self)
    }

    async fn connect_tls(mut self, _host: &str, trust: TlsTrust) -> io::Result<Self> {
        self.send(CLIENT_HELLO).await?;
        self.hear(SERVER_HELLO).await?;
        match trust {
            TlsTrust::Any => {}
            // Nobody here has a certificate.
            TlsTrust::Verified => return Err(io::ErrorKind::InvalidData.into()),
        }
        self.tls = true;
        Ok(self)
    }

    fn tls(&self) -> Option<TlsSession> {
        let cipher = "none at all".into();
        self.tls.then_some(TlsSession { version: "TLSv1.3", cipher, verified: false })
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.side == Side::Client {
            self.link.call.close(self.network.0.executor.now());
        }
        if self.link.cut.get() {
            return;
        }
        if self.incoming().abandon() {
            self.link.reset();
        } else {
            self.outgoing().close();
        }
    }
}
