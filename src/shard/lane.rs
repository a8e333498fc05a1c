//! The lanes of a shard: what is ready to go where, and the connections that carry it.
//!
//! An entry that arrives either finds a waiting session or may open one; `deliver/lane.rs` decides which.

use super::world::{Share, World};
use super::{LaneSeat, Shard, attempt};
use crate::config::Via;
use crate::deliver::lane::Ready;
use crate::queue::key::DueKey;
use crate::queue::record::Due;

impl<W: World> Shard<W> {
    /// The lane that leads to `domain` (lower case), if there is one.
    pub(super) fn lane_of(&self, domain: &str) -> Option<usize> {
        let config = self.inner.config.borrow();
        let (index, route) = config.route(domain)?;
        match &route.via {
            Via::Hosts(_) => self.inner.lanes[index].is_some().then_some(index),
            // Needs DNS, which this version does not ask.
            Via::Mx => None,
        }
    }

    /// # Panics
    /// When `lane` did not come from [`Shard::lane_of`].
    pub(super) fn seat(&self, lane: usize) -> &LaneSeat {
        self.inner.lanes[lane].as_ref().expect("a lane that a route leads to")
    }

    /// What the lane is called in events: its route's pattern.
    pub(super) fn lane_name(&self, lane: usize) -> Box<str> {
        self.inner.config.borrow().routes[lane].domain.to_string().into()
    }

    pub(super) fn arrive(&self, lane: usize, entry: Ready) {
        let seat = self.seat(lane);
        seat.lane.borrow_mut().push(entry);
        seat.arrival.raise();
        self.open_sessions(lane);
    }

    /// Takes out of the lanes what `wanted` wants of what no session has taken yet. It stays taken:
    /// the caller settles it, returns it, or lets it arrive again.
    pub(super) fn withdraw(&self, wanted: &dyn Fn(&DueKey, &Due) -> bool) -> Vec<Ready> {
        let lanes = self.inner.lanes.iter().flatten();
        lanes.flat_map(|seat| seat.lane.borrow_mut().withdraw(wanted)).collect()
    }

    /// Opens as many connections as the lane's ready list is worth.
    pub(super) fn open_sessions(&self, lane: usize) {
        if self.inner.stopping.get() {
            return;
        }
        let now = self.inner.world.moment();
        while self.seat(lane).lane.borrow_mut().opens(now) {
            self.inner.world.spawn(Share::Delivery, attempt::session(self.clone(), lane));
        }
    }

    pub(super) fn unpark_all(&self) {
        let lanes = self.inner.lanes.iter().enumerate();
        lanes.filter(|(_, seat)| seat.is_some()).for_each(|(lane, _)| self.unpark(lane));
    }

    /// A lane has room: the queues that waited for it may be paged again.
    pub(super) fn unpark(&self, lane: usize) {
        let freed = self.seat(lane).lane.borrow_mut().unpark(self.inner.world.moment());
        if freed.is_empty() {
            return;
        }
        let mut schedule = self.inner.schedule.borrow_mut();
        freed.into_iter().for_each(|queue| schedule.unpark(queue));
        self.inner.pager.raise();
    }
}
