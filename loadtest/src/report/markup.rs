//! Elements of a page, which cannot hold a word that was not escaped.
//!
//! What is written is both HTML 5 and well-formed XML, so that any parser can read a page: elements
//! without an end in HTML close themselves, all others are closed in full. Text comes in as it is
//! and leaves escaped; characters that XML does not allow become U+FFFD (XML 1.0 2.2).

use std::fmt::{Display, Write};

/// Those that HTML does not let have an end; `svg` ones would be closed either way.
const VOID: [&str; 4] = ["meta", "br", "hr", "col"];

pub struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

pub fn element(name: &'static str) -> Element {
    Element { name, attributes: String::new(), content: String::new() }
}

/// One that is known by what it is to the style.
pub fn classed(name: &'static str, class: &str) -> Element {
    element(name).attribute("class", class)
}

impl Element {
    pub fn attribute(mut self, name: &'static str, value: impl Display) -> Element {
        let value = escape(&value.to_string());
        write!(self.attributes, " {name}=\"{value}\"").expect("a string takes all");
        self
    }

    pub fn text(mut self, text: &str) -> Element {
        self.content.push_str(&escape(text));
        self
    }

    pub fn child(mut self, child: Element) -> Element {
        self.content.push_str(&child.print());
        self
    }

    pub fn children(self, children: impl IntoIterator<Item = Element>) -> Element {
        children.into_iter().fold(self, Element::child)
    }

    /// A style sheet of our own: neither parser expects escapes in it, and it needs none.
    pub fn style(mut self, sheet: &'static str) -> Element {
        assert!(!sheet.contains(['<', '&']), "a style sheet is neither markup nor an entity");
        self.content.push_str(sheet);
        self
    }

    pub fn print(self) -> String {
        let Element { name, attributes, content } = self;
        if VOID.contains(&name) {
            return format!("<{name}{attributes}/>");
        }
        format!("<{name}{attributes}>{content}</{name}>")
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(char),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if char.is_control() => out.push('\u{fffd}'),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let page = element("p")
            .attribute("title", "\"><script>&'")
            .text("<b>&\"\u{0}\u{1b}\u{ffff}")
            .child(element("br"))
            .child(element("i"));
        assert_eq!(
            page.print(),
            "<p title=\"&quot;&gt;&lt;script&gt;&amp;&#39;\">&lt;b&gt;&amp;&quot;\u{fffd}\u{fffd}\
             \u{fffd}<br/><i></i></p>"
        );
    }
}
