//! Who waits until when: the schedule's list of queues, packed, because there may be millions.
//!
//! Grouped by domain, since many senders write to few domains: a domain costs about 100 octets with
//! one sender, and 22 to 40 for each of several. A domain knows when somebody in it is next due,
//! not whom: when that time comes its senders are walked through once, a *lap*, and each that is due
//! gets its turn, in the order of their keys from a place on that each domain has for itself: or the
//! sender with the lowest hash would be the first in all of them. So no sender is passed over, and
//! none needs a place of its own in an index of times, which would double the memory. What a lap
//! costs is bounded by a pause that grows with the crowd (`PACE`).
//!
//! Pure: times come in. Decides who is due; what that leads to is `schedule.rs`.

use super::key::{HELD, QueueKey, Slot};
use crate::time::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Between the starts of two laps of a domain, for each of its senders. A look costs about 10 ns, so
/// laps take at most a hundredth of a core, and a crowd of 100,000 is up to 100 ms late.
const PACE: Duration = Duration::from_micros(1);

/// No time.
const NEVER: Stamp = HELD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everything is taken or held.
    Quiet,
    /// The first entry that is not taken is due then; earlier entries may exist and be taken.
    Waiting(Stamp),
    /// A page is being read.
    Paging,
    /// Due, but its lane is full: waits to be told, and is looked at then at the latest.
    Parked { until: Stamp },
}

/// What one sender has for one domain in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// Entries on disk, taken or not.
    pub entries: u32,
    pub state: State,
}

const NEW: Queue = Queue { entries: 0, state: State::Quiet };

#[derive(Debug, Default)]
pub(super) struct Roll {
    domains: BTreeMap<Place, Domain>,
    /// (when, where) for every domain in which somebody may be due: never too late, at times too
    /// early.
    wake: BTreeSet<(Stamp, Place)>,
    queues: usize,
    /// Whose turn it was: of several domains whose time is the same the next one behind has it.
    served: Option<Place>,
    /// The latest time that was told.
    latest: Stamp,
}

type Place = (Slot, u64);

#[derive(Debug)]
struct Domain {
    /// Of its entry in `wake`; `NEVER` when it has none.
    wake: Stamp,
    senders: Senders,
}

#[derive(Debug)]
enum Senders {
    One(u64, Packed),
    Many(Box<Crowd>),
}

#[derive(Debug)]
struct Crowd {
    queues: BTreeMap<u64, Packed>,
    lap: Lap,
    /// When the latest lap began.
    began: Stamp,
}

#[derive(Clone, Copy, Debug)]
enum Lap {
    Rest,
    /// After this sender, among those behind the pivot; the earliest time of those that were not
    /// due, or were told since.
    Behind(u64, Stamp),
    /// The same, among the pivot and those before it. `None` is before the first of them.
    Before(Option<u64>, Stamp),
}

/// A [`Queue`] in 12 octets: the state's tag is in the two highest bits of its time.
#[derive(Clone, Copy, Debug)]
struct Packed {
    entries: u32,
    state: [u32; 2],
}

const _: () = assert!(size_of::<Packed>() == 12 && size_of::<Domain>() == 32, "millions of them");

const TAG_SHIFT: u32 = 62;

impl From<Queue> for Packed {
    fn from(Queue { entries, state }: Queue) -> Packed {
        let (tag, when) = match state {
            State::Quiet => (0, Stamp::default()),
            State::Waiting(when) => (1, when),
            State::Paging => (2, Stamp::default()),
            State::Parked { until } => (3, until),
        };
        // A time past the year 146,000,000 is one that somebody made up.
        let word = tag << TAG_SHIFT | when.millis().min((1 << TAG_SHIFT) - 1);
        Packed { entries, state: [word as u32, (word >> 32) as u32] }
    }
}

