//! Writes of several sensors in one request: in a fleet of many sensors with a reading now and then each write is small, and a
//! request costs server and client more than what it carries.
//!
//! Such a request is an unlogged batch over several partitions. To the server it is a mutation a partition, which it applies one by
//! one and all of which it waits for. So it is acknowledged when each of its writes would have been, and where it is not,
//! any of them may have been applied, as with requests of their own. Only where every node has all rows: elsewhere
//! the node that is asked would have to pass most of them on.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use scylla::client::session::Session;
use scylla::cluster::metadata::Strategy;
use scylla::statement::batch::Batch;

use super::sensor_write::{Partition, Row, RowValues, only_day};
use super::statements::unlogged;
use super::{CassandraStore, cql_date};
use crate::model::{Day, SensorWrite, StateCell};
use crate::store::StoreError;

/// Partitions of one request: the server warns of more than ten.
pub(super) const PARTITIONS_MAX: usize = 10;
/// Bytes of one request, as estimated here: the server logs a warning for each of more than 5 KiB.
const BYTES_MAX: usize = 4_800;
/// What a row takes at most as the server counts, beside a state's bytes and the topic's name.
const READING_BYTES: usize = 100;
const WINDOW_BYTES: usize = 250;
const STATE_BYTES: usize = 120;
/// Kinds of batches that are kept ready.
const SHAPES_MAX: usize = 512;

/// Whether each node of the cluster has a replica of everything in the keyspace.
pub(super) fn is_everywhere(session: &Session, keyspace: &str) -> bool {
    let cluster = session.get_cluster_state();
    let Some(keyspace) = cluster.get_keyspace(keyspace) else {
        return false;
    };
    let replicas = match &keyspace.strategy {
        Strategy::SimpleStrategy { replication_factor } => *replication_factor,
        Strategy::NetworkTopologyStrategy { datacenter_repfactors } => datacenter_repfactors.values().sum(),
        _ => 0,
    };
    cluster.get_nodes_info().len() <= replicas
}

/// How many rows of each kind a batch has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Shape {
    readings: usize,
    windows: usize,
    states: usize,
}

/// Batches by shape, kept ready: building one costs more than filling it.
pub(super) type Shapes = std::sync::Mutex<HashMap<Shape, Arc<Batch>>>;

/// A write whose rows are of one day, and what it adds to a request.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    write: &'a SensorWrite,
    day: Day,
    partitions: usize,
    bytes: usize,
}

