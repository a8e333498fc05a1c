//! What the word of a brand at some place of a name means.
//!
//! Owns the rules: how a likeness, the fame of the word, its length and its company make a
//! resemblance strong, weak or none. Pure tables; never looks at a name itself.
//! The rules lean to mercy: an exact word in a longer name is what partners and fans have, so it
//! is weak until something beside it asks for a secret. A faked letter is nobody's accident.

use super::brands::Fame;
use super::compare::{How, Strength};
use super::misspelt::{CHANGE, SLIP};
use super::skeleton::{Hand, Letters};
use super::tokens::{Baits, Hit};

/// How a word that looks like the brand's is really written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    Exact,
    /// The brand's letters, some with accents.
    Accents,
    /// Digits stand in for letters.
    Digits,
    /// Letters stand in for others: `rn` for `m`, `l` for `i`.
    Letters,
    /// All letters are of another script.
    Foreign,
    /// Some are, or something invisible is between them.
    Mixed,
}

impl Likeness {
    /// `None` when what is written is a number or so, whatever it looks like.
    pub fn of(letters: &Letters, hit: &Hit<'_>) -> Option<Likeness> {
        let (start, end) = (hit.place.start, hit.place.end);
        if letters.is_plain(start, end, hit.written) {
            return Some(Likeness::Exact);
        }
        let hands = &letters.hands[start..end];
        let letter =
            |hand: &&Hand| matches!(hand, Hand::Plain(letter) if letter.is_ascii_alphabetic());
        let digit = |hand: &&Hand| matches!(hand, Hand::Plain(letter) if letter.is_ascii_digit());
        let latin = hands.iter().filter(letter).count();
        let digits = hands.iter().filter(digit).count();
        if hands.contains(&Hand::Foreign) {
            return Some(if latin > 0 { Likeness::Mixed } else { Likeness::Foreign });
        }
        let digits_of_brand = hit.written.iter().filter(|letter| letter.is_ascii_digit()).count();
        match () {
            () if 2 * latin < hands.len() && digits > 0 => None,
            () if digits > digits_of_brand => Some(Likeness::Digits),
            () if hands.contains(&Hand::Accented) => Some(Likeness::Accents),
            () => Some(Likeness::Letters),
        }
    }

    /// By what means it deceives; `None` for a word that is spelt as the brand spells it.
    pub fn how(self) -> Option<How> {
        match self {
            Likeness::Exact => None,
            Likeness::Accents | Likeness::Foreign | Likeness::Mixed => Some(How::Confusable),
            Likeness::Digits | Likeness::Letters => Some(How::Homoglyph),
        }
    }
}

/// What else the label or phrase has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Nothing.
    Alone,
    /// Words that are known as bait, other brands, digits.
    Known,
    /// Words that say something of their own.
    Strangers,
}

/// Where in a host name the label stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// The name that was registered.
    Registered,
    /// The same below a suffix where names cost next to nothing.
    RegisteredCheaply,
    /// A customer's name below a suffix that a company runs (`github.io`).
    Tenant,
    /// A label further left, which whoever owns the name chooses freely.
    Below,
}

/// All that a rule may look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub likeness: Likeness,
    pub fame: Fame,
    /// Of the brand's word.
    pub letters: usize,
    pub company: Company,
    pub baits: Baits,
}

impl Scene {
    /// Of a word in a host name.
    pub fn in_host(self, ground: Ground) -> Option<(How, Strength)> {
        match self.likeness.how() {
            None => self.exact_in_host(ground),
            Some(how) => self.faked().map(|strength| (how, strength)),
        }
    }

    fn exact_in_host(self, ground: Ground) -> Option<(How, Strength)> {
        if self.company != Company::Alone {
            return self.named().map(|strength| (How::Token, strength));
        }
        match (ground, self.fame) {
            // Brands have more country domains than any list of them knows.
            (Ground::Registered, Fame::Distinct) => Some((How::WrongTld, Strength::Weak)),
            (Ground::RegisteredCheaply, Fame::Distinct) if self.letters >= 4 => {
                Some((How::WrongTld, Strength::Strong))
            }
            (Ground::RegisteredCheaply, Fame::Distinct) => Some((How::WrongTld, Strength::Weak)),
            (Ground::RegisteredCheaply, Fame::Common) if self.letters >= 5 => {
                Some((How::WrongTld, Strength::Weak))
            }
            // Customers name sub-domains after the services that run them: weak unless it asks for more.
            (Ground::Below, Fame::Distinct) if self.baits.strong > 0 => {
                Some((How::Subdomain, Strength::Strong))
            }
            (Ground::Tenant | Ground::Below, Fame::Distinct) => {
                Some((How::Subdomain, Strength::Weak))
            }
            (_, Fame::Common) => None,
        }
    }

