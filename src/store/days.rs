//! The days that a range of times touches: every table that grows with time is cut by them.

use std::ops::Range;

use crate::model::{Day, TimeMs};

/// Oldest first; none where the range is empty.
pub(super) fn days(range: &Range<TimeMs>) -> impl DoubleEndedIterator<Item = Day> + Send + use<> {
    let touched = (range.start < range.end).then(|| range.start.day().0..=TimeMs(range.end.0 - 1).day().0);
    touched.into_iter().flatten().map(Day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MILLIS_PER_DAY;

    #[test]
    fn a_range_touches_its_days_and_no_more() {
        let touched = |range: Range<i64>| -> Vec<i32> {
            let range = TimeMs(range.start)..TimeMs(range.end);
            days(&range).map(|day| day.0).collect()
        };
        let day = MILLIS_PER_DAY;
        assert_eq!(touched(0..day), [0], "the end is exclusive");
        assert_eq!(touched(0..day + 1), [0, 1]);
        assert_eq!(touched(day - 1..3 * day), [0, 1, 2]);
        assert_eq!(touched(-1..1), [-1, 0]);
        assert_eq!(touched(5..5), [0; 0]);
        assert_eq!(touched(day..5), [0; 0]);
    }
}
