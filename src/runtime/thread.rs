//! The thread of one shard: an executor pinned to a core, and the wiring of what runs on it.
//!
//! Starts the shard and its listeners, tells it what other threads say, and ends it: first no new
//! connections, then until nothing is under way or the grace is over. What is left then is
//! dropped: a session that was cut is tried again by its peer, a delivery by the next start.
//!
//! A panic in a session ends that session (`panics.rs`). One here would leave a shard without ears,
//! so it ends the process: everything answered 250 is on disk.

use super::balance::{Balance, Inbox, Message, Seat};
use super::listen::{accept_for_ever, listen};
use super::start::Notice;
use super::stream::RuntimeStream;
use super::world::{Ground, RuntimeWorld};
use crate::accept::Admission;
use crate::config::Config;
use crate::control::{Gauge, Gauges};
use crate::message::MessageId;
use crate::queue::schedule::Schedule;
use crate::shard::resolve::Names;
use crate::shard::world::{Share, World};
use crate::shard::{Place, Shard};
use futures_lite::future::{or, yield_now};
use glommio::net::AcceptedTcpStream;
use glommio::timer::Timer;
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, Task, spawn_local_into,
};
use socket2::Socket;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Memory registered for direct disk input and output, which we leave to RocksDB: the least.
const RING_BUFFER_BYTES: usize = 64 * 1024;
/// How often a stopping shard looks whether it is idle.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// How often the gauges are set; each is also a heartbeat, of which control wants one a second.
const GAUGES_APART: Duration = Duration::from_millis(500);

/// All that a shard's thread begins with.
pub struct ShardThread {
    pub place: Place,
    /// The number of the core to stay on.
    pub core: usize,
    pub config: Arc<Config>,
    pub ground: Ground,
    pub admission: Arc<Mutex<Admission>>,
    pub names: Names,
    pub newest: Option<MessageId>,
    /// By listener.
    pub sockets: Vec<Socket>,
    pub balance: Arc<Balance>,
    pub gauges: Arc<Gauges>,
    pub notices: Sender<Notice>,
}

impl ShardThread {
    /// Starts the thread. It reports by notices: ready or failed, then ended.
    pub fn start(self) -> io::Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name(format!("baton-shard-{}", self.place.index));
        thread.spawn(move || {
            // The panic hook has printed why.
            catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|_| abort());
        })
    }

    fn run(self) {
        let (index, notices) = (self.place.index, self.notices.clone());
        // Nobody hears the notices only when the process is ending anyway.
        let tell = |notice| drop(notices.send(notice));
        match self.executor() {
            Ok(executor) => executor.run(async move {
                match self.open().await {
                    Ok(open) => {
                        tell(Notice::Ready);
                        let queued = open.serve().await;
                        tell(Notice::Ended { queued });
                    }
                    Err(error) => tell(Notice::Failed { shard: index, words: error.to_string() }),
                }
            }),
            Err(error) => tell(Notice::Failed { shard: index, words: error.to_string() }),
        }
    }

    fn executor(&self) -> Result<LocalExecutor, GlommioError<()>> {
        LocalExecutorBuilder::new(Placement::Fixed(self.core))
            .name("baton-shard")
            .io_memory(RING_BUFFER_BYTES)
            .make()
    }

    async fn open(self) -> io::Result<Open> {
        let ShardThread { place, config, ground, admission, names, balance, gauges, .. } = self;
        let here = usize::from(place.index);
        let (clock, inbox) = (ground.clock, Arc::clone(balance.inbox(here)));
        let (committer, store) = (ground.committer.clone(), ground.store.clone());
        let world = RuntimeWorld::new(ground, place.index, Arc::clone(&balance));
        let grace = config.shutdown_grace;
        let (schedule, newest) = (Schedule::recovering(), self.newest);
        let shard = Shard::new(world.clone(), config, place, admission, names, schedule, newest);
        shard.start();
        let mut accepting = Vec::with_capacity(self.sockets.len());
        for (number, socket) in self.sockets.into_iter().enumerate() {
            let listener = listen(socket)?;
            let (serving, door) = (shard.clone(), world.clone());
            let serve = move |tcp, seat| serve(&serving, &door, tcp, number, seat);
            let accept =
                accept_for_ever(listener, number, here, Arc::clone(&balance), clock, serve);
            let task = spawn_local_into(accept, world.queue(Share::Ingest));
            accepting.push(task.map_err(io::Error::from)?);
        }
        let watched = shard.clone();
        world.spawn(Share::Background, async move {
            loop {
                let waiting = committer.statistics().waiting_bytes;
                // Of the process, not of a shard: the first one tells it for all.
                gauges.set(Gauge::MemoryCommit, if here == 0 { waiting } else { 0 });
                gauges.set(Gauge::QueueMessages, if here == 0 { store.messages() } else { 0 });
                set_gauges(&gauges, &watched);
                Timer::new(GAUGES_APART).await;
            }
        });
        Ok(Open { world, shard, inbox, accepting, grace })
    }
}

