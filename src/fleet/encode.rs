//! Records as JSON, written field by field into a reused buffer: the order of the fields is fixed, so there is nothing
//! to look up, and a record costs no allocation. Numbers are written as their shortest text that reads back as the same
//! double.

use std::ops::Range;

use crate::model::{Day, Location, MILLIS_PER_DAY, TimeMs};

use super::FleetError;
use super::faults::Malformation;

/// Longest name of a kind, in bytes.
const MAX_KIND_BYTES: usize = 256;

/// What a record looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// One reading: sensor_id (a UUID), reading_time (epoch milliseconds), type, reading.
    #[default]
    Narrow,
    /// One reading of every kind, with a label as id, an RFC 3339 time, location and status.
    Wide,
}

/// A kind's names in JSON.
struct KindText {
    /// `,"type":"temperature"`
    narrow_type: Vec<u8>,
    /// `,"temperature":`
    wide_field: Vec<u8>,
}

pub(super) struct Encoder {
    kinds: Vec<KindText>,
    integer: itoa::Buffer,
    double: zmij::Buffer,
    /// The date of the last wide record: it is another only once a day.
    date: (Day, String),
}

/// Where the parts of a payload lie that a malformation touches.
pub(super) struct Parts {
    /// The time's text, without quotes.
    pub(super) time: Range<usize>,
    /// All readings with the comma before each.
    pub(super) values: Range<usize>,
}

/// Kinds that can stand in a record as they are.
pub(super) fn check_kinds(kinds: &[String]) -> Result<(), FleetError> {
    if kinds.is_empty() || kinds.len() > usize::from(u8::MAX) {
        return Err(FleetError::BadKindCount { count: kinds.len() });
    }
    for kind in kinds {
        let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\' | ',' | ':');
        if kind.is_empty() || kind.len() > MAX_KIND_BYTES || !kind.chars().all(is_plain) {
            return Err(FleetError::BadKind { kind: kind.clone() });
        }
    }
    Ok(())
}

impl Encoder {
    pub(super) fn new(kinds: &[String]) -> Result<Encoder, FleetError> {
        check_kinds(kinds)?;
        let text = |kind: &String| KindText {
            narrow_type: format!(",\"type\":\"{kind}\"").into_bytes(),
            wide_field: format!(",\"{kind}\":").into_bytes(),
        };
        Ok(Encoder {
            kinds: kinds.iter().map(text).collect(),
            integer: itoa::Buffer::new(),
            double: zmij::Buffer::new(),
            date: (Day(i32::MIN), String::new()),
        })
    }

    #[inline]
    pub(super) fn narrow(&mut self, out: &mut Vec<u8>, id: &[u8], time: TimeMs, kind: usize, value: f64) -> Parts {
        out.clear();
        out.extend_from_slice(b"{\"sensor_id\":\"");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\",\"reading_time\":");
        let time_at = out.len();
        out.extend_from_slice(self.integer.format(time.0).as_bytes());
        let time = time_at..out.len();
        out.extend_from_slice(&self.kinds[kind].narrow_type);
        let values_at = out.len();
        out.extend_from_slice(b",\"reading\":");
        out.extend_from_slice(self.double.format_finite(value).as_bytes());
        let values = values_at..out.len();
        out.push(b'}');
        Parts { time, values }
    }

    /// `values` has one value of each kind; `is_boolean` says which of them are written as `true` or `false`.
    pub(super) fn wide(
        &mut self,
        out: &mut Vec<u8>,
        id: &[u8],
        time: TimeMs,
        values: impl Iterator<Item = (f64, bool)>,
        location: Location,
    ) -> Parts {
        out.clear();
        out.extend_from_slice(b"{\"sensor_id\":\"");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\",\"timestamp\":\"");
        let time_at = out.len();
        self.rfc_3339(out, time);
        let time = time_at..out.len();
        out.push(b'"');
        let values_at = out.len();
        for (kind, (value, is_boolean)) in self.kinds.iter().zip(values) {
            out.extend_from_slice(&kind.wide_field);
            let text = match (is_boolean, value != 0.0) {
                (true, true) => "true",
                (true, false) => "false",
                (false, _) => self.double.format_finite(value),
            };
            out.extend_from_slice(text.as_bytes());
        }
        let values = values_at..out.len();
        out.extend_from_slice(b",\"location\":{\"latitude\":");
        out.extend_from_slice(self.double.format_finite(location.latitude).as_bytes());
        out.extend_from_slice(b",\"longitude\":");
        out.extend_from_slice(self.double.format_finite(location.longitude).as_bytes());
        out.extend_from_slice(b"},\"status\":\"active\"}");
        Parts { time, values }
    }

    /// `2025-11-05T12:00:00.123Z`
    fn rfc_3339(&mut self, out: &mut Vec<u8>, time: TimeMs) {
        let day = time.day();
        if self.date.0 != day {
            self.date = (day, day.to_string());
        }
        out.extend_from_slice(self.date.1.as_bytes());
        let ms = time.0.rem_euclid(MILLIS_PER_DAY);
        let two = |n: i64| [b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        let ([h1, h2], [m1, m2], [s1, s2]) = (two(ms / 3_600_000), two(ms / 60_000 % 60), two(ms / 1000 % 60));
        let [hundreds, tens, ones] = [ms / 100 % 10, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8);
        out.extend_from_slice(&[
            b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'.', hundreds, tens, ones, b'Z',
        ]);
    }
}

