//! Records as Avro in Confluent's wire format, written field by field like those in JSON. The schemas are the contract in
//! `schemas/`; a test holds every byte against a general Avro writer.

use super::encode::{Format, Parts, check_kinds};
use super::faults::Malformation;
use super::signal::Shape;
use super::{DEFAULT_KINDS, FleetError};
use crate::model::{Location, TimeMs};

/// One reading a record.
const NARROW: &str = include_str!("../../schemas/sensor-reading.avsc");
/// All measures of a sensor, for the default kinds.
const WIDE: &str = include_str!("../../schemas/sensor-readings.avsc");

/// Magic and schema id.
const HEADER_BYTES: usize = 5;
/// Fields of the wide schema that are no measures.
const OTHER_FIELDS: [&str; 4] = ["sensor_id", "timestamp", "location", "status"];
/// The branch of a union with null that is not null.
const PRESENT: u8 = 2;

/// The schema of a fleet's records.
pub fn avro_schema(format: Format, kinds: &[String]) -> Result<String, FleetError> {
    check_kinds(kinds)?;
    if format == Format::Narrow {
        return Ok(NARROW.to_owned());
    }
    for (index, kind) in kinds.iter().enumerate() {
        // A name of Avro's, and one that is free.
        let is_name = !kind.starts_with(|c: char| c.is_ascii_digit())
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || OTHER_FIELDS.contains(&kind.as_str()) || kinds[..index].contains(kind) {
            return Err(FleetError::BadAvroKind { kind: kind.clone() });
        }
    }
    Ok(WIDE.replace(&measures(DEFAULT_KINDS), &measures(kinds.iter().map(String::as_str))))
}

/// The fields of the measures, a line each. A measure may be left out, so that the next version may have others.
fn measures<'k>(kinds: impl IntoIterator<Item = &'k str>) -> String {
    let line = |kind: &str| {
        let value = if Shape::of_kind(kind).is_boolean() {
            "boolean"
        } else {
            "double"
        };
        format!("    {{\"name\": \"{kind}\", \"type\": [\"null\", \"{value}\"], \"default\": null}},\n")
    };
    kinds.into_iter().map(line).collect()
}

/// Writes a fleet's records in the schema that [`avro_schema`] gives for it.
pub(super) struct AvroEncoder {
    header: [u8; HEADER_BYTES],
    /// The kinds' names as they stand in narrow records.
    kinds: Vec<Vec<u8>>,
    first_value: FirstValue,
}

/// What the first value of a record is, and where, counted from where the values begin.
enum FirstValue {
    Double { at: usize },
    Boolean { at: usize },
}

impl AvroEncoder {
    pub(super) fn new(format: Format, kinds: &[String], schema_id: u32) -> Result<AvroEncoder, FleetError> {
        avro_schema(format, kinds)?;
        let [a, b, c, d] = schema_id.to_be_bytes();
        let text = |kind: &String| {
            let mut bytes = Vec::new();
            put_text(&mut bytes, kind.as_bytes());
            bytes
        };
        Ok(AvroEncoder {
            header: [0, a, b, c, d],
            kinds: kinds.iter().map(text).collect(),
            first_value: match format {
                Format::Narrow => FirstValue::Double { at: 0 },
                Format::Wide if Shape::of_kind(&kinds[0]).is_boolean() => FirstValue::Boolean { at: 1 },
                Format::Wide => FirstValue::Double { at: 1 },
            },
        })
    }

    #[inline]
    pub(super) fn narrow(&self, out: &mut Vec<u8>, id: &[u8], time: TimeMs, kind: usize, value: f64) -> Parts {
        let time = self.begin(out, id, time);
        out.extend_from_slice(&self.kinds[kind]);
        let values_at = out.len();
        out.extend_from_slice(&value.to_le_bytes());
        let values = values_at..out.len();
        Parts { time, values }
    }

