//! The closed list of everything that happens: the one source of log lines, metrics and webhooks.
//!
//! Each event is declared once: its name (`noun-verb`, past tense), its level, its typed fields and
//! what it adds to the metrics. The JSON line and the counters derive from that declaration, so a
//! log and a dashboard cannot disagree about what happened.
//!
//! Pure: the time comes in, bytes and counts go out. Never decides, reads a clock or does I/O;
//! `control/` writes the lines and owns the metrics. Remote and peer words are data: whatever they
//! hold, a line stays one line of valid JSON without control characters (RFC 8259 7).
//! Metric labels are closed enums, so no peer can add a time series.

use crate::message::{
    Address, CommitError, MessageId, ReversePath, Scope, SenderId, Stage, TlsSession,
};
use crate::time::Stamp;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Declares closed enums whose values are words in log lines and metric labels.
macro_rules! words {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$note])* $variant,)+ }

        impl $name {
            /// In the order of declaration: `ALL[value as usize] == value`.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl Field for $name {
            fn write(&self, out: &mut Vec<u8>) {
                write_plain(self.as_str(), out);
            }
        }
    )+};
}

words! {
    /// Who should look, and when.
    Level {
        /// A step of a session; for somebody who looks into one peer's trouble.
        Debug = "debug",
        /// What became of sessions and messages on a good day.
        Info = "info",
        /// Look when there is time: something outside or a limit stands in the way.
        Warn = "warn",
        /// Look now: baton itself cannot do what it promises.
        Error = "error",
    }

    /// Why a connection was turned away before its greeting.
    RefusalTag {
        SessionsMax = "sessions-max",
        PeerSessionsMax = "peer-sessions-max",
        NotAllowed = "not-allowed",
        Stopping = "stopping",
        ProxyHeader = "proxy-header",
    }

    /// Why an inbound session ended.
    CloseReason {
        Quit = "quit",
        PeerClosed = "peer-closed",
        /// No command within the idle time.
        Idle = "idle",
        /// A phase took longer than its deadline allows.
        Slow = "slow",
        /// Too many commands were refused.
        Errors = "errors",
        Stopping = "stopping",
        TlsFailed = "tls-failed",
        /// A task of ours panicked.
        Broken = "broken",
        /// The connection failed without an end of stream.
        Lost = "lost",
        CommandsMax = "commands-max",
        /// Input was pipelined behind STARTTLS.
        Injection = "injection",
        /// A bare CR or LF stood around the end of data.
        Smuggling = "smuggling",
        SessionAge = "session-age",
    }

    /// How far a message had come when it was refused.
    RejectStage {
        Connect = "connect",
        Mail = "mail",
        Rcpt = "rcpt",
        Data = "data",
        Content = "content",
    }

    /// What a person does to entries that wait.
    QueueAction {
        /// Try again now.
        Retry = "retry",
        /// Keep, and try no more until it is released.
        Hold = "hold",
        /// Try again now what is held.
        Release = "release",
        /// Delete, telling nobody but the log.
        Drop = "drop",
    }

    /// Why a message or recipient was refused: the stable word of the reply.
    RejectTag {
        NotAllowed = "not-allowed",
        BadAddress = "bad-address",
        TooBig = "too-big",
        TooManyRecipients = "too-many-recipients",
        Loop = "loop",
        NoRoute = "no-route",
        BareNewline = "bare-newline",
        Disk = "disk",
        Busy = "busy",
        Filter = "filter",
        Malformed = "malformed",
        Syntax = "syntax",
    }
}

/// Where the time of a delivered message went, in milliseconds; Postfix calls it `delays=a/b/c/d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From MAIL to the 250 after the final dot.
    pub before_queue: u64,
    /// From that 250 to the start of the successful attempt.
    pub queued: u64,
    /// Until the remote was ready for MAIL: connect, TLS, EHLO; zero on a reused connection.
    pub connect: u64,
    /// From MAIL to the remote's final reply.
    pub transmit: u64,
}

impl Delays {
    /// From our 250 to the next hop's.
    pub const fn since_accepted(self) -> Duration {
        let whole = self.queued.saturating_add(self.connect).saturating_add(self.transmit);
        Duration::from_millis(whole)
    }
}

