//! Which topics there are.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaError;

/// A topic's partitions, counted up; an error that says so where there is no such topic, or no broker.
pub fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    brokers: &str,
    timeout: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let what = format!("reading the metadata of topic {topic}");
    let metadata = client
        .fetch_metadata(Some(topic), timeout)
        .map_err(|error| KafkaError::request(&what, brokers, &error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(KafkaError::missing_topic(topic, brokers));
    };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        let missing = matches!(
            code,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
        );
        return Err(match missing {
            true => KafkaError::missing_topic(topic, brokers),
            false => KafkaError(format!("{what} failed on {brokers}: {code}")),
        });
    }
    if found.partitions().is_empty() {
        return Err(KafkaError::missing_topic(topic, brokers));
    }
    let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
    partitions.sort_unstable();
    Ok(partitions)
}
