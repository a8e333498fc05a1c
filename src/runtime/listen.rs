//! Listening sockets: one per listener and shard, on one port each, and the loop that accepts.
//!
//! With `SO_REUSEPORT` every shard has a queue of its own in the kernel. The same option would let
//! two instances of baton share a port in silence, each with half of the mail and a different
//! queue. So a port is first bound without it, which fails when anybody listens there, and only
//! then for the shards. The store's lock alone would not do: another instance may have another
//! `data_dir`.
//! Sockets are bound early, to find a taken port before the queue is read, and listen only when
//! the shards are ready: until then a client is refused at once instead of left waiting.

use super::balance::{Balance, Seat};
use super::clock::Clock;
use super::say::say;
use crate::config::Listener;
use crate::time::Moment;
use glommio::net::{AcceptedTcpStream, TcpListener};
use glommio::timer::Timer;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Connections that the kernel completes before they are accepted; it caps this at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Attempts to bind an address in use, and the pause between two.
const BINDS_MAX: u32 = 100;
const BINDS_APART: Duration = Duration::from_millis(20);
/// Pause after a failed accept. Out of descriptors, the next one would fail as fast as it can.
const PAUSE: Duration = Duration::from_millis(100);
/// A failing accept says so this often, not at each try.
const COMPLAINTS_APART: Duration = Duration::from_secs(60);

/// The sockets of one listener.
#[derive(Debug)]
pub struct Bound {
    /// With the port that was chosen, when the configuration left it open.
    pub address: SocketAddr,
    /// One per shard.
    pub sockets: Vec<Socket>,
}

/// Binds every listener for `shards` shards; nobody can connect yet.
pub fn bind(listeners: &[Listener], shards: usize) -> Result<Vec<Bound>, ListenError> {
    listeners.iter().map(|listener| bind_one(listeners, listener.address, shards)).collect()
}

fn bind_one(
    listeners: &[Listener],
    wanted: SocketAddr,
    shards: usize,
) -> Result<Bound, ListenError> {
    // `[::]` takes IPv4 as well, as everywhere on Linux, unless IPv4 has a listener of its own.
    let v4 = listeners.iter().filter(|other| other.address.is_ipv4());
    let only_v6 = v4.map(|other| other.address.port()).any(|port| port == wanted.port());
    let refused = |source: io::Error| ListenError::new(wanted, source);
    let address = {
        let alone = socket(wanted, only_v6).map_err(refused)?;
        bind_patiently(&alone, wanted).map_err(refused)?;
        let chosen = alone.local_addr().map_err(refused)?;
        chosen.as_socket().expect("an IP socket has an IP address")
    };
    let share = |_| {
        let socket = socket(address, only_v6)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let sockets = (0..shards).map(share).collect::<io::Result<Vec<_>>>().map_err(refused)?;
    Ok(Bound { address, sockets })
}

/// Waits for an address that is only just being given back: the rings of a process that was killed
/// are torn down after it is gone, and until then they keep its sockets. Whoever starts us again at
/// once would find our own port taken.
#[expect(clippy::disallowed_methods, reason = "at the start, before there is a shard to block")]
fn bind_patiently(socket: &Socket, wanted: SocketAddr) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        match socket.bind(&wanted.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < BINDS_MAX => {
                attempts += 1;
                thread::sleep(BINDS_APART);
            }
            done => return done,
        }
    }
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let kind = Type::STREAM.cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // Connections of the previous process in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    // Inherited by every accepted connection, which saves a system call on each.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    Ok(socket)
}

/// Opens a bound socket on the current shard: from here on clients can connect.
pub fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    // SAFETY: the descriptor is a socket that `socket` just gave up; the listener is its one owner.
    Ok(unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) })
}

/// Accepts for ever; `serve` gets the connections that stay on shard `here`.
pub async fn accept_for_ever(
    listener: TcpListener,
    number: usize,
    here: usize,
    balance: Arc<Balance>,
    clock: Clock,
    serve: impl Fn(AcceptedTcpStream, Seat),
) {
    let mut complained: Option<Moment> = None;
    loop {
        let tcp = match listener.shared_accept().await {
            Ok(tcp) => tcp,
            Err(error) => {
                let now = clock.moment();
                if complained.is_none_or(|last| now.since(last) >= COMPLAINTS_APART) {
                    complained = Some(now);
                    say(format_args!("baton: warning: cannot accept connections: {error}"));
                }
                Timer::new(PAUSE).await;
                continue;
            }
        };
        let seat = balance.seat(here);
        if seat.shard() == here {
            serve(tcp, seat);
        } else {
            seat.hand_over(tcp, number);
        }
    }
}

/// Why a listener cannot listen.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl ListenError {
    pub fn new(address: SocketAddr, source: io::Error) -> Self {
        ListenError { address, source }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, source) = (self.address, &self.source);
        write!(f, "cannot listen on {address}: {source}")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; find out who does with `ss -ltnp 'sport = :{}'`, stop it, or choose another \
                 address",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; ports below 1024 need a right: AmbientCapabilities=CAP_NET_BIND_SERVICE in the \
                 unit file, or `sysctl net.ipv4.ip_unprivileged_port_start`",
            ),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("; no interface has this address, see `ip address`")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
