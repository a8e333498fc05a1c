//! The messages of a load run: making one, and recognising one that comes back.
//!
//! Each is a plausible small MIME text whose first header, `X-Baton-Load`, names it, carries the
//! CRC-32 of its body (all bytes after the empty line) and the time at which it was due, so that whoever receives it can tell
//! whether it is whole without knowing what was sent. Relays may add headers; they may not touch
//! the body. The first line of each body is unique, so a body under another message's header is
//! found too. Never touches a socket or a file.

use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::Finder;

/// The name of the header that marks our messages, with its separator.
const MARK: &[u8] = b"X-Baton-Load: ";
/// Made once: making a finder costs as much as searching a header.
static MARK_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
/// Different texts kept ready; bounds memory together with `TEXT_BYTES_MAX`.
const TEXTS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Recipients that a `To` header still names one by one.
const TO_NAMES_MAX: usize = 10;
const WORDS: &[&str] = &[
    "the", "order", "invoice", "has", "been", "shipped", "to", "your", "address", "thank", "you",
    "for", "waiting", "meeting", "on", "Thursday", "moved", "from", "room", "twelve", "please",
    "find", "attached", "a", "summary", "of", "last", "week", "and", "let", "us", "know", "if",
    "anything", "is", "missing", "password", "was", "changed", "with", "kind", "regards",
];

/// What a run's messages have in common.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Put before each number; ASCII letters, digits, `.`, `_`, `-`.
    pub run_id: String,
    /// Wanted length of a whole message in bytes, met within a few bytes where it is possible.
    pub size_bytes: usize,
    pub recipients: usize,
    pub domains: usize,
    pub senders: usize,
    pub domain_suffix: String,
}

/// How the content will travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `DATA`: leading dots doubled, the final dot included (RFC 5321 4.5.2).
    Dots,
    /// `BDAT`: the bytes as they are (RFC 3030).
    Chunk,
}

/// One message, ready for the wire. Kept and refilled, so that making one allocates little.
#[derive(Debug, Default)]
pub struct Mail {
    pub serial: String,
    pub sender: String,
    pub recipients: Vec<String>,
    /// Framed as asked for.
    pub content: Vec<u8>,
    /// Length without framing, for `SIZE=` and `BDAT`.
    pub content_bytes: usize,
}

/// A body text in both forms, so that dots are looked for once a run and not once a message.
struct Text {
    plain: Vec<u8>,
    stuffed: Vec<u8>,
}

/// Makes the messages of one run; the same number always gives the same message.
pub struct Maker {
    recipe: Recipe,
    texts: Vec<Text>,
    date: String,
}

impl Maker {
    /// `date` goes into every message as it is (RFC 5322 3.3).
    pub fn new(recipe: Recipe, date: String) -> Maker {
        assert!(recipe.recipients > 0 && recipe.domains > 0 && recipe.senders > 0);
        let mut maker = Maker { recipe, texts: vec![Text::new(0, 2)], date };
        let mut sample = Mail::default();
        maker.fill(999_999, Duration::ZERO, Framing::Chunk, &mut sample);
        let bytes = maker.recipe.size_bytes.saturating_sub(sample.content_bytes - 2).max(2);
        let texts = (TEXT_BYTES_MAX / bytes).clamp(1, TEXTS_MAX);
        maker.texts = (0..texts).map(|seed| Text::new(seed as u64, bytes)).collect();
        maker
    }

    /// Makes message `number` in `mail`, due or begun at `start` (`kernel::monotonic`).
    pub fn fill(&self, number: u64, start: Duration, framing: Framing, mail: &mut Mail) {
        let recipe = &self.recipe;
        let text = &self.texts[number as usize % self.texts.len()];
        let sender = number % recipe.senders as u64;
        mail.serial = format!("{}-{number}", recipe.run_id);
        mail.sender = format!("sender{sender}@c{sender}.{}", recipe.domain_suffix);
        self.address(number, &mut mail.recipients);

        let opening = format!("This is message {}.\r\n", mail.serial);
        let mut crc = crc32fast::Hasher::new();
        crc.update(opening.as_bytes());
        crc.update(&text.plain);

        mail.content.clear();
        let head = Head { mail, crc: crc.finalize(), start, date: &self.date }.print();
        mail.content.extend_from_slice(head.as_bytes());
        mail.content.extend_from_slice(opening.as_bytes());
        mail.content_bytes = mail.content.len() + text.plain.len();
        match framing {
            Framing::Chunk => mail.content.extend_from_slice(&text.plain),
            Framing::Dots => {
                mail.content.extend_from_slice(&text.stuffed);
                mail.content.extend_from_slice(b".\r\n");
            }
        }
    }

