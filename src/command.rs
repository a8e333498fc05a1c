//! What can be asked of `baton` on a command line.
//!
//! `run` and `check` read the configuration and say everything that is wrong with it at once, as
//! `file:line:column: what; allowed: ...`. `queue` asks a running relay over its admin API, which
//! it finds through the same configuration. `config explain` needs nothing.
//! Results go to standard output, everything else to standard error. A reader that has seen
//! enough (`| head`) is no failure.

use baton::config::{Config, ConfigError, explain};
use baton::control::client::{AdminClient, ClientError};
use baton::control::{QueueFilter, ROWS_DEFAULT, console};
use baton::event::QueueAction;
use baton::message::MessageId;
use baton::runtime::{self, Clock, say};
use baton::shard::operate::{Filter, SenderFilter};
use clap::{Args, Subcommand};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where a configuration is looked for when none is named; the first that exists.
const DEFAULT_PATHS: [&str; 2] = ["/etc/baton/baton.toml", "etc/baton.toml"];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the relay
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// Validate the configuration, then exit, as `check` does
        #[arg(long)]
        check: bool,
    },
    /// Validate the configuration and look for the files it names: prints each problem as
    /// file:line:column, exits with 2
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Look at the queue of a running relay, and change it
    Queue {
        #[command(subcommand)]
        question: QueueQuestion,
    },
    /// Learn about the configuration
    Config {
        #[command(subcommand)]
        question: ConfigQuestion,
    },
}

#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration [default: /etc/baton/baton.toml, then etc/baton.toml]
    #[arg(long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum QueueQuestion {
    /// List what waits
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only what goes to this domain
        #[arg(long, value_name = "D")]
        domain: Option<String>,
        /// Only what comes from this sender id or address
        #[arg(long, value_name = "S")]
        sender: Option<String>,
        /// Only what is held
        #[arg(long)]
        held: bool,
        /// Entries to list at most
        #[arg(long, value_name = "N", default_value_t = ROWS_DEFAULT)]
        limit: usize,
    },
    /// Show one message
    Show {
        #[command(flatten)]
        file: ConfigFile,
        id: MessageId,
    },
    /// Try again now what waits for a time
    Retry {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        target: QueueTarget,
    },
    /// Keep, and try no more until it is released
    Hold {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        target: QueueTarget,
    },
    /// Try again now what is held
    Release {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        target: QueueTarget,
    },
    /// Delete; nobody is notified, the log has a line for each
    Drop {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        target: QueueTarget,
    },
}

/// Which entries to change: those that match all that is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct QueueTarget {
    /// Only this message
    id: Option<MessageId>,
    /// Only what goes to this domain
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Only what comes from this sender id or address
    #[arg(long, value_name = "S")]
    sender: Option<String>,
    /// Everything in the queue
    #[arg(long, conflicts_with_all = ["id", "domain", "sender"])]
    all: bool,
}

impl QueueTarget {
    fn filter(self) -> Filter {
        // Clap lets nothing through that has neither a condition nor `--all`.
        let QueueTarget { id, domain, sender, all: _ } = self;
        let domain = domain.map(|domain| domain.to_lowercase().into());
        Filter { domain, sender: sender.as_deref().map(SenderFilter::new), id }
    }
}

#[derive(Debug, Subcommand)]
pub enum ConfigQuestion {
    /// Explain one knob or table, or all: what it is for, unit, default, range
    Explain { knob: Option<String> },
}

/// Ends with the given code; the reason has been printed.
struct Failed(ExitCode);

const FAILURE: u8 = 1;
const MISCONFIGURED: u8 = 2;

impl Failed {
    fn because(code: u8, reason: impl Display) -> Self {
        say(format_args!("baton: {reason}"));
        Failed(ExitCode::from(code))
    }
}

