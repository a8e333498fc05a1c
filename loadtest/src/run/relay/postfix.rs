//! Debian's Postfix with configuration, queue and data of its own, beside one that the machine
//! runs.
//!
//! Set up as one who knows it would for this load: no chroot, no limits on clients, no delay of the
//! input, processes enough for all sessions, connections to a site as many as the others may have,
//! no look-ups that the load does not need. Its master process runs in the foreground as our child.
//! By MX it asks the same DNS server as the others, through a `/etc/resolv.conf` that only it sees
//! (a mount namespace): Postfix has no setting for that, and the server must then be at port 53.
//! Syncs are counted in a pass of its own under strace, which would slow down what is measured.

use std::env;
use std::fs::{self, DirEntry};
use std::iter;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::super::child::{Child, Orphan};
use super::super::sampler;
use super::super::scenario::{Encryption, Plan, Receivers, Waiting};
use super::super::watch::Watch;
use super::{
    CONNECT_MAX_S, NOBODY, Names, Queue, RETRY_FIRST_S, RETRY_MAX_S, Surroundings, Tracing,
    UNREACHABLE, WAIT_S, setting,
};
use crate::error::Error;
use crate::kernel::{self, Target};
use crate::loopback::Loopback;
use crate::process as proc;

const PROGRAM: &str = "Postfix";
/// Each session is a process.
pub const IDLE_SESSIONS_MAX: u32 = 500;
/// Of each kind, beside those of idle sessions.
const PROCESSES_MAX: u32 = 200;
const START_MAX: Duration = Duration::from_secs(60);
const END_MAX: Duration = Duration::from_secs(60);
/// Between two looks whether SIGKILL has had its way.
const KILL_LOOK: Duration = Duration::from_millis(1);
/// Where Debian puts programs that a `PATH` may lack.
const ALSO: [&str; 3] = ["/usr/sbin", "/usr/bin", "/sbin"];
const REMEDY: &str = "apt-get install postfix";
/// What holds messages that are to be tried now.
const BUSY: [&str; 3] = ["incoming", "active", "maildrop"];
const DEFERRED: &str = "deferred";

/// Only what relaying needs, and nothing in a chroot.
const SERVICES: &str = "\
127.0.0.1:0 inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
retry unix - - n - - error
error unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

pub struct Postfix {
    /// The master, or strace above it.
    process: Child,
    master: u32,
    guard: Guard,
    address: Loopback,
    folder: PathBuf,
    version: String,
    settings: Vec<(String, String)>,
    names: Names,
    waiting: Waiting,
}