fn serve(
    shard: &Shard<RuntimeWorld>,
    world: &RuntimeWorld,
    tcp: AcceptedTcpStream,
    listener: usize,
    seat: Seat,
) {
    let stream = RuntimeStream::accepted(tcp.bind_to_executor(), Arc::clone(world.doors()), seat);
    // An error means that the peer was gone before it was served.
    if let Ok(stream) = stream {
        shard.serve(stream, listener);
    }
}

fn set_gauges(gauges: &Gauges, shard: &Shard<RuntimeWorld>) {
    let now = shard.snapshot();
    gauges.set(Gauge::SessionsInbound, now.inbound_sessions);
    gauges.set(Gauge::SessionsOutbound, now.outbound_sessions);
    gauges.set(Gauge::QueueDueEntries, now.due_entries);
    gauges.set(Gauge::MemoryBodies, now.inflight_bytes);
    gauges.beat();
}

/// A shard at work.
struct Open {
    world: RuntimeWorld,
    shard: Shard<RuntimeWorld>,
    inbox: Arc<Inbox>,
    /// The listeners; dropping a task closes its socket.
    accepting: Vec<Task<()>>,
    grace: Duration,
}

impl Open {
    /// Until it was told to stop and has stopped; gives the entries left on disk, if all were read.
    async fn serve(mut self) -> Option<u64> {
        loop {
            let message = self.inbox.next().await;
            let recovered = matches!(message, Message::Recovered { .. });
            if self.hear(message) == Heard::Stop {
                break;
            }
            if recovered {
                // There are thousands, and each takes a millisecond: the sessions come between.
                yield_now().await;
            }
        }
        for task in self.accepting.drain(..) {
            task.cancel().await;
        }
        self.shard.stop();
        let deadline = self.world.moment().after(self.grace);
        while !self.shard.is_idle() && self.world.moment() < deadline {
            let message = or(async { Some(self.inbox.next().await) }, async {
                Timer::new(IDLE_LOOK).await;
                None
            });
            if let Some(message) = message.await {
                self.hear(message);
            }
        }
        self.shard.queued()
    }

    fn hear(&mut self, message: Message) -> Heard {
        match message {
            Message::Connection { tcp, listener, seat } => {
                serve(&self.shard, &self.world, tcp, listener, seat);
            }
            Message::Password { ticket, matches } => self.world.password_answered(ticket, matches),
            Message::Parcel(parcel) => self.shard.receive(parcel),
            Message::Reload { config, applied } => {
                self.grace = config.shutdown_grace;
                self.shard.reload(config);
                drop(applied);
            }
            Message::Operate { operation, answers } => {
                self.shard.operate(operation, move |counts| answers.tell(counts));
            }
            Message::Recovered { stretch, taken } => {
                self.shard.recover(&stretch);
                drop(taken);
            }
            Message::Stop => return Heard::Stop,
        }
        Heard::GoOn
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    GoOn,
    Stop,
}
