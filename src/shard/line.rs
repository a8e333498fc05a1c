//! The line to one host: from the choice of an address to the last octet of a session.
//!
//! Finds an address of the lane's hosts that greets us well, by their order and what is known of the
//! dead; moves octets between the socket and `smtp::client`, which decides what is said; makes the
//! stream one under TLS when that asks for it. What is carried over a line is `attempt.rs`.

use super::Shard;
use super::deadline::{Elapsed, OnStop};
use super::lane::{Hosts, LaneSeat};
use super::wire::{self, Leftover};
use super::world::{Stream, TlsSession, TlsTrust, World};
use crate::config::{Egress, RouteTls};
use crate::event::Event;
use crate::limits::FAREWELL_SECONDS_MAX;
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::smtp::client::{ClientSession, Lost, Step, TlsPolicy, Trust, Wait};
use crate::time::Moment;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A connection with its session.
pub(super) struct Line<'a, W: World> {
    pub shard: &'a Shard<W>,
    pub remote: SocketAddr,
    security: Security,
    /// `None` during a handshake, and after one that failed.
    stream: Option<W::Stream>,
    pub tls: Option<TlsSession>,
    pub session: ClientSession,
    input: Leftover,
    /// Octets in the scratch buffer that were just read.
    fresh: usize,
    /// Since when the remote owes a reply: the later of our last write and its last whole reply.
    waits_since: Moment,
    replies: u64,
}

/// What came of driving the session until it needs a decision.
pub(super) enum Turn {
    Ready,
    Done(Vec<(u16, Outcome)>),
    Stale,
    Closed(Outcome),
    Over,
}

/// An address to connect to, and how.
struct Target {
    remote: SocketAddr,
    /// Our own.
    source: Option<IpAddr>,
    /// What the host is called: a DNS name, or the address as text.
    name: Box<str>,
}

impl<'a, W: World> Line<'a, W> {
    /// The first address of the lane's hosts that greets us well; else the outcome of the last one
    /// tried. Addresses known to be dead are passed over, unless there is no other.
    pub(super) async fn open(shard: &'a Shard<W>, seat: &LaneSeat) -> Result<Self, Outcome> {
        let tries_max = shard.config().delivery.mx_addresses_max;
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
                if shard.inner.dead_hosts.borrow().has(&target.remote, now) {
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
        let until = shard.after(shard.config().delivery.connect_timeout);
        let connect = inner.world.connect(remote, target.source);
        let mut scope = Scope::Site;
        let words = match inner.deadlines.within(until, OnStop::Finish, connect).await {
            Ok(Ok(stream)) => {
                inner.dead_hosts.borrow_mut().forget(&remote);
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
            inner.dead_hosts.borrow_mut().add(remote, inner.world.moment());
        }
        Err(Outcome {
            verdict: Verdict::Transient,
            scope,
            stage: Stage::Connect,
            cause: Cause::local(StatusCode::new(4, 4, 1), words),
        })
    }

    /// Does what the session asks until it needs a decision.
    pub(super) async fn drive(&mut self) -> Turn {
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
                let verified = self.tls.as_ref().is_some_and(|tls| tls.verified);
                self.session.secured(match self.security.name_from {
                    NameFrom::Sure if verified => Trust::Verified,
                    NameFrom::Sure | NameFrom::Hearsay => Trust::Unverified,
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
    pub(super) async fn quit(mut self) {
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
    name_from: NameFrom,
}

/// What the name of a host is worth. A certificate proves the name that was looked for and no more,
/// so for REQUIRETLS the way to it must be beyond doubt as well (RFC 8689 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameFrom {
    /// The operator wrote it, or DNSSEC vouches for the MX records.
    Sure,
    /// MX records that anybody on the way could have forged.
    Hearsay,
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

impl<W: World> Shard<W> {
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
        let broken = || self.inner.broken_tls.borrow().has(&target.remote, now);
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
        let name_from = match &seat.hosts {
            Hosts::Mail(found) if written.is_none() && !found.authentic => NameFrom::Hearsay,
            Hosts::Mail(_) | Hosts::Listed(_) => NameFrom::Sure,
        };
        Security { policy, trust, name: written.unwrap_or(&target.name).into(), name_from }
    }

    fn remember_broken_tls(&self, remote: SocketAddr, outcome: &Outcome) {
        let world = &self.inner.world;
        self.inner.broken_tls.borrow_mut().add(remote, world.moment());
        let cause = outcome.cause.to_string().into();
        world.emit(Event::HandshakeFailed { remote, cause });
    }
}
