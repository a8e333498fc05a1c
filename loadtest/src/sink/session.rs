//! The server half of one SMTP session, without a socket: bytes in, replies and messages out.
//!
//! Accepts everything but what the personality of its server has against it, in pieces of any size,
//! and keeps each message exactly as it was sent, with only the framing removed. It does not judge
//! syntax beyond what it needs to stay in step. Waiting, handshakes and cutting are steps that it
//! asks the driver for; time is told to it. The final reply of a message is given by `answer`,
//! which the driver calls once it has recorded the message. After a 421 it is over, whatever it was
//! for (RFC 5321 3.8). RFC 5321, 1870 (SIZE), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS).

mod command;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use memchr::memchr;

use super::dots::{Dots, unstuff};
use super::memory::{Client, Memory, Verdict};
use super::personality::{Behaviour, Life, hit};
use super::sites::{Reach, Server, Sites};
use crate::profile::site::Milliseconds;
use crate::profile::words::{Facts, Replies};
use crate::send::wire::push_line;

/// A longer command line ends the session (RFC 5321 4.5.3.1 asks for 512 plus extensions).
const LINE_BYTES_MAX: usize = 8192;
/// Recipients of one message beyond this are answered 452.
const RECIPIENTS_MAX: usize = 50_000;
/// A message buffer that grew beyond this is given back after the message.
const BUFFER_KEPT_BYTES_MAX: usize = 256 << 10;
/// A message whose connection is cut in its content is cut within so many bytes.
const CUT_BYTES_MAX: usize = 2048;
/// Of a message that is not cut.
const NO_CUT: usize = usize::MAX;

/// What the sessions of a sink have in common.
pub struct World {
    pub sites: Sites,
    pub memory: RefCell<Memory>,
    /// Decides which addresses do not exist, and all dice.
    pub seed: u64,
}

impl World {
    pub fn new(sites: Sites, seed: u64) -> World {
        let memory = RefCell::new(Memory::new(sites.all().len()));
        World { sites, memory, seed }
    }
}

/// Who came where.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub client: IpAddr,
    /// The address of this host that the client called.
    pub called: IpAddr,
    /// Tells sessions apart for the dice.
    pub number: u64,
}

/// Where a call of `advance` stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// All input is used.
    Idle,
    /// A message is complete: record it, then call `answer`.
    Message,
    /// Send the replies, wait, and call again.
    Wait(Duration),
    /// Send the replies, forget all input, make the handshake, then call `secured`.
    StartTls(Handshake),
    /// Send the replies and close.
    Close,
}

/// What becomes of the handshake after `STARTTLS`; all but the first end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    Works,
    Fails,
    Garbage,
    Closes,
}

/// Who a message is from and for, in the client's own words.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The whole `MAIL` command, without CRLF; empty when no transaction is open.
    mail: Vec<u8>,
    /// The whole of each accepted `RCPT` command, without CRLF.
    recipients: Vec<Vec<u8>>,
}

impl Envelope {
    pub fn mail_line(&self) -> &[u8] {
        &self.mail
    }

    pub fn recipient_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.recipients.iter().map(Vec::as_slice)
    }

    /// The address that it is from, without angle brackets.
    pub fn sender(&self) -> &[u8] {
        command::path(&self.mail)
    }

    /// The addresses alone, without angle brackets.
    pub fn recipients(&self) -> impl Iterator<Item = &[u8]> {
        self.recipients.iter().map(|line| command::path(line))
    }
}

