//! The process from start to stop.
//!
//! Start: look at the machine, bind the ports, open control and the store, start the committer and
//! then the shards. What waits on disk is read beside the mail (`recovery.rs`), because reading
//! millions of keys takes seconds. A port or a right that is missing is found before the store opens.
//! Reload, on SIGHUP: the log is reopened and the configuration read again; what of it can be used
//! now goes to every shard, and a file with problems changes nothing.
//! Stop, on a signal: the shards end their sessions and deliveries within `shutdown_grace`, then
//! the committer writes and syncs what is queued, then control writes its last line.
//! A failed store stops the same way, but as an error: the shards answer 4xx until they have ended,
//! and nothing is written any more.
//!
//! Prints `listening ADDRESS` and `admin ADDRESS` lines on standard error, once each can be
//! connected to: a script that asked for port 0 learns the port there.

use super::balance::{Balance, Message};
use super::checks::{self, CheckError, Facts, Plan};
use super::clock::Clock;
use super::listen::{self, Bound, ListenError};
use super::observer::Observer;
use super::panics;
use super::passwords::PasswordDesk;
use super::queue_view::StoreView;
use super::recovery::Recovery;
use super::resolv_conf;
use super::say::say;
use super::signals::{self, Request};
use super::thread::ShardThread;
use super::tls::{Doors, TlsError};
use super::world::Ground;
use crate::accept::Admission;
use crate::config::{Config, ConfigError, Durability, LogLevel, LogPath, Reloaded};
use crate::control::{
    self, Control, ControlError, ControlOptions, LogTarget, Phase, QueueOperator,
};
use crate::event::{Event, Level};
use crate::message::MessageId;
use crate::shard::Place;
use crate::shard::resolve::Names;
use crate::store::{
    self, Committer, CommitterThread, Readers, Store, StoreError, StoreOptions, Totals, Upgraded,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads that wait for the disk. Two, so that a page and a message are read at once; not pinned, because
/// they would then take turns with a shard.
const READERS_PER_SHARD: usize = 2;
/// What a shard may need beyond the grace to notice that it is over.
const GRACE_MARGIN: Duration = Duration::from_secs(5);

/// What other threads tell the main one.
#[derive(Debug)]
pub enum Notice {
    /// A shard serves.
    Ready,
    /// A shard could not start.
    Failed {
        shard: u16,
        words: String,
    },
    /// A shard has stopped and left so many entries on disk.
    Ended {
        queued: Option<u64>,
    },
    /// The store takes nothing more.
    Poisoned,
    /// What waits on disk cannot be read to its end.
    Unread(StoreError),
    Stop(&'static str),
    /// Reopen the log and read the configuration again.
    Reload,
}

/// Reads again the file that the configuration came from.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError>>;

/// Runs the relay until a signal stops it.
///
/// # Errors
/// Why it could not start, or why it could not go on.
pub fn run(mut config: Config, reread: Reread) -> Result<(), StartError> {
    panics::install();
    let clock = Clock::start();
    let facts = Facts::gather();
    let plan = checks::check(&config, &facts)?;
    warn(&plan);
    config.limits.sessions_max = plan.sessions_max;
    // Makes it, and syncs its name; what is made by others is not synced.
    store::prepare(&config.data_dir)?;
    checks::check_data_dir(&config.data_dir)?;
    checks::check_sources(&config.sources)?;
    let bound = listen::bind(&config.listeners, plan.cores.len())?;
    let doors = Doors::open(&config)?;
    let control = Control::start(control_options(&config, plan.cores.len()))?;
    control.set_log_level(log_level(&config));
    let (sender, notices) = mpsc::channel();
    let told = sender.clone();
    let tell = move |request| {
        // Nobody hears it only when the process is ending anyway.
        drop(told.send(match request {
            Request::Stop(signal) => Notice::Stop(signal),
            Request::Reload => Notice::Reload,
        }));
    };
    signals::watch(tell).map_err(StartError::Thread)?;
    let config = Arc::new(config);
    let parts = Parts { config, reread, clock, facts, plan, doors, control, sender };
    let mut relay = parts.start(bound, notices)?;
    let ending = relay.serve();
    relay.stop(ending)
}

fn warn(plan: &Plan) {
    for warning in &plan.warnings {
        say(format_args!("baton: warning: {warning}"));
    }
}

fn log_level(config: &Config) -> Level {
    match config.log.level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
    }
}

fn control_options(config: &Config, shards: usize) -> ControlOptions {
    ControlOptions {
        address: config.admin.address,
        token_file: config.admin.token_file.clone(),
        log: match &config.log.path {
            LogPath::Stdout => LogTarget::Stdout,
            LogPath::File(path) => LogTarget::File(path.clone()),
        },
        shards: shards as u16,
        durability: match config.durability {
            Durability::Fsync => control::Durability::Fsync,
            Durability::Os => control::Durability::Os,
        },
    }
}

fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        sync: config.durability == Durability::Fsync,
        memtable_bytes: config.disk.memtable_bytes,
        wal_recycle: config.disk.wal_recycle as usize,
        free_bytes_min: config.disk.free_bytes_min,
        commit_bytes_max: config.memory.commit_bytes_max,
    }
}

