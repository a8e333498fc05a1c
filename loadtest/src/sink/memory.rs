//! What the sessions of a sink remember together: who is here, who came how often, and for what.
//!
//! Owns the counts that limits and greylisting go by, and how often each behaviour was met. Time
//! is told by the caller. Bounded: what grows with clients and recipients is kept in two
//! generations, and when the younger one is full the older one is forgotten, so that whatever was
//! used lately is there. A triplet that was forgotten is greylisted again, as anywhere else.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::personality::{Behaviour, Greylist};

/// Triplets remembered, about 40 bytes each.
const TRIPLETS_MAX: usize = 1 << 20;
/// Clients of sites whose minute is remembered.
const MINUTES_MAX: usize = 1 << 18;
const MINUTE: Duration = Duration::from_secs(60);

/// A client of one site: limits count for each pair of them.
pub type Client = (u64, IpAddr);

pub struct Memory {
    /// Only of sites that limit them; no more than there are sessions.
    sessions: HashMap<Client, u64>,
    minutes: Generations<Client, Minute>,
    triplets: Generations<u64, Grey>,
    /// By the place of the personality among all.
    seen: Vec<Seen>,
}

/// What happened at the sites of one personality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub sessions: u64,
    pub messages: u64,
    behaviours: [u64; Behaviour::ALL.len()],
}

impl Seen {
    pub fn of(&self, behaviour: Behaviour) -> u64 {
        self.behaviours[behaviour as usize]
    }
}

#[derive(Clone, Copy)]
struct Minute {
    start: Duration,
    messages: u64,
}

#[derive(Clone, Copy)]
struct Grey {
    first: Duration,
    refusals: u32,
}

/// What a triplet is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Wait,
}

impl Memory {
    pub fn new(personalities: usize) -> Memory {
        Memory {
            sessions: HashMap::new(),
            minutes: Generations::new(MINUTES_MAX),
            triplets: Generations::new(TRIPLETS_MAX),
            seen: vec![Seen::default(); personalities],
        }
    }

    pub fn note(&mut self, personality: usize, behaviour: Behaviour) {
        self.seen[personality].behaviours[behaviour as usize] += 1;
    }

    pub fn note_session(&mut self, personality: usize) {
        self.seen[personality].sessions += 1;
    }

    pub fn note_message(&mut self, personality: usize) {
        self.seen[personality].messages += 1;
    }

    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Whether the client may have one more session; if so it has it, until `leave`.
    pub fn enter(&mut self, client: Client, sessions_max: u64) -> Verdict {
        let sessions = self.sessions.entry(client).or_default();
        if *sessions >= sessions_max {
            return Verdict::Wait;
        }
        *sessions += 1;
        Verdict::Pass
    }

    pub fn leave(&mut self, client: Client) {
        let sessions = self.sessions.get_mut(&client).expect("who leaves has entered");
        *sessions -= 1;
        if *sessions == 0 {
            self.sessions.remove(&client);
        }
    }

    /// Whether the client may bring one more message; if so it is counted. A minute starts with the
    /// first message after the last one ended.
    pub fn take(&mut self, client: Client, now: Duration, messages_max: u64) -> Verdict {
        let minute = self.minutes.entry(client, Minute { start: now, messages: 0 });
        if now.saturating_sub(minute.start) >= MINUTE {
            *minute = Minute { start: now, messages: 0 };
        }
        if minute.messages >= messages_max {
            return Verdict::Wait;
        }
        minute.messages += 1;
        Verdict::Pass
    }

    /// Greylisting: refused until both conditions are met, and taken ever after.
    pub fn greylist(&mut self, triplet: u64, now: Duration, rule: &Greylist) -> Verdict {
        let grey = self.triplets.entry(triplet, Grey { first: now, refusals: 0 });
        if grey.refusals >= rule.attempts && now.saturating_sub(grey.first) >= rule.time {
            return Verdict::Pass;
        }
        grey.refusals = grey.refusals.saturating_add(1);
        Verdict::Wait
    }
}

/// A client's network (/24 or /64), sender and recipient, for a site.
///
/// Servers compare networks, because a large sender's retry comes from another address of it. Kept
/// as a hash: in a million of them two alike are not to be expected.
pub fn triplet((site, client): Client, sender: &[u8], recipient: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    site.hash(&mut hasher);
    match client {
        IpAddr::V4(address) => address.octets()[..3].hash(&mut hasher),
        IpAddr::V6(address) => address.octets()[..8].hash(&mut hasher),
    }
    (sender, recipient).hash(&mut hasher);
    hasher.finish()
}

