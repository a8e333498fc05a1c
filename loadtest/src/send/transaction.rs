//! One message over one connection: the order of commands and replies.
//!
//! Decides what goes into one write (RFC 2920) and what a refusal on the way means for the rest. It
//! returns when the final reply is read, or with the error that ended the connection; keeping books
//! and time is the caller's, but for the one moment only this file sees: when the end of the
//! message goes out.

use std::io;
use std::time::Instant;

use super::wire::{Client, Reply, push_line};
use crate::message::{Framing, Mail, Travels};

/// Whether commands wait for each other's replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Lockstep,
    Pipelined,
}

/// Buffers and results of the transaction under way, kept between messages.
#[derive(Default)]
pub struct Transaction {
    output: Vec<u8>,
    /// The answer to each recipient, in order.
    pub codes: Vec<u16>,
    /// The first reply of this transaction that was no success.
    pub refusal: Vec<u8>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The reply that decided: the final one, or an earlier refusal of the whole message.
    pub code: u16,
    /// When the last byte of the message was about to be written; absent when it never was.
    pub offered: Option<Instant>,
    left: Left,
}

/// What the server was left with. A final dot closes the transaction whatever its reply; a refused
/// `DATA` leaves it open, and a refused `BDAT` in doubt (RFC 3030 2). The next `MAIL` would then be
/// refused, and its `RCPT`s added to the old envelope: a message under another's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Closed,
    Open,
}

impl Transaction {
    /// Sends `mail`; an error means that the connection is of no further use.
    pub async fn run(
        &mut self,
        client: &mut Client,
        mail: &Mail,
        framing: Framing,
        pace: Pace,
    ) -> io::Result<Ended> {
        self.codes.clear();
        self.refusal.clear();
        match (pace, framing) {
            (Pace::Pipelined, Framing::Chunk) => self.all_at_once(client, mail).await,
            (Pace::Pipelined, Framing::Dots) => self.two_groups(client, mail).await,
            (Pace::Lockstep, _) => self.lockstep(client, mail, framing).await,
        }
    }

    /// Makes the connection ready for the next message. Not a part of `run`, because an error here
    /// takes nothing from the reply that was read.
    pub async fn close(&mut self, client: &mut Client, ended: Ended) -> io::Result<()> {
        match ended.left {
            Left::Open if ended.code != 421 => {
                self.output.clear();
                self.output.extend_from_slice(b"RSET\r\n");
                self.ask(client).await.map(|_| ())
            }
            Left::Open | Left::Closed => Ok(()),
        }
    }

    /// Commands and message in one write.
    async fn all_at_once(&mut self, client: &mut Client, mail: &Mail) -> io::Result<Ended> {
        self.start(client, mail);
        for recipient in &mail.recipients {
            push_line(&mut self.output, format_args!("RCPT TO:<{recipient}>"));
        }
        self.push_chunk(mail);
        let offered = Some(Instant::now());
        client.send(&self.output).await?;
        let sender = self.note(client.reply().await?);
        self.read_recipients(client, mail).await?;
        let last = self.note(client.reply().await?);
        let left = if is_success(last) { Left::Closed } else { Left::Open };
        Ok(Ended { code: self.deciding(sender, last), offered, left })
    }

    /// Commands up to `DATA` in one write, the message in the next.
    async fn two_groups(&mut self, client: &mut Client, mail: &Mail) -> io::Result<Ended> {
        self.start(client, mail);
        for recipient in &mail.recipients {
            push_line(&mut self.output, format_args!("RCPT TO:<{recipient}>"));
        }
        self.output.extend_from_slice(b"DATA\r\n");
        client.send(&self.output).await?;
        let sender = self.note(client.reply().await?);
        self.read_recipients(client, mail).await?;
        let go = self.note(client.reply().await?);
        if go != 354 {
            let code = self.deciding(sender, go);
            return Ok(Ended { code, offered: None, left: Left::Open });
        }
        if self.has_recipient() {
            return self.offer(client, &mail.content).await;
        }
        // The server wants a message for nobody; RFC 2920 3.1 has the client send an empty one.
        client.send(b".\r\n").await?;
        let last = self.note(client.reply().await?);
        Ok(Ended { code: self.deciding(sender, last), offered: None, left: Left::Closed })
    }

