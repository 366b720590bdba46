//! Every statement of the running program, prepared once. Values are bound, never written into the text; only the
//! keyspace is, whose name was checked when it was parsed.

use std::sync::OnceLock;

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::model::Order;

/// Most rows of one batch; a larger write becomes several. The server sets no limit for batches of one partition, and
/// more than thirty rows were measured to gain nothing.
pub(super) const MAX_BATCH_ROWS: usize = 64;

pub(super) struct Statements {
    pub(super) insert_reading: PreparedStatement,
    /// `insert_reading` so many times, built when first needed: the index is the number of rows.
    batches: [OnceLock<Batch>; MAX_BATCH_ROWS + 1],
    select_newest_first: PreparedStatement,
    select_oldest_first: PreparedStatement,
    select_kind_newest_first: PreparedStatement,
    select_kind_oldest_first: PreparedStatement,

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
}

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Statements, PrepareError> {
        let prepare = async |text: &str| {
            let mut statement = session.prepare(text.replace("{keyspace}", keyspace)).await?;
            statement.set_is_idempotent(true);
            Ok::<_, PrepareError>(statement)
        };
        // Readings of a kind in a range of times: the kind stands behind the time in the key, so the server has to filter.
        // It does so within one partition, which is what ALLOW FILTERING is harmless for.
        let readings = "SELECT reading_time, type, reading FROM {keyspace}.sensor_readings \
                        WHERE sensor_id = ? AND day = ? AND reading_time >= ? AND reading_time < ?";
        let oldest_first = "ORDER BY reading_time ASC, type DESC";
        let sensors = "SELECT sensor_id, label, status, location, first_day, last_day, last_values \
                       FROM {keyspace}.sensors WHERE shard = ?";
        let set_sensor = |assignment: &str| {
            format!("UPDATE {{keyspace}}.sensors USING TIMESTAMP ? SET {assignment} WHERE shard = ? AND sensor_id = ?")
        };
        Ok(Statements {
            insert_reading: prepare(
                "INSERT INTO {keyspace}.sensor_readings (sensor_id, day, reading_time, type, reading) \
                 VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            batches: [const { OnceLock::new() }; MAX_BATCH_ROWS + 1],
            select_newest_first: prepare(readings).await?,
            select_oldest_first: prepare(&format!("{readings} {oldest_first}")).await?,
            select_kind_newest_first: prepare(&format!("{readings} AND type = ? ALLOW FILTERING")).await?,
            select_kind_oldest_first: prepare(&format!("{readings} AND type = ? {oldest_first} ALLOW FILTERING"))
                .await?,

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
        })
    }

    /// The batch that inserts so many readings of one partition: one mutation for the server. Built once a size, since
    /// building it costs more than filling it.
    pub(super) fn batch_of_readings(&self, rows: usize) -> &Batch {
        self.batches[rows].get_or_init(|| unlogged(std::iter::repeat_n(&self.insert_reading, rows)))
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

/// A batch within one partition, where logging it would buy nothing: the server applies it as one mutation anyway.
pub(super) fn unlogged<'a>(statements: impl Iterator<Item = &'a PreparedStatement>) -> Batch {
    let mut batch = Batch::new(BatchType::Unlogged);
    for statement in statements {
        batch.append_statement(statement.clone());
    }
    batch.set_is_idempotent(true);
    batch
}
