//! Stage 6: attempt it. Decisions only; the sessions are driven by `shard/attempt.rs`.
//!
//! [`lane`] is the lower of the queue's two levels in memory: what is ready to go to one place, and
//! how many connections may carry it. [`broken_tls`] remembers where encryption is not worth a try.

pub mod broken_tls;
pub mod lane;
