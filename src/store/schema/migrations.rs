//! The numbered migrations, as text in the program. A new one gets a new number and file; one that was released never
//! changes, which the checksum in each store's own ledger watches over.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::store::StoreError;
use crate::store::settings::SchemaSettings;

/// Namespace of the checksums (UUIDv5 of a migration's text) and of the ids of the two first tables. Fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5be1_5f1e_0d0c_4c36_9d0c_8a7c_53b2_9a41);

/// One step of the schema. Its statements may run any number of times.
pub(in crate::store) struct Migration {
    pub(in crate::store) number: i32,
    pub(in crate::store) name: &'static str,
    /// Tables and types that it makes or alters. Where one of them is gone, the migration runs again.
    pub(in crate::store) tables: &'static [&'static str],
    text: &'static str,
}

/// Runs first and every time; `number` 0 is in no ledger.
pub(in crate::store) const CASSANDRA_BEGIN: Migration = Migration {
    number: 0,
    name: "0000_ledger_of_migrations",
    tables: &["schema_migrations", "schema_lock"],
    text: include_str!("../../../cql/0000_ledger_of_migrations.cql"),
};

pub(in crate::store) const CASSANDRA: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_readings",
        tables: &["sensor_readings"],
        text: include_str!("../../../cql/0001_readings.cql"),
    },
    Migration {
        number: 2,
        name: "0002_sensors",
        tables: &["sensors"],
        text: include_str!("../../../cql/0002_sensors.cql"),
    },
    Migration {
        number: 3,
        name: "0003_sources",
        tables: &["sources"],
        text: include_str!("../../../cql/0003_sources.cql"),
    },
    Migration {
        number: 4,
        name: "0004_source_holes",
        tables: &["source_holes"],
        text: include_str!("../../../cql/0004_source_holes.cql"),
    },
    Migration {
        number: 5,
        name: "0005_windows",
        tables: &["aggregate", "window_aggregates"],
        text: include_str!("../../../cql/0005_windows.cql"),
    },
    Migration {
        number: 6,
        name: "0006_sensor_state",
        tables: &["sensor_state"],
        text: include_str!("../../../cql/0006_sensor_state.cql"),
    },
    Migration {
        number: 7,
        name: "0007_alerts",
        tables: &["alerts", "alerts_by_day", "active_alerts"],
        text: include_str!("../../../cql/0007_alerts.cql"),
    },
    Migration {
        number: 8,
        name: "0008_runs",
        tables: &["runs"],
        text: include_str!("../../../cql/0008_runs.cql"),
    },
];

/// Runs first and every time; `number` 0 is in no ledger.
pub(in crate::store) const SQLITE_BEGIN: Migration = Migration {
    number: 0,
    name: "0000_ledger_of_migrations",
    tables: &["schema_migrations"],
    text: include_str!("../../../cql/sqlite/0000_ledger_of_migrations.sql"),
};

pub(in crate::store) const SQLITE: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_readings",
        tables: &["sensor_readings"],
        text: include_str!("../../../cql/sqlite/0001_readings.sql"),
    },
    Migration {
        number: 2,
        name: "0002_sensors",
        tables: &["sensors", "sensor_last_values"],
        text: include_str!("../../../cql/sqlite/0002_sensors.sql"),
    },
    Migration {
        number: 3,
        name: "0003_sources",
        tables: &["sources"],
        text: include_str!("../../../cql/sqlite/0003_sources.sql"),
    },
    Migration {
        number: 4,
        name: "0004_source_holes",
        tables: &["source_holes"],
        text: include_str!("../../../cql/sqlite/0004_source_holes.sql"),
    },
    Migration {
        number: 5,
        name: "0005_windows",
        tables: &["window_aggregates"],
        text: include_str!("../../../cql/sqlite/0005_windows.sql"),
    },
    Migration {
        number: 6,
        name: "0006_sensor_state",
        tables: &["sensor_state"],
        text: include_str!("../../../cql/sqlite/0006_sensor_state.sql"),
    },
    Migration {
        number: 7,
        name: "0007_alerts",
        tables: &["alerts", "active_alerts"],
        text: include_str!("../../../cql/sqlite/0007_alerts.sql"),
    },
    Migration {
        number: 8,
        name: "0008_runs",
        tables: &["runs"],
        text: include_str!("../../../cql/sqlite/0008_runs.sql"),
    },
];

impl Migration {
    /// Of the text before any setting is filled in: another time to live is not another migration.
    pub(in crate::store) fn checksum(&self) -> Uuid {
        Uuid::new_v5(&NAMESPACE, self.text.as_bytes())
    }

