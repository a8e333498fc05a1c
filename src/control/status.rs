//! Whether baton is alive and whether it wants mail: what `/healthz` and `/readyz` answer.
//!
//! Health says "restart me": the store is poisoned, or a shard stands still. Readiness says "send
//! elsewhere for now": starting, stopping, or low on disk. A relay that is not ready is still
//! healthy, so a supervisor does not kill one that only waits for room or finishes its sessions.
//!
//! Facts come in from main, the committer and the heartbeat of the shards; no clock is read here.

use super::gauges::Gauges;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ticks (of a second) without a heartbeat after which a shard stands still. A shard is never
/// busy that long with one task; a machine under a debugger or a stopped process is.
const STILL_TICKS_MAX: u32 = 10;

/// How far the life of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening the store, reading the queue.
    Starting,
    Serving,
    /// Finishing sessions; nothing new is taken.
    Stopping,
}

/// Whether there is room for more mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Enough,
    Low,
}

#[derive(Debug)]
struct Facts {
    phase: Phase,
    disk: Disk,
    poisoned: Option<Box<str>>,
    still: Vec<usize>,
}

/// The facts, shared by those who learn them and the admin port.
#[derive(Debug)]
pub struct Status(Mutex<Facts>);

impl Default for Status {
    fn default() -> Self {
        let still = Vec::new();
        let facts = Facts { phase: Phase::Starting, disk: Disk::Enough, poisoned: None, still };
        Status(Mutex::new(facts))
    }
}

impl Status {
    pub fn enter(&self, phase: Phase) {
        self.facts().phase = phase;
    }

    pub fn disk(&self, disk: Disk) {
        self.facts().disk = disk;
    }

    /// A write or fsync failed with `words`: nothing more is taken, for good.
    pub fn poison(&self, words: &str) {
        self.facts().poisoned = Some(words.into());
    }

    /// `Err` says what is wrong.
    pub fn health(&self) -> Result<(), String> {
        let facts = self.facts();
        if let Some(words) = &facts.poisoned {
            return Err(format!("the store failed: {words}"));
        }
        // Shards that have finished stop beating, and none is missed before it has begun.
        match (facts.phase, &facts.still[..]) {
            (Phase::Serving, [shard, ..]) => Err(format!("shard {shard} stands still")),
            (Phase::Serving, []) | (Phase::Starting | Phase::Stopping, _) => Ok(()),
        }
    }

    /// `Err` says what is in the way.
    pub fn readiness(&self) -> Result<(), String> {
        self.health()?;
        let facts = self.facts();
        match (facts.phase, facts.disk) {
            (Phase::Starting, _) => Err("starting".to_owned()),
            (Phase::Stopping, _) => Err("stopping".to_owned()),
            (Phase::Serving, Disk::Low) => Err("less disk is free than disk.free_bytes_min".into()),
            (Phase::Serving, Disk::Enough) => Ok(()),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Every change is one assignment: a panic elsewhere cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the heartbeats, one look per tick.
#[derive(Debug)]
pub(super) struct Pulse(Vec<(u64, u32)>);

impl Pulse {
    pub(super) fn new(shards: usize) -> Self {
        Pulse(vec![(0, 0); shards])
    }

    pub(super) fn tick(&mut self, shards: &[Arc<Gauges>], status: &Status) {
        for ((seen, ticks), shard) in self.0.iter_mut().zip(shards) {
            let beats = shard.beats();
            *ticks = if beats == *seen && beats > 0 { ticks.saturating_add(1) } else { 0 };
            *seen = beats;
        }
        let still = self.0.iter().enumerate().filter(|(_, (_, ticks))| *ticks >= STILL_TICKS_MAX);
        status.facts().still = still.map(|(shard, _)| shard).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_between_start_and_stop_and_with_room() {
        let status = Status::default();
        assert_eq!(status.readiness(), Err("starting".into()));
        status.enter(Phase::Serving);
        assert_eq!(status.readiness(), Ok(()));
        status.disk(Disk::Low);
        assert!(status.readiness().is_err());
        assert_eq!(status.health(), Ok(()));
        status.disk(Disk::Enough);
        assert_eq!(status.readiness(), Ok(()));
        status.enter(Phase::Stopping);
        assert_eq!(status.readiness(), Err("stopping".into()));
        assert_eq!(status.health(), Ok(()));
    }

    #[test]
    fn a_poisoned_store_is_neither_healthy_nor_ready() {
        let status = Status::default();
        status.enter(Phase::Serving);
        status.poison("fsync: EIO");
        assert_eq!(status.health(), Err("the store failed: fsync: EIO".into()));
        assert!(status.readiness().is_err());
    }

    #[test]
    fn a_shard_that_stops_beating_is_named_and_forgiven_when_it_beats_again() {
        let status = Status::default();
        status.enter(Phase::Serving);
        let shards: Vec<_> = (0..3).map(|_| Arc::new(Gauges::default())).collect();
        let mut pulse = Pulse::new(3);
        shards[1].beat();
        for _ in 0..=STILL_TICKS_MAX {
            assert_eq!(status.health(), Ok(()));
            shards[0].beat();
            pulse.tick(&shards, &status);
        }
        assert_eq!(status.health(), Err("shard 1 stands still".into()));
        shards[1].beat();
        pulse.tick(&shards, &status);
        assert_eq!(status.health(), Ok(()));
    }
}
