//! A broker that stands still for a while: what arrives afterwards is no burst.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::process::{Process, words};
use crate::servers::{Place, Stack};

const RATE: u64 = 3500;
const PARTITIONS: i32 = 12;
const SECONDS: u64 = 20;

#[tokio::test]
#[ignore = "about a minute: starts servers of its own, stops the broker"]
async fn after_a_stall_of_the_broker_no_100_ms_carries_more_than_twice_the_rate() {
    let stack = Stack::up("stall");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "stall");
    // The broker's clock says when a record arrived.
    make_topic(&place).await;
    let produce = format!("produce --rate {RATE} --duration {SECONDS}s --seed 8");
    let producer = Process::start(&place, "producer", &words(&produce));
    std::thread::sleep(Duration::from_secs(8));
    let broker = stack.run(&["pid", "kafka"]);
    signal(&broker, "STOP");
    std::thread::sleep(Duration::from_secs(3));
    signal(&broker, "CONT");
    producer.ends_well(120);

    let mut arrived_ms = arrivals(&place, (RATE * SECONDS) as usize);
    arrived_ms.sort_unstable();
    assert_eq!(arrived_ms.len() as u64, RATE * SECONDS, "all of them, once");
    let gap_ms = arrived_ms.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(gap_ms >= Some(2_500), "the broker stood still: {gap_ms:?} ms");
    let most = (0..arrived_ms.len()).map(|first| {
        let until = arrived_ms.partition_point(|at| *at < arrived_ms[first] + 100);
        until - first
    });
    let most = most.max().unwrap_or(0) as u64;
    assert!(most <= 2 * RATE / 10, "{most} in 100 ms at {RATE}/s");
}

fn signal(process: &str, name: &str) {
    let status = std::process::Command::new("kill")
        .args(["-s", name, process.trim()])
        .status();
    assert!(status.expect("kill runs").success(), "kill -s {name} {process}");
}

async fn make_topic(place: &Place) {
    let admin: AdminClient<DefaultClientContext> = client(place).create().expect("a client");
    let topic = NewTopic::new(&place.topic, PARTITIONS, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime");
    let made = admin.create_topics([&topic], &AdminOptions::new()).await;
    made.expect("an answer")[0].as_ref().expect("made");
}

fn client(place: &Place) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &place.kafka);
    config
}

/// When each record was appended, by the broker's clock, milliseconds.
fn arrivals(place: &Place, count: usize) -> Vec<i64> {
    let consumer: BaseConsumer = client(place).set("group.id", "arrivals").create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&place.topic, partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut arrived_ms = Vec::with_capacity(count);
    while arrived_ms.len() < count && Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            arrived_ms.push(message.timestamp().to_millis().expect("a timestamp"));
        }
    }
    arrived_ms
}
