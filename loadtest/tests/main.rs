//! The binary as a whole, over loopback on free ports: `send` into `sink`, then `balance`; `dns`;
//! `report`; profiles (`send`, `sites`); `run`; and what it finds of a relay's faults (`faulty`).

mod dns;
mod faulty;
mod faulty_relay;
mod readme;
mod report;
mod run;
mod send;
mod sites;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_baton-load");

/// A folder of one test, removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("baton-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `sink` or `dns`.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(command: &str, arguments: &[&str]) -> Server {
        let mut process = Command::new(PROGRAM)
            .args([command, "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening ").expect(&line).trim().to_owned();
        Server { process, output, address }
    }

    /// Ends it politely; returns its summary.
    fn end(mut self) -> String {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut summary = String::new();
        self.output.read_to_string(&mut summary).unwrap();
        assert!(self.process.wait().unwrap().success());
        summary.trim().to_owned()
    }
}

impl Drop for Server {
    /// A failed test leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn every_way_of_sending_is_in_balance() {
    let scratch = Scratch::new("balance");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let sink = Server::start("sink", &["--ledger", &delivered]);
    let ways: [&[&str]; 5] = [
        &[],
        &["--pipelining"],
        &["--chunking"],
        &["--chunking", "--pipelining", "--size", "150000"],
        &["--new-connections", "--pipelining"],
    ];
    for (number, way) in ways.iter().enumerate() {
        let run_id = format!("way{number}");
        let common = ["send", "--to", &sink.address, "--messages", "40", "--sessions", "4"];
        let more = ["--recipients", "3", "--ledger", &sent, "--run-id", &run_id];
        let (output, code) = run(&[&common[..], &more[..], way].concat());
        assert_eq!(code, 0, "{way:?}");
        assert!(output.contains("\"accepted\":40,"), "{output}");
    }
    let summary = sink.end();
    assert!(summary.starts_with("sink: messages=200 recipients=600 corrupt=0 "), "{summary}");
    let balance = ["balance", "--sent", &sent, "--delivered", &delivered, "--duplicates-max", "0"];
    let (output, code) = run(&balance);
    assert_eq!(code, 0, "{output}");
    assert!(output.starts_with("sent250 600\n"), "{output}");

    // One promise more than was kept.
    fs::write(&sent, [fs::read(&sent).unwrap(), b"way0-999\ta@x.test\t250\n".to_vec()].concat())
        .unwrap();
    let (output, code) = run(&balance);
    assert_eq!(code, 1);
    assert!(output.contains("missing 1\n") && output.contains("missing way0-999 a@x.test"));
}

#[test]
fn a_refused_message_leaves_nothing_behind_for_the_next() {
    let scratch = Scratch::new("refused");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let (reject, defer) = (["--reject-permille", "200"], ["--defer-permille", "100"]);
    let sink =
        Server::start("sink", &[&["--ledger", &delivered], &reject[..], &defer[..]].concat());
    let ways: [&[&str]; 4] =
        [&[], &["--pipelining"], &["--chunking"], &["--chunking", "--pipelining"]];
    for (number, way) in ways.iter().enumerate() {
        for recipients in ["1", "2"] {
            let run_id = format!("way{number}-{recipients}");
            let common = ["send", "--to", &sink.address, "--messages", "100", "--sessions", "2"];
            let more = ["--recipients", recipients, "--ledger", &sent, "--run-id", &run_id];
            assert_eq!(run(&[&common[..], &more[..], way].concat()).1, 0, "{way:?}");
        }
    }
    sink.end();
    let (output, code) = run(&["balance", "--sent", &sent, "--delivered", &delivered]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("unexpected 0\n") && !output.contains("refused 0\n"), "{output}");
    // Each answer is the one that was given to that recipient, not one for its consequences.
    let codes = fs::read_to_string(&sent).unwrap();
    for line in codes.lines() {
        assert!(["250", "451", "550"].iter().any(|code| line.ends_with(code)), "{line}");
    }
}

#[test]
fn dumped_messages_are_the_same_by_either_framing() {
    let scratch = Scratch::new("dump");
    let folder = scratch.path("mail");
    let sink = Server::start("sink", &["--dump", &folder]);
    for framing in [None, Some("--chunking")] {
        let common = ["send", "--to", &sink.address, "--messages", "1", "--sessions", "1"];
        let more = ["--run-id", "same", "--size", "20000"];
        let (_, code) = run(&[&common[..], &more[..], framing.as_slice()].concat());
        assert_eq!(code, 0);
    }
    sink.end();
    let read = |name: &str| fs::read_to_string(Path::new(&folder).join(name)).unwrap();
    assert!(read("000001.eml").contains("\r\n."), "dots are a part of what is tested");
    let same = without_times(&read("000001.eml")) == without_times(&read("000002.eml"));
    assert!(same, "{}", read("000002.eml"));
    let envelope = read("000001.env");
    assert!(envelope.starts_with("MAIL FROM:<sender1@c1.x.test> SIZE="), "{envelope}");
    assert!(envelope.ends_with("\nRCPT TO:<r1@d1.x.test>\n"), "{envelope}");
}

