//! A sender: hands its messages to the relay and comes back until each has a final answer.
//!
//! Every try is a submission of its own in the [`Ledger`], and what is known about it is written
//! down at the moment it becomes true: `Unknown` before the last octet leaves, `Accepted` when the
//! 250 is read. Senders differ in [`Habits`]: pipelined or not, DATA or BDAT, in clear, under
//! STARTTLS or from the first octet, with a password or as a declared peer, and in how often they
//! vanish.

use super::executor::{Executor, OUTSIDE};
use super::ledger::{Answer, Ledger, Submission};
use super::mail::{Mail, stuffed};
use super::network::Network;
use super::random::Random;
use super::wire::{Gone, Wire};
use super::world::PASSWORD;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// How long a sender waits for an answer; RFC 5321 4.5.3.2.6 gives ten minutes for the last one.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct Habits {
    pub pipelines: bool,
    /// Sends with BDAT, in so many chunks.
    pub chunks: Option<usize>,
    pub security: Security,
    /// Of a thousand messages, so many are abandoned while they are sent.
    pub vanishes: u64,
    /// Before each session and each message, up to.
    pub pause: Duration,
    /// Waits long within a message, now and then.
    pub drips: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Clear,
    StartTls,
    Implicit,
}

impl Habits {
    /// One message after the other, as fast as they are taken.
    pub fn plain() -> Habits {
        Habits {
            pipelines: false,
            chunks: None,
            security: Security::Clear,
            vanishes: 0,
            pause: Duration::ZERO,
            drips: false,
        }
    }

    pub fn draw(random: &Random, vanishes: u64) -> Habits {
        let securities = [Security::Clear, Security::StartTls, Security::Implicit];
        Habits {
            pipelines: random.permille(500),
            chunks: random.permille(400).then(|| 1 + random.index(5)),
            security: *random.pick(&securities),
            vanishes,
            pause: random.millis(200..10_000),
            drips: random.permille(100),
        }
    }
}

pub struct Sender {
    pub executor: Executor,
    pub network: Network,
    pub ledger: Rc<Ledger>,
    pub random: Random,
    pub address: IpAddr,
    /// Where the relay listens in clear, and under TLS.
    pub relay: [SocketAddr; 2],
    /// Logs in; otherwise the relay knows the address.
    pub account: Option<&'static str>,
    pub habits: Habits,
}

/// What came of a try.
enum Tried {
    /// All is said: accepted, or refused for good.
    Done,
    /// Recipients, or the whole message, are to be tried again.
    Again,
}

impl Sender {
    pub async fn run(self, mails: Vec<Mail>) {
        let mut session = None;
        for mut mail in mails {
            let mut attempt = 0;
            loop {
                attempt += 1;
                self.pause().await;
                let wire = match session.take() {
                    Some(wire) => Ok(wire),
                    None => self.open().await,
                };
                let Ok(mut wire) = wire else { continue };
                match self.submit(&mut wire, &mut mail, attempt).await {
                    Ok(tried) => {
                        session = (!self.random.permille(200)).then_some(wire);
                        if matches!(tried, Tried::Done) {
                            break;
                        }
                    }
                    Err(Gone) => continue,
                }
            }
            self.ledger.settled();
        }
        if let Some(mut wire) = session {
            let _goodbye = wire.ask("QUIT").await;
        }
    }

    async fn pause(&self) {
        let pause = self.random.below(0..self.habits.pause.as_micros() as u64 + 1);
        self.executor.sleep(Duration::from_micros(pause)).await;
    }

    async fn open(&self) -> Result<Wire, Gone> {
        let [clear, implicit] = self.relay;
        let to = if self.habits.security == Security::Implicit { implicit } else { clear };
        let connect = self.network.connect(OUTSIDE, self.address, to);
        let stream = self.executor.within(PATIENCE, connect).await.ok_or(Gone)??;
        let mut wire = Wire::new(self.executor.clone(), stream, PATIENCE);
        if self.habits.security == Security::Implicit {
            wire = wire.secured().await?;
        }
        self.expect(220, wire.reply().await?)?;
        self.expect(250, wire.ask("EHLO sender.test").await?)?;
        if self.habits.security == Security::StartTls {
            self.expect(220, wire.ask("STARTTLS").await?)?;
            wire = wire.secured().await?;
            self.expect(250, wire.ask("EHLO sender.test").await?)?;
        }
        if let Some(account) = self.account {
            let secret = [b"\0", account.as_bytes(), b"\0", PASSWORD].concat();
            let line = format!("AUTH PLAIN {}", BASE64_STANDARD.encode(secret));
            self.expect(235, wire.ask(&line).await?)?;
        }
        Ok(wire)
    }

    /// A relay that is busy or stopping says 4xx here; anything else is a mistake.
    fn expect(&self, wanted: u16, (code, words): (u16, String)) -> Result<(), Gone> {
        if code == wanted {
            return Ok(());
        }
        assert!((400..500).contains(&code), "{wanted} expected, not {code} {words}");
        Err(Gone)
    }

    /// A reply that does not end the session.
    async fn reply(&self, wire: &mut Wire) -> Result<(u16, String), Gone> {
        let (code, words) = wire.reply().await?;
        if code == 421 { Err(Gone) } else { Ok((code, words)) }
    }

