//! `iotpipe bench` on real servers: what its reports say against independent facts, and that nothing is left behind. How fast
//! anything is, is no test's business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use iotpipe::proof::bench_report::{
    BenchReport, Latency, Machine, Quantile, Repetition, Stage, Throughput, Usage, VERSION, Verified,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::Mutex;

use crate::servers::Place;

/// All names that a measurement makes begin so.
const PREFIX: &str = "iotpipe_bench_";

/// One measurement at a time: each test looks at what is left on the servers.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Topics and groups, and the keyspaces, of measurements.
async fn left_behind(place: &Place) -> Vec<String> {
    let mut left = topics(place);
    let session = scylla::client::session_builder::SessionBuilder::new()
        .known_node(&place.cassandra)
        .build()
        .await
        .expect("Cassandra answers");
    let keyspaces = session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ());
    let keyspaces = keyspaces.await.expect("asked").into_rows_result().expect("rows");
    let keyspaces = keyspaces
        .rows::<(String,)>()
        .expect("names")
        .map(|row| row.expect("a name").0);
    left.extend(keyspaces.filter(|name| name.starts_with(PREFIX)));
    left
}

fn topics(place: &Place) -> Vec<String> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a client");
    let timeout = Duration::from_secs(10);
    let metadata = client.fetch_metadata(None, timeout).expect("Kafka answers");
    let topics = metadata.topics().iter().map(|topic| topic.name().to_owned());
    let groups = client.fetch_group_list(None, timeout).expect("Kafka answers");
    let groups = groups.groups().iter().map(|group| group.name().to_owned());
    topics.chain(groups).filter(|name| name.starts_with(PREFIX)).collect()
}

/// Measures, and reads the report.
fn measured(place: &Place, arguments: &[&str]) -> BenchReport {
    let path = place.directory().join("report.json");
    let out = path.to_str().expect("plain");
    place.ok(&[&["bench"], arguments, &["--log-level", "warn", "--out", out]].concat());
    let text = std::fs::read_to_string(&path).expect("a report");
    let addresses = [place.kafka.as_str(), &place.cassandra, PREFIX];
    assert!(addresses.iter().all(|address| !text.contains(address)), "{text}");
    BenchReport::parse(&text).expect("a report")
}

fn check_figures(report: &BenchReport, readings: u64) {
    for repetition in &report.repetitions {
        assert_eq!(repetition.readings, readings);
        let per_s = readings as f64 / repetition.elapsed_s;
        assert!((repetition.readings_per_s / per_s - 1.0).abs() < 1e-9, "{repetition:?}");
        for latency in &repetition.latencies {
            assert!(latency.quantiles.is_sorted_by_key(|it| it.us), "{latency:?}");
            assert!(
                latency.quantiles.is_sorted_by(|a, b| a.quantile < b.quantile),
                "{latency:?}"
            );
        }
        if cfg!(target_os = "linux") {
            let usage = &repetition.usage;
            assert!(
                usage.cpu_us_per_reading.is_some() && usage.memory_peak_bytes.is_some(),
                "{usage:?}"
            );
            assert!(
                usage.other_work.is_some_and(|share| (0.0..=1.0).contains(&share)),
                "{usage:?}"
            );
        }
    }
    assert!(report.versions.contains_key("iotpipe") && report.versions.contains_key("librdkafka"));
}

