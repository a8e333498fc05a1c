//! [`Store`]: one RocksDB in `data_dir`, opened by one process.
//!
//! Decides whether the directory may be used at all: it exists or can be made, nobody else has it,
//! its file system keeps what is synced, its format is one we know. Every no is a [`StoreError`]
//! that says what to do. Afterwards it only lends the database to its neighbours. The lock is ours
//! (`flock` on `baton.lock`) and taken before RocksDB's own, so that "in use" is a fact and not
//! read out of an error text, and can name the process.

use super::error::{Doing, StoreError};
use super::options::{self, META, StoreOptions};
use super::upgrade::Upgraded;
use crate::queue::change::Family;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamily, DB, IteratorMode, Options, WriteOptions, properties};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The version of the layout: which families there are, how their keys are made. Records carry
/// versions of their own, so a new record version is not a new format.
pub(super) const FORMAT: u32 = 2;
/// `meta` key of the format record: four octets, big-endian.
pub(super) const FORMAT_KEY: &[u8] = b"format";

const LOCK_FILE: &str = "baton.lock";
/// RocksDB's pointer to its newest manifest: there is a database where there is one.
const CURRENT_FILE: &str = "CURRENT";

/// Magic numbers of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// The open store; clones share it. It closes with the last clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    db: DB,
    path: PathBuf,
    options: StoreOptions,
    /// What RocksDB left out when it read its log back, in its words.
    gaps: Vec<Box<str>>,
    upgraded: Option<Upgraded>,
    /// Messages in the queue; complete once `count_messages` has ended.
    messages: AtomicI64,
    /// Declared last, so that it is released after RocksDB has closed.
    _lock: File,
}

/// RocksDB's state for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    pub memtable_bytes: u64,
    /// Tables and blob files that are in use.
    pub table_bytes: u64,
    pub blob_bytes: u64,
    pub block_cache_bytes: u64,
    /// Log files, those kept for reuse included.
    pub wal_files: u64,
    /// Failed flushes and compactions since the start.
    pub background_errors: u64,
    /// RocksDB holds writes back until a flush or compaction catches up.
    pub write_stopped: bool,
}

impl Store {
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Store, StoreError> {
        prepare(path)?;
        let lock = lock(path)?;
        if options.sync {
            check_syncs(path)?;
        }
        let database = options::database(options);
        let present = families_present(path, &database)?;
        let families = options::families(options, &present);
        let db = DB::open_cf_descriptors(&database, path, families)
            .map_err(|error| StoreError::engine(Doing::Open, error))?;
        let inner = Inner {
            db,
            path: path.to_path_buf(),
            options: options.clone(),
            gaps: gaps(path),
            upgraded: None,
            messages: AtomicI64::new(0),
            _lock: lock,
        };
        let mut store = Store(Arc::new(inner));
        let upgraded = store.check_format(&present)?;
        Arc::get_mut(&mut store.0).expect("nobody else has it yet").upgraded = upgraded;
        Ok(store)
    }

    /// What this open did to a store of an older format.
    pub fn upgraded(&self) -> Option<&Upgraded> {
        self.0.upgraded.as_ref()
    }

    /// Places where RocksDB stopped reading its log at this open, but for a log that is merely cut
    /// short. A torn end after a power failure is one, and holds nothing that was promised; a disk that damaged the log makes one too, and
    /// then everything accepted after it is gone.
    pub fn gaps(&self) -> &[Box<str>] {
        &self.0.gaps
    }

