//! Any relay that runs already and hands all mail to the sink: seen from outside.
//!
//! Nothing is known of its queue, its syncs or its log. What it uses is measured if its processes
//! are named (`--pid`). It is not started, told or ended here.

use super::super::scenario::Route;
use super::Surroundings;
use crate::error::Error;
use crate::loopback::Loopback;
use crate::process;

pub struct Other {
    address: Loopback,
    pids: Vec<u32>,
    route: Route,
}

impl Other {
    pub fn new(address: Loopback, around: Surroundings<'_>) -> Result<Other, Error> {
        let mut other = Other { address, pids: around.args.pid.clone(), route: around.plan.route };
        other.must_live()?;
        Ok(other)
    }

    pub fn address(&self) -> Loopback {
        self.address
    }

    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// The processes that were named are there.
    pub fn must_live(&mut self) -> Result<(), Error> {
        self.pids.iter().try_for_each(|pid| process::memory(*pid).map(drop))
    }

    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "its queue, its syncs and its settings are not known from outside: what it still holds \
             counts as missing"
                .to_owned(),
        ];
        if self.pids.is_empty() {
            notes.push("CPU time and memory are unknown: --pid names its processes".to_owned());
        }
        if matches!(self.route, Route::Mx { .. }) {
            notes.push(
                "whether it found its way by MX or was told the next hop is its own affair"
                    .to_owned(),
            );
        }
        notes
    }
}
