//! What a reply, or the lack of one, means for those who waited for it.
//!
//! | answer | verdict | scope |
//! |---|---|---|
//! | 421, to anything | transient | session: the connection ends here, another may do better |
//! | 4xx or 5xx to the greeting, EHLO | transient | session (4xx), site (5xx): try another host |
//! | STARTTLS refused or not offered, where it must be | transient | site: another host may do it |
//! | TLS fails after its 220 | transient | session |
//! | 4xx, 5xx to MAIL, DATA or the body | by its class | message, but for the two rows below |
//! | x.3.2 there ("not accepting messages") | by its class | site: it says so of every message |
//! | 4.4.x there (network and routing) | transient | session: it is not about this message |
//! | 4xx, 5xx to RCPT | by its class | recipient |
//! | 552 to RCPT | transient | recipient: an old way to say 452, too many recipients |
//! | no reply, or no SMTP | transient | session |
//!
//! A 5xx greeting (554 "no SMTP service here", 521) is final for that host only: the next MX may
//! serve, so it is no reason to bounce. The words of a remote are kept, within a bound; what they
//! mean beyond the codes is `feedback/`.
//!
//! RFC 5321 3.1, 4.2.1, 4.5.3.1.10; RFC 3463 3; RFC 7504.

use crate::limits::WORDS_BYTES_MAX;
use crate::message::{Cause, Outcome, RemoteReply, Scope, Stage, StatusCode, Verdict};
use crate::smtp::client::step::Lost;

/// The first digit of a reply, as far as a sender cares (RFC 5321 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    GoOn,
    No,
}

/// Whether the body was on its way when the connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The remote cannot have the message.
    Undelivered,
    /// It was sent to the end, so it may have been taken.
    Unknown,
}

/// Service closing (RFC 5321 3.8), in answer to anything.
pub const CLOSING: u16 = 421;

const SYSTEM_NOT_ACCEPTING: (u16, u16) = (3, 2);
const MESSAGE_TOO_LONG: [StatusCode; 2] = [StatusCode::new(5, 2, 3), StatusCode::new(5, 3, 4)];
const BAD_CONNECTION: StatusCode = StatusCode::new(4, 4, 2);
const NOT_THE_PROTOCOL: StatusCode = StatusCode::new(4, 5, 0);
/// "Security features not supported" (RFC 3463 3.8). The "encryption needed" of the registry
/// (x.7.10, x.7.11; RFC 5248, RFC 4954) is about a mechanism of AUTH, not about the session.
const NO_TLS: StatusCode = StatusCode::new(4, 7, 4);
/// "Cryptographic failure" (RFC 3463 3.8).
const TLS_FAILED: StatusCode = StatusCode::new(4, 7, 5);

pub fn answer(reply: &RemoteReply) -> Answer {
    match reply.code / 100 {
        2 => Answer::Yes,
        3 => Answer::GoOn,
        _ => Answer::No,
    }
}

/// The final reply was positive.
pub fn delivered(reply: RemoteReply) -> Outcome {
    by_reply(Verdict::Delivered, Scope::Recipient, Stage::Final, reply)
}

/// A 4xx or 5xx to MAIL, DATA or the body.
pub fn message_refused(stage: Stage, reply: RemoteReply) -> Outcome {
    let verdict = verdict_of(&reply);
    let scope = match reply.status {
        Some(status) if (status.subject, status.detail) == SYSTEM_NOT_ACCEPTING => Scope::Site,
        Some(status) if status.subject == 4 && verdict == Verdict::Transient => Scope::Session,
        Some(_) | None => Scope::Message,
    };
    by_reply(verdict, scope, stage, reply)
}

/// A 4xx or 5xx to RCPT.
pub fn recipient_refused(reply: RemoteReply) -> Outcome {
    // RFC 5321 4.5.3.1.10 means the 552 of "too many recipients". One that says with its enhanced
    // code that it is about the length of the message means that, and waiting makes none shorter.
    let too_long = reply.status.is_some_and(|status| MESSAGE_TOO_LONG.contains(&status));
    let verdict = match reply.code {
        552 if !too_long => Verdict::Transient,
        _ => verdict_of(&reply),
    };
    by_reply(verdict, Scope::Recipient, Stage::Rcpt, reply)
}

/// STARTTLS is not offered where nothing may go in clear. Never final: a host that lost its
/// certificate today offers it again tomorrow.
pub fn not_offered() -> Outcome {
    let words = "the next hop does not offer STARTTLS, and the route demands it";
    let cause = Cause::local(NO_TLS, words);
    Outcome { verdict: Verdict::Transient, scope: Scope::Site, stage: Stage::StartTls, cause }
}

/// A 4xx or 5xx to STARTTLS where nothing may go in clear.
pub fn tls_refused(reply: RemoteReply) -> Outcome {
    by_reply(Verdict::Transient, Scope::Site, Stage::StartTls, reply)
}

/// The handshake failed, or what was to begin it was no handshake.
pub fn tls_failed(words: &str) -> Outcome {
    let cause = Cause::local(TLS_FAILED, bounded(words));
    Outcome { verdict: Verdict::Transient, scope: Scope::Session, stage: Stage::StartTls, cause }
}

/// A 4xx or 5xx to the greeting, EHLO or HELO.
pub fn session_refused(stage: Stage, reply: RemoteReply) -> Outcome {
    let scope = match verdict_of(&reply) {
        Verdict::Permanent => Scope::Site,
        Verdict::Transient | Verdict::Delivered => Scope::Session,
    };
    by_reply(Verdict::Transient, scope, stage, reply)
}

