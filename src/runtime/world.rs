//! The real world of one shard: glommio for tasks, sockets and timers, the store behind threads.
//!
//! Decides the shares of the task queues. Ingest and delivery get about the same, because a message
//! costs about as much to take in as to hand on; delivery gets a little more, so that under
//! overload the queue drains and the feeders wait, not the other way round. Background work,
//! which feeds deliveries, gets the rest. All queues are "not latency critical": glommio would arm
//! a timer per scheduling round otherwise, and a round is milliseconds long here.
//!
//! Commits, reads and passwords are answered by other threads. The answers of a batch come back with
//! one wake (`ticket.rs`), and one task of the shard for each kind hands them on.

use super::balance::{Balance, Message};
use super::clock::{Clock, Random};
use super::datagram::RuntimeDatagram;
use super::panics::Guarded;
use super::passwords::PasswordDesk;
use super::say::say;
use super::stream::{RuntimeStream, connect};
use super::ticket::Tickets;
use super::tls::Doors;
use crate::control::EventSender;
use crate::event::Event;
use crate::message::{Body, Envelope, MessageId};
use crate::queue::commit::{Commit, CommitError, Committed};
use crate::shard::mesh::Parcel;
use crate::shard::world::{Asked, LoadError, Page, Share, World};
use crate::store::{Answer, CommitResult, Committer, Completions, Done, Question, Readers, Store};
use crate::time::{Moment, Stamp};
use glommio::timer::Timer;
use glommio::{Latency, Shares, TaskQueueHandle, executor, spawn_local_into};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::abort;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Of a thousand.
const INGEST_SHARES: usize = 420;
const DELIVERY_SHARES: usize = 480;
const BACKGROUND_SHARES: usize = 100;

/// What a world is made of, brought to the shard's thread.
#[derive(Clone)]
pub struct Ground {
    pub clock: Clock,
    pub store: Store,
    pub readers: Readers,
    pub committer: Committer,
    pub passwords: PasswordDesk,
    pub events: EventSender,
    pub doors: Arc<Doors>,
}

#[derive(Clone)]
pub struct RuntimeWorld {
    inner: Rc<Inner>,
}

struct Inner {
    ground: Ground,
    shard: u16,
    random: Random,
    ingest: TaskQueueHandle,
    delivery: TaskQueueHandle,
    background: TaskQueueHandle,
    balance: Arc<Balance>,
    completions: Arc<Completions<CommitResult>>,
    answers: Arc<Completions<Answer>>,
    commits: Rc<Tickets<CommitResult>>,
    reads: Rc<Tickets<Answer>>,
    passwords: Rc<Tickets<bool>>,
}

impl RuntimeWorld {
    /// To be made on the executor of the shard; starts the task that hands on answers of commits.
    pub fn new(ground: Ground, shard: u16, balance: Arc<Balance>) -> Self {
        let queue = |shares: usize, name: &str| {
            executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
        };
        let inner = Inner {
            ground,
            shard,
            random: Random::from_system(),
            ingest: queue(INGEST_SHARES, "ingest"),
            delivery: queue(DELIVERY_SHARES, "delivery"),
            background: queue(BACKGROUND_SHARES, "background"),
            balance,
            completions: Completions::new(),
            answers: Completions::new(),
            commits: Tickets::new(),
            reads: Tickets::new(),
            passwords: Tickets::new(),
        };
        let world = RuntimeWorld { inner: Rc::new(inner) };
        // Among the sessions: most of whom commits wake are sessions that owe their peer a 250.
        world.hand_on(Share::Ingest, &world.inner.completions, &world.inner.commits);
        world.hand_on(Share::Delivery, &world.inner.answers, &world.inner.reads);
        world
    }

