//! The hosts that offer STARTTLS and then fail at it.
//!
//! Where TLS is only preferred, mail to such a host goes in clear for a while instead of failing
//! over and over (RFC 7435 3). Decides how long, and for how many hosts, this is remembered; never
//! asked where TLS is demanded.

use crate::time::Moment;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a host is met in clear before TLS is tried again.
pub const BROKEN_FOR: Duration = Duration::from_hours(1);

/// Hosts remembered by one shard. A host that is forgotten costs one more failed handshake.
pub const BROKEN_HOSTS_MAX: usize = 4_096;

/// Where TLS failed, and until when that is believed.
#[derive(Debug, Default)]
pub struct BrokenTls {
    until: HashMap<SocketAddr, Moment>,
}

impl BrokenTls {
    pub fn add(&mut self, host: SocketAddr, now: Moment) {
        if self.until.len() >= BROKEN_HOSTS_MAX && !self.until.contains_key(&host) {
            self.make_room(now);
        }
        self.until.insert(host, now.after(BROKEN_FOR));
    }

    pub fn has(&self, host: SocketAddr, now: Moment) -> bool {
        self.until.get(&host).is_some_and(|&until| now < until)
    }

    /// Forgets all that is over, and when nothing is, the one that failed first.
    fn make_room(&mut self, now: Moment) {
        self.until.retain(|_, &mut until| now < until);
        if self.until.len() < BROKEN_HOSTS_MAX {
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
        let mut broken = BrokenTls::default();
        assert!(!broken.has(host(1), at(0)));
        broken.add(host(1), at(0));
        broken.add(host(1), at(100));
        assert!(broken.has(host(1), at(3_699)) && !broken.has(host(1), at(3_700)));
        assert!(!broken.has(host(2), at(100)));
    }

    #[test]
    fn the_map_is_bounded_and_forgets_the_oldest() {
        let mut broken = BrokenTls::default();
        for number in 0..BROKEN_HOSTS_MAX + 2 {
            broken.add(host(number), at(number as u64 / 64));
        }
        let now = at(65);
        assert_eq!(broken.until.len(), BROKEN_HOSTS_MAX);
        let known = (0..BROKEN_HOSTS_MAX + 2).filter(|&number| broken.has(host(number), now));
        assert_eq!(known.count(), BROKEN_HOSTS_MAX);
        assert!(broken.has(host(BROKEN_HOSTS_MAX + 1), now));
    }

    #[test]
    fn what_is_over_makes_room_first() {
        let mut broken = BrokenTls::default();
        for number in 0..BROKEN_HOSTS_MAX {
            broken.add(host(number), at(number as u64 % 2 * 100));
        }
        broken.add(host(BROKEN_HOSTS_MAX), at(3_650));
        assert_eq!(broken.until.len(), BROKEN_HOSTS_MAX / 2 + 1);
    }
}
