//! One message on its way through one session: MAIL, its RCPTs, the body, and who got what.
//!
//! Decides what the next hop can carry at all, which parameters it is sent, what may go in one
//! flight, and what each reply settles for whom. A recipient, once settled, stays so: a refusal of
//! its own is not overwritten by what befalls the message later. Never reads or writes; the
//! session lends it the buffer and the list of awaited replies.
//!
//! With PIPELINING one flight holds MAIL, the RCPTs and what starts the body. A small message goes
//! along at once under CHUNKING; a large one waits until a recipient is accepted, because sending
//! 20 MB to learn of a greylisting helps nobody. 8-bit content without BODY=8BITMIME from
//! its sender is passed on in the same way: it was sent so to us, and we do not touch messages.
//!
//! RFC 5321 4.1.1, RFC 1870 6 (SIZE), RFC 2920 3.1 (what may be pipelined), RFC 3030 2 (BDAT),
//! RFC 3461 5.2 (DSN passed on), RFC 6152 3 (8-bit), RFC 6531 3.5 (SMTPUTF8),
//! RFC 8689 4.2.1 (REQUIRETLS).

use crate::message::{
    Body, BodyKind, Envelope, Notify, Outcome, Recipient, RemoteReply, Scope, Stage, StatusCode,
};
use crate::smtp::client::dots::{self, Piece};
use crate::smtp::client::features::Features;
use crate::smtp::client::outcome::{self, Answer, Fate};
use crate::smtp::client::step::{Delivery, Trust, Wait};
use crate::smtp::command::{Command, MailFrom, RcptTo};
use std::collections::VecDeque;
use std::ops::Range;

/// Octets of a message that is sent before its recipients are answered, and copied into the buffer
/// of the commands so that all goes in one write.
pub const FLIGHT_BODY_BYTES_MAX: usize = 64 * 1024;

/// Commands of one flight. We do not read while we write, so the replies to a flight must fit
/// the buffers between us and the remote, or both would wait for ever (RFC 2920 3.1).
pub const FLIGHT_COMMANDS_MAX: usize = 256;

/// "REQUIRETLS support required" (RFC 8689 4.2.1).
const TLS_REQUIRED: StatusCode = StatusCode::new(5, 7, 30);

/// What a reply that is awaited answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Reset,
    Mail,
    /// The place among the recipients of the transaction.
    Rcpt(usize),
    Data,
    /// BDAT with all of the message.
    Chunk,
    /// The end of DATA.
    Dot,
    /// The end of DATA after no recipient was accepted: no message, whatever the answer.
    LoneDot,
    Quit,
}

impl Asked {
    pub fn stage(self) -> Stage {
        match self {
            Asked::Greeting => Stage::Greeting,
            Asked::Ehlo | Asked::Helo => Stage::Ehlo,
            Asked::StartTls => Stage::StartTls,
            Asked::Reset | Asked::Mail | Asked::Quit => Stage::Mail,
            Asked::Rcpt(_) => Stage::Rcpt,
            Asked::Data => Stage::Data,
            Asked::Chunk | Asked::Dot | Asked::LoneDot => Stage::Final,
        }
    }

    pub fn wait(self) -> Wait {
        match self {
            Asked::Greeting => Wait::Greeting,
            Asked::Ehlo | Asked::Helo => Wait::Ehlo,
            Asked::StartTls => Wait::StartTls,
            Asked::Reset => Wait::Rset,
            Asked::Mail => Wait::Mail,
            Asked::Rcpt(_) => Wait::Rcpt,
            Asked::Data => Wait::DataStart,
            Asked::Chunk | Asked::Dot | Asked::LoneDot => Wait::Final,
            Asked::Quit => Wait::Quit,
        }
    }
}

#[derive(Debug)]
enum Standing {
    /// Not answered yet.
    Open,
    /// RCPT was answered 2xx: the message decides.
    Accepted,
    Settled(Outcome),
}

