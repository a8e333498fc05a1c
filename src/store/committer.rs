//! The committer: one thread that makes the changes of all shards durable, many at a time.
//!
//! While one batch is written and synced the next gathers; a batch is all that waits, up to a
//! bound. It owns three decisions: what is refused at the door (too much waiting, disk nearly full,
//! store failed), whether a batch is synced (it is when one commit in it accepted a message), and
//! what a failure means: **nothing is tried again**. The batch and everything after it is answered
//! `Poisoned`, the observer is told, the thread ends, and the process is to end with it.
//!
//! No result is handed over before the write, and the sync it needs, have returned. Every commit
//! that was taken is answered exactly once, also when the thread is gone. A panic in this thread,
//! the observer's included, aborts the process: what a half-done batch left behind is not known,
//! and shards that wait for answers would wait for ever.

use super::completions::{Done, Wakes};
use super::disk::{Disk, LogSync, RocksDisk};
use super::error::StoreError;
use super::open::Store;
use super::options::StoreOptions;
use crate::queue::commit::{Commit, CommitError, Committed};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What becomes of a commit.
pub type CommitResult = Result<Committed, CommitError>;

/// Bounds of one batch: a wait of everyone in it, and of memory held twice.
const BATCH_COMMITS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How often the free space is looked at, and the log synced that nobody waits for.
const TICK: Duration = Duration::from_millis(200);
/// Octets after which the free space is looked at before the tick.
const TICK_BYTES: u64 = 64 * 1024 * 1024;

/// What the rest of the process wants to hear. Called on the committer's thread: it must not block.
pub trait CommitObserver: Send + 'static {
    /// A batch is on disk; its results are handed over when this returns.
    fn batch(&mut self, batch: &Batch);

    /// The log was synced for outcomes that no batch had synced.
    fn synced(&mut self);

    /// Acceptance stopped (`low`) or goes on.
    fn disk(&mut self, low: bool, free_bytes: u64);

    /// The store takes nothing more. Called once; the process is expected to end.
    fn poisoned(&mut self, error: &StoreError);
}

/// What one write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub commits: usize,
    pub changes: usize,
    pub bytes: usize,
    pub synced: bool,
    /// Of the write and its sync, without the wait before it.
    pub took: Duration,
}

/// The door to the committer; clones share it.
#[derive(Clone)]
pub struct Committer {
    sender: Sender<Message>,
    shared: Arc<Shared>,
}

/// Numbers since the start, and of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitStatistics {
    pub commits: u64,
    pub batches: u64,
    /// Syncs of the log: of batches, and of ticks after batches that needed none.
    pub wal_syncs: u64,
    pub waiting_bytes: u64,
    pub free_bytes: u64,
}

impl Committer {
    pub fn start(
        store: Store,
        observer: impl CommitObserver,
    ) -> Result<(Committer, CommitterThread), StoreError> {
        let options = store.options().clone();
        start(RocksDisk(store), &options, observer)
    }

    /// Queues `commit`; its result comes to `done`. Never blocks. After an error nothing comes to
    /// `done`: that was the result.
    pub fn submit(&self, commit: Commit, done: Done<CommitResult>) -> Result<(), CommitError> {
        let sheddable = commit.sheddable();
        let bytes = commit.bytes() as u64;
        self.shared.admit(bytes, sheddable)?;
        let job = Job { commit, bytes, done: Some(done), shared: Arc::clone(&self.shared) };
        self.sender.send(Message::Job(job)).map_err(|unsent| {
            if let Message::Job(mut job) = unsent.into_inner() {
                job.done = None;
            }
            self.shared.refusal()
        })
    }

    /// Whether a commit that accepts a message would be taken now. A few loads.
    pub fn accepts(&self) -> Result<(), CommitError> {
        self.shared.accepts()
    }

    /// From the next look at the disk on, acceptance stops below so many free octets.
    pub fn set_free_bytes_min(&self, bytes: u64) {
        self.shared.free_bytes_min.store(bytes, Ordering::Relaxed);
    }

    pub fn poisoned(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) == POISONED
    }

    pub fn statistics(&self) -> CommitStatistics {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        CommitStatistics {
            commits: read(&self.shared.commits),
            batches: read(&self.shared.batches),
            wal_syncs: read(&self.shared.wal_syncs),
            waiting_bytes: read(&self.shared.waiting_bytes),
            free_bytes: read(&self.shared.free_bytes),
        }
    }
}

