//! The bytes between DATA and its end: dot-unstuffing, the end, and what must never pass for it.
//!
//! A message ends at CRLF `.` CRLF and nowhere else (RFC 5321 4.1.1.4, 2.3.8). A line that holds only a dot
//! but is fenced by a bare CR or LF would be an end of data to a careless next hop, and what
//! follows it a second, smuggled message: it is reported, never taken and never passed on.
//!
//! Pieces may be cut anywhere. Bytes are copied once, in runs as long as the dots allow.

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Made once: making a searcher costs as much as searching a line.
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));
static CR_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r."));

/// Where the bytes go.
pub trait Sink {
    fn append(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input is used, the end has not come.
    More,
    /// The end came; the input starts behind it.
    End,
    /// A line of one dot with a bare CR or LF beside it.
    BareLineEnd,
}

/// What the last bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// Nothing of interest.
    Text,
    /// A CR whose successor is not here yet.
    Cr,
    /// CRLF, or the beginning.
    LineEnd,
    /// A CR or LF that stands alone.
    BareEnd,
    /// CRLF and a dot, which is not yet passed on.
    Dot,
    /// CRLF, a dot, CR.
    DotCr,
    /// A bare CR or LF and a dot.
    BareDot,
}

/// Takes DATA content apart, piece by piece.
#[derive(Debug)]
pub struct Content {
    last: Last,
}

impl Content {
    pub fn new() -> Self {
        Content { last: Last::LineEnd }
    }

    /// Takes from `input` up to and including the end of data.
    pub fn read(&mut self, input: &mut &[u8], into: &mut impl Sink) -> Progress {
        let mut dots = Dots::new(input);
        let whole = *input;
        let mut at = 0;
        while let Some(&byte) = whole.get(at) {
            self.last = match (self.last, byte) {
                (Last::Text, _) => {
                    let (end, last) = dots.run(at);
                    into.append(&whole[at..end]);
                    at = end;
                    last
                }
                (Last::Cr, b'\n') => {
                    into.append(b"\n");
                    at += 1;
                    Last::LineEnd
                }
                (Last::Cr, b'.') => Last::BareEnd,
                (Last::LineEnd, b'.') => {
                    at += 1;
                    Last::Dot
                }
                (Last::BareEnd, b'.') => {
                    into.append(b".");
                    at += 1;
                    Last::BareDot
                }
                (Last::Cr | Last::LineEnd | Last::BareEnd, _) => Last::Text,
                (Last::Dot, b'\r') => {
                    at += 1;
                    Last::DotCr
                }
                (Last::DotCr, b'\n') => {
                    *input = &whole[at + 1..];
                    return Progress::End;
                }
                (Last::Dot | Last::BareDot, b'\n') | (Last::BareDot, b'\r') | (Last::DotCr, _) => {
                    *input = &whole[at..];
                    return Progress::BareLineEnd;
                }
                // The dot was stuffing (RFC 5321 4.5.2): it is left out.
                (Last::Dot | Last::BareDot, _) => Last::Text,
            };
        }
        *input = &[];
        Progress::More
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

/// The next line end that a dot follows, found by two searches that never look at a byte twice:
/// restarting both at each hit would let a hostile body cost the square of its length.
struct Dots<'a> {
    bytes: &'a [u8],
    after_lf: usize,
    after_cr: usize,
}

impl<'a> Dots<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut dots = Dots { bytes, after_lf: 0, after_cr: 0 };
        dots.after_lf = dots.find(&LF_DOT, 0);
        dots.after_cr = dots.find(&CR_DOT, 0);
        dots
    }

    fn find(&self, finder: &Finder<'_>, from: usize) -> usize {
        finder.find(&self.bytes[from..]).map_or(usize::MAX, |at| from + at)
    }

    /// The run of bytes from `at` that can be copied whole, and what its last byte was.
    fn run(&mut self, at: usize) -> (usize, Last) {
        if self.after_lf < at {
            self.after_lf = self.find(&LF_DOT, at);
        }
        if self.after_cr < at {
            self.after_cr = self.find(&CR_DOT, at);
        }
        let end = self.after_lf.min(self.after_cr).saturating_add(1).min(self.bytes.len());
        let last = match self.bytes[at..end] {
            [.., b'\r', b'\n'] => Last::LineEnd,
            [.., b'\n'] => Last::BareEnd,
            [.., b'\r'] => Last::Cr,
            _ => Last::Text,
        };
        (end, last)
    }
}

