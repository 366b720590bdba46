//! Rows of a store, read and changed past our own code.

use rusqlite::{Connection, params};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::row::SerializeRow;
use scylla::value::{CqlDate, CqlTimestamp};
use scylla::{DeserializeValue, SerializeValue};
use tokio::runtime::Runtime;
use uuid::Uuid;

const MILLIS_PER_DAY: i64 = 86_400_000;

#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    pub sensor: Uuid,
    pub time_ms: i64,
    pub kind: String,
    pub value: f64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    pub sensor: Uuid,
    pub kind: String,
    pub size_s: i32,
    pub start_ms: i64,
    pub source: String,
    pub parts: Parts,
}

/// What a window holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Parts {
    pub last_offset: i64,
    pub count: i64,
    pub sum: f64,
    pub mean: f64,
    pub m2: f64,
    pub min: f64,
    pub max: f64,
    pub first: f64,
    pub first_at: i64,
    pub last: f64,
    pub last_at: i64,
}

impl Parts {
    pub fn of(time_ms: i64, value: f64) -> Parts {
        Parts {
            last_offset: 0,
            count: 1,
            sum: value,
            mean: value,
            m2: 0.0,
            min: value,
            max: value,
            first: value,
            first_at: time_ms,
            last: value,
            last_at: time_ms,
        }
    }

    /// With one reading more, not earlier than the last.
    pub fn and(&self, time_ms: i64, value: f64) -> Parts {
        let count = self.count + 1;
        let delta = value - self.mean;
        let mean = self.mean + delta / count as f64;
        Parts {
            count,
            sum: self.sum + value,
            mean,
            m2: self.m2 + delta * (value - mean),
            min: self.min.min(value),
            max: self.max.max(value),
            last: value,
            last_at: time_ms,
            ..*self
        }
    }
}

/// The type `aggregate`, by the names of its fields.
#[derive(SerializeValue, DeserializeValue)]
struct Aggregate {
    last_offset: i64,
    count: i64,
    sum: f64,
    mean: f64,
    m2: f64,
    min: f64,
    max: f64,
    first: f64,
    first_at: CqlTimestamp,
    last: f64,
    last_at: CqlTimestamp,
}

fn day_of(time_ms: i64) -> i32 {
    i32::try_from(time_ms.div_euclid(MILLIS_PER_DAY)).expect("a day")
}

fn date_of(time_ms: i64) -> CqlDate {
    CqlDate(day_of(time_ms).cast_unsigned() ^ (1 << 31))
}

pub enum Raw {
    Sqlite(Connection),
    Cassandra(Box<Cluster>),
}

pub struct Cluster {
    runtime: Runtime,
    session: Session,
    keyspace: String,
    /// Of the next write: later than all that the program writes, which takes Kafka's timestamps and offsets.
    timestamp: i64,
}

impl Cluster {
    fn select(&self, text: &str) -> QueryRowsResult {
        let text = text.replace("{keyspace}", &self.keyspace);
        let answer = self
            .runtime
            .block_on(self.session.query_unpaged(text, ()))
            .expect("read");
        answer.into_rows_result().expect("rows")
    }

    fn execute(&mut self, text: &str, values: impl SerializeRow) {
        self.timestamp += 1;
        let text = text
            .replace("{keyspace}", &self.keyspace)
            .replace("{timestamp}", &self.timestamp.to_string());
        self.runtime
            .block_on(self.session.query_unpaged(text, values))
            .expect("changed");
    }
}

impl Raw {
    pub fn sqlite(path: &str) -> Raw {
        Raw::Sqlite(Connection::open(path).expect("opened"))
    }

    pub fn cassandra(address: &str, keyspace: &str) -> Raw {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let session = runtime
            .block_on(SessionBuilder::new().known_node(address).build())
            .expect("a session");
        let an_hour_from_now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_micros()
            + 3_600_000_000;
        Raw::Cassandra(Box::new(Cluster {
            runtime,
            session,
            keyspace: keyspace.to_owned(),
            timestamp: i64::try_from(an_hour_from_now).expect("in range"),
        }))
    }

