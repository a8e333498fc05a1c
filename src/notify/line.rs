//! Lines that the words of others cannot break: cleaned, folded, never too long.
//!
//! What a remote server, a sender or a client wrote goes into a notification only through here.
//! Control characters become `?`, so no value can begin a line, a field or a MIME part of its
//! own; no line that is made here is longer than RFC 5322 2.1.1 allows. Folding follows
//! RFC 5322 2.2.3: unfolded, a value is what it was. Never decides what is said.

/// Octets of a line without its CRLF (RFC 5322 2.1.1).
pub const LINE_OCTETS_MAX: usize = 998;

/// Octets of one unbroken word; leaves room for an indent or a field name.
pub const WORD_OCTETS_MAX: usize = 900;

/// Columns that lines are wrapped at (RFC 5322 2.1.1: should be at most 78).
const COLUMNS: usize = 76;

/// Without what could end a line, move the cursor, or make text read in another order.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            // Some readers take the Unicode separators for line ends.
            '\u{2028}' | '\u{2029}' => '?',
            // Overrides of the writing direction would let a reply disguise an address.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// At most `octets_max` octets, whole characters, and a mark where something is missing.
pub fn cut(text: &str, octets_max: usize) -> String {
    if text.len() <= octets_max {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(octets_max)])
}

/// A header field, folded at spaces.
pub fn push_field(out: &mut String, name: &str, value: &str) {
    assert!(name.len() < LINE_OCTETS_MAX - WORD_OCTETS_MAX - 2, "field names are our own, short");
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    let mut begun = false;
    for word in clean(value).trim().split(' ') {
        if word.is_empty() {
            // One of several spaces: kept for the sake of quoted local parts, within the line.
            if column < WORD_OCTETS_MAX {
                out.push(' ');
                column += 1;
            }
            continue;
        }
        for piece in pieces(word) {
            let fits = column + 1 + piece.len() <= COLUMNS;
            if begun && !fits {
                out.push_str("\r\n");
                column = 0;
            }
            out.push(' ');
            out.push_str(piece);
            column += 1 + piece.len();
            begun = true;
        }
    }
    out.push_str("\r\n");
}

/// Words of ours, wrapped; runs of white space count as one space.
pub fn push_paragraph(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in clean(text).split_whitespace().flat_map(pieces) {
        if column > 0 && column + 1 + word.chars().count() > COLUMNS {
            out.push_str("\r\n");
            column = 0;
        }
        let before = if column == 0 { indent } else { " " };
        out.push_str(before);
        out.push_str(word);
        column += before.len() + word.chars().count();
    }
    out.push_str("\r\n");
}

/// One line of somebody else, as it is; broken only where it would be too long for mail.
pub fn push_verbatim(out: &mut String, indent: &str, line: &str) {
    for piece in pieces(clean(line).trim_end()) {
        out.push_str(indent);
        out.push_str(piece);
        out.push_str("\r\n");
    }
}

/// The text in pieces of at most [`WORD_OCTETS_MAX`] octets, whole characters each.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(WORD_OCTETS_MAX));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: &str) -> String {
        let mut out = String::new();
        push_field(&mut out, "Name", value);
        assert!(out.ends_with("\r\n"));
        assert!(out.split("\r\n").all(|line| line.len() <= LINE_OCTETS_MAX), "{out}");
        out
    }

    fn unfolded(value: &str) -> String {
        field(value).replace("\r\n ", " ").trim_start_matches("Name:").trim().to_owned()
    }

    #[test]
    fn a_folded_field_unfolds_to_what_it_was() {
        let long = "word ".repeat(60);
        for value in ["", "a", "two words", "\"a  b\"@x.test", long.trim()] {
            assert_eq!(unfolded(value), value.trim_end());
        }
        assert!(field(&long).split("\r\n").all(|line| line.len() <= COLUMNS));
    }

    #[test]
    fn no_value_begins_a_line_of_its_own() {
        let evil = "a\r\nBcc: x\r\n\r\nb\u{85}c\u{2028}d\0e\u{202e}f\tg\u{7f}";
        assert_eq!(unfolded(evil), "a??Bcc: x????b?c?d?e?f g?");
    }

    #[test]
    fn no_line_is_too_long() {
        for value in ["x".repeat(5_000), " ".repeat(5_000) + "x", "ü".repeat(3_000)] {
            field(&value);
        }
        field(&format!("a{}{}", " ".repeat(5_000), "x".repeat(900)));
        let mut out = String::new();
        push_verbatim(&mut out, "      ", &"ü".repeat(3_000));
        push_paragraph(&mut out, "  ", &"y".repeat(3_000));
        assert!(out.split("\r\n").all(|line| line.len() <= LINE_OCTETS_MAX));
    }

    #[test]
    fn a_cut_is_marked_and_leaves_whole_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc...");
        assert_eq!(cut("aüb", 2), "a...");
    }
}
