//! Waking a task of the same shard: no atomics, no locks.
//!
//! Each raise of a [`Signal`] ends one wait: the oldest, or the next to come when nobody waits. A wait that is
//! dropped after it was chosen passes the raise on, so that none is lost to a deadline.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub struct Signal {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Raised while nobody waited.
    raised: bool,
    /// The oldest first. A tree, because thousands of sessions may wait at one signal, and each that gives
    /// up must be found.
    waiting: BTreeMap<Ticket, Waker>,
    last: Ticket,
}

/// Names a wait.
type Ticket = u64;

impl Signal {
    /// Ends one wait, now or the next one.
    pub fn raise(&self) {
        let mut state = self.state.borrow_mut();
        match state.waiting.pop_first() {
            Some((_, waker)) => waker.wake(),
            None => state.raised = true,
        }
    }

    /// Waits for a raise.
    pub fn wait(&self) -> Wait<'_> {
        Wait { signal: self, ticket: None }
    }
}

/// See [`Signal::wait`].
#[derive(Debug)]
pub struct Wait<'a> {
    signal: &'a Signal,
    /// While it waits, or was chosen and has not been told.
    ticket: Option<Ticket>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.signal.state.borrow_mut();
        if let Some(ticket) = self.ticket {
            let Some(waker) = state.waiting.get_mut(&ticket) else {
                drop(state);
                self.ticket = None;
                return Poll::Ready(());
            };
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if std::mem::take(&mut state.raised) {
            return Poll::Ready(());
        }
        state.last += 1;
        let ticket = state.last;
        state.waiting.insert(ticket, cx.waker().clone());
        drop(state);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.signal.state.borrow_mut();
        let chosen = state.waiting.remove(&ticket).is_none();
        drop(state);
        if chosen {
            self.signal.raise();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn is_ready(wait: Pin<&mut Wait<'_>>) -> bool {
        wait.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_raise_ends_one_wait_now_or_later() {
        let signal = Signal::default();
        let (mut first, mut second) = (pin!(signal.wait()), pin!(signal.wait()));
        assert!(!is_ready(first.as_mut()) && !is_ready(second.as_mut()));
        signal.raise();
        assert!(is_ready(first.as_mut()));
        assert!(!is_ready(second.as_mut()));
        signal.raise();
        assert!(is_ready(second.as_mut()));
        signal.raise();
        assert!(is_ready(pin!(signal.wait())));
        assert!(!is_ready(pin!(signal.wait())));
    }

    #[test]
    fn a_wait_that_is_given_up_takes_no_raise_with_it() {
        let signal = Signal::default();
        let mut patient = Box::pin(signal.wait());
        let mut hasty = Box::pin(signal.wait());
        assert!(!is_ready(hasty.as_mut()) && !is_ready(patient.as_mut()));
        signal.raise();
        drop(hasty);
        assert!(is_ready(patient.as_mut()), "passed on");
        let mut gone = Box::pin(signal.wait());
        assert!(!is_ready(gone.as_mut()));
        drop(gone);
        signal.raise();
        assert!(is_ready(pin!(signal.wait())), "not spent on the one that is gone");
    }
}
