//! Which words of a peer about its users are believed: header families, and panels as presets.
//!
//! Decides the closed list of families, the words for them in the file, and which families a
//! panel's own software writes. What a field of a family says is read in `identify/family.rs`.
//! A preset holds only what the panel's mail server writes or overwrites itself, never what is
//! only written by PHP inside a customer's process: that is a preset of its own.

use std::fmt;

use toml::Spanned;
use toml::de::DeValue;

use super::kind::{plain, wrong_type};
use super::knob::{Description, Fault, Kind, Preset, Word, words};
use super::problem::shown;
use super::spelling::nearest;

/// Words of one list; there are fewer in all, so only repetition reaches it.
const WORDS_MAX: usize = 32;

words! {
    /// A family of header fields (or the envelope sender) that tells who sent a message.
    pub enum HeaderFamily {
        /// the sender id that another baton found
        XBatonSenderId = "x-baton-sender-id",
        /// the sender id of an upstream relay: account, kind and value between bars
        XMailChannelsSenderId = "x-mailchannels-senderid",
        /// the same under its shorter name
        XSenderId = "x-sender-id",
        /// who logged in, written by an Exim transport or a wrapper around sendmail
        XAuthUser = "x-authuser",
        /// who logged in, written by Exim (DirectAdmin)
        XAuthenticatedId = "x-authenticated-id",
        /// server, and mailbox or system user, written by Exim (cPanel)
        XAuthenticatedSender = "x-authenticated-sender",
        /// how the server found the sender out, written by Exim (cPanel)
        XGetMessageSenderVia = "x-get-message-sender-via",
        /// the user of an HTTP interface or a webmail
        XAuthenticatedUser = "x-authenticated-user",
        /// (Authenticated sender: ..) and (Postfix, from userid ..) in the topmost Received
        Received = "received",
        /// host and path of a PHP script and its visitors
        XPhpScript = "x-php-script",
        /// the command line of the process that sent (cPanel)
        XSourceArgs = "x-source-args",
        /// domain and folder of the process that sent (cPanel)
        XSourceDir = "x-source-dir",
        /// the program that sent (cPanel)
        XSource = "x-source",
        /// user id and file name of a PHP script
        XPhpOriginatingScript = "x-php-originating-script",
        /// host name and user id, several fields of one name (cPanel)
        XAntiAbuse = "x-antiabuse",
        /// the local user behind a sender address, written by Sendmail
        XAuthenticationWarning = "x-authentication-warning",
        /// the domain of the subscription (Plesk)
        XPppVhost = "x-ppp-vhost",
        /// a message id with the name of the server (Plesk)
        XPppMessageId = "x-ppp-message-id",
        /// the address of a webmail's visitor: no identity, kept with it
        XOriginatingIp = "x-originating-ip",
        /// no header: MAIL FROM, where the peer refuses addresses that are not its user's own
        EnvelopeSender = "envelope-sender",
    }
}

words! {
    /// A panel or program whose own families are believed together.
    pub enum Panel {
        /// cPanel: x-authenticated-sender, x-get-message-sender-via, x-antiabuse, x-source, -args, -dir
        Cpanel = "cpanel",
        /// Exim of DirectAdmin: x-authenticated-id
        DirectAdmin = "directadmin",
        /// Plesk: x-ppp-vhost, x-ppp-message-id
        Plesk = "plesk",
        /// Postfix with smtpd_sasl_authenticated_header = yes: received
        Postfix = "postfix",
        /// Sendmail: x-authentication-warning
        Sendmail = "sendmail",
        /// PHP's mail(): x-php-script, x-php-originating-script
        Php = "php",
    }
}

