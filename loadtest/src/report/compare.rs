//! Two reports: what changed from the one to the other, and whether chance can explain it.
//!
//! Runs are matched by scenario and kind of relay. A figure changed beyond the spread of the rounds
//! when no round of the one came as far as any round of the other; otherwise rounds of the same
//! relay differ as much as the reports do, and nothing follows. Where both have a single round, the
//! spread is unknown, and the comparison says so. Decides what counts as worse; never exits.

use super::figure::{Better, Figure, Weight};
use super::group::{Group, Scenario, Spread, scenarios};
use super::model::Report;
use super::rows::verdict;
use super::table::{Align, Column, Row, Table};
use super::text;
use super::units::{self, ABSENT, printable};

/// What two reports say of each other.
pub struct Comparison {
    changes: Vec<Change>,
    balances: Vec<Balances>,
    /// Scenario and relay that only one of them has, and which.
    alone: Vec<(String, Side)>,
    doubts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// One figure of one relay in one scenario.
struct Change {
    scenario: String,
    relay: String,
    figure: Figure,
    a: Option<Spread>,
    b: Option<Spread>,
    chance: Chance,
}

/// What the rounds say of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chance {
    Within,
    Beyond,
    /// One round on each side.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Better,
    Worse,
    Same,
}

struct Balances {
    name: String,
    a: bool,
    b: bool,
}

pub fn compare(a: &Report, b: &Report) -> Comparison {
    let mut comparison = Comparison {
        changes: Vec::new(),
        balances: Vec::new(),
        alone: Vec::new(),
        doubts: machine_doubts(a, b),
    };
    let (in_a, in_b) = (scenarios(a), scenarios(b));
    for scenario in &in_a {
        let other = in_b.iter().find(|other| other.name == scenario.name);
        comparison.scenario(scenario, other);
    }
    for scenario in in_b.iter().filter(|b| in_a.iter().all(|a| a.name != b.name)) {
        comparison
            .alone
            .extend(scenario.groups.iter().map(|group| alone(scenario, group, Side::B)));
    }
    comparison
}

fn alone(scenario: &Scenario, group: &Group, side: Side) -> (String, Side) {
    (format!("{}, {}", scenario.name, group.label), side)
}

impl Comparison {
    fn scenario(&mut self, a: &Scenario, b: Option<&Scenario>) {
        let mut left: Vec<&Group> = b.map_or(Vec::new(), |b| b.groups.iter().collect());
        let mut unmatched: Vec<&Group> = a.groups.iter().collect();
        // Those that are the same come first, so that no other takes their place.
        for matches in [same_relay, same_settings, same_kind] {
            unmatched.retain(|group| {
                let place = left.iter().position(|other| matches(group, other));
                let Some(place) = place else { return true };
                self.pair(a.name, group, left.remove(place));
                false
            });
        }
        self.alone.extend(unmatched.into_iter().map(|group| alone(a, group, Side::A)));
        self.alone.extend(left.into_iter().map(|group| alone(a, group, Side::B)));
    }

