//! The queue as a person asks for it and changes it: what `/api/v1/queue` answers and `baton queue`
//! prints.
//!
//! These types are the JSON of the admin API, both ways: the relay serializes them and the command
//! line reads them back. [`QueueView`] is implemented over the store and [`QueueOperator`] over
//! the shards, so that `control/` knows nothing of RocksDB and of how threads talk. Adding a field is compatible; renaming one breaks people's scripts. Never
//! holds message content.

use crate::message::MessageId;
use crate::shard::operate::{Counts, Operation};
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::sync::mpsc::UnboundedSender;

/// Rows of one answer, when the question does not say.
pub const ROWS_DEFAULT: usize = 100;
/// Rows of one answer, whatever the question says.
pub const ROWS_MAX: usize = 10_000;

/// Reads the queue for people. Called on a thread that may block; at most two calls run at once.
pub trait QueueView: Send + Sync {
    /// Up to `filter.limit` waiting entries that match, in the order of the store.
    fn list(&self, filter: &QueueFilter) -> Result<Vec<QueueRow>, ViewError>;

    /// All that is known of one message; `None` when it is not (or no longer) in the queue.
    fn show(&self, id: MessageId) -> Result<Option<QueueDetail>, ViewError>;
}

/// Changes the queue for people.
pub trait QueueOperator: Send + Sync {
    /// Has every shard do `operation`, and says how many shards that are. Each tells `answers` when
    /// it has; one that ends before drops it. Does not wait.
    fn operate(&self, operation: &Operation, answers: Answers) -> usize;
}

/// The way of a shard's counts back to whoever asked. One that was asked and has gone away is told
/// nothing.
#[derive(Clone, Debug)]
pub struct Answers(pub(super) UnboundedSender<Counts>);

impl Answers {
    pub fn tell(&self, counts: Counts) {
        // The operation is done either way, and the log says so.
        let _ = self.0.send(counts);
    }
}

/// Which entries to list; an absent condition matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFilter {
    /// The destination domain, in lower case.
    pub domain: Option<Box<str>>,
    /// The sender id, or the address of MAIL FROM.
    pub sender: Option<Box<str>>,
    /// Only what is held.
    pub held: bool,
    pub limit: usize,
}

/// One waiting entry: what is left of one message for one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    #[serde(with = "id_text")]
    pub id: MessageId,
    pub domain: String,
    /// The address of MAIL FROM; empty for the null path.
    pub sender: String,
    pub sender_id: String,
    /// Recipients that still wait.
    pub recipients: u32,
    /// Octets of the whole message.
    pub bytes: u64,
    /// Attempts made.
    pub attempts: u16,
    #[serde(with = "stamp_text")]
    pub received: Stamp,
    /// When it is tried next; `None` while it is held.
    #[serde(with = "optional_stamp_text")]
    pub due: Option<Stamp>,
    /// Why the last attempt failed, of the first recipient that waits.
    pub last: Option<String>,
}

/// The answer to a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueList {
    pub entries: Vec<QueueRow>,
    /// More entries match than the limit let through.
    pub more: bool,
}

/// One message in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDetail {
    #[serde(with = "id_text")]
    pub id: MessageId,
    #[serde(with = "stamp_text")]
    pub received: Stamp,
    /// The address of MAIL FROM; empty for the null path.
    pub sender: String,
    pub sender_id: String,
    pub account: String,
    pub peer: String,
    pub helo: String,
    /// The `with` word of the Received field.
    pub protocol: String,
    /// Octets.
    pub bytes: u64,
    /// Recipients that the message came with, delivered ones included.
    pub recipients: u32,
    /// What still waits, by domain.
    pub groups: Vec<QueueGroup>,
}

/// The recipients of a message that wait in one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueGroup {
    pub domain: String,
    pub attempts: u16,
    /// When they are tried next; `None` while they are held.
    #[serde(with = "optional_stamp_text")]
    pub due: Option<Stamp>,
    /// When it is given up.
    #[serde(with = "stamp_text")]
    pub expires: Stamp,
    pub waiting: Vec<Waiting>,
}

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub address: String,
    /// Why the last attempt failed.
    pub last: Option<String>,
}

/// The answer to a change: what all shards did together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChanges {
    /// `retry`, `hold`, `release` or `drop`.
    pub action: String,
    /// Entries that were changed.
    pub changed: u64,
    /// Entries that were left alone because an attempt on them was going on.
    pub under_way: u64,
    /// Entries that were left alone because they cannot be read.
    pub damaged: u64,
}

/// Why the queue cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// The store's own words.
    Disk(Box<str>),
    /// A record that cannot be read.
    Damaged(Box<str>),
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ViewError::Disk(words) => write!(f, "reading from disk: {words}"),
            ViewError::Damaged(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for ViewError {}

/// Message ids as their text.
mod id_text {
    use super::MessageId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<MessageId, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Times as RFC 3339, for those who read the JSON themselves.
mod stamp_text {
    use super::Stamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(stamp)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Stamp, D::Error> {
        let time: jiff::Timestamp =
            Cow::<str>::deserialize(from)?.parse().map_err(D::Error::custom)?;
        let millis = u64::try_from(time.as_millisecond()).map_err(D::Error::custom)?;
        Ok(Stamp::from_millis(millis))
    }
}

/// Times that may be missing: `null` then.
mod optional_stamp_text {
    use super::{Stamp, stamp_text};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(at: &Option<Stamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(|stamp| stamp.to_string()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Stamp>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "stamp_text")] Stamp);
        Ok(Option::<Text>::deserialize(from)?.map(|Text(stamp)| stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_json_and_back() {
        let row = QueueRow {
            id: MessageId::from_u64(77),
            domain: "x.test".into(),
            sender: String::new(),
            sender_id: "acme|notice|".into(),
            recipients: 2,
            bytes: 4_096,
            attempts: 3,
            received: Stamp::from_millis(1_763_900_000_123),
            due: Some(Stamp::from_millis(1_763_900_060_000)),
            last: Some("451 4.7.1 \"later\"".into()),
        };
        let json = serde_json::to_string(&row).unwrap();
        assert!(json.starts_with(r#"{"id":"000000000002d","domain":"x.test","#), "{json}");
        assert!(json.contains(r#""received":"2025-11-23T12:13:20.123Z""#), "{json}");
        assert_eq!(serde_json::from_str::<QueueRow>(&json).unwrap(), row);
        assert!(serde_json::from_str::<QueueRow>(&json.replace("2025", "1925")).is_err());
        let held = QueueRow { due: None, ..row };
        let json = serde_json::to_string(&held).unwrap();
        assert!(json.contains(r#""due":null"#), "{json}");
        assert_eq!(serde_json::from_str::<QueueRow>(&json).unwrap(), held);
    }
}
