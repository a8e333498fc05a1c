//! The brands: `etc/brands.toml` or an operator's file like it, compiled into one index.
//!
//! Owns what a file may say, its checks, and the answer to "whose domain is this". A file is
//! compiled once; a name is then compared with all brands in one pass, whatever their number.
//! Never compares names; that is `compare` and `claim`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Spanned;

use super::misspelt::Slips;
use super::tokens::{Bait, Patterns, PatternsBuilder};
use crate::config::Problem;

/// What problems of the shipped table are shown with.
const SHIPPED_NAME: &str = "etc/brands.toml";
const SHIPPED_TEXT: &str = include_str!("../../../etc/brands.toml");

/// Brands of one file: the shipped one has under 500.
const BRANDS_MAX: usize = 10_000;
const WORDS_MAX: usize = 16;
const DOMAINS_MAX: usize = 200;
/// Entries of each of the lists before the brands.
const LIST_MAX: usize = 10_000;
/// Letters and digits of a word. Two stand in every other name.
const WORD_LETTERS_MIN: usize = 3;
const WORD_LETTERS_MAX: usize = 40;
const NAME_CHARS_MAX: usize = 60;
/// Labels from the right in which a brand's own domain can lie.
const OWN_LABELS_MAX: usize = 6;

static SHIPPED: LazyLock<Brands> = LazyLock::new(|| {
    let problem = |problem: Problem| -> Brands { panic!("{problem}") };
    Brands::compile(SHIPPED_TEXT).unwrap_or_else(problem)
});

/// Whether a word is a brand's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fame {
    /// An ordinary word, a place, a surname or a short abbreviation as well.
    Common,
    Distinct,
}

/// A word that a brand is known by.
#[derive(Debug)]
pub(super) struct Word {
    /// Index into [`Brands::names`].
    pub brand: usize,
    pub fame: Fame,
    /// Letters and digits only.
    pub joined: String,
}

/// The compiled index.
#[derive(Debug)]
pub struct Brands {
    names: Vec<String>,
    pub(super) words: Vec<Word>,
    pub(super) patterns: Patterns,
    pub(super) slips: Slips,
    /// A domain to the brands that own it; two of one house may.
    owners: HashMap<String, Vec<usize>>,
    free_mail: HashSet<String>,
    cheap_suffixes: HashSet<String>,
    innocent_words: HashSet<String>,
    /// What the operator lets pass, with all below it.
    allowed: HashSet<String>,
}

impl Brands {
    /// Reads and checks a file of brands.
    ///
    /// # Errors
    /// The first thing that is wrong: its line, what it is, what is allowed.
    pub fn compile(text: &str) -> Result<Brands, Problem> {
        Brands::compile_named(SHIPPED_NAME, text)
    }

    /// As [`Brands::compile`], for the file that problems shall name.
    ///
    /// # Errors
    /// As there.
    pub fn compile_named(file: &str, text: &str) -> Result<Brands, Problem> {
        let place = Place { file, text };
        let form: Form = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            let what = error.message().lines().next().unwrap_or("not TOML").to_owned();
            place.problem(at, what, "lists of words, then [[brand]] tables; see etc/brands.toml")
        })?;
        Builder::default().build(form, &place)
    }

    /// The table that is part of the program.
    ///
    /// # Panics
    /// When it has a problem, which a test would have found.
    pub fn shipped() -> &'static Brands {
        &SHIPPED
    }

    /// Adds domains of an operator's allow list: these and all below them are never flagged.
    #[must_use]
    pub fn allowing<'d>(mut self, domains: impl IntoIterator<Item = &'d str>) -> Self {
        self.allowed.extend(domains.into_iter().map(normal));
        self
    }

    /// How many brands it knows.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Each brand's name and its own domains, for listings and tests.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rows: Vec<(usize, &str)> = Vec::new();
        for (domain, brands) in &self.owners {
            rows.extend(brands.iter().map(|brand| (*brand, domain.as_str())));
        }
        rows.sort_unstable();
        rows.into_iter().map(|(brand, domain)| (self.names[brand].as_str(), domain))
    }

    pub(super) fn name(&self, brand: usize) -> &str {
        &self.names[brand]
    }

    /// The brands whose domain this is or lies below. `domain` is in lower case.
    /// What lies below a public suffix that a company runs (`github.io`) is its customers'.
    pub(super) fn owners(&self, domain: &str) -> &[usize] {
        let found = ancestors(domain).find_map(|above| Some((above, self.owners.get(above)?)));
        match found {
            Some((above, owners)) if above == domain || !is_let(above, domain) => owners,
            Some(_) | None => &[],
        }
    }

    pub(super) fn owns(&self, brand: usize, domain: &str) -> bool {
        ancestors(domain)
            .any(|above| self.owners.get(above).is_some_and(|owners| owners.contains(&brand)))
    }

    pub(super) fn allows(&self, domain: &str) -> bool {
        !self.allowed.is_empty() && ancestors(domain).any(|above| self.allowed.contains(above))
    }

    pub(super) fn is_free_mail(&self, domain: &str) -> bool {
        self.free_mail.contains(domain)
    }

    pub(super) fn is_cheap(&self, suffix: &str) -> bool {
        self.cheap_suffixes.contains(suffix)
    }

    pub(super) fn is_innocent(&self, word: &str) -> bool {
        self.innocent_words.contains(word)
    }
}

