//! Where records come from.

use std::fmt;
use std::sync::Arc;

/// Kafka's topic id: a topic that was deleted and made again is another source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicId(pub uuid::Uuid);

impl TopicId {
    /// What brokers before Kafka 2.8 answer: they know no topic ids.
    pub const UNKNOWN: TopicId = TopicId(uuid::Uuid::nil());
}

/// A topic partition with the topic's id: offsets mean something only within one source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Source {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partition: i32,
}

/// The source's key in the store: `topic/topic-id/partition`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.topic_id.0.hyphenated(), self.partition)
    }
}
