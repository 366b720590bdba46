//! `iotpipe query`: readings, windows, alerts, newest values and sensors, as rows or as a chart.
//!
//! Rows are printed as the store hands them out, page by page, and a chart keeps a bounded number of points, so that the
//! length of a range costs time and no memory.

mod alerts;
mod question;
mod sensors;
mod windows;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};

use super::{Exit, now, runtime};
use crate::cli::QueryArgs;
use crate::config::{Config, UsageError};
use crate::model::{Kind, Order, ReadingsQuery, SensorId, SensorRow, StoredReading, TimeMs};
use crate::report::{Out, ReadingLine, Readings, plot, printable};
use crate::store::{AnyStore, Store, StoreError};
use question::{AlertsAsked, Asked, Question, What, WindowsAsked};

/// Kinds whose newest reading is looked up at a time: enough to hide the latency, no load for a cluster.
const LOOKUPS_IN_FLIGHT: usize = 8;

pub fn run(config: &Config, args: &QueryArgs) -> anyhow::Result<Exit> {
    let question = Question::of(args, &config.windows.sizes.0, now())?;
    let mut out = Out::stdout();
    runtime()?.block_on(async {
        let store = AnyStore::open(&config.store()).await?;
        answer(&store, &mut out, &question).await
    })?;
    out.flush()?;
    Ok(Exit::Ok)
}

async fn answer(store: &impl Store, out: &mut Out, question: &Question) -> anyhow::Result<()> {
    match &question.what {
        What::Sensors(asked) => sensors::print(store, out, question, asked).await,
        What::Windows(asked) => windows::print(store, out, question, asked).await,
        What::Alerts(asked) => alerts::print(store, out, question, asked).await,
        What::Latest(None) => print_latest_of_all(store, out, question).await,
        What::Latest(Some(sensor)) => print_latest_of_kinds(store, out, question, sensor).await,
        What::Readings { sensor, range, order } => print_readings(store, out, question, sensor, range, *order).await,
        What::Plot { sensor, range, order } => print_plots(store, out, question, sensor, range, *order).await,
    }
}

/// Prints the sensor's newest `count` readings, newest first, as a table.
pub async fn print_latest(store: &impl Store, out: &mut Out, sensor: SensorId, count: u64) -> anyhow::Result<()> {
    let what = What::Readings {
        sensor: Asked::of(sensor),
        range: question::ALL_TIME,
        order: Order::NewestFirst,
    };
    answer(store, out, &Question::new(what, Some(count), now())).await
}

/// Draws all readings of the sensor, a chart a kind.
pub async fn print_plot(store: &impl Store, out: &mut Out, sensor: SensorId) -> anyhow::Result<()> {
    let what = What::Plot {
        sensor: Asked::of(sensor),
        range: question::ALL_TIME,
        order: Order::OldestFirst,
    };
    answer(store, out, &Question::new(what, None, now())).await
}

/// Prints the newest `count` windows of that size (seconds) of the sensor's newest day, newest first, as a table with the
/// day's totals. One of `stored_sizes_s` must divide the size.
pub async fn print_windows(
    store: &impl Store,
    out: &mut Out,
    sensor: SensorId,
    size_s: u32,
    stored_sizes_s: &[u32],
    count: u64,
) -> anyhow::Result<()> {
    let asked = windows_of(sensor, size_s, stored_sizes_s, false)?;
    answer(store, out, &Question::new(What::Windows(asked), Some(count), now())).await
}

/// Draws the windows of that size (seconds) of the sensor's newest day, a chart a kind. One of `stored_sizes_s` must divide
/// the size.
pub async fn print_window_plot(
    store: &impl Store,
    out: &mut Out,
    sensor: SensorId,
    size_s: u32,
    stored_sizes_s: &[u32],
) -> anyhow::Result<()> {
    let asked = windows_of(sensor, size_s, stored_sizes_s, true)?;
    answer(store, out, &Question::new(What::Windows(asked), None, now())).await
}

fn windows_of(
    sensor: SensorId,
    size_s: u32,
    stored_sizes_s: &[u32],
    is_plot: bool,
) -> Result<WindowsAsked, UsageError> {
    Ok(WindowsAsked {
        sensor: Asked::of(sensor),
        range: None,
        size_s,
        stored_s: question::stored_size(size_s, stored_sizes_s)?,
        order: Order::NewestFirst,
        is_plot,
    })
}

