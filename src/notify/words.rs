//! The first part of a notification: what happened, for people (RFC 6522 3).
//!
//! Decides how an enhanced status code reads ([`Reason`]) and what the sender can do about it.
//! Plain words come first, the technical side after them: the id, the codes, and what the
//! remote said, line by line as it said it. Recipients with the same reason share a paragraph,
//! so that a mailing to a dead domain does not read like a litany. Never decides who is told.

use super::line::{WORD_OCTETS_MAX, cut, push_paragraph, push_verbatim};
use super::mime::Part;
use super::notice::{Notice, NoticeKind, NoticeRecipient, Reporter};
use super::original;
use crate::message::{Cause, StatusCode};
use crate::time::Stamp;
use std::time::Duration;

/// Recipients that the text names; the second part lists them all.
const RECIPIENTS_SHOWN_MAX: usize = 50;

/// Octets of a remote's words that are repeated for one recipient.
const WORDS_OCTETS_MAX: usize = 4 * 1024;

/// Octets of the subject that are repeated.
const SUBJECT_OCTETS_MAX: usize = 300;

pub fn part(
    notice: &Notice<'_>,
    told: &[&NoticeRecipient<'_>],
    reporter: &Reporter<'_>,
    now: Stamp,
) -> Part {
    let shown = &told[..told.len().min(RECIPIENTS_SHOWN_MAX)];
    let mut out = String::new();
    push_paragraph(&mut out, "", &opening(notice, told, now));
    for (reason, those) in by_reason(shown) {
        push_group(&mut out, notice.kind, reason, &those);
    }
    if let rest @ 1.. = told.len() - shown.len() {
        out.push_str("\r\n");
        push_paragraph(&mut out, "", &format!("And {rest} more, all listed in the report below."));
    }
    push_message(&mut out, notice);
    out.push_str("\r\nFor those who run the mail servers:\r\n");
    for recipient in shown {
        push_technical(&mut out, notice.kind, recipient);
    }
    out.push_str("\r\n");
    let closing = format!(
        "This report was written by the mail server {}. If it leaves you with a question, write \
         to {} and quote the id {}.",
        reporter.hostname, reporter.postmaster, notice.envelope.id
    );
    push_paragraph(&mut out, "", &closing);
    Part {
        media: "text/plain; charset=utf-8",
        description: "What happened",
        content: out.into_bytes(),
    }
}

fn opening(notice: &Notice<'_>, told: &[&NoticeRecipient<'_>], now: Stamp) -> String {
    let whom = match told.len() {
        1 => "this address".to_owned(),
        several => format!("these {several} addresses"),
    };
    match notice.kind {
        NoticeKind::Failed if notice.expired => format!(
            "Your message could not be delivered to {whom}. We tried for {} and have now given up.",
            span(now.since(notice.envelope.received))
        ),
        NoticeKind::Failed => {
            format!("Your message could not be delivered to {whom}. We will not try again.")
        }
        NoticeKind::Delayed => {
            let until = told.iter().filter_map(|told| told.will_retry_until).max();
            let until = until.map_or(String::new(), |until| {
                format!(" until {}, and will tell you if it does not work", until.header_date())
            });
            format!(
                "Your message has not reached {whom} yet. You need not send it again: we keep \
                 trying{until}."
            )
        }
        NoticeKind::Relayed => format!(
            "Your message was passed on for {whom} to a server that does not confirm deliveries. \
             You will hear of it again only if something goes wrong there."
        ),
        NoticeKind::Delivered => format!("Your message was delivered to {whom}."),
    }
}

/// In the order of first appearance.
fn by_reason<'t>(shown: &[&'t NoticeRecipient<'t>]) -> Vec<(Reason, Vec<&'t NoticeRecipient<'t>>)> {
    let mut groups: Vec<(Reason, Vec<&NoticeRecipient<'_>>)> = Vec::new();
    for recipient in shown {
        let reason = Reason::of(recipient.cause);
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, those)) => those.push(recipient),
            None => groups.push((reason, vec![recipient])),
        }
    }
    groups
}

