//! The conversation with one next hop: greeting, EHLO, any number of transactions, QUIT.
//!
//! Bytes and facts in, [`Step`]s out; no socket, no clock. It knows which reply is awaited next and
//! takes each for that and nothing else: a reply that nobody asked for, or one that came before its
//! question was sent, ends the session, because from then on every answer could be another's.
//!
//! After a transaction that failed, RSET goes first in the next one's flight, instead of closing.
//! STARTTLS stands between EHLO and the first transaction, with nothing in its flight. What the
//! remote said before TLS is forgotten after it, and what came in clear behind its 220 ends the
//! session: it would be taken for words under TLS (CVE-2011-0411).
//!
//! RFC 5321 3.1 (greeting), 3.2 (EHLO, HELO), 3.8 (421), 4.1.1.5 (RSET), 4.5.3.2 (timeouts);
//! RFC 3207 4 (STARTTLS).

use crate::message::{Outcome, RemoteReply, Stage};
use crate::smtp::client::dots::Piece;
use crate::smtp::client::features::Features;
use crate::smtp::client::outcome::{self, Answer, Fate};
use crate::smtp::client::step::{Delivery, Lost, Step, TlsPolicy, Trust, Wait};
use crate::smtp::client::transaction::{Asked, Transaction, out_of_place};
use crate::smtp::command::Command;
use crate::smtp::reply::ReplyReader;
use std::collections::VecDeque;

/// Octets of the write buffer that an idle session may keep.
const IDLE_BUFFER_BYTES_MAX: usize = 8 * 1024;

