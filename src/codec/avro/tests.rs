//! Records of random schemas against a general Avro reader, and what each kind of field means.

use std::collections::BTreeSet;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::*;
use crate::codec::Limits;
use crate::model::MAX_SENSOR_ID_BYTES;

const ID: &str = "6f1c2d3e-0000-4000-8000-00000000abcd";
const NOON_MS: i64 = 1_762_344_000_000;
const NARROW: &str = include_str!("../../../schemas/sensor-reading.avsc");
const WIDE: &str = include_str!("../../../schemas/sensor-readings.avsc");

fn decoder(schema: &str) -> Decoder {
    let mut decoder = Decoder::with_schemas(FieldNames::default(), Limits::default());
    decoder.learn(7, schema);
    decoder
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7], body].concat()
}

fn general_bytes(schema: &Schema, value: Avro) -> Result<Vec<u8>, apache_avro::Error> {
    GenericDatumWriter::builder(schema).build()?.write_value_to_vec(value)
}

fn general_value(writer: &Schema, bytes: &[u8], reader: Option<&Schema>) -> Result<Avro, apache_avro::Error> {
    let general = GenericDatumReader::builder(writer)
        .maybe_reader_schema(reader)
        .build()?;
    general.read_value(&mut &bytes[..])
}

/// As a general writer writes it.
fn written(schema: &str, fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).expect("a schema");
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    framed(&general_bytes(&schema, Avro::Record(fields.collect())).expect("a value of the schema"))
}

fn decode(schema: &str, payload: &[u8]) -> Result<(Decoded, Vec<(String, f64)>), Rejected> {
    let mut readings = Vec::new();
    let decoded = decoder(schema).decode(Some(payload), TimeMs(NOON_MS), &mut readings)?;
    Ok((decoded, pairs(&readings)))
}

fn pairs(readings: &[Reading]) -> Vec<(String, f64)> {
    let pair = |reading: &Reading| (reading.kind.to_string(), reading.value);
    readings.iter().map(pair).collect()
}

