//! The store in Apache Cassandra. Nobody outside `store` comes in here.
//!
//! What makes every write safe to repeat, to delay and to reorder is its write timestamp, which never comes from a clock
//! of ours: a reading carries its record's Kafka timestamp, a field of the directory the event time (or day) that it
//! speaks of, the ledger the offset, windows, state and alerts the offset of the last record that is in them + 1. Cassandra
//! keeps the cell with the larger one, so all orders end in the same row. Nothing is ever deleted and no null written: a
//! tombstone bears the server's time of day, which is larger than every offset.

mod alerts;
mod connect;
mod directory;
mod error;
mod groups;
mod ledger;
mod loads;
pub(super) mod preflight;
mod readings;
mod runs;
pub(super) mod schema;
mod sensor_write;
mod shape;
mod shared_write;
mod statements;
mod windows;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDate, CqlTimestamp};
use uuid::Uuid;

use self::error::Cause;
use self::statements::Statements;
use super::{ActiveAlerts, Store, StoreError, StoreSettings};
use crate::model::{
    Alert, AlertId, AlertWrite, AlertsQuery, Day, LedgerEntry, Load, Loaded, ReadingsQuery, SensorId, SensorRow,
    SensorWrite, Source, StoredReading, StoredWindow, TimeMs, WindowsQuery,
};

/// A connected session with everything prepared.
pub struct CassandraStore {
    session: Session,
    statements: Statements,
    keyspace: String,
    /// For errors: `cassandra host:port,…`.
    place: String,
    /// Every node has all rows, so it does not matter to which one a request goes.
    is_everywhere: bool,
    /// Batches of several sensors' rows.
    shapes: shared_write::Shapes,
    /// Of reads that see every finished compare-and-set.
    serial: scylla::statement::SerialConsistency,
}

impl CassandraStore {
    /// Connects, compares the tables with what this program needs, and prepares the statements.
    pub(super) async fn open(
        settings: &StoreSettings,
        hosts: &[String],
        keyspace: &str,
    ) -> Result<CassandraStore, StoreError> {
        let session = connect::connect(settings, hosts, keyspace, settings.request_timeout).await?;
        let place = connect::place(hosts);
        shape::check(&session, keyspace, &place).await?;
        let statements = Statements::prepare(&session, keyspace, connect::readings_consistency(settings))
            .await
            .map_err(|error| Cause::from(error).into_error(&place, format!("prepare statements in {keyspace}")))?;
        Ok(CassandraStore {
            is_everywhere: shared_write::is_everywhere(&session, keyspace),
            shapes: shared_write::Shapes::default(),
            session,
            statements,
            keyspace: keyspace.to_owned(),
            place,
            serial: connect::serial_consistency(settings.consistency),
        })
    }

    /// Release of the node that answers.
    pub(super) async fn release(&self) -> Result<String, StoreError> {
        let asked = async {
            let text = "SELECT release_version FROM system.local";
            let answer = self.session.query_unpaged(text, ()).await?.into_rows_result()?;
            let (release,) = answer.first_row::<(String,)>()?;
            Ok::<_, Cause>(release)
        };
        let failed = |cause: Cause| cause.into_error(&self.place, "read the release in system.local");
        asked.await.map_err(failed)
    }

    /// The rows that a statement answers, page by page.
    async fn rows<R>(
        &self,
        statement: PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<BoxStream<'static, Result<R, Cause>>, Cause>
    where
        R: Send + 'static + for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let pager = self.session.execute_iter(statement, values).await?;
        Ok(pager.rows_stream::<R>()?.map_err(Cause::from).boxed())
    }

    /// Turns a failed request on a table into the caller's error.
    fn error(&self, attempted: &str, table: &str, cause: impl Into<Cause>) -> StoreError {
        cause
            .into()
            .into_error(&self.place, format!("{attempted} {}.{table}", self.keyspace))
    }
}

impl Store for CassandraStore {
    async fn write(&self, write: &SensorWrite) -> Result<(), StoreError> {
        self.write_sensor(write).await
    }

    async fn write_all(&self, writes: &[SensorWrite]) -> Result<(), StoreError> {
        self.write_sensors(writes).await
    }

    async fn load_all(&self, loads: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        self.load_cells(loads).await
    }

    async fn write_alerts(&self, write: &AlertWrite) -> Result<(), StoreError> {
        self.write_changes(write).await
    }

    async fn load_ledger(&self, sources: &[Source]) -> Result<Vec<Option<LedgerEntry>>, StoreError> {
        futures::future::try_join_all(sources.iter().map(|source| self.load_source(source))).await
    }

    async fn open_ledger(&self, entry: &LedgerEntry) -> Result<LedgerEntry, StoreError> {
        self.open_source(entry).await
    }

    async fn advance_ledger(&self, acked_to: &[(Source, i64)]) -> Result<(), StoreError> {
        let raises = acked_to
            .iter()
            .map(|(source, offset)| self.advance_source(source, *offset));
        futures::future::try_join_all(raises).await.map(|_| ())
    }

    async fn record_hole(&self, source: &Source, hole: &str) -> Result<(), StoreError> {
        self.insert_hole(source, hole).await
    }

    async fn sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        self.load_sensor(sensor).await
    }

    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>> {
        self.stream_sensors()
    }

    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        self.stream_readings(query)
    }

    fn windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>> {
        self.stream_windows(query)
    }

    fn alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>> {
        self.stream_alerts(query)
    }

    async fn alert(&self, sensor: SensorId, raised_at: TimeMs, id: AlertId) -> Result<Option<Alert>, StoreError> {
        self.load_alert(sensor, raised_at, id).await
    }

    fn active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>> {
        self.stream_active_alerts()
    }

    async fn save_run(&self, run: Uuid, manifest: &str) -> Result<(), StoreError> {
        self.insert_run(run, manifest).await
    }

    async fn load_run(&self, run: Uuid) -> Result<Option<String>, StoreError> {
        self.select_run(run).await
    }
}

/// A day as CQL's `date`: days since the epoch, which lies in the middle of the range.
fn cql_date(day: Day) -> CqlDate {
    CqlDate(day.0.cast_unsigned() ^ (1 << 31))
}

fn day_of(date: CqlDate) -> Day {
    Day((date.0 ^ (1 << 31)).cast_signed())
}

fn cql_time(time: TimeMs) -> CqlTimestamp {
    CqlTimestamp(time.0)
}

/// Seconds as CQL's `int`, which has a sign. Sizes divide a day, so none is lost.
fn cql_size(size_s: u32) -> i32 {
    size_s.cast_signed()
}

/// The write timestamp of what contains the records up to an offset: larger than 0, which means nothing was written.
fn after_offset(last_offset: i64) -> i64 {
    last_offset.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_map_to_cql_dates_and_back() {
        assert_eq!(cql_date(Day(0)), CqlDate(1 << 31));
        assert_eq!(cql_date(Day(-1)), CqlDate((1 << 31) - 1));
        for day in [Day(i32::MIN), Day(-1), Day(0), Day(20_000), Day(i32::MAX)] {
            assert_eq!(day_of(cql_date(day)), day);
        }
    }
}
