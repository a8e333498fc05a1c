//! Stage 6: attempt it. Decisions only; the sessions are driven by `shard/attempt.rs`.
//!
//! [`lane`] is the lower of the queue's two levels in memory: what is ready to go to one place, and
//! how many connections may carry it. [`mx`] says which hosts take a domain's mail, and [`host`]
//! which addresses of a host are worth a connection. [`broken_tls`] remembers where encryption is
//! not worth a try.

pub mod broken_tls;
pub mod host;
pub mod lane;
pub mod mx;