impl Command {
    pub fn execute(self) -> ExitCode {
        let done = match self {
            Command::Run { file, check: false } => run(&file),
            Command::Run { file, check: true } | Command::Check { file } => check(&file),
            Command::Queue { question } => queue(question),
            Command::Config { question: ConfigQuestion::Explain { knob } } => {
                explain(knob.as_deref())
                    .map_err(|reason| Failed::because(MISCONFIGURED, reason))
                    .and_then(|text| print(&text))
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failed(code)) => code,
        }
    }
}

fn run(file: &ConfigFile) -> Result<(), Failed> {
    let (path, config) = file.load()?;
    // The file that was found now, not what would be found then.
    let reread = Box::new(move || load(&path));
    runtime::run(config, reread).map_err(|error| Failed::because(FAILURE, error))
}

fn check(file: &ConfigFile) -> Result<(), Failed> {
    let (path, _) = file.load_with(|path| Config::load_trying(path, &machine_name(), &readable))?;
    print(&format!("{}: no problems found\n", path.display()))
}

fn queue(question: QueueQuestion) -> Result<(), Failed> {
    let failed = |error: ClientError| Failed::because(FAILURE, error);
    let now = Clock::start().stamp();
    match question {
        QueueQuestion::List { file, domain, sender, held, limit } => {
            let domain = domain.map(|domain| domain.to_lowercase().into());
            let filter = QueueFilter { domain, sender: sender.map(Into::into), held, limit };
            let list = admin(&file)?.queue_list(&filter).map_err(failed)?;
            print(&console::list(&list, now))
        }
        QueueQuestion::Show { file, id } => match admin(&file)?.queue_show(id).map_err(failed)? {
            Some(detail) => print(&console::show(&detail, now)),
            None => Err(Failed::because(FAILURE, format!("{id} is not in the queue"))),
        },
        QueueQuestion::Retry { file, target } => change(&file, QueueAction::Retry, target),
        QueueQuestion::Hold { file, target } => change(&file, QueueAction::Hold, target),
        QueueQuestion::Release { file, target } => change(&file, QueueAction::Release, target),
        QueueQuestion::Drop { file, target } => change(&file, QueueAction::Drop, target),
    }
}

fn change(file: &ConfigFile, action: QueueAction, target: QueueTarget) -> Result<(), Failed> {
    let changes = admin(file)?.queue_change(action, &target.filter());
    print(&console::changes(&changes.map_err(|error| Failed::because(FAILURE, error))?))
}

/// Asks the relay that `file` configures.
fn admin(file: &ConfigFile) -> Result<AdminClient, Failed> {
    let (_, config) = file.load()?;
    let token_file = config.admin.token_file.as_deref();
    AdminClient::new(config.admin.address, token_file)
        .map_err(|error| Failed::because(FAILURE, error))
}

impl ConfigFile {
    fn load(&self) -> Result<(PathBuf, Config), Failed> {
        self.load_with(load)
    }

    fn load_with(
        &self,
        load: impl FnOnce(&Path) -> Result<Config, ConfigError>,
    ) -> Result<(PathBuf, Config), Failed> {
        let path = self.find()?;
        match load(&path) {
            Ok(config) => Ok((path, config)),
            // Each problem begins with its place, so that an editor can jump there.
            Err(ConfigError::Invalid(problems)) => {
                problems.iter().for_each(say);
                Err(Failed(ExitCode::from(MISCONFIGURED)))
            }
            Err(error) => Err(Failed::because(MISCONFIGURED, error)),
        }
    }

    fn find(&self) -> Result<PathBuf, Failed> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let mut candidates = DEFAULT_PATHS.map(PathBuf::from).into_iter();
        candidates.find(|path| path.exists()).ok_or_else(|| {
            let places = DEFAULT_PATHS.join(" and ");
            let reason = format!("no configuration: looked for {places}; name one with --config");
            Failed::because(MISCONFIGURED, reason)
        })
    }
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load(path, &machine_name())
}

fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Only opens: what a file holds is looked at by whoever uses it, and a pipe can be read once.
fn readable(path: &Path) -> io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failed::because(FAILURE, format!("writing: {error}")))
        }
        _ => Ok(()),
    }
}
