//! Everything that can happen to the queue on disk, and what each does to the keys.
//!
//! The translation is here, not in a store, so that RocksDB and the simulator's disk run the same one.
//! It is the only writer of the queue's column families. It reads one thing back: the count of
//! unfinished groups of a message with recipients in several domains. All changes pass one
//! thread, so that read and the write after it cannot interleave with another's.

use super::key::{DueKey, id_key, remaining_key};
use crate::message::{Body, MessageId};
use std::collections::HashMap;

/// A column family of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Body,
    Envelope,
    Due,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::Body, Family::Envelope, Family::Due];

    pub const fn name(self) -> &'static str {
        match self {
            Family::Body => "body",
            Family::Envelope => "envelope",
            Family::Due => "due",
        }
    }
}

/// A `due` entry ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuePut {
    pub key: DueKey,
    /// An encoded [`super::record::Due`].
    pub record: Vec<u8>,
}

/// One step in a message's life on disk. Records are already encoded: the shards do that work.
#[derive(Debug)]
pub enum Change {
    /// A new message: one body, one envelope, one `due` entry per domain.
    Accept { id: MessageId, envelope: Vec<u8>, body: Body, due: Vec<DuePut> },
    /// A group was tried and waits again.
    Retry { old: DueKey, new: DuePut },
    /// A group is done: delivered, bounced or dropped. `groups` is how many the message began with.
    Finish { key: DueKey, groups: u16 },
}

impl Change {
    pub fn bytes(&self) -> usize {
        const KEYS: usize = 64;
        match self {
            Change::Accept { envelope, body, due, .. } => {
                let due: usize = due.iter().map(|put| put.record.len() + KEYS).sum();
                envelope.len() + body.record().len() + due + KEYS
            }
            Change::Retry { new, .. } => new.record.len() + KEYS,
            Change::Finish { .. } => KEYS,
        }
    }
}

/// One write, borrowed from the change it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    Put { family: Family, key: &'a [u8], value: &'a [u8] },
    Delete { family: Family, key: &'a [u8] },
}

/// Translates the changes of one batch.
#[derive(Debug, Default)]
pub struct Translator {
    /// Counts written by this batch, which `read` cannot see yet.
    remaining: HashMap<MessageId, u16>,
    /// Entries of messages with several groups that this batch put (true) or deleted.
    entries: HashMap<DueKey, bool>,
    messages: i64,
}

impl Translator {
    /// How many messages more (or fewer) there are after this batch.
    pub fn messages(&self) -> i64 {
        self.messages
    }

