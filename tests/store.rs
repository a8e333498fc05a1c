//! The store against a real RocksDB in a directory of its own: durability, recovery, reads,
//! refusals.
//!
//! Nothing here sleeps: where an order matters, an observer holds the committer's thread until the
//! test has looked. The directories are under cargo's own, not `/tmp`, which may be memory and
//! is then refused by the store, as it should be.
//! How the committer behaves on a disk that fails is tested in `src/store/committer.rs`.

use baton::message::{
    Address, Body, BodyKind, Cause, Envelope, MessageId, Notify, Origin, Protocol, Recipient,
    ReversePath, SenderId, StatusCode,
};
use baton::queue::change::{Change, DuePut};
use baton::queue::commit::{Commit, CommitError, Committed};
use baton::queue::key::{DueKey, HELD, QueueKey, Slot};
use baton::queue::record::{Due, Pending, encode_due, encode_envelope};
use baton::queue::schedule::Schedule;
use baton::shard::world::{Asked, Page};
use baton::store::{
    Batch, CommitObserver, CommitResult, Committer, CommitterThread, Completions, Done, Selection,
    Store, StoreError, StoreOptions, Times, Totals,
};
use baton::time::Stamp;
use futures_lite::future::{block_on, poll_fn};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};

static DIRECTORIES: AtomicU64 = AtomicU64::new(0);

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("store-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        sync: true,
        memtable_bytes: 16 << 20,
        wal_recycle: 2,
        free_bytes_min: 0,
        commit_bytes_max: 64 << 20,
    }
}

/// Hears nothing.
struct Deaf;

impl CommitObserver for Deaf {
    fn synced(&mut self) {}

    fn batch(&mut self, _batch: &Batch) {}
    fn disk(&mut self, _low: bool, _free_bytes: u64) {}
    fn poisoned(&mut self, _error: &StoreError) {}
}

/// Tells of each batch and holds its results back until it is let go on.
struct Gate {
    written: Sender<Batch>,
    go_on: Receiver<()>,
}

impl CommitObserver for Gate {
    fn synced(&mut self) {}

    fn batch(&mut self, batch: &Batch) {
        // A test that is over holds nothing back.
        let _ = self.written.send(*batch);
        let _ = self.go_on.recv();
    }
    fn disk(&mut self, _low: bool, _free_bytes: u64) {}
    fn poisoned(&mut self, _error: &StoreError) {}
}

/// An open store with its committer and one shard's completions.
struct Relay {
    store: Store,
    committer: Committer,
    thread: CommitterThread,
    completions: Arc<Completions<CommitResult>>,
}

impl Relay {
    fn open(path: &Path) -> Self {
        Relay::observed(path, &options(), Deaf)
    }

    fn observed(path: &Path, options: &StoreOptions, observer: impl CommitObserver) -> Self {
        let store = Store::open(path, options).unwrap();
        let (committer, thread) = Committer::start(store.clone(), observer).unwrap();
        Relay { store, committer, thread, completions: Completions::new() }
    }

    fn done(&self, ticket: u64) -> Done<CommitResult> {
        Done { queue: Arc::clone(&self.completions), ticket }
    }

    fn next(&self) -> (u64, Result<Committed, CommitError>) {
        block_on(poll_fn(|cx| self.completions.poll_next(cx)))
    }

    /// Commits and waits.
    fn commit(&self, changes: Vec<Change>) -> Committed {
        self.committer.submit(Commit::new(changes), self.done(1)).unwrap();
        self.next().1.unwrap()
    }

    fn stop(self) {
        self.thread.stop().unwrap();
    }
}

fn stamp(millis: u64) -> Stamp {
    Stamp::from_millis(millis)
}

/// An id of slot `slot`.
fn id(slot: u8, number: u64) -> MessageId {
    MessageId::from_u64(1_000_000 << 22 | u64::from(slot) << 14 | number)
}

const SENDER: &str = "local|peer|127.0.0.1";