    fn pair(&mut self, scenario: &str, a: &Group, b: &Group) {
        // What comes in an hour is what comes in a second.
        for figure in Figure::ALL.into_iter().filter(|figure| *figure != Figure::PerHour) {
            let (in_a, in_b) = (a.spread(figure), b.spread(figure));
            if in_a.is_none() && in_b.is_none() {
                continue;
            }
            let single = a.rounds.len() == 1 && b.rounds.len() == 1;
            let touches = in_a.zip(in_b).is_some_and(|(a, b)| a.touches(&b));
            self.changes.push(Change {
                scenario: scenario.to_owned(),
                relay: a.short.clone(),
                figure,
                a: in_a,
                b: in_b,
                chance: match touches {
                    _ if single => Chance::Unknown,
                    true => Chance::Within,
                    false => Chance::Beyond,
                },
            });
        }
        let name = format!("{scenario}, {}", a.short);
        self.doubts.extend(group_doubts(&name, a, b));
        self.balances.push(Balances { name, a: a.holds(), b: b.holds() });
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for doubt in &self.doubts {
            let lead = if out.is_empty() { "These make the comparison doubtful:\n" } else { "" };
            out.push_str(&format!("{lead}  {}\n", printable(doubt)));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        match self.changes.is_empty() {
            true => out.push_str("No scenario and relay is in both.\n"),
            false => {
                out.push_str(&self.table().text());
                out.push_str("(in parentheses: shown, but never counted as worse)\n");
            }
        }
        out.push('\n');
        for Balances { name, a, b } in &self.balances {
            let name = printable(name);
            out.push_str(&format!("balance  {name}: {}, {}\n", verdict(*a), verdict(*b)));
        }
        for (name, side) in &self.alone {
            out.push_str(&format!("only in {side:?}  {}\n", printable(name)));
        }
        out
    }

    fn table(&self) -> Table {
        let mut rows: Vec<Row> = Vec::new();
        let mut last: Option<&Change> = None;
        for change in &self.changes {
            let same =
                |last: &Change| last.scenario == change.scenario && last.relay == change.relay;
            if last.is_some_and(|last| !same(last)) {
                rows.push(Row::Gap);
            }
            rows.push(change.row());
            last = Some(change);
        }
        let heads = ["scenario", "relay", "figure", "A", "B", "B/A", "B is"];
        let align = |head: &str| match head {
            "A" | "B" | "B/A" => Align::Right,
            _ => Align::Left,
        };
        Table { columns: heads.map(|head| Column::new("", head, align(head))).into(), rows }
    }

    /// What is worse in B by more than so many percent, and beyond the spread of the rounds; in
    /// words. What B lost altogether is worse too: a check that cannot fail checks nothing.
    pub fn worse(&self, percent: f64) -> Vec<String> {
        let figures = self.changes.iter().filter(|change| change.is_worse(percent));
        let mut worse: Vec<String> = figures.map(Change::sentence).collect();
        let broken = self.balances.iter().filter(|balances| balances.a && !balances.b);
        worse.extend(broken.map(|balances| format!("{}: out of balance", balances.name)));
        let lost = self.alone.iter().filter(|(_, side)| *side == Side::A);
        worse.extend(lost.map(|(name, _)| format!("{name}: not in B")));
        worse.iter().map(|line| printable(line)).collect()
    }
}

fn same_relay(a: &Group, b: &Group) -> bool {
    a.relay == b.relay
}

/// Of another version.
fn same_settings(a: &Group, b: &Group) -> bool {
    same_kind(a, b) && a.relay.settings == b.relay.settings
}

fn same_kind(a: &Group, b: &Group) -> bool {
    a.relay.kind == b.relay.kind
}

impl Change {
    fn ratio(&self) -> Option<f64> {
        let ratio = self.b?.median / self.a?.median;
        Some(ratio).filter(|ratio| ratio.is_finite())
    }

    fn turn(&self) -> Option<Turn> {
        let (a, b) = (self.a?.median, self.b?.median);
        let more = match self.figure.better() {
            Better::More => Turn::Better,
            Better::Less => Turn::Worse,
        };
        let less = if more == Turn::Better { Turn::Worse } else { Turn::Better };
        Some(match b {
            _ if b > a => more,
            _ if b < a => less,
            _ => Turn::Same,
        })
    }

    fn row(&self) -> Row {
        let side = |spread: Option<Spread>| {
            spread.map_or(ABSENT.to_owned(), |spread| self.figure.write(spread.median))
        };
        Row::Cells(vec![
            self.scenario.clone(),
            self.relay.clone(),
            match self.figure.weight() {
                Weight::Judged => self.figure.name().to_owned(),
                Weight::Told => format!("({})", self.figure.name()),
            },
            side(self.a),
            side(self.b),
            self.ratio().map_or(ABSENT.to_owned(), units::ratio),
            self.told(),
        ])
    }

