//! Long fault tests on real servers (`cargo test -- --ignored`). Each asserts that its fault fired. Afterwards the store is
//! compared with the topic, value by value, by a program in another language with other clients (`tests/oracle/`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::servers::{Place, Stack};

const RECORDS: i64 = 500_000;

/// Slow enough that kills land in the middle, quick to notice a member that died, quick to commit.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("IOTPIPE_CONSUME_SESSION_TIMEOUT", "6s"),
    ("IOTPIPE_CONSUME_COMMIT_INTERVAL", "100ms"),
    ("IOTPIPE_CONSUME_WRITERS", "4"),
    ("IOTPIPE_CONSUME_PENDING_READINGS", "4000"),
];

#[test]
#[ignore = "about two minutes"]
fn killed_five_times_in_a_drain_nothing_is_missing_or_different() {
    let place = loaded("kills");
    let redelivered = kill_in_a_drain(&place, 1);
    println!("one consumer killed five times: {redelivered} stored records were delivered again");
    assert!(redelivered > 0, "the kills must have cost something");
    compare(&place);
}

#[test]
#[ignore = "about two minutes"]
fn three_consumers_killed_one_after_the_other_lose_nothing() {
    let place = loaded("three");
    let redelivered = kill_in_a_drain(&place, 3);
    println!("three consumers, five kills: {redelivered} stored records were delivered again");
    assert!(redelivered > 0, "the kills must have cost something");
    compare(&place);
}

#[test]
#[ignore = "about two minutes"]
fn an_outage_of_cassandra_costs_a_pause_and_not_the_membership() {
    let stack = Stack::up("outage");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "outage");
    place.ok(&["init-schema"]);
    let produce = ["produce", "--rate", "5000", "--duration", "60s", "--seed", "5"];
    let mut producer = spawn(&place, &produce, "producer");
    let mut consumer = spawn(&place, &["consume"], "consumer");
    let group = Group::new(&place);
    until("something is committed", 30, || group.committed() > 10_000);
    stack.run(&["stop", "cassandra"]);
    std::thread::sleep(Duration::from_secs(30));
    let stood_still = group.committed();
    stack.run(&["start", "cassandra"]);
    until("it goes on by itself", 60, || group.committed() > stood_still + 50_000);
    assert!(wait(&mut producer, 120), "every record must be acknowledged");
    until("all is committed", 60, || group.committed() == group.end());
    terminate(&consumer);
    assert!(wait(&mut consumer, 60), "{}", log(&place, "consumer"));
    let log = log(&place, "consumer");
    assert_eq!(
        log.matches("partitions assigned").count(),
        1,
        "it stayed a member: {log}"
    );
    assert!(
        log.contains("store unavailable") && log.contains("store recovered"),
        "the outage was seen: {log}"
    );
    assert!(log.contains("fetching paused"), "{log}");
    compare(&place);
}

#[test]
#[ignore = "about two minutes"]
fn an_outage_of_kafka_while_producing_loses_no_acknowledged_record() {
    let stack = Stack::up("broker");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "broker");
    place.ok(&["init-schema"]);
    let mut producer = spawn(
        &place,
        &["produce", "--rate", "5000", "--count", "225000", "--seed", "6"],
        "producer",
    );
    let mut consumer = spawn(&place, &["consume"], "consumer");
    let group = Group::new(&place);
    until("something is committed", 30, || group.committed() > 10_000);
    stack.run(&["stop", "kafka"]);
    std::thread::sleep(Duration::from_secs(20));
    stack.run(&["start", "kafka"]);
    assert!(
        wait(&mut producer, 180),
        "every record must be acknowledged in the end: {}",
        log(&place, "producer")
    );
    until("all is committed", 90, || {
        group.end() >= 225_000 && group.committed() == group.end()
    });
    terminate(&consumer);
    assert!(wait(&mut consumer, 60), "{}", log(&place, "consumer"));
    assert!(
        log(&place, "consumer").contains("kafka unavailable"),
        "the outage was seen: {}",
        log(&place, "consumer")
    );
    compare(&place);
}

/// A topic full of records and a keyspace for them.
fn loaded(name: &str) -> Place {
    let place = Place::new(name);
    place.ok(&["init-schema"]);
    place.ok(&["produce", "--count", &RECORDS.to_string(), "--rate", "0", "--seed", "4"]);
    place
}

