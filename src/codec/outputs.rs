//! Records of the topics that `consume` writes: alerts, events and analytics, as JSON. Numbers that JSON does not know (infinities,
//! no number) are `null`.

use serde::Serialize;

use super::AvroOutputs;
use crate::model::{AlertChange, SensorId, Source, StatusChange, WindowCell};

/// How the records of these topics are written.
#[derive(Clone, Debug, Default)]
pub enum OutputEncoding {
    #[default]
    Json,
    Avro(Box<AvroOutputs>),
}

impl OutputEncoding {
    pub fn alert(&self, change: &AlertChange, source: &Source) -> Vec<u8> {
        match self {
            OutputEncoding::Json => encode_alert(change, source),
            OutputEncoding::Avro(avro) => avro.alert(change, source),
        }
    }

    pub fn status(&self, change: &StatusChange, source: &Source) -> Vec<u8> {
        match self {
            OutputEncoding::Json => encode_status(change, source),
            OutputEncoding::Avro(avro) => avro.status(change, source),
        }
    }

    pub fn window(&self, sensor: SensorId, source: &Source, cell: &WindowCell) -> Vec<u8> {
        match self {
            OutputEncoding::Json => encode_window(sensor, source, cell),
            OutputEncoding::Avro(avro) => avro.window(sensor, source, cell),
        }
    }
}

#[derive(Serialize)]
struct AlertRecord<'a> {
    id: String,
    sensor_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    rule: &'a str,
    severity: &'a str,
    event: &'a str,
    /// Epoch milliseconds, as all times here.
    raised_at: i64,
    value: f64,
    peak: f64,
    cleared_at: Option<i64>,
    source: String,
    offset: i64,
}

/// An alert as it stands after one record. To be recognised by `id`, `offset` and `event`: it may come more than once.
pub fn encode_alert(change: &AlertChange, source: &Source) -> Vec<u8> {
    let alert = &change.alert;
    json(&AlertRecord {
        id: alert.id.to_string(),
        sensor_id: alert.sensor.to_string(),
        label: alert.label.as_deref(),
        kind: alert.kind.as_str(),
        rule: &alert.rule,
        severity: alert.severity.as_str(),
        event: change.event.as_str(),
        raised_at: alert.raised_at.0,
        value: alert.value,
        peak: alert.peak,
        cleared_at: alert.cleared_at.map(|time| time.0),
        source: source.to_string(),
        offset: change.offset,
    })
}

#[derive(Serialize)]
struct StatusRecord<'a> {
    sensor_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    at: i64,
    status: &'a str,
    previous: Option<&'a str>,
    source: String,
    offset: i64,
}

/// A change of a device's status. To be recognised by `source` and `offset`: it may come more than once.
pub fn encode_status(change: &StatusChange, source: &Source) -> Vec<u8> {
    json(&StatusRecord {
        sensor_id: change.sensor.to_string(),
        label: change.label.as_deref(),
        at: change.at.0,
        status: &change.status,
        previous: change.previous.as_deref(),
        source: source.to_string(),
        offset: change.offset,
    })
}

#[derive(Serialize)]
struct WindowRecord<'a> {
    sensor_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    size_s: u32,
    window_start: i64,
    window_end: i64,
    count: i64,
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
    standard_deviation: f64,
    first: f64,
    first_at: i64,
    last: f64,
    last_at: i64,
    source: String,
    last_offset: i64,
}

/// A window as it stands. It replaces those of the same sensor, type, size, start and source with a smaller `last_offset`.
pub fn encode_window(sensor: SensorId, source: &Source, cell: &WindowCell) -> Vec<u8> {
    let (key, window) = (&cell.key, &cell.aggregate);
    json(&WindowRecord {
        sensor_id: sensor.to_string(),
        kind: key.kind.as_str(),
        size_s: key.size_s,
        window_start: key.start.0,
        window_end: key.end().0,
        count: window.count,
        sum: window.sum,
        mean: window.mean,
        min: window.min,
        max: window.max,
        standard_deviation: window.standard_deviation(),
        first: window.first,
        first_at: window.first_at.0,
        last: window.last,
        last_at: window.last_at.0,
        source: source.to_string(),
        last_offset: window.last_offset,
    })
}

