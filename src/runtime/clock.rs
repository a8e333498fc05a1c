//! The clocks and the randomness of the product: the only place that reads either.
//!
//! One [`Clock`] is made at start and copied to every shard, so that moments of different shards
//! compare. Randomness is one generator per shard, keyed by the operating system: good for jitter,
//! choices and numbers that a stranger must not guess, not for keys.

use crate::time::{Moment, Stamp};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, counted from the start of the process, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the clock of `World` is this one")]
    pub fn start() -> Self {
        Clock { anchor: Instant::now() }
    }

    pub fn moment(&self) -> Moment {
        Moment::from_micros(self.anchor.elapsed().as_micros() as u64)
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of `World` is this one")]
    pub fn stamp(&self) -> Stamp {
        // A clock before 1970 is a machine that has not been told the time yet.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp::from_millis(since.as_millis() as u64)
    }
}

/// Numbers that cannot be foreseen from those before: a count under the keyed hash of std (SipHash),
/// whose keys are the operating system's. A plain generator would be as fast, and who has seen one
/// of its numbers knows all that follow, the ids of DNS queries among them.
#[derive(Debug)]
pub struct Random {
    keys: RandomState,
    count: Cell<u64>,
}

impl Random {
    pub fn from_system() -> Self {
        Random { keys: RandomState::new(), count: Cell::new(0) }
    }

    pub fn next(&self) -> u64 {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        self.keys.hash_one(count)
    }
}
