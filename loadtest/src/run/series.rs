//! The curves of a run: ticks of several programs, each at its own moments, on one grid.
//!
//! Totals grow in a straight line between two ticks, which is as much as is known; the rate of a
//! period is how much they grew in it. Times count from the first message begun.

use std::time::Duration;

use super::course::Seen;
use super::sampler::Sample;
use crate::progress::{PERIOD, Tick};
use crate::report::model::Series;

/// Longer runs get a wider grid, so that a report stays small.
const MOMENTS_MAX: usize = 2400;

/// `last` is the moment of the last delivery.
pub fn lay_out(seen: &Seen, last: Duration, sink: &[Tick]) -> Series {
    let length = last.saturating_sub(seen.start);
    let step = PERIOD.max(length / MOMENTS_MAX as u32);
    let moments = length.div_duration_f64(step).ceil() as u32;
    let grid: Vec<Duration> = (0..=moments).map(|moment| seen.start + step * moment).collect();
    let of_ticks = |ticks: &[Tick]| rates(&grid, &totals(seen.start, ticks));
    let cpu = |sample: &Sample| (sample.at.as_secs_f64(), sample.cpu.as_secs_f64());
    let known = !seen.relay.is_empty();
    Series {
        at_s: grid.iter().skip(1).map(|at| at.saturating_sub(seen.start).as_secs_f64()).collect(),
        accepted_per_s: of_ticks(&seen.source_ticks),
        delivered_per_s: of_ticks(sink),
        relay_cores: if known {
            rates(&grid, &seen.relay.iter().map(cpu).collect::<Vec<_>>())
        } else {
            Vec::new()
        },
        relay_memory_bytes: if known { memory(&grid, &seen.relay) } else { Vec::new() },
    }
}

/// Seconds and counts; nothing was there at the start, of which no tick may tell.
fn totals(start: Duration, ticks: &[Tick]) -> Vec<(f64, f64)> {
    let start = start.as_secs_f64();
    let ticks = ticks.iter().map(|tick| (tick.at_ms as f64 / 1e3, tick.recipients as f64));
    std::iter::once((start, 0.0)).chain(ticks.filter(|(at, _)| *at > start)).collect()
}

/// Growth a second in each period of the grid.
fn rates(grid: &[Duration], totals: &[(f64, f64)]) -> Vec<f64> {
    let values: Vec<f64> = grid.iter().map(|at| total_at(at.as_secs_f64(), totals)).collect();
    let periods = grid.windows(2).zip(values.windows(2));
    let rate = |(times, values): (&[Duration], &[f64])| {
        let seconds = times[1].saturating_sub(times[0]).as_secs_f64();
        (values[1] - values[0]) / seconds
    };
    periods.map(rate).collect()
}

/// Before the first and after the last nothing grows.
fn total_at(at: f64, totals: &[(f64, f64)]) -> f64 {
    let after = totals.partition_point(|(time, _)| *time < at);
    match (after.checked_sub(1).and_then(|before| totals.get(before)), totals.get(after)) {
        (Some((from, low)), Some((to, high))) => low + (high - low) * (at - from) / (to - from),
        (Some((_, total)), None) | (None, Some((_, total))) => *total,
        (None, None) => 0.0,
    }
}

/// At each end of a period: what the last sample before it saw.
fn memory(grid: &[Duration], samples: &[Sample]) -> Vec<u64> {
    let at = |moment: &Duration| {
        let after = samples.partition_point(|sample| sample.at <= *moment);
        samples[after.saturating_sub(1)].memory
    };
    grid.iter().skip(1).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_between_ticks_are_on_a_line() {
        let totals = [(10.0, 0.0), (11.0, 100.0), (12.0, 100.0)];
        for (at, total) in [(9.0, 0.0), (10.0, 0.0), (10.5, 50.0), (11.5, 100.0), (20.0, 100.0)] {
            assert_eq!(total_at(at, &totals), total, "{at}");
        }
        assert_eq!(total_at(1.0, &[]), 0.0);
        let grid = [10, 11, 12].map(Duration::from_secs);
        assert_eq!(rates(&grid, &totals), [100.0, 0.0]);
    }

    #[test]
    fn what_came_before_the_first_tick_grew_from_the_start() {
        let tick = |at_ms, recipients| Tick { at_ms, messages: recipients, recipients };
        let ticks = [tick(9_000, 0), tick(10_500, 30), tick(11_000, 50)];
        let totals = totals(Duration::from_secs(10), &ticks);
        assert_eq!(totals, [(10.0, 0.0), (10.5, 30.0), (11.0, 50.0)]);
        let grid = [10_000, 10_250, 10_500].map(Duration::from_millis);
        assert_eq!(rates(&grid, &totals), [60.0, 60.0]);
    }

    #[test]
    fn memory_is_that_of_the_last_sample() {
        let sample =
            |at, memory| Sample { at: Duration::from_secs(at), memory, ..Sample::default() };
        let grid = [1, 2, 3].map(Duration::from_secs);
        assert_eq!(memory(&grid, &[sample(0, 5), sample(3, 7)]), [5, 7]);
        assert_eq!(memory(&grid, &[sample(9, 5)]), [5, 5]);
    }
}
