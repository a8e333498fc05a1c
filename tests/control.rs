//! The control side as a whole: a real port on loopback, a real log file, real threads.
//!
//! What is asked here is what an operator relies on at a bad moment: that a scrape and a probe
//! answer, that the queue is shown to those who may see it and to nobody else, that no event is
//! lost at a stop or a rotation, and that a log which hangs costs lines and nothing else. Rules of
//! single pieces (escapes, tables, filters) are tested beside them.

use baton::control::client::{AdminClient, Answer, ClientError};
use baton::control::{
    Answers, Control, ControlError, ControlOptions, Disk, Durability, EVENTS_WAITING_MAX, Gauge,
    LogTarget, Phase, QueueChanges, QueueDetail, QueueFilter, QueueOperator, QueueRow, QueueView,
    ViewError,
};
use baton::event::{Event, Level, QueueAction};
use baton::message::MessageId;
use baton::shard::operate::{Counts, Filter, Operation, SenderFilter};
use baton::time::Stamp;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const TOKEN: &str = "correct-horse-battery";

/// A folder of its own for each test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("baton-control-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options(log: &Path) -> ControlOptions {
    ControlOptions {
        address: "127.0.0.1:0".parse().unwrap(),
        token_file: None,
        log: LogTarget::new(log),
        shards: 2,
        durability: Durability::Fsync,
    }
}

fn start() -> Control {
    Control::start(options(Path::new("/dev/null"))).unwrap()
}

fn get(control: &Control, target: &str) -> Answer {
    AdminClient::new(control.address(), None).unwrap().get(target).unwrap()
}

fn scrape(control: &Control) -> String {
    let answer = get(control, "/metrics");
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

/// Sends `request` as it stands and reads to the end.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits for what another thread is about to do; gives up after ten seconds.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{what}: not within ten seconds");
}

