//! Seeded randomness: the one source of chance in a simulation.
//!
//! Every actor forks a generator of its own from the seed and a label, so that what one draws never
//! changes what another gets: a fault switched off leaves the rest of the run as it was.
//! SplitMix64 (Steele, Lea, Flood 2014): any seed is good, a fork is one more draw.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

/// A generator; cheap to fork, shared by reference.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    pub fn new(seed: u64) -> Self {
        let random = Random(Cell::new(seed));
        random.next();
        random
    }

    /// Another generator that depends on `label` and on nothing drawn later.
    pub fn fork(&self, label: &str) -> Random {
        let label = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Random::new(self.0.get() ^ label)
    }

    /// Uniform over all of `u64`.
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// # Panics
    /// When the range is empty.
    pub fn below(&self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub fn index(&self, len: usize) -> usize {
        self.below(0..len as u64) as usize
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// True in `share` of a thousand draws.
    pub fn permille(&self, share: u64) -> bool {
        self.below(0..1_000) < share
    }

    pub fn micros(&self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.below(range))
    }

    pub fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.below(range))
    }
}
