//! Any text as a configuration file.
//!
//! The promise, from `targets.rs`: `config` takes it or lists problems that lie inside the
//! text, and never panics: an operator's typing error must not look like a crash. No file that
//! the text names is opened by the parser.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::config(data));
