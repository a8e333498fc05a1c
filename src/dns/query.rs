//! Questions, and the packets that ask them.
//!
//! A [`Question`] holds a valid name in lower case, so that equal questions are equal values. A
//! [`Query`] is one question as it was sent once: with an id and a pattern of letter case drawn at
//! random, which a forger who does not see the query has to guess (RFC 5452 9, and the technique
//! known as 0x20). The random port, which is worth as much again, is the world's part.
//!
//! Decides what is asked with: recursion, EDNS with [`EDNS_BYTES_MAX`], authentic data when wanted.
//! Never asks with a search domain: names are absolute.

use hickory_proto::op::{Edns as Extensions, Message, MessageType, OpCode};
use hickory_proto::rr::{Name, RecordType};
use std::fmt;

/// Octets of an answer that a server may send over UDP: what passes every usual path in one piece
/// (the value that DNS Flag Day 2020 recommends). What is larger comes over TCP.
pub const EDNS_BYTES_MAX: usize = 1_232;

/// Octets of a name as text without its last dot (RFC 1035 2.3.4: 255 on the wire).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Mx,
    A,
    Aaaa,
    Txt,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Mx => "MX",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Txt => "TXT",
        }
    }

    pub(super) fn record_type(self) -> RecordType {
        match self {
            Kind::Mx => RecordType::MX,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Txt => RecordType::TXT,
        }
    }
}

/// The text cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a domain name; allowed: labels of 1 to {LABEL_BYTES_MAX} letters, digits, - and _, \
             {NAME_BYTES_MAX} octets in all"
        )
    }
}

impl std::error::Error for BadName {}

/// What can be asked, once: a name and a kind of record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Question {
    name: Box<str>,
    kind: Kind,
}

impl Question {
    /// `name` in any case, with or without its last dot.
    ///
    /// # Errors
    /// When no such name can be in the DNS, or none that mail has a use for. Underscores pass:
    /// policies are published under them (`_dmarc`).
    pub fn new(name: &str, kind: Kind) -> Result<Question, BadName> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let short = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if short && name.split('.').all(is_label) {
            return Ok(Question { name: name.to_ascii_lowercase().into(), kind });
        }
        Err(BadName)
    }

    /// In lower case, without the last dot.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind.as_str(), self.name)
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn is_label(label: &str) -> bool {
    let known = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(known)
}

/// Whether a host may be called so: a valid name that cannot be mistaken for an address, which is
/// one whose last label is not all digits (RFC 1123 2.1, RFC 3696 2).
pub fn is_host_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or("");
    Question::new(name, Kind::A).is_ok()
        && !name.ends_with('.')
        && !last.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether a query carries the extensions of RFC 6891.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edns {
    /// With the AD bit set when `authentic`: "tell me whether you validated this" (RFC 6840 5.7).
    With { authentic: bool },
    /// For servers that refuse or do not understand them.
    Without,
}

/// One question as it was sent once.
pub struct Query {
    pub(super) question: Question,
    pub(super) id: u16,
    /// The name with its letters in the case in which they were sent.
    pub(super) name: Name,
    /// Whether an AD bit of the answer means anything.
    pub(super) authentic: bool,
    packet: Vec<u8>,
}

impl Query {
    /// `random` is drawn anew for each query, from what a stranger cannot foresee.
    pub fn new(question: Question, edns: Edns, random: [u64; 2]) -> Query {
        let [id, mut letters] = random;
        let id = (id >> 16) as u16;
        let mut cased = |octet: u8| {
            let upper = letters & 1 == 1;
            // A long name uses the bits again: 64 of them are as good as any number.
            letters = letters.rotate_right(1);
            if upper { octet.to_ascii_uppercase() } else { octet }
        };
        let labels: Vec<Vec<u8>> =
            question.name.split('.').map(|label| label.bytes().map(&mut cased).collect()).collect();
        let name = Name::from_labels(labels).expect("a question holds a valid name");
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let record_type = question.kind.record_type();
        message.add_query(hickory_proto::op::Query::query(name.clone(), record_type));
        let mut authentic = false;
        if let Edns::With { authentic: wanted } = edns {
            let mut extensions = Extensions::new();
            extensions.set_max_payload(EDNS_BYTES_MAX as u16);
            message.set_edns(extensions);
            message.metadata.authentic_data = wanted;
            authentic = wanted;
        }
        let packet = message.to_vec().expect("a valid name fits a packet");
        Query { question, id, name, authentic, packet }
    }

    pub fn question(&self) -> &Question {
        &self.question
    }

    /// The octets to send.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_holds_a_name_that_can_be_asked() {
        let long_label = "a".repeat(63);
        let longest = format!("{long_label}.{long_label}.{long_label}.{}", "b".repeat(61));
        for good in ["x", "X.Test", "x.test.", "_dmarc.x.test", "1.2.3.4", "xn--bcher-kva.test"] {
            let question = Question::new(good, Kind::Mx).expect(good);
            assert_eq!(question.name(), good.to_lowercase().trim_end_matches('.'));
        }
        assert!(Question::new(&longest, Kind::A).is_ok());
        let too_long = format!("{longest}c");
        let long = format!("{long_label}a.test");
        let bad = ["", ".", "..", "a..b", ".a", "a.test..", "a b.test", "a\\.test", "bücher.test"];
        for bad in bad.into_iter().chain(["a\0.test", "a/b", "[192.0.2.1]", &long, &too_long]) {
            assert_eq!(Question::new(bad, Kind::Mx), Err(BadName), "{bad}");
        }
    }

    #[test]
    fn a_host_is_not_called_like_an_address() {
        assert!(is_host_name("mx.x.test") && is_host_name("1.x") && is_host_name("x"));
        for bad in ["192.0.2.1", "x.1", "", "x.test.", "a..b", "2001:db8::1"] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn every_query_looks_another_way_and_asks_the_same() {
        let question = Question::new("mail.example.test", Kind::Aaaa).unwrap();
        let packet = |random, edns| Query::new(question.clone(), edns, random).packet().to_vec();
        let with = Edns::With { authentic: false };
        let (one, two) = (packet([1 << 16, 0b1010], with), packet([2 << 16, 0b101], with));
        assert_eq!((&one[..2], &two[..2]), (&[0, 1][..], &[0, 2][..]));
        assert!(one.windows(4).any(|found| found == b"mAiL"));
        assert!(two.windows(4).any(|found| found == b"MaIl"));
        assert_eq!(one.to_ascii_lowercase()[12..], two.to_ascii_lowercase()[12..]);
        // RD alone; with authentic data wanted, RD and AD.
        assert_eq!(one[2..4], [1, 0]);
        assert_eq!(packet([0, 0], Edns::With { authentic: true })[2..4], [1, 0x20]);
        // The last record is OPT with 1232 octets; without EDNS there is none.
        assert_eq!(one[one.len() - 11..one.len() - 6], [0, 0, 41, 0x04, 0xd0]);
        assert_eq!(packet([0, 0], Edns::Without).len(), one.len() - 11);
    }
}
