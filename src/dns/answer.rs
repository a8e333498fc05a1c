//! A packet that came in reply to a query -> [`Answer`], or why it cannot be used.
//!
//! Decides whether the packet answers our question at all: id, opcode, and the name in the very
//! case in which it was sent must match (RFC 5452 9.1). What does not match is not an error: it is
//! somebody else's packet, and the driver goes on waiting. Then it decides what was said: records
//! (through any aliases, RFC 1034 3.6.2), no such records, no such name, or a server that cannot
//! help.
//!
//! Trusts nothing beyond the question: records of other names are not looked at. Only the sections
//! that are needed must be readable: an odd record in the additional section makes no domain
//! undeliverable. Never panics on any octets; everything in an answer is bounded by
//! [`RECORDS_MAX`].

use super::query::{Kind, Query};
use hickory_proto::op::{Header, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Records kept of one answer: beyond, the first in order. No domain has use for as many mail
/// hosts.
const RECORDS_MAX: usize = 128;
/// Aliases followed within one answer. Resolvers give up at 8 to 16.
const ALIASES_MAX: usize = 16;
/// Octets of one TXT record that are kept; a policy of any kind is shorter.
const TXT_BYTES_MAX: usize = 8 * 1024;
/// A TTL with its highest bit set is none (RFC 2181 8).
const TTL_SECONDS_MAX: u32 = i32::MAX as u32;

// Response codes (RFC 1035 4.1.1, RFC 6891 9).
const NO_ERROR: u16 = 0;
const FORM_ERR: u16 = 1;
const SERV_FAIL: u16 = 2;
const NX_DOMAIN: u16 = 3;
const NOT_IMP: u16 = 4;
const REFUSED: u16 = 5;
/// Of servers that know a later EDNS only.
const BAD_VERS: u16 = 16;

/// One record, in types of our own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// `exchange` is in lower case without its last dot; empty for the root, `.`. It may be no host
    /// name at all: that is for the reader to judge. Octets that are no letters, digits, `-` or `_`
    /// are shown as `\ddd`.
    Mx { preference: u16, exchange: Box<str> },
    /// Of an A or AAAA record.
    Address(IpAddr),
    /// The strings of the record joined, as SPF and others read them (RFC 7208 3.3).
    Txt(Box<[u8]>),
}

/// The records asked for: in order, each once, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    pub records: Vec<Record>,
    /// The least of all records and aliases that led to them.
    pub ttl: Duration,
    /// The server says that it validated them, and was asked to say so (RFC 4035 3.2.3).
    pub authentic: bool,
}

/// What a server said of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Records(Records),
    /// The name exists, without records of the kind.
    NoData {
        ttl: Duration,
        authentic: bool,
    },
    /// No such name.
    NoName {
        ttl: Duration,
        authentic: bool,
    },
}

impl Answer {
    /// How long it holds; zero when the server did not say.
    pub fn ttl(&self) -> Duration {
        match self {
            Answer::Records(Records { ttl, .. })
            | Answer::NoData { ttl, .. }
            | Answer::NoName { ttl, .. } => *ttl,
        }
    }

    pub fn is_authentic(&self) -> bool {
        match self {
            Answer::Records(Records { authentic, .. })
            | Answer::NoData { authentic, .. }
            | Answer::NoName { authentic, .. } => *authentic,
        }
    }

    /// Empty when there are none.
    pub fn records(&self) -> &[Record] {
        match self {
            Answer::Records(Records { records, .. }) => records,
            Answer::NoData { .. } | Answer::NoName { .. } => &[],
        }
    }

