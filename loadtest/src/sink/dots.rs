//! The framing of `DATA`: the doubled dots and the final one, removed (RFC 5321 4.5.2).
//!
//! Works on pieces of any size and copies what lies between two dots at memory speed. Only CRLF
//! counts as the end of a line. Never looks at what the content says.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What ends a stretch of content that holds no framing; made once, as the making costs a search.
static LINE_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));

/// What was seen of `CRLF . CRLF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    InLine,
    Cr,
    LineStart,
    Dot,
    DotCr,
}

/// Moves content from `input` to `content` without its dot-stuffing (RFC 5321 4.5.2).
///
/// Returns `None` once the final dot was seen. Only CRLF counts as the end of a line, so that what
/// some servers take for the end of the message (a bare LF around the dot) is delivered as it is.
pub fn unstuff(mut dots: Dots, input: &mut &[u8], content: &mut Vec<u8>) -> Option<Dots> {
    while let Some(&byte) = input.first() {
        let (used, next) = match (dots, byte) {
            (Dots::InLine, _) => {
                let (used, next) = skim(input);
                content.extend_from_slice(&input[..used]);
                (used, next)
            }
            (Dots::Cr, b'\n') => (keep(byte, content), Dots::LineStart),
            (Dots::Cr, b'\r') => (keep(byte, content), Dots::Cr),
            (Dots::LineStart, b'.') => (1, Dots::Dot),
            (Dots::Dot, b'\r') => (1, Dots::DotCr),
            (Dots::DotCr, b'\n') => {
                *input = &input[1..];
                return None;
            }
            (Dots::DotCr, _) => {
                content.push(b'\r');
                (0, Dots::Cr)
            }
            (Dots::Cr | Dots::LineStart | Dots::Dot, _) => (0, Dots::InLine),
        };
        *input = &input[used..];
        dots = next;
    }
    Some(dots)
}

fn keep(byte: u8, content: &mut Vec<u8>) -> usize {
    content.push(byte);
    1
}

/// How much of `input`, which starts within a line, is content up to the next dot that starts a
/// line; most of a message is one such stretch, found at memory speed.
fn skim(input: &[u8]) -> (usize, Dots) {
    match LINE_DOT.find(input) {
        Some(end) => (end + 2, Dots::LineStart),
        None if input.ends_with(b"\r\n") => (input.len(), Dots::LineStart),
        None if input.ends_with(b"\r") => (input.len(), Dots::Cr),
        None => (input.len(), Dots::InLine),
    }
}
