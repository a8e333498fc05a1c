//! What can be wrong with the store, in words an operator can act on.
//!
//! One enum for opening, writing and backing up; each text says what to do about it. What goes
//! wrong while a single record is read back is a [`crate::shard::world::LoadError`] instead:
//! that concerns one message, these concern the relay.
//! Nothing here is sent to a peer; peers get a `CommitError`'s reply.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub enum StoreError {
    NotADirectory {
        path: PathBuf,
    },
    Permission {
        path: PathBuf,
    },
    /// `by` is the process id that the holder wrote down; `None` when it cannot be read.
    Locked {
        path: PathBuf,
        by: Option<u32>,
    },
    /// A file system that keeps nothing on a disk, so that no fsync on it means anything.
    DoesNotSync {
        path: PathBuf,
        file_system: &'static str,
    },
    /// Written by a newer baton.
    FormatNewer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// A RocksDB directory that is not ours: it has this column family.
    Foreign {
        path: PathBuf,
        family: String,
    },
    /// There are messages but no format record, or one that cannot be read.
    FormatDamaged {
        path: PathBuf,
    },
    /// RocksDB found bytes that it did not write. `words` are its own.
    Damaged {
        doing: Doing,
        words: Box<str>,
    },
    /// RocksDB refused or failed. `words` are its own.
    Engine {
        doing: Doing,
        words: Box<str>,
    },
    /// The operating system refused or failed.
    Io {
        doing: Doing,
        path: PathBuf,
        source: io::Error,
    },
    /// The committer's thread could not be started.
    Thread {
        source: io::Error,
    },
}

/// What the store was at when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Prepare,
    Open,
    Read,
    Scan,
    Write,
    Sync,
    Backup,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Prepare => "preparing the directory",
            Doing::Open => "opening",
            Doing::Read => "reading",
            Doing::Scan => "scanning at start",
            Doing::Write => "writing",
            Doing::Sync => "syncing the log",
            Doing::Backup => "backing up",
        })
    }
}

impl StoreError {
    pub(super) fn engine(doing: Doing, error: rocksdb::Error) -> Self {
        let kind = error.kind();
        let words = error.into_string().into();
        match kind {
            rocksdb::ErrorKind::Corruption => StoreError::Damaged { doing, words },
            _ => StoreError::Engine { doing, words },
        }
    }

    pub(super) fn io(doing: Doing, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::Permission { path }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                StoreError::NotADirectory { path }
            }
            _ => StoreError::Io { doing, path, source },
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotADirectory { path } => {
                write!(f, "data_dir {}: not a directory; name another path", path.display())
            }
            StoreError::Permission { path } => {
                let path = path.display();
                write!(f, "data_dir {path}: no permission to write; give it to the user of baton")
            }
            StoreError::Locked { path, by } => {
                write!(f, "data_dir {}: in use by another baton", path.display())?;
                if let Some(process) = by {
                    write!(f, " (process {process})")?;
                }
                f.write_str("; stop that one, or give this one a data_dir of its own")
            }
            StoreError::DoesNotSync { path, file_system } => write!(
                f,
                "data_dir {}: {file_system} is memory and loses everything with the power; \
                 choose a data_dir on a disk, or set durability = \"os\" if mail may be lost",
                path.display()
            ),
            StoreError::FormatNewer { path, found, known } => write!(
                f,
                "data_dir {}: format {found} was written by a newer baton, this one knows up to \
                 {known}; start the newer one (going back needs an empty queue and a new data_dir)",
                path.display()
            ),
            StoreError::Foreign { path, family } => write!(
                f,
                "data_dir {}: holds the database of another program (column family \"{family}\"); \
                 name another path",
                path.display()
            ),
            StoreError::FormatDamaged { path } => write!(
                f,
                "data_dir {}: the format record is missing or damaged; keep a copy of the \
                 directory, then restore the last backup",
                path.display()
            ),
            StoreError::Damaged { doing, words } => write!(
                f,
                "store damaged, found while {doing}: {words}; keep a copy of data_dir, check the \
                 disk, then restore the last backup"
            ),
            StoreError::Engine { doing, words } => {
                write!(f, "store failed while {doing}: {words}")?;
                // RocksDB's kinds do not tell it apart.
                if words.contains("No space left on device") {
                    f.write_str(
                        "; free about twice disk.memtable_bytes on the file system of data_dir \
                         (nothing in data_dir itself), then start again: what was accepted is kept",
                    )?;
                }
                Ok(())
            }
            StoreError::Io { doing, path, source } => {
                write!(f, "store failed while {doing}: {}: {source}", path.display())
            }
            StoreError::Thread { source } => {
                write!(f, "cannot start the committer's thread: {source}")
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } | StoreError::Thread { source } => Some(source),
            _ => None,
        }
    }
}
