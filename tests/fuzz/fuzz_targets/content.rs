//! Any bytes as the content of DATA, cut anywhere.
//!
//! The promise, from `targets.rs`: `smtp::content` must find the end at the same octet however
//! the input is cut, only at CRLF dot CRLF, and must let no line pass that a careless next hop
//! would take for the end (RFC 5321 2.3.8).

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::content(data));
