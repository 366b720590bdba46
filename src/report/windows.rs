//! Windows of one sensor in any format. For programs the schema is fixed:
//!
//! - json, jsonl: `{"sensor_id","start","start_ms","end","end_ms","kind","count","sum","mean","min","max","deviation",
//!   "first","first_time","first_time_ms","last","last_time","last_time_ms","state"}`: times as RFC 3339 UTC and as whole
//!   milliseconds since 1970, `deviation` the standard deviation of the readings as a population, `state` `open` or
//!   `complete`. What overflowed is null.
//! - csv: the same names as header.

use std::io;

use serde::Serialize;

use super::format::Format;
use super::json;
use super::number::{compact, grouped, value};
use super::out::Out;
use super::rows::{Row, Rows};
use super::table::{Column, Table};
use crate::model::{Aggregate, Kind, SensorId, TimeMs, WindowCell};

const NAMES: [&str; 19] = [
    "sensor_id",
    "start",
    "start_ms",
    "end",
    "end_ms",
    "kind",
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "deviation",
    "first",
    "first_time",
    "first_time_ms",
    "last",
    "last_time",
    "last_time_ms",
    "state",
];
const COLUMNS: [Column; 9] = [
    Column::left("start"),
    Column::left("end"),
    Column::left("kind"),
    Column::right("count"),
    Column::right("mean"),
    Column::right("min"),
    Column::right("max"),
    Column::right("deviation"),
    Column::left("state"),
];
const TOTAL_COLUMNS: [Column; 9] = [
    Column::left("total from"),
    Column::left("to"),
    Column::left("kind"),
    Column::right("count"),
    Column::right("mean"),
    Column::right("min"),
    Column::right("max"),
    Column::right("deviation"),
    Column::right("windows"),
];

/// A window as it is shown.
pub struct WindowLine<'a> {
    pub sensor: SensorId,
    pub window: &'a WindowCell,
    /// The sensor's readings have not passed its end yet.
    pub is_open: bool,
}

#[derive(Serialize)]
struct JsonWindow<'a> {
    #[serde(serialize_with = "json::sensor")]
    sensor_id: SensorId,
    #[serde(serialize_with = "json::time")]
    start: TimeMs,
    start_ms: i64,
    #[serde(serialize_with = "json::time")]
    end: TimeMs,
    end_ms: i64,
    kind: &'a str,
    count: i64,
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
    deviation: f64,
    first: f64,
    #[serde(serialize_with = "json::time")]
    first_time: TimeMs,
    first_time_ms: i64,
    last: f64,
    #[serde(serialize_with = "json::time")]
    last_time: TimeMs,
    last_time_ms: i64,
    state: &'static str,
}

impl WindowLine<'_> {
    fn state(&self) -> &'static str {
        if self.is_open { "open" } else { "complete" }
    }
}

impl Row for WindowLine<'_> {
    fn cells(&self) -> Vec<String> {
        let WindowCell { key, aggregate } = self.window;
        let mut cells = vec![key.start.to_string(), key.end().to_string(), key.kind.to_string()];
        cells.extend(figures(aggregate));
        cells.push(self.state().to_owned());
        cells
    }

    fn json(&self) -> impl Serialize {
        let WindowCell { key, aggregate } = self.window;
        JsonWindow {
            sensor_id: self.sensor,
            start: key.start,
            start_ms: key.start.0,
            end: key.end(),
            end_ms: key.end().0,
            kind: key.kind.as_str(),
            count: aggregate.count,
            sum: aggregate.sum,
            mean: aggregate.mean,
            min: aggregate.min,
            max: aggregate.max,
            deviation: aggregate.standard_deviation(),
            first: aggregate.first,
            first_time: aggregate.first_at,
            first_time_ms: aggregate.first_at.0,
            last: aggregate.last,
            last_time: aggregate.last_at,
            last_time_ms: aggregate.last_at.0,
            state: self.state(),
        }
    }

    fn csv(&self) -> Vec<String> {
        let WindowCell { key, aggregate } = self.window;
        let both = |time: TimeMs| [time.to_string(), time.0.to_string()];
        let mut cells = vec![self.sensor.to_string()];
        cells.extend(both(key.start).into_iter().chain(both(key.end())));
        cells.extend([key.kind.to_string(), aggregate.count.to_string()]);
        let deviation = aggregate.standard_deviation();
        let numbers = [
            aggregate.sum,
            aggregate.mean,
            aggregate.min,
            aggregate.max,
            deviation,
            aggregate.first,
        ];
        cells.extend(numbers.map(value));
        cells.extend(both(aggregate.first_at));
        cells.push(value(aggregate.last));
        cells.extend(both(aggregate.last_at));
        cells.push(self.state().to_owned());
        cells
    }
}

