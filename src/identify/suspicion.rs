//! What is wrong with a message's claims: the signs, found beside the name.
//!
//! Looks at every family, believed or not, because a script that says of itself that it was
//! evaluated from a string is worth hearing; each sign says which it was. Compares what names
//! somebody else with the name that was found, where the two can be compared: a mailbox with a
//! mailbox, a user with a user, a domain with a domain.

use crate::config::{HeaderFamilies, HeaderFamily, Panel};
use crate::identify::claims::Claims;
use crate::identify::family::{Claim, Code, Script};
use crate::identify::path::{folder_oddities, oddities};
use crate::identify::rules::{
    Identity, Rule, Session, Standing, is_service, is_service_uid, unreadable,
};
use crate::identify::sign::{Belief, Facts, Sign};
use crate::identify::value::line;
use crate::message::ReversePath;
use crate::smtp::header::End;

/// One proxy on the way gives two addresses.
const VISITORS_MANY_MIN: usize = 3;

/// The families that name a user, in which contradictions are looked for.
const NAMING: [HeaderFamily; 9] = [
    HeaderFamily::XBatonSenderId,
    HeaderFamily::XMailChannelsSenderId,
    HeaderFamily::XSenderId,
    HeaderFamily::XAuthUser,
    HeaderFamily::XAuthenticatedId,
    HeaderFamily::XAuthenticatedSender,
    HeaderFamily::XGetMessageSenderVia,
    HeaderFamily::XAuthenticatedUser,
    HeaderFamily::Received,
];

pub fn signs(claims: &Claims<'_>, session: &Session<'_>, identity: &Identity) -> Facts {
    let mut facts = Facts::default();
    let scene = Scene { claims, session, identity };
    scene.scripts(&mut facts);
    scene.users(&mut facts);
    scene.contradictions(&mut facts);
    scene.domains(&mut facts);
    if let Some(family) = unreadable(claims, scene.believed()) {
        let text = claims.text(family).map(|text| text.text.into_owned()).unwrap_or_default();
        let evidence = format!("{}: {text}", family.word());
        facts.add(Sign::UnreadableHeader, Belief::Believed, &evidence);
    }
    if claims.end == End::Cut {
        facts.add(Sign::TooComplex, Belief::Believed, "more header than is looked at");
    }
    facts
}

struct Scene<'a> {
    claims: &'a Claims<'a>,
    session: &'a Session<'a>,
    identity: &'a Identity,
}

