//! All integration tests, in one binary, so that RocksDB is linked once.
//!
//! Each module asks one question; its head says which. Nothing here leaves loopback.

mod config;
mod control;
mod inbound;
mod layers;
mod notices;
mod outbound;
mod readme;
mod records;
mod runtime;
mod store;
mod wire;
