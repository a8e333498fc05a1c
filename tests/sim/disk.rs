//! The simulated disk: column families as sorted maps, and a log that remembers what was synced.
//!
//! A batch is a list of writes made by the same translation that the real store runs. It is first
//! on its way (in the log, invisible to reads), then written (visible), then synced. A process that
//! is killed loses at most the batch on its way; a machine that loses its power keeps what was
//! synced and any first part of what was not, batch by batch, as a write-ahead log does. Nothing
//! else is ever lost, reordered or torn.

use super::random::Random;
use baton::message::{BODY_VERSION, Body, Envelope, MessageId};
use baton::queue::change::{DuePut, Family, Translator, Write};
use baton::queue::commit::Commit;
use baton::queue::key::{DueKey, ID_KEY_LEN, Slot, id_key};
use baton::queue::record::{BadRecord, Due, decode_due, decode_envelope};
use baton::queue::schedule::{Found, Known, Stretch};
use baton::shard::world::{Asked, LoadError, Page};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;

type Map = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

/// Writes that survive together or not at all; `None` deletes.
#[derive(Clone, Debug, Default)]
pub struct Batch(Vec<(Family, Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    fn apply(&self, map: &mut Map) {
        for (family, key, value) in &self.0 {
            let key = (*family, key.clone());
            match value {
                Some(value) => map.insert(key, value.clone()),
                None => map.remove(&key),
            };
        }
    }
}

/// How the relay came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed; the system under it goes on.
    Killed,
    PowerLost,
}

/// What a shard finds on disk.
pub struct Recovered {
    /// As the scan tells it, in parts of any size.
    pub stretches: Vec<Stretch>,
    pub newest: Option<MessageId>,
}

/// A recipient group that waits, as it stands on disk.
#[derive(Debug)]
pub struct Waiting {
    pub due: Due,
    pub envelope: Envelope,
    pub body: Body,
}

#[derive(Default)]
pub struct Disk {
    /// What reads see.
    current: RefCell<Map>,
    synced: RefCell<Map>,
    /// Written since the last sync, in order.
    unsynced: RefCell<Vec<Batch>>,
    on_its_way: RefCell<Option<Batch>>,
    syncs: Cell<u64>,
}

impl Disk {
    pub fn syncs(&self) -> u64 {
        self.syncs.get()
    }

    /// Forgets everything, synced or not: for trying the oracle.
    pub fn wipe(&self) {
        self.current.borrow_mut().clear();
        self.synced.borrow_mut().clear();
        self.unsynced.borrow_mut().clear();
    }

    pub fn is_empty(&self) -> bool {
        self.current.borrow().is_empty()
    }

    /// The keys of everything on disk, for the message of a failing test.
    pub fn inventory(&self) -> Vec<String> {
        let current = self.current.borrow();
        let show = |(family, key): &(Family, Vec<u8>)| match DueKey::decode(key) {
            Some(due) if *family == Family::Due => format!("due {due:?}"),
            _ => {
                let id = u64::from_be_bytes(*key.first_chunk().expect("keys begin with an id"));
                format!("{} {} +{}", family.name(), MessageId::from_u64(id), key.len() - ID_KEY_LEN)
            }
        };
        current.keys().map(show).collect()
    }

