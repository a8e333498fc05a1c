//! The notices that an attempt owes: to whom, of what, in one commit with the outcome.
//!
//! One for what was refused, one for what expired, one for what was relayed to a next hop that
//! cannot tell of success itself (RFC 3461 5.2.2), one, once, for what still waits after the time
//! that the configuration names. What a notice says is `notify/`.

use super::Shard;
use super::world::World;
use crate::config::Retries;
use crate::deliver::ready::Message;
use crate::event::Event;
use crate::message::Envelope;
use crate::notify::{Dsn, Notice, NoticeKind, NoticeRecipient, Reporter, compose};
use crate::queue::retry::{Fate, Settled, Settlement};
use crate::time::Stamp;
use std::net::SocketAddr;

/// What notices tell of an attempt.
pub(super) struct Attempt {
    /// 1 is the first.
    pub number: u16,
    pub remote: Option<SocketAddr>,
    /// The next hop took over the duty to notify of success.
    pub passes_dsn: bool,
    pub now: Stamp,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Refused,
    Expired,
    Relayed,
    Delayed { until: Stamp },
}

/// Until when an entry is tried whose sender is to be told now that it takes long. The entry
/// remembers it, so that it is told once.
pub(super) fn tells_delay(
    settlement: &mut Settlement,
    envelope: &Envelope,
    retries: &Retries,
    now: Stamp,
) -> Option<Stamp> {
    let after = retries.delay_notice_after?;
    let (_, due) = settlement.waits.as_mut()?;
    if due.delay_told || now.since(envelope.received) < after {
        return None;
    }
    due.delay_told = true;
    Some(due.expires)
}

impl News {
    fn kind(self) -> NoticeKind {
        match self {
            News::Refused | News::Expired => NoticeKind::Failed,
            News::Relayed => NoticeKind::Relayed,
            News::Delayed { .. } => NoticeKind::Delayed,
        }
    }

    /// In the `notice-queued` event.
    fn name(self) -> &'static str {
        match self {
            News::Refused => "failed",
            News::Expired => "expired",
            News::Relayed => "relayed",
            News::Delayed { .. } => "delayed",
        }
    }

    fn is_of(self, fate: Fate) -> bool {
        match self {
            News::Refused => fate == Fate::Bounced,
            News::Expired => fate == Fate::Expired,
            News::Relayed => fate == Fate::Delivered,
            News::Delayed { .. } => matches!(fate, Fate::Waits(_)),
        }
    }

    fn until(self) -> Option<Stamp> {
        match self {
            News::Delayed { until } => Some(until),
            News::Refused | News::Expired | News::Relayed => None,
        }
    }
}

impl<W: World> Shard<W> {
    pub(super) fn notices(
        &self,
        settlement: &Settlement,
        message: &Message,
        attempt: &Attempt,
        delayed_until: Option<Stamp>,
    ) -> Vec<Dsn> {
        let relayed = (!attempt.passes_dsn).then_some(News::Relayed);
        let delayed = delayed_until.map(|until| News::Delayed { until });
        let all = [Some(News::Refused), Some(News::Expired), relayed, delayed];
        let news = all.into_iter().flatten();
        news.filter_map(|news| self.notice(news, settlement, message, attempt)).collect()
    }

    fn notice(
        &self,
        news: News,
        settlement: &Settlement,
        message: &Message,
        attempt: &Attempt,
    ) -> Option<Dsn> {
        let (kind, envelope) = (news.kind(), &*message.envelope);
        let recipient_of = |settled: &Settled| &envelope.recipients[usize::from(settled.recipient)];
        let asks = |settled: &&Settled| {
            news.is_of(settled.fate) && kind.is_wanted(recipient_of(settled).notify)
        };
        let told: Vec<&Settled> = settlement.recipients.iter().filter(asks).collect();
        if told.is_empty() {
            // So it is for nearly every delivery: nothing is prepared for it.
            return None;
        }
        let remote = attempt.remote.map(|remote| remote.ip().to_string());
        let recipients: Vec<NoticeRecipient<'_>> = told
            .into_iter()
            .map(|settled| NoticeRecipient {
                recipient: recipient_of(settled),
                cause: &settled.outcome.cause,
                remote: remote.as_deref(),
                last_attempt: attempt.now,
                attempts: attempt.number,
                will_retry_until: news.until(),
            })
            .collect();
        let (original, expired) = (&message.body, news == News::Expired);
        let notice = Notice { kind, envelope, original, recipients: &recipients, expired };
        let config = self.config();
        let (hostname, postmaster) = (config.hostname.as_str(), config.postmaster.as_str());
        let id = self.inner.ids.borrow_mut().next(attempt.now);
        let dsn = compose(&notice, &Reporter { hostname, postmaster }, id, attempt.now)?;
        let about = envelope.id;
        self.inner.world.emit(Event::NoticeQueued { id, about, kind: news.name() });
        Some(dsn)
    }
}
