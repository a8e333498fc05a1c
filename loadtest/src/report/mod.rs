//! What is told of runs: values in, text out.
//!
//! ```text
//! model --> file     JSON, the one thing that is kept; all else can be made again from it
//!   |-----> text     tables for a terminal, markdown for a README      table
//!   |-----> html     one page that needs nothing else                   markup, chart, plot
//!   +-----> compare  two reports                 live: the line while it runs
//! figure, group, scaling, units: what is compared, whose it is, how it is written
//! ```
//! Only `file` and `args` touch the world. Nothing here opens a socket, reads a clock or measures.

pub mod args;
mod chart;
mod compare;
mod figure;
pub mod file;
#[cfg(test)]
mod fixture;
mod group;
pub mod html;
pub mod live;
mod markup;
pub mod model;
mod plot;
mod rows;
mod scaling;
mod table;
pub mod text;
mod units;
