//! SQLite's errors sorted into what may pass and what will not, each as one line that names the file.

use std::fmt::Display;
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// What was attempted, on what, why it failed, what to do.
pub(super) fn sorted(path: &Path, attempted: impl Display, error: &Error) -> StoreError {
    let (is_transient, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            true,
            "another process holds the file; it is tried again once that is done",
        ),
        Some(ErrorCode::DiskFull) => (false, "the disk is full: make room"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (false, "the file or its directory cannot be written")
        }
        Some(ErrorCode::CannotOpen) => (false, "is there such a directory, and may this user write in it?"),
        Some(ErrorCode::NotADatabase) => (false, "the file is no SQLite database: choose another"),
        Some(ErrorCode::DatabaseCorrupt) => (false, "the file is damaged: restore it from a backup"),
        _ if error.to_string().contains("no such table") => (false, "run `iotpipe init-schema`"),
        _ => (false, ""),
    };
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!("; {hint}")
    };
    let text = format!("sqlite {}: cannot {attempted}: {error}{hint}", path.display());
    if is_transient {
        StoreError::Transient(text)
    } else {
        StoreError::Permanent(text)
    }
}
