//! Alerts: a row for the sensor, the same for the fleet's day, and a cell that says which ones are active.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDate, CqlTimestamp, MaybeUnset};
use scylla::{DeserializeRow, SerializeRow};
use uuid::Uuid;

use super::directory::{SHARDS, shard_of};
use super::error::Cause;
use super::statements::{MAX_BATCH_ROWS, unlogged};
use super::{CassandraStore, after_offset, cql_date, cql_time};
use crate::model::{Alert, AlertChange, AlertId, AlertWrite, AlertsQuery, Day, Kind, SensorId, TimeMs};
use crate::store::{ActiveAlerts, StoreError};

const BY_SENSOR: &str = "alerts";
const BY_DAY: &str = "alerts_by_day";
const ACTIVE: &str = "active_alerts";

/// Partitions that a day of the fleet's alerts is spread over. Fixed for ever, as that of the directory is.
const DAY_SHARDS: i32 = 16;

fn day_shard_of(sensor: SensorId) -> i32 {
    shard_of(sensor) / (SHARDS / DAY_SHARDS)
}

impl CassandraStore {
    pub(super) async fn write_changes(&self, write: &AlertWrite) -> Result<(), StoreError> {
        let source = write.source.to_string();
        let mut of_days: BTreeMap<Day, Vec<&AlertChange>> = BTreeMap::new();
        for change in &write.changes {
            of_days.entry(change.alert.raised_at.day()).or_default().push(change);
        }
        let parts = of_days.values().flat_map(|changes| changes.chunks(MAX_BATCH_ROWS));
        let rows = parts.map(|changes| self.write_changes_of_day(write.sensor, &source, changes));
        // All are waited for: what has failed may still be on its way.
        let (rows, active) = future::join(future::join_all(rows), self.write_active(write, &source)).await;
        rows.into_iter().collect::<Result<(), StoreError>>().and(active)
    }

    /// Two partitions, a request each.
    async fn write_changes_of_day(
        &self,
        sensor: SensorId,
        source: &str,
        changes: &[&AlertChange],
    ) -> Result<(), StoreError> {
        let of_sensor: Vec<RowValues<'_>> = changes.iter().map(|change| RowValues::new(source, change)).collect();
        let shard = day_shard_of(sensor);
        let of_day = of_sensor.iter().map(|&alert| DayRowValues { shard, alert }).collect();
        let statements = &self.statements.alerts;
        let (of_sensor, of_day) = future::join(
            self.insert_all(&statements.insert, BY_SENSOR, of_sensor),
            self.insert_all(&statements.insert_by_day, BY_DAY, of_day),
        )
        .await;
        of_sensor.and(of_day)
    }

