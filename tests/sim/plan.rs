//! What a run is made of: how many actors, and which faults how often.
//!
//! A plan is drawn from the seed, each kind of fault on with an even chance and of any strength: a
//! run with a few faults reaches further than one with all of them. It also writes the
//! configuration text that the relay is given, with waits short enough that a run is minutes of
//! virtual time.

use super::committer::DiskFaults;
use super::network::Weather;
use super::random::Random;
use super::zone::{self, NAME_SERVERS, SHARED, Set, Way};
use baton::config::Config;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Plan {
    pub senders: u32,
    pub mails_per_sender: u32,
    pub mail_bytes_max: u64,
    /// How many of [`DOMAINS`] are written to.
    pub domains: usize,
    pub recipients_max: u64,
    /// Of a thousand recipients, so many live where no mail is taken.
    pub dead_ends: u64,
    /// Of a thousand messages, so many have the null path.
    pub null_senders: u64,
    /// Of a thousand messages, so many say when their sender wants to hear.
    pub notifies: u64,
    pub vanishes: u64,
    pub nuisances: u32,
    pub shards_min: u64,
    pub shards_max: u64,
    pub weather: Weather,
    pub disk: DiskFaults,
    /// Of a thousand looks, so many begin a time of low disk.
    pub low_disk: u64,
    /// See [`super::manners::Manners::draw`]; without it all servers are good and offer everything.
    pub badness: Option<u64>,
    /// Of a thousand looks at a server, so many find it out of reach.
    pub outages: u64,
    /// Of a thousand looks at a name server, so many find it in a bad mood.
    pub moods: u64,
    pub crashes: u32,
    /// Of a thousand looks, so many find the clock set.
    pub clock_steps: u64,
    /// Of a thousand looks, so many find a person changing the queue.
    pub operations: u64,
    /// Of a thousand polls, so many are for nothing.
    pub spurious: u64,
    /// How long faults go on after the last crash.
    pub safety: Duration,
    pub knobs: Knobs,
}

/// What the configuration of the relay says.
#[derive(Clone, Debug)]
pub struct Knobs {
    pub connections_max: u64,
    pub messages_per_connection_max: u64,
    pub ready_max: u64,
    pub inflight_bytes_max: u64,
    pub sessions_max: u64,
    pub retry_first_seconds: u64,
    pub retry_max_seconds: u64,
    pub expire_after_minutes: u64,
    pub shutdown_grace_seconds: u64,
    pub outbound_sessions_max: u64,
    pub recipients_per_transaction_max: u64,
    /// Of each lane.
    pub rate_per_minute: Option<u64>,
    pub delay_notice_minutes: Option<u64>,
    /// Egress sources; without one the system chooses.
    pub sources: u64,
    /// How the domains of each route are reached.
    pub ways: [Way; ROUTES.len()],
    /// The records of each domain.
    pub sets: [Set; DOMAINS.len()],
}

impl Plan {
    /// No faults at all.
    pub fn smoke() -> Plan {
        Plan {
            senders: 4,
            mails_per_sender: 10,
            mail_bytes_max: 20_000,
            domains: DOMAINS.len(),
            recipients_max: 4,
            dead_ends: 0,
            null_senders: 0,
            notifies: 0,
            vanishes: 0,
            nuisances: 0,
            shards_min: 1,
            shards_max: 2,
            weather: Weather::fine(),
            disk: DiskFaults::none(),
            low_disk: 0,
            badness: None,
            outages: 0,
            moods: 0,
            crashes: 0,
            clock_steps: 0,
            operations: 0,
            spurious: 0,
            safety: Duration::from_secs(10),
            knobs: Knobs {
                connections_max: 4,
                messages_per_connection_max: 100,
                ready_max: 1_000,
                inflight_bytes_max: 16 << 20,
                sessions_max: 1_000,
                retry_first_seconds: 10,
                retry_max_seconds: 120,
                expire_after_minutes: 20,
                shutdown_grace_seconds: 10,
                outbound_sessions_max: 2_000,
                recipients_per_transaction_max: 100,
                rate_per_minute: None,
                delay_notice_minutes: None,
                sources: 0,
                ways: [Way::Hosts; ROUTES.len()],
                sets: [Set::Own; DOMAINS.len()],
            },
        }
    }

