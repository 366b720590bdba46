//! A sensor's records between their decoding and their write, and the room that they take.

use std::collections::VecDeque;
use std::sync::Arc;

use super::detectors::Change;
use crate::model::{Alert, AlertChange, AlertId, Kind, Record, SensorId, Source};

/// A record that waits for its write.
#[derive(Debug)]
pub struct Waiting {
    pub offset: i64,
    readings: u32,
    pub said: Option<Box<Said>>,
}

/// What a record says beside its readings. Most say nothing, so it is kept apart.
#[derive(Debug)]
pub struct Said {
    /// As this record has it: a sensor may be named by its label in one record and by its UUID in the next.
    pub label: Option<Arc<str>>,
    pub status: Option<Arc<str>>,
}

impl Said {
    fn of(record: &Record) -> Option<Box<Said>> {
        let says = record.label.is_some() || record.status.is_some();
        says.then(|| {
            Box::new(Said {
                label: record.label.clone(),
                status: record.status.clone(),
            })
        })
    }
}

impl Waiting {
    pub fn new(record: &Record, readings: usize) -> Waiting {
        Waiting {
            offset: record.offset,
            readings: u32::try_from(readings).expect("a record is no larger than a message"),
            said: Said::of(record),
        }
    }

    /// Readings that are the record's.
    pub fn readings(&self) -> usize {
        self.readings as usize
    }

    pub fn alert_change(&self, sensor: SensorId, source: &Source, kind: Kind, change: Change) -> AlertChange {
        let alert = change.alert;
        AlertChange {
            event: change.event,
            offset: self.offset,
            alert: Alert {
                id: AlertId::new(sensor, &kind, &change.rule, &source.to_string(), alert.onset),
                sensor,
                label: self.said.as_ref().and_then(|said| said.label.clone()),
                kind,
                rule: change.rule,
                severity: alert.severity,
                raised_at: alert.raised_at,
                value: alert.value,
                peak: alert.peak,
                cleared_at: change.cleared_at,
            },
        }
    }
}

/// Room for the rows that are left and as many as were just taken: a sensor that sends often collects as many again while
/// the write flies. One that sends a row now and then keeps no room.
pub fn rows_ahead(waiting: usize, taken: usize) -> usize {
    match taken {
        0..OFTEN_ROWS => waiting - taken,
        _ => room(waiting.max(taken)),
    }
}

/// Gives back the room that a queue had for a burst, once what it held before so many were taken needs half of it.
pub fn give_back<T>(queue: &mut VecDeque<T>, taken: usize) {
    let needed = room(queue.len() + taken);
    if queue.capacity() > needed {
        queue.shrink_to(needed);
    }
}

/// The room of so many, in few sizes: pieces of a thousand sensors take each other's places in memory then.
fn room(length: usize) -> usize {
    length.max(OFTEN_ROWS).next_power_of_two()
}

/// Rows in a write from which on a sensor sends often.
const OFTEN_ROWS: usize = 8;
