//! Stage 6: attempt it. Decisions only; the sessions are driven by `shard/attempt.rs`.
//!
//! | file | what it decides |
//! |---|---|
//! | [`ready`] | nothing: an entry with its message, as the queue hands it over |
//! | [`mx`] | which hosts take the mail of a domain |
//! | [`host`] | which addresses of a host are worth a connection |
//! | [`source`] | which egress source an entry leaves from |
//! | [`share`] | which part of a lane's limits is this shard's, and whose lane it is otherwise |
//! | [`lane`] | what is ready to go to one site from one source, and who shares its failures |
//! | [`fair`] | which sender is next |
//! | [`window`] | how many connections the site bears, and when it is left alone |
//! | [`pace`] | when the next message may go |
//! | [`avoided`] | which addresses are not worth a try now, and where encryption is not |

pub mod avoided;
pub mod fair;
pub mod host;
pub mod lane;
pub mod mx;
pub mod pace;
pub mod ready;
pub mod share;
pub mod source;
pub mod window;
