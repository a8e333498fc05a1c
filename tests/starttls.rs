//! The real binary delivers under TLS into servers that others wrote, and takes mail from them so.
//!
//! aiosmtpd over OpenSSL, which tells whether a session was resumed, and Postfix on both sides.
//! What each policy of a route does is seen at the server, in the queue and in the event log.
//! Certificates are made for each test by an authority of its own.

use crate::process::{
    Aiosmtpd, Folder, Postfix, Relay, Settings, Sink, Talk, body_with_everything, eventually,
    program, succeed,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

const NAME: &str = "mx.test";

/// Who vouches for the servers of a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Key and certificate of a server, one text.
    fn certify(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        format!("{}{}", key.serialize_pem(), certificate.pem())
    }
}

/// A relay whose mail for y.test goes to `server`, a connection for each message.
fn settings(server: SocketAddr, route: &str, delivery: &str) -> Settings<'static> {
    let more = format!(
        "[[route]]\ndomain = \"y.test\"\nvia = [\"{server}\"]\n{route}\n\
         [delivery]\nmessages_per_connection_max = 1\nretry_first = \"1s\"\n{delivery}\n"
    );
    Settings { more, ..Settings::default() }
}

fn trust(folder: &Folder, authority: &Authority) -> String {
    let path = folder.write("roots.pem", &authority.pem);
    format!("trust_file = \"{}\"", path.display())
}

fn await_told(relay: &Relay<'_>, deliveries: usize) {
    let told = || (relay.count_events("recipient-delivered") == deliveries).then_some(());
    eventually("the delivery in the log", told);
}

/// Sends messages one after the other, each when the one before was delivered, and gives what
/// the log says of the encryption of each.
fn deliver(relay: &Relay<'_>, count: usize) -> Vec<Value> {
    for number in 1..=count {
        Talk::open(relay.address()).mail("a@x.test", "b@y.test", "tls");
        await_told(relay, number);
    }
    relay.events("recipient-delivered").into_iter().map(|event| event["tls"].clone()).collect()
}

#[track_caller]
fn assert_secured(told: &[Value], verified: bool) {
    for tls in told {
        assert_eq!((&tls["version"], &tls["verified"]), (&json!("TLSv1.3"), &json!(verified)));
        assert!(tls["cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS_")), "{tls}");
    }
}

/// What a server of this certificate and a route of these keys come to.
#[track_caller]
fn assert_delivered(certificate_for: &str, route: &str, trusts: bool, verified: bool) {
    let (folder, authority) = (Folder::new("starttls"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(certificate_for));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap()]);
    let delivery = if trusts { trust(&folder, &authority) } else { String::new() };
    let relay = Relay::start(&folder, &settings(server.address(), route, &delivery));
    assert_secured(&deliver(&relay, 3), verified);
    // A name is told to the server, an address is not (RFC 6066 3).
    let quoted = route.split_once("tls_name = ").map(|(_, name)| name.trim_matches('"'));
    let name = quoted.unwrap_or("None");
    let (new, resumed) = (format!("TLSv1.3 new {name}"), format!("TLSv1.3 resumed {name}"));
    // A second connection spares both sides the signatures.
    assert_eq!(server.tls(), [new, resumed.clone(), resumed]);
    for (_, content) in server.kept() {
        assert!(content.ends_with("Subject: tls\r\n\r\nhello\r\n"), "{content}");
    }
}

#[test]
fn a_session_is_resumed_whichever_shard_connects() {
    let (folder, authority) = (Folder::new("shards"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap()]);
    let settings = settings(server.address(), "tls = \"require\"", "");
    let relay = Relay::start(&folder, &Settings { shards: 2, ..settings });
    // Connections that are open at the same time are spread evenly.
    let mut talks = [Talk::open(relay.address()), Talk::open(relay.address())];
    for number in 1..=4 {
        talks[number % 2].mail("a@x.test", "b@y.test", "tls");
        await_told(&relay, number);
    }
    let told = relay.events("recipient-delivered");
    let shards: HashSet<String> = told.iter().map(|event| event["shard"].to_string()).collect();
    assert_eq!(shards.len(), 2, "{told:?}");
    let new = server.tls().into_iter().filter(|tls| tls.contains("new"));
    assert_eq!(new.count(), 1);
}

