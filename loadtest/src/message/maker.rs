//! Makes message number n of a run: what it is, who sends it to whom, and its bytes.
//!
//! Everything is drawn from the seed and the number alone, so the same number is the same message
//! in every run of a seed, but for the date and what the mark says of it and of the time. Texts are
//! prepared once; a message is written in one go into a buffer that is used again, and the mark's
//! checksums are filled in at the end. Decides the order of draws; what things look like is in
//! `kind.rs` and `sender.rs`.

use std::fmt::{self, Write};
use std::time::Duration;

use super::MARK;
use super::draw::{self, Numbers, Weighted};
use super::kind::Letter;
use super::recognise::sender_crc;
use super::sender::{Sender, add};
use super::text::{Pools, Stretch};
use crate::profile::mail::{Kind, Mixture, Span};

/// What a run's messages have in common.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Put before each number; ASCII letters, digits, `.`, `_`, `-`.
    pub run_id: String,
    pub domain_suffix: String,
    pub seed: u64,
    pub mixture: Mixture,
    /// Goes into every message as it is (RFC 5322 3.3).
    pub date: String,
}

/// How the content will travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `DATA`: leading dots doubled, the final dot included (RFC 5321 4.5.2).
    Dots,
    /// `BDAT`: the bytes as they are (RFC 3030).
    Chunk,
}

/// What a message asks of a server, or the most that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Travels {
    #[default]
    SevenBit,
    /// `BODY=8BITMIME` (RFC 6152).
    EightBit,
    /// `SMTPUTF8`, and `BODY=8BITMIME` with it (RFC 6531).
    International,
}

/// What is decided by the server a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    pub framing: Framing,
    pub offered: Travels,
}

/// One message, ready for the wire. Kept and refilled, so that making one allocates little.
#[derive(Debug, Default)]
pub struct Mail {
    pub serial: String,
    pub sender: String,
    pub recipients: Vec<String>,
    pub travels: Travels,
    /// Framed as asked for.
    pub content: Vec<u8>,
    /// Length without framing, for `SIZE=` and `BDAT`.
    pub content_bytes: usize,
    /// The end of the body, while its middle is written.
    tail: Vec<u8>,
}

/// Makes the messages of one run.
pub struct Maker {
    recipe: Recipe,
    pools: Pools,
    kinds: Weighted<(Kind, Option<Span>)>,
    sizes: Weighted<Span>,
    recipients: Weighted<Span>,
    recipients_max: u64,
    senders: Numbers,
    domains: Numbers,
}

impl Maker {
    pub fn new(recipe: Recipe) -> Maker {
        let mixture = &recipe.mixture;
        let counts = || mixture.recipients.iter().map(|share| share.count);
        let recipients_max = counts().map(|count| count.to).max().unwrap_or(1);
        let fixed = counts().all(|count| count == Span::fixed(recipients_max));
        // Turns of recipients have gaps when their number varies, and gaps are not even.
        let evenly = if fixed { Numbers::in_turn } else { Numbers::even };
        let kinds = mixture.kinds.iter().map(|share| ((share.kind, share.bytes), share.weight));
        let sizes = mixture.sizes.iter().map(|share| (share.bytes, share.weight));
        let recipients = mixture.recipients.iter().map(|share| (share.count, share.weight));
        Maker {
            pools: Pools::new(recipe.seed),
            kinds: Weighted::new(kinds),
            sizes: Weighted::new(sizes),
            recipients: Weighted::new(recipients),
            recipients_max,
            senders: Numbers::new(mixture.senders, Numbers::in_turn),
            domains: Numbers::new(mixture.domains, evenly),
            recipe,
        }
    }

