//! A sink with sites: what a run is told, by the ledgers and by the sink's own count; TLS; notices.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Scratch, Server, run};

/// What the sink counted, by kind of site (`all` for their sum) and behaviour.
fn counted(summary: &str) -> BTreeMap<(String, String), u64> {
    let line = summary.lines().last().unwrap();
    let received = &serde_json::from_str::<serde_json::Value>(line).unwrap()["received"];
    let mut counts = BTreeMap::new();
    let mut enter = |site: &str, values: &serde_json::Value| {
        for (name, value) in values.as_object().unwrap() {
            if let Some(count) = value.as_u64() {
                counts.insert((site.to_owned(), name.clone()), count);
            }
        }
    };
    enter("all", received);
    enter("all", &received["behaviours"]);
    for site in received["sites"].as_array().unwrap() {
        let name = site["name"].as_str().unwrap();
        enter(name, site);
        enter(name, &site["behaviours"]);
    }
    counts
}

/// How many lines of a ledger end in each word.
fn ends(ledger: &str) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for line in fs::read_to_string(ledger).unwrap().lines() {
        *ends.entry(line.rsplit('\t').next().unwrap().to_owned()).or_default() += 1;
    }
    ends
}

fn write_profile(scratch: &Scratch, sites: &str) -> String {
    let file = scratch.path("profile.toml");
    fs::write(&file, format!("why = \"a test\"\n{sites}")).unwrap();
    file
}

#[test]
fn what_the_sink_counts_is_what_the_ledger_says() {
    let scratch = Scratch::new("sites");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let profile = write_profile(
        &scratch,
        r#"
        [[site]]
        name = "unknown"
        share = 250
        unknown-users = { share = 500, replies = ["551 5.1.6 moved"] }
        [[site]]
        name = "grey"
        share = 250
        greylist = { replies = ["450 4.2.0 greylisted"] }
        [[site]]
        name = "late"
        share = 250
        defer-messages = { share = 400, replies = ["452 4.3.1 full"] }
        "#,
    );
    let sink = Server::start(
        "sink",
        &["--profile", &profile, "--ledger", &delivered, "--progress", "--seed", "3"],
    );
    let send = ["send", "--to", &sink.address, "--messages", "400", "--sessions", "4"];
    let more = ["--domains", "40", "--ledger", &sent];
    for run_id in ["one", "two"] {
        // The same senders and recipients again, so that greylisting lets them pass.
        assert_eq!(run(&[&send[..], &more[..], &["--run-id", run_id]].concat()).1, 0);
    }
    let counts = counted(&sink.end());
    let count = |site: &str, what: &str| {
        counts.get(&(site.to_owned(), what.to_owned())).copied().unwrap_or_default()
    };
    let codes = ends(&sent);
    for (code, site, behaviour) in [
        ("551", "unknown", "unknown-user"),
        ("450", "grey", "greylisted"),
        ("452", "late", "message-deferred"),
    ] {
        assert!(codes[code] > 20, "{codes:?}");
        assert_eq!((count(site, behaviour), count("all", behaviour)), (codes[code], codes[code]));
    }
    assert_eq!(count("grey", "messages"), count("grey", "greylisted"), "the second time it passes");
    assert_eq!(codes["250"], count("all", "messages"));
    let taken: u64 =
        ["unknown", "grey", "late", "ordinary"].map(|name| count(name, "messages")).iter().sum();
    assert_eq!(taken, count("all", "messages"));
    assert_eq!(count("ordinary", "sessions"), 8, "whoever calls a shared address");
    // An address that does not exist does not exist the second time either.
    let refused = |run_id: &str| -> Vec<String> {
        let ledger = fs::read_to_string(&sent).unwrap();
        let lines = ledger.lines().filter(|line| line.starts_with(run_id) && line.ends_with("551"));
        lines.map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect()
    };
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(refused("one")), sorted(refused("two")));
    let (output, code) = run(&["balance", "--sent", &sent, "--delivered", &delivered]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("unexpected 0\n"), "{output}");
}

