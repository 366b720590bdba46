//! A simulated fleet of sensors: which records it emits, in which order, byte for byte, from a seed.
//!
//! The room is pure: no clock, no I/O, no platform arithmetic. Whoever holds the same settings gets the same records,
//! which is how a stored run is verified without having been recorded. Pacing and sending are `pipeline::produce`'s.
//!
//! Every slot of the [`Schedule`] is one sensor's turn. Its reading is a function of (seed, sensor, reading number,
//! time) alone; what goes wrong with it ([`Fault`]) also depends on the sensor's last slots.

mod avro;
mod encode;
mod faults;
mod history;
mod replay;
mod schedule;
mod sensor;
mod signal;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand_distr::{Distribution, Triangular};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::model::TimeMs;

pub use avro::avro_schema;
pub use encode::Format;
pub use faults::{FAULT_HEADER, Fault, FaultSettings, Malformation};
pub use history::{Histories, History, Sent};
pub use replay::{Columns, Extent, Replay, ReplayError, SensorColumn};
pub use schedule::{Plan, Schedule, Timing};

use avro::AvroEncoder;
use encode::{Encoder, Parts, malform};
use faults::{Fate, Fates};
use schedule::Cursor;
use sensor::Sensor;
use signal::{Distortion, Shape, mix, substream};

/// Kinds of a fleet that is not told otherwise.
pub const DEFAULT_KINDS: [&str; 6] = ["temperature", "humidity", "pressure", "voltage", "motion", "light"];

/// Late records held at once. Beyond it the earliest is released before its time: 24 bytes each, so this is 24 MB.
const MAX_HELD: usize = 1_000_000;

/// Why a fleet cannot be made as asked.
#[derive(thiserror::Error, Clone, PartialEq, Debug)]
pub enum FleetError {
    #[error("the fleet has no sensor: --sensors must be at least 1")]
    NoSensors,
    #[error(
        "the interval of {interval:?} between two readings of a sensor is under 1 ms, so that readings would share a \
         key: lower the rate or use more than {sensors} sensors"
    )]
    IntervalTooShort { interval: Duration, sensors: u32 },
    #[error("the interval of {interval:?} between two readings of a sensor is too long")]
    IntervalTooLong { interval: Duration },
    #[error("the rate {rate} is no number of records a second: use 0 (unpaced) or more")]
    BadRate { rate: f64 },
    #[error(
        "the rate of {rate} records/s and the interval of {interval:?} contradict each other for {sensors} sensors: \
         give one of them, or a start time"
    )]
    RateAgainstInterval {
        rate: f64,
        interval: Duration,
        sensors: u32,
    },
    #[error("an unpaced run (rate 0) would never end: give --count or --duration")]
    Endless,
    #[error("a fleet has 1 to 255 kinds, not {count}")]
    BadKindCount { count: usize },
    #[error(
        "'{kind}' cannot be a kind: 1 to 256 bytes without quotes, backslashes, commas, colons and control characters"
    )]
    BadKind { kind: String },
    #[error(
        "'{kind}' cannot be a field of a wide record in Avro: letters, digits and _, no digit first, each name once, and \
         none of sensor_id, timestamp, location and status"
    )]
    BadAvroKind { kind: String },
    #[error("the probability of {name} is not between 0 and 1")]
    BadProbability { name: &'static str },
    #[error("the probabilities of all faults sum up to {sum}: a reading has at most one, so at most 1")]
    ProbabilitiesOverOne { sum: f64 },
    #[error("late records need a delay of at least 1 ms")]
    LateMaxTooShort,
}

/// All that decides which records a fleet emits.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetSettings {
    pub seed: u64,
    pub schedule: Schedule,
    pub kinds: Vec<String>,
    pub format: Format,
    pub faults: FaultSettings,
    /// Slots that yield a record, after which the fleet ends; duplicates come on top.
    pub count: Option<u64>,
    /// Slots after which the fleet ends, records or not.
    pub slots: Option<u64>,
}

/// A record of the fleet. Reused from call to call: no allocation per record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emission {
    /// The sensor's id as it stands in the payload.
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    pub fault: Option<Fault>,
    /// When the reading was due; also in a late record.
    pub event_time: TimeMs,
    pub slot: u64,
}

impl Default for Emission {
    fn default() -> Emission {
        Emission {
            key: Vec::new(),
            payload: Vec::new(),
            fault: None,
            event_time: TimeMs(0),
            slot: 0,
        }
    }
}

/// What a step of the fleet led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The emission holds a record to send.
    Record,
    /// A slot passed without a record: its sensor is silent, or the record is held back and comes later.
    Nothing,
    /// There is nothing more to come.
    End,
}

/// What was emitted and withheld so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FleetCounts {
    /// Slots that yielded a record, sent at once or later.
    pub scheduled: u64,
    /// Slots without one: the sensor is silent.
    pub silent: u64,
    pub spikes: u64,
    pub drifts: u64,
    pub stuck: u64,
    pub late: u64,
    /// Records on top of the scheduled ones.
    pub duplicates: u64,
    pub malformed: u64,
}

