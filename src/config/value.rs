//! How the text of a setting, whichever layer it stands in, becomes a value.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SpanRelativeTo;
use tracing::level_filters::LevelFilter;

use crate::model::{MILLIS_PER_DAY, TimeMs};
use crate::registry::RegistryUrl;
use crate::store::{Compaction, Consistency, ReadingsConsistency, Replication, StoreUrl};

/// What a value looks like in the TOML file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Text,
    Number,
    /// A number, or text with a unit.
    NumberOrText,
    /// `true` or `false`.
    Bool,
    /// An array of strings; in flags and variables its elements are joined by commas.
    List,
}

/// A type that a setting can have.
pub trait Value: Sized {
    const SHAPE: Shape;
    /// Stands for the value in the help.
    const PLACEHOLDER: &'static str;

    /// The error says what is wrong with the text; the caller knows where the text stands.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Value for String {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "TEXT";

    fn parse(text: &str) -> Result<String, String> {
        match text {
            "" => Err("is empty".into()),
            text => Ok(text.into()),
        }
    }
}

impl Value for PathBuf {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "FILE";

    fn parse(text: &str) -> Result<PathBuf, String> {
        String::parse(text).map(PathBuf::from)
    }
}

/// `none` is no value.
impl<T: Value> Value for Option<T> {
    const SHAPE: Shape = match T::SHAPE {
        Shape::Number => Shape::NumberOrText,
        shape => shape,
    };
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;

    fn parse(text: &str) -> Result<Option<T>, String> {
        match text {
            "" | "none" => Ok(None),
            text => T::parse(text).map(Some),
        }
    }
}

/// Elements in order, blanks around them cut; no text is no element.
impl Value for Vec<String> {
    const SHAPE: Shape = Shape::List;
    const PLACEHOLDER: &'static str = "A,B,…";

    fn parse(text: &str) -> Result<Vec<String>, String> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let elements: Vec<String> = text.split(',').map(|element| element.trim().to_owned()).collect();
        if elements.iter().any(String::is_empty) {
            return Err(format!("{text:?} has an empty element"));
        }
        Ok(elements)
    }
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const SHAPE: Shape = Shape::Number;
            const PLACEHOLDER: &'static str = "N";

            fn parse(text: &str) -> Result<$type, String> {
                // TOML and people group digits by underscores.
                text.replace('_', "").parse().map_err(|_| {
                    format!("{text:?} is no whole number of {}..={}", <$type>::MIN, <$type>::MAX)
                })
            }
        }
    )+};
}

whole_number!(i16, i32, u32, u64, usize);

impl Value for f64 {
    const SHAPE: Shape = Shape::Number;
    const PLACEHOLDER: &'static str = "X";

    fn parse(text: &str) -> Result<f64, String> {
        match text.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) => Err(format!("{text:?} is no finite number")),
            Err(_) => Err(format!("{text:?} is no number")),
        }
    }
}

impl Value for bool {
    const SHAPE: Shape = Shape::Bool;
    const PLACEHOLDER: &'static str = "true|false";

    fn parse(text: &str) -> Result<bool, String> {
        text.to_ascii_lowercase()
            .parse()
            .map_err(|_| format!("{text:?} is not one of {}", Self::PLACEHOLDER))
    }
}

impl Value for Duration {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "DURATION";

    fn parse(text: &str) -> Result<Duration, String> {
        parse_duration(text)
    }
}

/// A duration of which a bare number is seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Seconds(pub f64);

impl Value for Seconds {
    const SHAPE: Shape = Shape::NumberOrText;
    const PLACEHOLDER: &'static str = "SECONDS";

    fn parse(text: &str) -> Result<Seconds, String> {
        match f64::parse(text) {
            Ok(seconds) => Ok(Seconds(seconds)),
            Err(_) => parse_duration(text).map(|duration| Seconds(duration.as_secs_f64())),
        }
    }
}

/// A number of bytes, as a number or with a unit: `1MiB`, `500kB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

impl Value for ByteSize {
    const SHAPE: Shape = Shape::NumberOrText;
    const PLACEHOLDER: &'static str = "SIZE";

    fn parse(text: &str) -> Result<ByteSize, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(not_a_size(text)),
        };
        let number: u64 = number.replace('_', "").parse().map_err(|_| not_a_size(text))?;
        number.checked_mul(factor).map(ByteSize).ok_or_else(|| not_a_size(text))
    }
}

/// A check of the fewest bytes.
pub(super) fn at_least(lowest: &'static str) -> impl Fn(&ByteSize) -> Result<(), String> {
    move |size| match *size >= ByteSize::parse(lowest)? {
        true => Ok(()),
        false => Err(format!("{} bytes are less than {lowest}", size.0)),
    }
}

