//! Declarations of the inbound side: listeners, peers, accounts, and limits on what they may ask.
//!
//! Decides defaults and ranges of these knobs, each with its reason; a table that is written many
//! times is read into a `..Table` first, from which `check` makes the type that others use.
//! The ceilings are constants because buffers, counters and record formats rely on them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::form::{ACCOUNT_NAME, ADDRESS, NETWORK, PASSWORD_HASH, PATH};
use super::identity::{HeaderFamilies, IdentityHeaders};
use super::kind::{Choice, Count, Maybe, MaybeCount, Period, Required, Size, Switch, Text};
use super::knob::{section, words};
use super::network::Network;
use super::unit::{GIB, KIB, MIB, days, hours, minutes, seconds};

/// Bytes of one message; lengths of bodies fit 32 bits with room to spare.
pub const MESSAGE_BYTES_MAX_CEILING: u64 = GIB;
/// Recipients of one message; an envelope is one record and is held in memory whole.
pub const RECIPIENTS_MAX_CEILING: u32 = 50_000;
/// Received header fields of one message; the threshold that RFC 5321 6.3 calls normal.
pub const HOPS_MAX_CEILING: u32 = 100;
/// Sessions over all shards.
pub const SESSIONS_MAX_CEILING: u32 = 1_000_000;

section! {
    /// Where mail is taken in. Without any, one listener with the defaults runs.
    Many "listener" pub(super) struct ListenerTable {
        /// Where to listen. Every shard listens there, the kernel spreads the connections.
        address: SocketAddr = Text { form: ADDRESS, default: "127.0.0.1:2525" },
            "loopback, and a port that needs no rights", Restart;

        /// How sessions are encrypted.
        tls: ListenerTls = Choice { default: ListenerTls::Starttls },
            "clients that can encrypt do, the others still deliver", Restart;

        /// The certificate chain, PEM, the server's own first.
        certificate: Option<PathBuf> =
            Maybe { form: PATH, absent: "a self-signed certificate is made at start" },
            "senders that do not verify, which are most, need no more", Restart;

        /// The private key of the certificate, PEM.
        key: Option<PathBuf> = Maybe { form: PATH, absent: "made with the certificate" },
            "goes with the certificate: both or neither", Restart;

        /// Whether clients may or must log in.
        auth: AuthMode = Choice { default: AuthMode::Optional },
            "peers are known by address, everyone else by a login", Restart;

        /// Offer AUTH on connections that are not encrypted.
        auth_without_tls: bool = Switch { default: false },
            "PLAIN and LOGIN show the password to everyone on the way", Restart;
    }
}

/// Where mail is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Port 0 takes any free one.
    pub address: SocketAddr,
    pub tls: ListenerTls,
    /// `None`: a self-signed one is made at start.
    pub certificate: Option<Certificate>,
    pub auth: AuthMode,
    /// Offer AUTH on connections that are not encrypted.
    pub auth_without_tls: bool,
}

/// A certificate chain and its private key, both PEM files that nobody has opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

words! {
    /// How sessions of a listener are encrypted.
    pub enum ListenerTls {
        /// never
        None = "none",
        /// when the client asks for it with STARTTLS (RFC 3207)
        Starttls = "starttls",
        /// from the first byte (RFC 8314)
        Implicit = "implicit",
    }
}

words! {
    /// Whether clients of a listener may or must log in.
    pub enum AuthMode {
        /// AUTH is not offered; only declared peers may relay
        Off = "off",
        /// declared peers and logged-in clients may relay
        Optional = "optional",
        /// declared peers must log in as well
        Required = "required",
    }
}

section! {
    /// Hosts that may relay without logging in. The longest network that holds an address counts.
    Many "peer" pub(super) struct PeerTable {
        /// The addresses of the peer.
        network: Network = Required { form: NETWORK },
            "nobody may relay unless somebody said so", Applies;

        /// The account that mail of this peer is booked to.
        account: String = Required { form: ACCOUNT_NAME },
            "every message needs somebody who answers for it", Applies;

        /// Header fields by which this peer's own software tells who sent a message, by name or by
        /// panel. A field that senders can write themselves must not stand here, unless the peer
        /// takes theirs away: it would let them pass as others.
        identity_headers: HeaderFamilies = IdentityHeaders,
            "which headers can be believed depends on the software of the peer", Applies;

        /// This peer speaks the PROXY protocol (version 1 or 2) first, naming the real client.
        proxy: bool = Switch { default: false },
            "a client that may send the header can claim any address", Applies;

        /// Sessions of this peer at once, over all shards.
        sessions_max: Option<u32> = MaybeCount {
            of: "sessions",
            absent: "limits.sessions_per_peer_max",
            min: 1,
            max: SESSIONS_MAX_CEILING,
        },
            "few peers differ", Applies;

        /// Confirms a network so wide that it makes this an open relay.
        i_know: bool = Switch { default: false },
            "an open relay is found and abused within hours", Applies;
    }
}

