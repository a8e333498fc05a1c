//! The arguments of `baton-load send`, and the load that they ask for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::report::{Report, Told};
use super::transaction::Pace;
use super::{Load, Reuse, SOURCES_MAX, Telling};
use crate::args::{positive, rate, word};
use crate::error::Error;
use crate::kernel;
use crate::ledger::Ledger;
use crate::loopback::Loopback;
use crate::message::{Framing, Maker, Recipe};
use crate::progress::{self, Line};

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
    /// Print totals every 250 ms and latencies in full, as JSON for a program
    #[arg(long)]
    progress: bool,
}

pub fn run(args: Args) -> Result<ExitCode, Error> {
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
        telling: if args.progress { Telling::Ticks } else { Telling::Nothing },
    };
    let report = Report::new(&run_id, super::latency_start(&load));
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
    let report = super::run(load, maker, ledger, report)?;
    let mut summary = report.summary();
    if args.progress {
        summary.latency_buckets = report.latencies.buckets();
        progress::print(&Line::Sent(summary));
    } else {
        println!("{}", serde_json::to_string(&summary).expect("a summary is JSON"));
        println!("{}", Told(&summary));
    }
    let complete = args.duration_s.is_some() || args.messages == Some(report.answered());
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sources(text: &str) -> Result<usize, String> {
    let sources = text.parse().ok().filter(|sources| *sources <= SOURCES_MAX);
    sources.ok_or(format!("a whole number from 0 to {}", SOURCES_MAX))
}
