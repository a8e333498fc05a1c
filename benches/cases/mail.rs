//! What the cases work on: texts, usual and hostile, and the values that stand for a message.
//!
//! A text has exactly the length asked for, so that bytes per second mean something.

use baton::deliver::ready::{Origin as Whose, Ready};
use baton::message::{
    Address, BodyKind, Envelope, MessageId, Notify, Origin, Protocol, Recipient, ReversePath,
    SenderId,
};
use baton::queue::key::{DueKey, QueueKey};
use baton::queue::record::{Due, Pending};
use baton::time::Stamp;
use std::net::{IpAddr, Ipv4Addr};

pub const NOW: Stamp = Stamp::from_millis(1_763_900_000_123);
pub const ID: MessageId = MessageId::from_u64(7 << 40);
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17));

/// As much header as a message has that came through a list and two relays.
pub const HEADER: &[u8] = b"\
Received: from lists.example.org (lists.example.org [198.51.100.7])\r\n\
\tby mx.example.net with ESMTPS id 4bQw0x1Yz2z9sT7\r\n\
\tfor <joe@example.net>; Sun, 23 Nov 2025 12:13:20 +0000 (UTC)\r\n\
Received: by lists.example.org id 14d2pf2dbsqqg; Sun, 23 Nov 2025 12:13:18 +0000\r\n\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2025;\r\n\
\th=From:Date:Subject:To:List-Id:List-Unsubscribe:Message-ID; t=1763899998;\r\n\
\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\
\tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n\
\tdzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n\
\tdzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n\
From: \"Ann Example\" <ann@example.org>\r\n\
To: joe@example.net\r\n\
Subject: Minutes of the last meeting\r\n\
Date: Sun, 23 Nov 2025 13:13:10 +0100\r\n\
Message-ID: <20251123121310.1234@example.org>\r\n\
List-Id: <meetings.lists.example.org>\r\n\
List-Unsubscribe: <mailto:meetings-request@lists.example.org?subject=unsubscribe>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: 8bit\r\n";
/// Received fields in it.
pub const HEADER_HOPS: usize = 2;

const LINE: &[u8] = b"The minutes of the last meeting are attached, please read them before.\r\n";

/// A message of `bytes` with a header and lines of 72 octets, every twentieth of which begins with
/// a stuffed dot.
pub fn text(bytes: usize) -> Vec<u8> {
    let mut text = [HEADER, b"\r\n"].concat();
    for number in 0.. {
        if text.len() + 2 * LINE.len() > bytes {
            break;
        }
        if number % 20 == 19 {
            text.extend_from_slice(b"..");
        }
        text.extend_from_slice(LINE);
    }
    filled(text, bytes)
}

/// Nothing but lines that begin with a stuffed dot and hold no more.
pub fn dots(bytes: usize) -> Vec<u8> {
    filled(b"..\r\n".repeat(bytes / 4 - 1), bytes)
}

/// Bare CRs and LFs, each before a dot that ends nothing: the most that the search for smuggling
/// can find without finding any.
pub fn bare_ends(bytes: usize) -> Vec<u8> {
    filled(b"\n.a\r.b".repeat(bytes / 6 - 1), bytes)
}

/// `text` with a last line that makes it `bytes` long.
fn filled(mut text: Vec<u8>, bytes: usize) -> Vec<u8> {
    text.resize(bytes - 2, b'x');
    text.extend_from_slice(b"\r\n");
    text
}

/// What is sent for a message by DATA: `text` holds its dots stuffed already.
pub fn unstuffed(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, then) = rest.split_at(end);
        plain.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = then;
    }
    plain
}

pub fn address(text: &str) -> Address {
    Address::from_checked(text, text.rfind('@').expect("an address"))
}

/// `count` recipients, spread over `domains` domains.
pub fn recipients(count: usize, domains: usize) -> Vec<Recipient> {
    let recipient = |number| Recipient {
        address: address(&format!("customer{number}@d{}.example", number % domains)),
        notify: Notify::Unspecified,
        original: None,
    };
    (0..count).map(recipient).collect()
}

pub fn envelope(recipients: Vec<Recipient>, size: u64) -> Envelope {
    Envelope {
        id: ID,
        received: NOW,
        sender: ReversePath::Mailbox(address("bounces-4711@news.example.org")),
        sender_id: SenderId::new("acme", "auth", "acme"),
        recipients,
        body: BodyKind::EightBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: PEER,
            helo: "web1.example.org".into(),
            protocol: Protocol { esmtp: true, tls: true, authenticated: true, utf8: false },
            account: "acme".into(),
        },
        size,
    }
}

pub fn due() -> Due {
    Due {
        domain: "d0.example".into(),
        sender_id: "acme|auth|acme".into(),
        size: 4_096,
        groups: 1,
        attempts: 0,
        expires: Stamp::from_millis(NOW.millis() + 432_000_000),
        delay_told: false,
        pending: vec![Pending { recipient: 0, last: None }],
    }
}

/// The queue number `number`: as far from the others as hashes are.
pub fn queue(number: u64) -> QueueKey {
    let domain = format!("d{number}.example");
    QueueKey::new(0, &domain, "acme|auth|acme")
}

/// The only entry of `queue`.
pub fn key(queue: QueueKey, due: Stamp, number: u64) -> DueKey {
    DueKey { queue, due, id: MessageId::from_u64(number), group: 0 }
}

/// What the sender of that number has ready in a lane.
pub fn ready(number: u64) -> Ready {
    let queue = QueueKey::new(0, "d0.example", &format!("acme|auth|customer{number}"));
    let (due, origin) = (due(), Whose::Here);
    Ready { key: key(queue, NOW, number), due, message: None, origin }
}
