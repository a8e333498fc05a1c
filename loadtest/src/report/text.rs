//! A report for a terminal, and its main table for a README.
//!
//! One table over all runs with the medians of the rounds; then what the relays are to each other;
//! then the balance of each run in words; then all that is needed to judge or to repeat it. Plain
//! characters without colour, so that it can be piped, pasted and compared.

use super::group::{Scenario, scenarios};
use super::model::{Balance, Report};
use super::rows::{self, verdict};
use super::scaling;
use super::units::{self, count, printable};

/// Examples of what is wrong, of each run.
const EXAMPLES_MAX: usize = 5;

/// All of it.
pub fn text(report: &Report) -> String {
    let scenarios = scenarios(report);
    let mut out = format!("baton-load, {}\n\n", printable(&report.started));
    if report.runs.is_empty() {
        out.push_str("No run.\n");
    } else {
        out.push_str(&rows::every_run(&scenarios).text());
    }
    ratios(&mut out, &scenarios);
    balances(&mut out, &scenarios);
    surroundings(&mut out, report, &scenarios);
    out
}

/// A row for each scenario and relay: a README wants no more.
pub fn markdown(report: &Report) -> String {
    rows::medians(&scenarios(report)).markdown()
}

fn ratios(out: &mut String, scenarios: &[Scenario]) {
    let mut told: Vec<(String, String)> = Vec::new();
    for scenario in scenarios {
        told.extend(scenario.ratios().into_iter().map(|ratio| (scenario.name.to_owned(), ratio)));
    }
    told.extend(scaling::words(scenarios));
    if told.is_empty() {
        return;
    }
    out.push_str("\nBeside each other, by the medians of the rounds:\n");
    for (scenario, words) in told {
        out.push_str(&format!("  {}: {}\n", printable(&scenario), printable(&words)));
    }
}

fn balances(out: &mut String, scenarios: &[Scenario]) {
    if scenarios.is_empty() {
        return;
    }
    out.push_str("\nBalance, in pairs of message and recipient:\n");
    for scenario in scenarios {
        for (group, run) in scenario.by_round() {
            let name = format!("{}, round {}, {}", scenario.name, run.round, group.short);
            out.push_str(&format!("  {}: {}\n", printable(&name), sentence(&run.balance)));
            let examples = run.balance.examples.iter();
            for example in examples.clone().take(EXAMPLES_MAX) {
                out.push_str(&format!("    {}\n", printable(example)));
            }
            let more = examples.len().saturating_sub(EXAMPLES_MAX);
            if more > 0 {
                out.push_str(&format!("    and {more} more in the report\n"));
            }
            for note in &run.notes {
                out.push_str(&format!("    note: {}\n", printable(note)));
            }
        }
    }
}

/// `5,000 messages; 5,000 accepted = 4,990 delivered + 0 bounced + 10 queued: holds`.
pub fn sentence(balance: &Balance) -> String {
    let Balance { accepted, delivered, bounced, queued, .. } = *balance;
    let found = [delivered, bounced, queued].map(u128::from).iter().sum::<u128>();
    let mut out = format!(
        "{}; {} accepted {} {} delivered + {} bounced + {} queued",
        units::many(balance.messages_sent, "message"),
        count(accepted),
        if u128::from(accepted) == found { "=" } else { "is not" },
        count(delivered),
        count(bounced),
        count(queued),
    );
    let rest = [
        (balance.missing, "missing"),
        (balance.corrupt, "corrupt"),
        (balance.contradicted, "both delivered and bounced"),
        (balance.unexpected, "unexpected"),
        (balance.duplicates, "delivered again"),
        (balance.refused, "refused"),
        (balance.unknown, "without an answer"),
    ];
    for (number, what) in rest.iter().filter(|(number, _)| *number > 0) {
        out.push_str(&format!(", {} {what}", count(*number)));
    }
    format!("{out}: {}", verdict(balance.holds))
}