    pub fn draw(seed: u64) -> Plan {
        let random = Random::new(seed).fork("plan");
        let share = |most: u64| if random.permille(500) { random.below(0..most + 1) } else { 0 };
        let latency_max = *random.pick(&[500, 5_000, 50_000, 300_000]);
        // Not of the same line of draws: the plans of seeds that failed once stay as they were.
        let packets = random.fork("packets");
        let names = random.fork("names");
        let lanes = random.fork("lanes");
        let by_mx = *names.pick(&[0, 500, 1_000]);
        let rarely = |most: u64| if names.permille(300) { names.below(0..most + 1) } else { 0 };
        Plan {
            senders: random.below(1..7) as u32,
            mails_per_sender: random.below(1..*random.pick(&[5, 15, 40])) as u32,
            domains: 1 + random.index(DOMAINS.len()),
            mail_bytes_max: *random.pick(&[300, 3_000, 30_000, 60_000]),
            recipients_max: random.below(1..8),
            dead_ends: rarely(200),
            null_senders: share(300),
            notifies: share(500),
            vanishes: share(200),
            nuisances: share(3) as u32,
            shards_min: 1,
            shards_max: random.below(1..4),
            weather: Weather {
                latency_micros: 10..latency_max,
                refused: share(100),
                never_answered: share(30),
                reset: share(200),
                tls_failed: share(100),
                tiny_pieces: share(300),
                short_writes: share(500),
                packet_lost: packets.below(0..200),
                packet_twice: packets.below(0..200),
                packet_forged: packets.below(0..200),
            },
            disk: DiskFaults {
                sync_micros: 50..*random.pick(&[500, 5_000, 50_000]),
                slow: share(50),
                failed: share(20),
                unreadable: share(50),
            },
            low_disk: share(100),
            badness: Some(share(250)),
            outages: share(200),
            moods: rarely(700),
            crashes: share(8) as u32,
            clock_steps: share(100),
            operations: share(400),
            spurious: share(20),
            safety: Duration::from_secs(random.below(10..300)),
            knobs: Knobs {
                connections_max: random.below(1..6),
                messages_per_connection_max: *random.pick(&[1, 3, 100]),
                ready_max: 100,
                inflight_bytes_max: *random.pick(&[1 << 20, 16 << 20]),
                sessions_max: *random.pick(&[3, 1_000]),
                retry_first_seconds: random.below(5..60),
                retry_max_seconds: random.below(60..240),
                expire_after_minutes: random.below(10..31),
                shutdown_grace_seconds: random.below(0..20),
                outbound_sessions_max: *lanes.pick(&[1, 3, 8, 2_000, 2_000]),
                recipients_per_transaction_max: *lanes.pick(&[1, 2, 100]),
                rate_per_minute: *lanes.pick(&[None, None, None, Some(60), Some(600)]),
                delay_notice_minutes: *lanes.pick(&[None, None, Some(1), Some(5)]),
                sources: lanes.below(0..3),
                ways: [(); ROUTES.len()].map(|()| Way::draw(&names, by_mx)),
                sets: [(); DOMAINS.len()].map(|()| Set::draw(&names)),
            },
        }
    }
}

/// Where the relay listens: for STARTTLS, and for TLS from the first octet.
pub const LISTENERS: [&str; 2] = ["10.0.0.1:25", "10.0.0.1:465"];

/// Each route: its domains, and the servers that it leads to.
pub const ROUTES: [(&str, &[&str]); 5] = [
    ("home.test", &["192.0.2.1:25"]),
    ("one.test", &["192.0.2.2:25"]),
    ("two.test", &["192.0.2.3:25", "192.0.2.4:25"]),
    ("three.test", &["192.0.2.4:25"]),
    ("*.many.test", &["192.0.2.5:25"]),
];

/// Domains to send to; the senders themselves live in the first.
pub const DOMAINS: [&str; 7] = [
    "home.test",
    "one.test",
    "two.test",
    "three.test",
    "a.many.test",
    "b.many.test",
    "c.many.test",
];

/// Who logs in.
pub const ACCOUNT: &str = "acme";

