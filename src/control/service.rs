//! The control side as a whole: start, the handles that others take, stop.
//!
//! Owns two threads: `baton-log` writes events ([`super::journal`]), `baton-admin` serves the admin
//! port on a tokio runtime ([`super::admin`]). Everything that can be wrong with the configuration
//! is found before a thread starts, as an error that names the remedy. It starts before the store
//! opens, so that `/readyz` can say "starting" while the queue is recovered.
//!
//! Handles no signals: the runtime does, and calls [`Control::reopen_log`] and [`Control::stop`].

use super::access::{Access, BadToken, Token};
use super::admin;
use super::api::Site;
use super::gauges::Gauges;
use super::journal::{EventSender, Journal, Writer};
use super::log_file::{LogFile, LogTarget};
use super::meters::{Durability, Meters};
use super::status::Status;
use super::view::{QueueOperator, QueueView};
use crate::event::Level;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::watch;

/// Threads that read the queue for people.
const READERS_MAX: usize = 2;
/// How long the last lines may take to be written before they are given up.
const LAST_LINES_SECONDS_MAX: Duration = Duration::from_secs(5);

/// What the configuration says about control.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// `admin.address`; port 0 lets the kernel choose, see [`Control::address`].
    pub address: SocketAddr,
    /// `admin.token_file`
    pub token_file: Option<PathBuf>,
    /// `log.path`
    pub log: LogTarget,
    pub shards: u16,
    pub durability: Durability,
}

/// Why control cannot start or end.
#[derive(Debug)]
pub enum ControlError {
    AddressTaken(SocketAddr),
    Bind(SocketAddr, io::Error),
    Log(PathBuf, io::Error),
    Token(PathBuf, BadToken),
    /// The kernel gives no thread or no event queue.
    Resources(io::Error),
    /// The log takes no lines and the last ones were given up.
    LogStuck,
    /// A thread of ours panicked.
    Panicked,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::AddressTaken(address) => write!(
                f,
                "admin.address {address} is taken: stop what listens there (`ss -ltnp`), perhaps \
                 another baton, or choose another address"
            ),
            ControlError::Bind(address, error) => write!(
                f,
                "admin.address {address}: {error}; allowed: an address of this machine, with a \
                 port above 1023 unless baton may bind lower ones"
            ),
            ControlError::Log(path, error) => write!(
                f,
                "log.path {}: {error}; allowed: a file that baton may write, or \"-\" for \
                 standard output",
                path.display()
            ),
            ControlError::Token(path, error) => {
                write!(f, "admin.token_file {}: {error}", path.display())
            }
            ControlError::Resources(error) => write!(
                f,
                "cannot start a thread: {error}; look at the limits on tasks and open files \
                 (TasksMax, LimitNOFILE)"
            ),
            ControlError::LogStuck => {
                f.write_str("log.path takes no more lines; the last events are not in it")
            }
            ControlError::Panicked => f.write_str("a thread of control ended by panic"),
        }
    }
}

impl std::error::Error for ControlError {}

/// The running control side. Dropping it stops it.
pub struct Control {
    address: SocketAddr,
    journal: Arc<Journal>,
    site: Arc<Site>,
    /// `None` once stopped.
    threads: Option<Threads>,
}

struct Threads {
    log: JoinHandle<()>,
    /// Closed when the log thread ends.
    log_ended: mpsc::Receiver<()>,
    admin: JoinHandle<()>,
    stop_admin: watch::Sender<()>,
}

