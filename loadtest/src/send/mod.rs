//! `baton-load send`: sessions that offer messages to a relay and keep books of its answers.
//!
//! Closed loop: each session sends its next message when the last one is answered. Open loop
//! (`--rate`): messages are due at moments that a schedule sets (`due.rs`) and a free session takes
//! each, as many at once as there are sessions. All that were due are sent, those that a stall held
//! up after the end of the schedule, or counted as never sent. A message whose connection ends
//! before its final reply is `unknown`; another one, with a serial of its own, is sent in its
//! place. Every message that was begun ends in the ledger, also when the run is cut short. What is
//! sent is decided in `message/`, from a profile; the greeting, TLS and AUTH are part of connecting
//! and of no message's latency, but for those that were due meanwhile.

pub mod args;
mod arrivals;
mod due;
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
use self::due::{Due, Moments};
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
use crate::progress::{self, Finish, Line, Since, Tick};
use crate::signals::EndRequest;

/// Between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Of what has not happened.
const NEVER: Duration = Duration::MAX;
/// How long messages under way may take once the run was asked to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a server may take over the words after a message, if not `stall_max` is shorter.
const PARTING_MAX: Duration = Duration::from_secs(5);
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
    /// The run ends when messages are under way and none is answered for so long; those that were
    /// due in the `duration` of an open loop are begun at most so long after it.
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

    /// How long a server may take over words that no message depends on.
    fn parting_max(&self) -> Duration {
        self.stall_max.min(PARTING_MAX)
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
            if run.cut.get() < NEVER { Finish::CutShort } else { Finish::Whole }
        };
        let watched = future::or(cut_short(&run, &mut end), stalled(&run));
        let finish = future::or(all, future::or(watched, tell_progress(&run))).await;
        let over = Instant::now();
        for session in sessions {
            // Drops what is still under way, which records it as unknown.
            session.cancel().await;
        }
        Ok(run.finish(finish, over))
    })
}

async fn cut_short(run: &Run, end: &mut EndRequest) -> Finish {
    end.wait().await;
    run.cut.set(run.start.elapsed());
    sleep(FAREWELL).await;
    Finish::CutShort
}

/// Returns when nothing has moved for too long.
async fn stalled(run: &Run) -> Finish {
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
            return Finish::Stalled;
        }
    }
}

/// Prints ticks for ever, if anybody wants them.
async fn tell_progress(run: &Run) -> Finish {
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
    moments: Option<RefCell<Moments>>,
    next_number: Cell<u64>,
    answered: Cell<u64>,
    last_answer: Cell<Instant>,
    under_way: Cell<u64>,
    sessions_open: Cell<usize>,
    /// When somebody ended the run, from its start; `NEVER` as long as nobody did.
    cut: Cell<Duration>,
}

impl Run {
    fn new(load: Load, maker: Maker, ledger: Ledger, report: Report) -> Run {
        let sessions_open = Cell::new(load.sessions);
        let start = Instant::now();
        let moments = match load.pressure {
            Pressure::FreeSession => None,
            Pressure::Due { per_s, arrivals, seed } => {
                let schedule = Schedule::new(per_s, arrivals, seed);
                Some(RefCell::new(Moments::new(schedule, load.duration)))
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
            moments,
            next_number: Cell::new(1),
            answered: Cell::new(0),
            last_answer: Cell::new(start),
            under_way: Cell::new(0),
            sessions_open,
            cut: Cell::new(NEVER),
        }
    }

    /// Takes on the next message once it is due; `None` when the run has all it needs.
    async fn claim(&self) -> Option<Claim<'_>> {
        if self.is_over() || self.claimed.get() == self.load.messages {
            return None;
        }
        let due = match &self.moments {
            None => Due::AtOnce,
            Some(moments) => Due::At(moments.borrow_mut().next()?),
        };
        bump(&self.claimed, 1);
        let claim = Claim { run: self, due, state: ClaimState::Open };
        if let Due::At(due) = due {
            let wait = due.saturating_sub(self.start.elapsed());
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
        if self.is_over() { None } else { Some(claim) }
    }

    /// Whether no more messages are to be begun. The moments of an open loop end by themselves:
    /// ending them by the clock would drop those that a stall held up.
    fn is_over(&self) -> bool {
        let arrears_max = match self.load.pressure {
            Pressure::FreeSession => Duration::ZERO,
            Pressure::Due { .. } => self.load.stall_max,
        };
        let end = self.load.duration.map(|duration| duration.saturating_add(arrears_max));
        self.cut.get() < NEVER || end.is_some_and(|end| self.start.elapsed() >= end)
    }

    fn count_connection(&self) {
        self.report.borrow_mut().connections += 1;
    }

    /// Connects again, patiently.
    async fn connect(&self, session: usize) -> Result<Client, NotConnected> {
        for attempt in 0..=self.load.reconnects_max {
            if attempt > 0 {
                sleep(RECONNECT_PAUSE).await;
            }
            if self.is_over() {
                return Err(NotConnected::Over);
            }
            if let Ok(client) = self.load.open(session).await {
                self.count_connection();
                return Ok(client);
            }
        }
        Err(NotConnected::GaveUp)
    }

    fn tick(&self) -> Tick {
        let report = self.report.borrow();
        Tick {
            at_ms: kernel::monotonic().as_millis() as u64,
            messages: report.answered(),
            recipients: report.recipients_accepted,
        }
    }

    /// What it amounted to; `over` is when the sessions were ended.
    fn finish(&self, finish: Finish, over: Instant) -> Report {
        let mut report = self.report.borrow_mut();
        report.finish = finish;
        report.start = self.start_monotonic;
        if let Some(moments) = &self.moments {
            let more_max = self.load.messages - self.claimed.get();
            report.never_sent =
                moments.borrow_mut().missed(self.cut.get().min(over - self.start), more_max);
        }
        report.elapsed = match self.answered.get() {
            0 => self.start.elapsed(),
            _ => self.last_answer.get() - self.start,
        };
        let empty = Report::new(&report.run_id, report.since);
        std::mem::replace(&mut report, empty)
    }
}

/// Why a session has no connection.
enum NotConnected {
    /// The run needs no more.
    Over,
    GaveUp,
}

/// A message that a session has taken on. Dropped before it was begun, it is another session's.
struct Claim<'a> {
    run: &'a Run,
    due: Due,
    state: ClaimState,
}

