//! The relays that can be put under test, behind one face.
//!
//! | file | |
//! |---|---|
//! | `baton` | `baton run` with a configuration and a queue of its own |
//! | `postfix` | Debian's Postfix with a configuration and a queue of its own |
//! | `other` | any that runs already: only what can be seen from outside |
//!
//! A relay starts with an empty queue in the folder of its run and leaves no process behind. It is
//! told where mail goes, how many connections a site may have and how soon to try again; the rest
//! is its own. Never decides what a run is: that is `course.rs`.

mod baton;
mod other;
mod postfix;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use self::baton::Baton;
use self::other::Other;
use self::postfix::Postfix;
use super::args::{Args, RelayKind};
use super::scenario::{Plan, Receivers};
use super::watch::Watch;
use crate::error::Error;
use crate::loopback::Loopback;
use crate::report::model;

/// What a relay finds when it starts.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub args: &'a Args,
    pub plan: &'a Plan,
    /// Of this run, empty; there until the relay is gone.
    pub folder: &'a Path,
    pub sink: Loopback,
    pub names: Names,
    pub tracing: Tracing,
    pub watch: &'a Watch,
}

/// How destinations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Everything goes to the sink.
    Nobody,
    /// By MX from this server; hosts are at the sink's port.
    Server(Loopback),
}

/// Whether system calls that sync are counted from outside, where a relay does not count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    Off,
    Syncs,
}

pub enum Relay {
    Baton(Baton),
    Postfix(Postfix),
    Other(Other),
}

/// What a relay says of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Empty,
    Holds,
    /// It cannot be asked.
    Unknown,
}

/// Time until the second attempt and between later ones, in seconds, where receivers misbehave and
/// nobody wants to wait as long as one does in life.
const RETRY_FIRST_S: u32 = 5;
const RETRY_MAX_S: u32 = 60;
/// Names under this one are out of reach: their next hop is an address where nobody listens.
pub const UNREACHABLE: &str = "waiting.test";
/// The port of a service that nobody has offered for decades (tcpmux, RFC 1078).
const NOBODY: &str = "127.0.0.1:1";
/// Longer than any run: mail out of reach is tried once and then waits.
const WAIT_S: u32 = 24 * 3600;
/// For a connection to be made, then.
const CONNECT_MAX_S: u32 = 5;

impl Relay {
    pub fn start(kind: RelayKind, around: Surroundings<'_>) -> Result<Relay, Error> {
        Ok(match kind {
            RelayKind::Baton => Relay::Baton(Baton::start(around, around.args.shards)?),
            RelayKind::BatonOf(shards) => Relay::Baton(Baton::start(around, shards)?),
            RelayKind::Postfix => Relay::Postfix(Postfix::start(around)?),
            RelayKind::Other(address) => Relay::Other(Other::new(address, around)?),
        })
    }

    pub fn address(&self) -> Loopback {
        match self {
            Relay::Baton(baton) => baton.address(),
            Relay::Postfix(postfix) => postfix.address(),
            Relay::Other(other) => other.address(),
        }
    }

    /// Processes that, with all below them, are the relay.
    pub fn roots(&self) -> Vec<u32> {
        match self {
            Relay::Baton(baton) => vec![baton.pid()],
            Relay::Postfix(postfix) => vec![postfix.pid()],
            Relay::Other(other) => other.pids().to_vec(),
        }
    }

    pub fn must_live(&mut self) -> Result<(), Error> {
        match self {
            Relay::Baton(baton) => baton.must_live(),
            Relay::Postfix(postfix) => postfix.must_live(),
            Relay::Other(other) => other.must_live(),
        }
    }

    /// What it holds beside the mail that the plan has it hold all the time.
    pub fn queue(&self) -> Result<Queue, Error> {
        match self {
            Relay::Baton(baton) => baton.queue(),
            Relay::Postfix(postfix) => Ok(postfix.queue()),
            Relay::Other(_) => Ok(Queue::Unknown),
        }
    }

