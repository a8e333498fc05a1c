//! Declarations of the outbound side: routes, DNS, and how delivery is retried.
//!
//! Decides defaults and ranges of these knobs, each with its reason. See `knob` for what the
//! declarations turn into.
//! A route's hosts are addresses for now: resolving the name of a smarthost is the work of the
//! resolver that MX routing brings, and start-up must not depend on DNS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::domain::{DomainPattern, host_name};
use super::form::{DOMAIN_PATTERN, ENDPOINT, Form, HOST_NAME, PATH};
use super::kind::{
    Choice, Count, List, Maybe, Period, Required, Size, Switch, plain, read_list, wrong_type,
};
use super::knob::{Description, Fault, Kind, Preset, section, words};
use super::problem::shown;
use super::unit::{GIB, MIB, days, hours, minutes, seconds};

/// Hosts of one route.
pub const VIA_HOSTS_MAX: usize = 16;
/// Connections of one route, over all shards.
pub const ROUTE_CONNECTIONS_MAX_CEILING: u32 = 10_000;
/// Age at which the oldest message in any queue is given up.
pub const EXPIRE_AFTER_CEILING: Duration = days(30);
const DNS_SERVERS_MAX: usize = 8;

section! {
    /// Where mail goes. The first route whose domain matches counts; without one, MX records do.
    Many "route" pub struct Route {
        /// The recipients' domains that take this route.
        domain: DomainPattern = Required { form: DOMAIN_PATTERN },
            "a route for no domain would do nothing", Restart;

        /// The hosts that take the mail, or "mx" for those that DNS names.
        via: Via = ViaKind,
            "where mail goes must not be guessed", Restart;

        /// How deliveries are encrypted.
        tls: RouteTls = Choice { default: RouteTls::Opportunistic },
            "encrypts wherever possible and delivers everywhere", Restart;

        /// The name in the hosts' certificate, which is also told to them (SNI).
        tls_name: Option<String> = Maybe { form: HOST_NAME, absent: "the address of the host" },
            "a certificate that names an address is rare", Restart;

        /// Connections at once, over all shards.
        connections_max: u32 = Count {
            of: "connections",
            default: 20,
            min: 1,
            max: ROUTE_CONNECTIONS_MAX_CEILING,
        },
            "the large mailbox providers begin to refuse above 20 or so", Restart;
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// These hosts; 1..=[`VIA_HOSTS_MAX`], without repetition.
    Hosts(Vec<SocketAddr>),
    /// Those that the domain's MX records name (RFC 5321 5.1).
    Mx,
}

/// `"mx"` or a list of hosts.
struct ViaKind;

impl Kind for ViaKind {
    type Value = Via;

    fn describe(&self) -> Description {
        let hosts = format!("a list of 1 to {VIA_HOSTS_MAX}, each {}", HOST.allowed);
        plain(Preset::Required, format!("\"mx\" or {hosts}"))
    }

    fn absent(&self) -> Option<Via> {
        None
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Via, Vec<Fault>> {
        let says = match found.get_ref() {
            DeValue::String(text) if text == "mx" => return Ok(Via::Mx),
            DeValue::String(text) => format!("is \"{}\"", shown(text)),
            DeValue::Array(items) if items.is_empty() => "is an empty list".to_owned(),
            DeValue::Array(_) => {
                return read_list(&HOST, VIA_HOSTS_MAX, found).map(Via::Hosts);
            }
            other => return Err(wrong_type(found, other)),
        };
        Err(vec![Fault { place: found.span().start, says }])
    }
}

/// An [`ENDPOINT`] with its own words for the name of a host, which is what people try first.
const HOST: Form<SocketAddr> = Form::shown(ENDPOINT.allowed, |text| {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    if host_name(host).is_ok() {
        return Err("names of hosts come with MX routing, an IP address is needed".to_owned());
    }
    ENDPOINT.reason(text)
});

words! {
    /// How deliveries of a route are encrypted.
    pub enum RouteTls {
        /// never
        None = "none",
        /// when the host offers it, whatever its certificate
        Opportunistic = "opportunistic",
        /// always, whatever the host's certificate
        Require = "require",
        /// always, and the host's certificate must be valid for its name
        Verify = "verify",
    }
}

section! {
    /// The name servers to ask, and how.
    One "dns" pub struct Dns {
        /// Recursive resolvers, asked in this order.
        servers: Vec<SocketAddr> = List {
            form: ENDPOINT,
            items_max: DNS_SERVERS_MAX,
            absent: "the name servers of /etc/resolv.conf",
        },
            "the machine's own resolvers are there already", Restart;

        /// How long one server is waited for before the next one is asked.
        timeout: Duration =
            Period { default: seconds(3), min: Duration::from_millis(250), max: seconds(10) },
            "resolvers answer within a second or two, or else they ask servers that are down",
            Applies;

        /// How often each server is asked before a question counts as unanswered. Twenty seconds
        /// end it in any case.
        tries: u32 = Count { of: "times", default: 2, min: 1, max: 5 },
            "one packet may be lost", Applies;

        /// Memory for answers, shared by all shards.
        cache_bytes_max: u64 = Size { default: 32 * MIB, min: MIB, max: 16 * GIB },
            "holds about 60,000 answers, those of as many domains", Restart;

        /// The kinds of addresses that mail is delivered to.
        families: Families = Choice { default: Families::Both },
            "a host that has one kind only is reached as well", Applies;

        /// Whether the name servers' word is taken that an answer was validated by DNSSEC (the AD
        /// bit). Say true only for validating resolvers on this machine or behind a safe path.
        trust_ad: bool = Switch { default: false },
            "a bit that comes over a network that others share proves nothing", Applies;

        /// Whether names may lead to this machine itself (127.0.0.0/8, ::1).
        loopback: bool = Switch { default: false },
            "anyone's record could lead mail into local services, or in circles, otherwise", Applies;
    }
}

words! {
    /// Which addresses of a host are used.
    pub enum Families {
        /// IPv4 and IPv6 in turn
        Both = "both",
        /// IPv4 alone
        Ipv4 = "ipv4",
        /// IPv6 alone
        Ipv6 = "ipv6",
    }
}

section! {
    /// Attempts to deliver, and when to give up.
    One "delivery" pub struct Delivery {
        /// Age at which a message is returned to its sender as undeliverable.
        expire_after: Duration =
            Period { default: hours(6), min: minutes(10), max: EXPIRE_AFTER_CEILING },
            "people want to hear the same day; RFC 5321 4.5.4.1 suggests 4 to 5 days", Applies;

        /// Time from the first failed attempt to the second; each later wait is twice the one
        /// before, a quarter more or less at random.
        retry_first: Duration = Period { default: minutes(5), min: seconds(1), max: days(1) },
            "greylisting usually ends within 5 minutes", Applies;

        /// The longest wait between two attempts.
        retry_max: Duration = Period { default: hours(1), min: seconds(1), max: days(1) },
            "six hours then hold about nine attempts", Applies;

        /// Time for a connection to be made.
        connect_timeout: Duration =
            Period { default: seconds(30), min: seconds(1), max: minutes(5) },
            "live hosts answer within seconds, and the next host is waiting", Applies;

        /// How long a connection without work is kept for the next message.
        connection_idle: Duration =
            Period { default: seconds(5), min: seconds(0), max: minutes(5) },
            "saves most handshakes; receivers resent connections that sit idle", Applies;

        /// The authorities whose certificates are trusted, PEM. Where no route verifies, they decide
        /// only what the log says.
        trust_file: Option<PathBuf> =
            Maybe { form: PATH, absent: "/etc/ssl/certs/ca-certificates.crt, if it is there" },
            "the machine's own are there already", Restart;

        /// Messages sent over one connection before a new one is made.
        messages_per_connection_max: u32 =
            Count { of: "messages", default: 1_000, min: 1, max: 1_000_000 },
            "lets the receiver's load balancer move us now and then", Applies;
    }
}
