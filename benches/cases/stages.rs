//! From a transaction to what is written: trace, screening, records, changes, events, notices.

use super::{Meter, mail};
use baton::event::{Delays, Event};
use baton::filter::{self, Bounds, Screened};
use baton::identify::{Circumstances, identify};
use baton::message::{
    BODY_VERSION, Body, BodyKind, Cause, MessageId, Protocol, RemoteReply, ReversePath, SenderId,
    StatusCode,
};
use baton::notify::{Notice, NoticeKind, NoticeRecipient, Reporter, compose};
use baton::queue::admit::admit;
use baton::queue::change::{Change, DuePut, Translator, Write};
use baton::queue::key::DueKey;
use baton::queue::record::{decode_due, decode_envelope, due_size, encode_due, encode_envelope};
use baton::smtp::command::MailFrom;
use baton::smtp::server::{Draft, Transaction};
use baton::smtp::trace::{Received, hops};
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

const ESMTPSA: Protocol = Protocol { esmtp: true, tls: true, authenticated: true, utf8: false };
const BOUNDS: Bounds = Bounds { hops_max: 50 };
const EXPIRE_AFTER: Duration = Duration::from_secs(432_000);

pub fn received(meter: &mut impl Meter) {
    let recipients = mail::recipients(1, 1);
    let field = Received {
        helo: "web1.example.org",
        peer: mail::PEER,
        hostname: "relay.example.net",
        protocol: ESMTPSA,
        id: mail::ID,
        recipients: &recipients,
        at: mail::NOW,
    };
    meter.measure(
        || Vec::with_capacity(512),
        |mut out: Vec<u8>| {
            black_box(&field).write(&mut out);
            out
        },
        |out| {
            assert!(out.starts_with(b"Received: from web1.example.org ([192.0.2.17])\r\n"));
            assert!(out.ends_with(b"Sun, 23 Nov 2025 12:13:20 +0000\r\n"));
        },
    );
}

/// The end of the header found, and its Received fields counted.
pub fn hops_typical(meter: &mut impl Meter) {
    let message = [mail::HEADER, b"\r\nHello.\r\n"].concat();
    count_hops(meter, &message, mail::HEADER_HOPS);
}

/// All header, of lines as short as lines are.
pub fn hops_worst(meter: &mut impl Meter) {
    count_hops(meter, &b"R\r\n".repeat(super::LARGE / 3), 0);
}

fn count_hops(meter: &mut impl Meter, message: &[u8], expected: usize) {
    let body = Body::from_message(message);
    meter.measure(
        || (),
        |()| hops(black_box(&body).header()),
        |count| assert_eq!(*count, expected),
    );
}

fn transaction(recipients: usize, domains: usize, message: &[u8]) -> Transaction {
    let mail = MailFrom {
        sender: ReversePath::Mailbox(mail::address("bounces-4711@news.example.org")),
        size: Some(message.len() as u64),
        body: Some(BodyKind::EightBit),
        utf8: false,
        ret: None,
        envid: None,
        auth: false,
        require_tls: false,
        esmtp: true,
    };
    let draft = Draft {
        mail,
        recipients: mail::recipients(recipients, domains),
        helo: "web1.example.org".into(),
        protocol: ESMTPSA,
        account: "acme".into(),
    };
    Transaction { draft, record: [&[BODY_VERSION], message].concat() }
}

const CIRCUMSTANCES: Circumstances =
    Circumstances { id: mail::ID, peer: mail::PEER, declared: None, received: mail::NOW };

fn screen(transaction: Transaction) -> Screened {
    let identified = identify(transaction, CIRCUMSTANCES);
    filter::screen(identified, &BOUNDS).expect("no loop")
}

pub fn identify_and_screen(meter: &mut impl Meter, bytes: usize) {
    let message = mail::text(bytes);
    meter.measure(
        || transaction(1, 1, &message),
        screen,
        |screened| {
            assert_eq!(screened.envelope().sender_id.as_str(), "acme|auth|acme");
            assert_eq!(screened.envelope().size, message.len() as u64);
        },
    );
}

pub fn admit_to(meter: &mut impl Meter, recipients: usize, domains: usize) {
    let message = mail::text(super::USUAL);
    meter.measure(
        || screen(transaction(recipients, domains, &message)),
        |screened| admit(screened, mail::NOW, |_| EXPIRE_AFTER),
        |(change, admitted)| {
            assert_eq!(admitted.entries.len(), domains);
            assert!(change.bytes() > message.len());
        },
    );
}

pub fn envelope_encode(meter: &mut impl Meter) {
    let envelope = mail::envelope(mail::recipients(1, 1), 4_096);
    meter.measure(
        || &envelope,
        encode_envelope,
        |record| assert_eq!(decode_envelope(mail::ID, record).as_ref(), Ok(&envelope)),
    );
}

pub fn envelope_decode(meter: &mut impl Meter) {
    let envelope = mail::envelope(mail::recipients(1, 1), 4_096);
    let record = encode_envelope(&envelope);
    meter.measure(
        || &record[..],
        |record| decode_envelope(mail::ID, record),
        |decoded| assert_eq!(decoded.as_ref(), Ok(&envelope)),
    );
}

pub fn due_encode(meter: &mut impl Meter) {
    let due = mail::due();
    meter.measure(|| &due, encode_due, |record| assert_eq!(decode_due(record).as_ref(), Ok(&due)));
}

