//! A correct remote that decides at random, to compare what it decided with what baton concluded.
//!
//! It follows RFC 5321, 2920 and 3030 to the letter: parses each command when its turn comes,
//! undoes the dots, counts the octets of BDAT, and fails the test when baton says more than may
//! share a flight. It accepts, refuses, drops the connection with or without 421, and forgets
//! replies, each at random from the seed, and keeps a ledger of what it took.

use crate::outbound::random;
use baton::message::{
    Address, Body, BodyKind, Envelope, MessageId, Notify, Origin, Protocol, Recipient, ReversePath,
    SenderId, Stage, Verdict,
};
use baton::smtp::client::{ClientSession, Delivery, Lost, Step, TlsPolicy};
use baton::time::Stamp;

const TRANSACTIONS: usize = 4;

struct Remote {
    seed: u64,
    pipelining: bool,
    chunking: bool,
    heard: Vec<u8>,
    says: Vec<u8>,
    phase: Phase,
    mail: bool,
    recipients: Vec<u16>,
    hung_up: bool,
    /// What it took, and whether its yes was sent.
    taken: Option<Taken>,
    /// Its answer to each RCPT of this transaction.
    rcpt_codes: Vec<(u16, u16)>,
}

struct Taken {
    recipients: Vec<u16>,
    message: Vec<u8>,
    confirmed: bool,
}

enum Phase {
    Commands,
    Data,
    Chunk(usize),
}

impl Remote {
    fn new(mut seed: u64) -> Self {
        let features = random(&mut seed);
        Remote {
            seed,
            pipelining: features & 1 == 0,
            chunking: features & 2 == 0,
            heard: Vec::new(),
            says: b"220 model\r\n".to_vec(),
            phase: Phase::Commands,
            mail: false,
            recipients: Vec::new(),
            hung_up: false,
            taken: None,
            rcpt_codes: Vec::new(),
        }
    }

    fn one_in(&mut self, odds: u64) -> bool {
        random(&mut self.seed).is_multiple_of(odds)
    }

    fn say(&mut self, code: u16) -> u16 {
        self.says.extend_from_slice(format!("{code} model\r\n").as_bytes());
        code
    }

    /// A positive code, or now and then a refusal; 421 hangs up.
    fn decide(&mut self, yes: u16) -> u16 {
        let code = match random(&mut self.seed) % 20 {
            0 | 1 => 550,
            2 | 3 => 450,
            4 if self.one_in(4) => 421,
            _ => yes,
        };
        self.hung_up |= code == 421;
        self.say(code)
    }

    fn hear(&mut self, octets: &[u8]) {
        self.heard.extend_from_slice(octets);
        while !self.hung_up && self.advance() {}
    }

    fn advance(&mut self) -> bool {
        match self.phase {
            Phase::Commands => {
                let Some(end) = self.heard.windows(2).position(|two| two == b"\r\n") else {
                    return false;
                };
                assert!(self.pipelining || self.says.is_empty(), "one command at a time");
                let line: Vec<u8> = self.heard.drain(..end + 2).collect();
                self.command(std::str::from_utf8(&line[..end]).expect("commands are ASCII here"));
            }
            Phase::Data => {
                let Some(message) = undotted(&mut self.heard) else { return false };
                self.phase = Phase::Commands;
                self.finish(message);
            }
            Phase::Chunk(octets) => {
                if self.heard.len() < octets {
                    return false;
                }
                let message = self.heard.drain(..octets).collect();
                self.phase = Phase::Commands;
                self.finish(message);
            }
        }
        true
    }

    fn command(&mut self, line: &str) {
        match line.split([' ', ':']).next().unwrap_or("") {
            "EHLO" => {
                let mut words = String::from("250-model\r\n");
                for (offered, word) in
                    [(self.pipelining, "PIPELINING"), (self.chunking, "CHUNKING")]
                {
                    words.push_str(&if offered {
                        format!("250-{word}\r\n")
                    } else {
                        String::new()
                    });
                }
                self.says.extend_from_slice(words.as_bytes());
                self.say(250);
            }
            "RSET" => {
                self.reset();
                self.say(250);
            }
            "MAIL" => {
                assert!(!self.mail, "no MAIL within a transaction");
                self.mail = self.decide(250) == 250;
            }
            "RCPT" => {
                let digits: String = line.chars().filter(char::is_ascii_digit).collect();
                let position = digits.parse().expect("the local part is a number");
                let code = if self.mail { self.decide(250) } else { self.say(503) };
                self.rcpt_codes.push((position, code));
                if code == 250 {
                    self.recipients.push(position);
                }
            }
            "DATA" => self.data(),
            "BDAT" => {
                let octets = line.split(' ').nth(1).and_then(|word| word.parse().ok());
                assert!(self.chunking && line.ends_with(" LAST"));
                self.phase = Phase::Chunk(octets.expect("BDAT names its octets"));
            }
            "QUIT" => {
                self.say(221);
                self.hung_up = true;
            }
            _ => panic!("baton says {line:?}"),
        }
    }

    fn data(&mut self) {
        assert!(self.heard.is_empty(), "nothing follows DATA before 354");
        assert!(!self.chunking, "CHUNKING was offered");
        let invites_nobody = self.one_in(2);
        if self.recipients.is_empty() && !invites_nobody {
            self.say(503);
        } else if self.recipients.is_empty() || self.decide(354) == 354 {
            if self.recipients.is_empty() {
                self.say(354);
            }
            self.phase = Phase::Data;
        }
    }

