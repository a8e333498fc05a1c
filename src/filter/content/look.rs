//! What the header of the message looks like: the fields that rules compare, and their oddities.
//!
//! RFC 5322 3.6 says which fields there have to be and which once only. Decides no more than that;
//! whether a date is in the future is for those who have a clock.

use super::header::{Field, decoded_words, unfolded};
use super::mailbox::{self, Mailboxes};
use super::sign::{Facts, Sign};
use jiff::fmt::rfc2822;

/// Octets kept of one text and of the order of fields.
const TEXT_BYTES_MAX: usize = 2_048;

/// The Date field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Date {
    #[default]
    Missing,
    Unreadable,
    /// Seconds since 1970.
    At(i64),
}

/// What mailing lists and bulk senders add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListFields {
    pub id: bool,
    pub unsubscribe: bool,
    /// RFC 8058.
    pub one_click: bool,
    /// Precedence: bulk or list, or Auto-Submitted with anything but `no`.
    pub automatic: bool,
    pub feedback_id: bool,
}

#[derive(Clone, Debug, Default)]
pub struct HeaderLook {
    pub subject: String,
    pub from: Mailboxes,
    pub sender: Mailboxes,
    pub reply_to: Mailboxes,
    pub to: Mailboxes,
    pub cc: Mailboxes,
    pub message_id: String,
    pub date: Date,
    /// X-Mailer or User-Agent.
    pub mailer: String,
    pub mime_version: bool,
    pub dkim_signed: bool,
    /// In-Reply-To or References.
    pub answers: bool,
    pub list: ListFields,
    /// The names of the first fields in lower case, one space between: mailers differ in it.
    pub order: String,
    pub fields: usize,
}

/// The fields that may stand once only.
const ONCE: [&str; 11] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
];

