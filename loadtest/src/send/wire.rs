//! The client half of an SMTP connection: commands out, replies in.
//!
//! Owns the stream and what was read from it but not used. Knows how a connection begins (greeting,
//! `EHLO`, TLS, AUTH), how replies end (RFC 5321 4.2.1) and what the server offers; which command
//! comes next is decided in `transaction.rs`. A reply longer than the buffer, or one that is none,
//! ends the connection. Never takes words from before TLS for words from under it (RFC 3207 4.2).

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use futures_lite::{AsyncWrite, future};
use futures_rustls::TlsConnector;
use glommio::net::TcpStream;
use glommio::timer::sleep;
use memchr::memchr;
use socket2::{Domain, Protocol, Socket, Type};

use super::login::Login;
use super::stream::{Security, Stream};
use crate::kernel;
use crate::loopback::Loopback;
use crate::message::Travels;

/// No reply may be longer (all its lines together).
const REPLY_BYTES_MAX: usize = 16 << 10;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    pub code: u16,
    /// All lines as they came, without the last line's end.
    pub text: &'a [u8],
}

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    Reply { reply: Reply<'a>, bytes: usize },
    Unfinished,
    Garbage,
}

/// What a server offers in answer to `EHLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offers {
    pub pipelining: bool,
    pub chunking: bool,
    pub size: bool,
    pub eight_bit: bool,
    pub smtputf8: bool,
    pub starttls: bool,
    pub auth_plain: bool,
}

/// How to get to a server, and who to be there.
#[derive(Clone, Copy)]
pub struct Approach<'a> {
    pub to: Loopback,
    pub source: Option<Ipv4Addr>,
    pub security: &'a Security,
    pub login: Option<&'a Login>,
}

/// One connection that has been greeted.
pub struct Client {
    stream: Stream,
    input: Box<[u8]>,
    used: usize,
    filled: usize,
    offers: Offers,
}

impl Client {
    /// Connects, waits for the greeting, says `EHLO`; begins TLS and logs in where that is asked.
    pub async fn open(approach: Approach<'_>) -> io::Result<Client> {
        let Approach { to, source, security, login } = approach;
        let tcp = match source {
            None => TcpStream::connect(to.address()).await?,
            Some(source) => connect_from(source, to.address()).await?,
        };
        tcp.set_nodelay(true)?;
        let stream = match security {
            Security::Clear | Security::StartTls(_) => Stream::Clear(tcp),
            Security::Implicit(connector) => Stream::Clear(tcp).secured(connector, to).await?,
        };
        let input = vec![0; REPLY_BYTES_MAX].into_boxed_slice();
        let offers = Offers::default();
        let mut client = Client { stream, input, used: 0, filled: 0, offers };
        client.expect(220, "the greeting").await?;
        client.hello().await?;
        if let Security::StartTls(connector) = security {
            client = client.start_tls(connector, to).await?;
            client.hello().await?;
        }
        if let Some(login) = login {
            client.log_in(login).await?;
        }
        Ok(client)
    }

    async fn hello(&mut self) -> io::Result<()> {
        self.send(b"EHLO load.test\r\n").await?;
        let hello = self.reply().await?;
        let (code, offers) = (hello.code, Offers::read(hello.text));
        self.offers = offers;
        if code == 250 { Ok(()) } else { Err(refused("EHLO", code)) }
    }

    async fn start_tls(mut self, connector: &TlsConnector, to: Loopback) -> io::Result<Client> {
        if !self.offers.starttls {
            return Err(io::Error::other("it does not offer STARTTLS"));
        }
        self.send(b"STARTTLS\r\n").await?;
        self.expect(220, "STARTTLS").await?;
        if self.used != self.filled {
            return Err(io::Error::other("it said more in clear text after STARTTLS"));
        }
        let stream = self.stream.secured(connector, to).await?;
        Ok(Client { stream, ..self })
    }

    async fn log_in(&mut self, login: &Login) -> io::Result<()> {
        if !self.offers.auth_plain {
            return Err(io::Error::other("it does not offer AUTH PLAIN"));
        }
        self.send(login.command().as_bytes()).await?;
        self.expect(235, "AUTH").await
    }

    async fn expect(&mut self, code: u16, what: &str) -> io::Result<()> {
        let reply = self.reply().await?.code;
        if reply == code { Ok(()) } else { Err(refused(what, reply)) }
    }

    pub fn offers(&self) -> Offers {
        self.offers
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(bytes).await
    }

    /// The next reply, which stays valid until the next call.
    pub async fn reply(&mut self) -> io::Result<Reply<'_>> {
        let bytes = loop {
            match parse(&self.input[self.used..self.filled]) {
                Parsed::Reply { bytes, .. } => break bytes,
                Parsed::Garbage => return Err(io::ErrorKind::InvalidData.into()),
                Parsed::Unfinished => self.fill().await?,
            }
        };
        let start = self.used;
        self.used += bytes;
        match parse(&self.input[start..self.used]) {
            Parsed::Reply { reply, .. } => Ok(reply),
            Parsed::Unfinished | Parsed::Garbage => unreachable!("these bytes were a reply above"),
        }
    }

    /// Ends politely; whether the server still answers does not matter, nor does it after `max`.
    pub async fn quit(mut self, max: Duration) {
        let parting = async {
            let _ = self.send(b"QUIT\r\n").await;
            let _ = self.reply().await;
        };
        let too_late = async {
            sleep(max).await;
        };
        future::or(parting, too_late).await;
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let room = &mut self.input[self.filled..];
        if room.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match poll_fn(|cx| self.stream.poll_read(cx, room)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.filled += bytes;
                Ok(())
            }
        }
    }
}

