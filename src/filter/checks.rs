//! The checks: facts of identity, content and domains become findings, by the table of weights.
//!
//! Owns the list of all findings there can be ([`names`]), which the table must name whole, and the
//! order of the checks. Which names are looked at for look-alikes: the domain of the envelope
//! sender, From and Reply-To, the display name of From, and the hosts of links; of links only the
//! worst counts, since a newsletter may link to many shops. Never decides; that is `verdict.rs`.

use super::content::{self, Content, Origin};
use super::finding::{Area, Finding};
use super::lookalike::{Brands, How, Resemblance, Strength};
use crate::config::{Effect, Points, Problem, Weight, read_weights};
use crate::identify::{self, Belief};
use std::collections::{BTreeMap, BTreeSet};

/// What problems of the shipped table are shown with.
const SHIPPED_NAME: &str = "etc/filter/weights.toml";
const SHIPPED_TEXT: &str = include_str!("../../etc/filter/weights.toml");

/// What every finding does, by `area.name`.
#[derive(Debug)]
pub struct Weights(BTreeMap<String, Weight>);

impl Weights {
    /// # Errors
    /// Everything that is wrong, in the order of the text; never empty.
    pub fn read(file: &str, text: &str) -> Result<Weights, Vec<Problem>> {
        let weights = read_weights(file, text, &names())?;
        let named = weights.into_iter().map(|weight| (weight.finding.clone(), weight));
        Ok(Weights(named.collect()))
    }

    /// The table that is part of the program.
    ///
    /// # Panics
    /// When it has a problem, which a test would have found.
    pub fn shipped() -> Weights {
        let problems = |problems: Vec<Problem>| -> Weights { panic!("{problems:#?}") };
        Weights::read(SHIPPED_NAME, SHIPPED_TEXT).unwrap_or_else(problems)
    }

    fn finding(&self, area: Area, name: &str, evidence: Box<str>) -> Finding {
        let weight = self.0.get(&full_name(area, name)).expect("every finding has a weight");
        let (tag, effect) = (weight.tag, weight.does);
        Finding { area, name: name.to_owned().into(), tag, effect, evidence }
    }
}

/// Every finding there can be, as `area.name`.
pub fn names() -> BTreeSet<String> {
    let identity = identify::Sign::ALL.iter().map(|sign| full_name(Area::Identity, sign.name()));
    let content = content::Sign::PLAIN.iter().map(|sign| full_name(Area::Content, sign.name()));
    let complex = content::Sign::TooComplex(content::Bound::Depth).name();
    let brands = How::ALL.iter().flat_map(|how| {
        let strengths = [Strength::Strong, Strength::Weak];
        strengths.map(|strength| full_name(Area::Domain, &brand_name(*how, strength)))
    });
    let content = content.chain([full_name(Area::Content, complex)]);
    identity.chain(content).chain(brands).collect()
}

/// What the checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The domain of the envelope sender; empty for notices.
    pub sender_domain: &'a str,
    pub identity: &'a identify::Facts,
    pub content: &'a Content,
}

/// All findings, in the order of the checks.
pub fn check(subject: Subject<'_>, brands: &Brands, weights: &Weights) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in subject.identity.iter() {
        let finding = weights.finding(Area::Identity, fact.sign.name(), fact.evidence.clone());
        findings.push(Finding { effect: as_believed(finding.effect, fact.belief), ..finding });
    }
    for fact in subject.content.facts().list() {
        let evidence = fact.evidence.clone();
        findings.push(weights.finding(Area::Content, fact.sign.name(), evidence));
    }
    findings.extend(resemblances(subject, brands).into_iter().map(|(place, found)| {
        let Resemblance { brand, how, strength, part } = found;
        let evidence = format!("{place} looks like {brand}: {part}").into();
        weights.finding(Area::Domain, &brand_name(how, strength), evidence)
    }));
    findings
}

/// What a field says that the sender may have written himself, or that came along with a message
/// which he passes on, weighs half of it, and is never enough by itself.
fn as_believed(effect: Effect, belief: Belief) -> Effect {
    match (belief, effect) {
        (Belief::Believed, effect) => effect,
        (Belief::Unbelieved, Effect::Weighs(points)) => {
            Effect::Weighs(Points::of_hundredths(points.hundredths() / 2))
        }
        (Belief::Unbelieved, Effect::Defers | Effect::Refuses) => Effect::Weighs(Points::ZERO),
    }
}

