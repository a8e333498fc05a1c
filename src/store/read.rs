//! Reads: pages of a domain queue, whole messages, and lists for `baton queue`.
//!
//! Every function here blocks on the disk and may be called from any thread; a shard calls them on
//! a thread that may wait. A read sees all commits that were answered before it began. Bytes from
//! disk are trusted by nobody: what does not decode is a `LoadError` or an item that says so, never
//! a panic. Nothing here writes.

use super::open::Store;
use crate::message::{BODY_VERSION, Body, Envelope, MessageId};
use crate::queue::change::{DuePut, Family};
use crate::queue::key::{DomainKey, DueKey, ID_KEY_LEN, Slot, id_key};
use crate::queue::record::{BadRecord, Due, decode_due, decode_envelope};
use crate::shard::world::{LoadError, Page};
use crate::time::Stamp;
use rocksdb::{DBRawIterator, PrefixRange, ReadOptions};
use std::collections::BTreeSet;

/// An entry as a list shows it; a damaged one is shown too.
pub type ListedDue = (DueKey, Result<Due, BadRecord>);

/// An envelope as a list shows it; a damaged one is shown too.
pub type ListedEnvelope = (MessageId, Result<Envelope, BadRecord>);

impl Store {
    /// See [`crate::shard::world::World::page`].
    ///
    /// # Panics
    /// When `after` is of another domain.
    pub fn page(
        &self,
        domain: DomainKey,
        after: DueKey,
        until: Stamp,
        limit: usize,
    ) -> Result<Page, LoadError> {
        assert_eq!(after.domain, domain, "a page goes on within its domain");
        let mut page = Page::default();
        let mut due = self.due_range(domain, &successor(after));
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

    /// Up to `limit` entries after `after` (exclusive), in the order of their keys, of all slots.
    pub fn list(&self, after: Option<DueKey>, limit: usize) -> Result<Vec<ListedDue>, LoadError> {
        let mut due = self.db().raw_iterator_cf(self.family(Family::Due));
        match after {
            Some(key) => due.seek(successor(key)),
            None => due.seek_to_first(),
        }
        let mut found = Vec::new();
        collect(&mut due, limit, |_, _| true, &mut found)?;
        Ok(found)
    }

    /// Up to `limit` entries of `domain` (lower case) after `after` (exclusive): by slot, then by
    /// time.
    pub fn list_domain(
        &self,
        domain: &str,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<Vec<ListedDue>, LoadError> {
        let mut found = Vec::new();
        let first = after.map_or(0, |key| key.domain.slot);
        for slot in first..=Slot::MAX {
            let here = DomainKey::new(slot, domain);
            let from = match after {
                Some(key) if key.domain == here => successor(key),
                Some(_) | None => DueKey::first(here, Stamp::default()).encode().to_vec(),
            };
            // Another domain of the same hash shares the range; its name tells it apart.
            let ours = |_: &DueKey, due: &Result<Due, BadRecord>| {
                due.as_ref().map_or(true, |due| &*due.domain == domain)
            };
            collect(&mut self.due_range(here, &from), limit, ours, &mut found)?;
        }
        Ok(found)
    }

    /// The entries of one message. Searches the queues of its recipients' domains, which are sorted
    /// by time and not by id: for a person who asks, not for the hot path.
    pub fn due_of(&self, envelope: &Envelope) -> Result<Vec<ListedDue>, LoadError> {
        let recipients = envelope.recipients.iter();
        let domains: BTreeSet<DomainKey> = recipients
            .map(|one| DomainKey::new(envelope.id.slot(), &one.address.domain_key()))
            .collect();
        let mut found = Vec::new();
        for domain in domains {
            let first = DueKey::first(domain, Stamp::default()).encode();
            let ours = |key: &DueKey, _: &Result<Due, BadRecord>| key.id == envelope.id;
            collect(&mut self.due_range(domain, &first), usize::MAX, ours, &mut found)?;
        }
        Ok(found)
    }

    fn get(&self, family: Family, id: MessageId) -> Result<Option<Vec<u8>>, LoadError> {
        self.db().get_cf(self.family(family), id_key(id)).map_err(disk)
    }

    /// The entries of one domain from `from` on. The bounds keep RocksDB from reading on into the
    /// next domain past the traces of finished entries.
    fn due_range(&self, domain: DomainKey, from: &[u8]) -> DBRawIterator<'_> {
        const DOMAIN_LEN: usize = 1 + 8;
        let prefix = &DueKey::first(domain, Stamp::default()).encode()[..DOMAIN_LEN];
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

/// Takes from `due` what `wanted` wants, until `found` holds `limit`.
fn collect(
    due: &mut DBRawIterator<'_>,
    limit: usize,
    wanted: impl Fn(&DueKey, &Result<Due, BadRecord>) -> bool,
    found: &mut Vec<ListedDue>,
) -> Result<(), LoadError> {
    while found.len() < limit
        && let Some((key, record)) = due.item()
    {
        if let Some(key) = DueKey::decode(key) {
            let record = decode_due(record);
            if wanted(&key, &record) {
                found.push((key, record));
            }
        }
        due.next();
    }
    due.status().map_err(disk)
}

fn disk(error: rocksdb::Error) -> LoadError {
    LoadError::Disk(error.into_string().into())
}
