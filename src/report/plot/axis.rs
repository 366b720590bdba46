//! Where an axis gets its marks and what stands at them.

use super::super::number::compact;
use crate::model::{MILLIS_PER_DAY, TimeMs};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Steps that a person counts in, up to a day; above it days in ones, twos and fives.
const TIME_STEPS_MS: [i64; 31] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    SECOND_MS,
    2 * SECOND_MS,
    5 * SECOND_MS,
    10 * SECOND_MS,
    15 * SECOND_MS,
    30 * SECOND_MS,
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    MILLIS_PER_DAY,
    2 * MILLIS_PER_DAY,
    5 * MILLIS_PER_DAY,
    10 * MILLIS_PER_DAY,
    20 * MILLIS_PER_DAY,
];

/// Round times within `from..=to`, at most `max_marks` or one more, with their texts (UTC).
pub fn time_marks(from: TimeMs, to: TimeMs, max_marks: usize) -> Vec<(TimeMs, String)> {
    let span = i128::from(to.0) - i128::from(from.0);
    let fits = |step: i64| span / i128::from(step) <= max_marks as i128;
    let mut step = TIME_STEPS_MS
        .into_iter()
        .find(|step| fits(*step))
        .unwrap_or(20 * MILLIS_PER_DAY);
    while !fits(step) {
        step = step.saturating_mul(2);
    }
    let mut marks = Vec::new();
    let mut next = from.0.div_euclid(step).checked_mul(step);
    while let Some(time) = next.filter(|time| *time <= to.0) {
        if time >= from.0 {
            marks.push((TimeMs(time), time_text(TimeMs(time), step)));
        }
        next = time.checked_add(step);
    }
    marks
}

/// Only as much as the step makes differ; midnight is named by its date.
fn time_text(time: TimeMs, step_ms: i64) -> String {
    let text = time.to_string();
    let Some((date, clock)) = text.split_once('T') else {
        return text;
    };
    if step_ms >= MILLIS_PER_DAY {
        return date.to_owned();
    }
    if time.0.rem_euclid(MILLIS_PER_DAY) == 0 {
        return date.get(5..).unwrap_or(date).to_owned();
    }
    let length = if step_ms < SECOND_MS {
        "12:00:00.000".len()
    } else if step_ms < MINUTE_MS {
        "12:00:00".len()
    } else {
        "12:00".len()
    };
    clock.get(..length).unwrap_or(clock).to_owned()
}

/// Round values within `lowest..=highest`, about `about` of them, with their texts. The two ends themselves where no
/// round numbers lie between them that a f64 tells apart; one where they are equal.
pub fn value_marks(lowest: f64, highest: f64, about: usize) -> Vec<(f64, String)> {
    if lowest == highest {
        return vec![(lowest, compact(lowest))];
    }
    let ends = || vec![(lowest, compact(lowest)), (highest, compact(highest))];
    // Divided first: the span of two finite values may be infinite.
    let wanted = highest / about as f64 - lowest / about as f64;
    let exponent = wanted.log10().floor();
    let power = 10_f64.powf(exponent);
    let Some(step) = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= wanted)
    else {
        return ends();
    };
    let magnitude = lowest.abs().max(highest.abs());
    if !step.is_normal() || magnitude / step > 1e14 {
        return ends();
    }
    let from = (lowest / step).ceil();
    let marks: Vec<(f64, String)> = (0..2 * about + 2)
        .map(|index| (from + index as f64) * step)
        .filter(|mark| (lowest..=highest).contains(mark))
        .map(|mark| (mark, mark_text(mark, step, magnitude)))
        .collect();
    if marks.len() < 2 { ends() } else { marks }
}

/// As many decimals as the step needs; with an exponent where that would be long.
fn mark_text(mark: f64, step: f64, magnitude: f64) -> String {
    let step_exponent = (step * 1.000_001).log10().floor() as i32;
    let magnitude_exponent = magnitude.log10().floor() as i32;
    let decimals = usize::try_from(-step_exponent).unwrap_or(0);
    if magnitude_exponent.max(0) as usize + decimals <= 9 {
        return format!("{mark:.decimals$}");
    }
    let digits = usize::try_from(magnitude_exponent - step_exponent).unwrap_or(0).min(17);
    if mark == 0.0 {
        "0".to_owned()
    } else {
        format!("{mark:.digits$e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_texts(lowest: f64, highest: f64) -> Vec<String> {
        value_marks(lowest, highest, 4)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    fn time_texts(from: &str, to: &str) -> Vec<String> {
        let time = |text: &str| TimeMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        time_marks(time(from), time(to), 6)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn values_are_marked_at_round_numbers() {
        assert_eq!(value_texts(19.3, 28.1), ["20", "25"]);
        assert_eq!(value_texts(0.0, 1.0), ["0.0", "0.5", "1.0"]);
        assert_eq!(value_texts(-0.02, 0.03), ["-0.02", "0.00", "0.02"]);
        assert_eq!(
            value_texts(1e9, 1e9 + 0.006),
            [
                "1.000000000000e9",
                "1.000000000002e9",
                "1.000000000004e9",
                "1.000000000006e9"
            ]
        );
        assert_eq!(value_texts(0.0, 4e12), ["0", "1e12", "2e12", "3e12", "4e12"]);
    }

    #[test]
    fn values_at_the_edge_of_f64_are_marked_somehow() {
        assert_eq!(value_texts(7.0, 7.0), ["7"]);
        assert_eq!(value_texts(1.0, 1.0 + f64::EPSILON), ["1", "1"]);
        assert_eq!(value_texts(0.0, 5e-324).len(), 2);
        assert!(value_texts(f64::MIN, f64::MAX).len() >= 2);
        assert!(value_texts(-1e-300, 1e300).len() >= 2);
    }

    #[test]
    fn times_are_marked_at_round_times() {
        assert_eq!(
            time_texts("2025-11-05T12:00:00Z", "2025-11-05T12:59:59Z"),
            ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]
        );
        assert_eq!(
            time_texts("2025-11-05T12:00:00.1Z", "2025-11-05T12:00:00.9Z"),
            ["12:00:00.200", "12:00:00.400", "12:00:00.600", "12:00:00.800"]
        );
        assert_eq!(
            time_texts("2025-11-05T20:00:00Z", "2025-11-06T04:00:00Z"),
            ["20:00", "22:00", "11-06", "02:00", "04:00"]
        );
        assert_eq!(
            time_texts("2025-11-05T20:00:00Z", "2025-11-09T16:00:00Z"),
            ["2025-11-06", "2025-11-07", "2025-11-08", "2025-11-09"]
        );
    }

    #[test]
    fn any_range_of_times_gets_few_marks() {
        for (from, to) in [
            (0, 0),
            (i64::MIN, i64::MAX),
            (-1, 1),
            (i64::MAX - 1, i64::MAX),
            (i64::MIN, i64::MIN + 5),
        ] {
            assert!(time_marks(TimeMs(from), TimeMs(to), 6).len() <= 7);
        }
    }
}
