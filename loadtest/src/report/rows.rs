//! The tables that are told of runs, for the terminal, a README and the page alike.
//!
//! All figures of each run and the medians of the rounds; percentiles with those that a curve
//! shows; what changed over time, in a few steps. Which columns there are is decided here, how they
//! look is not. A table has no row for what was not measured, and `-` where a single value is
//! missing.

use super::chart::{Curve, Nines};
use super::figure::Figure;
use super::group::{Group, IN_WORDS, Scenario};
use super::model::{Latency, Run};
use super::table::{Align, Column, Row, Table};
use super::units::{self, ABSENT};

/// Rows of what changed over time.
const STEPS: usize = 20;

/// A row for each scenario and relay: the medians of its rounds.
pub fn medians(scenarios: &[Scenario]) -> Table {
    let mut rows = Vec::new();
    for scenario in scenarios {
        for group in &scenario.groups {
            let words = [scenario.name.to_owned(), group.rounds.len().to_string()];
            rows.push(row(words, group, Of::Median));
        }
    }
    Table { columns: columns("rounds"), rows }
}

/// Whose figures a row has.
#[derive(Clone, Copy)]
enum Of<'a> {
    Run(&'a Run),
    Median,
}

fn columns(round: &str) -> Vec<Column> {
    let mut columns = vec![
        Column::new("", "scenario", Align::Left),
        Column::new("", round, Align::Left),
        Column::new("", "relay", Align::Left),
    ];
    for figure in Figure::ALL {
        let (over, head) = figure.head();
        columns.push(Column::new(over, head, Align::Right));
    }
    columns.push(Column::new("", "balance", Align::Left));
    columns
}

/// A row for each run, and one for each relay with several: the medians of its rounds.
pub fn every_run(scenarios: &[Scenario]) -> Table {
    let mut rows = Vec::new();
    for scenario in scenarios {
        if !rows.is_empty() {
            rows.push(Row::Gap);
        }
        for (group, run) in scenario.by_round() {
            rows.push(row([scenario.name.to_owned(), run.round.to_string()], group, Of::Run(run)));
        }
        if scenario.has_rounds() {
            for group in &scenario.groups {
                let words = [scenario.name.to_owned(), "median".to_owned()];
                rows.push(row(words, group, Of::Median));
            }
        }
    }
    Table { columns: columns("round"), rows }
}

fn row(words: [String; 2], group: &Group, of: Of) -> Row {
    let mut cells = words.to_vec();
    cells.push(group.label.clone());
    for figure in Figure::ALL {
        let value = match of {
            Of::Run(run) => figure.of(run),
            Of::Median => group.spread(figure).map(|spread| spread.median),
        };
        cells.push(value.map_or(ABSENT.to_owned(), |value| figure.write(value)));
    }
    let holds = match of {
        Of::Run(run) => run.balance.holds,
        Of::Median => group.holds(),
    };
    cells.push(verdict(holds).to_owned());
    Row::Cells(cells)
}

/// Of a balance, in a word.
pub fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "BROKEN" }
}

/// One relay beside each of the others, in every scenario; no row where there is but one.
pub fn ratios(scenarios: &[Scenario]) -> Table {
    let mut columns =
        vec![Column::new("", "scenario", Align::Left), Column::new("", "relays", Align::Left)];
    columns.extend(IN_WORDS.map(|figure| Column::new("", figure.name(), Align::Right)));
    let mut rows = Vec::new();
    for scenario in scenarios {
        for (one, other) in scenario.pairs() {
            let words = [scenario.name.to_owned(), format!("{} to {}", one.short, other.short)];
            let ratio = |figure| one.ratio(other, figure).map_or(ABSENT.to_owned(), units::ratio);
            rows.push(Row::Cells(words.into_iter().chain(IN_WORDS.map(ratio)).collect()));
        }
    }
    Table { columns, rows }
}

/// What the curves of a scenario show, all rounds together.
pub fn percentiles(scenario: &Scenario) -> Table {
    let mut columns = vec![
        Column::new("", "relay", Align::Left),
        Column::new("", "latency, ms", Align::Left),
        Column::new("", "from", Align::Left),
    ];
    columns.extend(Nines::ALL.map(|nines| Column::new("", nines.name(), Align::Right)));
    columns.push(Column::new("", "max", Align::Right));
    let mut rows = Vec::new();
    for group in &scenario.groups {
        rows.extend(latencies(group, "accept", |run| &run.accept));
        rows.extend(latencies(group, "end to end", |run| &run.end_to_end));
    }
    Table { columns, rows }
}

