//! Tables as read -> [`Config`], with the rules that relate one knob to another.
//!
//! Decides what a single knob cannot: a certificate needs its key, two peers cannot claim one
//! network, a route behind one that matches everything is never reached, a message must fit the
//! memory it passes through. What one knob may be is decided where it is declared.
//! Rules run on what was read without problems, so that one mistake is not reported twice.

use std::collections::HashMap;
use std::hash::Hash;

use super::check_egress;
use super::document::{Document, Table};
use super::form::HOST_NAME;
use super::inbound::{AccountTable, AuthMode, Limits, ListenerTable, ListenerTls, PeerTable};
use super::knob::Declared;
use super::outbound::{Delivery, Host, Route, RouteTls, Via};
use super::problem::Problems;
use super::process::{Admin, Disk, Memory, Top};
use super::settings::{Config, Files};
use super::tables::Tables;
use super::unit::{show_period, show_size};

/// `None` when anything that is needed could not be read; `problems` then says what.
pub fn config(
    document: &Document<'_>,
    machine_name: &str,
    files: &Files<'_>,
    problems: &mut Problems<'_>,
) -> Option<Config> {
    let top = document.top::<Top>(problems);
    let hostname = top.as_ref().and_then(|top| hostname(top, machine_name, problems));
    let listeners = listeners(document, files, problems);
    let peers = peers(document, problems);
    let accounts = accounts(document, problems);
    let routes = routes(document, &listeners, problems);
    let sources = check_egress::sources(document, &routes, problems);
    let dns = document.one(problems);
    let admin = document.one(problems);
    let log = document.one(problems);
    let limits = document.one(problems);
    let memory = document.one(problems);
    let disk: Option<Disk> = document.one(problems);
    let delivery: Option<Delivery> = document.one(problems);
    let providers_file = delivery.as_ref().and_then(|delivery| delivery.providers_file.as_deref());
    let providers = check_egress::all_providers(document, providers_file, files, problems);
    let filter = document.one(problems);
    if let (Some(limits), Some(memory)) = (&limits, &memory) {
        relate_sizes(document, limits, memory, problems);
    }
    if let (Some(disk), Some(memory)) = (&disk, &memory) {
        relate_disk(document, disk, memory, problems);
    }
    if let Some(limits) = &limits {
        relate_durations(document, limits, problems);
    }
    if let Some(delivery) = &delivery {
        check_egress::relate_retries(document, delivery, &routes, problems);
        let place = document.place("delivery", "trust_file").unwrap_or(0);
        files.check("trust_file", delivery.trust_file.as_ref(), place, problems);
    }
    if let Some(admin) = &admin {
        relate_admin(document, admin, &listeners, problems);
        let place = document.place("admin", "token_file").unwrap_or(0);
        files.check("token_file", admin.token_file.as_ref(), place, problems);
    }
    let tables = Tables {
        top: top?,
        listeners,
        peers,
        accounts,
        sources,
        routes: routes.into_iter().map(|(_, route)| route).collect(),
        providers,
        dns: dns?,
        admin: admin?,
        log: log?,
        limits: limits?,
        memory: memory?,
        disk: disk?,
        delivery: delivery?,
        filter: filter?,
    };
    Some(tables.resolve(hostname?))
}

fn hostname(top: &Top, machine_name: &str, problems: &mut Problems<'_>) -> Option<String> {
    if let Some(written) = &top.hostname {
        return Some(written.clone());
    }
    match HOST_NAME.parse(machine_name) {
        Ok(name) => Some(name),
        Err(says) => {
            let what = format!("`hostname` is not written, and the machine's own name {says}");
            problems.add(0, what, Some(HOST_NAME.allowed.to_owned()));
            None
        }
    }
}

