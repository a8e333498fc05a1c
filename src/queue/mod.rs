//! Stage 5: keep the promise.
//!
//! The life of a message on disk, in full. Each arrow is one commit ([`change::Change`]).
//!
//! | state on disk | moved by | after a crash, recovery |
//! |---|---|---|
//! | nothing | `Accept`: body + envelope + one `due` entry per domain, fsynced, then 250 | the peer saw no 250 and sends again |
//! | body, envelope, n entries | `Retry`: an entry's key moves to its next time, its record counts the attempt | finds every entry by its key; tries again what was under way |
//! | the same | `Finish` of a group, others left: entry gone, count of groups one lower | as above |
//! | the same | `Finish` of the last group: entry, body, envelope, count gone | nothing left to find |
//!
//! An attempt itself leaves no trace until its outcome is committed: a crash between the remote's final reply and that
//! commit delivers again (never zero times). A notice is accepted in the same commit
//! that finishes what it tells of, so it exists exactly when it is owed.
//!
//! [`key`] and [`record`] are the bytes, [`change`] what can happen to them, [`commit`] the proof that it did,
//! [`schedule`] what waits, [`retry`] what follows from an attempt.

pub mod admit;
pub mod change;
pub mod commit;
pub mod key;
pub mod record;
pub mod retry;
mod roll;
pub mod schedule;
