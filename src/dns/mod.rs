//! DNS messages: questions to octets, octets to answers, and what is remembered of them.
//!
//! A stub resolver's share of DNS: it asks recursive servers and believes the one it asked, as far
//! as the answer can be told from a forged one. No sockets and no clock here; `shard/resolve.rs`
//! drives it.
//!
//! | file | noun |
//! |---|---|
//! | `query` | [`Question`], and a [`Query`]: the packet that asks it |
//! | `answer` | a packet -> [`Answer`], or why it cannot be used |
//! | `cache` | [`Cache`]: answers and failures for as long as they hold, bounded in octets |
//!
//! The wire format is `hickory-proto`'s; its types stay inside this module.
//!
//! RFC 1035 (messages), RFC 2181 (ranking, names), RFC 2308 (negative answers), RFC 5452 (forged
//! answers), RFC 6891 (EDNS), RFC 9520 (failures are remembered too).

mod answer;
mod cache;
mod query;

pub use answer::{Answer, Failure, Record, Records, Transport, Unusable, read};
pub use cache::Cache;
pub use query::{BadName, EDNS_BYTES_MAX, Edns, Kind, Query, Question, is_host_name};

/// What asking came to: an answer, or why there is none.
pub type Finding = Result<std::sync::Arc<Answer>, Failure>;
