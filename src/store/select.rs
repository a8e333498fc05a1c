//! Which entries a list is about, and how to come from one to the next without reading the others.
//!
//! The keys of `due` sort by slot, domain, sender and time. So from any key that is not wanted it is
//! known where the next wanted one can be at the earliest, and the list seeks there: one or two seeks for
//! each domain, whatever waits in between. Keys hold hashes, so what was found by key is checked by name.
//!
//! Pure: keys come in, places to look come out.

use crate::queue::key::{DueKey, HELD, QueueKey, name_hash};
use crate::queue::record::{BadRecord, Due};
use crate::time::Stamp;

/// Which entries are wanted; an absent condition wants all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    domain: Option<Name<'a>>,
    sender: Option<Name<'a>>,
    times: Times,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    text: &'a str,
    hash: u64,
}

impl<'a> Name<'a> {
    fn new(text: &'a str) -> Self {
        Name { text, hash: name_hash(text) }
    }
}

/// Whether entries that wait for a time are wanted besides those that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    All,
    Held,
}

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Take,
    /// Nothing is wanted before this key; it is greater than the one that was asked about.
    Seek(DueKey),
    /// Nothing is wanted from here on.
    End,
}

impl<'a> Selection<'a> {
    /// `domain` in lower case, `sender_id` verbatim.
    pub fn new(domain: Option<&'a str>, sender_id: Option<&'a str>, times: Times) -> Self {
        Selection { domain: domain.map(Name::new), sender: sender_id.map(Name::new), times }
    }

    pub(super) fn step(&self, key: &DueKey) -> Step {
        let QueueKey { slot, domain, sender } = key.queue;
        let first_sender = self.sender.map_or(0, |name| name.hash);
        let seek = |slot, domain| {
            let queue = QueueKey { slot, domain, sender: first_sender };
            Step::Seek(DueKey::first(queue, Stamp::default()))
        };
        let next_slot = || match slot.checked_add(1) {
            Some(slot) => seek(slot, self.domain.map_or(0, |name| name.hash)),
            None => Step::End,
        };
        if let Some(wanted) = self.domain {
            if domain < wanted.hash {
                return seek(slot, wanted.hash);
            }
            if domain > wanted.hash {
                return next_slot();
            }
        }
        if let Some(wanted) = self.sender {
            if sender < wanted.hash {
                return seek(slot, domain);
            }
            if sender > wanted.hash {
                return domain.checked_add(1).map_or_else(next_slot, |domain| seek(slot, domain));
            }
        }
        match self.times {
            Times::Held if !key.is_held() => Step::Seek(DueKey::first(key.queue, HELD)),
            Times::Held | Times::All => Step::Take,
        }
    }

    /// Whether the names in the record are the wanted ones: others may have the same hashes. A
    /// damaged record has no names and is shown.
    pub(super) fn names(&self, due: &Result<Due, BadRecord>) -> bool {
        let Ok(due) = due else { return true };
        self.domain.is_none_or(|name| *name.text == *due.domain)
            && self.sender.is_none_or(|name| *name.text == *due.sender_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;
    use std::collections::BTreeSet;

    fn keys() -> BTreeSet<DueKey> {
        let hashes = |names: [&str; 4]| names.map(name_hash);
        let mut keys = BTreeSet::new();
        for slot in [0, 1, 7, u8::MAX] {
            for domain in
                hashes(["a.test", "b.test", "c.test", "d.test"]).into_iter().chain([u64::MAX])
            {
                for sender in hashes(["p", "q", "r", "s"]).into_iter().chain([0, u64::MAX]) {
                    let queue = QueueKey { slot, domain, sender };
                    for due in [Stamp::from_millis(5), HELD] {
                        keys.insert(DueKey { queue, due, id: MessageId::from_u64(1), group: 0 });
                    }
                }
            }
        }
        keys
    }

    /// What the walk takes, and how many keys it looked at.
    fn walk(selection: &Selection<'_>) -> (Vec<DueKey>, usize) {
        let (keys, mut taken, mut looks) = (keys(), Vec::new(), 0);
        let mut at = keys.first().copied();
        while let Some(key) = at {
            looks += 1;
            at = match selection.step(&key) {
                Step::End => None,
                Step::Take => {
                    taken.push(key);
                    keys.range(key..).nth(1).copied()
                }
                Step::Seek(there) => {
                    assert!(there > key, "{selection:?} goes back from {key:?}");
                    keys.range(there..).next().copied()
                }
            };
        }
        (taken, looks)
    }

    #[test]
    fn the_walk_takes_what_a_look_at_every_key_would_take() {
        for domain in [None, Some("a.test"), Some("d.test"), Some("absent.test")] {
            for sender in [None, Some("p"), Some("s"), Some("absent")] {
                for times in [Times::All, Times::Held] {
                    let wanted = |key: &DueKey| {
                        domain.is_none_or(|name| name_hash(name) == key.queue.domain)
                            && sender.is_none_or(|name| name_hash(name) == key.queue.sender)
                            && (times == Times::All || key.is_held())
                    };
                    let expected: Vec<DueKey> = keys().into_iter().filter(wanted).collect();
                    let (taken, _) = walk(&Selection::new(domain, sender, times));
                    assert_eq!(taken, expected, "{domain:?} {sender:?} {times:?}");
                }
            }
        }
    }

    #[test]
    fn one_sender_costs_a_look_or_two_in_each_domain() {
        let (taken, looks) = walk(&Selection::new(None, Some("q"), Times::All));
        let domains = 4 * 5;
        assert_eq!(taken.len(), 2 * 4 * 4 + 2 * 4);
        assert!(looks <= taken.len() + 2 * domains, "{looks} looks");
    }
}
