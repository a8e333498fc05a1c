//! The bytes of the queue's records, held against golden files, and what damaged ones do.
//!
//! `tests/golden/*.hex` were written field by field from the layout, not printed by the encoder.
//! They are the promise that a newer baton reads what an older one left on disk, so they are never
//! edited: a changed layout is a new version octet and new files. Decoding must survive any bytes:
//! whatever a disk gives back is a value or a `BadRecord`.

use baton::message::{
    Address, BodyKind, Cause, Envelope, MessageId, Notify, Origin, Protocol, Recipient,
    RemoteReply, Return, ReversePath, SenderId, StatusCode,
};
use baton::queue::record::{
    Due, Pending, decode_due, decode_due_v1, decode_envelope, encode_due, encode_envelope,
};
use baton::time::Stamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::IpAddr;
use std::path::Path;

const RECEIVED: Stamp = Stamp::from_millis(1_763_900_000_123);
const EXPIRES: Stamp = Stamp::from_millis(1_764_332_000_123);
const ID: MessageId = MessageId::from_u64(7);

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let octets = lines.flat_map(str::split_ascii_whitespace);
    octets.map(|octet| u8::from_str_radix(octet, 16).expect("two hex digits")).collect()
}

fn address(text: &str) -> Address {
    Address::from_checked(text, text.rfind('@').unwrap_or(text.len()))
}

fn recipient(text: &str, notify: Notify, original: Option<&str>) -> Recipient {
    Recipient { address: address(text), notify, original: original.map(Box::from) }
}

fn minimal() -> Envelope {
    Envelope {
        id: ID,
        received: RECEIVED,
        sender: ReversePath::Mailbox(address("a@b.test")),
        sender_id: SenderId::new("local", "peer", "127.0.0.1"),
        recipients: vec![recipient("c@d.test", Notify::Unspecified, None)],
        body: BodyKind::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: "127.0.0.1".parse().unwrap(),
            helo: "b.test".into(),
            protocol: Protocol::default(),
            account: "local".into(),
        },
        size: 512,
    }
}

fn full() -> Envelope {
    let on = |success, failure, delay| Notify::On { success, failure, delay };
    Envelope {
        sender: ReversePath::Mailbox(address("\"joe smith\"@shop.example")),
        sender_id: SenderId::new("acme", "x-authuser", "joe@shop.example"),
        recipients: vec![
            recipient("one@d.test", Notify::Never, Some("rfc822;one+40d.test")),
            recipient("two@d.test", on(true, true, true), None),
            recipient("three@e.test", on(false, true, false), None),
            recipient("postmaster", on(false, false, false), None),
        ],
        body: BodyKind::EightBit,
        ret: Some(Return::Full),
        envid: Some("QQ+2B314159".into()),
        origin: Origin {
            peer: "2001:db8::25".parse().unwrap(),
            helo: "[IPv6:2001:db8::25]".into(),
            protocol: Protocol { esmtp: true, tls: true, authenticated: true, utf8: false },
            account: "acme".into(),
        },
        size: 4_294_967_297,
        ..minimal()
    }
}

fn null_sender() -> Envelope {
    Envelope {
        received: Stamp::from_millis(1),
        sender: ReversePath::Null,
        sender_id: SenderId::new("baton", "notice", "dsn"),
        recipients: vec![recipient("joe@shop.example", Notify::Never, None)],
        body: BodyKind::EightBit,
        ret: Some(Return::Headers),
        origin: Origin {
            peer: "::1".parse().unwrap(),
            helo: "relay.example.net".into(),
            protocol: Protocol { esmtp: true, ..Protocol::default() },
            account: "baton".into(),
        },
        size: 2048,
        ..minimal()
    }
}

fn utf8() -> Envelope {
    let original = "utf-8;\\x{7528}\\x{6237}@\\x{4F8B}\\x{5B50}.test";
    Envelope {
        sender: ReversePath::Mailbox(address("jörg@müller.example")),
        sender_id: SenderId::new("acme", "auth", "jörg"),
        recipients: vec![recipient("用户@例子.test", Notify::Unspecified, Some(original))],
        body: BodyKind::EightBit,
        utf8: true,
        origin: Origin {
            peer: "192.0.2.7".parse().unwrap(),
            helo: "müller.example".into(),
            protocol: Protocol { esmtp: true, tls: true, authenticated: false, utf8: true },
            account: "acme".into(),
        },
        size: 999,
        ..minimal()
    }
}

fn due(domain: &str, groups: u16, attempts: u16, pending: &[(u16, Option<Cause>)]) -> Due {
    let pending = pending.iter().cloned();
    Due {
        domain: domain.into(),
        sender_id: full().sender_id.as_str().into(),
        size: u32::MAX,
        groups,
        attempts,
        expires: EXPIRES,
        delay_told: false,
        pending: pending.map(|(recipient, last)| Pending { recipient, last }).collect(),
    }
}

fn reply(code: u16, status: Option<StatusCode>, text: &str) -> Option<Cause> {
    Some(Cause::Reply(RemoteReply { code, status, text: text.into() }))
}