#[test]
fn sites_at_their_own_addresses_behave_each_in_its_way() {
    let scratch = Scratch::new("addresses");
    let profile = write_profile(
        &scratch,
        "[[site]]\nname = \"silent\"\nshare = 250\ndead = \"silent\"\n\
         [[site]]\nname = \"resets\"\nshare = 250\ndead = \"reset\"\n\
         [[site]]\nname = \"refuses\"\nshare = 250\nrefuse-sessions = { share = 1000 }\n",
    );
    let sink = Server::start("sink", &["--profile", &profile, "--whole-loopback"]);
    let port: u16 = sink.address.rsplit(':').next().unwrap().parse().unwrap();
    // Both hosts of 16 sites, as `dns --spread --sites 16` places them.
    let mut held = Vec::new();
    let mut greeting = |host: u8| -> std::io::Result<String> {
        let mut stream = TcpStream::connect((format!("127.64.0.{host}"), port))?;
        // Who is silent stays so until we leave, and then there is nothing but the end. A reset may
        // be faster than we are.
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        held.push(stream);
        Ok(said.get(..3).unwrap_or("end").to_owned())
    };
    let greetings: Vec<String> = (0..32)
        .map(|host| greeting(host).unwrap_or_else(|error| format!("{:?}", error.kind())))
        .collect();
    let of = |what: &str| greetings.iter().filter(|greeting| *greeting == what).count();
    for greeting in ["220", "554", "end", "ConnectionReset"] {
        assert!((6..=10).contains(&of(greeting)), "{greetings:?}");
    }
    assert!(greetings.chunks(2).all(|hosts| hosts[0] == hosts[1]), "{greetings:?}");
    let summary = sink.end();
    let expected = format!("site silent: sessions={0} messages=0 dead={0}\n", of("end"));
    assert!(summary.contains(&expected), "{summary}");
    let expected =
        format!("site refuses: sessions={0} messages=0 session-refused={0}\n", of("554"));
    assert!(summary.contains(&expected), "{summary}");
}

#[test]
fn cut_connections_leave_the_ledgers_in_balance() {
    let scratch = Scratch::new("cuts");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let profile = write_profile(
        &scratch,
        "[[site]]\nname = \"cuts\"\nshare = 1000\n\
         drop = { data = 100, final = 100, taken = 100 }\n",
    );
    let sink =
        Server::start("sink", &["--profile", &profile, "--ledger", &delivered, "--progress"]);
    let common = ["send", "--to", &sink.address, "--messages", "200", "--sessions", "2"];
    for (run_id, framing) in [("dots", "--pipelining"), ("chunks", "--chunking")] {
        run(&[&common[..], &[framing, "--ledger", &sent, "--run-id", run_id]].concat());
    }
    let counts = counted(&sink.end());
    let count = |what: &str| counts[&("all".to_owned(), what.to_owned())];
    let codes = ends(&sent);
    let cuts = ["dropped-in-data", "dropped-at-end", "dropped-taken"].map(count);
    assert!(cuts.iter().all(|cut| *cut > 10), "{cuts:?}");
    assert_eq!(codes["unknown"], cuts.iter().sum::<u64>());
    assert_eq!(codes["250"] + count("dropped-taken"), count("messages"));
    let (output, code) = run(&["balance", "--sent", &sent, "--delivered", &delivered]);
    assert_eq!(code, 0, "{output}");
}

#[test]
fn a_bad_profile_is_refused_before_anything_is_served() {
    let scratch = Scratch::new("bad-profile");
    let profile = write_profile(&scratch, "[[site]]\nname = \"a\"\nshare = 1\ntls = 5\n");
    for file in [profile.as_str(), "/no/such/profile"] {
        assert_eq!(run(&["sink", "--listen", "127.0.0.1:0", "--profile", file]).1, 2);
    }
    let missing = scratch.path("missing.pem");
    let files = ["--certificate", &missing, "--key", &missing];
    assert_eq!(run(&[&["sink", "--listen", "127.0.0.1:0"][..], &files].concat()).1, 2);
}

