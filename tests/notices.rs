//! Notifications read by somebody else: the `email` package of Python parses what baton composed.
//!
//! The unit tests of `notify` check the rules against our own idea of the format; here a parser
//! that shares no code with us says what it understood: structure, every field, and defects, of
//! which there must be none. `notices.py` prints facts, the tables below say which are right.
//! A second parser, the crate `mail-parser`, must find the same parts and the same fields of the
//! delivery status. RFC 3464, RFC 6522, RFC 6533.

use baton::message::{
    Address, Body, BodyKind, Cause, Envelope, MessageId, Notify, Origin, Protocol, Recipient,
    RemoteReply, Return, ReversePath, SenderId, StatusCode,
};
use baton::notify::{Notice, NoticeKind, NoticeRecipient, Reporter, compose};
use baton::time::Stamp;
use mail_parser::{MessageParser, MessagePart, MimeHeaders, PartType};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const RECEIVED: Stamp = Stamp::from_millis(1_763_900_000_000);
const NOW: Stamp = RECEIVED.after(Duration::from_secs(5 * 86_400));
const HELLO: &str = "Received: from a.test by relay.test\r\nFrom: ann@a.test\r\n\
    Subject: The figures for March\r\nMessage-ID: <77@a.test>\r\n\r\nDear Joe,\r\n";

fn address(text: &str) -> Address {
    Address::from_checked(text, text.rfind('@').expect("test addresses have a domain"))
}

fn recipient(text: &str, notify: Notify, original: Option<&str>) -> Recipient {
    Recipient { address: address(text), notify, original: original.map(Into::into) }
}

fn reply(code: u16, status: (u8, u16, u16), text: &str) -> Cause {
    let status = Some(StatusCode::new(status.0, status.1, status.2));
    Cause::Reply(RemoteReply { code, status, text: text.into() })
}

fn envelope(sender: &str) -> Envelope {
    Envelope {
        id: MessageId::from_u64(RECEIVED.millis() << 22),
        received: RECEIVED,
        sender: ReversePath::Mailbox(address(sender)),
        sender_id: SenderId::new("acme", "auth", sender),
        recipients: Vec::new(),
        body: BodyKind::EightBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: [192, 0, 2, 1].into(),
            helo: "a.test".into(),
            protocol: Protocol::default(),
            account: "acme".into(),
        },
        size: 0,
    }
}

fn told<'a>(
    recipient: &'a Recipient,
    cause: &'a Cause,
    remote: Option<&'a str>,
) -> NoticeRecipient<'a> {
    let last_attempt = RECEIVED.after(Duration::from_secs(60));
    NoticeRecipient { recipient, cause, remote, last_attempt, attempts: 3, will_retry_until: None }
}

/// Composes one notice, writes it, and gives what the parser found in it.
fn read_back(name: &str, notice: &Notice<'_>) -> String {
    let reporter = Reporter { hostname: "relay.test", postmaster: "postmaster@relay.test" };
    let id = MessageId::from_u64(NOW.millis() << 22);
    let dsn = compose(notice, &reporter, id, NOW).expect("somebody wants to know");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notices").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.eml")), dsn.body.message()).unwrap();
    read_by_others(&folder)
}

/// What Python's parser finds in the one notice of a folder; `mail-parser` must agree.
pub fn read_by_others(folder: &Path) -> String {
    let output = Command::new("python3")
        .args(["-X", "utf8", "-c", include_str!("notices.py")])
        .arg(folder)
        .output()
        .expect("python3 is on every test machine");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    let mut files = fs::read_dir(folder).unwrap().flatten().map(|file| file.path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "eml"));
    let seconded = second_opinion(&fs::read(file.expect("a notice")).unwrap());
    let kinds = ["part ", "message ", "recipient-"];
    let same = |line: &&str| kinds.iter().any(|kind| line.starts_with(kind));
    let first: Vec<&str> = found.lines().filter(same).collect();
    assert_eq!(first, seconded, "two parsers differ");
    found
}