/// What is there before the store is opened.
struct Parts {
    config: Arc<Config>,
    reread: Reread,
    clock: Clock,
    facts: Facts,
    plan: Plan,
    doors: Arc<Doors>,
    control: Control,
    sender: Sender<Notice>,
}

impl Parts {
    fn emit(&self, event: Event) {
        self.control.events().send(self.clock.stamp(), None, event);
    }

    fn start(self, bound: Vec<Bound>, notices: Receiver<Notice>) -> Result<Relay, StartError> {
        let store = Store::open(&self.config.data_dir, &store_options(&self.config))?;
        self.tell_repairs(&store);
        let newest = store.newest()?;
        let balance = Balance::new(self.plan.cores.len());
        let recovery = self.recover(&store, &balance).map_err(StartError::Thread)?;
        store.count_messages().map_err(StartError::Thread)?;
        self.control.show_queue(Arc::new(StoreView::new(store.clone())));
        let observer = Observer::new(self.clock, &self.control, self.sender.clone());
        let (committer, committer_thread) = Committer::start(store.clone(), observer)?;
        let door = committer.clone();
        let readers = Readers::start(&store, READERS_PER_SHARD * self.plan.cores.len());
        let ground = Ground {
            clock: self.clock,
            store,
            readers: readers.map_err(StartError::Thread)?,
            committer,
            passwords: PasswordDesk::start(self.plan.cores.len()).map_err(StartError::Thread)?,
            events: self.control.events(),
            doors: Arc::clone(&self.doors),
        };
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
        let threads = self.start_shards(&ground, &balance, bound, newest)?;
        let (mut ready, mut reload) = (0, false);
        while ready < threads.len() {
            match notices.recv().expect("we hold a sender") {
                Notice::Failed { shard, words } => return Err(StartError::Shard { shard, words }),
                Notice::Poisoned => return Err(StartError::Poisoned),
                Notice::Unread(error) => return Err(error.into()),
                Notice::Stop(_) => return Err(StartError::Stopped),
                Notice::Ready => ready += 1,
                Notice::Reload => reload = true,
                Notice::Ended { .. } => {}
            }
        }
        if reload {
            // It came too early for the shards: it is done when they serve.
            self.sender.send(Notice::Reload).expect("`notices` is here");
        }
        let operator: Arc<dyn QueueOperator> = Arc::<Balance>::clone(&balance);
        self.control.operate_queue(operator);
        self.greet(&addresses);
        let parts = self;
        Ok(Relay { parts, committer: door, committer_thread, balance, recovery, threads, notices })
    }

    /// What opening the store had to do about its files.
    fn tell_repairs(&self, store: &Store) {
        for words in store.gaps() {
            self.emit(Event::RecordDamaged { id: None, words: words.clone() });
            say(format_args!(
                "baton: warning: the write-ahead log was not read to its end: {words}; after a \
                 power failure that is the torn tail, else mail is missing: compare the event log"
            ));
        }
        if let Some(&Upgraded { from, entries, damaged }) = store.upgraded() {
            self.emit(Event::StoreUpgraded { from, entries, damaged });
        }
    }

    fn recover(&self, store: &Store, balance: &Arc<Balance>) -> io::Result<Recovery> {
        let (clock, began, events) = (self.clock, self.clock.moment(), self.control.events());
        let (gaps, sender) = (store.gaps().len() as u64, self.sender.clone());
        let tell = move |read| match read {
            Ok(Totals { entries, domains, damaged }) => {
                let millis = clock.moment().since(began).as_millis() as u64;
                let damaged = damaged + gaps;
                let event = Event::QueueRecovered { entries, domains, damaged, millis };
                events.send(clock.stamp(), None, event);
            }
            // Nobody hears it only when the process is ending anyway.
            Err(error) => drop(sender.send(Notice::Unread(error))),
        };
        Recovery::start(store, balance, self.plan.cores.len(), tell)
    }