/// One session.
pub struct Session {
    world: Rc<World>,
    /// Whom the client called.
    server: Server,
    reach: Reach,
    /// Who answers for the message: the server of the first accepted recipient.
    judge: Server,
    peer: IpAddr,
    now: Duration,
    dice: fastrand::Rng,
    phase: Phase,
    channel: Channel,
    seat: Seat,
    line: Vec<u8>,
    /// What the client called itself in `EHLO` or `HELO`, the last time.
    client: Vec<u8>,
    envelope: Envelope,
    content: Vec<u8>,
    fit: Fit,
    /// Bytes of content at which the connection ends, or `NO_CUT`.
    cut: usize,
    messages: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    Arrived,
    /// The wait before the greeting is over.
    Greeting,
    Command,
    /// A command is in `line`, and the wait before its reply is over.
    Heard,
    /// Greeted with a refusal: only `QUIT` is of use.
    Refused,
    Data(Dots),
    /// `BDAT`: so many bytes are still to come, and then this happens.
    Chunk(usize, AfterChunk),
    /// The message is there.
    Ended,
    /// The wait before its final reply is over.
    Due,
    /// Waits for `answer`.
    Complete,
    /// Waits for `secured`.
    Handshake(Handshake),
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Clear,
    Tls,
}

/// Whether the session counts among those of its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    None,
    Taken,
}

#[derive(Clone, Copy)]
enum AfterChunk {
    More,
    Last,
    /// The command was out of order; its bytes come nevertheless.
    Refuse,
}

/// Whether a message is within the server's size so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Within,
    Over,
}

impl Session {
    pub fn new(world: Rc<World>, arrival: Arrival) -> Session {
        let (server, reach) = world.sites.at(arrival.called);
        let dice = fastrand::Rng::with_seed(world.seed ^ arrival.number.rotate_left(32));
        world.memory.borrow_mut().note_session(server.place);
        Session {
            judge: server.clone(),
            server,
            reach,
            peer: arrival.client.to_canonical(),
            now: Duration::ZERO,
            dice,
            phase: Phase::Arrived,
            channel: Channel::Clear,
            seat: Seat::None,
            line: Vec::new(),
            client: Vec::new(),
            envelope: Envelope::default(),
            content: Vec::new(),
            fit: Fit::Within,
            cut: NO_CUT,
            messages: 0,
            world,
        }
    }

    /// Whether there is anybody to talk to; who is not, is counted.
    pub fn life(&self) -> Life {
        let life = self.server.personality.life;
        if life != Life::Alive {
            self.note(self.server.place, Behaviour::Dead);
        }
        life
    }

    /// What time it is, on a clock that all sessions of the world share.
    pub fn tell_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// Uses `input` as far as it can, moving its start; adds replies to `replies`. The first call
    /// greets, and needs no input.
    pub fn advance(&mut self, input: &mut &[u8], replies: &mut Vec<u8>) -> Step {
        loop {
            match self.phase {
                Phase::Arrived => {
                    self.phase = Phase::Greeting;
                    self.arrive(replies);
                    let slow = self.server.personality.slow.greeting_ms;
                    if matches!(self.phase, Phase::Greeting)
                        && let Some(step) = self.pause(self.server.clone(), slow)
                    {
                        return step;
                    }
                }
                Phase::Greeting => self.greet(replies),
                Phase::Command | Phase::Refused => {
                    if let Some(step) = self.listen(input, replies) {
                        return step;
                    }
                }
                Phase::Heard => {
                    self.phase = Phase::Command;
                    self.obey(replies);
                }
                Phase::Data(dots) => {
                    let dots = unstuff(dots, input, &mut self.content);
                    self.check_fit();
                    match dots {
                        _ if self.content.len() >= self.cut => self.cut_content(),
                        Some(dots) => {
                            self.phase = Phase::Data(dots);
                            return Step::Idle;
                        }
                        None => self.complete(replies),
                    }
                }
                Phase::Chunk(left, after) => {
                    let left = self.take_chunk(left, after, input);
                    self.phase = Phase::Chunk(left, after);
                    if self.content.len() >= self.cut {
                        self.cut_content();
                    } else if left > 0 {
                        return Step::Idle;
                    } else {
                        self.end_chunk(after, replies);
                    }
                }
                Phase::Ended => {
                    self.phase = Phase::Due;
                    let slow = self.judge.personality.slow.final_ms;
                    if let Some(step) = self.pause(self.judge.clone(), slow) {
                        return step;
                    }
                }
                Phase::Due => self.conclude(replies),
                Phase::Complete => return Step::Message,
                Phase::Handshake(handshake) => return Step::StartTls(handshake),
                Phase::Closed => return Step::Close,
            }
        }
    }

