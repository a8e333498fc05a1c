//! What is plotted of runs: over time, by percentile, beside each other.
//!
//! Each relay has one colour on the whole page. Over time the middle round speaks for a relay and
//! the others stand behind it; a percentile curve has all rounds together, since a latency is one
//! whichever round it was in.

use super::figure::{Figure, measured};
use super::group::{Group, Scenario};
use super::markup::Element;
use super::model::{Latency, Run};
use super::plot::{Axis, Bar, Bars, Dot, Line, Mark, Plot, Scale, Style};
use super::units;
use crate::latency::Bucket;

/// Percentiles beyond p99.99 are single messages.
const NINES_MAX: f64 = 4.0;
/// Of a percentile curve.
const STEPS: usize = 200;

/// Which colour a relay has.
pub struct Colours(Vec<String>);

/// Colours of the style sheet; more relays than that share them and are told apart by their labels.
const COLOURS: usize = 6;

impl Colours {
    pub fn of(scenarios: &[Scenario]) -> Colours {
        let mut labels: Vec<String> = Vec::new();
        for group in scenarios.iter().flat_map(|scenario| &scenario.groups) {
            if !labels.contains(&group.label) {
                labels.push(group.label.clone());
            }
        }
        Colours(labels)
    }

    pub fn colour(&self, group: &Group) -> usize {
        self.0.iter().position(|label| *label == group.label).unwrap_or(0) % COLOURS
    }
}

/// What changes over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    Delivered,
    Accepted,
    Cores,
    Memory,
}

impl Course {
    fn points(self, run: &Run) -> Vec<(f64, f64)> {
        let series = &run.series;
        let memory;
        let values = match self {
            Course::Delivered => &series.delivered_per_s,
            Course::Accepted => &series.accepted_per_s,
            Course::Cores => &series.relay_cores,
            Course::Memory => {
                memory = series.relay_memory_bytes.iter().map(|bytes| *bytes as f64).collect();
                &memory
            }
        };
        series.at_s.iter().copied().zip(values.iter().copied()).collect()
    }

    fn axis(self, most: f64) -> Axis {
        match self {
            Course::Delivered | Course::Accepted => Axis::linear(most, 5, units::mark),
            Course::Cores => Axis::linear(most, 4, units::mark),
            Course::Memory => Axis::bytes(most, 4),
        }
    }
}

/// Of all relays of a scenario over each other; none where no run knows it.
pub fn over_time(
    scenario: &Scenario,
    colours: &Colours,
    courses: &[Course],
    told: &str,
) -> Option<Element> {
    let mut lines = Vec::new();
    for group in &scenario.groups {
        let middle = group.middle();
        let colour = colours.colour(group);
        for course in courses {
            let main = *course == courses[0];
            for run in group.rounds.iter().filter(|run| main && !std::ptr::eq(**run, middle)) {
                lines.push(line(colour, Style::Faint, course.points(run), ""));
            }
            let style = if main { Style::Full } else { Style::Dashed };
            let label = if main { group.short.as_str() } else { "" };
            lines.push(line(colour, style, course.points(middle), label));
        }
    }
    lines.retain(|line| !line.points.is_empty());
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = |part: fn(&(f64, f64)) -> f64| all().map(part).fold(0.0, f64::max);
    if lines.is_empty() {
        return None;
    }
    let x = Axis::until(most(|at| at.0), 6, |s| format!("{} s", units::mark(s)));
    let y = courses[0].axis(most(|at| at.1));
    Some(Plot { told: told.to_owned(), x, y, lines, dots: Vec::new() }.draw())
}

fn line(colour: usize, style: Style, points: Vec<(f64, f64)>, label: &str) -> Line {
    Line { colour, style, points, label: label.to_owned() }
}

/// Latencies by percentile; none where there is no latency at all.
pub fn percentiles(
    scenario: &Scenario,
    colours: &Colours,
    of: fn(&Run) -> &Latency,
    told: &str,
) -> Option<Element> {
    let mut lines = Vec::new();
    let mut dots = Vec::new();
    for group in &scenario.groups {
        let colour = colours.colour(group);
        let curve = Curve::of(group.rounds.iter().map(|run| of(run)));
        let Some(curve) = curve else { continue };
        dots.extend(Nines::ALL.iter().filter_map(|nines| {
            let ms = curve.at(nines.place())?;
            let told = format!("{} {}: {} ms", group.short, nines.name(), units::number(ms));
            Some(Dot { colour, at: (nines.place(), ms), told })
        }));
        lines.push(line(colour, Style::Full, curve.points(), &group.short));
    }
    let all = || lines.iter().flat_map(|line| &line.points).map(|at| at.1);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if lines.is_empty() {
        return None;
    }
    let y = Axis::log(least, most, units::time);
    Some(Plot { told: told.to_owned(), x: nines_axis(), y, lines, dots }.draw())
}

/// A percentile that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nines {
    Half,
    One,
    Two,
    Three,
    Four,
}

impl Nines {
    pub const ALL: [Nines; 5] = [Nines::Half, Nines::One, Nines::Two, Nines::Three, Nines::Four];

    /// `-log10(1 - p)`: the number of nines, and a place on the axis.
    pub fn place(self) -> f64 {
        match self {
            Nines::Half => std::f64::consts::LOG10_2,
            Nines::One => 1.0,
            Nines::Two => 2.0,
            Nines::Three => 3.0,
            Nines::Four => NINES_MAX,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Nines::Half => "p50",
            Nines::One => "p90",
            Nines::Two => "p99",
            Nines::Three => "p99.9",
            Nines::Four => "p99.99",
        }
    }
}

