//! Windows and sensor state on their way back: cells for the consumer that goes on with them, answers for people.

use std::collections::{BTreeMap, HashMap};

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use scylla::value::CqlTimestamp;
use scylla::{DeserializeValue, SerializeValue};

use super::error::Cause;
use super::{CassandraStore, cql_date, cql_size, cql_time, groups};
use crate::model::{Aggregate, Day, Kind, Load, Loaded, SensorId, StoredWindow, TimeMs, WindowKey, WindowsQuery};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

const TABLE: &str = "window_aggregates";

/// Windows asked for by one request: a day of minutes is fifteen requests, and none is large.
const MAX_CELLS: usize = 100;

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

fn key_of(kind: Kind, size_s: i32, start: CqlTimestamp) -> WindowKey {
    WindowKey {
        kind,
        size_s: size_s.cast_unsigned(),
        start: TimeMs(start.0),
    }
}

impl CassandraStore {
    pub(super) async fn load_cells(&self, load: &Load) -> Result<Loaded, StoreError> {
        let source = load.source.to_string();
        let state = async {
            match load.state {
                true => self.load_state(load.sensor, &source).await,
                false => Ok(None),
            }
        };
        let (state, windows) = futures::future::try_join(state, self.load_windows(load, &source)).await?;
        Ok(Loaded {
            id: load.id,
            state,
            windows,
        })
    }

    async fn load_state(&self, sensor: SensorId, source: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = async || -> Result<Option<Vec<u8>>, Cause> {
            let statement = &self.statements.select_state;
            let answer = self.session.execute_unpaged(statement, (sensor.0, source)).await?;
            let row = answer.into_rows_result()?.maybe_first_row::<(Option<Vec<u8>>,)>()?;
            Ok(row.and_then(|(state,)| state))
        };
        read()
            .await
            .map_err(|cause| self.error("read a state of", "sensor_state", cause))
    }

    /// A request for each day, all at once.
    async fn load_windows(&self, load: &Load, source: &str) -> Result<Vec<Option<Aggregate>>, StoreError> {
        let mut of_days: BTreeMap<Day, Vec<&WindowKey>> = BTreeMap::new();
        for key in &load.windows {
            of_days.entry(key.day()).or_default().push(key);
        }
        let requests = of_days
            .iter()
            .flat_map(|(day, keys)| keys.chunks(MAX_CELLS).map(|keys| (*day, keys)))
            .map(|(day, keys)| self.load_windows_of_day(load.sensor, day, keys, source));
        let answers = futures::future::try_join_all(requests)
            .await
            .map_err(|cause| self.error("read windows of", TABLE, cause))?;
        let found: HashMap<WindowKey, Aggregate> = answers.into_iter().flatten().collect();
        Ok(load.windows.iter().map(|key| found.get(key).copied()).collect())
    }

    async fn load_windows_of_day(
        &self,
        sensor: SensorId,
        day: Day,
        keys: &[&WindowKey],
        source: &str,
    ) -> Result<Vec<(WindowKey, Aggregate)>, Cause> {
        let cells: Vec<_> = keys
            .iter()
            .map(|key| (key.kind.as_str(), cql_size(key.size_s), cql_time(key.start), source))
            .collect();
        let values = (sensor.0, cql_date(day), cells);
        let answer = self
            .session
            .execute_unpaged(&self.statements.select_cells, values)
            .await?
            .into_rows_result()?;
        let mut kinds = Kinds::default();
        let mut windows = Vec::with_capacity(answer.rows_num());
        for row in answer.rows::<Row>()? {
            let (kind, size_s, start, _, aggregate) = row?;
            windows.push((key_of(kinds.get(&kind), size_s, start), aggregate.into()));
        }
        Ok(windows)
    }

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
