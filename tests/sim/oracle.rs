//! The judge: compares what the outside saw with what the relay may do.
//!
//! The promise (DESIGN 1): what was answered 250 is delivered, or bounced with a notice, or queued;
//! nothing else is delivered; nothing is delivered twice but for what was in flight. A second
//! delivery is excused only when the relay never read the final reply to the first, or when a crash
//! put the recipient back into the queue, which is read from the disk itself. So there is no
//! tolerance in here for "about" the time of a crash.

use super::disk::Disk;
use super::journal::Entry;
use super::ledger::{Answer, Delivery, Ledger, News, NoticeRead, Submission};
use super::mail::{Identity, Notify, below_received, identify};
use super::relay::Ground;
use super::zone::DEAD_ENDS;
use baton::event::Event;
use baton::message::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whether somebody set the wall clock during the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    Steady,
    Set,
}

pub struct Oracle<'a> {
    ground: &'a Ground,
    ledger: &'a Ledger,
    submissions: BTreeMap<String, Submission>,
    /// Notices that reached a mailbox, by their name.
    notices: BTreeMap<String, NoticeRead>,
    /// Notices that wait on disk.
    notices_waiting: Vec<NoticeRead>,
    /// What waits on disk.
    waiting: BTreeSet<(Identity, String)>,
    problems: Vec<String>,
}

impl<'a> Oracle<'a> {
    pub fn new(ground: &'a Ground, ledger: &'a Ledger) -> Self {
        Oracle {
            ground,
            ledger,
            submissions: ledger.submissions(),
            notices: ledger.notices(),
            notices_waiting: waiting_notices(&ground.disk),
            waiting: waiting_recipients(&ground.disk),
            problems: Vec::new(),
        }
    }

    /// What must hold at any time, and first of all when a crash has just happened.
    ///
    /// # Panics
    /// When it does not.
    pub fn after_crash(mut self) {
        self.ledger.forget(&self.waiting);
        self.check_nothing_is_lost();
        self.check_nothing_is_made_up();
        self.check_nothing_is_doubled();
        self.check_ends_are_final();
        self.report();
    }

    /// What must hold when everything is drained.
    ///
    /// # Panics
    /// When it does not.
    pub fn at_the_end(mut self, clock: WallClock) {
        if !self.waiting.is_empty() {
            self.problems.push(format!("still queued: {:?}", self.waiting));
        }
        self.check_nothing_is_lost();
        self.check_nothing_is_made_up();
        self.check_nothing_is_doubled();
        self.check_ends_are_final();
        self.check_success_is_told();
        self.check_attempts();
        self.check_dead_ends();
        if clock == WallClock::Steady {
            self.check_ids();
            self.check_pauses();
        }
        self.problems.extend(self.ledger.breaches());
        self.report();
    }

    fn report(self) {
        assert!(self.problems.is_empty(), "the oracle objects:\n  {}", self.problems.join("\n  "));
    }

    fn check_nothing_is_lost(&mut self) {
        let mut reached = BTreeSet::new();
        self.ledger.with_deliveries(|deliveries| {
            for delivery in deliveries {
                for to in &delivery.recipients {
                    reached.insert((delivery.identity.clone(), to.clone()));
                }
            }
        });
        for (token, submission) in &self.submissions {
            if submission.answer != Answer::Accepted {
                continue;
            }
            for to in &submission.recipients {
                let place = (Identity::Message(token.clone()), to.clone());
                let settled = reached.contains(&place)
                    || self.waiting.contains(&place)
                    || self.is_told(News::Failed, token, to)
                    || self.is_dropped(submission, to)
                    || self.is_dropped_by_hand(submission, to);
                if !settled {
                    self.problems
                        .push(format!("LOST: {token} to {to}, queued as {:?}", submission.id));
                }
            }
        }
    }

    /// A notice about it reached the sender, or waits.
    fn is_told(&self, news: News, token: &str, to: &str) -> bool {
        let mut notices = self.notices.values().chain(&self.notices_waiting);
        notices.any(|notice| notice.tells(news, token, to))
    }

