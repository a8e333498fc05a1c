//! What an operator does to the real binary, and what it then does.
//!
//! Stops and starts with sessions open and mail waiting, another number of shards, a second
//! instance, a full disk, a proxy in front, too many clients, a rotated log, the queue on the
//! command line, and what comes back to a sender.

use crate::process::{
    BATON, Child, Ear, Folder, Relay, Settings, Sink, Talk, baton_load, events, eventually,
    program, succeed,
};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

const REFUSE_ALL: [&str; 2] = ["--reject-permille", "1000"];
const DEFER_ALL: [&str; 2] = ["--defer-permille", "1000"];

// ---- notices

#[test]
fn a_refusal_comes_back_to_the_sender_and_never_to_nobody() {
    let folder = Folder::new("notice");
    let refusing = Sink::start(&folder, "refusing", &REFUSE_ALL);
    let home = Sink::start(&folder, "home", &[]);
    let address = refusing.address();
    let route =
        format!("[[route]]\ndomain = \"refused.test\"\nvia = [\"{address}\"]\ntls = \"none\"\n");
    let relay = Relay::start(&folder, &Settings { more: route, ..Settings::to(home.address()) });
    let mut talk = Talk::open(relay.address());
    talk.mail("", "nobody@refused.test", "a bounce that bounces");
    talk.say("MAIL FROM:<ann@home.test> RET=HDRS ENVID=QQ314159", "250 ");
    talk.say("RCPT TO:<joe@refused.test> ORCPT=rfc822;joe.doe@refused.test", "250 ");
    talk.say("RCPT TO:<quiet@refused.test> NOTIFY=NEVER", "250 ");
    talk.say("DATA", "354 ");
    talk.say(
        "From: ann@home.test\r\nSubject: the figures\r\n\r\ndear Joe\r\n.",
        "250 2.0.0 queued",
    );
    home.await_to("ann@home.test");
    relay.await_empty_queue();
    let kept = home.kept();
    assert_eq!(kept.len(), 1, "one notice, and none to nobody: {kept:?}");
    assert!(kept[0].commands[0].starts_with("MAIL FROM:<>"), "{kept:?}");

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notices.py");
    let python = program("python3", "python3");
    let mut parser = Command::new(python);
    let output = succeed(parser.args(["-X", "utf8", script]).arg(folder.path("home")));
    let facts = String::from_utf8_lossy(&output.stdout);
    for fact in [
        "type multipart/report delivery-status",
        "header To: <ann@home.test>",
        "message Reporting-MTA: dns; relay.test",
        "message Original-Envelope-Id: QQ314159",
        "recipient-1 Original-Recipient: rfc822; joe.doe@refused.test",
        "recipient-1 Final-Recipient: rfc822; joe@refused.test",
        "recipient-1 Action: failed",
        "recipient-1 Status: 5.",
        "recipient-1 Diagnostic-Code: smtp; 550 ",
    ] {
        assert!(facts.lines().any(|line| line.starts_with(fact)), "{fact}:\n{facts}");
    }
    assert!(!facts.contains("defect") && !facts.contains("quiet@"), "{facts}");
    assert!(!facts.contains("dear Joe"), "RET=HDRS returns no body: {facts}");
}

// ---- stopping and starting

#[test]
fn a_stop_ends_what_rests_finishes_what_goes_on_and_loses_nothing() {
    let folder = Folder::new("stop");
    let sink = Sink::start(&folder, "sink", &[]);
    let mut relay = Relay::start(&folder, &Settings { shards: 2, ..Settings::to(sink.address()) });
    let mut resting = [Talk::open(relay.address()), Talk::open(relay.address())];
    let mut busy = Talk::open(relay.address());
    busy.begin("a@x.test", "late@y.test");
    busy.send("Subject: late\r\n\r\nhalf a mess");
    relay.process.signal("-TERM");
    for talk in &mut resting {
        talk.expect("421 4.3.2 ");
        assert_eq!(talk.reply(), "", "and the connection ends");
    }
    busy.send("age\r\n.\r\n");
    busy.expect("250 2.0.0 queued");
    busy.expect("421 4.3.2 ");
    assert_eq!(relay.process.wait().code(), Some(0));
    let log = folder.path("events.jsonl");
    assert_eq!(events(&log, "server-stopped").len(), 1);
    let relay = relay.again();
    sink.await_to("late@y.test").assert_is(b"Subject: late\r\n\r\nhalf a message\r\n");
    relay.await_empty_queue();
}

