//! Debian's Postfix with configuration, queue and data of its own, beside one that the machine runs.
//!
//! Its daemons run as the user `postfix`, so the folder is one that everybody can reach, and only
//! root can start it. The master process is ended with a SIGTERM, on which it ends its daemons.

use super::child::{Child, Ear, program, succeed};
use super::eventually;
use std::env::temp_dir;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::thread;

/// Only what relaying needs, and nothing in a chroot.
const SERVICES: &str = "\
127.0.0.1:0 inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

pub struct Postfix {
    master: Child,
    folder: PathBuf,
}

impl Postfix {
    /// Relays everything to `next`. `pem` is its certificate with the key, `more` more parameters.
    pub fn start(name: &str, next: SocketAddr, pem: &str, more: &str) -> Postfix {
        let postfix = program("postfix", "postfix");
        let root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
        assert!(root, "this test needs root: the master process of Postfix changes users");
        let folder = temp_dir().join(format!("baton-postfix-{name}-{}", id()));
        let (config, data) = (folder.join("config"), folder.join("data"));
        for path in [&config, &data, &folder.join("queue")] {
            fs::create_dir_all(path).expect("a folder");
        }
        succeed(Command::new("chown").arg("postfix").arg(&data));
        let place = folder.display();
        let main = format!(
            "compatibility_level = 3.6\n\
             queue_directory = {place}/queue\n\
             data_directory = {place}/data\n\
             maillog_file = {place}/log\n\
             maillog_file_prefixes = {place}\n\
             myhostname = postfix.test\n\
             mydestination =\n\
             alias_maps =\n\
             inet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\n\
             mynetworks = 127.0.0.0/8\n\
             local_header_rewrite_clients =\n\
             relayhost = [{}]:{}\n\
             smtpd_tls_chain_files = {place}/config/chain.pem\n\
             smtpd_tls_received_header = yes\n\
             smtp_tls_loglevel = 1\n\
             {more}\n",
            next.ip(),
            next.port()
        );
        for (name, text) in
            [("main.cf", main.as_str()), ("master.cf", SERVICES), ("chain.pem", pem)]
        {
            fs::write(config.join(name), text).expect("a file");
        }
        // Makes the folders of the queue.
        succeed(Command::new(postfix).arg("-c").arg(&config).arg("check"));
        let mut master = Command::new(daemons(&config).join("master"));
        master.env("MAIL_CONFIG", &config).arg("-c").arg(&config).arg("-s").stdin(Stdio::null());
        Postfix { master: Child::start(&mut master, Ear::Errors), folder }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.master.listening_port()))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Until the queue manager has forgotten all messages.
    pub fn await_empty_queue(&self) {
        let waiting = ["incoming", "active", "deferred", "maildrop"];
        let is_empty = |name: &str| !holds_files(&self.folder.join("queue").join(name));
        let all = || waiting.into_iter().all(is_empty).then_some(());
        eventually("an empty queue of Postfix", all);
    }
}

fn daemons(config: &Path) -> PathBuf {
    let mut ask = Command::new(program("postconf", "postfix"));
    let said = succeed(ask.arg("-c").arg(config).args(["-h", "daemon_directory"])).stdout;
    PathBuf::from(String::from_utf8(said).expect("a path").trim())
}

fn holds_files(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().is_file() || holds_files(&entry.path()))
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if self.master.is_running() {
            self.master.signal("-TERM");
            self.master.wait();
        }
        if thread::panicking() {
            return eprintln!("{}\nleft to be looked at: {}", self.log(), self.folder.display());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
