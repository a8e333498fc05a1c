//! One outbound connection and the entries it carries.
//!
//! Takes an entry of its lane, opens a line (`line.rs`), carries the entry, and goes on with the next
//! for as long as there is one within the idle time. What an attempt led to is settled by `settle`;
//! this file only finds out, and tells the lane who is to blame.

use super::deadline::OnStop;
use super::lane::LaneSeat;
use super::line::{Line, Turn};
use super::mesh::Parcel;
use super::pager::READ_AGAIN;
use super::world::{Share, TlsSession, World};
use super::{Counted, Shard};
use crate::deliver::lane::Taken;
use crate::deliver::ready::{Message, Origin, Ready};
use crate::deliver::window::Failure;
use crate::event::{Delays, Event};
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::queue::key::DueKey;
use crate::smtp::client::Delivery;
use crate::time::Moment;
use futures_lite::future::or;
use std::net::SocketAddr;
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
    /// Of the lane, which the entry shared without an attempt of its own.
    pub lane_failure: Option<Outcome>,
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
            let ours = outcome.scope == Scope::Us && outcome.stage == Stage::Connect;
            let failure = if ours { Failure::Ours } else { Failure::Fresh };
            return shard.settle_failure(seat, Some(*first), failure, &outcome);
        }
    };
    seat.lane.borrow_mut().reached();
    let mut connect = shard.inner.world.moment().since(began);
    let mut next = Some(*first);
    let mut carried = 0;
    let mut failed = None;
    let enough = seat.lane.borrow().limits().messages_per_connection;
    while let Some(entry) = next.take() {
        let used = if carried > 0 { Used::Before } else { Used::Never };
        let came = line.carry(seat, entry, std::mem::take(&mut connect), used).await;
        booking.done();
        match came {
            Came::Failed(outcome) => failed = Some(outcome),
            Came::Unused => {}
            Came::Settled => {
                carried += 1;
                shard.went_well(seat);
                // The window may have opened.
                shard.open_sessions(seat);
                if carried < enough && line.session.is_open() {
                    next = line.next_entry(&mut booking).await;
                }
            }
        }
        shard.has_room(seat);
    }
    booking.leaves();
    if failed.is_none() {
        // What arrived between the last look and now may need a connection of its own.
        shard.open_sessions(seat);
    }
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
    doing: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Waiting,
    /// Works on an entry.
    Busy,
    Leaving,
}

impl<'a> Booking<'a> {
    pub(super) fn new(seat: &'a LaneSeat) -> Self {
        Booking { seat, doing: Doing::Waiting }
    }

    pub(super) fn take<W: World>(&mut self, shard: &Shard<W>) -> Taken {
        let taken = self.seat.lane.borrow_mut().take(shard.inner.world.moment());
        if let Taken::Entry(_) = taken {
            self.doing = Doing::Busy;
        }
        taken
    }

    /// The entry is out of our hands.
    pub(super) fn done(&mut self) {
        self.seat.lane.borrow_mut().waits();
        self.doing = Doing::Waiting;
    }

    /// Takes no more entries.
    fn leaves(&mut self) {
        assert_eq!(self.doing, Doing::Waiting, "an entry is out of our hands before we leave");
        self.seat.lane.borrow_mut().leaves();
        self.doing = Doing::Leaving;
    }
}

impl Drop for Booking<'_> {
    fn drop(&mut self) {
        let mut lane = self.seat.lane.borrow_mut();
        match self.doing {
            Doing::Waiting => lane.leaves(),
            Doing::Busy => {
                lane.waits();
                lane.leaves();
            }
            Doing::Leaving => {}
        }
        lane.gone();
    }
}

/// How carrying an entry ended.
enum Came {
    /// It has its outcomes, and the session did its part.
    Settled,
    /// The session or the site is to blame; the entry has its outcomes, or goes on another
    /// connection.
    Failed(Outcome),
    /// The connection was gone before it was used: the entry goes on another one.
    Unused,
}

/// Whether a connection has carried something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Used {
    Never,
    Before,
}

impl<W: World> Line<'_, W> {
    /// Attempts one entry and has it settled.
    async fn carry(
        &mut self,
        seat: &Rc<LaneSeat>,
        entry: Ready,
        connect: Duration,
        used: Used,
    ) -> Came {
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
        if let (Used::Before, Some(outcome)) = (used, &failure)
            && outcomes.iter().all(|(_, one)| blames(one) && one.stage == Stage::Mail)
        {
            // Many a host takes so many messages and says 421 to the next: that is no answer to this
            // one, which has a connection of its own still to come.
            self.shard.try_elsewhere(seat, entry);
            return Came::Failed(outcome.clone());
        }
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
            lane_failure: None,
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
            if !outcomes.is_empty() {
                seat.lane.borrow_mut().sent_another();
            }
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
        let until = self.shard.after(self.shard.config().delivery.connection_idle);
        loop {
            // A reload may have lowered the limit.
            if inner.stopping.get() || booking.seat.lane.borrow().has_too_many() {
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
    pub(super) fn went_well(&self, seat: &LaneSeat) {
        if seat.lane.borrow_mut().succeeded() {
            seat.failure.take();
            self.inner.world.emit(Event::LaneResumed { lane: seat.name.clone() });
        }
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
