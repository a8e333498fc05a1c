//! One simulation from its seed: the world is built, lived in, calmed down, and judged.
//!
//! **Safety**: senders send, faults happen, the relay crashes and comes back; after each crash
//! every message that was answered 250 must still be accounted for. **Liveness**: all faults stop,
//! and within a bound of virtual time everything must have left the queue. At the end the relay is
//! stopped as an operator would, and the oracle looks at the whole story.

use super::client::{Habits, Security, Sender};
use super::clock::Clock;
use super::committer::DiskFaults;
use super::disk::{Crash, Disk};
use super::dns::{Manner, NameServer};
use super::executor::{Executor, OUTSIDE, Stepped};
use super::journal::Journal;
use super::ledger::Ledger;
use super::mail::{Mail, Notify};
use super::manners::Manners;
use super::network::{Network, Reach, Weather};
use super::nuisance::Nuisance;
use super::operations;
use super::oracle::{Oracle, WallClock};
use super::plan::{ACCOUNT, DOMAINS, LISTENERS, Plan, servers};
use super::random::Random;
use super::relay::{Ground, Machine, Relay};
use super::remote::Server;
use super::traffic::{self, Rules};
use super::zone::{self, DEAD_ENDS, NAME_SERVERS};
use baton::config::{Config, Host, Via};
use baton::time::Moment;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Polls of one run: far more than any plan needs.
const STEPS_MAX: u64 = 30_000_000;

/// How long after the last fault everything must have left the queue. The longest wait of an SMTP
/// client is ten minutes (RFC 5321 4.5.3.2.6), the longest pause between attempts is five.
const LIVENESS: Duration = Duration::from_secs(3_600);

/// How often the faults change.
const STIR: Duration = Duration::from_secs(3);

pub struct Simulation {
    pub plan: Plan,
    pub ground: Ground,
    pub ledger: Rc<Ledger>,
    pub servers: Vec<Rc<Server>>,
    pub names: Vec<Rc<NameServer>>,
    random: Random,
    relay: Option<Relay>,
    lives: u32,
    next_stir: Moment,
    wall_clock: WallClock,
    /// Ends the nuisances.
    over: Rc<Cell<bool>>,
    next_serial: u32,
    next_host: u32,
}

