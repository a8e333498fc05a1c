//! The figures by which runs are judged: one closed list for the tables, the ratios, the bars and
//! the comparison.
//!
//! A figure knows its words, where it stands in a run, how it is written and which way is better.
//! It never invents a value: what a run did not measure is `None`, and stays so through all
//! medians.

use super::model::{Latency, Run};
use super::units;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    PerSecond,
    PerHour,
    AcceptP50,
    AcceptP99,
    AcceptP99_9,
    AcceptMax,
    EndToEndP50,
    EndToEndP99,
    RelayCpu,
    OtherCpu,
    Memory,
    Fsyncs,
}

/// Which way is progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// What a comparison may conclude from a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A change for the worse is one of the relay.
    Judged,
    /// Shown beside the others: said by another figure already, left to chance, or not the relay's.
    Told,
}

impl Figure {
    pub const ALL: [Figure; 12] = [
        Figure::PerSecond,
        Figure::PerHour,
        Figure::AcceptP50,
        Figure::AcceptP99,
        Figure::AcceptP99_9,
        Figure::AcceptMax,
        Figure::EndToEndP50,
        Figure::EndToEndP99,
        Figure::RelayCpu,
        Figure::OtherCpu,
        Figure::Memory,
        Figure::Fsyncs,
    ];

    pub fn of(self, run: &Run) -> Option<f64> {
        let value = match self {
            Figure::PerSecond => Some(run.relayed_per_s),
            Figure::PerHour => Some(run.relayed_per_s * 3600.0),
            Figure::AcceptP50 => measured(&run.accept).map(|accept| accept.ms.p50),
            Figure::AcceptP99 => tail(run, &run.accept, 0.99).map(|accept| accept.ms.p99),
            Figure::AcceptP99_9 => tail(run, &run.accept, 0.999).map(|accept| accept.ms.p99_9),
            Figure::AcceptMax => measured(&run.accept).map(|accept| accept.ms.max),
            Figure::EndToEndP50 => measured(&run.end_to_end).map(|whole| whole.ms.p50),
            Figure::EndToEndP99 => tail(run, &run.end_to_end, 0.99).map(|whole| whole.ms.p99),
            Figure::RelayCpu => cpu(run, &["relay"]),
            Figure::OtherCpu => cpu(run, &["source", "sink"]),
            Figure::Memory => {
                let relay = run.costs.iter().find(|cost| cost.program == "relay");
                relay.map(|cost| cost.memory_peak_bytes as f64)
            }
            Figure::Fsyncs => run.fsyncs_per_message,
        };
        value.filter(|value| value.is_finite())
    }

    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Figure::PerSecond => "messages/s",
            Figure::PerHour => "messages/h",
            Figure::AcceptP50 => "accept p50",
            Figure::AcceptP99 => "accept p99",
            Figure::AcceptP99_9 => "accept p99.9",
            Figure::AcceptMax => "accept max",
            Figure::EndToEndP50 => "end-to-end p50",
            Figure::EndToEndP99 => "end-to-end p99",
            Figure::RelayCpu => "CPU a message",
            Figure::OtherCpu => "CPU a message of source and sink",
            Figure::Memory => "peak memory",
            Figure::Fsyncs => "fsyncs a message",
        }
    }

    /// Over a column: what several columns share, and what is the column's own.
    pub fn head(self) -> (&'static str, &'static str) {
        match self {
            Figure::PerSecond => ("messages", "/s"),
            Figure::PerHour => ("messages", "/h"),
            Figure::AcceptP50 => ("accept, ms", "p50"),
            Figure::AcceptP99 => ("accept, ms", "p99"),
            Figure::AcceptP99_9 => ("accept, ms", "p99.9"),
            Figure::AcceptMax => ("accept, ms", "max"),
            Figure::EndToEndP50 => ("end to end, ms", "p50"),
            Figure::EndToEndP99 => ("end to end, ms", "p99"),
            Figure::RelayCpu => ("CPU, us/message", "relay"),
            Figure::OtherCpu => ("CPU, us/message", "source+sink"),
            Figure::Memory => ("relay's", "peak memory"),
            Figure::Fsyncs => ("relay's", "fsyncs/message"),
        }
    }

    /// In a column that names the unit, or with a unit that depends on the size.
    pub fn write(self, value: f64) -> String {
        match self {
            Figure::PerHour => units::large(value),
            Figure::Memory => units::bytes(value),
            _ => units::number(value),
        }
    }

    pub fn better(self) -> Better {
        match self {
            Figure::PerSecond | Figure::PerHour => Better::More,
            _ => Better::Less,
        }
    }

    pub fn weight(self) -> Weight {
        match self {
            Figure::PerHour | Figure::AcceptMax | Figure::OtherCpu => Weight::Told,
            _ => Weight::Judged,
        }
    }
}

/// Zero messages have no latencies, and zero is not one.
pub fn measured(latency: &Latency) -> Option<&Latency> {
    (latency.ms.max > 0.0 || !latency.buckets.is_empty()).then_some(latency)
}

/// Ten samples beyond a percentile are the fewest that say anything about it.
fn tail<'a>(run: &Run, latency: &'a Latency, quantile: f64) -> Option<&'a Latency> {
    let beyond = run.balance.accepted as f64 * (1.0 - quantile);
    measured(latency).filter(|_| beyond >= 10.0)
}

/// Of these programs together, unless one of them is unknown.
fn cpu(run: &Run, programs: &[&str]) -> Option<f64> {
    programs
        .iter()
        .map(|program| run.costs.iter().find(|cost| cost.program == *program))
        .map(|cost| cost.map(|cost| cost.cpu_us_per_message))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_was_not_measured_is_absent() {
        let whole = fixture::run("steady", 1, fixture::baton());
        for figure in Figure::ALL {
            assert!(figure.of(&whole).is_some(), "{figure:?}");
        }
        let bare = fixture::bare("steady", 1);
        let absent = Figure::ALL.into_iter().filter(|figure| figure.of(&bare).is_none());
        assert_eq!(absent.count(), 10);
        assert_eq!(Figure::PerSecond.of(&bare), Some(0.0));
        let mut half = whole;
        half.costs.retain(|cost| cost.program != "sink");
        assert_eq!(Figure::OtherCpu.of(&half), None);
        assert!(Figure::RelayCpu.of(&half).is_some());
    }
}
