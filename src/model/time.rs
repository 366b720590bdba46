//! Event time and its day, both UTC.

use std::fmt;
use std::ops::Range;

/// Milliseconds of a day.
pub const MILLIS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimeMs(pub i64);

impl TimeMs {
    /// 2000-01-01T00:00:00Z, the oldest event time that is accepted: what is older comes from an unset clock.
    pub const OLDEST: TimeMs = TimeMs(946_684_800_000);

    /// The UTC day that the time lies in.
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(MILLIS_PER_DAY)).unwrap_or(i32::MAX))
    }

    /// Microseconds since the epoch, the unit of Cassandra's write timestamps.
    pub fn micros(self) -> i64 {
        self.0.saturating_mul(1000)
    }
}

/// RFC 3339 in UTC with milliseconds; the bare number where no calendar reaches.
impl fmt::Display for TimeMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// Days since 1970-01-01 (UTC): the partition of readings in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(pub i32);

impl Day {
    /// First millisecond of the day.
    pub fn start(self) -> TimeMs {
        TimeMs(i64::from(self.0) * MILLIS_PER_DAY)
    }

    pub fn next(self) -> Day {
        Day(self.0 + 1)
    }

    /// The days that a range of times touches, oldest first; none where it is empty.
    pub fn of_range(range: &Range<TimeMs>) -> impl DoubleEndedIterator<Item = Day> + Send + use<> {
        let touched = (range.start < range.end).then(|| range.start.day().0..=TimeMs(range.end.0 - 1).day().0);
        touched.into_iter().flatten().map(Day)
    }
}

/// `YYYY-MM-DD`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_downwards_before_the_epoch() {
        assert_eq!(TimeMs(-1).day(), Day(-1));
        assert_eq!(TimeMs(0).day(), Day(0));
        assert_eq!(TimeMs(MILLIS_PER_DAY - 1).day(), Day(0));
        assert_eq!(Day(20_000).start().day(), Day(20_000));
    }

    #[test]
    fn a_range_touches_its_days_and_no_more() {
        let touched = |range: Range<i64>| -> Vec<i32> {
            let range = TimeMs(range.start)..TimeMs(range.end);
            Day::of_range(&range).map(|day| day.0).collect()
        };
        let day = MILLIS_PER_DAY;
        assert_eq!(touched(0..day), [0], "the end is exclusive");
        assert_eq!(touched(0..day + 1), [0, 1]);
        assert_eq!(touched(day - 1..3 * day), [0, 1, 2]);
        assert_eq!(touched(-1..1), [-1, 0]);
        assert_eq!(touched(5..5), [0; 0]);
        assert_eq!(touched(day..5), [0; 0]);
    }

    #[test]
    fn times_print_as_rfc_3339_with_milliseconds() {
        assert_eq!(TimeMs::OLDEST.to_string(), "2000-01-01T00:00:00.000Z");
        assert_eq!(TimeMs::OLDEST.day().to_string(), "2000-01-01");
        assert_eq!(TimeMs(i64::MAX).to_string(), i64::MAX.to_string());
    }
}
