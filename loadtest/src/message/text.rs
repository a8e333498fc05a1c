//! Prepared lines that bodies are filled with: prose, HTML, base64.
//!
//! Made once a run, plain and with dots doubled (RFC 5321 4.5.2), so that dots are looked for once
//! a run and not once a message: a body copies a stretch of whole lines. Decides which words there
//! are. Never makes a line longer than 100 bytes, and never breaks a character.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;

/// Of each pool; a longer body goes around.
const POOL_BYTES: usize = 256 << 10;
/// Of a line with its end.
const LINE_BYTES_MAX: usize = 100;
/// Of base64 in a line (RFC 2045 6.8).
const BASE64_LINE: usize = 76;
const WORDS: &[&str] = &[
    "the", "order", "invoice", "has", "been", "shipped", "to", "your", "address", "thank", "you",
    "for", "waiting", "meeting", "on", "Thursday", "moved", "from", "room", "twelve", "please",
    "find", "attached", "a", "summary", "of", "last", "week", "and", "let", "us", "know", "if",
    "anything", "is", "missing", "password", "was", "changed", "with", "kind", "regards",
];
const EIGHT_BIT_WORDS: &[&str] = &[
    "die",
    "Bestellung",
    "für",
    "Größe",
    "wurde",
    "geändert",
    "schöne",
    "Grüße",
    "aus",
    "Köln",
    "l'été",
    "déjà",
    "reçu",
    "la",
    "facture",
    "à",
    "régler",
    "mañana",
    "el",
    "niño",
    "señor",
    "цена",
    "заказ",
    "и",
    "доставка",
    "ありがとう",
    "50",
    "€",
    "–",
    "über",
    "Zürich",
    "naïve",
];
/// What a last line is cut from that brings a body to its length.
const FILLING: &[u8] =
    b"and so much for today, more of it tomorrow, until then all the best from all \
                         of us here, and do not forget to write";
const _: () = assert!(FILLING.len() >= LINE_BYTES_MAX);

/// Lines of one sort, with CRLF.
pub struct Pool {
    plain: Vec<u8>,
    stuffed: Vec<u8>,
    /// Where each line ends, in both forms.
    ends: Vec<End>,
    step: Step,
}

#[derive(Clone, Copy)]
struct End {
    plain: usize,
    stuffed: usize,
}

/// What the last line of a stretch may be cut to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte,
    /// Whole groups of base64.
    Group,
}

/// A stretch of lines in both forms.
#[derive(Clone, Copy)]
pub struct Stretch<'a> {
    pub plain: &'a [u8],
    pub stuffed: &'a [u8],
}

/// All pools of a run.
pub struct Pools {
    pub prose: Pool,
    pub prose_eight_bit: Pool,
    pub html: Pool,
    pub html_eight_bit: Pool,
    pub base64: Pool,
}

impl Pools {
    pub fn new(seed: u64) -> Pools {
        let dice = |salt| super::draw::dice(seed, 0x7e87, salt);
        Pools {
            prose: Pool::new(dice(0), Step::Byte, |dice, line| prose(WORDS, dice, line)),
            prose_eight_bit: Pool::new(dice(1), Step::Byte, |dice, line| {
                prose(EIGHT_BIT_WORDS, dice, line);
            }),
            html: Pool::new(dice(2), Step::Byte, |dice, line| html(WORDS, dice, line)),
            html_eight_bit: Pool::new(dice(3), Step::Byte, |dice, line| {
                html(EIGHT_BIT_WORDS, dice, line);
            }),
            base64: Pool::new(dice(4), Step::Group, base64),
        }
    }
}

impl Pool {
    fn new(mut dice: Rng, step: Step, line: impl Fn(&mut Rng, &mut Vec<u8>)) -> Pool {
        let mut pool = Pool { plain: Vec::new(), stuffed: Vec::new(), ends: Vec::new(), step };
        while pool.plain.len() < POOL_BYTES {
            let start = pool.plain.len();
            line(&mut dice, &mut pool.plain);
            pool.plain.extend_from_slice(b"\r\n");
            let line = &pool.plain[start..];
            assert!(line.len() <= LINE_BYTES_MAX);
            if line.starts_with(b".") {
                pool.stuffed.push(b'.');
            }
            pool.stuffed.extend_from_slice(line);
            pool.ends.push(End { plain: pool.plain.len(), stuffed: pool.stuffed.len() });
        }
        pool
    }