/// The client's side of one SMTP connection.
///
/// The whole of a driver, but for deadlines and the shape of its stream. `write`, `read` and
/// everything around them are the driver's; `read` waits no longer than `wait.timeout()`, counted
/// from the last write or the last growth of `session.replies()`.
///
/// ```
/// use baton::message::Outcome;
/// use baton::smtp::client::{ClientSession, Delivery, Lost, Step, TlsPolicy, Wait};
/// # use baton::message::*;
/// # use baton::time::Stamp;
/// # struct Stream { says: Vec<&'static [u8]>, heard: Vec<u8> }
/// # impl Stream {
/// #     fn write(&mut self, piece: &[u8]) -> Result<(), ()> {
/// #         self.heard.extend_from_slice(piece);
/// #         Ok(())
/// #     }
/// #     fn read(&mut self, buffer: &mut [u8], _: Wait) -> Result<usize, Lost> {
/// #         if self.says.is_empty() { return Ok(0); }
/// #         let words = self.says.remove(0);
/// #         buffer[..words.len()].copy_from_slice(words);
/// #         Ok(words.len())
/// #     }
/// # }
///
/// fn attempt(mut stream: Stream, delivery: &Delivery<'_>) -> (Stream, Vec<(u16, Outcome)>) {
///     let mut session = ClientSession::new("relay.example.net", TlsPolicy::Never);
///     let mut buffer = [0; 4096];
///     let (mut taken, mut filled) = (0, 0);
///     let mut outcomes = Vec::new();
///     loop {
///         let mut input = &buffer[taken..filled];
///         let step = session.step(&mut input);
///         taken = filled - input.len();
///         match step {
///             Step::Write(piece) => {
///                 if stream.write(piece).is_err() {
///                     session.unwritable();
///                 }
///             }
///             Step::Read(wait) => {
///                 // All input is taken, so the buffer is free.
///                 match stream.read(&mut buffer, wait) {
///                     Ok(0) => session.lost(&Lost::Closed),
///                     Ok(octets) => (taken, filled) = (0, octets),
///                     Err(how) => session.lost(&how),
///                 }
///             }
///             // A real driver secures its stream here, and says `secured` or `unsecured`.
///             Step::StartTls => unreachable!("never, under this policy"),
///             // Here a real driver takes the next message for this host, or parks the connection.
///             Step::Ready if outcomes.is_empty() => session.begin(delivery),
///             Step::Ready => session.quit(),
///             Step::Done(list) => outcomes = list,
///             // Only after a transaction on the same connection: take a new one, begin again.
///             Step::Stale => session.quit(),
///             // The remote left while nothing was under way: what was done stays done.
///             Step::Closed(_) if !outcomes.is_empty() => session.quit(),
///             Step::Closed(outcome) => {
///                 let everyone = delivery.recipients.iter();
///                 outcomes = everyone.map(|&at| (at, outcome.clone())).collect();
///                 session.quit();
///             }
///             Step::Over => return (stream, outcomes),
///         }
///     }
/// }
/// # let mailbox = |text: &str| Address::from_checked(text, text.find('@').unwrap());
/// # let envelope = Envelope {
/// #     id: MessageId::from_u64(1),
/// #     received: Stamp::from_millis(0),
/// #     sender: ReversePath::Mailbox(mailbox("joe@a.test")),
/// #     sender_id: SenderId::new("acme", "account", "acme"),
/// #     recipients: vec![Recipient {
/// #         address: mailbox("ann@b.test"),
/// #         notify: Notify::Unspecified,
/// #         original: None,
/// #     }],
/// #     body: BodyKind::SevenBit,
/// #     utf8: false,
/// #     require_tls: false,
/// #     ret: None,
/// #     envid: None,
/// #     origin: Origin {
/// #         peer: [127, 0, 0, 1].into(),
/// #         helo: "c".into(),
/// #         protocol: Protocol::default(),
/// #         account: "acme".into(),
/// #     },
/// #     size: 6,
/// # };
///
/// let says: Vec<&'static [u8]> = vec![
///     b"220 mx.b.test\r\n",
///     b"250-mx.b.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
///     b"250 sender ok\r\n250 recipient ok\r\n250 taken\r\n",
///     b"221 bye\r\n",
/// ];
/// let body = Body::from_message(b"Hi: \r\n");
/// let delivery = Delivery { envelope: &envelope, recipients: &[0], body: &body };
/// let (stream, outcomes) = attempt(Stream { says, heard: Vec::new() }, &delivery);
/// assert_eq!(outcomes[0].1.verdict, Verdict::Delivered);
/// assert_eq!(
///     String::from_utf8_lossy(&stream.heard),
///     "EHLO relay.example.net\r\n\
///      MAIL FROM:<joe@a.test>\r\nRCPT TO:<ann@b.test>\r\nBDAT 6 LAST\r\nHi: \r\nQUIT\r\n"
/// );
/// ```
#[derive(Debug)]
pub struct ClientSession {
    helo: Box<str>,
    policy: TlsPolicy,
    /// What the certificate is worth; `None` in clear.
    secured: Option<Trust>,
    features: Features,
    phase: Phase,
    line: Line,
    reader: ReplyReader,
    /// Whether the reader holds the start of a reply.
    within_reply: bool,
    awaited: VecDeque<Asked>,
    out: Vec<u8>,
    /// Whether `out` or a piece of the body was given to the driver to write.
    lent: bool,
    replies: u64,
    transactions: u64,
    /// Whether the last transaction was left open at the remote.
    needs_reset: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Ehlo,
    Helo,
    /// To be said, or said and not answered.
    StartTls,
    /// 220 has come: the driver's turn.
    Handshake,
    Ready,
    Busy(Box<Transaction>),
    /// To be told to the driver.
    Failed(Outcome),
    Leaving,
    Over,
}

/// What the connection is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Up,
    /// Writing failed. What the remote said before is still to be read.
    ReadOnly,
    Down,
}

/// A [`Step`] that borrows nothing yet.
enum Move {
    Write(Piece),
    Step(Step<'static>),
}

impl ClientSession {
    /// A session on a fresh connection; `helo` is our name, or an address literal.
    ///
    /// # Panics
    /// When `helo` holds a line end.
    pub fn new(helo: &str, policy: TlsPolicy) -> Self {
        assert!(!helo.contains(['\r', '\n']), "a name is one word");
        ClientSession {
            helo: helo.into(),
            policy,
            secured: None,
            features: Features::default(),
            phase: Phase::Greeting,
            line: Line::Up,
            reader: ReplyReader::new(),
            within_reply: false,
            awaited: VecDeque::from([Asked::Greeting]),
            out: Vec::new(),
            lent: false,
            replies: 0,
            transactions: 0,
            needs_reset: false,
        }
    }

    /// What the next hop offers; nothing before it answered EHLO, and again nothing between TLS
    /// and the EHLO under it.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether the session is under TLS.
    pub fn is_secured(&self) -> bool {
        self.secured.is_some()
    }

