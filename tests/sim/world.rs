//! [`SimWorld`]: the world that the drivers under test live in.
//!
//! One per shard and life. It hands every request to the simulated part it belongs to and adds
//! the time that the real one would take. A read of the disk looks at it at some point of that
//! time: drivers that rely on its beginning or its end are wrong.
//! Events are written down as they would be logged: two runs of one seed must give the same lines.

use super::clock::Clock;
use super::committer::Committer;
use super::datagram::SimDatagram;
use super::executor::{Executor, Group};
use super::journal::{Entry, Journal};
use super::mailbox::Mailbox;
use super::network::{Network, SimStream};
use super::random::Random;
use baton::event::Event;
use baton::message::{Body, Envelope, MessageId};
use baton::queue::commit::{Commit, CommitError, Committed};
use baton::shard::mesh::Parcel;
use baton::shard::world::{Asked, LoadError, Page, Share, World};
use baton::time::{Moment, Stamp};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What `verify_password` takes for every hash.
pub const PASSWORD: &[u8] = b"correct horse battery staple";

#[derive(Clone)]
pub struct SimWorld(Rc<Inner>);

struct Inner {
    executor: Executor,
    clock: Clock,
    network: Network,
    committer: Rc<Committer>,
    journal: Rc<Journal>,
    random: Random,
    group: Group,
    shard: u16,
    address: IpAddr,
    mailboxes: Rc<Vec<Mailbox>>,
}

/// The parts of a world that all shards of one life share.
#[derive(Clone)]
pub struct Parts {
    pub executor: Executor,
    pub clock: Clock,
    pub network: Network,
    pub committer: Rc<Committer>,
    pub journal: Rc<Journal>,
    pub group: Group,
    /// Where the relay's connections come from.
    pub address: IpAddr,
    /// One for each shard.
    pub mailboxes: Rc<Vec<Mailbox>>,
}

impl SimWorld {
    pub fn new(parts: Parts, shard: u16, random: Random) -> Self {
        let Parts { executor, clock, network, committer, journal, group, address, mailboxes } =
            parts;
        SimWorld(Rc::new(Inner {
            executor,
            clock,
            network,
            committer,
            journal,
            random,
            group,
            shard,
            address,
            mailboxes,
        }))
    }

    /// Looks at the disk at some point of the time it takes.
    async fn read<T>(&self, look: impl Fn() -> T) -> Result<T, LoadError> {
        let inner = &self.0;
        let took = inner.random.micros(10..2_000);
        let faults = inner.committer.faults();
        if inner.random.permille(faults.unreadable) {
            inner.executor.sleep(took).await;
            return Err(LoadError::Disk("a simulated failure".into()));
        }
        let before = inner.random.micros(0..took.as_micros() as u64);
        inner.executor.sleep(before).await;
        let found = look();
        inner.executor.sleep(took - before).await;
        Ok(found)
    }
}

impl World for SimWorld {
    type Stream = SimStream;
    type Datagram = SimDatagram;

    fn moment(&self) -> Moment {
        self.0.executor.now()
    }

    fn stamp(&self) -> Stamp {
        self.0.clock.stamp()
    }

    fn random(&self) -> u64 {
        self.0.random.next()
    }

    fn spawn(&self, _share: Share, task: impl Future<Output = ()> + 'static) {
        self.0.executor.spawn(self.0.group, task);
    }

    /// A panic in any task fails the run, so this one needs no end of its own.
    fn spawn_vital(&self, task: impl Future<Output = ()> + 'static) {
        self.0.executor.spawn(self.0.group, task);
    }

    async fn sleep(&self, wait: Duration) {
        self.0.executor.sleep(wait).await;
    }

    async fn connect(&self, to: SocketAddr, source: Option<IpAddr>) -> io::Result<SimStream> {
        let from = source.unwrap_or(self.0.address);
        self.0.network.connect(self.0.group, from, to).await
    }

    async fn datagram(&self, to: SocketAddr) -> io::Result<SimDatagram> {
        Ok(self.0.network.datagram(self.0.address, to))
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.0.committer.commit(commit).await
    }

    fn accepts(&self) -> Result<(), CommitError> {
        self.0.committer.accepts()
    }

    async fn pages(&self, asked: Vec<Asked>) -> Vec<Result<Page, LoadError>> {
        let mut pages = Vec::new();
        for asked in asked {
            pages.push(self.read(|| self.0.committer.disk().page(asked)).await);
        }
        pages
    }

    async fn load(&self, id: MessageId) -> Result<Option<(Envelope, Body)>, LoadError> {
        self.read(|| self.0.committer.disk().load(id)).await?
    }

    async fn envelopes(&self, ids: Vec<MessageId>) -> Result<Vec<Option<Envelope>>, LoadError> {
        let one = |id: &MessageId| match self.0.committer.disk().load(*id) {
            Ok(found) => found.map(|(envelope, _)| envelope),
            Err(_) => None,
        };
        self.read(|| ids.iter().map(one).collect()).await
    }

    async fn verify_password(&self, _hash: &str, password: Vec<u8>) -> bool {
        self.0.executor.sleep(self.0.random.millis(10..60)).await;
        password == PASSWORD
    }

    fn post(&self, shard: u16, parcel: Parcel) {
        self.0.mailboxes[usize::from(shard)].post(parcel);
    }

    fn emit(&self, event: Event) {
        let (at, life, shard) = (self.stamp(), self.0.group, self.0.shard);
        self.0.journal.write(Entry { at, life, shard, event });
    }
}
