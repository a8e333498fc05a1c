//! The claims of one message: its header read once, the nearest field of each family.
//!
//! Decides which of several fields of one family counts. The nearest is the one that the peer's own
//! software wrote, and where that stands depends on who writes: Exim puts fields of its own *below*
//! those of the message, PHP, Postfix, Sendmail and other relays put theirs *above*. A script that
//! forges a family writes into the middle, so the end at which the writer works is the peer's. Of
//! Received only the topmost counts at all: those below are claims about earlier hops.
//! Never believes: belief is a property of the peer, and `rules` asks for it.

use crate::config::HeaderFamily;
use crate::identify::family::{Claim, Unread, read};
use crate::identify::value::{Text, line};
use crate::smtp::header::{End, fields};
use memchr::memmem;

const FAMILIES: usize = 20;

/// Our Received field ends within this: a command line, an address and a date.
const OWN_RECEIVED_BYTES_MAX: usize = 4_096;

/// Fields of one family beside the nearest that are compared with it.
const OTHERS_MAX: usize = 3;

/// X-AntiAbuse comes in four or five fields.
const ANTI_ABUSE_MAX: usize = 8;

/// At which end of the header the writers of a family work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Above,
    Below,
}

fn place(family: HeaderFamily) -> Place {
    match family {
        HeaderFamily::XAuthUser
        | HeaderFamily::XAuthenticatedId
        | HeaderFamily::XAuthenticatedSender
        | HeaderFamily::XGetMessageSenderVia
        | HeaderFamily::XSource
        | HeaderFamily::XSourceArgs
        | HeaderFamily::XSourceDir
        | HeaderFamily::XAntiAbuse => Place::Below,
        HeaderFamily::XBatonSenderId
        | HeaderFamily::XMailChannelsSenderId
        | HeaderFamily::XSenderId
        | HeaderFamily::XAuthenticatedUser
        | HeaderFamily::Received
        | HeaderFamily::XPhpScript
        | HeaderFamily::XPhpOriginatingScript
        | HeaderFamily::XAuthenticationWarning
        | HeaderFamily::XPppVhost
        | HeaderFamily::XPppMessageId
        | HeaderFamily::XOriginatingIp
        | HeaderFamily::EnvelopeSender => Place::Above,
    }
}

/// The fields of one family.
#[derive(Clone, Copy, Debug, Default)]
struct Slot<'a> {
    nearest: Option<&'a [u8]>,
    others: [Option<&'a [u8]>; OTHERS_MAX],
}

impl<'a> Slot<'a> {
    fn take(&mut self, place: Place, value: &'a [u8]) {
        let other = match (self.nearest, place) {
            (None, _) => {
                self.nearest = Some(value);
                return;
            }
            (Some(_), Place::Above) => value,
            (Some(before), Place::Below) => {
                self.nearest = Some(value);
                before
            }
        };
        if let Some(free) = self.others.iter_mut().find(|place| place.is_none()) {
            *free = Some(other);
        }
    }
}

/// What a header says about who sent it, read in one pass.
#[derive(Debug)]
pub struct Claims<'a> {
    slots: [Slot<'a>; FAMILIES],
    /// The last ones.
    anti_abuse: Vec<&'a [u8]>,
    pub from: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub mailer: Option<&'a [u8]>,
    pub end: End,
}

