//! `baton-load sink`: the server that accepts everything and keeps books of it.
//!
//! One executor, a task per connection around the pure `Session`. Order of things for one message:
//! complete, pause (`--delay-ms`), recognised, dumped, entered in the ledger, answered 250. Never
//! answers 250 for what is not in the ledger; a ledger or dump that cannot be written ends the
//! sink.

pub mod args;
mod session;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

use self::session::{Envelope, Greeting, Personality, Session, Step};
use crate::bind::{self, Extent};
use crate::error::Error;
use crate::kernel;
use crate::latency::Latencies;
use crate::ledger::{Ledger, NO_SERIAL, Shape};
use crate::loopback::Loopback;
use crate::message::{Identity, recognise};
use crate::progress::{self, Line, Received, Tick};
use crate::signals::EndRequest;

/// One read of a session.
const READ_BYTES: usize = 32 << 10;
/// Before the next accept when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What is told of it on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// A line to read at the end.
    Summary,
    /// JSON for a program, all the time (`progress.rs`).
    Ticks,
}

/// What to serve.
#[derive(Clone, Debug)]
pub struct Service {
    pub listen: Loopback,
    pub extent: Extent,
    pub personality: Personality,
    pub delay: Duration,
    pub telling: Telling,
}

/// Serves until SIGTERM or SIGINT, then prints the summary.
pub fn run(
    service: Service,
    ledger: Ledger,
    sessions: Ledger,
    dump: Option<Dump>,
) -> Result<(), Error> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("sink")
        .make()
        .map_err(|error| Error::Executor(error.to_string()))?;
    executor.run(async move {
        let address = service.listen.address();
        let listener = bind::tcp(service.listen, service.extent).await;
        let listener = listener.map_err(|source| Error::Listen { address, source })?;
        let port = listener.local_addr().map_or(address.port(), |bound| bound.port());
        let mut end = EndRequest::listen()?;
        println!("listening {}", SocketAddr::new(address.ip(), port));
        let books = Rc::new(Books {
            ledger: RefCell::new(ledger),
            sessions: RefCell::new(sessions),
            open: Cell::new(0),
            dump: dump.map(RefCell::new),
            totals: Cell::new(Totals::default()),
            latencies: RefCell::new(Latencies::new()),
        });
        let telling = service.telling;
        let served = accept(listener, service, books.clone());
        future::or(end.wait(), future::or(served, tell_progress(telling, &books))).await;
        // Between two waits of a task a message is either entered and counted or neither, so the
        // summary agrees with the ledger.
        match telling {
            Telling::Summary => println!("{}", books.totals.get().line()),
            Telling::Ticks => progress::print(&Line::Received(books.summary())),
        }
        Ok(())
    })
}

/// Prints ticks for ever, if anybody wants them.
async fn tell_progress(telling: Telling, books: &Books) {
    loop {
        sleep(progress::PERIOD).await;
        if telling == Telling::Ticks {
            progress::print(&Line::Tick(books.tick()));
        }
    }
}

async fn accept(listener: TcpListener, service: Service, books: Rc<Books>) {
    for number in 0.. {
        let stream = loop {
            match listener.accept().await {
                Ok(stream) => break stream,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        };
        books.count(|totals| totals.sessions += 1);
        let (service, books) = (service.clone(), books.clone());
        spawn_local(async move {
            // A connection that ends badly is the client's matter: what was answered is entered.
            let _ = serve(stream, number, &service, &books).await;
        })
        .detach();
    }
}

async fn serve(
    mut stream: TcpStream,
    number: u64,
    service: &Service,
    books: &Books,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if service.personality.greeting == Greeting::Never {
        return hold(stream).await;
    }
    let session = Session::new(service.personality, number);
    let mut visit = Visit::begin(stream.peer_addr()?.ip(), session, books);
    let mut replies = Vec::with_capacity(512);
    match visit.session.greet(&mut replies) {
        Step::Idle => flush(&mut stream, &mut replies).await?,
        Step::Close => {
            drop(visit);
            return flush(&mut stream, &mut replies).await;
        }
        Step::Message => unreachable!("nothing was read"),
    }
    let mut input = vec![0; READ_BYTES];
    loop {
        let bytes = stream.read(&mut input).await?;
        if bytes == 0 {
            return Ok(());
        }
        let mut rest = &input[..bytes];
        loop {
            match visit.session.advance(&mut rest, &mut replies) {
                Step::Idle => break,
                Step::Message => {
                    if !service.delay.is_zero() {
                        flush(&mut stream, &mut replies).await?;
                        sleep(service.delay).await;
                    }
                    let (envelope, content) = visit.session.message();
                    let number = books.enter(envelope, content);
                    visit.session.answer(number, &mut replies);
                }
                Step::Close => {
                    // Before the client hears that it is over, and may come again.
                    drop(visit);
                    return flush(&mut stream, &mut replies).await;
                }
            }
        }
        flush(&mut stream, &mut replies).await?;
    }
}

/// Waits for the client to give up; without the buffers of a session, so that many can be held.
async fn hold(mut stream: TcpStream) -> io::Result<()> {
    let mut scrap = [0; 64];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}

async fn flush(stream: &mut TcpStream, replies: &mut Vec<u8>) -> io::Result<()> {
    if !replies.is_empty() {
        stream.write_all(replies).await?;
        replies.clear();
    }
    Ok(())
}

/// A session, entered in the books when it ends, however it does.
struct Visit<'a> {
    session: Session,
    client: IpAddr,
    /// Sessions when it began, itself included.
    at_once: u64,
    books: &'a Books,
}

impl<'a> Visit<'a> {
    fn begin(client: IpAddr, session: Session, books: &'a Books) -> Visit<'a> {
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

/// What the sessions of a sink share.
struct Books {
    ledger: RefCell<Ledger>,
    sessions: RefCell<Ledger>,
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
    bytes: u64,
    sessions: u64,
}

impl Books {
    /// Enters one message everywhere; returns its number.
    fn enter(&self, envelope: &Envelope, content: &[u8]) -> u64 {
        let seen = recognise(content);
        let (serial, shape) = match seen.identity {
            Identity::Whole(serial) => (serial, Shape::Whole),
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
        if let Some(start) = seen.start {
            let latency = kernel::monotonic().saturating_sub(start);
            let mut latencies = self.latencies.borrow_mut();
            (0..recipients).for_each(|_| latencies.record(latency));
        }
        self.count(|totals| {
            totals.messages += 1;
            totals.recipients += recipients;
            totals.corrupt += u64::from(shape == Shape::Corrupt);
            totals.foreign += u64::from(shape == Shape::Foreign);
            totals.bytes += content.len() as u64;
        });
        self.totals.get().messages
    }

    fn tick(&self) -> Tick {
        let Totals { messages, recipients, .. } = self.totals.get();
        Tick { at_ms: kernel::monotonic().as_millis() as u64, messages, recipients }
    }

    fn summary(&self) -> Received {
        let Totals { messages, recipients, corrupt, foreign, bytes, sessions } = self.totals.get();
        let latencies = self.latencies.borrow();
        Received {
            messages,
            recipients,
            corrupt,
            foreign,
            bytes,
            sessions,
            latency_ms: latencies.percentiles(),
            latency_buckets: latencies.buckets(),
        }
    }

    fn count(&self, add: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        add(&mut totals);
        self.totals.set(totals);
    }
}

impl Totals {
    fn line(&self) -> String {
        format!(
            "sink: messages={} recipients={} corrupt={} bytes={} sessions={}",
            self.messages, self.recipients, self.corrupt, self.bytes, self.sessions
        )
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
