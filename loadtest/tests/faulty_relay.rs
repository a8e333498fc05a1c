//! [`FaultyRelay`]: an SMTP relay that does one thing wrong, and says to which messages it did.
//!
//! Takes mail, answers 250, and forwards it to a sink: what a load generator is pointed at, with a
//! [`Fault`] that it must find. Messages are counted as they are taken in, from one. Store and
//! forward: the 250 never waits for the sink. PIPELINING and CHUNKING on both sides, a thread per
//! connection in, a few connections out. Checks nothing that a client says and refuses nothing; the
//! sink must take everything.
//!
//! RFC 5321, 2920 (PIPELINING), 3030 (CHUNKING).

#![expect(clippy::disallowed_methods, reason = "a relay that is slow waits on the real clock")]

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Connections to the sink.
const FORWARDERS: usize = 4;
/// Messages that go to the sink in one write.
const BATCH_MAX: usize = 64;
/// Octets of one read.
const READ_BYTES: usize = 64 << 10;

/// What is done wrong. A number is that of a message.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    /// Each message whose number is a multiple of this is answered 250 and forgotten.
    DropEvery(u64),
    DeliverTwice(u64),
    /// One bit in the middle of the body.
    FlipByte(u64),
    /// The last line of the body is missing.
    CutShort(u64),
    /// One bit in the last line of the header.
    FlipHeader(u64),
    /// A line of the header is missing.
    DropHeader(u64),
    /// The message goes out in the name of the sender of the next one, and that one in its.
    SwapSenders(u64),
    /// The body goes under the header of the next message, and that one's under its.
    SwapBodies(u64),
    /// The first recipient's mail goes to somebody whom nobody named.
    WrongRecipient(u64),
    /// Recipients of this domain are accepted and never served, without a notice.
    Discard(&'static str),
    /// From this message on everybody is sent away with 421, at the greeting already.
    Leave(u64),
    /// Delivered so much later.
    Late(u64, Duration),
    /// The relay does nothing at all for so long, once, from when this message has come in.
    Stall(u64, Duration),
    /// The message is delivered, and its sender told that it was not.
    BounceToo(u64),
    /// The message is not delivered, and somebody else told so.
    BounceAstray(u64),
    /// Each message whose number is a multiple of this is refused when it has come.
    RefuseEvery(u64),
    /// Commands of this verb are not answered. If it is RSET, each message is refused at DATA.
    Deaf(&'static str),
}

pub struct FaultyRelay {
    pub address: SocketAddr,
    relay: Arc<Relay>,
}

impl FaultyRelay {
    pub fn start(sink: SocketAddr, fault: Fault) -> FaultyRelay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Arc::new(Relay {
            fault,
            intake: Mutex::default(),
            at_the_door: AtomicU64::new(0),
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        for _ in 0..FORWARDERS {
            let relay = Arc::clone(&relay);
            thread::spawn(move || {
                if let Err(error) = relay.forward(sink) {
                    relay.change(|queue| queue.broken = Some(error.to_string()));
                }
            });
        }
        let accepting = Arc::clone(&relay);
        thread::spawn(move || accept(&listener, &accepting));
        FaultyRelay { address, relay }
    }

    /// Waits until all that was taken in is with the sink, or in the bin.
    pub fn drain(&self) {
        let mut queue = self.relay.queue.lock().unwrap();
        while queue.unfinished > 0 && queue.broken.is_none() {
            queue = self.relay.changed.wait(queue).unwrap();
        }
        assert_eq!(queue.broken, None, "the sink takes everything");
    }

    /// The serials of the messages that came to harm; with the recipient where only he did.
    pub fn harmed(&self) -> Vec<String> {
        self.relay.intake.lock().unwrap().harmed.clone()
    }

    /// Messages that waited for an answer when a stall ended, that which began it included.
    pub fn stalled(&self) -> u64 {
        self.relay.intake.lock().unwrap().stalled
    }
}

impl Drop for FaultyRelay {
    fn drop(&mut self) {
        self.relay.change(|queue| queue.ended = true);
        // The accepting thread looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, relay: &Arc<Relay>) {
    for stream in listener.incoming() {
        if relay.queue.lock().unwrap().ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        let relay = Arc::clone(relay);
        // A connection that ends badly is the client's matter.
        thread::spawn(move || relay.serve(stream));
    }
}

struct Relay {
    fault: Fault,
    /// Held while a message is taken in, so that a stall holds up all of them.
    intake: Mutex<Intake>,
    /// Messages that have come in and are not answered.
    at_the_door: AtomicU64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Intake {
    count: u64,
    harmed: Vec<String>,
    stalled: u64,
    /// Waits for the other body.
    kept: Option<Mail>,
}

#[derive(Default)]
struct Queue {
    mails: VecDeque<Mail>,
    /// Taken in, and not yet with the sink.
    unfinished: usize,
    broken: Option<String>,
    ended: bool,
}

#[derive(Clone, Default)]
struct Mail {
    sender: String,
    recipients: Vec<String>,
    content: Vec<u8>,
}

impl Relay {
    fn serve(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut client = Client {
            input: BufReader::with_capacity(READ_BYTES, stream.try_clone()?),
            replies: Vec::new(),
            stream,
        };
        if self.leaves() {
            client.say("421 4.3.2 leaving");
            return client.flush();
        }
        client.say("220 faulty.test ESMTP");
        let mut mail = Mail::default();
        while let Some(line) = client.line()? {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match (verb.as_str(), self.fault) {
                (verb, Fault::Deaf(unheard)) if verb == unheard => continue,
                ("DATA", Fault::Deaf("RSET")) => {
                    client.say("451 4.3.0 not now");
                    continue;
                }
                _ => {}
            }
            match verb.as_str() {
                "EHLO" => client.say("250-faulty.test\r\n250-PIPELINING\r\n250 CHUNKING"),
                "MAIL" => {
                    mail = Mail { sender: path(&line), ..Mail::default() };
                    client.say("250 2.1.0 ok");
                }
                "RCPT" => {
                    mail.recipients.push(path(&line));
                    client.say("250 2.1.5 ok");
                }
                "DATA" => {
                    client.say("354 go ahead");
                    mail.content = client.dotted()?;
                    if self.leaves() {
                        client.say("421 4.3.2 leaving");
                        return client.flush();
                    }
                    client.say(self.take_in(std::mem::take(&mut mail)));
                }
                "BDAT" => {
                    let octets = line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok());
                    mail.content = client.octets(octets.ok_or(io::ErrorKind::InvalidData)?)?;
                    if self.leaves() {
                        client.say("421 4.3.2 leaving");
                        return client.flush();
                    }
                    client.say(self.take_in(std::mem::take(&mut mail)));
                }
                "QUIT" => {
                    client.say("221 2.0.0 bye");
                    return client.flush();
                }
                _ => client.say("250 2.0.0 as you say"),
            }
        }
        Ok(())
    }

    /// Whether the next message is the first that it does not take.
    fn leaves(&self) -> bool {
        let Fault::Leave(at) = self.fault else {
            return false;
        };
        self.intake.lock().unwrap().count + 1 >= at
    }

    /// Takes a message into the queue, in the way of the fault; returns the reply.
    fn take_in(self: &Arc<Self>, mail: Mail) -> &'static str {
        self.at_the_door.fetch_add(1, Ordering::SeqCst);
        let mut intake = self.intake.lock().unwrap();
        intake.count += 1;
        let reply = match self.fault {
            Fault::RefuseEvery(each) if intake.count.is_multiple_of(each) => {
                intake.harmed.push(mail.serial());
                "554 5.7.1 not this one"
            }
            _ => {
                self.harm(&mut intake, mail);
                "250 2.0.0 taken"
            }
        };
        self.at_the_door.fetch_sub(1, Ordering::SeqCst);
        reply
    }

    fn harm(self: &Arc<Self>, intake: &mut Intake, mut mail: Mail) {
        let number = intake.count;
        let serial = mail.serial();
        match self.fault {
            Fault::DropEvery(each) if number.is_multiple_of(each) => intake.harmed.push(serial),
            Fault::DeliverTwice(at) if at == number => {
                intake.harmed.push(serial);
                self.queue([mail.clone(), mail]);
            }
            Fault::BounceToo(at) if at == number => {
                intake.harmed.push(serial);
                let notice = mail.notice(&mail.sender);
                self.queue([mail, notice]);
            }
            Fault::BounceAstray(at) if at == number => {
                intake.harmed.push(serial);
                self.queue([mail.notice("somebody@else.test")]);
            }
            Fault::FlipHeader(at) if at == number => {
                intake.harmed.push(serial);
                let end = mail.body() - b"\r\n\r\n".len();
                mail.content[end - 1] ^= 1;
                self.queue([mail]);
            }
            Fault::DropHeader(at) if at == number => {
                intake.harmed.push(serial);
                let ends = mail.content.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                let mut starts = ends.map(|(at, _)| at + 1);
                let (second, third) = (starts.next().unwrap(), starts.next().unwrap());
                mail.content.drain(second..third);
                self.queue([mail]);
            }
            Fault::SwapSenders(at) if at == number => {
                intake.harmed.push(serial);
                intake.kept = Some(mail);
            }
            Fault::SwapSenders(at) if at + 1 == number => {
                intake.harmed.push(serial);
                let mut kept = intake.kept.take().unwrap();
                std::mem::swap(&mut kept.sender, &mut mail.sender);
                self.queue([kept, mail]);
            }
            Fault::FlipByte(at) if at == number => {
                intake.harmed.push(serial);
                self.queue([mail.with_flipped_byte()]);
            }
            Fault::CutShort(at) if at == number => {
                intake.harmed.push(serial);
                self.queue([mail.without_last_line()]);
            }
            Fault::SwapBodies(at) if at == number => {
                intake.harmed.push(serial);
                intake.kept = Some(mail);
            }
            Fault::SwapBodies(at) if at + 1 == number => {
                intake.harmed.push(serial);
                let kept = intake.kept.take().unwrap();
                self.queue(with_swapped_bodies(kept, mail));
            }
            Fault::WrongRecipient(at) if at == number => {
                intake.harmed.push(format!("{serial} {}", mail.recipients[0]));
                mail.recipients[0] = "somebody@else.test".to_owned();
                self.queue([mail]);
            }
            Fault::Discard(domain) => {
                let (gone, stay) =
                    mail.recipients.into_iter().partition(|one| one.ends_with(domain));
                mail.recipients = stay;
                let gone: Vec<String> = gone;
                intake.harmed.extend(gone.iter().map(|one| format!("{serial} {one}")));
                if !mail.recipients.is_empty() {
                    self.queue([mail]);
                }
            }
            Fault::Late(at, by) if at == number => {
                intake.harmed.push(serial);
                self.change(|queue| queue.unfinished += 1);
                let relay = Arc::clone(self);
                thread::spawn(move || {
                    thread::sleep(by);
                    relay.change(|queue| queue.mails.push_back(mail));
                });
            }
            Fault::Stall(at, lasting) if at == number => {
                intake.harmed.push(serial);
                thread::sleep(lasting);
                intake.stalled = self.at_the_door.load(Ordering::SeqCst);
                self.queue([mail]);
            }
            _ => self.queue([mail]),
        }
    }

    fn queue<const N: usize>(&self, mails: [Mail; N]) {
        self.change(|queue| {
            queue.unfinished += N;
            queue.mails.extend(mails);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue.lock().unwrap());
        self.changed.notify_all();
    }

    /// Over one connection, until the sink closes it: it may start anew while nothing is under way.
    fn forward(&self, sink: SocketAddr) -> io::Result<()> {
        let mut open: Option<Outgoing> = None;
        while let Some(batch) = self.next_batch() {
            let mut outgoing = match open.take().filter(Outgoing::is_open) {
                Some(outgoing) => outgoing,
                None => Outgoing::open(sink)?,
            };
            outgoing.hand_over(&batch)?;
            open = Some(outgoing);
            self.change(|queue| queue.unfinished -= batch.len());
        }
        Ok(())
    }

    fn next_batch(&self) -> Option<Vec<Mail>> {
        let mut queue = self.queue.lock().unwrap();
        while queue.mails.is_empty() && !queue.ended {
            queue = self.changed.wait(queue).unwrap();
        }
        let count = queue.mails.len().min(BATCH_MAX);
        (count > 0).then(|| queue.mails.drain(..count).collect())
    }
}

/// A connection to the sink.
struct Outgoing {
    input: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Outgoing {
    fn open(sink: SocketAddr) -> io::Result<Outgoing> {
        let mut stream = TcpStream::connect(sink)?;
        stream.set_nodelay(true)?;
        let mut input = BufReader::new(stream.try_clone()?);
        expect(&mut input, "220")?;
        stream.write_all(b"EHLO faulty.test\r\n")?;
        expect(&mut input, "250")?;
        Ok(Outgoing { input, stream })
    }

    /// Between two batches a sink has nothing to say but that it is gone.
    fn is_open(&self) -> bool {
        let looked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let silent = looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        silent && self.stream.set_nonblocking(false).is_ok()
    }

    fn hand_over(&mut self, batch: &[Mail]) -> io::Result<()> {
        let mut output = Vec::new();
        batch.iter().for_each(|mail| mail.print(&mut output));
        self.stream.write_all(&output)?;
        for mail in batch {
            // To MAIL, to each RCPT, to BDAT.
            (0..mail.recipients.len() + 2).try_for_each(|_| expect(&mut self.input, "250"))?;
        }
        Ok(())
    }
}

/// Reads a reply to its last line.
fn expect(input: &mut impl BufRead, code: &str) -> io::Result<()> {
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("the sink says {line:?}")));
        }
        if line.get(3..4) != Some("-") {
            return Ok(());
        }
    }
}

