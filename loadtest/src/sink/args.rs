//! The arguments of `baton-load sink`, and the server that they ask for.

use std::path::PathBuf;
use std::process::ExitCode;

use super::books::{Dump, Files};
use super::personality::{Life, Limit, Odds, Offer, Personality};
use super::session::World;
use super::sites::Sites;
use super::{Service, Telling, tls};
use crate::args::permille;
use crate::bind::Extent;
use crate::error::Error;
use crate::kernel;
use crate::ledger::Ledger;
use crate::loopback::Loopback;
use crate::profile::Profile;
use crate::profile::site::{Milliseconds, Slow, Tls};
use crate::profile::words::Replies;

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
    /// Append `serial TAB recipient` for each recipient that a notice (RFC 3464) calls failed,
    /// before the notice is answered; what `balance --bounced` reads
    #[arg(long, value_name = "FILE")]
    bounces: Option<PathBuf>,
    /// Let sites behave as this profile says: a file, or kind, bad-day, providers. The other
    /// arguments are for ordinary sites
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,
    /// Offer STARTTLS with a self-made certificate
    #[arg(long)]
    tls: bool,
    /// Offer STARTTLS with this certificate (chain), in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of --certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Wait before the final reply to each message
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u32,
    /// Of 1000 recipient addresses, how many do not exist (550, the same ones each time); not for
    /// notices, so that it is known what bounced
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
    /// Decides which site behaves how, which addresses do not exist, and all dice
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print totals every 250 ms and latencies at the end, as JSON for a program
    #[arg(long)]
    progress: bool,
}

pub fn run(args: Args) -> Result<ExitCode, Error> {
    kernel::raise_open_files(1 << 20);
    let profile = args.profile.as_deref().map(Profile::load).transpose()?;
    let ordinary = ordinary(&args);
    let sites = profile.map_or(Vec::new(), |profile| profile.sites);
    let shared =
        sites.into_iter().map(|site| (site.share.0, Personality::of(site, ordinary.tls))).collect();
    let sites = Sites::new(shared, ordinary, args.seed);
    let acceptor = match (&args.certificate, &args.key) {
        (Some(certificate), Some(key)) => Some(tls::from_files(certificate, key)?),
        _ if sites.all().iter().any(|site| site.tls == Tls::Works) => Some(tls::self_made()?),
        _ => None,
    };
    let service = Service {
        listen: args.listen,
        extent: if args.whole_loopback { Extent::Loopback } else { Extent::Address },
        world: World::new(sites, args.seed),
        acceptor,
        telling: if args.progress { Telling::Ticks } else { Telling::Summary },
    };
    let files = Files {
        ledger: Ledger::open(args.ledger.as_deref())?,
        sessions: Ledger::open(args.sessions.as_deref())?,
        bounces: Ledger::open(args.bounces.as_deref())?,
        dump: args.dump.as_deref().map(Dump::open).transpose()?,
    };
    super::run(service, files)?;
    Ok(ExitCode::SUCCESS)
}

/// What the arguments ask for, of sites that no profile speaks of.
fn ordinary(args: &Args) -> Personality {
    let offer = |withheld| {
        if withheld { Offer::Withheld } else { Offer::Made }
    };
    let kind = Personality::kind();
    let refusal = args.greeting.map(|code| {
        let words = match code {
            421 => "421 4.3.2 sink.test not now".to_owned(),
            code => format!("{code} sink.test takes no mail"),
        };
        Odds { share: 1000, replies: Replies::of(&words) }
    });
    let messages_max = (args.close_after > 0).then(|| Limit {
        count: args.close_after,
        replies: Replies::of("421 4.3.2 enough for one connection"),
    });
    Personality {
        life: if args.stall { Life::Silent } else { Life::Alive },
        session_refusal: refusal.unwrap_or(kind.session_refusal),
        messages_max,
        tls: if args.tls || args.certificate.is_some() { Tls::Works } else { Tls::None },
        chunking: offer(args.no_chunking),
        pipelining: offer(args.no_pipelining),
        unknown_user: Odds { share: args.reject_permille, ..kind.unknown_user },
        recipient_deferral: Odds { share: args.defer_permille, ..kind.recipient_deferral },
        slow: Slow { final_ms: Milliseconds(args.delay_ms), ..Slow::default() },
        ..kind
    }
}
