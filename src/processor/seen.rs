//! What is seen of a sensor itself, for the directory: label, status, location, days, newest values.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Day, Kind, Location, ReadingRow, Record, Sighting, TimeMs, newer_cell};

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
    /// not be found. Or the status is another.
    is_news: bool,
    next_sighting_ms: i64,
    /// The newest event time, and what it was at the last sighting.
    newest: TimeMs,
    sighted: TimeMs,
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
            newest: TimeMs(i64::MIN),
            sighted: TimeMs(i64::MIN),
        }
    }

    /// What it takes in memory beside itself, bytes.
    pub fn size_bytes(&self) -> usize {
        self.last_values.capacity() * size_of::<(Kind, TimeMs, f64)>()
    }

    /// Goes on where another process, or this one before it forgot the sensor, stopped: what was acknowledged then is in
    /// the directory, `newest`, the kinds that are known and the last status among it. So there is no news in more of the same day, and
    /// a hundred thousand sensors need not all be told of at once after a start.
    pub fn goes_on(
        &mut self,
        newest: TimeMs,
        is_known: impl Fn(&Kind) -> bool,
        last_status: Option<&Arc<str>>,
        next_sighting_ms: i64,
    ) {
        let day = newest.day();
        let same_status = match (&self.status, last_status) {
            (Some((_, status)), Some(last)) => status == last,
            _ => true,
        };
        let same_kinds = self.last_values.iter().all(|(kind, _, _)| is_known(kind));
        if self.days == Some((day, day)) && same_kinds && same_status {
            self.is_news = false;
            self.next_sighting_ms = next_sighting_ms;
            self.sighted = newest;
        }
    }

    /// Whether what the directory knows of the sensor is older than this, by event time.
    pub fn is_behind(&self, interval_ms: i64) -> bool {
        self.newest.0.saturating_sub(self.sighted.0) >= interval_ms
    }

    /// Takes one record in.
    pub fn fold(&mut self, record: &Record, rows: &[ReadingRow]) {
        self.newest = self.newest.max(record.time);
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
            self.is_news |= self.status.as_ref().is_none_or(|(_, known)| known != status);
            self.status = Some((record.time, status.clone()));
        }
        if let Some(location) = record.location
            && self.location.is_none_or(|(time, _)| record.time >= time)
        {
            self.location = Some((record.time, location));
        }
        for ReadingRow { kind, value, .. } in rows {
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

    /// What the directory is to learn, where it is time, or the last time.
    pub fn sighting(&mut self, now_ms: i64, interval_ms: i64, is_last: bool) -> Option<Box<Sighting>> {
        let is_due = now_ms >= self.next_sighting_ms || (is_last && self.is_behind(interval_ms));
        if !self.is_news && !is_due {
            return None;
        }
        let (first_day, last_day) = self.days?;
        self.is_news = false;
        self.next_sighting_ms = now_ms.saturating_add(interval_ms);
        self.sighted = self.newest;
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