#[test]
fn tls_1_2_is_verified_and_resumed_as_well() {
    let (folder, authority) = (Folder::new("tls-1.2"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap(), "1.2"]);
    for (route, verified) in [("opportunistic", true), ("verify", true), ("require", true)] {
        let own = Folder::new("tls-1.2-relay");
        let route = format!("tls = \"{route}\"\ntls_name = \"mx.test\"");
        let settings = settings(server.address(), &route, &trust(&folder, &authority));
        for tls in deliver(&Relay::start(&own, &settings), 2) {
            assert_eq!((&tls["version"], &tls["verified"]), (&json!("TLSv1.2"), &json!(verified)));
        }
    }
    assert_eq!(server.tls(), ["TLSv1.2 new mx.test", "TLSv1.2 resumed mx.test"].repeat(3));
}

/// X.509 version 1, which rustls does not read: good enough to be safe from listeners, and never
/// verified, also when it is the very certificate that is trusted.
#[test]
fn a_certificate_that_cannot_be_read_still_encrypts() {
    let folder = Folder::new("x509-v1");
    let [key, request, certificate] =
        ["key.pem", "request.pem", "certificate.pem"].map(|name| folder.path(name));
    let openssl = || Command::new(program("openssl", "openssl"));
    let mut ask = openssl();
    ask.args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx.test", "-keyout"]);
    succeed(ask.arg(&key).arg("-out").arg(&request));
    let mut sign = openssl();
    sign.args(["x509", "-req", "-days", "2", "-in"]).arg(&request).arg("-signkey").arg(&key);
    succeed(sign.arg("-out").arg(&certificate));
    let shown = succeed(openssl().args(["x509", "-noout", "-text", "-in"]).arg(&certificate));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Version: 1 "), "{shown:?}");
    let both = [&key, &certificate].map(|path| fs::read_to_string(path).unwrap()).concat();
    let pem = folder.write("server.pem", both);
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap()]);
    for route in ["tls = \"require\"", "tls = \"opportunistic\"\ntls_name = \"mx.test\""] {
        let own = Folder::new("x509-v1-relay");
        let relay = Relay::start(&own, &settings(server.address(), route, ""));
        assert_secured(&deliver(&relay, 1), false);
    }
}

#[test]
fn require_takes_any_certificate_and_resumes() {
    assert_delivered(NAME, "tls = \"require\"", false, false);
}

#[test]
fn opportunistic_encrypts_and_tells_that_nobody_vouches() {
    assert_delivered(NAME, "tls = \"opportunistic\"", false, false);
}

#[test]
fn opportunistic_tells_of_a_good_certificate_also_when_it_resumes() {
    let route = "tls = \"opportunistic\"\ntls_name = \"mx.test\"";
    assert_delivered(NAME, route, true, true);
}

#[test]
fn opportunistic_does_not_mind_another_name() {
    let route = "tls = \"opportunistic\"\ntls_name = \"other.test\"";
    assert_delivered(NAME, route, true, false);
}

#[test]
fn verify_takes_the_name_that_is_written() {
    assert_delivered(NAME, "tls = \"verify\"\ntls_name = \"mx.test\"", true, true);
}

#[test]
fn verify_takes_the_address_of_the_host_without_one() {
    assert_delivered("127.0.0.1", "tls = \"verify\"", true, true);
}

/// The message waits, and the server never sees it. `why` is a part of the cause.
#[track_caller]
fn assert_waits(server: &Aiosmtpd, folder: &Folder, route: &str, delivery: &str, why: &str) {
    let relay = Relay::start(folder, &settings(server.address(), route, delivery));
    Talk::open(relay.address()).mail("a@x.test", "b@y.test", "not so");
    let deferred = eventually("two attempts", || {
        let events = relay.events("recipient-deferred");
        (events.len() > 1).then_some(events)
    });
    for event in deferred {
        assert_eq!(event["stage"], "starttls", "{event}");
        assert!(event["cause"].as_str().unwrap().contains(why), "{event}");
    }
    assert_eq!((relay.queued(), server.kept().len()), (1, 0));
    assert_eq!(relay.count_events("handshake-failed"), 0, "that would say it goes in clear");
}