fn reason(schema: &str, payload: &[u8]) -> Reason {
    decode(schema, payload).expect_err("a dead letter").reason
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn text(text: &str) -> Avro {
    Avro::String(text.to_owned())
}

fn narrow() -> Vec<(&'static str, Avro)> {
    vec![
        ("sensor_id", text(ID)),
        ("reading_time", Avro::TimestampMillis(NOON_MS)),
        ("type", text("temperature")),
        ("reading", Avro::Double(23.4567)),
    ]
}

#[test]
fn a_narrow_record_of_the_contract_is_one_reading() {
    let (decoded, readings) = decode(NARROW, &written(NARROW, narrow())).unwrap();
    assert_eq!(decoded.sensor.to_string(), ID);
    assert_eq!((decoded.time, decoded.label), (TimeMs(NOON_MS), None));
    assert_eq!(readings, [("temperature".to_owned(), 23.4567)]);
}

#[test]
fn a_wide_record_of_the_contract_is_a_reading_for_each_measure_that_is_there() {
    let some = |value| Avro::Union(1, Box::new(value));
    let none = || Avro::Union(0, Box::new(Avro::Null));
    let place = [("latitude", 52.3), ("longitude", 4.9)].map(|(name, value)| (name.to_owned(), Avro::Double(value)));
    let payload = written(
        WIDE,
        vec![
            ("sensor_id", text("SENSOR_001")),
            ("timestamp", Avro::TimestampMillis(NOON_MS)),
            ("temperature", some(Avro::Double(27.5))),
            ("humidity", none()),
            ("pressure", none()),
            ("voltage", some(Avro::Double(-0.0))),
            ("motion", some(Avro::Boolean(true))),
            ("light", none()),
            ("location", some(Avro::Record(place.to_vec()))),
            ("status", some(text("active"))),
        ],
    );
    let (decoded, readings) = decode(WIDE, &payload).unwrap();
    assert_eq!(decoded.label.as_deref(), Some("SENSOR_001"));
    assert_eq!(decoded.sensor, SensorId::from_label("SENSOR_001"));
    assert_eq!(decoded.status.as_deref(), Some("active"));
    let place = decoded.location.map(|place| (place.latitude, place.longitude));
    assert_eq!(place, Some((52.3, 4.9)));
    let expected = [("temperature", 27.5), ("voltage", -0.0), ("motion", 1.0)];
    assert_eq!(readings, expected.map(|(kind, value)| (kind.to_owned(), value)));
    assert!(readings[1].1.is_sign_negative());
}

/// A record of one measure whose id and time have these types.
fn with_types(id: &str, time: &str) -> String {
    record(&format!(
        r#"{{"name":"device_id","type":{id}}},{{"name":"timestamp","type":{time}}},{{"name":"t","type":"float"}}"#
    ))
}

#[test]
fn times_are_understood_in_every_type_that_has_one() {
    let long = |logical: &str| format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
    for (time, value) in [
        ("\"long\"".to_owned(), Avro::Long(NOON_MS)),
        (long("timestamp-millis"), Avro::TimestampMillis(NOON_MS)),
        (long("timestamp-micros"), Avro::TimestampMicros(NOON_MS * 1000 + 999)),
        (long("timestamp-nanos"), Avro::TimestampNanos(NOON_MS * 1_000_000 + 999)),
        (long("local-timestamp-millis"), Avro::LocalTimestampMillis(NOON_MS)),
        (
            long("local-timestamp-micros"),
            Avro::LocalTimestampMicros(NOON_MS * 1000),
        ),
        ("\"string\"".to_owned(), text("2025-11-05T13:00:00+01:00")),
        ("\"string\"".to_owned(), text("2025-11-05T12:00:00")),
        (
            format!(r#"["null",{}]"#, long("timestamp-millis")),
            Avro::Union(1, Box::new(Avro::TimestampMillis(NOON_MS))),
        ),
    ] {
        let schema = with_types("\"string\"", &time);
        let fields = vec![("device_id", text("a")), ("timestamp", value), ("t", Avro::Float(0.1))];
        let (decoded, readings) = decode(&schema, &written(&schema, fields)).unwrap();
        assert_eq!(decoded.time, TimeMs(NOON_MS), "{time}");
        assert_eq!(readings, [("t".to_owned(), f64::from(0.1_f32))]);
    }
    for (time, value, expected) in [
        ("\"string\"", text("soon"), Reason::InvalidTime),
        ("\"string\"", text(""), Reason::EmptyField),
        ("\"double\"", Avro::Double(1e12), Reason::InvalidTime),
        ("\"boolean\"", Avro::Boolean(true), Reason::WrongType),
        (
            "[\"null\",\"long\"]",
            Avro::Union(0, Box::new(Avro::Null)),
            Reason::MissingField,
        ),
    ] {
        let schema = with_types("\"string\"", time);
        let fields = vec![("device_id", text("a")), ("timestamp", value), ("t", Avro::Float(0.1))];
        assert_eq!(reason(&schema, &written(&schema, fields)), expected, "{time}");
    }
}

#[test]
fn ids_are_texts_enums_or_uuids() {
    let uuid = Uuid::parse_str(ID).unwrap();
    let id = SensorId(uuid);
    for (of, value, expected) in [
        ("\"string\"", text(ID), id),
        (r#"{"type":"string","logicalType":"uuid"}"#, Avro::Uuid(uuid), id),
        (
            r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#,
            Avro::Uuid(uuid),
            id,
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["x","SENSOR_001"]}"#,
            Avro::Enum(1, "SENSOR_001".to_owned()),
            SensorId::from_label("SENSOR_001"),
        ),
    ] {
        let schema = with_types(of, "\"long\"");
        let fields = vec![
            ("device_id", value),
            ("timestamp", Avro::Long(NOON_MS)),
            ("t", Avro::Float(1.0)),
        ];
        assert_eq!(
            decode(&schema, &written(&schema, fields)).unwrap().0.sensor,
            expected,
            "{of}"
        );
    }
    let schema = with_types("\"long\"", "\"long\"");
    let fields = vec![
        ("device_id", Avro::Long(1)),
        ("timestamp", Avro::Long(NOON_MS)),
        ("t", Avro::Float(1.0)),
    ];
    assert_eq!(reason(&schema, &written(&schema, fields)), Reason::WrongType);
}

#[test]
fn the_first_name_that_is_not_null_is_the_id() {
    let optional = r#"["null","string"]"#;
    let schema = record(&format!(
        r#"{{"name":"device_id","type":"string"}},{{"name":"sensor_id","type":{optional}}},{{"name":"timestamp","type":"long"}},{{"name":"t","type":"int"}}"#
    ));
    for (preferred, expected) in [(Some("b"), "b"), (None, "a")] {
        let preferred = match preferred {
            Some(id) => Avro::Union(1, Box::new(text(id))),
            None => Avro::Union(0, Box::new(Avro::Null)),
        };
        let fields = vec![
            ("device_id", text("a")),
            ("sensor_id", preferred),
            ("timestamp", Avro::Long(NOON_MS)),
            ("t", Avro::Int(-3)),
        ];
        let (decoded, readings) = decode(&schema, &written(&schema, fields)).unwrap();
        assert_eq!(decoded.label.as_deref(), Some(expected));
        assert_eq!(readings, [("t".to_owned(), -3.0)]);
    }
}

#[test]
fn names_of_fields_are_the_configured_ones() {
    let fields = FieldNames {
        id: vec!["machine".to_owned()],
        time: vec!["at".to_owned()],
        kind: "what".to_owned(),
        value: "much".to_owned(),
        ..FieldNames::default()
    };
    let schema = record(
        r#"{"name":"machine","type":"string"},{"name":"at","type":"long"},{"name":"what","type":"string"},{"name":"much","type":"int"},{"name":"reading","type":"double"}"#,
    );
    let mut decoder = Decoder::with_schemas(fields, Limits::default());
    decoder.learn(7, &schema);
    let values = vec![
        ("machine", text("m")),
        ("at", Avro::Long(NOON_MS)),
        ("what", text("rpm")),
        ("much", Avro::Int(900)),
        ("reading", Avro::Double(1.0)),
    ];
    let mut readings = Vec::new();
    let payload = written(&schema, values);
    decoder.decode(Some(&payload), TimeMs(NOON_MS), &mut readings).unwrap();
    assert_eq!(pairs(&readings), [("rpm".to_owned(), 900.0)]);
}

#[test]
fn what_is_wrong_has_its_reason_and_leaves_no_reading_behind() {
    let good = written(NARROW, narrow());
    let with = |name: &str, value: Avro| {
        let fields = narrow().into_iter().map(|field| {
            if field.0 == name {
                (field.0, value.clone())
            } else {
                field
            }
        });
        written(NARROW, fields.collect())
    };
    for (payload, expected) in [
        (with("sensor_id", text("")), Reason::EmptyField),
        (with("sensor_id", text(&"x".repeat(257))), Reason::NameTooLong),
        (with("type", text("")), Reason::EmptyField),
        (with("reading", Avro::Double(f64::NAN)), Reason::ValueNotFinite),
        (with("reading", Avro::Double(f64::NEG_INFINITY)), Reason::ValueNotFinite),
        (with("reading_time", Avro::TimestampMillis(0)), Reason::TimeTooOld),
        (
            with("reading_time", Avro::TimestampMillis(NOON_MS + 3_600_001)),
            Reason::TimeInFuture,
        ),
        (good[..good.len() - 1].to_vec(), Reason::InvalidAvro),
        ([&good[..], &[0]].concat(), Reason::InvalidAvro),
        (good[..3].to_vec(), Reason::InvalidAvro),
        (framed(&[1]), Reason::InvalidAvro),
        (framed(&[4, 0xff, 0xfe]), Reason::InvalidUtf8),
        (framed(&[0xff; 11]), Reason::InvalidAvro),
        ([&[0, 0, 0, 0, 8], &good[5..]].concat(), Reason::UnknownSchema),
    ] {
        let mut readings = Vec::new();
        let outcome = decoder(NARROW).decode(Some(&payload), TimeMs(NOON_MS), &mut readings);
        assert_eq!(
            outcome.map_err(|rejected| rejected.reason),
            Err(expected),
            "{payload:02x?}"
        );
        assert!(readings.is_empty());
    }
    let mut without_registry = Decoder::new(FieldNames::default(), Limits::default());
    let refused = without_registry.decode(Some(&good), TimeMs(NOON_MS), &mut Vec::new());
    assert_eq!(refused.map_err(|rejected| rejected.reason), Err(Reason::UnknownFormat));
}

#[test]
fn schemas_that_no_record_of_readings_has_are_unusable() {
    let payload = framed(&[0; 40]);
    for schema in [
        "nonsense",
        "\"string\"",
        r#"{"type":"array","items":"double"}"#,
        "\"JSON\"",
        r#"{"type":"record"}"#,
    ] {
        assert_eq!(reason(schema, &payload), Reason::UnusableSchema, "{schema}");
    }
}

#[test]
fn a_record_may_be_a_branch_of_a_union() {
    let inner = with_types("\"string\"", "\"long\"");
    let union = format!(r#"["null",{inner}]"#);
    let fields = vec![
        ("device_id", text("a")),
        ("timestamp", Avro::Long(NOON_MS)),
        ("t", Avro::Float(2.0)),
    ];
    let body = written(&inner, fields)[5..].to_vec();
    let (_, readings) = decode(&union, &framed(&[&[2], &body[..]].concat())).unwrap();
    assert_eq!(readings, [("t".to_owned(), 2.0)]);
    assert_eq!(reason(&union, &framed(&[0])), Reason::WrongType);
    assert_eq!(reason(&union, &framed(&[4])), Reason::InvalidAvro);
}

/// A record with something behind its measure that holds itself, `levels` times.
fn nested(levels: usize) -> (String, Vec<u8>) {
    let list = r#"{"type":"record","name":"List","fields":[{"name":"n","type":"int"},{"name":"next","type":["null","List"]}]}"#;
    let schema = record(&format!(
        r#"{{"name":"sensor_id","type":"string"}},{{"name":"timestamp","type":"long"}},{{"name":"t","type":"int"}},{{"name":"list","type":["null",{list}]}},{{"name":"again","type":["null","List"]}}"#
    ));
    let head = written(
        &with_types("\"string\"", "\"long\"").replace("\"float\"", "\"int\""),
        vec![
            ("device_id", text("a")),
            ("timestamp", Avro::Long(NOON_MS)),
            ("t", Avro::Int(5)),
        ],
    );
    let mut payload = head;
    for _ in 0..levels {
        payload.extend([2, 8]);
    }
    payload.extend([0, 2, 8, 0]);
    (schema, payload)
}

#[test]
fn a_type_that_holds_itself_is_passed_over_and_not_without_a_bound() {
    let (schema, payload) = nested(5);
    assert_eq!(decode(&schema, &payload).unwrap().1, [("t".to_owned(), 5.0)]);
    let (schema, payload) = nested(200_000);
    assert_eq!(reason(&schema, &payload), Reason::NestingTooDeep);
}

#[test]
fn as_many_nothings_as_one_likes_cost_nothing() {
    let schema = record(
        r#"{"name":"sensor_id","type":"string"},{"name":"timestamp","type":"long"},{"name":"t","type":"int"},{"name":"many","type":{"type":"array","items":"null"}},{"name":"empty","type":{"type":"array","items":{"type":"record","name":"E","fields":[]}}}"#,
    );
    let mut payload = nested(0).1;
    payload.truncate(payload.len() - 4);
    // Two counts of 2^62 and then the end, twice.
    let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    for _ in 0..2 {
        payload.extend(count);
        payload.extend(count);
        payload.push(0);
    }
    assert_eq!(decode(&schema, &payload).unwrap().1, [("t".to_owned(), 5.0)]);
}

/// A type of Avro's.
#[derive(Clone, Debug)]
enum Of {
    /// Its JSON.
    Simple(&'static str),
    Enum(usize),
    Fixed(usize),
    Optional(Box<Of>, bool),
    Array(Box<Of>),
    Map(Box<Of>),
    Record(Vec<Of>),
}

const SIMPLE: [&str; 16] = [
    "\"null\"",
    "\"boolean\"",
    "\"int\"",
    "\"long\"",
    "\"float\"",
    "\"double\"",
    "\"bytes\"",
    "\"string\"",
    r#"{"type":"int","logicalType":"date"}"#,
    r#"{"type":"int","logicalType":"time-millis"}"#,
    r#"{"type":"long","logicalType":"time-micros"}"#,
    r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    r#"{"type":"long","logicalType":"timestamp-micros"}"#,
    r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
    r#"{"type":"string","logicalType":"uuid"}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
];

fn any_type() -> impl Strategy<Value = Of> {
    let leaf = prop_oneof![
        8 => prop::sample::select(SIMPLE.to_vec()).prop_map(Of::Simple),
        1 => (1..5_usize).prop_map(Of::Enum),
        1 => (0..9_usize).prop_map(Of::Fixed),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            3 => (inner.clone(), any::<bool>()).prop_map(|(of, first)| Of::Optional(Box::new(of), first)),
            1 => inner.clone().prop_map(|of| Of::Array(Box::new(of))),
            1 => inner.clone().prop_map(|of| Of::Map(Box::new(of))),
            2 => prop::collection::vec(inner, 0..4).prop_map(Of::Record),
        ]
    })
}

/// Makes schemas and values of them; names are given out one by one.
struct Maker {
    rng: SplitMix64,
    names: usize,
}

impl Maker {
    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("T{}", self.names)
    }

    fn schema(&mut self, of: &Of) -> String {
        match of {
            Of::Simple(json) => (*json).to_owned(),
            Of::Enum(count) => {
                let symbols: Vec<String> = (0..*count).map(|symbol| format!("\"S{symbol}\"")).collect();
                format!(
                    r#"{{"type":"enum","name":"{}","symbols":[{}]}}"#,
                    self.name(),
                    symbols.join(",")
                )
            }
            Of::Fixed(size) => format!(r#"{{"type":"fixed","name":"{}","size":{size}}}"#, self.name()),
            Of::Optional(of, null_first) => match (&**of, null_first) {
                // A union holds no union and no second null.
                (Of::Optional(..) | Of::Simple("\"null\""), _) => self.schema(of),
                (of, true) => format!(r#"["null",{}]"#, self.schema(of)),
                (of, false) => format!(r#"[{},"null"]"#, self.schema(of)),
            },
            Of::Array(of) => format!(r#"{{"type":"array","items":{}}}"#, self.schema(of)),
            Of::Map(of) => format!(r#"{{"type":"map","values":{}}}"#, self.schema(of)),
            Of::Record(fields) => {
                let name = self.name();
                let fields = fields.iter().enumerate();
                let fields: Vec<String> = fields
                    .map(|(at, of)| format!(r#"{{"name":"f{at}","type":{}}}"#, self.schema(of)))
                    .collect();
                format!(
                    r#"{{"type":"record","name":"{name}","namespace":"n{}","fields":[{}]}}"#,
                    self.names,
                    fields.join(",")
                )
            }
        }
    }

    fn value(&mut self, of: &Of) -> Avro {
        match of {
            Of::Simple(json) => self.simple(json),
            Of::Enum(count) => {
                let symbol = self.below(*count as u64);
                Avro::Enum(symbol as u32, format!("S{symbol}"))
            }
            Of::Fixed(size) => Avro::Fixed(*size, (0..*size).map(|_| self.below(256) as u8).collect()),
            Of::Optional(of, null_first) => match (&**of, self.below(3)) {
                (Of::Optional(..) | Of::Simple("\"null\""), _) => self.value(of),
                (_, 0) => Avro::Union(u32::from(!*null_first), Box::new(Avro::Null)),
                (of, _) => Avro::Union(u32::from(*null_first), Box::new(self.value(of))),
            },
            Of::Array(of) => Avro::Array((0..self.below(4)).map(|_| self.value(of)).collect()),
            Of::Map(of) => {
                let count = self.below(4);
                Avro::Map((0..count).map(|key| (format!("k{key}"), self.value(of))).collect())
            }
            Of::Record(fields) => {
                let fields = fields.iter().enumerate();
                Avro::Record(fields.map(|(at, of)| (format!("f{at}"), self.value(of))).collect())
            }
        }
    }

    fn simple(&mut self, json: &str) -> Avro {
        let bits = self.rng.next_u64();
        // Of every size, so that varints are of every length.
        let long = bits.cast_signed() >> self.below(64);
        let int = bits as i32 >> self.below(32);
        let double = Some(f64::from_bits(bits))
            .filter(|double| double.is_finite())
            .unwrap_or(0.5);
        match SIMPLE.iter().position(|known| *known == json).expect("one of them") {
            0 => Avro::Null,
            1 => Avro::Boolean(bits & 1 == 1),
            2 => Avro::Int(int),
            3 => Avro::Long(long),
            4 => Avro::Float(double as f32).finite(),
            5 => Avro::Double(double),
            6 => Avro::Bytes(bits.to_le_bytes()[..self.below(9) as usize].to_vec()),
            7 => text(&"aé漢".repeat(self.below(40) as usize)),
            8 => Avro::Date(int),
            9 => Avro::TimeMillis(int),
            10 => Avro::TimeMicros(long),
            11 => Avro::TimestampMillis(long),
            12 => Avro::TimestampMicros(long),
            13 => Avro::LocalTimestampMillis(long),
            14 => Avro::Uuid(Uuid::from_u128(u128::from(bits))),
            _ => Avro::Decimal(apache_avro::Decimal::from((bits as i16).to_be_bytes())),
        }
    }
}

trait Finite {
    fn finite(self) -> Self;
}

impl Finite for Avro {
    /// A double may be too large for a float.
    fn finite(self) -> Avro {
        match self {
            Avro::Float(float) if !float.is_finite() => Avro::Float(0.25),
            other => other,
        }
    }
}

/// A field of the reader as a writer may have it: in another type that may be read as the reader's.
fn written_as(name: &'static str, types: &'static [&'static str]) -> impl Strategy<Value = (&'static str, Of)> {
    prop::sample::select(types.to_vec()).prop_map(move |json| (name, Of::Simple(json)))
}

/// Writers of records that the contract's reader reads: its fields in any order and in types that widen to its own, some
/// that it does not know in between, those with a default missing at times.
fn writers() -> impl Strategy<Value = Vec<(String, Of)>> {
    let status = prop::option::of(
        any::<bool>().prop_map(|null_first| ("status", Of::Optional(Box::new(Of::Simple("\"string\"")), null_first))),
    );
    let known = (
        written_as("sensor_id", &["\"string\""]),
        written_as("reading_time", &[SIMPLE[11], "\"long\""]),
        written_as("type", &["\"string\""]),
        written_as("reading", &["\"int\"", "\"long\"", "\"float\"", "\"double\""]),
        status,
    );
    let unknown = prop::collection::vec(any_type(), 0..6);
    let fields = (known, unknown).prop_map(|((id, time, kind, reading, status), unknown)| {
        let known = [id, time, kind, reading].into_iter().chain(status);
        let mut fields: Vec<(String, Of)> = known.map(|(name, of)| (name.to_owned(), of)).collect();
        fields.extend(unknown.into_iter().enumerate().map(|(at, of)| (format!("u{at}"), of)));
        fields
    });
    fields.prop_shuffle()
}

/// The writer's schema, and a record of it.
fn made(fields: &[(String, Of)], seed: u64) -> (String, Vec<(String, Avro)>) {
    let mut maker = Maker {
        rng: SplitMix64::seed_from_u64(seed),
        names: 0,
    };
    let schema: Vec<String> = fields
        .iter()
        .map(|(name, of)| format!(r#"{{"name":"{name}","type":{}}}"#, maker.schema(of)))
        .collect();
    let mut value: Vec<(String, Avro)> = fields
        .iter()
        .map(|(name, of)| (name.clone(), maker.value(of)))
        .collect();
    for (name, value) in &mut value {
        match name.as_str() {
            "sensor_id" => *value = text("SENSOR_1"),
            "type" => *value = text("temperature"),
            _ => {}
        }
    }
    (
        format!(
            r#"{{"type":"record","name":"SensorReading","namespace":"iotpipe","fields":[{}]}}"#,
            schema.join(",")
        ),
        value,
    )
}

fn without_union(value: &Avro) -> &Avro {
    match value {
        Avro::Union(_, value) => value,
        value => value,
    }
}

/// The contract's reader, with a field that was added later.
fn reader() -> String {
    let status = r#"{"name":"status","type":["null","string"],"default":null}"#;
    let end = NARROW.rfind(']').expect("fields");
    format!("{},{status}{}", &NARROW[..end], &NARROW[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_writer_is_resolved_as_a_general_reader_resolves_it(fields in writers(), seed in any::<u64>()) {
        let (schema, value) = made(&fields, seed);
        let writer = Schema::parse_str(&schema).expect("a schema");
        let body = general_bytes(&writer, Avro::Record(value)).expect("a value of the schema");
        let reader = Schema::parse_str(&reader()).expect("a schema");
        let resolved = general_value(&writer, &body, Some(&reader)).expect("a record");
        let Avro::Record(resolved) = resolved else { panic!("no record") };
        let field = |name: &str| resolved.iter().find(|(known, _)| known == name).map(|(_, value)| without_union(value));

        let mut readings = Vec::new();
        let decoded = decoder(&schema).decode_avro(&framed(&body), &mut readings).map_err(|why| TestCaseError::fail(format!("{why:?} {schema}")))?;
        prop_assert_eq!(field("sensor_id"), Some(&text(decoded.label.as_deref().unwrap_or_default())));
        prop_assert_eq!(field("reading_time"), Some(&Avro::TimestampMillis(decoded.time.0)));
        let [Reading { kind, value }] = &readings[..] else { panic!("one reading") };
        prop_assert_eq!(field("type"), Some(&text(kind.as_str())));
        prop_assert_eq!(field("reading"), Some(&Avro::Double(*value)));
        // An empty status says nothing, and a long one is left out.
        let status = match field("status") {
            Some(Avro::String(status)) if !status.is_empty() && status.len() <= MAX_SENSOR_ID_BYTES => Some(status.as_str()),
            _ => None,
        };
        prop_assert_eq!(decoded.status.as_deref(), status);
    }

    #[test]
    fn the_measures_of_any_record_are_what_a_general_reader_finds(unknown in prop::collection::vec(any_type(), 0..9), seed in any::<u64>()) {
        let mut fields: Vec<(String, Of)> = unknown.into_iter().enumerate().map(|(at, of)| (format!("u{at}"), of)).collect();
        fields.insert(fields.len() / 2, ("sensor_id".to_owned(), Of::Simple("\"string\"")));
        fields.push(("timestamp".to_owned(), Of::Simple(SIMPLE[12])));
        let (schema, value) = made(&fields, seed);
        let writer = Schema::parse_str(&schema).expect("a schema");
        let body = general_bytes(&writer, Avro::Record(value)).expect("a value of the schema");
        let Ok(Avro::Record(general)) = general_value(&writer, &body, None) else { panic!("no record") };
        let expected: Vec<(String, f64)> = general.iter().filter_map(|(name, value)| {
            let value = match without_union(value) {
                Avro::Boolean(value) => f64::from(u8::from(*value)),
                Avro::Int(value) => f64::from(*value),
                Avro::Long(value) => *value as f64,
                Avro::Float(value) => f64::from(*value),
                Avro::Double(value) => *value,
                _ => return None,
            };
            Some((name.clone(), value))
        }).collect();
        let Some((_, Avro::TimestampMicros(micros))) = general.last() else { panic!("no time") };

        let mut readings = Vec::new();
        let outcome = decoder(&schema).decode_avro(&framed(&body), &mut readings);
        if expected.is_empty() {
            prop_assert_eq!(outcome.map_err(|why| why.reason), Err(Reason::NoReadings));
        } else {
            prop_assert_eq!(outcome.map(|decoded| decoded.time), Ok(TimeMs(micros.div_euclid(1000))));
            prop_assert_eq!(pairs(&readings), expected);
        }

        // Every end but the right one is noticed, and no byte makes it fall over.
        let mut decoder = decoder(&schema);
        for end in 0..body.len() {
            prop_assert!(decoder.decode_avro(&framed(&body[..end]), &mut readings).is_err());
        }
        let mut rng = SplitMix64::seed_from_u64(seed);
        for _ in 0..20 {
            let mut broken = body.clone();
            let at = (rng.next_u64() % broken.len() as u64) as usize;
            broken[at] = rng.next_u64() as u8;
            let _ = decoder.decode_avro(&framed(&broken), &mut readings);
        }
    }
}

#[test]
fn the_random_types_are_all_met() {
    let names: BTreeSet<&str> = SIMPLE.into_iter().collect();
    assert_eq!(names.len(), SIMPLE.len());
    let mut maker = Maker {
        rng: SplitMix64::seed_from_u64(1),
        names: 0,
    };
    for json in SIMPLE {
        let schema = Schema::parse_str(json).expect("a schema");
        let value = maker.simple(json);
        general_bytes(&schema, value).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
}