/// Whether a message that came by BDAT holds a line of one dot behind a bare CR or LF. It has no meaning there, but
/// the next hop may have to be served by DATA, where it would be the dangerous shape.
pub fn has_bare_dot_line(message: &[u8]) -> bool {
    let bare = |at: usize| match message[at] {
        b'\n' => at == 0 || message[at - 1] != b'\r',
        _ => true,
    };
    // At the very end too: DATA would put a CRLF behind it.
    let ends = |at: usize| matches!(message.get(at + 2), None | Some(b'\r' | b'\n'));
    let hits = LF_DOT.find_iter(message).chain(CR_DOT.find_iter(message));
    hits.into_iter().any(|at| bare(at) && ends(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{BareLineEnd, End, More};

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Progress, Vec<u8>) {
        let (mut content, mut body) = (Content::new(), Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            let mut input = *piece;
            let progress = content.read(&mut input, &mut body);
            if progress != More {
                let rest = [input, &pieces[index + 1..].concat()].concat();
                return (body, progress, rest);
            }
            assert!(input.is_empty());
        }
        (body, More, Vec::new())
    }

    #[test]
    fn ends_only_at_the_real_end_however_it_is_cut() {
        let cases: &[(&str, &str, Progress, &str)] = &[
            (".\r\nQUIT", "", End, "QUIT"),
            ("a\r\n.\r\nMAIL", "a\r\n", End, "MAIL"),
            ("a\r\n..\r\n.\r\n", "a\r\n.\r\n", End, ""),
            ("..a\r\n...\r\n.\r\n", ".a\r\n..\r\n", End, ""),
            (".a\r\n.b\r\n.\r\n", "a\r\nb\r\n", End, ""),
            ("a.\r\nb.\n.c\r.d\r\n.\r\n", "a.\r\nb.\n.c\r.d\r\n", End, ""),
            ("a\n\r\n.\r\n", "a\n\r\n", End, ""),
            ("a\r\r\n.\r\n", "a\r\r\n", End, ""),
            ("a\r\n", "a\r\n", More, ""),
            ("a\r\n.\r", "a\r\n", More, ""),
            // smuggling shapes
            ("a\n.\n", "a\n.", BareLineEnd, "\n"),
            ("a\n.\r\n", "a\n.", BareLineEnd, "\r\n"),
            ("a\r\n.\nMAIL", "a\r\n", BareLineEnd, "\nMAIL"),
            ("a\r\n.\rx", "a\r\n", BareLineEnd, "x"),
            ("a\r.\r\n", "a\r.", BareLineEnd, "\r\n"),
            ("a\r.\n", "a\r.", BareLineEnd, "\n"),
            ("a\r.\r", "a\r.", BareLineEnd, "\r"),
            (".\n", "", BareLineEnd, "\n"),
        ];
        for (text, body, progress, rest) in cases {
            let expected = (body.as_bytes().to_vec(), *progress, rest.as_bytes().to_vec());
            assert_eq!(read(&[text.as_bytes()]), expected, "whole: {text:?}");
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&single), expected, "byte by byte: {text:?}");
            for cut in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(cut);
                assert_eq!(read(&[head, tail]), expected, "cut at {cut}: {text:?}");
            }
        }
    }

    #[test]
    fn chunked_messages_are_searched_for_the_same_shapes() {
        for bad in ["a\n.\n", "a\n.\r\nb", "a\r.\rb", "\n.\n", "a\n."] {
            assert!(has_bare_dot_line(bad.as_bytes()), "{bad:?}");
        }
        for good in ["a\r\n.\r\nb", "a\r\n.\nb", "a\n.b", "a\r\n.", ".\n", ""] {
            assert!(!has_bare_dot_line(good.as_bytes()), "{good:?}");
        }
    }
}
