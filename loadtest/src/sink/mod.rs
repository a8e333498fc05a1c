//! `baton-load sink`: the server that accepts mail, or has something against it, and keeps books.
//!
//! | file | what |
//! |---|---|
//! | `args` | the arguments, and the server that they ask for |
//! | `driver` | one connection: the socket, the clock, the waits |
//! | `session`, `dots` | SMTP without a socket |
//! | `personality`, `sites`, `memory` | how servers behave, which is meant, what they remember |
//! | `tls` | the certificate, and handshakes that fail on purpose |
//! | `books`, `notice` | what is written down of messages, notices among them |
//!
//! One executor, a task per connection. Never answers 250 for what is not in the ledger; a ledger
//! or dump that cannot be written ends the sink.

pub mod args;
mod books;
mod dots;
mod driver;
mod memory;
mod notice;
mod personality;
mod session;
mod sites;
mod tls;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use futures_rustls::TlsAcceptor;
use glommio::net::TcpListener;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

use self::books::{Books, Files};
use self::driver::House;
use self::session::World;
use crate::bind::{self, Extent};
use crate::error::Error;
use crate::loopback::Loopback;
use crate::progress::{self, Line};
use crate::signals::EndRequest;

/// Before the next accept when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What is told of it on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Lines to read at the end.
    Summary,
    /// JSON for a program, all the time (`progress.rs`).
    Ticks,
}

/// What to serve.
pub struct Service {
    pub listen: Loopback,
    pub extent: Extent,
    pub world: World,
    /// Present when any personality offers TLS that works.
    pub acceptor: Option<TlsAcceptor>,
    pub telling: Telling,
}

/// Serves until SIGTERM or SIGINT, then prints the summary.
pub fn run(service: Service, files: Files) -> Result<(), Error> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("sink")
        .make()
        .map_err(|error| Error::Executor(error.to_string()))?;
    executor.run(async move {
        let Service { listen, extent, world, acceptor, telling } = service;
        let address = listen.address();
        let listener = bind::tcp(listen, extent).await;
        let listener = listener.map_err(|source| Error::Listen { address, source })?;
        let port = listener.local_addr().map_or(address.port(), |bound| bound.port());
        let mut end = EndRequest::listen()?;
        println!("listening {}", SocketAddr::new(address.ip(), port));
        let world = Rc::new(world);
        let books = Books::new(world.clone(), files);
        let house = Rc::new(House { world, acceptor, books });
        // In a task of its own: glommio keeps a waker for each time that an accept is polled, of which
        // 32,767 are its end, and ticks would poll it.
        let served = spawn_local(accept(listener, house.clone()));
        let books = &house.books;
        future::or(end.wait(), tell_progress(telling, books)).await;
        served.cancel().await;
        // Between two waits of a task a message is either entered and counted or neither, so the
        // summary agrees with the ledger.
        match telling {
            Telling::Summary => println!("{}", books.print()),
            Telling::Ticks => progress::print(&Line::Received(books.summary())),
        }
        Ok(())
    })
}

/// Prints ticks for ever, if anybody wants them.
async fn tell_progress(telling: Telling, books: &Books) {
    loop {
        sleep(progress::PERIOD).await;
        if telling == Telling::Ticks {
            progress::print(&Line::Tick(books.tick()));
        }
    }
}

async fn accept(listener: TcpListener, house: Rc<House>) {
    for number in 0.. {
        let stream = loop {
            match listener.accept().await {
                Ok(stream) => break stream,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        };
        house.books.count_session();
        let house = house.clone();
        spawn_local(async move {
            let _ = driver::serve(stream, number, &house).await;
        })
        .detach();
    }
}
