//! `baton-load`: puts load on an SMTP relay of this host, and proves what became of it.
//!
//! ```text
//! send --> relay under test --> sink      two ledgers, written before each next word on the wire
//!   |                            |
//!   +------> balance <-----------+        lost, duplicated, damaged?
//! dns          which leads the relay to the sink      idle, cpu: the price of a session, a message
//! ```
//! This file turns arguments into the checked settings of one command. Exit codes: 0 as asked, 1
//! the run or the balance failed, 2 a mistake in the arguments or the surroundings. Never leaves
//! the loopback interface (`loopback.rs`).

#![expect(clippy::disallowed_methods, reason = "a load generator measures the real clock")]

mod balance;
mod bind;
mod cpu;
mod dns;
mod error;
mod idle;
mod kernel;
mod ledger;
mod loopback;
mod message;
mod process;
mod report;
mod session;
mod signals;
mod sink;
mod source;
mod transaction;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hickory_proto::rr::Name;

use crate::bind::Extent;
use crate::dns::answer::Faults;
use crate::dns::zone::{Addresses, Families, Zone};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::loopback::Loopback;
use crate::message::{Framing, Maker, Recipe};
use crate::report::Report;
use crate::session::{Greeting, Offer, Personality};
use crate::source::{Load, Reuse};
use crate::transaction::Pace;

/// Load generator for SMTP relays on this host: source, sink, and the ledgers between them.
#[derive(Parser)]
#[command(name = "baton-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Accept all mail and keep a ledger of it, until SIGTERM
    Sink(SinkArgs),
    /// Answer DNS queries for a fake internet whose MX hosts are on this host, until SIGTERM
    Dns(DnsArgs),
    /// Send messages over many sessions and keep a ledger of the answers
    Send(SendArgs),
    /// Compare what was sent with what arrived; exit 1 if anything is missing or corrupt
    Balance(BalanceArgs),
    /// Hold idle sessions and measure what they cost a process
    Idle(IdleArgs),
    /// Measure the CPU time a process uses while a command runs
    Cpu(CpuArgs),
}

#[derive(Args)]
struct SinkArgs {
    /// Address to listen on; port 0 takes a free one, the first line printed says which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2600")]
    listen: Loopback,
    /// Listen on all of 127.0.0.0/8 and ::1, at the port of --listen
    #[arg(long)]
    whole_loopback: bool,
    /// Take connections and never say a word
    #[arg(long, conflicts_with = "greeting")]
    stall: bool,
    /// Greet with this code instead of 220, and take no mail
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(400..600))]
    greeting: Option<u16>,
    /// Messages that a connection may bring before it is told 421; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    close_after: u64,
    /// Append a line for each message and recipient, before the message is answered
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Append a line for each session that ended: who it was, its messages, how many were open
    #[arg(long, value_name = "FILE")]
    sessions: Option<PathBuf>,
    /// Keep every message as NNNNNN.eml, and its MAIL and RCPT commands as NNNNNN.env
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Wait before the final reply to each message
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Of 1000 recipient addresses, how many do not exist (550, the same ones each time)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = permille)]
    reject_permille: u16,
    /// Of 1000 RCPT commands, how many are told to come back later (451, at random)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = permille)]
    defer_permille: u16,
    /// Do not offer CHUNKING
    #[arg(long)]
    no_chunking: bool,
    /// Do not offer PIPELINING
    #[arg(long)]
    no_pipelining: bool,
    /// Decides which addresses are rejected and which commands deferred
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct DnsArgs {
    /// Address to listen on, UDP and TCP; port 0 takes a free one, the first line printed says which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5353")]
    listen: Loopback,
    /// All names below this one exist; any other is refused
    #[arg(long, value_name = "NAME", default_value = "x.test", value_parser = suffix)]
    suffix: Name,
    /// Sites (sets of MX hosts) that share the domains; 0: each domain has its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    sites: u64,
    /// Give each MX host an address of its own in 127.64.0.0/10 instead of 127.0.0.1 to all (the
    /// sink then needs --whole-loopback)
    #[arg(long)]
    spread: bool,
    /// Give each MX host the address ::1 as well
    #[arg(long)]
    ipv6: bool,
    /// Time to live of all records
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    ttl: u32,
    /// Of 1000 queries over UDP, how many are not answered
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = permille)]
    lose: u16,
    /// Of 1000 queries, how many are answered SERVFAIL
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = permille)]
    servfail: u16,
    /// Of 1000 answers over UDP, how many are truncated, so that TCP must be used
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = permille)]
    truncate: u16,
    /// Wait before each answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Decides which queries fare badly
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct SendArgs {
    /// The relay
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525")]
    to: Loopback,
    /// Messages to be answered (any answer counts; lost connections are made up for)
    #[arg(long, value_name = "N", required_unless_present = "duration_s")]
    messages: Option<u64>,
    /// Sessions at the same time
    #[arg(long, value_name = "S", default_value_t = 50, value_parser = positive)]
    sessions: usize,
    /// Connect from so many addresses in turn, 127.0.1.1 and up: senders of their own to a relay
    /// that names them by address
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = sources)]
    from_addresses: usize,
    /// Length of a message, header included
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    size: usize,
    /// Recipients of a message
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = positive)]
    recipients: usize,
    /// Recipient domains: d0.SUFFIX, d1.SUFFIX, ...
    #[arg(long, value_name = "D", default_value_t = 10, value_parser = positive)]
    domains: usize,
    /// What all domain names end in
    #[arg(long, value_name = "NAME", default_value = "x.test", value_parser = word)]
    domain_suffix: String,
    /// Different senders, each of its own domain: c0.SUFFIX, c1.SUFFIX, ...
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = positive)]
    senders: usize,
    /// A connection for each message
    #[arg(long)]
    new_connections: bool,
    /// BDAT instead of DATA, if the relay offers it
    #[arg(long)]
    chunking: bool,
    /// Commands in groups, if the relay offers it
    #[arg(long)]
    pipelining: bool,
    /// Open loop: messages are due at this rate, and latencies count from when they were
    #[arg(long, value_name = "PER_S", value_parser = rate)]
    rate: Option<f64>,
    /// Append a line for each message and recipient, as soon as the answer is read
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// First part of every serial; by default the time, so that runs differ
    #[arg(long, value_name = "TEXT", value_parser = word)]
    run_id: Option<String>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration_s: Option<u64>,
    /// Connect again when a connection is lost, trying so often at 50 ms
    #[arg(long, value_name = "TRIES", num_args = 0..=1, default_value_t = 0)]
    #[arg(default_missing_value = "600")]
    reconnect: u32,
    /// Give up when no message under way is answered for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    stall_s: u64,
}

