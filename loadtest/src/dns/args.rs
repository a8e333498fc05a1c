//! The arguments of `baton-load dns`, and the server that they ask for.

use std::process::ExitCode;
use std::time::Duration;

use hickory_proto::rr::Name;

use super::Service;
use super::answer::Faults;
use super::zone::{Addresses, Families, Zone};
use crate::args::{permille, suffix};
use crate::error::Error;
use crate::kernel;
use crate::loopback::Loopback;

#[derive(clap::Args)]
pub struct Args {
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

pub fn run(args: Args) -> Result<ExitCode, Error> {
    kernel::raise_open_files(1 << 14);
    super::run(Service {
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