    /// The text with the placeholders filled. SQLite's has none.
    pub(in crate::store) fn text(&self, values: &Placeholders) -> String {
        values
            .0
            .iter()
            .fold(self.text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Its statements, one by one and without comments, for a server that takes no more than one at a time.
    pub(in crate::store) fn statements(&self, values: &Placeholders) -> Vec<String> {
        let without_comment = |line: &str| line.split("--").next().unwrap_or_default().trim_end().to_owned();
        let code: Vec<String> = self.text(values).lines().map(without_comment).collect();
        code.join("\n")
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// What stands in braces in the migrations, and what to put there.
pub(in crate::store) struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    pub(in crate::store) fn none() -> Placeholders {
        Placeholders(Vec::new())
    }

    pub(in crate::store) fn cassandra(keyspace: &str, settings: &SchemaSettings) -> Placeholders {
        let fixed_id = |table: &str| Uuid::new_v5(&NAMESPACE, format!("{keyspace}.{table}").as_bytes()).to_string();
        Placeholders(vec![
            ("{keyspace}", keyspace.to_owned()),
            ("{replication}", cql_map(&settings.replication.options())),
            (
                "{readings_compaction}",
                cql_map(&settings.readings_compaction.options()),
            ),
            // 0 is Cassandra's word for never.
            ("{readings_ttl_s}", settings.readings_ttl_s.unwrap_or(0).to_string()),
            ("{schema_migrations_id}", fixed_id("schema_migrations")),
            ("{schema_lock_id}", fixed_id("schema_lock")),
        ])
    }
}

/// A map as CQL writes it. Options of a table cannot be bound, so quotes in them are doubled; the class comes first, as
/// people write it.
pub(in crate::store) fn cql_map(options: &BTreeMap<String, String>) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let (class, rest): (Vec<_>, Vec<_>) = options.iter().partition(|(name, _)| *name == "class");
    let entries = class
        .into_iter()
        .chain(rest)
        .map(|(name, value)| format!("{}: {}", quote(name), quote(value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

/// What a ledger says about one migration.
pub(in crate::store) struct Recorded {
    pub(in crate::store) number: i32,
    pub(in crate::store) name: String,
    pub(in crate::store) checksum: Uuid,
}

/// Refuses to go on where an applied migration has another text now: nobody knows then what the tables look like.
pub(in crate::store) fn check_recorded(
    migrations: &[Migration],
    recorded: &[Recorded],
    target: &str,
) -> Result<(), StoreError> {
    for applied in recorded {
        let Some(known) = migrations.iter().find(|migration| migration.number == applied.number) else {
            continue;
        };
        if known.checksum() != applied.checksum {
            return Err(StoreError::Permanent(format!(
                "{target}: migration {} was applied with another text (checksum {}, in this program {}); use the version \
                 of iotpipe that applied it, or another store",
                known.name,
                applied.checksum,
                known.checksum()
            )));
        }
    }
    Ok(())
}

/// Migrations in the ledger that this program does not know: a newer version made them.
pub(in crate::store) fn unknown(migrations: &[Migration], recorded: &[Recorded]) -> Vec<String> {
    let is_known = |applied: &&Recorded| migrations.iter().any(|migration| migration.number == applied.number);
    recorded
        .iter()
        .filter(|applied| !is_known(applied))
        .map(|applied| applied.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::settings::{Compaction, Replication};

    #[test]
    fn migrations_are_numbered_without_gaps_and_named_after_their_files() {
        for migrations in [CASSANDRA, SQLITE] {
            for (index, migration) in migrations.iter().enumerate() {
                assert_eq!(migration.number, index as i32 + 1);
                assert!(
                    migration.name.starts_with(&format!("{:04}_", migration.number)),
                    "{}",
                    migration.name
                );
            }
        }
    }

    #[test]
    fn every_placeholder_is_filled_and_every_statement_may_run_twice() {
        let values = Placeholders::cassandra("iot_data", &SchemaSettings::default());
        for migration in CASSANDRA.iter().chain([&CASSANDRA_BEGIN]) {
            for statement in migration.statements(&values) {
                assert!(statement.contains("IF NOT EXISTS"), "{statement}");
                // What is left of braces is the maps of CQL, whose names are quoted.
                assert!(!statement.replace("{'", "").contains('{'), "{statement}");
            }
        }
        for migration in SQLITE.iter().chain([&SQLITE_BEGIN]) {
            let text = migration.text(&Placeholders::none());
            assert_eq!(
                text.matches("CREATE").count(),
                text.matches("IF NOT EXISTS").count(),
                "{}",
                migration.name
            );
        }
    }

    #[test]
    fn settings_reach_the_tables() {
        let settings = SchemaSettings {
            replication: Replication::PerDataCentre([("dc1".to_owned(), 3), ("o'dc".to_owned(), 2)].into()),
            readings_ttl_s: Some(86_400),
            readings_compaction: Compaction::Twcs,
        };
        let values = Placeholders::cassandra("k", &settings);
        let begin = CASSANDRA_BEGIN.text(&values);
        assert!(
            begin.contains("{'class': 'NetworkTopologyStrategy', 'dc1': '3', 'o''dc': '2'}"),
            "{begin}"
        );
        let readings = CASSANDRA[0].text(&values);
        assert!(readings.contains("default_time_to_live = 86400"), "{readings}");
        assert!(
            readings.contains("'TimeWindowCompactionStrategy', 'compaction_window_size': '1'"),
            "{readings}"
        );
    }

    #[test]
    fn a_changed_migration_is_named_and_a_newer_one_is_told() {
        let recorded = |number, checksum| Recorded {
            number,
            name: format!("{number:04}_x"),
            checksum,
        };
        let as_applied = [recorded(1, CASSANDRA[0].checksum()), recorded(99, Uuid::nil())];
        assert!(check_recorded(CASSANDRA, &as_applied, "here").is_ok());
        assert_eq!(unknown(CASSANDRA, &as_applied), ["0099_x"]);
        let changed = check_recorded(CASSANDRA, &[recorded(2, Uuid::nil())], "here").expect_err("another text");
        assert!(
            changed
                .to_string()
                .starts_with("here: migration 0002_sensors was applied with another text")
        );
    }
}
