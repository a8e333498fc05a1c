//! Small stories of defects that the drivers had: each test failed before its mend.
//!
//! They look at what the drawn days cannot judge, because nothing is lost or doubled by it: memory
//! that nobody counted, work for nothing, turns not given, sleep beside work, deadlines that a peer
//! moves. Each story is told for several seeds where it hangs on a race.
//! All times are virtual, and every bound is far from both the right and the wrong behaviour.

use super::client::Habits;
use super::executor::{Executor, OUTSIDE};
use super::network::Reach;
use super::plan::{LISTENERS, Plan};
use super::run::Simulation;
use super::scenarios::{one_sender, story};
use super::wire::{Gone, Wire};
use baton::event::Event;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

/// What a sender says before each of its pipelined messages.
const GROUP: &str = "MAIL FROM:<>\r\nRCPT TO:<r@one.test>\r\nDATA\r\n";

/// More mail than the budget waits for a host that never answers: its bodies are counted, and
/// leave half of the budget to what comes in.
#[test]
fn bodies_that_wait_for_a_silent_host_are_counted() {
    let mut plan = Plan { mail_bytes_max: 60_000, ..one_sender(1) };
    plan.knobs.inflight_bytes_max = 1 << 20;
    for seed in 300..303 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Silent);
            for _ in 0..10 {
                let mails = sim.mails_to("one.test", 20);
                sim.add_sender(Habits::plain(), mails);
            }
            // Before the connection is given up, and all that waits for it with it.
            sim.go_until("taking the mail", Duration::from_secs(8), |sim| {
                sim.ledger.unsettled() == 0
            });
            let half = sim.plan.knobs.inflight_bytes_max / 2;
            let held: u64 = sim.relay().snapshots().map(|snapshot| snapshot.inflight_bytes).sum();
            assert!((half / 4..=half).contains(&held), "{held} octets wait, {half} may");
            sim.calm();
            sim.drain();
            sim.finish();
        });
    }
}

/// A lane holds a whole page of a domain, and more of it waits on disk: the pager reads past it
/// once, parks the domain, and sleeps.
#[test]
fn a_page_of_what_is_taken_is_read_once() {
    let mut plan = Plan { mail_bytes_max: 300, ..one_sender(1) };
    plan.knobs.connections_max = 1;
    for seed in 310..313 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Silent);
            for mails_each in [64, 5] {
                for _ in 0..4 {
                    let mails = sim.mails_to("one.test", mails_each);
                    sim.add_sender(Habits::plain(), mails);
                }
                sim.go_until("taking the mail", Duration::from_secs(4), |sim| {
                    sim.ledger.unsettled() == 0
                });
            }
            // The senders say goodbye.
            sim.go_for(Duration::from_millis(200));
            let before = sim.ground.executor.steps();
            sim.go_for(Duration::from_secs(1));
            // Deadlines are swept and the log is synced; a page is read in about a millisecond.
            let steps = sim.ground.executor.steps() - before;
            assert!(steps < 100, "{steps} polls in a second without work");
            sim.calm();
            sim.drain();
            sim.finish();
        });
    }
}

/// Three domains with as much mail each wait for one connection: none is served much later.
#[test]
fn domains_of_one_lane_take_turns() {
    let mut plan = Plan { mail_bytes_max: 300, ..one_sender(1) };
    (plan.knobs.connections_max, plan.knobs.messages_per_connection_max) = (1, 100_000);
    for seed in 320..322 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            let begun = sim.ground.clock.stamp();
            for domain in ["a.many.test", "b.many.test", "c.many.test"] {
                for _ in 0..6 {
                    let mails = sim.mails_to(domain, 300);
                    sim.add_sender(Habits::plain(), mails);
                }
            }
            sim.drain();
            let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for entry in &*sim.ground.journal.entries() {
                if let Event::RecipientDelivered { recipient, .. } = &entry.event {
                    let took = entry.at.since(begun).as_millis() as u64;
                    times.entry(recipient.domain().to_owned()).or_default().push(took);
                }
            }
            assert_eq!(times.len(), 3);
            let mean = |times: &Vec<u64>| times.iter().sum::<u64>() / times.len() as u64;
            let means: Vec<u64> = times.values().map(mean).collect();
            // One after the other they would be as one to three to five.
            let (first, last) = (means.iter().min(), means.iter().max());
            let fair = first.zip(last).is_some_and(|(first, last)| last * 10 < first * 13);
            assert!(fair, "mean times to delivery are {means:?} ms");
            sim.finish();
        });
    }
}

