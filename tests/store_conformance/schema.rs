//! How tables are made, judged and refused, and what a store says that cannot be opened or used.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iotpipe::model::{Kind, ReadingRow, Secret, SensorId, SensorWrite, Source, TimeMs, TopicId, WriteId};
use iotpipe::store::schema::{SchemaReport, apply};
use iotpipe::store::{AnyStore, Compaction, SchemaSettings, Store, StoreError, StoreSettings, StoreUrl};
use uuid::Uuid;

use super::Site;

pub(super) const ALL: [&str; 8] = [
    "0001_readings",
    "0002_sensors",
    "0003_sources",
    "0004_source_holes",
    "0005_windows",
    "0006_sensor_state",
    "0007_alerts",
    "0008_runs",
];

pub(super) async fn applied(site: &Site) -> SchemaReport {
    apply(&site.settings, &SchemaSettings::default())
        .await
        .expect("the schema is applied")
}

pub(super) async fn open_error(settings: &StoreSettings) -> StoreError {
    match AnyStore::open(settings).await {
        Ok(_) => panic!("{} opened", settings.url),
        Err(error) => error,
    }
}

pub(super) fn lines(report: &SchemaReport) -> Vec<String> {
    report.differences.iter().map(ToString::to_string).collect()
}

pub(super) fn one_reading() -> SensorWrite {
    let time = TimeMs(1_732_000_000_123);
    SensorWrite {
        id: WriteId(1),
        partition: 0,
        sensor: SensorId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        source: Arc::new(Source {
            topic: "t".into(),
            topic_id: TopicId::UNKNOWN,
            partition: 0,
        }),
        rows: vec![ReadingRow {
            time,
            kind: Kind::new("light"),
            value: 1.5,
            timestamp: TimeMs(time.0 + 1),
        }],
        windows: Vec::new(),
        state: None,
        sighting: None,
    }
}

async fn twice_is_once(site: &Site) {
    let first = applied(site).await;
    assert_eq!(
        (first.applied, first.present),
        (ALL.map(str::to_owned).to_vec(), Vec::new())
    );
    let second = applied(site).await;
    assert_eq!(
        (second.applied, second.present),
        (Vec::new(), ALL.map(str::to_owned).to_vec())
    );
    assert_eq!(
        (second.differences, second.warnings),
        (Vec::new(), Vec::<String>::new())
    );
}

#[test]
fn applying_twice_is_applying_once() {
    Site::sqlite().run(twice_is_once);
    Site::cassandra().run(async |site| {
        twice_is_once(site).await;
        // The ids of the first tables are fixed: a keyspace that was dropped and made again must not mind.
        let raw = site.raw_cassandra().await;
        raw.query_unpaged(format!("DROP KEYSPACE {}", site.keyspace()), ())
            .await
            .expect("dropped");
        twice_is_once(site).await;
    });
}

async fn at_once(site: &Site) {
    let schema = SchemaSettings::default();
    let appliers = (0..4).map(|_| apply(&site.settings, &schema));
    let reports = futures::future::join_all(appliers).await;
    let mut applied: Vec<String> = Vec::new();
    for report in reports {
        let report = report.expect("each succeeds");
        assert_eq!(lines(&report), [""; 0]);
        assert_eq!(report.applied.len() + report.present.len(), ALL.len());
        applied.extend(report.applied);
    }
    applied.sort_unstable();
    assert_eq!(applied, ALL, "each migration was applied by one of them");
    AnyStore::open(&site.settings)
        .await
        .expect("the store opens")
        .write(&one_reading())
        .await
        .expect("written");
}

#[test]
fn several_may_apply_at_once() {
    // Many times, for it takes a moment: the first to open a new file turns its log on while the others wait.
    for _ in 0..10 {
        Site::sqlite().run(at_once);
    }
    Site::cassandra().run(at_once);
}

async fn changed(site: &Site) {
    let error = apply(&site.settings, &SchemaSettings::default())
        .await
        .expect_err("refused");
    assert!(!error.is_transient());
    assert!(
        error
            .to_string()
            .contains("migration 0002_sensors was applied with another text"),
        "{error}"
    );
}

#[test]
fn a_changed_migration_is_refused_by_name() {
    Site::sqlite().run(async |site| {
        applied(site).await;
        let update = "UPDATE schema_migrations SET checksum = '00000000-0000-0000-0000-000000000001' WHERE number = 2";
        site.raw_sqlite().execute(update, []).expect("updated");
        changed(site).await;
    });
    Site::cassandra().run(async |site| {
        applied(site).await;
        let update = format!(
            "UPDATE {}.schema_migrations SET checksum = uuid() WHERE number = 2",
            site.keyspace()
        );
        site.raw_cassandra()
            .await
            .query_unpaged(update, ())
            .await
            .expect("updated");
        changed(site).await;
    });
}

