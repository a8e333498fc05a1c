//! One outbound connection: the socket side of `smtp::client`.
//!
//! Takes an entry, finds a host of the lane that lets it in, carries the entry, and goes on with
//! the next for as long as there is one within the idle time. What an attempt led to is settled by
//! `settle`; this file only finds out.

use super::deadline::{Elapsed, OnStop};
use super::lane::{Hosts, LaneSeat};
use super::mesh::Parcel;
use super::pager::READ_AGAIN;
use super::wire::{self, Leftover};
use super::world::{Share, Stream, TlsSession, TlsTrust, World};
use super::{Counted, Shard};
use crate::config::{Egress, RouteTls};
use crate::deliver::lane::Taken;
use crate::deliver::ready::{Message, Origin, Ready};
use crate::deliver::window::Failure;
use crate::event::{Delays, Event};
use crate::limits::FAREWELL_SECONDS_MAX;
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::queue::key::DueKey;
use crate::smtp::client::{ClientSession, Delivery, Lost, Step, TlsPolicy, Trust, Wait};
use crate::time::Moment;
use futures_lite::future::or;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How an attempt on one entry went.
pub(super) struct Report {
    pub outcomes: Vec<(u16, Outcome)>,
    pub remote: Option<SocketAddr>,
    /// How the connection was encrypted.
    pub tls: Option<TlsSession>,
    pub delays: Delays,
    /// The next hop took over the duty to notify of success (RFC 3461 5.2.2).
    pub passes_dsn: bool,
}

/// The task of one connection. The lane has counted it as opening (see `Lane::opening`).
pub(super) async fn session<W: World>(shard: Shard<W>, seat: Rc<LaneSeat>, counted: Counted) {
    work(&shard, &seat).await;
    drop(counted);
    // What arrived between the last look and the end needs a connection of its own.
    shard.open_sessions(&seat);
    shard.next_in_line();
}

async fn work<W: World>(shard: &Shard<W>, seat: &Rc<LaneSeat>) {
    let mut booking = Booking::new(seat);
    // Another session may have been faster.
    let Taken::Entry(first) = booking.take(shard) else { return };
    let began = shard.inner.world.moment();
    let mut line = match Line::open(shard, seat).await {
        Ok(line) => line,
        Err(outcome) => {
            drop(booking);
            return shard.settle_failure(seat, Some(*first), Failure::Fresh, &outcome);
        }
    };
    let mut connect = shard.inner.world.moment().since(began);
    let mut next = Some(*first);
    let mut carried = 0;
    let mut failed = None;
    let enough = seat.lane.borrow().limits().messages_per_connection;
    while let Some(entry) = next.take() {
        let came = line.carry(seat, entry, std::mem::take(&mut connect)).await;
        booking.done();
        match came {
            Came::Failed(outcome) => failed = Some(outcome),
            Came::Unused => {}
            Came::Settled => {
                carried += 1;
                shard.went_well(seat);
                if carried < enough && line.session.is_open() {
                    next = line.next_entry(&mut booking).await;
                }
            }
        }
        shard.has_room(seat);
    }
    // The host counts the connection until it is closed, and so does the lane.
    booking.leaves();
    line.quit().await;
    drop(booking);
    if let Some(outcome) = failed {
        let failure = if carried > 0 { Failure::Worn } else { Failure::Fresh };
        shard.settle_failure(seat, None, failure, &outcome);
    }
}

/// A session's place in the books of its lane; given back also when the session panics, or so many
/// panics as the lane has connections would close it.
pub(super) struct Booking<'a> {
    seat: &'a LaneSeat,
    /// Whether it works on an entry, or takes none any more.
    busy: bool,
}

impl<'a> Booking<'a> {
    pub(super) fn new(seat: &'a LaneSeat) -> Self {
        Booking { seat, busy: false }
    }

    pub(super) fn take<W: World>(&mut self, shard: &Shard<W>) -> Taken {
        let taken = self.seat.lane.borrow_mut().take(shard.inner.world.moment());
        self.busy = matches!(taken, Taken::Entry(_));
        taken
    }

