//! The lanes of a shard: which there are, where each leads, and who opens connections for them.
//!
//! A lane comes to be when the first entry needs it and goes when nothing would be forgotten with
//! it. An entry that arrives either finds a waiting session or may open one; `deliver/lane.rs`
//! decides which. Connections are bounded over all lanes as well: a lane that may open one and
//! finds none free waits in line, and the connection that has been idle longest makes way.
//!
//! Whether an entry's way is known, has to be asked of the DNS, or leads nowhere is found out in
//! `way.rs`.

use super::signal::Signal;
use super::world::{Share, World};
use super::{Counted, Shard, attempt, mesh};
use crate::config::{Host, Via};
use crate::deliver::lane::{Lane, Memory};
use crate::deliver::mx::MailHosts;
use crate::deliver::ready::{Origin, Ready};
use crate::deliver::share::{self, Limits, Part};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::Outcome;
use crate::queue::key::DueKey;
use crate::queue::record::Due;
use crate::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Entries that a shard may have handed to another for one lane at the same time.
const HANDED_OVER_MAX: u32 = 32;
/// Parked queues that are looked at in one go, for one that still waits.
const PARKED_LOOKS_MAX: u32 = 1024;

/// What makes one lane another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub route: Option<usize>,
    /// The set of MX hosts; empty where the route lists its hosts.
    pub site: Arc<str>,
    /// Index of the egress source.
    pub source: usize,
    pub owner: Owner,
}

/// Who works a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// By the rule of `deliver/share.rs`.
    ByRule,
    /// This shard, because another one handed the mail over.
    Me,
}

/// A lane, what wakes its waiting sessions, and where it leads.
pub(super) struct LaneSeat {
    /// What the lane is called in events.
    pub name: Box<str>,
    pub key: LaneKey,
    pub lane: RefCell<Lane>,
    pub arrival: Signal,
    pub hosts: Hosts,
    pub work: Work,
    /// Why it is in trouble, for those whose time runs out meanwhile.
    pub failure: RefCell<Option<Outcome>>,
    /// Its place in line, or its wake-up call, is taken.
    in_line: Cell<bool>,
    asleep: Cell<bool>,
    has_room: Cell<bool>,
}

/// Where a lane leads.
pub(super) enum Hosts {
    /// As the route lists them.
    Listed(Vec<Host>),
    Mail(Arc<MailHosts>),
}

impl Hosts {
    /// Names (or addresses in text) with their ports, in the order in which a new session tries them.
    pub(super) fn in_order<W: World>(&self, shard: &Shard<W>) -> Vec<(Box<str>, u16)> {
        let random = shard.inner.world.random();
        match self {
            Hosts::Mail(found) => {
                let port = shard.inner.config.borrow().delivery.smtp_port;
                found.in_order(random).into_iter().map(|host| (host.name.clone(), port)).collect()
            }
            Hosts::Listed(hosts) => {
                // Another one first each time.
                let (before, from) = hosts.split_at((random % hosts.len() as u64) as usize);
                from.iter().chain(before).map(name_and_port).collect()
            }
        }
    }
}

fn name_and_port(host: &Host) -> (Box<str>, u16) {
    match host {
        Host::Address(address) => (address.ip().to_string().into(), address.port()),
        Host::Name { name, port } => (name.as_str().into(), *port),
    }
}

/// What a session of a lane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Connects to a host.
    Deliver,
    /// Hands its entries to the shard that has the lane.
    HandOver { shard: u16 },
}

/// The lanes of a shard.
#[derive(Default)]
pub(super) struct Roster {
    /// Ordered, so that a seed of the simulator gives the same day each time.
    seats: RefCell<BTreeMap<LaneKey, Rc<LaneSeat>>>,
    /// Lanes that wait for a connection to be free, first come first served.
    line: RefCell<VecDeque<Rc<LaneSeat>>>,
    /// Lanes whose parked queues may have room.
    with_room: RefCell<VecDeque<Rc<LaneSeat>>>,
    /// Raised for the session that has been idle longest.
    pub make_way: Signal,
    swept: Cell<Moment>,
}

impl Roster {
    /// Whether a lane waits for a connection to be free.
    pub(super) fn has_line(&self) -> bool {
        !self.line.borrow().is_empty()
    }
}

impl<W: World> Shard<W> {
    /// The lane of this key, made if it is not there.
    pub(super) fn seat_of(&self, key: LaneKey, hosts: Option<&Arc<MailHosts>>) -> Rc<LaneSeat> {
        if let Some(seat) = self.inner.roster.seats.borrow().get(&key) {
            return Rc::clone(seat);
        }
        let seat = Rc::new(self.new_seat(key.clone(), hosts));
        self.inner.roster.seats.borrow_mut().insert(key, Rc::clone(&seat));
        seat
    }