#[derive(Args)]
struct BalanceArgs {
    /// Ledger of `send`; may be given several times, as may the others
    #[arg(long, value_name = "FILE", required = true)]
    sent: Vec<PathBuf>,
    /// Ledger of `sink`
    #[arg(long, value_name = "FILE", required = true)]
    delivered: Vec<PathBuf>,
    /// What the relay still holds: serial, or serial TAB recipient
    #[arg(long, value_name = "FILE")]
    queued: Vec<PathBuf>,
    /// What the relay gave back: serial, or serial TAB recipient
    #[arg(long, value_name = "FILE")]
    bounced: Vec<PathBuf>,
    /// Also fail when more deliveries than this came again
    #[arg(long, value_name = "N")]
    duplicates_max: Option<u64>,
}

#[derive(Args)]
struct IdleArgs {
    /// The relay
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525")]
    to: Loopback,
    /// Sessions to hold
    #[arg(long, value_name = "N")]
    sessions: usize,
    /// How long to hold them
    #[arg(long, value_name = "S", default_value_t = 5)]
    seconds: u64,
    /// Process whose memory is measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Args)]
struct CpuArgs {
    /// Process whose CPU time is measured
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Messages the command will send: prints the time for each as well
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Command and arguments
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Sink(args) => sink(args),
        Command::Dns(args) => dns(args),
        Command::Send(args) => send(args),
        Command::Balance(args) => balance(&args),
        Command::Idle(args) => idle(&args),
        Command::Cpu(args) => cpu::run(args.pid, args.messages, &args.command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("baton-load: {error}");
        ExitCode::from(2)
    })
}

