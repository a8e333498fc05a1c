//! Text as letters that look alike.
//!
//! Turns a name into one small letter per place, so that everything that looks like `paypal` is
//! `paypal` here, and remembers for each place how it was written. Non-ASCII characters become what
//! UTS 39 4 calls their skeleton; digits and `i` become the letter they pass for, one for one.
//! What takes two letters to imitate one (`rn`, `vv`, `cl`) is left to the patterns of `tokens`,
//! so that places here are places there.
//! Never decides whether a likeness matters.

use unicode_security::confusable_detection::skeleton;

/// Letters of one text at most; what is beyond has no influence.
pub(super) const LETTERS_MAX: usize = 512;

/// Letters that one character may turn into.
const EXPANSION_MAX: usize = 4;

/// Between words of a label or of a display name.
pub(super) const HYPHEN: u8 = b'-';
/// Between labels.
pub(super) const DOT: u8 = b'.';
/// A letter that looks like none of ours.
const UNLIKE: u8 = b'?';

/// How a letter was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// As this ASCII letter, digit or separator, in lower case.
    Plain(u8),
    /// As an ASCII letter with an accent.
    Accented,
    /// As another letter that looks like it, or with something invisible behind it.
    Foreign,
}

/// What may stand between words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Labels between dots; all but letters, digits and dots parts words.
    Domain,
    /// Dots part words as all else does.
    Phrase,
}

/// A text as it looks.
#[derive(Debug)]
pub(super) struct Letters {
    /// Folded; see [`fold`].
    pub look: Vec<u8>,
    /// As long as `look`.
    pub hands: Vec<Hand>,
}

impl Letters {
    pub fn of(text: &str, kind: Kind) -> Self {
        let room = text.len().min(LETTERS_MAX);
        let mut letters =
            Letters { look: Vec::with_capacity(room), hands: Vec::with_capacity(room) };
        for letter in text.chars() {
            if letters.look.len() >= LETTERS_MAX {
                break;
            }
            match letter.is_ascii() {
                true => letters.push_ascii(letter as u8, kind),
                false => letter.to_lowercase().for_each(|small| letters.push_other(small)),
            }
        }
        letters
    }

    fn push(&mut self, look: u8, hand: Hand) {
        self.look.push(look);
        self.hands.push(hand);
    }

    fn push_ascii(&mut self, letter: u8, kind: Kind) {
        let small = letter.to_ascii_lowercase();
        let written = match small {
            b'a'..=b'z' | b'0'..=b'9' => small,
            DOT if kind == Kind::Domain => DOT,
            _ => HYPHEN,
        };
        // "U.S. Bank" has one border between its words, as `u-s-bank` has.
        let again = kind == Kind::Phrase && written == HYPHEN && self.look.last() == Some(&HYPHEN);
        if !again {
            self.push(fold(written), Hand::Plain(written));
        }
    }

    fn push_other(&mut self, letter: char) {
        if letter.is_whitespace() || is_dash(letter) {
            return self.push(HYPHEN, Hand::Plain(HYPHEN));
        }
        if is_invisible(letter) {
            self.mark_last(Hand::Foreign);
            return;
        }
        if let Some(like) = like_small_latin(letter) {
            return self.push(fold(like), Hand::Foreign);
        }
        let mut bytes = [0; 4];
        let mut looks = skeleton(letter.encode_utf8(&mut bytes)).take(EXPANSION_MAX).peekable();
        let mut first = None;
        while let Some(look) = looks.next() {
            match look {
                // The prototype of `m` is `rn`; ours is the letter.
                'r' if looks.peek() == Some(&'n') => {
                    looks.next();
                    self.push(b'm', Hand::Foreign);
                }
                '\u{300}'..='\u{36f}' => self.mark_accent(first.is_some()),
                _ if look.is_ascii_alphanumeric() => {
                    let small = look.to_ascii_lowercase() as u8;
                    self.push(fold(small), Hand::Foreign);
                }
                _ => self.push(UNLIKE, Hand::Foreign),
            }
            first = first.or(Some(look));
        }
    }

    /// An accent on the letter before: one of this character, if it has given any, or one that
    /// was written alone.
    fn mark_accent(&mut self, of_this: bool) {
        let plain = matches!(self.hands.last(), Some(Hand::Plain(_)));
        if of_this || plain {
            self.mark_last(Hand::Accented);
        }
    }

    fn mark_last(&mut self, hand: Hand) {
        if let Some(last) = self.hands.last_mut()
            && *last != Hand::Plain(HYPHEN)
            && *last != Hand::Plain(DOT)
        {
            *last = hand;
        }
    }

