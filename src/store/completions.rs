//! The way back to a shard from a thread that works for it: the committer, a reader.
//!
//! A shard owns one [`Completions`] for each kind and polls it from one task, which hands each result to whoever
//! waits for that ticket. The thread pushes all results of a batch and wakes each shard once: a
//! wake costs a system call, a push does not. Tickets are the shard's own numbers; nothing here
//! gives them a meaning.

use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Results that wait for one shard.
#[derive(Debug)]
pub struct Completions<T> {
    queue: SegQueue<(u64, T)>,
    waker: AtomicWaker,
    /// Whether results were pushed since the last wake, by anybody. Only the pushing side reads it.
    announced: AtomicBool,
}

impl<T> Completions<T> {
    pub fn new() -> Arc<Self> {
        Arc::new(Completions {
            queue: SegQueue::new(),
            waker: AtomicWaker::new(),
            announced: AtomicBool::new(false),
        })
    }

    /// The next result and its ticket, in the order in which they were pushed. To be polled by one task: the last waker
    /// counts.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<(u64, T)> {
        if let Some(next) = self.queue.pop() {
            return Poll::Ready(next);
        }
        self.waker.register(cx.waker());
        // Pushed between the first look and the registration: nobody would wake us for it.
        self.queue.pop().map_or(Poll::Pending, Poll::Ready)
    }

    fn wake(&self) {
        // Acquires what others have pushed since: they left the waking to us.
        self.announced.swap(false, Ordering::AcqRel);
        self.waker.wake();
    }
}

/// Where one result is to go.
#[derive(Clone, Debug)]
pub struct Done<T> {
    pub queue: Arc<Completions<T>>,
    pub ticket: u64,
}

/// The shards to wake when a batch is answered.
#[derive(Debug)]
pub(super) struct Wakes<T>(Vec<Arc<Completions<T>>>);

impl<T> Default for Wakes<T> {
    fn default() -> Self {
        Wakes(Vec::new())
    }
}

impl<T> Wakes<T> {
    /// Hands over a result; its shard learns of it with [`Wakes::wake`].
    pub fn push(&mut self, done: Done<T>, result: T) {
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