#[test]
fn verify_refuses_an_authority_that_nobody_trusts() {
    let (folder, authority) = (Folder::new("untrusted"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap()]);
    let (route, others) = ("tls = \"verify\"\ntls_name = \"mx.test\"", Authority::new());
    assert_waits(&server, &folder, route, &trust(&folder, &others), "invalid peer certificate");
}

#[test]
fn verify_refuses_another_name() {
    let (folder, authority) = (Folder::new("misnamed"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap()]);
    for route in ["tls = \"verify\"\ntls_name = \"other.test\"", "tls = \"verify\""] {
        let own = Folder::new("misnamed");
        assert_waits(&server, &own, route, &trust(&folder, &authority), "not valid for name");
    }
}

#[test]
fn require_waits_for_a_server_that_offers_nothing() {
    let folder = Folder::new("no-starttls");
    let server = Aiosmtpd::start(&folder, &[]);
    assert_waits(&server, &folder, "tls = \"require\"", "", "4.7.4 the next hop does not offer");
}

#[test]
fn require_waits_for_a_server_that_fails_at_it() {
    let (folder, authority) = (Folder::new("old-tls"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap(), "old"]);
    assert_waits(&server, &folder, "tls = \"require\"", "", "4.7.5 the TLS handshake failed");
}

#[test]
fn opportunistic_goes_in_clear_where_the_handshake_fails_and_remembers() {
    assert_goes_in_clear("old");
}

#[test]
fn opportunistic_goes_in_clear_where_tls_fails_behind_the_handshake_and_remembers() {
    assert_goes_in_clear("picky");
}

