//! The group's view of the topic, through a client of its own.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::servers::Place;

/// Of a topic by default.
const PARTITIONS: i32 = 12;
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Group {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Group {
    pub fn new(place: &Place) -> Group {
        Group::of(place, PARTITIONS)
    }

    /// Of a topic with so many partitions.
    pub fn of(place: &Place, partitions: i32) -> Group {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &place.kafka)
            .set("group.id", &place.topic)
            .create()
            .expect("a consumer");
        Group {
            consumer,
            topic: place.topic.clone(),
            partitions,
        }
    }

    fn partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.partitions - 1);
        list
    }

    /// Records up to the committed offsets, over all partitions.
    pub fn committed(&self) -> i64 {
        let committed = self.consumer.committed_offsets(self.partitions(), TIMEOUT);
        let Ok(committed) = committed else { return 0 };
        let offsets = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        offsets.sum()
    }

    /// Records in the topic; far below nothing while a broker does not answer.
    pub fn end(&self) -> i64 {
        let high = |partition| {
            let ends = self.consumer.fetch_watermarks(&self.topic, partition, TIMEOUT);
            ends.map_or(i64::MIN / 100, |(_, high)| high)
        };
        (0..self.partitions).map(high).sum()
    }

    /// The fewest replicas that any partition has in sync.
    pub fn in_sync(&self) -> usize {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), TIMEOUT);
        let metadata = metadata.expect("the brokers answer");
        let partitions = metadata.topics()[0].partitions().iter();
        partitions.map(|partition| partition.isr().len()).min().unwrap_or(0)
    }

    /// How many members the brokers know.
    pub fn members(&self) -> usize {
        let groups = self.consumer.fetch_group_list(Some(&self.topic), TIMEOUT);
        let groups = groups.expect("the brokers answer");
        groups.groups().first().map_or(0, |group| group.members().len())
    }

    /// Sets the committed offsets to the topic's beginning. The broker refuses it while the group has members.
    pub fn reset(&self) {
        let mut offsets = self.partitions();
        offsets.set_all_offsets(Offset::Offset(0)).expect("offsets");
        self.consumer
            .commit(&offsets, CommitMode::Sync)
            .expect("the group has no members");
        assert_eq!(self.committed(), 0);
    }
}
