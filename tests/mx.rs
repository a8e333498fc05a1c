//! Delivery by MX, the real binary end to end: a name server, MX hosts, two shards, sources.
//!
//! `baton-load dns` is the internet's names, `baton-load sink` is all of its mail hosts, and the
//! books of the sink say who connected, under which name, and how many at once. What comes back to
//! a sender is read by two parsers that share no code with us (`notices`). RFC 5321 5.1, RFC 7505,
//! RFC 3464, RFC 6533.

use crate::notices::read_by_others;
use crate::process::{
    BATON, Child, Dns, Ear, Folder, Relay, Settings, Sink, Talk, Visit, baton_load, eventually,
    succeed,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};

const ONE_SITE: [&str; 2] = ["--sites", "1"];
/// Each message is a transaction of its own, to one of twenty domains.
const LOAD: [&str; 8] =
    ["--messages", "400", "--sessions", "8", "--domains", "20", "--domain-suffix", "x.test"];
const LOADED: usize = 400;

fn send(relay: &Relay<'_>, options: &[&str]) {
    let to = relay.address().to_string();
    succeed(Command::new(baton_load()).args(["send", "--to", &to]).args(options));
}

/// Where all mail goes that DNS leads, with more keys of `[delivery]`.
fn by(dns: &Dns, sink: &Sink, delivery: &str) -> Settings<'static> {
    let mut settings = Settings::by(dns, sink.address());
    settings.more.push_str(delivery);
    settings
}

/// All that was delivered, in which sessions; the relay is stopped, so that they have ended.
fn visits(relay: &mut Relay<'_>, sink: &Sink, messages: usize) -> Vec<Visit> {
    sink.await_deliveries(messages);
    relay.await_empty_queue();
    assert_eq!(relay.stop(), Some(0));
    let visits = sink.await_visits(messages);
    assert_eq!(visits.iter().map(|visit| visit.messages).sum::<usize>(), messages);
    visits
}

fn shards_that_accepted(relay: &Relay<'_>) -> usize {
    let accepted = relay.events("message-accepted");
    let shards = accepted.iter().map(|event| event["shard"].as_u64().expect("a shard"));
    shards.collect::<BTreeSet<u64>>().len()
}

// ---- connections

#[test]
fn domains_of_one_site_share_its_connections() {
    let folder = Folder::new("mx-shared");
    let (dns, sink) = (Dns::start(&ONE_SITE), Sink::start_fast(&folder, "sink", &[]));
    let settings = Settings { shards: 2, ..by(&dns, &sink, "connections_max = 4\n") };
    let mut relay = Relay::start(&folder, &settings);
    send(&relay, &LOAD);
    let visits = visits(&mut relay, &sink, LOADED);
    // Twenty domains could not share so few without sharing.
    assert!(visits.len() < 20, "{} connections", visits.len());
    assert!(visits.iter().all(|visit| visit.at_once <= 4), "{visits:?}");
    let domains: BTreeSet<String> = relay
        .events("recipient-delivered")
        .iter()
        .filter_map(|event| Some(event["recipient"].as_str()?.rsplit_once('@')?.1.to_owned()))
        .collect();
    assert_eq!(domains.len(), 20);
}

#[test]
fn two_shards_never_make_two_connections_where_one_is_allowed() {
    let folder = Folder::new("mx-mesh");
    let (dns, sink) = (Dns::start(&ONE_SITE), Sink::start_fast(&folder, "sink", &[]));
    // Many connections, one after the other, are many occasions to have two.
    let limits = "connections_max = 1\nmessages_per_connection_max = 10\n";
    let settings = Settings { shards: 2, ..by(&dns, &sink, limits) };
    let mut relay = Relay::start(&folder, &settings);
    send(&relay, &LOAD);
    let visits = visits(&mut relay, &sink, LOADED);
    assert!(visits.len() >= LOADED / 10, "{} connections", visits.len());
    assert!(visits.iter().all(|visit| visit.at_once == 1), "{visits:?}");
    assert!(visits.iter().all(|visit| visit.messages <= 10), "{visits:?}");
    assert_eq!(shards_that_accepted(&relay), 2);
}

