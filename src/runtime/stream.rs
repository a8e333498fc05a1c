//! A TCP connection on a shard's ring, plain or under TLS: the `Stream` of the real world.
//!
//! Reads of a plain stream go straight from the socket into the caller's buffer. Each stream has
//! a budget of reads that succeed at once: a peer on the same machine can keep a socket full, and
//! glommio would never take the core from a task that finds data every time.
//!
//! [`connect`] binds a source address, which glommio's own connect cannot: a non-blocking socket
//! is connected first and wrapped then, and a write of nothing waits for the handshake and
//! brings its error.
//!
//! Closing sends what TLS buffers, then FIN. A peer's input that arrives after our farewell makes
//! the kernel answer RST; the farewell has been sent by then.

use super::balance::Seat;
use super::tls::Doors;
use crate::shard::world::{Stream, TlsSession, TlsTrust};
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream;
use glommio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::ffi::c_int;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Reads in a row that may succeed without the task giving way to others.
const READS_AT_ONCE_MAX: u8 = 16;

pub struct RuntimeStream {
    layer: Layer,
    /// TLS has taken octets for the peer that the socket would not take yet.
    unsent: bool,
    /// The peer's certificate is good, see [`TlsSession`].
    verified: bool,
    reads: u8,
    local: SocketAddr,
    peer: SocketAddr,
    doors: Arc<Doors>,
    /// Held for its drop: an inbound connection counts for its shard until then.
    _seat: Option<Seat>,
}

enum Layer {
    Plain(TcpStream),
    /// Boxed: a TLS session is many times larger than a socket, and most streams have none.
    Tls(Box<TlsStream<TcpStream>>),
}

impl RuntimeStream {
    /// A connection that a listener accepted. Fails when the peer is gone already.
    pub fn accepted(tcp: TcpStream, doors: Arc<Doors>, seat: Seat) -> io::Result<Self> {
        RuntimeStream::new(tcp, doors, Some(seat))
    }

    /// A connection that [`connect`] opened.
    pub fn connected(tcp: TcpStream, doors: Arc<Doors>) -> io::Result<Self> {
        RuntimeStream::new(tcp, doors, None)
    }

    fn new(tcp: TcpStream, doors: Arc<Doors>, seat: Option<Seat>) -> io::Result<Self> {
        let (local, peer) = (canonical(tcp.local_addr()?), canonical(tcp.peer_addr()?));
        let layer = Layer::Plain(tcp);
        Ok(RuntimeStream {
            layer,
            unsent: false,
            verified: false,
            reads: 0,
            local,
            peer,
            doors,
            _seat: seat,
        })
    }
}

impl Layer {
    fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Layer::Plain(tcp) => Ok(tcp),
            Layer::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is on already")),
        }
    }
}

/// An IPv4 client of an IPv6 socket under the address that rules and headers know it by.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Stream for RuntimeStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.reads == READS_AT_ONCE_MAX {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let result = match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Layer::Tls(tls) => {
                // Who waits for the peer must first have sent it what it waits for.
                if self.unsent && Pin::new(&mut *tls).poll_flush(cx)?.is_ready() {
                    self.unsent = false;
                }
                Pin::new(tls).poll_read(cx, into)
            }
        };
        self.reads = if result.is_ready() { self.reads + 1 } else { 0 };
        result
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_write(cx, from),
            Layer::Tls(tls) => {
                let written = ready!(Pin::new(&mut *tls).poll_write(cx, from))?;
                self.unsent = Pin::new(tls).poll_flush(cx)?.is_pending();
                Poll::Ready(Ok(written))
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = ready!(match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_close(cx),
            Layer::Tls(tls) => Pin::new(tls).poll_close(cx),
        });
        Poll::Ready(match closed {
            // The peer was faster; there is nothing left to close.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        })
    }

    async fn accept_tls(self, listener: usize) -> io::Result<Self> {
        let RuntimeStream { layer, doors, .. } = self;
        let tcp = layer.into_plain()?;
        let Some(acceptor) = doors.acceptor(listener) else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the listener has no TLS"));
        };
        let layer = Layer::Tls(Box::new(acceptor.accept(tcp).await?.into()));
        Ok(RuntimeStream { layer, doors, ..self })
    }

    async fn connect_tls(self, host: &str, trust: TlsTrust) -> io::Result<Self> {
        let RuntimeStream { layer, doors, .. } = self;
        let (tls, verified) = doors.outward().connect(layer.into_plain()?, host, trust).await?;
        Ok(RuntimeStream { layer: Layer::Tls(Box::new(tls.into())), verified, doors, ..self })
    }

    fn tls(&self) -> Option<TlsSession> {
        let Layer::Tls(tls) = &self.layer else { return None };
        let (_, connection) = tls.get_ref();
        let version = match connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            // Nothing else is offered, see `tls.rs`.
            _ => return None,
        };
        let suite = connection.negotiated_cipher_suite()?.suite();
        // rustls names the suites of TLS 1.3 after their version; the registry does not.
        let cipher = format!("{suite:?}").replacen("TLS13_", "TLS_", 1).into();
        Some(TlsSession { version, cipher, verified: self.verified })
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// Opens a connection, from `source` when given. The caller sets the deadline.
pub async fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        bind_source(&socket, source)?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: the descriptor is a socket that `socket` just gave up; the stream is its one owner.
    let mut tcp = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
    poll_fn(|cx| Pin::new(&mut tcp).poll_write(cx, &[])).await?;
    if tcp.local_addr()? == to {
        // A port of the ephemeral range where nobody listens can meet itself (RFC 9293 3.5,
        // simultaneous open). What we would deliver to is ourselves.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(tcp)
}

/// Binds the address and leaves the port to `connect`, so that one source has its ports once per
/// destination instead of once in all.
fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the descriptor is open while `socket` lives, and the option's value is a `c_int` that
    // lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&SocketAddr::new(source, 0).into())
}