async fn dropped(site: &Site, store: AnyStore) {
    let error = store.write(&one_reading()).await.expect_err("there is no table");
    assert!(!error.is_transient(), "{error}");
    assert!(error.to_string().contains("init-schema"), "{error}");
    drop(store);
    let error = open_error(&site.settings).await;
    assert!(
        error
            .to_string()
            .contains("sensor_readings: is missing, should be a table"),
        "{error}"
    );
    assert!(error.to_string().ends_with("run `iotpipe init-schema`"), "{error}");
    assert_eq!(
        applied(site).await.applied,
        ["0001_readings"],
        "what is gone is made again"
    );
    let store = AnyStore::open(&site.settings).await.expect("the store opens");
    store.write(&one_reading()).await.expect("written");
}

#[test]
fn a_table_that_vanishes_is_an_error_with_what_to_do() {
    Site::sqlite().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        site.raw_sqlite()
            .execute_batch("DROP TABLE sensor_readings")
            .expect("dropped");
        dropped(site, store).await;
    });
    Site::cassandra().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        let drop = format!("DROP TABLE {}.sensor_readings", site.keyspace());
        site.raw_cassandra()
            .await
            .query_unpaged(drop, ())
            .await
            .expect("dropped");
        dropped(site, store).await;
        // A type too, which only goes when its table is gone.
        for what in [
            "TABLE {}.window_aggregates",
            "TYPE {}.aggregate",
            "TABLE {}.alerts_by_day",
        ] {
            let drop = format!("DROP {}", what.replace("{}", site.keyspace()));
            let raw = site.raw_cassandra().await;
            raw.query_unpaged(drop, ()).await.expect("dropped");
        }
        let error = open_error(&site.settings).await;
        let expected = "aggregate: is missing, should be a type; window_aggregates: is missing, should be a table; \
                        alerts_by_day: is missing, should be a table; run `iotpipe init-schema`";
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(applied(site).await.applied, ["0005_windows", "0007_alerts"]);
        AnyStore::open(&site.settings).await.expect("the store opens");
    });
}

#[test]
fn configured_options_reach_cassandra_and_others_are_warnings() {
    Site::cassandra().run(async |site| {
        let week = SchemaSettings {
            readings_ttl_s: Some(604_800),
            readings_compaction: Compaction::Twcs,
            ..SchemaSettings::default()
        };
        let report = apply(&site.settings, &week).await.expect("applied");
        assert_eq!(report.warnings, [""; 0]);
        let report = applied(site).await;
        assert_eq!(
            report.warnings,
            ["sensor_readings.default_time_to_live: is 604800, should be 0"]
        );
        assert_eq!(lines(&report), [""; 0], "an option is no difference of shape");
        let other = SchemaSettings {
            readings_compaction: Compaction::Ucs,
            ..week.clone()
        };
        let warnings = apply(&site.settings, &other).await.expect("applied").warnings;
        assert_eq!(
            warnings,
            [
                "sensor_readings.compaction: is {'class': 'TimeWindowCompactionStrategy'}, \
              should be {'class': 'UnifiedCompactionStrategy'}"
            ]
        );

        // What makes a state that was read once vanish again.
        for (table, option) in [
            ("sensor_state", "read_repair = 'NONE'"),
            ("alerts", "default_time_to_live = 86400"),
        ] {
            let alter = format!("ALTER TABLE {}.{table} WITH {option}", site.keyspace());
            let raw = site.raw_cassandra().await;
            raw.query_unpaged(alter, ()).await.expect("altered");
        }
        let warnings = apply(&site.settings, &week).await.expect("applied").warnings;
        assert_eq!(
            warnings,
            [
                "alerts.default_time_to_live: is 86400, should be 0",
                "sensor_state.read_repair: is NONE, should be BLOCKING",
            ]
        );
    });
}

#[test]
fn what_is_not_there_is_said_at_once() {
    Site::cassandra().run(async |site| {
        let error = open_error(&site.settings).await;
        assert!(!error.is_transient());
        assert!(error.to_string().contains(&format!(
            "there is no keyspace {}; run `iotpipe init-schema`",
            site.keyspace()
        )));

        let mut settings = site.settings.clone();
        settings.data_centre = Some("atlantis".to_owned());
        let error = open_error(&settings).await;
        assert!(
            error
                .to_string()
                .contains("the cluster has no data centre \"atlantis\", it has "),
            "{error}"
        );

        settings.data_centre = None;
        settings.username = Some("me".to_owned());
        assert!(
            open_error(&settings)
                .await
                .to_string()
                .contains("a user is set without a password")
        );
    });
    Site::sqlite().run(async |site| {
        let error = open_error(&site.settings).await;
        assert!(
            error
                .to_string()
                .contains("there is no such file; run `iotpipe init-schema`"),
            "{error}"
        );
    });
}

