//! What a load run amounted to: counts, rate, latencies, as one line of JSON and one to read.
//!
//! Latency is counted from the moment before the write that holds the end of the message (so the
//! transfer of a large one is in it) to the final reply read; in an open loop from the moment at
//! which the message was due, so that a relay that stalls cannot hide the messages that it kept
//! waiting.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer latencies are counted as this.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Where latencies start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    FinalDot,
    Due,
}

/// Counts of one run. `sent` is the sum of the four kinds of end.
pub struct Report {
    pub run_id: String,
    pub sent: u64,
    pub accepted: u64,
    pub deferred: u64,
    pub rejected: u64,
    pub unknown: u64,
    pub recipients_accepted: u64,
    pub connections: u64,
    pub connections_lost: u64,
    pub bytes: u64,
    pub elapsed: Duration,
    pub since: Since,
    pub first_refusal: Option<String>,
    latency_us: Histogram<u64>,
}

impl Report {
    pub fn new(run_id: &str, since: Since) -> Report {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Report {
            run_id: run_id.to_owned(),
            sent: 0,
            accepted: 0,
            deferred: 0,
            rejected: 0,
            unknown: 0,
            recipients_accepted: 0,
            connections: 0,
            connections_lost: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
            since,
            first_refusal: None,
            latency_us: latency_us.expect("the bounds are constants"),
        }
    }

    pub fn record_latency(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.saturating_record(us);
    }

    pub fn messages_per_s(&self) -> f64 {
        let answered = self.accepted + self.deferred + self.rejected;
        answered as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// p50, p90, p99, max.
    fn latencies_ms(&self) -> [f64; 4] {
        let at = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        [at(0.5), at(0.9), at(0.99), self.latency_us.max() as f64 / 1000.0]
    }

    fn since_word(&self) -> &'static str {
        match self.since {
            Since::FinalDot => "final-dot",
            Since::Due => "due",
        }
    }

    /// One line; the run id needs no escapes (`main.rs` checks it).
    pub fn json(&self) -> String {
        let [p50, p90, p99, max] = self.latencies_ms();
        format!(
            "{{\"run_id\":\"{}\",\"sent\":{},\"accepted\":{},\"deferred\":{},\"rejected\":{},\
             \"unknown\":{},\"recipients_accepted\":{},\"connections\":{},\"connections_lost\":{},\
             \"bytes\":{},\"seconds\":{:.3},\"messages_per_s\":{:.1},\"latency_from\":\"{}\",\
             \"latency_ms\":{{\"p50\":{p50:.3},\"p90\":{p90:.3},\
             \"p99\":{p99:.3},\"max\":{max:.3}}}}}",
            self.run_id,
            self.sent,
            self.accepted,
            self.deferred,
            self.rejected,
            self.unknown,
            self.recipients_accepted,
            self.connections,
            self.connections_lost,
            self.bytes,
            self.elapsed.as_secs_f64(),
            self.messages_per_s(),
            self.since_word(),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, max] = self.latencies_ms();
        write!(
            out,
            "send: {} sent, {} accepted, {} deferred, {} rejected, {} unknown in {:.2} s: {:.0} \
             messages/s; ms from {} to reply: p50 {p50:.2}, p90 {p90:.2}, \
             p99 {p99:.2}, max {max:.2}",
            self.sent,
            self.accepted,
            self.deferred,
            self.rejected,
            self.unknown,
            self.elapsed.as_secs_f64(),
            self.messages_per_s(),
            self.since_word(),
        )?;
        match &self.first_refusal {
            Some(text) => write!(out, "; first refusal: {text}"),
            None => Ok(()),
        }
    }
}
