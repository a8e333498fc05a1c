//! `baton-load run`: relays under named loads, in turns, and a report of it.
//!
//! | file | |
//! |---|---|
//! | `args` | the command line |
//! | `scenario` | the named loads, as data |
//! | `stage` | the programs of one run, with their arguments |
//! | `waiting` | mail that is in the relay's queue all the time |
//! | `course` | warm-up, load, drain |
//! | `collect`, `series` | what was seen becomes a `Run` of the report |
//! | `relay` | baton, Postfix, any other: started, asked, ended |
//! | `line` | what the person who waits sees |
//! | `child`, `watch` | processes of ours, and waiting for them |
//! | `sampler`, `machine` | what a relay's processes use; where it ran and who else did |
//!
//! Order: for each round, for each scenario, for each relay; so that what the machine does
//! meanwhile hits all relays. A run starts with nothing and leaves nothing behind, however it ends.
//! The result is a failure if a single run does not balance.

pub mod args;
mod child;
mod collect;
mod course;
mod line;
mod machine;
mod relay;
mod sampler;
mod scenario;
mod series;
mod stage;
mod waiting;
mod watch;

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::args::{Args, RelayKind};
use self::course::Drained;
use self::relay::Tracing;
use self::scenario::{Amount, Course, Plan, Receivers, Scenario, Waiting};
use self::stage::{Purpose, Rate, Stage, Turn};
use self::watch::Watch;
use crate::error::Error;
use crate::kernel;
use crate::report::model::{FORMAT, Report, Run};
use crate::report::{file, html, text};

/// Messages of the pass that counts Postfix's syncs.
const SYNC_MESSAGES: u64 = 300;
/// Messages that tell how fast a relay is, before a soak.
const PROBE_MESSAGES: u64 = 10_000;

