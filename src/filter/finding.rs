//! What a check found, and what that does to a message.
//!
//! Checks report facts. What each fact does is not theirs to say: a table of weights (`[[weight]]`)
//! gives it an [`Effect`], so that an operator reads and changes all of it in one place. What the
//! findings of a message come to together is `verdict.rs`.

use crate::config::{Effect, Tag};
use std::borrow::Cow;

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
