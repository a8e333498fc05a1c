//! The fuzz targets as ordinary tests: a short, repeatable run of each on every `make test`.
//!
//! Real fuzzing is in `tests/fuzz` (its README says how) and finds what this cannot. This keeps
//! the targets compiling and true: each gets the project's own examples, then a bounded number
//! of their mutations from a seed. A failure prints the seed (`BATON_SEED` repeats it) and the
//! octets. `BATON_FUZZ_CORPUS=<folder>` also writes the examples there, as a corpus to start from.

mod targets;

use crate::inbound::player::next_random;
use crate::inbound::script::{Dialogue, Line};
use crate::inbound::{dialogue_files, first_seed};
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use targets::{KNOBS, TARGETS};

/// Per target; together about a second.
const MUTATIONS: usize = 4_000;
const INPUT_BYTES_MAX: usize = 8 * 1024;

#[test]
fn every_target_survives_examples_and_their_mutations() {
    let first = first_seed();
    for (name, target) in TARGETS {
        let mut seed = first;
        let examples = examples(name);
        assert!(examples.len() >= 5, "{name}: {} examples, some are missing", examples.len());
        if let Some(corpus) = std::env::var_os("BATON_FUZZ_CORPUS") {
            keep(&Path::new(&corpus).join(name), &examples);
        }
        for example in &examples {
            attempt(name, *target, example);
        }
        for _ in 0..MUTATIONS {
            attempt(name, *target, &mutation(&examples, &mut seed));
        }
    }
}

/// What a panic does not say by itself.
fn attempt(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(|| target(input)) {
        eprintln!("target {name} failed on \"{}\"", input.escape_ascii());
        panic::resume_unwind(cause);
    }
}

fn keep(folder: &Path, examples: &[Vec<u8>]) {
    fs::create_dir_all(folder).expect("a folder for the corpus");
    for (number, example) in examples.iter().enumerate() {
        fs::write(folder.join(format!("example-{number:04}")), example).expect("a corpus file");
    }
}

