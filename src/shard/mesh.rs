//! Parcels between shards: mail for a lane that lives on another one.
//!
//! A lane with fewer connections than there are shards belongs to some of them (see
//! `deliver/share.rs`). The others hand it their entries and keep a note of each until they hear
//! what became of it; the entry stays theirs, in their schedule and under their slot. Who carries
//! it also commits its outcome. So nothing is decided twice, and a crash finds every entry where it
//! was.
//!
//! A parcel is never handed on: a shard that gets one works it itself.

use super::Shard;
use super::attempt::Booking;
use super::lane::{LaneSeat, Work};
use super::world::{Share, World};
use crate::deliver::lane::Taken;
use crate::deliver::ready::{Charge, Message, Origin, Ready};
use crate::deliver::window::Failure;
use crate::message::{Body, Envelope, Outcome};
use crate::queue::key::DueKey;
use crate::queue::record::Due;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Entries of one sender that are handed over without waiting for an errand to be free, while there
/// are no more than so many away in all.
const FEW: usize = 4;
const AWAY_MAX: usize = 512;

/// What one shard tells another.
#[derive(Debug)]
pub enum Parcel {
    /// Deliver this, and say what became of it.
    Carry(Box<Carry>),
    /// What became of an entry that was handed over: committed already. With the failure of its
    /// lane, when it shared that: who handed it over must know not to bring more.
    Settled { old: DueKey, new: Option<DueKey>, failure: Option<Box<Outcome>> },
    /// It could not be read there and waits as before.
    Returned { key: DueKey },
    /// It has no message. It stays taken, so that it is not tried again before a restart.
    Unusable { key: DueKey },
}

/// An entry on its way to another shard.
#[derive(Debug)]
pub struct Carry {
    key: DueKey,
    due: Due,
    message: Option<(Arc<Envelope>, Body)>,
    from: u16,
}

/// What was handed over and not heard of.
#[derive(Default)]
pub(super) struct Away(RefCell<HashMap<DueKey, Note>>);

enum Note {
    /// Nobody has looked for it yet, or who does waits to be woken.
    Out {
        waker: Option<Waker>,
        _charge: Option<Rc<Charge>>,
    },
    Back {
        failure: Option<Box<Outcome>>,
    },
}

/// The task that hands over entries of one lane, one after the other: in the lane's books it is a
/// session, and its connection is the other shard.
pub(super) async fn errand<W: World>(shard: Shard<W>, seat: Rc<LaneSeat>, to: u16) {
    let mut booking = Booking::new(&seat);
    while let Taken::Entry(entry) = booking.take(&shard) {
        let failure = shard.hand_over(to, *entry).await;
        booking.done();
        if let Some(outcome) = failure {
            drop(booking);
            return shard.settle_failure(&seat, None, Failure::Fresh, &outcome);
        }
        shard.went_well(&seat);
        shard.open_sessions(&seat);
        shard.has_room(&seat);
    }
    drop(booking);
    shard.open_sessions(&seat);
}

impl<W: World> Shard<W> {
    /// Hands the entry over at once when its sender has but a few away, and gives it back otherwise.
    /// All errands of the lane may be out for somebody's flood, which the other shard serves in
    /// the order in which it came.
    pub(super) fn hand_over_first(&self, seat: &Rc<LaneSeat>, entry: Ready) -> Option<Ready> {
        let Work::HandOver { shard: to } = seat.work else { return Some(entry) };
        let sender = entry.key.queue.sender;
        let away = &self.inner.away.0;
        let is_first = seat.lane.borrow().ready_of(sender) == 0
            && away.borrow().len() < AWAY_MAX
            && away.borrow().keys().filter(|key| key.queue.sender == sender).count() < FEW;
        if !is_first || self.inner.stopping.get() {
            return Some(entry);
        }
        let (shard, seat) = (self.clone(), Rc::clone(seat));
        self.inner.world.spawn(Share::Delivery, async move {
            match shard.hand_over(to, entry).await {
                Some(outcome) => shard.settle_failure(&seat, None, Failure::Fresh, &outcome),
                None => shard.has_room(&seat),
            }
        });
        None
    }

    /// Until the other shard has said what became of the entry; the failure of the lane there, if
    /// that was it.
    async fn hand_over(&self, to: u16, entry: Ready) -> Option<Box<Outcome>> {
        let Ready { key, due, message, origin } = entry;
        assert_eq!(origin, Origin::Here, "a parcel is never handed on");
        let (message, charge) = match message {
            Some(Message { envelope, body, charge }) => (Some((envelope, body)), charge),
            None => (None, None),
        };
        let away = &self.inner.away.0;
        away.borrow_mut().insert(key, Note::Out { waker: None, _charge: charge });
        let carry = Carry { key, due, message, from: self.inner.place.index };
        self.inner.world.post(to, Parcel::Carry(Box::new(carry)));
        poll_fn(|cx| match away.borrow_mut().get_mut(&key) {
            Some(Note::Out { waker, .. }) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Note::Back { .. }) | None => Poll::Ready(()),
        })
        .await;
        match away.borrow_mut().remove(&key) {
            Some(Note::Back { failure }) => failure,
            Some(Note::Out { .. }) | None => None,
        }
    }

    /// A parcel has come from another shard.
    pub fn receive(&self, parcel: Parcel) {
        match parcel {
            Parcel::Carry(carry) => {
                let Carry { key, due, message, from } = *carry;
                let message =
                    message.map(|(envelope, body)| Message { envelope, body, charge: None });
                self.dispatch(Ready { key, due, message, origin: Origin::Shard(from) });
            }
            Parcel::Settled { old, new, failure } => {
                self.settled_here(old, new);
                self.back(&old, failure);
            }
            Parcel::Returned { key } => {
                self.return_later(key, Origin::Here);
                self.back(&key, None);
            }
            Parcel::Unusable { key } => self.back(&key, None),
        }
    }

    fn back(&self, key: &DueKey, failure: Option<Box<Outcome>>) {
        if let Some(note) = self.inner.away.0.borrow_mut().get_mut(key)
            && let Note::Out { waker, .. } = std::mem::replace(note, Note::Back { failure })
        {
            waker.into_iter().for_each(Waker::wake);
        }
    }
}