fn envelope(id: MessageId, domains: &[&str]) -> Envelope {
    let address = |text: String| {
        let at = text.rfind('@').unwrap();
        Address::from_checked(text, at)
    };
    let recipient = |domain: &&str| Recipient {
        address: address(format!("joe@{domain}")),
        notify: Notify::Unspecified,
        original: None,
    };
    Envelope {
        id,
        received: stamp(5),
        sender: ReversePath::Null,
        sender_id: SenderId::from_record(SENDER),
        recipients: domains.iter().map(recipient).collect(),
        body: BodyKind::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: "127.0.0.1".parse().unwrap(),
            helo: "x".into(),
            protocol: Protocol::default(),
            account: "local".into(),
        },
        size: 3,
    }
}

fn due_key(id: MessageId, domain: &str, due: u64, group: u16) -> DueKey {
    let queue = QueueKey::new(id.slot(), domain, SENDER);
    DueKey { queue, due: stamp(due), id, group }
}

fn due_record(domain: &str, groups: u16, recipient: u16, attempts: u16) -> Due {
    let lost = Cause::local(StatusCode::new(4, 4, 2), "connection lost");
    let last = (attempts > 0).then_some(lost);
    Due {
        domain: domain.into(),
        sender_id: SENDER.into(),
        size: 3,
        groups,
        attempts,
        expires: stamp(9_000),
        delay_told: false,
        pending: vec![Pending { recipient, last }],
    }
}

fn message() -> Body {
    Body::from_message(b"Subject: x\r\n\r\nhello\r\n")
}

/// One message, one group per domain, all due at `due`.
fn accept_at(id: MessageId, domains: &[&str], due: u64) -> Change {
    let groups = domains.len() as u16;
    let put = |(group, domain): (u16, &&str)| DuePut {
        key: due_key(id, domain, due, group),
        record: encode_due(&due_record(domain, groups, group, 0)),
    };
    Change::Accept {
        id,
        envelope: encode_envelope(&envelope(id, domains)),
        body: message(),
        due: (0..).zip(domains).map(put).collect(),
    }
}

fn accept(id: MessageId, domains: &[&str]) -> Change {
    accept_at(id, domains, 10)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn keys(page: &Page) -> Vec<DueKey> {
    page.entries.iter().map(|put| put.key).collect()
}

/// What a scan to its end leads to.
struct Recovered {
    schedule: Schedule,
    entries: u64,
    domains: u64,
    damaged: u64,
}

fn recover(store: &Store, owns: impl Fn(Slot) -> bool) -> Recovered {
    let mut schedule = Schedule::recovering();
    let mut scan = store.scan(owns);
    while !schedule.knows_all() {
        schedule.recovers(&scan.stretch().unwrap());
    }
    let Totals { entries, domains, damaged } = scan.totals();
    assert_eq!(schedule.entries(), entries);
    Recovered { schedule, entries, domains, damaged }
}

#[test]
fn what_was_committed_is_there_after_a_stop_and_a_start() {
    let scratch = Scratch::new();
    let path = scratch.path("deep/data");
    let (one, two) = (id(0, 1), id(3, 2));
    let relay = Relay::open(&path);
    let reply = relay.commit(vec![accept(one, &["a.test"])]).reply();
    let mut line = Vec::new();
    reply.write(&mut line);
    assert!(String::from_utf8(line).unwrap().contains(&one.to_string()));
    relay.commit(vec![accept(two, &["a.test", "b.test"])]);
    relay.stop();

    let store = Store::open(&path, &options()).unwrap();
    let all = recover(&store, |_| true);
    assert_eq!((all.entries, all.domains, all.damaged), (3, 3, 0));
    assert_eq!(store.newest().unwrap(), Some(one.max(two)));
    assert_eq!(all.schedule.next_wake(), Some(stamp(10)));
    // A shard recovers its own slots.
    let third = recover(&store, |slot| slot % 4 == 3);
    assert_eq!((third.entries, third.domains), (2, 2));
    let none = recover(&store, |slot| slot == 200);
    assert_eq!(none.entries, 0);

    assert_eq!(store.load(one), Ok(Some((envelope(one, &["a.test"]), message()))));
    assert_eq!(store.load(id(0, 99)), Ok(None));
}

#[test]
fn groups_are_counted_down_across_restarts() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    let domains = ["a.test", "b.test", "c.test"];
    let relay = Relay::open(&path);
    relay.commit(vec![accept(id(0, 1), &domains)]);
    relay.stop();
    for (group, domain) in (0..).zip(domains) {
        let relay = Relay::open(&path);
        assert!(relay.store.load(id(0, 1)).unwrap().is_some(), "before group {group}");
        assert_eq!(recover(&relay.store, |_| true).entries, 3 - u64::from(group));
        relay.commit(vec![Change::Finish { key: due_key(id(0, 1), domain, 10, group), groups: 3 }]);
        relay.stop();
    }
    let store = Store::open(&path, &options()).unwrap();
    assert_eq!(store.load(id(0, 1)), Ok(None));
    assert_eq!(store.newest().unwrap(), None, "the count of groups is gone too");
}

