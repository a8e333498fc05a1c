//! What `send` and `sink` tell a program that started them (`--progress`): lines of JSON on stdout.
//!
//! A tick every `PERIOD` with totals since the start, and one summary at the end. Times are of the
//! clock that all processes of a machine share, so that ticks of several can be laid side by side,
//! and so that a message can carry the time it was due to whoever receives it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::{Bucket, Percentiles};

/// Between two ticks.
pub const PERIOD: Duration = Duration::from_millis(250);

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Tick(Tick),
    Sent(Sent),
    Received(Received),
}

/// Totals since the start of the process that prints it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// `kernel::monotonic`, in milliseconds.
    pub at_ms: u64,
    /// Answered, by whatever final reply (`send`); taken with 250 (`sink`).
    pub messages: u64,
    /// Accepted (`send`), delivered (`sink`).
    pub recipients: u64,
}

/// How a run of `send` ended. `sent` is the sum of the four kinds of end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub run_id: String,
    pub finish: Finish,
    /// When it began, `kernel::monotonic` in microseconds: the moment that its schedule counts from.
    pub start_us: u64,
    pub sent: u64,
    pub accepted: u64,
    pub deferred: u64,
    pub rejected: u64,
    /// The connection ended before the final reply.
    pub unknown: u64,
    /// Due in an open loop before its end, and never begun.
    pub never_sent: u64,
    /// Sessions that could not connect again and left the rest to the others.
    pub sessions_given_up: u64,
    pub recipients_accepted: u64,
    pub connections: u64,
    pub connections_lost: u64,
    pub bytes: u64,
    /// From the start to the last final reply.
    pub seconds: f64,
    pub messages_per_s: f64,
    pub latency_from: Since,
    /// Of accepted messages. In an open loop unknown ones are in it as well, with the time that
    /// they had taken when their connection ended: at least so long.
    pub latency_ms: Percentiles,
    /// Only with `--progress`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_buckets: Vec<Bucket>,
    /// Of deferred and rejected messages.
    pub refusal_latency_ms: Percentiles,
    /// Only with `--progress`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusal_latency_buckets: Vec<Bucket>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_refusal: Option<String>,
}

/// How a run of `send` came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// Nobody ended it: its messages or its time were over, or all of its sessions gave up.
    Whole,
    /// By SIGINT or SIGTERM.
    CutShort,
    /// No reply came for too long.
    Stalled,
}

/// Where latencies of `send` start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    FinalDot,
    Due,
}

/// What a `sink` saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Received {
    pub messages: u64,
    pub recipients: u64,
    /// Messages of `send` whose body, header or sender is not what it sent.
    pub corrupt: u64,
    /// Messages that `send` did not make, such as notices.
    pub foreign: u64,
    /// Those of them that are delivery status notifications (RFC 3464).
    #[serde(default)]
    pub notices: u64,
    /// Notices that came to another than the sender of their message. They are not among `notices`,
    /// and what they say is not entered.
    #[serde(default)]
    pub astray: u64,
    /// Recipients that notices call failed.
    #[serde(default)]
    pub bounced: u64,
    /// Recipients that notices call delayed; one may be called so several times.
    #[serde(default)]
    pub delayed: u64,
    pub bytes: u64,
    pub sessions: u64,
    /// Sessions that went on under TLS.
    #[serde(default)]
    pub secured: u64,
    /// How often each behaviour was met, those that were.
    #[serde(default)]
    pub behaviours: BTreeMap<String, u64>,
    /// The same for each kind of site of the profile; the ordinary one is the last.
    #[serde(default)]
    pub sites: Vec<AtSite>,
    /// From the moment that a message was due, or offered, to the moment that the sink had all of
    /// it, for each of its recipients.
    pub latency_ms: Percentiles,
    pub latency_buckets: Vec<Bucket>,
    /// When the last message of a load run was there, `kernel::monotonic` in microseconds; absent
    /// when there was none.
    #[serde(default)]
    pub last_us: Option<u64>,
}

/// What one kind of site saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtSite {
    pub name: String,
    /// That came to an address of such a site.
    pub sessions: u64,
    /// Taken, of those that such a site answers for.
    pub messages: u64,
    pub behaviours: BTreeMap<String, u64>,
}

/// Prints a line at once.
pub fn print(line: &Line) {
    let mut text = serde_json::to_string(line).expect("these types are JSON");
    text.push('\n');
    // A program that is gone does not read, which is no reason to stop.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}
