//! Any bytes as the replies of a remote server, cut anywhere.
//!
//! The promise, from `targets.rs`: `smtp::reply` must give the same replies however they are
//! cut, keep a bounded part of each, and print none in more than one line: remote words end up
//! in notices and logs.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::replies(data));
