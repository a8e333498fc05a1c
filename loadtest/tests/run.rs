//! `baton-load run` with a relay of the test's own, given by its address ([`FaultyRelay`]): does a
//! run measure it, does what it does wrong end in exit code 1, is nothing left behind?
//!
//! The relay counts the messages of the warm-up too: 50, so that what it harms here comes later.

#![expect(clippy::disallowed_methods, reason = "waits for other processes")]

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::faulty_relay::{Fault, FaultyRelay};
use super::{PROGRAM, Scratch};

/// Of the message that is harmed: the 30th that is measured.
const HARMED: u64 = 80;

/// A relay and the place of the sink that a run will start for it.
struct Subject {
    relay: FaultyRelay,
    sink: SocketAddr,
}

impl Subject {
    /// `host` is that of this test's sink alone, so that nobody else takes its port meanwhile.
    fn start(host: u8, fault: Fault) -> Subject {
        let any = SocketAddr::from(([127, 0, 77, host], 0));
        let sink = TcpListener::bind(any).unwrap().local_addr().unwrap();
        Subject { relay: FaultyRelay::start(sink, fault), sink }
    }

    fn run(&self, work: &Scratch, more: &[&str]) -> Command {
        let (relay, sink) = (self.relay.address.to_string(), self.sink.to_string());
        let mut command = Command::new(PROGRAM);
        command.args(["run", "smoke", "--relay", &relay, "--sink-listen", &sink, "--work"]);
        command.arg(&work.0).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn report(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Names of what is in the work folder besides the report.
fn left(work: &Scratch) -> Vec<String> {
    let names = fs::read_dir(&work.0).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.starts_with("baton-load-run-")).collect()
}

#[test]
fn a_run_measures_any_relay_and_leaves_a_report() {
    let work = Scratch::new("run-honest");
    let path = work.path("report.json");
    let relay = Subject::start(1, Fault::None);
    let pid = std::process::id().to_string();
    let more =
        ["--messages", "60", "--rounds", "2", "--seed", "7", "--report", &path, "--pid", &pid];
    let output = relay.run(&work, &more).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(left(&work), Vec::<String>::new());

    let report = report(&path);
    assert_eq!((&report["format"], &report["seed"]), (&1.into(), &7.into()));
    assert!(!report["command"].as_str().unwrap().contains('/'), "{}", report["command"]);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for (nth, run) in runs.iter().enumerate() {
        assert_eq!((&run["scenario"], &run["round"]), (&"smoke".into(), &(nth + 1).into()));
        assert_eq!(run["relay"]["kind"], "other");
        let balance = &run["balance"];
        for (name, count) in
            [("messages_sent", 60), ("accepted", 60), ("delivered", 60), ("missing", 0)]
        {
            assert_eq!(balance[name], count, "{name} in {balance}");
        }
        assert_eq!(balance["holds"], true);
        assert!(run["relayed_per_s"].as_f64().unwrap() > 0.0);
        // All that was measured, and nothing of the warm-up.
        for latency in ["accept", "end_to_end"] {
            let buckets = run[latency]["buckets"].as_array().unwrap().iter();
            let count: u64 = buckets.map(|bucket| bucket[1].as_u64().unwrap()).sum();
            assert_eq!(count, 60, "{latency}");
        }
        let costs = run["costs"].as_array().unwrap().iter();
        let programs: Vec<&str> = costs.map(|cost| cost["program"].as_str().unwrap()).collect();
        assert_eq!(programs, ["relay", "source", "sink"]);
        assert!(run["costs"][0]["memory_peak_bytes"].as_u64().unwrap() > 0);
        assert!(run["fsyncs_per_message"].is_null(), "nobody counted any");
        let series = run["series"].as_object().unwrap();
        let moments = series["at_s"].as_array().unwrap().len();
        assert!(moments > 0 && series.values().all(|one| one.as_array().unwrap().len() == moments));
    }
}

#[test]
fn what_a_relay_does_wrong_fails_the_run() {
    let cases = [
        (2, Fault::DropEvery(HARMED), "missing"),
        (3, Fault::DeliverTwice(HARMED), "duplicates"),
        (4, Fault::FlipByte(HARMED), "corrupt"),
        (5, Fault::CutShort(HARMED), "corrupt"),
    ];
    // They wait more than they work.
    thread::scope(|all| {
        for (host, fault, word) in cases {
            all.spawn(move || must_fail(host, fault, word));
        }
    });
}

fn must_fail(host: u8, fault: Fault, word: &str) {
    let work = Scratch::new(&format!("run-{host}-{word}"));
    let path = work.path("report.json");
    let relay = Subject::start(host, fault);
    let more = ["--messages", "60", "--stall", "2", "--report", &path];
    let output = relay.run(&work, &more).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{fault:?}: {}", text(&output));
    let report = report(&path);
    let balance = &report["runs"][0]["balance"];
    assert_eq!((&balance[word], &balance["holds"]), (&1.into(), &false.into()), "{balance}");
    let examples = balance["examples"].as_array().unwrap();
    let harmed = relay.relay.harmed();
    assert!(examples.len() == 1 && harmed.len() == 1, "{balance}, harmed: {harmed:?}");
    assert!(examples[0].as_str().unwrap().contains(&harmed[0]), "{balance}, harmed: {harmed:?}");
    // To look at what is wrong.
    let kept = left(&work);
    assert!(kept.len() == 1 && kept[0].ends_with("-failed-1"), "{kept:?}");
    assert!(work.0.join(&kept[0]).join("sent").is_file());
}

/// Some sessions hear it as an answer, the others find nobody to talk to.
#[test]
fn a_relay_that_leaves_fails_the_run() {
    let work = Scratch::new("run-leaves");
    let path = work.path("report.json");
    let relay = Subject::start(10, Fault::Leave(70));
    let more = ["--messages", "400", "--stall", "2", "--report", &path];
    let output = relay.run(&work, &more).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let balance = &report(&path)["runs"][0]["balance"];
    assert_eq!((&balance["missing"], &balance["holds"]), (&0.into(), &false.into()), "{balance}");
    assert!(balance["examples"].to_string().contains("the source gave up"), "{balance}");
}

/// The k-th message behind the one that began the stall was due k/200 s later at the latest, and
/// none is answered before its end: on any machine a hundred wait half a second or more.
#[test]
fn a_stall_is_in_the_latency_of_all_who_were_due() {
    let work = Scratch::new("run-stall");
    let path = work.path("report.json");
    let relay = Subject::start(6, Fault::Stall(150, Duration::from_millis(1_100)));
    let more = ["--messages", "500", "--rate", "200", "--report", &path];
    let output = relay.run(&work, &more).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report = report(&path);
    let run = &report["runs"][0];
    assert_eq!(run["balance"]["delivered"], 500);
    let accept = &run["accept"];
    assert_eq!(accept["from"], "time it was due");
    assert!(accept["ms"]["max"].as_f64().unwrap() >= 1_000.0, "{}", accept["ms"]);
    // A bucket is named after its highest value.
    let buckets = accept["buckets"].as_array().unwrap().iter();
    let long = buckets.filter(|bucket| bucket[0].as_u64().unwrap() >= 500_000);
    assert!(long.map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>() >= 100, "{accept}");
}

/// Processes whose parent is this one.
fn below(pid: u32) -> HashSet<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.next()?.parse().ok() }
}