#[test]
fn a_crash_after_the_answer_loses_nothing() {
    let scratch = Scratch::new();
    let (path, after) = (scratch.path("data"), scratch.path("after"));
    let relay = Relay::open(&path);
    relay.commit(vec![accept(id(0, 1), &["a.test"])]);
    let retried = due_key(id(0, 1), "a.test", 500, 0);
    let record = encode_due(&due_record("a.test", 1, 0, 1));
    let new = DuePut { key: retried, record };
    relay.commit(vec![Change::Retry { old: due_key(id(0, 1), "a.test", 10, 0), new }]);
    relay.commit(vec![accept(id(0, 2), &["b.test"])]);
    // What the disk holds now is what a crash would leave.
    copy(&path, &after);

    let store = Store::open(&after, &options()).unwrap();
    assert!(store.load(id(0, 1)).unwrap().is_some() && store.load(id(0, 2)).unwrap().is_some());
    let listed = store.list(&Selection::default(), None, 10).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&(retried, Ok(due_record("a.test", 1, 0, 1)))));
    relay.stop();
}

#[test]
fn nothing_is_answered_before_it_is_written_and_synced() {
    let scratch = Scratch::new();
    let (written, batches) = channel();
    let (go_on, gate) = channel();
    let observer = Gate { written, go_on: gate };
    let relay = Relay::observed(&scratch.path("data"), &options(), observer);
    relay
        .committer
        .submit(Commit::new(vec![accept(id(0, 1), &["a.test"])]), relay.done(7))
        .unwrap();
    let batch = batches.recv().unwrap();
    assert!(batch.synced && batch.commits == 1 && batch.changes == 1 && batch.bytes > 0);
    assert!(relay.store.load(id(0, 1)).unwrap().is_some());
    let mut idle = Context::from_waker(Waker::noop());
    assert!(relay.completions.poll_next(&mut idle).is_pending(), "the thread is still at it");
    go_on.send(()).unwrap();
    let (ticket, result) = relay.next();
    assert!(ticket == 7 && result.is_ok());

    let finish = Change::Finish { key: due_key(id(0, 1), "a.test", 10, 0), groups: 1 };
    relay.committer.submit(Commit::new(vec![finish]), relay.done(8)).unwrap();
    assert!(!batches.recv().unwrap().synced, "nobody was promised anything");
    go_on.send(()).unwrap();
    assert_eq!(relay.next().0, 8);
    drop(go_on);
    relay.stop();
}

#[test]
fn what_waits_during_a_sync_shares_the_next_one() {
    let scratch = Scratch::new();
    let (written, batches) = channel();
    let (go_on, gate) = channel();
    let observer = Gate { written, go_on: gate };
    let relay = Relay::observed(&scratch.path("data"), &options(), observer);
    let submit = |number| {
        let commit = Commit::new(vec![accept(id(0, number), &["a.test"])]);
        relay.committer.submit(commit, relay.done(number)).unwrap();
    };
    submit(1);
    batches.recv().unwrap();
    (2..=40).for_each(submit);
    go_on.send(()).unwrap();
    assert_eq!(batches.recv().unwrap().commits, 39);
    go_on.send(()).unwrap();
    let tickets: Vec<u64> = (0..40).map(|_| relay.next().0).collect();
    assert_eq!(tickets, (1..=40).collect::<Vec<_>>(), "in the order of the commits");
    let statistics = relay.committer.statistics();
    assert_eq!((statistics.commits, statistics.batches, statistics.wal_syncs), (40, 2, 2));
    assert_eq!(statistics.waiting_bytes, 0);
    drop(go_on);
    relay.stop();
}

