//! `iotpipe query` as a person runs it: the real binary on a store that was filled through its own interface.

mod derived;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;

use iotpipe::model::{Kind, ReadingRow, SensorId, SensorWrite, Sighting, Source, TimeMs, TopicId, WriteId};
use iotpipe::store::{AnyStore, SchemaSettings, Store, StoreSettings, schema};
use tempfile::TempDir;

/// 2024-10-04T23:30:00Z: the readings go over midnight.
const START: TimeMs = TimeMs(1_728_084_600_000);
/// One a second and kind.
const SECONDS: i64 = 3600;

/// A store with one sensor, `attic`: an hour of humidity and temperature, of which the directory knows the first half.
struct Place {
    directory: TempDir,
    url: String,
}

impl Place {
    /// On SQLite.
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("iot.db").display());
        Place { directory, url }.filled()
    }

    /// On Cassandra, in a keyspace of its own.
    fn on_cassandra() -> Place {
        let keyspace = format!("t_query_{}", uuid::Uuid::new_v4().simple());
        let url = format!("cassandra://{}/{keyspace}", crate::servers::servers().cassandra);
        let directory = tempfile::tempdir().unwrap();
        Place { directory, url }.filled()
    }

    fn filled(self) -> Place {
        self.with_store(async |store| Place::fill(store).await);
        self
    }

    fn with_store(&self, work: impl AsyncFnOnce(&AnyStore)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let settings = StoreSettings::new(self.url.parse().unwrap());
            schema::apply(&settings, &SchemaSettings::default()).await.unwrap();
            work(&AnyStore::open(&settings).await.unwrap()).await;
        });
    }

    async fn fill(store: &AnyStore) {
        for (id, from) in [(0, 0), (1, SECONDS / 2)] {
            let rows = (from..from + SECONDS / 2).flat_map(|second| {
                let row = move |kind: &str, value| {
                    let time = TimeMs(START.0 + second * 1000);
                    ReadingRow {
                        time,
                        kind: Kind::new(kind),
                        value,
                        timestamp: time,
                    }
                };
                [
                    row("humidity", second as f64 / 4.0),
                    row("temperature", if second == 1234 { 99.5 } else { 20.1 }),
                ]
            });
            let rows: Vec<ReadingRow> = rows.collect();
            let last_values = [&rows[rows.len() - 2], &rows[rows.len() - 1]];
            let sighting = Sighting {
                label: Some("attic".into()),
                status: None,
                location: None,
                first_day: START.day(),
                last_day: START.day().next(),
                last_values: last_values.map(|row| (row.kind.clone(), (row.time, row.value))).into(),
            };
            let write = SensorWrite {
                id: WriteId(id),
                partition: 0,
                sensor: SensorId::from_text("attic").0,
                source: Arc::new(Source {
                    topic: "iot_sensor_data".into(),
                    topic_id: TopicId::UNKNOWN,
                    partition: 0,
                }),
                rows,
                windows: Vec::new(),
                state: None,
                sighting: (id == 0).then(|| Box::new(sighting)),
            };
            store.write(&write).await.unwrap();
        }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotpipe"));
        command
            .env_clear()
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
            .args(["query", "--store", &self.url])
            .args(arguments.split_whitespace());
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &str) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The rows of a query that succeeds without a note: second since the start, kind, value.
    fn rows(&self, arguments: &str) -> Vec<(i64, String, f64)> {
        let (code, stdout, stderr) = self.run(&format!("{arguments} --format jsonl"));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let row = |line: &str| {
            let row: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            let second = (row["time_ms"].as_i64().unwrap() - START.0) / 1000;
            (
                second,
                row["kind"].as_str().unwrap().to_owned(),
                row["value"].as_f64().unwrap(),
            )
        };
        stdout.lines().map(row).collect()
    }
}

fn row(second: i64, kind: &str, value: f64) -> (i64, String, f64) {
    (second, kind.to_owned(), value)
}

