//! Brings entries from disk into their lanes when they are due and there is room.
//!
//! One task per shard. It sleeps until the schedule's next time or until it is told of something new, reads
//! a page of one queue (one sender's entries for one domain), and goes round. What has no room stays
//! on disk: a full lane parks the queues that lead to it, a full shard stops paging altogether until
//! something is settled.

use super::Shard;
use super::deadline::OnStop;
use super::world::{LoadError, Page, World};
use crate::deliver::lane::Ready;
use crate::event::Event;
use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::{Cause, Outcome, Scope, Stage, StatusCode, Verdict};
use crate::queue::change::DuePut;
use crate::queue::key::{DueKey, QueueKey};
use crate::queue::record::{Due, decode_due};
use std::time::Duration;

/// The longest sleep: the wall clock may be set while we sleep by the monotonic one.
const NAP_MAX: Duration = Duration::from_secs(30);
/// Before what could not be read is tried again.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(60);
/// How long an entry that nobody can carry now is set aside.
const REST: Duration = Duration::from_secs(1);

pub(super) async fn page_for_ever<W: World>(shard: Shard<W>) {
    loop {
        shard.nap().await;
        if shard.inner.stopping.get() {
            return;
        }
        // What a lane freed may have had nothing due: then no session says that there is room.
        shard.unpark_all();
        while let Some((queue, after)) = shard.next_page() {
            shard.page(queue, after).await;
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

    fn next_page(&self) -> Option<(QueueKey, DueKey)> {
        if self.is_full() || self.inner.stopping.get() {
            return None;
        }
        self.inner.schedule.borrow_mut().due(self.inner.world.stamp())
    }

    async fn page(&self, queue: QueueKey, after: DueKey) {
        let now = self.inner.world.stamp();
        let room = self.inner.ready_max.saturating_sub(self.inner.schedule.borrow().taken());
        let limit = PAGE_ENTRIES_MAX.min(room.max(1));
        match self.inner.world.page(queue, after, now, limit).await {
            Ok(page) => self.place(queue, page),
            Err(error) => {
                self.emit_damaged(None, &error);
                self.inner.schedule.borrow_mut().postpone(queue, now.after(READ_AGAIN));
            }
        }
    }

    /// Hands a page to its lane. A queue has one domain, and a domain has one route, so all of it goes to one place.
    fn place(&self, queue: QueueKey, page: Page) {
        let read: Vec<DueKey> = page.entries.iter().map(|put| put.key).collect();
        let fresh: Vec<DuePut> = {
            let schedule = self.inner.schedule.borrow();
            page.entries.into_iter().filter(|put| schedule.is_fresh(&put.key)).collect()
        };
        let keys: Vec<DueKey> = fresh.iter().map(|put| put.key).collect();
        let mut entries = Vec::with_capacity(fresh.len());
        for DuePut { key, record } in fresh {
            match decode_due(&record) {
                Ok(due) => entries.push((key, due)),
                // It stays taken: not tried again before a restart, and not lost.
                Err(bad) => self.emit_damaged(Some(key), &LoadError::Record(bad)),
            }
        }
        let lane = entries.first().and_then(|(_, due)| self.lane_of(&due.domain));
        let moment = self.inner.world.moment();
        self.inner.schedule.borrow_mut().paged(queue, &read, page.next);
        if let Some(lane) = lane
            && self.seat(lane).lane.borrow().refuses(moment)
        {
            return self.put_back(queue, lane, &keys);
        }
        for (key, due) in entries {
            // Two domains may share a queue, so each entry is asked for its own lane.
            match self.lane_of(&due.domain) {
                Some(lane) => {
                    self.arrive(lane, Ready { key, due, message: None });
                }
                None => self.settle_unroutable(key, due),
            }
        }
    }

    /// The lane has no room, or rests: the queue waits for it, and what was read is forgotten.
    fn put_back(&self, queue: QueueKey, lane: usize, keys: &[DueKey]) {
        let (now, moment) = (self.inner.world.stamp(), self.inner.world.moment());
        let mut schedule = self.inner.schedule.borrow_mut();
        keys.iter().for_each(|key| schedule.returns(*key));
        let mut lane = self.seat(lane).lane.borrow_mut();
        if lane.is_full() {
            schedule.park(queue);
            lane.park(queue);
        } else {
            let rest = lane.rests_until().since(moment).max(REST);
            schedule.postpone(queue, now.after(rest));
        }
    }

    fn settle_unroutable(&self, key: DueKey, due: Due) {
        let words = "no route leads to this domain: see [[route]] in the configuration";
        let outcome = Outcome {
            verdict: Verdict::Transient,
            scope: Scope::Us,
            stage: Stage::Route,
            cause: Cause::local(StatusCode::new(4, 4, 4), words),
        };
        self.settle_untried(Ready { key, due, message: None }, outcome);
    }

    pub(super) fn emit_damaged(&self, key: Option<DueKey>, error: &LoadError) {
        let (id, words) = (key.map(|key| key.id), error.to_string().into());
        self.inner.world.emit(Event::RecordDamaged { id, words });
    }
}