/// The thread, for whoever ends the process.
#[must_use = "a committer is to be stopped, or the last outcomes are not synced"]
pub struct CommitterThread {
    thread: JoinHandle<Result<(), StoreError>>,
    sender: Sender<Message>,
}

impl CommitterThread {
    /// Writes what is queued, syncs the log, ends the thread. To be called when the shards have
    /// ended: a commit that comes later is answered `Busy`. The error is the one that poisoned it.
    pub fn stop(self) -> Result<(), StoreError> {
        // Nobody there means that it is poisoned and gone, which joining reports.
        let _ = self.sender.send(Message::Stop);
        self.thread.join().expect("a panic in this thread aborts the process")
    }
}

enum Message {
    Job(Job),
    Stop,
}

/// A commit that was taken, and its place in the budget.
struct Job {
    commit: Commit,
    bytes: u64,
    /// Taken when it is answered.
    done: Option<Done<CommitResult>>,
    shared: Arc<Shared>,
}

/// Whatever way a job goes, its budget comes back and whoever waits for it hears of it.
impl Drop for Job {
    fn drop(&mut self) {
        self.shared.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(done) = self.done.take() {
            let mut wakes = Wakes::default();
            wakes.push(done, Err(self.shared.refusal()));
            wakes.wake();
        }
    }
}

const RUNNING: u8 = 0;
const STOPPED: u8 = 1;
const POISONED: u8 = 2;

/// What the door and the thread both see.
#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    low_disk: AtomicBool,
    commit_bytes_max: u64,
    free_bytes_min: AtomicU64,
    waiting_bytes: AtomicU64,
    free_bytes: AtomicU64,
    commits: AtomicU64,
    batches: AtomicU64,
    wal_syncs: AtomicU64,
}

impl Shared {
    fn new(options: &StoreOptions) -> Self {
        Shared {
            state: AtomicU8::new(RUNNING),
            low_disk: AtomicBool::new(false),
            commit_bytes_max: options.commit_bytes_max,
            free_bytes_min: AtomicU64::new(options.free_bytes_min),
            waiting_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            wal_syncs: AtomicU64::new(0),
        }
    }

    /// Takes `bytes` of the budget. Outcomes are always taken: refusing them frees nothing and
    /// would have the mail delivered again. So is a commit larger than the budget when nothing else
    /// waits, or it could never pass.
    fn admit(&self, bytes: u64, sheddable: bool) -> Result<(), CommitError> {
        if self.state.load(Ordering::Acquire) != RUNNING {
            return Err(self.refusal());
        }
        if sheddable && self.low_disk.load(Ordering::Relaxed) {
            return Err(CommitError::LowDisk);
        }
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if sheddable && before > 0 && before.saturating_add(bytes) > self.commit_bytes_max {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(CommitError::Busy);
        }
        Ok(())
    }

    fn accepts(&self) -> Result<(), CommitError> {
        if self.state.load(Ordering::Acquire) != RUNNING {
            return Err(self.refusal());
        }
        if self.low_disk.load(Ordering::Relaxed) {
            return Err(CommitError::LowDisk);
        }
        if self.waiting_bytes.load(Ordering::Relaxed) >= self.commit_bytes_max {
            return Err(CommitError::Busy);
        }
        Ok(())
    }

    /// Why nothing is taken any more.
    fn refusal(&self) -> CommitError {
        match self.state.load(Ordering::Acquire) {
            POISONED => CommitError::Poisoned,
            // Stopping: the peer may come again, to the process that follows.
            _ => CommitError::Busy,
        }
    }
}

fn start(
    disk: impl Disk,
    options: &StoreOptions,
    observer: impl CommitObserver,
) -> Result<(Committer, CommitterThread), StoreError> {
    let (sender, receiver) = unbounded();
    let mut writer = Writer::new(disk, options, observer, receiver);
    let shared = Arc::clone(&writer.shared);
    // Before the first commit can come: a relay that starts on a full disk accepts nothing.
    writer.look_at_free_space();
    let thread = Builder::new().name("committer".into()).spawn(move || {
        catch_unwind(AssertUnwindSafe(|| writer.run())).unwrap_or_else(|_| std::process::abort())
    });
    let thread = thread.map_err(|source| StoreError::Thread { source })?;
    let committer = Committer { sender: sender.clone(), shared };
    Ok((committer, CommitterThread { thread, sender }))
}

