//! The metrics: every series that baton exposes, with its help text, labels and buckets.
//!
//! All series are registered at start, so that each exists at zero and an alert on it works before
//! the first event. Names are the fixed ones of the design; labels are closed enums. Most numbers
//! come from events ([`crate::event::Event::meter`]); the committer and the filter report durations
//! of their own, and gauges are copied from the shards when somebody scrapes.
//!
//! The recorder belongs to this object, not to the process: two relays in one test do not mix. All
//! methods may be called from any thread and never block. Histograms keep samples until
//! [`Meters::upkeep`] or a scrape folds them into their buckets, so somebody must call one of them
//! every few seconds.

use super::gauges::{Gauge, Gauges};
use crate::event::{
    CloseReason, Counter, EventKind, Meter, RefusalTag, RejectStage, RejectTag, SCOPES, Timer,
    scope_word,
};
use metrics::{
    Counter as CounterHandle, Gauge as GaugeHandle, Histogram as HistogramHandle, Key, KeyName,
    Label, Metadata, Recorder,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use std::sync::Arc;
use std::time::Duration;

/// What stands behind a 250; both are exposed, and the one in force is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Fsync,
    Os,
}

impl Durability {
    const ALL: [Durability; 2] = [Durability::Fsync, Durability::Os];

    pub const fn as_str(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::Os => "os",
        }
    }
}

/// Seconds. A commit is one fsync: 0.1 ms on a good NVMe, tens on a busy disk, seconds in trouble.
const COMMIT_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Seconds from final dot to 250: a commit and the wait for the one before it.
const ACCEPT_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Seconds in the queue: from a reused connection to four days of retries.
const DELIVERY_BUCKETS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 28_800.0,
    86_400.0, 345_600.0,
];
/// Seconds of screening, lookups included; their deadline ends the list.
const FILTER_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Messages of one commit: how well senders share an fsync.
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

const HISTOGRAMS: [(&str, &[f64]); 5] = [
    ("baton_commit_batch_messages", BATCH_BUCKETS),
    ("baton_commit_seconds", COMMIT_BUCKETS),
    ("baton_accept_seconds", ACCEPT_BUCKETS),
    ("baton_delivery_seconds", DELIVERY_BUCKETS),
    ("baton_filter_seconds", FILTER_BUCKETS),
];

