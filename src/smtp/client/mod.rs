//! The client's side of SMTP, without I/O: bytes and facts in, steps out.
//!
//! A [`ClientSession`] holds one conversation and says in [`Step`]s what its driver has to do. The
//! driver owns socket, clock and TLS, and decides what comes next: another message, QUIT, or an
//! idle connection kept for later. Nothing here chooses a host, retries, or reads a clock.
//!
//! | file | what |
//! |---|---|
//! | `step.rs` | the words between driver and session |
//! | `session.rs` | greeting, EHLO, STARTTLS, one transaction after the other, QUIT |
//! | `transaction.rs` | MAIL to final reply: what may be sent, what each reply settles |
//! | `features.rs` | what EHLO offered |
//! | `dots.rs` | the body under DATA |
//! | `outcome.rs` | what a reply means, and for whom: the table of verdicts and scopes |
//!
//! RFC 5321 (client's side), 1870, 2920, 3030, 3207, 3461, 6152, 6531, 8689; cited where each rule
//! is.

mod dots;
mod features;
mod outcome;
mod session;
mod step;
mod transaction;

pub use features::Features;
pub use session::ClientSession;
pub use step::{Delivery, Lost, Step, TlsPolicy, Trust, Wait};
