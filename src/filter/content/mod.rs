//! A message as rules, classifier and look-alike tests see it: one pass over its octets.
//!
//! | file | what |
//! |---|---|
//! | `limits` | how much of a message is looked at |
//! | `sign` | the closed list of facts, and their evidence |
//! | `header`, `look`, `mailbox` | fields, what the header looks like, addresses |
//! | `media`, `walk`, `transfer`, `charset` | MIME: what a part is, which there are, its octets, its text |
//! | `read` | puts each part where it belongs |
//! | `text`, `words` | text as seen, and its words |
//! | `html`, `tag`, `style`, `entity` | HTML in one pass |
//! | `link`, `find`, `shortener` | links, also in plain text |
//! | `attachment`, `zip` | what a file is |
//!
//! Pure and total: any octets give a [`Content`]; work and memory are bounded by [`ContentLimits`],
//! and a bound that ended something is itself a fact. Nothing here recurses on what a peer sends.

mod attachment;
mod charset;
mod entity;
mod find;
mod header;
mod html;
mod limits;
mod link;
mod look;
mod mailbox;
mod media;
mod read;
mod shortener;
mod sign;
mod style;
mod tag;
#[cfg(test)]
mod tests;
mod text;
mod transfer;
mod walk;
mod words;
mod zip;

pub use attachment::{Attachment, Kind, Shown};
pub use html::HtmlLook;
pub use limits::{Bound, ContentLimits};
pub use link::{Link, Links, Origin, Scheme};
pub use look::{Date, HeaderLook, ListFields};
pub use mailbox::{Mailbox, Mailboxes};
pub use read::{Content, Parts};
pub use sign::{Fact, Facts, Sign};
pub use text::Oddities;