    /// Spreads recipients over all domains before any domain gets its second one.
    fn address(&self, number: u64, recipients: &mut Vec<String>) {
        let recipe = &self.recipe;
        recipients.clear();
        recipients.extend((0..recipe.recipients as u64).map(|nth| {
            let index = number * recipe.recipients as u64 + nth;
            let domain = index % recipe.domains as u64;
            format!("r{index}@d{domain}.{}", recipe.domain_suffix)
        }));
    }
}

/// The header of one message.
struct Head<'a> {
    mail: &'a Mail,
    crc: u32,
    start: Duration,
    date: &'a str,
}

impl Head<'_> {
    fn print(&self) -> String {
        let Mail { serial, sender, recipients, .. } = self.mail;
        let to = if recipients.len() <= TO_NAMES_MAX {
            recipients.join(",\r\n\t")
        } else {
            "undisclosed-recipients:;".to_owned()
        };
        let mark = str::from_utf8(MARK).expect("the mark is ASCII");
        format!(
            "{mark}{serial} crc={crc:08x} at={at}\r\n\
             Date: {date}\r\n\
             From: \"Sender of {serial}\" <{sender}>\r\n\
             To: {to}\r\n\
             Subject: Your order {serial} is on its way\r\n\
             Message-ID: <{serial}@{host}>\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n",
            crc = self.crc,
            // As wide for any time, so that messages of one size are of one size.
            at = format_args!("{:016}", self.start.as_micros()),
            date = self.date,
            host = sender.rsplit('@').next().unwrap_or(sender),
        )
    }
}

impl Text {
    /// Exactly `bytes` (at least 2) of lines, with an empty line and a leading dot here and there.
    fn new(seed: u64, bytes: usize) -> Text {
        assert!(bytes >= 2);
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut plain = Vec::with_capacity(bytes + 80);
        while plain.len() < bytes {
            match dice.u8(0..24) {
                0 | 1 => {}
                2 => plain.extend_from_slice(b"."),
                3 => plain.extend_from_slice(b"..and so on"),
                _ => {
                    let line_end = plain.len() + 60;
                    while plain.len() < line_end {
                        let word = WORDS[dice.usize(..WORDS.len())];
                        plain.extend_from_slice(word.as_bytes());
                        plain.push(b' ');
                    }
                    plain.pop();
                }
            }
            plain.extend_from_slice(b"\r\n");
        }
        plain.truncate(bytes - 2);
        if let Some(last) = plain.last_mut().filter(|last| **last == b'\r') {
            // The cut fell between CR and LF; a bare CR would be a fault of ours, not the relay's.
            *last = b'x';
        }
        plain.extend_from_slice(b"\r\n");
        let stuffed = stuff(&plain);
        Text { plain, stuffed }
    }
}

/// Doubles each dot at the start of a line; `plain` itself starts a line.
fn stuff(plain: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(plain.len() + plain.len() / 32 + 1);
    for line in plain.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}

/// What a received message turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Recognised<'a> {
    pub identity: Identity<'a>,
    /// CRC-32 of the body that was received.
    pub body_crc: u32,
    /// When it was due, on the sender's `kernel::monotonic`; absent when the header does not say.
    pub start: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// One of ours, and its body is what was sent.
    Whole(&'a [u8]),
    /// One of ours by its header, but the body is another.
    Corrupt(&'a [u8]),
    /// Not one of ours, a bounce for instance.
    Foreign,
}

/// Looks at a whole message as it was received (dots already removed).
pub fn recognise(message: &[u8]) -> Recognised<'_> {
    let (head, body) = match HEAD_END.find(message) {
        Some(end) => (&message[..end + 2], &message[end + 4..]),
        None => (message, &[][..]),
    };
    let body_crc = crc32fast::hash(body);
    let Some(mark) = marked(head) else {
        return Recognised { identity: Identity::Foreign, body_crc, start: None };
    };
    let identity = match mark.crc {
        Some(crc) if crc == body_crc => Identity::Whole(mark.serial),
        Some(_) | None => Identity::Corrupt(mark.serial),
    };
    Recognised { identity, body_crc, start: mark.start }
}

/// What our header says, as far as it is not damaged.
struct Mark<'a> {
    serial: &'a [u8],
    crc: Option<u32>,
    start: Option<Duration>,
}