impl FleetCounts {
    /// Records whose value is not what the sensor measured.
    pub fn anomalies(&self) -> u64 {
        self.spikes + self.drifts + self.stuck
    }
}

/// A simulated fleet: call [`Fleet::step`] until it says [`Step::End`].
pub struct Fleet {
    settings: FleetSettings,
    sensors: Vec<Sensor>,
    shapes: Vec<Shape>,
    encoder: Encoder,
    /// Where the records are in Avro; `encoder` is not used then.
    avro: Option<AvroEncoder>,
    fates: Fates,
    late_max_ms: u64,
    cursor: Cursor,
    /// Late records by the event time at which they are let go, then by slot. Only their slots: a slot's record can be
    /// made again.
    held: BinaryHeap<Reverse<(TimeMs, u64)>>,
    /// The slot whose record is to be sent once more.
    duplicate: Option<u64>,
    stopped: bool,
    counts: FleetCounts,
}

impl Fleet {
    pub fn new(settings: FleetSettings) -> Result<Fleet, FleetError> {
        let encoder = Encoder::new(&settings.kinds)?;
        let fates = Fates::new(&settings.faults)?;
        let sensors = (0..settings.schedule.sensors())
            .map(|index| Sensor::new(settings.seed, index, settings.kinds.len(), settings.format))
            .collect();
        Ok(Fleet {
            sensors,
            shapes: settings.kinds.iter().map(|kind| Shape::of_kind(kind)).collect(),
            encoder,
            avro: None,
            fates,
            late_max_ms: late_max_ms(&settings.faults),
            cursor: settings.schedule.cursor(),
            held: BinaryHeap::new(),
            duplicate: None,
            stopped: false,
            counts: FleetCounts::default(),
            settings,
        })
    }

    /// The same fleet, its records in Avro: in the schema that [`avro_schema`] gives, under that id.
    pub fn in_avro(settings: FleetSettings, schema_id: u32) -> Result<Fleet, FleetError> {
        let avro = AvroEncoder::new(settings.format, &settings.kinds, schema_id)?;
        Ok(Fleet {
            avro: Some(avro),
            ..Fleet::new(settings)?
        })
    }

    pub fn settings(&self) -> &FleetSettings {
        &self.settings
    }

    /// Slots passed so far. A fleet of the same settings with this as its `slots` emits what this one did, once it
    /// has ended.
    pub fn slots(&self) -> u64 {
        self.cursor.slot
    }

    pub fn counts(&self) -> FleetCounts {
        self.counts
    }

    /// No further slot is begun; what is held back still comes.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next record, a slot without one, or the end.
    pub fn step(&mut self, emission: &mut Emission) -> Step {
        if let Some(slot) = self.duplicate.take() {
            self.make_again(slot, emission);
            emission.fault = Some(Fault::Duplicate);
            return Step::Record;
        }
        let ends = self.stopped
            || self.settings.count.is_some_and(|count| self.counts.scheduled >= count)
            || self.settings.slots.is_some_and(|slots| self.cursor.slot >= slots);
        if let Some(Reverse((release, slot))) = self.held.peek().copied()
            && (ends || release <= self.cursor.event_time() || self.held.len() >= MAX_HELD)
        {
            self.held.pop();
            self.make_again(slot, emission);
            emission.fault = Some(Fault::Late);
            return Step::Record;
        }
        if ends {
            return Step::End;
        }
        let step = self.begin_slot(emission);
        self.cursor.advance();
        step
    }

    /// Steps to the next record; `false` at the end.
    pub fn next_record(&mut self, emission: &mut Emission) -> bool {
        loop {
            match self.step(emission) {
                Step::Record => return true,
                Step::Nothing => {}
                Step::End => return false,
            }
        }
    }

    #[inline]
    fn begin_slot(&mut self, emission: &mut Emission) -> Step {
        let Cursor {
            slot, sensor: index, k, ..
        } = self.cursor;
        let time = self.cursor.event_time();
        let index = index as usize;
        let Some((fate, details)) = self.sensors[index].fate(&self.fates, k) else {
            self.counts.silent += 1;
            return Step::Nothing;
        };
        self.counts.scheduled += 1;
        if fate == Fate::Fine {
            self.make(index, k, time, Distortion::None, emission);
            (emission.fault, emission.slot, emission.event_time) = (None, slot, time);
            return Step::Record;
        }
        self.faulty(fate, details, slot, time, emission)
    }

