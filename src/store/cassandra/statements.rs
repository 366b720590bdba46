//! Every statement of the running program, prepared once. Values are bound, never written into the text; only the
//! keyspace is, whose name was checked when it was parsed.

use std::borrow::Cow;
use std::sync::OnceLock;

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::model::Order;

/// Most readings of one batch, and most windows; a larger write becomes several. The server sets no limit for batches of one
/// partition, and more than thirty rows were measured to gain nothing.
pub(super) const MAX_BATCH_ROWS: usize = 64;

/// Batches with more windows than this are rare (a dozen measures in three sizes at once) and are built each time.
const MAX_KEPT_WINDOWS: usize = 32;

pub(super) struct Statements {
    pub(super) insert_reading: PreparedStatement,
    pub(super) insert_window: PreparedStatement,
    /// Of requests for readings alone, where it is another than of everything else.
    readings_consistency: Option<Consistency>,
    /// So many times `insert_reading`, then so many times `insert_window`, built when first needed: see `place_of_batch`.
    batches: Vec<OnceLock<Batch>>,
    select_newest_first: PreparedStatement,
    select_oldest_first: PreparedStatement,
    select_kind_newest_first: PreparedStatement,
    select_kind_oldest_first: PreparedStatement,

    pub(super) insert_state: PreparedStatement,
    pub(super) select_state: PreparedStatement,
    pub(super) select_states: PreparedStatement,
    pub(super) select_cells: PreparedStatement,
    pub(super) select_cells_of_sensors: PreparedStatement,
    pub(super) select_windows: PreparedStatement,
    pub(super) select_windows_of_kind: PreparedStatement,

    pub(super) set_label: PreparedStatement,
    pub(super) set_status: PreparedStatement,
    pub(super) set_location: PreparedStatement,
    pub(super) set_first_day: PreparedStatement,
    pub(super) set_last_day: PreparedStatement,
    pub(super) set_last_value: PreparedStatement,
    pub(super) select_sensor: PreparedStatement,
    pub(super) select_sensors_of_shard: PreparedStatement,

    pub(super) insert_source: PreparedStatement,
    pub(super) set_acked_to: PreparedStatement,
    pub(super) select_source: PreparedStatement,
    pub(super) insert_hole: PreparedStatement,

    pub(super) insert_run: PreparedStatement,
    pub(super) select_run: PreparedStatement,

    pub(super) alerts: AlertStatements,
}

pub(super) struct AlertStatements {
    pub(super) insert: PreparedStatement,
    pub(super) insert_by_day: PreparedStatement,
    pub(super) insert_active: PreparedStatement,
    pub(super) select_one: PreparedStatement,
    pub(super) select_of_sensor: PreparedStatement,
    pub(super) select_of_shard: PreparedStatement,
    pub(super) select_active_of_sensor: PreparedStatement,
    pub(super) select_active_of_shard: PreparedStatement,
}

struct Preparer<'a> {
    session: &'a Session,
    keyspace: &'a str,
    readings_consistency: Option<Consistency>,
}

impl Preparer<'_> {
    async fn prepare(&self, text: &str) -> Result<PreparedStatement, PrepareError> {
        let mut statement = self.session.prepare(text.replace("{keyspace}", self.keyspace)).await?;
        statement.set_is_idempotent(true);
        Ok(statement)
    }

    async fn prepare_of_readings(&self, text: &str) -> Result<PreparedStatement, PrepareError> {
        let mut statement = self.prepare(text).await?;
        if let Some(level) = self.readings_consistency {
            statement.set_consistency(level);
        }
        Ok(statement)
    }
}

