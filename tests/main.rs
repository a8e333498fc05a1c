//! All integration tests, in one binary, so that RocksDB is linked once.
//!
//! Each module asks one question; its head says which. Nothing here leaves loopback.

mod clients;
mod config;
mod control;
mod crash;
mod dns;
mod fuzz;
mod identify;
mod inbound;
mod layers;
mod load;
mod lookalike;
mod mx;
mod names;
mod notices;
mod operate;
mod outbound;
mod process;
mod readme;
mod records;
mod reload;
mod runtime;
mod servers;
mod sim;
mod starttls;
mod store;
mod syncs;
mod wire;
