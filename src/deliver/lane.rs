//! A lane: what is ready to go to one site from one egress source, and its connections on this shard.
//!
//! Decides who is next (`fair.rs`), whether another connection is worth opening (`window.rs`), when
//! the next message may go (`pace.rs`), how much may wait here in memory, and who shares a failure.
//!
//! A sender may have so many entries ready in one lane and no more, so that one with a hundred
//! thousand leaves room for others; the rest of his waits on disk, where every sender has a queue
//! of his own. A sender with nothing here is let in even when the lane is full.

use super::fair::FairList;
use super::pace::Pace;
use super::ready::Ready;
use super::share::Limits;
use super::window::{Failure, Window};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::queue::key::QueueKey;
use crate::time::Moment;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Entries that one sender may have ready here: while a page is delivered the next one is read.
const SENDER_READY_MAX: usize = 2 * PAGE_ENTRIES_MAX;
/// What a sender with nothing here may add to a full lane, and what may wait here for a site in trouble.
const FEW: usize = 16;
/// Parked senders that are looked at for one with room.
const UNPARK_LOOKS: usize = 4;

/// What a session is given to do.
#[derive(Debug)]
pub enum Taken {
    Entry(Box<Ready>),
    Nothing,
    /// The lane has sent what it may in this interval.
    NotBefore(Moment),
}

/// Whether the shard has memory for more than a few entries of each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Ample,
    /// The slow lanes have filled most of it: the others need the rest, a few entries each.
    Scarce,
}

/// How much may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    /// As much as finds out whether the site is back, or keeps a quick lane busy.
    Few,
    /// A few of each sender who has no more here.
    Newcomers,
    /// Pages of everybody's.
    Pages,
}

/// What a failed session means for its lane.
#[derive(Debug)]
pub struct Trouble {
    /// How long no other session is opened.
    pub rest: Duration,
    /// What was ready and shares the failure. `None` while other sessions go on, and while a site
    /// that has worked is waited for: then nothing is given up.
    pub given_up: Option<Vec<Ready>>,
    /// Whether the lane has just come to a stand.
    pub stalled: bool,
}

#[derive(Debug)]
pub struct Lane {
    limits: Limits,
    ready_max: usize,
    ready: FairList,
    window: Window,
    pace: Option<Pace>,
    sessions: u32,
    /// Sessions that wait for an entry, and those that are being opened for one.
    idle: u32,
    parked: Parked,
    /// Nothing has gone well since the last session failed alone.
    stands: bool,
}

/// The queues that wait for room here, by sender, each sender in its turn.
#[derive(Debug, Default)]
struct Parked {
    queues: HashMap<u64, VecDeque<Place>>,
    rotation: VecDeque<u64>,
}

/// Slot and domain of a parked queue, in nine octets: a backlog of millions may stand here.
#[derive(Clone, Copy, Debug)]
struct Place([u8; 9]);

impl Place {
    fn of(queue: QueueKey) -> Place {
        let mut place = [queue.slot; 9];
        place[1..].copy_from_slice(&queue.domain.to_be_bytes());
        Place(place)
    }

    fn queue(self, sender: u64) -> QueueKey {
        let [slot, domain @ ..] = self.0;
        QueueKey { slot, domain: u64::from_be_bytes(domain), sender }
    }
}

impl Lane {
    pub fn new(limits: Limits, ready_max: usize) -> Self {
        Lane {
            limits,
            ready_max,
            ready: FairList::default(),
            window: Window::new(limits.connections),
            pace: limits.rate.map(|rate| Pace::new(rate.messages, rate.per)),
            sessions: 0,
            idle: 0,
            parked: Parked::default(),
            stands: false,
        }
    }

