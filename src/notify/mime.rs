//! The parts of a report as one multipart/report (RFC 6522, RFC 2046 5.1).
//!
//! Decides the boundary, which occurs in no part, and the transfer encoding: 7bit as long as
//! everything is ASCII, else 8bit, since message/* parts may not be encoded (RFC 2046 5.2.1,
//! RFC 3464 2.1). Never looks into a part.

use crate::message::{BodyKind, MessageId};
use memchr::memmem;

/// One part, ready to be sent: lines end in CRLF and are not too long.
pub struct Part {
    /// The Content-Type field, parameters included.
    pub media: &'static str,
    pub description: &'static str,
    pub content: Vec<u8>,
}

impl Part {
    fn encoding(&self) -> &'static str {
        encoding(kind_of(&self.content))
    }
}

/// The MIME fields of the header, and everything below it.
pub struct Multipart {
    pub fields: String,
    pub content: Vec<u8>,
    pub kind: BodyKind,
}

/// Puts the parts together. `report_type` is the subtype of the second part (RFC 6522 3).
pub fn multipart_report(parts: &[Part], report_type: &str, id: MessageId) -> Multipart {
    let boundary = boundary(parts, id);
    let mut content = Vec::new();
    for part in parts {
        content.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Description: {}\r\nContent-Type: {}\r\n\
                 Content-Transfer-Encoding: {}\r\n\r\n",
                part.description,
                part.media,
                part.encoding()
            )
            .as_bytes(),
        );
        content.extend_from_slice(&part.content);
        // This line end belongs to the boundary (RFC 2046 5.1.1): the part stays as it was.
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let kind = kind_of(&content);
    let fields = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={report_type};\r\n \
         boundary=\"{boundary}\"\r\nContent-Transfer-Encoding: {}\r\n",
        encoding(kind)
    );
    Multipart { fields, content, kind }
}

/// A boundary that no part contains. The id makes it unique already, but ids can be guessed and a
/// message may return to us inside another; a part of n octets rules out fewer than n numbers, so
/// the search ends.
fn boundary(parts: &[Part], id: MessageId) -> String {
    (0u64..)
        // `=_` can stand in neither base64 nor quoted-printable text (RFC 2045 6.7).
        .map(|number| format!("=_baton_{id}_{number}"))
        .find(|name| {
            parts.iter().all(|part| memmem::find(&part.content, name.as_bytes()).is_none())
        })
        .expect("a bounded part cannot hold every boundary")
}

fn kind_of(content: &[u8]) -> BodyKind {
    if content.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBit }
}

fn encoding(kind: BodyKind) -> &'static str {
    match kind {
        BodyKind::SevenBit => "7bit",
        BodyKind::EightBit => "8bit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(content: &str) -> Part {
        Part { media: "text/plain", description: "Test", content: content.into() }
    }

    #[test]
    fn a_boundary_that_a_part_contains_is_not_used() {
        let id = MessageId::from_u64(7);
        let taken = boundary(&[part("")], id);
        let next = boundary(&[part("x"), part(&format!("a\r\n--{taken}\r\nb"))], id);
        assert_ne!(taken, next);
        let third = boundary(&[part(&taken), part(&next)], id);
        assert!(third != taken && third != next);
        assert!(third.len() <= 70, "RFC 2046 5.1.1");
    }

    #[test]
    fn the_encoding_is_that_of_the_content() {
        let id = MessageId::from_u64(7);
        let ascii = multipart_report(&[part("a")], "x", id);
        assert_eq!(ascii.kind, BodyKind::SevenBit);
        assert!(ascii.fields.contains("Encoding: 7bit"));
        let mixed = multipart_report(&[part("a"), part("ü")], "x", id);
        assert_eq!(mixed.kind, BodyKind::EightBit);
        assert!(mixed.fields.contains("Encoding: 8bit"));
        let text = String::from_utf8(mixed.content).unwrap();
        assert_eq!((text.matches(": 7bit").count(), text.matches(": 8bit").count()), (1, 1));
    }
}
