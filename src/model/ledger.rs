//! The ledger of sources: what was folded of each, so that no hole is ever passed off as whole.

use serde::{Deserialize, Serialize};

use super::Source;

/// What decides what the store holds for a record. A source is folded under one configuration; another is refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ProcessingConfig {
    /// Window sizes in seconds; empty without windows.
    pub window_sizes_s: Vec<u32>,
    pub alerts: bool,
    /// Names of the fields that hold the sensor's id, in order of preference.
    pub id_fields: Vec<String>,
    /// Names of the fields that hold the event time, in order of preference.
    pub time_fields: Vec<String>,
    /// Fields of a record of several measures that are no measure.
    pub ignored_fields: Vec<String>,
}

/// One source's row of the ledger.
#[derive(Clone, PartialEq, Debug)]
pub struct LedgerEntry {
    pub source: Source,
    /// The first offset ever folded.
    pub from: i64,
    /// All offsets in `from..acked_to` are acknowledged by the store.
    pub acked_to: i64,
    pub processing: ProcessingConfig,
}
