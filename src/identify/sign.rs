//! Signs that something is wrong with who sends: facts with evidence, no scores.
//!
//! Decides the closed list of signs and their names, which are part of the outside surface. What a
//! sign weighs is the filter's business. Each sign is told once a message, with its first evidence.

use crate::identify::path::Oddity;
use crate::identify::value::shown;

/// Octets of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sign {
    /// PHP says that the sending code was evaluated from a string.
    EvaluatedCode,
    HiddenFile,
    HiddenFolder,
    /// The script stands where a web site keeps uploads, caches or temporary files.
    DataFolder,
    /// A plugin or script is named as no person names one.
    RandomName,
    /// A mail library runs as the web server's user: nobody logged in for it.
    ServiceMailer,
    /// The user or the sender address is a service's: www-data, apache, nobody and so on.
    ServiceAccount,
    RootUser,
    /// One request of a script was made for three addresses or more.
    ManyVisitors,
    /// The envelope sender is of another domain than the mailbox or subscription that sends.
    ForeignEnvelope,
    /// So is the From field.
    ForeignFrom,
    /// A header that the peer is not believed names somebody else.
    UnbelievedHeader,
    /// Headers that the peer is believed name different senders.
    ConflictingHeaders,
    /// The Message-ID is of a host `www`: made by a script.
    WwwMessageId,
    /// The envelope sender is.
    WwwSender,
    /// A believed header cannot be read.
    UnreadableHeader,
    /// There is more header than is looked at.
    TooComplex,
}

impl Sign {
    pub const ALL: [Sign; 17] = [
        Sign::EvaluatedCode,
        Sign::HiddenFile,
        Sign::HiddenFolder,
        Sign::DataFolder,
        Sign::RandomName,
        Sign::ServiceMailer,
        Sign::ServiceAccount,
        Sign::RootUser,
        Sign::ManyVisitors,
        Sign::ForeignEnvelope,
        Sign::ForeignFrom,
        Sign::UnbelievedHeader,
        Sign::ConflictingHeaders,
        Sign::WwwMessageId,
        Sign::WwwSender,
        Sign::UnreadableHeader,
        Sign::TooComplex,
    ];

    /// Stable: in tags, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Sign::EvaluatedCode => "evaluated-code",
            Sign::HiddenFile => "hidden-file",
            Sign::HiddenFolder => "hidden-folder",
            Sign::DataFolder => "data-folder",
            Sign::RandomName => "random-name",
            Sign::ServiceMailer => "service-mailer",
            Sign::ServiceAccount => "service-account",
            Sign::RootUser => "root-user",
            Sign::ManyVisitors => "many-visitors",
            Sign::ForeignEnvelope => "foreign-envelope",
            Sign::ForeignFrom => "foreign-from",
            Sign::UnbelievedHeader => "unbelieved-header",
            Sign::ConflictingHeaders => "conflicting-headers",
            Sign::WwwMessageId => "www-message-id",
            Sign::WwwSender => "www-sender",
            Sign::UnreadableHeader => "unreadable-header",
            Sign::TooComplex => "too-complex",
        }
    }
}

impl From<Oddity> for Sign {
    fn from(oddity: Oddity) -> Self {
        match oddity {
            Oddity::HiddenFile => Sign::HiddenFile,
            Oddity::HiddenFolder => Sign::HiddenFolder,
            Oddity::DataFolder => Sign::DataFolder,
            Oddity::RandomName => Sign::RandomName,
        }
    }
}

/// Whether the header that tells of a sign is one that the peer is believed. One that is not may
/// have been written by the sender, or come along with a message that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Belief {
    Believed,
    Unbelieved,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub sign: Sign,
    pub belief: Belief,
    /// A peer's words, clean, at most [`EVIDENCE_BYTES_MAX`] octets.
    pub evidence: Box<str>,
}

/// The signs of one message, each once: as many as there are kinds at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<Fact>);

impl Facts {
    /// The first evidence stays, but what is believed goes before what is not.
    pub fn add(&mut self, sign: Sign, belief: Belief, evidence: &str) {
        let fact = Fact { sign, belief, evidence: shown(evidence, EVIDENCE_BYTES_MAX) };
        match self.0.iter_mut().find(|known| known.sign == sign) {
            Some(known) if known.belief == Belief::Unbelieved && belief == Belief::Believed => {
                *known = fact;
            }
            Some(_) => {}
            None => self.0.push(fact),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }

    pub fn find(&self, sign: Sign) -> Option<&Fact> {
        self.0.iter().find(|fact| fact.sign == sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_is_told_once_and_best_believed() {
        let mut facts = Facts::default();
        facts.add(Sign::RootUser, Belief::Unbelieved, "a");
        facts.add(Sign::RootUser, Belief::Believed, "b\r\n");
        facts.add(Sign::RootUser, Belief::Believed, "c");
        facts.add(Sign::TooComplex, Belief::Believed, &"x".repeat(1000));
        let told: Vec<_> = facts.iter().map(|fact| (fact.sign, fact.evidence.len())).collect();
        assert_eq!(told, [(Sign::RootUser, 3), (Sign::TooComplex, EVIDENCE_BYTES_MAX)]);
        let names: std::collections::BTreeSet<_> = Sign::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Sign::ALL.len());
    }
}