    /// Goes on under TLS, after `Step::StartTls`. Nothing that was said before counts (RFC 3207
    /// 4.2).
    pub fn secured(&mut self) {
        assert!(matches!(self.phase, Phase::Handshake(_)), "a handshake was asked for");
        self.reset();
        self.client.clear();
        self.channel = Channel::Tls;
        self.phase = Phase::Command;
    }

    /// Who the client says it is; empty before it did.
    pub fn client(&self) -> &[u8] {
        &self.client
    }

    /// Messages that were answered.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The message after `Step::Message`: its envelope, and its bytes without any framing.
    pub fn message(&self) -> (&Envelope, &[u8]) {
        (&self.envelope, &self.content)
    }

    /// Answers the message after `Step::Message` with 250 and makes ready for the next.
    pub fn answer(&mut self, number: u64, replies: &mut Vec<u8>) {
        assert!(matches!(self.phase, Phase::Complete), "there is a message to answer");
        self.messages += 1;
        self.world.memory.borrow_mut().note_message(self.judge.place);
        let judge = self.judge.personality.clone();
        if hit(judge.drops.taken.0, &mut self.dice) {
            self.note(self.judge.place, Behaviour::DroppedTaken);
            self.phase = Phase::Closed;
            return;
        }
        push_line(replies, format_args!("250 2.0.0 taken as {number}"));
        self.reset();
        self.phase = Phase::Command;
    }

    /// Whether the client may come in at all, before it hears anything.
    fn arrive(&mut self, replies: &mut Vec<u8>) {
        let personality = self.server.personality.clone();
        if hit(personality.drops.greeting.0, &mut self.dice) {
            self.note(self.server.place, Behaviour::DroppedAtGreeting);
            self.phase = Phase::Closed;
        } else if let Some(limit) = &personality.sessions_max {
            let who = self.who();
            match self.world.memory.borrow_mut().enter(who, limit.count) {
                Verdict::Pass => self.seat = Seat::Taken,
                Verdict::Wait => self.phase = Phase::Closed,
            }
            if self.seat == Seat::None {
                self.refuse(Behaviour::TooManySessions, self.server.place, &limit.replies, replies);
            }
        }
    }

    fn greet(&mut self, replies: &mut Vec<u8>) {
        let personality = self.server.personality.clone();
        let refusal = &personality.session_refusal;
        self.phase = Phase::Command;
        if refusal.hit(&mut self.dice) {
            self.phase = Phase::Refused;
            self.refuse(Behaviour::SessionRefused, self.server.place, &refusal.replies, replies);
        } else {
            replies.extend_from_slice(b"220 sink.test ESMTP baton-load\r\n");
        }
    }

    /// Obeys the next command, unless it is not whole yet or its reply has to wait.
    fn listen(&mut self, input: &mut &[u8], replies: &mut Vec<u8>) -> Option<Step> {
        if !self.take_line(input) {
            if self.line.len() > LINE_BYTES_MAX {
                replies.extend_from_slice(b"500 5.5.6 line too long\r\n");
                self.phase = Phase::Closed;
                return Some(Step::Close);
            }
            return Some(Step::Idle);
        }
        if matches!(self.phase, Phase::Command)
            && let Some(step) =
                self.pause(self.server.clone(), self.server.personality.slow.reply_ms)
        {
            self.phase = Phase::Heard;
            return Some(step);
        }
        self.obey(replies);
        None
    }

    /// Completes `line`, without its end, if the end is there.
    fn take_line(&mut self, input: &mut &[u8]) -> bool {
        let Some(end) = memchr(b'\n', input) else {
            self.line.extend_from_slice(input);
            *input = &[];
            return false;
        };
        let (part, rest) = input.split_at(end + 1);
        *input = rest;
        self.line.extend_from_slice(&part[..end]);
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        true
    }

    /// The step that waits so long, give or take the spread.
    fn pause(&mut self, server: Server, base: Milliseconds) -> Option<Step> {
        if base.0 == 0 {
            return None;
        }
        self.note(server.place, Behaviour::Slowed);
        Some(Step::Wait(server.personality.wait(base, &mut self.dice)))
    }

