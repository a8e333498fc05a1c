//! Listening sockets of the test servers: one TCP port, or one port for TCP and UDP.
//!
//! An address that is only just being given back is waited for: the rings of a killed process are
//! torn down after it is gone, and until then they keep its sockets, so that a server that starts
//! again at once would find its own port taken. `SO_REUSEPORT` is no way out, it would let the
//! dying listener have a share of the connections.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use glommio::net::{TcpListener, UdpSocket};
use glommio::timer::sleep;
use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel;
use crate::loopback::Loopback;

/// Connections that may wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;
/// Attempts to bind an address in use, and the pause between two.
const BINDS_MAX: u32 = 100;
const BIND_PAUSE: Duration = Duration::from_millis(20);
/// Datagrams that wait to be read, in bytes; the kernel lowers it to its own limit.
const DATAGRAMS_BYTES: usize = 4 << 20;

/// How much of the loopback network a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Address,
    /// All of 127.0.0.0/8 and `::1`, on the port of the address.
    Loopback,
}

/// A TCP and a UDP socket on one port.
pub struct Both {
    pub tcp: TcpListener,
    pub udp: UdpSocket,
    pub address: SocketAddr,
}

pub async fn tcp(listen: Loopback, extent: Extent) -> io::Result<TcpListener> {
    let bind = || match extent {
        Extent::Address => listening(listen.address()),
        Extent::Loopback => listening_everywhere(listen.address().port()),
    };
    Ok(kernel::adopt_listener(patiently(bind).await?))
}

pub async fn both(listen: Loopback) -> io::Result<Both> {
    let bind = || {
        let tcp = listening(listen.address())?;
        // When any port will do, the kernel chooses one that is free for TCP; should it be taken
        // for UDP, the next attempt gets another.
        let address = tcp.local_addr()?.as_socket().unwrap_or(listen.address());
        let udp = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        udp.bind(&address.into())?;
        udp.set_recv_buffer_size(DATAGRAMS_BYTES)?;
        Ok((tcp, udp, address))
    };
    let (tcp, udp, address) = patiently(bind).await?;
    Ok(Both { tcp: kernel::adopt_listener(tcp), udp: kernel::adopt_datagrams(udp), address })
}

async fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut attempts = 0;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < BINDS_MAX => {
                attempts += 1;
                sleep(BIND_PAUSE).await;
            }
            done => return done,
        }
    }
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Bound to the loopback device, not to an address: what comes from another host comes through
/// another device, and this socket does not exist there.
fn listening_everywhere(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_only_v6(false)?;
    kernel::bind_to_loopback_device(&socket)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
