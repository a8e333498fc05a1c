//! The wall clock of the simulated machine, which may be set while the relay runs.
//!
//! The monotonic clock is the executor's and only grows; this one is an epoch plus that, plus
//! what an operator or a time daemon added or took away.
//! Due times and expiry hang on it, so setting it is one of the faults of a run.

use super::executor::Executor;
use baton::time::{Moment, Stamp};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z.
const EPOCH_MILLIS: u64 = 1_767_225_600_000;

#[derive(Clone)]
pub struct Clock {
    executor: Executor,
    millis: Rc<Cell<u64>>,
}

impl Clock {
    pub fn new(executor: Executor) -> Self {
        Clock { executor, millis: Rc::new(Cell::new(EPOCH_MILLIS)) }
    }

    pub fn stamp(&self) -> Stamp {
        let since_start = self.executor.now().since(Moment::default());
        Stamp::from_millis(self.millis.get()).after(since_start)
    }

    pub fn set_forward(&self, by: Duration) {
        self.millis.set(self.millis.get() + by.as_millis() as u64);
    }

    pub fn set_back(&self, by: Duration) {
        self.millis.set(self.millis.get() - by.as_millis() as u64);
    }
}
