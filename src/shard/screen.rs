//! A complete message, from the end of its data to its reply: who sent it, may we carry it, keep it.
//!
//! The one place where a message is accepted from a peer: identify, screen, commit, answer. The
//! answer "250 queued" is made from the proof of the commit and from nothing else.

use super::Shard;
use super::way::Way;
use super::world::World;
use crate::deliver::ready::{Charge, Message, Origin, Ready};
use crate::event::{Event, RejectStage, RejectTag};
use crate::filter::{Screened, screen};
use crate::identify::{Circumstances, identify};
use crate::message::{Envelope, MessageId};
use crate::queue::admit::{Admitted, admit};
use crate::queue::commit::{Commit, CommitError, refusal};
use crate::queue::key::DueKey;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Refusal, Transaction};
use crate::time::Moment;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Where the time of a message goes until it is answered.
struct Clocked {
    /// When its last octet was read.
    began: Moment,
    filter: Duration,
}

impl<W: World> Shard<W> {
    /// The reply to the message. `began` is when its last octet was read.
    pub(super) async fn take_in(
        &self,
        transaction: Transaction,
        id: MessageId,
        peer: IpAddr,
        charge: Charge,
        began: Moment,
    ) -> Reply {
        let received = self.inner.world.stamp();
        let screening = self.inner.world.moment();
        let config = self.config();
        let declared = config.peer(peer);
        let identified = identify(transaction, Circumstances { id, peer, declared, received });
        let screened = match screen(identified, &self.bounds()) {
            Ok(screened) => screened,
            Err(refused) => {
                let (sender, origin) = (&refused.envelope.sender, &refused.envelope.origin);
                let refusal = Refusal::new(refused.tag, refused.reply);
                let (stage, sender) = (RejectStage::Content, sender.as_str());
                self.emit_rejected(stage, peer, &origin.account, sender, &refusal);
                return refusal.reply;
            }
        };
        let filter = self.inner.world.moment().since(screening);
        self.keep(screened, charge, Clocked { began, filter }).await
    }

    async fn keep(&self, screened: Screened, charge: Charge, clocked: Clocked) -> Reply {
        let world = &self.inner.world;
        let (change, admitted) = admit(screened, world.stamp(), |domain| self.expire_after(domain));
        self.claim(&admitted);
        match world.commit(Commit::new(vec![change])).await {
            Ok(committed) => {
                self.emit_accepted(&admitted, &clocked);
                self.enqueue(admitted, charge);
                committed.reply()
            }
            Err(error) => {
                self.disclaim(&admitted);
                let Envelope { origin, sender, .. } = &admitted.envelope;
                let refusal = not_kept(error);
                let (stage, sender) = (RejectStage::Data, sender.as_str());
                self.emit_rejected(stage, origin.peer, &origin.account, sender, &refusal);
                refusal.reply
            }
        }
    }

    /// Keeps the entries of a message out of pages while it is being committed.
    pub(super) fn claim(&self, admitted: &Admitted) {
        let mut schedule = self.inner.schedule.borrow_mut();
        admitted.entries.iter().for_each(|(key, _)| schedule.claims(*key));
    }

    pub(super) fn disclaim(&self, admitted: &Admitted) {
        let was_full = self.is_full();
        let mut schedule = self.inner.schedule.borrow_mut();
        admitted.entries.iter().for_each(|(key, _)| schedule.disclaims(*key));
        if was_full {
            self.inner.pager.raise();
        }
    }

    /// Hands what is durable to its lanes, or leaves it on disk where a lane has no room.
    pub(super) fn enqueue(&self, admitted: Admitted, charge: Charge) {
        let Admitted { envelope, body, entries } = admitted;
        let (envelope, charge) = (Arc::new(envelope), Rc::new(charge));
        for (key, due) in entries {
            let way = self.way(&key, &due.domain, Origin::Here);
            if !self.takes_fresh(&key, &due.domain, &way) {
                self.inner.schedule.borrow_mut().waits(key);
                self.inner.pager.raise();
                continue;
            }
            self.inner.schedule.borrow_mut().takes(key);
            // Half of the budget is for what comes in: a lane that is slow refuses no mail.
            let message = self.has_spare_memory().then(|| Message {
                envelope: envelope.clone(),
                body: body.clone(),
                charge: Some(charge.clone()),
            });
            let entry = Ready { key, due, message, origin: Origin::Here };
            match way {
                Way::Lane(seat) => self.arrive(&seat, entry),
                Way::Unknown => self.ask(entry),
                Way::Nowhere(outcome) => self.settle_untried(entry, outcome),
            }
        }
    }

    /// Whether an entry goes on from memory, without a look at the disk.
    fn takes_fresh(&self, key: &DueKey, domain: &str, way: &Way) -> bool {
        let now = self.inner.world.moment();
        let has_room = match way {
            Way::Lane(seat) => !seat.lane.borrow().passes_by(key.queue.sender, now, self.memory()),
            Way::Unknown => self.may_ask(domain, key.queue.sender),
            Way::Nowhere(_) => true,
        };
        has_room && self.inner.schedule.borrow().taken() < self.inner.ready_max
    }

    fn has_spare_memory(&self) -> bool {
        self.inner.inflight.get() <= self.inner.inflight_bytes_max / 2
    }

    fn emit_accepted(&self, admitted: &Admitted, clocked: &Clocked) {
        let accept = self.inner.world.moment().since(clocked.began);
        let envelope = &admitted.envelope;
        self.inner.world.emit(Event::MessageAccepted {
            id: envelope.id,
            peer: envelope.origin.peer,
            account: envelope.origin.account.clone(),
            sender: envelope.sender.clone(),
            sender_id: envelope.sender_id.clone(),
            recipients: envelope.recipients.len() as u32,
            bytes: envelope.size,
            protocol: envelope.origin.protocol.as_str(),
            accept_micros: accept.as_micros() as u64,
            filter_micros: clocked.filter.as_micros() as u64,
        });
    }

    pub(super) fn emit_rejected(
        &self,
        stage: RejectStage,
        peer: IpAddr,
        account: &str,
        sender: &str,
        refusal: &Refusal,
    ) {
        self.inner.world.emit(Event::MessageRejected {
            stage,
            tag: refusal.tag,
            peer,
            account: account.into(),
            sender: sender.into(),
            reply: refusal.reply.to_string().into(),
        });
    }
}

/// What a peer is told when its message cannot be kept now.
pub(super) fn not_kept(error: CommitError) -> Refusal {
    let tag = match error {
        CommitError::Busy => RejectTag::Busy,
        CommitError::LowDisk | CommitError::Poisoned => RejectTag::Disk,
    };
    Refusal::new(tag, refusal(error))
}
