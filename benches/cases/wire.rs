//! The wire: commands, replies, content, and a whole transaction of either session.
//!
//! Sessions go on from transaction to transaction as those of a busy connection do; greeting and
//! EHLO are over before anything is measured.

use super::{Meter, mail};
use baton::event::RejectStage;
use baton::limits::READ_BYTES_MAX;
use baton::message::{Address, BODY_VERSION, Body, Outcome, RemoteReply, StatusCode, Verdict};
use baton::smtp::client::{ClientSession, Delivery, Features, Step as ClientStep, TlsPolicy};
use baton::smtp::command::{self, Command, MailFrom};
use baton::smtp::content::{Content, Progress, has_bare_dot_line};
use baton::smtp::reply::{Reply, ReplyReader};
use baton::smtp::server::{
    Auth, Draft, Gate, Refusal, Rules, ServerSession, Step as ServerStep, Transaction,
};
use baton::smtp::trace::Received;
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

const MAIL: &[u8] = b"MAIL FROM:<bounces-4711@news.example.org> SIZE=4096 BODY=8BITMIME";
const RCPT: &[u8] = b"RCPT TO:<customer0@d0.example>";
const RCPT_DSN: &[u8] =
    b"RCPT TO:<customer0@d0.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;customer0@d0.example";

pub fn command_mail(meter: &mut impl Meter) {
    parse(
        meter,
        MAIL,
        |command| matches!(command, Ok(Command::Mail(mail)) if mail.size == Some(4096)),
    );
}

pub fn command_rcpt(meter: &mut impl Meter) {
    parse(
        meter,
        RCPT,
        |command| matches!(command, Ok(Command::Rcpt(rcpt)) if rcpt.address.local() == "customer0"),
    );
}

pub fn command_rcpt_dsn(meter: &mut impl Meter) {
    parse(
        meter,
        RCPT_DSN,
        |command| matches!(command, Ok(Command::Rcpt(rcpt)) if rcpt.original.is_some()),
    );
}

pub fn command_refused(meter: &mut impl Meter) {
    let line = b"RCPT TO:<customer0@d0..example> NOTIFY=SOMETIMES";
    parse(meter, line, |command| matches!(command, Err(reply) if reply.code == 501));
}

fn parse(meter: &mut impl Meter, line: &[u8], is_right: fn(&Result<Command, Reply>) -> bool) {
    meter.measure(
        || line,
        command::parse,
        |command| assert!(is_right(command), "{}", line.escape_ascii()),
    );
}

/// `text` holds its dots stuffed.
pub fn unstuff(meter: &mut impl Meter, text: Vec<u8>) {
    let sent = [&text[..], b".\r\n"].concat();
    let plain = mail::unstuffed(&text);
    // Used again, or the time would be that of the first touch of fresh memory.
    let body = RefCell::new(Vec::with_capacity(sent.len()));
    meter.measure(
        || &sent[..],
        |mut input| {
            let mut body = body.borrow_mut();
            body.clear();
            let progress = Content::new().read(&mut input, &mut *body);
            (progress, input.len())
        },
        |done| {
            assert_eq!(*done, (Progress::End, 0));
            assert!(*body.borrow() == plain, "a body that is not what was sent");
        },
    );
}

/// The search that a message by BDAT gets.
pub fn search(meter: &mut impl Meter, text: Vec<u8>) {
    meter.measure(
        || &text[..],
        has_bare_dot_line,
        |found| assert!(!found, "nothing is smuggled in it"),
    );
}

/// Takes everything, and writes the preface that the relay writes.
struct Door;

impl Gate for Door {
    fn mail(&mut self, _: &MailFrom) -> Result<(), Refusal> {
        Ok(())
    }

    fn recipient(&mut self, address: Address) -> Result<Address, Refusal> {
        Ok(address)
    }

    fn preface(&mut self, draft: &Draft) -> Vec<u8> {
        let announced = draft.mail.size.unwrap_or(0) as usize;
        let mut record = Vec::with_capacity(announced + 512);
        record.push(BODY_VERSION);
        Received {
            helo: &draft.helo,
            peer: mail::PEER,
            hostname: "relay.example.net",
            protocol: draft.protocol,
            id: mail::ID,
            recipients: &draft.recipients,
            at: mail::NOW,
        }
        .write(&mut record);
        record
    }

