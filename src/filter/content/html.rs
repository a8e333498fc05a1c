//! HTML as a reader sees it and as it works: text, links, forms, and what is kept out of sight.
//!
//! A scanner of our own, one pass, no tree: a message needs tags, attributes, text and which
//! elements around a text hide it. `html5gum` was tried: 570 us for the tokens of a page of 100 KB
//! alone, where this takes less for all that is read from them. Decides what is hidden from inline styles, old attributes and
//! classes that a sheet hides everywhere; text is called hidden only where that is certain.
//! Elements that change nothing are counted on the entry of their name, so the stack holds styled
//! elements only and `nesting_max` bounds it; each end tag looks at a bounded part of it.

use super::entity;
use super::limits::{Bound, ContentLimits};
use super::link::{Links, Origin, host_in_text, one_site};
use super::sign::{Facts, Sign};
use super::style::{Colour, Sheets, Size, Style, alike, colour};
use super::tag::{self, Attributes, Element, Tag};
use super::text::{self, Oddities};
use memchr::{memchr2, memmem};

/// Letters and digits out of sight that a preheader may have: a line of the list of messages.
const PREHEADER_LETTERS_MAX: u32 = 200;
/// How far an end tag looks for its beginning among styled elements.
const LOOK_BACK_MAX: usize = 64;
/// Comments in words, and letters as references, that are no accident.
const SPLITS_MIN: u32 = 3;
const REFERENCES_MIN: u32 = 20;

/// Counts of one message's HTML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HtmlLook {
    /// Letters and digits that are seen.
    pub visible: u32,
    pub hidden: u32,
    pub tags: u32,
    pub images: u32,
    pub anchors: u32,
    pub forms: u32,
    pub password_fields: u32,
    pub scripts: u32,
}

/// What a page is read into.
pub(super) struct Sink<'s> {
    pub(super) output: &'s mut String,
    pub(super) look: &'s mut HtmlLook,
    pub(super) links: &'s mut Links,
    pub(super) oddities: &'s mut Oddities,
    pub(super) facts: &'s mut Facts,
    pub(super) limits: &'s ContentLimits,
}

/// How text looks at one place.
#[derive(Clone, Copy, Debug)]
struct Shade {
    hidden: bool,
    tiny: bool,
    colour: Colour,
    back: Colour,
}

impl Shade {
    fn unseen(&self) -> bool {
        self.hidden || self.tiny || alike(self.colour, self.back)
    }
}

/// An open element with a style of its own.
struct Open {
    element: Element,
    /// Open elements of the same name inside, which have none.
    nested: u32,
    shade: Shade,
}

/// Whether the text is part of an anchor.
enum Anchor {
    Outside,
    Inside { kept: Option<usize>, text_from: usize, images: u32, hidden: u32 },
}

struct Page<'s, 't> {
    sink: &'s mut Sink<'t>,
    open: Vec<Open>,
    shade: Shade,
    sheets: Sheets,
    anchor: Anchor,
    splits: u32,
    references: u32,
    hidden_text: String,
}

const PLAIN: Shade =
    Shade { hidden: false, tiny: false, colour: Colour::Is([0; 3]), back: Colour::Is([255; 3]) };

pub(super) fn read(html: &str, sink: &mut Sink<'_>) {
    let mut page = Page {
        sink,
        open: Vec::new(),
        shade: PLAIN,
        sheets: Sheets::default(),
        anchor: Anchor::Outside,
        splits: 0,
        references: 0,
        hidden_text: String::new(),
    };
    page.scan(html);
    page.end_anchor();
    page.conclude();
}

impl Page<'_, '_> {
    fn scan(&mut self, html: &str) {
        let octets = html.as_bytes();
        let mut at = 0;
        while let Some(length) = memchr2(b'<', b'&', &octets[at..]) {
            self.text(&html[at..at + length]);
            at += length;
            at += if octets[at] == b'&' {
                self.reference(&html[at..])
            } else {
                self.markup(&html[at..])
            };
        }
        self.text(&html[at..]);
    }

