//! A simulated name server: zones, answers over UDP and TCP, and the manners of real ones.
//!
//! It counts what it is asked, and checks that it is asked as a resolver should: recursion desired,
//! one question, and letters of both cases over time.

use super::datagram::Socket;
use super::executor::{Executor, OUTSIDE};
use super::network::{Network, SimStream};
use super::random::Random;
use baton::shard::world::Stream;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Seconds, of everything.
pub const TTL: u32 = 300;

/// How a server treats a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Good,
    Silent,
    ServFail,
    Refused,
    /// Answers over TCP only.
    Truncating,
    /// Sends more over UDP than was asked for.
    Overlong,
    /// Answers come with another id.
    WrongId,
    /// Octets without sense, under the right id.
    Nonsense,
    /// Changes letters to lower case.
    LowerCase,
    /// Does not know EDNS, and says so without repeating the question.
    NoEdns,
    Slow(Duration),
    /// Every name is an alias of the next one and back.
    Circle,
    /// Many forged answers come before the right one.
    Flooded,
}

pub struct NameServer {
    address: SocketAddr,
    executor: Executor,
    random: Random,
    manner: Cell<Manner>,
    /// What it says of every answer: that it was validated, or not.
    validates: Cell<bool>,
    /// By name in lower case without the last dot.
    zone: RefCell<BTreeMap<String, Vec<RData>>>,
    /// A question that gets no reply: `MX x.test`.
    unanswered: RefCell<Option<&'static str>>,
    asked: RefCell<Vec<String>>,
    asked_by_tcp: Cell<u64>,
}

impl NameServer {
    pub fn start(
        address: SocketAddr,
        executor: &Executor,
        network: &Network,
        random: Random,
    ) -> Rc<NameServer> {
        let server = Rc::new(NameServer {
            address,
            executor: executor.clone(),
            random,
            manner: Cell::new(Manner::Good),
            validates: Cell::new(false),
            zone: RefCell::default(),
            unanswered: RefCell::default(),
            asked: RefCell::default(),
            asked_by_tcp: Cell::new(0),
        });
        executor.spawn(OUTSIDE, server.clone().serve_udp(network.bind(address)));
        executor.spawn(OUTSIDE, server.clone().serve_tcp(network.clone()));
        server
    }

    pub fn set_manner(&self, manner: Manner) {
        self.manner.set(manner);
    }

    pub fn keep_silent_about(&self, question: &'static str) {
        *self.unanswered.borrow_mut() = Some(question);
    }

    /// Sets the AD bit from now on, whoever asks.
    pub fn validate(&self) {
        self.validates.set(true);
    }

    pub fn add_mx(&self, name: &str, preference: u16, host: &str) {
        self.add(name, RData::MX(MX::new(preference, absolute(host))));
    }

