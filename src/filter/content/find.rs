//! Links in plain text: with a scheme, with `www.`, or a bare domain name of a known top level.
//!
//! Mail clients make links of these too, so a message needs no HTML to lead somewhere. One pass from
//! dot to dot and colon to colon; each octet is looked at a bounded number of times. Knows the top
//! levels that count for bare names: those of countries and the larger ones, without those that are
//! endings of files (`readme.md`, `run.sh`).

use super::limits::ContentLimits;
use super::link::{Links, Origin};
use super::sign::Facts;
use memchr::memchr2_iter;

/// Octets of one link in text.
const TOKEN_BYTES_MAX: usize = 2_048;
/// Octets before the first dot or colon of one: a label of DNS, or a user name before an `@`.
const HEAD_BYTES_MAX: usize = 128;

/// Adds all links of `text` to `links`.
pub(super) fn links(text: &str, links: &mut Links, limits: &ContentLimits, facts: &mut Facts) {
    let octets = text.as_bytes();
    let mut from = 0;
    for at in memchr2_iter(b'.', b':', octets) {
        if at < from {
            continue;
        }
        let scheme = octets[at] == b':' && octets[at..].starts_with(b"://");
        let dot = octets[at] == b'.'
            && octets.get(at + 1).is_some_and(|next| next.is_ascii_alphanumeric() || *next >= 0x80)
            && at > from
            && (octets[at - 1].is_ascii_alphanumeric() || octets[at - 1] >= 0x80);
        if !scheme && !dot {
            continue;
        }
        let token = token(text, from, at);
        from = token.end;
        if let Some(link) = link_of(&text[token]) {
            links.add(&link, Origin::Text, limits, facts);
            if links.count > limits.links_max {
                return;
            }
        }
    }
}

/// The word around `at`, not before `from`.
fn token(text: &str, from: usize, at: usize) -> std::ops::Range<usize> {
    let octets = text.as_bytes();
    let ends = |octet: &u8| *octet <= b' ' || b"<>\"'()[]{}|`,;\\".contains(octet);
    let floor = from.max(at.saturating_sub(HEAD_BYTES_MAX));
    let mut start =
        octets[floor..at].iter().rposition(ends).map_or(floor, |place| floor + place + 1);
    let ceiling = octets.len().min(at + TOKEN_BYTES_MAX);
    let mut end = octets[at..ceiling].iter().position(ends).map_or(ceiling, |length| at + length);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    start.min(end)..end
}

/// The word as a link, or nothing.
fn link_of(word: &str) -> Option<String> {
    let word = word.trim_end_matches(['.', ':', '!', '?', '*', '_', '…', '。']);
    if let Some(at) = word.find("://") {
        let start = word[..at].rfind(|letter: char| !letter.is_ascii_alphabetic());
        let start =
            start.map_or(0, |place| place + word[place..].chars().next().map_or(1, char::len_utf8));
        let known = ["http", "https", "ftp", "hxxp", "hxxps"];
        let scheme = &word[start..at];
        if !known.iter().any(|name| scheme.eq_ignore_ascii_case(name)) {
            return None;
        }
        return Some(word[start..].to_owned());
    }
    let word = word.trim_start_matches(['*', '_', '-', '/', '=', ':']);
    let host = &word[..word.find(['/', ':', '?', '#']).unwrap_or(word.len())];
    if host.contains('@') || !is_known_domain(host) {
        return None;
    }
    Some(format!("http://{word}"))
}

/// Whether a text can be a host of a known top level.
pub(super) fn is_known_domain(host: &str) -> bool {
    let Some((name, top)) = host.rsplit_once('.') else {
        return false;
    };
    let letter = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    let labels = |name: &str| {
        name.split('.')
            .all(|label| !label.is_empty() && label.len() <= 63 && label.chars().all(letter))
    };
    if name.len() > 200 || !labels(name) || name.bytes().all(|octet| octet.is_ascii_digit()) {
        return false;
    }
    let mut lower = [0u8; 16];
    let Some(lower) = lower.get_mut(..top.len()) else {
        return false;
    };
    lower.copy_from_slice(top.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).is_ok_and(|top| TOPS.binary_search(&top).is_ok())
}

