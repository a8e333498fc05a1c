//! What a person does to entries that wait: retry, hold, release, drop.
//!
//! One operation at a time goes through a shard's queues beside the mail. It takes a few queues at a
//! time from the schedule, by the hashes in their keys, reads their entries in pages, checks the
//! names in the records (what merely has the same hash is somebody else's mail), and commits the
//! changes of a thousand entries or so together. So memory is bounded whatever the count, each step
//! is short, and a crash leaves every message either as it was or changed whole.
//!
//! An entry that is being changed is nobody else's until its commit is done; one that an attempt is
//! going on with is left alone and counted. Ready entries that no connection has taken are taken
//! back out of their lanes first. What is accepted after an operation began is not its business, or
//! it might never end.
//!
//! Decides nothing about mail; sends nothing, no notices either: who drops, knows.

use super::world::{Asked, LoadError, Share, World};
use super::{Counted, Shard};
use crate::deliver::ready::Ready;
use crate::event::{Event, QueueAction};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::{Envelope, MessageId};
use crate::queue::change::{Change, DuePut};
use crate::queue::commit::Commit;
use crate::queue::key::{DueKey, HELD, QueueKey, name_hash};
use crate::queue::record::{Due, decode_due, encode_due};
use crate::time::Stamp;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

/// Entries and octets of one commit.
const BATCH_ENTRIES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Queues looked at in one step, most of which are somebody else's.
const QUEUES_AT_ONCE: usize = 4_096;
/// Operations that may wait for the one before; more are refused.
const OPERATIONS_WAITING_MAX: usize = 32;
/// Between two steps, so that mail has the core and the disk in between.
const BREATH: Duration = Duration::from_millis(1);

/// What is to be done, and to which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub action: QueueAction,
    pub filter: Filter,
}

/// Which entries; an absent condition matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The destination domain, in lower case.
    pub domain: Option<Box<str>>,
    pub sender: Option<SenderFilter>,
    pub id: Option<MessageId>,
}

/// How a sender is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderFilter {
    /// A sender id, verbatim.
    Id(Box<str>),
    /// The address of MAIL FROM, in any case; the envelope has to be read for it.
    Address(Box<str>),
}

impl SenderFilter {
    /// A sender id is `account|kind|value`. An address may hold two bars too, in theory; who has
    /// such a one names its sender id.
    pub fn new(text: &str) -> Self {
        match text.split('|').count() {
            3.. => SenderFilter::Id(text.into()),
            _ => SenderFilter::Address(text.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            SenderFilter::Id(text) | SenderFilter::Address(text) => text,
        }
    }
}

impl Filter {
    /// Whether entries of `queue` may match.
    fn may_hold(&self, queue: &QueueKey) -> bool {
        let sender = match &self.sender {
            Some(SenderFilter::Id(text)) => queue.sender == name_hash(text),
            Some(SenderFilter::Address(_)) | None => true,
        };
        sender && self.domain.as_deref().is_none_or(|domain| queue.domain == name_hash(domain))
    }

    /// Whether the entry matches, as far as its record tells.
    fn wants(&self, key: &DueKey, due: &Due) -> bool {
        let sender = match &self.sender {
            Some(SenderFilter::Id(text)) => *text == due.sender_id,
            Some(SenderFilter::Address(_)) | None => true,
        };
        sender
            && self.domain.as_deref().is_none_or(|domain| *domain == *due.domain)
            && self.id.is_none_or(|id| id == key.id)
    }

    /// The address to look for in envelopes, which records do not have.
    fn address(&self) -> Option<&str> {
        match &self.sender {
            Some(SenderFilter::Address(text)) => Some(text),
            Some(SenderFilter::Id(_)) | None => None,
        }
    }
}

/// What an operation did on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub changed: u64,
    /// Left alone: an attempt on them goes on, or they are being accepted.
    pub under_way: u64,
    /// Left alone: records that cannot be read, and queues that could not be.
    pub damaged: u64,
}

/// Takes the counts of an operation that ended; dropped when it was refused or cut short.
type Tell = Box<dyn FnOnce(Counts)>;

/// The operations of a shard.
#[derive(Default)]
pub(super) struct Operations {
    waiting: RefCell<VecDeque<(Operation, Tell)>>,
    at_work: Cell<bool>,
}