    pub fn add_address(&self, name: &str, address: IpAddr) {
        self.add(
            name,
            match address {
                IpAddr::V4(v4) => RData::A(A(v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
            },
        );
    }

    pub fn add_alias(&self, name: &str, target: &str) {
        self.add(name, RData::CNAME(CNAME(absolute(target))));
    }

    /// A name that has no records.
    pub fn add_name(&self, name: &str) {
        self.zone.borrow_mut().entry(name.to_owned()).or_default();
    }

    /// Takes away all records of a name.
    pub fn remove(&self, name: &str) {
        self.zone.borrow_mut().remove(name);
    }

    fn add(&self, name: &str, data: RData) {
        self.zone.borrow_mut().entry(name.to_owned()).or_default().push(data);
    }

    /// What was asked since the last call, by either way: `MX x.test`.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.borrow_mut())
    }

    pub fn asked_by_tcp(&self) -> u64 {
        self.asked_by_tcp.get()
    }

    async fn serve_udp(self: Rc<Self>, socket: Socket) {
        let socket = Rc::new(socket);
        loop {
            let (from, packet) = socket.receive_from().await;
            let Ok(question) = Message::from_vec(&packet) else { continue };
            let (server, socket) = (self.clone(), socket.clone());
            self.executor
                .spawn(OUTSIDE, async move { server.reply(&question, from, &socket).await });
        }
    }

    async fn reply(&self, question: &Message, to: SocketAddr, socket: &Socket) {
        let answer = self.answer(question);
        if self.asked.borrow().last().map(String::as_str) == *self.unanswered.borrow() {
            return;
        }
        match self.manner.get() {
            Manner::Silent => return,
            Manner::Slow(wait) => self.executor.sleep(wait).await,
            Manner::Truncating => {
                return socket.send_to(to, &answer.truncate().to_vec().expect("a packet"));
            }
            Manner::Overlong => {
                let mut packet = answer.to_vec().expect("a packet");
                packet.resize(3_000, 0);
                return socket.send_to(to, &packet);
            }
            Manner::Nonsense => {
                let mut packet = question.id.to_be_bytes().to_vec();
                packet.extend((0..40).map(|_| self.random.next() as u8));
                return socket.send_to(to, &packet);
            }
            Manner::Flooded => {
                for _ in 0..100 {
                    let mut forged = answer.clone();
                    forged.metadata.id = self.random.next() as u16;
                    forged.answers.clear();
                    socket.send_to(to, &forged.to_vec().expect("a packet"));
                }
            }
            Manner::Good
            | Manner::ServFail
            | Manner::Refused
            | Manner::WrongId
            | Manner::LowerCase
            | Manner::NoEdns
            | Manner::Circle => {}
        }
        socket.send_to(to, &answer.to_vec().expect("a packet"));
    }

    async fn serve_tcp(self: Rc<Self>, network: Network) {
        let listener = network.listen(self.address);
        loop {
            let stream = listener.accept(OUTSIDE).await;
            let server = self.clone();
            self.executor.spawn(OUTSIDE, async move { server.session(stream).await });
        }
    }

    /// One question of a connection; whatever goes wrong ends it.
    async fn session(&self, mut stream: SimStream) {
        let mut input = Vec::new();
        let question = loop {
            let mut buffer = [0; 600];
            match poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await {
                Ok(0) | Err(_) => return,
                Ok(count) => input.extend_from_slice(&buffer[..count]),
            }
            if let Some((length, packet)) = input.split_first_chunk()
                && packet.len() >= usize::from(u16::from_be_bytes(*length))
            {
                break Message::from_vec(packet).expect("a question");
            }
        };
        self.asked_by_tcp.set(self.asked_by_tcp.get() + 1);
        let packet = self.answer(&question).to_vec().expect("a packet");
        let mut output = (packet.len() as u16).to_be_bytes().to_vec();
        output.extend(packet);
        let mut sent = 0;
        while sent < output.len() {
            match poll_fn(|cx| stream.poll_write(cx, &output[sent..])).await {
                Ok(count) => sent += count,
                Err(_) => return,
            }
        }
    }

    fn answer(&self, question: &Message) -> Message {
        assert!(question.recursion_desired && question.queries.len() == 1, "{question:?}");
        let asked = &question.queries[0];
        let name = asked.name().to_lowercase().to_ascii();
        let name = name.trim_end_matches('.');
        self.asked.borrow_mut().push(format!("{} {name}", asked.query_type()));
        let mut answer = question.clone();
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_available = true;
        answer.metadata.authentic_data = self.validates.get();
        match self.manner.get() {
            Manner::ServFail => answer.metadata.response_code = ResponseCode::ServFail,
            Manner::Refused => answer.metadata.response_code = ResponseCode::Refused,
            Manner::NoEdns if question.edns.is_some() => {
                answer.edns = None;
                answer.queries.clear();
                answer.metadata.response_code = ResponseCode::FormErr;
            }
            Manner::Circle => {
                for (owner, target) in [(name, "other.test"), ("other.test", name)] {
                    let data = RData::CNAME(CNAME(absolute(target)));
                    answer.add_answer(Record::from_rdata(absolute(owner), 300, data));
                }
            }
            Manner::Good
            | Manner::Silent
            | Manner::Truncating
            | Manner::Overlong
            | Manner::WrongId
            | Manner::Nonsense
            | Manner::LowerCase
            | Manner::NoEdns
            | Manner::Slow(_)
            | Manner::Flooded => self.look_up(asked.query_type(), name, &mut answer),
        }
        match self.manner.get() {
            Manner::WrongId => answer.metadata.id ^= 0x5555,
            Manner::LowerCase => {
                answer.queries[0].set_name(absolute(name));
            }
            _ => {}
        }
        answer
    }

    fn look_up(&self, kind: RecordType, name: &str, answer: &mut Message) {
        let zone = self.zone.borrow();
        let mut name = name.to_owned();
        loop {
            let Some(records) = zone.get(&name) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            for data in records.iter().filter(|data| data.record_type() == kind) {
                answer.add_answer(Record::from_rdata(absolute(&name), TTL, data.clone()));
            }
            let alias = records.iter().find_map(|data| match data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = alias else { break };
            let data = RData::CNAME(CNAME(target.clone()));
            answer.add_answer(Record::from_rdata(absolute(&name), TTL, data));
            name = target.to_ascii().trim_end_matches('.').to_owned();
        }
        let soa = SOA::new(absolute("ns.test"), absolute("root.test"), 1, 2, 3, 4, TTL);
        answer.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(soa)));
    }
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name of a test");
    name.set_fqdn(true);
    name
}