/// Sorted.
#[rustfmt::skip]
const TOPS: &[&str] = &[
    "ac", "ad", "ae", "aero", "af", "ag", "agency", "al", "am", "ao", "app", "ar", "art", "asia",
    "at", "au", "az", "ba", "bank", "bar", "bd", "be", "best", "bg", "bh", "bid", "biz", "blog",
    "bn", "bo", "br", "bs", "buzz", "bw", "by", "bz", "ca", "care", "cat", "cc", "cd", "center",
    "cf", "cfd", "ch", "ci", "cl", "click", "cloud", "club", "cm", "cn", "co", "com", "company",
    "cr", "cu", "cv", "cx", "cy", "cyou", "cz", "date", "de", "design", "dev", "digital", "dk",
    "dm", "do", "download", "dz", "ec", "edu", "ee", "eg", "email", "es", "et", "eu", "example",
    "expert", "express", "fi", "finance", "fit", "fj", "fm", "fo", "fr", "fun", "ga", "gal", "ge",
    "gg", "gh", "gi", "gl", "global", "gm", "gov", "gp", "gq", "gr", "group", "gt", "gy", "help",
    "hk", "hn", "host", "hr", "ht", "hu", "icu", "id", "ie", "il", "im", "in", "info", "ink",
    "int", "io", "ir", "is", "it", "je", "jm", "jo", "jobs", "jp", "ke", "kg", "kh", "kim", "kr",
    "kw", "ky", "kz", "la", "lat", "lb", "lc", "li", "life", "link", "live", "lk", "loan", "lol",
    "ls", "lt", "ltd", "lu", "lv", "ly", "ma", "market", "mc", "me", "media", "men", "mg", "mil",
    "mk", "ml", "mm", "mn", "mo", "mobi", "mom", "monster", "mt", "mu", "museum", "mv", "mw", "mx",
    "my", "mz", "na", "name", "nc", "net", "network", "news", "ng", "ni", "ninja", "nl", "no", "np",
    "nu", "nz", "om", "one", "online", "org", "ovh", "pa", "page", "party", "pe", "pg", "photo",
    "photos", "pics", "pk", "plus", "pm", "pr", "press", "pro", "ps", "pt", "pub", "pw", "qa",
    "qpon", "quest", "racing", "re", "rest", "review", "ro", "rocks", "ru", "run", "rw", "sa",
    "sbs", "sc", "sd", "se", "services", "sg", "shop", "si", "site", "sk", "sl", "sm", "sn",
    "social", "solutions", "space", "sr", "store", "stream", "studio", "su", "support", "surf",
    "sv", "sy", "systems", "tc", "team", "tech", "tel", "test", "tg", "th", "tips", "tj", "tk",
    "tl", "tm", "tn", "to", "today", "tokyo", "top", "tr", "trade", "travel", "tt", "tv", "tw",
    "tz", "ua", "ug", "uk", "uno", "us", "uy", "uz", "vc", "ve", "vg", "vip", "vn", "vu", "wang",
    "website", "wiki", "win", "work", "works", "world", "ws", "xin", "xxx", "xyz", "ye", "yt", "za",
    "zm", "zone", "zw",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_people_write_them() {
        let rows: &[(&str, &[&str])] = &[
            ("see https://a.test/x?y=1.", &["https://a.test/x"]),
            ("(www.shop.example)", &["http://www.shop.example"]),
            ("go to shop.example/now, please", &["http://shop.example/now"]),
            ("mail joe@shop.example today", &[]),
            ("a readme.md and run.sh and x.pdf", &[]),
            ("End of it.Next one e.g. this 3.14", &[]),
            ("<http://a.test> \"http://b.test\"", &["http://a.test", "http://b.test"]),
            ("x:http://a.test", &["http://a.test"]),
            ("HTTP://A.TEST/Path", &["http://a.test/Path"]),
            ("javascript://a.test", &[]),
            ("1.2.3.4", &[]),
            ("http://1.2.3.4/", &["http://1.2.3.4/"]),
        ];
        for (text, expected) in rows {
            let (mut found, mut facts) = (Links::default(), Facts::default());
            links(text, &mut found, &ContentLimits::STANDARD, &mut facts);
            let list: Vec<String> = found.kept().iter().map(ToString::to_string).collect();
            assert_eq!(list, *expected, "{text}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(TOPS.is_sorted());
    }
}