    /// It bounced, and there was nobody to tell, or the notice itself could not be delivered.
    fn is_dropped(&self, submission: &Submission, to: &str) -> bool {
        let id = submission.id.as_deref().expect("accepted with an id");
        let nobody = submission.sender.is_none() || submission.notify == Notify::Never;
        self.has_bounced(id, Some(to)) && (nobody || self.is_notice_dropped(id))
    }

    /// Somebody dropped it.
    fn is_dropped_by_hand(&self, submission: &Submission, to: &str) -> bool {
        let id = submission.id.as_deref().expect("accepted with an id");
        let domain = to.rsplit('@').next().expect("an address");
        self.was_dropped(id, Some(domain)) || self.is_notice_dropped(id)
    }

    fn was_dropped(&self, of: &str, from: Option<&str>) -> bool {
        self.ground.journal.entries().iter().any(|entry| match &entry.event {
            Event::EntryDropped { id, domain, .. } => {
                id.to_string() == of && from.is_none_or(|from| from == &**domain)
            }
            _ => false,
        })
    }

    fn has_bounced(&self, of: &str, to: Option<&str>) -> bool {
        self.ground.journal.entries().iter().any(|entry| match &entry.event {
            Event::RecipientBounced { id, recipient, .. } => {
                id.to_string() == of && to.is_none_or(|to| to == recipient.as_str())
            }
            _ => false,
        })
    }

    /// A notice about message `id` could not be delivered.
    fn is_notice_dropped(&self, id: &str) -> bool {
        self.ground.journal.entries().iter().any(|entry| match &entry.event {
            Event::NoticeQueued { id: notice, about, .. } => {
                let notice = notice.to_string();
                about.to_string() == id
                    && (self.has_bounced(&notice, None) || self.was_dropped(&notice, None))
            }
            _ => false,
        })
    }

    /// Success is told of when it was asked for and the next server does not.
    fn check_success_is_told(&mut self) {
        let mut problems = Vec::new();
        self.ledger.with_deliveries(|deliveries| {
            for delivery in deliveries.iter().filter(|delivery| !delivery.offers_dsn) {
                let Identity::Message(token) = &delivery.identity else { continue };
                let Some(submission) = self.submissions.get(token) else { continue };
                let asked = submission.notify == Notify::AlsoSuccess && submission.sender.is_some();
                let Some(id) = submission.id.as_deref().filter(|_| asked) else { continue };
                let sure = |to: &&String| !delivery.is_excused(to);
                for to in delivery.recipients.iter().filter(sure) {
                    if !self.is_told(News::Relayed, token, to) && !self.is_notice_dropped(id) {
                        problems.push(format!("{token} to {to}: nobody was told of success"));
                    }
                }
            }
        });
        self.problems.extend(problems);
    }

    /// Every delivery is of a submission that the relay may have, unchanged, to those it was for.
    fn check_nothing_is_made_up(&mut self) {
        let (submissions, notices) = (&self.submissions, &self.notices);
        let problems = &mut self.problems;
        self.ledger.with_deliveries(|deliveries| {
            for delivery in deliveries {
                match &delivery.identity {
                    Identity::Message(token) => {
                        check_message(delivery, token, submissions, problems)
                    }
                    Identity::Notice(_) if delivery.sender.is_empty() => {}
                    Identity::Notice(id) => problems.push(format!("notice {id} has a sender")),
                }
            }
        });
        for (id, notice) in notices {
            match submissions.get(&notice.token) {
                Some(submission) if submission.sender.is_some() => {
                    for to in &notice.recipients {
                        if !submission.recipients.contains(to) {
                            problems.push(format!("{id} tells of {to}, who was not asked for"));
                        }
                        let wanted = match notice.news {
                            News::Failed => submission.notify != Notify::Never,
                            News::Relayed => submission.notify == Notify::AlsoSuccess,
                            News::Delayed => submission.notify == Notify::Usual,
                        };
                        if !wanted {
                            problems.push(format!("{id}: nobody wanted to hear {notice:?}"));
                        }
                    }
                }
                Some(_) => problems.push(format!("{id}: a notice for a null sender")),
                None => problems.push(format!("{id}: a notice about nothing")),
            }
        }
    }

