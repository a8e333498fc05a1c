//! Reads: pages of a queue, whole messages, and lists for `baton queue`.
//!
//! Every function here blocks on the disk and may be called from any thread; a shard calls them on
//! a thread that may wait. A read sees all commits that were answered before it began. Bytes from
//! disk are trusted by nobody: what does not decode is a `LoadError` or an item that says so, never
//! a panic. Nothing here writes.

use super::open::Store;
use super::select::{Selection, Step};
use crate::message::{BODY_VERSION, Body, Envelope, MessageId};
use crate::queue::change::{DuePut, Family};
use crate::queue::key::{DueKey, ID_KEY_LEN, QUEUE_KEY_LEN, QueueKey, id_key};
use crate::queue::record::{BadRecord, Due, decode_due, decode_envelope};
use crate::shard::world::{Asked, LoadError, Page};
use crate::time::Stamp;
use rocksdb::{DBRawIterator, PrefixRange, ReadOptions};
use std::collections::BTreeSet;

/// An entry as a list shows it; a damaged one is shown too.
pub type ListedDue = (DueKey, Result<Due, BadRecord>);

/// An envelope as a list shows it; a damaged one is shown too.
pub type ListedEnvelope = (MessageId, Result<Envelope, BadRecord>);

impl Store {
    /// A page of the queue, in the order of the keys.
    ///
    /// # Panics
    /// When `after` is of another queue.
    pub fn page(&self, Asked { after, until, limit }: Asked) -> Result<Page, LoadError> {
        let queue = after.queue;
        let mut page = Page::default();
        let mut due = self.due_range(queue, &successor(after));
        while let Some((key, record)) = due.item() {
            // What is no key was counted by recovery and is left alone.
            if let Some(key) = DueKey::decode(key) {
                if key.due > until || page.entries.len() == limit {
                    page.next = Some(key.due);
                    break;
                }
                page.entries.push(DuePut { key, record: record.to_vec() });
            }
            due.next();
        }
        due.status().map_err(disk)?;
        Ok(page)
    }

    /// A message whole; `None` when it is not, or no longer, in the queue.
    pub fn load(&self, id: MessageId) -> Result<Option<(Envelope, Body)>, LoadError> {
        // Body first: both go in one write, so a message that ends between the two reads lacks its
        // envelope, and an envelope without a body is damage.
        let body = self.get(Family::Body, id)?;
        let Some(envelope) = self.envelope(id)? else { return Ok(None) };
        let bad = |what| LoadError::Record(BadRecord { family: "body", at: 0, what });
        let record = body.ok_or_else(|| bad("missing, its envelope is there"))?;
        match record.first() {
            Some(&BODY_VERSION) => Ok(Some((envelope, Body::from_record(record)))),
            Some(_) => Err(bad("unknown version (written by a newer baton?)")),
            None => Err(bad("empty")),
        }
    }

    pub fn envelope(&self, id: MessageId) -> Result<Option<Envelope>, LoadError> {
        let record = self.get(Family::Envelope, id)?;
        let envelope = record.map(|record| decode_envelope(id, &record)).transpose();
        envelope.map_err(LoadError::Record)
    }

    /// Up to `limit` envelopes from `from` on (inclusive), oldest first.
    pub fn envelopes(
        &self,
        from: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<ListedEnvelope>, LoadError> {
        let mut found = Vec::new();
        let mut envelopes = self.db().raw_iterator_cf(self.family(Family::Envelope));
        envelopes.seek(id_key(from.unwrap_or(MessageId::from_u64(0))));
        while found.len() < limit
            && let Some((key, record)) = envelopes.item()
        {
            // Longer keys are the counts of groups.
            if let Ok(key) = <[u8; ID_KEY_LEN]>::try_from(key) {
                let id = MessageId::from_u64(u64::from_be_bytes(key));
                found.push((id, decode_envelope(id, record)));
            }
            envelopes.next();
        }
        envelopes.status().map_err(disk)?;
        Ok(found)
    }

    /// Up to `limit` of the entries that `selection` wants after `after` (exclusive), in the order
    /// of their keys. Goes from queue to queue and reads nothing of those that are not wanted.
    pub fn list(
        &self,
        selection: &Selection<'_>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<Vec<ListedDue>, LoadError> {
        let mut found = Vec::new();
        let mut due = self.db().raw_iterator_cf(self.family(Family::Due));
        match after {
            Some(key) => due.seek(successor(key)),
            None => due.seek_to_first(),
        }
        while found.len() < limit
            && let Some((key, record)) = due.item()
        {
            match DueKey::decode(key).map(|key| (key, selection.step(&key))) {
                Some((_, Step::Seek(there))) => due.seek(there.encode()),
                Some((_, Step::End)) => break,
                Some((key, Step::Take)) => {
                    let record = decode_due(record);
                    if selection.names(&record) {
                        found.push((key, record));
                    }
                    due.next();
                }
                None => due.next(),
            }
        }
        due.status().map_err(disk)?;
        Ok(found)
    }

    /// The entries of one message. Searches the queues of its sender in its recipients' domains,
    /// which are sorted by time and not by id: for a person who asks, not for the hot path.
    pub fn due_of(&self, envelope: &Envelope) -> Result<Vec<ListedDue>, LoadError> {
        let (slot, sender) = (envelope.id.slot(), envelope.sender_id.as_str());
        let recipients = envelope.recipients.iter();
        let queues: BTreeSet<QueueKey> =
            recipients.map(|one| QueueKey::new(slot, &one.address.domain_key(), sender)).collect();
        let mut found = Vec::new();
        for queue in queues {
            let mut due = self.due_range(queue, &DueKey::first(queue, Stamp::default()).encode());
            while let Some((key, record)) = due.item() {
                if let Some(key) = DueKey::decode(key).filter(|key| key.id == envelope.id) {
                    found.push((key, decode_due(record)));
                }
                due.next();
            }
            due.status().map_err(disk)?;
        }
        Ok(found)
    }

    fn get(&self, family: Family, id: MessageId) -> Result<Option<Vec<u8>>, LoadError> {
        self.db().get_cf(self.family(family), id_key(id)).map_err(disk)
    }

    /// The entries of one queue from `from` on. The bounds keep RocksDB from reading on into the
    /// next queue past the traces of finished entries.
    fn due_range(&self, queue: QueueKey, from: &[u8]) -> DBRawIterator<'_> {
        let prefix = &DueKey::first(queue, Stamp::default()).encode()[..QUEUE_KEY_LEN];
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(prefix));
        options.set_iterate_lower_bound(from);
        let mut due = self.db().raw_iterator_cf_opt(self.family(Family::Due), options);
        due.seek_to_first();
        due
    }
}

/// The smallest key greater than `key`.
fn successor(key: DueKey) -> Vec<u8> {
    let mut next = key.encode().to_vec();
    next.push(0);
    next
}

fn disk(error: rocksdb::Error) -> LoadError {
    LoadError::Disk(error.into_string().into())
}
