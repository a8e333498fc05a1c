//! The trace field that every relay adds, and the count of those that others added.
//!
//! RFC 5321 4.4 (Received, and that a count of them finds loops: 6.3), RFC 3848 (`with` words).

use crate::message::{MessageId, Protocol, Recipient};
use crate::time::Stamp;
use std::io::Write;
use std::net::IpAddr;

/// What a Received field tells.
#[derive(Debug)]
pub struct Received<'a> {
    pub helo: &'a str,
    pub peer: IpAddr,
    pub hostname: &'a str,
    pub protocol: Protocol,
    pub id: MessageId,
    pub recipients: &'a [Recipient],
    pub at: Stamp,
}

impl Received<'_> {
    /// Appends the field, folded. With one recipient it is named; with several it is not, because one
    /// would read of another (RFC 5321 7.2). Who authenticated is in the log, not in the mail.
    pub fn write(&self, out: &mut Vec<u8>) {
        // The peer's words go into a header: what is not plain in a comment or atom becomes `?`.
        out.extend_from_slice(b"Received: from ");
        if self.helo.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte)) {
            out.extend_from_slice(self.helo.as_bytes());
        } else {
            let helo: String = self.helo.chars().map(plain).collect();
            out.extend_from_slice(helo.as_bytes());
        }
        let (peer, id) = (self.peer, self.id);
        match peer {
            IpAddr::V4(_) => write!(out, " ([{peer}])\r\n\tby "),
            IpAddr::V6(_) => write!(out, " ([IPv6:{peer}])\r\n\tby "),
        }
        .expect("a Vec takes every write");
        out.extend_from_slice(self.hostname.as_bytes());
        out.extend_from_slice(b" with ");
        out.extend_from_slice(self.protocol.as_str().as_bytes());
        write!(out, " id {id}").expect("a Vec takes every write");
        if let [only] = self.recipients
            && only.address.as_str().len() < 200
        {
            out.extend_from_slice(b"\r\n\tfor <");
            out.extend_from_slice(only.address.as_str().as_bytes());
            out.push(b'>');
        }
        out.extend_from_slice(b";\r\n\t");
        out.extend_from_slice(self.at.header_date().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn plain(letter: char) -> char {
    match letter {
        '(' | ')' | '\\' | ';' | '"' | ' ' => '?',
        '!'..='~' => letter,
        // Only an SMTPUTF8 peer can send these, and then the header may hold them.
        _ if !letter.is_ascii() && !letter.is_control() => letter,
        _ => '?',
    }
}

/// How many Received fields a header section has.
pub fn hops(header: &[u8]) -> usize {
    const NAME: &[u8] = b"received:";
    let begins =
        |line: &[u8]| line.len() >= NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME);
    let first = usize::from(begins(header));
    first + memchr::memchr_iter(b'\n', header).filter(|at| begins(&header[at + 1..])).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Address, Notify};

    fn field(helo: &str, recipients: &[&str]) -> String {
        let recipient = |text: &&str| Recipient {
            address: Address::from_checked(*text, text.find('@').unwrap()),
            notify: Notify::Unspecified,
            original: None,
        };
        let recipients: Vec<_> = recipients.iter().map(recipient).collect();
        let mut out = Vec::new();
        Received {
            helo,
            peer: "2001:db8::1".parse().unwrap(),
            hostname: "relay.example.net",
            protocol: Protocol { esmtp: true, tls: true, authenticated: true, utf8: false },
            id: MessageId::from_u64(7),
            recipients: &recipients,
            at: Stamp::from_millis(1_763_900_000_123),
        }
        .write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_a_single_recipient_and_hides_several() {
        assert_eq!(
            field("web1.example", &["a@x.test"]),
            "Received: from web1.example ([IPv6:2001:db8::1])\r\n\
             \tby relay.example.net with ESMTPSA id 0000000000007\r\n\
             \tfor <a@x.test>;\r\n\
             \tSun, 23 Nov 2025 12:13:20 +0000\r\n"
        );
        assert!(!field("web1.example", &["a@x.test", "b@x.test"]).contains("for <"));
    }

    #[test]
    fn a_hostile_helo_stays_inside_its_word() {
        let text = field("x) by fake; \"\\\r\nX-Evil: 1", &["a@x.test"]);
        assert!(text.starts_with("Received: from x??by?fake??"), "{text}");
        assert_eq!(text.matches("\r\n").count(), 4);
    }

    #[test]
    fn counts_fields_not_words() {
        let header =
            b"Received: a\r\n\tReceived: folded\r\nRECEIVED: b\r\nX-Received: c\r\nreceived:d";
        assert_eq!(hops(header), 3);
        assert_eq!(hops(b""), 0);
    }
}