/// A map of bounded size that forgets what was not used for long.
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Of each.
    entries_max: usize,
}

impl<K: Copy + Eq + Hash, V: Copy> Generations<K, V> {
    fn new(entries_max: usize) -> Generations<K, V> {
        Generations { young: HashMap::new(), old: HashMap::new(), entries_max: entries_max / 2 }
    }

    fn entry(&mut self, key: K, fresh: V) -> &mut V {
        if self.young.len() >= self.entries_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or(fresh))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::profile::words::Replies;

    const CLIENT: Client = (1, IpAddr::V4(Ipv4Addr::LOCALHOST));
    const OTHER: Client = (2, IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn sessions_count_for_each_site_until_they_leave() {
        let mut memory = Memory::new(1);
        assert_eq!(memory.enter(CLIENT, 2), Verdict::Pass);
        assert_eq!(memory.enter(CLIENT, 2), Verdict::Pass);
        assert_eq!(memory.enter(CLIENT, 2), Verdict::Wait);
        assert_eq!(memory.enter(OTHER, 2), Verdict::Pass);
        memory.leave(CLIENT);
        assert_eq!(memory.enter(CLIENT, 2), Verdict::Pass);
        for client in [CLIENT, CLIENT, OTHER] {
            memory.leave(client);
        }
        assert!(memory.sessions.is_empty());
    }

    #[test]
    fn a_minute_has_so_many_messages() {
        let mut memory = Memory::new(1);
        for (second, expected) in [
            (10, Verdict::Pass),
            (20, Verdict::Pass),
            (30, Verdict::Wait),
            (69, Verdict::Wait),
            (70, Verdict::Pass),
            (71, Verdict::Pass),
            (129, Verdict::Wait),
            (1000, Verdict::Pass),
        ] {
            assert_eq!(memory.take(CLIENT, at(second), 2), expected, "{second} s");
        }
        assert_eq!(memory.take(OTHER, at(30), 2), Verdict::Pass);
    }

    #[test]
    fn greylisting_ends_after_so_many_attempts_and_so_long() {
        let rule = |attempts, seconds| Greylist {
            attempts,
            time: at(seconds),
            replies: Replies::of("450 later"),
        };
        use Verdict::{Pass, Wait};
        let cases: [(Greylist, &[(u64, Verdict)]); 3] = [
            (rule(1, 0), &[(0, Wait), (0, Pass), (9999, Pass)]),
            (rule(2, 0), &[(0, Wait), (50, Wait), (51, Pass)]),
            (rule(1, 60), &[(0, Wait), (10, Wait), (59, Wait), (60, Pass), (61, Pass)]),
        ];
        for (number, (rule, attempts)) in cases.into_iter().enumerate() {
            let mut memory = Memory::new(1);
            for (second, expected) in attempts {
                let told = memory.greylist(number as u64, at(*second), &rule);
                assert_eq!(told, *expected, "case {number}, {second} s");
            }
        }
    }

    #[test]
    fn a_triplet_is_a_network_a_sender_and_a_recipient() {
        let near: Client = (1, "127.0.0.99".parse().unwrap());
        let far: Client = (1, "127.0.1.1".parse().unwrap());
        let one = triplet(CLIENT, b"a@x", b"b@y");
        assert_eq!(one, triplet(near, b"a@x", b"b@y"));
        for other in [
            triplet(far, b"a@x", b"b@y"),
            triplet(OTHER, b"a@x", b"b@y"),
            triplet(CLIENT, b"a@x", b"c@y"),
            triplet(CLIENT, b"c@x", b"b@y"),
            triplet(CLIENT, b"a@xb", b"@y"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let mut map = Generations::new(100);
        for round in 0..1000_u64 {
            *map.entry(u64::MAX, 0_u64) += 1;
            *map.entry(round, 0) += 1;
            assert!(map.young.len() <= 50 && map.old.len() <= 50);
        }
        assert_eq!(*map.entry(u64::MAX, 0), 1000);
        assert_eq!(*map.entry(3, 0), 0, "long forgotten");
    }
}
