//! `baton-load send`: sessions that offer messages to a relay and keep books of its answers.
//!
//! Closed loop: each session sends its next message when the last one is answered. Open loop
//! (`--rate`): messages are due at moments that a schedule sets (`arrivals.rs`) and a free session
//! takes each, as many at once as there are sessions. A message whose connection ends before its
//! final reply is `unknown`; another one, with a serial of its own, is sent in its place. Every
//! message that was begun ends in the ledger, also when the run is cut short. What is sent is
//! decided in `message/`, from a profile; the greeting, TLS and AUTH are part of connecting and of
//! no message's latency, but for those that were due meanwhile.

pub mod args;
mod arrivals;
mod login;
mod report;
mod stream;
mod transaction;
pub mod wire;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, Task, spawn_local};

use self::arrivals::{Arrivals, Schedule};
use self::login::Login;
use self::report::Report;
use self::stream::Security;
use self::transaction::{Ended, Pace, Transaction, is_success};
use self::wire::{Approach, Client};
use crate::error::Error;
use crate::kernel;
use crate::ledger::{Fate, Ledger};
use crate::loopback::Loopback;
use crate::message::{Framing, Mail, Maker, Transport};
use crate::progress::{self, Line, Since, Tick};
use crate::signals::EndRequest;

/// Between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How long messages under way may take once the run was asked to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often the run looks whether its sessions have ended; not part of any measured time.
const END_PERIOD: Duration = Duration::from_millis(10);
/// How often the watch looks for progress.
const WATCH_PERIOD: Duration = Duration::from_millis(250);

/// Whether a connection is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Session,
    OneMessage,
}

/// What makes a message be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pressure {
    /// Closed loop: a session that is free.
    FreeSession,
    /// Open loop: its moment.
    Due { per_s: f64, arrivals: Arrivals, seed: u64 },
}

/// What is printed while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Nothing,
    Ticks,
}

/// What to send how.
#[derive(Clone)]
pub struct Load {
    pub to: Loopback,
    /// Final replies wanted; `u64::MAX` when only time ends the run.
    pub messages: u64,
    pub sessions: usize,
    /// Source addresses that the sessions share, from 127.0.1.1 up; 0 leaves it to the kernel.
    pub sources: usize,
    pub framing: Framing,
    pub pace: Pace,
    pub reuse: Reuse,
    pub security: Security,
    /// Sessions take them in turn; without any, nobody logs in.
    pub logins: Vec<Login>,
    pub pressure: Pressure,
    pub duration: Option<Duration>,
    /// Attempts to connect again before a session gives up.
    pub reconnects_max: u32,
    /// The run ends when messages are under way and none is answered for so long.
    pub stall_max: Duration,
    pub telling: Telling,
}

/// Addresses that `--from-addresses` may ask for: 127.0.1.1 to 127.0.255.250.
pub const SOURCES_MAX: usize = SOURCES_PER_NET * 255;
/// Of each 127.0.N.0/24.
const SOURCES_PER_NET: usize = 250;

impl Load {
    /// Where session `number` connects from. It keeps its address, whatever it sends.
    fn source(&self, number: usize) -> Option<Ipv4Addr> {
        let place = number.checked_rem(self.sources)?;
        let net = u8::try_from(1 + place / SOURCES_PER_NET).expect("below SOURCES_MAX");
        let host = (1 + place % SOURCES_PER_NET) as u8;
        Some(Ipv4Addr::new(127, 0, net, host))
    }

    /// Opens the connection of session `number`.
    async fn open(&self, number: usize) -> io::Result<Client> {
        let login = number.checked_rem(self.logins.len()).map(|place| &self.logins[place]);
        let source = self.source(number);
        let opened =
            Client::open(Approach { to: self.to, source, security: &self.security, login });
        let too_late = async {
            sleep(self.stall_max).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "it is not ready in time"))
        };
        future::or(opened, too_late).await
    }
}

/// Runs the load to its end, or to SIGINT or SIGTERM.
pub fn run(load: Load, maker: Maker, ledger: Ledger, report: Report) -> Result<Report, Error> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("source")
        .make()
        .map_err(|error| Error::Executor(error.to_string()))?;
    executor.run(async move {
        let mut end = EndRequest::listen()?;
        let first = match load.open(0).await {
            Ok(client) => client,
            Err(source) => {
                return Err(Error::Connect { address: load.to.address(), source });
            }
        };
        let run = Rc::new(Run::new(load, maker, ledger, report));
        run.count_connection();
        let mut first = Some(first);
        let sessions: Vec<Task<()>> = (0..run.load.sessions)
            .map(|number| spawn_local(session(run.clone(), number, first.take())))
            .collect();
        let all = async {
            while run.sessions_open.get() > 0 {
                sleep(END_PERIOD).await;
            }
        };
        let watched = future::or(cut_short(&run, &mut end), stalled(&run));
        future::or(all, future::or(watched, tell_progress(&run))).await;
        for session in sessions {
            // Drops what is still under way, which records it as unknown.
            session.cancel().await;
        }
        Ok(run.finish())
    })
}

