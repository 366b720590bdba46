//! The schema that programs rely on, and how letters look to a person.

use super::*;
use crate::model::TimeMs;
use crate::report::{Format, JsonRows, Out};

pub fn letter() -> Letter {
    Letter {
        place: Place {
            partition: 3,
            offset: 17,
        },
        time: Some(TimeMs(1_762_344_000_123)),
        reason: Some("invalid_utf8".into()),
        detail: Some("byte 1 is no UTF-8".into()),
        origin: Some(Origin {
            topic: "readings".into(),
            partition: 2,
            offset: 99,
            time: Some(TimeMs(1_762_344_000_000)),
        }),
        cut_from_bytes: None,
        attempts: 1,
        key: Some(b"attic".to_vec()),
        payload: Some(b"{\xff\x1b".to_vec()),
        headers: vec![("trace".into(), Some(b"abc".to_vec())), ("null".into(), None)],
    }
}

fn printed(format: Format, count: usize) -> String {
    let (mut out, captured) = Out::captured(None);
    let mut printer = JsonRows::of(format);
    for number in 0..count {
        printer.row(&mut out, &number).unwrap();
    }
    printer.finish(&mut out).unwrap();
    captured.data()
}

#[test]
fn json_is_an_array_and_jsonl_a_line_each() {
    for count in 0..3 {
        let values: Vec<usize> = serde_json::from_str(&printed(Format::Json, count)).unwrap();
        assert_eq!(values, (0..count).collect::<Vec<_>>());
    }
    assert_eq!(printed(Format::Jsonl, 2), "0\n1\n");
    assert_eq!(printed(Format::Jsonl, 0), "");
}

#[test]
fn the_schema_of_a_letter_is_fixed() {
    let text = serde_json::to_string(&JsonLetter::of(&letter(), 3)).unwrap();
    let expected = concat!(
        r#"{"partition":3,"offset":17,"time":"2025-11-05T12:00:00.123Z","time_ms":1762344000123,"#,
        r#""reason":"invalid_utf8","detail":"byte 1 is no UTF-8","source":{"topic":"readings","partition":2,"#,
        r#""offset":99,"time":"2025-11-05T12:00:00.000Z","time_ms":1762344000000},"attempts":1,"#,
        r#""key":{"text":"attic","base16":"6174746963"},"payload_bytes":3,"cut_from_bytes":null}"#
    );
    assert_eq!(text, expected);
    let foreign = Letter {
        reason: None,
        detail: None,
        origin: None,
        key: None,
        ..letter()
    };
    let text = serde_json::to_string(&JsonLetter::of(&foreign, 3)).unwrap();
    assert!(
        text.contains(r#""reason":null,"detail":null,"source":null,"attempts":1,"key":null"#),
        "{text}"
    );
}

#[test]
fn positions_given_twice_are_one_place() {
    let at = |offset| Position { partition: 0, offset };
    let offsets: Vec<i64> = places(&[at(7), at(3), at(7)])
        .iter()
        .map(|place| place.offset)
        .collect();
    assert_eq!(offsets, [3, 7]);
}
