//! What one request to the store carries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Day, Kind, Location, SensorId, TimeMs};

/// Names a write in flight, unique within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WriteId(pub u64);

/// One row of `sensor_readings`; the sensor is the write's.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadingRow {
    /// Event time.
    pub time: TimeMs,
    pub kind: Kind,
    pub value: f64,
    /// The record's Kafka timestamp, which is the cell's write timestamp.
    pub timestamp: TimeMs,
}

/// Readings of one sensor, in offset order, with what they say about the sensor itself. It is acknowledged as a whole;
/// applying it twice, or late, changes nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct SensorWrite {
    pub id: WriteId,
    pub partition: i32,
    pub sensor: SensorId,
    pub rows: Vec<ReadingRow>,
    /// Present on the sensor's first sight, with a new kind, when its range of days grows, and at most once a minute
    /// otherwise.
    pub sighting: Option<Box<Sighting>>,
}

/// What the directory learns of a sensor. Fields merge one by one: the newest event time wins for status, location and
/// values, the range of days only grows.
#[derive(Clone, PartialEq, Debug)]
pub struct Sighting {
    pub label: Option<Arc<str>>,
    /// With the event time of the record that said so.
    pub status: Option<(TimeMs, Arc<str>)>,
    /// With the event time of the record that said so.
    pub location: Option<(TimeMs, Location)>,
    pub first_day: Day,
    pub last_day: Day,
    /// The newest value of each kind, with its event time.
    pub last_values: BTreeMap<Kind, (TimeMs, f64)>,
}
