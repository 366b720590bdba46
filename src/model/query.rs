//! Questions to the store and what it answers.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Aggregate, AlertId, Day, Kind, Location, SensorId, TimeMs, WindowKey};

/// By event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// Readings of one sensor.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadingsQuery {
    pub sensor: SensorId,
    /// Event times, the end exclusive. The store reads only the days in it: cut it to the sensor's own range of days.
    pub range: Range<TimeMs>,
    /// Only this measure; all where absent.
    pub kind: Option<Kind>,
    pub order: Order,
    /// At most so many readings.
    pub limit: Option<u64>,
}

/// A reading as the store holds it.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredReading {
    /// Event time.
    pub time: TimeMs,
    pub kind: Kind,
    pub value: f64,
}

/// A sensor as the directory holds it.
#[derive(Clone, PartialEq, Debug)]
pub struct SensorRow {
    pub sensor: SensorId,
    pub label: Option<String>,
    pub status: Option<String>,
    pub location: Option<Location>,
    pub first_day: Day,
    pub last_day: Day,
    /// The newest value of each kind with its event time, at most a minute behind the readings.
    pub last_values: BTreeMap<Kind, (TimeMs, f64)>,
    /// Alerts that are active now, with the time they were raised at.
    pub active_alerts: BTreeMap<AlertId, TimeMs>,
}

impl SensorRow {
    /// The days on which the sensor has readings, the end exclusive.
    pub fn days(&self) -> Range<TimeMs> {
        self.first_day.start()..self.last_day.next().start()
    }

    /// The newest event time of its last values.
    pub fn newest(&self) -> Option<TimeMs> {
        self.last_values.values().map(|(time, _)| *time).max()
    }
}

/// Windows of one sensor.
#[derive(Clone, PartialEq, Debug)]
pub struct WindowsQuery {
    pub sensor: SensorId,
    /// Stored size, seconds.
    pub size_s: u32,
    /// Of the windows' starts, the end exclusive. The store reads only the days in it.
    pub range: Range<TimeMs>,
    /// Only this measure; all where absent.
    pub kind: Option<Kind>,
}

/// A source's part of a window as the store holds it.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredWindow {
    pub key: WindowKey,
    /// The source's key: topic, topic id and partition.
    pub source: String,
    pub aggregate: Aggregate,
}

/// Alerts of one sensor or of all.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertsQuery {
    pub sensor: Option<SensorId>,
    /// Of the time they were raised at, the end exclusive. The store reads only the days in it.
    pub range: Range<TimeMs>,
}
