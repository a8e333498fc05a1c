//! The reading of a whole message: each part decoded under a budget and put where it belongs.
//!
//! Owns the budgets of text and attachments. Decides which text a reader sees: of alternatives the
//! last one (RFC 2046 5.1.4), all others together. The text that is not seen is kept apart, to be
//! compared. A message attached in an encoding is read after the others, from a list, so that
//! nothing recurses; at most [`ENCODED_MESSAGES_MAX`] of them.

use super::attachment::{self, Attachment, Kind, Octets, Shown};
use super::charset::{self, Charset};
use super::find;
use super::header::{self, Budget};
use super::html::{self, HtmlLook, Sink};
use super::limits::{Bound, ContentLimits};
use super::link::{Links, Scheme};
use super::look::HeaderLook;
use super::media::{Disposition, PartHead};
use super::sign::{Facts, Sign};
use super::text::{self, Oddities};
use super::transfer::{Health, Transfer, base64, base64_tail, quoted_printable};
use super::walk::{Choice, Leaf, Walk};
use super::words;
use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem;
use std::borrow::Cow;

/// Messages in base64 or quoted-printable that are looked into.
const ENCODED_MESSAGES_MAX: usize = 4;
/// Letters and digits beside pictures that are hardly any.
const FEW_LETTERS: u32 = 60;

/// What a message holds. Made by [`Content::read`] only.
#[derive(Clone, Debug, Default)]
pub struct Content {
    header: HeaderLook,
    visible: String,
    alternative: String,
    links: Links,
    attachments: Vec<Attachment>,
    /// Attachments that were not described.
    attachments_more: usize,
    html: HtmlLook,
    oddities: Oddities,
    parts: Parts,
    facts: Facts,
}

/// How many parts of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub plain: u32,
    pub html: u32,
    pub files: u32,
    pub messages: u32,
}

impl Content {
    /// Reads any octets; never fails.
    pub fn read(message: &[u8], limits: &ContentLimits) -> Self {
        let mut reader = Reader {
            content: Self::default(),
            limits,
            budget: Budget::new(limits),
            text_left: limits.text_bytes_max,
            decoded_left: limits.decoded_bytes_max,
            choice: Choice::Together,
            choice_from: 0,
            encoded: Vec::new(),
        };
        reader.read(message);
        reader.finish()
    }

    pub fn header(&self) -> &HeaderLook {
        &self.header
    }

    /// The text that a reader sees, without what is hidden and what cannot be seen.
    pub fn visible_text(&self) -> &str {
        &self.visible
    }

    /// The plain text that clients with HTML do not show.
    pub fn alternative_text(&self) -> &str {
        &self.alternative
    }

    pub fn links(&self) -> &Links {
        &self.links
    }

    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// All attachments, described or not.
    pub fn attachment_count(&self) -> usize {
        self.attachments.len() + self.attachments_more
    }

    pub fn html(&self) -> &HtmlLook {
        &self.html
    }

    pub fn oddities(&self) -> &Oddities {
        &self.oddities
    }

    pub fn parts(&self) -> Parts {
        self.parts
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Calls `each` with every word of subject and visible text, in lower case, at most 43 octets.
    pub fn words(&self, mut each: impl FnMut(&str)) {
        let mut word = String::with_capacity(64);
        words::each(&self.header.subject, &mut word, &mut each);
        words::each(&self.visible, &mut word, &mut each);
    }

    /// Of the letters and digits in HTML those that are hidden, in percent.
    pub fn hidden_percent(&self) -> u32 {
        let all = u64::from(self.html.hidden) + u64::from(self.html.visible);
        (u64::from(self.html.hidden) * 100 / all.max(1)) as u32
    }
}

struct Reader<'l> {
    content: Content,
    limits: &'l ContentLimits,
    budget: Budget,
    text_left: usize,
    decoded_left: usize,
    /// Of the last text, and where its first one begins.
    choice: Choice,
    choice_from: usize,
    encoded: Vec<Vec<u8>>,
}

