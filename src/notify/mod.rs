//! Stage 8, tell: what baton says to the people behind a message, and to whom.
//!
//! Values in, bytes out: no clock, no socket, no queue. A [`Notice`] states what became of some
//! recipients; [`compose`] turns it into a message for the original sender, or into nothing when
//! nobody may be told. Whoever has the outcome decides *that* something is to be told and
//! queues the result; this stage decides who wants to hear it and how it reads.
//!
//! ```text
//! notice.rs    what happened, who asked to hear of it                  RFC 3461 4.1
//! dsn.rs       compose: the envelope and header of the notification    RFC 3461 6, RFC 3834
//! words.rs     first part: for people                                  RFC 6522 3
//! status.rs    second part: for programs                               RFC 3464, RFC 6533
//! original.rs  third part: what is read from and returned of the mail  RFC 3461 4.3
//! mime.rs      the three parts as one multipart/report                 RFC 6522, RFC 2046
//! line.rs      lines that the words of others cannot break             RFC 5322 2.1.1, 2.2.3
//! ```

mod dsn;
mod line;
mod mime;
mod notice;
mod original;
mod status;
mod words;

pub use dsn::{Dsn, NOTICE_ACCOUNT, compose};
pub use notice::{Notice, NoticeKind, NoticeRecipient, Reporter};
pub use original::{NOTICE_HEADER_BYTES_MAX, NOTICE_RETURN_BYTES_MAX};
