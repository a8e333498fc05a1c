//! The stories that are run: a quiet day, days on which one thing goes wrong, and days drawn from a
//! seed.
//!
//! `BATON_SIM_SEEDS=N` runs N drawn days instead of the usual number; `BATON_SIM_SEED=S` runs that
//! one alone and prints its log. A failing day says its number.
//!
//! The last stories break the world on purpose: a judge who never objects proves nothing.

use super::client::Habits;
use super::disk::Crash;
use super::journal::Entry;
use super::ledger::{Answer, Delivery};
use super::manners::{Manners, Refusals};
use super::network::{Reach, Weather};
use super::oracle::{Oracle, WallClock};
use super::plan::{Knobs, Plan};
use super::run::Simulation;
use super::zone::{Set, Way};
use baton::event::Event;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Drawn days in a usual test run.
const SEEDS: u64 = 200;

/// Lines of the relay's log that are shown when a day fails.
const LINES_SHOWN: usize = 40;

/// Runs a story; when it fails says how to see it again. Gives the relay's log.
pub(super) fn story(seed: u64, plan: Plan, tell: impl FnOnce(&mut Simulation)) -> Vec<String> {
    let mut simulation = Simulation::new(seed, plan.clone());
    let journal = simulation.ground.journal.clone();
    let told = catch_unwind(AssertUnwindSafe(|| tell(&mut simulation)));
    let lines = journal.lines();
    if let Err(panic) = told {
        // Who replays a day wants to see all of it.
        let shown = if number("BATON_SIM_SEED").is_some() { lines.len() } else { LINES_SHOWN };
        let shown = &lines[lines.len().saturating_sub(shown)..];
        eprintln!("{plan:#?}\nthe log ends with\n{}", shown.join("\n"));
        eprintln!("seed {seed} failed; to see it again: BATON_SIM_SEED={seed} make test");
        resume_unwind(panic);
    }
    lines
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

/// One message at a time, from a single sender, to one domain.
pub(super) fn one_sender(mails: u32) -> Plan {
    Plan { senders: 1, mails_per_sender: mails, recipients_max: 1, shards_max: 1, ..Plan::smoke() }
}

fn bounced(event: &Event) -> bool {
    matches!(event, Event::RecipientBounced { .. })
}

#[test]
fn days_drawn_from_a_seed() {
    if let Some(seed) = number("BATON_SIM_SEED") {
        story(seed, Plan::draw(seed), Simulation::run);
        return;
    }
    for seed in 0..number("BATON_SIM_SEEDS").unwrap_or(SEEDS) {
        story(seed, Plan::draw(seed), Simulation::run);
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 0..8 {
        let first = story(seed, Plan::draw(seed), Simulation::run);
        let second = story(seed, Plan::draw(seed), Simulation::run);
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn on_a_quiet_day_everything_is_delivered_at_the_first_attempt() {
    story(1, Plan::smoke(), |sim| {
        sim.run();
        for (_, submission) in sim.ledger.submissions() {
            assert_eq!(submission.answer, Answer::Accepted);
        }
        for entry in &*sim.ground.journal.entries() {
            if let Event::RecipientDelivered { attempts, delays, .. } = &entry.event {
                assert_eq!(*attempts, 1);
                assert!(delays.queued < 1_000, "waited in the queue: {:?}", entry.event);
            }
            assert!(!matches!(entry.event, Event::RecipientDeferred { .. }));
            assert!(!bounced(&entry.event));
        }
    });
}

/// A host that offers TLS and fails at it gets its mail in clear, at once; one that does not fail
/// gets it encrypted.
#[test]
fn broken_tls_delays_nothing() {
    for (tls_failed, seed) in [(0, 21), (1_000, 22), (1_000, 23)] {
        let weather = Weather { tls_failed, ..Weather::fine() };
        story(seed, Plan { weather, ..one_sender(6) }, |sim| {
            sim.start();
            let mails = sim.mails(6);
            sim.add_sender(Habits::plain(), mails);
            let all_are_out = |sim: &Simulation| {
                let delivered = |event: &Event| matches!(event, Event::RecipientDelivered { .. });
                sim.ground.journal.count(delivered) == 6
            };
            sim.go_until("six deliveries", Duration::from_secs(60), all_are_out);
            let entries = sim.ground.journal.entries();
            for entry in &*entries {
                assert!(!matches!(entry.event, Event::RecipientDeferred { .. }));
                if let Event::RecipientDelivered { attempts, tls, .. } = &entry.event {
                    assert_eq!((*attempts, tls.is_some()), (1, tls_failed == 0));
                }
            }
            let failed = |entry: &&Entry| matches!(entry.event, Event::HandshakeFailed { .. });
            assert_eq!(entries.iter().filter(failed).count() > 0, tls_failed > 0);
            drop(entries);
            sim.drain();
            sim.finish();
        });
    }
}

/// Wherever in the life of a message the relay dies, each recipient gets it, and twice only if
/// excused.
#[test]
fn a_crash_at_any_step_of_a_message() {
    let plan = Plan { mails_per_sender: 2, recipients_max: 3, ..one_sender(2) };
    let live = |sim: &mut Simulation, crash: Option<(u64, Crash)>| {
        sim.start();
        let mails = sim.mails(2);
        sim.add_sender(Habits::plain(), mails);
        if let Some((step, crash)) = crash {
            sim.go_for_steps(step);
            sim.crash_by(crash);
            sim.go_for(Duration::from_millis(100));
            sim.start();
        }
        sim.drain();
    };
    let mut steps = 0;
    story(7, plan.clone(), |sim| {
        live(sim, None);
        steps = sim.ground.executor.steps();
    });
    for step in 0..steps {
        for crash in [Crash::Killed, Crash::PowerLost] {
            story(7, plan.clone(), |sim| {
                live(sim, Some((step, crash)));
                sim.finish();
            });
        }
    }
}

#[test]
fn a_backlog_waits_on_disk_and_not_in_memory() {
    let mut plan = Plan { senders: 6, mails_per_sender: 150, mail_bytes_max: 300, ..Plan::smoke() };
    (plan.knobs.ready_max, plan.knobs.connections_max) = (100, 2);
    (plan.knobs.retry_first_seconds, plan.knobs.retry_max_seconds) = (60, 120);
    story(2, plan, |sim| {
        sim.start();
        for server in &sim.servers {
            sim.ground.network.set_reach(server.address, Reach::Refusing);
        }
        for _ in 0..6 {
            let mails = sim.mails(150);
            sim.add_sender(Habits::plain(), mails);
        }
        sim.go_until("taking the mail", Duration::from_secs(300), |sim| {
            sim.ledger.unsettled() == 0
        });
        let queued: u64 = sim.relay().snapshots().map(|snapshot| snapshot.due_entries).sum();
        assert!(queued > 900, "{queued} entries wait");
        sim.go_for(Duration::from_secs(200));
        sim.crash_by(Crash::PowerLost);
        sim.start();
        sim.calm();
        sim.drain();
        sim.finish();
    });
}

/// Entries are read back, accepted and settled in one domain all at once, while the same messages
/// wait for another domain: who settles an entry twice deletes what the other still needs.
#[test]
fn a_domain_is_read_while_mail_comes_and_goes() {
    let mut plan = Plan { mail_bytes_max: 300, shards_max: 1, ..Plan::smoke() };
    (plan.knobs.retry_first_seconds, plan.knobs.connections_max) = (5, 20);
    for seed in 100..104 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            sim.ground.network.set_reach(sim.server_of("three.test").address, Reach::Refusing);
            for _ in 0..20 {
                let mut mails = sim.mails_to("one.test", 40);
                mails.iter_mut().for_each(|mail| mail.recipients.push("joe@three.test".into()));
                let pause = Duration::from_millis(500);
                sim.add_sender(Habits { pause, ..Habits::plain() }, mails);
            }
            let greylists_for = Duration::from_secs(4);
            sim.server_of("one.test").set_manners(Manners { greylists_for, ..Manners::good() });
            sim.go_for(Duration::from_secs(60));
            sim.calm();
            sim.drain();
            sim.finish();
        });
    }
}

#[test]
fn a_connection_that_waits_takes_the_next_message_at_once() {
    let plan = one_sender(1);
    story(3, plan, |sim| {
        sim.start();
        // Several connections at once, which end unused.
        for _ in 0..4 {
            let mails = sim.mails_to("one.test", 2);
            sim.add_sender(Habits::plain(), mails);
        }
        sim.go_for(Duration::from_secs(10));
        let mails = sim.mails_to("one.test", 20);
        let pause = Duration::from_millis(900);
        sim.add_sender(Habits { pause, ..Habits::plain() }, mails);
        sim.drain();
        for entry in &*sim.ground.journal.entries() {
            if let Event::RecipientDelivered { delays, .. } = &entry.event {
                assert!(delays.queued < 300, "a connection slept: {:?}", entry.event);
            }
        }
        sim.finish();
    });
}

#[test]
fn what_is_refused_for_good_comes_back_to_its_sender() {
    let plan = Plan { null_senders: 200, ..Plan::smoke() };
    story(4, plan, |sim| {
        sim.start();
        let mails = sim.mails_to("one.test", 20);
        sim.add_sender(Habits::plain(), mails);
        let refusals = Refusals { transient: 0, permanent: 1_000 };
        sim.server_of("one.test").set_manners(Manners::refusing(refusals));
        sim.drain();
        sim.finish();
        assert_eq!(sim.ground.journal.count(bounced), 20);
        let told = sim.ledger.notices().len();
        let nobody = sim.ledger.submissions().values().filter(|one| one.sender.is_none()).count();
        assert!(nobody > 0);
        assert_eq!(told, 20 - nobody);
    });
}

#[test]
fn what_cannot_be_delivered_in_time_comes_back_to_its_sender() {
    story(5, Plan::smoke(), |sim| {
        sim.start();
        let mails = sim.mails_to("one.test", 10);
        sim.add_sender(Habits::plain(), mails);
        let refusals = Refusals { transient: 1_000, permanent: 0 };
        sim.server_of("one.test").set_manners(Manners::refusing(refusals));
        sim.drain();
        sim.finish();
        let expired =
            |event: &Event| matches!(event, Event::RecipientBounced { expired: true, .. });
        assert_eq!(sim.ground.journal.count(expired), 10);
        assert_eq!(sim.ledger.notices().len(), 10);
        // 20 minutes at 10, 20, 40, 80, 120, 120 .. seconds.
        let deferred = |event: &Event| matches!(event, Event::RecipientDeferred { .. });
        let attempts = sim.ground.journal.count(deferred) / 10;
        assert!((8..=16).contains(&attempts), "{attempts} attempts each");
    });
}

#[test]
fn senders_that_come_together_share_a_sync() {
    let mut plan = Plan::smoke();
    plan.disk.sync_micros = 20_000..30_000;
    story(6, plan, |sim| {
        sim.start();
        for _ in 0..64 {
            let mails = sim.mails_to("one.test", 10);
            sim.add_sender(Habits::plain(), mails);
        }
        sim.drain();
        sim.finish();
        let syncs = sim.ground.disk.syncs();
        assert!(syncs < 640 / 8, "{syncs} syncs for 640 messages");
    });
}

#[test]
fn a_full_disk_refuses_and_keeps() {
    story(8, one_sender(10), |sim| {
        sim.start();
        let mails = sim.mails(10);
        sim.add_sender(Habits { pause: Duration::from_secs(2), ..Habits::plain() }, mails);
        sim.go_for(Duration::from_secs(5));
        sim.plan.low_disk = 1_000;
        sim.go_for(Duration::from_secs(60));
        assert!(sim.ledger.unsettled() > 0, "mail was taken onto a full disk");
        sim.calm();
        sim.drain();
        sim.finish();
        let refused = |event: &Event| matches!(event, Event::MessageRejected { .. });
        assert!(sim.ground.journal.count(refused) > 0, "a refusal without an event");
    });
}

/// Runs a day, and then again what the oracle has to say after `tamper`.
fn tampered(tamper: impl FnOnce(&mut Simulation)) {
    let mut sim = Simulation::new(9, Plan::smoke());
    sim.run();
    tamper(&mut sim);
    Oracle::new(&sim.ground, &sim.ledger).at_the_end(WallClock::Steady);
}

#[test]
#[should_panic(expected = "LOST")]
fn the_oracle_notices_a_disk_that_forgets() {
    let mut sim = Simulation::new(10, one_sender(5));
    sim.start();
    let mails = sim.mails_to("one.test", 5);
    sim.add_sender(Habits::plain(), mails);
    sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Refusing);
    sim.go_until("taking the mail", Duration::from_secs(60), |sim| sim.ledger.unsettled() == 0);
    sim.ground.disk.wipe();
    sim.crash_by(Crash::PowerLost);
}

