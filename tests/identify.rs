//! Who sent it: the tables of identities and of domain lockdown.
//!
//! `tests/tables/identify.txt` is the specification of the rules, panel by panel, with forged,
//! folded, doubled and broken headers; `tests/tables/lockdown.txt` that of the DNS records.

use crate::wire::{rows, unescape};
use baton::config::Config;
use baton::identify::lockdown::{self, Lock, Vocabulary};
use baton::identify::{Belief, Circumstances, Identified, Rule, identify};
use baton::message::{MessageId, Notify, Protocol, Recipient, ReversePath, SenderId};
use baton::smtp::address::parse_mailbox;
use baton::smtp::command::MailFrom;
use baton::smtp::server::{Draft, Transaction};
use baton::smtp::trace::Received;
use baton::time::Stamp;
use std::net::{IpAddr, Ipv4Addr};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ID: MessageId = MessageId::from_u64(7);
const NOW: Stamp = Stamp::from_millis(1_763_900_000_000);

/// The words in front of a row's header.
#[derive(Default)]
struct Setup<'t> {
    believed: Vec<&'t str>,
    login: Option<&'t str>,
    sender: Option<&'t str>,
    is_stranger: bool,
}

impl<'t> Setup<'t> {
    fn read(words: &'t str) -> Self {
        let mut setup = Setup::default();
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some(("login", name)) => setup.login = Some(name),
                Some(("mail", address)) => setup.sender = Some(address),
                Some(_) => panic!("{word} is unknown"),
                None if word == "stranger" => setup.is_stranger = true,
                None if word == "none" => {}
                None => setup.believed.push(word),
            }
        }
        setup
    }

    fn config(&self) -> Config {
        let network = if self.is_stranger { "198.51.100.1" } else { "192.0.2.1" };
        let believed = &self.believed;
        let text = format!(
            "[[peer]]\nnetwork = \"{network}\"\naccount = \"acme\"\nidentity_headers = {believed:?}"
        );
        Config::parse("row", &text, "box").expect("known words")
    }

    /// The message as the session hands it over, with this relay's Received field in front.
    fn transaction(&self, header: &[u8]) -> Transaction {
        let protocol =
            Protocol { esmtp: true, authenticated: self.login.is_some(), ..Protocol::default() };
        let address = |text: &str| parse_mailbox(text.as_bytes()).expect("an address");
        let recipient = Recipient {
            address: address("far@away.example"),
            notify: Notify::Unspecified,
            original: None,
        };
        let mail = MailFrom {
            sender: self
                .sender
                .map_or(ReversePath::Null, |text| ReversePath::Mailbox(address(text))),
            size: None,
            body: None,
            utf8: false,
            ret: None,
            envid: None,
            auth: false,
            require_tls: false,
            esmtp: true,
        };
        let draft = Draft {
            mail,
            recipients: vec![recipient],
            helo: "web1.example".into(),
            protocol,
            account: self.login.unwrap_or("acme").into(),
        };
        let mut record = vec![1];
        Received {
            helo: &draft.helo,
            peer: PEER,
            hostname: "relay.example",
            protocol,
            id: ID,
            recipients: &draft.recipients,
            at: NOW,
        }
        .write(&mut record);
        record.extend_from_slice(header);
        record.extend_from_slice(b"\r\n\r\nbody\r\n");
        Transaction { draft, record }
    }

    fn identify(&self, header: &[u8]) -> Identified {
        let config = self.config();
        let declared = config.peer(PEER);
        let circumstances = Circumstances { id: ID, peer: PEER, declared, received: NOW };
        identify(self.transaction(header), circumstances)
    }
}

