//! The real world: glommio executors, sockets, TLS, and the process from start to stop.
//!
//! | file | noun |
//! |---|---|
//! | `start` | [`run`]: checks, opens, starts, waits, stops |
//! | `checks` | what the machine must allow, each failure with its remedy |
//! | `listen` | listening sockets, the accept loop |
//! | `balance` | which shard serves a connection; what other threads tell a shard |
//! | `thread` | one shard's thread |
//! | `world` | [`RuntimeWorld`]: the `World` that the drivers run in |
//! | `datagram`, `resolv_conf` | UDP to name servers, and which those are |
//! | `stream` | connections |
//! | `tls`, `tls_out` | the certificates of listeners; those of the hosts that mail goes to |
//! | `passwords`, `ticket` | argon2 on threads of its own; answers from other threads |
//! | `clock`, `panics`, `signals`, `ring` | what the process needs of the system |
//! | `say` | lines on standard error |
//! | `observer`, `queue_view` | the store as control sees it |
//!
//! The only part with `unsafe`, the only one that knows glommio, and the only reader of clocks.
//! It decides nothing about mail. It stands on `store` and `control`; neither knows it.

#![expect(unsafe_code, reason = "system calls and descriptors; every block says why it is sound")]

mod balance;
mod checks;
mod clock;
mod datagram;
mod listen;
mod observer;
mod panics;
mod passwords;
mod queue_view;
mod recovery;
mod resolv_conf;
mod ring;
mod say;
mod signals;
mod start;
mod stream;
mod thread;
mod ticket;
mod tls;
mod tls_out;
mod world;

pub use balance::{Balance, Seat};
pub use checks::{CheckError, Facts, Plan, Warning, check, check_data_dir, check_sources};
pub use clock::Clock;
pub use datagram::RuntimeDatagram;
pub use listen::{Bound, ListenError, bind};
pub use ring::cooperative_rings;
pub use say::say;
pub use start::{Reread, StartError, run};
pub use stream::{RuntimeStream, connect};
pub use tls::{Doors, TlsError};
pub use world::RuntimeWorld;
