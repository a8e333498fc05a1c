//! Slips of the pen: is a word a brand's name with a letter lost, doubled, swapped or mistyped?
//!
//! Owns the weighted distance (optimal string alignment) and the index that finds its candidates:
//! words by first letter and length, each with a signature of the letters it has, so that of all
//! brands a handful is compared letter by letter. Short names have no slips: at four letters every other word is one.
//! Never decides what a slip means.

use super::brands::{Fame, Word};

/// Below this many letters a word is nobody's slip.
pub(super) const LETTERS_MIN: usize = 5;
pub(super) const LETTERS_MAX: usize = 40;

/// Cost of a slip that nobody makes on purpose: a key beside the right one, two keys in the wrong
/// order, a letter once too often or too seldom.
pub(super) const SLIP: u32 = 5;
/// Cost of one vowel for another: read past as easily, but it makes other words as well.
const VOWEL: u32 = 7;
/// Cost of any other letter lost, added or replaced.
pub(super) const CHANGE: u32 = 10;
/// On top at the first letter: readers notice it, and what rhymes is mostly another word.
const FIRST: u32 = 5;
/// The furthest that is ever near enough; see `weigh`.
pub(super) const COST_MAX: u32 = 15;
/// From so many letters on a word may have a change and a slip; shorter ones have one of them.
const LONG_LETTERS_MIN: usize = 10;
/// Candidates that are compared letter by letter: for a file of more brands than ours.
const CANDIDATES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Slips {
    /// By [`head`].
    heads: Vec<Vec<Entry>>,
    words: Vec<Vec<u8>>,
}

/// What is looked at before a word is compared letter by letter.
#[derive(Clone, Debug)]
struct Entry {
    signature: u64,
    /// Index of the word.
    word: usize,
}

impl Slips {
    pub fn new(words: &[Word]) -> Self {
        let mut heads = vec![Vec::new(); LETTER_KINDS * (LETTERS_MAX + 1)];
        for (index, word) in words.iter().enumerate() {
            let text = word.joined.as_bytes();
            if word.fame == Fame::Distinct && (LETTERS_MIN..=LETTERS_MAX).contains(&text.len()) {
                let entry = Entry { signature: signature(text), word: index };
                heads[head(text[0], text.len())].push(entry);
            }
        }
        let words = words.iter().map(|word| word.joined.clone().into_bytes()).collect();
        Slips { heads, words }
    }

    /// The word that `text` is nearest to without being it, and the cost.
    pub fn nearest(&self, text: &[u8]) -> Option<(usize, u32)> {
        if !(LETTERS_MIN - 1..=LETTERS_MAX).contains(&text.len()) {
            return None;
        }
        let signature = signature(text);
        let changes_max = if text.len() < LONG_LETTERS_MIN { 1 } else { 2 };
        let lengths = text.len() - changes_max..=(text.len() + changes_max).min(LETTERS_MAX);
        // Any other slip at the first letter than these costs too much; see [`FIRST`].
        let starts = [Some(text[0]), Some(text[1]), key_left(text[0]), key_right(text[0])];
        let near = starts
            .into_iter()
            .flatten()
            .flat_map(|start| {
                lengths.clone().flat_map(move |length| &self.heads[head(start, length)])
            })
            // A replaced letter counts on both sides.
            .filter(|entry| (entry.signature ^ signature).count_ones() as usize <= 2 * changes_max);
        near.take(CANDIDATES_MAX)
            .map(|entry| (entry.word, distance(text, &self.words[entry.word])))
            .filter(|(_, cost)| (1..=COST_MAX).contains(cost))
            .min_by_key(|(_, cost)| *cost)
    }
}

/// Place of the words that begin with a letter and have so many.
fn head(first: u8, letters: usize) -> usize {
    letter_kind(first) * (LETTERS_MAX + 1) + letters
}

/// One bit for each letter and digit that occurs.
fn signature(text: &[u8]) -> u64 {
    text.iter().fold(0, |bits, letter| bits | 1 << letter_kind(*letter))
}

/// Letters, digits, and all else as one.
const LETTER_KINDS: usize = 37;

fn letter_kind(letter: u8) -> usize {
    match letter {
        b'a'..=b'z' => usize::from(letter - b'a'),
        b'0'..=b'9' => usize::from(26 + letter - b'0'),
        _ => LETTER_KINDS - 1,
    }
}

