//! Everything that is not the hot path: the log, the metrics, the admin port.
//!
//! | file | noun |
//! |---|---|
//! | `service.rs` | [`Control`]: start, handles, stop |
//! | `journal.rs` | the ring of events and the thread that empties it |
//! | `log_file.rs` | the file behind `log.path` |
//! | `meters.rs` | every metric |
//! | `gauges.rs` | what each shard holds just now |
//! | `status.rs` | healthy? ready? |
//! | `admin.rs` | connections of the admin port |
//! | `api.rs` | its answers |
//! | `query.rs` | what the parameters of a request ask for |
//! | `access.rs` | who may ask |
//! | `view.rs` | the queue as people see it |
//! | `client.rs` | the asking side: `baton queue` |
//! | `console.rs` | answers as text for a terminal |
//!
//! Nothing here decides about mail, and nothing here can stop it: senders of events never wait.

mod access;
mod admin;
mod api;
pub mod client;
pub mod console;
mod gauges;
mod journal;
mod log_file;
mod meters;
mod query;
mod service;
mod status;
mod view;

pub use access::BadToken;
pub use gauges::{Gauge, Gauges};
pub use journal::{EVENTS_WAITING_MAX, EventSender};
pub use log_file::LogTarget;
pub use meters::{Durability, Meters};
pub use service::{Control, ControlError, ControlOptions};
pub use status::{Disk, Phase, Status};
pub use view::{
    Answers, QueueChanges, QueueDetail, QueueFilter, QueueGroup, QueueList, QueueOperator,
    QueueRow, QueueView, ROWS_DEFAULT, ROWS_MAX, ViewError, Waiting,
};