#[test]
fn many_threads_commit_at_once_and_each_gets_its_own_answers() {
    const THREADS: u64 = 8;
    const EACH: u64 = 100;
    let scratch = Scratch::new();
    let relay = Relay::open(&scratch.path("data"));
    let start = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (committer, start) = (relay.committer.clone(), &start);
            scope.spawn(move || {
                let completions = Completions::new();
                start.wait();
                for number in 0..EACH {
                    let change = accept(id(thread as u8, number), &["a.test", "b.test"]);
                    let done = Done { queue: Arc::clone(&completions), ticket: number };
                    committer.submit(Commit::new(vec![change]), done).unwrap();
                }
                for number in 0..EACH {
                    let (ticket, result) = block_on(poll_fn(|cx| completions.poll_next(cx)));
                    assert_eq!(ticket, number);
                    result.unwrap();
                }
                assert!(
                    completions.poll_next(&mut Context::from_waker(Waker::noop())).is_pending()
                );
            });
        }
    });
    let statistics = relay.committer.statistics();
    assert_eq!(statistics.commits, THREADS * EACH);
    assert!(statistics.wal_syncs < statistics.commits, "{statistics:?}");
    assert_eq!(recover(&relay.store, |_| true).entries, 2 * THREADS * EACH);
    relay.stop();
}

#[test]
fn a_page_is_a_bounded_piece_of_one_queue() {
    let scratch = Scratch::new();
    let relay = Relay::open(&scratch.path("data"));
    let at = |due| due_key(id(0, due), "a.test", due, 0);
    let accepts = [10, 20, 30, 40, 50].map(|due| accept_at(id(0, due), &["a.test"], due));
    relay.commit(accepts.into());
    // Neighbours in the key space: the same domain of another slot, other domains of this one.
    relay.commit(vec![accept(id(1, 1), &["a.test"]), accept(id(0, 2), &["b.test", "c.test"])]);
    relay.commit(vec![Change::Finish { key: at(20), groups: 1 }]);

    let queue = QueueKey::new(0, "a.test", SENDER);
    let first = DueKey::first(queue, stamp(0));
    let page = |after, until, limit| {
        let page = relay.store.page(Asked { after, until: stamp(until), limit }).unwrap();
        (keys(&page), page.next)
    };
    assert_eq!(page(first, 30, 9), (vec![at(10), at(30)], Some(stamp(40))), "finished is skipped");
    assert_eq!(page(first, 99, 2), (vec![at(10), at(30)], Some(stamp(40))), "limit");
    assert_eq!(page(at(30), 99, 9), (vec![at(40), at(50)], None), "after is exclusive");
    assert_eq!(page(at(10), 9, 9), (vec![], Some(stamp(30))), "nothing due");
    assert_eq!(page(at(50), 99, 9), (vec![], None));
    assert_eq!(page(first, 99, 0), (vec![], Some(stamp(10))));
    let empty = QueueKey { slot: u8::MAX, domain: u64::MAX, sender: u64::MAX };
    let past = relay.store.page(Asked {
        after: DueKey::first(empty, stamp(0)),
        until: stamp(99),
        limit: 9,
    });
    assert_eq!(past, Ok(Page::default()), "the last queue there can be");
    let record =
        &relay.store.page(Asked { after: first, until: stamp(99), limit: 1 }).unwrap().entries[0]
            .record;
    assert_eq!(*record, encode_due(&due_record("a.test", 1, 0, 0)));
    relay.stop();
}

