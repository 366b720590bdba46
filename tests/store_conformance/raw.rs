//! What the stores hold, looked at past our own code: what people see, and what a later write must not stumble over.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use iotpipe::model::{
    Aggregate, Alert, AlertChange, AlertEvent, AlertId, AlertWrite, Kind, LedgerEntry, ProcessingConfig, SensorWrite,
    Severity, StateCell, WindowCell, WindowKey, WriteId,
};
use iotpipe::store::{AnyStore, Store};
use scylla::value::{CqlTimestamp, Row};
use uuid::Uuid;

use super::Site;
use super::schema::{applied, one_reading};

/// A reading, a window up to offset 7, a state up to offset 9.
fn one_of_each() -> SensorWrite {
    let write = one_reading();
    let time = write.rows[0].time;
    let aggregate = Aggregate {
        last_offset: 7,
        count: 2,
        sum: 3.0,
        mean: 1.5,
        m2: f64::NAN,
        min: -0.0,
        max: 3.0,
        first: 0.0,
        first_at: time,
        last: 3.0,
        last_at: time,
    };
    SensorWrite {
        windows: vec![WindowCell {
            key: WindowKey::of(Kind::new("light"), 60, time),
            aggregate,
        }],
        state: Some(StateCell {
            last_offset: 9,
            bytes: b"state".to_vec(),
        }),
        ..write
    }
}

/// An alert that is raised by the record at offset 0, and the word that none is active.
fn one_alert() -> AlertWrite {
    let write = one_reading();
    let alert = Alert {
        id: AlertId(Uuid::from_u128(1)),
        sensor: write.sensor,
        label: None,
        kind: Kind::new("light"),
        rule: Arc::from("dark"),
        severity: Severity::Info,
        raised_at: write.rows[0].time,
        value: 1.5,
        peak: 0.5,
        cleared_at: None,
    };
    AlertWrite {
        id: WriteId(1),
        partition: 0,
        sensor: write.sensor,
        source: write.source,
        changes: vec![AlertChange {
            event: AlertEvent::Raised,
            offset: 0,
            alert,
        }],
        statuses: Vec::new(),
        active: Vec::new(),
    }
}

#[test]
fn write_timestamps_in_cassandra_come_from_kafka_not_from_the_clock() {
    Site::cassandra().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        let write = one_of_each();
        store.write(&write).await.expect("written");
        store.write_alerts(&one_alert()).await.expect("written");
        let source = (*write.source).clone();
        let processing = ProcessingConfig {
            window_sizes_s: Vec::new(),
            alerts: false,
            id_fields: Vec::new(),
            time_fields: Vec::new(),
            ignored_fields: Vec::new(),
        };
        let entry = LedgerEntry {
            source: source.clone(),
            from: 5,
            acked_to: 5,
            processing,
        };
        store.open_ledger(&entry).await.expect("entered");
        store.advance_ledger(&[(source, 41)]).await.expect("advanced");
        let raw = site.raw_cassandra().await;
        for (column, table, expected) in [
            ("reading", "sensor_readings", write.rows[0].timestamp.0 * 1_000),
            ("acked_to", "sources", 42),
            ("agg", "window_aggregates", 8),
            ("state", "sensor_state", 10),
            ("severity", "alerts", 1),
            ("last_offset", "alerts_by_day", 1),
            ("alerts", "active_alerts", 1),
        ] {
            let text = format!("SELECT WRITETIME({column}) FROM {}.{table}", site.keyspace());
            let rows = raw
                .query_unpaged(text, ())
                .await
                .expect("read")
                .into_rows_result()
                .expect("rows");
            assert_eq!(rows.single_row::<(i64,)>().expect("one row").0, expected, "{table}");
        }
    });
}

#[test]
fn a_person_can_ask_cassandra_for_fields_of_windows() {
    Site::cassandra().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        store.write(&one_of_each()).await.expect("written");
        let text = format!(
            "SELECT window_start, agg.count, agg.mean, agg.last_at FROM {}.window_aggregates \
             WHERE sensor_id = 01234567-89ab-cdef-0123-456789abcdef AND day = '2024-11-19' AND type = 'light' \
             AND size_s = 60 AND window_start >= '2024-11-19T07:00Z'",
            site.keyspace()
        );
        let answer = site.raw_cassandra().await.query_unpaged(text, ()).await.expect("read");
        let answer = answer.into_rows_result().expect("rows");
        let seen: (CqlTimestamp, i64, f64, CqlTimestamp) = answer.single_row().expect("one row");
        let time = one_reading().rows[0].time.0;
        assert_eq!(seen, (CqlTimestamp(time - time % 60_000), 2, 1.5, CqlTimestamp(time)));
    });
}

