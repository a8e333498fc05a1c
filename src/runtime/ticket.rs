//! Answers that come from another thread, handed to the tasks of a shard that wait for them.
//!
//! A task opens a ticket, sends its number away and awaits the ticket; one task of the shard takes
//! the answers in and completes the tickets. So a batch of answers costs one wake across threads,
//! and no task's waker leaves its thread.
//! A number is used again only after it was completed: an answer to a task that is gone meets an
//! abandoned ticket, never a stranger's.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The open tickets of one kind.
#[derive(Debug)]
pub struct Tickets<T> {
    slots: RefCell<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
enum Slot<T> {
    Free,
    Waiting(Option<Waker>),
    Answered(T),
    /// Nobody waits any more, the answer is still to come.
    Abandoned,
}

impl<T> Tickets<T> {
    pub fn new() -> Rc<Self> {
        Rc::new(Tickets { slots: RefCell::new(Slots { slots: Vec::new(), free: Vec::new() }) })
    }

    pub fn open(self: &Rc<Self>) -> Ticket<T> {
        let mut slots = self.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => {
                slots.slots[index] = Slot::Waiting(None);
                index
            }
            None => {
                slots.slots.push(Slot::Waiting(None));
                slots.slots.len() - 1
            }
        };
        Ticket { tickets: Rc::clone(self), index }
    }

    /// To be called once for every number that was sent away.
    ///
    /// # Panics
    /// When the number is not open: somebody answered twice.
    pub fn complete(&self, number: u64, answer: T) {
        let index = number as usize;
        let mut slots = self.slots.borrow_mut();
        let waker = match std::mem::replace(&mut slots.slots[index], Slot::Answered(answer)) {
            Slot::Waiting(waker) => waker,
            Slot::Abandoned => {
                slots.release(index);
                None
            }
            Slot::Free | Slot::Answered(_) => panic!("ticket {number} was answered twice"),
        };
        drop(slots);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Slots<T> {
    fn release(&mut self, index: usize) {
        self.slots[index] = Slot::Free;
        self.free.push(index);
    }
}

/// Waits for one answer.
#[derive(Debug)]
pub struct Ticket<T> {
    tickets: Rc<Tickets<T>>,
    index: usize,
}

impl<T> Ticket<T> {
    pub fn number(&self) -> u64 {
        self.index as u64
    }

    /// The number was not sent away after all: no answer will come.
    pub fn cancel(self) {
        let mut slots = self.tickets.slots.borrow_mut();
        // As if it had been answered before its owner went away; `drop` then releases it.
        slots.slots[self.index] = Slot::Free;
    }
}

impl<T> Future for Ticket<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slots = self.tickets.slots.borrow_mut();
        match std::mem::replace(&mut slots.slots[self.index], Slot::Free) {
            Slot::Answered(answer) => Poll::Ready(answer),
            Slot::Waiting(_) => {
                slots.slots[self.index] = Slot::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
            Slot::Free | Slot::Abandoned => panic!("a ticket was polled after its answer"),
        }
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut slots = self.tickets.slots.borrow_mut();
        match slots.slots[self.index] {
            Slot::Waiting(_) => slots.slots[self.index] = Slot::Abandoned,
            Slot::Free | Slot::Answered(_) => slots.release(self.index),
            Slot::Abandoned => unreachable!("only the drop of its one owner abandons a ticket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn answers_reach_who_asked_and_numbers_come_back() {
        let tickets = Tickets::new();
        let (first, second) = (tickets.open(), tickets.open());
        let (one, two) = (first.number(), second.number());
        assert_ne!(one, two);
        tickets.complete(two, "second");
        tickets.complete(one, "first");
        assert_eq!(block_on(first), "first");
        assert_eq!(block_on(second), "second");
        let again = tickets.open();
        assert!([one, two].contains(&again.number()));
        again.cancel();
    }

    #[test]
    fn a_number_is_not_used_again_before_its_late_answer() {
        let tickets = Tickets::new();
        let mut gone = tickets.open();
        assert!(block_on(poll_once(&mut gone)).is_none());
        let number = gone.number();
        drop(gone);
        let other = tickets.open();
        assert_ne!(other.number(), number);
        tickets.complete(number, 1);
        tickets.complete(other.number(), 2);
        assert_eq!(block_on(other), 2);
        let mut open: Vec<u64> = [tickets.open(), tickets.open()].map(|t| t.number()).to_vec();
        open.sort_unstable();
        assert_eq!(open, [0, 1]);
    }
}
