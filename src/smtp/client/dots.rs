//! The body as DATA wants it: a second dot where a line begins with one, CRLF "." CRLF at the end.
//!
//! Given out piece by piece and without state but the place reached, so that a large message
//! is never copied whole: a piece that needs no dot is lent from the message as it is. Lines end
//! in CRLF only. A bare CR or LF is passed on as it came, because changing it would break
//! signatures; a dot behind one is not doubled, because a correct receiver would not undo it.
//! Such a dot alone on its "line" may end the message at an incorrect receiver, which then takes
//! the rest for commands (SMTP smuggling): [`may_end_early`] finds it, and the message is refused.
//!
//! RFC 5321 2.3.8 (lines), 4.1.1.4 (end of data), 4.5.2 (transparency).

use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// Octets of the message in one piece. Each piece is under one deadline (RFC 5321 4.5.3.2.5), so
/// a link that carries 400 octets a second is fast enough.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

static LINE_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));
static CR_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r."));

const END_OF_DATA: &[u8] = b".\r\n";

/// The next octets to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What was put into the session's own buffer.
    Own,
    /// These octets of the message.
    Lent(Range<usize>),
}

/// Gives the piece of `message` at `at` and where the one after it begins; `None` after the one
/// that ended the data. `own` is empty, and filled when the piece is not lent.
pub fn piece(message: &[u8], at: usize, own: &mut Vec<u8>) -> (Piece, Option<usize>) {
    let end = message.len().min(at.saturating_add(PIECE_BYTES_MAX));
    let last = end == message.len();
    if !last && line_dots(message, at..end).next().is_none() {
        return (Piece::Lent(at..end), Some(end));
    }
    let mut copied = at;
    for dot in line_dots(message, at..end) {
        own.extend_from_slice(&message[copied..dot]);
        own.push(b'.');
        copied = dot;
    }
    own.extend_from_slice(&message[copied..end]);
    if !last {
        return (Piece::Own, Some(end));
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        own.extend_from_slice(b"\r\n");
    }
    own.extend_from_slice(END_OF_DATA);
    (Piece::Own, None)
}

/// Where within `range` a dot begins a line of `message`.
fn line_dots(message: &[u8], range: Range<usize>) -> impl Iterator<Item = usize> {
    // A line end may lie before the range: two octets back are enough to see it.
    let from = range.start.saturating_sub(2);
    let first = (range.start == 0 && message.first() == Some(&b'.')).then_some(0);
    let found = LINE_DOT.find_iter(&message[from..range.end]);
    first.into_iter().chain(found.map(move |place| from + place + 2))
}

/// Whether `message` holds a dot, alone between line ends of which the first is not CRLF.
pub fn may_end_early(message: &[u8]) -> bool {
    let alone = |dot: usize| matches!(message.get(dot + 1), None | Some(b'\r' | b'\n'));
    let bare_lf =
        LF_DOT.find_iter(message).any(|lf| alone(lf + 1) && (lf == 0 || message[lf - 1] != b'\r'));
    bare_lf || CR_DOT.find_iter(message).any(|cr| alone(cr + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use memchr::memmem;
    use proptest::prelude::*;

    fn whole(message: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut next = Some(0);
        while let Some(at) = next {
            let mut own = Vec::new();
            let (piece, then) = piece(message, at, &mut own);
            match piece {
                Piece::Own => sent.extend_from_slice(&own),
                Piece::Lent(range) => sent.extend_from_slice(&message[range]),
            }
            next = then;
        }
        sent
    }

    #[test]
    fn dots_are_doubled_only_where_a_line_begins() {
        let cases: [(&[u8], &[u8]); 10] = [
            (b"", b".\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r", b"a\r\r\n.\r\n"),
            (b"a\n", b"a\n\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".a\r\n..\r\n", b"..a\r\n...\r\n.\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n..\r\n.\r\n"),
            (b"a\n.b\r.c\r\n", b"a\n.b\r.c\r\n.\r\n"),
            (b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n.\r\n"),
        ];
        for (message, sent) in cases {
            assert_eq!(whole(message), sent, "{:?}", message.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_line_end_across_pieces_is_seen_wherever_it_is_cut() {
        for cut in 0..4 {
            let mut message = vec![b'x'; PIECE_BYTES_MAX - cut];
            message.extend_from_slice(b"\r\n.y\r\n");
            message.resize(3 * PIECE_BYTES_MAX, b'z');
            let mut sent = message.clone();
            sent.insert(PIECE_BYTES_MAX - cut + 2, b'.');
            sent.extend_from_slice(b"\r\n.\r\n");
            assert!(whole(&message) == sent, "line end {cut} octets before the border");
        }
    }

    #[test]
    fn a_piece_without_dots_is_lent() {
        let message = vec![b'x'; 2 * PIECE_BYTES_MAX];
        let (first, next) = piece(&message, 0, &mut Vec::new());
        assert_eq!((first, next), (Piece::Lent(0..PIECE_BYTES_MAX), Some(PIECE_BYTES_MAX)));
    }

    #[test]
    fn dots_between_bare_line_ends_are_found() {
        let risky: [&[u8]; 7] =
            [b"a\n.\r\n", b"a\n.\n", b"a\r.\r\n", b"a\n.", b"a\r.\r", b"\n.\n", b"a\r\r.\n"];
        for message in risky {
            assert!(may_end_early(message), "{:?}", message.escape_ascii().to_string());
        }
        let harmless: [&[u8]; 6] =
            [b"", b".", b"\r\n.\r\n", b"a\n.b\r\n", b"a\r.b\r\n", b"\r\n.\nb\r\n"];
        for message in harmless {
            assert!(!may_end_early(message), "{:?}", message.escape_ascii().to_string());
        }
    }

    /// The receiver's side of RFC 5321 4.5.2.
    fn received(sent: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let mut rest = sent;
        while let Some(end) = memmem::find(rest, b"\r\n") {
            let (line, after) = rest.split_at(end + 2);
            if line == END_OF_DATA {
                return after.is_empty().then_some(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            rest = after;
        }
        None
    }

    proptest! {
        #[test]
        fn what_is_stuffed_arrives_unchanged(
            picks in prop::collection::vec(0usize..5, 0..400),
            repeated in 1usize..400,
        ) {
            let letters = [b'\r', b'\n', b'.', b'x', b'\r'];
            let unit: Vec<u8> = picks.iter().map(|&pick| letters[pick]).collect();
            let mut message = unit.repeat(repeated);
            let arrived = received(&whole(&message));
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                message.extend_from_slice(b"\r\n");
            }
            prop_assert!(arrived == Some(message));
        }
    }
}