    fn start_shards(
        &self,
        ground: &Ground,
        balance: &Arc<Balance>,
        mut bound: Vec<Bound>,
        newest: Option<MessageId>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let admission = Arc::new(Mutex::new(Admission::new(&self.config.limits)));
        let dns = &self.config.dns;
        let servers = match dns.servers.is_empty() {
            true => resolv_conf::servers(),
            false => dns.servers.clone(),
        };
        let names = Names::new(servers, dns.cache_bytes_max);
        let count = self.plan.cores.len() as u16;
        let mut threads = Vec::with_capacity(usize::from(count));
        for index in 0..count {
            let sockets = bound.iter_mut().map(|one| one.sockets.pop().expect("one per shard"));
            let shard = ShardThread {
                place: Place { index, count },
                core: self.plan.cores[usize::from(index)],
                config: Arc::clone(&self.config),
                ground: ground.clone(),
                admission: Arc::clone(&admission),
                names: names.clone(),
                newest,
                sockets: sockets.collect(),
                balance: Arc::clone(balance),
                gauges: self.control.gauges(index),
                notices: self.sender.clone(),
            };
            threads.push(shard.start().map_err(StartError::Thread)?);
        }
        Ok(threads)
    }

    fn greet(&self, addresses: &[SocketAddr]) {
        self.emit(Event::ServerStarted {
            version: env!("CARGO_PKG_VERSION"),
            shards: self.plan.cores.len() as u16,
            durability: match self.config.durability {
                Durability::Fsync => "fsync",
                Durability::Os => "os",
            },
        });
        self.control.status().enter(Phase::Serving);
        say(format_args!("admin {}", self.control.address()));
        for address in addresses {
            say(format_args!("listening {address}"));
        }
    }
}

/// The relay at work.
struct Relay {
    parts: Parts,
    committer: Committer,
    committer_thread: CommitterThread,
    balance: Arc<Balance>,
    recovery: Recovery,
    threads: Vec<JoinHandle<()>>,
    notices: Receiver<Notice>,
}

/// Why the relay stops.
#[derive(Debug)]
enum Ending {
    Asked,
    Poisoned,
    Unread(StoreError),
}

impl Relay {
    fn serve(&mut self) -> Ending {
        loop {
            match self.notices.recv().expect("we hold a sender") {
                Notice::Reload => {
                    self.parts.control.reopen_log();
                    self.reload();
                }
                Notice::Stop(signal) => {
                    self.parts.emit(Event::ServerStopping { signal });
                    return Ending::Asked;
                }
                Notice::Poisoned => return Ending::Poisoned,
                Notice::Unread(error) => return Ending::Unread(error),
                Notice::Ready | Notice::Failed { .. } | Notice::Ended { .. } => {}
            }
        }
    }

    /// Goes on by what the file says now, as far as that can be without a restart.
    fn reload(&mut self) {
        let running = &self.parts.config;
        match (self.parts.reread)().and_then(|new| running.reloaded(new)) {
            Ok(reloaded) => self.apply(reloaded),
            Err(error) => {
                let problems = error.lines();
                say("baton: SIGHUP: the configuration was refused, the one before stays in use:");
                problems.iter().for_each(say);
                self.parts.emit(Event::ConfigRejected {
                    problems: problems.len() as u32,
                    first: problems[0].as_str().into(),
                });
            }
        }
    }

    fn apply(&mut self, reloaded: Reloaded) {
        let Reloaded { mut config, changed, waiting } = reloaded;
        // A file that asks for more than the machine gives is obeyed with a warning, as at start.
        if let Ok(plan) = checks::check(&config, &self.parts.facts) {
            warn(&plan);
            config.limits.sessions_max = plan.sessions_max;
        }
        let config = Arc::new(config);
        let (applied, all_applied) = mpsc::channel();
        for shard in 0..self.threads.len() {
            let (config, applied) = (Arc::clone(&config), applied.clone());
            self.balance.inbox(shard).push(Message::Reload { config, applied });
        }
        self.committer.set_free_bytes_min(config.disk.free_bytes_min);
        self.parts.control.set_log_level(log_level(&config));
        self.parts.config = config;
        drop(applied);
        // Who reads the event may rely on it. A shard that is stuck is not waited for: it must not
        // keep us from hearing a signal to stop.
        match all_applied.recv_timeout(GRACE_MARGIN) {
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
            Ok(never) => match never {},
        }
        let names = |names: Vec<String>| names.into_iter().map(Into::into).collect();
        let (changed, waiting) = (names(changed), names(waiting));
        self.parts.emit(Event::ConfigReloaded { changed, waiting });
    }

