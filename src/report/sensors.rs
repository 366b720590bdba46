//! The directory of sensors in any format. For programs the schema is fixed:
//!
//! - json, jsonl: `{"sensor_id","label","status","location","first_day","last_day","kinds","last_values","active_alerts",
//!   "silent_ms"}`; `location` is null or `{"latitude","longitude"}`, days are `YYYY-MM-DD` (UTC), `kinds` the names in
//!   order, and `last_values` maps a kind to `{"time","time_ms","value"}`; `active_alerts` is a number, and `silent_ms`
//!   milliseconds, or null where the sensor is not silent.
//! - csv: `sensor_id,label,status,latitude,longitude,first_day,last_day,last_values,active_alerts,silent_ms`, the last values
//!   as JSON, no silence as an empty cell.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::csv;
use super::format::Format;
use super::json::{self, JsonRows};
use super::number::{duration, value};
use super::out::{Out, Tint, printable};
use super::table::{Column, Table, table_width};
use crate::model::{Day, Location, SensorId, SensorRow, TimeMs};

const NAMES: [&str; 10] = [
    "sensor_id",
    "label",
    "status",
    "latitude",
    "longitude",
    "first_day",
    "last_day",
    "last_values",
    "active_alerts",
    "silent_ms",
];
const COLUMNS: [Column; 10] = [
    Column::left("sensor"),
    Column::left("label"),
    Column::left("status"),
    Column::left("location"),
    Column::left("first day"),
    Column::left("last day"),
    Column::left("newest"),
    Column::right("silent for"),
    Column::right("alerts"),
    Column::left("last values"),
];
/// Rows looked at before a terminal gets a table or, where that is too wide for it, a paragraph a sensor.
const SAMPLE_ROWS: usize = 100;

#[derive(Serialize)]
struct JsonSensor<'a> {
    #[serde(serialize_with = "json::sensor")]
    sensor_id: SensorId,
    label: Option<&'a str>,
    status: Option<&'a str>,
    location: Option<JsonLocation>,
    #[serde(serialize_with = "json::day")]
    first_day: Day,
    #[serde(serialize_with = "json::day")]
    last_day: Day,
    kinds: Vec<&'a str>,
    last_values: BTreeMap<&'a str, JsonValue>,
    active_alerts: usize,
    silent_ms: Option<i64>,
}

#[derive(Serialize)]
struct JsonLocation {
    latitude: f64,
    longitude: f64,
}

#[derive(Serialize)]
struct JsonValue {
    #[serde(serialize_with = "json::time")]
    time: TimeMs,
    time_ms: i64,
    value: f64,
}

/// A sensor as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct SensorLine {
    pub row: SensorRow,
    /// How far its newest value lies behind the fleet, where that is too far.
    pub silent_ms: Option<i64>,
}

/// Prints sensors one by one in constant memory.
pub struct Sensors(Rows);

enum Rows {
    Undecided(Vec<SensorLine>),
    Table(Table),
    Paragraphs,
    Json(JsonRows),
    Csv,
}

impl Sensors {
    pub fn begin(out: &mut Out, format: Format) -> io::Result<Sensors> {
        Ok(Sensors(match format {
            Format::Table if out.is_terminal() => Rows::Undecided(Vec::new()),
            Format::Table => Rows::Table(Table::new(&COLUMNS)),
            Format::Json => Rows::Json(JsonRows::array()),
            Format::Jsonl => Rows::Json(JsonRows::lines()),
            Format::Csv => {
                csv::write_line(out, NAMES)?;
                Rows::Csv
            }
        }))
    }

    pub fn row(&mut self, out: &mut Out, sensor: SensorLine) -> io::Result<()> {
        match &mut self.0 {
            Rows::Undecided(sample) => {
                sample.push(sensor);
                if sample.len() < SAMPLE_ROWS {
                    Ok(())
                } else {
                    self.decide(out)
                }
            }
            Rows::Table(table) => table.row(out, table_cells(&sensor)),
            Rows::Paragraphs => write_paragraph(out, &sensor),
            Rows::Json(rows) => rows.row(out, &json_sensor(&sensor)),
            Rows::Csv => write_csv(out, &sensor),
        }
    }

