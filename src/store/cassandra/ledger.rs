//! The ledger of sources. A row is entered by compare-and-set, so of two consumers that enter one both see the same row;
//! how far it is acknowledged is a cell of its own whose write timestamp is the offset, so it never goes back.

use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;

use super::CassandraStore;
use super::error::Cause;
use crate::model::{LedgerEntry, Source};
use crate::store::StoreError;
use crate::store::processing_text;

const TABLE: &str = "sources";

/// `from_offset`, `acked_to`, `processing`.
type Row = (Option<i64>, Option<i64>, Option<String>);

impl CassandraStore {
    pub(super) async fn load_source(&self, source: &Source) -> Result<Option<LedgerEntry>, StoreError> {
        let answer = self
            .session
            .execute_unpaged(&self.statements.select_source, (source.to_string(),))
            .await;
        self.entry(source, answer)
    }

    pub(super) async fn open_source(&self, entry: &LedgerEntry) -> Result<LedgerEntry, StoreError> {
        let source = &entry.source;
        let processing = processing_text::encode(&entry.processing)?;
        let key = source.to_string();
        let values = (
            &key,
            source.topic.as_ref(),
            source.topic_id.0,
            source.partition,
            entry.from,
            &processing,
        );
        let insert = async || -> Result<bool, Cause> {
            let answer = self
                .session
                .execute_unpaged(&self.statements.insert_source, values)
                .await?;
            // A refused insert answers with the row as well, an accepted one without: only the first column is always there.
            let rows = answer.into_rows_result()?;
            let first = rows.maybe_first_row::<scylla::value::Row>()?;
            let applied = first.and_then(|row| row.columns.into_iter().next().flatten());
            Ok(applied.and_then(|value| value.as_boolean()).unwrap_or(false))
        };
        let is_entered = insert()
            .await
            .map_err(|cause| self.error(&format!("enter {source} in"), TABLE, cause))?;
        // The insert's own cells bear the time of day as write timestamp, which no offset would ever beat: so `acked_to` is
        // never among them. Where it is missing nothing is acknowledged beyond `from`.
        if is_entered && entry.acked_to > entry.from {
            self.advance_source(source, entry.acked_to).await?;
        }
        // Serial: sees the row that won even where its commit is still on the way to a majority.
        let mut select = self.statements.select_source.clone();
        select.set_consistency(match self.serial {
            scylla::statement::SerialConsistency::Serial => scylla::statement::Consistency::Serial,
            scylla::statement::SerialConsistency::LocalSerial => scylla::statement::Consistency::LocalSerial,
        });
        let answer = self.session.execute_unpaged(&select, (&key,)).await;
        self.entry(source, answer)?.ok_or_else(|| {
            let cause = Cause::permanent("the row that was just entered is gone; is somebody deleting it?");
            self.error(&format!("enter {source} in"), TABLE, cause)
        })
    }

    pub(super) async fn advance_source(&self, source: &Source, acked_to: i64) -> Result<(), StoreError> {
        let values = (acked_to.saturating_add(1), acked_to, source.to_string());
        match self
            .session
            .execute_unpaged(&self.statements.set_acked_to, values)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&format!("advance {source} in"), TABLE, error)),
        }
    }

    pub(super) async fn insert_hole(&self, source: &Source, hole: &str) -> Result<(), StoreError> {
        let values = (source.to_string(), hole);
        match self.session.execute_unpaged(&self.statements.insert_hole, values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&format!("record a hole of {source} in"), "source_holes", error)),
        }
    }

    fn entry(
        &self,
        source: &Source,
        answer: Result<QueryResult, ExecutionError>,
    ) -> Result<Option<LedgerEntry>, StoreError> {
        let row = || -> Result<Option<Row>, Cause> { Ok(answer?.into_rows_result()?.maybe_first_row::<Row>()?) };
        let row = row().map_err(|cause| self.error(&format!("read {source} of"), TABLE, cause))?;
        let Some((from, acked_to, processing)) = row else {
            return Ok(None);
        };
        let (Some(from), Some(processing)) = (from, processing) else {
            let cause = Cause::permanent("the row has no from_offset or no processing; delete it or restore it");
            return Err(self.error(&format!("read {source} of"), TABLE, cause));
        };
        let processing = processing_text::decode(&processing)
            .map_err(|why| self.error(&format!("read {source} of"), TABLE, Cause::permanent(why)))?;
        let acked_to = acked_to.map_or(from, |acked_to| acked_to.max(from));
        Ok(Some(LedgerEntry {
            source: source.clone(),
            from,
            acked_to,
            processing,
        }))
    }
}
