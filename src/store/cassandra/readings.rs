//! Readings: written as one mutation a sensor and day, read day by day.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::client::pager::TypedRowStream;
use scylla::value::{CqlDate, CqlTimestamp};
use uuid::Uuid;

use super::error::Cause;
use super::statements::MAX_BATCH_ROWS;
use super::{CassandraStore, cql_date, cql_time};
use crate::model::{Day, Kind, Order, ReadingRow, ReadingsQuery, SensorId, SensorWrite, StoredReading, TimeMs};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

const TABLE: &str = "sensor_readings";

/// Rows asked for at once.
const PAGE_ROWS: i32 = 5_000;

/// Bound values of `insert_reading`, in the order of its text; the last one is the write timestamp in µs.
type InsertValues<'a> = (Uuid, CqlDate, CqlTimestamp, &'a str, f64, i64);

impl CassandraStore {
    pub(super) async fn write_readings(&self, write: &SensorWrite) -> Result<(), StoreError> {
        let Some(first) = write.rows.first() else { return Ok(()) };
        let day = first.time.day();
        if write.rows.len() <= MAX_BATCH_ROWS && write.rows.iter().all(|row| row.time.day() == day) {
            return self.write_rows_of_day(write.sensor, day, write.rows.iter()).await;
        }
        // Over midnight, or late data: a partition each. Together, as a write is one or fifty rows.
        let mut days: Vec<(Day, Vec<&ReadingRow>)> = Vec::new();
        for row in &write.rows {
            let day = row.time.day();
            match days
                .iter_mut()
                .find(|(of, rows)| *of == day && rows.len() < MAX_BATCH_ROWS)
            {
                Some((_, rows)) => rows.push(row),
                None => days.push((day, vec![row])),
            }
        }
        let writes = days
            .iter()
            .map(|(day, rows)| self.write_rows_of_day(write.sensor, *day, rows.iter().copied()));
        futures::future::try_join_all(writes).await.map(|_| ())
    }

    async fn write_rows_of_day<'a>(
        &self,
        sensor: SensorId,
        day: Day,
        rows: impl ExactSizeIterator<Item = &'a ReadingRow>,
    ) -> Result<(), StoreError> {
        let count = rows.len();
        let day = cql_date(day);
        let mut values = rows.map(|row| -> InsertValues<'a> {
            (
                sensor.0,
                day,
                cql_time(row.time),
                row.kind.as_str(),
                row.value,
                row.timestamp.micros(),
            )
        });
        let done = match (count, values.next()) {
            (1, Some(only)) => {
                self.session
                    .execute_unpaged(&self.statements.insert_reading, &only)
                    .await
            }
            (_, first) => {
                let values: Vec<InsertValues<'a>> = first.into_iter().chain(values).collect();
                self.session
                    .batch(self.statements.batch_of_readings(count), &values)
                    .await
            }
        };
        match done {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&format!("write {count} readings to"), TABLE, error)),
        }
    }

    pub(super) fn stream_readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        let limit = query
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let days = days_of(&query);
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

/// The days that a query touches, in its order.
fn days_of(query: &ReadingsQuery) -> Box<dyn Iterator<Item = Day> + Send> {
    if query.range.start >= query.range.end {
        return Box::new(std::iter::empty());
    }
    let days = query.range.start.day().0..=TimeMs(query.range.end.0 - 1).day().0;
    match query.order {
        Order::OldestFirst => Box::new(days.map(Day)),
        Order::NewestFirst => Box::new(days.rev().map(Day)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MILLIS_PER_DAY;

    fn days(range: std::ops::Range<i64>, order: Order) -> Vec<i32> {
        let query = ReadingsQuery {
            sensor: SensorId(Uuid::nil()),
            range: TimeMs(range.start)..TimeMs(range.end),
            kind: None,
            order,
            limit: None,
        };
        days_of(&query).map(|day| day.0).collect()
    }

    #[test]
    fn a_query_touches_the_days_of_its_range_and_no_more() {
        let day = MILLIS_PER_DAY;
        assert_eq!(days(0..day, Order::OldestFirst), [0], "the end is exclusive");
        assert_eq!(days(0..day + 1, Order::OldestFirst), [0, 1]);
        assert_eq!(days(day - 1..3 * day, Order::NewestFirst), [2, 1, 0]);
        assert_eq!(days(5..5, Order::OldestFirst), [0; 0]);
        assert_eq!(days(day..5, Order::NewestFirst), [0; 0]);
    }
}