/// Where the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Held,
    /// 354 has come.
    Invited,
    /// Octets from here on go as they are, their BDAT is printed.
    Chunk(usize),
    /// Octets from here on go with dots.
    Dotted(usize),
    /// The last of it is being written.
    Leaving,
    Sent,
}

#[derive(Debug)]
pub struct Transaction {
    recipients: Vec<(u16, Standing)>,
    body: Body,
    /// RSET, MAIL and the RCPTs, printed, and where each one ends.
    lines: Vec<u8>,
    unsent: VecDeque<(Asked, usize)>,
    printed: usize,
    load: Load,
    /// Whether the remote has a transaction of ours open, which RSET must end before the next.
    open_at_remote: bool,
    /// Whether the remote said anything but 421.
    heard: bool,
}

impl Transaction {
    /// `secured`: what the certificate is worth, `None` in clear. `open_at_remote`: what the one
    /// before left behind.
    ///
    /// # Panics
    /// Without recipients, or when a position is not in the envelope.
    pub fn new(
        delivery: &Delivery<'_>,
        features: &Features,
        secured: Option<Trust>,
        open_at_remote: bool,
    ) -> Self {
        assert!(!delivery.recipients.is_empty(), "a transaction has a recipient");
        let mut this = Transaction {
            recipients: delivery.recipients.iter().map(|&at| (at, Standing::Open)).collect(),
            body: delivery.body.clone(),
            lines: Vec::new(),
            unsent: VecDeque::with_capacity(delivery.recipients.len() + 2),
            printed: 0,
            load: Load::Held,
            open_at_remote,
            heard: false,
        };
        if let Some(outcome) = unfit_message(delivery, features, secured) {
            this.settle_rest(&outcome);
            return this;
        }
        for (position, standing) in &mut this.recipients {
            let recipient = &delivery.envelope.recipients[usize::from(*position)];
            if recipient.address.needs_utf8() && !features.utf8 {
                *standing = Standing::Settled(no_utf8(Scope::Recipient, "the recipient's address"));
            }
        }
        if !this.is_settled() {
            this.print(delivery, features);
        }
        this
    }

    fn print(&mut self, delivery: &Delivery<'_>, features: &Features) {
        if self.open_at_remote {
            Command::Rset.write(&mut self.lines);
            self.unsent.push_back((Asked::Reset, self.lines.len()));
        }
        let utf8 = features.utf8 && asks_utf8(delivery);
        mail_line(delivery, features, utf8).write(&mut self.lines);
        self.unsent.push_back((Asked::Mail, self.lines.len()));
        for (place, (position, standing)) in self.recipients.iter().enumerate() {
            if matches!(standing, Standing::Open) {
                let recipient = &delivery.envelope.recipients[usize::from(*position)];
                rcpt_line(recipient, features, utf8).write(&mut self.lines);
                self.unsent.push_back((Asked::Rcpt(place), self.lines.len()));
            }
        }
        // All of it was checked when it came in: a line end of a peer's would be a command of ours.
        let ends = memchr::memchr2_iter(b'\r', b'\n', &self.lines).count();
        assert_eq!(ends, 2 * self.unsent.len(), "a command is one line");
    }

    /// Prints all that may be sent before anything of it is answered. Called only when nothing
    /// is awaited and the transaction is not over.
    pub fn fly(&mut self, features: &Features, out: &mut Vec<u8>, awaited: &mut VecDeque<Asked>) {
        let start = self.printed;
        let together = if features.pipelining { FLIGHT_COMMANDS_MAX } else { 1 };
        let count = together.min(self.unsent.len());
        for (asked, end) in self.unsent.drain(..count) {
            awaited.push_back(asked);
            self.printed = end;
        }
        out.extend_from_slice(&self.lines[start..self.printed]);
        // RFC 2920 3.1: DATA may end a flight; so may BDAT, with its octets (RFC 3030 4.2).
        let small = self.body.message().len() <= FLIGHT_BODY_BYTES_MAX;
        let along = features.pipelining && (!features.chunking || small);
        if count == 0 || (along && self.unsent.is_empty()) {
            self.offer_body(features, out, awaited);
        }
    }

