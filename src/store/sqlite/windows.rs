//! The SQL of windows and of sensor state. The larger `last_offset` wins, whatever order writes come in.

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, params};

use super::double::Double;
use super::reader::{CHUNK_ROWS, Chunks, Stop};
use crate::model::{
    Aggregate, Day, Load, Loaded, SensorId, SensorWrite, StateCell, StoredWindow, TimeMs, WindowCell, WindowKey,
    WindowsQuery,
};
use crate::store::kinds::Kinds;

const UPSERT_WINDOW: &str = "
    INSERT INTO window_aggregates (day, sensor_id, type, size_s, window_start, source,
        last_offset, count, sum, mean, m2, min, max, first, first_at, last, last_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
    ON CONFLICT DO UPDATE SET last_offset = excluded.last_offset, count = excluded.count, sum = excluded.sum,
        mean = excluded.mean, m2 = excluded.m2, min = excluded.min, max = excluded.max, first = excluded.first,
        first_at = excluded.first_at, last = excluded.last, last_at = excluded.last_at
    WHERE excluded.last_offset > last_offset";

const UPSERT_STATE: &str = "
    INSERT INTO sensor_state (sensor_id, source, state, last_offset) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET state = excluded.state, last_offset = excluded.last_offset
    WHERE excluded.last_offset > last_offset";

const SELECT_STATE: &str = "SELECT state FROM sensor_state WHERE sensor_id = ?1 AND source = ?2";

/// Columns 0 to 10 of an answer.
const AGGREGATE: &str = "last_offset, count, sum, mean, m2, min, max, first, first_at, last, last_at";

pub(super) fn upsert_windows(connection: &Connection, write: &SensorWrite, source: &str) -> SqlResult<()> {
    let mut upsert = connection.prepare_cached(UPSERT_WINDOW)?;
    for WindowCell { key, aggregate } in &write.windows {
        upsert.execute(params![
            key.day().0,
            write.sensor.0.as_bytes(),
            key.kind.as_str(),
            key.size_s,
            key.start.0,
            source,
            aggregate.last_offset,
            aggregate.count,
            Double(aggregate.sum),
            Double(aggregate.mean),
            Double(aggregate.m2),
            Double(aggregate.min),
            Double(aggregate.max),
            Double(aggregate.first),
            aggregate.first_at.0,
            Double(aggregate.last),
            aggregate.last_at.0,
        ])?;
    }
    Ok(())
}

pub(super) fn upsert_state(
    connection: &Connection,
    sensor: SensorId,
    source: &str,
    state: &StateCell,
) -> SqlResult<()> {
    let id = sensor.0.as_bytes();
    let mut upsert = connection.prepare_cached(UPSERT_STATE)?;
    upsert.execute(params![id, source, state.bytes, state.last_offset])?;
    Ok(())
}

pub(super) fn load(connection: &Connection, load: &Load) -> SqlResult<Loaded> {
    let (id, source) = (load.sensor.0.as_bytes(), load.source.to_string());
    let mut state = None;
    if load.state {
        let mut select = connection.prepare_cached(SELECT_STATE)?;
        state = select.query_row(params![id, source], |row| row.get(0)).optional()?;
    }
    let mut select = connection.prepare_cached(&format!(
        "SELECT {AGGREGATE} FROM window_aggregates WHERE day = ?1 AND sensor_id = ?2 AND type = ?3 AND size_s = ?4 \
         AND window_start = ?5 AND source = ?6"
    ))?;
    let windows = load.windows.iter().map(|key| {
        let kind = key.kind.as_str();
        let values = params![key.day().0, id, kind, key.size_s, key.start.0, source];
        select.query_row(values, aggregate).optional()
    });
    Ok(Loaded {
        id: load.id,
        state,
        windows: windows.collect::<SqlResult<_>>()?,
    })
}

fn aggregate(row: &Row<'_>) -> SqlResult<Aggregate> {
    let double = |index| row.get::<_, Double>(index).map(|double| double.0);
    Ok(Aggregate {
        last_offset: row.get(0)?,
        count: row.get(1)?,
        sum: double(2)?,
        mean: double(3)?,
        m2: double(4)?,
        min: double(5)?,
        max: double(6)?,
        first: double(7)?,
        first_at: TimeMs(row.get(8)?),
        last: double(9)?,
        last_at: TimeMs(row.get(10)?),
    })
}

/// Day by day, since that is where the key begins.
pub(super) fn send_windows(
    connection: &Connection,
    query: &WindowsQuery,
    chunks: &Chunks<StoredWindow>,
) -> Result<(), Stop> {
    let of_kind = if query.kind.is_some() {
        "AND type = ?6"
    } else {
        "AND ?6 IS NULL"
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {AGGREGATE}, type, window_start, source FROM window_aggregates \
         WHERE day = ?1 AND sensor_id = ?2 AND size_s = ?3 AND window_start >= ?4 AND window_start < ?5 {of_kind} \
         ORDER BY type, window_start, source"
    ))?;
    let kind = query.kind.as_ref().map(|kind| kind.as_str());
    let id = query.sensor.0.as_bytes();
    let mut kinds = Kinds::default();
    let mut chunk = Vec::new();
    for day in Day::of_range(&query.range) {
        let (start, end) = (query.range.start.0, query.range.end.0);
        let mut rows = select.query(params![day.0, id, query.size_s, start, end, kind])?;
        while let Some(row) = rows.next()? {
            let key = WindowKey {
                kind: kinds.get(row.get_ref(11)?.as_str().map_err(rusqlite::Error::from)?),
                size_s: query.size_s,
                start: TimeMs(row.get(12)?),
            };
            chunk.push(StoredWindow {
                key,
                source: row.get(13)?,
                aggregate: aggregate(row)?,
            });
            if chunk.len() == CHUNK_ROWS {
                let chunk = std::mem::take(&mut chunk);
                chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)?;
            }
        }
    }
    chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)
}