impl Reader<'_> {
    fn read(&mut self, message: &[u8]) {
        let mut fields = Vec::with_capacity(32);
        let facts = &mut self.content.facts;
        let body = header::read(message, 0, &mut fields, &mut self.budget, |_| false, facts);
        self.content.header = HeaderLook::read(&fields, facts);
        let head = PartHead::read(&fields, "text/plain", facts);
        let html_only = head.media == "text/html";
        self.walk(message, head, body);
        if html_only {
            self.content.facts.add(Sign::HtmlOnly, "");
        }
        let mut read = 0;
        while let Some(message) = self.encoded.pop() {
            read += 1;
            if read > ENCODED_MESSAGES_MAX {
                self.content.facts.exceeded(Bound::Depth);
                break;
            }
            let facts = &mut self.content.facts;
            let mut fields = Vec::new();
            let body = header::read(&message, 0, &mut fields, &mut self.budget, |_| false, facts);
            let head = PartHead::read(&fields, "text/plain", facts);
            self.walk(&message, head, body);
        }
    }

    fn walk(&mut self, message: &[u8], head: PartHead, body: usize) {
        let mut walk = Walk::new(message, head, body, self.limits);
        while let Some(leaf) = walk.next(&mut self.budget, &mut self.content.facts) {
            self.part(&leaf);
        }
    }

    fn part(&mut self, leaf: &Leaf<'_>) {
        let head = &leaf.head;
        let media = head.media.as_str();
        let first = self.content.parts == Parts::default();
        let shown = head.disposition == Disposition::Shown;
        let message = matches!(media, "message/rfc822" | "message/global");
        let encoded = matches!(head.transfer, Transfer::Base64 | Transfer::QuotedPrintable);
        if message && encoded {
            self.encoded_message(leaf);
        } else if media == "text/html" && shown && (first || head.name.is_empty()) {
            self.content.parts.html += 1;
            self.text(leaf, Self::html);
        } else if message || shown && is_text(media) {
            self.content.parts.plain += 1;
            self.text(leaf, Self::plain);
        } else {
            self.content.parts.files += 1;
            self.file(leaf);
        }
    }

    fn encoded_message(&mut self, leaf: &Leaf<'_>) {
        self.content.parts.messages += 1;
        self.content.facts.add(Sign::MessageEncoded, &leaf.head.media);
        let cap = self.decoded_left.min(self.limits.text_bytes_max);
        let (octets, _) = decoded(leaf, cap);
        self.spend_decoded(octets.len());
        self.encoded.push(octets.into_owned());
    }

    /// Takes from the budget of what is not shown.
    fn spend_decoded(&mut self, octets: usize) {
        self.decoded_left = self.decoded_left.saturating_sub(octets);
        if self.decoded_left == 0 {
            self.content.facts.exceeded(Bound::DecodedBytes);
        }
    }

    /// A text that is shown, decoded and handed to `take`.
    fn text(&mut self, leaf: &Leaf<'_>, take: fn(&mut Self, &str)) {
        let (octets, health) = decoded(leaf, self.text_left);
        let cut = octets.len() == self.text_left;
        if cut {
            self.content.facts.exceeded(Bound::TextBytes);
        }
        self.text_left -= octets.len();
        let facts = &mut self.content.facts;
        let transfer = leaf.head.transfer;
        match (transfer, health) {
            (Transfer::Base64, Health::Broken) => facts.add(Sign::Base64Broken, &leaf.head.media),
            (Transfer::QuotedPrintable, Health::Broken) => {
                facts.add(Sign::QuotedPrintableBroken, &leaf.head.media);
            }
            _ => {}
        }
        if transfer == Transfer::Base64 && !octets.is_empty() && octets.is_ascii() {
            facts.add(Sign::Base64Needless, &leaf.head.media);
        }
        let (text, charset) = charset::decode(&octets, &leaf.head.charset);
        match charset {
            Charset::Unknown => facts.add(Sign::CharsetUnknown, &leaf.head.charset),
            Charset::Known(Health::Broken) if !cut => {
                facts.add(Sign::CharsetBroken, &leaf.head.charset)
            }
            Charset::Known(_) => {}
        }
        self.choose(leaf.choice);
        if !self.content.visible.is_empty() {
            self.content.visible.push('\n');
        }
        take(self, &text);
    }

    /// Before a text: those that it replaces are not seen.
    fn choose(&mut self, choice: Choice) {
        if choice == Choice::Together || choice != self.choice {
            self.choice_from = self.content.visible.len();
        } else {
            let replaced = self.content.visible.split_off(self.choice_from);
            self.content.alternative.push_str(&replaced);
        }
        self.choice = choice;
    }

    fn plain(&mut self, text: &str) {
        let content = &mut self.content;
        let from = content.visible.len();
        content.visible.reserve(text.len());
        text::push(&mut content.visible, text, &mut content.oddities);
        find::links(&content.visible[from..], &mut content.links, self.limits, &mut content.facts);
    }

    fn html(&mut self, text: &str) {
        let content = &mut self.content;
        let from = content.visible.len();
        let mut sink = Sink {
            output: &mut content.visible,
            look: &mut content.html,
            links: &mut content.links,
            oddities: &mut content.oddities,
            facts: &mut content.facts,
            limits: self.limits,
        };
        html::read(text, &mut sink);
        find::links(&content.visible[from..], &mut content.links, self.limits, &mut content.facts);
    }

    fn file(&mut self, leaf: &Leaf<'_>) {
        if self.content.attachments.len() == self.limits.attachments_max {
            self.content.attachments_more += 1;
            self.content.facts.exceeded(Bound::Attachments);
            return;
        }
        let octets = ends(leaf, self.decoded_left.min(self.limits.attachment_bytes_max));
        self.spend_decoded(octets.head.len() + octets.tail.len());
        let head = &leaf.head;
        let shown = match head.disposition {
            Disposition::Shown => Shown::Inline,
            Disposition::Attachment => Shown::Attached,
        };
        let facts = &mut self.content.facts;
        let file = attachment::read(&head.name, &head.media, shown, &octets, self.limits, facts);
        if file.kind == Kind::Html {
            self.page(&octets.head, &head.charset, &head.name);
        }
        self.content.attachments.push(file);
    }

    /// An attached page: its links count, what it holds is told as an attachment's.
    fn page(&mut self, octets: &[u8], label: &str, name: &str) {
        let octets = &octets[..octets.len().min(self.text_left)];
        self.text_left -= octets.len();
        let text = charset::decode(octets, label).0;
        let content = &mut self.content;
        let (mut output, mut look, mut facts) =
            (String::new(), HtmlLook::default(), Facts::default());
        let mut oddities = Oddities::default();
        let mut sink = Sink {
            output: &mut output,
            look: &mut look,
            links: &mut content.links,
            oddities: &mut oddities,
            facts: &mut facts,
            limits: self.limits,
        };
        html::read(&text, &mut sink);
        for fact in facts.list() {
            let sign = match fact.sign {
                Sign::Form | Sign::FormPassword => Sign::AttachmentHtmlForm,
                Sign::Script | Sign::JavascriptUrl => Sign::AttachmentHtmlScript,
                sign => sign,
            };
            let evidence = if sign == fact.sign { &fact.evidence } else { name };
            content.facts.add_many(sign, fact.count, evidence);
        }
    }

    /// What only the whole tells.
    fn finish(mut self) -> Content {
        let content = &mut self.content;
        content.oddities.tell(&mut content.facts);
        if alternative_differs(&content.alternative, &content.visible) {
            content.facts.add(Sign::AlternativeDiffers, &content.alternative);
        }
        let pictures = content.html.images > 0
            || content.attachments.iter().any(|file| file.kind == Kind::Image);
        if content.parts.html > 0 && pictures && content.html.visible < FEW_LETTERS {
            let evidence = format!("{} letters", content.html.visible);
            content.facts.add(Sign::ImagesOnly, &evidence);
        }
        tell_named_recipients(content);
        self.content
    }
}

