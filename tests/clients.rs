//! Other people's clients hand mail to the real binary, and it arrives byte for byte.
//!
//! swaks, Python's smtplib, lettre, smtp-source of Postfix and `openssl s_client`: each speaks SMTP
//! in its own way, none of them ours. What arrives at the sink is what they sent, below the one
//! Received field that baton adds; which `with` it says shows that TLS and AUTH were real.

use crate::process::{
    Child, Ear, Folder, Relay, Settings, Sink, Talk, body_with_everything, program, succeed,
};
use argon2::password_hash::{PasswordHasher, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use lettre::address::Envelope;
use lettre::{Message, SmtpTransport, Transport};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

const PASSWORD: &str = "correct horse";

fn text(subject: &str) -> String {
    format!("From: a@x.test\r\nSubject: {subject}\r\n{}", body_with_everything())
}

/// An `[[account]]` table that cheaply knows the password.
fn account() -> String {
    let cheap = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    let hash: PasswordHash =
        argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"saltsalt").unwrap();
    format!("[[account]]\nname = \"acme\"\npassword_hash = \"{hash}\"\n")
}

// ---- swaks

fn swaks(relay: &Relay<'_>, message: &Path, to: &str) -> Command {
    let mut command = Command::new(program("swaks", "swaks"));
    let server = relay.address().to_string();
    command.args(["--server", &server, "--helo", "client.test", "--from", "a@x.test", "--to", to]);
    command.args(["--data", &format!("@{}", message.display())]);
    command
}

#[test]
fn swaks_delivers_plain_pipelined_and_under_tls() {
    let folder = Folder::new("swaks");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    // swaks ends the text itself.
    let sent = text("swaks");
    let message = folder.write("message", sent.strip_suffix("\r\n").unwrap());
    let ways: [(&str, &[&str], &str); 4] = [
        ("plain@y.test", &[], "with ESMTP id"),
        ("pipe@y.test", &["--pipeline"], "with ESMTP id"),
        ("tls@y.test", &["--tls"], "with ESMTPS id"),
        ("helo@y.test", &["--protocol", "SMTP"], "with SMTP id"),
    ];
    for (to, options, with) in ways {
        succeed(swaks(&relay, &message, to).args(options));
        let kept = sink.await_to(to);
        kept.assert_is(sent.as_bytes());
        let (trace, _) = kept.split_trace();
        assert!(
            trace.contains(with) && trace.contains("from client.test ([127.0.0.1])"),
            "{trace}"
        );
    }
}

#[test]
fn swaks_logs_in_and_only_then_may_relay() {
    let folder = Folder::new("swaks-auth");
    let sink = Sink::start(&folder, "sink", &[]);
    let settings = Settings { peers: "", more: account(), ..Settings::to(sink.address()) };
    let relay = Relay::start(&folder, &settings);
    let sent = text("swaks");
    let message = folder.write("message", sent.strip_suffix("\r\n").unwrap());
    for method in ["PLAIN", "LOGIN"] {
        let to = format!("{}@y.test", method.to_lowercase());
        let login = ["--tls", "--auth", method, "--auth-user", "acme", "--auth-password"];
        succeed(swaks(&relay, &message, &to).args(login).arg(PASSWORD));
        let kept = sink.await_to(&to);
        kept.assert_is(sent.as_bytes());
        assert!(kept.split_trace().0.contains("with ESMTPSA id"), "{kept:?}");

        let output = swaks(&relay, &message, &to).args(login).arg("wrong").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains("535 5.7.8"), "{said}");
    }
    for (options, refusal) in [(&[][..], "550 5.7.1"), (&["--tls"], "550 5.7.1")] {
        let output = swaks(&relay, &message, "b@y.test").args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(refusal), "{said}");
    }
    // A password in clear text is not even asked for.
    let mut clear = swaks(&relay, &message, "b@y.test");
    let output = clear.args(["--auth", "PLAIN", "--auth-user", "acme"]).arg("--auth-password");
    let output = output.arg(PASSWORD).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && !said.contains("250-AUTH"), "{said}");
    assert_eq!(sink.deliveries(), 2);
}

// ---- Python's smtplib

struct Case {
    name: &'static str,
    sender: &'static str,
    /// Of MAIL.
    options: &'static str,
    recipients: Vec<String>,
    content: Vec<u8>,
}

