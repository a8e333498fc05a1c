//! One shard: everything that one core does, wired together.
//!
//! The drivers here are straight-line async code over [`World`]; the decisions are in the stages they
//! call. One file per actor:
//!
//! | file | actor |
//! |---|---|
//! | `serve` | one inbound connection |
//! | `screen` | a complete message: who sent it, may we carry it, keep it |
//! | `pager` | brings entries from disk when they are due |
//! | `way` | which lane an entry takes; asks the DNS where that is not known |
//! | `lane` | the lanes there are; opens connections for what is ready |
//! | `mesh` | hands entries to the shard that has their lane |
//! | `attempt` | one outbound connection and the entries it carries |
//! | `line` | its socket side: choice of the address, TLS, octets |
//! | `resolve` | questions to the DNS |
//! | `settle`, `tell` | what follows from an attempt: events, the commit; the notices in it |
//! | `operate` | what a person does to entries that wait: retry, hold, release, drop |
//! | `deadline`, `signal`, `wire` | waiting, waking, reading and writing |
//!
//! Nothing is shared with another shard but the admission counter and the cache of DNS answers; what crosses threads does so in the world.

mod attempt;
mod deadline;
mod lane;
mod line;
pub mod mesh;
pub mod operate;
mod pager;
pub mod resolve;
mod screen;
mod serve;
mod settle;
mod signal;
mod tell;
mod way;
mod wire;
pub mod world;

use crate::accept::Admission;
use crate::config::{Config, Retries};
use crate::deliver::avoided::Avoided;
use crate::deliver::ready::Charge;
use crate::filter::Bounds;
use crate::limits::READ_BYTES_MAX;
use crate::message::{MessageId, MessageIds};
use crate::queue::schedule::{Schedule, Stretch};
use deadline::Deadlines;
use lane::Roster;
use mesh::Away;
use operate::Operations;
use resolve::{Names, Resolver};
use signal::Signal;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use way::Ways;
use world::{Share, World};

/// Which of how many shards this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub index: u16,
    pub count: u16,
}

/// Numbers of this moment, for gauges and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub inbound_sessions: u64,
    pub outbound_sessions: u64,
    /// Entries on disk.
    pub due_entries: u64,
    /// Queues with entries on disk: one for each sender in each domain.
    pub queues: u64,
    /// Entries in memory, under way included.
    pub ready_entries: u64,
    /// Those that wait for an answer of the DNS, of other shards' included.
    pub asking_entries: u64,
    /// Octets of messages in memory.
    pub inflight_bytes: u64,
}

pub struct Shard<W: World> {
    inner: Rc<Inner<W>>,
}

impl<W: World> Clone for Shard<W> {
    fn clone(&self) -> Self {
        Shard { inner: self.inner.clone() }
    }
}

struct Inner<W: World> {
    world: W,
    /// Another one after a reload; listeners, routes and budgets in it never change.
    config: RefCell<Arc<Config>>,
    admission: Arc<Mutex<Admission>>,
    deadlines: Deadlines,
    resolver: Resolver<W>,
    ids: RefCell<MessageIds>,
    schedule: RefCell<Schedule>,
    place: Place,
    roster: Roster,
    ways: Ways,
    away: Away,
    /// The site of routes that list their hosts, shared by all their lanes.
    no_site: Arc<str>,
    /// What persons want done to the queue, one after the other.
    operations: Operations,
    /// Raised when the pager may have something to do.
    pager: Signal,
    /// Raised when recovery has read everything, and at the stop.
    recovered: Signal,
    /// Lent to whoever reads, for the length of one poll (see `wire`).
    scratch: RefCell<Box<[u8]>>,
    stopping: Cell<bool>,
    broken_tls: RefCell<Avoided>,
    dead_hosts: RefCell<Avoided>,
    inbound: Rc<Cell<u64>>,
    outbound: Rc<Cell<u64>>,
    /// Settlements that are not committed yet.
    settling: Rc<Cell<u64>>,
    inflight: Rc<Cell<usize>>,
    /// This shard's part of the budgets.
    inflight_bytes_max: usize,
    ready_max: usize,
}

