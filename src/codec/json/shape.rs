//! Records of one shape: the same fields in the same order and the same spaces, as the records of a fleet are. What stands
//! between their values is compared as a whole, and what a field means is found out once a shape, not once a record.
//!
//! A shape is learnt from a record that was decoded, and answers only where the general way would say the same; otherwise
//! it says nothing at all.

use super::super::{FieldNames, Interner, name, parse_rfc3339};
use super::Scalar;
use super::flat::{Field, Scanner, scan};
use crate::model::{Kind, Reading, TimeMs};

/// Shapes that are tried: a fleet has a few kinds of devices.
const SHAPES_MAX: usize = 4;
/// Learning costs as much as decoding; records without a common shape shall not pay for ever.
const LEARNT_MAX: u32 = 256;

/// The shapes met so far.
#[derive(Default)]
pub(in super::super) struct Shapes {
    /// The one that answered last is the first.
    known: Vec<Shape>,
    learnt: u32,
}

struct Shape {
    parts: Vec<Part>,
    /// What stands behind the last value.
    end: Box<str>,
}

/// A value, and what stands before it from the end of the value before, quotes included.
struct Part {
    before: Box<str>,
    is_text: bool,
    role: Role,
}

#[derive(Clone, PartialEq, Debug)]
enum Role {
    Id,
    Time,
    /// The name of the one measure.
    Kind,
    /// The value of the one measure.
    Value,
    /// A measure of several.
    Measure(Kind),
    Status,
    None,
}

/// A record's values by their meaning; its readings lie in the caller's list, the one of a named measure without a name yet.
pub(super) struct Values<'a> {
    pub id: &'a str,
    pub time: TimeMs,
    /// Of the one measure: its name and its value.
    pub narrow: Option<(&'a str, f64)>,
    pub status: Option<&'a str>,
}

impl Shapes {
    /// The values of a plain text (see [`super::flat::is_plain`]) of a known shape. Readings of several measures are
    /// appended to `readings`, also where nothing is answered in the end.
    pub(super) fn read<'a>(&mut self, text: &'a str, readings: &mut Vec<Reading>) -> Option<Values<'a>> {
        let kept = readings.len();
        for index in 0..self.known.len() {
            if let Some(values) = self.known[index].read(text, readings) {
                self.known.swap(0, index);
                return Some(values);
            }
            readings.truncate(kept);
        }
        None
    }

    /// Takes up the shape of a plain text that was decoded.
    pub(super) fn learn(&mut self, text: &str, fields: &FieldNames, names: &mut Interner) {
        if self.learnt >= LEARNT_MAX {
            return;
        }
        self.learnt += 1;
        if let Some(shape) = Shape::of(text, fields, names) {
            self.known.truncate(SHAPES_MAX - 1);
            self.known.insert(0, shape);
        }
    }
}

impl Shape {
    fn of(text: &str, names: &FieldNames, interner: &mut Interner) -> Option<Shape> {
        let mut fields = Vec::new();
        scan(text, |field| fields.push(field))?;
        let roles = roles(&fields, names, interner)?;
        let (mut parts, mut end) = (Vec::with_capacity(fields.len()), 0);
        for (field, role) in fields.iter().zip(roles) {
            parts.push(Part {
                before: text[end..field.at.start].into(),
                is_text: matches!(field.value, Scalar::Text(_)),
                role,
            });
            end = field.at.end;
        }
        Some(Shape {
            parts,
            end: text[end..].into(),
        })
    }

