//! Brings a store of an older format up to this one, in place, when it is opened.
//!
//! Format 1 keyed `due` by domain and time, and its records (version 1) knew no sender; format 2 has
//! the sender in key and record. Old and new keys differ in length and live side by side in the
//! family, so each batch replaces some old entries by new ones in one write, and a crash in between
//! leaves a store of format 1 with fewer old keys, which the next open goes on with. The format
//! record comes last, synced, and the log keeps the order.
//!
//! An entry whose record or envelope cannot be read stays under its old key: it could not be
//! delivered before either, recovery counts it as damaged, and the evidence is kept.

use super::error::{Doing, StoreError};
use super::open::Store;
use crate::message::MessageId;
use crate::queue::change::Family;
use crate::queue::key::{DueKey, DueKeyV1, id_key};
use crate::queue::record::{decode_due_v1, decode_envelope, encode_due};
use rocksdb::{ReadOptions, WriteBatch};

/// Entries and octets of one batch.
const BATCH_ENTRIES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was done to a store of an older format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgraded {
    pub from: u32,
    /// Entries that were rewritten at this open.
    pub entries: u64,
    /// Entries that cannot be read and were left as they are.
    pub damaged: u64,
}

/// How far one batch came.
struct Progress {
    last: Vec<u8>,
    rewritten: u64,
    damaged: u64,
}

impl Store {
    /// Rewrites all entries of format 1. The caller writes the format record afterwards.
    pub(super) fn upgrade_from_1(&self) -> Result<Upgraded, StoreError> {
        let mut done = Upgraded { from: 1, entries: 0, damaged: 0 };
        let mut after = None;
        while let Some(progress) = self.upgrade_some(after.as_deref())? {
            done.entries += progress.rewritten;
            done.damaged += progress.damaged;
            after = Some(progress.last);
        }
        Ok(done)
    }

    /// One batch of what follows `after`; `None` when nothing does.
    fn upgrade_some(&self, after: Option<&[u8]>) -> Result<Option<Progress>, StoreError> {
        let family = self.family(Family::Due);
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut due = self.db().raw_iterator_cf_opt(family, options);
        match after {
            // The smallest key greater than that one.
            Some(key) => due.seek([key, &[0]].concat()),
            None => due.seek_to_first(),
        }
        let (mut batch, mut progress) = (WriteBatch::default(), None);
        while batch.len() < 2 * BATCH_ENTRIES_MAX
            && batch.size_in_bytes() < BATCH_BYTES_MAX
            && let Some((key, record)) = due.item()
        {
            let progress =
                progress.get_or_insert(Progress { last: Vec::new(), rewritten: 0, damaged: 0 });
            progress.last = key.to_vec();
            if let Some(old) = DueKeyV1::decode(key) {
                match self.rewritten(old, record)? {
                    Some((new, record)) => {
                        batch.delete_cf(family, key);
                        batch.put_cf(family, new.encode(), record);
                        progress.rewritten += 1;
                    }
                    None => progress.damaged += 1,
                }
            }
            due.next();
        }
        let engine = |doing| move |error| StoreError::engine(doing, error);
        due.status().map_err(engine(Doing::Scan))?;
        self.db().write(batch).map_err(engine(Doing::Write))?;
        Ok(progress)
    }

    /// `None` for what cannot be read.
    fn rewritten(
        &self,
        old: DueKeyV1,
        record: &[u8],
    ) -> Result<Option<(DueKey, Vec<u8>)>, StoreError> {
        let Some(envelope) = self.envelope_record(old.id)? else { return Ok(None) };
        let Ok(envelope) = decode_envelope(old.id, &envelope) else { return Ok(None) };
        let Ok(due) = decode_due_v1(record, &envelope) else { return Ok(None) };
        let new = old.into_queue(&due.domain, &due.sender_id);
        Ok(Some((new, encode_due(&due))))
    }

    fn envelope_record(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        let record = self.db().get_cf(self.family(Family::Envelope), id_key(id));
        record.map_err(|error| StoreError::engine(Doing::Read, error))
    }
}
