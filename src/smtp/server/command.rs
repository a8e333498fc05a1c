//! Commands in their order: what each may follow, what it changes, what is answered.
//!
//! RFC 5321 4.1.4 (order), 3207 4 (STARTTLS), 8689 2 (REQUIRETLS), 1869 (EHLO keywords); the rest
//! is cited at each rule.

use super::line::{Line, names_chunk, without_crlf};
use super::{Auth, Draft, Gate, Refusal, ServerSession, State, Step};
use crate::event::{CloseReason, RejectStage, RejectTag};
use crate::limits::COMMAND_LINE_BYTES_MAX;
use crate::message::{Protocol, Recipient};
use crate::smtp::command::{self, Command, MailFrom, RcptTo};
use crate::smtp::reply::Reply;
use crate::smtp::wording as say;
use std::borrow::Cow;
use std::rc::Rc;

impl ServerSession {
    pub(super) fn command(&mut self, input: &mut &[u8], gate: &mut impl Gate) -> Option<Step> {
        let line = match self.take_line(input, COMMAND_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::Command;
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        let command = self.count_command(line)?;
        match command.and_then(|command| self.obey(command, input, gate)) {
            Ok(Obeyed::Said) => None,
            Ok(Obeyed::Step(step)) => {
                self.state = State::Busy;
                Some(step)
            }
            Err(reply) => {
                self.refuse_or_say(&reply);
                None
            }
        }
    }

    /// Parses a line that counts as a command; `None` when the session ends over it.
    pub(super) fn count_command(&mut self, line: Cow<'_, [u8]>) -> Option<Result<Command, Reply>> {
        self.state = State::Command;
        self.commands += 1;
        if self.commands > self.rules.commands_max {
            self.close(&say::COMMANDS_MAX, CloseReason::CommandsMax);
            return None;
        }
        let is_chunk = names_chunk(&line);
        match without_crlf(line).and_then(|line| command::parse(&line)) {
            Err(reply) if is_chunk => {
                // Its octets follow, and how many is not known: they must not be read as commands.
                self.close(&Reply { code: 521, ..reply }, CloseReason::Errors);
                None
            }
            command => Some(command),
        }
    }

    fn obey(
        &mut self,
        command: Command,
        input: &mut &[u8],
        gate: &mut impl Gate,
    ) -> Result<Obeyed, Reply> {
        match command {
            Command::Helo(name) => self.hello(&name, false),
            Command::Ehlo(name) => self.hello(&name, true),
            Command::Mail(mail) => {
                self.mail(mail, gate)?;
                self.say(&say::SENDER_OK);
            }
            Command::Rcpt(rcpt) => {
                self.rcpt(rcpt, gate)?;
                self.say(&say::RECIPIENT_OK);
            }
            Command::Data => self.begin_data(gate)?,
            Command::Bdat { size, last } => self.begin_chunk(size, last, gate),
            Command::Rset => {
                self.draft = None;
                self.say(&say::RESET);
            }
            Command::Noop => self.say(&say::NOOP),
            Command::Vrfy => self.say(&say::VRFY),
            Command::Expn => return Err(say::NOT_IMPLEMENTED),
            Command::Help => self.say(&say::HELP),
            Command::Quit => self.close(&say::BYE, CloseReason::Quit),
            Command::StartTls => return self.start_tls(input),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
        }
        Ok(Obeyed::Said)
    }

    fn hello(&mut self, name: &str, extended: bool) {
        // A new greeting is also a RSET (RFC 5321 4.1.4).
        self.draft = None;
        self.helo = Some(name.into());
        self.protocol.esmtp = extended;
        let hostname = &self.rules.hostname;
        if !extended {
            let reply = bare(250, hostname.to_string());
            return self.say(&reply);
        }
        let mut lines = format!(
            "{hostname}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nDSN",
            self.rules.message_bytes_max
        );
        if self.rules.starttls && !self.protocol.tls {
            lines.push_str("\nSTARTTLS");
        }
        if self.protocol.tls {
            // RFC 8689 2: a promise about the session that it is given in.
            lines.push_str("\nREQUIRETLS");
        }
        if self.auth_is_offered() {
            lines.push_str("\nAUTH PLAIN LOGIN");
        }
        self.say(&bare(250, lines));
    }

    pub(super) fn auth_is_offered(&self) -> bool {
        match self.rules.auth {
            Auth::Off => false,
            Auth::Offered { in_clear } | Auth::Required { in_clear } => {
                in_clear || self.protocol.tls
            }
        }
    }

    fn mail(&mut self, mail: MailFrom, gate: &mut impl Gate) -> Result<(), Reply> {
        let helo = self.helo.clone().ok_or(say::HELLO_FIRST)?;
        if self.draft.is_some() {
            return Err(say::NESTED_MAIL);
        }
        if mail.esmtp && !self.protocol.esmtp {
            return Err(say::PARAMETERS_NEED_EHLO);
        }
        if mail.require_tls && !self.protocol.tls {
            return Err(say::REQUIRETLS_NEEDS_TLS);
        }
        let peer = || self.rules.peer_account.as_deref().map(Rc::from);
        let account = self.account.clone().or_else(peer).unwrap_or_default();
        if let Err(refusal) = self.may_send(&mail, &account, gate) {
            gate.refused(RejectStage::Mail, &account, mail.sender.as_str(), &refusal);
            return Err(refusal.reply);
        }
        let protocol = Protocol { utf8: mail.utf8, ..self.protocol };
        self.draft = Some(Draft { mail, recipients: Vec::new(), helo, protocol, account });
        Ok(())
    }

    fn may_send(
        &mut self,
        mail: &MailFrom,
        account: &str,
        gate: &mut impl Gate,
    ) -> Result<(), Refusal> {
        let refusal = |tag, reply| Err(Refusal::new(tag, reply));
        if matches!(self.rules.auth, Auth::Required { .. }) && self.account.is_none() {
            return refusal(RejectTag::NotAllowed, say::AUTH_REQUIRED);
        }
        if account.is_empty() {
            return refusal(RejectTag::NotAllowed, say::NOT_ALLOWED);
        }
        if mail.size.is_some_and(|size| size > self.rules.message_bytes_max) {
            return refusal(RejectTag::TooBig, say::TOO_BIG);
        }
        if mail.sender.needs_utf8() && !mail.utf8 {
            return refusal(RejectTag::BadAddress, say::NEEDS_UTF8);
        }
        if self.messages >= self.rules.messages_max {
            self.state = State::Closed(CloseReason::CommandsMax);
            return refusal(RejectTag::Busy, say::MESSAGES_MAX);
        }
        gate.mail(mail)
    }

    fn rcpt(&mut self, rcpt: RcptTo, gate: &mut impl Gate) -> Result<(), Reply> {
        let draft = self.draft.as_mut().ok_or(say::MAIL_FIRST)?;
        if rcpt.esmtp && !self.protocol.esmtp {
            return Err(say::PARAMETERS_NEED_EHLO);
        }
        let RcptTo { address, notify, original, .. } = rcpt;
        let taken = if draft.recipients.len() >= self.rules.recipients_max {
            Err(Refusal::new(RejectTag::TooManyRecipients, say::TOO_MANY_RECIPIENTS))
        } else if address.needs_utf8() && !draft.mail.utf8 {
            Err(Refusal::new(RejectTag::BadAddress, say::NEEDS_UTF8))
        } else {
            gate.recipient(address)
        };
        match taken {
            Ok(address) => {
                draft.recipients.push(Recipient { address, notify, original });
                Ok(())
            }
            Err(refusal) => {
                let sender = draft.mail.sender.as_str();
                gate.refused(RejectStage::Rcpt, &draft.account, sender, &refusal);
                Err(refusal.reply)
            }
        }
    }

    fn start_tls(&mut self, input: &mut &[u8]) -> Result<Obeyed, Reply> {
        if !self.rules.starttls {
            return Err(say::NOT_IMPLEMENTED);
        }
        if self.protocol.tls {
            return Err(say::TLS_ALREADY);
        }
        if !input.is_empty() {
            // Commands sent in clear would be obeyed as if they had come under TLS (CVE-2011-0411).
            self.close(&say::INJECTION, CloseReason::Injection);
            return Ok(Obeyed::Said);
        }
        self.say(&say::START_TLS);
        Ok(Obeyed::Step(Step::StartTls))
    }
}

pub(super) enum Obeyed {
    Said,
    Step(Step),
}

/// The greeting and the answer to EHLO carry no enhanced code (RFC 2034 4).
pub(super) fn bare(code: u16, text: String) -> Reply {
    Reply { code, status: None, text: Cow::Owned(text) }
}