    pub fn readings(&mut self) -> Vec<Reading> {
        match self {
            Raw::Sqlite(connection) => {
                let text = "SELECT sensor_id, reading_time, type, reading FROM sensor_readings";
                let mut select = connection.prepare(text).expect("prepared");
                let rows = select.query_map([], |row| {
                    Ok(Reading {
                        sensor: Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).expect("an id"),
                        time_ms: row.get(1)?,
                        kind: row.get(2)?,
                        value: row.get(3)?,
                    })
                });
                rows.expect("read").map(|row| row.expect("a row")).collect()
            }
            Raw::Cassandra(cluster) => {
                let text = "SELECT sensor_id, reading_time, type, reading FROM {keyspace}.sensor_readings";
                let answer = cluster.select(text);
                let rows = answer.rows::<(Uuid, CqlTimestamp, String, f64)>().expect("rows");
                rows.map(|row| {
                    let (sensor, time, kind, value) = row.expect("a row");
                    Reading {
                        sensor,
                        time_ms: time.0,
                        kind,
                        value,
                    }
                })
                .collect()
            }
        }
    }

    pub fn write_reading(&mut self, reading: &Reading) {
        let Reading {
            sensor,
            time_ms,
            kind,
            value,
        } = reading;
        match self {
            Raw::Sqlite(connection) => {
                let text =
                    "INSERT OR REPLACE INTO sensor_readings (day, sensor_id, reading_time, type, reading, written_at)
                            VALUES (?1, ?2, ?3, ?4, ?5, 1)";
                let values = params![day_of(*time_ms), sensor.as_bytes(), time_ms, kind, value];
                connection.execute(text, values).expect("changed");
            }
            Raw::Cassandra(cluster) => cluster.execute(
                "INSERT INTO {keyspace}.sensor_readings (sensor_id, day, reading_time, type, reading)
                 VALUES (?, ?, ?, ?, ?) USING TIMESTAMP {timestamp}",
                (sensor, date_of(*time_ms), CqlTimestamp(*time_ms), kind, value),
            ),
        }
    }

    pub fn delete_reading(&mut self, reading: &Reading) {
        let Reading {
            sensor, time_ms, kind, ..
        } = reading;
        match self {
            Raw::Sqlite(connection) => {
                let text =
                    "DELETE FROM sensor_readings WHERE day = ?1 AND sensor_id = ?2 AND reading_time = ?3 AND type = ?4";
                let values = params![day_of(*time_ms), sensor.as_bytes(), time_ms, kind];
                assert_eq!(connection.execute(text, values).expect("changed"), 1);
            }
            Raw::Cassandra(cluster) => cluster.execute(
                "DELETE FROM {keyspace}.sensor_readings USING TIMESTAMP {timestamp}
                 WHERE sensor_id = ? AND day = ? AND reading_time = ? AND type = ?",
                (sensor, date_of(*time_ms), CqlTimestamp(*time_ms), kind),
            ),
        }
    }

    pub fn windows(&mut self) -> Vec<Window> {
        match self {
            Raw::Sqlite(connection) => {
                let text = "SELECT sensor_id, type, size_s, window_start, source,
                                last_offset, count, sum, mean, m2, min, max, first, first_at, last, last_at
                            FROM window_aggregates";
                let mut select = connection.prepare(text).expect("prepared");
                let rows = select.query_map([], |row| {
                    Ok(Window {
                        sensor: Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).expect("an id"),
                        kind: row.get(1)?,
                        size_s: row.get(2)?,
                        start_ms: row.get(3)?,
                        source: row.get(4)?,
                        parts: Parts {
                            last_offset: row.get(5)?,
                            count: row.get(6)?,
                            sum: row.get(7)?,
                            mean: row.get(8)?,
                            m2: row.get(9)?,
                            min: row.get(10)?,
                            max: row.get(11)?,
                            first: row.get(12)?,
                            first_at: row.get(13)?,
                            last: row.get(14)?,
                            last_at: row.get(15)?,
                        },
                    })
                });
                rows.expect("read").map(|row| row.expect("a row")).collect()
            }
            Raw::Cassandra(cluster) => {
                let text =
                    "SELECT sensor_id, type, size_s, window_start, source, agg FROM {keyspace}.window_aggregates";
                let answer = cluster.select(text);
                let rows = answer
                    .rows::<(Uuid, String, i32, CqlTimestamp, String, Aggregate)>()
                    .expect("rows");
                rows.map(|row| {
                    let (sensor, kind, size_s, start, source, agg) = row.expect("a row");
                    Window {
                        sensor,
                        kind,
                        size_s,
                        start_ms: start.0,
                        source,
                        parts: Parts {
                            last_offset: agg.last_offset,
                            count: agg.count,
                            sum: agg.sum,
                            mean: agg.mean,
                            m2: agg.m2,
                            min: agg.min,
                            max: agg.max,
                            first: agg.first,
                            first_at: agg.first_at.0,
                            last: agg.last,
                            last_at: agg.last_at.0,
                        },
                    }
                })
                .collect()
            }
        }
    }

    pub fn write_window(&mut self, window: &Window) {
        let (day, parts) = (day_of(window.start_ms), window.parts);
        match self {
            Raw::Sqlite(connection) => {
                let text =
                    "INSERT OR REPLACE INTO window_aggregates (day, sensor_id, type, size_s, window_start, source,
                                last_offset, count, sum, mean, m2, min, max, first, first_at, last, last_at)
                            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
                let Window {
                    sensor,
                    kind,
                    size_s,
                    start_ms,
                    source,
                    ..
                } = window;
                #[rustfmt::skip]
                let values = params![
                    day, sensor.as_bytes(), kind, size_s, start_ms, source,
                    parts.last_offset, parts.count, parts.sum, parts.mean, parts.m2, parts.min, parts.max,
                    parts.first, parts.first_at, parts.last, parts.last_at,
                ];
                connection.execute(text, values).expect("changed");
            }
            Raw::Cassandra(cluster) => {
                let agg = Aggregate {
                    last_offset: parts.last_offset,
                    count: parts.count,
                    sum: parts.sum,
                    mean: parts.mean,
                    m2: parts.m2,
                    min: parts.min,
                    max: parts.max,
                    first: parts.first,
                    first_at: CqlTimestamp(parts.first_at),
                    last: parts.last,
                    last_at: CqlTimestamp(parts.last_at),
                };
                let start = CqlTimestamp(window.start_ms);
                let (kind, size_s, source) = (&window.kind, window.size_s, &window.source);
                cluster.execute(
                    "INSERT INTO {keyspace}.window_aggregates (sensor_id, day, type, size_s, window_start, source, agg)
                     VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP {timestamp}",
                    (
                        window.sensor,
                        date_of(window.start_ms),
                        kind,
                        size_s,
                        start,
                        source,
                        agg,
                    ),
                );
            }
        }
    }

    pub fn delete_window(&mut self, window: &Window) {
        let Window {
            sensor,
            kind,
            size_s,
            start_ms,
            source,
            ..
        } = window;
        match self {
            Raw::Sqlite(connection) => {
                let text =
                    "DELETE FROM window_aggregates WHERE day = ?1 AND sensor_id = ?2 AND type = ?3 AND size_s = ?4
                                AND window_start = ?5 AND source = ?6";
                let values = params![day_of(*start_ms), sensor.as_bytes(), kind, size_s, start_ms, source];
                assert_eq!(connection.execute(text, values).expect("changed"), 1);
            }
            Raw::Cassandra(cluster) => cluster.execute(
                "DELETE FROM {keyspace}.window_aggregates USING TIMESTAMP {timestamp}
                 WHERE sensor_id = ? AND day = ? AND type = ? AND size_s = ? AND window_start = ? AND source = ?",
                (
                    sensor,
                    date_of(*start_ms),
                    kind,
                    size_s,
                    CqlTimestamp(*start_ms),
                    source,
                ),
            ),
        }
    }

    /// All alerts of all sensors.
    pub fn forget_alerts(&mut self) {
        match self {
            Raw::Sqlite(connection) => {
                assert!(connection.execute("DELETE FROM alerts", []).expect("changed") > 0);
            }
            Raw::Cassandra(cluster) => cluster.execute("TRUNCATE {keyspace}.alerts", ()),
        }
    }
}
