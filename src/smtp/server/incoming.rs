//! A message on its way in, by DATA or in chunks.
//!
//! RFC 5321 4.1.1.4 (DATA), 3030 2 (BDAT).

use super::line::Line;
use super::{ChunkBuffer, Gate, Refusal, ServerSession, State, Step, Transaction};
use crate::event::{CloseReason, RejectStage, RejectTag};
use crate::limits::COMMAND_LINE_BYTES_MAX;
use crate::smtp::buffer::{Buffer, Fate};
use crate::smtp::command::Command;
use crate::smtp::content::{Content, Progress, Sink, has_bare_dot_line};
use crate::smtp::reply::Reply;
use crate::smtp::wording as say;

impl ServerSession {
    fn buffer(&self, gate: &mut impl Gate) -> Result<Buffer, Reply> {
        let draft = self.draft.as_ref().ok_or(say::MAIL_FIRST)?;
        if draft.recipients.is_empty() {
            return Err(say::NO_RECIPIENTS);
        }
        Ok(Buffer::new(gate.preface(draft), self.rules.message_bytes_max))
    }

    pub(super) fn begin_data(&mut self, gate: &mut impl Gate) -> Result<(), Reply> {
        let buffer = self.buffer(gate)?;
        self.state = State::Data { content: Content::new(), buffer };
        self.say(&say::GO_AHEAD);
        Ok(())
    }

    pub(super) fn begin_chunk(&mut self, size: u64, last: bool, gate: &mut impl Gate) {
        // Whatever the answer, the octets are on their way and have to be read (RFC 3030 2).
        let buffer = match self.buffer(gate) {
            Ok(buffer) => ChunkBuffer::Kept(buffer),
            Err(reply) => ChunkBuffer::Refused(reply),
        };
        self.next_chunk(size, last, buffer);
    }

    fn next_chunk(&mut self, size: u64, last: bool, buffer: ChunkBuffer) {
        if size > self.rules.message_bytes_max {
            // Reading it to its end would be a favour to nobody.
            self.draft = None;
            self.close(&Reply { code: 521, ..say::TOO_BIG }, CloseReason::Errors);
        } else {
            self.state = State::Chunk { left: size, last, buffer };
        }
    }

    pub(super) fn data(
        &mut self,
        mut content: Content,
        mut buffer: Buffer,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Option<Step> {
        match content.read(input, &mut buffer) {
            Progress::More => {
                self.state = State::Data { content, buffer };
                Some(Step::Read)
            }
            Progress::End => self.complete(buffer, gate),
            Progress::BareLineEnd => {
                // What follows may be a smuggled message: nothing of it may be read as commands.
                self.report_content(RejectTag::BareNewline, &say::BARE_LINE_END, gate);
                self.close(&say::BARE_LINE_END, CloseReason::Smuggling);
                None
            }
        }
    }

    pub(super) fn chunk(
        &mut self,
        left: u64,
        last: bool,
        mut buffer: ChunkBuffer,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Option<Step> {
        let taken = left.min(input.len() as u64) as usize;
        let (piece, rest) = input.split_at(taken);
        *input = rest;
        if let ChunkBuffer::Kept(buffer) = &mut buffer {
            buffer.append(piece);
        }
        let left = left - taken as u64;
        if left > 0 {
            self.state = State::Chunk { left, last, buffer };
            return Some(Step::Read);
        }
        self.state = State::Command;
        match buffer {
            ChunkBuffer::Refused(reply) => {
                self.draft = None;
                self.refuse_or_say(&reply);
                None
            }
            // What is refused is refused at once: the peer can spare itself the other chunks.
            ChunkBuffer::Kept(buffer) if last || buffer.fate() != Fate::Kept => {
                if has_bare_dot_line(buffer.message()) {
                    let reply = &say::BARE_LINE_END_CHUNKED;
                    self.reject_content(RejectTag::BareNewline, reply, gate);
                    return None;
                }
                self.complete(buffer, gate)
            }
            ChunkBuffer::Kept(buffer) => {
                self.say(&say::CHUNK_OK);
                self.state = State::BetweenChunks(buffer);
                None
            }
        }
    }

    /// Only the next chunk, or giving up, is in order here (RFC 3030 2).
    pub(super) fn between_chunks(&mut self, buffer: Buffer, input: &mut &[u8]) -> Option<Step> {
        let line = match self.take_line(input, COMMAND_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::BetweenChunks(buffer);
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.draft = None;
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        match self.count_command(line)? {
            Ok(Command::Bdat { size, last }) => {
                self.next_chunk(size, last, ChunkBuffer::Kept(buffer));
            }
            Ok(Command::Rset) => {
                self.draft = None;
                self.say(&say::RESET);
            }
            Ok(Command::Quit) => self.close(&say::BYE, CloseReason::Quit),
            Ok(Command::Noop) => {
                self.say(&say::NOOP);
                self.state = State::BetweenChunks(buffer);
            }
            Ok(_) => {
                self.draft = None;
                self.refuse_or_say(&say::CHUNKS_EXPECTED);
            }
            Err(reply) => {
                self.draft = None;
                self.refuse_or_say(&reply);
            }
        }
        None
    }

    /// The whole message is here, or as much as was kept of it.
    fn complete(&mut self, buffer: Buffer, gate: &mut impl Gate) -> Option<Step> {
        let (tag, reply) = match buffer.fate() {
            Fate::Kept => {
                let draft = self.draft.take().expect("content belongs to a draft");
                self.state = State::Busy;
                let record = buffer.into_record();
                return Some(Step::Message(Transaction { draft, record }));
            }
            Fate::TooBig => (RejectTag::TooBig, say::TOO_BIG),
            Fate::Shed => (RejectTag::Busy, say::MEMORY),
        };
        self.state = State::Command;
        self.reject_content(tag, &reply, gate);
        None
    }

    /// Refuses the message whose content came in.
    fn reject_content(&mut self, tag: RejectTag, reply: &Reply, gate: &mut impl Gate) {
        self.report_content(tag, reply, gate);
        self.refuse_or_say(reply);
    }

    fn report_content(&mut self, tag: RejectTag, reply: &Reply, gate: &mut impl Gate) {
        let draft = self.draft.take().expect("content belongs to a draft");
        let sender = draft.mail.sender.as_str();
        let refusal = Refusal::new(tag, reply.clone());
        gate.refused(RejectStage::Data, &draft.account, sender, &refusal);
    }
}
