//! SIGKILL of the real process under load, again and again: nothing answered 250 is lost.
//!
//! Senders that connect again keep a ledger of every answer, the sink keeps one of every delivery,
//! and after the last round they must balance: nothing missing, nothing damaged. What came twice
//! must have been in flight at a kill: in memory, which holds `memory.ready_max` entries until
//! their outcome is on disk, and on disk as undelivered, which each start counts. So the smaller of
//! the two, summed over the starts, bounds the duplicates.
//!
//! The moment of each kill is random; `BATON_SEED` repeats the moments of an earlier run.
//! `BATON_CRASH_ROUNDS` sets the kills of each test (5).

use crate::process::{Child, Ear, Folder, Ledger, Relay, Settings, Sink, baton_load, eventually};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::hint::spin_loop;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 5;
/// Messages between a start and the next kill.
const MESSAGES_MAX: u64 = 1_500;
/// Messages after the last kill.
const LAST_MESSAGES: usize = 5_000;
/// Further than that a kill may be from the answer to a message.
const MOMENT_MICROS_MAX: u64 = 5_000;

/// SplitMix64: small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn new(test: &str) -> Dice {
        let given = env::var("BATON_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
        println!("{test}: BATON_SEED={seed}");
        Dice(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }
}

/// Load that does not end by itself, patient with a relay that is away.
fn senders(relay: &Relay<'_>, folder: &Folder, options: &[&str]) -> Child {
    let mut command = Command::new(baton_load());
    command.args(["send", "--messages", "1000000000", "--reconnect", "--run-id", "crash"]);
    command.args(["--to", &relay.address().to_string(), "--ledger"]).arg(folder.path("sent"));
    Child::start(command.args(options).stdin(Stdio::null()), Ear::Output)
}

/// Too short for a sleep to be any good.
#[expect(clippy::disallowed_methods, reason = "moves a kill of another process about")]
fn pause(micros: Duration) {
    let began = Instant::now();
    while began.elapsed() < micros {
        spin_loop();
    }
}

/// Kills and starts the relay under load, then lets it deliver everything.
fn survive(rounds: u64, test: &str, options: &[&str], ready_max: u64, load: &[&str]) {
    let mut dice = Dice::new(test);
    let folder = Folder::new(test);
    let sink = Sink::start_fast(&folder, "sink", options);
    let via = sink.address().to_string();
    // An address of its own: no outgoing connection of this machine can take its port meanwhile.
    let address = "127.0.0.9:0".to_owned();
    let more = format!("[memory]\nready_max = {ready_max}\n{RETRIES}");
    let settings = Settings { shards: 2, address, via, more, ..Settings::default() };
    let mut relay = Relay::start(&folder, &settings);
    let mut senders = senders(&relay, &folder, load);
    let mut sent = Ledger::follow(&folder.path("sent"));
    for round in 1..=rounds {
        // Without this line of the log we would not know what was in flight at the kill before.
        let told = || relay.count_events("queue-recovered") as u64 == round;
        eventually("what a start found", || told().then_some(()));
        let goal = sent.accepted() + dice.below(MESSAGES_MAX) as usize;
        sent.await_accepted(goal);
        pause(Duration::from_micros(dice.below(MOMENT_MICROS_MAX)));
        relay.process.kill();
        relay = relay.again();
    }
    let goal = sent.accepted() + LAST_MESSAGES;
    sent.await_accepted(goal);
    senders.signal("-TERM");
    let said = senders.rest();
    relay.await_empty_queue();
    let found: Vec<u64> = relay
        .events("queue-recovered")
        .iter()
        .map(|event| event["entries"].as_u64().expect("a number"))
        .collect();
    // A kill may come before the log of a start is written: it then counts as the largest did.
    let unseen = (rounds + 1).checked_sub(found.len() as u64).expect("one for each start");
    let largest = found.iter().max().expect("the last start was not killed");
    let damaged = relay.events("record-damaged");
    assert!(damaged.is_empty(), "{damaged:?}");
    let seen: u64 = found.iter().map(|entries| entries.min(&ready_max)).sum();
    let in_flight = seen + unseen * largest.min(&ready_max);
    let balance = sent.balance(sink.ledger(), in_flight);
    println!("{test}: {rounds} kills, entries found {found:?}\n{balance}{said}");
    assert_eq!(relay.stop(), Some(0));
}

fn rounds() -> u64 {
    let rounds = env::var("BATON_CRASH_ROUNDS");
    rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Retries as soon as the configuration allows.
const RETRIES: &str = "[delivery]\nretry_first = \"1s\"\nretry_max = \"1s\"\n";
/// Entries in memory: so few that most are read back from disk while others are settled.
const FEW_READY: u64 = 100;
/// More than these senders ever fill.
const MANY_READY: u64 = 10_000;
/// Messages of several domains, so that their parts fail and succeed apart.
const PARTS: [&str; 7] = ["--sessions", "16", "--recipients", "3", "--size", "2000", "--chunking"];

#[test]
fn nothing_is_lost_by_kills_under_load() {
    let load = ["--sessions", "32", "--pipelining"];
    survive(rounds(), "crash", &[], MANY_READY, &load);
}

#[test]
fn nothing_is_lost_by_kills_while_retries_wait_on_disk() {
    survive(rounds(), "crash-retries", &["--defer-permille", "200"], FEW_READY, &PARTS);
}

/// The bound is then zero: only a kill excuses a second delivery.
#[test]
fn nothing_comes_twice_without_a_kill() {
    survive(0, "no-crash", &["--defer-permille", "200"], FEW_READY, &PARTS);
}