    /// Messages in its queue, of whatever kind; of one that cannot be asked, none are known.
    pub fn held(&self) -> Result<u64, Error> {
        match self {
            Relay::Baton(baton) => baton.held(),
            Relay::Postfix(postfix) => Ok(postfix.held()),
            Relay::Other(_) => Ok(0),
        }
    }

    /// Has it try everything that waits now, as its operator can.
    pub fn try_all_again(&self) -> Result<(), Error> {
        match self {
            Relay::Baton(baton) => baton.try_all_again(),
            Relay::Postfix(postfix) => postfix.try_all_again(),
            Relay::Other(_) => Ok(()),
        }
    }

    /// The recipients that wait, once for each message; of these domains at least.
    pub fn waiting(&self, domains: &[String]) -> Result<Vec<String>, Error> {
        match self {
            Relay::Baton(baton) => baton.waiting(domains),
            Relay::Postfix(postfix) => postfix.waiting(),
            Relay::Other(_) => Ok(Vec::new()),
        }
    }

    /// The recipients that its log says it gave up, once for each message.
    pub fn given_up(&self) -> Vec<String> {
        match self {
            Relay::Baton(baton) => baton.given_up(),
            Relay::Postfix(postfix) => postfix.given_up(),
            Relay::Other(_) => Vec::new(),
        }
    }

    /// Syncs to disk since its start, if it counts them.
    pub fn syncs(&self) -> Result<Option<u64>, Error> {
        match self {
            Relay::Baton(baton) => baton.syncs().map(Some),
            Relay::Postfix(_) | Relay::Other(_) => Ok(None),
        }
    }

    /// Syncs from its start to its end, once it has ended, if they were counted from outside.
    pub fn traced_syncs(&self) -> Result<Option<u64>, Error> {
        match self {
            Relay::Postfix(postfix) => postfix.traced_syncs().map(Some),
            Relay::Baton(_) | Relay::Other(_) => Ok(None),
        }
    }

    /// Sessions that it can be asked to hold; more would end the machine and not the question.
    pub fn idle_sessions_max(&self) -> u32 {
        match self {
            Relay::Baton(_) | Relay::Other(_) => u32::MAX,
            Relay::Postfix(_) => postfix::IDLE_SESSIONS_MAX,
        }
    }

    pub fn told(&self) -> model::Relay {
        let (name, settings) = match self {
            Relay::Baton(baton) => (baton.name(), baton.settings()),
            Relay::Postfix(postfix) => (postfix.name(), postfix.settings()),
            Relay::Other(other) => (other.address().address().to_string(), Vec::new()),
        };
        model::Relay { kind: self.kind().to_owned(), name, settings }
    }

    fn kind(&self) -> &'static str {
        match self {
            Relay::Baton(_) => RelayKind::Baton.word(),
            Relay::Postfix(_) => RelayKind::Postfix.word(),
            Relay::Other(other) => RelayKind::Other(other.address()).word(),
        }
    }

    /// What differs from what another relay gets, and what could not be measured.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Relay::Baton(_) => vec![
                "its fsyncs are those of its write-ahead log in what was measured, by its own count"
                    .to_owned(),
            ],
            Relay::Postfix(postfix) => postfix.notes(),
            Relay::Other(other) => other.notes(),
        }
    }

    /// Ends it; no process of it is left when this returns.
    pub fn stop(&mut self, watch: &Watch) -> Result<(), Error> {
        match self {
            Relay::Baton(baton) => baton.stop(watch),
            Relay::Postfix(postfix) => return postfix.stop(watch),
            Relay::Other(_) => {}
        }
        Ok(())
    }
}

/// A log that cannot be read says nothing; what is no UTF-8 in it is replaced.
fn each_line(log: &Path, mut take: impl FnMut(&str)) {
    let Ok(file) = File::open(log) else {
        return;
    };
    let mut lines = BufReader::new(file).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        take(&String::from_utf8_lossy(&line));
    }
}

/// Whether relays are to try again sooner than they would in life.
fn hurries(plan: &Plan) -> bool {
    matches!(plan.receivers, Receivers::Profile(_))
}

/// `("name", "value")` as a report has it.
fn setting(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}
