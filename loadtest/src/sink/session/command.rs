//! What each command does to a session, and how a command is read.
//!
//! Decides what a `MAIL`, `RCPT`, `DATA`, `BDAT` and `STARTTLS` is told. Limits and refusals of a
//! recipient come in a fixed order: what does not exist is rejected first, so that it is so at each
//! attempt; then greylisting; then the dice, rejection before deferral. A command out of order
//! (RFC 5321 4.1.4) meets none of them. A notice may have to wait but is not rejected, for then
//! nobody would learn what bounced.

use super::*;
use crate::profile::site::Tls;
use crate::profile::words::domain;
use crate::sink::memory::triplet;
use crate::sink::personality::{Offer, Personality};

impl Session {
    /// Obeys the command in `line`.
    pub(super) fn obey(&mut self, replies: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        self.command(&line, replies);
        self.line = line;
        self.line.clear();
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_slice() {
            b"QUIT" => {
                replies.extend_from_slice(b"221 2.0.0 bye\r\n");
                self.phase = Phase::Closed;
            }
            _ if matches!(self.phase, Phase::Refused) => {
                replies.extend_from_slice(b"503 5.5.1 no mail is taken here\r\n");
            }
            b"EHLO" => {
                self.meet(line);
                self.ehlo(replies);
            }
            b"HELO" => {
                self.meet(line);
                replies.extend_from_slice(b"250 sink.test\r\n");
            }
            b"MAIL" => self.mail(line, replies),
            b"RCPT" => self.rcpt(line, replies),
            b"DATA" => self.data(replies),
            b"BDAT" if self.server.personality.chunking == Offer::Made => self.bdat(line, replies),
            b"STARTTLS" if self.offers_tls() => self.starttls(replies),
            b"RSET" => {
                self.reset();
                replies.extend_from_slice(b"250 2.0.0 reset\r\n");
            }
            b"NOOP" => replies.extend_from_slice(b"250 2.0.0 still here\r\n"),
            b"VRFY" => replies.extend_from_slice(b"252 2.5.0 send and see\r\n"),
            _ => replies.extend_from_slice(b"500 5.5.1 unknown command\r\n"),
        }
    }

    fn meet(&mut self, line: &[u8]) {
        self.reset();
        self.client = line.get(5..).unwrap_or_default().trim_ascii().to_vec();
    }

    fn ehlo(&self, replies: &mut Vec<u8>) {
        let personality = &self.server.personality;
        replies.extend_from_slice(b"250-sink.test\r\n");
        if personality.pipelining == Offer::Made {
            replies.extend_from_slice(b"250-PIPELINING\r\n");
        }
        if personality.chunking == Offer::Made {
            replies.extend_from_slice(b"250-CHUNKING\r\n");
        }
        if self.offers_tls() {
            replies.extend_from_slice(b"250-STARTTLS\r\n");
        }
        push_line(replies, format_args!("250-SIZE {}", personality.size_max));
        replies.extend_from_slice(b"250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n");
    }

    fn offers_tls(&self) -> bool {
        self.channel == Channel::Clear && self.server.personality.tls != Tls::None
    }

    fn starttls(&mut self, replies: &mut Vec<u8>) {
        let handshake = match self.server.personality.tls {
            Tls::Works => Handshake::Works,
            Tls::Fails => Handshake::Fails,
            Tls::Garbage => Handshake::Garbage,
            Tls::Closes => Handshake::Closes,
            Tls::None | Tls::Refused => {
                self.note(self.server.place, Behaviour::BrokenTls);
                replies.extend_from_slice(b"454 4.7.0 TLS not available due to local problem\r\n");
                return;
            }
        };
        if handshake != Handshake::Works {
            self.note(self.server.place, Behaviour::BrokenTls);
        }
        replies.extend_from_slice(b"220 2.0.0 Ready to start TLS\r\n");
        self.phase = Phase::Handshake(handshake);
    }

