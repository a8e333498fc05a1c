//! A program that a run starts: what it prints is read, and it never outlives the run.
//!
//! Each leads a process group of its own, which is killed as a whole when the value is dropped,
//! also by a panic. Should this process be killed itself, the kernel ends the child
//! (`kernel::tie_to_this_thread`), so children are only started by the thread that lives as long as
//! the run. Ctrl-C reaches this process alone, which then ends the others in their order.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::watch::Watch;
use crate::error::Error;
use crate::kernel::{self, Target};
use crate::loopback::Loopback;
use crate::process as proc;
use crate::progress::{Line, Received, Sent, Tick};

/// For a program to say where it listens. A queue of millions is read first.
const START_MAX: Duration = Duration::from_secs(120);
/// For a program to end by itself after SIGTERM; then it is killed.
const END_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether SIGKILL has had its way.
const KILL_LOOK: Duration = Duration::from_millis(1);
/// Lines of output kept to be shown when it fails.
const SAID_LINES_MAX: usize = 20;

/// How a program is told to end when this one was killed and can tell it nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    Killed,
    /// For a master that has to end others, and that begins a session and with it a process group
    /// itself.
    Terminated,
}

/// What a child has printed so far.
#[derive(Default)]
pub struct Told {
    pub ticks: Vec<Tick>,
    pub sent: Option<Sent>,
    pub received: Option<Received>,
    /// The first and, beyond `SAID_LINES_MAX`, the last other lines.
    lines: Vec<String>,
}

pub struct Child {
    program: &'static str,
    process: process::Child,
    told: Arc<Mutex<Told>>,
    reader: Option<JoinHandle<()>>,
    /// What it prints as errors.
    errors: PathBuf,
    /// Of the last look.
    cpu: Duration,
    ended: Option<ExitStatus>,
}

