//! What is seen while a run goes on: one line that overwrites itself, or lines where that is not
//! possible.
//!
//! Time comes in with each moment, so that this is a function of its inputs; whoever calls it
//! prints what it gets, as it is. A line never is wider than the screen, because one that wraps
//! cannot be overwritten.

use super::units::{ABSENT, count, large, number, printable};

/// A line wider than this is not read at a glance.
const WIDTH_MAX: usize = 120;
/// From here on there is room for whole words.
const WIDE: usize = 110;
/// Between two lines of one phase where nothing can be overwritten.
const LINES_EVERY_S: f64 = 5.0;
/// Back to the first column, and nothing on the line.
const AFRESH: &str = "\r\x1b[K";

/// What goes on now.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// `steady 1/3 baton`.
    pub what: &'a str,
    /// `warm-up`, `load`, `drain`.
    pub phase: &'a str,
    /// Since the run began.
    pub seconds: f64,
    pub accepted_per_s: f64,
    pub delivered_per_s: f64,
    /// Accepted by the relay, and not yet with the sink.
    pub in_flight: u64,
    /// Cores that the relay keeps busy, where that is known.
    pub relay_cores: Option<f64>,
}

/// What the words go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Terminal {
        columns: usize,
    },
    /// A file, a pipe, the log of a build.
    Lines,
}

/// The line of a command, from its first run to its last.
pub struct Live {
    screen: Screen,
    told: Told,
}

/// The last line of a screen that keeps them.
enum Told {
    Nothing,
    Line { what: String, phase: String, seconds: f64 },
}

impl Live {
    pub fn new(screen: Screen) -> Live {
        Live { screen, told: Told::Nothing }
    }

    /// What to print now; may be nothing.
    pub fn show(&mut self, now: &Moment) -> String {
        match self.screen {
            Screen::Terminal { columns } => {
                // Some terminals wrap when the last column is filled.
                format!("{AFRESH}{}", progress_line(now, columns.saturating_sub(1)))
            }
            Screen::Lines if self.is_due(now) => {
                let (what, phase) = (now.what.to_owned(), now.phase.to_owned());
                self.told = Told::Line { what, phase, seconds: now.seconds };
                format!("{}\n", progress_line(now, WIDTH_MAX))
            }
            Screen::Lines => String::new(),
        }
    }

    /// Makes room for other words.
    pub fn clear(&self) -> &'static str {
        match self.screen {
            Screen::Terminal { .. } => AFRESH,
            Screen::Lines => "",
        }
    }

    fn is_due(&self, now: &Moment) -> bool {
        match &self.told {
            Told::Nothing => true,
            Told::Line { what, phase, seconds } => {
                what != now.what || phase != now.phase || now.seconds - seconds >= LINES_EVERY_S
            }
        }
    }
}

/// `steady 1/3 baton  load  12 s  21,345/s accepted  21,300/s delivered  45 in flight  1.98 cores`
///
/// At most `width` columns. The name of what runs loses its end first: one looks for the numbers.
pub fn progress_line(now: &Moment, width: usize) -> String {
    let width = width.min(WIDTH_MAX);
    let phase = cut(now.phase, 8);
    let rate = |per_s: f64| count(per_s.max(0.0) as u64);
    let (accepted, delivered) = (rate(now.accepted_per_s), rate(now.delivered_per_s));
    let held =
        if now.in_flight < 1_000_000 { count(now.in_flight) } else { large(now.in_flight as f64) };
    let cores = now.relay_cores.map_or(ABSENT.to_owned(), number);
    let seconds = now.seconds;
    let numbers = match width {
        _ if width < WIDE => format!(
            "{phase:<5} {seconds:>4.0} s  {accepted:>6}/s in  {delivered:>6}/s out  \
             {held:>5} in flight  {cores:>4} cores"
        ),
        _ => format!(
            "{phase:<7} {seconds:>5.0} s  {accepted:>7}/s accepted  {delivered:>7}/s delivered  \
             {held:>7} in flight  {cores:>4} cores"
        ),
    };
    let room = width.saturating_sub(numbers.chars().count() + 2);
    let what = cut(now.what, room);
    let line = if what.is_empty() { numbers } else { format!("{what}  {numbers}") };
    cut(&line, width)
}

/// Not more than so many columns.
fn cut(text: &str, room: usize) -> String {
    let text = printable(text);
    match text.chars().count() {
        length if length <= room => text,
        _ if room < 4 => text.chars().take(room).collect(),
        _ => text.chars().take(room - 2).chain("..".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: f64) -> Moment<'static> {
        Moment {
            what: "steady 1/3 baton",
            phase: "load",
            seconds,
            accepted_per_s: 21_345.6,
            delivered_per_s: 900.0,
            in_flight: 45,
            relay_cores: Some(1.98),
        }
    }

    #[test]
    fn a_line_is_as_wide_as_it_may_be() {
        assert_eq!(
            progress_line(&moment(12.3), 120),
            "steady 1/3 baton  load       12 s   21,345/s accepted      900/s delivered       \
             45 in flight  1.98 cores"
        );
        assert_eq!(
            progress_line(&moment(12.3), 79),
            "steady ..  load    12 s  21,345/s in     900/s out     45 in flight  1.98 cores"
        );
        let mut huge = moment(1e9);
        huge.what = "a scenario whose name is long, 17/20, on a relay whose name is longer still";
        huge.phase = "waiting for the last";
        (huge.accepted_per_s, huge.in_flight) = (f64::INFINITY, u64::MAX);
        huge.relay_cores = None;
        for width in 0..200 {
            for now in [&huge, &moment(3.0)] {
                assert!(progress_line(now, width).chars().count() <= width.min(WIDTH_MAX));
            }
        }
        assert!(progress_line(&moment(3.0), 80).contains("45 in flight"));
    }

    #[test]
    fn a_terminal_has_one_line() {
        let mut live = Live::new(Screen::Terminal { columns: 80 });
        for seconds in [1.0, 1.25] {
            let shown = live.show(&moment(seconds));
            let line = shown.strip_prefix(AFRESH).unwrap();
            assert!(line.chars().count() < 80 && !line.contains(['\n', '\x1b']), "{line}");
        }
        assert_eq!(live.clear(), AFRESH);
    }

    #[test]
    fn a_log_has_a_line_now_and_then() {
        let mut live = Live::new(Screen::Lines);
        let mut lines = 0;
        for quarter in 0..=48 {
            let shown = live.show(&moment(f64::from(quarter) / 4.0));
            assert!(shown.is_empty() || shown.ends_with("cores\n"));
            lines += usize::from(!shown.is_empty());
        }
        assert_eq!(lines, 3, "at 0, 5 and 10 s");
        let next = Moment { phase: "drain", ..moment(12.1) };
        assert!(!live.show(&next).is_empty(), "a new phase is told at once");
        let next = Moment { what: "steady 1/3 Postfix", phase: "drain", ..moment(0.1) };
        assert!(!live.show(&next).is_empty());
        assert_eq!(live.clear(), "");
    }

    #[test]
    fn names_do_not_move_the_cursor() {
        let now = Moment { what: "a\x1b[2J\nb", ..moment(1.0) };
        assert!(!progress_line(&now, 120).contains(['\x1b', '\n']));
    }
}
