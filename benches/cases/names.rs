//! DNS: a question to octets, an answer from octets, and the cache between.
//!
//! The answers are printed by hickory from records, as a resolver would: compressed, with EDNS.

use super::Meter;
use baton::dns::{Answer, Cache, Edns, Kind, Query, Question, Record, Transport, read};
use baton::time::Moment;
use hickory_proto::op::{Edns as Extensions, Message, MessageType, OpCode, Query as Asked};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX};
use hickory_proto::rr::{Name, RData, Record as WireRecord, RecordType};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const DOMAIN: &str = "customers.example";
/// A fixed id and pattern of letter case: about half of them upper.
const RANDOM: [u64; 2] = [0x1234_5678_9abc_def0, 0x5a5a_c3c3_9696_0ff0];
const TTL: u32 = 3_600;

fn question(kind: Kind) -> Question {
    Question::new(DOMAIN, kind).expect("a name")
}

fn asked(kind: Kind) -> Query {
    Query::new(question(kind), Edns::With { authentic: true }, RANDOM)
}

pub fn query(meter: &mut impl Meter) {
    meter.measure(
        || question(Kind::Mx),
        |question| Query::new(question, Edns::With { authentic: true }, RANDOM),
        // Header, the name with its lengths, type and class, the OPT record.
        |query| assert_eq!(query.packet().len(), 12 + DOMAIN.len() + 2 + 4 + 11),
    );
}

pub fn answer_a(meter: &mut impl Meter) {
    let records = [(DOMAIN, RData::A(A(Ipv4Addr::new(192, 0, 2, 1))))];
    answer(meter, Kind::A, &records, &[], 1);
}

/// Five hosts, and their addresses in the additional section.
pub fn answer_mx(meter: &mut impl Meter) {
    let hosts: Vec<String> = (1..=5).map(|number| format!("mx{number}.{DOMAIN}")).collect();
    let exchange = |(place, host): (usize, &String)| {
        (DOMAIN, RData::MX(MX::new(10 * place as u16, name(host))))
    };
    let addresses = |host: &'_ String| {
        let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::LOCALHOST);
        [(host.clone(), RData::A(A(v4))), (host.clone(), RData::AAAA(AAAA(v6)))]
    };
    let records: Vec<_> = hosts.iter().enumerate().map(exchange).collect();
    let additional: Vec<_> = hosts.iter().flat_map(addresses).collect();
    answer(meter, Kind::Mx, &records, &additional, 5);
}

/// An address behind two aliases.
pub fn answer_alias(meter: &mut impl Meter) {
    let alias = |target: &str| RData::CNAME(CNAME(name(target)));
    let records = [
        (DOMAIN, alias("edge.hosting.example")),
        ("edge.hosting.example", alias("node7.hosting.example")),
        ("node7.hosting.example", RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))),
    ];
    answer(meter, Kind::A, &records, &[], 1);
}

fn answer(
    meter: &mut impl Meter,
    kind: Kind,
    records: &[(&str, RData)],
    additional: &[(String, RData)],
    expected: usize,
) {
    let query = asked(kind);
    let packet = packet(&query, kind, records, additional);
    meter.measure(
        || &packet[..],
        |packet| read(&query, packet, Transport::Udp),
        |answer| {
            let answer = answer.as_ref().expect("an answer");
            assert_eq!((answer.records().len(), answer.ttl()), (expected, Duration::from_hours(1)));
        },
    );
}

/// What a resolver answers: the question in the case in which it came.
fn packet(
    query: &Query,
    kind: Kind,
    records: &[(&str, RData)],
    additional: &[(String, RData)],
) -> Vec<u8> {
    let sent = Message::from_vec(query.packet()).expect("our own query");
    let mut message = Message::new(sent.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let record_type = match kind {
        Kind::Mx => RecordType::MX,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Txt => RecordType::TXT,
    };
    message.add_query(Asked::query(sent.queries[0].name().clone(), record_type));
    for (owner, data) in records {
        message.add_answer(WireRecord::from_rdata(name(owner), TTL, data.clone()));
    }
    for (owner, data) in additional {
        message.add_additional(WireRecord::from_rdata(name(owner), TTL, data.clone()));
    }
    message.set_edns(Extensions::new());
    message.to_vec().expect("a packet")
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

/// One of ten thousand domains that are known.
pub fn cache_hit(meter: &mut impl Meter) {
    let query = asked(Kind::Mx);
    let records = [(DOMAIN, RData::MX(MX::new(10, name("mx.customers.example"))))];
    let packet = packet(&query, Kind::Mx, &records, &[]);
    let answer = Arc::new(read(&query, &packet, Transport::Udp).expect("an answer"));
    let mut cache = Cache::new(64 << 20);
    let now = Moment::from_micros(1);
    for number in 0..10_000 {
        let other = Question::new(&format!("d{number}.example"), Kind::Mx).expect("a name");
        cache.put(other, Ok(Arc::clone(&answer)), now);
    }
    cache.put(question(Kind::Mx), Ok(answer), now);
    let question = question(Kind::Mx);
    meter.measure(
        || (),
        |()| cache.get(black_box(&question), now),
        |found| {
            let Some(Ok(answer)) = found else { panic!("{found:?}") };
            let Answer::Records(records) = &**answer else { panic!("{answer:?}") };
            assert!(matches!(&records.records[..], [Record::Mx { preference: 10, .. }]));
        },
    );
}
