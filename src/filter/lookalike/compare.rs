//! Whose name is a domain made to be taken for?
//!
//! Owns the answer ([`Resemblance`]) and the way to it for host names: decoding (RFC 3492, UTS 46),
//! the public suffix list, the words of brands in each label, then slips of the pen in the name that
//! was registered. The strongest resemblance is the answer.
//! Never flags a brand's own domain, an allowed one or one of the customer's.
//!
//! The work is bounded by the length of a name (RFC 1035 2.3.4): one pass for all brands, sweeps
//! over its letters, and a bounded number of pieces that are looked at for slips.

use std::borrow::Cow;
use std::ops::Range;

use psl::Type;

use super::brands::{Brands, Fame, normal};
use super::skeleton::{DOT, HYPHEN, Hand, Kind, Letters};
use super::tokens::{Baits, Hit, Tokens};
use super::weigh::{self, Company, Ground, Likeness, Scene};

/// Octets of a name that is looked at: 253 letters as UTF-8. A longer one is no domain.
const NAME_BYTES_MAX: usize = 4 * 253;
/// Pieces between hyphens that are looked at for slips.
const PIECES_MAX: usize = 6;

/// By what a name is taken for a brand's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Letters of other scripts, accents or invisible characters (UTS 39).
    Confusable,
    /// ASCII that looks alike: `paypa1`, `rnicrosoft`.
    Homoglyph,
    /// A slip of the pen: `micorsoft`.
    Misspelt,
    /// The brand as a word of a longer name: `paypal-secure-login`.
    Token,
    /// The brand as a label left of another's name, alone or with its whole domain.
    Subdomain,
    /// The brand's bare name under a suffix where it is not known to be the brand's.
    WrongTld,
    /// A mailbox at a free-mail service that calls itself the brand.
    FreeMail,
    /// A display name that claims the brand before another's domain.
    DisplayName,
}

impl How {
    pub const ALL: [How; 8] = [
        How::Confusable,
        How::Homoglyph,
        How::Misspelt,
        How::Token,
        How::Subdomain,
        How::WrongTld,
        How::FreeMail,
        How::DisplayName,
    ];

    /// Stable, for tags, logs and tables.
    pub fn name(self) -> &'static str {
        match self {
            How::Confusable => "confusable",
            How::Homoglyph => "homoglyph",
            How::Misspelt => "misspelt",
            How::Token => "token",
            How::Subdomain => "subdomain",
            How::WrongTld => "wrong-tld",
            How::FreeMail => "free-mail",
            How::DisplayName => "display-name",
        }
    }
}

/// How much a resemblance says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// An honest name may be so: a reseller, a fan, a country's branch that no list has. Worth
    /// something beside other evidence, and nothing alone.
    Weak,
    /// Hardly an honest name is so. Still no proof: a brand may have new domains.
    Strong,
}

impl Strength {
    /// Stable, for logs and tables.
    pub fn name(self) -> &'static str {
        match self {
            Strength::Weak => "weak",
            Strength::Strong => "strong",
        }
    }
}

/// A name that looks like a brand's, and is not the brand's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resemblance {
    /// The brand's name in the file of brands.
    pub brand: String,
    pub how: How,
    pub strength: Strength,
    /// The piece of the name that does it, as it looks; at most [`super::skeleton::LETTERS_MAX`]
    /// letters of ASCII.
    pub part: String,
}

/// The best so far: the stronger, then the longer word.
#[derive(Debug)]
pub(super) struct Best<'b> {
    brands: &'b Brands,
    rank: (Strength, usize),
    found: Option<Resemblance>,
}

impl<'b> Best<'b> {
    pub fn new(brands: &'b Brands) -> Self {
        Best { brands, rank: (Strength::Weak, 0), found: None }
    }

    pub fn offer(&mut self, word: usize, how: How, strength: Strength, part: impl Fn() -> String) {
        let word = &self.brands.words[word];
        let rank = (strength, word.joined.len());
        if self.found.is_none() || rank > self.rank {
            self.rank = rank;
            let brand = self.brands.name(word.brand).to_owned();
            self.found = Some(Resemblance { brand, how, strength, part: part() });
        }
    }

    pub fn into_found(self) -> Option<Resemblance> {
        self.found
    }
}

impl Brands {
    /// Whose name a domain is made to be taken for; `None` for what is no domain, too.
    pub fn resembles(&self, domain: &str) -> Option<Resemblance> {
        self.resembles_unless_own(domain, &[])
    }

    /// As [`Brands::resembles`]; `own` are the customer's domains, which with all below them are
    /// never flagged.
    pub fn resembles_unless_own(&self, domain: &str, own: &[&str]) -> Option<Resemblance> {
        let ascii = ascii(domain)?;
        let is_own = |one: &&str| is_or_is_below(&ascii, &normal(one));
        let known = self.allows(&ascii) || self.is_free_mail(&ascii);
        if known || own.iter().any(is_own) || !self.owners(&ascii).is_empty() {
            return None;
        }
        self.compare(&ascii, &[])
    }

