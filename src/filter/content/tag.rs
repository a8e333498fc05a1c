//! One tag of HTML: which element, and the attributes that matter.
//!
//! As browsers read tags (HTML 13.2.5): names in any case, values in either quote or none, `/`
//! anywhere, quotes that hold `>`. Each octet is read once; what is not closed ends with the text.

use memchr::{memchr, memchr_iter};

/// Elements that mean something here, and all others by a hash of their name, so that their ends
/// are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Anchor,
    Area,
    Base,
    Break,
    /// By the hash of its name.
    Block(u32),
    Cell,
    Form,
    Frame,
    Image,
    Input,
    Link,
    Meta,
    Paragraph,
    Row,
    Script,
    Style,
    Table,
    Title,
    /// Nothing inside, no end.
    Void,
    Division,
    Span,
    Font,
    Other(u32),
}

impl Element {
    fn of(name: &[u8]) -> Self {
        let mut lower = [0u8; 10];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return Self::Other(hash(name));
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"a" => Self::Anchor,
            b"area" => Self::Area,
            b"base" => Self::Base,
            b"br" | b"hr" => Self::Break,
            b"td" | b"th" => Self::Cell,
            b"div" => Self::Division,
            b"font" => Self::Font,
            b"form" => Self::Form,
            b"frame" | b"iframe" | b"embed" | b"object" => Self::Frame,
            b"img" | b"image" => Self::Image,
            b"input" | b"button" => Self::Input,
            b"link" => Self::Link,
            b"meta" => Self::Meta,
            b"p" => Self::Paragraph,
            b"script" => Self::Script,
            b"span" => Self::Span,
            b"style" => Self::Style,
            b"table" => Self::Table,
            b"title" => Self::Title,
            b"tr" => Self::Row,
            b"col" | b"wbr" | b"source" | b"track" | b"param" => Self::Void,
            b"li" | b"ul" | b"ol" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"center"
            | b"blockquote" | b"pre" | b"dl" | b"dt" | b"dd" | b"section" | b"article"
            | b"header" | b"footer" | b"body" | b"option" => Self::Block(hash(lower)),
            other => Self::Other(hash(other)),
        }
    }

    /// Begins a line of its own.
    pub(super) fn is_block(self) -> bool {
        matches!(
            self,
            Self::Break
                | Self::Block(_)
                | Self::Cell
                | Self::Form
                | Self::Paragraph
                | Self::Row
                | Self::Table
                | Self::Division
                | Self::Title
        )
    }

    /// Has no end tag.
    pub(super) fn is_void(self) -> bool {
        matches!(
            self,
            Self::Area
                | Self::Base
                | Self::Break
                | Self::Image
                | Self::Input
                | Self::Link
                | Self::Meta
                | Self::Void
        )
    }
}

/// FNV-1a of a name in lower case: two names that collide end each other, which harms nobody.
fn hash(name: &[u8]) -> u32 {
    name.iter().take(32).fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    })
}

/// Values as written; empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes<'a> {
    pub(super) href: &'a str,
    pub(super) src: &'a str,
    pub(super) style: &'a str,
    pub(super) class: &'a str,
    /// `action`, and `formaction` of a button.
    pub(super) action: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) rel: &'a str,
    pub(super) http_equiv: &'a str,
    pub(super) content: &'a str,
    pub(super) colour: &'a str,
    pub(super) bgcolor: &'a str,
    pub(super) background: &'a str,
    pub(super) width: &'a str,
    pub(super) height: &'a str,
    pub(super) hidden: bool,
    /// `onload`, `onerror`, `onclick` and the like.
    pub(super) handler: bool,
}

#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub(super) element: Element,
    pub(super) attributes: Attributes<'a>,
}

/// `text` begins with `<` and a letter. Octets of the tag.
pub(super) fn start(text: &str) -> (Tag<'_>, usize) {
    let octets = text.as_bytes();
    let name = name_end(octets, 1);
    let mut tag = Tag { element: Element::of(&octets[1..name]), attributes: Attributes::default() };
    let mut at = name;
    loop {
        while octets.get(at).is_some_and(|octet| octet.is_ascii_whitespace() || *octet == b'/') {
            at += 1;
        }
        match octets.get(at) {
            None => return (tag, at),
            Some(b'>') => return (tag, at + 1),
            Some(_) => at = attribute(text, at, &mut tag.attributes),
        }
    }
}

