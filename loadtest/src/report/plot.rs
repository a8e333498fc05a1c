//! Plots as SVG: scales with round numbers, lines, bars. Knows nothing of relays or messages.
//!
//! ```text
//! 30 K |        ___/\____ baton    an `Axis` turns values into places and has its marks
//! 20 K |   ____/                   a `Line` has points in values, a style, a label at its end
//! 10 K |--/-------------- Postfix  colours are classes `c0`, `c1`, .., for the style sheet
//!    0 +-----------------
//!      0    10   20 s
//! ```
//! Every coordinate is finite and inside the plot, whatever the values are. A long series is
//! thinned to as many points as there are columns to see them.

use super::markup::{Element, classed, element};
use super::units;

/// Of all plots, in units of the view box; the style sheet scales them to the page.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 236.0;
const LEFT: f64 = 58.0;
/// Room for the labels at the ends of lines: as they need, within these.
const RIGHT: (f64, f64) = (46.0, 112.0);
const LETTER: f64 = 7.4;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
/// Between two labels, from line to line.
const LABEL_HEIGHT: f64 = 15.0;
/// Letters of a label that fit beside the plot.
const LABEL_MAX: usize = 14;
/// Points of a line that can be told apart.
const POINTS_MAX: usize = 240;

const BAR_HEIGHT: f64 = 15.0;
const BAR_STEP: f64 = 20.0;
/// Between two groups of bars, with the name of the second.
const BAR_HEAD: f64 = 22.0;
/// Room for the names of bars: as they need, within these.
const BAR_LEFT: (f64, f64) = (58.0, 116.0);
const BAR_RIGHT: f64 = 84.0;

/// From values to places between 0 and 1.
#[derive(Clone, Debug)]
pub struct Axis {
    from: f64,
    to: f64,
    shape: Shape,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Linear,
    Log,
}

/// A value that is named beside the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub at: f64,
    pub label: String,
}

pub struct Line {
    pub colour: usize,
    pub style: Style,
    pub points: Vec<(f64, f64)>,
    /// Beside its end; empty for none.
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Full,
    Dashed,
    /// Behind all others, to show how much they stand for.
    Faint,
}

/// A point that is named where it is pointed at.
pub struct Dot {
    pub colour: usize,
    pub at: (f64, f64),
    pub told: String,
}

pub struct Plot {
    /// For those who do not see it.
    pub told: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    pub dots: Vec<Dot>,
}

impl Axis {
    /// From zero to a round number not below `most`, with about `marks` marks.
    pub fn linear(most: f64, marks: usize, label: impl Fn(f64) -> String) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = round_step(most / marks.max(1) as f64);
        let steps = (most / step - 1e-9).ceil().max(1.0);
        let marks = (0..=steps as usize).map(|place| place as f64 * step);
        Axis {
            from: 0.0,
            to: steps * step,
            shape: Shape::Linear,
            marks: marks.map(|at| Mark { at, label: label(at) }).collect(),
        }
    }

    /// From zero to `most` and no further, as time has no round end; but to one that is near.
    pub fn until(most: f64, marks: usize, label: impl Fn(f64) -> String) -> Axis {
        let mut axis = Axis::linear(most, marks, label);
        if most.is_finite() && most > 0.0 && axis.to > most * 1.04 {
            axis.to = most;
            axis.marks.retain(|mark| mark.at <= most * 1.001);
        }
        axis
    }

    /// Bytes, with marks that are round in the unit they are written in.
    pub fn bytes(most: f64, marks: usize) -> Axis {
        let (size, unit) = units::binary_unit(most);
        let mut axis = Axis::linear(most / size, marks, |value| match value {
            0.0 => "0".to_owned(),
            _ => format!("{} {unit}", units::mark(value)),
        });
        axis.to *= size;
        axis.marks.iter_mut().for_each(|mark| mark.at *= size);
        axis
    }

    /// Marks at powers of ten, and between them where there are only a few.
    pub fn log(least: f64, most: f64, label: impl Fn(f64) -> String) -> Axis {
        let fit = |value: f64| if value.is_finite() { value.clamp(1e-9, 1e18) } else { 1.0 };
        let (least, most) = (fit(least), fit(most).max(fit(least)));
        let (first, last) = (least.log10().floor() as i32, (most.log10() - 1e-9).ceil() as i32);
        let last = last.max(first + 1);
        let between: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let to = 10f64.powi(last);
        let places = (first..=last)
            .flat_map(|power| between.iter().map(move |factor| factor * 10f64.powi(power)));
        Axis {
            from: 10f64.powi(first),
            to,
            shape: Shape::Log,
            marks: places
                .filter(|at| *at <= to * 1.001)
                .map(|at| Mark { at, label: label(at) })
                .collect(),
        }
    }

    /// Marks that are given, from zero to the last of them.
    pub fn marked(marks: Vec<Mark>) -> Axis {
        let to = marks.last().map_or(1.0, |mark| mark.at);
        Axis { from: 0.0, to, shape: Shape::Linear, marks }
    }

    /// 0 to 1; values outside are at the edge.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self.shape {
            Shape::Linear => (value - self.from) / (self.to - self.from),
            Shape::Log => {
                let from = self.from.log10();
                (value.max(self.from).log10() - from) / (self.to.log10() - from)
            }
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