const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Knobs {
    pub fn config(&self) -> Arc<Config> {
        let text = self.text();
        let config = Config::parse("simulation", &text, "relay.sim.test");
        Arc::new(config.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")))
    }

    /// The name of the lane that mail for `domain` takes, from each source.
    pub fn lane_of(&self, domain: &str) -> String {
        let (route, way) = self.way_of(domain);
        let site = || {
            let at = DOMAINS.iter().position(|known| *known == domain);
            at.map_or_else(|| domain.to_owned(), |at| self.sets[at].site(domain))
        };
        match way {
            Way::Hosts => format!("the hosts of {route}"),
            Way::RoutedMx => format!("{} by {route}", site()),
            Way::Mx => site(),
        }
    }

    fn way_of(&self, domain: &str) -> (&'static str, Way) {
        let mut routes = ROUTES.iter().zip(self.ways);
        let found = routes.find(|((route, _), _)| zone::covers(route, domain));
        found.map_or(("", Way::Mx), |((route, _), way)| (route, way))
    }

    fn routes_text(&self) -> String {
        let route = |((domain, via), way): (&(&str, &[&str]), Way)| {
            let via = match way {
                Way::Hosts => format!("{via:?}"),
                Way::RoutedMx => "\"mx\"".into(),
                Way::Mx => return String::new(),
            };
            let connections = self.connections_max;
            format!(
                "[[route]]\ndomain = \"{domain}\"\nvia = {via}\n\
                 connections_max = {connections}\n"
            )
        };
        ROUTES.iter().zip(self.ways).map(route).collect()
    }

    fn text(&self) -> String {
        let routes = self.routes_text();
        let sources: String = (0..self.sources)
            .map(|number| {
                let address = zone::source(number);
                format!("[[source]]\nname = \"out-{number}\"\naddress = [\"{address}\"]\n")
            })
            .collect();
        let rate =
            self.rate_per_minute.map_or(String::new(), |rate| format!("rate = \"{rate}/min\""));
        let delay = self
            .delay_notice_minutes
            .map_or(String::new(), |minutes| format!("delay_notice_after = \"{minutes}m\""));
        let Knobs { connections_max, outbound_sessions_max, .. } = self;
        let recipients = self.recipients_per_transaction_max;
        let Knobs { ready_max, inflight_bytes_max, sessions_max, .. } = self;
        let Knobs { retry_first_seconds, retry_max_seconds, expire_after_minutes, .. } = self;
        let per_connection = self.messages_per_connection_max;
        let grace = self.shutdown_grace_seconds;
        let [first, second] = LISTENERS;
        format!(
            r#"
            hostname = "relay.sim.test"
            postmaster = "postmaster@home.test"
            shutdown_grace = "{grace}s"
            [[listener]]
            address = "{first}"
            tls = "starttls"
            [[listener]]
            address = "{second}"
            tls = "implicit"
            [[peer]]
            network = "10.0.0.0/8"
            account = "farm"
            [[account]]
            name = "{ACCOUNT}"
            password_hash = "{PASSWORD_HASH}"
            {routes}
            {sources}
            [dns]
            servers = {NAME_SERVERS:?}
            [limits]
            message_bytes_max = "64KiB"
            sessions_max = {sessions_max}
            command_idle_max = "60s"
            data_idle_max = "60s"
            message_duration_max = "5m"
            session_duration_max = "20m"
            [memory]
            ready_max = {ready_max}
            inflight_bytes_max = {inflight_bytes_max}
            commit_bytes_max = "256KiB"
            [delivery]
            retry_first = "{retry_first_seconds}s"
            retry_max = "{retry_max_seconds}s"
            expire_after = "{expire_after_minutes}m"
            connect_timeout = "10s"
            connection_idle = "2s"
            messages_per_connection_max = {per_connection}
            recipients_per_transaction_max = {recipients}
            connections_max = {connections_max}
            outbound_sessions_max = {outbound_sessions_max}
            {rate}
            {delay}
            "#
        )
    }
}

/// The addresses of all remote servers.
pub fn servers() -> Vec<SocketAddr> {
    let shared = SHARED.iter().map(|(_, address)| address);
    let all = ROUTES.iter().flat_map(|(_, via)| via.iter()).chain(shared);
    let mut servers: Vec<SocketAddr> = all.map(|text| text.parse().expect("an address")).collect();
    servers.sort();
    servers.dedup();
    servers
}
