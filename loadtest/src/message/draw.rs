//! Drawing from distributions, from dice that a seed decides.
//!
//! Everything is prepared once; a draw costs the same whatever the number of things to draw from.
//! Never keeps state: whoever draws brings the dice.

use fastrand::Rng;

use crate::profile::mail::{Crowd, Span};

/// Dice for one thing of many; neighbours have nothing in common.
pub fn dice(seed: u64, salt: u64, number: u64) -> Rng {
    Rng::with_seed(mixed(mixed(seed ^ salt).wrapping_add(number)))
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number of a range, all alike.
pub fn within(span: Span, dice: &mut Rng) -> u64 {
    if span.from == span.to { span.from } else { dice.u64(span.from..=span.to) }
}

/// Few things with weights.
pub struct Weighted<T> {
    things: Vec<T>,
    /// Sum of the weights up to and with each thing.
    sums: Vec<u64>,
}

impl<T> Weighted<T> {
    /// Needs a thing, and weights above 0.
    pub fn new(weighed: impl IntoIterator<Item = (T, u32)>) -> Weighted<T> {
        let (mut things, mut sums, mut sum) = (Vec::new(), Vec::new(), 0);
        for (thing, weight) in weighed {
            sum += u64::from(weight);
            things.push(thing);
            sums.push(sum);
        }
        assert!(sum > 0, "there is something to draw");
        Weighted { things, sums }
    }

    pub fn pick(&self, dice: &mut Rng) -> &T {
        let total = self.sums[self.sums.len() - 1];
        // Dice are not thrown where nothing is to be decided.
        let thrown = if self.things.len() == 1 { 0 } else { dice.u64(..total) };
        &self.things[self.sums.partition_point(|sum| *sum <= thrown)]
    }
}

/// Numbers from 0 up, some more often than others.
pub enum Numbers {
    /// One after the other: even also over a short time.
    InTurn {
        count: u64,
    },
    Even {
        count: u64,
    },
    Skewed(Vec<Slot>),
}

/// A column of an alias table: its own number, or another's (Walker 1977, Vose 1991).
pub struct Slot {
    /// Of 2^32 draws of this column, those that are its own.
    own: u32,
    other: u32,
}

impl Numbers {
    /// Those of an even crowd are to come `evenly`.
    pub fn new(crowd: Crowd, evenly: fn(u64) -> Numbers) -> Numbers {
        if crowd.skew == 0.0 { evenly(crowd.count) } else { Numbers::Skewed(zipf(crowd)) }
    }

    pub fn in_turn(count: u64) -> Numbers {
        Numbers::InTurn { count }
    }

    pub fn even(count: u64) -> Numbers {
        Numbers::Even { count }
    }

    /// `turn` counts the draws.
    pub fn pick(&self, turn: u64, dice: &mut Rng) -> u64 {
        match self {
            Numbers::InTurn { count } => turn % count,
            Numbers::Even { count } => dice.u64(..count),
            Numbers::Skewed(slots) => {
                let column = dice.usize(..slots.len());
                let slot = &slots[column];
                if dice.u32(..) < slot.own { column as u64 } else { u64::from(slot.other) }
            }
        }
    }
}

fn zipf(crowd: Crowd) -> Vec<Slot> {
    let count = u32::try_from(crowd.count).expect("crowds have a maximum");
    let mut shares: Vec<f64> = (1..=count).map(|rank| f64::from(rank).powf(-crowd.skew)).collect();
    // From the small end: sums of floats are the better for it.
    let scale = f64::from(count) / shares.iter().rev().sum::<f64>();
    shares.iter_mut().for_each(|share| *share *= scale);
    alias(shares)
}

/// The table for shares whose mean is 1.
fn alias(mut shares: Vec<f64>) -> Vec<Slot> {
    let mut slots: Vec<Slot> =
        (0..shares.len() as u32).map(|number| Slot { own: u32::MAX, other: number }).collect();
    let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
        (0..shares.len() as u32).partition(|number| shares[*number as usize] < 1.0);
    while let (Some(small), Some(large)) = (poor.pop(), rich.pop()) {
        let share = shares[small as usize];
        slots[small as usize] = Slot { own: (share * 2f64.powi(32)) as u32, other: large };
        shares[large as usize] -= 1.0 - share;
        if shares[large as usize] < 1.0 { poor.push(large) } else { rich.push(large) }
    }
    // What is left has a share of 1, but for what rounding made of it.
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 400_000;

    fn counts(numbers: &Numbers, count: usize) -> Vec<u64> {
        let mut dice = dice(1, 2, 3);
        let mut counts = vec![0; count];
        (0..DRAWS).for_each(|turn| counts[numbers.pick(turn, &mut dice) as usize] += 1);
        counts
    }

    /// Within 5 standard deviations of what is expected of it, and the seed is fixed.
    fn assert_near(count: u64, share: f64, of: &str) {
        let expected = DRAWS as f64 * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!((count as f64 - expected).abs() <= 5.0 * deviation + 1.0, "{of}: {count}");
    }

    #[test]
    fn a_skewed_crowd_follows_zipf() {
        for (count, skew) in [(1, 1.0), (2, 0.5), (10, 1.0), (1000, 1.2), (5000, 0.3)] {
            let crowd = Crowd { count, skew };
            let counts = counts(&Numbers::new(crowd, Numbers::even), count as usize);
            let sum: f64 = (1..=count).map(|rank| (rank as f64).powf(-skew)).sum();
            for (index, drawn) in counts.iter().enumerate() {
                let share = ((index + 1) as f64).powf(-skew) / sum;
                assert_near(*drawn, share, &format!("{index} of {count}, skew {skew}"));
            }
        }
    }

    #[test]
    fn a_million_are_drawn_from_as_well() {
        let numbers = Numbers::new(Crowd { count: 1_000_000, skew: 1.0 }, Numbers::even);
        let counts = counts(&numbers, 1_000_000);
        let sum: f64 = (1..=1_000_000).map(|rank| 1.0 / f64::from(rank)).sum();
        for index in [0, 1, 9, 99] {
            assert_near(counts[index], 1.0 / (index + 1) as f64 / sum, "of a million");
        }
        assert!(counts[500_000..].iter().sum::<u64>() > 10_000, "the tail is drawn too");
    }

    #[test]
    fn an_even_crowd_is_even() {
        let crowd = Crowd { count: 8, skew: 0.0 };
        for drawn in counts(&Numbers::new(crowd, Numbers::even), 8) {
            assert_near(drawn, 0.125, "even");
        }
        assert_eq!(counts(&Numbers::new(crowd, Numbers::in_turn), 8), [DRAWS / 8; 8]);
    }

    #[test]
    fn weights_are_shares() {
        let weighted = Weighted::new([("a", 1), ("b", 6), ("c", 3)]);
        let mut dice = dice(4, 5, 6);
        let mut counts = [0; 3];
        for _ in 0..DRAWS {
            counts[(weighted.pick(&mut dice).as_bytes()[0] - b'a') as usize] += 1;
        }
        for (count, share) in counts.into_iter().zip([0.1, 0.6, 0.3]) {
            assert_near(count, share, "weighted");
        }
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let mut dice = dice(7, 8, 9);
        let span = Span { from: 3, to: 5 };
        let mut seen: Vec<u64> = (0..100).map(|_| within(span, &mut dice)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [3, 4, 5]);
    }
}
