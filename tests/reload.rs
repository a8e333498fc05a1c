//! Does SIGHUP keep what the declarations of the knobs promise? A running relay is given another
//! file: what applies is seen on new connections, what began before goes on as it began, what needs
//! a restart is named, and a file with problems changes nothing.
//!
//! The event is the sign that every shard goes by the new file, so nothing here waits for time.

use crate::process::{Folder, Relay, Settings, Talk, eventually};
use argon2::password_hash::{PasswordHasher, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

const PEER: &str = "[[peer]]\nnetwork = \"127.0.0.0/8\"\naccount = \"local\"\n";

/// Gives the relay another file and waits until it has said what it makes of it: the `count`th
/// event of this name.
fn reload(relay: &Relay<'_>, settings: &Settings<'_>, event: &str, count: usize) -> Value {
    relay.reload(settings);
    eventually(event, || relay.events(event).into_iter().nth(count - 1))
}

fn account(name: &str, password: &str) -> String {
    // As cheap as the configuration allows; nothing is protected here.
    let cheap = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    let hash: PasswordHash =
        argon2.hash_password_with_salt(password.as_bytes(), b"saltsalt").unwrap();
    format!("[[account]]\nname = \"{name}\"\npassword_hash = \"{hash}\"\n")
}

fn auth(name: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{name}\0{password}")))
}

/// Envelope sender and 100 recipients, which is what `limits.recipients_max` is set to.
fn hundred(talk: &mut Talk) {
    talk.say("MAIL FROM:<a@x.test>", "250 ");
    for number in 0..100 {
        talk.say(&format!("RCPT TO:<r{number}@y.test>"), "250 ");
    }
}

#[test]
fn a_new_limit_is_for_new_connections() {
    let folder = Folder::new("reload-limit");
    // Two, so that a shard that was not told would be found.
    let settings = Settings { shards: 2, ..Settings::default() };
    let relay = Relay::start(&folder, &settings);
    let mut before: Vec<Talk> = (0..4).map(|_| Talk::open(relay.address())).collect();

    let more = "[limits]\nrecipients_max = 100\nsessions_max = 8\n".to_owned();
    let less = Settings { more, ..settings.clone() };
    let event = reload(&relay, &less, "config-reloaded", 1);
    assert_eq!(event["changed"], json!(["limits.recipients_max", "limits.sessions_max"]));
    assert_eq!(event["waiting"], json!([]));

    let mut after: Vec<Talk> = (0..4).map(|_| Talk::open(relay.address())).collect();
    for talk in &mut after {
        hundred(talk);
        talk.say("RCPT TO:<more@y.test>", "452 4.5.3 ");
    }
    for talk in &mut before {
        hundred(talk);
        talk.say("RCPT TO:<more@y.test>", "250 ");
    }
    // All eight seats are taken, those from before included.
    Talk::connect(relay.address()).expect("421 ");

    let event = reload(&relay, &settings, "config-reloaded", 2);
    assert_eq!(event["changed"], json!(["limits.recipients_max", "limits.sessions_max"]));
    let mut talk = Talk::open(relay.address());
    hundred(&mut talk);
    talk.say("RCPT TO:<more@y.test>", "250 ");
}

#[test]
fn peers_and_accounts_come_and_go() {
    let folder = Folder::new("reload-peers");
    let settings = Settings {
        listener: "auth_without_tls = true",
        peers: PEER,
        more: account("acme", "old"),
        ..Settings::default()
    };
    let relay = Relay::start(&folder, &settings);
    let mut peer = Talk::open(relay.address());
    let mut early = Talk::open(relay.address());
    let mut customer = Talk::open(relay.address());
    customer.say(&auth("acme", "old"), "235 ");

    let other = Settings { peers: "", more: account("acme", "new"), ..settings.clone() };
    let event = reload(&relay, &other, "config-reloaded", 1);
    assert_eq!(event["changed"], json!(["peer", "account.password_hash"]));

    // Who relayed goes on; a login is new on any connection.
    peer.mail("a@x.test", "b@y.test", "as before");
    customer.mail("a@x.test", "b@y.test", "as before");
    early.say(&auth("acme", "old"), "535 ");

    let mut stranger = Talk::open(relay.address());
    stranger.say("MAIL FROM:<a@x.test>", "550 5.7.1 ");
    stranger.say(&auth("acme", "old"), "535 ");
    stranger.say(&auth("acme", "new"), "235 ");
    stranger.mail("a@x.test", "b@y.test", "by the new password");
}

#[test]
fn a_broken_file_changes_nothing() {
    let folder = Folder::new("reload-broken");
    let settings = Settings::default();
    let mut relay = Relay::start(&folder, &settings);
    let more = "[limits]\nrecipients_max = 100\nhops_max = 0\nhop_max = 3\n".to_owned();
    let event = reload(&relay, &Settings { more, ..settings.clone() }, "config-rejected", 1);
    assert_eq!(event["problems"], 2);
    let first = event["first"].as_str().unwrap();
    assert!(first.contains("baton.toml:") && first.contains("`hops_max` is 0"), "{event}");

    let mut talk = Talk::open(relay.address());
    hundred(&mut talk);
    talk.say("RCPT TO:<more@y.test>", "250 ");

    // Both files are right, but not together while the budget stays.
    let more = "[limits]\nmessage_bytes_max = \"1GiB\"\n\
        [memory]\ninflight_bytes_max = \"1GiB\"\ncommit_bytes_max = \"1GiB\"\n\
        [disk]\nfree_bytes_min = \"2GiB\"\n";
    let more = Settings { more: more.to_owned(), ..settings.clone() };
    let event = reload(&relay, &more, "config-rejected", 2);
    assert!(event["first"].as_str().unwrap().contains("needs a restart"), "{event}");

    // The file that it runs by is no change.
    let event = reload(&relay, &settings, "config-reloaded", 1);
    assert_eq!((&event["changed"], &event["waiting"]), (&json!([]), &json!([])));
    // It would be given the grace for its message.
    drop(talk);
    assert_eq!(relay.stop(), Some(0));
    let said = relay.process.rest();
    let both = said.contains("`hops_max` is 0") && said.contains("unknown key `hop_max`");
    assert!(both, "all problems are printed: {said}");
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let folder = Folder::new("reload-waits");
    let settings = Settings::default();
    let relay = Relay::start(&folder, &settings);
    let address = "127.0.0.2:0".to_owned();
    let other = Settings { address, route: "connections_max = 3", ..settings.clone() };
    for count in [1, 2] {
        let event = reload(&relay, &other, "config-reloaded", count);
        assert_eq!(event["changed"], json!([]));
        assert_eq!(event["waiting"], json!(["listener.address", "route.connections_max"]));
    }
    Talk::open(relay.address()).mail("a@x.test", "b@y.test", "here as before");
}

#[test]
fn the_log_level_and_the_file_of_the_log_are_those_of_the_reload() {
    let folder = Folder::new("reload-log");
    let settings = Settings::default();
    let relay = Relay::start(&folder, &settings);
    Talk::open(relay.address()).say("QUIT", "221 ");
    let log = folder.path("events.jsonl");
    std::fs::rename(&log, folder.path("events.jsonl.1")).expect("a log");
    let debug = Settings { log: "level = \"debug\"", ..settings };
    let event = reload(&relay, &debug, "config-reloaded", 1);
    assert_eq!(event["changed"], json!(["log.level"]));
    Talk::open(relay.address()).say("QUIT", "221 ");
    eventually("a line of a session", || relay.events("session-opened").pop());
}