    /// Goes by other limits from now on. Connections beyond a lower one end with their messages.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits.rate != self.limits.rate {
            self.pace = limits.rate.map(|rate| Pace::new(rate.messages, rate.per));
        }
        self.window.set_limit(limits.connections);
        self.limits = limits;
    }

    /// A message went in one transaction more than it was counted for.
    pub fn sent_another(&mut self) {
        self.pace.iter_mut().for_each(Pace::owe);
    }

    /// Whether more connections are open than may be now.
    pub fn has_too_many(&self) -> bool {
        self.sessions > self.limits.connections
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Entries of `sender` that are ready.
    pub fn ready_of(&self, sender: u64) -> usize {
        self.ready.len_of(sender)
    }

    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Entries of `sender` that may come in now; those beyond stay on disk.
    pub fn room(&self, sender: u64, now: Moment, memory: Memory) -> usize {
        let own = self.ready.len_of(sender);
        match self.scope(now, memory) {
            Room::None => 0,
            Room::Few => FEW.saturating_sub(self.ready.len()),
            Room::Newcomers => FEW.saturating_sub(own),
            Room::Pages => SENDER_READY_MAX.saturating_sub(own),
        }
    }

    fn scope(&self, now: Moment, memory: Memory) -> Room {
        let alone = self.sessions == 0;
        if alone && now < self.window.rests_until() {
            Room::None
        } else if memory == Memory::Scarce || (alone && self.window.is_troubled()) {
            Room::Few
        } else if self.ready.len() >= self.ready_max {
            Room::Newcomers
        } else {
            Room::Pages
        }
    }

    /// Whether a fresh entry should go to disk at once: no room, or others of its sender wait there
    /// already, which would never have their turn while mail comes in faster than it leaves.
    pub fn passes_by(&self, sender: u64, now: Moment, memory: Memory) -> bool {
        self.parked.queues.contains_key(&sender) || self.room(sender, now, memory) == 0
    }

    pub fn push(&mut self, entry: Ready) {
        self.ready.push(entry);
    }

    /// An entry whose connection was gone before it was used goes before the others.
    pub fn push_first(&mut self, entry: Ready) {
        self.ready.push_first(entry);
    }

    /// Takes out every ready entry that `matches`.
    pub fn withdraw(&mut self, matches: impl FnMut(&Ready) -> bool) -> Vec<Ready> {
        self.ready.withdraw(matches)
    }

    /// Whether a session should be opened now. [`Lane::opening`] follows if it is.
    pub fn wants_session(&self, now: Moment) -> bool {
        let needed = self.ready.len() > self.idle as usize;
        needed && self.sessions < self.window.connections(now) && self.paced_until(now).is_none()
    }

    /// A session is being opened; [`Lane::leaves`] and [`Lane::gone`] must follow.
    pub fn opening(&mut self) {
        self.sessions += 1;
        self.idle += 1;
    }

    /// A waiting session takes the next entry, and is then not idle until [`Lane::waits`].
    pub fn take(&mut self, now: Moment) -> Taken {
        if self.ready.is_empty() {
            return Taken::Nothing;
        }
        if let Some(pace) = &mut self.pace
            && let Err(until) = pace.take(now)
        {
            return Taken::NotBefore(until);
        }
        let entry = self.ready.take().expect("it is not empty");
        self.idle -= 1;
        Taken::Entry(Box::new(entry))
    }

    /// A session is done with its entry and waits for the next.
    pub fn waits(&mut self) {
        self.idle += 1;
    }

    /// A waiting session takes no more entries. [`Lane::gone`] follows when its connection is closed:
    /// until then it counts, or a limit of one would be two for the time of a farewell.
    pub fn leaves(&mut self) {
        self.idle -= 1;
    }

    pub fn gone(&mut self) {
        self.sessions -= 1;
    }

    /// A host greeted us well: the site is there.
    pub fn reached(&mut self) {
        self.window.reached();
    }

    /// A message was carried. Whether the lane had been at a stand.
    pub fn succeeded(&mut self) -> bool {
        self.window.succeeded();
        std::mem::take(&mut self.stands)
    }

    /// A session failed. Follows [`Lane::gone`].
    pub fn failed(&mut self, failure: Failure, now: Moment) -> Trouble {
        let rest = self.window.failed(failure, self.sessions, now);
        let alone = failure == Failure::Fresh && self.sessions == 0;
        let gives_up = alone && !self.window.is_patient();
        let given_up = gives_up.then(|| self.ready.withdraw(|_| true));
        let stalled = alone && !self.stands;
        self.stands |= alone;
        Trouble { rest, given_up, stalled }
    }

    /// When somebody should look at this lane again though nothing happens to it: something is
    /// ready, and only time keeps it from going.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let waits = !self.ready.is_empty() || !self.parked.rotation.is_empty();
        let rest = Some(self.window.rests_until()).filter(|until| *until > now);
        rest.max(self.paced_until(now)).filter(|_| waits)
    }

    fn paced_until(&self, now: Moment) -> Option<Moment> {
        self.pace.as_ref().and_then(|pace| pace.waits_until(now))
    }

    /// Whether nothing would be forgotten with this lane.
    pub fn is_idle(&self, now: Moment) -> bool {
        let at_rest = self.sessions == 0 && self.ready.is_empty();
        let known = self.window.is_troubled() && now < self.window.rests_until().after(MEMORY);
        at_rest && self.parked.rotation.is_empty() && !known && self.paced_until(now).is_none()
    }

    /// A queue waits for room here.
    pub fn park(&mut self, queue: QueueKey) {
        let rotation = &mut self.parked.rotation;
        let queues = self.parked.queues.entry(queue.sender).or_insert_with(|| {
            rotation.push_back(queue.sender);
            VecDeque::new()
        });
        queues.push_back(Place::of(queue));
    }

    /// Whether a queue waits for room here.
    pub fn has_parked(&self) -> bool {
        !self.parked.rotation.is_empty()
    }

    /// A queue that has room now, and how much. The senders take turns, and only a few are looked at: who is not
    /// looked at now will be after the next delivery.
    pub fn unpark(&mut self, now: Moment, memory: Memory) -> Option<(QueueKey, usize)> {
        // Half of what may come is worth a read, so that a page is not read for each delivery.
        let enough = match self.scope(now, memory) {
            Room::None => return None,
            Room::Few | Room::Newcomers => FEW / 2,
            Room::Pages => PAGE_ENTRIES_MAX / 2,
        };
        for _ in 0..UNPARK_LOOKS.min(self.parked.rotation.len()) {
            let sender = self.parked.rotation[0];
            let room = self.room(sender, now, memory);
            self.parked.rotation.rotate_left(1);
            if room < enough {
                continue;
            }
            let queues = self.parked.queues.get_mut(&sender).expect("who is in turn has queues");
            let queue = queues.pop_front();
            if queues.is_empty() {
                self.parked.queues.remove(&sender);
                self.parked.rotation.pop_back();
            }
            return queue.map(|place| (place.queue(sender), room));
        }
        None
    }
}

