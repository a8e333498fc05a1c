//! The messages of a load run: making one, and recognising one that comes back.
//!
//! Each is a MIME message whose first header, `X-Baton-Load`, is its mark:
//!
//! ```text
//! X-Baton-Load: serial crc=BODY head=HEADER/BYTES from=SENDER at=MICROSECONDS
//! ```
//! CRC-32s of the body (all bytes after the empty line), of the header below the mark, and of the
//! envelope's sender in small letters; and the time at which it was due. So whoever receives it can
//! tell whether it is whole without knowing what was sent. Relays may add headers above the mark or
//! behind all of ours; they may touch neither ours nor the body, nor the sender. The first line of each body is unique, so a body under another message's
//! header is found too. Every recipient address is unique within a run.
//!
//! ```text
//! maker      which message is number n: kind, size, sender, recipients, drawn from (seed, n)
//!   sender   what the server that a sender lives on adds to his mail
//!   kind     headers and body of a newsletter, an invoice, ...
//!   text     prepared lines that bodies are filled with
//!   draw     weights, Zipf
//! recognise  is it one of ours, and whole?
//! ```
//! Never touches a socket or a file.

mod draw;
mod kind;
mod maker;
#[cfg(test)]
mod maker_tests;
mod recognise;
mod sender;
mod text;

pub use self::maker::{Framing, Mail, Maker, Recipe, Transport, Travels};
pub use self::recognise::{Identity, recognise, sender_crc};

/// The name of the header that marks our messages, with its separator.
const MARK: &str = "X-Baton-Load: ";
