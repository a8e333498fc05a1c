//! `baton-load run` with a relay of the test's own, given by its address: the smallest that there
//! can be, honest or not.

#![expect(clippy::disallowed_methods, reason = "waits for other processes")]

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{PROGRAM, Scratch};

/// What becomes of a message that is answered 250.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// The message with this number, the warm-up's included, is forgotten.
    Loses(u64),
    Repeats(u64),
    /// No message is ever answered.
    Silent,
}

/// Hands each message to the sink before it answers.
struct Relay {
    address: SocketAddr,
    /// Where the sink is to listen.
    sink: SocketAddr,
}

impl Relay {
    /// `host` is that of this test's sink alone, so that nobody else takes its port meanwhile.
    fn start(host: u8, manner: Manner) -> Relay {
        let any = SocketAddr::from(([127, 0, 77, host], 0));
        let sink = TcpListener::bind(any).unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let messages = Arc::new(AtomicU64::new(0));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let messages = messages.clone();
                // A client that is gone ends its thread, and a run that is over all of them.
                thread::spawn(move || serve(&client, sink, manner, &messages));
            }
        });
        Relay { address, sink }
    }

    fn run(&self, work: &Scratch, more: &[&str]) -> Command {
        let (relay, sink) = (self.address.to_string(), self.sink.to_string());
        let mut command = Command::new(PROGRAM);
        command.args(["run", "smoke", "--messages", "60", "--relay", &relay]);
        command.args(["--sink-listen", &sink, "--work", work.0.to_str().unwrap()]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn serve(client: &TcpStream, sink: SocketAddr, manner: Manner, messages: &AtomicU64) -> Option<()> {
    let mut out = client;
    out.write_all(b"220 tiny\r\n").ok()?;
    let mut lines = BufReader::new(client);
    let mut envelope = Vec::new();
    loop {
        let line = read_line(&mut lines)?;
        let reply: &[u8] = match line.get(..4)? {
            b"MAIL" | b"RCPT" => {
                envelope.push(line);
                b"250 ok\r\n"
            }
            b"DATA" => {
                out.write_all(b"354 go on\r\n").ok()?;
                let content = read_content(&mut lines)?;
                let number = 1 + messages.fetch_add(1, Ordering::Relaxed);
                let times = match manner {
                    Manner::Silent => loop {
                        thread::park();
                    },
                    Manner::Loses(lost) if lost == number => 0,
                    Manner::Repeats(again) if again == number => 2,
                    Manner::Honest | Manner::Loses(_) | Manner::Repeats(_) => 1,
                };
                for _ in 0..times {
                    hand_over(sink, &envelope, &content)?;
                }
                envelope.clear();
                b"250 taken\r\n"
            }
            b"QUIT" => return out.write_all(b"221 bye\r\n").ok(),
            _ => b"250 ok\r\n",
        };
        out.write_all(reply).ok()?;
    }
}

fn read_line(lines: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    if lines.read_until(b'\n', &mut line).ok()? == 0 { None } else { Some(line) }
}

/// As it travels, with its final dot.
fn read_content(lines: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = read_line(lines)?;
        content.extend_from_slice(&line);
        if line == b".\r\n" {
            return Some(content);
        }
    }
}

fn hand_over(sink: SocketAddr, envelope: &[Vec<u8>], content: &[u8]) -> Option<()> {
    let stream = TcpStream::connect(sink).ok()?;
    let mut replies = BufReader::new(&stream);
    let mut heard = |code: &[u8]| {
        loop {
            let line = read_line(&mut replies)?;
            if line.get(3) == Some(&b' ') {
                return line.starts_with(code).then_some(());
            }
        }
    };
    let mut out = &stream;
    heard(b"220")?;
    let commands = [b"EHLO tiny\r\n".to_vec()].into_iter().chain(envelope.iter().cloned());
    for command in commands {
        out.write_all(&command).ok()?;
        heard(b"250")?;
    }
    out.write_all(b"DATA\r\n").ok()?;
    heard(b"354")?;
    out.write_all(content).ok()?;
    heard(b"250")
}

fn report(path: &str) -> serde_json::Value {
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
    let relay = Relay::start(1, Manner::Honest);
    let pid = std::process::id().to_string();
    let more = ["--rounds", "2", "--seed", "7", "--report", &path, "--pid", &pid];
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
fn a_message_that_is_lost_or_comes_twice_fails_the_run() {
    let cases = [(2, Manner::Loses(80), "missing"), (3, Manner::Repeats(80), "duplicates")];
    for (host, manner, word) in cases {
        let work = Scratch::new(&format!("run-{word}"));
        let path = work.path("report.json");
        let relay = Relay::start(host, manner);
        let output = relay.run(&work, &["--stall", "2", "--report", &path]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let report = report(&path);
        let balance = &report["runs"][0]["balance"];
        assert_eq!((&balance[word], &balance["holds"]), (&1.into(), &false.into()), "{balance}");
        assert_eq!(balance["examples"].as_array().unwrap().len(), 1, "{balance}");
        // To look at what is wrong.
        let kept = left(&work);
        assert!(kept.len() == 1 && kept[0].ends_with("-failed-1"), "{kept:?}");
        assert!(work.0.join(&kept[0]).join("sent").is_file());
    }
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
    for (host, word) in [(4, "-INT"), (5, "-TERM"), (6, "-KILL")] {
        let work = Scratch::new(&format!("run{word}"));
        let relay = Relay::start(host, Manner::Silent);
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
    let cases: [(&[&str], &str); 5] = [
        (&["smoke", "--relay", "192.0.2.1:25"], "load stays on this host"),
        (&["smoke", "--relay", "exim"], "baton, postfix or an address"),
        (&["everything"], "many-domains"),
        (&["smoke", "--shards", "65"], "auto or 1 to 64"),
        (&["smoke", "--work", place, "--baton", "/nowhere/baton"], "--baton says where it is"),
    ];
    for (arguments, word) in cases {
        let output = Command::new(PROGRAM).arg("run").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(word), "{arguments:?}: {}", text(&output));
    }
    assert_eq!(left(&work), Vec::<String>::new());
}
