//! Names that look like a known brand's, and are not the brand's.
//!
//! Answers one question for sender domains, hosts of links, display names and mailboxes at free-mail
//! services: whose name is this made to be taken for? The answer is a fact with its evidence
//! ([`Resemblance`]); what it weighs is the judge's business. Never asks DNS, and never flags a
//! brand's own domain, what the operator allows or what the customer owns.
//!
//! A wrong hit refuses somebody's invoice, so a miss is the smaller evil: what an honest customer
//! could be called (a reseller, a fan, a town, a surname) is [`Strength::Weak`] or nothing.
//!
//! | file | what |
//! |---|---|
//! | `brands` | `etc/brands.toml` to the compiled index; whose domain is this |
//! | `skeleton` | text to letters as they look: UTS 39 (confusables), UTS 46 and RFC 3492 before it |
//! | `tokens` | where brands and bait words stand in a name, with borders |
//! | `weigh` | what one such place means |
//! | `misspelt` | slips of the pen: weighted distance behind a signature |
//! | `compare` | domains |
//! | `claim` | display names and mailboxes |

mod brands;
mod claim;
mod compare;
mod misspelt;
mod skeleton;
mod tokens;
mod weigh;

pub use brands::Brands;
pub use compare::{How, Resemblance, Strength};
