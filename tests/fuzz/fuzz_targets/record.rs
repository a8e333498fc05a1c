//! Any bytes as the records of the queue.
//!
//! The promise, from `targets.rs`: `queue::record` must read them or name the damage: they come
//! from a disk that may have lost or changed some, and one bad record must not keep the relay
//! from starting. What is read must be written so that it reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::record(data));
