//! The scan at start: what waits, by domain and sender, and nothing more.
//!
//! Reads the keys of `due` once, in order, and tells what it finds in stretches, while mail already
//! flows: the first deliveries do not wait for the last key. It sees the store as it was when the
//! scan was made, whatever is written since. Envelopes and bodies stay where they are, so time goes
//! with the number of entries, and memory with that of queues. A shard's scan reads its own slots
//! only. A key that is not one is counted and left alone: it cannot be delivered, and deleting it
//! would destroy the evidence.

use super::error::{Doing, StoreError};
use super::open::Store;
use crate::message::MessageId;
use crate::queue::change::Family;
use crate::queue::key::{DueKey, ID_KEY_LEN, QueueKey, Slot};
use crate::queue::schedule::{Found, Known, Stretch};
use rocksdb::{DBRawIterator, ReadOptions};
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// Blocks are read in order and once.
const READAHEAD_BYTES: usize = 1024 * 1024;
/// Queues of a stretch: what a shard takes in at once, in about a millisecond.
const STRETCH_QUEUES_MAX: usize = 1024;

/// Keys that a stretch reads at most, so that a few queues of millions are no stretch of minutes.
const STRETCH_KEYS_MAX: usize = 65_536;

/// What a scan found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub entries: u64,
    /// Counted once for each slot.
    pub domains: u64,
    /// Keys of `due` that are not keys.
    pub damaged: u64,
}

/// A scan of the slots that `owns` names. What is not a key counts for the owner of the slot that
/// its first octet would name.
pub struct Scan<'a, O> {
    due: DBRawIterator<'a>,
    owns: O,
    totals: Totals,
    /// Read in part.
    open: Option<Found>,
    known: Known,
}

impl<O: Fn(Slot) -> bool> Scan<'_, O> {
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next stretch. The last one says that all is known.
    pub fn stretch(&mut self) -> Result<Stretch, StoreError> {
        let mut queues = Vec::with_capacity(STRETCH_QUEUES_MAX);
        for _ in 0..STRETCH_KEYS_MAX {
            let Some(key) = self.next_key() else {
                self.due.status().map_err(|error| StoreError::engine(Doing::Scan, error))?;
                queues.extend(self.open.take());
                return Ok(Stretch { queues, known: Known::All });
            };
            match &mut self.open {
                Some(found) if found.queue == key.queue => found.entries += 1,
                open => {
                    let domain = |queue: QueueKey| (queue.slot, queue.domain);
                    let known = open.is_some_and(|last| domain(last.queue) == domain(key.queue));
                    self.totals.domains += u64::from(!known);
                    let done = open.replace(Found { queue: key.queue, entries: 1, first: key.due });
                    queues.extend(done);
                    if queues.len() == STRETCH_QUEUES_MAX {
                        break;
                    }
                }
            }
        }
        if let Some(last) = queues.last() {
            self.known = Known::UpTo(last.queue);
        }
        Ok(Stretch { queues, known: self.known })
    }

    /// The next key that is ours and one.
    fn next_key(&mut self) -> Option<DueKey> {
        while let Some(key) = self.due.key() {
            let slot = key.first().copied().unwrap_or(0);
            if !(self.owns)(slot) {
                let next = (slot..=Slot::MAX).find(|&later| (self.owns)(later))?;
                self.due.seek([next]);
                continue;
            }
            let key = DueKey::decode(key);
            self.due.next();
            match key {
                Some(key) => {
                    self.totals.entries += 1;
                    return Some(key);
                }
                None => self.totals.damaged += 1,
            }
        }
        None
    }
}

impl Store {
    /// A scan of what is there now.
    pub fn scan<O: Fn(Slot) -> bool>(&self, owns: O) -> Scan<'_, O> {
        let mut options = scan_options();
        options.set_readahead_size(READAHEAD_BYTES);
        let mut due = self.db().raw_iterator_cf_opt(self.family(Family::Due), options);
        due.seek_to_first();
        Scan { due, owns, totals: Totals::default(), open: None, known: Known::Nothing }
    }

    /// Begins to count the messages in the queue, beside everything else: the number is for people
    /// and nothing waits for it. What is there when this returns is counted here; what comes and
    /// goes later, by the committer.
    pub fn count_messages(&self) -> io::Result<JoinHandle<()>> {
        let (store, (begun, begins)) = (self.clone(), mpsc::channel());
        let count = move || {
            let mut options = scan_options();
            options.set_readahead_size(READAHEAD_BYTES);
            // The iterator sees the store as it is now, whatever is written later.
            let mut envelopes =
                store.db().raw_iterator_cf_opt(store.family(Family::Envelope), options);
            envelopes.seek_to_first();
            // Only a caller that is gone does not hear it.
            let _ = begun.send(());
            let mut messages = 0;
            while let Some(key) = envelopes.key() {
                messages += i64::from(key.len() == ID_KEY_LEN);
                envelopes.next();
            }
            store.add_messages(messages);
        };
        let thread = thread::Builder::new().name("baton-count".into()).spawn(count)?;
        let _ = begins.recv();
        Ok(thread)
    }

    /// The newest id in the store, so that none is given twice.
    pub fn newest(&self) -> Result<Option<MessageId>, StoreError> {
        let options = scan_options();
        let mut envelopes = self.db().raw_iterator_cf_opt(self.family(Family::Envelope), options);
        envelopes.seek_to_last();
        // The count of groups that may follow an envelope has the same first octets.
        let newest = envelopes.key().and_then(|key| {
            let id = key.first_chunk::<ID_KEY_LEN>()?;
            Some(MessageId::from_u64(u64::from_be_bytes(*id)))
        });
        envelopes.status().map_err(|error| StoreError::engine(Doing::Scan, error))?;
        Ok(newest)
    }
}

fn scan_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    // A scan of everything would push out of the cache what is read again.
    options.fill_cache(false);
    options
}
