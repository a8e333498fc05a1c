//! Addresses that did not answer lately, so that an attempt does not wait for them again.
//!
//! A provider with a dead host among five would otherwise cost every fifth session a connection
//! timeout. The memory is short: an address is tried again after [`DEAD_FOR`], by whoever comes
//! first. Bounded; when it is full the one that is forgotten next anyway makes room.
//! Pure: the clock comes in.

use crate::time::Moment;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an address that took no connection is passed over.
pub const DEAD_FOR: Duration = Duration::from_secs(60);
/// Addresses remembered by one shard.
const ADDRESSES_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub struct DeadHosts {
    until: HashMap<SocketAddr, Moment>,
}

impl DeadHosts {
    pub fn died(&mut self, address: SocketAddr, now: Moment) {
        if self.until.len() >= ADDRESSES_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= ADDRESSES_MAX
            && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until)
        {
            let first = *first.0;
            self.until.remove(&first);
        }
        self.until.insert(address, now.after(DEAD_FOR));
    }

    pub fn lives(&mut self, address: &SocketAddr) {
        // Nearly always there is nothing to look for.
        if !self.until.is_empty() {
            self.until.remove(address);
        }
    }

    pub fn is_dead(&self, address: &SocketAddr, now: Moment) -> bool {
        self.until.get(address).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 25))
    }

    #[test]
    fn a_dead_host_is_known_for_a_while_or_until_it_lives() {
        let (mut dead, now) = (DeadHosts::default(), Moment::default());
        dead.died(host(1), now);
        dead.died(host(2), now);
        assert!(dead.is_dead(&host(1), now) && !dead.is_dead(&host(3), now));
        dead.lives(&host(2));
        assert!(!dead.is_dead(&host(2), now));
        assert!(!dead.is_dead(&host(1), now.after(DEAD_FOR)));
    }

    #[test]
    fn remembers_so_many_and_no_more() {
        let mut dead = DeadHosts::default();
        let mut now = Moment::default();
        for number in 0..2 * ADDRESSES_MAX as u32 {
            now = now.after(Duration::from_millis(1));
            dead.died(host(number), now);
            assert!(dead.until.len() <= ADDRESSES_MAX);
        }
        assert!(dead.is_dead(&host(2 * ADDRESSES_MAX as u32 - 1), now));
        assert!(!dead.is_dead(&host(0), now));
    }
}
