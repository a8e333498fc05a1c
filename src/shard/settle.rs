//! What follows from an attempt: events, notices, and the commit that makes it last.
//!
//! Outcome and notice are one commit: a sender is told exactly when his message is given up. The commit runs
//! beside the connection, which goes on with its next entry; until it is done the entry stays
//! taken, so it is neither tried twice nor forgotten.

use super::attempt::{Report, everyone};
use super::world::{LoadError, Share, TlsSession, World};
use super::{Counted, Shard};
use crate::deliver::lane::{Message, Ready, Unreachable};
use crate::event::{Delays, Event};
use crate::filter::pass_notice;
use crate::message::{Envelope, Outcome};
use crate::notify::{Dsn, Notice, NoticeKind, NoticeRecipient, Reporter, compose};
use crate::queue::admit::{Admitted, admit};
use crate::queue::change::{Change, DuePut};
use crate::queue::commit::{Commit, CommitError};
use crate::queue::key::DueKey;
use crate::queue::record::encode_due;
use crate::queue::retry::{Fate, Settled, Settlement, settle};
use std::net::SocketAddr;
use std::time::Duration;

/// Before a commit that the disk or the budget refused is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

impl<W: World> Shard<W> {
    /// Decides what follows from `report` and commits it in the background.
    pub(super) fn settle(&self, entry: Ready, message: Message, report: Report) {
        let world = &self.inner.world;
        let Ready { key, due, .. } = entry;
        let (now, random) = (world.stamp(), world.random());
        let Report { outcomes, remote, tls, delays, passes_dsn } = report;
        let settlement = settle(&due, outcomes, &self.retry_policy(), now, random);
        self.emit_fates(&settlement, &message.envelope, due.attempts, remote, tls, delays);
        let notices = self.notices(&settlement, &message, due.attempts, remote, passes_dsn);
        let next = settlement.waits.map(|(when, due)| {
            let key = DueKey { due: when, ..key };
            DuePut { key, record: encode_due(&due) }
        });
        let groups = due.groups;
        // Counted from now, not from its first poll: a stop in between would call the shard idle.
        let counted = Counted::new(&self.inner.settling);
        let commit = self.clone().commit_settlement(counted, key, groups, next, notices);
        world.spawn(Share::Delivery, commit);
    }

    async fn commit_settlement(
        self,
        _counted: Counted,
        key: DueKey,
        groups: u16,
        next: Option<DuePut>,
        notices: Vec<Dsn>,
    ) {
        let inner = &self.inner;
        let new_key = next.as_ref().map(|put| put.key);
        let admitted = loop {
            let mut changes = vec![match &next {
                Some(new) => Change::Retry { old: key, new: new.clone() },
                None => Change::Finish { key, groups },
            }];
            let mut admitted = Vec::with_capacity(notices.len());
            for Dsn { envelope, body } in &notices {
                let screened = pass_notice(envelope.clone(), body.clone());
                let expire_after = self.delivery().expire_after;
                let (change, notice) = admit(screened, inner.world.stamp(), expire_after);
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
        let was_full = self.is_full();
        inner.schedule.borrow_mut().settles(key, new_key);
        if was_full || new_key.is_some() {
            inner.pager.raise();
        }
        for notice in admitted {
            self.enqueue_notice(notice);
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

    /// No connection could be opened for `entry`.
    pub(super) fn settle_unreachable(&self, lane: usize, entry: Ready, outcome: &Outcome) {
        let now = self.inner.world.moment();
        let unreachable = self.seat(lane).lane.borrow_mut().unreachable(now);
        let rest = match unreachable {
            Unreachable::OnlyMore { rest } => {
                self.try_elsewhere(lane, entry);
                rest
            }
            Unreachable::All { rest, mut ready } => {
                ready.push_front(entry);
                self.inner.world.emit(Event::LaneStalled {
                    lane: self.lane_name(lane),
                    cause: outcome.cause.to_string().into(),
                    millis: rest.as_millis() as u64,
                });
                self.settle_all(ready.into(), outcome.clone());
                rest
            }
        };
        let shard = self.clone();
        self.inner.world.spawn(Share::Background, async move {
            shard.inner.world.sleep(rest).await;
            shard.open_sessions(lane);
            shard.unpark(lane);
        });
    }

    fn settle_all(&self, entries: Vec<Ready>, outcome: Outcome) {
        let (shard, counted) = (self.clone(), Counted::new(&self.inner.settling));
        self.inner.world.spawn(Share::Background, async move {
            let _counted = counted;
            for entry in entries {
                let Some(message) = shard.message_of(&entry).await else { continue };
                let pending: Vec<u16> = entry.due.pending.iter().map(|one| one.recipient).collect();
                let outcomes = everyone(&pending, &outcome);
                let delays = Delays::default();
                let report =
                    Report { outcomes, remote: None, tls: None, delays, passes_dsn: false };
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

    /// The notices that are owed: one for what was refused, one for what expired, one for what was relayed to a next
    /// hop that cannot tell of success itself (RFC 3461 5.2.2).
    fn notices(
        &self,
        settlement: &Settlement,
        message: &Message,
        earlier: u16,
        remote: Option<SocketAddr>,
        passes_dsn: bool,
    ) -> Vec<Dsn> {
        let kinds = [
            (NoticeKind::Failed, "failed", Fate::Bounced),
            (NoticeKind::Failed, "expired", Fate::Expired),
            (NoticeKind::Relayed, "relayed", Fate::Delivered),
        ];
        let mut notices = Vec::new();
        for (kind, name, wanted) in kinds {
            let asks = |settled: &&Settled| {
                let notify = message.envelope.recipients[usize::from(settled.recipient)].notify;
                match wanted {
                    Fate::Delivered => notify.wants_success() && !passes_dsn,
                    Fate::Bounced | Fate::Expired | Fate::Waits(_) => notify.wants_failure(),
                }
            };
            let told = settlement.recipients.iter().filter(|settled| settled.fate == wanted);
            let told: Vec<&Settled> = told.filter(asks).collect();
            if told.is_empty() {
                // So it is for nearly every delivery: nothing is prepared for it.
                continue;
            }
            let (config, now) = (self.config(), self.inner.world.stamp());
            let remote = remote.map(|remote| remote.ip().to_string());
            let recipients: Vec<NoticeRecipient<'_>> = told
                .into_iter()
                .map(|settled| NoticeRecipient {
                    recipient: &message.envelope.recipients[usize::from(settled.recipient)],
                    cause: &settled.outcome.cause,
                    remote: remote.as_deref(),
                    last_attempt: now,
                    attempts: earlier.saturating_add(1),
                    will_retry_until: None,
                })
                .collect();
            let (envelope, original) = (&*message.envelope, &message.body);
            let expired = wanted == Fate::Expired;
            let notice = Notice { kind, envelope, original, recipients: &recipients, expired };
            let (hostname, postmaster) = (config.hostname.as_str(), config.postmaster.as_str());
            let id = self.inner.ids.borrow_mut().next(now);
            if let Some(dsn) = compose(&notice, &Reporter { hostname, postmaster }, id, now) {
                let about = envelope.id;
                self.inner.world.emit(Event::NoticeQueued { id, about, kind: name });
                notices.push(dsn);
            }
        }
        notices
    }

    pub(super) fn emit_missing(&self, key: DueKey) {
        let words = "an entry in `due` has no envelope, no body, or a recipient that is not in it";
        self.emit_damaged(Some(key), &LoadError::Disk(words.into()));
    }
}
