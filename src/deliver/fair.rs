//! Who is next: deficit round robin over the senders of a lane.
//!
//! Every sender with something ready has a turn in which it may spend a quantum of octets; what it
//! does not spend it keeps, as long as it has something ready. So 500,000 newsletters of one
//! customer delay another's password reset by a few deliveries, whatever their sizes
//! (M. Shreedhar, G. Varghese: Efficient Fair Queueing using Deficit Round Robin, 1995).
//!
//! Decides order only; how much may wait here is `lane.rs`.

use super::ready::Ready;
use std::collections::{BTreeMap, VecDeque};

/// What a sender may spend in one turn.
const QUANTUM: u32 = 16 * 1024;
/// A transaction costs about as much as this many octets, however small its message.
const COST_MIN: u32 = 4 * 1024;
/// The largest message counts for so many turns: more would have everybody's turns looked through
/// hundreds of times for one message.
const COST_MAX: u32 = 16 * QUANTUM;

/// The ready entries of a lane, by sender.
#[derive(Debug, Default)]
pub struct FairList {
    /// Ordered, so that what is done to all of them is done in the same order each time.
    senders: BTreeMap<u64, Turn>,
    /// Those with something ready, each once; the first has its turn.
    rotation: VecDeque<u64>,
    entries: usize,
}

#[derive(Debug)]
struct Turn {
    ready: VecDeque<Ready>,
    /// Octets that may still be spent.
    deficit: u32,
}

impl FairList {
    pub fn len(&self) -> usize {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Entries of one sender.
    pub fn len_of(&self, sender: u64) -> usize {
        self.senders.get(&sender).map_or(0, |turn| turn.ready.len())
    }

    /// Adds an entry behind the others of its sender.
    pub fn push(&mut self, entry: Ready) {
        let sender = entry.key.queue.sender;
        let rotation = &mut self.rotation;
        let turn = self.senders.entry(sender).or_insert_with(|| {
            rotation.push_back(sender);
            Turn { ready: VecDeque::new(), deficit: QUANTUM }
        });
        turn.ready.push_back(entry);
        self.entries += 1;
    }

    /// Puts back an entry that [`FairList::take`] gave and that nothing was done with: it is the next.
    pub fn push_first(&mut self, entry: Ready) {
        let (sender, spent) = (entry.key.queue.sender, cost(&entry));
        match self.senders.get_mut(&sender) {
            Some(turn) => {
                turn.ready.push_front(entry);
                turn.deficit = turn.deficit.saturating_add(spent);
                self.rotation.retain(|other| *other != sender);
            }
            None => {
                let turn = Turn { ready: VecDeque::from([entry]), deficit: spent };
                self.senders.insert(sender, turn);
            }
        }
        self.rotation.push_front(sender);
        self.entries += 1;
    }

    /// The entry whose turn it is.
    pub fn take(&mut self) -> Option<Ready> {
        loop {
            let sender = *self.rotation.front()?;
            let turn = self.senders.get_mut(&sender).expect("who is in the rotation has a turn");
            let next = turn.ready.front().expect("who has a turn has something ready");
            let Some(left) = turn.deficit.checked_sub(cost(next)) else {
                turn.deficit += QUANTUM;
                self.rotation.rotate_left(1);
                continue;
            };
            turn.deficit = left;
            let entry = turn.ready.pop_front();
            if turn.ready.is_empty() {
                self.senders.remove(&sender);
                self.rotation.pop_front();
            }
            self.entries -= 1;
            return entry;
        }
    }

    /// Takes out every entry that `matches`, in no particular order.
    pub fn withdraw(&mut self, mut matches: impl FnMut(&Ready) -> bool) -> Vec<Ready> {
        let mut withdrawn = Vec::new();
        for turn in self.senders.values_mut() {
            let (out, stay) =
                std::mem::take(&mut turn.ready).into_iter().partition(|entry| matches(entry));
            turn.ready = stay;
            withdrawn.extend::<VecDeque<Ready>>(out);
        }
        self.senders.retain(|_, turn| !turn.ready.is_empty());
        let senders = &self.senders;
        self.rotation.retain(|sender| senders.contains_key(sender));
        self.entries -= withdrawn.len();
        withdrawn
    }
}

fn cost(entry: &Ready) -> u32 {
    entry.due.size.clamp(COST_MIN, COST_MAX)
}
