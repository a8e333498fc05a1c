//! What a load run amounted to: counts, rate, latencies, as one line of JSON and one to read.
//!
//! Latencies of accepted messages and of refused ones are kept apart. Latency is counted from the
//! moment before the write that holds the end of the message (so the
//! transfer of a large one is in it) to the final reply read; in an open loop from the moment at
//! which the message was due, so that a relay that stalls cannot hide the messages that it kept
//! waiting.

use std::fmt;
use std::time::Duration;

use super::transaction::is_success;
use crate::latency::Latencies;
use crate::progress::{Finish, Sent, Since};

/// Counts of one run. `sent` is the sum of the four kinds of end.
pub struct Report {
    pub run_id: String,
    pub finish: Finish,
    /// When it began, `kernel::monotonic`.
    pub start: Duration,
    pub sent: u64,
    pub accepted: u64,
    pub deferred: u64,
    pub rejected: u64,
    pub unknown: u64,
    /// Due in an open loop, and never begun.
    pub never_sent: u64,
    pub sessions_given_up: u64,
    pub recipients_accepted: u64,
    pub connections: u64,
    pub connections_lost: u64,
    pub bytes: u64,
    pub elapsed: Duration,
    pub since: Since,
    pub first_refusal: Option<String>,
    /// Of accepted messages and, in an open loop, unknown ones.
    pub latencies: Latencies,
    pub refusal_latencies: Latencies,
}

impl Report {
    pub fn new(run_id: &str, since: Since) -> Report {
        Report {
            run_id: run_id.to_owned(),
            finish: Finish::Whole,
            start: Duration::ZERO,
            sent: 0,
            accepted: 0,
            deferred: 0,
            rejected: 0,
            unknown: 0,
            never_sent: 0,
            sessions_given_up: 0,
            recipients_accepted: 0,
            connections: 0,
            connections_lost: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
            since,
            first_refusal: None,
            latencies: Latencies::new(),
            refusal_latencies: Latencies::new(),
        }
    }

    /// Where the time to this final reply belongs: refusals are often fast, and would make a relay
    /// that refuses much look good.
    pub fn latencies_of(&mut self, code: u16) -> &mut Latencies {
        if is_success(code) { &mut self.latencies } else { &mut self.refusal_latencies }
    }

    /// Messages with a final reply.
    pub fn answered(&self) -> u64 {
        self.accepted + self.deferred + self.rejected
    }

    pub fn summary(&self) -> Sent {
        let seconds = self.elapsed.as_secs_f64();
        Sent {
            run_id: self.run_id.clone(),
            finish: self.finish,
            start_us: self.start.as_micros() as u64,
            sent: self.sent,
            accepted: self.accepted,
            deferred: self.deferred,
            rejected: self.rejected,
            unknown: self.unknown,
            never_sent: self.never_sent,
            sessions_given_up: self.sessions_given_up,
            recipients_accepted: self.recipients_accepted,
            connections: self.connections,
            connections_lost: self.connections_lost,
            bytes: self.bytes,
            seconds,
            messages_per_s: self.answered() as f64 / seconds.max(1e-9),
            latency_from: self.since,
            latency_ms: self.latencies.percentiles(),
            latency_buckets: Vec::new(),
            refusal_latency_ms: self.refusal_latencies.percentiles(),
            refusal_latency_buckets: Vec::new(),
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
        let counts = [
            ("due and never sent", self.0.never_sent),
            ("sessions gave up", self.0.sessions_given_up),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            write!(out, "; {what}: {count}")?;
        }
        match &self.0.first_refusal {
            Some(text) => write!(out, "; first refusal: {text}"),
            None => Ok(()),
        }
    }
}
