//! A report as one page that needs nothing else: no network, no script, no font.
//!
//! First the answer, then the evidence: whether mail was lost; the relays beside each other; each
//! scenario with its plots and, below them, the same numbers as tables; last the machine and the
//! command, so that it can be repeated. Light and dark, narrow and wide, and paper are the style
//! sheet's. Every word goes through `markup`, which escapes it.

use super::chart::{self, Colours, Course};
use super::figure::{Better, Figure};
use super::group::{Scenario, scenarios};
use super::markup::{Element, classed, element};
use super::model::{Report, Run};
use super::rows;
use super::scaling;
use super::table::{Align, Row, Table};
use super::text;
use super::units;

const SHEET: &str = include_str!("page.css");

/// Those that are worth a plot over all scenarios.
const SIDE_BY_SIDE: [(Figure, &str); 6] = [
    (Figure::PerSecond, "Messages a second"),
    (Figure::AcceptP99, "Latency to the 250, p99"),
    (Figure::EndToEndP99, "Latency end to end, p99"),
    (Figure::RelayCpu, "CPU of the relay, a message"),
    (Figure::Memory, "Peak memory of the relay"),
    (Figure::Fsyncs, "fsyncs of the relay, a message"),
];

/// The whole page.
pub fn page(report: &Report) -> String {
    let scenarios = scenarios(report);
    let colours = Colours::of(&scenarios);
    let main = element("main")
        .child(header(report, &scenarios))
        .child(summary(&scenarios, &colours))
        .children(scenarios.iter().map(|scenario| section(scenario, &colours)))
        .child(surroundings(report));
    let html = element("html")
        .attribute("xmlns", "http://www.w3.org/1999/xhtml")
        .attribute("lang", "en")
        .child(head(report))
        .child(element("body").child(main));
    format!("<!DOCTYPE html>\n{}\n", html.print())
}

fn head(report: &Report) -> Element {
    element("head")
        .child(element("meta").attribute("charset", "utf-8"))
        .child(
            element("meta")
                .attribute("name", "viewport")
                .attribute("content", "width=device-width, initial-scale=1"),
        )
        .child(element("meta").attribute("name", "color-scheme").attribute("content", "light dark"))
        .child(element("title").text(&format!("Load test, {}", report.started)))
        .child(element("style").style(SHEET))
}

fn header(report: &Report, scenarios: &[Scenario]) -> Element {
    let machine = &report.machine;
    let cores = units::many(u64::from(machine.cores), "core");
    let under = [
        report.started.replace('T', " ").replace('Z', " UTC"),
        format!("{}, {cores}, {}", machine.cpu, text::memory(report)),
        machine.disk.clone(),
    ];
    element("header")
        .child(element("h1").text(&title(scenarios)))
        .child(element("p").text(&under.join(" \u{b7} ")))
        .child(balance_of_all(report))
}

/// `Load test of baton 0.1.0 and Postfix 3.7.11`.
fn title(scenarios: &[Scenario]) -> String {
    let groups = scenarios.iter().flat_map(|scenario| &scenario.groups);
    let mut names: Vec<&str> = Vec::new();
    for name in groups.map(|group| group.relay.name.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.split_last() {
        None => "Load test".to_owned(),
        Some((last, [])) => format!("Load test of {last}"),
        Some((last, others)) => format!("Load test of {} and {last}", others.join(", ")),
    }
}

/// The first thing to know: whether any mail was lost.
fn balance_of_all(report: &Report) -> Element {
    let broken = report.runs.iter().filter(|run| !run.balance.holds).count();
    let runs = units::many(report.runs.len() as u64, "run");
    match broken {
        _ if report.runs.is_empty() => classed("p", "verdict").text("No run."),
        0 => classed("p", "verdict good").child(element("b").text("\u{2713} In balance.")).text(
            &format!(" {runs}: every accepted message was delivered, bounced or is still queued."),
        ),
        _ => classed("p", "verdict bad")
            .child(element("b").text(&format!("\u{2717} {broken} of {runs} out of balance.")))
            .text(" Messages are missing, damaged or came unasked; see the scenarios."),
    }
}

fn summary(scenarios: &[Scenario], colours: &Colours) -> Element {
    let plots = SIDE_BY_SIDE.iter().filter_map(|(figure, title)| {
        Some(panel(title, better(*figure), chart::bars(scenarios, colours, *figure)?))
    });
    element("section")
        .child(element("h2").text("All scenarios"))
        .children(ratios(&rows::ratios(scenarios)))
        .children(grown(scenarios))
        .child(classed("div", "plots").children(plots))
        .children(folded(
            "All figures, medians of the rounds",
            Open::Yes,
            &rows::medians(scenarios),
        ))
}

fn better(figure: Figure) -> &'static str {
    match figure.better() {
        Better::More => "more is better; each scenario to its own scale",
        Better::Less => "less is better; each scenario to its own scale",
    }
}