/// A client that takes any certificate and remembers none.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn tls(version: &'static rustls::SupportedProtocolVersion) -> ClientConnection {
    let verifier = Arc::new(AnyCertificate(ring::default_provider()));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "sink.test".try_into().unwrap()).unwrap()
}

/// Says `line`; gives the last line of the reply.
fn ask(stream: &mut BufReader<impl Read + Write>, line: &str) -> String {
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    reply(stream)
}

fn reply(stream: &mut BufReader<impl Read>) -> String {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

/// A connection on which STARTTLS was answered.
fn ready_for_tls(address: &str, answer: &str) -> TcpStream {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    assert!(reply(&mut stream).starts_with("220 "));
    assert!(ask(&mut stream, "EHLO me.test\r\n").starts_with("250 "));
    assert!(ask(&mut stream, "STARTTLS\r\n").starts_with(answer));
    stream.into_inner()
}

#[test]
fn a_message_comes_under_tls() {
    let scratch = Scratch::new("tls");
    let delivered = scratch.path("delivered");
    let sink = Server::start("sink", &["--tls", "--ledger", &delivered, "--progress"]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = ready_for_tls(&sink.address, "220 ");
        let mut stream = BufReader::new(StreamOwned::new(tls(version), stream));
        assert!(ask(&mut stream, "EHLO me.test\r\n").starts_with("250 "));
        assert!(ask(&mut stream, "STARTTLS\r\n").starts_with("500 "), "once is enough");
        assert!(ask(&mut stream, "MAIL FROM:<a@x.test>\r\n").starts_with("250 "));
        assert!(ask(&mut stream, "RCPT TO:<b@x.test>\r\n").starts_with("250 "));
        assert!(ask(&mut stream, "DATA\r\n").starts_with("354 "));
        // Larger than a record, so that it comes in several.
        let body = "x".repeat(70).repeat(1000) + "\r\n.\r\n";
        assert!(ask(&mut stream, &format!("Subject: s\r\n\r\n{body}")).starts_with("250 "));
        assert!(ask(&mut stream, "QUIT\r\n").starts_with("221 "));
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "ended as TLS asks for");
    }
    let counts = counted(&sink.end());
    let count = |what: &str| counts[&("all".to_owned(), what.to_owned())];
    assert_eq!((count("secured"), count("messages"), count("sessions")), (2, 2, 2));
    let ledger = fs::read_to_string(&delivered).unwrap();
    assert_eq!(ledger.lines().filter(|line| line.starts_with("-\tb@x.test\t")).count(), 2);
}