/// What stands in angle brackets.
fn path(line: &str) -> String {
    let start = line.find('<').map_or(0, |at| at + 1);
    line[start..].split('>').next().unwrap_or_default().to_owned()
}

impl Mail {
    /// Where the body begins.
    fn body(&self) -> usize {
        self.content.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4)
    }

    /// What the load generator calls it; its mark is the first line.
    fn serial(&self) -> String {
        let head = String::from_utf8_lossy(&self.content[..self.content.len().min(200)]);
        head.split_ascii_whitespace().nth(1).unwrap_or("-").to_owned()
    }

    /// That none of its recipients got it, for somebody (RFC 3464).
    fn notice(&self, to: &str) -> Mail {
        let status = self.recipients.iter().map(|recipient| {
            format!(
                "\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            )
        });
        let status: String = status.collect();
        let head = String::from_utf8_lossy(&self.content[..self.body()]).into_owned();
        let content = format!(
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\n\r\nIt did not arrive.\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; faulty.test\r\n{status}\r\n\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\n{head}\r\n--b--\r\n"
        );
        let recipients = vec![to.to_owned()];
        Mail { sender: String::new(), recipients, content: content.into_bytes() }
    }

    fn with_flipped_byte(mut self) -> Mail {
        let middle = usize::midpoint(self.body(), self.content.len());
        self.content[middle] ^= 1;
        self
    }

    fn without_last_line(mut self) -> Mail {
        let end = self.content.len() - b"\r\n".len();
        let last = self.content[..end].iter().rposition(|byte| *byte == b'\n').unwrap();
        self.content.truncate(last + 1);
        self
    }

    fn print(&self, output: &mut Vec<u8>) {
        let mut line = |text: String| output.extend_from_slice(text.as_bytes());
        line(format!("MAIL FROM:<{}>\r\n", self.sender));
        self.recipients.iter().for_each(|to| line(format!("RCPT TO:<{to}>\r\n")));
        line(format!("BDAT {} LAST\r\n", self.content.len()));
        output.extend_from_slice(&self.content);
    }
}