/// Without the date, and without what depends on it or on the moment in the mark.
fn without_times(message: &str) -> String {
    let lines = message.split_inclusive('\n').filter(|line| !line.starts_with("Date: "));
    let timeless = lines.flat_map(|line| {
        let is_mark = line.starts_with("X-Baton");
        let words = line.split_inclusive(' ');
        words
            .filter(move |word| !is_mark || !(word.starts_with("head=") || word.starts_with("at=")))
    });
    timeless.collect()
}

#[test]
fn sessions_come_from_as_many_addresses_as_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut held = Vec::new();
        let mut peers: Vec<String> = (0..6)
            .map(|_| {
                let (mut stream, peer) = listener.accept().unwrap();
                stream.write_all(b"220 ready\r\n").unwrap();
                let _ = stream.read(&mut [0; 100]).unwrap();
                stream.write_all(b"250 ready\r\n").unwrap();
                held.push(stream);
                peer.ip().to_string()
            })
            .collect();
        peers.sort();
        peers
    });
    let common = ["send", "--to", &address, "--messages", "60", "--sessions", "6"];
    let (output, code) = run(&[&common[..], &["--from-addresses", "3"]].concat());
    assert_eq!(code, 1, "the server leaves after six connections: {output}");
    assert!(output.contains("\"sessions_given_up\":6,"), "{output}");
    assert!(output.contains("; sessions gave up: 6"), "{output}");
    let (one, two, three) = ("127.0.1.1", "127.0.1.2", "127.0.1.3");
    assert_eq!(server.join().unwrap(), [one, one, two, two, three, three]);
}

#[test]
fn a_connection_that_brought_enough_is_told_so() {
    let sink = Server::start("sink", &["--close-after", "5"]);
    let (output, code) =
        run(&["send", "--to", &sink.address, "--messages", "60", "--sessions", "1"]);
    assert_eq!(code, 0, "an answer is an answer: {output}");
    assert!(output.contains("\"accepted\":50,\"deferred\":10,"), "{output}");
    assert!(sink.end().ends_with(" sessions=10"));
}

#[test]
fn sessions_are_entered_with_who_came_and_what_it_brought() {
    let scratch = Scratch::new("sessions");
    let file = scratch.path("sessions");
    let sink = Server::start("sink", &["--sessions", &file]);
    let send = ["send", "--to", &sink.address, "--messages", "5", "--sessions", "1"];
    for _ in 0..2 {
        assert_eq!(run(&send).1, 0);
    }
    sink.end();
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines, "127.0.0.1\tload.test\t5\t1\n".repeat(2));
}

#[test]
fn a_sink_serves_all_of_the_loopback_network_and_nothing_else() {
    let sink = Server::start("sink", &["--whole-loopback"]);
    let port = sink.address.rsplit(':').next().unwrap();
    for address in [&sink.address, &format!("127.77.0.1:{port}")] {
        let (output, code) = run(&["send", "--to", address, "--messages", "5"]);
        assert_eq!(code, 0, "{output}");
    }
    assert!(sink.end().starts_with("sink: messages=10 "));
}

#[test]
fn a_stalled_sink_takes_connections_and_says_nothing() {
    let sink = Server::start("sink", &["--stall"]);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(std::net::TcpStream::connect(&sink.address).unwrap());
    }
    // Nothing to read, and not at an end either.
    for stream in &held {
        stream.set_nonblocking(true).unwrap();
        let quiet = (&*stream).read(&mut [0]).unwrap_err();
        assert_eq!(quiet.kind(), std::io::ErrorKind::WouldBlock);
    }
    sink.end();
}

#[test]
fn other_hosts_are_refused() {
    for arguments in [
        &["send", "--to", "192.0.2.1:25", "--messages", "1"][..],
        &["sink", "--listen", "0.0.0.0:0"],
        &["idle", "--to", "[2001:db8::1]:25", "--sessions", "1"],
    ] {
        assert_eq!(run(arguments).1, 2, "{arguments:?}");
    }
}
