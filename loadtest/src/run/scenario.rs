//! The scenarios of `baton-load run`, as data: what is sent, where it goes, how the receivers
//! behave and in which order things happen.
//!
//! A scenario says nothing of any relay. Sizes and counts are those of a full run; `--quick` takes
//! a tenth, `--messages` and `--duration` replace them. Scenarios whose names end in a number come
//! in families that differ in that alone: does a message cost more when there are more domains,
//! senders, or messages that wait? What they ask is what a relay costs that knows its domains and
//! senders, so their warm-up goes to each of them once; `many-domains` begins knowing none.

use std::time::Duration;

use clap::ValueEnum;

/// Its names on the command line and in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A few hundred messages of 4 KiB: does everything work?
    Smoke,
    /// Messages of 4 KiB to one next hop
    Small,
    /// Messages of 100 KiB to one next hop
    Large,
    /// 20,000 domains, by MX, on 200 sites
    ManyDomains,
    /// As small, a connection for each message
    NewConnections,
    /// As small, encrypted on both sides of the relay
    Tls,
    /// The mail of a hosting provider into an internet of 200 sites that defers, refuses, stalls
    /// and drops connections
    BadDay,
    /// As small, beside 20,000 sessions that do nothing
    Idle,
    /// Mail piles up while nobody takes it, and then everybody does
    Backlog,
    /// Half the rate that the slowest relay can do, for ten minutes
    Soak,
    /// One domain, by MX; the relay has its addresses already
    #[value(name = "domains-1")]
    Domains1,
    /// The same with 1,000 domains on 200 sites
    #[value(name = "domains-1k")]
    Domains1k,
    /// The same with 20,000 domains on 200 sites
    #[value(name = "domains-20k")]
    Domains20k,
    /// As small, with one address in all MAIL FROM
    #[value(name = "senders-1")]
    Senders1,
    /// The same with 1,000 addresses in turn
    #[value(name = "senders-1k")]
    Senders1k,
    /// The same with 100,000 addresses
    #[value(name = "senders-100k")]
    Senders100k,
    /// As small, with nothing else in the queue: what the next two are to be compared with
    #[value(name = "queued-0")]
    Queued0,
    /// As small, while 100,000 messages to 20,000 domains wait for a next hop that is out of reach
    #[value(name = "queued-100k")]
    Queued100k,
    /// The same with a million that wait
    #[value(name = "queued-1m")]
    Queued1m,
}

/// What a scenario consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub source: Source,
    pub route: Route,
    pub receivers: Receivers,
    pub course: Course,
    pub warm_up: WarmUp,
    /// What is in the relay's queue before the warm-up, and stays there.
    pub waiting: Waiting,
    pub amount: Amount,
    /// Connections that a relay may have to one site, where that can be set.
    pub connections_max: u32,
    /// The drain ends when nothing has moved for so long.
    pub stall_max: Duration,
    /// The drain ends then, whatever moves.
    pub drain_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    pub mail: Mail,
    pub senders: Senders,
    pub domains: u32,
    pub sessions: u32,
    pub connections: Connections,
    pub encryption: Encryption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// Length of a message in bytes.
    Size(u32),
    /// A mix that `send` knows by this name.
    Profile(&'static str),
}

/// Addresses of senders, each of its own domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// As many as the mail has by itself.
    OfMail,
    Count(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    Kept,
    OneMessage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    Starttls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// All mail goes to one next hop that the relay is told.
    NextHop,
    /// By MX. All hosts have the address 127.0.0.1, or each one of its own.
    Mx { sites: u32, hosts: Hosts },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    OneAddress,
    Spread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// Take everything at once.
    Willing,
    /// The same, and offer STARTTLS.
    Encrypting,
    /// Behave as a profile that `sink` knows by this name.
    Profile(&'static str),
}

/// What happens when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// As fast as the relay answers (closed loop).
    Flow,
    /// The same, beside so many sessions that do nothing.
    Idle { sessions: u32 },
    /// Fills while receivers greet with 421, then they take mail and the relay is told to try all
    /// again.
    Backlog,
    /// Open loop at this share of the rate that the slowest relay of the run relays at.
    Soak { share: f64 },
}

/// What comes before, and is not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// Receivers that treat nobody well would leave some of it in the way.
    Nothing,
    /// A few messages to domains that do not come again.
    Strangers,
    /// At least one to each domain and from each sender of what is measured, in turn.
    Everybody,
}

/// Messages of 1 KB that wait for a next hop that is out of reach, for hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub messages: u64,
    pub domains: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Messages(u64),
    Time(Duration),
}

/// A tenth of everything, with `--quick`.
const QUICK: u32 = 10;