    /// The addresses in it, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().iter().filter_map(|record| match record {
            Record::Address(address) => Some(*address),
            Record::Mx { .. } | Record::Txt(_) => None,
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server answered in time or could be reached.
    NoAnswer,
    /// SERVFAIL: the server could not find out; also what failed validation looks like.
    ServerFailed,
    /// REFUSED, or a server that does not recurse for us.
    Refused,
    /// Another code that is no answer.
    Code(u16),
    /// The answer is to our question and cannot be read.
    Malformed,
    /// Aliases lead in a circle, or to too many others.
    Aliases,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoAnswer => f.write_str("no name server answered in time"),
            Failure::ServerFailed => f.write_str("the name server answered SERVFAIL"),
            Failure::Refused => f.write_str("the name server refused to answer"),
            Failure::Code(code) => write!(f, "the name server answered with code {code}"),
            Failure::Malformed => f.write_str("the name server's answer cannot be read"),
            Failure::Aliases => f.write_str("its aliases (CNAME) lead nowhere"),
        }
    }
}

/// What a packet is when it is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// To another question, forged or stray: go on waiting.
    NotOurs,
    /// To our question but for the case of its letters: forged, or a server that changes case. Ask
    /// over TCP, where nobody forges.
    CaseLost,
    /// Too long for UDP: ask over TCP.
    Truncated,
    /// The server does not know EDNS: ask without it (RFC 6891 7).
    NoEdns,
    /// This server has no answer: ask another.
    Failed(Failure),
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    /// A connection to the server itself: letter case proves nothing more.
    Tcp,
}

/// Reads what came in reply to `query`.
///
/// # Errors
/// What to do instead.
pub fn read(query: &Query, packet: &[u8], transport: Transport) -> Result<Answer, Unusable> {
    let mut decoder = BinDecoder::new(packet);
    let Header { mut metadata, counts } =
        Header::read(&mut decoder).map_err(|_| Unusable::NotOurs)?;
    let is_answer = metadata.message_type == MessageType::Response
        && metadata.op_code == OpCode::Query
        && metadata.id == query.id;
    if !is_answer {
        return Err(Unusable::NotOurs);
    }
    if counts.queries == 0 {
        // Who did not understand the query may not have understood that it holds a question. It is
        // believed for no more than asking in a simpler way.
        return Err(match u16::from(metadata.response_code) {
            FORM_ERR | NOT_IMP => Unusable::NoEdns,
            _ => Unusable::NotOurs,
        });
    }
    check_question(query, &mut decoder, counts.queries, transport)?;
    if metadata.truncation {
        return Err(match transport {
            Transport::Udp => Unusable::Truncated,
            Transport::Tcp => Unusable::Failed(Failure::Malformed),
        });
    }
    let malformed = Unusable::Failed(Failure::Malformed);
    let mut section = |count: u16, additional: bool| {
        Message::read_records(&mut decoder, usize::from(count), additional, OpCode::Query)
    };
    let answers = section(counts.answers, false);
    // Behind a section that cannot be read nothing can.
    let authorities = answers.is_ok().then(|| section(counts.authorities, false).ok()).flatten();
    if authorities.is_some()
        && let Ok((_, Some(edns), _)) = section(counts.additionals, true)
    {
        metadata.merge_response_code(edns.rcode_high());
    }
    let authorities = authorities.map(|(records, ..)| records).unwrap_or_default();
    check_code(metadata.response_code)?;
    let (answers, ..) = answers.map_err(|_| malformed)?;
    let authentic = query.authentic && metadata.authentic_data;
    let (records, owner, ttl) = follow(query, &answers)?;
    if !records.is_empty() {
        return Ok(Answer::Records(Records { records, ttl, authentic }));
    }
    let soa = negative_ttl(&owner, &authorities);
    if u16::from(metadata.response_code) == NX_DOMAIN {
        let ttl = soa.unwrap_or_default().min(ttl);
        return Ok(Answer::NoName { ttl, authentic });
    }
    let refers = authorities.iter().any(|record| record.record_type() == RecordType::NS);
    if soa.is_none() && refers && !metadata.recursion_available {
        // Not an answer but a referral: it leaves the work to us.
        return Err(Unusable::Failed(Failure::Refused));
    }
    Ok(Answer::NoData { ttl: soa.unwrap_or_default().min(ttl), authentic })
}

