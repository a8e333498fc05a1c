//! The arguments of `baton-load sink`, and the server that they ask for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::session::{Greeting, Offer, Personality};
use super::{Dump, Service, Telling};
use crate::args::permille;
use crate::bind::Extent;
use crate::error::Error;
use crate::kernel;
use crate::ledger::Ledger;
use crate::loopback::Loopback;

#[derive(clap::Args)]
pub struct Args {
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
    /// Print totals every 250 ms and latencies at the end, as JSON for a program
    #[arg(long)]
    progress: bool,
}

pub fn run(args: Args) -> Result<ExitCode, Error> {
    let offer = |withheld| {
        if withheld { Offer::Withheld } else { Offer::Made }
    };
    kernel::raise_open_files(1 << 20);
    let service = Service {
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
        telling: if args.progress { Telling::Ticks } else { Telling::Summary },
    };
    let ledger = Ledger::open(args.ledger.as_deref())?;
    let dump = args.dump.as_deref().map(Dump::open).transpose()?;
    let sessions = Ledger::open(args.sessions.as_deref())?;
    super::run(service, ledger, sessions, dump)?;
    Ok(ExitCode::SUCCESS)
}
