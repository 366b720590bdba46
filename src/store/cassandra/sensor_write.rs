//! What a sensor's records leave behind. Readings and windows of one sensor and day share a partition, so they are one
//! mutation, unless readings are to be written at another consistency; the state and what the directory learns lie elsewhere and are sent at the same time.
//!
//! A window's and a state's write timestamp is the offset of the last record that they contain + 1, as a bare number: no
//! time of day may ever come among them, for it would beat every offset.

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::value::CqlDate;
use uuid::Uuid;

use super::statements::MAX_BATCH_ROWS;
use super::windows::AggregateValue;
use super::{CassandraStore, after_offset, cql_date, cql_size, cql_time};
use crate::model::{Day, ReadingRow, SensorWrite, StateCell, WindowCell};
use crate::store::StoreError;

impl CassandraStore {
    pub(super) async fn write_sensor(&self, write: &SensorWrite) -> Result<(), StoreError> {
        let sighting = write.sighting.as_deref().map(|sighting| (write.sensor, sighting));
        let sighting = self.merge_sightings(sighting.into_iter());
        // Neither needs the other to be there first. Both are waited for: what has failed may still be on its way.
        let (cells, sighting) = futures::future::join(self.write_cells(write), sighting).await;
        cells.and(sighting)
    }

    /// All but what the directory learns.
    pub(super) async fn write_cells(&self, write: &SensorWrite) -> Result<(), StoreError> {
        // The source's key, made once: it is in every window's row and the state's.
        let source = if write.windows.is_empty() && write.state.is_none() {
            String::new()
        } else {
            write.source.to_string()
        };
        let rows = self.write_rows(write, &source);
        let state = async {
            match &write.state {
                Some(state) => self.write_state(write, &source, state).await,
                None => Ok(()),
            }
        };
        let (rows, state) = futures::future::join(rows, state).await;
        rows.and(state)
    }

    async fn write_rows(&self, write: &SensorWrite, source: &str) -> Result<(), StoreError> {
        let are_few = write.rows.len() <= MAX_BATCH_ROWS && write.windows.len() <= MAX_BATCH_ROWS;
        if are_few && let Some(day) = only_day(write) {
            let (readings, windows) = (write.rows.iter(), write.windows.iter());
            return self.write_part(write, source, day, readings, windows).await;
        }
        // Over midnight, or late data: a partition each. Together, as a write is one or fifty rows.
        let parts = parts_of(write);
        let writes = parts.iter().map(|part| {
            let (readings, windows) = (part.readings.iter().copied(), part.windows.iter().copied());
            self.write_part(write, source, part.day, readings, windows)
        });
        let done = futures::future::join_all(writes).await;
        done.into_iter().collect()
    }

    /// Writes rows of one partition, at most `MAX_BATCH_ROWS` of each kind: as one request, or as one of readings and one of
    /// windows where these are written at different consistencies. Both are waited for.
    async fn write_part<'a>(
        &self,
        write: &'a SensorWrite,
        source: &'a str,
        day: Day,
        readings: impl ExactSizeIterator<Item = &'a ReadingRow>,
        windows: impl ExactSizeIterator<Item = &'a WindowCell>,
    ) -> Result<(), StoreError> {
        if !self.statements.keep_readings_apart() || readings.len() == 0 || windows.len() == 0 {
            return self.send_part(write, source, day, readings, windows).await;
        }
        let readings = self.send_part(write, source, day, readings, std::iter::empty());
        let windows = self.send_part(write, source, day, std::iter::empty(), windows);
        // In a box: rare, and a write is no larger for it where it is not so.
        let (readings, windows) = Box::pin(futures::future::join(readings, windows)).await;
        readings.and(windows)
    }

    /// Sends rows of one partition as one request.
    async fn send_part<'a>(
        &self,
        write: &'a SensorWrite,
        source: &'a str,
        day: Day,
        readings: impl ExactSizeIterator<Item = &'a ReadingRow>,
        windows: impl ExactSizeIterator<Item = &'a WindowCell>,
    ) -> Result<(), StoreError> {
        let counts = (readings.len(), windows.len());
        let partition = Partition {
            sensor: write.sensor.0,
            day: cql_date(day),
            source,
        };
        let rows = readings.map(Row::Reading).chain(windows.map(Row::Window));
        let mut values = rows.map(|row| RowValues { partition, row });
        let done = match (counts, values.next()) {
            ((1, 0), Some(only)) => {
                self.session
                    .execute_unpaged(&self.statements.insert_reading, &only)
                    .await
            }
            ((0, 1), Some(only)) => {
                self.session
                    .execute_unpaged(&self.statements.insert_window, &only)
                    .await
            }
            (_, first) => {
                let values: Vec<RowValues<'a>> = first.into_iter().chain(values).collect();
                let batch = self.statements.batch_of_rows(counts.0, counts.1);
                self.session.batch(&batch, &values).await
            }
        };
        match (done, counts) {
            (Ok(_), _) => Ok(()),
            (Err(error), (readings, 0)) => {
                let attempted = format!("write {readings} readings to");
                Err(self.error(&attempted, "sensor_readings", error))
            }
            (Err(error), (0, windows)) => {
                let attempted = format!("write {windows} windows to");
                Err(self.error(&attempted, "window_aggregates", error))
            }
            (Err(error), (readings, windows)) => {
                let attempted = format!("write {readings} readings and {windows} windows to");
                Err(self.error(&attempted, "window_aggregates", error))
            }
        }
    }

    async fn write_state(&self, write: &SensorWrite, source: &str, state: &StateCell) -> Result<(), StoreError> {
        let partition = Partition {
            sensor: write.sensor.0,
            day: CqlDate(0),
            source,
        };
        let values = RowValues {
            partition,
            row: Row::State(state),
        };
        match self
            .session
            .execute_unpaged(&self.statements.insert_state, &values)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("write a state to", "sensor_state", error)),
        }
    }
}

