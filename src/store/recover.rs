//! The scan at start: what waits, by domain and sender, and nothing more.
//!
//! Reads the keys of `due` once, in order, and feeds them to a `Schedule`; envelopes and bodies
//! stay where they are, so time goes with the number of entries and memory with that of queues, not with
//! the mail. A shard scans its own slots only, so shards recover side by side. A key that is not one is
//! counted and left alone: it cannot be delivered, and deleting it would destroy the evidence.

use super::error::{Doing, StoreError};
use super::open::Store;
use crate::message::MessageId;
use crate::queue::change::Family;
use crate::queue::key::{DueKey, ID_KEY_LEN, Slot};
use crate::queue::schedule::Schedule;
use rocksdb::ReadOptions;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// Blocks are read in order and once.
const READAHEAD_BYTES: usize = 1024 * 1024;

/// What a shard begins with.
#[derive(Debug)]
pub struct Recovered {
    pub schedule: Schedule,
    /// The newest id in the store, of all slots, so that no id is given twice.
    pub newest: Option<MessageId>,
    pub entries: u64,
    /// Counted once for each slot.
    pub domains: usize,
    /// Keys of `due` that are not keys.
    pub damaged: u64,
}

impl Store {
    /// Scans the entries of the slots that `owns` names. What is not a key counts for the owner of
    /// the slot that its first octet would name.
    pub fn recover(&self, owns: impl Fn(Slot) -> bool) -> Result<Recovered, StoreError> {
        let mut schedule = Schedule::default();
        let (mut damaged, mut domains, mut last) = (0, 0, None);
        let mut options = scan_options();
        options.set_readahead_size(READAHEAD_BYTES);
        let mut due = self.db().raw_iterator_cf_opt(self.family(Family::Due), options);
        due.seek_to_first();
        while let Some(key) = due.key() {
            let slot = key.first().copied().unwrap_or(0);
            if !owns(slot) {
                match (slot..=Slot::MAX).find(|&later| owns(later)) {
                    Some(next) => due.seek([next]),
                    None => break,
                }
                continue;
            }
            match DueKey::decode(key) {
                Some(key) => {
                    // In the order of the keys, so a domain's queues stand together.
                    let domain = Some((key.queue.slot, key.queue.domain));
                    domains += usize::from(domain != last);
                    last = domain;
                    schedule.waits(key);
                }
                None => damaged += 1,
            }
            due.next();
        }
        due.status().map_err(|error| StoreError::engine(Doing::Scan, error))?;
        let entries = schedule.entries();
        Ok(Recovered { schedule, newest: self.newest()?, entries, domains, damaged })
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

    fn newest(&self) -> Result<Option<MessageId>, StoreError> {
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
