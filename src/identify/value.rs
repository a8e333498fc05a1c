//! The words of a peer as the value of a sender id: readable, bounded, and never two alike.
//!
//! Decides what a value may hold. A script chooses its own name, and a customer the name of a
//! mailbox; whatever they choose must not read as somebody else's id. So everything is reversible:
//! what cannot stand as it is is written as `%XX`, and what is too long keeps its front and ends in
//! a hash of the whole. Rejected: replacing such characters by `_`, which makes `a|b` and `a_b` one.

use crate::smtp::header::unfold;
use ring::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt::Write;

/// Octets of a value, exactly this many when it was cut. As a key of reputation it is held by the
/// hundred thousand.
pub const VALUE_BYTES_MAX: usize = 128;

/// 128 bits of SHA-256: nobody finds another value with the same.
const HASH_BYTES: usize = 16;

/// Octets of a cut value that stand before the hash and its `~`.
const FRONT_BYTES: usize = VALUE_BYTES_MAX - 2 * HASH_BYTES - 1;

/// Octets of a text that are read; the longest that is legal is a mailbox of 320.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// An octet that is no UTF-8 becomes the character this far above it, in the last private plane.
/// Real characters from there are taken apart into octets too, so that nothing is ambiguous.
const STRAY: u32 = 0x10_FF00;

/// A raw header value as text on one line, without loss of difference: see [`STRAY`].
pub fn line(value: &[u8]) -> Text<'_> {
    let octets = unfold(value);
    let length = match octets.len() <= TEXT_BYTES_MAX {
        true => Length::Whole,
        false => Length::Cut,
    };
    let text = match octets {
        Cow::Borrowed(octets) => text_of(&octets[..octets.len().min(TEXT_BYTES_MAX)]),
        Cow::Owned(mut octets) => {
            octets.truncate(TEXT_BYTES_MAX);
            Cow::Owned(text_of(&octets).into_owned())
        }
    };
    Text { text, length }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    pub text: Cow<'a, str>,
    pub length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Whole,
    /// There was more than [`TEXT_BYTES_MAX`].
    Cut,
}

fn text_of(octets: &[u8]) -> Cow<'_, str> {
    let is_stray = |c: char| c as u32 >= STRAY;
    if let Ok(text) = std::str::from_utf8(octets)
        && (text.is_ascii() || !text.chars().any(is_stray))
    {
        return Cow::Borrowed(text);
    }
    let stray = |octet: u8| char::from_u32(STRAY + u32::from(octet)).expect("inside the plane");
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_stray(c) {
                true => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(stray)),
                false => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|octet| stray(*octet)));
    }
    Cow::Owned(text)
}

/// The value of a sender id for `text`: at most [`VALUE_BYTES_MAX`] octets, no bar, space or control.
pub fn value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        let kept = match c {
            '|' | '%' => false,
            _ if c.is_ascii() => c.is_ascii_graphic(),
            _ => c.is_alphanumeric() && (c as u32) < STRAY,
        };
        if kept {
            value.push(c);
        } else if c as u32 >= STRAY {
            push_escaped(&mut value, &[(c as u32 - STRAY) as u8]);
        } else {
            push_escaped(&mut value, c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    // A value of just the full length might be the cut form of another.
    if value.len() >= VALUE_BYTES_MAX { cut(&value) } else { value }
}

fn push_escaped(value: &mut String, octets: &[u8]) {
    for octet in octets {
        write!(value, "%{octet:02X}").expect("a String takes every write");
    }
}

fn cut(value: &str) -> String {
    let front = value.floor_char_boundary(FRONT_BYTES);
    let mut short = value[..front].to_owned();
    short.extend(std::iter::repeat_n('~', FRONT_BYTES + 1 - front));
    for octet in &digest(&SHA256, value.as_bytes()).as_ref()[..HASH_BYTES] {
        write!(short, "{octet:02x}").expect("a String takes every write");
    }
    short
}

/// What is shown to people as evidence: no controls, at most `bytes_max` octets.
pub fn shown(text: &str, bytes_max: usize) -> Box<str> {
    let clean = |c: char| match c {
        _ if c.is_control() || c as u32 >= STRAY => '?',
        // Marks that turn the direction of text or are not seen at all.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '?',
        _ => c,
    };
    let front = &text[..text.floor_char_boundary(bytes_max)];
    let mut shown: String = front.chars().map(clean).collect();
    shown.truncate(shown.floor_char_boundary(bytes_max));
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable_and_hold_no_separator() {
        let rows: [(&[u8], &str); 10] = [
            (b"joe@shop.example", "joe@shop.example"),
            (b" joe\r\n\tboss ", "joe%20boss"),
            (b"joe|x-authuser|boss", "joe%7Cx-authuser%7Cboss"),
            (b"100%", "100%25"),
            (b"joe%7Cboss", "joe%257Cboss"),
            ("jörg@日本.example".as_bytes(), "jörg@日本.example"),
            (b"j\xf6rg", "j%F6rg"),
            (b"a\0b\x07", "a%00b%07"),
            ("a\u{202e}b".as_bytes(), "a%E2%80%AEb"),
            ("\u{10fff6}".as_bytes(), "%F4%8F%BF%B6"),
        ];
        for (raw, expected) in rows {
            assert_eq!(value(&line(raw).text), expected, "{raw:?}");
        }
    }

    #[test]
    fn long_values_are_cut_and_stay_apart() {
        let long = |end: &str| value(&format!("{}{end}", "x".repeat(500)));
        assert_eq!(long("a").len(), VALUE_BYTES_MAX);
        assert_ne!(long("a"), long("b"));
        // Who writes the cut form of another does not become that other.
        let cut = long("a");
        assert_ne!(value(&cut), cut);
        assert_eq!(value(&"ü".repeat(100)).len(), VALUE_BYTES_MAX);
        assert_eq!(value(&"x".repeat(127)), "x".repeat(127));
    }

    #[test]
    fn what_is_shown_is_short_and_clean() {
        assert_eq!(&*shown("a\r\nb\u{202e}c", 100), "a??b?c");
        assert_eq!(shown(&"ü".repeat(100), 9).len(), 8);
    }
}