fn marked(head: &[u8]) -> Option<Mark<'_>> {
    let start =
        MARK_FINDER.find_iter(head).find(|at| *at == 0 || head[*at - 1] == b'\n')? + MARK.len();
    let value = &head[start..];
    let value = &value[..memchr::memchr(b'\r', value).unwrap_or(value.len())];
    let mut parts = value.split(|byte| *byte == b' ');
    let serial = parts.next()?;
    let mut field = |name| str::from_utf8(parts.next()?).ok()?.strip_prefix(name);
    let crc = field("crc=").and_then(|crc| u32::from_str_radix(crc, 16).ok());
    let at = field("at=").and_then(|at| at.parse().ok());
    Some(Mark { serial, crc, start: at.map(Duration::from_micros) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(size_bytes: usize, recipients: usize) -> Maker {
        let recipe = Recipe {
            run_id: "t".to_owned(),
            size_bytes,
            recipients,
            domains: 3,
            senders: 2,
            domain_suffix: "x.test".to_owned(),
        };
        Maker::new(recipe, "Thu, 01 Jan 2026 00:00:00 +0000".to_owned())
    }

    fn made(size_bytes: usize, number: u64) -> Mail {
        let mut mail = Mail::default();
        maker(size_bytes, 1).fill(number, Duration::from_micros(77), Framing::Chunk, &mut mail);
        mail
    }

    #[test]
    fn a_message_is_recognised_as_whole() {
        for size in [0, 600, 4096, 100_000] {
            let mail = made(size, 7);
            let seen = recognise(&mail.content);
            assert_eq!(seen.identity, Identity::Whole(b"t-7"));
            assert_eq!(seen.start, Some(Duration::from_micros(77)));
            assert_eq!(mail.content.len(), mail.content_bytes);
        }
    }

    #[test]
    fn the_size_is_met_and_lines_are_clean() {
        let mail = made(4096, 123_456);
        assert!(mail.content_bytes.abs_diff(4096) < 16, "{}", mail.content_bytes);
        for line in mail.content.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 100);
            assert!(!line[..line.len() - 2].contains(&b'\r'));
        }
    }

    #[test]
    fn headers_that_a_relay_adds_do_not_matter() {
        let mut relayed = b"Received: from a by b;\r\n\tThu, 01 Jan 2026\r\n".to_vec();
        relayed.extend_from_slice(&made(2000, 1).content);
        assert_eq!(recognise(&relayed).identity, Identity::Whole(b"t-1"));
    }

    #[test]
    fn every_changed_byte_of_the_body_is_corruption() {
        let mail = made(700, 5);
        let body = HEAD_END.find(&mail.content).unwrap() + 4;
        for at in body..mail.content.len() {
            let mut damaged = mail.content.clone();
            damaged[at] ^= 1;
            assert_eq!(recognise(&damaged).identity, Identity::Corrupt(b"t-5"), "byte {at}");
        }
        let cut = &mail.content[..mail.content.len() - 1];
        assert_eq!(recognise(cut).identity, Identity::Corrupt(b"t-5"));
    }

    #[test]
    fn another_messages_body_is_corruption() {
        // 16 texts are kept, so these two have the same one.
        let (one, other) = (made(2000, 20), made(2000, 36));
        let end = |mail: &Mail| HEAD_END.find(&mail.content).unwrap() + 4;
        let mut mixed = one.content[..end(&one)].to_vec();
        mixed.extend_from_slice(&other.content[end(&other)..]);
        assert_eq!(recognise(&mixed).identity, Identity::Corrupt(b"t-20"));
    }

    #[test]
    fn the_mark_counts_in_the_header_only() {
        let quoted = b"Subject: x\r\n\r\nX-Baton-Load: t-1 crc=00000000\r\n";
        assert_eq!(recognise(quoted).identity, Identity::Foreign);
        let inside = b"Subject: X-Baton-Load: t-1 crc=00000000\r\n\r\n";
        assert_eq!(recognise(inside).identity, Identity::Foreign);
        assert_eq!(recognise(b"").identity, Identity::Foreign);
        let damaged = b"X-Baton-Load: t-1 crc=zz\r\n\r\n";
        assert_eq!(recognise(damaged).identity, Identity::Corrupt(b"t-1"));
    }

    #[test]
    fn recipients_spread_over_domains_and_are_distinct() {
        let mut mail = Mail::default();
        maker(1000, 4).fill(1, Duration::ZERO, Framing::Dots, &mut mail);
        assert_eq!(
            mail.recipients,
            ["r4@d1.x.test", "r5@d2.x.test", "r6@d0.x.test", "r7@d1.x.test"]
        );
        assert!(mail.content.ends_with(b"\r\n.\r\n"));
    }
}
