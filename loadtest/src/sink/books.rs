//! The books of the sink: ledger, list of sessions, bounces, folder of messages, totals.
//!
//! Each message is entered everywhere before it is answered. A message that is not one of ours is
//! looked at once more, as it may be a notice that one of ours bounced (`notice.rs`), which counts if it came to
//! that message's sender. Never answers
//! anybody: books that cannot be written end the sink, so that no 250 is said for what is not in
//! them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::notice::{self, Action, Notice};
use super::personality::Behaviour;
use super::session::{Envelope, Session, World};
use crate::error::Error;
use crate::kernel;
use crate::latency::Latencies;
use crate::ledger::{Ledger, NO_SERIAL, Shape};
use crate::message::{Identity, recognise, sender_crc};
use crate::progress::{AtSite, Received, Tick};

/// Where a sink writes.
pub struct Files {
    pub ledger: Ledger,
    pub sessions: Ledger,
    pub bounces: Ledger,
    pub dump: Option<Dump>,
}

/// What the sessions of a sink share.
pub struct Books {
    world: Rc<World>,
    ledger: RefCell<Ledger>,
    sessions: RefCell<Ledger>,
    bounces: RefCell<Ledger>,
    /// Sessions that are not at their end.
    open: Cell<u64>,
    dump: Option<RefCell<Dump>>,
    totals: Cell<Totals>,
    /// End to end, of messages that say when they were due.
    latencies: RefCell<Latencies>,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    messages: u64,
    recipients: u64,
    corrupt: u64,
    foreign: u64,
    notices: u64,
    astray: u64,
    bounced: u64,
    delayed: u64,
    bytes: u64,
    sessions: u64,
    secured: u64,
    /// When the last message of ours was there; zero before.
    last: Duration,
}

impl Books {
    pub fn new(world: Rc<World>, files: Files) -> Books {
        Books {
            world,
            ledger: RefCell::new(files.ledger),
            sessions: RefCell::new(files.sessions),
            bounces: RefCell::new(files.bounces),
            open: Cell::new(0),
            dump: files.dump.map(RefCell::new),
            totals: Cell::new(Totals::default()),
            latencies: RefCell::new(Latencies::new()),
        }
    }

    /// Enters one message everywhere; returns its number.
    pub fn enter(&self, envelope: &Envelope, content: &[u8]) -> u64 {
        let seen = recognise(content);
        let (serial, shape) = match seen.identity {
            Identity::Whole(serial) if seen.sender != Some(sender_crc(envelope.sender())) => {
                (serial, Shape::OtherSender)
            }
            Identity::Whole(serial) => (serial, Shape::Whole),
            Identity::AlteredHeader(serial) => (serial, Shape::AlteredHeader),
            Identity::Corrupt(serial) => (serial, Shape::Corrupt),
            Identity::Foreign => (NO_SERIAL, Shape::Foreign),
        };
        if let Some(dump) = &self.dump {
            dump.borrow_mut().write(envelope, content).unwrap_or_else(|error| give_up(&error));
        }
        let mut ledger = self.ledger.borrow_mut();
        let mut recipients = 0;
        for recipient in envelope.recipients() {
            ledger.delivered(serial, recipient, seen.body_crc, shape);
            recipients += 1;
        }
        ledger.commit().unwrap_or_else(|error| give_up(&error));
        let now = kernel::monotonic();
        if let Some(start) = seen.start {
            let latency = now.saturating_sub(start);
            let mut latencies = self.latencies.borrow_mut();
            (0..recipients).for_each(|_| latencies.record(latency));
        }
        self.count(|totals| {
            totals.messages += 1;
            totals.recipients += recipients;
            totals.corrupt += match shape {
                Shape::Corrupt | Shape::AlteredHeader | Shape::OtherSender => 1,
                Shape::Whole | Shape::Foreign => 0,
            };
            totals.foreign += u64::from(shape == Shape::Foreign);
            totals.bytes += content.len() as u64;
            if shape != Shape::Foreign {
                totals.last = now;
            }
        });
        if shape == Shape::Foreign
            && let Some(notice) = notice::read(content)
        {
            self.enter_notice(&notice, envelope);
        }
        self.totals.get().messages
    }

    fn enter_notice(&self, notice: &Notice<'_>, envelope: &Envelope) {
        if let Some(sender) = notice.sender
            && !envelope.recipients().any(|recipient| sender_crc(recipient) == sender)
        {
            self.count(|totals| totals.astray += 1);
            return;
        }
        let serial = notice.serial.unwrap_or(NO_SERIAL);
        let of = |action| notice.recipients.iter().filter(move |told| told.action == action);
        let mut bounces = self.bounces.borrow_mut();
        of(Action::Failed).for_each(|told| bounces.bounced(serial, told.address));
        bounces.commit().unwrap_or_else(|error| give_up(&error));
        self.count(|totals| {
            totals.notices += 1;
            totals.bounced += of(Action::Failed).count() as u64;
            totals.delayed += of(Action::Delayed).count() as u64;
        });
    }

    pub fn count_session(&self) {
        self.count(|totals| totals.sessions += 1);
    }

