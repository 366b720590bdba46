//! The store that the settings name: the only one the rest of the program sees.

use futures::stream::BoxStream;
use uuid::Uuid;

use super::cassandra::CassandraStore;
use super::sqlite::{self, SqliteStore};
use super::{ActiveAlerts, Store, StoreError, StoreSettings, StoreUrl};
use crate::model::{
    Alert, AlertId, AlertWrite, AlertsQuery, LedgerEntry, Load, Loaded, ReadingsQuery, SensorId, SensorRow,
    SensorWrite, Source, StoredReading, StoredWindow, TimeMs, WindowsQuery,
};

/// One of the stores. Not generic: the choice is made once, when the program starts.
pub enum AnyStore {
    Cassandra(Box<CassandraStore>),
    Sqlite(SqliteStore),
}

impl AnyStore {
    /// Connects and checks that the tables are as needed; says to run init-schema where they are missing.
    /// Gives up after the settings' connect timeout.
    pub async fn open(settings: &StoreSettings) -> Result<AnyStore, StoreError> {
        match &settings.url {
            StoreUrl::Cassandra { hosts, keyspace } => {
                let store = CassandraStore::open(settings, hosts, keyspace).await?;
                Ok(AnyStore::Cassandra(Box::new(store)))
            }
            StoreUrl::Sqlite { path } => Ok(AnyStore::Sqlite(SqliteStore::open(settings, path).await?)),
        }
    }
}

impl AnyStore {
    /// Release of the node that answers, or of the SQLite that is built in.
    pub async fn release(&self) -> Result<String, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.release().await,
            AnyStore::Sqlite(_) => Ok(sqlite::release().to_owned()),
        }
    }
}

impl Store for AnyStore {
    async fn write(&self, write: &SensorWrite) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.write(write).await,
            AnyStore::Sqlite(store) => store.write(write).await,
        }
    }

    async fn write_all(&self, writes: &[SensorWrite]) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.write_all(writes).await,
            AnyStore::Sqlite(store) => store.write_all(writes).await,
        }
    }

    async fn load_all(&self, loads: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.load_all(loads).await,
            AnyStore::Sqlite(store) => store.load_all(loads).await,
        }
    }

    async fn write_alerts(&self, write: &AlertWrite) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.write_alerts(write).await,
            AnyStore::Sqlite(store) => store.write_alerts(write).await,
        }
    }

    async fn load_ledger(&self, sources: &[Source]) -> Result<Vec<Option<LedgerEntry>>, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.load_ledger(sources).await,
            AnyStore::Sqlite(store) => store.load_ledger(sources).await,
        }
    }

    async fn open_ledger(&self, entry: &LedgerEntry) -> Result<LedgerEntry, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.open_ledger(entry).await,
            AnyStore::Sqlite(store) => store.open_ledger(entry).await,
        }
    }

    async fn advance_ledger(&self, acked_to: &[(Source, i64)]) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.advance_ledger(acked_to).await,
            AnyStore::Sqlite(store) => store.advance_ledger(acked_to).await,
        }
    }

    async fn record_hole(&self, source: &Source, hole: &str) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.record_hole(source, hole).await,
            AnyStore::Sqlite(store) => store.record_hole(source, hole).await,
        }
    }

    async fn sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.sensor(sensor).await,
            AnyStore::Sqlite(store) => store.sensor(sensor).await,
        }
    }

    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>> {
        match self {
            AnyStore::Cassandra(store) => store.sensors(),
            AnyStore::Sqlite(store) => store.sensors(),
        }
    }

    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        match self {
            AnyStore::Cassandra(store) => store.readings(query),
            AnyStore::Sqlite(store) => store.readings(query),
        }
    }

    fn windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>> {
        match self {
            AnyStore::Cassandra(store) => store.windows(query),
            AnyStore::Sqlite(store) => store.windows(query),
        }
    }

    fn alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>> {
        match self {
            AnyStore::Cassandra(store) => store.alerts(query),
            AnyStore::Sqlite(store) => store.alerts(query),
        }
    }

    async fn alert(&self, sensor: SensorId, raised_at: TimeMs, id: AlertId) -> Result<Option<Alert>, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.alert(sensor, raised_at, id).await,
            AnyStore::Sqlite(store) => store.alert(sensor, raised_at, id).await,
        }
    }

    fn active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>> {
        match self {
            AnyStore::Cassandra(store) => store.active_alerts(),
            AnyStore::Sqlite(store) => store.active_alerts(),
        }
    }

    async fn save_run(&self, run: Uuid, manifest: &str) -> Result<(), StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.save_run(run, manifest).await,
            AnyStore::Sqlite(store) => store.save_run(run, manifest).await,
        }
    }

    async fn load_run(&self, run: Uuid) -> Result<Option<String>, StoreError> {
        match self {
            AnyStore::Cassandra(store) => store.load_run(run).await,
            AnyStore::Sqlite(store) => store.load_run(run).await,
        }
    }
}