fn runs(pid: u32) -> bool {
    parent(pid).is_some()
}

/// Waits until sink and source run.
fn children(process: &Child) -> HashSet<u32> {
    loop {
        let children = below(process.id());
        if children.len() == 2 {
            return children;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn signal(process: &Child, signal: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn whatever_ends_a_run_ends_what_it_started() {
    for (host, word) in [(7, "-INT"), (8, "-TERM"), (9, "-KILL")] {
        let work = Scratch::new(&format!("run{word}"));
        // Nothing is ever answered.
        let relay = Subject::start(host, Fault::Stall(1, Duration::from_secs(3_600)));
        let process = relay.run(&work, &[]).spawn().unwrap();
        let children = children(&process);
        signal(&process, word);
        let output = process.wait_with_output().unwrap();
        while children.iter().any(|pid| runs(*pid)) {
            thread::sleep(Duration::from_millis(10));
        }
        if word == "-KILL" {
            // The folder stays, and nothing else does.
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{word}: {}", text(&output));
        assert!(text(&output).contains("interrupted: the run under way was thrown away"));
        assert_eq!(left(&work), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn what_cannot_be_run_is_said() {
    let work = Scratch::new("run-refused");
    let place = work.0.to_str().unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["smoke", "--relay", "192.0.2.1:25"], "load stays on this host"),
        (&["smoke", "--relay", "exim"], "baton, baton:N, postfix or an address"),
        (&["everything"], "many-domains"),
        (&["smoke", "--shards", "65"], "auto or 1 to 64"),
        (&["smoke", "--relay", "baton:0"], "auto or 1 to 64"),
        (&["smoke", "queued-1m", "--relay", "127.0.0.1:25"], "cannot be told to let any wait"),
        (&["backlog", "--relay", "127.0.0.1:25"], "nor be told to try again"),
        (&["bad-day", "--relay", "127.0.0.1:25"], "nor be told to try again"),
        (&["smoke", "--work", place, "--baton", "/nowhere/baton"], "--baton says where it is"),
    ];
    for (arguments, word) in cases {
        let output = Command::new(PROGRAM).arg("run").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(word), "{arguments:?}: {}", text(&output));
    }
    assert_eq!(left(&work), Vec::<String>::new());
}