    fn offer_body(
        &mut self,
        features: &Features,
        out: &mut Vec<u8>,
        awaited: &mut VecDeque<Asked>,
    ) {
        let message = self.body.message();
        let (asked, load) = match self.load {
            Load::Invited if self.has_accepted() => (Asked::Dot, Load::Dotted(0)),
            // RFC 2920 3.1: the remote is in DATA without a recipient, and only this gets it out.
            Load::Invited => {
                out.extend_from_slice(b".\r\n");
                (Asked::LoneDot, Load::Leaving)
            }
            Load::Held if features.chunking => {
                Command::Bdat { size: message.len() as u64, last: true }.write(out);
                if message.len() <= FLIGHT_BODY_BYTES_MAX {
                    out.extend_from_slice(message);
                    (Asked::Chunk, Load::Leaving)
                } else {
                    (Asked::Chunk, Load::Chunk(0))
                }
            }
            Load::Held => {
                Command::Data.write(out);
                (Asked::Data, Load::Held)
            }
            Load::Chunk(_) | Load::Dotted(_) | Load::Leaving | Load::Sent => {
                unreachable!("a body is offered once, and its reply settles everyone")
            }
        };
        self.load = load;
        awaited.push_back(asked);
    }

    /// The next piece of the body, when one is to be written. `own` is empty.
    pub fn piece(&mut self, own: &mut Vec<u8>) -> Option<Piece> {
        let message = self.body.message();
        match self.load {
            Load::Chunk(at) => {
                let end = message.len().min(at.saturating_add(dots::PIECE_BYTES_MAX));
                self.load = if end == message.len() { Load::Leaving } else { Load::Chunk(end) };
                Some(Piece::Lent(at..end))
            }
            Load::Dotted(at) => {
                let (piece, next) = dots::piece(message, at, own);
                self.load = next.map_or(Load::Leaving, Load::Dotted);
                Some(piece)
            }
            Load::Held | Load::Invited | Load::Leaving | Load::Sent => None,
        }
    }

    pub fn octets(&self, range: Range<usize>) -> &[u8] {
        &self.body.message()[range]
    }

    /// What was given out has been written.
    pub fn written(&mut self) {
        if self.load == Load::Leaving {
            self.load = Load::Sent;
        }
    }

    /// Nothing more can be written; what the remote has to say is still heard.
    pub fn stop_writing(&mut self) {
        self.load = Load::Held;
    }

    /// Takes the answer to `asked`. `Err` when the session is of no use after it.
    pub fn hear(&mut self, asked: Asked, reply: RemoteReply) -> Result<(), Outcome> {
        self.heard = true;
        let stage = self.stage(Some(asked));
        match (asked, outcome::answer(&reply)) {
            (Asked::Reset, Answer::Yes) => self.open_at_remote = false,
            (Asked::Reset, Answer::No) => return Err(outcome::session_ended(Stage::Mail, reply)),
            (Asked::Mail, Answer::Yes) => self.open_at_remote = true,
            (Asked::Mail | Asked::Data | Asked::Chunk | Asked::Dot, Answer::No) => {
                self.settle_rest(&outcome::message_refused(stage, reply));
            }
            (Asked::Rcpt(place), answer) => return self.hear_rcpt(place, answer, reply),
            (Asked::Data, Answer::GoOn) => self.load = Load::Invited,
            (Asked::Chunk | Asked::Dot, Answer::Yes) if self.load == Load::Sent => {
                self.open_at_remote = false;
                self.settle_rest(&outcome::delivered(reply));
            }
            (Asked::LoneDot, _) => {}
            // A yes to what was never sent to its end is worth nothing, or a message would be lost.
            (Asked::Data | Asked::Chunk | Asked::Dot, Answer::Yes)
            | (Asked::Reset | Asked::Mail | Asked::Chunk | Asked::Dot, Answer::GoOn) => {
                return Err(out_of_place(stage, &reply));
            }
            (Asked::Greeting | Asked::Ehlo | Asked::Helo | Asked::StartTls | Asked::Quit, _) => {
                unreachable!("the session itself asks this")
            }
        }
        Ok(())
    }