impl Panel {
    pub const fn families(self) -> HeaderFamilies {
        use HeaderFamily as Family;
        HeaderFamilies::of(match self {
            Panel::Cpanel => &[
                Family::XAuthenticatedSender,
                Family::XGetMessageSenderVia,
                Family::XAntiAbuse,
                Family::XSource,
                Family::XSourceArgs,
                Family::XSourceDir,
            ],
            Panel::DirectAdmin => &[Family::XAuthenticatedId],
            Panel::Plesk => &[Family::XPppVhost, Family::XPppMessageId],
            Panel::Postfix => &[Family::Received],
            Panel::Sendmail => &[Family::XAuthenticationWarning],
            Panel::Php => &[Family::XPhpScript, Family::XPhpOriginatingScript],
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HeaderFamilies(u32);

impl HeaderFamilies {
    pub const NONE: HeaderFamilies = HeaderFamilies(0);

    pub const fn of(families: &[HeaderFamily]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < families.len() {
            bits |= 1 << families[at] as u32;
            at += 1;
        }
        HeaderFamilies(bits)
    }

    pub const fn and(self, more: HeaderFamilies) -> Self {
        HeaderFamilies(self.0 | more.0)
    }

    pub const fn contains(self, family: HeaderFamily) -> bool {
        self.0 & (1 << family as u32) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of the declaration.
    pub fn iter(self) -> impl Iterator<Item = HeaderFamily> {
        HeaderFamily::all().filter(move |family| self.contains(*family))
    }
}

const _: () = assert!(HeaderFamily::WORDS.len() <= u32::BITS as usize);
const _: () = assert!(HeaderFamily::WORDS.len() + Panel::WORDS.len() <= WORDS_MAX);

impl HeaderFamily {
    pub fn all() -> impl Iterator<Item = HeaderFamily> {
        HeaderFamily::WORDS.iter().map(|(family, ..)| *family)
    }
}

impl fmt::Debug for HeaderFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(HeaderFamily::word)).finish()
    }
}

/// A list of families and panels, without repetition; absent is none.
pub(super) struct IdentityHeaders;

impl Kind for IdentityHeaders {
    type Value = HeaderFamilies;

    fn describe(&self) -> Description {
        let absent = "no header is believed: mail is booked to the peer's address";
        let allowed = format!("a list of up to {WORDS_MAX} words of the following");
        let panels = Panel::WORDS.iter().map(|(_, word, meaning)| (*word, meaning.trim()));
        let families = HeaderFamily::WORDS.iter().map(|(_, word, meaning)| (*word, meaning.trim()));
        let words = panels.chain(families).collect();
        Description { words, ..plain(Preset::Absent(absent), allowed) }
    }

    fn absent(&self) -> Option<HeaderFamilies> {
        Some(HeaderFamilies::NONE)
    }

    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<HeaderFamilies, Vec<Fault>> {
        let DeValue::Array(items) = found.get_ref() else {
            return Err(wrong_type(found, found.get_ref()));
        };
        let fault = |place: usize, says: String| Fault { place, says };
        if items.len() > WORDS_MAX {
            return Err(vec![fault(found.span().start, format!("has {} items", items.len()))]);
        }
        let (mut believed, mut seen, mut faults) = (HeaderFamilies::NONE, Vec::new(), Vec::new());
        for item in items.iter() {
            let DeValue::String(text) = item.get_ref() else {
                faults.extend(wrong_type(item, item.get_ref()));
                continue;
            };
            let word = text.to_ascii_lowercase();
            match meant(&word) {
                _ if seen.contains(&word) => {
                    faults.push(fault(item.span().start, "has this item twice".to_owned()));
                }
                Some(families) => believed = believed.and(families),
                None => faults.push(fault(item.span().start, unknown(text))),
            }
            seen.push(word);
        }
        if faults.is_empty() { Ok(believed) } else { Err(faults) }
    }
}

/// Names of header fields are compared without regard to case; `word` is in lower case.
fn meant(word: &str) -> Option<HeaderFamilies> {
    let panel = Panel::WORDS.iter().find(|(_, known, _)| *known == word);
    let family = HeaderFamily::WORDS.iter().find(|(_, known, _)| *known == word);
    let family = family.map(|(family, ..)| HeaderFamilies::of(&[*family]));
    panel.map(|(panel, ..)| panel.families()).or(family)
}

fn unknown(text: &str) -> String {
    let words = || {
        let panels = Panel::WORDS.iter().map(|(_, word, _)| *word);
        panels.chain(HeaderFamily::WORDS.iter().map(|(_, word, _)| *word))
    };
    let word = shown(text);
    match nearest(text, words()) {
        Some(near) => format!("is \"{word}\", did you mean \"{near}\"?"),
        None => {
            let all: Vec<&str> = words().collect();
            format!("is \"{word}\", which is none of {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn believed(list: &str) -> Result<HeaderFamilies, String> {
        let text = format!(
            "[[peer]]\nnetwork = \"192.0.2.1\"\naccount = \"web\"\nidentity_headers = {list}\n"
        );
        let problems = |problems: Vec<crate::config::Problem>| problems[0].to_string();
        let config = Config::parse("test.toml", &text, "box").map_err(problems)?;
        Ok(config.peers[0].identity_headers)
    }

    #[test]
    fn panels_are_short_for_their_families() {
        let all = believed(r#"["cpanel", "X-AuthUser", "x-antiabuse"]"#).expect("known words");
        assert_eq!(
            format!("{all:?}"),
            "[\"x-authuser\", \"x-authenticated-sender\", \"x-get-message-sender-via\", \
             \"x-source-args\", \"x-source-dir\", \"x-source\", \"x-antiabuse\"]"
        );
        assert!(believed("[]").expect("an empty list").is_empty());
        for (panel, word, _) in Panel::WORDS {
            assert_eq!(believed(&format!("[\"{word}\"]")), Ok(panel.families()));
            assert!(!panel.families().contains(HeaderFamily::EnvelopeSender));
        }
        assert!(!Panel::Cpanel.families().contains(HeaderFamily::XPhpScript));
    }

    #[test]
    fn unknown_words_are_refused_with_line_and_what_is_allowed() {
        let rows = [
            (r#"["x-authusr"]"#, "did you mean \"x-authuser\"?"),
            (r#"["subject"]"#, "none of cpanel, directadmin"),
            (r#"["php", "PHP"]"#, "twice"),
            (r#"[7]"#, "a whole number"),
            (r#""php""#, "is text"),
        ];
        for (list, expected) in rows {
            let says = believed(list).expect_err(list);
            assert!(says.contains("test.toml:4:") && says.contains(expected), "{list}: {says}");
        }
    }
}
