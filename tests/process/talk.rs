//! A conversation with an SMTP server, a command and its reply at a time.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

pub struct Talk(BufReader<TcpStream>);

impl Talk {
    /// Connects and reads nothing.
    pub fn connect(address: SocketAddr) -> Talk {
        Talk(BufReader::new(TcpStream::connect(address).expect("a server")))
    }

    /// Up to the answer to EHLO.
    pub fn open(address: SocketAddr) -> Talk {
        let mut talk = Talk::connect(address);
        talk.expect("220 ");
        talk.say("EHLO client.test", "250 ");
        talk
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the server still listens");
    }

    /// The last line of the next reply; empty at the end of the stream.
    pub fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Whose last line must begin with this.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(start), "{start:?} was expected, not {reply:?}");
        reply
    }

    #[track_caller]
    pub fn say(&mut self, command: &str, start: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.expect(start)
    }

    /// Envelope and go-ahead of a message.
    #[track_caller]
    pub fn begin(&mut self, from: &str, to: &str) {
        self.say(&format!("MAIL FROM:<{from}>"), "250 ");
        self.say(&format!("RCPT TO:<{to}>"), "250 ");
        self.say("DATA", "354 ");
    }

    /// A whole message of one line; gives its id.
    #[track_caller]
    pub fn mail(&mut self, from: &str, to: &str, subject: &str) -> String {
        self.begin(from, to);
        let reply = self.say(&format!("Subject: {subject}\r\n\r\nhello\r\n."), "250 2.0.0 ");
        reply.rsplit(' ').next().expect("an id").to_owned()
    }
}
