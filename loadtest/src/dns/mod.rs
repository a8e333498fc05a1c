//! `baton-load dns`: an authoritative DNS server of a fake internet, over UDP and TCP.
//!
//! | file | |
//! |---|---|
//! | `zone` | which names exist, with which records; pure |
//! | `args` | the command line |
//! | `answer` | packet in, packet out, the faults and the counts; pure |
//!
//! This file has the sockets, both on one port (RFC 7766 5), and the delay. One executor; datagrams
//! are answered where they are read, so that an answer costs two system calls. Whatever a packet
//! holds, the server goes on. Prints its counts at the end.

mod answer;
pub mod args;
pub mod zone;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream, UdpSocket};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, spawn_local, yield_if_needed};

use self::answer::{Faults, Responder, Transport};
use self::zone::Zone;
use crate::bind;
use crate::error::Error;
use crate::loopback::Loopback;
use crate::signals::EndRequest;

/// Longer datagrams are cut, and then hardly a query: one of 255 octets of name needs 300.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Answers that wait for their delay; queries beyond are dropped, as a full queue would.
const DELAYED_MAX: usize = 100_000;
/// TCP connections at a time; others are closed at once.
const STREAMS_MAX: usize = 1000;
/// A TCP connection without a query for so long is closed.
const STREAM_IDLE_MAX: Duration = Duration::from_secs(30);
/// After a call that failed, which might fail again at once.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// What to serve.
#[derive(Clone, Debug)]
pub struct Service {
    pub listen: Loopback,
    pub zone: Zone,
    pub faults: Faults,
    /// Before each answer.
    pub delay: Duration,
    /// Of the dice of the faults.
    pub seed: u64,
}

/// What all tasks of the server share.
struct Desk {
    responder: RefCell<Responder>,
    delay: Duration,
    delayed: Cell<usize>,
    streams: Cell<usize>,
}

/// Serves until SIGTERM or SIGINT, then prints the counts.
pub fn run(service: Service) -> Result<(), Error> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("dns")
        .make()
        .map_err(|error| Error::Executor(error.to_string()))?;
    executor.run(async move {
        let address = service.listen.address();
        let bound = bind::both(service.listen).await;
        let bind::Both { udp, tcp, address } =
            bound.map_err(|source| Error::Listen { address, source })?;
        let mut end = EndRequest::listen()?;
        println!("listening {address}");
        let desk = Rc::new(Desk {
            responder: RefCell::new(Responder::new(service.zone, service.faults, service.seed)),
            delay: service.delay,
            delayed: Cell::new(0),
            streams: Cell::new(0),
        });
        // Each in a task of its own: whatever wakes a task polls all that it waits for, and glommio
        // keeps a waker for each time that an accept is polled, of which 32,767 are its end.
        let datagrams = spawn_local(datagrams(Rc::new(udp), desk.clone()));
        let streams = spawn_local(streams(tcp, desk.clone()));
        end.wait().await;
        datagrams.cancel().await;
        streams.cancel().await;
        println!("{}", desk.responder.borrow().totals());
        Ok(())
    })
}

async fn datagrams(socket: Rc<UdpSocket>, desk: Rc<Desk>) {
    let mut packet = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // While datagrams wait, reading never does, and signals and TCP would starve.
        yield_if_needed().await;
        let Ok((bytes, client)) = socket.recv_from(&mut packet).await else {
            sleep(FAILURE_PAUSE).await;
            continue;
        };
        let Some(answer) = desk.answer(&packet[..bytes], Transport::Udp) else {
            continue;
        };
        if desk.delay.is_zero() {
            // A client that is gone does not take its answer, which is no concern of ours.
            let _ = socket.send_to(&answer, client).await;
        } else {
            desk.answer_later(&socket, answer, client);
        }
    }
}

async fn streams(listener: TcpListener, desk: Rc<Desk>) {
    loop {
        let Ok(stream) = listener.accept().await else {
            sleep(FAILURE_PAUSE).await;
            continue;
        };
        if desk.streams.get() == STREAMS_MAX {
            continue;
        }
        let place = Place::take(desk.clone(), |desk| &desk.streams);
        spawn_local(async move {
            let _ = converse(stream, &place.desk).await;
        })
        .detach();
    }
}

/// One TCP connection: each message has two octets of length before it (RFC 1035 4.2.2).
async fn converse(mut stream: TcpStream, desk: &Desk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STREAM_IDLE_MAX))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).await?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut packet).await?;
        let Some(answer) = desk.answer(&packet, Transport::Tcp) else {
            continue;
        };
        if !desk.delay.is_zero() {
            sleep(desk.delay).await;
        }
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

impl Desk {
    fn answer(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        self.responder.borrow_mut().answer(packet, transport)
    }

    fn answer_later(self: &Rc<Self>, socket: &Rc<UdpSocket>, answer: Vec<u8>, client: SocketAddr) {
        if self.delayed.get() == DELAYED_MAX {
            return;
        }
        let place = Place::take(self.clone(), |desk| &desk.delayed);
        let socket = socket.clone();
        spawn_local(async move {
            sleep(place.desk.delay).await;
            let _ = socket.send_to(&answer, client).await;
        })
        .detach();
    }
}

/// A place in one of the desk's bounded counts, given back when dropped.
struct Place {
    desk: Rc<Desk>,
    count: fn(&Desk) -> &Cell<usize>,
}

impl Place {
    fn take(desk: Rc<Desk>, count: fn(&Desk) -> &Cell<usize>) -> Place {
        count(&desk).set(count(&desk).get() + 1);
        Place { desk, count }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = (self.count)(&self.desk);
        count.set(count.get() - 1);
    }
}