/// Prints the newest `count` alerts of all sensors that were raised in the 24 hours up to the newest reading, as a table.
pub async fn print_alerts(store: &impl Store, out: &mut Out, count: u64) -> anyhow::Result<()> {
    let what = What::Alerts(AlertsAsked {
        sensor: None,
        range: None,
        only_active: false,
    });
    answer(store, out, &Question::new(what, Some(count), now())).await
}

async fn print_readings(
    store: &impl Store,
    out: &mut Out,
    question: &Question,
    sensor: &Asked,
    range: &Range<TimeMs>,
    order: Order,
) -> anyhow::Result<()> {
    let row = find(store, out, sensor).await?;
    let mut rows = Readings::of_one_sensor(out, question.format)?;
    let mut count = 0;
    if let Some(query) = row.as_ref().and_then(|row| readings_query(row, question, range, order)) {
        let mut readings = store.readings(query);
        while let Some(reading) = readings.try_next().await.with_context(|| reading_failed(sensor))? {
            rows.row(out, &line(sensor.id, None, &reading))?;
            count += 1;
        }
    }
    rows.finish(out)?;
    if let Some(row) = row {
        explain(out, question, sensor, &row, count)?;
    }
    Ok(())
}

async fn print_plots(
    store: &impl Store,
    out: &mut Out,
    question: &Question,
    sensor: &Asked,
    range: &Range<TimeMs>,
    order: Order,
) -> anyhow::Result<()> {
    let Some(row) = find(store, out, sensor).await? else {
        return Ok(());
    };
    let mut plots: BTreeMap<Kind, plot::Series> = BTreeMap::new();
    let mut count = 0;
    if let Some(query) = readings_query(&row, question, range, order) {
        let mut readings = store.readings(query);
        while let Some(reading) = readings.try_next().await.with_context(|| reading_failed(sensor))? {
            plots.entry(reading.kind).or_default().push(reading.time, reading.value);
            count += 1;
        }
    }
    for (index, (kind, series)) in plots.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        plot::draw(out, kind.as_str(), series)?;
    }
    explain(out, question, sensor, &row, count)
}

/// The newest stored reading of each kind. The directory names the kinds and is at most a minute behind, so what is
/// newest lies at its time or later.
async fn print_latest_of_kinds(
    store: &impl Store,
    out: &mut Out,
    question: &Question,
    sensor: &Asked,
) -> anyhow::Result<()> {
    let row = find(store, out, sensor).await?;
    let mut rows = Readings::of_one_sensor(out, question.format)?;
    let mut count = 0;
    if let Some(row) = &row {
        let wanted = row.last_values.iter().filter(|(kind, _)| question.wants(kind));
        let queries: Vec<ReadingsQuery> = wanted
            .map(|(kind, (time, _))| ReadingsQuery {
                sensor: row.sensor,
                range: *time..row.days().end,
                kind: Some(kind.clone()),
                order: Order::NewestFirst,
                limit: Some(1),
            })
            .collect();
        let lookups = queries
            .into_iter()
            .map(|query| async { store.readings(query).try_next().await });
        let mut newest = futures::stream::iter(lookups).buffered(LOOKUPS_IN_FLIGHT);
        while !question.is_full(count)
            && let Some(reading) = newest.try_next().await.with_context(|| reading_failed(sensor))?
        {
            // A kind whose readings have outlived their time to live has none.
            if let Some(reading) = reading {
                rows.row(out, &line(sensor.id, None, &reading))?;
                count += 1;
            }
        }
    }
    rows.finish(out)?;
    if let Some(row) = row.filter(|_| count == 0) {
        explain(out, question, sensor, &row, count)?;
    }
    Ok(())
}