impl Postfix {
    pub fn start(around: Surroundings<'_>) -> Result<Postfix, Error> {
        if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            return Err(Error::NeedsRoot { program: PROGRAM });
        }
        let folder = around.folder.join("postfix");
        let config = folder.join("config");
        for path in [&config, &folder.join("data"), &folder.join("queue")] {
            fs::create_dir_all(path).map_err(Error::file(path))?;
        }
        succeed(Command::new("chown").arg("postfix").arg(folder.join("data")))?;
        let settings = settings(around);
        let main = main_cf(&folder, around, &settings);
        for (name, text) in [("main.cf", main.as_str()), ("master.cf", SERVICES)] {
            let path = config.join(name);
            fs::write(&path, text).map_err(Error::file(&path))?;
        }
        if around.plan.source.encryption == Encryption::Starttls {
            make_certificate(&config)?;
        }
        let ask = |name: &str| -> Result<String, Error> {
            let mut command = Command::new(program("postconf")?);
            let said = succeed(command.arg("-c").arg(&config).args(["-h", name]))?.stdout;
            Ok(String::from_utf8_lossy(&said).trim().to_owned())
        };
        let (daemons, version) = (PathBuf::from(ask("daemon_directory")?), ask("mail_version")?);
        // Makes the folders of the queue.
        succeed(Command::new(program("postfix")?).arg("-c").arg(&config).arg("check"))?;
        let mut command = master(&folder, &daemons.join("master"), around.names, around.tracing)?;
        command.env("MAIL_CONFIG", &config);
        let orphan = match around.tracing {
            Tracing::Off => Orphan::Terminated,
            // strace takes no other signal, and its end ends the master.
            Tracing::Syncs => Orphan::Killed,
        };
        let errors = around.folder.join("postfix.errors");
        let mut process = Child::start(PROGRAM, &mut command, &errors, orphan)?;
        let address = around.watch.until("the listening port of Postfix", START_MAX, || {
            process.must_live()?;
            Ok(listening_port(&sampler::pids(&[process.pid()])))
        })?;
        let all = sampler::pids(&[process.pid()]);
        let is_master = |pid: &u32| name(*pid).as_deref() == Some("master");
        let master = all.into_iter().find(is_master).ok_or_else(|| process.failure())?;
        Ok(Postfix {
            process,
            master,
            guard: Guard::start(master)?,
            address,
            folder,
            version: format!("Postfix {version}"),
            settings,
            names: around.names,
            waiting: around.plan.waiting,
        })
    }

    pub fn address(&self) -> Loopback {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn must_live(&mut self) -> Result<(), Error> {
        self.process.must_live()
    }

    pub fn name(&self) -> String {
        self.version.clone()
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }

    pub fn queue(&self) -> Queue {
        // Mail out of reach is where all is that was tried; what receivers take at once is not.
        let tried = if self.waiting.messages > 0 { None } else { Some(DEFERRED) };
        let holds =
            BUSY.into_iter().chain(tried).any(|name| files(&self.place(name)).any(|_| true));
        if holds { Queue::Holds } else { Queue::Empty }
    }

    pub fn held(&self) -> u64 {
        let queues = BUSY.into_iter().chain([DEFERRED]);
        queues.map(|name| files(&self.place(name)).count() as u64).sum()
    }

    fn place(&self, queue: &str) -> PathBuf {
        self.folder.join("queue").join(queue)
    }

    pub fn try_all_again(&self) -> Result<(), Error> {
        let mut command = Command::new(program("postqueue")?);
        succeed(command.arg("-c").arg(self.folder.join("config")).arg("-f")).map(drop)
    }

    pub fn waiting(&self) -> Result<Vec<String>, Error> {
        let mut command = Command::new(program("postqueue")?);
        let said = succeed(command.arg("-c").arg(self.folder.join("config")).arg("-j"))?.stdout;
        let mut waiting = Vec::new();
        for line in String::from_utf8_lossy(&said).lines() {
            let strange = || Error::Answer { from: "postqueue".to_owned(), what: line.to_owned() };
            let message: Value = serde_json::from_str(line).map_err(|_| strange())?;
            let recipients = message["recipients"].as_array().ok_or_else(strange)?;
            let addresses = recipients.iter().map(|one| one["address"].as_str().map(str::to_owned));
            waiting.extend(addresses.collect::<Option<Vec<String>>>().ok_or_else(strange)?);
        }
        Ok(waiting)
    }

    pub fn given_up(&self) -> Vec<String> {
        let mut recipients = Vec::new();
        super::each_line(&self.folder.join("log"), |line| {
            if line.contains(" status=bounced ") {
                let rest = line.split_once(" to=<").map(|(_, rest)| rest);
                recipients.extend(rest.and_then(|rest| Some(rest.split_once('>')?.0.to_owned())));
            }
        });
        recipients
    }

    /// What strace counted; it writes when all is over.
    pub fn traced_syncs(&self) -> Result<u64, Error> {
        let path = self.folder.join("syncs");
        let table = fs::read_to_string(&path).map_err(Error::file(&path))?;
        Ok(counted(&table))
    }

    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if matches!(self.names, Names::Server(_)) {
            notes.push(
                "it asks the same DNS server, through a /etc/resolv.conf that only it sees, and \
                 caches no answers"
                    .to_owned(),
            );
        }
        notes
    }

    /// Ends the master, which ends its daemons, and makes sure of it.
    pub fn stop(&mut self, watch: &Watch) -> Result<(), Error> {
        let all = sampler::pids(&[self.pid()]);
        // strace above it ends when they have.
        kernel::signal(Target::Process(self.master), libc::SIGTERM);
        let ended = watch.until("the end of all processes of Postfix", END_MAX, || {
            let over = !self.process.is_running() && all.iter().all(|pid| proc::has_ended(*pid));
            Ok(over.then_some(()))
        });
        self.clear(&all);
        ended
    }

    /// Kills what is left of these, and waits for them: they are ours when their parents are gone.
    fn clear(&mut self, all: &[u32]) {
        // Soon the number of the master may be another's.
        self.guard.leave();
        let alive = all.iter().filter(|pid| !proc::has_ended(**pid));
        alive.for_each(|pid| kernel::signal(Target::Process(*pid), libc::SIGKILL));
        while self.process.is_running() {
            thread::sleep(KILL_LOOK);
        }
        for pid in all.iter().filter(|pid| **pid != self.pid()) {
            while !proc::has_ended(*pid) {
                thread::sleep(KILL_LOOK);
            }
            kernel::reap(Target::Process(*pid));
        }
    }
}