    /// Makes message `number` in `mail`, due or begun at `start` (`kernel::monotonic`).
    pub fn fill(&self, number: u64, start: Duration, transport: Transport, mail: &mut Mail) {
        let recipe = &self.recipe;
        let mixture = &recipe.mixture;
        let mut dice = draw::dice(recipe.seed, 0x3a11, number);
        let (kind, own_size) = *self.kinds.pick(&mut dice);
        let size = own_size.unwrap_or_else(|| *self.sizes.pick(&mut dice));
        let bytes = draw::within(size, &mut dice) as usize;
        let wanted = match dice.u16(0..1000) {
            thrown if thrown < mixture.smtputf8.0 => Travels::International,
            _ if dice.u16(0..1000) < mixture.eight_bit.0 => Travels::EightBit,
            _ => Travels::SevenBit,
        };
        mail.travels = wanted.min(transport.offered);
        let number_of_sender = self.senders.pick(number, &mut dice);
        let hacked = mixture.hacked_senders.0;
        let sender = Sender::new(recipe.seed, number_of_sender, hacked, &recipe.domain_suffix);
        print(&mut mail.serial, format_args!("{}-{number}", recipe.run_id));
        print(&mut mail.sender, format_args!("{}", sender.address()));
        self.address(number, mail, &mut dice);

        let turn = dice.u64(..);
        let Mail { serial, recipients, travels, content, tail, .. } = mail;
        let letter = Letter {
            kind,
            serial,
            sender: &sender,
            recipients,
            travels: *travels,
            date: &recipe.date,
            turn,
        };
        mail.content_bytes = self.write(&letter, start, transport.framing, bytes, content, tail);
    }

    /// Every address has a number of its own in the run, in front.
    fn address(&self, number: u64, mail: &mut Mail, dice: &mut fastrand::Rng) {
        let count = draw::within(*self.recipients.pick(dice), dice) as usize;
        mail.recipients.resize_with(count, String::new);
        let word = match mail.travels {
            Travels::International => "-größe",
            Travels::SevenBit | Travels::EightBit => "",
        };
        let suffix = &self.recipe.domain_suffix;
        for (nth, recipient) in mail.recipients.iter_mut().enumerate() {
            let index = number * self.recipients_max + nth as u64;
            let domain = self.domains.pick(index, dice);
            print(recipient, format_args!("r{index}{word}@d{domain}.{suffix}"));
        }
    }

    /// Writes the whole message; returns its length without framing.
    fn write(
        &self,
        letter: &Letter<'_>,
        start: Duration,
        framing: Framing,
        bytes: usize,
        content: &mut Vec<u8>,
        tail: &mut Vec<u8>,
    ) -> usize {
        content.clear();
        content.extend_from_slice(MARK.as_bytes());
        add(content, format_args!("{} ", letter.serial));
        let mark = content.len();
        // As wide for any values, so that messages of one size are of one size.
        let sender = sender_crc(letter.sender.address().to_string().as_bytes());
        add(content, format_args!("{}", Sums { body: 0, header: 0, header_bytes: 0 }));
        add(content, format_args!(" from={sender:08x} at={:016}\r\n", start.as_micros()));
        let header = content.len();
        letter.add_headers(content);

        let body = content.len();
        let sent_header = &content[header..body - b"\r\n".len()];
        let mut sums =
            Sums { body: 0, header: crc32fast::hash(sent_header), header_bytes: sent_header.len() };
        add(content, format_args!("This is message {}.\r\n", letter.serial));
        letter.add_lead(content);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&content[body..]);
        let mut plain_bytes = content.len();

        tail.clear();
        letter.add_tail(tail);
        let room = bytes.saturating_sub(plain_bytes + tail.len());
        let pool = letter.pool(&self.pools);
        pool.fill(letter.pool_start(), room, |Stretch { plain, stuffed }| {
            crc.update(plain);
            plain_bytes += plain.len();
            content.extend_from_slice(match framing {
                Framing::Chunk => plain,
                Framing::Dots => stuffed,
            });
        });
        crc.update(tail);
        content.extend_from_slice(tail);
        plain_bytes += tail.len();
        if framing == Framing::Dots {
            content.extend_from_slice(b".\r\n");
        }
        sums.body = crc.finalize();
        let mut room = &mut content[mark..];
        std::io::Write::write_fmt(&mut room, format_args!("{sums}"))
            .expect("it is as long as what it takes the place of");
        plain_bytes
    }
}

/// What is known of a message once it is written, as wide for any values.
struct Sums {
    body: u32,
    header: u32,
    /// Below 10 MB: a few hundred bytes, and ten recipients whose length arguments bound.
    header_bytes: usize,
}

impl fmt::Display for Sums {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { body, header, header_bytes } = self;
        write!(out, "crc={body:08x} head={header:08x}/{header_bytes:07}")
    }
}

/// Puts `text` in place of what was there.
fn print(into: &mut String, text: std::fmt::Arguments<'_>) {
    into.clear();
    into.write_fmt(text).expect("writing to memory does not fail");
}
