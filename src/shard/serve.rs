//! One inbound connection: the socket side of `smtp::server`.
//!
//! Reads, lets the session decide, does what its steps ask, writes the replies in one piece per
//! pause. Owns the deadlines: idle between commands, idle within a message, a whole message, a whole
//! session. They are, like all rules of a session, those of the configuration that it began with.
//! While a message is being stored nothing is read, so a peer that pipelines cannot run ahead of the disk.

use super::deadline::{Elapsed, OnStop};
use super::screen::not_kept;
use super::wire::{self, Leftover};
use super::world::{Stream, World};
use super::{Counted, Shard};
use crate::accept::proxy;
use crate::config::{AuthMode, Config, ListenerTls};
use crate::deliver::ready::Charge;
use crate::event::{CloseReason, Event, RefusalTag, RejectStage, RejectTag};
use crate::limits::{FAREWELL_SECONDS_MAX, READ_BYTES_MAX};
use crate::message::{Address, BODY_VERSION, MessageId};
use crate::smtp::address::parse_mailbox;
use crate::smtp::command::MailFrom;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Auth, Draft, Gate, Login, Phase, Refusal, Rules, ServerSession, Step};
use crate::smtp::trace::Received;
use crate::smtp::wording as say;
use crate::time::Moment;
use futures_lite::FutureExt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn session<W: World>(shard: Shard<W>, mut stream: W::Stream, listener: usize) {
    let _counted = Counted::new(&shard.inner.inbound);
    let mut peer = stream.peer();
    let config = shard.config();
    if config.peer(peer.ip()).is_some_and(|peer| peer.proxy) {
        match read_proxy_header(&shard, &mut stream).await {
            Ok(source) => peer = source.unwrap_or(peer),
            Err(()) => return refuse(&shard, stream, peer.ip(), RefusalTag::ProxyHeader).await,
        }
    }
    let own_max = config.peer(peer.ip()).and_then(|peer| peer.sessions_max);
    let entered = match shard.inner.stopping.get() {
        true => Err(RefusalTag::Stopping),
        false => shard.admission().enter(peer.ip(), own_max),
    };
    if let Err(tag) = entered {
        return refuse(&shard, stream, peer.ip(), tag).await;
    }
    let _seat = Seat { shard: &shard, peer: peer.ip() };
    Conversation::new(&shard, config, peer, listener).run(stream).await;
}

/// A place in the admission counter; given back also when the session panics.
struct Seat<'a, W: World> {
    shard: &'a Shard<W>,
    peer: IpAddr,
}

impl<W: World> Drop for Seat<'_, W> {
    fn drop(&mut self) {
        self.shard.admission().leave(self.peer);
    }
}

async fn refuse<W: World>(shard: &Shard<W>, mut stream: W::Stream, peer: IpAddr, tag: RefusalTag) {
    let reply = match tag {
        RefusalTag::SessionsMax => say::SESSIONS_MAX,
        RefusalTag::PeerSessionsMax => say::PEER_SESSIONS_MAX,
        RefusalTag::NotAllowed => say::NOT_ALLOWED,
        RefusalTag::Stopping => say::STOPPING,
        RefusalTag::ProxyHeader => say::PROXY_HEADER,
    };
    shard.inner.world.emit(Event::SessionRefused { peer, tag });
    let mut text = Vec::new();
    reply.write(&mut text);
    farewell(shard, &mut stream, &text).await;
}

/// The last words on a stream, as far as the peer takes them in time.
async fn farewell<W: World>(shard: &Shard<W>, stream: &mut W::Stream, text: &[u8]) {
    let until = shard.after(Duration::from_secs(FAREWELL_SECONDS_MAX));
    let words = async {
        wire::write_all(stream, text).await?;
        wire::close(stream).await
    };
    // Whoever does not take them is gone: there is nobody to tell.
    let _unheard = shard.inner.deadlines.within(until, OnStop::Finish, words).await;
}

/// Octet by octet: what stands behind the header is the client's, and may be for TLS.
async fn read_proxy_header<W: World>(
    shard: &Shard<W>,
    stream: &mut W::Stream,
) -> Result<Option<SocketAddr>, ()> {
    let until = shard.after(Duration::from_secs(FAREWELL_SECONDS_MAX));
    let mut header = Vec::new();
    loop {
        match proxy::read(&header) {
            Ok(proxy::Progress::More) => {}
            Ok(proxy::Progress::Whole(header)) => return Ok(header.source),
            Err(_) => return Err(()),
        }
        let mut octet = [0];
        let read = poll_fn(|cx| stream.poll_read(cx, &mut octet));
        let read = shard.inner.deadlines.within(until, OnStop::End, read).await;
        let Ok(Ok(1)) = read else { return Err(()) };
        header.extend_from_slice(&octet);
    }
}

