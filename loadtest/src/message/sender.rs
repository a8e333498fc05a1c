//! Who sends: a customer of a hosting company, and the server that his mail leaves.
//!
//! A sender is nothing but his number and the seed: both decide on which control panel he lives,
//! with which software, under which account, and whether somebody else took one of his scripts
//! over. So a sender looks the same in all his messages, and a million of them need no memory.
//! Writes the headers by which a relay can find the customer again; they are those that the
//! programs named really add. Never draws from a message's dice but for what differs by message.

use std::fmt;
use std::io::Write;

use super::draw;

/// Customers of one server.
const SENDERS_PER_SERVER: u64 = 50;
/// User ids of customers start here.
const UID_MIN: u64 = 1001;

/// A sender of a run.
pub struct Sender<'a> {
    pub number: u64,
    pub suffix: &'a str,
    panel: Panel,
    software: Software,
    state: State,
    /// Decides what is left to decide.
    traits: u64,
}

/// What manages the server, and so which mail server adds which headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panel {
    Cpanel,
    Plesk,
    DirectAdmin,
    /// Exim as its operator set it up for a relay.
    Exim,
    /// Postfix with `smtpd_sasl_authenticated_header`.
    Postfix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Software {
    WordPress,
    Joomla,
    PrestaShop,
    /// Something that the customer wrote.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    Hacked,
}

/// What a server knows of one message when it adds its headers.
#[derive(Clone, Copy)]
pub struct Passage<'a> {
    pub way: Way,
    /// Domain of the first recipient.
    pub original_domain: &'a str,
    /// Differs by message.
    pub turn: u64,
    pub date: &'a str,
}

/// How a message came to the server's mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// PHP's `mail()`, on behalf of a visitor of the site.
    Script,
    /// A job of `cron`.
    Job,
    /// SMTP with AUTH.
    Submission,
}

impl<'a> Sender<'a> {
    pub fn new(seed: u64, number: u64, hacked_permille: u16, suffix: &'a str) -> Sender<'a> {
        let mut dice = draw::dice(seed, 0x5e4d, number);
        let panel = match dice.u8(0..10) {
            0..=4 => Panel::Cpanel,
            5 | 6 => Panel::Plesk,
            7 => Panel::DirectAdmin,
            8 => Panel::Exim,
            _ => Panel::Postfix,
        };
        let software = match dice.u8(0..10) {
            0..=5 => Software::WordPress,
            6 => Software::Joomla,
            7 => Software::PrestaShop,
            _ => Software::Own,
        };
        let hacked = dice.u16(0..1000) < hacked_permille;
        let state = if hacked { State::Hacked } else { State::Sound };
        Sender { number, suffix, panel, software, state, traits: dice.u64(..) }
    }

    pub fn address(&self) -> impl fmt::Display {
        fmt::from_fn(|out| write!(out, "sender{}@{}", self.number, self.domain()))
    }

    pub fn domain(&self) -> impl fmt::Display {
        fmt::from_fn(|out| write!(out, "c{}.{}", self.number, self.suffix))
    }

    pub fn server(&self) -> impl fmt::Display {
        let server = self.number / SENDERS_PER_SERVER;
        fmt::from_fn(move |out| write!(out, "srv{server}.hosting.{}", self.suffix))
    }

    /// His name on the server.
    pub fn account(&self) -> impl fmt::Display {
        fmt::from_fn(|out| write!(out, "acct{}", self.number))
    }

    pub fn is_hacked(&self) -> bool {
        self.state == State::Hacked
    }

    /// One of `count`, always the same one.
    pub fn habit(&self, count: usize) -> usize {
        (self.traits % count as u64) as usize
    }

    /// The mail program of his site.
    pub fn mailer(&self) -> &'static str {
        match (self.software, self.traits % 3) {
            (Software::Own, 0) => "PHP/8.2.20",
            (Software::Own, _) => "PHPMailer 5.2.28 (https://github.com/PHPMailer/PHPMailer)",
            (_, 0) => "PHPMailer 6.8.1 (https://github.com/PHPMailer/PHPMailer)",
            (_, _) => "PHPMailer 6.9.1 (https://github.com/PHPMailer/PHPMailer)",
        }
    }