fn numbered(count: u64) -> Event {
    Event::EventsDropped { count }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counts(lines: &[Value]) -> Vec<u64> {
    lines.iter().filter_map(|line| line["count"].as_u64()).collect()
}

#[test]
fn a_scrape_shows_what_shards_hold_and_what_happened() {
    let control = start();
    control.gauges(0).set(Gauge::SessionsInbound, 5);
    control.gauges(1).set(Gauge::SessionsInbound, 7);
    control.events().send(Stamp::default(), Some(1), Event::TaskPanicked { words: "x".into() });
    assert!(scrape(&control).contains("\nbaton_sessions{direction=\"inbound\"} 12\n"));
    until("the counters follow", || {
        let text = scrape(&control);
        text.contains("\nbaton_panics_total 1\n")
            && text.contains("\nbaton_events_total{event=\"task-panicked\"} 1\n")
    });
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(control.address(), request);
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    control.stop().unwrap();
}

#[test]
fn healthy_and_ready_are_different_questions() {
    let control = start();
    let status = control.status();
    let ask = || (get(&control, "/healthz").status, get(&control, "/readyz").status);
    assert_eq!(ask(), (200, 503), "starting");
    status.enter(Phase::Serving);
    assert_eq!(ask(), (200, 200), "serving");
    status.disk(Disk::Low);
    assert_eq!(ask(), (200, 503), "low disk");
    status.disk(Disk::Enough);
    assert_eq!(ask(), (200, 200), "room again");
    status.enter(Phase::Stopping);
    let answer = get(&control, "/readyz");
    assert_eq!(answer.body, b"{\"ready\":false,\"why\":\"stopping\"}\n");
    status.poison("fsync: Input/output error");
    assert_eq!(ask(), (503, 503), "poisoned");
}

/// A queue with three messages, one of which breaks the view.
struct Three;

impl QueueView for Three {
    fn list(&self, filter: &QueueFilter) -> Result<Vec<QueueRow>, ViewError> {
        if filter.domain.as_deref() == Some("broken.test") {
            return Err(ViewError::Disk("Input/output error".into()));
        }
        let sender = filter.sender.as_deref().unwrap_or("acme|mailbox|joe");
        let row = |number| QueueRow {
            id: MessageId::from_u64(number),
            domain: filter.domain.as_deref().unwrap_or("x.test").into(),
            sender: "joe@a.test".into(),
            sender_id: sender.into(),
            recipients: 1,
            bytes: 4_096,
            attempts: 0,
            received: Stamp::from_millis(1_763_900_000_123),
            due: Some(Stamp::from_millis(1_763_900_000_123)),
            last: None,
        };
        Ok((1..=3).map(row).take(filter.limit).collect())
    }

    fn show(&self, id: MessageId) -> Result<Option<QueueDetail>, ViewError> {
        assert_ne!(id.as_u64(), 3, "the third one breaks");
        Ok((id.as_u64() == 1).then(|| QueueDetail {
            id,
            received: Stamp::from_millis(1_763_900_000_123),
            sender: "joe@a.test".into(),
            sender_id: "acme|mailbox|joe".into(),
            account: "acme".into(),
            peer: "192.0.2.1".into(),
            helo: "mx.a.test".into(),
            protocol: "ESMTPSA".into(),
            bytes: 4_096,
            recipients: 1,
            groups: Vec::new(),
        }))
    }
}

fn filter(domain: Option<&str>, sender: Option<&str>, limit: usize) -> QueueFilter {
    let (domain, sender) = (domain.map(Into::into), sender.map(Into::into));
    QueueFilter { domain, sender, held: false, limit }
}

#[test]
fn the_queue_is_listed_and_shown() {
    let control = start();
    let client = AdminClient::new(control.address(), None).unwrap();
    let refused = client.queue_list(&filter(None, None, 10)).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(503, _)), "not open yet: {refused}");
    control.show_queue(Arc::new(Three));

    let list = client.queue_list(&filter(None, None, 3)).unwrap();
    assert_eq!((list.entries.len(), list.more), (3, false));
    let odd = "acme|php-script|a b/c+d&limit=1";
    let list = client.queue_list(&filter(Some("Y.test"), Some(odd), 2)).unwrap();
    assert_eq!((list.entries.len(), list.more), (2, true));
    assert_eq!((&*list.entries[0].domain, &*list.entries[0].sender_id), ("y.test", odd));

    assert!(client.queue_show(MessageId::from_u64(1)).unwrap().is_some());
    assert!(client.queue_show(MessageId::from_u64(2)).unwrap().is_none());
    let broken = client.queue_list(&filter(Some("broken.test"), None, 1)).unwrap_err();
    let expected = "baton answered 500: reading from disk: Input/output error";
    assert_eq!(broken.to_string(), expected);
    let panicked = client.queue_show(MessageId::from_u64(3)).unwrap_err();
    assert!(matches!(panicked, ClientError::Refused(500, _)), "{panicked}");
    assert!(client.queue_list(&filter(None, None, 1)).is_ok(), "and goes on");
    control.stop().unwrap();
}

/// Two shards that do as they are told, each with one entry; the second goes away before it tells of
/// anything in `cut.test`.
#[derive(Default)]
struct Obedient(Mutex<Vec<Operation>>);

impl QueueOperator for Obedient {
    fn operate(&self, operation: &Operation, answers: Answers) -> usize {
        self.0.lock().unwrap().push(operation.clone());
        let operation = operation.clone();
        // Beside the caller, as shards are.
        thread::spawn(move || {
            answers.tell(Counts { changed: 1, under_way: 2, damaged: 3 });
            if operation.filter.domain.as_deref() != Some("cut.test") {
                answers.tell(Counts { changed: 10, ..Counts::default() });
            }
        });
        2
    }
}

#[test]
fn the_queue_is_changed_by_all_shards_and_their_counts_are_added() {
    let control = start();
    let client = AdminClient::new(control.address(), None).unwrap();
    let all = Filter::default();
    let refused = client.queue_change(QueueAction::Retry, &all).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(503, _)), "not open yet: {refused}");
    let operator = Arc::new(Obedient::default());
    control.operate_queue(operator.clone());
    let odd = "acme|php-script|a b/c+d&all=true";
    let part = Filter {
        domain: Some("y.test".into()),
        sender: Some(SenderFilter::new(odd)),
        id: Some(MessageId::from_u64(77)),
    };
    for action in QueueAction::ALL {
        for filter in [&all, &part] {
            let changes = client.queue_change(*action, filter).unwrap();
            let action = action.as_str().to_owned();
            assert_eq!(changes, QueueChanges { action, changed: 11, under_way: 2, damaged: 3 });
        }
    }
    let asked = operator.0.lock().unwrap();
    let expected: Vec<Operation> = QueueAction::ALL
        .iter()
        .flat_map(|action| [&all, &part].map(|filter| (*action, filter.clone())))
        .map(|(action, filter)| Operation { action, filter })
        .collect();
    assert_eq!(*asked, expected);
    drop(asked);
    let cut = Filter { domain: Some("cut.test".into()), ..Filter::default() };
    let refused = client.queue_change(QueueAction::Drop, &cut).unwrap_err();
    let ClientError::Refused(503, words) = refused else { panic!("{refused}") };
    assert!(words.contains("1 of 2 shards") && words.contains("1 entries"), "{words}");
    control.stop().unwrap();
}

