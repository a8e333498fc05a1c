//! Where brands and bait words stand in a name, and whether they stand there as words.
//!
//! One pass of an Aho-Corasick automaton over the letters as they look (`skeleton`) finds every
//! place; then two sweeps find the borders of words: hyphens, dots, the ends, digits, and the
//! borders of other words that are found. So `ing` in `shipping` is no word, `paypal` in
//! `securepaypallogin` is one. The work is bounded by the letters and by [`PLACES_MAX`].
//! Never decides what a place means.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};

use super::skeleton::{DOT, HYPHEN, Hand, Letters, fold};

/// Places of one name that count; a name with more is noise.
const PLACES_MAX: usize = 256;
/// Words of brands of one name that count.
const HITS_MAX: usize = 16;
/// Letters that a word must have to make a border of its own end: shorter ones are parts of others
/// everywhere (`ing` in `accounting`).
const GLUE_LETTERS_MIN: usize = 4;
/// Letters of a word that are also searched for as the two that imitate them; of those together.
const PAIRS_MAX: usize = 3;

/// What stands beside a brand in names that imitate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bait {
    /// Asks for what only the brand may ask for: `login`, `verify`.
    Strong,
    /// Usual for imitations and for partners: `support`, `tracking`.
    Weak,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// Index into the words of the brands.
    Word(usize),
    Bait(Bait),
}

#[derive(Debug)]
struct Pattern {
    meaning: Meaning,
    /// As it is really written, with hyphens between its parts or without.
    written: Vec<u8>,
}

/// All that is searched for.
#[derive(Debug)]
pub(super) struct Patterns {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
}

#[derive(Debug, Default)]
pub(super) struct PatternsBuilder {
    looks: Vec<Vec<u8>>,
    patterns: Vec<Pattern>,
    /// So that a variant of one word is not that of another.
    seen: HashSet<Vec<u8>>,
}

impl PatternsBuilder {
    pub fn add_bait(&mut self, bait: Bait, parts: &[String]) {
        self.add_forms(Meaning::Bait(bait), parts);
    }

    pub fn add_word(&mut self, word: usize, parts: &[String]) {
        self.add_forms(Meaning::Word(word), parts);
        let joined = parts.concat();
        for variant in pair_variants(joined.as_bytes()) {
            if self.seen.insert(variant.clone()) {
                self.push(Meaning::Word(word), variant, joined.clone().into_bytes());
            }
        }
    }

    fn add_forms(&mut self, meaning: Meaning, parts: &[String]) {
        let joined = parts.concat();
        if parts.len() > 1 {
            let hyphened = parts.join("-");
            self.push(meaning, look(hyphened.as_bytes()), hyphened.into_bytes());
        }
        self.push(meaning, look(joined.as_bytes()), joined.into_bytes());
    }

    fn push(&mut self, meaning: Meaning, look: Vec<u8>, written: Vec<u8>) {
        self.looks.push(look);
        self.patterns.push(Pattern { meaning, written });
    }

    pub fn build(self) -> Result<Patterns, BuildError> {
        let automaton =
            AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&self.looks)?;
        Ok(Patterns { automaton, patterns: self.patterns })
    }
}

fn look(written: &[u8]) -> Vec<u8> {
    written.iter().map(|letter| fold(*letter)).collect()
}

/// `arnazon` for `amazon`: every choice of the first letters for which two stand in.
fn pair_variants(word: &[u8]) -> Vec<Vec<u8>> {
    let pair = |letter: u8| match letter {
        b'm' => Some(*b"rn"),
        b'w' => Some(*b"vv"),
        b'd' => Some(*b"cl"),
        _ => None,
    };
    let places: Vec<usize> =
        (0..word.len()).filter(|place| pair(word[*place]).is_some()).take(PAIRS_MAX).collect();
    let choices = 1_u32 << places.len();
    let variant = |choice: u32| {
        let mut variant = Vec::with_capacity(word.len() + PAIRS_MAX);
        for (place, letter) in word.iter().enumerate() {
            let chosen = places
                .iter()
                .position(|of| *of == place)
                .is_some_and(|number| choice & (1 << number) != 0);
            match pair(*letter).filter(|_| chosen) {
                Some(two) => variant.extend(two.map(fold)),
                None => variant.push(fold(*letter)),
            }
        }
        variant
    };
    (1..choices).map(variant).collect()
}

/// A word of a brand, found with borders on both sides.
#[derive(Debug)]
pub(super) struct Hit<'p> {
    pub place: Range<usize>,
    /// Index into the words of the brands.
    pub word: usize,
    /// As the brand is really written, in the form that was found.
    pub written: &'p [u8],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Baits {
    pub strong: usize,
    pub weak: usize,
}

impl Baits {
    pub fn any(self) -> usize {
        self.strong + self.weak
    }
}

/// The places of one name.
#[derive(Debug)]
pub(super) struct Tokens<'p> {
    found: Vec<(Range<usize>, &'p Pattern)>,
    /// By places between letters: a word may begin here, going by what is before.
    begins: Vec<Border>,
    /// A word may end here, going by what is behind.
    ends: Vec<Border>,
}

/// What lies at a place between two letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Border {
    None,
    /// The border of another word.
    Glued,
    /// A separator, an end, or digits beside one.
    Clear,
}

impl Patterns {
    pub fn find<'p>(&'p self, letters: &Letters) -> Tokens<'p> {
        let found: Vec<_> = self
            .automaton
            .find_overlapping_iter(&letters.look)
            .take(PLACES_MAX)
            .map(|place| (place.range(), &self.patterns[place.pattern().as_usize()]))
            .collect();
        let mut tokens = Tokens { found, begins: Vec::new(), ends: Vec::new() };
        tokens.find_borders(letters);
        tokens
    }
}