/// What one event may add to besides the count of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    MessagesAccepted,
    MessagesRejected { stage: RejectStage, tag: RejectTag },
    RecipientsDelivered,
    RecipientsDeferred { class: Scope },
    RecipientsBounced { class: Scope },
    SessionsRefused { tag: RefusalTag },
    SessionsClosed { reason: CloseReason },
    Panics,
}

/// Durations that events carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Final dot to 250.
    Accept,
    /// Identification and filter.
    Filter,
    /// Our 250 to the next hop's.
    Delivery,
}

/// Takes what events add to the metrics.
pub trait Meter {
    /// Every event counts under its own name.
    fn happened(&self, kind: EventKind);
    fn count(&self, counter: Counter);
    fn time(&self, timer: Timer, took: Duration);
}

/// Declares the events: `Variant = "name" Level { fields } |meter| { what it adds }`.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $name:literal $level:ident {
            $($(#[$note:meta])* $field:ident: $type:ty,)*
        }
        $(|$meter:ident| $adds:block)?
    )+) => {
        /// Everything that happens.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[$doc])* $variant { $($(#[$note])* $field: $type,)* },)+
        }

        words! {
            /// The name of an event without its fields.
            EventKind { $($(#[$doc])* $variant = $name,)+ }
        }

        impl Event {
            pub const fn kind(&self) -> EventKind {
                match self { $(Event::$variant { .. } => EventKind::$variant,)+ }
            }

            pub const fn level(&self) -> Level {
                match self { $(Event::$variant { .. } => Level::$level,)+ }
            }

            /// Adds the event to the metrics.
            pub fn meter(&self, meters: &(impl Meter + ?Sized)) {
                meters.happened(self.kind());
                match self {
                    $(Event::$variant { $($field,)* } => {
                        $(let _ = $field;)*
                        $(let $meter = meters; $adds)?
                    })+
                }
            }

            fn write_fields(&self, out: &mut Vec<u8>) {
                match self {
                    $(Event::$variant { $($field,)* } => {
                        $({
                            const KEY: &str = concat!(",\"", stringify!($field), "\":");
                            out.extend_from_slice(KEY.as_bytes());
                            Field::write($field, out);
                        })*
                    })+
                }
            }
        }
    };
}

events! {
    ServerStarted = "server-started" Info {
        version: &'static str,
        shards: u16,
        durability: &'static str,
    }
    ServerStopping = "server-stopping" Info {
        signal: &'static str,
    }
    /// The last line of a run that ended well.
    ServerStopped = "server-stopped" Info {
        /// Entries left on disk; not told when they were not all read yet.
        queued: Option<u64>,
    }
    /// The configuration was read again, and every shard goes by it.
    ConfigReloaded = "config-reloaded" Info {
        /// Knobs whose new values are used from now on.
        changed: Box<[Box<str>]>,
        /// Knobs whose values in the file need a restart.
        waiting: Box<[Box<str>]>,
    }
    /// The configuration was read again and refused: the one before stays in use.
    ConfigRejected = "config-rejected" Error {
        problems: u32,
        first: Box<str>,
    }
    /// A queue on disk that an older version left was brought up to this one's format.
    StoreUpgraded = "store-upgraded" Info {
        from: u32,
        entries: u64,
        /// Entries that cannot be read, left as they are.
        damaged: u64,
    }
    /// The queue on disk was read at start.
    QueueRecovered = "queue-recovered" Info {
        entries: u64,
        domains: u64,
        damaged: u64,
        millis: u64,
    }

    SessionOpened = "session-opened" Debug {
        peer: SocketAddr,
        listener: u16,
    }
    SessionRefused = "session-refused" Warn {
        peer: IpAddr,
        tag: RefusalTag,
    } |meter| {
        meter.count(Counter::SessionsRefused { tag: *tag });
    }
    SessionClosed = "session-closed" Info {
        peer: SocketAddr,
        messages: u32,
        reason: CloseReason,
        millis: u64,
    } |meter| {
        meter.count(Counter::SessionsClosed { reason: *reason });
    }
    /// A TLS handshake with a peer succeeded.
    SessionSecured = "session-secured" Debug {
        peer: SocketAddr,
        version: &'static str,
        cipher: Box<str>,
    }
    /// A task ended by panic: a mistake of ours, with its message and place.
    TaskPanicked = "task-panicked" Error {
        words: Box<str>,
    } |meter| {
        meter.count(Counter::Panics);
    }

    AuthSucceeded = "auth-succeeded" Debug {
        peer: IpAddr,
        account: Box<str>,
    }
    AuthFailed = "auth-failed" Warn {
        peer: IpAddr,
        /// The name as it was given; it need not exist.
        account: Box<str>,
    }

    /// The final dot was answered 250: from here on the message is ours.
    MessageAccepted = "message-accepted" Info {
        id: MessageId,
        peer: IpAddr,
        account: Box<str>,
        sender: ReversePath,
        sender_id: SenderId,
        recipients: u32,
        bytes: u64,
        protocol: &'static str,
        /// Final dot to 250.
        accept_micros: u64,
        /// Identification and filter.
        filter_micros: u64,
    } |meter| {
        meter.count(Counter::MessagesAccepted);
        meter.time(Timer::Accept, Duration::from_micros(*accept_micros));
        meter.time(Timer::Filter, Duration::from_micros(*filter_micros));
    }
    MessageRejected = "message-rejected" Info {
        stage: RejectStage,
        tag: RejectTag,
        peer: IpAddr,
        account: Box<str>,
        sender: Box<str>,
        /// What the peer was told.
        reply: Box<str>,
    } |meter| {
        meter.count(Counter::MessagesRejected { stage: *stage, tag: *tag });
    }

    RecipientDelivered = "recipient-delivered" Info {
        id: MessageId,
        recipient: Address,
        sender_id: SenderId,
        remote: SocketAddr,
        /// How the connection was encrypted; null when it was not.
        tls: Option<TlsSession>,
        /// The next hop's words, verbatim.
        reply: Box<str>,
        attempts: u16,
        delays: Delays,
    } |meter| {
        meter.count(Counter::RecipientsDelivered);
        meter.time(Timer::Delivery, delays.since_accepted());
    }
    RecipientDeferred = "recipient-deferred" Info {
        id: MessageId,
        recipient: Address,
        sender_id: SenderId,
        scope: Scope,
        stage: Stage,
        cause: Box<str>,
        attempts: u16,
        next: Stamp,
    } |meter| {
        meter.count(Counter::RecipientsDeferred { class: *scope });
    }
    RecipientBounced = "recipient-bounced" Info {
        id: MessageId,
        recipient: Address,
        sender_id: SenderId,
        scope: Scope,
        stage: Stage,
        cause: Box<str>,
        attempts: u16,
        /// Given up because of its age, not because of the last answer.
        expired: bool,
    } |meter| {
        meter.count(Counter::RecipientsBounced { class: *scope });
    }
    /// A notice to a sender entered the queue.
    NoticeQueued = "notice-queued" Info {
        id: MessageId,
        /// The message that it reports on.
        about: MessageId,
        kind: &'static str,
    }

    /// A person's command went through a shard's part of the queue.
    QueueChanged = "queue-changed" Info {
        action: QueueAction,
        /// What the command was about; empty for any.
        domain: Box<str>,
        sender: Box<str>,
        message: Option<MessageId>,
        entries: u64,
        /// Entries that were left alone because an attempt on them was going on.
        under_way: u64,
        /// Entries that were left alone because they cannot be read.
        damaged: u64,
        millis: u64,
    }
    /// A person deleted what was left to do for a message in a domain.
    EntryDropped = "entry-dropped" Info {
        id: MessageId,
        domain: Box<str>,
        recipients: u32,
        sender_id: Box<str>,
    }

    /// A host offered STARTTLS and failed at it; mail goes to it in clear for a while, because its
    /// route does not demand TLS.
    HandshakeFailed = "handshake-failed" Warn {
        remote: SocketAddr,
        cause: Box<str>,
    }
    /// A site or session failed so that its lane waits.
    LaneStalled = "lane-stalled" Warn {
        lane: Box<str>,
        cause: Box<str>,
        millis: u64,
    }
    LaneResumed = "lane-resumed" Info {
        lane: Box<str>,
    }

    CommitFailed = "commit-failed" Error {
        error: CommitError,
        /// The store's own.
        words: Box<str>,
    }
    /// Acceptance stops until there is room again.
    DiskLow = "disk-low" Error {
        /// Octets.
        free: u64,
    }
    DiskRecovered = "disk-recovered" Info {
        /// Octets.
        free: u64,
    }
    /// A record on disk cannot be read; it is left alone.
    RecordDamaged = "record-damaged" Error {
        id: Option<MessageId>,
        words: Box<str>,
    }
    /// The log writer fell behind: so many events are in the metrics but not in the log.
    EventsDropped = "events-dropped" Warn {
        count: u64,
    }
}

impl Event {
    pub const fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Appends the event as one JSON object, without a newline. `shard` is `None` for what no
    /// shard did: the committer, start and stop.
    pub fn write_json(&self, at: Stamp, shard: Option<u16>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":");
        at.write(out);
        out.extend_from_slice(b",\"level\":");
        self.level().write(out);
        out.extend_from_slice(b",\"event\":");
        self.kind().write(out);
        if let Some(shard) = shard {
            out.extend_from_slice(b",\"shard\":");
            shard.write(out);
        }
        self.write_fields(out);
        out.push(b'}');
    }
}

