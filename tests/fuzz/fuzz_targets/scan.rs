//! Any bytes as a message.
//!
//! The promise, from `targets.rs`: `filter::content` reads them without a panic, twice the same, and
//! keeps no more of them than its bounds allow.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::scan(data));
