//! What a person does to the queue while mail flows: retry, hold, release, drop.
//!
//! Drawn days do it at random ([`draw`]), under all their faults, and the oracle judges that
//! nothing is lost but what the log says was dropped. The stories here pin down what each action is
//! for, and that a crash in the middle of one leaves no message half changed.

use super::client::Habits;
use super::disk::Crash;
use super::journal::Journal;
use super::network::Reach;
use super::plan::{DOMAINS, Plan};
use super::random::Random;
use super::run::Simulation;
use super::scenarios::{one_sender, story};
use baton::event::{Event, QueueAction};
use baton::message::{MessageId, SenderId};
use baton::shard::operate::{Counts, Filter, Operation, SenderFilter};
use std::collections::BTreeSet;
use std::time::Duration;

/// An action on a part of the queue, or all of it.
pub fn draw(random: &Random, journal: &Journal) -> Operation {
    let action = *random.pick(QueueAction::ALL);
    let accepted: Vec<(MessageId, SenderId, String)> = journal
        .entries()
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::MessageAccepted { id, sender, sender_id, .. } => {
                Some((*id, sender_id.clone(), sender.as_str().to_owned()))
            }
            _ => None,
        })
        .collect();
    let mut filter = Filter::default();
    if random.permille(500) {
        filter.domain = Some((*random.pick(&DOMAINS)).into());
    }
    if !accepted.is_empty() {
        let (id, sender_id, address) = random.pick(&accepted);
        match random.below(0..6) {
            0 => filter.id = Some(*id),
            1 => filter.sender = Some(SenderFilter::Id(sender_id.as_str().into())),
            2 => filter.sender = Some(SenderFilter::Address(address.to_uppercase().into())),
            _ => {}
        }
    }
    // Dropping everything all day would leave nothing to judge.
    let everything = filter == Filter::default();
    let spare = action == QueueAction::Drop && (everything || random.permille(700));
    Operation { action: if spare { QueueAction::Retry } else { action }, filter }
}

pub fn release_all() -> Operation {
    Operation { action: QueueAction::Release, filter: Filter::default() }
}

fn operation(action: QueueAction, domain: Option<&str>, sender: Option<&str>) -> Operation {
    let sender = sender.map(SenderFilter::new);
    Operation { action, filter: Filter { domain: domain.map(Into::into), sender, id: None } }
}

/// Has `operation` done; the counts of all shards together.
fn done(sim: &mut Simulation, operation: &Operation) -> Counts {
    let shards = sim.relay().shards();
    let told = sim.relay().operate(operation);
    sim.go_until("the operation", Duration::from_secs(600), |_| told.borrow().len() == shards);
    let told = told.borrow();
    let sum = |of: fn(&Counts) -> u64| told.iter().map(of).sum();
    Counts {
        changed: sum(|one| one.changed),
        under_way: sum(|one| one.under_way),
        damaged: sum(|one| one.damaged),
    }
}

/// The senders of everything in the queue, by the queue's own words.
fn sender_ids(sim: &Simulation) -> Vec<String> {
    let waiting = sim.ground.disk.waiting();
    let ids: BTreeSet<String> = waiting.iter().map(|one| one.due.sender_id.to_string()).collect();
    ids.into_iter().collect()
}

fn waiting(sim: &Simulation, wanted: impl Fn(&str, &str) -> bool) -> usize {
    let waiting = sim.ground.disk.waiting();
    waiting.iter().filter(|one| wanted(&one.due.domain, &one.due.sender_id)).count()
}

/// `count` messages from each of `senders` senders to each of `domains`, all of whose servers are
/// out of reach. Each was tried once, and waits for its next time.
fn backlog(sim: &mut Simulation, senders: u32, domains: &[&str], count: u32) {
    for domain in domains {
        sim.ground.network.set_reach(sim.server_of(domain).address, Reach::Refusing);
    }
    for _ in 0..senders {
        let mut mails = Vec::new();
        for domain in domains {
            mails.extend(sim.mails_to(domain, count));
        }
        sim.add_sender(Habits::plain(), mails);
    }
    let all = senders as usize * domains.len() * count as usize;
    // A site that is out of reach is asked once a minute at the slowest, and each time only a few of
    // those that wait for it hear that it was in vain.
    sim.go_until("trying all once", Duration::from_secs(7_000), |sim| {
        let deferred = |event: &Event| matches!(event, Event::RecipientDeferred { .. });
        sim.ledger.unsettled() == 0 && sim.ground.journal.count(deferred) == all
    });
    // What the last ones led to is committed.
    sim.go_for(Duration::from_secs(1));
}

