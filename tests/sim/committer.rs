//! The simulated committer: group commit over the simulated disk, with its faults.
//!
//! The same rules as the real one (`store/committer.rs`): all that waits becomes one batch; a batch
//! with an acceptance in it is synced; a result is handed over only after the write and the sync it
//! needs; outcomes are never refused; a failure poisons, and nothing is tried again.
//! How long a sync takes, and whether it fails, comes from the seed.

use super::disk::Disk;
use super::executor::Executor;
use super::random::Random;
use baton::queue::commit::{Commit, CommitError, Committed};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How often the log is synced that nobody waits for.
const TICK: Duration = Duration::from_millis(200);

/// What goes wrong with the disk.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    pub sync_micros: Range<u64>,
    /// Of a thousand batches, so many take a hundred times as long.
    pub slow: u64,
    /// Of ten thousand batches, so many fail.
    pub failed: u64,
    /// Of a thousand reads, so many fail.
    pub unreadable: u64,
}

impl DiskFaults {
    pub fn none() -> Self {
        DiskFaults { sync_micros: 100..3_000, slow: 0, failed: 0, unreadable: 0 }
    }
}

/// One life of the relay has one committer.
pub struct Committer {
    executor: Executor,
    random: Random,
    disk: Rc<Disk>,
    faults: RefCell<DiskFaults>,
    waiting: RefCell<VecDeque<Job>>,
    waiting_bytes: Cell<u64>,
    waiting_bytes_max: u64,
    waker: RefCell<Option<Waker>>,
    low_disk: Cell<bool>,
    poisoned: Cell<bool>,
}

struct Job {
    commit: Commit,
    bytes: u64,
    answer: Rc<Answer>,
}

#[derive(Default)]
struct Answer {
    result: RefCell<Option<Result<Committed, CommitError>>>,
    waker: RefCell<Option<Waker>>,
}

impl Answer {
    fn give(&self, result: Result<Committed, CommitError>) {
        *self.result.borrow_mut() = Some(result);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Committer {
    pub fn new(
        executor: Executor,
        random: Random,
        disk: Rc<Disk>,
        faults: DiskFaults,
        waiting_bytes_max: u64,
    ) -> Rc<Self> {
        Rc::new(Committer {
            executor,
            random,
            disk,
            faults: RefCell::new(faults),
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            waiting_bytes_max,
            waker: RefCell::default(),
            low_disk: Cell::new(false),
            poisoned: Cell::new(false),
        })
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    pub fn faults(&self) -> DiskFaults {
        self.faults.borrow().clone()
    }

    pub fn set_faults(&self, faults: DiskFaults) {
        *self.faults.borrow_mut() = faults;
    }

    pub fn set_low_disk(&self, low: bool) {
        self.low_disk.set(low);
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.get()
    }

    /// Nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        self.waiting_bytes.get() == 0
    }

    pub fn accepts(&self) -> Result<(), CommitError> {
        if self.poisoned.get() {
            return Err(CommitError::Poisoned);
        }
        if self.low_disk.get() {
            return Err(CommitError::LowDisk);
        }
        if self.waiting_bytes.get() >= self.waiting_bytes_max {
            return Err(CommitError::Busy);
        }
        Ok(())
    }

    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let bytes = commit.bytes() as u64;
        self.admit(bytes, commit.sheddable())?;
        let answer = Rc::new(Answer::default());
        // Once it is handed over it happens, also when the caller goes away.
        self.waiting.borrow_mut().push_back(Job { commit, bytes, answer: answer.clone() });
        self.waker.take().into_iter().for_each(Waker::wake);
        poll_fn(|cx| match answer.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                *answer.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The committer's thread: a task of the relay's group.
    pub async fn run(self: Rc<Self>) {
        loop {
            let idle = self.executor.within(TICK, self.arrival()).await.is_none();
            if self.poisoned.get() {
                return;
            }
            if !idle {
                // What comes while the thread wakes up joins the batch.
                self.executor.sleep(self.random.micros(0..200)).await;
                self.write().await;
            }
            if self.disk.has_unsynced() && self.random.permille(if idle { 1_000 } else { 50 }) {
                self.sync_for_nobody().await;
            }
        }
    }

    fn admit(&self, bytes: u64, sheddable: bool) -> Result<(), CommitError> {
        if self.poisoned.get() {
            return Err(CommitError::Poisoned);
        }
        let before = self.waiting_bytes.get();
        if sheddable && self.low_disk.get() {
            return Err(CommitError::LowDisk);
        }
        if sheddable && before > 0 && before + bytes > self.waiting_bytes_max {
            return Err(CommitError::Busy);
        }
        self.waiting_bytes.set(before + bytes);
        Ok(())
    }

    async fn arrival(&self) {
        poll_fn(|cx| {
            if !self.waiting.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn write(&self) {
        let jobs: Vec<Job> = self.waiting.borrow_mut().drain(..).collect();
        let commits: Vec<&Commit> = jobs.iter().map(|job| &job.commit).collect();
        let synced = commits.iter().any(|commit| commit.needs_sync());
        self.disk.begin(&commits);
        let faults = self.faults();
        let slow = if self.random.permille(faults.slow) { 100 } else { 1 };
        let took = if synced { faults.sync_micros } else { 5..50 };
        self.executor.sleep(self.random.micros(took) * slow).await;
        if self.random.below(0..10_000) < faults.failed {
            return self.poison(jobs);
        }
        self.disk.finish();
        if synced {
            self.disk.sync();
        }
        // Reads see it already; those who wait for it hear of it when the shard's thread wakes up.
        self.executor.sleep(self.random.micros(0..500)).await;
        for Job { commit, bytes, answer } in jobs {
            self.waiting_bytes.set(self.waiting_bytes.get() - bytes);
            let (_, receipt) = commit.into_parts();
            answer.give(Ok(receipt.committed()));
        }
    }

    async fn sync_for_nobody(&self) {
        let took = self.faults().sync_micros;
        self.executor.sleep(self.random.micros(took)).await;
        self.disk.sync();
    }

    /// Whether the batch is on disk is unknown: it stays on its way, and the crash decides.
    fn poison(&self, jobs: Vec<Job>) {
        self.poisoned.set(true);
        let later = std::mem::take(&mut *self.waiting.borrow_mut());
        jobs.into_iter().chain(later).for_each(|job| job.answer.give(Err(CommitError::Poisoned)));
        self.waiting_bytes.set(0);
    }
}
