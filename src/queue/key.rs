//! The keys of the queue's column families, which sort as they are read.
//!
//! `body` and `envelope` are keyed by message id. `due` is keyed by slot, domain, due time, id and
//! group, so that "the entries of this domain that are due, oldest first" is one range.
//!
//! A slot is the shard number under which a message was accepted. It leads the key (the design
//! began with the domain) so that each shard's entries are a range of their own: no shard ever
//! scans past another's, and after a restart with fewer shards slot `s` belongs to `s % shards`.

use crate::message::MessageId;
use crate::time::Stamp;

/// Where in the key space a shard's entries lie; outlives the shard that wrote it.
pub type Slot = u8;

/// One destination domain of one slot: the name of a domain queue.
///
/// The domain is hashed to eight octets so that keys have one length. The name itself is in the record, and
/// routing goes by the record: two domains that collide share a queue and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainKey {
    pub slot: Slot,
    pub hash: u64,
}

impl DomainKey {
    /// `domain` in lower case, as [`crate::message::Address::domain_key`] gives it.
    pub fn new(slot: Slot, domain: &str) -> Self {
        DomainKey { slot, hash: fnv1a(domain.as_bytes()) }
    }
}

/// FNV-1a, 64 bits: the same in every version and on every machine, which std's hashers do
/// not promise. Collisions cost fairness only, see [`DomainKey`].
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The key of one `due` entry: the recipients of one message in one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueKey {
    pub domain: DomainKey,
    pub due: Stamp,
    pub id: MessageId,
    pub group: u16,
}

pub const DUE_KEY_LEN: usize = 1 + 8 + 8 + 8 + 2;
pub const ID_KEY_LEN: usize = 8;

impl DueKey {
    /// The smallest key of a domain at a due time.
    pub fn first(domain: DomainKey, due: Stamp) -> Self {
        DueKey { domain, due, id: MessageId::from_u64(0), group: 0 }
    }

    pub fn encode(&self) -> [u8; DUE_KEY_LEN] {
        let mut key = [0; DUE_KEY_LEN];
        key[0] = self.domain.slot;
        key[1..9].copy_from_slice(&self.domain.hash.to_be_bytes());
        key[9..17].copy_from_slice(&self.due.millis().to_be_bytes());
        key[17..25].copy_from_slice(&self.id.as_u64().to_be_bytes());
        key[25..27].copy_from_slice(&self.group.to_be_bytes());
        key
    }

    /// `None` when the bytes are not a key of this family.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let key: &[u8; DUE_KEY_LEN] = key.try_into().ok()?;
        let word =
            |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().expect("eight octets"));
        Some(DueKey {
            domain: DomainKey { slot: key[0], hash: word(1) },
            due: Stamp::from_millis(word(9)),
            id: MessageId::from_u64(word(17)),
            group: u16::from_be_bytes([key[25], key[26]]),
        })
    }
}

/// The key of a body or an envelope.
pub fn id_key(id: MessageId) -> [u8; ID_KEY_LEN] {
    id.as_u64().to_be_bytes()
}

/// The key of the count of unfinished groups, next to its envelope.
pub fn remaining_key(id: MessageId) -> [u8; ID_KEY_LEN + 1] {
    let mut key = [b'n'; ID_KEY_LEN + 1];
    key[..ID_KEY_LEN].copy_from_slice(&id_key(id));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_round_trip_and_sort_by_domain_then_time() {
        let key = |slot, hash, due, id, group| DueKey {
            domain: DomainKey { slot, hash },
            due: Stamp::from_millis(due),
            id: MessageId::from_u64(id),
            group,
        };
        let sorted = [
            key(0, 1, 5, 9, 0),
            key(0, 1, 6, 1, 0),
            key(0, 1, 6, 1, 1),
            key(0, 1, 256, 0, 0),
            key(0, 2, 0, 0, 0),
            key(1, 0, 0, 0, 0),
        ];
        for pair in sorted.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
        }
        for one in sorted {
            assert_eq!(DueKey::decode(&one.encode()), Some(one));
        }
        assert_eq!(DueKey::decode(b"short"), None);
    }

    #[test]
    fn the_domain_hash_is_the_published_one() {
        // Vectors of the FNV reference: the hash is on disk and may never change.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
