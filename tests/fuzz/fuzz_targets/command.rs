//! Any bytes as a command line, and as a PLAIN response.
//!
//! The promise, from `targets.rs`: what `smtp::command` takes must print to one line without
//! control characters that reads the same: the client side prints with the same types, and a
//! line that reads otherwise would be a command that nobody gave.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::command(data));
