//! Mail that waits in the relay's queue while a scenario runs, because its next hop is out of
//! reach: put there before the warm-up, counted at the end.
//!
//! It is part of the balance by its number alone: so many were accepted, and as many must be in the
//! queue at the end by the relay's own count, less what it holds of the measured mail. To ask it
//! for a million recipients would take longer than the run. One that was delivered all the same has
//! a serial that nobody expects, and the sink's ledger shows it; one that is not there is missing.
//! The load begins when the relay has tried all of it and has come to rest.

use std::time::Duration;

use super::course::LOOK_APART;
use super::line::Line;
use super::sampler;
use super::stage::Stage;
use crate::error::Error;
use crate::report::model::Balance;

/// Between two looks at what the relay uses.
const REST_APART: Duration = Duration::from_secs(1);
/// A relay that used less than so much meanwhile is at rest.
const REST_CPU: Duration = Duration::from_millis(50);
/// For the relay to come to rest.
const REST_MAX: Duration = Duration::from_secs(900);

/// What waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    messages: u64,
    accepted_per_s: f64,
}

/// Fills the queue, if the scenario wants it.
pub fn fill(stage: &mut Stage<'_>) -> Result<Held, Error> {
    let wanted = stage.turn.plan.waiting.messages;
    if wanted == 0 {
        return Ok(Held::default());
    }
    let mut source = stage.start_filling()?;
    let mut line = Line::new(stage.turn);
    while source.is_running() {
        stage.must_live()?;
        line.show("fill", stage, &source);
        stage.turn.watch.pause(LOOK_APART)?;
    }
    line.clear();
    let sent = source.told().sent.clone().ok_or_else(|| source.failure())?;
    if sent.accepted != wanted {
        return Err(Error::NotFilled { wanted, accepted: sent.accepted, why: sent.first_refusal });
    }
    rest(stage)?;
    Ok(Held { messages: wanted, accepted_per_s: wanted as f64 / sent.seconds.max(1e-9) })
}

/// Waits until the relay holds all of it and does nothing more about it.
fn rest(stage: &mut Stage<'_>) -> Result<(), Error> {
    let (watch, roots) = (stage.turn.watch, stage.relay.roots());
    let mut before = sampler::cpu(&roots);
    watch.until("a relay at rest, with its queue full", REST_MAX, || {
        stage.must_live()?;
        watch.pause(REST_APART)?;
        let now = sampler::cpu(&roots);
        let used = now.saturating_sub(std::mem::replace(&mut before, now));
        Ok((used < REST_CPU).then_some(()))
    })
}

impl Held {
    /// Adds it to the balance of the measured mail.
    pub fn enter(self, stage: &Stage<'_>, balance: &mut Balance) -> Result<(), Error> {
        if self.messages == 0 {
            return Ok(());
        }
        // A count of a moment ago may still have some that are gone; it cannot lack any.
        let held = stage.relay.held()?.saturating_sub(balance.queued);
        let missing = self.messages.saturating_sub(held);
        balance.messages_sent += self.messages;
        balance.accepted += self.messages;
        balance.queued += self.messages - missing;
        balance.missing += missing;
        if missing > 0 {
            balance.holds = false;
            let lost =
                format!("missing {missing} of the messages that waited, by the relay's count");
            balance.examples.push(lost);
        }
        Ok(())
    }

    pub fn note(self) -> Option<String> {
        let Held { messages, accepted_per_s } = self;
        (messages > 0).then(|| {
            format!(
                "waiting: {messages} messages, accepted at {accepted_per_s:.0} a second before the \
                 warm-up; in the balance by the relay's count of its queue at the end"
            )
        })
    }
}
