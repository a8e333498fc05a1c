//! Stage 4: may we carry it?
//!
//! The only maker of [`Screened`], which is the only thing that can be queued: so nothing is queued
//! unscreened. The checks run in a fixed order and the first refusal ends them. So far there is one,
//! which no relay can do without: a message that has been round too often is a loop (RFC 5321 6.3).

pub mod checks;
pub mod content;
pub mod finding;
pub mod lookalike;
pub mod traps;
pub mod verdict;

use crate::event::RejectTag;
use crate::identify::Identified;
use crate::message::{Body, Envelope, ReversePath};
use crate::smtp::reply::Reply;
use crate::smtp::{trace, wording};

/// A message that passed; what the queue takes.
#[derive(Debug)]
pub struct Screened {
    envelope: Envelope,
    body: Body,
}

impl Screened {
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub fn into_parts(self) -> (Envelope, Body) {
        (self.envelope, self.body)
    }
}

/// A message that did not.
#[derive(Debug)]
pub struct Refused {
    pub tag: RejectTag,
    pub reply: Reply,
    pub envelope: Envelope,
}

/// What the checks compare with, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Received fields, ours included.
    pub hops_max: usize,
}

pub fn screen(identified: Identified, bounds: &Bounds) -> Result<Screened, Box<Refused>> {
    let Identified { envelope, record, .. } = identified;
    let body = Body::from_record(record);
    if trace::hops(body.header()) > bounds.hops_max {
        return Err(Box::new(Refused { tag: RejectTag::Loop, reply: wording::LOOP, envelope }));
    }
    Ok(Screened { envelope, body })
}

/// A notice of our own passes: its text is ours, what it quotes goes back to who sent it.
pub fn pass_notice(envelope: Envelope, body: Body) -> Screened {
    assert!(matches!(envelope.sender, ReversePath::Null), "notices have no sender");
    Screened { envelope, body }
}