    /// Whether another transaction can come, now or after what is under way.
    pub fn is_open(&self) -> bool {
        let ended = matches!(self.phase, Phase::Failed(_) | Phase::Leaving | Phase::Over);
        self.line == Line::Up && !ended
    }

    /// Whole replies so far. A deadline begins anew when this has grown, not with each read:
    /// a remote that drips octets must not hold a connection for ever.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// Answers [`Step::StartTls`]: the stream is under TLS. All that the remote said in clear is
    /// forgotten, and EHLO is said again (RFC 3207 4.2).
    ///
    /// # Panics
    /// Unless the last step was [`Step::StartTls`].
    pub fn secured(&mut self, trust: Trust) {
        assert!(matches!(self.phase, Phase::Handshake), "TLS follows the step that asks for it");
        self.secured = Some(trust);
        self.features = Features::default();
        self.reader = ReplyReader::new();
        self.phase = Phase::Ehlo;
    }

    /// Answers [`Step::StartTls`]: the handshake failed, in the words of who made it. The stream is
    /// of no use any more; the next step is [`Step::Closed`].
    ///
    /// # Panics
    /// Unless the last step was [`Step::StartTls`].
    pub fn unsecured(&mut self, words: &str) {
        assert!(matches!(self.phase, Phase::Handshake), "TLS follows the step that asks for it");
        self.hang_up(outcome::tls_failed(&format!("the TLS handshake failed: {words}")));
    }

    /// Starts a transaction. Copies what it needs; the body is shared, not copied.
    ///
    /// # Panics
    /// Unless the last step was [`Step::Ready`], and as [`Delivery`] demands.
    pub fn begin(&mut self, delivery: &Delivery<'_>) {
        assert!(
            matches!(self.phase, Phase::Ready),
            "a transaction begins when the session is ready"
        );
        self.transactions += 1;
        let features = &self.features;
        let transaction = Transaction::new(delivery, features, self.secured, self.needs_reset);
        self.phase = Phase::Busy(Box::new(transaction));
    }

    /// Says goodbye where that is still possible; [`Step::Over`] ends it. Does nothing on a
    /// connection that is lost already.
    ///
    /// # Panics
    /// While a transaction is under way.
    pub fn quit(&mut self) {
        assert!(!matches!(self.phase, Phase::Busy(_)), "a transaction is ended, or the line cut");
        self.awaited.clear();
        self.out.clear();
        self.phase = if self.line == Line::Up { Phase::Leaving } else { Phase::Over };
    }

    /// Writing failed. A remote that refuses a large message may say so and close without reading
    /// the rest, so its words are looked for before the connection counts as [`Lost`].
    pub fn unwritable(&mut self) {
        if self.line == Line::Up {
            self.line = Line::ReadOnly;
        }
        self.out.clear();
        self.lent = false;
        if let Phase::Busy(transaction) = &mut self.phase {
            transaction.stop_writing();
        }
    }

    /// The connection is gone. The next step tells what that means for whatever was waiting.
    pub fn lost(&mut self, how: &Lost) {
        let fate = match &self.phase {
            Phase::Busy(transaction) => transaction.fate(),
            _ => Fate::Undelivered,
        };
        let stage = match self.phase {
            // In TLS 1.3 a server's objections come after our end of the handshake: TLS that does
            // not last to the first reply has failed.
            Phase::Ehlo if self.is_secured() => Stage::StartTls,
            _ => self.stage(),
        };
        self.hang_up(outcome::lost(stage, how, fate));
    }

