//! Tasks and time of a simulation: one thread, virtual time, and every choice from the seed.
//!
//! Each step polls one task, picked at random among those that can run, so that an order of events
//! which a real machine shows once a year is as likely as any other. When none can run, time jumps
//! to the next timer; no test waits for a clock. Now and then a task is polled without reason,
//! which the contract of `Future` allows and a real executor rarely does.
//!
//! Tasks belong to a [`Group`]: a crash ends a group between two polls of any of its tasks.
//! A panic ends its task alone and is kept for whoever drives the run.

use super::random::Random;
use baton::time::Moment;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Who lives and dies together: the world outside is 0, each life of the relay has its own number.
pub type Group = u32;

/// The outside: senders, remote servers, the network. It survives every crash.
pub const OUTSIDE: Group = 0;

/// What one poll costs, in microseconds of virtual time: less than this.
const POLL_MICROS: u64 = 20;

#[derive(Clone)]
pub struct Executor(Rc<State>);

struct State {
    now: Cell<u64>,
    steps: Cell<u64>,
    next_task: Cell<u64>,
    /// A task in it is not being polled.
    tasks: RefCell<BTreeMap<u64, Task>>,
    /// Groups that were ended; a task of such a group is not started.
    ended: RefCell<Vec<Group>>,
    ready: Arc<Mutex<Vec<u64>>>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    panics: RefCell<Vec<String>>,
    random: Random,
    /// Of a thousand polls, so many are of a task that nobody woke.
    spurious_permille: u64,
}

struct Task {
    group: Group,
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
    waker: Waker,
}

/// Wakes a task once, however often it is called before the next poll.
struct Flag {
    task: u64,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().expect("one thread").push(self.task);
        }
    }
}

/// Sorts by time, then by the order in which they were set.
struct Timer {
    at: u64,
    order: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Whether there is anything left that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    Went,
    /// No task can run and no timer is set.
    Stuck,
}

impl Executor {
    pub fn new(random: Random, spurious_permille: u64) -> Self {
        Executor(Rc::new(State {
            now: Cell::new(0),
            steps: Cell::new(0),
            next_task: Cell::new(0),
            tasks: RefCell::default(),
            ended: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            panics: RefCell::default(),
            random,
            spurious_permille,
        }))
    }

    pub fn now(&self) -> Moment {
        Moment::from_micros(self.0.now.get())
    }

    pub fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    pub fn spawn(&self, group: Group, future: impl Future<Output = ()> + 'static) {
        if self.0.ended.borrow().contains(&group) {
            return;
        }
        let task = self.0.next_task.replace(self.0.next_task.get() + 1);
        let ready = self.0.ready.clone();
        let flag = Arc::new(Flag { task, queued: AtomicBool::new(false), ready });
        let waker = Waker::from(flag.clone());
        waker.wake_by_ref();
        let future = Box::pin(future);
        self.0.tasks.borrow_mut().insert(task, Task { group, future, flag, waker });
    }

    /// Ends every task of `group` where it stands. Not to be called by one of them.
    pub fn end(&self, group: Group) {
        self.0.ended.borrow_mut().push(group);
        let mut tasks = self.0.tasks.borrow_mut();
        let doomed = tasks.extract_if(.., |_, task| task.group == group).collect::<Vec<_>>();
        // What a task drops may wake or spawn others.
        drop(tasks);
        drop(doomed);
    }

    pub fn wake_at(&self, at: Moment, waker: &Waker) {
        let order = self.0.next_task.replace(self.0.next_task.get() + 1);
        let timer = Timer { at: at.micros(), order, waker: waker.clone() };
        self.0.timers.borrow_mut().push(Reverse(timer));
    }

    pub async fn sleep(&self, wait: Duration) {
        let until = self.now().after(wait);
        let mut set = false;
        poll_fn(|cx| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut set, true) {
                self.wake_at(until, cx.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Runs `work` for no longer than `wait`; `None` when that was too short.
    pub async fn within<T>(&self, wait: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut over = pin!(self.sleep(wait));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            over.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// The words of the panics since the last call.
    pub fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut self.0.panics.borrow_mut())
    }

    /// Polls one task, after a jump in time when none can run.
    pub fn step(&self) -> Stepped {
        let state = &self.0;
        state.steps.set(state.steps.get() + 1);
        loop {
            self.fire_timers();
            if let Some(task) = self.next_task() {
                self.poll(task);
                state.now.set(state.now.get() + state.random.below(0..POLL_MICROS));
                return Stepped::Went;
            }
            match state.timers.borrow().peek() {
                Some(Reverse(timer)) => state.now.set(timer.at),
                None => return Stepped::Stuck,
            }
        }
    }

    fn fire_timers(&self) {
        let mut timers = self.0.timers.borrow_mut();
        while let Some(Reverse(timer)) = timers.peek()
            && timer.at <= self.0.now.get()
        {
            let Some(Reverse(timer)) = timers.pop() else { break };
            timer.waker.wake();
        }
    }

    fn next_task(&self) -> Option<u64> {
        let state = &self.0;
        let mut ready = state.ready.lock().expect("one thread");
        if ready.is_empty() {
            return None;
        }
        let tasks = state.tasks.borrow();
        if state.random.permille(state.spurious_permille) && !tasks.is_empty() {
            let from = state.random.below(0..state.next_task.get());
            return tasks.range(from..).next().map(|(task, _)| *task).or_else(|| ready.pop());
        }
        let index = state.random.index(ready.len());
        Some(ready.swap_remove(index))
    }

    fn poll(&self, id: u64) {
        // A task that ended may still be woken, by a timer for instance.
        let Some(mut task) = self.0.tasks.borrow_mut().remove(&id) else { return };
        task.flag.queued.store(false, Ordering::Relaxed);
        let mut cx = Context::from_waker(&task.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut cx)));
        match polled {
            Ok(Poll::Pending) => {
                self.0.tasks.borrow_mut().insert(id, task);
            }
            Ok(Poll::Ready(())) => {}
            Err(payload) => {
                let words = format!("group {}: {}", task.group, words_of(payload.as_ref()));
                self.0.panics.borrow_mut().push(words);
            }
        }
    }
}

fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
}
