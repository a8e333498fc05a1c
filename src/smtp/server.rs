//! The server side of an SMTP session, without I/O: bytes in, replies and [`Step`]s out.
//!
//! The driver hands in what it read and does what a step asks: read on, secure the stream,
//! check a password, judge and store a message, close. Commands are answered here; what needs
//! knowledge of routes, budgets or the disk is asked of a [`Gate`]. Idle time, deadlines and
//! sockets are the driver's. Input that follows a step that takes time stays with the driver, so
//! nothing is read ahead of a commit.
//!
//! RFC 5321 (SMTP), 1870 (SIZE), 2034/3463 (status codes), 2920 (PIPELINING), 3030 (CHUNKING),
//! 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8).

use super::buffer::{Buffer, Fate};
use super::command::{self, Command, MailFrom, Mechanism, RcptTo};
use super::content::{Content, Progress, Sink, has_bare_dot_line};
use super::reply::Reply;
use super::wording as say;
use crate::event::{CloseReason, RejectStage, RejectTag};
use crate::limits::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, REPLY_BYTES_MAX};
use crate::message::{Address, Protocol, Recipient};
use std::borrow::Cow;
use std::rc::Rc;

/// What a session may do, from configuration and from who the peer is.
#[derive(Clone, Debug)]
pub struct Rules {
    pub hostname: Box<str>,
    pub message_bytes_max: u64,
    pub recipients_max: usize,
    /// Refused commands (5xx) before the session is closed.
    pub errors_max: u32,
    pub commands_max: u32,
    pub messages_max: u32,
    pub auth_failures_max: u32,
    pub starttls: bool,
    pub auth: Auth,
    /// The account of a declared peer, which may relay without AUTH.
    pub peer_account: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Off,
    /// Offered; `in_clear` also without TLS.
    Offered {
        in_clear: bool,
    },
    /// As offered, and MAIL is refused without it, for declared peers too.
    Required {
        in_clear: bool,
    },
}

/// Why something was refused: for the peer, and for log and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub tag: RejectTag,
    pub reply: Reply,
}

impl Refusal {
    pub const fn new(tag: RejectTag, reply: Reply) -> Self {
        Refusal { tag, reply }
    }
}

/// What the session asks of the relay it is part of, and tells it.
pub trait Gate {
    /// May a message begin now? (disk, memory, shutting down)
    fn mail(&mut self, mail: &MailFrom) -> Result<(), Refusal>;

    /// May this recipient be taken, and under which address? (routes, the local postmaster)
    fn recipient(&mut self, address: Address) -> Result<Address, Refusal>;

    /// The bytes that go before the peer's: the record's version and our Received field.
    fn preface(&mut self, draft: &Draft) -> Vec<u8>;

    /// A sender, recipient or message was refused. `account` is empty when nobody answers for it.
    fn refused(&mut self, stage: RejectStage, account: &str, sender: &str, refusal: &Refusal);
}

/// A message in the making.
#[derive(Debug)]
pub struct Draft {
    pub mail: MailFrom,
    pub recipients: Vec<Recipient>,
    pub helo: Rc<str>,
    pub protocol: Protocol,
    /// Who answers for it: the authenticated account, else that of the declared peer.
    pub account: Rc<str>,
}

/// A complete message as the wire gave it; what the next stage takes.
#[derive(Debug)]
pub struct Transaction {
    pub draft: Draft,
    /// The preface and the message: a [`crate::message::Body`] in the making.
    pub record: Vec<u8>,
}

/// What a client claims to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    pub account: String,
    pub password: Vec<u8>,
}

/// What the driver has to do next. Replies made meanwhile are in [`ServerSession::replies`].
#[derive(Debug)]
pub enum Step {
    /// Send the replies, then read more.
    Read,
    /// Send the replies, then go on with the same input: the peer pipelines faster than it reads.
    Flush,
    /// Send the replies, secure the stream, call [`ServerSession::secured`].
    StartTls,
    /// Check it, call [`ServerSession::authenticated`].
    Authenticate(Login),
    /// Judge and store it, call [`ServerSession::settled`].
    Message(Transaction),
    /// Send the replies and close.
    Close(CloseReason),
}

