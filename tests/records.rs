//! Records as they are in a topic, written and read by a plain client.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::servers::Place;

/// Sends payloads to partitions, in order.
pub fn send(place: &Place, records: &[(i32, Vec<u8>)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a producer");
    for (partition, payload) in records {
        let record = BaseRecord::to(&place.topic)
            .partition(*partition)
            .key(b"k")
            .payload(payload);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(10)).expect("delivered");
}

/// Sends payloads, each under its key, as a client by default does.
pub fn send_keyed(place: &Place, records: &[(&str, String)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a producer");
    for (key, payload) in records {
        let record = BaseRecord::to(&place.topic).key(*key).payload(payload);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(10)).expect("delivered");
}

/// The offset that the next record of a topic with one partition gets.
pub fn end_of(place: &Place, topic: &str) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .create()
        .expect("a consumer");
    let bounds = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10));
    bounds.expect("an answer").1
}

/// The values of all records of a topic with one partition.
pub fn all_of(place: &Place, topic: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &place.kafka)
        .set("group.id", "none")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .expect("an offset");
    consumer.assign(&list).expect("assigned");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut payloads = Vec::new();
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => payloads.push(message.payload().unwrap_or_default().to_vec()),
            Some(Err(KafkaError::PartitionEOF(_))) => return payloads,
            _ => {}
        }
    }
    panic!("the end of {topic} did not come");
}
