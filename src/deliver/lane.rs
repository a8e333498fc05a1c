//! A lane: the bounded ready list of one next hop, and its connections on this shard.
//!
//! Decides when another connection is worth opening, which host it goes to, and how long the lane
//! rests after its hosts could not be reached. One lane per route so far; lanes per site and egress
//! source take the same place.
//!
//! A lane's limit is divided over the shards, so that no shard has to ask another before it
//! connects. Below one connection per shard each still has one: the limit is then exceeded by less
//! than the number of shards.

use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::{Body, Envelope};
use crate::queue::key::{DueKey, QueueKey};
use crate::queue::record::Due;
use crate::time::Moment;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// An entry that waits for a connection.
#[derive(Debug)]
pub struct Ready {
    pub key: DueKey,
    pub due: Due,
    /// On the first attempt the message is still in memory; later it is read back from disk.
    pub message: Option<Message>,
}

/// A message in memory, shared by the entries of its domains.
#[derive(Clone, Debug)]
pub struct Message {
    pub envelope: Rc<Envelope>,
    pub body: Body,
    /// Octets counted against the memory budget, given back when the last holder drops.
    pub charge: Rc<Charge>,
}

/// Octets held, in a counter that they leave when this is dropped.
#[derive(Debug)]
pub struct Charge {
    counter: Rc<Cell<usize>>,
    bytes: usize,
}

impl Charge {
    pub fn new(counter: &Rc<Cell<usize>>, bytes: usize) -> Self {
        counter.set(counter.get() + bytes);
        Charge { counter: counter.clone(), bytes }
    }

    /// Holds `bytes` from now on.
    pub fn set(&mut self, bytes: usize) {
        self.counter.set(self.counter.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.counter.set(self.counter.get() - self.bytes);
    }
}

/// The shortest and the longest rest of a lane whose hosts cannot be reached.
pub const REST_MIN: Duration = Duration::from_secs(1);
pub const REST_MAX: Duration = Duration::from_secs(60);

/// What a session that could not be opened means for its lane.
#[derive(Debug)]
pub enum Unreachable {
    /// Other sessions go on.
    OnlyMore {
        rest: Duration,
    },
    All {
        rest: Duration,
        ready: VecDeque<Ready>,
    },
}

#[derive(Debug)]
pub struct Lane {
    /// Tried in turn; never empty.
    hosts: Vec<SocketAddr>,
    next_host: usize,
    limit: u32,
    ready_max: usize,
    ready: VecDeque<Ready>,
    sessions: u32,
    /// Sessions that wait for an entry, and those that are being opened for one.
    idle: u32,
    /// Queues that wait for room here.
    parked: VecDeque<QueueKey>,
    failures: u32,
    rests_until: Moment,
}

impl Lane {
    /// # Panics
    /// When `hosts` is empty: the configuration refuses such a route.
    pub fn new(hosts: Vec<SocketAddr>, limit: u32, ready_max: usize) -> Self {
        assert!(!hosts.is_empty(), "a lane leads somewhere");
        Lane {
            hosts,
            next_host: 0,
            limit: limit.max(1),
            ready_max,
            ready: VecDeque::new(),
            sessions: 0,
            idle: 0,
            parked: VecDeque::new(),
            failures: 0,
            rests_until: Moment::default(),
        }
    }

    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    pub fn is_full(&self) -> bool {
        self.ready.len() >= self.ready_max
    }

    pub fn push(&mut self, entry: Ready) {
        self.ready.push_back(entry);
    }

    /// An entry whose connection was gone before it was used goes before the others.
    pub fn push_first(&mut self, entry: Ready) {
        self.ready.push_front(entry);
    }

    /// Whether a session should be opened now; if so it is counted, and [`Lane::closed`] must follow.
    pub fn opens(&mut self, now: Moment) -> bool {
        let needed = self.ready.len() > self.idle as usize;
        if !needed || self.sessions >= self.limit || now < self.rests_until {
            return false;
        }
        self.sessions += 1;
        self.idle += 1;
        true
    }