impl<W: World> Shard<W> {
    /// `newest` is the newest id on disk. Of what waits there the shard knows what `schedule` does; one that is
    /// recovering is told the rest by [`Shard::recover`].
    pub fn new(
        world: W,
        config: Arc<Config>,
        place: Place,
        admission: Arc<Mutex<Admission>>,
        names: Names,
        schedule: Schedule,
        newest: Option<MessageId>,
    ) -> Shard<W> {
        let part = |whole: u64| (whole / u64::from(place.count)).max(1) as usize;
        let ready_max = part(u64::from(config.memory.ready_max));
        let deadlines = Deadlines::default();
        let inner = Inner {
            resolver: Resolver::new(world.clone(), deadlines.clone(), names, &config),
            deadlines,
            ids: RefCell::new(MessageIds::new(place.index as u8, newest)),
            schedule: RefCell::new(schedule),
            place,
            roster: Roster::default(),
            ways: Ways::default(),
            away: Away::default(),
            no_site: "".into(),
            operations: Operations::default(),
            pager: Signal::default(),
            recovered: Signal::default(),
            scratch: RefCell::new(vec![0; READ_BYTES_MAX].into()),
            stopping: Cell::new(false),
            broken_tls: RefCell::new(Avoided::with_broken_tls()),
            dead_hosts: RefCell::new(Avoided::dead()),
            inbound: Rc::default(),
            outbound: Rc::default(),
            settling: Rc::default(),
            inflight: Rc::default(),
            // At the least one message of the largest size can grow: else it is put off for ever.
            inflight_bytes_max: part(config.memory.inflight_bytes_max)
                .max(2 * config.limits.message_bytes_max as usize),
            ready_max,
            world,
            config: RefCell::new(config),
            admission,
        };
        Shard { inner: Rc::new(inner) }
    }

    /// Starts the tasks that live as long as the shard.
    pub fn start(&self) {
        let (world, deadlines) = (self.inner.world.clone(), self.inner.deadlines.clone());
        self.inner.world.spawn_vital(deadline::sweep_for_ever(world, deadlines));
        self.inner.world.spawn_vital(pager::page_for_ever(self.clone()));
    }

    /// Takes a fresh connection that came in on listener `listener`.
    pub fn serve(&self, stream: W::Stream, listener: usize) {
        self.inner.world.spawn(Share::Ingest, serve::session(self.clone(), stream, listener));
    }

    /// Recovery has read on in this shard's slots.
    pub fn recover(&self, stretch: &Stretch) {
        self.inner.schedule.borrow_mut().recovers(stretch);
        self.inner.pager.raise();
        if self.inner.schedule.borrow().knows_all() {
            self.inner.recovered.raise();
        }
    }

    /// Entries on disk, once recovery has read them all.
    pub fn queued(&self) -> Option<u64> {
        let schedule = self.inner.schedule.borrow();
        schedule.knows_all().then(|| schedule.entries())
    }

    /// Goes by `config` in what begins from now on: connections, logins, messages, attempts. An
    /// inbound session keeps the limits that it began with. `config` is one that
    /// [`Config::reloaded`] made.
    pub fn reload(&self, config: Arc<Config>) {
        // Every shard does so for all: the last one to be told leaves the latest limits.
        self.admission().set_limits(&config.limits);
        self.inner.resolver.reload(&config);
        self.inner.config.replace(config);
        self.limit_lanes_anew();
    }

    /// Where mail goes, by DNS.
    pub fn resolver(&self) -> &Resolver<W> {
        &self.inner.resolver
    }

    /// Begins to stop: new and resting sessions are told 421, messages under way are finished, no
    /// new attempt begins.
    pub fn stop(&self) {
        self.inner.stopping.set(true);
        self.inner.deadlines.stop();
        self.inner.recovered.raise();
    }

    /// Whether nothing is under way in either direction.
    pub fn is_idle(&self) -> bool {
        let inner = &self.inner;
        inner.inbound.get() == 0 && inner.outbound.get() == 0 && inner.settling.get() == 0
    }

    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.inner;
        let schedule = inner.schedule.borrow();
        Snapshot {
            inbound_sessions: inner.inbound.get(),
            outbound_sessions: inner.outbound.get(),
            due_entries: schedule.entries(),
            queues: schedule.queues() as u64,
            ready_entries: schedule.taken() as u64,
            asking_entries: inner.ways.waiting() as u64,
            inflight_bytes: inner.inflight.get() as u64,
        }
    }

    /// The rules for what begins now; to be kept by what shall end by the same rules.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.borrow())
    }

    fn bounds(&self) -> Bounds {
        Bounds { hops_max: self.inner.config.borrow().limits.hops_max as usize }
    }

    /// How mail to `domain` (lower case) is tried again.
    fn retries(&self, domain: &str) -> Retries {
        let config = self.inner.config.borrow();
        config.retries(config.route(domain).map(|(index, _)| index))
    }

    fn expire_after(&self, domain: &str) -> Duration {
        self.retries(domain).expire_after
    }

    /// The counter of all shards. A panic that held it left it whole: it is two numbers and a map
    /// of numbers, and refusing everybody ever after would be worse than one too many.
    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.inner.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, bytes: usize) -> Charge {
        Charge::new(&self.inner.inflight, bytes)
    }
}

/// Counts up while it lives.
struct Counted(Rc<Cell<u64>>);

impl Counted {
    fn new(counter: &Rc<Cell<u64>>) -> Self {
        counter.set(counter.get() + 1);
        Counted(Rc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
