//! What is accepted, what is refused and why; and that no bytes at all panic.

use proptest::prelude::*;

use super::*;
use crate::codec::{FieldNames, Limits};
use crate::model::{Kind, MILLIS_PER_DAY};

const NOW: TimeMs = TimeMs(1_762_344_000_000);

fn decode(payload: &[u8]) -> Result<(Decoded, Vec<Reading>), Rejected> {
    let mut decoder = Decoder::new(FieldNames::default(), Limits::default());
    let mut readings = Vec::new();
    let decoded = decoder.decode(Some(payload), NOW, &mut readings);
    if decoded.is_err() {
        assert!(readings.is_empty(), "a rejected record must leave no readings behind");
    }
    decoded.map(|decoded| (decoded, readings))
}

fn reason(payload: impl AsRef<[u8]>) -> Reason {
    decode(payload.as_ref())
        .expect_err("accepted, but should be a dead letter")
        .reason
}

fn narrow(value: &str) -> String {
    format!(
        r#"{{"sensor_id":"6f1c2d3e-0000-4000-8000-00000000abcd","reading_time":{},"type":"t","reading":{value}}}"#,
        NOW.0
    )
}

#[test]
fn a_narrow_record_is_one_reading() {
    let (decoded, readings) = decode(narrow("23.4567").as_bytes()).unwrap();
    assert_eq!(decoded.sensor.to_string(), "6f1c2d3e-0000-4000-8000-00000000abcd");
    assert_eq!((decoded.time, decoded.label), (NOW, None));
    assert_eq!(
        readings,
        [Reading {
            kind: Kind::new("t"),
            value: 23.4567
        }]
    );
    assert_eq!(decode(narrow("true").as_bytes()).unwrap().1[0].value, 1.0);
}

#[test]
fn a_wide_record_is_a_reading_for_each_number_and_boolean() {
    let payload = br#"{"sensor_id":"SENSOR_001","timestamp":"2025-11-05T12:00:00Z","temperature":27.5,"humidity":40,
        "motion":true,"location":{"latitude":52.3,"longitude":4.9},"status":"active","note":null,"tags":["a"]}"#;
    let (decoded, readings) = decode(payload).unwrap();
    assert_eq!(decoded.time, NOW);
    assert_eq!(decoded.label.as_deref(), Some("SENSOR_001"));
    assert_eq!(decoded.status.as_deref(), Some("active"));
    assert_eq!(
        decoded.location,
        Some(Location {
            latitude: 52.3,
            longitude: 4.9
        })
    );
    let named: Vec<_> = readings
        .iter()
        .map(|reading| (reading.kind.as_str(), reading.value))
        .collect();
    assert_eq!(named, [("temperature", 27.5), ("humidity", 40.0), ("motion", 1.0)]);
}