/// Drains with `members` consumers and kills all of them five times, each time after the group has committed something new
/// and between a tenth and nine tenths of the rows; with several, one of them is killed alone before. Answers how many
/// records were stored but not committed when nobody was left: all of these are delivered again.
fn kill_in_a_drain(place: &Place, members: usize) -> i64 {
    let group = Group::new(place);
    let start = || {
        (0..members)
            .map(|_| spawn(place, &["consume"], "consumer"))
            .collect::<Vec<Child>>()
    };
    let kill = |mut victim: Child| {
        victim.kill().expect("a child of ours");
        victim.wait().expect("a child of ours");
    };
    let (mut redelivered, mut committed) = (0, 0);
    for round in 1..=5 {
        let mut consumers = start();
        until("the new owner commits", 60, || {
            group.committed() > committed.max(RECORDS * (round * 14 - 4) / 100)
        });
        if members > 1 {
            committed = group.committed();
            kill(consumers.remove(0));
            until("those that are left commit", 60, || group.committed() > committed);
        }
        consumers.into_iter().for_each(kill);
        committed = group.committed();
        let stored = count_rows(place);
        assert!(
            (RECORDS / 10..=RECORDS * 9 / 10).contains(&stored),
            "round {round}: killed at {stored} rows"
        );
        println!("round {round}: killed at {stored} rows, {committed} committed");
        redelivered += stored - committed;
    }
    let mut last = start();
    until("all is committed", 120, || group.committed() == RECORDS);
    last.iter().for_each(terminate);
    for consumer in &mut last {
        assert!(wait(consumer, 60), "{}", log(place, "consumer"));
    }
    redelivered
}

/// The group's view of the topic, through a client of its own.
struct Group {
    consumer: BaseConsumer,
    topic: String,
}

impl Group {
    fn new(place: &Place) -> Group {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &place.kafka)
            .set("group.id", "iotpipe")
            .create()
            .expect("a consumer");
        Group {
            consumer,
            topic: place.topic.clone(),
        }
    }

    fn committed(&self) -> i64 {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, 11);
        let committed = self.consumer.committed_offsets(list, Duration::from_secs(10));
        let Ok(committed) = committed else { return 0 };
        let offsets = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        offsets.sum()
    }

    fn end(&self) -> i64 {
        let high = |partition| {
            let ends = self
                .consumer
                .fetch_watermarks(&self.topic, partition, Duration::from_secs(10));
            ends.map_or(i64::MIN / 100, |(_, high)| high)
        };
        (0..12).map(high).sum()
    }
}

fn count_rows(place: &Place) -> i64 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let session: Session = SessionBuilder::new()
            .known_node(&place.cassandra)
            .build()
            .await
            .expect("Cassandra answers");
        let statement = format!(
            "SELECT count(*) FROM {}.sensor_readings WHERE token(sensor_id, day) > ? AND token(sensor_id, day) <= ?",
            place.keyspace
        );
        let statement = session.prepare(statement).await.expect("the table is there");
        let step = u64::MAX / 64;
        let bound = |index: u64| i64::MIN.wrapping_add((step * index).cast_signed());
        let counts = futures::stream::iter(0..64).map(|index| {
            let upper = if index == 63 { i64::MAX } else { bound(index + 1) };
            let (session, statement) = (&session, &statement);
            async move {
                let rows = session
                    .execute_unpaged(statement, (bound(index), upper))
                    .await
                    .expect("counted");
                rows.into_rows_result()
                    .expect("rows")
                    .single_row::<(i64,)>()
                    .expect("a count")
                    .0
            }
        });
        counts
            .buffer_unordered(4)
            .fold(0, |sum, count| async move { sum + count })
            .await
    })
}

/// The independent comparison.
fn compare(place: &Place) {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/compare_rows.py");
    let output = Command::new(python())
        .arg("-B")
        .arg(oracle)
        .args(["--brokers", &place.kafka, "--topic", &place.topic])
        .args(["--cassandra", &place.cassandra, "--keyspace", &place.keyspace])
        .args(["--dlq-topic", &format!("{}.dlq", place.topic), "--check-writetime"])
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}

/// A Python with the oracle's packages, made once below `target/`.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle-venv");
        let python = venv.join("bin/python");
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/requirements.txt");
        if !venv.join("complete").exists() {
            let run = |command: &mut Command, what: &str| {
                let status = command.stdout(Stdio::null()).status();
                let hint = "install python3 and python3-venv, or leave the ignored tests out";
                assert!(status.is_ok_and(|status| status.success()), "{what} failed: {hint}");
            };
            run(
                Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
                "python3 -m venv",
            );
            run(
                Command::new(&python)
                    .args(["-m", "pip", "install", "-q", "-r"])
                    .arg(requirements),
                "pip install",
            );
            std::fs::write(venv.join("complete"), "").expect("writable");
        }
        python
    })
}

fn spawn(place: &Place, arguments: &[&str], log: &str) -> Child {
    let path = place.directory().join(format!("{log}.log"));
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("writable");
    place
        .command(arguments)
        .envs(ENVIRONMENT.iter().copied())
        .stdout(file.try_clone().expect("a handle"))
        .stderr(file)
        .spawn()
        .expect("the program starts")
}

fn log(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.directory().join(format!("{name}.log"))).unwrap_or_default()
}

fn until(what: &str, seconds: u64, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Whether it ends well within the time.
fn wait(child: &mut Child, seconds: u64) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => return status.success(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                return false;
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
