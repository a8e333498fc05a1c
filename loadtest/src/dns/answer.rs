//! One packet in, at most one packet out: the DNS server without its sockets.
//!
//! Decides the response code, throws the dice of the faults, and counts. Never answers an answer
//! (two servers would talk for ever) nor what has no whole header; whatever else cannot be read is
//! answered FORMERR. RFC 1035 4 (messages), 2308 (negative answers), 6891 (EDNS).

use std::fmt;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

use super::zone::{End, Found, Zone};

/// What we say we take over UDP: what fits one Ethernet frame on every path.
const PAYLOAD_BYTES_MAX: u16 = 1232;
/// Length of a header (RFC 1035 4.1.1), and the bit in its third byte that marks a response.
const HEADER_BYTES: usize = 12;
const RESPONSE_BIT: u8 = 0x80;

/// What a query came over. A lost packet and one that is too long exist over UDP only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Of 1,000 queries, how many fare badly; thrown anew for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lose: u16,
    pub servfail: u16,
    pub truncate: u16,
}

/// What was asked and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub udp: u64,
    pub tcp: u64,
    pub mx: u64,
    pub a: u64,
    pub aaaa: u64,
    pub txt: u64,
    /// Queries for another type.
    pub other: u64,
    pub answered: u64,
    pub nodata: u64,
    pub nxdomain: u64,
    pub refused: u64,
    pub servfail: u64,
    pub truncated: u64,
    pub lost: u64,
    /// Packets that were no query.
    pub malformed: u64,
}

/// The server without its sockets.
pub struct Responder {
    zone: Zone,
    faults: Faults,
    dice: fastrand::Rng,
    totals: Totals,
}

impl Responder {
    pub fn new(zone: Zone, faults: Faults, seed: u64) -> Responder {
        let dice = fastrand::Rng::with_seed(seed);
        Responder { zone, faults, dice, totals: Totals::default() }
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The response to `packet`, if there is to be one.
    pub fn answer(&mut self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match transport {
            Transport::Udp => self.totals.udp += 1,
            Transport::Tcp => self.totals.tcp += 1,
        }
        let (query, response) = match Message::from_vec(packet) {
            Ok(query) if query.metadata.message_type == MessageType::Response => {
                self.totals.malformed += 1;
                return None;
            }
            Ok(query) => {
                let response = self.respond(&query, transport)?;
                (Some(query), response)
            }
            Err(_) => {
                self.totals.malformed += 1;
                (None, complain(packet)?)
            }
        };
        let bytes = response.to_vec().ok()?;
        let room = match (transport, &query) {
            (Transport::Udp, Some(query)) => usize::from(query.max_payload()),
            (Transport::Udp, None) | (Transport::Tcp, _) => usize::from(u16::MAX),
        };
        if bytes.len() <= room { Some(bytes) } else { self.truncate(&response) }
    }

    fn respond(&mut self, query: &Message, transport: Transport) -> Option<Message> {
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata = Metadata::response_from_request(&query.metadata);
        response.queries.clone_from(&query.queries);
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD_BYTES_MAX);
            response.edns = Some(edns);
        }
        let code = &mut response.metadata.response_code;
        let [question] = query.queries.as_slice() else {
            self.totals.malformed += 1;
            *code = ResponseCode::FormErr;
            return Some(response);
        };
        if query.metadata.op_code != OpCode::Query {
            self.totals.malformed += 1;
            *code = ResponseCode::NotImp;
            return Some(response);
        }
        self.count_type(question.query_type());
        if transport == Transport::Udp && self.strikes(self.faults.lose) {
            self.totals.lost += 1;
            return None;
        }
        if self.strikes(self.faults.servfail) {
            self.totals.servfail += 1;
            *code = ResponseCode::ServFail;
            return Some(response);
        }
        let found = self.look_up(question);
        self.fill(&mut response, found)?;
        if transport == Transport::Udp && self.strikes(self.faults.truncate) {
            self.totals.truncated += 1;
            strip(&mut response);
        }
        Some(response)
    }

    fn look_up(&self, question: &Query) -> Found {
        match question.query_class() {
            DNSClass::IN => self.zone.look_up(question.name(), question.query_type()),
            _ => Found { aliases: Vec::new(), end: End::Elsewhere },
        }
    }

    /// Puts what was found into the response; `None` when there is to be none.
    fn fill(&mut self, response: &mut Message, found: Found) -> Option<()> {
        let totals = &mut self.totals;
        response.metadata.authoritative = true;
        response.answers = found.aliases;
        match found.end {
            End::Records(records) => {
                totals.answered += 1;
                response.answers.extend(records);
            }
            End::NoData => {
                totals.nodata += 1;
                response.authorities.push(self.zone.authority());
            }
            End::NoName => {
                totals.nxdomain += 1;
                response.metadata.response_code = ResponseCode::NXDomain;
                response.authorities.push(self.zone.authority());
            }
            End::Failure => {
                totals.servfail += 1;
                response.metadata.response_code = ResponseCode::ServFail;
                response.metadata.authoritative = false;
                response.answers.clear();
            }
            End::Silence => {
                totals.lost += 1;
                return None;
            }
            End::Elsewhere => {
                totals.refused += 1;
                response.metadata.response_code = ResponseCode::Refused;
                response.metadata.authoritative = false;
            }
        }
        Some(())
    }

    /// The response without its records, for one that has no room in a datagram.
    fn truncate(&mut self, response: &Message) -> Option<Vec<u8>> {
        self.totals.truncated += 1;
        let mut short = response.clone();
        strip(&mut short);
        short.to_vec().ok()
    }

    fn strikes(&mut self, permille: u16) -> bool {
        permille > 0 && self.dice.u16(..1000) < permille
    }

    fn count_type(&mut self, kind: RecordType) {
        let totals = &mut self.totals;
        let count = match kind {
            RecordType::MX => &mut totals.mx,
            RecordType::A => &mut totals.a,
            RecordType::AAAA => &mut totals.aaaa,
            RecordType::TXT => &mut totals.txt,
            _ => &mut totals.other,
        };
        *count += 1;
    }
}

fn strip(response: &mut Message) {
    response.metadata.truncation = true;
    response.answers.clear();
    response.authorities.clear();
}

/// FORMERR for what has the header of a query and is none.
fn complain(packet: &[u8]) -> Option<Message> {
    let header = packet.get(..HEADER_BYTES).filter(|header| header[2] & RESPONSE_BIT == 0)?;
    let id = u16::from_be_bytes([header[0], header[1]]);
    Some(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr))
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "dns: queries={} udp={} tcp={}", self.udp + self.tcp, self.udp, self.tcp)?;
        let Totals { mx, a, aaaa, txt, other, .. } = self;
        write!(out, " mx={mx} a={a} aaaa={aaaa} txt={txt} other={other}")?;
        let Totals { answered, nodata, nxdomain, refused, servfail, .. } = self;
        write!(out, " answered={answered} nodata={nodata} nxdomain={nxdomain}")?;
        write!(out, " refused={refused} servfail={servfail}")?;
        let Totals { truncated, lost, malformed, .. } = self;
        write!(out, " truncated={truncated} lost={lost} malformed={malformed}")
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