#[tokio::test]
async fn records_are_produced_into_a_topic_of_its_own() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_produce"));
    let report = measured(
        &place,
        &["produce", "--records", "20000", "--sensors", "50", "--repetitions", "2"],
    );
    assert_eq!((report.bench.as_str(), report.repetitions.len()), ("produce", 2));
    check_figures(&report, 20_000);
    let latency = &report.repetitions[0].latencies[0];
    assert_eq!((latency.stage, latency.count), (Stage::Acknowledged, 20_000));
    assert_eq!(report.configuration["records"], "20000");
    assert_eq!(report.configuration["produce.sensors"], "50");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn writes_alone_are_all_in_the_store_and_then_gone() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_store"));
    let arguments = [
        "store",
        "--records",
        "20000",
        "--sensors",
        "50",
        "--batch",
        "30",
        "--repetitions",
        "2",
    ];
    let report = measured(&place, &arguments);
    check_figures(&report, 20_000);
    for repetition in &report.repetitions {
        // 400 readings of each sensor: 13 writes of 30 and one of 10.
        assert_eq!(repetition.counts["writes"], 50 * 14);
        assert_eq!(
            repetition.verified.map(|it| (it.readings, it.readings_wrong)),
            Some((20_000, 0))
        );
        assert_eq!(repetition.latencies[0].count, 50 * 14);
    }
    assert!(report.versions.contains_key("cassandra"), "{:?}", report.versions);
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn a_backlog_is_drained_and_compared_with_what_was_sent() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_drain"));
    let report = measured(
        &place,
        &["drain", "--records", "20000", "--sensors", "50", "--repetitions", "2"],
    );
    check_figures(&report, 20_000);
    for repetition in &report.repetitions {
        let counts = &repetition.counts;
        assert_eq!(
            (counts["records"], counts["readings"], counts["dead letters"]),
            (20_000, 20_000, 0)
        );
        let verified = repetition.verified.expect("compared");
        assert_eq!(
            (verified.readings, verified.readings_wrong, verified.windows_wrong),
            (20_000, 0, 0)
        );
        // 400 s of 50 sensors lie in 7 or 8 windows of a minute each, and one or two of an hour.
        assert!((50 * 8..=50 * 10).contains(&verified.windows), "{verified:?}");
        assert_eq!(
            repetition.usage.servers.keys().collect::<Vec<_>>(),
            ["cassandra", "kafka"]
        );
    }
    let without = [
        "drain",
        "--records",
        "2000",
        "--repetitions",
        "1",
        "--no-windows",
        "--no-alerts",
    ];
    let without = measured(&place, &without);
    assert_eq!(without.repetitions[0].verified.map(|it| it.windows), Some(0));
    assert_eq!(without.repetitions[0].counts["windows"], 0);
    assert_eq!(without.configuration["windows.enabled"], "false");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn latencies_are_measured_from_when_readings_were_due_and_without_the_warm_up() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_e2e"));
    let arguments = [
        "e2e",
        "--sensors",
        "100",
        "--rate",
        "1000",
        "--duration",
        "3s",
        "--warm-up",
        "1s",
    ];
    let report = measured(&place, &[&arguments[..], &["--repetitions", "2"]].concat());
    for repetition in &report.repetitions {
        assert!(
            (2_990..=3_010).contains(&repetition.readings),
            "{}",
            repetition.readings
        );
        let verified = repetition.verified.expect("compared");
        assert!(
            (3_990..=4_010).contains(&verified.readings),
            "warm-up included: {verified:?}"
        );
        assert_eq!(verified.readings_wrong + verified.windows_wrong, 0);
        let stages: Vec<Stage> = repetition.latencies.iter().map(|it| it.stage).collect();
        assert_eq!(stages, [Stage::Acknowledged, Stage::Polled, Stage::Queryable]);
        assert!(repetition.latencies.iter().all(|it| it.count == repetition.readings));
        // Each reading is polled before it is stored.
        let [_, polled, queryable] = &repetition.latencies[..] else {
            panic!("three stages")
        };
        assert!(polled.mean_us < queryable.mean_us && polled.at(0.5) <= queryable.at(0.5));
        assert!(repetition.throughput.len() >= 3, "{:?}", repetition.throughput);
    }
    assert_eq!(report.configuration["produce.rate"], "1000");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn the_highest_rate_is_searched_up_to_what_the_fleet_can_send() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_max"));
    let arguments = [
        "max",
        "--sensors",
        "4",
        "--start-rate",
        "3000",
        "--bound",
        "1m",
        "--repetitions",
        "1",
    ];
    let report = measured(
        &place,
        &[&arguments[..], &["--duration", "1s", "--warm-up", "500ms"]].concat(),
    );
    let tried: Vec<(f64, bool)> = report.repetitions[0]
        .tries
        .iter()
        .map(|it| (it.rate, it.failed.is_none()))
        .collect();
    assert_eq!(
        tried,
        [(3000.0, true), (4000.0, true)],
        "a reading of a sensor a millisecond is the most"
    );
    assert!((3_980..=4_020).contains(&report.repetitions[0].readings));
    let impossible = [
        "bench",
        "max",
        "--sensors",
        "4",
        "--start-rate",
        "2",
        "--bound",
        "1us",
        "--repetitions",
        "1",
    ];
    let (code, _, stderr) = place.run(&[&impossible[..], &["--duration", "2s", "--warm-up", "0s"]].concat());
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("no rate holds"), "{stderr}");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn what_is_missing_in_the_store_is_named_and_makes_the_exit_code() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_differs"));
    // Most of 40 days is older than what the store keeps, so it becomes dead letters.
    let arguments = [
        "bench",
        "drain",
        "--records",
        "2000",
        "--sensors",
        "50",
        "--interval",
        "1d",
        "--repetitions",
        "1",
    ];
    let command = place
        .command(&arguments)
        .env("IOTPIPE_STORE_READINGS_TTL", "10d")
        .output();
    let output = command.expect("starts");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("missing reading: sensor "), "{stderr}");
    assert!(stdout.contains("missing, unexpected or different"), "{stdout}");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[tokio::test]
