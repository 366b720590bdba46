//! Readings, read day by day.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::value::CqlTimestamp;

use super::error::Cause;
use super::{CassandraStore, cql_date, cql_time, groups};
use crate::model::{Day, Order, ReadingsQuery, StoredReading, TimeMs};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

const TABLE: &str = "sensor_readings";

/// Rows asked for at once.
const PAGE_ROWS: i32 = 5_000;

impl CassandraStore {
    pub(super) fn stream_readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        let limit = query
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let days = Day::of_range(&query.range);
        let days: Box<dyn Iterator<Item = Day> + Send> = match query.order {
            Order::OldestFirst => Box::new(days),
            Order::NewestFirst => Box::new(days.rev()),
        };
        stream::iter(days)
            .then(move |day| self.readings_of_day(query.clone(), day))
            .try_flatten()
            .take(limit)
            .boxed()
    }

    async fn readings_of_day(
        &self,
        query: ReadingsQuery,
        day: Day,
    ) -> Result<BoxStream<'_, Result<StoredReading, StoreError>>, StoreError> {
        let failed = |cause: Cause| self.error("read readings of", TABLE, cause);
        let mut statement = self
            .statements
            .select_readings(query.order, query.kind.is_some())
            .clone();
        // One more than the limit: oldest first, a time's last kind is known when the next time is seen.
        let limit = query
            .limit
            .and_then(|limit| i32::try_from(limit).ok())
            .unwrap_or(PAGE_ROWS);
        statement.set_page_size(limit.saturating_add(1).min(PAGE_ROWS));
        let (start, end) = (cql_time(query.range.start), cql_time(query.range.end));
        let rows = match &query.kind {
            None => {
                let values = (query.sensor.0, cql_date(day), start, end);
                self.rows::<Row>(statement, values).await
            }
            Some(kind) => {
                let values = (query.sensor.0, cql_date(day), start, end, kind.as_str());
                self.rows::<Row>(statement, values).await
            }
        };
        let mut kinds = Kinds::default();
        let readings = rows
            .map_err(failed)?
            .map_err(failed)
            .map_ok(move |(time, kind, value)| StoredReading {
                time: TimeMs(time.0),
                kind: kinds.get(&kind),
                value,
            });
        Ok(match query.order {
            Order::NewestFirst => readings.boxed(),
            // Backwards the table is read in reverse of its whole key: the kinds of one time come in descending order.
            Order::OldestFirst => groups::in_order(
                readings.boxed(),
                |one, other| one.time == other.time,
                |one, other| one.kind.cmp(&other.kind),
            ),
        })
    }
}

type Row = (CqlTimestamp, String, f64);