/// Of the version that is written now.
fn envelopes() -> Vec<(&'static str, Envelope)> {
    vec![
        ("envelope-v2-plain.hex", Envelope { require_tls: false, ..full() }),
        ("envelope-v2-requires-tls.hex", Envelope { require_tls: true, ..minimal() }),
    ]
}

/// Of versions that are still read.
fn older_envelopes() -> Vec<(&'static str, Envelope)> {
    vec![
        ("envelope-v1-minimal.hex", minimal()),
        ("envelope-v1-full.hex", full()),
        ("envelope-v1-null-sender.hex", null_sender()),
        ("envelope-v1-utf8.hex", utf8()),
    ]
}

/// What the files `due-v1-*` and `due-v2-*` hold. Version 1 knew neither sender nor size: they come
/// from the envelope of `full`.
fn cases() -> Vec<(&'static str, Due)> {
    let greylisted = reply(450, Some(StatusCode::new(4, 2, 1)), "greylisted\ntry later");
    let lost = Cause::local(StatusCode::new(4, 4, 2), "connection lost in DATA");
    vec![
        ("first.hex", due("d.test", 1, 0, &[(0, None), (1, None)])),
        ("reply.hex", due("d.test", 3, 1, &[(7, reply(421, None, "busy"))])),
        ("reply-status.hex", due("münchen.test", 1, u16::MAX, &[(u16::MAX, greylisted)])),
        ("local.hex", due("e.test", 2, 2, &[(0, Some(lost)), (2, None)])),
    ]
}

/// The records of this version.
fn dues() -> Vec<(String, Due)> {
    let small = Due {
        sender_id: "local|peer|127.0.0.1".into(),
        size: 512,
        delay_told: true,
        ..due("d.test", 1, 4, &[(0, None)])
    };
    let cases = cases().into_iter().chain([("delayed.hex", small)]);
    cases.map(|(name, due)| (format!("due-v2-{name}"), due)).collect()
}

#[test]
fn envelopes_have_the_bytes_of_their_version() {
    for (name, envelope) in envelopes() {
        let bytes = golden(name);
        assert_eq!(decode_envelope(ID, &bytes).as_ref(), Ok(&envelope), "{name}");
        assert_eq!(encode_envelope(&envelope), bytes, "{name}");
    }
    for (name, envelope) in older_envelopes() {
        assert_eq!(decode_envelope(ID, &golden(name)).as_ref(), Ok(&envelope), "{name}");
    }
}

#[test]
fn due_entries_have_the_bytes_of_their_version() {
    for (name, due) in dues() {
        let bytes = golden(&name);
        assert_eq!(decode_due(&bytes).as_ref(), Ok(&due), "{name}");
        assert_eq!(encode_due(&due), bytes, "{name}");
    }
}

#[test]
fn due_entries_of_version_1_are_read_with_their_envelope() {
    for (name, due) in cases() {
        let name = format!("due-v1-{name}");
        let bytes = golden(&name);
        assert_eq!(decode_due_v1(&bytes, &full()).as_ref(), Ok(&due), "{name}");
        assert!(decode_due(&bytes).is_err(), "{name}: the upgrade alone reads it");
        for len in 0..bytes.len() {
            assert!(decode_due_v1(&bytes[..len], &full()).is_err(), "{name} cut to {len}");
        }
    }
}

/// Every file is one of the cases: one that nobody reads would promise nothing.
#[test]
fn every_golden_record_is_read() {
    let envelopes = envelopes().into_iter().map(|(name, _)| name.to_owned());
    let dues = dues().into_iter().map(|(name, _)| name);
    let old = cases().into_iter().map(|(name, _)| format!("due-v1-{name}"));
    let older = older_envelopes().into_iter().map(|(name, _)| name.to_owned());
    let known: Vec<String> = envelopes.chain(older).chain(dues).chain(old).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let ours = name.starts_with("envelope-") || name.starts_with("due-");
        assert!(!ours || known.contains(&name), "{name}");
    }
}

#[test]
fn a_cut_record_is_bad_and_never_a_panic() {
    for (name, _) in envelopes().into_iter().chain(older_envelopes()) {
        let bytes = golden(name);
        for len in 0..bytes.len() {
            assert!(decode_envelope(ID, &bytes[..len]).is_err(), "{name} cut to {len}");
        }
    }
    for (name, _) in dues() {
        let bytes = golden(&name);
        for len in 0..bytes.len() {
            assert!(decode_due(&bytes[..len]).is_err(), "{name} cut to {len}");
        }
    }
}

/// A wrong octet of a text may give another text; what decodes must at least be a whole value, one
/// that comes back the same.
#[test]
fn any_one_octet_may_be_wrong_without_a_panic() {
    let damaged = |name: &str| {
        let good = golden(name);
        (0..good.len()).flat_map(move |at| {
            let good = good.clone();
            (0..=u8::MAX).map(move |value| {
                let mut bytes = good.clone();
                bytes[at] = value;
                bytes
            })
        })
    };
    let all = envelopes().into_iter().chain(older_envelopes());
    for bytes in all.flat_map(|(name, _)| damaged(name)) {
        if let Ok(envelope) = decode_envelope(ID, &bytes) {
            assert_eq!(decode_envelope(ID, &encode_envelope(&envelope)), Ok(envelope));
        }
    }
    for bytes in dues().into_iter().flat_map(|(name, _)| damaged(&name)) {
        if let Ok(due) = decode_due(&bytes) {
            assert_eq!(decode_due(&encode_due(&due)), Ok(due));
        }
    }
}

