//! What each shard holds at this moment, as numbers that a scrape can read.
//!
//! A shard owns one [`Gauges`] and stores plain values into it, without a lock and without a line
//! of cache shared with another shard; `/metrics` adds the shards up when it is asked. The same
//! place carries the shard's heartbeat, from which `/healthz` sees a shard that stands still.
//!
//! Never decides. A value may be a moment old, and the values of one scrape need not be of one
//! instant.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that goes up and down. The list is closed: each is one time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    SessionsInbound,
    SessionsOutbound,
    QueueMessages,
    QueueDueEntries,
    /// Octets of bodies held in memory: being received, or kept for their first attempt.
    MemoryBodies,
    /// Octets handed to the committer and not yet answered.
    MemoryCommit,
}

impl Gauge {
    /// In the order of declaration: `ALL[gauge as usize] == gauge`.
    pub const ALL: [Gauge; 6] = [
        Gauge::SessionsInbound,
        Gauge::SessionsOutbound,
        Gauge::QueueMessages,
        Gauge::QueueDueEntries,
        Gauge::MemoryBodies,
        Gauge::MemoryCommit,
    ];

    /// The metric's name, and its label when it shares the name with others.
    pub(super) const fn series(self) -> (&'static str, Option<(&'static str, &'static str)>) {
        match self {
            Gauge::SessionsInbound => ("baton_sessions", Some(("direction", "inbound"))),
            Gauge::SessionsOutbound => ("baton_sessions", Some(("direction", "outbound"))),
            Gauge::QueueMessages => ("baton_queue_messages", None),
            Gauge::QueueDueEntries => ("baton_queue_due_entries", None),
            Gauge::MemoryBodies => ("baton_memory_budget_bytes", Some(("kind", "bodies"))),
            Gauge::MemoryCommit => ("baton_memory_budget_bytes", Some(("kind", "commit"))),
        }
    }
}

/// The numbers of one shard. Two cache lines of its own, because cores prefetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    values: [AtomicU64; Gauge::ALL.len()],
    beats: AtomicU64,
}

impl Gauges {
    /// To be called by the owning shard only: a plain store, so two writers would lose values.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.values[gauge as usize].store(value, Ordering::Relaxed);
    }

    pub fn get(&self, gauge: Gauge) -> u64 {
        self.values[gauge as usize].load(Ordering::Relaxed)
    }

    /// "I still take my turns": to be called by the shard every second or oftener.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats so far; zero for a shard that has not begun.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_gauge_has_a_place_and_a_series_of_its_own() {
        let gauges = Gauges::default();
        for (place, gauge) in Gauge::ALL.into_iter().enumerate() {
            assert_eq!(gauge as usize, place);
            gauges.set(gauge, place as u64 + 7);
        }
        let values: HashSet<_> = Gauge::ALL.into_iter().map(|gauge| gauges.get(gauge)).collect();
        let series: HashSet<_> = Gauge::ALL.into_iter().map(Gauge::series).collect();
        assert_eq!((values.len(), series.len()), (Gauge::ALL.len(), Gauge::ALL.len()));
    }
}
