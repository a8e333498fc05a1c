//! One direction of a simulated connection: octets on their way, and what can happen to them.
//!
//! A pipe holds a bounded number of octets, in segments that arrive in order after a latency of
//! their own. Reads return arbitrary pieces, writes take arbitrary pieces: nothing may rely on
//! where a segment ends. Octets are counted at both ends, so that a test can tell whether the other
//! side has read a reply ([`Mark`]), which decides whether a second delivery is a mistake.

use super::executor::Executor;
use super::random::Random;
use baton::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How octets travel in one direction.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Octets on their way and not read.
    pub capacity: usize,
    pub latency_micros: Range<u64>,
    /// Octets that one read gives at most; 0 for as many as fit.
    pub read_max: usize,
    /// Of a thousand writes, so many take a part only.
    pub short_write_permille: u64,
    /// The connection is reset once so many octets were written.
    pub reset_after: Option<u64>,
}

pub struct Pipe {
    executor: Executor,
    random: Random,
    manner: Manner,
    segments: RefCell<VecDeque<Segment>>,
    held: Cell<usize>,
    written: Cell<u64>,
    read: Cell<u64>,
    /// When the last segment, or the end, arrives.
    last_at: Cell<Moment>,
    end: Cell<End>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

struct Segment {
    at: Moment,
    octets: Vec<u8>,
    used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The writer said that no more comes.
    Closed,
    /// Nobody reads any more.
    ReaderGone,
    Reset,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Some(usize),
    /// The octets are lost and the connection is to be reset.
    Breaks(usize),
}

impl Pipe {
    pub fn new(executor: Executor, random: Random, manner: Manner) -> Rc<Self> {
        Rc::new(Pipe {
            executor,
            random,
            manner,
            segments: RefCell::default(),
            held: Cell::new(0),
            written: Cell::new(0),
            read: Cell::new(0),
            last_at: Cell::default(),
            end: Cell::new(End::Open),
            reader: RefCell::default(),
            writer: RefCell::default(),
        })
    }

    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.end.get() == End::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let now = self.executor.now();
        let mut segments = self.segments.borrow_mut();
        if segments.is_empty() && self.end.get() == End::Closed && self.last_at.get() <= now {
            return Poll::Ready(Ok(0));
        }
        let arrives = segments.front().map(|segment| segment.at);
        let arrives = arrives.or((self.end.get() == End::Closed).then_some(self.last_at.get()));
        if arrives.is_none_or(|at| at > now) {
            if let Some(at) = arrives {
                self.executor.wake_at(at, cx.waker());
            }
            *self.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut room = into.len();
        if self.manner.read_max > 0 {
            room = room.min(1 + self.random.index(self.manner.read_max));
        }
        let mut count = 0;
        while count < room
            && let Some(segment) = segments.front_mut()
            && segment.at <= now
        {
            let piece = (segment.octets.len() - segment.used).min(room - count);
            let from = &segment.octets[segment.used..segment.used + piece];
            into[count..count + piece].copy_from_slice(from);
            segment.used += piece;
            count += piece;
            if segment.used == segment.octets.len() {
                segments.pop_front();
            }
        }
        self.held.set(self.held.get() - count);
        self.read.set(self.read.get() + count as u64);
        self.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<Written>> {
        match self.end.get() {
            End::Reset | End::Closed => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            // As TCP does it: the write succeeds, the answer to it is a reset.
            End::ReaderGone => return Poll::Ready(Ok(self.lose(from.len()))),
            End::Open => {}
        }
        let room = self.manner.capacity.saturating_sub(self.held.get());
        if room == 0 {
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut count = from.len().min(room);
        if count > 1 && self.random.permille(self.manner.short_write_permille) {
            count = 1 + self.random.index(count);
        }
        let written = self.written.get() + count as u64;
        if self.manner.reset_after.is_some_and(|after| written >= after) {
            return Poll::Ready(Ok(self.lose(count)));
        }
        if count > 0 {
            let (octets, at) = (from[..count].to_vec(), self.arrival());
            self.segments.borrow_mut().push_back(Segment { at, octets, used: 0 });
        }
        self.written.set(written);
        self.held.set(self.held.get() + count);
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(Written::Some(count)))
    }

    /// Octets that nobody will read; they count as written, so that no [`Mark`] is fooled.
    fn lose(&self, count: usize) -> Written {
        self.written.set(self.written.get() + count as u64);
        Written::Breaks(count)
    }

    /// The writer sends no more.
    pub fn close(&self) {
        if self.end.get() == End::Open {
            self.arrival();
            self.end.set(End::Closed);
            self.wake();
        }
    }

    /// The reader is gone; true when octets had come that it never read, which resets the
    /// connection (RFC 9293 3.6.1 leaves it open, Linux does).
    pub fn abandon(&self) -> bool {
        let now = self.executor.now();
        let unread = self.segments.borrow().front().is_some_and(|segment| segment.at <= now);
        if self.end.get() == End::Open {
            self.end.set(End::ReaderGone);
            self.wake();
        }
        unread
    }

    /// Whatever is on its way is lost.
    pub fn reset(&self) {
        self.segments.borrow_mut().clear();
        self.held.set(0);
        self.end.set(End::Reset);
        self.wake();
    }

    /// The machine that writes has lost its power: only the first of what is on its way arrives.
    pub fn lose_tail(&self) {
        let mut segments = self.segments.borrow_mut();
        let kept = self.random.index(segments.len() + 1);
        let lost: usize = segments.drain(kept..).map(|lost| lost.octets.len() - lost.used).sum();
        self.held.set(self.held.get() - lost);
    }

    /// What was written up to now.
    pub fn mark(self: &Rc<Self>) -> Mark {
        Mark { pipe: self.clone(), position: self.written.get() }
    }

    fn arrival(&self) -> Moment {
        let latency = self.random.micros(self.manner.latency_micros.clone());
        let at = self.executor.now().after(latency).max(self.last_at.get());
        self.last_at.set(at);
        at
    }

    fn wake(&self) {
        self.reader.take().into_iter().for_each(Waker::wake);
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

/// A place in what was written to a connection.
#[derive(Clone)]
pub struct Mark {
    pipe: Rc<Pipe>,
    position: u64,
}

impl Mark {
    /// Whether the other side has taken everything before it.
    pub fn was_read(&self) -> bool {
        self.pipe.read.get() >= self.position
    }
}