impl From<Packed> for Queue {
    fn from(packed: Packed) -> Queue {
        let word = u64::from(packed.state[0]) | u64::from(packed.state[1]) << 32;
        let when = Stamp::from_millis(word & ((1 << TAG_SHIFT) - 1));
        let state = match word >> TAG_SHIFT {
            0 => State::Quiet,
            1 => State::Waiting(when),
            2 => State::Paging,
            _ => State::Parked { until: when },
        };
        Queue { entries: packed.entries, state }
    }
}

impl Queue {
    /// What it waits for, if it is a time.
    fn wake(self) -> Option<Stamp> {
        match self.state {
            State::Waiting(when) | State::Parked { until: when } => Some(when),
            State::Quiet | State::Paging => None,
        }
    }
}

impl Roll {
    pub fn len(&self) -> usize {
        self.queues
    }

    pub fn get(&self, key: &QueueKey) -> Option<Queue> {
        let packed = match &self.domains.get(&place(key))?.senders {
            Senders::One(sender, packed) => (*sender == key.sender).then_some(packed),
            Senders::Many(crowd) => crowd.queues.get(&key.sender),
        };
        packed.copied().map(Queue::from)
    }

    /// Makes of the queue of `key`, empty and quiet if it is new, what `change` makes of it.
    pub fn update(&mut self, key: &QueueKey, change: impl FnOnce(&mut Queue)) -> Queue {
        let place = place(key);
        let domain = self.domains.entry(place).or_insert_with(|| {
            self.queues += 1;
            Domain { wake: NEVER, senders: Senders::One(key.sender, NEW.into()) }
        });
        let packed = domain.senders.seat(key.sender, &mut self.queues);
        let mut queue = Queue::from(*packed);
        let before = queue.wake();
        change(&mut queue);
        *packed = queue.into();
        if queue.wake() == before {
            return queue;
        }
        let wake = match &mut domain.senders {
            Senders::One(..) => queue.wake().unwrap_or(NEVER),
            // Somebody else's earlier time may be what it wakes for.
            Senders::Many(crowd) => match queue.wake() {
                Some(when) => crowd.told(when).min(domain.wake),
                None => domain.wake,
            },
        };
        domain.wake_at(place, wake, &mut self.wake);
        queue
    }

    pub fn remove(&mut self, key: &QueueKey) {
        let place = place(key);
        let Some(domain) = self.domains.get_mut(&place) else { return };
        let (removed, left) = match &mut domain.senders {
            Senders::One(sender, _) if *sender == key.sender => (true, 0),
            Senders::One(..) => (false, 1),
            Senders::Many(crowd) => {
                let removed = crowd.queues.remove(&key.sender).is_some();
                (removed, crowd.queues.len())
            }
        };
        self.queues -= usize::from(removed);
        if left == 0 {
            domain.wake_at(place, NEVER, &mut self.wake);
            self.domains.remove(&place);
        }
    }

    /// A time before which nobody is due; `None` while nobody waits for one.
    pub fn next_wake(&self) -> Option<Stamp> {
        self.wake.first().map(|(when, _)| *when)
    }

    /// Somebody whose time has come. Domains take turns, and so do the senders in each.
    pub fn due(&mut self, now: Stamp) -> Option<QueueKey> {
        if now < self.latest {
            self.begin_anew();
        }
        self.latest = now;
        loop {
            let (when, first) = *self.wake.first()?;
            if when > now {
                return None;
            }
            let behind = self.served.map_or(Bound::Unbounded, |last| Bound::Excluded((when, last)));
            let next = self.wake.range((behind, Bound::Unbounded)).next();
            let place = next.filter(|(at, _)| *at == when).map_or(first, |(_, place)| *place);
            let domain = self.domains.get_mut(&place).expect("a domain with somebody in it");
            let (found, wake) = domain.senders.due(pivot(place), now);
            domain.wake_at(place, wake, &mut self.wake);
            self.served = Some(place);
            if let Some(sender) = found {
                return Some(QueueKey { slot: place.0, domain: place.1, sender });
            }
        }
    }

