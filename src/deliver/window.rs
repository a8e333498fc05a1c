//! How many connections a site bears now, and when it is left alone.
//!
//! A window like TCP's: it opens by one connection for each window's worth of deliveries and halves
//! when sessions fail, never below one. While it is at one and that one fails, the site rests,
//! longer each time, and is then probed by a single connection; the first success makes it bear
//! more again, by the same slow steps. So a site that refuses everything is asked once a minute, and
//! one that takes five connections of twenty is not asked twenty times a second.
//!
//! Failures that come together are one failure: they tell of the same moment. Pure: the clock comes
//! in, nothing is opened or closed here.

use crate::time::Moment;
use std::time::Duration;

/// Connections that a site is met with, as far as its limit allows.
pub const START: u32 = 5;
/// The shortest and the longest rest.
pub const REST_MIN: Duration = Duration::from_secs(1);
pub const REST_MAX: Duration = Duration::from_secs(60);
/// Failures within this time of the first are the same one.
const TOGETHER: Duration = Duration::from_secs(1);
/// Rests that a site which has worked is waited for, before what is ready shares its failure: 31 s,
/// the time of a restart.
const PATIENCE: u32 = 5;
/// The window is kept in thousandths of a connection.
const ONE: u32 = 1_000;

/// How bad a failed session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It never came to work: no connection, no greeting, 421 before anything was taken.
    Fresh,
    /// It ended early after it had worked: many servers take so many messages and say 421.
    Worn,
    /// We had no descriptor, port or memory for it: the site has no part in it.
    Ours,
}

#[derive(Clone, Debug)]
pub struct Window {
    limit: u32,
    /// In thousandths; between one and the limit.
    size: u32,
    shrunk: Option<Moment>,
    /// Rests since the last success.
    rests: u32,
    rests_until: Moment,
    /// Whether anything ever went well.
    proven: bool,
}

impl Window {
    /// `limit` is this shard's part of the connections that the site may have; at least one.
    pub fn new(limit: u32) -> Self {
        let limit = limit.max(1);
        Window {
            limit,
            size: limit.min(START) * ONE,
            shrunk: None,
            rests: 0,
            rests_until: Moment::default(),
            proven: false,
        }
    }

    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
        self.size = self.size.min(self.limit * ONE);
    }

    /// Connections that may be open now; none while the site rests.
    pub fn connections(&self, now: Moment) -> u32 {
        if now < self.rests_until { 0 } else { self.size / ONE }
    }

    pub fn rests_until(&self) -> Moment {
        self.rests_until
    }

    /// Whether the last thing heard of the site was bad.
    pub fn is_troubled(&self) -> bool {
        self.rests > 0
    }

    /// Whether what is ready should wait out the trouble instead of sharing it.
    pub fn is_patient(&self) -> bool {
        self.proven && self.rests <= PATIENCE
    }

    /// A host greeted us well.
    pub fn reached(&mut self) {
        self.proven = true;
    }

    /// A message was carried.
    pub fn succeeded(&mut self) {
        self.proven = true;
        self.rests_until = Moment::default();
        self.size = (self.size + ONE * ONE / self.size).min(self.limit * ONE);
        self.rests = 0;
    }

    /// A session failed while `others` go on. How long no other is to be opened.
    pub fn failed(&mut self, failure: Failure, others: u32, now: Moment) -> Duration {
        match failure {
            Failure::Worn => {
                self.size = self.size.saturating_sub(ONE).max(ONE);
                return Duration::ZERO;
            }
            Failure::Ours => {
                self.rests_until = self.rests_until.max(now.after(REST_MIN));
                return self.rests_until.since(now);
            }
            Failure::Fresh => {}
        }
        if self.shrunk.is_none_or(|when| now.since(when) >= TOGETHER) {
            self.shrunk = Some(now);
            self.size = (self.size / 2).max(ONE);
        }
        if now >= self.rests_until {
            let rest = REST_MIN.saturating_mul(1 << self.rests.min(10)).min(REST_MAX);
            self.rests_until = now.after(rest);
            // While others work it is the one more that was too many, and no outage.
            self.rests = if others == 0 { self.rests + 1 } else { self.rests.max(1) };
        }
        self.rests_until.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_by_one_for_each_window_of_successes() {
        let (mut window, now) = (Window::new(20), Moment::default());
        assert_eq!(window.connections(now), START);
        (0..START + 1).for_each(|_| window.succeeded());
        assert_eq!(window.connections(now), START + 1);
        (0..1_000).for_each(|_| window.succeeded());
        assert_eq!(window.connections(now), 20);
        assert_eq!(Window::new(2).connections(now), 2);
    }

    #[test]
    fn rests_longer_each_time_and_probes_with_one() {
        let (mut window, mut now) = (Window::new(20), Moment::default());
        for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(window.connections(now) >= 1);
            let found = window.failed(Failure::Fresh, 0, now);
            assert_eq!(found, Duration::from_secs(rest));
            assert_eq!(window.connections(now), 0);
            assert_eq!(window.failed(Failure::Fresh, 0, now), found, "together they are one");
            now = now.after(found);
        }
        assert_eq!(window.connections(now), 1);
        (0..3).for_each(|_| window.succeeded());
        assert_eq!(window.connections(now), 2, "2, then 2.5, then 2.9");
    }

    #[test]
    fn a_site_that_takes_no_more_keeps_what_it_has() {
        let (mut window, mut now) = (Window::new(20), Moment::default());
        (0..1_000).for_each(|_| window.succeeded());
        for expected in [10, 5, 2, 1, 1] {
            let rest = window.failed(Failure::Fresh, 3, now);
            assert_eq!(window.connections(now), 0, "no more for a while");
            now = now.after(rest.max(TOGETHER));
            assert_eq!(window.connections(now), expected);
        }
    }

    #[test]
    fn our_own_want_rests_and_blames_nobody() {
        let (mut window, now) = (Window::new(20), Moment::default());
        assert_eq!(window.failed(Failure::Ours, 0, now), REST_MIN);
        assert_eq!(window.connections(now), 0);
        assert_eq!(window.connections(now.after(REST_MIN)), START);
        assert!(!window.is_troubled());
    }

    #[test]
    fn a_worn_session_costs_one_connection() {
        let (mut window, now) = (Window::new(20), Moment::default());
        assert_eq!(window.failed(Failure::Worn, 0, now), Duration::ZERO);
        assert_eq!(window.connections(now), START - 1);
        (0..9).for_each(|_| _ = window.failed(Failure::Worn, 0, now));
        assert_eq!(window.connections(now), 1);
        assert!(!window.is_troubled());
    }

    #[test]
    fn only_a_site_that_has_worked_is_waited_for() {
        let (mut window, mut now) = (Window::new(1), Moment::default());
        now = now.after(window.failed(Failure::Fresh, 0, now));
        assert!(!window.is_patient());
        window.succeeded();
        for _ in 0..PATIENCE {
            now = now.after(window.failed(Failure::Fresh, 0, now));
            assert!(window.is_patient());
        }
        window.failed(Failure::Fresh, 0, now);
        assert!(!window.is_patient());
    }
}
