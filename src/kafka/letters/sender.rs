//! Sends records and tells of each what became of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use crate::kafka::log::forwarding_context;
use crate::kafka::{KafkaError, KafkaSettings};
use crate::model::Header;

/// A record to send.
#[derive(Clone, PartialEq, Debug)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    pub headers: Vec<Header>,
}

/// What became of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    Acknowledged,
    /// It is not in the topic, and why.
    Refused(String),
    /// Nobody knows whether it is in the topic, and why.
    Unknown(String),
}

const ROLE: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.type", "lz4"),
    // What all other producers do, so that a record comes back to its partition.
    ("partitioner", "murmur2_random"),
    // The broker decides what is too large, not this client.
    ("message.max.bytes", "100000000"),
    ("batch.size", "65536"),
    // A chunk is handed over at once and should travel in one batch.
    ("linger.ms", "20"),
    ("queue.buffering.max.kbytes", "262144"),
    // Long enough for a broker to restart; a person waits.
    ("message.timeout.ms", "120000"),
];

/// By record's number, what the broker said: nothing is good.
type Report = (usize, Option<RDKafkaErrorCode>);

struct Context(Mutex<Vec<Report>>);

forwarding_context!(Context);

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let code = match result {
            Ok(_) => None,
            Err((error, _)) => Some(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((number, code));
    }
}

/// Sends to any topic, a few records at a time.
pub struct LetterSender {
    producer: BaseProducer<Context>,
}

impl LetterSender {
    pub fn new(kafka: &KafkaSettings) -> Result<LetterSender, KafkaError> {
        let producer = kafka
            .client_config(ROLE)
            .create_with_context(Context(Mutex::default()))
            .map_err(|error| KafkaError::client("producer", &error))?;
        Ok(LetterSender { producer })
    }

    /// Sends them all and waits until the fate of each is known, which librdkafka's timeout bounds. To be called with what
    /// fits its queue: hundreds of records and some MiB.
    pub fn send(&self, records: &[Outgoing<'_>]) -> Vec<Fate> {
        let codes = self.attempt(records);
        let answer = |(record, code)| match code {
            // It may have been the batch that was too large.
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                fate(record, self.attempt(std::slice::from_ref(record)).pop().flatten())
            }
            code => fate(record, code),
        };
        records.iter().zip(codes).map(answer).collect()
    }

    /// The broker's word on each.
    fn attempt(&self, records: &[Outgoing<'_>]) -> Vec<Option<RDKafkaErrorCode>> {
        let mut codes = vec![None; records.len()];
        let mut on_their_way = 0;
        for (number, outgoing) in records.iter().enumerate() {
            match self.hand_over(number, outgoing) {
                Ok(()) => on_their_way += 1,
                Err(error) => codes[number] = Some(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
            }
        }
        while on_their_way > 0 {
            self.producer.poll(Duration::from_millis(100));
            let reports = &self.producer.context().0;
            for (number, code) in reports.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                codes[number] = code;
                on_their_way -= 1;
            }
        }
        codes
    }

    fn hand_over(&self, number: usize, outgoing: &Outgoing<'_>) -> Result<(), ClientError> {
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for (key, value) in &outgoing.headers {
            headers = headers.insert(ClientHeader {
                key,
                value: value.as_deref(),
            });
        }
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(outgoing.topic, number).headers(headers);
        record.key = outgoing.key;
        record.payload = outgoing.payload;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

fn fate(record: &Outgoing<'_>, code: Option<RDKafkaErrorCode>) -> Fate {
    use RDKafkaErrorCode as Code;
    let topic = record.topic;
    match code {
        None => Fate::Acknowledged,
        Some(Code::MessageSizeTooLarge) => {
            let bytes = record.payload.map_or(0, <[u8]>::len);
            Fate::Refused(format!(
                "topic {topic} takes no message of {bytes} bytes: raise its max.message.bytes"
            ))
        }
        // Said before anything is written; whatever else is said may have come after.
        Some(
            code @ (Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidRecord
            | Code::PolicyViolation),
        ) => Fate::Refused(format!("topic {topic} does not take it: {code}")),
        Some(code) => Fate::Unknown(format!("topic {topic} did not acknowledge it: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_written_counts_as_refused() {
        let record = Outgoing {
            topic: "t",
            key: None,
            payload: Some(b"12345"),
            headers: Vec::new(),
        };
        assert_eq!(fate(&record, None), Fate::Acknowledged);
        let refused = fate(&record, Some(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(
            matches!(&refused, Fate::Refused(why) if why.contains("5 bytes")),
            "{refused:?}"
        );
        assert!(matches!(
            fate(&record, Some(RDKafkaErrorCode::TopicAuthorizationFailed)),
            Fate::Refused(_)
        ));
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::PurgeInflight,
        ] {
            assert!(matches!(fate(&record, Some(code)), Fate::Unknown(_)), "{code:?}");
        }
    }
}