/// Multiparts and messages that are parts were too deep to be entered, or had no boundary: clients
/// show them as text.
fn is_text(media: &str) -> bool {
    media == "text/plain" || media.starts_with("multipart/")
}

/// The octets of a part, at most `cap`.
fn decoded<'a>(leaf: &Leaf<'a>, cap: usize) -> (Cow<'a, [u8]>, Health) {
    let owned = |(octets, health): (Vec<u8>, Health)| (Cow::Owned(octets), health);
    match leaf.head.transfer {
        Transfer::Base64 => owned(base64(leaf.body, cap)),
        Transfer::QuotedPrintable => owned(quoted_printable(leaf.body, cap)),
        Transfer::Identity | Transfer::Unknown => {
            (Cow::Borrowed(&leaf.body[..leaf.body.len().min(cap)]), Health::Sound)
        }
    }
}

/// A file whole when it is no longer than `cap`, or else its two ends.
fn ends<'a>(leaf: &Leaf<'a>, cap: usize) -> Octets<'a> {
    let body = leaf.body;
    let half = cap / 2;
    match leaf.head.transfer {
        Transfer::Base64 if body.len() / 4 * 3 > cap => Octets {
            head: base64(body, half).0.into(),
            tail: base64(base64_tail(body, half), half).0.into(),
            // Lines of 76 letters and CRLF.
            size: body.len() as u64 * 57 / 78,
        },
        Transfer::Identity | Transfer::Unknown if body.len() > cap => Octets {
            head: body[..half].into(),
            tail: body[body.len() - half..].into(),
            size: body.len() as u64,
        },
        Transfer::Base64 | Transfer::QuotedPrintable | Transfer::Identity | Transfer::Unknown => {
            let head = decoded(leaf, cap).0;
            let size = head.len() as u64;
            Octets { head, tail: Cow::Borrowed(&[]), size }
        }
    }
}