/// The word for who was at fault: the `class` label of deferred and bounced recipients.
pub const fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Recipient => "recipient",
        Scope::Message => "message",
        Scope::Session => "session",
        Scope::Site => "site",
        Scope::Us => "us",
    }
}

/// All scopes in the order of declaration.
pub const SCOPES: [Scope; 5] =
    [Scope::Recipient, Scope::Message, Scope::Session, Scope::Site, Scope::Us];

/// A value in a log line.
trait Field {
    fn write(&self, out: &mut Vec<u8>);
}

/// Writes `text`, which is known to need no escape.
fn write_plain(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Formats a value whose text is known to need no escape.
macro_rules! write_shown {
    ($out:expr, $($format:tt)+) => {
        write!($out, $($format)+).expect("a Vec takes everything")
    };
}

impl Field for str {
    fn write(&self, out: &mut Vec<u8>) {
        if self.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
            return write_plain(self, out);
        }
        out.push(b'"');
        for letter in self.chars() {
            match letter {
                '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
                // RFC 8259 asks for C0 only; DEL and C1 would reach the terminal of whoever
                // reads the log, and U+009B begins an escape sequence there.
                _ if letter.is_control() => write_shown!(out, "\\u{:04x}", letter as u32),
                _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.push(b'"');
    }
}

impl Field for &'static str {
    fn write(&self, out: &mut Vec<u8>) {
        str::write(self, out);
    }
}

impl Field for Box<str> {
    fn write(&self, out: &mut Vec<u8>) {
        str::write(self, out);
    }
}

impl Field for Box<[Box<str>]> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, one) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            one.write(out);
        }
        out.push(b']');
    }
}

