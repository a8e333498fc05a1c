//! From a screened message to the change that accepts it.
//!
//! Recipients are grouped by domain: one `due` entry each, one body and one envelope for all.

use super::change::{Change, DuePut};
use super::key::{DueKey, QueueKey};
use super::record::{Due, Pending, due_size, encode_due, encode_envelope};
use crate::filter::Screened;
use crate::message::{Body, Envelope};
use crate::time::Stamp;
use std::collections::HashMap;
use std::time::Duration;

/// An accepted message, as memory keeps it for its first attempt.
#[derive(Debug)]
pub struct Admitted {
    pub envelope: Envelope,
    pub body: Body,
    pub entries: Vec<(DueKey, Due)>,
}

/// The change to commit, and what to do once it is. `expire_after` says how long a domain's mail is
/// tried.
pub fn admit(
    screened: Screened,
    now: Stamp,
    expire_after: impl Fn(&str) -> Duration,
) -> (Change, Admitted) {
    let (envelope, body) = screened.into_parts();
    let groups = group_by_domain(&envelope);
    let count = u16::try_from(groups.len()).expect("no more groups than recipients");
    let (slot, sender_id) = (envelope.id.slot(), envelope.sender_id.as_str());
    let size = due_size(envelope.size);
    let entries: Vec<(DueKey, Due)> = groups
        .into_iter()
        .enumerate()
        .map(|(group, (domain, pending))| {
            let queue = QueueKey::new(slot, &domain, sender_id);
            let key = DueKey { queue, due: now, id: envelope.id, group: group as u16 };
            let expires = envelope.received.after(expire_after(&domain));
            let due = Due {
                domain: domain.into(),
                sender_id: sender_id.into(),
                size,
                groups: count,
                attempts: 0,
                expires,
                delay_told: false,
                pending,
            };
            (key, due)
        })
        .collect();
    let put = |(key, due): &(DueKey, Due)| DuePut { key: *key, record: encode_due(due) };
    let change = Change::Accept {
        id: envelope.id,
        envelope: encode_envelope(&envelope),
        body: body.clone(),
        due: entries.iter().map(put).collect(),
    };
    (change, Admitted { envelope, body, entries })
}

/// In the order in which the domains first appear.
fn group_by_domain(envelope: &Envelope) -> Vec<(String, Vec<Pending>)> {
    let mut groups: Vec<(String, Vec<Pending>)> = Vec::new();
    let mut places = HashMap::new();
    for (position, recipient) in envelope.recipients.iter().enumerate() {
        let domain = recipient.address.domain_key();
        let place = *places.entry(domain).or_insert_with_key(|domain| {
            groups.push((domain.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(Pending { recipient: position as u16, last: None });
    }
    groups
}
