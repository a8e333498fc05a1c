//! What the committer's thread has to say, passed on to metrics, log, status and `start`.
//!
//! Called on that thread while shards wait for their results, so nothing here blocks. Decides
//! nothing; a poisoned store ends the process because [`super::start`] says so.

use super::clock::Clock;
use super::start::Notice;
use crate::control::{Control, Disk, EventSender, Meters, Status};
use crate::event::Event;
use crate::queue::commit::CommitError;
use crate::store::{Batch, CommitObserver, StoreError};
use std::sync::Arc;
use std::sync::mpsc::Sender;

pub struct Observer {
    clock: Clock,
    meters: Arc<Meters>,
    status: Arc<Status>,
    events: EventSender,
    notices: Sender<Notice>,
}

impl Observer {
    pub fn new(clock: Clock, control: &Control, notices: Sender<Notice>) -> Self {
        let (meters, status, events) = (control.meters(), control.status(), control.events());
        Observer { clock, meters, status, events, notices }
    }

    fn emit(&self, event: Event) {
        self.events.send(self.clock.stamp(), None, event);
    }
}

impl CommitObserver for Observer {
    fn batch(&mut self, batch: &Batch) {
        self.meters.commit_batch(batch.commits, batch.synced, batch.took);
    }

    fn synced(&mut self) {
        self.meters.wal_synced();
    }

    fn disk(&mut self, low: bool, free: u64) {
        self.status.disk(if low { Disk::Low } else { Disk::Enough });
        self.emit(if low { Event::DiskLow { free } } else { Event::DiskRecovered { free } });
    }

    fn poisoned(&mut self, error: &StoreError) {
        let words = error.to_string();
        self.status.poison(&words);
        self.emit(Event::CommitFailed { error: CommitError::Poisoned, words: words.into() });
        // Nobody hears the notice only when the process is ending anyway.
        drop(self.notices.send(Notice::Poisoned));
    }
}
