//! Stage 6: attempt it. Decisions only; the sessions are driven by `shard/attempt.rs`.
//!
//! [`lane`] is the lower of the queue's two levels in memory: what is ready to go to one place, and
//! how many connections may carry it. [`source`] is which of our addresses it leaves from.

pub mod lane;
pub mod source;
