//! Where event lines go: a file that can be reopened, or standard output.
//!
//! Lines are handed over in batches, each written with as few calls as the kernel allows. When a
//! write fails in the middle of a line, the next successful one begins on a new line, so that one
//! bad moment costs lines but never makes later ones unreadable. Never retries, never waits: the
//! caller counts the loss and goes on, because mail goes on without a log.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Lines hold addresses: for the owner and a log reader's group, not for everybody.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// The place that `log.path` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Written `-`.
    Stdout,
    File(PathBuf),
}

impl LogTarget {
    pub fn new(path: &Path) -> Self {
        if path == Path::new("-") { LogTarget::Stdout } else { LogTarget::File(path.to_owned()) }
    }
}

/// An open log.
#[derive(Debug)]
pub(super) struct LogFile {
    target: LogTarget,
    output: Output,
    /// The last octet written was not a newline.
    torn: bool,
}

#[derive(Debug)]
enum Output {
    Stdout(io::Stdout),
    File(File),
}

impl LogFile {
    /// Opens for appending; makes the file and its folder when they do not exist.
    pub(super) fn open(target: LogTarget) -> io::Result<Self> {
        let output = Output::open(&target)?;
        Ok(LogFile { target, output, torn: false })
    }

    /// Opens the path anew, after somebody moved the file away. On an error the old one stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.output = Output::open(&self.target)?;
        self.torn = false;
        Ok(())
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_from(b"\n")?;
        }
        self.write_from(lines)
    }

    fn write_from(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            let wrote = match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.torn = rest[wrote - 1] != b'\n';
            rest = &rest[wrote..];
        }
        self.output.flush()
    }
}

impl Output {
    fn open(target: &LogTarget) -> io::Result<Output> {
        let path = match target {
            LogTarget::Stdout => return Ok(Output::Stdout(io::stdout())),
            LogTarget::File(path) => path,
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
        Ok(Output::File(file))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Stdout(stdout) => stdout.write(bytes),
            Output::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Stdout(stdout) => stdout.flush(),
            Output::File(file) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(LogTarget::new(Path::new("-")), LogTarget::Stdout);
        assert_eq!(LogTarget::new(Path::new("./-")), LogTarget::File("./-".into()));
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_the_end() {
        let mut log = LogFile::open(LogTarget::File("/dev/full".into())).unwrap();
        for _ in 0..2 {
            let error = log.write(b"{}\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