#[test]
fn sources_share_the_mail_by_their_weights() {
    const SOURCES: &str = "[[source]]\nname = \"one\"\naddress = [\"127.0.0.11\"]\n\
        ehlo = \"one.relay.test\"\n\
        [[source]]\nname = \"three\"\naddress = [\"127.0.0.12\"]\nweight = 3\n\
        ehlo = \"three.relay.test\"\n";
    let folder = Folder::new("mx-sources");
    let (dns, sink) = (Dns::start(&ONE_SITE), Sink::start_fast(&folder, "sink", &[]));
    let mut settings = Settings { shards: 2, ..by(&dns, &sink, "") };
    settings.more.push_str(SOURCES);
    let mut relay = Relay::start(&folder, &settings);
    send(&relay, &LOAD);
    let mut brought: BTreeMap<(IpAddr, String), usize> = BTreeMap::new();
    for visit in visits(&mut relay, &sink, LOADED) {
        *brought.entry((visit.client, visit.ehlo)).or_default() += visit.messages;
    }
    let who: Vec<String> = brought.keys().map(|(ip, name)| format!("{ip} {name}")).collect();
    assert_eq!(who, ["127.0.0.11 one.relay.test", "127.0.0.12 three.relay.test"]);
    // A quarter of 400; by chance one run in a million is further off than this.
    let one = brought.values().next().copied().unwrap_or_default();
    assert!((57..=143).contains(&one), "{brought:?}");
}

// ---- what names lead to

#[test]
fn a_name_without_mail_hosts_gets_its_mail_or_a_notice_says_why_not() {
    let folder = Folder::new("mx-names");
    let (dns, sink) = (Dns::start(&[]), Sink::start(&folder, "sink", &[]));
    let relay = Relay::start(&folder, &Settings { shards: 2, ..by(&dns, &sink, "") });
    let mut talk = Talk::open(relay.address());
    let taken = ["plain", "nomx-a", "cname-b", "cname-nomx-c", "cname-cname-d"];
    for name in taken {
        talk.mail("ann@home.x.test", &format!("joe@{name}.x.test"), name);
    }
    for name in taken {
        sink.await_to(&format!("joe@{name}.x.test"));
    }
    for (name, status, words) in [
        ("nullmx-a", "5.1.10", "the domain nullmx-a.x.test does not take mail (null MX)"),
        ("nx-a", "5.1.2", "the domain nx-a.x.test does not exist"),
        ("cname-nx-a", "5.1.2", "the domain cname-nx-a.x.test does not exist"),
    ] {
        let (sender, to) = (format!("{name}@home.x.test"), format!("joe@{name}.x.test"));
        talk.mail(&sender, &to, name);
        let notice = sink.await_to(&sender);
        assert_eq!(notice.commands[0].split(' ').next(), Some("MAIL"), "{notice:?}");
        let place = folder.path(name);
        fs::create_dir(&place).unwrap();
        fs::write(place.join("notice.eml"), &notice.content).unwrap();
        let facts = read_by_others(&place);
        for fact in [
            "type multipart/report delivery-status".to_owned(),
            "message Reporting-MTA: dns; relay.test".to_owned(),
            format!("recipient-1 Final-Recipient: rfc822; {to}"),
            "recipient-1 Action: failed".to_owned(),
            format!("recipient-1 Status: {status}"),
            format!("recipient-1 Diagnostic-Code: X-baton; {words}"),
        ] {
            assert!(facts.lines().any(|line| line == fact), "{fact}:\n{facts}");
        }
        assert!(!facts.contains("defect") && !facts.contains("Remote-MTA"), "{facts}");
    }
    relay.await_empty_queue();
    assert_eq!(sink.deliveries(), taken.len() + 3);
}

#[test]
fn answers_that_are_cut_short_are_asked_for_over_tcp() {
    let folder = Folder::new("mx-truncated");
    let dns = Dns::start(&["--truncate", "1000"]);
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &by(&dns, &sink, ""));
    Talk::open(relay.address()).mail("ann@home.x.test", "joe@far.x.test", "by TCP");
    sink.await_to("joe@far.x.test");
    relay.await_empty_queue();
    assert_eq!(relay.count_events("recipient-deferred"), 0);
    let count = dns.end();
    assert!(count("truncated") >= 2 && count("tcp") == count("truncated"));
}

#[test]
fn what_waits_for_the_dns_says_so_and_goes_when_there_are_answers() {
    let folder = Folder::new("mx-servfail");
    let dns = Dns::start(&["--servfail", "1000"]);
    let sink = Sink::start(&folder, "sink", &[]);
    let waits = by(&dns, &sink, "retry_first = \"1h\"\nretry_max = \"1h\"\n");
    let relay = Relay::start(&folder, &waits);
    let id = Talk::open(relay.address()).mail("ann@home.x.test", "joe@y.x.test", "wait");
    let ask = |words: &[&str]| String::from_utf8(relay.queue(words).stdout).expect("text");
    let list = eventually("an attempt", || {
        let list = ask(&["list"]);
        list.contains("looking up MX of y.x.test").then_some(list)
    });
    assert!(list.contains(&id) && list.contains("4.4.3"), "{list}");
    let shown = ask(&["show", &id]);
    for words in ["<joe@y.x.test>", "4.4.3", "looking up MX of y.x.test", "y.x.test: 1 try"] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    let deferred = eventually("an event", || relay.events("recipient-deferred").first().cloned());
    let named = ["scope", "stage"].map(|key| deferred[key].as_str().unwrap_or_default().to_owned());
    assert_eq!(named, ["site", "route"], "{deferred}");

    let _dns = dns.again(&[]);
    // That there was no answer is remembered for some seconds.
    eventually("an empty queue", || {
        ask(&["retry", "--domain", "y.x.test"]);
        (relay.queued() == 0).then_some(())
    });
    sink.await_to("joe@y.x.test");
}

