//! What holds for the mail of one route or of one site: limits, retries, sources.
//!
//! Decides which table has the say. Limits: the route's own knob, else the provider's, else that of
//! `[delivery]`. Retries: the route's, else that of `[delivery]`; a provider has none, because how
//! long a sender wants to wait is not the receiver's to say.
//! Each knob is looked up for itself: a route that writes one leaves the others as they are.

use std::time::Duration;

use super::outbound::{Delivery, Route};
use super::provider::{self, Provider};
use super::settings::Config;
use super::unit::Rate;

/// What a lane may do, over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// At once.
    pub connections_max: u32,
    pub messages_per_connection_max: u32,
    pub recipients_per_transaction_max: u32,
    /// `None`: as fast as it goes.
    pub rate: Option<Rate>,
}

/// When to try again, when to say that it takes long, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// From the first failed attempt to the second; doubled each time.
    pub retry_first: Duration,
    /// The longest wait between two attempts; not below `retry_first`.
    pub retry_max: Duration,
    /// Age of a message; not below `retry_first`.
    pub expire_after: Duration,
    /// Age of a message; not above `expire_after`. `None`: never.
    pub delay_notice_after: Option<Duration>,
}

impl Retries {
    pub(super) fn of(delivery: &Delivery, route: Option<&Route>) -> Retries {
        let written = |knob: fn(&Route) -> Option<Duration>| route.and_then(knob);
        Retries {
            retry_first: written(|route| route.retry_first).unwrap_or(delivery.retry_first),
            retry_max: written(|route| route.retry_max).unwrap_or(delivery.retry_max),
            expire_after: written(|route| route.expire_after).unwrap_or(delivery.expire_after),
            delay_notice_after: written(|route| route.delay_notice_after)
                .or(delivery.delay_notice_after),
        }
    }
}

impl Config {
    /// The limits of mail that takes the route with this index, or none. `mx_hosts` are the names of
    /// the MX hosts, the preferred ones first; empty where the route lists its hosts.
    ///
    /// # Panics
    /// When there is no such route.
    pub fn lane_limits(&self, route: Option<usize>, mx_hosts: &[&str]) -> LaneLimits {
        let (route, provider) = (self.route_at(route), self.provider(mx_hosts));
        let basis = &self.delivery;
        // The knobs have the same names in all three, so that nobody has to learn two.
        macro_rules! first_written {
            ($knob:ident) => {
                route.and_then(|route| route.$knob).or(provider.and_then(|found| found.$knob))
            };
        }
        LaneLimits {
            connections_max: first_written!(connections_max).unwrap_or(basis.connections_max),
            messages_per_connection_max: first_written!(messages_per_connection_max)
                .unwrap_or(basis.messages_per_connection_max),
            recipients_per_transaction_max: first_written!(recipients_per_transaction_max)
                .unwrap_or(basis.recipients_per_transaction_max),
            rate: first_written!(rate).or(basis.rate),
        }
    }

    /// The provider that runs the first of these MX hosts that any provider runs. Looks through the
    /// table, so it is for new lanes and not for each message.
    pub fn provider(&self, mx_hosts: &[&str]) -> Option<&Provider> {
        provider::of_hosts(&self.providers, mx_hosts)
    }

    /// The retries of mail that takes the route with this index, or none.
    ///
    /// # Panics
    /// When there is no such route.
    pub fn retries(&self, route: Option<usize>) -> Retries {
        Retries::of(&self.delivery, self.route_at(route))
    }

    /// The sources that mail of this route leaves from, as indices into `sources`; never empty.
    ///
    /// # Panics
    /// When there is no such route.
    pub fn pool(&self, route: Option<usize>) -> &[usize] {
        self.pools.of(route)
    }

    fn route_at(&self, route: Option<usize>) -> Option<&Route> {
        route.map(|index| &self.routes[index])
    }
}
