//! Any bytes as the head of a proxied connection.
//!
//! The promise, from `targets.rs`: `accept::proxy` must decide once, never reach beyond what it
//! read, and ask for more only while the header is below its bound: the bytes come from whoever
//! connects, before anything else is known of them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::proxy(data));
