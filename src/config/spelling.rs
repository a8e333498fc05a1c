//! The nearest known name for a mistyped one.
//!
//! Decides how near is near enough to be worth suggesting: a third of the letters may differ, and
//! at least one. A suggestion that is merely the least bad would send people the wrong way.
//! Names are in lower case, so the case of the word does not count.
//! Distance is optimal string alignment: insert, delete, replace, swap two neighbours.

/// Longer words are no slip of a known name, and the distance costs their product.
const WORD_CHARS_MAX: usize = 64;

/// The nearest of the candidates, the first of several; none when all are too far away.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> =
        word.chars().take(WORD_CHARS_MAX + 1).map(|c| c.to_ascii_lowercase()).collect();
    if word.len() > WORD_CHARS_MAX {
        return None;
    }
    let slips_max = (word.len() / 3).max(1);
    candidates
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().collect();
            (distance(&word, &letters), candidate)
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Slips between two words. Three rows of the usual table are enough: a swap looks two rows back.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_back = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut slips =
                (previous[j] + 1).min(current[j - 1] + 1).min(previous[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                slips = slips.min(two_back[j - 2] + 1);
            }
            current[j] = slips;
        }
        two_back = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let names = ["tls", "auth", "address", "message_bytes_max", "messages_max"];
        let rows = [
            ("tsl", Some("tls")),
            ("adress", Some("address")),
            ("auth", Some("auth")),
            ("AUTH", Some("auth")),
            ("message_byte_max", Some("message_bytes_max")),
            ("message_max", Some("messages_max")),
            ("port", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, names.into_iter()), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), names.into_iter()), None);
    }
}
