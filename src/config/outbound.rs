//! Declarations of the outbound side: routes, DNS, and how delivery is paced and retried.
//!
//! Decides defaults and ranges of these knobs, each with its reason. See `knob` for what the
//! declarations turn into, and `lane` for which of a route, a provider and `[delivery]` has the
//! say.
//! A route's hosts are addresses or names; names are resolved when a connection is made, because
//! start-up must not depend on DNS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::domain::{DomainPattern, host_name};
use super::form::{DOMAIN_PATTERN, ENDPOINT, Form, HOST_NAME, NAME, PATH, RATE};
use super::inbound::RECIPIENTS_MAX_CEILING;
use super::kind::{
    Choice, Count, List, Maybe, MaybeCount, MaybePeriod, Period, Required, Size, Switch, Text,
    plain, read_count, read_list, wrong_type,
};
use super::knob::{Description, Fault, Kind, Preset, section, words};
use super::problem::shown;
use super::source::POOL_DEFAULT;
use super::unit::{GIB, MIB, Rate, days, hours, minutes, seconds};

/// Hosts of one route.
pub const VIA_HOSTS_MAX: usize = 16;
/// Connections of one lane, over all shards.
pub const CONNECTIONS_MAX_CEILING: u32 = 10_000;
/// Messages of one connection.
pub const CONNECTION_MESSAGES_MAX_CEILING: u32 = 1_000_000;
/// Connections of all lanes, over all shards.
pub const OUTBOUND_SESSIONS_MAX_CEILING: u32 = 100_000;
/// Addresses tried in one attempt.
pub const MX_ADDRESSES_MAX_CEILING: u32 = 50;
/// Age at which the oldest message in any queue is given up.
pub const EXPIRE_AFTER_CEILING: Duration = days(30);
const EXPIRE_AFTER_FLOOR: Duration = minutes(10);
const RETRY_FLOOR: Duration = seconds(1);
const RETRY_CEILING: Duration = days(1);
const DELAY_NOTICE_FLOOR: Duration = minutes(1);
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

        /// The pool of egress sources that its mail leaves from.
        pool: String = Text { form: NAME, default: POOL_DEFAULT },
            "most relays have one", Restart;

        /// Connections at once from one source, over all shards.
        connections_max: Option<u32> = MaybeCount {
            of: "connections",
            absent: "the provider's, else delivery.connections_max",
            min: 1,
            max: CONNECTIONS_MAX_CEILING,
        },
            "a host of one's own takes more, or less, than a stranger's", Restart;

        /// Messages sent over one connection before a new one is made.
        messages_per_connection_max: Option<u32> = MaybeCount {
            of: "messages",
            absent: "the provider's, else delivery.messages_per_connection_max",
            min: 1,
            max: CONNECTION_MESSAGES_MAX_CEILING,
        },
            "few routes differ", Restart;

        /// Recipients of one transaction; a message with more goes in several.
        recipients_per_transaction_max: Option<u32> = MaybeCount {
            of: "recipients",
            absent: "the provider's, else delivery.recipients_per_transaction_max",
            min: 1,
            max: RECIPIENTS_MAX_CEILING,
        },
            "few routes differ", Restart;

        /// Messages per interval from one source, over all shards.
        rate: Option<Rate> =
            Maybe { form: RATE, absent: "the provider's, else delivery.rate" },
            "hosts that want one say which", Restart;

        /// Age at which a message is returned to its sender as undeliverable.
        expire_after: Option<Duration> = MaybePeriod {
            absent: "delivery.expire_after",
            min: EXPIRE_AFTER_FLOOR,
            max: EXPIRE_AFTER_CEILING,
        },
            "few routes differ", Restart;

        /// Time from the first failed attempt to the second.
        retry_first: Option<Duration> = MaybePeriod {
            absent: "delivery.retry_first",
            min: RETRY_FLOOR,
            max: RETRY_CEILING,
        },
            "few routes differ", Restart;

        /// The longest wait between two attempts.
        retry_max: Option<Duration> = MaybePeriod {
            absent: "delivery.retry_max",
            min: RETRY_FLOOR,
            max: RETRY_CEILING,
        },
            "few routes differ", Restart;

        /// Age at which a sender is told, once, that the message still waits. The route's
        /// expire_after here means never.
        delay_notice_after: Option<Duration> = MaybePeriod {
            absent: "delivery.delay_notice_after",
            min: DELAY_NOTICE_FLOOR,
            max: EXPIRE_AFTER_CEILING,
        },
            "few routes differ", Restart;
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// These hosts; 1..=[`VIA_HOSTS_MAX`], without repetition.
    Hosts(Vec<Host>),
    /// Those that the domain's MX records name (RFC 5321 5.1).
    Mx,
}