    /// Path below the document root, and the name that PHP tells.
    fn script(&self) -> (&'static str, &'static str) {
        if self.is_hacked() {
            return match self.traits % 3 {
                0 => ("/wp-content/plugins/fabklhqici/9P7tiqGfhvd.php", "9P7tiqGfhvd.php"),
                1 => ("/wp-includes/.x.php", ".x.php"),
                _ => (
                    "/images/logs.php",
                    "logs.php(2) : eval()'d code(1) : eval()'d code(1731) : eval()'d code",
                ),
            };
        }
        match self.software {
            Software::WordPress => ("/wp-admin/admin-ajax.php", "PHPMailer.php"),
            Software::Joomla => ("/index.php", "PHPMailer.php"),
            Software::PrestaShop => ("/index.php", "AbstractTransport.php"),
            Software::Own => ("/contactFormSend.php", "contactFormSend.php"),
        }
    }

    /// Headers that the server adds.
    pub fn add_trace(&self, out: &mut Vec<u8>, passage: Passage<'_>) {
        let Passage { way, turn, .. } = passage;
        if way == Way::Script {
            self.add_php(out, turn);
        }
        match self.panel {
            Panel::Cpanel => self.add_cpanel(out, passage),
            Panel::Plesk => add(
                out,
                format_args!(
                    "X-PPP-Message-ID: <{}.{}.{turn}@{}>\r\nX-PPP-Vhost: {}\r\n",
                    1_740_000_000 + turn % 31_536_000,
                    turn % 32_768,
                    self.server(),
                    self.domain(),
                ),
            ),
            Panel::DirectAdmin => match way {
                Way::Submission => {
                    add(out, format_args!("X-Authenticated-Id: {}\r\n", self.address()));
                }
                Way::Script | Way::Job => {
                    add(out, format_args!("X-Authenticated-Id: {}\r\n", self.account()));
                }
            },
            Panel::Exim => add(out, format_args!("X-AuthUser: {}\r\n", self.address())),
            Panel::Postfix => self.add_postfix(out, passage),
        }
    }

    fn add_php(&self, out: &mut Vec<u8>, turn: u64) {
        let (path, name) = self.script();
        let uid = UID_MIN + self.number % 50_000;
        add(out, format_args!("X-PHP-Originating-Script: {uid}:{name}\r\n"));
        if matches!(self.panel, Panel::Cpanel | Panel::DirectAdmin) {
            let (visitor, domain) = (Visitor(turn), self.domain());
            add(out, format_args!("X-PHP-Script: www.{domain}{path} for {visitor}\r\n"));
        }
    }

    fn add_cpanel(&self, out: &mut Vec<u8>, passage: Passage<'_>) {
        let Passage { way, original_domain, .. } = passage;
        let (server, domain, account) = (self.server(), self.domain(), self.account());
        let (uid, gid) = (UID_MIN + self.number % 50_000, 989 + self.number % 50_000);
        add(
            out,
            format_args!(
                "X-AntiAbuse: This header was added to track abuse, please include it with any \
                 abuse report\r\n\
                 X-AntiAbuse: Primary Hostname - {server}\r\n\
                 X-AntiAbuse: Original Domain - {original_domain}\r\n"
            ),
        );
        match way {
            Way::Submission => add(
                out,
                format_args!(
                    "X-AntiAbuse: Originator/Caller UID/GID - [47 12] / [47 12]\r\n\
                     X-AntiAbuse: Sender Address Domain - {domain}\r\n\
                     X-Get-Message-Sender-Via: {server}: authenticated_id: {address}\r\n\
                     X-Authenticated-Sender: {server}: {address}\r\n\
                     X-Source: \r\nX-Source-Args: \r\nX-Source-Dir: \r\n",
                    address = self.address(),
                ),
            ),
            Way::Script | Way::Job => {
                let (path, _) = self.script();
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                add(
                    out,
                    format_args!(
                        "X-AntiAbuse: Originator/Caller UID/GID - [{uid} {gid}] / [47 12]\r\n\
                         X-AntiAbuse: Sender Address Domain - {domain}\r\n\
                         X-Get-Message-Sender-Via: {server}: authenticated_id: {account}/from_h\r\n\
                         X-Authenticated-Sender: {server}: {account}\r\n\
                         X-Source: /opt/cpanel/ea-php82/root/usr/bin/php-cgi\r\n\
                         X-Source-Args: /opt/cpanel/ea-php82/root/usr/bin/php-cgi \
                         /home/{account}/public_html{path}\r\n\
                         X-Source-Dir: {domain}:/public_html{folder}\r\n"
                    ),
                );
            }
        }
    }

