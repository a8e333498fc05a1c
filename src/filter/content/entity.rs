//! Character references of HTML to letters.
//!
//! Numbers in full, and the names that mail holds: the Latin ones of HTML 4 and those that hide or
//! space text. A name that is not known stays as it was written, which is what browsers do.

use std::borrow::Cow;

/// A reference at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) letter: char,
    /// Octets with the `&`, and with the `;` where there is one.
    pub(super) length: usize,
    pub(super) numeric: bool,
}

/// `text` begins with `&`.
pub(super) fn read(text: &str) -> Option<Reference> {
    const NAME_BYTES_MAX: usize = 10;
    let rest = text.as_bytes().get(1..)?;
    if rest.first() == Some(&b'#') {
        return numeric(&rest[1..]);
    }
    let window = &rest[..rest.len().min(NAME_BYTES_MAX)];
    let length = window.iter().take_while(|octet| octet.is_ascii_alphanumeric()).count();
    let name = std::str::from_utf8(&window[..length]).ok()?;
    let index = NAMES.binary_search_by_key(&name, |(name, _)| name).ok()?;
    let closed = rest.get(length) == Some(&b';');
    // Without `;` only what browsers take: `&amp`, not the `&copy` of `?a=1&copying=2`.
    if !closed && !matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp") {
        return None;
    }
    let length = 1 + length + usize::from(closed);
    Some(Reference { letter: NAMES[index].1, length, numeric: false })
}

/// After `&#`.
fn numeric(rest: &[u8]) -> Option<Reference> {
    const DIGITS_MAX: usize = 8;
    let (radix, skipped) = match rest.first()? {
        b'x' | b'X' => (16, 1),
        _ => (10, 0),
    };
    let digits = rest[skipped..].iter().map_while(|octet| char::from(*octet).to_digit(radix));
    let (mut value, mut count) = (0u32, 0);
    for digit in digits.take(DIGITS_MAX) {
        (value, count) = (value.saturating_mul(radix).saturating_add(digit), count + 1);
    }
    if count == 0 {
        return None;
    }
    let closed = rest.get(skipped + count) == Some(&b';');
    let length = 2 + skipped + count + usize::from(closed);
    let letter = char::from_u32(value).filter(|letter| *letter != '\0').unwrap_or('\u{fffd}');
    Some(Reference { letter, length, numeric: true })
}

/// A whole value without references.
pub(super) fn unescaped(value: &str) -> Cow<'_, str> {
    let Some(first) = value.find('&') else {
        return Cow::Borrowed(value);
    };
    let mut output = String::with_capacity(value.len());
    output.push_str(&value[..first]);
    let mut rest = &value[first..];
    while let Some(at) = rest.find('&') {
        output.push_str(&rest[..at]);
        rest = &rest[at..];
        let (letter, length) = read(rest).map_or(('&', 1), |found| (found.letter, found.length));
        output.push(letter);
        rest = &rest[length..];
    }
    output.push_str(rest);
    Cow::Owned(output)
}