impl<'a> Claims<'a> {
    /// `own_id` is in the Received field that this relay wrote, which says nothing of the peer.
    pub fn of(message: &'a [u8], own_id: &str) -> Claims<'a> {
        let mut claims = Claims {
            slots: [Slot::default(); FAMILIES],
            anti_abuse: Vec::new(),
            from: None,
            message_id: None,
            mailer: None,
            end: End::Open,
        };
        let mut fields = fields(message);
        let mut own_received = memmem::find(
            message.get(..OWN_RECEIVED_BYTES_MAX).unwrap_or(message),
            own_id.as_bytes(),
        );
        for field in fields.by_ref() {
            if let Some(family) = family_of(field.name) {
                if family == HeaderFamily::Received && own_received.take().is_some() {
                    continue;
                }
                claims.take(family, field.value);
            } else if field.is("from") {
                claims.from.get_or_insert(field.value);
            } else if field.is("message-id") {
                claims.message_id.get_or_insert(field.value);
            } else if field.is("x-mailer") {
                claims.mailer.get_or_insert(field.value);
            }
        }
        claims.end = fields.end();
        claims
    }

    fn take(&mut self, family: HeaderFamily, value: &'a [u8]) {
        match family {
            HeaderFamily::XAntiAbuse => {
                if self.anti_abuse.len() == ANTI_ABUSE_MAX {
                    self.anti_abuse.remove(0);
                }
                self.anti_abuse.push(value);
            }
            HeaderFamily::Received => {
                self.slots[family as usize].nearest.get_or_insert(value);
            }
            _ => self.slots[family as usize].take(place(family), value),
        }
    }

    /// The value of the nearest field of a family, on one line.
    pub fn text(&self, family: HeaderFamily) -> Option<Text<'a>> {
        self.slots[family as usize].nearest.map(line)
    }

    /// What the nearest field of a family claims; `None` when there is no such field.
    pub fn read(&self, family: HeaderFamily) -> Option<Result<Claim, Unread>> {
        self.text(family).map(|text| read(family, &text))
    }

    /// The claim of a family that has one.
    pub fn claim(&self, family: HeaderFamily) -> Option<Claim> {
        self.read(family)?.ok()
    }

    /// Claims of further fields of a family.
    pub fn others(&self, family: HeaderFamily) -> impl Iterator<Item = Claim> {
        let others = self.slots[family as usize].others.iter().flatten();
        others.filter_map(move |value| read(family, &line(value)).ok())
    }

    /// The claims of the X-AntiAbuse fields, the nearest first.
    pub fn anti_abuse(&self) -> impl Iterator<Item = Claim> {
        let nearest_first = self.anti_abuse.iter().rev();
        nearest_first.filter_map(|value| read(HeaderFamily::XAntiAbuse, &line(value)).ok())
    }
}

fn family_of(name: &[u8]) -> Option<HeaderFamily> {
    if !matches!(name, [b'x' | b'X', ..] | [b'r' | b'R', ..]) {
        return None;
    }
    HeaderFamily::all().find(|family| name.eq_ignore_ascii_case(family.word().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_field_is_at_the_end_where_its_writer_works() {
        let header = b"Received: by relay id 0000000000007\r\n\
            Received: from a (x [192.0.2.1]) (Authenticated sender: joe) by srv.example\r\n\
            Received: from a (Authenticated sender: boss) by far.example\r\n\
            X-PHP-Script: a.example/1.php\r\nX-PHP-Script: b.example/2.php\r\n\
            X-AuthUser: boss\r\nX-AuthUser: joe\r\n\r\nX-AuthUser: body\r\n";
        let claims = Claims::of(header, "0000000000007");
        let text = |family| claims.text(family).expect("a field").text.into_owned();
        assert_eq!(text(HeaderFamily::XAuthUser), "joe");
        assert_eq!(text(HeaderFamily::XPhpScript), "a.example/1.php");
        assert_eq!(
            claims.claim(HeaderFamily::Received),
            Some(Claim::User { server: "srv.example".into(), name: "joe".into() })
        );
        let others: Vec<_> = claims.others(HeaderFamily::XAuthUser).collect();
        assert_eq!(others, [Claim::Login("boss".into())]);
        assert_eq!(claims.end, End::Whole);
    }

    #[test]
    fn there_is_a_slot_for_each_family() {
        assert_eq!(HeaderFamily::all().count(), FAMILIES);
        assert!(family_of(b"Envelope-Sender").is_none());
    }
}
