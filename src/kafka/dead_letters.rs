//! Writes dead letters: original key, bytes and headers, with headers of ours that say why and where from.

use std::time::Duration;

use crossbeam_channel::Sender;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use super::log::forwarding_context;
use super::{KafkaError, KafkaSettings};
use crate::model::DeadLetter;

/// Why the record is a dead letter: [`crate::model::Reason::as_str`].
pub const HEADER_REASON: &str = "iotpipe.reason";
/// What exactly is wrong.
pub const HEADER_DETAIL: &str = "iotpipe.detail";
/// Where the record came from: topic, and decimal partition, offset and Kafka timestamp in ms.
pub const HEADER_TOPIC: &str = "iotpipe.source.topic";
pub const HEADER_PARTITION: &str = "iotpipe.source.partition";
pub const HEADER_OFFSET: &str = "iotpipe.source.offset";
pub const HEADER_TIMESTAMP: &str = "iotpipe.source.timestamp";
/// Original length in bytes of a payload that was cut to fit the topic.
pub const HEADER_CUT: &str = "iotpipe.payload.cut_from";

/// What became of a dead letter.
#[derive(Debug)]
pub enum Delivery {
    Acknowledged {
        partition: i32,
        offset: i64,
    },
    /// It can never be delivered, not even cut: what, and what to do.
    Failed(String),
}

/// Below this a payload is not cut further: a topic that refuses so little takes no dead letters.
const CUT_MIN_BYTES: usize = 1024;

struct Context {
    topic: String,
    report: Sender<Outcome>,
}

enum Outcome {
    Delivered(Delivery),
    /// Too large for the topic: to be cut and sent again.
    TooLarge(Box<Letter>),
}

/// A letter on its way, with how much of its payload is sent.
#[derive(Debug)]
struct Letter {
    letter: DeadLetter,
    payload_bytes: usize,
}

forwarding_context!(Context);

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Letter>;

    fn delivery(&self, result: &DeliveryResult<'_>, letter: Box<Letter>) {
        let outcome = match result {
            Ok(_) => Outcome::Delivered(Delivery::Acknowledged {
                partition: letter.letter.partition,
                offset: letter.letter.offset,
            }),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Outcome::TooLarge(letter)
            }
            Err((error, _)) => Outcome::Delivered(Delivery::Failed(format!(
                "writing a dead letter to topic {} failed: {error}: check that the topic exists (`iotpipe init-schema`) \
                 and that it may be written",
                self.topic
            ))),
        };
        // Nobody listens any more only when the process ends.
        let _ = self.report.send(outcome);
    }
}

/// Sends dead letters; deliveries are reported on a channel. It waits for brokers for as long as it takes: an offset is
/// never passed over because its dead letter could not be written.
pub struct DeadLetterProducer {
    producer: ThreadedProducer<Context>,
    topic: String,
    source_topic: String,
    outcomes: crossbeam_channel::Receiver<Outcome>,
}

impl DeadLetterProducer {
    pub fn new(kafka: &KafkaSettings, topic: &str, source_topic: &str) -> Result<DeadLetterProducer, KafkaError> {
        let config = kafka.client_config(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            // The broker decides what is too large, not this client.
            ("message.max.bytes", "100000000"),
            // A batch that is too large as a whole would be refused though each of its letters fits.
            ("batch.size", "65536"),
            ("message.timeout.ms", "0"),
            ("linger.ms", "5"),
            ("queue.buffering.max.kbytes", "262144"),
        ]);
        let (report, outcomes) = crossbeam_channel::unbounded(); // bounded by the letters on their way
        let context = Context {
            topic: topic.to_owned(),
            report,
        };
        let producer: ThreadedProducer<Context> = config
            .create_with_context(context)
            .map_err(|error| KafkaError::client("dead-letter producer", &error))?;
        Ok(DeadLetterProducer {
            producer,
            topic: topic.to_owned(),
            source_topic: source_topic.to_owned(),
            outcomes,
        })
    }

    /// An error that says so where there is no such topic, or no broker.
    pub fn check_topic(&self, brokers: &str) -> Result<(), KafkaError> {
        super::metadata::partitions(self.producer.client(), &self.topic, brokers, Duration::from_secs(5)).map(|_| ())
    }

    pub fn send(&self, letter: DeadLetter) -> Result<(), KafkaError> {
        let payload_bytes = letter.payload.as_ref().map_or(0, Vec::len);
        self.send_cut(Box::new(Letter { letter, payload_bytes }))
    }

    /// What was delivered since, without waiting. Letters that were too large are cut and sent again on the way.
    pub fn deliveries(&self) -> Result<Vec<Delivery>, KafkaError> {
        let mut deliveries = Vec::new();
        while let Ok(outcome) = self.outcomes.try_recv() {
            match outcome {
                Outcome::Delivered(delivery) => deliveries.push(delivery),
                Outcome::TooLarge(letter) if letter.payload_bytes <= CUT_MIN_BYTES => {
                    deliveries.push(Delivery::Failed(format!(
                        "topic {} takes no message of {} bytes: raise its max.message.bytes (`iotpipe init-schema`)",
                        self.topic,
                        letter.letter.size_bytes()
                    )));
                }
                Outcome::TooLarge(mut letter) => {
                    letter.payload_bytes = (letter.payload_bytes / 4 * 3).max(CUT_MIN_BYTES);
                    self.send_cut(letter)?;
                }
            }
        }
        Ok(deliveries)
    }

    fn send_cut(&self, letter: Box<Letter>) -> Result<(), KafkaError> {
        let mut letter = letter;
        loop {
            let headers = self.headers(&letter);
            let copy = (letter.letter.key.clone(), letter.letter.payload.clone());
            let (key, payload) = (
                copy.0.as_deref(),
                copy.1.as_deref().map(|bytes| &bytes[..letter.payload_bytes]),
            );
            let mut record: BaseRecord<'_, [u8], [u8], Box<Letter>> =
                BaseRecord::with_opaque_to(&self.topic, letter).headers(headers);
            record.key = key;
            record.payload = payload;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    // Bounded by what the processor lets out; the producer's own thread makes room.
                    letter = record.delivery_opaque;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(KafkaError(format!(
                        "writing a dead letter to topic {} failed: {error}",
                        self.topic
                    )));
                }
            }
        }
    }

    fn headers(&self, letter: &Letter) -> OwnedHeaders {
        let Letter { letter, payload_bytes } = letter;
        let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len() + 7);
        for (key, value) in &letter.headers {
            headers = headers.insert(ClientHeader {
                key,
                value: value.as_deref(),
            });
        }
        let original_bytes = letter.payload.as_ref().map_or(0, Vec::len);
        let cut_from = (*payload_bytes < original_bytes).then(|| original_bytes.to_string());
        let ours = [
            (HEADER_REASON, Some(letter.reason.as_str())),
            (HEADER_DETAIL, Some(letter.detail.as_str())),
            (HEADER_TOPIC, Some(self.source_topic.as_str())),
            (HEADER_PARTITION, Some(&letter.partition.to_string())),
            (HEADER_OFFSET, Some(&letter.offset.to_string())),
            (HEADER_TIMESTAMP, Some(&letter.timestamp.0.to_string())),
            (HEADER_CUT, cut_from.as_deref()),
        ];
        for (key, value) in ours {
            if value.is_some() {
                headers = headers.insert(ClientHeader { key, value });
            }
        }
        headers
    }

    /// Waits for all letters on their way.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.producer.flush(Timeout::After(timeout)).is_ok()
    }
}
