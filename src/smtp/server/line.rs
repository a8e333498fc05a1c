//! Lines out of pieces that may be cut anywhere, with a bound on their length.
//!
//! RFC 5321 2.3.8 (only CRLF ends a line), 4.5.3.1.4 (length).

use super::{ServerSession, State, Step};
use crate::event::CloseReason;
use crate::smtp::reply::Reply;
use crate::smtp::wording as say;
use std::borrow::Cow;

impl ServerSession {
    /// Up to the line end, `max` octets with it. What came before is put together in `self.line`.
    pub(super) fn take_line<'a>(&mut self, input: &mut &'a [u8], max: usize) -> Line<'a> {
        let end = memchr::memchr(b'\n', input);
        let taken = end.map_or(input.len(), |at| at + 1);
        if self.line.len() + taken > max {
            let start = if self.line.is_empty() { *input } else { &self.line[..] };
            if names_chunk(start) {
                self.close(&Reply { code: 521, ..say::LINE_TOO_LONG }, CloseReason::Errors);
                return Line::Fatal;
            }
            self.line = Vec::new();
            return Line::TooLong;
        }
        let (piece, rest) = input.split_at(taken);
        *input = rest;
        if end.is_none() {
            self.line.extend_from_slice(piece);
            return Line::Partial;
        }
        let whole = if self.line.is_empty() {
            Cow::Borrowed(piece)
        } else {
            self.line.extend_from_slice(piece);
            Cow::Owned(std::mem::take(&mut self.line))
        };
        Line::Whole(whole)
    }

    pub(super) fn long_line(&mut self, input: &mut &[u8]) -> Option<Step> {
        match memchr::memchr(b'\n', input) {
            None => {
                *input = &[];
                self.state = State::LongLine;
                Some(Step::Read)
            }
            Some(end) => {
                *input = &input[end + 1..];
                self.state = State::Command;
                self.refuse_or_say(&say::LINE_TOO_LONG);
                None
            }
        }
    }
}

pub(super) enum Line<'a> {
    Partial,
    TooLong,
    /// The session is closed over it.
    Fatal,
    /// With its line end.
    Whole(Cow<'a, [u8]>),
}

/// A line that announces octets: if it is refused, how many follow is not known, and they must not
/// be read as commands.
pub(super) fn names_chunk(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// A line without its CRLF, or the reply to one that ends otherwise.
pub(super) type WholeLine<'a> = Result<Cow<'a, [u8]>, Reply>;

/// A command that ends in a bare LF is refused (RFC 5321 2.3.8): who takes it would also have to decide
/// what a bare LF means in data.
pub(super) fn without_crlf(line: Cow<'_, [u8]>) -> WholeLine<'_> {
    if !line.ends_with(b"\r\n") {
        return Err(say::BARE_LF);
    }
    Ok(match line {
        Cow::Borrowed(line) => Cow::Borrowed(&line[..line.len() - 2]),
        Cow::Owned(mut line) => {
            line.truncate(line.len() - 2);
            Cow::Owned(line)
        }
    })
}