/// Count, mean, min, max and deviation for a person: computed numbers in six digits, readings as they are.
fn figures(aggregate: &Aggregate) -> [String; 5] {
    [
        grouped(aggregate.count.unsigned_abs()),
        compact(aggregate.mean),
        value(aggregate.min),
        value(aggregate.max),
        compact(aggregate.standard_deviation()),
    ]
}

/// Prints windows one by one in constant memory.
pub struct Windows(Rows);

impl Windows {
    pub fn begin(out: &mut Out, format: Format) -> io::Result<Windows> {
        Ok(Windows(Rows::begin(out, format, &COLUMNS, &NAMES)?))
    }

    pub fn row(&mut self, out: &mut Out, window: &WindowLine<'_>) -> io::Result<()> {
        self.0.row(out, window)
    }

    pub fn finish(self, out: &mut Out) -> io::Result<()> {
        self.0.finish(out)
    }
}

/// All windows of one measure in a range of time, as one.
#[derive(Clone, PartialEq, Debug)]
pub struct WindowTotal {
    pub kind: Kind,
    /// Start of the first window.
    pub from: TimeMs,
    /// End of the last one.
    pub to: TimeMs,
    pub windows: u64,
    pub aggregate: Aggregate,
}

/// Prints the totals for a person, below an empty line.
pub fn window_totals(out: &mut Out, totals: &[WindowTotal]) -> io::Result<()> {
    if totals.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = Table::new(&TOTAL_COLUMNS);
    for total in totals {
        let mut cells = vec![total.from.to_string(), total.to.to_string(), total.kind.to_string()];
        cells.extend(figures(&total.aggregate));
        cells.push(grouped(total.windows));
        table.row(out, cells)?;
    }
    table.finish(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WindowKey;

    /// 2025-11-05T12:00:00Z.
    const NOON: TimeMs = TimeMs(1_762_344_000_000);

    fn window(kind: &str, mean: f64) -> WindowCell {
        WindowCell {
            key: WindowKey::of(Kind::new(kind), 60, NOON),
            aggregate: Aggregate {
                last_offset: 7,
                count: 1234,
                sum: mean * 1234.0,
                mean,
                m2: 1234.0 * 0.25,
                min: -1.5,
                max: 23.456_789_012,
                first: 1.0,
                first_at: TimeMs(NOON.0 + 250),
                last: 2.0,
                last_at: TimeMs(NOON.0 + 59_750),
            },
        }
    }

    fn printed(format: Format, windows: &[WindowCell]) -> String {
        let (mut out, captured) = Out::captured(None);
        let mut rows = Windows::begin(&mut out, format).unwrap();
        for (index, window) in windows.iter().enumerate() {
            let sensor = SensorId::from_text("6f1c2d3e-0000-4000-8000-00000000abcd").0;
            let is_open = index == 0;
            rows.row(
                &mut out,
                &WindowLine {
                    sensor,
                    window,
                    is_open,
                },
            )
            .unwrap();
        }
        rows.finish(&mut out).unwrap();
        captured.data()
    }

    #[test]
    fn a_table_has_computed_numbers_in_six_digits_and_readings_as_they_are() {
        let expected = "\
start                     end                       kind         count     mean   min           max  deviation  state
────────────────────────  ────────────────────────  ───────────  ─────  ───────  ────  ────────────  ─────────  ────────
2025-11-05T12:00:00.000Z  2025-11-05T12:01:00.000Z  temperature  1,234  20.1235  -1.5  23.456789012        0.5  open
2025-11-05T12:00:00.000Z  2025-11-05T12:01:00.000Z  pressure     1,234     1000  -1.5  23.456789012        0.5  complete
";
        let windows = [window("temperature", 20.123_456_7), window("pressure", 1000.0)];
        assert_eq!(printed(Format::Table, &windows), expected);
        assert_eq!(printed(Format::Table, &[]), "");
    }

    #[test]
    fn json_and_csv_have_the_documented_schema() {
        let line = printed(Format::Jsonl, &[window("odd, kind", 20.0)]);
        let expected = "{\"sensor_id\":\"6f1c2d3e-0000-4000-8000-00000000abcd\",\
            \"start\":\"2025-11-05T12:00:00.000Z\",\"start_ms\":1762344000000,\
            \"end\":\"2025-11-05T12:01:00.000Z\",\"end_ms\":1762344060000,\"kind\":\"odd, kind\",\"count\":1234,\
            \"sum\":24680.0,\"mean\":20.0,\"min\":-1.5,\"max\":23.456789012,\"deviation\":0.5,\"first\":1.0,\
            \"first_time\":\"2025-11-05T12:00:00.250Z\",\"first_time_ms\":1762344000250,\"last\":2.0,\
            \"last_time\":\"2025-11-05T12:00:59.750Z\",\"last_time_ms\":1762344059750,\"state\":\"open\"}\n";
        assert_eq!(line, expected);
        let csv = printed(Format::Csv, &[window("odd, kind", 20.0)]);
        let expected = "sensor_id,start,start_ms,end,end_ms,kind,count,sum,mean,min,max,deviation,first,first_time,\
            first_time_ms,last,last_time,last_time_ms,state\n\
            6f1c2d3e-0000-4000-8000-00000000abcd,2025-11-05T12:00:00.000Z,1762344000000,2025-11-05T12:01:00.000Z,\
            1762344060000,\"odd, kind\",1234,24680.0,20.0,-1.5,23.456789012,0.5,1.0,2025-11-05T12:00:00.250Z,\
            1762344000250,2.0,2025-11-05T12:00:59.750Z,1762344059750,open\n";
        assert_eq!(csv, expected);
        let overflown = printed(Format::Jsonl, &[window("x", f64::INFINITY)]);
        assert!(overflown.contains("\"mean\":null"), "{overflown}");
        assert_eq!(printed(Format::Json, &[]), "[]\n");
    }

    #[test]
    fn totals_stand_below_an_empty_line() {
        let (mut out, captured) = Out::captured(None);
        let WindowCell { key, aggregate } = window("temperature", 20.5);
        let (from, to) = (key.start, key.end());
        let total = WindowTotal {
            kind: key.kind,
            from,
            to,
            windows: 1440,
            aggregate,
        };
        window_totals(&mut out, &[total]).unwrap();
        let expected = "
total from                to                        kind         count  mean   min           max  deviation  windows
────────────────────────  ────────────────────────  ───────────  ─────  ────  ────  ────────────  ─────────  ───────
2025-11-05T12:00:00.000Z  2025-11-05T12:01:00.000Z  temperature  1,234  20.5  -1.5  23.456789012        0.5    1,440
";
        assert_eq!(captured.data(), expected);
        let (mut out, captured) = Out::captured(None);
        window_totals(&mut out, &[]).unwrap();
        assert_eq!(captured.data(), "");
    }
}
