//! Any bytes as a packet that came in reply to a DNS query.
//!
//! The promise, from `targets.rs`: `dns::read` takes them for an answer only when they repeat the
//! query's id and question, and what they say is bounded: they come from whoever can send a packet.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::dns(data));
