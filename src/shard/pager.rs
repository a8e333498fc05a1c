//! Brings entries from disk into their lanes when they are due and there is room.
//!
//! One task per shard. It sleeps until the schedule's next time or until it is told of something new, reads
//! pages of a few queues (each one sender's entries for one domain), and goes round. What has no room stays
//! on disk: a full lane parks the queues that lead to it, a full shard stops paging altogether until
//! something is settled.

use super::Shard;
use super::deadline::OnStop;
use super::lane::LaneSeat;
use super::way::Way;
use super::world::{Asked, LoadError, Page, World};
use crate::deliver::ready::{Origin, Ready};
use crate::event::Event;
use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::queue::change::DuePut;
use crate::queue::key::{DueKey, QueueKey};
use crate::queue::record::decode_due;
use crate::queue::schedule::Rest;
use crate::time::Stamp;
use std::rc::Rc;
use std::time::Duration;

/// The longest sleep: the wall clock may be set while we sleep by the monotonic one.
pub(super) const NAP_MAX: Duration = Duration::from_secs(30);
/// Before what could not be read is tried again.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(60);
/// How long an entry that nobody can carry now is set aside.
const REST: Duration = Duration::from_secs(1);
/// The least time between two looks at a parked queue for what has expired in it.
const EXPIRY_LOOK: Duration = Duration::from_secs(60);

/// Whose pages are looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Parked,
    Due,
}

/// Queues whose pages are read at once.
const PAGES_AT_ONCE: usize = 16;

pub(super) async fn page_for_ever<W: World>(shard: Shard<W>) {
    let mut first = Turn::Parked;
    loop {
        shard.nap().await;
        if shard.inner.stopping.get() {
            return;
        }
        shard.sweep_lanes();
        loop {
            let asked = shard.next_pages(first);
            first = match first {
                Turn::Parked => Turn::Due,
                Turn::Due => Turn::Parked,
            };
            if asked.is_empty() {
                break;
            }
            shard.bring(asked).await;
            shard.sweep_lanes();
        }
    }
}

impl<W: World> Shard<W> {
    async fn nap(&self) {
        let inner = &self.inner;
        let now = inner.world.stamp();
        let next = inner.schedule.borrow().next_wake();
        let full = self.is_full();
        if next.is_some_and(|when| when <= now) && !full {
            // A deadline that has passed is noticed at the next sweep: too late for what is due at a start.
            return;
        }
        let nap = match next {
            Some(when) if !full => when.since(now).min(NAP_MAX),
            _ => NAP_MAX,
        };
        let until = self.after(nap);
        // Either way the schedule is looked at.
        let _woken = inner.deadlines.within(until, OnStop::End, inner.pager.wait()).await;
    }

    pub(super) fn is_full(&self) -> bool {
        self.inner.schedule.borrow().taken() >= self.inner.ready_max
    }

    /// What waited for room and what has come due have half of the room each, and who is first has the odd place: a
    /// lane that always has room for one more of its million parked queues must not keep everybody else on
    /// disk. All pages together hold no more than there is room for in memory, but for one entry of
    /// each queue that is in no lane's line any more.
    fn next_pages(&self, first: Turn) -> Vec<Asked> {
        let now = self.inner.world.stamp();
        let taken = self.inner.schedule.borrow().taken();
        let all = self.inner.ready_max.saturating_sub(taken);
        let mut room = match first {
            Turn::Parked => all.div_ceil(2),
            Turn::Due => all / 2,
        };
        let mut asked = Vec::new();
        if all == 0 || self.inner.stopping.get() {
            return asked;
        }
        let parked = if room > 0 { self.next_with_room(PAGES_AT_ONCE / 2) } else { Vec::new() };
        let mut used = 0;
        for (after, limit) in parked {
            // It is in no lane's line any more, so it is read even if another has taken the room.
            let limit = limit.min(PAGE_ENTRIES_MAX).min(room).max(1);
            room = room.saturating_sub(limit);
            used += limit;
            asked.push(Asked { after, until: now, limit });
        }
        let mut room = all.saturating_sub(used);
        let mut schedule = self.inner.schedule.borrow_mut();
        while asked.len() < PAGES_AT_ONCE
            && room > 0
            && let Some((_, after)) = schedule.due(now)
        {
            let limit = PAGE_ENTRIES_MAX.min(room);
            room -= limit;
            asked.push(Asked { after, until: now, limit });
        }
        asked
    }

