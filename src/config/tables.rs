//! [`Tables`]: every table of the file as its declaration reads it, and what follows from it.
//!
//! A table here has exactly the declared knobs, so that a reload can go through them one by one. The
//! [`Config`] that others read is made from it: defaults that depend on another knob are filled in,
//! knobs that belong together become one value, confirmations are left out.
//! Decides nothing that could go wrong: `check` has been through it.

use std::fmt;

use super::inbound::{Account, AccountTable, Certificate, Limits, Listener, ListenerTable};
use super::inbound::{Peer, PeerTable};
use super::outbound::{Delivery, Dns, Route};
use super::process::{Admin, Disk, Filter, Log, Memory, Top};
use super::provider::Provider;
use super::settings::Config;
use super::source::{Pools, Source, SourceTable};

#[derive(Clone, PartialEq)]
pub(super) struct Tables {
    pub top: Top,
    /// Never empty.
    pub listeners: Vec<ListenerTable>,
    pub peers: Vec<PeerTable>,
    pub accounts: Vec<AccountTable>,
    pub sources: Vec<SourceTable>,
    pub routes: Vec<Route>,
    /// Those of the file itself, then those of the providers' file or the shipped ones.
    pub providers: Vec<Provider>,
    pub dns: Dns,
    pub admin: Admin,
    pub log: Log,
    pub limits: Limits,
    pub memory: Memory,
    pub disk: Disk,
    pub delivery: Delivery,
    pub filter: Filter,
}

/// Without its content, which repeats the [`Config`] it is in and has the hashes of passwords.
impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    /// `hostname` is the one that is written, or the machine's.
    pub fn resolve(self, hostname: String) -> Config {
        let Top { postmaster, data_dir, shards, durability, shutdown_grace, .. } = self.top.clone();
        Config {
            postmaster: postmaster.unwrap_or_else(|| format!("postmaster@{hostname}")),
            sources: self.sources(&hostname),
            pools: Pools::new(&self.sources, self.routes.iter().map(|route| route.pool.as_str())),
            hostname,
            data_dir,
            shards,
            durability,
            shutdown_grace,
            listeners: self.listeners.iter().map(listener).collect(),
            peers: self.peers.iter().map(peer).collect(),
            accounts: self.accounts.iter().map(account).collect(),
            routes: self.routes.clone(),
            providers: self.providers.clone(),
            dns: self.dns.clone(),
            admin: self.admin.clone(),
            log: self.log.clone(),
            limits: self.limits.clone(),
            memory: self.memory.clone(),
            disk: self.disk.clone(),
            delivery: self.delivery.clone(),
            filter: self.filter.clone(),
            tables: self,
        }
    }

    fn sources(&self, hostname: &str) -> Vec<Source> {
        if self.sources.is_empty() {
            return vec![Source::implicit(hostname)];
        }
        self.sources.iter().map(|table| Source::new(table, hostname)).collect()
    }
}

fn listener(table: &ListenerTable) -> Listener {
    let ListenerTable { address, tls, certificate, key, auth, auth_without_tls } = table.clone();
    let files = certificate.zip(key);
    let certificate = files.map(|(certificate, key)| Certificate { certificate, key });
    Listener { address, tls, certificate, auth, auth_without_tls }
}

fn peer(table: &PeerTable) -> Peer {
    let PeerTable { network, account, identity_headers, proxy, sessions_max, i_know: _ } =
        table.clone();
    Peer { network, account, identity_headers, proxy, sessions_max }
}

fn account(table: &AccountTable) -> Account {
    let AccountTable { name, password_hash } = table.clone();
    Account { name, password_hash }
}
