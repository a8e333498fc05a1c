//! Plays a dialogue against a session, as the driver and the client at once.
//!
//! All that the client says up to the server's next line is one input, which a [`Cut`] divides.
//! Whatever the session does meanwhile must be what the following lines expect, in their order.
//! At every step the replies that wait stay within their bound, and so does the message.

use super::script::{Check, Dialogue, GateRules, Key, Line};
use baton::event::{CloseReason, RejectStage, RejectTag};
use baton::limits::REPLY_BYTES_MAX;
use baton::message::Address;
use baton::smtp::command::{MailFrom, RcptTo};
use baton::smtp::reply::{REPLY_SENT_OCTETS_MAX, Reply};
use baton::smtp::server::{Draft, Gate, Login, Phase, Refusal, ServerSession, Step, Transaction};
use baton::smtp::wording;
use std::rc::Rc;

/// Stands for our record version and Received field.
pub const PREFACE: &[u8] = b"\x01Received: by relay.test\r\n";
/// The answer to EHLO has a dozen lines; nothing else is said in one go.
const REPLY_LINES_AT_ONCE_MAX: usize = 16;

/// Where an input is divided.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Whole,
    EveryByte,
    /// Into pieces of 1..=16 octets, from a seed.
    Random(u64),
}

impl Cut {
    /// The lengths of the pieces.
    pub fn lengths(self) -> impl FnMut() -> usize {
        let mut state = if let Cut::Random(seed) = self { seed } else { 0 };
        move || match self {
            Cut::Whole => usize::MAX,
            Cut::EveryByte => 1,
            Cut::Random(_) => 1 + (next_random(&mut state) % 16) as usize,
        }
    }
}

/// SplitMix64: a seed makes the same cuts on every machine.
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A relay whose answers stand in the file.
pub struct ScriptedGate(pub GateRules);

impl Gate for ScriptedGate {
    fn mail(&mut self, _: &MailFrom) -> Result<(), Refusal> {
        self.0.mail.clone().map_or(Ok(()), |reply| Err(Refusal::new(RejectTag::Busy, reply)))
    }

    fn recipient(&mut self, address: Address) -> Result<Address, Refusal> {
        let domain = address.domain_key();
        if let Some((_, refusal)) = self.0.recipients.iter().find(|(known, _)| *known == domain) {
            return Err(Refusal::new(RejectTag::NoRoute, refusal.clone()));
        }
        match (&self.0.postmaster, domain.is_empty()) {
            (Some(target), true) => {
                let at = target.find('@').expect("postmaster goes to a mailbox");
                Ok(Address::from_checked(target.as_str(), at))
            }
            _ => Ok(address),
        }
    }

    fn preface(&mut self, _: &Draft) -> Vec<u8> {
        PREFACE.to_vec()
    }

    fn refused(&mut self, _: RejectStage, _: &str, _: &str, refusal: &Refusal) {
        assert!(refusal.reply.code >= 400);
    }
}

/// What went wrong, to be printed with the cut.
pub struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn play(dialogue: &Dialogue, cut: Cut) -> Result<(), Failure> {
    let mut player = Player {
        dialogue,
        next: 0,
        repeated: 0,
        session: ServerSession::new(Rc::new(dialogue.rules.clone()), dialogue.tls),
        gate: ScriptedGate(dialogue.gate.clone()),
        closed: false,
        flushed: false,
    };
    player.hear()?;
    let mut length = cut.lengths();
    while let Some((_, line)) = dialogue.lines.get(player.next) {
        match line {
            Line::Client(_) => {
                let input = player.client_input();
                let mut rest = &input[..];
                while !rest.is_empty() && !player.closed {
                    let (piece, after) = rest.split_at(length().min(rest.len()));
                    rest = after;
                    player.feed(piece)?;
                }
            }
            Line::Ends(reason) => {
                player.next += 1;
                player.session.close(&farewell(*reason), *reason);
                player.feed(b"")?;
            }
            Line::Says(check) => {
                player.check(*check)?;
                player.next += 1;
            }
            _ => return Err(player.failure("nothing more")),
        }
    }
    Ok(())
}

fn farewell(reason: CloseReason) -> Reply {
    match reason {
        CloseReason::Idle => wording::IDLE,
        CloseReason::Slow => wording::SLOW,
        CloseReason::SessionAge => wording::SESSION_AGE,
        CloseReason::Stopping => wording::STOPPING,
        _ => panic!("a driver does not close for {}", reason.as_str()),
    }
}

