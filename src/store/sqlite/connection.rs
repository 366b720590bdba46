//! Connections to the file, and the work that blocks on them.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, Result as SqlResult};

use super::error::sorted;
use crate::store::{StoreError, StoreSettings};

/// Memory of the writing connection for pages of the file: the ends of a thousand sensors' days fit several times.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// The log is folded into the file when it has so many pages (of 4 KiB): rarely enough to batch, and it stays small.
const LOG_PAGES: i64 = 8_000;

/// Different statements that one connection keeps prepared.
const PREPARED_STATEMENTS: usize = 32;

/// Opens a file that is there, to read and write.
pub(super) fn open_for_writing(settings: &StoreSettings, path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Permanent(format!(
            "sqlite {}: there is no such file; run `iotpipe init-schema` or correct the store's address",
            path.display()
        )));
    }
    open(path, settings, false)
}

/// As [`open_for_writing`], and makes the file where it is missing.
pub(super) fn create(settings: &StoreSettings, path: &Path) -> Result<Connection, StoreError> {
    open(path, settings, true)
}

fn open(path: &Path, settings: &StoreSettings, may_create: bool) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| sorted(path, "open the file for writing", &error);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if may_create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // A file without permission to write is opened for reading, silently.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(StoreError::Permanent(format!(
            "sqlite {}: the file cannot be written",
            path.display()
        )));
    }
    let prepare = || -> SqlResult<()> {
        connection.busy_timeout(settings.request_timeout)?;
        enter_log_mode(&connection, settings.request_timeout)?;
        let synchronous = if settings.sqlite_synchronous_full {
            "FULL"
        } else {
            "NORMAL"
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        register_double_bits(&connection)
    };
    prepare().map_err(failed)?;
    Ok(connection)
}

/// Turns the write-ahead log on. Where it is off another process may be turning it on just now, for which SQLite does not
/// wait as it does for every other lock: so this does.
fn enter_log_mode(connection: &Connection, patience: Duration) -> SqlResult<()> {
    let deadline = Instant::now() + patience;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Opens a file for questions only.
pub(super) fn open_for_reading(path: &Path, busy_timeout: Duration) -> Result<Connection, StoreError> {
    // Not SQLITE_OPEN_READ_ONLY: such a connection cannot set up the write-ahead log where it is the first one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> SqlResult<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| sorted(path, "open the file for reading", &error))
}

/// `double_bits(x)`: the big-endian bytes of a double. Comparing them is the rule for two values with one timestamp, as
/// Cassandra has it: no SQL expression tells -0.0 from 0.0 or puts the negative numbers above the positive ones.
fn register_double_bits(connection: &Connection) -> SqlResult<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("double_bits", 1, flags, |context| {
        let value: f64 = context.get(0)?;
        Ok(value.to_bits().to_be_bytes().to_vec())
    })
}

/// Runs work that blocks on the disk beside the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Permanent(format!(
            "a thread of the SQLite store failed: {error}"
        ))),
    }
}