#[test]
fn a_certificate_can_be_given() {
    let scratch = Scratch::new("certificate");
    let made = rcgen::generate_simple_self_signed(["mine.test".to_owned()]).unwrap();
    let (certificate, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let sink = Server::start("sink", &["--certificate", &certificate, "--key", &key]);
    let stream = ready_for_tls(&sink.address, "220 ");
    let mut stream = BufReader::new(StreamOwned::new(tls(&rustls::version::TLS13), stream));
    assert!(ask(&mut stream, "NOOP\r\n").starts_with("250 "));
    assert_eq!(stream.get_ref().conn.peer_certificates().unwrap()[0], *made.cert.der());
    // Files that are not what they should be.
    for (certificate, key) in [(&key, &key), (&certificate, &certificate)] {
        let files = ["--certificate", certificate, "--key", key];
        assert_eq!(run(&[&["sink", "--listen", "127.0.0.1:0"][..], &files].concat()).1, 2);
    }
}

#[test]
fn handshakes_fail_in_the_way_asked_for() {
    for (way, answer, outcome) in [
        ("refused", "454 ", None),
        ("fails", "220 ", Some("HandshakeFailure")),
        ("garbage", "220 ", Some("InvalidMessage")),
        ("closes", "220 ", Some("")),
    ] {
        let scratch = Scratch::new(way);
        let site = format!("[[site]]\nname = \"it\"\nshare = 1000\ntls = \"{way}\"\n");
        let profile = write_profile(&scratch, &site);
        let sink = Server::start("sink", &["--profile", &profile, "--whole-loopback"]);
        let port = sink.address.rsplit(':').next().unwrap();
        let mut stream = ready_for_tls(&format!("127.64.0.9:{port}"), answer);
        match outcome {
            None => {
                let mut stream = BufReader::new(stream);
                assert!(ask(&mut stream, "MAIL FROM:<a@x.test>\r\n").starts_with("250 "));
            }
            Some(expected) => {
                let error = tls(&rustls::version::TLS13).complete_io(&mut stream).unwrap_err();
                assert!(format!("{error:?}").contains(expected), "{way}: {error:?}");
            }
        }
        assert!(sink.end().contains("broken-tls=1"), "{way}");
    }
}

/// A notice about `recipient`, with the header of the message or without.
fn notice(recipient: &str, action: &str, header: &str) -> String {
    format!(
        "From: MAILER-DAEMON@relay.test\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\r\n\r\n\
         --b1\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n\
         --b1\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; relay.test\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: 5.1.1\r\n\r\n\
         --b1\r\nContent-Type: text/rfc822-headers\r\n\r\n{header}Subject: x\r\n\r\n--b1--\r\n"
    )
}

#[test]
fn notices_balance_what_was_not_delivered() {
    let scratch = Scratch::new("notices");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let bounces = scratch.path("bounces");
    let files = ["--ledger", &delivered, "--bounces", &bounces];
    let sink = Server::start("sink", &[&files[..], &["--progress"]].concat());
    // What a relay took and could not deliver.
    let lines: String = (1..5).map(|n| format!("r-{n}\tr{n}@x.test\t250\n")).collect();
    fs::write(&sent, lines).unwrap();
    let mut client = BufReader::new(TcpStream::connect(&sink.address).unwrap());
    reply(&mut client);
    let mark = "X-Baton-Load: r-1 crc=12345678 at=0000000000000001\r\n";
    for content in [
        notice("r1@x.test", "failed", mark),
        notice("r2@x.test", "failed", ""),
        notice("r3@x.test", "delayed", ""),
        "Subject: no notice\r\n\r\nFinal-Recipient: rfc822; r4@x.test\r\n".to_owned(),
    ] {
        ask(&mut client, "MAIL FROM:<>\r\n");
        ask(&mut client, "RCPT TO:<sender1@x.test>\r\n");
        ask(&mut client, "DATA\r\n");
        assert!(ask(&mut client, &format!("{content}.\r\n")).starts_with("250 "));
    }
    // Written before the answer, so it can be read while the sink is at work.
    assert_eq!(fs::read_to_string(&bounces).unwrap(), "r-1\tr1@x.test\n-\tr2@x.test\n");
    let counts = counted(&sink.end());
    let count = |what: &str| counts[&("all".to_owned(), what.to_owned())];
    let seen = ["foreign", "notices", "bounced", "delayed"].map(count);
    assert_eq!(seen, [4, 3, 2, 1]);
    let ledgers = ["balance", "--sent", &sent, "--delivered", &delivered, "--bounced", &bounces];
    let (output, code) = run(&ledgers);
    assert_eq!(code, 1);
    for line in ["bounced 2\n", "duplicates 0\n", "missing 2\n", "unexpected 0\n"] {
        assert!(output.contains(line), "{output}");
    }

    // The recipient alone does not tell two messages apart.
    let twice = fs::read_to_string(&sent).unwrap() + "r-9\tr2@x.test\t250\n";
    fs::write(&sent, twice).unwrap();
    assert_eq!(run(&ledgers).1, 2);
}
