//! Records in Avro, with a real registry and another language's client at the other end.

mod gate;
mod longer;

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use iotpipe::registry::{Registry, RegistrySettings};
use serde_json::Value;

use crate::faults::oracle;
use crate::faults::process::{Process, until, words};
use crate::records::{all_of, send};
use crate::servers::{Place, registry};
use gate::Gate;

/// A client of the registry, to arrange and to look.
fn client(url: &str) -> Registry {
    Registry::new(&RegistrySettings {
        url: url.parse().expect("an address"),
        username: None,
        password: None,
        tls: iotpipe::tls::TlsSettings::default(),
        request_timeout: Duration::from_secs(10),
        unknown_schema_wait: Duration::ZERO,
    })
}

/// A place with topics and tables.
fn ready(name: &str) -> Place {
    let place = Place::new(name);
    place.ok(&["init-schema"]);
    place
}

/// Runs with a registry to the end: exit code, stdout, stderr.
fn run(place: &Place, url: &str, line: &str) -> (Option<i32>, String, String) {
    let mut command = place.command(&words(line));
    let output: Output = command
        .env("IOTPIPE_REGISTRY_URL", url)
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn ok(place: &Place, url: &str, line: &str) -> String {
    let (code, stdout, stderr) = run(place, url, line);
    assert_eq!(code, Some(0), "iotpipe {line}: {stdout}{stderr}");
    stdout
}

fn consumer(place: &Place, url: &str, name: &str, line: &str) -> Process {
    Process::start_with(place, name, &words(line), &[("IOTPIPE_REGISTRY_URL", url)])
}

/// A record in JSON: the number is its time.
fn json(sensor: &str, number: i64) -> Vec<u8> {
    format!(
        r#"{{"sensor_id":"{sensor}","reading_time":{},"type":"t","reading":{number}}}"#,
        NOON_MS + number
    )
    .into_bytes()
}

/// The same in Avro, as the schema of the contract has it.
fn avro(id: u32, sensor: &str, number: i64) -> Vec<u8> {
    let mut bytes = [&[0], &id.to_be_bytes()[..]].concat();
    let long = |value: i64, bytes: &mut Vec<u8>| {
        let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
        while bits >= 0x80 {
            bytes.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        bytes.push(bits as u8);
    };
    long(sensor.len() as i64, &mut bytes);
    bytes.extend_from_slice(sensor.as_bytes());
    long(NOON_MS + number, &mut bytes);
    long(1, &mut bytes);
    bytes.push(b't');
    bytes.extend_from_slice(&(number as f64).to_le_bytes());
    bytes
}

const NOON_MS: i64 = 1_762_344_000_000;
const CONTRACT: &str = include_str!("../schemas/sensor-reading.avsc");

/// Values of a sensor by time, oldest first.
fn values(place: &Place, sensor: &str) -> Vec<f64> {
    found(place, sensor).unwrap_or_else(|error| panic!("query --sensor {sensor}: {error}"))
}

/// The same; before the first is stored there is no such sensor.
fn values_or_none(place: &Place, sensor: &str) -> Vec<f64> {
    found(place, sensor).unwrap_or_default()
}

fn found(place: &Place, sensor: &str) -> Result<Vec<f64>, String> {
    let line = [
        "query",
        "--sensor",
        sensor,
        "--from",
        "2000-01-01T00:00:00Z",
        "--order",
        "oldest",
        "--format",
        "jsonl",
    ];
    let (code, stdout, stderr) = place.run(&line);
    if code != Some(0) {
        return Err(stderr);
    }
    let value = |line: &str| {
        serde_json::from_str::<Value>(line).expect(line)["value"]
            .as_f64()
            .expect(line)
    };
    Ok(stdout.lines().map(value).collect())
}

/// Reasons of the dead letters, by source offset.
fn reasons(place: &Place) -> Vec<String> {
    let rows: Value = serde_json::from_str(&place.ok(&["dlq", "list", "--format", "json"])).expect("JSON");
    let rows = rows.as_array().expect("an array");
    let mut rows: Vec<(i64, String)> = rows
        .iter()
        .map(|row| {
            let reason = row["reason"].as_str().expect("a reason");
            (row["source"]["offset"].as_i64().expect("an offset"), reason.to_owned())
        })
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, reason)| reason).collect()
}

