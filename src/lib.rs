//! baton: an outbound SMTP relay with a conscience.
//!
//! The modules stand in the order of a message's journey. Imports go down this table only.
//!
//! | layer | modules | what |
//! |---|---|---|
//! | words | `limits`, `time`, `message`, `event`, `config` | nouns and bounds; no decisions |
//! | the wire | `dns`, `smtp` | questions, commands and replies to bytes and back; no I/O |
//! | the journey | `accept`, `identify`, `filter`, `queue`, `deliver`, `notify` | pure decisions, one stage each |
//! | the drivers | `shard` | straight-line async code, generic over `World` |
//! | the worlds | `store`, `control`, `runtime` | RocksDB; metrics, admin and log; glommio |
//!
//! A stage uses no other stage but for the type that its predecessor hands it:
//! `Transaction -> Identified -> Screened -> Due -> Outcome -> Notice`.
//!
//! What never happens, and what sees to it:
//! - a 250 for what is not durable: only `queue::commit::Committed` makes that reply;
//! - a queued message that was not screened: only `filter` makes `filter::Screened`;
//! - a clock, a socket or randomness above `shard`: `.clippy.toml` and `tests/layers.rs`;
//! - `unsafe` outside `runtime`: `#![deny(unsafe_code)]` here, and layers again.

pub mod limits;
pub mod time;

pub mod message;

pub mod event;

pub mod config;

pub mod dns;

pub mod smtp;

pub mod accept;
pub mod identify;

pub mod filter;

pub mod queue;

pub mod deliver;

pub mod notify;

pub mod shard;

pub mod control;
pub mod runtime;
pub mod store;
