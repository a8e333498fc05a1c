//! What a load run amounted to: counts, rate, latencies, as one line of JSON and one to read.
//!
//! Latency is counted from the moment before the write that holds the end of the message (so the
//! transfer of a large one is in it) to the final reply read; in an open loop from the moment at
//! which the message was due, so that a relay that stalls cannot hide the messages that it kept
//! waiting.

use std::fmt;
use std::time::Duration;

use crate::latency::Latencies;
use crate::progress::{Sent, Since};

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
    pub latencies: Latencies,
}

impl Report {
    pub fn new(run_id: &str, since: Since) -> Report {
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
            latencies: Latencies::new(),
        }
    }

    /// Messages with a final reply.
    pub fn answered(&self) -> u64 {
        self.accepted + self.deferred + self.rejected
    }

    pub fn summary(&self) -> Sent {
        let seconds = self.elapsed.as_secs_f64();
        Sent {
            run_id: self.run_id.clone(),
            sent: self.sent,
            accepted: self.accepted,
            deferred: self.deferred,
            rejected: self.rejected,
            unknown: self.unknown,
            recipients_accepted: self.recipients_accepted,
            connections: self.connections,
            connections_lost: self.connections_lost,
            bytes: self.bytes,
            seconds,
            messages_per_s: self.answered() as f64 / seconds.max(1e-9),
            latency_from: self.since,
            latency_ms: self.latencies.percentiles(),
            latency_buckets: Vec::new(),
            first_refusal: self.first_refusal.clone(),
        }
    }
}

/// The line to read.
pub struct Told<'a>(pub &'a Sent);

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { sent, accepted, deferred, rejected, unknown, .. } = self.0;
        let since = match self.0.latency_from {
            Since::FinalDot => "final-dot",
            Since::Due => "due",
        };
        let ms = self.0.latency_ms;
        write!(
            out,
            "send: {sent} sent, {accepted} accepted, {deferred} deferred, {rejected} rejected, \
             {unknown} unknown in {:.2} s: {:.0} messages/s; ms from {since} to reply: \
             p50 {:.2}, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
            self.0.seconds, self.0.messages_per_s, ms.p50, ms.p90, ms.p99, ms.p99_9, ms.max,
        )?;
        match &self.0.first_refusal {
            Some(text) => write!(out, "; first refusal: {text}"),
            None => Ok(()),
        }
    }
}