#[test]
fn lists_show_what_waits() {
    let scratch = Scratch::new();
    let relay = Relay::open(&scratch.path("data"));
    let (one, two, three) = (id(0, 1), id(2, 2), id(9, 3));
    relay.commit(vec![
        accept(one, &["a.test", "b.test"]),
        accept(two, &["a.test"]),
        accept(three, &["c.test"]),
    ]);
    let store = &relay.store;
    let ids = |listed: Vec<(DueKey, _)>| listed.iter().map(|(key, _)| key.id).collect::<Vec<_>>();
    let a = Selection::new(Some("a.test"), None, Times::All);
    assert_eq!(ids(store.list(&a, None, 9).unwrap()), [one, two]);
    let (first, due) = store.list(&a, None, 1).unwrap().remove(0);
    assert_eq!((first.id, due), (one, Ok(due_record("a.test", 2, 0, 0))));
    assert_eq!(ids(store.list(&a, Some(first), 9).unwrap()), [two]);
    let z = Selection::new(Some("z.test"), None, Times::All);
    assert_eq!(store.list(&z, None, 9), Ok(vec![]));

    let all = store.list(&Selection::default(), None, 9).unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(store.list(&Selection::default(), Some(all[1].0), 9).unwrap(), all[2..]);

    let found = store.due_of(&envelope(one, &["a.test", "b.test"])).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(key, due)| key.id == one && due.is_ok()));

    let listed = |from, limit| {
        let envelopes = store.envelopes(from, limit).unwrap();
        envelopes.into_iter().map(|(id, envelope)| (id, envelope.is_ok())).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 9), [(one, true), (two, true), (three, true)]);
    assert_eq!(listed(Some(two), 1), [(two, true)]);
    relay.stop();
}

/// An entry of `sender`, as `accept` would put it.
fn accept_from(id: MessageId, sender: &str, domain: &str, due: Stamp) -> Change {
    let queue = QueueKey::new(id.slot(), domain, sender);
    let record = Due { sender_id: sender.into(), ..due_record(domain, 1, 0, 0) };
    let put = DuePut { key: DueKey { queue, due, id, group: 0 }, record: encode_due(&record) };
    let envelope = Envelope { sender_id: SenderId::from_record(sender), ..envelope(id, &[domain]) };
    let envelope = encode_envelope(&envelope);
    Change::Accept { id, envelope, body: message(), due: vec![put] }
}

#[test]
fn lists_pick_one_sender_one_domain_or_what_is_held() {
    let scratch = Scratch::new();
    let relay = Relay::open(&scratch.path("data"));
    let domains = ["a.test", "b.test", "c.test"];
    let senders = ["acme|mailbox|a", "acme|mailbox|b", "acme|mailbox|c"];
    let mut changes = Vec::new();
    for (number, (domain, sender)) in
        (0..).zip(domains.iter().flat_map(|domain| senders.map(|sender| (domain, sender))))
    {
        for slot in [0, 5, u8::MAX] {
            changes.push(accept_from(id(slot, 2 * number), sender, domain, stamp(10)));
            changes.push(accept_from(id(slot, 2 * number + 1), sender, domain, HELD));
        }
    }
    relay.commit(changes);
    let all = relay.store.list(&Selection::default(), None, 99).unwrap();
    assert_eq!(all.len(), 3 * 3 * 3 * 2);
    for domain in [None, Some("b.test"), Some("z.test")] {
        for sender in [None, Some(senders[1]), Some("acme|mailbox|z")] {
            for times in [Times::All, Times::Held] {
                let selection = Selection::new(domain, sender, times);
                let wanted = |(key, due): &&(DueKey, Result<Due, _>)| {
                    let due = due.as_ref().unwrap();
                    domain.is_none_or(|domain| *due.domain == *domain)
                        && sender.is_none_or(|sender| *due.sender_id == *sender)
                        && (times == Times::All || key.is_held())
                };
                let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
                // A piece at a time, as a long list is read.
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let piece = relay.store.list(&selection, after, 4).unwrap();
                    let Some((last, _)) = piece.last() else { break };
                    after = Some(*last);
                    found.extend(piece);
                }
                assert_eq!(found, expected, "{selection:?}");
            }
        }
    }
    relay.stop();
}

#[test]
fn a_nearly_full_disk_stops_acceptance_and_lets_outcomes_through() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    let relay = Relay::open(&path);
    relay.commit(vec![accept(id(0, 1), &["a.test"])]);
    relay.stop();

    let full = StoreOptions { free_bytes_min: u64::MAX / 2, ..options() };
    let relay = Relay::observed(&path, &full, Deaf);
    assert_eq!(relay.committer.accepts(), Err(CommitError::LowDisk));
    let refused = Commit::new(vec![accept(id(0, 2), &["a.test"])]);
    assert_eq!(relay.committer.submit(refused, relay.done(1)), Err(CommitError::LowDisk));
    relay.commit(vec![Change::Finish { key: due_key(id(0, 1), "a.test", 10, 0), groups: 1 }]);
    assert_eq!(relay.store.load(id(0, 1)), Ok(None));
    relay.stop();
}