    /// Brings results to the tasks that wait for them. Without it nobody would ever hear of a commit or a
    /// read again, on a shard that looks healthy.
    fn hand_on<T: Send + 'static>(
        &self,
        share: Share,
        results: &Arc<Completions<T>>,
        tickets: &Rc<Tickets<T>>,
    ) {
        let (results, tickets) = (Arc::clone(results), Rc::clone(tickets));
        self.vital(share, async move {
            loop {
                let (ticket, result) = poll_fn(|cx| results.poll_next(cx)).await;
                tickets.complete(ticket, result);
            }
        });
    }

    async fn ask(&self, question: Question) -> Answer {
        let inner = &self.inner;
        let ticket = inner.reads.open();
        let done = Done { queue: Arc::clone(&inner.answers), ticket: ticket.number() };
        inner.ground.readers.ask(question, done);
        ticket.await
    }

    fn vital(&self, share: Share, task: impl Future<Output = ()> + 'static) {
        let report = |words: Box<str>| {
            say(format_args!("a task that the relay cannot do without has panicked: {words}"));
            abort();
        };
        spawn_local_into(Guarded::new(task, report), self.queue(share))
            .expect("the task queues live as long as the shard")
            .detach();
    }

    /// Hands on the answer to a password.
    pub fn password_answered(&self, ticket: u64, matches: bool) {
        self.inner.passwords.complete(ticket, matches);
    }

    pub fn doors(&self) -> &Arc<Doors> {
        &self.inner.ground.doors
    }

    pub fn queue(&self, share: Share) -> TaskQueueHandle {
        match share {
            Share::Ingest => self.inner.ingest,
            Share::Delivery => self.inner.delivery,
            Share::Background => self.inner.background,
        }
    }
}

impl World for RuntimeWorld {
    type Stream = RuntimeStream;
    type Datagram = RuntimeDatagram;

    fn moment(&self) -> Moment {
        self.inner.ground.clock.moment()
    }

    fn stamp(&self) -> Stamp {
        self.inner.ground.clock.stamp()
    }

    fn random(&self) -> u64 {
        self.inner.random.next()
    }

    fn spawn(&self, share: Share, task: impl Future<Output = ()> + 'static) {
        let world = self.clone();
        let report = move |words| world.emit(Event::TaskPanicked { words });
        spawn_local_into(Guarded::new(task, report), self.queue(share))
            .expect("the task queues live as long as the shard")
            .detach();
    }

    fn spawn_vital(&self, task: impl Future<Output = ()> + 'static) {
        self.vital(Share::Background, task);
    }

    async fn sleep(&self, wait: Duration) {
        Timer::new(wait).await;
    }

    async fn connect(&self, to: SocketAddr, source: Option<IpAddr>) -> io::Result<RuntimeStream> {
        RuntimeStream::connected(connect(to, source).await?, Arc::clone(self.doors()))
    }

    async fn datagram(&self, to: SocketAddr) -> io::Result<RuntimeDatagram> {
        RuntimeDatagram::connect(to)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let inner = &self.inner;
        let ticket = inner.commits.open();
        let done = Done { queue: Arc::clone(&inner.completions), ticket: ticket.number() };
        if let Err(refused) = inner.ground.committer.submit(commit, done) {
            ticket.cancel();
            return Err(refused);
        }
        ticket.await
    }

    fn accepts(&self) -> Result<(), CommitError> {
        self.inner.ground.committer.accepts()
    }

    async fn pages(&self, asked: Vec<Asked>) -> Vec<Result<Page, LoadError>> {
        match self.ask(Question::Pages(asked)).await {
            Answer::Pages(pages) => pages,
            other => unreachable!("pages were asked for, not {other:?}"),
        }
    }

    async fn load(&self, id: MessageId) -> Result<Option<(Envelope, Body)>, LoadError> {
        match self.ask(Question::Message(id)).await {
            Answer::Message(message) => message,
            other => unreachable!("a message was asked for, not {other:?}"),
        }
    }

    async fn envelopes(&self, ids: Vec<MessageId>) -> Result<Vec<Option<Envelope>>, LoadError> {
        match self.ask(Question::Envelopes(ids)).await {
            Answer::Envelopes(envelopes) => envelopes,
            other => unreachable!("envelopes were asked for, not {other:?}"),
        }
    }

    async fn verify_password(&self, hash: &str, password: Vec<u8>) -> bool {
        let inner = &self.inner;
        let ticket = inner.passwords.open();
        let inbox = Arc::clone(inner.balance.inbox(usize::from(inner.shard)));
        let _interest = inner.ground.passwords.ask(hash, password, inbox, ticket.number());
        ticket.await
    }

    fn post(&self, shard: u16, parcel: Parcel) {
        self.inner.balance.inbox(usize::from(shard)).push(Message::Parcel(parcel));
    }

    fn emit(&self, event: Event) {
        self.inner.ground.events.send(self.stamp(), Some(self.inner.shard), event);
    }
}