    fn mail(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        if !has_keyword(line, b"FROM:") {
            replies.extend_from_slice(b"501 5.5.4 MAIL FROM:<address>\r\n");
        } else if !self.envelope.mail.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 one MAIL at a time\r\n");
        } else {
            self.envelope.mail.extend_from_slice(line);
            if self.admits(line, replies) {
                replies.extend_from_slice(b"250 2.1.0 ok\r\n");
            } else {
                self.envelope.mail.clear();
            }
        }
    }

    /// Whether one more message may come; if not, the reply is said.
    fn admits(&mut self, line: &[u8], replies: &mut Vec<u8>) -> bool {
        let Server { personality, place, .. } = self.server.clone();
        if let Some(limit) = &personality.messages_max
            && self.messages >= limit.count
        {
            self.refuse(Behaviour::SessionFull, place, &limit.replies, replies);
            self.phase = Phase::Closed;
            return false;
        }
        if size(line).is_some_and(|bytes| bytes > personality.size_max as u64) {
            self.note(place, Behaviour::TooBig);
            replies.extend_from_slice(b"552 5.3.4 message too big\r\n");
            return false;
        }
        if let Some(limit) = &personality.messages_per_minute {
            let verdict = self.world.memory.borrow_mut().take(self.who(), self.now, limit.count);
            if verdict == Verdict::Wait {
                self.refuse(Behaviour::RateLimited, place, &limit.replies, replies);
                return false;
            }
        }
        if hit(personality.drops.mail.0, &mut self.dice) {
            self.note(place, Behaviour::DroppedAfterMail);
            self.phase = Phase::Closed;
            return false;
        }
        true
    }

    fn rcpt(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        if !has_keyword(line, b"TO:") {
            replies.extend_from_slice(b"501 5.5.4 RCPT TO:<address>\r\n");
        } else if self.envelope.mail.is_empty() || !self.content.is_empty() {
            replies
                .extend_from_slice(b"503 5.5.1 RCPT comes after MAIL and before the message\r\n");
        } else if self.envelope.recipients.len() == RECIPIENTS_MAX {
            replies.extend_from_slice(b"452 4.5.3 too many recipients\r\n");
        } else {
            let address = path(line);
            let server = match self.reach {
                Reach::Itself => self.server.clone(),
                Reach::Domains => self.world.sites.of_domain(domain(address)),
            };
            match self.objection(&server, address) {
                Some((why, with)) => {
                    self.refuse_recipient(why, server.place, with, address, replies);
                }
                None => {
                    self.welcome(line, server);
                    replies.extend_from_slice(b"250 2.1.5 ok\r\n");
                }
            }
        }
    }

    fn objection<'a>(
        &mut self,
        server: &'a Server,
        address: &[u8],
    ) -> Option<(Behaviour, &'a Replies)> {
        let personality: &Personality = &server.personality;
        let is_notice = self.is_notice();
        if !is_notice && self.misses(personality, address) {
            return Some((Behaviour::UnknownUser, &personality.unknown_user.replies));
        }
        if let Some(greylist) = &personality.greylist {
            let sender = path(&self.envelope.mail);
            let triplet = triplet((server.number, self.peer), sender, address);
            let verdict = self.world.memory.borrow_mut().greylist(triplet, self.now, greylist);
            if verdict == Verdict::Wait {
                return Some((Behaviour::Greylisted, &greylist.replies));
            }
        }
        let (rejection, deferral) =
            (&personality.recipient_rejection, &personality.recipient_deferral);
        if !is_notice && rejection.hit(&mut self.dice) {
            return Some((Behaviour::RecipientRejected, &rejection.replies));
        }
        let hit = deferral.hit(&mut self.dice);
        hit.then_some((Behaviour::RecipientDeferred, &deferral.replies))
    }

    /// Not the dice: a mailbox that does not exist must not exist at the next attempt either.
    fn misses(&self, personality: &Personality, address: &[u8]) -> bool {
        let share = personality.unknown_user.share;
        if share == 0 {
            return false;
        }
        let salt = (self.world.seed as u32) ^ (self.world.seed >> 32) as u32;
        let mut hash = crc32fast::Hasher::new_with_initial(salt);
        hash.update(address);
        // Mixed by the generator, because the CRCs of similar addresses are similar.
        hit(share, &mut fastrand::Rng::with_seed(hash.finalize().into()))
    }

    fn welcome(&mut self, line: &[u8], server: Server) {
        if self.envelope.recipients.is_empty() {
            let cut = hit(server.personality.drops.data.0, &mut self.dice);
            self.cut = if cut { self.dice.usize(1..=CUT_BYTES_MAX) } else { NO_CUT };
            self.judge = server;
        }
        self.envelope.recipients.push(line.to_vec());
    }

    fn data(&mut self, replies: &mut Vec<u8>) {
        if self.envelope.recipients.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 DATA comes after a RCPT\r\n");
        } else if !self.content.is_empty() {
            replies.extend_from_slice(b"503 5.5.1 DATA does not mix with BDAT\r\n");
        } else {
            replies.extend_from_slice(b"354 go ahead\r\n");
            self.phase = Phase::Data(Dots::LineStart);
        }
    }

    fn bdat(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_ascii_whitespace().skip(1);
        let Some(bytes) = words.next().and_then(|bytes| bytes.parse().ok()) else {
            replies.extend_from_slice(b"501 5.5.4 BDAT length [LAST]\r\n");
            // Where the chunk ends is unknown, so nothing after it can be understood.
            self.phase = Phase::Closed;
            return;
        };
        let after = match words.next() {
            _ if self.envelope.recipients.is_empty() => AfterChunk::Refuse,
            Some(last) if last.eq_ignore_ascii_case("LAST") => AfterChunk::Last,
            _ => AfterChunk::More,
        };
        self.phase = Phase::Chunk(bytes, after);
    }
}

/// The value of `SIZE=` in a `MAIL` command (RFC 1870 6).
fn size(line: &[u8]) -> Option<u64> {
    let mut words = line.split(|byte| *byte == b' ').rev();
    let word = words.find(|word| word.get(..5).is_some_and(|it| it.eq_ignore_ascii_case(b"SIZE=")));
    str::from_utf8(&word?[5..]).ok()?.parse().ok()
}

/// Whether a command's first word is followed by `keyword`.
fn has_keyword(line: &[u8], keyword: &[u8]) -> bool {
    let rest = line.get(5..).unwrap_or_default();
    rest.trim_ascii_start().get(..keyword.len()).is_some_and(|it| it.eq_ignore_ascii_case(keyword))
}

/// The address in a `MAIL` or `RCPT` command; a quoted local part may hold angle brackets.
pub(super) fn path(line: &[u8]) -> &[u8] {
    let Some(start) = memchr(b'<', line) else {
        let start = memchr(b':', line).map_or(line.len(), |colon| colon + 1);
        let rest = line[start..].trim_ascii_start();
        return rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    };
    let rest = &line[start + 1..];
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return &rest[..at],
            _ => {}
        }
    }
    rest
}