#[test]
fn fewer_shards_find_what_more_shards_left() {
    const MESSAGES: usize = 40;
    let folder = Folder::new("fewer-shards");
    let (later, taking) =
        (Sink::start(&folder, "later", &DEFER_ALL), Sink::start(&folder, "taking", &[]));
    let more = "[delivery]\nretry_first = \"1s\"\nretry_max = \"1s\"\n".to_owned();
    let settings = Settings { shards: 2, more, ..Settings::to(later.address()) };
    let mut relay = Relay::start(&folder, &settings);
    let mut talks: Vec<Talk> = (0..4).map(|_| Talk::open(relay.address())).collect();
    for number in 0..MESSAGES {
        let to = format!("r{number}@d{}.test", number % 7);
        talks[number % 4].mail("a@x.test", &to, "wait");
    }
    drop(talks);
    assert_eq!(relay.queued(), MESSAGES);
    assert_eq!(relay.stop(), Some(0));
    let accepted = relay.events("message-accepted");
    let shards: BTreeSet<u64> =
        accepted.iter().map(|event| event["shard"].as_u64().expect("a shard")).collect();
    assert_eq!(shards.len(), 2, "both shards have some");

    let via = taking.address().to_string();
    let relay = relay.again_with(Settings { shards: 1, via, ..settings });
    // The log is written a moment after what it tells of.
    let recovered = eventually("the second recovery in the log", || {
        relay.events("queue-recovered").get(1).cloned()
    });
    assert_eq!(recovered["entries"], MESSAGES);
    relay.await_empty_queue();
    assert_eq!(taking.deliveries(), MESSAGES);
}

#[test]
fn a_second_instance_is_told_who_has_the_data() {
    let folder = Folder::new("second");
    let relay = Relay::start(&folder, &Settings::default());
    let (code, said) = Relay::fail(&folder, &Settings::default(), "second.toml");
    assert_eq!(code, Some(1), "{said}");
    let pid = relay.process.pid().to_string();
    assert!(said.contains("data") && said.contains(&pid), "{said}");
    Talk::open(relay.address()).mail("a@x.test", "b@y.test", "the first goes on");
}

// ---- limits

#[test]
fn a_disk_with_too_little_room_takes_no_mail() {
    let folder = Folder::new("low-disk");
    let more = "[disk]\nfree_bytes_min = \"64TiB\"\n".to_owned();
    let relay = Relay::start(&folder, &Settings { more, ..Settings::default() });
    let mut talk = Talk::open(relay.address());
    talk.say("MAIL FROM:<a@x.test>", "452 4.3.1 ");
    talk.say("QUIT", "221 ");
    assert_eq!(relay.queued(), 0);
    let rejected = "baton_messages_rejected_total{stage=\"mail\",tag=\"disk\"}";
    eventually("a refusal that is counted", || (relay.metric(rejected) == 1).then_some(()));
}

#[test]
fn one_client_too_many_is_told_so_and_may_come_back() {
    let folder = Folder::new("sessions");
    let more = "[limits]\nsessions_max = 3\n".to_owned();
    let relay = Relay::start(&folder, &Settings { shards: 2, more, ..Settings::default() });
    let mut inside: Vec<Talk> = (0..3).map(|_| Talk::open(relay.address())).collect();
    let mut outside = Talk::connect(relay.address());
    outside.expect("421 4.7.0 Too many connections");
    assert_eq!(outside.reply(), "");
    inside.pop().expect("three").say("QUIT", "221 ");
    // The place is free when the session has ended, which is after its last words.
    eventually("a place", || {
        Talk::connect(relay.address()).reply().starts_with("220 ").then_some(())
    });
    inside[0].mail("a@x.test", "b@y.test", "those inside notice nothing");
}

// ---- a proxy in front

#[test]
fn behind_a_proxy_the_client_is_who_the_proxy_says() {
    let folder = Folder::new("proxy");
    let sink = Sink::start(&folder, "sink", &[]);
    let peers = "[[peer]]\nnetwork = \"127.0.0.0/8\"\naccount = \"proxies\"\nproxy = true\n\
        [[peer]]\nnetwork = \"192.0.2.0/24\"\naccount = \"hosting\"\n";
    let relay = Relay::start(&folder, &Settings { peers, ..Settings::to(sink.address()) });
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[192, 0, 2, 8, 192, 0, 2, 1, 0x0f, 0xa0, 0, 25]);
    for (header, client) in [(v1, "192.0.2.7"), (v2, "192.0.2.8")] {
        let mut talk = Talk::connect(relay.address());
        talk.send(header);
        talk.expect("220 ");
        talk.say("EHLO client.test", "250 ");
        let to = format!("{client}@y.test");
        talk.mail("a@x.test", &to, "through a proxy");
        let kept = sink.await_to(&to);
        let (trace, _) = kept.split_trace();
        assert!(trace.contains(&format!("from client.test ([{client}])")), "{trace}");
    }
    let mut stranger = Talk::connect(relay.address());
    stranger.send("PROXY TCP4 198.51.100.1 192.0.2.1 4000 25\r\n");
    stranger.expect("220 ");
    stranger.say("EHLO client.test", "250 ");
    stranger.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n");
    let replies = [stranger.reply(), stranger.reply()];
    assert!(replies.iter().any(|reply| reply.starts_with("550 5.7.1 ")), "{replies:?}");
    let mut plain = Talk::connect(relay.address());
    plain.send("EHLO client.test\r\n");
    plain.expect("421 4.7.0 ");
    let accounts: BTreeSet<String> = eventually("two messages in the log", || {
        let accepted = relay.events("message-accepted");
        let accounts = accepted.iter().map(|event| event["account"].to_string());
        (accepted.len() == 2).then(|| accounts.collect())
    });
    assert_eq!(accounts, BTreeSet::from(["\"hosting\"".to_owned()]));
}