    fn refused(&mut self, stage: RejectStage, _: &str, _: &str, refusal: &Refusal) {
        panic!("refused at {stage:?}: {}", refusal.reply);
    }
}

/// A session that has heard EHLO.
fn server() -> ServerSession {
    let rules = Rules {
        hostname: "relay.example.net".into(),
        message_bytes_max: 1 << 20,
        recipients_max: 1_000,
        errors_max: 10,
        commands_max: u32::MAX,
        messages_max: u32::MAX,
        auth_failures_max: 3,
        starttls: true,
        auth: Auth::Off,
        peer_account: Some("acme".into()),
    };
    let mut session = ServerSession::new(Rc::new(rules), false);
    let step = session.step(&mut &b"EHLO web1.example.org\r\n"[..], &mut Door);
    assert!(matches!(step, ServerStep::Read));
    session.replies().clear();
    session
}

/// Commands in one read, the message in as many as it takes.
pub fn serve_data(meter: &mut impl Meter, bytes: usize) {
    let text = mail::text(bytes);
    let commands = [&announced(bytes)[..], RCPT, b"\r\nDATA\r\n"].concat();
    let content = [&text[..], b".\r\n"].concat();
    let mut reads = vec![&commands[..]];
    reads.extend(content.chunks(READ_BYTES_MAX));
    serve(meter, &reads, 1, &mail::unstuffed(&text));
}

/// Commands and message in one stream, cut wherever a read is full.
pub fn serve_bdat(meter: &mut impl Meter, bytes: usize) {
    let text = mail::text(bytes);
    let chunk = format!("\r\nBDAT {bytes} LAST\r\n").into_bytes();
    let stream = [&announced(bytes)[..], RCPT, &chunk, &text].concat();
    let reads: Vec<&[u8]> = stream.chunks(READ_BYTES_MAX).collect();
    serve(meter, &reads, 1, &text);
}

pub fn serve_recipients(meter: &mut impl Meter) {
    let text = mail::text(super::USUAL);
    let mut commands = announced(text.len());
    for recipient in mail::recipients(100, 10) {
        commands.extend_from_slice(format!("RCPT TO:<{}>\r\n", recipient.address).as_bytes());
    }
    commands.extend_from_slice(b"DATA\r\n");
    let content = [&text[..], b".\r\n"].concat();
    serve(meter, &[&commands, &content], 100, &mail::unstuffed(&text));
}

fn announced(bytes: usize) -> Vec<u8> {
    format!("MAIL FROM:<bounces-4711@news.example.org> SIZE={bytes}\r\n").into_bytes()
}

/// One transaction: what is read, to the transaction that the next stage takes and the final reply.
fn serve(meter: &mut impl Meter, reads: &[&[u8]], recipients: usize, message: &[u8]) {
    let mut session = server();
    let accepted = Reply::fixed(250, StatusCode::new(2, 0, 0), "queued as 14d2pf2dbsqqg");
    meter.measure(
        || (),
        |()| {
            session.replies().clear();
            let transaction = reads.iter().find_map(|read| {
                let mut input = black_box(*read);
                match session.step(&mut input, &mut Door) {
                    ServerStep::Read => None,
                    ServerStep::Message(transaction) => Some(transaction),
                    other => panic!("{other:?}"),
                }
            });
            session.settled(black_box(&accepted));
            (transaction, session.replies().len())
        },
        |(transaction, replied)| {
            let Transaction { draft, record } = transaction.as_ref().expect("a message came");
            assert_eq!(draft.recipients.len(), recipients);
            assert!(record.starts_with(b"\x01Received: from web1.example.org"));
            assert!(record.ends_with(message), "a message that is not what was sent");
            assert!(*replied > "250 2.0.0 queued as 14d2pf2dbsqqg\r\n".len());
        },
    );
}

/// What the next hop offers beside PIPELINING, and what it says when all goes well.
#[derive(Clone, Copy, Debug)]
pub enum Remote {
    Chunking,
    Plain,
}