struct Player<'a> {
    dialogue: &'a Dialogue,
    /// Of the lines, the one that is due.
    next: usize,
    /// How often it was met already.
    repeated: usize,
    session: ServerSession,
    gate: ScriptedGate,
    closed: bool,
    flushed: bool,
}

impl<'a> Player<'a> {
    fn failure(&self, seen: &str) -> Failure {
        let Dialogue { name, lines, .. } = self.dialogue;
        let Some((number, line)) = lines.get(self.next) else {
            return Failure(format!("{name}: expected the end, seen {seen}"));
        };
        let expected = match line {
            Line::Client(_) => "the client to speak".into(),
            Line::Server { pattern, .. } => format!("S: {pattern}"),
            Line::Closes(reason) => format!("S! close {}", reason.as_str()),
            Line::Secured => "a request for TLS".into(),
            Line::Asks { .. } | Line::Proven(_) => "a request to check credentials".into(),
            Line::Carries(pairs) => {
                let shown =
                    |(key, value): &(Key, Vec<u8>)| format!("{key:?}={}", value.escape_ascii());
                pairs.iter().map(shown).collect::<Vec<_>>().join(" ")
            }
            Line::Settles(_) => "a message".into(),
            Line::Ends(_) => "the driver to close".into(),
            Line::Says(check) => format!("{check:?}"),
        };
        Failure(format!("{name}:{number}: expected {expected}\n    seen {seen}"))
    }

    fn due(&self) -> Option<&'a Line> {
        self.dialogue.lines.get(self.next).map(|(_, line)| line)
    }

    fn client_input(&mut self) -> Vec<u8> {
        let mut input = Vec::new();
        while let Some(Line::Client(octets)) = self.due() {
            input.extend_from_slice(octets);
            self.next += 1;
        }
        input
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut rest = piece;
        loop {
            let step = self.session.step(&mut rest, &mut self.gate);
            self.within_bounds();
            self.hear()?;
            match step {
                Step::Read => {
                    assert!(rest.is_empty(), "a session that asks for more has taken all");
                    return Ok(());
                }
                Step::Flush => self.flushed = true,
                Step::StartTls => {
                    assert!(rest.is_empty(), "input behind STARTTLS");
                    let Some(Line::Secured) = self.due() else {
                        return Err(self.failure("a request for TLS"));
                    };
                    self.next += 1;
                    self.session.secured();
                }
                Step::Authenticate(login) => self.authenticate(login)?,
                Step::Message(transaction) => self.settle(&transaction)?,
                Step::Close(reason) => {
                    match self.due() {
                        Some(Line::Closes(expected)) if *expected == reason => {}
                        _ => return Err(self.failure(&format!("S! close {}", reason.as_str()))),
                    }
                    self.next += 1;
                    self.closed = true;
                    return Ok(());
                }
            }
            self.hear()?;
        }
    }

    fn within_bounds(&mut self) {
        let replies_max = REPLY_BYTES_MAX + REPLY_LINES_AT_ONCE_MAX * REPLY_SENT_OCTETS_MAX;
        assert!(self.session.replies().len() <= replies_max, "replies grow without bound");
        let message_max = PREFACE.len() + self.dialogue.rules.message_bytes_max as usize;
        // A `Vec` that grows may hold twice what is in it.
        assert!(self.session.buffered() <= 2 * message_max, "a message grows without bound");
    }

    /// Compares the replies that wait, one by one.
    fn hear(&mut self) -> Result<(), Failure> {
        let replies =
            String::from_utf8(std::mem::take(self.session.replies())).expect("replies are ASCII");
        let mut lines = Vec::new();
        for line in replies.split_inclusive('\n') {
            lines.push(line.strip_suffix("\r\n").expect("a reply line ends in CRLF"));
            if line.as_bytes()[3] == b' ' {
                self.hear_reply(&lines)?;
                lines.clear();
            }
        }
        assert!(lines.is_empty(), "a reply without its last line: {lines:?}");
        Ok(())
    }

    fn hear_reply(&mut self, lines: &[&str]) -> Result<(), Failure> {
        let last = lines.last().expect("a reply has a line");
        let mut expected = lines;
        match self.due() {
            Some(Line::Server { pattern, .. }) if pattern.as_bytes().get(3) == Some(&b' ') => {
                expected = std::slice::from_ref(last);
            }
            _ => {}
        }
        for line in expected {
            match self.due() {
                Some(Line::Server { pattern, times }) if matches(pattern, line) => {
                    self.repeated += 1;
                    if self.repeated == *times {
                        self.next += 1;
                        self.repeated = 0;
                    }
                }
                _ => return Err(self.failure(&format!("S: {line}"))),
            }
        }
        Ok(())
    }

    fn authenticate(&mut self, login: Login) -> Result<(), Failure> {
        if let Some(Line::Asks { account, password }) = self.due() {
            if login.account.as_bytes() != account || login.password != *password {
                let password = login.password.escape_ascii();
                return Err(self.failure(&format!("A? {} {password}", login.account)));
            }
            self.next += 1;
        }
        let Some(Line::Proven(account)) = self.due() else {
            return Err(self.failure(&format!("A? {}", login.account)));
        };
        self.next += 1;
        self.session.authenticated(account.as_deref());
        Ok(())
    }

    fn settle(&mut self, transaction: &Transaction) -> Result<(), Failure> {
        while let Some(Line::Carries(pairs)) = self.due() {
            for (key, expected) in pairs {
                let seen = look(transaction, *key);
                if seen != *expected {
                    return Err(self.failure(&format!("{key:?}={}", seen.escape_ascii())));
                }
            }
            self.next += 1;
        }
        let Some(Line::Settles(reply)) = self.due() else {
            return Err(self.failure("a message"));
        };
        self.next += 1;
        self.session.settled(reply);
        Ok(())
    }

    fn check(&mut self, check: Check) -> Result<(), Failure> {
        let holds = match check {
            Check::Command => self.session.phase() == Phase::Command,
            Check::Content => self.session.phase() == Phase::Content,
            Check::Resting => self.session.is_resting(),
            Check::Busy => !self.session.is_resting(),
            Check::Empty => self.session.buffered() == 0,
            Check::Flushed => self.flushed,
        };
        if holds { Ok(()) } else { Err(self.failure("otherwise")) }
    }
}

