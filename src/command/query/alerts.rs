//! Alerts of one sensor or of all: those that are active, or those that were raised in a range of time.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use anyhow::Context;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::question::{AlertsAsked, Question};
use super::{cut, find, name};
use crate::model::{Alert, AlertId, AlertsQuery, Day, MILLIS_PER_DAY, SensorId, SensorRow, TimeMs};
use crate::report::{Alerts, Out};
use crate::store::{Store, StoreError};

/// Active alerts that are looked up at a time.
const LOOKUPS_IN_FLIGHT: usize = 32;
/// A longer range is cut to the days on which the fleet has readings: to find these costs one read of the directory, and
/// every day of a fleet costs requests.
const SHORT_RANGE_MS: i64 = 31 * MILLIS_PER_DAY;

pub async fn print(store: &impl Store, out: &mut Out, question: &Question, asked: &AlertsAsked) -> anyhow::Result<()> {
    let row = match &asked.sensor {
        Some(sensor) => find(store, out, sensor).await?,
        None => None,
    };
    let mut printed = Alerts::begin(out, question.format, asked.sensor.is_some(), question.now)?;
    let is_unknown = asked.sensor.is_some() && row.is_none();
    if is_unknown {
        return Ok(printed.finish(out)?);
    }
    let (mut alerts, range) = match asked.only_active {
        true => (active(store, asked, row.as_ref()).await?, None),
        false => {
            let range = range(store, asked, row.as_ref()).await?;
            let sensor = row.as_ref().map(|row| row.sensor);
            let query = AlertsQuery {
                sensor,
                range: range.clone(),
            };
            (store.alerts(query), Some(range))
        }
    };
    let mut count = 0;
    while !question.is_full(count)
        && let Some(alert) = alerts.try_next().await.context("reading alerts")?
    {
        if question.wants(&alert.kind) {
            printed.row(out, &alert)?;
            count += 1;
        }
    }
    printed.finish(out)?;
    explain(out, question, asked, range, count)
}

/// Of one sensor all its days, of all sensors the 24 hours up to the newest reading, where no range was asked for.
async fn range(store: &impl Store, asked: &AlertsAsked, row: Option<&SensorRow>) -> anyhow::Result<Range<TimeMs>> {
    if let Some(row) = row {
        return Ok(asked.range.as_ref().map_or(row.days(), |range| cut(range, &row.days())));
    }
    if let Some(range) = asked
        .range
        .clone()
        .filter(|range| range.end.0 - range.start.0 <= SHORT_RANGE_MS)
    {
        return Ok(range);
    }
    let fleet = Fleet::of(store).await.context("reading the directory of sensors")?;
    Ok(match &asked.range {
        Some(range) => cut(range, &fleet.days),
        None => TimeMs(fleet.newest.0.saturating_sub(MILLIS_PER_DAY))..fleet.days.end,
    })
}

/// What the directory says of all sensors together.
pub struct Fleet {
    /// Days with readings; empty without sensors.
    pub days: Range<TimeMs>,
    /// The newest event time of any sensor.
    pub newest: TimeMs,
}

impl Fleet {
    pub async fn of(store: &impl Store) -> Result<Fleet, StoreError> {
        let mut days: Option<(Day, Day)> = None;
        let mut newest: Option<TimeMs> = None;
        let mut sensors = store.sensors();
        while let Some(row) = sensors.try_next().await? {
            let (first, last) = days.unwrap_or((row.first_day, row.last_day));
            days = Some((first.min(row.first_day), last.max(row.last_day)));
            newest = newest.max(row.newest());
        }
        let days = days.map_or(TimeMs(0)..TimeMs(0), |(first, last)| first.start()..last.next().start());
        let newest = newest.unwrap_or(days.end);
        Ok(Fleet { days, newest })
    }
}

/// Alerts that are active, newest raised first; those of one time by id, as the store has them.
async fn active<'a>(
    store: &'a impl Store,
    asked: &AlertsAsked,
    row: Option<&SensorRow>,
) -> anyhow::Result<BoxStream<'a, Result<Alert, StoreError>>> {
    let of_sensor = |(sensor, alerts): (SensorId, BTreeMap<AlertId, TimeMs>)| {
        alerts.into_iter().map(move |(id, raised_at)| (sensor, id, raised_at))
    };
    let mut active: Vec<(SensorId, AlertId, TimeMs)> = match row {
        Some(row) => of_sensor((row.sensor, row.active_alerts.clone())).collect(),
        None => {
            let sensors: Vec<_> = store
                .active_alerts()
                .try_collect()
                .await
                .context("reading active alerts")?;
            sensors.into_iter().flat_map(of_sensor).collect()
        }
    };
    active.retain(|(.., raised_at)| asked.range.as_ref().is_none_or(|range| range.contains(raised_at)));
    active.sort_unstable_by_key(|(_, id, raised_at)| (std::cmp::Reverse(*raised_at), *id));
    let lookups = active
        .into_iter()
        .map(|(sensor, id, raised_at)| store.alert(sensor, raised_at, id));
    let found = futures::stream::iter(lookups).buffered(LOOKUPS_IN_FLIGHT);
    // One that was cleared since is active no more.
    Ok(found
        .try_filter_map(async |alert| Ok(alert.filter(|alert| alert.cleared_at.is_none())))
        .boxed())
}

/// Notes where nothing was found, or that there is more than was asked for without being asked.
fn explain(
    out: &mut Out,
    question: &Question,
    asked: &AlertsAsked,
    range: Option<Range<TimeMs>>,
    count: u64,
) -> anyhow::Result<()> {
    // What was found comes first where both go to a terminal.
    out.flush()?;
    let of = asked
        .sensor
        .as_ref()
        .map(|sensor| format!(" of sensor {}", name(sensor)))
        .unwrap_or_default();
    let such = if question.kind.is_some() { " such" } else { "" };
    if count == 0 {
        out.note(&match range.filter(|range| range.start < range.end) {
            Some(range) => format!("no{such} alerts{of} were raised from {} to {}", range.start, range.end),
            None if asked.only_active => format!("no{such} alerts{of} are active"),
            None => format!("no{such} alerts{of}: no readings lie in that range"),
        });
    } else {
        question.note_default_limit(out, count, "alerts");
    }
    Ok(())
}