    /// The rare case. All that is random about it follows from `random`.
    fn faulty(&mut self, fate: Fate, random: u64, slot: u64, time: TimeMs, emission: &mut Emission) -> Step {
        let Cursor { sensor: index, k, .. } = self.cursor;
        let index = index as usize;
        let from_k = self.sensors[index].from_k;
        (emission.slot, emission.event_time) = (slot, time);
        emission.fault = match fate {
            Fate::Spike => {
                self.counts.spikes += 1;
                self.make(index, k, time, Distortion::Spike(random), emission);
                Some(Fault::Spike)
            }
            Fate::Drift => {
                self.counts.drifts += 1;
                self.make(index, k, time, Distortion::Drift(k - from_k + 1), emission);
                Some(Fault::Drift)
            }
            Fate::Stuck => {
                self.counts.stuck += 1;
                self.make_stuck(index, from_k, time, emission);
                Some(Fault::Stuck)
            }
            Fate::Late => {
                self.counts.late += 1;
                let delay_ms = late_delay_ms(self.late_max_ms, random);
                self.held.push(Reverse((TimeMs(time.0.saturating_add(delay_ms)), slot)));
                return Step::Nothing;
            }
            Fate::Duplicate => {
                self.counts.duplicates += 1;
                self.duplicate = Some(slot);
                self.make(index, k, time, Distortion::None, emission);
                None
            }
            Fate::Malformed => {
                self.counts.malformed += 1;
                let malformation = Malformation::ALL[(random % Malformation::ALL.len() as u64) as usize];
                let parts = self.make(index, k, time, Distortion::None, emission);
                match &self.avro {
                    Some(avro) => avro.malform(&mut emission.payload, &emission.key, &parts, malformation),
                    None => malform(&mut emission.payload, &parts, self.settings.format, malformation),
                }
                Some(Fault::Malformed(malformation))
            }
            Fate::Fine | Fate::Silence => {
                self.make(index, k, time, Distortion::None, emission);
                None
            }
        };
        Step::Record
    }

    /// The undistorted record of a slot that has passed.
    fn make_again(&mut self, slot: u64, emission: &mut Emission) {
        let sensors = u64::from(self.settings.schedule.sensors());
        let time = self.settings.schedule.event_time(slot);
        self.make(
            (slot % sensors) as usize,
            slot / sensors,
            time,
            Distortion::None,
            emission,
        );
        (emission.slot, emission.event_time) = (slot, time);
    }

    #[inline]
    fn make(&mut self, index: usize, k: u64, time: TimeMs, distortion: Distortion, out: &mut Emission) -> Parts {
        self.write(index, k, time, time, distortion, out)
    }

    /// A record of now with the values of reading `from_k`.
    fn make_stuck(&mut self, index: usize, from_k: u64, time: TimeMs, emission: &mut Emission) {
        let first_slot = from_k * u64::from(self.settings.schedule.sensors()) + index as u64;
        let measured = self.settings.schedule.event_time(first_slot);
        self.write(index, from_k, measured, time, Distortion::None, emission);
    }

    /// Key and payload: values as of reading `k`, taken at `measured`, in a record that says `time`.
    #[inline]
    fn write(
        &mut self,
        index: usize,
        k: u64,
        measured: TimeMs,
        time: TimeMs,
        distortion: Distortion,
        emission: &mut Emission,
    ) -> Parts {
        let sensor = &self.sensors[index];
        let mut rng = slot_stream(sensor, k);
        rng.next_u64();
        emission.key.clear();
        match self.settings.format {
            Format::Narrow => {
                let kind = usize::from(sensor.kind);
                let value = self.shapes[kind].value(sensor.traits, measured, &mut rng, distortion);
                emission.key.extend_from_slice(&sensor.id);
                let (payload, id) = (&mut emission.payload, &sensor.id);
                match &self.avro {
                    Some(avro) => avro.narrow(payload, id, time, kind, value),
                    None => self.encoder.narrow(payload, id, time, kind, value),
                }
            }
            Format::Wide => {
                sensor::write_label(&mut emission.key, index);
                let values = self.shapes.iter().enumerate().map(|(kind, shape)| {
                    let traits = mix(substream(sensor.traits, kind as u64));
                    (shape.value(traits, measured, &mut rng, distortion), shape.is_boolean())
                });
                let (payload, id, location) = (&mut emission.payload, &emission.key, sensor.location());
                match &self.avro {
                    Some(avro) => avro.wide(payload, id, time, values, location),
                    None => self.encoder.wide(payload, id, time, values, location),
                }
            }
        }
    }
}

/// The longest delay of a late record, at least 1 ms.
fn late_max_ms(faults: &FaultSettings) -> u64 {
    u64::try_from(faults.late_max.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Most late records come soon, a few near the longest delay. The triangular distribution needs no more than a square root,
/// which IEEE 754 fixes to the bit: every machine draws the same.
fn late_delay_ms(late_max_ms: u64, random: u64) -> i64 {
    let delays = Triangular::new(0.0, late_max_ms as f64, 0.0).expect("at least 1 ms");
    let delay_ms = delays.sample(&mut SplitMix64::seed_from_u64(random)).ceil();
    (delay_ms as i64).clamp(1, i64::try_from(late_max_ms).unwrap_or(i64::MAX))
}

/// The random numbers of one sensor's reading number `k`.
fn slot_stream(sensor: &Sensor, k: u64) -> SplitMix64 {
    SplitMix64::seed_from_u64(substream(sensor.traits, k))
}

#[cfg(test)]
mod tests;
