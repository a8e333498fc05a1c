//! What waits, by domain and sender: the upper of the queue's two levels in memory.
//!
//! A queue holds what one sender has for one domain in one slot. It knows when it is next due and
//! how much it holds; its entries stay on disk. So a backlog costs memory per queue (`roll.rs`), never
//! per message. The lower level is the lanes' bounded ready lists (`deliver/lane.rs`); an entry that
//! was paged in, or went there straight after it was accepted, is *taken* until it is settled, and a
//! page skips what is taken.
//!
//! Queues stand in ordered trees and not in a hash table: there may be millions, a table that
//! doubles would hold both its sizes at once and the shard still while it moves, and who looks for
//! the queues of one sender can walk a few at a time.
//!
//! After a start a schedule does not know what is on disk; recovery tells it, stretch by stretch in
//! the order of the keys, while mail already flows. A queue behind the last stretch is left alone:
//! what comes to wait in it meanwhile waits for its stretch as well.
//!
//! Pure: times come in, nothing is read or written here.

use super::key::{DueKey, HELD, QueueKey};
use super::roll::{Roll, State};
use crate::message::MessageId;
use crate::time::Stamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The queues of one shard.
#[derive(Debug, Default)]
pub struct Schedule {
    roll: Roll,
    /// Where the next page of a queue starts: nothing before it waits. Skips what the last page held,
    /// and the traces that finished entries leave in the store until it compacts: tens of thousands
    /// take milliseconds. Kept of so many queues; the others are read from their beginning.
    cursors: HashMap<QueueKey, DueKey>,
    /// What is known of the queues that are being paged, and only while they are.
    paging: HashMap<QueueKey, Paging>,
    taken: HashSet<(MessageId, u16)>,
    /// Entries that a person's command is changing: nobody else's until that is committed.
    changing: HashSet<(MessageId, u16)>,
    /// The queue that a person's command is reading, and what was settled in it since it began.
    watched: Option<(QueueKey, HashSet<DueKey>)>,
    entries: u64,
    known: Known,
    /// What came to wait in queues that are not known yet, and when it is due.
    early: BTreeMap<QueueKey, Stamp>,
}

/// How far recovery has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// This queue and all before it.
    UpTo(QueueKey),
    #[default]
    All,
}

/// A part of what recovery found on disk: all queues behind the part before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// In the order of their keys.
    pub queues: Vec<Found>,
    pub known: Known,
}

/// A queue on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub queue: QueueKey,
    pub entries: u32,
    /// When its first entry is due.
    pub first: Stamp,
}

/// Cursors that are kept though nothing more is due: a few megabytes.
const CURSORS_KEPT: usize = 65_536;

/// What happens to a queue while a page of it is read.
#[derive(Debug, Default)]
struct Paging {
    /// The first key that came to wait meanwhile: the page may or may not hold it.
    low: Option<DueKey>,
    /// What was settled since the page was asked for: the page may show it as it was, and whoever
    /// took it from there would deliver it again.
    gone: BTreeSet<DueKey>,
}

/// What is left of a queue behind a page of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// More that is due; the queue is due again then, behind those that are due as well.
    More(Stamp),
    /// The next entry is due then.
    Later(Stamp),
}

impl Schedule {
    /// One that knows nothing of what is on disk before it is told by [`Schedule::recovers`].
    pub fn recovering() -> Schedule {
        Schedule { known: Known::Nothing, ..Schedule::default() }
    }

    /// Whether recovery has read everything.
    pub fn knows_all(&self) -> bool {
        self.known == Known::All
    }

    /// Recovery has read on. What came since it began is no part of what it found.
    pub fn recovers(&mut self, stretch: &Stretch) {
        self.known = stretch.known;
        for found in &stretch.queues {
            self.adds(found.queue, found.entries);
            self.wait(DueKey::first(found.queue, found.first));
        }
        while let Some((queue, due)) = self.early.first_key_value().map(|(&key, &due)| (key, due))
            && self.knows(&queue)
        {
            self.early.remove(&queue);
            // It may be gone, by somebody's command.
            if self.has_queue(&queue) {
                self.wait(DueKey::first(queue, due));
            }
        }
    }