pub fn due_decode(meter: &mut impl Meter) {
    let due = mail::due();
    let record = encode_due(&due);
    meter.measure(|| &record[..], decode_due, |decoded| assert_eq!(decoded.as_ref(), Ok(&due)));
}

/// What the scan at the start does for each entry.
pub fn key_decode(meter: &mut impl Meter) {
    let key = mail::key(mail::queue(1), mail::NOW, 7);
    let bytes = key.encode();
    meter.measure(|| &bytes[..], DueKey::decode, |decoded| assert_eq!(*decoded, Some(key)));
}

/// The writes of a message's life: accepted, and each of its groups finished, in one batch each.
pub fn translate(meter: &mut impl Meter, groups: u16) {
    let first = DueKey { id: mail::ID, ..mail::key(mail::queue(1), mail::NOW, 0) };
    let key = |group| DueKey { group, ..first };
    let put = |group| DuePut { key: key(group), record: encode_due(&mail::due()) };
    let envelope = mail::envelope(mail::recipients(1, 1), 4_096);
    let accept = Change::Accept {
        id: mail::ID,
        envelope: encode_envelope(&envelope),
        body: Body::from_message(&mail::text(super::USUAL)),
        due: (0..groups).map(put).collect(),
    };
    let finish = (0..groups).map(|group| Change::Finish { key: key(group), groups });
    let changes: Vec<Change> = std::iter::once(accept).chain(finish).collect();
    meter.measure(
        || &changes[..],
        |changes| {
            let mut translator = Translator::default();
            let (mut puts, mut deletes) = (0, 0);
            let mut read = |_, _: &[u8]| Ok::<_, Infallible>(None);
            let mut write = |write: Write<'_>| match black_box(write) {
                Write::Put { .. } => puts += 1,
                Write::Delete { .. } => deletes += 1,
            };
            for change in changes {
                let Ok(()) = translator.translate(change, &mut read, &mut write);
            }
            (puts, deletes, translator.messages())
        },
        |done| {
            let count = u64::from(groups);
            // A message of several groups has a count of them, which each but the last puts again.
            let expected = if groups == 1 { (3, 3, 0) } else { (2 + 2 * count, 3 + count, 0) };
            assert_eq!(*done, expected);
        },
    );
}

pub fn event_accepted(meter: &mut impl Meter) {
    let event = Event::MessageAccepted {
        id: mail::ID,
        peer: mail::PEER,
        account: "acme".into(),
        sender: ReversePath::Mailbox(mail::address("bounces-4711@news.example.org")),
        sender_id: SenderId::new("acme", "auth", "acme"),
        recipients: 1,
        bytes: 4_096,
        protocol: "ESMTPSA",
        accept_micros: 1_234,
        filter_micros: 12,
    };
    line(meter, &event, "\"event\":\"message-accepted\"");
}

pub fn event_delivered(meter: &mut impl Meter) {
    let event = Event::RecipientDelivered {
        id: mail::ID,
        recipient: mail::address("customer0@d0.example"),
        sender_id: SenderId::new("acme", "auth", "acme"),
        remote: "198.51.100.9:25".parse().expect("an address"),
        tls: None,
        reply: "250 2.0.0 Ok: queued as 4bQw0x1Yz2z9sT7".into(),
        attempts: 1,
        delays: Delays { before_queue: 2, queued: 1, connect: 0, transmit: 12 },
    };
    line(meter, &event, "\"event\":\"recipient-delivered\"");
}

/// The line that the log gets.
fn line(meter: &mut impl Meter, event: &Event, expected: &str) {
    meter.measure(
        || Vec::with_capacity(1_024),
        |mut out: Vec<u8>| {
            black_box(event).write_json(mail::NOW, Some(0), &mut out);
            out
        },
        |out| {
            let text = str::from_utf8(out).expect("JSON is UTF-8");
            assert!(text.contains(expected) && text.ends_with('}'), "{text}");
        },
    );
}

/// The notice to the sender of a message that was refused for good.
pub fn notice_failed(meter: &mut impl Meter) {
    let message = mail::text(super::USUAL);
    let envelope = mail::envelope(mail::recipients(1, 1), message.len() as u64);
    let original = Body::from_message(&message);
    let status = Some(StatusCode::new(5, 1, 1));
    let text = "<customer0@d0.example>: Recipient address rejected: User unknown".into();
    let cause = Cause::Reply(RemoteReply { code: 550, status, text });
    let recipients = [NoticeRecipient {
        recipient: &envelope.recipients[0],
        cause: &cause,
        remote: Some("mx.d0.example"),
        last_attempt: mail::NOW,
        attempts: 1,
        will_retry_until: None,
    }];
    let (kind, envelope) = (NoticeKind::Failed, &envelope);
    let notice =
        Notice { kind, envelope, original: &original, recipients: &recipients, expired: false };
    let reporter =
        Reporter { hostname: "relay.example.net", postmaster: "postmaster@relay.example.net" };
    meter.measure(
        || &notice,
        |notice| compose(notice, &reporter, MessageId::from_u64(8 << 40), mail::NOW),
        |dsn| {
            let dsn = dsn.as_ref().expect("the sender is told");
            assert_eq!(dsn.envelope.sender, ReversePath::Null);
            let text = String::from_utf8_lossy(dsn.body.message());
            assert!(text.contains("Status: 5.1.1\r\n") && text.contains("User unknown"), "{text}");
            assert_eq!(due_size(dsn.envelope.size) as usize, dsn.body.message().len());
        },
    );
}
