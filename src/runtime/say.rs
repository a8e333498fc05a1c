//! Lines on standard error, for whoever started the relay.
//!
//! What happens while it runs goes to the event log; this is for what comes before there is one
//! and after it has ended, and for the addresses that scripts wait for.
//! Never fails: `eprintln!` panics when nobody holds the other end, which must not be what ends a
//! relay or changes its exit code.

use std::fmt::Display;
use std::io::{Write, stderr};

/// Prints one line.
pub fn say(line: impl Display) {
    // There is no better place to complain that there is no place to complain.
    let _ = writeln!(stderr(), "{line}");
}