impl Plot {
    pub fn draw(self) -> Element {
        let mut svg = canvas(WIDTH, HEIGHT, &self.told);
        svg = svg.children(self.y.marks.iter().flat_map(|mark| self.across(mark)));
        svg = svg.children(self.x.marks.iter().flat_map(|mark| self.below(mark)));
        let faint_first = |line: &&Line| line.style != Style::Faint;
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by_key(faint_first);
        svg = svg.children(lines.into_iter().filter_map(|line| self.path(line)));
        svg = svg.children(self.dots.iter().map(|dot| self.dot(dot)));
        svg.children(self.labels())
    }

    /// Where the plot ends and the labels begin.
    fn right(&self) -> f64 {
        let letters = self.lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0);
        let room = letters.min(LABEL_MAX) as f64 * LETTER + 8.0;
        WIDTH - room.clamp(RIGHT.0, RIGHT.1)
    }

    fn to_x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.right() - LEFT)
    }

    fn to_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn across(&self, mark: &Mark) -> [Element; 2] {
        let y = self.to_y(mark.at);
        let class = if self.y.place(mark.at) == 0.0 { "base" } else { "grid" };
        [
            segment(class, (LEFT, y), (self.right(), y)),
            label("tick end", (LEFT - 7.0, y + 4.0), &mark.label),
        ]
    }

    fn below(&self, mark: &Mark) -> [Element; 2] {
        let (x, y) = (self.to_x(mark.at), HEIGHT - BOTTOM);
        [segment("base", (x, y), (x, y + 4.0)), label("tick middle", (x, y + 18.0), &mark.label)]
    }

    fn path(&self, line: &Line) -> Option<Element> {
        let points = thinned(&line.points);
        if points.is_empty() {
            return None;
        }
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let verb = if number == 0 { 'M' } else { 'L' };
            path.push_str(&format!("{verb}{} {}", short(self.to_x(*x)), short(self.to_y(*y))));
        }
        let style = match line.style {
            Style::Full => "full",
            Style::Dashed => "dashed",
            Style::Faint => "faint",
        };
        let class = format!("line {style} c{}", line.colour);
        Some(classed("path", &class).attribute("d", path))
    }

    fn dot(&self, dot: &Dot) -> Element {
        let (x, y) = (self.to_x(dot.at.0), self.to_y(dot.at.1));
        classed("circle", &format!("dot c{}", dot.colour))
            .attribute("cx", short(x))
            .attribute("cy", short(y))
            .attribute("r", 3.2)
            .child(element("title").text(&dot.told))
    }

    /// Beside the ends of their lines, moved apart where they would lie on each other.
    fn labels(&self) -> Vec<Element> {
        let mut labels: Vec<(f64, f64, &Line)> = self
            .lines
            .iter()
            .filter(|line| !line.label.is_empty())
            .filter_map(|line| {
                let (x, y) = line.points.last()?;
                Some((self.to_x(*x), self.to_y(*y), line))
            })
            .collect();
        labels.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut places: Vec<f64> = labels.iter().map(|(_, y, _)| *y).collect();
        spread(&mut places, LABEL_HEIGHT, HEIGHT - BOTTOM);
        let drawn = labels.iter().zip(places).map(|((x, _, line), y)| {
            let class = format!("name t{}", line.colour);
            label(&class, (x + 7.0, y + 4.0), &cut(&line.label, LABEL_MAX))
        });
        drawn.collect()
    }
}