#[test]
fn a_token_opens_the_queue_and_nothing_else_does() {
    let folder = Folder::new();
    let (right, wrong) = (folder.file("right"), folder.file("wrong"));
    fs::write(&right, format!("{TOKEN}\n")).unwrap();
    fs::write(&wrong, "incorrect-horse-battery").unwrap();
    let token_file = Some(right.clone());
    let control =
        Control::start(ControlOptions { token_file, ..options(Path::new("/dev/null")) }).unwrap();
    control.show_queue(Arc::new(Three));
    let ask = |token: Option<&Path>, target: &str| {
        AdminClient::new(control.address(), token).unwrap().get(target).unwrap().status
    };
    for target in ["/api/v1/queue", "/api/v1/queue/0000000000001"] {
        assert_eq!(ask(None, target), 401, "{target}");
        assert_eq!(ask(Some(&wrong), target), 401, "{target}");
        assert_eq!(ask(Some(&right), target), 200, "{target}");
    }
    for target in ["/metrics", "/healthz"] {
        assert_eq!(ask(None, target), 200, "{target}");
    }
    let operator = Arc::new(Obedient::default());
    control.operate_queue(operator.clone());
    let drop_all = |token: Option<&Path>| {
        let client = AdminClient::new(control.address(), token).unwrap();
        client.queue_change(QueueAction::Drop, &Filter::default())
    };
    for token in [None, Some(&*wrong)] {
        let refused = drop_all(token).unwrap_err();
        assert!(matches!(refused, ClientError::Refused(401, _)), "{refused}");
    }
    assert!(operator.0.lock().unwrap().is_empty(), "no shard was asked");
    assert!(drop_all(Some(&right)).is_ok());
}

