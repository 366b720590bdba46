//! Making the tables, and telling how those that are there differ from those that are needed.

use std::fmt;

use super::{SchemaSettings, StoreError, StoreSettings, StoreUrl, cassandra, sqlite};

pub(super) mod migrations;

use migrations::{Migration, Placeholders};

/// What `apply` found and did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SchemaReport {
    /// Migrations applied now, by name, in order.
    pub applied: Vec<String>,
    /// Migrations that were there already.
    pub present: Vec<String>,
    /// Tables of another shape than needed: with any of these the store cannot be used.
    pub differences: Vec<Difference>,
    /// Options that are set otherwise than configured, and what else is worth a look. The store can be used.
    pub warnings: Vec<String>,
}

/// What was found where nothing is changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Inspection {
    /// Migrations that were applied, by name, in order.
    pub present: Vec<String>,
    /// Migrations that were not.
    pub pending: Vec<String>,
    /// Migrations that only a newer program knows.
    pub unknown: Vec<String>,
    /// Tables of another shape than needed.
    pub differences: Vec<Difference>,
    /// Options that are set otherwise than configured or needed.
    pub options: Vec<Difference>,
}

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// `table` or `table.column`.
    pub place: String,
    pub is: String,
    pub should_be: String,
}

impl Difference {
    pub(super) fn new(place: impl Into<String>, is: impl Into<String>, should_be: impl Into<String>) -> Difference {
        Difference {
            place: place.into(),
            is: is.into(),
            should_be: should_be.into(),
        }
    }

    pub(super) fn missing_table(table: &str) -> Difference {
        Difference::new(table, "missing", "a table")
    }

    pub(super) fn missing_type(name: &str) -> Difference {
        Difference::new(name, "missing", "a type")
    }

    /// Whether it says that a whole table or type is not there.
    pub(super) fn is_missing_whole(&self) -> bool {
        self.is == "missing" && !self.place.contains('.')
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: is {}, should be {}", self.place, self.is, self.should_be)
    }
}

/// Makes what is missing; what is there stays as it is, and is compared with what it should be. Safe to run twice, and by
/// two processes at once. Fails where the store cannot be reached or an applied migration has another text now; tables of
/// another shape are in the report.
pub async fn apply(settings: &StoreSettings, schema: &SchemaSettings) -> Result<SchemaReport, StoreError> {
    match &settings.url {
        StoreUrl::Cassandra { hosts, keyspace } => cassandra::schema::apply(settings, schema, hosts, keyspace).await,
        StoreUrl::Sqlite { path } => sqlite::schema::apply(settings, schema, path).await,
    }
}

/// Removes the keyspace or the file with all that is in it; nothing there is fine. For what a program made for itself alone.
pub async fn remove(settings: &StoreSettings) -> Result<(), StoreError> {
    match &settings.url {
        StoreUrl::Cassandra { hosts, keyspace } => cassandra::schema::remove(settings, hosts, keyspace).await,
        StoreUrl::Sqlite { path } => sqlite::schema::remove(path).await,
    }
}

/// What `apply` would run on an empty store, as a file that cqlsh or sqlite3 takes. Needs no server.
pub fn print_ddl(url: &StoreUrl, schema: &SchemaSettings) -> String {
    let (begin, migrations, values) = match url {
        StoreUrl::Cassandra { keyspace, .. } => (
            &migrations::CASSANDRA_BEGIN,
            migrations::CASSANDRA,
            Placeholders::cassandra(keyspace, schema),
        ),
        StoreUrl::Sqlite { .. } => (&migrations::SQLITE_BEGIN, migrations::SQLITE, Placeholders::none()),
    };
    let text = |migration: &Migration| format!("-- {}\n{}", migration.name, migration.text(&values));
    std::iter::once(begin)
        .chain(migrations)
        .map(text)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The error of a program that finds tables it cannot use.
pub(super) fn unusable(target: &str, differences: &[Difference]) -> StoreError {
    let list = differences
        .iter()
        .map(Difference::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    let what_to_do = if differences.iter().all(Difference::is_missing_whole) {
        "run `iotpipe init-schema`"
    } else {
        "these tables were not made by this version of iotpipe: use another keyspace or file, or change them"
    };
    StoreError::Permanent(format!("{target}: tables are not as needed: {list}; {what_to_do}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_schema_needs_no_server_and_holds_everything() {
        let url = "cassandra://nowhere/k".parse().expect("an address");
        let text = print_ddl(&url, &SchemaSettings::default());
        for part in [
            "CREATE KEYSPACE IF NOT EXISTS k",
            "k.sensor_readings",
            "k.sensors",
            "k.sources",
            "CREATE TYPE IF NOT EXISTS k.aggregate",
            "k.window_aggregates",
            "k.sensor_state",
            "k.alerts_by_day",
            "k.active_alerts",
            "k.runs",
            "k.schema_migrations",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = print_ddl(&"sqlite:x".parse().expect("an address"), &SchemaSettings::default());
        assert!(text.contains("WITHOUT ROWID") && text.contains("CREATE VIEW"), "{text}");
    }

    #[test]
    fn missing_tables_are_to_be_made_and_foreign_ones_are_not() {
        let missing = Difference::missing_table("sources");
        assert!(
            unusable("here", std::slice::from_ref(&missing))
                .to_string()
                .ends_with("run `iotpipe init-schema`")
        );
        let foreign = Difference::new("sources.topic", "int", "text");
        let text = unusable("here", &[missing, foreign]).to_string();
        assert!(
            text.contains("sources: is missing, should be a table; sources.topic: is int, should be text; "),
            "{text}"
        );
        assert!(!text.contains("init-schema"), "{text}");
    }
}