    /// Compares a name with all brands but `except`, whoever owns it.
    pub(super) fn compare(&self, ascii: &str, except: &[usize]) -> Option<Resemblance> {
        let host = Host::of(ascii, self)?;
        let tokens = self.patterns.find(&host.letters);
        let mut best = Best::new(self);
        for hit in tokens.hits() {
            if !except.contains(&self.words[hit.word].brand) {
                self.weigh_hit(&host, &tokens, &hit, &mut best);
            }
        }
        if best.found.is_none() && host.ground != Ground::Tenant {
            self.weigh_slips(&host, &tokens, except, &mut best);
        }
        best.into_found()
    }

    fn weigh_hit(&self, host: &Host, tokens: &Tokens<'_>, hit: &Hit<'_>, best: &mut Best<'_>) {
        let Some(index) = host.labels.iter().position(|label| label.contains(&hit.place.start))
        else {
            return;
        };
        if index > host.registered {
            return;
        }
        let (label, word) = (&host.labels[index], &self.words[hit.word]);
        let below = index < host.registered;
        let letters = word.joined.len();
        let Some(likeness) = Likeness::of(&host.letters, hit) else { return };
        let shown = || host.letters.shown(hit.place.start, hit.place.end);
        if below && hit.place == *label && self.spells_domain(host, index, word.brand) {
            return best.offer(hit.word, How::Subdomain, Strength::Strong, shown);
        }
        let glues = word.fame == Fame::Distinct && letters >= GLUED_LETTERS_MIN;
        if !glues && !tokens.stands_clear(&hit.place) {
            return;
        }
        let faked = matches!(likeness, Likeness::Digits | Likeness::Letters);
        if faked && self.is_innocent(&shown()) {
            return;
        }
        let within = if below && hit.place == *label { &host.below } else { label };
        let scene = Scene {
            likeness,
            fame: word.fame,
            letters,
            company: company(&host.letters, tokens, label, &hit.place),
            baits: tokens.baits(within, &hit.place),
        };
        let ground = if below { Ground::Below } else { host.ground };
        if let Some((how, strength)) = scene.in_host(ground) {
            best.offer(hit.word, how, strength, shown);
        }
    }

    /// Whether a domain of the brand stands written out from this label on, left of another's:
    /// `paypal.com.account.example`.
    fn spells_domain(&self, host: &Host, label: usize, brand: usize) -> bool {
        let ends = (label + 1..=host.registered).take(SPELT_LABELS_MAX);
        ends.map(|last| host.letters.shown(host.labels[label].start, host.labels[last].end))
            .any(|spelt| self.owns(brand, &spelt))
    }

    /// Slips in the registered name: its pieces between hyphens, and all of it without them.
    fn weigh_slips(&self, host: &Host, tokens: &Tokens<'_>, except: &[usize], best: &mut Best<'_>) {
        let label = &host.labels[host.registered];
        let mut pieces = 0;
        let mut start = label.start;
        while start < label.end && pieces < PIECES_MAX {
            let rest = &host.letters.look[start..label.end];
            let end =
                rest.iter().position(|look| *look == HYPHEN).map_or(label.end, |at| start + at);
            let piece = start..end;
            let core = tokens.core(&piece);
            if !core.is_empty() {
                // What looks like a word at an end may be a part of the brand's (`bankofamercia`).
                let all = (core != piece).then_some(&piece);
                for place in all.into_iter().chain([&core]) {
                    self.weigh_piece(host, tokens, place, except, best);
                }
            }
            (start, pieces) = (end + 1, pieces + 1);
        }
        if pieces > 1
            && let Some(text) = host.letters.plain(label.start, label.end)
        {
            let joined: Vec<u8> = text.into_iter().filter(|letter| *letter != HYPHEN).collect();
            self.weigh_slip(&joined, Baits::default(), except, best);
        }
    }

    fn weigh_piece(
        &self,
        host: &Host,
        tokens: &Tokens<'_>,
        place: &Range<usize>,
        except: &[usize],
        best: &mut Best<'_>,
    ) {
        let label = &host.labels[host.registered];
        let Some(text) = host.letters.plain(place.start, place.end) else { return };
        let baits = tokens.baits(label, place);
        // A piece among strangers is a word of theirs.
        if place == label || baits.any() > 0 {
            self.weigh_slip(&text, baits, except, best);
        }
    }

