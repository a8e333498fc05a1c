//! Stories of sites: whose turn it is, which host is asked, and how often.
//!
//! The drawn days see to it that nothing is lost or doubled on the way through lanes, the DNS and
//! other shards; these stories look at what they cannot judge: that one sender's flood does not
//! delay another, that a dead host costs little, that a site in trouble is left alone.
//! All times are virtual, and every bound is far from both the right and the wrong behaviour.

use super::client::{Habits, Security};
use super::disk::Crash;
use super::dns::Manner;
use super::ledger::{Answer, News};
use super::manners::{Manners, Refusals};
use super::network::Reach;
use super::plan::{DOMAINS, Plan, ROUTES};
use super::run::Simulation;
use super::scenarios::{one_sender, story};
use super::traffic::open_at_once;
use super::zone::{DEAD, SHARED, Set, TTL, Way};
use baton::event::Event;
use baton::time::Stamp;
use std::net::SocketAddr;
use std::time::Duration;

/// The sender of a flood has so many messages.
const FLOOD: u32 = 20_000;
/// A message that comes behind a flood is delivered after so many of it.
const PATIENCE: usize = 25;

const THE_ONE: &str = "vip@one.test";

const MINUTE: Duration = Duration::from_secs(60);

/// All domains are reached by MX, with the same kind of records.
fn by_mx(set: Set, plan: Plan) -> Plan {
    let mut plan = plan;
    (plan.knobs.ways, plan.knobs.sets) = ([Way::Mx; ROUTES.len()], [set; DOMAINS.len()]);
    plan
}

fn delivered(event: &Event) -> bool {
    matches!(event, Event::RecipientDelivered { .. })
}

fn deferred(event: &Event) -> bool {
    matches!(event, Event::RecipientDeferred { .. })
}

