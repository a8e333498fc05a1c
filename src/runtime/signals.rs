//! SIGTERM and SIGINT stop the relay in order; SIGHUP reopens the log and reads the
//! configuration again.
//!
//! One thread waits for them. The second request to stop ends the process where it stands:
//! whoever sends it does not want to wait, and what was answered 250 is on disk already. It does
//! not pass through the rest of the process, which may be what hangs.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// By the signal of this name.
    Stop(&'static str),
    Reload,
}

/// Calls `tell` for each signal, on a thread of its own, until the process ends.
pub fn watch(tell: impl Fn(Request) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("baton-signals".into()).spawn(move || {
        let mut stopping = false;
        for number in signals.forever() {
            match number {
                SIGHUP => tell(Request::Reload),
                _ if stopping => exit_now(number),
                _ => {
                    stopping = true;
                    tell(Request::Stop(if number == SIGTERM { "SIGTERM" } else { "SIGINT" }));
                }
            }
        }
    })?;
    Ok(())
}

fn exit_now(number: i32) -> ! {
    // SAFETY: ends the process and touches nothing in it, which is the point: destructors would
    // run under the feet of the threads that are still at work.
    unsafe { libc::_exit(128 + number) }
}