async fn cut_short(run: &Run, end: &mut EndRequest) {
    end.wait().await;
    run.ending.set(true);
    sleep(FAREWELL).await;
}

/// Returns when nothing has moved for too long.
async fn stalled(run: &Run) {
    let mut seen = u64::MAX;
    let mut since = Instant::now();
    loop {
        sleep(WATCH_PERIOD).await;
        let answered = run.answered.get();
        if answered != seen || run.under_way.get() == 0 {
            seen = answered;
            since = Instant::now();
        } else if since.elapsed() >= run.load.stall_max {
            eprintln!("baton-load: no reply for {} s, giving up", run.load.stall_max.as_secs());
            return;
        }
    }
}

/// Prints ticks for ever, if anybody wants them.
async fn tell_progress(run: &Run) {
    loop {
        sleep(progress::PERIOD).await;
        if run.load.telling == Telling::Ticks {
            progress::print(&Line::Tick(run.tick()));
        }
    }
}

/// What the sessions of a run share.
struct Run {
    load: Load,
    maker: Maker,
    ledger: RefCell<Ledger>,
    report: RefCell<Report>,
    start: Instant,
    start_monotonic: Duration,
    /// Messages that sessions have taken on, but for those that ended unknown.
    claimed: Cell<u64>,
    /// Of an open loop.
    schedule: Option<RefCell<Schedule>>,
    next_number: Cell<u64>,
    answered: Cell<u64>,
    last_answer: Cell<Instant>,
    under_way: Cell<u64>,
    sessions_open: Cell<usize>,
    ending: Cell<bool>,
}

impl Run {
    fn new(load: Load, maker: Maker, ledger: Ledger, report: Report) -> Run {
        let sessions_open = Cell::new(load.sessions);
        let start = Instant::now();
        let schedule = match load.pressure {
            Pressure::FreeSession => None,
            Pressure::Due { per_s, arrivals, seed } => {
                Some(RefCell::new(Schedule::new(per_s, arrivals, seed)))
            }
        };
        Run {
            load,
            maker,
            ledger: RefCell::new(ledger),
            report: RefCell::new(report),
            start,
            start_monotonic: kernel::monotonic(),
            claimed: Cell::new(0),
            schedule,
            next_number: Cell::new(1),
            answered: Cell::new(0),
            last_answer: Cell::new(start),
            under_way: Cell::new(0),
            sessions_open,
            ending: Cell::new(false),
        }
    }

    /// Takes on the next message once it is due; `None` when the run has all it needs.
    async fn claim(&self) -> Option<Option<Instant>> {
        if self.is_over(Instant::now()) || self.claimed.get() == self.load.messages {
            return None;
        }
        bump(&self.claimed, 1);
        let Some(schedule) = &self.schedule else {
            return Some(None);
        };
        let due = self.start + schedule.borrow_mut().next();
        let wait = due.saturating_duration_since(Instant::now());
        if self.is_over(due) {
            return None;
        }
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if self.is_over(due) { None } else { Some(Some(due)) }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ending.get() || self.load.duration.is_some_and(|max| now - self.start >= max)
    }

    fn count_connection(&self) {
        self.report.borrow_mut().connections += 1;
    }

    /// Connects again, patiently; `None` when it stays impossible.
    async fn connect(&self, session: usize) -> Option<Client> {
        for attempt in 0..=self.load.reconnects_max {
            if attempt > 0 {
                sleep(RECONNECT_PAUSE).await;
            }
            if self.is_over(Instant::now()) {
                return None;
            }
            if let Ok(client) = self.load.open(session).await {
                self.count_connection();
                return Some(client);
            }
        }
        None
    }

    /// A moment of the run on the clock that the sink has too.
    fn monotonic_at(&self, moment: Instant) -> Duration {
        self.start_monotonic + moment.saturating_duration_since(self.start)
    }

    fn tick(&self) -> Tick {
        let report = self.report.borrow();
        Tick {
            at_ms: kernel::monotonic().as_millis() as u64,
            messages: report.answered(),
            recipients: report.recipients_accepted,
        }
    }

    fn finish(&self) -> Report {
        let mut report = self.report.borrow_mut();
        report.elapsed = match self.answered.get() {
            0 => self.start.elapsed(),
            _ => self.last_answer.get() - self.start,
        };
        let empty = Report::new(&report.run_id, report.since);
        std::mem::replace(&mut report, empty)
    }
}

