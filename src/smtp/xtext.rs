//! The encodings of parameter values: xtext, and the Unicode form of it in ORCPT.
//!
//! Decides whether a value is well formed and what it stands for. What it stands for is printed
//! into delivery status notices one day, so a value that would decode to anything that can end
//! a line is refused here, on the way in. Values are kept and passed on as they came; this file
//! never re-encodes one.
//!
//! RFC 3461 4 (xtext), 4.2 (ORCPT), 4.4 (ENVID), RFC 6533 3 (the utf-8 address type).

/// RFC 3461 4.2: `type;address`. It is printed decoded into a notice, so what it decodes to
/// must not be able to end a line there.
pub fn is_original_recipient(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    if kind.is_empty() || !kind.bytes().all(is_atom) {
        return false;
    }
    if kind.eq_ignore_ascii_case("utf-8") { is_unicode(address) } else { is_printable(address) }
}

/// RFC 6533 3: utf-8-addr-xtext or utf-8-addr-unitext, where `\x{E9}` stands for a character.
fn is_unicode(text: &str) -> bool {
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '\\' {
            let Some((digits, after)) =
                rest.strip_prefix("\\x{").and_then(|code| code.split_once('}'))
            else {
                return false;
            };
            let is_hex = digits.len() <= 6 && digits.bytes().all(|d| d.is_ascii_hexdigit());
            let named = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            if !is_hex || named.is_none_or(char::is_control) {
                return false;
            }
            rest = after;
        } else if matches!(letter, '+' | '=') || letter.is_control() {
            return false;
        } else {
            rest = &rest[letter.len_utf8()..];
        }
    }
    !text.is_empty()
}

/// RFC 3461 4.2, 4.4: not empty, and made of printable ASCII before it was encoded.
pub fn is_printable(text: &str) -> bool {
    let decoded = decode(text);
    decoded.is_some_and(|octets| {
        !octets.is_empty() && octets.iter().all(|octet| matches!(octet, b' '..=b'~'))
    })
}

/// What an xtext stands for (RFC 3461 4): `+2B` is a plus. Hexadecimal digits may be in lower
/// case, which the grammar forbids and clients write. `None` when it is not xtext.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => {
                let high = char::from(octets.next()?).to_digit(16)?;
                let low = char::from(octets.next()?).to_digit(16)?;
                decoded.push((high << 4 | low) as u8);
            }
            b'=' => return None,
            b'!'..=b'~' => decoded.push(octet),
            _ => return None,
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_and_two_digits_are_one_octet_and_nothing_else_is_special() {
        assert_eq!(decode("joe+2Bx+3d+20y"), Some(b"joe+x= y".to_vec()));
        assert_eq!(decode(""), Some(Vec::new()));
        for wrong in ["a=b", "a b", "a+", "a+2", "a+2G", "\u{e9}"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