impl Statements {
    pub(super) async fn prepare(
        session: &Session,
        keyspace: &str,
        readings_consistency: Option<Consistency>,
    ) -> Result<Statements, PrepareError> {
        let preparer = Preparer {
            session,
            keyspace,
            readings_consistency,
        };
        let prepare = async |text: &str| preparer.prepare(text).await;
        let prepare_of_readings = async |text: &str| preparer.prepare_of_readings(text).await;
        // Readings of a kind in a range of times: the kind stands behind the time in the key, so the server has to filter.
        // It does so within one partition, which is what ALLOW FILTERING is harmless for. So for windows of every kind.
        let readings = "SELECT reading_time, type, reading FROM {keyspace}.sensor_readings \
                        WHERE sensor_id = ? AND day = ? AND reading_time >= ? AND reading_time < ?";
        let oldest_first = "ORDER BY reading_time ASC, type DESC";
        let windows = "SELECT type, size_s, window_start, source, agg FROM {keyspace}.window_aggregates \
                       WHERE sensor_id = ? AND day = ?";
        let of_size = "AND size_s = ? AND window_start >= ? AND window_start < ?";
        let sensors = "SELECT sensor_id, label, status, location, first_day, last_day, last_values \
                       FROM {keyspace}.sensors WHERE shard = ?";
        let states = |sensors: &str| {
            format!("SELECT sensor_id, state FROM {{keyspace}}.sensor_state WHERE sensor_id {sensors} AND source = ?")
        };
        let cells = |sensors: &str| {
            format!(
                "SELECT sensor_id, type, size_s, window_start, agg FROM {{keyspace}}.window_aggregates \
                 WHERE sensor_id {sensors} AND day = ? AND (type, size_s, window_start, source) IN ?"
            )
        };
        let set_sensor = |assignment: &str| {
            format!("UPDATE {{keyspace}}.sensors USING TIMESTAMP ? SET {assignment} WHERE shard = ? AND sensor_id = ?")
        };
        Ok(Statements {
            insert_reading: prepare_of_readings(
                "INSERT INTO {keyspace}.sensor_readings (sensor_id, day, reading_time, type, reading) \
                 VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            insert_window: prepare(
                "INSERT INTO {keyspace}.window_aggregates (sensor_id, day, type, size_s, window_start, source, agg) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            readings_consistency,
            batches: (0..=place_of_batch(MAX_BATCH_ROWS, MAX_KEPT_WINDOWS))
                .map(|_| OnceLock::new())
                .collect(),
            select_newest_first: prepare_of_readings(readings).await?,
            select_oldest_first: prepare_of_readings(&format!("{readings} {oldest_first}")).await?,
            select_kind_newest_first: prepare_of_readings(&format!("{readings} AND type = ? ALLOW FILTERING")).await?,
            select_kind_oldest_first: prepare_of_readings(&format!(
                "{readings} AND type = ? {oldest_first} ALLOW FILTERING"
            ))
            .await?,

            insert_state: prepare(
                "INSERT INTO {keyspace}.sensor_state (sensor_id, source, state) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            select_state: prepare(&states("= ?")).await?,
            select_states: prepare(&states("IN ?")).await?,
            select_cells: prepare(&cells("= ?")).await?,
            select_cells_of_sensors: prepare(&cells("IN ?")).await?,
            select_windows: prepare(&format!("{windows} {of_size} ALLOW FILTERING")).await?,
            select_windows_of_kind: prepare(&format!("{windows} {of_size} AND type = ?")).await?,

            set_label: prepare(&set_sensor("label = ?")).await?,
            set_status: prepare(&set_sensor("status = ?")).await?,
            set_location: prepare(&set_sensor("location = ?")).await?,
            set_first_day: prepare(&set_sensor("first_day = ?")).await?,
            set_last_day: prepare(&set_sensor("last_day = ?")).await?,
            set_last_value: prepare(&set_sensor("last_values[?] = ?")).await?,
            select_sensor: prepare(&format!("{sensors} AND sensor_id = ?")).await?,
            select_sensors_of_shard: prepare(sensors).await?,

            insert_source: prepare(
                "INSERT INTO {keyspace}.sources (source, topic, topic_id, partition, from_offset, processing) \
                 VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            set_acked_to: prepare("UPDATE {keyspace}.sources USING TIMESTAMP ? SET acked_to = ? WHERE source = ?")
                .await?,
            select_source: prepare("SELECT from_offset, acked_to, processing FROM {keyspace}.sources WHERE source = ?")
                .await?,
            insert_hole: prepare("INSERT INTO {keyspace}.source_holes (source, hole) VALUES (?, ?)").await?,

            insert_run: prepare("INSERT INTO {keyspace}.runs (run, manifest) VALUES (?, ?)").await?,
            select_run: prepare("SELECT manifest FROM {keyspace}.runs WHERE run = ?").await?,

            alerts: AlertStatements::prepare(&preparer).await?,
        })
    }

    /// Whether readings and windows must not share a batch, which has one consistency.
    pub(super) fn keep_readings_apart(&self) -> bool {
        self.readings_consistency.is_some()
    }

    /// The batch that inserts so many readings and then so many windows of one partition: one mutation for the server. Built
    /// once a shape, since building it costs more than filling it.
    pub(super) fn batch_of_rows(&self, readings: usize, windows: usize) -> Cow<'_, Batch> {
        let build = || {
            let readings = std::iter::repeat_n(&self.insert_reading, readings);
            let mut batch = unlogged(readings.chain(std::iter::repeat_n(&self.insert_window, windows)));
            if let (0, Some(level)) = (windows, self.readings_consistency) {
                batch.set_consistency(level);
            }
            batch
        };
        if readings > MAX_BATCH_ROWS || windows > MAX_KEPT_WINDOWS {
            return Cow::Owned(build());
        }
        Cow::Borrowed(self.batches[place_of_batch(readings, windows)].get_or_init(build))
    }

    pub(super) fn select_readings(&self, order: Order, one_kind: bool) -> &PreparedStatement {
        match (order, one_kind) {
            (Order::NewestFirst, false) => &self.select_newest_first,
            (Order::OldestFirst, false) => &self.select_oldest_first,
            (Order::NewestFirst, true) => &self.select_kind_newest_first,
            (Order::OldestFirst, true) => &self.select_kind_oldest_first,
        }
    }
}

impl AlertStatements {
    async fn prepare(preparer: &Preparer<'_>) -> Result<AlertStatements, PrepareError> {
        let prepare = async |text: &str| preparer.prepare(text).await;
        let key = "sensor_id, day, raised_at, alert_id";
        let values = "type, rule, severity, label, value, peak, cleared_at, source, last_offset";
        let alerts = "SELECT sensor_id, raised_at, alert_id, type, rule, severity, label, value, peak, cleared_at \
                      FROM {keyspace}";
        let in_range = "AND raised_at >= ? AND raised_at < ?";
        let active = "SELECT sensor_id, alerts FROM {keyspace}.active_alerts WHERE shard = ?";
        Ok(AlertStatements {
            insert: prepare(&format!(
                "INSERT INTO {{keyspace}}.alerts ({key}, {values}) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            insert_by_day: prepare(&format!(
                "INSERT INTO {{keyspace}}.alerts_by_day (shard, {key}, {values}) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            insert_active: prepare(
                "INSERT INTO {keyspace}.active_alerts (shard, sensor_id, source, alerts) VALUES (?, ?, ?, ?) \
                 USING TIMESTAMP ?",
            )
            .await?,
            select_one: prepare(&format!(
                "{alerts}.alerts WHERE sensor_id = ? AND day = ? AND raised_at = ? AND alert_id = ?"
            ))
            .await?,
            select_of_sensor: prepare(&format!("{alerts}.alerts WHERE sensor_id = ? AND day = ? {in_range}")).await?,
            select_of_shard: prepare(&format!(
                "{alerts}.alerts_by_day WHERE shard = ? AND day = ? {in_range}"
            ))
            .await?,
            select_active_of_sensor: prepare(&format!("{active} AND sensor_id = ?")).await?,
            select_active_of_shard: prepare(active).await?,
        })
    }
}

/// Where `Statements::batches` has the batch of so many readings and so many windows.
fn place_of_batch(readings: usize, windows: usize) -> usize {
    readings * (MAX_KEPT_WINDOWS + 1) + windows
}

/// A batch without the server's log of batches: it would buy nothing within one partition, which is one mutation anyway, nor where each
/// partition may be applied without the others.
pub(super) fn unlogged<'a>(statements: impl Iterator<Item = &'a PreparedStatement>) -> Batch {
    let mut batch = Batch::new(BatchType::Unlogged);
    for statement in statements {
        batch.append_statement(statement.clone());
    }
    batch.set_is_idempotent(true);
    batch
}