pub fn run(args: Args) -> Result<ExitCode, Error> {
    kernel::raise_open_files(1 << 20);
    kernel::adopt_orphans();
    args.check()?;
    let watch = Watch::begin()?;
    let work = Work::make(&args.work)?;
    if args.relay.iter().any(|relay| !matches!(relay, RelayKind::Other(_))) {
        machine::must_be_disk(&work.folder)?;
    }
    let mut bench = Bench { args: &args, watch: &watch, work: &work, turns: 0, runs: Vec::new() };
    let started = jiff::Timestamp::now();
    let ended = bench.run_all();
    let runs = std::mem::take(&mut bench.runs);
    if let Err(error) = &ended
        && runs.is_empty()
    {
        // There is nothing to report, and what was under way is gone with its folder.
        return match error {
            Error::Interrupted => {
                eprintln!("baton-load: interrupted: the run under way was thrown away");
                Ok(ExitCode::FAILURE)
            }
            _ => ended.map(|()| ExitCode::FAILURE),
        };
    }
    let report = Report {
        format: FORMAT,
        started: started.to_string(),
        command: args::command(std::env::args()),
        seed: args.seed,
        machine: machine::describe(&work.folder, versions(&runs)),
        runs,
    };
    print!("{}", text::text(&report));
    if let Some(path) = &args.report {
        file::save(&report, path)?;
    }
    if let Some(path) = &args.html {
        file::replace(path, &html::page(&report))?;
    }
    if let Err(error) = ended {
        eprintln!(
            "baton-load: the run under way was thrown away, what was before it stands: {error}"
        );
        return Ok(ExitCode::FAILURE);
    }
    let holds = report.runs.iter().all(|run| run.balance.holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All runs of a command.
struct Bench<'a> {
    args: &'a Args,
    watch: &'a Watch,
    work: &'a Work,
    turns: u32,
    /// Those that came to their end.
    runs: Vec<Run>,
}

impl<'a> Bench<'a> {
    fn run_all(&mut self) -> Result<(), Error> {
        let mut rates = HashMap::new();
        let mut syncs = HashMap::new();
        for round in 1..=self.args.rounds as u32 {
            for scenario in self.args.scenarios.iter().copied() {
                let plan = self.args.plan(scenario);
                let name = scenario.name();
                if !rates.contains_key(&name) {
                    rates.insert(name.clone(), self.rate(scenario, plan)?);
                }
                // Another one begins each round: what one leaves to be written meets all in turn.
                let mut relays = self.args.relay.clone();
                let first = (round as usize - 1) % relays.len().max(1);
                relays.rotate_left(first);
                for relay in relays {
                    let turn = self.turn(scenario, plan, relay, round, rates[&name]);
                    let mut run = self.one(turn)?;
                    if relay == RelayKind::Postfix {
                        if !syncs.contains_key(&name) {
                            syncs.insert(name.clone(), self.postfix_syncs(turn)?);
                        }
                        syncs[&name].enter(&mut run);
                    }
                    self.say(relay, &run);
                    self.runs.push(run);
                }
            }
        }
        Ok(())
    }

    fn turn(
        &mut self,
        scenario: Scenario,
        plan: Plan,
        relay: RelayKind,
        round: u32,
        rate: Rate,
    ) -> Turn<'a> {
        self.turns += 1;
        Turn {
            args: self.args,
            watch: self.watch,
            work: &self.work.folder,
            nonce: &self.work.nonce,
            scenario,
            plan,
            relay,
            round,
            number: self.turns,
            rate,
            tracing: Tracing::Off,
        }
    }

    /// One run from nothing to nothing. Ledgers that do not balance are kept.
    fn one(&self, turn: Turn<'_>) -> Result<Run, Error> {
        let warm_up = turn.plan.warm_up_messages() > 0;
        let purpose = match turn.plan.course {
            _ if warm_up => Purpose::WarmUp,
            Course::Backlog => Purpose::Refuse,
            _ => Purpose::Measure,
        };
        let mut stage = Stage::set_up(turn, purpose)?;
        let held = waiting::fill(&mut stage)?;
        if warm_up {
            course::warm_up(&mut stage)?;
        }
        let seen = course::measure(&mut stage)?;
        let run = collect::collect(&mut stage, seen, held)?;
        stage.relay.stop(turn.watch)?;
        let folder = stage.folder.clone();
        drop(stage);
        if !run.balance.holds {
            self.work.keep_ledgers(&folder, turn.number);
        }
        fs::remove_dir_all(&folder).map_err(Error::file(&folder))?;
        Ok(run)
    }

    /// The rate of an open loop. That of a soak is a share of what the slowest relay relays, all of
    /// them tried before.
    fn rate(&mut self, scenario: Scenario, plan: Plan) -> Result<Rate, Error> {
        if let Some(rate) = self.args.rate {
            return Ok(Rate::PerSecond(rate));
        }
        let Course::Soak { share } = plan.course else {
            return Ok(Rate::Answered);
        };
        let messages = if self.args.quick { PROBE_MESSAGES / 10 } else { PROBE_MESSAGES };
        let probe = Plan { course: Course::Flow, amount: Amount::Messages(messages), ..plan };
        let mut slowest = f64::MAX;
        for relay in self.args.relay.iter().copied() {
            let turn = self.turn(scenario, probe, relay, 0, Rate::Answered);
            let run = self.one(turn)?;
            if !run.balance.holds || run.relayed_per_s <= 0.0 {
                let (relay, why) = (relay.to_string(), run.balance.examples);
                return Err(Error::NoRate { relay, why });
            }
            slowest = slowest.min(run.relayed_per_s);
        }
        Ok(Rate::PerSecond((slowest * share).max(1.0)))
    }

    /// Postfix does not count its syncs: a pass of its own does.
    fn postfix_syncs(&mut self, turn: Turn<'a>) -> Result<Syncs, Error> {
        if matches!(turn.plan.receivers, Receivers::Profile(_))
            || turn.plan.course == Course::Backlog
        {
            let why = "fsyncs were not counted: under strace deferred mail fares differently";
            return Ok(Syncs::Unknown(why.to_owned()));
        }
        let plan = Plan {
            course: Course::Flow,
            waiting: Waiting::NOTHING,
            amount: Amount::Messages(SYNC_MESSAGES),
            ..turn.plan
        };
        let turn = self.turn(turn.scenario, plan, RelayKind::Postfix, turn.round, Rate::Answered);
        match count_syncs(Turn { tracing: Tracing::Syncs, ..turn }) {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => Ok(Syncs::Unknown(format!("fsyncs were not counted: {error}"))),
            counted => counted,
        }
    }

    fn say(&self, relay: RelayKind, run: &Run) {
        let verdict = if run.balance.holds { "balances" } else { "DOES NOT BALANCE" };
        eprintln!(
            "{}, round {}, {relay}: {:.0} messages/s, {verdict}",
            run.scenario, run.round, run.relayed_per_s
        );
    }
}

