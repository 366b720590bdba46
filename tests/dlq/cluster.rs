//! The cluster that replays run on, the binary that runs on it, and letters as `consume` writes them.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use iotpipe::kafka::KafkaSettings;
use iotpipe::kafka::dead_letters::{DeadLetterProducer, Delivery};
use iotpipe::kafka::letters::marks_topic;
use iotpipe::model::{DeadLetter, Header, Reason, TimeMs};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;
use tempfile::TempDir;

pub const TOPIC: &str = "readings";
pub const DLQ: &str = "readings.dlq";
pub const PARTITIONS: i32 = 3;
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster with the topics that `init-schema` makes.
pub struct Cluster {
    pub mock: MockCluster<'static, DefaultProducerContext>,
    pub place: TempDir,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Sent {
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl Cluster {
    pub fn new() -> Cluster {
        let cluster = Cluster::without_marks();
        cluster.mock.create_topic(&marks_topic(DLQ), 1, 1).unwrap();
        cluster
    }

    pub fn without_marks() -> Cluster {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        mock.create_topic(DLQ, PARTITIONS, 1).unwrap();
        Cluster {
            mock,
            place: tempfile::tempdir().unwrap(),
        }
    }

    pub fn kafka(&self) -> KafkaSettings {
        KafkaSettings {
            brokers: self.mock.bootstrap_servers(),
            properties: Default::default(),
        }
    }

    /// Writes letters of records that came from this topic.
    pub fn write(&self, source_topic: &str, letters: impl IntoIterator<Item = DeadLetter>) {
        let producer = DeadLetterProducer::new(&self.kafka(), DLQ, source_topic).unwrap();
        let mut count = 0;
        for letter in letters {
            producer.send(letter).unwrap();
            count += 1;
        }
        let deadline = Instant::now() + DEADLINE;
        while count > 0 {
            assert!(Instant::now() < deadline, "{count} letters were not acknowledged");
            producer.flush(Duration::from_millis(100));
            for delivery in producer.deliveries().unwrap() {
                assert!(matches!(delivery, Delivery::Acknowledged { .. }), "{delivery:?}");
                count -= 1;
            }
        }
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotpipe"));
        command.env_clear().current_dir(self.place.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.arg("dlq").args(arguments.split_whitespace());
        command.args(["--brokers", &self.mock.bootstrap_servers(), "--topic", TOPIC]);
        command.env("LOG_LEVEL", "error");
        command
    }

    /// Exit code, standard output, standard error.
    pub fn run(&self, arguments: &str) -> (Option<i32>, String, String) {
        told(self.command(arguments).output().unwrap())
    }

    /// What a run prints that succeeds.
    pub fn ok(&self, arguments: &str) -> (String, String) {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments}: {stderr}");
        (stdout, stderr)
    }

    /// The JSON rows of a run that succeeds.
    pub fn rows(&self, arguments: &str) -> Vec<Value> {
        let (stdout, _) = self.ok(&format!("{arguments} --format jsonl"));
        stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// All records of a topic.
    pub fn records(&self, topic: &str) -> Vec<Sent> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", "reader")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
        let mut assignment = TopicPartitionList::new();
        let mut expected = 0;
        for partition in metadata.topics()[0].partitions() {
            assignment
                .add_partition_offset(topic, partition.id(), Offset::Beginning)
                .unwrap();
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), DEADLINE).unwrap();
            expected += usize::try_from(high - low).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut records = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while records.len() < expected {
            assert!(
                Instant::now() < deadline,
                "{} of {expected} records of {topic}",
                records.len()
            );
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message = message.unwrap();
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect()
            });
            let part = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            records.push(Sent {
                key: part(message.key()),
                payload: part(message.payload()),
                headers,
            });
        }
        records
    }

    /// Offsets are the letters' numbers on one partition, since they have one key.
    pub fn partition_of_letters(&self) -> i64 {
        self.rows("list --limit 1")[0]["partition"].as_i64().unwrap()
    }

    /// Waits for so many records in the topic of the marks.
    pub fn wait_for_marks(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.records(&marks_topic(DLQ)).len() < count {
            assert!(Instant::now() < deadline, "no {count} marks");
        }
    }

    /// Starts a replay of which the broker takes the marks, and no letters until [`Cluster::let_letters_through`].
    pub fn start_stuck_replay(&self, arguments: &str) -> Child {
        let no = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        let mut answers = vec![no; 10_000];
        answers[0] = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        self.mock.request_errors(RDKafkaApiKey::Produce, &answers);
        self.command(arguments).env("LOG_LEVEL", "info").spawn().unwrap()
    }

    /// Interrupts the program and waits until it has taken notice.
    pub fn interrupt(&self, child: &mut Child) {
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        let mut seen = String::new();
        let stderr = child.stderr.as_mut().unwrap();
        while !seen.contains("stopping") {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "it ended: {seen}");
            seen.push(char::from(byte[0]));
        }
    }

    pub fn let_letters_through(&self) {
        self.mock.clear_request_errors(RDKafkaApiKey::Produce);
    }
}

pub fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub fn letter(number: i64, reason: Reason, payload: &[u8]) -> DeadLetter {
    DeadLetter {
        partition: 1,
        offset: 1000 + number,
        timestamp: TimeMs(1_762_344_000_000 + number),
        reason,
        detail: format!("what is wrong with {number}"),
        key: Some(b"attic".to_vec()),
        payload: Some(payload.to_vec()),
        headers: vec![
            ("iotpipe.fault".to_owned(), Some(b"malformed".to_vec())),
            ("null".to_owned(), None),
        ],
    }
}

pub fn letters(count: i64) -> impl Iterator<Item = DeadLetter> {
    (0..count).map(|number| letter(number, Reason::InvalidJson, format!("{{{number}").as_bytes()))
}

pub fn payloads(records: &[Sent]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8(record.payload.clone().unwrap()).unwrap())
        .collect()
}

pub fn header(name: &str, value: &str) -> Header {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

pub fn outcomes(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect()
}

/// The values of a summary, by name.
pub fn summed(stdout: &str, name: &str) -> String {
    let line = stdout
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{name}  ")));
    line.unwrap_or_else(|| panic!("no {name} in {stdout}")).trim_start()[name.len()..]
        .trim()
        .to_owned()
}
