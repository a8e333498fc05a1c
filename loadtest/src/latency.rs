//! How long things took: a histogram of microseconds, and what is told of it.
//!
//! HdrHistogram with three significant digits, so that a stall of seconds and a reply of 50 us are
//! counted with the same relative error of 0.1 %. A histogram travels between processes and into
//! reports as its filled buckets, which anybody can read and plot.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer latencies are counted as this: an hour.
const US_MAX: u64 = 3_600_000_000;

/// Latencies of one kind.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

/// A filled bucket: its highest value in microseconds, and how many fell into it.
pub type Bucket = (u64, u64);

/// Milliseconds that this share of all latencies did not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    pub max: f64,
}

impl Latencies {
    pub fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, US_MAX, 3);
        Latencies(histogram.expect("the bounds are constants"))
    }

    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.0.max() as f64 / 1000.0,
        }
    }

    /// All that was recorded, in ascending order.
    pub fn buckets(&self) -> Vec<Bucket> {
        let filled = self.0.iter_recorded();
        filled.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
    }

    #[cfg(test)]
    /// The histogram that has these buckets; values beyond an hour count as one.
    pub fn from_buckets(buckets: &[Bucket]) -> Latencies {
        let mut latencies = Latencies::new();
        for (us, count) in buckets {
            latencies.0.saturating_record_n(*us, *count);
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_milliseconds_and_survive_the_journey_as_buckets() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        latencies.record(Duration::from_secs(5));
        let seen = latencies.percentiles();
        assert_eq!((seen.p50, seen.p90, seen.p99), (0.501, 0.901, 0.991));
        assert!((seen.max / 5000.0 - 1.0).abs() < 1e-3, "{seen:?}");
        let copy = Latencies::from_buckets(&latencies.buckets()).percentiles();
        assert_eq!((copy.p50, copy.p90, copy.p99), (seen.p50, seen.p90, seen.p99));
        assert!((copy.max / seen.max - 1.0).abs() < 1e-3);
    }

    #[test]
    fn an_hour_is_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::MAX);
        assert!((latencies.percentiles().max / 3_600_000.0 - 1.0).abs() < 1e-3);
        assert!(Latencies::new().buckets().is_empty());
    }
}