#[test]
#[should_panic(expected = "delivered for sure, then delivered again")]
fn the_oracle_notices_a_second_delivery() {
    tampered(|sim| sim.ledger.keep_again(0, |_| {}));
}

#[test]
#[should_panic(expected = "was changed on its way")]
fn the_oracle_notices_a_changed_octet() {
    tampered(|sim| {
        sim.ledger.keep_again(0, |delivery: &mut Delivery| {
            *delivery.message.last_mut().expect("an octet") ^= 1;
            delivery.reply = RefCell::default();
        });
    });
}

#[test]
#[should_panic(expected = "was never submitted")]
fn the_oracle_notices_a_message_out_of_nowhere() {
    tampered(|sim| {
        sim.ledger.keep_again(0, |delivery: &mut Delivery| {
            delivery.identity = super::mail::Identity::Message("99.9".into());
        });
    });
}

#[test]
#[should_panic(expected = "delivered for sure, then delivered again")]
fn the_oracle_notices_a_delivery_by_a_later_life() {
    tampered(|sim| {
        sim.ledger.keep_again(0, |delivery: &mut Delivery| {
            delivery.reply = RefCell::default();
            delivery.life += 2;
        });
    });
}

/// A day by MX, judged as if its limits had been others.
fn limited(limit: impl FnOnce(&mut Knobs)) {
    let mut plan = Plan { senders: 8, recipients_max: 12, shards_max: 1, ..Plan::smoke() };
    (plan.knobs.ways, plan.knobs.sets) = ([Way::Mx; 5], [Set::Shared; 7]);
    let mut sim = Simulation::new(11, plan);
    sim.start();
    let mut mails = sim.mails(40);
    // Several at once, to one site.
    for _ in 0..4 {
        let some = mails.drain(..10).collect();
        sim.add_sender(Habits::plain(), some);
    }
    sim.drain();
    limit(&mut sim.plan.knobs);
    sim.finish();
}

