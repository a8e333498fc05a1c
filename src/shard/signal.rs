//! Waking a task of the same shard: no atomics, no locks.
//!
//! A [`Signal`] that is raised while nobody waits stays raised, so a wake-up is never lost.
//! Each raise ends one wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

#[derive(Debug, Default)]
pub struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<VecDeque<Waker>>,
}

impl Signal {
    /// Ends one wait, now or the next one.
    pub fn raise(&self) {
        match self.waiting.borrow_mut().pop_front() {
            Some(waker) => waker.wake(),
            None => self.raised.set(true),
        }
    }

    /// Waits for a raise. A wait that is dropped may have used one up: who waits with a deadline
    /// looks at the state, not at the signal, when it is over.
    pub async fn wait(&self) {
        let mut first = true;
        poll_fn(|cx| {
            if self.raised.replace(false) {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut first, false) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push_back(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
