//! Two kinds of time, kept apart by type.
//!
//! [`Moment`] is monotonic and orders what happens inside one process: deadlines, delays.
//! [`Stamp`] is the wall clock and is what goes to disk and into headers: due times, expiry.
//! Both come from `World` only; nothing here reads a clock, so a simulator can own time.

use std::fmt;
use std::time::Duration;

/// Microseconds since the process (or the simulation) started; monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    pub const fn from_micros(micros: u64) -> Self {
        Moment(micros)
    }

    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The moment `wait` later; saturates, because "never" is a valid deadline.
    pub const fn after(self, wait: Duration) -> Self {
        Moment(self.0.saturating_add(wait.as_micros() as u64))
    }

    /// The moment `wait` earlier, or the first one.
    pub const fn before(self, wait: Duration) -> Self {
        Moment(self.0.saturating_sub(wait.as_micros() as u64))
    }

    /// Time passed since `earlier`; zero when `earlier` lies ahead.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since the Unix epoch, UTC; may step when the machine's clock is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u64);

impl Stamp {
    pub const fn from_millis(millis: u64) -> Self {
        Stamp(millis)
    }

    pub const fn millis(self) -> u64 {
        self.0
    }

    pub const fn after(self, wait: Duration) -> Self {
        Stamp(self.0.saturating_add(wait.as_millis() as u64))
    }

    /// Time passed since `earlier`; zero when the clock was set back meanwhile.
    pub const fn since(self, earlier: Stamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The date-time form of a header field, always in UTC (RFC 5322 3.3).
    pub fn header_date(self) -> String {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        // Each message has one; a general formatter costs five times as much.
        let at = jiff::tz::Offset::UTC.to_datetime(self.timestamp());
        let day = DAYS[usize::from(at.weekday().to_monday_zero_offset() as u8)];
        let month = MONTHS[usize::from(at.month() as u8 - 1)];
        let mut text = String::with_capacity("Thu, 01 Jan 1970 00:00:00 +0000".len());
        let two = |text: &mut String, number: i8, end: &str| {
            text.push(char::from(b'0' + number as u8 / 10));
            text.push(char::from(b'0' + number as u8 % 10));
            text.push_str(end);
        };
        text.push_str(day);
        text.push_str(", ");
        two(&mut text, at.day(), " ");
        text.push_str(month);
        text.push(' ');
        two(&mut text, (at.year() / 100) as i8, "");
        two(&mut text, (at.year() % 100) as i8, " ");
        two(&mut text, at.hour(), ":");
        two(&mut text, at.minute(), ":");
        two(&mut text, at.second(), " +0000");
        text
    }

    fn timestamp(self) -> jiff::Timestamp {
        // Stamps come from a clock or a record; past year 9999 both are damage, shown as the last day.
        i64::try_from(self.0)
            .ok()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .unwrap_or(jiff::Timestamp::MAX)
    }
}

/// RFC 3339 in UTC with milliseconds, the form of log lines.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_both_forms() {
        let stamp = Stamp::from_millis(1_763_900_000_123);
        assert_eq!(stamp.to_string(), "2025-11-23T12:13:20.123Z");
        assert_eq!(stamp.header_date(), "Sun, 23 Nov 2025 12:13:20 +0000");
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Stamp::from_millis(5), Stamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(Moment::from_micros(1).since(Moment::from_micros(2)), Duration::ZERO);
    }
}