    fn stop(self, ending: Ending) -> Result<(), StartError> {
        self.parts.control.status().enter(Phase::Stopping);
        for shard in 0..self.threads.len() {
            self.balance.inbox(shard).push(Message::Stop);
        }
        let queued = self.await_shards()?;
        for thread in self.threads {
            // A panic in a shard's thread ends the process before this can see it.
            drop(thread.join());
        }
        drop(self.recovery);
        let committed = self.committer_thread.stop();
        if matches!(ending, Ending::Asked) && committed.is_ok() {
            self.parts.emit(Event::ServerStopped { queued });
        }
        let logged = self.parts.control.stop();
        committed?;
        logged?;
        match ending {
            Ending::Asked => Ok(()),
            Ending::Poisoned => Err(StartError::Poisoned),
            Ending::Unread(error) => Err(error.into()),
        }
    }

    /// Gives the entries left on disk, if every shard knows its own.
    fn await_shards(&self) -> Result<Option<u64>, StartError> {
        let mut left = self.threads.len();
        let mut sum = Some(0);
        while left > 0 {
            let wait = self.parts.config.shutdown_grace + GRACE_MARGIN;
            match self.notices.recv_timeout(wait) {
                Ok(Notice::Ended { queued }) => {
                    sum = sum.zip(queued).map(|(sum, queued)| sum + queued);
                    left -= 1;
                }
                // Nothing begins any more that another configuration could be for.
                Ok(Notice::Reload) => self.parts.control.reopen_log(),
                Ok(
                    Notice::Ready
                    | Notice::Failed { .. }
                    | Notice::Poisoned
                    | Notice::Unread(_)
                    | Notice::Stop(_),
                ) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(StartError::Stuck);
                }
            }
        }
        Ok(sum)
    }
}

/// Why baton does not run.
#[derive(Debug)]
pub enum StartError {
    Check(CheckError),
    Listen(ListenError),
    Tls(TlsError),
    Control(ControlError),
    Store(StoreError),
    /// The system gives no thread.
    Thread(io::Error),
    /// The executor of a shard could not start.
    Shard {
        shard: u16,
        words: String,
    },
    /// A signal came before the start was over.
    Stopped,
    /// A write or fsync failed while the relay ran.
    Poisoned,
    /// A shard did not end within the grace; what was answered 250 is on disk all the same.
    Stuck,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Check(error) => error.fmt(f),
            StartError::Listen(error) => error.fmt(f),
            StartError::Tls(error) => error.fmt(f),
            StartError::Control(error) => error.fmt(f),
            StartError::Store(error) => error.fmt(f),
            StartError::Thread(error) => write!(
                f,
                "cannot start a thread: {error}; look at the limit on tasks (TasksMax in the \
                 unit file, `ulimit -u` in a shell)"
            ),
            StartError::Shard { shard, words } => write!(f, "cannot start shard {shard}: {words}"),
            StartError::Stopped => f.write_str("stopped by a signal while starting"),
            StartError::Poisoned => f.write_str(
                "the store failed and takes nothing more; see the event log for why, check the \
                 disk, then start again: nothing that was answered 250 is lost",
            ),
            StartError::Stuck => f.write_str("a shard did not stop in time and was abandoned"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Check(error) => Some(error),
            StartError::Listen(error) => Some(error),
            StartError::Tls(error) => Some(error),
            StartError::Control(error) => Some(error),
            StartError::Store(error) => Some(error),
            StartError::Thread(error) => Some(error),
            StartError::Shard { .. }
            | StartError::Stopped
            | StartError::Poisoned
            | StartError::Stuck => None,
        }
    }
}

/// One `From` for each way in which a step of the start fails.
macro_rules! start_error_from {
    ($($source:ty => $variant:ident,)+) => {$(
        impl From<$source> for StartError {
            fn from(error: $source) -> Self {
                StartError::$variant(error)
            }
        }
    )+};
}

start_error_from! {
    CheckError => Check,
    ListenError => Listen,
    TlsError => Tls,
    ControlError => Control,
    StoreError => Store,
}