/// One to four small changes, the ones that parsers fear: cut, repeat, swap in from another
/// example, or replace an octet by one that means something.
fn mutation(examples: &[Vec<u8>], seed: &mut u64) -> Vec<u8> {
    const TELLING: &[u8] = b"\r\n.\0 <>@=:;\"\\+-09azAZ\x7f\x80\xc3\xff";
    let mut below = |bound: usize| (next_random(seed) % bound.max(1) as u64) as usize;
    let mut input = examples[below(examples.len())].clone();
    for _ in 0..=below(4) {
        let at = below(input.len() + 1);
        let end = at + below((input.len() - at).min(64) + 1);
        match below(5) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, TELLING[below(TELLING.len())]),
            2 => input.insert(at, below(256) as u8),
            3 => {
                let repeated = input[at..end].repeat(1 + below(3));
                input.splice(at..at, repeated);
            }
            _ => {
                let other = &examples[below(examples.len())];
                let from = below(other.len() + 1);
                let to = from + below((other.len() - from).min(256) + 1);
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// From what the project's other tests read.
fn examples(target: &str) -> Vec<Vec<u8>> {
    match target {
        "address" => table("addresses.txt"),
        "command" => table("commands.txt"),
        "config" => files("tests/config", "toml").chain(files("etc", "toml")).collect(),
        "content" => spoken().into_iter().map(chosen).collect(),
        "dns" => crate::dns::packets(),
        "identity" => headers().into_iter().map(chosen).collect(),
        "proxy" => proxy_headers(),
        "record" => files("tests/golden", "hex").map(|text| from_hex(&text)).collect(),
        "replies" => table("replies.txt").into_iter().map(chosen).collect(),
        "scan" => messages(),
        "server" => spoken().into_iter().map(chosen).collect(),
        _ => panic!("{target} has no examples"),
    }
}

/// With the octets in front that a target takes for its choices.
fn chosen(input: Vec<u8>) -> Vec<u8> {
    let choice = input.len() as u8;
    [vec![choice & 0b111; KNOBS], input].concat()
}

/// What the client says in each dialogue.
fn spoken() -> Vec<Vec<u8>> {
    let client = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a dialogue is a text");
        let lines = Dialogue::parse(path, &text).lines.into_iter();
        let octets = lines.filter_map(|(_, line)| match line {
            Line::Client(octets) => Some(octets),
            _ => None,
        });
        octets.flatten().take(INPUT_BYTES_MAX).collect()
    };
    dialogue_files().iter().map(client).collect()
}

/// The left sides of a table, without the word that says how a row is read.
fn table(name: &str) -> Vec<Vec<u8>> {
    let path = project().join("tests/tables").join(name);
    let text = fs::read_to_string(&path).expect("a table is a text");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let left = rows.filter_map(|row| row.split_once(" => ").map(|(left, _)| left));
    let readers = ["mailbox ", "sender ", "recipient ", "read "];
    let bare = |left: &str| {
        let reader = readers.iter().find_map(|word| left.strip_prefix(word));
        let text = reader.unwrap_or(left);
        text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").into_bytes()
    };
    left.map(bare).collect()
}

/// One of each kind of thing that a message can hold.
fn messages() -> Vec<Vec<u8>> {
    let part = |fields: &str, body: &str| format!("--b\r\n{fields}\r\n\r\n{body}\r\n");
    let multipart = |parts: &[String]| {
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", parts.concat())
    };
    let page = "<style>.x{display:none}</style><p class=x>a &amp; b<a href=\"http://u@a.test:8/?u=http%3A%2F%2F\
        b.test\">www.c.test</a><img src=http://d.test/ width=1 height=1><form action=//e.test>";
    let zip = "UEsBAhQAFAAAAAAAAAAAAAAAAAAAAAEAAAABAAAABwAAAAAAAAAAAAAAAAAAAAAAYS5kb2NtLmVUEsFBgAA";
    let file = "Content-Type: x/y; name*0*=utf-8''%C3%A4; name*1=.zip\r\nContent-Transfer-Encoding: base64";
    let texts = [
        "From: \"A, B\" <a@b.test>\r\nTo: c@d.test, (x) <e@f.test>\r\nSubject: =?utf-8?b?w6Q=?=\r\n\r\nwww.a.test\r\n"
            .to_owned(),
        format!("Content-Type: text/html; charset=iso-8859-1\r\n\r\n{page}"),
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4=\r\nhttp://1.2/=zz".to_owned(),
        multipart(&[part("Content-Type: text/html", page), part(file, zip)]),
        multipart(&[part("Content-Type: message/rfc822", "Subject: x\r\n\r\nbody")]),
        multipart(&[part("Content-Type: multipart/alternative; boundary=c", "--c\r\n\r\nx\r\n--c--")]),
    ];
    texts.map(String::into_bytes).to_vec()
}

/// The headers of the table of identities, without what stands in front of them.
fn headers() -> Vec<Vec<u8>> {
    let rows = crate::wire::rows(include_str!("tables/identify.txt"));
    let header = rows.filter_map(|row| row.given.split_once(" :: "));
    header.map(|(_, text)| crate::wire::unescape(text)).filter(|h| h.len() < 2_000).collect()
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let v2 = b"\r\n\r\n\0\r\nQUIT\n";
    vec![
        b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 56324 25\r\nEHLO x\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        [v2, &b"\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\xdc\x04\0\x19"[..]].concat(),
        [v2, &b"\x21\x21\0\x24"[..], &[7; 36]].concat(),
        [v2, &b"\x20\0\0\0"[..]].concat(),
    ]
}

fn files(folder: &str, extension: &'static str) -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir(project().join(folder)).expect("a folder of examples");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    paths.sort();
    let wanted = paths
        .into_iter()
        .filter(move |path| path.extension().is_some_and(|found| found == extension));
    wanted.map(|path| fs::read(path).expect("an example"))
}

fn from_hex(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let octets = lines.flat_map(str::split_ascii_whitespace);
    octets.map(|octet| u8::from_str_radix(octet, 16).expect("two hex digits")).collect()
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