/// A reply that ends the use of the connection: 421, or a refusal of RSET.
pub fn session_ended(stage: Stage, reply: RemoteReply) -> Outcome {
    by_reply(Verdict::Transient, Scope::Session, stage, reply)
}

/// What came is no reply, or none that belongs there.
pub fn not_the_protocol(stage: Stage, words: &str) -> Outcome {
    let cause = Cause::local(NOT_THE_PROTOCOL, bounded(words));
    Outcome { verdict: Verdict::Transient, scope: Scope::Session, stage, cause }
}

pub fn lost(stage: Stage, how: &Lost, fate: Fate) -> Outcome {
    let what = match how {
        Lost::Closed => "the remote closed the connection",
        Lost::TimedOut => "the remote did not answer in time",
        Lost::Failed(words) => words,
    };
    let at = match stage {
        Stage::Greeting => "before its greeting",
        Stage::Ehlo => "in answer to EHLO",
        Stage::StartTls => "while TLS was to start",
        Stage::Rcpt => "in answer to RCPT",
        Stage::Data => "while it was to take the message",
        Stage::Final => "after the whole message was sent",
        Stage::Mail | Stage::Route | Stage::Connect => "in answer to MAIL",
    };
    let note = match fate {
        Fate::Undelivered => "",
        Fate::Unknown => "; it may have been delivered",
    };
    let cause = Cause::local(BAD_CONNECTION, bounded(&format!("{what} {at}{note}")));
    Outcome { verdict: Verdict::Transient, scope: Scope::Session, stage, cause }
}

/// The next hop cannot carry what it would have to. Nothing was sent.
pub fn cannot_carry(scope: Scope, status: StatusCode, words: impl Into<Box<str>>) -> Outcome {
    let cause = Cause::local(status, words);
    Outcome { verdict: Verdict::Permanent, scope, stage: Stage::Mail, cause }
}

fn verdict_of(reply: &RemoteReply) -> Verdict {
    match reply.code / 100 {
        5 => Verdict::Permanent,
        _ => Verdict::Transient,
    }
}

fn by_reply(verdict: Verdict, scope: Scope, stage: Stage, reply: RemoteReply) -> Outcome {
    let text = match reply.text.len() {
        0..=WORDS_BYTES_MAX => reply.text,
        _ => bounded(&reply.text).into(),
    };
    Outcome { verdict, scope, stage, cause: Cause::Reply(RemoteReply { text, ..reply }) }
}

fn bounded(words: &str) -> &str {
    &words[..words.floor_char_boundary(WORDS_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> RemoteReply {
        let mut words = line.splitn(2, ' ');
        let code = words.next().and_then(|code| code.parse().ok()).expect("a code");
        let numbers: Vec<u16> =
            words.next().unwrap_or("").split('.').filter_map(|n| n.parse().ok()).collect();
        let status = match numbers[..] {
            [class, subject, detail] => Some(StatusCode::new(class as u8, subject, detail)),
            _ => None,
        };
        RemoteReply { code, status, text: "no".into() }
    }

    #[test]
    fn a_refusal_says_who_is_at_fault() {
        let cases = [
            ("450", Verdict::Transient, Scope::Message),
            ("550", Verdict::Permanent, Scope::Message),
            ("451 4.3.2", Verdict::Transient, Scope::Site),
            ("550 5.3.2", Verdict::Permanent, Scope::Site),
            ("451 4.4.2", Verdict::Transient, Scope::Session),
            ("554 5.4.6", Verdict::Permanent, Scope::Message),
            ("552 5.3.4", Verdict::Permanent, Scope::Message),
        ];
        for (line, verdict, scope) in cases {
            let outcome = message_refused(Stage::Mail, reply(line));
            assert_eq!((outcome.verdict, outcome.scope), (verdict, scope), "{line}");
        }
    }

    #[test]
    fn too_many_recipients_is_said_in_two_ways_and_never_final() {
        let cases = [
            ("452 4.5.3", Verdict::Transient),
            ("552", Verdict::Transient),
            ("552 5.5.3", Verdict::Transient),
            ("552 5.2.2", Verdict::Transient),
            ("552 5.3.4", Verdict::Permanent),
            ("552 5.2.3", Verdict::Permanent),
            ("550 5.1.1", Verdict::Permanent),
        ];
        for (line, verdict) in cases {
            let outcome = recipient_refused(reply(line));
            assert_eq!((outcome.verdict, outcome.scope), (verdict, Scope::Recipient), "{line}");
        }
    }

    #[test]
    fn words_are_cut_between_characters() {
        let text = "é".repeat(WORDS_BYTES_MAX).into_boxed_str();
        let outcome = delivered(RemoteReply { code: 250, status: None, text });
        let Cause::Reply(reply) = outcome.cause else { panic!("a reply is the cause") };
        assert_eq!(reply.text.len(), WORDS_BYTES_MAX);
        let odd = format!("x{}", "é".repeat(WORDS_BYTES_MAX));
        let outcome = lost(Stage::Mail, &Lost::Failed(odd.into()), Fate::Undelivered);
        assert_eq!(outcome.cause.to_string().len(), "4.4.2 ".len() + WORDS_BYTES_MAX - 1);
    }
}
