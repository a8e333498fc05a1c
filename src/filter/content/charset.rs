//! Octets in a named charset to text.
//!
//! `encoding_rs` knows the charsets of the web (the WHATWG Encoding Standard) and decodes lossily
//! without an error; UTF-7, which hides text and which that standard forbids, is unknown here.
//! What names no charset, or the wrong one, is UTF-8 where it can be and windows-1252 otherwise,
//! as mail clients guess.

use super::transfer::Health;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use std::borrow::Cow;

/// How the text came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Known(Health),
    Unknown,
}

/// `label` is empty where none was given.
pub(super) fn decode<'a>(octets: &'a [u8], label: &str) -> (Cow<'a, str>, Charset) {
    let label = label.trim();
    let known = Encoding::for_label_no_replacement(label.as_bytes());
    if known.is_none() || known == Some(UTF_8) || known == Some(WINDOWS_1252) {
        let verdict = match known {
            None if !label.is_empty() => Charset::Unknown,
            _ => Charset::Known(Health::Sound),
        };
        if let Ok(text) = std::str::from_utf8(octets) {
            // What is valid as UTF-8 and not ASCII was hardly ever meant as something else.
            return (Cow::Borrowed(text), verdict);
        }
        if known == Some(UTF_8) {
            let text = UTF_8.decode_without_bom_handling(octets).0;
            return (text, Charset::Known(Health::Broken));
        }
        return (WINDOWS_1252.decode_without_bom_handling(octets).0, verdict);
    }
    let encoding = known.unwrap_or(WINDOWS_1252);
    let (text, broken) = encoding.decode_without_bom_handling(octets);
    (text, Charset::Known(if broken { Health::Broken } else { Health::Sound }))
}

/// Octets of a header that may hold raw 8-bit text.
pub(super) fn guess(octets: &[u8]) -> Cow<'_, str> {
    decode(octets, "").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_out_of_each_charset() {
        let (sound, broken) = (Charset::Known(Health::Sound), Charset::Known(Health::Broken));
        let rows: &[(&[u8], &str, &str, Charset)] = &[
            (b"plain", "", "plain", sound),
            (b"\xc3\xa4", "utf-8", "ä", sound),
            (b"\xe4", "iso-8859-1", "ä", sound),
            (b"\xc3\xa4", "us-ascii", "ä", sound),
            (b"\xe4", "", "ä", sound),
            (b"\xe4", "utf-8", "\u{fffd}", broken),
            (b"\x82\xa0", "Shift_JIS", "あ", sound),
            (b"\xd0\xc5", "koi8-r", "пе", sound),
            (b"+AGE-", "utf-7", "+AGE-", Charset::Unknown),
            (b"x", "no-such", "x", Charset::Unknown),
            (b"\x1b$B$\"\x1b(B", "iso-2022-jp", "あ", sound),
        ];
        for (octets, label, text, verdict) in rows {
            assert_eq!(decode(octets, label), (Cow::Borrowed(*text), *verdict), "{label}");
        }
    }
}
