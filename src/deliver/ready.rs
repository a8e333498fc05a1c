//! What waits for a connection: the hand-off type between the queue and a lane.
//!
//! On its first attempt a message is still in memory, shared by the entries of its domains and
//! counted against the budget until the last of them lets go. Later it is read back from disk.
//! Decides nothing.

use crate::message::{Body, Envelope};
use crate::queue::key::DueKey;
use crate::queue::record::Due;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// An entry that waits for a connection.
#[derive(Debug)]
pub struct Ready {
    pub key: DueKey,
    pub due: Due,
    /// On the first attempt the message is still in memory; later it is read back from disk.
    pub message: Option<Message>,
    pub origin: Origin,
}

/// Whose queue an entry is in, and who therefore must hear what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Here,
    /// Another shard, which handed it over because its lane lives here.
    Shard(u16),
}

/// A message in memory, shared by the entries of its domains.
#[derive(Clone, Debug)]
pub struct Message {
    pub envelope: Arc<Envelope>,
    pub body: Body,
    /// Octets counted against the memory budget, given back when the last holder drops. `None` in
    /// what another shard handed over: it keeps the charge until it hears the outcome.
    pub charge: Option<Rc<Charge>>,
}

/// Octets held, in a counter that they leave when this is dropped.
#[derive(Debug)]
pub struct Charge {
    counter: Rc<Cell<usize>>,
    bytes: usize,
}

impl Charge {
    pub fn new(counter: &Rc<Cell<usize>>, bytes: usize) -> Self {
        counter.set(counter.get() + bytes);
        Charge { counter: counter.clone(), bytes }
    }

    /// Holds `bytes` from now on.
    pub fn set(&mut self, bytes: usize) {
        self.counter.set(self.counter.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.counter.set(self.counter.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back() {
        let counter = Rc::new(Cell::new(0));
        let mut charge = Charge::new(&counter, 10);
        charge.set(25);
        assert_eq!(counter.get(), 25);
        drop(charge);
        assert_eq!(counter.get(), 0);
    }
}
