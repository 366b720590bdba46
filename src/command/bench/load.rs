//! The fleet of a measurement: no faults, so that the event time of a record is when it was due.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::anyhow;

use super::{UsageError, now};
use crate::config::{Config, Payload};
use crate::fleet::{FaultSettings, Fleet, FleetSettings, Format, Plan, Timing};
use crate::kafka::producer::ReadingProducer;
use crate::model::TimeMs;
use crate::pipeline::produce::{FLUSH_TIMEOUT, ProduceProgress, ProduceRun, ProduceSummary, produce};

/// How long a run without pace goes on.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub records: Option<u64>,
    pub duration: Option<Duration>,
    /// Event time between two readings of a sensor.
    pub interval: Duration,
}

/// A fleet that is not held back, whose last reading lies at now.
pub fn unpaced(config: &Config, extent: Extent) -> Result<FleetSettings, UsageError> {
    let timing = Timing {
        sensors: config.produce.sensors,
        rate: Some(0.0),
        interval: Some(extent.interval),
        count: extent.records,
        duration: extent.duration,
        ..Timing::default()
    };
    let plan = timing.plan(now()).map_err(|error| UsageError(error.to_string()))?;
    Ok(settings(config, &plan, extent.records))
}

/// A fleet at a rate whose first reading is due at `start`, and its slots a second.
pub fn paced(
    config: &Config,
    rate: f64,
    duration: Duration,
    start: TimeMs,
) -> Result<(FleetSettings, f64), UsageError> {
    let timing = Timing {
        sensors: config.produce.sensors,
        rate: Some(rate),
        duration: Some(duration),
        ..Timing::default()
    };
    let plan = timing.plan(start).map_err(|error| UsageError(error.to_string()))?;
    Ok((settings(config, &plan, None), plan.slots_per_s.unwrap_or(rate)))
}

fn settings(config: &Config, plan: &Plan, count: Option<u64>) -> FleetSettings {
    FleetSettings {
        seed: config.produce.seed,
        schedule: plan.schedule,
        kinds: config.produce.kinds.clone(),
        format: match config.produce.payload {
            Payload::Narrow => Format::Narrow,
            Payload::Wide => Format::Wide,
        },
        faults: FaultSettings::NONE,
        count,
        slots: plan.slots,
    }
}

/// Readings in one record.
pub fn readings_per_record(config: &Config) -> u64 {
    match config.produce.payload {
        Payload::Narrow => 1,
        Payload::Wide => config.produce.kinds.len() as u64,
    }
}

/// Sends a fleet's records as fast as Kafka takes them, up to `duration`.
pub fn send(
    settings: FleetSettings,
    duration: Option<Duration>,
    producer: &mut ReadingProducer,
    stop: &AtomicBool,
    progress: &ProduceProgress,
) -> anyhow::Result<ProduceSummary> {
    let run = ProduceRun {
        fleet: Fleet::new(settings)?,
        slots_per_s: None,
        duration,
        flush_timeout: FLUSH_TIMEOUT,
    };
    let summary = produce(run, producer, stop, progress, || u64::MAX)?;
    all_acknowledged(&summary)?;
    Ok(summary)
}

/// What is not in the topic cannot be compared with what is stored.
pub fn all_acknowledged(summary: &ProduceSummary) -> anyhow::Result<()> {
    match summary.failed {
        0 => Ok(()),
        failed => {
            let reason = summary.first_error.as_deref().unwrap_or("no answer in time");
            Err(anyhow!("{failed} records were not acknowledged by Kafka: {reason}"))
        }
    }
}
