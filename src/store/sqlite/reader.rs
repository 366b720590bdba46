//! Questions to the file, on connections of their own in blocking threads. Long answers come through a bounded channel:
//! the thread waits when nobody takes them, and ends when nobody wants them any more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use rusqlite::{Connection, Result as SqlResult, params};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::connection::{blocking, open_for_reading};
use super::error::sorted;
use super::{alerts, statements, windows};
use crate::model::{
    Alert, AlertId, AlertsQuery, Day, LedgerEntry, Load, Loaded, Order, ReadingsQuery, SensorId, SensorRow, Source,
    StoredReading, StoredWindow, TimeMs, WindowsQuery,
};
use crate::store::kinds::Kinds;
use crate::store::{ActiveAlerts, StoreError};

/// Rows that travel together, and chunks of them that wait: what an answer holds in memory, whatever its length.
pub(super) const CHUNK_ROWS: usize = 1_000;
const WAITING_CHUNKS: usize = 2;

/// Connections kept open for the next question. More are opened when asked at once, and closed afterwards.
const IDLE_CONNECTIONS: usize = 4;

pub(super) type Chunks<T> = mpsc::Sender<Result<Vec<T>, StoreError>>;

#[derive(Clone)]
pub(super) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

/// Why an answer ends early.
pub(super) enum Stop {
    Sql(rusqlite::Error),
    /// The one who asked has gone.
    Unwanted,
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Sql(error)
    }
}

