//! Messages of every kind: whole, clean, readable to another parser, the same for the same seed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders};

use super::*;
use crate::profile::Profile;
use crate::profile::mail::{CountShare, Kind, Mixture, Permille, SizeShare, Span};

const KINDS: [Kind; 7] = [
    Kind::Plain,
    Kind::ContactForm,
    Kind::Newsletter,
    Kind::Invoice,
    Kind::PasswordReset,
    Kind::Correspondence,
    Kind::Cron,
];
const TRAVELS: [Travels; 3] = [Travels::SevenBit, Travels::EightBit, Travels::International];
const START: Duration = Duration::from_micros(77);

fn mixture(kind: Kind, bytes: u64) -> Mixture {
    let mut mixture = Profile::load("small").unwrap().mail;
    mixture.kinds[0].kind = kind;
    mixture.hacked_senders = Permille(100);
    mixture.senders.count = 200;
    mixture.fix_size(bytes);
    mixture
}

fn maker(mixture: Mixture, seed: u64) -> Maker {
    Maker::new(Recipe {
        run_id: "t".to_owned(),
        domain_suffix: "x.test".to_owned(),
        seed,
        mixture,
        date: "Thu, 01 Jan 2026 00:00:00 +0000".to_owned(),
    })
}

fn made(maker: &Maker, number: u64, framing: Framing) -> Mail {
    let mut mail = Mail::default();
    let offered = Travels::International;
    maker.fill(number, START, Transport { framing, offered }, &mut mail);
    mail
}

/// Calls for messages of all kinds, ways to travel and senders.
fn for_all(bytes: u64, mut check: impl FnMut(Kind, &Mail, &Mail)) {
    for kind in KINDS {
        for travels in TRAVELS {
            let mut mixture = mixture(kind, bytes);
            mixture.eight_bit = Permille(if travels == Travels::EightBit { 1000 } else { 0 });
            mixture.smtputf8 = Permille(if travels == Travels::International { 1000 } else { 0 });
            let maker = maker(mixture, 5);
            for number in 0..120 {
                let plain = made(&maker, number, Framing::Chunk);
                assert_eq!(plain.travels, travels);
                check(kind, &plain, &made(&maker, number, Framing::Dots));
            }
        }
    }
}

fn body_of(content: &[u8]) -> &[u8] {
    let end = content.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &content[end + 4..]
}

#[test]
fn a_message_is_recognised_as_whole() {
    for bytes in [0, 600, 4096, 100_000] {
        for_all(bytes, |kind, plain, _| {
            let seen = recognise(&plain.content);
            assert_eq!(seen.identity, Identity::Whole(plain.serial.as_bytes()), "{kind:?}");
            assert_eq!(seen.start, Some(START));
            assert_eq!(plain.content.len(), plain.content_bytes);
        });
    }
}

#[test]
fn the_size_is_met() {
    for bytes in [4096, 4097, 70_003, 700_000] {
        for_all(bytes, |kind, plain, _| {
            let missing = bytes as usize - plain.content_bytes;
            // Attachments end in whole groups of base64.
            assert!(missing <= if kind == Kind::Invoice { 5 } else { 1 }, "{kind:?} {missing}");
        });
    }
}

#[test]
fn lines_are_clean_and_of_seven_bits_unless_said_otherwise() {
    for_all(9000, |kind, plain, _| {
        for line in plain.content.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
            // RFC 5322 2.1.1
            assert!(text.len() <= 998 && !text.contains(&b'\r') && !text.contains(&0));
        }
        let body = body_of(&plain.content);
        let head = &plain.content[..plain.content.len() - body.len()];
        assert_eq!(head.is_ascii(), plain.travels != Travels::International, "{kind:?}");
        assert_eq!(body.is_ascii(), plain.travels == Travels::SevenBit, "{kind:?}");
        assert!(str::from_utf8(&plain.content).is_ok());
    });
}