    async fn lockstep(
        &mut self,
        client: &mut Client,
        mail: &Mail,
        framing: Framing,
    ) -> io::Result<Ended> {
        self.start(client, mail);
        let sender = self.ask(client).await?;
        if !is_success(sender) {
            return Ok(Ended { code: sender, offered: None, left: Left::Closed });
        }
        for recipient in &mail.recipients {
            push_line(&mut self.output, format_args!("RCPT TO:<{recipient}>"));
            let code = self.ask(client).await?;
            self.codes.push(code);
        }
        if !self.has_recipient() {
            let code = self.codes[0];
            return Ok(Ended { code, offered: None, left: Left::Open });
        }
        match framing {
            Framing::Chunk => {
                self.push_chunk(mail);
                let offered = Some(Instant::now());
                let code = self.ask(client).await?;
                let left = if is_success(code) { Left::Closed } else { Left::Open };
                Ok(Ended { code, offered, left })
            }
            Framing::Dots => {
                self.output.extend_from_slice(b"DATA\r\n");
                match self.ask(client).await? {
                    354 => self.offer(client, &mail.content).await,
                    code => Ok(Ended { code, offered: None, left: Left::Open }),
                }
            }
        }
    }

    fn start(&mut self, client: &Client, mail: &Mail) {
        self.output.clear();
        let (sender, bytes) = (&mail.sender, mail.content_bytes);
        let travels = match mail.travels {
            Travels::SevenBit => "",
            Travels::EightBit => " BODY=8BITMIME",
            Travels::International => " BODY=8BITMIME SMTPUTF8",
        };
        if client.offers().size {
            push_line(&mut self.output, format_args!("MAIL FROM:<{sender}> SIZE={bytes}{travels}"));
        } else {
            push_line(&mut self.output, format_args!("MAIL FROM:<{sender}>{travels}"));
        }
    }

    fn push_chunk(&mut self, mail: &Mail) {
        push_line(&mut self.output, format_args!("BDAT {} LAST", mail.content.len()));
        self.output.extend_from_slice(&mail.content);
    }

    /// Writes what is in `output` and returns the code of the one reply to it.
    async fn ask(&mut self, client: &mut Client) -> io::Result<u16> {
        client.send(&self.output).await?;
        self.output.clear();
        Ok(self.note(client.reply().await?))
    }

    async fn offer(&mut self, client: &mut Client, content: &[u8]) -> io::Result<Ended> {
        let offered = Some(Instant::now());
        client.send(content).await?;
        let code = self.note(client.reply().await?);
        Ok(Ended { code, offered, left: Left::Closed })
    }

    async fn read_recipients(&mut self, client: &mut Client, mail: &Mail) -> io::Result<()> {
        for _ in &mail.recipients {
            let code = self.note(client.reply().await?);
            self.codes.push(code);
        }
        Ok(())
    }

    /// Keeps the words of the first refusal.
    fn note(&mut self, reply: Reply<'_>) -> u16 {
        if reply.code >= 400 && self.refusal.is_empty() {
            self.refusal.extend_from_slice(reply.text);
        }
        reply.code
    }

    fn has_recipient(&self) -> bool {
        self.codes.iter().any(|code| is_success(*code))
    }

    /// The code that decided over a message whose commands went out together: the first that left
    /// it without a sender or without recipients, since what follows is refused only for that.
    fn deciding(&self, sender: u16, last: u16) -> u16 {
        match self.codes.first() {
            _ if !is_success(sender) => sender,
            Some(first) if !self.has_recipient() => *first,
            Some(_) | None => last,
        }
    }
}

pub fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}
