//! Ledgers: what was sent and what arrived, one line per message and recipient.
//!
//! ```text
//! sent       serial <TAB> recipient <TAB> 250 | other final code | unknown
//! delivered  serial | - <TAB> recipient <TAB> crc of the body
//!            <TAB> ok | corrupt | header | sender | foreign
//! others     serial [<TAB> recipient] | - <TAB> recipient   (what a relay holds, or has bounced)
//! sessions   client's address <TAB> its name <TAB> messages <TAB> sessions at its start, it included
//! ```
//! The lines of one message are appended with one `write(2)` before the next word is said on the
//! wire, so whatever is killed afterwards, the kernel has them: no buffer, no sync to disk. A sent
//! line is written when its end is known, `unknown` where the connection ended first: only a sender
//! that is killed with SIGKILL leaves messages without a line, those that were under way.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;

use crate::error::Error;

/// Stands in place of a serial for a message that is not ours.
pub const NO_SERIAL: &[u8] = b"-";

/// The end of a sent line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The final reply's code, or that of the recipient's own refusal.
    Answered(u16),
    /// The connection ended first.
    Unknown,
}

/// The end of a delivered line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// The body is another.
    Corrupt,
    /// The header is another.
    AlteredHeader,
    /// The envelope's sender is another.
    OtherSender,
    Foreign,
}

impl Shape {
    pub fn word(self) -> &'static str {
        match self {
            Shape::Whole => "ok",
            Shape::Corrupt => "corrupt",
            Shape::AlteredHeader => "header",
            Shape::OtherSender => "sender",
            Shape::Foreign => "foreign",
        }
    }
}

/// Where lines go; several processes may append to the same file.
pub struct Ledger {
    file: Option<File>,
    lines: Vec<u8>,
}

impl Ledger {
    /// Without a path every line is dropped.
    pub fn open(path: Option<&Path>) -> Result<Ledger, Error> {
        let file = path
            .map(|path| {
                let options = OpenOptions::new().append(true).create(true).open(path);
                options.map_err(Error::file(path))
            })
            .transpose()?;
        Ok(Ledger { file, lines: Vec::new() })
    }

    /// Adds a line about a sent message; `commit` writes it.
    pub fn sent(&mut self, serial: &str, recipient: &str, fate: Fate) {
        if self.file.is_none() {
            return;
        }
        let line = match fate {
            Fate::Answered(code) => writeln!(self.lines, "{serial}\t{recipient}\t{code}"),
            Fate::Unknown => writeln!(self.lines, "{serial}\t{recipient}\tunknown"),
        };
        line.expect("writing to memory does not fail");
    }

    /// Adds a line about a received message; `commit` writes it.
    pub fn delivered(&mut self, serial: &[u8], recipient: &[u8], crc: u32, shape: Shape) {
        if self.file.is_none() {
            return;
        }
        push_field(&mut self.lines, serial);
        push_field(&mut self.lines, recipient);
        let line = writeln!(self.lines, "{crc:08x}\t{}", shape.word());
        line.expect("writing to memory does not fail");
    }

    /// Adds a line about a recipient that a notice calls failed; `commit` writes it.
    pub fn bounced(&mut self, serial: &[u8], recipient: &[u8]) {
        if self.file.is_none() {
            return;
        }
        push_field(&mut self.lines, serial);
        push_field(&mut self.lines, recipient);
        // The last field has no tab behind it.
        self.lines.pop();
        self.lines.push(b'\n');
    }

    /// Adds a line about a session that ended; `commit` writes it.
    pub fn session(&mut self, client: IpAddr, name: &[u8], messages: u64, at_once: u64) {
        if self.file.is_none() {
            return;
        }
        push_field(&mut self.lines, client.to_string().as_bytes());
        push_field(&mut self.lines, name);
        let line = writeln!(self.lines, "{messages}\t{at_once}");
        line.expect("writing to memory does not fail");
    }

    /// Hands the lines since the last call to the kernel, in one piece.
    ///
    /// This blocks the executor, for about a microsecond: the alternative, a write through the
    /// ring, would cost more than it saves and the reply has to wait for it either way.
    pub fn commit(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.write(&self.lines)?;
        if written != self.lines.len() {
            // A second write could land behind another process's line.
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a ledger line was cut short"));
        }
        self.lines.clear();
        Ok(())
    }
}

/// Adds a field and a tab; what would break the line is replaced.
fn push_field(lines: &mut Vec<u8>, field: &[u8]) {
    lines.extend(field.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
    lines.push(b'\t');
}

/// Calls `each` with the fields of every line; `each` answers whether they are what it expects.
pub fn read(path: &Path, mut each: impl FnMut(&[&str]) -> Option<()>) -> Result<(), Error> {
    let mut file = BufReader::new(File::open(path).map_err(Error::file(path))?);
    let mut line = Vec::new();
    for index in 0.. {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(Error::file(path))? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let fields: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
        // A line without its end was cut short, whatever its fields look like.
        if !text.ends_with('\n') || each(&fields).is_none() {
            let text = text.into_owned();
            return Err(Error::LedgerLine { path: path.to_owned(), line: index + 1, text });
        }
    }
    Ok(())
}
