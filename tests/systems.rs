//! What other pipelines of this kind send, as their own documents have it, with their topics' names and the names of their
//! settings in the environment; and what they would ask afterwards. README.md has the table.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use crate::faults::oracle;
use crate::faults::process::{Process, until, words};
use crate::records::send_keyed;
use crate::servers::{Place, registry};

/// A place that is known to the program by the names of one system's settings alone.
struct System {
    place: Place,
    environment: BTreeMap<String, String>,
}

impl System {
    /// `topic` is what the system calls it; here it is unique. The file says what the system has no name for.
    fn new(topic: &str, file: &str, environment: &[(&str, &str)]) -> System {
        let mut place = Place::new("system");
        place.topic = place.topic.replace("system", topic);
        let (host, port) = place.cassandra.rsplit_once(':').expect("host:port");
        let mut names = BTreeMap::from([
            ("KAFKA_BOOTSTRAP_SERVERS".to_owned(), place.kafka.clone()),
            ("KAFKA_TOPIC_NAME".to_owned(), place.topic.clone()),
            ("CASSANDRA_HOST".to_owned(), host.to_owned()),
            ("CASSANDRA_PORT".to_owned(), port.to_owned()),
        ]);
        names.extend(
            environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let outputs =
            ["alerts", "events", "analytics"].map(|name| format!("{name}_topic = \"{}-{name}\"\n", place.topic));
        let store = format!("[store]\nurl = \"cassandra://replaced:1/{}\"\n", place.keyspace);
        let file = format!("[kafka]\n{}{store}{file}", outputs.concat());
        std::fs::write(place.directory().join("iotpipe.toml"), file).expect("writable");
        System {
            place,
            environment: names,
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.command(&words(line));
        command.env_clear().envs(&self.environment);
        command
    }

    /// Runs to a good end.
    fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().expect("the program starts");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(0), "iotpipe {line}: {stdout}{stderr}");
        stdout.into_owned()
    }