/// `text` begins with `</` and a letter.
pub(super) fn end(text: &str) -> (Element, usize) {
    let octets = text.as_bytes();
    let name = name_end(octets, 2);
    let length = memchr(b'>', &octets[name..]).map_or(octets.len(), |at| name + at + 1);
    (Element::of(&octets[2..name]), length)
}

fn name_end(octets: &[u8], from: usize) -> usize {
    let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'/' | b'>');
    octets[from..].iter().position(ends).map_or(octets.len(), |length| from + length)
}

/// Reads one attribute; where it ends.
fn attribute<'a>(text: &'a str, from: usize, attributes: &mut Attributes<'a>) -> usize {
    let octets = text.as_bytes();
    let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'/' | b'>' | b'=');
    // A name may begin with `=`, or nothing would be read.
    let length = octets[from + 1..].iter().position(ends);
    let name_end = length.map_or(octets.len(), |length| from + 1 + length);
    let name = &text[from..name_end];
    let mut at = name_end;
    let blanks =
        |from: usize| octets[from..].iter().take_while(|octet| octet.is_ascii_whitespace()).count();
    let after = at + blanks(at);
    if octets.get(after) != Some(&b'=') {
        attributes.take(name, "");
        return at;
    }
    at = after + 1;
    at += blanks(at);
    let (value, end) = match octets.get(at) {
        Some(quote @ (b'"' | b'\'')) => {
            let close = memchr(*quote, &octets[at + 1..]).map(|length| at + 1 + length);
            (at + 1..close.unwrap_or(octets.len()), close.map_or(octets.len(), |close| close + 1))
        }
        _ => {
            let ends = |octet: &u8| octet.is_ascii_whitespace() || *octet == b'>';
            let end = octets[at..].iter().position(ends).map_or(octets.len(), |length| at + length);
            (at..end, end)
        }
    };
    attributes.take(name, &text[value]);
    end
}

impl<'a> Attributes<'a> {
    /// The first of each name counts.
    fn take(&mut self, name: &str, value: &'a str) {
        let mut lower = [0u8; 12];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return;
        };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let place = match &*lower {
            b"href" => &mut self.href,
            b"src" | b"data" => &mut self.src,
            b"style" => &mut self.style,
            b"class" => &mut self.class,
            b"action" | b"formaction" => &mut self.action,
            b"type" => &mut self.kind,
            b"name" => &mut self.name,
            b"rel" => &mut self.rel,
            b"http-equiv" => &mut self.http_equiv,
            b"content" => &mut self.content,
            b"color" => &mut self.colour,
            b"bgcolor" => &mut self.bgcolor,
            b"background" => &mut self.background,
            b"width" => &mut self.width,
            b"height" => &mut self.height,
            b"hidden" => {
                self.hidden = true;
                return;
            }
            [b'o', b'n', rest @ ..] if rest.len() >= 3 && !value.is_empty() => {
                self.handler = true;
                return;
            }
            _ => return,
        };
        if place.is_empty() {
            *place = value;
        }
    }
}

/// What is inside of an element that holds no markup, up to its end tag.
pub(super) fn raw_text(element: Element, rest: &str) -> Option<&str> {
    let name: &[u8] = match element {
        Element::Script => b"script",
        Element::Style => b"style",
        Element::Title => b"title",
        _ => return None,
    };
    let octets = rest.as_bytes();
    let ends = |at: &usize| {
        let tail = &octets[*at + 1..];
        tail.first() == Some(&b'/')
            && tail.get(1..1 + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
    };
    let end = memchr_iter(b'<', octets).find(ends).unwrap_or(octets.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_browsers_do() {
        let rows = [
            ("<a href=x>", "x", 10),
            ("<A HREF = 'x>y' />", "x>y", 18),
            ("<a\nhref=\"x\"class=b>", "x", 19),
            ("<a =href=x>", "", 11),
            ("<a href=x href=y>", "x", 17),
            ("<a href=\"x", "x", 10),
            ("<a", "", 2),
            ("<a/href=x/>", "x/", 11),
        ];
        for (text, href, length) in rows {
            let (tag, used) = start(text);
            assert_eq!(
                (tag.attributes.href, used, tag.element),
                (href, length, Element::Anchor),
                "{text}"
            );
        }
        assert_eq!(end("</a  >x"), (Element::Anchor, 6));
        assert_eq!(raw_text(Element::Script, "a<b</SCRIPT>c"), Some("a<b"));
        assert_eq!(raw_text(Element::Span, "a"), None);
    }
}
