//! What all findings of a message come to: one verdict, explained by them.
//!
//! A finding that is enough by itself refuses, one that cannot be answered now defers, and the rest
//! are points. Each area has a cap: evidence of one kind does not pile up to a refusal that the
//! operator would not have given it (a classifier that is sure ten times over still only has its
//! say), and a floor, so that a pile of innocent words does not buy a bad link. What the caps add
//! up to is therefore policy: `check` proves that the classifier alone stays below a refusal.
//!
//! Pure; asks nothing and answers nobody.

use super::finding::{Area, Finding};
use crate::config::{Effect, Points, Tag};
use std::fmt;

/// What becomes of a message, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// Carried, and its sender is watched more closely.
    Vigilant,
    /// Not now: 4xx.
    Defer,
    /// Taken, and kept until a person releases or drops it.
    Hold,
    /// Refused: 550 5.7.1 with this tag.
    Reject(Tag),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Vigilant => f.write_str("vigilant"),
            Verdict::Defer => f.write_str("defer"),
            Verdict::Hold => f.write_str("hold"),
            Verdict::Reject(tag) => write!(f, "reject [{}]", tag.word()),
        }
    }
}

/// From how many points on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub vigilant: Points,
    pub hold: Points,
    pub reject: Points,
}

/// Thresholds that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadThresholds {
    /// Each is to be above zero, and none below the one before it.
    Order,
    /// The classifier alone would refuse.
    LearnedRefuses,
}

impl fmt::Display for BadThresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadThresholds::Order => f.write_str("allowed: 0 < vigilant <= hold <= reject"),
            BadThresholds::LearnedRefuses => {
                let cap = cap(Area::Learned);
                write!(f, "words alone, at most {cap} points, would refuse; allowed: more")
            }
        }
    }
}

impl std::error::Error for BadThresholds {}

impl Thresholds {
    pub fn check(self) -> Result<Thresholds, BadThresholds> {
        let Thresholds { vigilant, hold, reject } = self;
        if !(Points::ZERO < vigilant && vigilant <= hold && hold <= reject) {
            return Err(BadThresholds::Order);
        }
        if cap(Area::Learned) >= hold {
            return Err(BadThresholds::LearnedRefuses);
        }
        Ok(self)
    }
}

/// The most that an area adds.
pub const fn cap(area: Area) -> Points {
    Points::of_hundredths(match area {
        Area::Learned => 400,
        Area::Content => 800,
        Area::Identity | Area::Domain | Area::Sender | Area::Scanner | Area::Trap => 1000,
    })
}

/// The most that an area takes away.
const FLOOR: Points = Points::of_hundredths(-150);

/// A verdict with its grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Of all areas, each within its cap and floor.
    pub total: Points,
    /// What was found, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// Decides. Findings are to be in the order of the checks: of several that are enough by
/// themselves, the first names the tag.
pub fn judge(findings: Vec<Finding>, thresholds: &Thresholds) -> Judgement {
    let total = Area::ALL
        .into_iter()
        .fold(Points::ZERO, |sum, area| sum.plus(points(&findings, area).clamp(FLOOR, cap(area))));
    let refusal = findings.iter().find(|finding| finding.effect == Effect::Refuses);
    let verdict = if let Some(finding) = refusal {
        Verdict::Reject(finding.tag)
    } else if findings.iter().any(|finding| finding.effect == Effect::Defers) {
        Verdict::Defer
    } else if total >= thresholds.reject {
        Verdict::Reject(gravest(&findings))
    } else if total >= thresholds.hold {
        Verdict::Hold
    } else if total >= thresholds.vigilant {
        Verdict::Vigilant
    } else {
        Verdict::Accept
    };
    Judgement { verdict, total, findings }
}

fn points(findings: &[Finding], area: Area) -> Points {
    let of_area = findings.iter().filter(|finding| finding.area == area);
    of_area.fold(Points::ZERO, |sum, finding| match finding.effect {
        Effect::Weighs(points) => sum.plus(points),
        Effect::Defers | Effect::Refuses => sum,
    })
}