/// A domain and what it lies below, the nearest last, from a bounded number of labels.
fn ancestors(domain: &str) -> impl Iterator<Item = &str> {
    let starts = domain.rmatch_indices('.').map(|(at, _)| at + 1).take(OWN_LABELS_MAX);
    let whole = std::iter::once(domain);
    starts.map(|start| &domain[start..]).chain(whole)
}

/// Whether whoever runs `above` lets others have names in the place where `domain` is.
fn is_let(above: &str, domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| {
        suffix.typ() == Some(psl::Type::Private) && suffix.as_bytes().len() >= above.len()
    })
}

/// As domains are compared: lower case, without the root's dot.
pub(super) fn normal(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase()
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Form {
    #[serde(default)]
    free_mail: Vec<Spanned<String>>,
    #[serde(default)]
    cheap_suffixes: Vec<Spanned<String>>,
    #[serde(default)]
    strong_bait: Vec<Spanned<String>>,
    #[serde(default)]
    weak_bait: Vec<Spanned<String>>,
    #[serde(default)]
    innocent_words: Vec<Spanned<String>>,
    brand: Vec<Spanned<BrandForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BrandForm {
    name: Spanned<String>,
    #[serde(default)]
    words: Vec<Spanned<String>>,
    #[serde(default)]
    common_words: Vec<Spanned<String>>,
    domains: Vec<Spanned<String>>,
}

struct Place<'t> {
    file: &'t str,
    text: &'t str,
}

impl Place<'_> {
    fn problem(&self, at: usize, what: String, allowed: &str) -> Problem {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
            allowed: Some(allowed.to_owned()),
        }
    }

    fn bound<T>(&self, list: &[Spanned<T>], max: usize, what: &str) -> Result<(), Problem> {
        let Some(first_over) = list.get(max) else { return Ok(()) };
        let words = format!("{} {what}", list.len());
        Err(self.problem(first_over.span().start, words, &format!("up to {max}")))
    }

    fn domain(&self, written: &Spanned<String>) -> Result<String, Problem> {
        let domain = written.get_ref();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if domain.len() <= 253 && domain.split('.').all(label) {
            return Ok(domain.clone());
        }
        let what = format!("`{}` is no domain", shown(domain));
        Err(self.problem(written.span().start, what, "labels of a-z, 0-9 and -, in lower case"))
    }

    fn domains(&self, list: &[Spanned<String>]) -> Result<HashSet<String>, Problem> {
        self.bound(list, LIST_MAX, "domains")?;
        list.iter().map(|one| self.domain(one)).collect()
    }

    /// The parts of a word between all that is no letter or digit.
    fn parts(&self, written: &Spanned<String>) -> Result<Vec<String>, Problem> {
        let word = written.get_ref();
        let split = word.split(|letter: char| !letter.is_ascii_alphanumeric());
        let parts: Vec<String> =
            split.filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
        let letters: usize = parts.iter().map(String::len).sum();
        if word.is_ascii() && (WORD_LETTERS_MIN..=WORD_LETTERS_MAX).contains(&letters) {
            return Ok(parts);
        }
        let what = format!("`{}` is no word to look for", shown(word));
        let allowed = "ASCII with 3 to 40 letters and digits";
        Err(self.problem(written.span().start, what, allowed))
    }
}