fn listeners(
    document: &Document<'_>,
    files: &Files<'_>,
    problems: &mut Problems<'_>,
) -> Vec<ListenerTable> {
    let mut tables = document.many::<ListenerTable>(problems);
    if tables.is_empty() {
        let table = Table::absent(ListenerTable::SECTION);
        tables.extend(ListenerTable::read(&table, problems).map(|value| (table, value)));
    }
    let mut seen = Unique::new("address");
    let mut listeners = Vec::with_capacity(tables.len());
    for (table, listener) in tables {
        if listener.address.port() != 0 {
            seen.check(listener.address, &listener.address.to_string(), &table, problems);
        }
        let unusable = listener.tls == ListenerTls::None && !listener.auth_without_tls;
        if listener.auth == AuthMode::Required && unusable {
            let what = "`auth` is required but never offered on a listener without TLS".to_owned();
            let allowed = "tls = \"starttls\" or \"implicit\", or auth_without_tls = true";
            problems.add(table.place("auth"), what, Some(allowed.to_owned()));
        }
        for (key, path) in [("certificate", &listener.certificate), ("key", &listener.key)] {
            files.check(key, path.as_ref(), table.place(key), problems);
        }
        match (&listener.certificate, &listener.key) {
            (Some(_), Some(_)) | (None, None) => {}
            (Some(_), None) => add_unpaired("certificate", "key", &table, problems),
            (None, Some(_)) => add_unpaired("key", "certificate", &table, problems),
        }
        listeners.push(listener);
    }
    listeners
}

fn add_unpaired(written: &str, missing: &str, table: &Table<'_>, problems: &mut Problems<'_>) {
    let what = format!("`{written}` is written without `{missing}`");
    let allowed = "both or neither (one is made at start)".to_owned();
    problems.add(table.place(written), what, Some(allowed));
}

fn peers(document: &Document<'_>, problems: &mut Problems<'_>) -> Vec<PeerTable> {
    let mut seen = Unique::new("network");
    let mut peers = Vec::new();
    for (table, peer) in document.many::<PeerTable>(problems) {
        seen.check(peer.network, &peer.network.to_string(), &table, problems);
        if peer.network.is_wide() && !peer.i_know {
            let what = format!(
                "`network` is {}: everyone in it may relay without logging in, which makes this \
                 an open relay",
                peer.network
            );
            let allowed = "/8 or longer for IPv4, /16 or longer for IPv6, or i_know = true here";
            problems.add(table.place("network"), what, Some(allowed.to_owned()));
        }
        peers.push(peer);
    }
    peers
}

fn accounts(document: &Document<'_>, problems: &mut Problems<'_>) -> Vec<AccountTable> {
    let mut seen = Unique::new("name");
    let mut accounts = Vec::new();
    for (table, account) in document.many::<AccountTable>(problems) {
        seen.check(account.name.clone(), &account.name, &table, problems);
        accounts.push(account);
    }
    accounts
}