    /// The clock was set back: laps that began in what is the future now say nothing.
    fn begin_anew(&mut self) {
        for (place, domain) in &mut self.domains {
            if let Senders::Many(crowd) = &mut domain.senders {
                (crowd.lap, crowd.began) = (Lap::Rest, Stamp::default());
                let times = crowd.queues.values().filter_map(|packed| Queue::from(*packed).wake());
                let wake = times.min().unwrap_or(NEVER);
                domain.wake_at(*place, wake, &mut self.wake);
            }
        }
    }

    /// The queues after `after` (exclusive) in the order of their keys.
    pub fn after(&self, after: Option<QueueKey>) -> impl Iterator<Item = QueueKey> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Included(place(&key)));
        self.domains.range((from, Bound::Unbounded)).flat_map(move |(&place, domain)| {
            let after = after.filter(|key| self::place(key) == place).map(|key| key.sender);
            let key = move |sender| QueueKey { slot: place.0, domain: place.1, sender };
            domain.senders.after(after).map(key)
        })
    }
}

impl Domain {
    fn wake_at(&mut self, place: Place, when: Stamp, wake: &mut BTreeSet<(Stamp, Place)>) {
        if when == self.wake {
            return;
        }
        if self.wake != NEVER {
            wake.remove(&(self.wake, place));
        }
        if when != NEVER {
            wake.insert((when, place));
        }
        self.wake = when;
    }
}

impl Senders {
    /// The place of `sender`, who is counted in `queues` if he had none.
    fn seat(&mut self, sender: u64, queues: &mut usize) -> &mut Packed {
        if let Senders::One(one, packed) = self
            && *one != sender
        {
            let alone = BTreeMap::from([(*one, *packed)]);
            let crowd = Crowd { queues: alone, lap: Lap::Rest, began: Stamp::default() };
            *self = Senders::Many(Box::new(crowd));
        }
        match self {
            Senders::One(_, packed) => packed,
            Senders::Many(crowd) => crowd.queues.entry(sender).or_insert_with(|| {
                *queues += 1;
                NEW.into()
            }),
        }
    }

    /// Who is due, and when to ask again.
    fn due(&mut self, pivot: u64, now: Stamp) -> (Option<u64>, Stamp) {
        match self {
            Senders::One(sender, packed) => match Queue::from(*packed).wake() {
                Some(when) if when <= now => (Some(*sender), when),
                Some(when) => (None, when),
                None => (None, NEVER),
            },
            Senders::Many(crowd) => crowd.due(pivot, now),
        }
    }

    fn after(&self, after: Option<u64>) -> impl Iterator<Item = u64> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (one, many) = match self {
            Senders::One(sender, _) => (Some(*sender), None),
            Senders::Many(crowd) => (None, Some(crowd.queues.range((from, Bound::Unbounded)))),
        };
        let one = one.filter(|sender| after.is_none_or(|after| *sender > after));
        one.into_iter().chain(many.into_iter().flatten().map(|(sender, _)| *sender))
    }
}

impl Crowd {
    /// Somebody waits until then; returns when to ask who is due because of it.
    fn told(&mut self, when: Stamp) -> Stamp {
        if let Lap::Behind(_, next) | Lap::Before(_, next) = &mut self.lap {
            *next = when.min(*next);
        }
        when.max(self.rested())
    }

    fn rested(&self) -> Stamp {
        self.began.after(PACE * u32::try_from(self.queues.len()).unwrap_or(u32::MAX))
    }

    fn due(&mut self, pivot: u64, now: Stamp) -> (Option<u64>, Stamp) {
        if let Lap::Rest = self.lap {
            self.began = now;
            self.lap = Lap::Behind(pivot, NEVER);
        }
        if let Lap::Behind(after, next) = self.lap {
            let behind = (Bound::Excluded(after), Bound::Unbounded);
            match first_due(self.queues.range(behind), now, next) {
                // Behind the domains that have waited meanwhile.
                (Some(sender), next) => {
                    self.lap = Lap::Behind(sender, next);
                    return (Some(sender), now);
                }
                (None, next) => self.lap = Lap::Before(None, next),
            }
        }
        let Lap::Before(after, next) = self.lap else { unreachable!("the first half is over") };
        let before = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Included(pivot));
        match first_due(self.queues.range(before), now, next) {
            (Some(sender), next) => {
                self.lap = Lap::Before(Some(sender), next);
                (Some(sender), now)
            }
            (None, next) => {
                self.lap = Lap::Rest;
                (None, if next == NEVER { NEVER } else { next.max(self.rested()) })
            }
        }
    }
}