/// The directory's last values: at most a minute behind, for one read of the directory and none of the readings.
async fn print_latest_of_all(store: &impl Store, out: &mut Out, question: &Question) -> anyhow::Result<()> {
    let mut rows = Readings::of_many_sensors(out, question.format)?;
    let mut sensors = store.sensors();
    let mut left = question.limit.unwrap_or(u64::MAX);
    'sensors: while let Some(row) = sensors.try_next().await.context("reading the directory of sensors")? {
        for (kind, (time, value)) in row.last_values.iter().filter(|(kind, _)| question.wants(kind)) {
            if left == 0 {
                break 'sensors;
            }
            let reading = StoredReading {
                time: *time,
                kind: kind.clone(),
                value: *value,
            };
            rows.row(out, &line(row.sensor, row.label.as_deref(), &reading))?;
            left -= 1;
        }
    }
    rows.finish(out)?;
    Ok(())
}

/// The sensor's row of the directory; that there is none is noted and no error.
async fn find(store: &impl Store, out: &mut Out, sensor: &Asked) -> Result<Option<SensorRow>, anyhow::Error> {
    let row = store
        .sensor(sensor.id)
        .await
        .with_context(|| format!("looking up sensor {}", sensor.text))?;
    if row.is_none() {
        let id = sensor.id.to_string();
        let mapped = if id.eq_ignore_ascii_case(&sensor.text) {
            String::new()
        } else {
            format!(" ({id})")
        };
        out.note(&format!(
            "no sensor {}{mapped} in the store; `iotpipe query --sensors` lists all",
            name(sensor)
        ));
    }
    Ok(row)
}

/// The newest event time of the sensor: of its newest stored reading, or in the directory where readings have outlived
/// their time to live. The directory may be behind, so the reading lies at its time or later.
async fn newest(store: &impl Store, row: &SensorRow) -> Result<Option<TimeMs>, StoreError> {
    let known = row.newest();
    let query = ReadingsQuery {
        sensor: row.sensor,
        range: known.unwrap_or(row.days().start)..row.days().end,
        kind: None,
        order: Order::NewestFirst,
        limit: Some(1),
    };
    let reading = store.readings(query).try_next().await?;
    Ok(known.max(reading.map(|reading| reading.time)))
}

/// What to ask of the store, cut to the days on which the sensor has readings; `None` where nothing is left.
fn readings_query(row: &SensorRow, question: &Question, range: &Range<TimeMs>, order: Order) -> Option<ReadingsQuery> {
    let range = cut(range, &row.days());
    (range.start < range.end).then(|| ReadingsQuery {
        sensor: row.sensor,
        range,
        kind: question.kind.clone(),
        order,
        limit: question.limit,
    })
}

/// What of the range lies in those days.
fn cut(range: &Range<TimeMs>, days: &Range<TimeMs>) -> Range<TimeMs> {
    range.start.max(days.start)..range.end.min(days.end)
}

/// Notes why a result is empty, or that there is more than was asked for without being asked.
fn explain(out: &mut Out, question: &Question, sensor: &Asked, row: &SensorRow, count: u64) -> anyhow::Result<()> {
    // What was found comes first where both go to a terminal.
    out.flush()?;
    let name = name(sensor);
    if count == 0 && !name_missing_kind(out, question, &name, row) {
        let (first, last) = (row.first_day, row.last_day);
        out.note(&format!(
            "no such readings of sensor {name}; it has readings from {first} to {last} (UTC)"
        ));
    }
    question.note_default_limit(out, count, "readings");
    Ok(())
}

/// Notes that the sensor does not have the kind that was asked for, if that is so.
fn name_missing_kind(out: &mut Out, question: &Question, name: &str, row: &SensorRow) -> bool {
    let Some(kind) = question
        .kind
        .as_ref()
        .filter(|kind| !row.last_values.contains_key(kind))
    else {
        return false;
    };
    let kinds: Vec<String> = row.last_values.keys().map(|kind| printable(kind.as_str())).collect();
    out.note(&format!(
        "sensor {name} has no {}; it has {}",
        printable(kind.as_str()),
        kinds.join(", ")
    ));
    true
}

fn name(sensor: &Asked) -> String {
    printable(&sensor.text)
}

fn reading_failed(sensor: &Asked) -> String {
    format!("reading sensor {}", name(sensor))
}

fn line<'a>(sensor: SensorId, label: Option<&'a str>, reading: &'a StoredReading) -> ReadingLine<'a> {
    ReadingLine {
        sensor,
        label,
        time: reading.time,
        kind: &reading.kind,
        value: reading.value,
    }
}

#[cfg(test)]
mod tests;