#[test]
fn a_second_instance_is_refused_and_told_who_has_it() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    let store = Store::open(&path, &options()).unwrap();
    let refused = Store::open(&path, &options()).unwrap_err();
    let ours = std::process::id();
    assert!(
        matches!(&refused, StoreError::Locked { by: Some(by), .. } if *by == ours),
        "{refused}"
    );
    drop(store);
    Store::open(&path, &options()).expect("the lock goes with the store");
}

#[test]
fn directories_that_cannot_be_a_store_are_refused_with_the_reason() {
    let scratch = Scratch::new();
    let open = |path: &Path| Store::open(path, &options()).unwrap_err();

    let file = scratch.path("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(open(&file), StoreError::NotADirectory { .. }));
    assert!(matches!(open(&file.join("below")), StoreError::NotADirectory { .. }));

    // Where there is a tmpfs at all.
    let memory = Path::new("/dev/shm").join(format!("baton-store-{}", std::process::id()));
    if fs::create_dir(&memory).is_ok() {
        let refused = open(&memory);
        fs::remove_dir_all(&memory).unwrap();
        assert!(matches!(refused, StoreError::DoesNotSync { .. }), "{refused}");
        assert!(refused.to_string().contains("data_dir"), "{refused}");
    }
}

#[test]
fn a_format_that_is_not_ours_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("newer");
    Store::open(&path, &options()).unwrap();
    let raw = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&raw, &path).unwrap();
    let write = |record: Option<&[u8]>| {
        let db = rocksdb::DB::open_cf(&raw, &path, &families).unwrap();
        let meta = db.cf_handle("meta").unwrap();
        match record {
            Some(record) => db.put_cf(meta, b"format", record).unwrap(),
            None => {
                db.delete_cf(meta, b"format").unwrap();
                db.put_cf(db.cf_handle("body").unwrap(), b"somebody", b"mail").unwrap();
            }
        }
    };
    write(Some(&3u32.to_be_bytes()));
    let refused = Store::open(&path, &options()).unwrap_err();
    assert!(matches!(refused, StoreError::FormatNewer { found: 3, known: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("newer baton"), "{refused}");
    write(Some(&0u32.to_be_bytes()));
    let refused = Store::open(&path, &options()).unwrap_err();
    assert!(matches!(refused, StoreError::FormatDamaged { .. }), "{refused}");
    write(Some(b"?"));
    let refused = Store::open(&path, &options()).unwrap_err();
    assert!(matches!(refused, StoreError::FormatDamaged { .. }), "{refused}");
    write(None);
    let refused = Store::open(&path, &options()).unwrap_err();
    assert!(matches!(refused, StoreError::FormatDamaged { .. }), "{refused}");
}

/// An entry as format 1 wrote it, octet by octet.
fn old_entry(id: MessageId, domain: &str, due: u64, groups: u16, group: u16) -> (Vec<u8>, Vec<u8>) {
    let hash = QueueKey::new(0, domain, "").domain.to_be_bytes();
    let (due, number) = (due.to_be_bytes(), id.as_u64().to_be_bytes());
    let key = [&[id.slot()][..], &hash, &due, &number, &group.to_be_bytes()].concat();
    let length = (domain.len() as u32).to_be_bytes();
    let expires = 9_000u64.to_be_bytes();
    let head = [&[1][..], &length, domain.as_bytes(), &groups.to_be_bytes(), &[0, 0], &expires];
    // One recipient, without a last cause.
    let record = [&head.concat()[..], &[0, 1], &group.to_be_bytes(), &[0]].concat();
    (key, record)
}

/// Puts what a relay of format 1 left into `path`: messages of two groups each, under the ids of
/// `numbers`.
fn write_format_1(path: &Path, numbers: std::ops::Range<u64>) {
    drop(Store::open(path, &options()).unwrap());
    let raw = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&raw, path).unwrap();
    let db = rocksdb::DB::open_cf(&raw, path, &families).unwrap();
    let family = |name| db.cf_handle(name).unwrap();
    let mut batch = rocksdb::WriteBatch::default();
    for number in numbers {
        let (id, domains) = (id((number % 3) as u8, number), ["a.test", "b.test"]);
        let key = id.as_u64().to_be_bytes();
        batch.put_cf(family("body"), key, message().record());
        batch.put_cf(family("envelope"), key, encode_envelope(&envelope(id, &domains)));
        batch.put_cf(family("envelope"), [&key[..], b"n"].concat(), 2u16.to_be_bytes());
        for (group, domain) in (0..).zip(domains) {
            let (key, record) = old_entry(id, domain, 10 + number, 2, group);
            batch.put_cf(family("due"), key, record);
        }
    }
    batch.put_cf(family("meta"), b"format", 1u32.to_be_bytes());
    db.write(batch).unwrap();
}

