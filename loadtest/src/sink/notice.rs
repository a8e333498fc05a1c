//! Delivery status notifications that come back: which message of ours it is about, and for whom.
//!
//! Reads `multipart/report` with a `message/delivery-status` part, or the `message/global-*` forms,
//! of any relay: a recipient is the `Original-Recipient`, which is what was sent, else the
//! `Final-Recipient`, which a relay may have rewritten. The message is known by our header in the
//! returned message or header, whole or not; a relay need not return either. A part in base64 is
//! not looked into, so that such a notice is known by its recipients alone. Looks only at what it
//! is given: whether a message is worth a look is decided in `books.rs`. RFC 3464 2.3, RFC 6522,
//! RFC 6533, RFC 2046 5.1.

use memchr::memchr;

use crate::message::{Identity, recognise};

/// Parts looked at; a notice has three.
const PARTS_MAX: usize = 16;

/// What a notice tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Of the message it is about, when that came back with our header.
    pub serial: Option<&'a [u8]>,
    /// What our header says of that message's sender (`message::sender_crc`).
    pub sender: Option<u32>,
    pub recipients: Vec<Told<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    pub address: &'a [u8],
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// Delivered, relayed, expanded, or nothing that is known.
    Other,
}

/// `None` for a message that is no notice.
pub fn read(message: &[u8]) -> Option<Notice<'_>> {
    let (kind, body) = content_type(message);
    let kind = kind.filter(|kind| is(essence(kind), "multipart/report"))?;
    let boundary = parameter(kind, "boundary")?;
    let mut notice = Notice { serial: None, sender: None, recipients: Vec::new() };
    for part in parts(body, &boundary) {
        let (kind, body) = content_type(part);
        let kind = essence(kind.unwrap_or_default());
        if is(kind, "message/delivery-status") || is(kind, "message/global-delivery-status") {
            notice.recipients.extend(recipients(body));
        } else if RETURNED.iter().any(|returned| is(kind, returned)) {
            let returned = recognise(body);
            match returned.identity {
                Identity::Whole(serial)
                | Identity::Corrupt(serial)
                | Identity::AlteredHeader(serial) => {
                    (notice.serial, notice.sender) = (Some(serial), returned.sender);
                }
                Identity::Foreign => {}
            }
        }
    }
    if notice.recipients.is_empty() { None } else { Some(notice) }
}

/// What the third part of a report can be.
const RETURNED: [&str; 4] =
    ["message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"];

fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

/// The recipient of each group of fields that has one; the first group is about the message.
fn recipients(mut status: &[u8]) -> Vec<Told<'_>> {
    let mut all = Vec::new();
    while !status.is_empty() {
        let mut fields = Fields { rest: status };
        let (mut last, mut original, mut action) = (None, None, Action::Other);
        for (name, value) in fields.by_ref() {
            match name {
                name if is(name, "Final-Recipient") => last = address(value),
                name if is(name, "Original-Recipient") => original = address(value),
                name if is(name, "Action") => action = self::action(value),
                _ => {}
            }
        }
        if let Some(address) = original.or(last) {
            all.push(Told { address, action });
        }
        status = fields.body();
    }
    all
}

/// `rfc822; joe@x.test`, or `utf-8;` when it is one of RFC 6533.
fn address(value: &[u8]) -> Option<&[u8]> {
    let semicolon = memchr(b';', value)?;
    let kind = value[..semicolon].trim_ascii();
    if !is(kind, "rfc822") && !is(kind, "utf-8") {
        return None;
    }
    let address = value[semicolon + 1..].trim_ascii();
    // Some put it in brackets, though it is no path.
    let bare = address.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    Some(bare.unwrap_or(address)).filter(|address| !address.is_empty())
}

/// The word may be followed by a comment.
fn action(value: &[u8]) -> Action {
    let end = value.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'(');
    match &value[..end.unwrap_or(value.len())] {
        word if is(word, "failed") => Action::Failed,
        word if is(word, "delayed") => Action::Delayed,
        _ => Action::Other,
    }
}

/// The Content-Type of a message or part, and what follows its header.
fn content_type(entity: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut fields = Fields { rest: entity };
    let kind = fields.find(|(name, _)| is(name, "Content-Type")).map(|(_, value)| value);
    fields.by_ref().for_each(drop);
    (kind, fields.body())
}

fn essence(content_type: &[u8]) -> &[u8] {
    let end = memchr(b';', content_type).unwrap_or(content_type.len());
    content_type[..end].trim_ascii()
}

/// A parameter of a Content-Type, without its quotes.
fn parameter(content_type: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut rest = &content_type[memchr(b';', content_type)? + 1..];
    loop {
        let equals = memchr(b'=', rest)?;
        let found = is(rest[..equals].trim_ascii(), name);
        let (value, after) = value(rest[equals + 1..].trim_ascii_start());
        if found {
            return Some(value);
        }
        rest = &after[memchr(b';', after)? + 1..];
    }
}

/// A token or quoted string, and what follows it.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let ends = |byte: &u8| *byte == b';' || byte.is_ascii_whitespace();
        let (token, after) = text.split_at(text.iter().position(ends).unwrap_or(text.len()));
        return (token.to_vec(), after);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, byte)| *byte)),
            byte => value.push(*byte),
        }
    }
    (value, &[])
}

/// What lies between the lines `--boundary`; the last one has `--` behind it.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    // Where the part begins that is not at its end; before the first line there is none.
    let mut open = None;
    let mut at = 0;
    while at < body.len() && parts.len() < PARTS_MAX {
        let end = at + line_end(&body[at..]);
        let line = body[at..end].trim_ascii_end();
        let after = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary));
        if let Some(b"" | b"--") = after {
            parts.extend(open.map(|start: usize| &body[start..at]));
            open = (after == Some(b"")).then_some(end);
        }
        at = end;
    }
    // A report that was cut short has no last line.
    parts.extend(open.map(|start| &body[start..]));
    parts
}

/// How far the first line goes, with its end.
fn line_end(text: &[u8]) -> usize {
    memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}

/// The fields of a header, name and value, up to the empty line.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What follows the empty line, once all fields were taken.
    fn body(&self) -> &'a [u8] {
        &self.rest[line_end(self.rest)..]
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut end = line_end(self.rest);
        if self.rest[..end].trim_ascii().is_empty() {
            return None;
        }
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += line_end(&self.rest[end..]);
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        // A line without a colon is none, and is passed over.
        let colon = memchr(b':', field).unwrap_or(field.len() - 1);
        Some((field[..colon].trim_ascii(), field[colon + 1..].trim_ascii()))
    }
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
