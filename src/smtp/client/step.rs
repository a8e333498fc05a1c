//! The words between a session and the driver that owns its socket.
//!
//! [`Delivery`] and [`TlsPolicy`] go in, [`Step`] comes out, [`Lost`] and [`Trust`] report what
//! only a driver can see, and [`Wait`] says how long to be patient. Plain values; the conversation
//! itself is `session.rs`.
//!
//! RFC 5321 4.5.3.2 (timeouts), RFC 3207 4 (STARTTLS).

use crate::limits::FAREWELL_SECONDS_MAX;
use crate::message::{Body, Envelope, Outcome};
use std::time::Duration;

/// What one transaction carries.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub envelope: &'a Envelope,
    /// Positions in the envelope of those whom this next hop gets; never empty.
    pub recipients: &'a [u16],
    pub body: &'a Body,
}

/// Whether a session becomes one under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// STARTTLS is not said, also where it is offered.
    Never,
    /// Where it is offered; in clear where it is not, or is refused.
    WhenOffered,
    /// Nothing but EHLO goes in clear.
    Always,
}

/// What the certificate of a secured session is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody vouches for it: what is sent is hidden from listeners, but perhaps not from
    /// somebody in the middle.
    Unverified,
    /// Its chain and its name are good.
    Verified,
}

/// What the driver has to do before it asks again.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Write all of this, each piece within [`Wait::DataBlock`].
    Write(&'a [u8]),
    /// All input is taken. Read more within the time, counted from the later of the last write
    /// and the last whole reply (see `ClientSession::replies`).
    Read(Wait),
    /// Make the stream the client's side of TLS within [`Wait::Handshake`], then call `secured`; or
    /// `unsecured` when that fails. Nothing that was read in clear is left: had there been
    /// anything, the session would have ended here.
    StartTls,
    /// Nothing is under way: `begin` a transaction, `quit`, or keep the connection for later.
    Ready,
    /// The transaction is over. One outcome per position, in the order they were given.
    Done(Vec<(u16, Outcome)>),
    /// The transaction is over before the remote said anything about it, on a connection that
    /// had served before: it was closed while it was idle. Nobody is at fault and nothing is to be
    /// counted; begin the same delivery on a new connection, where this step does not come. (Under
    /// PIPELINING the message was perhaps sent. A second copy is the lesser evil.)
    Stale,
    /// The session is of no use. The outcome is that of whatever was waiting for it; when there
    /// was a transaction before, that one has its own outcomes, and nothing was waiting.
    Closed(Outcome),
    /// All is said: close the connection.
    Over,
}

/// What a reply is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    Greeting,
    Ehlo,
    StartTls,
    /// Not a reply: the handshake of TLS.
    Handshake,
    Mail,
    Rcpt,
    DataStart,
    /// Not a reply: one piece being written.
    DataBlock,
    Final,
    Quit,
    Rset,
}

impl Wait {
    pub const fn timeout(self) -> Duration {
        match self {
            // RFC 5321 4.5.3.2.1
            Wait::Greeting => Duration::from_mins(5),
            // The RFCs name no time for these; they cost a server no more than MAIL does.
            Wait::Ehlo | Wait::StartTls | Wait::Rset => Duration::from_mins(5),
            // Two round trips and a signature, on a server that has just answered.
            Wait::Handshake => Duration::from_mins(1),
            // RFC 5321 4.5.3.2.2 and 4.5.3.2.3
            Wait::Mail | Wait::Rcpt => Duration::from_mins(5),
            // RFC 5321 4.5.3.2.4
            Wait::DataStart => Duration::from_mins(2),
            // RFC 5321 4.5.3.2.5
            Wait::DataBlock => Duration::from_mins(3),
            // RFC 5321 4.5.3.2.6: the remote delivers meanwhile, and giving up makes duplicates.
            Wait::Final => Duration::from_mins(10),
            // Nothing depends on the answer to QUIT.
            Wait::Quit => Duration::from_secs(FAREWELL_SECONDS_MAX),
        }
    }
}

/// How a connection ended without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The remote closed it.
    Closed,
    /// A [`Wait`] passed.
    TimedOut,
    /// The system's own words.
    Failed(Box<str>),
}