    fn told(&self) -> String {
        let turn = match self.turn() {
            None if self.a.is_none() => return "new".to_owned(),
            None => return "gone".to_owned(),
            Some(Turn::Same) => return "the same".to_owned(),
            Some(Turn::Better) => "better",
            Some(Turn::Worse) => "worse",
        };
        let chance = match self.chance {
            Chance::Within => "within the spread of the rounds",
            Chance::Beyond => "beyond the spread of the rounds",
            Chance::Unknown => "one round each, spread unknown",
        };
        format!("{turn}, {chance}")
    }

    /// Of single rounds, every difference is beyond a spread that nobody knows.
    fn is_worse(&self, percent: f64) -> bool {
        let judged = self.figure.weight() == Weight::Judged;
        if judged && self.a.is_some() && self.b.is_none() {
            return true;
        }
        if !judged || self.turn() != Some(Turn::Worse) || self.chance == Chance::Within {
            return false;
        }
        // From zero, any change is more than any percentage.
        self.ratio().is_none_or(|ratio| (ratio - 1.0).abs() * 100.0 > percent)
    }

    fn sentence(&self) -> String {
        let write = |spread: Option<Spread>| {
            spread.map_or(ABSENT.to_owned(), |spread| self.figure.write(spread.median))
        };
        let (a, b) = (write(self.a), write(self.b));
        format!("{}, {}: {} {b}, was {a}", self.scenario, self.relay, self.figure.name())
    }
}

fn machine_doubts(a: &Report, b: &Report) -> Vec<String> {
    let facts = text::facts(a).into_iter().zip(text::facts(b));
    let different = facts.filter(|((_, a), (_, b))| a != b);
    different.map(|((name, a), (_, b))| format!("{name}: {a}; then {b}")).collect()
}

fn group_doubts(name: &str, a: &Group, b: &Group) -> Vec<String> {
    let load = |group: &Group| text::pairs(&group.rounds[0].load);
    let latency = |group: &Group| group.rounds[0].accept.from.clone();
    let sides = [
        ("load", load(a), load(b)),
        ("settings", text::pairs(&a.relay.settings), text::pairs(&b.relay.settings)),
        ("relay", a.relay.name.clone(), b.relay.name.clone()),
        ("accept latency is from", latency(a), latency(b)),
        ("rounds", a.rounds.len().to_string(), b.rounds.len().to_string()),
    ];
    let different = sides.into_iter().filter(|(_, a, b)| a != b);
    let shown = |side: String| if side.is_empty() { ABSENT.to_owned() } else { side };
    let mut doubts: Vec<String> = different
        .map(|(what, a, b)| format!("{name}, {what}: {}; then {}", shown(a), shown(b)))
        .collect();
    for (side, group) in [("A", a), ("B", b)] {
        for run in &group.rounds {
            let notes = run.notes.iter();
            doubts.extend(notes.map(|note| format!("{name}, {side}, round {}: {note}", run.round)));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Every round of baton in `steady` relays so many times as much.
    fn faster(by: f64) -> Report {
        let mut report = fixture::report();
        let runs = report.runs.iter_mut();
        for run in runs.filter(|run| run.relay.kind == "baton" && run.scenario == "steady") {
            run.relayed_per_s *= by;
        }
        report
    }

    fn line(text: &str, start: &str) -> String {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).find(|line| line.starts_with(start)).expect(text)
    }

    #[test]
    fn the_whole_of_a_small_comparison() {
        let mut b = faster(1.05);
        b.machine.kernel = "6.12.0".to_owned();
        b.runs.retain(|run| run.scenario != "large" || run.relay.kind == "baton");
        for run in &mut b.runs {
            run.fsyncs_per_message = run.fsyncs_per_message.filter(|_| run.scenario == "steady");
            run.costs[0].cpu_us_per_message *= 2.0;
        }
        b.runs[0].balance.holds = false;
        b.runs.push(fixture::bare("idle", 1));
        let text = compare(&fixture::report(), &b).text();
        assert_eq!(text, include_str!("compare_whole.txt"));
    }

    #[test]
    fn a_report_is_itself() {
        let report = fixture::report();
        let comparison = compare(&report, &report);
        assert!(comparison.worse(0.0).is_empty());
        let text = comparison.text();
        assert!(!text.contains("doubtful") && !text.contains("only in"), "{text}");
        // No p99.9 of the 5,000 messages of Postfix.
        assert_eq!(text.matches("the same").count(), 4 * (Figure::ALL.len() - 1) - 2);
    }

    #[test]
    fn the_spread_of_the_rounds_decides() {
        let a = fixture::report();
        // 10,000 and 11,000 became 9,500 and 10,450: some of the old rounds were no better.
        let within = compare(&a, &faster(0.95));
        let told = line(&within.text(), "steady baton messages/s");
        assert_eq!(
            told,
            "steady baton messages/s 10,500 9,975 0.95x worse, within the spread of the rounds"
        );
        assert!(within.worse(1.0).is_empty());
        let beyond = compare(&a, &faster(0.8));
        let told = line(&beyond.text(), "steady baton messages/s");
        assert!(told.ends_with("0.80x worse, beyond the spread of the rounds"), "{told}");
        assert_eq!(beyond.worse(19.0), ["steady, baton: messages/s 8,400, was 10,500"]);
        assert!(beyond.worse(21.0).is_empty());
        assert!(compare(&a, &faster(1.5)).worse(0.0).is_empty());
    }

    #[test]
    fn single_rounds_have_no_spread_and_count() {
        let a = fixture::report();
        let mut b = fixture::report();
        b.runs[4].costs[0].cpu_us_per_message = 90.0;
        b.runs[4].accept.ms.max = 1e6;
        let comparison = compare(&a, &b);
        let told = line(&comparison.text(), "large baton CPU a message 60.0");
        assert!(told.ends_with("1.50x worse, one round each, spread unknown"), "{told}");
        // The one longest wait of many is chance.
        assert_eq!(comparison.worse(10.0), ["large, baton: CPU a message 90.0, was 60.0"]);
    }

    #[test]
    fn what_is_lost_is_worse() {
        let a = fixture::report();
        let mut b = fixture::report();
        b.runs.retain(|run| run.scenario == "steady");
        b.runs[1].balance.holds = false;
        assert_eq!(
            compare(&a, &b).worse(50.0),
            [
                "steady, Postfix: out of balance",
                "large, baton 0.1.0: not in B",
                "large, Postfix 3.7.11: not in B"
            ]
        );
        b.runs.clear();
        assert!(compare(&a, &b).text().contains("No scenario and relay is in both.\n"));
        assert_eq!(compare(&b, &a).worse(0.0), [""; 0]);
    }

    #[test]
    fn zero_is_no_base() {
        let mut a = fixture::report();
        a.runs.iter_mut().for_each(|run| run.fsyncs_per_message = Some(0.0));
        let comparison = compare(&a, &fixture::report());
        let told = line(&comparison.text(), "steady baton fsyncs a message");
        assert_eq!(
            told,
            "steady baton fsyncs a message 0 0.050 - worse, beyond the spread of the rounds"
        );
        assert_eq!(comparison.worse(1000.0).len(), 4);
        assert!(compare(&a, &a).worse(0.0).is_empty());
    }

    #[test]
    fn a_relay_of_the_same_kind_is_found_under_another_version() {
        let mut b = fixture::report();
        for run in &mut b.runs {
            run.relay.name = run.relay.name.replace("baton 0.1.0", "baton 0.2.0");
        }
        let mut a = fixture::report();
        for (report, shards) in [(&mut a, ["2", "1"]), (&mut b, ["1", "2"])] {
            let pair = shards.map(|shards| {
                let mut run = report.runs[0].clone();
                run.scenario = "shards".to_owned();
                run.relay.settings[0].1 = shards.to_owned();
                run
            });
            report.runs.extend(pair);
        }
        let text = compare(&a, &b).text();
        assert!(text.contains("steady, baton, relay: baton 0.1.0; then baton 0.2.0\n"), "{text}");
        assert!(!text.contains("only in") && !text.contains(", settings: "), "{text}");
    }
}