impl Remote {
    const fn greeting(self) -> [&'static [u8]; 2] {
        let ehlo: &[u8] = match self {
            Remote::Chunking => {
                b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
                  250-CHUNKING\r\n250 SMTPUTF8\r\n"
            }
            Remote::Plain => b"250-mx.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        };
        [b"220 mx.example ESMTP\r\n", ehlo]
    }

    /// To the commands of a transaction, and to the message.
    const fn answers(self) -> [&'static [u8]; 2] {
        let commands: &[u8] = match self {
            Remote::Chunking => b"250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n",
            Remote::Plain => b"250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 go ahead\r\n",
        };
        [commands, b"250 2.0.0 Ok: queued as 4bQw0x1Yz2z9sT7\r\n"]
    }
}

/// One transaction of a session that is ready for it, to its outcome.
pub fn deliver(meter: &mut impl Meter, remote: Remote, bytes: usize) {
    let message = mail::text(bytes);
    let envelope = mail::envelope(mail::recipients(1, 1), message.len() as u64);
    let body = Body::from_message(&message);
    let delivery = Delivery { envelope: &envelope, recipients: &[0], body: &body };
    let mut session = ClientSession::new("relay.example.net", TlsPolicy::Never);
    converse(&mut session, remote.greeting());
    meter.measure(
        || (),
        |()| {
            session.begin(black_box(&delivery));
            converse(&mut session, remote.answers())
        },
        |(written, outcomes)| {
            assert!(*written > message.len(), "the message and the commands around it");
            assert_eq!(outcomes.len(), 1);
            assert_eq!(outcomes[0].1.verdict, Verdict::Delivered, "{:?}", outcomes[0]);
        },
    );
}

/// Answers each flight until the session is ready again. Octets written, and the outcomes.
fn converse(session: &mut ClientSession, answers: [&[u8]; 2]) -> (usize, Vec<(u16, Outcome)>) {
    let mut answers = answers.into_iter();
    let (mut written, mut outcomes, mut input) = (0, Vec::new(), &b""[..]);
    loop {
        match session.step(&mut input) {
            ClientStep::Write(piece) => written += black_box(piece).len(),
            ClientStep::Read(_) => input = black_box(answers.next().expect("all is said")),
            ClientStep::Done(list) => outcomes = list,
            ClientStep::Ready => return (written, outcomes),
            other => panic!("{other:?}"),
        }
    }
}

pub fn reply_line(meter: &mut impl Meter) {
    read_reply(meter, b"250 2.0.0 Ok: queued as 4bQw0x1Yz2z9sT7\r\n", |reply| {
        reply.status == Some(StatusCode::new(2, 0, 0))
    });
}

/// The longest reply that every session reads, and what is made of it.
pub fn reply_ehlo(meter: &mut impl Meter) {
    let words = b"250-mx.example at your service, [192.0.2.17]\r\n250-SIZE 157286400\r\n\
        250-8BITMIME\r\n250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n\
        250-CHUNKING\r\n250-DSN\r\n250 SMTPUTF8\r\n";
    read_reply(meter, words, |reply| {
        let features = Features::parse(&reply.text);
        features.pipelining && features.chunking && features.size == Some(157_286_400)
    });
}

fn read_reply(meter: &mut impl Meter, words: &[u8], is_right: fn(&RemoteReply) -> bool) {
    let mut reader = ReplyReader::new();
    meter.measure(
        || words,
        |mut input| {
            let reply = reader.read(&mut input).expect("a reply").expect("all of it");
            let right = is_right(black_box(&reply));
            (reply, right)
        },
        |(reply, right)| assert!(*right && reply.code == 250, "{reply:?}"),
    );
}

pub fn reply_write(meter: &mut impl Meter) {
    let reply = Reply::fixed(250, StatusCode::new(2, 0, 0), "queued as 14d2pf2dbsqqg");
    meter.measure(
        || Vec::with_capacity(512),
        |mut out: Vec<u8>| {
            black_box(&reply).write(&mut out);
            out
        },
        |out| assert_eq!(out, b"250 2.0.0 queued as 14d2pf2dbsqqg\r\n"),
    );
}
