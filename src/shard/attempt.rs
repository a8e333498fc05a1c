//! One outbound connection: the socket side of `smtp::client`.
//!
//! Takes an entry, finds a host of the lane that lets it in, carries the entry, and goes on with
//! the next for as long as there is one within the idle time. What an attempt led to is settled by
//! `settle`; this file only finds out.

use super::deadline::{Elapsed, OnStop};
use super::pager::READ_AGAIN;
use super::wire::{self, Leftover};
use super::world::{Share, Stream, TlsSession, TlsTrust, World};
use super::{Counted, LaneSeat, Shard};
use crate::config::RouteTls;
use crate::deliver::lane::{Message, Ready};
use crate::event::{Delays, Event};
use crate::limits::FAREWELL_SECONDS_MAX;
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::queue::key::DueKey;
use crate::smtp::client::{ClientSession, Delivery, Lost, Step, TlsPolicy, Trust, Wait};
use crate::time::Moment;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
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

/// The task of one connection. The lane has counted it as opening (see `Lane::opens`).
pub(super) async fn session<W: World>(shard: Shard<W>, lane: usize) {
    let _counted = Counted::new(&shard.inner.outbound);
    let seat = shard.seat(lane);
    let mut booking = Booking { seat, busy: false };
    // Another session may have been faster.
    let Some(first) = booking.take() else { return };
    let began = shard.inner.world.moment();
    let mut line = match Line::open(&shard, lane).await {
        Ok(line) => line,
        Err(outcome) => {
            drop(booking);
            return shard.settle_unreachable(lane, first, &outcome);
        }
    };
    if seat.lane.borrow_mut().connected() {
        shard.inner.world.emit(Event::LaneResumed { lane: shard.lane_name(lane) });
    }
    let mut connect = shard.inner.world.moment().since(began);
    let mut next = Some(first);
    let mut carried = 0;
    while let Some(entry) = next.take() {
        let still_good = line.carry(lane, entry, std::mem::take(&mut connect)).await;
        carried += 1;
        booking.done();
        shard.unpark(lane);
        let limits = shard.config().lane_limits(Some(lane), &[]);
        let enough = carried >= limits.messages_per_connection_max;
        if still_good && !enough {
            next = line.next_entry(&mut booking).await;
        }
    }
    drop(booking);
    // What arrived between the last look and the end needs a connection of its own.
    shard.open_sessions(lane);
    line.quit().await;
}

/// A session's place in the books of its lane; given back also when the session panics, or so many
/// panics as the lane has connections would close it.
struct Booking<'a> {
    seat: &'a LaneSeat,
    /// Whether it works on an entry.
    busy: bool,
}