#[test]
fn silent_name_servers_are_waited_for_without_anybody_asking() {
    let folder = Folder::new("mx-silent");
    let dns = Dns::start(&["--lose", "1000"]);
    let sink = Sink::start(&folder, "sink", &[]);
    let mut settings = by(&dns, &sink, "retry_first = \"1s\"\nretry_max = \"1s\"\n");
    settings.dns.push_str("timeout = \"250ms\"\ntries = 1\n");
    let relay = Relay::start(&folder, &settings);
    Talk::open(relay.address()).mail("ann@home.x.test", "joe@y.x.test", "wait");
    let deferred = eventually("an event", || relay.events("recipient-deferred").first().cloned());
    let cause = deferred["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("4.4.3") && cause.contains("MX of y.x.test"), "{deferred}");
    let _dns = dns.again(&[]);
    sink.await_to("joe@y.x.test");
    relay.await_empty_queue();
}

// ---- what comes back

#[test]
fn notices_are_what_their_senders_asked_for() {
    let folder = Folder::new("mx-notices");
    let (dns, sink) = (Dns::start(&[]), Sink::start(&folder, "sink", &[]));
    let relay = Relay::start(&folder, &by(&dns, &sink, ""));
    let mut talk = Talk::open(relay.address());
    let mut say = |commands: &[&str]| {
        for command in commands {
            talk.say(command, "250 ");
        }
        talk.say("DATA", "354 ");
        talk.say("Subject: the figures\r\n\r\ndear all\r\n.", "250 2.0.0 queued");
    };
    say(&[
        "MAIL FROM:<full@home.x.test> RET=FULL ENVID=QQ+2B1",
        "RCPT TO:<joe@nullmx-a.x.test> ORCPT=rfc822;old+2Bjoe@a.x.test",
        "RCPT TO:<jim@nullmx-a.x.test> NOTIFY=FAILURE",
        "RCPT TO:<quiet@nullmx-a.x.test> NOTIFY=NEVER",
    ]);
    say(&[
        "MAIL FROM:<hdrs@home.x.test> RET=HDRS ENVID=QQ2",
        "RCPT TO:<joe@good.x.test> NOTIFY=SUCCESS ORCPT=rfc822;old@a.x.test",
        "RCPT TO:<jim@good.x.test>",
    ]);
    say(&[
        "MAIL FROM:<\u{e4}nn@home.x.test> SMTPUTF8 RET=HDRS",
        "RCPT TO:<j\u{fc}rgen@nx-a.x.test> ORCPT=utf-8;j\\x{FC}rgen@a.x.test",
    ]);
    let senders = [("full", FULL), ("hdrs", RELAYED), ("\u{e4}nn", UTF8)];
    for (sender, expected) in senders {
        let kept = sink.await_to(&format!("{sender}@home.x.test"));
        assert!(kept.commands[0].starts_with("MAIL FROM:<>"), "{kept:?}");
        let place = folder.path(&format!("notice-{sender}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join("notice.eml"), &kept.content).unwrap();
        let facts = read_by_others(&place);
        assert!(!facts.contains("defect"), "{facts}");
        assert_eq!(lasting(&facts), expected, "{facts}");
    }
    relay.await_empty_queue();
    assert_eq!(sink.deliveries(), 5, "three notices, and one message to two recipients");
    let kinds: BTreeMap<String, usize> = eventually("three notices in the log", || {
        let mut kinds = BTreeMap::new();
        for event in relay.events("notice-queued") {
            *kinds.entry(event["kind"].as_str()?.to_owned()).or_default() += 1;
        }
        (kinds.values().sum::<usize>() == 3).then_some(kinds)
    });
    assert_eq!(kinds, BTreeMap::from([("failed".to_owned(), 2), ("relayed".to_owned(), 1)]));
}

/// The facts that are the same in every run, without the words for people.
fn lasting(facts: &str) -> String {
    let varies = |line: &str| {
        let field = line.split(':').next().unwrap_or_default();
        field.ends_with("-Date") || field.ends_with("-ID") || field == "returned Received"
    };
    let begins = ["type ", "part ", "message ", "recipient-", "returned"];
    let lasts = |line: &&str| begins.iter().any(|begin| line.starts_with(begin)) && !varies(line);
    // The sink counts its messages.
    let uncounted = |line: &str| match line.split_once(" taken as ") {
        Some((words, _)) => format!("{words} taken as N\n"),
        None => format!("{line}\n"),
    };
    facts.lines().filter(lasts).map(uncounted).collect()
}

const FULL: &str = "\
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part message/rfc822 7bit
message Reporting-MTA: dns; relay.test
message Original-Envelope-Id: QQ+1
recipient-1 Original-Recipient: rfc822; old+joe@a.x.test
recipient-1 Final-Recipient: rfc822; joe@nullmx-a.x.test
recipient-1 Action: failed
recipient-1 Status: 5.1.10
recipient-1 Diagnostic-Code: X-baton; the domain nullmx-a.x.test does not take mail (null MX)
recipient-2 Final-Recipient: rfc822; jim@nullmx-a.x.test
recipient-2 Action: failed
recipient-2 Status: 5.1.10
recipient-2 Diagnostic-Code: X-baton; the domain nullmx-a.x.test does not take mail (null MX)
returned Subject: the figures
returned-body b'dear all\\r\\n'
";

const RELAYED: &str = "\
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part text/rfc822-headers 7bit
message Reporting-MTA: dns; relay.test
message Original-Envelope-Id: QQ2
recipient-1 Original-Recipient: rfc822; old@a.x.test
recipient-1 Final-Recipient: rfc822; joe@good.x.test
recipient-1 Action: relayed
recipient-1 Status: 2.0.0
recipient-1 Remote-MTA: dns; [127.0.0.1]
recipient-1 Diagnostic-Code: smtp; 250 2.0.0 taken as N
returned Subject: the figures
returned-body b''
";

const UTF8: &str = "\
type multipart/report global-delivery-status
part text/plain 8bit
part message/global-delivery-status 8bit
part message/global-headers 8bit
message Reporting-MTA: dns; relay.test
recipient-1 Original-Recipient: utf-8; j\u{fc}rgen@a.x.test
recipient-1 Final-Recipient: utf-8; j\u{fc}rgen@nx-a.x.test
recipient-1 Action: failed
recipient-1 Status: 5.1.2
recipient-1 Diagnostic-Code: X-baton; the domain nx-a.x.test does not exist
returned Subject: the figures
returned-body b''
";

// ---- the command line

#[test]
fn the_example_relays_what_it_says() {
    let folder = Folder::new("example");
    let sink = Sink::start(&folder, "sink", &[]);
    let mut text = include_str!("../etc/baton.toml").to_owned();
    for (address, free) in [
        ("127.0.0.1:2525", "127.0.0.1:0"),
        ("127.0.0.1:9525", "127.0.0.1:0"),
        ("127.0.0.1:2600", &sink.address().to_string()),
        ("\"var/baton\"", &format!("\"{}\"", folder.path("data").display())),
    ] {
        assert!(text.contains(address), "{address}");
        text = text.replace(address, free);
    }
    text.push_str("[dns]\nservers = [\"127.0.0.1:1\"]\n");
    let file = folder.write("baton.toml", text);
    let mut command = Command::new(BATON);
    command.args(["run", "--config"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    let mut relay = Child::start(&mut command, Ear::Errors);
    let address = relay.line_after("listening ").expect("it serves").parse().expect("an address");
    let mut talk = Talk::open(address);
    talk.mail("ann@home.x.test", "joe@far.x.test", "as the example says");
    // It has no route, and no name server that answers: it waits, and disturbs nobody.
    talk.mail("ann@home.x.test", "joe@example.net", "by MX");
    sink.await_to("joe@far.x.test");
    relay.signal("-TERM");
    assert!(relay.wait().success());
    assert_eq!(sink.deliveries(), 1);
}

#[test]
fn routes_by_mx_pass_the_check_and_are_explained() {
    let folder = Folder::new("mx-check");
    let text = "[[source]]\nname = \"letters\"\npool = \"letters\"\n[[source]]\nname = \"rest\"\n\
        [[route]]\ndomain = \"*.x.test\"\nvia = \"mx\"\npool = \"letters\"\ntls = \"verify\"\n\
        [[route]]\ndomain = \"*\"\nvia = \"mx\"\n";
    let file = folder.write("mx.toml", text);
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/baton.toml");
    for path in [file.to_str().expect("our own name"), ours] {
        succeed(Command::new(BATON).args(["check", "--config", path]));
    }
    let wrong = folder.write("wrong.toml", text.replace("\"mx\"", "\"xm\""));
    let output = Command::new(BATON).args(["check", "--config"]).arg(wrong).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("\"mx\" or a list of 1 to 16"), "{said}");
    let output = succeed(Command::new(BATON).args(["config", "explain", "route.via"]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"mx\" or a list of 1 to 16"), "{said}");
}