/// Why an operation ends early: the shard stops, or the store takes nothing more.
struct CutShort;

impl<W: World> Shard<W> {
    /// Has `operation` done in the background and its counts told. `tell` is dropped untold when
    /// the shard stops before, or too many operations wait.
    pub fn operate(&self, operation: Operation, tell: impl FnOnce(Counts) + 'static) {
        let operations = &self.inner.operations;
        let mut waiting = operations.waiting.borrow_mut();
        if waiting.len() >= OPERATIONS_WAITING_MAX || self.inner.stopping.get() {
            return;
        }
        waiting.push_back((operation, Box::new(tell)));
        if !operations.at_work.replace(true) {
            self.inner.world.spawn(Share::Background, work_off(self.clone()));
        }
    }
}

async fn work_off<W: World>(shard: Shard<W>) {
    let _counted = Counted::new(&shard.inner.settling);
    let _at_work = AtWork(&shard.inner.operations.at_work);
    // A queue that recovery has not read has entries that nobody has counted.
    while !shard.inner.schedule.borrow().knows_all() && !shard.inner.stopping.get() {
        shard.inner.recovered.wait().await;
    }
    if shard.inner.stopping.get() {
        // Nothing has begun, and whoever asked is told so.
        return shard.inner.operations.waiting.borrow_mut().clear();
    }
    loop {
        let next = shard.inner.operations.waiting.borrow_mut().pop_front();
        let Some((operation, tell)) = next else { return };
        // What is cut short drops `tell`, which tells as well.
        let mut run = Run::new(&shard, &operation);
        match run.complete().await {
            Ok(()) => tell(run.counts),
            Err(CutShort) => run.give_back(),
        }
    }
}

/// Also after a panic the next operation finds somebody to do it.
struct AtWork<'a>(&'a Cell<bool>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// An entry on its way into a commit; it is changing in the schedule, or still taken.
struct Marked {
    key: DueKey,
    new: Option<DuePut>,
    due: Due,
}

/// One operation at work.
struct Run<'a, W: World> {
    shard: &'a Shard<W>,
    operation: &'a Operation,
    began: Stamp,
    /// No message accepted later has a smaller id.
    newest: MessageId,
    batch: Vec<Marked>,
    batch_bytes: usize,
    counts: Counts,
    /// Entries that somebody else had, and may still have. Looked through now and then, so that it
    /// stays near what a shard may take into memory.
    under_way: HashSet<DueKey>,
}

/// Entries noted as under way between two looks at whether they still are.
const UNDER_WAY_LOOK: usize = 4_096;

impl<'a, W: World> Run<'a, W> {
    fn new(shard: &'a Shard<W>, operation: &'a Operation) -> Self {
        let began = shard.inner.world.stamp();
        Run {
            shard,
            operation,
            began,
            newest: shard.inner.ids.borrow_mut().next(began),
            batch: Vec::new(),
            batch_bytes: 0,
            counts: Counts::default(),
            under_way: HashSet::new(),
        }
    }

    async fn complete(&mut self) -> Result<(), CutShort> {
        let began = self.shard.inner.world.moment();
        self.withdraw().await?;
        match self.operation.filter.id {
            Some(id) => self.sweep_message(id).await?,
            None => self.sweep_all().await?,
        }
        self.commit().await?;
        // While the disk was walked the pager went on to fill the lanes.
        self.withdraw().await?;
        self.commit().await?;
        self.counts.under_way += self.under_way.len() as u64;
        self.emit_changed(self.shard.inner.world.moment().since(began));
        Ok(())
    }

    /// What was marked and is not committed waits as before.
    fn give_back(&mut self) {
        let mut schedule = self.shard.inner.schedule.borrow_mut();
        self.batch.drain(..).for_each(|marked| schedule.returns(marked.key));
    }

