//! What can stop the load generator itself: one closed list, each with what was being done.
//!
//! A refused message or a lost connection is not in here: those are results that are counted and
//! reported. Never holds text that a peer sent, except the line of a ledger that is not one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::report;

/// What can stop a command. `Written` is all that is wrong with a file that somebody wrote, each
/// as `file:line: what is wrong; allowed: what is allowed`.
#[derive(Debug)]
pub enum Error {
    File {
        path: PathBuf,
        source: io::Error,
    },
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    /// A line names a message by its recipient alone, and several messages went to it.
    Ambiguous {
        recipient: String,
    },
    /// The certificate or key of a server cannot be used.
    Certificate {
        what: String,
    },
    LedgerLine {
        path: PathBuf,
        line: usize,
        text: String,
    },
    Report {
        path: PathBuf,
        wrong: report::file::Wrong,
    },
    Process {
        pid: u32,
        source: io::Error,
    },
    Command {
        program: String,
        source: io::Error,
    },
    Signals(io::Error),
    Executor(String),
    Written(Vec<String>),
    NoProfile {
        name: String,
        shipped: Vec<String>,
    },
    AuthInClear,
    /// SIGINT or SIGTERM came.
    Interrupted,
    /// A program that a run needs ended; `said` is the end of what it printed.
    Ended {
        program: String,
        said: String,
    },
    /// It lives, and does not do what it was to do.
    Waited {
        what: String,
        seconds: u64,
    },
    /// A queue there would cost nothing to sync.
    NoDisk {
        path: PathBuf,
        file_system: String,
    },
    NeedsRoot {
        program: &'static str,
    },
    Missing {
        program: PathBuf,
        remedy: &'static str,
    },
    /// Nobody can be told which mail is out of reach, nor asked how much of it there is, who is known
    /// by an address alone.
    CannotWait {
        scenario: String,
        relay: String,
    },
    /// Who is known by an address alone cannot say what it still holds, nor be told to try again.
    CannotAsk {
        scenario: String,
        relay: String,
    },
    /// Of the mail that a run needs in the queue.
    NotFilled {
        wanted: u64,
        accepted: u64,
        why: Option<String>,
    },
    /// A relay that was to show how fast it is did not do what it was to do.
    NoRate {
        relay: String,
        why: Vec<String>,
    },
    /// An answer of a relay's own interface.
    Answer {
        from: String,
        what: String,
    },
}

impl Error {
    /// An error about a file, for `map_err`.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File { path, source } => write!(out, "{}: {source}", path.display()),
            Error::Listen { address, source } => {
                write!(out, "cannot listen on {address}: {source}")
            }
            Error::Connect { address, source } => {
                write!(out, "cannot connect to {address}: {source}")
            }
            Error::Ambiguous { recipient } => write!(
                out,
                "several messages went to {recipient}, so a line with \"-\" instead of a serial \
                 does not say which is meant: balance one run at a time"
            ),
            Error::Certificate { what } => out.write_str(what),
            Error::LedgerLine { path, line, text } => {
                write!(out, "{}:{line}: not a ledger line: {text:?}", path.display())
            }
            Error::Report { path, wrong } => write!(out, "{}{}", path.display(), wrong.told()),
            Error::Process { pid, source } => write!(out, "process {pid}: {source}"),
            Error::Command { program, source } => write!(out, "cannot run {program}: {source}"),
            Error::Signals(source) => write!(out, "cannot wait for signals: {source}"),
            Error::Interrupted => out.write_str("interrupted"),
            Error::Ended { program, said } if said.is_empty() => {
                write!(out, "{program} ended at once and said nothing")
            }
            Error::Ended { program, said } => write!(out, "{program} ended:\n{said}"),
            Error::Waited { what, seconds } => write!(out, "waited {seconds} s in vain for {what}"),
            Error::NoDisk { path, file_system } => write!(
                out,
                "{} is on {file_system}, where nothing is synced to a disk and a queue costs \
                 nothing: --work names a folder on a real one",
                path.display()
            ),
            Error::NeedsRoot { program } => {
                write!(out, "{program} needs root: its master process changes users")
            }
            Error::Missing { program, remedy } => {
                write!(out, "{} is missing: {remedy}", program.display())
            }
            Error::CannotWait { scenario, relay } => write!(
                out,
                "{scenario} needs mail that waits in the queue, and {relay} cannot be told to let \
                 any wait; allowed there: baton, postfix"
            ),
            Error::CannotAsk { scenario, relay } => write!(
                out,
                "{scenario} has mail wait with the relay, and {relay} can neither be asked what it \
                 holds nor be told to try again; allowed there: baton, postfix"
            ),
            Error::NotFilled { wanted, accepted, why } => {
                write!(out, "of {wanted} messages that were to wait, {accepted} were accepted")?;
                why.as_ref().map_or(Ok(()), |why| write!(out, ": {why}"))
            }
            Error::NoRate { relay, why } => {
                let why = why.join("; ");
                write!(out, "{relay} was tried to find a rate, and that run failed: {why}")
            }
            Error::Answer { from, what } => write!(out, "{from} answered {what}"),
            Error::Executor(what) => write!(out, "cannot start the io_uring executor: {what}"),
            Error::Written(problems) => out.write_str(&problems.join("\n")),
            Error::NoProfile { name, shipped } => {
                let shipped = shipped.join("\n  ");
                write!(out, "no profile {name:?}; allowed: the path of a file, or\n  {shipped}")
            }
            Error::AuthInClear => out.write_str(
                "--auth would send a password in clear text; allowed: with --tls starttls, with \
                 --tls implicit, or with --auth-in-clear",
            ),
        }
    }
}

impl std::error::Error for Error {}
