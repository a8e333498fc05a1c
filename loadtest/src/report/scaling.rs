//! What grows with what: batons with more shards beside one with fewer, and scenarios of one family
//! (`queued-0`, `queued-100k`, `queued-1m`) beside the smallest of them.
//!
//! The figure of shards is a capacity by the relay's CPU alone: cores of the shards / CPU time a
//! message, that of one baton over that of the other. It is the ratio of messages/s that the two
//! would reach if source and sink ran elsewhere, each shard had a core to itself and was busy all
//! the time: it tells whether a message costs more CPU because there are more shards, which
//! messages/s cannot tell where relay, source and sink share the cores. All CPU time of the relay
//! counts, also that of its threads beside the shards, as if the shards' cores had to bear it.
//!
//! It is no measured rate. It knows nothing of what a relay waits for without using CPU (the disk's
//! syncs, a lock, a shard that waits for another), nor of what busy neighbours do to each other
//! (caches, memory, clock rate), beyond what the runs had of it.

use super::figure::Figure;
use super::group::{Group, Scenario};
use super::units;

/// The setting that says how many shards a baton has.
const SHARDS: &str = "shards";
/// The figures by which something grows or does not.
const GROWN: [Figure; 4] = [Figure::PerSecond, Figure::RelayCpu, Figure::AcceptP99, Figure::Memory];

/// All there is to tell, each with the scenario that it is about.
pub fn words(scenarios: &[Scenario]) -> Vec<(String, String)> {
    let of_shards = scenarios.iter().flat_map(|scenario| {
        let lines = shards(scenario).into_iter();
        lines.map(|line| (scenario.name.to_owned(), line))
    });
    of_shards.chain(scenarios.iter().filter_map(|one| growth(one, scenarios)).flatten()).collect()
}

/// `scaling 1 -> 2 shards, by the relay's CPU alone: 1.80x`, of each baton to the smallest one that
/// differs from it in that alone.
fn shards(scenario: &Scenario) -> Vec<String> {
    let mut batons: Vec<(u32, &Group)> = scenario
        .groups
        .iter()
        .filter_map(|group| Some((number_of_shards(group)?, group)))
        .collect();
    batons.sort_by_key(|(shards, _)| *shards);
    let scaled = batons.iter().filter_map(|(shards, group)| {
        let (least, base) = batons.iter().find(|(_, base)| else_alike(base, group))?;
        // (shards / CPU) / (least / base's CPU)
        let cpu = group.ratio(base, Figure::RelayCpu).filter(|ratio| *ratio > 0.0)?;
        let scaling = units::ratio(f64::from(*shards) / f64::from(*least) / cpu);
        (shards > least).then(|| {
            format!("scaling {least} -> {shards} shards, by the relay's CPU alone: {scaling}")
        })
    });
    scaled.collect()
}

/// Where it is known: not with "auto".
fn number_of_shards(group: &Group) -> Option<u32> {
    let baton = group.relay.kind == "baton";
    let (_, shards) = group.relay.settings.iter().find(|(name, _)| name == SHARDS)?;
    shards.parse().ok().filter(|shards| baton && *shards > 0)
}

fn else_alike(one: &Group, other: &Group) -> bool {
    let rest = |group: &Group| -> Vec<(String, String)> {
        let settings = group.relay.settings.iter();
        settings.filter(|(name, _)| name != SHARDS).cloned().collect()
    };
    one.relay.name == other.relay.name && rest(one) == rest(other)
}

/// `baton 0.98x queued-0 in messages/s, ..`, of each relay to itself in the smallest of the family.
fn growth(scenario: &Scenario, all: &[Scenario]) -> Option<Vec<(String, String)>> {
    let (family, size) = family(scenario.name)?;
    let known = all.iter().filter_map(|other| Some((self::family(other.name)?, other)));
    let relatives = known.filter(|((name, _), _)| *name == family);
    let ((_, least), base) = relatives.min_by_key(|((_, size), _)| *size)?;
    if least == size {
        return None;
    }
    let lines = scenario.groups.iter().filter_map(|group| {
        // Settings that the scenario asks for may differ; those that tell relays apart do not.
        let other = base.groups.iter().find(|other| other.label == group.label)?;
        let line = format!("{} {}", group.short, group.to(other, base.name, &GROWN)?);
        Some((scenario.name.to_owned(), line))
    });
    Some(lines.collect())
}

