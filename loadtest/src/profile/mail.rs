//! The table `[mail]` of a profile: which messages a run sends.
//!
//! Owns the keys, their ranges and what they mean; drawing from them is done in `message/`. Shares
//! are weights: what counts is their relation. Nothing here depends on a seed.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::reading::{Part, Problems, Table};

/// Above what relays take (`SIZE`), and still what fits into memory for every session.
pub const BYTES_MAX: u64 = 64 << 20;
/// Above the 100 that every server has to take (RFC 5321 4.5.3.1.8).
const RECIPIENTS_MAX: u64 = 1000;
pub const CROWD_MAX: u64 = 1_000_000;
const SKEW_MAX: f64 = 4.0;
const WEIGHT_MAX: u32 = 1_000_000;

/// What a run's messages are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Lengths of whole messages in bytes, for kinds that have none of their own.
    pub sizes: Vec<SizeShare>,
    pub recipients: Vec<CountShare>,
    pub kinds: Vec<KindShare>,
    pub senders: Crowd,
    pub domains: Crowd,
    /// Of 1,000 senders, those with a script that somebody else took over.
    pub hacked_senders: Permille,
    /// Of 1,000 messages, those with text outside ASCII (`BODY=8BITMIME`, RFC 6152).
    pub eight_bit: Permille,
    /// Of 1,000 messages, those with such an address and header too (`SMTPUTF8`, RFC 6531).
    pub smtputf8: Permille,
}

/// A number from a range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeShare {
    pub bytes: Span,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountShare {
    pub count: Span,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindShare {
    pub kind: Kind,
    pub weight: u32,
    /// As long as its kind is; without it one of `sizes`.
    pub bytes: Option<Span>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Text with the headers that a message must have, and no more.
    Plain,
    /// What a visitor wrote into a web form, sent by PHP's `mail()`.
    ContactForm,
    /// Text and HTML to a list.
    Newsletter,
    /// A text with a PDF file, in base64.
    Invoice,
    /// A link from a web shop or a forum.
    PasswordReset,
    /// Somebody answers somebody.
    Correspondence,
    /// What a job of `cron` printed.
    Cron,
}

/// So many different ones, of which some are met more often than others.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    pub count: u64,
    /// Exponent of a Zipf distribution: number n (from 1) has a share of 1 / n^skew. 0 is even.
    #[serde(default)]
    pub skew: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Permille(pub u16);

impl Mixture {
    /// Reads the table; `None` after adding what is wrong.
    pub fn read(mut table: Table<'_>, problems: &mut Problems<'_>) -> Option<Mixture> {
        let sizes = table.take_list("sizes", problems);
        let recipients = table.take_list("recipients", problems);
        let kinds = table.take_list("kinds", problems);
        let senders = table.take("senders", problems);
        let domains = table.take("domains", problems);
        let nobody = Permille(0);
        let hacked_senders = table.take_or("hacked-senders-permille", nobody, problems);
        let eight_bit = table.take_or("eight-bit-permille", nobody, problems);
        let smtputf8 = table.take_or("smtputf8-permille", nobody, problems);
        table.end(problems);
        Some(Mixture {
            sizes: sizes?,
            recipients: recipients?,
            kinds: kinds?,
            senders: senders?,
            domains: domains?,
            hacked_senders: hacked_senders?,
            eight_bit: eight_bit?,
            smtputf8: smtputf8?,
        })
    }

    /// All messages are so long, whatever their kind.
    pub fn fix_size(&mut self, bytes: u64) {
        self.sizes = vec![SizeShare { bytes: Span::fixed(bytes), weight: 1 }];
        self.kinds.iter_mut().for_each(|kind| kind.bytes = None);
    }

    /// All messages go to so many recipients.
    pub fn fix_recipients(&mut self, count: u64) {
        self.recipients = vec![CountShare { count: Span::fixed(count), weight: 1 }];
    }
}

impl Span {
    pub fn fixed(number: u64) -> Span {
        Span { from: number, to: number }
    }

    fn check(self, what: &str, min: u64, max: u64) -> Result<(), String> {
        if self.from > self.to {
            return Err(format!("{what} is a range from {} down to {}", self.from, self.to));
        }
        match [self.from, self.to].into_iter().find(|end| !(min..=max).contains(end)) {
            Some(end) => Err(format!("{what} is {end}")),
            None => Ok(()),
        }
    }
}

/// A number, or a list of two.
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        struct Ends;
        impl<'de> Visitor<'de> for Ends {
            type Value = Span;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a whole number or [from, to]")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Span, E> {
                let unsigned = u64::try_from(number).map(Span::fixed);
                unsigned.map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ends: A) -> Result<Span, A::Error> {
                let short = |count| <A::Error as de::Error>::invalid_length(count, &Ends);
                let from = ends.next_element()?.ok_or_else(|| short(0))?;
                let to = ends.next_element()?.ok_or_else(|| short(1))?;
                match ends.next_element::<u64>()? {
                    None => Ok(Span { from, to }),
                    Some(_) => Err(short(3)),
                }
            }
        }
        deserializer.deserialize_any(Ends)
    }
}

fn check_weight(weight: u32) -> Result<(), String> {
    match weight {
        1..=WEIGHT_MAX => Ok(()),
        _ => Err(format!("weight is {weight}")),
    }
}

impl Part for SizeShare {
    const ALLOWED: &'static str = "a list of { bytes = N or [FROM, TO], weight = W }, \
                                   bytes 0 to 67108864, weight 1 to 1000000";

    fn check(&self) -> Result<(), String> {
        self.bytes.check("bytes", 0, BYTES_MAX)?;
        check_weight(self.weight)
    }
}

impl Part for CountShare {
    const ALLOWED: &'static str = "a list of { count = N or [FROM, TO], weight = W }, \
                                   count 1 to 1000, weight 1 to 1000000";

    fn check(&self) -> Result<(), String> {
        self.count.check("count", 1, RECIPIENTS_MAX)?;
        check_weight(self.weight)
    }
}

impl Part for KindShare {
    const ALLOWED: &'static str = "a list of { kind = \"NAME\", weight = W } with or without \
                                   bytes = N or [FROM, TO]; plain, contact-form, newsletter, \
                                   invoice, password-reset, correspondence, cron; \
                                   bytes 0 to 67108864, weight 1 to 1000000";

    fn check(&self) -> Result<(), String> {
        self.bytes.map_or(Ok(()), |bytes| bytes.check("bytes", 0, BYTES_MAX))?;
        check_weight(self.weight)
    }
}

impl Part for Crowd {
    const ALLOWED: &'static str =
        "{ count = N, skew = S }, count 1 to 1000000, skew 0.0 (even) to 4.0";

    fn check(&self) -> Result<(), String> {
        Span::fixed(self.count).check("count", 1, CROWD_MAX)?;
        if (0.0..=SKEW_MAX).contains(&self.skew) {
            Ok(())
        } else {
            Err(format!("skew is {}", self.skew))
        }
    }
}

impl Part for Permille {
    const ALLOWED: &'static str = "a whole number from 0 to 1000";

    fn check(&self) -> Result<(), String> {
        if self.0 <= 1000 { Ok(()) } else { Err(format!("it is {}", self.0)) }
    }
}
