//! Compares ledgers: was everything that a relay promised kept, and kept once?
//!
//! Counts pairs of message and recipient. A pair answered 250 is delivered, or else bounced, or else
//! queued, or else missing: each is counted once, and `sent250` is their sum. Pairs whose fate is
//! unknown to the sender are counted apart. `contradicted` are pairs that were delivered and bounced
//! as well. Deliveries beyond the first of a pair are duplicates. `unexpected` are deliveries, and
//! notices, of pairs that were never sent or were refused. Addresses are the same however a relay
//! spells them: in whatever case, in xtext (RFC 3461 4) or with `\x{..}` (RFC 6533 3). A line of what
//! is queued or bounced may have `-` for the serial: then it means the one message that was sent to
//! that recipient, as the recipients of a run differ, and it is an error when there are several. Or
//! it may be a serial alone: then it means those of its recipients of whom nothing else is known.
//! Never looks at messages, only at ledgers.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::Error;
use crate::ledger;

/// Pairs named per kind of trouble in the printed answer.
const EXAMPLES_MAX: usize = 10;
/// Kinds of trouble that a pair can be in.
const TROUBLES: usize = 6;

#[derive(clap::Args)]
pub struct Args {
    /// Ledger of `send`; may be given several times, as may the others
    #[arg(long, value_name = "FILE", required = true)]
    sent: Vec<PathBuf>,
    /// Ledger of `sink`
    #[arg(long, value_name = "FILE", required = true)]
    delivered: Vec<PathBuf>,
    /// What the relay still holds: serial, serial TAB recipient, or - TAB recipient
    #[arg(long, value_name = "FILE")]
    queued: Vec<PathBuf>,
    /// What the relay gave back: serial, serial TAB recipient, or - TAB recipient
    #[arg(long, value_name = "FILE")]
    bounced: Vec<PathBuf>,
    /// Fail when more deliveries than this came again
    #[arg(long, value_name = "N", default_value_t = 0)]
    duplicates_max: u64,
    /// Fail when more than this were delivered and bounced as well
    #[arg(long, value_name = "N", default_value_t = 0)]
    contradicted_max: u64,
    /// Fail when more deliveries and notices than this are of what was never sent or was refused; a
    /// `send` that is killed with SIGKILL leaves out one message for each of its sessions
    #[arg(long, value_name = "N", default_value_t = 0)]
    unexpected_max: u64,
}

/// How much of what can have a good reason is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub duplicates_max: u64,
    pub contradicted_max: u64,
    pub unexpected_max: u64,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut books = Books::default();
    args.sent.iter().try_for_each(|path| books.read_sent(path))?;
    args.delivered.iter().try_for_each(|path| books.read_delivered(path))?;
    args.queued.iter().try_for_each(|path| books.read_queued(path))?;
    args.bounced.iter().try_for_each(|path| books.read_bounced(path))?;
    let balance = books.balance()?;
    print!("{balance}");
    let limits = Limits {
        duplicates_max: args.duplicates_max,
        contradicted_max: args.contradicted_max,
        unexpected_max: args.unexpected_max,
    };
    Ok(if balance.holds(limits) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that is known of one message and recipient.
#[derive(Clone, Copy, Default)]
struct Pair {
    sent: Sent,
    delivered: u32,
    corrupt: u32,
    bounced: Named,
    queued: Named,
}

/// Whether a line of what is bounced, or queued, names a pair.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Named {
    #[default]
    No,
    Yes,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    Never,
    Accepted,
    Refused,
    Unknown,
}

/// Where a pair is, beside with its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    Queued,
    Bounced,
}

