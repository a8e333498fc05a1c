//! Tests of notices: those of several relays as they look on the wire, and what only looks alike.

use super::*;

/// As baton writes it: the header of the message goes back.
const BATON: &str = "\
Received: from relay.test by sink.test; Thu, 01 Jan 2026 00:00:02 +0000
From: Mail Delivery System <postmaster@relay.test>
To: <sender1@c1.x.test>
Subject: Undelivered mail: Your order r-1 is on its way
Date: Thu, 01 Jan 2026 00:00:01 +0000
Message-ID: <0000000001@relay.test>
Auto-Submitted: auto-replied
In-Reply-To: <r-1@c1.x.test>
References: <r-1@c1.x.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary=\"=_baton_0000000001\"
Content-Transfer-Encoding: 7bit

--=_baton_0000000001
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

Your message could not be delivered to:

  r1@d1.x.test
      mx0.d1.x.test answered:
      550 5.1.1 no such mailbox here

--=_baton_0000000001
Content-Description: Delivery report
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Reporting-MTA: dns; relay.test
Arrival-Date: Thu, 01 Jan 2026 00:00:00 +0000

Final-Recipient: rfc822; r1@d1.x.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx0.d1.x.test
Diagnostic-Code: smtp; 550 5.1.1 no such mailbox here
Last-Attempt-Date: Thu, 01 Jan 2026 00:00:01 +0000
Final-Log-ID: 0000000000

--=_baton_0000000001
Content-Description: Header of the message
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

X-Baton-Load: r-1 crc=12345678 at=0000000000000077
Date: Thu, 01 Jan 2026 00:00:00 +0000
From: \"Sender of r-1\" <sender1@c1.x.test>
To: r1@d1.x.test

--=_baton_0000000001--
";

