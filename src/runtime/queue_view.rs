//! The queue for people, over the store: the answers of `/api/v1/queue`.
//!
//! Reads what is on disk, so it shows what would survive a crash and not what is under way.
//! Called on control's reading threads, which may block; nothing here writes.
//! A damaged record is shown as such, because that is what somebody looks for; a message that ends
//! while it is read is left out.

use crate::control::{
    QueueDetail, QueueFilter, QueueGroup, QueueRow, QueueView, ViewError, Waiting,
};
use crate::message::{Envelope, MessageId};
use crate::queue::key::DueKey;
use crate::queue::record::{Due, Pending};
use crate::shard::operate::SenderFilter;
use crate::shard::world::LoadError;
use crate::store::{ListedDue, Selection, Store, Times};
use crate::time::Stamp;

/// Entries read from the store at a time.
const ENTRIES_AT_ONCE: usize = 256;
/// In the place of a domain that cannot be read.
const DAMAGED: &str = "(damaged)";

#[derive(Clone, Debug)]
pub struct StoreView {
    store: Store,
}

impl StoreView {
    pub fn new(store: Store) -> Self {
        StoreView { store }
    }

    fn entries(
        &self,
        filter: &QueueFilter,
        after: Option<DueKey>,
    ) -> Result<Vec<ListedDue>, LoadError> {
        let sender = match sender(filter) {
            Some(SenderFilter::Id(_)) => filter.sender.as_deref(),
            Some(SenderFilter::Address(_)) | None => None,
        };
        let times = if filter.held { Times::Held } else { Times::All };
        let selection = Selection::new(filter.domain.as_deref(), sender, times);
        self.store.list(&selection, after, ENTRIES_AT_ONCE)
    }

    fn row(&self, filter: &QueueFilter, listed: ListedDue) -> Result<Option<QueueRow>, ViewError> {
        let (key, due) = listed;
        let Some(envelope) = self.store.envelope(key.id).map_err(view_error)? else {
            return Ok(None);
        };
        if sender(filter).is_some_and(|sender| !is_from(&envelope, &sender)) {
            return Ok(None);
        }
        let (domain, recipients, attempts, last) = match due {
            Ok(due) => {
                let last = due.pending.first().and_then(last_words);
                (due.domain.into(), due.pending.len() as u32, due.attempts, last)
            }
            Err(bad) => (DAMAGED.to_owned(), 0, 0, Some(bad.to_string())),
        };
        Ok(Some(QueueRow {
            id: key.id,
            domain,
            sender: envelope.sender.as_str().to_owned(),
            sender_id: envelope.sender_id.as_str().to_owned(),
            recipients,
            bytes: envelope.size,
            attempts,
            received: envelope.received,
            due: when(key),
            last,
        }))
    }
}

impl QueueView for StoreView {
    fn list(&self, filter: &QueueFilter) -> Result<Vec<QueueRow>, ViewError> {
        let mut rows = Vec::new();
        let mut after = None;
        while rows.len() < filter.limit {
            let entries = self.entries(filter, after).map_err(view_error)?;
            let Some((last, _)) = entries.last() else { break };
            after = Some(*last);
            for listed in entries {
                rows.extend(self.row(filter, listed)?);
            }
        }
        rows.truncate(filter.limit);
        Ok(rows)
    }

    fn show(&self, id: MessageId) -> Result<Option<QueueDetail>, ViewError> {
        let Some(envelope) = self.store.envelope(id).map_err(view_error)? else {
            return Ok(None);
        };
        let entries = self.store.due_of(&envelope).map_err(view_error)?;
        let groups = entries.into_iter().map(|(key, due)| match due {
            Ok(due) => group(&envelope, key, &due),
            Err(bad) => damaged_group(key, &bad.to_string()),
        });
        Ok(Some(QueueDetail {
            id,
            received: envelope.received,
            sender: envelope.sender.as_str().to_owned(),
            sender_id: envelope.sender_id.as_str().to_owned(),
            account: envelope.origin.account.to_string(),
            peer: envelope.origin.peer.to_string(),
            helo: envelope.origin.helo.to_string(),
            protocol: envelope.origin.protocol.as_str().to_owned(),
            bytes: envelope.size,
            recipients: envelope.recipients.len() as u32,
            groups: groups.collect(),
        }))
    }
}

fn sender(filter: &QueueFilter) -> Option<SenderFilter> {
    filter.sender.as_deref().map(SenderFilter::new)
}

fn is_from(envelope: &Envelope, sender: &SenderFilter) -> bool {
    match sender {
        SenderFilter::Id(id) => envelope.sender_id.as_str() == &**id,
        SenderFilter::Address(text) => envelope.sender.as_str().eq_ignore_ascii_case(text),
    }
}

/// When it is tried next.
fn when(key: DueKey) -> Option<Stamp> {
    (!key.is_held()).then_some(key.due)
}

fn group(envelope: &Envelope, key: DueKey, due: &Due) -> QueueGroup {
    let waiting = due.pending.iter().map(|pending| {
        let recipient = envelope.recipients.get(usize::from(pending.recipient));
        let address = recipient.map_or(DAMAGED, |recipient| recipient.address.as_str());
        Waiting { address: address.to_owned(), last: last_words(pending) }
    });
    QueueGroup {
        domain: due.domain.to_string(),
        attempts: due.attempts,
        due: when(key),
        expires: due.expires,
        waiting: waiting.collect(),
    }
}

fn damaged_group(key: DueKey, words: &str) -> QueueGroup {
    let waiting = Waiting { address: DAMAGED.to_owned(), last: Some(words.to_owned()) };
    let domain = DAMAGED.to_owned();
    QueueGroup { domain, attempts: 0, due: when(key), expires: key.due, waiting: vec![waiting] }
}

fn last_words(pending: &Pending) -> Option<String> {
    pending.last.as_ref().map(ToString::to_string)
}

fn view_error(error: LoadError) -> ViewError {
    match error {
        LoadError::Record(bad) => ViewError::Damaged(bad.to_string().into()),
        LoadError::Disk(words) => ViewError::Disk(words),
    }
}