    /// Begins to write all of `commits`, in their order.
    pub fn begin(&self, commits: &[&Commit]) {
        let current = self.current.borrow();
        let mut batch = Batch::default();
        let mut read =
            |family, key: &[u8]| Ok::<_, Infallible>(current.get(&(family, key.to_vec())).cloned());
        let mut write = |write: Write<'_>| match write {
            Write::Put { family, key, value } => {
                batch.0.push((family, key.to_vec(), Some(value.to_vec())));
            }
            Write::Delete { family, key } => batch.0.push((family, key.to_vec(), None)),
        };
        let mut translator = Translator::default();
        for change in commits.iter().flat_map(|commit| commit.changes()) {
            let Ok(()) = translator.translate(change, &mut read, &mut write);
        }
        let before = self.on_its_way.replace(Some(batch));
        assert!(before.is_none(), "one writer, one batch at a time");
    }

    /// The batch is written: reads see it.
    pub fn finish(&self) {
        let batch = self.on_its_way.take().expect("a batch was begun");
        batch.apply(&mut self.current.borrow_mut());
        self.unsynced.borrow_mut().push(batch);
    }

    /// All that is written survives from here on.
    pub fn sync(&self) {
        self.syncs.set(self.syncs.get() + 1);
        let mut synced = self.synced.borrow_mut();
        self.unsynced.borrow_mut().drain(..).for_each(|batch| batch.apply(&mut synced));
    }

    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.borrow().is_empty()
    }

    /// The relay is gone; what it finds when it comes back is decided here.
    pub fn crash(&self, crash: Crash, random: &Random) {
        let mut log = std::mem::take(&mut *self.unsynced.borrow_mut());
        let written = log.len();
        log.extend(self.on_its_way.take());
        let least = match crash {
            Crash::Killed => written,
            Crash::PowerLost => 0,
        };
        let kept = least + random.index(log.len() - least + 1);
        let mut synced = self.synced.borrow_mut();
        log[..kept].iter().for_each(|batch| batch.apply(&mut synced));
        *self.current.borrow_mut() = synced.clone();
    }

    /// The scan at start, for the slots that `owns` names.
    pub fn recover(&self, owns: impl Fn(Slot) -> bool, random: &Random) -> Recovered {
        let current = self.current.borrow();
        let mut found: Vec<Found> = Vec::new();
        for (family, key) in current.keys() {
            let Some(key) = DueKey::decode(key).filter(|_| *family == Family::Due) else {
                continue;
            };
            match found.last_mut() {
                _ if !owns(key.queue.slot) => {}
                Some(last) if last.queue == key.queue => last.entries += 1,
                _ => found.push(Found { queue: key.queue, entries: 1, first: key.due }),
            }
        }
        let mut stretches = Vec::new();
        while found.len() > 1 && !random.permille(200) {
            let rest = found.split_off(1 + random.index(found.len() - 1));
            let known = Known::UpTo(found.last().expect("at least one").queue);
            stretches.push(Stretch { queues: std::mem::replace(&mut found, rest), known });
        }
        stretches.push(Stretch { queues: found, known: Known::All });
        let envelopes = current.keys().rev().find(|(family, _)| *family == Family::Envelope);
        let newest = envelopes.and_then(|(_, key)| {
            let id = u64::from_be_bytes(*key.first_chunk::<ID_KEY_LEN>()?);
            Some(MessageId::from_u64(id))
        });
        Recovered { stretches, newest }
    }

    /// See [`baton::shard::world::World::pages`].
    pub fn page(&self, Asked { after, until, limit }: Asked) -> Page {
        let queue = after.queue;
        let current = self.current.borrow();
        let from = Bound::Excluded((Family::Due, after.encode().to_vec()));
        let mut page = Page::default();
        for ((family, key), record) in current.range((from, Bound::Unbounded)) {
            let Some(key) = DueKey::decode(key).filter(|_| *family == Family::Due) else { break };
            if key.queue != queue {
                break;
            }
            if key.due > until || page.entries.len() == limit {
                page.next = Some(key.due);
                break;
            }
            page.entries.push(DuePut { key, record: record.clone() });
        }
        page
    }

    /// See [`baton::shard::world::World::load`].
    pub fn load(&self, id: MessageId) -> Result<Option<(Envelope, Body)>, LoadError> {
        let current = self.current.borrow();
        let get = |family| current.get(&(family, id_key(id).to_vec()));
        let Some(envelope) = get(Family::Envelope) else { return Ok(None) };
        let envelope = decode_envelope(id, envelope).map_err(LoadError::Record)?;
        match get(Family::Body) {
            Some(record) if record.first() == Some(&BODY_VERSION) => {
                Ok(Some((envelope, Body::from_record(record.clone()))))
            }
            _ => {
                let what = "missing or of an unknown version";
                Err(LoadError::Record(BadRecord { family: "body", at: 0, what }))
            }
        }
    }

    /// Everything that waits.
    ///
    /// # Panics
    /// When a record cannot be read or an entry has no message: nothing may write that.
    pub fn waiting(&self) -> Vec<Waiting> {
        let current = self.current.borrow();
        let due = current.iter().filter(|((family, _), _)| *family == Family::Due);
        due.map(|((_, key), record)| {
            let key = DueKey::decode(key).expect("a key of due");
            let due = decode_due(record).expect("a record of due");
            let found = self.load(key.id).expect("a message that can be read");
            let (envelope, body) = found.unwrap_or_else(|| panic!("{key:?} has no message"));
            Waiting { due, envelope, body }
        })
        .collect()
    }
}
