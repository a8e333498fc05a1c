//! The hand-over to the store and the proof that comes back.
//!
//! A [`Commit`] is a list of changes that become durable together or not at all. Taking it apart gives the
//! store the changes and a [`Receipt`]; only a receipt, handed in after the write (and after the
//! fsync, when the commit asks for one), makes a [`Committed`]; and only a `Committed` makes the reply
//! "250 queued". So there is no way to answer 250 that does not pass through a store.

use super::change::Change;
pub use crate::message::CommitError;
use crate::message::{MessageId, StatusCode};
use crate::smtp::reply::Reply;

/// Changes that belong together.
#[derive(Debug)]
pub struct Commit {
    changes: Vec<Change>,
}

impl Commit {
    pub fn new(changes: Vec<Change>) -> Self {
        Commit { changes }
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether a peer waits for a promise. A commit of outcomes alone may ride without an fsync: losing it
    /// in a crash means one more delivery, never one less.
    pub fn needs_sync(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Accept { .. }))
    }

    /// Whether it may be refused for want of room: a peer still has what it would only accept. One
    /// that settles may not, also when it brings a notice: what was delivered would be delivered
    /// again, and the notice is smaller than what it replaces.
    pub fn sheddable(&self) -> bool {
        let accepts = |change: &Change| matches!(change, Change::Accept { .. });
        !self.changes.is_empty() && self.changes.iter().all(accepts)
    }

    /// Octets that it adds to the log, roughly; for the commit budget.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }

    pub fn into_parts(self) -> (Vec<Change>, Receipt) {
        let accepted = self.changes.iter().find_map(|change| match change {
            Change::Accept { id, .. } => Some(*id),
            Change::Retry { .. } | Change::Finish { .. } => None,
        });
        (self.changes, Receipt { accepted })
    }
}

/// What the store holds while it writes.
#[derive(Debug)]
#[must_use = "whoever waits for the commit waits for this"]
pub struct Receipt {
    accepted: Option<MessageId>,
}

impl Receipt {
    /// To be called by a store, after the batch is written and, where the commit needs it, synced.
    pub fn committed(self) -> Committed {
        Committed { accepted: self.accepted }
    }
}

/// The proof that a commit is as durable as it asked to be.
#[derive(Debug)]
pub struct Committed {
    accepted: Option<MessageId>,
}

impl Committed {
    /// The one source of "250 queued".
    ///
    /// # Panics
    /// When the commit accepted no message: there is nothing to promise.
    pub fn reply(self) -> Reply {
        let id = self.accepted.expect("a commit that accepted a message");
        Reply::new(250, StatusCode::new(2, 0, 0), format!("queued as {id}"))
    }
}

/// What a peer is told when its message could not be kept.
pub fn refusal(error: CommitError) -> Reply {
    const STATUS: StatusCode = StatusCode::new(4, 3, 1);
    match error {
        CommitError::LowDisk => Reply::fixed(452, STATUS, "Disk nearly full, try again later"),
        CommitError::Busy => Reply::fixed(452, STATUS, "Too much in progress, try again later"),
        CommitError::Poisoned => {
            Reply::fixed(451, StatusCode::new(4, 3, 0), "Storage failed, try again later")
        }
    }
}
