//! How RocksDB is set up: every option that is not its default, with the reason.
//!
//! What the options serve: most messages live seconds, so a put whose delete follows before its
//! memtable is flushed should cost its bytes in the log and nothing more; an fsync of the log
//! should touch no metadata; memory and files are bounded whatever the backlog.
//!
//! Left at their defaults on purpose:
//! - atomic flush (off): every write goes through the log, so a crash between the flushes of two
//!   families is mended from the log, and families are flushed when each needs it;
//! - recovery mode (point in time): the only one in which log files are recycled and a torn tail,
//!   which no promise covers, does not keep the relay from starting;
//! - compression of the log (off): it would spend the processor, which is short, to save sequential
//!   writes, which are not.

use crate::queue::change::Family;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    Options,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What an operator decides about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whether an accepted message is fsynced before it is answered (`durability = "fsync"`).
    pub sync: bool,
    /// Octets of unflushed writes kept in memory, all families together. Longer than the usual life
    /// of a message times the rate of mail, and most mail never reaches a table.
    pub memtable_bytes: u64,
    /// Log files kept for reuse, so that an fsync does not also change the length of a file.
    pub wal_recycle: usize,
    /// Free octets of the file system below which no message is accepted. Must leave room for what
    /// is written between two looks (`commit_bytes_max`) and for a flush (`memtable_bytes`).
    pub free_bytes_min: u64,
    /// Octets that may wait for the committer.
    pub commit_bytes_max: u64,
}

/// Values this large are written once, to a blob file, and compactions move a pointer only.
const BLOB_BYTES_MIN: u64 = 32 * KIB;
/// A blob file is deleted when nothing in it is alive; smaller files die sooner.
const BLOB_FILE_BYTES: u64 = 64 * MIB;
/// Blocks, indexes and filters together: what is read twice is short, bodies are not.
const BLOCK_CACHE_BYTES: usize = 32 * MIB as usize;
/// Bits per key for about 1 % of false positives.
const BLOOM_BITS: f64 = 10.0;
const OPEN_FILES_MAX: i32 = 512;
const LOG_FILES: usize = 4;
const LOG_FILE_BYTES: usize = 4 * MIB as usize;

const REPUTATION: &str = "reputation";
const OUTBOX: &str = "outbox";
pub(super) const META: &str = "meta";
/// RocksDB always has it; nothing is stored there.
pub(super) const DEFAULT: &str = "default";

/// Whether a column family is one that this version makes.
pub(super) fn is_known(family: &str) -> bool {
    [DEFAULT, META, REPUTATION, OUTBOX].contains(&family)
        || Family::ALL.iter().any(|known| known.name() == family)
}

pub(super) fn database(options: &StoreOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);

    // The total over all families; a family is flushed when it is the largest and the total is
    // reached, or when its own share is full (see `family`).
    db.set_db_write_buffer_size(options.memtable_bytes as usize);
    // A family with little traffic holds on to old log files until it is flushed. Past this sum it
    // is. Without it the bound would be four times all memtables; it also bounds the replay at
    // start.
    db.set_max_total_wal_size(options.memtable_bytes.saturating_mul(2));
    db.set_recycle_log_file_num(options.wal_recycle);
    db.set_manual_wal_flush(false);

    // Flushes and compactions write their files back as they go: a burst of dirty pages would
    // otherwise stand before the log's fsync in the device queue.
    db.set_bytes_per_sync(MIB);
    db.set_max_background_jobs(2);
    db.set_max_open_files(OPEN_FILES_MAX);
    db.set_skip_stats_update_on_db_open(true);

    // RocksDB's own diary (`LOG`).
    db.set_keep_log_file_num(LOG_FILES);
    db.set_max_log_file_size(LOG_FILE_BYTES);
    db.set_stats_persist_period_sec(0);
    db
}

/// All families of this version, and those that `present` names besides: RocksDB opens all or none,
/// and what they are is judged after the format record is read.
pub(super) fn families(options: &StoreOptions, present: &[String]) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    // `meta` first: families are made one by one, and a database that has it is known to be ours.
    let small = family(options.memtable_bytes / 16, &cache);
    let mut all = vec![
        ColumnFamilyDescriptor::new(META, small.clone()),
        ColumnFamilyDescriptor::new(Family::Body.name(), body(options, &cache)),
        ColumnFamilyDescriptor::new(Family::Envelope.name(), envelope(options, &cache)),
        ColumnFamilyDescriptor::new(Family::Due.name(), family(options.memtable_bytes / 4, &cache)),
    ];
    for name in [REPUTATION, OUTBOX] {
        all.push(ColumnFamilyDescriptor::new(name, small.clone()));
    }
    for name in present.iter().filter(|name| !is_known(name)) {
        all.push(ColumnFamilyDescriptor::new(name, Options::default()));
    }
    all
}

fn body(options: &StoreOptions, cache: &Cache) -> Options {
    // Half, so that one memtable fills while the other is flushed within the total. A third before
    // writes stop: a slow flush in a burst costs half as much memory again, not the burst.
    let mut body = family(options.memtable_bytes / 2, cache);
    body.set_max_write_buffer_number(3);
    body.set_block_based_table_factory(&table(cache, BLOOM_BITS));
    body.set_enable_blob_files(true);
    body.set_min_blob_size(BLOB_BYTES_MIN);
    body.set_blob_file_size(BLOB_FILE_BYTES);
    body.set_blob_compression_type(DBCompressionType::Lz4);
    // Ids grow with time, so a blob file holds messages of one age and usually dies whole. What
    // survives in one that is half dead is moved, or a few stuck messages would hold gigabytes.
    body.set_enable_blob_gc(true);
    body.set_blob_gc_age_cutoff(0.5);
    body.set_blob_gc_force_threshold(0.5);
    body
}

fn envelope(options: &StoreOptions, cache: &Cache) -> Options {
    let mut envelope = family(options.memtable_bytes / 4, cache);
    envelope.set_block_based_table_factory(&table(cache, BLOOM_BITS));
    envelope
}

/// `due` needs no bloom filter: it is only ever scanned.
fn family(memtable_bytes: u64, cache: &Cache) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(memtable_bytes.max(MIB) as usize);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_block_based_table_factory(&table(cache, 0.0));
    family
}

fn table(cache: &Cache, bloom_bits: f64) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Inside the cache, so that they count against its bound and do not grow with the backlog.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pieces of a block's size: the index of a full table of `due` is a megabyte, more than fits
    // one of the cache's 64 parts, so that each page would read and unpack it anew.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_pin_top_level_index_and_filter(true);
    if bloom_bits > 0.0 {
        table.set_bloom_filter(bloom_bits, false);
        table.set_partition_filters(true);
    }
    table
}