/// The day of all readings and windows, where there are any and it is one.
pub(super) fn only_day(write: &SensorWrite) -> Option<Day> {
    let of_readings = write.rows.iter().map(|row| row.time.day());
    let mut days = of_readings.chain(write.windows.iter().map(|cell| cell.key.day()));
    let first = days.next()?;
    days.all(|day| day == first).then_some(first)
}

/// Rows of one partition, no more than one batch takes.
struct Part<'a> {
    day: Day,
    readings: Vec<&'a ReadingRow>,
    windows: Vec<&'a WindowCell>,
}

/// Cuts a write into as few parts as its days and the size of batches allow.
fn parts_of(write: &SensorWrite) -> Vec<Part<'_>> {
    fn room<'p, 'a>(parts: &'p mut Vec<Part<'a>>, day: Day, has_room: impl Fn(&Part<'a>) -> bool) -> &'p mut Part<'a> {
        let place = parts.iter().position(|part| part.day == day && has_room(part));
        let place = place.unwrap_or_else(|| {
            parts.push(Part {
                day,
                readings: Vec::new(),
                windows: Vec::new(),
            });
            parts.len() - 1
        });
        &mut parts[place]
    }
    let mut parts = Vec::new();
    for row in &write.rows {
        let has_room = |part: &Part<'_>| part.readings.len() < MAX_BATCH_ROWS;
        room(&mut parts, row.time.day(), has_room).readings.push(row);
    }
    for cell in &write.windows {
        let has_room = |part: &Part<'_>| part.windows.len() < MAX_BATCH_ROWS;
        room(&mut parts, cell.key.day(), has_room).windows.push(cell);
    }
    parts
}

/// What all rows of a request have in common.
#[derive(Clone, Copy)]
pub(super) struct Partition<'a> {
    pub(super) sensor: Uuid,
    pub(super) day: CqlDate,
    pub(super) source: &'a str,
}

pub(super) enum Row<'a> {
    Reading(&'a ReadingRow),
    Window(&'a WindowCell),
    /// Lies in a partition of the sensor alone, whatever the day.
    State(&'a StateCell),
}

/// Bound values of `insert_reading`, `insert_window` or `insert_state`, in the order of their texts; the last one is the write
/// timestamp.
pub(super) struct RowValues<'a> {
    pub(super) partition: Partition<'a>,
    pub(super) row: Row<'a>,
}

impl SerializeRow for RowValues<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let Partition { sensor, day, source } = self.partition;
        match self.row {
            Row::Reading(row) => (
                sensor,
                day,
                cql_time(row.time),
                row.kind.as_str(),
                row.value,
                row.timestamp.micros(),
            )
                .serialize(context, writer),
            Row::Window(cell) => (
                sensor,
                day,
                cell.key.kind.as_str(),
                cql_size(cell.key.size_s),
                cql_time(cell.key.start),
                source,
                AggregateValue::from(&cell.aggregate),
                after_offset(cell.aggregate.last_offset),
            )
                .serialize(context, writer),
            Row::State(state) => {
                (sensor, source, state.bytes.as_slice(), after_offset(state.last_offset)).serialize(context, writer)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}
