//! The fleet of a measurement: no faults, so that the event time of a record is when it was due.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::anyhow;

use super::{UsageError, now};
use crate::command::subjects;
use crate::config::{Config, Payload};
use crate::fleet::{FaultSettings, Fleet, FleetSettings, Plan, Timing};
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
        format: subjects::format(config),
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

/// The fleet in the codec that was asked for. Its subject is one for all measurements: their topics come and go.
pub fn fleet(config: &Config, settings: FleetSettings) -> anyhow::Result<Fleet> {
    let subject = format!("iotpipe_bench_{}-value", config.produce.payload.as_str());
    let schema_id = subjects::schema_id(config, &subject)?;
    Ok(subjects::fleet(settings, schema_id)?)
}

/// Sends a fleet's records as fast as Kafka takes them, up to `duration`.
pub fn send(
    fleet: Fleet,
    duration: Option<Duration>,
    producer: &mut ReadingProducer,
    stop: &AtomicBool,
    progress: &ProduceProgress,
) -> anyhow::Result<ProduceSummary> {
    let run = ProduceRun {
        fleet,
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
