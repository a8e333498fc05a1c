//! The real binary delivers into servers that others wrote, byte for byte, whatever they offer.
//!
//! smtp-sink of Postfix with and without pipelining, with and without ESMTP, and aiosmtpd, which
//! understands SMTPUTF8 and has no pipelining; our own sink stands in for CHUNKING, which neither
//! offers. Each case sends the same texts.

use crate::process::{
    Aiosmtpd, Child, Ear, Folder, Relay, Settings, Sink, Talk, body_with_everything, eventually,
    program, succeed,
};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn text(subject: &str) -> String {
    format!("From: a@x.test\r\nSubject: {subject}\r\n{}", body_with_everything())
}

/// Several messages at once and one after the other, so that connections are used again.
fn feed(relay: &Relay<'_>, recipients: &[String], sent: &str) {
    let mut talks = [Talk::open(relay.address()), Talk::open(relay.address())];
    for (number, recipient) in recipients.iter().enumerate() {
        let talk = &mut talks[number % 2];
        talk.begin("a@x.test", recipient);
        talk.say(&format!("{}.", sent.replace("\r\n.", "\r\n..")), "250 2.0.0 queued");
    }
}

fn recipients() -> Vec<String> {
    (0..20).map(|number| format!("r{number}@d{}.test", number % 3)).collect()
}

// ---- smtp-sink

/// It keeps lines, not octets: CRLF becomes LF, one empty line is added.
fn smtp_sink(folder: &Folder, options: &[&str]) -> Child {
    let mut command = Command::new(program("smtp-sink", "postfix"));
    // As root it insists on being told who to be.
    if fs::metadata("/proc/self").expect("/proc").uid() == 0 {
        command.args(["-u", "root"]);
    }
    let template = format!("{}/kept/mail.", folder.path("").display());
    fs::create_dir_all(folder.path("kept")).unwrap();
    command.args(options).args(["-d", &template, "127.0.0.1:0", "100"]);
    Child::start(command.stdin(Stdio::null()), Ear::Errors)
}

/// The header that smtp-sink writes itself, and what it received.
fn sink_files(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().flatten();
    let texts = files.map(|file| String::from_utf8(fs::read(file.path()).unwrap()).unwrap());
    let split = texts.filter_map(|text| {
        let own = text.find("\nReceived: from relay.test")? + 1;
        let (head, rest) = text.split_at(own);
        // Its own Received field, then what came.
        let came = rest[1..].find("\nReceived: from client.test")? + 2;
        Some((head.to_owned(), rest[came..].to_owned()))
    });
    split.collect()
}

#[track_caller]
fn assert_smtp_sink_gets_it(options: &[&str]) {
    let folder = Folder::new("smtp-sink");
    let server = smtp_sink(&folder, options);
    let address = SocketAddr::from(([127, 0, 0, 1], server.listening_port()));
    let relay = Relay::start(&folder, &Settings::to(address));
    let (recipients, sent) = (recipients(), text("smtp-sink"));
    feed(&relay, &recipients, &sent);
    relay.await_empty_queue();
    let expected = format!("{}\n", sent.replace("\r\n", "\n"));
    let kept = sink_files(&folder.path("kept"));
    assert_eq!(kept.len(), 20, "{options:?}");
    for recipient in &recipients {
        let (_, got) = kept
            .iter()
            .find(|(head, _)| head.contains(&format!("X-Rcpt-Args: <{recipient}>")))
            .unwrap_or_else(|| panic!("{recipient} is missing in {kept:?}"));
        let end = got.find("\nFrom: ").expect("our own field ends") + 1;
        assert!(got[end..] == expected, "{options:?}: {got}");
    }
}

#[test]
fn smtp_sink_gets_it_with_pipelining() {
    assert_smtp_sink_gets_it(&[]);
}

#[test]
fn smtp_sink_gets_it_without_pipelining() {
    assert_smtp_sink_gets_it(&["-p"]);
}

#[test]
fn smtp_sink_gets_it_without_esmtp() {
    assert_smtp_sink_gets_it(&["-e"]);
}

// ---- aiosmtpd

#[test]
fn aiosmtpd_gets_it_with_its_names() {
    let folder = Folder::new("aiosmtpd");
    let server = Aiosmtpd::start(&folder, &[]);
    let relay = Relay::start(&folder, &Settings::to(server.address()));

    let sent = text("aiosmtpd");
    feed(&relay, &recipients(), &sent);
    let mut talk = Talk::open(relay.address());
    talk.say("MAIL FROM:<\u{e4}@x.test> SMTPUTF8 BODY=8BITMIME", "250 ");
    talk.say("RCPT TO:<gr\u{fc}\u{df}e@y.test>", "250 ");
    talk.say("DATA", "354 ");
    talk.say("Subject: \u{20ac}\r\n\r\n\u{1f980}\r\n.", "250 2.0.0 queued");
    relay.await_empty_queue();
    let mut plain = 0;
    for (envelope, content) in server.kept() {
        let (_, got) = content.split_once("+0000\r\n").expect("our own field");
        if envelope.starts_with("a@x.test\n") {
            assert_eq!(got, sent);
            plain += 1;
        } else {
            let lines: Vec<&str> = envelope.lines().collect();
            assert_eq!((lines[0], lines[2]), ("\u{e4}@x.test", "gr\u{fc}\u{df}e@y.test"));
            assert!(lines[1].contains("SMTPUTF8"), "{envelope}");
            assert_eq!(got, "Subject: \u{20ac}\r\n\r\n\u{1f980}\r\n");
        }
    }
    assert_eq!(plain, 20);
}

// ---- our own sink, whose offers can be withheld one by one

#[test]
fn a_server_gets_it_whatever_it_offers() {
    let sent = text("offers");
    for options in
        [&[][..], &["--no-chunking"], &["--no-pipelining"], &["--no-chunking", "--no-pipelining"]]
    {
        let folder = Folder::new("offers");
        let sink = Sink::start(&folder, "sink", options);
        let relay = Relay::start(&folder, &Settings::to(sink.address()));
        feed(&relay, &recipients(), &sent);
        for recipient in recipients() {
            sink.await_to(&recipient).assert_is(sent.as_bytes());
        }
        relay.await_empty_queue();
        assert_eq!(sink.deliveries(), 20, "{options:?}");
    }
}

// ---- Prometheus

#[test]
fn promtool_accepts_the_metrics() {
    let folder = Folder::new("promtool");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    Talk::open(relay.address()).mail("a@x.test", "b@y.test", "metrics");
    sink.await_to("b@y.test");
    let counted = || (relay.metric("baton_recipients_delivered_total") == 1).then_some(());
    eventually("a delivery that is counted", counted);
    let text = folder.write("metrics", relay.get("/metrics"));
    let check = "\"$0\" check metrics < \"$1\"";
    let promtool = program("promtool", "prometheus");
    let output = succeed(Command::new("sh").args(["-c", check]).arg(promtool).arg(text));
    // Advice comes with a success: there must be none either.
    let said = [output.stdout, output.stderr].concat();
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