/// A scenario's name without its number, and the number.
fn family(name: &str) -> Option<(&str, u64)> {
    let (family, size) = name.rsplit_once('-')?;
    let (digits, unit) = match size.char_indices().last()? {
        (end, 'k') => (&size[..end], 1_000),
        (end, 'm') => (&size[..end], 1_000_000),
        _ => (size, 1),
    };
    Some((family, digits.parse::<u64>().ok()?.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::group::scenarios;
    use crate::report::model::{Relay, Report, Run};

    fn baton(shards: &str) -> Relay {
        let mut relay = fixture::baton();
        relay.settings[0].1 = shards.to_owned();
        relay
    }

    fn run(scenario: &str, relay: Relay, cpu: f64) -> Run {
        let mut run = fixture::run(scenario, 1, relay);
        run.costs[0].cpu_us_per_message = cpu;
        run
    }

    fn told(runs: Vec<Run>) -> Vec<String> {
        let report = Report { runs, ..fixture::report() };
        let words = words(&scenarios(&report));
        words.into_iter().map(|(scenario, line)| format!("{scenario}: {line}")).collect()
    }

    #[test]
    fn shards_scale_by_the_cores_that_they_have_and_the_cpu_that_they_take() {
        let runs = vec![
            run("small", baton("4"), 100.0),
            run("small", baton("1"), 50.0),
            run("small", baton("auto"), 1.0),
            run("small", fixture::postfix(), 1000.0),
            run("small", baton("2"), 50.0),
            run("large", baton("2"), 50.0),
        ];
        let expected = [
            "small: scaling 1 -> 2 shards, by the relay's CPU alone: 2.00x",
            "small: scaling 1 -> 4 shards, by the relay's CPU alone: 2.00x",
        ];
        assert_eq!(told(runs), expected);
    }

    #[test]
    fn only_batons_that_differ_in_nothing_else_are_compared() {
        let mut other = baton("2");
        other.settings[1].1 = "os".to_owned();
        assert_eq!(told(vec![run("small", baton("1"), 50.0), run("small", other, 50.0)]), [""; 0]);
        let unknown = vec![run("small", baton("1"), 50.0), run("small", baton("2"), 0.0)];
        assert_eq!(told(unknown), [""; 0], "nothing is divided by zero");
    }

    #[test]
    fn a_family_is_compared_with_its_smallest() {
        let runs = vec![
            run("queued-100k", baton("1"), 75.0),
            run("queued-0", baton("1"), 50.0),
            run("queued-1m", baton("1"), 100.0),
            run("domains-1k", baton("1"), 50.0),
            run("many-domains", baton("1"), 50.0),
        ];
        let rest = "1.00x in accept p99, 1.00x in peak memory";
        let expected = [
            format!(
                "queued-100k: baton 1.00x queued-0 in messages/s, 1.50x in CPU a message, {rest}"
            ),
            format!(
                "queued-1m: baton 1.00x queued-0 in messages/s, 2.00x in CPU a message, {rest}"
            ),
        ];
        assert_eq!(told(runs), expected);
    }

    #[test]
    fn a_name_may_end_in_a_number() {
        assert_eq!(family("queued-100k"), Some(("queued", 100_000)));
        assert_eq!(family("domains-1"), Some(("domains", 1)));
        assert_eq!(family("a-b-2m"), Some(("a-b", 2_000_000)));
        for name in
            ["small", "bad-day", "x-k", "x-", "x-99999999999999999999", "x-9999999999999999m"]
        {
            assert_eq!(family(name), None, "{name}");
        }
    }
}
