//! Event-time windows: which there are, and what each holds.

use std::fmt;

use super::{Day, Kind, TimeMs};

/// One window of one measure of a sensor. Sizes divide a day, so a window lies within the day (UTC) of its start.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WindowKey {
    pub kind: Kind,
    /// Seconds.
    pub size_s: u32,
    /// A multiple of the size since the epoch; the window ends before `start + size`.
    pub start: TimeMs,
}

impl WindowKey {
    /// The window of that size that an event time lies in.
    pub fn of(kind: Kind, size_s: u32, time: TimeMs) -> WindowKey {
        let start = window_start(size_s, time);
        WindowKey { kind, size_s, start }
    }

    /// First millisecond after the window.
    pub fn end(&self) -> TimeMs {
        TimeMs(self.start.0 + size_ms(self.size_s))
    }

    pub fn day(&self) -> Day {
        self.start.day()
    }
}

/// Start of the window of that size (seconds) that the time lies in.
pub fn window_start(size_s: u32, time: TimeMs) -> TimeMs {
    TimeMs(time.0 - time.0.rem_euclid(size_ms(size_s)))
}

fn size_ms(size_s: u32) -> i64 {
    i64::from(size_s) * 1000
}

/// What a window holds of the records of one source, up to one of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Aggregate {
    /// Offset of the last record that is in it; the window's write timestamp is this + 1.
    pub last_offset: i64,
    /// Readings; a reading that was sent twice counts twice.
    pub count: i64,
    /// Added up in the order of offsets.
    pub sum: f64,
    pub mean: f64,
    /// Sum of the squared differences from the mean.
    pub m2: f64,
    pub min: f64,
    pub max: f64,
    /// Value of the earliest event time; of equal ones that with the smallest offset.
    pub first: f64,
    pub first_at: TimeMs,
    /// Value of the latest event time; of equal ones that with the largest offset.
    pub last: f64,
    pub last_at: TimeMs,
}

impl Aggregate {
    /// Of two parts of one window, or of two windows side by side: the whole. Chan, Golub and LeVeque, "Updating formulae
    /// and a pairwise algorithm for computing sample variances" (1979). What equal times leave open, `self` decides;
    /// `last_offset` is the larger one, and says nothing where the parts come from two sources.
    #[must_use]
    pub fn merged(&self, other: &Aggregate) -> Aggregate {
        let count = self.count + other.count;
        let (n, of_self, of_other) = (count as f64, self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        let (first, last) = (
            if other.first_at < self.first_at { other } else { self },
            if other.last_at > self.last_at { other } else { self },
        );
        Aggregate {
            last_offset: self.last_offset.max(other.last_offset),
            count,
            sum: self.sum + other.sum,
            mean: self.mean + delta * (of_other / n),
            m2: self.m2 + other.m2 + delta * delta * (of_self * of_other / n),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            first: first.first,
            first_at: first.first_at,
            last: last.last,
            last_at: last.last_at,
        }
    }

    /// Of the readings as a population; 0 for one reading.
    pub fn standard_deviation(&self) -> f64 {
        (self.m2 / self.count as f64).sqrt()
    }
}

/// A window with what it holds: one cell of the store.
#[derive(Clone, PartialEq, Debug)]
pub struct WindowCell {
    pub key: WindowKey,
    pub aggregate: Aggregate,
}

/// `1m`, `5m`, `1h`, `1d`: the largest unit that divides it.
pub struct WindowSize(pub u32);

impl fmt::Display for WindowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_start_at_multiples_of_their_size_also_before_the_epoch() {
        assert_eq!(window_start(60, TimeMs(59_999)), TimeMs(0));
        assert_eq!(window_start(60, TimeMs(60_000)), TimeMs(60_000));
        assert_eq!(window_start(3600, TimeMs(-1)), TimeMs(-3_600_000));
        let key = WindowKey::of(Kind::new("x"), 86_400, TimeMs(86_400_000 + 5));
        assert_eq!((key.day(), key.end()), (Day(1), TimeMs(2 * 86_400_000)));
        assert_eq!(
            [60, 300, 3600, 86_400, 30].map(|s| WindowSize(s).to_string()),
            ["1m", "5m", "1h", "1d", "30s"]
        );
    }

    #[test]
    fn two_parts_make_the_whole() {
        let part = |offset, count, sum: f64, m2, min, max, first_at, last_at| Aggregate {
            last_offset: offset,
            count,
            sum,
            mean: sum / count as f64,
            m2,
            min,
            max,
            first: min,
            first_at: TimeMs(first_at),
            last: max,
            last_at: TimeMs(last_at),
        };
        // 1, 3 and 5, 7, 9: mean 5, squared differences 16 + 4 + 0 + 4 + 16.
        let whole = part(7, 2, 4.0, 2.0, 1.0, 3.0, 0, 1).merged(&part(4, 3, 21.0, 8.0, 5.0, 9.0, 2, 4));
        assert_eq!(
            whole,
            Aggregate {
                first: 1.0,
                last: 9.0,
                ..part(7, 5, 25.0, 40.0, 1.0, 9.0, 0, 4)
            }
        );
        assert_eq!(whole.standard_deviation(), 8f64.sqrt());
    }
}
