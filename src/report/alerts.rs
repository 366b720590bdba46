//! Alerts in any format. For programs the schema is fixed:
//!
//! - json, jsonl: `{"alert_id","sensor_id","label","kind","rule","severity","raised_at","raised_at_ms","value","peak",
//!   "cleared_at","cleared_at_ms"}`: times as RFC 3339 UTC and as whole milliseconds since 1970; `cleared_at` and
//!   `cleared_at_ms` are null while the alert is active, `label` is null where the sensor's id is a UUID.
//! - csv: the same names as header, null as an empty cell.

use std::io;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::format::Format;
use super::json;
use super::number::{duration, value};
use super::out::Out;
use super::rows::{Row, Rows, SENSOR, columns};
use super::table::Column;
use crate::model::{Alert, SensorId, TimeMs};

const NAMES: [&str; 12] = [
    "alert_id",
    "sensor_id",
    "label",
    "kind",
    "rule",
    "severity",
    "raised_at",
    "raised_at_ms",
    "value",
    "peak",
    "cleared_at",
    "cleared_at_ms",
];
const COLUMNS: [Column; 9] = [
    Column::left("raised at"),
    Column::left(SENSOR),
    Column::left("kind"),
    Column::left("rule"),
    Column::left("severity"),
    Column::right("value"),
    Column::right("peak"),
    Column::left("cleared at"),
    Column::right("lasted"),
];

#[derive(Serialize)]
struct JsonAlert<'a> {
    alert_id: String,
    #[serde(serialize_with = "json::sensor")]
    sensor_id: SensorId,
    label: Option<&'a str>,
    kind: &'a str,
    rule: &'a str,
    severity: &'static str,
    #[serde(serialize_with = "json::time")]
    raised_at: TimeMs,
    raised_at_ms: i64,
    value: f64,
    peak: f64,
    #[serde(serialize_with = "time_or_null")]
    cleared_at: Option<TimeMs>,
    cleared_at_ms: Option<i64>,
}

fn time_or_null<S: Serializer>(time: &Option<TimeMs>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// Prints alerts one by one in constant memory.
pub struct Alerts {
    rows: Rows,
    has_sensor_column: bool,
    now: TimeMs,
}

impl Alerts {
    /// A table of one sensor has no column for it. Active alerts last until `now`.
    pub fn begin(out: &mut Out, format: Format, of_one_sensor: bool, now: TimeMs) -> io::Result<Alerts> {
        Ok(Alerts {
            rows: Rows::begin(out, format, &columns(&COLUMNS, !of_one_sensor), &NAMES)?,
            has_sensor_column: !of_one_sensor,
            now,
        })
    }

    pub fn row(&mut self, out: &mut Out, alert: &Alert) -> io::Result<()> {
        let row = AlertRow {
            alert,
            has_sensor_column: self.has_sensor_column,
            now: self.now,
        };
        self.rows.row(out, &row)
    }

    pub fn finish(self, out: &mut Out) -> io::Result<()> {
        self.rows.finish(out)
    }
}

struct AlertRow<'a> {
    alert: &'a Alert,
    has_sensor_column: bool,
    now: TimeMs,
}