    /// Per recipient at most one end that is not excused, none after a notice of failure, and none
    /// of a later life.
    ///
    /// The order within a life says nothing: a copy that the relay gave up may end after the one
    /// that it sent instead. What it began after an end, [`Self::check_ends_are_final`] judges.
    fn check_nothing_is_doubled(&mut self) {
        let mut told: BTreeMap<(News, &str, &str), u32> = BTreeMap::new();
        for notice in self.notices.values() {
            for to in &notice.recipients {
                *told.entry((notice.news, &notice.token, to)).or_default() += 1;
            }
        }
        let problems = &mut self.problems;
        // A notice and the outcome that it tells of are one commit: there is never a second one.
        for ((news, token, to), count) in &told {
            if *count > 1 {
                problems.push(format!("{count} notices ({news:?}) about {token} to {to}"));
            }
        }
        self.ledger.with_deliveries(|deliveries| {
            let mut ends: BTreeMap<(&Identity, &str), Vec<&Delivery>> = BTreeMap::new();
            for delivery in deliveries {
                for to in &delivery.recipients {
                    ends.entry((&delivery.identity, to)).or_default().push(delivery);
                }
            }
            for ((identity, to), ends) in ends {
                let sure = ends.iter().filter(|delivery| !delivery.is_excused(to));
                let lives: Vec<_> = sure.map(|delivery| delivery.life).collect();
                let Some(first) = lives.iter().min() else { continue };
                let told = match identity {
                    Identity::Message(token) => {
                        told.contains_key(&(News::Failed, token.as_str(), to))
                    }
                    Identity::Notice(_) => false,
                };
                let again = lives.len() > 1 || ends.iter().any(|delivery| delivery.life > *first);
                if told || again {
                    let end = if told { "bounced" } else { "delivered again" };
                    problems.push(format!("{identity} to {to}: delivered for sure, then {end}"));
                }
            }
        });
    }

    /// A relay that knows of an end attempts nothing more in that life, excused or not.
    fn check_ends_are_final(&mut self) {
        let (mut ended, mut dropped) = (BTreeSet::new(), BTreeSet::new());
        for entry in &*self.ground.journal.entries() {
            if let Event::EntryDropped { id, domain, .. } = &entry.event {
                dropped.insert((entry.life, *id, domain.to_string()));
            }
            let (id, recipient, ends) = match &entry.event {
                Event::RecipientDelivered { id, recipient, .. }
                | Event::RecipientBounced { id, recipient, .. } => (id, recipient, true),
                Event::RecipientDeferred { id, recipient, .. } => (id, recipient, false),
                _ => continue,
            };
            let of = (entry.life, *id, recipient.to_string());
            let domain = (entry.life, *id, recipient.domain().to_owned());
            if ended.contains(&of) || dropped.contains(&domain) {
                self.problems.push(format!("{id} to {recipient} was attempted after its end"));
            }
            if ends {
                ended.insert(of);
            }
        }
    }

    /// No id twice. A clock that is set back while the relay is down may give one again whose
    /// message is long gone.
    fn check_ids(&mut self) {
        let mut seen = BTreeMap::new();
        for (token, submission) in &self.submissions {
            let Some(id) = &submission.id else { continue };
            if let Some(other) = seen.insert(id, token) {
                self.problems.push(format!("{token} and {other} are both queued as {id}"));
            }
        }
    }

    /// The DNS says for good that mail has nowhere to go only of domains of which it is true,
    /// however badly it is asked.
    fn check_dead_ends(&mut self) {
        for entry in &*self.ground.journal.entries() {
            if let Event::RecipientBounced { id, recipient, stage, cause, expired: false, .. } =
                &entry.event
                && *stage == Stage::Route
                && !DEAD_ENDS.contains(&recipient.domain())
            {
                self.problems.push(format!("{id} to {recipient} was given up: {cause}"));
            }
        }
    }

