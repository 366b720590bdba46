//! What goes wrong with a store, sorted by what the caller can do about it.

use thiserror::Error;

/// Messages say what was attempted, on what, and why it failed.
#[derive(Error, Debug)]
pub enum StoreError {
    /// It may work when tried again: a timeout, too few replicas, overload, a lost connection, a locked file.
    #[error("{0}")]
    Transient(String),
    /// It will fail the same way: a missing table, no permission, a wrong password, another table shape, a full disk.
    #[error("{0}")]
    Permanent(String),
}

impl StoreError {
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Transient(_))
    }
}