impl Readers {
    pub(super) fn new(path: &Path, busy_timeout: Duration) -> Readers {
        Readers {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                busy_timeout,
                idle: Mutex::default(),
            }),
        }
    }

    pub(super) async fn load_ledger(&self, sources: Vec<Source>) -> Result<Vec<Option<LedgerEntry>>, StoreError> {
        self.ask("read the ledger", move |connection| {
            sources
                .iter()
                .map(|source| statements::load_source(connection, source))
                .collect()
        })
        .await
    }

    pub(super) async fn sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        self.ask("read a sensor", move |connection| {
            statements::load_sensor(connection, sensor)
        })
        .await
    }

    pub(super) async fn load_all(&self, loads: Vec<Load>) -> Result<Vec<Loaded>, StoreError> {
        self.ask("read state and windows", move |connection| {
            loads.iter().map(|load| windows::load(connection, load)).collect()
        })
        .await
    }

    pub(super) async fn alert(
        &self,
        sensor: SensorId,
        raised_at: TimeMs,
        id: AlertId,
    ) -> Result<Option<Alert>, StoreError> {
        self.ask("read an alert", move |connection| {
            alerts::load_alert(connection, sensor, raised_at, id)
        })
        .await
    }

    pub(super) async fn load_run(&self, run: Uuid) -> Result<Option<String>, StoreError> {
        self.ask("read a run", move |connection| statements::load_run(connection, run))
            .await
    }

    pub(super) fn sensors(&self) -> BoxStream<'static, Result<SensorRow, StoreError>> {
        self.stream("read the sensors", |connection, chunks| {
            send_pages(chunks, |after: Option<&SensorRow>| {
                statements::load_sensors(connection, after.map(|row| row.sensor), CHUNK_ROWS as u32)
            })
        })
    }

    pub(super) fn active_alerts(&self) -> BoxStream<'static, Result<ActiveAlerts, StoreError>> {
        self.stream("read active alerts", |connection, chunks| {
            send_pages(chunks, |after: Option<&ActiveAlerts>| {
                alerts::load_active(connection, after.map(|(sensor, _)| *sensor), CHUNK_ROWS as u32)
            })
        })
    }

    pub(super) fn readings(&self, query: ReadingsQuery) -> BoxStream<'static, Result<StoredReading, StoreError>> {
        self.stream("read readings", move |connection, chunks| {
            send_readings(connection, &query, chunks)
        })
    }

    pub(super) fn windows(&self, query: WindowsQuery) -> BoxStream<'static, Result<StoredWindow, StoreError>> {
        self.stream("read windows", move |connection, chunks| {
            windows::send_windows(connection, &query, chunks)
        })
    }

    pub(super) fn alerts(&self, query: AlertsQuery) -> BoxStream<'static, Result<Alert, StoreError>> {
        self.stream("read alerts", move |connection, chunks| {
            alerts::send_alerts(connection, &query, chunks)
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        attempted: &'static str,
        question: impl FnOnce(&Connection) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let connection = shared.take()?;
            let answer = question(&connection).map_err(|error| sorted(&shared.path, attempted, &error))?;
            shared.put_back(connection);
            Ok(answer)
        })
        .await
    }

    /// Starts the thread when the stream is first asked for an item.
    fn stream<T: Send + 'static>(
        &self,
        attempted: &'static str,
        question: impl FnOnce(&Connection, &Chunks<T>) -> Result<(), Stop> + Send + 'static,
    ) -> BoxStream<'static, Result<T, StoreError>> {
        let shared = Arc::clone(&self.shared);
        let start = async move {
            let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
            tokio::task::spawn_blocking(move || {
                let end = shared
                    .take()
                    .and_then(|connection| match question(&connection, &sender) {
                        Ok(()) | Err(Stop::Unwanted) => {
                            shared.put_back(connection);
                            Ok(())
                        }
                        Err(Stop::Sql(error)) => Err(sorted(&shared.path, attempted, &error)),
                    });
                if let Err(error) = end {
                    // Who has gone needs no error either.
                    let _ = sender.blocking_send(Err(error));
                }
            });
            stream::unfold(receiver, |mut receiver| async {
                let chunk = receiver.recv().await?;
                Some((chunk, receiver))
            })
        };
        stream::once(start)
            .flatten()
            .map_ok(|chunk| stream::iter(chunk.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

impl Shared {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open_for_reading(&self.path, self.busy_timeout), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}

/// Page by page, a statement each: nothing of the file is held back while the one who asked is slow.
fn send_pages<T: Send + 'static>(
    chunks: &Chunks<T>,
    load_after: impl Fn(Option<&T>) -> SqlResult<Vec<T>>,
) -> Result<(), Stop> {
    let mut page = load_after(None)?;
    while page.len() == CHUNK_ROWS {
        let next = load_after(page.last())?;
        let full = std::mem::replace(&mut page, next);
        chunks.blocking_send(Ok(full)).map_err(|_| Stop::Unwanted)?;
    }
    chunks.blocking_send(Ok(page)).map_err(|_| Stop::Unwanted)
}

/// Day by day, since that is where the key begins: a sensor's rows of one day lie together.
fn send_readings(connection: &Connection, query: &ReadingsQuery, chunks: &Chunks<StoredReading>) -> Result<(), Stop> {
    let days: Box<dyn Iterator<Item = Day>> = match query.order {
        Order::OldestFirst => Box::new(Day::of_range(&query.range)),
        Order::NewestFirst => Box::new(Day::of_range(&query.range).rev()),
    };
    let direction = match query.order {
        Order::OldestFirst => "ASC",
        Order::NewestFirst => "DESC",
    };
    let of_kind = if query.kind.is_some() {
        "AND type = ?5"
    } else {
        "AND ?5 IS NULL"
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT reading_time, type, reading FROM sensor_readings \
         WHERE day = ?1 AND sensor_id = ?2 AND reading_time >= ?3 AND reading_time < ?4 {of_kind} \
         ORDER BY reading_time {direction}, type ASC LIMIT ?6"
    ))?;
    let kind = query.kind.as_ref().map(|kind| kind.as_str());
    let mut kinds = Kinds::default();
    let mut left = query
        .limit
        .map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let mut chunk = Vec::new();
    for day in days {
        if left == 0 {
            break;
        }
        let id = query.sensor.0.as_bytes();
        let mut rows = select.query(params![day.0, id, query.range.start.0, query.range.end.0, kind, left])?;
        while let Some(row) = rows.next()? {
            let kind = kinds.get(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
            chunk.push(StoredReading {
                time: TimeMs(row.get(0)?),
                kind,
                value: row.get(2)?,
            });
            left -= 1;
            if chunk.len() == CHUNK_ROWS {
                chunks
                    .blocking_send(Ok(std::mem::take(&mut chunk)))
                    .map_err(|_| Stop::Unwanted)?;
            }
        }
    }
    chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)
}
