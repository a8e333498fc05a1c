//! The course of one run: warm-up, load, drain, and everything that is written down meanwhile.
//!
//! The drain is over when the sink has all that was accepted and the relay, if it can be asked, has
//! nothing more; or when the relay has nothing more and nothing comes; or when nothing has moved
//! for a while, or time is up. Deciding what that is worth is left to `collect.rs`.

use std::fs::File;
use std::time::{Duration, Instant};

use super::child::Child;
use super::line::Line;
use super::machine::Busy;
use super::relay::Queue;
use super::sampler::{self, Sample, Sampler};
use super::scenario::{Amount, Course};
use super::stage::{Purpose, Stage};
use crate::balance::Books;
use crate::error::Error;
use crate::idle::Held;
use crate::kernel;
use crate::process;
use crate::progress::{Finish, PERIOD, Sent, Tick};

/// Between two looks at the ticks of the others.
pub(super) const LOOK_APART: Duration = Duration::from_millis(20);
/// Between two questions to the relay, which should have better things to do.
const ASK_APART: Duration = Duration::from_millis(250);
/// A relay that was quiet for so long may be asked whether it has anything more.
const QUIET: Duration = Duration::from_secs(1);
/// For the warm-up to be delivered.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// What was seen of a run that is over; all times are `kernel::monotonic`.
pub struct Seen {
    pub sent: Sent,
    /// Of the source.
    pub start: Duration,
    /// When the source had ended.
    pub drain_start: Duration,
    /// Of the drain.
    pub over: Duration,
    pub source_ticks: Vec<Tick>,
    /// Empty when its processes are unknown.
    pub relay: Vec<Sample>,
    pub source: Usage,
    /// Its CPU time is known when it has ended.
    pub sink_memory_peak: u64,
    pub dns: Option<Usage>,
    pub syncs: Option<u64>,
    pub drained: Drained,
    pub notes: Vec<String>,
    /// Why the run counts for nothing, whatever its balance.
    pub failures: Vec<String>,
}

/// What one of our own programs used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub memory_peak: u64,
}

/// How the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// As many deliveries as were accepted, and nothing more in the queue.
    Everything,
    /// The relay says that it has nothing more.
    Queue,
    Stalled(Duration),
    Time(Duration),
}

/// Messages before what is measured, all delivered when this returns.
pub fn warm_up(stage: &mut Stage<'_>) -> Result<(), Error> {
    let mut source = stage.start_source(Purpose::WarmUp)?;
    let wanted = stage.turn.plan.warm_up_messages();
    let watch = stage.turn.watch;
    let what = format!("the {wanted} messages of the warm-up to reach the sink");
    watch.until(&what, WARM_UP_MAX, || {
        stage.relay.must_live()?;
        stage.sink.must_live()?;
        if !source.is_running() && !source.succeeded() {
            return Err(source.failure());
        }
        let delivered = stage.sink.last_tick().map_or(0, |tick| tick.recipients);
        Ok((delivered >= wanted && !source.is_running()).then_some(()))
    })?;
    // The relay has heard the last reply as well: else it would deliver again.
    if stage.turn.plan.waiting.messages > 0 {
        // Then its queue is known by a count that may be of a moment ago.
        watch.pause(QUIET)?;
    }
    match stage.relay.queue()? {
        Queue::Unknown => watch.pause(QUIET)?,
        Queue::Empty | Queue::Holds => watch.until("an empty queue", WARM_UP_MAX, || {
            Ok((stage.relay.queue()? == Queue::Empty).then_some(()))
        })?,
    }
    stage.renew_sink(Purpose::Measure)
}

