//! What is seen of a sensor itself, for the directory: label, status, location, days, newest values.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Day, Kind, Location, Reading, Record, Sighting, TimeMs, newer_cell};

/// Kinds of one sensor that the directory keeps: a bound on memory against records with ever new field names.
const KINDS_MAX: usize = 256;

/// What was seen of the sensor itself, for the directory.
#[derive(Debug)]
pub struct Seen {
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

impl Seen {
    pub fn new() -> Seen {
        Seen {
            label: None,
            status: None,
            location: None,
            days: None,
            last_values: Vec::new(),
            is_news: false,
            next_sighting_ms: i64::MIN,
        }
    }

    /// What it takes in memory beside itself, bytes.
    pub fn size_bytes(&self) -> usize {
        self.last_values.capacity() * size_of::<(Kind, TimeMs, f64)>()
    }

    /// Takes one record in.
    pub fn fold(&mut self, record: &Record, readings: &[Reading]) {
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
    pub fn sighting(&mut self, now_ms: i64, next_sighting_ms: i64) -> Option<Box<Sighting>> {
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
