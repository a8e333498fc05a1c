//! The clocks and the randomness of the product: the only place that reads either.
//!
//! One [`Clock`] is made at start and copied to every shard, so that moments of different shards
//! compare. Randomness is one small generator per shard, seeded by the operating system: good for
//! jitter and choices, not for secrets.

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

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix per number, every seed is good.
#[derive(Debug)]
pub struct Random {
    state: Cell<u64>,
}

impl Random {
    /// Seeded by the operating system: std draws the keys of its hashers from it.
    pub fn from_system() -> Self {
        Random { state: Cell::new(RandomState::new().hash_one(0_u64)) }
    }

    pub fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