#[test]
#[should_panic(expected = "connections at once to shared from 10.0.0.1")]
fn the_oracle_notices_a_connection_too_many() {
    limited(|knobs| knobs.connections_max = 1);
}

#[test]
#[should_panic(expected = "connections at once in all, 1 allowed")]
fn the_oracle_notices_a_connection_too_many_in_all() {
    limited(|knobs| knobs.outbound_sessions_max = 1);
}

#[test]
#[should_panic(expected = "messages over one connection")]
fn the_oracle_notices_a_message_too_many() {
    limited(|knobs| knobs.messages_per_connection_max = 1);
}

#[test]
#[should_panic(expected = "from 10.0.0.1, who is no source")]
fn the_oracle_notices_a_strange_source() {
    limited(|knobs| knobs.sources = 1);
}

#[test]
#[should_panic(expected = "messages to shared in")]
fn the_oracle_notices_a_rate_that_is_exceeded() {
    limited(|knobs| knobs.rate_per_minute = Some(10));
}

#[test]
#[should_panic(expected = "2 notices (Failed)")]
fn the_oracle_notices_a_second_notice() {
    let mut plan = Plan::smoke();
    plan.dead_ends = 1_000;
    let mut sim = Simulation::new(12, plan);
    sim.run();
    sim.ledger.keep_again(0, |delivery: &mut Delivery| {
        delivery.identity = super::mail::Identity::Notice("another".into());
    });
    Oracle::new(&sim.ground, &sim.ledger).at_the_end(WallClock::Steady);
}

#[test]
#[should_panic(expected = "was attempted after its end")]
fn the_oracle_notices_an_attempt_after_the_end() {
    tampered(|sim| {
        let journal = &sim.ground.journal;
        let delivered = |entry: &&Entry| matches!(entry.event, Event::RecipientDelivered { .. });
        let first = journal.entries().iter().find(delivered).cloned();
        journal.write(first.expect("a delivery"));
    });
}

/// A copy that the relay gave up may end after the one that it sent instead.
#[test]
fn the_oracle_excuses_a_copy_that_ends_late() {
    tampered(|sim| {
        sim.ledger.keep_again(0, |delivery: &mut Delivery| delivery.reply = RefCell::default());
    });
}