    pub fn finish(mut self, out: &mut Out) -> io::Result<()> {
        self.decide(out)?;
        match self.0 {
            Rows::Table(table) => table.finish(out),
            Rows::Json(rows) => rows.finish(out),
            Rows::Undecided(_) | Rows::Paragraphs | Rows::Csv => Ok(()),
        }
    }

    fn decide(&mut self, out: &mut Out) -> io::Result<()> {
        let Rows::Undecided(sample) = &mut self.0 else {
            return Ok(());
        };
        let sample = std::mem::take(sample);
        let cells: Vec<Vec<String>> = sample.iter().map(table_cells).collect();
        self.0 = if table_width(&COLUMNS, &cells) <= out.width() {
            Rows::Table(Table::new(&COLUMNS))
        } else {
            Rows::Paragraphs
        };
        sample.into_iter().try_for_each(|sensor| self.row(out, sensor))
    }
}

fn table_cells(line: &SensorLine) -> Vec<String> {
    let sensor = &line.row;
    let newest = sensor.newest();
    // Most values share one time: only those that are older say theirs.
    let values = sensor
        .last_values
        .iter()
        .map(|(kind, (time, number))| match Some(*time) == newest {
            true => format!("{kind} {}", value(*number)),
            false => format!("{kind} {} ({time})", value(*number)),
        });
    vec![
        sensor.sensor.to_string(),
        sensor.label.clone().unwrap_or_default(),
        sensor.status.clone().unwrap_or_default(),
        sensor.location.map(location_text).unwrap_or_default(),
        sensor.first_day.to_string(),
        sensor.last_day.to_string(),
        newest.map(|time| time.to_string()).unwrap_or_default(),
        line.silent_ms.map(silence_text).unwrap_or_default(),
        alerts_text(sensor),
        values.collect::<Vec<_>>().join(", "),
    ]
}

fn silence_text(silent_ms: i64) -> String {
    duration(Duration::from_millis(silent_ms.unsigned_abs()))
}

/// None are an empty cell: what is there stands out.
fn alerts_text(sensor: &SensorRow) -> String {
    match sensor.active_alerts.len() {
        0 => String::new(),
        count => count.to_string(),
    }
}

fn location_text(location: Location) -> String {
    format!("{},{}", value(location.latitude), value(location.longitude))
}

/// As much as a row of the table says, and the times of the last values.
fn write_paragraph(out: &mut Out, line: &SensorLine) -> io::Result<()> {
    let sensor = &line.row;
    let mut heading = sensor.sensor.to_string();
    for text in [&sensor.label, &sensor.status].into_iter().flatten() {
        heading.extend(["  ", &printable(text)]);
    }
    let heading = out.tinted(Tint::Heading, &heading);
    out.line(&heading)?;
    let mut about = format!("  {} to {}", sensor.first_day, sensor.last_day);
    if let Some(location) = sensor.location {
        about += &format!(", at {}", location_text(location));
    }
    match sensor.active_alerts.len() {
        0 => {}
        1 => about += ", 1 active alert",
        count => about += &format!(", {count} active alerts"),
    }
    if let Some(silent_ms) = line.silent_ms {
        about += &format!(", silent for {}", silence_text(silent_ms));
    }
    out.line(&about)?;
    let cells = |(kind, (time, number)): (&crate::model::Kind, &(TimeMs, f64))| {
        (printable(kind.as_str()), value(*number), *time)
    };
    let values: Vec<(String, String, TimeMs)> = sensor.last_values.iter().map(cells).collect();
    let width = |text: &String| console::measure_text_width(text);
    let kind_width = values.iter().map(|(kind, ..)| width(kind)).max().unwrap_or(0);
    let value_width = values.iter().map(|(_, value, _)| width(value)).max().unwrap_or(0);
    for (kind, value, time) in &values {
        let padding = " ".repeat(kind_width - width(kind));
        out.line(&format!("  {kind}{padding}  {value:>value_width$}  {time}"))?;
    }
    Ok(())
}

