//! Compares ledgers: was everything that a relay promised kept, and kept once?
//!
//! Counts pairs of message and recipient. A pair answered 250 must be delivered, or still queued,
//! or bounced; otherwise it is missing. Deliveries beyond the first of a pair are duplicates. A
//! pair whose fate is unknown to the sender may be delivered or not. `unexpected` are deliveries of
//! pairs that were never sent or were refused. A line of what is queued or bounced may have `-` for
//! the serial: then it means the one message that was sent to that recipient, as the recipients of
//! a run differ, and it is an error when there are several. Never looks at messages, only at
//! ledgers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::Error;
use crate::ledger;

/// Pairs named per kind of trouble in the printed answer.
const EXAMPLES_MAX: usize = 10;

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
    /// Also fail when more deliveries than this came again
    #[arg(long, value_name = "N")]
    duplicates_max: Option<u64>,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut books = Books::default();
    args.sent.iter().try_for_each(|path| books.read_sent(path))?;
    args.delivered.iter().try_for_each(|path| books.read_delivered(path))?;
    args.queued.iter().try_for_each(|path| books.read_queued(path))?;
    args.bounced.iter().try_for_each(|path| books.read_bounced(path))?;
    let balance = books.balance()?;
    print!("{balance}");
    Ok(if balance.holds(args.duplicates_max) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that is known of one message and recipient.
#[derive(Clone, Copy, Default)]
struct Pair {
    sent: Sent,
    delivered: u32,
    corrupt: u32,
    elsewhere: Elsewhere,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    Never,
    Accepted,
    Refused,
    Unknown,
}

/// Where a pair is that was not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    #[default]
    Nowhere,
    Queued,
    Bounced,
}

/// The answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub sent250: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Distinct pairs of this run that were delivered.
    pub delivered: u64,
    pub queued: u64,
    pub bounced: u64,
    pub duplicates: u64,
    pub missing: u64,
    pub corrupt: u64,
    pub unexpected: u64,
    /// Delivered messages that no load run made.
    pub foreign: u64,
    /// Some of the pairs behind the bad counts, in words.
    pub examples: Vec<String>,
}