/// The answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub sent250: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Those of the unknown ones that were delivered.
    pub unknown_delivered: u64,
    /// Pairs answered 250, each in one of these four.
    pub delivered: u64,
    pub queued: u64,
    pub bounced: u64,
    pub missing: u64,
    pub duplicates: u64,
    /// Deliveries whose body, header or sender is not what was sent.
    pub corrupt: u64,
    /// Delivered, and bounced as well: the sender was told what is not so.
    pub contradicted: u64,
    /// Deliveries and notices of pairs that were never sent, or were refused.
    pub unexpected: u64,
    /// Delivered messages that no load run made.
    pub foreign: u64,
    /// Some of the pairs behind the bad counts, in words.
    pub examples: Vec<String>,
}

/// Gathers ledgers, in any order and of any number.
#[derive(Default)]
pub struct Books {
    /// Keyed by `serial <TAB> recipient`, the recipient as `plain` has it.
    pairs: HashMap<Box<str>, Pair>,
    /// Serials that are queued or bounced for all of their recipients.
    whole: HashMap<Box<str>, Elsewhere>,
    /// Recipients of whose only message this is known.
    nameless: HashMap<Box<str>, Elsewhere>,
    foreign: u64,
}

impl Books {
    pub fn read_sent(&mut self, path: &Path) -> Result<(), Error> {
        ledger::read(path, |fields| {
            let [serial, recipient, fate] = fields else {
                return None;
            };
            let sent = match *fate {
                "unknown" => Sent::Unknown,
                code => match code.parse().ok()? {
                    200..300 => Sent::Accepted,
                    300..600_u16 => Sent::Refused,
                    _ => return None,
                },
            };
            self.pair(serial, recipient).sent = sent;
            Some(())
        })
    }

    pub fn read_delivered(&mut self, path: &Path) -> Result<(), Error> {
        ledger::read(path, |fields| {
            let [serial, recipient, _crc, shape] = fields else {
                return None;
            };
            match *shape {
                "ok" => self.pair(serial, recipient).delivered += 1,
                "corrupt" | "header" | "sender" => {
                    let pair = self.pair(serial, recipient);
                    pair.delivered += 1;
                    pair.corrupt += 1;
                }
                "foreign" => self.foreign += 1,
                _ => return None,
            }
            Some(())
        })
    }

    pub fn read_queued(&mut self, path: &Path) -> Result<(), Error> {
        self.read_elsewhere(path, Elsewhere::Queued)
    }

    pub fn read_bounced(&mut self, path: &Path) -> Result<(), Error> {
        self.read_elsewhere(path, Elsewhere::Bounced)
    }

    fn read_elsewhere(&mut self, path: &Path, elsewhere: Elsewhere) -> Result<(), Error> {
        ledger::read(path, |fields| {
            match fields {
                [serial] if !serial.is_empty() => {
                    self.whole.insert((*serial).into(), elsewhere);
                }
                ["-", recipient, ..] => {
                    self.nameless.insert(plain(recipient).into(), elsewhere);
                }
                [serial, recipient, ..] => self.settle(serial, recipient, elsewhere),
                _ => return None,
            }
            Some(())
        })
    }

    /// Takes a pair for queued or bounced, by what somebody said who has no ledger.
    pub fn settle(&mut self, serial: &str, recipient: &str, elsewhere: Elsewhere) {
        let pair = self.pair(serial, recipient);
        match elsewhere {
            Elsewhere::Queued => pair.queued = Named::Yes,
            Elsewhere::Bounced => pair.bounced = Named::Yes,
        }
    }

    /// Pairs that were promised, or may have been, and of which nothing more is known: serial and
    /// recipient.
    pub fn outstanding(&self) -> impl Iterator<Item = (&str, &str)> {
        let open = self.pairs.iter().filter(|(key, pair)| {
            matches!(pair.sent, Sent::Accepted | Sent::Unknown)
                && pair.delivered == 0
                && (pair.bounced, pair.queued) == (Named::No, Named::No)
                && !self.whole.contains_key(key.split('\t').next().unwrap_or(key))
        });
        open.filter_map(|(key, _)| key.split_once('\t'))
    }

