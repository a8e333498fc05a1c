//! Whose lane is it? How the limits of a lane are divided over the shards, without a lock.
//!
//! What may be divided is: a lane with at least as many connections (and messages an interval) as
//! there are shards has its part on every shard, and each delivers what it accepted itself. A lane
//! with fewer lives on so many shards, picked by a hash of its name, and the others hand their mail
//! to one of those. So the parts always add up to the limit, and a limit of one is one.
//!
//! Every shard computes the same answer from the same name, so nobody has to be asked.

use super::source::mixed;
use crate::config::{LaneLimits, Rate};
use crate::queue::key::name_hash;
use std::time::Duration;

/// A shard's part of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Here(Limits),
    /// The lane lives on another shard.
    There {
        shard: u16,
    },
}

/// What this shard may do of what the lane may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At least one.
    pub connections: u32,
    pub messages_per_connection: u32,
    pub recipients_per_transaction: usize,
    pub rate: Option<Rate>,
}

/// The part that shard `index` of `count` has in the lane called `name`.
pub fn part(name: &str, limits: &LaneLimits, index: u16, count: u16) -> Part {
    let connections = limits.connections_max.max(1);
    let messages = limits.rate.map_or(u32::MAX, |rate| rate.messages.max(1));
    let owners = u32::from(count).min(connections).min(messages);
    if owners == u32::from(count) {
        return Part::Here(divided(limits, u32::from(index), owners));
    }
    let ranking = ranking(name, count);
    match ranking[..owners as usize].iter().position(|owner| *owner == index) {
        Some(place) => Part::Here(divided(limits, place as u32, owners)),
        // Those without a part spread over the owners by their number.
        None => Part::There { shard: ranking[usize::from(index) % owners as usize] },
    }
}

/// What a lane may do on a shard that was handed mail for it though it has no part: one of
/// everything. It comes to that only when two shards saw different MX records.
pub fn least(limits: &LaneLimits, count: u16) -> Limits {
    let whole = u32::from(count).max(limits.connections_max);
    Limits { connections: 1, ..divided(limits, 0, whole) }
}

/// The parts differ by one at most and add up.
fn divided(limits: &LaneLimits, place: u32, parts: u32) -> Limits {
    let share = |whole: u32| whole / parts + u32::from(place < whole % parts);
    let rate = limits.rate.map(|rate| match rate.messages {
        // Fewer messages than parts: one part, less often.
        few if few < parts => Rate { messages: 1, per: lengthened(rate.per, parts, few) },
        many => Rate { messages: share(many), ..rate },
    });
    Limits {
        connections: share(limits.connections_max.max(1)).max(1),
        messages_per_connection: limits.messages_per_connection_max.max(1),
        recipients_per_transaction: limits.recipients_per_transaction_max.max(1) as usize,
        rate,
    }
}

fn lengthened(per: Duration, parts: u32, messages: u32) -> Duration {
    per.saturating_mul(parts) / messages.max(1)
}

/// The shards in the order in which they would own the lane (rendezvous hashing: Thaler and
/// Ravishankar, 1998). With another number of shards most lanes stay where they are.
fn ranking(name: &str, count: u16) -> Vec<u16> {
    let name = name_hash(name);
    let mut shards: Vec<u16> = (0..count).collect();
    shards.sort_by_key(|shard| mixed(name ^ mixed(u64::from(*shard))));
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections_max: u32, rate: Option<u32>) -> LaneLimits {
        let rate = rate.map(|messages| Rate { messages, per: Duration::from_secs(60) });
        LaneLimits {
            connections_max,
            messages_per_connection_max: 100,
            recipients_per_transaction_max: 50,
            rate,
        }
    }

    fn parts(name: &str, limits: &LaneLimits, count: u16) -> Vec<Part> {
        (0..count).map(|index| part(name, limits, index, count)).collect()
    }

    #[test]
    fn the_parts_add_up_to_the_limit_and_the_rest_know_an_owner() {
        for (connections, rate) in
            [(1, None), (2, None), (3, None), (7, None), (20, None), (20, Some(3)), (1, Some(600))]
        {
            for count in [1, 2, 3, 8, 64] {
                let limits = limits(connections, rate);
                let parts = parts("mx.example.net", &limits, count);
                let mut sum = 0;
                let mut messages = 0.0;
                for part in &parts {
                    match part {
                        Part::Here(here) => {
                            sum += here.connections;
                            let rate = here.rate;
                            messages += rate.map_or(0.0, |r| {
                                f64::from(r.messages) * 60.0 / r.per.as_secs_f64()
                            });
                        }
                        Part::There { shard } => {
                            let owner = &parts[usize::from(*shard)];
                            assert!(matches!(owner, Part::Here(_)), "{shard} owns nothing");
                        }
                    }
                }
                assert_eq!(sum, connections, "{connections} over {count} shards");
                if let Some(rate) = rate {
                    assert!((messages - f64::from(rate)).abs() < 0.01, "{messages} of {rate}");
                }
            }
        }
    }

    #[test]
    fn lanes_of_one_connection_spread_over_the_shards() {
        let mut owned = [0; 4];
        for number in 0..1_000 {
            let name = format!("mx{number}.example.net");
            let all = parts(&name, &limits(1, None), 4);
            let owner = all.iter().position(|part| matches!(part, Part::Here(_))).unwrap();
            owned[owner] += 1;
        }
        assert!(owned.iter().all(|count| (180..320).contains(count)), "{owned:?}");
    }

    #[test]
    fn who_has_no_part_gets_the_least() {
        let least = least(&limits(1, Some(6)), 4);
        assert_eq!(least.connections, 1);
        assert_eq!(least.rate.unwrap().messages, 2);
    }
}
