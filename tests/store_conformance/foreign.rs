//! Tables and types that somebody else made under our names: each difference is named, and none of them is used.

use super::Site;
use super::schema::{ALL, applied, lines, open_error};

/// The report and the refusal to open name the same differences; the other tables are made all the same.
async fn foreign(site: &Site, migrations: &[&str], expected: &[&str]) {
    for _ in 0..2 {
        let report = applied(site).await;
        assert_eq!(lines(&report), expected);
        let done = [report.applied, report.present].concat();
        assert_eq!(done.len(), ALL.len() - migrations.len());
        assert!(
            migrations
                .iter()
                .all(|migration| !done.contains(&(*migration).to_owned()))
        );
    }
    let error = open_error(&site.settings).await;
    assert!(!error.is_transient());
    for line in expected {
        assert!(error.to_string().contains(line), "{line} in {error}");
    }
}

#[test]
fn a_foreign_table_is_named_difference_by_difference() {
    Site::sqlite().run(async |site| {
        site.raw_sqlite()
            .execute_batch(
                "CREATE TABLE sensor_readings (sensor_id TEXT, day INTEGER NOT NULL, reading_time INTEGER NOT NULL,
                    type TEXT NOT NULL, reading REAL NOT NULL, unit TEXT, PRIMARY KEY (day, sensor_id, reading_time))",
            )
            .expect("made");
        let expected = [
            "sensor_readings: is lax table, should be strict without rowid table",
            "sensor_readings.reading: is REAL not null, should be ANY not null",
            "sensor_readings.sensor_id: is TEXT as key 2, should be BLOB not null as key 2",
            "sensor_readings.type: is TEXT not null, should be TEXT not null as key 4",
            "sensor_readings.written_at: is missing, should be INTEGER not null",
            "sensor_readings.unit: is TEXT, should be absent",
        ];
        foreign(site, &["0001_readings"], &expected).await;
    });
    Site::cassandra().run(async |site| {
        let raw = site.raw_cassandra().await;
        let keyspace = site.keyspace();
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        for statement in [
            format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}"),
            format!(
                "CREATE TABLE {keyspace}.sensor_readings (sensor_id uuid, day date, reading_time timestamp, type text,
                    reading float, unit text, PRIMARY KEY (sensor_id, day, reading_time))"
            ),
        ] {
            raw.query_unpaged(statement, ()).await.expect("made");
        }
        let expected = [
            "sensor_readings.day: is date as clustering key 1 asc, should be date as partition key 2",
            "sensor_readings.reading_time: is timestamp as clustering key 2 asc, \
             should be timestamp as clustering key 1 desc",
            "sensor_readings.type: is text, should be text as clustering key 2 asc",
            "sensor_readings.reading: is float, should be double",
            "sensor_readings.unit: is text, should be absent",
        ];
        foreign(site, &["0001_readings"], &expected).await;
    });
}

#[test]
fn foreign_tables_of_windows_and_alerts_are_named_difference_by_difference() {
    let migrations = ["0005_windows", "0006_sensor_state", "0007_alerts"];
    Site::sqlite().run(async |site| {
        site.raw_sqlite()
            .execute_batch(
                "CREATE TABLE window_aggregates (sensor_id BLOB NOT NULL, day INTEGER NOT NULL, type TEXT NOT NULL,
                    size_s INTEGER NOT NULL, window_start INTEGER NOT NULL, source TEXT NOT NULL,
                    last_offset INTEGER NOT NULL, count INTEGER NOT NULL, sum REAL NOT NULL, mean ANY NOT NULL,
                    m2 ANY NOT NULL, min ANY NOT NULL, max ANY NOT NULL, first ANY NOT NULL, last ANY NOT NULL,
                    last_at INTEGER NOT NULL, PRIMARY KEY (sensor_id, day, type, size_s, window_start, source)
                ) STRICT, WITHOUT ROWID;
                CREATE TABLE sensor_state (sensor_id BLOB NOT NULL PRIMARY KEY, source TEXT NOT NULL,
                    state BLOB NOT NULL, last_offset INTEGER) STRICT, WITHOUT ROWID;
                CREATE TABLE active_alerts (sensor_id BLOB NOT NULL, source TEXT NOT NULL, alerts BLOB NOT NULL,
                    last_offset INTEGER NOT NULL, PRIMARY KEY (sensor_id, source)) STRICT",
            )
            .expect("made");
        let expected = [
            "window_aggregates.day: is INTEGER not null as key 2, should be INTEGER not null as key 1",
            "window_aggregates.first_at: is missing, should be INTEGER not null",
            "window_aggregates.sensor_id: is BLOB not null as key 1, should be BLOB not null as key 2",
            "window_aggregates.sum: is REAL not null, should be ANY not null",
            "sensor_state.last_offset: is INTEGER, should be INTEGER not null",
            "sensor_state.source: is TEXT not null, should be TEXT not null as key 2",
            "alerts: is missing, should be a table",
            "active_alerts: is strict table, should be strict without rowid table",
            "active_alerts.alerts: is BLOB not null, should be TEXT not null",
        ];
        foreign(site, &migrations, &expected).await;
    });
    Site::cassandra().run(async |site| {
        let raw = site.raw_cassandra().await;
        let keyspace = site.keyspace();
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        for statement in [
            format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}"),
            // Without m2, so all after it stand elsewhere; as a driver reads a type by its fields' order, so does this.
            format!(
                "CREATE TYPE {keyspace}.aggregate (last_offset int, count bigint, sum double, mean double, min double,
                    max double, first double, first_at timestamp, last double, last_at timestamp, unit text)"
            ),
            format!(
                "CREATE TABLE {keyspace}.sensor_state (sensor_id uuid, source text, state text,
                    PRIMARY KEY (sensor_id, source)) WITH CLUSTERING ORDER BY (source DESC)"
            ),
            format!(
                "CREATE TABLE {keyspace}.active_alerts (shard int, sensor_id uuid, source text,
                    alerts map<uuid, timestamp>, PRIMARY KEY (shard, sensor_id, source))"
            ),
        ] {
            raw.query_unpaged(statement, ()).await.expect("made");
        }
        let expected = [
            "aggregate.last_offset: is int as field 1, should be bigint as field 1",
            "aggregate.m2: is missing, should be double as field 5",
            "aggregate.min: is double as field 5, should be double as field 6",
            "aggregate.max: is double as field 6, should be double as field 7",
            "aggregate.first: is double as field 7, should be double as field 8",
            "aggregate.first_at: is timestamp as field 8, should be timestamp as field 9",
            "aggregate.last: is double as field 9, should be double as field 10",
            "aggregate.last_at: is timestamp as field 10, should be timestamp as field 11",
            "aggregate.unit: is text as field 11, should be absent",
            "sensor_state.source: is text as clustering key 1 desc, should be text as clustering key 1 asc",
            "sensor_state.state: is text, should be blob",
            "active_alerts.alerts: is map<uuid, timestamp>, should be frozen<map<uuid, timestamp>>",
        ];
        foreign(site, &migrations, &expected).await;
    });
}
