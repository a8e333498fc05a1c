//! Addresses of header fields with their display names.
//!
//! RFC 5322 3.4 with its obsolete forms, read forgivingly: rules compare what a reader sees with
//! what the address is, and forgers write lists that no grammar takes. One pass, no recursion.

use super::header::decoded_words;
use super::sign::Facts;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Decoded, without quotes; empty where there is none.
    pub name: Box<str>,
    /// As written, without angle brackets; empty where nothing looks like an address.
    pub address: Box<str>,
}

impl Mailbox {
    /// What follows the last `@`, in lower case; empty without one.
    pub fn domain(&self) -> String {
        let domain = self.address.rsplit_once('@').map_or("", |(_, domain)| domain);
        domain.trim_end_matches('.').to_lowercase()
    }
}

/// The addresses of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailboxes {
    /// The first ones.
    pub list: Vec<Mailbox>,
    /// All of them.
    pub count: u32,
}

/// Mailboxes kept of one field.
const MAILBOXES_MAX: usize = 20;

/// The state between two commas.
#[derive(Default)]
struct Draft {
    words: String,
    address: String,
    angled: bool,
}

/// `value` is unfolded and not decoded.
pub(super) fn read(value: &str, into: &mut Mailboxes, facts: &mut Facts) {
    let mut draft = Draft::default();
    let (mut quoted, mut comments, mut inside) = (false, 0u32, false);
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted || comments > 0 => {
                let escaped = letters.next().unwrap_or('\\');
                if quoted {
                    draft.words.push(escaped);
                }
            }
            '"' if comments == 0 && !inside => quoted = !quoted,
            _ if quoted => draft.words.push(letter),
            '(' => comments = comments.saturating_add(1),
            ')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            '<' => (inside, draft.angled) = (true, true),
            '>' => inside = false,
            ',' | ';' if !inside => std::mem::take(&mut draft).keep(into, facts),
            // The name of a group (RFC 5322 3.4) names nobody.
            ':' if !inside => draft.words.clear(),
            _ if inside => draft.address.push(letter),
            _ => draft.words.push(letter),
        }
    }
    draft.keep(into, facts);
}

impl Draft {
    fn keep(self, into: &mut Mailboxes, facts: &mut Facts) {
        let words = self.words.trim();
        if !self.angled && !words.contains('@') {
            // Words without an address are told by the caller, who sees that nothing came out.
            return;
        }
        into.count = into.count.saturating_add(1);
        if into.list.len() == MAILBOXES_MAX {
            return;
        }
        let mailbox = if self.angled {
            let name = decoded_words(words, facts);
            Mailbox { name: name.trim().into(), address: self.address.trim().into() }
        } else {
            Mailbox { name: "".into(), address: words.into() }
        };
        into.list.push(mailbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        let rows: &[(&str, &[(&str, &str)])] = &[
            ("joe@example.test", &[("", "joe@example.test")]),
            ("Joe Doe <joe@example.test>", &[("Joe Doe", "joe@example.test")]),
            ("\"Doe, \\\"Joe\\\"\" <joe@example.test>", &[("Doe, \"Joe\"", "joe@example.test")]),
            ("a@b.test, C <c@d.test>", &[("", "a@b.test"), ("C", "c@d.test")]),
            ("=?utf-8?q?J=C3=B6?= <j@example.test>", &[("Jö", "j@example.test")]),
            ("undisclosed-recipients:;", &[]),
            ("Team: a@b.test, c@d.test;", &[("", "a@b.test"), ("", "c@d.test")]),
            ("joe@example.test (Joe <x@y>)", &[("", "joe@example.test")]),
            ("support@bank.test <x@evil.test>", &[("support@bank.test", "x@evil.test")]),
            ("nobody", &[]),
            ("<>", &[("", "")]),
        ];
        for (value, expected) in rows {
            let mut found = Mailboxes::default();
            read(value, &mut found, &mut Facts::default());
            let list: Vec<_> = found.list.iter().map(|one| (&*one.name, &*one.address)).collect();
            assert_eq!(list, *expected, "{value}");
        }
    }

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut found = Mailboxes::default();
        read(&"a@b.test,".repeat(5_000), &mut found, &mut Facts::default());
        assert_eq!((found.count, found.list.len()), (5_000, MAILBOXES_MAX));
    }
}