impl Scenario {
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub fn plan(self) -> Plan {
        let small = small();
        let source = small.source;
        match self {
            Scenario::Smoke => Plan { amount: Amount::Messages(500), ..small },
            Scenario::Small => small,
            Scenario::Large => Plan {
                source: Source { mail: Mail::Size(100 << 10), sessions: 20, ..source },
                amount: Amount::Messages(8_000),
                ..small
            },
            Scenario::ManyDomains => Plan {
                source: Source { domains: 20_000, ..source },
                route: Route::Mx { sites: 200, hosts: Hosts::OneAddress },
                amount: Amount::Messages(60_000),
                connections_max: 20,
                ..small
            },
            Scenario::NewConnections => {
                Plan { source: Source { connections: Connections::OneMessage, ..source }, ..small }
            }
            Scenario::Tls => Plan {
                source: Source { encryption: Encryption::Starttls, ..source },
                receivers: Receivers::Encrypting,
                ..small
            },
            Scenario::BadDay => Plan {
                source: Source { mail: Mail::Profile("hosting-day"), domains: 2_000, ..source },
                route: Route::Mx { sites: 200, hosts: Hosts::Spread },
                receivers: Receivers::Profile("bad-day"),
                warm_up: WarmUp::Nothing,
                amount: Amount::Messages(20_000),
                connections_max: 20,
                drain_max: Duration::from_secs(60),
                ..small
            },
            Scenario::Idle => Plan { course: Course::Idle { sessions: 20_000 }, ..small },
            Scenario::Backlog => Plan {
                source: Source { mail: Mail::Size(1000), domains: 2_000, ..source },
                route: Route::Mx { sites: 50, hosts: Hosts::Spread },
                course: Course::Backlog,
                warm_up: WarmUp::Nothing,
                amount: Amount::Messages(100_000),
                connections_max: 20,
                ..small
            },
            Scenario::Soak => Plan {
                course: Course::Soak { share: 0.5 },
                amount: Amount::Time(Duration::from_secs(600)),
                ..small
            },
            Scenario::Domains1 => small.with_domains(1),
            Scenario::Domains1k => small.with_domains(1_000),
            Scenario::Domains20k => small.with_domains(20_000),
            Scenario::Senders1 => small.with_senders(1),
            Scenario::Senders1k => small.with_senders(1_000),
            Scenario::Senders100k => small.with_senders(100_000),
            Scenario::Queued0 => small,
            Scenario::Queued100k => small.beside(100_000),
            Scenario::Queued1m => small.beside(1_000_000),
        }
    }
}

impl Receivers {
    /// Nothing is refused or deferred, so nothing has to bounce or wait.
    pub fn take_everything(self) -> bool {
        matches!(self, Receivers::Willing | Receivers::Encrypting)
    }
}

impl Waiting {
    pub const NOTHING: Waiting = Waiting { messages: 0, domains: 20_000 };
}

impl Plan {
    fn with_domains(self, domains: u32) -> Plan {
        Plan {
            source: Source { domains, ..self.source },
            route: Route::Mx { sites: 200, hosts: Hosts::OneAddress },
            warm_up: WarmUp::Everybody,
            amount: Amount::Messages(60_000),
            connections_max: 20,
            ..self
        }
    }

    fn with_senders(self, senders: u32) -> Plan {
        let source = Source { senders: Senders::Count(senders), ..self.source };
        Plan { source, warm_up: WarmUp::Everybody, ..self }
    }

    fn beside(self, messages: u64) -> Plan {
        Plan { waiting: Waiting { messages, ..self.waiting }, ..self }
    }

    pub fn quick(mut self) -> Plan {
        self.amount = match self.amount {
            Amount::Messages(messages) => Amount::Messages((messages / u64::from(QUICK)).max(200)),
            Amount::Time(time) => Amount::Time(time / QUICK),
        };
        if let Course::Idle { sessions } = &mut self.course {
            *sessions /= QUICK;
        }
        // What the warm-up goes through one by one.
        match (self.warm_up, &mut self.source.senders) {
            (WarmUp::Everybody, Senders::Count(senders)) => *senders = senders.div_ceil(QUICK),
            (WarmUp::Everybody, Senders::OfMail) => {
                self.source.domains = self.source.domains.div_ceil(QUICK);
            }
            (WarmUp::Nothing | WarmUp::Strangers, _) => {}
        }
        self.waiting.messages /= u64::from(QUICK);
        self.drain_max /= QUICK;
        self
    }

    /// Messages that come before, and are not measured.
    pub fn warm_up_messages(&self) -> u64 {
        let few = match self.amount {
            Amount::Messages(messages) => (messages / 20).clamp(50, 2000),
            Amount::Time(_) => 1000,
        };
        let Source { domains, senders, .. } = self.source;
        match (self.warm_up, senders) {
            (WarmUp::Nothing, _) => 0,
            (WarmUp::Strangers, _) => few,
            // Both come in turn, so that as many messages as there are of either reach them all.
            (WarmUp::Everybody, Senders::OfMail) => few.max(domains.into()),
            (WarmUp::Everybody, Senders::Count(senders)) => few.max(domains.max(senders).into()),
        }
    }