    /// The session takes no more entries, and holds its place until it is closed.
    fn leaves(&mut self) {
        self.seat.lane.borrow_mut().leaves();
        self.busy = true;
    }

    /// The entry is out of our hands.
    pub(super) fn done(&mut self) {
        self.seat.lane.borrow_mut().waits();
        self.busy = false;
    }
}

impl Drop for Booking<'_> {
    fn drop(&mut self) {
        let mut lane = self.seat.lane.borrow_mut();
        if self.busy {
            lane.waits();
        }
        lane.closed();
    }
}

/// How carrying an entry ended.
enum Came {
    /// It has its outcomes, and the session did its part.
    Settled,
    /// It has its outcomes, which blame the session or the site.
    Failed(Outcome),
    /// The connection was gone before it was used: the entry goes on another one.
    Unused,
}

/// An address to connect to, and how.
struct Target {
    remote: SocketAddr,
    /// Our own.
    source: Option<IpAddr>,
    /// What the host is called: a DNS name, or the address as text.
    name: Box<str>,
}

/// A connection with its session.
struct Line<'a, W: World> {
    shard: &'a Shard<W>,
    remote: SocketAddr,
    security: Security,
    /// `None` during a handshake, and after one that failed.
    stream: Option<W::Stream>,
    tls: Option<TlsSession>,
    session: ClientSession,
    input: Leftover,
    /// Octets in the scratch buffer that were just read.
    fresh: usize,
    /// Since when the remote owes a reply: the later of our last write and its last whole reply.
    waits_since: Moment,
    replies: u64,
}

/// What came of driving the session until it needs a decision.
enum Turn {
    Ready,
    Done(Vec<(u16, Outcome)>),
    Stale,
    Closed(Outcome),
    Over,
}

impl<'a, W: World> Line<'a, W> {
    /// The first address of the lane's hosts that greets us well; else the outcome of the last one
    /// tried. Addresses known to be dead are passed over, unless there is no other.
    async fn open(shard: &'a Shard<W>, seat: &LaneSeat) -> Result<Self, Outcome> {
        let tries_max = shard.delivery().mx_addresses_max;
        let mut tries = 0;
        let (mut failure, mut dead) = (None, None);
        for (name, port) in seat.hosts.in_order(shard) {
            let targets = match shard.targets(seat, name, port).await {
                Ok(targets) => targets,
                Err(outcome) => {
                    failure = Some(outcome);
                    continue;
                }
            };
            for target in targets {
                let now = shard.inner.world.moment();
                if shard.inner.dead_hosts.borrow().is_dead(&target.remote, now) {
                    dead.get_or_insert(target);
                } else if tries < tries_max {
                    tries += 1;
                    match Line::connect(shard, seat, &target).await {
                        Ok(line) => return Ok(line),
                        Err(outcome) => failure = Some(outcome),
                    }
                }
            }
        }
        match (dead, failure) {
            // Or nobody would ever find out that it is back.
            (Some(target), None) => Line::connect(shard, seat, &target).await,
            (_, Some(outcome)) => Err(outcome),
            (None, None) => Err(no_common_family(seat)),
        }
    }

    /// A host that offers TLS and fails at it is met in clear at once, where the route allows that.
    async fn connect(
        shard: &'a Shard<W>,
        seat: &LaneSeat,
        target: &Target,
    ) -> Result<Self, Outcome> {
        let security = shard.security(seat, target);
        let optional = security.policy == TlsPolicy::WhenOffered;
        match Line::connect_as(shard, seat, target, security).await {
            Err(outcome) if optional && is_broken_tls(&outcome) => {
                shard.remember_broken_tls(target.remote, &outcome);
                Line::connect_as(shard, seat, target, shard.security(seat, target)).await
            }
            other => other,
        }
    }

