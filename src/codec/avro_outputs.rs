//! Alerts, changes of status and windows as Avro. They are few beside the readings, so a general writer does.

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::SchemaId;
use crate::model::{AlertChange, SensorId, Source, StatusChange, TimeMs, WindowCell};

/// The contract of the topic of the alerts.
pub const ALERT_SCHEMA: &str = include_str!("../../schemas/alert.avsc");
/// The contract of the topic of the events.
pub const STATUS_SCHEMA: &str = include_str!("../../schemas/status-change.avsc");
/// The contract of the topic of the analytics.
pub const WINDOW_SCHEMA: &str = include_str!("../../schemas/window-aggregate.avsc");

/// Writes records in those schemas, under the ids that they have in the registry.
#[derive(Clone, Debug)]
pub struct AvroOutputs {
    alert: (SchemaId, Schema),
    status: (SchemaId, Schema),
    window: (SchemaId, Schema),
}

impl AvroOutputs {
    pub fn new(alert_id: SchemaId, status_id: SchemaId, window_id: SchemaId) -> AvroOutputs {
        let parse = |text| Schema::parse_str(text).expect("a test parses it");
        AvroOutputs {
            alert: (alert_id, parse(ALERT_SCHEMA)),
            status: (status_id, parse(STATUS_SCHEMA)),
            window: (window_id, parse(WINDOW_SCHEMA)),
        }
    }

    pub(super) fn alert(&self, change: &AlertChange, source: &Source) -> Vec<u8> {
        let alert = &change.alert;
        let fields = vec![
            ("id", Value::Uuid(alert.id.0)),
            ("sensor_id", Value::Uuid(alert.sensor.0)),
            ("label", optional(alert.label.as_deref().map(text))),
            ("type", text(alert.kind.as_str())),
            ("rule", text(&alert.rule)),
            ("severity", text(alert.severity.as_str())),
            ("event", text(change.event.as_str())),
            ("raised_at", time(alert.raised_at)),
            ("value", Value::Double(alert.value)),
            ("peak", Value::Double(alert.peak)),
            ("cleared_at", optional(alert.cleared_at.map(time))),
            ("source", text(&source.to_string())),
            ("offset", Value::Long(change.offset)),
        ];
        encoded(&self.alert, fields)
    }

    pub(super) fn status(&self, change: &StatusChange, source: &Source) -> Vec<u8> {
        let fields = vec![
            ("sensor_id", Value::Uuid(change.sensor.0)),
            ("label", optional(change.label.as_deref().map(text))),
            ("at", time(change.at)),
            ("status", text(&change.status)),
            ("previous", optional(change.previous.as_deref().map(text))),
            ("source", text(&source.to_string())),
            ("offset", Value::Long(change.offset)),
        ];
        encoded(&self.status, fields)
    }

