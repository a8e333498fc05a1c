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
use super::relay::Relay;
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
    let sent = source.sent()?;
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
    /// The relay's count of its queue; it is not asked where nothing waits.
    pub fn count(self, relay: &Relay) -> Result<u64, Error> {
        if self.messages == 0 { Ok(0) } else { relay.held() }
    }

    /// Adds it to the balance of the measured mail. `in_queue` is the relay's count of messages,
    /// which may be of a moment ago: it may have some that are gone, it cannot lack any.
    pub fn enter(self, in_queue: u64, balance: &mut Balance) {
        let missing = self.messages.saturating_sub(in_queue.saturating_sub(balance.queued));
        balance.messages_sent += self.messages;
        balance.accepted += self.messages;
        balance.queued += self.messages - missing;
        balance.missing += missing;
        if missing > 0 {
            balance.holds = false;
            let lost = format!("missing {missing} of those that waited, by the relay's own count");
            balance.examples.push(lost);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(in_queue: u64) -> Balance {
        let mut balance = Balance {
            messages_sent: 10,
            accepted: 10,
            refused: 0,
            unknown: 0,
            delivered: 8,
            bounced: 0,
            queued: 2,
            missing: 0,
            duplicates: 0,
            corrupt: 0,
            contradicted: 0,
            unexpected: 0,
            holds: true,
            examples: Vec::new(),
        };
        Held { messages: 100, accepted_per_s: 1.0 }.enter(in_queue, &mut balance);
        balance
    }

    #[test]
    fn what_waits_is_queued() {
        // Two more that the relay has already delivered, and not yet counted as such.
        for in_queue in [102, 104] {
            let balance = entered(in_queue);
            assert_eq!((balance.messages_sent, balance.accepted), (110, 110));
            assert_eq!((balance.queued, balance.missing, balance.holds), (102, 0, true));
        }
    }

    #[test]
    fn what_the_relay_does_not_count_is_missing() {
        let balance = entered(99);
        assert_eq!((balance.queued, balance.missing, balance.holds), (99, 3, false));
        assert!(balance.examples[0].starts_with("missing 3 of those that waited"));
        let balance = entered(0);
        assert_eq!((balance.queued, balance.missing, balance.holds), (2, 100, false));
    }
}