/// The parts and the delivery status of a notice as `mail-parser` reads them, in the words of
/// `notices.py`.
fn second_opinion(notice: &[u8]) -> Vec<String> {
    let message = MessageParser::new().parse(notice).expect("a message");
    let PartType::Multipart(parts) = &message.root_part().body else { panic!("no multipart") };
    let parts: Vec<&MessagePart<'_>> =
        parts.iter().map(|part| message.part(*part).expect("it has been counted")).collect();
    let [_, status, _] = parts[..] else { panic!("{} parts", parts.len()) };
    let mut facts: Vec<String> = parts
        .iter()
        .map(|part| {
            let kind = part.content_type().expect("each part says what it is");
            let (main, sub) = (kind.ctype(), kind.subtype().unwrap_or_default());
            format!("part {main}/{sub} {}", part.content_transfer_encoding().unwrap_or_default())
        })
        .collect();
    // A block of fields for the message, one for each recipient (RFC 3464 2.1).
    let text = str::from_utf8(status.contents()).expect("UTF-8");
    for (number, block) in text.trim_end().split("\r\n\r\n").enumerate() {
        let block = format!("{block}\r\n\r\n");
        let fields = MessageParser::new().parse(block.as_bytes()).expect("fields").into_owned();
        let label = if number == 0 { "message".to_owned() } else { format!("recipient-{number}") };
        for (name, value) in fields.headers_raw() {
            facts.push(format!("{label} {name}: {}", value.replace("\r\n", "").trim()));
        }
    }
    facts
}