    fn add_postfix(&self, out: &mut Vec<u8>, passage: Passage<'_>) {
        let Passage { way, turn, date, .. } = passage;
        let (server, account) = (self.server(), self.account());
        let id = turn & 0xfff_ffff_ffff;
        match way {
            Way::Submission => add(
                out,
                format_args!(
                    "Received: from [{visitor}] (unknown [{visitor}])\r\n\
                     \t(Authenticated sender: {address})\r\n\
                     \tby {server} (Postfix) with ESMTPSA id {id:011X};\r\n\
                     \t{date}\r\n",
                    visitor = Visitor(turn),
                    address = self.address(),
                ),
            ),
            Way::Script | Way::Job => add(
                out,
                format_args!(
                    "Received: by {server} (Postfix, from userid {uid})\r\n\
                     \tid {id:011X}; {date}\r\n\
                     X-Authentication-Warning: {server}: {account} set sender to {address} \
                     using -f\r\n",
                    uid = UID_MIN + self.number % 50_000,
                    address = self.address(),
                ),
            ),
        }
    }
}

/// An address of somebody who uses a browser, from the networks for documentation (RFC 5737).
pub struct Visitor(pub u64);

impl fmt::Display for Visitor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = ["192.0.2", "198.51.100", "203.0.113"][(self.0 % 3) as usize];
        write!(out, "{net}.{}", 1 + self.0 / 3 % 254)
    }
}

/// Appends text.
pub fn add(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: u64, way: Way, turn: u64) -> String {
        let sender = Sender::new(3, number, 0, "x.test");
        let mut out = Vec::new();
        let date = "Thu, 01 Jan 2026 00:00:00 +0000";
        sender.add_trace(&mut out, Passage { way, original_domain: "d1.x.test", turn, date });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_sender_looks_the_same_each_time_and_unlike_others() {
        let names = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let mut shapes = Vec::new();
        for number in 0..200 {
            for way in [Way::Script, Way::Job, Way::Submission] {
                let (one, other) = (trace(number, way, 1), trace(number, way, 999_999));
                assert_eq!(names(&one), names(&other));
                shapes.push(names(&one));
            }
        }
        shapes.sort();
        shapes.dedup();
        assert!(shapes.len() >= 10, "{shapes:?}");
    }

    #[test]
    fn each_panel_adds_what_names_the_customer() {
        let all: String = (0..200).map(|number| trace(number, Way::Script, 5)).collect();
        for header in [
            "X-PHP-Originating-Script: 1",
            "X-PHP-Script: www.c",
            "X-AntiAbuse: Originator/Caller UID/GID - [1",
            "X-Get-Message-Sender-Via: srv0.hosting.x.test: authenticated_id: acct",
            "X-Source-Dir: c",
            "X-PPP-Vhost: c",
            "X-Authenticated-Id: acct",
            "X-AuthUser: sender",
            "Received: by srv",
        ] {
            assert!(all.contains(header), "{header}");
        }
        let submitted: String = (0..200).map(|number| trace(number, Way::Submission, 5)).collect();
        assert!(submitted.contains("(Authenticated sender: sender"));
        assert!(!submitted.contains("X-PHP"));
    }

    #[test]
    fn as_many_senders_are_hacked_as_asked() {
        let hacked = |permille| {
            (0..10_000).filter(|n| Sender::new(1, *n, permille, "x.test").is_hacked()).count()
        };
        assert_eq!((hacked(0), hacked(1000)), (0, 10_000));
        assert!((400..600).contains(&hacked(50)), "{}", hacked(50));
    }
}
