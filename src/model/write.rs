//! What one request to the store carries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Aggregate, Day, Kind, Location, SensorId, Source, TimeMs, WindowCell, WindowKey};

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

/// What must be kept of a sensor and source to go on exactly where another stopped: one cell of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateCell {
    /// Offset of the last record that is in it; the cell's write timestamp is this + 1.
    pub last_offset: i64,
    /// The processor's own encoding, which is canonical: the same records make the same bytes.
    pub bytes: Vec<u8>,
}

/// Readings of one sensor, in offset order, with the windows and the state that they changed, and what they say about the
/// sensor itself. It is acknowledged as a whole; applying it twice, or late, changes nothing. Windows and state may be
/// ahead of the readings: they hold all that was folded by then.
#[derive(Clone, PartialEq, Debug)]
pub struct SensorWrite {
    pub id: WriteId,
    pub partition: i32,
    pub sensor: SensorId,
    /// Whose sub-rows `windows` and `state` are.
    pub source: Arc<Source>,
    pub rows: Vec<ReadingRow>,
    pub windows: Vec<WindowCell>,
    pub state: Option<StateCell>,
    /// Present on the sensor's first sight, with a new kind, when its range of days grows, at most once a minute otherwise,
    /// and when no more records come.
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

/// Names a load in flight, unique within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoadId(pub u64);

/// Cells of one sensor and source that are needed before its records can be folded.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    pub id: LoadId,
    pub sensor: SensorId,
    pub source: Arc<Source>,
    /// Whether the state is wanted.
    pub state: bool,
    pub windows: Vec<WindowKey>,
}

/// The answer to a [`Load`]: what a quorum of the store holds. What is absent was never written.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    pub id: LoadId,
    /// [`StateCell::bytes`], where the state was wanted and is there.
    pub state: Option<Vec<u8>>,
    /// In the order of [`Load::windows`].
    pub windows: Vec<Option<Aggregate>>,
}