    /// Hands out stretches of `bytes` together, the first from a line that `start` decides. At the
    /// end a byte may be missing, or three of base64.
    pub fn fill(&self, start: u64, bytes: usize, mut add: impl FnMut(Stretch<'_>)) {
        let mut line = start as usize % self.ends.len();
        let mut rest = bytes;
        loop {
            let from = match line {
                0 => End { plain: 0, stuffed: 0 },
                _ => self.ends[line - 1],
            };
            let lines = self.ends[line..].partition_point(|end| end.plain - from.plain <= rest);
            if lines == 0 {
                break;
            }
            let to = self.ends[line + lines - 1];
            add(Stretch {
                plain: &self.plain[from.plain..to.plain],
                stuffed: &self.stuffed[from.stuffed..to.stuffed],
            });
            rest -= to.plain - from.plain;
            line = (line + lines) % self.ends.len();
        }
        let both = |bytes| Stretch { plain: bytes, stuffed: bytes };
        match (self.step, rest) {
            (_, 0 | 1) | (Step::Group, 2..6) => {}
            (Step::Byte, _) => {
                add(both(&FILLING[..rest - 2]));
                add(both(b"\r\n"));
            }
            (Step::Group, _) => {
                add(both(&self.plain[..(rest - 2) / 4 * 4]));
                add(both(b"\r\n"));
            }
        }
    }
}

/// Words, with an empty line and a leading dot here and there.
fn prose(words: &[&str], dice: &mut Rng, line: &mut Vec<u8>) {
    match dice.u8(0..24) {
        0 | 1 => {}
        2 => line.push(b'.'),
        3 => line.extend_from_slice(b"..and so on"),
        _ => add_words(words, 60, dice, line),
    }
}

fn html(words: &[&str], dice: &mut Rng, line: &mut Vec<u8>) {
    let (open, close): (&[u8], &[u8]) = match dice.u8(0..8) {
        0 => (b"<h2>", b"</h2>"),
        1 => (b"<li><a href=\"http://shop.test/offer\">", b"</a>"),
        2 => (b"<td style=\"color:#333\">", b"</td>"),
        _ => (b"<p>", b"</p>"),
    };
    line.extend_from_slice(open);
    add_words(words, 40, dice, line);
    line.extend_from_slice(close);
}

fn base64(dice: &mut Rng, line: &mut Vec<u8>) {
    let mut bytes = [0; BASE64_LINE / 4 * 3];
    dice.fill(&mut bytes);
    line.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}

fn add_words(words: &[&str], bytes: usize, dice: &mut Rng, line: &mut Vec<u8>) {
    let end = line.len() + bytes;
    while line.len() < end {
        let word = words[dice.usize(..words.len())];
        line.extend_from_slice(word.as_bytes());
        line.push(b' ');
    }
    line.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &Pool, start: u64, bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut plain, mut stuffed) = (Vec::new(), Vec::new());
        pool.fill(start, bytes, |stretch| {
            plain.extend_from_slice(stretch.plain);
            stuffed.extend_from_slice(stretch.stuffed);
        });
        (plain, stuffed)
    }

    fn all(pools: &Pools) -> [&Pool; 5] {
        let Pools { prose, prose_eight_bit, html, html_eight_bit, base64 } = pools;
        [prose, prose_eight_bit, html, html_eight_bit, base64]
    }

    #[test]
    fn a_stretch_has_the_wanted_length_and_clean_lines() {
        let pools = Pools::new(1);
        for pool in all(&pools) {
            let spare = if pool.step == Step::Group { 5 } else { 1 };
            for bytes in (0..400).chain([POOL_BYTES - 1, 3 * POOL_BYTES + 17]) {
                let (plain, _) = filled(pool, 5_000_000 + bytes as u64, bytes);
                assert!((bytes.saturating_sub(spare)..=bytes).contains(&plain.len()), "{bytes}");
                for line in plain.split_inclusive(|byte| *byte == b'\n') {
                    let text = line.strip_suffix(b"\r\n").expect("whole lines");
                    assert!(line.len() <= LINE_BYTES_MAX && !text.contains(&b'\r'));
                    assert!(str::from_utf8(text).is_ok(), "no character is cut");
                }
            }
        }
    }

    #[test]
    fn dots_are_doubled_and_nothing_else() {
        let pools = Pools::new(2);
        let mut dots = 0;
        for pool in all(&pools) {
            let (plain, stuffed) = filled(pool, 77, 2 * POOL_BYTES);
            let mut doubled = Vec::new();
            for line in plain.split_inclusive(|byte| *byte == b'\n') {
                if line.starts_with(b".") {
                    doubled.push(b'.');
                    dots += 1;
                }
                doubled.extend_from_slice(line);
            }
            assert!(stuffed == doubled);
        }
        assert!(dots > 100, "leading dots are a part of what is tested");
    }

    #[test]
    fn base64_is_base64_at_any_length() {
        let pools = Pools::new(3);
        for bytes in 0..1000 {
            let (plain, _) = filled(&pools.base64, 9, bytes);
            let text: Vec<u8> = plain.into_iter().filter(|byte| !b"\r\n".contains(byte)).collect();
            assert!(STANDARD.decode(text).is_ok(), "{bytes}");
        }
    }
}
