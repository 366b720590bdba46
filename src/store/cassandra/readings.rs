//! Readings, read day by day.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::client::pager::TypedRowStream;
use scylla::value::CqlTimestamp;

use super::error::Cause;
use super::{CassandraStore, cql_date, cql_time};
use crate::model::{Day, Kind, Order, ReadingsQuery, StoredReading, TimeMs};
use crate::store::StoreError;
use crate::store::days::days;
use crate::store::kinds::Kinds;

const TABLE: &str = "sensor_readings";

/// Rows asked for at once.
const PAGE_ROWS: i32 = 5_000;

impl CassandraStore {
    pub(super) fn stream_readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        let limit = query
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let days = days(&query.range);
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
        let pager = match &query.kind {
            None => {
                self.session
                    .execute_iter(statement, (query.sensor.0, cql_date(day), start, end))
                    .await
            }
            Some(kind) => {
                let values = (query.sensor.0, cql_date(day), start, end, kind.as_str());
                self.session.execute_iter(statement, values).await
            }
        };
        let rows = pager
            .map_err(Cause::from)
            .and_then(|pager| pager.rows_stream::<Row>().map_err(Cause::from))
            .map_err(failed)?;
        let rows = DayRows {
            rows,
            order: query.order,
            ready: Vec::new(),
            next_time: None,
            kinds: Kinds::default(),
        };
        let readings = stream::try_unfold(rows, |mut rows| async move {
            let reading = rows.next().await?;
            Ok::<_, Cause>(reading.map(|reading| (reading, rows)))
        });
        Ok(readings.map_err(failed).boxed())
    }
}

type Row = (CqlTimestamp, String, f64);

/// Rows of one partition on their way out. Backwards the table is read in reverse of its whole key, so the kinds of one
/// time come in descending order and are turned round here; that holds back the rows of one time, never more.
struct DayRows {
    rows: TypedRowStream<Row>,
    order: Order,
    /// Rows of one time as they came; the last one goes out first.
    ready: Vec<StoredReading>,
    /// The first row of the next time, already taken from `rows`.
    next_time: Option<StoredReading>,
    kinds: Kinds,
}

impl DayRows {
    async fn next(&mut self) -> Result<Option<StoredReading>, Cause> {
        if self.order == Order::NewestFirst {
            return self.pull().await;
        }
        if self.ready.is_empty() {
            let first = match self.next_time.take() {
                Some(row) => row,
                None => match self.pull().await? {
                    Some(row) => row,
                    None => return Ok(None),
                },
            };
            let time = first.time;
            self.ready.push(first);
            while let Some(row) = self.pull().await? {
                if row.time != time {
                    self.next_time = Some(row);
                    break;
                }
                self.ready.push(row);
            }
        }
        Ok(self.ready.pop())
    }

    async fn pull(&mut self) -> Result<Option<StoredReading>, Cause> {
        let Some((time, kind, value)) = self.rows.try_next().await? else {
            return Ok(None);
        };
        let kind: Kind = self.kinds.get(&kind);
        Ok(Some(StoredReading {
            time: TimeMs(time.0),
            kind,
            value,
        }))
    }
}
