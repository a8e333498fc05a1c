//! Stage 1: may this peer connect?
//!
//! Counts sessions, in all and per address, against their bounds. One [`Admission`] serves all
//! shards: the kernel spreads one peer's connections over them, so a bound per shard would be none.
//! It is asked twice in a session's life, so a mutex around it costs nothing.
//! Whether the peer may *relay* is not decided here but at MAIL (`smtp/server/`).

pub mod proxy;

use crate::config::Limits;
use crate::event::RefusalTag;
use std::collections::HashMap;
use std::net::IpAddr;

#[derive(Debug)]
pub struct Admission {
    sessions: u32,
    sessions_max: u32,
    sessions_per_peer_max: u32,
    /// Only peers with a session: as large as `sessions_max` at most.
    peers: HashMap<IpAddr, u32>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Self {
        Admission {
            sessions: 0,
            sessions_max: limits.sessions_max,
            sessions_per_peer_max: limits.sessions_per_peer_max,
            peers: HashMap::new(),
        }
    }

    /// Other bounds from here on. Sessions above them stay; none enters until enough have left.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.sessions_max = limits.sessions_max;
        self.sessions_per_peer_max = limits.sessions_per_peer_max;
    }

    /// Counts a session in. `own_max` is what the configuration grants this peer instead of the
    /// common bound. Every `Ok` is followed by one [`Admission::leave`].
    pub fn enter(&mut self, peer: IpAddr, own_max: Option<u32>) -> Result<(), RefusalTag> {
        if self.sessions >= self.sessions_max {
            return Err(RefusalTag::SessionsMax);
        }
        let count = self.peers.get(&peer).copied().unwrap_or(0);
        if count >= own_max.unwrap_or(self.sessions_per_peer_max) {
            return Err(RefusalTag::PeerSessionsMax);
        }
        self.sessions += 1;
        self.peers.insert(peer, count + 1);
        Ok(())
    }

    /// # Panics
    /// When `peer` has no session.
    pub fn leave(&mut self, peer: IpAddr) {
        let count = self.peers.get_mut(&peer).expect("who leaves has entered");
        *count -= 1;
        if *count == 0 {
            self.peers.remove(&peer);
        }
        self.sessions -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn bounds_in_all_and_per_peer() {
        let mut admission = Admission {
            sessions: 0,
            sessions_max: 4,
            sessions_per_peer_max: 2,
            peers: HashMap::new(),
        };
        let peer = |last| IpAddr::from([127, 0, 0, last]);
        assert_eq!(admission.enter(peer(1), None), Ok(()));
        assert_eq!(admission.enter(peer(1), None), Ok(()));
        assert_eq!(admission.enter(peer(1), None), Err(RefusalTag::PeerSessionsMax));
        assert_eq!(admission.enter(peer(1), Some(3)), Ok(()));
        assert_eq!(admission.enter(peer(2), None), Ok(()));
        assert_eq!(admission.enter(peer(3), None), Err(RefusalTag::SessionsMax));
        admission.leave(peer(2));
        assert_eq!(admission.enter(peer(3), Some(0)), Err(RefusalTag::PeerSessionsMax));
        assert_eq!(admission.enter(peer(3), None), Ok(()));
        assert_eq!(admission.peers.len(), 2);
    }

    #[test]
    fn lower_bounds_let_nobody_in_until_enough_have_left() {
        let limits = |text| Config::parse("test", text, "box").expect(text).limits;
        let peer = IpAddr::from([127, 0, 0, 1]);
        let mut admission = Admission::new(&limits(""));
        (0..3).for_each(|_| assert_eq!(admission.enter(peer, None), Ok(())));
        admission.set_limits(&limits("[limits]\nsessions_max = 2"));
        assert_eq!(admission.enter(peer, None), Err(RefusalTag::SessionsMax));
        admission.leave(peer);
        assert_eq!(admission.enter(peer, None), Err(RefusalTag::SessionsMax));
        admission.leave(peer);
        assert_eq!(admission.enter(peer, None), Ok(()));
        admission.set_limits(&limits("[limits]\nsessions_per_peer_max = 2"));
        assert_eq!(admission.enter(peer, None), Err(RefusalTag::PeerSessionsMax));
    }
}
