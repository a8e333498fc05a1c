//! Do we lose, duplicate or stall? The drivers that ship, in a simulated world.
//!
//! `baton::shard` runs here unchanged, on a [`world`] with a virtual clock, seeded chance, a disk
//! that loses what was not synced and an internet of misbehaving servers. Everything that happens
//! follows from the seed, so a failure is replayed with `BATON_SIM_SEED=S make test`.
//!
//! | part | files |
//! |---|---|
//! | time and tasks | `executor`, `clock`, `random` |
//! | the world | `world`, `network`, `pipe`, `datagram`, `disk`, `committer`, `journal` |
//! | who is in it | `client`, `remote`, `dns`, `zone`, `manners`, `nuisance`, `mail`, `wire` |
//! | the relay's lives | `relay`, `plan`, `run` |
//! | the judgement | `ledger`, `traffic`, `oracle` |
//! | the tests | `scenarios`, `sites`, `operations`, `regressions`, `lookups` |

mod client;
mod clock;
mod committer;
mod datagram;
mod disk;
mod dns;
mod executor;
mod journal;
mod ledger;
mod lookups;
mod mail;
mod mailbox;
mod manners;
mod network;
mod nuisance;
mod operations;
mod oracle;
mod pipe;
mod plan;
mod random;
mod regressions;
mod relay;
mod remote;
mod run;
mod scenarios;
mod sites;
mod traffic;
mod wire;
mod world;
mod zone;