/// Moves ascending places apart until each has `room`, none below `bottom`.
fn spread(places: &mut [f64], room: f64, bottom: f64) {
    for place in 1..places.len() {
        places[place] = places[place].max(places[place - 1] + room);
    }
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - room;
    }
}

/// Means of neighbours, so that no more points are left than can be seen.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let mean = |of: &[(f64, f64)], part: fn(&(f64, f64)) -> f64| {
        of.iter().map(part).sum::<f64>() / of.len() as f64
    };
    points.chunks(each).map(|chunk| (mean(chunk, |at| at.0), mean(chunk, |at| at.1))).collect()
}

/// A bar and what is said of it.
pub struct Bar {
    pub colour: usize,
    pub name: String,
    pub value: f64,
    /// From the least to the most of the rounds; the same where there is one.
    pub range: (f64, f64),
    pub label: String,
}

/// Bars of one unit, in groups that have a name.
pub struct Bars {
    pub told: String,
    pub scale: Scale,
    pub groups: Vec<(String, Vec<Bar>)>,
}

/// With which bars a bar can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// With all.
    Shared,
    /// With those of its group.
    Own,
}

fn longest<'a>(bars: impl Iterator<Item = &'a Bar>) -> f64 {
    bars.flat_map(|bar| [bar.value, bar.range.1]).fold(0.0, f64::max)
}

impl Bars {
    pub fn draw(self) -> Element {
        let bars = self.groups.iter().map(|(_, bars)| bars.len()).sum::<usize>();
        let height = self.groups.len() as f64 * BAR_HEAD + bars as f64 * BAR_STEP + 6.0;
        let names =
            self.groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.name.chars().count());
        let room = names.max().unwrap_or(0).min(LABEL_MAX) as f64 * LETTER + 12.0;
        let left = room.clamp(BAR_LEFT.0, BAR_LEFT.1);
        let shared = longest(self.groups.iter().flat_map(|(_, bars)| bars));
        let mut svg = canvas(WIDTH, height, &self.told);
        let mut top = 2.0;
        for (name, bars) in &self.groups {
            svg = svg.child(label("group", (0.0, top + 15.0), &cut(name, 60)));
            top += BAR_HEAD;
            let most = match self.scale {
                Scale::Shared => shared,
                Scale::Own => longest(bars.iter()),
            };
            let axis = Axis::until(most, 1, units::mark);
            for bar in bars {
                svg = svg.children(bar.draw(&axis, (left, top)));
                top += BAR_STEP;
            }
        }
        svg
    }
}

impl Bar {
    fn draw(&self, axis: &Axis, (left, top): (f64, f64)) -> Vec<Element> {
        let to_x = |value: f64| left + axis.place(value) * (WIDTH - left - BAR_RIGHT);
        let (end, middle) = (to_x(self.value), top + BAR_HEIGHT / 2.0);
        let (least, most) = (to_x(self.range.0), to_x(self.range.1));
        let mut drawn = vec![
            label("tick end", (left - 7.0, middle + 4.0), &cut(&self.name, LABEL_MAX)),
            classed("rect", &format!("bar c{}", self.colour))
                .attribute("x", short(left))
                .attribute("y", short(top))
                .attribute("width", short((end - left).max(1.0)))
                .attribute("height", short(BAR_HEIGHT)),
        ];
        if most - least >= 1.0 {
            let (low, high) = (middle - 3.0, middle + 3.0);
            drawn.push(segment("range", (least, middle), (most, middle)));
            drawn.push(segment("range", (least, low), (least, high)));
            drawn.push(segment("range", (most, low), (most, high)));
        }
        drawn.push(label("value", (end.max(most) + 6.0, middle + 4.0), &self.label));
        drawn
    }
}

