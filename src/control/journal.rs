//! The way of an event from the thread where it happened to the log and the metrics.
//!
//! Senders put events into one fixed ring and go on: no lock, no system call, no wake-up, no
//! formatting. The log writer, a plain thread, empties the ring every [`POLL`], formats what it
//! finds, writes one batch and sleeps again. So a line and its count appear at most that much
//! later, plus the time of one write (stated to operators as "within 100 ms"). Waking the writer
//! per event was rejected: at 10,000 messages a second each wake-up would cost more than the line.
//!
//! When the ring is full (a log disk that hangs) the sender adds the event to the metrics
//! itself, counts it as dropped and goes on; the writer later says how many are missing. A log
//! that cannot be written is counted and never stops mail.

use super::log_file::LogFile;
use super::meters::Meters;
use crate::event::{Event, Level};
use crate::time::Stamp;
use crossbeam::queue::ArrayQueue;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Events that may wait for the writer: three seconds of 10,000 messages a second, 10 MiB.
pub const EVENTS_WAITING_MAX: usize = 65_536;

/// How long an idle writer sleeps: short enough for a person who watches the log, long enough that
/// a busy relay writes 50 batches a second, not 30,000 lines.
const POLL: Duration = Duration::from_millis(20);

/// Octets of lines that end a batch.
const BATCH_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
struct Entry {
    at: Stamp,
    shard: Option<u16>,
    event: Event,
}

/// What senders, the writer and `Control` share.
pub(super) struct Journal {
    ring: ArrayQueue<Entry>,
    /// Since the writer last said so.
    dropped: AtomicU64,
    reopen: AtomicBool,
    stopping: AtomicBool,
    /// Position in [`Level::ALL`]: what is below is counted and not written.
    level: AtomicU8,
    meters: Arc<Meters>,
}

impl Journal {
    pub(super) fn new(meters: Arc<Meters>) -> Self {
        Journal {
            ring: ArrayQueue::new(EVENTS_WAITING_MAX),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            level: AtomicU8::new(Level::Info as u8),
            meters,
        }
    }

    /// Every event sent after this call goes to the newly opened file.
    pub(super) fn ask_to_reopen(&self) {
        self.reopen.store(true, Ordering::SeqCst);
    }