    /// `values` has one value of each kind; `is_boolean` says which of them are written as such.
    pub(super) fn wide(
        &self,
        out: &mut Vec<u8>,
        id: &[u8],
        time: TimeMs,
        values: impl Iterator<Item = (f64, bool)>,
        location: Location,
    ) -> Parts {
        let time = self.begin(out, id, time);
        let values_at = out.len();
        for (value, is_boolean) in values {
            out.push(PRESENT);
            if is_boolean {
                out.push(u8::from(value != 0.0));
            } else {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        let values = values_at..out.len();
        out.push(PRESENT);
        out.extend_from_slice(&location.latitude.to_le_bytes());
        out.extend_from_slice(&location.longitude.to_le_bytes());
        out.push(PRESENT);
        put_text(out, b"active");
        Parts { time, values }
    }

    /// Breaks a payload that was well until now, as far as the encoding allows in the way that the name says; it cannot be
    /// decoded in any case.
    pub(super) fn malform(&self, out: &mut Vec<u8>, id: &[u8], parts: &Parts, malformation: Malformation) {
        let id_at = parts.time.start - id.len();
        let values_at = parts.values.start;
        match malformation {
            Malformation::TruncatedJson => out.truncate(out.len() / 2),
            Malformation::MissingId => drop(out.splice(HEADER_BYTES..parts.time.start, [0])),
            Malformation::MissingValue => out.truncate(values_at),
            Malformation::NumberInQuotes => {
                // Longer than a double, and its length is no branch of a union.
                out.truncate(values_at);
                put_text(out, b"1.7976931348623157e308");
            }
            Malformation::NotANumber => match self.first_value {
                FirstValue::Double { at } => {
                    out.splice(values_at + at..values_at + at + 8, f64::NAN.to_le_bytes());
                }
                // Neither true nor false.
                FirstValue::Boolean { at } => out[values_at + at] = 2,
            },
            Malformation::Year2099 => {
                let mut time = Vec::new();
                put_long(&mut time, 4_070_908_800_000);
                out.splice(parts.time.clone(), time);
            }
            Malformation::InvalidUtf8 => out[id_at] = 0xff,
            Malformation::EmptyPayload => out.clear(),
            Malformation::DeepNesting => out.extend_from_slice(&[b'['; 64]),
        }
    }

    /// Everything up to the time; answers where that lies.
    #[inline]
    fn begin(&self, out: &mut Vec<u8>, id: &[u8], time: TimeMs) -> std::ops::Range<usize> {
        out.clear();
        out.extend_from_slice(&self.header);
        put_text(out, id);
        let time_at = out.len();
        put_long(out, time.0);
        time_at..out.len()
    }
}

/// A zigzag varint.
#[inline]
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

#[inline]
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_long(out, text.len() as i64);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::types::Value;
    use apache_avro::writer::datum::GenericDatumWriter;
    use proptest::prelude::*;

    use super::*;

    const ID: &[u8] = b"6f1c2d3e-0000-4000-8000-00000000abcd";

    fn default_kinds() -> Vec<String> {
        DEFAULT_KINDS.map(str::to_owned).to_vec()
    }

    fn schema(format: Format, kinds: &[String]) -> Schema {
        Schema::parse_str(&avro_schema(format, kinds).unwrap()).expect("a schema")
    }

    /// What a general writer makes of the value.
    fn general(schema: &Schema, id: u32, value: Value) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
        let body = writer.write_value_to_vec(value).expect("a value of the schema");
        [&[0], &id.to_be_bytes()[..], &body].concat()
    }

    fn some(value: Value) -> Value {
        Value::Union(1, Box::new(value))
    }

    fn record(fields: Vec<(&str, Value)>) -> Value {
        Value::Record(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    proptest! {
        #[test]
        fn every_byte_is_what_a_general_writer_writes(
            value in any::<f64>(), ms in any::<i64>(), schema_id in any::<u32>(), label in "[ -~é]{1,80}", kind in 0..6_usize,
        ) {
            let kinds = default_kinds();
            let mut out = Vec::new();
            let narrow = AvroEncoder::new(Format::Narrow, &kinds, schema_id).unwrap();
            narrow.narrow(&mut out, ID, TimeMs(ms), kind, value);
            let expected = record(vec![
                ("sensor_id", Value::String(String::from_utf8_lossy(ID).into_owned())),
                ("reading_time", Value::TimestampMillis(ms)),
                ("type", Value::String(kinds[kind].clone())),
                ("reading", Value::Double(value)),
            ]);
            prop_assert_eq!(&out, &general(&schema(Format::Narrow, &kinds), schema_id, expected));

            let wide = AvroEncoder::new(Format::Wide, &kinds, schema_id).unwrap();
            let values = kinds.iter().map(|kind| (value, Shape::of_kind(kind).is_boolean()));
            let place = Location { latitude: value / 2.0, longitude: -value };
            wide.wide(&mut out, label.as_bytes(), TimeMs(ms), values, place);
            let mut fields = vec![("sensor_id", Value::String(label)), ("timestamp", Value::TimestampMillis(ms))];
            fields.extend(kinds.iter().map(|kind| match Shape::of_kind(kind).is_boolean() {
                true => (kind.as_str(), some(Value::Boolean(value != 0.0))),
                false => (kind.as_str(), some(Value::Double(value))),
            }));
            let place = record(vec![("latitude", Value::Double(value / 2.0)), ("longitude", Value::Double(-value))]);
            fields.extend([("location", some(place)), ("status", some(Value::String("active".to_owned())))]);
            prop_assert_eq!(&out, &general(&schema(Format::Wide, &kinds), schema_id, record(fields)));
        }
    }

    #[test]
    fn the_schema_of_the_default_kinds_is_the_file_and_other_kinds_are_fields_of_their_own() {
        assert_eq!(avro_schema(Format::Wide, &default_kinds()).unwrap(), WIDE);
        let Schema::Record(other) = schema(Format::Wide, &["motion".to_owned(), "torque".to_owned()]) else {
            panic!("no record");
        };
        let names: Vec<&str> = other.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(
            names,
            ["sensor_id", "timestamp", "motion", "torque", "location", "status"]
        );
    }

    #[test]
    fn kinds_that_can_be_no_fields_are_refused_where_they_would_be_some() {
        for kinds in [&["a b"][..], &["1a"], &["status"], &["a", "a"], &["größe"]] {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            assert!(avro_schema(Format::Wide, &kinds).is_err(), "{kinds:?}");
            assert!(avro_schema(Format::Narrow, &kinds).is_ok(), "{kinds:?}");
        }
        assert!(avro_schema(Format::Narrow, &[]).is_err());
    }
}
