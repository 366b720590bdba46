//! `iotpipe doctor`: each condition that it looks for, broken once.

use std::collections::BTreeMap;
use std::process::Command;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;

use crate::faults::oracle;
use crate::faults::process::words;
use crate::servers::{Place, registry};

/// What it says of each check: the worst result, and all that was found and is to be done.
struct Report {
    code: Option<i32>,
    rows: BTreeMap<String, (String, String)>,
}

impl Report {
    fn of(mut command: Command) -> Report {
        let output = command.output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}{stderr}"));
            let cell = |name: &str| row[name].as_str().expect("a text").to_owned();
            let (result, told) = rows.entry(cell("check")).or_default();
            let rank = |result: &str| ["", "ok", "warning", "wrong"].iter().position(|known| *known == result);
            if rank(&cell("result")) > rank(result) {
                *result = cell("result");
            }
            told.push_str(&format!("{} -> {}\n", cell("found"), cell("remedy")));
        }
        Report {
            code: output.status.code(),
            rows,
        }
    }

    fn new(place: &Place) -> Report {
        Report::of(place.command(&words("doctor --format jsonl")))
    }

    fn is(&self, check: &str, result: &str, words: &[&str]) {
        let Some((found, told)) = self.rows.get(check) else {
            panic!("nothing is said of {check}: {:?}", self.rows)
        };
        assert_eq!(found, result, "{check}: {told}");
        words
            .iter()
            .for_each(|word| assert!(told.contains(word), "{word} in {told}"));
    }
}

fn alter(place: &Place, topic: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a client");
    let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (name, value) in settings {
        alter = alter.set(name, value);
    }
    let answer = futures::executor::block_on(admin.alter_configs(&[alter], &AdminOptions::new()));
    answer.expect("an answer").remove(0).expect("altered");
}