impl Simulation {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let random = Random::new(seed);
        let executor = Executor::new(random.fork("executor"), plan.spurious);
        let network = Network::new(executor.clone(), random.fork("network"), plan.weather.clone());
        let config: Arc<Config> = plan.knobs.config();
        let ledger = Rc::new(Ledger::default());
        let recipients_per_transaction_max = plan.knobs.recipients_per_transaction_max as usize;
        let rules = Rules { recipients_per_transaction_max };
        let servers: Vec<_> = servers()
            .into_iter()
            .map(|address| {
                let own = random.fork(&format!("server {address}"));
                let bad = plan.badness.map(|badness| Manners::draw(&own, badness));
                let manners = bad.unwrap_or_else(Manners::good);
                Server::new(address, rules, executor.clone(), own, ledger.clone(), manners)
            })
            .collect();
        for server in &servers {
            executor.spawn(OUTSIDE, server.clone().run(network.clone()));
        }
        let names = NAME_SERVERS.map(|address| {
            let own = random.fork(&format!("names {address}"));
            let address = address.parse().expect("an address");
            let server = NameServer::start(address, &executor, &network, own);
            zone::publish(&server, &plan.knobs.sets);
            server
        });
        let ground = Ground {
            clock: Clock::new(executor.clone()),
            executor,
            network,
            disk: Rc::new(Disk::default()),
            journal: Rc::new(Journal::default()),
            config,
        };
        Simulation {
            plan,
            ground,
            ledger,
            servers,
            names: names.into(),
            random,
            relay: None,
            lives: 0,
            next_stir: Moment::default(),
            wall_clock: WallClock::Steady,
            over: Rc::default(),
            next_serial: 1,
            next_host: 1,
        }
    }

    /// The whole story, with the plan's senders.
    pub fn run(&mut self) {
        self.start();
        self.add_senders();
        self.add_nuisances();
        for _ in 0..self.plan.crashes {
            // Early crashes find races of starting, late ones find a queue.
            let steps = self.random.below(0..1 << self.random.below(4..17));
            self.go_for_steps(steps);
            match self.random.permille(250) {
                true => self.stop(),
                false => self.crash(),
            }
            let down = self.random.millis(0..5_000);
            self.go_for(down);
            self.start();
        }
        self.go_for(self.plan.safety);
        self.calm();
        self.drain();
        self.finish();
    }

    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("the relay runs")
    }

    pub fn now(&self) -> Moment {
        self.ground.executor.now()
    }

    pub fn start(&mut self) {
        let random = self.random.fork(&format!("life {}", self.lives));
        let shards = random.below(self.plan.shards_min..self.plan.shards_max + 1) as u16;
        let machine = Machine { shards, faults: self.plan.disk.clone() };
        self.relay = Some(Relay::start(&self.ground, self.lives, machine, &random));
        self.lives += 1;
    }

    /// Ends the relay at this point, in one of the two ways, and looks at what it left.
    pub fn crash(&mut self) {
        let crash = match self.random.permille(500) {
            true => Crash::Killed,
            false => Crash::PowerLost,
        };
        self.crash_by(crash);
    }

    pub fn crash_by(&mut self, crash: Crash) {
        let relay = self.relay.take().expect("the relay runs");
        relay.crash(crash, &self.random);
        Oracle::new(&self.ground, &self.ledger).after_crash();
    }

    /// Ends the relay as SIGTERM does: what is under way has its time of grace, what is committed
    /// is synced.
    pub fn stop(&mut self) {
        self.relay().stop();
        let grace = self.now().after(self.ground.config.shutdown_grace);
        while self.now() < grace && !self.relay().is_idle() && self.step() {}
        self.go_until("the last commit", Duration::from_secs(60), |sim| {
            sim.relay().committer().is_idle()
        });
        self.ground.disk.sync();
        self.crash_by(Crash::Killed);
    }

    fn add_senders(&mut self) {
        for _ in 0..self.plan.senders {
            let habits = Habits::draw(&self.random, self.plan.vanishes);
            let mails = self.mails(self.plan.mails_per_sender);
            self.add_sender(habits, mails);
        }
    }

    /// Draws messages as the plan has them.
    pub fn mails(&mut self, count: u32) -> Vec<Mail> {
        (0..count).map(|_| self.mail()).collect()
    }

    /// Messages with one recipient each, all in `domain`.
    pub fn mails_to(&mut self, domain: &str, count: u32) -> Vec<Mail> {
        let mut mails = self.mails(count);
        for mail in &mut mails {
            mail.recipients = vec![format!("r{}@{domain}", mail.serial)];
        }
        mails
    }

    /// The only server of `domain`.
    pub fn server_of(&self, domain: &str) -> &Server {
        let (_, route) = self.ground.config.route(domain).expect("a route");
        let Via::Hosts(hosts) = &route.via else { panic!("{domain} has no hosts") };
        let is_only = |address| hosts == &[Host::Address(address)];
        let server = self.servers.iter().find(|server| is_only(server.address));
        server.expect("a server of its own")
    }

    fn mail(&mut self) -> Mail {
        let serial = self.next_serial;
        self.next_serial += 1;
        let random = self.random.fork(&format!("mail {serial}"));
        let sender =
            (!random.permille(self.plan.null_senders)).then(|| format!("user{serial}@home.test"));
        let count = random.below(1..self.plan.recipients_max + 1);
        let recipients = (0..count).map(|at| {
            let mut domain = random.pick(&DOMAINS[..self.plan.domains]);
            if random.permille(self.plan.dead_ends) {
                domain = random.pick(&DEAD_ENDS);
            }
            format!("r{serial}.{at}@{domain}")
        });
        let recipients = recipients.collect();
        let notify = Notify::draw(&random, self.plan.notifies);
        let bytes = random.below(0..self.plan.mail_bytes_max);
        Mail::new(serial, sender, recipients, notify, bytes, &random)
    }

    pub fn add_sender(&mut self, habits: Habits, mails: Vec<Mail>) {
        let host = self.next_host;
        self.next_host += 1;
        // Who logs in is not known by address.
        let logs_in = habits.security != Security::Clear;
        let network = if logs_in { [198, 51, 100] } else { [10, 1, 0] };
        let [a, b, c] = network;
        self.ledger.begun(mails.len() as u32);
        let sender = Sender {
            executor: self.ground.executor.clone(),
            network: self.ground.network.clone(),
            ledger: self.ledger.clone(),
            random: self.random.fork(&format!("sender {host}")),
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, host as u8)),
            relay: LISTENERS.map(|text| text.parse().expect("an address")),
            account: logs_in.then_some(ACCOUNT),
            habits,
        };
        self.ground.executor.spawn(OUTSIDE, sender.run(mails));
    }

    fn add_nuisances(&mut self) {
        for host in 0..self.plan.nuisances {
            let nuisance = Nuisance {
                executor: self.ground.executor.clone(),
                network: self.ground.network.clone(),
                random: self.random.fork(&format!("nuisance {host}")),
                address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, host as u8 + 1)),
                relay: LISTENERS[0].parse::<SocketAddr>().expect("an address"),
                over: self.over.clone(),
            };
            self.ground.executor.spawn(OUTSIDE, nuisance.run());
        }
    }

    pub fn go_for(&mut self, wait: Duration) {
        let until = self.now().after(wait);
        while self.now() < until && self.step() {}
    }

    pub fn go_for_steps(&mut self, steps: u64) {
        let until = self.ground.executor.steps() + steps;
        while self.ground.executor.steps() < until && self.step() {}
    }

    /// Runs until `done`.
    ///
    /// # Panics
    /// When `within` is over before.
    pub fn go_until(&mut self, what: &str, within: Duration, done: impl Fn(&Self) -> bool) {
        let until = self.now().after(within);
        while !done(self) {
            if self.now() >= until || !self.step() {
                let left = self.ground.disk.inventory();
                let snapshots: Vec<_> = self.relay().snapshots().collect();
                let unsettled = self.ledger.unsettled();
                panic!(
                    "{what} did not happen within {within:?}: {unsettled} mails are not sent, \
                     the relay is at {snapshots:?}, on disk are {left:#?}"
                );
            }
        }
    }

    /// One poll; false when nothing can happen any more.
    fn step(&mut self) -> bool {
        let executor = &self.ground.executor;
        let stepped = executor.step();
        let panics = executor.take_panics();
        assert!(panics.is_empty(), "tasks panicked: {panics:?}");
        assert!(executor.steps() < STEPS_MAX, "too many polls: something spins");
        if executor.steps().is_multiple_of(64)
            && let Some(relay) = &self.relay
        {
            relay.check_memory();
            if relay.committer().is_poisoned() {
                // As the process does it: it ends, and is started again.
                self.crash_by(Crash::Killed);
                self.start();
            }
        }
        if self.now() >= self.next_stir {
            self.stir();
        }
        stepped == Stepped::Went
    }

    /// Lets the faults come and go.
    fn stir(&mut self) {
        self.next_stir = self.now().after(STIR);
        let (random, plan) = (&self.random, &self.plan);
        for server in &self.servers {
            if let Some(badness) = plan.badness
                && random.permille(200)
            {
                server.set_manners(Manners::draw(random, badness));
            }
            if plan.outages > 0 {
                let reach = match random.permille(plan.outages) {
                    true => *random.pick(&[Reach::Refusing, Reach::Silent]),
                    false => Reach::Open,
                };
                self.ground.network.set_reach(server.address, reach);
            }
        }
        for server in &self.names {
            // A mood lasts for a while.
            if plan.moods > 0 && random.permille(300) {
                let manner = match random.permille(plan.moods) {
                    true => zone::bad_manner(random),
                    false => Manner::Good,
                };
                server.set_manner(manner);
            }
        }
        if let Some(relay) = &self.relay {
            relay.committer().set_low_disk(random.permille(plan.low_disk));
        }
        if let Some(relay) = &self.relay
            && random.permille(plan.operations)
        {
            relay.operate(&operations::draw(random, &self.ground.journal));
        }
        if random.permille(plan.clock_steps) {
            self.wall_clock = WallClock::Set;
            let step = random.millis(1..60_000);
            match random.permille(500) {
                true => self.ground.clock.set_forward(step),
                false => self.ground.clock.set_back(step),
            }
        }
    }

    /// Ends all faults.
    pub fn calm(&mut self) {
        self.plan.disk = DiskFaults::none();
        (self.plan.low_disk, self.plan.badness, self.plan.outages) = (0, None, 0);
        (self.plan.clock_steps, self.plan.weather) = (0, Weather::fine());
        (self.plan.operations, self.plan.moods) = (0, 0);
        self.over.set(true);
        self.calm_network();
        self.names.iter().for_each(|server| server.set_manner(Manner::Good));
        self.relay().committer().set_faults(DiskFaults::none());
        self.relay().operate(&operations::release_all());
        self.stir();
    }

    /// All servers can be reached, and are good.
    pub fn calm_network(&self) {
        self.ground.network.set_weather(Weather::fine());
        for server in &self.servers {
            server.set_manners(Manners::good());
            self.ground.network.set_reach(server.address, Reach::Open);
        }
    }

    /// Everything leaves the queue and every connection ends.
    pub fn drain(&mut self) {
        self.go_until("draining", LIVENESS, |sim| {
            sim.ledger.unsettled() == 0 && sim.ground.disk.is_empty() && sim.relay().is_idle()
        });
    }

    /// Stops the relay as an operator does, and judges the run.
    pub fn finish(&mut self) {
        self.relay().stop();
        self.go_until("stopping", Duration::from_secs(60), |sim| sim.relay().is_idle());
        for snapshot in self.relay().snapshots() {
            assert_eq!(snapshot.due_entries, 0, "the schedule and the disk disagree: {snapshot:?}");
            assert_eq!(snapshot.queues, 0, "{snapshot:?}");
            assert_eq!(snapshot.ready_entries, 0, "{snapshot:?}");
            assert_eq!(snapshot.asking_entries, 0, "{snapshot:?}");
            assert_eq!(snapshot.inflight_bytes, 0, "memory is not given back: {snapshot:?}");
        }
        let breaches = traffic::breaches(&self.ground.network.calls(), &self.plan, self.now());
        breaches.into_iter().for_each(|words| self.ledger.breach(words));
        Oracle::new(&self.ground, &self.ledger).at_the_end(self.wall_clock);
    }
}
