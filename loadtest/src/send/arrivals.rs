//! When messages are due in an open loop.
//!
//! At fixed distances, or as if many customers that know nothing of each other sent them: a Poisson
//! process, whose gaps are exponential, so that messages come in bunches. The moments depend on
//! rate and seed alone. Never looks at a clock.

use std::time::Duration;

use fastrand::Rng;

/// Beyond any run, and still a moment that clocks can tell; a rate can be that low.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At even distances
    Fixed,
    /// As if many sent them who know nothing of each other
    Poisson,
}

/// The moments of one run, in order.
pub struct Schedule {
    per_s: f64,
    arrivals: Arrivals,
    dice: Rng,
    /// Moments that were given.
    given: u64,
    /// The last one, in seconds, when gaps differ.
    last: f64,
}

impl Schedule {
    /// `per_s` is above 0.
    pub fn new(per_s: f64, arrivals: Arrivals, seed: u64) -> Schedule {
        assert!(per_s > 0.0);
        Schedule { per_s, arrivals, dice: Rng::with_seed(seed ^ 0xa881), given: 0, last: 0.0 }
    }

    /// The next moment, counted from the start of the run.
    pub fn next(&mut self) -> Duration {
        let seconds = match self.arrivals {
            // Not a sum of gaps, whose error would grow.
            Arrivals::Fixed => self.given as f64 / self.per_s,
            Arrivals::Poisson => {
                // Above 0, at most 1: its logarithm is a number.
                let thrown = 1.0 - self.dice.f64();
                self.last -= thrown.ln() / self.per_s;
                self.last
            }
        };
        self.given += 1;
        Duration::try_from_secs_f64(seconds).unwrap_or(NEVER).min(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(arrivals: Arrivals, seed: u64, count: usize) -> Vec<f64> {
        let mut schedule = Schedule::new(50.0, arrivals, seed);
        (0..count).map(|_| schedule.next().as_secs_f64()).collect()
    }

    #[test]
    fn fixed_arrivals_are_even() {
        assert_eq!(moments(Arrivals::Fixed, 1, 4), [0.0, 0.02, 0.04, 0.06]);
    }

    #[test]
    fn gaps_of_a_poisson_process_are_exponential() {
        let count = 100_000;
        let moments = moments(Arrivals::Poisson, 1, count);
        let gaps: Vec<f64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean * 50.0 - 1.0).abs() < 0.02, "{mean}");
        // P(gap > x means) = e^-x
        for means in [0.1, 0.5, 1.0, 2.0, 4.0] {
            let longer = gaps.iter().filter(|gap| **gap > means / 50.0).count();
            let share = longer as f64 / gaps.len() as f64;
            assert!((share - (-means).exp()).abs() < 0.01, "{means}: {share}");
        }
    }

    #[test]
    fn a_seed_repeats_its_moments() {
        let of = |seed| moments(Arrivals::Poisson, seed, 100);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn a_rate_that_is_never_due_is_no_accident() {
        let mut schedule = Schedule::new(f64::MIN_POSITIVE, Arrivals::Fixed, 1);
        schedule.next();
        assert_eq!(schedule.next(), NEVER);
    }
}
