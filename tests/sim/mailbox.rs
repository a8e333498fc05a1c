//! What shards hand to each other: a queue for each, emptied by a task of its own.
//!
//! Parcels of one shard to another keep their order; how long they take is anybody's guess.

use super::executor::{Executor, Group};
use super::random::Random;
use super::world::SimWorld;
use baton::shard::Shard;
use baton::shard::mesh::Parcel;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
pub struct Mailbox {
    waiting: RefCell<VecDeque<Parcel>>,
    /// Posted and not received.
    under_way: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    pub fn post(&self, parcel: Parcel) {
        self.under_way.set(self.under_way.get() + 1);
        self.waiting.borrow_mut().push_back(parcel);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.get() == 0
    }

    async fn next(&self) -> Parcel {
        poll_fn(|cx| match self.waiting.borrow_mut().pop_front() {
            Some(parcel) => Poll::Ready(parcel),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// Brings `shard` what is in box `index`, for as long as its life lasts.
pub fn carry(
    executor: &Executor,
    life: Group,
    boxes: Rc<Vec<Mailbox>>,
    index: usize,
    shard: Shard<SimWorld>,
    random: Random,
) {
    let clock = executor.clone();
    executor.spawn(life, async move {
        loop {
            let parcel = boxes[index].next().await;
            clock.sleep(random.micros(1..2_000)).await;
            shard.receive(parcel);
            boxes[index].under_way.set(boxes[index].under_way.get() - 1);
        }
    });
}
