//! Which claim names the sender: ordered rules, the first that finds a name ends the search.
//!
//! | # | rule | believed is | sender id |
//! |---|---|---|---|
//! | 1 | a login here with another account than the peer's own | the password | `auth\|account` |
//! | 2 | an upstream relay's sender id | its header | `x-sender-id\|account/kind/value` |
//! | 3 | X-AuthUser | the peer's Exim | `x-authuser\|value` |
//! | 4-7 | X-Authenticated-Id, -Sender, X-Get-Message-Sender-Via, X-Authenticated-User | the panel | `x-authsender\|mailbox` or `user\|name@server` |
//! | 8 | (Authenticated sender: ..) in the topmost Received | Postfix | the same |
//! | 9 | X-PHP-Script | PHP | `php-script\|host/path` |
//! | 10 | X-Source-Args: the owner of the home folder | the panel | `user\|name@server` |
//! | 11 | X-Source-Dir | the panel | `vhost\|domain` |
//! | 12 | X-PHP-Originating-Script, X-AntiAbuse, (Postfix, from userid ..): a user id | PHP, the mail server | `uid\|number@server` |
//! | 13 | X-Authentication-Warning | Sendmail | `user\|name@server` |
//! | 14 | X-PPP-Vhost | Plesk | `vhost\|domain` |
//! | 15 | one of 4 to 13 that named a service: www-data, root, uid 33 | as there | `user\|..`, `uid\|..` |
//! | 16 | the envelope sender | the peer's sender checks | `envelope\|address` |
//! | 17 | a login here with the peer's own account | the password | `auth\|account` |
//! | 18 | nothing else | the address | `peer\|address` |
//!
//! A login as the peer's own account proves what its address proved already, that this is the
//! server; so rule 17 stands last, and the server is believed about its users as it is without the
//! login. A user of one server is named with that server, because `acct1` of two servers are two
//! customers; a mailbox is not. Services own no mail: a rule that finds one lets later rules name the site.

use crate::config::{HeaderFamilies, HeaderFamily, Panel};
use crate::identify::claims::Claims;
use crate::identify::family::{Claim, Script, Unread};
use crate::identify::value::value;
use crate::message::{ReversePath, SenderId};
use std::net::IpAddr;

/// How sure the name is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Proven to this relay.
    Authenticated,
    /// The peer's mail server says who logged in there, or which user sent.
    Login,
    /// The peer says which script, folder or user id sent; other users of the server may have
    /// means to imitate it.
    Script,
    /// An address that the sender chose, and that the peer is said to check.
    Claimed,
    /// The address of a declared peer: sure, but it names a server, not a customer.
    Peer,
}

impl Confidence {
    pub const fn name(self) -> &'static str {
        match self {
            Confidence::Authenticated => "authenticated",
            Confidence::Login => "login",
            Confidence::Script => "script",
            Confidence::Claimed => "claimed",
            Confidence::Peer => "peer",
        }
    }
}

/// The rule that named the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    OwnLogin,
    Upstream(HeaderFamily),
    Header(HeaderFamily),
    /// The same, but what is named is a service.
    Service(HeaderFamily),
    EnvelopeSender,
    PeerLogin,
    PeerAddress,
}

impl Rule {
    /// Stable; with the family behind it where there is one.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::OwnLogin => "own-login",
            Rule::Upstream(_) => "upstream",
            Rule::Header(_) => "header",
            Rule::Service(_) => "service",
            Rule::EnvelopeSender => "envelope-sender",
            Rule::PeerLogin => "peer-login",
            Rule::PeerAddress => "peer-address",
        }
    }

    pub const fn family(self) -> Option<HeaderFamily> {
        match self {
            Rule::Upstream(family) | Rule::Header(family) | Rule::Service(family) => Some(family),
            Rule::EnvelopeSender => Some(HeaderFamily::EnvelopeSender),
            Rule::OwnLogin | Rule::PeerLogin | Rule::PeerAddress => None,
        }
    }
}

/// How the session stands to the peer it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Logged in with an account that is not that of the peer, or from no declared peer.
    OwnLogin,
    /// A declared peer that logged in with its own account.
    PeerLogin,
    /// A declared peer by its address.
    PeerAddress,
}

/// What the rules know beside the header.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// Who answers for the mail.
    pub account: &'a str,
    pub standing: Standing,
    pub peer: IpAddr,
    pub believed: HeaderFamilies,
    pub sender: &'a ReversePath,
}

/// Who sent a message, and what else is believed about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub sender_id: SenderId,
    pub rule: Rule,
    pub confidence: Confidence,
    /// The name without kind and server: a mailbox, user, domain, script or address.
    pub name: Box<str>,
    /// The file or URL of the script; empty when none is known.
    pub script: Box<str>,
    /// The folder it was started in; empty when none is known.
    pub folder: Box<str>,
    /// The domain of the web site or subscription; empty when none is known.
    pub vhost: Box<str>,
    pub uid: Option<u32>,
    /// Whom the script or webmail served, `family::VISITORS_MAX` and one at most.
    pub visitors: Vec<IpAddr>,
    /// Whose words were believed, where that tells.
    pub panel: Option<Panel>,
}