fn surroundings(out: &mut String, report: &Report, scenarios: &[Scenario]) {
    out.push('\n');
    for (name, value) in facts(report) {
        out.push_str(&format!("{name:<9} {}\n", printable(&value)));
    }
    for scenario in scenarios {
        for (what, value) in loads(scenario) {
            out.push_str(&format!("load      {}, {}\n", printable(&what), printable(&value)));
        }
    }
    for relay in settings(report) {
        out.push_str(&format!("settings  {}\n", printable(&relay)));
    }
    out.push_str(&format!("repeat    {}\n", printable(&report.command)));
}

/// What a reader must know to judge the numbers, but for the command.
pub fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let machine = &report.machine;
    let cores = units::many(u64::from(machine.cores), "core");
    vec![
        ("machine", format!("{}, {cores}, {} of memory", machine.cpu, memory(report))),
        ("kernel", machine.kernel.clone()),
        ("disk", machine.disk.clone()),
        ("versions", pairs(&machine.versions)),
        ("seed", report.seed.to_string()),
    ]
}

pub fn memory(report: &Report) -> String {
    units::bytes(report.machine.memory_bytes as f64)
}

/// What was sent in a scenario: as words of it, and of the relay where they differ.
pub fn loads(scenario: &Scenario) -> Vec<(String, String)> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut last = None;
    for (group, run) in scenario.by_round() {
        if last == Some(&run.load) || seen.iter().any(|(_, load)| *load == pairs(&run.load)) {
            continue;
        }
        let who = match last {
            None => scenario.name.to_owned(),
            Some(_) => format!("{}, {}, round {}", scenario.name, group.short, run.round),
        };
        seen.push((who, pairs(&run.load)));
        last = Some(&run.load);
    }
    seen.retain(|(_, load)| !load.is_empty());
    seen
}

/// Each relay with its settings, once.
pub fn settings(report: &Report) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for run in &report.runs {
        let told = format!("{}: {}", run.relay.name, pairs(&run.relay.settings));
        if !run.relay.settings.is_empty() && !seen.contains(&told) {
            seen.push(told);
        }
    }
    seen
}

/// `size 4 KiB, sessions 50`.
pub fn pairs(pairs: &[(String, String)]) -> String {
    let words: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {value}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_whole_of_a_small_report() {
        let mut report = fixture::report();
        report.runs.push(fixture::bare("idle", 1));
        let broken = &mut report.runs[3];
        broken.notes.push("one peak of load by another program".to_owned());
        broken.balance.missing = 3;
        broken.balance.delivered -= 3;
        broken.balance.duplicates = 1_200;
        broken.balance.holds = false;
        broken.balance.examples = (1..=7).map(|n| format!("missing a-{n} r1@d1.x.test")).collect();
        assert_eq!(text(&report), include_str!("text_whole.txt"));
    }

    #[test]
    fn markdown_has_the_medians() {
        assert_eq!(markdown(&fixture::report()), include_str!("text_markdown.md"));
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        let mut report = fixture::report();
        report.runs.clear();
        let text = text(&report);
        assert!(
            text.starts_with("baton-load, 2026-01-02T03:04:05Z\n\nNo run.\n\nmachine "),
            "{text}"
        );
        assert_eq!(markdown(&report).lines().count(), 2);
    }

    #[test]
    fn hostile_words_stay_words() {
        let report = fixture::hostile();
        assert!(!text(&report).contains('\x1b'));
        let markdown = markdown(&report);
        assert!(!markdown.contains('\x1b') && !markdown.contains("<script"), "{markdown}");
    }

    #[test]
    fn numbers_of_any_size_can_be_added() {
        let mut balance = fixture::run("steady", 1, fixture::baton()).balance;
        (balance.accepted, balance.delivered, balance.queued) = (u64::MAX, u64::MAX, 1);
        assert!(sentence(&balance).contains(" is not "));
    }
}