    /// The queues of one message; its envelope names them.
    async fn sweep_message(&mut self, id: MessageId) -> Result<(), CutShort> {
        let envelope = match self.shard.inner.world.envelopes(vec![id]).await {
            Ok(mut found) => found.pop().flatten(),
            Err(error) => {
                self.skip(&error);
                None
            }
        };
        let Some(envelope) = envelope else { return Ok(()) };
        let sender = envelope.sender_id.as_str();
        let domains = envelope.recipients.iter().map(|one| one.address.domain_key());
        let queues: BTreeSet<QueueKey> =
            domains.map(|domain| QueueKey::new(id.slot(), &domain, sender)).collect();
        for queue in queues {
            let ours = self.shard.inner.schedule.borrow().has_queue(&queue);
            if ours && self.operation.filter.may_hold(&queue) {
                self.sweep(queue).await?;
            }
        }
        Ok(())
    }

    async fn sweep_all(&mut self) -> Result<(), CutShort> {
        let mut after = None;
        loop {
            self.check_stopping()?;
            let queues: Vec<QueueKey> = {
                let schedule = self.shard.inner.schedule.borrow();
                schedule.queues_after(after).take(QUEUES_AT_ONCE).collect()
            };
            let Some(last) = queues.last() else { return Ok(()) };
            after = Some(*last);
            for queue in queues.into_iter().filter(|queue| self.operation.filter.may_hold(queue)) {
                self.sweep(queue).await?;
            }
            self.shard.inner.world.sleep(BREATH).await;
        }
    }

    /// The part of a queue that the action is about: after which key, until when. What is due now
    /// needs no retry, and what is held already no hold.
    fn span(&self, queue: QueueKey) -> (DueKey, Stamp) {
        const BEFORE_HELD: Stamp = Stamp::from_millis(HELD.millis() - 1);
        let first = |due| DueKey::first(queue, due);
        match self.operation.action {
            QueueAction::Retry => (first(self.began.after(Duration::from_millis(1))), BEFORE_HELD),
            QueueAction::Hold => (first(Stamp::default()), BEFORE_HELD),
            QueueAction::Release => (first(HELD), HELD),
            QueueAction::Drop => (first(Stamp::default()), HELD),
        }
    }