    /// Of the exact word among others, in a host name, a mailbox or a display name.
    pub fn named(self) -> Option<Strength> {
        let Baits { strong, weak } = self.baits;
        match self.fame {
            Fame::Distinct if strong > 0 || weak > 1 => Some(Strength::Strong),
            Fame::Distinct => Some(Strength::Weak),
            Fame::Common if self.company == Company::Strangers => None,
            Fame::Common if strong > 1 => Some(Strength::Strong),
            Fame::Common if strong > 0 => Some(Strength::Weak),
            Fame::Common => None,
        }
    }

    /// Of a word that is not spelt as the brand spells it, wherever it stands.
    pub fn faked(self) -> Option<Strength> {
        match self.likeness {
            Likeness::Exact => self.named(),
            Likeness::Mixed => self.mixed(),
            Likeness::Foreign => self.foreign(),
            Likeness::Accents => self.accents(),
            Likeness::Digits => self.digits(),
            Likeness::Letters => self.other_letters(),
        }
    }

    /// Two scripts in one word: no language does so.
    fn mixed(self) -> Option<Strength> {
        match (self.letters, self.fame) {
            (..3, _) => None,
            (3, Fame::Common) => Some(Strength::Weak),
            (3.., _) => Some(Strength::Strong),
        }
    }

    /// A word of another script may be a word of another language by chance, if it is short.
    fn foreign(self) -> Option<Strength> {
        match (self.letters, self.fame, self.company) {
            (..4, _, Company::Alone | Company::Known) if self.baits.any() > 0 => {
                Some(Strength::Weak)
            }
            (..4, ..) => None,
            (4, ..) => Some(Strength::Weak),
            (5.., Fame::Common, Company::Strangers) => Some(Strength::Weak),
            (5.., ..) => Some(Strength::Strong),
        }
    }

    /// Accents are spelling in most languages: whole long names only.
    fn accents(self) -> Option<Strength> {
        match (self.letters, self.fame, self.company) {
            (..5, ..) => None,
            (5.., Fame::Distinct, Company::Alone) => Some(Strength::Strong),
            (5.., Fame::Common, Company::Alone) => Some(Strength::Weak),
            (5.., ..) => self.named(),
        }
    }

    fn digits(self) -> Option<Strength> {
        match (self.letters, self.fame, self.company) {
            (..4, ..) => None,
            (4, Fame::Common, Company::Known | Company::Strangers) => None,
            (4, ..) => Some(Strength::Weak),
            (5.., _, Company::Alone) => Some(Strength::Strong),
            (5.., Fame::Distinct, _) if self.baits.any() > 0 => Some(Strength::Strong),
            (5.., Fame::Common, Company::Known) if self.baits.any() > 0 => Some(Strength::Strong),
            (5.., Fame::Distinct, _) => Some(Strength::Weak),
            (5.., Fame::Common, _) => None,
        }
    }

    fn other_letters(self) -> Option<Strength> {
        match (self.letters, self.fame, self.company) {
            (..5, ..) => None,
            (5.., Fame::Distinct, _) if self.baits.strong > 0 => Some(Strength::Strong),
            (5.., Fame::Common, Company::Known) if self.baits.strong > 0 => Some(Strength::Strong),
            (6.., _, Company::Alone) => Some(Strength::Strong),
            (6.., Fame::Distinct, _) if self.baits.any() > 1 => Some(Strength::Strong),
            (_, Fame::Distinct, _) => Some(Strength::Weak),
            (_, Fame::Common, _) => None,
        }
    }
}

/// Of a slip of `cost` from a word of so many letters.
pub(super) fn misspelt(letters: usize, cost: u32, baits: Baits) -> Option<Strength> {
    let near = match letters {
        ..5 => None,
        5 if cost <= SLIP && baits.any() > 0 => Some(Strength::Weak),
        5 => None,
        6 if cost <= SLIP => Some(Strength::Weak),
        6 if cost <= CHANGE && baits.any() > 0 => Some(Strength::Weak),
        6 => None,
        7..10 if cost <= SLIP => Some(Strength::Strong),
        7..10 if cost <= CHANGE => Some(Strength::Weak),
        7..10 => None,
        10.. if cost <= CHANGE => Some(Strength::Strong),
        10.. => Some(Strength::Weak),
    };
    near.map(|strength| if baits.strong > 0 { Strength::Strong } else { strength })
}
