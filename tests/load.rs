//! `baton-load run` with the relays that it starts itself: does a run of each balance, measure what
//! it says it measures, and leave nothing behind?
//!
//! Nothing is said of how fast they are: the loads are tiny.

use super::process::{BATON, Child, Ear, Folder, baton_load};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a scenario to its end, which must be a success; the runs of its report.
fn run(folder: &Folder, work: &Path, arguments: &[&str]) -> Vec<Value> {
    let path = folder.path("report.json");
    let mut command = Command::new(baton_load());
    command.args(["run", "--baton", BATON, "--shards", "1", "--work"]).arg(work);
    command.arg("--report").arg(&path).args(arguments);
    let mut process = Child::start(&mut command, Ear::Errors);
    let said = process.rest();
    let status = process.wait();
    assert!(status.success(), "{arguments:?}: {status}\n{said}");
    let name = format!("baton-load-run-{}", process.pid());
    let names =
        fs::read_dir(work).expect("the work folder").map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|left| left.to_string_lossy().starts_with(&name)).collect();
    assert!(left.is_empty(), "{left:?}");
    let report: Value = serde_json::from_slice(&fs::read(path).expect("a report")).expect("JSON");
    assert_eq!(report["format"], 1);
    report["runs"].as_array().expect("runs").clone()
}

fn must_balance(run: &Value, kind: &str, messages: u64) {
    assert_eq!(run["relay"]["kind"], kind);
    let balance = &run["balance"];
    let wanted = [
        ("messages_sent", messages),
        ("accepted", messages),
        ("delivered", messages),
        ("missing", 0),
        ("duplicates", 0),
        ("corrupt", 0),
        ("unexpected", 0),
    ];
    for (name, count) in wanted {
        assert_eq!(balance[name], count, "{name} in {balance}");
    }
    assert_eq!(balance["holds"], true, "{balance}");
    for field in ["seconds", "relayed_per_s", "fsyncs_per_message"] {
        assert!(run[field].as_f64().is_some_and(|value| value > 0.0), "{field} of {run}");
    }
    let relay = &run["costs"][0];
    assert_eq!(relay["program"], "relay");
    for field in ["cpu_us_per_message", "memory_peak_bytes"] {
        assert!(relay[field].as_f64().is_some_and(|value| value > 0.0), "{field} of {relay}");
    }
    let series = run["series"].as_object().expect("series");
    let moments = series["at_s"].as_array().expect("moments").len();
    for (name, values) in series {
        assert_eq!(values.as_array().map(Vec::len), Some(moments), "{name}");
    }
}

#[test]
fn baton_is_started_measured_and_ended() {
    let folder = Folder::new("load-baton");
    let work = folder.path("");
    let runs = run(&folder, &work, &["smoke", "many-domains", "--messages", "200"]);
    assert_eq!(runs.len(), 2);
    for (run, scenario) in runs.iter().zip(["smoke", "many-domains"]) {
        assert_eq!(run["scenario"], scenario);
        must_balance(run, "baton", 200);
    }
    let programs = runs[1]["costs"].as_array().expect("costs").iter();
    assert!(programs.clone().any(|cost| cost["program"] == "dns"), "{:?}", runs[1]["costs"]);
}

#[test]
fn a_backlog_drains_when_the_receivers_come_back() {
    let folder = Folder::new("load-backlog");
    let runs = run(&folder, &folder.path(""), &["backlog", "--messages", "300"]);
    must_balance(&runs[0], "baton", 300);
    let notes = runs[0]["notes"].as_array().expect("notes");
    assert!(notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("drained in"))));
}

#[test]
fn sessions_that_do_nothing_are_held_while_mail_flows() {
    let folder = Folder::new("load-idle");
    let runs = run(&folder, &folder.path(""), &["idle", "--quick", "--messages", "200"]);
    must_balance(&runs[0], "baton", 200);
    let notes = runs[0]["notes"].as_array().expect("notes");
    assert!(notes.iter().any(|note| note == "2000 idle sessions were still open at the end"));
}