#[test]
fn without_a_token_a_web_page_cannot_read_the_queue() {
    let control = start();
    control.show_queue(Arc::new(Three));
    let ask = |host: &str| {
        let request =
            format!("GET /api/v1/queue HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(control.address(), &request)
    };
    assert!(ask("localhost:9525").starts_with("HTTP/1.1 200 "));
    assert!(ask("rebound.example:9525").starts_with("HTTP/1.1 403 "));

    // What it cannot read it must not change either: a form of any page may be posted here.
    let operator = Arc::new(Obedient::default());
    control.operate_queue(operator.clone());
    let change = |host: &str, more: &str| {
        let line = "POST /api/v1/queue/drop?all=true HTTP/1.1";
        let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        raw(control.address(), &request)
    };
    let refused = [
        change("localhost:9525", "Origin: https://evil.example\r\n"),
        change("localhost:9525", "Origin: null\r\n"),
        change("rebound.example:9525", ""),
    ];
    assert!(refused.iter().all(|answer| answer.starts_with("HTTP/1.1 403 ")), "{refused:?}");
    assert!(operator.0.lock().unwrap().is_empty(), "no shard was asked");
    assert!(change("localhost:9525", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn wrong_requests_are_told_what_is_allowed() {
    let control = start();
    control.show_queue(Arc::new(Three));
    control.operate_queue(Arc::new(Obedient::default()));
    let close = "Host: localhost\r\nConnection: close\r\n";
    // request without its last empty line, status, what the answer must say
    let cases = [
        (format!("GET / HTTP/1.1\r\n{close}"), 404, "/healthz"),
        (format!("GET /api/v1/queue/a/b HTTP/1.1\r\n{close}"), 404, "/api/v1/queue/ID"),
        (format!("POST /metrics HTTP/1.1\r\n{close}"), 405, "allow: GET, HEAD"),
        (format!("DELETE /api/v1/queue/1 HTTP/1.1\r\n{close}"), 405, "\"allowed\":[\"GET\""),
        (format!("GET /api/v1/queue/drop?all=true HTTP/1.1\r\n{close}"), 405, "allow: POST"),
        (format!("HEAD /api/v1/queue/hold HTTP/1.1\r\n{close}"), 405, ""),
        (format!("POST /api/v1/queue HTTP/1.1\r\n{close}"), 405, "allow: GET, HEAD"),
        (format!("POST /api/v1/queue/drop HTTP/1.1\r\n{close}"), 400, "all=true alone"),
        (format!("POST /api/v1/queue/drop?all=true&id=x HTTP/1.1\r\n{close}"), 400, "id=x"),
        (format!("POST /api/v1/queue/hold?domains=x HTTP/1.1\r\n{close}"), 400, "\"domain\""),
        (format!("POST /api/v1/queue/erase?all=true HTTP/1.1\r\n{close}"), 405, "allow: GET"),
        (format!("GET /api/v1/queue?limit=none HTTP/1.1\r\n{close}"), 400, "limit=1 to 10000"),
        (format!("GET /api/v1/queue?who=me HTTP/1.1\r\n{close}"), 400, "\"domain\",\"sender\""),
        (format!("GET /api/v1/queue/nonsense HTTP/1.1\r\n{close}"), 400, "not a message id"),
        (format!("GET /metrics HTTP/1.1\r\n{close}Content-Length: 9\r\n"), 413, "without a body"),
        (format!("GET /metrics HTTP/1.1\r\n{close}X: {}\r\n", "x".repeat(20_000)), 431, ""),
        (format!("GET /metrics HTTP/1.1\r\n{close}{}", "X: y\r\n".repeat(65)), 431, ""),
        ("EHLO client.example\r\n".to_owned(), 400, ""),
    ];
    for (request, status, says) in cases {
        let shown: String = request.chars().take(80).collect();
        let answer = raw(control.address(), &format!("{request}\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
        assert!(answer.contains(says), "{shown}: {answer}");
        if !says.is_empty() {
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(serde_json::from_str::<Value>(body).unwrap()["error"].is_string(), "{body}");
        }
    }
    let head = raw(control.address(), &format!("HEAD /healthz HTTP/1.1\r\n{close}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn every_event_sent_before_the_stop_is_in_the_log() {
    let folder = Folder::new();
    let path = folder.file("deep/down/events.jsonl");
    let control = Control::start(options(&path)).unwrap();
    let senders: Vec<_> = (0..2u16)
        .map(|shard| {
            let events = control.events();
            thread::spawn(move || {
                for count in 0..10_000 {
                    events.send(Stamp::from_millis(count), Some(shard), numbered(count));
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    control.stop().unwrap();
    let lines = lines(&path);
    for shard in 0..2 {
        let of_shard = lines.iter().filter(|line| line["shard"] == shard);
        let found: Vec<_> = of_shard.filter_map(|line| line["count"].as_u64()).collect();
        assert_eq!(found, (0..10_000).collect::<Vec<_>>(), "all, in order");
    }
}

#[test]
fn a_rotation_loses_nothing() {
    let folder = Folder::new();
    let (path, moved) = (folder.file("events.jsonl"), folder.file("events.jsonl.1"));
    let control = Control::start(options(&path)).unwrap();
    let events = control.events();
    (0..3).for_each(|count| events.send(Stamp::default(), None, numbered(count)));
    until("the first lines", || lines(&path).len() == 3);
    fs::rename(&path, &moved).unwrap();
    control.reopen_log();
    (3..5).for_each(|count| events.send(Stamp::default(), None, numbered(count)));
    control.stop().unwrap();
    assert_eq!(counts(&lines(&moved)), [0, 1, 2]);
    assert_eq!(counts(&lines(&path)), [3, 4]);
}

#[test]
fn a_log_level_hides_lines_and_no_counts() {
    let folder = Folder::new();
    let path = folder.file("events.jsonl");
    let control = Control::start(options(&path)).unwrap();
    control.set_log_level(Level::Error);
    let events = control.events();
    events.send(Stamp::default(), None, numbered(1));
    events.send(Stamp::default(), None, Event::DiskLow { free: 1 });
    until("the counters follow", || {
        scrape(&control).contains("\nbaton_events_total{event=\"events-dropped\"} 1\n")
    });
    control.stop().unwrap();
    let names: Vec<_> = lines(&path).iter().map(|line| line["event"].clone()).collect();
    assert_eq!(names, ["disk-low"]);
}

/// The log is a pipe that nobody reads until the ring is over-full: the writer hangs in its write.
#[test]
fn a_log_that_hangs_costs_lines_and_says_how_many() {
    const EXTRA: u64 = 20_000;
    let folder = Folder::new();
    let path = folder.file("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Both ends, so that neither this open nor the writer's waits for the other.
    let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let control = Control::start(options(&path)).unwrap();
    let events = control.events();
    let sent = EVENTS_WAITING_MAX as u64 + EXTRA;
    for free in 0..sent {
        events.send(Stamp::from_millis(free), Some(0), Event::DiskRecovered { free });
    }
    let text = scrape(&control);
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the metric").trim().parse().unwrap()
    };
    let dropped = value("baton_events_dropped_total ");
    // What the writer took before it hung is a few batches; the rest beyond the ring is dropped.
    assert!(dropped > 0 && dropped <= EXTRA, "{dropped}");

    let reader = thread::spawn(move || {
        let (mut text, mut chunk) = (Vec::new(), vec![0; 65_536]);
        while !text.ends_with(b"\"event\":\"server-stopped\",\"queued\":0}\n") {
            let read = pipe.read(&mut chunk).unwrap();
            text.extend_from_slice(&chunk[..read]);
        }
        String::from_utf8(text).unwrap()
    });
    until("room for the last event", || {
        // The ring may still be full: then this one is dropped too, and said to be.
        events.send(Stamp::default(), None, Event::ServerStopped { queued: Some(0) });
        reader.is_finished()
    });
    control.stop().unwrap();
    let log: Vec<Value> =
        reader.join().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| log.iter().filter(|line| line["event"] == name).count() as u64;
    let confessed: u64 = counts(&log).iter().sum();
    assert!(of("events-dropped") >= 1 && confessed >= dropped, "{confessed} {dropped}");
    assert_eq!(of("disk-recovered") + dropped, sent, "in the log or counted as dropped");
}

#[test]
fn a_full_log_disk_is_counted_and_stops_nothing() {
    let control = Control::start(options(Path::new("/dev/full"))).unwrap();
    control.events().send(Stamp::default(), None, numbered(1));
    until("the failure is counted", || scrape(&control).contains("\nbaton_log_errors_total 1\n"));
    assert_eq!(get(&control, "/healthz").status, 200);
    control.stop().unwrap();
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let folder = Folder::new();
    let null = Path::new("/dev/null");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let short = folder.file("short");
    fs::write(&short, "secret\n").unwrap();
    let foreign = "192.0.2.1:9525".parse().unwrap();
    let cases = [
        (ControlOptions { address, ..options(null) }, "is taken: stop what listens"),
        (ControlOptions { address: foreign, ..options(null) }, "an address of this machine"),
        (options(&folder.0), "a file that baton may write"),
        (ControlOptions { token_file: Some(short), ..options(null) }, "openssl rand"),
        (ControlOptions { token_file: Some(folder.file("none")), ..options(null) }, "No such file"),
    ];
    for (options, remedy) in cases {
        let error = Control::start(options).err().expect("cannot start").to_string();
        assert!(error.contains(remedy), "{error}");
    }
    let error = Control::start(ControlOptions { address, ..options(null) }).err().unwrap();
    assert!(matches!(error, ControlError::AddressTaken(found) if found == address));
}

#[test]
fn a_stop_does_not_wait_for_idle_connections() {
    let control = start();
    let address = control.address();
    let mut idle: Vec<_> = (0..80).map(|_| TcpStream::connect(address).unwrap()).collect();
    control.stop().unwrap();
    for stream in &mut idle {
        // Closed or reset, but not left open.
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    assert!(TcpStream::connect(address).is_err());
}
