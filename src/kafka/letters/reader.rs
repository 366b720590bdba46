//! Reads topics from end to end, or a single record, without a group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{Letter, Place};
use crate::kafka::log::forwarding_context;
use crate::kafka::topic_id::topic_id;
use crate::kafka::{KafkaError, KafkaSettings, admission, metadata};
use crate::model::TopicId;
use crate::telemetry::events;

/// Offsets of one partition, `end` excluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub partition: i32,
    pub start: i64,
    pub end: i64,
}

impl Span {
    /// Offsets, which are as many letters unless something else than iotpipe wrote in transactions.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last `count` of them.
    pub fn newest(self, count: u64) -> Span {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Span {
            start: self.start.max(self.end.saturating_sub(count)),
            ..self
        }
    }
}

struct Context;

forwarding_context!(Context);

impl ConsumerContext for Context {}

/// How long one question may take before it counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a partition may say nothing at all before reading it is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_WAIT: Duration = Duration::from_millis(200);

/// How the ids of librdkafka's mock clusters begin.
const MOCK_CLUSTER_ID: &str = "mockCluster";

const READER_ROLE: &[(&str, &str)] = &[
    // librdkafka asks for one; nothing joins it and nothing is committed.
    ("group.id", "iotpipe-dlq"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // What retention took while it was read is not there to be read.
    ("auto.offset.reset", "earliest"),
    // The end of the log may be no record: a transaction's marker, for example.
    ("enable.partition.eof", "true"),
    // Letter by letter every wait counts; a letter that is there is never waited for.
    ("fetch.wait.max.ms", "20"),
    ("fetch.queue.backoff.ms", "2"),
    // Payload bytes fetched ahead: a bound on memory.
    ("queued.max.messages.kbytes", "16384"),
];

/// Reads a topic as it was when it was opened, without a group.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    topic: String,
    brokers: String,
    spans: Vec<Span>,
}

impl TopicReader {
    /// An error that says so where there is no such topic, or no broker.
    pub fn open(kafka: &KafkaSettings, topic: &str) -> Result<TopicReader, KafkaError> {
        admission::check(kafka)?;
        let consumer: BaseConsumer<Context> = kafka
            .client_config(READER_ROLE)
            .create_with_context(Context)
            .map_err(|error| KafkaError::client("consumer", &error))?;
        let mut reader = TopicReader {
            consumer,
            topic: topic.to_owned(),
            brokers: kafka.brokers.clone(),
            spans: Vec::new(),
        };
        for partition in reader.partitions_of(topic)? {
            let ends = reader.consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
            let what = || format!("reading the ends of {topic}/{partition}");
            let (start, end) = ends.map_err(|error| KafkaError::request(&what(), &reader.brokers, &error))?;
            reader.spans.push(Span { partition, start, end });
        }
        Ok(reader)
    }

    /// What each partition held when the topic was opened.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The topic's id; [`TopicId::UNKNOWN`] from librdkafka's mock cluster, which cannot tell it and whose topics are never
    /// made again. Anything else that does not answer is an error: a wrong id would hide what was replayed.
    pub fn topic_id(&self) -> Result<TopicId, KafkaError> {
        let cluster_id = self.consumer.client().fetch_cluster_id(REQUEST_TIMEOUT);
        if cluster_id.is_some_and(|id| id.starts_with(MOCK_CLUSTER_ID)) {
            return Ok(TopicId::UNKNOWN);
        }
        topic_id(self.consumer.client(), &self.topic, REQUEST_TIMEOUT)
    }

    /// The partitions of any topic. Unlike a producer's question, a consumer's never makes the topic.
    pub fn partitions_of(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        metadata::partitions(self.consumer.client(), topic, &self.brokers, REQUEST_TIMEOUT)
    }

