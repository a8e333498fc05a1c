//! One life of the relay under test: its shards, its committer, its listeners; and its ends.
//!
//! Wires the shipping drivers as the real start-up does: recovery tells each shard bit by
//! bit what waits, while mail already comes, one admission counter serves all, connections are spread over the shards. The number of shards may
//! differ from life to life, as it does when an operator changes it.
//!
//! Memory is looked at from outside, through the same numbers that the gauges show.

use super::clock::Clock;
use super::committer::{Committer, DiskFaults};
use super::disk::{Crash, Disk};
use super::executor::{Executor, Group};
use super::journal::Journal;
use super::mailbox::{self, Mailbox};
use super::network::Network;
use super::random::Random;
use super::world::{Parts, SimWorld};
use baton::accept::Admission;
use baton::config::Config;
use baton::limits::PAGE_ENTRIES_MAX;
use baton::queue::schedule::Schedule;
use baton::shard::operate::{Counts, Operation};
use baton::shard::resolve::Names;
use baton::shard::{Place, Shard, Snapshot};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// What survives the relay.
#[derive(Clone)]
pub struct Ground {
    pub executor: Executor,
    pub clock: Clock,
    pub network: Network,
    pub disk: Rc<Disk>,
    pub journal: Rc<Journal>,
    pub config: Arc<Config>,
}

pub struct Relay {
    ground: Ground,
    /// Its tasks; the next number is the group of those that accept connections.
    life: Group,
    shards: Vec<Shard<SimWorld>>,
    committer: Rc<Committer>,
    mailboxes: Rc<Vec<Mailbox>>,
}

/// How many shards, and how good the disk is.
#[derive(Clone, Debug)]
pub struct Machine {
    pub shards: u16,
    pub faults: DiskFaults,
}

impl Relay {
    /// `lives` counts those before this one.
    pub fn start(ground: &Ground, lives: u32, machine: Machine, random: &Random) -> Relay {
        let life = 2 * lives + 2;
        let Ground { executor, clock, network, disk, journal, config } = ground.clone();
        let bytes_max = config.memory.commit_bytes_max;
        let committer = Committer::new(
            executor.clone(),
            random.fork("committer"),
            disk.clone(),
            machine.faults,
            bytes_max,
        );
        executor.spawn(life, committer.clone().run());
        let address = config.listeners[0].address.ip();
        let mailboxes: Rc<Vec<Mailbox>> =
            Rc::new((0..machine.shards).map(|_| Mailbox::default()).collect());
        let parts = Parts {
            executor,
            clock,
            network,
            committer: committer.clone(),
            journal,
            group: life,
            address,
            mailboxes: mailboxes.clone(),
        };
        let admission = Arc::new(Mutex::new(Admission::new(&config.limits)));
        let names = Names::new(config.dns.servers.clone(), config.dns.cache_bytes_max);
        let count = machine.shards;
        let shard = |index: u16| {
            let world = SimWorld::new(parts.clone(), index, random.fork(&format!("shard {index}")));
            let random = random.fork(&format!("recovery {index}"));
            let recovered = disk.recover(|slot| u16::from(slot) % count == index, &random);
            let place = Place { index, count };
            let (config, admission, names) = (config.clone(), admission.clone(), names.clone());
            let (schedule, newest) = (Schedule::recovering(), recovered.newest);
            let shard = Shard::new(world, config, place, admission, names, schedule, newest);
            let (told, clock) = (shard.clone(), ground.executor.clone());
            ground.executor.spawn(life, async move {
                for stretch in recovered.stretches {
                    clock.sleep(random.millis(0..20)).await;
                    told.recover(&stretch);
                }
            });
            shard
        };
        let shards: Vec<_> = (0..count).map(shard).collect();
        shards.iter().for_each(Shard::start);
        for (index, shard) in shards.iter().enumerate() {
            let random = random.fork(&format!("parcels {index}"));
            mailbox::carry(&ground.executor, life, mailboxes.clone(), index, shard.clone(), random);
        }
        let relay = Relay { ground: ground.clone(), life, shards, committer, mailboxes };
        relay.listen(random);
        relay
    }

    fn listen(&self, random: &Random) {
        for (index, listener) in self.ground.config.listeners.iter().enumerate() {
            let (network, address) = (self.ground.network.clone(), listener.address);
            let (shards, life) = (self.shards.clone(), self.life);
            let random = random.fork(&format!("listener {index}"));
            self.ground.executor.spawn(life + 1, async move {
                let listener = network.listen(address);
                loop {
                    let stream = listener.accept(life).await;
                    random.pick(&shards).serve(stream, index);
                }
            });
        }
    }

    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// Nothing is under way in any shard or on its way to the disk.
    pub fn is_idle(&self) -> bool {
        let settled = self.mailboxes.iter().all(Mailbox::is_idle);
        self.shards.iter().all(Shard::is_idle) && self.committer.is_idle() && settled
    }

    /// Has every shard do `operation`; each adds its counts when it is done.
    pub fn operate(&self, operation: &Operation) -> Rc<RefCell<Vec<Counts>>> {
        let told = Rc::new(RefCell::new(Vec::new()));
        for shard in &self.shards {
            let told = told.clone();
            shard.operate(operation.clone(), move |counts| told.borrow_mut().push(counts));
        }
        told
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Takes no new connection and begins no new work.
    pub fn stop(&self) {
        self.ground.executor.end(self.life + 1);
        self.shards.iter().for_each(Shard::stop);
    }

    /// Ends here and now, with everything that it had in memory.
    pub fn crash(self, crash: Crash, random: &Random) {
        let Relay { ground, life, shards, committer, .. } = self;
        if crash == Crash::PowerLost {
            ground.network.cut(life);
        }
        ground.executor.end(life + 1);
        ground.executor.end(life);
        drop((shards, committer));
        ground.disk.crash(crash, random);
    }

    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        self.shards.iter().map(Shard::snapshot)
    }

    /// Memory is bounded by configuration, whatever the backlog.
    ///
    /// # Panics
    /// When it is not.
    pub fn check_memory(&self) {
        let config = &self.ground.config;
        let (mut inflight, mut ready, mut inbound) = (0, 0, 0);
        let (mut asking, mut outbound) = (0, 0);
        for snapshot in self.snapshots() {
            inflight += snapshot.inflight_bytes;
            ready += snapshot.ready_entries;
            inbound += snapshot.inbound_sessions;
            asking += snapshot.asking_entries;
            outbound += snapshot.outbound_sessions;
        }
        // What is under way when the budget is reached may finish; buffers grow by doubling.
        let finishing = inbound * (2 * config.limits.message_bytes_max + 8 * 1024);
        let inflight_max = config.memory.inflight_bytes_max + finishing;
        assert!(inflight <= inflight_max, "{inflight} octets in memory, {inflight_max} allowed");
        // Each shard may read one page when it has room for one entry.
        let pages = (self.shards.len() * PAGE_ENTRIES_MAX) as u64;
        let ready_max = u64::from(config.memory.ready_max) + pages;
        assert!(ready <= ready_max, "{ready} entries in memory, {ready_max} allowed");
        // What waits for the DNS is in memory as well.
        assert!(asking <= ready, "{asking} entries wait for the DNS, {ready} are in memory");
        let outbound_max = u64::from(config.delivery.outbound_sessions_max);
        let outbound_max = outbound_max.max(self.shards.len() as u64);
        assert!(outbound <= outbound_max, "{outbound} connections, {outbound_max} allowed");
        let sessions_max = u64::from(config.limits.sessions_max);
        assert!(inbound <= sessions_max + 100, "{inbound} sessions, {sessions_max} allowed");
    }
}
