//! Does the generator find what a relay does wrong? `send`, `sink` and `balance` around a relay
//! that harms one message among many ([`FaultyRelay`]).
//!
//! Each load goes through a healthy relay as well, which must balance: an alarm that always rings
//! would prove nothing. No duration is asserted but those that a real wait in the relay makes
//! certain from below; what is at most is asserted of counts.

use std::time::Duration;

use serde_json::Value;

use super::faulty_relay::{Fault, FaultyRelay};
use super::{Scratch, Server, run};

/// What a relay waits where it waits; reports must then show a second at the least.
const WAIT: Duration = Duration::from_millis(1_100);

/// What became of one load.
struct Trial {
    /// The last line of `send --progress`.
    sent: Value,
    /// The last line of `sink --progress`.
    received: Value,
    balance: String,
    /// Exit code of `balance`, duplicates allowed or not.
    code: i32,
    code_without_duplicates: i32,
    harmed: Vec<String>,
    stalled: u64,
}

impl Trial {
    fn new(name: &str, fault: Fault, load: &[&str]) -> Trial {
        let scratch = Scratch::new(&format!("faulty-{name}"));
        let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
        let bounced = scratch.path("bounced");
        let files = ["--ledger", &delivered, "--bounces", &bounced];
        let sink = Server::start("sink", &[&files[..], &["--progress"]].concat());
        let relay = FaultyRelay::start(sink.address.parse().unwrap(), fault);
        let address = relay.address.to_string();
        let common = ["send", "--to", &address, "--ledger", &sent, "--run-id", "t", "--progress"];
        let (output, code) = run(&[&common[..], load].concat());
        assert_eq!(code, 0, "whatever the relay does, it answers: {output}");
        relay.drain();
        let received = last(&sink.end(), "received");
        let books = ["balance", "--sent", &sent, "--delivered", &delivered, "--bounced", &bounced];
        let (balance, code) = run(&[&books[..], &["--duplicates-max", "9"]].concat());
        let (again, code_without_duplicates) = run(&books);
        assert_eq!(balance, again);
        let (harmed, stalled) = (relay.harmed(), relay.stalled());
        let sent = last(&output, "sent");
        Trial { sent, received, balance, code, code_without_duplicates, harmed, stalled }
    }

    /// The same load through a relay with a fault, after one without any was in balance.
    fn after_control(name: &str, fault: Fault, load: &[&str]) -> Trial {
        let healthy = Trial::new(&format!("{name}-control"), Fault::None, load);
        assert_eq!(healthy.code_without_duplicates, 0, "{}", healthy.balance);
        assert_eq!(healthy.code, 0);
        assert!(healthy.harmed.is_empty());
        for word in ["duplicates", "missing", "corrupt", "contradicted", "unexpected", "foreign"] {
            assert_eq!(healthy.count(word), 0, "{}", healthy.balance);
        }
        assert_eq!(healthy.count("delivered"), healthy.count("sent250"));
        assert!(!healthy.balance.contains("\n  "), "nobody is named: {}", healthy.balance);
        Trial::new(name, fault, load)
    }

    fn count(&self, word: &str) -> u64 {
        let line = self.balance.lines().find_map(|line| line.strip_prefix(&format!("{word} ")));
        line.expect(&self.balance).parse().unwrap()
    }

    /// What the balance says of single messages, in its order.
    fn named(&self) -> Vec<&str> {
        self.balance.lines().filter_map(|line| line.strip_prefix("  ")).collect()
    }

