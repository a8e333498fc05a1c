//! Domain lockdown: may this sender use this sender domain, by the domain's own word?
//!
//! A domain names its rightful senders in TXT records. Ours stand at `_baton.<domain>`:
//! `v=bt1 account=<account> sender=<sender>`. Where there is none that can be read, those of the
//! reference product at `_mailchannels.<domain>` count: `v=mc1 auth=.. senderid=.. sidw=..`.
//! Pure: whoever asks the DNS hands in what it answered.
//!
//! - The strings of one TXT record are one text without anything between them (as RFC 7208 3.3).
//! - Only a text that begins with `v=bt1` (or `v=mc1`) and a space, semicolon or its end is a record;
//!   other texts at the name are somebody else's business.
//! - Tags are parted by spaces or semicolons; names, accounts and patterns are compared without
//!   regard to case; tags that we do not know are passed over.
//! - Records add up: a sender that any of them allows is allowed. A tag that is written twice in one
//!   record allows both. Within a `bt1` record account *and* sender must fit, so that one mailbox of an
//!   account can be named; within an `mc1` record any tag that fits allows, as its makers say.
//! - In `account` and `sender`, `*` stands for any letters. `sender` is compared with the whole
//!   sender id when it has a bar in it, else with its value: `joe@shop.example`, `*@shop.example`.
//! - A record that names nobody allows nobody: that locks a domain that sends no mail.
//! - A record that cannot be read is a fact and allows and forbids nothing: a slip in the DNS must
//!   not stop a customer's mail.

use crate::message::SenderId;

/// Records of one name that are read.
const RECORDS_MAX: usize = 16;

/// Octets of one record.
const RECORD_BYTES_MAX: usize = 1_024;

/// Patterns of one record.
const PATTERNS_MAX: usize = 16;

/// Whose words a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// `v=bt1`, at `_baton`.
    Baton,
    /// `v=mc1`, at `_mailchannels`.
    MailChannels,
}

impl Vocabulary {
    /// The label below which the domain stands.
    pub const fn label(self) -> &'static str {
        match self {
            Vocabulary::Baton => "_baton",
            Vocabulary::MailChannels => "_mailchannels",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Vocabulary::Baton => "v=bt1",
            Vocabulary::MailChannels => "v=mc1",
        }
    }
}

/// What a domain says about a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// No record: everybody may.
    Open,
    Allowed(Vocabulary),
    /// There are records, and none names this sender.
    Forbidden(Vocabulary),
}

/// The answer, and whether something at the name could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub lock: Lock,
    /// Why the first bad record is bad; each is one of a few fixed sentences.
    pub bad_record: Option<BadRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadRecord {
    NotText,
    TooLong,
    TooManyPatterns,
    /// A word without `=`, or with nothing on one side of it.
    BrokenTag,
    /// More than 16 records: the others were not read.
    TooManyRecords,
}

impl BadRecord {
    pub const fn name(self) -> &'static str {
        match self {
            BadRecord::NotText => "not-text",
            BadRecord::TooLong => "too-long",
            BadRecord::TooManyPatterns => "too-many-patterns",
            BadRecord::BrokenTag => "broken-tag",
            BadRecord::TooManyRecords => "too-many-records",
        }
    }
}

/// Who may use a domain, by one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    accounts: Vec<Pattern>,
    senders: Vec<Pattern>,
}

/// In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    /// `*` stands for any letters.
    Wild(String),
}

/// Decides by the TXT records at both names, each the octets of all its strings in order.
pub fn decide(own: &[&[u8]], reference: &[&[u8]], sender: &SenderId) -> Decision {
    let (records, bad_own) = read_all(own, Vocabulary::Baton);
    if !records.is_empty() {
        let lock = lock(&records, Vocabulary::Baton, sender);
        return Decision { lock, bad_record: bad_own };
    }
    let (records, bad) = read_all(reference, Vocabulary::MailChannels);
    let lock = match records.is_empty() {
        true => Lock::Open,
        false => lock(&records, Vocabulary::MailChannels, sender),
    };
    Decision { lock, bad_record: bad_own.or(bad) }
}

