//! The RocksDB world: open, group commit, recovery scan, reads, backup.
//!
//! The one place that knows RocksDB. It stores what `queue/` encodes and decides nothing about
//! mail: which keys a change touches is `queue::change`, what bytes mean is `queue::record`.
//!
//! | file | what |
//! |---|---|
//! | `open.rs` | [`Store`]: directory, lock, format record, figures, backup |
//! | `options.rs` | every RocksDB option that is not its default, with the reason |
//! | `committer.rs` | the one thread that writes; budgets and poisoning |
//! | `disk.rs` | what that thread does to RocksDB: a batch, a sync, the free space |
//! | `completions.rs` | the way back from that thread, or a reader, to a shard |
//! | `recover.rs` | the scan at start |
//! | `read.rs` | pages, messages, lists; callable from any thread, blocking |
//! | `reader.rs` | the threads that do so for the shards |
//! | `select.rs` | which entries a list is about, and how it comes from one to the next |
//! | `upgrade.rs` | brings a store of an older format up to this one |
//! | `error.rs` | [`StoreError`]: what an operator must act on |
//!
//! Writes pass the committer alone (open is the exception: the format record, and an upgrade), so a read in it
//! and the write after it cannot interleave with another's.

mod committer;
mod completions;
mod disk;
mod error;
mod open;
mod options;
mod read;
mod reader;
mod recover;
mod select;
mod upgrade;

pub use committer::{
    Batch, CommitObserver, CommitResult, CommitStatistics, Committer, CommitterThread,
};
pub use completions::{Completions, Done};
pub use error::{Doing, StoreError};
pub use open::{Store, StoreFigures, prepare};
pub use options::StoreOptions;
pub use read::{ListedDue, ListedEnvelope};
pub use reader::{Answer, Question, Readers};
pub use recover::{Scan, Totals};
pub use select::{Selection, Times};
pub use upgrade::Upgraded;
