//! Makes a `Run` of a report from what was seen: the books, the latencies, the costs, the curves.
//!
//! A pair that was not delivered and is not in a notice may still be with the relay. Relays name
//! the recipients that wait, not our serials, so these are matched by address, each as often as it
//! was named. What a relay's log says it gave up counts as bounced only after that, and a note says
//! so: it is the relay's word. What is left is missing.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use super::course::{Drained, Seen, Usage};
use super::scenario::{Course, Receivers, WarmUp};
use super::series;
use super::stage::{Purpose, Stage, run_id};
use super::waiting::Held;
use crate::balance::{self, Books, Elsewhere, Limits};
use crate::error::Error;
use crate::ledger;
use crate::progress::{Received, Sent, Since};
use crate::report::model::{Balance, Cost, Latency, Run};

/// What the sink calls a message that it took and did not answer.
const DROPPED_TAKEN: &str = "dropped-taken";

/// Ends the sink and adds everything up. The relay must still run, it is asked what it holds.
pub fn collect(stage: &mut Stage<'_>, mut seen: Seen, held: Held) -> Result<Run, Error> {
    let waiting = waiting(stage)?;
    let willing = stage.turn.plan.receivers.take_everything();
    // Its log may be long.
    let given_up = if willing { Vec::new() } else { stage.relay.given_up() };
    let in_queue = held.count(&stage.relay)?;
    stage.sink.stop(stage.turn.watch);
    let asked = queries(stage);
    stage.turn.watch.check()?;
    let received = stage.sink.received()?;
    let sink_ticks = std::mem::take(&mut stage.sink.told().ticks);

    let mut books = read_books(stage)?;
    settle(&mut books, waiting, Elsewhere::Queued);
    let by_word = settle(&mut books, given_up, Elsewhere::Bounced);
    if by_word > 0 {
        seen.notes.push(format!(
            "{by_word} of the bounced are known from the relay's log alone: their notices did not \
             reach the sink"
        ));
    }
    let mut balance = balance(&books.balance()?, again_max(stage, &received)?, seen.sent.sent);
    seen.failures.extend(strangers(&received));
    seen.failures.extend(unwilling(stage.turn.plan.receivers, seen.drained, &balance, &received));
    balance.holds &= seen.failures.is_empty();
    balance.examples.append(&mut seen.failures);
    held.enter(in_queue, &mut balance);
    let relayed = books.whole_messages();
    let last = received.last_us.map_or(seen.over, Duration::from_micros);
    let seconds = last.saturating_sub(seen.start).as_secs_f64();
    if stage.turn.plan.course == Course::Backlog {
        seen.notes.push(backlog_note(&seen.sent, last.saturating_sub(seen.drain_start)));
    }
    let mut notes = stage.relay.notes();
    notes.extend(held.note());
    notes.extend(asked);
    notes.extend(drain_note(seen.drained));
    if received.secured > 0 && received.secured < received.sessions {
        let Received { secured, sessions, .. } = received;
        notes.push(format!("{secured} of the {sessions} sessions with the sink were encrypted"));
    }
    notes.extend(seen.sent.first_refusal.iter().map(|text| format!("first refusal: {text}")));
    notes.append(&mut seen.notes);
    let turn = stage.turn;
    Ok(Run {
        scenario: turn.scenario.name(),
        round: turn.round,
        relay: stage.relay.told(),
        load: load(stage),
        seconds,
        relayed_per_s: if seconds > 0.0 { relayed as f64 / seconds } else { 0.0 },
        accept: Latency {
            from: since(seen.sent.latency_from, "final dot").to_owned(),
            ms: seen.sent.latency_ms,
            buckets: seen.sent.latency_buckets.clone(),
        },
        end_to_end: end_to_end(&received, seen.sent.latency_from),
        fsyncs_per_message: seen.syncs.map(|syncs| syncs as f64 / each(seen.sent.accepted)),
        costs: costs(stage, &seen, relayed),
        series: series::lay_out(&seen, last, &sink_ticks),
        balance,
        notes,
    })
}

/// Ends the DNS server, which then says what it was asked.
fn queries(stage: &mut Stage<'_>) -> Option<String> {
    let dns = stage.dns.as_mut()?;
    dns.stop(stage.turn.watch);
    let said = dns.said("dns:")?;
    let queries = said.split(' ').find_map(|word| word.strip_prefix("queries="))?;
    Some(format!("dns: {queries} queries, those of the warm-up included"))
}

/// What the relay still holds; only asked for when something has not arrived.
fn waiting(stage: &Stage<'_>) -> Result<Vec<String>, Error> {
    let books = read_books(stage)?;
    let domain = |recipient: &str| Some(recipient.rsplit_once('@')?.1.to_owned());
    let domains: BTreeSet<String> =
        books.outstanding().filter_map(|(_, recipient)| domain(recipient)).collect();
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    stage.relay.waiting(&domains.into_iter().collect::<Vec<_>>())
}

