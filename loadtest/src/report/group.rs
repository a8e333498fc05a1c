//! The runs of a report in the order of a reader: by scenario, and in it by relay.
//!
//! Runs come in the order in which they ran. A `Group` is one relay in one scenario with all its
//! rounds; its figure is the median of the rounds, its spread goes from the least to the most.
//! Relays are told apart by all that is known of them, since a test of two settings of the same
//! relay is a fair one. Also decides who is compared with whom, and the words for that.

use super::figure::Figure;
use super::model::{Relay, Report, Run};
use super::units;

/// One scenario, its relays in the order in which they first ran.
pub struct Scenario<'a> {
    pub name: &'a str,
    pub groups: Vec<Group<'a>>,
}

/// One relay in one scenario.
pub struct Group<'a> {
    pub relay: &'a Relay,
    /// The relay's name, with its settings where another has the same.
    pub label: String,
    /// Without its version where that leaves it the only one.
    pub short: String,
    /// By their numbers.
    pub rounds: Vec<&'a Run>,
}

/// A figure over all rounds that know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

pub fn scenarios(report: &Report) -> Vec<Scenario<'_>> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for run in &report.runs {
        let scenario = match scenarios.iter_mut().position(|known| known.name == run.scenario) {
            Some(place) => &mut scenarios[place],
            None => {
                scenarios.push(Scenario { name: &run.scenario, groups: Vec::new() });
                scenarios.last_mut().expect("was pushed")
            }
        };
        scenario.add(run);
    }
    scenarios.iter_mut().for_each(Scenario::finish);
    scenarios
}

impl<'a> Scenario<'a> {
    fn add(&mut self, run: &'a Run) {
        match self.groups.iter_mut().find(|group| *group.relay == run.relay) {
            Some(group) => group.rounds.push(run),
            None => self.groups.push(Group {
                relay: &run.relay,
                label: String::new(),
                short: String::new(),
                rounds: vec![run],
            }),
        }
    }

    fn finish(&mut self) {
        let relays: Vec<&Relay> = self.groups.iter().map(|group| group.relay).collect();
        for group in &mut self.groups {
            group.rounds.sort_by_key(|run| run.round);
            (group.label, group.short) = names(group.relay, &relays);
        }
    }

    /// All runs: side by side what ran in the same round.
    pub fn by_round(&self) -> Vec<(&Group<'a>, &'a Run)> {
        let mut runs: Vec<_> = self
            .groups
            .iter()
            .flat_map(|group| group.rounds.iter().map(move |run| (group, *run)))
            .collect();
        runs.sort_by_key(|(_, run)| run.round);
        runs
    }

    /// Whether there is anything to take a median of.
    pub fn has_rounds(&self) -> bool {
        self.groups.iter().any(|group| group.rounds.len() > 1)
    }

    /// One relay beside each of the others: baton if it is there, otherwise the first.
    pub fn pairs(&self) -> Vec<(&Group<'a>, &Group<'a>)> {
        let subject = self.groups.iter().position(|group| group.relay.kind == "baton");
        let subject = subject.unwrap_or(0);
        let others = self.groups.iter().enumerate().filter(|(place, _)| *place != subject);
        others.map(|(_, other)| (&self.groups[subject], other)).collect()
    }

    /// `baton 21.3x Postfix in messages/s, 0.03x in CPU a message`, for each pair.
    pub fn ratios(&self) -> Vec<String> {
        self.pairs().into_iter().filter_map(|(one, other)| told(one, other)).collect()
    }
}

/// The figures that make a sentence; a table has all.
pub const IN_WORDS: [Figure; 6] = [
    Figure::PerSecond,
    Figure::AcceptP99,
    Figure::EndToEndP99,
    Figure::RelayCpu,
    Figure::Memory,
    Figure::Fsyncs,
];

fn told(one: &Group, other: &Group) -> Option<String> {
    Some(format!("{} {}", one.short, one.to(other, &other.short, &IN_WORDS)?))
}

impl<'a> Group<'a> {
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|run| figure.of(run)).collect())
    }

    /// Median of this over the median of the other; none where there is nothing to divide by.
    pub fn ratio(&self, other: &Group, figure: Figure) -> Option<f64> {
        let (one, other) = (self.spread(figure)?.median, other.spread(figure)?.median);
        Some(one / other).filter(|ratio| ratio.is_finite())
    }

    /// `21.3x Postfix in messages/s, 0.03x in CPU a message`, as far as both are known.
    pub fn to(&self, other: &Group, name: &str, figures: &[Figure]) -> Option<String> {
        let known = figures.iter().filter_map(|figure| {
            let ratio = self.ratio(other, *figure)?;
            Some((units::ratio(ratio), figure.name()))
        });
        let mut words = known.map(|(ratio, name)| (ratio, format!("in {name}")));
        let (first, figure) = words.next()?;
        let mut out = format!("{first} {name} {figure}");
        for (ratio, figure) in words {
            out.push_str(&format!(", {ratio} {figure}"));
        }
        Some(out)
    }

    /// The round that stands for all in a plot: the middle one by messages/s.
    pub fn middle(&self) -> &'a Run {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(|one, other| one.relayed_per_s.total_cmp(&other.relayed_per_s));
        rounds[rounds.len() / 2]
    }

    pub fn holds(&self) -> bool {
        self.rounds.iter().all(|run| run.balance.holds)
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Spread { median, least, most })
    }

    /// Whether rounds of both came to the same value or could have.
    pub fn touches(&self, other: &Spread) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

