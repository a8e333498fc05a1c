//! Any bytes as a mailbox, a reverse-path and a forward-path.
//!
//! The promise, from `targets.rs`: what `smtp::address` takes must print as it was written,
//! hold no line end, and read the same again. Whoever reads a second `@` or dot out of an
//! address that was taken once would route mail to another host.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::address(data));
