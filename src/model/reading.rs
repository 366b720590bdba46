//! Readings and the records that carry them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{DeadLetter, SensorId, TimeMs};

/// A measure's name, for example `temperature`. Cloning is cheap: names are interned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(pub Arc<str>);

impl Kind {
    pub fn new(name: &str) -> Kind {
        Kind(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One value of one measure; sensor and time are its record's.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    pub kind: Kind,
    pub value: f64,
}

/// Degrees, WGS 84.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Location {
    pub latitude: f64,
    pub longitude: f64,
}

/// A decoded record of Kafka: one or several readings of one sensor at one event time.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// The record's Kafka timestamp: the write timestamp of its readings, and what "too late" and "in the future" are
    /// judged against.
    pub timestamp: TimeMs,
    pub sensor: SensorId,
    /// Event time.
    pub time: TimeMs,
    /// Where the record's readings lie in [`RecordBatch::readings`]: never empty.
    pub readings: Range<u32>,
    /// The id as it was written, where that is no UUID.
    pub label: Option<Arc<str>>,
    pub status: Option<Arc<str>>,
    pub location: Option<Location>,
}

/// Records in the order in which they were polled, with their readings in one allocation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RecordBatch {
    pub records: Vec<Record>,
    pub readings: Vec<Reading>,
    /// Records that cannot be decoded, each with the number of `records` that were polled before it.
    pub dead: Vec<(usize, DeadLetter)>,
}

impl RecordBatch {
    pub fn with_capacity(records: usize, readings: usize) -> RecordBatch {
        RecordBatch {
            records: Vec::with_capacity(records),
            readings: Vec::with_capacity(readings),
            dead: Vec::new(),
        }
    }

    /// Records in the batch, dead ones included.
    pub fn len(&self) -> usize {
        self.records.len() + self.dead.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether the cell (write timestamp, value) replaces the one that is stored: the later timestamp wins, and within one
/// the larger value by its big-endian bytes. This is Cassandra's own rule; every store follows it, so that a replay in
/// any order ends in the same row.
pub fn newer_cell(new: (TimeMs, f64), stored: (TimeMs, f64)) -> bool {
    (new.0, new.1.to_bits()) > (stored.0, stored.1.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_one_millisecond_the_larger_bytes_win() {
        let at = |ms, value| (TimeMs(ms), value);
        assert!(newer_cell(at(2, 1.0), at(1, 9.0)));
        assert!(newer_cell(at(1, 2.0), at(1, 1.0)));
        assert!(newer_cell(at(1, -1.0), at(1, 1.0)), "the sign bit is the largest");
        assert!(newer_cell(at(1, -0.0), at(1, 0.0)));
        assert!(!newer_cell(at(1, 1.0), at(1, 1.0)));
    }
}