fn push_group(out: &mut String, kind: NoticeKind, reason: Reason, those: &[&NoticeRecipient<'_>]) {
    out.push_str("\r\n");
    for told in those {
        push_verbatim(out, "  ", &cut(told.recipient.address.as_str(), WORD_OCTETS_MAX));
    }
    let words = match kind {
        NoticeKind::Failed => format!("{} {}", reason.says(), reason.advises()),
        NoticeKind::Delayed => format!("The reason so far: {}", reason.says()),
        NoticeKind::Relayed | NoticeKind::Delivered => return,
    };
    out.push_str("\r\n");
    push_paragraph(out, "  ", &words);
}

fn push_message(out: &mut String, notice: &Notice<'_>) {
    out.push_str("\r\nThe message:\r\n\r\n");
    if let Some(subject) = original::field(notice, "Subject") {
        let subject = cut(&subject, SUBJECT_OCTETS_MAX);
        push_verbatim(out, "  ", &format!("Subject:  {subject}"));
    }
    push_verbatim(out, "  ", &format!("Received: {}", notice.envelope.received.header_date()));
    push_verbatim(out, "  ", &format!("Id:       {}", notice.envelope.id));
}

fn push_technical(out: &mut String, kind: NoticeKind, told: &NoticeRecipient<'_>) {
    out.push_str("\r\n");
    push_verbatim(out, "  ", &cut(told.recipient.address.as_str(), WORD_OCTETS_MAX));
    let attempts = match told.attempts {
        0 => "never tried".to_owned(),
        1 => format!("tried once, on {}", told.last_attempt.header_date()),
        times => format!("tried {times} times, last on {}", told.last_attempt.header_date()),
    };
    push_paragraph(
        out,
        "    ",
        &format!("{} {}, {attempts}", kind.action(), kind.status(told.cause)),
    );
    let remote = told.remote.map(|remote| cut(remote, WORD_OCTETS_MAX));
    let (who, words) = match told.cause {
        Cause::Reply(reply) => {
            let status = reply.status.map_or(String::new(), |status| format!(" {status}"));
            let who = remote.unwrap_or_else(|| "the receiving server".to_owned());
            (format!("{who} answered:"), format!("{}{status} {}", reply.code, reply.text))
        }
        Cause::Local { words, .. } => {
            let who = remote.map_or(String::new(), |remote| format!(" while talking to {remote}"));
            (format!("what happened{who}:"), words.to_string())
        }
    };
    push_paragraph(out, "    ", &who);
    for line in cut(&words, WORDS_OCTETS_MAX).lines() {
        push_verbatim(out, "      ", line);
    }
}

/// A length of time in the unit that people would use.
fn span(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, unit) = match minutes {
        0..120 => (minutes.max(1), "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What a status code means to somebody who wrote a letter (RFC 3463 3, RFC 7505 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NoSuchMailbox,
    NoSuchDomain,
    BadAddress,
    BadSender,
    MailboxClosed,
    MailboxFull,
    TooBig,
    Unreachable,
    Loop,
    NotCapable,
    PutOff,
    Refused,
    Unclear,
}

impl Reason {
    fn of(cause: &Cause) -> Reason {
        let StatusCode { class, subject, detail } = cause.status();
        match (cause, class, subject, detail) {
            (_, _, 1, 1 | 6) => Reason::NoSuchMailbox,
            (_, 5, 1, 2 | 10) | (_, 5, 4, 4) => Reason::NoSuchDomain,
            (_, _, 1, 3) => Reason::BadAddress,
            (_, _, 1, 7 | 8) | (_, _, 7, 27) => Reason::BadSender,
            (_, _, 2, 1) => Reason::MailboxClosed,
            (_, _, 2, 2) => Reason::MailboxFull,
            (_, _, 2, 3) | (_, _, 3, 4) => Reason::TooBig,
            (_, _, 4, 6) => Reason::Loop,
            // A code of the network that a server sends is about something behind it.
            (Cause::Local { .. }, _, 4, _) | (Cause::Local { .. }, 4, 1, 2) => Reason::Unreachable,
            (_, _, 6, _) => Reason::NotCapable,
            (Cause::Reply(_), 4, ..) => Reason::PutOff,
            (_, 5, 7, _) => Reason::Refused,
            _ => Reason::Unclear,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Reason::NoSuchMailbox => "The receiving server knows no such mailbox.",
            Reason::NoSuchDomain => "The part after the @ does not exist or takes no mail.",
            Reason::BadAddress => "The receiving server can make no sense of the address.",
            Reason::BadSender => "The receiving server does not accept your address as a sender.",
            Reason::MailboxClosed => "The mailbox exists but takes no mail at present.",
            Reason::MailboxFull => "The mailbox is full.",
            Reason::TooBig => "The message is too big for the receiving side.",
            Reason::Unreachable => "No receiving server could be reached, or it broke off.",
            Reason::Loop => "Mail for this address goes round in circles.",
            Reason::NotCapable => "The receiving server cannot handle a message of this form.",
            Reason::PutOff => "The receiving server puts the message off.",
            Reason::Refused => {
                "The receiving server refused the message by its own rules: for what is in it, or \
                 for where it comes from."
            }
            Reason::Unclear => "The message could not be handed over.",
        }
    }

    fn advises(self) -> &'static str {
        match self {
            Reason::NoSuchMailbox => {
                "Check the address for typing mistakes. If it used to work, ask for the new one \
                 and take the old one off your lists."
            }
            Reason::NoSuchDomain => {
                "Check how it is spelled: a letter too many or too few is the usual cause."
            }
            Reason::BadAddress => "Check it for stray spaces, quotation marks and missing dots.",
            Reason::BadSender => "Check the sender address that your mail program is set to.",
            Reason::MailboxClosed => {
                "Reach the person another way, and ask whether the address is still in use."
            }
            Reason::MailboxFull => {
                "Tell the person another way, and send the message again once there is room."
            }
            Reason::TooBig => {
                "Send it with smaller attachments, or send a link to where the files can be had."
            }
            Reason::Unreachable => {
                "The address may well be right: send the message again later, or reach the person \
                 another way."
            }
            Reason::Loop => {
                "Only those who run the receiving side can mend this: tell the person another way."
            }
            Reason::NotCapable => {
                "Send it in a simpler form: plain text, and addresses without special letters."
            }
            Reason::PutOff => {
                "Its answer below may say why. Send the message again later, or reach the person \
                 another way."
            }
            Reason::Refused => {
                "Its answer below often names the rule, or a page that explains it. If your \
                 message is wanted there, ask the person to allow it."
            }
            Reason::Unclear => {
                "The answer below may say why. If it tells you nothing, ask your postmaster."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RemoteReply;

    #[test]
    fn a_status_has_a_reason_in_plain_words() {
        let replies = [
            (550, (5, 1, 1), Reason::NoSuchMailbox),
            (550, (5, 1, 2), Reason::NoSuchDomain),
            (556, (5, 1, 10), Reason::NoSuchDomain),
            (552, (5, 2, 2), Reason::MailboxFull),
            (452, (4, 2, 2), Reason::MailboxFull),
            (552, (5, 3, 4), Reason::TooBig),
            (554, (5, 7, 1), Reason::Refused),
            (451, (4, 7, 1), Reason::PutOff),
            (421, (4, 4, 5), Reason::PutOff),
            (550, (5, 4, 1), Reason::Unclear),
            (554, (5, 6, 1), Reason::NotCapable),
            (550, (5, 0, 0), Reason::Unclear),
        ];
        for (code, (class, subject, detail), reason) in replies {
            let status = Some(StatusCode::new(class, subject, detail));
            let cause = Cause::Reply(RemoteReply { code, status, text: "no".into() });
            assert_eq!(Reason::of(&cause), reason, "{cause}");
        }
        let locals = [
            ((4, 4, 1), Reason::Unreachable),
            ((5, 4, 4), Reason::NoSuchDomain),
            ((5, 4, 6), Reason::Loop),
            ((5, 6, 7), Reason::NotCapable),
            ((5, 3, 0), Reason::Unclear),
        ];
        for ((class, subject, detail), reason) in locals {
            let cause = Cause::local(StatusCode::new(class, subject, detail), "no");
            assert_eq!(Reason::of(&cause), reason, "{cause}");
        }
    }

    #[test]
    fn a_span_of_time_reads_well() {
        let cases = [(0, "1 minute"), (119, "119 minutes"), (120, "2 hours"), (2_879, "47 hours")];
        for (minutes, words) in cases {
            assert_eq!(span(Duration::from_secs(minutes * 60)), words);
        }
        assert_eq!(span(Duration::from_secs(5 * 86_400 + 1)), "5 days");
    }
}