    fn read<'a>(&self, text: &'a str, readings: &mut Vec<Reading>) -> Option<Values<'a>> {
        let (mut scanner, kept) = (Scanner::new(text), readings.len());
        let (mut id, mut time, mut kind, mut value, mut status) = (None, None, None, None, None);
        for part in &self.parts {
            scanner.literal(&part.before)?;
            if part.is_text {
                let text = scanner.until_quote()?;
                match part.role {
                    Role::Id => id = Some(name(text)?),
                    Role::Kind => kind = Some(name(text)?),
                    Role::Time => time = Some(parse_rfc3339(text)?),
                    Role::Status => status = name(text),
                    Role::Value | Role::Measure(_) => return None,
                    Role::None => {}
                }
                continue;
            }
            let scalar = scanner.scalar()?;
            match (&part.role, scalar) {
                (_, Scalar::Text(_) | Scalar::Nested) => return None,
                (Role::Time, Scalar::Integer(ms)) => time = Some(TimeMs(ms)),
                (Role::Value, scalar) => value = Some(scalar.measure()?),
                (Role::Measure(_), Scalar::Null) | (Role::None, _) => {}
                (Role::Measure(kind), scalar) => readings.push(Reading {
                    kind: kind.clone(),
                    value: scalar.measure()?,
                }),
                (Role::Id | Role::Time | Role::Kind | Role::Status, _) => return None,
            }
        }
        scanner.literal(&self.end)?;
        let is_whole = scanner.is_at_end() && (value.is_some() || readings.len() > kept);
        let values = Values {
            id: id?,
            time: time?,
            narrow: kind.zip(value),
            status,
        };
        is_whole.then_some(values)
    }
}