#[test]
fn a_server_that_refuses_or_never_answers_is_given_up_in_time() {
    // The site only runs the test and removes nothing: no server is reached.
    Site::sqlite().run(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut settings = StoreSettings::new(format!("cassandra://{address}/k").parse().expect("an address"));
        settings.connect_timeout = Duration::from_millis(500);
        let started = Instant::now();
        let error = open_error(&settings).await;
        assert!(
            error.is_transient() && started.elapsed() < Duration::from_secs(3),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with(&format!("cassandra {address}: cannot connect: ")),
            "{error}"
        );
        assert!(!error.to_string().contains('\n'));

        drop(listener);
        let error = open_error(&settings).await;
        assert!(error.is_transient() && error.to_string().contains("refused"), "{error}");

        settings.url = "cassandra://no-such-host.invalid:9042/k".parse().expect("an address");
        let error = open_error(&settings).await;
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    });
}

/// Speaks as much of Cassandra's protocol as it takes to ask for a password and to refuse it.
fn refuse_passwords(listener: &TcpListener) {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { return };
        // Version, flags, stream (two bytes), opcode, length of the body (four bytes).
        let mut header = [0; 9];
        while connection.read_exact(&mut header).is_ok() {
            let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let mut body = vec![0; length as usize];
            connection.read_exact(&mut body).expect("a body");
            let (opcode, body) = match header[4] {
                // OPTIONS: SUPPORTED, of nothing.
                5 => (6, vec![0, 0]),
                // STARTUP: AUTHENTICATE.
                1 => (3, text("org.apache.cassandra.auth.PasswordAuthenticator")),
                // AUTH_RESPONSE: ERROR, bad credentials.
                _ => (
                    0,
                    [
                        vec![0, 0, 1, 0],
                        text("Provided username me and/or password are incorrect"),
                    ]
                    .concat(),
                ),
            };
            let answer = [0x84, 0, header[2], header[3], opcode];
            let frame = [&answer[..], &(body.len() as u32).to_be_bytes(), &body].concat();
            connection.write_all(&frame).expect("answered");
        }
    }
}

#[test]
fn a_wrong_or_missing_password_is_permanent_and_never_shown() {
    Site::sqlite().run(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || refuse_passwords(&listener));
        let mut settings = StoreSettings::new(format!("cassandra://{address}/k").parse().expect("an address"));
        let error = open_error(&settings).await;
        assert!(!error.is_transient(), "{error}");
        assert!(
            error
                .to_string()
                .contains("asks for a user and a password; check the store's user"),
            "{error}"
        );

        settings.username = Some("me".to_owned());
        settings.password = Some(Secret::new("s3cret"));
        let error = open_error(&settings).await;
        assert!(!error.is_transient(), "{error}");
        assert!(
            error
                .to_string()
                .contains("are incorrect; check the store's user and password"),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"));
    });
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_to_do() {
    Site::sqlite().run(async |site| {
        let directory = site.directory.as_ref().expect("a directory").path();
        let apply_at = async |path: &std::path::Path| {
            let settings = StoreSettings::new(StoreUrl::Sqlite { path: path.to_owned() });
            apply(&settings, &SchemaSettings::default())
                .await
                .expect_err("not usable")
        };
        let nowhere = directory.join("no such directory").join("store.db");
        let error = apply_at(&nowhere).await;
        assert!(
            !error.is_transient() && error.to_string().contains("is there such a directory"),
            "{error}"
        );
        assert!(error.to_string().contains(&nowhere.display().to_string()));

        assert!(!apply_at(directory).await.is_transient(), "a directory is no file");

        let text = directory.join("text.db");
        std::fs::write(
            &text,
            "a text of more than a hundred bytes, which is what a header has. ".repeat(10),
        )
        .expect("written");
        let error = apply_at(&text).await;
        assert!(
            !error.is_transient() && error.to_string().contains("is no SQLite database"),
            "{error}"
        );
    });
}

#[test]
fn a_file_that_another_process_holds_is_tried_again() {
    let mut site = Site::sqlite();
    site.settings.request_timeout = Duration::from_millis(100);
    site.run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        let other = site.raw_sqlite();
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let error = store.write(&one_reading()).await.expect_err("locked by another");
        assert!(
            error.is_transient() && error.to_string().contains("another process holds the file"),
            "{error}"
        );
        other.execute_batch("ROLLBACK").expect("let go");
        store.write(&one_reading()).await.expect("written");
    });
}

#[test]
fn closing_a_store_leaves_one_whole_file() {
    Site::sqlite().run(async |site| {
        applied(site).await;
        let store = AnyStore::open(&site.settings).await.expect("the store opens");
        store.write(&one_reading()).await.expect("written");
        let sensor = store.sensor(SensorId(Uuid::nil())).await.expect("read");
        assert_eq!(sensor, None);
        drop(store);
        let directory = site.directory.as_ref().expect("a directory").path();
        let names: Vec<_> = std::fs::read_dir(directory)
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["store.db"], "no log is left beside the file");
    });
}
