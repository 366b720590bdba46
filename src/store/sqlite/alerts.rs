//! The SQL of alerts. The larger `last_offset` wins, whatever order writes come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, params};
use uuid::Uuid;

use super::double::Double;
use super::reader::{CHUNK_ROWS, Chunks, Stop};
use super::statements::unreadable;
use crate::model::{Alert, AlertChange, AlertId, AlertWrite, AlertsQuery, Day, Kind, SensorId, TimeMs};
use crate::store::ActiveAlerts;

const UPSERT_ALERT: &str = "
    INSERT INTO alerts (day, sensor_id, raised_at, alert_id,
        type, rule, severity, label, value, peak, cleared_at, source, last_offset)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT DO UPDATE SET type = excluded.type, rule = excluded.rule, severity = excluded.severity,
        label = excluded.label, value = excluded.value, peak = excluded.peak, cleared_at = excluded.cleared_at,
        source = excluded.source, last_offset = excluded.last_offset
    WHERE excluded.last_offset > last_offset";

const UPSERT_ACTIVE: &str = "
    INSERT INTO active_alerts (sensor_id, source, alerts, last_offset) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET alerts = excluded.alerts, last_offset = excluded.last_offset
    WHERE excluded.last_offset > last_offset";

const SELECT_ALERTS: &str = "
    SELECT sensor_id, raised_at, alert_id, type, rule, severity, label, value, peak, cleared_at FROM alerts
    WHERE day = ?1";

/// A sensor's sources together, a line each.
const SELECT_ACTIVE: &str = "
    SELECT sensor_id, group_concat(alerts, char(10)) FROM active_alerts
    WHERE sensor_id > ?1 AND alerts <> '{}' GROUP BY sensor_id ORDER BY sensor_id LIMIT ?2";

const SELECT_ACTIVE_OF_SENSOR: &str = "SELECT group_concat(alerts, char(10)) FROM active_alerts WHERE sensor_id = ?1";

pub(super) fn apply(connection: &Connection, write: &AlertWrite) -> SqlResult<()> {
    let source = write.source.to_string();
    let mut upsert = connection.prepare_cached(UPSERT_ALERT)?;
    for AlertChange { offset, alert, .. } in &write.changes {
        upsert.execute(params![
            alert.raised_at.day().0,
            alert.sensor.0.as_bytes(),
            alert.raised_at.0,
            alert.id.0.as_bytes(),
            alert.kind.as_str(),
            alert.rule.as_ref(),
            alert.severity.as_str(),
            alert.label.as_deref(),
            Double(alert.value),
            Double(alert.peak),
            alert.cleared_at.map(|time| time.0),
            source,
            offset,
        ])?;
    }
    let active: BTreeMap<String, i64> = write.active.iter().map(|(id, time)| (id.to_string(), time.0)).collect();
    let active = serde_json::to_string(&active).map_err(|error| unreadable(error.to_string()))?;
    let id = write.sensor.0.as_bytes();
    let mut upsert = connection.prepare_cached(UPSERT_ACTIVE)?;
    upsert.execute(params![id, source, active, write.last_offset()])?;
    Ok(())
}

pub(super) fn load_alert(
    connection: &Connection,
    sensor: SensorId,
    raised_at: TimeMs,
    id: AlertId,
) -> SqlResult<Option<Alert>> {
    let mut select = connection.prepare_cached(&format!(
        "{SELECT_ALERTS} AND sensor_id = ?2 AND raised_at = ?3 AND alert_id = ?4"
    ))?;
    let values = params![raised_at.day().0, sensor.0.as_bytes(), raised_at.0, id.0.as_bytes()];
    select.query_row(values, alert).optional()
}

/// Day by day, since that is where the key begins; the newest first.
pub(super) fn send_alerts(connection: &Connection, query: &AlertsQuery, chunks: &Chunks<Alert>) -> Result<(), Stop> {
    let of_sensor = if query.sensor.is_some() {
        "AND sensor_id = ?4"
    } else {
        "AND ?4 IS NULL"
    };
    let mut select = connection.prepare_cached(&format!(
        "{SELECT_ALERTS} AND raised_at >= ?2 AND raised_at < ?3 {of_sensor} ORDER BY raised_at DESC, alert_id"
    ))?;
    let id = query.sensor.as_ref().map(|sensor| sensor.0.as_bytes());
    let mut chunk = Vec::new();
    for day in Day::of_range(&query.range).rev() {
        let values = params![day.0, query.range.start.0, query.range.end.0, id];
        for alert in select.query_map(values, alert)? {
            chunk.push(alert?);
            if chunk.len() == CHUNK_ROWS {
                let chunk = std::mem::take(&mut chunk);
                chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)?;
            }
        }
    }
    chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)
}

fn alert(row: &Row<'_>) -> SqlResult<Alert> {
    let severity = row.get_ref(5)?.as_str()?.parse();
    Ok(Alert {
        sensor: SensorId(Uuid::from_bytes(row.get(0)?)),
        raised_at: TimeMs(row.get(1)?),
        id: AlertId(Uuid::from_bytes(row.get(2)?)),
        kind: Kind::new(row.get_ref(3)?.as_str()?),
        rule: Arc::from(row.get_ref(4)?.as_str()?),
        severity: severity.map_err(unreadable)?,
        label: row.get_ref(6)?.as_str_or_null()?.map(Arc::from),
        value: row.get::<_, Double>(7)?.0,
        peak: row.get::<_, Double>(8)?.0,
        cleared_at: row.get::<_, Option<i64>>(9)?.map(TimeMs),
    })
}

/// At most so many sensors that have active alerts, those with the smallest ids after `after`.
pub(super) fn load_active(
    connection: &Connection,
    after: Option<SensorId>,
    limit: u32,
) -> SqlResult<Vec<ActiveAlerts>> {
    let mut select = connection.prepare_cached(SELECT_ACTIVE)?;
    // Every id is larger than the empty one.
    let after: &[u8] = after.as_ref().map_or(&[], |sensor| sensor.0.as_bytes());
    let rows = select.query_map(params![after, limit], |row| {
        let active = active_alerts(row.get_ref(1)?.as_str()?)?;
        Ok((SensorId(Uuid::from_bytes(row.get(0)?)), active))
    })?;
    rows.collect()
}

pub(super) fn load_active_of_sensor(connection: &Connection, sensor: SensorId) -> SqlResult<BTreeMap<AlertId, TimeMs>> {
    let mut select = connection.prepare_cached(SELECT_ACTIVE_OF_SENSOR)?;
    select.query_row([sensor.0.as_bytes()], |row| {
        row.get_ref(0)?
            .as_str_or_null()?
            .map_or_else(|| Ok(BTreeMap::new()), active_alerts)
    })
}

/// Of a JSON object a line.
fn active_alerts(lines: &str) -> SqlResult<BTreeMap<AlertId, TimeMs>> {
    let mut active = BTreeMap::new();
    for line in lines.lines() {
        let of_source: BTreeMap<String, i64> =
            serde_json::from_str(line).map_err(|error| unreadable(format!("active alerts: {error}")))?;
        for (id, raised_at) in of_source {
            let id = Uuid::try_parse(&id).map_err(|error| unreadable(format!("active alerts: {id:?}: {error}")))?;
            active.insert(AlertId(id), TimeMs(raised_at));
        }
    }
    Ok(active)
}