impl Drop for Postfix {
    /// Without a word to the master, after a failure.
    fn drop(&mut self) {
        if self.process.is_running() {
            let all = sampler::pids(&[self.pid()]);
            self.clear(&all);
        }
    }
}

/// Ends the master should this process be killed. The kernel would not: it forgets the tie of a
/// process that changes users, as the master does.
struct Guard(process::Child);

impl Guard {
    /// Waits for the end of its input, which comes with our end at the latest.
    fn start(master: u32) -> Result<Guard, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r _; kill -TERM \"$0\"", &master.to_string()]);
        command.stdin(Stdio::piped()).process_group(0);
        let failed = |source| Error::Command { program: "sh".to_owned(), source };
        command.spawn().map(Guard).map_err(failed)
    }

    /// Without having done anything.
    fn leave(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The calls of strace's table: share, seconds, microseconds of each, calls, errors or nothing,
/// name.
fn counted(table: &str) -> u64 {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let calls = rows.filter_map(|row| match row.as_slice() {
        [_, _, _, calls, .., "fsync" | "fdatasync" | "syncfs" | "sync"] => {
            calls.parse::<u64>().ok()
        }
        _ => None,
    });
    calls.sum()
}

/// The command that becomes the master process, in the foreground.
fn master(folder: &Path, master: &Path, names: Names, tracing: Tracing) -> Result<Command, Error> {
    let mut words: Vec<String> = Vec::new();
    let own = |name: &str| folder.join(name).display().to_string();
    if let Names::Server(server) = names {
        let path = folder.join("resolv.conf");
        let text = format!("nameserver {}\noptions attempts:3 timeout:3\n", server.address().ip());
        fs::write(&path, text).map_err(Error::file(&path))?;
        let mount = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        words.extend(["unshare", "--mount", "sh", "-c", mount, "sh"].map(str::to_owned));
        words.push(own("resolv.conf"));
    }
    if tracing == Tracing::Syncs {
        let calls = "trace=fsync,fdatasync,syncfs,sync";
        words.extend(["strace", "-f", "--seccomp-bpf", "-c", "-e", calls, "-o"].map(str::to_owned));
        words.push(own("syncs"));
    }
    words.push(master.display().to_string());
    words.extend(["-c".to_owned(), own("config"), "-s".to_owned()]);
    let mut command = Command::new(program(&words[0])?);
    command.args(&words[1..]);
    Ok(command)
}

/// What it is set to, beside its places and its identity. Nothing that differs between rounds: they
/// are rounds of one relay because its settings are the same.
fn settings(around: Surroundings<'_>) -> Vec<(String, String)> {
    let plan = around.plan;
    let connections = plan.connections_max;
    let mut settings = vec![
        setting("default_process_limit", processes(plan)),
        setting("smtp_destination_concurrency_limit", connections),
        setting("initial_destination_concurrency", connections),
        setting("qmgr_message_active_limit", 100_000),
        setting("qmgr_message_recipient_limit", 100_000),
        setting("in_flow_delay", 0),
        setting("smtpd_peername_lookup", "no"),
        setting("smtpd_client_connection_count_limit", 0),
        setting("smtpd_client_connection_rate_limit", 0),
        setting("smtpd_client_event_limit_exceptions", "static:all"),
        setting("smtp_connection_reuse_time_limit", "300s"),
    ];
    if super::hurries(plan) {
        settings.extend([
            setting("queue_run_delay", format!("{RETRY_FIRST_S}s")),
            setting("minimal_backoff_time", format!("{RETRY_FIRST_S}s")),
            setting("maximal_backoff_time", format!("{RETRY_MAX_S}s")),
            setting("smtp_connect_timeout", format!("{CONNECT_MAX_S}s")),
        ]);
    }
    if plan.waiting.messages > 0 {
        let (host, port) = NOBODY.split_once(':').expect("an address has a port");
        let map = format!("inline:{{ {{.{UNREACHABLE} = smtp:[{host}]:{port}}} }}");
        settings.extend([
            setting("transport_maps", map),
            setting("queue_run_delay", format!("{WAIT_S}s")),
            setting("minimal_backoff_time", format!("{WAIT_S}s")),
            setting("maximal_backoff_time", format!("{WAIT_S}s")),
        ]);
    }
    if plan.receivers != Receivers::Willing {
        settings.extend([
            setting("smtp_tls_security_level", "may"),
            setting("smtp_tls_connection_reuse", "yes"),
            setting("smtp_tls_session_cache_database", "btree:$data_directory/smtp_scache"),
        ]);
    }
    settings
}

/// Enough for the sessions of the source, those that do nothing, and connections to the sink.
fn processes(plan: &Plan) -> u32 {
    PROCESSES_MAX.max(plan.source.sessions * 2).max(plan.connections_max * 2)
        + match plan.course {
            super::super::scenario::Course::Idle { .. } => IDLE_SESSIONS_MAX,
            _ => 0,
        }
}

fn main_cf(folder: &Path, around: Surroundings<'_>, settings: &[(String, String)]) -> String {
    let (place, sink) = (folder.display(), around.sink.address());
    let mut main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {place}/queue\n\
         data_directory = {place}/data\n\
         maillog_file = {place}/log\n\
         maillog_file_prefixes = {place}\n\
         myhostname = relay.example.net\n\
         mydestination =\n\
         alias_maps =\n\
         local_recipient_maps =\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\n\
         local_header_rewrite_clients =\n"
    );
    if around.plan.source.encryption == Encryption::Starttls {
        main.push_str(&format!(
            "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {place}/config/chain.pem\n\
             smtpd_tls_session_cache_database = btree:$data_directory/smtpd_scache\n"
        ));
    }
    main.push_str(&match around.names {
        Names::Nobody => format!("relayhost = [{}]:{}\n", sink.ip(), sink.port()),
        Names::Server(_) => format!("smtp_tcp_port = {}\n", sink.port()),
    });
    for (name, value) in settings {
        main.push_str(&format!("{name} = {value}\n"));
    }
    main
}