    /// The load in words, for the report.
    pub fn load(&self) -> Vec<(String, String)> {
        let source = &self.source;
        let mut load = vec![
            match source.mail {
                Mail::Size(bytes) if bytes % 1024 == 0 => ("size", format!("{} KiB", bytes >> 10)),
                Mail::Size(bytes) => ("size", format!("{bytes} B")),
                Mail::Profile(name) => ("mail", format!("profile {name}")),
            },
            match self.amount {
                Amount::Messages(messages) => ("messages", messages.to_string()),
                Amount::Time(time) => ("duration", format!("{} s", time.as_secs())),
            },
            (
                "sessions",
                match source.connections {
                    Connections::Kept => source.sessions.to_string(),
                    Connections::OneMessage => {
                        format!("{}, a connection for each message", source.sessions)
                    }
                },
            ),
            ("domains", source.domains.to_string()),
            (
                "route",
                match self.route {
                    Route::NextHop => "one next hop".to_owned(),
                    Route::Mx { sites, hosts: Hosts::OneAddress } => {
                        format!("by MX, {sites} sites at one address")
                    }
                    Route::Mx { sites, hosts: Hosts::Spread } => {
                        format!("by MX, {sites} sites at their own addresses")
                    }
                },
            ),
            ("connections to a site", format!("at most {}", self.connections_max)),
        ];
        self.circumstances(&mut load);
        load.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What most scenarios do not have.
    fn circumstances(&self, load: &mut Vec<(&'static str, String)>) {
        if let Senders::Count(senders) = self.source.senders {
            load.push(("senders' addresses", senders.to_string()));
        }
        match self.receivers {
            Receivers::Willing => {}
            Receivers::Encrypting => load.push(("encryption", "STARTTLS on both sides".to_owned())),
            Receivers::Profile(name) => load.push(("receivers", format!("profile {name}"))),
        }
        match self.course {
            Course::Flow => {}
            Course::Idle { sessions } => load.push(("idle sessions", sessions.to_string())),
            Course::Backlog => {
                load.push(("backlog", "filled while all receivers greet with 421".to_owned()));
            }
            Course::Soak { share } => load
                .push(("rate", format!("{:.0} % of what the slowest relay can do", share * 100.0))),
        }
        if self.waiting.messages > 0 {
            let Waiting { messages, domains } = self.waiting;
            let waiting = format!("{messages} messages to {domains} domains out of reach");
            load.push(("waiting meanwhile", waiting));
        }
    }
}

/// The scenario that most others change in one thing.
fn small() -> Plan {
    Plan {
        source: Source {
            mail: Mail::Size(4 << 10),
            senders: Senders::OfMail,
            domains: 10,
            sessions: 50,
            connections: Connections::Kept,
            encryption: Encryption::None,
        },
        route: Route::NextHop,
        receivers: Receivers::Willing,
        course: Course::Flow,
        warm_up: WarmUp::Strangers,
        waiting: Waiting::NOTHING,
        amount: Amount::Messages(40_000),
        connections_max: 50,
        stall_max: Duration::from_secs(30),
        drain_max: Duration::from_secs(600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_taken_quickly() {
        for scenario in Scenario::value_variants() {
            let (full, quick) = (scenario.plan(), scenario.plan().quick());
            assert!(!scenario.name().is_empty() && !quick.load().is_empty());
            match (full.amount, quick.amount) {
                (Amount::Messages(full), Amount::Messages(quick)) => assert!(quick < full),
                (Amount::Time(full), Amount::Time(quick)) => assert!(quick < full),
                other => panic!("{other:?}"),
            }
            assert!(quick.warm_up_messages() <= full.warm_up_messages());
        }
    }

    #[test]
    fn a_warm_up_of_everybody_reaches_everybody() {
        let plans = Scenario::value_variants().iter().map(|scenario| scenario.plan());
        let plans = plans.flat_map(|plan| [plan, plan.quick()]);
        let warm = plans.filter(|plan| plan.warm_up == WarmUp::Everybody);
        let mut seen = 0;
        for plan in warm {
            let senders = match plan.source.senders {
                Senders::OfMail => 0,
                Senders::Count(senders) => senders,
            };
            let people = u64::from(plan.source.domains.max(senders));
            assert!(plan.warm_up_messages() >= people, "{plan:?}");
            seen += 1;
        }
        assert_eq!(seen, 12);
    }

    #[test]
    fn families_differ_in_one_number() {
        use Scenario::{Domains1, Domains20k, Queued0, Queued1m, Senders1, Senders100k};
        let words = |scenario: Scenario| scenario.plan().load();
        for (small, large) in [(Domains1, Domains20k), (Senders1, Senders100k)] {
            let (small, large) = (words(small), words(large));
            let differs = small.iter().zip(&large).filter(|(small, large)| small != large);
            assert_eq!((small.len(), differs.count()), (large.len(), 1));
        }
        let mut large = words(Queued1m);
        large.retain(|(name, _)| name != "waiting meanwhile");
        assert_eq!(words(Queued0), large);
    }
}
