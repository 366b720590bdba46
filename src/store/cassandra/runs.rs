//! Manifests of produced runs.

use uuid::Uuid;

use super::CassandraStore;
use super::error::Cause;
use crate::store::StoreError;

const TABLE: &str = "runs";

impl CassandraStore {
    pub(super) async fn insert_run(&self, run: Uuid, manifest: &str) -> Result<(), StoreError> {
        let values = (run, manifest);
        match self.session.execute_unpaged(&self.statements.insert_run, values).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&format!("enter run {run} in"), TABLE, error)),
        }
    }

    pub(super) async fn select_run(&self, run: Uuid) -> Result<Option<String>, StoreError> {
        let read = async || -> Result<Option<String>, Cause> {
            let statement = &self.statements.select_run;
            let answer = self.session.execute_unpaged(statement, (run,)).await?;
            let row = answer.into_rows_result()?.maybe_first_row::<(Option<String>,)>()?;
            Ok(row.and_then(|(manifest,)| manifest))
        };
        read()
            .await
            .map_err(|cause| self.error(&format!("read run {run} of"), TABLE, cause))
    }
}