fn sink(args: SinkArgs) -> Result<ExitCode, Error> {
    let offer = |withheld| {
        if withheld { Offer::Withheld } else { Offer::Made }
    };
    kernel::raise_open_files(1 << 20);
    let service = sink::Service {
        listen: args.listen,
        extent: if args.whole_loopback { Extent::Loopback } else { Extent::Address },
        personality: Personality {
            greeting: match args.greeting {
                _ if args.stall => Greeting::Never,
                Some(code) => Greeting::Refusal(code),
                None => Greeting::Ready,
            },
            messages_max: args.close_after,
            chunking: offer(args.no_chunking),
            pipelining: offer(args.no_pipelining),
            reject_permille: args.reject_permille,
            defer_permille: args.defer_permille,
            seed: args.seed,
        },
        delay: Duration::from_millis(args.delay_ms),
    };
    let ledger = Ledger::open(args.ledger.as_deref())?;
    let dump = args.dump.as_deref().map(sink::Dump::open).transpose()?;
    let sessions = Ledger::open(args.sessions.as_deref())?;
    sink::run(service, ledger, sessions, dump)?;
    Ok(ExitCode::SUCCESS)
}

fn dns(args: DnsArgs) -> Result<ExitCode, Error> {
    kernel::raise_open_files(1 << 14);
    dns::run(dns::Service {
        listen: args.listen,
        zone: Zone {
            suffix: args.suffix,
            sites: args.sites,
            addresses: if args.spread { Addresses::Spread } else { Addresses::One },
            families: if args.ipv6 { Families::Both } else { Families::Ipv4 },
            ttl_s: args.ttl,
        },
        faults: Faults { lose: args.lose, servfail: args.servfail, truncate: args.truncate },
        delay: Duration::from_millis(args.delay_ms),
        seed: args.seed,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn send(args: SendArgs) -> Result<ExitCode, Error> {
    kernel::raise_open_files(args.sessions as u64 + 64);
    let now = jiff::Zoned::now();
    let date = jiff::fmt::rfc2822::to_string(&now).expect("the present year has four digits");
    let run_id = args.run_id.clone().unwrap_or_else(|| now.strftime("%m%d%H%M%S").to_string());
    let load = Load {
        to: args.to,
        messages: args.messages.unwrap_or(u64::MAX),
        sessions: args.sessions,
        sources: args.from_addresses,
        framing: if args.chunking { Framing::Chunk } else { Framing::Dots },
        pace: if args.pipelining { Pace::Pipelined } else { Pace::Lockstep },
        reuse: if args.new_connections { Reuse::OneMessage } else { Reuse::Session },
        rate_per_s: args.rate,
        duration: args.duration_s.map(Duration::from_secs),
        reconnects_max: args.reconnect,
        stall_max: Duration::from_secs(args.stall_s),
    };
    let report = Report::new(&run_id, source::latency_start(&load));
    let maker = Maker::new(
        Recipe {
            run_id,
            size_bytes: args.size,
            recipients: args.recipients,
            domains: args.domains,
            senders: args.senders,
            domain_suffix: args.domain_suffix,
        },
        date,
    );
    let ledger = Ledger::open(args.ledger.as_deref())?;
    let report = source::run(load, maker, ledger, report)?;
    println!("{}", report.json());
    println!("{report}");
    let answered = report.accepted + report.deferred + report.rejected;
    let complete = args.duration_s.is_some() || args.messages == Some(answered);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn balance(args: &BalanceArgs) -> Result<ExitCode, Error> {
    let mut books = balance::Books::default();
    args.sent.iter().try_for_each(|path| books.read_sent(path))?;
    args.delivered.iter().try_for_each(|path| books.read_delivered(path))?;
    args.queued.iter().try_for_each(|path| books.read_queued(path))?;
    args.bounced.iter().try_for_each(|path| books.read_bounced(path))?;
    let balance = books.balance();
    print!("{balance}");
    Ok(if balance.holds(args.duplicates_max) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn idle(args: &IdleArgs) -> Result<ExitCode, Error> {
    let all = idle::run(&idle::Idle {
        to: args.to,
        sessions: args.sessions,
        hold: Duration::from_secs(args.seconds),
        pid: args.pid,
    })?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A count of at least one.
fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or("a whole number from 1 up".to_owned())
}

fn sources(text: &str) -> Result<usize, String> {
    let sources = text.parse().ok().filter(|sources| *sources <= source::SOURCES_MAX);
    sources.ok_or(format!("a whole number from 0 to {}", source::SOURCES_MAX))
}

fn permille(text: &str) -> Result<u16, String> {
    let permille = text.parse().ok().filter(|permille| *permille <= 1000);
    permille.ok_or("a whole number from 0 to 1000".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or("a number above 0".to_owned())
}

/// Text that is safe in an address, a header, a ledger line and JSON.
fn word(text: &str) -> Result<String, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(safe) {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 letters, digits, '.', '_' or '-'".to_owned())
    }
}

/// A domain name that leaves room below it.
fn suffix(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(word(text)?).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}