fn json_sensor(line: &SensorLine) -> JsonSensor<'_> {
    let sensor = &line.row;
    let location = |location: Location| JsonLocation {
        latitude: location.latitude,
        longitude: location.longitude,
    };
    JsonSensor {
        sensor_id: sensor.sensor,
        label: sensor.label.as_deref(),
        status: sensor.status.as_deref(),
        location: sensor.location.map(location),
        first_day: sensor.first_day,
        last_day: sensor.last_day,
        kinds: sensor.last_values.keys().map(|kind| kind.as_str()).collect(),
        last_values: json_values(sensor),
        active_alerts: sensor.active_alerts.len(),
        silent_ms: line.silent_ms,
    }
}

fn json_values(sensor: &SensorRow) -> BTreeMap<&str, JsonValue> {
    let json_value = |time: TimeMs, value| JsonValue {
        time,
        time_ms: time.0,
        value,
    };
    sensor
        .last_values
        .iter()
        .map(|(kind, (time, value))| (kind.as_str(), json_value(*time, *value)))
        .collect()
}

fn write_csv(out: &mut Out, line: &SensorLine) -> io::Result<()> {
    let sensor = &line.row;
    let degrees = |part: fn(Location) -> f64| {
        sensor
            .location
            .map(|location| value(part(location)))
            .unwrap_or_default()
    };
    let cells = [
        sensor.sensor.to_string(),
        sensor.label.clone().unwrap_or_default(),
        sensor.status.clone().unwrap_or_default(),
        degrees(|location| location.latitude),
        degrees(|location| location.longitude),
        sensor.first_day.to_string(),
        sensor.last_day.to_string(),
        serde_json::to_string(&json_values(sensor))?,
        sensor.active_alerts.len().to_string(),
        line.silent_ms.map(|ms| ms.to_string()).unwrap_or_default(),
    ];
    csv::write_line(out, cells.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlertId, Kind};

    fn attic() -> SensorLine {
        let row = SensorRow {
            sensor: SensorId::from_text("attic").0,
            label: Some("attic".to_owned()),
            status: Some("active".to_owned()),
            location: Some(Location {
                latitude: 52.3,
                longitude: 4.9,
            }),
            first_day: Day(20_000),
            last_day: Day(20_001),
            last_values: BTreeMap::from([
                (Kind::new("humidity"), (TimeMs(1_728_086_400_000), 40.25)),
                (Kind::new("temperature"), (TimeMs(1_728_086_340_000), -7.5)),
            ]),
            active_alerts: [1, 2].map(|id| (AlertId(uuid::Uuid::from_u128(id)), TimeMs(0))).into(),
        };
        SensorLine {
            row,
            silent_ms: Some(725_000),
        }
    }

    fn bare() -> SensorLine {
        let row = SensorRow {
            label: None,
            status: None,
            location: None,
            last_values: BTreeMap::new(),
            active_alerts: BTreeMap::new(),
            ..attic().row
        };
        SensorLine { row, silent_ms: None }
    }

    fn printed(format: Format, terminal_width: Option<usize>, sensors: Vec<SensorLine>) -> String {
        let (mut out, captured) = Out::captured(terminal_width);
        let mut rows = Sensors::begin(&mut out, format).unwrap();
        sensors
            .into_iter()
            .for_each(|sensor| rows.row(&mut out, sensor).unwrap());
        rows.finish(&mut out).unwrap();
        captured.data()
    }

    #[test]
    fn a_json_line_has_the_documented_schema() {
        let expected = "{\"sensor_id\":\"9d0f3b51-5ea3-5d4c-9a17-0cbd1ee3a0a9\",\"label\":\"attic\",\
            \"status\":\"active\",\"location\":{\"latitude\":52.3,\"longitude\":4.9},\"first_day\":\"2024-10-04\",\
            \"last_day\":\"2024-10-05\",\"kinds\":[\"humidity\",\"temperature\"],\"last_values\":{\
            \"humidity\":{\"time\":\"2024-10-05T00:00:00.000Z\",\"time_ms\":1728086400000,\"value\":40.25},\
            \"temperature\":{\"time\":\"2024-10-04T23:59:00.000Z\",\"time_ms\":1728086340000,\"value\":-7.5}},\
            \"active_alerts\":2,\"silent_ms\":725000}\n";
        let expected = expected.replace("9d0f3b51-5ea3-5d4c-9a17-0cbd1ee3a0a9", &attic().row.sensor.to_string());
        assert_eq!(printed(Format::Jsonl, None, vec![attic()]), expected);
        let nothing: serde_json::Value = serde_json::from_str(&printed(Format::Jsonl, None, vec![bare()])).unwrap();
        assert!(nothing["label"].is_null() && nothing["status"].is_null() && nothing["location"].is_null());
        assert!(nothing["silent_ms"].is_null() && nothing["active_alerts"] == 0);
        assert_eq!(
            (&nothing["kinds"], &nothing["last_values"]),
            (&serde_json::json!([]), &serde_json::json!({}))
        );
    }

    #[test]
    fn json_is_one_array() {
        for count in [0, 1, 3] {
            let text = printed(Format::Json, None, vec![attic(); count]);
            assert_eq!(
                serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(),
                count
            );
        }
    }

    #[test]
    fn csv_has_the_documented_header_and_the_values_as_json() {
        let text = printed(Format::Csv, None, vec![attic(), bare()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "sensor_id,label,status,latitude,longitude,first_day,last_day,last_values,active_alerts,silent_ms"
        );
        let id = attic().row.sensor;
        assert!(lines[1].starts_with(&format!(
            "{id},attic,active,52.3,4.9,2024-10-04,2024-10-05,\"{{\"\"humidity\"\":"
        )));
        assert!(lines[1].ends_with("}\",2,725000"), "{}", lines[1]);
        assert_eq!(lines[2], format!("{id},,,,,2024-10-04,2024-10-05,{{}},0,"));
    }

    #[test]
    fn a_terminal_gets_a_table_where_it_fits_and_paragraphs_where_not() {
        let table = printed(Format::Table, None, vec![attic()]);
        let width = table.lines().map(console::measure_text_width).max().unwrap();
        assert_eq!(table.lines().count(), 3);
        assert_eq!(printed(Format::Table, Some(width), vec![attic()]), table);
        let paragraph = printed(Format::Table, Some(width - 1), vec![attic()]);
        let expected = "  attic  active
  2024-10-04 to 2024-10-05, at 52.3,4.9, 2 active alerts, silent for 12m 05s
  humidity     40.25  2024-10-05T00:00:00.000Z
  temperature   -7.5  2024-10-04T23:59:00.000Z
";
        assert_eq!(paragraph, format!("{}{expected}", attic().row.sensor));
        let quiet = printed(Format::Table, Some(40), vec![bare()]);
        assert!(quiet.ends_with("\n  2024-10-04 to 2024-10-05\n"), "{quiet}");
    }

    #[test]
    fn a_table_shows_what_is_old_silent_or_wrong() {
        let table = printed(Format::Table, None, vec![attic(), bare()]);
        let expected = "  2024-10-05  2024-10-05T00:00:00.000Z     12m 05s       2  humidity 40.25, \
            temperature -7.5 (2024-10-04T23:59:00.000Z)";
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert!(rows[0].ends_with(expected), "{table}");
        assert!(rows[1].ends_with(" 2024-10-05"), "{table}");
    }

    #[test]
    fn every_sensor_is_printed_once_however_many_there_are() {
        for count in [0, 1, SAMPLE_ROWS - 1, SAMPLE_ROWS, SAMPLE_ROWS + 1, 3 * SAMPLE_ROWS] {
            for width in [80, 1000] {
                let text = printed(Format::Table, Some(width), vec![attic(); count]);
                assert_eq!(text.matches(&attic().row.sensor.to_string()).count(), count);
            }
        }
    }
}