    /// Attempts are counted without gaps, pauses grow as configured, and time runs out when it
    /// does.
    fn check_attempts(&mut self) {
        let mut attempts: BTreeMap<(String, String), (u16, u32)> = BTreeMap::new();
        for entry in &*self.ground.journal.entries() {
            let Event::RecipientDeferred { id, recipient, attempts: count, .. } = &entry.event
            else {
                continue;
            };
            let of = (id.to_string(), recipient.to_string());
            let before = attempts.insert(of, (*count, entry.life));
            let expected = before.map_or(1, |(before, _)| before + 1);
            let crashed = before.is_some_and(|(_, life)| life != entry.life);
            if *count > expected || *count < expected && !crashed {
                self.problems.push(format!("attempt {count} of {id} follows {before:?}"));
            }
        }
    }

    /// Pauses between attempts, for runs in which nobody set the clock.
    fn check_pauses(&mut self) {
        let entries = self.ground.journal.entries();
        let wrong = entries.iter().filter_map(|entry| self.wrong_pause(entry));
        let wrong: Vec<String> = wrong.collect();
        drop(entries);
        self.problems.extend(wrong);
    }

    fn wrong_pause(&self, entry: &Entry) -> Option<String> {
        let delivery = &self.ground.config.delivery;
        // An id is made when the data begins, and a slow sender takes its time.
        let slack = Duration::from_secs(60);
        match &entry.event {
            Event::RecipientDeferred { id, attempts, next, .. } => {
                let doublings = u32::from(attempts.saturating_sub(1)).min(20);
                let middle = delivery.retry_first.saturating_mul(1 << doublings);
                let middle = middle.min(delivery.retry_max);
                let expires = id.stamp().after(delivery.expire_after);
                let latest = entry.at.after(middle * 5 / 4);
                let early = *next < entry.at.after(middle * 3 / 4) && *next < expires;
                let late = *next > latest || *next > expires.after(slack);
                // Nothing waits for another attempt once its time is over.
                let over = entry.at > expires.after(slack);
                (early || late || over).then(|| {
                    format!("{id} after attempt {attempts} at {}: next at {next}", entry.at)
                })
            }
            Event::RecipientBounced { id, expired: true, .. } => {
                let expires = id.stamp().after(delivery.expire_after);
                (entry.at < expires).then(|| format!("{id} expired at {}, early", entry.at))
            }
            _ => None,
        }
    }
}

fn check_message(
    delivery: &Delivery,
    token: &str,
    submissions: &BTreeMap<String, Submission>,
    problems: &mut Vec<String>,
) {
    let Some(submission) = submissions.get(token) else {
        return problems.push(format!("{token} was never submitted"));
    };
    if !matches!(submission.answer, Answer::Accepted | Answer::Unknown) {
        problems.push(format!("{token} was delivered, but it was {:?}", submission.answer));
    }
    if delivery.sender != submission.sender.as_deref().unwrap_or("") {
        problems.push(format!("{token} came from {}", delivery.sender));
    }
    for to in &delivery.recipients {
        if !submission.recipients.contains(to) {
            problems.push(format!("{token} went to {to}, who was not asked for"));
        }
    }
    if below_received(&delivery.message) != Some(&submission.content) {
        problems.push(format!("{token} was changed on its way"));
    }
}

fn waiting_notices(disk: &Disk) -> Vec<NoticeRead> {
    let waiting = disk.waiting();
    let messages = waiting.iter().map(|waiting| &waiting.body.record()[1..]);
    messages
        .filter(|message| matches!(identify(message), Identity::Notice(_)))
        .map(NoticeRead::new)
        .collect()
}

/// What waits on disk, in the words of the ledger.
fn waiting_recipients(disk: &Disk) -> BTreeSet<(Identity, String)> {
    let waiting = disk.waiting();
    let pairs = waiting.iter().flat_map(|waiting| {
        let identity = identify(&waiting.body.record()[1..]);
        let pending = waiting.due.pending.iter();
        pending.map(move |pending| {
            let recipient = &waiting.envelope.recipients[usize::from(pending.recipient)];
            (identity.clone(), recipient.address.as_str().to_owned())
        })
    });
    pairs.collect()
}
