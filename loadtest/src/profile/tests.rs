//! Shipped profiles read, and broken files are told of with every mistake and its place.

use super::*;
use crate::profile::mail::{Crowd, Kind, Permille, Span};

const GOOD: &str = "why = \"x\"\n\
                    [mail]\n\
                    sizes = [{ bytes = [1_000, 2_000], weight = 3 }, { bytes = 9, weight = 1 }]\n\
                    recipients = [{ count = 1, weight = 1 }]\n\
                    kinds = [{ kind = \"plain\", weight = 1 }]\n\
                    senders = { count = 3 }\n\
                    domains = { count = 1_000_000, skew = 1.5 }\n";

/// The problems of the good file with `old` replaced by `new`.
fn problems(old: &str, new: &str) -> Vec<String> {
    assert!(GOOD.contains(old), "{old}");
    Profile::parse("p.toml", &GOOD.replacen(old, new, 1)).expect_err(new)
}

#[test]
fn shipped_profiles_read_and_say_what_they_are_for() {
    assert_eq!(shipped().len(), SHIPPED.len());
    for (name, _) in SHIPPED {
        assert!(Profile::load(name).unwrap().why.len() > 20, "{name}");
    }
    let small = Profile::load(DEFAULT).unwrap().mail;
    assert_eq!(small.sizes[0].bytes, Span::fixed(4096));
    assert_eq!((small.senders.count, small.domains.count), (10, 10));
}

#[test]
fn what_is_written_is_what_is_read() {
    let mail = Profile::parse("p.toml", GOOD).unwrap().mail;
    assert_eq!(mail.sizes[0].bytes, Span { from: 1000, to: 2000 });
    assert_eq!((mail.sizes[1].bytes, mail.sizes[0].weight), (Span::fixed(9), 3));
    assert_eq!(mail.kinds[0].kind, Kind::Plain);
    assert_eq!(mail.senders, Crowd { count: 3, skew: 0.0 });
    assert_eq!(mail.domains, Crowd { count: 1_000_000, skew: 1.5 });
    assert_eq!(mail.smtputf8, Permille(0));
}

#[test]
fn a_profile_without_mail_is_about_sites() {
    let profile =
        Profile::parse("p.toml", "why = \"x\"\n[[site]]\nname = \"a\"\nshare = 5\n").unwrap();
    assert_eq!(profile.mail, Profile::load(DEFAULT).unwrap().mail);
}

#[test]
fn mistakes_in_mail_and_sites_are_told_together() {
    let text = format!("{}[[site]]\nname = \"a\"\nshare = 1001\n", GOOD.replace("why", "wry"));
    let told = Profile::parse("p.toml", &text).unwrap_err();
    assert!(told.iter().any(|line| line.contains("`wry`")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("1000")), "{told:?}");
    let expected = ["p.toml:1:8: `site` is not a list of tables: [[site]]"];
    assert_eq!(Profile::parse("p.toml", &format!("site = 1\n{GOOD}")).unwrap_err(), expected);
}

