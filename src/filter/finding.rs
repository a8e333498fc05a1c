//! What a check found, and what that does to a message.
//!
//! Checks report facts. What each fact does is not theirs to say: a table of weights gives it an
//! [`Effect`], so that an operator reads and changes all of it in one place. What the findings of a
//! message come to together is `verdict.rs`.
//!
//! Points are hundredths in an integer: sums are exact, and the same in every order.

use std::borrow::Cow;
use std::fmt;

/// Hundredths of a point; more is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Points(i32);

impl Points {
    pub const ZERO: Points = Points(0);

    pub const fn of_hundredths(hundredths: i32) -> Points {
        Points(hundredths)
    }

    pub const fn hundredths(self) -> i32 {
        self.0
    }

    /// Stops at the ends of the range: no number of findings wraps round to the good.
    #[must_use]
    pub const fn plus(self, other: Points) -> Points {
        Points(self.0.saturating_add(other.0))
    }
}

/// `2.50`, `-0.30`.
impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", size / 100, size % 100)
    }
}

/// Who says it. In the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// How the message names its sender.
    Identity,
    /// What it is made of: structure, links, attachments, rules.
    Content,
    /// Its words, by the statistical classifier.
    Learned,
    /// Programs of others.
    Scanner,
    /// What its sender did before.
    Sender,
    Trap,
    /// The domains in it: existence, relation, look-alikes of brands.
    Domain,
}

impl Area {
    pub const ALL: [Area; 7] = [
        Area::Identity,
        Area::Content,
        Area::Learned,
        Area::Scanner,
        Area::Sender,
        Area::Trap,
        Area::Domain,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Area::Identity => "identity",
            Area::Content => "content",
            Area::Learned => "learned",
            Area::Scanner => "scanner",
            Area::Sender => "sender",
            Area::Trap => "trap",
            Area::Domain => "domain",
        }
    }
}

/// The word in brackets that a refusal begins with: stable, so that a sender's software and a
/// postmaster's filter can go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// Unwanted bulk mail.
    Spam,
    /// It wants secrets under another's name.
    Phish,
    /// It carries a program that harms.
    Malware,
    /// It comes from software that somebody took over, or hides who sent it.
    Script,
    /// The sender's own record.
    Sender,
    /// It goes to an address that nobody gave.
    Trap,
    /// A domain that looks like a known brand's.
    Brand,
    /// A sender domain that does not exist, cannot receive, or is another account's.
    Domain,
}

impl Tag {
    pub const ALL: [Tag; 8] = [
        Tag::Spam,
        Tag::Phish,
        Tag::Malware,
        Tag::Script,
        Tag::Sender,
        Tag::Trap,
        Tag::Brand,
        Tag::Domain,
    ];

    /// Without its brackets.
    pub const fn name(self) -> &'static str {
        match self {
            Tag::Spam => "SPAM",
            Tag::Phish => "PHISH",
            Tag::Malware => "MALWARE",
            Tag::Script => "SCRIPT",
            Tag::Sender => "SENDER",
            Tag::Trap => "TRAP",
            Tag::Brand => "BRAND",
            Tag::Domain => "DOMAIN",
        }
    }
}

/// What a finding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It adds to what others say; good signs take away.
    Weighs(Points),
    /// Nothing can be said now: the message may come again.
    Defers,
    /// It is enough by itself.
    Refuses,
}

/// A fact about a message, with what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub area: Area,
    /// Stable, in small letters with hyphens; unique in its area.
    pub name: Cow<'static, str>,
    pub tag: Tag,
    pub effect: Effect,
    /// What was seen, for a person; short.
    pub evidence: Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_read_as_people_write_them() {
        let told = |hundredths| Points::of_hundredths(hundredths).to_string();
        assert_eq!([told(250), told(5), told(0), told(-30)], ["2.50", "0.05", "0.00", "-0.30"]);
        assert_eq!(told(i32::MIN), "-21474836.48");
    }

    #[test]
    fn no_sum_turns_round() {
        let most = Points::of_hundredths(i32::MAX);
        assert_eq!(most.plus(Points::of_hundredths(1)), most);
    }
}