impl Field for Address {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Field for ReversePath {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Field for SenderId {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

/// Values that print themselves as a JSON number or literal.
macro_rules! bare_fields {
    ($($type:ty)+) => {$(
        impl Field for $type {
            fn write(&self, out: &mut Vec<u8>) {
                write_shown!(out, "{self}");
            }
        }
    )+};
}

bare_fields! { u16 u32 u64 bool }

/// Values whose text never holds a character that needs an escape.
macro_rules! quoted_fields {
    ($($type:ty)+) => {$(
        impl Field for $type {
            fn write(&self, out: &mut Vec<u8>) {
                write_shown!(out, "\"{self}\"");
            }
        }
    )+};
}

quoted_fields! { MessageId IpAddr SocketAddr Stamp }

impl<T: Field> Field for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl Field for Scope {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(scope_word(*self), out);
    }
}

impl Field for Stage {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(self.as_str(), out);
    }
}

impl Field for CommitError {
    fn write(&self, out: &mut Vec<u8>) {
        let word = match self {
            CommitError::LowDisk => "low-disk",
            CommitError::Busy => "busy",
            CommitError::Poisoned => "poisoned",
        };
        write_plain(word, out);
    }
}

impl Field for Delays {
    fn write(&self, out: &mut Vec<u8>) {
        let Delays { before_queue, queued, connect, transmit } = self;
        write_shown!(out, "{{\"before_queue\":{before_queue},\"queued\":{queued},");
        write_shown!(out, "\"connect\":{connect},\"transmit\":{transmit}}}");
    }
}

impl Field for TlsSession {
    fn write(&self, out: &mut Vec<u8>) {
        let TlsSession { version, cipher, verified } = self;
        write_shown!(out, "{{\"version\":\"{version}\",\"cipher\":");
        cipher.write(out);
        write_shown!(out, ",\"verified\":{verified}}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::cell::RefCell;
    use std::collections::HashSet;

    const HOSTILE: &str = "a\"b\\c\r\n\0\t\u{7f}\u{9b}31m\u{85}\u{2028}é\u{1f4e7}</script>";

    fn id() -> MessageId {
        MessageId::from_u64(0x1234_5678_9abc_def0)
    }

    /// One event of every kind, with `text` wherever a peer's words could stand.
    fn one_of_each(text: &str) -> Vec<Event> {
        let peer: SocketAddr = "[2001:db8::1]:2525".parse().unwrap();
        let ip = peer.ip();
        let to = || Address::from_checked(format!("{text}@x.test"), text.len());
        let sender = ReversePath::Mailbox(to());
        let who = || SenderId::from_record(text);
        let (scope, stage, attempts, id) = (Scope::Site, Stage::Rcpt, 2, id());
        let delays = Delays { before_queue: 1, queued: 2, connect: 3, transmit: 4 };
        let t = || Box::<str>::from(text);
        #[rustfmt::skip]
        let events = vec![
            Event::ServerStarted { version: "0.1.0", shards: 2, durability: "fsync" },
            Event::ServerStopping { signal: "SIGTERM" },
            Event::ServerStopped { queued: Some(9) },
            Event::ConfigReloaded { changed: [t(), t()].into(), waiting: [].into() },
            Event::ConfigRejected { problems: 2, first: t() },
            Event::StoreUpgraded { from: 1, entries: 3, damaged: 1 },
            Event::QueueRecovered { entries: 3, domains: 2, damaged: 1, millis: 4 },
            Event::SessionOpened { peer, listener: 0 },
            Event::SessionRefused { peer: ip, tag: RefusalTag::PeerSessionsMax },
            Event::SessionClosed { peer, messages: 1, reason: CloseReason::Smuggling, millis: 5 },
            Event::SessionSecured { peer, version: "TLSv1.3", cipher: t() },
            Event::TaskPanicked { words: t() },
            Event::AuthSucceeded { peer: ip, account: t() },
            Event::AuthFailed { peer: ip, account: t() },
            Event::MessageAccepted { id, peer: ip, account: t(), sender, sender_id: who(),
                recipients: 2, bytes: 4_096, protocol: "ESMTPSA", accept_micros: 2_500, filter_micros: 40 },
            Event::MessageRejected { stage: RejectStage::Rcpt, tag: RejectTag::NotAllowed,
                peer: ip, account: t(), sender: t(), reply: t() },
            Event::RecipientDelivered { id, recipient: to(), sender_id: who(), remote: peer,
                tls: Some(TlsSession { version: "TLSv1.3", cipher: t(), verified: false }),
                reply: t(), attempts, delays },
            Event::RecipientDeferred { id, recipient: to(), sender_id: who(), scope, stage,
                cause: t(), attempts, next: Stamp::from_millis(7) },
            Event::RecipientBounced { id, recipient: to(), sender_id: who(), scope, stage,
                cause: t(), attempts, expired: true },
            Event::NoticeQueued { id, about: id, kind: "failure" },
            Event::QueueChanged { action: QueueAction::Drop, domain: t(), sender: t(),
                message: Some(id), entries: 1, under_way: 2, damaged: 3, millis: 4 },
            Event::EntryDropped { id, domain: t(), recipients: 2, sender_id: t() },
            Event::HandshakeFailed { remote: peer, cause: t() },
            Event::LaneStalled { lane: t(), cause: t(), millis: 60_000 },
            Event::LaneResumed { lane: t() },
            Event::CommitFailed { error: CommitError::Poisoned, words: t() },
            Event::DiskLow { free: 1 },
            Event::DiskRecovered { free: u64::MAX },
            Event::RecordDamaged { id: None, words: t() },
            Event::EventsDropped { count: 12 },
        ];
        assert_eq!(events.len(), EventKind::ALL.len(), "a new event wants a line here");
        events
    }

    fn line(event: &Event, shard: Option<u16>) -> String {
        let mut out = Vec::new();
        event.write_json(Stamp::from_millis(1_763_900_000_123), shard, &mut out);
        String::from_utf8(out).expect("a line is UTF-8")
    }

    #[test]
    fn every_event_is_one_json_line_with_time_level_and_name() {
        for event in one_of_each(HOSTILE) {
            let line = line(&event, Some(3));
            assert!(!line.chars().any(char::is_control), "{line}");
            let value: Value =
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(value["time"], "2025-11-23T12:13:20.123Z");
            assert_eq!(value["event"], event.name());
            assert_eq!(value["level"], event.level().as_str());
            assert_eq!(value["shard"], 3);
        }
    }

    #[test]
    fn hostile_words_come_back_as_they_were() {
        let event = Event::AuthFailed { peer: "::1".parse().unwrap(), account: HOSTILE.into() };
        let value: Value = serde_json::from_str(&line(&event, None)).unwrap();
        assert_eq!(value["account"], HOSTILE);
        assert_eq!(value.get("shard"), None);
    }

    #[test]
    fn a_delivery_line_reads_like_this() {
        let event = Event::RecipientDelivered {
            id: id(),
            recipient: Address::from_checked("joe@x.test", 3),
            sender_id: SenderId::new("acme", "x-authuser", "joe"),
            remote: "192.0.2.1:25".parse().unwrap(),
            tls: Some(TlsSession {
                version: "TLSv1.3",
                cipher: "TLS_AES_256_GCM_SHA384".into(),
                verified: true,
            }),
            reply: "250 2.0.0 \"ok\"".into(),
            attempts: 1,
            delays: Delays { before_queue: 4, queued: 2, connect: 30, transmit: 12 },
        };
        let expected = [
            r#"{"time":"2025-11-23T12:13:20.123Z","level":"info","event":"recipient-delivered","#,
            r#""shard":0,"id":"14d2pf2dbsqqg","recipient":"joe@x.test","#,
            r#""sender_id":"acme|x-authuser|joe","remote":"192.0.2.1:25","#,
            r#""tls":{"version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","verified":true},"#,
            r#""reply":"250 2.0.0 \"ok\"","attempts":1,"#,
            r#""delays":{"before_queue":4,"queued":2,"connect":30,"transmit":12}}"#,
        ];
        assert_eq!(line(&event, Some(0)), expected.concat());
    }

    #[test]
    fn names_are_noun_verb_and_words_are_distinct() {
        let names: HashSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        for name in names {
            let (noun, verb) = name.split_once('-').expect("noun-verb");
            assert!([noun, verb].iter().all(|part| part.bytes().all(|b| b.is_ascii_lowercase())));
        }
        assert!(EventKind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
        assert!(SCOPES.iter().enumerate().all(|(place, scope)| *scope as usize == place));
    }

    #[derive(Default)]
    struct Seen {
        kinds: RefCell<Vec<EventKind>>,
        counters: RefCell<Vec<Counter>>,
        times: RefCell<Vec<(Timer, Duration)>>,
    }

    impl Meter for Seen {
        fn happened(&self, kind: EventKind) {
            self.kinds.borrow_mut().push(kind);
        }

        fn count(&self, counter: Counter) {
            self.counters.borrow_mut().push(counter);
        }

        fn time(&self, timer: Timer, took: Duration) {
            self.times.borrow_mut().push((timer, took));
        }
    }

    #[test]
    fn events_add_to_the_metrics_what_their_declaration_says() {
        let seen = Seen::default();
        for event in one_of_each("x") {
            event.meter(&seen);
        }
        assert_eq!(*seen.kinds.borrow(), EventKind::ALL);
        let expected = [
            Counter::SessionsRefused { tag: RefusalTag::PeerSessionsMax },
            Counter::SessionsClosed { reason: CloseReason::Smuggling },
            Counter::Panics,
            Counter::MessagesAccepted,
            Counter::MessagesRejected { stage: RejectStage::Rcpt, tag: RejectTag::NotAllowed },
            Counter::RecipientsDelivered,
            Counter::RecipientsDeferred { class: Scope::Site },
            Counter::RecipientsBounced { class: Scope::Site },
        ];
        assert_eq!(*seen.counters.borrow(), expected);
        let expected = [
            (Timer::Accept, Duration::from_micros(2_500)),
            (Timer::Filter, Duration::from_micros(40)),
            (Timer::Delivery, Duration::from_millis(9)),
        ];
        assert_eq!(*seen.times.borrow(), expected);
    }
}