    fn weigh_slip(&self, text: &[u8], baits: Baits, except: &[usize], best: &mut Best<'_>) {
        let Some((word, cost)) = self.slips.nearest(text) else { return };
        let known = &self.words[word];
        let shown = String::from_utf8_lossy(text);
        let brand = known.joined.as_bytes();
        let plural = text.strip_suffix(b"s") == Some(brand)
            || (brand.strip_suffix(b"s") == Some(text) && !text.ends_with(b"s"));
        if except.contains(&known.brand)
            || self.is_innocent(&shown)
            || (plural && baits.strong == 0)
        {
            return;
        }
        if let Some(strength) = weigh::misspelt(known.joined.len(), cost, baits) {
            best.offer(word, How::Misspelt, strength, || shown.clone().into_owned());
        }
    }
}

/// Letters that a word must have to be seen between other words without separators.
const GLUED_LETTERS_MIN: usize = 4;
/// Labels of a brand's domain that are looked for left of another's name.
const SPELT_LABELS_MAX: usize = 4;

pub(super) fn company(
    letters: &Letters,
    tokens: &Tokens<'_>,
    within: &Range<usize>,
    place: &Range<usize>,
) -> Company {
    match () {
        () if place == within => Company::Alone,
        () if tokens.is_composed(letters, within, place) => Company::Known,
        () => Company::Strangers,
    }
}

/// A host name taken apart.
struct Host {
    letters: Letters,
    labels: Vec<Range<usize>>,
    /// Index of the label that was registered.
    registered: usize,
    ground: Ground,
    /// All labels left of it.
    below: Range<usize>,
}

impl Host {
    /// `None` for a public suffix itself, an address and what is no name.
    fn of(ascii: &str, brands: &Brands) -> Option<Host> {
        let name = decoded(ascii);
        let suffix = psl::suffix(name.as_bytes())?;
        let suffix_text = std::str::from_utf8(suffix.as_bytes()).ok()?;
        let suffix_labels = suffix_text.split('.').count();
        let letters = Letters::of(&name, Kind::Domain);
        let mut labels = Vec::with_capacity(8);
        let mut start = 0;
        for (at, look) in letters.look.iter().enumerate() {
            if *look == DOT {
                labels.push(start..at);
                start = at + 1;
            }
        }
        labels.push(start..letters.look.len());
        let registered = labels.len().checked_sub(suffix_labels + 1)?;
        let digits = |hand: &Hand| matches!(hand, Hand::Plain(b'0'..=b'9'));
        if letters.hands[labels.last()?.clone()].iter().all(digits) {
            return None;
        }
        let ground = match suffix.typ() {
            Some(Type::Private) => Ground::Tenant,
            Some(Type::Icann) | None if brands.is_cheap(suffix_text) => Ground::RegisteredCheaply,
            Some(Type::Icann) | None => Ground::Registered,
        };
        let below = 0..labels[registered].start;
        Some(Host { letters, labels, registered, ground, below })
    }
}

/// A domain as the wire has it, in lower case; `None` for what is none.
pub(super) fn ascii(domain: &str) -> Option<Cow<'_, str>> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() || domain.len() > NAME_BYTES_MAX {
        return None;
    }
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if domain.bytes().all(plain) {
        return Some(Cow::Borrowed(domain));
    }
    if domain.is_ascii() {
        return Some(Cow::Owned(domain.to_ascii_lowercase()));
    }
    // What UTS 46 does not allow is compared as it is written: it looks no better for that.
    Some(Cow::Owned(idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())))
}

/// The name as people see it (RFC 3492).
fn decoded(ascii: &str) -> Cow<'_, str> {
    if ascii.is_ascii() && !ascii.contains("xn--") {
        return Cow::Borrowed(ascii);
    }
    Cow::Owned(idna::domain_to_unicode(ascii).0)
}

fn is_or_is_below(domain: &str, above: &str) -> bool {
    domain.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Were they not known to be real: those of one house own the same domains.
    #[test]
    fn brands_do_not_take_each_other_for_fakes() {
        let brands = Brands::shipped();
        let mut strong = Vec::new();
        for (name, domain) in brands.domains() {
            let Some(found) = brands.compare(domain, brands.owners(domain)) else { continue };
            if found.strength == Strength::Strong {
                strong.push((domain.to_owned(), found.brand, name));
            }
        }
        assert!(strong.is_empty(), "{strong:#?}");
    }

    #[test]
    fn ways_and_strengths_have_names_of_their_own() {
        let mut names: Vec<&str> = How::ALL.iter().map(|how| how.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), How::ALL.len());
        assert!(Strength::Weak < Strength::Strong);
    }

    #[test]
    fn evidence_is_the_piece_that_does_it() {
        let rows = [
            ("paypal-login.example", "paypal"),
            ("www.paypa1.com", "paypa1"),
            ("p\u{430}ypal.com", "paypal"),
            ("rnicrosoft.com", "rnicrosoft"),
            ("wells-fargo-alerts.example", "wells-fargo"),
            ("gogle-account.example", "gogle"),
        ];
        for (name, part) in rows {
            let found = Brands::shipped().resembles(name).expect(name);
            assert_eq!(found.part, part, "{name}");
        }
    }
}