fn reachable(sim: &Simulation, domains: &[&str]) {
    for domain in domains {
        sim.ground.network.set_reach(sim.server_of(domain).address, Reach::Open);
    }
}

/// What fails waits for hours.
fn slow_retries() -> Plan {
    retries_after(9_000)
}

fn retries_after(seconds: u64) -> Plan {
    let mut plan = Plan { mail_bytes_max: 300, ..one_sender(1) };
    (plan.shards_max, plan.knobs.retry_first_seconds) = (2, seconds);
    (plan.knobs.retry_max_seconds, plan.knobs.expire_after_minutes) = (seconds, 600);
    plan
}

#[test]
fn a_retry_does_not_wait_for_its_time() {
    for seed in 400..404 {
        story(seed, slow_retries(), |sim| {
            sim.start();
            backlog(sim, 1, &["one.test", "three.test"], 20);
            reachable(sim, &["one.test", "three.test"]);
            sim.go_for(Duration::from_secs(90));
            assert_eq!(waiting(sim, |_, _| true), 40, "they wait for their time");
            let counts = done(sim, &operation(QueueAction::Retry, Some("one.test"), None));
            assert_eq!(counts, Counts { changed: 20, ..Counts::default() });
            sim.go_for(Duration::from_secs(60));
            assert_eq!(waiting(sim, |_, _| true), 20, "only what was asked for");
            assert_eq!(waiting(sim, |domain, _| domain == "one.test"), 0);
            done(sim, &operation(QueueAction::Retry, None, None));
            sim.drain();
            sim.finish();
        });
    }
}

#[test]
fn what_is_held_is_not_tried_until_it_is_released() {
    for seed in 410..414 {
        story(seed, slow_retries(), |sim| {
            sim.start();
            backlog(sim, 2, &["one.test"], 30);
            let [held, other] = &sender_ids(sim)[..] else { panic!("two senders") };
            let counts = done(sim, &operation(QueueAction::Hold, None, Some(held)));
            assert_eq!(counts, Counts { changed: 30, ..Counts::default() });
            let nothing = done(sim, &operation(QueueAction::Hold, None, Some(held)));
            assert_eq!(nothing, Counts::default(), "it is held already");
            done(sim, &operation(QueueAction::Retry, None, None));
            reachable(sim, &["one.test"]);
            // Hours, a crash and a retry: nothing moves it but a release.
            sim.go_for(Duration::from_secs(3_600));
            sim.crash();
            sim.start();
            done(sim, &operation(QueueAction::Retry, None, None));
            sim.go_for(Duration::from_secs(3_600));
            assert_eq!(waiting(sim, |_, sender| sender == other), 0);
            assert_eq!(waiting(sim, |_, sender| sender == held), 30);
            let counts = done(sim, &operation(QueueAction::Release, Some("one.test"), None));
            assert_eq!(counts.changed, 30);
            sim.drain();
            sim.finish();
        });
    }
}

#[test]
fn a_drop_takes_what_matches_and_nothing_else() {
    let domains = ["one.test", "three.test"];
    for seed in 420..424 {
        story(seed, slow_retries(), |sim| {
            sim.start();
            backlog(sim, 3, &domains, 10);
            // One message to both domains.
            let mut both = sim.mails_to("one.test", 1);
            both[0].recipients.push("also@three.test".to_owned());
            let address = "user61@home.test";
            assert_eq!(both[0].sender.as_deref(), Some(address));
            sim.add_sender(Habits::plain(), both);
            sim.go_until("taking one more", Duration::from_secs(60), |sim| {
                sim.ledger.unsettled() == 0
            });
            sim.go_for(Duration::from_secs(120));
            let before = sender_ids(sim);
            let counts =
                done(sim, &operation(QueueAction::Drop, Some("one.test"), Some(&before[0])));
            assert_eq!(counts, Counts { changed: 10, ..Counts::default() });
            assert_eq!(waiting(sim, |_, sender| sender == before[0]), 10, "of the other domain");
            // By address, and of both domains of a message only one.
            let counts =
                done(sim, &operation(QueueAction::Drop, Some("three.test"), Some(address)));
            assert_eq!(counts, Counts { changed: 1, ..Counts::default() });
            assert_eq!(waiting(sim, |_, _| true), 60 + 2 - 10 - 1);
            let dropped = |event: &Event| matches!(event, Event::EntryDropped { .. });
            assert_eq!(sim.ground.journal.count(dropped), 11);
            reachable(sim, &domains);
            done(sim, &operation(QueueAction::Retry, None, None));
            sim.drain();
            sim.finish();
        });
    }
}