/// The load and the drain. Everything but the source still runs when this returns.
pub fn measure(stage: &mut Stage<'_>) -> Result<Seen, Error> {
    let mut notes = Vec::new();
    settle_disk(stage)?;
    let held = hold_idle(stage, &mut notes)?;
    let syncs = stage.relay.syncs()?;
    let dns_before = stage.dns.as_mut().map(Child::cpu);
    let sampler = Sampler::start(stage.relay.roots());
    let mut guests = Guests::arrive(stage);
    let launch = kernel::monotonic();

    let purpose = match stage.turn.plan.course {
        Course::Backlog => Purpose::Refuse,
        _ => Purpose::Measure,
    };
    let mut source = stage.start_source(purpose)?;
    let mut meters = Meters::default();
    let mut line = Line::new(stage.turn);
    while source.is_running() {
        meters.look(stage, &source);
        stage.must_live()?;
        line.show("load", stage, &source);
        stage.turn.watch.pause(LOOK_APART)?;
    }
    let sent = source.sent()?;
    notes.extend(source.complaints());
    let failures = shortfalls(stage.turn.plan.amount, &sent);
    if purpose == Purpose::Refuse {
        guests.ended += stage.sink.cpu();
        stage.renew_sink(Purpose::Measure)?;
        stage.relay.try_all_again()?;
    }
    let drain_start = kernel::monotonic();
    let drained = drain(stage, &source, &sent, &mut meters, &mut line)?;
    line.clear();

    let over = kernel::monotonic();
    let relay = sampler.end();
    let syncs = stage.relay.syncs()?.zip(syncs).map(|(after, before)| after - before);
    if let Some(held) = held {
        notes.push(format!("{} idle sessions were still open at the end", held.still_open()));
    }
    let dns = stage.dns.as_mut().map(Child::cpu).zip(dns_before);
    guests.ended += source.cpu();
    notes.extend(guests.note(stage, &relay, over.saturating_sub(launch)));
    let source_ticks = std::mem::take(&mut source.told().ticks);
    Ok(Seen {
        start: Duration::from_micros(sent.start_us),
        drain_start,
        over,
        source_ticks,
        relay,
        source: Usage { cpu: source.cpu(), memory_peak: meters.source },
        sink_memory_peak: meters.sink,
        dns: dns.map(|(after, before)| Usage {
            cpu: after.saturating_sub(before),
            memory_peak: meters.dns,
        }),
        sent,
        syncs,
        drained,
        notes,
        failures,
    })
}

/// What the source was to do and did not: a run with less load than its scenario's is none of it.
fn shortfalls(amount: Amount, sent: &Sent) -> Vec<String> {
    let mut shortfalls = Vec::new();
    let answered = sent.accepted + sent.deferred + sent.rejected;
    let wanted = match amount {
        Amount::Messages(wanted) => wanted.to_string(),
        Amount::Time(time) => format!("those of {} s", time.as_secs()),
    };
    let few = matches!(amount, Amount::Messages(wanted) if answered < wanted);
    let Sent { finish, sessions_given_up, unknown, .. } = sent;
    if few || *finish != Finish::Whole || *sessions_given_up > 0 {
        shortfalls.push(format!(
            "the source gave up: messages answered: {answered} of {wanted}, of unknown fate: \
             {unknown}; sessions that could not connect again: {sessions_given_up}"
        ));
    }
    if sent.never_sent > 0 {
        shortfalls.push(format!("{} messages were due and never sent", sent.never_sent));
    }
    let refused = sent.deferred + sent.rejected;
    if refused > 0 {
        shortfalls.push(format!("the relay refused {refused} of {answered} messages"));
    }
    shortfalls
}

/// What came before is on the disk, and nobody pays for it in what is measured.
fn settle_disk(stage: &Stage<'_>) -> Result<(), Error> {
    let folder = &stage.folder;
    let synced = File::open(folder).and_then(|file| kernel::sync_file_system(&file));
    synced.map_err(Error::file(folder))?;
    stage.turn.watch.pause(QUIET)
}