fn ratios(table: &Table) -> Option<Element> {
    let under = "How many times as much, by the medians of the rounds. \
                 In the plots a bar is the median, and the line at its end goes from the least \
                 to the most of the rounds.";
    (!table.rows.is_empty()).then(|| {
        classed("div", "ratios")
            .child(classed("div", "wide").attribute("tabindex", 0).child(html_table(table)))
            .child(classed("p", "load").text(under))
    })
}

/// A sentence for each, under the ratios.
fn grown(scenarios: &[Scenario]) -> impl Iterator<Item = Element> {
    let words = scaling::words(scenarios).into_iter();
    words.map(|(scenario, words)| classed("p", "load").text(&format!("{scenario}: {words}")))
}

fn section(scenario: &Scenario, colours: &Colours) -> Element {
    let loads = text::loads(scenario);
    let loads = loads.iter().map(|(_, load)| classed("p", "load").text(load));
    element("section")
        .child(element("h2").text(scenario.name))
        .children(loads)
        .child(legend(scenario, colours))
        .child(classed("div", "plots").children(plots(scenario, colours)))
        .children(folded(
            "Every run",
            Open::Yes,
            &rows::every_run(std::slice::from_ref(scenario)).without_first_column(),
        ))
        .children(folded(
            "Percentiles, all rounds together",
            Open::Yes,
            &rows::percentiles(scenario),
        ))
        .children(folded("Over time, middle round", Open::No, &rows::over_time(scenario)))
        .child(balances(scenario))
}

fn legend(scenario: &Scenario, colours: &Colours) -> Element {
    let relays = scenario.groups.iter().map(|group| {
        let class = format!("key c{}", colours.colour(group));
        element("span").child(classed("i", &class)).text(&group.label)
    });
    let mut legend = classed("p", "legend").children(relays);
    if scenario.has_rounds() {
        legend = legend.child(classed("span", "quiet").text("faint: the other rounds"));
    }
    legend
}

fn plots(scenario: &Scenario, colours: &Colours) -> Vec<Element> {
    let from = |of: fn(&Run) -> &String| {
        let from = scenario.groups.first().map(|group| of(group.rounds[0]).as_str());
        format!("by percentile, from the {}", from.unwrap_or_default())
    };
    let over = |courses: &[Course], told: &str| chart::over_time(scenario, colours, courses, told);
    let throughput = over(&[Course::Delivered, Course::Accepted], "Throughput over time");
    let accept =
        chart::percentiles(scenario, colours, |run| &run.accept, "Accept latency by percentile");
    let whole = chart::percentiles(
        scenario,
        colours,
        |run| &run.end_to_end,
        "End-to-end latency by percentile",
    );
    let cores = over(&[Course::Cores], "Cores busy over time");
    let memory = over(&[Course::Memory], "Memory over time");
    let programs = chart::programs(scenario, colours, "CPU time of each program, a message");
    let all = [
        ("Throughput", "a second; full: delivered, dashed: accepted".to_owned(), throughput),
        ("Latency to the 250", from(|run| &run.accept.from), accept),
        ("Latency end to end", from(|run| &run.end_to_end.from), whole),
        ("CPU of the relay", "cores kept busy".to_owned(), cores),
        ("Memory of the relay", "resident".to_owned(), memory),
        ("CPU by program", "\u{b5}s a message".to_owned(), programs),
    ];
    let drawn =
        all.into_iter().filter_map(|(title, under, plot)| Some(panel(title, &under, plot?)));
    drawn.collect()
}

