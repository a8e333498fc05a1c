//! Stage 2 and, at the other end, the wire of stage 6: SMTP in both directions, without I/O.
//!
//! `address`, `command`, `reply` parse and print; `header` walks over header fields; `content` is what stands between DATA and its
//! end; `server` and `client` are the two sessions; `trace` makes the Received field; `wording` is
//! what the server says.

pub mod address;
pub mod buffer;
pub mod client;
pub mod command;
pub mod content;
pub mod header;
pub mod reply;
pub mod server;
pub mod trace;
pub mod wording;
pub mod xtext;