/// Statements by another client, `$` for the keyspace.
fn cql(place: &Place, statement: &str) {
    let arguments = ["--cassandra", &place.cassandra, "--execute"].map(str::to_owned);
    let statement = statement.replace('$', &place.keyspace);
    let output = oracle::run("cql.py", &[&arguments[..], &[statement]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn all_is_well_after_init_schema_and_before_it_each_thing_that_is_missing_is_named() {
    let place = Place::new("doctor");
    let before = Report::new(&place);
    assert_eq!(before.code, Some(1));
    before.is("kafka", "ok", &["brokers: 1"]);
    before.is(
        &format!("topic {}", place.topic),
        "wrong",
        &["there is none", "init-schema"],
    );
    before.is("cassandra", "ok", &["release 5.0"]);
    before.is("keyspace", "wrong", &[&place.keyspace, "init-schema"]);
    place.ok(&["init-schema"]);
    let after = Report::new(&place);
    assert_eq!(after.code, Some(0), "{:?}", after.rows);
    for check in ["kafka", "cassandra", "clock", "tables", "configuration"] {
        after.is(check, "ok", &[]);
    }
    for topic in [
        &place.topic,
        &format!("{}.dlq", place.topic),
        "alerts",
        "events",
        "analytics",
    ] {
        assert_ne!(after.rows[&format!("topic {topic}")].0, "wrong");
    }
    // Cassandra's default: what it means is said.
    after.is("commit log", "warning", &["periodic", "only replica", "batch"]);
    let table = place.ok(&["doctor"]);
    assert!(
        table.contains("what to do") && table.contains("commitlog_sync"),
        "{table}"
    );
}

#[test]
fn topics_that_lose_records_are_wrong() {
    let place = Place::new("doctor_topics");
    place.ok(&["init-schema"]);
    let (readings, letters) = (place.topic.clone(), format!("{}.dlq", place.topic));
    alter(
        &place,
        &readings,
        &[("cleanup.policy", "compact"), ("min.insync.replicas", "2")],
    );
    alter(
        &place,
        &letters,
        &[("unclean.leader.election.enable", "true"), ("retention.ms", "60000")],
    );
    let report = Report::new(&place);
    assert_eq!(report.code, Some(1));
    let policy = [
        "cleanup.policy is compact, should be delete",
        "min.insync.replicas is 2 with replicas: 1",
    ];
    report.is(&format!("topic {readings}"), "wrong", &policy);
    let election = ["unclean.leader.election.enable is true", "retention.ms is 60000"];
    report.is(&format!("topic {letters}"), "wrong", &election);
    // More partitions than there are were asked for.
    let mut command = place.command(&words("doctor --format jsonl"));
    command.env("KAFKA_PARTITIONS", "24");
    Report::of(command).is(
        &format!("topic {readings}"),
        "wrong",
        &["partitions is 12, should be 24"],
    );
}

#[test]
fn tables_that_break_a_promise_are_wrong() {
    let place = Place::new("doctor_tables");
    place.ok(&["init-schema"]);
    cql(&place, "ALTER TABLE $.sensor_state WITH read_repair = 'NONE'");
    let report = Report::new(&place);
    assert_eq!(report.code, Some(1));
    let remedy = format!(
        "ALTER TABLE {}.sensor_state WITH read_repair = 'BLOCKING'",
        place.keyspace
    );
    report.is("option sensor_state.read_repair", "wrong", &["is NONE", &remedy]);
    cql(&place, "ALTER TABLE $.sensor_state WITH read_repair = 'BLOCKING'");
    cql(&place, "DROP TABLE $.alerts");
    let report = Report::new(&place);
    assert_eq!(report.code, Some(1));
    report.is("tables", "wrong", &["alerts: is missing", "init-schema"]);
}

#[test]
fn servers_that_do_not_answer_are_named_and_the_others_looked_at_all_the_same() {
    let place = Place::new("doctor_away");
    place.ok(&["init-schema"]);
    let mut command = place.command(&words("doctor --format jsonl"));
    command.env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9");
    let report = Report::of(command);
    assert_eq!(report.code, Some(1));
    report.is("kafka", "wrong", &["127.0.0.1:9", "--brokers"]);
    report.is("tables", "ok", &[]);
    let mut command = place.command(&words("doctor --format jsonl"));
    command.env("IOTPIPE_STORE", "cassandra://127.0.0.1:9/none");
    command.env("IOTPIPE_REGISTRY_URL", "http://127.0.0.1:9");
    let report = Report::of(command);
    assert_eq!(report.code, Some(1));
    report.is("cassandra", "wrong", &["127.0.0.1:9"]);
    report.is("registry", "wrong", &["127.0.0.1:9"]);
    report.is("kafka", "ok", &[]);
}

#[test]
fn subjects_are_looked_at_where_there_is_a_registry() {
    let place = Place::new("doctor_subjects");
    let with_registry = || {
        let mut command = place.command(&words("doctor --format jsonl"));
        command.env("IOTPIPE_REGISTRY_URL", registry());
        Report::of(command)
    };
    place.ok(&["init-schema"]);
    let subject = format!("subject {}-value", place.topic);
    with_registry().is(&subject, "warning", &["not registered", "init-schema"]);
    let mut command = place.command(&["init-schema"]);
    let made = command
        .env("IOTPIPE_REGISTRY_URL", registry())
        .output()
        .expect("the program starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    with_registry().is(&subject, "ok", &["version 1", "BACKWARD"]);
}

#[test]
fn a_store_of_sqlite_and_files_with_passwords_are_looked_at() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("doctor_sqlite");
    let with_sqlite = |arguments: &str| {
        let mut command = place.command(&words(arguments));
        command.env("IOTPIPE_STORE", "sqlite:readings.db");
        command
    };
    let report = Report::of(with_sqlite("doctor --format jsonl"));
    assert_eq!(report.code, Some(1));
    report.is("sqlite", "wrong", &["no such file", "init-schema"]);
    assert!(!place.directory().join("readings.db").exists(), "doctor makes nothing");
    assert!(
        with_sqlite("init-schema")
            .status()
            .expect("the program starts")
            .success()
    );
    let secret = place.directory().join("password");
    std::fs::write(&secret, "canary\n").expect("writable");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let mut command = with_sqlite("doctor --format jsonl");
    command
        .env("IOTPIPE_KAFKA_PASSWORD_FILE", &secret)
        .env("IOTPIPE_KAFKA_TOPIK", "typo");
    let report = Report::of(command);
    assert_eq!(report.code, Some(0), "{:?}", report.rows);
    report.is("sqlite", "ok", &["can be written"]);
    report.is("durability", "ok", &["full"]);
    report.is("space", "ok", &["MiB"]);
    report.is(
        "configuration",
        "warning",
        &["can be read by everybody", "chmod 600", "IOTPIPE_KAFKA_TOPIK"],
    );
    assert!(
        report.rows.values().all(|(_, told)| !told.contains("canary")),
        "{:?}",
        report.rows
    );
}