/// Whether the packet repeats our one question.
fn check_question(
    query: &Query,
    decoder: &mut BinDecoder<'_>,
    count: u16,
    transport: Transport,
) -> Result<(), Unusable> {
    if count != 1 {
        return Err(Unusable::NotOurs);
    }
    let asked = Message::read_queries(decoder, 1).map_err(|_| Unusable::NotOurs)?;
    let asked = asked.first().ok_or(Unusable::NotOurs)?;
    let same = asked.query_type() == query.question.kind().record_type()
        && asked.query_class() == DNSClass::IN
        && *asked.name() == query.name;
    if !same {
        return Err(Unusable::NotOurs);
    }
    match transport {
        Transport::Udp if !asked.name().eq_case(&query.name) => Err(Unusable::CaseLost),
        Transport::Udp | Transport::Tcp => Ok(()),
    }
}

fn check_code(code: ResponseCode) -> Result<(), Unusable> {
    // By number: the crate has two names for 16.
    Err(match u16::from(code) {
        NO_ERROR | NX_DOMAIN => return Ok(()),
        FORM_ERR | NOT_IMP | BAD_VERS => Unusable::NoEdns,
        SERV_FAIL => Unusable::Failed(Failure::ServerFailed),
        REFUSED => Unusable::Failed(Failure::Refused),
        other => Unusable::Failed(Failure::Code(other)),
    })
}

/// The records of the kind asked for, at the end of the chain of aliases; whose they are; and for
/// how long all of that holds.
fn follow(
    query: &Query,
    answers: &[WireRecord],
) -> Result<(Vec<Record>, Name, Duration), Unusable> {
    let mut owner = query.name.clone();
    let mut ttl = TTL_SECONDS_MAX;
    for _ in 0..=ALIASES_MAX {
        let own =
            || answers.iter().filter(|one| one.dns_class == DNSClass::IN && one.name == owner);
        let mut records = Vec::new();
        for record in own() {
            if let Some(known) = known(query.question.kind(), &record.data) {
                ttl = ttl.min(seconds(record.ttl));
                records.push(known);
            }
        }
        if !records.is_empty() {
            records.sort_unstable();
            records.dedup();
            records.truncate(RECORDS_MAX);
            return Ok((records, owner, Duration::from_secs(ttl.into())));
        }
        let alias = own().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return Ok((records, owner, Duration::from_secs(ttl.into())));
        };
        ttl = ttl.min(seconds(alias_ttl));
        owner = target;
    }
    Err(Unusable::Failed(Failure::Aliases))
}

fn known(kind: Kind, data: &RData) -> Option<Record> {
    Some(match (kind, data) {
        (Kind::Mx, RData::MX(mx)) => {
            Record::Mx { preference: mx.preference, exchange: text(&mx.exchange) }
        }
        (Kind::A, RData::A(address)) => Record::Address(IpAddr::V4(address.0)),
        (Kind::Aaaa, RData::AAAA(address)) => Record::Address(IpAddr::V6(address.0)),
        (Kind::Txt, RData::TXT(txt)) => {
            let octets = txt.txt_data.iter().flatten().copied();
            Record::Txt(octets.take(TXT_BYTES_MAX).collect())
        }
        _ => return None,
    })
}

/// A name as text, see [`Record::Mx`].
fn text(name: &Name) -> Box<str> {
    let mut text = String::with_capacity(name.len());
    for (number, label) in name.iter().enumerate() {
        if number > 0 {
            text.push('.');
        }
        for &octet in label {
            match octet {
                b'-' | b'_' => text.push(octet.into()),
                _ if octet.is_ascii_alphanumeric() => text.push(octet.to_ascii_lowercase().into()),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
    }
    text.into()
}

/// How long "there is none" holds: the lesser of the SOA record's own TTL and its last field
/// (RFC 2308 5). `None` without a SOA record of a zone that the name is in.
fn negative_ttl(owner: &Name, authorities: &[WireRecord]) -> Option<Duration> {
    authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name.zone_of(owner) => {
            let ttl = seconds(record.ttl).min(seconds(soa.minimum));
            Some(Duration::from_secs(ttl.into()))
        }
        _ => None,
    })
}

fn seconds(ttl: u32) -> u32 {
    if ttl > TTL_SECONDS_MAX { 0 } else { ttl }
}
