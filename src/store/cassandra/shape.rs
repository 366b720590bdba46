//! What the tables must look like, and how those of a keyspace differ from it.

use std::collections::BTreeMap;

use scylla::client::session::Session;

use super::error::Cause;
use crate::store::StoreError;
use crate::store::schema::{Difference, unusable};

struct Table {
    name: &'static str,
    /// In CQL's words: name, type, and for keys their place.
    columns: &'static [(&'static str, &'static str, Role)],
}

#[derive(Clone, Copy)]
enum Role {
    /// Position within the partition key.
    Partition(i32),
    /// Position and order within the partition.
    Clustering(i32, &'static str),
    Regular,
}

use Role::{Clustering, Partition, Regular};

/// A user type: names and types of its fields, in order.
struct UserType {
    name: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

/// Kept beside the migrations, as are the tables below.
const TYPES: &[UserType] = &[UserType {
    name: "aggregate",
    fields: &[
        ("last_offset", "bigint"),
        ("count", "bigint"),
        ("sum", "double"),
        ("mean", "double"),
        ("m2", "double"),
        ("min", "double"),
        ("max", "double"),
        ("first", "double"),
        ("first_at", "timestamp"),
        ("last", "double"),
        ("last_at", "timestamp"),
    ],
}];

/// Tables whose cells carry offsets as write timestamps: what hides a cell or expires it breaks them.
pub(super) const FENCED: [&str; 5] = [
    "window_aggregates",
    "sensor_state",
    "alerts",
    "alerts_by_day",
    "active_alerts",
];

/// Kept beside the migrations: what they make, once all have run.
const TABLES: &[Table] = &[
    Table {
        name: "sensor_readings",
        columns: &[
            ("sensor_id", "uuid", Partition(0)),
            ("day", "date", Partition(1)),
            ("reading_time", "timestamp", Clustering(0, "desc")),
            ("type", "text", Clustering(1, "asc")),
            ("reading", "double", Regular),
        ],
    },
    Table {
        name: "sensors",
        columns: &[
            ("shard", "int", Partition(0)),
            ("sensor_id", "uuid", Clustering(0, "asc")),
            ("label", "text", Regular),
            ("status", "text", Regular),
            ("location", "frozen<tuple<double, double>>", Regular),
            ("first_day", "date", Regular),
            ("last_day", "date", Regular),
            ("last_values", "map<text, frozen<tuple<timestamp, double>>>", Regular),
        ],
    },
    Table {
        name: "sources",
        columns: &[
            ("source", "text", Partition(0)),
            ("topic", "text", Regular),
            ("topic_id", "uuid", Regular),
            ("partition", "int", Regular),
            ("from_offset", "bigint", Regular),
            ("acked_to", "bigint", Regular),
            ("processing", "text", Regular),
        ],
    },
    Table {
        name: "source_holes",
        columns: &[("source", "text", Partition(0)), ("hole", "text", Clustering(0, "asc"))],
    },
    Table {
        name: "window_aggregates",
        columns: &[
            ("sensor_id", "uuid", Partition(0)),
            ("day", "date", Partition(1)),
            ("type", "text", Clustering(0, "asc")),
            ("size_s", "int", Clustering(1, "asc")),
            ("window_start", "timestamp", Clustering(2, "desc")),
            ("source", "text", Clustering(3, "asc")),
            ("agg", "frozen<aggregate>", Regular),
        ],
    },
    Table {
        name: "sensor_state",
        columns: &[
            ("sensor_id", "uuid", Partition(0)),
            ("source", "text", Clustering(0, "asc")),
            ("state", "blob", Regular),
        ],
    },
    Table {
        name: "alerts",
        columns: &[
            ("sensor_id", "uuid", Partition(0)),
            ("day", "date", Partition(1)),
            ("raised_at", "timestamp", Clustering(0, "desc")),
            ("alert_id", "uuid", Clustering(1, "asc")),
            ("type", "text", Regular),
            ("rule", "text", Regular),
            ("severity", "text", Regular),
            ("label", "text", Regular),
            ("value", "double", Regular),
            ("peak", "double", Regular),
            ("cleared_at", "timestamp", Regular),
            ("source", "text", Regular),
            ("last_offset", "bigint", Regular),
        ],
    },
    Table {
        name: "alerts_by_day",
        columns: &[
            ("day", "date", Partition(0)),
            ("shard", "int", Partition(1)),
            ("raised_at", "timestamp", Clustering(0, "desc")),
            ("alert_id", "uuid", Clustering(1, "asc")),
            ("sensor_id", "uuid", Regular),
            ("type", "text", Regular),
            ("rule", "text", Regular),
            ("severity", "text", Regular),
            ("label", "text", Regular),
            ("value", "double", Regular),
            ("peak", "double", Regular),
            ("cleared_at", "timestamp", Regular),
            ("source", "text", Regular),
            ("last_offset", "bigint", Regular),
        ],
    },
    Table {
        name: "active_alerts",
        columns: &[
            ("shard", "int", Partition(0)),
            ("sensor_id", "uuid", Clustering(0, "asc")),
            ("source", "text", Clustering(1, "asc")),
            ("alerts", "frozen<map<uuid, timestamp>>", Regular),
        ],
    },
    Table {
        name: "runs",
        columns: &[("run", "uuid", Partition(0)), ("manifest", "text", Regular)],
    },
];

/// Columns that a table has, by name, each in the words of [`describe`].
type Found = BTreeMap<String, String>;

/// Fails unless the keyspace is there and all its tables are as needed.
pub(super) async fn check(session: &Session, keyspace: &str, place: &str) -> Result<(), StoreError> {
    let read = async || -> Result<Option<Vec<Difference>>, Cause> {
        match is_there(session, keyspace).await? {
            true => differences(session, keyspace).await.map(Some),
            false => Ok(None),
        }
    };
    let found = read()
        .await
        .map_err(|cause| cause.into_error(place, format!("read the schema of {keyspace}")))?;
    match found {
        None => Err(StoreError::Permanent(format!(
            "{place}: there is no keyspace {keyspace}; run `iotpipe init-schema` or correct the store's address"
        ))),
        Some(differences) if differences.is_empty() => Ok(()),
        Some(differences) => Err(unusable(&format!("{place}/{keyspace}"), &differences)),
    }
}

/// Whether there is such a keyspace.
pub(super) async fn is_there(session: &Session, keyspace: &str) -> Result<bool, Cause> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let answer = session.query_unpaged(text, (keyspace,)).await?;
    Ok(answer.into_rows_result()?.rows_num() > 0)
}

/// All differences between the keyspace's types and tables and those that are needed, one by one.
pub(super) async fn differences(session: &Session, keyspace: &str) -> Result<Vec<Difference>, Cause> {
    let text = "SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?";
    let answer = session.query_unpaged(text, (keyspace,)).await?.into_rows_result()?;
    let mut types: BTreeMap<String, Found> = BTreeMap::new();
    for row in answer.rows::<(String, Vec<String>, Vec<String>)>()? {
        let (name, fields, cql_types) = row?;
        let fields = fields.into_iter().zip(cql_types).enumerate();
        let described = fields.map(|(place, (field, cql_type))| (field, describe_field(&cql_type, place)));
        types.insert(name, described.collect());
    }
    let text = "SELECT table_name, column_name, kind, position, clustering_order, type \
                FROM system_schema.columns WHERE keyspace_name = ?";
    let answer = session.query_unpaged(text, (keyspace,)).await?.into_rows_result()?;
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for row in answer.rows::<(String, String, String, i32, String, String)>()? {
        let (table, column, kind, position, order, cql_type) = row?;
        found
            .entry(table)
            .or_default()
            .insert(column, describe(&cql_type, &kind, position, &order));
    }
    let of_types = TYPES
        .iter()
        .flat_map(|user_type| compare_type(user_type, types.get(user_type.name)));
    let of_tables = TABLES.iter().flat_map(|table| compare(table, found.get(table.name)));
    Ok(of_types.chain(of_tables).collect())
}

fn describe_field(cql_type: &str, place: usize) -> String {
    format!("{cql_type} as field {}", place + 1)
}

fn compare_type(user_type: &UserType, found: Option<&Found>) -> Vec<Difference> {
    let Some(found) = found else {
        return vec![Difference::missing_type(user_type.name)];
    };
    let fields = user_type.fields.iter().enumerate();
    let wanted = fields.map(|(place, &(name, cql_type))| (name, describe_field(cql_type, place)));
    compare_parts(user_type.name, &wanted.collect::<Vec<_>>(), found)
}

fn describe(cql_type: &str, kind: &str, position: i32, order: &str) -> String {
    match kind {
        "partition_key" => format!("{cql_type} as partition key {}", position + 1),
        "clustering" => format!("{cql_type} as clustering key {} {order}", position + 1),
        "regular" => cql_type.to_owned(),
        other => format!("{cql_type} ({other})"),
    }
}

fn compare(table: &Table, found: Option<&Found>) -> Vec<Difference> {
    let Some(found) = found else {
        return vec![Difference::missing_table(table.name)];
    };
    let wanted = table.columns.iter().map(|&(name, cql_type, role)| {
        let described = match role {
            Partition(position) => describe(cql_type, "partition_key", position, ""),
            Clustering(position, order) => describe(cql_type, "clustering", position, order),
            Regular => describe(cql_type, "regular", 0, ""),
        };
        (name, described)
    });
    compare_parts(table.name, &wanted.collect::<Vec<_>>(), found)
}

/// Of a table's columns or a type's fields.
fn compare_parts(whole: &str, wanted: &[(&str, String)], found: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (name, should_be) in wanted {
        let is = found.get(*name).map_or("missing", String::as_str);
        if is != should_be {
            differences.push(Difference::new(format!("{whole}.{name}"), is, should_be));
        }
    }
    for (name, is) in found {
        if !wanted.iter().any(|(known, _)| known == name) {
            differences.push(Difference::new(format!("{whole}.{name}"), is, "absent"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::migrations;

    #[test]
    fn every_table_of_the_migrations_has_its_shape_here() {
        let mut made: Vec<_> = migrations::CASSANDRA
            .iter()
            .flat_map(|migration| migration.tables)
            .copied()
            .collect();
        let types = TYPES.iter().map(|user_type| user_type.name);
        let mut known: Vec<_> = TABLES.iter().map(|table| table.name).chain(types).collect();
        made.sort_unstable();
        known.sort_unstable();
        assert_eq!(made, known);
        assert!(FENCED.iter().all(|fenced| known.contains(fenced)));
    }

    #[test]
    fn each_difference_is_one_line() {
        let mut found: Found = BTreeMap::new();
        for (column, is) in [
            ("sensor_id", "uuid as partition key 1"),
            ("day", "date as clustering key 1 asc"),
            ("reading_time", "timestamp as clustering key 1 asc"),
            ("reading", "float"),
            ("extra", "int"),
            ("type", "text as clustering key 2 asc"),
        ] {
            found.insert(column.to_owned(), is.to_owned());
        }
        let lines: Vec<String> = compare(&TABLES[0], Some(&found))
            .iter()
            .map(Difference::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "sensor_readings.day: is date as clustering key 1 asc, should be date as partition key 2",
                "sensor_readings.reading_time: is timestamp as clustering key 1 asc, \
                 should be timestamp as clustering key 1 desc",
                "sensor_readings.reading: is float, should be double",
                "sensor_readings.extra: is int, should be absent",
            ]
        );
        assert_eq!(
            compare(&TABLES[0], None)[0].to_string(),
            "sensor_readings: is missing, should be a table"
        );
        let missing = compare_type(&TYPES[0], None);
        assert_eq!(missing[0].to_string(), "aggregate: is missing, should be a type");
    }
}