    /// Whether the places from `start` to `end` were written as exactly this.
    pub fn is_plain(&self, start: usize, end: usize, word: &[u8]) -> bool {
        let hands = &self.hands[start..end];
        hands.len() == word.len()
            && hands.iter().zip(word).all(|(hand, letter)| *hand == Hand::Plain(*letter))
    }

    /// What was written there, if it was plain ASCII.
    pub fn plain(&self, start: usize, end: usize) -> Option<Vec<u8>> {
        let letter = |hand: &Hand| match hand {
            Hand::Plain(letter) => Some(*letter),
            Hand::Accented | Hand::Foreign => None,
        };
        self.hands[start..end].iter().map(letter).collect()
    }

    /// For evidence: what was written where it was ASCII, what it looks like elsewhere.
    pub fn shown(&self, start: usize, end: usize) -> String {
        let places = self.hands[start..end].iter().zip(&self.look[start..end]);
        let letter = |(hand, look): (&Hand, &u8)| match hand {
            Hand::Plain(letter) => char::from(*letter),
            Hand::Accented | Hand::Foreign => char::from(*look),
        };
        places.map(letter).collect()
    }
}

/// The letter that a small ASCII letter or digit passes for. `2` and `6` pass for none.
pub(super) fn fold(letter: u8) -> u8 {
    match letter {
        b'0' => b'o',
        b'1' | b'i' => b'l',
        b'3' => b'e',
        b'4' => b'a',
        b'5' => b's',
        b'7' => b't',
        b'8' => b'b',
        b'9' => b'g',
        other => other,
    }
}

/// Small letters that pass for Latin ones in running text and that UTS 39 keeps apart, because its
/// prototypes are the small capitals (`\u{1d0b}` for Cyrillic ka).
fn like_small_latin(letter: char) -> Option<u8> {
    match letter {
        '\u{3ba}' | '\u{43a}' => Some(b'k'),
        '\u{3c4}' | '\u{442}' => Some(b't'),
        '\u{43c}' => Some(b'm'),
        '\u{432}' => Some(b'b'),
        '\u{3b7}' | '\u{43f}' => Some(b'n'),
        '\u{3c9}' | '\u{448}' => Some(b'w'),
        _ => None,
    }
}

fn is_dash(letter: char) -> bool {
    matches!(letter, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{b7}' | '\u{2022}' | '\u{2019}')
}

/// Zero width: seen by nobody, and between letters only to hide a word from filters.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> String {
        String::from_utf8(Letters::of(text, Kind::Domain).look).expect("ASCII")
    }

    #[test]
    fn letters_look_as_they_look() {
        let rows = [
            ("PayPal.example", "paypal.example"),
            ("paypa1", "paypal"),
            ("p\u{430}yp\u{430}l", "paypal"),
            // Greek alpha and rho, Armenian oh
            ("\u{3c1}\u{3b1}y", "pay"),
            ("g\u{585}\u{585}gle", "google"),
            // full width
            ("\u{ff41}\u{ff50}\u{ff50}\u{ff4c}\u{ff45}", "apple"),
            // mathematical bold m
            ("\u{1d426}", "m"),
            ("cr\u{e9}dit", "credlt"),
            ("cre\u{301}dit", "credlt"),
            ("pay\u{200b}pal", "paypal"),
            ("a b_c", "a-b-c"),
            ("\u{4e2d}", "?"),
        ];
        for (text, expected) in rows {
            assert_eq!(look(text), expected, "{text}");
        }
    }

    #[test]
    fn it_is_known_how_they_were_written() {
        let hands = |text: &str| Letters::of(text, Kind::Domain).hands;
        assert_eq!(hands("\u{e9}"), [Hand::Accented]);
        assert_eq!(hands("e\u{301}"), [Hand::Accented]);
        assert_eq!(hands("\u{430}"), [Hand::Foreign]);
        assert_eq!(hands("1"), [Hand::Plain(b'1')]);
        assert_eq!(hands("a\u{200b}b"), [Hand::Foreign, Hand::Plain(b'b')]);
        assert!(Letters::of("1a", Kind::Domain).is_plain(0, 2, b"1a"));
        assert!(!Letters::of("1a", Kind::Domain).is_plain(0, 2, b"la"));
    }

    #[test]
    fn a_long_text_is_cut() {
        let letters = Letters::of(&"\u{fdfa}".repeat(100_000), Kind::Phrase);
        assert!(letters.look.len() <= LETTERS_MAX + EXPANSION_MAX);
        assert_eq!(letters.look.len(), letters.hands.len());
    }
}