    /// Messages of which all recipients that were promised have theirs.
    pub fn whole_messages(&self) -> u64 {
        let mut whole: HashMap<&str, bool> = HashMap::new();
        for (key, pair) in &self.pairs {
            if pair.sent == Sent::Accepted || pair.delivered > 0 {
                let serial = key.split('\t').next().unwrap_or(key);
                *whole.entry(serial).or_insert(true) &= pair.delivered > 0;
            }
        }
        whole.values().filter(|whole| **whole).count() as u64
    }

    /// Drops all that is known of messages whose serial begins so: another run's, such as a
    /// warm-up's.
    pub fn forget(&mut self, prefix: &str) {
        self.pairs.retain(|key, _| !key.starts_with(prefix));
    }

    fn pair(&mut self, serial: &str, recipient: &str) -> &mut Pair {
        self.pairs.entry(format!("{serial}\t{}", plain(recipient)).into_boxed_str()).or_default()
    }

    /// Fails when a recipient alone does not tell which message is meant.
    pub fn balance(&self) -> Result<Balance, Error> {
        let named = self.name()?;
        let strangers = self.strangers(&named);
        let mut balance = Balance { foreign: self.foreign, ..Balance::default() };
        balance.unexpected += strangers.len() as u64;
        let strangers =
            strangers.iter().map(|recipient| format!("unexpected notice - {recipient}"));
        balance.examples.extend(strangers.take(EXAMPLES_MAX));
        let mut kinds = [0; TROUBLES];
        for (key, pair) in &self.pairs {
            let serial = key.split('\t').next().unwrap_or(key);
            let mut pair = *pair;
            match named.get(&**key) {
                Some(Elsewhere::Queued) => pair.queued = Named::Yes,
                Some(Elsewhere::Bounced) => pair.bounced = Named::Yes,
                None => {}
            }
            if pair.delivered == 0 && (pair.bounced, pair.queued) == (Named::No, Named::No) {
                match self.whole.get(serial) {
                    Some(Elsewhere::Queued) => pair.queued = Named::Yes,
                    Some(Elsewhere::Bounced) => pair.bounced = Named::Yes,
                    None => {}
                }
            }
            let troubles = balance.count(&pair);
            for (nth, (word, trouble)) in troubles.into_iter().enumerate() {
                if trouble && kinds[nth] < EXAMPLES_MAX {
                    kinds[nth] += 1;
                    balance.examples.push(format!("{word} {}", key.replace('\t', " ")));
                }
            }
        }
        let Balance { sent250, delivered, bounced, queued, missing, .. } = balance;
        assert_eq!(sent250, delivered + bounced + queued + missing, "each pair is counted once");
        balance.examples.sort();
        Ok(balance)
    }

    /// The pairs that are known by their recipients alone.
    fn name(&self) -> Result<HashMap<&str, Elsewhere>, Error> {
        let mut named = HashMap::new();
        if self.nameless.is_empty() {
            return Ok(named);
        }
        let mut taken = HashSet::new();
        for (key, pair) in &self.pairs {
            let recipient = key.split('\t').nth(1).unwrap_or_default();
            if let Some(elsewhere) = self.nameless.get(recipient)
                && matches!(pair.sent, Sent::Accepted | Sent::Unknown)
            {
                if !taken.insert(recipient) {
                    return Err(Error::Ambiguous { recipient: recipient.to_owned() });
                }
                named.insert(&**key, *elsewhere);
            }
        }
        Ok(named)
    }

    /// Recipients that a notice without a serial names, and to whom nothing was sent.
    fn strangers(&self, named: &HashMap<&str, Elsewhere>) -> Vec<&str> {
        let known: HashSet<&str> = named.keys().filter_map(|key| key.split('\t').nth(1)).collect();
        let bounced =
            self.nameless.iter().filter(|(_, elsewhere)| **elsewhere == Elsewhere::Bounced);
        let mut strangers: Vec<&str> =
            bounced.map(|(recipient, _)| &**recipient).filter(|it| !known.contains(it)).collect();
        strangers.sort_unstable();
        strangers
    }
}

