//! The only room that knows rdkafka: client settings, topics, the consumer's poll thread, the producers.

pub mod admin;
pub mod admission;
pub mod consumer;
pub mod dead_letters;
pub mod embedded;
mod error;
mod group;
pub mod letters;
mod log;
pub mod metadata;
pub mod outputs;
pub mod preflight;
pub mod producer;
mod settings;
mod topic_id;

pub use error::KafkaError;
pub use group::{Group, PartitionFacts};
pub use settings::KafkaSettings;

/// librdkafka's version.
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