    /// The hosts in the order in which a new session tries them: another one first each time.
    pub fn hosts(&mut self) -> Vec<SocketAddr> {
        self.next_host = (self.next_host + 1) % self.hosts.len();
        let (before, from) = self.hosts.split_at(self.next_host);
        [from, before].concat()
    }

    /// A waiting session takes the next entry, and is then not idle until [`Lane::waits`].
    pub fn take(&mut self) -> Option<Ready> {
        let entry = self.ready.pop_front()?;
        self.idle -= 1;
        Some(entry)
    }

    /// Takes out what `wanted` wants of what no session has taken yet, and leaves the rest in order.
    pub fn withdraw(&mut self, wanted: &dyn Fn(&DueKey, &Due) -> bool) -> Vec<Ready> {
        let (out, left) =
            self.ready.drain(..).partition(|entry: &Ready| wanted(&entry.key, &entry.due));
        self.ready = left;
        Vec::from(out)
    }

    /// A session is done with its entry and waits for the next.
    pub fn waits(&mut self) {
        self.idle += 1;
    }

    /// A session ended while it waited.
    pub fn closed(&mut self) {
        self.idle -= 1;
        self.sessions -= 1;
    }

    /// A host took a connection. Whether the lane had been resting.
    pub fn connected(&mut self) -> bool {
        self.rests_until = Moment::default();
        std::mem::take(&mut self.failures) > 0
    }

    /// No host took one: no other is opened for a while, longer each time. While another session
    /// still works nothing else follows (a host may simply take no more); else all that was ready
    /// shares the failure and is given up. Follows [`Lane::closed`].
    pub fn unreachable(&mut self, now: Moment) -> Unreachable {
        // Several sessions that fail together are one failure.
        if now >= self.rests_until {
            let rest = REST_MIN.saturating_mul(1 << self.failures.min(10)).min(REST_MAX);
            self.failures += 1;
            self.rests_until = now.after(rest);
        }
        let rest = self.rests_until.since(now);
        match self.sessions {
            0 => Unreachable::All { rest, ready: std::mem::take(&mut self.ready) },
            _ => Unreachable::OnlyMore { rest },
        }
    }

    /// Whether new entries should rather stay on disk: the lane is full, or nothing can be reached.
    pub fn refuses(&self, now: Moment) -> bool {
        self.is_full() || (now < self.rests_until && self.sessions == 0)
    }

    /// Whether a fresh entry should go to disk at once: as above, and where others wait already,
    /// which would never have their turn while mail comes in faster than it leaves.
    pub fn passes_by(&self, now: Moment) -> bool {
        self.refuses(now) || !self.parked.is_empty()
    }

    pub fn rests_until(&self) -> Moment {
        self.rests_until
    }

    pub fn park(&mut self, queue: QueueKey) {
        self.parked.push_back(queue);
    }