fn bump(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

async fn session(run: Rc<Run>, number: usize, first: Option<Client>) {
    /// Also counts down when the task is cancelled.
    struct Open<'a>(&'a Run);
    impl Drop for Open<'_> {
        fn drop(&mut self) {
            self.0.sessions_open.set(self.0.sessions_open.get() - 1);
        }
    }
    let _open = Open(&run);
    let mut client = first;
    let mut mail = Mail::default();
    let mut transaction = Transaction::default();
    while let Some(due) = run.claim().await {
        let connected = match client.take() {
            Some(client) => Some(client),
            None => run.connect(number).await,
        };
        let Some(mut connected) = connected else {
            // The message was not begun; another session may still have a connection for it.
            run.claimed.set(run.claimed.get() - 1);
            return;
        };
        let ended = one_message(&run, &mut connected, &mut mail, &mut transaction, due).await;
        match ended {
            Ok(code) if code == 421 || run.load.reuse == Reuse::OneMessage => {
                connected.quit().await
            }
            Ok(_) => client = Some(connected),
            Err(_) => run.report.borrow_mut().connections_lost += 1,
        }
    }
    if let Some(client) = client {
        client.quit().await;
    }
}

/// Sends the next message and enters its end; returns the deciding code.
async fn one_message(
    run: &Run,
    client: &mut Client,
    mail: &mut Mail,
    transaction: &mut Transaction,
    due: Option<Instant>,
) -> io::Result<u16> {
    let offers = client.offers();
    let framing = if offers.chunking { run.load.framing } else { Framing::Dots };
    let pace = if offers.pipelining { run.load.pace } else { Pace::Lockstep };
    let number = run.next_number.replace(run.next_number.get() + 1);
    let start = due.map_or_else(kernel::monotonic, |due| run.monotonic_at(due));
    let transport = Transport { framing, offered: offers.travels() };
    run.maker.fill(number, start, transport, mail);
    let under_way = UnderWay::begin(run, mail);
    let ended = transaction.run(client, mail, framing, pace).await?;
    let now = Instant::now();
    run.last_answer.set(now);
    under_way.end(ended, transaction);
    if let Some(start) = due.or(ended.offered) {
        run.report.borrow_mut().latencies.record(now.saturating_duration_since(start));
    }
    transaction.close(client, ended).await?;
    Ok(ended.code)
}

/// A message that was begun. Dropped without its end, it is entered as unknown: that is what it is
/// when the connection breaks, and when the run is cut short.
struct UnderWay<'a> {
    run: &'a Run,
    mail: &'a Mail,
    answered: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(run: &'a Run, mail: &'a Mail) -> UnderWay<'a> {
        bump(&run.under_way, 1);
        UnderWay { run, mail, answered: false }
    }

    fn end(mut self, ended: Ended, transaction: &Transaction) {
        self.answered = true;
        let codes = transaction.codes.iter().map(Some).chain(std::iter::repeat(None));
        let mut accepted = 0;
        let mut ledger = self.run.ledger.borrow_mut();
        for (recipient, own) in self.mail.recipients.iter().zip(codes) {
            let code = match own {
                Some(own) if !is_success(*own) => *own,
                Some(_) | None => ended.code,
            };
            accepted += u64::from(is_success(code));
            ledger.sent(&self.mail.serial, recipient, Fate::Answered(code));
        }
        write(&mut ledger);
        bump(&self.run.answered, 1);
        let mut report = self.run.report.borrow_mut();
        report.sent += 1;
        report.bytes += self.mail.content_bytes as u64;
        report.recipients_accepted += accepted;
        match ended.code {
            200..300 => report.accepted += 1,
            400..500 => report.deferred += 1,
            _ => report.rejected += 1,
        }
        if report.first_refusal.is_none() && !transaction.refusal.is_empty() {
            let text = transaction.refusal.escape_ascii().to_string();
            report.first_refusal = Some(text);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.run.under_way.set(self.run.under_way.get() - 1);
        if self.answered {
            return;
        }
        let mut ledger = self.run.ledger.borrow_mut();
        for recipient in &self.mail.recipients {
            ledger.sent(&self.mail.serial, recipient, Fate::Unknown);
        }
        write(&mut ledger);
        self.run.claimed.set(self.run.claimed.get() - 1);
        let mut report = self.run.report.borrow_mut();
        report.sent += 1;
        report.unknown += 1;
    }
}

/// A ledger with a gap proves nothing, so the run ends where the ledger does.
fn write(ledger: &mut Ledger) {
    if let Err(error) = ledger.commit() {
        eprintln!("baton-load: the ledger cannot be written: {error}");
        std::process::exit(2);
    }
}

/// Where latencies of this load start.
pub fn latency_start(load: &Load) -> Since {
    match load.pressure {
        Pressure::Due { .. } => Since::Due,
        Pressure::FreeSession => Since::FinalDot,
    }
}
