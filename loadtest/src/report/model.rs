//! What a report is: the JSON that `baton-load run` writes, and the text, the page and the comparison
//! that are made of it.
//!
//! Plain values with their units in their names. A field that could not be measured is absent, never
//! zero. `FORMAT` goes up when a field changes its meaning; adding one does not count.

use serde::{Deserialize, Serialize};

use crate::latency::{Bucket, Percentiles};

/// Of `Report::format`.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// The command as it was given, without paths of the machine.
    pub command: String,
    pub seed: u64,
    pub machine: Machine,
    /// In the order in which they ran: in turns, so that what the machine does meanwhile hits all.
    pub runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: u32,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Of the queue: file system, and the kind of device where it is known.
    pub disk: String,
    /// What was measured and what measured it: name and version.
    pub versions: Vec<(String, String)>,
}

/// One relay under one load, from its start to its last delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    /// From 1; runs of one scenario and relay differ in it.
    pub round: u32,
    pub relay: Relay,
    /// What was sent, in words and numbers: `("size", "4 KiB")`.
    pub load: Vec<(String, String)>,
    /// From the first message begun to the last one delivered, without the warm-up.
    pub seconds: f64,
    /// Messages that reached the sink, all recipients of each, by `seconds`.
    pub relayed_per_s: f64,
    /// From the final dot (closed loop) or from the time it was due (open loop) to the reply.
    pub accept: Latency,
    /// From the start of the message, or from the time it was due, to the sink having all of it.
    pub end_to_end: Latency,
    /// The relay's, of all its processes.
    pub fsyncs_per_message: Option<f64>,
    pub costs: Vec<Cost>,
    pub balance: Balance,
    pub series: Series,
    /// What a reader should know beside the numbers: "one peak of load by another program", ..
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relay {
    /// `baton`, `postfix` or `other`.
    pub kind: String,
    /// `baton 0.1.0`, `Postfix 3.7.11`, `127.0.0.1:2525`.
    pub name: String,
    /// `("shards", "2")`, `("durability", "fsync")`.
    pub settings: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub from: String,
    pub ms: Percentiles,
    pub buckets: Vec<Bucket>,
}

/// What one of the programs of a run used, all its processes together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// `relay`, `source`, `sink`, `dns`.
    pub program: String,
    pub cpu_us_per_message: f64,
    pub memory_peak_bytes: u64,
}

/// `accepted = delivered + bounced + queued`, in pairs of message and recipient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    pub messages_sent: u64,
    /// Pairs that were answered 250.
    pub accepted: u64,
    pub refused: u64,
    /// The connection ended before the answer.
    pub unknown: u64,
    pub delivered: u64,
    pub bounced: u64,
    /// Still with the relay at the end.
    pub queued: u64,
    pub missing: u64,
    pub duplicates: u64,
    pub corrupt: u64,
    /// Delivered, and the sender was told that it was not.
    #[serde(default)]
    pub contradicted: u64,
    /// Delivered or returned, and never sent or refused.
    pub unexpected: u64,
    pub holds: bool,
    /// Some of what is wrong, to begin a search with.
    pub examples: Vec<String>,
}

/// What went on over time, one value in each for each moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Since the first message begun.
    pub at_s: Vec<f64>,
    pub accepted_per_s: Vec<f64>,
    pub delivered_per_s: Vec<f64>,
    /// Cores that the relay's processes kept busy: 1.0 is one core. Empty when unknown.
    pub relay_cores: Vec<f64>,
    /// Resident memory of the relay's processes. Empty when unknown.
    pub relay_memory_bytes: Vec<u64>,
}