/// Opens the sessions that do nothing, if the scenario wants them, and weighs them.
fn hold_idle(stage: &mut Stage<'_>, notes: &mut Vec<String>) -> Result<Option<Held>, Error> {
    let plan = stage.turn.plan;
    let Course::Idle { sessions } = plan.course else {
        return Ok(None);
    };
    let wanted = sessions.min(stage.relay.idle_sessions_max());
    if wanted < sessions {
        notes.push(format!("idle: it was asked for {wanted} sessions only, each is a process"));
    }
    let roots = stage.relay.roots();
    let before = sampler::look(&roots);
    let watch = stage.turn.watch;
    let mut held = Held::open(stage.relay.address(), wanted as usize, || !watch.is_interrupted());
    watch.check()?;
    if held.refused.is_some() {
        // Whatever was full, the load needs room in it.
        let room = (plan.source.sessions + plan.connections_max) as usize * 2;
        held.sessions.truncate(held.sessions.len().saturating_sub(room));
    }
    // What a session takes is there a moment after its greeting.
    watch.pause(QUIET)?;
    let after = sampler::look(&roots);
    let count = held.sessions.len();
    let mut note = format!("idle: {count} of {wanted} sessions were opened");
    if let Some(error) = &held.refused {
        note.push_str(&format!(", stopped by: {error}"));
    }
    if !roots.is_empty() && count > 0 {
        let each = after.memory.saturating_sub(before.memory) / count as u64;
        note.push_str(&format!("; each takes {each} bytes of memory"));
    }
    notes.push(note);
    Ok(Some(held))
}

/// Waits for the last deliveries.
fn drain(
    stage: &mut Stage<'_>,
    source: &Child,
    sent: &Sent,
    meters: &mut Meters,
    line: &mut Line,
) -> Result<Drained, Error> {
    let plan = stage.turn.plan;
    let start = Instant::now();
    let (mut moved, mut asked) = (start, start);
    let mut delivered = 0;
    loop {
        meters.look(stage, source);
        stage.must_live()?;
        let tick = stage.sink.last_tick();
        line.show("drain", stage, source);
        let now = tick.map_or(0, |tick| tick.recipients);
        if now != delivered {
            (delivered, moved) = (now, Instant::now());
        }
        let enough = delivered >= sent.recipients_accepted;
        let quiet = moved.elapsed();
        if asked.elapsed() >= ASK_APART && (enough || quiet >= QUIET) {
            asked = Instant::now();
            match stage.relay.queue()? {
                Queue::Empty if enough => return Ok(Drained::Everything),
                Queue::Empty if quiet >= QUIET => return Ok(Drained::Queue),
                // Of other relays only the ledgers tell; they may still deliver something twice.
                Queue::Unknown if enough && quiet >= QUIET && has_all(stage)? => {
                    return Ok(Drained::Everything);
                }
                Queue::Empty | Queue::Holds | Queue::Unknown => {}
            }
        }
        if quiet >= plan.stall_max {
            return Ok(Drained::Stalled(plan.stall_max));
        }
        if start.elapsed() >= plan.drain_max {
            return Ok(Drained::Time(plan.drain_max));
        }
        stage.turn.watch.pause(LOOK_APART)?;
    }
}

fn has_all(stage: &Stage<'_>) -> Result<bool, Error> {
    let mut books = Books::default();
    books.read_sent(&stage.file("sent"))?;
    books.read_delivered(&stage.file("delivered"))?;
    Ok(books.outstanding().next().is_none())
}

/// Cores that programs which are no part of the run may use without a word.
const GUESTS_CORES: f64 = 0.1;

/// Who else used the machine meanwhile: all that was used, without what ours used.
struct Guests {
    before: Option<Busy>,
    /// Of our own programs before.
    ours_before: Duration,
    /// Of those that have ended since.
    ended: Duration,
}

impl Guests {
    fn arrive(stage: &mut Stage<'_>) -> Guests {
        let ours_before = Guests::ours(stage);
        Guests { before: Busy::now(), ours_before, ended: Duration::ZERO }
    }

