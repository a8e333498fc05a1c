//! Which egress source carries an entry.
//!
//! Weighted rendezvous hashing: every source of the pool gets a score from the entry and its own
//! name, and the best one carries it. So an entry keeps its source from attempt to attempt and over
//! restarts (greylisting knows a sender by its address), the shares follow the weights, and a
//! source that comes or goes moves its own share only.
//! Pure: no counter to lose, and the same on every shard.
//!
//! The score is -ln(u) / weight with u uniform in (0, 1), the least one wins: that is the first of
//! several exponential clocks, which rings first with probability weight / sum of weights.

use crate::config::Source;
use crate::message::MessageId;
use crate::queue::key::name_hash;

/// The source, as an index into `sources`, that carries group `group` of message `id`. `pool` has
/// the indices to choose from.
///
/// # Panics
/// When `pool` is empty or has an index that `sources` has not: the configuration makes neither.
pub fn choose(sources: &[Source], pool: &[usize], id: MessageId, group: u16) -> usize {
    let entry = mixed(id.as_u64() ^ mixed(u64::from(group)));
    let clock = |index: &usize| {
        let source = &sources[*index];
        let hash = mixed(entry ^ name_hash(&source.name));
        // 53 bits and a half: exact in an f64, and never 0 or 1.
        let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -uniform.ln() / f64::from(source.weight)
    };
    let first = pool.iter().min_by(|one, other| clock(one).total_cmp(&clock(other)));
    *first.expect("a pool is never empty")
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves half of
/// those of the output, which ids that count up need.
pub(super) fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: u64 = 40_000;

    fn sources(weights: &[(&str, u32)]) -> Vec<Source> {
        let source = |(name, weight): &(&str, u32)| Source {
            name: (*name).to_owned(),
            v4: None,
            v6: None,
            ehlo: "relay.test".to_owned(),
            weight: *weight,
        };
        weights.iter().map(source).collect()
    }

    /// The source of each of many entries: ids that count up as real ones do, four groups of each.
    fn chosen(sources: &[Source], pool: &[usize]) -> Vec<usize> {
        let id = |number: u64| MessageId::from_u64((1 << 60) + number / 4);
        (0..ENTRIES).map(|n| choose(sources, pool, id(n), (n % 4) as u16)).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let rows: [&[(&str, u32)]; 4] = [
            &[("a", 1)],
            &[("a", 1), ("b", 1), ("c", 1)],
            &[("out-1", 1), ("out-2", 10), ("out-3", 5), ("out-4", 4)],
            &[("a", 1_000), ("b", 10)],
        ];
        for weights in rows {
            let sources = sources(weights);
            let pool: Vec<usize> = (0..sources.len()).collect();
            let chosen = chosen(&sources, &pool);
            let whole: u32 = weights.iter().map(|(_, weight)| weight).sum();
            for (index, (name, weight)) in weights.iter().enumerate() {
                let found = chosen.iter().filter(|found| **found == index).count() as f64;
                let expected = ENTRIES as f64 * f64::from(*weight) / f64::from(whole);
                // Four standard deviations of a share that small.
                let slack = 4.0 * expected.sqrt();
                assert!((found - expected).abs() <= slack, "{name}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn a_new_source_takes_its_share_and_moves_nothing_else() {
        let sources = sources(&[("a", 2), ("b", 1), ("c", 1)]);
        let (before, after) = (chosen(&sources, &[0, 1]), chosen(&sources, &[0, 1, 2]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let moved: Vec<_> = moved.collect();
        assert!(moved.iter().all(|(_, after)| **after == 2));
        let share = moved.len() as f64 / ENTRIES as f64;
        assert!((share - 0.25).abs() < 0.01, "{share}");
    }

    #[test]
    fn the_order_of_the_sources_does_not_matter() {
        let (one, other) = (sources(&[("a", 2), ("b", 3)]), sources(&[("b", 3), ("a", 2)]));
        let other = chosen(&other, &[1, 0]);
        assert!(chosen(&one, &[0, 1]).iter().zip(&other).all(|(one, other)| one + other == 1));
    }

    #[test]
    fn groups_of_a_message_are_spread() {
        let sources = sources(&[("a", 1), ("b", 1)]);
        let id = MessageId::from_u64(7);
        let on_a = (0..1_000).filter(|group| choose(&sources, &[0, 1], id, *group) == 0).count();
        assert!((430..570).contains(&on_a), "{on_a}");
    }
}