fn with_swapped_bodies(mut one: Mail, mut other: Mail) -> [Mail; 2] {
    let (ones, others) = (one.body(), other.body());
    let (ones, others) = (one.content.split_off(ones), other.content.split_off(others));
    one.content.extend(others);
    other.content.extend(ones);
    [one, other]
}

/// A client's connection. Replies wait until all that has come is answered (RFC 2920 3.2).
struct Client {
    input: BufReader<TcpStream>,
    replies: Vec<u8>,
    stream: TcpStream,
}

impl Client {
    fn say(&mut self, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.replies)?;
        self.replies.clear();
        Ok(())
    }

    /// The next line without its end; `None` when the client has left.
    fn line(&mut self) -> io::Result<Option<String>> {
        if !self.input.buffer().contains(&b'\n') {
            self.flush()?;
        }
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        Ok((!line.is_empty()).then_some(text))
    }

    fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if self.input.buffer().len() < count {
            self.flush()?;
        }
        let mut octets = vec![0; count];
        self.input.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// A message by DATA, without its dots.
    fn dotted(&mut self) -> io::Result<Vec<u8>> {
        self.flush()?;
        let mut content = Vec::new();
        loop {
            let start = content.len();
            if self.input.read_until(b'\n', &mut content)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if content[start..] == *b".\r\n" {
                content.truncate(start);
                return Ok(content);
            }
            if content[start] == b'.' {
                content.remove(start);
            }
        }
    }
}