/// Text of the file as a problem repeats it.
fn shown(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[derive(Default)]
struct Builder {
    names: Vec<String>,
    words: Vec<Word>,
    /// A joined word to its brand's name, so that no two brands share one. One brand may write it
    /// in two ways (`office365`, `office 365`).
    seen: HashMap<String, String>,
    owners: HashMap<String, Vec<usize>>,
    patterns: PatternsBuilder,
}

impl Builder {
    fn build(mut self, form: Form, place: &Place<'_>) -> Result<Brands, Problem> {
        let free_mail = place.domains(&form.free_mail)?;
        let cheap_suffixes = place.domains(&form.cheap_suffixes)?;
        place.bound(&form.innocent_words, LIST_MAX, "words")?;
        let mut innocent_words = HashSet::new();
        for word in &form.innocent_words {
            innocent_words.insert(place.parts(word)?.join("-"));
        }
        place.bound(&form.strong_bait, LIST_MAX, "words")?;
        place.bound(&form.weak_bait, LIST_MAX, "words")?;
        for (bait, list) in [(Bait::Strong, &form.strong_bait), (Bait::Weak, &form.weak_bait)] {
            for word in list {
                self.patterns.add_bait(bait, &bait_parts(place, word)?);
            }
        }
        place.bound(&form.brand, BRANDS_MAX, "brands")?;
        for brand in &form.brand {
            self.add(brand, place)?;
        }
        let patterns = self.patterns.build().map_err(|error| {
            place.problem(0, format!("too much to search for: {error}"), "fewer words")
        })?;
        Ok(Brands {
            names: self.names,
            slips: Slips::new(&self.words),
            words: self.words,
            patterns,
            owners: self.owners,
            free_mail,
            cheap_suffixes,
            innocent_words,
            allowed: HashSet::new(),
        })
    }

    fn add(&mut self, written: &Spanned<BrandForm>, place: &Place<'_>) -> Result<(), Problem> {
        let (form, at) = (written.get_ref(), written.span().start);
        let name = form.name.get_ref();
        let chars = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) || name.chars().any(char::is_control) {
            let what = format!("`{}` is no name of a brand", shown(name));
            return Err(place.problem(form.name.span().start, what, "1 to 60 characters of text"));
        }
        let brand = self.names.len();
        self.names.push(name.clone());
        place.bound(&form.words, WORDS_MAX, "words")?;
        place.bound(&form.common_words, WORDS_MAX, "common words")?;
        place.bound(&form.domains, DOMAINS_MAX, "domains")?;
        if form.words.is_empty() && form.common_words.is_empty() {
            let what = format!("`{}` has no word to look for", shown(name));
            return Err(place.problem(at, what, "words or common-words with one or more"));
        }
        if form.domains.is_empty() {
            let what = format!("`{}` has no domain", shown(name));
            return Err(place.problem(at, what, "one or more domains that are its own"));
        }
        for (fame, list) in [(Fame::Distinct, &form.words), (Fame::Common, &form.common_words)] {
            for word in list {
                self.add_word(brand, fame, word, place)?;
            }
        }
        for domain in &form.domains {
            let owners = self.owners.entry(place.domain(domain)?).or_default();
            if !owners.contains(&brand) {
                owners.push(brand);
            }
        }
        Ok(())
    }

    fn add_word(
        &mut self,
        brand: usize,
        fame: Fame,
        written: &Spanned<String>,
        place: &Place<'_>,
    ) -> Result<(), Problem> {
        let parts = place.parts(written)?;
        let joined = parts.concat();
        if let Some(other) = self.seen.insert(joined.clone(), self.names[brand].clone())
            && other != self.names[brand]
        {
            let what = format!("`{}` is a word of {other} already", shown(written.get_ref()));
            return Err(place.problem(written.span().start, what, "each word once"));
        }
        self.patterns.add_word(self.words.len(), &parts);
        self.words.push(Word { brand, fame, joined });
        Ok(())
    }
}

/// As [`Place::parts`], but two letters are enough for a bait.
fn bait_parts(place: &Place<'_>, written: &Spanned<String>) -> Result<Vec<String>, Problem> {
    let word = written.get_ref();
    let letter = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let parts: Vec<String> =
        word.split('-').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if word.bytes().all(letter) && (2..=WORD_LETTERS_MAX).contains(&word.len()) && !parts.is_empty()
    {
        return Ok(parts);
    }
    let what = format!("`{}` is no bait to look for", shown(word));
    Err(place.problem(written.span().start, what, "2 to 40 of a-z, 0-9 and -"))
}
