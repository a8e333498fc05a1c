//! What waits, by domain: the upper of the queue's two levels in memory.
//!
//! A domain queue knows when it is next due and how much it holds; its entries stay on disk. So a backlog
//! costs memory per domain and slot, never per message. The lower level is the lanes' bounded ready
//! lists (`deliver/lane.rs`); an entry that was paged in, or went there straight after it was
//! accepted, is *taken* until it is settled, and a page skips what is taken.
//!
//! Pure: times come in, nothing is read or written here.

use super::key::{DomainKey, DueKey};
use crate::message::MessageId;
use crate::time::Stamp;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The domain queues of one shard.
#[derive(Debug, Default)]
pub struct Schedule {
    domains: HashMap<DomainKey, DomainQueue>,
    /// (when, whom) for every domain that waits for a time; a parked domain is not in it.
    wake: BTreeSet<(Stamp, DomainKey)>,
    taken: HashSet<(MessageId, u16)>,
    entries: u64,
}

#[derive(Debug)]
struct DomainQueue {
    /// Entries on disk, taken or not.
    entries: u32,
    state: State,
    /// What was settled since the page that is being read was asked for: the page may show it as it
    /// was, and whoever took it from there would deliver it again.
    gone: BTreeSet<DueKey>,
    /// Where the next page starts: nothing before it waits. Skips the traces that finished
    /// entries leave in the store until it compacts.
    cursor: DueKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything is taken.
    Quiet,
    /// The first entry that is not taken is due then; earlier entries may exist and be taken.
    Waiting(Stamp),
    /// A page is being read. `low` is the first key that came to wait meanwhile: the page may
    /// or may not hold it.
    Paging { low: Option<DueKey> },
    /// Due since then, but its lane is full: waits for [`Schedule::unpark`].
    Parked { due: Stamp },
}