fn smtplib_cases() -> Vec<Case> {
    let ascii = || text("smtplib").into_bytes();
    let utf8 = || "Subject: Gr\u{fc}\u{df}e\r\n\r\n\u{20ac} \u{1f980}\r\n".as_bytes().to_vec();
    let latin = b"Subject: x\r\n\r\n\xe4\xf6\xfc\xff\x80\r\n".to_vec();
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcdef..\r\n".repeat(300_000));
    let to_one = |name, sender, options, content| Case {
        name,
        sender,
        options,
        recipients: vec![format!("{name}@y.test")],
        content,
    };
    let many = (0..120).map(|number| format!("r{number}@d{}.test", number % 7)).collect();
    vec![
        to_one("ascii", "a@x.test", "", ascii()),
        Case { recipients: many, ..to_one("many", "a@x.test", "", ascii()) },
        to_one("latin", "a@x.test", "BODY=8BITMIME", latin),
        to_one("utf8", "a@x.test", "BODY=8BITMIME SMTPUTF8", utf8()),
        to_one("gr\u{fc}\u{df}e", "\u{e4}@\u{fc}.test", "SMTPUTF8", utf8()),
        to_one("null", "", "", b"Subject: x\r\n\r\nnull sender\r\n".to_vec()),
        to_one("empty", "a@x.test", "", b"Subject: x\r\n\r\n".to_vec()),
        to_one("large", "a@x.test", "", large.into_bytes()),
    ]
}

#[test]
fn smtplib_delivers_every_kind_of_text() {
    let folder = Folder::new("smtplib");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings { shards: 2, ..Settings::to(sink.address()) });
    let cases = smtplib_cases();
    for Case { name, sender, options, recipients, content } in &cases {
        let lines = [*sender, *options].into_iter().chain(recipients.iter().map(String::as_str));
        folder.write(&format!("{name}.env"), lines.collect::<Vec<_>>().join("\n"));
        folder.write(&format!("{name}.eml"), content);
    }
    let (ip, port) = (relay.address().ip().to_string(), relay.address().port().to_string());
    let python = program("python3", "python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients.py");
    succeed(Command::new(python).args(["-X", "utf8", script, &ip, &port]).arg(folder.path("")));
    for Case { name, sender, options, recipients, content } in &cases {
        for recipient in recipients {
            let kept = sink.await_to(recipient);
            kept.assert_is(content);
            let mail = &kept.commands[0];
            assert!(mail.starts_with(&format!("MAIL FROM:<{sender}>")), "{name}: {mail}");
            for option in options.split_whitespace() {
                assert!(mail.contains(option), "{name}: {mail} lost {option}");
            }
        }
    }
    // Seven domains are seven transactions, and nobody is served twice.
    assert_eq!(sink.deliveries(), 127);
    assert_eq!(sink.kept().len(), 14);
}

// ---- lettre

#[test]
fn lettre_delivers_what_it_composed_and_what_it_was_given() {
    let folder = Folder::new("lettre");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    let mailer = SmtpTransport::builder_dangerous(relay.address().ip().to_string())
        .port(relay.address().port())
        .build();
    let composed = Message::builder()
        .from("Ann <ann@x.test>".parse().unwrap())
        .to("Joe <joe@y.test>".parse().unwrap())
        .cc("team@z.test".parse().unwrap())
        .subject("Gr\u{fc}\u{df}e")
        .body("Liebe Leute,\r\n.\r\n..\r\nbis bald\r\n".to_owned())
        .unwrap();
    mailer.send(&composed).unwrap();
    // lettre ends the last line of every text, whether it has an end or not.
    let ended = |mut text: Vec<u8>| {
        text.extend_from_slice(b"\r\n");
        text
    };
    for to in ["joe@y.test", "team@z.test"] {
        sink.await_to(to).assert_is(&ended(composed.formatted()));
    }
    let given = text("raw");
    let from = Some("a@x.test".parse().unwrap());
    let envelope = Envelope::new(from, vec!["raw@y.test".parse().unwrap()]).unwrap();
    mailer.send_raw(&envelope, given.as_bytes()).unwrap();
    sink.await_to("raw@y.test").assert_is(&ended(given.into()));
}

// ---- smtp-source

fn smtp_source(to: SocketAddr, options: &[&str]) {
    let mut command = Command::new(program("smtp-source", "postfix"));
    let common = ["-f", "a@x.test", "-t", "b@y.test", "-M", "client.test"];
    succeed(command.args(common).args(options).arg(to.to_string()));
}