#[derive(Clone, Copy)]
enum Shape {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric with the text that Prometheus shows for it.
const CATALOGUE: &[(Shape, &str, &str)] = &[
    (Shape::Counter, "baton_messages_accepted_total", "Messages answered 250 after the final dot."),
    (Shape::Counter, "baton_messages_rejected_total", "Refusals of messages or recipients."),
    (Shape::Counter, "baton_recipients_delivered_total", "Recipients the next hop took."),
    (Shape::Counter, "baton_recipients_deferred_total", "Attempts to be repeated, by fault."),
    (Shape::Counter, "baton_recipients_bounced_total", "Recipients given up, by fault."),
    (Shape::Counter, "baton_sessions_refused_total", "Connections turned away unheard."),
    (Shape::Counter, "baton_sessions_closed_total", "Inbound sessions that ended, by reason."),
    (Shape::Counter, "baton_wal_syncs_total", "Fsyncs of the write-ahead log."),
    (Shape::Counter, "baton_panics_total", "Tasks that ended by panic; each is a bug."),
    (Shape::Counter, "baton_events_total", "Events by name, written to the log or not."),
    (Shape::Counter, "baton_events_dropped_total", "Events that the log writer had no room for."),
    (Shape::Counter, "baton_log_errors_total", "Failed writes or reopenings of the log."),
    (Shape::Gauge, "baton_queue_messages", "Messages in the queue."),
    (Shape::Gauge, "baton_queue_due_entries", "Queue entries: one per message and domain."),
    (Shape::Gauge, "baton_sessions", "Open SMTP sessions."),
    (Shape::Gauge, "baton_memory_budget_bytes", "Octets in use of each memory budget."),
    (Shape::Gauge, "baton_durability", "1 for the mode in force; os promises less."),
    (Shape::Histogram, "baton_commit_batch_messages", "Commits that shared one write."),
    (Shape::Histogram, "baton_commit_seconds", "Duration of one write, fsync included."),
    (Shape::Histogram, "baton_accept_seconds", "Time from the final dot to the 250."),
    (Shape::Histogram, "baton_delivery_seconds", "Time from our 250 to the next hop's."),
    (Shape::Histogram, "baton_filter_seconds", "Time to screen one message."),
];

/// All series, ready to be added to.
pub struct Meters {
    handle: PrometheusHandle,
    events: Vec<CounterHandle>,
    messages_accepted: CounterHandle,
    /// By stage, then tag.
    messages_rejected: Vec<Vec<CounterHandle>>,
    recipients_delivered: CounterHandle,
    recipients_deferred: Vec<CounterHandle>,
    recipients_bounced: Vec<CounterHandle>,
    sessions_refused: Vec<CounterHandle>,
    sessions_closed: Vec<CounterHandle>,
    wal_syncs: CounterHandle,
    panics: CounterHandle,
    events_dropped: CounterHandle,
    log_errors: CounterHandle,
    gauges: Vec<GaugeHandle>,
    commit_batch: HistogramHandle,
    commit: HistogramHandle,
    accept: HistogramHandle,
    delivery: HistogramHandle,
    filter: HistogramHandle,
}

impl Meters {
    pub fn new(durability: Durability) -> Self {
        let register = Register::new();
        for mode in Durability::ALL {
            let gauge = register.gauge("baton_durability", &[("mode", mode.as_str())]);
            gauge.set(if mode == durability { 1.0 } else { 0.0 });
        }
        let by_class = |name| {
            let counter = |&scope| register.counter(name, &[("class", scope_word(scope))]);
            SCOPES.iter().map(counter).collect()
        };
        let rejected = |stage: &RejectStage, tag: &RejectTag| {
            let labels = [("stage", stage.as_str()), ("tag", tag.as_str())];
            register.counter("baton_messages_rejected_total", &labels)
        };
        let one = |name| register.counter(name, &[]);
        let named = |name, label, word: &'static str| register.counter(name, &[(label, word)]);
        Meters {
            events: (EventKind::ALL.iter())
                .map(|kind| named("baton_events_total", "event", kind.as_str()))
                .collect(),
            messages_accepted: one("baton_messages_accepted_total"),
            messages_rejected: (RejectStage::ALL.iter())
                .map(|stage| RejectTag::ALL.iter().map(|tag| rejected(stage, tag)).collect())
                .collect(),
            recipients_delivered: one("baton_recipients_delivered_total"),
            recipients_deferred: by_class("baton_recipients_deferred_total"),
            recipients_bounced: by_class("baton_recipients_bounced_total"),
            sessions_refused: (RefusalTag::ALL.iter())
                .map(|tag| named("baton_sessions_refused_total", "tag", tag.as_str()))
                .collect(),
            sessions_closed: (CloseReason::ALL.iter())
                .map(|reason| named("baton_sessions_closed_total", "reason", reason.as_str()))
                .collect(),
            wal_syncs: one("baton_wal_syncs_total"),
            panics: one("baton_panics_total"),
            events_dropped: one("baton_events_dropped_total"),
            log_errors: one("baton_log_errors_total"),
            gauges: (Gauge::ALL.iter().map(|gauge| gauge.series()))
                .map(|(name, label)| register.gauge(name, label.as_slice()))
                .collect(),
            commit_batch: register.histogram("baton_commit_batch_messages"),
            commit: register.histogram("baton_commit_seconds"),
            accept: register.histogram("baton_accept_seconds"),
            delivery: register.histogram("baton_delivery_seconds"),
            filter: register.histogram("baton_filter_seconds"),
            handle: register.0.handle(),
        }
    }

    /// The committer wrote one batch of `commits`, with an fsync of the log when `synced`.
    pub fn commit_batch(&self, commits: usize, synced: bool, took: Duration) {
        self.commit_batch.record(commits as f64);
        self.commit.record(took);
        self.wal_syncs.increment(u64::from(synced));
    }

    /// The log was synced beside a batch.
    pub fn wal_synced(&self) {
        self.wal_syncs.increment(1);
    }

    pub(super) fn event_dropped(&self) {
        self.events_dropped.increment(1);
    }

    pub(super) fn log_failed(&self) {
        self.log_errors.increment(1);
    }

    /// Folds the samples of histograms into their buckets.
    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The text of `/metrics`: Prometheus' exposition format 0.0.4.
    pub(super) fn scrape(&self, shards: &[Arc<Gauges>]) -> String {
        for (gauge, handle) in Gauge::ALL.into_iter().zip(&self.gauges) {
            let sum: u64 = shards.iter().map(|shard| shard.get(gauge)).sum();
            handle.set(sum as f64);
        }
        self.handle.render()
    }
}

impl Meter for Meters {
    fn happened(&self, kind: EventKind) {
        self.events[kind as usize].increment(1);
    }

    fn count(&self, counter: Counter) {
        let handle = match counter {
            Counter::MessagesAccepted => &self.messages_accepted,
            Counter::MessagesRejected { stage, tag } => {
                &self.messages_rejected[stage as usize][tag as usize]
            }
            Counter::RecipientsDelivered => &self.recipients_delivered,
            Counter::RecipientsDeferred { class } => &self.recipients_deferred[class as usize],
            Counter::RecipientsBounced { class } => &self.recipients_bounced[class as usize],
            Counter::SessionsRefused { tag } => &self.sessions_refused[tag as usize],
            Counter::SessionsClosed { reason } => &self.sessions_closed[reason as usize],
            Counter::Panics => &self.panics,
        };
        handle.increment(1);
    }

