//! AUTH PLAIN and LOGIN: from their lines to a [`Login`], which the driver checks.
//!
//! RFC 4954 (AUTH), 4616 (PLAIN). LOGIN has no RFC; what clients do is the specification.

use super::command::Obeyed;
use super::line::{Line, without_crlf};
use super::{Auth, AuthState, Login, ServerSession, State, Step};
use crate::limits::AUTH_LINE_BYTES_MAX;
use crate::smtp::command::{self, Mechanism};
use crate::smtp::reply::Reply;
use crate::smtp::wording as say;

impl ServerSession {
    pub(super) fn auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<Box<[u8]>>,
    ) -> Result<Obeyed, Reply> {
        if self.helo.is_none() || !self.protocol.esmtp {
            return Err(say::HELLO_FIRST);
        }
        if matches!(self.rules.auth, Auth::Off) {
            return Err(say::NOT_IMPLEMENTED);
        }
        if !self.auth_is_offered() {
            return Err(say::TLS_FIRST);
        }
        if self.account.is_some() || self.draft.is_some() {
            return Err(say::AUTH_OUT_OF_PLACE);
        }
        match (mechanism, initial) {
            (Mechanism::Plain, Some(response)) => {
                let (account, password) = command::decode_plain(&response)?;
                Ok(Obeyed::Step(Step::Authenticate(Login { account, password })))
            }
            (Mechanism::Plain, None) => {
                self.say(&say::GO_ON);
                self.state = State::Auth(AuthState::Plain);
                Ok(Obeyed::Said)
            }
            (Mechanism::Login, Some(name)) => {
                self.ask_password(&name)?;
                Ok(Obeyed::Said)
            }
            (Mechanism::Login, None) => {
                self.say(&say::LOGIN_NAME);
                self.state = State::Auth(AuthState::LoginName);
                Ok(Obeyed::Said)
            }
        }
    }

    fn ask_password(&mut self, name: &[u8]) -> Result<(), Reply> {
        let name = command::decode_base64(name)?;
        let account = String::from_utf8(name).map_err(|_| say::BAD_CREDENTIALS)?;
        self.say(&say::LOGIN_PASSWORD);
        self.state = State::Auth(AuthState::LoginPassword { account });
        Ok(())
    }

    pub(super) fn auth_line(&mut self, state: AuthState, input: &mut &[u8]) -> Option<Step> {
        let line = match self.take_line(input, AUTH_LINE_BYTES_MAX) {
            Line::Partial => {
                self.state = State::Auth(state);
                return Some(Step::Read);
            }
            Line::TooLong => {
                self.state = State::LongLine;
                return None;
            }
            Line::Fatal => return None,
            Line::Whole(line) => line,
        };
        self.state = State::Command;
        let login = without_crlf(line).and_then(|line| match (state, &line[..]) {
            (AuthState::Plain, response) => {
                let (account, password) = command::decode_plain(response)?;
                Ok(Some(Login { account, password }))
            }
            (AuthState::LoginName, name) => self.ask_password(name).map(|()| None),
            (AuthState::LoginPassword { account }, password) => {
                Ok(Some(Login { account, password: command::decode_base64(password)? }))
            }
        });
        match login {
            Ok(None) => None,
            Ok(Some(login)) => {
                self.state = State::Busy;
                Some(Step::Authenticate(login))
            }
            Err(reply) => {
                self.refuse_or_say(&reply);
                None
            }
        }
    }
}