/// What `write_format_1` put, as this version has it.
fn upgraded_entries(numbers: std::ops::Range<u64>) -> Vec<(DueKey, Due)> {
    let groups = numbers.flat_map(|number| {
        let id = id((number % 3) as u8, number);
        (0..).zip(["a.test", "b.test"]).map(move |(group, domain)| {
            (due_key(id, domain, 10 + number, group), due_record(domain, 2, group, 0))
        })
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|(key, _)| *key);
    groups
}

fn everything(store: &Store) -> Vec<(DueKey, Due)> {
    let listed = store.list(&Selection::default(), None, usize::MAX).unwrap();
    listed.into_iter().map(|(key, due)| (key, due.unwrap())).collect()
}

#[test]
fn a_store_of_format_1_is_upgraded_when_it_is_opened() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    // More than one batch.
    let numbers = 0..1_300;
    write_format_1(&path, numbers.clone());
    let relay = Relay::open(&path);
    let upgraded = relay.store.upgraded().unwrap();
    assert_eq!((upgraded.from, upgraded.entries, upgraded.damaged), (1, 2_600, 0));
    assert_eq!(everything(&relay.store), upgraded_entries(numbers));
    let recovered = recover(&relay.store, |_| true);
    assert_eq!((recovered.entries, recovered.domains, recovered.damaged), (2_600, 6, 0));
    // The counts of groups go on where they were.
    let finish =
        |group, domain| Change::Finish { key: due_key(id(0, 0), domain, 10, group), groups: 2 };
    relay.commit(vec![finish(0, "a.test")]);
    assert!(relay.store.load(id(0, 0)).unwrap().is_some());
    relay.commit(vec![finish(1, "b.test")]);
    assert_eq!(relay.store.load(id(0, 0)), Ok(None));
    relay.stop();
    let again = Store::open(&path, &options()).unwrap();
    assert_eq!(again.upgraded(), None, "once is enough");
    assert_eq!(everything(&again).len(), 2_598);
}

#[test]
fn an_upgrade_that_was_cut_off_goes_on_and_keeps_what_it_cannot_read() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    write_format_1(&path, 0..20);
    // As a crash leaves it: some entries are new already, the format record is the old one.
    drop(Store::open(&path, &options()).unwrap());
    write_format_1(&path, 20..30);
    let raw = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&raw, &path).unwrap();
    let strange = {
        let db = rocksdb::DB::open_cf(&raw, &path, &families).unwrap();
        let (orphan, record) = old_entry(id(0, 99), "a.test", 5, 1, 0);
        db.put_cf(db.cf_handle("due").unwrap(), &orphan, record).unwrap();
        let (damaged, _) = old_entry(id(0, 21), "a.test", 6, 1, 0);
        db.put_cf(db.cf_handle("due").unwrap(), &damaged, b"\x01??").unwrap();
        [orphan, damaged]
    };
    let store = Store::open(&path, &options()).unwrap();
    let upgraded = store.upgraded().unwrap();
    assert_eq!((upgraded.entries, upgraded.damaged), (20, 2), "what is new already is left alone");
    assert_eq!(everything(&store), upgraded_entries(0..30));
    let recovered = recover(&store, |_| true);
    assert_eq!((recovered.entries, recovered.damaged), (60, 2));
    drop(store);
    let db = rocksdb::DB::open_cf(&raw, &path, &families).unwrap();
    for key in strange {
        assert!(db.get_cf(db.cf_handle("due").unwrap(), key).unwrap().is_some());
    }
}

