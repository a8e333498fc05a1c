//! The few places where the load generator talks to the kernel without a safe wrapper.
//!
//! Owns all `unsafe` of this package: ring flags, handing sockets to glommio, another process's CPU
//! clock, the limit on open files, signals, the ties of a child. Decides nothing about SMTP or
//! load.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use glommio::net;
use socket2::Socket;

/// Gives a bound and listening socket to the executor of this thread.
///
/// `TcpListener::bind` of glommio is no substitute: it sets `SO_REUSEPORT`, so that a second sink
/// on the same port would silently share the load instead of failing.
pub fn adopt_listener(socket: Socket) -> net::TcpListener {
    // SAFETY: `into_raw_fd` gives up ownership, so the listener is the descriptor's only owner.
    unsafe { net::TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// Gives a socket that is connected, or about to be, to the executor of this thread.
pub fn adopt_stream(socket: Socket) -> net::TcpStream {
    // SAFETY: `into_raw_fd` gives up ownership, so the stream is the descriptor's only owner.
    unsafe { net::TcpStream::from_raw_fd(socket.into_raw_fd()) }
}

/// Gives a bound UDP socket to the executor of this thread.
pub fn adopt_datagrams(socket: Socket) -> net::UdpSocket {
    // SAFETY: `into_raw_fd` gives up ownership, so the socket is the descriptor's only owner.
    unsafe { net::UdpSocket::from_raw_fd(socket.into_raw_fd()) }
}

/// Lets a socket see only what comes through the loopback device; anybody may (kernel 5.7).
pub fn bind_to_loopback_device(socket: &Socket) -> io::Result<()> {
    const DEVICE: &[u8] = b"lo";
    // SAFETY: the pointer and the length are those of `DEVICE`, which the call only reads.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            DEVICE.as_ptr().cast(),
            DEVICE.len() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the end of a connection a reset instead of a farewell.
pub fn reset_on_close(stream: &net::TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the pointer and the length are those of `linger`, which the call only reads.
    let code = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives one end of a socket pair to the executor of this thread.
pub fn adopt_pair_end(end: UnixStream) -> net::UnixStream {
    // SAFETY: `into_raw_fd` gives up ownership, so the stream is the descriptor's only owner.
    unsafe { net::UnixStream::from_raw_fd(end.into_raw_fd()) }
}

/// CPU time that all threads of a process have used, those that have ended included.
///
/// The clock counts nanoseconds; `/proc/PID/stat` counts ticks of 10 ms, and the `schedstat` files
/// of threads vanish with their threads.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place to write one clock id to.
    let code = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write one timespec to.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

/// Writes all that is dirty in the file system of this file, whoever wrote it, and waits for that.
pub fn sync_file_system(file: &File) -> io::Result<()> {
    // SAFETY: the call takes a number, that of a file which is open, and touches no memory of ours.
    let code = unsafe { libc::syncfs(file.as_raw_fd()) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Time since the boot of the machine (without sleep): the one clock that all its processes share
/// and that nobody sets.
pub fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write one timespec to. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Columns of the terminal behind standard error; `None` when there is none.
pub fn terminal_columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid place to write one winsize to, which this request does.
    let code = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    (code == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Raises the limit on open files to `wanted`, or as far as this user may; returns the limit.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place to write one rlimit to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= wanted
    {
        return limit.rlim_cur;
    }
    let hard = limit.rlim_max;
    // The first choice may need a privilege (beyond the hard limit), the second never does.
    for (soft, hard) in [(wanted, hard.max(wanted)), (wanted.min(hard), hard)] {
        let raised = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: `raised` is a valid rlimit that the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return soft;
        }
    }
    limit.rlim_cur
}

/// Who a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Process(u32),
    /// All processes of the group that this process began.
    Group(u32),
}

/// Sends a signal; one that finds nobody has done its work.
pub fn signal(target: Target, signal: i32) {
    let (Target::Process(pid) | Target::Group(pid)) = target;
    // 0 and negative numbers mean many processes; no process of ours has such a number.
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1) else {
        return;
    };
    let pid = if matches!(target, Target::Group(_)) { -pid } else { pid };
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

/// Has the program that `command` starts get `signal` when the thread that starts it is gone, by
/// whatever end. What it starts itself is its own affair.
pub fn tie_to_this_thread(command: &mut Command, signal: i32) {
    let parent = std::process::id();
    let tie = move || {
        // SAFETY: both calls take and return numbers only, and are safe between fork and exec.
        let (tied, now) = unsafe {
            (libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong), libc::getppid())
        };
        // A parent that ended before the tie would never be heard of.
        if tied == 0 && u32::try_from(now) == Ok(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: the closure allocates nothing and takes no lock, as it must between fork and exec.
    unsafe { command.pre_exec(tie) };
}

/// Makes this process the parent of those below it that lose theirs, instead of process 1, which
/// in a container may never ask how they ended.
pub fn adopt_orphans() {
    // SAFETY: the call takes two numbers and touches no memory of ours. It fails on no kernel that
    // has io_uring.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) };
}

/// Asks how children ended that have, so that nothing of them is left. Waits for those of a group,
/// which must have been killed.
pub fn reap(target: Target) {
    let (Target::Process(pid) | Target::Group(pid)) = target;
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1) else {
        return;
    };
    let (pid, options) = match target {
        Target::Process(_) => (pid, libc::WNOHANG),
        Target::Group(_) => (-pid, 0),
    };
    // SAFETY: no status is asked for, so the call writes nowhere. It ends when there are no such
    // children any more.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), options) } > 0 {}
}

/// The head of `struct io_uring_params` (`linux/io_uring.h`), as far as it is needed here.
#[repr(C)]
pub struct RingParams {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
}

const IORING_SETUP_IOPOLL: u32 = 1;
const IORING_SETUP_COOP_TASKRUN: u32 = 1 << 8;

unsafe extern "C" {
    fn __real_io_uring_queue_init_params(
        entries: libc::c_uint,
        ring: *mut libc::c_void,
        params: *mut RingParams,
    ) -> libc::c_int;
}

/// Stands in for liburing's function of the same name (`build.rs`) and adds `COOP_TASKRUN`.
///
/// Without the flag (kernel 5.19) every readiness completion interrupts the core that the task runs
/// on; with it completions wait for the next system call, which a busy loop makes anyway. It saved
/// a third of the CPU time of an SMTP accept loop. Older kernels answer EINVAL and get their ring
/// without it.
///
/// # Safety
/// The caller is liburing's: `ring` and `params` point to the structures it declares.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_io_uring_queue_init_params(
    entries: libc::c_uint,
    ring: *mut libc::c_void,
    params: *mut RingParams,
) -> libc::c_int {
    // SAFETY: the caller's `params` is a whole `io_uring_params`, whose head `RingParams` is; the
    // wrapped function gets the caller's own arguments.
    unsafe {
        let asked = (*params).flags;
        if asked & IORING_SETUP_IOPOLL == 0 {
            (*params).flags = asked | IORING_SETUP_COOP_TASKRUN;
            let code = __real_io_uring_queue_init_params(entries, ring, params);
            if code != -libc::EINVAL {
                return code;
            }
            (*params).flags = asked;
        }
        __real_io_uring_queue_init_params(entries, ring, params)
    }
}