/// What most of the points are about; of equal ones the first of [`Tag::all`].
fn gravest(findings: &[Finding]) -> Tag {
    let about = |tag: Tag| {
        let these = findings.iter().filter(|finding| finding.tag == tag);
        these.fold(Points::ZERO, |sum, finding| match finding.effect {
            Effect::Weighs(points) => sum.plus(points),
            Effect::Defers | Effect::Refuses => sum,
        })
    };
    // `max_by_key` takes the last of equal ones.
    Tag::all().rev().max_by_key(|tag| about(*tag)).expect("there are tags")
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        vigilant: Points::of_hundredths(300),
        hold: Points::of_hundredths(800),
        reject: Points::of_hundredths(1000),
    };

    fn weighs(area: Area, tag: Tag, hundredths: i32) -> Finding {
        let effect = Effect::Weighs(Points::of_hundredths(hundredths));
        Finding { area, name: "sign".into(), tag, effect, evidence: "".into() }
    }

    fn with(effect: Effect, tag: Tag) -> Finding {
        Finding { effect, ..weighs(Area::Content, tag, 0) }
    }

    fn verdict(findings: &[Finding]) -> Verdict {
        judge(findings.to_vec(), &THRESHOLDS).verdict
    }

    #[test]
    fn points_of_all_areas_decide() {
        let content = |hundredths| weighs(Area::Content, Tag::Spam, hundredths);
        let brand = |hundredths| weighs(Area::Domain, Tag::Brand, hundredths);
        assert_eq!(verdict(&[]), Verdict::Accept);
        assert_eq!(verdict(&[content(299)]), Verdict::Accept);
        assert_eq!(verdict(&[content(300)]), Verdict::Vigilant);
        assert_eq!(verdict(&[content(400), brand(399)]), Verdict::Vigilant);
        assert_eq!(verdict(&[content(400), brand(400)]), Verdict::Hold);
        assert_eq!(verdict(&[content(400), brand(600)]), Verdict::Reject(Tag::Brand));
        assert_eq!(verdict(&[content(600), brand(400)]), Verdict::Reject(Tag::Spam));
    }

    #[test]
    fn no_area_goes_beyond_its_cap() {
        let sure = weighs(Area::Learned, Tag::Spam, 10_000);
        let many = vec![weighs(Area::Content, Tag::Spam, 300); 50];
        assert_eq!(judge(vec![sure.clone()], &THRESHOLDS).total, cap(Area::Learned));
        assert_eq!(verdict(std::slice::from_ref(&sure)), Verdict::Vigilant);
        assert_eq!(verdict(&many), Verdict::Hold);
        assert_eq!(verdict(&[many, vec![sure]].concat()), Verdict::Reject(Tag::Spam));
    }

    #[test]
    fn good_words_do_not_buy_a_bad_link() {
        let kind = weighs(Area::Learned, Tag::Spam, -5000);
        let link = weighs(Area::Domain, Tag::Brand, 950);
        let judgement = judge(vec![kind, link], &THRESHOLDS);
        assert_eq!((judgement.verdict, judgement.total.hundredths()), (Verdict::Hold, 800));
    }

    #[test]
    fn what_is_enough_by_itself_comes_before_what_waits_and_what_weighs() {
        let heavy = [weighs(Area::Content, Tag::Spam, 900), weighs(Area::Domain, Tag::Brand, 900)];
        let later = with(Effect::Defers, Tag::Malware);
        let refused = with(Effect::Refuses, Tag::Trap);
        let second = with(Effect::Refuses, Tag::Brand);
        assert_eq!(verdict(&[&heavy[..], std::slice::from_ref(&later)].concat()), Verdict::Defer);
        let all = [&heavy[..], &[later, refused, second]].concat();
        assert_eq!(verdict(&all), Verdict::Reject(Tag::Trap));
    }

    #[test]
    fn thresholds_hold_together() {
        assert_eq!(THRESHOLDS.check(), Ok(THRESHOLDS));
        let points = Points::of_hundredths;
        let crossed = Thresholds { hold: points(1100), ..THRESHOLDS };
        let none = Thresholds { vigilant: Points::ZERO, ..THRESHOLDS };
        let low = Thresholds { hold: cap(Area::Learned), ..THRESHOLDS };
        assert_eq!(crossed.check(), Err(BadThresholds::Order));
        assert_eq!(none.check(), Err(BadThresholds::Order));
        assert_eq!(low.check(), Err(BadThresholds::LearnedRefuses));
    }
}
