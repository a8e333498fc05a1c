//! What a notification reads from, and returns of, the message it is about.
//!
//! Decides how much goes back (RET, RFC 3461 4.3): the whole message only when a failure is told,
//! the sender asked for it, it is small, and it can travel unchanged; else its header. Line ends
//! become CRLF and overlong header lines are folded, because what came in with a bare LF would
//! otherwise leave in a message of our own making. Never parses MIME.
//! Of a message that requires TLS only the header goes back, whatever RET says (RFC 8689 5).
//! RFC 6522 (text/rfc822-headers), RFC 6532 and 6533 (message/global, message/global-headers).

use super::line::{LINE_OCTETS_MAX, WORD_OCTETS_MAX, cut};
use super::mime::Part;
use super::notice::{Notice, NoticeKind};
use crate::message::Return;

/// Octets up to which a message is returned whole. Enough for the letter that somebody wrote;
/// a bigger one would make every wrong address a parcel sent twice.
pub const NOTICE_RETURN_BYTES_MAX: usize = 64 * 1024;

/// Octets of header that are read and returned; what follows is left out.
pub const NOTICE_HEADER_BYTES_MAX: usize = 64 * 1024;

/// The first field of that name, unfolded, at most [`WORD_OCTETS_MAX`] octets and a mark.
pub fn field(notice: &Notice<'_>, name: &str) -> Option<String> {
    let mut lines = lines(bounded_header(notice));
    let mut value = lines.by_ref().find_map(|line| value_of(line, name))?.to_vec();
    for line in lines.take_while(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
        value.push(b' ');
        value.extend_from_slice(line.trim_ascii());
        if value.len() > WORD_OCTETS_MAX {
            break;
        }
    }
    let value = String::from_utf8_lossy(&value);
    let value = value.trim();
    (!value.is_empty()).then(|| cut(value, WORD_OCTETS_MAX))
}

/// The third part: the message or its header.
pub fn part(notice: &Notice<'_>) -> Part {
    // Without SMTPUTF8 octets above 127 in a header are not UTF-8 by any rule: no message/global.
    let header = bounded_header(notice);
    let global = notice.envelope.utf8 && !header.is_ascii() && str::from_utf8(header).is_ok();
    if let Some(content) = whole_message(notice) {
        let media = if global { "message/global" } else { "message/rfc822" };
        return Part { media, description: "Your message", content };
    }
    let media = match (global, header.is_ascii()) {
        (true, _) => "message/global-headers",
        (false, true) => "text/rfc822-headers",
        // What it is nobody knows; readers expect this more often than anything else.
        (false, false) => "text/rfc822-headers; charset=utf-8",
    };
    Part { media, description: "The header of your message", content: returned_header(header) }
}

fn bounded_header<'a>(notice: &Notice<'a>) -> &'a [u8] {
    let header = notice.original.header();
    if header.len() <= NOTICE_HEADER_BYTES_MAX {
        return header;
    }
    // Back to a line end, so that the last field is not cut within a character.
    let header = &header[..NOTICE_HEADER_BYTES_MAX];
    memchr::memrchr(b'\n', header).map_or(&[], |end| &header[..=end])
}

/// The message in CRLF lines; `None` when it is not asked for or could not be returned as it is.
fn whole_message(notice: &Notice<'_>) -> Option<Vec<u8>> {
    let message = notice.original.message();
    match notice.kind {
        NoticeKind::Failed => {}
        // RET is about failures; other news returns the header only (RFC 3461 4.3).
        NoticeKind::Delayed | NoticeKind::Relayed | NoticeKind::Delivered => return None,
    }
    let asked = notice.envelope.ret == Some(Return::Full) && !notice.envelope.require_tls;
    if !asked || message.len() > NOTICE_RETURN_BYTES_MAX || message.contains(&0) {
        return None;
    }
    let mut content = Vec::with_capacity(message.len());
    for line in lines(message) {
        // A CR on its own is a line end to some readers, and must not be sent (RFC 5321 2.3.8).
        for piece in line.split(|&octet| octet == b'\r') {
            if piece.len() > LINE_OCTETS_MAX {
                return None;
            }
            content.extend_from_slice(piece);
            content.extend_from_slice(b"\r\n");
        }
    }
    Some(content)
}

/// The header in CRLF lines that are not too long; octets that mail cannot carry become `?`.
fn returned_header(header: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(header.len());
    for line in lines(header) {
        let mut rest = line;
        while rest.len() > LINE_OCTETS_MAX {
            let (piece, after) = rest.split_at(character_boundary(rest, WORD_OCTETS_MAX));
            content.extend(piece.iter().map(sendable));
            content.extend_from_slice(b"\r\n ");
            rest = after;
        }
        content.extend(rest.iter().map(sendable));
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn sendable(octet: &u8) -> u8 {
    if matches!(octet, 0 | b'\r') { b'?' } else { *octet }
}

/// The last place up to `at` that does not part the octets of one UTF-8 character.
fn character_boundary(line: &[u8], at: usize) -> usize {
    // A character has at most three octets after its first; more of them is not UTF-8.
    (at - 3..=at).rev().find(|&place| line[place] & 0xc0 != 0x80).unwrap_or(at)
}

/// Lines without their ends, which may be bare LF; a line end at the end begins no empty line.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&octet| octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
}
