//! Which shard serves a fresh connection, and how it gets there.
//!
//! The kernel spreads connections over the shards' listeners by hash: many spread well, few badly,
//! and feeders are few and stay for long. So every shard counts its inbound connections
//! ([`Seat`]), and one that is ahead of the least loaded hands a fresh connection over, through
//! that shard's [`Inbox`]. A connection never moves once it was served.
//!
//! The inbox is also the way for everything else that other threads have to say to a shard.

use crate::config::Config;
use crate::control::{Answers, QueueOperator};
use crate::queue::schedule::Stretch;
use crate::shard::mesh::Parcel;
use crate::shard::operate::Operation;
use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use glommio::net::AcceptedTcpStream;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::task::Poll;

/// What other threads tell a shard.
#[derive(Debug)]
pub enum Message {
    /// A connection that another shard accepted.
    Connection { tcp: AcceptedTcpStream, listener: usize, seat: Seat },
    /// The answer to a question of [`super::passwords`].
    Password { ticket: u64, matches: bool },
    /// From another shard.
    Parcel(Parcel),
    /// Go by this configuration. `applied` is dropped when it is done, which is how the sender knows.
    Reload { config: Arc<Config>, applied: Sender<Infallible> },
    /// Change the queue, and tell what came of it.
    Operate { operation: Operation, answers: Answers },
    /// Recovery has read on. `taken` is dropped when the shard knows.
    Recovered { stretch: Stretch, taken: Sender<Infallible> },
    /// Take no new work and end what there is.
    Stop,
}

/// What one shard has still to hear.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: SegQueue<Message>,
    waker: AtomicWaker,
}

impl Inbox {
    pub fn push(&self, message: Message) {
        self.queue.push(message);
        self.waker.wake();
    }

    /// To be awaited by one task at a time.
    pub async fn next(&self) -> Message {
        poll_fn(|cx| {
            if let Some(message) = self.queue.pop() {
                return Poll::Ready(message);
            }
            self.waker.register(cx.waker());
            // Pushed between the first look and the registration: nobody would wake us for it.
            self.queue.pop().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The load of every shard, shared by all.
#[derive(Debug)]
pub struct Balance {
    loads: Box<[CachePadded<AtomicUsize>]>,
    inboxes: Box<[Arc<Inbox>]>,
}

impl Balance {
    pub fn new(shards: usize) -> Arc<Self> {
        Arc::new(Balance {
            loads: (0..shards).map(|_| CachePadded::default()).collect(),
            inboxes: (0..shards).map(|_| Arc::default()).collect(),
        })
    }

    pub fn inbox(&self, shard: usize) -> &Arc<Inbox> {
        &self.inboxes[shard]
    }

    /// Counts a connection that `here` accepted for the shard that shall serve it.
    pub fn seat(self: &Arc<Self>, here: usize) -> Seat {
        let read = |load: &CachePadded<AtomicUsize>| load.load(Ordering::Relaxed);
        let shard = destination(self.loads.iter().map(read), here);
        self.loads[shard].fetch_add(1, Ordering::Relaxed);
        Seat { balance: Arc::clone(self), shard }
    }
}

/// `here`, unless it would be ahead of the least loaded shard by more than the slack: one
/// connection, so that two feeders share two shards, and an eighth, so that a busy relay with even
/// shards does not pay for hand-overs that the next moment would undo.
fn destination(loads: impl Iterator<Item = usize> + Clone, here: usize) -> usize {
    let ours = loads.clone().nth(here).expect("a shard has a load");
    let (least, fewest) =
        loads.enumerate().min_by_key(|(_, load)| *load).expect("there is a shard");
    let slack = 1 + fewest / 8;
    if ours + 1 > fewest + slack { least } else { here }
}

impl QueueOperator for Balance {
    fn operate(&self, operation: &Operation, answers: Answers) -> usize {
        for inbox in &self.inboxes {
            let (operation, answers) = (operation.clone(), answers.clone());
            inbox.push(Message::Operate { operation, answers });
        }
        self.inboxes.len()
    }
}

/// One inbound connection, counted for its shard as long as this lives.
#[derive(Debug)]
pub struct Seat {
    balance: Arc<Balance>,
    shard: usize,
}

impl Seat {
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Brings the connection to the shard of its seat.
    pub fn hand_over(self, tcp: AcceptedTcpStream, listener: usize) {
        let inbox = Arc::clone(self.balance.inbox(self.shard));
        inbox.push(Message::Connection { tcp, listener, seat: self });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.balance.loads[self.shard].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_ahead_of_the_others_hands_over() {
        let rows: [(&[usize], usize, usize); 9] = [
            // loads, accepted by, served by
            (&[0], 0, 0),
            (&[7], 0, 0),
            (&[0, 0], 1, 1),
            (&[1, 0], 0, 1),
            (&[1, 1], 0, 0),
            (&[1, 0, 0], 0, 1),
            (&[43, 40], 0, 0),
            (&[46, 40], 0, 1),
            (&[40, 46], 0, 0),
        ];
        for (loads, here, expected) in rows {
            assert_eq!(destination(loads.iter().copied(), here), expected, "{loads:?} {here}");
        }
    }

    #[test]
    fn four_feeders_that_hash_to_one_of_two_shards_sit_two_and_two() {
        let balance = Balance::new(2);
        let seats: Vec<Seat> = (0..4).map(|_| balance.seat(0)).collect();
        assert_eq!(seats.iter().filter(|seat| seat.shard() == 0).count(), 2);
        drop(seats);
        assert_eq!(balance.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum::<usize>(), 0);
    }
}