fn not_a_size(text: &str) -> String {
    format!("{text:?} is no size: write for example 1048576, 1MiB or 500kB")
}

impl Value for StoreUrl {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<StoreUrl, String> {
        StoreUrl::from_str(text).map_err(|error| error.to_string())
    }
}

impl Value for RegistryUrl {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<RegistryUrl, String> {
        RegistryUrl::from_str(text).map_err(|error| error.to_string())
    }
}

impl Value for Consistency {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "local_quorum|quorum|all";

    fn parse(text: &str) -> Result<Consistency, String> {
        text.parse()
    }
}

impl Value for ReadingsConsistency {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "one|local_one|local_quorum|quorum|all";

    fn parse(text: &str) -> Result<ReadingsConsistency, String> {
        text.parse()
    }
}

impl Value for Compaction {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "twcs|stcs|lcs|ucs";

    fn parse(text: &str) -> Result<Compaction, String> {
        text.parse()
    }
}

/// The words of Python and Java work too.
impl Value for LevelFilter {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "off|error|warn|info|debug|trace";

    fn parse(text: &str) -> Result<LevelFilter, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "off" => LevelFilter::OFF,
            "error" | "critical" | "fatal" => LevelFilter::ERROR,
            "warn" | "warning" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(format!("{text:?} is not one of {}", Self::PLACEHOLDER)),
        })
    }
}

impl Value for Replication {
    const SHAPE: Shape = Shape::NumberOrText;
    const PLACEHOLDER: &'static str = "N|DC=N,…";

    fn parse(text: &str) -> Result<Replication, String> {
        let wrong = || format!("{text:?} is no replication: write for example 3 or dc1=3,dc2=2");
        let factor = |text: &str| text.trim().parse().ok().filter(|factor| *factor > 0).ok_or_else(wrong);
        if !text.contains('=') {
            return Ok(Replication::Factor(factor(text)?));
        }
        let mut factors = BTreeMap::new();
        for part in text.split(',') {
            let (name, count) = part.split_once('=').ok_or_else(wrong)?;
            let name = name.trim();
            if name.is_empty() || factors.insert(name.to_owned(), factor(count)?).is_some() {
                return Err(wrong());
            }
        }
        Ok(Replication::PerDataCentre(factors))
    }
}

/// A check of a number's bounds.
pub(super) fn within<T: PartialOrd + fmt::Display>(bounds: RangeInclusive<T>) -> impl Fn(&T) -> Result<(), String> {
    move |value| match bounds.contains(value) {
        true => Ok(()),
        false => Err(format!("{value} is not in {}..={}", bounds.start(), bounds.end())),
    }
}

/// A check of a duration's bounds, which are durations themselves.
pub(super) fn between(low: &'static str, high: &'static str) -> impl Fn(&Duration) -> Result<(), String> {
    move |value| match (parse_duration(low)?..=parse_duration(high)?).contains(value) {
        true => Ok(()),
        false => Err(format!("{} is not in {low}..={high}", duration_text(*value))),
    }
}

/// The check where there is a value.
pub(super) fn if_set<T>(check: impl Fn(&T) -> Result<(), String>) -> impl Fn(&Option<T>) -> Result<(), String> {
    move |value| value.as_ref().map_or(Ok(()), &check)
}

pub(super) fn not_empty(elements: &impl AsRef<[String]>) -> Result<(), String> {
    match elements.as_ref().is_empty() {
        true => Err("is empty".into()),
        false => Ok(()),
    }
}

/// A positive or zero duration as people write it: `90s`, `1h30m`, `7d`; a day has 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write for example 500ms, 90s, 1h30m or 7d");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

/// RFC 3339; without an offset it is UTC, and without a time of day it is midnight.
pub fn parse_time(text: &str) -> Result<TimeMs, String> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(TimeMs(timestamp.as_millisecond()));
    }
    text.parse::<jiff::civil::DateTime>()
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|zoned| TimeMs(zoned.timestamp().as_millisecond()))
        .map_err(|_| format!("{text:?} is no time: write for example 2025-11-05T12:00:00Z"))
}

/// A time that may be told from the moment of the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimePoint {
    At(TimeMs),
    /// So long before the moment of the question.
    Ago(Duration),
}

impl TimePoint {
    pub fn resolve(self, now: TimeMs) -> TimeMs {
        match self {
            TimePoint::At(time) => time,
            TimePoint::Ago(duration) => {
                let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                TimeMs(now.0.saturating_sub(ms))
            }
        }
    }
}