/// What the session waits for; the driver picks its deadlines by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Command,
    Content,
}

#[derive(Debug)]
pub struct ServerSession {
    rules: Rc<Rules>,
    state: State,
    /// A command line that has not come whole.
    line: Vec<u8>,
    replies: Vec<u8>,
    helo: Option<Rc<str>>,
    protocol: Protocol,
    account: Option<Rc<str>>,
    draft: Option<Draft>,
    errors: u32,
    commands: u32,
    messages: u32,
    auth_failures: u32,
}

#[derive(Debug)]
enum State {
    Command,
    /// A line that is too long, until it ends.
    LongLine,
    Auth(AuthState),
    Data {
        content: Content,
        buffer: Buffer,
    },
    /// `left` octets of a BDAT chunk.
    Chunk {
        left: u64,
        last: bool,
        buffer: ChunkBuffer,
    },
    /// Between two chunks of a message.
    BetweenChunks(Buffer),
    /// A step was given that the driver has not answered.
    Busy,
    Closed(CloseReason),
}

#[derive(Debug)]
enum AuthState {
    Plain,
    LoginName,
    LoginPassword { account: String },
}

#[derive(Debug)]
enum ChunkBuffer {
    Kept(Buffer),
    /// The chunk belongs to no valid transaction: it is read to its end, then answered so.
    Refused(Reply),
}

impl ServerSession {
    /// A session that has said its greeting.
    pub fn new(rules: Rc<Rules>, tls: bool) -> Self {
        let mut session = ServerSession {
            rules,
            state: State::Command,
            line: Vec::new(),
            replies: Vec::new(),
            helo: None,
            protocol: Protocol { tls, ..Protocol::default() },
            account: None,
            draft: None,
            errors: 0,
            commands: 0,
            messages: 0,
            auth_failures: 0,
        };
        let greeting = format!("{} ESMTP baton", session.rules.hostname);
        session.say(&bare(220, greeting));
        session
    }

