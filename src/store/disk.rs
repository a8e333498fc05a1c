//! What the committer does to the disk: write a batch, sync the log, look how much is free.
//!
//! [`Disk`] is the seam between the committer's rules (grouping, budgets, poisoning), which are
//! tested with a disk that fails on demand, and RocksDB. [`RocksDisk`] turns commits into one
//! `WriteBatch`, with the same translation that the simulator's disk runs (`queue::change`).
//! Nothing here retries: after a failed fsync the kernel may have dropped the pages, so a second
//! one that succeeds proves nothing.

use super::error::{Doing, StoreError};
use super::open::Store;
use crate::queue::change::{Family, Translator, Write};
use crate::queue::commit::Commit;
use rocksdb::{ColumnFamily, WriteBatch, WriteOptions};

/// Whether a write waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogSync {
    Now,
    Later,
}

/// Where batches go. Any error is final: the caller never asks again.
pub(super) trait Disk: Send + 'static {
    /// Makes all of `commits` one write, in their order.
    fn write(&mut self, commits: &[&Commit], bytes: usize, sync: LogSync)
    -> Result<(), StoreError>;

    /// Syncs what was written with [`LogSync::Later`].
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Octets free for us on the file system; 0 when it cannot tell, because one that cannot is
    /// not one to accept mail on.
    fn free_bytes(&self) -> u64;
}

pub(super) struct RocksDisk(pub Store);

/// Handles of the queue's families, looked up once per batch.
struct Families<'a> {
    body: &'a ColumnFamily,
    envelope: &'a ColumnFamily,
    due: &'a ColumnFamily,
}

impl<'a> Families<'a> {
    fn of(store: &'a Store) -> Self {
        Families {
            body: store.family(Family::Body),
            envelope: store.family(Family::Envelope),
            due: store.family(Family::Due),
        }
    }

    fn get(&self, family: Family) -> &'a ColumnFamily {
        match family {
            Family::Body => self.body,
            Family::Envelope => self.envelope,
            Family::Due => self.due,
        }
    }
}

impl Disk for RocksDisk {
    fn write(
        &mut self,
        commits: &[&Commit],
        bytes: usize,
        sync: LogSync,
    ) -> Result<(), StoreError> {
        let families = Families::of(&self.0);
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        let mut translator = Translator::default();
        let mut read = |family, key: &[u8]| {
            let value = self.0.db().get_cf(families.get(family), key);
            value.map_err(|error| StoreError::engine(Doing::Read, error))
        };
        let mut write = |write: Write<'_>| match write {
            Write::Put { family, key, value } => batch.put_cf(families.get(family), key, value),
            Write::Delete { family, key } => batch.delete_cf(families.get(family), key),
        };
        for change in commits.iter().flat_map(|commit| commit.changes()) {
            translator.translate(change, &mut read, &mut write)?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync == LogSync::Now);
        let written = self.0.db().write_opt(batch, &options);
        written.map_err(|error| StoreError::engine(Doing::Write, error))?;
        self.0.add_messages(translator.messages());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.0.db().flush_wal(true);
        synced.map_err(|error| StoreError::engine(Doing::Sync, error))
    }

    fn free_bytes(&self) -> u64 {
        let status = rustix::fs::statvfs(self.0.path());
        // `f_bavail`, not `f_bfree`: blocks reserved for root are not ours.
        status.map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize))
    }
}
