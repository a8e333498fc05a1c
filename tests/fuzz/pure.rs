//! The pure modules of baton as a library of their own, for instrumented builds.
//!
//! Whatever is parsed, decided or printed lies above the drivers and needs neither RocksDB nor
//! glommio, so those are left out by naming the files here instead of depending on the whole
//! crate: a fuzz build takes seconds. A pure module that begins to use another one has to be
//! named here as well; `targets` stands inside, and calls itself a user of `baton`, so that its
//! text serves the ordinary tests unchanged.

extern crate self as baton;

#[path = "../../src/accept/mod.rs"]
pub mod accept;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/dns/mod.rs"]
pub mod dns;
#[path = "../../src/event.rs"]
pub mod event;
#[path = "../../src/filter/mod.rs"]
pub mod filter;
#[path = "../../src/identify/mod.rs"]
pub mod identify;
#[path = "../../src/limits.rs"]
pub mod limits;
#[path = "../../src/message.rs"]
pub mod message;
#[path = "../../src/queue/mod.rs"]
pub mod queue;
#[path = "../../src/smtp/mod.rs"]
pub mod smtp;
pub mod targets;
#[path = "../../src/time.rs"]
pub mod time;