    /// CPU time of this process, the sink and the DNS server.
    fn ours(stage: &mut Stage<'_>) -> Duration {
        let own = process::cpu_time(std::process::id()).unwrap_or_default();
        own + stage.sink.cpu() + stage.dns.as_mut().map(Child::cpu).unwrap_or_default()
    }

    /// Nothing to say when the relay's own share is unknown.
    fn note(&self, stage: &mut Stage<'_>, relay: &[Sample], time: Duration) -> Option<String> {
        let busy = Busy::now()?.since(self.before?);
        let relay = relay.last()?.cpu.saturating_sub(relay.first()?.cpu);
        let ours = (Guests::ours(stage) + self.ended + relay).saturating_sub(self.ours_before);
        let cores = |cpu: Duration| cpu.as_secs_f64() / time.as_secs_f64().max(1e-9);
        let (others, stolen) = (cores(busy.programs.saturating_sub(ours)), cores(busy.stolen));
        (others + stolen > GUESTS_CORES).then(|| {
            format!(
                "beside the run, other programs kept {others:.1} cores busy, and {stolen:.1} cores \
                 went to other machines of the host"
            )
        })
    }
}

/// The most memory that our own programs were seen with.
#[derive(Default)]
struct Meters {
    source: u64,
    sink: u64,
    dns: u64,
    /// `kernel::monotonic`.
    next: Duration,
}

impl Meters {
    fn look(&mut self, stage: &Stage<'_>, source: &Child) {
        let now = kernel::monotonic();
        if now < self.next {
            return;
        }
        self.next = now + PERIOD;
        let memory = |pid| process::memory(pid).map_or(0, |memory| memory.resident);
        self.source = self.source.max(memory(source.pid()));
        self.sink = self.sink.max(memory(stage.sink.pid()));
        self.dns = self.dns.max(stage.dns.as_ref().map_or(0, |dns| memory(dns.pid())));
    }
}

impl Stage<'_> {
    pub fn must_live(&mut self) -> Result<(), Error> {
        self.relay.must_live()?;
        self.sink.must_live()?;
        self.dns.as_mut().map_or(Ok(()), Child::must_live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentiles;
    use crate::progress::Since;

    fn sent(accepted: u64, deferred: u64, unknown: u64) -> Sent {
        Sent {
            run_id: "r".to_owned(),
            finish: Finish::Whole,
            start_us: 0,
            sent: accepted + deferred + unknown,
            accepted,
            deferred,
            rejected: 0,
            unknown,
            never_sent: 0,
            sessions_given_up: 0,
            recipients_accepted: accepted,
            connections: 1,
            connections_lost: 0,
            bytes: 0,
            seconds: 1.0,
            messages_per_s: 1.0,
            latency_from: Since::FinalDot,
            latency_ms: Percentiles::default(),
            latency_buckets: Vec::new(),
            refusal_latency_ms: Percentiles::default(),
            refusal_latency_buckets: Vec::new(),
            first_refusal: None,
        }
    }

    #[test]
    fn a_source_that_gave_up_is_told_from_one_that_is_done() {
        let told = |amount, sent: Sent| shortfalls(amount, &sent).len();
        let (count, time) = (Amount::Messages(10), Amount::Time(Duration::from_secs(60)));
        assert_eq!(told(count, sent(10, 0, 0)), 0);
        assert_eq!(told(count, sent(9, 0, 1)), 1);
        assert_eq!(told(count, sent(0, 0, 10)), 1);
        assert_eq!(told(count, sent(9, 1, 0)), 1);
        assert_eq!(told(time, sent(9, 0, 0)), 0);
        assert_eq!(told(time, Sent { finish: Finish::Stalled, ..sent(9, 0, 0) }), 1);
        assert_eq!(told(time, Sent { sessions_given_up: 1, ..sent(9, 0, 0) }), 1);
        assert_eq!(told(time, Sent { never_sent: 3, ..sent(9, 0, 0) }), 1);
    }
}