impl Row for AlertRow<'_> {
    fn cells(&self) -> Vec<String> {
        let alert = self.alert;
        let lasted_ms = alert.cleared_at.unwrap_or(self.now).0.saturating_sub(alert.raised_at.0);
        // An event time may be ahead of the clock.
        let lasted = Duration::from_millis(u64::try_from(lasted_ms).unwrap_or(0));
        let mut cells = vec![
            alert.raised_at.to_string(),
            alert.kind.to_string(),
            alert.rule.to_string(),
            alert.severity.to_string(),
            value(alert.value),
            value(alert.peak),
            alert
                .cleared_at
                .map_or_else(|| "active".to_owned(), |time| time.to_string()),
            duration(lasted),
        ];
        if self.has_sensor_column {
            let sensor = alert
                .label
                .as_deref()
                .map_or_else(|| alert.sensor.to_string(), str::to_owned);
            cells.insert(1, sensor);
        }
        cells
    }

    fn json(&self) -> impl Serialize {
        let alert = self.alert;
        JsonAlert {
            alert_id: alert.id.to_string(),
            sensor_id: alert.sensor,
            label: alert.label.as_deref(),
            kind: alert.kind.as_str(),
            rule: &alert.rule,
            severity: alert.severity.as_str(),
            raised_at: alert.raised_at,
            raised_at_ms: alert.raised_at.0,
            value: alert.value,
            peak: alert.peak,
            cleared_at: alert.cleared_at,
            cleared_at_ms: alert.cleared_at.map(|time| time.0),
        }
    }

    fn csv(&self) -> Vec<String> {
        let alert = self.alert;
        vec![
            alert.id.to_string(),
            alert.sensor.to_string(),
            alert.label.as_deref().unwrap_or_default().to_owned(),
            alert.kind.to_string(),
            alert.rule.to_string(),
            alert.severity.to_string(),
            alert.raised_at.to_string(),
            alert.raised_at.0.to_string(),
            value(alert.value),
            value(alert.peak),
            alert.cleared_at.map(|time| time.to_string()).unwrap_or_default(),
            alert.cleared_at.map(|time| time.0.to_string()).unwrap_or_default(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{AlertId, Kind, Severity};

    /// 2025-11-05T12:00:00Z.
    const NOON: TimeMs = TimeMs(1_762_344_000_000);

    fn alert(label: Option<&str>, cleared_after_ms: Option<i64>) -> Alert {
        Alert {
            id: AlertId(uuid::Uuid::from_u128(7)),
            sensor: SensorId::from_text("6f1c2d3e-0000-4000-8000-00000000abcd").0,
            label: label.map(Arc::from),
            kind: Kind::new("temperature"),
            rule: Arc::from("temperature_high"),
            severity: Severity::Warning,
            raised_at: NOON,
            value: 30.5,
            peak: 41.25,
            cleared_at: cleared_after_ms.map(|ms| TimeMs(NOON.0 + ms)),
        }
    }

    fn printed(format: Format, of_one_sensor: bool, alerts: &[Alert]) -> String {
        let (mut out, captured) = Out::captured(None);
        let mut rows = Alerts::begin(&mut out, format, of_one_sensor, TimeMs(NOON.0 + 90_000)).unwrap();
        alerts.iter().for_each(|alert| rows.row(&mut out, alert).unwrap());
        rows.finish(&mut out).unwrap();
        captured.data()
    }

    #[test]
    fn a_table_says_how_long_alerts_lasted_or_last() {
        let expected = "\
raised at                 sensor                                kind         rule              severity  value   peak  cleared at                lasted
────────────────────────  ────────────────────────────────────  ───────────  ────────────────  ────────  ─────  ─────  ────────────────────────  ──────
2025-11-05T12:00:00.000Z  attic                                 temperature  temperature_high  warning    30.5  41.25  active                    1m 30s
2025-11-05T12:00:00.000Z  6f1c2d3e-0000-4000-8000-00000000abcd  temperature  temperature_high  warning    30.5  41.25  2025-11-05T13:00:00.000Z  1h 00m
";
        let alerts = [alert(Some("attic"), None), alert(None, Some(3_600_000))];
        assert_eq!(printed(Format::Table, false, &alerts), expected);
        let of_one = printed(Format::Table, true, &[alert(None, Some(250))]);
        assert!(
            of_one.starts_with("raised at                 kind  ") && of_one.contains("250 ms"),
            "{of_one}"
        );
        let mut ahead = alert(None, None);
        ahead.raised_at = TimeMs(NOON.0 + 3_600_000);
        assert!(printed(Format::Table, true, &[ahead]).contains("0 µs"));
    }

    #[test]
    fn json_and_csv_have_the_documented_schema() {
        let line = printed(Format::Jsonl, false, &[alert(Some("attic"), Some(1500))]);
        let expected = "{\"alert_id\":\"00000000-0000-0000-0000-000000000007\",\
            \"sensor_id\":\"6f1c2d3e-0000-4000-8000-00000000abcd\",\"label\":\"attic\",\"kind\":\"temperature\",\
            \"rule\":\"temperature_high\",\"severity\":\"warning\",\"raised_at\":\"2025-11-05T12:00:00.000Z\",\
            \"raised_at_ms\":1762344000000,\"value\":30.5,\"peak\":41.25,\"cleared_at\":\"2025-11-05T12:00:01.500Z\",\
            \"cleared_at_ms\":1762344001500}\n";
        assert_eq!(line, expected);
        let active = printed(Format::Jsonl, true, &[alert(None, None)]);
        assert!(active.contains("\"label\":null") && active.contains("\"cleared_at\":null,\"cleared_at_ms\":null"));
        let csv = printed(Format::Csv, true, &[alert(None, None)]);
        let expected = "alert_id,sensor_id,label,kind,rule,severity,raised_at,raised_at_ms,value,peak,cleared_at,\
            cleared_at_ms\n00000000-0000-0000-0000-000000000007,6f1c2d3e-0000-4000-8000-00000000abcd,,temperature,\
            temperature_high,warning,2025-11-05T12:00:00.000Z,1762344000000,30.5,41.25,,\n";
        assert_eq!(csv, expected);
    }
}
