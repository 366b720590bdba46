//! What one sensor of a fleet sent, without making the records of all others: for whoever checks a run sensor by sensor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use rand_xoshiro::rand_core::Rng;

use super::encode::Format;
use super::faults::{Fate, Fates};
use super::sensor::{self, Sensor};
use super::signal::{Distortion, Shape, mix, substream};
use super::{Fault, FleetError, FleetSettings, Malformation, late_delay_ms, slot_stream};
use crate::model::{Kind, SensorId, TimeMs};

/// The histories of a fleet's sensors. The settings must say how many slots the run had.
pub struct Histories {
    settings: FleetSettings,
    slots: u64,
    shapes: Vec<Shape>,
    kinds: Vec<Kind>,
    fates: Fates,
    late_max_ms: u64,
}

/// A record that a sensor sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub event_time: TimeMs,
    /// Event time that the fleet had reached when the record was sent: later than its own where it is late.
    pub sent_at: TimeMs,
    pub fault: Option<Fault>,
    /// The reading's number, and what became of its values.
    k: u64,
    measured: TimeMs,
    distortion: Distortion,
}

impl Sent {
    /// A record that cannot be decoded.
    pub fn is_malformed(&self) -> bool {
        matches!(self.fault, Some(Fault::Malformed(_)))
    }
}

impl Histories {
    /// `slots` as the run's fleet counted them at its end.
    pub fn new(settings: FleetSettings, slots: u64) -> Result<Histories, FleetError> {
        super::encode::Encoder::new(&settings.kinds)?;
        Ok(Histories {
            slots,
            shapes: settings.kinds.iter().map(|kind| Shape::of_kind(kind)).collect(),
            kinds: settings.kinds.iter().map(|kind| Kind::new(kind)).collect(),
            fates: Fates::new(&settings.faults)?,
            late_max_ms: super::late_max_ms(&settings.faults),
            settings,
        })
    }

    /// Sensors of the fleet.
    pub fn sensors(&self) -> u32 {
        self.settings.schedule.sensors()
    }

    /// Event times that a sensor's readings lie in, the end exclusive; `None` where it has no slot.
    pub fn event_times(&self, index: u32) -> Option<Range<TimeMs>> {
        let sensors = u64::from(self.sensors());
        let last_k = self.slots.checked_sub(u64::from(index) + 1)? / sensors;
        let time = |k| self.settings.schedule.event_time(k * sensors + u64::from(index));
        Some(time(0)..TimeMs(time(last_k).0 + 1))
    }

    /// The records of one sensor, counted from 0, in the order in which they were sent.
    pub fn of_sensor(&self, index: u32) -> History<'_> {
        let settings = &self.settings;
        History {
            fleet: self,
            index,
            sensor: Sensor::new(settings.seed, index, settings.kinds.len(), settings.format),
            k: 0,
            held: BinaryHeap::new(),
            duplicate: None,
        }
    }
}

/// One sensor's records, in the order in which they were sent.
pub struct History<'f> {
    fleet: &'f Histories,
    index: u32,
    sensor: Sensor,
    /// The next reading's number.
    k: u64,
    /// Late records by the event time at which they are let go.
    held: BinaryHeap<Reverse<(TimeMs, u64)>>,
    duplicate: Option<(u64, TimeMs)>,
}

impl History<'_> {
    /// The sensor's id in the store.
    pub fn sensor(&self) -> SensorId {
        let mut text = Vec::new();
        match self.fleet.settings.format {
            Format::Narrow => text.extend_from_slice(&self.sensor.id),
            Format::Wide => sensor::write_label(&mut text, self.index as usize),
        }
        SensorId::from_text(&String::from_utf8_lossy(&text)).0
    }

    /// The readings of a record, appended; nothing of a malformed one.
    pub fn readings(&self, sent: &Sent, readings: &mut Vec<(Kind, f64)>) {
        if sent.is_malformed() {
            return;
        }
        let Histories {
            shapes,
            kinds,
            settings,
            ..
        } = self.fleet;
        let mut rng = slot_stream(&self.sensor, sent.k);
        rng.next_u64();
        match settings.format {
            Format::Narrow => {
                let kind = usize::from(self.sensor.kind);
                let value = shapes[kind].value(self.sensor.traits, sent.measured, &mut rng, sent.distortion);
                readings.push((kinds[kind].clone(), value));
            }
            Format::Wide => {
                for (kind, shape) in shapes.iter().enumerate() {
                    let traits = mix(substream(self.sensor.traits, kind as u64));
                    let value = shape.value(traits, sent.measured, &mut rng, sent.distortion);
                    let value = if shape.is_boolean() {
                        f64::from(u8::from(value != 0.0))
                    } else {
                        value
                    };
                    readings.push((kinds[kind].clone(), value));
                }
            }
        }
    }

    fn slot(&self, k: u64) -> u64 {
        k * u64::from(self.fleet.sensors()) + u64::from(self.index)
    }

    fn time(&self, k: u64) -> TimeMs {
        self.fleet.settings.schedule.event_time(self.slot(k))
    }

    fn undistorted(&self, k: u64, sent_at: TimeMs, fault: Option<Fault>) -> Sent {
        let event_time = self.time(k);
        Sent {
            event_time,
            sent_at,
            fault,
            k,
            measured: event_time,
            distortion: Distortion::None,
        }
    }

    /// The record of a slot that begins now; `None` where none is sent now.
    fn begin_slot(&mut self, k: u64, now: TimeMs) -> Option<Sent> {
        let (fate, random) = self.sensor.fate(&self.fleet.fates, k)?;
        let from_k = self.sensor.from_k;
        let plain = self.undistorted(k, now, None);
        let distorted = |fault, distortion| Sent {
            fault: Some(fault),
            distortion,
            ..plain
        };
        Some(match fate {
            Fate::Fine | Fate::Silence => plain,
            Fate::Spike => distorted(Fault::Spike, Distortion::Spike(random)),
            Fate::Drift => distorted(Fault::Drift, Distortion::Drift(k - from_k + 1)),
            Fate::Stuck => Sent {
                fault: Some(Fault::Stuck),
                k: from_k,
                measured: self.time(from_k),
                ..plain
            },
            Fate::Late => {
                let delay_ms = late_delay_ms(self.fleet.late_max_ms, random);
                self.held.push(Reverse((TimeMs(now.0.saturating_add(delay_ms)), k)));
                return None;
            }
            Fate::Duplicate => {
                self.duplicate = Some((k, now));
                plain
            }
            Fate::Malformed => {
                let malformation = Malformation::ALL[(random % Malformation::ALL.len() as u64) as usize];
                distorted(Fault::Malformed(malformation), Distortion::None)
            }
        })
    }
}

impl Iterator for History<'_> {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((k, at)) = self.duplicate.take() {
                return Some(self.undistorted(k, at, Some(Fault::Duplicate)));
            }
            let ends = self.slot(self.k) >= self.fleet.slots;
            let now = self.time(self.k);
            if let Some(Reverse((release, k))) = self.held.peek().copied()
                && (ends || release <= now)
            {
                self.held.pop();
                return Some(self.undistorted(k, release, Some(Fault::Late)));
            }
            if ends {
                return None;
            }
            let k = self.k;
            self.k += 1;
            if let Some(sent) = self.begin_slot(k, now) {
                return Some(sent);
            }
        }
    }
}
