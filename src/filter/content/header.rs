//! A header block as its fields, and the texts in them.
//!
//! RFC 5322 2.2 (fields and folding), RFC 2047 (encoded words). Decides where a header ends: at an
//! empty line, at a boundary of a multipart around it, or with the message. Never fails: what is
//! no field is passed over and told. The crate `mail-parser` was tried for headers and structure and
//! left out: it keeps attached messages inside each other, so that a message of 32-octet headers
//! nested a million times ends the process when it is dropped, and it looks for every boundary to
//! the end of the input, which is quadratic in parts whose boundary does not come.

use super::charset;
use super::limits::{Bound, ContentLimits};
use super::sign::{Facts, Sign};
use super::transfer::{Health, base64};
use memchr::{memchr, memmem};
use std::borrow::Cow;

/// One field; the value is still folded and encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// What is left of the bounds on headers, for the whole message.
pub(super) struct Budget {
    fields: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limits: &ContentLimits) -> Self {
        Self { fields: limits.fields_max, bytes: limits.header_bytes_max }
    }
}

/// Reads the fields from `from` on into `fields`. Returns where the body begins.
pub(super) fn read<'a>(
    message: &'a [u8],
    from: usize,
    fields: &mut Vec<Field<'a>>,
    budget: &mut Budget,
    is_boundary: impl Fn(&[u8]) -> bool,
    facts: &mut Facts,
) -> usize {
    fields.clear();
    let mut at = from;
    while at < message.len() {
        if budget.fields == 0 || budget.bytes == 0 {
            let bound = if budget.fields == 0 { Bound::Fields } else { Bound::HeaderBytes };
            facts.exceeded(bound);
            return after_empty_line(message, at);
        }
        let end = memchr(b'\n', &message[at..]).map_or(message.len(), |length| at + length + 1);
        let line = trimmed(&message[at..end]);
        if line.is_empty() {
            return end;
        }
        if line.starts_with(b"--") && is_boundary(line) {
            return at;
        }
        let bytes_left = budget.bytes;
        if end - at > bytes_left {
            facts.exceeded(Bound::HeaderBytes);
        }
        budget.bytes = bytes_left.saturating_sub(end - at);
        line_of_field(message, line, at, bytes_left, fields, budget, facts);
        at = end;
    }
    at
}

/// A line that begins a field, goes on with one, or is neither.
fn line_of_field<'a>(
    message: &'a [u8],
    line: &'a [u8],
    at: usize,
    bytes_max: usize,
    fields: &mut Vec<Field<'a>>,
    budget: &mut Budget,
    facts: &mut Facts,
) {
    let line = &line[..line.len().min(bytes_max)];
    if matches!(line[0], b' ' | b'\t') {
        if let Some(last) = fields.last_mut() {
            let start = last.value.as_ptr() as usize - message.as_ptr() as usize;
            last.value = &message[start..at + line.len()];
            return;
        }
    } else if let Some(colon) = memchr(b':', line) {
        let name = line[..colon].trim_ascii_end();
        if !name.is_empty() && name.len() <= 128 && name.iter().all(u8::is_ascii_graphic) {
            fields.push(Field { name, value: &line[colon + 1..] });
            budget.fields -= 1;
            return;
        }
    }
    facts.add(Sign::HeaderNotField, &charset::guess(&line[..line.len().min(200)]));
}

fn after_empty_line(message: &[u8], at: usize) -> usize {
    let rest = &message[at..];
    let crlf = memmem::find(rest, b"\n\r\n").map(|found| found + 3);
    let searched = &rest[..crlf.unwrap_or(rest.len())];
    let lf = memmem::find(searched, b"\n\n").map(|found| found + 2);
    at + lf.or(crlf).unwrap_or(rest.len())
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The value on one line: folds are spaces, controls are told and become spaces.
pub(super) fn unfolded<'a>(field: &Field<'a>, facts: &mut Facts) -> Cow<'a, str> {
    let value = field.value.trim_ascii();
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    let plain = |octet: &u8| (0x20..0x7f).contains(octet);
    if value.iter().all(plain) {
        return charset::guess(value);
    }
    if std::str::from_utf8(value).is_err() {
        facts.add(Sign::HeaderRawOctets, &charset::guess(field.name));
    }
    let text = charset::guess(value);
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\r' | '\n' => {}
            '\t' => line.push(' '),
            letter if letter.is_control() => {
                facts.add(Sign::HeaderControl, &charset::guess(field.name));
                line.push(' ');
            }
            letter => line.push(letter),
        }
    }
    Cow::Owned(line)
}

/// Octets of one value that are read: more than any list of recipients that is looked at.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Encoded words to text (RFC 2047 6): spaces between two of them go, and octets of neighbours in
/// one charset are decoded together, since senders split letters.
pub(super) fn decoded_words(text: &str, facts: &mut Facts) -> String {
    let mut output = String::with_capacity(text.len());
    let mut held = Held::default();
    let mut rest = text;
    while let Some(at) = memmem::find(rest.as_bytes(), b"=?") {
        let before = &rest[..at];
        let Some((word, length)) = encoded_word(&rest[at..]) else {
            held.flush(&mut output, facts);
            facts.add(Sign::EncodedWordBroken, &rest[at..]);
            output.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        if !before.trim().is_empty() || held.charset.is_empty() {
            held.flush(&mut output, facts);
            output.push_str(before);
        }
        held.take(&word, &mut output, facts);
        rest = &rest[at + length..];
    }
    held.flush(&mut output, facts);
    output.push_str(rest);
    output
}

struct EncodedWord<'a> {
    charset: &'a str,
    encoding: u8,
    text: &'a str,
}

