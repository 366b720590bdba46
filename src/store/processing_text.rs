//! The processing configuration as the ledger keeps it: JSON, readable by a person who asks why a source was refused.

use super::StoreError;
use crate::model::ProcessingConfig;

pub(super) fn encode(processing: &ProcessingConfig) -> Result<String, StoreError> {
    serde_json::to_string(processing)
        .map_err(|error| StoreError::Permanent(format!("cannot write the processing configuration as JSON: {error}")))
}

/// The error says what is wrong with the text; the caller knows whose it is.
pub(super) fn decode(text: &str) -> Result<ProcessingConfig, String> {
    serde_json::from_str(text).map_err(|error| format!("the processing configuration is not readable: {error}"))
}