// ---- the queue and the log

#[test]
fn the_command_line_shows_what_waits() {
    let folder = Folder::new("queue");
    let sink = Sink::start(&folder, "sink", &DEFER_ALL);
    let more = "[delivery]\nretry_first = \"1h\"\nretry_max = \"2h\"\n".to_owned();
    let relay = Relay::start(&folder, &Settings { more, ..Settings::to(sink.address()) });
    let list = |words: &[&str]| {
        let output = relay.queue(&[&["list"], words].concat());
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(list(&[]), "Nothing that matches waits in the queue.\n");
    let mut talk = Talk::open(relay.address());
    let first = talk.mail("ann@x.test", "joe@y.test", "first");
    let second = talk.mail("bob@x.test", "eve@z.test", "second");
    let all = eventually("both tried once", || {
        let all = list(&[]);
        (all.matches("451 4.2.1 come back later").count() == 2).then_some(all)
    });
    for words in [&first, &second, "y.test", "z.test", "ann@x.test", "bob@x.test", "2 entries"] {
        assert!(all.contains(words), "{words}:\n{all}");
    }
    for words in [["--domain", "y.test"], ["--domain", "Y.Test"], ["--sender", "ann@x.test"]] {
        let some = list(&words);
        assert!(some.contains(&first) && !some.contains(&second), "{words:?}:\n{some}");
    }
    let output = relay.queue(&["show", &second]);
    let shown = String::from_utf8(output.stdout).expect("text");
    for words in
        [second.as_str(), "<bob@x.test>", "<eve@z.test>", "1 of 1", "451 4.2.1", "z.test: 1 try"]
    {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
}

#[test]
fn the_command_line_holds_releases_retries_and_drops() {
    let folder = Folder::new("change");
    let (later, taking) =
        (Sink::start(&folder, "later", &DEFER_ALL), Sink::start(&folder, "taking", &[]));
    let more = "[delivery]\nretry_first = \"1h\"\nretry_max = \"2h\"\n".to_owned();
    let settings = Settings { shards: 2, more, ..Settings::to(later.address()) };
    let mut relay = Relay::start(&folder, &settings);
    let mut talks: Vec<Talk> = (0..4).map(|_| Talk::open(relay.address())).collect();
    let ids: Vec<String> = (0..40)
        .map(|number| {
            let (from, to) = (format!("s{}@x.test", number % 5), format!("r@d{}.test", number % 8));
            talks[number % 4].mail(&from, &to, "wait")
        })
        .collect();
    let list = |relay: &Relay<'_>, words: &[&str]| {
        let output = relay.queue(&[&["list", "--limit", "1000"], words].concat());
        String::from_utf8(output.stdout).expect("text")
    };
    eventually("all tried once", || {
        let all = list(&relay, &[]);
        (all.matches("451 4.2.1 come back later").count() == 40).then_some(())
    });
    drop(talks);
    let change = |relay: &Relay<'_>, words: &[&str]| {
        String::from_utf8(relay.queue(words).stdout).expect("text")
    };
    assert_eq!(change(&relay, &["hold", "--domain", "D1.test"]), "5 entries held\n");
    assert_eq!(change(&relay, &["hold", "--domain", "d1.test"]), "0 entries held\n");
    assert_eq!(change(&relay, &["hold", &ids[0]]), "1 entry held\n");
    let held = list(&relay, &["--held"]);
    assert!(held.ends_with("\n6 entries\n") && held.contains(&ids[0]), "{held}");
    assert_eq!(list(&relay, &["--held", "--domain", "d1.test"]).matches("  held  ").count(), 5);
    assert!(change(&relay, &["show", &ids[0]]).contains("held until it is released"));
    // Of s3: 8 messages, to all domains; one of them is held. By address, and by domain and address.
    assert_eq!(change(&relay, &["drop", "--sender", "S3@x.test"]), "8 entries dropped\n");
    assert_eq!(
        change(&relay, &["drop", "--sender", "s4@x.test", "--domain", "none.test"]),
        "0 entries dropped\n"
    );
    assert_eq!(change(&relay, &["drop", &ids[4]]), "1 entry dropped\n");
    let dropped = eventually("a line for each that was dropped", || {
        let dropped = relay.events("entry-dropped");
        (dropped.len() == 9).then_some(dropped)
    });
    let gone: BTreeSet<&str> = dropped.iter().filter_map(|event| event["id"].as_str()).collect();
    let expected = (0..40).filter(|number| number % 5 == 3 || *number == 4);
    assert_eq!(gone, expected.map(|number| ids[number].as_str()).collect());
    let sender_id = dropped[0]["sender_id"].as_str().expect("a sender");
    assert_eq!(relay.queued(), 31);

    // The others go where mail is taken, once they are told to; what is held stays through a start.
    assert_eq!(relay.stop(), Some(0));
    let via = taking.address().to_string();
    let relay = relay.again_with(Settings { shards: 1, via, ..settings });
    let held_ids: BTreeSet<usize> =
        (0..40).filter(|number| (number % 8 == 1 || *number == 0) && number % 5 != 3).collect();
    let waiting = 31 - held_ids.len();
    let retried = change(&relay, &["retry", "--sender", sender_id]);
    assert_eq!(retried, format!("{waiting} entries will be tried now\n"));
    taking.await_deliveries(waiting);
    eventually("only what is held", || (relay.queued() == held_ids.len()).then_some(()));
    assert_eq!(change(&relay, &["retry", "--all"]), "0 entries will be tried now\n");
    let released = change(&relay, &["release", "--all"]);
    assert_eq!(released, format!("{} entries released\n", held_ids.len()));
    taking.await_deliveries(31);
    relay.await_empty_queue();
    let text = relay.get("/metrics");
    assert!(text.contains("baton_events_total{event=\"queue-changed\"}"), "{text}");
}

