//! What follows from an attempt: done, again later, or given up.
//!
//! Pure: the outcomes, the clock and one random number come in; what is left to do comes out. The driver
//! turns the result into one commit. Back-off is exponential with jitter, so that
//! what failed together does not come back together.

use super::record::{Due, Pending};
use crate::limits::WORDS_BYTES_MAX;
use crate::message::{Cause, Outcome, RemoteReply, Verdict};
use crate::time::Stamp;
use std::time::Duration;

/// When to try again and when to stop trying.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Before the second attempt.
    pub first: Duration,
    /// The longest pause; reached by doubling.
    pub max: Duration,
}

impl RetryPolicy {
    /// The pause after `attempts` attempts (1 or more), between 3/4 and 5/4 of first * 2^(attempts-1), at most 5/4 of
    /// `max`. `random` is uniform over all of `u64`.
    pub fn pause(&self, attempts: u16, random: u64) -> Duration {
        let doublings = u32::from(attempts.saturating_sub(1)).min(20);
        let middle = self.first.saturating_mul(1 << doublings).min(self.max).as_millis() as u64;
        let quarter = middle / 4;
        Duration::from_millis(middle - quarter + random % (2 * quarter + 1))
    }
}

/// What became of one recipient in this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its position in the envelope.
    pub recipient: u16,
    pub outcome: Outcome,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// It stays in the queue until then.
    Waits(Stamp),
    Bounced,
    /// It could have been tried again, but its time is over.
    Expired,
}

/// The result of an attempt on one `due` entry.
#[derive(Debug)]
pub struct Settlement {
    pub recipients: Vec<Settled>,
    /// The entry as it goes on waiting, and until when; `None` when nobody is left.
    pub waits: Option<(Stamp, Due)>,
}

/// Decides what follows. `outcomes` has one entry per pending recipient, in any order.
pub fn settle(
    due: &Due,
    outcomes: Vec<(u16, Outcome)>,
    policy: &RetryPolicy,
    now: Stamp,
    random: u64,
) -> Settlement {
    let attempts = due.attempts.saturating_add(1);
    let next = now.after(policy.pause(attempts, random));
    // A last try at the end beats giving up early: the pause is cut to the expiry, not past it.
    let next = if next > due.expires && now < due.expires { due.expires } else { next };
    let expired = next > due.expires || now >= due.expires;
    let mut pending = Vec::new();
    let mut recipients = Vec::with_capacity(outcomes.len());
    for (recipient, outcome) in outcomes {
        let fate = match outcome.verdict {
            Verdict::Delivered => Fate::Delivered,
            Verdict::Permanent => Fate::Bounced,
            Verdict::Transient if expired => Fate::Expired,
            Verdict::Transient => {
                pending.push(Pending { recipient, last: Some(shortened(&outcome.cause)) });
                Fate::Waits(next)
            }
        };
        recipients.push(Settled { recipient, outcome, fate });
    }
    let waits = (!pending.is_empty()).then(|| {
        let (domain, sender_id) = (due.domain.clone(), due.sender_id.clone());
        let due = Due { domain, sender_id, attempts, pending, ..*due };
        (next, due)
    });
    Settlement { recipients, waits }
}

/// Remote words bounded for the record.
fn shortened(cause: &Cause) -> Cause {
    let cut = |text: &str| -> Box<str> {
        let mut end = text.len().min(WORDS_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].into()
    };
    match cause {
        Cause::Reply(reply) => {
            Cause::Reply(RemoteReply { text: cut(&reply.text), ..reply.clone() })
        }
        Cause::Local { status, words } => Cause::Local { status: *status, words: cut(words) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Scope, Stage, StatusCode};

    const POLICY: RetryPolicy =
        RetryPolicy { first: Duration::from_secs(300), max: Duration::from_secs(3_600) };

    fn outcome(verdict: Verdict) -> Outcome {
        let cause = Cause::local(StatusCode::new(4, 4, 1), "é".repeat(400));
        Outcome { verdict, scope: Scope::Recipient, stage: Stage::Rcpt, cause }
    }

    fn due(attempts: u16, expires: u64) -> Due {
        let pending = (0..3).map(|recipient| Pending { recipient, last: None }).collect();
        let expires = Stamp::from_millis(expires);
        Due {
            domain: "x.test".into(),
            sender_id: "acme|mailbox|joe".into(),
            size: 512,
            groups: 1,
            attempts,
            expires,
            delay_told: true,
            pending,
        }
    }

    #[test]
    fn pauses_double_with_jitter_up_to_the_longest() {
        for (attempts, seconds) in
            [(1, 300), (2, 600), (3, 1_200), (4, 2_400), (5, 3_600), (60_000, 3_600)]
        {
            let middle = Duration::from_secs(seconds);
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = POLICY.pause(attempts, random);
                assert!(
                    pause >= middle * 3 / 4 && pause <= middle * 5 / 4,
                    "{attempts}: {pause:?}"
                );
            }
        }
        assert_ne!(POLICY.pause(1, 7), POLICY.pause(1, 100_000));
    }

    #[test]
    fn each_recipient_has_its_own_fate() {
        let outcomes = vec![
            (0, outcome(Verdict::Delivered)),
            (1, outcome(Verdict::Transient)),
            (2, outcome(Verdict::Permanent)),
        ];
        let now = Stamp::from_millis(1_000);
        let settlement = settle(&due(0, u64::MAX), outcomes, &POLICY, now, 0);
        let (next, waits) = settlement.waits.unwrap();
        assert_eq!(next, now.after(POLICY.pause(1, 0)));
        assert_eq!((waits.attempts, waits.pending.len(), waits.pending[0].recipient), (1, 1, 1));
        assert_eq!((&*waits.sender_id, waits.size), ("acme|mailbox|joe", 512));
        assert!(waits.delay_told, "told once is told");
        let fates: Vec<_> = settlement.recipients.iter().map(|settled| settled.fate).collect();
        assert_eq!(fates, [Fate::Delivered, Fate::Waits(next), Fate::Bounced]);
        let Some(Cause::Local { words, .. }) = &waits.pending[0].last else { panic!() };
        assert_eq!(words.len(), WORDS_BYTES_MAX);
    }

    #[test]
    fn the_last_try_is_at_the_expiry_and_the_one_after_it_gives_up() {
        let transient = || vec![(0, outcome(Verdict::Transient))];
        let before = settle(&due(3, 5_000), transient(), &POLICY, Stamp::from_millis(1_000), 0);
        assert_eq!(before.waits.unwrap().0, Stamp::from_millis(5_000));
        let after = settle(&due(4, 5_000), transient(), &POLICY, Stamp::from_millis(5_001), 0);
        assert!(after.waits.is_none());
        assert_eq!(after.recipients[0].fate, Fate::Expired);
    }
}
