//! UDP in the simulated internet: every packet travels alone.
//!
//! It may be lost, come twice, and overtake others; now and then a packet that nobody sent comes in
//! under the name of the other side, as from somebody who guesses. How often is the `Weather`.
//! Where nobody listens, the sender is told (ICMP), unless every packet there is dropped.

use super::executor::{Group, OUTSIDE};
use super::network::{Network, Reach};
use baton::shard::world::Datagram;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What has come in for one socket.
#[derive(Default)]
pub struct Inbox {
    waiting: RefCell<VecDeque<(SocketAddr, io::Result<Vec<u8>>)>>,
    waker: RefCell<Option<Waker>>,
}

impl Inbox {
    fn push(&self, from: SocketAddr, packet: io::Result<Vec<u8>>) {
        self.waiting.borrow_mut().push_back((from, packet));
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    async fn next(&self) -> (SocketAddr, io::Result<Vec<u8>>) {
        poll_fn(|cx| match self.waiting.borrow_mut().pop_front() {
            Some(next) => Poll::Ready(next),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// A bound socket; gone when dropped.
pub struct Socket {
    network: Network,
    local: SocketAddr,
    inbox: Rc<Inbox>,
}

impl Socket {
    /// The next packet of anybody.
    pub async fn receive_from(&self) -> (SocketAddr, Vec<u8>) {
        loop {
            if let (from, Ok(packet)) = self.inbox.next().await {
                return (from, packet);
            }
        }
    }

    pub fn send_to(&self, to: SocketAddr, packet: &[u8]) {
        self.network.post(self.local, to, packet);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.0.sockets.borrow_mut().remove(&self.local);
    }
}

impl Network {
    /// # Panics
    /// When the address is taken.
    pub fn bind(&self, local: SocketAddr) -> Socket {
        let inbox = Rc::new(Inbox::default());
        let before = self.0.sockets.borrow_mut().insert(local, inbox.clone());
        assert!(before.is_none(), "{local} is taken");
        Socket { network: self.clone(), local, inbox }
    }

    /// A socket of its own port for a task of some group.
    pub fn datagram(&self, from: IpAddr, peer: SocketAddr) -> SimDatagram {
        let socket = self.bind(SocketAddr::new(from, self.next_port()));
        SimDatagram { socket, peer }
    }

    /// Sockets that are bound.
    pub fn open_datagrams(&self) -> usize {
        self.0.sockets.borrow().len()
    }

    fn post(&self, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        const CARRIERS: Group = OUTSIDE;
        let (random, weather) = (&self.0.random, self.0.weather.borrow().clone());
        if random.permille(weather.packet_forged) {
            let forged: Vec<u8> = packet.iter().map(|_| random.next() as u8).collect();
            self.carry(CARRIERS, from, to, forged);
        }
        let copies =
            match (random.permille(weather.packet_lost), random.permille(weather.packet_twice)) {
                (true, _) => 0,
                (false, false) => 1,
                (false, true) => 2,
            };
        for _ in 0..copies {
            self.carry(CARRIERS, from, to, packet.to_vec());
        }
    }

    fn carry(&self, carriers: Group, from: SocketAddr, to: SocketAddr, packet: Vec<u8>) {
        let (network, latency) = (self.clone(), self.0.weather.borrow().latency_micros.clone());
        let wait = self.0.random.micros(latency);
        self.0.executor.spawn(carriers, async move {
            network.0.executor.sleep(wait).await;
            let reach = network.0.reach.borrow().get(&to).copied().unwrap_or(Reach::Open);
            let sockets = network.0.sockets.borrow();
            let there = sockets.get(&to).filter(|_| reach == Reach::Open);
            match (there, sockets.get(&from)) {
                (Some(inbox), _) => inbox.push(from, Ok(packet)),
                (None, Some(sender)) if reach != Reach::Silent => {
                    sender.push(to, Err(io::ErrorKind::ConnectionRefused.into()));
                }
                (None, _) => {}
            }
        });
    }
}

/// A socket that is connected to `peer`.
pub struct SimDatagram {
    socket: Socket,
    peer: SocketAddr,
}

impl Datagram for SimDatagram {
    async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(self.peer, packet);
        Ok(())
    }

    async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let (from, packet) = self.socket.inbox.next().await;
            if from != self.peer {
                continue;
            }
            let packet = packet?;
            let length = packet.len().min(into.len());
            into[..length].copy_from_slice(&packet[..length]);
            return Ok(length);
        }
    }
}
