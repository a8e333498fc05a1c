//! The rules that relate the knobs of the outbound side: sources and pools, providers, retries.
//!
//! Decides what a single knob cannot: a pool needs a source, a provider behind one that knows all
//! its hosts is never found, the second attempt comes before the message is given up, for each
//! route with the values that hold for it.
//! Part of `check`, which says when.

use std::path::Path;
use std::time::Duration;

use super::check::{Side, Unique, not_above_at};
use super::document::{Document, Table};
use super::domain::DomainPattern;
use super::lane::Retries;
use super::outbound::{Delivery, Route};
use super::problem::Problems;
use super::provider::{PROVIDERS_MAX, Provider, shipped};
use super::settings::{Files, Unread};
use super::source::{POOL_DEFAULT, SourceTable};
use super::unit::show_period;

/// The sources, and whether each pool has one that mail leaves from.
pub fn sources(
    document: &Document<'_>,
    routes: &[(Table<'_>, Route)],
    problems: &mut Problems<'_>,
) -> Vec<SourceTable> {
    let mut names = Unique::new("name");
    let tables = document.many::<SourceTable>(problems);
    for (table, source) in &tables {
        names.check(source.name.clone(), &source.name, table, problems);
        if let [one, other] = source.address[..]
            && one.is_ipv4() == other.is_ipv4()
        {
            let what = format!("`address` has two of one kind: {one} and {other}");
            let allowed = "at most one IPv4 and one IPv6, more in another [[source]]".to_owned();
            problems.add(table.place("address"), what, Some(allowed));
        }
    }
    // One with problems of its own would be missed here as well.
    let all_read = tables.len() == document.count::<SourceTable>();
    if all_read && routes.len() == document.count::<Route>() {
        check_pools(&tables, routes, problems);
    }
    tables.into_iter().map(|(_, source)| source).collect()
}

fn check_pools(
    sources: &[(Table<'_>, SourceTable)],
    routes: &[(Table<'_>, Route)],
    problems: &mut Problems<'_>,
) {
    let mut pools: Vec<&str> = sources.iter().map(|(_, source)| source.pool.as_str()).collect();
    if pools.is_empty() {
        pools.push(POOL_DEFAULT);
    }
    pools.sort_unstable();
    pools.dedup();
    for (table, route) in routes.iter().filter(|(_, r)| !pools.contains(&r.pool.as_str())) {
        let what = format!("`pool` is \"{}\", which no [[source]] belongs to", route.pool);
        problems.add(table.place("pool"), what, Some(pools.join(", ")));
    }
    let all_routed = routes.iter().any(|(_, route)| route.domain == DomainPattern::Any);
    if let [(table, _), ..] = sources
        && !all_routed
        && !pools.contains(&POOL_DEFAULT)
    {
        let what =
            format!("no [[source]] is in pool \"{POOL_DEFAULT}\", that of mail without a route");
        let allowed = format!("one with pool = \"{POOL_DEFAULT}\", or a route for \"*\"");
        problems.add(table.place("pool"), what, Some(allowed));
    }
}

/// The providers of the document, then those of `file`, or the shipped ones.
pub fn all_providers(
    document: &Document<'_>,
    file: Option<&Path>,
    files: &Files<'_>,
    problems: &mut Problems<'_>,
) -> Vec<Provider> {
    let mut all = providers(document, problems);
    match file.map(files.providers) {
        None => all.extend_from_slice(shipped()),
        Some(Ok(found)) => all.extend(found),
        Some(Err(Unread::Content(found))) => problems.add_elsewhere(found),
        Some(Err(Unread::File(says))) => {
            let place = document.place("delivery", "providers_file").unwrap_or(0);
            problems.add(place, format!("`providers_file` {says}"), None);
        }
    }
    all
}

/// The providers of one file; each can be found.
pub fn providers(document: &Document<'_>, problems: &mut Problems<'_>) -> Vec<Provider> {
    let tables = document.many::<Provider>(problems);
    if let Some((table, _)) = tables.get(PROVIDERS_MAX) {
        let what = format!("`provider` is written {} times", tables.len());
        problems.add(table.place("name"), what, Some(format!("up to {PROVIDERS_MAX} times")));
        return Vec::new();
    }
    let mut names = Unique::new("name");
    let mut earlier: Vec<(Table<'_>, Provider)> = Vec::new();
    for (table, provider) in tables {
        names.check(provider.name.clone(), &provider.name, &table, problems);
        for pattern in &provider.mx {
            let by = earlier.iter().find(|(_, p)| p.mx.iter().any(|mx| mx.covers(pattern)));
            if let Some((first, by)) = by {
                let what = format!(
                    "`mx` {pattern} is never reached: \"{}\" in line {} matches first",
                    by.name,
                    problems.line_at(first.place("name"))
                );
                let allowed = "providers from the narrow to the wide, each host once".to_owned();
                problems.add(table.place("mx"), what, Some(allowed));
            }
        }
        earlier.push((table, provider));
    }
    earlier.into_iter().map(|(_, provider)| provider).collect()
}

/// For mail without a route and for each route: what it says, filled up from `[delivery]`.
pub fn relate_retries(
    document: &Document<'_>,
    delivery: &Delivery,
    routes: &[(Table<'_>, Route)],
    problems: &mut Problems<'_>,
) {
    for (less, more) in retry_relations(delivery, None) {
        let places = [&less, &more].map(|side| document.place(side.table, side.key));
        not_above_at(&less, &more, places, problems);
    }
    for (table, route) in routes {
        for (less, more) in retry_relations(delivery, Some(route)) {
            let places = [&less, &more].map(|side| table.written_at(side.key));
            not_above_at(&less, &more, places, problems);
        }
    }
}

/// The same for routes and a `[delivery]` that come from different files. What is wrong, if
/// anything is.
pub fn contradiction(delivery: &Delivery, routes: &[Route]) -> Option<String> {
    let mut relations = routes.iter().flat_map(|route| retry_relations(delivery, Some(route)));
    relations.find_map(|(less, more)| less.above(&more))
}

/// What must not be above what. Of a route those with a knob of its own only: the others are
/// `[delivery]`'s, and would be found wrong twice.
fn retry_relations(
    delivery: &Delivery,
    route: Option<&Route>,
) -> Vec<(Side<Duration>, Side<Duration>)> {
    let retries = Retries::of(delivery, route);
    let side = |key, own: fn(&Route) -> Option<Duration>, value| {
        let table = if route.and_then(own).is_some() { "route" } else { "delivery" };
        Side { table, key, value, show: show_period }
    };
    let first = || side("retry_first", |route| route.retry_first, retries.retry_first);
    let expiry = || side("expire_after", |route| route.expire_after, retries.expire_after);
    let longest = side("retry_max", |route| route.retry_max, retries.retry_max);
    let notice = retries.delay_notice_after;
    let notice =
        notice.map(|value| side("delay_notice_after", |route| route.delay_notice_after, value));
    let mut relations = vec![(first(), longest), (first(), expiry())];
    relations.extend(notice.map(|notice| (notice, expiry())));
    relations.retain(|(less, more)| route.is_none() || [less.table, more.table].contains(&"route"));
    relations
}
