//! Recorded data instead of a simulated fleet: rows of a CSV file, each value of a row a record of its own.
//!
//! The first row names the columns. Values keep every bit of the double that their text stands for; an empty cell is no
//! reading.

use std::io::Read;

use super::avro::AvroEncoder;
use super::encode::Encoder;
use super::{Emission, FleetError, Format};
use crate::model::TimeMs;

/// Which columns mean what.
#[derive(Clone, PartialEq, Debug)]
pub struct Columns {
    /// The column of the event times.
    pub time: String,
    /// Columns of values, each with the kind that its readings are of.
    pub values: Vec<(String, String)>,
    pub sensor: SensorColumn,
}

/// Whose readings they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SensorColumn {
    /// Each row's sensor stands in this column.
    Column(String),
    /// All rows are one sensor's.
    One(String),
}

/// Why recorded data cannot be replayed.
#[derive(thiserror::Error, Debug)]
pub enum ReplayError {
    #[error("there is no column {wanted:?}: the first row names {found}")]
    NoColumn { wanted: String, found: String },
    #[error("line {line}: {column} {text:?} is not {wanted}")]
    BadCell {
        line: u64,
        column: String,
        text: String,
        wanted: &'static str,
    },
    #[error("{0}")]
    Csv(#[from] csv::Error),
    #[error(transparent)]
    Kinds(#[from] FleetError),
}

/// How a time's text is read.
pub type ParseTime = fn(&str) -> Option<TimeMs>;

/// Reads rows and makes their records, in the file's order.
pub struct Replay<R> {
    reader: csv::Reader<R>,
    row: csv::StringRecord,
    columns: Columns,
    parse_time: ParseTime,
    /// Added to every time, milliseconds.
    shift_ms: i64,
    time_at: usize,
    values_at: Vec<usize>,
    sensor_at: Option<usize>,
    /// The next of `values_at` in `row`; past the last, the next row is due.
    next_value: usize,
    encoder: Encoder,
    /// Where the records are in Avro; `encoder` is not used then.
    avro: Option<AvroEncoder>,
    /// The row's sensor, and the same as it stands in JSON.
    id: Vec<u8>,
    id_in_json: Vec<u8>,
    time: TimeMs,
    made: u64,
}

/// What a whole file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub records: u64,
    pub first: TimeMs,
    pub last: TimeMs,
}

impl<R: Read> Replay<R> {
    /// Reads the first row, which names the columns. `shift_ms` is added to every time.
    pub fn new(input: R, columns: Columns, parse_time: ParseTime, shift_ms: i64) -> Result<Replay<R>, ReplayError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
        let header = reader.headers()?.clone();
        let place = |name: &String| {
            // Spreadsheets begin a file with a mark of its encoding.
            let is_it = |found: &str| found.trim_start_matches('\u{feff}') == name;
            header.iter().position(is_it).ok_or_else(|| ReplayError::NoColumn {
                wanted: name.clone(),
                found: header.iter().collect::<Vec<_>>().join(", "),
            })
        };
        let time_at = place(&columns.time)?;
        let values_at: Vec<usize> = columns
            .values
            .iter()
            .map(|(name, _)| place(name))
            .collect::<Result<_, _>>()?;
        let (sensor_at, id) = match &columns.sensor {
            SensorColumn::Column(name) => (Some(place(name)?), Vec::new()),
            SensorColumn::One(id) => (None, id.clone().into_bytes()),
        };
        let kinds: Vec<String> = columns.values.iter().map(|(_, kind)| kind.clone()).collect();
        Ok(Replay {
            reader,
            row: csv::StringRecord::new(),
            encoder: Encoder::new(&kinds)?,
            avro: None,
            next_value: values_at.len(),
            columns,
            parse_time,
            shift_ms,
            time_at,
            values_at,
            sensor_at,
            id_in_json: escaped(&id),
            id,
            time: TimeMs(0),
            made: 0,
        })
    }

    /// The same, its records in Avro: in the schema of narrow records, under that id.
    pub fn in_avro(self, schema_id: u32) -> Result<Replay<R>, ReplayError> {
        let kinds: Vec<String> = self.columns.values.iter().map(|(_, kind)| kind.clone()).collect();
        let avro = AvroEncoder::new(Format::Narrow, &kinds, schema_id)?;
        Ok(Replay {
            avro: Some(avro),
            ..self
        })
    }

    /// Reads the file to its end: whether all of it can be replayed, and what it holds. `None` where it holds nothing.
    pub fn extent(mut self) -> Result<Option<Extent>, ReplayError> {
        let (mut emission, mut extent) = (Emission::default(), None::<Extent>);
        while self.next(&mut emission)? {
            let time = emission.event_time;
            let so_far = extent.unwrap_or(Extent {
                records: 0,
                first: time,
                last: time,
            });
            extent = Some(Extent {
                records: so_far.records + 1,
                first: so_far.first.min(time),
                last: so_far.last.max(time),
            });
        }
        Ok(extent)
    }

