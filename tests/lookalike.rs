//! Are look-alikes of brands found, and their innocent neighbours left alone?
//!
//! The cases are `tables/lookalike.txt`. Beside it: what holds for any brand and any name, and what a
//! broken file of brands is answered.

use baton::filter::lookalike::{Brands, How, Resemblance, Strength};
use proptest::prelude::*;
use std::collections::BTreeMap;

const TABLE: &str = include_str!("tables/lookalike.txt");

fn rows() -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let lines = TABLE.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let (given, expected) =
            line.split_once(" => ").unwrap_or_else(|| panic!("line {number}: no =>"));
        (number, given, expected)
    })
}

/// Replaces `\u{..}` by the character.
fn unescape(text: &str) -> String {
    let mut pieces = text.split("\\u{");
    let mut written = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_once('}').expect("\\u{ is closed");
        let number = u32::from_str_radix(digits, 16).expect("hexadecimal");
        written.push(char::from_u32(number).expect("a character"));
        written.push_str(rest);
    }
    written
}

fn answer(given: &str) -> Option<Resemblance> {
    let brands = Brands::shipped();
    let (what, rest) = given.split_once(' ').expect("a word and a name");
    match what {
        "domain" => brands.resembles(&unescape(rest)),
        "display" => {
            let (name, domain) = rest.rsplit_once(' ').expect("a name and a domain");
            brands.claimed_by_name(&unescape(name.trim_matches('"')), domain)
        }
        "mailbox" => {
            let (local, domain) = rest.split_once('@').expect("an address");
            brands.claimed_by_mailbox(local, domain)
        }
        other => panic!("unknown word {other}"),
    }
}

fn shown(found: Option<&Resemblance>) -> String {
    match found {
        None => "-".to_owned(),
        Some(Resemblance { how, strength, brand, .. }) => {
            format!("{} {} {brand}", how.name(), strength.name())
        }
    }
}

