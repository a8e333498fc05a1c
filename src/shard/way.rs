//! Which lane an entry takes: by its route, or by the MX records of its domain.
//!
//! What the DNS has said lately is at hand; where it must be asked first, the entries of the domain
//! wait together for one answer. The routing rules themselves are in `config` (routes, pools) and
//! `deliver/mx.rs` (RFC 5321 5.1).

use super::Shard;
use super::lane::{LaneKey, LaneSeat, Owner, Work};
use super::world::{Share, World};
use crate::config::Via;
use crate::deliver::mx::MailHosts;
use crate::deliver::ready::{Origin, Ready};
use crate::deliver::source;
use crate::message::Outcome;
use crate::queue::key::DueKey;
use crate::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Domains whose site is at hand, and for how long it is not asked again. The resolver's cache goes
/// by the records' times; this only spares each message a look at it.
const SITES_MAX: usize = 65_536;
const SITE_FRESH: Duration = Duration::from_secs(10);

/// Entries of one sender in one domain, of one domain, and of all, that may wait for an answer in
/// memory. A sender with none is let in even when the domain has its share: else who comes behind a
/// flood would be put off with it.
const ASKING_SENDER_MAX: usize = 64;
const ASKING_DOMAIN_MAX: usize = 256;
const ASKING_MAX: usize = 16_384;

pub(super) enum Way {
    Lane(Rc<LaneSeat>),
    /// The DNS must be asked.
    Unknown,
    /// There is nowhere to go, for good or for now.
    Nowhere(Outcome),
}

/// What is known of ways, and who waits for more.
#[derive(Default)]
pub(super) struct Ways {
    sites: RefCell<HashMap<Box<str>, Site>>,
    asking: RefCell<HashMap<Box<str>, Asking>>,
    waiting: Cell<usize>,
}

/// Who waits for the answer of one domain.
#[derive(Default)]
struct Asking {
    entries: Vec<Ready>,
    by_sender: HashMap<u64, usize>,
}

impl Asking {
    fn push(&mut self, entry: Ready) {
        *self.by_sender.entry(entry.key.queue.sender).or_default() += 1;
        self.entries.push(entry);
    }

    fn has_room(&self, sender: u64) -> bool {
        match self.by_sender.get(&sender) {
            Some(own) => *own < ASKING_SENDER_MAX && self.entries.len() < ASKING_DOMAIN_MAX,
            None => true,
        }
    }
}

impl Ways {
    /// Entries that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.get()
    }
}

#[derive(Clone)]
struct Site {
    name: Arc<str>,
    hosts: Arc<MailHosts>,
    fresh_until: Moment,
}

impl<W: World> Shard<W> {
    /// The way of an entry to `domain` (lower case).
    pub(super) fn way(&self, key: &DueKey, domain: &str, origin: Origin) -> Way {
        let config = self.config();
        let (index, via) = match config.route(domain) {
            Some((index, route)) => (Some(index), &route.via),
            None => (None, &Via::Mx),
        };
        let source = match config.pool(index) {
            [only] => *only,
            pool => source::choose(&config.sources, pool, key.id, key.group),
        };
        let lane = |site, hosts| {
            let key = LaneKey { route: index, site, source, owner: Owner::ByRule };
            Way::Lane(self.seat_for(key, hosts, origin))
        };
        match via {
            Via::Hosts(_) => lane(Arc::clone(&self.inner.no_site), None),
            Via::Mx => match self.site(domain) {
                Some(Ok(Site { name, hosts, .. })) => lane(name, Some(&hosts)),
                Some(Err(outcome)) => Way::Nowhere(outcome),
                None => Way::Unknown,
            },
        }
    }

    /// A lane of this shard for what was handed to it, whoever it belongs to by the rule.
    fn seat_for(
        &self,
        key: LaneKey,
        hosts: Option<&Arc<MailHosts>>,
        origin: Origin,
    ) -> Rc<LaneSeat> {
        let seat = self.seat_of(key.clone(), hosts);
        match (origin, seat.work) {
            (Origin::Here, _) | (Origin::Shard(_), Work::Deliver) => seat,
            (Origin::Shard(_), Work::HandOver { .. }) => {
                self.seat_of(LaneKey { owner: Owner::Me, ..key }, hosts)
            }
        }
    }

    fn site(&self, domain: &str) -> Option<Result<Site, Outcome>> {
        let now = self.inner.world.moment();
        if let Some(site) = self.inner.ways.sites.borrow().get(domain)
            && now < site.fresh_until
        {
            return Some(Ok(site.clone()));
        }
        let found = self.inner.resolver.known_mail_hosts(domain)?;
        Some(found.map(|hosts| self.remember_site(domain, hosts)))
    }

    fn remember_site(&self, domain: &str, hosts: Arc<MailHosts>) -> Site {
        let fresh_until = self.after(SITE_FRESH);
        let site = Site { name: hosts.site().into(), hosts, fresh_until };
        let mut sites = self.inner.ways.sites.borrow_mut();
        if sites.len() >= SITES_MAX {
            sites.clear();
        }
        sites.insert(domain.into(), site.clone());
        site
    }

    /// Sends an entry, which is taken, on its way.
    pub(super) fn dispatch(&self, entry: Ready) {
        match self.way(&entry.key, &entry.due.domain, entry.origin) {
            Way::Lane(seat) => self.arrive(&seat, entry),
            Way::Unknown => self.ask(entry),
            Way::Nowhere(outcome) => self.settle_untried(entry, outcome),
        }
    }

    /// Whether another entry of `domain` and `sender` may wait in memory for an answer of the DNS.
    pub(super) fn may_ask(&self, domain: &str, sender: u64) -> bool {
        let asking = self.inner.ways.asking.borrow();
        let has_room = asking.get(domain).is_none_or(|asking| asking.has_room(sender));
        has_room && self.inner.ways.waiting.get() < ASKING_MAX
    }

    /// Has the entry wait until it is known where its domain's mail goes.
    pub(super) fn ask(&self, entry: Ready) {
        let ways = &self.inner.ways;
        ways.waiting.set(ways.waiting.get() + 1);
        let mut asking = ways.asking.borrow_mut();
        if let Some(others) = asking.get_mut(&entry.due.domain) {
            return others.push(entry);
        }
        let domain = entry.due.domain.clone();
        asking.entry(domain.clone()).or_default().push(entry);
        let shard = self.clone();
        self.inner.world.spawn(Share::Delivery, async move {
            let found = shard.inner.resolver.mail_hosts(&domain).await;
            if let Ok(hosts) = &found {
                // At hand for those who wait, also when its records may not be kept.
                shard.remember_site(&domain, Arc::clone(hosts));
            }
            let asked = shard.inner.ways.asking.borrow_mut().remove(&domain);
            let entries = asked.unwrap_or_default().entries;
            let waiting = &shard.inner.ways.waiting;
            waiting.set(waiting.get() - entries.len());
            for entry in entries {
                match &found {
                    Ok(_) => shard.dispatch(entry),
                    Err(outcome) => shard.settle_untried(entry, outcome.clone()),
                }
            }
        });
    }
}