    fn finish(&mut self, message: Vec<u8>) {
        let recipients = std::mem::take(&mut self.recipients);
        if recipients.is_empty() {
            self.say(554);
            return;
        }
        let silent = self.one_in(12);
        let code = if silent { 250 } else { self.decide(250) };
        self.hung_up |= silent;
        if code == 250 {
            self.taken = Some(Taken { recipients, message, confirmed: !silent });
            self.mail = false;
        }
    }

    fn reset(&mut self) {
        self.mail = false;
        self.recipients.clear();
    }
}

/// Takes a whole message and its final dot off `heard` (RFC 5321 4.5.2).
fn undotted(heard: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut at = 0;
    loop {
        let end = at + heard[at..].windows(2).position(|two| two == b"\r\n")? + 2;
        let line = &heard[at..end];
        if line == b".\r\n" {
            heard.drain(..end);
            return Some(message);
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        at = end;
    }
}

/// One connection: a few transactions, each compared with the remote's ledger.
pub fn converse(seed: u64) {
    let mut dice = seed;
    let mut remote = Remote::new(seed ^ 0x5EED);
    let mut session = ClientSession::new("relay.test", TlsPolicy::WhenOffered);
    let mut arrived = Vec::new();
    let (mut begun, mut current) = (0, None::<(Envelope, Body)>);
    loop {
        let mut input = arrived.as_slice();
        let step = session.step(&mut input);
        let remaining = input.len();
        match step {
            Step::Write(piece) => remote.hear(piece),
            Step::Read(wait) if remote.says.is_empty() => {
                assert!(remote.hung_up, "seed {seed}: both sides wait ({wait:?})");
                session.lost(&Lost::Closed);
            }
            Step::Read(_) => {
                let count = 1 + random(&mut dice) as usize % remote.says.len();
                arrived = remote.says.drain(..count).collect();
                continue;
            }
            Step::StartTls => panic!("seed {seed}: it was not offered"),
            Step::Ready if begun == TRANSACTIONS => session.quit(),
            Step::Ready => {
                begun += 1;
                remote.taken = None;
                remote.rcpt_codes.clear();
                let (envelope, body) = current.insert(message(&mut dice));
                let everyone: Vec<u16> = (0..envelope.recipients.len() as u16).collect();
                session.begin(&Delivery { envelope, recipients: &everyone, body });
            }
            Step::Done(outcomes) => {
                let (_, body) = current.take().expect("a transaction is under way");
                agree(seed, &remote, &outcomes, &body);
            }
            Step::Stale => assert!(begun > 1 && current.take().is_some()),
            Step::Closed(_) => assert!(current.is_none()),
            Step::Over => return,
        }
        arrived.drain(..arrived.len() - remaining);
    }
}

fn agree(seed: u64, remote: &Remote, outcomes: &[(u16, baton::message::Outcome)], body: &Body) {
    let taken = remote.taken.as_ref();
    for (position, outcome) in outcomes {
        let took = taken.filter(|taken| taken.recipients.contains(position));
        let expected = took.is_some_and(|taken| taken.confirmed);
        let delivered = outcome.verdict == Verdict::Delivered;
        assert_eq!(delivered, expected, "seed {seed}: recipient {position}, {outcome:?}");
        if took.is_some_and(|taken| !taken.confirmed) {
            let seen = (outcome.verdict, outcome.stage);
            assert_eq!(seen, (Verdict::Transient, Stage::Final), "seed {seed}: {outcome:?}");
        }
        let own = remote.rcpt_codes.iter().find(|(at, _)| at == position).map(|(_, code)| *code);
        if let Some(code @ (450 | 550)) = own {
            let verdict = if code == 550 { Verdict::Permanent } else { Verdict::Transient };
            assert_eq!((outcome.verdict, outcome.stage), (verdict, Stage::Rcpt), "seed {seed}");
        }
    }
    if let Some(taken) = taken {
        assert!(taken.message == body.message(), "seed {seed}: another message arrived");
    }
}

/// Lines of dots and letters, mostly few of them, to mostly few recipients.
fn message(dice: &mut u64) -> (Envelope, Body) {
    let lines = match random(dice) % 8 {
        0 => random(dice) % 20_000,
        _ => random(dice) % 20,
    };
    let mut text = String::new();
    for _ in 0..lines {
        let line = ["", ".", "..", ".a", "b.", "Subject: plain words, no dot in front"];
        text.push_str(line[random(dice) as usize % line.len()]);
        text.push_str("\r\n");
    }
    let recipients = match random(dice) % 16 {
        0 => 1 + random(dice) % 600,
        _ => 1 + random(dice) % 5,
    };
    let address = |number: u64| {
        let text = format!("u{number}@b.test");
        let at = text.len() - "@b.test".len();
        Address::from_checked(text, at)
    };
    let recipient = |number| Recipient {
        address: address(number),
        notify: Notify::Unspecified,
        original: None,
    };
    let body = Body::from_message(text.as_bytes());
    let envelope = Envelope {
        id: MessageId::from_u64(1),
        received: Stamp::from_millis(0),
        sender: ReversePath::Null,
        sender_id: SenderId::new("acme", "account", "acme"),
        recipients: (0..recipients).map(recipient).collect(),
        body: BodyKind::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        origin: Origin {
            peer: [127, 0, 0, 1].into(),
            helo: "client.test".into(),
            protocol: Protocol::default(),
            account: "acme".into(),
        },
        size: text.len() as u64,
    };
    (envelope, body)
}