    async fn connect_as(
        shard: &'a Shard<W>,
        seat: &LaneSeat,
        target: &Target,
        security: Security,
    ) -> Result<Self, Outcome> {
        let (inner, remote) = (&shard.inner, target.remote);
        let until = shard.after(shard.delivery().connect_timeout);
        let connect = inner.world.connect(remote, target.source);
        let mut scope = Scope::Site;
        let words = match inner.deadlines.within(until, OnStop::Finish, connect).await {
            Ok(Ok(stream)) => {
                inner.dead_hosts.borrow_mut().lives(&remote);
                let ehlo = &shard.config().sources[seat.key.source].ehlo;
                let session = ClientSession::new(ehlo, security.policy);
                let mut line = Line {
                    shard,
                    remote,
                    security,
                    stream: Some(stream),
                    tls: None,
                    session,
                    input: Leftover::default(),
                    fresh: 0,
                    waits_since: inner.world.moment(),
                    replies: 0,
                };
                return match line.drive().await {
                    Turn::Ready => Ok(line),
                    Turn::Closed(outcome) => Err(outcome),
                    Turn::Done(_) | Turn::Stale | Turn::Over => {
                        unreachable!("nothing was begun yet")
                    }
                };
            }
            Ok(Err(error)) => {
                if is_ours(&error) {
                    scope = Scope::Us;
                }
                format!("connecting to {remote}: {error}")
            }
            Err(Elapsed) => format!("connecting to {remote}: no answer in time"),
        };
        if scope == Scope::Site {
            inner.dead_hosts.borrow_mut().died(remote, inner.world.moment());
        }
        Err(Outcome {
            verdict: Verdict::Transient,
            scope,
            stage: Stage::Connect,
            cause: Cause::local(StatusCode::new(4, 4, 1), words),
        })
    }

    /// Attempts one entry and has it settled.
    async fn carry(&mut self, seat: &Rc<LaneSeat>, entry: Ready, connect: Duration) -> Came {
        let Some(message) = self.shard.message_of(&entry).await else { return Came::Settled };
        let began = self.shard.inner.world.moment();
        let started = self.shard.inner.world.stamp();
        let recipients: Vec<u16> = entry.due.pending.iter().map(|one| one.recipient).collect();
        let Some(outcomes) = self.transact_all(seat, &message, &recipients).await else {
            self.shard.try_elsewhere(seat, entry);
            return Came::Unused;
        };
        let blames = |outcome: &Outcome| {
            outcome.verdict == Verdict::Transient
                && matches!(outcome.scope, Scope::Session | Scope::Site)
        };
        let failure = outcomes.iter().map(|(_, outcome)| outcome).find(|outcome| blames(outcome));
        let failure = failure.cloned();
        let envelope = &message.envelope;
        let transmit = self.shard.inner.world.moment().since(began);
        let millis = |time: Duration| time.as_millis() as u64;
        let report = Report {
            outcomes,
            remote: Some(self.remote),
            tls: self.tls.clone(),
            delays: Delays {
                before_queue: millis(envelope.received.since(envelope.id.stamp())),
                queued: millis(started.since(envelope.received).saturating_sub(connect)),
                connect: millis(connect),
                transmit: millis(transmit),
            },
            passes_dsn: self.session.features().dsn,
        };
        self.shard.settle(entry, message, report);
        failure.map_or(Came::Settled, Came::Failed)
    }

    /// The outcome of each recipient, in as many transactions as the lane's limit asks for. `None`
    /// when the connection was gone before it was used.
    async fn transact_all(
        &mut self,
        seat: &LaneSeat,
        message: &Message,
        recipients: &[u16],
    ) -> Option<Vec<(u16, Outcome)>> {
        let at_once = seat.lane.borrow().limits().recipients_per_transaction;
        let mut outcomes = Vec::with_capacity(recipients.len());
        for some in recipients.chunks(at_once) {
            match self.transact(message, some).await {
                Some(found) => outcomes.extend(found),
                None if outcomes.is_empty() => return None,
                None => outcomes.extend(everyone(some, &ended_between())),
            }
        }
        Some(outcomes)
    }