    /// All of one queue.
    async fn sweep(&mut self, queue: QueueKey) -> Result<(), CutShort> {
        let (mut after, until) = self.span(queue);
        loop {
            self.check_stopping()?;
            let inner = &self.shard.inner;
            inner.schedule.borrow_mut().watch(queue);
            let asked = Asked { after, until, limit: PAGE_ENTRIES_MAX };
            let mut pages = inner.world.pages(vec![asked]).await;
            let page = match pages.pop().expect("a page for each that was asked for") {
                Ok(page) => page,
                Err(error) => {
                    inner.schedule.borrow_mut().watched();
                    self.skip(&error);
                    return Ok(());
                }
            };
            let more = page.next.is_some_and(|next| next <= until);
            after = page.entries.last().map_or(after, |put| put.key);
            let wanted = self.wanted(page.entries);
            let wanted = self.sent_from(wanted, |(key, ..)| key.id).await;
            self.mark_waiting(wanted);
            if self.batch.len() >= BATCH_ENTRIES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
                self.commit().await?;
                self.shard.inner.world.sleep(BREATH).await;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// What of a page matches by its records.
    fn wanted(&mut self, page: Vec<DuePut>) -> Vec<(DueKey, Due, Vec<u8>)> {
        let mut wanted = Vec::new();
        for DuePut { key, record } in page {
            match decode_due(&record) {
                Ok(due) if self.is_wanted(&key, &due) => wanted.push((key, due, record)),
                Ok(_) => {}
                Err(_) => self.counts.damaged += 1,
            }
        }
        wanted
    }

    fn is_wanted(&self, key: &DueKey, due: &Due) -> bool {
        key.id < self.newest && self.operation.filter.wants(key, due)
    }

    /// Those of `entries` whose envelope has the address that is looked for; all when none is.
    async fn sent_from<T>(&mut self, entries: Vec<T>, id: impl Fn(&T) -> MessageId) -> Vec<T> {
        let Some(address) = self.operation.filter.address() else { return entries };
        if entries.is_empty() {
            return entries;
        }
        let ids = entries.iter().map(id).collect();
        let envelopes = match self.shard.inner.world.envelopes(ids).await {
            Ok(envelopes) => envelopes,
            Err(error) => {
                self.skip(&error);
                return Vec::new();
            }
        };
        let is_from = |envelope: Option<Envelope>| {
            envelope.is_some_and(|one| one.sender.as_str().eq_ignore_ascii_case(address))
        };
        let with = entries.into_iter().zip(envelopes);
        with.filter_map(|(entry, envelope)| is_from(envelope).then_some(entry)).collect()
    }

    /// Takes what still waits and is nobody's. Nothing may be awaited between the look at what was
    /// settled meanwhile and this.
    fn mark_waiting(&mut self, entries: Vec<(DueKey, Due, Vec<u8>)>) {
        let settled = self.shard.inner.schedule.borrow_mut().watched();
        for (key, due, record) in entries {
            let mut schedule = self.shard.inner.schedule.borrow_mut();
            if settled.contains(&key) {
                continue;
            }
            if schedule.is_taken(&key) {
                drop(schedule);
                self.note_under_way(key);
                continue;
            }
            schedule.changes(key);
            drop(schedule);
            self.mark(key, due, record);
        }
    }

    fn note_under_way(&mut self, key: DueKey) {
        self.under_way.insert(key);
        if self.under_way.len().is_multiple_of(UNDER_WAY_LOOK) {
            let schedule = self.shard.inner.schedule.borrow();
            let before = self.under_way.len();
            self.under_way.retain(|key| schedule.is_taken(key));
            self.counts.under_way += (before - self.under_way.len()) as u64;
        }
    }

    fn mark(&mut self, key: DueKey, due: Due, record: Vec<u8>) {
        let put = |when| Some(DuePut { key: DueKey { due: when, ..key }, record });
        let new = match self.operation.action {
            QueueAction::Retry | QueueAction::Release => put(self.began),
            QueueAction::Hold => put(HELD),
            QueueAction::Drop => None,
        };
        self.batch_bytes += new.as_ref().map_or(0, |put| put.record.len());
        self.batch.push(Marked { key, new, due });
    }

    /// Takes ready entries out of the lanes, where the action is to keep them from being tried.
    async fn withdraw(&mut self) -> Result<(), CutShort> {
        match self.operation.action {
            QueueAction::Hold | QueueAction::Drop => {}
            QueueAction::Retry | QueueAction::Release => return Ok(()),
        }
        let mut ready = self.shard.withdraw(&|key, due| self.is_wanted(key, due));
        while !ready.is_empty() {
            let rest = ready.split_off(ready.len().min(PAGE_ENTRIES_MAX));
            let some = std::mem::replace(&mut ready, rest);
            let keys: Vec<DueKey> = some.iter().map(|entry| entry.key).collect();
            let wanted = self.sent_from(keys, |key| key.id).await;
            let wanted: HashSet<DueKey> = wanted.into_iter().collect();
            for entry in some {
                if wanted.contains(&entry.key) {
                    let Ready { key, due, .. } = entry;
                    self.under_way.remove(&key);
                    let record = encode_due(&due);
                    self.mark(key, due, record);
                } else {
                    self.shard.dispatch(entry);
                }
            }
            if self.batch.len() >= BATCH_ENTRIES_MAX {
                self.commit().await?;
            }
        }
        self.commit().await
    }

    /// Makes the marked changes last.
    async fn commit(&mut self) -> Result<(), CutShort> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        // Before, as with every other fate: a crash in between may bring back what the log says is
        // gone, but nothing goes without a line.
        self.emit_dropped(&batch);
        let change = |marked: &mut Marked| match marked.new.take() {
            Some(new) => Change::Retry { old: marked.key, new },
            None => Change::Finish { key: marked.key, groups: marked.due.groups },
        };
        let changes: Vec<Change> = batch.iter_mut().map(change).collect();
        let new_key = |change: &Change| match change {
            Change::Retry { new, .. } => Some(new.key),
            Change::Accept { .. } | Change::Finish { .. } => None,
        };
        let new_keys: Vec<Option<DueKey>> = changes.iter().map(new_key).collect();
        let committed = self.shard.inner.world.commit(Commit::new(changes)).await;
        let mut schedule = self.shard.inner.schedule.borrow_mut();
        if committed.is_err() {
            // The process is ending: what is not settled is as it was for the next one.
            batch.iter().for_each(|marked| schedule.returns(marked.key));
            return Err(CutShort);
        }
        for (marked, new) in batch.iter().zip(new_keys) {
            schedule.settles(marked.key, new);
        }
        drop(schedule);
        self.counts.changed += batch.len() as u64;
        // What waits is due now, or there is room where something was.
        self.shard.inner.pager.raise();
        Ok(())
    }

    fn check_stopping(&self) -> Result<(), CutShort> {
        if self.shard.inner.stopping.get() { Err(CutShort) } else { Ok(()) }
    }

    fn skip(&mut self, error: &LoadError) {
        self.counts.damaged += 1;
        self.shard.emit_damaged(None, error);
    }

    fn emit_dropped(&self, batch: &[Marked]) {
        match self.operation.action {
            QueueAction::Drop => {}
            QueueAction::Retry | QueueAction::Hold | QueueAction::Release => return,
        }
        for Marked { key, due, .. } in batch {
            self.shard.inner.world.emit(Event::EntryDropped {
                id: key.id,
                domain: due.domain.clone(),
                recipients: due.pending.len() as u32,
                sender_id: due.sender_id.clone(),
            });
        }
    }

    fn emit_changed(&self, took: Duration) {
        let Operation { action, filter } = self.operation;
        let sender = filter.sender.as_ref().map(SenderFilter::as_str);
        let Counts { changed, under_way, damaged } = self.counts;
        self.shard.inner.world.emit(Event::QueueChanged {
            action: *action,
            domain: filter.domain.clone().unwrap_or_default(),
            sender: sender.unwrap_or_default().into(),
            message: filter.id,
            entries: changed,
            under_way,
            damaged,
            millis: took.as_millis() as u64,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "acme|x-authuser|joe";

    fn entry(domain: &str, sender: &str) -> (DueKey, Due) {
        let queue = QueueKey::new(0, domain, sender);
        let key = DueKey { queue, due: Stamp::default(), id: MessageId::from_u64(7), group: 0 };
        let due = Due {
            domain: domain.into(),
            sender_id: sender.into(),
            size: 1,
            groups: 1,
            attempts: 0,
            expires: Stamp::default(),
            delay_told: false,
            pending: Vec::new(),
        };
        (key, due)
    }

    #[test]
    fn a_sender_is_an_id_or_an_address() {
        let rows = [(SENDER, true), ("a|b|", true), ("a|b|c|d", true), ("joe@a.test", false)];
        for (text, is_id) in rows.into_iter().chain([("a|b", false), ("odd|joe@a.test", false)]) {
            let filter = SenderFilter::new(text);
            assert_eq!(matches!(filter, SenderFilter::Id(_)), is_id, "{text}");
            assert_eq!(filter.as_str(), text);
        }
    }

    #[test]
    fn a_filter_matches_when_all_its_conditions_do() {
        let sender = |text: &str| Some(SenderFilter::new(text));
        let (key, due) = entry("x.test", SENDER);
        // domain, sender, id; whether the queue may hold it, whether the entry is wanted
        let rows = [
            (None, None, None, true, true),
            (Some("x.test"), sender(SENDER), Some(7), true, true),
            (Some("y.test"), None, None, false, false),
            (None, sender("acme|x-authuser|eve"), None, false, false),
            (None, None, Some(8), true, false),
            // Of an address the envelope tells.
            (None, sender("joe@a.test"), None, true, true),
            (Some("y.test"), sender("joe@a.test"), None, false, false),
        ];
        for (domain, sender, id, may_hold, wants) in rows {
            let domain = domain.map(Box::from);
            let filter = Filter { domain, sender, id: id.map(MessageId::from_u64) };
            assert_eq!(filter.may_hold(&key.queue), may_hold, "{filter:?}");
            assert_eq!(filter.wants(&key, &due), wants, "{filter:?}");
        }
    }

    #[test]
    fn what_has_the_same_hashes_and_other_names_is_somebody_elses() {
        let filter = Filter {
            domain: Some("x.test".into()),
            sender: Some(SenderFilter::new(SENDER)),
            id: None,
        };
        let (key, ours) = entry("x.test", SENDER);
        assert!(filter.may_hold(&key.queue) && filter.wants(&key, &ours));
        // In the same queue, as a collision would put it.
        let (_, other_sender) = entry("x.test", "evil|x-authuser|eve");
        let (_, other_domain) = entry("y.test", SENDER);
        assert!(!filter.wants(&key, &other_sender) && !filter.wants(&key, &other_domain));
    }
}
