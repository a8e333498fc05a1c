//! The resolver on real sockets: UDP and TCP over loopback, a server that a thread of the test is.
//!
//! What it decides is tried in `sim::lookups`; here it is whether the real world's sockets do what the
//! simulated ones do: carry packets, tell of a port where nobody listens, wait no longer than told.

use baton::accept::Admission;
use baton::config::Config;
use baton::event::Event;
use baton::message::{Body, Envelope, MessageId};
use baton::queue::commit::{Commit, CommitError, Committed};
use baton::queue::schedule::Schedule;
use baton::runtime::{self, Clock, Doors, RuntimeDatagram, RuntimeStream};
use baton::shard::mesh::Parcel;
use baton::shard::resolve::Names;
use baton::shard::world::{Asked, Datagram, LoadError, Page, Share, World};
use baton::shard::{Place, Shard};
use baton::time::{Moment, Stamp};
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, spawn_local};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::cell::Cell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

fn executor() -> LocalExecutor {
    LocalExecutorBuilder::new(Placement::Unbound).make().expect("an executor")
}

/// The real sockets and timers; no disk, because nothing is mailed.
#[derive(Clone)]
struct Sockets {
    clock: Clock,
    doors: Arc<Doors>,
    drawn: Rc<Cell<u64>>,
}

impl World for Sockets {
    type Stream = RuntimeStream;
    type Datagram = RuntimeDatagram;

    fn moment(&self) -> Moment {
        self.clock.moment()
    }

    fn stamp(&self) -> Stamp {
        self.clock.stamp()
    }

    fn random(&self) -> u64 {
        self.drawn.set(self.drawn.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405));
        self.drawn.get()
    }

    fn spawn(&self, _share: Share, task: impl Future<Output = ()> + 'static) {
        spawn_local(task).detach();
    }

    fn spawn_vital(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task).detach();
    }

    async fn sleep(&self, wait: Duration) {
        Timer::new(wait).await;
    }

    async fn connect(&self, to: SocketAddr, source: Option<IpAddr>) -> io::Result<RuntimeStream> {
        RuntimeStream::connected(runtime::connect(to, source).await?, self.doors.clone())
    }

    async fn datagram(&self, to: SocketAddr) -> io::Result<RuntimeDatagram> {
        RuntimeDatagram::connect(to)
    }

    async fn commit(&self, _: Commit) -> Result<Committed, CommitError> {
        Err(CommitError::Poisoned)
    }

    fn accepts(&self) -> Result<(), CommitError> {
        Err(CommitError::Poisoned)
    }

    async fn pages(&self, asked: Vec<Asked>) -> Vec<Result<Page, LoadError>> {
        asked.iter().map(|_| Ok(Page::default())).collect()
    }

    async fn load(&self, _: MessageId) -> Result<Option<(Envelope, Body)>, LoadError> {
        pending().await
    }

    async fn envelopes(&self, _: Vec<MessageId>) -> Result<Vec<Option<Envelope>>, LoadError> {
        pending().await
    }

    async fn verify_password(&self, _: &str, _: Vec<u8>) -> bool {
        false
    }

    fn post(&self, shard: u16, _: Parcel) {
        panic!("there is no shard {shard}");
    }

    fn emit(&self, _: Event) {}
}

/// Answers over UDP and TCP at one port, until it is dropped. What it says of a name is in its first
/// label: `big` fits TCP only, `silent` gets no answer, every other name has a mail host.
struct Server {
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let (udp, tcp) = both().expect("a port of both kinds");
        let address = udp.local_addr().expect("bound");
        let by_packet = thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut packet) {
                if length == 0 {
                    return;
                }
                if let Some(answer) = answer(&packet[..length], 512) {
                    udp.send_to(&answer, from).expect("loopback takes it");
                }
            }
        });
        let by_stream = thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.expect("a connection");
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    return;
                }
                let mut packet = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut packet).expect("as much as was said");
                if let Some(answer) = answer(&packet, 65_535) {
                    let length = (answer.len() as u16).to_be_bytes();
                    stream.write_all(&[&length, &answer[..]].concat()).expect("loopback");
                }
            }
        });
        Server { address, threads: vec![by_packet, by_stream] }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        udp.send_to(&[], self.address).expect("the server hears it");
        drop(std::net::TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            thread.join().expect("the server did not fail");
        }
    }
}

