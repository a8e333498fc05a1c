//! Spam traps: addresses and domains that nobody gave to an honest sender.
//!
//! A list is a text file, one entry a line: `user@domain`, or `@domain` for all of a domain. A list
//! that may not be read by those who hold it has the line `sha256 SALT` (hexadecimal digits, or `-`
//! for none) before its entries, and entries are then SHA-256 of the salt's octets and the entry in
//! its normal form: 64 hexadecimal digits, or the first 32. Lines that begin with `#` are comments.
//! A bad line refuses the list as a whole: half a list would look like a whole one.
//!
//! In memory every list is such a list: 16 octets an entry, sorted, found by the first octets. 128
//! bits of SHA-256 are exact for all purposes: of ten million entries one address in 10^31 would be
//! taken for another. Lists are built once and shared; whoever holds them swaps them as a whole.
//!
//! Normal form: small letters, the domain in ASCII (UTS 46). A tag behind `+` is looked up with and
//! without; dots in the local part count, since only some receivers ignore them.

use crate::message::Address;
use memchr::memchr_iter;
use ring::digest::{Context, SHA256};
use std::borrow::Cow;
use std::fmt;

/// Entries of one list; 1 GiB of memory.
const ENTRIES_MAX: usize = 64 << 20;
/// Problems told of one file: who pastes the wrong file needs no list of its lines.
const PROBLEMS_MAX: usize = 20;
const LINE_BYTES_MAX: usize = 512;
const SALT_BYTES_MAX: usize = 64;
const SHOWN_LETTERS_MAX: usize = 60;

/// The first half of the digest.
type Key = [u8; 16];

/// All lists of a relay. Empty: nobody is a trap.
#[derive(Debug, Default)]
pub struct Traps {
    lists: Vec<List>,
}

/// One list, ready to be asked.
#[derive(Debug)]
pub struct List {
    name: Box<str>,
    salt: Box<[u8]>,
    /// Sorted, each once.
    keys: Vec<Key>,
    /// Where the keys that begin with these `prefix_bits` begin, and one more for their end.
    starts: Vec<u32>,
    prefix_bits: u32,
}

/// How an address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Address,
    /// Without the tag behind its `+`.
    Untagged,
    Domain,
}

impl How {
    pub const ALL: [How; 3] = [How::Address, How::Untagged, How::Domain];

    pub const fn name(self) -> &'static str {
        match self {
            How::Address => "address",
            How::Untagged => "untagged",
            How::Domain => "domain",
        }
    }
}

/// A recipient that is a trap. Says which list and how, never which entry: a trap that is known is
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    pub list: &'a str,
    pub how: How,
}

/// A line that is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub what: String,
    pub allowed: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; allowed: {}", self.file, self.line, self.what, self.allowed)
    }
}

impl std::error::Error for BadLine {}

impl Traps {
    pub fn new(lists: Vec<List>) -> Traps {
        Traps { lists }
    }

    /// The first list that has the recipient. About half a microsecond for each list.
    pub fn hit(&self, recipient: &Address) -> Option<Hit<'_>> {
        if self.lists.is_empty() || recipient.domain().is_empty() {
            return None;
        }
        let domain = normal_domain(recipient.domain())?;
        let local = recipient.local().to_lowercase();
        let whole = format!("{local}@{domain}");
        let untagged = local.split_once('+').map(|(name, _)| format!("{name}@{domain}"));
        let asked = [
            (How::Address, Some(whole.as_str())),
            (How::Untagged, untagged.as_deref()),
            (How::Domain, Some(&whole[local.len()..])),
        ];
        self.lists.iter().find_map(|list| {
            let mut asked = asked.iter().filter_map(|(how, entry)| Some((*how, (*entry)?)));
            let (how, _) = asked.find(|(_, entry)| list.has(entry))?;
            Some(Hit { list: &list.name, how })
        })
    }
}

