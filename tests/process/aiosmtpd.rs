//! `servers.py`: a server of Debian's aiosmtpd, and what it kept.

use super::Folder;
use super::child::{Child, Ear};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Aiosmtpd {
    _process: Child,
    address: SocketAddr,
    kept: PathBuf,
}

impl Aiosmtpd {
    /// `options` as `servers.py` describes them.
    pub fn start(folder: &Folder, options: &[&str]) -> Aiosmtpd {
        // Debian's own interpreter: another one does not see Debian's libraries.
        let python = Path::new("/usr/bin/python3");
        assert!(python.is_file(), "this test needs the Debian package `python3`");
        let probe = Command::new(python).args(["-c", "import aiosmtpd"]).output().unwrap();
        assert!(probe.status.success(), "this test needs the Debian package `python3-aiosmtpd`");
        let kept = folder.path("kept");
        fs::create_dir_all(&kept).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers.py");
        let mut command = Command::new(python);
        command.args(["-X", "utf8", script]).arg(&kept).args(options).stdin(Stdio::null());
        let mut process = Child::start(&mut command, Ear::Output);
        let port: u16 = process.line_after("listening ").expect("a port").parse().unwrap();
        Aiosmtpd { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)), kept }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lines of each envelope, and the message.
    pub fn kept(&self) -> Vec<(String, String)> {
        let read = |path: &Path| fs::read_to_string(path).expect("written before the message");
        let files = self.files();
        files.iter().map(|path| (read(&path.with_extension("env")), read(path))).collect()
    }

    /// How each connection was encrypted, in the order of the messages.
    pub fn tls(&self) -> Vec<String> {
        let read = |path: &PathBuf| fs::read_to_string(path.with_extension("tls"));
        self.files().iter().map(|path| read(path).expect("written before the message")).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.kept).unwrap().flatten().map(|file| file.path());
        let is_whole = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "eml");
        let mut files: Vec<PathBuf> = files.filter(is_whole).collect();
        files.sort();
        files
    }
}
