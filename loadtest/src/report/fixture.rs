//! Reports for the tests: plain enough that a figure in an expectation can be worked out by hand.
//!
//! Postfix is a constant; baton's second round is a tenth faster than its first.

use super::model::{Balance, Cost, FORMAT, Latency, Machine, Relay, Report, Run, Series};
use crate::latency::Percentiles;

/// What a page or a terminal must not take at its word.
pub const HOSTILE: &str = "<script>alert(\"&'\")</script>\u{1b}[2J";

pub fn baton() -> Relay {
    relay("baton", "baton 0.1.0", &[("shards", "2"), ("durability", "fsync")])
}

pub fn postfix() -> Relay {
    relay("postfix", "Postfix 3.7.11", &[])
}

fn relay(kind: &str, name: &str, settings: &[(&str, &str)]) -> Relay {
    Relay { kind: kind.to_owned(), name: name.to_owned(), settings: pairs(settings) }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Two scenarios, two relays, two rounds of the first scenario and one of the second.
pub fn report() -> Report {
    Report {
        format: FORMAT,
        started: "2026-01-02T03:04:05Z".to_owned(),
        command: "baton-load run --relay baton --relay postfix --rounds 2 --seed 7".to_owned(),
        seed: 7,
        machine: Machine {
            cpu: "Example 9000".to_owned(),
            cores: 4,
            memory_bytes: 16 << 30,
            kernel: "6.1.0".to_owned(),
            disk: "ext4 on NVMe".to_owned(),
            versions: pairs(&[("baton", "0.1.0"), ("Postfix", "3.7.11"), ("baton-load", "0.1.0")]),
        },
        runs: vec![
            run("steady", 1, baton()),
            run("steady", 1, postfix()),
            run("steady", 2, postfix()),
            run("steady", 2, baton()),
            run("large", 1, baton()),
            run("large", 1, postfix()),
        ],
    }
}

pub fn run(scenario: &str, round: u32, relay: Relay) -> Run {
    let fast = relay.kind == "baton";
    let per_s = if fast { 9_000.0 + 1_000.0 * f64::from(round) } else { 500.0 };
    let slow = if fast { 1.0 } else { 10.0 };
    let cost = |program: &str, cpu_us_per_message, memory_peak_bytes| Cost {
        program: program.to_owned(),
        cpu_us_per_message,
        memory_peak_bytes,
    };
    let (cpu, memory) = if fast { (60.0, 100 << 20) } else { (2_000.0, 80 << 20) };
    Run {
        scenario: scenario.to_owned(),
        round,
        relay,
        load: pairs(&[("size", "4 KiB"), ("sessions", "50")]),
        seconds: 10.0,
        relayed_per_s: per_s,
        accept: latency("final dot", slow),
        end_to_end: latency("start of the message", if fast { 1.0 } else { 20.0 }),
        fsyncs_per_message: Some(if fast { 0.05 } else { 5.0 }),
        costs: vec![
            cost("relay", cpu, memory),
            cost("source", 12.0, 20 << 20),
            cost("sink", 8.0, 10 << 20),
        ],
        balance: balance(per_s as u64 * 10),
        series: series(per_s),
        notes: Vec::new(),
    }
}

/// A relay of which only the address is known, and to which nothing came.
pub fn bare(scenario: &str, round: u32) -> Run {
    let nothing = || Latency { from: String::new(), ms: Percentiles::default(), buckets: vec![] };
    Run {
        scenario: scenario.to_owned(),
        round,
        relay: relay("other", "127.0.0.1:2525", &[]),
        load: Vec::new(),
        seconds: 0.0,
        relayed_per_s: 0.0,
        accept: nothing(),
        end_to_end: nothing(),
        fsyncs_per_message: None,
        costs: Vec::new(),
        balance: balance(0),
        series: Series::default(),
        notes: Vec::new(),
    }
}

/// The first report with every name and word turned hostile.
pub fn hostile() -> Report {
    let mut report = report();
    report.command = HOSTILE.to_owned();
    report.machine.cpu = HOSTILE.to_owned();
    report.machine.versions = pairs(&[(HOSTILE, HOSTILE)]);
    for run in &mut report.runs {
        run.scenario.push_str(HOSTILE);
        run.relay.name.push_str(HOSTILE);
        run.relay.settings = pairs(&[(HOSTILE, HOSTILE)]);
        run.load = pairs(&[(HOSTILE, HOSTILE)]);
        run.accept.from = HOSTILE.to_owned();
        run.notes = vec![HOSTILE.to_owned()];
        run.costs.push(Cost { program: HOSTILE.to_owned(), ..run.costs[0].clone() });
        run.balance.holds = false;
        run.balance.examples = vec![format!("missing {HOSTILE}")];
    }
    report
}

/// A thousand: 900 at 1 ms, 90 at 2 ms, 9 at 4 ms, one at 8 ms; all times `slow`.
fn latency(from: &str, slow: f64) -> Latency {
    let us = |ms: f64| (ms * slow * 1000.0) as u64;
    Latency {
        from: from.to_owned(),
        ms: Percentiles {
            p50: slow,
            p90: slow,
            p99: 2.0 * slow,
            p99_9: 4.0 * slow,
            max: 8.0 * slow,
        },
        buckets: vec![(us(1.0), 900), (us(2.0), 90), (us(4.0), 9), (us(8.0), 1)],
    }
}

fn balance(messages: u64) -> Balance {
    Balance {
        messages_sent: messages,
        accepted: messages,
        refused: 0,
        unknown: 0,
        delivered: messages,
        bounced: 0,
        queued: 0,
        missing: 0,
        duplicates: 0,
        corrupt: 0,
        contradicted: 0,
        unexpected: 0,
        holds: true,
        examples: Vec::new(),
    }
}

fn series(per_s: f64) -> Series {
    let at_s: Vec<f64> = (0..40).map(|step| f64::from(step) * 0.25).collect();
    // Few digits: serde_json is not exact in the last one.
    let wave = |at: &f64| (per_s * (1.0 + 0.1 * at.sin())).round();
    Series {
        accepted_per_s: at_s.iter().map(wave).collect(),
        delivered_per_s: at_s.iter().map(|at| wave(&(at - 0.25))).collect(),
        relay_cores: at_s.iter().map(|at| (100.0 + 20.0 * at.cos()).round() / 100.0).collect(),
        relay_memory_bytes: at_s.iter().map(|at| ((50.0 + at) * 1048576.0) as u64).collect(),
        at_s,
    }
}
