//! Providers: what the operators of large mailbox services let one sender do, by the names of
//! their MX hosts.
//!
//! Owns the declaration of `[[provider]]` and the table that is shipped, `etc/providers.toml`,
//! which is part of the program so that a relay knows the large receivers without another file.
//! Decides which provider a set of MX hosts belongs to: the first host that any knows, and of those
//! that know it the first in the table. Hosts and not recipients' domains, because most domains at
//! a provider have names of their own.
//! Never decides how the limits are kept; that is the lanes'.

use std::sync::LazyLock;

use super::check_egress;
use super::document::Document;
use super::domain::DomainPattern;
use super::form::{DOMAIN_PATTERN, NAME, RATE};
use super::inbound::RECIPIENTS_MAX_CEILING;
use super::kind::{Maybe, MaybeCount, Required, RequiredList};
use super::knob::section;
use super::outbound::{CONNECTION_MESSAGES_MAX_CEILING, CONNECTIONS_MAX_CEILING};
use super::problem::{Problem, Problems};
use super::unit::Rate;

/// Providers of one table: each is compared with the ones before it.
pub(super) const PROVIDERS_MAX: usize = 1_000;
const MX_PATTERNS_MAX: usize = 32;

/// What problems of the shipped table are shown with.
const SHIPPED_NAME: &str = "etc/providers.toml";
const SHIPPED_TEXT: &str = include_str!("../../etc/providers.toml");

static SHIPPED: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let problems = |problems: Vec<Problem>| -> Vec<Provider> { panic!("{problems:#?}") };
    read(SHIPPED_NAME, SHIPPED_TEXT).unwrap_or_else(problems)
});

section! {
    /// A service that takes mail for many domains, and what it lets one sender do. Tables here are
    /// looked at before those of delivery.providers_file; one that matches hides the others whole.
    Many "provider" pub struct Provider {
        /// What the provider is called in events and metrics.
        name: String = Required { form: NAME },
            "a limit that nobody can name cannot be asked about", Restart;

        /// The names of its MX hosts. The first provider with a pattern that matches counts.
        mx: Vec<DomainPattern> =
            RequiredList { form: DOMAIN_PATTERN, items_max: MX_PATTERNS_MAX },
            "recipients' domains tell nothing: most have their own names at a provider", Restart;

        /// Connections at once from one source, over all shards.
        connections_max: Option<u32> = MaybeCount {
            of: "connections",
            absent: "delivery.connections_max",
            min: 1,
            max: CONNECTIONS_MAX_CEILING,
        },
            "providers say so, or begin to refuse", Restart;

        /// Messages sent over one connection before a new one is made.
        messages_per_connection_max: Option<u32> = MaybeCount {
            of: "messages",
            absent: "delivery.messages_per_connection_max",
            min: 1,
            max: CONNECTION_MESSAGES_MAX_CEILING,
        },
            "some close a connection after so many, others count it against the sender", Restart;

        /// Recipients of one transaction; a message with more goes in several.
        recipients_per_transaction_max: Option<u32> = MaybeCount {
            of: "recipients",
            absent: "delivery.recipients_per_transaction_max",
            min: 1,
            max: RECIPIENTS_MAX_CEILING,
        },
            "some refuse the recipients after so many, which costs a retry", Restart;

        /// Messages per interval from one source, over all shards.
        rate: Option<Rate> = Maybe { form: RATE, absent: "delivery.rate" },
            "most judge a sender by more than a rate, so few have one", Restart;
    }
}

impl Provider {
    fn runs(&self, mx_host: &str) -> bool {
        // Names from DNS may end with the root's dot.
        let host = mx_host.strip_suffix('.').unwrap_or(mx_host);
        self.mx.iter().any(|pattern| pattern.matches(host))
    }
}

/// The provider of the first of `mx_hosts` that one of `providers` knows; the first such provider.
pub(super) fn of_hosts<'p>(providers: &'p [Provider], mx_hosts: &[&str]) -> Option<&'p Provider> {
    mx_hosts.iter().find_map(|host| providers.iter().find(|provider| provider.runs(host)))
}

/// The table that is part of the program.
///
/// # Panics
/// When it has a problem, which a test would have found.
pub(super) fn shipped() -> &'static [Provider] {
    &SHIPPED
}

/// Reads a file of `[[provider]]` tables and nothing else.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub(super) fn read(file_name: &str, text: &str) -> Result<Vec<Provider>, Vec<Problem>> {
    let mut problems = Problems::new(file_name, text);
    let providers = match Document::parse(text, &mut problems) {
        None => Vec::new(),
        Some(document) => {
            document.only::<Provider>(&mut problems);
            check_egress::providers(&document, &mut problems)
        }
    };
    if problems.is_empty() { Ok(providers) } else { Err(problems.into_sorted()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_shipped_table_is_whole_and_says_why() {
        let names: HashSet<&str> = shipped().iter().map(|one| one.name.as_str()).collect();
        assert!(names.len() >= 35, "{} providers", names.len());
        let told = SHIPPED_TEXT.split("\n\n").filter(|part| part.contains("\n[[provider]]\n"));
        assert!(told.clone().all(|part| part.starts_with("# ")), "an entry without its reason");
        assert_eq!(told.count(), names.len());
    }

    #[test]
    fn hosts_of_the_large_receivers_are_known() {
        let rows = [
            (&["alt4.aspmx.l.google.com"][..], Some("google")),
            (&["hotmail-com.olc.protection.outlook.com"], Some("outlook")),
            (&["example-com.mail.protection.outlook.com"], Some("microsoft-365")),
            (&["example-com.k-v1.mx.microsoft"], Some("microsoft-365")),
            (&["mta7.am0.yahoodns.net"], Some("yahoo")),
            (&["mx01.mail.icloud.com"], Some("apple")),
            (&["mx00.emig.gmx.net"], Some("gmx")),
            (&["smtp-in.orange.fr"], Some("orange")),
            (&["mx1.qq.com"], Some("tencent-qq")),
            (&["mxa-00123.gslb.pphosted.com"], Some("proofpoint")),
            (&["mail.example.net"], None),
            (&["google.com.example.net"], None),
        ];
        for (hosts, expected) in rows {
            let found = of_hosts(shipped(), hosts).map(|provider| provider.name.as_str());
            assert_eq!(found, expected, "{hosts:?}");
        }
    }

    #[test]
    fn a_file_of_providers_has_nothing_else() {
        let text = "[delivery]\nrate = \"1/s\"\n[[provider]]\nname = \"a\"\nmx = []\nrates = 1\n";
        let shown: Vec<String> =
            read("p.toml", text).expect_err(text).iter().map(Problem::to_string).collect();
        let starts = [
            "p.toml:1:2: unknown key `delivery` in this file; allowed: [[provider]] only",
            "p.toml:5:6: `mx` is an empty list; allowed: a list of 1 to 32, each a domain",
            "p.toml:6:1: unknown key `rates`, did you mean `rate`?",
        ];
        assert_eq!(shown.len(), starts.len(), "{shown:#?}");
        for (shown, start) in shown.iter().zip(starts) {
            assert!(shown.starts_with(start), "{shown}");
        }
    }
}