/// The date and the number differ from message to message; everything else is the same.
fn without_date(content: &[u8]) -> String {
    let text = str::from_utf8(content).unwrap();
    let kept = text.split_inclusive("\r\n");
    kept.filter(|line| !line.starts_with("Date: ") && !line.starts_with("Message-Id: ")).collect()
}

/// What it sends is what it sends to the sink without us between.
fn assert_source_delivers(options: &[&str], messages: usize) {
    let folder = Folder::new("smtp-source");
    let sink = Sink::start(&folder, "sink", &[]);
    let direct = Sink::start(&folder, "direct", &[]);
    let settings = Settings { shards: 2, ..Settings::to(sink.address()) };
    let relay = Relay::start(&folder, &settings);
    let count = messages.to_string();
    smtp_source(relay.address(), &[options, &["-N", "-m", &count]].concat());
    smtp_source(direct.address(), &[options, &["-m", "1"]].concat());
    let expected = without_date(&direct.await_to("b@y.test").content);
    sink.await_deliveries(messages);
    let kept = sink.kept();
    assert_eq!(kept.len(), messages);
    for one in &kept {
        let got = without_date(one.split_trace().1);
        assert!(got == expected, "{}: {} octets differ", one.commands[1], got.len());
    }
    let recipients: BTreeSet<&String> = kept.iter().map(|one| &one.commands[1]).collect();
    assert_eq!(recipients.len(), messages, "each to one of its own");
}

#[test]
fn smtp_source_delivers_with_a_connection_for_each_message() {
    assert_source_delivers(&[], 50);
}

#[test]
fn smtp_source_delivers_over_connections_that_stay() {
    assert_source_delivers(&["-d", "-s", "20"], 500);
}

#[test]
fn smtp_source_delivers_over_200_connections_at_once() {
    assert_source_delivers(&["-s", "200"], 400);
}

#[test]
fn smtp_source_delivers_a_mebibyte() {
    assert_source_delivers(&["-d", "-l", "1048576"], 5);
}

#[test]
fn smtp_source_delivers_a_given_text() {
    let folder = Folder::new("smtp-source-text");
    let file = folder.write("message", text("given").replace("\r\n", "\n"));
    assert_source_delivers(&["-F", file.to_str().unwrap()], 3);
}

// ---- openssl

#[test]
fn openssl_delivers_after_starttls() {
    let folder = Folder::new("openssl");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    let mut command = Command::new(program("openssl", "openssl"));
    let address = relay.address().to_string();
    command.args(["s_client", "-starttls", "smtp", "-quiet", "-connect", &address]);
    let mut client = Child::start(command.stdin(Stdio::piped()).stderr(Stdio::null()), Ear::Output);
    let sent = text("openssl");
    let stuffed = sent.replace("\r\n.", "\r\n..");
    let dialogue: [(&str, &str); 6] = [
        ("EHLO client.test", "250 "),
        ("MAIL FROM:<a@x.test> BODY=8BITMIME", "250 "),
        ("RCPT TO:<b@y.test>", "250 "),
        ("DATA", "354 "),
        (&format!("{stuffed}."), "250 "),
        ("QUIT", "221 "),
    ];
    for (say, expected) in dialogue {
        client.input().write_all(format!("{say}\r\n").as_bytes()).unwrap();
        assert!(client.line_after(expected).is_some(), "{say:.40}: {:?}", client.said);
    }
    let kept = sink.await_to("b@y.test");
    kept.assert_is(sent.as_bytes());
    assert!(kept.split_trace().0.contains("with ESMTPS id"), "{kept:?}");
}

// ---- by hand: what none of them does

#[test]
fn chunks_arrive_as_lines_do() {
    let folder = Folder::new("chunks");
    let sink = Sink::start(&folder, "sink", &[]);
    let relay = Relay::start(&folder, &Settings::to(sink.address()));
    let sent = text("chunks");
    let mut talk = Talk::open(relay.address());
    // A chunk may end anywhere, between CR and LF as well.
    let (first, rest) = sent.split_at(sent.find("\r\n.").unwrap() + 1);
    talk.say("MAIL FROM:<a@x.test>", "250 ");
    talk.say("RCPT TO:<chunks@y.test>", "250 ");
    talk.send(format!(
        "BDAT {}\r\n{first}BDAT {}\r\n{rest}BDAT 0 LAST\r\n",
        first.len(),
        rest.len()
    ));
    for reply in ["250 ", "250 ", "250 2.0.0 queued"] {
        talk.expect(reply);
    }
    sink.await_to("chunks@y.test").assert_is(sent.as_bytes());
}
