//! What the relay said of itself: its events, as values for the oracle and as lines to compare.
//!
//! The lines are those that the real relay would log, with the wall clock and the shard; two runs
//! of one seed must give the same ones, or something in the relay depends on more than its world.
//! Each entry also knows in which life it was written, since a crash lets the same thing happen
//! twice.

use super::executor::Group;
use baton::event::Event;
use baton::time::Stamp;
use std::cell::{Ref, RefCell};

#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Stamp,
    /// In which life of the relay it was written.
    pub life: Group,
    pub shard: u16,
    pub event: Event,
}

/// All lives of the relay write into one.
#[derive(Default)]
pub struct Journal {
    entries: RefCell<Vec<Entry>>,
}

impl Journal {
    pub fn write(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }

    pub fn entries(&self) -> Ref<'_, Vec<Entry>> {
        self.entries.borrow()
    }

    pub fn count(&self, holds: impl Fn(&Event) -> bool) -> usize {
        self.entries.borrow().iter().filter(|entry| holds(&entry.event)).count()
    }

    pub fn lines(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let mut out = Vec::new();
            entry.event.write_json(entry.at, Some(entry.shard), &mut out);
            String::from_utf8(out).expect("a line is UTF-8")
        };
        self.entries.borrow().iter().map(line).collect()
    }
}
