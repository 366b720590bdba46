//! A broker inside this process, for trying things out: librdkafka's mock cluster, on loopback only. It keeps records in
//! memory, a few MiB a partition and then drops the oldest, so whoever produces must not run far ahead of who consumes.

use std::collections::BTreeMap;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::{KafkaError, KafkaSettings};
use crate::model::TopicId;

/// Records that may be on their way through the embedded broker before it would begin to drop the oldest.
pub const LAG_MAX: u64 = 100_000;

/// Runs until it is dropped.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topic_id: TopicId,
}

impl EmbeddedBroker {
    pub fn start() -> Result<EmbeddedBroker, KafkaError> {
        let cluster = MockCluster::new(1).map_err(|error| KafkaError::client("embedded broker", &error))?;
        Ok(EmbeddedBroker {
            cluster,
            topic_id: TopicId(uuid::Uuid::new_v4()),
        })
    }

    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        self.cluster
            .create_topic(name, partitions, 1)
            .map_err(|error| KafkaError(format!("creating topic {name} on the embedded broker failed: {error}")))
    }

    /// The id that its topics go by: it cannot tell one. Each broker's topics are others.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// How to reach it.
    pub fn settings(&self) -> KafkaSettings {
        let brokers = self.cluster.bootstrap_servers();
        // It answers a fetch only when the wait is over: short waits keep it lively.
        let properties = BTreeMap::from([("fetch.wait.max.ms".to_owned(), "10".to_owned())]);
        KafkaSettings { brokers, properties }
    }
}