/// A port that was free for both.
fn both() -> io::Result<(UdpSocket, TcpListener)> {
    for _ in 0..50 {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        if let Ok(tcp) = TcpListener::bind(udp.local_addr()?) {
            return Ok((udp, tcp));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn answer(packet: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(packet).expect("a question");
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    let (name, kind) = (message.queries[0].name().clone(), message.queries[0].query_type());
    let first = String::from_utf8(name.iter().next()?.to_ascii_lowercase()).expect("ASCII");
    let hosts = match (kind, first.as_str()) {
        (RecordType::MX, "silent") => return None,
        (RecordType::MX, "none") => {
            message.metadata.response_code = ResponseCode::NXDomain;
            0
        }
        (RecordType::MX, "big") => 100,
        (RecordType::MX, _) => 1,
        _ => 0,
    };
    for number in 0..hosts {
        let host = Name::from_ascii(format!("host-{number:03}.mail.test.")).expect("a name");
        message.add_answer(Record::from_rdata(name.clone(), 60, RData::MX(MX::new(number, host))));
    }
    if kind == RecordType::A {
        message.add_answer(Record::from_rdata(name, 60, RData::A(A([127, 0, 0, 9].into()))));
    }
    let whole = message.to_vec().expect("a packet");
    Some(if whole.len() <= bytes_max { whole } else { message.truncate().to_vec().expect("short") })
}

/// A shard that asks `servers`.
fn shard(servers: &[SocketAddr], knobs: &str) -> Shard<Sockets> {
    let text = format!("data_dir = \"/nonexistent\"\n[[listener]]\ntls = \"none\"\n[dns]\n{knobs}");
    let config = Config::parse("names", &text, "relay.test").expect("a configuration");
    let doors = Doors::open(&config).expect("no certificates");
    let world = Sockets { clock: Clock::start(), doors, drawn: Rc::new(Cell::new(7)) };
    let admission = Arc::new(Mutex::new(Admission::new(&config.limits)));
    let names = Names::new(servers.to_vec(), config.dns.cache_bytes_max);
    let place = Place { index: 0, count: 1 };
    let (config, schedule) = (Arc::new(config), Schedule::default());
    let shard = Shard::new(world, config, place, admission, names, schedule, None);
    shard.start();
    shard
}

async fn site(shard: &Shard<Sockets>, domain: &str) -> String {
    match shard.resolver().mail_hosts(domain).await {
        Ok(hosts) => hosts.site().into(),
        Err(outcome) => outcome.cause.to_string(),
    }
}

#[test]
fn answers_come_over_udp_and_long_ones_over_tcp() {
    let server = Server::start();
    executor().run(async {
        let shard = shard(&[server.address], "loopback = true");
        assert_eq!(site(&shard, "x.test").await, "host-000.mail.test");
        let long = site(&shard, "big.test").await;
        assert!(long.starts_with("host-000.mail.test>host-001.mail.test>"), "{long}");
        assert_eq!(site(&shard, "none.test").await, "5.1.2 the domain none.test does not exist");
        let addresses = shard.resolver().addresses("host-000.mail.test").await.expect("one");
        assert_eq!(*addresses, [IpAddr::from([127, 0, 0, 9])]);
    });
}

#[test]
fn a_port_where_nobody_listens_is_passed_by_and_silence_has_an_end() {
    let server = Server::start();
    // Bound once and given back: nobody is there.
    let gone = UdpSocket::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    executor().run(async {
        let shard = shard(&[gone, server.address], "timeout = \"250ms\"\ntries = 1");
        assert_eq!(site(&shard, "x.test").await, "host-000.mail.test");
        let words = "4.4.3 looking up MX of silent.test: no name server answered in time";
        assert_eq!(site(&shard, "silent.test").await, words);
        let words =
            "5.4.4 the mail host x.test has the address 127.0.0.9, which is no other host's";
        let refused = shard.resolver().addresses("x.test").await.expect_err("loopback");
        assert_eq!(refused.cause.to_string(), words);
    });
}

#[test]
fn a_datagram_socket_hears_its_peer_only_and_cuts_what_does_not_fit() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = peer.local_addr().expect("bound");
    executor().run(async {
        let mut socket = RuntimeDatagram::connect(to).expect("a way there");
        socket.send(b"question").await.expect("sent");
        let mut buffer = [0; 64];
        let (length, from) = peer.recv_from(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"question");
        stranger.send_to(b"forged", from).expect("sent");
        peer.send_to(b"the answer", from).expect("sent");
        let length = socket.receive(&mut buffer[..3]).await.expect("received");
        assert_eq!(&buffer[..length], b"the");
    });
}
