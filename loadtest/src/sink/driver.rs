//! One connection of the sink: the socket, the clock and the waits around a `Session`.
//!
//! Order of things for one message: complete, its wait, recognised, dumped, entered in the books,
//! answered. A session in clear text and one under TLS are the same code for two types of stream,
//! so that neither pays for the other; what TLS needs is on the heap, only when it is used. Decides
//! nothing: each step is what the session asks for.

use std::io;
use std::rc::Rc;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use glommio::net::TcpStream;
use glommio::timer::sleep;

use super::books::{Books, Visit};
use super::personality::Life;
use super::session::{Arrival, Handshake, Session, Step, World};
use super::tls;
use crate::kernel;

/// One read of a session.
const READ_BYTES: usize = 32 << 10;

/// What all connections need.
pub struct House {
    pub world: Rc<World>,
    /// Absent when no personality offers TLS that works.
    pub acceptor: Option<TlsAcceptor>,
    pub books: Books,
}

/// How the talk over one stream ended.
#[expect(clippy::large_enum_variant, reason = "made once a connection, never kept")]
enum End<'a> {
    Over,
    Handshake(Visit<'a>, Handshake),
}

/// Serves one connection to its end. An error is the client's matter: what was answered is entered.
pub async fn serve(mut stream: TcpStream, number: u64, house: &House) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?.ip();
    // A system call less where all addresses are alike.
    let called = match house.world.sites.all().len() {
        1 => client,
        _ => stream.local_addr()?.ip(),
    };
    let session = Session::new(house.world.clone(), Arrival { client, called, number });
    match session.life() {
        Life::Alive => {}
        Life::Silent => return hold(stream).await,
        Life::Resets => return kernel::reset_on_close(&stream),
    }
    let visit = Visit::begin(client, session, &house.books);
    match converse(&mut stream, visit, &house.books).await? {
        End::Over => Ok(()),
        End::Handshake(visit, Handshake::Works) => {
            Box::pin(serve_secured(stream, visit, house)).await
        }
        End::Handshake(visit, how) => {
            drop(visit);
            tls::spoil(stream, how).await
        }
    }
}

async fn serve_secured(stream: TcpStream, mut visit: Visit<'_>, house: &House) -> io::Result<()> {
    let acceptor = house.acceptor.as_ref().expect("TLS is offered with a certificate only");
    let mut stream = acceptor.accept(stream).await?;
    visit.session.secured();
    house.books.count_secured();
    match converse(&mut stream, visit, &house.books).await? {
        End::Over => stream.close().await,
        End::Handshake(..) => unreachable!("TLS is not offered under TLS"),
    }
}

/// Talks until the stream is of no more use.
async fn converse<'a, S>(stream: &mut S, mut visit: Visit<'a>, books: &Books) -> io::Result<End<'a>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut replies = Vec::with_capacity(512);
    let mut input = Vec::new();
    // The first turn has no input: it greets.
    let mut bytes = 0;
    loop {
        visit.session.tell_time(kernel::monotonic());
        let mut rest = &input[..bytes];
        loop {
            match visit.session.advance(&mut rest, &mut replies) {
                Step::Idle => break,
                Step::Message => {
                    let (envelope, content) = visit.session.message();
                    let number = books.enter(envelope, content);
                    visit.session.answer(number, &mut replies);
                }
                Step::Wait(time) => {
                    flush(stream, &mut replies).await?;
                    sleep(time).await;
                    visit.session.tell_time(kernel::monotonic());
                }
                Step::StartTls(handshake) => {
                    // What the client sent along with the command is not looked at (RFC 3207 6).
                    flush(stream, &mut replies).await?;
                    return Ok(End::Handshake(visit, handshake));
                }
                Step::Close => {
                    // Before the client hears that it is over, and may come again.
                    drop(visit);
                    flush(stream, &mut replies).await?;
                    return Ok(End::Over);
                }
            }
        }
        flush(stream, &mut replies).await?;
        input.resize(READ_BYTES, 0);
        bytes = stream.read(&mut input).await?;
        if bytes == 0 {
            return Ok(End::Over);
        }
    }
}

/// Waits for the client to give up; without the buffers of a session, so that many can be held.
async fn hold(mut stream: TcpStream) -> io::Result<()> {
    let mut scrap = [0; 64];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}

async fn flush<S: AsyncWrite + Unpin>(stream: &mut S, replies: &mut Vec<u8>) -> io::Result<()> {
    if !replies.is_empty() {
        stream.write_all(replies).await?;
        // Under TLS the last record may still be in memory.
        stream.flush().await?;
        replies.clear();
    }
    Ok(())
}
