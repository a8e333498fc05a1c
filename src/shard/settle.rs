//! What follows from an attempt: events, notices, and the commit that makes it last.
//!
//! Outcome and notice are one commit: a sender is told exactly when his message is given up. The commit runs
//! beside the connection, which goes on with its next entry; until it is done the entry stays
//! taken, so it is neither tried twice nor forgotten.

use super::attempt::{Report, everyone};
use super::lane::LaneSeat;
use super::mesh::Parcel;
use super::tell::{Attempt, tells_delay};
use super::world::{LoadError, Share, TlsSession, World};
use super::{Counted, Shard};
use crate::deliver::lane::Trouble;
use crate::deliver::ready::{Message, Origin, Ready};
use crate::deliver::window::Failure;
use crate::event::{Delays, Event};
use crate::filter::pass_notice;
use crate::message::{Envelope, Outcome};
use crate::notify::Dsn;
use crate::queue::admit::{Admitted, admit};
use crate::queue::change::{Change, DuePut};
use crate::queue::commit::{Commit, CommitError};
use crate::queue::key::DueKey;
use crate::queue::record::encode_due;
use crate::queue::retry::{Fate, RetryPolicy, Settled, Settlement, settle};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Before a commit that the disk or the budget refused is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// What a settlement does to its entry.
struct Step {
    key: DueKey,
    groups: u16,
    /// The entry as it goes on waiting; `None` when nobody is left.
    next: Option<DuePut>,
    origin: Origin,
    /// Of the lane, which the entry shared.
    failure: Option<Box<Outcome>>,
}

impl<W: World> Shard<W> {
    /// Decides what follows from `report` and commits it in the background.
    pub(super) fn settle(&self, entry: Ready, message: Message, report: Report) {
        let world = &self.inner.world;
        let Ready { key, due, origin, .. } = entry;
        let retries = self.retries(&due.domain);
        let (now, random) = (world.stamp(), world.random());
        let Report { outcomes, remote, tls, delays, passes_dsn, lane_failure } = report;
        let policy = RetryPolicy { first: retries.retry_first, max: retries.retry_max };
        let mut settlement = settle(&due, outcomes, &policy, now, random);
        self.emit_fates(&settlement, &message.envelope, due.attempts, remote, tls, delays);
        let delayed_until = tells_delay(&mut settlement, &message.envelope, &retries, now);
        let attempt = Attempt { number: due.attempts.saturating_add(1), remote, passes_dsn, now };
        let notices = self.notices(&settlement, &message, &attempt, delayed_until);
        let next = settlement.waits.map(|(when, due)| {
            let key = DueKey { due: when, ..key };
            DuePut { key, record: encode_due(&due) }
        });
        let failure = lane_failure.map(Box::new);
        let step = Step { key, groups: due.groups, next, origin, failure };
        // Counted from now, not from its first poll: a stop in between would call the shard idle.
        let counted = Counted::new(&self.inner.settling);
        let commit = self.clone().commit_settlement(counted, step, notices);
        world.spawn(Share::Delivery, commit);
    }

    async fn commit_settlement(self, _counted: Counted, step: Step, notices: Vec<Dsn>) {
        let inner = &self.inner;
        let Step { key, groups, next, origin, failure } = step;
        let new_key = next.as_ref().map(|put| put.key);
        let admitted = loop {
            let mut changes = vec![match &next {
                Some(new) => Change::Retry { old: key, new: new.clone() },
                None => Change::Finish { key, groups },
            }];
            let mut admitted = Vec::with_capacity(notices.len());
            for Dsn { envelope, body } in &notices {
                let screened = pass_notice(envelope.clone(), body.clone());
                let now = inner.world.stamp();
                let (change, notice) = admit(screened, now, |domain| self.expire_after(domain));
                changes.push(change);
                self.claim(&notice);
                admitted.push(notice);
            }
            match inner.world.commit(Commit::new(changes)).await {
                Ok(_) => break admitted,
                // The process is about to end; what is on disk is tried again by the next one.
                Err(CommitError::Poisoned) => return,
                Err(CommitError::LowDisk | CommitError::Busy) => {
                    admitted.iter().for_each(|notice| self.disclaim(notice));
                    inner.world.sleep(COMMIT_AGAIN).await;
                }
            }
        };
        match origin {
            Origin::Here => self.settled_here(key, new_key),
            Origin::Shard(shard) => {
                inner.world.post(shard, Parcel::Settled { old: key, new: new_key, failure });
            }
        }
        for notice in admitted {
            self.enqueue_notice(notice);
        }
    }