fn canvas(width: f64, height: f64, told: &str) -> Element {
    element("svg")
        .attribute("xmlns", "http://www.w3.org/2000/svg")
        .attribute("viewBox", format!("0 0 {} {}", short(width), short(height)))
        .attribute("role", "img")
        .attribute("aria-label", told)
}

fn segment(class: &str, from: (f64, f64), to: (f64, f64)) -> Element {
    classed("line", class)
        .attribute("x1", short(from.0))
        .attribute("y1", short(from.1))
        .attribute("x2", short(to.0))
        .attribute("y2", short(to.1))
}

fn label(class: &str, at: (f64, f64), text: &str) -> Element {
    classed("text", class).attribute("x", short(at.0)).attribute("y", short(at.1)).text(text)
}

fn cut(text: &str, room: usize) -> String {
    match text.chars().count() <= room {
        true => text.to_owned(),
        false => text.chars().take(room - 1).chain(['\u{2026}']).collect(),
    }
}

/// A tenth of a pixel is more than anybody sees.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|mark| mark.label.as_str()).collect()
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(
            labels(&Axis::linear(21_345.0, 5, units::mark)),
            ["0", "5,000", "10,000", "15,000", "20,000", "25,000"]
        );
        assert_eq!(labels(&Axis::linear(1.9, 4, units::mark)), ["0", "0.5", "1", "1.5", "2"]);
        assert_eq!(labels(&Axis::until(34.0, 4, units::mark)), ["0", "10", "20", "30"]);
        assert_eq!(labels(&Axis::until(29.75, 3, units::mark)), ["0", "10", "20", "30"]);
        assert_eq!(
            labels(&Axis::bytes(310.0 * 1048576.0, 4)),
            ["0", "100 MiB", "200 MiB", "300 MiB", "400 MiB"]
        );
        assert_eq!(
            labels(&Axis::log(0.3, 1200.0, units::time)),
            ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]
        );
        assert_eq!(labels(&Axis::log(2.0, 9.0, units::time)), ["1 ms", "2 ms", "5 ms", "10 ms"]);
    }

    #[test]
    fn places_are_inside_whatever_the_values_are() {
        let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e-320, 1e300, 5.0];
        for most in wild {
            let axes = [
                Axis::linear(most, 4, units::mark),
                Axis::until(most, 4, units::mark),
                Axis::bytes(most, 4),
                Axis::log(most, most, units::time),
                Axis::log(1.0, most, units::time),
                Axis::marked(Vec::new()),
            ];
            for axis in axes {
                assert!(axis.marks.len() < 40, "{most}: {axis:?}");
                for value in wild {
                    assert!((0.0..=1.0).contains(&axis.place(value)), "{most} {value} {axis:?}");
                }
            }
        }
    }

    #[test]
    fn a_log_scale_puts_decades_at_equal_distances() {
        let axis = Axis::log(1.0, 1000.0, units::time);
        let places = [1.0, 10.0, 100.0, 1000.0].map(|value| (axis.place(value) * 3.0).round());
        assert_eq!(places, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn labels_do_not_lie_on_each_other() {
        let mut places = [10.0, 11.0, 12.0, 195.0, 199.0];
        spread(&mut places, 15.0, 200.0);
        assert_eq!(places, [10.0, 25.0, 40.0, 185.0, 200.0]);
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_mean() {
        let points: Vec<(f64, f64)> = (0..24_000).map(|at| (f64::from(at), 7.0)).collect();
        let thin = thinned(&points);
        assert_eq!(thin.len(), POINTS_MAX);
        assert!(thin.iter().all(|(_, y)| *y == 7.0));
        assert_eq!(thinned(&points[..3]), points[..3]);
    }
}
