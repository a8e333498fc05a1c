//! The parts of a message in one pass over its octets, without recursion.
//!
//! RFC 2046 5.1. The open multiparts are a stack that `depth_max` bounds; the next boundary of any
//! of them is looked for forwards only, and each candidate line is compared with each open boundary,
//! so the work is linear in the message and the memory does not depend on it. Decides what is a
//! part; never decodes one. See `header` for why no crate does this.

use super::header::{self, Budget, Field};
use super::limits::{Bound, ContentLimits};
use super::media::PartHead;
use super::sign::{Facts, Sign};
use super::transfer::Transfer;
use memchr::{memchr, memmem};

/// What is around a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is shown with its neighbours.
    Together,
    /// A reader sees one of the parts with this number: the last that the client can show.
    OneOf(u32),
}

pub(super) struct Leaf<'a> {
    pub(super) head: PartHead,
    pub(super) body: &'a [u8],
    pub(super) choice: Choice,
}

struct Frame {
    /// With its two hyphens; empty for an attached message, which ends with what is around it.
    boundary: Vec<u8>,
    digest: bool,
    choice: Choice,
    parts: u32,
}

/// Where the walk is.
enum Place {
    /// A header of a part begins here.
    Header,
    /// A body begins here, that of this header.
    Body(PartHead),
    Over,
}

pub(super) struct Walk<'a> {
    message: &'a [u8],
    at: usize,
    place: Place,
    frames: Vec<Frame>,
    fields: Vec<Field<'a>>,
    parts_left: usize,
    choices: u32,
    depth_max: usize,
}

/// A line that ends a body.
struct Boundary {
    /// Where the body before it ends.
    body_end: usize,
    after: usize,
    frame: usize,
    closes: bool,
}

impl<'a> Walk<'a> {
    /// `head` was read from the header that ends before `body_at`.
    pub(super) fn new(
        message: &'a [u8],
        head: PartHead,
        body_at: usize,
        limits: &ContentLimits,
    ) -> Self {
        Self {
            message,
            at: body_at,
            place: Place::Body(head),
            frames: Vec::new(),
            fields: Vec::new(),
            parts_left: limits.parts_max,
            choices: 0,
            depth_max: limits.depth_max,
        }
    }

    /// The next part that holds no others.
    pub(super) fn next(&mut self, budget: &mut Budget, facts: &mut Facts) -> Option<Leaf<'a>> {
        loop {
            match std::mem::replace(&mut self.place, Place::Over) {
                Place::Over => return None,
                Place::Header => self.read_header(budget, facts),
                Place::Body(head) => {
                    if let Some(leaf) = self.read_body(head, facts) {
                        if self.parts_left == 0 {
                            facts.exceeded(Bound::Parts);
                            self.place = Place::Over;
                            return None;
                        }
                        self.parts_left -= 1;
                        return Some(leaf);
                    }
                }
            }
        }
    }

    fn read_header(&mut self, budget: &mut Budget, facts: &mut Facts) {
        let frames = &self.frames;
        let is_boundary = |line: &[u8]| matching(frames, line).is_some();
        self.at = header::read(self.message, self.at, &mut self.fields, budget, is_boundary, facts);
        let digest = frames.last().is_some_and(|frame| frame.digest);
        let default = if digest { "message/rfc822" } else { "text/plain" };
        self.place = Place::Body(PartHead::read(&self.fields, default, facts));
    }

    /// Enters a multipart or an attached message, or gives the part.
    fn read_body(&mut self, head: PartHead, facts: &mut Facts) -> Option<Leaf<'a>> {
        let multipart = head.media.starts_with("multipart/");
        let message = matches!(&*head.media, "message/rfc822" | "message/global")
            && !matches!(head.transfer, Transfer::Base64 | Transfer::QuotedPrintable);
        if multipart && head.boundary.is_empty() {
            facts.add(Sign::BoundaryMissing, &head.media);
        }
        if message || multipart && !head.boundary.is_empty() {
            if self.frames.len() < self.depth_max {
                return self.enter(head, facts);
            }
            facts.exceeded(Bound::Depth);
        }
        // Said before the frames around it end with it.
        let choice = self.choice();
        let start = self.at;
        let end = self.leave(facts);
        Some(Leaf { head, body: &self.message[start..end.max(start)], choice })
    }

    fn choice(&self) -> Choice {
        self.frames.last().map_or(Choice::Together, |frame| frame.choice)
    }

    fn enter(&mut self, head: PartHead, facts: &mut Facts) -> Option<Leaf<'a>> {
        let outer = self.choice();
        let choice = if head.media == "multipart/alternative" {
            self.choices += 1;
            Choice::OneOf(self.choices)
        } else {
            outer
        };
        let multipart = head.media.starts_with("multipart/");
        let boundary =
            if multipart { [b"--", head.boundary.as_bytes()].concat() } else { Vec::new() };
        let digest = head.media == "multipart/digest";
        self.frames.push(Frame { boundary, digest, choice, parts: 0 });
        if !multipart {
            self.place = Place::Header;
            return None;
        }
        // What comes before the first part is shown by no client; where none comes, it is all
        // that there is.
        let start = self.at;
        let mine = self.frames.len() - 1;
        let end = self.leave(facts);
        let entered = self.frames.get(mine).is_some_and(|frame| frame.parts == 1);
        if entered {
            return None;
        }
        facts.add(Sign::MultipartEmpty, &head.media);
        let head = PartHead { media: "text/plain".to_owned(), ..head };
        Some(Leaf { head, body: &self.message[start..end.max(start)], choice: outer })
    }

    /// Goes to the header after the next boundary line that opens a part. Returns where the body
    /// that was left ends; the frames that ended with it are gone.
    fn leave(&mut self, facts: &mut Facts) -> usize {
        let mut body_end = None;
        while let Some(found) = self.next_boundary() {
            body_end.get_or_insert(found.body_end);
            let open = &self.frames[found.frame + 1..];
            if open.iter().any(|frame| !frame.boundary.is_empty()) {
                facts.add(Sign::MultipartUnclosed, "a boundary around it came first");
            }
            self.frames.truncate(found.frame + 1);
            self.at = found.after;
            if !found.closes {
                self.frames[found.frame].parts += 1;
                self.place = Place::Header;
                return body_end.unwrap_or(self.at);
            }
            self.frames.pop();
        }
        if self.frames.iter().any(|frame| !frame.boundary.is_empty()) {
            facts.add(Sign::MultipartUnclosed, "the message ended first");
        }
        self.frames.clear();
        self.at = self.message.len();
        self.place = Place::Over;
        body_end.unwrap_or(self.at)
    }

    /// The next line that is a boundary of an open multipart.
    fn next_boundary(&self) -> Option<Boundary> {
        if self.frames.iter().all(|frame| frame.boundary.is_empty()) {
            return None;
        }
        // The line may be the first of the body: then its line end was that of the header.
        let at_line = self.at == 0 || self.message[self.at - 1] == b'\n';
        let first = (at_line && self.message[self.at..].starts_with(b"--")).then_some(self.at);
        let others = memmem::find_iter(&self.message[self.at..], b"\n--");
        first.into_iter().chain(others.map(|found| self.at + found + 1)).find_map(|line| {
            let rest = &self.message[line..];
            let end = memchr(b'\n', rest).map_or(rest.len(), |length| length + 1);
            let (frame, closes) = matching(&self.frames, &rest[..end])?;
            let body = &self.message[self.at..line];
            let body = body.strip_suffix(b"\n").unwrap_or(body);
            let body = body.strip_suffix(b"\r").unwrap_or(body);
            let body_end = self.at + body.len();
            Some(Boundary { body_end, after: line + end, frame, closes })
        })
    }
}

