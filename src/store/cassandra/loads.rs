//! Windows and sensor state on their way back to the consumer that goes on with them.
//!
//! In a fleet that does not fit into memory nearly each record asks for a state, and then for a window or two. Loads of one source that want
//! as little share a request, which costs server and client more than what it brings. To the server it is a read a partition, each at the read's
//! consistency and with its own read repair. Only where every node has all rows, as with writes.

use std::collections::{BTreeMap, HashMap};

use futures::future;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::error::Cause;
use super::shared_write::PARTITIONS_MAX;
use super::windows::{AggregateValue, TABLE, key_of};
use super::{CassandraStore, cql_date, cql_size, cql_time};
use crate::model::{Aggregate, Day, Load, Loaded, Source, WindowKey};
use crate::store::StoreError;
use crate::store::kinds::Kinds;

/// Windows asked for by one request: a day of minutes is fifteen requests, and none is large.
const MAX_CELLS: usize = 100;
/// A sensor that asks for more windows asks alone: each window of a shared request is looked for in each of its sensors. Most are the same,
/// since what is polled together is of the same minutes.
const FEW_CELLS: usize = 8;

/// `sensor_id`, `type`, `size_s`, `window_start`, `agg`.
type WindowRow = (Uuid, String, i32, CqlTimestamp, AggregateValue);

type States = HashMap<Uuid, Vec<u8>>;
type Windows = HashMap<(Uuid, WindowKey), Aggregate>;

/// What loads that share a request have in common: the source, and the day of their windows where they want any.
type Common<'a> = (&'a Source, Option<Day>);

/// What several loads may share a request by; `None` where this one is too large, or wants both windows and a state.
fn shared_by(load: &Load) -> Option<Common<'_>> {
    let source = &*load.source;
    match &load.windows[..] {
        [] => Some((source, None)),
        [first, others @ ..] => {
            let is_alike = others.iter().all(|key| key.day() == first.day());
            (is_alike && !load.state && load.windows.len() <= FEW_CELLS).then(|| (source, Some(first.day())))
        }
    }
}

/// Of all that was found what this load asked for.
fn answer(load: &Load, states: &States, windows: &Windows) -> Loaded {
    let sensor = load.sensor.0;
    let window = |key: &WindowKey| windows.get(&(sensor, key.clone())).copied();
    Loaded {
        id: load.id,
        state: states.get(&sensor).filter(|_| load.state).cloned(),
        windows: load.windows.iter().map(window).collect(),
    }
}

impl CassandraStore {
    /// Each is waited for, also where another has failed: it is asked again only once it is no longer under way.
    pub(super) async fn load_cells(&self, loads: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        let mut alone = Vec::new();
        let mut together: BTreeMap<Common<'_>, Vec<&Load>> = BTreeMap::new();
        for load in loads {
            match shared_by(load).filter(|_| self.is_everywhere) {
                Some(common) => together.entry(common).or_default().push(load),
                None => alone.push(self.load_alone(load)),
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

    /// The state and a request for each day, all at once.
    async fn load_alone(&self, load: &Load) -> Result<Loaded, StoreError> {
        let (sensor, source) = (load.sensor.0, &load.source.to_string()[..]);
        let state = async {
            match load.state {
                true => self.find_states(&self.statements.select_state, (sensor, source)).await,
                false => Ok(States::new()),
            }
        };
        let mut of_days: BTreeMap<Day, Vec<&WindowKey>> = BTreeMap::new();
        for key in &load.windows {
            of_days.entry(key.day()).or_default().push(key);
        }
        let windows = of_days
            .iter()
            .flat_map(|(day, keys)| keys.chunks(MAX_CELLS).map(|keys| (*day, keys)))
            .map(|(day, keys)| {
                let values = (sensor, cql_date(day), cells_of(keys, source));
                self.find_windows(&self.statements.select_cells, values)
            });
        let (states, windows) = future::try_join(state, future::try_join_all(windows)).await?;
        Ok(answer(load, &states, &windows.into_iter().flatten().collect()))
    }

    /// Each sensor is asked for the windows of all: sensors that send at the same time want nearly the same ones.
    async fn load_together(&self, (source, day): Common<'_>, loads: &[&Load]) -> Result<Vec<Loaded>, StoreError> {
        if let [load] = loads {
            return Ok(vec![self.load_alone(load).await?]);
        }
        let sensors: Vec<Uuid> = loads.iter().map(|load| load.sensor.0).collect();
        let source = &source.to_string()[..];
        let (states, windows) = match day {
            None => {
                let states = self.find_states(&self.statements.select_states, (sensors, source));
                (states.await?, Windows::new())
            }
            Some(day) => {
                let mut keys: Vec<&WindowKey> = loads.iter().flat_map(|load| &load.windows).collect();
                keys.sort_unstable();
                keys.dedup();
                let values = (sensors, cql_date(day), cells_of(&keys, source));
                let windows = self.find_windows(&self.statements.select_cells_of_sensors, values);
                (States::new(), windows.await?)
            }
        };
        Ok(loads.iter().map(|load| answer(load, &states, &windows)).collect())
    }

    async fn find_states(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<States, StoreError> {
        let read = async || -> Result<States, Cause> {
            let answer = self
                .session
                .execute_unpaged(statement, &values)
                .await?
                .into_rows_result()?;
            let mut states = States::with_capacity(answer.rows_num());
            for row in answer.rows::<(Uuid, Option<Vec<u8>>)>()? {
                let (sensor, state) = row?;
                states.extend(state.map(|state| (sensor, state)));
            }
            Ok(states)
        };
        read()
            .await
            .map_err(|cause| self.error("read states of", "sensor_state", cause))
    }

    async fn find_windows(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Windows, StoreError> {
        let read = async || -> Result<Windows, Cause> {
            let answer = self
                .session
                .execute_unpaged(statement, &values)
                .await?
                .into_rows_result()?;
            let mut kinds = Kinds::default();
            let mut windows = Windows::with_capacity(answer.rows_num());
            for row in answer.rows::<WindowRow>()? {
                let (sensor, kind, size_s, start, aggregate) = row?;
                windows.insert((sensor, key_of(kinds.get(&kind), size_s, start)), aggregate.into());
            }
            Ok(windows)
        };
        read()
            .await
            .map_err(|cause| self.error("read windows of", TABLE, cause))
    }
}

/// The part of a window's key behind its partition.
fn cells_of<'a>(keys: &'a [&WindowKey], source: &'a str) -> Vec<(&'a str, i32, CqlTimestamp, &'a str)> {
    let cell = |key: &&'a WindowKey| (key.kind.as_str(), cql_size(key.size_s), cql_time(key.start), source);
    keys.iter().map(cell).collect()
}
