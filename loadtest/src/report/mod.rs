//! Reports of `baton-load run`.
//!
//! | file | |
//! |---|---|
//! | `model` | what a report is: the JSON |

pub mod model;
