//! `baton run`, as an operator has it: a configuration file, signals, metrics, the admin port, the
//! command line, the event log.
//!
//! Ports are chosen by the kernel at the first start; [`Relay::again`] keeps them, so that senders
//! find the relay where it was.

use super::child::{Child, Ear, succeed};
use super::dns::Dns;
use super::{Folder, eventually};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const BATON: &str = env!("CARGO_BIN_EXE_baton");
pub const HOSTNAME: &str = "relay.test";

/// What a test wants of a relay; the rest is as small as can be.
#[derive(Clone)]
pub struct Settings<'a> {
    pub shards: u16,
    pub address: String,
    /// More keys of the one listener.
    pub listener: &'a str,
    /// The `[[peer]]` tables.
    pub peers: &'a str,
    /// Where all mail goes that no table of `more` takes elsewhere; where it is empty, the DNS says.
    pub via: String,
    /// More keys of that route.
    pub route: &'a str,
    /// Keys that stand before all tables.
    pub top: &'a str,
    /// More tables; `[[route]]` tables here come first.
    pub more: String,
    /// More keys of `[log]`.
    pub log: &'a str,
    /// The keys of `[dns]`: no relay of a test asks a name server of the machine it runs on.
    pub dns: String,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings {
            shards: 1,
            address: "127.0.0.1:0".to_owned(),
            listener: "",
            peers: "[[peer]]\nnetwork = \"127.0.0.0/8\"\naccount = \"local\"\n",
            // Nobody listens there: what is accepted waits.
            via: "127.0.0.1:9".to_owned(),
            route: "",
            top: "",
            more: String::new(),
            log: "",
            // Nobody listens there: no name exists for now.
            dns: "servers = [\"127.0.0.1:1\"]\n".to_owned(),
        }
    }
}

impl Settings<'_> {
    /// All mail goes to `sink`.
    pub fn to(sink: SocketAddr) -> Self {
        Settings { via: sink.to_string(), ..Settings::default() }
    }

    /// All mail goes where `dns` says, but to the port of `sink`. Ends with the table `[delivery]`.
    pub fn by(dns: &Dns, sink: SocketAddr) -> Self {
        let more = format!("[delivery]\nsmtp_port = {}\n", sink.port());
        Settings { via: String::new(), dns: dns.keys(), more, ..Settings::default() }
    }

    fn text(&self, folder: &Folder, admin: &str) -> String {
        let Settings { shards, address, listener, peers, via, route, top, more, log, dns } = self;
        let route = match via.as_str() {
            "" => String::new(),
            via => {
                format!("[[route]]\ndomain = \"*\"\nvia = [\"{via}\"]\ntls = \"none\"\n{route}\n")
            }
        };
        let (data, path) = (folder.path("data"), folder.path("events.jsonl"));
        format!(
            "hostname = \"{HOSTNAME}\"\ndata_dir = \"{}\"\nshards = {shards}\n{top}\n\
             [[listener]]\naddress = \"{address}\"\n{listener}\n{peers}\n{more}\n\
             {route}[dns]\n{dns}[admin]\naddress = \"{admin}\"\n[log]\npath = \"{}\"\n{log}\n",
            data.display(),
            path.display(),
        )
    }
}

pub struct Relay<'a> {
    pub process: Child,
    folder: &'a Folder,
    settings: Settings<'a>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl<'a> Relay<'a> {
    /// Starts it on the data in `folder`, and waits until it serves.
    pub fn start(folder: &'a Folder, settings: &Settings<'a>) -> Relay<'a> {
        Relay::start_under(&[], folder, settings)
    }

    /// The same with a program before it, which gets baton and its arguments as its own.
    pub fn start_under(before: &[&str], folder: &'a Folder, settings: &Settings<'a>) -> Relay<'a> {
        let path = folder.write("baton.toml", settings.text(folder, "127.0.0.1:0"));
        let mut process = spawn(before, &path);
        let mut told = |what: &str| {
            let address = process.line_after(what);
            address.and_then(|address| address.parse().ok()).unwrap_or_else(|| {
                panic!("no line `{what}`: {}", process.rest());
            })
        };
        let (admin, address) = (told("admin "), told("listening "));
        Relay { process, folder, settings: settings.clone(), address, admin }
    }

    /// A start that is to fail: its exit code and what it says.
    pub fn fail(folder: &Folder, settings: &Settings<'_>, name: &str) -> (Option<i32>, String) {
        let path = folder.write(name, settings.text(folder, "127.0.0.1:0"));
        let mut process = spawn(&[], &path);
        let said = process.rest();
        (process.wait().code(), said)
    }

    /// The next process on the same data and the same address, when this one is gone.
    pub fn again(self) -> Relay<'a> {
        let settings = self.settings.clone();
        self.again_with(settings)
    }

    pub fn again_with(mut self, settings: Settings<'a>) -> Relay<'a> {
        assert!(!self.process.is_running(), "it was to be ended first");
        let address = self.address.to_string();
        Relay::start(self.folder, &Settings { address, ..settings })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes other settings where it read its own, and tells it with SIGHUP.
    pub fn reload(&self, settings: &Settings<'_>) {
        self.folder.write("baton.toml", settings.text(self.folder, "127.0.0.1:0"));
        self.process.signal("-HUP");
    }

    /// SIGTERM, and its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process.signal("-TERM");
        self.process.wait().code()
    }

    /// The body of a 200 answer of the admin port.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("the admin port");
        let admin = self.admin;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
        body.to_owned()
    }

    /// One series of `/metrics`, named with its labels.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics");
        let mut lines =
            text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = lines.next().unwrap_or_else(|| panic!("{series} is missing in\n{text}"));
        value.parse().unwrap_or_else(|error| panic!("{series} {value}: {error}"))
    }

    /// Entries on disk, as the queue is read there: not a gauge, which may be a moment old.
    pub fn queued(&self) -> usize {
        let list = self.get("/api/v1/queue?limit=10000");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        list["entries"].as_array().unwrap_or_else(|| panic!("{list}")).len()
    }

    pub fn await_empty_queue(&self) {
        eventually("an empty queue", || (self.queued() == 0).then_some(()));
    }

    /// `baton queue list` and the like, asking this relay.
    pub fn queue(&self, words: &[&str]) -> Output {
        let text = self.settings.text(self.folder, &self.admin.to_string());
        let path = self.folder.write("ask.toml", text);
        let mut command = Command::new(BATON);
        succeed(command.arg("queue").args(words).arg("--config").arg(path))
    }

    /// How many events of one kind there are so far; a log of any size is soon searched.
    pub fn count_events(&self, name: &str) -> usize {
        let text = fs::read_to_string(self.folder.path("events.jsonl")).unwrap_or_default();
        text.matches(&format!("\"event\":\"{name}\"")).count()
    }

    /// Its events of one kind so far, those of earlier processes on this data included.
    pub fn events(&self, name: &str) -> Vec<Value> {
        events(&self.folder.path("events.jsonl"), name)
    }
}

/// The whole lines of an event log that tell of `name`.
pub fn events(log: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    // A process that was killed may have left half a line.
    let lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["event"] == name).collect()
}

fn spawn(before: &[&str], config: &PathBuf) -> Child {
    let mut words = before.iter().copied().chain([BATON]);
    let mut command = Command::new(words.next().expect("baton at least"));
    command.args(words).args(["run", "--config"]).arg(config).stdin(Stdio::null());
    Child::start(&mut command, Ear::Errors)
}