#[test]
fn a_location_of_another_shape_says_nothing() {
    for place in [
        "\"Amsterdam\"",
        "null",
        "[1,2]",
        r#"{"latitude":"52"}"#,
        r#"{"latitude":1,"longitude":{"x":1}}"#,
    ] {
        let payload = format!(r#"{{"device_id":"d","timestamp":{},"t":1,"location":{place}}}"#, NOW.0);
        assert_eq!(decode(payload.as_bytes()).unwrap().0.location, None, "{place}");
    }
}

#[test]
fn field_names_are_configurable() {
    let fields = FieldNames {
        id: vec!["dev".to_owned()],
        time: vec!["at".to_owned()],
        ignored: vec!["battery".to_owned()],
        ..FieldNames::default()
    };
    let mut readings = Vec::new();
    let payload = format!(r#"{{"dev":"d","at":{},"battery":3,"t":1}}"#, NOW.0);
    Decoder::new(fields, Limits::default())
        .decode(Some(payload.as_bytes()), NOW, &mut readings)
        .unwrap();
    assert_eq!(
        readings,
        [Reading {
            kind: Kind::new("t"),
            value: 1.0
        }]
    );
}

#[test]
fn every_fault_has_its_reason() {
    let with_time = |time: i64| narrow("1").replace(&NOW.0.to_string(), &time.to_string());
    let nested = |levels: usize| format!(r#"{{"deep":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let id = |id: &str| narrow("1").replace("6f1c2d3e-0000-4000-8000-00000000abcd", id);
    assert_eq!(reason(b""), Reason::EmptyPayload);
    assert_eq!(reason(b"hello"), Reason::UnknownFormat);
    assert_eq!(reason([0, 0, 0, 0, 1]), Reason::UnknownFormat);
    assert_eq!(reason(b"{\"sensor_id\":\"\xff\"}"), Reason::InvalidUtf8);
    assert_eq!(reason(r#"{"sensor_id":"a""#), Reason::InvalidJson);
    assert_eq!(reason(narrow("1") + "x"), Reason::InvalidJson);
    assert_eq!(reason(nested(33)), Reason::NestingTooDeep);
    assert_eq!(reason(nested(5_000)), Reason::NestingTooDeep);
    assert_eq!(
        reason(r#"{"deep":"#.to_owned() + &"[".repeat(500_000)),
        Reason::NestingTooDeep
    );
    assert_eq!(reason(nested(32)), Reason::MissingField);
    assert_eq!(reason(narrow("1,\"type\":\"u\"")), Reason::DuplicateField);
    assert_eq!(reason(narrow("1").replace("sensor_id", "id")), Reason::MissingField);
    assert_eq!(reason(narrow("1").replace("reading\"", "r\"")), Reason::MissingField);
    assert_eq!(reason(narrow("1").replace("type", "kind")), Reason::MissingField);
    assert_eq!(
        reason(narrow("1").replace("reading_time", "when")),
        Reason::MissingField
    );
    assert_eq!(reason(id("")), Reason::EmptyField);
    assert_eq!(reason(id(&"x".repeat(257))), Reason::NameTooLong);
    assert_eq!(reason(narrow("1").replace("\"t\"", "\"\"")), Reason::EmptyField);
    assert_eq!(reason(narrow("\"12\"")), Reason::WrongType);
    assert_eq!(reason(narrow("null")), Reason::WrongType);
    assert_eq!(reason(narrow("[1]")), Reason::WrongType);
    for value in ["NaN", "-NaN", "Infinity", "-Infinity", " inf", "1e999", "-1e999"] {
        assert_eq!(reason(narrow(value)), Reason::ValueNotFinite, "{value}");
    }
    assert_eq!(reason(narrow("nothing")), Reason::InvalidJson);
    assert_eq!(
        reason(narrow("1").replace(&NOW.0.to_string(), "\"yesterday\"")),
        Reason::InvalidTime
    );
    assert_eq!(
        reason(narrow("1").replace(&NOW.0.to_string(), "1.5")),
        Reason::InvalidTime
    );
    assert_eq!(
        reason(narrow("1").replace(&NOW.0.to_string(), "null")),
        Reason::WrongType
    );
    assert_eq!(reason(with_time(TimeMs::OLDEST.0 - 1)), Reason::TimeTooOld);
    assert_eq!(reason(with_time(NOW.0 + 3_600_001)), Reason::TimeInFuture);
    assert_eq!(reason(with_time(4_070_908_800_000)), Reason::TimeInFuture);
    assert!(decode(with_time(NOW.0 + 3_600_000).as_bytes()).is_ok());
    assert!(decode(with_time(TimeMs::OLDEST.0).as_bytes()).is_ok());
    assert_eq!(
        reason(format!(r#"{{"device_id":"d","timestamp":{},"status":"on"}}"#, NOW.0)),
        Reason::NoReadings
    );
}

#[test]
fn limits_are_exact_and_judged_against_the_record() {
    let limits = Limits {
        max_payload_bytes: narrow("1").len(),
        readings_ttl_ms: Some(3 * MILLIS_PER_DAY),
    };
    let mut decoder = Decoder::new(FieldNames::default(), limits);
    let mut at = |payload: &str, timestamp: i64| {
        decoder
            .decode(Some(payload.as_bytes()), TimeMs(timestamp), &mut Vec::new())
            .map_err(|rejected| rejected.reason)
    };
    assert!(at(&narrow("1"), NOW.0 + 2 * MILLIS_PER_DAY).is_ok());
    assert_eq!(
        at(&narrow("1"), NOW.0 + 2 * MILLIS_PER_DAY + 1).unwrap_err(),
        Reason::Expired
    );
    assert_eq!(at(&narrow("12"), NOW.0).unwrap_err(), Reason::PayloadTooLarge);
}

#[test]
fn more_than_a_dozen_fields_are_searched_for_duplicates_too() {
    let fields: String = (0..20).map(|i| format!(",\"m{i}\":{i}")).collect();
    let record = |extra: &str| format!(r#"{{"sensor_id":"s","timestamp":{}{fields}{extra}}}"#, NOW.0);
    assert_eq!(decode(record("").as_bytes()).unwrap().1.len(), 20);
    assert_eq!(reason(record(",\"m3\":1")), Reason::DuplicateField);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_survives_to_the_bit(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        // {:?} is the shortest text that reads back as the same double; {:e} exercises exponents.
        for text in [format!("{value:?}"), format!("{value:e}")] {
            let (_, readings) = decode(narrow(&text).as_bytes()).unwrap();
            prop_assert_eq!(readings[0].value.to_bits(), bits, "{}", text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let mut object = b"{".to_vec();
        object.extend(bytes);
        let _ = decode(&object);
    }

    #[test]
    fn a_damaged_record_does_not_panic(at in 0usize..110, byte in any::<u8>(), cut in 0usize..110) {
        let mut payload = narrow("23.4567").into_bytes();
        let length = payload.len();
        payload[at % length] = byte;
        let _ = decode(&payload);
        payload.truncate(cut);
        let _ = decode(&payload);
    }

    #[test]
    fn json_like_texts_do_not_panic(text in r#"\{("[a-z_]{0,12}":([0-9eE+.-]{1,8}|"[^"]{0,8}"|\[|\{|null|NaN|é),? ?){0,6}\}?"#) {
        let _ = decode(text.as_bytes());
    }
}