    /// Replies that wait to be sent; the driver empties it.
    pub fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.replies
    }

    pub fn phase(&self) -> Phase {
        match self.state {
            State::Data { .. } | State::Chunk { .. } | State::BetweenChunks(_) => Phase::Content,
            _ => Phase::Command,
        }
    }

    /// Messages answered 250.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Octets that this session holds of a message.
    pub fn buffered(&self) -> usize {
        match &self.state {
            State::Data { buffer, .. }
            | State::BetweenChunks(buffer)
            | State::Chunk { buffer: ChunkBuffer::Kept(buffer), .. } => buffer.bytes(),
            _ => 0,
        }
    }

    /// Gives up the message that is coming in, because memory is short: it is read on and then
    /// answered 452.
    pub fn shed(&mut self) {
        match &mut self.state {
            State::Data { buffer, .. }
            | State::BetweenChunks(buffer)
            | State::Chunk { buffer: ChunkBuffer::Kept(buffer), .. } => buffer.shed(),
            _ => {}
        }
    }

    /// Whether the session is between messages, where a shutdown loses no work.
    pub fn is_resting(&self) -> bool {
        matches!(self.state, State::Command) && self.draft.is_none() && self.line.is_empty()
    }

    /// Takes from `input` until the driver has something to do.
    ///
    /// # Panics
    /// When an earlier step was not answered.
    pub fn step(&mut self, input: &mut &[u8], gate: &mut impl Gate) -> Step {
        loop {
            if self.replies.len() > REPLY_BYTES_MAX {
                return Step::Flush;
            }
            let step = match std::mem::replace(&mut self.state, State::Busy) {
                State::Command => self.command(input, gate),
                State::LongLine => self.long_line(input),
                State::Auth(state) => self.auth_line(state, input),
                State::Data { content, buffer } => self.data(content, buffer, input, gate),
                State::Chunk { left, last, buffer } => self.chunk(left, last, buffer, input, gate),
                State::BetweenChunks(buffer) => self.between_chunks(buffer, input),
                State::Busy => panic!("a step was not answered"),
                State::Closed(reason) => {
                    self.state = State::Closed(reason);
                    Some(Step::Close(reason))
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Answers [`Step::StartTls`]: the stream is secure and everything before is forgotten (RFC 3207 4.2).
    pub fn secured(&mut self) {
        self.answered();
        self.line = Vec::new();
        self.helo = None;
        self.account = None;
        self.draft = None;
        self.protocol = Protocol { tls: true, ..Protocol::default() };
    }

    /// Answers [`Step::Authenticate`]: the account that was proven, or none.
    pub fn authenticated(&mut self, account: Option<&str>) {
        self.answered();
        match account {
            Some(account) => {
                self.account = Some(account.into());
                self.protocol.authenticated = true;
                self.say(&say::AUTHENTICATED);
            }
            None => {
                self.auth_failures += 1;
                self.say(&say::BAD_CREDENTIALS);
                if self.auth_failures >= self.rules.auth_failures_max {
                    self.close(&say::AUTH_FAILURES_MAX, CloseReason::Errors);
                }
            }
        }
    }

    /// Answers [`Step::Message`] with the final reply to the message.
    pub fn settled(&mut self, reply: &Reply) {
        self.answered();
        if reply.is_positive() {
            self.messages += 1;
        }
        self.refuse_or_say(reply);
    }

    /// Ends the session from outside: a deadline, a shutdown.
    pub fn close(&mut self, reply: &Reply, reason: CloseReason) {
        self.say(reply);
        self.state = State::Closed(reason);
    }

    /// The driver has done what a step asked, and may answer each step once.
    fn answered(&mut self) {
        assert!(matches!(self.state, State::Busy), "an answer to a step that was not given");
        self.state = State::Command;
    }

    fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.replies);
    }

    /// Says it, counts it when it is a refusal, and ends the session of a peer that has had too many.
    fn refuse_or_say(&mut self, reply: &Reply) {
        self.say(reply);
        if reply.code >= 500 {
            self.errors += 1;
            if self.errors >= self.rules.errors_max {
                self.close(&say::ERRORS_MAX, CloseReason::Errors);
            }
        }
    }

    fn command(&mut self, input: &mut &[u8], gate: &mut impl Gate) -> Option<Step> {
        let line = match self.take_line(input, COMMAND_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::Command;
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        let command = self.count_command(line)?;
        match command.and_then(|command| self.obey(command, input, gate)) {
            Ok(Obeyed::Said) => None,
            Ok(Obeyed::Step(step)) => {
                self.state = State::Busy;
                Some(step)
            }
            Err(reply) => {
                self.refuse_or_say(&reply);
                None
            }
        }
    }

    /// Parses a line that counts as a command; `None` when the session ends over it.
    fn count_command(&mut self, line: Cow<'_, [u8]>) -> Option<Result<Command, Reply>> {
        self.state = State::Command;
        self.commands += 1;
        if self.commands > self.rules.commands_max {
            self.close(&say::COMMANDS_MAX, CloseReason::CommandsMax);
            return None;
        }
        let is_chunk = names_chunk(&line);
        match without_crlf(line).and_then(|line| command::parse(&line)) {
            Err(reply) if is_chunk => {
                // Its octets follow, and how many is not known: they must not be read as commands.
                self.close(&Reply { code: 521, ..reply }, CloseReason::Errors);
                None
            }
            command => Some(command),
        }
    }

    /// Up to the line end, `max` octets with it. What came before is put together in `self.line`.
    fn take_line<'a>(&mut self, input: &mut &'a [u8], max: usize) -> Line<'a> {
        let end = memchr::memchr(b'\n', input);
        let taken = end.map_or(input.len(), |at| at + 1);
        if self.line.len() + taken > max {
            let start = if self.line.is_empty() { *input } else { &self.line[..] };
            if names_chunk(start) {
                self.close(&Reply { code: 521, ..say::LINE_TOO_LONG }, CloseReason::Errors);
                return Line::Fatal;
            }
            self.line = Vec::new();
            return Line::TooLong;
        }
        let (piece, rest) = input.split_at(taken);
        *input = rest;
        if end.is_none() {
            self.line.extend_from_slice(piece);
            return Line::Partial;
        }
        let whole = if self.line.is_empty() {
            Cow::Borrowed(piece)
        } else {
            self.line.extend_from_slice(piece);
            Cow::Owned(std::mem::take(&mut self.line))
        };
        Line::Whole(whole)
    }

    fn long_line(&mut self, input: &mut &[u8]) -> Option<Step> {
        match memchr::memchr(b'\n', input) {
            None => {
                *input = &[];
                self.state = State::LongLine;
                Some(Step::Read)
            }
            Some(end) => {
                *input = &input[end + 1..];
                self.state = State::Command;
                self.refuse_or_say(&say::LINE_TOO_LONG);
                None
            }
        }
    }

    fn obey(
        &mut self,
        command: Command,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Result<Obeyed, Reply> {
        match command {
            Command::Helo(name) => self.hello(&name, false),
            Command::Ehlo(name) => self.hello(&name, true),
            Command::Mail(mail) => {
                self.mail(mail, gate)?;
                self.say(&say::SENDER_OK);
            }
            Command::Rcpt(rcpt) => {
                self.rcpt(rcpt, gate)?;
                self.say(&say::RECIPIENT_OK);
            }
            Command::Data => self.begin_data(gate)?,
            Command::Bdat { size, last } => self.begin_chunk(size, last, gate),
            Command::Rset => {
                self.draft = None;
                self.say(&say::RESET);
            }
            Command::Noop => self.say(&say::NOOP),
            Command::Vrfy => self.say(&say::VRFY),
            Command::Expn => return Err(say::NOT_IMPLEMENTED),
            Command::Help => self.say(&say::HELP),
            Command::Quit => self.close(&say::BYE, CloseReason::Quit),
            Command::StartTls => return self.start_tls(input),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
        }
        Ok(Obeyed::Said)
    }

    fn hello(&mut self, name: &str, extended: bool) {
        // A new greeting is also a RSET (RFC 5321 4.1.4).
        self.draft = None;
        self.helo = Some(name.into());
        self.protocol.esmtp = extended;
        let hostname = &self.rules.hostname;
        if !extended {
            let reply = bare(250, hostname.to_string());
            return self.say(&reply);
        }
        let mut lines = format!(
            "{hostname}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nDSN",
            self.rules.message_bytes_max
        );
        if self.rules.starttls && !self.protocol.tls {
            lines.push_str("\nSTARTTLS");
        }
        if self.auth_is_offered() {
            lines.push_str("\nAUTH PLAIN LOGIN");
        }
        self.say(&bare(250, lines));
    }

    fn auth_is_offered(&self) -> bool {
        match self.rules.auth {
            Auth::Off => false,
            Auth::Offered { in_clear } | Auth::Required { in_clear } => {
                in_clear || self.protocol.tls
            }
        }
    }

    fn mail(&mut self, mail: MailFrom, gate: &mut impl Gate) -> Result<(), Reply> {
        let helo = self.helo.clone().ok_or(say::HELLO_FIRST)?;
        if self.draft.is_some() {
            return Err(say::NESTED_MAIL);
        }
        if mail.esmtp && !self.protocol.esmtp {
            return Err(say::PARAMETERS_NEED_EHLO);
        }
        let peer = || self.rules.peer_account.as_deref().map(Rc::from);
        let account = self.account.clone().or_else(peer).unwrap_or_default();
        if let Err(refusal) = self.may_send(&mail, &account, gate) {
            gate.refused(RejectStage::Mail, &account, mail.sender.as_str(), &refusal);
            return Err(refusal.reply);
        }
        let protocol = Protocol { utf8: mail.utf8, ..self.protocol };
        self.draft = Some(Draft { mail, recipients: Vec::new(), helo, protocol, account });
        Ok(())
    }

    fn may_send(
        &mut self,
        mail: &MailFrom,
        account: &str,
        gate: &mut impl Gate,
    ) -> Result<(), Refusal> {
        let refusal = |tag, reply| Err(Refusal::new(tag, reply));
        if matches!(self.rules.auth, Auth::Required { .. }) && self.account.is_none() {
            return refusal(RejectTag::NotAllowed, say::AUTH_REQUIRED);
        }
        if account.is_empty() {
            return refusal(RejectTag::NotAllowed, say::NOT_ALLOWED);
        }
        if mail.size.is_some_and(|size| size > self.rules.message_bytes_max) {
            return refusal(RejectTag::TooBig, say::TOO_BIG);
        }
        if mail.sender.needs_utf8() && !mail.utf8 {
            return refusal(RejectTag::BadAddress, say::NEEDS_UTF8);
        }
        if self.messages >= self.rules.messages_max {
            self.state = State::Closed(CloseReason::CommandsMax);
            return refusal(RejectTag::Busy, say::MESSAGES_MAX);
        }
        gate.mail(mail)
    }

    fn rcpt(&mut self, rcpt: RcptTo, gate: &mut impl Gate) -> Result<(), Reply> {
        let draft = self.draft.as_mut().ok_or(say::MAIL_FIRST)?;
        if rcpt.esmtp && !self.protocol.esmtp {
            return Err(say::PARAMETERS_NEED_EHLO);
        }
        let RcptTo { address, notify, original, .. } = rcpt;
        let taken = if draft.recipients.len() >= self.rules.recipients_max {
            Err(Refusal::new(RejectTag::TooManyRecipients, say::TOO_MANY_RECIPIENTS))
        } else if address.needs_utf8() && !draft.mail.utf8 {
            Err(Refusal::new(RejectTag::BadAddress, say::NEEDS_UTF8))
        } else {
            gate.recipient(address)
        };
        match taken {
            Ok(address) => {
                draft.recipients.push(Recipient { address, notify, original });
                Ok(())
            }
            Err(refusal) => {
                let sender = draft.mail.sender.as_str();
                gate.refused(RejectStage::Rcpt, &draft.account, sender, &refusal);
                Err(refusal.reply)
            }
        }
    }

    fn buffer(&self, gate: &mut impl Gate) -> Result<Buffer, Reply> {
        let draft = self.draft.as_ref().ok_or(say::MAIL_FIRST)?;
        if draft.recipients.is_empty() {
            return Err(say::NO_RECIPIENTS);
        }
        Ok(Buffer::new(gate.preface(draft), self.rules.message_bytes_max))
    }

    fn begin_data(&mut self, gate: &mut impl Gate) -> Result<(), Reply> {
        let buffer = self.buffer(gate)?;
        self.state = State::Data { content: Content::new(), buffer };
        self.say(&say::GO_AHEAD);
        Ok(())
    }

    fn begin_chunk(&mut self, size: u64, last: bool, gate: &mut impl Gate) {
        // Whatever the answer, the octets are on their way and have to be read (RFC 3030 2).
        let buffer = match self.buffer(gate) {
            Ok(buffer) => ChunkBuffer::Kept(buffer),
            Err(reply) => ChunkBuffer::Refused(reply),
        };
        self.next_chunk(size, last, buffer);
    }

    fn next_chunk(&mut self, size: u64, last: bool, buffer: ChunkBuffer) {
        if size > self.rules.message_bytes_max {
            // Reading it to its end would be a favour to nobody.
            self.draft = None;
            self.close(&Reply { code: 521, ..say::TOO_BIG }, CloseReason::Errors);
        } else {
            self.state = State::Chunk { left: size, last, buffer };
        }
    }

    fn data(
        &mut self,
        mut content: Content,
        mut buffer: Buffer,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Option<Step> {
        match content.read(input, &mut buffer) {
            Progress::More => {
                self.state = State::Data { content, buffer };
                Some(Step::Read)
            }
            Progress::End => self.complete(buffer, gate),
            Progress::BareLineEnd => {
                // What follows may be a smuggled message: nothing of it may be read as commands.
                self.report_content(RejectTag::BareNewline, &say::BARE_LINE_END, gate);
                self.close(&say::BARE_LINE_END, CloseReason::Smuggling);
                None
            }
        }
    }

    fn chunk(
        &mut self,
        left: u64,
        last: bool,
        mut buffer: ChunkBuffer,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Option<Step> {
        let taken = left.min(input.len() as u64) as usize;
        let (piece, rest) = input.split_at(taken);
        *input = rest;
        if let ChunkBuffer::Kept(buffer) = &mut buffer {
            buffer.append(piece);
        }
        let left = left - taken as u64;
        if left > 0 {
            self.state = State::Chunk { left, last, buffer };
            return Some(Step::Read);
        }
        self.state = State::Command;
        match buffer {
            ChunkBuffer::Refused(reply) => {
                self.draft = None;
                self.refuse_or_say(&reply);
                None
            }
            // What is refused is refused at once: the peer can spare itself the other chunks.
            ChunkBuffer::Kept(buffer) if last || buffer.fate() != Fate::Kept => {
                if has_bare_dot_line(buffer.message()) {
                    let reply = &say::BARE_LINE_END_CHUNKED;
                    self.reject_content(RejectTag::BareNewline, reply, gate);
                    return None;
                }
                self.complete(buffer, gate)
            }
            ChunkBuffer::Kept(buffer) => {
                self.say(&say::CHUNK_OK);
                self.state = State::BetweenChunks(buffer);
                None
            }
        }
    }

    /// Only the next chunk, or giving up, is in order here (RFC 3030 2).
    fn between_chunks(&mut self, buffer: Buffer, input: &mut &[u8]) -> Option<Step> {
        let line = match self.take_line(input, COMMAND_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::BetweenChunks(buffer);
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.draft = None;
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        match self.count_command(line)? {
            Ok(Command::Bdat { size, last }) => {
                self.next_chunk(size, last, ChunkBuffer::Kept(buffer));
            }
            Ok(Command::Rset) => {
                self.draft = None;
                self.say(&say::RESET);
            }
            Ok(Command::Quit) => self.close(&say::BYE, CloseReason::Quit),
            Ok(Command::Noop) => {
                self.say(&say::NOOP);
                self.state = State::BetweenChunks(buffer);
            }
            Ok(_) => {
                self.draft = None;
                self.refuse_or_say(&say::CHUNKS_EXPECTED);
            }
            Err(reply) => {
                self.draft = None;
                self.refuse_or_say(&reply);
            }
        }
        None
    }

    /// The whole message is here, or as much as was kept of it.
    fn complete(&mut self, buffer: Buffer, gate: &mut impl Gate) -> Option<Step> {
        let (tag, reply) = match buffer.fate() {
            Fate::Kept => {
                let draft = self.draft.take().expect("content belongs to a draft");
                self.state = State::Busy;
                let record = buffer.into_record();
                return Some(Step::Message(Transaction { draft, record }));
            }
            Fate::TooBig => (RejectTag::TooBig, say::TOO_BIG),
            Fate::Shed => (RejectTag::Busy, say::MEMORY),
        };
        self.state = State::Command;
        self.reject_content(tag, &reply, gate);
        None
    }

    /// Refuses the message whose content came in.
    fn reject_content(&mut self, tag: RejectTag, reply: &Reply, gate: &mut impl Gate) {
        self.report_content(tag, reply, gate);
        self.refuse_or_say(reply);
    }

    fn report_content(&mut self, tag: RejectTag, reply: &Reply, gate: &mut impl Gate) {
        let draft = self.draft.take().expect("content belongs to a draft");
        let sender = draft.mail.sender.as_str();
        let refusal = Refusal::new(tag, reply.clone());
        gate.refused(RejectStage::Data, &draft.account, sender, &refusal);
    }

    fn start_tls(&mut self, input: &mut &[u8]) -> Result<Obeyed, Reply> {
        if !self.rules.starttls {
            return Err(say::NOT_IMPLEMENTED);
        }
        if self.protocol.tls {
            return Err(say::TLS_ALREADY);
        }
        if !input.is_empty() {
            // Commands sent in clear would be obeyed as if they had come under TLS (CVE-2011-0411).
            self.close(&say::INJECTION, CloseReason::Injection);
            return Ok(Obeyed::Said);
        }
        self.say(&say::START_TLS);
        Ok(Obeyed::Step(Step::StartTls))
    }

    fn auth(&mut self, mechanism: Mechanism, initial: Option<Box<[u8]>>) -> Result<Obeyed, Reply> {
        if self.helo.is_none() || !self.protocol.esmtp {
            return Err(say::HELLO_FIRST);
        }
        if matches!(self.rules.auth, Auth::Off) {
            return Err(say::NOT_IMPLEMENTED);
        }
        if !self.auth_is_offered() {
            return Err(say::TLS_FIRST);
        }
        if self.account.is_some() || self.draft.is_some() {
            return Err(say::AUTH_OUT_OF_PLACE);
        }
        match (mechanism, initial) {
            (Mechanism::Plain, Some(response)) => {
                let (account, password) = command::decode_plain(&response)?;
                Ok(Obeyed::Step(Step::Authenticate(Login { account, password })))
            }
            (Mechanism::Plain, None) => {
                self.say(&say::GO_ON);
                self.state = State::Auth(AuthState::Plain);
                Ok(Obeyed::Said)
            }
            (Mechanism::Login, Some(name)) => {
                self.ask_password(&name)?;
                Ok(Obeyed::Said)
            }
            (Mechanism::Login, None) => {
                self.say(&say::LOGIN_NAME);
                self.state = State::Auth(AuthState::LoginName);
                Ok(Obeyed::Said)
            }
        }
    }

    fn ask_password(&mut self, name: &[u8]) -> Result<(), Reply> {
        let name = command::decode_base64(name)?;
        let account = String::from_utf8(name).map_err(|_| say::BAD_CREDENTIALS)?;
        self.say(&say::LOGIN_PASSWORD);
        self.state = State::Auth(AuthState::LoginPassword { account });
        Ok(())
    }

    fn auth_line(&mut self, state: AuthState, input: &mut &[u8]) -> Option<Step> {
        let line = match self.take_line(input, AUTH_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::Auth(state);
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        self.state = State::Command;
        let login = without_crlf(line).and_then(|line| match (state, &line[..]) {
            (AuthState::Plain, response) => {
                let (account, password) = command::decode_plain(response)?;
                Ok(Some(Login { account, password }))
            }
            (AuthState::LoginName, name) => self.ask_password(name).map(|()| None),
            (AuthState::LoginPassword { account }, password) => {
                Ok(Some(Login { account, password: command::decode_base64(password)? }))
            }
        });
        match login {
            Ok(None) => None,
            Ok(Some(login)) => {
                self.state = State::Busy;
                Some(Step::Authenticate(login))
            }
            Err(reply) => {
                self.refuse_or_say(&reply);
                None
            }
        }
    }
}

/// A line that announces octets: if it is refused, how many follow is not known, and they must not
/// be read as commands.
fn names_chunk(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// The greeting and the answer to EHLO carry no enhanced code (RFC 2034 4).
fn bare(code: u16, text: String) -> Reply {
    Reply { code, status: None, text: Cow::Owned(text) }
}

enum Obeyed {
    Said,
    Step(Step),
}

/// A line without its CRLF, or the reply to one that ends otherwise.
type WholeLine<'a> = Result<Cow<'a, [u8]>, Reply>;

enum Line<'a> {
    Partial,
    TooLong,
    /// The session is closed over it.
    Fatal,
    /// With its line end.
    Whole(Cow<'a, [u8]>),
}

/// A command that ends in a bare LF is refused (RFC 5321 2.3.8): who takes it would also have to decide
/// what a bare LF means in data.
fn without_crlf(line: Cow<'_, [u8]>) -> WholeLine<'_> {
    if !line.ends_with(b"\r\n") {
        return Err(say::BARE_LF);
    }
    Ok(match line {
        Cow::Borrowed(line) => Cow::Borrowed(&line[..line.len() - 2]),
        Cow::Owned(mut line) => {
            line.truncate(line.len() - 2);
            Cow::Owned(line)
        }
    })
}
