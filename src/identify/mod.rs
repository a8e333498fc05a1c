//! Stage 3: who is sending?
//!
//! Takes the [`Transaction`] of the wire and names the responsible sender. What the session
//! proves comes first; then what the peer's own software says in header fields, as far as its
//! `identity_headers` are believed; then the peer itself. Beside the name it finds the signs that
//! something is wrong with who sends. What they weigh is for `filter`.
//!
//! | file | noun |
//! |---|---|
//! | `rules` | the ordered rules, [`Identity`] |
//! | `claims`, `family` | the nearest field of each family; what it claims |
//! | `suspicion`, `sign` | what is wrong; the list of signs |
//! | `path` | scripts and where they stand |
//! | `value` | peers' words as values that cannot pass as another's |
//! | `lockdown` | who may use a sender domain, by its own word |

mod claims;
pub mod family;
pub mod lockdown;
pub mod path;
pub mod rules;
pub mod sign;
mod suspicion;
pub mod value;

pub use rules::{Confidence, Identity, Rule, Standing};
pub use sign::{Belief, Fact, Facts, Sign};

use crate::config::{HeaderFamilies, Peer};
use crate::message::{BodyKind, Envelope, MessageId, Origin};
use crate::smtp::server::Transaction;
use crate::time::Stamp;
use claims::Claims;
use rules::Session;
use std::net::IpAddr;

/// A message with its sender named; what the filter takes.
#[derive(Debug)]
pub struct Identified {
    pub envelope: Envelope,
    /// The record of the body.
    pub record: Vec<u8>,
    pub identity: Identity,
    pub facts: Facts,
}

/// What the driver knows of the session beyond the transaction.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub id: MessageId,
    pub peer: IpAddr,
    /// What is declared of the peer, if anything is: whose login it needs then.
    pub declared: Option<&'a Peer>,
    pub received: Stamp,
}

pub fn identify(transaction: Transaction, circumstances: Circumstances<'_>) -> Identified {
    let Transaction { draft, record } = transaction;
    let Circumstances { id, peer, declared, received } = circumstances;
    let standing = match declared {
        _ if !draft.protocol.authenticated => Standing::PeerAddress,
        Some(declared) if *declared.account == *draft.account => Standing::PeerLogin,
        Some(_) | None => Standing::OwnLogin,
    };
    let session = Session {
        account: &draft.account,
        standing,
        peer,
        believed: declared.map_or(HeaderFamilies::NONE, |peer| peer.identity_headers),
        sender: &draft.mail.sender,
    };
    let claims = Claims::of(&record[1..], &id.to_string());
    let identity = rules::decide(&claims, &session);
    let facts = suspicion::signs(&claims, &session, &identity);
    let envelope = Envelope {
        id,
        received,
        sender: draft.mail.sender,
        sender_id: identity.sender_id.clone(),
        recipients: draft.recipients,
        body: draft.mail.body.unwrap_or(BodyKind::SevenBit),
        utf8: draft.mail.utf8,
        require_tls: draft.mail.require_tls,
        ret: draft.mail.ret,
        envid: draft.mail.envid,
        origin: Origin {
            peer,
            helo: draft.helo.as_ref().into(),
            protocol: draft.protocol,
            account: draft.account.as_ref().into(),
        },
        size: record.len() as u64 - 1,
    };
    Identified { envelope, record, identity, facts }
}