/// What each field means; nothing where one would mean two things.
fn roles(fields: &[Field<'_>], names: &FieldNames, interner: &mut Interner) -> Option<Vec<Role>> {
    let find = |name: &String| fields.iter().position(|field| field.name == name);
    if find(&names.location).is_some() {
        return None;
    }
    let (kind, value) = (find(&names.kind), find(&names.value));
    let is_narrow = kind.is_some() || value.is_some();
    let mut roles = vec![Role::None; fields.len()];
    let mut named = vec![
        (Role::Id, Some(names.id.iter().find_map(find)?)),
        (Role::Time, Some(names.time.iter().find_map(find)?)),
        (
            Role::Status,
            find(&names.status).filter(|index| matches!(fields[*index].value, Scalar::Text(_))),
        ),
    ];
    if is_narrow {
        named.extend([(Role::Kind, Some(kind?)), (Role::Value, Some(value?))]);
    }
    for (role, index) in named {
        let Some(index) = index else { continue };
        if roles[index] != Role::None {
            return None;
        }
        roles[index] = role;
    }
    if !is_narrow {
        let ignored = [&names.status]
            .into_iter()
            .chain(&names.id)
            .chain(&names.time)
            .chain(&names.ignored);
        let ignored: Vec<&String> = ignored.collect();
        for (field, role) in fields.iter().zip(&mut roles) {
            // A null may be a number in the next record.
            if !matches!(field.value, Scalar::Text(_)) && !ignored.iter().any(|name| *name == field.name) {
                *role = Role::Measure(interner.kind(name(field.name)?));
            }
        }
    }
    Some(roles)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::codec::{Decoder, Limits};

    const NOW: TimeMs = TimeMs(1_762_344_000_000);

    fn decoder(fields: &FieldNames) -> Decoder {
        Decoder::new(fields.clone(), Limits::default())
    }

    /// What a decoder that met other records before says, as text.
    fn said(decoder: &mut Decoder, record: &str) -> String {
        let mut readings = Vec::new();
        let decoded = decoder.decode(Some(record.as_bytes()), NOW, &mut readings);
        format!("{decoded:?} {readings:?}")
    }

    #[test]
    fn records_of_one_shape_are_answered() {
        let records = [
            r#"{"sensor_id":"a","reading_time":1762344000000,"type":"t","reading":1.5}"#,
            r#"{"sensor_id":"six","reading_time":1762344000001,"type":"humidity","reading":-2}"#,
            r#"{"device_id": "a", "timestamp": "2025-11-05T12:00:00Z", "t": 1, "on": true, "x": null, "status": "on"}"#,
            r#"{"device_id": "b", "timestamp": "2025-11-05T12:00:00Z", "t": 2, "on": false, "x": 7, "status": ""}"#,
        ];
        let fields = FieldNames::default();
        let (mut shapes, mut names) = (Shapes::default(), Interner::default());
        for pair in records.chunks(2) {
            shapes.learn(pair[0], &fields, &mut names);
        }
        let mut read = |record: &str| {
            let mut readings = Vec::new();
            let is_known = shapes.read(record, &mut readings).is_some();
            (is_known, readings.len())
        };
        assert_eq!(records.map(&mut read), [(true, 0), (true, 0), (true, 2), (true, 3)]);
        for other in [
            r#"{"sensor_id":"a","reading_time":1762344000000,"reading":1.5,"type":"t"}"#,
            r#"{"sensor_id":"a", "reading_time":1762344000000,"type":"t","reading":1.5}"#,
            r#"{"sensor_id":"a","reading_time":1762344000000,"type":"t","reading":1.5}}"#,
            r#"{"sensor_id":"a","reading_time":1762344000000,"type":"t","reading":1.5"#,
            r#"{"sensor_id":"a","reading_time":1762344000000,"type":"t","reading":01}"#,
        ] {
            assert_eq!(read(other), (false, 0), "{other}");
        }
    }

    /// Names of fields that the settings give a meaning, some of them two.
    fn field_names() -> impl Strategy<Value = FieldNames> {
        let with = |status: &str, ignored: &[&str]| FieldNames {
            status: status.to_owned(),
            ignored: ignored.iter().map(|name| (*name).to_owned()).collect(),
            ..FieldNames::default()
        };
        let one = FieldNames {
            kind: "a".to_owned(),
            value: "a".to_owned(),
            ..FieldNames::default()
        };
        select(vec![
            FieldNames::default(),
            with("b", &["c"]),
            with("sensor_id", &[]),
            with("reading", &["reading_time"]),
            one,
        ])
    }

    /// Records with the same fields, and now and then a value of another type or a character in the wrong place.
    fn records() -> impl Strategy<Value = Vec<String>> {
        let names = [
            "sensor_id",
            "device_id",
            "reading_time",
            "timestamp",
            "type",
            "reading",
            "status",
            "location",
            "a",
            "b",
            "c",
            "größe",
        ];
        let usual = |name: &'static str| match name {
            "sensor_id" | "device_id" => {
                select(vec!["\"6f1c2d3e-0000-4000-8000-00000000abcd\"", "\"one\"", "\"\""]).boxed()
            }
            "reading_time" => select(vec!["1762344000000", "1762344000001", "1"]).boxed(),
            "timestamp" => select(vec!["\"2025-11-05T12:00:00Z\"", "1762344000000", "\"\""]).boxed(),
            "type" | "status" => select(vec!["\"t\"", "\"humidity\"", "\"\""]).boxed(),
            _ => select(vec!["1", "-0.5", "23.4567", "true", "1e3", "null"]).boxed(),
        };
        let any_value = || {
            select(vec![
                "null",
                "true",
                "\"x\"",
                "{}",
                "-0",
                "1e999",
                "12345678901234567890",
                "\"a\\\"b\"",
            ])
        };
        let value = move |name: &'static str| prop_oneof![12 => usual(name), 1 => any_value()].prop_map(str::to_owned);
        let damage = proptest::option::weighted(0.1, (any::<Index>(), select(vec!['"', ',', ' ', '0', '}', 'é'])));
        let fields = proptest::sample::subsequence(names.to_vec(), 2..=names.len()).prop_shuffle();
        fields.prop_flat_map(move |names| {
            let values: Vec<_> = names.iter().map(|name| value(name)).collect();
            let record = (values, damage.clone()).prop_map(move |(values, damage)| {
                let fields = names
                    .iter()
                    .zip(values)
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                let mut record = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
                if let Some((at, character)) = damage {
                    let at = at.index(record.len());
                    if record.is_char_boundary(at) && at > 0 {
                        record.insert(at, character);
                    }
                }
                record
            });
            proptest::collection::vec(record, 2..6)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// A decoder that has met nothing goes the general way.
        #[test]
        fn what_was_met_before_changes_nothing(
            fields in field_names(),
            records in proptest::collection::vec(records(), 1..4),
        ) {
            let mut met = decoder(&fields);
            for record in records.iter().flatten() {
                prop_assert_eq!(said(&mut met, record), said(&mut decoder(&fields), record), "{}", record);
            }
        }
    }
}
