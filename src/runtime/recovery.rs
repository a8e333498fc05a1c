//! Recovery beside the mail: a thread for each shard reads what waits in its slots and tells it.
//!
//! The shards serve from the first moment; what is on disk comes to them stretch by stretch. Each
//! thread is at most `AHEAD_MAX` stretches ahead of its shard, so that a slow shard does not fill
//! the memory with what it has still to hear. Decides nothing about the queue.

use super::balance::{Balance, Message};
use crate::queue::key::Slot;
use crate::queue::schedule::Known;
use crate::store::{Scan, Store, StoreError, Totals};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Stretches that a shard has still to take in.
const AHEAD_MAX: usize = 2;
/// How soon a thread that waits for its shard sees that it shall end.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// The threads that read.
#[derive(Debug)]
pub struct Recovery {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads have in common.
struct Shared<T> {
    ending: Arc<AtomicBool>,
    balance: Arc<Balance>,
    /// Of those that have ended, and how many have not.
    sum: Mutex<(Totals, usize)>,
    tell: T,
}

impl Recovery {
    /// Begins to read the queue as it is when this returns. `tell` hears the sum of all when all is read, or why
    /// something could not be read.
    pub fn start(
        store: &Store,
        balance: &Arc<Balance>,
        shards: usize,
        tell: impl Fn(Result<Totals, StoreError>) + Send + Sync + 'static,
    ) -> io::Result<Recovery> {
        let ending = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            ending: Arc::clone(&ending),
            balance: Arc::clone(balance),
            sum: Mutex::new((Totals::default(), shards)),
            tell,
        });
        let (begun, begins) = mpsc::channel::<Infallible>();
        let start = |shard: usize| {
            let (store, shared, begun) = (store.clone(), Arc::clone(&shared), begun.clone());
            let thread = thread::Builder::new().name(format!("baton-scan-{shard}"));
            thread.spawn(move || {
                // The panic hook has printed why. What was not read would wait for ever.
                let read = || {
                    let owns = |slot: Slot| usize::from(slot) % shards == shard;
                    let mut scan = store.scan(owns);
                    drop(begun);
                    shared.read(shard, &mut scan);
                };
                catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| abort());
            })
        };
        let mut recovery = Recovery { ending, threads: Vec::with_capacity(shards) };
        for shard in 0..shards {
            recovery.threads.push(start(shard)?);
        }
        drop(begun);
        // Ends when every thread has its view of the store.
        let _ = begins.recv();
        Ok(recovery)
    }
}

/// Ends it, read to the end or not: nobody may hold the store when the process exits.
impl Drop for Recovery {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot have panicked.
            drop(thread.join());
        }
    }
}

impl<T: Fn(Result<Totals, StoreError>)> Shared<T> {
    fn read<O: Fn(Slot) -> bool>(&self, shard: usize, scan: &mut Scan<'_, O>) {
        let mut ahead = VecDeque::new();
        loop {
            let stretch = match scan.stretch() {
                Ok(stretch) => stretch,
                Err(error) => return (self.tell)(Err(error)),
            };
            let known = stretch.known;
            let (taken, takes) = mpsc::channel();
            self.balance.inbox(shard).push(Message::Recovered { stretch, taken });
            ahead.push_back(takes);
            if known == Known::All {
                return self.add(scan.totals());
            }
            if ahead.len() > AHEAD_MAX
                && let Some(oldest) = ahead.pop_front()
            {
                self.await_taken(&oldest);
            }
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn await_taken(&self, taken: &Receiver<Infallible>) {
        while let Err(RecvTimeoutError::Timeout) = taken.recv_timeout(STOP_LOOK)
            && !self.ending.load(Ordering::Relaxed)
        {}
    }

    fn add(&self, found: Totals) {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        let (totals, reading) = &mut *sum;
        totals.entries += found.entries;
        totals.domains += found.domains;
        totals.damaged += found.damaged;
        *reading -= 1;
        if *reading == 0 {
            (self.tell)(Ok(*totals));
        }
    }
}