fn lock(records: &[Record], vocabulary: Vocabulary, sender: &SenderId) -> Lock {
    let id = sender.as_str().to_lowercase();
    match records.iter().any(|record| record.allows(vocabulary, &id)) {
        true => Lock::Allowed(vocabulary),
        false => Lock::Forbidden(vocabulary),
    }
}

impl Record {
    /// `id` is a sender id in lower case.
    fn allows(&self, vocabulary: Vocabulary, id: &str) -> bool {
        let account = id.split('|').next().unwrap_or("");
        let value = id.splitn(3, '|').nth(2).unwrap_or("");
        let account_fits = self.accounts.iter().any(|pattern| pattern.fits(account));
        let sender_fits = self
            .senders
            .iter()
            .any(|pattern| pattern.fits(if pattern.as_str().contains('|') { id } else { value }));
        match vocabulary {
            Vocabulary::MailChannels => account_fits || sender_fits,
            Vocabulary::Baton => match (self.accounts.is_empty(), self.senders.is_empty()) {
                (true, true) => false,
                (false, true) => account_fits,
                (true, false) => sender_fits,
                (false, false) => account_fits && sender_fits,
            },
        }
    }
}

fn read_all(texts: &[&[u8]], vocabulary: Vocabulary) -> (Vec<Record>, Option<BadRecord>) {
    let (mut records, mut bad) = (Vec::new(), None);
    for text in texts.iter().take(RECORDS_MAX) {
        match read(text, vocabulary) {
            Some(Ok(record)) => records.push(record),
            Some(Err(why)) => bad = bad.or(Some(why)),
            None => {}
        }
    }
    let more = texts.len() > RECORDS_MAX;
    (records, bad.or(more.then_some(BadRecord::TooManyRecords)))
}

/// `None` when the text is no record of this vocabulary.
fn read(text: &[u8], vocabulary: Vocabulary) -> Option<Result<Record, BadRecord>> {
    let text = text.trim_ascii();
    let version = vocabulary.version().as_bytes();
    let (front, rest) = text.split_at_checked(version.len())?;
    let is_parting = |octet: &u8| octet.is_ascii_whitespace() || *octet == b';';
    if !front.eq_ignore_ascii_case(version) || !rest.first().is_none_or(is_parting) {
        return None;
    }
    if text.len() > RECORD_BYTES_MAX {
        return Some(Err(BadRecord::TooLong));
    }
    Some(match std::str::from_utf8(rest) {
        Ok(rest) => tags(&rest.to_lowercase(), vocabulary),
        Err(_) => Err(BadRecord::NotText),
    })
}

fn tags(rest: &str, vocabulary: Vocabulary) -> Result<Record, BadRecord> {
    let mut record = Record::default();
    let words = rest.split(|c: char| c.is_ascii_whitespace() || c == ';');
    for word in words.filter(|word| !word.is_empty()) {
        let (tag, pattern) = word.split_once('=').ok_or(BadRecord::BrokenTag)?;
        if tag.is_empty() || pattern.is_empty() {
            return Err(BadRecord::BrokenTag);
        }
        let list = match (vocabulary, tag) {
            (Vocabulary::Baton, "account") | (Vocabulary::MailChannels, "auth") => {
                &mut record.accounts
            }
            (Vocabulary::Baton, "sender") | (Vocabulary::MailChannels, "senderid" | "sidw") => {
                &mut record.senders
            }
            _ => continue,
        };
        // Only `sidw` knows wildcards there; a star in the others is itself.
        list.push(match (vocabulary, tag) {
            (Vocabulary::MailChannels, "auth" | "senderid") => Pattern::Exact(pattern.to_owned()),
            _ => Pattern::Wild(pattern.to_owned()),
        });
    }
    match record.accounts.len() + record.senders.len() > PATTERNS_MAX {
        true => Err(BadRecord::TooManyPatterns),
        false => Ok(record),
    }
}

impl Pattern {
    fn as_str(&self) -> &str {
        match self {
            Pattern::Exact(text) | Pattern::Wild(text) => text,
        }
    }

    /// Takes each part between stars at its first place, so the time is that of one search per part.
    fn fits(&self, text: &str) -> bool {
        let mut parts = match self {
            Pattern::Exact(exact) => return exact == text,
            Pattern::Wild(pattern) => pattern.split('*'),
        };
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}