    /// Text without markup and references.
    fn text(&mut self, run: &str) {
        if run.is_empty() {
            return;
        }
        let inner = run.trim_ascii();
        if inner.is_empty() {
            self.space(' ');
            return;
        }
        if self.shade.unseen() {
            let letters = inner.chars().filter(|letter| letter.is_alphanumeric()).count();
            self.sink.look.hidden = self.sink.look.hidden.saturating_add(letters as u32);
            if self.hidden_text.len() < 200 {
                self.hidden_text.extend(inner.chars().take(100));
            }
            return;
        }
        if run.as_bytes()[0].is_ascii_whitespace() {
            self.space(' ');
        }
        let before = self.sink.output.len();
        text::push(self.sink.output, inner, self.sink.oddities);
        self.count_visible(before);
        if run.as_bytes()[run.len() - 1].is_ascii_whitespace() {
            self.space(' ');
        }
    }

    fn count_visible(&mut self, from: usize) {
        // Octets below 128 that are letters or digits, and each letter of two octets or more once.
        let counts = |octet: &&u8| octet.is_ascii_alphanumeric() || **octet >= 0xc0;
        let letters = self.sink.output.as_bytes()[from..].iter().filter(counts).count();
        self.sink.look.visible = self.sink.look.visible.saturating_add(letters as u32);
    }

    fn space(&mut self, letter: char) {
        if !self.sink.output.ends_with([' ', '\n']) && !self.sink.output.is_empty() {
            self.sink.output.push(letter);
        }
    }

    /// At `&`; octets used.
    fn reference(&mut self, rest: &str) -> usize {
        let Some(found) = entity::read(rest) else {
            self.text("&");
            return 1;
        };
        if found.numeric && found.letter.is_ascii_alphabetic() {
            self.references += 1;
        }
        if self.shade.unseen() {
            self.sink.look.hidden += u32::from(found.letter.is_alphanumeric());
        } else if found.letter.is_ascii() && !found.letter.is_ascii_control() {
            self.sink.output.push(found.letter);
            self.sink.look.visible += u32::from(found.letter.is_ascii_alphanumeric());
        } else {
            let before = self.sink.output.len();
            text::push_letter(self.sink.output, found.letter, self.sink.oddities);
            self.count_visible(before);
        }
        found.length
    }

    /// At `<`; octets used.
    fn markup(&mut self, rest: &str) -> usize {
        let octets = rest.as_bytes();
        match octets.get(1) {
            Some(b'!') if octets.starts_with(b"<!--") => {
                let end = memmem::find(&octets[4..], b"-->").map_or(rest.len(), |at| at + 7);
                self.split(octets.get(end));
                end
            }
            Some(b'!' | b'?') => memchr::memchr(b'>', octets).map_or(rest.len(), |at| at + 1),
            Some(b'/') if octets.get(2).is_some_and(u8::is_ascii_alphabetic) => {
                let (name, length) = tag::end(rest);
                self.end_tag(name);
                length
            }
            Some(letter) if letter.is_ascii_alphabetic() => {
                let (tag, length) = tag::start(rest);
                self.sink.look.tags += 1;
                self.start_tag(&tag);
                length
                    + tag::raw_text(tag.element, &rest[length..])
                        .map_or(0, |raw| self.raw(&tag, raw))
            }
            _ => {
                self.text("<");
                1
            }
        }
    }

    /// After a comment: whether it stood in a word.
    fn split(&mut self, next: Option<&u8>) {
        let after = next.is_some_and(u8::is_ascii_alphanumeric);
        let last = self.sink.output.as_bytes().last();
        if after && last.is_some_and(u8::is_ascii_alphanumeric) && !self.shade.unseen() {
            self.splits += 1;
        }
    }

    /// The content of an element that holds no markup; octets used.
    fn raw(&mut self, tag: &Tag<'_>, raw: &str) -> usize {
        if tag.element == Element::Style {
            self.sheets.read(raw);
            if raw.contains("@import") {
                self.sink.facts.add(Sign::ExternalStyle, raw);
            }
            self.style_links(raw);
        }
        raw.len()
    }

    fn start_tag(&mut self, tag: &Tag<'_>) {
        if tag.element.is_block() {
            self.space(if tag.element == Element::Cell { ' ' } else { '\n' });
            self.close_paragraph();
        }
        let attributes = &tag.attributes;
        let shade = self.shade_of(tag);
        self.tell(tag, &shade);
        if !attributes.style.is_empty() {
            self.style_links(attributes.style);
        }
        if !attributes.background.is_empty() {
            self.link(attributes.background, Origin::Image);
        }
        if tag.element.is_void() {
            return;
        }
        match shade {
            Some(shade) if self.open.len() < self.sink.limits.nesting_max => {
                self.open.push(Open { element: tag.element, nested: 0, shade: self.shade });
                self.shade = shade;
            }
            Some(_) => self.sink.facts.exceeded(Bound::Nesting),
            None => {
                let recent = self.open.iter_mut().rev().take(LOOK_BACK_MAX);
                if let Some(known) = recent.into_iter().find(|open| open.element == tag.element) {
                    known.nested = known.nested.saturating_add(1);
                }
            }
        }
    }

