//! `baton-load sink`, and what it kept.

use super::child::{Child, Ear, baton_load};
use super::relay::HOSTNAME;
use super::{Folder, eventually};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

/// A server that takes everything, or what its options say, and keeps it.
pub struct Sink {
    _process: Child,
    address: SocketAddr,
    kept: PathBuf,
    ledger: PathBuf,
    sessions: PathBuf,
}

/// A session as the sink saw it, once it has ended.
#[derive(Debug)]
pub struct Visit {
    /// Where it came from.
    pub client: IpAddr,
    /// What it said it was.
    pub ehlo: String,
    pub messages: usize,
    /// Sessions that were open when it began, itself included.
    pub at_once: usize,
}

/// One message as the sink received it.
#[derive(Debug)]
pub struct Kept {
    /// `MAIL FROM:...`, then each `RCPT TO:...`.
    pub commands: Vec<String>,
    pub content: Vec<u8>,
}

impl Sink {
    /// Keeps a ledger, and every message.
    pub fn start(folder: &Folder, name: &str, options: &[&str]) -> Sink {
        let kept = folder.path(name);
        let dump = kept.to_str().expect("our own name").to_owned();
        Sink::start_with(folder, name, &[options, &["--dump", &dump]].concat())
    }

    /// Keeps a ledger only: under load a file for each message would be the slowest part.
    pub fn start_fast(folder: &Folder, name: &str, options: &[&str]) -> Sink {
        Sink::start_with(folder, name, options)
    }

    fn start_with(folder: &Folder, name: &str, options: &[&str]) -> Sink {
        let ledger = folder.path(&format!("{name}.ledger"));
        let mut command = Command::new(baton_load());
        let sessions = folder.path(&format!("{name}.sessions"));
        command.args(["sink", "--listen", "127.0.0.1:0", "--ledger"]).arg(&ledger);
        command.arg("--sessions").arg(&sessions).args(options);
        let mut process = Child::start(&mut command, Ear::Output);
        let address = process.line_after("listening ").expect("a sink listens");
        let address = address.parse().expect("an address");
        Sink { _process: process, address, kept: folder.path(name), ledger, sessions }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn ledger(&self) -> &PathBuf {
        &self.ledger
    }

    /// Deliveries so far: one for each message and recipient.
    pub fn deliveries(&self) -> usize {
        let ledger = fs::read(&self.ledger).unwrap_or_default();
        ledger.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The sessions so far, in the order of their ends, once they have brought so many messages.
    pub fn await_visits(&self, messages: usize) -> Vec<Visit> {
        eventually(&format!("sessions that brought {messages} messages"), || {
            let visits = self.visits();
            let brought = visits.iter().map(|visit| visit.messages).sum::<usize>();
            (brought >= messages).then_some(visits)
        })
    }

    fn visits(&self) -> Vec<Visit> {
        let text = fs::read_to_string(&self.sessions).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let visit = |line: &str| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().expect("four fields");
            let (client, ehlo) = (next().parse().expect("an address"), next().to_owned());
            let mut count = || next().parse().expect("a number");
            Visit { client, ehlo, messages: count(), at_once: count() }
        };
        whole.lines().map(visit).collect()
    }

    /// Every message so far.
    pub fn kept(&self) -> Vec<Kept> {
        let files = fs::read_dir(&self.kept).expect("a sink that keeps").flatten();
        let paths = files.map(|file| file.path());
        let whole = paths.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
        whole
            .map(|path| {
                let commands =
                    fs::read_to_string(path.with_extension("env")).expect("written first");
                let commands = commands.lines().map(str::to_owned).collect();
                Kept { commands, content: fs::read(path).expect("a message") }
            })
            .collect()
    }

    /// The message to this recipient, once it is there.
    pub fn await_to(&self, recipient: &str) -> Kept {
        eventually(&format!("a message to {recipient}"), || {
            self.kept().into_iter().find(|kept| kept.is_to(recipient))
        })
    }

    pub fn await_deliveries(&self, count: usize) {
        eventually(&format!("{count} deliveries"), || (self.deliveries() >= count).then_some(()));
    }
}

impl Kept {
    pub fn is_to(&self, recipient: &str) -> bool {
        let wanted = format!("RCPT TO:<{recipient}>");
        self.commands.iter().any(|command| {
            command
                .strip_prefix(&wanted)
                .is_some_and(|rest| matches!(rest.get(..1), None | Some(" ")))
        })
    }

    /// The field that baton put on top, unfolded, and what it relayed.
    pub fn split_trace(&self) -> (String, &[u8]) {
        let mut ends = self.content.windows(3).enumerate();
        let is_end = |bytes: &[u8]| bytes.starts_with(b"\r\n") && !matches!(bytes[2], b' ' | b'\t');
        let end = ends.find(|(_, bytes)| is_end(bytes)).map(|(at, _)| at + 2);
        let (trace, rest) = self.content.split_at(end.expect("a header"));
        let trace = str::from_utf8(trace).expect("baton's own words").replace("\r\n", "");
        let by = format!("by {HOSTNAME} with ");
        assert!(trace.starts_with("Received: from ") && trace.contains(&by), "{trace}");
        (trace, rest)
    }

    /// Fails with the first difference, which says more than two long texts.
    #[track_caller]
    pub fn assert_is(&self, sent: &[u8]) {
        let (_, got) = self.split_trace();
        if got != sent {
            let same = got.iter().zip(sent).take_while(|(one, other)| one == other).count();
            let around = |bytes: &[u8]| {
                let (from, to) = (same.saturating_sub(20), bytes.len().min(same + 40));
                bytes[from.min(to)..to].escape_ascii().to_string()
            };
            panic!(
                "differs at {same}: {} octets arrived, {} were sent\n  arrived {}\n  sent    {}",
                got.len(),
                sent.len(),
                around(got),
                around(sent),
            );
        }
    }
}

/// A text that relays have broken before: dots at line starts, the longest line that is allowed
/// (998 octets and CRLF), trailing blanks, an empty end, no 8-bit.
pub fn body_with_everything() -> String {
    let long = "x".repeat(998);
    let dots = ".\r\n..\r\n...\r\n.leading dot\r\n..two\r\n";
    format!("\r\n{dots}{long}\r\n.{}\r\ntrailing blanks  \t\r\n\r\nFrom here\r\n\r\n", &long[1..])
}
