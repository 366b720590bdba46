//! The store behind one interface: Cassandra and SQLite. The only room that knows their drivers.

use std::future::Future;

use futures::stream::BoxStream;

use crate::model::{LedgerEntry, ReadingsQuery, SensorId, SensorRow, SensorWrite, Source, StoredReading};

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
pub use settings::{Compaction, Consistency, Replication, SchemaSettings, StoreSettings};
pub use url::StoreUrl;

/// What the pipeline and the questions need of a store: few methods, a batch each. Every write is idempotent and may be
/// applied late, twice or in any order; what it is acknowledged for is durable and seen by later reads.
///
/// A method that failed may have been applied: the caller calls it again with the same arguments.
pub trait Store: Send + Sync + 'static {
    /// Stores all rows of the write and merges its sighting into the directory.
    /// A row replaces the stored one by [`crate::model::newer_cell`].
    fn write(&self, write: &SensorWrite) -> impl Future<Output = Result<(), StoreError>> + Send;

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

    /// One sensor of the directory; `None` where it was never seen.
    fn sensor(&self, sensor: SensorId) -> impl Future<Output = Result<Option<SensorRow>, StoreError>> + Send;

    /// The whole directory, in no order, page by page.
    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>>;

    /// Readings by event time, then by kind (ascending within one time, whatever the order of times), page by page.
    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>>;
}