/// What is known of the syncs of a relay that does not count them.
enum Syncs {
    PerMessage(f64),
    Unknown(String),
    /// The pass went wrong.
    Failed(Vec<String>),
}

impl Syncs {
    fn enter(&self, run: &mut Run) {
        match self {
            Syncs::PerMessage(count) => {
                run.fsyncs_per_message = Some(*count);
                run.notes.push(format!(
                    "fsyncs were counted by strace in a pass of {SYNC_MESSAGES} messages that was \
                     not measured otherwise"
                ));
            }
            Syncs::Unknown(why) => run.notes.push(why.clone()),
            Syncs::Failed(why) => {
                run.balance.holds = false;
                let why = why.iter().map(|why| format!("in the pass that counts fsyncs: {why}"));
                run.balance.examples.extend(why);
            }
        }
    }
}

/// Calls that sync, of a Postfix under strace from its start to its end.
fn count_syncs(turn: Turn<'_>) -> Result<Syncs, Error> {
    let mut stage = Stage::set_up(turn, Purpose::Measure)?;
    let seen = course::measure(&mut stage)?;
    let drained = seen.drained;
    let balance = collect::collect(&mut stage, seen, waiting::Held::default())?.balance;
    stage.relay.stop(turn.watch)?;
    let counted = stage.relay.traced_syncs()?;
    if !balance.holds {
        return Ok(Syncs::Failed(balance.examples));
    }
    Ok(match (drained, counted) {
        (Drained::Everything, Some(count)) => {
            Syncs::PerMessage(count as f64 / SYNC_MESSAGES as f64)
        }
        _ => {
            Syncs::Unknown("fsyncs were not counted: not all was delivered under strace".to_owned())
        }
    })
}

/// A folder for all runs, gone when this is.
struct Work {
    folder: PathBuf,
    /// What no other command on this machine has.
    nonce: String,
}

impl Work {
    fn make(parent: &Path) -> Result<Work, Error> {
        let now = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        let nonce = format!("{}p{}", base36(now), base36(std::process::id().into()));
        let folder = parent.join(format!("baton-load-run-{nonce}"));
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
        // Never one that is there already. Users that daemons change to may pass, nobody may look.
        let made = DirBuilder::new().mode(0o711).create(&folder);
        made.map_err(Error::file(&folder))?;
        Ok(Work { folder, nonce })
    }

    /// Beside the folder, so that they stay.
    fn keep_ledgers(&self, run: &Path, number: u32) {
        let kept = PathBuf::from(format!("{}-failed-{number}", self.folder.display()));
        let copied = fs::create_dir_all(&kept).and_then(|()| {
            for name in ["sent", "delivered", "bounced"] {
                let from = run.join(name);
                if from.exists() {
                    fs::copy(from, kept.join(name))?;
                }
            }
            Ok(())
        });
        match copied {
            Ok(()) => eprintln!("baton-load: its ledgers are in {}", kept.display()),
            Err(error) => eprintln!("baton-load: its ledgers are lost: {error}"),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// In the digits 0 to 9 and a to z.
fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// What measured, and what was measured.
fn versions(runs: &[Run]) -> Vec<(String, String)> {
    let own = ("baton-load".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let mut versions = vec![own];
    for run in runs {
        if let Some((name, version)) = run.relay.name.rsplit_once(' ') {
            let version = (name.to_owned(), version.to_owned());
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
    versions
}
