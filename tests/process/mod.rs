//! The real binaries and other people's programs as processes of a test.
//!
//! | file | what it runs |
//! |---|---|
//! | `aiosmtpd` | a server of Debian's aiosmtpd, and what it kept |
//! | `child` | any program: found or named with its Debian package, its lines read, killed on drop |
//! | `dns` | `baton-load dns`, the name server of a fake internet |
//! | `postfix` | Debian's Postfix with a queue of its own |
//! | `relay` | `baton run` with a configuration of the test, its metrics, queue and event log |
//! | `ledger` | what `baton-load send` was answered, and the balance |
//! | `sink` | `baton-load sink`, and what it kept of the messages |
//! | `talk` | nothing: a conversation with a server, a line at a time |
//!
//! Every port is chosen by the kernel and learnt from the program. Every folder is below the build
//! folder, because baton refuses a data folder that does not sync, which a temporary one may be.
//! A wait ends with what is waited for. [`PATIENCE`] only turns one that would never end into a
//! failure.

mod aiosmtpd;
mod child;
mod dns;
mod ledger;
mod postfix;
mod relay;
mod sink;
mod talk;

pub use aiosmtpd::Aiosmtpd;
pub use child::{Child, Ear, baton_load, program, succeed};
pub use dns::Dns;
pub use ledger::Ledger;
pub use postfix::Postfix;
pub use relay::{BATON, Relay, Settings, events};
pub use sink::{Sink, Visit, body_with_everything};
pub use talk::Talk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Far above what anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at another process, which has no way to tell us.
const LOOK_APART: Duration = Duration::from_millis(10);

/// A folder that is gone when the test is; a failed test leaves it to be looked at.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = parent.join(format!("{name}-{}-{number}", id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            return eprintln!("left to be looked at: {}", self.0.display());
        }
        // A process that still writes there is killed after us only when the test is written so.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Looks until there is something to see.
#[expect(clippy::disallowed_methods, reason = "waits for another process, which has no simulator")]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(LOOK_APART);
    }
}
