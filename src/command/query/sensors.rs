//! The directory of sensors, with what each is silent for.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, future};

use super::alerts::Fleet;
use super::newest;
use super::question::{Question, SensorsAsked};
use crate::model::{SensorRow, TimeMs};
use crate::report::{Out, SensorLine, Sensors};
use crate::store::{Store, StoreError};

/// Sensors whose newest reading is looked up at a time.
const LOOKUPS_IN_FLIGHT: usize = 32;

/// The directory; with a kind, the sensors that have it. It is read twice: how far the fleet has got is known only when all
/// of it was seen, and a large fleet does not fit in memory.
pub async fn print(store: &impl Store, out: &mut Out, question: &Question, asked: &SensorsAsked) -> anyhow::Result<()> {
    const READING: &str = "reading the directory of sensors";
    let fleet = Fleet::of(store).await.context(READING)?;
    // A single sensor whose clock is ahead would make all the others silent.
    let progress = fleet.newest.min(question.now);
    let mut rows = Sensors::begin(out, question.format)?;
    let judged = store
        .sensors()
        .try_filter(|row| future::ready(is_wanted(row, question, asked)))
        .map(|row| async {
            let row = row?;
            let silent_ms = silent_ms(store, &row, progress, asked).await?;
            Ok::<_, StoreError>(SensorLine { row, silent_ms })
        });
    let mut sensors = std::pin::pin!(judged.buffered(LOOKUPS_IN_FLIGHT));
    let mut count = 0;
    while !question.is_full(count)
        && let Some(sensor) = sensors.try_next().await.context(READING)?
    {
        if !asked.only_silent || sensor.silent_ms.is_some() {
            rows.row(out, sensor)?;
            count += 1;
        }
    }
    rows.finish(out)?;
    if count == 0 {
        out.note(none(question, asked));
    }
    Ok(())
}

/// Why nothing was found.
fn none(question: &Question, asked: &SensorsAsked) -> &'static str {
    match (question.kind.is_some(), asked.only_silent, asked.only_alerting) {
        (false, false, false) => "no sensors in the store",
        (false, true, false) => "no sensor is silent",
        (false, false, true) => "no sensor has active alerts",
        _ => "no such sensors",
    }
}

/// Whether all but its silence speaks for it.
fn is_wanted(row: &SensorRow, question: &Question, asked: &SensorsAsked) -> bool {
    let mut kinds = row.last_values.keys();
    let has_kind = question.kind.is_none() || kinds.any(|kind| question.wants(kind));
    has_kind && (!asked.only_alerting || !row.active_alerts.is_empty())
}

/// How far the sensor's newest reading lies behind, where that is too far. The directory may be behind itself: what it takes
/// for silence is looked up.
async fn silent_ms(
    store: &impl Store,
    row: &SensorRow,
    progress: TimeMs,
    asked: &SensorsAsked,
) -> Result<Option<i64>, StoreError> {
    let after_ms = i64::try_from(asked.silent_after.as_millis()).unwrap_or(i64::MAX);
    let behind_ms = |newest: TimeMs| Some(progress.0.saturating_sub(newest.0)).filter(|ms| *ms > after_ms);
    match row.newest().and_then(behind_ms) {
        Some(_) => Ok(newest(store, row).await?.and_then(behind_ms)),
        None => Ok(None),
    }
}
