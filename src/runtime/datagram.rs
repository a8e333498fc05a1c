//! A UDP socket on a shard's ring: the `Datagram` of the real world.
//!
//! The socket is made and connected here and wrapped then. glommio's own bind would set
//! SO_REUSEPORT, under which another socket may have the same port; and a port that is drawn by the
//! kernel at random, and that nobody shares, is half of what a forged answer has to guess (RFC 5452
//! 9.2). The kernel hands in packets of the connected address only, and tells of ICMP errors.

use crate::shard::world::Datagram;
use glommio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};

pub struct RuntimeDatagram {
    socket: UdpSocket,
}

impl RuntimeDatagram {
    /// # Errors
    /// Out of descriptors or ports, or no way to `to`.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::UDP))?;
        socket.connect(&to.into())?;
        // SAFETY: the descriptor is a socket that `socket` just gave up; the wrapper is its one
        // owner.
        let socket = unsafe { UdpSocket::from_raw_fd(socket.into_raw_fd()) };
        Ok(RuntimeDatagram { socket })
    }
}

impl Datagram for RuntimeDatagram {
    async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        // A packet is sent whole or not at all.
        self.socket.send(packet).await?;
        Ok(())
    }

    async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.socket.recv(into).await?)
    }
}