/// What Python's client prints, an object a line.
fn python(place: &Place, what: &str, topic: &str, count: usize) -> Vec<Value> {
    let count = count.to_string();
    let arguments = [
        [what, "--brokers"],
        [&place.kafka, "--registry"],
        [registry(), "--topic"],
        [topic, "--count"],
    ];
    let mut arguments: Vec<String> = arguments.as_flattened().iter().map(ToString::to_string).collect();
    arguments.push(count);
    let output = oracle::run("avro_records.py", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("ASCII");
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn records_of_pythons_serializer_are_stored_through_all_versions_of_their_schema() {
    let place = ready("avro_python");
    let expected = python(&place, "write", &place.topic, 100);
    assert!(expected.len() > 300, "{}", expected.len());
    // The same consumer reads JSON in between.
    send(&place, &[(0, json("plain", 1))]);
    let summary = ok(&place, registry(), "consume --until-end");
    assert!(summary.contains("dead letters      0\n"), "{summary}");
    assert_eq!(reasons(&place), [] as [String; 0]);
    let mut by_sensor: BTreeMap<String, BTreeMap<(i64, String), u64>> = BTreeMap::new();
    for row in &expected {
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        let key = (row["time_ms"].as_i64().expect("a time"), text("kind"));
        let bits = row["value"].as_f64().expect("a value").to_bits();
        by_sensor.entry(text("sensor_id")).or_default().insert(key, bits);
    }
    for (sensor, expected) in by_sensor {
        let line = [
            "query",
            "--sensor",
            &sensor,
            "--from",
            "2000-01-01T00:00:00Z",
            "--format",
            "jsonl",
        ];
        let rows = place.ok(&line);
        let rows = rows.lines().map(|line| {
            let row: Value = serde_json::from_str(line).expect(line);
            let kind = row["kind"].as_str().expect(line).to_owned();
            (
                (row["time_ms"].as_i64().expect(line), kind),
                row["value"].as_f64().expect(line).to_bits(),
            )
        });
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected, "{sensor}");
    }
    assert_eq!(values(&place, "plain"), [1.0]);
}

#[test]
fn what_is_produced_in_avro_is_what_pythons_deserializer_reads() {
    for payload in ["narrow", "wide"] {
        let place = ready("avro_produce");
        let run =
            format!("--payload {payload} --count 600 --rate 0 --sensors 20 --seed 5 --start-time 2025-11-05T12:00:00Z");
        ok(&place, registry(), &format!("produce --codec avro {run}"));
        let printed = place.ok(&words(&format!("produce --stdout {run}")));
        let expected = printed.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).expect(line);
            // In JSON a time is a text in wide records.
            if let Some(text) = row["timestamp"].as_str() {
                let time: jiff::Timestamp = text.parse().expect(text);
                row["timestamp"] = time.as_millisecond().into();
            }
            row.to_string()
        });
        let mut expected: Vec<String> = expected.collect();
        let mut found: Vec<String> = python(&place, "read", &place.topic, 600)
            .iter()
            .map(Value::to_string)
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        let registered = client(registry())
            .latest(&format!("{}-value", place.topic))
            .expect("an answer");
        assert_eq!(registered.expect("registered by produce").version, 1);
    }
}

#[test]
fn a_run_in_avro_with_every_fault_is_proved_like_one_in_json() {
    for payload in ["narrow", "wide"] {
        let place = ready("avro_verify");
        let faults = "--late-probability 0.02 --duplicate-probability 0.02 --malformed-probability 0.02 --anomaly-probability 0.01";
        let produce = format!(
            "produce --codec avro --payload {payload} --count 20000 --rate 0 --sensors 50 --seed 3 {faults} --manifest run.json"
        );
        ok(&place, registry(), &produce);
        let (code, stdout, stderr) = run(&place, registry(), "consume --until-end");
        assert_eq!(code, Some(3), "{stdout}{stderr}");
        let manifest = std::fs::read_to_string(place.directory().join("run.json")).expect("written");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        let malformed = manifest["counts"]["malformed"].as_u64().expect("a count");
        assert!(malformed > 100, "{manifest}");
        assert!(
            stdout.contains(&format!("dead letters      {malformed}")),
            "{malformed}: {stdout}"
        );
        place.ok(&["verify", "run.json"]);
    }
}