impl Tokens<'_> {
    /// Places are in the order of their ends, so one sweep each way settles what words lean on.
    fn find_borders(&mut self, letters: &Letters) {
        let count = letters.look.len();
        let separates = |at: usize| matches!(letters.look[at], HYPHEN | DOT);
        let digit =
            |at: usize| matches!(letters.hands[at], Hand::Plain(letter) if letter.is_ascii_digit());
        self.begins = vec![Border::None; count + 1];
        self.ends = vec![Border::None; count + 1];
        (self.begins[0], self.ends[count]) = (Border::Clear, Border::Clear);
        let mut places = self.found.iter().map(|(place, _)| place).peekable();
        for at in 0..count {
            let border = match (separates(at), digit(at)) {
                (true, _) => Border::Clear,
                (false, true) => self.begins[at],
                (false, false) => Border::None,
            };
            self.begins[at + 1] = border;
            while let Some(place) = places.next_if(|place| place.end <= at + 1) {
                let glues =
                    place.len() >= GLUE_LETTERS_MIN && self.begins[place.start] != Border::None;
                if glues && place.end == at + 1 && border == Border::None {
                    self.begins[place.end] = Border::Glued;
                }
            }
        }
        let mut places: Vec<_> = self.found.iter().map(|(place, _)| place).collect();
        places.sort_by_key(|place| Reverse(place.start));
        let mut places = places.into_iter().peekable();
        for at in (0..count).rev() {
            let border = match (separates(at), digit(at)) {
                (true, _) => Border::Clear,
                (false, true) => self.ends[at + 1],
                (false, false) => Border::None,
            };
            self.ends[at] = border;
            while let Some(place) = places.next_if(|place| place.start >= at) {
                let glues = place.len() >= GLUE_LETTERS_MIN && self.ends[place.end] != Border::None;
                if glues && place.start == at && border == Border::None {
                    self.ends[at] = Border::Glued;
                }
            }
        }
    }

    /// Brands' words with a border on both sides.
    pub fn hits(&self) -> impl Iterator<Item = Hit<'_>> {
        let hits = self.found.iter().filter_map(|(place, pattern)| match pattern.meaning {
            Meaning::Bait(_) => None,
            Meaning::Word(word) => {
                let stands = self.begins[place.start] != Border::None
                    && self.ends[place.end] != Border::None;
                stands.then(|| Hit { place: place.clone(), word, written: &pattern.written })
            }
        });
        hits.take(HITS_MAX)
    }

    /// Whether a word has separators, ends or digits around it, and no other word.
    pub fn stands_clear(&self, place: &Range<usize>) -> bool {
        self.begins[place.start] == Border::Clear && self.ends[place.end] == Border::Clear
    }

    /// Bait words in `within` beside `place`. What overlaps counts once, the longest.
    pub fn baits(&self, within: &Range<usize>, place: &Range<usize>) -> Baits {
        let mut baits = Baits::default();
        let mut counted: Option<(Range<usize>, Bait)> = None;
        for (at, pattern) in &self.found {
            let Meaning::Bait(bait) = pattern.meaning else { continue };
            let inside = at.start >= within.start && at.end <= within.end;
            let beside = at.end <= place.start || at.start >= place.end;
            let begins = self.begins[at.start] != Border::None || at.start == place.end;
            let ends = self.ends[at.end] != Border::None || at.end == place.start;
            let short = at.len() < GLUE_LETTERS_MIN;
            let clear =
                self.begins[at.start] == Border::Clear && self.ends[at.end] == Border::Clear;
            if !(inside && beside && begins && ends) || (short && !clear) {
                continue;
            }
            match &counted {
                // Places come by their ends: one that begins no later holds the last.
                Some((last, of)) if at.start <= last.start => baits.forget(*of),
                Some((last, _)) if at.start < last.end => continue,
                Some(_) | None => {}
            }
            baits.count(bait);
            counted = Some((at.clone(), bait));
        }
        baits
    }

    /// Whether everything in `within` is words that are found, digits, or `place`.
    pub fn is_composed(
        &self,
        letters: &Letters,
        within: &Range<usize>,
        place: &Range<usize>,
    ) -> bool {
        let mut start = within.start;
        for at in within.clone() {
            let first = at == start;
            if letters.look[at] == HYPHEN {
                start = at + 1;
            } else if first && !place.contains(&at) && self.ends[at] == Border::None {
                return false;
            }
        }
        true
    }

    /// What is left of a piece between separators when the words at its ends are taken away.
    pub fn core(&self, piece: &Range<usize>) -> Range<usize> {
        let known = self.ends[piece.start] != Border::None && !piece.is_empty();
        if known {
            return piece.end..piece.end;
        }
        let inner = piece.start + 1..piece.end;
        let start = inner.clone().rev().find(|at| self.begins[*at] == Border::Glued);
        let start = start.unwrap_or(piece.start);
        let end = (start + 1..piece.end).find(|at| self.ends[*at] == Border::Glued);
        start..end.unwrap_or(piece.end)
    }
}

impl Baits {
    fn count(&mut self, bait: Bait) {
        *self.of(bait) += 1;
    }

    fn forget(&mut self, bait: Bait) {
        *self.of(bait) -= 1;
    }

    fn of(&mut self, bait: Bait) -> &mut usize {
        match bait {
            Bait::Strong => &mut self.strong,
            Bait::Weak => &mut self.weak,
        }
    }
}