impl HeaderLook {
    pub(super) fn read(fields: &[Field<'_>], facts: &mut Facts) -> Self {
        let mut look = Self { fields: fields.len(), ..Self::default() };
        let mut met = 0u16;
        let mut bcc = false;
        let mut mime_fields = false;
        for field in fields {
            look.keep_name(field.name);
            let once = ONCE.iter().position(|name| field.is(name));
            if let Some(index) = once {
                if met & 1 << index != 0 {
                    facts.add(Sign::FieldDuplicated, ONCE[index]);
                    continue;
                }
                met |= 1 << index;
            }
            bcc |= field.is("bcc");
            mime_fields |= field.is("content-type") || field.is("content-transfer-encoding");
            match once {
                Some(index) => look.take_known(ONCE[index], field, facts),
                None => look.take_other(field, facts),
            }
        }
        let has =
            |name| ONCE.iter().position(|one| *one == name).is_some_and(|at| met & 1 << at != 0);
        for (name, sign) in [
            ("from", Sign::FromMissing),
            ("date", Sign::DateMissing),
            ("message-id", Sign::MessageIdMissing),
            ("subject", Sign::SubjectMissing),
        ] {
            if !has(name) {
                facts.add(sign, "");
            }
        }
        if !has("to") && !has("cc") && !bcc {
            facts.add(Sign::RecipientsMissing, "");
        }
        if mime_fields && !look.mime_version {
            facts.add(Sign::MimeVersionMissing, "");
        }
        look.compare(has("from"), facts);
        look
    }

    fn keep_name(&mut self, name: &[u8]) {
        if self.order.len() + name.len() < TEXT_BYTES_MAX {
            if !self.order.is_empty() {
                self.order.push(' ');
            }
            self.order.extend(name.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
        }
    }

    fn take_known(&mut self, name: &str, field: &Field<'_>, facts: &mut Facts) {
        let value = unfolded(field, facts);
        match name {
            "from" => mailbox::read(&value, &mut self.from, facts),
            "sender" => mailbox::read(&value, &mut self.sender, facts),
            "reply-to" => mailbox::read(&value, &mut self.reply_to, facts),
            "to" => {
                mailbox::read(&value, &mut self.to, facts);
                if value.to_ascii_lowercase().contains("undisclosed") && self.to.count == 0 {
                    facts.add(Sign::UndisclosedRecipients, &value);
                }
            }
            "cc" => mailbox::read(&value, &mut self.cc, facts),
            "subject" => self.subject = cut(&decoded_words(&value, facts)),
            "date" => {
                self.date = match rfc2822::parse(&value) {
                    Ok(date) => Date::At(date.timestamp().as_second()),
                    Err(_) => {
                        facts.add(Sign::DateUnreadable, &value);
                        Date::Unreadable
                    }
                };
            }
            "message-id" => {
                let inside = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
                let sound = inside
                    .and_then(|text| text.split_once('@'))
                    .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty());
                if !sound || value.contains(' ') {
                    facts.add(Sign::MessageIdUnreadable, &value);
                }
                self.message_id = cut(&value);
            }
            "mime-version" => self.mime_version = true,
            _ => self.answers |= !value.is_empty(),
        }
    }

    fn take_other(&mut self, field: &Field<'_>, facts: &mut Facts) {
        let is = |name| field.is(name);
        if is("x-mailer") || is("user-agent") {
            if self.mailer.is_empty() {
                self.mailer = cut(&unfolded(field, facts));
            }
        } else if is("list-id") {
            self.list.id = true;
        } else if is("list-unsubscribe") {
            self.list.unsubscribe = true;
        } else if is("list-unsubscribe-post") {
            self.list.one_click = true;
        } else if is("feedback-id") {
            self.list.feedback_id = true;
        } else if is("precedence") {
            let value = field.value.trim_ascii();
            let bulk = [&b"bulk"[..], b"list", b"junk"];
            self.list.automatic |= bulk.iter().any(|word| value.eq_ignore_ascii_case(word));
        } else if is("auto-submitted") {
            self.list.automatic |= !field.value.trim_ascii().eq_ignore_ascii_case(b"no");
        } else if is("dkim-signature") {
            self.dkim_signed = true;
        }
    }

    /// What fields say of each other.
    fn compare(&self, from_stands: bool, facts: &mut Facts) {
        match self.from.list.first() {
            None if from_stands => facts.add(Sign::FromUnreadable, ""),
            None => {}
            Some(from) => {
                let domain = from.domain();
                if domain.is_empty() {
                    facts.add(Sign::FromUnreadable, &from.address);
                }
                if let Some(shown) = shown_address(&from.name)
                    && shown != domain
                {
                    facts.add(
                        Sign::NameShowsOtherAddress,
                        &format!("{} <{}>", from.name, from.address),
                    );
                }
                let reply = self.reply_to.list.first();
                if let Some(reply) = reply
                    && !reply.domain().is_empty()
                    && reply.domain() != domain
                {
                    facts.add(
                        Sign::ReplyElsewhere,
                        &format!("{} to {}", from.address, reply.address),
                    );
                }
            }
        }
        if self.from.count > 1 {
            facts.add(Sign::FromSeveral, &self.from.count.to_string());
        }
        self.look_at_subject(facts);
    }

    fn look_at_subject(&self, facts: &mut Facts) {
        let subject = self.subject.trim();
        let answer = subject.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("re:"));
        if answer && !self.answers {
            facts.add(Sign::ReplyToNothing, subject);
        }
        let upper = subject.chars().filter(|letter| letter.is_uppercase()).count();
        let lower = subject.chars().filter(|letter| letter.is_lowercase()).count();
        if upper >= 10 && lower * 10 < upper {
            facts.add(Sign::SubjectShouting, subject);
        }
        // "F R E E": single letters with single blanks between.
        let mut run = 0;
        for word in subject.split(' ') {
            let mut letters = word.chars();
            let single =
                letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
            run = if single { run + 1 } else { 0 };
            if run == 5 {
                facts.add(Sign::SubjectSpaced, subject);
                break;
            }
        }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The domain of the address that a display name shows.
fn shown_address(name: &str) -> Option<String> {
    let (_, after) = name.rsplit_once('@')?;
    let end = after.find(|letter: char| !(letter.is_alphanumeric() || ".-".contains(letter)));
    let domain = after[..end.unwrap_or(after.len())].trim_matches('.');
    domain.contains('.').then(|| domain.to_lowercase())
}
