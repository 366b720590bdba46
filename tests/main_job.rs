//! The main job on real servers: produce, Kafka, consume, Cassandra, query.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::servers::Place;

/// (sensor, time in ms, kind) to the value's bits, as the records on stdout say.
fn printed(place: &Place, arguments: &[&str]) -> BTreeMap<(String, i64, String), u64> {
    let arguments: Vec<&str> = ["produce", "--stdout"].iter().chain(arguments).copied().collect();
    let rows = place.ok(&arguments);
    let rows = rows.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect(line);
        let text = |field: &str| record[field].as_str().expect(line).to_owned();
        let time = record["reading_time"].as_i64().expect(line);
        (
            (text("sensor_id"), time, text("type")),
            record["reading"].as_f64().expect(line).to_bits(),
        )
    });
    rows.collect()
}

/// The same of what the store holds, sensor by sensor through `query`.
fn stored(place: &Place) -> BTreeMap<(String, i64, String), u64> {
    let sensors = place.ok(&["query", "--sensors", "--format", "jsonl"]);
    let mut rows = BTreeMap::new();
    for sensor in sensors.lines() {
        let sensor: Value = serde_json::from_str(sensor).expect(sensor);
        let id = sensor["sensor_id"].as_str().expect("an id");
        let arguments = [
            "query",
            "--sensor",
            id,
            "--from",
            "2000-01-01T00:00:00Z",
            "--format",
            "jsonl",
        ];
        for line in place.ok(&arguments).lines() {
            let row: Value = serde_json::from_str(line).expect(line);
            let key = (
                id.to_owned(),
                row["time_ms"].as_i64().expect(line),
                row["kind"].as_str().expect(line).to_owned(),
            );
            rows.insert(key, row["value"].as_f64().expect(line).to_bits());
        }
    }
    rows
}

#[test]
fn every_reading_that_is_produced_can_be_asked_for() {
    let place = Place::new("main_job");
    place.ok(&["init-schema"]);
    let run = [
        "--count",
        "20000",
        "--rate",
        "0",
        "--sensors",
        "50",
        "--seed",
        "7",
        "--start-time",
        "2025-11-05T23:55:00Z",
    ];
    place.ok(&["init-schema", "--retention", "none"]);
    let produce: Vec<&str> = ["produce"].iter().chain(&run).copied().collect();
    place.ok(&produce);
    let summary = place.ok(&["consume", "--group", "g1", "--until-end"]);
    assert!(summary.contains("20,000"), "{summary}");
    let (expected, found) = (printed(&place, &run), stored(&place));
    assert_eq!(expected.len(), 20_000);
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "the store and the records differ");
    // A second group writes everything once more: nothing changes.
    let again = place.ok(&["consume", "--group", "g2", "--until-end"]);
    assert!(
        again
            .lines()
            .any(|line| line.contains("processed before") && line.contains("20,000")),
        "{again}"
    );
    assert!(stored(&place) == expected, "a second group changed the store");
}

#[test]
fn two_consumers_that_come_and_go_lose_nothing() {
    let place = Place::new("come_and_go");
    place.ok(&["init-schema"]);
    let run = ["--count", "60000", "--rate", "15000", "--sensors", "200", "--seed", "3"];
    let mut first = place.command(&["consume"]).spawn().expect("starts");
    let produce: Vec<&str> = ["produce"].iter().chain(&run).copied().collect();
    let mut producer = place
        .command(&produce)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut second = place.command(&["consume"]).spawn().expect("starts");
    std::thread::sleep(Duration::from_secs(2));
    // The first leaves in the middle, orderly; the second takes over what it had.
    terminate(&first);
    assert!(wait(&mut first).success());
    assert!(wait(&mut producer).success());
    place.ok(&["consume", "--until-end"]);
    terminate(&second);
    assert!(wait(&mut second).success());
    let rows: usize = stored(&place).len();
    assert_eq!(rows, 60_000);
}

