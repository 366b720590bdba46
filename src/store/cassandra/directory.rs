//! The directory of sensors. Each field is a cell whose write timestamp is the event time that it speaks of, so the newest
//! wins whatever order sightings arrive in; the range of days uses the day's number the same way.

use std::collections::BTreeMap;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDate, CqlTimestamp, CqlValue};
use uuid::Uuid;

use super::error::Cause;
use super::shared_write::requests_of;
use super::statements::unlogged;
use super::{CassandraStore, cql_date, cql_time, day_of};
use crate::model::{AlertId, Kind, Location, SensorId, SensorRow, Sighting, TimeMs};
use crate::store::StoreError;

const TABLE: &str = "sensors";

/// Partitions that the directory is spread over. Fixed for ever: another number would look for sensors elsewhere.
pub(super) const SHARDS: i32 = 64;

/// What a field takes at most as the server counts, beside its text.
const CELL_BYTES: usize = 90;

/// A field of one sensor, to be set.
struct Cell<'a> {
    statement: &'a PreparedStatement,
    values: Vec<CqlValue>,
    /// As estimated for a request's size.
    bytes: usize,
}

/// Write timestamp of the label: it never changes, so it only has to be the same one always.
const LABEL_TIMESTAMP_US: i64 = 1;

/// The partition of a sensor: the upper bits of the id's FNV-1a hash, since ids that count upwards must spread too.
pub(super) fn shard_of(sensor: SensorId) -> i32 {
    let hash = sensor
        .0
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    // The last byte has not reached the upper bits yet; one more multiplication carries it there.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as i32
}

impl CassandraStore {
    /// In order, as many to a request as fit. All are waited for.
    pub(super) async fn merge_sightings(
        &self,
        sightings: impl Iterator<Item = (SensorId, &Sighting)>,
    ) -> Result<(), StoreError> {
        let sensors: Vec<Vec<Cell<'_>>> = sightings
            .map(|(sensor, sighting)| self.cells_of(sensor, sighting))
            .collect();
        let requests = requests_of(&sensors, |cells| (1, cells.iter().map(|cell| cell.bytes).sum()))
            .into_iter()
            .map(|sensors| self.send_cells(sensors));
        future::join_all(requests).await.into_iter().collect()
    }

    async fn send_cells(&self, sensors: &[Vec<Cell<'_>>]) -> Result<(), StoreError> {
        let cells = || sensors.iter().flatten();
        let batch = unlogged(cells().map(|cell| cell.statement));
        let values: Vec<&[CqlValue]> = cells().map(|cell| &cell.values[..]).collect();
        match self.session.batch(&batch, &values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("write a sighting to", TABLE, error)),
        }
    }