/// An address as it is looked up: in small letters, and decoded from xtext and from `\x{..}` until
/// nothing is left to decode, so that all spellings that relays use of one come to the same. Two
/// addresses that differ in these alone are taken for one.
fn plain(address: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(address);
    while let Some(decoded) = decode(&plain) {
        plain = Cow::Owned(decoded);
    }
    let is_small = plain.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_small { plain } else { Cow::Owned(plain.to_lowercase()) }
}

/// Decodes once; `None` when there is nothing to decode. Shorter than what it was made of.
fn decode(address: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(address.len());
    let mut rest = address;
    while let Some(next) = rest.chars().next() {
        if let Some((bytes, after)) = xtext(rest).or_else(|| embedded(rest)) {
            decoded.extend(bytes);
            rest = after;
        } else {
            decoded.extend_from_slice(&rest.as_bytes()[..next.len_utf8()]);
            rest = &rest[next.len_utf8()..];
        }
    }
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    (decoded.len() < address.len()).then_some(decoded)
}

/// `+2B`, in capitals (RFC 3461 4).
fn xtext(text: &str) -> Option<(Vec<u8>, &str)> {
    let digits = text.strip_prefix('+')?.get(..2)?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    let byte = digits.bytes().all(is_hex).then(|| u8::from_str_radix(digits, 16).ok())??;
    // A control character would break a line of the ledger, and stands in no address.
    (!byte.is_ascii_control()).then(|| (vec![byte], &text[3..]))
}

/// `\x{F6}` (RFC 6533 3).
fn embedded(text: &str) -> Option<(Vec<u8>, &str)> {
    let (digits, after) = text.strip_prefix("\\x{")?.split_once('}')?;
    let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    (!letter.is_control()).then(|| (letter.to_string().into_bytes(), after))
}