impl List {
    /// # Errors
    /// The first lines that are wrong; never empty.
    pub fn read(name: &str, file: &str, text: &[u8]) -> Result<List, Vec<BadLine>> {
        let mut salt: Box<[u8]> = Box::default();
        let mut coding = Coding::Plain;
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        let mut bad = |line, what: String, allowed| {
            problems.push(BadLine { file: file.to_owned(), line, what, allowed });
            problems.len() == PROBLEMS_MAX
        };
        for (number, line) in lines(text).enumerate() {
            let read = match line.strip_prefix(b"sha256 ") {
                Some(rest) if keys.is_empty() && coding == Coding::Plain => {
                    coding = Coding::Hashed;
                    parse_salt(rest).map(|read| salt = read)
                }
                Some(_) => Err(("a second `sha256` line, or one behind entries", SALT_ALLOWED)),
                None if line.is_empty() || line.starts_with(b"#") => Ok(()),
                None => coding.parse(line).map(|key| keys.push(key)),
            };
            let read = if keys.len() > ENTRIES_MAX { Err(TOO_MANY) } else { read };
            if let Err((what, allowed)) = read
                && bad(number + 1, format!("{what}: `{}`", shown(line)), allowed)
            {
                break;
            }
        }
        if problems.is_empty() { Ok(List::of(name, salt, keys)) } else { Err(problems) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Entries, each once.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn of(name: &str, salt: Box<[u8]>, mut keys: Vec<Key>) -> List {
        keys.sort_unstable();
        keys.dedup();
        keys.shrink_to_fit();
        // Eight keys to a prefix: one cache line or two.
        let prefix_bits = keys.len().div_ceil(8).next_power_of_two().trailing_zeros();
        let mut starts = vec![0_u32; (1 << prefix_bits) + 1];
        for key in &keys {
            starts[prefix(key, prefix_bits) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        List { name: name.into(), salt, keys, starts, prefix_bits }
    }

    fn has(&self, entry: &str) -> bool {
        let key = digest(&self.salt, entry);
        let at = prefix(&key, self.prefix_bits);
        let (from, to) = (self.starts[at] as usize, self.starts[at + 1] as usize);
        self.keys[from..to].contains(&key)
    }
}

type Wrong = (&'static str, &'static str);

const PLAIN_ALLOWED: &str = "user@domain, or @domain for all of it";
const HASHED_ALLOWED: &str =
    "64 hexadecimal digits, or the first 32, since the list begins with `sha256`";
const SALT_ALLOWED: &str =
    "once, before the entries: sha256 and a salt of up to 128 hexadecimal digits, or -";
const TOO_MANY: Wrong = ("too many entries", "67,108,864 in a list");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Hashed,
}

impl Coding {
    fn parse(self, line: &[u8]) -> Result<Key, Wrong> {
        match self {
            Coding::Plain => {
                let entry = parse_plain(line).ok_or(("no address or domain", PLAIN_ALLOWED))?;
                Ok(digest(b"", &entry))
            }
            Coding::Hashed => {
                let octets = from_hex(line).filter(|octets| matches!(octets.len(), 16 | 32));
                let octets = octets.ok_or(("no digest", HASHED_ALLOWED))?;
                Ok(octets[..16].try_into().expect("it has 16 or 32"))
            }
        }
    }
}

fn parse_plain(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (local, domain) = text.rsplit_once('@')?;
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != ',';
    if domain.is_empty() || !text.chars().all(plain) {
        return None;
    }
    Some(format!("{}@{}", local.to_lowercase(), normal_domain(domain)?))
}

fn parse_salt(text: &[u8]) -> Result<Box<[u8]>, Wrong> {
    if text == b"-" {
        return Ok(Box::default());
    }
    let salt = from_hex(text).filter(|salt| (1..=SALT_BYTES_MAX).contains(&salt.len()));
    salt.map(Vec::into_boxed_slice).ok_or(("no salt", SALT_ALLOWED))
}

/// In ASCII and small letters. A name that IDNA refuses is kept as it is: recipients at it are
/// compared alike.
fn normal_domain(domain: &str) -> Option<Cow<'_, str>> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() {
        return None;
    }
    if domain.bytes().all(|octet| {
        octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'-')
    }) {
        return Some(Cow::Borrowed(domain));
    }
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
    Some(Cow::Owned(ascii))
}

fn digest(salt: &[u8], entry: &str) -> Key {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(entry.as_bytes());
    context.finish().as_ref()[..16].try_into().expect("SHA-256 has 32 octets")
}

fn prefix(key: &Key, bits: u32) -> usize {
    let first = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    // A shift by all 32 bits is none in Rust.
    (u64::from(first) >> (32 - bits)) as usize
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.chunks(2).map(pair).collect()
}