    /// What the directory learns, a field a cell.
    fn cells_of(&self, sensor: SensorId, sighting: &Sighting) -> Vec<Cell<'_>> {
        let statements = &self.statements;
        let mut cells = Vec::with_capacity(5 + sighting.last_values.len());
        let key = [CqlValue::Int(shard_of(sensor)), CqlValue::Uuid(sensor.0)];
        let mut set = |statement, timestamp_us, text_bytes, field: Vec<CqlValue>| {
            let timestamp = CqlValue::BigInt(timestamp_us);
            cells.push(Cell {
                statement,
                values: std::iter::once(timestamp).chain(field).chain(key.clone()).collect(),
                bytes: CELL_BYTES + text_bytes,
            });
        };
        let (first_day, last_day) = (sighting.first_day, sighting.last_day);
        // The smaller first day has the larger timestamp, the larger last day too: the range only grows.
        let day = |day| vec![CqlValue::Date(cql_date(day))];
        set(&statements.set_first_day, -i64::from(first_day.0), 0, day(first_day));
        set(&statements.set_last_day, i64::from(last_day.0), 0, day(last_day));
        if let Some(label) = &sighting.label {
            let field = vec![CqlValue::Text(label.to_string())];
            set(&statements.set_label, LABEL_TIMESTAMP_US, label.len(), field);
        }
        if let Some((time, status)) = &sighting.status {
            let field = vec![CqlValue::Text(status.to_string())];
            set(&statements.set_status, time.micros(), status.len(), field);
        }
        if let Some((time, location)) = &sighting.location {
            let degrees = [location.latitude, location.longitude];
            let cell = CqlValue::Tuple(degrees.map(|degrees| Some(CqlValue::Double(degrees))).to_vec());
            set(&statements.set_location, time.micros(), 0, vec![cell]);
        }
        for (kind, &(time, value)) in &sighting.last_values {
            let cell = CqlValue::Tuple(vec![
                Some(CqlValue::Timestamp(cql_time(time))),
                Some(CqlValue::Double(value)),
            ]);
            let field = vec![CqlValue::Text(kind.as_str().to_owned()), cell];
            set(&statements.set_last_value, time.micros(), kind.as_str().len(), field);
        }
        cells
    }

    pub(super) async fn load_sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        let load = async {
            let load = async || -> Result<Option<Row>, Cause> {
                let statement = &self.statements.select_sensor;
                let answer = self
                    .session
                    .execute_unpaged(statement, (shard_of(sensor), sensor.0))
                    .await?;
                Ok(answer.into_rows_result()?.maybe_first_row::<Row>()?)
            };
            load()
                .await
                .map_err(|cause| self.error("read a sensor of", TABLE, cause))
        };
        let (row, active) = future::try_join(load, self.active_of_sensor(sensor)).await?;
        Ok(row.and_then(|row| sensor_row(row, active)))
    }

    pub(super) fn stream_sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>> {
        let failed = |cause: Cause| self.error("read the sensors of", TABLE, cause);
        stream::iter(0..SHARDS)
            .then(move |shard| async move {
                // Few and small, so they are all read before the sensors.
                let mut active = self.active_of_shard(shard).await?;
                let statement = self.statements.select_sensors_of_shard.clone();
                let rows = self.rows::<Row>(statement, (shard,)).await.map_err(failed)?;
                let sensors = rows.map_err(failed);
                Ok(sensors.try_filter_map(move |row| {
                    let active = active.remove(&SensorId(row.0)).unwrap_or_default();
                    future::ready(Ok(sensor_row(row, active)))
                }))
            })
            .try_flatten()
            .boxed()
    }
}

type Row = (
    Uuid,
    Option<String>,
    Option<String>,
    Option<(f64, f64)>,
    Option<CqlDate>,
    Option<CqlDate>,
    Option<BTreeMap<String, (CqlTimestamp, f64)>>,
);

/// `None` for a row without its days: no sighting of ours leaves such a one behind, and it says nothing about where the
/// sensor's readings are.
fn sensor_row(row: Row, active_alerts: BTreeMap<AlertId, TimeMs>) -> Option<SensorRow> {
    let (sensor, label, status, location, first_day, last_day, last_values) = row;
    let last_values = last_values.unwrap_or_default().into_iter();
    Some(SensorRow {
        sensor: SensorId(sensor),
        label,
        status,
        location: location.map(|(latitude, longitude)| Location { latitude, longitude }),
        first_day: day_of(first_day?),
        last_day: day_of(last_day?),
        last_values: last_values
            .map(|(kind, (time, value))| (Kind::new(&kind), (TimeMs(time.0), value)))
            .collect(),
        active_alerts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_spread_over_all_shards_and_stay_where_they_are() {
        let mut counting = [0; SHARDS as usize];
        let mut labelled = [0; SHARDS as usize];
        for n in 0..6_400_u32 {
            counting[shard_of(SensorId(Uuid::from_u128(n.into()))) as usize] += 1;
            labelled[shard_of(SensorId::from_text(&format!("SENSOR_{n}")).0) as usize] += 1;
        }
        for counts in [counting, labelled] {
            assert!(
                counts.iter().all(|count| (50..200).contains(count)),
                "about 100 each: {counts:?}"
            );
        }
    }
}
