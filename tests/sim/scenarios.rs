//! The stories that are run: a quiet day, days on which one thing goes wrong, and days drawn from a seed.
//!
//! `BATON_SIM_SEEDS=N` runs N drawn days instead of the usual number; `BATON_SIM_SEED=S` runs that
//! one alone. A failing day says its number.

use super::plan::Plan;
use super::run::Simulation;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Drawn days in a usual test run.
const SEEDS: u64 = 64;

/// Lines of the relay's log that are shown when a day fails.
const LINES_SHOWN: usize = 40;

/// Runs a story; when it fails says how to see it again.
fn story(seed: u64, plan: Plan, tell: impl FnOnce(&mut Simulation)) -> Vec<String> {
    let mut simulation = Simulation::new(seed, plan.clone());
    let journal = simulation.ground.journal.clone();
    let told = catch_unwind(AssertUnwindSafe(|| tell(&mut simulation)));
    let lines = journal.lines();
    if let Err(panic) = told {
        // Who replays a day wants to see all of it.
        let shown = if number("BATON_SIM_SEED").is_some() { lines.len() } else { LINES_SHOWN };
        let shown = &lines[lines.len().saturating_sub(shown)..];
        eprintln!("{plan:#?}\nthe log ends with\n{}", shown.join("\n"));
        eprintln!("seed {seed} failed; to see it again: BATON_SIM_SEED={seed} make test");
        resume_unwind(panic);
    }
    lines
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

#[test]
fn a_quiet_day() {
    story(1, Plan::smoke(), Simulation::run);
}

#[test]
fn days_drawn_from_a_seed() {
    if let Some(seed) = number("BATON_SIM_SEED") {
        story(seed, Plan::draw(seed), Simulation::run);
        return;
    }
    for seed in 0..number("BATON_SIM_SEEDS").unwrap_or(SEEDS) {
        story(seed, Plan::draw(seed), Simulation::run);
    }
}