/// The ready ones are in memory, and the host takes one connection and says nothing.
#[test]
fn a_drop_reaches_what_is_ready() {
    let mut plan = retries_after(1_000);
    (plan.knobs.connections_max, plan.shards_max) = (1, 1);
    for seed in 430..433 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Silent);
            for _ in 0..2 {
                let mails = sim.mails_to("one.test", 30);
                sim.add_sender(Habits::plain(), mails);
            }
            sim.go_until("taking the mail", Duration::from_secs(8), |sim| {
                sim.ledger.unsettled() == 0
            });
            let senders = sender_ids(sim);
            let counts: Vec<Counts> = senders
                .iter()
                .map(|sender| done(sim, &operation(QueueAction::Drop, None, Some(sender))))
                .collect();
            let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
            assert_eq!(sum(|one| one.changed) + sum(|one| one.under_way), 60, "{counts:?}");
            assert_eq!(sum(|one| one.under_way), 1, "one connection is being opened");
            let held: u64 = sim.relay().snapshots().map(|one| one.ready_entries).sum();
            assert_eq!(held, 1);
            sim.calm();
            done(sim, &operation(QueueAction::Retry, None, None));
            sim.drain();
            sim.finish();
        });
    }
}

/// A page that is read for an operation may show what is delivered before the page is there: it is
/// not to be brought back, held or dropped once more.
#[test]
fn what_is_delivered_while_an_operation_reads_is_left_alone() {
    let mut plan = Plan { mail_bytes_max: 300, ..one_sender(1) };
    plan.knobs.connections_max = 40;
    for seed in 460..464 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            for _ in 0..8 {
                let mails = sim.mails_to("one.test", 100);
                sim.add_sender(Habits::plain(), mails);
            }
            let mut rounds = 0;
            while sim.ledger.unsettled() > 0 {
                for action in [QueueAction::Hold, QueueAction::Release] {
                    done(sim, &operation(action, Some("one.test"), None));
                }
                rounds += 1;
            }
            assert!(rounds > 20, "{rounds} rounds");
            done(sim, &release_all());
            sim.drain();
            sim.finish();
        });
    }
}

/// More than two commits' worth, and a crash at a step of the run that differs by seed.
#[test]
fn a_crash_in_the_middle_of_a_drop_leaves_every_message_whole() {
    let mut partly = 0;
    for seed in 440..452 {
        story(seed, slow_retries(), |sim| {
            sim.start();
            let domains = ["one.test", "three.test"];
            backlog(sim, 2, &domains, 650);
            let senders = sender_ids(sim);
            let (all, others) =
                (waiting(sim, |_, _| true), waiting(sim, |_, sender| sender != senders[0]));
            sim.relay().operate(&operation(QueueAction::Drop, None, Some(&senders[0])));
            sim.go_until("the first commit", Duration::from_secs(60), |sim| {
                let dropped = |event: &Event| matches!(event, Event::EntryDropped { .. });
                sim.ground.journal.count(dropped) > 0
            });
            sim.go_for_steps(4 * (seed - 440));
            let crash = if seed % 2 == 0 { Crash::Killed } else { Crash::PowerLost };
            // The oracle looks: what is neither there nor dropped is lost.
            sim.crash_by(crash);
            assert_eq!(waiting(sim, |_, sender| sender != senders[0]), others);
            let left = waiting(sim, |_, _| true);
            partly += u32::from(left > others && left < all);
            sim.start();
            done(sim, &operation(QueueAction::Drop, None, Some(&senders[0])));
            assert_eq!(waiting(sim, |_, sender| sender == senders[0]), 0);
            reachable(sim, &domains);
            done(sim, &operation(QueueAction::Retry, None, None));
            // The disk is to be empty then: no body or envelope stays behind.
            sim.drain();
            sim.finish();
        });
    }
    assert!(partly > 0, "no crash was in the middle");
}
