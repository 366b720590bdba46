//! The SQL of the store, and what its rows mean. Every write may run again, late, or in another order.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, params};
use uuid::Uuid;

use super::{alerts, windows};
use crate::model::{Day, Kind, LedgerEntry, Location, SensorId, SensorRow, SensorWrite, Sighting, Source, TimeMs};
use crate::store::processing_text;

/// The later write timestamp wins, within one the larger value by its bytes: `model::newer_cell`.
const UPSERT_READING: &str = "
    INSERT INTO sensor_readings (day, sensor_id, reading_time, type, reading, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET reading = excluded.reading, written_at = excluded.written_at
    WHERE excluded.written_at > written_at
       OR (excluded.written_at = written_at AND double_bits(excluded.reading) > double_bits(reading))";

const UPSERT_SENSOR: &str = "
    INSERT INTO sensors (sensor_id, label, first_day, last_day) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET label = max(coalesce(excluded.label, label), coalesce(label, excluded.label)),
        first_day = min(excluded.first_day, first_day), last_day = max(excluded.last_day, last_day)";

const UPDATE_STATUS: &str = "
    UPDATE sensors SET status_at = ?2, status = ?3
    WHERE sensor_id = ?1 AND (status_at IS NULL OR (?2, ?3) > (status_at, status))";

const UPDATE_LOCATION: &str = "
    UPDATE sensors SET location_at = ?2, latitude = ?3, longitude = ?4
    WHERE sensor_id = ?1 AND (location_at IS NULL OR
        (?2, double_bits(?3), double_bits(?4)) > (location_at, double_bits(latitude), double_bits(longitude)))";

const UPSERT_LAST_VALUE: &str = "
    INSERT INTO sensor_last_values (sensor_id, type, reading_time, reading) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET reading_time = excluded.reading_time, reading = excluded.reading
    WHERE (excluded.reading_time, double_bits(excluded.reading)) > (reading_time, double_bits(reading))";

const SELECT_SENSORS: &str = "
    SELECT sensor_id, label, status, latitude, longitude, first_day, last_day FROM sensors
    WHERE sensor_id > ?1 ORDER BY sensor_id LIMIT ?2";

const SELECT_SENSOR: &str = "
    SELECT sensor_id, label, status, latitude, longitude, first_day, last_day FROM sensors WHERE sensor_id = ?1";

const SELECT_LAST_VALUES: &str = "SELECT type, reading_time, reading FROM sensor_last_values WHERE sensor_id = ?1";

const INSERT_SOURCE: &str = "
    INSERT OR IGNORE INTO sources (source, topic, topic_id, partition, from_offset, acked_to, processing)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const ADVANCE_SOURCE: &str = "UPDATE sources SET acked_to = ?2 WHERE source = ?1 AND acked_to < ?2";

const SELECT_SOURCE: &str = "SELECT from_offset, acked_to, processing FROM sources WHERE source = ?1";

pub(super) fn apply_write(connection: &Connection, write: &SensorWrite) -> SqlResult<()> {
    let id = write.sensor.0.as_bytes();
    let mut upsert = connection.prepare_cached(UPSERT_READING)?;
    for row in &write.rows {
        let day = row.time.day().0;
        upsert.execute(params![
            day,
            id,
            row.time.0,
            row.kind.as_str(),
            row.value,
            row.timestamp.0
        ])?;
    }
    if !write.windows.is_empty() || write.state.is_some() {
        let source = write.source.to_string();
        windows::upsert_windows(connection, write, &source)?;
        if let Some(state) = &write.state {
            windows::upsert_state(connection, write.sensor, &source, state)?;
        }
    }
    match &write.sighting {
        Some(sighting) => merge_sighting(connection, write.sensor, sighting),
        None => Ok(()),
    }
}

fn merge_sighting(connection: &Connection, sensor: SensorId, sighting: &Sighting) -> SqlResult<()> {
    let id = sensor.0.as_bytes();
    let days = (sighting.first_day.0, sighting.last_day.0);
    connection
        .prepare_cached(UPSERT_SENSOR)?
        .execute(params![id, sighting.label.as_deref(), days.0, days.1])?;
    if let Some((time, status)) = &sighting.status {
        connection
            .prepare_cached(UPDATE_STATUS)?
            .execute(params![id, time.0, status.as_ref()])?;
    }
    if let Some((time, location)) = &sighting.location {
        let values = params![id, time.0, location.latitude, location.longitude];
        connection.prepare_cached(UPDATE_LOCATION)?.execute(values)?;
    }
    let mut upsert = connection.prepare_cached(UPSERT_LAST_VALUE)?;
    for (kind, (time, value)) in &sighting.last_values {
        upsert.execute(params![id, kind.as_str(), time.0, value])?;
    }
    Ok(())
}

pub(super) fn load_sensor(connection: &Connection, sensor: SensorId) -> SqlResult<Option<SensorRow>> {
    let row = connection
        .prepare_cached(SELECT_SENSOR)?
        .query_row([sensor.0.as_bytes()], sensor_row)
        .optional()?;
    row.map(|row| completed(connection, row)).transpose()
}

/// At most so many sensors of the directory, those with the smallest ids after `after`.
pub(super) fn load_sensors(connection: &Connection, after: Option<SensorId>, limit: u32) -> SqlResult<Vec<SensorRow>> {
    let mut select = connection.prepare_cached(SELECT_SENSORS)?;
    // Every id is larger than the empty one.
    let after: &[u8] = after.as_ref().map_or(&[], |sensor| sensor.0.as_bytes());
    let rows = select.query_map(params![after, limit], sensor_row)?;
    rows.map(|row| completed(connection, row?)).collect()
}

fn sensor_row(row: &Row<'_>) -> SqlResult<SensorRow> {
    let (latitude, longitude): (Option<f64>, Option<f64>) = (row.get(3)?, row.get(4)?);
    Ok(SensorRow {
        sensor: SensorId(Uuid::from_bytes(row.get(0)?)),
        label: row.get(1)?,
        status: row.get(2)?,
        location: latitude
            .zip(longitude)
            .map(|(latitude, longitude)| Location { latitude, longitude }),
        first_day: Day(row.get(5)?),
        last_day: Day(row.get(6)?),
        last_values: BTreeMap::new(),
        active_alerts: BTreeMap::new(),
    })
}

/// With what other tables know of the sensor.
fn completed(connection: &Connection, mut sensor: SensorRow) -> SqlResult<SensorRow> {
    let mut select = connection.prepare_cached(SELECT_LAST_VALUES)?;
    let mut rows = select.query([sensor.sensor.0.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let kind = Kind::new(row.get_ref(0)?.as_str()?);
        sensor.last_values.insert(kind, (TimeMs(row.get(1)?), row.get(2)?));
    }
    sensor.active_alerts = alerts::load_active_of_sensor(connection, sensor.sensor)?;
    Ok(sensor)
}

/// Enters the source unless it is there; the row that holds then.
pub(super) fn open_source(connection: &Connection, entry: &LedgerEntry) -> SqlResult<LedgerEntry> {
    let source = &entry.source;
    let processing = processing_text::encode(&entry.processing).map_err(|error| unreadable(error.to_string()))?;
    connection.prepare_cached(INSERT_SOURCE)?.execute(params![
        source.to_string(),
        source.topic.as_ref(),
        source.topic_id.0.hyphenated().to_string(),
        source.partition,
        entry.from,
        entry.acked_to.max(entry.from),
        processing,
    ])?;
    load_source(connection, source)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

pub(super) fn advance_source(connection: &Connection, source: &Source, acked_to: i64) -> SqlResult<()> {
    connection
        .prepare_cached(ADVANCE_SOURCE)?
        .execute(params![source.to_string(), acked_to])?;
    Ok(())
}

pub(super) fn insert_hole(connection: &Connection, source: &Source, hole: &str) -> SqlResult<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO source_holes (source, hole) VALUES (?1, ?2)")?;
    insert.execute(params![source.to_string(), hole])?;
    Ok(())
}

pub(super) fn save_run(connection: &Connection, run: Uuid, manifest: &str) -> SqlResult<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO runs (run, manifest) VALUES (?1, ?2)")?;
    insert.execute(params![run.as_bytes(), manifest])?;
    Ok(())
}

pub(super) fn load_run(connection: &Connection, run: Uuid) -> SqlResult<Option<String>> {
    let mut select = connection.prepare_cached("SELECT manifest FROM runs WHERE run = ?1")?;
    select.query_row([run.as_bytes()], |row| row.get(0)).optional()
}

pub(super) fn load_source(connection: &Connection, source: &Source) -> SqlResult<Option<LedgerEntry>> {
    let mut select = connection.prepare_cached(SELECT_SOURCE)?;
    let entry = select.query_row([source.to_string()], |row| {
        let processing = processing_text::decode(row.get_ref(2)?.as_str()?);
        let processing = processing.map_err(|why| unreadable(format!("source {source}: {why}")))?;
        Ok(LedgerEntry {
            source: source.clone(),
            from: row.get(0)?,
            acked_to: row.get(1)?,
            processing,
        })
    });
    entry.optional()
}

pub(super) fn unreadable(why: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(why.into())
}