    async fn insert_all(
        &self,
        insert: &PreparedStatement,
        table: &str,
        values: Vec<impl SerializeRow>,
    ) -> Result<(), StoreError> {
        let batch = unlogged(std::iter::repeat_n(insert, values.len()));
        match self.session.batch(&batch, &values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&format!("write {} alerts to", values.len()), table, error)),
        }
    }

    async fn write_active(&self, write: &AlertWrite, source: &str) -> Result<(), StoreError> {
        // An empty map is a value as any other, since the column is frozen: no tombstone.
        let active: BTreeMap<Uuid, CqlTimestamp> = write
            .active
            .iter()
            .map(|(id, raised_at)| (id.0, cql_time(*raised_at)))
            .collect();
        let values = (
            shard_of(write.sensor),
            write.sensor.0,
            source,
            active,
            after_offset(write.last_offset()),
        );
        let insert = &self.statements.alerts.insert_active;
        match self.session.execute_unpaged(insert, values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("write active alerts to", ACTIVE, error)),
        }
    }

    pub(super) async fn load_alert(
        &self,
        sensor: SensorId,
        raised_at: TimeMs,
        id: AlertId,
    ) -> Result<Option<Alert>, StoreError> {
        let values = (sensor.0, cql_date(raised_at.day()), cql_time(raised_at), id.0);
        let load = async || -> Result<Option<Alert>, Cause> {
            let answer = self
                .session
                .execute_unpaged(&self.statements.alerts.select_one, values)
                .await?;
            let row = answer.into_rows_result()?.maybe_first_row::<Row>()?;
            row.map(Alert::try_from).transpose()
        };
        load()
            .await
            .map_err(|cause| self.error("read an alert of", BY_SENSOR, cause))
    }

    pub(super) fn stream_alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>> {
        stream::iter(Day::of_range(&query.range).rev())
            .then(move |day| self.alerts_of_day(query.clone(), day))
            .map_ok(|alerts| stream::iter(alerts.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    /// One sensor's partition of a day, or all of the fleet's at once.
    async fn alerts_of_day(&self, query: AlertsQuery, day: Day) -> Result<Vec<Alert>, StoreError> {
        let (day, start, end) = (cql_date(day), cql_time(query.range.start), cql_time(query.range.end));
        let statements = &self.statements.alerts;
        let mut alerts = match query.sensor {
            Some(sensor) => self
                .select_alerts(&statements.select_of_sensor, (sensor.0, day, start, end))
                .await
                .map_err(|cause| self.error("read alerts of", BY_SENSOR, cause))?,
            None => {
                let shards = (0..DAY_SHARDS)
                    .map(|shard| self.select_alerts(&statements.select_of_shard, (shard, day, start, end)));
                let alerts = future::try_join_all(shards)
                    .await
                    .map_err(|cause| self.error("read alerts of", BY_DAY, cause))?;
                alerts.into_iter().flatten().collect()
            }
        };
        alerts.sort_unstable_by_key(|alert| (std::cmp::Reverse(alert.raised_at), alert.id));
        Ok(alerts)
    }

    async fn select_alerts(&self, select: &PreparedStatement, values: impl SerializeRow) -> Result<Vec<Alert>, Cause> {
        let rows = self.rows::<Row>(select.clone(), values).await?;
        rows.and_then(|row| future::ready(Alert::try_from(row)))
            .try_collect()
            .await
    }

    pub(super) fn stream_active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>> {
        stream::iter(0..SHARDS)
            .then(|shard| self.active_of_shard(shard))
            .map_ok(|sensors| stream::iter(sensors.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    /// Those of the directory's partition `shard`, without sensors that have none.
    pub(super) async fn active_of_shard(
        &self,
        shard: i32,
    ) -> Result<BTreeMap<SensorId, BTreeMap<AlertId, TimeMs>>, StoreError> {
        let select = &self.statements.alerts.select_active_of_shard;
        self.select_active(select, (shard,))
            .await
            .map_err(|cause| self.error("read active alerts of", ACTIVE, cause))
    }

    pub(super) async fn active_of_sensor(&self, sensor: SensorId) -> Result<BTreeMap<AlertId, TimeMs>, StoreError> {
        let select = &self.statements.alerts.select_active_of_sensor;
        let mut active = self
            .select_active(select, (shard_of(sensor), sensor.0))
            .await
            .map_err(|cause| self.error("read active alerts of", ACTIVE, cause))?;
        Ok(active.remove(&sensor).unwrap_or_default())
    }

    async fn select_active(
        &self,
        select: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<BTreeMap<SensorId, BTreeMap<AlertId, TimeMs>>, Cause> {
        let mut rows = self
            .rows::<(Uuid, Option<BTreeMap<Uuid, CqlTimestamp>>)>(select.clone(), values)
            .await?;
        let mut sensors: BTreeMap<SensorId, BTreeMap<AlertId, TimeMs>> = BTreeMap::new();
        while let Some((sensor, alerts)) = rows.try_next().await? {
            for (id, raised_at) in alerts.unwrap_or_default() {
                let of_sensor = sensors.entry(SensorId(sensor)).or_default();
                of_sensor.insert(AlertId(id), TimeMs(raised_at.0));
            }
        }
        Ok(sensors)
    }
}

/// Bound values of `insert`, by their names. What is absent is left unset: a null would be a tombstone.
#[derive(Clone, Copy, SerializeRow)]
struct RowValues<'a> {
    sensor_id: Uuid,
    day: CqlDate,
    raised_at: CqlTimestamp,
    alert_id: Uuid,
    #[scylla(rename = "type")]
    kind: &'a str,
    rule: &'a str,
    severity: &'static str,
    label: MaybeUnset<&'a str>,
    value: f64,
    peak: f64,
    cleared_at: MaybeUnset<CqlTimestamp>,
    source: &'a str,
    last_offset: i64,
    #[scylla(rename = "[timestamp]")]
    write_timestamp: i64,
}

impl<'a> RowValues<'a> {
    fn new(source: &'a str, change: &'a AlertChange) -> RowValues<'a> {
        let alert = &change.alert;
        RowValues {
            sensor_id: alert.sensor.0,
            day: cql_date(alert.raised_at.day()),
            raised_at: cql_time(alert.raised_at),
            alert_id: alert.id.0,
            kind: alert.kind.as_str(),
            rule: &alert.rule,
            severity: alert.severity.as_str(),
            label: MaybeUnset::from_option(alert.label.as_deref()),
            value: alert.value,
            peak: alert.peak,
            cleared_at: MaybeUnset::from_option(alert.cleared_at.map(cql_time)),
            source,
            last_offset: change.offset,
            write_timestamp: after_offset(change.offset),
        }
    }
}

/// Bound values of `insert_by_day`.
#[derive(SerializeRow)]
struct DayRowValues<'a> {
    shard: i32,
    #[scylla(flatten)]
    alert: RowValues<'a>,
}

/// An alert as it is read, from either table.
#[derive(DeserializeRow)]
struct Row {
    sensor_id: Uuid,
    raised_at: CqlTimestamp,
    alert_id: Uuid,
    #[scylla(rename = "type")]
    kind: String,
    rule: String,
    severity: String,
    label: Option<String>,
    value: f64,
    peak: f64,
    cleared_at: Option<CqlTimestamp>,
}

impl TryFrom<Row> for Alert {
    type Error = Cause;

    fn try_from(row: Row) -> Result<Alert, Cause> {
        Ok(Alert {
            id: AlertId(row.alert_id),
            sensor: SensorId(row.sensor_id),
            label: row.label.map(Arc::from),
            kind: Kind::new(&row.kind),
            rule: Arc::from(row.rule),
            severity: row.severity.parse().map_err(|why: String| Cause::permanent(why))?,
            raised_at: TimeMs(row.raised_at.0),
            value: row.value,
            peak: row.peak,
            cleared_at: row.cleared_at.map(|time| TimeMs(time.0)),
        })
    }
}
