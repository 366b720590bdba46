//! What goes wrong with Kafka, in words for a person.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use thiserror::Error;

/// Messages say what was attempted, on what, why it failed and what to do.
#[derive(Error, Debug)]
#[error("{0}")]
pub struct KafkaError(pub String);

impl KafkaError {
    /// A client that could not be made: a property that is unknown or contradicts another.
    pub fn client(what: &str, error: &ClientError) -> KafkaError {
        KafkaError(format!(
            "making the Kafka {what} failed: {error}: check [kafka.properties]"
        ))
    }

    /// A request that failed. `what` reads like "reading the metadata of topic x".
    pub fn request(what: &str, brokers: &str, error: &ClientError) -> KafkaError {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::RequestTimedOut,
            ) => KafkaError::unreachable(what, brokers),
            Some(code) => KafkaError(format!("{what} failed on {brokers}: {code}")),
            None => KafkaError(format!("{what} failed on {brokers}: {error}")),
        }
    }

    pub fn unreachable(what: &str, brokers: &str) -> KafkaError {
        KafkaError(format!(
            "{what} failed: no broker answers at {brokers}: check that Kafka runs there, or give --brokers \
             (KAFKA_BOOTSTRAP_SERVERS)"
        ))
    }

    pub fn missing_topic(topic: &str, brokers: &str) -> KafkaError {
        KafkaError(format!(
            "topic {topic} does not exist on {brokers}: run `iotpipe init-schema`, or give --topic"
        ))
    }
}