/// As the table writes it: id without account, rule, confidence, signs.
fn told(identified: &Identified) -> String {
    let identity = &identified.identity;
    assert_eq!(identity.sender_id, identified.envelope.sender_id);
    let id = identity.sender_id.as_str().split_once('|').expect("three parts").1;
    let rule = match (identity.rule, identity.rule.family()) {
        (Rule::Service(_), Some(family)) => format!("service:{}", family.word()),
        (Rule::EnvelopeSender, _) | (_, None) => identity.rule.name().to_owned(),
        (_, Some(family)) => family.word().to_owned(),
    };
    let mut signs: Vec<String> = Vec::new();
    for fact in identified.facts.iter() {
        let mark = if fact.belief == Belief::Unbelieved { "?" } else { "" };
        assert!(!fact.evidence.is_empty(), "{:?} without evidence", fact.sign);
        signs.push(format!("{}{mark}", fact.sign.name()));
    }
    signs.sort();
    format!("{id} {rule} {} {}", identity.confidence.name(), signs.join(" ")).trim().to_owned()
}

/// The value of a detail that a row writes down.
fn detail(identified: &Identified, name: &str) -> String {
    let identity = &identified.identity;
    match name {
        "script" => identity.script.to_string(),
        "folder" => identity.folder.to_string(),
        "vhost" => identity.vhost.to_string(),
        "uid" => identity.uid.map(|uid| uid.to_string()).unwrap_or_default(),
        "visitors" => {
            let visitors: Vec<_> = identity.visitors.iter().map(IpAddr::to_string).collect();
            visitors.join(",")
        }
        "panel" => identity.panel.map_or("", |panel| panel.word()).to_owned(),
        _ => panic!("{name} is no detail"),
    }
}

#[test]
fn identities() {
    const DETAILS: [&str; 6] = ["script=", "folder=", "vhost=", "uid=", "visitors=", "panel="];
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows(include_str!("tables/identify.txt")) {
        let (setup, header) = row.given.split_once(" ::").expect("a setup");
        let setup = Setup::read(setup);
        let identified = setup.identify(&unescape(header.strip_prefix(' ').unwrap_or(header)));
        let is_detail = |word: &&str| DETAILS.iter().any(|name| word.starts_with(name));
        let expected = String::from_utf8(unescape(row.expected)).expect("text");
        let (details, mut words): (Vec<&str>, Vec<&str>) =
            expected.split_whitespace().partition(is_detail);
        words[3..].sort();
        let found = told(&identified);
        if found != words.join(" ") {
            wrong.push(format!("line {}: {found}\n    expected {}", row.number, words.join(" ")));
        }
        for word in details {
            let (name, expected) = word.split_once('=').expect("a detail");
            let found = detail(&identified, name);
            if found != expected {
                wrong.push(format!("line {}: {name} is {found:?}", row.number));
            }
        }
        let account = identified.envelope.sender_id.as_str().split('|').next();
        assert_eq!(account, Some(setup.login.unwrap_or("acme")));
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 150, "{count} rows");
}

#[test]
fn lockdowns() {
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows(include_str!("tables/lockdown.txt")) {
        let (sender, texts) = row.given.split_once(" ::").expect("a sender id");
        let texts = unescape(texts.strip_prefix(' ').unwrap_or(texts));
        let texts = split(&texts);
        let (reference, own): (Vec<&[u8]>, Vec<&[u8]>) =
            texts.into_iter().partition(|text| text.starts_with(b"@"));
        let reference: Vec<&[u8]> = reference.iter().map(|text| &text[1..]).collect();
        let decision = lockdown::decide(&own, &reference, &SenderId::from_record(sender));
        let word = |vocabulary| match vocabulary {
            Vocabulary::Baton => "baton",
            Vocabulary::MailChannels => "mailchannels",
        };
        let mut found = match decision.lock {
            Lock::Open => "open".to_owned(),
            Lock::Allowed(by) => format!("allowed {}", word(by)),
            Lock::Forbidden(by) => format!("forbidden {}", word(by)),
        };
        if let Some(bad) = decision.bad_record {
            found = format!("{found} bad {}", bad.name());
        }
        if found != row.expected {
            wrong.push(format!("line {}: {found}", row.number));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 30, "{count} rows");
}

/// The texts between ` ; ; `.
fn split(texts: &[u8]) -> Vec<&[u8]> {
    const BETWEEN: &[u8] = b" ; ; ";
    let (mut rest, mut parts) = (texts, Vec::new());
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}
