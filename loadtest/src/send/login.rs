//! Who the sessions of a run log in as: SMTP AUTH with PLAIN (RFC 4954, RFC 4616).
//!
//! Reads `USER:PASSWORD`, from an argument or from the lines of a file, and keeps the command that
//! says so. Decides what a line may be; whether a password may travel in clear text is decided with
//! the arguments. Never prints a password.

use std::fmt;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;

/// Of a user's name and password each (RFC 4616 2 lets servers stop there).
const WORD_BYTES_MAX: usize = 255;

/// One user.
#[derive(Clone)]
pub struct Login {
    user: String,
    /// `AUTH PLAIN` with its initial response, and CRLF.
    command: String,
}

impl Login {
    /// Reads `USER:PASSWORD`; the first colon parts them.
    pub fn parse(text: &str) -> Result<Login, String> {
        let fits = |word: &str| {
            !word.is_empty() && word.len() <= WORD_BYTES_MAX && !word.contains(char::is_control)
        };
        let parts = text.split_once(':').filter(|(user, password)| fits(user) && fits(password));
        let Some((user, password)) = parts else {
            let allowed = format!("USER:PASSWORD, 1 to {WORD_BYTES_MAX} bytes each");
            return Err(allowed);
        };
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        Ok(Login { user: user.to_owned(), command: format!("AUTH PLAIN {response}\r\n") })
    }

    /// One for each line that is not empty.
    pub fn read_file(path: &Path) -> Result<Vec<Login>, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let mut logins = Vec::new();
        let mut problems = Vec::new();
        let file = path.display();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            match Login::parse(line) {
                Ok(login) => logins.push(login),
                Err(allowed) => problems.push(format!(
                    "{file}:{}: not a user and a password; allowed: {allowed}",
                    index + 1
                )),
            }
        }
        if logins.is_empty() && problems.is_empty() {
            problems.push(format!("{file}:1: nobody is in this file; allowed: USER:PASSWORD"));
        }
        if problems.is_empty() { Ok(logins) } else { Err(Error::Written(problems)) }
    }

    pub fn command(&self) -> &str {
        &self.command
    }
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Login({:?})", self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_that_of_the_standard() {
        // RFC 4616 4: user tim, password tanstaaftanstaaf.
        let login = Login::parse("tim:tanstaaftanstaaf").unwrap();
        assert_eq!(login.command(), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n");
        assert_eq!(format!("{login:?}"), "Login(\"tim\")");
        // A password may hold a colon.
        assert_ne!(Login::parse("tim:a:b").unwrap().command(), login.command());
    }

    #[test]
    fn a_user_and_a_password_are_both_needed() {
        let long = format!("a:{}", "b".repeat(256));
        for bad in ["", "tim", "tim:", ":secret", "tim:a\0b", &long] {
            let allowed = Login::parse(bad).unwrap_err();
            assert_eq!(allowed, "USER:PASSWORD, 1 to 255 bytes each");
        }
    }

    #[test]
    fn a_file_is_told_of_line_by_line() {
        let name = format!("baton-load-logins-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let read = Login::read_file(&path);
            fs::remove_file(&path).unwrap();
            read.map_err(|error| error.to_string())
        };
        assert_eq!(read("a:1\n\nb:2\n").unwrap().len(), 2);
        let file = path.display();
        let allowed = "allowed: USER:PASSWORD, 1 to 255 bytes each";
        let what = "not a user and a password";
        let expected = format!("{file}:2: {what}; {allowed}\n{file}:3: {what}; {allowed}");
        assert_eq!(read("a:1\nb\n:\n").unwrap_err(), expected);
        assert!(
            read("\n").unwrap_err().ends_with(":1: nobody is in this file; allowed: USER:PASSWORD")
        );
    }
}