#[test]
fn bytes_that_are_no_record_of_their_schema_are_dead_letters_at_once() {
    let place = ready("avro_broken");
    let id = client(registry())
        .register("avro_broken-value", CONTRACT)
        .expect("registered");
    let array = client(registry()).register("avro_broken_array-value", r#"{"type":"array","items":"double"}"#);
    let good = avro(id, "s", 2);
    let records: Vec<(i32, Vec<u8>)> = vec![
        (0, json("s", 1)),
        (0, good.clone()),
        (0, good[..good.len() - 1].to_vec()),
        (0, [&good[..], b"?"].concat()),
        (0, vec![0, 0, 0]),
        (0, avro(array.expect("registered"), "s", 3)),
        (0, avro(id, "", 4)),
        (0, avro(id, "s", 5)),
    ];
    send(&place, &records);
    let began = Instant::now();
    let (code, stdout, stderr) = run(&place, registry(), "consume --until-end");
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(began.elapsed() < Duration::from_secs(50), "it waited for something");
    assert_eq!(
        reasons(&place),
        [
            "invalid_avro",
            "invalid_avro",
            "invalid_avro",
            "unusable_schema",
            "empty_field"
        ]
    );
    assert_eq!(values(&place, "s"), [1.0, 2.0, 5.0]);
}

#[test]
fn without_a_registry_records_in_avro_are_dead_letters_and_producing_them_is_a_usage_error() {
    let place = ready("avro_without");
    send(&place, &[(0, avro(1, "s", 1)), (0, json("s", 2))]);
    let (code, _, stderr) = place.run(&["consume", "--until-end"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(reasons(&place), ["unknown_format"]);
    assert_eq!(values(&place, "s"), [2.0]);
    let (code, _, stderr) = place.run(&words("produce --codec avro --count 1 --rate 0"));
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains("--registry"), "{stderr}");
}

#[test]
fn a_schema_that_stays_unknown_makes_dead_letters_after_its_time_and_holds_up_its_partition_alone() {
    let place = ready("avro_unknown");
    let gate = Gate::to(registry());
    let id = client(registry())
        .register("avro_unknown-value", CONTRACT)
        .expect("registered");
    gate.hide(id);
    send(
        &place,
        &[
            (0, json("held", 1)),
            (0, avro(id, "held", 2)),
            (0, avro(id, "held", 3)),
            (0, json("held", 4)),
            (1, json("free", 1)),
        ],
    );
    let consumer = consumer(&place, gate.url(), "consume", "consume --unknown-schema-wait 6s");
    until("the other partition goes on", 60, || {
        values_or_none(&place, "free") == [1.0]
    });
    until("what comes before it is stored", 60, || {
        values_or_none(&place, "held") == [1.0]
    });
    assert!(
        consumer.said("schema unknown to the registry") == 1,
        "{}",
        consumer.log()
    );
    assert_eq!(
        consumer.said("dead letter"),
        0,
        "not before its time: {}",
        consumer.log()
    );
    until("its time is over", 60, || values_or_none(&place, "held") == [1.0, 4.0]);
    assert!(
        gate.asked(&format!("/schemas/ids/{id} ")) >= 5,
        "it was asked for again and again"
    );
    consumer.stop();
    assert_eq!(reasons(&place), ["unknown_schema", "unknown_schema"]);
}

#[test]
fn a_schema_that_comes_late_is_waited_for() {
    let place = ready("avro_late");
    let gate = Gate::to(registry());
    let id = client(registry())
        .register("avro_late-value", CONTRACT)
        .expect("registered");
    gate.hide(id);
    send(&place, &[(0, json("s", 1)), (0, avro(id, "s", 2)), (0, json("s", 3))]);
    let consumer = consumer(&place, gate.url(), "consume", "consume --until-end");
    until("it waits", 60, || gate.asked(&format!("/schemas/ids/{id} ")) >= 3);
    gate.show(id);
    consumer.ends_well(60);
    assert_eq!(values(&place, "s"), [1.0, 2.0, 3.0]);
}

#[test]
fn while_the_registry_is_away_partitions_wait_and_nothing_is_lost() {
    let place = ready("avro_outage");
    let gate = Gate::to(registry());
    ok(
        &place,
        gate.url(),
        "produce --codec avro --count 5000 --rate 0 --sensors 30 --seed 8 --manifest run.json",
    );
    gate.shut();
    let consumer = consumer(&place, gate.url(), "consume", "consume");
    until("it notices", 60, || consumer.said("partitions that need it wait") == 1);
    // Long enough for several tries, and for the group to notice a member that does not poll.
    until("it tries again", 60, || gate.asked("/schemas/ids/") >= 5);
    assert_eq!(
        consumer.said("partitions that need it wait"),
        1,
        "once a change of state: {}",
        consumer.log()
    );
    assert_eq!(consumer.said("partitions lost"), 0, "{}", consumer.log());
    gate.open();
    until("it goes on by itself", 60, || consumer.said("registry recovered") == 1);
    // What is known needs no registry.
    until("the schema is known", 30, || consumer.said("schema learned") == 1);
    gate.shut();
    ok(
        &place,
        registry(),
        "produce --codec avro --count 1000 --rate 0 --sensors 10 --seed 9 --manifest second.json",
    );
    until("all is stored", 60, || {
        place.run(&["verify", "second.json"]).0 == Some(0)
    });
    consumer.stop();
    place.ok(&["verify", "run.json"]);
    assert_eq!(reasons(&place), [] as [String; 0]);
}

#[test]
fn a_password_opens_the_registry_and_is_never_shown() {
    let place = ready("avro_password");
    let gate = Gate::to(registry());
    // base64 of me:canary-4711
    gate.ask_for("Basic bWU6Y2FuYXJ5LTQ3MTE=");
    let with = |line: &str, password: &str| {
        let mut command = place.command(&words(line));
        command
            .env("IOTPIPE_REGISTRY_URL", gate.url())
            .env("IOTPIPE_REGISTRY_USERNAME", "me");
        let output = command
            .env("IOTPIPE_REGISTRY_PASSWORD", password)
            .output()
            .expect("the program starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains("canary"), "{said}");
        (output.status.code(), said)
    };
    let produce = "produce --codec avro --count 100 --rate 0 --sensors 5 --log-level trace";
    let (code, said) = with(produce, "canary-wrong");
    assert_eq!(code, Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("iotpipe: ")).collect();
    assert!(
        errors.len() == 1 && errors[0].contains("IOTPIPE_REGISTRY_PASSWORD"),
        "{said}"
    );
    assert_eq!(gate.asked(""), 1, "no storm of tries");
    let (code, said) = with(produce, "canary-4711");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = with("consume --until-end --duration 60s", "canary-wrong");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("refuses access"), "{said}");
    let (code, said) = with("consume --until-end --log-level debug", "canary-4711");
    assert_eq!(code, Some(0), "{said}");
    let (_, said) = with("config", "canary-4711");
    assert!(said.contains("registry.password") && said.contains("***"), "{said}");
}

#[test]
fn init_schema_registers_the_contract_and_sees_to_its_compatibility() {
    let place = Place::new("avro_init");
    let names = ["ALERTS", "EVENTS", "ANALYTICS"]
        .map(|name| (format!("IOTPIPE_KAFKA_{name}_TOPIC"), format!("{}_{name}", place.topic)));
    let run = |line: &str| {
        let mut command = place.command(&words(line));
        command.envs(names.clone()).env("IOTPIPE_REGISTRY_URL", registry());
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, stdout, stderr) = run("init-schema --dry-run");
    assert_eq!(code, Some(0), "{stderr}");
    let subject = format!("{}-value", place.topic);
    assert!(
        stdout.contains(&subject) && stdout.contains("\"SensorReading\""),
        "{stdout}"
    );
    assert!(
        stdout.contains("\"Alert\"") && stdout.contains("\"WindowAggregate\""),
        "{stdout}"
    );
    let registry = client(registry());
    assert_eq!(registry.latest(&subject).expect("an answer"), None);

    let (code, stdout, stderr) = run("init-schema --check");
    assert_eq!((code, stdout.lines().count()), (Some(0), 4), "{stdout}{stderr}");
    assert_eq!(registry.latest(&subject).expect("an answer"), None, "only checked");

    let (code, stdout, stderr) = run("init-schema");
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for topic in [&place.topic, &names[0].1, &names[1].1, &names[2].1] {
        let subject = format!("{topic}-value");
        assert_eq!(
            registry.latest(&subject).expect("an answer").expect(&subject).version,
            1
        );
        let compatibility = registry.compatibility(&subject).expect("an answer");
        assert_eq!(compatibility.as_deref(), Some("BACKWARD"), "{subject}");
    }
    let (code, stdout, _) = run("init-schema");
    assert_eq!(
        (code, stdout.matches("up to date (version 1").count()),
        (Some(0), 4),
        "{stdout}"
    );
    // A schema that does not read what is there: the narrow one's field is not in the wide one.
    let (code, _, stderr) = run("init-schema --check --payload wide");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(&subject) && stderr.contains("SensorReading"),
        "{stderr}"
    );
}

#[test]
fn several_that_prepare_the_same_subjects_at_once_all_succeed() {
    let place = Place::new("avro_at_once");
    let at_once = std::sync::Barrier::new(4);
    for round in 0..5 {
        let subject = format!("{}_{round}-value", place.topic);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let registry = client(registry());
                    at_once.wait();
                    registry.register(&subject, CONTRACT).expect("registered");
                    let backward = iotpipe::registry::Compatibility::Backward;
                    registry.set_compatibility(&subject, backward).expect("set");
                });
            }
        });
        let registry = client(registry());
        assert_eq!(
            registry
                .latest(&subject)
                .expect("an answer")
                .expect("a version")
                .version,
            1
        );
        let compatibility = registry.compatibility(&subject).expect("an answer");
        assert_eq!(compatibility.as_deref(), Some("BACKWARD"));
    }
}