fn nines_axis() -> Axis {
    let mark = |nines: Nines| Mark { at: nines.place(), label: nines.name().to_owned() };
    Axis::marked(Nines::ALL.map(mark).to_vec())
}

/// All latencies of a relay in a scenario, ascending, with how many there are up to each.
pub struct Curve(Vec<(u64, f64)>);

impl Curve {
    pub fn of<'a>(latencies: impl Iterator<Item = &'a Latency>) -> Option<Curve> {
        let latencies = latencies.filter_map(measured);
        let mut buckets: Vec<Bucket> = latencies.flat_map(|one| one.buckets.clone()).collect();
        buckets.retain(|(_, count)| *count > 0);
        buckets.sort_by_key(|(us, _)| *us);
        let mut sum = 0.0;
        let summed = buckets.into_iter().map(|(us, count)| {
            sum += count as f64;
            (us, sum)
        });
        let summed: Vec<(u64, f64)> = summed.collect();
        (!summed.is_empty()).then_some(Curve(summed))
    }

    fn total(&self) -> f64 {
        self.0.last().expect("never empty").1
    }

    /// How far so many latencies reach: of a thousand there is no p99.99.
    fn nines_max(&self) -> f64 {
        self.total().log10().min(NINES_MAX)
    }

    /// Milliseconds that all but one in 10^nines did not exceed.
    pub fn at(&self, nines: f64) -> Option<f64> {
        if nines > self.nines_max() + 1e-9 {
            return None;
        }
        let rank = (1.0 - 10f64.powf(-nines)) * self.total();
        let place = self.0.partition_point(|(_, sum)| *sum < rank - 1e-6);
        let (us, _) = self.0[place.min(self.0.len() - 1)];
        Some(us.max(1) as f64 / 1000.0)
    }

    fn points(&self) -> Vec<(f64, f64)> {
        let last = self.nines_max();
        let places = (0..=STEPS).map(|step| last * step as f64 / STEPS as f64);
        places.filter_map(|nines| Some((nines, self.at(nines)?))).collect()
    }
}

/// One figure of all relays in all scenarios; none where no run knows it.
pub fn bars(scenarios: &[Scenario], colours: &Colours, figure: Figure) -> Option<Element> {
    let mut groups = Vec::new();
    for scenario in scenarios {
        let bars = scenario.groups.iter().filter_map(|group| {
            let spread = group.spread(figure)?;
            Some(Bar {
                colour: colours.colour(group),
                name: group.short.clone(),
                value: spread.median,
                range: (spread.least, spread.most),
                label: with_unit(figure, spread.median),
            })
        });
        let bars: Vec<Bar> = bars.collect();
        if !bars.is_empty() {
            groups.push((scenario.name.to_owned(), bars));
        }
    }
    let told = format!("{}, by scenario and relay", figure.name());
    (!groups.is_empty()).then(|| Bars { told, scale: Scale::Own, groups }.draw())
}

/// As beside a bar, which has no column head.
pub fn with_unit(figure: Figure, value: f64) -> String {
    let text = figure.write(value);
    match figure {
        Figure::PerSecond => format!("{text} /s"),
        Figure::PerHour => format!("{text} /h"),
        Figure::RelayCpu | Figure::OtherCpu => format!("{text} \u{b5}s"),
        Figure::Memory | Figure::Fsyncs => text,
        _ => format!("{text} ms"),
    }
}

/// CPU time of each program of the runs, a message; none where it is unknown.
pub fn programs(scenario: &Scenario, colours: &Colours, told: &str) -> Option<Element> {
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    for group in &scenario.groups {
        let run = group.middle();
        let bars = run.costs.iter().map(|cost| {
            let us = cost.cpu_us_per_message;
            Bar {
                colour: colours.colour(group),
                name: cost.program.clone(),
                value: us,
                range: (us, us),
                label: with_unit(Figure::RelayCpu, us),
            }
        });
        let bars: Vec<Bar> = bars.collect();
        if !bars.is_empty() {
            groups.push((format!("with {}", group.short), bars));
        }
    }
    (!groups.is_empty())
        .then(|| Bars { told: told.to_owned(), scale: Scale::Shared, groups }.draw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_curve_has_the_percentiles_of_all_rounds_together() {
        let report = fixture::report();
        let of = |run: &'_ Run| run.accept.clone();
        let one = of(&report.runs[0]);
        let curve = Curve::of([&one].into_iter()).unwrap();
        let at: Vec<Option<f64>> = Nines::ALL.map(|nines| curve.at(nines.place())).to_vec();
        assert_eq!(at, [Some(1.0), Some(1.0), Some(2.0), Some(4.0), None]);
        // Ten such rounds reach a nine further.
        let many = vec![&one; 10];
        let curve = Curve::of(many.into_iter()).unwrap();
        assert_eq!(curve.at(4.0), Some(8.0));
        assert_eq!(curve.points().len(), STEPS + 1);
    }

    #[test]
    fn there_is_no_curve_of_nothing() {
        let bare = fixture::bare("idle", 1);
        assert!(Curve::of([&bare.accept].into_iter()).is_none());
        let mut empty = bare.accept.clone();
        empty.buckets = vec![(5, 0)];
        assert!(Curve::of([&empty].into_iter()).is_none());
    }
}