#[test]
fn dots_are_doubled_once_and_the_end_is_marked() {
    for_all(9000, |kind, plain, dotted| {
        let mut expected = Vec::new();
        for line in plain.content.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                expected.push(b'.');
            }
            expected.extend_from_slice(line);
        }
        expected.extend_from_slice(b".\r\n");
        assert!(expected == dotted.content, "{kind:?}");
        assert_eq!(plain.content_bytes, dotted.content_bytes);
    });
}

/// Headers unfold to what they say, and parts are what they claim.
#[test]
fn another_parser_reads_every_kind() {
    for_all(30_000, |kind, plain, _| {
        let message = MessageParser::default().parse(&plain.content).expect("it is a message");
        let serial = plain.serial.as_str();
        assert_eq!(message.message_id().unwrap().split('@').next(), Some(serial));
        let to: Vec<&str> =
            message.to().unwrap().iter().map(|address| address.address().unwrap()).collect();
        assert_eq!(to, plain.recipients);
        assert!(message.from().unwrap().first().unwrap().address().unwrap().contains('@'));
        assert!(message.date().is_some());
        let subject = message.subject().unwrap();
        let international = plain.travels == Travels::International;
        assert_eq!(subject.starts_with("Grüße aus Köln: "), international, "{subject}");
        let text = message.body_text(0).unwrap();
        match kind {
            Kind::Newsletter => read_newsletter(&message),
            Kind::Invoice => read_invoice(&message),
            _ => {
                assert_eq!(message.parts.len(), 1);
                assert!(text.starts_with(&format!("This is message {serial}.\r\n")));
            }
        }
        let expects_eight_bit = plain.travels != Travels::SevenBit;
        assert_eq!(text.contains("Schöne Grüße"), expects_eight_bit, "{kind:?}");
        if kind == Kind::Cron {
            assert!(text.contains("public_html/cron.php"));
            assert_eq!(message.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
        }
        if kind == Kind::PasswordReset {
            assert!(text.contains("/wp-login.php?action=rp&key="));
        }
    });
}

fn read_newsletter(message: &Message<'_>) {
    let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
    assert!(text.contains("Unsubscribe: https://"));
    assert!(html.starts_with("<html>") && html.trim_end().ends_with("</body></html>"));
    assert!(html.len() > 20_000, "what fills it is in the HTML");
    let leave = match message.header("List-Unsubscribe") {
        Some(HeaderValue::Address(address)) => address.iter().count(),
        other => panic!("{other:?}"),
    };
    assert_eq!(leave, 2, "one to write to, one to click");
    let click = message.header_raw("List-Unsubscribe-Post").map(str::trim);
    assert_eq!(click, Some("List-Unsubscribe=One-Click"));
    assert!(message.header_raw("List-Id").is_some());
}

fn read_invoice(message: &Message<'_>) {
    assert!(message.body_text(0).unwrap().contains("please find attached our invoice"));
    assert_eq!(message.attachment_count(), 1);
    let file = message.attachment(0).unwrap();
    assert!(file.attachment_name().unwrap().ends_with(".pdf"));
    let bytes = file.contents();
    assert!(bytes.starts_with(b"%PDF-1.4\n") && bytes.ends_with(b"%%EOF\n"), "decoded whole");
    assert!(bytes.len() > 20_000);
}

#[test]
fn servers_sign_what_scripts_send() {
    let maker = maker(mixture(Kind::ContactForm, 3000), 5);
    let mut seen = HashSet::new();
    for number in 0..400 {
        let mail = made(&maker, number, Framing::Chunk);
        let message = MessageParser::default().parse(&mail.content).unwrap();
        let script = message.header_raw("X-PHP-Originating-Script").unwrap();
        assert!(script.trim().split_once(':').unwrap().0.parse::<u32>().is_ok(), "{script}");
        for name in [
            "X-PHP-Script",
            "X-AntiAbuse",
            "X-Source-Args",
            "X-AuthUser",
            "X-Authenticated-Id",
            "X-PPP-Vhost",
            "X-Authentication-Warning",
        ] {
            if message.header_raw(name).is_some() {
                seen.insert(name);
            }
        }
        if script.contains("eval()") {
            seen.insert("eval");
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn headers_that_a_relay_adds_do_not_matter_and_every_changed_byte_does() {
    let mail = made(&maker(mixture(Kind::Plain, 900), 1), 5, Framing::Chunk);
    let mut relayed = b"Received: from a by b;\r\n\tThu, 01 Jan 2026\r\n".to_vec();
    relayed.extend_from_slice(&mail.content);
    assert_eq!(recognise(&relayed).identity, Identity::Whole(b"t-5"));
    let body = mail.content.len() - body_of(&mail.content).len();
    for at in body..mail.content.len() {
        let mut damaged = mail.content.clone();
        damaged[at] ^= 1;
        assert_eq!(recognise(&damaged).identity, Identity::Corrupt(b"t-5"), "byte {at}");
    }
    let header = mail.content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in header..body {
        let mut damaged = mail.content.clone();
        damaged[at] ^= 1;
        let found = recognise(&damaged).identity;
        // Damage at the end of the header moves the start of the body.
        let ends = at >= body - b"\r\n\r\n".len();
        assert!(found == Identity::AlteredHeader(b"t-5") || ends && !is_whole(&found), "byte {at}");
    }
    let cut = &mail.content[..mail.content.len() - 1];
    assert_eq!(recognise(cut).identity, Identity::Corrupt(b"t-5"));
}

fn is_whole(identity: &Identity<'_>) -> bool {
    matches!(identity, Identity::Whole(_))
}

#[test]
fn a_header_may_grow_at_its_ends_only() {
    let mail = made(&maker(mixture(Kind::Plain, 900), 1), 5, Framing::Chunk);
    let text = String::from_utf8(mail.content.clone()).unwrap();
    let with = |at: usize, more: &str| format!("{}{more}{}", &text[..at], &text[at..]);
    let end = text.find("\r\n\r\n").unwrap() + 2;
    let whole = |message: String| is_whole(&recognise(message.as_bytes()).identity);
    assert!(whole(with(0, "X-A: 1\r\n")) && whole(with(end, "X-A: 1\r\n")));
    assert!(!whole(with(end, " folded into ours\r\n")), "a longer last line");
    let middle = text.find("Date: ").unwrap();
    assert!(!whole(with(middle, "X-A: 1\r\n")));
    let less = text.replacen("MIME-Version: 1.0\r\n", "", 1);
    assert_eq!(recognise(less.as_bytes()).identity, Identity::AlteredHeader(b"t-5"));
}

#[test]
fn the_mark_names_the_sender_in_whatever_case() {
    let mail = made(&maker(mixture(Kind::Plain, 900), 1), 5, Framing::Chunk);
    let marked = recognise(&mail.content).sender;
    assert_eq!(marked, Some(sender_crc(mail.sender.to_uppercase().as_bytes())));
    assert_ne!(marked, Some(sender_crc(b"other@c2.x.test")));
}

#[test]
fn another_messages_body_is_corruption() {
    let maker = maker(mixture(Kind::Newsletter, 2000), 1);
    let (one, other) = (made(&maker, 20, Framing::Chunk), made(&maker, 220, Framing::Chunk));
    assert_eq!(one.sender, other.sender, "the same letter to two readers");
    let body = body_of(&one.content).len();
    let mut mixed = one.content[..one.content.len() - body].to_vec();
    mixed.extend_from_slice(body_of(&other.content));
    assert_eq!(recognise(&mixed).identity, Identity::Corrupt(b"t-20"));
}

#[test]
fn a_seed_and_a_number_are_a_message() {
    let day = || Profile::load("hosting-day").unwrap().mail;
    let (one, same, other) = (maker(day(), 7), maker(day(), 7), maker(day(), 8));
    let mut kept = Mail::default();
    for number in (0..200).rev() {
        let fresh = made(&one, number, Framing::Dots);
        // Whatever the buffers held before.
        let transport = Transport { framing: Framing::Dots, offered: Travels::International };
        same.fill(number, START, transport, &mut kept);
        assert!(fresh.content == kept.content && fresh.sender == kept.sender);
        assert_eq!(fresh.recipients, kept.recipients);
        assert!(fresh.content != made(&other, number, Framing::Dots).content);
    }
}

#[test]
fn a_message_asks_for_no_more_than_is_offered() {
    let mut mixture = mixture(Kind::Correspondence, 3000);
    mixture.smtputf8 = Permille(1000);
    let maker = maker(mixture, 3);
    for offered in TRAVELS {
        let mut mail = Mail::default();
        maker.fill(1, START, Transport { framing: Framing::Chunk, offered }, &mut mail);
        assert_eq!(mail.travels, offered);
        let wide = !mail.recipients[0].is_ascii();
        assert_eq!(wide, offered == Travels::International);
        assert_eq!(mail.content.is_ascii(), offered == Travels::SevenBit);
    }
}

#[test]
fn recipients_spread_over_domains_and_are_distinct() {
    let mut even = mixture(Kind::Plain, 1000);
    even.domains.count = 3;
    even.fix_recipients(4);
    let mail = made(&maker(even, 1), 1, Framing::Dots);
    assert_eq!(mail.recipients, ["r4@d1.x.test", "r5@d2.x.test", "r6@d0.x.test", "r7@d1.x.test"]);

    let mut varied = mixture(Kind::Plain, 1000);
    let share = |from, to| CountShare { count: Span { from, to }, weight: 1 };
    varied.recipients = vec![share(1, 1), share(2, 30)];
    let maker = maker(varied, 1);
    let (mut seen, mut domains) = (HashSet::new(), HashMap::new());
    for number in 0..2000 {
        for recipient in made(&maker, number, Framing::Chunk).recipients {
            let domain = recipient.split_once('@').unwrap().1.to_owned();
            *domains.entry(domain).or_insert(0) += 1;
            assert!(seen.insert(recipient), "an address comes once");
        }
    }
    assert!(seen.len() > 10_000 && domains.len() == 10);
    let (least, most) = (domains.values().min().unwrap(), domains.values().max().unwrap());
    assert!(most * 4 < least * 5, "{least} to {most}");
}

/// The shares of a profile are those of its messages.
#[test]
fn a_day_is_mixed_as_it_says() {
    let mut day = Profile::load("hosting-day").unwrap().mail;
    let weights: f64 = day.kinds.iter().map(|share| f64::from(share.weight)).sum();
    let newsletters: f64 = day
        .kinds
        .iter()
        .filter(|share| share.kind == Kind::Newsletter)
        .map(|share| f64::from(share.weight) / weights)
        .sum();
    let skew: f64 = (1..=day.senders.count).map(|n| (n as f64).powf(-day.senders.skew)).sum();
    day.sizes = vec![SizeShare { bytes: Span { from: 2000, to: 3000 }, weight: 1 }];
    day.kinds.iter_mut().for_each(|share| share.bytes = None);
    let maker = maker(day, 11);
    let (mut lists, mut first, mut eight_bit) = (0, 0, 0);
    let count = 20_000;
    let mut mail = Mail::default();
    for number in 0..count {
        let transport = Transport { framing: Framing::Chunk, offered: Travels::International };
        maker.fill(number, START, transport, &mut mail);
        lists += usize::from(memchr::memmem::find(&mail.content, b"\r\nList-Id: ").is_some());
        first += usize::from(mail.sender.starts_with("sender0@"));
        eight_bit += usize::from(mail.travels == Travels::EightBit);
    }
    let near = |seen: usize, share: f64| (seen as f64 / count as f64 - share).abs() < 0.015;
    assert!(near(lists, newsletters), "{lists}");
    assert!(near(first, 1.0 / skew), "{first}");
    assert!(near(eight_bit, 0.12), "{eight_bit}");
}