/// A name that a rule found.
struct Named {
    rule: Rule,
    kind: &'static str,
    /// As in the sender id, before it is made safe.
    value: String,
    name: String,
    confidence: Confidence,
}

/// In the order of the table above.
const UPSTREAM: [HeaderFamily; 3] =
    [HeaderFamily::XBatonSenderId, HeaderFamily::XMailChannelsSenderId, HeaderFamily::XSenderId];
const NAMING: [HeaderFamily; 13] = [
    HeaderFamily::XAuthUser,
    HeaderFamily::XAuthenticatedId,
    HeaderFamily::XAuthenticatedSender,
    HeaderFamily::XGetMessageSenderVia,
    HeaderFamily::XAuthenticatedUser,
    HeaderFamily::Received,
    HeaderFamily::XPhpScript,
    HeaderFamily::XSourceArgs,
    HeaderFamily::XSourceDir,
    HeaderFamily::XPhpOriginatingScript,
    HeaderFamily::XAntiAbuse,
    HeaderFamily::XAuthenticationWarning,
    HeaderFamily::XPppVhost,
];

/// Names the sender. There always is one.
pub fn decide(claims: &Claims<'_>, session: &Session<'_>) -> Identity {
    let mut identity = match session.standing {
        Standing::OwnLogin => {
            return identity(login(Rule::OwnLogin, session.account), session);
        }
        Standing::PeerLogin | Standing::PeerAddress => {
            identity(peer_named(&Believed { claims, session }), session)
        }
    };
    describe(&mut identity, &Believed { claims, session });
    identity
}

/// Rules 2 to 18.
fn peer_named(believed: &Believed<'_>) -> Named {
    let upstream = UPSTREAM.into_iter().find_map(|family| believed.named(family));
    let naming = || NAMING.into_iter().filter_map(|family| believed.named(family));
    let customer = || naming().find(|named| matches!(named.rule, Rule::Header(_)));
    let found = upstream.or_else(customer).or_else(|| naming().next());
    let session = believed.session;
    found.or_else(|| believed.envelope()).unwrap_or_else(|| match session.standing {
        Standing::OwnLogin | Standing::PeerLogin => login(Rule::PeerLogin, session.account),
        Standing::PeerAddress => {
            let (rule, confidence) = (Rule::PeerAddress, Confidence::Peer);
            let value = session.peer.to_string();
            Named { rule, kind: "peer", name: value.clone(), value, confidence }
        }
    })
}

fn login(rule: Rule, account: &str) -> Named {
    let (value, name) = (account.to_owned(), account.to_owned());
    Named { rule, kind: "auth", value, name, confidence: Confidence::Authenticated }
}

fn identity(named: Named, session: &Session<'_>) -> Identity {
    Identity {
        sender_id: SenderId::new(session.account, named.kind, &value(&named.value)),
        rule: named.rule,
        confidence: named.confidence,
        name: named.name.into(),
        script: "".into(),
        folder: "".into(),
        vhost: "".into(),
        uid: None,
        visitors: Vec::new(),
        panel: named.rule.family().and_then(panel_of),
    }
}

/// The claims of those families that the peer is believed.
struct Believed<'a> {
    claims: &'a Claims<'a>,
    session: &'a Session<'a>,
}

impl Believed<'_> {
    fn claim(&self, family: HeaderFamily) -> Option<Claim> {
        if !self.session.believed.contains(family) {
            return None;
        }
        match family {
            HeaderFamily::XAntiAbuse => {
                self.claims.anti_abuse().find(|claim| matches!(claim, Claim::Uid(_)))
            }
            _ => self.claims.claim(family),
        }
    }

    /// Who a field of a family names, if it names somebody.
    fn named(&self, family: HeaderFamily) -> Option<Named> {
        let named = |kind, value: String, name: String, confidence| {
            let rule = match is_service(&name) {
                true => Rule::Service(family),
                false => Rule::Header(family),
            };
            Some(Named { rule, kind, value, name, confidence })
        };
        match self.claim(family)? {
            Claim::Upstream { account, kind, value } => Some(Named {
                rule: Rule::Upstream(family),
                kind: "x-sender-id",
                value: format!("{account}/{kind}/{value}"),
                name: value,
                confidence: Confidence::Login,
            }),
            Claim::Login(name) => named("x-authuser", name.clone(), name, Confidence::Login),
            Claim::User { server, name } => {
                let confidence = match family {
                    HeaderFamily::XAuthenticationWarning => Confidence::Script,
                    _ => Confidence::Login,
                };
                match name.contains('@') {
                    true => named("x-authsender", name.clone(), name, confidence),
                    false => named("user", self.on_server(&name, &server), name, confidence),
                }
            }
            Claim::Script(Script { host, path, .. }) => {
                let script = format!("{host}{path}");
                named("php-script", script.clone(), script, Confidence::Script)
            }
            Claim::Arguments { owner, .. } if owner.is_empty() => None,
            Claim::Arguments { owner, .. } => {
                named("user", self.on_server(&owner, ""), owner, Confidence::Script)
            }
            Claim::Folder { vhost, .. } | Claim::Vhost(vhost) => {
                named("vhost", vhost.clone(), vhost, Confidence::Script)
            }
            Claim::Uid(uid) | Claim::Originating { uid, .. } => {
                let uid = uid.to_string();
                named("uid", self.on_server(&uid, ""), uid, Confidence::Script)
            }
            Claim::Server(_) | Claim::Program(_) | Claim::Visitor(_) | Claim::Nothing => None,
        }
    }

    /// A user and its server: as the field says, else as the panel's other fields do, else by address.
    fn on_server(&self, user: &str, server: &str) -> String {
        if !server.is_empty() {
            return format!("{user}@{server}");
        }
        let believes = |family| self.session.believed.contains(family);
        let anti_abuse = || {
            let believed = believes(HeaderFamily::XAntiAbuse);
            let mut claims = self.claims.anti_abuse().filter(|_| believed);
            claims.find(|claim| matches!(claim, Claim::Server(_)))
        };
        match anti_abuse().or_else(|| self.claim(HeaderFamily::XPppMessageId)) {
            Some(Claim::Server(server)) => format!("{user}@{server}"),
            _ => format!("{user}@{}", self.session.peer),
        }
    }

    fn envelope(&self) -> Option<Named> {
        let ReversePath::Mailbox(address) = self.session.sender else { return None };
        let believed = self.session.believed.contains(HeaderFamily::EnvelopeSender);
        believed.then(|| {
            let name = address.as_str().to_lowercase();
            let (rule, confidence) = (Rule::EnvelopeSender, Confidence::Claimed);
            Named { rule, kind: "envelope", value: name.clone(), name, confidence }
        })
    }
}

