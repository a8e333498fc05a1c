//! How the numbers of a report are written for a person: three digits that count, and a unit.
//!
//! Everything that shows a number goes through here, so that the terminal, the page and the
//! comparison say the same of the same value. Never rounds what is stored, only what is shown. The
//! other half is what is safe to show: a name or a refusal may hold what moves a terminal's cursor.

const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A value of which no run knows anything.
pub const ABSENT: &str = "-";

/// `21,345`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// At least three digits that count, at most three after the point: `0.031`, `9.75`, `21.3`,
/// `1,234`.
pub fn number(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if size < 0.0995 => format!("{sign}{size:.3}"),
        _ if size < 9.995 => format!("{sign}{size:.2}"),
        _ if size < 99.95 => format!("{sign}{size:.1}"),
        _ => format!("{sign}{}", count(size.round() as u64)),
    }
}

/// A number of large things: `950`, `36.0 K`, `76.8 M`.
pub fn large(value: f64) -> String {
    match value {
        _ if value < 999.5 => format!("{value:.0}"),
        _ if value < 999_500.0 => format!("{} K", number(value / 1e3)),
        _ if value < 999_500_000.0 => format!("{} M", number(value / 1e6)),
        _ => format!("{} G", number(value / 1e9)),
    }
}

/// `512 B`, `1.50 KiB`, `310 MiB`.
pub fn bytes(value: f64) -> String {
    let (size, unit) = binary_unit(value);
    match unit {
        "B" => format!("{value:.0} B"),
        _ => format!("{} {unit}", number(value / size)),
    }
}

/// The largest binary unit of which `value` has at least one, and its size.
pub fn binary_unit(value: f64) -> (f64, &'static str) {
    let mut size = 1.0;
    let mut unit = 0;
    while value.abs() >= size * 1024.0 && unit + 1 < BINARY.len() {
        size *= 1024.0;
        unit += 1;
    }
    (size, BINARY[unit])
}

/// Milliseconds in the unit that suits them: `50 us`, `1 ms`, `2 s`. For the marks of an axis.
pub fn time(ms: f64) -> String {
    let (value, unit) = match ms {
        _ if ms < 0.9995 => (ms * 1e3, "\u{b5}s"),
        _ if ms < 999.5 => (ms, "ms"),
        _ => (ms / 1e3, "s"),
    };
    format!("{} {unit}", mark(value))
}

/// A round number of an axis, without zeros that say nothing: `0.25`, `5`, `15,000`.
pub fn mark(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return number(value);
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// `21.3x`.
pub fn ratio(value: f64) -> String {
    format!("{}x", number(value))
}

/// One or many of a thing: `1 round`, `3 rounds`.
pub fn many(value: u64, one: &str) -> String {
    format!("{} {one}{}", count(value), if value == 1 { "" } else { "s" })
}

/// Without anything that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let table = [
            (0.0, "0"),
            (0.0312, "0.031"),
            (0.0999, "0.10"),
            (0.5, "0.50"),
            (9.754, "9.75"),
            (9.996, "10.0"),
            (21.34, "21.3"),
            (99.96, "100"),
            (1234.4, "1,234"),
            (76_812_345.0, "76,812,345"),
            (-3.0, "-3.00"),
        ];
        for (value, text) in table {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn units_suit_the_value() {
        assert_eq!((large(950.0), large(36_000.0)), ("950".into(), "36.0 K".into()));
        assert_eq!((large(76_812_345.0), large(999_600.0)), ("76.8 M".into(), "1.00 M".into()));
        assert_eq!((bytes(0.0), bytes(512.0)), ("0 B".into(), "512 B".into()));
        assert_eq!(
            (bytes(1536.0), bytes(310.0 * 1048576.0)),
            ("1.50 KiB".into(), "310 MiB".into())
        );
        assert_eq!(
            (time(0.05), time(1.0), time(2000.0)),
            ("50 µs".into(), "1 ms".into(), "2 s".into())
        );
        assert_eq!(
            (mark(0.25), mark(5.0), mark(15_000.0)),
            ("0.25".into(), "5".into(), "15,000".into())
        );
        assert_eq!(
            (count(999), count(1_000), count(u64::MAX)),
            ("999".into(), "1,000".into(), "18,446,744,073,709,551,615".into())
        );
        assert_eq!((many(1, "round"), many(2, "round")), ("1 round".into(), "2 rounds".into()));
    }

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(printable("a\x1b[2Jb\r\nc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }
}
