//! Who is next: queues that wait for their time, senders that wait for their turn.
//!
//! Each run leaves things as it found them, so that the number of queues or senders is the one in
//! the name of the case, however often it runs.

use super::{Meter, mail};
use baton::deliver::lane::{Lane, Memory, Taken};
use baton::deliver::share::Limits;
use baton::queue::key::DueKey;
use baton::queue::schedule::{Rest, Schedule};
use baton::time::{Moment, Stamp};

/// Between the due times of two queues.
const STEP_MILLIS: u64 = 10;

/// Numbers of messages that are not among those that wait.
const FRESH: u64 = 1 << 60;

/// `count` queues with one entry each, due one after the other from `NOW` on.
fn waiting(count: u64) -> Schedule {
    let mut schedule = Schedule::default();
    for number in 0..count {
        let due = Stamp::from_millis(mail::NOW.millis() + STEP_MILLIS * number);
        schedule.waits(mail::key(mail::queue(number), due, number));
    }
    assert_eq!(schedule.queues() as u64, count);
    schedule
}

/// The usual life of an entry: committed, in its lane at once, delivered; in a queue of its own,
/// beside `count` that wait.
pub fn fresh(meter: &mut impl Meter, count: u64) {
    let mut schedule = waiting(count);
    let mut numbers = FRESH..;
    meter.measure(
        || {
            let number = numbers.next().expect("there are enough");
            mail::key(mail::queue(number), mail::NOW, number)
        },
        |key| {
            schedule.claims(key);
            schedule.takes(key);
            schedule.settles(key, None);
            (schedule.queues(), schedule.taken())
        },
        |(queues, taken)| assert_eq!((*queues as u64, *taken), (count, 0)),
    );
}

/// The queue that is due first: its one entry is paged, tried, and waits again behind all others.
pub fn due(meter: &mut impl Meter, count: u64) {
    let mut schedule = waiting(count);
    let mut steps = 0..;
    meter.measure(
        || {
            let step: u64 = steps.next().expect("there are enough");
            let due = |step| Stamp::from_millis(mail::NOW.millis() + STEP_MILLIS * step);
            let entry = mail::key(mail::queue(step % count), due(step), step % count);
            (entry, DueKey { due: due(step + count), ..entry })
        },
        |(entry, again)| {
            let (queue, cursor) = schedule.due(entry.due)?;
            schedule.paged(queue, &[entry], Rest::Nothing);
            schedule.settles(entry, Some(again));
            Some((queue == entry.queue && cursor <= entry, schedule.queues(), schedule.taken()))
        },
        |done| assert_eq!(*done, Some((true, count as usize, 0)), "each is due in its step"),
    );
}

fn lane() -> Lane {
    let limits = Limits {
        connections: 20,
        messages_per_connection: 100,
        recipients_per_transaction: 100,
        rate: None,
    };
    Lane::new(limits, 1_000)
}

/// A lane with an entry of each of `count` senders: one comes in, a waiting session takes the one
/// whose turn it is, and delivers it.
pub fn turn(meter: &mut impl Meter, count: u64) {
    let (mut lane, now) = (lane(), Moment::from_micros(1));
    (1..count).for_each(|number| lane.push(mail::ready(number)));
    lane.opening();
    let mut numbers = (0..count).cycle();
    meter.measure(
        || mail::ready(numbers.next().expect("it has no end")),
        |entry| {
            let room = lane.room(entry.key.queue.sender, now, Memory::Ample);
            lane.push(entry);
            let wants = lane.wants_session(now);
            let taken = lane.take(now);
            lane.waits();
            let stood = lane.succeeded();
            (room, wants, taken, stood, lane.ready())
        },
        |(room, _, taken, stood, ready)| {
            assert!(*room > 0 && !stood);
            assert!(matches!(taken, Taken::Entry(_)), "{taken:?}");
            assert_eq!(*ready as u64, count - 1);
        },
    );
}

/// The senders whose queues wait for room: who is next has some, and waits again after it.
pub fn unpark(meter: &mut impl Meter, count: u64) {
    let (mut lane, now) = (lane(), Moment::from_micros(1));
    (0..count).for_each(|number| lane.park(mail::ready(number).key.queue));
    meter.measure(
        || (),
        |()| {
            let found = lane.unpark(now, Memory::Ample);
            if let Some((queue, _)) = found {
                lane.park(queue);
            }
            found
        },
        |found| assert!(found.is_some_and(|(_, room)| room > 0)),
    );
}
