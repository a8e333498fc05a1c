//! What must be true of the machine before anything is opened, each failure with its remedy.
//!
//! Kernel and io_uring, locked memory, open files, cores, a data folder that can be written, and
//! the addresses of egress sources.
//! Ports are tried where they are bound (`listen.rs`); the file system of the data folder and a
//! second instance on it are the store's to find.
//! A [`CheckError`] keeps baton from starting. A [`Warning`] does not: the relay works, but less
//! than the configuration asks for fits.
//!
//! Each check is a function of facts that [`Facts::gather`] reads from the system, so that tests
//! can ask about machines that are not at hand.

use super::ring;
use crate::config::{Config, ShardCount, Source};
use crate::shard::resolve::QUERIES_MAX;
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// glommio asks for the operations of this kernel.
const KERNEL_MIN: (u32, u32) = (5, 8);
/// What glommio refuses to start below (`MIN_MEMLOCK_LIMIT` of its reactor).
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Descriptors beside those of sessions: RocksDB's files (`OPEN_FILES_MAX` there), log, rings.
const FILES_BESIDE_SESSIONS: u64 = 512 + 256;
/// Below this not even a handful of sessions fits.
const FILES_MIN: u64 = FILES_BESIDE_SESSIONS + 128;

/// What the machine allows this process.
#[derive(Debug)]
pub struct Facts {
    /// `6.1.0-18-amd64`
    pub kernel: String,
    /// `kernel.io_uring_disabled`, where there is one: 0 allowed, 1 for the privileged, 2 never.
    pub uring_disabled: Option<u8>,
    /// What opening a ring gave.
    pub uring: io::Result<()>,
    pub locked_bytes: u64,
    /// The hard limit; the soft one was raised to it.
    pub files: u64,
    /// The numbers of the cores that this process may use.
    pub cores: Vec<usize>,
}

impl Facts {
    /// Reads them, and raises the limits of open files and locked memory as far as they go.
    pub fn gather() -> Facts {
        let read = |path: &str| fs::read_to_string(path).ok();
        let disabled = read("/proc/sys/kernel/io_uring_disabled");
        let status = read("/proc/self/status").unwrap_or_default();
        Facts {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            uring_disabled: disabled.and_then(|text| text.trim().parse().ok()),
            locked_bytes: raise_limit(libc::RLIMIT_MEMLOCK),
            uring: ring::probe(),
            files: raise_limit(libc::RLIMIT_NOFILE),
            cores: allowed_cores(&status),
        }
    }
}

/// What was decided about the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// One per shard.
    pub cores: Vec<usize>,
    /// Inbound sessions that leave descriptors for deliveries and the store: one that cannot open a
    /// file fails for good.
    pub sessions_max: u32,
    pub warnings: Vec<Warning>,
}

/// All checks that need no look at the disk.
pub fn check(config: &Config, facts: &Facts) -> Result<Plan, CheckError> {
    check_kernel(&facts.kernel)?;
    if facts.locked_bytes < LOCKED_BYTES_MIN {
        return Err(CheckError::LockedMemory { bytes: facts.locked_bytes });
    }
    check_uring(facts)?;
    let mut warnings = Vec::new();
    if facts.files < FILES_MIN {
        return Err(CheckError::OpenFiles { files: facts.files });
    }
    let sessions_max = config.limits.sessions_max;
    let cores = choose_cores(config.shards, &facts.cores)?;
    let asking = (cores.len() * QUERIES_MAX) as u64;
    let outbound = u64::from(config.delivery.outbound_sessions_max) + asking;
    let beside = FILES_BESIDE_SESSIONS + outbound.min(facts.files / 4);
    let wanted = u64::from(sessions_max) + beside;
    let fit = facts.files.saturating_sub(beside).max(1).min(u64::from(sessions_max)) as u32;
    if facts.files < wanted {
        warnings.push(Warning::OpenFiles { files: facts.files, sessions_max, wanted });
    }
    Ok(Plan { cores, sessions_max: fit, warnings })
}

fn check_kernel(release: &str) -> Result<(), CheckError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        // A name that is no version says nothing; the ring will.
        return Ok(());
    };
    if (major, minor) < KERNEL_MIN {
        return Err(CheckError::KernelTooOld { release: release.to_owned() });
    }
    Ok(())
}

fn check_uring(facts: &Facts) -> Result<(), CheckError> {
    let Err(error) = &facts.uring else { return Ok(()) };
    Err(match (error.raw_os_error(), facts.uring_disabled) {
        (Some(libc::EPERM), Some(level @ 1..)) => CheckError::UringDisabled { level },
        (Some(libc::EPERM), _) => CheckError::UringForbidden,
        (Some(libc::ENOSYS), _) => CheckError::UringMissing,
        (Some(libc::ENOMEM), _) => CheckError::LockedMemory { bytes: facts.locked_bytes },
        (code, _) => CheckError::Uring { words: error.to_string(), code },
    })
}

fn choose_cores(shards: ShardCount, cores: &[usize]) -> Result<Vec<usize>, CheckError> {
    let wanted = match shards {
        ShardCount::Auto => cores.len().min(usize::from(crate::config::SHARDS_MAX)),
        ShardCount::Exactly(count) => usize::from(count),
    };
    if wanted > cores.len() {
        return Err(CheckError::Cores { shards: wanted, cores: cores.len() });
    }
    Ok(cores[..wanted].to_vec())
}