    /// What is to be done next. Takes replies off the front of `input`, all of it before it
    /// asks to read. A call after [`Step::Write`] says that all was written.
    pub fn step(&mut self, input: &mut &[u8]) -> Step<'_> {
        match self.advance(input) {
            Move::Step(step) => step,
            Move::Write(Piece::Own) => Step::Write(&self.out),
            Move::Write(Piece::Lent(range)) => match &self.phase {
                Phase::Busy(transaction) => Step::Write(transaction.octets(range)),
                _ => unreachable!("only a transaction lends"),
            },
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Move {
        self.written();
        loop {
            if let Some(piece) = self.next_piece() {
                self.lent = true;
                return Move::Write(piece);
            }
            if let Some(step) = self.result() {
                return Move::Step(step);
            }
            if self.hear(input) {
                continue;
            }
            if let Some(asked) = self.awaited.front() {
                // After a failed write only words that are on their way already can come.
                let wait = if self.line == Line::Up { asked.wait() } else { Wait::Quit };
                return Move::Step(Step::Read(wait));
            }
            match self.phase {
                Phase::Ready if self.line == Line::Up => return Move::Step(Step::Ready),
                Phase::Handshake if self.line == Line::Up => return Move::Step(Step::StartTls),
                _ => self.speak(),
            }
        }
    }

    fn written(&mut self) {
        if std::mem::take(&mut self.lent) {
            self.out.clear();
            if let Phase::Busy(transaction) = &mut self.phase {
                transaction.written();
            }
        }
    }

    fn next_piece(&mut self) -> Option<Piece> {
        if !self.out.is_empty() {
            return Some(Piece::Own);
        }
        match &mut self.phase {
            Phase::Busy(transaction) => transaction.piece(&mut self.out),
            _ => None,
        }
    }

    /// What the driver is to be told, when something has ended.
    fn result(&mut self) -> Option<Step<'static>> {
        if !self.awaited.is_empty() {
            return None;
        }
        match &mut self.phase {
            Phase::Busy(transaction) if transaction.is_over() => {
                let stale = self.transactions > 1 && self.line == Line::Down;
                let stale = stale && !transaction.was_heard();
                let outcomes = transaction.take_outcomes();
                self.needs_reset = transaction.is_open_at_remote();
                self.phase = if self.line == Line::Up { Phase::Ready } else { Phase::Over };
                self.out.shrink_to(IDLE_BUFFER_BYTES_MAX);
                Some(if stale { Step::Stale } else { Step::Done(outcomes) })
            }
            Phase::Failed(outcome) => {
                let step = Step::Closed(outcome.clone());
                self.phase = Phase::Over;
                Some(step)
            }
            Phase::Over => Some(Step::Over),
            Phase::Busy(_)
            | Phase::Greeting
            | Phase::Ehlo
            | Phase::Helo
            | Phase::StartTls
            | Phase::Handshake
            | Phase::Ready
            | Phase::Leaving => None,
        }
    }

    /// Takes one reply; false when `input` holds no whole one.
    fn hear(&mut self, input: &mut &[u8]) -> bool {
        let any = !input.is_empty();
        if any && matches!(self.phase, Phase::Handshake) {
            let words = "the remote went on in clear behind the 220 that was to start TLS";
            self.hang_up(outcome::tls_failed(words));
            return true;
        }
        match self.reader.read(input) {
            Ok(Some(reply)) => {
                self.within_reply = false;
                self.replies += 1;
                self.take(reply);
                true
            }
            Ok(None) => {
                self.within_reply |= any;
                false
            }
            Err(bad) => {
                if let Phase::Busy(transaction) = &mut self.phase {
                    // It said something, if not in SMTP: that is an attempt, not a stale connection.
                    transaction.was_answered();
                }
                self.hang_up(outcome::not_the_protocol(self.stage(), &bad.to_string()));
                true
            }
        }
    }

    fn take(&mut self, reply: RemoteReply) {
        let stage = self.stage();
        let asked = self.awaited.pop_front();
        if reply.code == outcome::CLOSING {
            return self.hang_up(outcome::session_ended(stage, reply));
        }
        match asked {
            None => self.hang_up(out_of_place(stage, &reply)),
            Some(Asked::Quit) => self.hang_up(outcome::session_ended(stage, reply)),
            Some(asked @ (Asked::Greeting | Asked::Ehlo | Asked::Helo)) => self.open(asked, reply),
            Some(Asked::StartTls) => self.hear_start_tls(reply),
            Some(asked) => {
                let Phase::Busy(transaction) = &mut self.phase else {
                    unreachable!("only a transaction asks this")
                };
                if let Err(outcome) = transaction.hear(asked, reply) {
                    self.hang_up(outcome);
                }
            }
        }
    }

