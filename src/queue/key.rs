//! The keys of the queue's column families, which sort as they are read.
//!
//! `body` and `envelope` are keyed by message id. `due` is keyed by slot, domain, sender, due time,
//! id and group, so that "the entries of this sender for this domain that are due, oldest first" is
//! one range: however much one sender has waiting, nobody reads past it to another's.
//!
//! A slot is the shard number under which a message was accepted. It leads the key (the design
//! began with the domain) so that each shard's entries are a range of their own: no shard ever
//! scans past another's, and after a restart with fewer shards slot `s` belongs to `s % shards`.

use crate::message::MessageId;
use crate::time::Stamp;

/// Where in the key space a shard's entries lie; outlives the shard that wrote it.
pub type Slot = u8;

/// What one sender has for one destination domain in one slot: the name of a queue.
///
/// Domain and sender are hashed to eight octets each so that keys have one length. The names are in
/// the record, and whoever routes or deletes goes by the record: what collides shares a queue and
/// nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    pub slot: Slot,
    pub domain: u64,
    pub sender: u64,
}

impl QueueKey {
    /// `domain` in lower case, as [`crate::message::Address::domain_key`] gives it; `sender_id`
    /// verbatim.
    pub fn new(slot: Slot, domain: &str, sender_id: &str) -> Self {
        QueueKey { slot, domain: name_hash(domain), sender: name_hash(sender_id) }
    }
}

/// The octets of a `due` key that name its queue: slot, domain, sender.
pub const QUEUE_KEY_LEN: usize = 1 + 8 + 8;

/// The hash of a domain or a sender id in keys: FNV-1a, 64 bits.
pub fn name_hash(name: &str) -> u64 {
    fnv1a(name.as_bytes())
}

/// FNV-1a, 64 bits: the same in every version and on every machine, which std's hashers do
/// not promise. Collisions cost fairness only, see [`QueueKey`].
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The due time of an entry that is held: it waits for a person and for no time, so the pager, which
/// asks for what is due by now, never sees it.
pub const HELD: Stamp = Stamp::from_millis(u64::MAX);

/// The key of one `due` entry: the recipients of one message in one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueKey {
    pub queue: QueueKey,
    pub due: Stamp,
    pub id: MessageId,
    pub group: u16,
}

pub const DUE_KEY_LEN: usize = QUEUE_KEY_LEN + 8 + 8 + 2;
pub const ID_KEY_LEN: usize = 8;

impl DueKey {
    /// The smallest key of a queue at a due time.
    pub fn first(queue: QueueKey, due: Stamp) -> Self {
        DueKey { queue, due, id: MessageId::from_u64(0), group: 0 }
    }

    pub fn encode(&self) -> [u8; DUE_KEY_LEN] {
        let mut key = [0; DUE_KEY_LEN];
        key[0] = self.queue.slot;
        key[1..9].copy_from_slice(&self.queue.domain.to_be_bytes());
        key[9..17].copy_from_slice(&self.queue.sender.to_be_bytes());
        key[17..25].copy_from_slice(&self.due.millis().to_be_bytes());
        key[25..33].copy_from_slice(&self.id.as_u64().to_be_bytes());
        key[33..35].copy_from_slice(&self.group.to_be_bytes());
        key
    }

    /// `None` when the bytes are not a key of this family.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let key: &[u8; DUE_KEY_LEN] = key.try_into().ok()?;
        let word =
            |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().expect("eight octets"));
        Some(DueKey {
            queue: QueueKey { slot: key[0], domain: word(1), sender: word(9) },
            due: Stamp::from_millis(word(17)),
            id: MessageId::from_u64(word(25)),
            group: u16::from_be_bytes([key[33], key[34]]),
        })
    }

    pub fn is_held(&self) -> bool {
        self.due == HELD
    }
}

/// A `due` key of store format 1, which knew no senders: slot, domain, due time, id, group. Only
/// the upgrade meets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueKeyV1 {
    pub slot: Slot,
    pub due: Stamp,
    pub id: MessageId,
    pub group: u16,
}

pub const DUE_KEY_V1_LEN: usize = 1 + 8 + 8 + 8 + 2;

impl DueKeyV1 {
    /// `None` when the bytes are not a key of that format.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let key: &[u8; DUE_KEY_V1_LEN] = key.try_into().ok()?;
        let word =
            |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().expect("eight octets"));
        Some(DueKeyV1 {
            slot: key[0],
            due: Stamp::from_millis(word(9)),
            id: MessageId::from_u64(word(17)),
            group: u16::from_be_bytes([key[25], key[26]]),
        })
    }

    /// The same entry in the queue of its sender.
    pub fn into_queue(self, domain: &str, sender_id: &str) -> DueKey {
        let queue = QueueKey::new(self.slot, domain, sender_id);
        DueKey { queue, due: self.due, id: self.id, group: self.group }
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
    fn due_keys_round_trip_and_sort_by_domain_then_sender_then_time() {
        let key = |slot, domain, sender, due, id, group| DueKey {
            queue: QueueKey { slot, domain, sender },
            due: Stamp::from_millis(due),
            id: MessageId::from_u64(id),
            group,
        };
        let sorted = [
            key(0, 1, 8, 5, 9, 0),
            key(0, 1, 8, 6, 1, 0),
            key(0, 1, 8, 6, 1, 1),
            key(0, 1, 8, 256, 0, 0),
            key(0, 1, 8, u64::MAX, 0, 0),
            key(0, 1, 9, 5, 0, 0),
            key(0, 2, 0, 0, 0, 0),
            key(1, 0, 0, 0, 0, 0),
        ];
        for pair in sorted.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
        }
        for one in sorted {
            assert_eq!(DueKey::decode(&one.encode()), Some(one));
        }
        assert_eq!(DueKey::decode(b"short"), None);
        let held: Vec<bool> = sorted.iter().map(DueKey::is_held).collect();
        assert_eq!(held, [false, false, false, false, true, false, false, false]);
    }

    #[test]
    fn the_bytes_of_a_due_key_are_these() {
        let key = DueKey {
            queue: QueueKey { slot: 3, domain: 0x1112_1314_1516_1718, sender: 0x21 },
            due: Stamp::from_millis(0x3132),
            id: MessageId::from_u64(0x4142),
            group: 0x5152,
        };
        let octets = [
            &[3, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18][..],
            &[0, 0, 0, 0, 0, 0, 0, 0x21],
            &[0, 0, 0, 0, 0, 0, 0x31, 0x32],
            &[0, 0, 0, 0, 0, 0, 0x41, 0x42],
            &[0x51, 0x52],
        ];
        assert_eq!(key.encode().to_vec(), octets.concat());
        let old = [octets[0], octets[2], octets[3], octets[4]].concat();
        let found = DueKeyV1::decode(&old).unwrap();
        assert_eq!(
            found.into_queue("a.test", "s"),
            DueKey { queue: QueueKey::new(3, "a.test", "s"), ..key }
        );
        assert_eq!(DueKeyV1::decode(&key.encode()), None);
    }

    #[test]
    fn the_domain_hash_is_the_published_one() {
        // Vectors of the FNV reference: the hash is on disk and may never change.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