/// Sorted.
#[rustfmt::skip]
const NAMES: &[(&str, char)] = &[
    ("AElig", 'Æ'), ("Aacute", 'Á'), ("Acirc", 'Â'), ("Agrave", 'À'), ("Aring", 'Å'),
    ("Atilde", 'Ã'), ("Auml", 'Ä'), ("Ccedil", 'Ç'), ("ETH", 'Ð'), ("Eacute", 'É'), ("Ecirc", 'Ê'),
    ("Egrave", 'È'), ("Euml", 'Ë'), ("Iacute", 'Í'), ("Icirc", 'Î'), ("Igrave", 'Ì'), ("Iuml", 'Ï'),
    ("Ntilde", 'Ñ'), ("OElig", 'Œ'), ("Oacute", 'Ó'), ("Ocirc", 'Ô'), ("Ograve", 'Ò'),
    ("Oslash", 'Ø'), ("Otilde", 'Õ'), ("Ouml", 'Ö'), ("Scaron", 'Š'), ("THORN", 'Þ'),
    ("Uacute", 'Ú'), ("Ucirc", 'Û'), ("Ugrave", 'Ù'), ("Uuml", 'Ü'), ("Yacute", 'Ý'), ("Yuml", 'Ÿ'),
    ("aacute", 'á'), ("acirc", 'â'), ("acute", '´'), ("aelig", 'æ'), ("agrave", 'à'), ("amp", '&'),
    ("apos", '\''), ("aring", 'å'), ("atilde", 'ã'), ("auml", 'ä'), ("bdquo", '„'),
    ("brvbar", '¦'), ("bull", '•'), ("ccedil", 'ç'), ("cedil", '¸'), ("cent", '¢'), ("check", '✓'),
    ("circ", 'ˆ'), ("colon", ':'), ("comma", ','), ("commat", '@'), ("copy", '©'), ("curren", '¤'),
    ("dagger", '†'), ("darr", '↓'), ("deg", '°'), ("divide", '÷'), ("dollar", '$'), ("eacute", 'é'),
    ("ecirc", 'ê'), ("egrave", 'è'), ("emsp", '\u{2003}'), ("ensp", '\u{2002}'), ("equals", '='),
    ("eth", 'ð'), ("euml", 'ë'), ("euro", '€'), ("excl", '!'), ("frac12", '½'), ("frac14", '¼'),
    ("frac34", '¾'), ("gt", '>'), ("hearts", '♥'), ("hellip", '…'), ("hyphen", '‐'), ("iacute", 'í'),
    ("icirc", 'î'), ("iexcl", '¡'), ("igrave", 'ì'), ("iquest", '¿'), ("iuml", 'ï'), ("laquo", '«'),
    ("larr", '←'), ("ldquo", '“'), ("le", '≤'), ("lowbar", '_'), ("lpar", '('), ("lrm", '\u{200e}'),
    ("lsaquo", '‹'), ("lsquo", '‘'), ("lt", '<'), ("macr", '¯'), ("mdash", '—'), ("micro", 'µ'),
    ("middot", '·'), ("minus", '−'), ("nbsp", '\u{a0}'), ("ndash", '–'), ("ne", '≠'), ("not", '¬'),
    ("ntilde", 'ñ'), ("num", '#'), ("oacute", 'ó'), ("ocirc", 'ô'), ("oelig", 'œ'), ("ograve", 'ò'),
    ("ordf", 'ª'), ("ordm", 'º'), ("oslash", 'ø'), ("otilde", 'õ'), ("ouml", 'ö'), ("para", '¶'),
    ("percnt", '%'), ("period", '.'), ("permil", '‰'), ("plus", '+'), ("plusmn", '±'), ("pound", '£'),
    ("quest", '?'), ("quot", '"'), ("raquo", '»'), ("rarr", '→'), ("rdquo", '”'), ("reg", '®'),
    ("rlm", '\u{200f}'), ("rpar", ')'), ("rsaquo", '›'), ("rsquo", '’'), ("sbquo", '‚'),
    ("scaron", 'š'), ("sect", '§'), ("semi", ';'), ("shy", '\u{ad}'), ("sol", '/'), ("sup1", '¹'),
    ("sup2", '²'), ("sup3", '³'), ("szlig", 'ß'), ("thinsp", '\u{2009}'), ("thorn", 'þ'),
    ("tilde", '˜'), ("times", '×'), ("trade", '™'), ("uacute", 'ú'), ("uarr", '↑'), ("ucirc", 'û'),
    ("ugrave", 'ù'), ("uml", '¨'), ("uuml", 'ü'), ("yacute", 'ý'), ("yen", '¥'), ("yuml", 'ÿ'),
    ("zwj", '\u{200d}'), ("zwnj", '\u{200c}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_what_is_none_stays() {
        let rows = [
            ("a&amp;b", "a&b"),
            ("&lt;&#65;&#x42;&#67", "<ABC"),
            ("?a=1&copying=2&amp=3", "?a=1&copying=2&=3"),
            ("&nosuch; & &#; &#x;", "&nosuch; & &#; &#x;"),
            ("&#99999999999;&#0;", "\u{fffd}999;\u{fffd}"),
            ("plain", "plain"),
            ("&", "&"),
        ];
        for (input, text) in rows {
            assert_eq!(unescaped(input), text, "{input}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| *name));
    }
}
