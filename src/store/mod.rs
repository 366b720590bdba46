//! The store behind one interface: Cassandra and SQLite. The only room that knows their drivers.

use std::collections::BTreeMap;
use std::future::Future;

use futures::stream::BoxStream;
use uuid::Uuid;

use crate::model::{
    Alert, AlertId, AlertWrite, AlertsQuery, Finding, LedgerEntry, Load, Loaded, ReadingsQuery, SensorId, SensorRow,
    SensorWrite, Source, StoredReading, StoredWindow, TimeMs, WindowsQuery,
};

mod any;
mod cassandra;
pub mod error;
mod kinds;
mod processing_text;
pub mod schema;
pub mod settings;
mod sqlite;
pub mod url;

pub use any::AnyStore;
pub use error::StoreError;
pub use settings::{Compaction, Consistency, ReadingsConsistency, Replication, SchemaSettings, StoreSettings};
pub use url::StoreUrl;

/// Looks at a store before one relies on it, and changes nothing.
pub async fn preflight(settings: &StoreSettings, schema: &SchemaSettings) -> Vec<Finding> {
    match &settings.url {
        StoreUrl::Cassandra { hosts, keyspace } => {
            cassandra::preflight::preflight(settings, schema, hosts, keyspace).await
        }
        StoreUrl::Sqlite { path } => sqlite::preflight::preflight(settings, path).await,
    }
}

/// A sensor's active alerts with the time they were raised at.
pub type ActiveAlerts = (SensorId, BTreeMap<AlertId, TimeMs>);

/// What the pipeline and the questions need of a store: few methods, a batch each. Every write is idempotent and may be
/// applied late, twice or in any order; what it is acknowledged for is durable and seen by later reads.
///
/// A method that failed may have been applied: the caller calls it again with the same arguments.
pub trait Store: Send + Sync + 'static {
    /// Stores all rows, windows and the state of the write and merges its sighting into the directory; any of them may be
    /// absent. A row replaces the stored one by [`crate::model::newer_cell`]. A window or a state replaces the stored one of
    /// its source where its `last_offset` is larger, whatever order writes arrive in; with the same `last_offset` it is
    /// the same. The parts of one write become visible independently of each other.
    fn write(&self, write: &SensorWrite) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`Store::write`] for each of them, in as few requests as the store can; acknowledged when all of them are.
    fn write_all(&self, writes: &[SensorWrite]) -> impl Future<Output = Result<(), StoreError>> + Send {
        async {
            let done = futures::future::join_all(writes.iter().map(|write| self.write(write))).await;
            done.into_iter().collect()
        }
    }

    /// An answer for each load, in no order: the state and the windows that are asked for, as the acknowledged write with the largest
    /// `last_offset` left them, or as one that is not acknowledged yet did. Once answered, no later answer is older. `None` for what
    /// was never written. In as few requests as the store can.
    fn load_all(&self, loads: &[Load]) -> impl Future<Output = Result<Vec<Loaded>, StoreError>> + Send;

    /// Stores each alert as it stands after its last change, and which ones are active. An alert's row and the set of active
    /// ones each replace the stored one where their offset is larger, whatever order writes arrive in.
    fn write_alerts(&self, write: &AlertWrite) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The ledger's rows, in the order of `sources`; `None` for a source that was never folded.
    fn load_ledger(
        &self,
        sources: &[Source],
    ) -> impl Future<Output = Result<Vec<Option<LedgerEntry>>, StoreError>> + Send;

    /// Enters a source unless it is there already, and answers the row that holds now: of two that race, both see the
    /// one that won.
    fn open_ledger(&self, entry: &LedgerEntry) -> impl Future<Output = Result<LedgerEntry, StoreError>> + Send;

    /// Raises `acked_to` of sources that were entered before; a smaller value changes nothing.
    fn advance_ledger(&self, acked_to: &[(Source, i64)]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps in words that records of a source were never processed; the same words once.
    fn record_hole(&self, source: &Source, hole: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// One sensor of the directory; `None` where it was never seen. Alerts alone, which are written before a sensor's first
    /// sighting, make no sensor.
    fn sensor(&self, sensor: SensorId) -> impl Future<Output = Result<Option<SensorRow>, StoreError>> + Send;

    /// The whole directory, in no order, page by page.
    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>>;

    /// Readings by event time, then by kind (ascending within one time, whatever the order of times), page by page.
    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>>;

    /// Windows day by day, oldest first; within a day by kind, then by start ascending, then by source.
    fn windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>>;

    /// Alerts, the newest raised first; those raised at one time by id. A day's alerts are held in memory.
    fn alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>>;

    /// One alert; its sensor and the time it was raised at say where it lies.
    fn alert(
        &self,
        sensor: SensorId,
        raised_at: TimeMs,
        id: AlertId,
    ) -> impl Future<Output = Result<Option<Alert>, StoreError>> + Send;

    /// The active alerts of every sensor that has any, those of all its sources together, with the time they were raised
    /// at; sensors in no order.
    fn active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>>;

    /// Keeps the manifest of a produced run, whatever it says; the same run's again replaces it.
    fn save_run(&self, run: Uuid, manifest: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A run's manifest as it was saved; `None` where none was.
    fn load_run(&self, run: Uuid) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
}
