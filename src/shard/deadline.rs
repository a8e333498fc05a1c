//! Deadlines by the thousand, without a timer each.
//!
//! Everything a shard waits for has a deadline, almost none is ever reached. So a deadline is a
//! slot in a table: setting and dropping it are two writes, and one sweep every [`SWEEP`] wakes the few
//! that passed. They are late by up to that, which no SMTP timeout notices.

use super::world::World;
use crate::time::Moment;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How late a deadline may be noticed.
pub const SWEEP: Duration = Duration::from_millis(250);

/// The time was over before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Whether a shutdown also ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// There is work in it: only its deadline ends it.
    Finish,
    /// Nothing is lost by ending it at once.
    End,
}

/// The table of one shard.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    slots: Rc<RefCell<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    table: Vec<Slot>,
    free: Vec<usize>,
    stopping: bool,
}

#[derive(Debug)]
enum Slot {
    Free,
    Set { at: Moment, on_stop: OnStop, passed: bool, waker: Option<Waker> },
}

impl Deadlines {
    /// Runs `work` until it is done or `at` has passed.
    pub async fn within<T>(
        &self,
        at: Moment,
        on_stop: OnStop,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        // Most work is done at its first poll and never needs a slot.
        let mut place = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let place = place.get_or_insert_with(|| self.set(at, on_stop));
            if place.wait(cx.waker()) { Poll::Ready(Err(Elapsed)) } else { Poll::Pending }
        })
        .await
    }

    /// Wakes what has passed. The driver of the shard calls it every [`SWEEP`].
    pub fn sweep(&self, now: Moment) {
        for slot in &mut self.slots.borrow_mut().table {
            if let Slot::Set { at, passed, waker, .. } = slot
                && *at <= now
            {
                *passed = true;
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Ends every wait that a shutdown may end, those to come included.
    pub fn stop(&self) {
        let mut slots = self.slots.borrow_mut();
        slots.stopping = true;
        for slot in &mut slots.table {
            if let Slot::Set { on_stop: OnStop::End, passed, waker, .. } = slot {
                *passed = true;
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    fn set(&self, at: Moment, on_stop: OnStop) -> Place<'_> {
        let mut slots = self.slots.borrow_mut();
        let passed = slots.stopping && on_stop == OnStop::End;
        let slot = Slot::Set { at, on_stop, passed, waker: None };
        let index = match slots.free.pop() {
            Some(index) => {
                slots.table[index] = slot;
                index
            }
            None => {
                slots.table.push(slot);
                slots.table.len() - 1
            }
        };
        Place { deadlines: self, index }
    }
}

/// A slot in use; given back when dropped.
struct Place<'a> {
    deadlines: &'a Deadlines,
    index: usize,
}

impl Place<'_> {
    /// Whether the deadline has passed; if not, the sweep will wake `waker`.
    fn wait(&self, new: &Waker) -> bool {
        let Slot::Set { passed, waker, .. } =
            &mut self.deadlines.slots.borrow_mut().table[self.index]
        else {
            unreachable!("a place owns its slot");
        };
        if !*passed {
            match waker {
                Some(old) if old.will_wake(new) => {}
                _ => *waker = Some(new.clone()),
            }
        }
        *passed
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut slots = self.deadlines.slots.borrow_mut();
        slots.table[self.index] = Slot::Free;
        slots.free.push(self.index);
    }
}

/// The task that sweeps.
pub async fn sweep_for_ever<W: World>(world: W, deadlines: Deadlines) {
    loop {
        world.sleep(SWEEP).await;
        deadlines.sweep(world.moment());
    }
}