#[test]
fn names_follow_the_table() {
    let mut wrong = Vec::new();
    for (number, given, expected) in rows() {
        let found = answer(given);
        let shown = shown(found.as_ref());
        if shown != expected {
            let part = found.map(|found| found.part);
            wrong.push(format!("line {number}: {given} => {shown} {part:?}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_has_each_way_and_many_neighbours() {
    let (mut ways, mut innocent) = (BTreeMap::new(), 0);
    for (_, _, expected) in rows() {
        match expected.split_once(' ') {
            Some((how, _)) => *ways.entry(how).or_insert(0) += 1,
            None => innocent += 1,
        }
    }
    for how in How::ALL {
        let cases = ways.get(how.name()).copied().unwrap_or(0);
        assert!(cases >= 10, "{}: {cases} cases", how.name());
    }
    assert!(innocent >= 90, "{innocent} innocent rows");
}

#[test]
fn a_brand_is_innocent_in_its_own_domains() {
    let brands = Brands::shipped();
    assert!(brands.len() >= 250, "{} brands", brands.len());
    for (name, domain) in brands.domains() {
        for below in ["", "mail.", "secure.login."] {
            let host = format!("{below}{domain}");
            assert_eq!(brands.resembles(&host), None, "{host} of {name}");
        }
    }
}

/// Each brand with a distinct name is found when somebody else takes it.
#[test]
fn every_brand_is_looked_for() {
    let brands = Brands::shipped();
    let mut names: Vec<&str> = brands.domains().map(|(name, _)| name).collect();
    names.dedup();
    assert_eq!(names.len(), brands.len());
    let claimed = |name: &&str| {
        let display = format!("{name} Security Login");
        brands.claimed_by_name(&display, "customers.example").is_some()
    };
    let missed: Vec<&str> = names.into_iter().filter(|name| !claimed(name)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn what_is_allowed_or_the_customers_own_is_never_flagged() {
    let text = r#"
        strong-bait = ["login"]
        [[brand]]
        name = "Acme"
        words = ["acme"]
        domains = ["acme.example"]
    "#;
    let brands = Brands::compile(text).expect(text).allowing(["acme-login.test"]);
    let strong = |domain: &str| brands.resembles(domain).map(|found| found.strength);
    assert_eq!(strong("login-acme.test"), Some(Strength::Strong));
    assert_eq!(strong("acme-login.test"), None);
    assert_eq!(strong("www.acme-login.test"), None);
    assert_eq!(strong("x-acme-login.test"), Some(Strength::Strong));
    assert_eq!(brands.resembles_unless_own("login-acme.test", &["login-acme.test"]), None);
    assert_eq!(brands.resembles_unless_own("a.login-acme.test", &["Login-Acme.Test."]), None);
    assert!(brands.resembles_unless_own("login-acme.test", &["acme.test"]).is_some());
    assert_eq!(brands.claimed_by_name("Acme", "acme-login.test"), None);
    assert!(brands.claimed_by_name("Acme", "login-acme.test").is_some());
}

#[test]
fn a_broken_file_is_told_where_and_what_is_allowed() {
    let brand = |lines: &str| format!("[[brand]]\n{lines}\n");
    let rows = [
        ("brand = 1".to_owned(), "b.toml:1:9: invalid type"),
        ("x = [\n".to_owned(), "b.toml:"),
        ("colour = []\nbrand = []".to_owned(), "b.toml:1:1: unknown field `colour`"),
        (brand("name = \"A\"\nwords = [\"acme\"]"), "b.toml:1:1: missing field `domains`"),
        (
            brand("name = \"A\"\nwords = [\"ac\"]\ndomains = [\"a.test\"]"),
            "b.toml:3:10: `ac` is no word to look for; allowed: ASCII with 3 to 40",
        ),
        (
            brand("name = \"A\"\nwords = [\"acm\u{e9}\"]\ndomains = [\"a.test\"]"),
            "b.toml:3:10: `acm\u{e9}` is no word to look for",
        ),
        (
            brand("name = \"A\"\nwords = [\"acme\"]\ndomains = [\"A.test\"]"),
            "b.toml:4:12: `A.test` is no domain; allowed: labels",
        ),
        (brand("name = \"A\"\nwords = [\"acme\"]\ndomains = []"), "b.toml:1:1: `A` has no domain"),
        (brand("name = \"A\"\ndomains = [\"a.test\"]"), "b.toml:1:1: `A` has no word"),
        (
            brand("name = \"\"\nwords = [\"acme\"]\ndomains = [\"a.test\"]"),
            "b.toml:2:8: `` is no name of a brand",
        ),
        (
            brand("name = \"A\"\nwords = [\"acme\"]\ndomains = [\"a.test\"]")
                + &brand("name = \"B\"\nwords = [\"ac me\"]\ndomains = [\"b.test\"]"),
            "b.toml:7:10: `ac me` is a word of A already; allowed: each word once",
        ),
        (
            "weak-bait = [\"Help\"]\nbrand = []".to_owned(),
            "b.toml:1:14: `Help` is no bait to look for; allowed: 2 to 40",
        ),
    ];
    for (text, start) in rows {
        let problem = Brands::compile_named("b.toml", &text).expect_err(&text).to_string();
        assert!(problem.starts_with(start), "{problem}\nnot {start}\n{text}");
        assert!(problem.contains("; allowed: "), "{problem}");
    }
    assert!(Brands::compile("brand = []").expect("nothing to find").is_empty());
}

/// Letters that names are faked with, and what parts them.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("paypal".to_owned()),
        Just("login-".to_owned()),
        Just(".".to_owned()),
        Just("xn--".to_owned()),
        Just("-".to_owned()),
        Just("\u{0}".to_owned()),
        Just("com".to_owned()),
        Just("\u{fdfa}\u{200b}\u{301}".to_owned()),
        "[a-z0-9.-]{0,20}",
        "\\PC{0,8}",
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_name_is_answered(name in hostile(), domain in hostile()) {
        let brands = Brands::shipped();
        let answers = [
            brands.resembles(&name),
            brands.claimed_by_name(&name, &domain),
            brands.claimed_by_name(&name, "customers.example"),
            brands.claimed_by_mailbox(&name, "gmail.com"),
        ];
        for found in answers.into_iter().flatten() {
            prop_assert!(found.part.len() <= 520 && found.part.is_ascii(), "{:?}", found);
        }
    }
}

#[test]
fn long_names_are_answered_too() {
    let brands = Brands::shipped();
    let long = ["a", "paypal-", "paypal.", "loginlogin", "\u{430}", "xn--", ".", "ing", "0"];
    for piece in long {
        let name = piece.repeat(1_000_000 / piece.len());
        assert_eq!(brands.resembles(&name), None, "{piece}");
        // A display name is looked at from its head.
        brands.claimed_by_name(&name, "customers.example");
        brands.claimed_by_mailbox(&name, "gmail.com");
        let short: String = name.chars().take(253).collect();
        brands.resembles(&short);
    }
}
