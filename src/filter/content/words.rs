//! Words of a text in lower case, one after the other, without a list of them.
//!
//! A word is a run of letters and digits of any script, with apostrophes, hyphens and dots kept out:
//! classifiers hash words, and `don't` is two that stand together anyway. Very long runs (base64 in
//! text, languages without spaces) are cut into pieces, so that each word has a bound.

/// Octets of one word.
const WORD_BYTES_MAX: usize = 40;

/// Calls `each` with every word.
pub(super) fn each(text: &str, word: &mut String, each: &mut impl FnMut(&str)) {
    word.clear();
    let octets = text.as_bytes();
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        if octet.is_ascii() {
            at += 1;
            if octet.is_ascii_alphanumeric() {
                word.push(char::from(octet.to_ascii_lowercase()));
            } else {
                flush(word, each);
            }
        } else {
            let Some(letter) = text[at..].chars().next() else {
                break;
            };
            at += letter.len_utf8();
            if letter.is_alphanumeric() {
                word.extend(letter.to_lowercase());
            } else {
                flush(word, each);
            }
        }
        if word.len() >= WORD_BYTES_MAX {
            flush(word, each);
        }
    }
    flush(word, each);
}

fn flush(word: &mut String, each: &mut impl FnMut(&str)) {
    if !word.is_empty() {
        each(word);
        word.clear();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let rows: &[(&str, &[&str])] = &[
            ("Hello, World 24!", &["hello", "world", "24"]),
            ("Ünïted ПРИВЕТ", &["ünïted", "привет"]),
            ("don't", &["don", "t"]),
            ("", &[]),
        ];
        for (text, expected) in rows {
            let mut words = Vec::new();
            super::each(text, &mut String::new(), &mut |word: &str| words.push(word.to_owned()));
            assert_eq!(words, *expected);
        }
        let mut lengths = Vec::new();
        let long = "日本".repeat(100);
        super::each(&long, &mut String::new(), &mut |word: &str| lengths.push(word.len()));
        assert!(lengths.iter().all(|length| *length <= super::WORD_BYTES_MAX + 4));
        assert_eq!(lengths.iter().sum::<usize>(), long.len());
    }
}
