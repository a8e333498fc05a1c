//! Content transfer encodings, decoded as mail clients do it: whatever can be read is.
//!
//! RFC 2045 6.7 (quoted-printable) and 6.8 (base64). Decides nothing; says whether the text kept to
//! the rules. Output is bounded by the caller. Not the `base64` crate: it stops at the first octet
//! that is out of place, and those who hide things put one there.

use memchr::memchr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// 7bit, 8bit, binary, or nothing said.
    Identity,
    Base64,
    QuotedPrintable,
    Unknown,
}

impl Transfer {
    pub(super) fn of(word: &str) -> Self {
        let word = word.trim();
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("base64") {
            Self::Base64
        } else if is("quoted-printable") {
            Self::QuotedPrintable
        } else if word.is_empty() || is("7bit") || is("8bit") || is("binary") {
            Self::Identity
        } else {
            Self::Unknown
        }
    }
}

/// Whether an encoded text kept to its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    Broken,
}

const NOT: u8 = 0xff;
const BLANK: u8 = 0xfe;
const PADDING: u8 = 0xfd;

/// The value of each base64 letter, or what else the octet is.
static BASE64: [u8; 256] = {
    let mut table = [NOT; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[letters[value] as usize] = value as u8;
        value += 1;
    }
    table[b'=' as usize] = PADDING;
    table[b'\r' as usize] = BLANK;
    table[b'\n' as usize] = BLANK;
    table[b' ' as usize] = BLANK;
    table[b'\t' as usize] = BLANK;
    table
};

/// Decodes until `bytes_max` octets are there; octets that are no letters are passed over.
pub(super) fn base64(input: &[u8], bytes_max: usize) -> (Vec<u8>, Health) {
    let mut output = Vec::with_capacity((input.len() / 4 * 3 + 3).min(bytes_max));
    let (mut bits, mut letters, mut health) = (0u32, 0u32, Health::Sound);
    let mut at = 0;
    while at < input.len() && output.len() < bytes_max {
        if letters == 0 {
            at += whole_quads(&input[at..], &mut output, bytes_max);
            if at >= input.len() || output.len() >= bytes_max {
                break;
            }
        }
        match BASE64[input[at] as usize] {
            BLANK => {}
            NOT => health = Health::Broken,
            PADDING => {
                flush(bits, letters, &mut output);
                (bits, letters) = (0, 0);
            }
            value => {
                (bits, letters) = (bits << 6 | u32::from(value), letters + 1);
                if letters == 4 {
                    output.extend_from_slice(&bits.to_be_bytes()[1..]);
                    (bits, letters) = (0, 0);
                }
            }
        }
        at += 1;
    }
    if letters == 1 {
        health = Health::Broken;
    }
    flush(bits, letters, &mut output);
    output.truncate(bytes_max);
    (output, health)
}

/// Four letters at a time for as long as all four are letters. Octets used.
fn whole_quads(input: &[u8], output: &mut Vec<u8>, bytes_max: usize) -> usize {
    let mut used = 0;
    for quad in input.chunks_exact(4) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| BASE64[quad[index] as usize]);
        if (a | b | c | d) >= 64 || output.len() >= bytes_max {
            break;
        }
        let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        output.extend_from_slice(&bits.to_be_bytes()[1..]);
        used += 4;
    }
    used
}

/// What two or three letters hold.
fn flush(bits: u32, letters: u32, output: &mut Vec<u8>) {
    match letters {
        2 => output.push((bits >> 4) as u8),
        3 => output.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => {}
    }
}

/// The last octets of `input` that decode to about `bytes` when the quads are counted from the
/// end: that way the end of a large attachment is read without its middle.
pub(super) fn base64_tail(input: &[u8], bytes: usize) -> &[u8] {
    let wanted = bytes / 3 * 4;
    let mut letters = 0;
    for (at, octet) in input.iter().enumerate().rev() {
        if BASE64[*octet as usize] < 64 || *octet == b'=' {
            letters += 1;
            if letters == wanted {
                return &input[at..];
            }
        }
    }
    input
}

/// Decodes until `bytes_max` octets are there; an `=` that begins nothing stays.
pub(super) fn quoted_printable(input: &[u8], bytes_max: usize) -> (Vec<u8>, Health) {
    let mut output = Vec::with_capacity(input.len().min(bytes_max));
    let (mut rest, mut health) = (input, Health::Sound);
    while output.len() < bytes_max {
        let Some(at) = memchr(b'=', rest) else {
            output.extend_from_slice(rest);
            break;
        };
        output.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let value = |octet: Option<&u8>| (char::from(*octet?)).to_digit(16);
        match (value(rest.first()), value(rest.get(1))) {
            (Some(high), Some(low)) => {
                output.push((high << 4 | low) as u8);
                rest = &rest[2..];
            }
            _ => match soft_end(rest) {
                Some(length) => rest = &rest[length..],
                None => {
                    output.push(b'=');
                    health = Health::Broken;
                }
            },
        }
    }
    output.truncate(bytes_max);
    (output, health)
}

/// The octets of a soft line end after its `=`: blanks, then CRLF or LF, or the end of all.
fn soft_end(rest: &[u8]) -> Option<usize> {
    // Blanks at the end of a line may come from transport (RFC 2045 6.7 rule 3); no more than a
    // line of them, or a text of nothing but them would be read again and again.
    const BLANKS_MAX: usize = 76;
    let blank = |octet: &&u8| matches!(**octet, b' ' | b'\t' | b'\r');
    let blanks = rest.iter().take(BLANKS_MAX).take_while(blank).count();
    match rest.get(blanks) {
        Some(b'\n') => Some(blanks + 1),
        None => Some(blanks),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_whatever_stands_between() {
        let rows: &[(&str, &str, Health)] = &[
            ("aGVsbG8=", "hello", Health::Sound),
            ("aGVs\r\nbG8=\r\n", "hello", Health::Sound),
            ("a\nG\nV\nsbG8", "hello", Health::Sound),
            ("aGV!sbG8=", "hello", Health::Broken),
            ("aGVsbG8=d29ybGQ=", "helloworld", Health::Sound),
            ("", "", Health::Sound),
            ("a", "", Health::Broken),
        ];
        for (input, text, health) in rows {
            let expected = (text.as_bytes().to_vec(), *health);
            assert_eq!(base64(input.as_bytes(), 100), expected, "{input}");
        }
        assert_eq!(base64(b"aGVsbG8=", 2).0, b"he");
        assert_eq!(base64(base64_tail(b"aGVs\r\nbG8=\r\n", 3), 9).0, b"lo");
    }

    #[test]
    fn quoted_printable_is_read_and_what_is_not_stays() {
        let rows: &[(&str, &str, Health)] = &[
            ("a=3Db", "a=b", Health::Sound),
            ("long=\r\n line", "long line", Health::Sound),
            ("long=  \nline", "longline", Health::Sound),
            ("1=2=zz", "1=2=zz", Health::Broken),
            ("end=", "end", Health::Sound),
            ("=c3=A4", "ä", Health::Sound),
        ];
        for (input, text, health) in rows {
            let expected = (text.as_bytes().to_vec(), *health);
            assert_eq!(quoted_printable(input.as_bytes(), 100), expected, "{input}");
        }
        assert_eq!(quoted_printable(b"abcdef", 3).0, b"abc");
    }
}
