//! The fields of a header section as they stand: name and raw value, one after another.
//!
//! Decides where a field begins and ends, and how much is looked at: at most [`FIELDS_MAX`] fields
//! and [`OCTETS_MAX`] octets, in one pass and without allocation. A line that is no field is passed
//! over, because mail with such a line in its header is delivered and shown all the same.
//! Never decodes: encoded words and character sets are for who reads a value.
//!
//! RFC 5322 2.2 (fields), 2.2.3 (folding), 4.5 (space before the colon).

use std::borrow::Cow;

/// Real headers have less than a hundred.
pub const FIELDS_MAX: usize = 10_000;

/// Real headers have less than 64 KiB.
pub const OCTETS_MAX: usize = 1024 * 1024;

/// One field. Both parts are as they came, from inside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Printable ASCII without the colon, never empty.
    pub name: &'a [u8],
    /// What follows the colon, with its folds, without the line end that closes it.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Names are compared without regard to case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, see [`unfold`].
    pub fn line(&self) -> Cow<'a, [u8]> {
        unfold(self.value)
    }
}

/// How the fields ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There may be more.
    Open,
    /// At the empty line, or where the message ends.
    Whole,
    /// At one of the bounds: what stands behind was not looked at.
    Cut,
}

/// The fields of a message from its first octet on.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    lines_left: usize,
    /// The message goes on behind `rest`.
    clipped: Clipped,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clipped {
    No,
    Yes,
}

/// The fields at the front of `message`.
pub fn fields(message: &[u8]) -> Fields<'_> {
    let (rest, clipped) = match message.get(..OCTETS_MAX) {
        Some(front) if front.len() < message.len() => (front, Clipped::Yes),
        _ => (message, Clipped::No),
    };
    Fields { rest, lines_left: FIELDS_MAX, clipped, end: End::Open }
}

impl Fields<'_> {
    /// How it ended, once `next` has given `None`.
    pub fn end(&self) -> End {
        self.end
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while self.end == End::Open {
            if matches!(self.rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
                self.end = End::Whole;
            } else if self.rest.is_empty() {
                self.end = match self.clipped {
                    Clipped::No => End::Whole,
                    Clipped::Yes => End::Cut,
                };
            } else if self.lines_left == 0 {
                self.end = End::Cut;
            } else {
                self.lines_left -= 1;
                let (lines, rest) = self.rest.split_at(folded_length(self.rest));
                self.rest = rest;
                if let Some(field) = field(lines) {
                    return Some(field);
                }
            }
        }
        None
    }
}

/// Octets up to the end of the first line that the next line does not continue.
fn folded_length(text: &[u8]) -> usize {
    let continued = |end: usize| matches!(text.get(end + 1), Some(b' ' | b'\t'));
    let last = memchr::memchr_iter(b'\n', text).find(|end| !continued(*end));
    last.map_or(text.len(), |end| end + 1)
}

fn field(lines: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', lines)?;
    let name = lines[..colon].trim_ascii_end();
    let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let value = lines[colon + 1..].strip_suffix(b"\n").unwrap_or(&lines[colon + 1..]);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    plain.then_some(Field { name, value })
}

/// A value on one line: without space at its ends, each fold a single space. Copies only what
/// is folded.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    for part in value.split(|octet| *octet == b'\n') {
        let part = part.trim_ascii();
        if !line.is_empty() && !part.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(part);
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message, and the names and values of its fields.
    type Row = (&'static [u8], &'static [(&'static str, &'static str)]);

    fn read(message: &[u8]) -> (Vec<(String, String)>, End) {
        let mut fields = fields(message);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let pairs = fields.by_ref().map(|field| (text(field.name), text(&field.line())));
        let pairs = pairs.collect();
        (pairs, fields.end())
    }

    #[test]
    fn fields_end_at_the_empty_line() {
        let rows: [Row; 7] = [
            (b"A: 1\r\nB:2\r\n\r\nC: 3\r\n", &[("A", "1"), ("B", "2")]),
            (b"A: 1\n\nC: 3", &[("A", "1")]),
            (b"A : 1\r\n", &[("A", "1")]),
            (b"A: x\r\n\ty\r\n  z \r\nB:\r\n b", &[("A", "x y z"), ("B", "b")]),
            (b"no field\r\nA b: 1\r\n: 2\r\nB: 3", &[("B", "3")]),
            (b"A:\r\n \r\n\tx\r\nB:", &[("A", "x"), ("B", "")]),
            (b"\r\nA: 1", &[]),
        ];
        for (message, expected) in rows {
            let (found, end) = read(message);
            let found: Vec<_> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!((found.as_slice(), end), (expected, End::Whole), "{message:?}");
        }
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let many = b"A: 1\r\n".repeat(FIELDS_MAX + 1);
        let (found, end) = read(&many);
        assert_eq!((found.len(), end), (FIELDS_MAX, End::Cut));
        let long = [b"A: ".to_vec(), vec![b'x'; 2 * OCTETS_MAX], b"\r\nB: 1\r\n".to_vec()].concat();
        let (found, end) = read(&long);
        assert_eq!((found.len(), found[0].1.len(), end), (1, OCTETS_MAX - 3, End::Cut));
        let body = [b"A: 1\r\n\r\n".to_vec(), vec![b'x'; 2 * OCTETS_MAX]].concat();
        assert_eq!(read(&body).1, End::Whole);
    }
}