/// The innermost frame whose boundary the line is, and whether it closes it.
fn matching(frames: &[Frame], line: &[u8]) -> Option<(usize, bool)> {
    frames.iter().enumerate().rev().find_map(|(index, frame)| {
        if frame.boundary.is_empty() {
            return None;
        }
        let rest = line.strip_prefix(frame.boundary.as_slice())?;
        let (rest, closes) = rest.strip_prefix(b"--").map_or((rest, false), |rest| (rest, true));
        rest.trim_ascii().is_empty().then_some((index, closes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and body of each part.
    fn parts(message: &str) -> (Vec<(String, String)>, Facts) {
        let limits = ContentLimits::STANDARD;
        let (mut budget, mut facts) = (Budget::new(&limits), Facts::default());
        let mut fields = Vec::new();
        let octets = message.as_bytes();
        let body = header::read(octets, 0, &mut fields, &mut budget, |_| false, &mut facts);
        let head = PartHead::read(&fields, "text/plain", &mut facts);
        let mut walk = Walk::new(octets, head, body, &limits);
        let mut parts = Vec::new();
        while let Some(leaf) = walk.next(&mut budget, &mut facts) {
            parts.push((leaf.head.media, String::from_utf8_lossy(leaf.body).into_owned()));
        }
        (parts, facts)
    }

    fn texts(message: &str) -> Vec<String> {
        parts(message).0.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn parts_are_what_stands_between_boundaries() {
        assert_eq!(texts("A: b\n\nhello\n"), ["hello\n"]);
        let two = "Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\n\none\n--x  \r\n\
            Content-Type: text/html\n\ntwo\n--x--\nepilogue";
        assert_eq!(texts(two), ["one", "two"]);
        assert!(parts(two).1.list().is_empty());
    }

    #[test]
    fn multiparts_and_messages_inside_others() {
        let message = "Content-Type: multipart/mixed; boundary=a\n\n--a\n\
            Content-Type: multipart/alternative; boundary=ab\n\n--ab\n\n1\n--ab\n\n2\n--ab--\n--a\n\
            Content-Type: message/rfc822\n\nSubject: x\nContent-Type: text/html\n\n3\n--a\n\n4\n--a--";
        assert_eq!(texts(message), ["1", "2", "3", "4"]);
        assert!(parts(message).1.list().is_empty());
    }

    #[test]
    fn what_is_not_closed_or_never_comes_is_told() {
        let (found, facts) = parts("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none");
        assert_eq!(found.len(), 1);
        assert!(facts.has(Sign::MultipartUnclosed));
        let (found, facts) = parts("Content-Type: multipart/mixed; boundary=x\n\njust text");
        assert_eq!(found, [("text/plain".into(), "just text".into())]);
        assert!(facts.has(Sign::MultipartEmpty));
        let (found, facts) = parts("Content-Type: multipart/mixed\n\njust text");
        assert_eq!(found.len(), 1);
        assert!(facts.has(Sign::BoundaryMissing));
    }

    #[test]
    fn an_empty_part_is_one_without_a_body() {
        let message = "Content-Type: multipart/mixed; boundary=x\n\n--x\nA: b\n--x\n\n--x--\n";
        assert_eq!(texts(message), ["", ""]);
    }
}