    /// From now on, events below `level` are counted and not written.
    pub(super) fn write_from(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// The writer writes what was sent before this call, and ends.
    pub(super) fn ask_to_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// Sends events; cheap to clone, one for each thread that has something to tell.
#[derive(Clone)]
pub struct EventSender(pub(super) Arc<Journal>);

impl EventSender {
    /// Takes tens of nanoseconds and never blocks. `shard` is `None` for what no shard did.
    pub fn send(&self, at: Stamp, shard: Option<u16>, event: Event) {
        let journal = &*self.0;
        if let Err(entry) = journal.ring.push(Entry { at, shard, event }) {
            entry.event.meter(&*journal.meters);
            journal.meters.event_dropped();
            journal.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writing end.
pub(super) struct Writer {
    journal: Arc<Journal>,
    log: LogFile,
    lines: Vec<u8>,
    /// Of the newest event seen: the time of what the writer itself has to say.
    now: Stamp,
    /// The last write failed, and standard error said so.
    failing: bool,
}

/// What one look into the ring found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The batch is full, more waits.
    Plenty,
    /// The ring was emptied.
    All,
}

impl Writer {
    pub(super) fn new(journal: Arc<Journal>, log: LogFile) -> Self {
        let lines = Vec::with_capacity(BATCH_BYTES_MAX);
        Writer { journal, log, lines, now: Stamp::default(), failing: false }
    }

    /// The life of the writer's thread.
    pub(super) fn run(mut self) {
        loop {
            // Asked before the ring is emptied: then everything sent before the stop is written.
            let stopping = self.journal.stopping.load(Ordering::SeqCst);
            match (self.batch(), stopping) {
                (Found::Plenty, _) => {}
                (Found::All, true) => return,
                (Found::All, false) => thread::park_timeout(POLL),
            }
        }
    }

    fn batch(&mut self) -> Found {
        let found = self.gather();
        self.confess();
        // After the ring was emptied: what was sent after the request is in this batch or later.
        if self.journal.reopen.swap(false, Ordering::SeqCst) {
            let done = self.log.reopen();
            self.note(done, "cannot be reopened; the old file stays in use");
        }
        if !self.lines.is_empty() {
            let done = self.log.write(&self.lines);
            self.note(done, "cannot be written; lines are lost until it can, mail goes on");
            self.lines.clear();
        }
        found
    }

    fn gather(&mut self) -> Found {
        while let Some(Entry { at, shard, event }) = self.journal.ring.pop() {
            self.now = at;
            self.line(shard, &event);
            if self.lines.len() >= BATCH_BYTES_MAX {
                return Found::Plenty;
            }
        }
        Found::All
    }

    /// Says how many events are missing, when some are.
    fn confess(&mut self) {
        let count = self.journal.dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.line(None, &Event::EventsDropped { count });
        }
    }

    fn line(&mut self, shard: Option<u16>, event: &Event) {
        event.meter(&*self.journal.meters);
        if (event.level() as u8) < self.journal.level.load(Ordering::Relaxed) {
            return;
        }
        event.write_json(self.now, shard, &mut self.lines);
        self.lines.push(b'\n');
    }

    /// Counts a failure. Standard error hears of the first in a row: the log cannot tell itself.
    fn note(&mut self, done: io::Result<()>, words: &str) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.journal.meters.log_failed();
                if !self.failing {
                    // Not `eprintln!`: it panics when nobody holds the other end, and with this
                    // thread the metrics would stop.
                    let _ = writeln!(io::stderr(), "baton: the log (log.path) {words}: {error}");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_file::LogTarget;
    use super::super::meters::Durability;
    use super::*;

    fn journal() -> (Arc<Journal>, Arc<Meters>) {
        let meters = Arc::new(Meters::new(Durability::Fsync));
        (Arc::new(Journal::new(Arc::clone(&meters))), meters)
    }

    fn has(meters: &Meters, line: &str) -> bool {
        meters.scrape(&[]).lines().any(|found| found == line)
    }

    #[test]
    fn a_full_ring_drops_counts_and_says_so() {
        let (journal, meters) = journal();
        let sender = EventSender(Arc::clone(&journal));
        for at in 0..EVENTS_WAITING_MAX as u64 + 3 {
            sender.send(Stamp::from_millis(at), Some(0), Event::DiskRecovered { free: at });
        }
        assert!(has(&meters, "baton_events_dropped_total 3"));
        assert!(has(&meters, "baton_events_total{event=\"disk-recovered\"} 3"), "counted at once");
        let log = LogFile::open(LogTarget::File("/dev/null".into())).unwrap();
        let mut writer = Writer::new(Arc::clone(&journal), log);
        assert!(writer.gather() == Found::Plenty && writer.lines.len() < 2 * BATCH_BYTES_MAX);
        writer.confess();
        let text = String::from_utf8(std::mem::take(&mut writer.lines)).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.contains("\"event\":\"events-dropped\",\"count\":3}"), "{last}");
        journal.ask_to_stop();
        writer.run();
        let all = EVENTS_WAITING_MAX + 3;
        assert!(has(&meters, &format!("baton_events_total{{event=\"disk-recovered\"}} {all}")));
    }

    #[test]
    fn events_below_the_level_are_counted_and_not_written() {
        let (journal, meters) = journal();
        let log = LogFile::open(LogTarget::File("/dev/null".into())).unwrap();
        let mut writer = Writer::new(Arc::clone(&journal), log);
        let (debug, info) = (
            Event::SessionOpened { peer: "[::1]:1".parse().unwrap(), listener: 0 },
            Event::ServerStopped { queued: Some(0) },
        );
        let mut written = |level, event| {
            writer.journal.write_from(level);
            writer.line(None, event);
            !std::mem::take(&mut writer.lines).is_empty()
        };
        assert!(!written(Level::Info, &debug) && written(Level::Debug, &debug));
        assert!(!written(Level::Warn, &info) && written(Level::Info, &info));
        assert!(has(&meters, "baton_events_total{event=\"session-opened\"} 2"));
    }

    #[test]
    fn a_failing_log_is_counted_and_the_writer_goes_on() {
        let (journal, meters) = journal();
        let log = LogFile::open(LogTarget::File("/dev/full".into())).unwrap();
        let mut writer = Writer::new(Arc::clone(&journal), log);
        let sender = EventSender(journal);
        for _ in 0..2 {
            sender.send(Stamp::default(), None, Event::ServerStopped { queued: Some(0) });
            assert!(writer.batch() == Found::All);
        }
        assert!(has(&meters, "baton_log_errors_total 2"));
        assert!(has(&meters, "baton_events_total{event=\"server-stopped\"} 2"));
    }
}