    fn open(&mut self, asked: Asked, reply: RemoteReply) {
        self.phase = match (asked, outcome::answer(&reply)) {
            (Asked::Greeting, Answer::Yes) => Phase::Ehlo,
            (Asked::Ehlo, Answer::Yes) => {
                self.features = Features::parse(&reply.text);
                self.after_hello()
            }
            // RFC 5321 3.2: a server that does not know EHLO is greeted in the old way. Some say so
            // with 550, so every 5xx counts; one that means us refuses HELO as well.
            (Asked::Ehlo, Answer::No) if reply.code >= 500 => Phase::Helo,
            (_, Answer::Yes) => self.after_hello(),
            (_, Answer::No) => Phase::Failed(outcome::session_refused(asked.stage(), reply)),
            (_, Answer::GoOn) => return self.hang_up(out_of_place(asked.stage(), &reply)),
        };
    }

    fn after_hello(&self) -> Phase {
        match (self.policy, self.secured) {
            // RFC 3207 4.2: a server must not offer it again; one that does is not asked.
            (_, Some(Trust::Verified | Trust::Unverified)) | (TlsPolicy::Never, None) => {
                Phase::Ready
            }
            (TlsPolicy::WhenOffered | TlsPolicy::Always, None) if self.features.starttls => {
                Phase::StartTls
            }
            (TlsPolicy::WhenOffered, None) => Phase::Ready,
            (TlsPolicy::Always, None) => Phase::Failed(outcome::not_offered()),
        }
    }

    fn hear_start_tls(&mut self, reply: RemoteReply) {
        self.phase = match (outcome::answer(&reply), self.policy) {
            (Answer::Yes, _) => Phase::Handshake,
            (Answer::No, TlsPolicy::Always) => Phase::Failed(outcome::tls_refused(reply)),
            (Answer::No, TlsPolicy::WhenOffered | TlsPolicy::Never) => Phase::Ready,
            (Answer::GoOn, _) => return self.hang_up(out_of_place(Stage::StartTls, &reply)),
        };
    }

    /// Prints what is to be said next. Nothing is awaited and no whole reply is in the input.
    fn speak(&mut self) {
        if self.within_reply {
            // It began before we asked, so it answers something else.
            let words = "a reply that nothing asked for";
            return self.hang_up(outcome::not_the_protocol(self.stage(), words));
        }
        if self.line != Line::Up {
            return self.lost(&Lost::Failed("writing to the remote failed".into()));
        }
        let helo = &self.helo;
        match &mut self.phase {
            Phase::Ehlo => {
                Command::Ehlo(helo.clone()).write(&mut self.out);
                self.awaited.push_back(Asked::Ehlo);
            }
            Phase::Helo => {
                Command::Helo(helo.clone()).write(&mut self.out);
                self.awaited.push_back(Asked::Helo);
            }
            Phase::StartTls => {
                Command::StartTls.write(&mut self.out);
                self.awaited.push_back(Asked::StartTls);
            }
            Phase::Busy(transaction) => {
                transaction.fly(&self.features, &mut self.out, &mut self.awaited);
            }
            Phase::Leaving => {
                Command::Quit.write(&mut self.out);
                self.awaited.push_back(Asked::Quit);
            }
            Phase::Greeting | Phase::Handshake | Phase::Ready | Phase::Failed(_) | Phase::Over => {
                unreachable!("there is nothing to say here")
            }
        }
    }

    fn stage(&self) -> Stage {
        let awaited = self.awaited.front().copied();
        match &self.phase {
            Phase::Busy(transaction) => transaction.stage(awaited),
            Phase::Greeting => Stage::Greeting,
            Phase::Ehlo | Phase::Helo => Stage::Ehlo,
            Phase::StartTls | Phase::Handshake => Stage::StartTls,
            Phase::Ready | Phase::Failed(_) | Phase::Leaving | Phase::Over => Stage::Mail,
        }
    }

    /// The connection is of no use from here on.
    fn hang_up(&mut self, outcome: Outcome) {
        self.line = Line::Down;
        self.awaited.clear();
        self.out.clear();
        self.lent = false;
        match &mut self.phase {
            Phase::Busy(transaction) => transaction.abandon(&outcome),
            Phase::Greeting
            | Phase::Ehlo
            | Phase::Helo
            | Phase::StartTls
            | Phase::Handshake
            | Phase::Ready => {
                self.phase = Phase::Failed(outcome);
            }
            Phase::Failed(_) => {}
            Phase::Leaving | Phase::Over => self.phase = Phase::Over,
        }
    }
}