/// At most one of sender and one of links: the same name in several places is one fact.
fn resemblances(subject: Subject<'_>, brands: &Brands) -> Vec<(String, Resemblance)> {
    let header = subject.content.header();
    let from = header.from.list.first();
    let mut senders = Vec::new();
    let addresses = header.from.list.iter().chain(&header.reply_to.list);
    let domains = addresses.map(|mailbox| mailbox.domain());
    for domain in domains.chain([subject.sender_domain.to_owned()]) {
        senders.extend(brands.resembles(&domain).map(|found| (domain, found)));
    }
    if let Some(from) = from {
        let domain = from.domain();
        let local = from.address.rsplit_once('@').map_or("", |(local, _)| local);
        let claimed = [
            brands.claimed_by_name(&from.name, &domain),
            brands.claimed_by_mailbox(local, &domain),
        ];
        let named = |found| (format!("{} <{}>", from.name, from.address), found);
        senders.extend(claimed.into_iter().flatten().map(named));
    }
    let links = subject.content.links().kept().iter().filter(|link| leads(link.origin));
    let hosts: BTreeSet<&str> = links.map(|link| &*link.host).collect();
    let links = hosts
        .into_iter()
        .filter_map(|host| brands.resembles(host).map(|found| (format!("link {host}"), found)));
    [strongest(senders), strongest(links.collect())].into_iter().flatten().collect()
}

/// Whether a reader gets there by a click, rather than his program by showing the message.
fn leads(origin: Origin) -> bool {
    match origin {
        Origin::Anchor | Origin::Form | Origin::Frame | Origin::Refresh => true,
        Origin::Base | Origin::Text | Origin::Redirect => true,
        Origin::Image | Origin::Script | Origin::Style => false,
    }
}

/// The first of the strongest.
fn strongest(found: Vec<(String, Resemblance)>) -> Option<(String, Resemblance)> {
    let strong = found.iter().position(|(_, one)| one.strength == Strength::Strong);
    found.into_iter().nth(strong.unwrap_or(0))
}

fn brand_name(how: How, strength: Strength) -> String {
    match strength {
        Strength::Strong => format!("brand-{}", how.name()),
        Strength::Weak => format!("brand-{}-weak", how.name()),
    }
}

fn full_name(area: Area, name: &str) -> String {
    format!("{}.{name}", area.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::content::ContentLimits;
    use crate::filter::verdict::{Thresholds, Verdict, judge};

    const THRESHOLDS: Thresholds = Thresholds {
        vigilant: Points::of_hundredths(400),
        hold: Points::of_hundredths(800),
        reject: Points::of_hundredths(1000),
    };

    fn findings(message: &str) -> Vec<Finding> {
        let content = Content::read(message.as_bytes(), &ContentLimits::STANDARD);
        let identity = identify::Facts::default();
        let subject =
            Subject { sender_domain: "shop.example", identity: &identity, content: &content };
        check(subject, Brands::shipped(), &Weights::shipped())
    }

    fn message(from: &str, text: &str) -> String {
        format!(
            "From: {from}\r\nTo: joe@example.com\r\nSubject: Your order\r\n\
             Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@shop.example>\r\n\r\n{text}\r\n"
        )
    }

    #[test]
    fn the_shipped_weights_name_every_finding() {
        assert_eq!(Weights::shipped().0.len(), names().len());
    }

    #[test]
    fn an_honest_message_has_nothing_against_it() {
        let text = "Dear Joe,\r\nyour order is on its way: https://shop.example/orders/17\r\n";
        assert_eq!(findings(&message("Shop <orders@shop.example>", text)), []);
    }

    #[test]
    fn sender_and_links_are_compared_with_brands_once_each() {
        let text = "https://paypa1.com/a https://www.paypa1.com/b https://rnicrosoft.com/\r\n";
        let found = findings(&message("PayPal <service@paypa1.com>", text));
        let brands: Vec<&Finding> =
            found.iter().filter(|finding| finding.area == Area::Domain).collect();
        assert_eq!(brands.len(), 2, "{found:#?}");
        assert!(brands[0].evidence.contains("PayPal"), "{found:#?}");
        let judgement = judge(found, &THRESHOLDS);
        assert!(matches!(judgement.verdict, Verdict::Reject(_) | Verdict::Hold), "{judgement:?}");
    }

    #[test]
    fn what_is_enough_by_itself_refuses() {
        let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];
        let file = "MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=e.bin\r\n";
        let message = file.to_owned() + &message("Joe <joe@shop.example>", &eicar.concat());
        let found = findings(&message);
        assert!(found.iter().any(|finding| finding.effect == Effect::Refuses), "{found:#?}");
    }
}
