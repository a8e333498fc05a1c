//! Delivery status notifications: the message that tells a sender what became of its recipients.
//!
//! [`compose`] decides whether anybody may be told, and makes envelope, header and the three
//! parts. It is sent from the null path, so that no notification is ever answered by another
//! (RFC 5321 4.5.5), to the return path and to nobody else, in envelope and header alike: a
//! receiver may refuse a notification that is addressed differently. It never queues, and it
//! never tells of a recipient whose NOTIFY did not ask for this kind of news.
//!
//! RFC 3461 6 (envelope and content), RFC 3464, RFC 3834 5 (Auto-Submitted), RFC 6522, RFC 6533.

use super::line::{WORD_OCTETS_MAX, push_field};
use super::mime::multipart_report;
use super::notice::{Notice, NoticeKind, NoticeRecipient, Reporter};
use super::{original, status, words};
use crate::message::{
    Address, Body, BodyKind, Envelope, MessageId, Notify, Origin, Protocol, Recipient, ReversePath,
    SenderId,
};
use crate::time::Stamp;
use std::net::{IpAddr, Ipv4Addr};

/// The account that answers for what baton writes itself: a notice must not cost the reputation
/// or the rate of the customer it is about.
pub const NOTICE_ACCOUNT: &str = "baton";

/// Letters of the original subject that the subject of a notice repeats: the line stays within
/// the 78 columns of RFC 5322 2.1.1.
const SUBJECT_LETTERS_MAX: usize = 48;

/// A message to queue like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    pub envelope: Envelope,
    pub body: Body,
}

/// The notification to queue as `id`. `None` when nobody may be told: the message has the null
/// sender, or no recipient's NOTIFY wants this kind of news.
pub fn compose(
    notice: &Notice<'_>,
    reporter: &Reporter<'_>,
    id: MessageId,
    now: Stamp,
) -> Option<Dsn> {
    let ReversePath::Mailbox(sender) = &notice.envelope.sender else {
        return None;
    };
    let told: Vec<&NoticeRecipient<'_>> =
        notice.recipients.iter().filter(|told| is_told(notice.kind, told)).collect();
    if told.is_empty() {
        return None;
    }
    let (status, report_type) = status::part(notice, &told, reporter);
    let parts = [words::part(notice, &told, reporter, now), status, original::part(notice)];
    let report = multipart_report(&parts, report_type, id);
    let header = header(notice, sender, reporter, id, now) + &report.fields;

    let mut message = header.clone().into_bytes();
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&report.content);
    let body = Body::from_message(&message);
    // Parts may hold UTF-8 under 8BITMIME alone; only a header or path needs SMTPUTF8
    // (RFC 6531 3.2), and asking for it in vain would make the notice undeliverable.
    let utf8 = sender.needs_utf8() || !header.is_ascii();
    let envelope = Envelope {
        // A header in UTF-8 is 8bit too (RFC 6531 3.1), whatever the parts are.
        body: if utf8 { BodyKind::EightBit } else { report.kind },
        utf8,
        // What its sender hid from listeners must not come back in clear (RFC 8689 5).
        require_tls: notice.envelope.require_tls,
        size: message.len() as u64,
        ..envelope(sender, reporter, id, now)
    };
    Some(Dsn { envelope, body })
}

fn is_told(kind: NoticeKind, told: &NoticeRecipient<'_>) -> bool {
    kind.is_wanted(told.recipient.notify)
}

/// RFC 3461 6.1: null sender, no RET or ENVID, NOTIFY only as NEVER. Says nothing of the content
/// yet: a 7bit message of no octets.
fn envelope(sender: &Address, reporter: &Reporter<'_>, id: MessageId, now: Stamp) -> Envelope {
    let recipient = Recipient { address: sender.clone(), notify: Notify::Never, original: None };
    Envelope {
        id,
        received: now,
        sender: ReversePath::Null,
        sender_id: SenderId::new(NOTICE_ACCOUNT, "notice", reporter.hostname),
        recipients: vec![recipient],
        body: BodyKind::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: reporter.hostname.into(),
            protocol: Protocol::default(),
            account: NOTICE_ACCOUNT.into(),
        },
        size: 0,
    }
}

