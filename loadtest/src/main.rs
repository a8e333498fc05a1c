//! `baton-load`: puts load on an SMTP relay of this host, and proves what became of it.
//!
//! ```text
//! send --> relay under test --> sink      two ledgers, written before each next word on the wire
//!   |                            |
//!   +------> balance <-----------+        lost, duplicated, damaged?
//! dns          which leads the relay to the sink      idle, cpu: the price of a session, a message
//! run          starts all of these and the relay, for named loads, and makes a report
//! report, compare: what runs came to
//! ```
//! Each command has its arguments beside it; this file only picks one. Exit codes: 0 as asked, 1
//! the run or the balance failed, 2 a mistake in the arguments or the surroundings. Never leaves
//! the loopback interface (`loopback.rs`).

#![expect(clippy::disallowed_methods, reason = "a load generator measures the real clock")]

mod args;
mod balance;
mod bind;
mod cpu;
mod dns;
mod error;
mod idle;
mod kernel;
mod latency;
mod ledger;
mod loopback;
mod message;
mod process;
mod profile;
mod progress;
mod report;
mod run;
mod send;
mod signals;
mod sink;

use std::panic;
use std::process::{ExitCode, abort};

use clap::{Parser, Subcommand};

/// Load generator for SMTP relays on this host: source, sink, and the ledgers between them.
#[derive(Parser)]
#[command(name = "baton-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Accept mail, or refuse it as a profile says, and keep a ledger of it, until SIGTERM
    Sink(sink::args::Args),
    /// Answer DNS queries for a fake internet whose MX hosts are on this host, until SIGTERM
    Dns(dns::args::Args),
    /// Send messages over many sessions and keep a ledger of the answers
    Send(Box<send::args::Args>),
    /// Compare what was sent with what arrived; exit 1 if anything is missing or corrupt
    Balance(balance::Args),
    /// Hold idle sessions and measure what they cost a process
    Idle(idle::Args),
    /// Measure the CPU time a process uses while a command runs
    Cpu(cpu::Args),
    /// Print a report again, or make a page of it
    Report(report::args::Report),
    /// Compare two reports; with --worse, exit 1 if the second is
    Compare(report::args::Compare),
    /// Put relays under named loads, in turns, and report rates, latencies, costs and the balance
    Run(run::args::Args),
}

fn main() -> ExitCode {
    // One that went on without the task that panicked would tell of a relay what is its own fault.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        abort();
    }));
    let done = match Cli::parse().command {
        Command::Sink(args) => sink::args::run(args),
        Command::Dns(args) => dns::args::run(args),
        Command::Send(args) => send::args::run(*args),
        Command::Balance(args) => balance::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Cpu(args) => cpu::run(args),
        Command::Report(args) => report::args::report(&args),
        Command::Compare(args) => report::args::compare_two(&args),
        Command::Run(args) => run::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("baton-load: {error}");
        ExitCode::from(2)
    })
}
