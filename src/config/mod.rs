//! Configuration: TOML text in, a checked [`Config`] out, or all problems with line and column.
//!
//! | file | noun |
//! |---|---|
//! | `settings` | [`Config`]: what the rest of the program reads, and its look-ups |
//! | `process`, `inbound`, `outbound`, `source`, `provider` | the declarations: every knob, once |
//! | `lane` | what holds for a route or a site: its own knob, its provider's, that of all |
//! | `identity` | which headers of a peer are believed |
//! | `knob`, `kind`, `form` | what a declaration is made of: table, kind of value, form of text |
//! | `unit`, `network`, `domain`, `password` | the texts that need a grammar |
//! | `document`, `problem` | TOML with places in it; what is wrong and where |
//! | `check`, `check_egress` | a document -> tables, with the rules between knobs |
//! | `tables`, `reload` | tables -> `Config`; what a changed file changes while the relay runs |
//! | `explain`, `spelling` | the text of `baton config explain`; the nearest known name |
//!
//! A knob is declared in one place only. Reading, defaults, ranges, the explanation and the message
//! about an unknown key all come from that declaration.
//! Nothing here reads a clock or a socket; the only files that are read are the one given to
//! [`Config::load`] and the providers' file that it names. Whether certificates exist is for
//! whoever opens them, or asks [`Config::load_trying`] to ask.

mod check;
mod check_egress;
mod document;
mod domain;
mod explain;
mod form;
mod identity;
mod inbound;
mod kind;
mod knob;
mod lane;
mod network;
mod outbound;
mod password;
mod problem;
mod process;
mod provider;
mod reload;
mod settings;
mod source;
mod spelling;
mod tables;
mod unit;
mod weight;

pub use domain::DomainPattern;
pub use explain::explain;
pub use identity::{HeaderFamilies, HeaderFamily, Panel};
pub use inbound::{
    Account, AuthMode, Certificate, HOPS_MAX_CEILING, Limits, Listener, ListenerTls,
    MESSAGE_BYTES_MAX_CEILING, Peer, RECIPIENTS_MAX_CEILING, SESSIONS_MAX_CEILING,
};
pub use lane::{LaneLimits, Retries};
pub use network::{Network, NetworkError};
pub use outbound::{
    CONNECTION_MESSAGES_MAX_CEILING, CONNECTIONS_MAX_CEILING, Delivery, Dns, EXPIRE_AFTER_CEILING,
    Families, Host, MX_ADDRESSES_MAX_CEILING, OUTBOUND_SESSIONS_MAX_CEILING, Route, RouteTls,
    VIA_HOSTS_MAX, Via,
};
pub use problem::{ConfigError, FILE_BYTES_MAX, Problem};
pub use process::{
    Admin, Disk, Durability, Filter, FilterMode, Log, LogLevel, LogPath, Memory, SHARDS_MAX,
    ShardCount,
};
pub use provider::Provider;
pub use reload::Reloaded;
pub use settings::Config;
pub use source::{Egress, POOL_DEFAULT, Source};
pub use unit::Rate;
pub use weight::{Effect, Points, Tag, Weight, read_weights};
