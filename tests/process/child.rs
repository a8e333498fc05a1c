//! A program that a test runs: found, started, listened to, and never left behind.
//!
//! What is missing is a failure that names the Debian package to install, not a test that passes
//! without having tested. A [`Child`] is killed by its own process id when it is dropped.

use super::{PATIENCE, eventually};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Where Debian puts programs that a user's `PATH` may lack.
const ALSO: [&str; 3] = ["/usr/sbin", "/usr/bin", "/sbin"];

/// The path of `name`, which Debian ships in `package`.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ALSO.map(PathBuf::from));
    let mut places = folders.map(|folder| folder.join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("{name} is missing: this test needs the Debian package `{package}`")
    })
}

/// The load generator, which is built beside baton.
pub fn baton_load() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_baton")).with_file_name("baton-load");
    let missing = "baton-load is missing: cargo build --release --workspace";
    assert!(path.is_file(), "{missing}");
    path
}

/// Runs a command to its end, which must be a success.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// A running program and the lines it prints.
pub struct Child {
    child: process::Child,
    lines: Receiver<String>,
    /// All lines that were looked at.
    pub said: Vec<String>,
}

/// Which of its two outputs is listened to; the other goes where the test's own goes.
#[derive(Clone, Copy, Debug)]
pub enum Ear {
    Output,
    Errors,
}

impl Child {
    pub fn start(command: &mut Command, ear: Ear) -> Child {
        match ear {
            Ear::Output => command.stdout(Stdio::piped()),
            Ear::Errors => command.stderr(Stdio::piped()),
        };
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let source: Box<dyn Read + Send> = match ear {
            Ear::Output => Box::new(child.stdout.take().expect("piped")),
            Ear::Errors => Box::new(child.stderr.take().expect("piped")),
        };
        let (sender, lines) = channel();
        // Reads to the end, so that the program never waits for us to listen.
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Child { child, lines, said: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("started with a piped input")
    }

    /// The next line, or `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let line = self.lines.recv_timeout(PATIENCE).ok()?;
        self.said.push(line.clone());
        Some(line)
    }

    /// What follows `prefix` on the first line that begins with it, or `None` at the end.
    pub fn line_after(&mut self, prefix: &str) -> Option<String> {
        loop {
            let line = self.line()?;
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.to_owned());
            }
        }
    }

    /// All that was said and not looked at yet, to the end.
    pub fn rest(&mut self) -> String {
        while self.line().is_some() {}
        self.said.join("\n")
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        succeed(Command::new("kill").args([signal, &pid]));
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let pid = self.pid();
        eventually(&format!("the end of process {pid}"), || {
            self.child.try_wait().expect("our own child")
        })
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// The TCP port on which a program listens that was told to take any and does not say which.
    pub fn listening_port(&self) -> u16 {
        let pid = self.pid();
        eventually(&format!("a listening port of process {pid}"), || listening_port(pid))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening_port(pid: u32) -> Option<u16> {
    const LISTEN: &str = "0A";
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    let names = targets.filter_map(|target| target.to_str().map(str::to_owned));
    let sockets: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let ours = *state == LISTEN && sockets.iter().any(|socket| socket == inode);
        let port = local.rsplit_once(':')?.1;
        if ours { u16::from_str_radix(port, 16).ok() } else { None }
    })
}
