//! Any bytes as the input of a server session, cut anywhere.
//!
//! The promise, from `targets.rs`: `smtp::server` must say the same and take the same messages
//! however the input is cut, hold no more than its rules allow, and never panic. The first two
//! octets choose the rules and the cuts.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::server(data));
