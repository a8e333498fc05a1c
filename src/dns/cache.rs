//! [`Cache`]: what was learned of the DNS, for as long as it holds, in a bounded number of octets.
//!
//! Decides how long that is: a TTL is believed between a least and a most, "there is none" for no
//! longer than an hour (RFC 2308 5 suggests one to three), and a failure for a few seconds, so that
//! a broken zone is not asked once for every message to it (RFC 9520 3.2).
//! Decides also what goes when room is needed: the oldest that was not used since the last round
//! (second chance): nearly as good as least recently used, and a look-up changes one flag only.
//!
//! Octets are counted as if every entry cost its worst: of a cache filled with sets of three mail
//! hosts, six sevenths of what was counted were in use (measured: 543 octets a set of 629).
//! Never reads a clock: time comes in.

use super::Finding;
use super::answer::{Answer, Failure, Record};
use super::query::Question;
use crate::time::Moment;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Below, a TTL (0 above all) would have every message ask anew.
const TTL_MIN: Duration = Duration::from_secs(5);
/// Above, a mistake in a zone would outlive its correction for too long.
const TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3_600);
/// RFC 9520 3.2 asks for one second at least and five minutes at most.
const FAILURE_TTL: Duration = Duration::from_secs(5);

/// Octets of an entry without its name and records: its places in the map and in the line, both as
/// large as growing by doubling can make them, and three allocations.
const ENTRY_BYTES: usize = 2 * (size_of::<Entry>() + size_of::<Arc<Question>>() + 1)
    + 2 * size_of::<Arc<Question>>()
    + size_of::<Question>()
    + size_of::<Answer>()
    + 3 * ALLOCATION_BYTES;
/// What an allocation costs beside its content: counts, header, rounding.
const ALLOCATION_BYTES: usize = 32;

#[derive(Debug)]
pub struct Cache {
    entries: HashMap<Arc<Question>, Entry>,
    /// Every key of `entries` once: the next to go is at the front.
    line: VecDeque<Arc<Question>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    finding: Finding,
    until: Moment,
    bytes: usize,
    /// Since it came, or since it was spared.
    used: bool,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache { entries: HashMap::new(), line: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// What is known of `question` at `now`.
    pub fn get(&mut self, question: &Question, now: Moment) -> Option<Finding> {
        let entry = self.entries.get_mut(question).filter(|entry| now < entry.until)?;
        entry.used = true;
        Some(entry.finding.clone())
    }

    /// Keeps what was found out; what takes more than the whole bound is not kept.
    pub fn put(&mut self, question: Question, finding: Finding, now: Moment) {
        let until = now.after(lasts(&finding));
        let bytes = cost(&question, &finding);
        if bytes > self.bytes_max {
            return;
        }
        match self.entries.get_mut(&question) {
            Some(entry) => {
                self.bytes = self.bytes - entry.bytes + bytes;
                *entry = Entry { finding, until, bytes, used: true };
            }
            None => {
                let question = Arc::new(question);
                let entry = Entry { finding, until, bytes, used: false };
                self.entries.insert(Arc::clone(&question), entry);
                self.line.push_back(question);
                self.bytes += bytes;
            }
        }
        self.make_room(now);
    }

    /// Octets in use, as counted; at most the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self, now: Moment) {
        while self.bytes > self.bytes_max
            && let Some(question) = self.line.pop_front()
        {
            let entry = self.entries.get_mut(&question).expect("the line names what is here");
            if entry.used && now < entry.until {
                entry.used = false;
                self.line.push_back(question);
                continue;
            }
            self.bytes -= entry.bytes;
            self.entries.remove(&question);
        }
    }
}

fn lasts(finding: &Finding) -> Duration {
    let Ok(answer) = finding else { return FAILURE_TTL };
    let most = match **answer {
        Answer::Records(_) => TTL_MAX,
        Answer::NoData { .. } | Answer::NoName { .. } => NEGATIVE_TTL_MAX,
    };
    answer.ttl().clamp(TTL_MIN, most)
}

fn cost(question: &Question, finding: &Finding) -> usize {
    let records = match finding {
        Ok(answer) => answer.records(),
        Err(
            Failure::NoAnswer
            | Failure::ServerFailed
            | Failure::Refused
            | Failure::Code(_)
            | Failure::Malformed
            | Failure::Aliases,
        ) => &[],
    };
    let owned = |record: &Record| match record {
        Record::Mx { exchange, .. } => exchange.len() + ALLOCATION_BYTES,
        Record::Address(_) => 0,
        Record::Txt(octets) => octets.len() + ALLOCATION_BYTES,
    };
    // A list of records grows by doubling.
    let records = records.iter().map(|record| 2 * size_of::<Record>() + owned(record));
    ENTRY_BYTES + question.name().len() + records.sum::<usize>()
}
