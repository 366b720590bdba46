//! Rows as JSON, one after the other: an array or a line each, never all in memory.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::Format;
use crate::model::{Day, SensorId, TimeMs};

/// Prints rows as one JSON array with an element a line, or as JSON lines.
pub struct JsonRows {
    is_array: bool,
    is_first: bool,
}

impl JsonRows {
    /// As the format says: an array for `json`, otherwise lines.
    pub fn of(format: Format) -> JsonRows {
        match format {
            Format::Json => JsonRows::array(),
            _ => JsonRows::lines(),
        }
    }

    pub fn array() -> JsonRows {
        JsonRows {
            is_array: true,
            is_first: true,
        }
    }

    pub fn lines() -> JsonRows {
        JsonRows {
            is_array: false,
            is_first: true,
        }
    }

    pub fn row(&mut self, out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
        if self.is_array {
            out.write_all(if self.is_first { b"[\n" } else { b",\n" })?;
        }
        self.is_first = false;
        serde_json::to_writer(&mut *out, row)?;
        if self.is_array { Ok(()) } else { out.write_all(b"\n") }
    }

    pub fn finish(self, out: &mut impl Write) -> io::Result<()> {
        match (self.is_array, self.is_first) {
            (true, true) => out.write_all(b"[]\n"),
            (true, false) => out.write_all(b"\n]\n"),
            (false, _) => Ok(()),
        }
    }
}

/// For `#[serde(serialize_with)]`: as it prints.
pub fn time<S: Serializer>(time: &TimeMs, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// For `#[serde(serialize_with)]`: as it prints.
pub fn day<S: Serializer>(day: &Day, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

/// For `#[serde(serialize_with)]`: as it prints.
pub fn sensor<S: Serializer>(sensor: &SensorId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(sensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(mut rows: JsonRows, count: u32) -> String {
        let mut out = Vec::new();
        for number in 0..count {
            rows.row(&mut out, &number).unwrap();
        }
        rows.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_array_of_none_one_and_many_rows_is_valid_json() {
        for count in [0, 1, 2, 5] {
            let text = printed(JsonRows::array(), count);
            let values: Vec<u32> = serde_json::from_str(&text).unwrap();
            assert_eq!(values, (0..count).collect::<Vec<_>>());
            assert!(text.ends_with("]\n"));
        }
    }

    #[test]
    fn json_lines_are_one_value_a_line() {
        assert_eq!(printed(JsonRows::lines(), 0), "");
        assert_eq!(printed(JsonRows::lines(), 2), "0\n1\n");
    }
}