fn read_books(stage: &Stage<'_>) -> Result<Books, Error> {
    let mut books = Books::default();
    books.read_sent(&stage.file("sent"))?;
    books.read_delivered(&stage.file("delivered"))?;
    let bounced = stage.file("bounced");
    if bounced.exists() {
        read_bounced(&mut books, &bounced)?;
    }
    // A relay may deliver one of the warm-up again.
    books.forget(&format!("{}-", run_id(stage.turn, Purpose::WarmUp)));
    Ok(books)
}

/// What notices say: serial and recipient, or the recipient alone where a notice did not bring the
/// header of its message.
fn read_bounced(books: &mut Books, path: &Path) -> Result<(), Error> {
    let mut nameless = Vec::new();
    ledger::read(path, |fields| {
        match fields {
            ["-", recipient] => nameless.push((*recipient).to_owned()),
            [serial, recipient] => books.settle(serial, recipient, Elsewhere::Bounced),
            _ => return None,
        }
        Some(())
    })?;
    settle(books, nameless, Elsewhere::Bounced);
    Ok(())
}

/// Books outstanding pairs whose address is named; returns how many.
fn settle(books: &mut Books, named: Vec<String>, elsewhere: Elsewhere) -> u64 {
    if named.is_empty() {
        return 0;
    }
    // Relays may write domains in lower case.
    let mut open: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for (serial, recipient) in books.outstanding() {
        let pairs = open.entry(recipient.to_lowercase()).or_default();
        pairs.push((serial.to_owned(), recipient.to_owned()));
    }
    let mut settled = 0;
    for address in named {
        let pairs = open.get_mut(&address.to_lowercase());
        if let Some((serial, recipient)) = pairs.and_then(Vec::pop) {
            books.settle(&serial, &recipient, elsewhere);
            settled += 1;
        }
    }
    settled
}

/// What the relay made up, or sent to the wrong place.
fn strangers(received: &Received) -> Vec<String> {
    let Received { foreign, notices, astray, .. } = *received;
    let mut failures = Vec::new();
    let unknown = foreign.saturating_sub(notices + astray);
    if unknown > 0 {
        failures.push(format!("the sink took {unknown} messages that nobody sent"));
    }
    if astray > 0 {
        failures.push(format!("{astray} notices came to another than the sender"));
    }
    failures
}

/// What cannot be with receivers that take everything, unless the relay is at fault.
fn unwilling(
    receivers: Receivers,
    drained: Drained,
    balance: &Balance,
    received: &Received,
) -> Vec<String> {
    let mut failures = Vec::new();
    if !receivers.take_everything() {
        return failures;
    }
    let Balance { queued, bounced, .. } = *balance;
    if queued > 0 && matches!(drained, Drained::Stalled(_) | Drained::Time(_)) {
        failures.push(format!("the relay still held {queued} that the receivers would have taken"));
    }
    if bounced > 0 {
        failures.push(format!("the relay bounced {bounced} that the receivers would have taken"));
    }
    if receivers == Receivers::Encrypting && received.sessions > 0 && received.secured == 0 {
        failures.push("the relay encrypted none of its sessions with the sink".to_owned());
    }
    failures
}

/// Deliveries that may come again: a relay whose connection ends before the answer cannot know that
/// all recipients of the message have it.
fn again_max(stage: &Stage<'_>, received: &Received) -> Result<u64, Error> {
    match received.behaviours.get(DROPPED_TAKEN) {
        Some(messages) => Ok(messages * most_recipients(&stage.file("sent"))?),
        None => Ok(0),
    }
}

/// Recipients of the message that has most; its lines in the ledger are together.
fn most_recipients(sent: &Path) -> Result<u64, Error> {
    let (mut serial, mut count, mut most) = (String::new(), 0, 0);
    ledger::read(sent, |fields| {
        let this = *fields.first()?;
        if this != serial {
            serial.replace_range(.., this);
            count = 0;
        }
        count += 1;
        most = most.max(count);
        Some(())
    })?;
    Ok(most)
}

/// Of the messages that waited together until the receivers came back.
fn backlog_note(sent: &Sent, drain: Duration) -> String {
    let (fill, drain) = (sent.seconds.max(1e-9), drain.as_secs_f64().max(1e-9));
    let messages = sent.accepted as f64;
    format!(
        "backlog: filled in {fill:.1} s ({:.0} messages/s), drained in {drain:.1} s ({:.0} \
         messages/s) after the receivers came back and the relay was told to try again",
        messages / fill,
        messages / drain
    )
}

fn balance(counted: &balance::Balance, again_max: u64, messages_sent: u64) -> Balance {
    let limits =
        Limits { duplicates_max: again_max, contradicted_max: again_max, unexpected_max: 0 };
    Balance {
        messages_sent,
        accepted: counted.sent250,
        refused: counted.refused,
        unknown: counted.unknown,
        delivered: counted.delivered,
        bounced: counted.bounced,
        queued: counted.queued,
        missing: counted.missing,
        duplicates: counted.duplicates,
        corrupt: counted.corrupt,
        contradicted: counted.contradicted,
        unexpected: counted.unexpected,
        holds: counted.holds(limits),
        examples: counted.examples.clone(),
    }
}