#[tokio::test]
async fn records_that_were_deleted_unprocessed_are_refused_or_become_a_recorded_hole() {
    let place = Place::new("hole");
    place.ok(&["init-schema"]);
    let produce = |seed: &str| place.ok(&["produce", "--count", "1200", "--rate", "0", "--seed", seed]);
    produce("1");
    place.ok(&["consume", "--until-end"]);
    produce("2");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a client");
    let mut all = TopicPartitionList::new();
    all.add_partition_range(&place.topic, 0, 11);
    all.set_all_offsets(Offset::End).expect("offsets");
    admin.delete_records(&all, &AdminOptions::new()).await.expect("deleted");
    produce("3");

    let (code, _, stderr) = place.run(&["consume", "--until-end"]);
    assert_eq!(code, Some(1), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("iotpipe: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("deleted"), "{stderr}");
    assert!(errors[0].contains("--on-data-loss continue"), "{stderr}");

    place.ok(&["consume", "--until-end", "--on-data-loss", "continue"]);
    assert_eq!(
        stored(&place).len(),
        2_400,
        "the first and the third, and nothing of the second"
    );
    let session = scylla::client::session_builder::SessionBuilder::new()
        .known_node(&place.cassandra)
        .build()
        .await
        .expect("Cassandra answers");
    let holes = format!("SELECT hole FROM {}.source_holes", place.keyspace);
    let holes = session.query_unpaged(holes, ()).await.expect("asked");
    assert!(
        holes.into_rows_result().expect("rows").rows_num() > 0,
        "the holes are kept"
    );
}

#[test]
fn each_kind_of_bad_record_is_a_dead_letter_with_its_reason_and_the_rest_is_stored() {
    let place = Place::new("dead_letters");
    place.init_schema_with_partitions(2);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .set("message.max.bytes", "1048588")
        .create()
        .expect("a producer");
    let now_ms = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis();
    let narrow = |value: &str| format!(r#"{{"sensor_id":"s1","reading_time":{now_ms},"type":"t","reading":{value}}}"#);
    let nested = format!(r#"{{"deep":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    // As large as the topic takes: with its headers it is larger than its source allowed.
    let largest = "x".repeat(1_048_588 - 200);
    let bad: Vec<(Option<Vec<u8>>, &str)> = vec![
        (None, "empty_payload"),
        (Some(vec![]), "empty_payload"),
        (Some(b"hello".to_vec()), "unknown_format"),
        (Some(b"{\"sensor_id\":\"\xff\"}".to_vec()), "invalid_utf8"),
        (Some(nested.into_bytes()), "nesting_too_deep"),
        (Some(narrow("NaN").into_bytes()), "value_not_finite"),
        (Some(narrow("\"12\"").into_bytes()), "wrong_type"),
        (
            Some(narrow("1").replace("sensor_id", "id").into_bytes()),
            "missing_field",
        ),
        (
            Some(narrow("1").replace(&now_ms.to_string(), "4070908800000").into_bytes()),
            "time_in_future",
        ),
        (Some(largest.into_bytes()), "unknown_format"),
    ];
    for (payload, _) in &bad {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&place.topic).partition(0).key(b"k");
        record.payload = payload.as_deref();
        let headers = OwnedHeaders::new().insert(rdkafka::message::Header {
            key: "trace",
            value: Some("abc"),
        });
        producer.send(record.headers(headers)).expect("taken");
    }
    let good = narrow("21.5");
    producer
        .send(BaseRecord::to(&place.topic).partition(0).key("k").payload(&good))
        .expect("taken");
    producer.flush(Duration::from_secs(20)).expect("acknowledged");

    let (code, stdout, stderr) = place.run(&["consume", "--until-end", "--max-records", "11"]);
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    let expected: BTreeMap<&str, usize> = bad.iter().fold(BTreeMap::new(), |mut counts, (_, reason)| {
        *counts.entry(*reason).or_default() += 1;
        counts
    });
    let letters = place.ok(&["dlq", "list", "--format", "jsonl"]);
    let mut found = BTreeMap::new();
    for letter in letters.lines() {
        let letter: Value = serde_json::from_str(letter).expect(letter);
        *found
            .entry(letter["reason"].as_str().expect("a reason").to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(
        found,
        expected
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect()
    );
    let readings = place.ok(&["query", "--sensor", "s1", "--format", "jsonl"]);
    assert_eq!(readings.lines().count(), 1, "{readings}");
}

#[test]
fn one_line_says_what_is_wrong_where_and_what_to_do() {
    let place = Place::new("messages");
    let fails = |arguments: &[&str], environment: &[(&str, &str)], code: i32, words: &[&str]| {
        let began = Instant::now();
        let output = place
            .command(arguments)
            .envs(environment.iter().copied())
            .output()
            .expect("starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("iotpipe: ")).collect();
        // A line each where several things are wrong.
        assert!(
            !errors.is_empty() && (errors.len() == 1 || arguments.contains(&"--partitions")),
            "{stderr}"
        );
        for word in words {
            assert!(
                errors[0].contains(word),
                "{arguments:?}: no {word:?} in {:?}",
                errors[0]
            );
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{arguments:?} took {:?}",
            began.elapsed()
        );
    };
    // Nothing there yet.
    fails(&["consume"], &[], 1, &[&place.keyspace, "init-schema"]);
    place.ok(&["init-schema"]);
    let nobody = "127.0.0.1:1";
    let sqlite = format!("sqlite:{}/x.db", place.directory().display());
    fails(
        &["produce", "--count", "1"],
        &[("KAFKA_BOOTSTRAP_SERVERS", nobody)],
        1,
        &[nobody, "broker"],
    );
    fails(
        &["consume"],
        &[("KAFKA_BOOTSTRAP_SERVERS", nobody)],
        1,
        &[nobody, "broker"],
    );
    fails(
        &["init-schema"],
        &[("KAFKA_BOOTSTRAP_SERVERS", nobody)],
        1,
        &[nobody, "broker"],
    );
    fails(
        &["query", "--sensors", "--store", "cassandra://127.0.0.1:1/x"],
        &[],
        1,
        &["127.0.0.1:1"],
    );
    fails(
        &["consume", "--topic", "no_such_topic"],
        &[],
        1,
        &["no_such_topic", "init-schema"],
    );
    fails(
        &["produce", "--count", "1", "--topic", "no_such_topic"],
        &[],
        1,
        &["no_such_topic", "init-schema"],
    );
    fails(
        &["query", "--sensors", "--store", &sqlite],
        &[],
        1,
        &["x.db", "init-schema"],
    );
    fails(
        &["init-schema", "--store", "sqlite:/proc/no/x.db"],
        &[],
        1,
        &["/proc/no"],
    );
    fails(&["init-schema", "--partitions", "99"], &[], 1, &["partitions"]);
    std::fs::write(place.directory().join("iotpipe.toml"), "[kafka]\nbroker = \"x\"\n").expect("writable");
    fails(&["config"], &[], 2, &["iotpipe.toml", "broker"]);
}

fn terminate(child: &std::process::Child) {
    let status = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Waits a bounded time: a process that hangs is a failure, not a stuck test.
fn wait(child: &mut std::process::Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the process did not end within a minute");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
