//! The arguments of `baton-load send`, and the load that they ask for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::arrivals::Arrivals;
use super::login::Login;
use super::report::{Report, Told};
use super::stream::{Security, Tls};
use super::transaction::Pace;
use super::{Load, Pressure, Reuse, SOURCES_MAX, Telling};
use crate::args::{positive, rate, word};
use crate::error::Error;
use crate::kernel;
use crate::ledger::Ledger;
use crate::loopback::Loopback;
use crate::message::{Framing, Maker, Recipe};
use crate::profile::mail::{BYTES_MAX, CROWD_MAX, Mixture};
use crate::profile::{self, Profile};
use crate::progress::{self, Finish, Line};

#[derive(clap::Args)]
pub struct Args {
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
    /// What to send: the name of a profile that is built in (small, hosting-day; any other name
    /// lists them all), or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = profile::DEFAULT)]
    profile: String,
    /// Length of a message, header included, whatever the profile says (small: 4096)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(..=BYTES_MAX))]
    size: Option<u64>,
    /// Recipients of a message, whatever the profile says (small: 1)
    #[arg(long, value_name = "R", value_parser = positive)]
    recipients: Option<usize>,
    /// Recipient domains, d0.SUFFIX, d1.SUFFIX, ..., whatever the profile says (small: 10)
    #[arg(long, value_name = "D", value_parser = crowd)]
    domains: Option<u64>,
    /// What all domain names end in
    #[arg(long, value_name = "NAME", default_value = "x.test", value_parser = word)]
    domain_suffix: String,
    /// Different senders, each of its own domain, c0.SUFFIX, c1.SUFFIX, ..., whatever the profile
    /// says (small: 10)
    #[arg(long, value_name = "K", value_parser = crowd)]
    senders: Option<u64>,
    /// Decides every draw: the same seed makes the same messages
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
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
    /// How messages follow each other in an open loop
    #[arg(long, value_enum, default_value_t = Arrivals::Fixed, requires = "rate")]
    arrivals: Arrivals,
    /// When TLS begins; any certificate will do
    #[arg(long, value_enum, default_value_t = Tls::None)]
    tls: Tls,
    /// Log in with AUTH PLAIN; needs --tls
    #[arg(long, value_name = "USER:PASSWORD", value_parser = Login::parse)]
    auth: Option<Login>,
    /// Log in as the users of a file, USER:PASSWORD in each line; sessions take them in turn
    #[arg(long, value_name = "FILE", conflicts_with = "auth")]
    auth_file: Option<PathBuf>,
    /// Log in without TLS too
    #[arg(long)]
    auth_in_clear: bool,
    /// Append a line for each message and recipient, as soon as the answer is read
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// First part of every serial; by default the time, so that runs differ
    #[arg(long, value_name = "TEXT", value_parser = word)]
    run_id: Option<String>,
    /// Stop after so many seconds; in an open loop once all that was due by then is sent
    #[arg(long, value_name = "SECONDS")]
    duration_s: Option<u64>,
    /// Connect again when a connection is lost, trying so often at 50 ms
    #[arg(long, value_name = "TRIES", num_args = 0..=1, default_value_t = 0)]
    #[arg(default_missing_value = "600")]
    reconnect: u32,
    /// Give up when no message under way is answered for so long, and on those that were due so
    /// long after --duration-s
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    stall_s: u64,
    /// Print totals every 250 ms and latencies in full, as JSON for a program
    #[arg(long)]
    progress: bool,
}

