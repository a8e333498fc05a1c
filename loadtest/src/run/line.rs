//! What the person who waits for a run sees: `report::live`, fed once a second, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::child::Child;
use super::relay::Tracing;
use super::sampler;
use super::stage::{Stage, Turn};
use crate::kernel;
use crate::progress::Tick;
use crate::report::live::{Live, Moment, Screen};

const APART: Duration = Duration::from_secs(1);
/// Where the terminal does not say.
const COLUMNS: usize = 80;

/// The line of one run.
pub struct Line {
    what: String,
    live: Live,
    began: Instant,
    last: Totals,
}

/// What the rates are counted from.
#[derive(Clone, Copy)]
struct Totals {
    at: Instant,
    accepted: u64,
    delivered: u64,
    relay_cpu: Duration,
}

impl Line {
    pub fn new(turn: Turn<'_>) -> Line {
        let (scenario, relay) = (turn.scenario.name(), turn.relay);
        let what = match turn.tracing {
            Tracing::Off if turn.round == 0 => format!("{scenario}, its rate, {relay}"),
            Tracing::Off => format!("{scenario} {}/{} {relay}", turn.round, turn.args.rounds),
            Tracing::Syncs => format!("{scenario}, its fsyncs, {relay}"),
        };
        let screen = if io::stderr().is_terminal() {
            Screen::Terminal { columns: kernel::terminal_columns().unwrap_or(COLUMNS) }
        } else {
            Screen::Lines
        };
        let now = Instant::now();
        let last = Totals { at: now, accepted: 0, delivered: 0, relay_cpu: Duration::ZERO };
        Line { what, live: Live::new(screen), began: now, last }
    }

    /// To be called often; says something once a second.
    pub fn show(&mut self, phase: &str, stage: &Stage<'_>, source: &Child) {
        let elapsed = self.last.at.elapsed();
        if elapsed < APART {
            return;
        }
        let recipients = |tick: Option<Tick>| tick.map_or(0, |tick| tick.recipients);
        let roots = stage.relay.roots();
        let now = Totals {
            at: Instant::now(),
            accepted: recipients(source.last_tick()),
            delivered: recipients(stage.sink.last_tick()),
            relay_cpu: sampler::cpu(&roots),
        };
        let per_s =
            |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let busy = now.relay_cpu.saturating_sub(self.last.relay_cpu).as_secs_f64();
        // The first time it is all that the relay has used since it was started.
        let knows_cpu = !roots.is_empty() && !self.last.relay_cpu.is_zero();
        let moment = Moment {
            what: &self.what,
            phase,
            seconds: self.began.elapsed().as_secs_f64(),
            accepted_per_s: per_s(now.accepted, self.last.accepted),
            delivered_per_s: per_s(now.delivered, self.last.delivered),
            in_flight: now.accepted.saturating_sub(now.delivered),
            relay_cores: knows_cpu.then(|| busy / elapsed.as_secs_f64()),
        };
        say(&self.live.show(&moment));
        self.last = now;
    }

    /// Makes room for what is said next.
    pub fn clear(&self) {
        say(self.live.clear());
    }
}

fn say(text: &str) {
    // Nobody looks: no reason to stop.
    let _ = io::stderr().write_all(text.as_bytes());
}