/// A session from its greeting to its end.
struct Conversation<'a, W: World> {
    shard: &'a Shard<W>,
    /// That of its beginning.
    config: Arc<Config>,
    peer: SocketAddr,
    listener: usize,
    session: ServerSession,
    gatekeeper: Gatekeeper<'a, W>,
    input: Leftover,
    charge: Charge,
    began: Moment,
    /// When we last answered: a peer that drips the octets of a command is idle all the same.
    answered: Moment,
    /// The message that is coming in, and when it began: a peer that pipelines sends the next one
    /// without a command of its own between them.
    message_began: Option<(Option<MessageId>, Moment)>,
}

impl<'a, W: World> Conversation<'a, W> {
    fn new(shard: &'a Shard<W>, config: Arc<Config>, peer: SocketAddr, listener: usize) -> Self {
        let tls = config.listeners[listener].tls == ListenerTls::Implicit;
        Conversation {
            shard,
            peer,
            listener,
            session: ServerSession::new(Rc::new(rules(&config, peer.ip(), listener)), tls),
            config,
            gatekeeper: Gatekeeper { shard, peer: peer.ip(), id: None },
            input: Leftover::default(),
            charge: shard.charge(0),
            began: shard.inner.world.moment(),
            answered: shard.inner.world.moment(),
            message_began: None,
        }
    }

    async fn run(mut self, stream: W::Stream) {
        let world = &self.shard.inner.world;
        world.emit(Event::SessionOpened { peer: self.peer, listener: self.listener as u16 });
        let mut stream = Some(stream);
        let (reason, panic) = match AssertUnwindSafe(self.talk(&mut stream)).catch_unwind().await {
            Ok(reason) => (reason, None),
            Err(panic) => (CloseReason::Broken, Some(panic)),
        };
        if let (Some(_), Some(mut stream)) = (&panic, stream) {
            let mut text = Vec::new();
            say::BROKEN.write(&mut text);
            farewell(self.shard, &mut stream, &text).await;
        }
        world.emit(Event::SessionClosed {
            peer: self.peer,
            messages: self.session.messages(),
            reason,
            millis: world.moment().since(self.began).as_millis() as u64,
        });
        if let Some(panic) = panic {
            // To be counted and logged by the world, as any task's.
            resume_unwind(panic);
        }
    }

    /// `place` is empty while TLS is being agreed on, and when that failed.
    async fn talk(&mut self, place: &mut Option<W::Stream>) -> CloseReason {
        let implicit = self.config.listeners[self.listener].tls == ListenerTls::Implicit;
        if implicit && let Err(reason) = self.secure(place).await {
            return reason;
        }
        self.converse(place).await
    }

    async fn secure(&self, place: &mut Option<W::Stream>) -> Result<(), CloseReason> {
        let stream = place.take().expect("a session has a stream");
        let inner = &self.shard.inner;
        let until = self.shard.after(self.config.limits.command_idle_max);
        let handshake = stream.accept_tls(self.listener);
        match inner.deadlines.within(until, OnStop::End, handshake).await {
            Ok(Ok(stream)) => {
                if let Some(tls) = stream.tls() {
                    let (version, cipher) = (tls.version, tls.cipher);
                    inner.world.emit(Event::SessionSecured { peer: self.peer, version, cipher });
                }
                *place = Some(stream);
                Ok(())
            }
            Ok(Err(_)) | Err(Elapsed) => Err(CloseReason::TlsFailed),
        }
    }

