//! The way back from the committer's thread to a shard.
//!
//! A shard owns one [`Completions`] and polls it from one task, which hands each result to whoever
//! waits for that ticket. The committer pushes all results of a batch and wakes each shard once: a
//! wake costs a system call, a push does not. Tickets are the shard's own numbers; nothing here
//! gives them a meaning.

use crate::queue::commit::{CommitError, Committed};
use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// A ticket and what became of its commit.
pub type Completion = (u64, Result<Committed, CommitError>);

/// Results that wait for one shard.
#[derive(Debug, Default)]
pub struct Completions {
    queue: SegQueue<Completion>,
    waker: AtomicWaker,
    /// Whether results were pushed since the last wake. Only the pushing side reads it.
    announced: AtomicBool,
}

impl Completions {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next result, in the order of the commits. To be polled by one task: the last waker
    /// counts.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Completion> {
        if let Some(next) = self.queue.pop() {
            return Poll::Ready(next);
        }
        self.waker.register(cx.waker());
        // Pushed between the first look and the registration: nobody would wake us for it.
        self.queue.pop().map_or(Poll::Pending, Poll::Ready)
    }

    fn wake(&self) {
        self.announced.store(false, Ordering::Release);
        self.waker.wake();
    }
}

/// Where the result of one commit is to go.
#[derive(Clone, Debug)]
pub struct Done {
    pub queue: Arc<Completions>,
    pub ticket: u64,
}

/// The shards to wake when a batch is answered.
#[derive(Debug, Default)]
pub(super) struct Wakes(Vec<Arc<Completions>>);

impl Wakes {
    /// Hands over a result; its shard learns of it with [`Wakes::wake`].
    pub fn push(&mut self, done: Done, result: Result<Committed, CommitError>) {
        done.queue.queue.push((done.ticket, result));
        if !done.queue.announced.swap(true, Ordering::AcqRel) {
            self.0.push(done.queue);
        }
    }

    pub fn wake(&mut self) {
        for completions in self.0.drain(..) {
            completions.wake();
        }
    }
}