    /// Entries on disk, all queues.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Queues with entries on disk.
    pub fn queues(&self) -> usize {
        self.roll.len()
    }

    pub fn has_queue(&self, queue: &QueueKey) -> bool {
        self.roll.get(queue).is_some()
    }

    /// The queues after `after` (exclusive) in the order of their keys, which is that of the store.
    pub fn queues_after(&self, after: Option<QueueKey>) -> impl Iterator<Item = QueueKey> {
        self.roll.after(after)
    }

    /// Entries in memory.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    pub fn is_taken(&self, key: &DueKey) -> bool {
        let entry = (key.id, key.group);
        self.taken.contains(&entry) || self.changing.contains(&entry)
    }

    /// Whether an entry of the page that was just read is still there, and nobody's.
    pub fn is_fresh(&self, key: &DueKey) -> bool {
        let is_gone = |paging: &Paging| paging.gone.contains(key);
        self.has_queue(&key.queue)
            && !self.paging.get(&key.queue).is_some_and(is_gone)
            && !self.is_taken(key)
    }

    /// An entry is about to be committed. From then on a page may show it, before whoever commits it
    /// hears that it is done: it is taken already. [`Schedule::takes`], [`Schedule::waits`] or
    /// [`Schedule::disclaims`] follows.
    pub fn claims(&mut self, key: DueKey) {
        self.taken.insert((key.id, key.group));
    }

    /// The commit failed: there is no such entry.
    pub fn disclaims(&mut self, key: DueKey) {
        self.taken.remove(&(key.id, key.group));
    }

    /// A person's command is about to change an entry that waits. [`Schedule::settles`] follows when
    /// that is committed, [`Schedule::returns`] when it is not.
    pub fn changes(&mut self, key: DueKey) {
        self.changing.insert((key.id, key.group));
    }

    /// From now on what is settled in `queue` is noted, until [`Schedule::watched`] is asked: who
    /// reads a queue beside the pager must not take what ended meanwhile for what waits.
    pub fn watch(&mut self, queue: QueueKey) {
        self.watched = Some((queue, HashSet::new()));
    }

    /// What was settled since [`Schedule::watch`], which ends.
    pub fn watched(&mut self) -> HashSet<DueKey> {
        self.watched.take().map_or_else(HashSet::new, |(_, settled)| settled)
    }

    /// An entry is on disk and waits there: it was accepted while its lane was full.
    pub fn waits(&mut self, key: DueKey) {
        self.adds(key.queue, 1);
        self.taken.remove(&(key.id, key.group));
        self.wait(key);
    }

    /// An entry is on disk and its lane holds it already.
    pub fn takes(&mut self, key: DueKey) {
        self.adds(key.queue, 1);
        self.taken.insert((key.id, key.group));
    }

    /// A lane gave an entry back untried, or a command could not change it: it waits on disk again.
    pub fn returns(&mut self, key: DueKey) {
        self.release(key);
        self.wait(key);
    }

    /// An attempt is over and what it led to is committed: the entry waits under a new key, or is gone.
    pub fn settles(&mut self, old: DueKey, new: Option<DueKey>) {
        self.release(old);
        if let Some((_, settled)) = self.watched.as_mut().filter(|(queue, _)| *queue == old.queue) {
            settled.insert(old);
        }
        if let Some(paging) = self.paging.get_mut(&old.queue) {
            paging.gone.insert(old);
        }
        match new {
            Some(key) => self.wait(key),
            None => self.forget(old.queue),
        }
    }

    /// A time before which [`Schedule::due`] has nothing; `None` while nothing waits for a time.
    pub fn next_wake(&self) -> Option<Stamp> {
        self.roll.next_wake()
    }

    /// A queue with entries due at `now`, and the key after which to page. The queue is being
    /// paged until [`Schedule::paged`] or [`Schedule::postpone`].
    pub fn due(&mut self, now: Stamp) -> Option<(QueueKey, DueKey)> {
        let key = self.roll.due(now)?;
        Some((key, self.begin(key)))
    }

    /// A page of `key` was read, all of which is `page`; what is still there is taken now.
    pub fn paged(&mut self, key: QueueKey, page: &[DueKey], rest: Rest) {
        if !self.has_queue(&key) {
            return;
        }
        let paging = self.paging.remove(&key).expect("a page that somebody asked for");
        let there = page.iter().filter(|key| !paging.gone.contains(key));
        self.taken.extend(there.map(|key| (key.id, key.group)));
        // Past what others hold as well, or a page of nothing else would be read for ever.
        let must = matches!(rest, Rest::More(_)) || self.cursors.contains_key(&key);
        if let Some(last) = page.last().filter(|_| must || self.cursors.len() < CURSORS_KEPT) {
            self.cursors.insert(key, *last);
        }
        self.set_state(
            key,
            match rest {
                Rest::Nothing => State::Quiet,
                Rest::More(when) | Rest::Later(when) => State::Waiting(when),
            },
        );
        if let Some(low) = paging.low {
            self.wait(low);
        }
        self.remove_empty(key);
    }

    /// A page could not be read or has no place to go: asks for it again at `until`.
    pub fn postpone(&mut self, key: QueueKey, until: Stamp) {
        if self.paging.remove(&key).is_some() {
            self.set_state(key, State::Waiting(until));
            self.remove_empty(key);
        }
    }

    /// The lane of `key` is full: it is not asked again before [`Schedule::unpark`], or `until`, when
    /// something in it may have expired.
    pub fn park(&mut self, key: QueueKey, until: Stamp) {
        if let Some(State::Waiting(_)) = self.state(&key) {
            self.set_state(key, State::Parked { until });
        }
    }

    /// The lane of `key` has room again: it is being paged from now on, as by [`Schedule::due`].
    /// `None` when it does not wait for its lane (any more).
    pub fn unpark(&mut self, key: QueueKey) -> Option<DueKey> {
        match self.state(&key)? {
            State::Parked { .. } => Some(self.begin(key)),
            State::Quiet | State::Waiting(_) | State::Paging => None,
        }
    }

    fn begin(&mut self, key: QueueKey) -> DueKey {
        self.set_state(key, State::Paging);
        self.paging.insert(key, Paging::default());
        self.cursor(key)
    }

    fn cursor(&self, key: QueueKey) -> DueKey {
        let cursor = self.cursors.get(&key).copied();
        cursor.unwrap_or(DueKey::first(key, Stamp::default()))
    }

    fn release(&mut self, key: DueKey) {
        self.taken.remove(&(key.id, key.group));
        self.changing.remove(&(key.id, key.group));
    }

    fn knows(&self, queue: &QueueKey) -> bool {
        match self.known {
            Known::Nothing => false,
            Known::UpTo(last) => *queue <= last,
            Known::All => true,
        }
    }

    fn adds(&mut self, key: QueueKey, entries: u32) {
        self.entries += u64::from(entries);
        self.roll.update(&key, |queue| queue.entries += entries);
    }

    fn wait(&mut self, key: DueKey) {
        if !self.knows(&key.queue) {
            let early = self.early.entry(key.queue).or_insert(key.due);
            *early = key.due.min(*early);
            return;
        }
        if let Some(cursor) = self.cursors.get_mut(&key.queue).filter(|cursor| key <= **cursor) {
            *cursor = DueKey::first(key.queue, key.due);
        }
        match self.state(&key.queue).expect("a queue with this entry in it") {
            State::Paging => {
                let paging = self.paging.get_mut(&key.queue).expect("it is being paged");
                paging.low = Some(paging.low.map_or(key, |low| low.min(key)));
            }
            State::Parked { .. } => {}
            State::Waiting(when) if when <= key.due => {}
            State::Waiting(_) | State::Quiet => self.set_state(key.queue, State::Waiting(key.due)),
        }
    }

    fn forget(&mut self, key: QueueKey) {
        let queue = self.roll.update(&key, |queue| queue.entries -= 1);
        self.entries -= 1;
        // A queue that is being paged stays: who reads the page must learn that it is stale.
        if queue.state != State::Paging {
            self.remove_empty(key);
        }
    }

    fn remove_empty(&mut self, key: QueueKey) {
        if self.roll.get(&key).is_some_and(|queue| queue.entries == 0) {
            self.roll.remove(&key);
            self.cursors.remove(&key);
        }
    }

    fn state(&self, key: &QueueKey) -> Option<State> {
        self.roll.get(key).map(|queue| queue.state)
    }

    fn set_state(&mut self, key: QueueKey, state: State) {
        // What is held waits for no time.
        let state = if state == State::Waiting(HELD) { State::Quiet } else { state };
        self.roll.update(&key, |queue| queue.state = state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: QueueKey = QueueKey { slot: 0, domain: 1, sender: 1 };
    const B: QueueKey = QueueKey { slot: 0, domain: 1, sender: 2 };

    fn key(queue: QueueKey, due: u64, id: u64) -> DueKey {
        DueKey { queue, due: at(due), id: MessageId::from_u64(id), group: 0 }
    }

    fn at(millis: u64) -> Stamp {
        Stamp::from_millis(millis)
    }

    #[test]
    fn the_domain_that_is_due_first_is_paged_first() {
        const C: QueueKey = QueueKey { slot: 0, domain: 2, sender: 2 };
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 20, 1));
        schedule.waits(key(C, 10, 2));
        schedule.waits(key(A, 30, 3));
        assert_eq!((schedule.entries(), schedule.queues()), (3, 2));
        assert_eq!(schedule.next_wake(), Some(at(10)));
        assert_eq!(schedule.due(at(9)), None);
        assert_eq!(schedule.due(at(25)).unwrap().0, C);
        assert_eq!(schedule.due(at(25)).unwrap().0, A);
        assert_eq!(schedule.due(at(25)), None, "both are being paged");
        schedule.paged(C, &[key(C, 10, 2)], Rest::Nothing);
        schedule.paged(A, &[key(A, 20, 1)], Rest::Later(at(30)));
        assert_eq!((schedule.next_wake(), schedule.taken()), (Some(at(30)), 2));
    }

    #[test]
    fn what_settles_waits_again_or_is_forgotten() {
        let mut schedule = Schedule::default();
        schedule.takes(key(A, 5, 1));
        assert_eq!((schedule.next_wake(), schedule.taken()), (None, 1));
        schedule.settles(key(A, 5, 1), Some(key(A, 50, 1)));
        assert_eq!((schedule.next_wake(), schedule.taken()), (Some(at(50)), 0));
        schedule.due(at(50)).unwrap();
        schedule.paged(A, &[key(A, 50, 1)], Rest::Nothing);
        schedule.settles(key(A, 50, 1), None);
        assert_eq!((schedule.entries(), schedule.queues(), schedule.taken()), (0, 0, 0));
        assert_eq!(schedule.next_wake(), None);
    }

    #[test]
    fn an_entry_that_comes_while_a_page_is_read_is_not_passed_over() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.due(at(100)).unwrap();
        schedule.waits(key(A, 9, 7));
        schedule.paged(A, &[key(A, 10, 1)], Rest::Nothing);
        let (queue, after) = schedule.due(at(100)).unwrap();
        assert_eq!(queue, A);
        assert!(after < key(A, 9, 7), "the cursor went back");
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.waits(key(A, 11, 2));
        assert!(schedule.due(at(100)).unwrap().1 < key(A, 10, 1));
        schedule.paged(A, &[key(A, 10, 1)], Rest::More(at(11)));
        assert_eq!(schedule.due(at(100)).unwrap().1, key(A, 10, 1));
    }

    #[test]
    fn what_settles_while_a_page_is_read_is_not_taken_from_it() {
        let mut schedule = Schedule::default();
        (1..=3).for_each(|id| schedule.waits(key(A, 10, id)));
        schedule.takes(key(A, 9, 7));
        schedule.takes(key(A, 9, 8));
        schedule.due(at(100)).unwrap();
        schedule.settles(key(A, 9, 7), None);
        schedule.settles(key(A, 9, 8), Some(key(A, 50, 8)));
        let read = [key(A, 9, 7), key(A, 9, 8), key(A, 10, 1), key(A, 50, 8)];
        assert_eq!(read.map(|key| schedule.is_fresh(&key)), [false, false, true, true]);
        schedule.paged(A, &[key(A, 10, 1)], Rest::Nothing);
        assert!(schedule.is_fresh(&key(A, 9, 7)), "the next page is read after it was settled");
    }

    #[test]
    fn what_is_being_committed_is_not_taken_from_a_page() {
        let mut schedule = Schedule::default();
        schedule.claims(key(A, 9, 7));
        assert!(!schedule.is_fresh(&key(A, 9, 7)));
        schedule.waits(key(A, 9, 6));
        schedule.due(at(20)).unwrap();
        assert!(!schedule.is_fresh(&key(A, 9, 7)));
        schedule.paged(A, &[key(A, 9, 6)], Rest::Nothing);
        schedule.waits(key(A, 9, 7));
        let (_, after) = schedule.due(at(20)).unwrap();
        assert!(after < key(A, 9, 7) && schedule.is_fresh(&key(A, 9, 7)));
        schedule.claims(key(A, 9, 8));
        schedule.disclaims(key(A, 9, 8));
        assert_eq!((schedule.taken(), schedule.entries()), (1, 2));
    }

    #[test]
    fn a_queue_that_empties_while_it_is_paged_goes_with_the_page() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 9, 7));
        schedule.due(at(20)).unwrap();
        schedule.settles(key(A, 9, 7), None);
        assert!(!schedule.is_fresh(&key(A, 9, 7)));
        schedule.paged(A, &[], Rest::Nothing);
        assert_eq!((schedule.entries(), schedule.queues(), schedule.next_wake()), (0, 0, None));
    }

    #[test]
    fn a_parked_queue_waits_for_its_lane() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.park(A, at(500));
        assert_eq!(schedule.due(at(100)), None);
        schedule.waits(key(A, 11, 2));
        assert_eq!(schedule.next_wake(), Some(at(500)));
        assert_eq!(schedule.due(at(500)).unwrap().0, A, "something may have expired");
        schedule.paged(A, &[], Rest::Later(at(10)));
        schedule.park(A, at(500));
        assert_eq!(schedule.unpark(B), None);
        assert!(schedule.unpark(A).unwrap() < key(A, 10, 1));
        assert_eq!((schedule.unpark(A), schedule.due(at(100))), (None, None), "it is being paged");
    }

    #[test]
    fn what_a_lane_returns_is_paged_again() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.due(at(100)).unwrap();
        schedule.paged(A, &[key(A, 10, 1)], Rest::Nothing);
        schedule.returns(key(A, 10, 1));
        let (_, after) = schedule.due(at(100)).unwrap();
        assert!(after < key(A, 10, 1));
        assert!(!schedule.is_taken(&key(A, 10, 1)));
    }

    #[test]
    fn what_is_held_waits_for_no_time() {
        let mut schedule = Schedule::default();
        let held = DueKey { due: HELD, ..key(A, 0, 1) };
        schedule.waits(held);
        schedule.waits(key(A, 10, 2));
        assert_eq!(schedule.next_wake(), Some(at(10)));
        schedule.due(at(10)).unwrap();
        schedule.paged(A, &[key(A, 10, 2)], Rest::Later(HELD));
        assert_eq!((schedule.next_wake(), schedule.entries()), (None, 2));
        schedule.changes(held);
        assert!(!schedule.is_fresh(&held) && schedule.taken() == 1, "changing is not in memory");
        schedule.settles(held, Some(key(A, 9, 1)));
        let (_, after) = schedule.due(at(20)).unwrap();
        assert!(after < key(A, 9, 1) && schedule.is_fresh(&key(A, 9, 1)));
    }

    #[test]
    fn what_is_settled_in_a_watched_queue_is_noted() {
        let mut schedule = Schedule::default();
        (1..=3).for_each(|id| schedule.takes(key(A, 10, id)));
        schedule.takes(key(B, 10, 4));
        schedule.settles(key(A, 10, 1), None);
        schedule.watch(A);
        schedule.settles(key(A, 10, 2), None);
        schedule.settles(key(A, 10, 3), Some(key(A, 50, 3)));
        schedule.settles(key(B, 10, 4), None);
        assert_eq!(schedule.watched(), [key(A, 10, 2), key(A, 10, 3)].into());
        schedule.settles(key(A, 50, 3), None);
        assert!(schedule.watched().is_empty(), "nobody watches any more");
    }

    #[test]
    fn what_a_command_changes_is_nobody_elses_and_comes_back_when_it_could_not() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.changes(key(A, 10, 1));
        schedule.due(at(20)).unwrap();
        assert!(!schedule.is_fresh(&key(A, 10, 1)));
        schedule.paged(A, &[], Rest::Nothing);
        schedule.returns(key(A, 10, 1));
        assert!(schedule.due(at(20)).is_some() && schedule.is_fresh(&key(A, 10, 1)));
    }

    #[test]
    fn queues_are_walked_in_the_order_of_the_store() {
        let mut schedule = Schedule::default();
        let c = QueueKey { slot: 1, domain: 0, sender: 0 };
        [c, B, A].into_iter().for_each(|queue| schedule.waits(key(queue, 1, 1)));
        let after = |queue| schedule.queues_after(queue).collect::<Vec<_>>();
        assert_eq!(after(None), [A, B, c]);
        assert_eq!(after(Some(A)), [B, c]);
        assert_eq!(after(Some(c)), []);
        assert!(schedule.has_queue(&c));
    }

    #[test]
    fn what_recovery_has_not_read_yet_is_left_alone() {
        let mut schedule = Schedule::recovering();
        let c = QueueKey { slot: 0, domain: 2, sender: 1 };
        // One that is taken at once, and one that finds its lane full.
        schedule.takes(key(B, 5, 1));
        schedule.waits(key(B, 6, 2));
        schedule.waits(key(c, 7, 3));
        assert_eq!((schedule.due(at(100)), schedule.entries()), (None, 3));
        let found = |queue, entries, first| Found { queue, entries, first: at(first) };
        let stretch = Stretch { queues: vec![found(A, 2, 50)], known: Known::UpTo(A) };
        schedule.recovers(&stretch);
        assert_eq!((schedule.due(at(49)), schedule.entries()), (None, 5));
        assert_eq!(schedule.due(at(50)).unwrap().0, A);
        assert_eq!(schedule.due(at(50)), None);
        // What is tried again goes on waiting for the stretch.
        schedule.settles(key(B, 5, 1), Some(key(B, 4, 1)));
        assert!(!schedule.knows_all());
        let stretch = Stretch { queues: vec![found(B, 7, 60)], known: Known::All };
        schedule.recovers(&stretch);
        assert!(schedule.knows_all());
        assert_eq!((schedule.entries(), schedule.queues()), (12, 3));
        let mut due = [(); 2].map(|()| schedule.due(at(50)).map(|(queue, _)| queue));
        due.sort();
        assert_eq!((due, schedule.due(at(50))), ([Some(B), Some(c)], None));
    }

    #[test]
    fn what_ended_before_its_stretch_came_leaves_nothing() {
        let mut schedule = Schedule::recovering();
        schedule.waits(key(A, 5, 1));
        schedule.takes(key(A, 6, 2));
        schedule.changes(key(A, 5, 1));
        schedule.settles(key(A, 5, 1), None);
        schedule.settles(key(A, 6, 2), None);
        schedule.recovers(&Stretch { queues: Vec::new(), known: Known::All });
        assert_eq!((schedule.entries(), schedule.queues(), schedule.next_wake()), (0, 0, None));
    }
}