/// What `read_back` gave without the words for people, which change more often.
fn without_words(found: &str) -> String {
    found.lines().filter(|line| !line.starts_with("words")).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_failure_with_everything() {
    let mut envelope = envelope("ann@a.test");
    envelope.ret = Some(Return::Full);
    envelope.envid = Some("QQ+2B314159".into());
    let joe = recipient("joe@b.test", Notify::Unspecified, Some("rfc822;joe+2Bold@b.test"));
    let jim = recipient("jim@c.test", Notify::Unspecified, None);
    let never = recipient("never@c.test", Notify::Never, None);
    let unknown = reply(550, (5, 1, 1), "No such user here;\nsee https://b.test/help?id=1");
    let over_quota = reply(452, (4, 2, 2), "Over quota");
    let notice = Notice {
        kind: NoticeKind::Failed,
        envelope: &envelope,
        original: &Body::from_message(HELLO.as_bytes()),
        recipients: &[
            told(&joe, &unknown, Some("mx.b.test")),
            told(&never, &unknown, Some("mx.c.test")),
            told(&jim, &over_quota, Some("2001:db8::7")),
        ],
        expired: false,
    };
    assert_eq!(read_back("failure", &notice), FAILURE);
}

const FAILURE: &str = "\
== failure
header From: Mail Delivery System <postmaster@relay.test>
header To: <ann@a.test>
header Subject: Undelivered mail: The figures for March
header Date: Fri, 28 Nov 2025 12:13:20 +0000
header Message-ID: <6dcmrek000000@relay.test>
header Auto-Submitted: auto-replied
header In-Reply-To: <77@a.test>
header References: <77@a.test>
header MIME-Version: 1.0
header Content-Transfer-Encoding: 7bit
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part message/rfc822 7bit
words Your message could not be delivered to these 2 addresses. We will not try
words again.
words
words   joe@b.test
words
words   The receiving server knows no such mailbox. Check the address for typing
words   mistakes. If it used to work, ask for the new one and take the old one off
words   your lists.
words
words   jim@c.test
words
words   The mailbox is full. Tell the person another way, and send the message
words   again once there is room.
words
words The message:
words
words   Subject:  The figures for March
words   Received: Sun, 23 Nov 2025 12:13:20 +0000
words   Id:       6db18g7000000
words
words For those who run the mail servers:
words
words   joe@b.test
words     failed 5.1.1, tried 3 times, last on Sun, 23 Nov 2025 12:14:20 +0000
words     mx.b.test answered:
words       550 5.1.1 No such user here;
words       see https://b.test/help?id=1
words
words   jim@c.test
words     failed 4.2.2, tried 3 times, last on Sun, 23 Nov 2025 12:14:20 +0000
words     2001:db8::7 answered:
words       452 4.2.2 Over quota
words
words This report was written by the mail server relay.test. If it leaves you with
words a question, write to postmaster@relay.test and quote the id 6db18g7000000.
message Reporting-MTA: dns; relay.test
message Original-Envelope-Id: QQ+314159
message Arrival-Date: Sun, 23 Nov 2025 12:13:20 +0000
recipient-1 Original-Recipient: rfc822; joe+old@b.test
recipient-1 Final-Recipient: rfc822; joe@b.test
recipient-1 Action: failed
recipient-1 Status: 5.1.1
recipient-1 Remote-MTA: dns; mx.b.test
recipient-1 Diagnostic-Code: smtp; 550 5.1.1 No such user here; see https://b.test/help?id=1
recipient-1 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-1 Final-Log-ID: 6db18g7000000
recipient-2 Final-Recipient: rfc822; jim@c.test
recipient-2 Action: failed
recipient-2 Status: 4.2.2
recipient-2 Remote-MTA: dns; [IPv6:2001:db8::7]
recipient-2 Diagnostic-Code: smtp; 452 4.2.2 Over quota
recipient-2 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-2 Final-Log-ID: 6db18g7000000
returned Received: from a.test by relay.test
returned From: ann@a.test
returned Subject: The figures for March
returned Message-ID: <77@a.test>
returned-body b'Dear Joe,\\r\\n'
";

#[test]
fn an_expired_message() {
    let envelope = envelope("ann@a.test");
    let joe = recipient("joe@b.test", Notify::Unspecified, None);
    let cause = Cause::local(StatusCode::new(4, 4, 1), "no answer within 30 s");
    let notice = Notice {
        kind: NoticeKind::Failed,
        envelope: &envelope,
        original: &Body::from_message(HELLO.as_bytes()),
        recipients: &[told(&joe, &cause, None)],
        expired: true,
    };
    let found = read_back("expired", &notice);
    assert!(found.contains("We tried for 5 days and\nwords have now given up.\n"), "{found}");
    assert_eq!(without_words(&found), EXPIRED);
}

const EXPIRED: &str = "\
== expired
header From: Mail Delivery System <postmaster@relay.test>
header To: <ann@a.test>
header Subject: Undelivered mail: The figures for March
header Date: Fri, 28 Nov 2025 12:13:20 +0000
header Message-ID: <6dcmrek000000@relay.test>
header Auto-Submitted: auto-replied
header In-Reply-To: <77@a.test>
header References: <77@a.test>
header MIME-Version: 1.0
header Content-Transfer-Encoding: 7bit
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part text/rfc822-headers 7bit
message Reporting-MTA: dns; relay.test
message Arrival-Date: Sun, 23 Nov 2025 12:13:20 +0000
recipient-1 Final-Recipient: rfc822; joe@b.test
recipient-1 Action: failed
recipient-1 Status: 4.4.1
recipient-1 Diagnostic-Code: X-baton; no answer within 30 s
recipient-1 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-1 Final-Log-ID: 6db18g7000000
returned Received: from a.test by relay.test
returned From: ann@a.test
returned Subject: The figures for March
returned Message-ID: <77@a.test>
returned-body b''
";

#[test]
fn a_delay() {
    let envelope = envelope("ann@a.test");
    let joe = recipient("joe@b.test", Notify::Unspecified, None);
    // A refusal that we chose to retry: the class that programs act on must not be 5.
    let cause = reply(554, (5, 7, 1), "Listed");
    let delayed =
        NoticeRecipient { will_retry_until: Some(NOW), ..told(&joe, &cause, Some("mx.b.test")) };
    let notice = Notice {
        kind: NoticeKind::Delayed,
        envelope: &envelope,
        original: &Body::from_message(HELLO.as_bytes()),
        recipients: &[delayed],
        expired: false,
    };
    assert_eq!(without_words(&read_back("delay", &notice)), DELAY);
}

const DELAY: &str = "\
== delay
header From: Mail Delivery System <postmaster@relay.test>
header To: <ann@a.test>
header Subject: Delayed mail: The figures for March
header Date: Fri, 28 Nov 2025 12:13:20 +0000
header Message-ID: <6dcmrek000000@relay.test>
header Auto-Submitted: auto-replied
header In-Reply-To: <77@a.test>
header References: <77@a.test>
header MIME-Version: 1.0
header Content-Transfer-Encoding: 7bit
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part text/rfc822-headers 7bit
message Reporting-MTA: dns; relay.test
message Arrival-Date: Sun, 23 Nov 2025 12:13:20 +0000
recipient-1 Final-Recipient: rfc822; joe@b.test
recipient-1 Action: delayed
recipient-1 Status: 4.7.1
recipient-1 Remote-MTA: dns; mx.b.test
recipient-1 Diagnostic-Code: smtp; 554 5.7.1 Listed
recipient-1 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-1 Final-Log-ID: 6db18g7000000
recipient-1 Will-Retry-Until: Fri, 28 Nov 2025 12:13:20 +0000
returned Received: from a.test by relay.test
returned From: ann@a.test
returned Subject: The figures for March
returned Message-ID: <77@a.test>
returned-body b''
";

#[test]
fn a_success_in_utf8() {
    let mut envelope = envelope("änn@a.test");
    envelope.utf8 = true;
    envelope.ret = Some(Return::Full);
    let on = Notify::On { success: true, failure: true, delay: false };
    let first = recipient("jürgen@b.test", on, Some("utf-8;j\\x{FC}rgen@old.test"));
    let second = recipient("joe@b.test", on, None);
    let cause = reply(250, (2, 0, 0), "Grüße, ok");
    let notice = Notice {
        kind: NoticeKind::Relayed,
        envelope: &envelope,
        original: &Body::from_message("Subject: Grüße\r\nX: y\r\n\r\nbody".as_bytes()),
        recipients: &[
            told(&first, &cause, Some("192.0.2.7")),
            told(&second, &cause, Some("192.0.2.7")),
        ],
        expired: false,
    };
    let found = read_back("success", &notice);
    assert!(found.contains("\nwords   Subject:  Grüße\n"), "{found}");
    assert!(found.contains("\nwords       250 2.0.0 Grüße, ok\n"), "{found}");
    assert_eq!(without_words(&found), SUCCESS);
}

const SUCCESS: &str = "\
== success
header From: Mail Delivery System <postmaster@relay.test>
header To: <änn@a.test>
header Subject: Relayed mail
header Date: Fri, 28 Nov 2025 12:13:20 +0000
header Message-ID: <6dcmrek000000@relay.test>
header Auto-Submitted: auto-replied
header MIME-Version: 1.0
header Content-Transfer-Encoding: 8bit
type multipart/report global-delivery-status
part text/plain 8bit
part message/global-delivery-status 8bit
part message/global-headers 8bit
message Reporting-MTA: dns; relay.test
message Arrival-Date: Sun, 23 Nov 2025 12:13:20 +0000
recipient-1 Original-Recipient: utf-8; jürgen@old.test
recipient-1 Final-Recipient: utf-8; jürgen@b.test
recipient-1 Action: relayed
recipient-1 Status: 2.0.0
recipient-1 Remote-MTA: dns; [192.0.2.7]
recipient-1 Diagnostic-Code: smtp; 250 2.0.0 Grüße, ok
recipient-1 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-1 Final-Log-ID: 6db18g7000000
recipient-2 Final-Recipient: rfc822; joe@b.test
recipient-2 Action: relayed
recipient-2 Status: 2.0.0
recipient-2 Remote-MTA: dns; [192.0.2.7]
recipient-2 Diagnostic-Code: smtp; 250 2.0.0 Grüße, ok
recipient-2 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-2 Final-Log-ID: 6db18g7000000
returned Subject: Grüße
returned X: y
returned-body b''
";

#[test]
fn forged_words_change_nothing() {
    let forged = "x\r\n\r\nAction: delivered\r--=_baton_6dcmrek000000_0\r\n\r\n\u{85}y";
    let mut envelope = envelope("ann@a.test");
    envelope.envid = Some("1+0D+0AAction:+20delivered".into());
    let joe = recipient("joe@b.test", Notify::Unspecified, Some("rfc822;a+0D+0A+0D+0Ab"));
    let cause = reply(550, (5, 7, 1), forged);
    let mail = b"Subject: a\rBcc: x\r\nMessage-ID: <1>\r\n <2>\r\nX: \0\xff\r\n\r\n";
    let notice = Notice {
        kind: NoticeKind::Failed,
        envelope: &envelope,
        original: &Body::from_message(mail),
        recipients: &[told(&joe, &cause, Some("mx\r\nAction: x"))],
        expired: false,
    };
    assert_eq!(without_words(&read_back("forged", &notice)), FORGED);
}

const FORGED: &str = "\
== forged
header From: Mail Delivery System <postmaster@relay.test>
header To: <ann@a.test>
header Subject: Undelivered mail
header Date: Fri, 28 Nov 2025 12:13:20 +0000
header Message-ID: <6dcmrek000000@relay.test>
header Auto-Submitted: auto-replied
header MIME-Version: 1.0
header Content-Transfer-Encoding: 8bit
type multipart/report delivery-status
part text/plain 7bit
part message/delivery-status 7bit
part text/rfc822-headers 8bit
message Reporting-MTA: dns; relay.test
message Original-Envelope-Id: 1??Action: delivered
message Arrival-Date: Sun, 23 Nov 2025 12:13:20 +0000
recipient-1 Original-Recipient: rfc822; a????b
recipient-1 Final-Recipient: rfc822; joe@b.test
recipient-1 Action: failed
recipient-1 Status: 5.7.1
recipient-1 Remote-MTA: dns; mx??Action: x
recipient-1 Diagnostic-Code: smtp; 550 5.7.1 x Action: delivered --=_baton_6dcmrek000000_0 y
recipient-1 Last-Attempt-Date: Sun, 23 Nov 2025 12:14:20 +0000
recipient-1 Final-Log-ID: 6db18g7000000
returned Subject: a?Bcc: x
returned Message-ID: <1> <2>
returned X: ?�
returned-body b''
";
