//! Making keyspace and tables in Cassandra: one process at a time, by a lock in the keyspace itself.

use std::collections::BTreeMap;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::value::Row;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::connect::{connect, place};
use super::error::Cause;
use super::shape;
use crate::store::schema::migrations::{self, Migration, Placeholders, Recorded};
use crate::store::schema::{Difference, Inspection, SchemaReport};
use crate::store::{SchemaSettings, StoreError, StoreSettings};

/// For one statement: the server answers when all nodes agree on the new schema.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The lock of a process that died is gone after so long. Renewed before each migration.
const LOCK_TTL_S: i32 = 30;

/// How often a process that waits for the lock asks again.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// Longer than a dead process can hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(LOCK_TTL_S as u64 + 15);

pub(in crate::store) async fn apply(
    settings: &StoreSettings,
    schema: &SchemaSettings,
    hosts: &[String],
    keyspace: &str,
) -> Result<SchemaReport, StoreError> {
    let session = connect(settings, hosts, keyspace, STATEMENT_TIMEOUT).await?;
    let migrator = Migrator::new(session, schema, hosts, keyspace);
    migrator.run(&migrations::CASSANDRA_BEGIN).await?;
    migrator.lock().await?;
    let report = migrator.migrate(schema).await;
    migrator.unlock().await;
    report
}

/// What there is, beside what should be; `None` where there is no such keyspace. Changes nothing.
pub(super) async fn inspect(
    session: Session,
    schema: &SchemaSettings,
    hosts: &[String],
    keyspace: &str,
) -> Result<Option<Inspection>, StoreError> {
    let migrator = Migrator::new(session, schema, hosts, keyspace);
    let failed = |cause: Cause| cause.into_error(&migrator.target, "read the schema");
    match shape::is_there(&migrator.session, keyspace).await.map_err(failed)? {
        true => migrator.inspect(schema).await.map(Some),
        false => Ok(None),
    }
}

/// Drops the keyspace where it is there.
pub(in crate::store) async fn remove(
    settings: &StoreSettings,
    hosts: &[String],
    keyspace: &str,
) -> Result<(), StoreError> {
    let session = connect(settings, hosts, keyspace, STATEMENT_TIMEOUT).await?;
    // The name cannot be bound; a store's address takes no other than plain ones.
    let dropped = session
        .query_unpaged(format!("DROP KEYSPACE IF EXISTS {keyspace}"), ())
        .await;
    match dropped {
        Ok(_) => Ok(()),
        Err(error) => Err(Cause::from(error).into_error(&place(hosts), format!("drop keyspace {keyspace}"))),
    }
}

struct Migrator {
    session: Session,
    keyspace: String,
    values: Placeholders,
    /// For errors: `cassandra host:port/keyspace`.
    target: String,
    /// Whose the lock is.
    owner: Uuid,
}

impl Migrator {
    fn new(session: Session, schema: &SchemaSettings, hosts: &[String], keyspace: &str) -> Migrator {
        Migrator {
            session,
            keyspace: keyspace.to_owned(),
            values: Placeholders::cassandra(keyspace, schema),
            target: format!("{}/{keyspace}", place(hosts)),
            owner: Uuid::new_v4(),
        }
    }

    async fn inspect(&self, schema: &SchemaSettings) -> Result<Inspection, StoreError> {
        let failed = |cause: Cause| cause.into_error(&self.target, "read the schema");
        let recorded = self.recorded().await.map_err(failed)?;
        migrations::check_recorded(migrations::CASSANDRA, &recorded, &self.target)?;
        let is_recorded = |migration: &&Migration| recorded.iter().any(|applied| applied.number == migration.number);
        let (present, pending): (Vec<_>, Vec<_>) = migrations::CASSANDRA.iter().partition(is_recorded);
        let names = |of: Vec<&Migration>| of.into_iter().map(|migration| migration.name.to_owned()).collect();
        let differences = shape::differences(&self.session, &self.keyspace)
            .await
            .map_err(failed)?;
        let options = match differences.is_empty() {
            true => self.options(schema).await.map_err(failed)?,
            // Of a table that may not be there.
            false => Vec::new(),
        };
        Ok(Inspection {
            present: names(present),
            pending: names(pending),
            unknown: unknown(&recorded),
            differences,
            options,
        })
    }

