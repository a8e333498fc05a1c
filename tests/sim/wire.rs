//! Lines over a simulated stream, for the actors of the test.
//!
//! Their own small reader and writer, not the product's: what both ends got wrong in the same way
//! would otherwise pass. Every wait has a limit, because the other side may be gone for good.
//! A line or reply that breaks the grammar of SMTP is a mistake of the relay and panics.

use super::executor::Executor;
use super::network::SimStream;
use super::pipe::Mark;
use baton::shard::world::{Stream, TlsTrust};
use std::future::poll_fn;
use std::io;
use std::time::Duration;

/// The other side is gone, or as good as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Gone
    }
}

pub struct Wire {
    executor: Executor,
    stream: SimStream,
    input: Vec<u8>,
    patience: Duration,
}

impl Wire {
    pub fn new(executor: Executor, stream: SimStream, patience: Duration) -> Self {
        Wire { executor, stream, input: Vec::new(), patience }
    }

    /// What was read and not asked for.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    pub fn mark(&self) -> Mark {
        self.stream.mark()
    }

    /// A line without its end.
    pub async fn line(&mut self) -> Result<String, Gone> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").expect("lines of SMTP end in CRLF");
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            self.more().await?;
        }
    }

    /// A whole reply: its code and its words.
    pub async fn reply(&mut self) -> Result<(u16, String), Gone> {
        let mut words = String::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.unwrap_or_else(|| panic!("not a reply: {line:?}"));
            words.push_str(line.get(4..).unwrap_or(""));
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, words));
            }
            words.push('\n');
        }
    }

    pub async fn octets(&mut self, count: usize) -> Result<Vec<u8>, Gone> {
        while self.input.len() < count {
            self.more().await?;
        }
        Ok(self.input.drain(..count).collect())
    }

    /// Everything up to the lone dot, unstuffed.
    pub async fn dotted(&mut self) -> Result<Vec<u8>, Gone> {
        let mut from = 0;
        let end = loop {
            if self.input.starts_with(b".\r\n") {
                break 0;
            }
            let found = self.input[from..].windows(5).position(|five| five == b"\r\n.\r\n");
            if let Some(at) = found {
                break from + at + 2;
            }
            from = self.input.len().saturating_sub(4);
            self.more().await?;
        };
        let stuffed: Vec<u8> = self.input.drain(..end + 3).take(end).collect();
        let lines = stuffed.split_inclusive(|&octet| octet == b'\n');
        Ok(lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect())
    }

    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Gone> {
        let mut sent = 0;
        while sent < octets.len() {
            let stream = &mut self.stream;
            let write = poll_fn(|cx| stream.poll_write(cx, &octets[sent..]));
            sent += self.executor.within(self.patience, write).await.ok_or(Gone)??;
        }
        Ok(())
    }

    pub async fn say(&mut self, line: &str) -> Result<(), Gone> {
        self.write(format!("{line}\r\n").as_bytes()).await
    }

    pub async fn ask(&mut self, line: &str) -> Result<(u16, String), Gone> {
        self.say(line).await?;
        self.reply().await
    }

    pub async fn close(&mut self) {
        // Cannot wait, and nobody is told when it fails.
        let _closed = poll_fn(|cx| self.stream.poll_close(cx)).await;
    }

    pub async fn secured(self) -> Result<Wire, Gone> {
        assert!(self.input.is_empty(), "a server says nothing between 220 and the handshake");
        let Wire { executor, stream, patience, .. } = self;
        let handshake = stream.connect_tls("relay.test", TlsTrust::Any);
        let stream = executor.within(patience, handshake).await.ok_or(Gone)??;
        Ok(Wire::new(executor, stream, patience))
    }

    /// The server's side of it.
    pub async fn accept_tls(self) -> Result<Wire, Gone> {
        if !self.input.is_empty() {
            return Err(Gone);
        }
        let Wire { executor, stream, patience, .. } = self;
        let stream = executor.within(patience, stream.accept_tls(0)).await.ok_or(Gone)??;
        Ok(Wire::new(executor, stream, patience))
    }

    async fn more(&mut self) -> Result<(), Gone> {
        let mut piece = [0; 4_096];
        let stream = &mut self.stream;
        let read = poll_fn(|cx| stream.poll_read(cx, &mut piece));
        match self.executor.within(self.patience, read).await.ok_or(Gone)?? {
            0 => Err(Gone),
            count => {
                self.input.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }
}