/// What it costs to come from one to the other. Both have at most [`LETTERS_MAX`] letters.
fn distance(text: &[u8], word: &[u8]) -> u32 {
    let mut two_back = [0; LETTERS_MAX + 1];
    let mut previous = [0; LETTERS_MAX + 1];
    let mut current = [0; LETTERS_MAX + 1];
    for j in 0..word.len() {
        previous[j + 1] = previous[j] + step(word, j);
    }
    for i in 0..text.len() {
        current[0] = previous[0] + step(text, i);
        let mut least = current[0];
        for j in 0..word.len() {
            let (a, b) = (text[i], word[j]);
            let mut cost = previous[j] + replaced(a, b, i.min(j));
            cost = cost.min(previous[j + 1] + step(text, i));
            cost = cost.min(current[j] + step(word, j));
            if i > 0 && j > 0 && a != b && a == word[j - 1] && text[i - 1] == b {
                cost = cost.min(two_back[j - 1] + SLIP);
            }
            current[j + 1] = cost;
            least = least.min(cost);
        }
        // Nothing becomes cheaper, except by a swap that looks back over one row.
        if least > COST_MAX + SLIP {
            return least;
        }
        (two_back, previous, current) = (previous, current, two_back);
    }
    previous[word.len()]
}

/// The cost of the letter at `place` where the other side has none.
fn step(text: &[u8], place: usize) -> u32 {
    match place {
        0 => CHANGE + FIRST,
        _ if text[place - 1] == text[place] => SLIP,
        _ => CHANGE,
    }
}

fn replaced(a: u8, b: u8, place: usize) -> u32 {
    let first = if place == 0 { FIRST } else { 0 };
    let vowel = |letter: u8| matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u');
    match (a, b) {
        _ if a == b => 0,
        _ if are_neighbours(a, b) => SLIP + first,
        _ if vowel(a) && vowel(b) => VOWEL + first,
        _ => CHANGE + first,
    }
}

/// Whether two keys touch each other in a row of the usual keyboard. Keys above each other are not
/// counted: the rows differ from country to country.
fn are_neighbours(a: u8, b: u8) -> bool {
    key_left(a) == Some(b) || key_right(a) == Some(b)
}

/// The letters of the usual keyboard, row after row.
const KEYS: [&[u8]; 3] = [b"qwertyuiop", b"asdfghjkl", b"zxcvbnm"];

fn key_left(key: u8) -> Option<u8> {
    beside(key, |row, place| row.get(place.checked_sub(1)?).copied())
}

fn key_right(key: u8) -> Option<u8> {
    beside(key, |row, place| row.get(place + 1).copied())
}

fn beside(key: u8, other: impl Fn(&[u8], usize) -> Option<u8>) -> Option<u8> {
    let place = |row: &&'static [u8]| row.iter().position(|of| *of == key).map(|at| (*row, at));
    let (row, place) = KEYS.iter().find_map(place)?;
    other(row, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs() {
        let rows = [
            ("paypal", "paypal", 0),
            ("payapl", "paypal", SLIP),
            ("paypall", "paypal", SLIP),
            ("paypsl", "paypal", SLIP),
            ("paypol", "paypal", VOWEL),
            ("paypazl", "paypal", CHANGE),
            ("papal", "paypal", CHANGE),
            ("finance", "binance", CHANGE + FIRST),
            ("inance", "binance", CHANGE + FIRST),
            ("micorsoft", "microsoft", SLIP),
            ("gogle", "google", SLIP),
        ];
        for (text, word, expected) in rows {
            assert_eq!(distance(text.as_bytes(), word.as_bytes()), expected, "{text} {word}");
        }
    }

    #[test]
    fn the_nearest_is_found_and_short_words_have_none() {
        let word = |joined: &str, fame| Word { brand: 0, fame, joined: joined.to_owned() };
        let slips = Slips::new(&[
            word("visa", Fame::Distinct),
            word("paypal", Fame::Distinct),
            word("paytal", Fame::Distinct),
            word("orange", Fame::Common),
        ]);
        let rows: &[(&str, Option<(usize, u32)>)] = &[
            ("paypsl", Some((1, SLIP))),
            ("payal", Some((1, CHANGE))),
            ("vsia", None),
            ("ornage", None),
            ("paypal", Some((2, CHANGE))),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(slips.nearest(text.as_bytes()), *expected, "{text}");
        }
        assert_eq!(slips.nearest(&[b'a'; 1_000]), None);
    }
}