    /// Letters of these spans, in order of offset within a partition. Holds no more than what is fetched ahead.
    pub fn letters(
        &self,
        spans: &[Span],
    ) -> Result<impl Iterator<Item = Result<Letter, KafkaError>> + use<'_>, KafkaError> {
        Ok(self
            .scan(spans)?
            .map(|message| message.map(|message| Letter::of(&message))))
    }

    /// The letter at a place; `None` where there is none.
    pub fn letter_at(&self, place: Place) -> Result<Option<Letter>, KafkaError> {
        let Place { partition, offset } = place;
        let holds = |span: &&Span| span.partition == partition && (span.start..span.end).contains(&offset);
        if self.spans.iter().find(holds).is_none() {
            return Ok(None);
        }
        let mut letters = self.letters(&[Span {
            partition,
            start: offset,
            end: offset + 1,
        }])?;
        letters.next().transpose()
    }

    /// Messages of these spans, likewise.
    pub(super) fn scan(&self, spans: &[Span]) -> Result<Scan<'_>, KafkaError> {
        let open: BTreeMap<i32, Span> = spans
            .iter()
            .filter(|span| !span.is_empty())
            .map(|span| (span.partition, *span))
            .collect();
        let mut list = TopicPartitionList::new();
        for span in open.values() {
            let mut element = list.add_partition(&self.topic, span.partition);
            element
                .set_offset(Offset::Offset(span.start))
                .expect("a watermark is not negative");
        }
        let what = || format!("reading topic {}", self.topic);
        self.consumer
            .assign(&list)
            .map_err(|error| KafkaError::request(&what(), &self.brokers, &error))?;
        Ok(Scan {
            reader: self,
            open,
            heard: Instant::now(),
        })
    }
}

/// Messages of some spans; ends with the last of them or the first error.
pub(super) struct Scan<'r> {
    reader: &'r TopicReader,
    /// Partitions that are not read to their span's end yet.
    open: BTreeMap<i32, Span>,
    /// When the last message came.
    heard: Instant,
}

impl<'r> Iterator for Scan<'r> {
    type Item = Result<BorrowedMessage<'r>, KafkaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader;
        while !self.open.is_empty() {
            let failure = match reader.consumer.poll(POLL_WAIT) {
                Some(Ok(message)) => {
                    self.heard = Instant::now();
                    match self.take(&message) {
                        true => return Some(Ok(message)),
                        false => continue,
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    self.heard = Instant::now();
                    self.open.remove(&partition);
                    continue;
                }
                Some(Err(error)) if is_final(&error) => KafkaError(format!(
                    "reading topic {} failed on {}: {error}",
                    reader.topic, reader.brokers
                )),
                Some(Err(error)) => {
                    events::kafka_client_error(&error, "while reading dead letters");
                    continue;
                }
                None if self.heard.elapsed() < STALL_TIMEOUT => continue,
                None => KafkaError::unreachable(&format!("reading topic {}", reader.topic), &reader.brokers),
            };
            self.open.clear();
            return Some(Err(failure));
        }
        None
    }
}

impl Scan<'_> {
    /// Whether the message is one of those asked for; closes its partition at the end of the span.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(span) = self.open.get(&partition).copied() else {
            return false;
        };
        if offset + 1 >= span.end {
            self.open.remove(&partition);
        }
        (span.start..span.end).contains(&offset)
    }
}

/// Nothing more is fetched for nobody.
impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.reader.consumer.unassign() {
            events::kafka_client_error(&error, "after reading dead letters");
        }
    }
}

/// Waiting would not help.
fn is_final(error: &ClientError) -> bool {
    use RDKafkaErrorCode as Code;
    match error {
        ClientError::MessageConsumptionFatal(_) => true,
        ClientError::MessageConsumption(code) => matches!(
            code,
            Code::TopicAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_span_are_its_last() {
        let span = Span {
            partition: 0,
            start: 10,
            end: 15,
        };
        assert_eq!(span.newest(2).start, 13);
        assert_eq!(span.newest(u64::MAX), span);
        assert_eq!(span.newest(5), span);
    }
}
