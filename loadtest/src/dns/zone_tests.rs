//! Tests of the zone: what each kind of name has, and that sites stay where they are.

use super::*;
use std::collections::BTreeMap;

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn zone(sites: u64) -> Zone {
    Zone {
        suffix: name("x.test"),
        sites,
        addresses: Addresses::One,
        families: Families::Ipv4,
        ttl_s: 60,
    }
}

/// What a look-up finds, as `alias > alias > end`.
fn found(zone: &Zone, text: &str, kind: RecordType) -> String {
    let Found { aliases, end } = zone.look_up(&name(text), kind);
    let print = |record: &Record| {
        assert_eq!(record.ttl, 60);
        record.data.to_string()
    };
    let mut parts: Vec<String> = aliases.iter().map(print).collect();
    parts.push(match end {
        End::Records(records) => records.iter().map(print).collect::<Vec<_>>().join(", "),
        other => format!("{other:?}"),
    });
    parts.join(" > ")
}

#[test]
fn every_kind_of_name_has_its_records() {
    let zone = zone(0);
    use RecordType::{A, AAAA, CNAME, MX, TXT};
    for (text, kind, expected) in [
        ("a.x.test", MX, "10 mx0.a.x.test., 20 mx1.a.x.test."),
        ("deep.a.x.test", MX, "10 mx0.deep.a.x.test., 20 mx1.deep.a.x.test."),
        ("x.test", MX, "10 mx0.x.test., 20 mx1.x.test."),
        ("a.x.test", A, "NoData"),
        ("a.x.test", TXT, "NoData"),
        ("mx0.a.x.test", A, "127.0.0.1"),
        ("MX1.A.X.TEST", A, "127.0.0.1"),
        ("mx0.a.x.test", AAAA, "NoData"),
        ("mx0.a.x.test", MX, "NoData"),
        ("mx2.a.x.test", A, "NoData"),
        ("nx-a.x.test", MX, "NoName"),
        ("NX-a.x.test", A, "NoName"),
        ("nx-.x.test", MX, "10 mx0.nx-.x.test., 20 mx1.nx-.x.test."),
        ("nullmx-a.x.test", MX, "0 ."),
        ("nullmx-a.x.test", A, "NoData"),
        ("nomx-a.x.test", MX, "NoData"),
        ("nomx-a.x.test", A, "127.0.0.1"),
        ("servfail-a.x.test", MX, "Failure"),
        ("lost-a.x.test", A, "Silence"),
        ("cname-a.x.test", MX, "a.x.test. > 10 mx0.a.x.test., 20 mx1.a.x.test."),
        ("cname-cname-nx-a.x.test", MX, "cname-nx-a.x.test. > nx-a.x.test. > NoName"),
        ("cname-nomx-a.x.test", A, "nomx-a.x.test. > 127.0.0.1"),
        ("cname-a.x.test", CNAME, "a.x.test."),
        ("x.test.other", MX, "Elsewhere"),
        ("test", MX, "Elsewhere"),
        ("ax.test", MX, "Elsewhere"),
    ] {
        assert_eq!(found(&zone, text, kind), expected, "{text} {kind}");
    }
}

#[test]
fn both_families_are_two_kinds_of_record() {
    let both = Zone { families: Families::Both, ..zone(0) };
    assert_eq!(found(&both, "mx0.a.x.test", RecordType::AAAA), "::1");
    assert_eq!(found(&both, "nomx-a.x.test", RecordType::AAAA), "::1");
    assert_eq!(found(&both, "mx0.a.x.test", RecordType::A), "127.0.0.1");
}

#[test]
fn sites_share_the_domains_evenly_and_for_ever() {
    let zone = zone(20);
    let mut domains: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..20_000 {
        let exchanges = found(&zone, &format!("d{number}.x.test"), RecordType::MX);
        *domains.entry(exchanges).or_default() += 1;
    }
    assert_eq!(domains.len(), 20);
    assert!(domains.values().all(|count| (850..1150).contains(count)), "{domains:?}");
    // Fixed values: another hash would be another internet.
    for (text, site) in [("d0.x.test", 5), ("D1.X.test", 0), ("shop.example.x.test", 16)] {
        let expected = format!("10 mx0.site{site}.x.test., 20 mx1.site{site}.x.test.");
        assert_eq!(found(&zone, text, RecordType::MX), expected, "{text}");
    }
}

#[test]
fn a_spread_gives_every_host_its_own_loopback_address() {
    let zone = Zone { addresses: Addresses::Spread, ..zone(2000) };
    let mut addresses: Vec<String> = (0..2000)
        .flat_map(|site| [format!("mx0.site{site}.x.test"), format!("mx1.site{site}.x.test")])
        .map(|host| found(&zone, &host, RecordType::A))
        .collect();
    assert_eq!(addresses[..3], ["127.64.0.0", "127.64.0.1", "127.64.0.2"]);
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4000);
    for far in ["mx1.site18446744073709551615.x.test", "mx0.site99999999999999999999.x.test"] {
        let address: Ipv4Addr = found(&zone, far, RecordType::A).parse().unwrap();
        assert_eq!(address.octets()[0], 127);
        assert!((64..128).contains(&address.octets()[1]), "{address}");
    }
}

#[test]
fn a_name_without_room_for_hosts_has_none() {
    let zone = zone(0);
    let label = "l".repeat(60);
    let long = format!("{}{label}.{label}.{label}.x.test", "y".repeat(60));
    let fits = format!("{label}.{label}.{label}.{}.x.test", "y".repeat(52));
    assert!(found(&zone, &fits, RecordType::MX).starts_with("10 mx0."));
    let over = format!("{label}.{label}.{label}.{}.x.test", "y".repeat(62));
    assert_eq!(found(&zone, &over, RecordType::MX), "NoName");
    assert!(Name::from_ascii(&long).is_err(), "a label has 63 octets");
}