fn look(transaction: &Transaction, key: Key) -> Vec<u8> {
    let Transaction { draft, record } = transaction;
    let message = record.strip_prefix(PREFACE).expect("a record begins with its preface");
    let text = match key {
        Key::From => format!("<{}>", draft.mail.sender),
        Key::To => {
            let list: Vec<_> =
                draft.recipients.iter().map(|to| format!("<{}>", to.address)).collect();
            list.join(",")
        }
        Key::Body => return message.to_vec(),
        Key::Octets => message.len().to_string(),
        Key::Account => draft.account.to_string(),
        Key::Helo => draft.helo.to_string(),
        Key::With => draft.protocol.as_str().into(),
        Key::Mail => draft.mail.to_string(),
        Key::Rcpt => {
            let first = draft.recipients[0].clone();
            let (notify, original) = (first.notify, first.original);
            RcptTo { address: first.address, notify, original, esmtp: true }.to_string()
        }
    };
    text.into_bytes()
}

/// Whether `line` is what `pattern` describes: `.` in the code is a digit, `*` is anything.
fn matches(pattern: &str, line: &str) -> bool {
    let (Some((code, rest)), Some((seen, words))) =
        (pattern.split_at_checked(3), line.split_at_checked(3))
    else {
        return false;
    };
    let same = |(want, got): (u8, u8)| want == got || (want == b'.' && got.is_ascii_digit());
    code.bytes().zip(seen.bytes()).all(same) && glob(rest, words)
}

fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut after) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return after.ends_with(part);
        }
        let Some(at) = after.find(part) else {
            return false;
        };
        after = &after[at + part.len()..];
    }
    true
}

#[test]
fn patterns_are_codes_and_globs() {
    for (pattern, line) in [
        ("250 *", "250 2.0.0 Ok"),
        ("5.. *", "500 x"),
        ("250 2.0.0 queued", "250 2.0.0 queued"),
        ("250-SIZE *0", "250-SIZE 100"),
        ("334 ", "334 "),
        ("5.. *CRLF*", "500 5.5.2 Lines end in CRLF, not in LF alone"),
    ] {
        assert!(matches(pattern, line), "{pattern} {line}");
    }
    for (pattern, line) in [
        ("250 *", "250-a"),
        ("5.. *", "450 x"),
        ("250 a", "250 ab"),
        ("334 ", "334 x"),
        ("25", "250 a"),
    ] {
        assert!(!matches(pattern, line), "{pattern} {line}");
    }
}
