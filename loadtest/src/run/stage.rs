//! The programs of one run and their arguments: sink, DNS, the relay, the source.
//!
//! What a plan says becomes words of our own commands here and nowhere else. The sink starts anew
//! at the same address between the warm-up and what is measured, so that its ledger, its latencies
//! and the moods of its sites have nothing of the warm-up in them. Decides no order: `course.rs`
//! does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::args::{Args, RelayKind};
use super::child::{Child, Orphan};
use super::relay::{Names, Relay, Surroundings, Tracing, UNREACHABLE};
use super::scenario::{
    Amount, Connections, Course, Encryption, Hosts, Mail, Plan, Receivers, Route, Scenario,
    Senders, WarmUp,
};
use super::watch::Watch;
use crate::error::Error;
use crate::loopback::Loopback;

/// Domains and senders of what is measured.
pub const SUFFIX: &str = "x.test";
/// Those of a warm-up of strangers, so that nothing of it can be taken for what is measured.
const WARM_UP_SUFFIX: &str = "warm.x.test";
/// Port 53 is the only one that the C library asks, and this address nobody else's.
const NAMED_ADDRESS: &str = "127.0.53.53:53";
const ANY_PORT: &str = "127.0.0.1:0";
/// An answer that a relay got in the warm-up is still good at the end of the run.
const WARM_TTL_S: u32 = 3600;
/// Length of a message that waits.
const WAITING_BYTES: u32 = 1000;
/// Before the source gives up on a relay that answers nothing.
const SOURCE_STALL_S: u32 = 60;
/// Attempts of each session, some seconds, before it gives up on a relay that takes no connection.
const SOURCE_RECONNECTS_MAX: u32 = 100;

/// One relay under one load.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    pub args: &'a Args,
    pub watch: &'a Watch,
    pub work: &'a Path,
    /// Of the command, in all its serials.
    pub nonce: &'a str,
    pub scenario: Scenario,
    pub plan: Plan,
    pub relay: RelayKind,
    pub round: u32,
    /// Of all turns.
    pub number: u32,
    pub rate: Rate,
    pub tracing: Tracing,
}

/// When messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// When the last one was answered (closed loop).
    Answered,
    /// Open loop.
    PerSecond(f64),
}

/// What receivers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    WarmUp,
    /// To be the internet of a backlog: nobody takes mail.
    Refuse,
    Measure,
}

pub struct Stage<'a> {
    pub turn: Turn<'a>,
    pub folder: PathBuf,
    pub sink: Child,
    pub dns: Option<Child>,
    pub relay: Relay,
    sink_address: Loopback,
}

