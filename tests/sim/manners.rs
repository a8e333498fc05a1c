//! The personality of a simulated remote server: what it offers, and what it does wrong how often.
//!
//! Shares are of a thousand and are rolled anew at each occasion. A personality is drawn from a
//! *badness*, fault by fault with an even chance each, so that every run meets a different mix
//! instead of a little of everything.

use super::random::Random;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Manners {
    pub offers: Offers,
    /// Refusals by stage.
    pub greeting: Refusals,
    pub ehlo: Refusals,
    pub starttls: Refusals,
    pub mail: Refusals,
    pub rcpt: Refusals,
    /// The same for all but those who live in the first domain, where notices go.
    pub rcpt_but_home: Refusals,
    pub data: Refusals,
    pub content: Refusals,
    /// Answers 450 to a recipient for so long after it was first seen.
    pub greylists_for: Duration,
    /// Closes instead of answering a command.
    pub drops: u64,
    /// Answers 421 and closes.
    pub closes: u64,
    /// Answers with what is no reply.
    pub garbage: u64,
    /// Waits long before it answers.
    pub slow: u64,
    /// Has the whole message, loses it and closes.
    pub loses: u64,
    /// Keeps the message and closes without a word.
    pub keeps_silently: u64,
    /// Closes after a message that it took, as if that were usual.
    pub leaves: u64,
    /// Takes the connection and says nothing.
    pub mute: u64,
    /// Says 220 to STARTTLS and closes.
    pub breaks_tls: u64,
    /// Offers PIPELINING, and hears the first command of a group alone.
    pub discards_pipelined: u64,
    /// Offers CHUNKING, and does not know BDAT.
    pub denies_chunking: u64,
    pub replies: Replies,
}

/// How replies are written, of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replies {
    /// A line of 100 KiB.
    pub long: u64,
    /// Ten thousand lines.
    pub endless: u64,
    /// An octet now and then.
    pub dripping: u64,
    /// Lines that end in LF alone.
    pub bare: u64,
}

/// What EHLO offers.
#[derive(Clone, Copy, Debug)]
pub struct Offers {
    /// Whether it knows EHLO at all.
    pub extensions: bool,
    pub pipelining: bool,
    pub chunking: bool,
    pub eight_bit: bool,
    pub size: bool,
    pub dsn: bool,
    pub starttls: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    pub transient: u64,
    pub permanent: u64,
}

impl Offers {
    const ALL: Offers = Offers {
        extensions: true,
        pipelining: true,
        chunking: true,
        eight_bit: true,
        size: true,
        dsn: false,
        starttls: true,
    };

    fn draw(random: &Random) -> Offers {
        Offers {
            extensions: random.permille(900),
            pipelining: random.permille(700),
            chunking: random.permille(600),
            eight_bit: random.permille(800),
            size: random.permille(800),
            dsn: random.permille(400),
            starttls: random.permille(600),
        }
    }
}

impl Manners {
    pub fn good() -> Manners {
        Manners {
            offers: Offers::ALL,
            greeting: Refusals::default(),
            ehlo: Refusals::default(),
            starttls: Refusals::default(),
            mail: Refusals::default(),
            rcpt: Refusals::default(),
            rcpt_but_home: Refusals::default(),
            data: Refusals::default(),
            content: Refusals::default(),
            greylists_for: Duration::ZERO,
            drops: 0,
            closes: 0,
            garbage: 0,
            slow: 0,
            loses: 0,
            keeps_silently: 0,
            leaves: 0,
            mute: 0,
            breaks_tls: 0,
            discards_pipelined: 0,
            denies_chunking: 0,
            replies: Replies::default(),
        }
    }

    /// Everything is refused at RCPT, for good or for now.
    pub fn refusing(refusals: Refusals) -> Manners {
        Manners { rcpt: refusals, ..Manners::good() }
    }

    /// `badness` is the largest share that a fault can get.
    pub fn draw(random: &Random, badness: u64) -> Manners {
        let share = || if random.permille(500) { random.below(0..badness + 1) } else { 0 };
        let refusals = || Refusals { transient: share(), permanent: share() / 2 };
        Manners {
            offers: Offers::draw(random),
            greeting: refusals(),
            ehlo: refusals(),
            starttls: refusals(),
            mail: refusals(),
            rcpt: refusals(),
            rcpt_but_home: Refusals::default(),
            data: refusals(),
            content: refusals(),
            greylists_for: Duration::from_millis(share() * 100),
            drops: share() / 4,
            closes: share() / 4,
            garbage: share() / 8,
            slow: share() / 4,
            loses: share() / 2,
            keeps_silently: share() / 2,
            leaves: share(),
            mute: share() / 8,
            breaks_tls: share() / 2,
            discards_pipelined: share() / 2,
            denies_chunking: share() / 2,
            replies: Replies {
                long: share() / 64,
                endless: share() / 64,
                dripping: share() / 8,
                bare: share(),
            },
        }
    }
}