    async fn converse(&mut self, place: &mut Option<W::Stream>) -> CloseReason {
        // Octets in the scratch buffer that were just read.
        let mut fresh = 0;
        loop {
            let step = self.next_step(std::mem::take(&mut fresh));
            let stream = place.as_mut().expect("a session has a stream");
            let done = match step {
                Step::Read => self.read(stream).await.map(|count| fresh = count),
                Step::Flush => self.flush(stream).await,
                Step::Message(transaction) => {
                    let began = self.shard.inner.world.moment();
                    let id = self.gatekeeper.id.take().expect("a preface was asked for");
                    // `next_step` has seen it leave the session: from here on it is counted here.
                    let charge = self.shard.charge(transaction.record.capacity());
                    let peer = self.peer.ip();
                    let reply = self.shard.take_in(transaction, id, peer, charge, began).await;
                    self.session.settled(&reply);
                    Ok(())
                }
                Step::Authenticate(login) => {
                    self.authenticate(login).await;
                    Ok(())
                }
                Step::StartTls => match self.flush(stream).await {
                    Ok(()) => self.secure(place).await.map(|()| self.session.secured()),
                    Err(reason) => Err(reason),
                },
                Step::Close(reason) => {
                    let text = std::mem::take(self.session.replies());
                    farewell(self.shard, stream, &text).await;
                    return reason;
                }
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    /// Lets the session take what is there: what waited, or else the `fresh` octets just read.
    fn next_step(&mut self, fresh: usize) -> Step {
        let step = if fresh == 0 {
            let mut input = self.input.unread();
            let before = input.len();
            let step = self.session.step(&mut input, &mut self.gatekeeper);
            let used = before - input.len();
            self.input.advance(used);
            step
        } else {
            let scratch = self.shard.inner.scratch.borrow();
            let mut input = &scratch[..fresh];
            let step = self.session.step(&mut input, &mut self.gatekeeper);
            if !input.is_empty() {
                self.input.set(input);
            }
            step
        };
        self.charge.set(self.session.buffered());
        if self.shard.inner.inflight.get() > self.shard.inner.inflight_bytes_max {
            // This message is the one that grew: it is the one that gives way.
            self.session.shed();
            self.charge.set(self.session.buffered());
        }
        step
    }

    async fn flush(&mut self, stream: &mut W::Stream) -> Result<(), CloseReason> {
        let until = self.shard.after(self.config.limits.command_idle_max);
        let replies = self.session.replies();
        let write = wire::write_all(stream, replies);
        let written = self.shard.inner.deadlines.within(until, OnStop::Finish, write).await;
        replies.clear();
        if replies.capacity() > 1024 {
            *replies = Vec::new();
        }
        self.answered = self.shard.inner.world.moment();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseReason::Lost),
            Err(Elapsed) => Err(CloseReason::Slow),
        }
    }

    /// Sends what is to be said, then reads. A deadline that passes becomes a reply, and a step to
    /// close: the session is asked once more.
    async fn read(&mut self, stream: &mut W::Stream) -> Result<usize, CloseReason> {
        if !self.session.replies().is_empty() {
            self.flush(stream).await?;
        }
        let (until, on_stop, reply, reason) = self.patience();
        match self.shard.inner.deadlines.within(until, on_stop, self.shard.read(stream)).await {
            Ok(Ok(0)) => Err(CloseReason::PeerClosed),
            Ok(Ok(count)) => {
                debug_assert!(count <= READ_BYTES_MAX);
                Ok(count)
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(CloseReason::Broken)
            }
            Ok(Err(_)) => Err(CloseReason::Lost),
            Err(Elapsed) => {
                let stopped = self.shard.inner.stopping.get() && on_stop == OnStop::End;
                match stopped {
                    true => self.session.close(&say::STOPPING, CloseReason::Stopping),
                    false => self.session.close(&reply, reason),
                }
                Ok(0)
            }
        }
    }

    /// How long to wait for the peer, and what to say when it was too long.
    fn patience(&mut self) -> (Moment, OnStop, Reply, CloseReason) {
        let limits = &self.config.limits;
        let now = self.shard.inner.world.moment();
        match self.session.phase() {
            Phase::Content => {
                let began = match self.message_began {
                    Some((id, began)) if id == self.gatekeeper.id => began,
                    _ => now,
                };
                self.message_began = Some((self.gatekeeper.id, began));
                let whole = began.after(limits.message_duration_max);
                let until = now.after(limits.data_idle_max).min(whole);
                (until, OnStop::Finish, say::SLOW, CloseReason::Slow)
            }
            Phase::Command => {
                self.message_began = None;
                let idle = self.answered.after(limits.command_idle_max);
                let age = self.began.after(limits.session_duration_max);
                let on_stop = match self.session.is_resting() {
                    true => OnStop::End,
                    false => OnStop::Finish,
                };
                if age < idle {
                    return (age, on_stop, say::SESSION_AGE, CloseReason::SessionAge);
                }
                (idle, on_stop, say::IDLE, CloseReason::Idle)
            }
        }
    }

    async fn authenticate(&mut self, login: Login) {
        let inner = &self.shard.inner;
        let Login { account, password } = login;
        // Not those of the beginning: a password that was withdrawn opens nothing any more.
        let config = self.shard.config();
        let proven = match config.account(&account) {
            Some(known) => inner.world.verify_password(&known.password_hash, password).await,
            // An unknown account costs as long as a wrong password: nobody learns which names exist.
            None => {
                let _always_wrong =
                    inner.world.verify_password(UNKNOWN_ACCOUNT_HASH, password).await;
                false
            }
        };
        let peer = self.peer.ip();
        let name = account.as_str().into();
        inner.world.emit(match proven {
            true => Event::AuthSucceeded { peer, account: name },
            false => Event::AuthFailed { peer, account: name },
        });
        self.session.authenticated(proven.then_some(account.as_str()));
    }
}

/// An argon2id hash of no password, with the usual parameters (RFC 9106 4, second choice).
const UNKNOWN_ACCOUNT_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    bm9zdWNoYWNjb3VudDAwMA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn rules(config: &Config, peer: IpAddr, listener: usize) -> Rules {
    let listener = &config.listeners[listener];
    let in_clear = listener.auth_without_tls;
    Rules {
        hostname: config.hostname.as_str().into(),
        message_bytes_max: config.limits.message_bytes_max,
        recipients_max: config.limits.recipients_max as usize,
        errors_max: config.limits.errors_max,
        commands_max: config.limits.commands_max,
        messages_max: config.limits.messages_max,
        auth_failures_max: config.limits.auth_failures_max,
        starttls: listener.tls == ListenerTls::Starttls,
        auth: match listener.auth {
            AuthMode::Off => Auth::Off,
            AuthMode::Optional => Auth::Offered { in_clear },
            AuthMode::Required => Auth::Required { in_clear },
        },
        peer_account: config.peer(peer).map(|peer| peer.account.as_str().into()),
    }
}

/// What the session asks of the rest of the relay.
struct Gatekeeper<'a, W: World> {
    shard: &'a Shard<W>,
    peer: IpAddr,
    /// Of the message whose content is coming in.
    id: Option<MessageId>,
}