impl<'a> Stage<'a> {
    /// Starts everything but the source.
    pub fn set_up(turn: Turn<'a>, purpose: Purpose) -> Result<Stage<'a>, Error> {
        let folder = turn.work.join(format!("run-{}", turn.number));
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let mut sink = start_sink(turn, &folder, turn.args.sink_listen, purpose)?;
        let sink_address = sink.address("listening", turn.watch)?;
        let mut dns = start_dns(turn, &folder)?;
        let names = match &mut dns {
            Some(dns) => Names::Server(dns.address("listening", turn.watch)?),
            None => Names::Nobody,
        };
        let relay = Relay::start(
            turn.relay,
            Surroundings {
                args: turn.args,
                plan: &turn.plan,
                folder: &folder,
                sink: sink_address,
                names,
                tracing: turn.tracing,
                watch: turn.watch,
            },
        )?;
        Ok(Stage { turn, folder, sink, dns, relay, sink_address })
    }

    /// Receivers that know nothing of what came before.
    pub fn renew_sink(&mut self, purpose: Purpose) -> Result<(), Error> {
        self.sink.stop(self.turn.watch);
        self.sink = start_sink(self.turn, &self.folder, self.sink_address, purpose)?;
        self.sink.address("listening", self.turn.watch).map(drop)
    }

    pub fn start_source(&self, purpose: Purpose) -> Result<Child, Error> {
        let words = source(self.turn, purpose, self.relay.address(), &self.folder);
        start("source", &words, &self.folder)
    }

    /// Mail for the queue that is to stay there.
    pub fn start_filling(&self) -> Result<Child, Error> {
        let Plan { source, waiting, .. } = self.turn.plan;
        let mut words = words(&["send", "--progress", "--pipelining"]);
        let mut say = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        say("to", self.relay.address().address().to_string());
        say("run-id", format!("wait{}x{}", self.turn.number, self.turn.nonce));
        say("messages", waiting.messages.to_string());
        say("domains", waiting.domains.to_string());
        say("domain-suffix", UNREACHABLE.to_owned());
        say("sessions", source.sessions.to_string());
        say("size", WAITING_BYTES.to_string());
        say("seed", self.turn.args.seed.to_string());
        say("stall-s", SOURCE_STALL_S.to_string());
        say("reconnect", SOURCE_RECONNECTS_MAX.to_string());
        start("source", &words, &self.folder)
    }

    /// A file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Before the serials of a purpose; differs between runs, and between those of any two commands: a
/// relay that runs already may still have mail of an earlier one.
pub fn run_id(turn: Turn<'_>, purpose: Purpose) -> String {
    let Turn { number, nonce, .. } = turn;
    match purpose {
        Purpose::WarmUp => format!("warm{number}x{nonce}"),
        Purpose::Refuse | Purpose::Measure => format!("run{number}x{nonce}"),
    }
}

fn start_sink(
    turn: Turn<'_>,
    folder: &Path,
    listen: Loopback,
    purpose: Purpose,
) -> Result<Child, Error> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut words = words(&["sink", "--progress", "--listen"]);
    words.push(listen.address().to_string());
    words.extend(["--seed".to_owned(), turn.args.seed.to_string()]);
    if matches!(turn.plan.route, Route::Mx { hosts: Hosts::Spread, .. }) {
        words.push("--whole-loopback".to_owned());
    }
    let ledger = match purpose {
        Purpose::WarmUp => "warm-delivered",
        Purpose::Refuse => "refused",
        Purpose::Measure => "delivered",
    };
    words.extend(["--ledger".to_owned(), file(ledger)]);
    match (purpose, turn.plan.receivers) {
        (Purpose::Refuse, _) => words.extend(["--greeting", "421"].map(str::to_owned)),
        (_, Receivers::Willing) => {}
        (_, Receivers::Encrypting) => words.push("--tls".to_owned()),
        (_, Receivers::Profile(name)) => {
            words.extend(["--profile".to_owned(), name.to_owned()]);
        }
    }
    if purpose == Purpose::Measure {
        words.extend(["--bounces".to_owned(), file("bounced")]);
    }
    start("sink", &words, folder)
}

fn start_dns(turn: Turn<'_>, folder: &Path) -> Result<Option<Child>, Error> {
    let Route::Mx { sites, hosts } = turn.plan.route else {
        return Ok(None);
    };
    // All relays of a report ask at the same address.
    let listen =
        if turn.args.relay.contains(&RelayKind::Postfix) { NAMED_ADDRESS } else { ANY_PORT };
    let mut words = words(&["dns", "--listen", listen, "--suffix", SUFFIX, "--sites"]);
    words.push(sites.to_string());
    words.extend(["--seed".to_owned(), turn.args.seed.to_string()]);
    if hosts == Hosts::Spread {
        words.push("--spread".to_owned());
    }
    if turn.plan.warm_up == WarmUp::Everybody {
        words.extend(["--ttl".to_owned(), WARM_TTL_S.to_string()]);
    }
    start("dns", &words, folder).map(Some)
}

fn source(turn: Turn<'_>, purpose: Purpose, to: Loopback, folder: &Path) -> Vec<String> {
    let Plan { source, amount, .. } = turn.plan;
    let mut words = words(&["send", "--progress", "--pipelining"]);
    let mut say = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    say("to", to.address().to_string());
    say("run-id", run_id(turn, purpose));
    say("sessions", source.sessions.to_string());
    say("domains", source.domains.to_string());
    if let Senders::Count(senders) = source.senders {
        say("senders", senders.to_string());
    }
    say("stall-s", SOURCE_STALL_S.to_string());
    say("reconnect", SOURCE_RECONNECTS_MAX.to_string());
    let (ledger, suffix, amount) = match purpose {
        Purpose::WarmUp => {
            let messages = Amount::Messages(turn.plan.warm_up_messages());
            let suffix = match turn.plan.warm_up {
                WarmUp::Everybody => SUFFIX,
                WarmUp::Nothing | WarmUp::Strangers => WARM_UP_SUFFIX,
            };
            ("warm-sent", suffix, messages)
        }
        Purpose::Refuse | Purpose::Measure => ("sent", SUFFIX, amount),
    };
    say("ledger", folder.join(ledger).display().to_string());
    say("domain-suffix", suffix.to_owned());
    match amount {
        Amount::Messages(messages) => say("messages", messages.to_string()),
        Amount::Time(time) => say("duration-s", time.as_secs().to_string()),
    }
    match source.mail {
        Mail::Size(bytes) => say("size", bytes.to_string()),
        Mail::Profile(name) => say("profile", name.to_owned()),
    }
    if source.encryption == Encryption::Starttls {
        say("tls", "starttls".to_owned());
    }
    say("seed", turn.args.seed.to_string());
    if let (Rate::PerSecond(rate), Purpose::Refuse | Purpose::Measure) = (turn.rate, purpose) {
        say("rate", rate.to_string());
        if matches!(turn.plan.course, Course::Soak { .. }) {
            say("arrivals", "poisson".to_owned());
        }
    }
    if source.connections == Connections::OneMessage {
        words.push("--new-connections".to_owned());
    }
    words
}

/// One of our own commands, by the binary that runs.
fn start(program: &'static str, words: &[String], folder: &Path) -> Result<Child, Error> {
    let own = env::current_exe();
    let own = own.map_err(|source| Error::Command { program: program.to_owned(), source })?;
    let errors = folder.join(format!("{program}.errors"));
    Child::start(program, Command::new(own).args(words), &errors, Orphan::Killed)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