    fn new_seat(&self, key: LaneKey, hosts: Option<&Arc<MailHosts>>) -> LaneSeat {
        let config = self.config();
        let mut name = match key.route {
            Some(route) if key.site.is_empty() => config.routes[route].domain.to_string(),
            Some(_) | None => key.site.to_string(),
        };
        if config.sources.len() > 1 {
            name = format!("{name} from {}", config.sources[key.source].name);
        }
        let hosts = match (hosts, key.route.map(|route| &config.routes[route].via)) {
            (Some(found), _) => Hosts::Mail(Arc::clone(found)),
            (None, Some(Via::Hosts(listed))) => Hosts::Listed(listed.clone()),
            (None, Some(Via::Mx) | None) => unreachable!("a lane by MX comes with its hosts"),
        };
        let (limits, work) = self.part_of(&name, &key, &hosts);
        // One lane's backlog leaves room for the others'.
        let ready_max = (self.inner.ready_max / 4).max(PAGE_ENTRIES_MAX);
        LaneSeat {
            name: name.into(),
            key,
            lane: RefCell::new(Lane::new(limits, ready_max)),
            arrival: Signal::default(),
            hosts,
            work,
            failure: RefCell::default(),
            in_line: Cell::new(false),
            asleep: Cell::new(false),
            has_room: Cell::new(false),
        }
    }

    /// What this shard has of the lane called `name`, by the configuration as it is now.
    fn part_of(&self, name: &str, key: &LaneKey, hosts: &Hosts) -> (Limits, Work) {
        let names: Vec<&str> = match hosts {
            Hosts::Mail(found) => found.hosts.iter().map(|host| &*host.name).collect(),
            Hosts::Listed(_) => Vec::new(),
        };
        let whole = self.inner.config.borrow().lane_limits(key.route, &names);
        let place = self.inner.place;
        let part = share::part(name, &whole, place.index, place.count);
        let least = share::least(&whole, place.count);
        match (part, key.owner) {
            (Part::Here(limits), _) => (limits, Work::Deliver),
            (Part::There { .. }, Owner::Me) => (least, Work::Deliver),
            (Part::There { shard }, Owner::ByRule) => {
                let limits = Limits { connections: HANDED_OVER_MAX, rate: None, ..least };
                (limits, Work::HandOver { shard })
            }
        }
    }

    /// Has every lane go by the limits of a new configuration. One that would have to move to another
    /// shard, or from one, goes on as it is until it has been idle.
    pub(super) fn limit_lanes_anew(&self) {
        for seat in self.inner.roster.seats.borrow().values() {
            let (limits, work) = self.part_of(&seat.name, &seat.key, &seat.hosts);
            if work == seat.work {
                seat.lane.borrow_mut().set_limits(limits);
            }
        }
    }

    pub(super) fn arrive(&self, seat: &Rc<LaneSeat>, entry: Ready) {
        let Some(entry) = self.hand_over_first(seat, entry) else { return };
        seat.lane.borrow_mut().push(entry);
        seat.arrival.raise();
        self.open_sessions(seat);
    }

    /// Takes out of the lanes what `wanted` wants of what no session has taken yet. It stays taken:
    /// the caller settles it, returns it, or lets it arrive again.
    pub(super) fn withdraw(&self, wanted: &dyn Fn(&DueKey, &Due) -> bool) -> Vec<Ready> {
        // What another shard handed over is in that one's queue, and its to change.
        let matches =
            |entry: &Ready| entry.origin == Origin::Here && wanted(&entry.key, &entry.due);
        let seats = self.inner.roster.seats.borrow();
        seats.values().flat_map(|seat| seat.lane.borrow_mut().withdraw(matches)).collect()
    }

    /// Opens as many connections as the lane's ready list is worth, and no more than are free.
    pub(super) fn open_sessions(&self, seat: &Rc<LaneSeat>) {
        let inner = &self.inner;
        if inner.stopping.get() {
            return;
        }
        let now = inner.world.moment();
        while seat.lane.borrow().wants_session(now) {
            match seat.work {
                Work::Deliver if inner.outbound.get() >= self.outbound_max() => {
                    self.wait_in_line(seat);
                    break;
                }
                Work::Deliver => {
                    seat.lane.borrow_mut().opening();
                    let counted = Counted::new(&inner.outbound);
                    let session = attempt::session(self.clone(), Rc::clone(seat), counted);
                    inner.world.spawn(Share::Delivery, session);
                }
                Work::HandOver { shard } => {
                    seat.lane.borrow_mut().opening();
                    let errand = mesh::errand(self.clone(), Rc::clone(seat), shard);
                    inner.world.spawn(Share::Delivery, errand);
                }
            }
        }
        self.wake_later(seat, now);
    }