    fn note(&self, place: usize, behaviour: Behaviour) {
        self.world.memory.borrow_mut().note(place, behaviour);
    }

    /// Whether the message has the null sender (RFC 5321 4.5.5).
    fn is_notice(&self) -> bool {
        command::path(&self.envelope.mail).is_empty()
    }

    /// Whose limits these are.
    fn who(&self) -> Client {
        (self.server.number, self.peer)
    }

    /// Refuses something that is about no recipient.
    fn refuse(&mut self, why: Behaviour, place: usize, with: &Replies, replies: &mut Vec<u8>) {
        self.refuse_recipient(why, place, with, &[], replies);
    }

    fn refuse_recipient(
        &mut self,
        why: Behaviour,
        place: usize,
        with: &Replies,
        recipient: &[u8],
        replies: &mut Vec<u8>,
    ) {
        self.note(place, why);
        let sender = command::path(&self.envelope.mail);
        let reply = with.pick(&mut self.dice);
        reply.say(Facts { client: self.peer, sender, recipient }, replies);
        if reply.code == 421 {
            self.phase = Phase::Closed;
        }
    }

    fn take_chunk(&mut self, left: usize, after: AfterChunk, input: &mut &[u8]) -> usize {
        let (piece, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        match after {
            AfterChunk::More | AfterChunk::Last => {
                self.content.extend_from_slice(piece);
                self.check_fit();
            }
            AfterChunk::Refuse => {}
        }
        left - piece.len()
    }

    fn end_chunk(&mut self, after: AfterChunk, replies: &mut Vec<u8>) {
        self.phase = Phase::Command;
        match after {
            AfterChunk::Last => self.complete(replies),
            AfterChunk::More => replies.extend_from_slice(b"250 2.0.0 chunk taken\r\n"),
            AfterChunk::Refuse => {
                replies.extend_from_slice(b"503 5.5.1 BDAT comes after a RCPT\r\n");
            }
        }
    }

    fn check_fit(&mut self) {
        if self.content.len() > self.server.personality.size_max {
            self.fit = Fit::Over;
            self.content.truncate(1);
        }
    }

    fn cut_content(&mut self) {
        self.note(self.judge.place, Behaviour::DroppedInData);
        self.phase = Phase::Closed;
    }

    fn complete(&mut self, replies: &mut Vec<u8>) {
        match self.fit {
            // Shorter than where it was to be cut.
            Fit::Within if self.cut != NO_CUT => self.cut_content(),
            Fit::Within => self.phase = Phase::Ended,
            Fit::Over => {
                self.note(self.server.place, Behaviour::TooBig);
                replies.extend_from_slice(b"552 5.3.4 message too big\r\n");
                self.reset();
                self.phase = Phase::Command;
            }
        }
    }

    /// What a whole message is told.
    fn conclude(&mut self, replies: &mut Vec<u8>) {
        let judge = self.judge.clone();
        let personality = &judge.personality;
        if hit(personality.drops.end.0, &mut self.dice) {
            self.note(judge.place, Behaviour::DroppedAtEnd);
            self.phase = Phase::Closed;
            return;
        }
        let (why, odds) = if !self.is_notice() && personality.message_rejection.hit(&mut self.dice)
        {
            (Behaviour::MessageRejected, &personality.message_rejection)
        } else if personality.message_deferral.hit(&mut self.dice) {
            (Behaviour::MessageDeferred, &personality.message_deferral)
        } else {
            self.phase = Phase::Complete;
            return;
        };
        let recipient = self.envelope.recipients().next().unwrap_or_default().to_vec();
        self.phase = Phase::Command;
        self.refuse_recipient(why, judge.place, &odds.replies, &recipient, replies);
        self.reset();
    }

    fn reset(&mut self) {
        self.envelope.mail.clear();
        self.envelope.recipients.clear();
        self.content.clear();
        self.content.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.fit = Fit::Within;
        self.cut = NO_CUT;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.seat == Seat::Taken {
            self.world.memory.borrow_mut().leave(self.who());
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