/// A line of the good file, what somebody wrote in its place, and what he is told.
#[test]
fn a_mistake_is_told_with_its_place_and_what_is_allowed() {
    let sizes = "a list of { bytes = N or [FROM, TO], weight = W }, bytes 0 to 67108864, \
                 weight 1 to 1000000";
    let crowd = "{ count = N, skew = S }, count 1 to 1000000, skew 0.0 (even) to 4.0";
    let counts =
        "a list of { count = N or [FROM, TO], weight = W }, count 1 to 1000, weight 1 to 1000000";
    let kinds = "a list of { kind = \"NAME\", weight = W } with or without bytes = N or \
                 [FROM, TO]; plain, contact-form, newsletter, invoice, password-reset, \
                 correspondence, cron; bytes 0 to 67108864, weight 1 to 1000000";
    let table = [
        ("why = \"x\"\n", "", "1:1: `why` is missing in the file", "a text in quotes"),
        ("\"x\"", "\" \"", "1:7: `why`: it is empty", "a text in quotes"),
        (
            "\"x\"",
            "7",
            "1:7: `why`: invalid type: integer `7`, expected a string",
            "a text in quotes",
        ),
        ("why", "when = 1\nwhy", "1:1: unknown key `when` in the file", "why, mail, site"),
        ("[mail]", "[[mail]]", "2:1: `mail` is not a table", "[mail]"),
        ("[1_000, 2_000]", "[2, 1]", "3:10: `sizes`: bytes is a range from 2 down to 1", sizes),
        (
            "[1_000, 2_000]",
            "[1]",
            "3:20: `sizes`: invalid length 1, expected a whole number or [from, to]",
            sizes,
        ),
        (
            "[1_000, 2_000]",
            "[1, 2, 3]",
            "3:20: `sizes`: invalid length 3, expected a whole number or [from, to]",
            sizes,
        ),
        (
            "[1_000, 2_000]",
            "-1",
            "3:20: `sizes`: invalid value: integer `-1`, expected a whole number or [from, to]",
            sizes,
        ),
        (
            "[1_000, 2_000]",
            "\"4k\"",
            "3:20: `sizes`: invalid type: string \"4k\", expected a whole number or [from, to]",
            sizes,
        ),
        ("[1_000, 2_000]", "67108865", "3:10: `sizes`: bytes is 67108865", sizes),
        ("weight = 3", "weight = 0", "3:10: `sizes`: weight is 0", sizes),
        (", weight = 3", "", "3:10: `sizes`: missing field `weight`", sizes),
        (
            "weight = 3",
            "wight = 3",
            "3:36: `sizes`: unknown field `wight`, expected `bytes` or `weight`",
            sizes,
        ),
        ("count = 1,", "count = 0,", "4:15: `recipients`: count is 0", counts),
        (
            "[{ count = 1, weight = 1 }]",
            "[]",
            "4:14: `recipients` is not a list of one or more",
            counts,
        ),
        (
            "[{ count = 1, weight = 1 }]",
            "1",
            "4:14: `recipients` is not a list of one or more",
            counts,
        ),
        (
            "\"plain\"",
            "\"spam\"",
            "5:19: `kinds`: unknown variant `spam`, expected one of `plain`, `contact-form`, `newsletter`, `invoice`, `password-reset`, `correspondence`, `cron`",
            kinds,
        ),
        (
            "{ count = 3 }",
            "3",
            "6:11: `senders`: invalid type: integer `3`, expected struct Crowd",
            crowd,
        ),
        ("{ count = 3 }", "{ count = 1000001 }", "6:11: `senders`: count is 1000001", crowd),
        ("skew = 1.5", "skew = -0.5", "7:11: `domains`: skew is -0.5", crowd),
        ("skew = 1.5", "skew = nan", "7:11: `domains`: skew is NaN", crowd),
        (
            "senders",
            "eight-bit-permille = 1001\nsenders",
            "6:22: `eight-bit-permille`: it is 1001",
            "a whole number from 0 to 1000",
        ),
        (
            "kinds",
            "smtputf8-permille = -1\nkinds",
            "5:21: `smtputf8-permille`: invalid value: integer `-1`, expected u16",
            "a whole number from 0 to 1000",
        ),
        (
            "senders",
            "size = 1\nsenders",
            "6:1: unknown key `size` in [mail]",
            "sizes, recipients, kinds, senders, domains, hacked-senders-permille, eight-bit-permille, smtputf8-permille",
        ),
    ];
    for (old, new, what, allowed) in table {
        assert_eq!(problems(old, new), [format!("p.toml:{what}; allowed: {allowed}")], "{new}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[mail]\nsizes = [{ bytes = -1, weight = 1 }, { bytes = 1, weight = 0 }]\n\
                kinds = []\nsenders = 1\n\"größe\" = 1\n[more]\n";
    let problems = Profile::parse("p.toml", text).unwrap_err();
    let places: Vec<&str> =
        problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    let expected = ["1:1", "1:1", "1:1", "2:20", "2:38", "3:9", "4:11", "5:1", "6:2"]
        .map(|place| format!("p.toml:{place}"));
    assert_eq!(places, expected, "{problems:#?}");
}

#[test]
fn a_file_that_is_no_toml_is_told_of_as_such() {
    let problems = Profile::parse("p.toml", "why = \"x\"\n[mail\n").unwrap_err();
    assert!(problems[0].starts_with("p.toml:2:"), "{problems:?}");
    assert!(problems[0].contains("not TOML: "), "{problems:?}");
}

#[test]
fn a_name_that_is_none_is_told_what_there_is() {
    let error = Profile::load("hosting").unwrap_err().to_string();
    assert!(
        error.starts_with("no profile \"hosting\"; allowed: the path of a file, or\n  small: ")
    );
    assert!(error.contains("\n  hosting-day: "), "{error}");
    assert!(matches!(Profile::load("./missing.toml"), Err(Error::File { .. })));
}