    fn hear_rcpt(
        &mut self,
        place: usize,
        answer: Answer,
        reply: RemoteReply,
    ) -> Result<(), Outcome> {
        let standing = &mut self.recipients[place].1;
        if matches!(standing, Standing::Settled(_)) {
            // MAIL was refused in the same flight; this is its echo (503).
            return Ok(());
        }
        *standing = match answer {
            Answer::Yes => Standing::Accepted,
            Answer::No => Standing::Settled(outcome::recipient_refused(reply)),
            Answer::GoOn => return Err(out_of_place(Stage::Rcpt, &reply)),
        };
        Ok(())
    }

    /// Whether nothing is left to send for anyone. Replies may still be awaited.
    pub fn is_over(&self) -> bool {
        self.is_settled() && self.load != Load::Invited
    }

    fn is_settled(&self) -> bool {
        self.recipients.iter().all(|(_, standing)| matches!(standing, Standing::Settled(_)))
    }

    fn has_accepted(&self) -> bool {
        self.recipients.iter().any(|(_, standing)| matches!(standing, Standing::Accepted))
    }

    /// The remote said something about it, whatever it was.
    pub fn was_answered(&mut self) {
        self.heard = true;
    }

    pub fn was_heard(&self) -> bool {
        self.heard
    }

    pub fn is_open_at_remote(&self) -> bool {
        self.open_at_remote
    }

    /// How far it has come, given the reply that is awaited next.
    pub fn stage(&self, awaited: Option<Asked>) -> Stage {
        let next = awaited.or(self.unsent.front().map(|&(asked, _)| asked));
        match next.map_or(Stage::Data, Asked::stage) {
            Stage::Final if self.load != Load::Sent => Stage::Data,
            stage => stage,
        }
    }

    /// Whether the remote may have the message although it did not say so.
    pub fn fate(&self) -> Fate {
        if self.load == Load::Sent { Fate::Unknown } else { Fate::Undelivered }
    }

    /// Ends it for all who are not settled.
    pub fn abandon(&mut self, outcome: &Outcome) {
        self.unsent.clear();
        self.load = Load::Held;
        self.settle_rest(outcome);
    }

    fn settle_rest(&mut self, outcome: &Outcome) {
        for (_, standing) in &mut self.recipients {
            if !matches!(standing, Standing::Settled(_)) {
                *standing = Standing::Settled(outcome.clone());
            }
        }
    }

    /// # Panics
    /// When it is not over.
    pub fn take_outcomes(&mut self) -> Vec<(u16, Outcome)> {
        let settled = std::mem::take(&mut self.recipients).into_iter();
        settled
            .map(|(position, standing)| match standing {
                Standing::Settled(outcome) => (position, outcome),
                Standing::Open | Standing::Accepted => panic!("a transaction ends settled"),
            })
            .collect()
    }
}

/// A reply of a class that the command cannot have (RFC 5321 4.3.2).
pub fn out_of_place(stage: Stage, reply: &RemoteReply) -> Outcome {
    outcome::not_the_protocol(stage, &format!("a reply that does not belong here: {reply}"))
}

