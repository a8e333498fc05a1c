//! Tests of the responder: packets as bytes, faults, counts, and packets that are none.

use super::super::zone::{Addresses, Families};
use super::*;
use hickory_proto::rr::Name;

const NONE: Faults = Faults { lose: 0, servfail: 0, truncate: 0 };

fn responder(faults: Faults) -> Responder {
    let zone = Zone {
        suffix: Name::from_ascii("x.test.").unwrap(),
        sites: 0,
        addresses: Addresses::One,
        families: Families::Ipv4,
        ttl_s: 300,
    };
    Responder::new(zone, faults, 1)
}

/// A query as it is on the wire: RD set, one question of class IN.
fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = b"\xab\xcd\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;

/// Header of an answer: flags and the four counts.
fn head(answer: &[u8]) -> (u16, [u16; 4]) {
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    assert_eq!(word(0), 0xabcd);
    (word(2), [word(4), word(6), word(8), word(10)])
}

#[test]
fn an_answer_is_these_bytes() {
    let mut responder = responder(NONE);
    let answer = responder.answer(&query("mx0.a.x.test", A), Transport::Udp).unwrap();
    let mut expected = query("mx0.a.x.test", A);
    // A response, authoritative, RD as asked; one question, one answer.
    expected[2] = 0x85;
    expected[7] = 1;
    // The name by reference to octet 12, A, IN, 300 s, four octets.
    expected.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x7f\0\0\x01");
    assert_eq!(answer, expected);
}

#[test]
fn codes_and_sections_are_those_of_the_rfcs() {
    let mut responder = responder(NONE);
    for (name, kind, flags, counts) in [
        ("a.x.test", MX, 0x8500, [1, 2, 0, 0]),
        ("a.x.test", TXT, 0x8500, [1, 0, 1, 0]),
        ("nx-a.x.test", MX, 0x8503, [1, 0, 1, 0]),
        ("cname-nx-a.x.test", MX, 0x8503, [1, 1, 1, 0]),
        ("cname-a.x.test", MX, 0x8500, [1, 3, 0, 0]),
        ("servfail-a.x.test", MX, 0x8102, [1, 0, 0, 0]),
        ("a.other.test", MX, 0x8105, [1, 0, 0, 0]),
    ] {
        let answer = responder.answer(&query(name, kind), Transport::Udp).unwrap();
        assert_eq!(head(&answer), (flags, counts), "{name} {kind}");
    }
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(responder.answer(&query("lost-a.x.test", MX), transport), None);
    }
    let totals = responder.totals();
    let counted = Totals {
        udp: 8,
        tcp: 1,
        mx: 8,
        txt: 1,
        answered: 2,
        nodata: 1,
        nxdomain: 2,
        refused: 1,
        servfail: 1,
        lost: 2,
        ..Totals::default()
    };
    assert_eq!(totals, counted);
    assert!(totals.to_string().starts_with("dns: queries=9 udp=8 tcp=1 mx=8 a=0 "), "{totals}");
}

#[test]
fn edns_is_answered_with_edns() {
    let mut responder = responder(NONE);
    let mut packet = query("a.x.test", MX);
    packet[11] = 1;
    packet.extend_from_slice(b"\0\0\x29\x10\0\0\0\0\0\0\0");
    let answer = responder.answer(&packet, Transport::Udp).unwrap();
    assert_eq!(head(&answer), (0x8500, [1, 2, 0, 1]));
    assert!(answer.ends_with(b"\0\0\x29\x04\xd0\0\0\0\0\0\0"), "{}", answer.escape_ascii());
}

#[test]
fn other_classes_and_operations_are_not_ours() {
    let mut responder = responder(NONE);
    let mut chaos = query("a.x.test", TXT);
    let last = chaos.len() - 1;
    chaos[last] = 3;
    assert_eq!(head(&responder.answer(&chaos, Transport::Udp).unwrap()).0, 0x8105);
    let mut status = query("a.x.test", A);
    status[2] = 0x11;
    assert_eq!(head(&responder.answer(&status, Transport::Udp).unwrap()).0, 0x9104);
    let mut two = query("a.x.test", A);
    two[5] = 2;
    let question = two[12..].to_vec();
    two.extend_from_slice(&question);
    assert_eq!(head(&responder.answer(&two, Transport::Udp).unwrap()).0, 0x8101);
}

#[test]
fn faults_strike_as_often_as_asked() {
    let asked = query("a.x.test", MX);
    let strike = |faults, transport| {
        let mut responder = responder(faults);
        for _ in 0..10_000 {
            responder.answer(&asked, transport);
        }
        responder.totals()
    };
    let some = strike(Faults { lose: 100, servfail: 100, truncate: 100 }, Transport::Udp);
    for count in [some.lost, some.servfail, some.truncated] {
        assert!((700..1300).contains(&count), "{some}");
    }
    let all = Faults { lose: 1000, servfail: 0, truncate: 1000 };
    assert_eq!(strike(all, Transport::Udp).lost, 10_000);
    let tcp = strike(all, Transport::Tcp);
    assert_eq!((tcp.lost, tcp.truncated, tcp.answered), (0, 0, 10_000));

    let mut responder = responder(Faults { truncate: 1000, ..NONE });
    let short = responder.answer(&asked, Transport::Udp).unwrap();
    assert_eq!(head(&short), (0x8700, [1, 0, 0, 0]));
}

#[test]
fn what_does_not_fit_a_datagram_is_truncated() {
    let mut responder = responder(NONE);
    // Each alias repeats 60 octets of a name that compression finds only in part.
    let name = format!("{}a.x.test", "cname-".repeat(10));
    let name = format!("{name}.{}.x.test", "y".repeat(63));
    let asked = query(&name, MX);
    let whole = responder.answer(&asked, Transport::Tcp).unwrap();
    assert!(whole.len() > 512, "{}", whole.len());
    assert_eq!(head(&whole).1[1], 12);
    let short = responder.answer(&asked, Transport::Udp).unwrap();
    assert_eq!(head(&short), (0x8700, [1, 0, 0, 0]));
}

#[test]
fn nonsense_is_refused_or_ignored() {
    let mut responder = responder(NONE);
    let whole = query("a.x.test", MX);
    for end in 0..whole.len() {
        let answer = responder.answer(&whole[..end], Transport::Udp);
        match answer {
            None => assert!(end < 12),
            Some(answer) => {
                assert_eq!(answer[3] & 15, 1, "FORMERR for {end} octets");
                assert!(end >= 12);
            }
        }
    }
    let mut answer = whole.clone();
    answer[2] |= 0x80;
    assert_eq!(responder.answer(&answer, Transport::Udp), None, "an answer to an answer");
    answer.truncate(14);
    assert_eq!(responder.answer(&answer, Transport::Udp), None, "nor to a broken one");

    // Bytes at random, alone and in place of some of a query's: nothing of it may panic.
    let mut dice = fastrand::Rng::with_seed(7);
    for round in 0..200_000 {
        let mut packet = whole.clone();
        if round % 2 == 0 {
            packet = (0..dice.usize(..80)).map(|_| dice.u8(..)).collect();
        } else {
            for _ in 0..dice.usize(1..4) {
                let at = dice.usize(..packet.len());
                packet[at] = dice.u8(..);
            }
        }
        responder.answer(&packet, Transport::Udp);
    }
    let answer = responder.answer(&whole, Transport::Udp).unwrap();
    assert_eq!(head(&answer), (0x8500, [1, 2, 0, 0]));
}