    /// What became of an entry of this shard's queue is committed.
    pub(super) fn settled_here(&self, old: DueKey, new: Option<DueKey>) {
        let was_full = self.is_full();
        self.inner.schedule.borrow_mut().settles(old, new);
        if was_full || new.is_some() {
            self.inner.pager.raise();
        }
    }

    fn enqueue_notice(&self, notice: Admitted) {
        let charge = self.charge(notice.body.record().len());
        self.enqueue(notice, charge);
    }

    /// Settles an entry that was not tried at all, in the background.
    pub(super) fn settle_untried(&self, entry: Ready, outcome: Outcome) {
        self.settle_all(vec![entry], outcome);
    }

    /// A session of the lane failed; `entry` is what it was opened for, if nothing was done with it.
    pub(super) fn settle_failure(
        &self,
        seat: &Rc<LaneSeat>,
        entry: Option<Ready>,
        failure: Failure,
        outcome: &Outcome,
    ) {
        let now = self.inner.world.moment();
        let Trouble { rest, given_up, stalled } = seat.lane.borrow_mut().failed(failure, now);
        if failure == Failure::Fresh {
            seat.failure.replace(Some(outcome.clone()));
        }
        if stalled {
            self.inner.world.emit(Event::LaneStalled {
                lane: seat.name.clone(),
                cause: outcome.cause.to_string().into(),
                millis: rest.as_millis() as u64,
            });
        }
        match (given_up, entry) {
            (Some(others), entry) => {
                self.settle_all(entry.into_iter().chain(others).collect(), outcome.clone());
            }
            (None, Some(entry)) => self.try_elsewhere(seat, entry),
            (None, None) => {}
        }
        self.wake_later(seat, now);
    }

    fn settle_all(&self, entries: Vec<Ready>, outcome: Outcome) {
        let (shard, counted) = (self.clone(), Counted::new(&self.inner.settling));
        self.inner.world.spawn(Share::Background, async move {
            let _counted = counted;
            for entry in entries {
                if shard.inner.stopping.get() {
                    // It waits on disk as it is.
                    return;
                }
                let Some(message) = shard.message_of(&entry).await else { continue };
                let pending: Vec<u16> = entry.due.pending.iter().map(|one| one.recipient).collect();
                let outcomes = everyone(&pending, &outcome);
                let delays = Delays::default();
                let report = Report {
                    outcomes,
                    remote: None,
                    tls: None,
                    delays,
                    passes_dsn: false,
                    lane_failure: Some(outcome.clone()),
                };
                shard.settle(entry, message, report);
            }
        });
    }

    fn emit_fates(
        &self,
        settlement: &Settlement,
        envelope: &Envelope,
        earlier: u16,
        remote: Option<SocketAddr>,
        tls: Option<TlsSession>,
        delays: Delays,
    ) {
        let attempts = earlier.saturating_add(1);
        for Settled { recipient, outcome, fate } in &settlement.recipients {
            let id = envelope.id;
            let recipient = envelope.recipients[usize::from(*recipient)].address.clone();
            let sender_id = envelope.sender_id.clone();
            let cause: Box<str> = outcome.cause.to_string().into();
            let (scope, stage) = (outcome.scope, outcome.stage);
            self.inner.world.emit(match (*fate, remote) {
                (Fate::Delivered, Some(remote)) => {
                    let reply = cause;
                    Event::RecipientDelivered {
                        id,
                        recipient,
                        sender_id,
                        remote,
                        tls: tls.clone(),
                        reply,
                        attempts,
                        delays,
                    }
                }
                (Fate::Delivered, None) => unreachable!("what was delivered went somewhere"),
                (Fate::Waits(next), _) => Event::RecipientDeferred {
                    id,
                    recipient,
                    sender_id,
                    scope,
                    stage,
                    cause,
                    attempts,
                    next,
                },
                (Fate::Bounced | Fate::Expired, _) => {
                    let expired = *fate == Fate::Expired;
                    Event::RecipientBounced {
                        id,
                        recipient,
                        sender_id,
                        scope,
                        stage,
                        cause,
                        attempts,
                        expired,
                    }
                }
            });
        }
    }

    pub(super) fn emit_missing(&self, key: DueKey) {
        let words = "an entry in `due` has no envelope, no body, or a recipient that is not in it";
        self.emit_damaged(Some(key), &LoadError::Disk(words.into()));
    }
}