impl Scene<'_> {
    /// Who logged in here as themselves is believed no header at all.
    fn believed(&self) -> HeaderFamilies {
        match self.session.standing {
            Standing::OwnLogin => HeaderFamilies::NONE,
            Standing::PeerLogin | Standing::PeerAddress => self.session.believed,
        }
    }

    fn belief(&self, family: HeaderFamily) -> Belief {
        match self.believed().contains(family) {
            true => Belief::Believed,
            false => Belief::Unbelieved,
        }
    }

    /// Scripts: how they were run, where they stand, what they are called, whom they serve.
    fn scripts(&self, facts: &mut Facts) {
        for family in Panel::Php.families().and(Panel::Cpanel.families()).iter() {
            let belief = self.belief(family);
            match self.claims.claim(family) {
                Some(Claim::Originating { script, code, .. }) => {
                    if code == Code::Evaluated {
                        let text = self.claims.text(family).map(|text| text.text.into_owned());
                        facts.add(Sign::EvaluatedCode, belief, &text.unwrap_or_default());
                    }
                    self.odd_path(facts, belief, &script);
                }
                Some(Claim::Script(Script { host, path, visitors })) => {
                    self.odd_path(facts, belief, &path);
                    if visitors.len() >= VISITORS_MANY_MIN {
                        let evidence = format!("{host}{path} for {} addresses", visitors.len());
                        facts.add(Sign::ManyVisitors, belief, &evidence);
                    }
                }
                Some(Claim::Arguments { script, .. }) => self.odd_path(facts, belief, &script),
                Some(Claim::Folder { path, .. }) => {
                    for (oddity, _) in folder_oddities(&path) {
                        facts.add(oddity.into(), belief, &path);
                    }
                }
                _ => {}
            }
        }
    }

    fn odd_path(&self, facts: &mut Facts, belief: Belief, path: &str) {
        for (oddity, _) in oddities(path) {
            facts.add(oddity.into(), belief, path);
        }
    }

    /// Services and root, as users and as addresses.
    fn users(&self, facts: &mut Facts) {
        let mut service = None;
        for family in [HeaderFamily::XPhpOriginatingScript, HeaderFamily::Received] {
            let uid = match self.claims.claim(family) {
                Some(Claim::Originating { uid, .. } | Claim::Uid(uid)) => uid,
                _ => continue,
            };
            self.user(facts, self.belief(family), &uid.to_string());
            service = service.or(is_service_uid(uid).then_some(family));
        }
        for claim in self.claims.anti_abuse() {
            if let Claim::Uid(uid) = claim {
                self.user(facts, self.belief(HeaderFamily::XAntiAbuse), &uid.to_string());
            }
        }
        if let Rule::Service(family) = self.identity.rule {
            self.user(facts, Belief::Believed, &self.identity.name);
            service = service.or(Some(family));
        }
        if let ReversePath::Mailbox(address) = self.session.sender {
            let local = address.local().to_lowercase();
            if is_service(&local) && local.parse::<u32>().is_err() {
                facts.add(Sign::ServiceAccount, Belief::Unbelieved, address.as_str());
                service = service.or(Some(HeaderFamily::EnvelopeSender));
            }
        }
        if let (Some(family), Some(mailer)) = (service, self.mailer()) {
            facts.add(Sign::ServiceMailer, self.belief(family), &mailer);
        }
    }

    fn user(&self, facts: &mut Facts, belief: Belief, user: &str) {
        if matches!(user, "0" | "root") {
            facts.add(Sign::RootUser, belief, user);
        } else if is_service(user) {
            facts.add(Sign::ServiceAccount, belief, user);
        }
    }

    /// PHPMailer, by what it says of itself or by the name of its file.
    fn mailer(&self) -> Option<String> {
        const LIBRARY: &str = "phpmailer";
        let is_library = |text: &str| text.to_ascii_lowercase().contains(LIBRARY);
        let said = self.claims.mailer.map(|value| line(value).text.into_owned());
        let file = match self.claims.claim(HeaderFamily::XPhpOriginatingScript) {
            Some(Claim::Originating { script, .. }) => Some(script),
            _ => None,
        };
        [said, file].into_iter().flatten().find(|text| is_library(text))
    }

    /// Headers that name somebody else.
    fn contradictions(&self, facts: &mut Facts) {
        let own = match self.identity.rule {
            Rule::Upstream(family) | Rule::Header(family) => family,
            Rule::OwnLogin
            | Rule::Service(_)
            | Rule::EnvelopeSender
            | Rule::PeerLogin
            | Rule::PeerAddress => return,
        };
        for family in NAMING {
            let belief = self.belief(family);
            let nearest = self.claims.claim(family).filter(|_| family != own);
            for claim in nearest.into_iter().chain(self.claims.others(family)) {
                let Some(name) = name_of(claim) else { continue };
                if !self.contradicts(family, belief, &name) {
                    continue;
                }
                let evidence = format!("{}: {name}", family.word());
                match belief {
                    Belief::Believed => facts.add(Sign::ConflictingHeaders, belief, &evidence),
                    Belief::Unbelieved => facts.add(Sign::UnbelievedHeader, belief, &evidence),
                }
            }
        }
    }

    /// Whether `name` is somebody else, where that can be known. What an operator writes into
    /// X-AuthUser or a sender id may be a number of its own: two families that are both believed may
    /// call one customer by two names, unless both write mailboxes.
    fn contradicts(&self, family: HeaderFamily, belief: Belief, name: &str) -> bool {
        let known = &*self.identity.name;
        let own_words = |family: HeaderFamily| {
            let upstream = HeaderFamily::XMailChannelsSenderId;
            let ours = HeaderFamily::XBatonSenderId;
            [HeaderFamily::XAuthUser, HeaderFamily::XSenderId, upstream, ours].contains(&family)
        };
        let same_family = self.identity.rule.family() == Some(family);
        let mailboxes = name.contains('@') && known.contains('@');
        let users = !name.contains('@') && !known.contains('@') && !known.contains(['.', '/']);
        let opaque = own_words(family) || self.identity.rule.family().is_some_and(own_words);
        let comparable = match belief {
            _ if same_family => true,
            Belief::Believed => mailboxes || (users && !opaque),
            Belief::Unbelieved => mailboxes || users,
        };
        comparable && !is_service(name) && name != known
    }

    /// Sender addresses beside the domain that sends.
    fn domains(&self, facts: &mut Facts) {
        let own = self.own_domain();
        let from = self.claims.from.map(|value| line(value).text.into_owned());
        let envelope = match self.session.sender {
            ReversePath::Mailbox(address) => address.domain(),
            ReversePath::Null => "",
        };
        if is_foreign(envelope, &own) {
            facts.add(Sign::ForeignEnvelope, Belief::Believed, &format!("{envelope}, not {own}"));
        }
        let from = from.as_deref().map(domain_of).unwrap_or_default();
        if is_foreign(from, &own) {
            facts.add(Sign::ForeignFrom, Belief::Believed, &format!("{from}, not {own}"));
        }
        if is_www(envelope) {
            facts.add(Sign::WwwSender, Belief::Unbelieved, envelope);
        }
        let id = self.claims.message_id.map(|value| line(value).text.into_owned());
        let id = id.as_deref().map(domain_of).unwrap_or_default();
        if is_www(id) {
            facts.add(Sign::WwwMessageId, Belief::Unbelieved, id);
        }
    }

    /// The domain of the mailbox or subscription that sends; empty where the session knows none. A
    /// script is left out: a contact form sends in the name of its visitors.
    fn own_domain(&self) -> String {
        let name = &self.identity.name;
        match self.identity.rule {
            Rule::Header(HeaderFamily::XPppVhost) => name.to_string(),
            Rule::Header(_) | Rule::Upstream(_) => {
                name.rsplit_once('@').map(|(_, domain)| domain.to_owned()).unwrap_or_default()
            }
            Rule::OwnLogin
            | Rule::Service(_)
            | Rule::EnvelopeSender
            | Rule::PeerLogin
            | Rule::PeerAddress => String::new(),
        }
    }
}

fn name_of(claim: Claim) -> Option<String> {
    match claim {
        Claim::Login(name) | Claim::User { name, .. } => Some(name),
        Claim::Upstream { value, .. } => Some(value),
        _ => None,
    }
}

/// The domain of the last address in a text; empty when there is none.
fn domain_of(text: &str) -> &str {
    let Some((_, rest)) = text.rsplit_once('@') else { return "" };
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    rest.split(|c| !part(c)).next().unwrap_or("").trim_end_matches('.')
}

/// Whether neither domain is the other or above it.
fn is_foreign(domain: &str, own: &str) -> bool {
    let (domain, own) = (domain.to_lowercase(), own.to_lowercase());
    let below = |low: &str, high: &str| {
        low.strip_suffix(high).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !domain.is_empty() && !own.is_empty() && !below(&domain, &own) && !below(&own, &domain)
}

fn is_www(domain: &str) -> bool {
    domain.len() > 4 && domain.as_bytes()[..4].eq_ignore_ascii_case(b"www.")
}