/// As Postfix writes it: two recipients, the whole message goes back.
const POSTFIX: &str = "\
Received: by mail.example.test (Postfix)
\tid 4dXy1z0000z; Thu,  1 Jan 2026 00:00:02 +0000 (UTC)
Date: Thu,  1 Jan 2026 00:00:02 +0000 (UTC)
From: MAILER-DAEMON@mail.example.test (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: sender1@c1.x.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"4dXy1y0000y.1767225602/mail.example.test\"
Content-Transfer-Encoding: 8bit
Message-Id: <20260101000002.4dXy1z0000z@mail.example.test>

This is a MIME-encapsulated message.

--4dXy1y0000y.1767225602/mail.example.test
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host mail.example.test.

<r2@d2.x.test>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such mailbox here
    (in reply to RCPT TO command)

--4dXy1y0000y.1767225602/mail.example.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.test
X-Postfix-Queue-ID: 4dXy1y0000y
X-Postfix-Sender: rfc822; sender1@c1.x.test
Arrival-Date: Thu,  1 Jan 2026 00:00:00 +0000 (UTC)

Final-Recipient: rfc822; mailbox2@storage.x.test
Original-Recipient: rfc822;r2@d2.x.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550 5.1.1 no such mailbox here

Final-Recipient: rfc822; r3@d0.x.test
Original-Recipient: rfc822;r3@d0.x.test
Action: failed
Status: 5.2.2
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 552 5.2.2 Mailbox full

--4dXy1y0000y.1767225602/mail.example.test
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <sender1@c1.x.test>
Received: from load.test (localhost [127.0.0.1])
\tby mail.example.test (Postfix) with ESMTP id 4dXy1y0000y; Thu,  1 Jan 2026 00:00:00 +0000
X-Baton-Load: r-2 crc=12345678 at=0000000000000077
Subject: Your order r-2 is on its way

This is message r-2.

--4dXy1y0000y.1767225602/mail.example.test--
";

/// As Exim writes it when it returns nothing: no original recipient, no third part.
const EXIM: &str = "\
X-Failed-Recipients: r4@d1.x.test
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mail.example.test>
To: sender1@c1.x.test
Content-Type: multipart/report; report-type=delivery-status; boundary=1767225602-eximdsn-1804289383
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender

--1767225602-eximdsn-1804289383
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

--1767225602-eximdsn-1804289383
Content-type: message/delivery-status

Reporting-MTA: dns; mail.example.test

Action: failed
Final-Recipient: rfc822;r4@d1.x.test
Status: 5.0.0

--1767225602-eximdsn-1804289383--
";

fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// A notice as `serial: recipient action, ...`.
fn told(message: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Some(notice) = read(message) else {
        return "none".to_owned();
    };
    let recipients: Vec<String> = notice
        .recipients
        .iter()
        .map(|told| format!("{} {:?}", text(told.address), told.action))
        .collect();
    format!("{}: {}", notice.serial.map_or("-".to_owned(), text), recipients.join(", "))
}

#[test]
fn notices_of_several_relays_are_understood() {
    for (notice, expected) in [
        (BATON, "r-1: r1@d1.x.test Failed"),
        (POSTFIX, "r-2: r2@d2.x.test Failed, r3@d0.x.test Failed"),
        (EXIM, "-: r4@d1.x.test Failed"),
    ] {
        assert_eq!(told(&wire(notice)), expected);
        assert_eq!(told(notice.as_bytes()), expected, "with bare LF");
    }
}

#[test]
fn what_a_notice_says_is_read_in_all_its_spellings() {
    for (from, to, expected) in [
        ("Action: failed", "action:delayed", "r1@d1.x.test Delayed"),
        ("Action: failed", "ACTION: FAILED (bounced)", "r1@d1.x.test Failed"),
        ("Action: failed", "Action: relayed", "r1@d1.x.test Other"),
        ("rfc822; r1@d1.x.test\n", "RFC822;\n <r1@d1.x.test>\n", "r1@d1.x.test Failed"),
        ("rfc822; r1@d1.x.test\n", "utf-8; jürgen@d1.x.test\n", "jürgen@d1.x.test Failed"),
        (
            "Final-Recipient: rfc822; r1@d1.x.test\n",
            "Final-Recipient: rfc822; z@y\nOriginal-Recipient: x400; no\n",
            "z@y Failed",
        ),
        ("message/delivery-status", "message/global-delivery-status", "r1@d1.x.test Failed"),
        ("text/rfc822-headers", "message/global-headers", "r1@d1.x.test Failed"),
    ] {
        assert!(BATON.contains(from));
        assert_eq!(told(&wire(&BATON.replace(from, to))), format!("r-1: {expected}"), "{to}");
    }
}

#[test]
fn what_is_no_notice_is_none() {
    for (from, to) in [
        ("multipart/report", "multipart/mixed"),
        ("boundary=", "border="),
        ("message/delivery-status", "message/feedback-report"),
        ("Final-Recipient: rfc822;", "Final-Recipient: x400;"),
        ("Final-Recipient: rfc822; r1@d1.x.test", "Final-Recipient: rfc822;"),
        ("--=_baton_0000000001\nContent-Description: Delivery", "--other\nContent-Description: D"),
    ] {
        assert!(BATON.contains(from));
        assert_eq!(told(&wire(&BATON.replace(from, to))), "none", "{to}");
    }
    assert_eq!(told(b""), "none");
    assert_eq!(told(b"Subject: hello\r\n\r\nMIME\r\n"), "none");
}

#[test]
fn a_mark_elsewhere_in_a_notice_names_no_message() {
    let forged = BATON.replace("X-Baton-Load: r-1", "X-Other: r-1").replace(
        "Your message could",
        "X-Baton-Load: r-9 crc=12345678 at=0000000000000077\nYour message could",
    );
    assert_eq!(told(&wire(&forged)), "-: r1@d1.x.test Failed");
}

#[test]
fn every_cut_and_every_damaged_byte_is_survived() {
    for notice in [BATON, POSTFIX, EXIM] {
        let whole = wire(notice);
        for at in 0..whole.len() {
            read(&whole[..at]);
            let mut damaged = whole.clone();
            for byte in [b'\n', b'"', b':', 0xff] {
                damaged[at] = byte;
                read(&damaged);
            }
        }
    }
}