impl Child {
    /// `errors` takes what it prints as errors, to be shown if it fails.
    pub fn start(
        program: &'static str,
        command: &mut Command,
        errors: &Path,
        orphan: Orphan,
    ) -> Result<Child, Error> {
        let file = File::create(errors).map_err(Error::file(errors))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        match orphan {
            Orphan::Killed => {
                command.process_group(0);
                kernel::tie_to_this_thread(command, libc::SIGKILL);
            }
            Orphan::Terminated => kernel::tie_to_this_thread(command, libc::SIGTERM),
        }
        let failed = |source| Error::Command { program: program.to_owned(), source };
        let mut process = command.spawn().map_err(failed)?;
        let told = Arc::new(Mutex::new(Told::default()));
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let reader = thread::spawn({
            let told = told.clone();
            move || listen(output, &told)
        });
        Ok(Child {
            program,
            process,
            told,
            reader: Some(reader),
            errors: errors.to_owned(),
            cpu: Duration::ZERO,
            ended: None,
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    /// What a source printed at its end.
    pub fn sent(&self) -> Result<Sent, Error> {
        // The lock is free again before `failure` takes it.
        let sent = self.told().sent.clone();
        sent.ok_or_else(|| self.failure())
    }

    /// What a sink printed at its end.
    pub fn received(&self) -> Result<Received, Error> {
        let received = self.told().received.clone();
        received.ok_or_else(|| self.failure())
    }

    pub fn last_tick(&self) -> Option<Tick> {
        self.told().ticks.last().copied()
    }

    /// The rest of the first line so far that begins with this word.
    pub fn said(&self, word: &str) -> Option<String> {
        self.told().lines.iter().find_map(|line| after(line, word))
    }

    /// The address behind `word` on a line of its own.
    pub fn address(&mut self, word: &str, watch: &Watch) -> Result<Loopback, Error> {
        let what = format!("the line `{word} ADDRESS` of {}", self.program);
        let text = watch.until(&what, START_MAX, || {
            let told = self.said(word);
            // Programs that serve say so where they complain: their output may be a log.
            let found = told.or_else(|| {
                let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
                errors.split_inclusive('\n').find_map(|line| after(line.strip_suffix('\n')?, word))
            });
            if found.is_none() {
                self.must_live()?;
            }
            Ok(found)
        })?;
        let from = self.program.to_owned();
        text.parse().map_err(|error| Error::Answer { from, what: format!("`{text}`: {error}") })
    }

    /// Whether it is still there. Takes its last CPU time before it is gone, and what is left of
    /// its group with it, while its number cannot be another's.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let over = proc::has_ended(self.pid());
        self.cpu = proc::cpu_time(self.pid()).unwrap_or(self.cpu).max(self.cpu);
        if over {
            kernel::signal(Target::Group(self.pid()), libc::SIGKILL);
            self.ended = self.process.wait().ok();
            kernel::reap(Target::Group(self.pid()));
            if let Some(reader) = self.reader.take() {
                let _ = reader.join();
            }
        }
        !over
    }

    /// CPU time up to now, or to its end.
    pub fn cpu(&mut self) -> Duration {
        self.is_running();
        self.cpu
    }

    /// An error if it has ended.
    pub fn must_live(&mut self) -> Result<(), Error> {
        if self.is_running() { Ok(()) } else { Err(self.failure()) }
    }

    /// What to say when it has failed.
    pub fn failure(&self) -> Error {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let skip = errors.lines().count().saturating_sub(SAID_LINES_MAX);
        let mut said = self.told().lines.clone();
        said.extend(errors.lines().skip(skip).map(str::to_owned));
        Error::Ended { program: self.program.to_owned(), said: said.join("\n") }
    }

    /// What it printed as errors, line by line.
    pub fn complaints(&self) -> Vec<String> {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        errors.lines().take(SAID_LINES_MAX).map(str::to_owned).collect()
    }

    pub fn succeeded(&mut self) -> bool {
        !self.is_running() && self.ended.is_some_and(|status| status.success())
    }

    /// SIGTERM, and gone when this returns, whatever it takes.
    pub fn stop(&mut self, watch: &Watch) {
        if self.is_running() {
            kernel::signal(Target::Process(self.pid()), libc::SIGTERM);
        }
        let what = format!("the end of {}", self.program);
        let ended = watch.until(&what, END_MAX, || Ok((!self.is_running()).then_some(())));
        if ended.is_err() {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if !self.is_running() {
            return;
        }
        // A master that was only just started has no group yet.
        kernel::signal(Target::Process(self.pid()), libc::SIGKILL);
        kernel::signal(Target::Group(self.pid()), libc::SIGKILL);
        while self.is_running() {
            thread::sleep(KILL_LOOK);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Told {
    fn hear(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(Line::Tick(tick)) => self.ticks.push(tick),
            Ok(Line::Sent(sent)) => self.sent = Some(sent),
            Ok(Line::Received(received)) => self.received = Some(received),
            Err(_) => {
                if self.lines.len() == SAID_LINES_MAX {
                    self.lines.remove(SAID_LINES_MAX / 2);
                }
                self.lines.push(text.to_owned());
            }
        }
    }
}

/// The rest of a line that begins with this word.
fn after(line: &str, word: &str) -> Option<String> {
    Some(line.strip_prefix(word)?.strip_prefix(' ')?.to_owned())
}

/// Reads to the end, so that the program never waits for a reader.
fn listen(output: impl BufRead, told: &Mutex<Told>) {
    for line in output.split(b'\n') {
        let Ok(line) = line else { return };
        lock(told).hear(&String::from_utf8_lossy(&line));
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    // Whoever panicked with it held whole lines.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_without_its_last_line_is_an_error_with_its_words() {
        let errors = std::env::temp_dir().join(format!("baton-load-child-{}", process::id()));
        let script = ["-c", "echo no such luck >&2"];
        let mut command = Command::new("sh");
        let mut child = Child::start("sh", command.args(script), &errors, Orphan::Killed).unwrap();
        while child.is_running() {
            thread::yield_now();
        }
        for failure in [child.sent().map(drop), child.received().map(drop)] {
            let words = failure.unwrap_err().to_string();
            assert!(words.contains("no such luck"), "{words}");
        }
        std::fs::remove_file(errors).unwrap();
    }
}