impl<'a> Candidate<'a> {
    /// `None` where the write has to be a request, or several, of its own.
    fn new(write: &'a SensorWrite) -> Option<Candidate<'a>> {
        let has_rows = !(write.rows.is_empty() && write.windows.is_empty());
        // A state alone lies in no day.
        let day = if has_rows { only_day(write)? } else { Day(0) };
        let topic_bytes = write.source.topic.len();
        let of_state = |state: &StateCell| STATE_BYTES + topic_bytes + state.bytes.len();
        let state_bytes = write.state.as_ref().map_or(0, of_state);
        let candidate = Candidate {
            write,
            day,
            partitions: usize::from(has_rows) + usize::from(write.state.is_some()),
            bytes: write.rows.len() * READING_BYTES + write.windows.len() * (WINDOW_BYTES + topic_bytes) + state_bytes,
        };
        (candidate.bytes <= BYTES_MAX && candidate.partitions > 0).then_some(candidate)
    }
}

/// Parts that follow each other, as many to a request as fit; `takes` says how many partitions and bytes one adds. What is too
/// large is a request of its own.
pub(super) fn requests_of<T>(parts: &[T], takes: impl Fn(&T) -> (usize, usize)) -> Vec<&[T]> {
    let mut requests = Vec::new();
    let (mut partitions, mut bytes, mut from) = (0, 0, 0);
    for (index, part) in parts.iter().enumerate() {
        let (more_partitions, more_bytes) = takes(part);
        if index > from && (partitions + more_partitions > PARTITIONS_MAX || bytes + more_bytes > BYTES_MAX) {
            requests.push(&parts[from..index]);
            (partitions, bytes, from) = (0, 0, index);
        }
        partitions += more_partitions;
        bytes += more_bytes;
    }
    if from < parts.len() {
        requests.push(&parts[from..]);
    }
    requests
}

impl CassandraStore {
    /// Writes of several sensors, together where they are small; what the directory learns of those is sent at the same time. All are
    /// waited for.
    pub(super) async fn write_sensors(&self, writes: &[SensorWrite]) -> Result<(), StoreError> {
        let mut alone = Vec::new();
        let mut together: Vec<Candidate<'_>> = Vec::new();
        for write in writes {
            match Candidate::new(write).filter(|_| self.may_share_requests()) {
                Some(candidate) => together.push(candidate),
                None => alone.push(self.write_sensor(write)),
            }
        }
        let requests = requests_of(&together, |candidate| (candidate.partitions, candidate.bytes))
            .into_iter()
            .map(|candidates| self.send_together(candidates));
        let (alone, requests) = (futures::future::join_all(alone), futures::future::join_all(requests));
        let sightings = together
            .iter()
            .filter_map(|it| Some((it.write.sensor, it.write.sighting.as_deref()?)));
        let sightings = self.merge_sightings(sightings);
        let (alone, requests, sightings) = futures::future::join3(alone, requests, sightings).await;
        alone.into_iter().chain(requests).chain([sightings]).collect()
    }

    fn may_share_requests(&self) -> bool {
        // A batch has one consistency.
        self.is_everywhere && !self.statements.keep_readings_apart()
    }

    /// Sends rows and states of these as one request.
    async fn send_together(&self, candidates: &[Candidate<'_>]) -> Result<(), StoreError> {
        if let [only] = candidates {
            return self.write_cells(only.write).await;
        }
        let sources: Vec<String> = candidates.iter().map(|it| it.write.source.to_string()).collect();
        let partitions = candidates.iter().zip(&sources).map(|(candidate, source)| Partition {
            sensor: candidate.write.sensor.0,
            day: cql_date(candidate.day),
            source,
        });
        let of = || {
            partitions
                .clone()
                .zip(candidates.iter().map(|candidate| candidate.write))
        };
        let readings =
            of().flat_map(|(partition, write)| write.rows.iter().map(move |row| (partition, Row::Reading(row))));
        let windows =
            of().flat_map(|(partition, write)| write.windows.iter().map(move |cell| (partition, Row::Window(cell))));
        let states =
            of().flat_map(|(partition, write)| write.state.iter().map(move |state| (partition, Row::State(state))));
        let values: Vec<RowValues<'_>> = readings
            .chain(windows)
            .chain(states)
            .map(|(partition, row)| RowValues { partition, row })
            .collect();
        let batch = self.batch(Shape {
            readings: candidates.iter().map(|it| it.write.rows.len()).sum(),
            windows: candidates.iter().map(|it| it.write.windows.len()).sum(),
            states: candidates.iter().filter(|it| it.write.state.is_some()).count(),
        });
        self.session.batch(&batch, &values).await.map(|_| ()).map_err(|error| {
            let attempted = format!("write readings, windows and states of {} sensors to", candidates.len());
            self.error(&attempted, "sensor_readings", error)
        })
    }

    fn batch(&self, shape: Shape) -> Arc<Batch> {
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = shapes.get(&shape) {
            return batch.clone();
        }
        let statements = &self.statements;
        let readings = std::iter::repeat_n(&statements.insert_reading, shape.readings);
        let windows = std::iter::repeat_n(&statements.insert_window, shape.windows);
        let states = std::iter::repeat_n(&statements.insert_state, shape.states);
        let batch = Arc::new(unlogged(readings.chain(windows).chain(states)));
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        shapes.insert(shape, batch.clone());
        batch
    }
}