    fn rows(&self, line: &str) -> Vec<Value> {
        let text = self.ok(&format!("{line} --format jsonl"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// Kind and value of all readings of a sensor at a time.
    fn readings(&self, sensor: &str, time: &str) -> BTreeMap<String, f64> {
        let time_ms = time.parse::<Timestamp>().expect(time).as_millisecond();
        let rows = self.rows(&format!("query --sensor {sensor} --from 2000-01-01T00:00:00Z"));
        let at = rows.into_iter().filter(|row| row["time_ms"] == time_ms);
        at.map(|row| {
            (
                row["kind"].as_str().expect("a kind").to_owned(),
                row["value"].as_f64().expect("a value"),
            )
        })
        .collect()
    }

    /// Partitions, and settings of a topic, as the broker has them.
    fn topic(&self, name: &str) -> (usize, BTreeMap<String, String>) {
        let config = ClientConfig::new().set("bootstrap.servers", &self.place.kafka).clone();
        let consumer: BaseConsumer = config.create().expect("a client");
        let metadata = consumer
            .fetch_metadata(Some(name), Duration::from_secs(10))
            .expect("an answer");
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let asked = [ResourceSpecifier::Topic(name)];
        let answer = futures::executor::block_on(admin.describe_configs(&asked, &AdminOptions::new()));
        let entries = answer.expect("an answer").remove(0).expect(name).entries;
        let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
        (metadata.topics()[0].partitions().len(), settings.collect())
    }
}

/// Whether a summary has a line of these words.
fn says(summary: &str, line: &str) -> bool {
    summary.lines().any(|found| words(found) == words(line))
}

fn of(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs.iter().map(|(kind, value)| ((*kind).to_owned(), *value)).collect()
}

/// Python producer and consumers: one reading a record, ids are UUIDs, 3500 records a second, 12 partitions, consumers by scale.
#[test]
fn narrow_records_of_sensors_with_uuids_and_consumers_by_scale() {
    let system = System::new(
        "iot_sensor_data",
        "",
        &[
            ("PRODUCER_TARGET_RATE", "3500"),
            ("KAFKA_NUM_PARTITIONS", "12"),
            ("KAFKA_CONSUMER_GROUP_ID", "g1"),
        ],
    );
    system.ok("init-schema");
    assert_eq!(system.topic(&system.place.topic).0, 12);
    let sensor = "0b6e7d2a-5f7d-4b52-9a55-2f1c8a3d9e10";
    let at = |time: &str| time.parse::<Timestamp>().expect(time).as_millisecond();
    let record = |time: Value, kind: &str, reading: f64| {
        let record = json!({"sensor_id": sensor, "reading_time": time, "type": kind, "reading": reading});
        (sensor, record.to_string())
    };
    send_keyed(
        &system.place,
        &[
            record(at("2025-11-05T12:00:00.123Z").into(), "temperature", 23.4567),
            record("2025-11-05T12:00:01+00:00".into(), "voltage", 229.75),
        ],
    );
    let consumers: Vec<Process> = (0..3)
        .map(|n| Process::run(&system.place, &format!("consumer-{n}"), system.command("consume")))
        .collect();
    let summary = system.ok("produce --duration 4s");
    assert!(says(&summary, "acknowledged 14,000"), "{summary}");
    until("all is stored", 60, || {
        let rows = system.rows("query --sensors --limit 2000");
        rows.len() == 1001
    });
    consumers.into_iter().for_each(Process::stop);
    assert_eq!(
        system.readings(sensor, "2025-11-05T12:00:00.123Z"),
        of(&[("temperature", 23.4567)])
    );
    assert_eq!(
        system.readings(sensor, "2025-11-05T12:00:01Z"),
        of(&[("voltage", 229.75)])
    );
}

/// Flink: wide records with ISO times and labels as ids; averages of windows.
#[test]
fn wide_records_with_labels_and_their_averages_by_window() {
    let system = System::new("iot_sensors", "", &[]);
    system.ok("init-schema");
    let record = |time: &str, temperature: f64, humidity: f64| {
        let record =
            json!({"sensor_id": "sensor-01", "timestamp": time, "temperature": temperature, "humidity": humidity});
        ("sensor-01", record.to_string())
    };
    send_keyed(
        &system.place,
        &[
            record("2025-11-05T12:00:00Z", 27.5, 40.2),
            record("2025-11-05T12:00:30Z", 26.1, 42.0),
            record("2025-11-05T12:01:00Z", 20.0, 50.0),
        ],
    );
    system.ok("consume --until-end --analytics");
    assert_eq!(
        system.readings("sensor-01", "2025-11-05T12:00:00Z"),
        of(&[("temperature", 27.5), ("humidity", 40.2)])
    );
    let windows =
        system.rows("query --sensor sensor-01 --window 1m --from 2025-11-05T12:00:00Z --to 2025-11-05T12:01:00Z");
    let mean = |kind: &str| {
        let row = windows.iter().find(|row| row["kind"] == kind).expect(kind);
        (
            row["start"].clone(),
            row["count"].clone(),
            // Sums of doubles may differ in their last bits.
            (row["mean"].as_f64().expect("a mean") * 1e9).round() / 1e9,
        )
    };
    assert_eq!(windows.len(), 2, "{windows:?}");
    let noon = Value::from("2025-11-05T12:00:00.000Z");
    assert_eq!(mean("temperature"), (noon.clone(), 2.into(), 26.8));
    assert_eq!(mean("humidity"), (noon, 2.into(), 41.1));
}

/// Spark: Avro through a schema registry, raw events and hourly aggregates.
#[test]
fn avro_events_through_a_registry_and_their_hourly_aggregates() {
    let mut system = System::new("sensor-events", "", &[]);
    system.ok("init-schema");
    system
        .environment
        .insert("SCHEMA_REGISTRY_URL".to_owned(), registry().to_owned());
    // By the serializer of Confluent's Python client, its schema registered by it.
    let arguments = [
        ["write", "--brokers", &system.place.kafka, "--registry"],
        [registry(), "--topic", &system.place.topic, "--count"],
    ];
    let arguments = arguments.as_flattened().iter().chain(&["20"]);
    let arguments: Vec<String> = arguments.map(ToString::to_string).collect();
    let output = oracle::run("avro_records.py", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    system.ok("consume --until-end");
    assert_eq!(system.rows("query --sensors --limit 1000").len(), 60);
    let first = &written[0];
    let sensor = first["sensor_id"].as_str().expect("an id");
    let rows = system.rows(&format!("query --sensor {sensor} --from 2000-01-01T00:00:00Z"));
    let found = rows.iter().find(|row| row["kind"] == first["kind"]).expect("stored");
    assert_eq!(
        (&found["time_ms"], &found["value"]),
        (&first["time_ms"], &first["value"])
    );
    let hours = system.rows(&format!(
        "query --sensor {sensor} --window 1h --from 2000-01-01T00:00:00Z"
    ));
    let hour = hours.iter().find(|row| row["kind"] == first["kind"]).expect("an hour");
    assert_eq!((&hour["count"], &hour["mean"]), (&1.into(), &first["value"]));
}

/// Kafka of several brokers: a type and a value by other names, booleans, alerts; all settings from the environment.
#[test]
fn devices_of_one_type_each_with_other_field_names_and_booleans() {
    let fields = "[fields]\nid = [\"device_id\"]\ntype_field = \"device_type\"\nvalue_field = \"value\"\n";
    let system = System::new(
        "iot-sensor-data",
        fields,
        &[
            ("KAFKA_CONSUMER_GROUP_ID", "iot-data-consumer"),
            ("KAFKA_AUTO_OFFSET_RESET", "earliest"),
            ("KAFKA_REPLICATION_FACTOR", "1"),
            ("KAFKA_PARTITIONS", "6"),
            ("IOT_NUM_DEVICES", "8"),
            ("IOT_DATA_INTERVAL_SEC", "1.0"),
            ("IOT_DEVICE_TYPES", "temperature,humidity,pressure,motion,light"),
            ("IOT_ANOMALY_PROBABILITY", "0.05"),
            ("LOG_LEVEL", "INFO"),
            ("ENVIRONMENT", "production"),
        ],
    );
    system.ok("init-schema");
    assert_eq!(system.topic(&system.place.topic).0, 6);
    let record = |device: &'static str, kind: &str, value: Value| {
        let time = "2025-11-05T12:00:00";
        let record = json!({"device_id": device, "device_type": kind, "timestamp": time, "value": value, "unit": "x"});
        (device, record.to_string())
    };
    send_keyed(
        &system.place,
        &[
            record("temp-1", "temperature", 41.5.into()),
            record("motion-1", "motion", true.into()),
            record("motion-2", "motion", false.into()),
            record("light-1", "light", 3.into()),
        ],
    );
    system.ok("consume --until-end");
    let noon = "2025-11-05T12:00:00Z";
    assert_eq!(system.readings("temp-1", noon), of(&[("temperature", 41.5)]));
    assert_eq!(system.readings("motion-1", noon), of(&[("motion", 1.0)]));
    assert_eq!(system.readings("motion-2", noon), of(&[("motion", 0.0)]));
    let alerts = system.rows("query --alerts --from 2025-11-05T00:00:00Z --to 2025-11-06T00:00:00Z");
    let labels: Vec<&str> = alerts.iter().filter_map(|alert| alert["label"].as_str()).collect();
    let count = |label: &str| labels.iter().filter(|found| **found == label).count();
    assert_eq!(
        (count("temp-1"), count("motion-1"), count("motion-2"), count("light-1")),
        (1, 1, 0, 1),
        "{alerts:?}"
    );
    // ENVIRONMENT=production keeps a log file.
    let log = std::fs::read_to_string(system.place.directory().join("iotpipe.log")).expect("a log");
    assert!(log.contains("INFO"), "{log}");
    // The simulator by the names of its settings: eight devices, a reading a second each.
    let summary = system.ok("produce --duration 3s");
    assert!(says(&summary, "acknowledged 24"), "{summary}");
}

/// kafka-python: wide records with location and status; topics for data, events, alerts and analytics.
#[test]
fn wide_records_with_location_and_status_and_topics_of_their_own() {
    let environment = [
        ("KAFKA_PARTITIONS", "3"),
        ("KAFKA_CONSUMER_GROUP_ID", "analytics-group"),
    ];
    let system = System::new("sensor-data", "", &environment);
    system.ok("init-schema");
    let day_ms = 86_400_000_u64;
    let topic = &system.place.topic;
    for (name, partitions, days) in [
        (topic.clone(), 3, 7),
        (format!("{topic}-events"), 3, 30),
        (format!("{topic}-alerts"), 1, 90),
        (format!("{topic}-analytics"), 3, 7),
    ] {
        let (found, settings) = system.topic(&name);
        assert_eq!(
            (found, &settings["retention.ms"]),
            (partitions, &(days * day_ms).to_string()),
            "{name}"
        );
    }
    let record = |second: u32, status: &str, temperature: f64| {
        let record = json!({
            "sensor_id": "SENSOR_001", "timestamp": format!("2024-11-07T10:15:{second}"), "temperature": temperature,
            "humidity": 65.2, "pressure": 1013.25, "location": {"latitude": 52.3676, "longitude": 4.9041}, "status": status,
        });
        ("SENSOR_001", record.to_string())
    };
    send_keyed(
        &system.place,
        &[record(30, "active", 23.5), record(31, "maintenance", 23.5)],
    );
    system.ok("consume --until-end --analytics");
    let readings = of(&[("temperature", 23.5), ("humidity", 65.2), ("pressure", 1013.25)]);
    assert_eq!(system.readings("SENSOR_001", "2024-11-07T10:15:30Z"), readings);
    let sensor = &system.rows("query --sensors")[0];
    assert_eq!(
        (&sensor["label"], &sensor["status"], &sensor["location"]),
        (
            &"SENSOR_001".into(),
            &"maintenance".into(),
            &json!({"latitude": 52.3676, "longitude": 4.9041})
        ),
        "{sensor}"
    );
    // The simulator by its flags: 20 sensors, a record of each every 100 ms.
    let summary = system.ok("produce --num-sensors 20 --interval 0.1 --payload wide --duration 2s");
    assert!(says(&summary, "acknowledged 400"), "{summary}");
}