/// Why the next hop cannot carry the message, whoever it is for. Better to tell the sender now
/// than to send what will be damaged or refused.
fn unfit_message(
    delivery: &Delivery<'_>,
    features: &Features,
    secured: Option<Trust>,
) -> Option<Outcome> {
    let Delivery { envelope, body, .. } = delivery;
    if envelope.require_tls
        && let Some(words) = lacks_tls(features, secured)
    {
        return Some(outcome::cannot_carry(Scope::Message, TLS_REQUIRED, words));
    }
    let message = body.message();
    let octets = message.len() as u64;
    if let Some(limit) = features.size.filter(|&limit| limit > 0 && octets > limit) {
        let words = format!("the message has {octets} octets, the next hop takes {limit}");
        return Some(outcome::cannot_carry(Scope::Message, StatusCode::new(5, 3, 4), words));
    }
    if envelope.body == BodyKind::EightBit && !features.eight_bit && !message.is_ascii() {
        let words = "the message has 8-bit content, which the next hop does not take";
        return Some(outcome::cannot_carry(Scope::Message, StatusCode::new(5, 6, 3), words));
    }
    if !features.utf8 && envelope.sender.needs_utf8() {
        return Some(no_utf8(Scope::Message, "the sender's address"));
    }
    if !features.utf8 && envelope.utf8 && !body.header().is_ascii() {
        return Some(no_utf8(Scope::Message, "the header"));
    }
    if !features.chunking && dots::may_end_early(message) {
        let words = "a dot stands alone between bare line ends, which without CHUNKING \
                     may end the message early";
        return Some(outcome::cannot_carry(Scope::Message, StatusCode::new(5, 6, 3), words));
    }
    None
}

/// Why a message that requires TLS cannot go this way (RFC 8689 4.2.1), if so.
fn lacks_tls(features: &Features, secured: Option<Trust>) -> Option<&'static str> {
    match secured {
        None => Some("the sender requires TLS, which the connection to the next hop has not"),
        Some(Trust::Unverified) => {
            Some("the sender requires TLS, and nobody vouches for the next hop's certificate")
        }
        Some(Trust::Verified) if !features.require_tls => {
            Some("the sender requires TLS all the way, which the next hop does not promise")
        }
        Some(Trust::Verified) => None,
    }
}

fn no_utf8(scope: Scope, what: &str) -> Outcome {
    let words = format!("{what} is not ASCII, and the next hop does not take SMTPUTF8");
    outcome::cannot_carry(scope, StatusCode::new(5, 6, 7), words)
}

/// Whether the transaction is one of RFC 6531. One that came under SMTPUTF8 without need of it
/// goes on without, so that more next hops can take it.
fn asks_utf8(delivery: &Delivery<'_>) -> bool {
    let envelope = delivery.envelope;
    let addressee = |&position: &u16| &envelope.recipients[usize::from(position)].address;
    envelope.sender.needs_utf8()
        || delivery.recipients.iter().map(addressee).any(|address| address.needs_utf8())
        || (envelope.utf8 && !delivery.body.header().is_ascii())
}

fn mail_line(delivery: &Delivery<'_>, features: &Features, utf8: bool) -> MailFrom {
    let Envelope { sender, body, ret, envid, .. } = delivery.envelope;
    let eight_bit = *body == BodyKind::EightBit && features.eight_bit;
    let dsn = features.dsn;
    MailFrom {
        sender: sender.clone(),
        // Counted from what is sent: with CRLFs, without doubled dots (RFC 1870 5).
        size: features.size.map(|_| delivery.body.message().len() as u64),
        body: eight_bit.then_some(BodyKind::EightBit),
        utf8,
        ret: ret.filter(|_| dsn),
        envid: envid.clone().filter(|_| dsn),
        auth: false,
        // Only a message for which this is offered comes so far, see `lacks_tls`.
        require_tls: delivery.envelope.require_tls,
        esmtp: true,
    }
}

fn rcpt_line(recipient: &Recipient, features: &Features, utf8: bool) -> RcptTo {
    let notify = if features.dsn { recipient.notify } else { Notify::Unspecified };
    // RFC 6533 3: an ORCPT in UTF-8 travels under SMTPUTF8 only.
    let original = recipient.original.clone();
    let original = original.filter(|original| features.dsn && (utf8 || original.is_ascii()));
    RcptTo { address: recipient.address.clone(), notify, original, esmtp: true }
}