pub fn run(args: Args) -> Result<ExitCode, Error> {
    kernel::raise_open_files(args.sessions as u64 + 64);
    let mixture = mixture(&args)?;
    let load = load(&args)?;
    let duration = load.duration;
    let now = jiff::Zoned::now();
    let date = jiff::fmt::rfc2822::to_string(&now).expect("the present year has four digits");
    let run_id = args.run_id.clone().unwrap_or_else(|| now.strftime("%m%d%H%M%S").to_string());
    let report = Report::new(&run_id, super::latency_start(&load));
    let (domain_suffix, seed) = (args.domain_suffix, args.seed);
    let maker = Maker::new(Recipe { run_id, domain_suffix, seed, mixture, date });
    let ledger = Ledger::open(args.ledger.as_deref())?;
    let report = super::run(load, maker, ledger, report)?;
    let mut summary = report.summary();
    if args.progress {
        summary.latency_buckets = report.latencies.buckets();
        summary.refusal_latency_buckets = report.refusal_latencies.buckets();
        progress::print(&Line::Sent(summary));
    } else {
        println!("{}", serde_json::to_string(&summary).expect("a summary is JSON"));
        println!("{}", Told(&summary));
    }
    let wanted = Wanted { messages: args.messages, sessions: args.sessions, duration };
    Ok(if wanted.is_done(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a run was asked for.
struct Wanted {
    messages: Option<u64>,
    sessions: usize,
    duration: Option<Duration>,
}

impl Wanted {
    fn is_done(&self, report: &Report) -> bool {
        if report.never_sent > 0 || report.finish == Finish::Stalled {
            return false;
        }
        if self.messages == Some(report.answered()) {
            return true;
        }
        // Time ended it: of a relay that still answered, and not because nobody was left to send.
        let heard = report.sent == 0 || report.answered() > 0;
        self.duration.is_some() && heard && report.sessions_given_up < self.sessions as u64
    }
}

/// The profile's, but for what the other arguments say.
fn mixture(args: &Args) -> Result<Mixture, Error> {
    let mut mixture = Profile::load(&args.profile)?.mail;
    if let Some(bytes) = args.size {
        mixture.fix_size(bytes);
    }
    if let Some(recipients) = args.recipients {
        mixture.fix_recipients(recipients as u64);
    }
    if let Some(domains) = args.domains {
        mixture.domains.count = domains;
    }
    if let Some(senders) = args.senders {
        mixture.senders.count = senders;
    }
    Ok(mixture)
}

fn load(args: &Args) -> Result<Load, Error> {
    let mut logins = Vec::from_iter(args.auth.clone());
    if let Some(path) = &args.auth_file {
        logins = Login::read_file(path)?;
    }
    if !logins.is_empty() && args.tls == Tls::None && !args.auth_in_clear {
        return Err(Error::AuthInClear);
    }
    Ok(Load {
        to: args.to,
        messages: args.messages.unwrap_or(u64::MAX),
        sessions: args.sessions,
        sources: args.from_addresses,
        framing: if args.chunking { Framing::Chunk } else { Framing::Dots },
        pace: if args.pipelining { Pace::Pipelined } else { Pace::Lockstep },
        reuse: if args.new_connections { Reuse::OneMessage } else { Reuse::Session },
        security: Security::new(args.tls),
        logins,
        pressure: match args.rate {
            None => Pressure::FreeSession,
            Some(per_s) => Pressure::Due { per_s, arrivals: args.arrivals, seed: args.seed },
        },
        duration: args.duration_s.map(Duration::from_secs),
        reconnects_max: args.reconnect,
        stall_max: Duration::from_secs(args.stall_s),
        telling: if args.progress { Telling::Ticks } else { Telling::Nothing },
    })
}

/// Bounds the memory that drawing from them takes.
fn crowd(text: &str) -> Result<u64, String> {
    let crowd = text.parse().ok().filter(|crowd| (1..=CROWD_MAX).contains(crowd));
    crowd.ok_or(format!("a whole number from 1 to {CROWD_MAX}"))
}

fn sources(text: &str) -> Result<usize, String> {
    let sources = text.parse().ok().filter(|sources| *sources <= SOURCES_MAX);
    sources.ok_or(format!("a whole number from 0 to {}", SOURCES_MAX))
}
