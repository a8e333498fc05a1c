//! Messages per interval: when the next one may go.
//!
//! Messages are spaced evenly instead of counted by the hour: a receiver that allows a thousand an
//! hour means no thousand in the first second. What was not sent is saved up for half a second
//! only, so that waits may be noticed late ([`SLACK`]) without the rate falling behind (a generic
//! cell rate algorithm, ITU-T I.371, with that tolerance).
//! Pure: the clock comes in.

use crate::time::Moment;
use std::time::Duration;

/// Unused time that is saved up.
const SLACK: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Pace {
    /// Between two messages.
    spacing: Duration,
    /// When the next one would be due if all were sent exactly on time.
    next: Option<Moment>,
}

impl Pace {
    /// `messages` (at least 1) in each `per`.
    pub fn new(messages: u32, per: Duration) -> Self {
        Pace { spacing: per / messages.max(1), next: None }
    }

    /// Takes the place of one message, or says when there will be one.
    ///
    /// # Errors
    /// The moment from which a place is free.
    pub fn take(&mut self, now: Moment) -> Result<(), Moment> {
        let oldest = now.before(SLACK);
        let next = self.next.unwrap_or(now).max(oldest);
        if next > now {
            return Err(next);
        }
        self.next = Some(next.after(self.spacing));
        Ok(())
    }

    /// One more was sent, whenever its place would have been: the next waits longer.
    pub fn owe(&mut self) {
        self.next = self.next.map(|next| next.after(self.spacing));
    }

    /// The moment from which a place is free, when it is later than `now`.
    pub fn waits_until(&self, now: Moment) -> Option<Moment> {
        self.next.filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pace: &mut Pace, from: Moment, millis: u64, look_every: u64) -> u32 {
        let mut sent = 0;
        for at in (0..millis).step_by(look_every as usize) {
            let now = from.after(Duration::from_millis(at));
            while pace.take(now).is_ok() {
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn keeps_the_rate_whether_it_is_looked_at_often_or_seldom() {
        let start = Moment::default().after(Duration::from_secs(100));
        for look_every in [1, 10, 250] {
            let mut pace = Pace::new(100, Duration::from_secs(1));
            let sent = sent(&mut pace, start, 10_000, look_every);
            assert!((975..=1_001).contains(&sent), "{sent} every {look_every} ms");
        }
    }

    #[test]
    fn what_was_sent_beyond_its_place_is_waited_for() {
        let start = Moment::default().after(Duration::from_secs(100));
        let mut pace = Pace::new(1, Duration::from_secs(10));
        assert_eq!(pace.take(start), Ok(()));
        pace.owe();
        assert_eq!(pace.take(start), Err(start.after(Duration::from_secs(20))));
    }

    #[test]
    fn a_slow_rate_is_spaced_and_saves_nothing_up() {
        let start = Moment::default().after(Duration::from_secs(100));
        let mut pace = Pace::new(60, Duration::from_secs(3_600));
        assert_eq!(sent(&mut pace, start, 59_000, 500), 1);
        let much_later = start.after(Duration::from_secs(36_000));
        assert_eq!(sent(&mut pace, much_later, 50_000, 500), 1);
        let blocked = pace.take(much_later.after(Duration::from_secs(50)));
        assert_eq!(blocked, Err(pace.waits_until(much_later).unwrap()));
    }
}