impl Booking<'_> {
    fn take(&mut self) -> Option<Ready> {
        let entry = self.seat.lane.borrow_mut().take();
        self.busy = entry.is_some();
        entry
    }

    /// The entry is out of our hands.
    fn done(&mut self) {
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
    /// The first host of the lane that greets us well; the outcome of the last one otherwise.
    async fn open(shard: &'a Shard<W>, lane: usize) -> Result<Self, Outcome> {
        let hosts = shard.seat(lane).lane.borrow_mut().hosts();
        let mut failure = None;
        for host in hosts {
            match Line::connect(shard, lane, host).await {
                Ok(line) => return Ok(line),
                Err(outcome) => failure = Some(outcome),
            }
        }
        Err(failure.expect("a lane has a host"))
    }

    /// A host that offers TLS and fails at it is met in clear at once, where the route allows that.
    async fn connect(
        shard: &'a Shard<W>,
        lane: usize,
        remote: SocketAddr,
    ) -> Result<Self, Outcome> {
        let security = shard.security(lane, remote);
        let optional = security.policy == TlsPolicy::WhenOffered;
        match Line::connect_as(shard, remote, security).await {
            Err(outcome) if optional && is_broken_tls(&outcome) => {
                shard.remember_broken_tls(remote, &outcome);
                Line::connect_as(shard, remote, shard.security(lane, remote)).await
            }
            other => other,
        }
    }

    async fn connect_as(
        shard: &'a Shard<W>,
        remote: SocketAddr,
        security: Security,
    ) -> Result<Self, Outcome> {
        let inner = &shard.inner;
        let until = shard.after(shard.delivery().connect_timeout);
        let connect = inner.world.connect(remote, None);
        let mut scope = Scope::Site;
        let words = match inner.deadlines.within(until, OnStop::Finish, connect).await {
            Ok(Ok(stream)) => {
                let session = ClientSession::new(&shard.config().hostname, security.policy);
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
        Err(Outcome {
            verdict: Verdict::Transient,
            scope,
            stage: Stage::Connect,
            cause: Cause::local(StatusCode::new(4, 4, 1), words),
        })
    }

    /// Attempts one entry and has it settled. Whether the connection can carry another.
    async fn carry(&mut self, lane: usize, entry: Ready, connect: Duration) -> bool {
        let Some(message) = self.shard.message_of(&entry).await else { return true };
        let began = self.shard.inner.world.moment();
        let started = self.shard.inner.world.stamp();
        let recipients: Vec<u16> = entry.due.pending.iter().map(|one| one.recipient).collect();
        let delivery =
            Delivery { envelope: &message.envelope, recipients: &recipients, body: &message.body };
        let outcomes = match self.drive().await {
            Turn::Ready => {
                self.session.begin(&delivery);
                match self.drive().await {
                    Turn::Done(outcomes) => outcomes,
                    Turn::Closed(outcome) => everyone(&recipients, &outcome),
                    Turn::Stale | Turn::Ready | Turn::Over => {
                        self.shard.try_elsewhere(lane, entry);
                        return false;
                    }
                }
            }
            // The remote left while the connection was idle: that is nobody's failure.
            Turn::Closed(_) | Turn::Stale | Turn::Done(_) | Turn::Over => {
                self.shard.try_elsewhere(lane, entry);
                return false;
            }
        };
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
        self.session.is_open()
    }

    /// The next entry of the lane, if one comes within the idle time.
    async fn next_entry(&mut self, booking: &mut Booking<'_>) -> Option<Ready> {
        let inner = &self.shard.inner;
        let until = self.shard.after(self.shard.delivery().connection_idle);
        let arrival = async {
            loop {
                if inner.stopping.get() {
                    return None;
                }
                let entry = booking.take();
                if entry.is_some() {
                    return entry;
                }
                booking.seat.arrival.wait().await;
            }
        };
        match inner.deadlines.within(until, OnStop::End, arrival).await {
            Ok(entry) => entry,
            Err(Elapsed) if inner.stopping.get() => None,
            // One may have come in the moment between the deadline and this look.
            Err(Elapsed) => booking.take(),
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

pub(super) fn everyone(recipients: &[u16], outcome: &Outcome) -> Vec<(u16, Outcome)> {
    recipients.iter().map(|&recipient| (recipient, outcome.clone())).collect()
}

impl<W: World> Shard<W> {
    pub(super) fn after(&self, wait: Duration) -> Moment {
        self.inner.world.moment().after(wait)
    }

    fn security(&self, lane: usize, remote: SocketAddr) -> Security {
        let config = self.config();
        let route = &config.routes[lane];
        let now = self.inner.world.moment();
        let broken = || self.inner.broken_tls.borrow().has(remote, now);
        let (policy, trust) = match route.tls {
            RouteTls::None => (TlsPolicy::Never, TlsTrust::Any),
            RouteTls::Opportunistic if broken() => (TlsPolicy::Never, TlsTrust::Any),
            RouteTls::Opportunistic => (TlsPolicy::WhenOffered, TlsTrust::Any),
            RouteTls::Require => (TlsPolicy::Always, TlsTrust::Any),
            RouteTls::Verify => (TlsPolicy::Always, TlsTrust::Verified),
        };
        let name = route.tls_name.clone().unwrap_or_else(|| remote.ip().to_string());
        Security { policy, trust, name: name.into() }
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
                    self.emit_missing(entry.key);
                    return None;
                }
                let charge = Rc::new(self.charge(body.record().len()));
                Some(Message { envelope: Rc::new(envelope), body, charge })
            }
            Ok(None) => {
                self.emit_missing(entry.key);
                None
            }
            Err(error) => {
                self.emit_damaged(Some(entry.key), &error);
                self.return_later(entry.key);
                None
            }
        }
    }

    /// Reading failed, which may pass: the entry waits on disk again after a while.
    fn return_later(&self, key: DueKey) {
        let shard = self.clone();
        self.inner.world.spawn(Share::Background, async move {
            shard.inner.world.sleep(READ_AGAIN).await;
            shard.inner.schedule.borrow_mut().returns(key);
            shard.inner.pager.raise();
        });
    }

    /// An entry whose connection turned out to be gone goes first on another one.
    pub(super) fn try_elsewhere(&self, lane: usize, entry: Ready) {
        let seat = self.seat(lane);
        seat.lane.borrow_mut().push_first(entry);
        // A session that waits counts as the one that will take it: it has to know.
        seat.arrival.raise();
    }
}