    /// The next record; `false` at the end.
    pub fn next(&mut self, emission: &mut Emission) -> Result<bool, ReplayError> {
        loop {
            if self.next_value == self.values_at.len() {
                if !self.reader.read_record(&mut self.row)? {
                    return Ok(false);
                }
                self.begin_row()?;
            }
            let index = self.next_value;
            self.next_value += 1;
            let text = &self.row[self.values_at[index]];
            if text.is_empty() {
                continue;
            }
            let Some(value) = parse_value(text) else {
                return Err(self.bad_cell(&self.columns.values[index].0, text, "a finite number, true or false"));
            };
            emission.key.clear();
            emission.key.extend_from_slice(&self.id);
            let payload = &mut emission.payload;
            match &self.avro {
                Some(avro) => avro.narrow(payload, &self.id, self.time, index, value),
                None => self.encoder.narrow(payload, &self.id_in_json, self.time, index, value),
            };
            (emission.fault, emission.event_time, emission.slot) = (None, self.time, self.made);
            self.made += 1;
            return Ok(true);
        }
    }

    fn begin_row(&mut self) -> Result<(), ReplayError> {
        let text = &self.row[self.time_at];
        let Some(time) = (self.parse_time)(text) else {
            return Err(self.bad_cell(&self.columns.time, text, "a time"));
        };
        self.time = TimeMs(time.0.saturating_add(self.shift_ms));
        if let (SensorColumn::Column(name), Some(at)) = (&self.columns.sensor, self.sensor_at) {
            let id = &self.row[at];
            if id.is_empty() {
                return Err(self.bad_cell(name, id, "a sensor's id"));
            }
            if self.id != id.as_bytes() {
                self.id.clear();
                self.id.extend_from_slice(id.as_bytes());
                self.id_in_json = escaped(&self.id);
            }
        }
        self.next_value = 0;
        Ok(())
    }

    fn bad_cell(&self, column: &str, text: &str, wanted: &'static str) -> ReplayError {
        ReplayError::BadCell {
            line: self.row.position().map_or(0, csv::Position::line),
            column: column.to_owned(),
            text: text.chars().take(64).collect(),
            wanted,
        }
    }
}

/// A text as it stands between quotes in JSON.
fn escaped(text: &[u8]) -> Vec<u8> {
    let quoted = serde_json::Value::from(String::from_utf8_lossy(text)).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Option<TimeMs> {
        text.parse().ok().map(TimeMs)
    }

    fn columns(values: &[&str], sensor: SensorColumn) -> Columns {
        Columns {
            time: "t".to_owned(),
            values: values
                .iter()
                .map(|name| ((*name).to_owned(), format!("kind_{name}")))
                .collect(),
            sensor,
        }
    }

    fn all(text: &str, columns: Columns, shift_ms: i64) -> Result<Vec<(String, serde_json::Value)>, ReplayError> {
        let mut replay = Replay::new(text.as_bytes(), columns, times, shift_ms)?;
        let (mut emission, mut all) = (Emission::default(), Vec::new());
        while replay.next(&mut emission)? {
            let payload = serde_json::from_slice(&emission.payload).expect("JSON");
            all.push((String::from_utf8(emission.key.clone()).expect("text"), payload));
        }
        Ok(all)
    }

    #[test]
    fn each_value_of_a_row_is_a_record() {
        let text = "\u{feff}t,id,a,b,ignored\n1000, x ,1.5,true,9\n2000,\"say \"\"y\"\"\",,-0.1,\n\n3000,x,,,7\n";
        let records = all(text, columns(&["a", "b"], SensorColumn::Column("id".to_owned())), 5).unwrap();
        let record = |id: &str, ms: i64, kind: &str, value: f64| {
            let payload = serde_json::json!({"sensor_id": id, "reading_time": ms, "type": kind, "reading": value});
            (id.to_owned(), payload)
        };
        assert_eq!(
            records,
            [
                record("x", 1005, "kind_a", 1.5),
                record("x", 1005, "kind_b", 1.0),
                record("say \"y\"", 2005, "kind_b", -0.1),
            ]
        );
    }

    #[test]
    fn values_keep_every_bit() {
        for text in [
            "0.1",
            "1e-7",
            "123456789.123456789",
            "-4.9e-324",
            "1.7976931348623157e308",
            "+5",
            ".5",
        ] {
            let file = format!("t,a\n0,{text}\n");
            let records = all(&file, columns(&["a"], SensorColumn::One("s".to_owned())), 0).unwrap();
            let read = records[0].1["reading"].as_f64().expect("a number");
            assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn what_a_file_holds() {
        let one = || columns(&["a"], SensorColumn::One("s".to_owned()));
        let extent = |text: &str| Replay::new(text.as_bytes(), one(), times, 0).unwrap().extent().unwrap();
        assert_eq!(extent("t,a\n"), None);
        assert_eq!(
            extent("t,a\n20,1\n10,2\n30,\n"),
            Some(Extent {
                records: 2,
                first: TimeMs(10),
                last: TimeMs(20)
            })
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let one = |text: &str| {
            all(text, columns(&["a"], SensorColumn::One("s".to_owned())), 0)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(one("t,b\n"), "there is no column \"a\": the first row names t, b");
        assert_eq!(
            one("t,a\n1,2\n2,x\n"),
            "line 3: a \"x\" is not a finite number, true or false"
        );
        assert_eq!(
            one("t,a\n1,NaN\n"),
            "line 2: a \"NaN\" is not a finite number, true or false"
        );
        assert_eq!(one("t,a\nnoon,1\n"), "line 2: t \"noon\" is not a time");
        assert!(one("t,a\n1,2,3\n").contains("line: 2"), "{}", one("t,a\n1,2,3\n"));
        let ids = all(
            "t,a,id\n1,2,\n",
            columns(&["a"], SensorColumn::Column("id".to_owned())),
            0,
        );
        assert_eq!(ids.unwrap_err().to_string(), "line 2: id \"\" is not a sensor's id");
    }
}