/// `Cpus_allowed_list` of `/proc/self/status`, such as `0-3,8`: also right under taskset, in a
/// container, and where cores are offline.
fn allowed_cores(status: &str) -> Vec<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = Vec::new();
    for part in list.unwrap_or("0").trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

/// Sets the soft limit to the hard one; gives the limit that then holds.
fn raise_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` through a pointer to one.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        // Only a wrong resource or pointer can fail; then nothing is known to be too low.
        return u64::MAX;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the kernel reads one `rlimit` through a pointer to one.
    match unsafe { libc::setrlimit(resource, &raw const raised) } {
        0 => raised.rlim_cur,
        _ => limit.rlim_cur,
    }
}

/// Makes the data folder when it is not there, and a file in it to see that it can be written.
pub fn check_data_dir(path: &Path) -> Result<(), CheckError> {
    let refused = |source| CheckError::DataDir { path: path.to_owned(), source };
    // Only its owner may read it: it holds other people's mail.
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused)?;
    let trial = path.join(".writable");
    File::create(&trial).map_err(refused)?;
    fs::remove_file(&trial).map_err(refused)
}

/// Takes each address for a moment, with a port that the kernel chooses: a source that cannot would
/// otherwise be found out by the mail that it was chosen for.
pub fn check_sources(sources: &[Source]) -> Result<(), CheckError> {
    for source in sources {
        for address in source.addresses() {
            let place = SocketAddr::new(address, 0);
            let taken = Socket::new(Domain::for_address(place), Type::STREAM, None)
                .and_then(|socket| socket.bind(&place.into()));
            taken.map_err(|error| CheckError::SourceAddress {
                name: source.name.clone(),
                address,
                source: error,
            })?;
        }
    }
    Ok(())
}

/// Why baton cannot run here.
#[derive(Debug)]
pub enum CheckError {
    KernelTooOld { release: String },
    UringDisabled { level: u8 },
    UringForbidden,
    UringMissing,
    Uring { words: String, code: Option<i32> },
    LockedMemory { bytes: u64 },
    OpenFiles { files: u64 },
    Cores { shards: usize, cores: usize },
    DataDir { path: PathBuf, source: io::Error },
    SourceAddress { name: String, address: IpAddr, source: io::Error },
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckError::KernelTooOld { release } => write!(
                f,
                "this kernel is {release}; baton needs Linux {}.{} or later, and 5.19 to be at \
                 its best",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
            CheckError::UringDisabled { level } => write!(
                f,
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {level}); \
                 allow it with `sysctl kernel.io_uring_disabled=0`"
            ),
            CheckError::UringForbidden => f.write_str(
                "io_uring is forbidden for this process, usually by the seccomp profile of a \
                 container; run it with one that allows io_uring_setup, io_uring_enter and \
                 io_uring_register (for a test: `--security-opt seccomp=unconfined`)",
            ),
            CheckError::UringMissing => f.write_str(
                "this kernel has no io_uring (CONFIG_IO_URING), or a sandbox hides it; baton \
                 needs a Linux kernel with it",
            ),
            CheckError::Uring { words, .. } => write!(f, "cannot open an io_uring: {words}"),
            CheckError::LockedMemory { bytes } => write!(
                f,
                "only {} KiB of memory may be locked, the rings need more; raise it: \
                 LimitMEMLOCK=64M in the unit file, `ulimit -l 65536` in a shell",
                bytes / 1024
            ),
            CheckError::OpenFiles { files } => write!(
                f,
                "only {files} files may be open, {FILES_MIN} are the least; raise it: \
                 LimitNOFILE=1048576 in the unit file, `ulimit -n` in a shell"
            ),
            CheckError::Cores { shards, cores } => write!(
                f,
                "shards = {shards}, but this process may use {cores} core(s) only; lower it, write \
                 shards = \"auto\", or give the process more cores"
            ),
            CheckError::DataDir { path, source } => write!(
                f,
                "data_dir {}: {source}; name a folder that the user of baton may write",
                path.display()
            ),
            CheckError::SourceAddress { name, address, source } => write!(
                f,
                "[[source]] \"{name}\": mail cannot leave from {address}: {source}; give it \
                 to an interface of this machine (`ip address` shows those it has), or correct \
                 `address` of this source"
            ),
        }
    }
}

impl std::error::Error for CheckError {}

/// What an operator should know, though baton starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    OpenFiles { files: u64, sessions_max: u32, wanted: u64 },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::OpenFiles { files, sessions_max, wanted } => write!(
                f,
                "limits.sessions_max = {sessions_max} does not fit into {files} open files; raise \
                 them to {wanted} and some for deliveries (LimitNOFILE= in the unit file, `ulimit \
                 -n` in a shell), or lower limits.sessions_max"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_those_that_the_process_may_use() {
        let status = |list: &str| format!("Name:\tx\nCpus_allowed_list:\t{list}\nMems:\t0\n");
        assert_eq!(allowed_cores(&status("0-1")), [0, 1]);
        assert_eq!(allowed_cores(&status("2,4-6,9")), [2, 4, 5, 6, 9]);
        assert_eq!(allowed_cores("Name:\tx\n"), [0]);
    }
}