#[test]
fn a_newer_version_is_named_as_the_reason() {
    let mut bytes = golden("envelope-v2-plain.hex");
    bytes[0] = 3;
    let bad = decode_envelope(ID, &bytes).unwrap_err();
    assert!(bad.to_string().contains("newer baton"), "{bad}");
}

fn any_notify() -> impl Strategy<Value = Notify> {
    let on = any::<(bool, bool, bool)>().prop_map(|(success, failure, delay)| Notify::On {
        success,
        failure,
        delay,
    });
    prop_oneof![Just(Notify::Unspecified), Just(Notify::Never), on]
}

fn any_address() -> impl Strategy<Value = Address> {
    prop_oneof![
        9 => ("\\PC{1,20}", "[a-zäé0-9.-]{1,20}").prop_map(|(l, d)| address(&format!("{l}@{d}"))),
        1 => Just(address("postmaster")),
    ]
}

fn any_recipient() -> impl Strategy<Value = Recipient> {
    (any_address(), any_notify(), option::of("\\PC{0,30}")).prop_map(
        |(address, notify, original)| Recipient {
            address,
            notify,
            original: original.map(Box::from),
        },
    )
}

fn any_origin() -> impl Strategy<Value = Origin> {
    let flags = any::<(bool, bool, bool, bool)>();
    (any::<IpAddr>(), "\\PC{0,30}", flags, "\\PC{0,10}").prop_map(|(peer, helo, flags, account)| {
        let (esmtp, tls, authenticated, utf8) = flags;
        let protocol = Protocol { esmtp, tls, authenticated, utf8 };
        Origin { peer, helo: helo.into(), protocol, account: account.into() }
    })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let sender = prop_oneof![
        1 => Just(ReversePath::Null),
        3 => any_address().prop_map(ReversePath::Mailbox),
    ];
    let ret = prop_oneof![Just(None), Just(Some(Return::Full)), Just(Some(Return::Headers))];
    let numbers = (any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>(), any::<bool>());
    let texts = ("\\PC{0,40}", option::of("\\PC{0,30}"));
    (sender, ret, numbers, texts, any_origin(), vec(any_recipient(), 1..20)).prop_map(
        |(sender, ret, numbers, (sender_id, envid), origin, recipients)| {
            let (received, size, eight, utf8, require_tls) = numbers;
            Envelope {
                id: ID,
                received: Stamp::from_millis(received),
                sender,
                sender_id: SenderId::from_record(&sender_id),
                recipients,
                body: if eight { BodyKind::EightBit } else { BodyKind::SevenBit },
                utf8,
                require_tls,
                ret,
                envid: envid.map(Box::from),
                origin,
                size,
            }
        },
    )
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let status = || any::<(u8, u16, u16)>().prop_map(|(c, s, d)| StatusCode::new(c, s, d));
    prop_oneof![
        (any::<u16>(), option::of(status()), "(?s).{0,60}").prop_map(|(code, status, text)| {
            Cause::Reply(RemoteReply { code, status, text: text.into() })
        }),
        (status(), "(?s).{0,60}").prop_map(|(status, words)| Cause::local(status, words)),
    ]
}

fn any_due() -> impl Strategy<Value = Due> {
    let pending = (any::<u16>(), option::of(any_cause()))
        .prop_map(|(recipient, last)| Pending { recipient, last });
    let numbers = (1..=u16::MAX, any::<u16>(), any::<u64>(), any::<u32>(), any::<bool>());
    ("\\PC{0,30}", "\\PC{0,30}", numbers, vec(pending, 1..20)).prop_map(
        |(domain, sender_id, (groups, attempts, expires, size, delay_told), pending)| Due {
            domain: domain.into(),
            sender_id: sender_id.into(),
            size,
            groups,
            attempts,
            expires: Stamp::from_millis(expires),
            delay_told,
            pending,
        },
    )
}

proptest! {
    #[test]
    fn any_envelope_comes_back(envelope in any_envelope()) {
        prop_assert_eq!(decode_envelope(ID, &encode_envelope(&envelope)), Ok(envelope));
    }

    #[test]
    fn any_due_entry_comes_back(due in any_due()) {
        prop_assert_eq!(decode_due(&encode_due(&due)), Ok(due));
    }

    #[test]
    fn any_bytes_decode_or_are_bad(version in 0u8..4, bytes in vec(any::<u8>(), 0..200)) {
        let record = [&[version][..], &bytes].concat();
        let _ = decode_envelope(ID, &record);
        let _ = decode_due(&record);
        let _ = decode_due_v1(&record, &minimal());
    }
}