fn bounced(event: &Event) -> bool {
    matches!(event, Event::RecipientBounced { .. })
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// How long after the beginning the relay tried to connect to `address`.
fn knocks(sim: &Simulation, address: &str) -> Vec<Duration> {
    let knocks = sim.ground.network.knocks(endpoint(address));
    knocks.iter().map(|knock| knock.since(Default::default())).collect()
}

/// One site with few connections, and a flood of one sender for it that has been accepted.
fn flooded(sim: &mut Simulation, set_up: impl FnOnce(&Simulation)) {
    sim.start();
    set_up(sim);
    let sessions = 25;
    for _ in 0..sessions {
        let mails = sim.mails_to("one.test", FLOOD / sessions);
        // All who log in are one sender.
        sim.add_sender(Habits { security: Security::Implicit, ..Habits::plain() }, mails);
    }
    sim.go_until("the flood", 60 * MINUTE, |sim| sim.ledger.unsettled() == 0);
}

/// Another sender's message, accepted; its place in the log.
fn one_more(sim: &mut Simulation) -> usize {
    let mut mails = sim.mails_to("one.test", 1);
    mails[0].recipients = vec![THE_ONE.into()];
    sim.add_sender(Habits::plain(), mails);
    sim.go_until("the one", MINUTE, |sim| sim.ledger.unsettled() == 0);
    sim.ground.journal.entries().len()
}

/// When the one is tried again, after its first attempt failed.
fn due_of_the_one(sim: &Simulation) -> Option<Stamp> {
    sim.ground.journal.entries().iter().rev().find_map(|entry| match &entry.event {
        Event::RecipientDeferred { recipient, next, .. } if recipient.as_str() == THE_ONE => {
            Some(*next)
        }
        _ => None,
    })
}

/// The place in the log from which on nothing but the others keeps it from being delivered;
/// `place` when that is so now.
fn go_until_it_is_due(sim: &mut Simulation, place: usize) -> usize {
    let Some(due) = due_of_the_one(sim) else { return place };
    sim.go_until("its time", 5 * MINUTE, |sim| sim.ground.clock.stamp() >= due);
    sim.ground.journal.entries().len()
}

/// Deliveries from `place` in the log on until the one is there.
fn deliveries_before_the_one(sim: &mut Simulation, place: usize) -> usize {
    let is_there = |event: &Event| match event {
        Event::RecipientDelivered { recipient, .. } => recipient.as_str() == THE_ONE,
        _ => false,
    };
    sim.go_until("the delivery of the one", 60 * MINUTE, |sim| {
        sim.ground.journal.entries().iter().skip(place).any(|entry| is_there(&entry.event))
    });
    let entries = sim.ground.journal.entries();
    let since = entries[place..].iter().take_while(|entry| !is_there(&entry.event));
    since.filter(|entry| delivered(&entry.event)).count()
}

fn flood_plan(connections_max: u64) -> Plan {
    let mut plan = by_mx(Set::Shared, Plan { mail_bytes_max: 300, ..one_sender(1) });
    (plan.knobs.connections_max, plan.knobs.ready_max) = (connections_max, 1_000);
    plan.knobs.messages_per_connection_max = 20;
    (plan.weather.tiny_pieces, plan.weather.short_writes) = (0, 0);
    plan
}

/// One message comes while much of a flood is left, and no more than `patience` go before it.
fn one_behind_a_flood(sim: &mut Simulation, patience: usize) {
    flooded(sim, |_| {});
    let left = FLOOD as usize - sim.ground.journal.count(delivered);
    assert!(left > FLOOD as usize / 4, "{left} of the flood are left");
    let place = one_more(sim);
    let before = deliveries_before_the_one(sim, place);
    assert!(before <= patience, "{before} deliveries came before it");
}

#[test]
fn a_flood_of_one_sender_does_not_delay_another() {
    for (connections_max, seed) in [(1, 500), (2, 501)] {
        story(seed, flood_plan(connections_max), |sim| one_behind_a_flood(sim, PATIENCE));
    }
}

/// The lane lives on one or two shards of four, whichever takes the flood and the one: those who
/// hand mail over are no less fair. Where a shard's memory is full the one waits on disk for an
/// entry of that shard to leave, and then for its turn: later, and still soon.
#[test]
fn a_flood_over_all_shards_does_not_delay_another() {
    let roomy = [(1, 8_000, 590), (2, 8_000, 591), (1, 8_000, 592), (1, 8_000, 593)];
    let full = [(1, 1_000, 590), (2, 1_000, 591), (1, 1_000, 592), (1, 1_000, 593)];
    for (rows, patience) in [(roomy, PATIENCE), (full, 4 * PATIENCE)] {
        for (connections_max, ready_max, seed) in rows {
            let mut plan = flood_plan(connections_max);
            (plan.shards_min, plan.shards_max) = (4, 4);
            plan.knobs.ready_max = ready_max;
            story(seed, plan, |sim| one_behind_a_flood(sim, patience));
        }
    }
}

#[test]
fn a_flood_on_disk_does_not_delay_another_after_a_restart() {
    for (connections_max, seed) in [(1, 502), (2, 503)] {
        story(seed, flood_plan(connections_max), |sim| {
            flooded(sim, |sim| {
                for (_, address) in SHARED {
                    sim.ground.network.set_reach(endpoint(address), Reach::Refusing);
                }
            });
            let place = one_more(sim);
            assert_eq!(sim.ground.journal.count(delivered), 0);
            sim.crash_by(Crash::Killed);
            sim.calm_network();
            sim.start();
            let place = go_until_it_is_due(sim, place);
            let before = deliveries_before_the_one(sim, place);
            assert!(before <= PATIENCE, "{before} deliveries came before it");
        });
    }
}

/// What has been deferred once is no worse off than what is fresh: from when it is due again, it
/// waits for its turn only.
#[test]
fn a_flood_does_not_delay_the_second_attempt_of_another() {
    for (connections_max, seed) in [(1, 504), (2, 505)] {
        story(seed, flood_plan(connections_max), |sim| {
            flooded(sim, |_| {});
            let grey = Manners { greylists_for: 5 * MINUTE, ..Manners::good() };
            sim.servers.iter().for_each(|server| server.set_manners(grey.clone()));
            // Connections that are open keep the manners that they began with.
            sim.go_for(Duration::from_secs(1));
            let place = one_more(sim);
            let attempted = |sim: &Simulation| due_of_the_one(sim).is_some();
            sim.go_until("its first attempt", MINUTE, attempted);
            sim.servers.iter().for_each(|server| server.set_manners(Manners::good()));
            let place = go_until_it_is_due(sim, place);
            let before = deliveries_before_the_one(sim, place);
            assert!(before <= PATIENCE, "{before} deliveries came before it");
        });
    }
}

/// Four shards share one connection.
#[test]
fn one_connection_is_one_connection_over_all_shards() {
    for seed in 510..514 {
        let mut plan = by_mx(Set::Shared, Plan { shards_max: 4, shards_min: 4, ..Plan::smoke() });
        (plan.knobs.connections_max, plan.knobs.messages_per_connection_max) = (1, 3);
        story(seed, plan, |sim| {
            sim.start();
            for _ in 0..8 {
                let mails = sim.mails(10);
                sim.add_sender(Habits::plain(), mails);
            }
            sim.drain();
            let calls = sim.ground.network.calls();
            let mail: Vec<_> = calls.iter().filter(|call| call.domain().is_some()).collect();
            let mail: Vec<_> = mail.into_iter().map(|call| &**call).collect();
            assert_eq!(open_at_once(&mail, sim.now()), 1);
            assert_eq!(sim.ground.journal.count(deferred), 0);
            sim.finish();
        });
    }
}

#[test]
fn a_dead_preferred_host_costs_little() {
    let mut plan = by_mx(Set::DeadFirst, Plan { mail_bytes_max: 300, ..one_sender(1) });
    plan.knobs.messages_per_connection_max = 1;
    story(520, plan, |sim| {
        sim.start();
        sim.ground.network.set_reach(endpoint(DEAD.1), Reach::Silent);
        let mails = sim.mails_to("one.test", 100);
        let pause = Duration::from_secs(2);
        sim.add_sender(Habits { pause, ..Habits::plain() }, mails);
        sim.drain();
        let lasted = sim.now().since(Default::default());
        assert_eq!(sim.ground.journal.count(delivered), 100);
        assert_eq!(sim.ground.journal.count(deferred), 0);
        let (sessions, dead) = (knocks(sim, SHARED[0].1).len(), knocks(sim, DEAD.1).len());
        assert_eq!(sessions, 100, "one message over each");
        // Several may ask before the first has waited in vain.
        let minutes = lasted.as_secs() as usize / 60 + 1;
        assert!((1..=5 * minutes).contains(&dead), "asked {dead} times in {lasted:?}");
        assert!(dead < sessions / 4, "asked {dead} times for {sessions} sessions");
        sim.finish();
    });
}

#[test]
fn mail_waits_for_the_dns_to_come_back() {
    for (manner, seed) in [
        (Manner::Silent, 530),
        (Manner::ServFail, 531),
        (Manner::Refused, 532),
        (Manner::Circle, 533),
    ] {
        story(seed, by_mx(Set::Shared, one_sender(1)), |sim| {
            sim.start();
            sim.names.iter().for_each(|server| server.set_manner(manner));
            let mails = sim.mails(20);
            sim.add_sender(Habits::plain(), mails);
            sim.go_for(2 * MINUTE);
            let waits = |event: &Event| match event {
                Event::RecipientDeferred { cause, .. } => cause.contains("4.4.3"),
                _ => false,
            };
            let waiting = sim.ground.journal.count(waits);
            assert!(waiting >= 20, "{waiting} deferrals");
            assert_eq!(sim.ground.journal.count(delivered), 0);
            sim.names.iter().for_each(|server| server.set_manner(Manner::Good));
            sim.drain();
            assert_eq!(sim.ground.journal.count(bounced), 0);
            assert_eq!(sim.ground.journal.count(delivered), 20);
            sim.finish();
        });
    }
}

#[test]
fn where_no_mail_is_taken_it_comes_back_and_says_why() {
    let rows = [("null.test", "5.1.10"), ("nowhere.test", "5.1.2"), ("bare.test", "5.4.4")];
    for ((domain, status), seed) in rows.into_iter().zip(540..) {
        story(seed, by_mx(Set::Shared, one_sender(1)), |sim| {
            sim.start();
            let mails = sim.mails_to(domain, 3);
            sim.add_sender(Habits::plain(), mails);
            sim.drain();
            let says = |event: &Event| match event {
                Event::RecipientBounced { cause, attempts: 1, expired: false, .. } => {
                    cause.contains(status)
                }
                _ => false,
            };
            assert_eq!(sim.ground.journal.count(says), 3);
            assert_eq!(sim.ledger.notices().len(), 3);
            let line = format!("\r\nStatus: {status}\r\n");
            sim.ledger.with_deliveries(|deliveries| {
                for delivery in deliveries {
                    let text = String::from_utf8_lossy(&delivery.message);
                    assert!(text.contains(&line), "{text}");
                }
            });
            sim.finish();
        });
    }
}

#[test]
fn a_site_that_greets_nobody_is_asked_once_a_minute() {
    let mut plan = by_mx(Set::Shared, Plan { mail_bytes_max: 300, ..one_sender(1) });
    (plan.knobs.connections_max, plan.knobs.expire_after_minutes) = (20, 120);
    (plan.knobs.retry_first_seconds, plan.knobs.retry_max_seconds) = (5, 60);
    story(550, plan, |sim| {
        sim.start();
        let greeting = Refusals { transient: 1_000, permanent: 0 };
        let closed = Manners { greeting, ..Manners::good() };
        sim.servers.iter().for_each(|server| server.set_manners(closed.clone()));
        for _ in 0..10 {
            let mails = sim.mails_to("one.test", 30);
            sim.add_sender(Habits::plain(), mails);
        }
        sim.go_for(60 * MINUTE);
        for (host, address) in SHARED {
            let late = |knock: &Duration| (10 * MINUTE..60 * MINUTE).contains(knock);
            let asked = knocks(sim, address).into_iter().filter(late).count();
            assert!((20..=51).contains(&asked), "{host} was asked {asked} times in 50 minutes");
        }
        sim.servers.iter().for_each(|server| server.set_manners(Manners::good()));
        sim.drain();
        assert_eq!(sim.ground.journal.count(delivered), 300);
        sim.finish();
    });
}

#[test]
fn new_records_move_new_mail_to_the_new_hosts() {
    story(560, by_mx(Set::Own, one_sender(1)), |sim| {
        sim.start();
        let send = |sim: &mut Simulation| {
            let before = sim.ground.network.calls().len();
            let mails = sim.mails_to("one.test", 3);
            sim.add_sender(Habits::plain(), mails);
            sim.drain();
            let calls = sim.ground.network.calls();
            let mail = calls[before..].iter().filter(|call| call.domain().is_some());
            mail.map(|call| call.to).collect::<Vec<_>>()
        };
        let (old, new) = (endpoint("192.0.2.2:25"), endpoint(SHARED[1].1));
        let hosts = send(sim);
        assert!(!hosts.is_empty() && hosts.iter().all(|host| *host == old), "{hosts:?}");
        for server in &sim.names {
            server.remove("one.test");
            server.add_mx("one.test", 10, SHARED[1].0);
        }
        sim.go_for(TTL + MINUTE);
        let hosts = send(sim);
        assert!(!hosts.is_empty() && hosts.iter().all(|host| *host == new), "{hosts:?}");
        sim.finish();
    });
}

#[test]
fn a_rate_is_kept_by_the_second() {
    for (sources, shards, seed) in [(0, 1, 570), (1, 4, 571), (2, 2, 572)] {
        let plan = Plan { mail_bytes_max: 300, recipients_max: 1, ..Plan::smoke() };
        let mut plan = by_mx(Set::Shared, Plan { shards_min: shards, shards_max: shards, ..plan });
        (plan.knobs.rate_per_minute, plan.knobs.sources) = (Some(60), sources);
        story(seed, plan, |sim| {
            sim.start();
            for _ in 0..4 {
                let mails = sim.mails_to("one.test", 30);
                sim.add_sender(Habits::plain(), mails);
            }
            sim.drain();
            let times: Vec<_> = {
                let entries = sim.ground.journal.entries();
                let entries = entries.iter().filter(|entry| delivered(&entry.event));
                entries.map(|entry| entry.at).collect()
            };
            assert_eq!(times.len(), 120);
            // A second for each, of each source; each shard with a part may begin with one, and
            // half a second is saved up.
            let most = (10 + 1) * sources.max(1) as usize + shards as usize + 1;
            for (first, from) in times.iter().enumerate() {
                let within = |at: &&Stamp| at.since(*from) < Duration::from_secs(10);
                let sent = times[first..].iter().take_while(within).count();
                assert!(sent <= most, "{sent} in ten seconds from {from}");
            }
            sim.finish();
        });
    }
}

#[test]
fn a_sender_is_told_once_that_it_takes_long() {
    let mut plan = by_mx(Set::Shared, one_sender(1));
    plan.knobs.delay_notice_minutes = Some(2);
    story(580, plan, |sim| {
        sim.start();
        let mails = sim.mails_to("one.test", 10);
        sim.add_sender(Habits::plain(), mails);
        let refusals = Refusals { transient: 1_000, permanent: 0 };
        // The notices go to another domain, and all are at home on the same hosts.
        let to_one = Manners { rcpt_but_home: refusals, ..Manners::good() };
        sim.servers.iter().for_each(|server| server.set_manners(to_one.clone()));
        sim.drain();
        sim.finish();
        let told = |news| sim.ledger.notices().values().filter(|one| one.news == news).count();
        assert_eq!((told(News::Delayed), told(News::Failed)), (10, 10));
        for (_, submission) in sim.ledger.submissions() {
            assert_eq!(submission.answer, Answer::Accepted);
        }
    });
}
