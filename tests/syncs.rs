//! Every 250 stands behind a sync of the write-ahead log, and many share one.
//!
//! Counted by baton itself, and seen from outside with strace: between the last octet of a message
//! and its 250 an fdatasync of a log file began and returned 0. Where the kernel lets nobody trace,
//! the count has to do, and the test says so.
//! The next hop keeps every delivery waiting, so that no outcome is committed meanwhile: each sync
//! is one for an acceptance.

use crate::process::{
    Folder, Ledger, Relay, Settings, Sink, Talk, baton_load, eventually, program, succeed,
};
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const SYNCS: &str = "baton_wal_syncs_total";
const BODY: &str = "Subject: sync\r\n\r\nhello\r\n.\r\n";

/// Answers no message for an hour.
fn slow_sink(folder: &Folder) -> Sink {
    Sink::start(folder, "sink", &["--delay-ms", "3600000"])
}

#[test]
fn each_message_of_a_lone_client_has_a_sync_of_its_own() {
    let folder = Folder::new("syncs");
    let sink = slow_sink(&folder);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    assert_synced_one_by_one(&relay);
}

fn assert_synced_one_by_one(relay: &Relay<'_>) {
    let mut talk = Talk::open(relay.address());
    for number in 0..100 {
        talk.begin("a@x.test", "b@y.test");
        let before = relay.metric(SYNCS);
        talk.send(BODY);
        talk.expect("250 2.0.0 queued");
        let after = relay.metric(SYNCS);
        assert!(after > before, "message {number} was answered without a sync: {after}");
    }
}

#[test]
fn many_senders_share_syncs() {
    const MESSAGES: u64 = 4_000;
    let folder = Folder::new("shared-syncs");
    let sink = slow_sink(&folder);
    let relay = Relay::start(&folder, &Settings { shards: 2, ..Settings::to(sink.address()) });
    let before = relay.metric(SYNCS);
    let mut command = Command::new(baton_load());
    command.args(["send", "--sessions", "64", "--messages", &MESSAGES.to_string()]);
    command.args(["--to", &relay.address().to_string(), "--ledger"]).arg(folder.path("sent"));
    succeed(&mut command);
    let syncs = relay.metric(SYNCS) - before;
    println!("{MESSAGES} messages of 64 senders: {syncs} syncs");
    assert_eq!(Ledger::follow(&folder.path("sent")).accepted() as u64, MESSAGES);
    assert!(syncs > 0 && syncs < MESSAGES / 2, "{syncs} syncs for {MESSAGES} messages");
}

#[test]
fn a_tracer_sees_the_sync_before_the_answer() {
    let strace = program("strace", "strace");
    let folder = Folder::new("traced-syncs");
    let sink = slow_sink(&folder);
    let settings = Settings::to(sink.address());
    let probe = Command::new(&strace).args(["-e", "trace=none", "true"]).output().unwrap();
    if !probe.status.success() {
        let why = String::from_utf8_lossy(&probe.stderr);
        println!("nobody may trace here, baton's own count has to do: {why}");
        return assert_synced_one_by_one(&Relay::start(&folder, &settings));
    }
    let trace = folder.path("trace");
    // With -D the tracer is beside and baton is our child, which we can end.
    let before = [
        strace.to_str().unwrap(),
        "-D",
        "-f",
        "-y",
        "-ttt",
        "-T",
        "-e",
        "trace=fsync,fdatasync",
        "-o",
        trace.to_str().unwrap(),
    ];
    let mut relay = Relay::start_under(&before, &folder, &settings);
    let mut talk = Talk::open(relay.address());
    let mut answered = Vec::new();
    for _ in 0..30 {
        talk.begin("a@x.test", "b@y.test");
        let sent = now();
        talk.send(BODY);
        talk.expect("250 2.0.0 queued");
        answered.push((sent, now()));
    }
    // The last look at the trace is when the tracer has written it out: when baton is gone.
    relay.process.kill();
    let syncs = eventually("the trace of a killed process", || {
        let text = fs::read_to_string(&trace).ok()?;
        text.contains("killed by SIGKILL").then(|| log_syncs(&text))
    });
    for (number, (sent, heard)) in answered.iter().enumerate() {
        let between = syncs.iter().filter(|(began, ended)| began >= sent && ended <= heard);
        assert!(between.count() >= 1, "message {number}: no sync in {sent}..{heard}: {syncs:?}");
    }
}

/// Microseconds of the wall clock, which strace prints.
#[expect(clippy::disallowed_methods, reason = "compared with the clock of another process")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_micros() as u64
}

/// Begin and end of every sync of a log file that succeeded. A line is
/// `PID SECONDS fdatasync(12</data/000004.log>) = 0 <0.000312>`, or in two parts when another
/// thread came between: `... fdatasync(12</data/000004.log> <unfinished ...>` and
/// `... <... fdatasync resumed>) = 0 <0.000312>`.
fn log_syncs(trace: &str) -> Vec<(u64, u64)> {
    let mut begun: Vec<(&str, u64)> = Vec::new();
    let mut syncs = Vec::new();
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        let (Some(pid), Some(at)) = (words.next(), words.next()) else { continue };
        let Some(at) = micros(at) else { continue };
        let began = if line.contains("resumed>") {
            begun.iter().position(|(other, _)| *other == pid).map(|place| begun.remove(place).1)
        } else if line.contains(".log>") {
            Some(at)
        } else {
            None
        };
        let Some(began) = began else { continue };
        if line.ends_with("<unfinished ...>") {
            begun.push((pid, began));
        } else if let Some((_, took)) = line.rsplit_once(") = 0 <") {
            let took = micros(took.trim_end_matches('>')).expect("a duration");
            syncs.push((began, began + took));
        }
    }
    syncs
}

fn micros(seconds: &str) -> Option<u64> {
    let (whole, part) = seconds.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 1_000_000 + part.parse::<u64>().ok()?)
}
