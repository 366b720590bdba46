//! The store in one SQLite file: for the demo, for one machine, for fast tests. Nobody outside `store` comes in here.
//!
//! One thread owns the connection that writes and commits everything that waits as one transaction: a sync of the disk
//! costs the same for one row and for ten thousand. Reads have connections of their own; the write-ahead log lets both go
//! on at once. Readings carry the Kafka timestamp that Cassandra would keep as write timestamp, windows, state and alerts the
//! offset of the last record that is in them, and the same rule decides.

mod alerts;
mod connection;
mod double;
mod error;
pub(super) mod preflight;
mod reader;
pub(super) mod schema;
mod statements;
mod windows;
mod writer;

use std::path::Path;

use futures::stream::BoxStream;
use uuid::Uuid;

use self::reader::Readers;
use self::writer::{Job, Writer};
use super::{ActiveAlerts, Store, StoreError, StoreSettings};
use crate::model::{
    Alert, AlertId, AlertWrite, AlertsQuery, LedgerEntry, Load, Loaded, ReadingsQuery, SensorId, SensorRow,
    SensorWrite, Source, StoredReading, StoredWindow, TimeMs, WindowsQuery,
};

/// SQLite's release.
pub(super) fn release() -> &'static str {
    rusqlite::version()
}

/// A store in a file. Dropping it waits for the transaction in hand and closes the file properly.
pub struct SqliteStore {
    /// Before the writer: the last connection to close is the one that folds the log into the file.
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// Opens a file that `init-schema` made.
    pub(super) async fn open(settings: &StoreSettings, path: &Path) -> Result<SqliteStore, StoreError> {
        let (settings, path) = (settings.clone(), path.to_owned());
        connection::blocking(move || {
            let connection = connection::open_for_writing(&settings, &path)?;
            schema::check(&connection, &path)?;
            Ok(SqliteStore {
                readers: Readers::new(&path, settings.request_timeout),
                writer: Writer::start(connection, &path)?,
            })
        })
        .await
    }
}

impl Store for SqliteStore {
    async fn write(&self, write: &SensorWrite) -> Result<(), StoreError> {
        let write = write.clone();
        self.writer.run(|reply| Job::Write(write, reply)).await
    }

    async fn load_all(&self, loads: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        self.readers.load_all(loads.to_vec()).await
    }

    async fn write_alerts(&self, write: &AlertWrite) -> Result<(), StoreError> {
        let write = write.clone();
        self.writer.run(|reply| Job::WriteAlerts(write, reply)).await
    }

    async fn load_ledger(&self, sources: &[Source]) -> Result<Vec<Option<LedgerEntry>>, StoreError> {
        self.readers.load_ledger(sources.to_vec()).await
    }

    async fn open_ledger(&self, entry: &LedgerEntry) -> Result<LedgerEntry, StoreError> {
        let entry = entry.clone();
        self.writer.run(|reply| Job::OpenLedger(entry, reply)).await
    }

    async fn advance_ledger(&self, acked_to: &[(Source, i64)]) -> Result<(), StoreError> {
        let acked_to = acked_to.to_vec();
        self.writer.run(|reply| Job::AdvanceLedger(acked_to, reply)).await
    }

    async fn record_hole(&self, source: &Source, hole: &str) -> Result<(), StoreError> {
        let (source, hole) = (source.clone(), hole.to_owned());
        self.writer.run(|reply| Job::RecordHole(source, hole, reply)).await
    }

    async fn sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        self.readers.sensor(sensor).await
    }

    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>> {
        self.readers.sensors()
    }

    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        self.readers.readings(query)
    }

    fn windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>> {
        self.readers.windows(query)
    }

    fn alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>> {
        self.readers.alerts(query)
    }

    async fn alert(&self, sensor: SensorId, raised_at: TimeMs, id: AlertId) -> Result<Option<Alert>, StoreError> {
        self.readers.alert(sensor, raised_at, id).await
    }

    fn active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>> {
        self.readers.active_alerts()
    }

    async fn save_run(&self, run: Uuid, manifest: &str) -> Result<(), StoreError> {
        let manifest = manifest.to_owned();
        self.writer.run(|reply| Job::SaveRun(run, manifest, reply)).await
    }

    async fn load_run(&self, run: Uuid) -> Result<Option<String>, StoreError> {
        self.readers.load_run(run).await
    }
}
