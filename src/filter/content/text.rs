//! Text as a reader sees it: what is invisible is taken out and counted.
//!
//! Zero-width letters, soft hyphens and controls split words for filters and not for readers.
//! Blank letters become spaces, mathematical letters the plain ones that they look like; case and
//! other letters stay. One pass, ASCII in bulk.

use super::sign::{Facts, Sign};

/// What was met in the texts of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    pub zero_width: u32,
    pub soft_hyphens: u32,
    pub direction_turns: u32,
    pub nuls: u32,
    pub mixed_scripts: u32,
    pub styled_letters: u32,
}

impl Oddities {
    pub(super) fn tell(&self, facts: &mut Facts) {
        for (sign, count) in [
            (Sign::ZeroWidthLetters, self.zero_width),
            (Sign::SoftHyphens, self.soft_hyphens),
            (Sign::DirectionTurned, self.direction_turns),
            (Sign::NulInText, self.nuls),
            (Sign::MixedScripts, self.mixed_scripts),
            (Sign::StyledLetters, self.styled_letters),
        ] {
            if count > 0 {
                facts.add_many(sign, count, &format!("{count} times"));
            }
        }
    }
}

/// Appends `text` to `output`.
pub(super) fn push(output: &mut String, text: &str, oddities: &mut Oddities) {
    let octets = text.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        let plain = |octet: &u8| (0x20..0x7f).contains(octet) || *octet == b'\n';
        let end = octets[at..].iter().position(|octet| !plain(octet));
        let end = end.map_or(octets.len(), |length| at + length);
        if end > at && octets[at].is_ascii_alphabetic() && ends_in_lookalike(output) {
            oddities.mixed_scripts += 1;
        }
        // Both ends lie beside ASCII or the beginning of a letter.
        output.push_str(&text[at..end]);
        let Some(letter) = text[end..].chars().next() else {
            return;
        };
        push_letter(output, letter, oddities);
        at = end + letter.len_utf8();
    }
}

/// Greek and Cyrillic have letters that look like Latin ones.
fn ends_in_lookalike(output: &str) -> bool {
    output.chars().next_back().is_some_and(|last| ('\u{370}'..='\u{52f}').contains(&last))
}

/// Appends one letter that is not plain ASCII.
pub(super) fn push_letter(output: &mut String, letter: char, oddities: &mut Oddities) {
    match letter {
        '\r' => {}
        '\0' => oddities.nuls += 1,
        '\u{ad}' => oddities.soft_hyphens += 1,
        '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{180e}' | '\u{34f}' => {
            // Joiners belong to scripts that join (and to emoji); between Latin letters they hide.
            let joins = matches!(letter, '\u{200c}' | '\u{200d}');
            let after_latin =
                output.chars().next_back().is_some_and(|last| last.is_ascii_alphanumeric());
            if !joins || after_latin {
                oddities.zero_width += 1;
            }
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => oddities.direction_turns += 1,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            output.push(' ')
        }
        '\u{1d400}'..='\u{1d6a3}' => {
            oddities.styled_letters += 1;
            let index = (letter as u32 - 0x1d400) % 52;
            let base = if index < 26 { b'A' as u32 + index } else { b'a' as u32 + index - 26 };
            output.extend(char::from_u32(base));
        }
        '\u{1d7ce}'..='\u{1d7ff}' => {
            oddities.styled_letters += 1;
            output.extend(char::from_u32('0' as u32 + (letter as u32 - 0x1d7ce) % 10));
        }
        '\u{370}'..='\u{52f}' => {
            if output.chars().next_back().is_some_and(|last| last.is_ascii_alphabetic()) {
                oddities.mixed_scripts += 1;
            }
            output.push(letter);
        }
        letter if letter.is_control() => output.push(' '),
        letter => output.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_invisible_goes_and_is_counted() {
        let rows = [
            ("pay\u{200b}pal", "paypal", "zero-width-letters"),
            ("pay\u{ad}pal", "paypal", "soft-hyphens"),
            ("a\u{202e}b", "ab", "direction-turned"),
            ("a\0b", "ab", "nul-in-text"),
            ("p\u{430}y", "p\u{430}y", "mixed-scripts"),
            ("\u{440}ay", "\u{440}ay", "mixed-scripts"),
            ("\u{1d400}\u{1d41a}\u{1d7ce}", "Aa0", "styled-letters"),
        ];
        for (input, text, name) in rows {
            let (mut output, mut oddities, mut facts) = Default::default();
            push(&mut output, input, &mut oddities);
            oddities.tell(&mut facts);
            assert_eq!(output, text);
            let names: Vec<_> = facts.list().iter().map(|fact| fact.sign.name()).collect();
            assert_eq!(names, [name]);
        }
    }

    #[test]
    fn ordinary_text_of_many_scripts_has_no_oddities() {
        for text in ["a\nb c", "Grüße", "Привет мир", "καλημέρα", "日本語", "नमस्ते", "👩\u{200d}💻"]
        {
            let (mut output, mut oddities) = (String::new(), Oddities::default());
            push(&mut output, text, &mut oddities);
            assert_eq!(oddities, Oddities::default(), "{text}");
        }
        let (mut output, mut oddities) = (String::new(), Oddities::default());
        push(&mut output, "a\r\nb\u{a0}c\u{7}", &mut oddities);
        assert_eq!(output, "a\nb c ");
    }
}
