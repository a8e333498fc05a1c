//! What a newsletter, an invoice, a message of `cron` look like: headers, and body but for the
//! prepared lines in its middle.
//!
//! A body is an opening line that is unique in the run, the `lead`, lines of a pool up to the
//! wanted length, and the `tail`. Headers are those of the programs that send such mail. Nothing
//! here starts a line with a dot, so that leads and tails travel as they are. MIME is RFC 2045 and
//! 2046, lists are RFC 2919, 2369 and 8058, automatic mail is RFC 3834.

use std::fmt;

use super::maker::Travels;
use super::sender::{Passage, Sender, Visitor, Way, add};
use super::text::{Pool, Pools};
use crate::profile::mail::Kind;

/// Recipients that a `To` header still names one by one.
const TO_NAMES_MAX: usize = 10;

/// One message, as far as it is decided before it is written.
pub struct Letter<'a> {
    pub kind: Kind,
    pub serial: &'a str,
    pub sender: &'a Sender<'a>,
    pub recipients: &'a [String],
    pub travels: Travels,
    pub date: &'a str,
    /// Decides what differs by message and matters little.
    pub turn: u64,
}

impl Letter<'_> {
    /// All headers after the mark, and the empty line.
    pub fn add_headers(&self, out: &mut Vec<u8>) {
        if let Some(way) = self.way() {
            let original_domain =
                self.recipients[0].rsplit_once('@').map_or("", |(_, domain)| domain);
            let Letter { turn, date, .. } = *self;
            self.sender.add_trace(out, Passage { way, original_domain, turn, date });
        }
        add(out, format_args!("Date: {}\r\n", self.date));
        self.add_from(out);
        self.add_to(out);
        self.add_subject(out);
        add(out, format_args!("Message-ID: <{}@{}>\r\n", self.serial, self.sender.domain()));
        self.add_program(out);
        add(out, format_args!("MIME-Version: 1.0\r\n"));
        match self.multipart() {
            Some(subtype) => add(
                out,
                format_args!(
                    "Content-Type: multipart/{subtype};\r\n\tboundary=\"{}\"\r\n\
                     Content-Transfer-Encoding: {}\r\n\r\n",
                    self.boundary(),
                    self.encoding(),
                ),
            ),
            None => {
                self.add_text_type(out, "plain");
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Which lines the middle of the body is made of.
    pub fn pool<'p>(&self, pools: &'p Pools) -> &'p Pool {
        let of = |seven_bit, eight_bit| match self.travels {
            Travels::SevenBit => seven_bit,
            Travels::EightBit | Travels::International => eight_bit,
        };
        match self.kind {
            Kind::Invoice => &pools.base64,
            Kind::Newsletter => of(&pools.html, &pools.html_eight_bit),
            Kind::Plain
            | Kind::ContactForm
            | Kind::PasswordReset
            | Kind::Correspondence
            | Kind::Cron => of(&pools.prose, &pools.prose_eight_bit),
        }
    }

    /// Where in the pool its lines start: a newsletter is the same for many.
    pub fn pool_start(&self) -> u64 {
        match self.kind {
            Kind::Newsletter => self.sender.habit(1 << 20) as u64,
            Kind::Plain
            | Kind::ContactForm
            | Kind::Invoice
            | Kind::PasswordReset
            | Kind::Correspondence
            | Kind::Cron => self.turn,
        }
    }

    /// The start of the body, after the opening line.
    pub fn add_lead(&self, out: &mut Vec<u8>) {
        let greeting = self.greeting();
        let domain = self.sender.domain();
        match self.kind {
            Kind::Plain => {
                if self.travels != Travels::SevenBit {
                    add(out, format_args!("{greeting}\r\n"));
                }
            }
            Kind::ContactForm => add(
                out,
                format_args!(
                    "{greeting}\r\n\r\nName: {name}\r\nE-Mail: visitor{turn}@mail.test\r\n\
                     IP: {visitor}\r\nMessage:\r\n\r\n{wish}\r\n",
                    name = self.visitor_name(),
                    turn = self.turn % 100_000,
                    visitor = Visitor(self.turn),
                    wish = self.wish(),
                ),
            ),
            Kind::Newsletter => self.add_newsletter(out),
            Kind::Invoice => self.add_invoice(out),
            Kind::PasswordReset => add(
                out,
                format_args!(
                    "{greeting}\r\n\r\nsomebody asked for a new password for your account at \
                     {domain}.\r\nFollow this link within 24 hours:\r\n\r\n\
                     https://www.{domain}/wp-login.php?action=rp&key={:016x}&login=user{}\r\n\r\n\
                     If it was not you, nothing needs to be done.\r\n\r\n",
                    self.turn,
                    self.turn % 10_000,
                ),
            ),
            Kind::Correspondence => add(out, format_args!("{greeting}\r\n\r\n")),
            Kind::Cron => {
                let account = self.sender.account();
                if self.travels != Travels::SevenBit {
                    add(out, format_args!("{greeting}\r\n"));
                }
                add(
                    out,
                    format_args!(
                        "PHP Notice:  Undefined index: page in \
                         /home/{account}/public_html/cron.php\r\n\
                         on line {}\r\nDone, {} rows.\r\n",
                        self.turn % 400,
                        self.turn % 7_000
                    ),
                );
            }
        }
    }

    /// The end of the body.
    pub fn add_tail(&self, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Plain | Kind::Cron => {}
            Kind::ContactForm => add(
                out,
                format_args!("\r\n-- \r\nThis mail was sent from www.{}\r\n", self.sender.domain()),
            ),
            Kind::Newsletter => {
                add(out, format_args!("</body></html>\r\n\r\n--{}--\r\n", self.boundary()));
            }
            // "startxref 9 %%EOF" and its line end.
            Kind::Invoice => {
                add(out, format_args!("c3RhcnR4cmVmCjkKJSVFT0YK\r\n--{}--\r\n", self.boundary()));
            }
            Kind::PasswordReset => {
                add(out, format_args!("\r\nYour team of {}\r\n", self.sender.domain()));
            }
            Kind::Correspondence => add(
                out,
                format_args!(
                    "\r\nOn Tuesday somebody{} wrote:\r\n\
                     > Thank you for the offer, it reached us.\r\n\
                     > When could you begin?\r\n>\r\n> With kind regards\r\n",
                    self.turn % 5_000
                ),
            ),
        }
    }

    fn way(&self) -> Option<Way> {
        match self.kind {
            Kind::Plain => None,
            Kind::ContactForm | Kind::PasswordReset => Some(Way::Script),
            Kind::Cron => Some(Way::Job),
            Kind::Newsletter | Kind::Invoice | Kind::Correspondence => Some(Way::Submission),
        }
    }

    fn multipart(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Newsletter => Some("alternative"),
            Kind::Invoice => Some("mixed"),
            Kind::Plain
            | Kind::ContactForm
            | Kind::PasswordReset
            | Kind::Correspondence
            | Kind::Cron => None,
        }
    }

    fn boundary(&self) -> impl fmt::Display {
        fmt::from_fn(|out| write!(out, "b1_{:016x}", self.turn))
    }

    fn encoding(&self) -> &'static str {
        match self.travels {
            Travels::SevenBit => "7bit",
            Travels::EightBit | Travels::International => "8bit",
        }
    }

    fn add_text_type(&self, out: &mut Vec<u8>, subtype: &str) {
        add(
            out,
            format_args!(
                "Content-Type: text/{subtype}; charset=utf-8\r\n\
                 Content-Transfer-Encoding: {}\r\n",
                self.encoding()
            ),
        );
    }

    fn add_part(&self, out: &mut Vec<u8>) {
        add(out, format_args!("--{}\r\n", self.boundary()));
    }

    /// The text for those who read no HTML, and the start of the HTML.
    fn add_newsletter(&self, out: &mut Vec<u8>) {
        let (greeting, domain) = (self.greeting(), self.sender.domain());
        self.add_part(out);
        self.add_text_type(out, "plain");
        add(
            out,
            format_args!(
                "\r\n{greeting}\r\n\r\nour offers of this week: \
                 https://www.{domain}/news\r\n\
                 Unsubscribe: https://www.{domain}/u?c={:08x}\r\n\r\n",
                self.turn as u32
            ),
        );
        self.add_part(out);
        self.add_text_type(out, "html");
        add(
            out,
            format_args!(
                "\r\n<html><head><title>News</title></head><body>\r\n\
                 <img src=\"https://www.{domain}/wp-content/uploads/head.png\" \
                 width=\"600\">\r\n<p>{greeting}</p>\r\n"
            ),
        );
    }

    fn add_invoice(&self, out: &mut Vec<u8>) {
        self.add_part(out);
        self.add_text_type(out, "plain");
        let number = self.turn % 1_000_000;
        add(
            out,
            format_args!(
                "\r\n{}\r\n\r\nplease find attached our invoice {number}, payable within 14 \
                 days.\r\n\r\n",
                self.greeting()
            ),
        );
        self.add_part(out);
        add(
            out,
            format_args!(
                "Content-Type: application/pdf; name=\"invoice-{number}.pdf\"\r\n\
                 Content-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"invoice-{number}.pdf\"\r\n\r\n{}\r\n",
                // "%PDF-1.4", a line of bytes outside ASCII, "1 0 obj<</Type/Catalog>>endobj".
                "JVBERi0xLjQKJeLjz9MKMSAwIG9iajw8L1R5cGUvQ2F0YWxvZz4+ZW5kb2JqCiAg"
            ),
        );
    }

    fn add_from(&self, out: &mut Vec<u8>) {
        let (sender, domain) = (self.sender, self.sender.domain());
        let address = sender.address();
        let name = match self.travels {
            Travels::International => "Zoë Größe",
            Travels::SevenBit | Travels::EightBit => {
                ["Office", "Kundendienst", "Shop", "Anna Meyer", "Support", "Jean Petit"]
                    [sender.habit(6)]
            }
        };
        match self.kind {
            Kind::Plain => match self.travels {
                Travels::International => {
                    add(out, format_args!("From: \"{name} {}\" <{address}>\r\n", self.serial));
                }
                Travels::SevenBit | Travels::EightBit => {
                    add(out, format_args!("From: \"Sender of {}\" <{address}>\r\n", self.serial));
                }
            },
            Kind::ContactForm => add(
                out,
                format_args!(
                    "From: \"{name}\" <wordpress@{domain}>\r\n\
                     Reply-To: visitor{}@mail.test\r\n",
                    self.turn % 100_000
                ),
            ),
            Kind::Cron => add(
                out,
                format_args!(
                    "From: \"(Cron Daemon)\" <{}@{}>\r\n",
                    sender.account(),
                    sender.server()
                ),
            ),
            Kind::Newsletter | Kind::Invoice | Kind::PasswordReset | Kind::Correspondence => {
                add(out, format_args!("From: \"{name}\" <{address}>\r\n"));
            }
        }
    }

    fn add_to(&self, out: &mut Vec<u8>) {
        if self.recipients.len() > TO_NAMES_MAX {
            out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
            return;
        }
        out.extend_from_slice(b"To: ");
        for (nth, recipient) in self.recipients.iter().enumerate() {
            if nth > 0 {
                out.extend_from_slice(b",\r\n\t");
            }
            out.extend_from_slice(recipient.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn add_subject(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Subject: ");
        if self.travels == Travels::International {
            out.extend_from_slice("Grüße aus Köln: ".as_bytes());
        }
        let domain = self.sender.domain();
        match self.kind {
            Kind::Plain => add(out, format_args!("Your order {} is on its way", self.serial)),
            Kind::ContactForm => add(out, format_args!("[{domain}] New message from your site")),
            // The second is "Größe zählt" (RFC 2047).
            Kind::Newsletter => out.extend_from_slice(
                [&b"Offers of the week"[..], b"=?UTF-8?Q?Gr=C3=B6=C3=9Fe_z=C3=A4hlt?=", b"News"]
                    [self.sender.habit(3)],
            ),
            Kind::Invoice => add(out, format_args!("Invoice {}", self.turn % 1_000_000)),
            Kind::PasswordReset => add(out, format_args!("[{domain}] Password Reset")),
            Kind::Correspondence => add(out, format_args!("Re: offer {}", self.turn % 5_000)),
            Kind::Cron => add(
                out,
                format_args!(
                    "Cron <{}@{}> /usr/bin/php -q cron.php",
                    self.sender.account(),
                    self.sender.server()
                ),
            ),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Headers of the program that made the message.
    fn add_program(&self, out: &mut Vec<u8>) {
        let domain = self.sender.domain();
        match self.kind {
            Kind::Plain => {}
            Kind::ContactForm | Kind::PasswordReset | Kind::Invoice => {
                add(out, format_args!("X-Mailer: {}\r\n", self.sender.mailer()));
            }
            Kind::Newsletter => add(
                out,
                format_args!(
                    "X-Mailer: {mailer}\r\nPrecedence: bulk\r\nList-Id: News <news.{domain}>\r\n\
                     List-Unsubscribe: <mailto:leave@{domain}>,\r\n\
                     \t<https://www.{domain}/u?c={turn:08x}>\r\n\
                     List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
                    mailer = self.sender.mailer(),
                    turn = self.turn as u32,
                ),
            ),
            Kind::Correspondence => add(
                out,
                format_args!(
                    "{}\r\nIn-Reply-To: <{turn:016x}@mail.test>\r\n\
                     References: <{other:016x}@mail.test>\r\n\t<{turn:016x}@mail.test>\r\n",
                    [
                        "User-Agent: Mozilla Thunderbird",
                        "X-Mailer: Microsoft Outlook 16.0",
                        "X-Mailer: iPhone Mail (21F90)",
                        "User-Agent: Roundcube Webmail/1.6.7",
                    ][self.sender.habit(4)],
                    turn = self.turn,
                    other = self.turn.rotate_left(17),
                ),
            ),
            Kind::Cron => add(
                out,
                format_args!(
                    "Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\n\
                     X-Cron-Env: <SHELL=/bin/sh>\r\nX-Cron-Env: <HOME=/home/{account}>\r\n\
                     X-Cron-Env: <LOGNAME={account}>\r\n",
                    account = self.sender.account(),
                ),
            ),
        }
    }

    fn greeting(&self) -> &'static str {
        match self.travels {
            Travels::SevenBit => "Hello,",
            Travels::EightBit | Travels::International => "Schöne Grüße zuvor,",
        }
    }

    fn visitor_name(&self) -> &'static str {
        ["Karl Weber", "Maria Costa", "Tom", "Ines Novak", "J. Smith"][(self.turn % 5) as usize]
    }

    /// What a visitor asks for, or what whoever took the form over has to offer.
    fn wish(&self) -> &'static str {
        if self.sender.is_hacked() {
            "You have won 1,500,000 USD! Claim at http://claim.test/wp-content/.x/win.php today"
        } else {
            "When are you open on Saturdays?"
        }
    }
}