    /// Messages in the queue, each counted once however many entries it has.
    pub fn messages(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed).max(0) as u64
    }

    pub(super) fn add_messages(&self, more: i64) {
        self.0.messages.fetch_add(more, Ordering::Relaxed);
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// A copy of the store as it is now: tables are hard links, so it costs little while `into` is
    /// on the same file system. `into` must not exist; its parent must.
    pub fn backup(&self, into: &Path) -> Result<(), StoreError> {
        Checkpoint::new(self.db())
            .and_then(|checkpoint| checkpoint.create_checkpoint(into))
            .map_err(|error| StoreError::engine(Doing::Backup, error))
    }

    /// Cheap enough for every scrape. A figure that RocksDB does not give is 0.
    pub fn figures(&self) -> StoreFigures {
        let families = Family::ALL.map(|family| self.family(family));
        let sum = |name: &properties::PropName| -> u64 {
            let of = |family: &&ColumnFamily| self.db().property_int_value_cf(family, name);
            families.iter().filter_map(|family| of(family).ok().flatten()).sum()
        };
        let one = |name: &properties::PropName| {
            self.db().property_int_value(name).ok().flatten().unwrap_or(0)
        };
        let blob = self.db().property_int_value_cf(families[0], "rocksdb.live-blob-file-size");
        StoreFigures {
            memtable_bytes: sum(properties::SIZE_ALL_MEM_TABLES),
            table_bytes: sum(properties::LIVE_SST_FILES_SIZE),
            blob_bytes: blob.ok().flatten().unwrap_or(0),
            block_cache_bytes: self
                .db()
                .property_int_value_cf(families[0], properties::BLOCK_CACHE_USAGE)
                .ok()
                .flatten()
                .unwrap_or(0),
            wal_files: self.wal_files(),
            background_errors: one(properties::BACKGROUND_ERRORS),
            write_stopped: one(properties::IS_WRITE_STOPPED) != 0,
        }
    }

    fn wal_files(&self) -> u64 {
        let Ok(files) = fs::read_dir(self.path()) else { return 0 };
        let is_log = |file: &fs::DirEntry| file.path().extension().is_some_and(|end| end == "log");
        files.flatten().filter(is_log).count() as u64
    }

    pub(super) fn db(&self) -> &DB {
        &self.0.db
    }

    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        self.db().cf_handle(family.name()).expect("every family is opened")
    }

    /// `present` are the families that were there before this open.
    fn check_format(&self, present: &[String]) -> Result<Option<Upgraded>, StoreError> {
        let path = || self.path().to_path_buf();
        let found = self.format()?;
        if let Some(found) = found.filter(|found| *found > FORMAT) {
            return Err(StoreError::FormatNewer { path: path(), found, known: FORMAT });
        }
        // Before anything is written: what is not ours stays as it is.
        if let Some(family) = present.iter().find(|family| !options::is_known(family)) {
            return Err(StoreError::Foreign { path: path(), family: family.clone() });
        }
        match found {
            Some(FORMAT) => Ok(None),
            Some(1) => {
                let upgraded = self.upgrade_from_1()?;
                self.write_format()?;
                Ok(Some(upgraded))
            }
            // The first start, or one that a crash cut off before the record was written.
            None if self.has_no_mail() => self.write_format().map(|()| None),
            Some(_) | None => Err(StoreError::FormatDamaged { path: path() }),
        }
    }

    /// The format that the store says it has; `None` when it says nothing.
    fn format(&self) -> Result<Option<u32>, StoreError> {
        let meta = self.db().cf_handle(META).expect("every family is opened");
        let record = self.db().get_cf(meta, FORMAT_KEY);
        let record = record.map_err(|error| StoreError::engine(Doing::Open, error))?;
        let number = |bytes: Vec<u8>| match bytes.try_into() {
            Ok(bytes) => Ok(u32::from_be_bytes(bytes)),
            Err(_) => Err(StoreError::FormatDamaged { path: self.path().to_path_buf() }),
        };
        record.map(number).transpose()
    }

    fn write_format(&self) -> Result<(), StoreError> {
        let meta = self.db().cf_handle(META).expect("every family is opened");
        let mut write = WriteOptions::default();
        write.set_sync(true);
        let written = self.db().put_cf_opt(meta, FORMAT_KEY, FORMAT.to_be_bytes(), &write);
        written.map_err(|error| StoreError::engine(Doing::Open, error))
    }

    fn has_no_mail(&self) -> bool {
        let first = |family| self.db().iterator_cf(self.family(family), IteratorMode::Start).next();
        Family::ALL.into_iter().all(|family| first(family).is_none())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.path().display())
    }
}

/// Makes the directory when it is not there. Only its owner may read it: it holds other people's
/// mail.
pub fn prepare(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let new = path.ancestors().take_while(|one| !one.as_os_str().is_empty() && !one.exists());
    let new: Vec<&Path> = new.collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StoreError::io(Doing::Prepare, path, error))?;
    // RocksDB syncs what is in the directory; that the directory itself outlives a power failure
    // is for us to see to.
    for one in new {
        let parent = one.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(|error| StoreError::io(Doing::Prepare, parent, error))?;
    }
    Ok(())
}

/// The column families of the database in `path`; none when there is no database.
///
/// Opening adds the families that are missing, and the program whose database it is could no longer
/// open it. So a database without our `meta` is ours only if it is as empty as a first start leaves
/// it that was cut off.
fn families_present(path: &Path, database: &Options) -> Result<Vec<String>, StoreError> {
    if !path.join(CURRENT_FILE).exists() {
        return Ok(Vec::new());
    }
    let engine = |error| StoreError::engine(Doing::Open, error);
    let present = DB::list_cf(database, path).map_err(engine)?;
    if present.iter().any(|family| family == META) {
        return Ok(present);
    }
    let foreign = |family: &str| StoreError::Foreign { path: path.into(), family: family.into() };
    if let Some(family) = present.iter().find(|family| !options::is_known(family)) {
        return Err(foreign(family));
    }
    let as_it_is = DB::open_for_read_only(&Options::default(), path, false).map_err(engine)?;
    match as_it_is.iterator(IteratorMode::Start).next() {
        None => Ok(present),
        Some(_) => Err(foreign(options::DEFAULT)),
    }
}

/// Point-in-time recovery stops at the first record that it cannot read, opens, and says so in its
/// diary only, which is new at every open.
fn gaps(path: &Path) -> Vec<Box<str>> {
    let diary = fs::read(path.join("LOG")).unwrap_or_default();
    let diary = String::from_utf8_lossy(&diary);
    let dropped = |line: &&str| line.contains(": dropping ") && line.contains(" bytes;");
    // A log that simply ends in the middle of a record is what a killed process leaves: the record
    // was not complete, so nobody was promised anything.
    let torn = |line: &&str| {
        ["encountering EOF", "truncated record body", "truncated header"]
            .iter()
            .any(|words| line.contains(words))
    };
    diary.lines().filter(|line| dropped(line) && !torn(line)).map(Into::into).collect()
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let name = path.join(LOCK_FILE);
    let io = |error| StoreError::io(Doing::Prepare, path, error);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let mut file = opened.map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&name).ok();
            let by = holder.and_then(|text| text.trim().parse().ok());
            return Err(StoreError::Locked { path: path.to_path_buf(), by });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    file.set_len(0).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

/// Refuses what keeps files in memory. Overlays are let through: they sync when the layer below
/// does.
fn check_syncs(path: &Path) -> Result<(), StoreError> {
    let status = rustix::fs::statfs(path);
    let status = status.map_err(|error| StoreError::io(Doing::Prepare, path, error.into()))?;
    // The kernel's field is signed and as wide as a word; the magic numbers have 32 bits.
    let file_system = match status.f_type as u64 & 0xffff_ffff {
        TMPFS => "tmpfs",
        RAMFS => "ramfs",
        _ => return Ok(()),
    };
    Err(StoreError::DoesNotSync { path: path.to_path_buf(), file_system })
}