/// A host takes one connection and refuses the second: what was meant for that goes on the first,
/// which waits beside it, and at once.
#[test]
fn what_a_refused_connection_gives_back_is_taken_at_once() {
    let plan = Plan { mail_bytes_max: 300, ..one_sender(1) };
    for seed in 330..390 {
        story(seed, plan.clone(), |sim| {
            sim.start();
            let mails = sim.mails_to("one.test", 1);
            sim.add_sender(Habits::plain(), mails);
            sim.go_for(Duration::from_millis(300));
            sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Refusing);
            for _ in 0..3 {
                let mails = sim.mails_to("one.test", 1);
                sim.add_sender(Habits::plain(), mails);
            }
            sim.go_for(Duration::from_secs(8));
            let entries = sim.ground.journal.entries();
            let queued = entries.iter().filter_map(|entry| match &entry.event {
                Event::RecipientDelivered { delays, attempts: 1, .. } => Some(delays.queued),
                _ => None,
            });
            let queued: Vec<u64> = queued.collect();
            assert_eq!(queued.len(), 4);
            // The connection that waited slept until `connection_idle`, two seconds, was over.
            assert!(queued.iter().all(|&wait| wait < 500), "waited for {queued:?} ms");
        });
    }
}

/// Runs `script` as a peer that the relay knows, on a fresh connection that was greeted.
fn as_peer<T: 'static, F>(
    sim: &mut Simulation,
    script: impl FnOnce(Executor, Wire) -> F + 'static,
) -> T
where
    F: Future<Output = Result<T, Gone>> + 'static,
{
    let (executor, network) = (sim.ground.executor.clone(), sim.ground.network.clone());
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    sim.ground.executor.spawn(OUTSIDE, async move {
        let from = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 200));
        let to = LISTENERS[0].parse().expect("an address");
        let stream = network.connect(OUTSIDE, from, to).await.expect("a connection");
        let mut wire = Wire::new(executor.clone(), stream, Duration::from_secs(600));
        assert_eq!(wire.reply().await.expect("a greeting").0, 220);
        assert_eq!(wire.ask("EHLO peer.test").await.expect("a reply").0, 250);
        *place.borrow_mut() = Some(script(executor, wire).await);
    });
    sim.go_until("the script", Duration::from_secs(3_600), |_| result.borrow().is_some());
    let result = result.borrow_mut().take().expect("the script ended");
    result.unwrap_or_else(|Gone| panic!("the relay left without a word"))
}

/// Eight messages of 50 seconds each, without a pause between them: only a message of more than
/// `message_duration_max`, five minutes, is too slow.
#[test]
fn pipelined_messages_have_their_time_each() {
    let mut plan = one_sender(1);
    // The end of a message and the next envelope arrive together: no command is waited for.
    (plan.weather.tiny_pieces, plan.weather.short_writes) = (0, 0);
    story(391, plan, |sim| {
        sim.start();
        // The messages are not of the ledger, and go nowhere.
        sim.ground.network.set_reach(sim.server_of("one.test").address, Reach::Refusing);
        let (codes, lasted) = as_peer(sim, async |executor, mut wire| {
            let mut codes = Vec::new();
            wire.write(GROUP.as_bytes()).await?;
            for _ in 0..8 {
                for wanted in [250, 250, 354] {
                    let (code, words) = wire.reply().await?;
                    assert_eq!(code, wanted, "{words}");
                }
                executor.sleep(Duration::from_secs(50)).await;
                wire.write(format!("S: a\r\n\r\nb\r\n.\r\n{GROUP}").as_bytes()).await?;
                codes.push(wire.reply().await?.0);
            }
            for _ in GROUP.lines() {
                wire.reply().await?;
            }
            let began = executor.now();
            let code = drip(&executor, &mut wire, Duration::from_secs(50)).await?;
            codes.push(code);
            Ok((codes, executor.now().since(began)))
        });
        assert_eq!(codes, [250, 250, 250, 250, 250, 250, 250, 250, 421]);
        let seconds = lasted.as_secs();
        assert!((299..=301).contains(&seconds), "a slow message was ended after {lasted:?}");
    });
}

/// An octet now and then is not a command.
#[test]
fn a_peer_that_drips_a_command_is_idle() {
    story(392, one_sender(1), |sim| {
        sim.start();
        let (code, lasted) = as_peer(sim, async |executor, mut wire| {
            let began = executor.now();
            let code = drip(&executor, &mut wire, Duration::from_secs(10)).await?;
            Ok((code, executor.now().since(began)))
        });
        assert_eq!(code, 421);
        // `command_idle_max` is a minute, and the session may last twenty.
        assert!((59..=61).contains(&lasted.as_secs()), "it was ended after {lasted:?}");
    });
}

/// Says an octet each `pause` until there is a reply.
async fn drip(executor: &Executor, wire: &mut Wire, pause: Duration) -> Result<u16, Gone> {
    loop {
        wire.write(b"N").await?;
        if let Some(reply) = executor.within(pause, wire.reply()).await {
            return Ok(reply?.0);
        }
    }
}
