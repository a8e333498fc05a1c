//! `baton run` with a configuration of the run, asked over its admin address.
//!
//! Everything is the default but where mail goes, how many connections a site may have, who may
//! send, and limits that only a load generator reaches. Syncs are its own count of the write-ahead
//! log's (`baton_wal_syncs_total`).

use std::collections::HashSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::super::args::Shards;
use super::super::child::{Child, Orphan};
use super::super::watch::Watch;
use super::{
    CONNECT_MAX_S, NOBODY, Names, Queue, RETRY_FIRST_S, RETRY_MAX_S, Surroundings, UNREACHABLE,
    WAIT_S, setting,
};
use crate::error::Error;
use crate::loopback::Loopback;

const PROGRAM: &str = "baton";
const REPLY_MAX: Duration = Duration::from_secs(60);
/// Rows that one answer about the queue has at most.
const ROWS_MAX: usize = 10_000;
const SYNCS: &str = "baton_wal_syncs_total";
/// One for each message and domain; our messages have one domain where this is asked for.
const ENTRIES: &str = "baton_queue_due_entries";
/// What it writes of each recipient that it has given up.
const BOUNCED: &str = "recipient-bounced";
/// In errors.
const ADMIN: &str = "baton's admin address";

pub struct Baton {
    process: Child,
    address: Loopback,
    admin: Loopback,
    folder: PathBuf,
    version: String,
    settings: Vec<(String, String)>,
    /// Messages that it has all the time, out of reach.
    waiting: u64,
}

impl Baton {
    pub fn start(around: Surroundings<'_>, shards: Shards) -> Result<Baton, Error> {
        let program = program(around.args.baton.as_deref())?;
        let failed = |source| Error::Command { program: PROGRAM.to_owned(), source };
        let version = Command::new(&program).arg("--version").output().map_err(failed)?.stdout;
        let path = around.folder.join("baton.toml");
        fs::write(&path, configuration(around, shards)).map_err(Error::file(&path))?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--config").arg(&path);
        let errors = around.folder.join("baton.errors");
        let mut process = Child::start(PROGRAM, &mut command, &errors, Orphan::Killed)?;
        let admin = process.address("admin", around.watch)?;
        let address = process.address("listening", around.watch)?;
        Ok(Baton {
            process,
            address,
            admin,
            folder: around.folder.to_owned(),
            version: String::from_utf8_lossy(&version).trim().to_owned(),
            settings: vec![setting("shards", shards), setting("durability", "fsync")],
            waiting: around.plan.waiting.messages,
        })
    }

    pub fn address(&self) -> Loopback {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn must_live(&mut self) -> Result<(), Error> {
        self.process.must_live()
    }

    pub fn name(&self) -> String {
        self.version.clone()
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }

    pub fn queue(&self) -> Result<Queue, Error> {
        let empty = match self.waiting {
            0 => self.list("limit=1")?.rows.is_empty(),
            waiting => self.held()? <= waiting,
        };
        Ok(if empty { Queue::Empty } else { Queue::Holds })
    }

    /// By its own count, which may be a moment old.
    pub fn held(&self) -> Result<u64, Error> {
        self.metric(ENTRIES)
    }

    pub fn try_all_again(&self) -> Result<(), Error> {
        self.ask("POST", "/api/v1/queue/retry?all=true").map(drop)
    }

    /// Asks for all at once, and domain by domain when they are too many.
    pub fn waiting(&self, domains: &[String]) -> Result<Vec<String>, Error> {
        let all = self.list(&format!("limit={ROWS_MAX}"))?;
        let mut ids: HashSet<String> = HashSet::new();
        if all.more {
            for domain in domains {
                let list = self.list(&format!("limit={ROWS_MAX}&domain={domain}"))?;
                if list.more {
                    let what = format!("more than {ROWS_MAX} messages to {domain} wait");
                    return Err(Error::Answer { from: ADMIN.to_owned(), what });
                }
                ids.extend(list.rows);
            }
        } else {
            ids.extend(all.rows);
        }
        let mut waiting = Vec::new();
        for id in ids {
            let path = format!("/api/v1/queue/{id}");
            // One that was delivered meanwhile.
            let Some(body) = self.find("GET", &path)? else {
                continue;
            };
            let detail: Value = serde_json::from_str(&body).map_err(|_| self.strange(&body))?;
            let groups = detail["groups"].as_array().into_iter().flatten();
            let recipients = groups.flat_map(|group| group["waiting"].as_array()).flatten();
            waiting.extend(recipients.filter_map(|one| Some(one["address"].as_str()?.to_owned())));
        }
        Ok(waiting)
    }

    pub fn given_up(&self) -> Vec<String> {
        let mut recipients = Vec::new();
        super::each_line(&self.folder.join("events.jsonl"), |line| {
            if !line.contains(BOUNCED) {
                return;
            }
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            if event["event"] == BOUNCED {
                recipients.extend(event["recipient"].as_str().map(str::to_owned));
            }
        });
        recipients
    }

    pub fn syncs(&self) -> Result<u64, Error> {
        self.metric(SYNCS)
    }

    pub fn stop(&mut self, watch: &Watch) {
        self.process.stop(watch);
    }

    /// Summed over its labels.
    fn metric(&self, name: &str) -> Result<u64, Error> {
        let metrics = self.ask("GET", "/metrics")?;
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            // With labels or without.
            if rest.starts_with([' ', '{']) {
                rest.rsplit(' ').next()?.parse::<u64>().ok()
            } else {
                None
            }
        });
        Ok(values.sum())
    }

    fn list(&self, query: &str) -> Result<List, Error> {
        let list = self.json("GET", &format!("/api/v1/queue?{query}"))?;
        let strange = || self.strange(&list.to_string());
        let rows = list["entries"].as_array().ok_or_else(strange)?;
        let ids = rows.iter().map(|row| row["id"].as_str().map(str::to_owned));
        Ok(List {
            rows: ids.collect::<Option<Vec<String>>>().ok_or_else(strange)?,
            more: list["more"].as_bool().ok_or_else(strange)?,
        })
    }

    fn json(&self, method: &str, path: &str) -> Result<Value, Error> {
        let body = self.ask(method, path)?;
        serde_json::from_str(&body).map_err(|_| self.strange(&body))
    }

    fn strange(&self, body: &str) -> Error {
        let start: String = body.chars().take(200).collect();
        Error::Answer { from: ADMIN.to_owned(), what: start }
    }

    /// The body of a 200 answer.
    fn ask(&self, method: &str, path: &str) -> Result<String, Error> {
        self.find(method, path)?.ok_or_else(|| self.strange("404"))
    }

    /// The same, and nothing of a 404.
    fn find(&self, method: &str, path: &str) -> Result<Option<String>, Error> {
        let address = self.admin.address();
        let exchange = || {
            let mut stream = TcpStream::connect_timeout(&address, REPLY_MAX)?;
            stream.set_read_timeout(Some(REPLY_MAX))?;
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
            write!(stream, "{head}Connection: close\r\nContent-Length: 0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|source| Error::Connect { address, source })?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(Some(body.to_owned())),
            Some((head, _)) if head.starts_with("HTTP/1.1 404 ") => Ok(None),
            _ => Err(self.strange(&answer)),
        }
    }
}