    /// The queues that wait for room, once there is enough to be worth a page.
    pub fn unpark(&mut self, now: Moment) -> Vec<QueueKey> {
        if self.ready.len() > self.ready_max / 2 || now < self.rests_until {
            return Vec::new();
        }
        // In turn, and no more than have room: each is read from disk, and a page each may come.
        let pages = (self.ready_max - self.ready.len()).div_ceil(PAGE_ENTRIES_MAX);
        self.parked.drain(..pages.min(self.parked.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;
    use crate::time::Stamp;

    fn lane(limit: u32) -> Lane {
        let host = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Lane::new(vec![host(1), host(2), host(3)], limit, 4)
    }

    fn ready(id: u64) -> Ready {
        let queue = QueueKey { slot: 0, domain: 1, sender: 1 };
        let (due, id) = (Stamp::from_millis(1), MessageId::from_u64(id));
        let key = DueKey { queue, due, id, group: 0 };
        let due = Due {
            domain: "x.test".into(),
            sender_id: "acme|mailbox|joe".into(),
            size: 512,
            groups: 1,
            attempts: 0,
            expires: due,
            delay_told: false,
            pending: vec![],
        };
        Ready { key, due, message: None }
    }

    #[test]
    fn opens_one_session_per_entry_that_no_session_waits_for_up_to_its_limit() {
        let (mut lane, now) = (lane(2), Moment::default());
        assert!(!lane.opens(now));
        lane.push(ready(1));
        assert!(lane.opens(now));
        assert!(!lane.opens(now), "the one being opened will take it");
        lane.push(ready(2));
        lane.push(ready(3));
        assert!(lane.opens(now));
        assert!(!lane.opens(now), "the limit");
        assert!(lane.take().is_some() && lane.take().is_some());
        lane.waits();
        assert!(!lane.opens(now), "a session waits for the third");
        assert!(lane.take().is_some());
        assert!(lane.take().is_none());
    }

    #[test]
    fn rests_longer_each_time_nothing_can_be_reached() {
        let (mut lane, mut now) = (lane(2), Moment::default());
        for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
            lane.push(ready(1));
            assert!(lane.opens(now));
            lane.take().unwrap();
            lane.push(ready(2));
            lane.waits();
            lane.closed();
            let Unreachable::All { rest: found, ready: left } = lane.unreachable(now) else {
                panic!()
            };
            assert_eq!((found, left.len()), (Duration::from_secs(rest), 1));
            assert!(lane.refuses(now));
            lane.push(ready(9));
            assert!(!lane.opens(now));
            lane.ready.clear();
            now = now.after(found);
        }
        assert!(lane.connected());
        assert!(!lane.connected() && !lane.refuses(now));
    }

    #[test]
    fn one_refused_connection_among_working_ones_fails_nothing() {
        let (mut lane, now) = (lane(2), Moment::default());
        lane.push(ready(1));
        lane.push(ready(2));
        assert!(lane.opens(now) && lane.opens(now));
        lane.take().unwrap();
        let second = lane.take().unwrap();
        lane.waits();
        lane.closed();
        assert!(matches!(lane.unreachable(now), Unreachable::OnlyMore { .. }));
        lane.push_first(second);
        assert!(!lane.refuses(now), "the session that works takes more");
        assert_eq!(lane.ready(), 1);
    }

    #[test]
    fn what_is_withdrawn_is_gone_and_the_rest_keeps_its_order() {
        let mut lane = lane(1);
        (1..=4).for_each(|id| lane.push(ready(id)));
        let out = lane.withdraw(&|key, _| key.id.as_u64() % 2 == 0);
        let ids = |entries: Vec<Ready>| {
            entries.iter().map(|entry| entry.key.id.as_u64()).collect::<Vec<_>>()
        };
        assert_eq!(ids(out), [2, 4]);
        assert!(lane.opens(Moment::default()));
        let left = std::iter::from_fn(|| {
            lane.waits();
            lane.take()
        });
        assert_eq!(ids(left.collect()), [1, 3]);
    }

    #[test]
    fn hosts_take_turns() {
        let mut lane = lane(1);
        let firsts: Vec<_> = (0..4).map(|_| lane.hosts()[0].port()).collect();
        assert_eq!(firsts, [2, 3, 1, 2]);
        assert_eq!(lane.hosts().len(), 3);
    }

    #[test]
    fn a_full_lane_frees_its_queues_when_half_empty() {
        let (mut lane, now) = (lane(9), Moment::default());
        (0..4).for_each(|id| lane.push(ready(id)));
        assert!(lane.refuses(now));
        lane.park(QueueKey { slot: 0, domain: 7, sender: 1 });
        assert!(lane.unpark(now).is_empty());
        assert!(lane.opens(now));
        lane.take().unwrap();
        lane.waits();
        lane.take().unwrap();
        assert_eq!(lane.unpark(now).len(), 1);
        assert!(lane.unpark(now).is_empty());
    }

    #[test]
    fn a_charge_is_given_back() {
        let counter = Rc::new(Cell::new(0));
        let mut charge = Charge::new(&counter, 10);
        charge.set(25);
        assert_eq!(counter.get(), 25);
        drop(charge);
        assert_eq!(counter.get(), 0);
    }
}