impl Schedule {
    /// Entries on disk, all domains.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn domains(&self) -> usize {
        self.domains.len()
    }

    /// Entries in memory.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    pub fn is_taken(&self, key: &DueKey) -> bool {
        self.taken.contains(&(key.id, key.group))
    }

    /// Whether an entry of the page that was just read is still there, and nobody's.
    pub fn is_fresh(&self, key: &DueKey) -> bool {
        let gone = self.domains.get(&key.domain).is_none_or(|queue| queue.gone.contains(key));
        !gone && !self.is_taken(key)
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

    /// An entry is on disk and waits there: found by recovery, or accepted while its lane was full.
    pub fn waits(&mut self, key: DueKey) {
        self.entries += 1;
        self.domain(key).entries += 1;
        self.taken.remove(&(key.id, key.group));
        self.wait(key);
    }

    /// An entry is on disk and its lane holds it already.
    pub fn takes(&mut self, key: DueKey) {
        self.entries += 1;
        self.domain(key).entries += 1;
        self.taken.insert((key.id, key.group));
    }

    /// A lane gave an entry back untried: it waits on disk again.
    pub fn returns(&mut self, key: DueKey) {
        self.taken.remove(&(key.id, key.group));
        self.wait(key);
    }

    /// An attempt is over and what it led to is committed: the entry waits under a new key, or is gone.
    pub fn settles(&mut self, old: DueKey, new: Option<DueKey>) {
        self.taken.remove(&(old.id, old.group));
        if let Some(queue) = self.domains.get_mut(&old.domain)
            && matches!(queue.state, State::Paging { .. })
        {
            queue.gone.insert(old);
        }
        match new {
            Some(key) => self.wait(key),
            None => self.forget(old.domain),
        }
    }

    /// When [`Schedule::due`] will next have something; `None` while nothing waits for a time.
    pub fn next_wake(&self) -> Option<Stamp> {
        self.wake.first().map(|(when, _)| *when)
    }

    /// A domain with entries due at `now`, and the key after which to page. The domain is being
    /// paged until [`Schedule::paged`] or [`Schedule::postpone`].
    pub fn due(&mut self, now: Stamp) -> Option<(DomainKey, DueKey)> {
        let (when, domain) = *self.wake.first()?;
        if when > now {
            return None;
        }
        self.set_state(domain, State::Paging { low: None });
        Some((domain, self.domains[&domain].cursor))
    }

    /// A page of `domain` was read, all of which is `page`; what is still there is taken now. `next`
    /// is when the entry after it is due.
    pub fn paged(&mut self, domain: DomainKey, page: &[DueKey], next: Option<Stamp>) {
        let Some(queue) = self.domains.get_mut(&domain) else { return };
        let State::Paging { low } = queue.state else { panic!("a page that nobody asked for") };
        let there = page.iter().filter(|key| !queue.gone.contains(key));
        self.taken.extend(there.map(|key| (key.id, key.group)));
        // Past what others hold as well, or a page of nothing else would be read for ever.
        if let Some(last) = page.last() {
            queue.cursor = *last;
        }
        self.set_state(domain, next.map_or(State::Quiet, State::Waiting));
        if let Some(low) = low {
            self.wait(low);
        }
        self.read(domain);
    }

    /// A page could not be read: asks for it again at `until`.
    pub fn postpone(&mut self, domain: DomainKey, until: Stamp) {
        self.set_state(domain, State::Waiting(until));
        self.read(domain);
    }

    /// The lane of `domain` is full: it is not asked again before [`Schedule::unpark`].
    pub fn park(&mut self, domain: DomainKey) {
        let Some(queue) = self.domains.get(&domain) else { return };
        if let State::Waiting(due) = queue.state {
            self.set_state(domain, State::Parked { due });
        }
    }

    /// The lane of `domain` has room again. It takes its turn by its age: what waits longest is
    /// paged first, or the same few domains would fill the lane each time.
    pub fn unpark(&mut self, domain: DomainKey) {
        if let Some(DomainQueue { state: State::Parked { due }, .. }) = self.domains.get(&domain) {
            self.set_state(domain, State::Waiting(*due));
        }
    }

    fn domain(&mut self, key: DueKey) -> &mut DomainQueue {
        self.domains.entry(key.domain).or_insert(DomainQueue {
            entries: 0,
            state: State::Quiet,
            gone: BTreeSet::new(),
            cursor: DueKey::first(key.domain, Stamp::default()),
        })
    }

    fn wait(&mut self, key: DueKey) {
        let queue = self.domain(key);
        if key <= queue.cursor {
            queue.cursor = DueKey::first(key.domain, key.due);
        }
        match &mut queue.state {
            State::Paging { low } => *low = Some(low.map_or(key, |low| low.min(key))),
            State::Parked { due } => *due = key.due.min(*due),
            State::Waiting(when) if *when <= key.due => {}
            State::Waiting(_) | State::Quiet => self.set_state(key.domain, State::Waiting(key.due)),
        }
    }

    fn forget(&mut self, domain: DomainKey) {
        let queue = self.domains.get_mut(&domain).expect("a taken entry's domain is known");
        queue.entries -= 1;
        self.entries -= 1;
        // A domain that is being paged stays: who reads the page must learn that it is stale.
        if !matches!(queue.state, State::Paging { .. }) {
            self.remove_empty(domain);
        }
    }

    /// The page of `domain` is no longer being read.
    fn read(&mut self, domain: DomainKey) {
        if let Some(queue) = self.domains.get_mut(&domain) {
            queue.gone.clear();
            self.remove_empty(domain);
        }
    }

    fn remove_empty(&mut self, domain: DomainKey) {
        if self.domains.get(&domain).is_some_and(|queue| queue.entries == 0) {
            self.set_state(domain, State::Quiet);
            self.domains.remove(&domain);
        }
    }

    fn set_state(&mut self, domain: DomainKey, state: State) {
        let Some(queue) = self.domains.get_mut(&domain) else { return };
        if let State::Waiting(when) = queue.state {
            self.wake.remove(&(when, domain));
        }
        queue.state = state;
        if let State::Waiting(when) = state {
            self.wake.insert((when, domain));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DomainKey = DomainKey { slot: 0, hash: 1 };
    const B: DomainKey = DomainKey { slot: 0, hash: 2 };

    fn key(domain: DomainKey, due: u64, id: u64) -> DueKey {
        DueKey { domain, due: at(due), id: MessageId::from_u64(id), group: 0 }
    }

    fn at(millis: u64) -> Stamp {
        Stamp::from_millis(millis)
    }

    #[test]
    fn the_domain_that_is_due_first_is_paged_first() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 20, 1));
        schedule.waits(key(B, 10, 2));
        schedule.waits(key(A, 30, 3));
        assert_eq!((schedule.entries(), schedule.domains()), (3, 2));
        assert_eq!(schedule.next_wake(), Some(at(10)));
        assert_eq!(schedule.due(at(9)), None);
        assert_eq!(schedule.due(at(25)).unwrap().0, B);
        assert_eq!(schedule.due(at(25)).unwrap().0, A);
        assert_eq!(schedule.due(at(25)), None, "both are being paged");
        schedule.paged(B, &[key(B, 10, 2)], None);
        schedule.paged(A, &[key(A, 20, 1)], Some(at(30)));
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
        schedule.paged(A, &[key(A, 50, 1)], None);
        schedule.settles(key(A, 50, 1), None);
        assert_eq!((schedule.entries(), schedule.domains(), schedule.taken()), (0, 0, 0));
        assert_eq!(schedule.next_wake(), None);
    }

    #[test]
    fn an_entry_that_comes_while_a_page_is_read_is_not_passed_over() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.due(at(100)).unwrap();
        schedule.waits(key(A, 9, 7));
        schedule.paged(A, &[key(A, 10, 1)], None);
        let (domain, after) = schedule.due(at(100)).unwrap();
        assert_eq!(domain, A);
        assert!(after < key(A, 9, 7), "the cursor went back");
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.waits(key(A, 11, 2));
        assert!(schedule.due(at(100)).unwrap().1 < key(A, 10, 1));
        schedule.paged(A, &[key(A, 10, 1)], Some(at(11)));
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
        schedule.paged(A, &[key(A, 10, 1)], None);
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
        schedule.paged(A, &[key(A, 9, 6)], None);
        schedule.waits(key(A, 9, 7));
        let (_, after) = schedule.due(at(20)).unwrap();
        assert!(after < key(A, 9, 7) && schedule.is_fresh(&key(A, 9, 7)));
        schedule.claims(key(A, 9, 8));
        schedule.disclaims(key(A, 9, 8));
        assert_eq!((schedule.taken(), schedule.entries()), (1, 2));
    }

    #[test]
    fn a_domain_that_empties_while_it_is_paged_goes_with_the_page() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 9, 7));
        schedule.due(at(20)).unwrap();
        schedule.settles(key(A, 9, 7), None);
        assert!(!schedule.is_fresh(&key(A, 9, 7)));
        schedule.paged(A, &[], None);
        assert_eq!((schedule.entries(), schedule.domains(), schedule.next_wake()), (0, 0, None));
    }

    #[test]
    fn a_parked_domain_waits_for_its_lane() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.park(A);
        assert_eq!(schedule.due(at(100)), None);
        schedule.waits(key(A, 11, 2));
        assert_eq!(schedule.next_wake(), None);
        schedule.unpark(A);
        schedule.unpark(B);
        assert_eq!(schedule.due(at(100)).unwrap().0, A);
    }

    #[test]
    fn what_a_lane_returns_is_paged_again() {
        let mut schedule = Schedule::default();
        schedule.waits(key(A, 10, 1));
        schedule.due(at(100)).unwrap();
        schedule.paged(A, &[key(A, 10, 1)], None);
        schedule.returns(key(A, 10, 1));
        let (_, after) = schedule.due(at(100)).unwrap();
        assert!(after < key(A, 10, 1));
        assert!(!schedule.is_taken(&key(A, 10, 1)));
    }
}