/// Hosts that may relay without logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub network: Network,
    pub account: String,
    /// What is believed of this peer's words about its users.
    pub identity_headers: HeaderFamilies,
    /// Speaks the PROXY protocol first.
    pub proxy: bool,
    /// `None`: [`Limits::sessions_per_peer_max`].
    pub sessions_max: Option<u32>,
}

section! {
    /// Customers that may log in (AUTH PLAIN and LOGIN, RFC 4954).
    Many "account" pub(super) struct AccountTable {
        /// The name to log in with; mail is booked to it.
        name: String = Required { form: ACCOUNT_NAME },
            "two accounts cannot share a name", Applies;

        /// The password, as an Argon2id hash.
        password_hash: String = Required { form: PASSWORD_HASH },
            "a configuration file is copied around, a password must not be", Applies;
    }
}

/// A customer that may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// 1 to 64 of `a-z0-9._-`.
    pub name: String,
    /// PHC string of Argon2id, structure and cost checked.
    pub password_hash: String,
}

/// Without the hash, because `{:?}` ends up in logs.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

section! {
    /// Bounds on what sessions and messages may ask of this relay. Over one, the answer is a
    /// reply that says so; nothing is dropped in silence.
    One "limits" pub struct Limits {
        /// Bytes of one message as received; announced as SIZE (RFC 1870).
        message_bytes_max: u64 =
            Size { default: 50 * MIB, min: 64 * KIB, max: MESSAGE_BYTES_MAX_CEILING },
            "the large mailbox providers take 25 to 50 MiB", Applies;

        /// Recipients of one message; RFC 5321 4.5.3.1.8 asks for at least 100.
        recipients_max: u32 =
            Count { of: "recipients", default: 1_000, min: 100, max: RECIPIENTS_MAX_CEILING },
            "mailing lists send this many at once, people do not", Applies;

        /// Refused commands of one session, after which it is closed with 421.
        errors_max: u32 = Count { of: "errors", default: 10, min: 1, max: 10_000 },
            "a client that is refused ten times is broken or guessing", Applies;

        /// Commands of one session, after which it is closed with 421.
        commands_max: u32 =
            Count { of: "commands", default: 100_000, min: 100, max: 100_000_000 },
            "ends sessions that do nothing useful for hours", Applies;

        /// Messages of one session, after which it is closed with 421.
        messages_max: u32 = Count { of: "messages", default: 10_000, min: 1, max: 10_000_000 },
            "long-lived feeders move to another shard now and then", Applies;

        /// Received header fields in a message, above which it is refused as looping.
        hops_max: u32 = Count { of: "hops", default: 30, min: 1, max: HOPS_MAX_CEILING },
            "real paths have less than ten; RFC 5321 6.3 says 100, a long time to loop", Applies;

        /// Sessions at once, over all shards; more are answered 421.
        sessions_max: u32 =
            Count { of: "sessions", default: 20_000, min: 1, max: SESSIONS_MAX_CEILING },
            "about 500 MiB at 24 KiB a session", Applies;

        /// Sessions of one peer or address at once, over all shards.
        sessions_per_peer_max: u32 =
            Count { of: "sessions", default: 2_000, min: 1, max: SESSIONS_MAX_CEILING },
            "one peer in trouble must leave room for nine others", Applies;

        /// Failed logins of one session, after which it is closed with 421.
        auth_failures_max: u32 = Count { of: "failures", default: 3, min: 1, max: 100 },
            "a mistyped password is mistyped once or twice", Applies;

        /// Silence of a client that should send a command.
        command_idle_max: Duration =
            Period { default: minutes(5), min: seconds(1), max: hours(1) },
            "RFC 5321 4.5.3.2.7 asks for at least 5 minutes", Applies;

        /// Silence of a client that is sending a message.
        data_idle_max: Duration = Period { default: minutes(3), min: seconds(1), max: hours(1) },
            "what RFC 5321 4.5.3.2.5 gives a client between two blocks", Applies;

        /// Time from the first to the last byte of one message.
        message_duration_max: Duration =
            Period { default: minutes(30), min: seconds(10), max: hours(6) },
            "50 MiB at 30 KB/s; a byte a minute would hold its memory for ever", Applies;

        /// Time from greeting to close of one session.
        session_duration_max: Duration =
            Period { default: hours(2), min: seconds(10), max: days(7) },
            "long enough for every honest batch, and feeders reconnect at once", Applies;
    }
}
