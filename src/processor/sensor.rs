//! One sensor of one partition: folds its records and collects them for the next write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::offsets::Ticket;
use crate::model::{
    Day, Kind, Location, Reading, ReadingRow, Record, SensorId, SensorWrite, Sighting, TimeMs, WriteId, newer_cell,
};

/// Kinds of one sensor that the directory keeps: a bound on memory against records with ever new field names.
const KINDS_MAX: usize = 256;

/// What is kept of a sensor between records.
#[derive(Debug)]
pub struct Sensor {
    partition: i32,
    id: SensorId,
    rows: Vec<ReadingRow>,
    /// Records of `rows`, in order: ticket and number of readings.
    records: Vec<(Ticket, usize)>,
    flying: Option<Vec<Ticket>>,
    queued: bool,
    /// The partition was dropped while a write flew.
    abandoned: bool,
    seen: Seen,
    /// Used since the cache last looked.
    touched: bool,
}

/// What was seen of the sensor itself, for the directory.
#[derive(Debug)]
struct Seen {
    label: Option<Arc<str>>,
    status: Option<(TimeMs, Arc<str>)>,
    location: Option<(TimeMs, Location)>,
    days: Option<(Day, Day)>,
    last_values: Vec<(Kind, TimeMs, f64)>,
    /// The range of days grew, or a kind is new, since the last sighting: the next write must say so, or a reading could
    /// not be found.
    is_news: bool,
    next_sighting_ms: i64,
}

impl Sensor {
    pub fn new(partition: i32, id: SensorId) -> Sensor {
        let seen = Seen {
            label: None,
            status: None,
            location: None,
            days: None,
            last_values: Vec::new(),
            is_news: false,
            next_sighting_ms: i64::MIN,
        };
        Sensor {
            partition,
            id,
            rows: Vec::new(),
            records: Vec::new(),
            flying: None,
            queued: false,
            abandoned: false,
            seen,
            touched: true,
        }
    }

    pub fn key(&self) -> (i32, SensorId) {
        (self.partition, self.id)
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Takes one record in.
    pub fn fold(&mut self, record: &Record, readings: &[Reading], ticket: Ticket) {
        self.touched = true;
        self.seen.fold(record, readings);
        self.records.push((ticket, readings.len()));
        self.rows.extend(readings.iter().map(|reading| ReadingRow {
            time: record.time,
            kind: reading.kind.clone(),
            value: reading.value,
            timestamp: record.timestamp,
        }));
    }

    /// Whether the sensor is to be queued now: it has records, no write in flight, and does not stand in the queue yet.
    /// Answers `true` once; the next write takes it from the queue.
    pub fn queue_if_ready(&mut self) -> bool {
        let ready = !self.queued && self.flying.is_none() && !self.records.is_empty();
        self.queued |= ready;
        ready
    }

    /// The next write: the oldest records, whole ones, up to `readings_max` readings or one record.
    pub fn take_write(
        &mut self,
        id: WriteId,
        readings_max: usize,
        now_ms: i64,
        next_sighting_ms: i64,
    ) -> Box<SensorWrite> {
        let (mut records, mut readings) = (0, 0);
        for (_, of_record) in &self.records {
            if records > 0 && readings + of_record > readings_max {
                break;
            }
            records += 1;
            readings += of_record;
        }
        let rest = self.rows.split_off(readings);
        let rows = std::mem::replace(&mut self.rows, rest);
        self.flying = Some(self.records.drain(..records).map(|(ticket, _)| ticket).collect());
        self.queued = false;
        let sighting = self.seen.sighting(now_ms, next_sighting_ms);
        Box::new(SensorWrite {
            id,
            partition: self.partition,
            sensor: self.id,
            rows,
            sighting,
        })
    }

    /// The write in flight was acknowledged: the tickets of its records.
    pub fn landed(&mut self) -> Vec<Ticket> {
        self.flying.take().unwrap_or_default()
    }

    pub fn in_flight(&self) -> bool {
        self.flying.is_some()
    }

    /// Nothing pending and nothing in flight: only such a sensor may be forgotten.
    pub fn is_idle(&self) -> bool {
        self.records.is_empty() && self.flying.is_none()
    }

    /// Forgets what waits; the write in flight lands unheard. Answers the number of readings that were dropped.
    pub fn abandon(&mut self) -> usize {
        self.abandoned = true;
        self.records.clear();
        std::mem::take(&mut self.rows).len()
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Whether it was used since the last call.
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }
}

impl Seen {
    fn fold(&mut self, record: &Record, readings: &[Reading]) {
        if self.label.is_none() {
            self.label.clone_from(&record.label);
        }
        let day = record.time.day();
        let (first, last) = self.days.unwrap_or((day, day));
        if self.days.is_none() || day < first || day > last {
            self.days = Some((first.min(day), last.max(day)));
            self.is_news = true;
        }
        if let Some(status) = &record.status
            && self
                .status
                .as_ref()
                .is_none_or(|(time, known)| (record.time, status) > (*time, known))
        {
            self.status = Some((record.time, status.clone()));
        }
        if let Some(location) = record.location
            && self.location.is_none_or(|(time, _)| record.time >= time)
        {
            self.location = Some((record.time, location));
        }
        for Reading { kind, value } in readings {
            if let Some((_, time, last)) = self.last_values.iter_mut().find(|(known, _, _)| known == kind) {
                if newer_cell((record.time, *value), (*time, *last)) {
                    (*time, *last) = (record.time, *value);
                }
            } else if self.last_values.len() < KINDS_MAX {
                self.last_values.push((kind.clone(), record.time, *value));
                self.is_news = true;
            }
        }
    }

    /// What the directory is to learn, where it is time.
    fn sighting(&mut self, now_ms: i64, next_sighting_ms: i64) -> Option<Box<Sighting>> {
        if !self.is_news && now_ms < self.next_sighting_ms {
            return None;
        }
        let (first_day, last_day) = self.days?;
        self.is_news = false;
        self.next_sighting_ms = next_sighting_ms;
        let values = self.last_values.iter();
        Some(Box::new(Sighting {
            label: self.label.clone(),
            status: self.status.clone(),
            location: self.location,
            first_day,
            last_day,
            last_values: values
                .map(|(kind, time, value)| (kind.clone(), (*time, *value)))
                .collect::<BTreeMap<_, _>>(),
        }))
    }
}