    /// This shard's part of the connections to all sites.
    fn outbound_max(&self) -> u64 {
        let whole = self.inner.config.borrow().delivery.outbound_sessions_max;
        u64::from((whole / u32::from(self.inner.place.count)).max(1))
    }

    fn wait_in_line(&self, seat: &Rc<LaneSeat>) {
        if !seat.in_line.replace(true) {
            self.inner.roster.line.borrow_mut().push_back(Rc::clone(seat));
        }
        self.inner.roster.make_way.raise();
    }

    /// A connection is free again: whoever waits longest may have it.
    pub(super) fn next_in_line(&self) {
        while self.inner.outbound.get() < self.outbound_max() {
            let Some(seat) = self.inner.roster.line.borrow_mut().pop_front() else { return };
            seat.in_line.set(false);
            self.open_sessions(&seat);
        }
    }

    /// Has the lane looked at again when it is time that keeps its mail from going.
    pub(super) fn wake_later(&self, seat: &Rc<LaneSeat>, now: Moment) {
        let Some(when) = seat.lane.borrow().wakes_at(now) else { return };
        if seat.asleep.replace(true) {
            return;
        }
        let (shard, seat) = (self.clone(), Rc::clone(seat));
        self.inner.world.spawn(Share::Background, async move {
            shard.inner.world.sleep(when.since(now)).await;
            seat.asleep.set(false);
            shard.open_sessions(&seat);
            shard.has_room(&seat);
        });
    }

    /// The lane may have room: the pager brings what waits for it.
    pub(super) fn has_room(&self, seat: &Rc<LaneSeat>) {
        if seat.lane.borrow().has_parked() && !seat.has_room.replace(true) {
            self.inner.roster.with_room.borrow_mut().push_back(Rc::clone(seat));
            self.inner.pager.raise();
        }
    }

    /// Slow lanes may fill three quarters of the entries in memory; what is left keeps the quick ones going.
    pub(super) fn memory(&self) -> Memory {
        let taken = self.inner.schedule.borrow().taken();
        if taken < self.inner.ready_max / 4 * 3 { Memory::Ample } else { Memory::Scarce }
    }

    /// Queues that waited for room in lanes that have some now, after which key to read them, and how much room
    /// there is: up to `max`, and one of a lane at a time, so that each is read before it is decided
    /// whether there is room for another. They are being paged now.
    pub(super) fn next_with_room(&self, max: usize) -> Vec<(DueKey, usize)> {
        let (now, memory) = (self.inner.world.moment(), self.memory());
        let mut schedule = self.inner.schedule.borrow_mut();
        // What was dropped or has expired meanwhile stands in the lanes still, and is passed over.
        let mut looks = PARKED_LOOKS_MAX;
        let mut with_room = self.inner.roster.with_room.borrow_mut();
        let mut freed = Vec::new();
        for _ in 0..with_room.len() {
            if freed.len() == max {
                break;
            }
            let Some(seat) = with_room.pop_front() else { break };
            let mut lane = seat.lane.borrow_mut();
            let has_more = loop {
                if looks == 0 {
                    // Goes on at the next look, which comes at once.
                    self.inner.pager.raise();
                    break true;
                }
                looks -= 1;
                let Some((queue, room)) = lane.unpark(now, memory) else { break false };
                if let Some(after) = schedule.unpark(queue) {
                    freed.push((after, room));
                    break true;
                }
            };
            drop(lane);
            seat.has_room.set(has_more);
            if has_more {
                with_room.push_back(seat);
            }
        }
        freed
    }

    /// Looks at every lane, now and then: those that nothing is known of go, and none is forgotten
    /// whose parked queues nobody would bring again.
    pub(super) fn sweep_lanes(&self) {
        let now = self.inner.world.moment();
        if now.since(self.inner.roster.swept.get()) < super::pager::NAP_MAX {
            return;
        }
        self.inner.roster.swept.set(now);
        let is_idle = |seat: &LaneSeat| {
            seat.lane.borrow().is_idle(now) && !seat.in_line.get() && !seat.asleep.get()
        };
        self.inner.roster.seats.borrow_mut().retain(|_, seat| !is_idle(seat));
        let seats: Vec<_> = self.inner.roster.seats.borrow().values().map(Rc::clone).collect();
        for seat in &seats {
            self.has_room(seat);
            // A session that panicked left nobody to look for its successor.
            self.open_sessions(seat);
        }
        self.next_in_line();
    }
}