/// The thread's own state.
struct Writer<D, O> {
    disk: D,
    observer: O,
    receiver: Receiver<Message>,
    shared: Arc<Shared>,
    sync: bool,
    /// Something was written that no sync has covered.
    unsynced: bool,
    ticked: Instant,
    bytes_since_tick: u64,
}

/// Whether there is more to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathered {
    More,
    Last,
}

impl<D: Disk, O: CommitObserver> Writer<D, O> {
    fn new(disk: D, options: &StoreOptions, observer: O, receiver: Receiver<Message>) -> Self {
        Writer {
            disk,
            observer,
            receiver,
            shared: Arc::new(Shared::new(options)),
            sync: options.sync,
            unsynced: false,
            ticked: now(),
            bytes_since_tick: 0,
        }
    }

    fn run(&mut self) -> Result<(), StoreError> {
        let ended = self.serve();
        let state = if ended.is_ok() { STOPPED } else { POISONED };
        self.shared.state.store(state, Ordering::Release);
        // Those who came through the door before it closed; later ones are answered by `Job::drop`
        // or by the failing send.
        while self.receiver.try_recv().is_ok() {}
        if let Err(error) = &ended {
            self.observer.poisoned(error);
        }
        ended
    }

    fn serve(&mut self) -> Result<(), StoreError> {
        let mut jobs = Vec::new();
        loop {
            let gathered = self.gather(&mut jobs);
            if !jobs.is_empty()
                && let Err(error) = self.write(&mut jobs)
            {
                // Before the jobs are dropped, which answers them.
                self.shared.state.store(POISONED, Ordering::Release);
                return Err(error);
            }
            if gathered == Gathered::Last {
                return self.disk.sync();
            }
            if self.ticked.elapsed() >= TICK || self.bytes_since_tick >= TICK_BYTES {
                self.tick()?;
            }
        }
    }

    /// Waits for a first job, up to a tick, and takes what came with it.
    fn gather(&self, jobs: &mut Vec<Job>) -> Gathered {
        let mut bytes = 0;
        let mut next = match self.receiver.recv_timeout(TICK) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Gathered::Last,
        };
        while let Some(message) = next {
            match message {
                Message::Stop => return Gathered::Last,
                Message::Job(job) => {
                    bytes += job.bytes;
                    jobs.push(job);
                }
            }
            let full = jobs.len() == BATCH_COMMITS_MAX || bytes >= BATCH_BYTES_MAX as u64;
            next = if full { None } else { self.receiver.try_recv().ok() };
        }
        Gathered::More
    }

    /// Writes one batch and answers it.
    fn write(&mut self, jobs: &mut Vec<Job>) -> Result<(), StoreError> {
        let commits: Vec<&Commit> = jobs.iter().map(|job| &job.commit).collect();
        let changes = commits.iter().map(|commit| commit.changes().len()).sum();
        let bytes = jobs.iter().map(|job| job.bytes).sum::<u64>() as usize;
        let sync = if self.sync && commits.iter().any(|commit| commit.needs_sync()) {
            LogSync::Now
        } else {
            LogSync::Later
        };
        let started = now();
        self.disk.write(&commits, bytes, sync)?;
        let took = started.elapsed();

        let synced = sync == LogSync::Now;
        self.unsynced = !synced;
        self.bytes_since_tick += bytes as u64;
        self.shared.commits.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.wal_syncs.fetch_add(u64::from(synced), Ordering::Relaxed);
        self.observer.batch(&Batch { commits: jobs.len(), changes, bytes, synced, took });
        answer(jobs);
        Ok(())
    }

    /// Syncs what nobody waits for, so that a power failure repeats a moment's deliveries and not
    /// an evening's; and looks at the free space.
    fn tick(&mut self) -> Result<(), StoreError> {
        if self.sync && self.unsynced {
            self.disk.sync()?;
            self.unsynced = false;
            self.shared.wal_syncs.fetch_add(1, Ordering::Relaxed);
            self.observer.synced();
        }
        self.look_at_free_space();
        self.ticked = now();
        self.bytes_since_tick = 0;
        Ok(())
    }

    /// Acceptance goes on only with a tenth more than it stopped at, or it would flutter.
    fn look_at_free_space(&mut self) {
        let free = self.disk.free_bytes();
        let was_low = self.shared.low_disk.load(Ordering::Relaxed);
        let least = self.shared.free_bytes_min.load(Ordering::Relaxed);
        let enough = if was_low { least.saturating_add(least / 10) } else { least };
        let low = free < enough;
        self.shared.free_bytes.store(free, Ordering::Relaxed);
        if low != was_low {
            self.shared.low_disk.store(low, Ordering::Relaxed);
            self.observer.disk(low, free);
        }
    }
}

