//! The moments at which the messages of an open loop are due, as sessions take them.
//!
//! Owns the schedule and the moments that were taken and given back, because the session could not
//! connect or was ended: these come first. A moment at or after the end of the schedule is never
//! given; one before it is given however late it is asked for, so that a relay that stalls cannot
//! make the messages vanish that it held up. Counts those that nobody took. Never looks at a clock:
//! moments are counted from the start of the run.

use std::collections::BTreeSet;
use std::time::Duration;

use super::arrivals::Schedule;

/// When a message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Closed loop: as soon as a session is free.
    AtOnce,
    /// From the start of the run.
    At(Duration),
}

pub struct Moments {
    schedule: Schedule,
    end: Option<Duration>,
    /// Given back; the number tells moments apart that are the same.
    arrears: BTreeSet<(Duration, u64)>,
    put_back: u64,
}

impl Moments {
    /// Without an `end` they go on for ever.
    pub fn new(schedule: Schedule, end: Option<Duration>) -> Moments {
        Moments { schedule, end, arrears: BTreeSet::new(), put_back: 0 }
    }

    /// Takes the first moment that is left; `None` once none before the end is.
    pub fn next(&mut self) -> Option<Duration> {
        if let Some((due, _)) = self.arrears.pop_first() {
            return Some(due);
        }
        let due = self.schedule.next();
        self.end.is_none_or(|end| due < end).then_some(due)
    }

    pub fn put_back(&mut self, due: Duration) {
        self.put_back += 1;
        self.arrears.insert((due, self.put_back));
    }

    /// Moments before `now` that are left, at most `max`. Takes them.
    pub fn missed(&mut self, now: Duration, max: u64) -> u64 {
        let mut missed = 0;
        while missed < max && self.next().is_some_and(|due| due < now) {
            missed += 1;
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::arrivals::Arrivals;

    fn moments(end: Option<u64>) -> Moments {
        Moments::new(Schedule::new(10.0, Arrivals::Fixed, 1), end.map(Duration::from_millis))
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_given_back_comes_first() {
        let mut moments = moments(None);
        let first: Vec<_> = (0..3).filter_map(|_| moments.next()).collect();
        assert_eq!(first, [ms(0), ms(100), ms(200)]);
        moments.put_back(ms(100));
        moments.put_back(ms(0));
        let rest: Vec<_> = (0..3).filter_map(|_| moments.next()).collect();
        assert_eq!(rest, [ms(0), ms(100), ms(300)]);
    }

    #[test]
    fn the_end_is_the_end_of_the_schedule_not_of_what_is_left_of_it() {
        let mut moments = moments(Some(300));
        for _ in 0..3 {
            assert!(moments.next().is_some());
        }
        assert_eq!((moments.next(), moments.next()), (None, None));
        moments.put_back(ms(200));
        assert_eq!((moments.next(), moments.next()), (Some(ms(200)), None));
    }

    #[test]
    fn what_was_due_and_not_taken_is_counted() {
        let mut taken = moments(Some(1_000));
        assert_eq!(taken.next(), Some(ms(0)));
        taken.put_back(ms(0));
        // At 0, 100, ..., 400; and all ten, however late it is; and as many as were wanted.
        assert_eq!(taken.missed(ms(450), u64::MAX), 5);
        assert_eq!(moments(Some(1_000)).missed(ms(9_999), u64::MAX), 10);
        assert_eq!(moments(None).missed(ms(9_999), 7), 7);
    }
}
