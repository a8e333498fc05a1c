//! Addresses that failed lately, and for how long they are treated otherwise.
//!
//! Two kinds of failure are remembered. An address that took no connection is passed over, or a
//! provider with a dead host among five would cost every fifth session a connection timeout; the
//! memory is short, and whoever comes first after it tries again. A host that offers STARTTLS and then
//! fails at it is met in clear where TLS is only preferred, instead of failing over and over (RFC 7435
//! 3); never asked where TLS is demanded.
//!
//! Bounded; what is over makes room first, then what is over next. Pure: the clock comes in.

use crate::time::Moment;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an address that took no connection is passed over.
pub const DEAD_FOR: Duration = Duration::from_secs(60);
/// How long a host is met in clear before TLS is tried again.
pub const BROKEN_FOR: Duration = Duration::from_hours(1);
/// Addresses remembered by one shard, of each kind. One that is forgotten costs one more failure.
pub const HOSTS_MAX: usize = 4_096;

/// Where something failed, and until when that is believed.
#[derive(Debug)]
pub struct Avoided {
    /// Counted from the last failure.
    believed_for: Duration,
    until: HashMap<SocketAddr, Moment>,
}

impl Avoided {
    /// Those that took no connection.
    pub fn dead() -> Self {
        Avoided { believed_for: DEAD_FOR, until: HashMap::new() }
    }

    /// Those that failed at TLS.
    pub fn with_broken_tls() -> Self {
        Avoided { believed_for: BROKEN_FOR, until: HashMap::new() }
    }

    pub fn add(&mut self, host: SocketAddr, now: Moment) {
        if self.until.len() >= HOSTS_MAX && !self.until.contains_key(&host) {
            self.make_room(now);
        }
        self.until.insert(host, now.after(self.believed_for));
    }

    pub fn forget(&mut self, host: &SocketAddr) {
        // Nearly always there is nothing to look for.
        if !self.until.is_empty() {
            self.until.remove(host);
        }
    }

    pub fn has(&self, host: &SocketAddr, now: Moment) -> bool {
        self.until.get(host).is_some_and(|&until| now < until)
    }

    /// Forgets all that is over, and when nothing is, the one that failed first.
    fn make_room(&mut self, now: Moment) {
        self.until.retain(|_, &mut until| now < until);
        if self.until.len() < HOSTS_MAX {
            return;
        }
        let oldest = self.until.iter().min_by_key(|&(_, until)| *until).map(|(&host, _)| host);
        if let Some(host) = oldest {
            self.until.remove(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 25))
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_host_is_believed_broken_for_an_hour_from_its_last_failure() {
        let mut broken = Avoided::with_broken_tls();
        assert!(!broken.has(&host(1), at(0)));
        broken.add(host(1), at(0));
        broken.add(host(1), at(100));
        assert!(broken.has(&host(1), at(3_699)) && !broken.has(&host(1), at(3_700)));
        assert!(!broken.has(&host(2), at(100)));
    }

    #[test]
    fn the_map_is_bounded_and_forgets_the_oldest() {
        let mut broken = Avoided::with_broken_tls();
        for number in 0..HOSTS_MAX + 2 {
            broken.add(host(number), at(number as u64 / 64));
        }
        let now = at(65);
        assert_eq!(broken.until.len(), HOSTS_MAX);
        let known = (0..HOSTS_MAX + 2).filter(|&number| broken.has(&host(number), now));
        assert_eq!(known.count(), HOSTS_MAX);
        assert!(broken.has(&host(HOSTS_MAX + 1), now));
    }

    #[test]
    fn what_is_over_makes_room_first() {
        let mut broken = Avoided::with_broken_tls();
        for number in 0..HOSTS_MAX {
            broken.add(host(number), at(number as u64 % 2 * 100));
        }
        broken.add(host(HOSTS_MAX), at(3_650));
        assert_eq!(broken.until.len(), HOSTS_MAX / 2 + 1);
    }

    #[test]
    fn a_dead_host_is_known_for_a_while_or_until_it_lives() {
        let (mut dead, now) = (Avoided::dead(), Moment::default());
        dead.add(host(1), now);
        dead.add(host(2), now);
        assert!(dead.has(&host(1), now) && !dead.has(&host(3), now));
        dead.forget(&host(2));
        assert!(!dead.has(&host(2), now));
        assert!(!dead.has(&host(1), now.after(DEAD_FOR)));
    }

    #[test]
    fn remembers_so_many_and_no_more() {
        let mut dead = Avoided::dead();
        let mut now = Moment::default();
        for number in 0..2 * HOSTS_MAX {
            now = now.after(Duration::from_millis(1));
            dead.add(host(number), now);
            assert!(dead.until.len() <= HOSTS_MAX);
        }
        assert!(dead.has(&host(2 * HOSTS_MAX - 1), now));
        assert!(!dead.has(&host(0), now));
    }
}
