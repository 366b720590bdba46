//! The status that a device says of itself, and its changes.

use std::sync::Arc;

use super::{SensorId, TimeMs};

/// A sensor's status differs from the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusChange {
    /// Of the record that says so.
    pub offset: i64,
    pub sensor: SensorId,
    /// The sensor's id as it was written, where that is no UUID.
    pub label: Option<Arc<str>>,
    /// Event time.
    pub at: TimeMs,
    pub status: Arc<str>,
    /// The one before; absent for the first that was ever said.
    pub previous: Option<Arc<str>>,
}