/// The header without the fields of MIME.
fn header(
    notice: &Notice<'_>,
    sender: &Address,
    reporter: &Reporter<'_>,
    id: MessageId,
    now: Stamp,
) -> String {
    let mut out = String::new();
    let from = format!("Mail Delivery System <{}>", reporter.postmaster);
    push_field(&mut out, "From", &from);
    push_field(&mut out, "To", &format!("<{sender}>"));
    push_field(&mut out, "Subject", &subject(notice));
    push_field(&mut out, "Date", &now.header_date());
    push_field(&mut out, "Message-ID", &format!("<{id}@{}>", reporter.hostname));
    // RFC 3834 5: so that a vacation responder stays silent.
    push_field(&mut out, "Auto-Submitted", "auto-replied");
    if let Some(original) = original::field(notice, "Message-ID").filter(|id| is_message_id(id)) {
        push_field(&mut out, "In-Reply-To", &original);
        push_field(&mut out, "References", &original);
    }
    out
}

/// Repeats the original subject when it is plain: an encoded word (RFC 2047) that is cut is
/// broken, and raw octets would make the notice need SMTPUTF8. The first part has it in any case.
fn subject(notice: &Notice<'_>) -> String {
    let news = match notice.kind {
        NoticeKind::Failed => "Undelivered mail",
        NoticeKind::Delayed => "Delayed mail",
        NoticeKind::Relayed => "Relayed mail",
        NoticeKind::Delivered => "Delivered mail",
    };
    let plain = |subject: &String| {
        subject.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) && !subject.contains("=?")
    };
    match original::field(notice, "Subject").filter(plain) {
        None => news.to_owned(),
        Some(subject) if subject.len() <= SUBJECT_LETTERS_MAX => format!("{news}: {subject}"),
        Some(subject) => format!("{news}: {}...", &subject[..SUBJECT_LETTERS_MAX]),
    }
}

