//! Declarations of what concerns the process as a whole: its name, threads, disk, memory, log,
//! and the doors for operators.
//!
//! Decides defaults and ranges of these knobs, each with its reason. See `knob` for what the
//! declarations turn into.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::form::{ADDRESS, Form, HOST_NAME, MAILBOX, PATH, path};
use super::kind::{
    Choice, Count, Maybe, Period, Size, Text, plain, quoted, read_count, wrong_type,
};
use super::knob::{Description, Fault, Kind, Preset, section, words};
use super::unit::{GIB, KIB, MIB, TIB, minutes, seconds};

/// Shards at most: every shard keeps a channel to every other one.
pub const SHARDS_MAX: u16 = 64;

section! {
    /// The relay as a whole. These keys stand before the first [table].
    Top "" pub(super) struct Top {
        /// The name this relay goes by: greeting, EHLO, Received, Message-ID, delivery notices.
        /// Receivers compare it with the reverse DNS of the address it connects from.
        hostname: Option<String> = Maybe { form: HOST_NAME, absent: "the machine's own name" },
            "right for a dedicated host, and the only name known without being told", Restart;

        /// The directory of the queue, which is everything that must survive a crash.
        data_dir: PathBuf = Text { form: PATH, default: "var/baton" },
            "below the working directory, so that a first try needs no rights", Restart;

        /// Threads that carry mail, each pinned to a core with its own listeners and sessions.
        shards: ShardCount = ShardsKind,
            "fewer leave cores idle, more make them switch", Restart;

        /// What "250 queued" waits for.
        durability: Durability = Choice { default: Durability::Fsync },
            "a sender deletes its copy after 250, so it must outlive a power cut", Restart;

        /// Where mail for <postmaster>, which needs no domain (RFC 5321 4.5.1), is delivered.
        postmaster: Option<String> = Maybe { form: MAILBOX, absent: "postmaster@ the hostname" },
            "the address that standards make people try first", Applies;

        /// How long sessions and deliveries may go on after the signal to stop.
        shutdown_grace: Duration =
            Period { default: seconds(10), min: seconds(0), max: minutes(5) },
            "ends most transfers, and is far below the 90 s after which systemd kills", Applies;
    }
}

/// How many shards run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardCount {
    /// One per core this process may use.
    Auto,
    /// 1..=[`SHARDS_MAX`].
    Exactly(u16),
}

/// `"auto"` or a number.
struct ShardsKind;

impl Kind for ShardsKind {
    type Value = ShardCount;

    fn describe(&self) -> Description {
        let allowed = format!("\"auto\" (one per core) or 1 to {SHARDS_MAX}");
        plain(Preset::Value(quoted("auto")), allowed)
    }

    fn absent(&self) -> Option<ShardCount> {
        Some(ShardCount::Auto)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<ShardCount, Vec<Fault>> {
        match found.get_ref() {
            DeValue::String(text) if text == "auto" => Ok(ShardCount::Auto),
            DeValue::Integer(_) => {
                let count = read_count(found, 1, u32::from(SHARDS_MAX))?;
                Ok(ShardCount::Exactly(u16::try_from(count).unwrap_or(SHARDS_MAX)))
            }
            other => Err(wrong_type(found, other)),
        }
    }
}

words! {
    /// What "250 queued" waits for.
    pub enum Durability {
        /// the write-ahead log is on disk: nothing accepted is lost
        Fsync = "fsync",
        /// the log is with the operating system: a power cut loses the last seconds of mail
        Os = "os",
    }
}

section! {
    /// Metrics, health and the admin API, over HTTP.
    One "admin" pub struct Admin {
        /// Where /metrics, /healthz, /readyz and /api/v1 answer.
        address: SocketAddr = Text { form: ADDRESS, default: "127.0.0.1:9525" },
            "the API can drop mail, so it starts on loopback", Restart;

        /// A file with the token that the admin API asks for.
        token_file: Option<PathBuf> =
            Maybe { form: PATH, absent: "the API answers on loopback only, without a token" },
            "a local operator needs no ceremony, a remote one always does", Restart;
    }
}

section! {
    /// The event log: one JSON object per event.
    One "log" pub struct Log {
        /// The file to append to; "-" is standard output. SIGHUP reopens it.
        path: LogPath = Text { form: LOG_PATH, default: "-" },
            "service managers and containers collect standard output", Restart;

        /// How much is logged.
        level: LogLevel = Choice { default: LogLevel::Info },
            "one line for what happens to each message: what a postmaster is asked about", Applies;
    }
}

/// Where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPath {
    Stdout,
    File(PathBuf),
}

const LOG_PATH: Form<LogPath> = Form::shown("a path, or \"-\" for standard output", |text| {
    if text == "-" { Ok(LogPath::Stdout) } else { path(text).map(LogPath::File) }
});

words! {
    /// How much is logged.
    pub enum LogLevel {
        /// also every step of every session
        Debug = "debug",
        /// also what happens to each message
        Info = "info",
        /// only what an operator should look at
        Warn = "warn",
    }
}

section! {
    /// Bounds on memory, over all shards. While bytes are above theirs, new mail is answered 452.
    One "memory" pub struct Memory {
        /// Bytes of message bodies held in memory, being received or being delivered.
        inflight_bytes_max: u64 = Size { default: 512 * MIB, min: MIB, max: TIB },
            "ten of the largest messages, or a hundred thousand of 4 KiB", Restart;

        /// Queue entries held in memory, ready for delivery; the others wait on disk.
        ready_max: u32 =
            Count { of: "entries", default: 100_000, min: 100, max: 100_000_000 },
            "some 10 s of work at full speed, so that the disk is read well ahead", Restart;

        /// Bytes that wait for the thread that commits them to disk.
        commit_bytes_max: u64 = Size { default: 64 * MIB, min: 64 * KIB, max: 64 * GIB },
            "more would only wait longer for the same disk", Restart;
    }
}

section! {
    /// The queue's database.
    One "disk" pub struct Disk {
        /// Free bytes on the file system of data_dir below which new mail is answered 452.
        free_bytes_min: u64 = Size { default: GIB, min: 16 * MIB, max: 64 * TIB },
            "the database needs room to tidy up, and cannot go on without", Applies;

        /// Bytes of changes kept in memory before they are written to table files.
        memtable_bytes: u64 = Size { default: 256 * MIB, min: 8 * MIB, max: 16 * GIB },
            "most messages are delivered and deleted before then, and never reach a table", Restart;

        /// Used log files kept for the next log.
        wal_recycle: u32 = Count { of: "files", default: 4, min: 0, max: 64 },
            "syncing an overwritten file writes no metadata, so it costs less", Restart;
    }
}

section! {
    /// The abuse filter.
    One "filter" pub struct Filter {
        /// What becomes of mail that the filter would refuse.
        mode: FilterMode = Choice { default: FilterMode::Enforce },
            "an outbound relay that does not filter is soon on blocklists", Restart;
    }
}

words! {
    /// What becomes of mail that the filter would refuse.
    pub enum FilterMode {
        /// it is refused
        Enforce = "enforce",
        /// it is carried, and what would have happened is logged and counted
        Observe = "observe",
    }
}