fn json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("plain fields with fixed names")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Aggregate, Alert, AlertEvent, AlertId, Kind, Severity, TimeMs, TopicId, WindowKey};

    fn source() -> Source {
        Source {
            topic: Arc::from("t"),
            topic_id: TopicId::UNKNOWN,
            partition: 3,
        }
    }

    #[test]
    fn an_alert_has_all_that_a_reader_needs() {
        let sensor = SensorId(uuid::Uuid::nil());
        let kind = Kind::new("temperature");
        let source = source();
        let change = AlertChange {
            event: AlertEvent::Raised,
            offset: 9,
            alert: Alert {
                id: AlertId::new(sensor, &kind, "hot", &source.to_string(), 9),
                sensor,
                label: None,
                kind,
                rule: Arc::from("hot"),
                severity: Severity::Warning,
                raised_at: TimeMs(1_000),
                value: 31.5,
                peak: 31.5,
                cleared_at: None,
            },
        };
        // The id by Python: uuid5(UUID("5b0c8f0e-4a7d-5c3e-9d1f-27c16a90e4b8"), "00000000-…/temperature/hot/t/00000000-…/3/9")
        let expected = r#"{"id":"537aa603-78c7-542e-b224-e5219ddd94c0","sensor_id":"00000000-0000-0000-0000-000000000000","type":"temperature","rule":"hot","severity":"warning","event":"raised","raised_at":1000,"value":31.5,"peak":31.5,"cleared_at":null,"source":"t/00000000-0000-0000-0000-000000000000/3","offset":9}"#;
        let expected = expected.to_owned();
        assert_eq!(String::from_utf8(encode_alert(&change, &source)), Ok(expected));
    }

    #[test]
    fn a_change_of_status_says_what_was_before() {
        let mut change = StatusChange {
            offset: 9,
            sensor: SensorId(uuid::Uuid::nil()),
            label: Some(Arc::from("SENSOR_1")),
            at: TimeMs(1_000),
            status: Arc::from("fault"),
            previous: Some(Arc::from("active")),
        };
        let expected = r#"{"sensor_id":"00000000-0000-0000-0000-000000000000","label":"SENSOR_1","at":1000,"status":"fault","previous":"active","source":"t/00000000-0000-0000-0000-000000000000/3","offset":9}"#;
        assert_eq!(
            String::from_utf8(encode_status(&change, &source())),
            Ok(expected.to_owned())
        );
        (change.label, change.previous) = (None, None);
        let expected = r#"{"sensor_id":"00000000-0000-0000-0000-000000000000","at":1000,"status":"fault","previous":null,"source":"t/00000000-0000-0000-0000-000000000000/3","offset":9}"#;
        assert_eq!(
            String::from_utf8(encode_status(&change, &source())),
            Ok(expected.to_owned())
        );
    }

    #[test]
    fn a_window_is_told_with_its_standard_deviation_and_an_infinite_sum_is_null() {
        let cell = WindowCell {
            key: WindowKey::of(Kind::new("x"), 60, TimeMs(61_000)),
            aggregate: Aggregate {
                last_offset: 5,
                count: 2,
                sum: f64::INFINITY,
                mean: 2.0,
                m2: 2.0,
                min: 1.0,
                max: 3.0,
                first: 1.0,
                first_at: TimeMs(61_000),
                last: 3.0,
                last_at: TimeMs(62_000),
            },
        };
        let record = encode_window(SensorId(uuid::Uuid::nil()), &source(), &cell);
        let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        assert_eq!(
            (
                &record["window_start"],
                &record["window_end"],
                &record["standard_deviation"],
                &record["sum"]
            ),
            (&60_000.into(), &120_000.into(), &1.0.into(), &serde_json::Value::Null)
        );
    }
}