/// What believed headers tell beside the name.
fn describe(identity: &mut Identity, believed: &Believed<'_>) {
    if let Some(Claim::Vhost(vhost)) = believed.claim(HeaderFamily::XPppVhost) {
        identity.vhost = vhost.into();
    }
    if let Some(Claim::Folder { vhost, path }) = believed.claim(HeaderFamily::XSourceDir) {
        (identity.vhost, identity.folder) = (vhost.into(), path.into());
    }
    for family in [HeaderFamily::XAntiAbuse, HeaderFamily::Received] {
        if let Some(Claim::Uid(uid)) = believed.claim(family) {
            identity.uid = Some(uid);
        }
    }
    if let Some(Claim::Originating { uid, script, .. }) =
        believed.claim(HeaderFamily::XPhpOriginatingScript)
    {
        (identity.uid, identity.script) = (Some(uid), script.into());
    }
    if let Some(Claim::Arguments { script, .. }) = believed.claim(HeaderFamily::XSourceArgs)
        && !script.is_empty()
    {
        identity.script = script.into();
    }
    if let Some(Claim::Script(script)) = believed.claim(HeaderFamily::XPhpScript) {
        identity.script = format!("{}{}", script.host, script.path).into();
        identity.vhost = script.host.into();
        identity.visitors = script.visitors;
    }
    if let Some(Claim::Visitor(visitor)) = believed.claim(HeaderFamily::XOriginatingIp)
        && !identity.visitors.contains(&visitor)
    {
        identity.visitors.push(visitor);
    }
}

fn panel_of(family: HeaderFamily) -> Option<Panel> {
    const PANELS: [Panel; 6] = [
        Panel::Cpanel,
        Panel::DirectAdmin,
        Panel::Plesk,
        Panel::Postfix,
        Panel::Sendmail,
        Panel::Php,
    ];
    PANELS.into_iter().find(|panel| panel.families().contains(family))
}

/// Users that software runs as, on the systems that hosters use.
const SERVICES: [&str; 26] = [
    "www-data", "www", "web", "wwwrun", "apache", "apache2", "httpd", "nginx", "lighttpd", "lsadm",
    "nobody", "root", "daemon", "bin", "ftp", "mail", "mailnull", "mailman", "postfix", "exim",
    "sendmail", "cpanel", "psaadm", "diradmin", "system", "cron",
];

/// Below are a distribution's own users (cPanel's customers began at 500), and two are nobody's.
const UID_CUSTOMER_MIN: u32 = 500;
const UID_NOBODY: [u32; 2] = [65_533, 65_534];

/// Whether a user, or a user id in digits, is a service's. A mailbox never is: `root@shop.example`
/// is what its owner likes to be called.
pub fn is_service(name: &str) -> bool {
    let uid = name.parse::<u32>().ok();
    uid.is_some_and(is_service_uid) || SERVICES.contains(&name)
}

pub fn is_service_uid(uid: u32) -> bool {
    uid < UID_CUSTOMER_MIN || UID_NOBODY.contains(&uid)
}

/// A family that is believed and there, but cannot be read.
pub fn unreadable(claims: &Claims<'_>, believed: HeaderFamilies) -> Option<HeaderFamily> {
    let unread = |family: &HeaderFamily| {
        matches!(claims.read(*family), Some(Err(Unread::Malformed | Unread::Overlong)))
    };
    believed.iter().find(unread)
}
