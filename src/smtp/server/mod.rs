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
//!
//! | file | what |
//! |---|---|
//! | `command` | commands and their order |
//! | `incoming` | a message on its way in: DATA and BDAT |
//! | `login` | AUTH |
//! | `line` | lines, however they are cut |

mod command;
mod incoming;
mod line;
mod login;

use super::buffer::Buffer;
use super::command::MailFrom;
use super::content::Content;
use super::reply::Reply;
use super::wording as say;
use crate::event::{CloseReason, RejectStage, RejectTag};
use crate::limits::REPLY_BYTES_MAX;
use crate::message::{Address, Protocol, Recipient};
use command::bare;
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
}