fn panel(title: &str, under: &str, plot: Element) -> Element {
    let caption =
        element("figcaption").child(element("b").text(title)).child(element("span").text(under));
    element("figure").child(caption).child(plot)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// A table under its name; none where it is empty.
fn folded(name: &str, open: Open, table: &Table) -> Option<Element> {
    let filled = table.rows.iter().any(|row| matches!(row, Row::Cells(_)));
    let mut details = element("details");
    if open == Open::Yes {
        details = details.attribute("open", "open");
    }
    let wide = classed("div", "wide").attribute("tabindex", 0).child(html_table(table));
    filled.then(|| details.child(element("summary").text(name)).child(wide))
}

fn html_table(table: &Table) -> Element {
    let class = |place: usize| match table.columns[place].align {
        Align::Left => "word",
        Align::Right => "number",
    };
    let over = table.spans().into_iter().map(|(first, last)| {
        let over = table.columns[first].over;
        let class = if over.is_empty() { "none" } else { "some" };
        classed("th", class).attribute("colspan", last - first + 1).text(over)
    });
    let heads = table.columns.iter().enumerate();
    let heads = heads.map(|(place, column)| classed("th", class(place)).text(&column.head));
    let mut thead = element("thead");
    if table.columns.iter().any(|column| !column.over.is_empty()) {
        thead = thead.child(classed("tr", "over").children(over));
    }
    let rows = table.rows.iter().filter_map(|row| {
        let Row::Cells(cells) = row else { return None };
        let median = cells.iter().any(|cell| cell == "median");
        let cells = cells.iter().enumerate().map(|(place, cell)| {
            let bad = if cell == rows::verdict(false) { " broken" } else { "" };
            classed("td", &format!("{}{bad}", class(place))).text(cell)
        });
        Some(classed("tr", if median { "median" } else { "one" }).children(cells))
    });
    element("table")
        .child(thead.child(element("tr").children(heads)))
        .child(element("tbody").children(rows))
}

fn balances(scenario: &Scenario) -> Element {
    let items = scenario.by_round().into_iter().map(|(group, run)| {
        let class = if run.balance.holds { "holds" } else { "broken" };
        let mut item = classed("li", class)
            .child(element("b").text(&format!("{}, round {}: ", group.short, run.round)))
            .text(&text::sentence(&run.balance));
        if !run.balance.examples.is_empty() {
            let examples = run.balance.examples.iter();
            item = item.child(element("ul").children(
                examples.map(|example| element("li").child(element("code").text(example))),
            ));
        }
        item.children(run.notes.iter().map(|note| classed("p", "note").text(note)))
    });
    classed("div", "balance")
        .child(element("h3").text("Balance, in pairs of message and recipient"))
        .child(element("ul").children(items))
}

fn surroundings(report: &Report) -> Element {
    let mut list = element("dl");
    let mut fact = |name: &str, value: &str| {
        let entry = [element("dt").text(name), element("dd").text(value)];
        list = std::mem::replace(&mut list, element("dl")).children(entry);
    };
    fact("started", &report.started);
    for (name, value) in text::facts(report) {
        fact(name, &value);
    }
    for settings in text::settings(report) {
        fact("settings", &settings);
    }
    element("section")
        .child(element("h2").text("Machine, and how to repeat it"))
        .child(list)
        .child(element("pre").child(element("code").text(&report.command)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::model::Series;

    /// Every page that a test makes goes through a parser.
    fn checked(report: &Report) -> String {
        let page = page(report);
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let tree = roxmltree::Document::parse_with_options(&page, options).unwrap();
        for node in tree.descendants().filter(|node| node.is_element()) {
            let name = node.tag_name().name();
            assert!(!["script", "link", "img", "iframe", "object"].contains(&name), "{name}");
            for attribute in node.attributes() {
                assert_numbers(name, attribute.name(), attribute.value());
            }
        }
        let addresses = page.replace("http://www.w3.org/1999/xhtml", "");
        let addresses = addresses.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "url(", "@import", "src=", "href="] {
            assert!(!addresses.contains(outside), "{outside}");
        }
        page
    }

    /// Coordinates are numbers, and inside the picture.
    fn assert_numbers(element: &str, name: &str, value: &str) {
        let numbers: Vec<&str> = match name {
            "d" => value.split(['M', 'L', ' ']).filter(|part| !part.is_empty()).collect(),
            "viewBox" => value.split(' ').collect(),
            "x" | "y" | "x1" | "y1" | "x2" | "y2" | "cx" | "cy" | "width" | "height" => vec![value],
            _ => return,
        };
        for number in numbers {
            let parsed: f64 = number.parse().expect(number);
            assert!((-1.0..100_000.0).contains(&parsed), "<{element} {name}={value:?}>");
        }
    }

    #[test]
    fn a_page_is_well_formed_and_needs_nothing_else() {
        let page = checked(&fixture::report());
        for word in ["steady", "large", "Postfix 3.7.11", "In balance", "p99.9", "--seed 7"] {
            assert!(page.contains(word), "{word}");
        }
        // Six over all, six of each scenario.
        assert_eq!(page.matches("<svg").count(), 6 + 6 * 2);
        assert!(page.contains("Load test of baton 0.1.0 and Postfix 3.7.11"));
        assert!(page.contains("<td class=\"number\">21.0x</td>"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn hostile_words_stay_words() {
        let page = checked(&fixture::hostile());
        assert!(!page.contains("<script") && !page.contains('\x1b'));
        assert!(page.contains("&lt;script&gt;alert(&quot;&amp;&#39;&quot;)"));
        assert!(page.contains("6 of 6 runs out of balance"));
    }

    #[test]
    fn what_is_absent_leaves_no_empty_plot() {
        let mut report = fixture::report();
        report.runs = vec![fixture::bare("idle", 1)];
        let page = checked(&report);
        // Zero messages a second is known; nothing else is.
        assert_eq!(page.matches("<svg").count(), 1);
        report.runs.clear();
        assert_eq!(checked(&report).matches("<svg").count(), 0);
    }

    #[test]
    fn wild_series_stay_in_the_picture() {
        let mut report = fixture::report();
        report.runs[0].series = Series {
            at_s: vec![5.0, -1e308, 1e308, 0.0],
            accepted_per_s: vec![1e308, 1e308, -5.0, 0.0],
            delivered_per_s: vec![0.0; 4],
            relay_cores: vec![1e-320; 4],
            relay_memory_bytes: vec![u64::MAX, 0, u64::MAX, 1],
        };
        report.runs[1].accept.buckets = vec![(u64::MAX, u64::MAX), (0, 1), (7, u64::MAX)];
        checked(&report);
    }
}