#[track_caller]
fn assert_goes_in_clear(server_is: &str) {
    let (folder, authority) = (Folder::new("broken-tls"), Authority::new());
    let pem = folder.write("server.pem", authority.certify(NAME));
    let server = Aiosmtpd::start(&folder, &[pem.to_str().unwrap(), server_is]);
    let relay = Relay::start(&folder, &settings(server.address(), "tls = \"opportunistic\"", ""));
    assert_eq!(deliver(&relay, 3), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(server.tls(), ["clear"; 3]);
    let failed = relay.events("handshake-failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["remote"], server.address().to_string());
    // It was tried again at once: that the host failed at TLS delayed nothing.
    assert_eq!(relay.count_events("recipient-deferred"), 0);
}

#[test]
fn roots_that_cannot_be_used_are_an_error_at_start() {
    let folder = Folder::new("roots");
    let empty = folder.write("empty.pem", "nothing\n");
    let missing = folder.path("missing.pem");
    for (path, says) in [(empty, "holds no certificate"), (missing, "cannot read")] {
        let delivery = format!("trust_file = \"{}\"", path.display());
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let settings = settings(nobody, "tls = \"opportunistic\"", &delivery);
        let (code, said) = Relay::fail(&folder, &settings, "baton.toml");
        assert!(code != Some(0) && said.contains(says), "{code:?} {said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
    }
}

// ---- REQUIRETLS

/// From a client over two relays: the first carries the requirement on, the second has nowhere to
/// go with it and says so instead of sending in clear (RFC 8689 4.2.1).
#[test]
fn requiretls_is_kept_from_hop_to_hop_and_never_dropped() {
    let (folder, authority) = (Folder::new("requiretls"), Authority::new());
    let sink_folder = Folder::new("requiretls-sink");
    let sink = Sink::start(&sink_folder, "sink", &[]);
    let pem = folder.write("server.pem", authority.certify(NAME));
    let listener = format!("certificate = \"{0}\"\nkey = \"{0}\"", pem.display());
    let last_folder = Folder::new("requiretls-last");
    let last_settings = Settings { listener: &listener, ..Settings::to(sink.address()) };
    let last = Relay::start(&last_folder, &last_settings);
    let route = "tls = \"verify\"\ntls_name = \"mx.test\"";
    let first_settings = settings(last.address(), route, &trust(&folder, &authority));
    let first = Relay::start(&folder, &first_settings);

    let outbox = folder.path("outbox");
    fs::create_dir_all(&outbox).unwrap();
    fs::write(outbox.join("1.eml"), "Subject: secret\r\n\r\nonly for you\r\n").unwrap();
    fs::write(outbox.join("1.env"), "a@x.test\nREQUIRETLS\nb@y.test\n").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients.py");
    let address = first.address();
    let mut client = Command::new("/usr/bin/python3");
    client.arg(script).args([address.ip().to_string(), address.port().to_string()]);
    succeed(client.arg(&outbox).arg("starttls"));

    let delivered = eventually("a delivery in the log", || {
        first.events("recipient-delivered").into_iter().next()
    });
    assert_secured(&[delivered["tls"].clone()], true);
    // The notice requires TLS as well and finds none; nobody is told of a notice that bounces.
    let bounced = eventually("two bounces", || {
        let events = last.events("recipient-bounced");
        (events.len() == 2).then_some(events)
    });
    for event in bounced {
        assert!(event["cause"].as_str().unwrap().starts_with("5.7.30 "), "{event}");
    }
    last.await_empty_queue();
    assert_eq!(sink.deliveries(), 0);
}

// ---- Postfix

fn text(subject: &str) -> String {
    format!("From: a@x.test\r\nSubject: {subject}\r\n{}", body_with_everything())
}

fn feed(server: SocketAddr, count: usize, sent: &str) {
    let mut talk = Talk::open(server);
    for number in 0..count {
        talk.begin("a@x.test", &format!("r{number}@y.test"));
        talk.say(&format!("{}.", sent.replace("\r\n.", "\r\n..")), "250 2.0.0 ");
    }
}

#[test]
fn postfix_gets_it_under_tls_and_hands_it_on() {
    let (folder, authority) = (Folder::new("to-postfix"), Authority::new());
    let sink = Sink::start(&folder, "sink", &[]);
    let pem = authority.certify(NAME);
    let more = "smtpd_tls_security_level = encrypt";
    let postfix = Postfix::start("server", sink.address(), &pem, more);
    let route = "tls = \"verify\"\ntls_name = \"mx.test\"";
    let settings = settings(postfix.address(), route, &trust(&folder, &authority));
    let relay = Relay::start(&folder, &settings);
    let sent = text("to Postfix");
    feed(relay.address(), 10, &sent);
    relay.await_empty_queue();
    sink.await_deliveries(10);
    postfix.await_empty_queue();
    let told = eventually("ten deliveries in the log", || {
        let events = relay.events("recipient-delivered");
        (events.len() == 10).then_some(events)
    });
    assert_secured(&told.into_iter().map(|event| event["tls"].clone()).collect::<Vec<_>>(), true);
    for number in 0..10 {
        let kept = sink.await_to(&format!("r{number}@y.test"));
        let content = String::from_utf8(kept.content).unwrap();
        assert!(content.contains("(using TLSv1.3 with cipher TLS_"), "{content}");
        assert!(content.ends_with(&sent), "{content}");
    }
}

#[track_caller]
fn assert_postfix_delivers(name: &str, level: &str, listener_tls: &str, with: &str) {
    let (folder, authority) = (Folder::new("from-postfix"), Authority::new());
    let sink = Sink::start(&folder, "sink", &[]);
    let listener = format!("tls = \"{listener_tls}\"");
    let relay_settings = Settings { listener: &listener, ..Settings::to(sink.address()) };
    let relay = Relay::start(&folder, &relay_settings);
    let more = format!("smtp_tls_security_level = {level}");
    let postfix = Postfix::start(name, relay.address(), &authority.certify(NAME), &more);
    let sent = text("from Postfix");
    feed(postfix.address(), 10, &sent);
    sink.await_deliveries(10);
    postfix.await_empty_queue();
    relay.await_empty_queue();
    for number in 0..10 {
        let kept = sink.await_to(&format!("r{number}@y.test"));
        let (trace, _) = kept.split_trace();
        assert!(trace.contains(with), "{trace}");
        let content = String::from_utf8(kept.content).unwrap();
        assert!(content.ends_with(&sent), "{content}");
    }
}

#[test]
fn postfix_sends_under_tls_where_it_insists() {
    assert_postfix_delivers("insists", "encrypt", "starttls", "with ESMTPS id");
}

#[test]
fn postfix_sends_under_tls_where_it_may() {
    assert_postfix_delivers("may", "may", "starttls", "with ESMTPS id");
}

#[test]
fn postfix_sends_in_clear_where_nothing_is_offered() {
    assert_postfix_delivers("clear", "may", "none", "with ESMTP id");
}
