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

/// What a lane, which is one source and one site, may do over all shards. Receivers count by
/// address, so another source has limits of its own.
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
    /// The limits of mail that takes the route with this index, or none. `mx_hosts` are the names
    /// of the MX hosts, the preferred ones first; empty where the route lists its hosts.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(text: &str) -> Config {
        Config::parse("test", text, "box").unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    const TEXT: &str = r#"
        [[route]]
        domain = "a.test"
        via = "mx"
        connections_max = 7
        retry_first = "1m"
        delay_notice_after = "4h"
        [[route]]
        domain = "b.test"
        via = "mx"
        rate = "5/s"
        expire_after = "1d"
        [[provider]]
        name = "narrow"
        mx = ["in.mail.test"]
        messages_per_connection_max = 3
        rate = "100/min"
        [[provider]]
        name = "wide"
        mx = ["*.mail.test", "*.mail.example"]
        connections_max = 2
        recipients_per_transaction_max = 10
        [delivery]
        connections_max = 30
        retry_max = "2h"
    "#;

    #[test]
    fn each_limit_is_the_routes_then_the_providers_then_that_of_all() {
        let config = parse(TEXT);
        let rate = |messages, seconds| Some(Rate { messages, per: Duration::from_secs(seconds) });
        let rows = [
            (None, &[][..], (30, 1_000, 100, None)),
            (None, &["mx.test"], (30, 1_000, 100, None)),
            (None, &["in.mail.test"], (30, 3, 100, rate(100, 60))),
            (None, &["x.mail.test"], (2, 1_000, 10, None)),
            (Some(0), &[], (7, 1_000, 100, None)),
            (Some(0), &["in.mail.test"], (7, 3, 100, rate(100, 60))),
            (Some(1), &["in.mail.test"], (30, 3, 100, rate(5, 1))),
            (Some(1), &["in.mail.example"], (2, 1_000, 10, rate(5, 1))),
        ];
        for (route, hosts, expected) in rows {
            let found = config.lane_limits(route, hosts);
            let (connections_max, messages_per_connection_max, recipients, rate) = expected;
            let expected = LaneLimits {
                connections_max,
                messages_per_connection_max,
                recipients_per_transaction_max: recipients,
                rate,
            };
            assert_eq!(found, expected, "{route:?} {hosts:?}");
        }
    }

    #[test]
    fn the_first_host_that_is_known_and_the_first_provider_that_knows_it() {
        let config = parse(TEXT);
        let name = |hosts: &[&str]| config.provider(hosts).map(|found| found.name.as_str());
        assert_eq!(name(&["in.mail.test"]), Some("narrow"));
        assert_eq!(name(&["IN.Mail.Test."]), Some("narrow"));
        assert_eq!(name(&["mx.own.test", "b.mail.test", "in.mail.test"]), Some("wide"));
        assert_eq!(name(&["mail.test"]), None);
        assert_eq!(name(&[]), None);
        // those that came with the program stand behind
        assert_eq!(name(&["alt1.aspmx.l.google.com"]), Some("google"));
        let own =
            parse("[[provider]]\nname = \"mine\"\nmx = [\"*.l.google.com\"]\nrate = \"1/s\"\n");
        let google = &["aspmx.l.google.com"][..];
        assert_eq!(own.provider(google).map(|found| found.name.as_str()), Some("mine"));
        assert_eq!(own.lane_limits(None, google).connections_max, own.delivery.connections_max);
    }

    #[test]
    fn retries_are_the_routes_then_those_of_all() {
        let config = parse(TEXT);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let all = Retries {
            retry_first: minutes(5),
            retry_max: minutes(120),
            expire_after: minutes(360),
            delay_notice_after: None,
        };
        assert_eq!(config.retries(None), all);
        let first =
            Retries { retry_first: minutes(1), delay_notice_after: Some(minutes(240)), ..all };
        assert_eq!(config.retries(Some(0)), first);
        assert_eq!(config.retries(Some(1)), Retries { expire_after: minutes(1_440), ..all });
    }
}
