//! Opens io_uring instances with cooperative task running.
//!
//! Without `IORING_SETUP_COOP_TASKRUN` each readiness completion interrupts the core that waits
//! for it. With the flag it is noticed when the thread next enters the kernel, which a busy shard
//! does all the time: measured on one shard taking 4 KiB messages, 40-51 us of CPU a message
//! instead of 66-71.
//!
//! glommio 0.9 cannot set it, so the linker is told (`build.rs`) to send liburing's calls of
//! `__sys_io_uring_setup` here. Wrapping that system call, rather than
//! `io_uring_queue_init_params` above it, needs no `__real_` symbol to call back: the library also
//! links into binaries that are built without the linker's arguments.
//! Kernels before 5.19 do not know the flag and answer EINVAL; they get the ring without it.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

const IORING_SETUP_IOPOLL: u32 = 1 << 0;
const IORING_SETUP_COOP_TASKRUN: u32 = 1 << 8;

/// Octets of `struct io_uring_params`, of which only `flags` matters here (linux/io_uring.h).
const PARAMS_BYTES: usize = 120;
const FLAGS_WORD: usize = 2;

static COOPERATIVE: AtomicUsize = AtomicUsize::new(0);

/// `struct io_uring_params`: ten 32-bit words, then two tables of offsets that the kernel fills in.
#[repr(C)]
pub struct Params {
    words: [u32; PARAMS_BYTES / 4],
}

/// Rings opened with the flag since the process started; zero on an old kernel.
pub fn cooperative_rings() -> usize {
    COOPERATIVE.load(Ordering::Relaxed)
}

/// Opens and closes a small ring: what the operating system says to a process that wants one.
pub fn probe() -> std::io::Result<()> {
    const ENTRIES: c_uint = 4;
    let mut params = Params { words: [0; PARAMS_BYTES / 4] };
    let descriptor = setup(ENTRIES, &mut params);
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    unsafe { libc::close(descriptor) };
    Ok(())
}

/// Takes the place of liburing's function of the same name: a descriptor, or -1 and `errno`.
///
/// # Safety
/// `params` points to a `struct io_uring_params` that nobody else uses during the call.
// SAFETY: the name is ours alone: the linker makes it up from `--wrap`, and liburing has no such
// symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap___sys_io_uring_setup(
    entries: c_uint,
    params: *mut Params,
) -> c_int {
    // SAFETY: liburing passes a valid structure on its caller's stack, see above.
    let params = unsafe { &mut *params };
    // Completions of a polled ring are reaped by its owner: there is nothing to interrupt.
    if params.words[FLAGS_WORD] & IORING_SETUP_IOPOLL != 0 {
        return setup(entries, params);
    }
    params.words[FLAGS_WORD] |= IORING_SETUP_COOP_TASKRUN;
    let descriptor = setup(entries, params);
    if descriptor >= 0 {
        COOPERATIVE.fetch_add(1, Ordering::Relaxed);
        return descriptor;
    }
    if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
        return descriptor;
    }
    params.words[FLAGS_WORD] &= !IORING_SETUP_COOP_TASKRUN;
    setup(entries, params)
}

fn setup(entries: c_uint, params: &mut Params) -> c_int {
    let params: *mut c_void = std::ptr::from_mut(params).cast();
    // SAFETY: the pointer is to a whole `io_uring_params`, which the kernel reads and writes
    // during the call only; the number of entries may be anything.
    let result: c_long = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) };
    result as c_int
}
