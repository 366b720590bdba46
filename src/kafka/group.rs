//! Questions about a consumer group and its topic: asked from any thread, answered by the brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::{ConsumerSettings, GroupContext};
use super::topic_id::topic_id;
use super::{KafkaError, KafkaSettings};
use crate::model::TopicId;
use crate::telemetry::events;

/// How long one question may take before it counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a partition's log begins and ends, and where the group stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionFacts {
    pub partition: i32,
    pub committed: Option<i64>,
    pub low: i64,
    pub high: i64,
}

/// Asks on behalf of the group. Blocking: not for the thread that polls.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<BaseConsumer<GroupContext>>,
    topic: Arc<str>,
    brokers: Arc<str>,
    known_topic_id: Option<TopicId>,
}

impl Group {
    pub fn new(consumer: Arc<BaseConsumer<GroupContext>>, kafka: &KafkaSettings, settings: &ConsumerSettings) -> Group {
        Group {
            consumer,
            topic: Arc::from(settings.topic.as_str()),
            brokers: Arc::from(kafka.brokers.as_str()),
            known_topic_id: settings.topic_id,
        }
    }

    /// The topic's partitions; an error that says so where there is no such topic, or no broker.
    pub fn partitions(&self) -> Result<Vec<i32>, KafkaError> {
        super::metadata::partitions(self.consumer.client(), &self.topic, &self.brokers, REQUEST_TIMEOUT)
    }

    pub fn topic_id(&self) -> Result<TopicId, KafkaError> {
        match self.known_topic_id {
            Some(id) => Ok(id),
            None => topic_id(self.consumer.client(), &self.topic, REQUEST_TIMEOUT),
        }
    }

    /// The group's committed positions; partitions without one are left out.
    pub fn committed(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let what = || format!("reading the committed offsets of topic {}", self.topic);
        let mut list = TopicPartitionList::new();
        partitions.iter().for_each(|partition| {
            list.add_partition(&self.topic, *partition);
        });
        let list = self
            .consumer
            .committed_offsets(list, REQUEST_TIMEOUT)
            .map_err(|error| KafkaError::request(&what(), &self.brokers, &error))?;
        let mut committed = BTreeMap::new();
        for element in list.elements() {
            element
                .error()
                .map_err(|error| KafkaError::request(&what(), &self.brokers, &error))?;
            if let Offset::Offset(offset) = element.offset() {
                committed.insert(element.partition(), offset);
            }
        }
        Ok(committed)
    }

    /// Commits positions and waits for the answer. Whether all were taken: of a refused commit some may have been.
    pub fn commit(&self, positions: &[(i32, i64)]) -> bool {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            let mut element = list.add_partition(&self.topic, *partition);
            element
                .set_offset(Offset::Offset(*offset))
                .expect("a position is not negative");
        }
        // Not asynchronously: rdkafka 0.39 takes librdkafka's events instead of its callback, and for a commit by hand
        // librdkafka has no event, so nobody would ever hear of the outcome.
        match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => {
                events::offsets_committed(positions);
                true
            }
            Err(error) => {
                events::commit_failed(&error.to_string());
                false
            }
        }
    }

    /// The ends of the log, by partition: (first offset held, one past the last).
    pub fn bounds(&self, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.consumer
            .fetch_watermarks(&self.topic, partition, REQUEST_TIMEOUT)
            .map_err(|error| {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
                    return KafkaError::missing_topic(&self.topic, &self.brokers);
                }
                let what = format!("reading the ends of {}/{partition}", self.topic);
                KafkaError::request(&what, &self.brokers, &error)
            })
    }

    /// All that is to be known before these partitions may start.
    pub fn facts(&self, partitions: &[i32]) -> Result<Vec<PartitionFacts>, KafkaError> {
        let committed = self.committed(partitions)?;
        let facts = partitions.iter().map(|&partition| {
            let (low, high) = self.bounds(partition)?;
            Ok(PartitionFacts {
                partition,
                committed: committed.get(&partition).copied(),
                low,
                high,
            })
        });
        facts.collect()
    }
}