impl<W: World> Gate for Gatekeeper<'_, W> {
    fn mail(&mut self, mail: &MailFrom) -> Result<(), Refusal> {
        let inner = &self.shard.inner;
        if inner.stopping.get() {
            return Err(Refusal::new(RejectTag::Busy, say::STOPPING));
        }
        inner.world.accepts().map_err(not_kept)?;
        let announced = mail.size.unwrap_or(0) as usize;
        if inner.inflight.get().saturating_add(announced) > inner.inflight_bytes_max {
            return Err(Refusal::new(RejectTag::Busy, say::MEMORY));
        }
        Ok(())
    }

    fn recipient(&mut self, address: Address) -> Result<Address, Refusal> {
        let address = match address.domain() {
            // RFC 5321 4.5.1: every relay has a postmaster, who is told where to be found.
            "" => {
                let config = self.shard.config();
                let no_route = Refusal::new(RejectTag::NoRoute, say::NO_ROUTE);
                parse_mailbox(config.postmaster.as_bytes()).map_err(|_| no_route)?
            }
            _ => address,
        };
        Ok(address)
    }

    fn refused(&mut self, stage: RejectStage, account: &str, sender: &str, refusal: &Refusal) {
        self.shard.emit_rejected(stage, self.peer, account, sender, refusal);
    }

    fn preface(&mut self, draft: &Draft) -> Vec<u8> {
        let inner = &self.shard.inner;
        let now = inner.world.stamp();
        let id = inner.ids.borrow_mut().next(now);
        self.id = Some(id);
        // A usual message fits without growing, a big one grows by doubling.
        let announced = draft.mail.size.unwrap_or(0).min(1 << 20) as usize;
        let mut record = Vec::with_capacity(announced.max(4 << 10) + 512);
        record.push(BODY_VERSION);
        Received {
            helo: &draft.helo,
            peer: self.peer,
            hostname: &inner.config.borrow().hostname,
            protocol: draft.protocol,
            id,
            recipients: &draft.recipients,
            at: now,
        }
        .write(&mut record);
        record
    }
}