    /// Whether the balance tells of those who came to harm, with this word, and of nobody else.
    fn names(&self, word: &str) -> bool {
        let mut harmed = self.harmed.clone();
        harmed.sort();
        let is_told = |(told, harmed): (&&str, &String)| {
            let rest = told.strip_prefix(&format!("{word} {harmed}"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let told = self.named();
        told.len() == harmed.len() && told.iter().zip(&harmed).all(is_told)
    }
}

/// What the last line of `output` says of `kind`.
fn last(output: &str, kind: &str) -> Value {
    let line: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    line.get(kind).unwrap_or_else(|| panic!("{line}")).clone()
}

/// Latencies of at least `ms` milliseconds in a summary.
fn at_least(summary: &Value, ms: u64) -> u64 {
    let buckets = summary["latency_buckets"].as_array().unwrap();
    // A bucket is named after its highest value.
    let long = buckets.iter().filter(|bucket| bucket[0].as_u64().unwrap() >= ms * 1_000);
    long.map(|bucket| bucket[1].as_u64().unwrap()).sum()
}

fn latency(summary: &Value, which: &str) -> f64 {
    summary["latency_ms"][which].as_f64().unwrap()
}

const USUAL: &[&str] =
    &["--messages", "400", "--sessions", "8", "--size", "1500", "--pipelining", "--chunking"];

#[test]
fn one_message_lost_in_ten_thousand_is_found() {
    let load = &["--messages", "20000", "--sessions", "50", "--size", "700"][..];
    let load = [load, &["--pipelining", "--chunking"]].concat();
    let trial = Trial::after_control("drop", Fault::DropEvery(10_000), &load);
    assert_eq!((trial.code, trial.count("missing"), trial.harmed.len()), (1, 2, 2));
    assert_eq!((trial.count("sent250"), trial.count("delivered")), (20_000, 19_998));
    assert!(trial.names("missing"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn a_message_that_comes_twice_is_found_and_allowed_or_not() {
    let trial = Trial::after_control("twice", Fault::DeliverTwice(77), USUAL);
    assert_eq!((trial.code, trial.code_without_duplicates), (0, 1));
    assert_eq!((trial.count("duplicates"), trial.count("missing")), (1, 0));
    assert!(trial.names("duplicate"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn a_notice_of_what_was_delivered_is_found() {
    let trial = Trial::after_control("bounced-too", Fault::BounceToo(77), USUAL);
    let counts = ["delivered", "bounced", "contradicted"].map(|word| trial.count(word));
    assert_eq!((trial.code, counts), (1, [400, 0, 1]), "{}", trial.balance);
    assert_eq!(trial.received["notices"], 1);
    assert!(trial.names("contradicted"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn a_damaged_body_is_found() {
    let faults = [("flip", Fault::FlipByte(77)), ("cut", Fault::CutShort(77))];
    for (name, fault) in faults {
        let trial = Trial::after_control(name, fault, USUAL);
        assert_eq!(
            (trial.code, trial.count("corrupt"), trial.count("missing")),
            (1, 1, 0),
            "{name}"
        );
        assert_eq!(trial.received["corrupt"], 1);
        assert!(trial.names("corrupt"), "{}, harmed: {:?}", trial.balance, trial.harmed);
    }
}

#[test]
fn a_damaged_header_is_found() {
    let faults = [("header", Fault::FlipHeader(77)), ("no-header", Fault::DropHeader(77))];
    for (name, fault) in faults {
        let trial = Trial::after_control(name, fault, USUAL);
        let counts = ["corrupt", "missing", "delivered"].map(|word| trial.count(word));
        assert_eq!((trial.code, counts), (1, [1, 0, 400]), "{name}");
        assert!(trial.names("corrupt"), "{}, harmed: {:?}", trial.balance, trial.harmed);
    }
}

#[test]
fn two_messages_under_each_others_sender_are_found() {
    // As many as messages, so that any two have different ones.
    let load = [USUAL, &["--senders", "400"]].concat();
    let trial = Trial::after_control("senders", Fault::SwapSenders(77), &load);
    assert_eq!((trial.code, trial.count("corrupt"), trial.count("missing")), (1, 2, 0));
    assert_eq!(trial.received["corrupt"], 2);
    assert!(trial.names("corrupt"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

/// Its sender heard nothing, so it is as lost as one without a notice.
#[test]
fn a_notice_to_somebody_else_settles_nothing() {
    let trial = Trial::after_control("astray", Fault::BounceAstray(77), USUAL);
    assert_eq!((trial.code, trial.count("missing"), trial.count("bounced")), (1, 1, 0));
    assert_eq!((&trial.received["astray"], &trial.received["notices"]), (&1.into(), &0.into()));
    assert!(trial.names("missing"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn two_bodies_under_each_others_header_are_found() {
    // By DATA, so that both ways in are gone.
    let load = &["--messages", "400", "--sessions", "8", "--size", "1500", "--pipelining"];
    let trial = Trial::after_control("swap", Fault::SwapBodies(77), load);
    assert_eq!((trial.code, trial.count("corrupt"), trial.count("missing")), (1, 2, 0));
    assert!(trial.names("corrupt"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn a_delivery_to_somebody_else_is_found_at_both_ends() {
    let trial = Trial::after_control("wrong", Fault::WrongRecipient(77), USUAL);
    assert_eq!((trial.code, trial.count("missing"), trial.count("unexpected")), (1, 1, 1));
    let pair = &trial.harmed[0];
    let serial = pair.split(' ').next().unwrap();
    let expected = [format!("missing {pair}"), format!("unexpected {serial} somebody@else.test")];
    assert_eq!(trial.named(), expected);
}

#[test]
fn recipients_that_are_silently_not_served_are_found_one_by_one() {
    let load = ["--messages", "40", "--sessions", "4", "--recipients", "3", "--domains", "20"];
    let trial = Trial::after_control("discard", Fault::Discard("@d7.x.test"), &load);
    // 120 recipients over 20 domains.
    assert_eq!((trial.code, trial.count("missing"), trial.count("delivered")), (1, 6, 114));
    assert!(trial.names("missing"), "{}, harmed: {:?}", trial.balance, trial.harmed);
}

#[test]
fn a_late_delivery_is_in_balance_and_shows_in_the_sink() {
    let trial = Trial::after_control("late", Fault::Late(77, WAIT), USUAL);
    assert_eq!((trial.code_without_duplicates, trial.named().len()), (0, 0), "{}", trial.balance);
    let received = &trial.received;
    assert!(latency(received, "max") >= 1_000.0, "{received}");
    assert!(at_least(received, 1_000) >= 1, "{received}");
    // Each is in the report once, the late one too.
    assert_eq!((at_least(received, 0), trial.count("delivered")), (400, 400));
}

/// A stall of 1.1 s in a schedule of 200 messages a second. The k-th message behind the one that
/// began it was due k/200 s later at the latest, and was not answered before its end: it shows at
/// least 1.1 - k/200 s, on any machine. So a hundred show half a second, with 20 sessions.
#[test]
fn an_open_loop_shows_a_stall_to_everybody_who_was_due() {
    let load = ["--rate", "200", "--messages", "600", "--sessions", "20", "--pipelining"];
    let trial = Trial::after_control("open", Fault::Stall(100, WAIT), &load);
    assert_eq!(trial.code_without_duplicates, 0, "nothing is lost: {}", trial.balance);
    let sent = &trial.sent;
    assert_eq!(sent["latency_from"], "due");
    assert_eq!(at_least(sent, 0), 600);
    assert!(at_least(sent, 500) >= 100, "{sent}");
    assert!(latency(sent, "max") >= 1_000.0, "{sent}");
    assert!(latency(sent, "p99.9") >= 1_000.0, "{sent}");
    assert!(latency(sent, "p99") >= 950.0, "{sent}");
    assert!(latency(sent, "p90") >= 500.0, "{sent}");
}

/// In a closed loop nobody sends during a stall: it happens to one message of each session and to
/// no other, however long it is. That is less than one in a hundred here, so no percentile up to
/// the 99th owes anything to it.
#[test]
fn a_closed_loop_hides_a_stall_from_all_but_its_sessions() {
    let load = ["--messages", "600", "--sessions", "4", "--pipelining", "--chunking"];
    let trial = Trial::after_control("closed", Fault::Stall(100, WAIT), &load);
    assert_eq!(trial.code_without_duplicates, 0, "nothing is lost: {}", trial.balance);
    let sent = &trial.sent;
    assert_eq!(sent["latency_from"], "final-dot");
    assert_eq!(at_least(sent, 0), 600);
    assert!((1..=4).contains(&trial.stalled), "{}", trial.stalled);
    assert!(trial.stalled * 100 < 600);
    assert!(at_least(sent, 1_000) >= 1 && latency(sent, "max") >= 1_000.0, "{sent}");
}

/// The first message is due at once, and the hundredth 10 ms before the end of the schedule. What the
/// stall held up was due all the same, and is sent after it.
#[test]
fn an_open_loop_sends_what_was_due_before_its_time_was_over() {
    let load = ["--rate", "100", "--duration-s", "1", "--sessions", "2"];
    let trial = Trial::after_control("arrears", Fault::Stall(80, WAIT), &load);
    let sent = &trial.sent;
    assert_eq!((&sent["sent"], &sent["accepted"]), (&Value::from(100), &Value::from(100)));
    assert_eq!((&sent["never_sent"], &sent["finish"]), (&Value::from(0), &Value::from("whole")));
    assert_eq!(trial.count("delivered"), 100);
    // The last 21 were answered at 1.89 s at the earliest, and due by 0.99 s.
    assert!(at_least(sent, 900) >= 20, "{sent}");
}

#[test]
fn what_was_due_and_never_sent_is_counted_and_a_failure() {
    let sink = Server::start("sink", &[]);
    let fault = Fault::Stall(80, Duration::from_secs(60));
    let relay = FaultyRelay::start(sink.address.parse().unwrap(), fault);
    let address = relay.address.to_string();
    let common = ["send", "--to", &address, "--progress", "--stall-s", "3", "--sessions", "2"];
    let (output, code) = run(&[&common[..], &["--rate", "100", "--duration-s", "1"]].concat());
    let sent = last(&output, "sent");
    let count = |name: &str| sent[name].as_u64().unwrap();
    assert_eq!((code, &sent["finish"]), (1, &Value::from("stalled")), "{sent}");
    assert_eq!((count("accepted"), count("unknown")), (79, 2), "{sent}");
    assert_eq!(count("sent") + count("never_sent"), 100, "{sent}");
    // Who was kept waiting and never answered is not left out.
    assert_eq!(at_least(&sent, 0), 81, "{sent}");
    assert!(at_least(&sent, 900) >= 2, "{sent}");
}

#[test]
fn refusals_are_no_accept_latencies() {
    for pressure in [&["--pipelining"][..], &["--rate", "2000"]] {
        let load = [&["--messages", "300", "--sessions", "4"], pressure].concat();
        let trial = Trial::after_control("refusals", Fault::RefuseEvery(3), &load);
        let sent = &trial.sent;
        let refusals = sent["refusal_latency_buckets"].as_array().unwrap();
        let refused: u64 = refusals.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
        assert_eq!((at_least(sent, 0), refused), (200, 100), "{sent}");
        assert_eq!((trial.code, trial.count("refused")), (0, 100), "{}", trial.balance);
    }
}

/// Without a bound this test would not end.
#[test]
fn a_server_that_is_silent_after_a_message_holds_up_nobody_for_long() {
    let sink = Server::start("sink", &[]);
    for (unheard, answer) in [("QUIT", "accepted"), ("RSET", "deferred")] {
        let relay = FaultyRelay::start(sink.address.parse().unwrap(), Fault::Deaf(unheard));
        let address = relay.address.to_string();
        let common = ["send", "--to", &address, "--progress", "--stall-s", "2"];
        let (output, code) = run(&[&common[..], &["--messages", "4", "--sessions", "4"]].concat());
        let sent = last(&output, "sent");
        assert_eq!((code, &sent[answer]), (0, &Value::from(4)), "{unheard}: {sent}");
    }
}