/// Long and short name of a relay among these.
fn names(relay: &Relay, relays: &[&Relay]) -> (String, String) {
    let same = |other: &&&Relay| other.name == relay.name;
    let name = units::printable(&relay.name);
    if relays.iter().filter(same).count() > 1 {
        let label = with_settings(&name, relay, relays);
        return (label.clone(), label);
    }
    let first = |relay: &Relay| units::printable(relay.name.split(' ').next().unwrap_or_default());
    let word = first(relay);
    let alone = relays.iter().filter(|other| first(other) == word).count() == 1;
    let short = if alone && !word.is_empty() { word } else { name.clone() };
    (name, short)
}

/// With those settings in which it differs from a relay of the same name.
fn with_settings(name: &str, relay: &Relay, relays: &[&Relay]) -> String {
    let differs = |setting: &&(String, String)| {
        relays.iter().any(|other| other.name == relay.name && !other.settings.contains(setting))
    };
    let own: Vec<String> = relay
        .settings
        .iter()
        .filter(differs)
        .map(|(key, value)| units::printable(&format!("{key} {value}")))
        .collect();
    match own.is_empty() {
        true => name.to_owned(),
        false => format!("{name} ({})", own.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn runs_in_turns_become_groups_of_rounds() {
        let report = fixture::report();
        let scenarios = scenarios(&report);
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, ["steady", "large"]);
        let steady = &scenarios[0];
        let rounds = |group: &Group| group.rounds.iter().map(|run| run.round).collect::<Vec<_>>();
        assert_eq!(steady.groups.iter().map(rounds).collect::<Vec<_>>(), [[1, 2], [1, 2]]);
        assert_eq!(steady.groups[1].label, "Postfix 3.7.11");
        assert_eq!(steady.groups[1].short, "Postfix");
        let order = steady.by_round();
        let order: Vec<_> = order.iter().map(|(group, run)| (run.round, &*group.short)).collect();
        assert_eq!(order, [(1, "baton"), (1, "Postfix"), (2, "baton"), (2, "Postfix")]);
    }

    #[test]
    fn medians_and_spreads() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[]), None);
        let three = spread(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(three, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(spread(&[4.0, 1.0]).unwrap().median, 2.5);
        assert!(three.touches(&spread(&[3.0, 9.0]).unwrap()));
        assert!(three.touches(&spread(&[1.5]).unwrap()));
        assert!(!three.touches(&spread(&[3.5, 9.0]).unwrap()));
    }

    #[test]
    fn ratios_are_those_of_the_medians() {
        let report = fixture::report();
        let scenarios = scenarios(&report);
        let (baton, postfix) = scenarios[0].pairs()[0];
        // 10,000 and 11,000 of one, 500 of the other.
        assert_eq!(baton.ratio(postfix, Figure::PerSecond), Some(21.0));
        assert_eq!(
            scenarios[0].ratios(),
            ["baton 21.0x Postfix in messages/s, 0.10x in accept p99, 0.050x in end-to-end p99, \
              0.030x in CPU a message, 1.25x in peak memory, 0.010x in fsyncs a message"]
        );
    }

    #[test]
    fn relays_of_one_name_are_told_apart_by_what_differs() {
        let mut report = fixture::report();
        let mut second = fixture::baton();
        second.settings[0].1 = "1".to_owned();
        report.runs = vec![
            fixture::run("steady", 1, fixture::baton()),
            fixture::run("steady", 1, second),
            fixture::run("steady", 1, fixture::postfix()),
        ];
        let scenarios = scenarios(&report);
        let labels: Vec<&str> =
            scenarios[0].groups.iter().map(|group| group.label.as_str()).collect();
        assert_eq!(labels, ["baton 0.1.0 (shards 2)", "baton 0.1.0 (shards 1)", "Postfix 3.7.11"]);
        assert_eq!(scenarios[0].pairs().len(), 2);
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        let mut report = fixture::report();
        report.runs = vec![fixture::run("idle", 1, fixture::baton()), fixture::bare("idle", 1)];
        assert!(scenarios(&report)[0].ratios().is_empty());
    }
}