/// What a list of the queue says.
struct List {
    /// The ids of the messages.
    rows: Vec<String>,
    more: bool,
}

fn program(given: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = || {
        let own = env::current_exe().unwrap_or_default();
        own.with_file_name(PROGRAM)
    };
    let program = given.map_or_else(beside, Path::to_owned);
    if program.is_file() {
        Ok(program)
    } else {
        Err(Error::Missing { program, remedy: "--baton says where it is" })
    }
}

fn configuration(around: Surroundings<'_>, shards: Shards) -> String {
    let Surroundings { plan, folder, sink, names, .. } = around;
    let place = folder.display();
    let shards = match shards {
        Shards::Auto => "\"auto\"".to_owned(),
        Shards::Number(number) => number.to_string(),
    };
    let connections = plan.connections_max;
    let mut text = format!(
        "hostname = \"relay.example.net\"\n\
         data_dir = \"{place}/data\"\n\
         shards = {shards}\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[peer]]\nnetwork = \"127.0.0.0/8\"\naccount = \"local\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [log]\npath = \"{place}/events.jsonl\"\n\
         [limits]\n\
         messages_max = 10000000\n\
         commands_max = 100000000\n\
         sessions_max = 100000\n\
         sessions_per_peer_max = 100000\n"
    );
    if plan.waiting.messages > 0 {
        // Before the route for all, since the first that matches counts.
        text.push_str(&format!(
            "[[route]]\ndomain = \"*.{UNREACHABLE}\"\nvia = [\"{NOBODY}\"]\n\
             retry_first = \"{WAIT_S}s\"\nretry_max = \"{WAIT_S}s\"\nexpire_after = \"48h\"\n"
        ));
    }
    let more = match names {
        Names::Nobody => {
            let sink = sink.address();
            format!(
                "[dns]\nservers = [\"127.0.0.1:1\"]\n\
                 [[route]]\ndomain = \"*\"\nvia = [\"{sink}\"]\n\
                 connections_max = {connections}\n"
            )
        }
        Names::Server(server) => {
            let (server, port) = (server.address(), sink.address().port());
            format!(
                "[dns]\nservers = [\"{server}\"]\nloopback = true\n\
                 [delivery]\nsmtp_port = {port}\nconnections_max = {connections}\n"
            )
        }
    };
    text.push_str(&more);
    if super::hurries(plan) {
        if names == Names::Nobody {
            text.push_str("[delivery]\n");
        }
        let hurry = write!(
            text,
            "retry_first = \"{RETRY_FIRST_S}s\"\nretry_max = \"{RETRY_MAX_S}s\"\n\
             connect_timeout = \"{CONNECT_MAX_S}s\"\n"
        );
        hurry.expect("writing to memory does not fail");
    }
    text
}
