//! Writes what `consume` makes of readings: alerts and events, and windows for analytics.

use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::Message;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::log::forwarding_context;
use super::{KafkaError, KafkaSettings};

/// Records that belong together: they are acknowledged once all of them are.
pub type Group = u64;

struct Context {
    report: Sender<(Group, Option<String>)>,
    wake: Box<dyn Fn() + Send + Sync>,
}

forwarding_context!(Context);

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Group>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Box<Group>) {
        let failure = result.as_ref().err();
        let failure = failure.map(|(error, message)| failed(message.topic(), &error.to_string()));
        // Nobody listens any more only when the process ends.
        let _ = self.report.send((*group, failure));
        (self.wake)();
    }
}

/// Sends records; groups of them are reported once all are acknowledged, in whatever topics. It waits for brokers for as
/// long as it takes.
pub struct OutputProducer {
    producer: ThreadedProducer<Context>,
    reports: Receiver<(Group, Option<String>)>,
    /// Records on their way, by group.
    waiting: HashMap<Group, usize>,
}

impl OutputProducer {
    /// `wake` is called whenever something was delivered, on a thread of the producer's.
    pub fn new(kafka: &KafkaSettings, wake: impl Fn() + Send + Sync + 'static) -> Result<OutputProducer, KafkaError> {
        let config = kafka.client_config(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", "0"),
            ("linger.ms", "2"),
        ]);
        let (report, reports) = crossbeam_channel::unbounded(); // bounded by the records on their way
        let producer: ThreadedProducer<Context> = config
            .create_with_context(Context {
                report,
                wake: Box::new(wake),
            })
            .map_err(|error| KafkaError::client("producer of alerts, events and analytics", &error))?;
        Ok(OutputProducer {
            producer,
            reports,
            waiting: HashMap::new(),
        })
    }

    /// An error that says so where there is no such topic, or no broker.
    pub fn check_topic(&self, topic: &str, brokers: &str) -> Result<(), KafkaError> {
        super::metadata::partitions(self.producer.client(), topic, brokers, Duration::from_secs(5)).map(|_| ())
    }

    /// Hands one record of a group over. All of a group are to be handed over before deliveries are asked for again.
    pub fn send(&mut self, group: Group, topic: &str, key: &str, payload: &[u8]) -> Result<(), KafkaError> {
        *self.waiting.entry(group).or_default() += 1;
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(group))
            .key(key)
            .payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    // The producer's own thread makes room.
                    record = refused;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(KafkaError(failed(topic, &error.to_string()))),
            }
        }
    }

    /// Groups that were acknowledged since, without waiting.
    pub fn deliveries(&mut self) -> Result<Vec<Group>, KafkaError> {
        let mut done = Vec::new();
        while let Ok((group, failure)) = self.reports.try_recv() {
            if let Some(failure) = failure {
                return Err(KafkaError(failure));
            }
            if let Some(waiting) = self.waiting.get_mut(&group) {
                *waiting -= 1;
                if *waiting == 0 {
                    self.waiting.remove(&group);
                    done.push(group);
                }
            }
        }
        Ok(done)
    }
}

fn failed(topic: &str, why: &str) -> String {
    format!(
        "writing to topic {topic} failed: {why}: check that the topic exists (`iotpipe init-schema`) and that it may be \
         written"
    )
}
