//! A produced run, as far as it must be known to compute it again: what `produce --manifest` writes and `verify` reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::{FaultSettings, FleetCounts, FleetError, FleetSettings, Format, Histories, Schedule};
use crate::model::TimeMs;

/// The layout of this file; another is refused.
const VERSION: u32 = 1;

/// A run of `produce`. All that is sent follows from it.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: u32,
    /// Names the run in the table `runs`.
    pub run: uuid::Uuid,
    /// Of the program that made it.
    pub iotpipe: String,
    pub topic: String,
    pub fleet: FleetManifest,
    /// Slots that the run passed.
    pub slots: u64,
    pub counts: Counts,
    /// Offsets that were acknowledged, by partition, both included. Others may have written in between.
    pub offsets: Vec<Offsets>,
}

/// The fleet's settings.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct FleetManifest {
    pub seed: u64,
    pub sensors: u32,
    /// Nanoseconds between two readings of one sensor.
    pub interval_ns: u64,
    /// Event time of the first reading, epoch milliseconds.
    pub start_ms: i64,
    pub kinds: Vec<String>,
    pub payload: Payload,
    pub anomaly_probability: f64,
    pub late_probability: f64,
    pub late_max_ms: u64,
    pub duplicate_probability: f64,
    pub malformed_probability: f64,
    pub silence_probability: f64,
}

/// What a record looks like.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    Narrow,
    Wide,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Records, duplicates included.
    pub sent: u64,
    pub acknowledged: u64,
    /// Records that are not known to be in the topic: with any, the run cannot be verified as a whole.
    pub failed: u64,
    pub late: u64,
    pub duplicates: u64,
    pub malformed: u64,
    pub anomalies: u64,
    pub silent_slots: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Offsets {
    pub partition: i32,
    pub first: i64,
    pub last: i64,
}

impl Manifest {
    /// Of a run that has ended.
    pub fn new(topic: &str, settings: &FleetSettings, slots: u64, counts: Counts, offsets: Vec<Offsets>) -> Manifest {
        let (schedule, faults) = (&settings.schedule, &settings.faults);
        Manifest {
            version: VERSION,
            run: uuid::Uuid::new_v4(),
            iotpipe: env!("CARGO_PKG_VERSION").to_owned(),
            topic: topic.to_owned(),
            fleet: FleetManifest {
                seed: settings.seed,
                sensors: schedule.sensors(),
                interval_ns: u64::try_from(schedule.interval().as_nanos()).unwrap_or(u64::MAX),
                start_ms: schedule.start().0,
                kinds: settings.kinds.clone(),
                payload: match settings.format {
                    Format::Narrow => Payload::Narrow,
                    Format::Wide => Payload::Wide,
                },
                anomaly_probability: faults.anomaly,
                late_probability: faults.late,
                late_max_ms: u64::try_from(faults.late_max.as_millis()).unwrap_or(u64::MAX),
                duplicate_probability: faults.duplicate,
                malformed_probability: faults.malformed,
                silence_probability: faults.silence,
            },
            slots,
            counts,
            offsets,
        }
    }

    /// Reads a manifest. The error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if manifest.version != VERSION {
            return Err(format!(
                "it has version {}, this program knows {VERSION}",
                manifest.version
            ));
        }
        manifest.histories().map_err(|error| error.to_string())?;
        Ok(manifest)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain fields with fixed names")
    }

    /// The longest that a record was held back, milliseconds.
    pub fn late_max_ms(&self) -> i64 {
        match self.fleet.late_probability > 0.0 {
            true => i64::try_from(self.fleet.late_max_ms).unwrap_or(i64::MAX),
            false => 0,
        }
    }

    /// Between two readings of one sensor, rounded up.
    pub fn interval_ms(&self) -> i64 {
        i64::try_from(self.fleet.interval_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX)
    }

    /// What each sensor sent.
    pub fn histories(&self) -> Result<Histories, FleetError> {
        let fleet = &self.fleet;
        let interval = Duration::from_nanos(fleet.interval_ns);
        let settings = FleetSettings {
            seed: fleet.seed,
            schedule: Schedule::new(fleet.sensors, interval, TimeMs(fleet.start_ms))?,
            kinds: fleet.kinds.clone(),
            format: match fleet.payload {
                Payload::Narrow => Format::Narrow,
                Payload::Wide => Format::Wide,
            },
            faults: FaultSettings {
                anomaly: fleet.anomaly_probability,
                late: fleet.late_probability,
                late_max: Duration::from_millis(fleet.late_max_ms),
                duplicate: fleet.duplicate_probability,
                malformed: fleet.malformed_probability,
                silence: fleet.silence_probability,
            },
            count: None,
            slots: Some(self.slots),
        };
        Histories::new(settings, self.slots)
    }
}

impl Counts {
    pub fn new(sent: u64, acknowledged: u64, failed: u64, fleet: &FleetCounts) -> Counts {
        Counts {
            sent,
            acknowledged,
            failed,
            late: fleet.late,
            duplicates: fleet.duplicates,
            malformed: fleet.malformed,
            anomalies: fleet.anomalies(),
            silent_slots: fleet.silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let settings = FleetSettings {
            seed: u64::MAX,
            schedule: Schedule::new(3, Duration::from_nanos(1_000_000_007), TimeMs(1_762_344_000_123)).unwrap(),
            kinds: vec!["a".to_owned(), "b".to_owned()],
            format: Format::Wide,
            faults: FaultSettings {
                late: 0.1,
                late_max: Duration::from_secs(7),
                ..FaultSettings::NONE
            },
            count: Some(10),
            slots: None,
        };
        let range = Offsets {
            partition: 2,
            first: 5,
            last: 17,
        };
        Manifest::new("t", &settings, 10, Counts::default(), vec![range])
    }

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_json()), Ok(manifest.clone()));
        assert_eq!((manifest.late_max_ms(), manifest.interval_ms()), (7_000, 1_001));
        assert_eq!(manifest.histories().unwrap().sensors(), 3);
    }

    #[test]
    fn what_this_program_does_not_know_is_refused() {
        let text = manifest().to_json();
        for (from, to, why) in [
            ("\"version\": 1", "\"version\": 7", "version 7"),
            ("\"wide\"", "\"avro\"", "avro"),
            ("\"slots\": 10", "\"slots\": 10, \"more\": 1", "more"),
            ("\"sensors\": 3", "\"sensors\": 0", "no sensor"),
            ("\"late_probability\": 0.1", "\"late_probability\": 1.1", "probability"),
        ] {
            assert!(text.contains(from), "{text}");
            let error = Manifest::parse(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
