//! Making the tables in a file, and comparing those of a file with what the migrations make in memory.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Result as SqlResult, TransactionBehavior, params};
use uuid::Uuid;

use super::connection::{blocking, create};
use super::error::sorted;
use crate::store::schema::migrations::{self, Migration, Placeholders, Recorded};
use crate::store::schema::{Difference, SchemaReport, unusable};
use crate::store::{SchemaSettings, StoreError, StoreSettings};

pub(in crate::store) async fn apply(
    settings: &StoreSettings,
    schema: &SchemaSettings,
    path: &Path,
) -> Result<SchemaReport, StoreError> {
    let (settings, path) = (settings.clone(), path.to_owned());
    let wants_ttl = schema.readings_ttl_s.is_some();
    blocking(move || {
        let mut connection = create(&settings, &path)?;
        let target = target(&path);
        let mut report = migrate(&mut connection, &path, &target)?;
        if wants_ttl {
            report
                .warnings
                .push("sensor_readings: SQLite expires nothing, a time to live has no effect".to_owned());
        }
        Ok(report)
    })
    .await
}

/// Removes the file, and what SQLite keeps beside it.
pub(in crate::store) async fn remove(path: &Path) -> Result<(), StoreError> {
    let path = path.to_owned();
    blocking(move || {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Permanent(format!(
                        "{}: cannot remove the file: {error}",
                        target(&path)
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    })
    .await
}

/// Fails unless all tables are as needed.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let differences = differences(connection).map_err(|error| sorted(path, "read the schema", &error))?;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(unusable(&target(path), &differences))
    }
}

fn target(path: &Path) -> String {
    format!("sqlite {}", path.display())
}

/// In one transaction, so another process waits and finds everything done, and a crash leaves nothing half made.
fn migrate(connection: &mut Connection, path: &Path, target: &str) -> Result<SchemaReport, StoreError> {
    let failed = |error: rusqlite::Error| sorted(path, "apply the migrations", &error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    run(&transaction, &migrations::SQLITE_BEGIN).map_err(failed)?;
    let recorded = recorded(&transaction).map_err(failed)?;
    migrations::check_recorded(migrations::SQLITE, &recorded, target)?;
    let mut report = SchemaReport::default();
    let before = differences(&transaction).map_err(failed)?;
    for migration in migrations::SQLITE {
        let is_recorded = recorded.iter().any(|applied| applied.number == migration.number);
        let is_gone = |table: &&str| before.contains(&Difference::missing_table(table));
        if is_recorded && !migration.tables.iter().any(is_gone) {
            report.present.push(migration.name.to_owned());
            continue;
        }
        // A table of another shape is there already: its migration would change nothing, so nothing is recorded.
        let is_foreign = |difference: &Difference| {
            let table = difference.place.split('.').next().unwrap_or_default();
            migration.tables.contains(&table) && *difference != Difference::missing_table(table)
        };
        if before.iter().any(is_foreign) {
            continue;
        }
        run(&transaction, migration).map_err(failed)?;
        record(&transaction, migration).map_err(failed)?;
        report.applied.push(migration.name.to_owned());
    }
    report.differences = differences(&transaction).map_err(failed)?;
    for name in migrations::unknown(migrations::SQLITE, &recorded) {
        report
            .warnings
            .push(format!("migration {name} is unknown here: a newer iotpipe applied it"));
    }
    transaction.commit().map_err(failed)?;
    Ok(report)
}

fn run(connection: &Connection, migration: &Migration) -> SqlResult<()> {
    connection.execute_batch(&migration.text(&Placeholders::none()))
}

fn recorded(connection: &Connection) -> SqlResult<Vec<Recorded>> {
    let mut select = connection.prepare("SELECT number, name, checksum FROM schema_migrations ORDER BY number")?;
    let rows = select.query_map([], |row| {
        let checksum: String = row.get(2)?;
        // What is no checksum at all is as wrong as another one.
        let checksum = Uuid::try_parse(&checksum).unwrap_or(Uuid::nil());
        Ok(Recorded {
            number: row.get(0)?,
            name: row.get(1)?,
            checksum,
        })
    })?;
    rows.collect()
}

fn record(connection: &Connection, migration: &Migration) -> SqlResult<()> {
    connection.execute(
        "INSERT OR REPLACE INTO schema_migrations (number, name, checksum, applied_at) \
         VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ'))",
        params![migration.number, migration.name, migration.checksum().to_string()],
    )?;
    Ok(())
}

/// All differences between the file's tables and those that the migrations make.
fn differences(connection: &Connection) -> SqlResult<Vec<Difference>> {
    let model = Connection::open_in_memory()?;
    for migration in migrations::SQLITE {
        run(&model, migration)?;
    }
    let mut differences = Vec::new();
    for table in migrations::SQLITE.iter().flat_map(|migration| migration.tables) {
        let (is, should_be) = (shape(connection, table)?, shape(&model, table)?);
        if is.is_empty() {
            differences.push(Difference::missing_table(table));
            continue;
        }
        for (place, should_be) in &should_be {
            let is = is.get(place).map_or("missing", String::as_str);
            if is != should_be {
                differences.push(Difference::new(place, is, should_be));
            }
        }
        for (place, is) in is.iter().filter(|(place, _)| !should_be.contains_key(*place)) {
            differences.push(Difference::new(place, is, "absent"));
        }
    }
    Ok(differences)
}

/// A table in words: `table` with what kind it is, and each `table.column`. Empty where there is no such table.
fn shape(connection: &Connection, table: &str) -> SqlResult<BTreeMap<String, String>> {
    let mut shape = BTreeMap::new();
    let mut list = connection.prepare(
        "SELECT CASE WHEN strict THEN 'strict' ELSE 'lax' END || CASE WHEN wr THEN ' without rowid' ELSE '' END \
                || CASE type WHEN 'table' THEN ' table' ELSE ' ' || type END \
         FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
    )?;
    for kind in list.query_map([table], |row| row.get(0))? {
        shape.insert(table.to_owned(), kind?);
    }
    let mut columns = connection.prepare(
        "SELECT name, type || iif(\"notnull\", ' not null', '') || iif(pk > 0, ' as key ' || pk, '') \
         FROM pragma_table_xinfo(?1)",
    )?;
    for column in columns.query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
        let (name, text) = column?;
        shape.insert(format!("{table}.{name}"), text);
    }
    Ok(shape)
}