#[derive(PartialEq, Eq)]
enum ClaimState {
    Open,
    Begun,
}

impl Claim<'_> {
    fn begin(mut self) -> Due {
        self.state = ClaimState::Begun;
        self.due
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.state == ClaimState::Begun {
            return;
        }
        self.run.claimed.set(self.run.claimed.get() - 1);
        if let (Due::At(due), Some(moments)) = (self.due, &self.run.moments) {
            moments.borrow_mut().put_back(due);
        }
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
    while let Some(claim) = run.claim().await {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => run.connect(number).await,
        };
        let mut connected = match connected {
            Ok(connected) => connected,
            Err(NotConnected::Over) => return,
            Err(NotConnected::GaveUp) => {
                run.report.borrow_mut().sessions_given_up += 1;
                return;
            }
        };
        let due = claim.begin();
        let ended = one_message(&run, &mut connected, &mut mail, &mut transaction, due).await;
        match ended {
            Ok(code) if code == 421 || run.load.reuse == Reuse::OneMessage => {
                connected.quit(run.load.parting_max()).await
            }
            Ok(_) => client = Some(connected),
            Err(_) => run.report.borrow_mut().connections_lost += 1,
        }
    }
    if let Some(client) = client {
        client.quit(run.load.parting_max()).await;
    }
}

/// Sends the next message and enters its end; returns the deciding code.
async fn one_message(
    run: &Run,
    client: &mut Client,
    mail: &mut Mail,
    transaction: &mut Transaction,
    due: Due,
) -> io::Result<u16> {
    let offers = client.offers();
    let framing = if offers.chunking { run.load.framing } else { Framing::Dots };
    let pace = if offers.pipelining { run.load.pace } else { Pace::Lockstep };
    let number = run.next_number.replace(run.next_number.get() + 1);
    let start = match due {
        Due::AtOnce => kernel::monotonic(),
        Due::At(due) => run.start_monotonic + due,
    };
    let transport = Transport { framing, offered: offers.travels() };
    run.maker.fill(number, start, transport, mail);
    let under_way = UnderWay::begin(run, mail, due);
    let ended = transaction.run(client, mail, framing, pace).await?;
    let now = Instant::now();
    run.last_answer.set(now);
    under_way.end(ended, transaction);
    let start = match due {
        Due::AtOnce => ended.offered,
        Due::At(due) => Some(run.start + due),
    };
    if let Some(start) = start {
        let latency = now.saturating_duration_since(start);
        run.report.borrow_mut().latencies_of(ended.code).record(latency);
    }
    let too_late = async {
        sleep(run.load.parting_max()).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    future::or(transaction.close(client, ended), too_late).await?;
    Ok(ended.code)
}

/// A message that was begun. Dropped without its end, it is entered as unknown: that is what it is
/// when the connection breaks, and when the run is cut short.
struct UnderWay<'a> {
    run: &'a Run,
    mail: &'a Mail,
    due: Due,
    answered: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(run: &'a Run, mail: &'a Mail, due: Due) -> UnderWay<'a> {
        bump(&run.under_way, 1);
        UnderWay { run, mail, due, answered: false }
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
        if let Due::At(due) = self.due {
            // It took at least so long. Left out, the worst would be the ones that do not count.
            report.latencies.record(self.run.start.elapsed().saturating_sub(due));
        }
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
