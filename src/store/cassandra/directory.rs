//! The directory of sensors. Each field is a cell whose write timestamp is the event time that it speaks of, so the newest
//! wins whatever order sightings arrive in; the range of days uses the day's number the same way.

use std::collections::BTreeMap;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::value::{CqlDate, CqlTimestamp, CqlValue};
use uuid::Uuid;

use super::error::Cause;
use super::statements::unlogged;
use super::{CassandraStore, cql_date, cql_time, day_of};
use crate::model::{AlertId, Kind, Location, SensorId, SensorRow, Sighting, TimeMs};
use crate::store::StoreError;

const TABLE: &str = "sensors";

/// Partitions that the directory is spread over. Fixed for ever: another number would look for sensors elsewhere.
pub(super) const SHARDS: i32 = 64;

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
    pub(super) async fn merge_sighting(&self, sensor: SensorId, sighting: &Sighting) -> Result<(), StoreError> {
        let statements = &self.statements;
        let mut cells = Vec::with_capacity(5 + sighting.last_values.len());
        let (first_day, last_day) = (sighting.first_day, sighting.last_day);
        // The smaller first day has the larger timestamp, the larger last day too: the range only grows.
        cells.push((
            &statements.set_first_day,
            -i64::from(first_day.0),
            vec![CqlValue::Date(cql_date(first_day))],
        ));
        cells.push((
            &statements.set_last_day,
            i64::from(last_day.0),
            vec![CqlValue::Date(cql_date(last_day))],
        ));
        if let Some(label) = &sighting.label {
            cells.push((
                &statements.set_label,
                LABEL_TIMESTAMP_US,
                vec![CqlValue::Text(label.to_string())],
            ));
        }
        if let Some((time, status)) = &sighting.status {
            cells.push((
                &statements.set_status,
                time.micros(),
                vec![CqlValue::Text(status.to_string())],
            ));
        }
        if let Some((time, location)) = &sighting.location {
            let degrees = [location.latitude, location.longitude];
            let cell = CqlValue::Tuple(degrees.map(|degrees| Some(CqlValue::Double(degrees))).to_vec());
            cells.push((&statements.set_location, time.micros(), vec![cell]));
        }
        for (kind, &(time, value)) in &sighting.last_values {
            let cell = CqlValue::Tuple(vec![
                Some(CqlValue::Timestamp(cql_time(time))),
                Some(CqlValue::Double(value)),
            ]);
            let values = vec![CqlValue::Text(kind.as_str().to_owned()), cell];
            cells.push((&statements.set_last_value, time.micros(), values));
        }
        let batch = unlogged(cells.iter().map(|(statement, ..)| *statement));
        let key = [CqlValue::Int(shard_of(sensor)), CqlValue::Uuid(sensor.0)];
        let values: Vec<Vec<CqlValue>> = cells
            .into_iter()
            .map(|(_, timestamp_us, values)| {
                std::iter::once(CqlValue::BigInt(timestamp_us))
                    .chain(values)
                    .chain(key.clone())
                    .collect()
            })
            .collect();
        match self.session.batch(&batch, &values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("write a sighting to", TABLE, error)),
        }
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