#[test]
fn the_database_of_another_program_is_refused_and_left_as_it_was() {
    let scratch = Scratch::new();
    let mut raw = rocksdb::Options::default();
    raw.create_if_missing(true);
    raw.create_missing_column_families(true);
    let (plain, named) = (scratch.path("plain"), scratch.path("named"));
    rocksdb::DB::open(&raw, &plain).unwrap().put(b"their", b"data").unwrap();
    rocksdb::DB::open_cf(&raw, &named, ["theirs"]).unwrap();
    for (path, theirs) in [(&plain, "default"), (&named, "theirs")] {
        let refused = Store::open(path, &options()).unwrap_err();
        let is_it = matches!(&refused, StoreError::Foreign { family, .. } if family == theirs);
        assert!(is_it, "{refused}");
        let families = rocksdb::DB::list_cf(&raw, path).unwrap();
        assert!(!families.iter().any(|family| family == "meta"), "{families:?}");
    }
    // A first start that was cut off before any family was made.
    let empty = scratch.path("empty");
    drop(rocksdb::DB::open(&raw, &empty).unwrap());
    Store::open(&empty, &options()).unwrap();
}

#[test]
fn a_backup_is_a_store() {
    let scratch = Scratch::new();
    let relay = Relay::open(&scratch.path("data"));
    relay.commit(vec![accept(id(0, 1), &["a.test"])]);
    let copy = scratch.path("copy");
    relay.store.backup(&copy).unwrap();
    relay.commit(vec![accept(id(0, 2), &["a.test"])]);
    let backup = Store::open(&copy, &options()).unwrap();
    assert!(backup.load(id(0, 1)).unwrap().is_some());
    assert_eq!(backup.load(id(0, 2)), Ok(None));
    assert!(relay.store.backup(&copy).is_err(), "never over something");
    relay.stop();
}

#[test]
fn large_bodies_come_back_from_blob_files() {
    let scratch = Scratch::new();
    let path = scratch.path("data");
    let relay = Relay::open(&path);
    let body = Body::from_message(&[b"Subject: x\r\n\r\n".as_slice(), &[b'y'; 200_000]].concat());
    let mut change = accept(id(0, 1), &["a.test"]);
    if let Change::Accept { body: small, .. } = &mut change {
        *small = body.clone();
    }
    relay.commit(vec![change]);
    // A backup flushes.
    relay.store.backup(&scratch.path("copy")).unwrap();
    let figures = relay.store.figures();
    assert!(
        figures.blob_bytes > 0 && figures.table_bytes > 0 && figures.wal_files > 0,
        "{figures:?}"
    );
    assert_eq!(relay.store.load(id(0, 1)).unwrap().unwrap().1, body);
    relay.stop();
}

/// A waker that fires once per batch is what makes pushing cheap.
#[test]
fn a_shard_is_woken_once_for_a_batch() {
    struct Counted(Mutex<u64>);
    impl std::task::Wake for Counted {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let scratch = Scratch::new();
    let (written, batches) = channel();
    let (go_on, gate) = channel();
    let observer = Gate { written, go_on: gate };
    let relay = Relay::observed(&scratch.path("data"), &options(), observer);
    let submit = |number| {
        let commit = Commit::new(vec![accept(id(0, number), &["a.test"])]);
        relay.committer.submit(commit, relay.done(number)).unwrap();
    };
    submit(1);
    batches.recv().unwrap();
    (2..=20).for_each(submit);
    go_on.send(()).unwrap();
    relay.next().1.unwrap();
    let counted = Arc::new(Counted(Mutex::new(0)));
    let waker = Waker::from(Arc::clone(&counted));
    let mut cx = Context::from_waker(&waker);
    assert!(relay.completions.poll_next(&mut cx).is_pending());
    batches.recv().unwrap();
    drop(go_on);
    let committer = relay.committer.clone();
    let completions = Arc::clone(&relay.completions);
    relay.stop();
    assert_eq!(*counted.0.lock().unwrap(), 1);
    let left = std::iter::from_fn(|| match completions.poll_next(&mut cx) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    });
    assert_eq!(left.count(), 19);
    let late = Commit::new(vec![accept(id(0, 99), &["a.test"])]);
    let done = Done { queue: completions, ticket: 99 };
    assert_eq!(committer.submit(late, done), Err(CommitError::Busy), "a stopped committer");
}