fn routes<'d>(
    document: &'d Document<'_>,
    listeners: &[ListenerTable],
    problems: &mut Problems<'_>,
) -> Vec<(Table<'d>, Route)> {
    let mut earlier: Vec<(Table<'d>, Route)> = Vec::new();
    for (table, route) in document.many::<Route>(problems) {
        if let Some((first, by)) = earlier.iter().find(|(_, r)| r.domain.covers(&route.domain)) {
            let what = format!(
                "`domain` {} is never reached: {} in line {} matches first",
                route.domain,
                by.domain,
                problems.line_at(first.place("domain"))
            );
            let allowed = "routes from the narrow to the wide, each once".to_owned();
            problems.add(table.place("domain"), what, Some(allowed));
        }
        if let Via::Hosts(hosts) = &route.via
            && let Some(own) = listeners.iter().find(|l| hosts.contains(&Host::Address(l.address)))
        {
            let own = own.address;
            let what =
                format!("`via` has {own}, a listener of this relay: mail would go in circles");
            problems.add(table.place("via"), what, None);
        }
        if route.tls == RouteTls::None && route.tls_name.is_some() {
            let what = "`tls_name` is the name in a certificate, and `tls` is \"none\"";
            let allowed = "tls_name with any other value of tls".to_owned();
            problems.add(table.place("tls_name"), what.to_owned(), Some(allowed));
        }
        earlier.push((table, route));
    }
    earlier
}

/// A message that is allowed in must fit every budget it passes through, or it waits for ever.
fn relate_sizes(
    document: &Document<'_>,
    limits: &Limits,
    memory: &Memory,
    problems: &mut Problems<'_>,
) {
    for (message, budget) in sizes(limits, memory) {
        not_above(&message, &budget, document, problems);
    }
}

/// The same for bounds and budgets that come from different files. What is wrong, if anything is.
pub fn oversize(limits: &Limits, memory: &Memory) -> Option<String> {
    sizes(limits, memory).iter().find_map(|(message, budget)| message.above(budget))
}

/// A message and each budget that it must not be above.
fn sizes(limits: &Limits, memory: &Memory) -> [(Side<u64>, Side<u64>); 2] {
    let budgets = [
        ("inflight_bytes_max", memory.inflight_bytes_max),
        ("commit_bytes_max", memory.commit_bytes_max),
    ];
    budgets.map(|(key, value)| {
        let message = Side {
            table: "limits",
            key: "message_bytes_max",
            value: limits.message_bytes_max,
            show: show_size,
        };
        (message, Side { table: "memory", key, value, show: show_size })
    })
}

/// When acceptance stops, what is in memory must still fit on the disk: a flush that finds no room
/// fails the store. Twice, for the log that is made meanwhile.
fn relate_disk(document: &Document<'_>, disk: &Disk, memory: &Memory, problems: &mut Problems<'_>) {
    let needed = disk.memtable_bytes.saturating_mul(2).saturating_add(memory.commit_bytes_max);
    if disk.free_bytes_min < needed {
        let place = ["free_bytes_min", "memtable_bytes"].map(|key| document.place("disk", key));
        let what = format!(
            "disk.free_bytes_min ({}) is less than what may still have to be written",
            show_size(disk.free_bytes_min)
        );
        let least = show_size(needed);
        let allowed = format!("{least} or more: twice memtable_bytes and memory.commit_bytes_max");
        problems.add(place.into_iter().flatten().next().unwrap_or(0), what, Some(allowed));
    }
}

fn relate_durations(document: &Document<'_>, limits: &Limits, problems: &mut Problems<'_>) {
    let side = |key, value| Side { table: "limits", key, value, show: show_period };
    let session = side("session_duration_max", limits.session_duration_max);
    let message = side("message_duration_max", limits.message_duration_max);
    not_above(&message, &session, document, problems);
}

fn relate_admin(
    document: &Document<'_>,
    admin: &Admin,
    listeners: &[ListenerTable],
    problems: &mut Problems<'_>,
) {
    let taken = listeners.iter().any(|listener| listener.address == admin.address);
    if taken && admin.address.port() != 0 {
        let place = document.place("admin", "address").unwrap_or(0);
        let what = format!("[admin] `address` {} is also a listener's", admin.address);
        problems.add(place, what, Some("an address of its own".to_owned()));
    }
}

/// One knob of a relation.
pub(super) struct Side<T> {
    pub table: &'static str,
    pub key: &'static str,
    pub value: T,
    pub show: fn(T) -> String,
}

impl<T: PartialOrd + Copy> Side<T> {
    fn shown(&self) -> String {
        format!("{}.{} ({})", self.table, self.key, (self.show)(self.value))
    }

    /// Says so when this is above `more`.
    pub fn above(&self, more: &Side<T>) -> Option<String> {
        let above = self.value > more.value;
        above.then(|| format!("{} is above {}", self.shown(), more.shown()))
    }
}

/// Adds a problem when `less` is above `more`, at the first of the two that is written; the
/// defaults agree, so one is.
fn not_above<T: PartialOrd + Copy>(
    less: &Side<T>,
    more: &Side<T>,
    document: &Document<'_>,
    problems: &mut Problems<'_>,
) {
    let place = |side: &Side<T>| document.place(side.table, side.key);
    not_above_at(less, more, [place(less), place(more)], problems);
}

/// The same with the places where the two are written, if they are.
pub(super) fn not_above_at<T: PartialOrd + Copy>(
    less: &Side<T>,
    more: &Side<T>,
    places: [Option<usize>; 2],
    problems: &mut Problems<'_>,
) {
    let Some(what) = less.above(more) else {
        return;
    };
    let place = places.into_iter().flatten().next().unwrap_or(0);
    let allowed = format!("{} up to {}", less.key, more.key);
    problems.add(place, what, Some(allowed));
}

/// Finds values of one key that occur in two tables.
pub(super) struct Unique<T> {
    key: &'static str,
    /// Value -> the place where it was first seen.
    seen: HashMap<T, usize>,
}

impl<T: Eq + Hash> Unique<T> {
    pub fn new(key: &'static str) -> Self {
        Unique { key, seen: HashMap::new() }
    }

    pub fn check(&mut self, value: T, shown: &str, table: &Table<'_>, problems: &mut Problems<'_>) {
        let place = table.place(self.key);
        if let Some(first) = self.seen.get(&value) {
            let line = problems.line_at(*first);
            let what = format!("`{}` {shown} is in line {line} already", self.key);
            problems.add(place, what, Some("each once".to_owned()));
            return;
        }
        self.seen.insert(value, place);
    }
}