fn latencies(group: &Group, what: &str, of: fn(&Run) -> &Latency) -> Option<Row> {
    let curve = Curve::of(group.rounds.iter().map(|run| of(run)))?;
    let from = of(group.rounds[0]).from.clone();
    let mut cells = vec![group.label.clone(), what.to_owned(), from];
    let shown = |ms: Option<f64>| ms.map_or(ABSENT.to_owned(), units::number);
    cells.extend(Nines::ALL.map(|nines| shown(curve.at(nines.place()))));
    let most = group.rounds.iter().map(|run| of(run).ms.max).fold(0.0, f64::max);
    cells.push(units::number(most));
    Some(Row::Cells(cells))
}

/// What the plots over time show, as means of a few equal steps: of the middle round of each relay.
pub fn over_time(scenario: &Scenario) -> Table {
    let mut columns = vec![Column::new("", "until, s", Align::Right)];
    for group in &scenario.groups {
        for what in ["accepted/s", "delivered/s", "cores", "memory"] {
            columns.push(Column::new("", &format!("{} {what}", group.short), Align::Right));
        }
    }
    let runs: Vec<&Run> = scenario.groups.iter().map(Group::middle).collect();
    let end = runs.iter().flat_map(|run| &run.series.at_s).copied().fold(0.0, f64::max);
    let mut rows = Vec::new();
    for step in 0..STEPS {
        let from = end * step as f64 / STEPS as f64;
        let until = end * (step + 1) as f64 / STEPS as f64;
        let means: Vec<String> = runs.iter().flat_map(|run| means(run, from, until)).collect();
        if means.iter().any(|mean| mean != ABSENT) {
            rows.push(Row::Cells([vec![units::number(until)], means].concat()));
        }
    }
    Table { columns, rows }
}

/// Of what was seen after `from`, up to `until`; the first step has the start as well.
fn means(run: &Run, from: f64, until: f64) -> [String; 4] {
    let series = &run.series;
    let inside = |at: f64| at <= until && (at > from || from == 0.0);
    let mean = |values: &[f64], write: fn(f64) -> String| {
        let seen = series.at_s.iter().zip(values).filter(|(at, _)| inside(**at));
        let (sum, number) =
            seen.fold((0.0, 0.0), |(sum, number), (_, value)| (sum + value, number + 1.0));
        if number > 0.0 { write(sum / number) } else { ABSENT.to_owned() }
    };
    let memory: Vec<f64> = series.relay_memory_bytes.iter().map(|bytes| *bytes as f64).collect();
    [
        mean(&series.accepted_per_s, units::number),
        mean(&series.delivered_per_s, units::number),
        mean(&series.relay_cores, units::number),
        mean(&memory, units::bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::group::scenarios;

    fn cells(table: &Table) -> Vec<Vec<&str>> {
        let rows = table.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => Some(cells.iter().map(String::as_str).collect()),
            Row::Gap => None,
        });
        rows.collect()
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let mut report = fixture::report();
        report.runs.push(fixture::bare("idle", 1));
        let scenarios = scenarios(&report);
        let mut tables = vec![every_run(&scenarios), medians(&scenarios), ratios(&scenarios)];
        tables.extend(scenarios.iter().map(percentiles));
        tables.extend(scenarios.iter().map(over_time));
        for table in &tables {
            for row in cells(table) {
                assert_eq!(row.len(), table.columns.len(), "{row:?}");
            }
        }
        // Six runs, two medians where there are two rounds, one run of which nothing is known.
        assert_eq!(cells(&tables[0]).len(), 9);
        assert_eq!(cells(&tables[2])[1][..3], ["large", "baton to Postfix", "20.0x"]);
        assert!(cells(tables.last().unwrap()).is_empty());
    }

    #[test]
    fn percentiles_are_those_of_the_curve() {
        let report = fixture::report();
        let table = percentiles(&scenarios(&report)[1]);
        assert_eq!(
            cells(&table)[3],
            [
                "Postfix 3.7.11",
                "end to end",
                "start of the message",
                "20.0",
                "20.0",
                "40.0",
                "80.0",
                "-",
                "160"
            ]
        );
    }

    #[test]
    fn steps_are_means() {
        let mut report = fixture::report();
        let series = &mut report.runs[4].series;
        series.at_s = (1..=40).map(f64::from).collect();
        series.accepted_per_s = vec![100.0; 40];
        series.delivered_per_s = (1..=40).map(f64::from).collect();
        (series.relay_cores, series.relay_memory_bytes) = (Vec::new(), vec![1 << 20; 40]);
        let table = over_time(&scenarios(&report)[1]);
        let rows = cells(&table);
        assert_eq!(rows.len(), STEPS);
        assert_eq!(rows[1][..5], ["4.00", "100", "3.50", "-", "1.00 MiB"]);
        assert_eq!(rows[19][5..], ["-", "-", "-", "-"], "the other was done by then");
    }
}