/// A key of the kind that baton makes for itself, and its certificate.
fn make_certificate(config: &Path) -> Result<(), Error> {
    let (key, certificate) = (config.join("key.pem"), config.join("certificate.pem"));
    let mut command = Command::new(program("openssl")?);
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=relay.example.net"]);
    succeed(command.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
    let read = |path: &Path| fs::read_to_string(path).map_err(Error::file(path));
    let chain = config.join("chain.pem");
    fs::write(&chain, read(&key)? + &read(&certificate)?).map_err(Error::file(&chain))?;
    fs::set_permissions(&chain, fs::Permissions::from_mode(0o600)).map_err(Error::file(&chain))
}

fn program(name: &str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ALSO.map(PathBuf::from));
    let mut places = folders.map(|folder| folder.join(name));
    let missing = Error::Missing {
        program: PathBuf::from(name),
        remedy: match name {
            "strace" => "apt-get install strace",
            "openssl" => "apt-get install openssl",
            _ => REMEDY,
        },
    };
    places.find(|place| place.is_file()).ok_or(missing)
}

/// Runs a command to its end, which must be a success.
fn succeed(command: &mut Command) -> Result<Output, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Command { program: program.clone(), source };
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Ended { program, said })
}

fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// All files of a queue, which may be gone meanwhile.
fn files(queue: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders = vec![queue.to_owned()];
    let mut entries = Vec::new();
    iter::from_fn(move || {
        loop {
            while let Some(entry) = entries.pop() {
                let entry: DirEntry = entry;
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(_) => return Some(entry.path()),
                    Err(_) => {}
                }
            }
            entries = fs::read_dir(folders.pop()?).into_iter().flatten().flatten().collect();
        }
    })
}

/// The address on which one of these listens that was told to take any port and does not say which.
fn listening_port(pids: &[u32]) -> Option<Loopback> {
    const LISTEN: &str = "0A";
    let files = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    let targets = files.flatten().flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let sockets: Vec<String> = targets
        .filter_map(|target| {
            let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        if *state != LISTEN || !sockets.iter().any(|socket| socket == inode) {
            return None;
        }
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        SocketAddr::from(([127, 0, 0, 1], port)).to_string().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_with_errors_and_without() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 99.00    0.100000          50      1500           fsync
  1.00    0.000010           1        10         3 fdatasync
  0.00    0.000000           0         7           openat
------ ----------- ----------- --------- --------- ----------------
100.00    0.100010          50      1517         3 total
";
        assert_eq!(counted(table), 1510);
        assert_eq!(counted(""), 0);
    }
}
