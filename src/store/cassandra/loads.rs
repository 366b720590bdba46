//! Windows and sensor state on their way back to the consumer that goes on with them.
//!
//! In a fleet that does not fit into memory nearly each record asks for a state, and then for a window or two. Loads of one source that want
//! as little share a request, which costs server and client more than what it brings. To the server it is a read a partition, each at the read's
//! consistency and with its own read repair. Only where every node has all rows, as with writes.

use std::collections::{BTreeMap, HashMap};

use futures::future;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::error::Cause;
use super::shared_write::PARTITIONS_MAX;
use super::windows::{self, AggregateValue, TABLE, key_of};
use super::{CassandraStore, cql_date, cql_size, cql_time};
use crate::model::{Aggregate, Day, Load, Loaded, SensorId, WindowKey};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

/// Windows asked for by one request: a day of minutes is fifteen requests, and none is large.
const MAX_CELLS: usize = 100;
/// A sensor that asks for more windows asks alone: each window of a shared request is looked for in each of its sensors. Most are the same,
/// since what is polled together is of the same minutes.
const FEW_CELLS: usize = 8;

const STATE_TABLE: &str = "sensor_state";

/// `sensor_id`, `type`, `size_s`, `window_start`, `source`, `agg`.
type Row = (Uuid, String, i32, CqlTimestamp, String, AggregateValue);

/// What loads that share a request have in common: the source, and the day of their windows where they want any.
type Common<'a> = (&'a str, Option<Day>);

/// What several loads may share a request by; `None` where this one is too large, or wants both windows and a state.
fn shared_by(load: &Load) -> Option<Option<Day>> {
    match &load.windows[..] {
        [] => Some(None),
        [first, others @ ..] => {
            let is_alike = others.iter().all(|key| key.day() == first.day());
            (is_alike && !load.state && load.windows.len() <= FEW_CELLS).then(|| Some(first.day()))
        }
    }
}

impl CassandraStore {
    /// All are waited for, so that none is asked again while it is still under way.
    pub(super) async fn load_cells(&self, loads: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        let sources: Vec<String> = loads.iter().map(|load| load.source.to_string()).collect();
        let mut alone = Vec::new();
        let mut together: BTreeMap<Common<'_>, Vec<&Load>> = BTreeMap::new();
        for (load, source) in loads.iter().zip(&sources) {
            match shared_by(load).filter(|_| self.is_everywhere) {
                Some(day) => together.entry((source, day)).or_default().push(load),
                None => alone.push(self.load_alone(load, source)),
            }
        }
        let together = together.iter().flat_map(|(&common, loads)| {
            let requests = loads.chunks(PARTITIONS_MAX);
            requests.map(move |loads| self.load_together(common, loads))
        });
        let (alone, together) = (future::join_all(alone), future::join_all(together));
        let (alone, together) = future::join(alone, together).await;
        let mut answers = alone.into_iter().collect::<Result<Vec<Loaded>, StoreError>>()?;
        for loaded in together {
            answers.extend(loaded?);
        }
        Ok(answers)
    }

    async fn load_alone(&self, load: &Load, source: &str) -> Result<Loaded, StoreError> {
        let state = async {
            match load.state {
                true => self.load_state(load.sensor, source).await,
                false => Ok(None),
            }
        };
        let (state, windows) = future::try_join(state, self.load_windows(load, source)).await?;
        Ok(Loaded {
            id: load.id,
            state,
            windows,
        })
    }

    async fn load_together(&self, (source, day): Common<'_>, loads: &[&Load]) -> Result<Vec<Loaded>, StoreError> {
        if let [load] = loads {
            return Ok(vec![self.load_alone(load, source).await?]);
        }
        let sensors: Vec<Uuid> = loads.iter().map(|load| load.sensor.0).collect();
        match day {
            None => self.load_states(source, &sensors, loads).await,
            Some(day) => self.load_windows_of_sensors(source, day, &sensors, loads).await,
        }
    }

    async fn load_states(&self, source: &str, sensors: &[Uuid], loads: &[&Load]) -> Result<Vec<Loaded>, StoreError> {
        let read = async || -> Result<HashMap<Uuid, Vec<u8>>, Cause> {
            let statement = &self.statements.select_states;
            let answer = self.session.execute_unpaged(statement, (sensors, source)).await?;
            let answer = answer.into_rows_result()?;
            let mut states = HashMap::with_capacity(answer.rows_num());
            for row in answer.rows::<(Uuid, Option<Vec<u8>>)>()? {
                let (sensor, state) = row?;
                states.extend(state.map(|state| (sensor, state)));
            }
            Ok(states)
        };
        let failed = |cause| self.error("read states of sensors in", STATE_TABLE, cause);
        let states = read().await.map_err(failed)?;
        let loaded = loads.iter().map(|load| Loaded {
            id: load.id,
            state: states.get(&load.sensor.0).filter(|_| load.state).cloned(),
            windows: Vec::new(),
        });
        Ok(loaded.collect())
    }

    /// Each sensor is asked for the windows of all: sensors that send at the same time want nearly the same ones.
    async fn load_windows_of_sensors(
        &self,
        source: &str,
        day: Day,
        sensors: &[Uuid],
        loads: &[&Load],
    ) -> Result<Vec<Loaded>, StoreError> {
        let mut keys: Vec<&WindowKey> = loads.iter().flat_map(|load| &load.windows).collect();
        keys.sort_unstable();
        keys.dedup();
        let read = async || -> Result<HashMap<(Uuid, WindowKey), Aggregate>, Cause> {
            let values = (sensors, cql_date(day), cells_of(&keys, source));
            let answer = self
                .session
                .execute_unpaged(&self.statements.select_cells_of_sensors, values)
                .await?
                .into_rows_result()?;
            let mut kinds = Kinds::default();
            let mut windows = HashMap::with_capacity(answer.rows_num());
            for row in answer.rows::<Row>()? {
                let (sensor, kind, size_s, start, _, aggregate) = row?;
                windows.insert((sensor, key_of(kinds.get(&kind), size_s, start)), aggregate.into());
            }
            Ok(windows)
        };
        let failed = |cause| self.error("read windows of sensors in", TABLE, cause);
        let found = read().await.map_err(failed)?;
        let windows_of = |load: &Load| {
            let of_sensor = |key: &WindowKey| found.get(&(load.sensor.0, key.clone())).copied();
            load.windows.iter().map(of_sensor).collect()
        };
        let loaded = loads.iter().map(|load| Loaded {
            id: load.id,
            state: None,
            windows: windows_of(load),
        });
        Ok(loaded.collect())
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
            .map_err(|cause| self.error("read a state of", STATE_TABLE, cause))
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
        let answers = future::try_join_all(requests)
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
        let values = (sensor.0, cql_date(day), cells_of(keys, source));
        let answer = self
            .session
            .execute_unpaged(&self.statements.select_cells, values)
            .await?
            .into_rows_result()?;
        let mut kinds = Kinds::default();
        let mut windows = Vec::with_capacity(answer.rows_num());
        for row in answer.rows::<windows::Row>()? {
            let (kind, size_s, start, _, aggregate) = row?;
            windows.push((key_of(kinds.get(&kind), size_s, start), aggregate.into()));
        }
        Ok(windows)
    }
}

/// The part of a window's key behind its partition.
fn cells_of<'a>(keys: &'a [&WindowKey], source: &'a str) -> Vec<(&'a str, i32, CqlTimestamp, &'a str)> {
    let cell = |key: &&'a WindowKey| (key.kind.as_str(), cql_size(key.size_s), cql_time(key.start), source);
    keys.iter().map(cell).collect()
}