/// A tombstone has a write timestamp as a value has: what was written with a smaller one would stay hidden behind it.
#[test]
fn what_is_absent_leaves_no_tombstone_in_cassandra() {
    Site::cassandra().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        let write = one_alert();
        store.write_alerts(&write).await.expect("written");
        let raw = site.raw_cassandra().await;
        let rows = async |text: String| {
            let answer = raw.query_unpaged(text, ()).await.expect("asked");
            answer.into_rows_result()
        };
        for (table, key) in [
            ("alerts", "sensor_id, day, raised_at, alert_id"),
            ("alerts_by_day", "day, shard, raised_at, alert_id"),
        ] {
            let table = format!("{}.{table}", site.keyspace());
            let text = format!("SELECT label, cleared_at FROM {table}");
            let answer = rows(text.clone()).await.expect("rows");
            let seen: (Option<String>, Option<CqlTimestamp>) = answer.single_row().expect("one row");
            assert_eq!(seen, (None, None));

            let keys = format!("SELECT {key} FROM {table}");
            let answer = rows(keys).await.expect("rows");
            let values = answer.single_row::<Row>().expect("one row").columns;
            let insert = format!(
                "INSERT INTO {table} ({key}, label, cleared_at) VALUES (?, ?, ?, ?, 'late', '2024-11-19') \
                 USING TIMESTAMP 0"
            );
            raw.query_unpaged(insert, values).await.expect("written before");
            let answer = rows(text).await.expect("rows");
            let (label, cleared_at): (Option<String>, Option<CqlTimestamp>) = answer.single_row().expect("one row");
            assert!(
                label.is_some() && cleared_at.is_some(),
                "{table} hides what was written before"
            );
        }

        // An empty set of active alerts is a value, and holds against what was written before.
        let table = format!("{}.active_alerts", site.keyspace());
        let insert = format!(
            "UPDATE {table} USING TIMESTAMP 0 SET alerts = {{00000000-0000-0000-0000-000000000001: 5}} \
             WHERE shard = ? AND sensor_id = ? AND source = ?"
        );
        let answer = rows(format!("SELECT shard, sensor_id, source FROM {table}"))
            .await
            .expect("rows");
        let values = answer.single_row::<Row>().expect("one row").columns;
        raw.query_unpaged(insert, values).await.expect("written before");
        let answer = rows(format!("SELECT alerts, WRITETIME(alerts) FROM {table}"))
            .await
            .expect("rows");
        let seen: (Option<BTreeMap<Uuid, CqlTimestamp>>, i64) = answer.single_row().expect("one row");
        assert_eq!(seen, (Some(BTreeMap::new()), 1));
    });
}

#[test]
fn a_directory_row_without_its_days_is_no_sensor_yet() {
    Site::cassandra().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        store.write_alerts(&one_alert()).await.expect("written");
        let raw = site.raw_cassandra().await;
        // Both tables have the same shards.
        let text = format!("SELECT shard, sensor_id FROM {}.active_alerts", site.keyspace());
        let answer = raw.query_unpaged(text, ()).await.expect("read");
        let key = answer
            .into_rows_result()
            .expect("rows")
            .single_row::<Row>()
            .expect("one row")
            .columns;
        for (column, value) in [("label", "'attic'"), ("last_day", "'2024-11-19'")] {
            let insert = format!(
                "INSERT INTO {}.sensors (shard, sensor_id, {column}) VALUES (?, ?, {value})",
                site.keyspace()
            );
            raw.query_unpaged(insert, &key).await.expect("written");
            assert_eq!(store.sensor(one_alert().sensor).await.expect("read"), None);
            let listed: Vec<_> = store.sensors().try_collect().await.expect("listed");
            assert_eq!(listed, []);
        }
    });
}

#[test]
fn a_person_can_read_the_file() {
    Site::sqlite().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        store.write(&one_of_each()).await.expect("written");
        store.write_alerts(&one_alert()).await.expect("written");
        let raw = site.raw_sqlite();
        let seen: (String, String, String, String, f64) = raw
            .query_row(
                "SELECT sensor, day, reading_time, type, reading FROM readings",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
            )
            .expect("one row");
        let sensor = "01234567-89ab-cdef-0123-456789abcdef".to_owned();
        let time = "2024-11-19T07:06:40.123Z".to_owned();
        assert_eq!(
            seen,
            (sensor.clone(), "2024-11-19".to_owned(), time, "light".to_owned(), 1.5)
        );
        let seen: (String, String, i64, String, String) = raw
            .query_row(
                "SELECT sensor, window_start, count, mean, variance FROM windows",
                [],
                |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get::<_, f64>(3)?.to_string(),
                        row.get(4)?,
                    ))
                },
            )
            .expect("one row");
        let start = "2024-11-19T07:06:00.000Z".to_owned();
        assert_eq!(seen, (sensor.clone(), start, 2, "1.5".to_owned(), "NaN".to_owned()));
        let seen: (String, String, String, Option<String>) = raw
            .query_row(
                "SELECT sensor, severity, raised_at, cleared_at FROM alert_log",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .expect("one row");
        assert_eq!(
            seen,
            (sensor, "info".to_owned(), "2024-11-19T07:06:40.123Z".to_owned(), None)
        );
    });
}