    pub(super) fn window(&self, sensor: SensorId, source: &Source, cell: &WindowCell) -> Vec<u8> {
        let (key, window) = (&cell.key, &cell.aggregate);
        let fields = vec![
            ("sensor_id", Value::Uuid(sensor.0)),
            ("type", text(key.kind.as_str())),
            ("size_s", Value::Int(key.size_s.cast_signed())),
            ("window_start", time(key.start)),
            ("window_end", time(key.end())),
            ("count", Value::Long(window.count)),
            ("sum", Value::Double(window.sum)),
            ("mean", Value::Double(window.mean)),
            ("min", Value::Double(window.min)),
            ("max", Value::Double(window.max)),
            ("standard_deviation", Value::Double(window.standard_deviation())),
            ("first", Value::Double(window.first)),
            ("first_at", time(window.first_at)),
            ("last", Value::Double(window.last)),
            ("last_at", time(window.last_at)),
            ("source", text(&source.to_string())),
            ("last_offset", Value::Long(window.last_offset)),
        ];
        encoded(&self.window, fields)
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn time(time: TimeMs) -> Value {
    Value::TimestampMillis(time.0)
}

/// A union with null before the value.
fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

fn encoded((id, schema): &(SchemaId, Schema), fields: Vec<(&str, Value)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    let writer = GenericDatumWriter::builder(schema).build();
    let body = writer.and_then(|writer| writer.write_value_to_vec(Value::Record(fields.collect())));
    let body = body.expect("fields of the schema, as a test says");
    [&[super::avro::MAGIC], &id.to_be_bytes()[..], &body].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;
    use crate::model::{Aggregate, Alert, AlertEvent, AlertId, Kind, Severity, TopicId, WindowKey};

    fn source() -> Source {
        Source {
            topic: Arc::from("t"),
            topic_id: TopicId::UNKNOWN,
            partition: 3,
        }
    }

    /// The record as JSON, by a general reader.
    fn read(schema: &str, id: u32, bytes: &[u8]) -> serde_json::Value {
        assert_eq!(&bytes[..5], [&[0], &id.to_be_bytes()[..]].concat());
        let schema = Schema::parse_str(schema).expect("a schema");
        let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
        let value = reader.read_value(&mut &bytes[5..]).expect("a record");
        serde_json::Value::try_from(value).expect("plain fields")
    }

    #[test]
    fn an_alert_says_in_avro_what_it_says_in_json() {
        let sensor = SensorId(uuid::Uuid::from_u128(7));
        let kind = Kind::new("temperature");
        for (label, cleared_at) in [(None, None), (Some(Arc::from("SENSOR_1")), Some(TimeMs(2_000)))] {
            let change = AlertChange {
                event: AlertEvent::Raised,
                offset: 9,
                alert: Alert {
                    id: AlertId::new(sensor, &kind, "hot", &source().to_string(), 9),
                    sensor,
                    label: label.clone(),
                    kind: kind.clone(),
                    rule: Arc::from("hot"),
                    severity: Severity::Warning,
                    raised_at: TimeMs(1_000),
                    value: 31.5,
                    peak: 32.5,
                    cleared_at,
                },
            };
            let avro = read(
                ALERT_SCHEMA,
                258,
                &AvroOutputs::new(258, 4, 3).alert(&change, &source()),
            );
            let json = super::super::encode_alert(&change, &source());
            let mut json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
            // In JSON a label that is none is left out.
            json.as_object_mut()
                .expect("an object")
                .entry("label")
                .or_insert(serde_json::Value::Null);
            assert_eq!(avro, json);
        }
    }

    #[test]
    fn a_change_of_status_says_in_avro_what_it_says_in_json() {
        for (label, previous) in [(None, None), (Some(Arc::from("SENSOR_1")), Some(Arc::from("active")))] {
            let change = StatusChange {
                offset: 9,
                sensor: SensorId(uuid::Uuid::from_u128(7)),
                label,
                at: TimeMs(1_000),
                status: Arc::from("fault"),
                previous,
            };
            let avro = read(
                STATUS_SCHEMA,
                4,
                &AvroOutputs::new(258, 4, 3).status(&change, &source()),
            );
            let json = super::super::encode_status(&change, &source());
            let mut json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
            // JSON leaves a label out that there is none of.
            json.as_object_mut()
                .expect("an object")
                .entry("label")
                .or_insert(serde_json::Value::Null);
            assert_eq!(avro, json);
        }
    }

    #[test]
    fn a_window_says_in_avro_what_it_says_in_json() {
        let cell = WindowCell {
            key: WindowKey::of(Kind::new("x"), 3600, TimeMs(3_661_000)),
            aggregate: Aggregate {
                last_offset: 5,
                count: 2,
                sum: 4.0,
                mean: 2.0,
                m2: 2.0,
                min: 1.0,
                max: 3.0,
                first: 1.0,
                first_at: TimeMs(3_661_000),
                last: 3.0,
                last_at: TimeMs(3_662_000),
            },
        };
        let sensor = SensorId(uuid::Uuid::from_u128(7));
        let avro = read(
            WINDOW_SCHEMA,
            9,
            &AvroOutputs::new(3, 4, 9).window(sensor, &source(), &cell),
        );
        let json = super::super::encode_window(sensor, &source(), &cell);
        assert_eq!(avro, serde_json::from_slice::<serde_json::Value>(&json).expect("JSON"));
    }
}