/// Hands the results of a written batch over.
fn answer(jobs: &mut Vec<Job>) {
    let mut wakes = Wakes::default();
    for mut job in jobs.drain(..) {
        let done = job.done.take().expect("a job is answered once");
        let commit = std::mem::replace(&mut job.commit, Commit::new(Vec::new()));
        // First the budget, or whoever hears of this result could be refused for it.
        drop(job);
        let (_changes, receipt) = commit.into_parts();
        wakes.push(done, Ok(receipt.committed()));
    }
    wakes.wake();
}

/// The committer lives outside `World`: it times real disks and no decision hangs on it.
#[expect(clippy::disallowed_methods, reason = "times the real disk, outside every World")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::super::completions::Completions;
    use super::super::error::Doing;
    use super::*;
    use crate::message::{Body, MessageId};
    use crate::queue::change::Change;
    use crate::queue::key::{DueKey, QueueKey};
    use crate::time::Stamp;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    /// A disk that does as it is told and remembers what it was asked.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<FakeState>>);

    #[derive(Default)]
    struct FakeState {
        fails: bool,
        free_bytes: u64,
        writes: Vec<(usize, LogSync)>,
        syncs: usize,
    }

    impl Fake {
        fn result(&self) -> Result<(), StoreError> {
            let failure = StoreError::Engine { doing: Doing::Write, words: "told to".into() };
            if self.0.lock().unwrap().fails { Err(failure) } else { Ok(()) }
        }
    }

    impl Disk for Fake {
        fn write(
            &mut self,
            commits: &[&Commit],
            _: usize,
            sync: LogSync,
        ) -> Result<(), StoreError> {
            self.0.lock().unwrap().writes.push((commits.len(), sync));
            self.result()
        }

        fn sync(&mut self) -> Result<(), StoreError> {
            self.0.lock().unwrap().syncs += 1;
            self.result()
        }

        fn free_bytes(&self) -> u64 {
            self.0.lock().unwrap().free_bytes
        }
    }

    /// What the observer heard.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl CommitObserver for Heard {
        fn synced(&mut self) {}

        fn batch(&mut self, batch: &Batch) {
            self.0.lock().unwrap().push(format!("batch of {}", batch.commits));
        }
        fn disk(&mut self, low: bool, free_bytes: u64) {
            self.0.lock().unwrap().push(format!("low {low} at {free_bytes}"));
        }
        fn poisoned(&mut self, _error: &StoreError) {
            self.0.lock().unwrap().push("poisoned".into());
        }
    }

    fn options() -> StoreOptions {
        StoreOptions {
            sync: true,
            memtable_bytes: 1 << 20,
            wal_recycle: 0,
            free_bytes_min: 1_000,
            commit_bytes_max: 1_000,
        }
    }

    fn accept(body_bytes: usize) -> Commit {
        Commit::new(vec![Change::Accept {
            id: MessageId::from_u64(1),
            envelope: vec![1],
            body: Body::from_message(&vec![b'x'; body_bytes]),
            due: Vec::new(),
        }])
    }

    fn outcome() -> Commit {
        let queue = QueueKey::new(0, "a.test", "local|peer|127.0.0.1");
        let key = DueKey::first(queue, Stamp::default());
        Commit::new(vec![Change::Finish { key, groups: 1 }])
    }

    fn answers(completions: &Completions<CommitResult>) -> Vec<(u64, Option<CommitError>)> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready((ticket, result)) = completions.poll_next(&mut cx) {
            all.push((ticket, result.err()));
        }
        all
    }

    /// A committer whose thread is not started: the test takes its steps.
    fn stepped(fake: &Fake, heard: &Heard) -> (Committer, Writer<Fake, Heard>) {
        let (sender, receiver) = unbounded();
        let writer = Writer::new(fake.clone(), &options(), heard.clone(), receiver);
        (Committer { sender, shared: Arc::clone(&writer.shared) }, writer)
    }

    #[test]
    fn a_failure_poisons_the_batch_and_everything_after_it() {
        let (fake, heard) = (Fake::default(), Heard::default());
        let (committer, mut writer) = stepped(&fake, &heard);
        let completions = Completions::new();
        let done = |ticket| Done { queue: Arc::clone(&completions), ticket };
        fake.0.lock().unwrap().fails = true;
        committer.submit(accept(10), done(1)).unwrap();
        committer.submit(outcome(), done(2)).unwrap();
        assert!(matches!(writer.run(), Err(StoreError::Engine { .. })));
        let poisoned = Some(CommitError::Poisoned);
        assert_eq!(answers(&completions), [(1, poisoned), (2, poisoned)]);
        assert_eq!(fake.0.lock().unwrap().writes, [(2, LogSync::Now)], "not tried again");
        assert_eq!(*heard.0.lock().unwrap(), ["poisoned"]);

        assert!(committer.poisoned());
        assert_eq!(committer.accepts(), Err(CommitError::Poisoned));
        assert_eq!(committer.submit(outcome(), done(3)), Err(CommitError::Poisoned));
        assert_eq!(answers(&completions), []);
        assert_eq!(committer.statistics().waiting_bytes, 0);
    }

    #[test]
    fn a_commit_that_passed_the_door_as_the_thread_ended_is_answered() {
        let (committer, writer) = stepped(&Fake::default(), &Heard::default());
        let completions = Completions::new();
        committer.submit(accept(10), Done { queue: Arc::clone(&completions), ticket: 1 }).unwrap();
        writer.shared.state.store(POISONED, Ordering::Release);
        drop(writer);
        assert_eq!(answers(&completions), [(1, Some(CommitError::Poisoned))]);
    }

    #[test]
    fn what_waits_is_bounded_and_outcomes_are_not_refused() {
        let (committer, mut writer) = stepped(&Fake::default(), &Heard::default());
        let completions = Completions::new();
        let done = |ticket| Done { queue: Arc::clone(&completions), ticket };
        committer.submit(accept(5_000), done(1)).expect("larger than the budget, but alone");
        assert_eq!(committer.accepts(), Err(CommitError::Busy));
        assert_eq!(committer.submit(accept(1), done(2)), Err(CommitError::Busy));
        committer.submit(outcome(), done(3)).unwrap();

        let mut jobs = Vec::new();
        assert!(writer.gather(&mut jobs) == Gathered::More);
        writer.write(&mut jobs).unwrap();
        assert_eq!(answers(&completions), [(1, None), (3, None)]);
        assert_eq!(committer.accepts(), Ok(()));
        committer.submit(accept(600), done(4)).unwrap();
        assert_eq!(committer.submit(accept(600), done(5)), Err(CommitError::Busy));
    }

    #[test]
    fn outcomes_are_synced_by_the_tick_and_once() {
        let fake = Fake::default();
        let (committer, mut writer) = stepped(&fake, &Heard::default());
        let done = Done { queue: Completions::new(), ticket: 1 };
        committer.submit(outcome(), done).unwrap();
        let mut jobs = Vec::new();
        writer.gather(&mut jobs);
        writer.write(&mut jobs).unwrap();
        assert_eq!(fake.0.lock().unwrap().writes, [(1, LogSync::Later)]);
        writer.tick().unwrap();
        writer.tick().unwrap();
        assert_eq!(fake.0.lock().unwrap().syncs, 1);
        assert_eq!(committer.statistics().wal_syncs, 1);
    }

    #[test]
    fn acceptance_stops_below_the_bound_and_goes_on_a_tenth_above_it() {
        let (fake, heard) = (Fake::default(), Heard::default());
        let (committer, mut writer) = stepped(&fake, &heard);
        for (free, expected) in [
            (1_000, Ok(())),
            (999, Err(CommitError::LowDisk)),
            (1_099, Err(CommitError::LowDisk)),
            (1_100, Ok(())),
            (1_000, Ok(())),
        ] {
            fake.0.lock().unwrap().free_bytes = free;
            writer.look_at_free_space();
            assert_eq!(committer.accepts(), expected, "{free} free");
        }
        assert_eq!(*heard.0.lock().unwrap(), ["low true at 999", "low false at 1100"]);
        committer.set_free_bytes_min(1_001);
        writer.look_at_free_space();
        assert_eq!(committer.accepts(), Err(CommitError::LowDisk), "the bound was raised");
    }
}