#[test]
fn a_query_selects_by_time_kind_order_and_limit() {
    let place = Place::new();
    let newest = [
        row(3599, "humidity", 899.75),
        row(3599, "temperature", 20.1),
        row(3598, "humidity", 899.5),
    ];
    assert_eq!(place.rows("--sensor attic --limit 3"), newest);
    assert_eq!(
        place.rows("--sensor attic --kind humidity --limit 1 --order oldest"),
        [row(0, "humidity", 0.0)]
    );
    let midnight = "--from 2024-10-04T23:59:59Z --to 2024-10-05T00:00:01Z";
    let around = [row(1800, "humidity", 450.0), row(1799, "humidity", 449.75)];
    assert_eq!(
        place.rows(&format!("--sensor attic --kind humidity {midnight}")),
        around
    );
    assert_eq!(place.rows("--sensor attic --from 2000-01-01T00:00:00Z").len(), 7200);
    let id = SensorId::from_text("attic").0;
    assert_eq!(place.rows(&format!("--sensor {id} --limit 3")), newest);
}

#[test]
fn the_latest_of_one_sensor_is_exact_though_the_directory_is_behind() {
    let place = Place::new();
    let exact = [row(3599, "humidity", 899.75), row(3599, "temperature", 20.1)];
    assert_eq!(place.rows("--sensor attic --latest"), exact);
    let behind = [row(1799, "humidity", 449.75), row(1799, "temperature", 20.1)];
    assert_eq!(place.rows("--latest"), behind);
}

#[test]
fn an_unknown_sensor_is_a_note_and_exit_0() {
    let place = Place::new();
    let (code, stdout, stderr) = place.run("--sensor cellar --format json");
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(0), "[]\n", 1));
    assert!(stderr.starts_with("iotpipe: no sensor cellar ("), "{stderr}");
}

#[test]
fn a_question_that_makes_no_sense_is_one_line_and_exit_2() {
    let place = Place::new();
    let wrong = [
        "",
        "--last 1h",
        "--sensor attic --last 1h --from -2h",
        "--sensor attic --from now --to -1h",
        "--sensor attic --from yesterday",
        "--sensor attic --limit 0",
        "--sensor attic --format xml",
        "--sensors --latest",
        "--latest --plot",
        "--latest --last 1h",
        "--latest --order oldest",
        "--sensors --order newest",
        "--sensor attic --window 90s",
        "--sensor attic --window 7m",
        "--window 1m",
        "--sensors --active",
    ];
    for arguments in wrong {
        let (code, stdout, stderr) = place.run(arguments);
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{arguments}: {stderr}"
        );
    }
}

#[test]
fn a_store_that_is_not_there_is_one_line_and_exit_1() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iotpipe"));
    command
        .env_clear()
        .current_dir(place.path())
        .args(["query", "--sensors", "--store", "sqlite:gone.db"]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("gone.db"), "{stderr}");
    assert!(!place.path().join("gone.db").exists(), "a question makes no database");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::new();
    for format in ["jsonl", "json", "csv", "table"] {
        let arguments = format!("--sensor attic --from 2000-01-01T00:00:00Z --format {format}");
        let mut child = place
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), stderr.as_str()),
            (Some(0), ""),
            "{format}"
        );
        assert!(!line.is_empty());
    }
}

#[test]
fn a_plot_into_a_pipe_is_80_columns_without_colour_and_shows_the_spike() {
    let place = Place::new();
    let (code, stdout, stderr) = place.run("--sensor attic --kind temperature --from 2000-01-01T00:00:00Z --plot");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.starts_with("temperature  20.1 to 99.5, last 20.1  (3,600 readings)\n"),
        "{stdout}"
    );
    let width = stdout.lines().map(|line| line.chars().count()).max();
    assert!(width == Some(80) && !stdout.contains('\u{1b}'), "{stdout}");
    let top = stdout.lines().nth(1).unwrap();
    assert!(
        top.chars().any(|letter| ('\u{2801}'..='\u{28ff}').contains(&letter)),
        "{stdout}"
    );
}

#[test]
fn the_directory_is_listed() {
    let place = Place::new();
    let (code, stdout, _) = place.run("--sensors --format json");
    let sensors: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, sensors.len()), (Some(0), 1));
    assert_eq!(sensors[0]["label"], "attic");
    assert_eq!(
        (&sensors[0]["first_day"], &sensors[0]["last_day"]),
        (&"2024-10-04".into(), &"2024-10-05".into())
    );
    assert_eq!(sensors[0]["kinds"], serde_json::json!(["humidity", "temperature"]));
}
