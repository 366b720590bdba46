//! Windows on their way back to people, and how one is kept.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::value::CqlTimestamp;
use scylla::{DeserializeValue, SerializeValue};

use super::error::Cause;
use super::{CassandraStore, cql_date, cql_size, cql_time, groups};
use crate::model::{Aggregate, Day, Kind, StoredWindow, TimeMs, WindowKey, WindowsQuery};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

pub(super) const TABLE: &str = "window_aggregates";

/// The type `aggregate`, field by field in its order.
#[derive(SerializeValue, DeserializeValue)]
#[scylla(flavor = "enforce_order")]
pub(super) struct AggregateValue {
    last_offset: i64,
    count: i64,
    sum: f64,
    mean: f64,
    m2: f64,
    min: f64,
    max: f64,
    first: f64,
    first_at: CqlTimestamp,
    last: f64,
    last_at: CqlTimestamp,
}

impl From<&Aggregate> for AggregateValue {
    fn from(aggregate: &Aggregate) -> AggregateValue {
        AggregateValue {
            last_offset: aggregate.last_offset,
            count: aggregate.count,
            sum: aggregate.sum,
            mean: aggregate.mean,
            m2: aggregate.m2,
            min: aggregate.min,
            max: aggregate.max,
            first: aggregate.first,
            first_at: cql_time(aggregate.first_at),
            last: aggregate.last,
            last_at: cql_time(aggregate.last_at),
        }
    }
}

impl From<AggregateValue> for Aggregate {
    fn from(value: AggregateValue) -> Aggregate {
        Aggregate {
            last_offset: value.last_offset,
            count: value.count,
            sum: value.sum,
            mean: value.mean,
            m2: value.m2,
            min: value.min,
            max: value.max,
            first: value.first,
            first_at: TimeMs(value.first_at.0),
            last: value.last,
            last_at: TimeMs(value.last_at.0),
        }
    }
}

/// `type`, `size_s`, `window_start`, `source`, `agg`.
type Row = (String, i32, CqlTimestamp, String, AggregateValue);

pub(super) fn key_of(kind: Kind, size_s: i32, start: CqlTimestamp) -> WindowKey {
    WindowKey {
        kind,
        size_s: size_s.cast_unsigned(),
        start: TimeMs(start.0),
    }
}

impl CassandraStore {
    pub(super) fn stream_windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>> {
        stream::iter(Day::of_range(&query.range))
            .then(move |day| self.windows_of_day(query.clone(), day))
            .try_flatten()
            .boxed()
    }

    async fn windows_of_day(
        &self,
        query: WindowsQuery,
        day: Day,
    ) -> Result<BoxStream<'_, Result<StoredWindow, StoreError>>, StoreError> {
        let failed = |cause: Cause| self.error("read windows of", TABLE, cause);
        let (sensor, day, size_s) = (query.sensor.0, cql_date(day), cql_size(query.size_s));
        let (start, end) = (cql_time(query.range.start), cql_time(query.range.end));
        let rows = match &query.kind {
            None => {
                let values = (sensor, day, size_s, start, end);
                self.rows::<Row>(self.statements.select_windows.clone(), values).await
            }
            Some(kind) => {
                let values = (sensor, day, size_s, start, end, kind.as_str());
                self.rows::<Row>(self.statements.select_windows_of_kind.clone(), values)
                    .await
            }
        };
        let mut kinds = Kinds::default();
        let windows = rows
            .map_err(failed)?
            .map_err(failed)
            .map_ok(move |(kind, size_s, start, source, aggregate)| StoredWindow {
                key: key_of(kinds.get(&kind), size_s, start),
                source,
                aggregate: aggregate.into(),
            });
        // The table has the newest first within a kind, and reading it backwards would turn the kinds round too. What is
        // held back of one kind is at most a day's windows of one size.
        Ok(groups::in_order(
            windows.boxed(),
            |one, other| one.key.kind == other.key.kind,
            |one, other| (one.key.start, &one.source).cmp(&(other.key.start, &other.source)),
        ))
    }
}