#[test]
fn a_change_that_is_not_compatible_is_refused_by_name_before_anything_is_made() {
    let place = Place::new("avro_refused");
    let subject = format!("{}-value", place.topic);
    // Somebody else's version of the contract lacks a field that ours has no default for.
    let theirs = CONTRACT.replace("\"name\": \"reading\"", "\"name\": \"measured\"");
    assert_ne!(theirs, CONTRACT);
    client(registry()).register(&subject, &theirs).expect("registered");
    for line in ["init-schema --check", "init-schema"] {
        let (code, stdout, stderr) = run(&place, registry(), line);
        assert_eq!(code, Some(1), "{stdout}{stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("error: ")).collect();
        assert!(
            errors.len() == 1 && errors[0].contains(&subject) && errors[0].contains("'reading'"),
            "{stderr}"
        );
    }
    let (code, _, stderr) = place.run(&["consume", "--until-end"]);
    assert!(
        code == Some(1) && stderr.contains(&place.topic),
        "no topic was made: {stderr}"
    );
    // Nor is anything sent in it.
    client(registry())
        .set_compatibility(&subject, iotpipe::registry::Compatibility::Backward)
        .expect("set");
    place.ok(&["init-schema"]);
    let (code, _, stderr) = run(&place, registry(), "produce --codec avro --count 1 --rate 0");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&subject), "{stderr}");
}

