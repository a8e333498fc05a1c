//! DNS as pure functions: what a packet says, what is remembered, where mail for a domain goes.
//!
//! The tables `dns-answers.txt` and `mail-hosts.txt` are the specification. Packets are made by the
//! crate that reads them, but what they hold and how they lie is said here. The properties say what
//! no table can: nothing that comes in makes the code panic, and nothing but the answer to a
//! question passes for it.

use baton::deliver::host::{self, ADDRESSES_MAX, Loopback};
use baton::deliver::mx::{self, Destination, Found, MX_HOSTS_MAX, MailHosts, SITE_BYTES_MAX};
use baton::dns::{
    self, Answer, Cache, Edns, Failure, Finding, Kind, Query, Question, Record, Records, Transport,
    Unusable,
};
use baton::message::{Outcome, Scope, Stage, Verdict};
use baton::time::Moment;
use hickory_proto::op::{self, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The rows of a table: line number, left side, right side.
fn rows(table: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let lines = table.lines().enumerate().map(|(index, line)| (index + 1, line));
    let rows = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    rows.map(|(number, line)| {
        let (left, right) = line.split_once(" => ").unwrap_or_else(|| panic!("{number}: no =>"));
        (number, left, right)
    })
}

fn kind(word: &str) -> Kind {
    let kinds = [Kind::Mx, Kind::A, Kind::Aaaa, Kind::Txt];
    kinds.into_iter().find(|kind| kind.as_str() == word).unwrap_or_else(|| panic!("{word}"))
}

fn question(name: &str, kind: Kind) -> Question {
    Question::new(name, kind).expect("a name of a test")
}

// ---- packets

/// A packet as a row of `dns-answers.txt` describes it.
struct Case {
    query: Query,
    transport: Transport,
    packet: Vec<u8>,
}

impl Case {
    fn of(row: &str) -> Case {
        let (head, records) = row.split_once(" : ").unwrap_or((row, ""));
        let words: Vec<&str> = head.split(' ').collect();
        let has = |word: &str| words.contains(&word);
        let asked = question(words[1], kind(words[0]));
        let edns = Edns::With { authentic: has("trusting") };
        let query = Query::new(asked, edns, [0x1234_5678, 0b0110_1001]);
        let mut message = Message::from_vec(query.packet()).expect("what we send can be read");
        let transport = if has("tcp") { Transport::Tcp } else { Transport::Udp };
        change(&mut message, &words);
        for record in records.split("; ").filter(|record| !record.is_empty()) {
            match record.split_once(' ').expect("an owner") {
                ("ns", record) => message.add_authority(wire_record(record)),
                ("more", record) => message.add_additional(wire_record(record)),
                _ => message.add_answer(wire_record(record)),
            };
        }
        Case { query, transport, packet: message.to_vec().expect("a packet") }
    }

    fn read(&self) -> Result<Answer, Unusable> {
        dns::read(&self.query, &self.packet, self.transport)
    }
}

fn change(message: &mut Message, words: &[&str]) {
    message.metadata.message_type = op::MessageType::Response;
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = false;
    for word in &words[2..] {
        match *word {
            "tcp" | "trusting" => {}
            "tc" => message.metadata.truncation = true,
            "ad" => message.metadata.authentic_data = true,
            "no-ra" => message.metadata.recursion_available = false,
            "id" => message.metadata.id ^= 1,
            "query" => message.metadata.message_type = op::MessageType::Query,
            "opcode" => message.metadata.op_code = OpCode::Notify,
            "chaos" => drop(message.queries[0].set_query_class(DNSClass::CH)),
            "upper" => {
                let upper = message.queries[0].name().to_ascii().to_uppercase();
                message.queries[0].set_name(Name::from_ascii(upper).expect("a name"));
            }
            "unasked" => message.queries.clear(),
            "twice" => message.queries.extend_from_within(..1),
            "nxdomain" => message.metadata.response_code = ResponseCode::NXDomain,
            "servfail" => message.metadata.response_code = ResponseCode::ServFail,
            "refused" => message.metadata.response_code = ResponseCode::Refused,
            "formerr" => message.metadata.response_code = ResponseCode::FormErr,
            "notimp" => message.metadata.response_code = ResponseCode::NotImp,
            "yxdomain" => message.metadata.response_code = ResponseCode::YXDomain,
            "badvers" => message.metadata.response_code = ResponseCode::BADVERS,
            other => match other.split_once('=').unwrap_or_else(|| panic!("{other}")) {
                ("asked", name) => drop(message.queries[0].set_name(wire_name(name))),
                ("asked-kind", "A") => drop(message.queries[0].set_query_type(RecordType::A)),
                _ => panic!("{other}"),
            },
        }
    }
}

/// Octets that are no letters are written `\ddd`.
fn wire_name(text: &str) -> Name {
    let label = |label: &str| {
        let mut pieces = label.split('\\');
        let mut octets = pieces.next().unwrap_or("").as_bytes().to_vec();
        for piece in pieces {
            let (octet, rest) = piece.split_at(3);
            octets.push(octet.parse().expect("an octet"));
            octets.extend_from_slice(rest.as_bytes());
        }
        octets
    };
    let labels = text.trim_end_matches('.').split('.').filter(|one| !one.is_empty()).map(label);
    Name::from_labels(labels).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `OWNER [TTL] TYPE DATA`.
fn wire_record(text: &str) -> WireRecord {
    let mut words: Vec<&str> = text.split(' ').collect();
    let ttl = words[1].parse::<u32>().ok();
    if ttl.is_some() {
        words.remove(1);
    }
    let data = match words[1] {
        "MX" => RData::MX(MX::new(words[2].parse().expect("a preference"), wire_name(words[3]))),
        "A" => RData::A(A(words[2].parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(words[2].parse().expect("an address"))),
        "CNAME" => RData::CNAME(CNAME(wire_name(words[2]))),
        "NS" => RData::NS(NS(wire_name(words[2]))),
        "TXT" => RData::TXT(TXT::new(vec![words[2].to_owned()])),
        "SOA" => {
            let minimum = words[2].parse().expect("seconds");
            RData::SOA(SOA::new(wire_name("n.test"), wire_name("h.test"), 1, 2, 3, 4, minimum))
        }
        other => panic!("{other}"),
    };
    WireRecord::from_rdata(wire_name(words[0]), ttl.unwrap_or(300), data)
}

/// As the right sides of `dns-answers.txt` have it.
fn shown(read: &Result<Answer, Unusable>) -> String {
    let answer = match read {
        Ok(answer) => answer,
        Err(Unusable::NotOurs) => return "not-ours".into(),
        Err(Unusable::CaseLost) => return "case-lost".into(),
        Err(Unusable::Truncated) => return "truncated".into(),
        Err(Unusable::NoEdns) => return "no-edns".into(),
        Err(Unusable::Failed(failure)) => return format!("failed {failure}"),
    };
    let what = match answer {
        Answer::Records(_) => "records",
        Answer::NoData { .. } => "nodata",
        Answer::NoName { .. } => "noname",
    };
    let authentic = if answer.is_authentic() { " authentic" } else { "" };
    let records: Vec<String> = answer.records().iter().map(shown_record).collect();
    let text = format!("{what} {}s{authentic} {}", answer.ttl().as_secs(), records.join(", "));
    text.trim_end().to_owned()
}

fn shown_record(record: &Record) -> String {
    match record {
        Record::Mx { preference, exchange } if exchange.is_empty() => {
            format!("{preference} (root)")
        }
        Record::Mx { preference, exchange } => format!("{preference} {exchange}"),
        Record::Address(address) => address.to_string(),
        Record::Txt(octets) => format!("\"{}\"", octets.escape_ascii()),
    }
}

const ANSWERS: &str = include_str!("tables/dns-answers.txt");

#[test]
fn packets_say_what_the_table_says() {
    for (number, left, right) in rows(ANSWERS) {
        assert_eq!(shown(&Case::of(left).read()), right, "line {number}: {left}");
    }
    assert!(rows(ANSWERS).count() >= 60, "rows are missing");
}

/// The packets of the table, for whoever wants to break the reader (`fuzz`).
pub fn packets() -> Vec<Vec<u8>> {
    rows(ANSWERS).map(|(_, left, _)| Case::of(left).packet).collect()
}

#[test]
fn more_records_than_are_kept_are_cut_in_order() {
    let records: Vec<String> =
        (0..400).map(|n| format!("x.test MX {} h{n}.test", 400 - n)).collect();
    let answer = Case::of(&format!("MX x.test tcp : {}", records.join("; "))).read().unwrap();
    let found: Vec<String> = answer.records().iter().map(shown_record).collect();
    assert_eq!((found.len(), &*found[0], &*found[127]), (128, "1 h399.test", "128 h272.test"));
}

#[test]
fn a_chain_of_aliases_has_an_end() {
    let chain = |length: usize| {
        let aliases: Vec<String> =
            (0..length).map(|n| format!("a{n}.test CNAME a{}.test", n + 1)).collect();
        let last = format!("a{length}.test A 192.0.2.1");
        shown(&Case::of(&format!("A a0.test tcp : {}; {last}", aliases.join("; "))).read())
    };
    assert_eq!(chain(16), "records 300s 192.0.2.1");
    assert_eq!(chain(17), "failed its aliases (CNAME) lead nowhere");
}

#[test]
fn a_packet_cut_anywhere_is_no_answer_or_the_same() {
    for (number, left, _) in rows(ANSWERS) {
        let case = Case::of(left);
        let whole = case.read();
        for length in 0..case.packet.len() {
            let cut = dns::read(&case.query, &case.packet[..length], case.transport);
            // An answer section that is whole counts, whatever is missing behind it; what its
            // authority section would have said is then unknown.
            let same =
                cut == whole || matches!(cut, Ok(Answer::NoData { .. } | Answer::NoName { .. }));
            assert!(same || cut.is_err(), "line {number}, {length} octets: {}", shown(&cut));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn octets_are_never_an_answer_to_what_they_do_not_repeat(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        random in any::<[u64; 2]>(),
    ) {
        let query = Query::new(question("mail.x.test", Kind::Mx), Edns::Without, random);
        if let Ok(answer) = dns::read(&query, &octets, Transport::Udp) {
            // The id and the question in its very case: nobody draws that in a test's life.
            prop_assert!(octets.starts_with(&query.packet()[..2]), "{answer:?}");
        }
    }

    #[test]
    fn an_answer_to_another_query_is_not_ours(
        row in any::<proptest::sample::Index>(),
        random in any::<[u64; 2]>(),
    ) {
        let lines: Vec<_> = rows(ANSWERS).collect();
        let case = Case::of(lines[row.index(lines.len())].1);
        // The same question, sent once more.
        let again = Query::new(case.query.question().clone(), Edns::Without, random);
        prop_assume!(again.packet()[..2] != case.packet[..2]);
        let read = dns::read(&again, &case.packet, case.transport);
        prop_assert_eq!(read, Err(Unusable::NotOurs));
    }

    #[test]
    fn damage_panics_nowhere(
        row in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let lines: Vec<_> = rows(ANSWERS).collect();
        let mut case = Case::of(lines[row.index(lines.len())].1);
        for (at, octet) in changes {
            let at = at.index(case.packet.len());
            case.packet[at] = octet;
        }
        let _read = case.read();
    }
}

// ---- what is remembered

fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

fn addresses_for(ttl: u64, count: u8) -> Finding {
    let records = (0..count).map(|n| Record::Address(IpAddr::from([192, 0, 2, n]))).collect();
    let ttl = Duration::from_secs(ttl);
    Ok(Arc::new(Answer::Records(Records { records, ttl, authentic: false })))
}

#[test]
fn a_finding_is_kept_as_long_as_it_holds() {
    let nodata =
        |ttl| Ok(Arc::new(Answer::NoData { ttl: Duration::from_secs(ttl), authentic: false }));
    let rows: [(Finding, u64); 9] = [
        (addresses_for(300, 1), 300),
        // believed between five seconds and a day
        (addresses_for(0, 1), 5),
        (addresses_for(4_000_000, 1), 86_400),
        // RFC 2308 5
        (nodata(0), 5),
        (nodata(600), 600),
        (nodata(90_000), 3_600),
        // RFC 9520 3.2
        (Err(Failure::ServerFailed), 5),
        (Err(Failure::NoAnswer), 5),
        (Err(Failure::Aliases), 5),
    ];
    for (finding, seconds) in rows {
        let (mut cache, asked) = (Cache::new(1 << 20), question("x.test", Kind::A));
        cache.put(asked.clone(), finding.clone(), at(100));
        assert_eq!(cache.get(&asked, at(100 + seconds - 1)), Some(finding.clone()), "{finding:?}");
        assert_eq!(cache.get(&asked, at(100 + seconds)), None, "{finding:?}");
        assert_eq!(cache.get(&question("x.test", Kind::Aaaa), at(100)), None);
        assert_eq!(cache.get(&question("y.test", Kind::A), at(100)), None);
    }
}

#[test]
fn a_later_finding_replaces_and_is_counted_once() {
    let (mut cache, asked) = (Cache::new(1 << 20), question("x.test", Kind::A));
    cache.put(asked.clone(), addresses_for(300, 1), at(0));
    let one = cache.bytes();
    cache.put(asked.clone(), addresses_for(300, 9), at(1));
    assert!(cache.bytes() > one && cache.len() == 1);
    assert_eq!(cache.get(&asked, at(2)), Some(addresses_for(300, 9)));
    cache.put(asked, addresses_for(300, 1), at(3));
    assert_eq!((cache.bytes(), cache.len()), (one, 1));
}

#[test]
fn memory_is_bounded_and_what_is_used_stays() {
    const BYTES_MAX: usize = 200_000;
    let mut cache = Cache::new(BYTES_MAX);
    let favourite = question("favourite.test", Kind::Mx);
    cache.put(favourite.clone(), addresses_for(86_400, 1), at(0));
    for number in 0..20_000 {
        let asked = question(&format!("{number}.x.test"), Kind::Mx);
        cache.put(asked, addresses_for(86_400, (number % 7) as u8), at(1));
        assert!(cache.bytes() <= BYTES_MAX, "{} octets", cache.bytes());
        assert!(cache.get(&favourite, at(2)).is_some(), "gone after {number} others");
    }
    assert!((100..2_000).contains(&cache.len()), "{} entries", cache.len());
    // The last to come is there, the first is not.
    assert!(cache.get(&question("19999.x.test", Kind::Mx), at(2)).is_some());
    assert!(cache.get(&question("0.x.test", Kind::Mx), at(2)).is_none());
    // When its time is over, use saves it no more.
    for number in 0..2_000 {
        cache.put(question(&format!("{number}.y.test"), Kind::A), addresses_for(9, 1), at(90_000));
    }
    assert!(cache.get(&favourite, at(2)).is_none());
}

#[test]
fn what_is_larger_than_the_cache_is_not_kept() {
    let mut cache = Cache::new(1_000);
    let txt = Record::Txt(vec![0; 2_000].into());
    let records = Records { records: vec![txt], ttl: Duration::from_secs(60), authentic: false };
    cache.put(question("x.test", Kind::Txt), Ok(Arc::new(Answer::Records(records))), at(0));
    assert!(cache.is_empty() && cache.bytes() == 0);
}

// ---- where mail goes

/// `None` for what is not asked.
fn finding(text: &str, authentic: bool) -> Option<Finding> {
    let ttl = Duration::from_secs(60);
    let record = |item: &str| match item.parse::<IpAddr>() {
        Ok(address) => Record::Address(address),
        Err(_) => {
            let (preference, host) = item.split_once(':').expect("a preference");
            let exchange = if host == "." { "" } else { host };
            Record::Mx {
                preference: preference.parse().expect("16 bits"),
                exchange: exchange.into(),
            }
        }
    };
    Some(match text {
        "-" => return None,
        "nodata" => Ok(Arc::new(Answer::NoData { ttl, authentic })),
        "noname" => Ok(Arc::new(Answer::NoName { ttl, authentic })),
        "servfail" => Err(Failure::ServerFailed),
        "refused" => Err(Failure::Refused),
        "silent" => Err(Failure::NoAnswer),
        list => {
            let records = list.split(',').map(record).collect();
            Ok(Arc::new(Answer::Records(Records { records, ttl, authentic })))
        }
    })
}

fn mail_hosts(row: &str) -> Result<MailHosts, Outcome> {
    let words: Vec<&str> = row.split(' ').collect();
    let signed = words.contains(&"signed");
    let given = |key: &str| {
        let value = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        finding(value.unwrap_or("nodata"), signed)
    };
    let name = match Destination::of(words[0])? {
        Destination::Address(address) => return Ok(Destination::literal(address)),
        Destination::Domain(name) => name,
    };
    match mx::by_records(&name, &given("mx").expect("always asked"), &["relay.test"])? {
        Found::Hosts(hosts) => Ok(hosts),
        Found::NoMx { authentic } => {
            let families = [(Kind::A, given("a")), (Kind::Aaaa, given("aaaa"))];
            let asked = families.into_iter().filter_map(|(kind, one)| Some((kind, one?)));
            mx::implicit(&name, authentic, &asked.collect::<Vec<_>>())
        }
    }
}

fn shown_outcome(outcome: &Outcome) -> String {
    assert_eq!(outcome.stage, Stage::Route);
    let class = if outcome.verdict == Verdict::Permanent { 5 } else { 4 };
    assert_eq!(outcome.cause.status().class, class);
    let scope = match outcome.scope {
        Scope::Recipient => "recipient",
        Scope::Site => "site",
        Scope::Us => "us",
        Scope::Message | Scope::Session => panic!("{outcome:?}"),
    };
    let text = outcome.cause.to_string();
    let (status, words) = text.split_once(' ').expect("words");
    format!("{status} {scope} {words}")
}

#[test]
fn mail_goes_where_the_table_says() {
    let table = include_str!("tables/mail-hosts.txt");
    for (number, left, right) in rows(table) {
        let found = match mail_hosts(left) {
            Ok(hosts) => {
                assert!(!hosts.hosts.is_empty());
                format!("{}{}", hosts.site(), if hosts.authentic { " authentic" } else { "" })
            }
            Err(outcome) => shown_outcome(&outcome),
        };
        assert_eq!(found, right, "line {number}: {left}");
    }
    assert!(rows(table).count() >= 55, "rows are missing");
}

/// Hosts of one preference each, `count` of them.
fn many(count: usize, ending: &str) -> MailHosts {
    let hosts: Vec<String> = (0..count).map(|n| format!("{n}:host-{n:03}.{ending}")).collect();
    mail_hosts(&format!("x.test mx={}", hosts.join(","))).expect("hosts")
}

#[test]
fn the_most_preferred_hosts_are_kept() {
    let hosts = many(100, "x.test").hosts;
    assert_eq!((hosts.len(), &*hosts[31].name), (MX_HOSTS_MAX, "host-031.x.test"));
}

#[test]
fn a_long_site_is_cut_and_still_its_own() {
    let sites: BTreeSet<Box<str>> = (0..=32)
        .flat_map(|count| ["x.test", "y.test"].map(|ending| many(count.max(1), ending).site()))
        .collect();
    assert_eq!(sites.len(), 64, "different sets have different names");
    assert!(sites.iter().all(|site| site.len() <= SITE_BYTES_MAX));
    let long = many(20, "x.test").site();
    assert!(long.starts_with("host-000.x.test>host-001.x.test>"), "{long}");
    let (head, hash) = long.rsplit_once('#').expect("a hash");
    assert!(head.ends_with(".x.test+20") && hash.len() == 32, "{long}");
    let longest = format!("{0}.{0}.{0}.test", "a".repeat(63));
    let site = many(32, &longest).site();
    assert!(site.starts_with("+32#") && site.len() <= SITE_BYTES_MAX, "{site}");
}

#[test]
fn attempts_go_by_preference_and_take_turns_within_it() {
    let hosts = mail_hosts("x.test mx=10:a.test,10:b.test,10:c.test,20:d.test,5:z.test").unwrap();
    let mut seen = BTreeSet::new();
    for random in 0..200 {
        let order: Vec<&str> =
            hosts.in_order(random << 40).iter().map(|host| &*host.name).collect();
        assert_eq!((order.len(), order[0], order[4]), (5, "z.test", "d.test"));
        seen.insert(order[1..4].concat());
    }
    assert_eq!(seen.len(), 6, "every order of three occurs: {seen:?}");
    let again = [hosts.in_order(7), hosts.in_order(7)];
    assert_eq!(again[0], again[1], "the same number gives the same order");
}

// ---- the addresses of a host

/// `A FINDING`, `AAAA FINDING`, what comes of it: the addresses sorted, or the outcome.
type HostRow = (&'static str, &'static str, &'static str);

#[test]
fn a_host_has_the_addresses_that_lead_to_it() {
    let rows: [HostRow; 16] = [
        ("192.0.2.1", "nodata", "192.0.2.1"),
        ("192.0.2.1,192.0.2.2", "2001:db8::1", "192.0.2.1 192.0.2.2 2001:db8::1"),
        ("192.0.2.1", "silent", "192.0.2.1"),
        ("noname", "2001:db8::1", "2001:db8::1"),
        ("-", "2001:db8::1", "2001:db8::1"),
        ("nodata", "nodata", "5.4.4 recipient the mail host h.test has no address"),
        ("nodata", "-", "5.4.4 recipient the mail host h.test has no address"),
        ("noname", "noname", "5.4.4 recipient the mail host h.test does not exist"),
        (
            "nodata",
            "servfail",
            "4.4.3 site looking up AAAA of h.test: the name server answered SERVFAIL",
        ),
        ("silent", "nodata", "4.4.3 us looking up A of h.test: no name server answered in time"),
        // this machine, nobody, everybody
        ("127.0.0.1,192.0.2.1", "::1", "192.0.2.1"),
        ("0.0.0.0,192.0.2.1", "::", "192.0.2.1"),
        ("224.0.0.1,255.255.255.255,192.0.2.1", "ff02::1", "192.0.2.1"),
        ("192.0.2.1", "::ffff:127.0.0.1,::ffff:0.0.0.0", "192.0.2.1"),
        (
            "127.0.0.1",
            "nodata",
            "5.4.4 recipient the mail host h.test has the address 127.0.0.1, which is no other host's",
        ),
        (
            "127.0.0.1",
            "servfail",
            "4.4.3 site looking up AAAA of h.test: the name server answered SERVFAIL",
        ),
    ];
    for (v4, v6, expected) in rows {
        let families = [(Kind::A, finding(v4, false)), (Kind::Aaaa, finding(v6, false))];
        let asked: Vec<_> =
            families.into_iter().filter_map(|(kind, one)| Some((kind, one?))).collect();
        let found = match host::addresses("h.test", &asked, Loopback::Refused, 3) {
            Ok(mut addresses) => {
                addresses.sort_unstable();
                addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
            }
            Err(outcome) => shown_outcome(&outcome),
        };
        assert_eq!(found, expected, "{v4} {v6}");
    }
}

#[test]
fn loopback_is_allowed_where_it_is_meant() {
    let here = [(Kind::A, finding("127.0.0.1,0.0.0.0", false).unwrap())];
    let found = host::addresses("h.test", &here, Loopback::Allowed, 0).expect("loopback");
    assert_eq!(found, [IpAddr::from([127, 0, 0, 1])]);
    for (address, refused) in [("127.0.0.1", true), ("::1", true), ("192.0.2.1", false)] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(host::literal(address, Loopback::Refused).is_err(), refused, "{address}");
        assert_eq!(host::literal(address, Loopback::Allowed), Ok(address));
    }
}

#[test]
fn families_take_turns_and_each_goes_first_sometimes() {
    let list = |form: fn(u32) -> String| (1..20).map(form).collect::<Vec<_>>().join(",");
    let (v4, v6) = (list(|n| format!("192.0.2.{n}")), list(|n| format!("2001:db8::{n:x}")));
    let found =
        [(Kind::A, finding(&v4, false).unwrap()), (Kind::Aaaa, finding(&v6, false).unwrap())];
    let (mut firsts, mut orders) = (BTreeSet::new(), BTreeSet::new());
    for random in 0..64 {
        let order = host::addresses("h.test", &found, Loopback::Refused, random << 32).unwrap();
        assert_eq!(order.len(), ADDRESSES_MAX);
        assert!(order.windows(2).all(|pair| pair[0].is_ipv4() != pair[1].is_ipv4()), "{order:?}");
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
        firsts.insert(order[0].is_ipv4());
        orders.insert(order);
    }
    assert!(firsts.len() == 2 && orders.len() > 60, "{} orders", orders.len());
}