/// Without their ends and the spaces around; an overlong one is cut, which makes it no entry.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', text).chain((!text.ends_with(b"\n")).then_some(text.len()));
    ends.map(move |end| {
        let line = &text[start..end];
        start = end + 1;
        line[..line.len().min(LINE_BYTES_MAX)].trim_ascii()
    })
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .take(SHOWN_LETTERS_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::address::parse_mailbox;
    use proptest::prelude::*;

    fn list(text: &str) -> List {
        List::read("own", "traps.txt", text.as_bytes()).unwrap()
    }

    fn address(text: &str) -> Address {
        parse_mailbox(text.as_bytes()).unwrap()
    }

    fn how(traps: &Traps, text: &str) -> Option<How> {
        traps.hit(&address(text)).map(|hit| hit.how)
    }

    fn problems(text: &str) -> Vec<String> {
        let found = List::read("own", "traps.txt", text.as_bytes()).unwrap_err();
        found.iter().map(BadLine::to_string).collect()
    }

    #[test]
    fn addresses_and_domains_are_found_in_any_spelling() {
        let text =
            "# ours\n\n Trap@Example.COM \r\n@gone.example\n@b\u{fc}cher.example\njo+x@a.example";
        let list = list(text);
        assert_eq!(list.len(), 4);
        let traps = Traps::new(vec![list]);
        let rows = [
            ("trap@example.com", Some(How::Address)),
            ("TRAP@EXAMPLE.com", Some(How::Address)),
            ("trap+news@example.com", Some(How::Untagged)),
            ("jo+x@a.example", Some(How::Address)),
            ("anybody@gone.example", Some(How::Domain)),
            ("anybody@xn--bcher-kva.example", Some(How::Domain)),
            ("jo@a.example", None),
            ("jo+y@a.example", None),
            ("traps@example.com", None),
            ("t.rap@example.com", None),
            ("trap@sub.example.com", None),
            ("anybody@www.gone.example", None),
            ("gone.example@other.example", None),
        ];
        for (recipient, expected) in rows {
            assert_eq!(how(&traps, recipient), expected, "{recipient}");
        }
        assert_eq!(traps.hit(&Address::from_checked("postmaster", 10)), None);
    }

    #[test]
    fn hashed_lists_are_what_sha256sum_makes() {
        // printf 'pepper%s' trap@example.com | sha256sum, and 706570706572 is pepper.
        let made = "951b5ba62fad5079eac768643a7cb16bf797e02b6b3073f2bc7da58f5afa0406";
        let text = format!("sha256 706570706572\n{made}\n{}\n", &made[..32]);
        assert_eq!(list(&text).len(), 1);
        let traps = Traps::new(vec![list(""), list(&text)]);
        let hit = traps.hit(&address("Trap@example.com")).unwrap();
        assert_eq!(hit, Hit { list: "own", how: How::Address });
        assert_eq!(how(&traps, "trap@example.net"), None);
    }

    #[test]
    fn the_first_list_is_named() {
        let one = List::read("one", "1", b"a@x.example\n").unwrap();
        let two = List::read("two", "2", b"@x.example\n").unwrap();
        let traps = Traps::new(vec![one, two]);
        assert_eq!(
            traps.hit(&address("a@x.example")),
            Some(Hit { list: "one", how: How::Address })
        );
        assert_eq!(traps.hit(&address("b@x.example")), Some(Hit { list: "two", how: How::Domain }));
    }

    #[test]
    fn bad_lines_are_told_with_their_place() {
        let told = |line, shown| {
            let allowed = "allowed: user@domain, or @domain for all of it";
            format!("traps.txt:{line}: no address or domain: `{shown}`; {allowed}")
        };
        let found = problems("a@x.example\nx.example\n@\n");
        assert_eq!(found, [told(2, "x.example"), told(3, "@")]);
        for (text, start) in [
            ("sha256 -\na@x.example\n", "traps.txt:2: no digest"),
            ("sha256 xyz\n", "traps.txt:1: no salt"),
            ("sha256 abc\n", "traps.txt:1: no salt"),
            ("a@x.example\nsha256 -\n", "traps.txt:2: a second"),
            ("a@x.example,b@x.example\n", "traps.txt:1: no address"),
            ("\u{1b}[2J@x.example\n", "traps.txt:1: no address or domain: `\\u{1b}[2J"),
        ] {
            assert!(problems(text)[0].starts_with(start), "{text}: {:?}", problems(text));
        }
        assert!(List::read("own", "t", &[b'@', 0xff, b'\n']).is_err());
        assert_eq!(problems(&"nothing\n".repeat(1_000)).len(), PROBLEMS_MAX);
    }

    #[test]
    fn a_long_list_has_what_was_put_in_and_nothing_else() {
        let entry = |number: u32| format!("u{number}@d{}.example", number % 977);
        let text: String = (0..200_000).step_by(2).map(|number| entry(number) + "\n").collect();
        let list = list(&text);
        assert_eq!(list.len(), 100_000);
        for number in 0..2_000 {
            assert_eq!(list.has(&entry(number)), number % 2 == 0, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_a_list_or_told(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            match List::read("own", "t", &text) {
                Ok(list) => prop_assert!(list.len() <= text.len()),
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }

        #[test]
        fn what_a_list_names_is_found(
            local in "[a-zA-Z0-9.]{1,20}",
            domain in "[a-z0-9]{1,20}\\.[a-z]{2,6}",
        ) {
            let text = format!("{local}@{domain}");
            prop_assume!(parse_mailbox(text.as_bytes()).is_ok());
            let traps = Traps::new(vec![list(&text)]);
            prop_assert_eq!(how(&traps, &text), Some(How::Address));
        }
    }
}