/// The first of `queues` that is due; `next` or the earliest time of those before it that are not.
fn first_due<'a>(
    queues: impl Iterator<Item = (&'a u64, &'a Packed)>,
    now: Stamp,
    mut next: Stamp,
) -> (Option<u64>, Stamp) {
    for (sender, packed) in queues {
        match Queue::from(*packed).wake() {
            Some(when) if when <= now => return (Some(*sender), next),
            Some(when) => next = when.min(next),
            None => {}
        }
    }
    (None, next)
}

/// Where the laps of a domain begin: any place does, if other domains have other ones.
fn pivot((_, domain): Place) -> u64 {
    let mixed = (domain ^ domain >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 33
}

fn place(key: &QueueKey) -> Place {
    (key.slot, key.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(domain: u64, sender: u64) -> QueueKey {
        QueueKey { slot: 0, domain, sender }
    }

    fn at(millis: u64) -> Stamp {
        Stamp::from_millis(millis)
    }

    fn waiting(when: u64) -> Queue {
        Queue { entries: 1, state: State::Waiting(at(when)) }
    }

    const PAGING: Queue = Queue { entries: 1, state: State::Paging };

    fn set(roll: &mut Roll, key: &QueueKey, queue: Queue) {
        assert_eq!(roll.update(key, |there| *there = queue), queue);
    }

    /// Everybody who is due, each once.
    fn all_due(roll: &mut Roll, now: u64) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        while let Some(queue) = roll.due(at(now)) {
            set(roll, &queue, PAGING);
            found.push((queue.domain, queue.sender));
        }
        found
    }

    #[test]
    fn a_packed_queue_is_the_same_unpacked() {
        let times = [0, 1, 1 << 32, 1_795_000_000_000, (1 << 62) - 1].map(at);
        let states = times.into_iter().flat_map(|when| {
            [State::Quiet, State::Waiting(when), State::Paging, State::Parked { until: when }]
        });
        for state in states {
            let queue = Queue { entries: 7, state };
            assert_eq!(Queue::from(Packed::from(queue)), queue);
        }
        let made_up = Queue { entries: 7, state: State::Waiting(NEVER) };
        assert!(matches!(Queue::from(Packed::from(made_up)).state, State::Waiting(_)));
    }

    #[test]
    fn whoever_is_due_is_found_once_and_nobody_else() {
        let mut dice = 7u64;
        let mut throw = |sides: u64| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (dice >> 33) % sides
        };
        let mut roll = Roll::default();
        let mut model: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            let (domain, sender) = (throw(4) * throw(3), throw(12));
            match throw(8) {
                0 => {
                    roll.remove(&key(domain, sender));
                    model.remove(&(domain, sender));
                }
                1 => {
                    now += throw(20);
                    let mut found = all_due(&mut roll, now);
                    found.sort();
                    let due = |(_, when): &(_, &mut u64)| **when <= now;
                    let due: Vec<_> = model.iter_mut().filter(due).collect();
                    assert_eq!(found, due.iter().map(|(queue, _)| **queue).collect::<Vec<_>>());
                    due.into_iter().for_each(|(_, when)| *when = u64::MAX);
                }
                2 => {
                    // Only one, so that laps are interrupted.
                    if let Some(queue) = roll.due(at(now)) {
                        let when = model.insert((queue.domain, queue.sender), u64::MAX);
                        assert!(when.is_some_and(|when| when <= now), "{queue:?}");
                        set(&mut roll, &queue, PAGING);
                    }
                }
                _ => {
                    let when = now + throw(50);
                    set(&mut roll, &key(domain, sender), waiting(when));
                    model.insert((domain, sender), when);
                }
            }
            assert_eq!(roll.len(), model.len());
            let earliest = model.values().min().copied().filter(|when| *when != u64::MAX);
            match (earliest, roll.next_wake()) {
                (Some(earliest), Some(wake)) => assert!(wake <= at(earliest), "too late"),
                (Some(earliest), None) => panic!("{earliest} is forgotten"),
                (None, _) => {}
            }
        }
        let keys: Vec<_> = roll.after(None).map(|key| (key.domain, key.sender)).collect();
        assert_eq!(keys, model.keys().copied().collect::<Vec<_>>());
        for (index, (domain, sender)) in model.keys().enumerate() {
            let next = roll.after(Some(key(*domain, *sender))).next();
            let expected =
                model.keys().nth(index + 1).map(|(domain, sender)| key(*domain, *sender));
            assert_eq!(next, expected);
        }
    }

    #[test]
    fn domains_take_turns_and_so_do_their_senders() {
        let mut roll = Roll::default();
        for (domain, sender) in [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)] {
            set(&mut roll, &key(domain, sender), waiting(10 + domain));
        }
        let found = all_due(&mut roll, 20);
        assert_eq!(found, [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]);
        assert_eq!(roll.next_wake(), None);
    }

    #[test]
    fn a_sender_that_is_always_due_does_not_end_the_lap_of_the_others() {
        let mut roll = Roll::default();
        (1..=3).for_each(|sender| set(&mut roll, &key(1, sender), waiting(5)));
        let turns: Vec<u64> = (0..6)
            .map(|_| {
                let queue = roll.due(at(20)).unwrap();
                set(&mut roll, &queue, waiting(20));
                queue.sender
            })
            .collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn no_sender_is_the_first_everywhere() {
        let mut roll = Roll::default();
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for domain in 1..=40 {
            (1..=10).for_each(|sender| {
                set(&mut roll, &key(spread(domain), spread(sender)), waiting(5));
            });
        }
        let first = (0..40).map(|_| {
            let queue = roll.due(at(20)).unwrap();
            roll.update(&queue, |queue| *queue = PAGING);
            queue.sender
        });
        let first: BTreeSet<u64> = first.collect();
        assert!(first.len() > 5, "{first:?}");
    }

    #[test]
    fn crowds_of_one_time_take_turns() {
        let mut roll = Roll::default();
        for domain in 1..=3 {
            (1..=40).for_each(|sender| set(&mut roll, &key(domain, sender), waiting(5)));
        }
        let mut turns = [0; 4];
        for _ in 0..60 {
            let queue = roll.due(at(20)).unwrap();
            set(&mut roll, &queue, PAGING);
            turns[queue.domain as usize] += 1;
        }
        assert_eq!(turns, [0, 20, 20, 20]);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing_that_is_due() {
        let mut roll = Roll::default();
        (1..=3).for_each(|sender| set(&mut roll, &key(1, sender), waiting(5_000)));
        assert_eq!(all_due(&mut roll, 9_000).len(), 3);
        (1..=2).for_each(|sender| set(&mut roll, &key(1, sender), waiting(100)));
        assert_eq!(all_due(&mut roll, 100), [(1, 1), (1, 2)]);
    }

    #[test]
    fn a_crowd_is_walked_through_at_a_pace() {
        let mut roll = Roll::default();
        let senders = 100_000;
        (0..senders).for_each(|sender| set(&mut roll, &key(1, sender), waiting(1000 + sender)));
        assert_eq!(roll.due(at(1000)).unwrap().sender, 0);
        set(&mut roll, &key(1, 0), PAGING);
        assert_eq!(roll.due(at(1000)), None);
        assert_eq!(roll.next_wake(), Some(at(1100)), "not at 1001 already");
        assert_eq!(all_due(&mut roll, 1100).len(), 100);
    }
}