#[test]
fn a_relay_may_be_encrypted_on_both_sides() {
    let folder = Folder::new("load-tls");
    let runs = run(&folder, &folder.path(""), &["tls", "--messages", "200"]);
    must_balance(&runs[0], "baton", 200);
}

/// What is deferred, and to whom, is the seed's; what becomes of it in so short a time is chance.
#[test]
fn on_a_bad_day_what_is_not_delivered_is_still_queued() {
    let folder = Folder::new("load-bad-day");
    let runs = run(&folder, &folder.path(""), &["bad-day", "--quick", "--messages", "300"]);
    let balance = &runs[0]["balance"];
    let count = |name: &str| balance[name].as_u64().unwrap_or_else(|| panic!("{name}: {balance}"));
    assert_eq!((count("messages_sent"), &balance["holds"]), (300, &true.into()), "{balance}");
    let found = count("delivered") + count("bounced") + count("queued");
    assert_eq!(count("accepted"), found, "{balance}");
    // Three in ten receivers take nothing from anybody.
    assert!(count("delivered") > 0 && count("queued") > 0, "{balance}");
}

#[test]
fn mail_out_of_reach_waits_while_other_mail_flows() {
    let folder = Folder::new("load-queued");
    let relays = ["--relay", "baton:1", "--relay", "baton:auto", "--messages", "100"];
    let runs = run(&folder, &folder.path(""), &[&["queued-100k", "--quick"], &relays[..]].concat());
    for (run, shards) in runs.iter().zip(["1", "auto"]) {
        assert_eq!(run["relay"]["settings"][0], serde_json::json!(["shards", shards]));
        let balance = &run["balance"];
        for (name, count) in
            [("accepted", 10_100), ("delivered", 100), ("queued", 10_000), ("missing", 0)]
        {
            assert_eq!(balance[name], count, "{name} in {balance}");
        }
        assert_eq!(balance["holds"], true, "{balance}");
    }
}

#[test]
fn a_warm_up_goes_to_every_domain_from_every_sender() {
    let folder = Folder::new("load-warm");
    let scenarios = ["domains-1k", "senders-1k", "--quick", "--messages", "100"];
    let runs = run(&folder, &folder.path(""), &scenarios);
    for run in &runs {
        must_balance(run, "baton", 100);
        let load = run["load"].as_array().expect("load").iter();
        let mut warm_up = load.filter(|pair| pair[0] == "warm-up");
        let told = warm_up.next().and_then(|pair| pair[1].as_str()).expect("a warm-up");
        assert!(told.starts_with("100 messages to every domain from every sender"), "{told}");
    }
    // For each domain once, and the hosts of some 80 sites: other domains, as a warm-up of strangers
    // has them, would have been asked for as well.
    let notes = runs[0]["notes"].as_array().expect("notes");
    let asked = notes.iter().find_map(|note| note.as_str()?.strip_prefix("dns: "));
    let asked = asked.and_then(|note| note.split(' ').next()?.parse::<u64>().ok());
    assert!(asked.is_some_and(|asked| (100..=350).contains(&asked)), "{notes:?}");
}

/// Its daemons run as another user, who must reach their folder: the build folder may not be so.
#[test]
fn postfix_takes_its_turn_with_baton() {
    let folder = Folder::new("load-postfix");
    let relays = ["--relay", "baton", "--relay", "postfix", "--rounds", "2", "--messages", "100"];
    let runs = run(&folder, Path::new("/var/tmp"), &[&["smoke"], &relays[..]].concat());
    assert_eq!(runs.len(), 4);
    // Who is first in a round is second in the next.
    for (run, relay) in runs.iter().zip(["baton", "postfix", "postfix", "baton"]) {
        must_balance(run, relay, 100);
    }
    // Else a report would tell of two relays that ran once each.
    assert_eq!(runs[1]["relay"], runs[2]["relay"]);
}