    async fn migrate(&self, schema: &SchemaSettings) -> Result<SchemaReport, StoreError> {
        let failed = |cause: Cause| cause.into_error(&self.target, "read the schema");
        let recorded = self.recorded().await.map_err(failed)?;
        migrations::check_recorded(migrations::CASSANDRA, &recorded, &self.target)?;
        let mut report = SchemaReport::default();
        let before = shape::differences(&self.session, &self.keyspace)
            .await
            .map_err(failed)?;
        for migration in migrations::CASSANDRA {
            let is_recorded = recorded.iter().any(|applied| applied.number == migration.number);
            let is_gone = |name: &&str| {
                before
                    .iter()
                    .any(|found| found.is_missing_whole() && found.place == **name)
            };
            if is_recorded && !migration.tables.iter().any(is_gone) {
                report.present.push(migration.name.to_owned());
                continue;
            }
            self.renew()
                .await
                .map_err(|cause| cause.into_error(&self.target, "keep the lock of the schema"))?;
            self.run(migration).await?;
            // A table of another shape was there before: nothing was applied to it, so nothing is recorded.
            let after = shape::differences(&self.session, &self.keyspace)
                .await
                .map_err(failed)?;
            let is_about = |difference: &Difference| {
                let table = difference.place.split('.').next().unwrap_or_default();
                migration.tables.contains(&table)
            };
            if !after.iter().any(is_about) {
                self.record(migration)
                    .await
                    .map_err(|cause| cause.into_error(&self.target, format!("record migration {}", migration.name)))?;
                info!(migration = migration.name, target = self.target, "migration applied");
                report.applied.push(migration.name.to_owned());
            }
        }
        report.differences = shape::differences(&self.session, &self.keyspace)
            .await
            .map_err(failed)?;
        let options = self.options(schema).await.map_err(failed)?;
        report.warnings = options.iter().map(Difference::to_string).collect();
        report.warnings.extend(unknown(&recorded));
        Ok(report)
    }