fn load(stage: &Stage<'_>) -> Vec<(String, String)> {
    let turn = stage.turn;
    let mut load = turn.plan.load();
    if let super::stage::Rate::PerSecond(rate) = turn.rate {
        load.push(("open loop".to_owned(), format!("{rate:.0} messages/s")));
    }
    let warm_up = turn.plan.warm_up_messages();
    if warm_up > 0 {
        let whom = match turn.plan.warm_up {
            WarmUp::Nothing | WarmUp::Strangers => "",
            WarmUp::Everybody => " to every domain from every sender",
        };
        let words = format!("{warm_up} messages{whom}, after which the receivers start anew");
        load.push(("warm-up".to_owned(), words));
    }
    load
}

fn end_to_end(received: &Received, since_sent: Since) -> Latency {
    Latency {
        from: since(since_sent, "start of the message").to_owned(),
        ms: received.latency_ms,
        buckets: received.latency_buckets.clone(),
    }
}

fn since(since: Since, closed_loop: &'static str) -> &'static str {
    match since {
        Since::FinalDot => closed_loop,
        Since::Due => "time it was due",
    }
}

fn costs(stage: &mut Stage<'_>, seen: &Seen, relayed: u64) -> Vec<Cost> {
    let sink = Usage { cpu: stage.sink.cpu(), memory_peak: seen.sink_memory_peak };
    let mut programs = Vec::new();
    if let (Some(first), Some(last)) = (seen.relay.first(), seen.relay.last()) {
        let cpu = last.cpu.saturating_sub(first.cpu);
        let peak = seen.relay.iter().map(|sample| sample.memory).max().unwrap_or(0);
        programs.push(("relay", Usage { cpu, memory_peak: peak }));
    }
    programs.extend([("source", seen.source), ("sink", sink)]);
    programs.extend(seen.dns.map(|dns| ("dns", dns)));
    let cost = |(program, usage): (&str, Usage)| Cost {
        program: program.to_owned(),
        cpu_us_per_message: us(usage.cpu) / each(relayed),
        memory_peak_bytes: usage.memory_peak,
    };
    programs.into_iter().map(cost).collect()
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A count to divide by.
fn each(count: u64) -> f64 {
    count.max(1) as f64
}

fn drain_note(drained: Drained) -> Option<String> {
    match drained {
        Drained::Everything => None,
        Drained::Queue => {
            Some("not all was delivered, and the relay has nothing more to deliver".to_owned())
        }
        Drained::Stalled(time) => {
            Some(format!("the drain was ended when nothing had arrived for {} s", time.as_secs()))
        }
        Drained::Time(time) => {
            Some(format!("the drain was ended after {} s, as the scenario has it", time.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A file of this test with these lines, for as long as `use_it` runs.
    fn with_file<T>(lines: &str, use_it: impl FnOnce(&Path) -> T) -> T {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("baton-load-collect-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, lines).unwrap();
        let done = use_it(&path);
        std::fs::remove_file(&path).unwrap();
        done
    }

    fn books() -> Books {
        let mut books = Books::default();
        let sent = "r-1\ta@x\t250\nr-2\ta@x\t250\nr-3\tb@X\t250\n";
        with_file(sent, |path| books.read_sent(path)).unwrap();
        books
    }

    #[test]
    fn an_address_settles_as_many_pairs_as_it_is_named() {
        let mut books = books();
        let named = ["A@X", "nobody@x"].map(str::to_owned).to_vec();
        assert_eq!(settle(&mut books, named, Elsewhere::Queued), 1);
        let balance = books.balance().unwrap();
        assert_eq!((balance.queued, balance.missing), (1, 2));
        let named = ["a@x", "a@x", "b@x"].map(str::to_owned).to_vec();
        assert_eq!(settle(&mut books, named, Elsewhere::Bounced), 2);
        let balance = books.balance().unwrap();
        // The second time that address was named, nothing of it was open any more.
        assert_eq!((balance.queued, balance.bounced, balance.missing), (1, 2, 0));
    }

    #[test]
    fn a_message_comes_again_for_all_its_recipients() {
        let sent = "r-1\ta@x\t250\nr-2\ta@x\t250\nr-2\tb@x\t250\nr-3\tb@x\t250\n";
        assert_eq!(with_file(sent, most_recipients).unwrap(), 2);
        assert_eq!(with_file("", most_recipients).unwrap(), 0);
    }

    #[test]
    fn notices_name_pairs_or_recipients_alone() {
        let mut books = books();
        let lines = "-\ta@x\nr-2\ta@x\n";
        with_file(lines, |path| read_bounced(&mut books, path)).unwrap();
        let balance = books.balance().unwrap();
        assert_eq!((balance.bounced, balance.missing), (2, 1));
        let bad = with_file("r-2\n", |path| read_bounced(&mut books, path)).unwrap_err();
        assert!(bad.to_string().contains(":1: not a ledger line"), "{bad}");
    }
}