async fn a_failure_and_an_interrupt_leave_nothing_behind() {
    let (_alone, place) = (ALONE.lock().await, Place::new("bench_ends"));
    // Topics are made, the keyspace cannot be.
    let (code, _, stderr) = place.run(&[
        "bench",
        "drain",
        "--records",
        "10",
        "--store",
        "cassandra://127.0.0.1:1/x",
    ]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("127.0.0.1:1"), "{stderr}");
    assert_eq!(left_behind(&place).await, [""; 0]);

    let mut child = place
        .command(&["bench", "e2e", "--rate", "500", "--sensors", "10", "--duration", "5m"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !topics(&place).iter().any(|name| name.ends_with(".analytics")) {
        assert!(Instant::now() < deadline && child.try_wait().expect("a child").is_none());
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert_eq!(left_behind(&place).await, [""; 0]);
}

#[test]
fn a_file_of_sqlite_is_measured_and_removed_too() {
    let place = Place::on("127.0.0.1:1", "127.0.0.1:1", "bench_sqlite");
    let report = measured(
        &place,
        &[
            "store",
            "--records",
            "5000",
            "--sensors",
            "10",
            "--repetitions",
            "1",
            "--store",
            "sqlite:x.db",
        ],
    );
    check_figures(&report, 5_000);
    assert_eq!(report.configuration["store"], "sqlite");
    assert!(report.repetitions[0].usage.servers.is_empty());
    let files: Vec<PathBuf> = std::fs::read_dir(place.directory())
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("report.json"))
        .collect();
    assert_eq!(files, [""; 0].map(PathBuf::from));
}

/// A report with these CPU times a reading, microseconds.
fn report(cpu_us: &[f64]) -> BenchReport {
    let repetitions = (1_u32..).zip(cpu_us).map(|(number, cpu_us)| Repetition {
        readings: 1_000_000,
        elapsed_s: 4.0,
        readings_per_s: 250_000.0 + f64::from(number) * 1000.0,
        usage: Usage {
            cpu_s: Some(*cpu_us),
            cpu_us_per_reading: Some(*cpu_us),
            memory_peak_bytes: Some(60 << 20),
            ..Usage::default()
        },
        counts: BTreeMap::from([("readings".to_owned(), 1_000_000), ("writes".to_owned(), 40_000)]),
        latencies: vec![latency()],
        throughput: (1..=4).map(second).collect(),
        verified: Some(Verified {
            readings: 1_000_000,
            ..Verified::default()
        }),
        ..Repetition::default()
    });
    BenchReport {
        version: VERSION,
        bench: "drain".to_owned(),
        began: "2025-11-05T12:00:00.000Z".to_owned(),
        configuration: BTreeMap::from([("records".to_owned(), "1000000".to_owned())]),
        versions: BTreeMap::from([("iotpipe".to_owned(), "0.1.0".to_owned())]),
        machine: Machine {
            cores: Some(2),
            model: Some("a machine".to_owned()),
            ..Machine::default()
        },
        repetitions: repetitions.collect(),
    }
}

fn latency() -> Latency {
    let quantiles = [
        (0.0, 900),
        (0.5, 4_000),
        (0.9, 9_000),
        (0.99, 25_000),
        (0.999, 80_000),
        (1.0, 120_000),
    ];
    Latency {
        stage: Stage::Queryable,
        count: 1_000_000,
        mean_us: 5_000.0,
        max_us: 120_000,
        quantiles: quantiles.map(|(quantile, us)| Quantile { quantile, us }).to_vec(),
    }
}

fn second(at: u32) -> Throughput {
    Throughput {
        at_ms: 1_762_344_000_000 + 1000 * i64::from(at),
        produced_per_s: None,
        stored_per_s: Some(200_000.0 + 25_000.0 * f64::from(at)),
    }
}

fn written(directory: &Path, name: &str, report: &BenchReport) -> String {
    let path = directory.join(name);
    std::fs::write(&path, report.to_json()).expect("writable");
    path.to_str().expect("plain").to_owned()
}

#[test]
fn a_slower_build_is_told_from_noise_and_other_measurements_are_refused() {
    let place = Place::on("127.0.0.1:1", "127.0.0.1:1", "bench_compare");
    let file = |name: &str, report: &BenchReport| written(place.directory(), name, report);
    let base = report(&[1.50, 1.52, 1.47, 1.53, 1.49]);
    let base_file = file("base.json", &base);
    let outcome = |name: &str, report: &BenchReport, more: &[&str]| {
        place.run(&[&["bench", "compare", &base_file, &file(name, report)], more].concat())
    };

    let slower = report(&[1.65, 1.67, 1.62, 1.68, 1.64]);
    let (code, stdout, _) = outcome("slower.json", &slower, &[]);
    assert_eq!(code, Some(4), "{stdout}");
    assert!(
        stdout.contains("\nsignificantly slower: CPU a reading +10.0 %"),
        "{stdout}"
    );
    assert_eq!(outcome("slower.json", &slower, &["--threshold", "15%"]).0, Some(0));
    assert_eq!(
        outcome("same.json", &report(&[1.51, 1.48, 1.53, 1.50, 1.52]), &[]).0,
        Some(0)
    );
    assert_eq!(
        outcome("faster.json", &report(&[1.31, 1.28, 1.33, 1.30, 1.32]), &[]).0,
        Some(0)
    );
    let (code, stdout, _) = outcome("noisy.json", &report(&[1.2, 2.4, 1.4, 1.3, 2.1]), &[]);
    assert_eq!(code, Some(0), "what noise explains is no failure: {stdout}");
    assert!(stdout.contains("not significantly slower"), "{stdout}");

    let mut other = base.clone();
    other.configuration.insert("records".to_owned(), "5000000".to_owned());
    let (code, _, stderr) = outcome("other.json", &other, &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("records is 1000000 in one and 5000000 in the other"),
        "{stderr}"
    );
    other.bench = "store".to_owned();
    assert_eq!(outcome("kind.json", &other, &[]).0, Some(2));
    let (code, _, stderr) = outcome("few.json", &report(&[1.5, 1.6]), &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("--repetitions"), "{stderr}");
    std::fs::write(place.directory().join("no.json"), "{}").expect("writable");
    let (code, _, stderr) = place.run(&["bench", "compare", &base_file, "no.json"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("no.json is no report of bench"), "{stderr}");
}

/// Without a terminal; `UPDATE_SNAPSHOTS=1` writes it anew.
#[test]
fn a_report_is_drawn_as_reviewed() {
    let place = Place::on("127.0.0.1:1", "127.0.0.1:1", "bench_show");
    let file = written(place.directory(), "report.json", &report(&[1.5, 1.52, 1.47]));
    let drawn = place.ok(&["bench", "show", &file]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/bench-show.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &drawn).expect("writable");
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        drawn == reviewed,
        "tests/snapshots/bench-show.txt differs: UPDATE_SNAPSHOTS=1 writes it\n{drawn}"
    );
}
