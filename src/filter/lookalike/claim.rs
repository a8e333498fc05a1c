//! Names that people read before the address: display names, and mailboxes at free-mail services.
//!
//! Decides whether a name claims to be a brand although the address is another's. A name that is
//! nothing but the brand and words of its trade (`PayPal Service`) claims it; one that says more
//! (`Ann, Amazon reseller`) mentions it, which is weak.
//! Never flags a name before the brand's own domain, nor one brand that speaks of another.

use std::borrow::Cow;
use std::ops::Range;

use super::brands::{Brands, Fame, normal};
use super::compare::{Best, How, Resemblance, Strength, ascii, company};
use super::skeleton::{HYPHEN, Kind, Letters};
use super::tokens::{Hit, Tokens};
use super::weigh::{Company, Likeness, Scene};

/// Octets of a name that are looked at; what is behind nobody reads.
const NAME_BYTES_MAX: usize = 320;

/// What a name was written for.
#[derive(Clone, Copy)]
enum Claim {
    /// Before the address, for people.
    Display,
    /// The mailbox itself.
    Mailbox,
}

impl Brands {
    /// Whether a display name claims a brand that `from_domain` does not belong to.
    pub fn claimed_by_name(&self, display_name: &str, from_domain: &str) -> Option<Resemblance> {
        let domain = ascii(from_domain)?;
        if self.allows(&domain) {
            return None;
        }
        let how = match (self.is_free_mail(&domain), self.owners(&domain)) {
            (true, _) => How::FreeMail,
            (false, []) => How::DisplayName,
            (false, _) => return None,
        };
        let name = head(display_name);
        self.address_in_name(name, &domain, how)
            .or_else(|| self.claim(name, &domain, how, Claim::Display))
    }

    /// Whether a mailbox at a free-mail service calls itself a brand: `paypal.service` at one.
    /// Elsewhere mailboxes are named after brands by who writes to those.
    pub fn claimed_by_mailbox(&self, local_part: &str, domain: &str) -> Option<Resemblance> {
        let domain = ascii(domain)?;
        if self.allows(&domain) || !self.is_free_mail(&domain) {
            return None;
        }
        self.claim(head(local_part), &domain, How::FreeMail, Claim::Mailbox)
    }

    fn claim(&self, name: &str, domain: &str, how: How, claim: Claim) -> Option<Resemblance> {
        let letters = Letters::of(&without_hosts(name), Kind::Phrase);
        let tokens = self.patterns.find(&letters);
        let mut best = Best::new(self);
        for hit in tokens.hits() {
            if self.owns(self.words[hit.word].brand, domain) {
                continue;
            }
            if let Some((how, strength)) = self.weigh_claim(&letters, &tokens, &hit, how, claim) {
                let shown = || letters.shown(hit.place.start, hit.place.end);
                best.offer(hit.word, how, strength, shown);
            }
        }
        best.into_found()
    }

    fn weigh_claim(
        &self,
        letters: &Letters,
        tokens: &Tokens<'_>,
        hit: &Hit<'_>,
        how: How,
        claim: Claim,
    ) -> Option<(How, Strength)> {
        let word = &self.words[hit.word];
        // People write names as words; in a mailbox they run together.
        let clear = tokens.stands_clear(&hit.place);
        if !clear && (word.fame == Fame::Common || matches!(claim, Claim::Display)) {
            return None;
        }
        let whole = trimmed(letters);
        let scene = Scene {
            likeness: Likeness::of(letters, hit)?,
            fame: word.fame,
            letters: word.joined.len(),
            company: company(letters, tokens, &whole, &hit.place),
            baits: tokens.baits(&whole, &hit.place),
        };
        match (scene.likeness, word.fame, scene.company, claim) {
            // Names of people and places have accents, and so have brands.
            (Likeness::Exact | Likeness::Accents, Fame::Distinct, company, _) => {
                let strength = claimed(company, scene.baits.any(), claim);
                Some((how, strength))
            }
            (Likeness::Exact | Likeness::Accents, Fame::Common, ..) => {
                scene.named().map(|strength| (how, strength))
            }
            (Likeness::Letters, _, Company::Strangers, _) => None,
            (likeness, ..) => {
                let how = likeness.how().unwrap_or(how);
                scene.faked().map(|strength| (how, strength))
            }
        }
    }

    /// A brand's address or domain as the name of another: `service@paypal.com <x@evil.example>`.
    fn address_in_name(&self, name: &str, domain: &str, how: How) -> Option<Resemblance> {
        let outside = |letter: char| !is_of_host(letter);
        let whole = name.trim_matches(outside);
        let hosts =
            name.split('@').skip(1).map(|behind| behind.split(outside).next().unwrap_or(""));
        for piece in std::iter::once(whole).chain(hosts).filter(|piece| piece.contains('.')) {
            let spelt = normal(piece);
            let [brand, ..] = *self.owners(&spelt) else { continue };
            if self.is_free_mail(&spelt) || self.owns(brand, domain) {
                continue;
            }
            let brand = self.name(brand).to_owned();
            return Some(Resemblance { brand, how, strength: Strength::Strong, part: spelt });
        }
        None
    }
}

/// The strength of a brand's own word in a name.
fn claimed(company: Company, baits: usize, claim: Claim) -> Strength {
    match (claim, company) {
        (Claim::Display, Company::Alone | Company::Known) => Strength::Strong,
        (Claim::Mailbox, Company::Known) if baits > 0 => Strength::Strong,
        (Claim::Display | Claim::Mailbox, _) => Strength::Weak,
    }
}

/// Without what stands behind an `@`: whose host that is has been looked at.
fn without_hosts(name: &str) -> Cow<'_, str> {
    if !name.contains('@') {
        return Cow::Borrowed(name);
    }
    let mut pieces = name.split('@');
    let mut kept = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        kept.push(' ');
        kept.push_str(piece.trim_start_matches(is_of_host));
    }
    Cow::Owned(kept)
}

fn is_of_host(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-')
}

/// Without separators at the ends, which say nothing.
fn trimmed(letters: &Letters) -> Range<usize> {
    let is_word = |look: &u8| *look != HYPHEN;
    let start = letters.look.iter().position(is_word).unwrap_or(0);
    let end = letters.look.iter().rposition(is_word).map_or(start, |last| last + 1);
    start..end
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}