impl Balance {
    /// Adds one pair; returns what is wrong with it.
    fn count(&mut self, pair: &Pair) -> [(&'static str, bool); TROUBLES] {
        let arrived = pair.delivered > 0;
        let bounced = pair.bounced == Named::Yes;
        let mut missing = false;
        match pair.sent {
            Sent::Never => {}
            Sent::Accepted => {
                self.sent250 += 1;
                match (pair.bounced, pair.queued) {
                    _ if arrived => self.delivered += 1,
                    (Named::Yes, _) => self.bounced += 1,
                    (Named::No, Named::Yes) => self.queued += 1,
                    (Named::No, Named::No) => {
                        self.missing += 1;
                        missing = true;
                    }
                }
            }
            Sent::Refused => self.refused += 1,
            Sent::Unknown => {
                self.unknown += 1;
                self.unknown_delivered += u64::from(arrived);
            }
        }
        let uncalled = matches!(pair.sent, Sent::Never | Sent::Refused);
        let (unexpected, notice) = (uncalled && arrived, uncalled && bounced);
        let contradicted = !uncalled && arrived && bounced;
        self.duplicates += u64::from(pair.delivered.saturating_sub(1));
        self.corrupt += u64::from(pair.corrupt);
        self.contradicted += u64::from(contradicted);
        self.unexpected += u64::from(unexpected) + u64::from(notice);
        [
            ("missing", missing),
            ("corrupt", pair.corrupt > 0),
            ("duplicate", pair.delivered > 1),
            ("contradicted", contradicted),
            ("unexpected", unexpected),
            ("unexpected notice", notice),
        ]
    }

    /// Whether nothing was lost or damaged, and no more than is allowed came again, was called
    /// failed though it came, or came though nobody sent it.
    pub fn holds(&self, limits: Limits) -> bool {
        self.missing == 0
            && self.corrupt == 0
            && self.duplicates <= limits.duplicates_max
            && self.contradicted <= limits.contradicted_max
            && self.unexpected <= limits.unexpected_max
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, count) in [
            ("sent250", self.sent250),
            ("refused", self.refused),
            ("unknown", self.unknown),
            ("unknown-delivered", self.unknown_delivered),
            ("delivered", self.delivered),
            ("queued", self.queued),
            ("bounced", self.bounced),
            ("duplicates", self.duplicates),
            ("missing", self.missing),
            ("corrupt", self.corrupt),
            ("contradicted", self.contradicted),
            ("unexpected", self.unexpected),
            ("foreign", self.foreign),
        ] {
            writeln!(out, "{word} {count}")?;
        }
        self.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ledger::{Fate, Ledger, Shape};

    /// A file of its own for each call, removed with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("baton-load-test-{}-{number}", std::process::id());
            Scratch(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn sent(books: &mut Books, lines: &[(&str, &str, Fate)]) {
        let file = Scratch::new();
        let mut ledger = Ledger::open(Some(&file.0)).unwrap();
        for (serial, recipient, fate) in lines {
            ledger.sent(serial, recipient, *fate);
            ledger.commit().unwrap();
        }
        books.read_sent(&file.0).unwrap();
    }

    fn delivered(books: &mut Books, lines: &[(&str, &str, Shape)]) {
        let file = Scratch::new();
        let mut ledger = Ledger::open(Some(&file.0)).unwrap();
        for (serial, recipient, shape) in lines {
            ledger.delivered(serial.as_bytes(), recipient.as_bytes(), 7, *shape);
            ledger.commit().unwrap();
        }
        books.read_delivered(&file.0).unwrap();
    }

    const OK: Fate = Fate::Answered(250);
    const LENIENT: Limits =
        Limits { duplicates_max: u64::MAX, contradicted_max: u64::MAX, unexpected_max: u64::MAX };

    #[test]
    fn what_was_promised_and_came_once_is_in_balance() {
        let mut books = Books::default();
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole), ("r-1", "b@x", Shape::Whole)]);
        sent(
            &mut books,
            &[("r-1", "a@x", OK), ("r-1", "b@x", OK), ("r-2", "a@x", Fate::Answered(451))],
        );
        sent(&mut books, &[("r-3", "a@x", Fate::Unknown)]);
        delivered(&mut books, &[("-", "s@x", Shape::Foreign)]);
        let expected = Balance {
            sent250: 2,
            refused: 1,
            unknown: 1,
            delivered: 2,
            foreign: 1,
            ..Balance::default()
        };
        assert_eq!(books.balance().unwrap(), expected);
        assert!(books.balance().unwrap().holds(Limits::default()));
    }

    #[test]
    fn a_missing_pair_is_found() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-1", "b@x", OK)]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole)]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.missing, balance.examples), (1, vec!["missing r-1 b@x".to_owned()]));
        assert!(!books.balance().unwrap().holds(LENIENT));
    }

    #[test]
    fn what_is_queued_or_bounced_is_not_missing() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-1", "b@x", OK), ("r-2", "a@x", OK)]);
        let (queued, bounced) = (Scratch::new(), Scratch::new());
        std::fs::write(&queued.0, "r-1\n").unwrap();
        std::fs::write(&bounced.0, "r-2\ta@x\n").unwrap();
        books.read_queued(&queued.0).unwrap();
        books.read_bounced(&bounced.0).unwrap();
        let balance = books.balance().unwrap();
        assert_eq!((balance.queued, balance.bounced, balance.missing), (2, 1, 0));
    }

    #[test]
    fn duplicates_are_counted_and_bounded() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK)]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole); 3]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.delivered, balance.duplicates), (1, 2));
        let at_most = |duplicates_max| Limits { duplicates_max, ..Limits::default() };
        assert!(balance.holds(LENIENT) && balance.holds(at_most(2)) && !balance.holds(at_most(1)));
    }

    #[test]
    fn a_corrupt_and_an_unexpected_delivery_are_found() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "a@x", Fate::Answered(550))]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Corrupt), ("r-2", "a@x", Shape::Whole)]);
        delivered(&mut books, &[("r-9", "a@x", Shape::Whole)]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.corrupt, balance.missing, balance.unexpected), (1, 0, 2));
        assert!(!balance.holds(LENIENT));
    }

    fn elsewhere(books: &mut Books, elsewhere: Elsewhere, lines: &str) {
        let file = Scratch::new();
        std::fs::write(&file.0, lines).unwrap();
        books.read_elsewhere(&file.0, elsewhere).unwrap();
    }

    #[test]
    fn a_recipient_alone_names_the_message_that_was_sent_to_it() {
        let mut books = Books::default();
        // In any order.
        elsewhere(&mut books, Elsewhere::Bounced, "-\ta@x\n-\tc@x\n-\tstranger@x\n");
        elsewhere(&mut books, Elsewhere::Queued, "-\tb@x\n");
        let lines = [("r-1", "a@x", OK), ("r-2", "b@x", OK), ("r-3", "d@x", OK)];
        sent(&mut books, &lines);
        sent(&mut books, &[("r-4", "c@x", Fate::Unknown)]);
        let balance = books.balance().unwrap();
        // The one whose fate is unknown is in none of these.
        assert_eq!((balance.bounced, balance.queued, balance.missing), (1, 1, 1));
        assert_eq!(balance.unexpected, 1);
        assert_eq!(balance.examples, ["missing r-3 d@x", "unexpected notice - stranger@x"]);
    }

    #[test]
    fn a_recipient_of_several_messages_names_none() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "a@x", OK), ("r-3", "b@x", OK)]);
        elsewhere(&mut books, Elsewhere::Bounced, "-\tb@x\n");
        assert_eq!(books.balance().unwrap().bounced, 1, "the others do not matter");
        elsewhere(&mut books, Elsewhere::Bounced, "-\ta@x\n");
        let error = books.balance().unwrap_err().to_string();
        assert!(error.starts_with("several messages went to a@x"), "{error}");
        // With the serial it is clear.
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "a@x", OK)]);
        elsewhere(&mut books, Elsewhere::Bounced, "r-1\ta@x\n");
        assert_eq!(books.balance().unwrap().missing, 1);
    }

    #[test]
    fn what_is_outstanding_can_be_settled_by_word() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-1", "b@x", OK), ("r-2", "a@x", OK)]);
        sent(&mut books, &[("r-3", "a@x", Fate::Answered(550)), ("r-4", "c@x", Fate::Unknown)]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole), ("r-2", "a@x", Shape::Whole)]);
        delivered(&mut books, &[("warm-1", "a@x", Shape::Whole)]);
        let mut open: Vec<(&str, &str)> = books.outstanding().collect();
        open.sort_unstable();
        assert_eq!(open, [("r-1", "b@x"), ("r-4", "c@x")]);
        books.settle("r-1", "b@x", Elsewhere::Queued);
        assert_eq!(books.outstanding().collect::<Vec<_>>(), [("r-4", "c@x")]);
        assert_eq!(books.balance().unwrap().unexpected, 1);
        books.forget("warm-");
        let balance = books.balance().unwrap();
        assert_eq!((balance.queued, balance.missing, balance.unexpected), (1, 0, 0));
        // Only of r-2 all recipients have theirs.
        assert_eq!(books.whole_messages(), 1);
    }

    #[test]
    fn each_accepted_pair_is_in_one_place() {
        let mut books = Books::default();
        let lines = ["a@x", "b@x", "c@x", "d@x"].map(|to| ("r-1", to, OK));
        sent(&mut books, &lines);
        sent(&mut books, &[("r-2", "a@x", Fate::Unknown), ("r-3", "a@x", Fate::Unknown)]);
        let came = ["a@x", "b@x"].map(|to| ("r-1", to, Shape::Whole));
        delivered(&mut books, &came);
        delivered(&mut books, &[("r-2", "a@x", Shape::Whole)]);
        elsewhere(&mut books, Elsewhere::Queued, "r-1\tb@x\nr-1\tc@x\n");
        // The serial alone speaks of those who are left.
        elsewhere(&mut books, Elsewhere::Bounced, "r-1\tc@x\nr-1\n");
        let balance = books.balance().unwrap();
        let Balance { sent250, delivered, bounced, queued, missing, .. } = balance;
        assert_eq!([sent250, delivered, bounced, queued, missing], [4, 2, 2, 0, 0]);
        assert_eq!((balance.unknown, balance.unknown_delivered), (2, 1));
        assert!(balance.holds(Limits::default()), "{balance}");
    }

    #[test]
    fn a_notice_of_what_was_delivered_is_a_contradiction() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "b@x", Fate::Unknown)]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole), ("r-2", "b@x", Shape::Whole)]);
        elsewhere(&mut books, Elsewhere::Bounced, "r-1\ta@x\n-\tb@x\n");
        let balance = books.balance().unwrap();
        assert_eq!((balance.contradicted, balance.delivered, balance.bounced), (2, 1, 0));
        assert_eq!(balance.examples, ["contradicted r-1 a@x", "contradicted r-2 b@x"]);
        let allowed = Limits { contradicted_max: 2, ..Limits::default() };
        assert!(balance.holds(allowed) && !balance.holds(Limits::default()));
    }

    #[test]
    fn a_notice_of_what_was_never_sent_or_refused_is_unexpected() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "b@x", Fate::Answered(550))]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole)]);
        elsewhere(&mut books, Elsewhere::Bounced, "r-2\tb@x\nr-1\tz@x\n");
        let balance = books.balance().unwrap();
        assert_eq!((balance.unexpected, balance.bounced, balance.contradicted), (2, 0, 0));
        assert_eq!(balance.examples, ["unexpected notice r-1 z@x", "unexpected notice r-2 b@x"]);
        let allowed = Limits { unexpected_max: 2, ..Limits::default() };
        assert!(balance.holds(allowed) && !balance.holds(Limits::default()));
    }

    #[test]
    fn an_address_is_the_same_however_it_is_spelled() {
        for (address, spellings) in [
            ("r7@d1.x.test", &["R7@D1.X.Test", "r7+40d1.x.test"][..]),
            ("r7-größe@x", &["r7-gr\\x{F6}\\x{DF}e@x", "r7-gr+5Cx{F6}ße@X", "R7-GRÖßE@x"]),
            ("a+b@x", &["a+2Bb@x", "A+2Bb@x"]),
            ("a+41@x", &["a+2B41@x"]),
        ] {
            for spelling in spellings {
                let mut books = Books::default();
                sent(&mut books, &[("r-1", address, OK), ("r-2", "other@x", OK)]);
                delivered(&mut books, &[("r-2", "other@x", Shape::Whole)]);
                elsewhere(&mut books, Elsewhere::Bounced, &format!("r-1\t{spelling}\n"));
                let balance = books.balance().unwrap();
                assert_eq!((balance.bounced, balance.unexpected), (1, 0), "{spelling}");
                assert!(balance.holds(Limits::default()));
            }
        }
        // No characters that these forms cannot stand for.
        for odd in ["a+4", "a+2b", "a+0A", "a\\x{}", "a\\x{110000}", "a\\x{A}", "a+", "a\\x{4"] {
            assert_eq!(plain(odd), odd.to_lowercase());
        }
    }

    #[test]
    fn a_line_that_is_cut_short_stops_the_count() {
        let file = Scratch::new();
        std::fs::write(&file.0, "r-1\ta@x\t250\nr-2\ta@x\t25").unwrap();
        let error = Books::default().read_sent(&file.0).unwrap_err();
        assert!(error.to_string().contains(":2: not a ledger line"), "{error}");
    }
}