/// Gathers ledgers, in any order and of any number.
#[derive(Default)]
pub struct Books {
    /// Keyed by `serial <TAB> recipient`.
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
                "corrupt" => {
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
                    self.nameless.insert((*recipient).into(), elsewhere);
                }
                [serial, recipient, ..] => self.pair(serial, recipient).elsewhere = elsewhere,
                _ => return None,
            }
            Some(())
        })
    }

    /// Takes a pair for queued or bounced, by what somebody said who has no ledger.
    pub fn settle(&mut self, serial: &str, recipient: &str, elsewhere: Elsewhere) {
        self.pair(serial, recipient).elsewhere = elsewhere;
    }

    /// Pairs that were promised, or may have been, and of which nothing more is known: serial and
    /// recipient.
    pub fn outstanding(&self) -> impl Iterator<Item = (&str, &str)> {
        let open = self.pairs.iter().filter(|(key, pair)| {
            matches!(pair.sent, Sent::Accepted | Sent::Unknown)
                && pair.delivered == 0
                && pair.elsewhere == Elsewhere::Nowhere
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
        self.pairs.entry(format!("{serial}\t{recipient}").into_boxed_str()).or_default()
    }

    /// Fails when a recipient alone does not tell which message is meant.
    pub fn balance(&self) -> Result<Balance, Error> {
        let named = self.name()?;
        let mut balance = Balance { foreign: self.foreign, ..Balance::default() };
        let mut kinds = [0; 4];
        for (key, pair) in &self.pairs {
            let serial = key.split('\t').next().unwrap_or(key);
            let whole = self.whole.get(serial).copied();
            let elsewhere = match pair.elsewhere {
                Elsewhere::Nowhere => {
                    whole.or_else(|| named.get(&**key).copied()).unwrap_or_default()
                }
                known => known,
            };
            let troubles = balance.count(pair, elsewhere);
            for (nth, (word, trouble)) in troubles.into_iter().enumerate() {
                if trouble && kinds[nth] < EXAMPLES_MAX {
                    kinds[nth] += 1;
                    balance.examples.push(format!("{word} {}", key.replace('\t', " ")));
                }
            }
        }
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
}

impl Balance {
    /// Adds one pair; returns what is wrong with it.
    fn count(&mut self, pair: &Pair, elsewhere: Elsewhere) -> [(&'static str, bool); 4] {
        match pair.sent {
            Sent::Never => {}
            Sent::Accepted => self.sent250 += 1,
            Sent::Refused => self.refused += 1,
            Sent::Unknown => self.unknown += 1,
        }
        match elsewhere {
            Elsewhere::Nowhere => {}
            Elsewhere::Queued => self.queued += 1,
            Elsewhere::Bounced => self.bounced += 1,
        }
        let arrived = pair.delivered > 0;
        let missing = pair.sent == Sent::Accepted && !arrived && elsewhere == Elsewhere::Nowhere;
        let unexpected = arrived && matches!(pair.sent, Sent::Never | Sent::Refused);
        self.delivered += u64::from(arrived);
        self.duplicates += u64::from(pair.delivered.saturating_sub(1));
        self.corrupt += u64::from(pair.corrupt);
        self.missing += u64::from(missing);
        self.unexpected += u64::from(unexpected);
        [
            ("missing", missing),
            ("corrupt", pair.corrupt > 0),
            ("duplicate", pair.delivered > 1),
            ("unexpected", unexpected),
        ]
    }

    /// Whether nothing was lost or damaged, and no more than so many pairs came again.
    pub fn holds(&self, duplicates_max: Option<u64>) -> bool {
        let duplicates_max = duplicates_max.unwrap_or(u64::MAX);
        self.missing == 0 && self.corrupt == 0 && self.duplicates <= duplicates_max
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, count) in [
            ("sent250", self.sent250),
            ("refused", self.refused),
            ("unknown", self.unknown),
            ("delivered", self.delivered),
            ("queued", self.queued),
            ("bounced", self.bounced),
            ("duplicates", self.duplicates),
            ("missing", self.missing),
            ("corrupt", self.corrupt),
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
        assert!(books.balance().unwrap().holds(Some(0)));
    }

    #[test]
    fn a_missing_pair_is_found() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-1", "b@x", OK)]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Whole)]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.missing, balance.examples), (1, vec!["missing r-1 b@x".to_owned()]));
        assert!(!books.balance().unwrap().holds(None));
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
        assert!(balance.holds(None) && balance.holds(Some(2)) && !balance.holds(Some(1)));
    }

    #[test]
    fn a_corrupt_and_an_unexpected_delivery_are_found() {
        let mut books = Books::default();
        sent(&mut books, &[("r-1", "a@x", OK), ("r-2", "a@x", Fate::Answered(550))]);
        delivered(&mut books, &[("r-1", "a@x", Shape::Corrupt), ("r-2", "a@x", Shape::Whole)]);
        delivered(&mut books, &[("r-9", "a@x", Shape::Whole)]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.corrupt, balance.missing, balance.unexpected), (1, 0, 2));
        assert!(!balance.holds(None));
    }

    fn elsewhere(books: &mut Books, elsewhere: Elsewhere, lines: &str) {
        let file = Scratch::new();
        std::fs::write(&file.0, lines).unwrap();
        books.read_elsewhere(&file.0, elsewhere).unwrap();
    }

    #[test]
    fn a_recipient_alone_names_the_message_that_was_sent_to_it() {
        let mut books = Books::default();
        // In any order, and a message that nobody sent is of no account.
        elsewhere(&mut books, Elsewhere::Bounced, "-\ta@x\n-\tc@x\n-\tstranger@x\n");
        elsewhere(&mut books, Elsewhere::Queued, "-\tb@x\n");
        let lines = [("r-1", "a@x", OK), ("r-2", "b@x", OK), ("r-3", "d@x", OK)];
        sent(&mut books, &lines);
        sent(&mut books, &[("r-4", "c@x", Fate::Unknown)]);
        let balance = books.balance().unwrap();
        assert_eq!((balance.bounced, balance.queued, balance.missing), (2, 1, 1));
        assert_eq!(balance.examples, ["missing r-3 d@x"]);
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
    fn a_line_that_is_cut_short_stops_the_count() {
        let file = Scratch::new();
        std::fs::write(&file.0, "r-1\ta@x\t250\nr-2\ta@x\t25").unwrap();
        let error = Books::default().read_sent(&file.0).unwrap_err();
        assert!(error.to_string().contains(":2: not a ledger line"), "{error}");
    }
}