    fn time(&self, timer: Timer, took: Duration) {
        match timer {
            Timer::Accept => self.accept.record(took),
            Timer::Filter => self.filter.record(took),
            Timer::Delivery => self.delivery.record(took),
        }
    }
}

/// The recorder while series are being registered.
struct Register(PrometheusRecorder);

/// The recorder asks for it and ignores it.
const METADATA: Metadata<'static> = Metadata::new("baton", metrics::Level::INFO, None);

impl Register {
    fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for (name, buckets) in HISTOGRAMS {
            let name = Matcher::Full(name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).expect("buckets are given");
        }
        let recorder = builder.build_recorder();
        for &(shape, name, help) in CATALOGUE {
            let name = KeyName::from_const_str(name);
            match shape {
                Shape::Counter => recorder.describe_counter(name, None, help.into()),
                Shape::Gauge => recorder.describe_gauge(name, None, help.into()),
                Shape::Histogram => recorder.describe_histogram(name, None, help.into()),
            }
        }
        Register(recorder)
    }

    fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
        let labels = labels.iter().map(|&(key, value)| Label::from_static_parts(key, value));
        Key::from_parts(name, labels.collect::<Vec<_>>())
    }

    fn counter(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
    ) -> CounterHandle {
        self.0.register_counter(&Self::key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> GaugeHandle {
        self.0.register_gauge(&Self::key(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str) -> HistogramHandle {
        self.0.register_histogram(&Self::key(name, &[]), &METADATA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::message::Scope;

    /// The names that the design fixes, with one of the label sets where there are several.
    const FIXED: [&str; 18] = [
        "baton_messages_accepted_total 0",
        "baton_messages_rejected_total{stage=\"rcpt\",tag=\"not-allowed\"} 0",
        "baton_recipients_delivered_total 0",
        "baton_recipients_deferred_total{class=\"site\"} 0",
        "baton_recipients_bounced_total{class=\"recipient\"} 0",
        "baton_queue_messages 0",
        "baton_queue_due_entries 0",
        "baton_sessions{direction=\"inbound\"} 0",
        "baton_sessions{direction=\"outbound\"} 0",
        "baton_commit_batch_messages_count 0",
        "baton_commit_seconds_count 0",
        "baton_wal_syncs_total 0",
        "baton_accept_seconds_count 0",
        "baton_delivery_seconds_count 0",
        "baton_filter_seconds_count 0",
        "baton_memory_budget_bytes{kind=\"bodies\"} 0",
        "baton_panics_total 0",
        "baton_durability{mode=\"fsync\"} 1",
    ];

    #[test]
    fn every_fixed_name_exists_before_anything_happens() {
        let text = Meters::new(Durability::Fsync).scrape(&[]);
        for line in FIXED {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_name_is_explained_and_every_explanation_is_of_a_name() {
        let text = Meters::new(Durability::Os).scrape(&[]);
        let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut typed: Vec<_> = typed.map(|rest| rest.split(' ').next().unwrap()).collect();
        let mut told: Vec<_> = CATALOGUE.iter().map(|&(_, name, _)| name).collect();
        for name in &told {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
        typed.sort_unstable();
        told.sort_unstable();
        assert_eq!(typed, told);
    }

    #[test]
    fn events_commits_and_shards_show() {
        let meters = Meters::new(Durability::Fsync);
        let event = Event::MessageRejected {
            stage: RejectStage::Data,
            tag: RejectTag::TooBig,
            peer: "::1".parse().unwrap(),
            account: "acme".into(),
            sender: "".into(),
            reply: "552 5.3.4 too big".into(),
        };
        event.meter(&meters);
        meters.count(Counter::RecipientsBounced { class: Scope::Us });
        meters.commit_batch(64, true, Duration::from_millis(2));
        meters.commit_batch(1, false, Duration::from_millis(2));
        meters.time(Timer::Filter, Duration::from_micros(200));
        meters.upkeep();
        let shards: Vec<_> = (0..3).map(|_| Arc::new(Gauges::default())).collect();
        shards[0].set(Gauge::QueueDueEntries, 40);
        shards[2].set(Gauge::QueueDueEntries, 2);
        let text = meters.scrape(&shards);
        for line in [
            "baton_events_total{event=\"message-rejected\"} 1",
            "baton_messages_rejected_total{stage=\"data\",tag=\"too-big\"} 1",
            "baton_recipients_bounced_total{class=\"us\"} 1",
            "baton_wal_syncs_total 1",
            "baton_commit_batch_messages_bucket{le=\"32\"} 1",
            "baton_commit_batch_messages_bucket{le=\"64\"} 2",
            "baton_commit_seconds_bucket{le=\"0.0025\"} 2",
            "baton_filter_seconds_count 1",
            "baton_queue_due_entries 42",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