#[test]
fn a_change_of_the_queue_says_which_part() {
    for words in [&["drop"][..], &["drop", "--all", "--domain", "x.test"], &["hold", "nonsense"]] {
        let output = Command::new(BATON).arg("queue").args(words).output().expect("baton");
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
    }
}

#[test]
fn a_rotated_log_goes_on_in_a_new_file() {
    let folder = Folder::new("rotate");
    let relay = Relay::start(&folder, &Settings::default());
    let (log, old) = (folder.path("events.jsonl"), folder.path("events.1"));
    let mut talk = Talk::open(relay.address());
    let of = |id: &str, file| {
        let accepted = events(file, "message-accepted");
        accepted.iter().any(|event| event["id"] == id)
    };
    let first = talk.mail("a@x.test", "b@y.test", "before");
    eventually("an event in the log", || of(&first, &log).then_some(()));
    fs::rename(&log, &old).unwrap();
    relay.process.signal("-HUP");
    eventually("a new log", || log.exists().then_some(()));
    let second = talk.mail("a@x.test", "b@y.test", "after");
    eventually("an event in the new log", || of(&second, &log).then_some(()));
    assert!(of(&first, &old) && !of(&second, &old) && !of(&first, &log));
}

// ---- many who do nothing

/// `baton-load run idle` does the same with twenty thousand.
#[test]
fn mail_flows_while_two_thousand_sessions_rest() {
    const IDLE: u64 = 2_000;
    let folder = Folder::new("idle");
    let sink = Sink::start(&folder, "sink", &[]);
    let more = "[limits]\nsessions_max = 5000\nsessions_per_peer_max = 5000\n".to_owned();
    let settings = Settings { shards: 2, more, ..Settings::to(sink.address()) };
    let relay = Relay::start(&folder, &settings);
    let (pid, to) = (relay.process.pid().to_string(), relay.address().to_string());
    let mut idle = Command::new(baton_load());
    idle.args(["idle", "--sessions", &IDLE.to_string(), "--seconds", "4", "--pid", &pid]);
    let mut idle = Child::start(idle.args(["--to", &to]).stdin(Stdio::null()), Ear::Output);
    let established = idle.line_after("idle: established=").expect("sessions");
    assert!(established.starts_with("2000 of 2000 "), "{established}");
    let inbound = "baton_sessions{direction=\"inbound\"}";
    eventually("sessions that are counted", || (relay.metric(inbound) >= IDLE).then_some(()));
    let mut send = Command::new(baton_load());
    succeed(send.args(["send", "--messages", "500", "--sessions", "10", "--to", &to]));
    sink.await_deliveries(500);
    // Exit code 0: every session was open to the end, without a word.
    let said = idle.rest();
    assert!(idle.wait().success(), "{said}");
    println!("{said}");
}