/// The word at the beginning of `text`, and how long it is. Longer ones than RFC 2047 2 allows (75)
/// are read, as mail clients do, up to a bound that keeps the search for an end linear.
fn encoded_word(text: &str) -> Option<(EncodedWord<'_>, usize)> {
    const WORD_BYTES_MAX: usize = 4 * 1024;
    let mut window = text.len().min(WORD_BYTES_MAX);
    while !text.is_char_boundary(window) {
        window -= 1;
    }
    let inside = text[..window].strip_prefix("=?")?;
    let (charset, after) =
        inside.split_at_checked(memchr(b'?', &inside.as_bytes()[..inside.len().min(64)])?)?;
    let (encoding, words) = (after.as_bytes().get(1)?, after.get(3..)?);
    let well = after.as_bytes().get(2) == Some(&b'?') && !charset.is_empty();
    if !well || !charset.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let end = memmem::find(words.as_bytes(), b"?=")?;
    let encoding = encoding.to_ascii_lowercase();
    // RFC 2231 5: a language may follow the charset.
    let charset = charset.split('*').next().unwrap_or(charset);
    let length = 2 + inside.len() - words.len() + end + 2;
    matches!(encoding, b'b' | b'q')
        .then(|| (EncodedWord { charset, encoding, text: &words[..end] }, length))
}

/// Octets of encoded words that wait for their neighbours.
#[derive(Default)]
struct Held<'a> {
    charset: &'a str,
    octets: Vec<u8>,
}

impl<'a> Held<'a> {
    fn take(&mut self, word: &EncodedWord<'a>, output: &mut String, facts: &mut Facts) {
        if !self.charset.eq_ignore_ascii_case(word.charset) {
            if !self.charset.is_empty() {
                facts.add(Sign::EncodedWordCharsets, word.charset);
            }
            self.flush(output, facts);
            self.charset = word.charset;
        }
        if word.encoding == b'q' {
            q_octets(word.text.as_bytes(), &mut self.octets);
            return;
        }
        let (octets, health) = base64(word.text.as_bytes(), word.text.len());
        if health == Health::Broken {
            facts.add(Sign::EncodedWordBroken, word.text);
        }
        let utf16 = word.charset.len() >= 6 && word.charset[..6].eq_ignore_ascii_case("utf-16");
        if octets.len() >= 8 && !utf16 && octets.iter().all(|octet| (0x20..0x7f).contains(octet)) {
            facts.add(Sign::EncodedWordNeedless, &charset::guess(&octets));
        }
        self.octets.extend_from_slice(&octets);
    }

    fn flush(&mut self, output: &mut String, facts: &mut Facts) {
        if self.charset.is_empty() {
            return;
        }
        let (text, verdict) = charset::decode(&self.octets, self.charset);
        match verdict {
            charset::Charset::Known(Health::Sound) => {}
            charset::Charset::Known(Health::Broken) => facts.add(Sign::EncodedWordBroken, &text),
            charset::Charset::Unknown => facts.add(Sign::CharsetUnknown, self.charset),
        }
        output.extend(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        self.octets.clear();
        self.charset = "";
    }
}

/// RFC 2047 4.2.
fn q_octets(text: &[u8], octets: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let digit =
            |offset: usize| text.get(at + offset).and_then(|octet| char::from(*octet).to_digit(16));
        match (text[at], digit(1), digit(2)) {
            (b'=', Some(high), Some(low)) => {
                octets.push((high << 4 | low) as u8);
                at += 3;
                continue;
            }
            (b'_', ..) => octets.push(b' '),
            (octet, ..) => octets.push(octet),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &[u8]) -> (Vec<(String, String)>, usize, Facts) {
        let (mut fields, mut facts) = (Vec::new(), Facts::default());
        let mut budget = Budget::new(&ContentLimits::STANDARD);
        let body = read(text, 0, &mut fields, &mut budget, |line| line == b"--b", &mut facts);
        let text = |field: &Field<'_>| {
            let value = unfolded(field, &mut Facts::default()).into_owned();
            (charset::guess(field.name).into_owned(), value)
        };
        (fields.iter().map(text).collect(), body, facts)
    }

    #[test]
    fn a_header_ends_at_an_empty_line_or_a_boundary() {
        let (list, body, _) = fields(b"A: 1\r\n 2\r\nB:3\n\r\nbody");
        assert_eq!(list, [("A".into(), "1 2".into()), ("B".into(), "3".into())]);
        assert_eq!(body, 16);
        assert_eq!(fields(b"A: 1\n\nC: 2\n").1, 6);
        assert_eq!(fields(b"A: 1\n--b\nC: 2\n").1, 5);
        let (list, _, facts) = fields(b" x\nnonsense\nA: 1\n\n");
        assert_eq!(
            (list.len(), facts.get(Sign::HeaderNotField).map(|fact| fact.count)),
            (1, Some(2))
        );
    }

    #[test]
    fn encoded_words_are_read_and_what_is_none_stays() {
        let rows = [
            ("=?utf-8?Q?a=C3=A4_b?=", "aä b"),
            ("x =?utf-8?b?w6Q=?= =?utf-8?q?b?= y", "x äb y"),
            // A letter split between two words.
            ("=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
            ("=?iso-8859-1*de?q?=E4?=", "ä"),
            ("=?nothing", "=?nothing"),
            ("a =? b ?= c", "a =? b ?= c"),
            ("=?utf-8?x?y?=", "=?utf-8?x?y?="),
            ("plain", "plain"),
        ];
        for (input, text) in rows {
            assert_eq!(decoded_words(input, &mut Facts::default()), text, "{input}");
        }
    }
}
