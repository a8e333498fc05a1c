//! The admin port: connections, their bounds and their end. What is answered is in `api.rs`.
//!
//! Plain HTTP/1.1 on hyper, on one tokio thread. Everything has a bound: connections at once,
//! octets and time of a request's header, age of a connection; over a bound a peer waits in the
//! kernel's backlog or is closed. A peer that reads slowly holds one connection for its age and no
//! longer.

use super::api::{self, Site};
use super::status::Pulse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Open at once: Prometheus, a dashboard, a few people.
const CONNECTIONS_MAX: usize = 64;
/// Octets of a request line and header fields, with room for a long token and filter.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADER_FIELDS_MAX: usize = 64;
/// To send a request, and to stay idle between two.
const HEADER_SECONDS_MAX: Duration = Duration::from_secs(10);
/// After which a connection is asked to come again; keeps nobody from scraping.
const CONNECTION_SECONDS_MAX: Duration = Duration::from_secs(300);
/// For an answer under way when its connection's time is over or baton stops.
pub(super) const FAREWELL_MILLIS_MAX: Duration = Duration::from_millis(1_000);
/// Between two attempts to accept when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at the shards' heartbeats; histograms are folded at the same time.
const TICK: Duration = Duration::from_secs(1);

/// Serves until `stop` changes, then lets answers under way finish.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, mut stop: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let ticking = tokio::spawn(tick(Arc::clone(&site)));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.changed() => break,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (site, stop) = (Arc::clone(&site), stop.clone());
        tokio::spawn(async move {
            connection(site, stream, peer, stop).await;
            drop(place);
        });
    }
    ticking.abort();
    drop(listener);
    let all = places.acquire_many(CONNECTIONS_MAX as u32);
    // Whoever is still there then is cut off when the runtime ends.
    let _ = timeout(FAREWELL_MILLIS_MAX, all).await;
}

async fn connection(
    site: Arc<Site>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<()>,
) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(api::answer(site, peer, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_SECONDS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADER_FIELDS_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // An error is the peer's: it went away or did not speak HTTP, and hyper answered that.
        _ = connection.as_mut() => return,
        _ = stop.changed() => {}
        () = sleep(CONNECTION_SECONDS_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FAREWELL_MILLIS_MAX, connection).await;
}

async fn tick(site: Arc<Site>) {
    let mut pulse = Pulse::new(site.gauges.len());
    let mut ticks = interval(TICK);
    // After the process was stopped for a while, missed ticks must not count as a shard's silence.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        site.meters.upkeep();
        pulse.tick(&site.gauges, &site.status);
    }
}