    async fn transact(
        &mut self,
        message: &Message,
        recipients: &[u16],
    ) -> Option<Vec<(u16, Outcome)>> {
        if !self.session.is_open() {
            return None;
        }
        let Message { envelope, body, .. } = message;
        match self.drive().await {
            Turn::Ready => self.session.begin(&Delivery { envelope, recipients, body }),
            // The remote left while the connection was idle: that is nobody's failure.
            Turn::Closed(_) | Turn::Stale | Turn::Done(_) | Turn::Over => return None,
        }
        match self.drive().await {
            Turn::Done(outcomes) => Some(outcomes),
            Turn::Closed(outcome) => Some(everyone(recipients, &outcome)),
            Turn::Stale | Turn::Ready | Turn::Over => None,
        }
    }

    /// The next entry of the lane, if one may go within the idle time and nobody else needs the
    /// connection meanwhile.
    async fn next_entry(&mut self, booking: &mut Booking<'_>) -> Option<Ready> {
        let inner = &self.shard.inner;
        let until = self.shard.after(self.shard.delivery().connection_idle);
        loop {
            if inner.stopping.get() {
                return None;
            }
            let look_again = match booking.take(self.shard) {
                Taken::Entry(entry) => return Some(*entry),
                Taken::Nothing => until,
                Taken::NotBefore(when) => when,
            };
            let now = inner.world.moment();
            if look_again > until || now >= until || inner.roster.has_line() {
                return None;
            }
            let woken = or(booking.seat.arrival.wait(), inner.roster.make_way.wait());
            // Whatever it was that ended the wait, the lane is looked at.
            let _woken = inner.deadlines.within(look_again, OnStop::End, woken).await;
        }
    }

    /// Does what the session asks until it needs a decision.
    async fn drive(&mut self) -> Turn {
        loop {
            let fresh = std::mem::take(&mut self.fresh);
            let step;
            if fresh == 0 {
                let mut input = self.input.unread();
                let before = input.len();
                step = self.session.step(&mut input);
                let used = before - input.len();
                self.input.advance(used);
            } else {
                let scratch = self.shard.inner.scratch.borrow();
                let mut input = &scratch[..fresh];
                step = self.session.step(&mut input);
                if !input.is_empty() {
                    self.input.set(input);
                }
            }
            match step {
                Step::Read(wait) => self.read(wait).await,
                Step::Write(bytes) => {
                    let until = self.shard.after(Wait::DataBlock.timeout());
                    let stream = self.stream.as_mut().expect(CONNECTED);
                    let write = wire::write_all(stream, bytes);
                    let deadlines = &self.shard.inner.deadlines;
                    match deadlines.within(until, OnStop::Finish, write).await {
                        Ok(Ok(())) => self.waits_since = self.shard.inner.world.moment(),
                        Ok(Err(_)) => self.session.unwritable(),
                        Err(Elapsed) => self.session.lost(&Lost::TimedOut),
                    }
                }
                Step::StartTls => self.secure().await,
                Step::Ready => return Turn::Ready,
                Step::Done(outcomes) => return Turn::Done(outcomes),
                Step::Stale => return Turn::Stale,
                Step::Closed(outcome) => return Turn::Closed(outcome),
                Step::Over => return Turn::Over,
            }
        }
    }

    /// Makes the stream one under TLS, or loses it.
    async fn secure(&mut self) {
        let shard = self.shard;
        let stream = self.stream.take().expect(CONNECTED);
        let until = shard.after(Wait::Handshake.timeout());
        let handshake = stream.connect_tls(&self.security.name, self.security.trust);
        match shard.inner.deadlines.within(until, OnStop::Finish, handshake).await {
            Ok(Ok(stream)) => {
                self.tls = stream.tls();
                self.stream = Some(stream);
                self.waits_since = shard.inner.world.moment();
                self.session.secured(match self.tls {
                    Some(TlsSession { verified: true, .. }) => Trust::Verified,
                    Some(TlsSession { verified: false, .. }) | None => Trust::Unverified,
                });
            }
            Ok(Err(error)) => self.session.unsecured(&error.to_string()),
            Err(Elapsed) => self.session.unsecured("no end of it in time"),
        }
    }

