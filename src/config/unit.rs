//! Sizes, durations and rates as people write them: `50MiB`, `250ms`, `6h`, `100/min`.
//!
//! Decides which suffixes exist and how a value is shown again: with the largest unit that divides
//! it, so that what `baton config explain` shows can be pasted back.
//! Sizes are powers of 1024 only. `MB` is refused rather than guessed at, because half of its
//! readers take it for 1000000 and the other half for 1048576.
//! A duration always names its unit; a bare `5` is refused, because seconds and minutes are both
//! plausible.
//! A rate keeps the interval it is written with: `60/min` lets sixty go at once, `1/s` does not.

use std::fmt;
use std::time::Duration;

use super::problem::shown;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
pub const TIB: u64 = 1 << 40;

const SIZES: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// In milliseconds, which is also the resolution of every duration knob.
const PERIODS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

pub const SIZE_ALLOWED: &str = "a number of bytes, or text with a unit: B, KiB, MiB, GiB, TiB";
pub const PERIOD_ALLOWED: &str = "text with a unit: ms, s, m, h, d";

const INTERVALS: [(&str, Duration); 3] = [("s", seconds(1)), ("min", minutes(1)), ("h", hours(1))];

/// Messages of one rate; with "/s" far more than one process sends.
const RATE_MESSAGES_MAX: u64 = 1_000_000;

/// Messages per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1..=1,000,000.
    pub messages: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

/// As it is written in the file.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = INTERVALS.iter().find(|(_, per)| *per == self.per);
        let (name, _) = named.unwrap_or(&INTERVALS[0]);
        write!(f, "{}/{name}", self.messages)
    }
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

pub const fn days(count: u64) -> Duration {
    hours(count * 24)
}

/// Bytes; a number without a unit counts bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, suffix) = split_number(text)?;
    if suffix.is_empty() {
        return Ok(number);
    }
    scaled(number, suffix, &SIZES)
}

pub fn parse_period(text: &str) -> Result<Duration, String> {
    let (number, suffix) = split_number(text)?;
    if suffix.is_empty() {
        return Err("has no unit".to_owned());
    }
    scaled(number, suffix, &PERIODS).map(Duration::from_millis)
}

pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let (messages, rest) = split_number(text).map_err(|says| format!("it {says}"))?;
    let Some(name) = rest.strip_prefix('/') else {
        return Err("it has no interval".to_owned());
    };
    let Some((_, per)) = INTERVALS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("it has the unknown interval `{}`", shown(name)));
    };
    match u32::try_from(messages) {
        Ok(messages) if (1..=RATE_MESSAGES_MAX).contains(&u64::from(messages)) => {
            Ok(Rate { messages, per: *per })
        }
        _ => Err(format!("its number is not 1 to {RATE_MESSAGES_MAX}")),
    }
}

pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

pub fn show_period(period: Duration) -> String {
    show(u64::try_from(period.as_millis()).unwrap_or(u64::MAX), &PERIODS)
}

fn split_number(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if digits.is_empty() {
        return Err("does not begin with a whole number".to_owned());
    }
    let number = digits.parse().map_err(|_| "is too large a number".to_owned())?;
    Ok((number, suffix))
}

fn scaled(number: u64, suffix: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == suffix) else {
        return Err(format!("has the unknown unit `{}`", shown(suffix)));
    };
    number.checked_mul(*scale).ok_or_else(|| "is too large a number".to_owned())
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let smallest = units[units.len() - 1];
    let (name, scale) = match units.iter().find(|(_, scale)| value.is_multiple_of(*scale)) {
        Some(largest) if value > 0 => *largest,
        _ => smallest,
    };
    format!("{}{name}", value / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let rows = [
            ("0", Ok(0), "0B"),
            ("1000", Ok(1000), "1000B"),
            ("1024", Ok(1024), "1KiB"),
            ("64KiB", Ok(65_536), "64KiB"),
            ("50MiB", Ok(52_428_800), "50MiB"),
            ("2048MiB", Ok(2 << 30), "2GiB"),
            ("16TiB", Ok(16 << 40), "16TiB"),
            ("17B", Ok(17), "17B"),
            // refused
            ("", Err("does not begin"), ""),
            ("MiB", Err("does not begin"), ""),
            ("-1", Err("does not begin"), ""),
            ("1.5GiB", Err("unit `.5GiB`"), ""),
            ("50MB", Err("unit `MB`"), ""),
            ("50 MiB", Err("unit ` MiB`"), ""),
            ("99999999999999999999", Err("too large"), ""),
            ("99999999999TiB", Err("too large"), ""),
        ];
        for (text, expected, shown) in rows {
            match (parse_size(text), expected) {
                (Ok(bytes), Ok(expected)) => {
                    assert_eq!(bytes, expected, "{text}");
                    assert_eq!(show_size(bytes), shown, "{text}");
                }
                (Err(says), Err(expected)) => assert!(says.contains(expected), "{text}: {says}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn periods() {
        let rows = [
            ("0s", Ok(Duration::ZERO), "0ms"),
            ("250ms", Ok(Duration::from_millis(250)), "250ms"),
            ("30s", Ok(seconds(30)), "30s"),
            ("60s", Ok(minutes(1)), "1m"),
            ("90m", Ok(minutes(90)), "90m"),
            ("6h", Ok(hours(6)), "6h"),
            ("24h", Ok(days(1)), "1d"),
            // refused
            ("5", Err("no unit"), ""),
            ("5 m", Err("unit ` m`"), ""),
            ("5min", Err("unit `min`"), ""),
            ("1h30m", Err("unit `h30m`"), ""),
            ("s", Err("does not begin"), ""),
            ("18446744073709551615d", Err("too large"), ""),
        ];
        for (text, expected, shown) in rows {
            match (parse_period(text), expected) {
                (Ok(period), Ok(expected)) => {
                    assert_eq!(period, expected, "{text}");
                    assert_eq!(show_period(period), shown, "{text}");
                }
                (Err(says), Err(expected)) => assert!(says.contains(expected), "{text}: {says}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn rates() {
        let rows = [
            ("1/s", Ok((1, seconds(1)))),
            ("100/min", Ok((100, minutes(1)))),
            ("1000000/h", Ok((1_000_000, hours(1)))),
            // refused
            ("", Err("does not begin")),
            ("/s", Err("does not begin")),
            ("100", Err("no interval")),
            ("100 /s", Err("no interval")),
            ("100/", Err("unknown interval ``")),
            ("100/m", Err("unknown interval `m`")),
            ("100/minute", Err("unknown interval `minute`")),
            ("0/s", Err("not 1 to 1000000")),
            ("1000001/s", Err("not 1 to 1000000")),
            ("99999999999999999999/s", Err("too large")),
        ];
        for (text, expected) in rows {
            match (parse_rate(text), expected) {
                (Ok(rate), Ok((messages, per))) => {
                    assert_eq!(rate, Rate { messages, per }, "{text}");
                    assert_eq!(rate.to_string(), text);
                }
                (Err(says), Err(expected)) => assert!(says.contains(expected), "{text}: {says}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