    async fn bring(&self, asked: Vec<Asked>) {
        let pages = self.inner.world.pages(asked.clone()).await;
        for (Asked { after, .. }, page) in asked.into_iter().zip(pages) {
            match page {
                Ok(page) => self.place(after.queue, page),
                Err(error) => {
                    self.emit_damaged(None, &error);
                    let again = self.inner.world.stamp().after(READ_AGAIN);
                    self.inner.schedule.borrow_mut().postpone(after.queue, again);
                }
            }
        }
    }

    /// Sends what of a page is nobody's on its way, as far as there is room.
    fn place(&self, queue: QueueKey, page: Page) {
        let read: Vec<DueKey> = page.entries.iter().map(|put| put.key).collect();
        let fresh: Vec<DuePut> = {
            let schedule = self.inner.schedule.borrow();
            page.entries.into_iter().filter(|put| schedule.is_fresh(&put.key)).collect()
        };
        let now = self.inner.world.stamp();
        let rest = match page.next {
            None => Rest::Nothing,
            // It goes behind those that are due as well, however old it is.
            Some(next) if next <= now => Rest::More(now),
            Some(next) => Rest::Later(next),
        };
        self.inner.schedule.borrow_mut().paged(queue, &read, rest);
        let mut left = Vec::new();
        let mut full = None;
        for DuePut { key, record } in fresh {
            let due = match decode_due(&record) {
                Ok(due) => due,
                // It stays taken: not tried again before a restart, and not lost.
                Err(bad) => {
                    self.emit_damaged(Some(key), &LoadError::Record(bad));
                    continue;
                }
            };
            let entry = Ready { key, due, message: None, origin: Origin::Here };
            // Each is asked for its own lane: two domains may share a queue, and a pool of sources
            // spreads it over several.
            match self.way(&key, &entry.due.domain, Origin::Here) {
                Way::Lane(seat) if self.has_room_for(&seat, queue) => self.arrive(&seat, entry),
                Way::Lane(seat) => match self.overtaken(&seat, &entry) {
                    Some(outcome) => self.settle_untried(entry, outcome),
                    None => {
                        left.push((key, entry.due.expires));
                        full = Some(seat);
                    }
                },
                Way::Unknown if self.may_ask(&entry.due.domain, queue.sender) => self.ask(entry),
                Way::Unknown => left.push((key, entry.due.expires)),
                Way::Nowhere(outcome) => self.settle_untried(entry, outcome),
            }
        }
        if !left.is_empty() {
            self.put_back(queue, &left, full);
        }
    }

    fn has_room_for(&self, seat: &LaneSeat, queue: QueueKey) -> bool {
        seat.lane.borrow().room(queue.sender, self.inner.world.moment(), self.memory()) > 0
    }

    /// Why an entry whose time is over is given up without an attempt: its lane is in trouble or
    /// slow, and there is no room for it to be tried once more.
    fn overtaken(&self, seat: &LaneSeat, entry: &Ready) -> Option<Outcome> {
        let expired = entry.due.expires <= self.inner.world.stamp();
        expired.then(|| seat.failure.borrow().clone().unwrap_or_else(congested))
    }

    /// There is no room, or the lane rests: the queue waits for it, and what was read is forgotten.
    fn put_back(&self, queue: QueueKey, left: &[(DueKey, Stamp)], full: Option<Rc<LaneSeat>>) {
        let mut schedule = self.inner.schedule.borrow_mut();
        left.iter().for_each(|(key, _)| schedule.returns(*key));
        let now = self.inner.world.stamp();
        match full {
            Some(seat) => {
                let expires = left.iter().map(|(_, expires)| *expires).min();
                let look_again = expires.unwrap_or(now).max(now.after(EXPIRY_LOOK));
                schedule.park(queue, look_again);
                seat.lane.borrow_mut().park(queue);
                self.wake_later(&seat, self.inner.world.moment());
            }
            None => schedule.postpone(queue, now.after(REST)),
        }
    }

    pub(super) fn emit_damaged(&self, key: Option<DueKey>, error: &LoadError) {
        let (id, words) = (key.map(|key| key.id), error.to_string().into());
        self.inner.world.emit(Event::RecordDamaged { id, words });
    }
}

/// Nothing is wrong with the site but that it takes less than comes.
fn congested() -> Outcome {
    let words = "the site takes mail more slowly than it comes, and the message's turn never came";
    let cause = Cause::local(StatusCode::new(4, 4, 5), words);
    Outcome { verdict: Verdict::Transient, scope: Scope::Site, stage: Stage::Route, cause }
}