    /// One try. Recipients that are answered for leave `mail`.
    async fn submit(&self, wire: &mut Wire, mail: &mut Mail, attempt: u32) -> Result<Tried, Gone> {
        let token = mail.token(attempt);
        let content = mail.content(attempt);
        let submission = Submission {
            sender: mail.sender.clone(),
            notify: mail.notify,
            recipients: Vec::new(),
            content: content.clone(),
            answer: Answer::Cut,
            id: None,
        };
        self.ledger.submit(&token, submission);
        let (taken, again) = match self.envelope(wire, mail, &token).await? {
            ControlFlow::Continue(recipients) => recipients,
            ControlFlow::Break(tried) => return Ok(tried),
        };
        let (code, words) = match self.habits.chunks {
            Some(chunks) => self.chunked(wire, &content, chunks, &token).await?,
            None => self.dotted(wire, &content, &token).await?,
        };
        let answer = match code {
            250 => Answer::Accepted,
            // The disk failed under it: nothing was promised, and what is on it nobody knows.
            451 => Answer::Unknown,
            _ => Answer::Refused,
        };
        let id = words.rsplit(' ').next().filter(|_| code == 250).map(str::to_owned);
        self.ledger.update(&token, |submission| {
            (submission.answer, submission.id) = (answer, id);
        });
        match code {
            250 => {
                mail.recipients.retain(|recipient| !taken.contains(recipient));
                assert_eq!(mail.recipients.len(), again, "{words}");
                Ok(if again == 0 { Tried::Done } else { Tried::Again })
            }
            400..500 => Ok(Tried::Again),
            _ => panic!("a proper message was refused for good: {code} {words}"),
        }
    }

    /// MAIL and the RCPTs, and DATA when it comes to that. Continues with the recipients that were
    /// taken and the number of those that were not.
    async fn envelope(
        &self,
        wire: &mut Wire,
        mail: &Mail,
        token: &str,
    ) -> Result<ControlFlow<Tried, (Vec<String>, usize)>, Gone> {
        let sender = mail.sender.as_deref().unwrap_or("");
        let body = if mail.eight_bit { " BODY=8BITMIME" } else { "" };
        let mut lines = vec![format!("MAIL FROM:<{sender}>{body}")];
        let notify = mail.notify.parameter();
        lines.extend(mail.recipients.iter().map(|to| format!("RCPT TO:<{to}>{notify}")));
        if self.habits.chunks.is_none() {
            lines.push("DATA".into());
        }
        if self.habits.pipelines {
            wire.say(&lines.join("\r\n")).await?;
        }
        let mut taken = Vec::new();
        let mut refused = None;
        for (place, line) in lines.iter().enumerate() {
            if !self.habits.pipelines {
                if line == "DATA" && taken.is_empty() {
                    break;
                }
                wire.say(line).await?;
            }
            let (code, words) = self.reply(wire).await?;
            match (code, place.checked_sub(1).and_then(|at| mail.recipients.get(at))) {
                (250, Some(recipient)) => {
                    taken.push(recipient.clone());
                    self.ledger.update(token, |submission| {
                        submission.recipients.push(recipient.clone());
                    });
                }
                (250 | 354, None) => {}
                // What follows a refused MAIL is out of order, and said to be.
                (400..500, _) => _ = refused.get_or_insert(code),
                (503 | 554, _) if refused.is_some() => {}
                _ => panic!("{line} was answered {code} {words}"),
            }
            if refused.is_some() && place == 0 && !self.habits.pipelines {
                break;
            }
        }
        if taken.is_empty() {
            self.ledger.update(token, |submission| submission.answer = Answer::Refused);
            self.expect(250, wire.ask("RSET").await?)?;
            return Ok(ControlFlow::Break(Tried::Again));
        }
        let again = mail.recipients.len() - taken.len();
        Ok(ControlFlow::Continue((taken, again)))
    }

    async fn dotted(
        &self,
        wire: &mut Wire,
        content: &[u8],
        token: &str,
    ) -> Result<(u16, String), Gone> {
        let octets = [&stuffed(content)[..], b".\r\n"].concat();
        self.send_all(wire, &octets, token).await?;
        self.reply(wire).await
    }

    async fn chunked(
        &self,
        wire: &mut Wire,
        content: &[u8],
        chunks: usize,
        token: &str,
    ) -> Result<(u16, String), Gone> {
        let size = content.len().div_ceil(chunks);
        let mut replies = 0;
        let mut pieces = content.chunks(size).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            let word = if last { " LAST" } else { "" };
            let octets = [format!("BDAT {}{word}\r\n", piece.len()).as_bytes(), piece].concat();
            if last {
                self.send_all(wire, &octets, token).await?;
            } else {
                wire.write(&octets).await?;
            }
            replies += 1;
            while replies > 0 && (last || !self.habits.pipelines) {
                let (code, words) = self.reply(wire).await?;
                replies -= 1;
                if replies == 0 && last || code != 250 {
                    assert!(replies == 0, "a chunk was refused: {code} {words}");
                    return Ok((code, words));
                }
            }
        }
        unreachable!("a message is not empty")
    }

    /// Sends what ends with the last octet of the message, unless the sender vanishes meanwhile.
    async fn send_all(&self, wire: &mut Wire, octets: &[u8], token: &str) -> Result<(), Gone> {
        if self.random.permille(self.habits.vanishes) {
            let part = self.random.index(octets.len());
            wire.write(&octets[..part]).await?;
            return Err(Gone);
        }
        let (most, last) = octets.split_at(octets.len() - 1);
        if self.habits.drips {
            let (first, second) = most.split_at(self.random.index(most.len()));
            wire.write(first).await?;
            self.executor.sleep(self.random.millis(0..20_000)).await;
            wire.write(second).await?;
        } else {
            wire.write(most).await?;
        }
        self.ledger.update(token, |submission| submission.answer = Answer::Unknown);
        wire.write(last).await?;
        if self.random.permille(self.habits.vanishes) {
            return Err(Gone);
        }
        Ok(())
    }
}