/// `now`, `-2h`, or what [`parse_time`] takes.
pub fn parse_time_point(text: &str) -> Result<TimePoint, String> {
    match (text, text.strip_prefix('-')) {
        ("now", _) => Ok(TimePoint::Ago(Duration::ZERO)),
        (_, Some(ago)) => parse_duration(ago).map(TimePoint::Ago),
        _ => parse_time(text)
            .map(TimePoint::At)
            .map_err(|error| format!("{error}, -2h or now")),
    }
}

/// Whole days, hours, minutes or seconds where that is exact, and nanoseconds otherwise: for messages.
pub fn duration_text(duration: Duration) -> String {
    let day_s = (MILLIS_PER_DAY / 1000).unsigned_abs();
    match (duration.as_secs(), duration.subsec_nanos()) {
        (s, 0) if s > 0 && s % day_s == 0 => format!("{}d", s / day_s),
        (s, 0) if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        (s, 0) if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        (s, 0) => format!("{s}s"),
        (_, ns) if ns % 1_000_000 == 0 => format!("{}ms", duration.as_millis()),
        _ => format!("{}ns", duration.as_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("90s"), Ok(90.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("7d"), Ok(604_800.0));
        assert_eq!(seconds("2w"), Ok(14.0 * 86_400.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("0s"), Ok(0.0));
        for wrong in ["", "90", "-1s", "1 month", "soon", "99999999999999999999d"] {
            assert!(
                parse_duration(wrong).is_err_and(|error| error.contains("is no duration")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn durations_print_in_the_largest_whole_unit() {
        for text in ["7d", "25h", "90m", "61s", "0s", "1500ms", "1ns"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn times_without_an_offset_are_utc() {
        let noon = TimeMs(1_762_344_000_000);
        for text in [
            "2025-11-05T12:00:00Z",
            "2025-11-05T12:00:00",
            "2025-11-05 12:00",
            "2025-11-05T13:00:00+01:00",
        ] {
            assert_eq!(parse_time(text), Ok(noon), "{text}");
        }
        assert_eq!(parse_time("2025-11-05"), Ok(TimeMs(noon.0 - 12 * 3_600_000)));
        assert!(parse_time("yesterday").is_err());
        assert_eq!(
            parse_time_point("-2h").map(|point| point.resolve(noon)),
            Ok(TimeMs(noon.0 - 7_200_000))
        );
        assert_eq!(parse_time_point("now").map(|point| point.resolve(noon)), Ok(noon));
        assert_eq!(parse_time_point("2025-11-05T12:00:00Z"), Ok(TimePoint::At(noon)));
        assert!(parse_time_point("-soon").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(ByteSize::parse("1MiB"), Ok(ByteSize(1_048_576)));
        assert_eq!(ByteSize::parse("1_048_576"), Ok(ByteSize(1_048_576)));
        assert_eq!(ByteSize::parse("500 kB"), Ok(ByteSize(500_000)));
        assert!(at_least("1MiB")(&ByteSize(1 << 20)).is_ok() && at_least("1MiB")(&ByteSize(1)).is_err());
        for wrong in ["", "MiB", "1.5MiB", "-1", "1 furlong", "99999999999GiB"] {
            assert!(ByteSize::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replication_is_a_factor_or_one_for_each_data_centre() {
        assert_eq!(Replication::parse("3"), Ok(Replication::Factor(3)));
        let two = BTreeMap::from([("dc1".to_owned(), 3), ("dc2".to_owned(), 2)]);
        assert_eq!(Replication::parse("dc1=3, dc2=2"), Ok(Replication::PerDataCentre(two)));
        for wrong in ["", "0", "dc1", "dc1=0", "=3", "dc1=3,dc1=2", "dc1=3,"] {
            assert!(Replication::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_lists_and_absent_values() {
        assert_eq!(u32::parse("1_000"), Ok(1000));
        assert!(u32::parse("-1").is_err() && f64::parse("NaN").is_err() && f64::parse("1e999").is_err());
        assert_eq!(Vec::<String>::parse("a, b"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(Vec::<String>::parse(" "), Ok(vec![]));
        assert!(Vec::<String>::parse("a,,b").is_err());
        assert_eq!(LevelFilter::parse("WARNING"), Ok(LevelFilter::WARN));
        assert!(LevelFilter::parse("loud").is_err());
        assert_eq!((bool::parse("True"), bool::parse("false")), (Ok(true), Ok(false)));
        assert!(bool::parse("1").is_err_and(|error| error.contains("true|false")));
        assert_eq!(f64::parse("inf"), Err("\"inf\" is no finite number".into()));
        assert_eq!(Option::<Duration>::parse("none"), Ok(None));
        assert_eq!(Seconds::parse("0.5"), Ok(Seconds(0.5)));
        assert_eq!(Seconds::parse("250ms"), Ok(Seconds(0.25)));
        assert!(within(1..=3)(&4).is_err() && within(1..=3)(&3).is_ok());
    }
}