    async fn read(&mut self, wait: Wait) {
        let now = self.shard.inner.world.moment();
        if self.session.replies() > self.replies {
            self.replies = self.session.replies();
            self.waits_since = now;
        }
        let until = self.waits_since.after(wait.timeout());
        let read = self.shard.read(self.stream.as_mut().expect(CONNECTED));
        match self.shard.inner.deadlines.within(until, OnStop::Finish, read).await {
            Ok(Ok(0)) => self.session.lost(&Lost::Closed),
            Ok(Ok(count)) => self.fresh = count,
            Ok(Err(error)) => self.session.lost(&Lost::Failed(error.to_string().into())),
            Err(Elapsed) => self.session.lost(&Lost::TimedOut),
        }
    }

    /// Leaves politely, and not for long.
    async fn quit(mut self) {
        let shard = self.shard;
        let until = shard.after(Duration::from_secs(FAREWELL_SECONDS_MAX));
        self.session.quit();
        let farewell = async {
            while !matches!(self.drive().await, Turn::Over) {}
            match &mut self.stream {
                Some(stream) => wire::close(stream).await,
                None => Ok(()),
            }
        };
        // A remote that does not say goodbye is left without.
        let _unanswered = shard.inner.deadlines.within(until, OnStop::Finish, farewell).await;
    }
}

/// A session asks to read and write only while its line is up.
const CONNECTED: &str = "a line has its stream, but for the time of a handshake";

/// How the connections to a host are encrypted.
struct Security {
    policy: TlsPolicy,
    trust: TlsTrust,
    /// What the certificate must name: a DNS name, or the address as text.
    name: Box<str>,
}

/// Out of descriptors, memory or ports: the remote has no part in it.
fn is_ours(error: &io::Error) -> bool {
    let ours = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| ours.contains(&number))
}

/// Whether TLS was offered and then did not work. A refusal in SMTP is none: the session itself
/// goes on in clear, and a 421 says that the host will not serve us at all now.
fn is_broken_tls(outcome: &Outcome) -> bool {
    outcome.stage == Stage::StartTls && matches!(outcome.cause, Cause::Local { .. })
}

/// What went wrong with one host of several says nothing for good about those who have mail there.
fn of_this_host(outcome: Outcome) -> Outcome {
    let cause = match outcome.cause {
        Cause::Local { status, words } => {
            Cause::Local { status: StatusCode { class: 4, ..status }, words }
        }
        reply @ Cause::Reply(_) => reply,
    };
    Outcome { verdict: Verdict::Transient, scope: Scope::Site, stage: outcome.stage, cause }
}

fn no_common_family(seat: &LaneSeat) -> Outcome {
    let words = format!("no host of {} has an address of a kind that we send from", seat.name);
    let cause = Cause::local(StatusCode::new(4, 4, 4), words);
    Outcome { verdict: Verdict::Transient, scope: Scope::Us, stage: Stage::Route, cause }
}

/// Between two transactions of one message, the first of which is done.
fn ended_between() -> Outcome {
    let words = "the connection ended before the message was sent to all recipients";
    let cause = Cause::local(StatusCode::new(4, 4, 2), words);
    Outcome { verdict: Verdict::Transient, scope: Scope::Recipient, stage: Stage::Mail, cause }
}

pub(super) fn everyone(recipients: &[u16], outcome: &Outcome) -> Vec<(u16, Outcome)> {
    recipients.iter().map(|&recipient| (recipient, outcome.clone())).collect()
}

impl<W: World> Shard<W> {
    pub(super) fn after(&self, wait: Duration) -> Moment {
        self.inner.world.moment().after(wait)
    }

    /// A session of the lane did its part.
    fn went_well(&self, seat: &LaneSeat) {
        if seat.lane.borrow_mut().succeeded() {
            self.inner.world.emit(Event::LaneResumed { lane: seat.name.clone() });
        }
    }