impl Control {
    /// Opens the log, binds the port, starts both threads.
    pub fn start(options: ControlOptions) -> Result<Control, ControlError> {
        let ControlOptions { address, token_file, log, shards, durability } = options;
        let token = token_file.map(|path| match Token::read(&path) {
            Ok(token) => Ok(token),
            Err(bad) => Err(ControlError::Token(path, bad)),
        });
        let token = token.transpose()?;
        let log = open_log(log)?;
        let (listener, address) = bind(address)?;
        let meters = Arc::new(Meters::new(durability));
        let journal = Arc::new(Journal::new(Arc::clone(&meters)));
        let site = Arc::new(Site {
            meters,
            gauges: (0..shards).map(|_| Arc::new(Gauges::default())).collect(),
            status: Arc::new(Status::default()),
            view: OnceLock::new(),
            operator: OnceLock::new(),
            access: Access::new(token, address),
        });
        // The fallible thread first: should the other fail to start, this one ends with its
        // channel.
        let (stop_admin, stop) = watch::channel(());
        let admin = spawn_admin(listener, Arc::clone(&site), stop)?;
        let (running, log_ended) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&journal), log);
        let log = thread::Builder::new().name("baton-log".into()).spawn(move || {
            let _running = running;
            writer.run();
        });
        let log = log.map_err(ControlError::Resources)?;
        let threads = Some(Threads { log, log_ended, admin, stop_admin });
        Ok(Control { address, journal, site, threads })
    }

    /// Where the admin port listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn events(&self) -> EventSender {
        EventSender(Arc::clone(&self.journal))
    }

    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.site.meters)
    }

    /// The numbers of one shard, for that shard to set.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn gauges(&self, shard: u16) -> Arc<Gauges> {
        Arc::clone(&self.site.gauges[usize::from(shard)])
    }

    /// Where phase, disk and store failures are reported.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.site.status)
    }

    /// Opens the queue to `/api/v1/queue`, which answers 503 until then.
    ///
    /// # Panics
    /// When called twice.
    pub fn show_queue(&self, view: Arc<dyn QueueView>) {
        assert!(self.site.view.set(view).is_ok(), "there is one queue");
    }

    /// Lets `/api/v1/queue/ACTION` change the queue, which answers 503 until then.
    ///
    /// # Panics
    /// When called twice.
    pub fn operate_queue(&self, operator: Arc<dyn QueueOperator>) {
        assert!(self.site.operator.set(operator).is_ok(), "there is one queue");
    }

    /// Events sent after this call go to a newly opened `log.path` (for SIGHUP, after a rotation).
    pub fn reopen_log(&self) {
        self.journal.ask_to_reopen();
    }

    /// Events below `level` are counted and not written; [`Level::Info`] until this is called.
    pub fn set_log_level(&self, level: Level) {
        self.journal.write_from(level);
    }

    /// Writes every event sent before this call, finishes answers under way, joins both threads.
    pub fn stop(mut self) -> Result<(), ControlError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), ControlError> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        threads.stop_admin.send_replace(());
        self.journal.ask_to_stop();
        threads.log.thread().unpark();
        // A log on a dead network disk hangs in a write for ever; the process must end all the
        // same.
        let log_ended = threads.log_ended.recv_timeout(LAST_LINES_SECONDS_MAX);
        let admin = threads.admin.join().map_err(|_| ControlError::Panicked);
        if log_ended == Err(RecvTimeoutError::Timeout) {
            return Err(ControlError::LogStuck);
        }
        threads.log.join().map_err(|_| ControlError::Panicked)?;
        admin
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls `stop`.
        let _ = self.halt();
    }
}

fn open_log(target: LogTarget) -> Result<LogFile, ControlError> {
    let path = match &target {
        LogTarget::Stdout => PathBuf::from("-"),
        LogTarget::File(path) => path.clone(),
    };
    LogFile::open(target).map_err(|error| ControlError::Log(path, error))
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ControlError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    listen().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ControlError::AddressTaken(address),
        _ => ControlError::Bind(address, error),
    })
}

fn spawn_admin(
    listener: TcpListener,
    site: Arc<Site>,
    stop: watch::Receiver<()>,
) -> Result<JoinHandle<()>, ControlError> {
    let start = || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(READERS_MAX)
            .thread_name("baton-reader")
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        thread::Builder::new().name("baton-admin".into()).spawn(move || {
            runtime.block_on(admin::serve(listener, site, stop));
            runtime.shutdown_timeout(admin::FAREWELL_MILLIS_MAX);
        })
    };
    start().map_err(ControlError::Resources)
}