/// Breaks a payload that was well until now.
pub(super) fn malform(out: &mut Vec<u8>, parts: &Parts, format: Format, malformation: Malformation) {
    match malformation {
        Malformation::TruncatedJson => out.truncate(out.len() / 2),
        Malformation::MissingId => {
            let first_comma = out.iter().position(|&b| b == b',').unwrap_or(1);
            out.drain(1..=first_comma);
        }
        Malformation::MissingValue => {
            out.drain(parts.values.clone());
        }
        Malformation::NumberInQuotes => rewrite_values(out, parts, |value| format!("\"{value}\"")),
        Malformation::NotANumber => rewrite_values(out, parts, |_| "NaN".to_owned()),
        Malformation::Year2099 => match format {
            Format::Narrow => drop(out.splice(parts.time.clone(), *b"4070908800000")),
            Format::Wide => out[parts.time.start..parts.time.start + 10].copy_from_slice(b"2099-01-01"),
        },
        Malformation::InvalidUtf8 => {
            // Inside of the last string, whichever that is.
            let last_quote = out.iter().rposition(|&b| b == b'"').unwrap_or(0);
            out.insert(last_quote, 0xff);
        }
        Malformation::EmptyPayload => out.clear(),
        Malformation::DeepNesting => {
            out.pop();
            out.extend_from_slice(b",\"extra\":");
            out.extend_from_slice(&[b'['; 64]);
            out.extend_from_slice(&[b']'; 64]);
            out.push(b'}');
        }
    }
}

fn rewrite_values(out: &mut Vec<u8>, parts: &Parts, rewrite: impl Fn(&str) -> String) {
    let text = String::from_utf8_lossy(&out[parts.values.clone()]).into_owned();
    let rewritten: String = text
        .split_terminator(',')
        .filter_map(|field| field.split_once(':'))
        .map(|(name, value)| format!(",{name}:{}", rewrite(value)))
        .collect();
    out.splice(parts.values.clone(), rewritten.into_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &[u8] = b"6f1c2d3e-0000-4000-8000-00000000abcd";

    fn encoder() -> Encoder {
        Encoder::new(&["temperature".to_owned(), "motion".to_owned()]).unwrap()
    }

    fn wide(encoder: &mut Encoder, out: &mut Vec<u8>) -> Parts {
        let location = Location {
            latitude: 52.3,
            longitude: 4.9,
        };
        let values = [(27.5, false), (1.0, true)];
        encoder.wide(
            out,
            b"SENSOR_000001",
            TimeMs(1_762_344_000_123),
            values.into_iter(),
            location,
        )
    }

    #[test]
    fn both_formats_are_as_documented() {
        let (mut encoder, mut out) = (encoder(), Vec::new());
        encoder.narrow(&mut out, ID, TimeMs(1_732_000_000_123), 0, 23.4567);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"sensor_id":"6f1c2d3e-0000-4000-8000-00000000abcd","reading_time":1732000000123,"type":"temperature","reading":23.4567}"#
        );
        wide(&mut encoder, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"sensor_id":"SENSOR_000001","timestamp":"2025-11-05T12:00:00.123Z","temperature":27.5,"motion":true,"location":{"latitude":52.3,"longitude":4.9},"status":"active"}"#
        );
    }

    proptest! {
        #[test]
        fn values_and_times_survive_exactly(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::SUBNORMAL, ms in 0i64..4_102_444_800_000) {
            let (mut encoder, mut out) = (encoder(), Vec::new());
            encoder.narrow(&mut out, ID, TimeMs(ms), 0, value);
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["reading"].as_f64().unwrap().to_bits(), value.to_bits());
            prop_assert_eq!(read["reading_time"].as_i64(), Some(ms));
            let mut text = Vec::new();
            encoder.rfc_3339(&mut text, TimeMs(ms));
            prop_assert_eq!(String::from_utf8(text).unwrap(), TimeMs(ms).to_string());
        }
    }

    #[test]
    fn every_malformation_breaks_what_it_says() {
        let (mut encoder, mut out) = (encoder(), Vec::new());
        for format in [Format::Narrow, Format::Wide] {
            for malformation in Malformation::ALL {
                let parts = match format {
                    Format::Narrow => encoder.narrow(&mut out, ID, TimeMs(1_732_000_000_123), 0, 23.4567),
                    Format::Wide => wide(&mut encoder, &mut out),
                };
                malform(&mut out, &parts, format, malformation);
                let text = String::from_utf8_lossy(&out);
                let json = serde_json::from_slice::<serde_json::Value>(&out);
                let field = |name: &str| json.as_ref().ok().and_then(|object| object.get(name).cloned());
                let is_broken = match malformation {
                    Malformation::TruncatedJson => json.is_err() && !out.is_empty(),
                    Malformation::MissingId => json.is_ok() && field("sensor_id").is_none(),
                    Malformation::MissingValue => {
                        json.is_ok() && field("reading").is_none() && field("temperature").is_none()
                    }
                    Malformation::NumberInQuotes => field("reading")
                        .or(field("temperature"))
                        .is_some_and(|value| value.is_string()),
                    Malformation::NotANumber => json.is_err() && text.contains(":NaN"),
                    Malformation::Year2099 => {
                        json.is_ok() && (text.contains("4070908800000") || text.contains("2099-"))
                    }
                    Malformation::InvalidUtf8 => std::str::from_utf8(&out).is_err(),
                    Malformation::EmptyPayload => out.is_empty(),
                    Malformation::DeepNesting => json.is_ok() && text.contains(&"[".repeat(64)),
                };
                assert!(is_broken, "{format:?} {malformation:?}: {text}");
            }
        }
    }

    #[test]
    fn kinds_that_json_would_have_to_escape_are_refused() {
        assert!(Encoder::new(&[]).is_err());
        for kind in ["", "a\"b", "a,b", "a:b", "a\nb", &"x".repeat(257)] {
            assert!(Encoder::new(&[kind.to_owned()]).is_err(), "{kind}");
        }
    }
}