/// Only what has the form of an id is referred to (RFC 5322 3.6.4): the field is the sender's
/// words, and a folded one would not match.
fn is_message_id(text: &str) -> bool {
    let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>');
    text.len() <= WORD_OCTETS_MAX
        && inner.is_some_and(|id| !id.is_empty() && id.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Cause, RemoteReply, Return, StatusCode};
    use crate::notify::line::LINE_OCTETS_MAX;
    use crate::notify::{NOTICE_HEADER_BYTES_MAX, NOTICE_RETURN_BYTES_MAX};

    const NOW: Stamp = Stamp::from_millis(1_763_900_000_000);
    const REPORTER: Reporter<'_> =
        Reporter { hostname: "relay.test", postmaster: "postmaster@relay.test" };
    const MAIL: &[u8] = b"Received: by relay.test\r\nSubject: Hello\r\nMessage-ID: <1@a.test>\r\n\
        \r\nbody text\r\n";

    /// What a case changes; the rest is the same for all.
    struct Case {
        kind: NoticeKind,
        envelope: Envelope,
        mail: Vec<u8>,
        cause: Cause,
    }

    fn address(text: &str) -> Address {
        Address::from_checked(text, text.rfind('@').unwrap_or(text.len()))
    }

    fn recipient(text: &str, notify: Notify) -> Recipient {
        Recipient { address: address(text), notify, original: None }
    }

    fn reply(text: &str) -> Cause {
        let status = Some(StatusCode::new(5, 1, 1));
        Cause::Reply(RemoteReply { code: 550, status, text: text.into() })
    }

    impl Case {
        fn new() -> Case {
            let envelope = Envelope {
                id: MessageId::from_u64(1 << 40),
                received: Stamp::from_millis(NOW.millis() - 7_200_000),
                sender: ReversePath::Mailbox(address("ann@a.test")),
                sender_id: SenderId::new("acme", "auth", "ann"),
                recipients: vec![recipient("joe@b.test", Notify::Unspecified)],
                body: BodyKind::SevenBit,
                utf8: false,
                require_tls: false,
                ret: None,
                envid: None,
                origin: Origin {
                    peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    helo: "a.test".into(),
                    protocol: Protocol::default(),
                    account: "acme".into(),
                },
                size: 0,
            };
            let cause = reply("No such user");
            Case { kind: NoticeKind::Failed, envelope, mail: MAIL.to_vec(), cause }
        }

        fn compose(&self) -> Option<Dsn> {
            let told: Vec<_> = self
                .envelope
                .recipients
                .iter()
                .map(|recipient| NoticeRecipient {
                    recipient,
                    cause: &self.cause,
                    remote: Some("mx.b.test"),
                    last_attempt: NOW,
                    attempts: 1,
                    will_retry_until: None,
                })
                .collect();
            let original = Body::from_message(&self.mail);
            let (kind, envelope) = (self.kind, &self.envelope);
            let notice =
                Notice { kind, envelope, original: &original, recipients: &told, expired: false };
            compose(&notice, &REPORTER, MessageId::from_u64(1 << 41), NOW)
        }

        /// The message, after checking what holds for every notice.
        fn text(&self) -> String {
            let dsn = self.compose().expect("somebody wants to know");
            let message = dsn.body.message();
            assert_eq!(dsn.envelope.size, message.len() as u64);
            assert_eq!(dsn.envelope.body == BodyKind::SevenBit, message.is_ascii());
            let mut lines = message.split(|&octet| octet == b'\n');
            assert_eq!(lines.next_back(), Some(&b""[..]));
            for line in lines {
                let line = line.strip_suffix(b"\r").expect("CRLF everywhere");
                assert!(line.len() <= LINE_OCTETS_MAX && !line.contains(&b'\r'));
                assert!(!line.contains(&0));
            }
            String::from_utf8_lossy(message).into_owned()
        }
    }

    /// The values of the fields of that name, anywhere, unfolded.
    fn fields(text: &str, name: &str) -> Vec<String> {
        let prefix = format!("{name}: ");
        let unfolded = text.replace("\r\n ", " ");
        let values = unfolded.split("\r\n").filter_map(|line| line.strip_prefix(&prefix));
        values.map(str::to_owned).collect()
    }

    #[test]
    fn it_goes_from_nobody_to_the_return_path_and_ends_there() {
        let dsn = Case::new().compose().unwrap();
        let envelope = &dsn.envelope;
        assert_eq!(envelope.sender, ReversePath::Null);
        assert_eq!(envelope.recipients, [recipient("ann@a.test", Notify::Never)]);
        assert_eq!(envelope.sender_id.as_str(), "baton|notice|relay.test");
        assert_eq!((envelope.received, envelope.utf8), (NOW, false));
        assert_eq!((envelope.ret, &envelope.envid), (None, &None));

        let mut about_a_notice = Case::new();
        about_a_notice.envelope = dsn.envelope;
        assert_eq!(about_a_notice.compose(), None);
    }

    #[test]
    fn only_recipients_that_want_the_news_are_in_it() {
        let mut case = Case::new();
        let success = Notify::On { success: true, failure: false, delay: false };
        case.envelope.recipients = vec![
            recipient("never@b.test", Notify::Never),
            recipient("default@b.test", Notify::Unspecified),
            recipient("success@b.test", success),
        ];
        let told = |case: &Case| fields(&case.text(), "Final-Recipient");
        assert_eq!(told(&case), ["rfc822; default@b.test"]);
        assert!(!case.text().contains("never@") && !case.text().contains("success@"));
        case.kind = NoticeKind::Relayed;
        assert_eq!(told(&case), ["rfc822; success@b.test"]);
        case.kind = NoticeKind::Delayed;
        assert_eq!(told(&case), ["rfc822; default@b.test"]);
        case.envelope.recipients.truncate(1);
        for kind in [NoticeKind::Failed, NoticeKind::Delayed, NoticeKind::Delivered] {
            case.kind = kind;
            assert_eq!(case.compose(), None);
        }
    }

    #[test]
    fn what_must_travel_under_tls_does_not_come_back_otherwise() {
        let mut case = Case::new();
        case.envelope.ret = Some(Return::Full);
        for require_tls in [false, true] {
            case.envelope.require_tls = require_tls;
            let notice = case.compose().expect("somebody wants to know");
            assert_eq!(notice.envelope.require_tls, require_tls);
            assert_eq!(case.text().contains("body text"), !require_tls);
        }
    }

    #[test]
    fn the_whole_message_goes_back_only_when_asked_for_and_possible() {
        let returned = |case: &Case| match case.text() {
            text if text.contains("Content-Type: message/rfc822\r\n") => "message",
            text if text.contains("Content-Type: text/rfc822-headers") => "header",
            _ => "neither",
        };
        let mut case = Case::new();
        assert_eq!(returned(&case), "header");
        assert!(!case.text().contains("body text"));
        case.envelope.ret = Some(Return::Headers);
        assert_eq!(returned(&case), "header");
        case.envelope.ret = Some(Return::Full);
        assert_eq!(returned(&case), "message");
        assert!(case.text().contains("\r\n\r\nbody text\r\n"));
        case.kind = NoticeKind::Delayed;
        assert_eq!(returned(&case), "header");

        case.kind = NoticeKind::Failed;
        let fill = NOTICE_RETURN_BYTES_MAX - MAIL.len();
        let big = |extra: &[u8]| [MAIL, extra].concat();
        case.mail = big("0123456\n".repeat(fill / 8).as_bytes());
        assert_eq!(returned(&case), "message");
        case.mail = big("0123456\n".repeat(fill / 8 + 1).as_bytes());
        assert_eq!(returned(&case), "header");
        case.mail = big(b"a\0b\r\n");
        assert_eq!(returned(&case), "header");
        case.mail = big("x".repeat(998).as_bytes());
        assert_eq!(returned(&case), "message");
        case.mail = big("x".repeat(999).as_bytes());
        assert_eq!(returned(&case), "header");
    }

    #[test]
    fn a_header_goes_back_in_lines_that_mail_can_carry() {
        let mut case = Case::new();
        let long = "ü".repeat(2_000);
        case.mail = format!("A: 1\nLong: {long}\nB: \0\rx\n\nbody").into_bytes();
        let text = case.text();
        assert!(text.contains("\r\n\r\nA: 1\r\nLong: ü") && text.contains("\r\nB: ??x\r\n"));
        assert_eq!(text.matches('ü').count(), 2_000);
        assert!(text.contains("text/rfc822-headers; charset=utf-8\r\n"));

        case.mail = "Field: a b c d e f\r\n".repeat(10_000).into_bytes();
        let header = case.text();
        assert!(header.len() < NOTICE_HEADER_BYTES_MAX + 8 * 1024);
        assert!(header.len() > NOTICE_HEADER_BYTES_MAX);
        for odd in [vec![b'x'; 200_000], vec![0xff; 2_000], vec![0x80; 2_000], vec![], b"\n".into()]
        {
            case.mail = odd;
            case.text();
        }
    }

    #[test]
    fn what_came_in_xtext_is_told_in_clear() {
        let mut case = Case::new();
        case.envelope.envid = Some("QQ+2B1+3D2".into());
        case.envelope.recipients[0].original = Some("rfc822;joe+2Bnews@old.test".into());
        let text = case.text();
        assert_eq!(fields(&text, "Original-Envelope-Id"), ["QQ+1=2"]);
        assert_eq!(fields(&text, "Original-Recipient"), ["rfc822; joe+news@old.test"]);
        assert_eq!(fields(&text, "Final-Recipient"), ["rfc822; joe@b.test"]);
    }

    #[test]
    fn nobody_elses_words_can_forge_a_field() {
        let forged = "x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; boss@b.test";
        let mut case = Case::new();
        case.cause = reply(forged);
        case.envelope.envid = Some("a+0D+0AAction:+20delivered".into());
        case.envelope.recipients[0].original = Some("rfc822;a+0D+0A+0D+0AAction:+20x".into());
        case.mail = b"Subject: a\r\n b\rBcc: x\r\nMessage-ID: <a>\r\n <b>\r\n\r\n".to_vec();
        for cause in [reply(forged), Cause::local(StatusCode::new(5, 0, 0), forged)] {
            case.cause = cause;
            let text = case.text();
            assert_eq!(fields(&text, "Action"), ["failed"]);
            assert_eq!(fields(&text, "Final-Recipient"), ["rfc822; joe@b.test"]);
            assert_eq!(fields(&text, "Original-Envelope-Id"), ["a??Action: delivered"]);
            assert_eq!(fields(&text, "Original-Recipient"), ["rfc822; a????Action: x"]);
            assert!(fields(&text, "Bcc").is_empty());
            assert!(fields(&text, "In-Reply-To").is_empty());
        }
    }

    #[test]
    fn long_replies_stay_in_bounds_and_short_ones_verbatim() {
        let mut case = Case::new();
        case.cause = reply("first  line\nsecond: https://b.test/why?id=1\n\nGrüße");
        let text = case.text();
        assert!(text.contains(
            "mx.b.test answered:\r\n      550 5.1.1 first  line\r\n      \
             second: https://b.test/why?id=1\r\n      Grüße\r\n"
        ));
        let one_line = "smtp; 550 5.1.1 first line second: https://b.test/why?id=1 Gr??e";
        assert_eq!(fields(&text, "Diagnostic-Code"), [one_line]);
        for word in ["y".repeat(50_000), "z ".repeat(50_000), "é".repeat(50_000)] {
            case.cause = reply(&word);
            assert!(case.text().len() < 20_000);
        }
    }

    #[test]
    fn the_subject_is_repeated_only_when_plain() {
        let subject = |line: &str| {
            let mut case = Case::new();
            case.mail = format!("{line}\r\n\r\nbody").into_bytes();
            let text = case.text();
            let end = text.find("\r\n\r\n").unwrap();
            let header = fields(&text[..end + 2], "Subject");
            (header[0].clone(), text)
        };
        assert_eq!(subject("Subject: Hi\r\n there").0, "Undelivered mail: Hi there");
        assert_eq!(subject("X: y").0, "Undelivered mail");
        let cut = subject(&format!("sUBJECT : {}", "a".repeat(60))).0;
        assert_eq!(cut, format!("Undelivered mail: {}...", "a".repeat(48)));
        for odd in ["Grüße", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="] {
            let (header, text) = subject(&format!("Subject: {odd}"));
            assert_eq!(header, "Undelivered mail");
            assert!(text.contains(&format!("  Subject:  {odd}\r\n")));
        }
    }

    #[test]
    fn utf8_is_asked_for_only_where_an_address_needs_it() {
        let mut case = Case::new();
        // A remote's words alone: 8bit, but no UTF-8 header and an ASCII report.
        case.cause = reply("Grüße");
        let dsn = case.compose().unwrap();
        assert_eq!((dsn.envelope.utf8, dsn.envelope.body), (false, BodyKind::EightBit));
        assert!(case.text().contains("Content-Type: message/delivery-status\r\n"));

        // A recipient: the global report, still deliverable without SMTPUTF8.
        case.envelope.utf8 = true;
        case.envelope.recipients[0] = recipient("jürgen@b.test", Notify::Unspecified);
        case.mail = "Subject: Grüße\r\n\r\n".into();
        let text = case.text();
        assert!(!case.compose().unwrap().envelope.utf8);
        assert!(text.contains("report-type=global-delivery-status;"));
        assert!(text.contains("Content-Type: message/global-headers\r\n"));
        assert_eq!(fields(&text, "Final-Recipient"), ["utf-8; jürgen@b.test"]);

        // ORCPT from a sender without SMTPUTF8 goes back in the form it can read.
        case.envelope.utf8 = false;
        case.envelope.recipients[0] = recipient("joe@b.test", Notify::Unspecified);
        case.envelope.recipients[0].original = Some("utf-8;j\\x{FC}rgen@b.test".into());
        let text = case.text();
        assert!(text.contains("Content-Type: message/delivery-status\r\n"));
        assert_eq!(fields(&text, "Original-Recipient"), ["utf-8; j\\x{FC}rgen@b.test"]);

        // The return path: now envelope and header need it.
        case.envelope.utf8 = true;
        case.envelope.sender = ReversePath::Mailbox(address("änn@a.test"));
        let dsn = case.compose().unwrap();
        assert!(dsn.envelope.utf8);
        case.mail = MAIL.to_vec();
        case.cause = reply("all ASCII but the header");
        assert_eq!(fields(&case.text(), "To"), ["<änn@a.test>"]);
    }

    #[test]
    fn a_returned_notice_does_not_break_out_of_its_part() {
        let mut case = Case::new();
        let first = case.text();
        case.envelope.ret = Some(Return::Full);
        case.mail = first.clone().into_bytes();
        let second = case.text();
        let boundary = |text: &str| {
            let start = text.find("boundary=\"").unwrap() + "boundary=\"".len();
            text[start..].split('"').next().unwrap().to_owned()
        };
        assert_ne!(boundary(&first), boundary(&second));
        assert_eq!(second.matches(&format!("\r\n--{}", boundary(&second))).count(), 4);
    }
}