    /// How text inside looks, if that is not as around it.
    fn shade_of(&self, tag: &Tag<'_>) -> Option<Shade> {
        let attributes = &tag.attributes;
        let mut style = Style::read(attributes.style);
        if style.colour == Colour::Inherited && !attributes.colour.is_empty() {
            style.colour = old_colour(attributes.colour);
        }
        if style.back == Colour::Inherited && !attributes.bgcolor.is_empty() {
            style.back = old_colour(attributes.bgcolor);
        }
        if !attributes.background.is_empty() {
            style.back = Colour::Unclear;
        }
        style.hides |= attributes.hidden || self.sheets.hides(attributes.class);
        if tag.element == Element::Anchor && style.colour == Colour::Inherited {
            style.colour = Colour::Unclear;
        }
        // A sheet may paint what has a class: nothing certain is known any more.
        if self.sheets.paint && !attributes.class.is_empty() {
            style.colour = unless_said(style.colour);
            style.back = unless_said(style.back);
        }
        if style.says_nothing() {
            return None;
        }
        let kept = |new: Colour, old: Colour| if new == Colour::Inherited { old } else { new };
        Some(Shade {
            hidden: self.shade.hidden || style.hides,
            tiny: match style.size {
                Size::Inherited => self.shade.tiny,
                Size::Tiny => true,
                Size::Legible => false,
            },
            colour: kept(style.colour, self.shade.colour),
            back: kept(style.back, self.shade.back),
        })
    }

    fn end_tag(&mut self, element: Element) {
        if element.is_block() {
            self.space(if element == Element::Cell { ' ' } else { '\n' });
        }
        if element == Element::Anchor {
            self.end_anchor();
        }
        self.close(element);
    }

    /// Ends the innermost open element of that name.
    fn close(&mut self, element: Element) {
        let floor = self.open.len().saturating_sub(LOOK_BACK_MAX);
        let Some(at) = self.open[floor..].iter().rposition(|open| open.element == element) else {
            return;
        };
        let known = &mut self.open[floor + at];
        if known.nested > 0 {
            known.nested -= 1;
            return;
        }
        self.shade = known.shade;
        self.open.truncate(floor + at);
    }

    /// A block ends a paragraph that was not closed, as in a browser.
    fn close_paragraph(&mut self) {
        if self.open.last().is_some_and(|open| open.element == Element::Paragraph) {
            self.close(Element::Paragraph);
        }
    }

    fn tell(&mut self, tag: &Tag<'_>, shade: &Option<Shade>) {
        let Attributes { href, src, .. } = tag.attributes;
        let unseen = shade.as_ref().unwrap_or(&self.shade).unseen();
        match tag.element {
            Element::Anchor => self.start_anchor(href),
            Element::Area => drop(self.link(href, Origin::Anchor)),
            Element::Image => self.image(&tag.attributes, unseen),
            Element::Base if !href.is_empty() => {
                self.sink.facts.add(Sign::BaseChanged, href);
                self.link(href, Origin::Base);
            }
            Element::Link if tag.attributes.rel.eq_ignore_ascii_case("stylesheet") => {
                self.sink.facts.add(Sign::ExternalStyle, href);
                self.link(href, Origin::Style);
            }
            Element::Meta => self.meta(&tag.attributes),
            Element::Form => {
                self.sink.look.forms += 1;
                self.sink.facts.add(Sign::Form, tag.attributes.action);
                self.link(tag.attributes.action, Origin::Form);
            }
            Element::Input => {
                if tag.attributes.kind.eq_ignore_ascii_case("password") {
                    self.sink.look.password_fields += 1;
                    self.sink.facts.add(Sign::FormPassword, tag.attributes.name);
                }
                self.link(tag.attributes.action, Origin::Form);
                self.link(src, Origin::Image);
            }
            Element::Frame => {
                self.sink.facts.add(Sign::Frame, src);
                self.link(src, Origin::Frame);
            }
            Element::Script => {
                self.sink.look.scripts += 1;
                self.sink.facts.add(Sign::Script, src);
                self.link(src, Origin::Script);
            }
            _ => {}
        }
        if tag.attributes.handler {
            self.sink.facts.add(Sign::Script, "event handler");
        }
    }