    /// Runs the statements of a migration. One that fails for a moment is tried again: a schema that is just being changed
    /// from elsewhere answers with errors of all kinds.
    async fn run(&self, migration: &Migration) -> Result<(), StoreError> {
        for statement in migration.statements(&self.values) {
            let mut attempts_left = 3;
            loop {
                attempts_left -= 1;
                let Err(error) = self.session.query_unpaged(statement.as_str(), ()).await else {
                    break;
                };
                let error = Cause::from(error).into_error(&self.target, format!("apply migration {}", migration.name));
                if attempts_left == 0 || !error.is_transient() {
                    return Err(error);
                }
                warn!(%error, "trying the statement again");
                sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    async fn recorded(&self) -> Result<Vec<Recorded>, Cause> {
        let text = format!("SELECT number, name, checksum FROM {}.schema_migrations", self.keyspace);
        let answer = self.session.query_unpaged(text, ()).await?.into_rows_result()?;
        let mut recorded = Vec::new();
        for row in answer.rows::<(i32, String, Uuid)>()? {
            let (number, name, checksum) = row?;
            recorded.push(Recorded { number, name, checksum });
        }
        recorded.sort_by_key(|applied| applied.number);
        Ok(recorded)
    }

    async fn record(&self, migration: &Migration) -> Result<(), Cause> {
        let text = format!(
            "INSERT INTO {}.schema_migrations (number, name, checksum, applied_at) \
             VALUES (?, ?, ?, toTimestamp(now()))",
            self.keyspace
        );
        let values = (migration.number, migration.name, migration.checksum());
        self.session.query_unpaged(text, values).await?;
        Ok(())
    }

    /// Waits until nobody else changes the schema.
    async fn lock(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + LOCK_WAIT;
        let mut is_first = true;
        loop {
            let blocked_by = match self.try_lock().await {
                Ok(None) => return Ok(()),
                Ok(Some(owner)) => format!("process {owner} is changing the schema"),
                // Compare-and-set that timed out may have gone through: the next attempt tells.
                Err(error) => match error.into_error(&self.target, "take the lock of the schema") {
                    error if error.is_transient() => error.to_string(),
                    error => return Err(error),
                },
            };
            if Instant::now() >= deadline {
                let waited = LOCK_WAIT.as_secs();
                return Err(StoreError::Transient(format!(
                    "{}: waited {waited} s: {blocked_by}",
                    self.target
                )));
            }
            if std::mem::take(&mut is_first) {
                info!(reason = blocked_by, "waiting for the lock of the schema");
            }
            sleep(LOCK_POLL).await;
        }
    }

    /// `None`: the lock is ours. Otherwise whose it is.
    async fn try_lock(&self) -> Result<Option<Uuid>, Cause> {
        let text = format!(
            "INSERT INTO {}.schema_lock (name, owner) VALUES ('migrations', ?) IF NOT EXISTS USING TTL ?",
            self.keyspace
        );
        let answer = self
            .session
            .query_unpaged(text, (self.owner, LOCK_TTL_S))
            .await?
            .into_rows_result()?;
        // `[applied]`, and where that is false the row: its name and its owner.
        let row: Row = answer.first_row()?;
        let is_applied = row
            .columns
            .first()
            .and_then(|value| value.as_ref()?.as_boolean())
            .unwrap_or(false);
        let owner = row.columns.iter().flatten().find_map(|value| value.as_uuid());
        Ok(owner.filter(|owner| !is_applied && *owner != self.owner))
    }

    async fn renew(&self) -> Result<(), Cause> {
        let text = format!(
            "UPDATE {}.schema_lock USING TTL ? SET owner = ? WHERE name = 'migrations' IF owner = ?",
            self.keyspace
        );
        self.session
            .query_unpaged(text, (LOCK_TTL_S, self.owner, self.owner))
            .await?;
        Ok(())
    }

    /// What fails here is only a wait for the next one.
    async fn unlock(&self) {
        let text = format!(
            "DELETE FROM {}.schema_lock WHERE name = 'migrations' IF owner = ?",
            self.keyspace
        );
        if let Err(error) = self.session.query_unpaged(text, (self.owner,)).await {
            warn!(%error, "the lock of the schema stays until it expires");
        }
    }

    /// Options that are set otherwise than configured. They are the operator's to change: each costs work on the servers.
    async fn options(&self, schema: &SchemaSettings) -> Result<Vec<Difference>, Cause> {
        let mut differing = Vec::new();
        let text = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let answer = self
            .session
            .query_unpaged(text, (&self.keyspace,))
            .await?
            .into_rows_result()?;
        let (replication,) = answer.first_row::<(BTreeMap<String, String>,)>()?;
        let text = "SELECT default_time_to_live, compaction FROM system_schema.tables \
                    WHERE keyspace_name = ? AND table_name = 'sensor_readings'";
        let answer = self
            .session
            .query_unpaged(text, (&self.keyspace,))
            .await?
            .into_rows_result()?;
        let (ttl_s, compaction) = answer.first_row::<(i32, BTreeMap<String, String>)>()?;
        let mut compare = |place: &str, is: String, should_be: String| {
            if is != should_be {
                differing.push(Difference::new(place, is, should_be));
            }
        };
        let wanted = schema.replication.options();
        compare(
            "keyspace.replication",
            shown(&replication, None),
            migrations::cql_map(&wanted),
        );
        let wanted_ttl_s = schema.readings_ttl_s.unwrap_or(0);
        compare(
            "sensor_readings.default_time_to_live",
            ttl_s.to_string(),
            wanted_ttl_s.to_string(),
        );
        let wanted = schema.readings_compaction.options();
        compare(
            "sensor_readings.compaction",
            shown(&compaction, Some(&wanted)),
            migrations::cql_map(&wanted),
        );
        for (table, read_repair, ttl_s) in self.fenced_options().await? {
            compare(&format!("{table}.read_repair"), read_repair, "BLOCKING".to_owned());
            compare(
                &format!("{table}.default_time_to_live"),
                ttl_s.to_string(),
                0.to_string(),
            );
        }
        Ok(differing)
    }

    /// Read repair and time to live of the tables whose cells must stay visible once they were read.
    async fn fenced_options(&self) -> Result<Vec<(String, String, i32)>, Cause> {
        let text = "SELECT table_name, read_repair, default_time_to_live FROM system_schema.tables \
                    WHERE keyspace_name = ?";
        let answer = self.session.query_unpaged(text, (&self.keyspace,)).await?;
        let answer = answer.into_rows_result()?;
        let mut options = Vec::new();
        for row in answer.rows::<(String, String, i32)>()? {
            let row = row?;
            if shape::FENCED.contains(&row.0.as_str()) {
                options.push(row);
            }
        }
        Ok(options)
    }
}

/// Migrations that only a newer program knows, a line each.
fn unknown(recorded: &[Recorded]) -> Vec<String> {
    let names = migrations::unknown(migrations::CASSANDRA, recorded).into_iter();
    let told = names.map(|name| format!("migration {name} is unknown here: a newer iotpipe applied it"));
    told.collect()
}

/// Options as they would be written: the class by its short name and, where `only` is given, without those that the server
/// added as defaults.
fn shown(options: &BTreeMap<String, String>, only: Option<&BTreeMap<String, String>>) -> String {
    let is_asked = |name: &String| only.is_none_or(|only| only.contains_key(name));
    let short = |(name, value): (&String, &String)| {
        let value = if name == "class" {
            value.rsplit('.').next().unwrap_or(value)
        } else {
            value
        };
        (name.clone(), value.to_owned())
    };
    migrations::cql_map(&options.iter().filter(|(name, _)| is_asked(name)).map(short).collect())
}