/// Whether few words of one text stand in the other. Words are hashed into a small set, which may
/// find a word that is not there: then the texts are called alike, which is the harmless error.
fn alternative_differs(plain: &str, html: &str) -> bool {
    const WORDS_MIN: u32 = 20;
    const WORDS_MAX: u32 = 400;
    const SHARED_PERCENT_MIN: u32 = 25;
    if plain.len() < 100 || html.len() < 100 {
        return false;
    }
    let mut set = [0u64; 128];
    word_hashes(html, |hash| set[(hash >> 6) as usize % 128] |= 1 << (hash & 63));
    let (mut all, mut shared) = (0, 0);
    word_hashes(plain, |hash| {
        if all < WORDS_MAX {
            all += 1;
            shared += u32::from(set[(hash >> 6) as usize % 128] >> (hash & 63) & 1 != 0);
        }
    });
    all >= WORDS_MIN && shared * 100 / all < SHARED_PERCENT_MIN
}

/// Hashes of the words of four octets and more in the beginning of a text.
fn word_hashes(text: &str, mut each: impl FnMut(u32)) {
    const TEXT_BYTES_MAX: usize = 16 * 1024;
    let (mut hash, mut length) = (0x811c_9dc5_u32, 0);
    for octet in text.bytes().take(TEXT_BYTES_MAX).chain([b' ']) {
        if octet.is_ascii_alphabetic() || octet >= 0x80 {
            hash = (hash ^ u32::from(octet | 0x20)).wrapping_mul(0x0100_0193);
            length += 1;
        } else {
            if length >= 4 {
                each(hash ^ hash >> 15);
            }
            (hash, length) = (0x811c_9dc5, 0);
        }
    }
}

/// Links that hold the address of a recipient, plain, percent-encoded or in base64.
fn tell_named_recipients(content: &mut Content) {
    const RECIPIENTS_MAX: usize = 4;
    for mailbox in content.header.to.list.iter().take(RECIPIENTS_MAX) {
        let address = mailbox.address.to_ascii_lowercase();
        let Some((local, domain)) = address.split_once('@') else {
            continue;
        };
        let escaped = format!("{local}%40{domain}");
        let encoded = STANDARD_NO_PAD.encode(&address);
        // The last letter depends on what follows.
        let encoded = &encoded[..encoded.len().saturating_sub(2)];
        for link in content.links.kept().iter().filter(|link| link.scheme != Scheme::Mailto) {
            let found = [&link.path, &link.query, &link.fragment].into_iter().any(|text| {
                if text.len() < address.len() {
                    return false;
                }
                let lower = text.to_ascii_lowercase();
                let has = |text: &str, word: &str| {
                    memmem::find(text.as_bytes(), word.as_bytes()).is_some()
                };
                has(&lower, &address)
                    || has(&lower, &escaped)
                    || encoded.len() >= 8 && has(text, encoded)
            });
            if found {
                content.facts.add(Sign::LinkNamesRecipient, &link.to_string());
            }
        }
    }
}
