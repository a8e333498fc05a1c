//! A ledger that `baton-load send` is writing, followed from line to line.
//!
//! Also the balance between what was sent and what arrived, drawn by `baton-load balance`.

use super::child::{baton_load, succeed};
use super::eventually;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Ledger {
    path: PathBuf,
    file: Option<File>,
    /// The part of a line that was there at the last look.
    begun: Vec<u8>,
    accepted: usize,
}

impl Ledger {
    pub fn follow(path: &Path) -> Ledger {
        Ledger { path: path.to_owned(), file: None, begun: Vec::new(), accepted: 0 }
    }

    /// Recipients answered 250 so far.
    pub fn accepted(&mut self) -> usize {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut bytes = std::mem::take(&mut self.begun);
            file.read_to_end(&mut bytes).expect("a ledger");
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines = bytes[..whole].split(|byte| *byte == b'\n');
            self.accepted += lines.filter(|line| line.ends_with(b"\t250")).count();
            self.begun = bytes.split_off(whole);
        }
        self.accepted
    }

    pub fn await_accepted(&mut self, count: usize) {
        eventually(&format!("{count} recipients answered 250"), || {
            (self.accepted() >= count).then_some(())
        });
    }

    /// Fails when anything answered 250 is missing or damaged, or more came twice than this.
    /// Gives the words of `baton-load balance`.
    pub fn balance(&self, delivered: &Path, duplicates_max: u64) -> String {
        let mut command = Command::new(baton_load());
        command.arg("balance").arg("--sent").arg(&self.path).arg("--delivered").arg(delivered);
        let output = succeed(command.args(["--duplicates-max", &duplicates_max.to_string()]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