    /// Adds the writes of `change`. `read` looks up a committed value; its error ends the batch.
    pub fn translate<E>(
        &mut self,
        change: &Change,
        read: &mut impl FnMut(Family, &[u8]) -> Result<Option<Vec<u8>>, E>,
        write: &mut impl FnMut(Write<'_>),
    ) -> Result<(), E> {
        match change {
            Change::Accept { id, envelope, body, due } => {
                self.messages += 1;
                let key = id_key(*id);
                write(Write::Put { family: Family::Body, key: &key, value: body.record() });
                write(Write::Put { family: Family::Envelope, key: &key, value: envelope });
                if due.len() > 1 {
                    self.put_remaining(*id, due.len() as u16, write);
                    self.entries.extend(due.iter().map(|put| (put.key, true)));
                }
                for put in due {
                    let (key, value) = (&put.key.encode()[..], &put.record[..]);
                    write(Write::Put { family: Family::Due, key, value });
                }
            }
            Change::Retry { old, new } => {
                write(Write::Delete { family: Family::Due, key: &old.encode() });
                let (key, value) = (&new.key.encode()[..], &new.record[..]);
                write(Write::Put { family: Family::Due, key, value });
            }
            Change::Finish { key, groups } => {
                if *groups > 1 && !self.is_there(key, read)? {
                    // Counting it down twice would take the body from a group that still waits.
                    return Ok(());
                }
                write(Write::Delete { family: Family::Due, key: &key.encode() });
                let left = if *groups > 1 { self.count_down(key.id, read)? } else { 0 };
                if left > 0 {
                    self.put_remaining(key.id, left, write);
                    return Ok(());
                }
                self.messages -= 1;
                let id = id_key(key.id);
                write(Write::Delete { family: Family::Body, key: &id });
                write(Write::Delete { family: Family::Envelope, key: &id });
                if *groups > 1 {
                    self.remaining.remove(&key.id);
                    let key = remaining_key(key.id);
                    write(Write::Delete { family: Family::Envelope, key: &key });
                }
            }
        }
        Ok(())
    }

    /// Whether the entry is in the queue; it is not after this.
    fn is_there<E>(
        &mut self,
        key: &DueKey,
        read: &mut impl FnMut(Family, &[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<bool, E> {
        match self.entries.insert(*key, false) {
            Some(there) => Ok(there),
            None => Ok(read(Family::Due, &key.encode())?.is_some()),
        }
    }

    fn put_remaining(&mut self, id: MessageId, left: u16, write: &mut impl FnMut(Write<'_>)) {
        self.remaining.insert(id, left);
        let (key, value) = (&remaining_key(id)[..], &left.to_be_bytes()[..]);
        write(Write::Put { family: Family::Envelope, key, value });
    }

    fn count_down<E>(
        &self,
        id: MessageId,
        read: &mut impl FnMut(Family, &[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<u16, E> {
        let left = match self.remaining.get(&id) {
            Some(&left) => left,
            None => {
                let value = read(Family::Envelope, &remaining_key(id))?;
                let count =
                    value.and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
                // A damaged or missing count keeps the body: a leak that `baton check` can find is
                // better than a deleted message that still has recipients.
                count.unwrap_or(u16::MAX)
            }
        };
        Ok(left.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::QueueKey;
    use super::*;
    use crate::time::Stamp;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    #[derive(Default)]
    struct Disk(BTreeMap<(Family, Vec<u8>), Vec<u8>>);

    impl Disk {
        fn batch(&mut self, changes: &[Change]) {
            let mut writes = Vec::new();
            let mut translator = Translator::default();
            for change in changes {
                let mut read = |family, key: &[u8]| {
                    Ok::<_, Infallible>(self.0.get(&(family, key.to_vec())).cloned())
                };
                let mut write = |write: Write<'_>| match write {
                    Write::Put { family, key, value } => {
                        writes.push((family, key.to_vec(), Some(value.to_vec())));
                    }
                    Write::Delete { family, key } => writes.push((family, key.to_vec(), None)),
                };
                translator.translate(change, &mut read, &mut write).unwrap();
            }
            for (family, key, value) in writes {
                match value {
                    Some(value) => self.0.insert((family, key), value),
                    None => self.0.remove(&(family, key)),
                };
            }
        }
    }

    fn key(due: u64, group: u16) -> DueKey {
        let queue = QueueKey { slot: 0, domain: u64::from(group), sender: 1 };
        DueKey { queue, due: Stamp::from_millis(due), id: MessageId::from_u64(7), group }
    }

    fn accept(groups: u16) -> Change {
        let put = |group| DuePut { key: key(1, group), record: vec![1] };
        Change::Accept {
            id: MessageId::from_u64(7),
            envelope: vec![1],
            body: Body::from_message(b"x"),
            due: (0..groups).map(put).collect(),
        }
    }

    #[test]
    fn a_message_of_one_domain_leaves_nothing_behind() {
        let mut disk = Disk::default();
        disk.batch(&[accept(1)]);
        assert_eq!(disk.0.len(), 3);
        disk.batch(&[Change::Retry {
            old: key(1, 0),
            new: DuePut { key: key(9, 0), record: vec![2] },
        }]);
        assert_eq!(disk.0.len(), 3);
        disk.batch(&[Change::Finish { key: key(9, 0), groups: 1 }]);
        assert!(disk.0.is_empty());
    }

    #[test]
    fn the_body_stays_until_the_last_group_is_done_in_one_batch_or_many() {
        let finish = |group| Change::Finish { key: key(1, group), groups: 3 };
        for batches in [vec![3], vec![1, 1, 1], vec![2, 1], vec![1, 2]] {
            let mut disk = Disk::default();
            disk.batch(&[accept(3)]);
            let mut group = 0;
            for size in batches {
                assert!(
                    disk.0.contains_key(&(Family::Body, id_key(MessageId::from_u64(7)).to_vec()))
                );
                disk.batch(&(group..group + size).map(finish).collect::<Vec<_>>());
                group += size;
            }
            assert!(disk.0.is_empty(), "{:?}", disk.0);
        }
    }

    #[test]
    fn a_group_that_is_finished_twice_counts_once() {
        let finish = |group| Change::Finish { key: key(1, group), groups: 2 };
        for batches in [vec![finish(0), finish(0)], vec![finish(0)]] {
            let mut disk = Disk::default();
            disk.batch(&[accept(2)]);
            disk.batch(&batches);
            disk.batch(&[finish(0)]);
            assert!(disk.0.contains_key(&(Family::Body, id_key(MessageId::from_u64(7)).to_vec())));
            disk.batch(&[finish(1)]);
            assert!(disk.0.is_empty(), "{:?}", disk.0);
        }
    }

    #[test]
    fn accepted_and_finished_in_one_batch_leaves_nothing() {
        let mut disk = Disk::default();
        let finish = |group| Change::Finish { key: key(1, group), groups: 2 };
        disk.batch(&[accept(2), finish(0), finish(1)]);
        assert!(disk.0.is_empty(), "{:?}", disk.0);
    }
}