    fn link(&mut self, value: &str, origin: Origin) -> Option<usize> {
        if value.is_empty() {
            return None;
        }
        let value = entity::unescaped(value);
        self.sink.links.add(&value, origin, self.sink.limits, self.sink.facts)
    }

    fn start_anchor(&mut self, href: &str) {
        self.end_anchor();
        if href.is_empty() {
            return;
        }
        self.sink.look.anchors += 1;
        let kept = self.link(href, Origin::Anchor);
        self.anchor = Anchor::Inside {
            kept,
            text_from: self.sink.output.len(),
            images: self.sink.look.images,
            hidden: self.sink.look.hidden,
        };
    }

    fn end_anchor(&mut self) {
        let anchor = std::mem::replace(&mut self.anchor, Anchor::Outside);
        let Anchor::Inside { kept: Some(kept), text_from, images, hidden } = anchor else {
            return;
        };
        let shown = self.sink.output.get(text_from..).unwrap_or("").trim();
        let Some(link) = self.sink.links.kept().get(kept) else {
            return;
        };
        if shown.is_empty() {
            if images == self.sink.look.images && self.sink.look.hidden > hidden {
                self.sink.facts.add(Sign::HiddenLink, &link.to_string());
            }
            return;
        }
        if let Some(host) = host_in_text(shown) {
            let next = self.sink.links.kept().get(kept + 1);
            let inner = next.filter(|next| next.origin == Origin::Redirect);
            let right = one_site(&host, &link.host)
                || inner.is_some_and(|inner| one_site(&host, &inner.host));
            if !right {
                self.sink.facts.add(Sign::LinkTextDiffers, &format!("{host} leads to {link}"));
            }
        }
        self.sink.links.set_shown(kept, shown);
    }

    fn image(&mut self, attributes: &Attributes<'_>, unseen: bool) {
        self.sink.look.images += 1;
        let small = |size: &str| matches!(size.trim().trim_end_matches("px"), "0" | "1");
        let small = small(attributes.width) && small(attributes.height);
        let remote = attributes.src.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("http"));
        if remote && (small || unseen && Style::read(attributes.style).hides) {
            self.sink.facts.add(Sign::TrackingPixel, attributes.src);
        }
        self.link(attributes.src, Origin::Image);
    }

    fn meta(&mut self, attributes: &Attributes<'_>) {
        if !attributes.http_equiv.eq_ignore_ascii_case("refresh") {
            return;
        }
        let content = entity::unescaped(attributes.content);
        let lower = content.to_ascii_lowercase();
        if let Some(at) = lower.find("url=") {
            self.sink.facts.add(Sign::MetaRefresh, &content);
            let target = content[at + 4..].trim_matches(['\'', '"', ' ']).to_owned();
            self.link(&target, Origin::Refresh);
        }
    }

    /// What `url()` names in a style.
    fn style_links(&mut self, style: &str) {
        for at in memmem::find_iter(style.as_bytes(), b"url(").take(32) {
            let after = &style[at + 4..];
            let target = &after[..after.find(')').unwrap_or(after.len())];
            self.link(target.trim_matches(['\'', '"', ' ']), Origin::Style);
        }
    }

    fn conclude(self) {
        let Self { sink, splits, references, hidden_text, .. } = self;
        if sink.look.hidden > PREHEADER_LETTERS_MAX {
            let evidence = format!(
                "{} letters beside {} that are seen: {hidden_text}",
                sink.look.hidden, sink.look.visible
            );
            sink.facts.add(Sign::HiddenText, &evidence);
        }
        if splits >= SPLITS_MIN {
            sink.facts.add_many(Sign::WordsSplit, splits, &format!("{splits} times"));
        }
        if references >= REFERENCES_MIN {
            sink.facts.add_many(
                Sign::LettersAsReferences,
                references,
                &format!("{references} times"),
            );
        }
    }
}

/// `bgcolor=ffffff` is as good as `#ffffff` in old HTML.
fn old_colour(value: &str) -> Colour {
    let hex = value.len() == 6 && value.bytes().all(|octet| octet.is_ascii_hexdigit());
    if hex { colour(&format!("#{value}")) } else { colour(value) }
}

fn unless_said(said: Colour) -> Colour {
    match said {
        Colour::Inherited => Colour::Unclear,
        said => said,
    }
}