#[test]
fn alerts_and_analytics_in_avro_are_what_they_are_in_json() {
    let place = Place::new("avro_outputs");
    let names = ["ALERTS", "EVENTS", "ANALYTICS"]
        .map(|name| (format!("IOTPIPE_KAFKA_{name}_TOPIC"), format!("{}_{name}", place.topic)));
    let run = |keyspace: &str, line: &str| {
        let mut command = place.command(&words(line));
        command.envs(names.clone()).env("IOTPIPE_REGISTRY_URL", registry());
        command.env("IOTPIPE_STORE", format!("cassandra://{}/{keyspace}", place.cassandra));
        let output = command.output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {stderr}");
    };
    // In a store of its own each run finds all of it anew.
    let other = format!("{}_2", place.keyspace);
    run(&place.keyspace, "init-schema --partitions 1");
    run(&other, "init-schema --partitions 1");
    run(
        &place.keyspace,
        "produce --count 3000 --rate 0 --sensors 20 --seed 4 --anomaly-probability 0.02",
    );
    // These say their status.
    run(
        &place.keyspace,
        "produce --count 200 --rate 0 --sensors 20 --seed 5 --payload wide",
    );
    run(
        &place.keyspace,
        "consume --group one --until-end --analytics --outputs-codec avro",
    );
    run(&other, "consume --group two --until-end --analytics");
    // Of a window there are several records; the last of them is the same in both.
    for (_, topic) in &names {
        let (binary, texts): (Vec<Vec<u8>>, Vec<Vec<u8>>) = all_of(&place, topic)
            .into_iter()
            .partition(|payload| payload.first() == Some(&0));
        assert!(!binary.is_empty(), "{topic}");
        let read = python(&place, "read", topic, binary.len());
        let last = |rows: Vec<Value>| -> BTreeMap<String, Value> {
            let key = |row: &Value| match (row.get("id"), row.get("status")) {
                (Some(id), _) => format!("{id} {} {}", row["offset"], row["event"]),
                (_, Some(status)) => format!("{} {status}", row["offset"]),
                _ => format!(
                    "{} {} {} {}",
                    row["sensor_id"], row["type"], row["size_s"], row["window_start"]
                ),
            };
            rows.into_iter().map(|row| (key(&row), without_nulls(row))).collect()
        };
        let texts: Vec<Value> = texts
            .iter()
            .map(|text| serde_json::from_slice(text).expect("JSON"))
            .collect();
        let (read, texts) = (last(read), last(texts));
        assert!(!texts.is_empty(), "{topic}");
        assert_eq!(read, texts, "{topic}");
    }
}

fn without_nulls(mut row: Value) -> Value {
    row.as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    row
}
