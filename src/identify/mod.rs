//! Stage 3: who is sending?
//!
//! Takes the [`Transaction`] of the wire and names the responsible sender. What the session
//! proves comes first: the authenticated account, else the address of a declared peer. The header
//! families of hosting panels, trusted per peer, refine this in their own files.

use crate::message::{BodyKind, Envelope, MessageId, Origin, SenderId};
use crate::smtp::server::Transaction;
use crate::time::Stamp;
use std::net::IpAddr;

/// How sure the name is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    Authenticated,
    /// The address of a declared peer: sure, but it names a server, not a customer.
    Peer,
}

/// A message with its sender named; what the filter takes.
#[derive(Debug)]
pub struct Identified {
    pub envelope: Envelope,
    /// The record of the body.
    pub record: Vec<u8>,
    pub confidence: Confidence,
}

/// What the driver knows of the session beyond the transaction.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub id: MessageId,
    pub peer: IpAddr,
    pub received: Stamp,
}

pub fn identify(transaction: Transaction, circumstances: Circumstances) -> Identified {
    let Transaction { draft, record } = transaction;
    let Circumstances { id, peer, received } = circumstances;
    let (confidence, sender_id) = if draft.protocol.authenticated {
        (Confidence::Authenticated, SenderId::new(&draft.account, "auth", &draft.account))
    } else {
        (Confidence::Peer, SenderId::new(&draft.account, "peer", &peer.to_string()))
    };
    let envelope = Envelope {
        id,
        received,
        sender: draft.mail.sender,
        sender_id,
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
    Identified { envelope, record, confidence }
}
