//! Waiting for other processes, which ends when the run is to end.
//!
//! SIGINT and SIGTERM set a flag that every wait looks at, so that whoever waits returns
//! `Error::Interrupted` and everything that was started ends on the way out. Never waits without a
//! bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Error;

/// Between two looks at what is waited for.
const LOOK_APART: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct Watch(Arc<AtomicBool>);

impl Watch {
    pub fn begin() -> Result<Watch, Error> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, ended.clone()).map_err(Error::Signals)?;
        }
        Ok(Watch(ended))
    }

    pub fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn check(&self) -> Result<(), Error> {
        if self.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Sleeps, unless it is over.
    pub fn pause(&self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            match end.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => thread::sleep(rest.min(LOOK_APART)),
                _ => return Ok(()),
            }
        }
    }

    /// Looks until there is something to see.
    pub fn until<T>(
        &self,
        what: &str,
        max: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(seen) = look()? {
                return Ok(seen);
            }
            if start.elapsed() >= max {
                return Err(Error::Waited { what: what.to_owned(), seconds: max.as_secs() });
            }
            self.pause(LOOK_APART)?;
        }
    }
}
