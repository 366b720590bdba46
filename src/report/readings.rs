//! Readings in any format. For programs the schema is fixed:
//!
//! - json, jsonl: `{"sensor_id","time","time_ms","kind","value"}`: a UUID, RFC 3339 UTC with milliseconds, the same time
//!   as a whole number of milliseconds since 1970, text, a number.
//! - csv: the same names as header.

use std::io;

use serde::Serialize;

use super::format::Format;
use super::json;
use super::number::value;
use super::out::Out;
use super::rows::{Row, Rows, SENSOR, columns};
use super::table::Column;
use crate::model::{Kind, SensorId, TimeMs};

const NAMES: [&str; 5] = ["sensor_id", "time", "time_ms", "kind", "value"];
const COLUMNS: [Column; 4] = [
    Column::left(SENSOR),
    Column::left("time"),
    Column::left("kind"),
    Column::right("value"),
];

pub struct ReadingLine<'a> {
    pub sensor: SensorId,
    /// Stands for the sensor in a table.
    pub label: Option<&'a str>,
    pub time: TimeMs,
    pub kind: &'a Kind,
    pub value: f64,
}

#[derive(Serialize)]
struct JsonReading<'a> {
    #[serde(serialize_with = "json::sensor")]
    sensor_id: SensorId,
    #[serde(serialize_with = "json::time")]
    time: TimeMs,
    time_ms: i64,
    kind: &'a str,
    value: f64,
}

/// Prints readings one by one in constant memory.
pub struct Readings {
    rows: Rows,
    has_sensor_column: bool,
}

impl Readings {
    /// A table of one sensor has no column for it.
    pub fn of_one_sensor(out: &mut Out, format: Format) -> io::Result<Readings> {
        Readings::begin(out, format, false)
    }

    pub fn of_many_sensors(out: &mut Out, format: Format) -> io::Result<Readings> {
        Readings::begin(out, format, true)
    }

    fn begin(out: &mut Out, format: Format, has_sensor_column: bool) -> io::Result<Readings> {
        Ok(Readings {
            rows: Rows::begin(out, format, &columns(&COLUMNS, has_sensor_column), &NAMES)?,
            has_sensor_column,
        })
    }

    pub fn row(&mut self, out: &mut Out, reading: &ReadingLine<'_>) -> io::Result<()> {
        let row = ReadingRow {
            reading,
            has_sensor_column: self.has_sensor_column,
        };
        self.rows.row(out, &row)
    }

    pub fn finish(self, out: &mut Out) -> io::Result<()> {
        self.rows.finish(out)
    }
}

struct ReadingRow<'a> {
    reading: &'a ReadingLine<'a>,
    has_sensor_column: bool,
}

impl Row for ReadingRow<'_> {
    fn cells(&self) -> Vec<String> {
        let ReadingLine {
            sensor,
            label,
            time,
            kind,
            value: number,
        } = self.reading;
        let mut cells = vec![time.to_string(), kind.to_string(), value(*number)];
        if self.has_sensor_column {
            cells.insert(0, label.map_or_else(|| sensor.to_string(), str::to_owned));
        }
        cells
    }

    fn json(&self) -> impl Serialize {
        let reading = self.reading;
        JsonReading {
            sensor_id: reading.sensor,
            time: reading.time,
            time_ms: reading.time.0,
            kind: reading.kind.as_str(),
            value: reading.value,
        }
    }

    fn csv(&self) -> Vec<String> {
        let ReadingLine {
            sensor,
            time,
            kind,
            value: number,
            ..
        } = self.reading;
        vec![
            sensor.to_string(),
            time.to_string(),
            time.0.to_string(),
            kind.to_string(),
            value(*number),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, of_many: bool, count: i64) -> String {
        let (mut out, captured) = Out::captured(None);
        let mut readings = Readings::begin(&mut out, format, of_many).unwrap();
        let sensor = SensorId::from_text("6f1c2d3e-0000-4000-8000-00000000abcd").0;
        let kind = Kind::new("odd, \"kind\"");
        for number in 0..count {
            let time = TimeMs(1_732_000_000_123 + number);
            let line = ReadingLine {
                sensor,
                label: Some("attic"),
                time,
                kind: &kind,
                value: 23.4567 + number as f64,
            };
            readings.row(&mut out, &line).unwrap();
        }
        readings.finish(&mut out).unwrap();
        captured.data()
    }

    #[test]
    fn a_json_line_has_the_documented_schema() {
        let expected = "{\"sensor_id\":\"6f1c2d3e-0000-4000-8000-00000000abcd\",\"time\":\"2024-11-19T07:06:40.123Z\",\
                        \"time_ms\":1732000000123,\"kind\":\"odd, \\\"kind\\\"\",\"value\":23.4567}\n";
        assert_eq!(printed(Format::Jsonl, false, 1), expected);
        assert_eq!(printed(Format::Jsonl, false, 0), "");
    }

    #[test]
    fn json_is_one_array_of_the_same_objects() {
        for count in [0, 1, 3] {
            let array: Vec<serde_json::Value> = serde_json::from_str(&printed(Format::Json, true, count)).unwrap();
            let lines = printed(Format::Jsonl, true, count);
            let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((array.len() as i64, array), (count, lines));
        }
    }

    #[test]
    fn csv_has_the_names_of_the_json_as_header() {
        let expected = "sensor_id,time,time_ms,kind,value\n6f1c2d3e-0000-4000-8000-00000000abcd,\
                        2024-11-19T07:06:40.123Z,1732000000123,\"odd, \"\"kind\"\"\",23.4567\n";
        assert_eq!(printed(Format::Csv, false, 1), expected);
        assert_eq!(printed(Format::Csv, false, 0), "sensor_id,time,time_ms,kind,value\n");
    }

    #[test]
    fn a_table_names_the_sensor_only_among_many() {
        let of_one = "\
time                      kind           value
────────────────────────  ───────────  ───────
2024-11-19T07:06:40.123Z  odd, \"kind\"  23.4567
";
        assert_eq!(printed(Format::Table, false, 1), of_one);
        let of_many = "\
sensor  time                      kind           value
──────  ────────────────────────  ───────────  ───────
attic   2024-11-19T07:06:40.123Z  odd, \"kind\"  23.4567
";
        assert_eq!(printed(Format::Table, true, 1), of_many);
    }
}