/// Codes only: words of a peer do not belong on a terminal.
fn refused(what: &str, code: u16) -> io::Error {
    let words = format!("it answered {what} with {code}");
    io::Error::new(io::ErrorKind::ConnectionRefused, words)
}

/// glommio has no way to bind before it connects.
async fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut stream = kernel::adopt_stream(socket);
    // Writable means connected, or refused, which the writing reports.
    poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &[])).await?;
    Ok(stream)
}

impl Offers {
    fn read(hello: &[u8]) -> Offers {
        let mut offers = Offers::default();
        for line in hello.split(|byte| *byte == b'\n').skip(1) {
            let line = line.get(4..).unwrap_or_default().trim_ascii_end().to_ascii_uppercase();
            let mut words = line.split(|byte| *byte == b' ');
            match words.next().unwrap_or_default() {
                b"PIPELINING" => offers.pipelining = true,
                b"CHUNKING" => offers.chunking = true,
                b"SIZE" => offers.size = true,
                b"8BITMIME" => offers.eight_bit = true,
                b"SMTPUTF8" => offers.smtputf8 = true,
                b"STARTTLS" => offers.starttls = true,
                b"AUTH" => offers.auth_plain |= words.any(|word| word == b"PLAIN"),
                _ => {}
            }
        }
        offers
    }

    /// The most that a message may ask for.
    pub fn travels(self) -> Travels {
        match (self.eight_bit, self.smtputf8) {
            (false, _) => Travels::SevenBit,
            (true, false) => Travels::EightBit,
            (true, true) => Travels::International,
        }
    }
}

/// Finds a reply at the start of `input`.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let mut start = 0;
    loop {
        let Some(length) = memchr(b'\n', &input[start..]) else {
            return Parsed::Unfinished;
        };
        let line = &input[start..start + length];
        let code = line.get(..3).and_then(|code| str::from_utf8(code).ok());
        let Some(code) = code.and_then(|code| code.parse().ok()).filter(|code| *code >= 200) else {
            return Parsed::Garbage;
        };
        let bytes = start + length + 1;
        match line.get(3) {
            Some(b'-') => start = bytes,
            Some(b' ' | b'\r') | None => {
                let text = input[..bytes].trim_ascii_end();
                return Parsed::Reply { reply: Reply { code, text }, bytes };
            }
            Some(_) => return Parsed::Garbage,
        }
    }
}

/// Adds `line` and CRLF to a buffer.
pub fn push_line(buffer: &mut Vec<u8>, line: std::fmt::Arguments<'_>) {
    buffer.write_fmt(line).expect("writing to memory does not fail");
    buffer.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_found_at_its_last_byte() {
        let input = b"250-a.test\r\n250-SIZE 10\r\n250 PIPELINING\r\n354 go\r\n";
        let first = input.len() - 8;
        for end in 0..first {
            assert_eq!(parse(&input[..end]), Parsed::Unfinished, "{end}");
        }
        for end in first..input.len() {
            let reply = Reply { code: 250, text: &input[..first - 2] };
            assert_eq!(parse(&input[..end]), Parsed::Reply { reply, bytes: first });
        }
    }

    #[test]
    fn odd_replies_are_taken_and_others_are_not() {
        for good in ["250\r\n", "250 \r\n", "250 ok\n", "599 x\r\n"] {
            assert!(matches!(parse(good.as_bytes()), Parsed::Reply { .. }), "{good:?}");
        }
        for bad in ["\r\n", "25\r\n", "abc\r\n", "250x\r\n", "100 x\r\n", "+25 x\r\n"] {
            assert_eq!(parse(bad.as_bytes()), Parsed::Garbage, "{bad:?}");
        }
    }

    #[test]
    fn offers_are_words_of_their_own_lines() {
        let hello = b"250-CHUNKING.test\r\n250-size 5\r\n250 PIPELINING";
        let offers = Offers { pipelining: true, size: true, ..Offers::default() };
        assert_eq!(Offers::read(hello), offers);
        let hello =
            b"250-a\r\n250-AUTH LOGIN plain\r\n250-StartTLS\r\n250-8BITMIME\r\n250 SMTPUTF8";
        let offers = Offers::read(hello);
        assert!(offers.auth_plain && offers.starttls && !offers.chunking);
        assert_eq!(offers.travels(), Travels::International);
        assert!(!Offers::read(b"250-a\r\n250 AUTH XPLAIN PLAINER").auth_plain);
    }

    #[test]
    fn utf8_needs_eight_bits() {
        let travels = |hello: &[u8]| Offers::read(hello).travels();
        assert_eq!(travels(b"250-a\r\n250 SMTPUTF8"), Travels::SevenBit);
        assert_eq!(travels(b"250-a\r\n250 8BITMIME"), Travels::EightBit);
    }
}
