//! A series of any length in bounded memory, for drawing: of every stretch of time its first, last, lowest and highest
//! value stay with their exact times. These four decide what a line looks like when a stretch is no wider than a dot,
//! so no spike is lost, and the extremes of the whole are exact.

use std::collections::BTreeMap;

use crate::model::TimeMs;

/// Stretches of time held at most: some ten for each dot of a wide terminal, some 400 kB in all.
const MAX_BUCKETS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    pub time: TimeMs,
    pub value: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    first: Point,
    last: Point,
    lowest: Point,
    highest: Point,
}

impl Bucket {
    fn of(point: Point) -> Bucket {
        Bucket {
            first: point,
            last: point,
            lowest: point,
            highest: point,
        }
    }

    /// The same whatever the order in which points come: of equal values the earlier one stands.
    fn merge(&mut self, other: &Bucket) {
        if other.first.time < self.first.time {
            self.first = other.first;
        }
        if other.last.time > self.last.time {
            self.last = other.last;
        }
        if (other.lowest.value, other.lowest.time) < (self.lowest.value, self.lowest.time) {
            self.lowest = other.lowest;
        }
        if other.highest.value > self.highest.value
            || (other.highest.value == self.highest.value && other.highest.time < self.highest.time)
        {
            self.highest = other.highest;
        }
    }
}

/// Takes points in any order and needs no range beforehand: when there are too many stretches of time, they become twice
/// as long.
#[derive(Clone, Debug)]
pub struct Series {
    /// By the stretch's number, which is its start divided by the width.
    buckets: BTreeMap<i64, Bucket>,
    bucket_width_ms: i64,
    count: u64,
}

impl Default for Series {
    fn default() -> Series {
        Series {
            buckets: BTreeMap::new(),
            bucket_width_ms: 1,
            count: 0,
        }
    }
}

impl Series {
    /// A value that is no finite number is not taken: it has no place in a drawing.
    pub fn push(&mut self, time: TimeMs, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let bucket = Bucket::of(Point { time, value });
        let number = time.0.div_euclid(self.bucket_width_ms);
        self.buckets
            .entry(number)
            .and_modify(|stored| stored.merge(&bucket))
            .or_insert(bucket);
        while self.buckets.len() > MAX_BUCKETS {
            self.double();
        }
    }

    fn double(&mut self) {
        self.bucket_width_ms *= 2;
        let mut merged: BTreeMap<i64, Bucket> = BTreeMap::new();
        for (number, bucket) in std::mem::take(&mut self.buckets) {
            merged
                .entry(number.div_euclid(2))
                .and_modify(|stored| stored.merge(&bucket))
                .or_insert(bucket);
        }
        self.buckets = merged;
    }

    /// Values taken.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is left to draw, by time.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::with_capacity(4 * self.buckets.len());
        for bucket in self.buckets.values() {
            let mut four = [bucket.first, bucket.lowest, bucket.highest, bucket.last];
            // The first and last ones are in place already, also where times are equal.
            four[1..3].sort_by_key(|point| point.time);
            points.extend(four);
        }
        points.dedup();
        points
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series_of(points: &[(i64, f64)]) -> Series {
        let mut series = Series::default();
        points
            .iter()
            .for_each(|(time, value)| series.push(TimeMs(*time), *value));
        series
    }

    #[test]
    fn memory_is_bounded_whatever_the_range() {
        let mut series = Series::default();
        for number in 0..50_000_i64 {
            series.push(TimeMs(number * number * 1000 - 1_000_000_000), number as f64);
            assert!(series.buckets.len() <= MAX_BUCKETS);
        }
        assert!(series.buckets.len() > MAX_BUCKETS / 8, "and the detail is kept");
        series.push(TimeMs(i64::MIN), 0.0);
        series.push(TimeMs(i64::MAX), 0.0);
        assert_eq!(series.points().first().unwrap().time, TimeMs(i64::MIN));
        assert_eq!(series.points().last().unwrap().time, TimeMs(i64::MAX));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let series = series_of(&[(1, f64::NAN), (2, f64::INFINITY), (3, 1.0)]);
        assert_eq!((series.count(), series.points().len()), (1, 1));
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let series = series_of(&[(30, 3.0), (10, 1.0), (20, 2.0)]);
        let points: Vec<(i64, f64)> = series
            .points()
            .iter()
            .map(|point| (point.time.0, point.value))
            .collect();
        assert_eq!(points, [(10, 1.0), (20, 2.0), (30, 3.0)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Of every stretch of time as well, so a spike that is not the highest of all stays visible.
        #[test]
        fn extremes_are_kept_with_their_times_in_either_order(
            values in prop::collection::vec(-1000_i32..1000, 1..20_000), interval in 1_i64..100_000,
        ) {
            let points: Vec<(i64, f64)> =
                values.iter().zip(0..).map(|(value, index)| (index * interval, f64::from(*value))).collect();
            let reversed: Vec<(i64, f64)> = points.iter().rev().copied().collect();
            let (series, backwards) = (series_of(&points), series_of(&reversed));
            prop_assert_eq!(series.count(), points.len() as u64);
            let kept = series.points();
            prop_assert_eq!(&kept, &backwards.points());
            let width = series.bucket_width_ms;
            let mut expected: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
            for (time, value) in &points {
                let extremes = expected.entry(time / width).or_insert((*value, *value));
                *extremes = (extremes.0.min(*value), extremes.1.max(*value));
            }
            let mut found: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
            for point in &kept {
                prop_assert!(points[(point.time.0 / interval) as usize] == (point.time.0, point.value));
                let extremes = found.entry(point.time.0 / width).or_insert((point.value, point.value));
                *extremes = (extremes.0.min(point.value), extremes.1.max(point.value));
            }
            prop_assert_eq!(found, expected);
            prop_assert!(kept.is_sorted_by_key(|point| point.time));
        }
    }
}