    /// The addresses of a host that the lane's source can connect from.
    async fn targets(
        &self,
        seat: &LaneSeat,
        name: Box<str>,
        port: u16,
    ) -> Result<Vec<Target>, Outcome> {
        let config = self.config();
        let source = &config.sources[seat.key.source];
        let addresses = match name.parse::<IpAddr>() {
            // An address that the operator wrote is not to be doubted.
            Ok(address) if matches!(seat.hosts, Hosts::Listed(_)) => [address].into(),
            Ok(_) | Err(_) => self.inner.resolver.addresses(&name).await.map_err(of_this_host)?,
        };
        let target = |address: &IpAddr| {
            let source = match source.egress(*address) {
                Egress::Any => None,
                Egress::From(own) => Some(own),
                Egress::Unreachable => return None,
            };
            Some(Target { remote: SocketAddr::new(*address, port), source, name: name.clone() })
        };
        Ok(addresses.iter().filter_map(target).collect())
    }

    fn security(&self, seat: &LaneSeat, target: &Target) -> Security {
        let config = self.config();
        let route = seat.key.route.map(|route| &config.routes[route]);
        let now = self.inner.world.moment();
        let broken = || self.inner.broken_tls.borrow().has(target.remote, now);
        // Mail without a route: encrypts wherever possible and delivers everywhere.
        let tls = route.map_or(RouteTls::Opportunistic, |route| route.tls);
        let (policy, trust) = match tls {
            RouteTls::None => (TlsPolicy::Never, TlsTrust::Any),
            RouteTls::Opportunistic if broken() => (TlsPolicy::Never, TlsTrust::Any),
            RouteTls::Opportunistic => (TlsPolicy::WhenOffered, TlsTrust::Any),
            RouteTls::Require => (TlsPolicy::Always, TlsTrust::Any),
            RouteTls::Verify => (TlsPolicy::Always, TlsTrust::Verified),
        };
        let written = route.and_then(|route| route.tls_name.as_deref());
        Security { policy, trust, name: written.unwrap_or(&target.name).into() }
    }

    fn remember_broken_tls(&self, remote: SocketAddr, outcome: &Outcome) {
        let world = &self.inner.world;
        self.inner.broken_tls.borrow_mut().add(remote, world.moment());
        let cause = outcome.cause.to_string().into();
        world.emit(Event::HandshakeFailed { remote, cause });
    }

    /// The message of an entry: still in memory, or read back. `None` when there is none: the entry
    /// stays as it is on disk and is not tried again before a restart; or when it cannot be read
    /// now, and then the entry comes back later.
    pub(super) async fn message_of(&self, entry: &Ready) -> Option<Message> {
        if let Some(message) = &entry.message {
            return Some(message.clone());
        }
        match self.inner.world.load(entry.key.id).await {
            Ok(Some((envelope, body))) => {
                let recipients = envelope.recipients.len();
                if entry.due.pending.iter().any(|one| usize::from(one.recipient) >= recipients) {
                    self.unusable(entry);
                    return None;
                }
                let charge = Some(Rc::new(self.charge(body.record().len())));
                Some(Message { envelope: Arc::new(envelope), body, charge })
            }
            Ok(None) => {
                self.unusable(entry);
                None
            }
            Err(error) => {
                self.emit_damaged(Some(entry.key), &error);
                self.return_later(entry.key, entry.origin);
                None
            }
        }
    }

    /// Reading failed, which may pass: the entry waits on disk again after a while.
    pub(super) fn return_later(&self, key: DueKey, origin: Origin) {
        if let Origin::Shard(shard) = origin {
            return self.inner.world.post(shard, Parcel::Returned { key });
        }
        let shard = self.clone();
        self.inner.world.spawn(Share::Background, async move {
            shard.inner.world.sleep(READ_AGAIN).await;
            shard.inner.schedule.borrow_mut().returns(key);
            shard.inner.pager.raise();
        });
    }

    /// An entry without a message stays taken.
    fn unusable(&self, entry: &Ready) {
        self.emit_missing(entry.key);
        if let Origin::Shard(shard) = entry.origin {
            self.inner.world.post(shard, Parcel::Unusable { key: entry.key });
        }
    }

    /// An entry whose connection turned out to be gone goes first on another one.
    pub(super) fn try_elsewhere(&self, seat: &LaneSeat, entry: Ready) {
        seat.lane.borrow_mut().push_first(entry);
        // A session that waits counts as the one that will take it: it has to know.
        seat.arrival.raise();
    }
}