    pub fn count_secured(&self) {
        self.count(|totals| totals.secured += 1);
    }

    pub fn tick(&self) -> Tick {
        let Totals { messages, recipients, .. } = self.totals.get();
        Tick { at_ms: kernel::monotonic().as_millis() as u64, messages, recipients }
    }

    pub fn summary(&self) -> Received {
        let totals = self.totals.get();
        let latencies = self.latencies.borrow();
        let sites = self.sites();
        let mut behaviours = BTreeMap::new();
        for (behaviour, count) in sites.iter().flat_map(|site| &site.behaviours) {
            *behaviours.entry(behaviour.clone()).or_default() += count;
        }
        Received {
            messages: totals.messages,
            recipients: totals.recipients,
            corrupt: totals.corrupt,
            foreign: totals.foreign,
            notices: totals.notices,
            astray: totals.astray,
            bounced: totals.bounced,
            delayed: totals.delayed,
            bytes: totals.bytes,
            sessions: totals.sessions,
            secured: totals.secured,
            behaviours,
            sites,
            latency_ms: latencies.percentiles(),
            latency_buckets: latencies.buckets(),
            last_us: (!totals.last.is_zero()).then_some(totals.last.as_micros() as u64),
        }
    }

    /// What happened at each kind of site, in the order of the profile.
    fn sites(&self) -> Vec<AtSite> {
        let memory = self.world.memory.borrow();
        let all = self.world.sites.all().iter().zip(memory.seen());
        let at_site = all.map(|(personality, seen)| {
            let met = Behaviour::ALL.map(|behaviour| (behaviour, seen.of(behaviour)));
            let met = met.into_iter().filter(|(_, count)| *count > 0);
            AtSite {
                name: personality.name.to_string(),
                sessions: seen.sessions,
                messages: seen.messages,
                behaviours: met.map(|(what, count)| (what.word().to_owned(), count)).collect(),
            }
        });
        at_site.collect()
    }

    /// The summary in words: a line for each kind of site when there are several, and the totals.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let sites = self.sites();
        if sites.len() > 1 {
            for AtSite { name, sessions, messages, behaviours } in sites {
                text.push_str(&format!("site {name}: sessions={sessions} messages={messages}"));
                for (behaviour, count) in behaviours {
                    text.push_str(&format!(" {behaviour}={count}"));
                }
                text.push('\n');
            }
        }
        let Totals { messages, recipients, corrupt, notices, bytes, sessions, .. } =
            self.totals.get();
        text + &format!(
            "sink: messages={messages} recipients={recipients} corrupt={corrupt} \
             notices={notices} bytes={bytes} sessions={sessions}"
        )
    }

    fn count(&self, add: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        add(&mut totals);
        self.totals.set(totals);
    }
}

/// A session, entered in the books when it ends, however it does.
pub struct Visit<'a> {
    pub session: Session,
    client: IpAddr,
    /// Sessions when it began, itself included.
    at_once: u64,
    books: &'a Books,
}

impl<'a> Visit<'a> {
    pub fn begin(client: IpAddr, session: Session, books: &'a Books) -> Visit<'a> {
        let at_once = books.open.get() + 1;
        books.open.set(at_once);
        Visit { session, client, at_once, books }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let books = self.books;
        books.open.set(books.open.get() - 1);
        let (name, messages) = (self.session.client(), self.session.messages());
        let mut sessions = books.sessions.borrow_mut();
        sessions.session(self.client, name, messages, self.at_once);
        sessions.commit().unwrap_or_else(|error| give_up(&error));
    }
}

/// Books with a gap prove nothing, so the sink ends before it answers.
fn give_up(error: &io::Error) -> ! {
    eprintln!("baton-load: a message or session cannot be entered: {error}");
    std::process::exit(2);
}

/// A folder with every message: `NNNNNN.eml` as it came, `NNNNNN.env` with its commands.
pub struct Dump {
    folder: PathBuf,
    last: u64,
}

impl Dump {
    /// Goes on after the highest number in the folder.
    pub fn open(folder: &Path) -> Result<Dump, Error> {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let entries = std::fs::read_dir(folder).map_err(Error::file(folder))?;
        let number = |path: PathBuf| path.file_stem()?.to_str()?.parse().ok();
        let last = entries.filter_map(|entry| number(entry.ok()?.path())).max().unwrap_or(0);
        Ok(Dump { folder: folder.to_owned(), last })
    }

    /// The `.eml` appears last and whole, so that whoever waits for it finds both files.
    fn write(&mut self, envelope: &Envelope, content: &[u8]) -> io::Result<()> {
        self.last += 1;
        let name = |ending| self.folder.join(format!("{:06}.{ending}", self.last));
        let mut commands = envelope.mail_line().to_vec();
        for line in envelope.recipient_lines() {
            commands.push(b'\n');
            commands.extend_from_slice(line);
        }
        commands.push(b'\n');
        std::fs::write(name("env"), commands)?;
        let mut file = std::fs::File::create(name("part"))?;
        file.write_all(content)?;
        std::fs::rename(name("part"), name("eml"))
    }
}
