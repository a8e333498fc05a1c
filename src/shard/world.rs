//! The one seam to the outside: clock, randomness, tasks, sockets, disk, events.
//!
//! Drivers are written against [`World`] and run unchanged in two of them: `runtime/` (glommio and
//! RocksDB) and the simulator of the tests (virtual clock, seeded randomness, a disk that loses
//! what was not synced, a network that misbehaves). Nothing under `shard/` or above it knows which.
//!
//! A world belongs to one shard and one thread: it is cheap to clone and never crosses threads.

use super::mesh::Parcel;
use crate::event::Event;
use crate::message::{Body, Envelope, MessageId};
use crate::queue::change::DuePut;
use crate::queue::commit::{Commit, CommitError, Committed};
use crate::queue::key::DueKey;
use crate::queue::record::BadRecord;
use crate::time::{Moment, Stamp};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

pub use crate::message::TlsSession;

/// Whose share of the core a task uses, so that neither side of the relay starves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Inbound sessions.
    Ingest,
    /// Outbound sessions.
    Delivery,
    /// Sweeps, paging, everything that may wait a little.
    Background,
}

pub trait World: Clone + 'static {
    type Stream: Stream;
    type Datagram: Datagram;

    /// The monotonic clock.
    fn moment(&self) -> Moment;

    /// The wall clock.
    fn stamp(&self) -> Stamp;

    /// Uniform over all 64-bit values. Nobody outside can foresee it, whatever they saw of earlier
    /// ones: the id of a DNS query is drawn from it. Not for keys that outlive the process.
    fn random(&self) -> u64;

    /// Runs `task` on this shard until it ends. A panic in it ends that task alone; the world counts and logs it.
    fn spawn(&self, share: Share, task: impl Future<Output = ()> + 'static);

    /// Runs a task that the shard cannot do without. A panic in it ends the process: a relay that
    /// accepts and never delivers would be worse than one that starts anew.
    fn spawn_vital(&self, task: impl Future<Output = ()> + 'static);

    fn sleep(&self, wait: Duration) -> impl Future<Output = ()>;

    /// Opens a TCP connection, from `source` when given. The caller sets the deadline.
    fn connect(
        &self,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> impl Future<Output = io::Result<Self::Stream>>;

    /// A UDP socket with a fresh random port, connected to `to`: only packets from there come in.
    fn datagram(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Datagram>>;

    /// Makes the changes durable, together or not at all. See [`Commit::needs_sync`].
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, CommitError>>;

    /// Whether a new message would be taken now; asked before a body is read, to refuse early.
    fn accepts(&self) -> Result<(), CommitError>;

    /// Pages of queues, in the order of `asked`: together, because a wait for the disk costs more than
    /// a read that finds everything in memory.
    fn pages(&self, asked: Vec<Asked>) -> impl Future<Output = Vec<Result<Page, LoadError>>>;

    /// An envelope and its body; `None` when the message is not (or no longer) in the queue.
    fn load(
        &self,
        id: MessageId,
    ) -> impl Future<Output = Result<Option<(Envelope, Body)>, LoadError>>;

    /// The envelopes of messages, in the order of `ids`; `None` for one that is not (or no longer)
    /// in the queue or cannot be read. For what a person asks, not for the way of a message.
    fn envelopes(
        &self,
        ids: Vec<MessageId>,
    ) -> impl Future<Output = Result<Vec<Option<Envelope>>, LoadError>>;

    /// Whether `password` matches the account's argon2 hash. Takes tens of milliseconds of another
    /// thread's time by design, so the shard goes on meanwhile.
    fn verify_password(&self, hash: &str, password: Vec<u8>) -> impl Future<Output = bool>;

    /// Hands `parcel` to another shard of this process, which gets it by `Shard::receive`. Parcels of
    /// one shard to another arrive in their order; none is lost while the process lives.
    fn post(&self, shard: u16, parcel: Parcel);

    fn emit(&self, event: Event);
}

/// A page to read: up to `limit` entries of the queue of `after`, behind that key, that are due at
/// `until` or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub after: DueKey,
    pub until: Stamp,
    pub limit: usize,
}

/// Entries read back from disk, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<DuePut>,
    /// Due time of the next entry of the queue, due or not; `None` when there is none.
    pub next: Option<Stamp>,
}

/// Why something could not be read back. The entry is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    Record(BadRecord),
    /// The store's own words.
    Disk(Box<str>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Record(bad) => write!(f, "{bad}"),
            LoadError::Disk(words) => write!(f, "reading from disk: {words}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Which certificates of a server are good enough. All are checked, see [`TlsSession::verified`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsTrust {
    /// Any: a listener who only listens is kept out.
    Any,
    /// One that is verified; the handshake fails with any other.
    Verified,
}

/// A connected byte stream, plain or under TLS.
///
/// Polled rather than `async fn read`, so that the caller may lend a buffer for just the poll: idle
/// sessions then own no read buffer (see `shard/wire.rs`).
pub trait Stream: Sized + 'static {
    /// `Ok(0)` is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `from`, at least one octet unless it is empty.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what is buffered (TLS) and then the end of the stream.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Becomes the server side of a TLS session with the certificate of listener `listener`.
    fn accept_tls(self, listener: usize) -> impl Future<Output = io::Result<Self>>;

    /// Becomes the client's side of a TLS session with `host`: a DNS name, which is also told to
    /// the server (SNI), or an IP address as text. The caller sets the deadline.
    fn connect_tls(self, host: &str, trust: TlsTrust) -> impl Future<Output = io::Result<Self>>;

    fn tls(&self) -> Option<TlsSession>;

    fn local(&self) -> SocketAddr;

    fn peer(&self) -> SocketAddr;
}

/// A connected UDP socket.
pub trait Datagram: Sized + 'static {
    /// One packet.
    fn send(&mut self, packet: &[u8]) -> impl Future<Output = io::Result<()>>;

    /// The length of the next packet; what does not fit is cut off. A wait that is given up may take
    /// a packet with it.
    fn receive(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
}