/// How long a site's trouble is remembered after its last rest, when nothing is left to send there.
const MEMORY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::super::ready::Origin;
    use super::super::window::START;
    use super::*;
    use crate::config::Rate;
    use crate::message::MessageId;
    use crate::queue::key::DueKey;
    use crate::queue::record::Due;
    use crate::time::Stamp;

    fn lane(connections: u32) -> Lane {
        lane_with(connections, None)
    }

    fn lane_with(connections: u32, rate: Option<Rate>) -> Lane {
        let limits = Limits {
            connections,
            messages_per_connection: 100,
            recipients_per_transaction: 100,
            rate,
        };
        Lane::new(limits, 1_000)
    }

    fn ready(sender: u64, id: u64, size: u32) -> Ready {
        let queue = QueueKey { slot: 0, domain: 1, sender };
        let (due, id) = (Stamp::from_millis(1), MessageId::from_u64(id));
        let key = DueKey { queue, due, id, group: 0 };
        let due = Due {
            domain: "x.test".into(),
            sender_id: "a|b|c".into(),
            size,
            groups: 1,
            attempts: 0,
            expires: due,
            delay_told: false,
            pending: vec![],
        };
        Ready { key, due, message: None, origin: Origin::Here }
    }

    fn next(lane: &mut Lane) -> (u64, u64) {
        match lane.take(Moment::default()) {
            Taken::Entry(entry) => {
                lane.waits();
                (entry.key.queue.sender, entry.key.id.as_u64())
            }
            other => panic!("{other:?}"),
        }
    }

    fn open(lane: &mut Lane, now: Moment) -> bool {
        let wanted = lane.wants_session(now);
        if wanted {
            lane.opening();
        }
        wanted
    }

    fn close(lane: &mut Lane) {
        lane.leaves();
        lane.gone();
    }

    #[test]
    fn a_shard_short_of_memory_leaves_each_lane_a_few() {
        let (mut lane, now) = (lane(1), Moment::default());
        assert_eq!(lane.room(7, now, Memory::Scarce), FEW);
        (0..FEW as u64).for_each(|id| lane.push(ready(id, id, 1)));
        assert_eq!(lane.room(99, now, Memory::Scarce), 0);
        assert!(lane.room(99, now, Memory::Ample) > 0);
    }

    #[test]
    fn a_page_is_read_for_half_a_page_of_room() {
        let (mut lane, now) = (lane(1), Moment::default());
        lane.opening();
        (0..SENDER_READY_MAX as u64).for_each(|id| lane.push(ready(7, id, 1)));
        lane.park(QueueKey { slot: 0, domain: 1, sender: 7 });
        for _ in 1..PAGE_ENTRIES_MAX / 2 {
            next(&mut lane);
            assert_eq!(lane.unpark(now, Memory::Ample), None);
        }
        next(&mut lane);
        assert!(lane.unpark(now, Memory::Ample).is_some());
    }

    #[test]
    fn who_says_goodbye_counts_and_takes_nothing() {
        let (mut lane, now) = (lane(1), Moment::default());
        lane.opening();
        lane.leaves();
        lane.push(ready(1, 1, 1));
        assert!(!lane.wants_session(now), "the limit");
        lane.gone();
        assert!(lane.wants_session(now));
    }

    #[test]
    fn opens_one_session_per_entry_that_no_session_waits_for_up_to_its_limit() {
        let (mut lane, now) = (lane(2), Moment::default());
        assert!(!open(&mut lane, now));
        lane.push(ready(1, 1, 1));
        assert!(open(&mut lane, now));
        assert!(!open(&mut lane, now), "the one being opened will take it");
        lane.push(ready(1, 2, 1));
        lane.push(ready(1, 3, 1));
        assert!(open(&mut lane, now));
        assert!(!open(&mut lane, now), "the limit");
        assert!(matches!(lane.take(now), Taken::Entry(_)));
        assert!(matches!(lane.take(now), Taken::Entry(_)));
        lane.waits();
        assert!(!open(&mut lane, now), "a session waits for the third");
        assert!(matches!(lane.take(now), Taken::Entry(_)));
        assert!(matches!(lane.take(now), Taken::Nothing));
    }

    #[test]
    fn one_message_among_a_flood_is_a_few_deliveries_late() {
        let mut lane = lane(1);
        lane.opening();
        (0..500).for_each(|id| lane.push(ready(7, id, 2_000)));
        lane.push(ready(8, 9_000, 40_000));
        let order: Vec<_> = (0..20).map(|_| next(&mut lane).0).collect();
        let place = order.iter().position(|sender| *sender == 8).unwrap();
        assert!(place <= 12, "{order:?}");
    }

    #[test]
    fn octets_are_shared_and_not_messages() {
        let mut lane = lane(1);
        lane.opening();
        for id in 0..400 {
            lane.push(ready(1, id, 64 * 1024));
            lane.push(ready(2, id, 8 * 1024));
        }
        let mut octets = [0_u64; 2];
        for _ in 0..270 {
            match next(&mut lane).0 {
                1 => octets[0] += 64,
                _ => octets[1] += 8,
            }
        }
        let ratio = octets[0] as f64 / octets[1] as f64;
        assert!((0.9..1.1).contains(&ratio), "{octets:?}");
    }

    #[test]
    fn what_is_put_back_is_the_next() {
        let mut lane = lane(1);
        lane.opening();
        (0..3).for_each(|id| lane.push(ready(id, id, 1)));
        let Taken::Entry(first) = lane.take(Moment::default()) else { panic!() };
        lane.waits();
        lane.push_first(*first);
        assert_eq!([next(&mut lane), next(&mut lane), next(&mut lane)], [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_flood_leaves_room_for_others() {
        let (mut lane, now) = (lane(1), Moment::default());
        let mut id = 0;
        while lane.room(7, now, Memory::Ample) > 0 {
            lane.push(ready(7, id, 1));
            id += 1;
        }
        assert_eq!(lane.ready(), SENDER_READY_MAX);
        assert!(lane.passes_by(7, now, Memory::Ample) && !lane.passes_by(8, now, Memory::Ample));
        for id in 0..1_000 {
            lane.push(ready(9 + id, id, 1));
        }
        assert_eq!(lane.room(8, now, Memory::Ample), FEW, "a full lane lets a newcomer in");
        assert_eq!(lane.room(9, now, Memory::Ample), FEW - 1);
        assert_eq!(lane.room(7, now, Memory::Ample), 0);
    }

    #[test]
    fn parked_queues_come_back_when_their_sender_has_room() {
        let (mut lane, now) = (lane(1), Moment::default());
        lane.opening();
        let queue = |sender, domain| QueueKey { slot: 0, domain, sender };
        (0..SENDER_READY_MAX as u64).for_each(|id| lane.push(ready(7, id, 1)));
        (0..5).for_each(|domain| lane.park(queue(7, domain)));
        assert!(lane.passes_by(7, now, Memory::Ample));
        assert_eq!(lane.unpark(now, Memory::Ample), None);
        (0..PAGE_ENTRIES_MAX).for_each(|_| _ = next(&mut lane));
        lane.park(queue(8, 1));
        let next = || lane.unpark(now, Memory::Ample).map(|(queue, _)| queue);
        let all: Vec<_> = std::iter::from_fn(next).collect();
        let others = (1..5).map(|domain| queue(7, domain));
        let expected: Vec<_> = [queue(7, 0), queue(8, 1)].into_iter().chain(others).collect();
        assert_eq!(all, expected, "in turn");
        assert!(!lane.has_parked() && lane.parked.queues.is_empty());
    }

    #[test]
    fn a_site_that_never_worked_fails_with_all_that_was_ready() {
        let (mut lane, now) = (lane(9), Moment::default());
        (0..3).for_each(|id| lane.push(ready(1, id, 1)));
        assert!(open(&mut lane, now));
        assert!(matches!(lane.take(now), Taken::Entry(_)));
        lane.waits();
        close(&mut lane);
        let trouble = lane.failed(Failure::Fresh, now);
        assert_eq!((trouble.given_up.unwrap().len(), trouble.stalled), (2, true));
        assert_eq!(lane.room(1, now, Memory::Ample), 0);
        let later = now.after(trouble.rest);
        assert_eq!(lane.room(1, later, Memory::Ample), FEW, "enough for a probe");
        assert!(!lane.is_idle(later), "its trouble is remembered");
        assert!(lane.is_idle(later.after(MEMORY)));
    }

    #[test]
    fn a_site_that_worked_is_waited_for() {
        let (mut lane, now) = (lane(9), Moment::default());
        (0..3).for_each(|id| lane.push(ready(1, id, 1)));
        assert!(open(&mut lane, now));
        lane.succeeded();
        close(&mut lane);
        let trouble = lane.failed(Failure::Fresh, now);
        assert!(trouble.given_up.is_none() && trouble.stalled && lane.ready() == 3);
        assert!(!open(&mut lane, now));
        assert_eq!(lane.wakes_at(now), Some(now.after(trouble.rest)));
        assert!(open(&mut lane, now.after(trouble.rest)));
        assert!(lane.succeeded(), "it is back");
    }

    #[test]
    fn one_refused_connection_among_working_ones_fails_nothing() {
        let (mut lane, now) = (lane(20), Moment::default());
        (0..9).for_each(|id| lane.push(ready(1, id, 1)));
        (0..START).for_each(|_| assert!(open(&mut lane, now)));
        assert!(!open(&mut lane, now));
        close(&mut lane);
        let trouble = lane.failed(Failure::Fresh, now);
        assert!(trouble.given_up.is_none() && !trouble.stalled && lane.ready() == 9);
        assert!(lane.room(1, now, Memory::Ample) > 0, "the sessions that work take more");
    }

    #[test]
    fn other_limits_hold_at_once() {
        let (mut lane, now) = (lane(9), Moment::default());
        (0..9).for_each(|id| lane.push(ready(1, id, 1)));
        while open(&mut lane, now) {}
        assert!(lane.sessions() == START && !lane.has_too_many());
        lane.set_limits(Limits { connections: 2, ..*lane.limits() });
        assert!(lane.has_too_many());
        (2..START).for_each(|_| close(&mut lane));
        assert!(!lane.has_too_many() && !open(&mut lane, now));
    }

    #[test]
    fn a_rate_holds_back_what_is_ready() {
        let rate = Rate { messages: 60, per: Duration::from_secs(60) };
        let (mut lane, now) = (lane_with(2, Some(rate)), Moment::default());
        (0..3).for_each(|id| lane.push(ready(1, id, 1)));
        assert!(open(&mut lane, now));
        assert!(matches!(lane.take(now), Taken::Entry(_)));
        assert!(!open(&mut lane, now), "another session would only wait");
        lane.waits();
        let Taken::NotBefore(until) = lane.take(now) else { panic!() };
        assert_eq!(until, now.after(Duration::from_secs(1)));
        assert_eq!(lane.wakes_at(now), Some(until));
        assert!(matches!(lane.take(until), Taken::Entry(_)));
    }
}