/// A host that a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(SocketAddr),
    /// Resolved when a connection is made.
    Name {
        /// In lower case.
        name: String,
        port: u16,
    },
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

/// Always with its port: 25 between relays and 587 or 465 of a smarthost differ too much to guess.
/// A TCP port, 25 where none is written.
struct PortKind;

impl Kind for PortKind {
    type Value = u16;

    fn describe(&self) -> Description {
        plain(Preset::Value("25".to_owned()), "a port, 1 to 65535".to_owned())
    }

    fn absent(&self) -> Option<u16> {
        Some(25)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<u16, Vec<Fault>> {
        let port = read_count(found, 1, u32::from(u16::MAX))?;
        Ok(u16::try_from(port).unwrap_or(u16::MAX))
    }
}

const HOST: Form<Host> =
    Form::shown("ip:port or name:port, such as \"192.0.2.1:25\" or \"mx.example.net:25\"", host);

fn host(text: &str) -> Result<Host, String> {
    let Some((name, port)) = text.rsplit_once(':') else {
        return Err("it has no port".to_owned());
    };
    match (host_name(name), port.parse::<u16>()) {
        (Ok(_), Ok(0)) => Err("port 0 cannot be connected to".to_owned()),
        (Ok(name), Ok(port)) => Ok(Host::Name { name, port }),
        (Ok(_), Err(_)) => Err("the port is not a number up to 65535".to_owned()),
        (Err(reason), _) => ENDPOINT.reason(text).map(Host::Address).map_err(|other| {
            // Letters make a name that somebody meant to write, and its own mistake says more.
            let named = name.bytes().any(|b| b.is_ascii_alphabetic()) && !name.contains(':');
            if named { reason } else { other }
        }),
    }
}

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
            Period { default: hours(6), min: EXPIRE_AFTER_FLOOR, max: EXPIRE_AFTER_CEILING },
            "people want to hear the same day; RFC 5321 4.5.4.1 suggests 4 to 5 days", Applies;

        /// Time from the first failed attempt to the second; each later wait is twice the one
        /// before, a quarter more or less at random.
        retry_first: Duration =
            Period { default: minutes(5), min: RETRY_FLOOR, max: RETRY_CEILING },
            "greylisting usually ends within 5 minutes", Applies;

        /// The longest wait between two attempts.
        retry_max: Duration = Period { default: hours(1), min: RETRY_FLOOR, max: RETRY_CEILING },
            "six hours then hold about nine attempts", Applies;

        /// Age at which a sender is told, once, that the message still waits.
        delay_notice_after: Option<Duration> = MaybePeriod {
            absent: "never",
            min: DELAY_NOTICE_FLOOR,
            max: EXPIRE_AFTER_CEILING,
        },
            "after six hours the message comes back itself; write it with a longer expire_after",
            Applies;

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
            Count { of: "messages", default: 1_000, min: 1, max: CONNECTION_MESSAGES_MAX_CEILING },
            "lets the receiver's load balancer move us now and then", Applies;

        /// Connections at once from one source to one site, over all shards.
        connections_max: u32 =
            Count { of: "connections", default: 20, min: 1, max: CONNECTIONS_MAX_CEILING },
            "the large mailbox providers begin to refuse above 20 or so", Applies;

        /// Recipients of one transaction; a message with more goes in several.
        recipients_per_transaction_max: u32 =
            Count { of: "recipients", default: 100, min: 1, max: RECIPIENTS_MAX_CEILING },
            "what RFC 5321 4.5.3.1.8 asks every server to take", Applies;

        /// Messages per interval from one source to one site, over all shards.
        rate: Option<Rate> = Maybe { form: RATE, absent: "as fast as the site takes them" },
            "connections bound what a site sees at once, and few sites ask for more", Applies;

        /// Connections to all sites at once, over all shards.
        outbound_sessions_max: u32 = Count {
            of: "connections",
            default: 2_000,
            min: 1,
            max: OUTBOUND_SESSIONS_MAX_CEILING,
        },
            "a hundred busy sites at 20 each, with files and memory to spare", Applies;

        /// The port of MX hosts.
        smtp_port: u16 = PortKind,
            "where the world takes mail; others are for test networks and shifted ports", Applies;

        /// Addresses of a domain's MX hosts tried in one attempt; RFC 5321 5.1 asks for two.
        mx_addresses_max: u32 =
            Count { of: "addresses", default: 5, min: 1, max: MX_ADDRESSES_MAX_CEILING },
            "when five do not answer, the sixth rarely does, and each costs a connect_timeout",
            Applies;

        /// A file of [[provider]] tables to use in place of the ones that came with baton.
        providers_file: Option<PathBuf> =
            Maybe { form: PATH, absent: "the table that baton was built with" },
            "the large receivers are known without a file; single ones are set with [[provider]]",
            Restart;
    }
}
