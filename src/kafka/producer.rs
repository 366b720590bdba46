//! The producer of readings: idempotent, acknowledged by all in-sync replicas, and every delivery report is counted.
//! Single-threaded: whoever sends also serves the reports, so a full queue slows the sender and drops nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::log::forward_log;
use super::{KafkaError, KafkaSettings, admission};
use crate::model::TimeMs;
use crate::telemetry::events;

/// A record that is not acknowledged after so long has failed. Long enough for a broker to restart.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Longest wait for the cluster's answer before anything is sent.
const METADATA_TIMEOUT: Duration = Duration::from_secs(4);

/// Longest wait for the id of an idempotent producer.
const PRODUCER_ID_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends between two looks at the clock, which is good enough for latencies of milliseconds.
const SENDS_PER_LOOK: u32 = 64;

/// Records in librdkafka's queue. Small on purpose: all of them fit the processor's cache, which is worth a quarter more
/// records a second and a fifth of the latency of 200,000. When it is full, the sender waits.
const QUEUE_RECORDS: &str = "40000";

const ROLE: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.codec", "lz4"),
    // What Java and Python clients do, so that all agree on a sensor's partition.
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.messages", QUEUE_RECORDS),
    ("queue.buffering.max.kbytes", "262144"),
    ("delivery.timeout.ms", "120000"),
    // Only the statistics say when the client may send at all.
    ("statistics.interval.ms", "100"),
];

/// How long a record waits for others of its partition, milliseconds, at a rate of records/s; `None` is as fast as possible.
/// A request costs broker and client some hundred microseconds, whatever it carries, and there is one for each partition in so long.
/// So who sends little does not wait, and who sends much saves requests where a few milliseconds more are not seen.
fn linger_ms(records_per_s: Option<f64>) -> f64 {
    records_per_s.map_or(5.0, |per_s| (per_s / 5_000.0).clamp(1.0, 20.0))
}

/// Offsets of one partition that were acknowledged to this producer, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckedOffsets {
    pub partition: i32,
    pub first: i64,
    pub last: i64,
}

/// What became of the records sent so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Deliveries {
    pub acknowledged: u64,
    pub failed: u64,
    /// From handing a record to the client to its acknowledgement, in microseconds; 0 before the first.
    pub ack_p50_us: u64,
    pub ack_p99_us: u64,
    pub ack_max_us: u64,
    /// Why the first record that failed did.
    pub first_error: Option<String>,
    pub offsets: Vec<AckedOffsets>,
}

/// Records whose delivery report has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    pub acknowledged: u64,
    pub failed: u64,
}

impl Settled {
    pub fn total(self) -> u64 {
        self.acknowledged + self.failed
    }
}

/// A producer for one topic.
pub struct ReadingProducer {
    producer: BaseProducer<DeliveryContext>,
    topic: String,
    brokers: String,
    epoch: Instant,
    /// The wall clock at `epoch`, microseconds.
    epoch_us: i64,
    /// The clock as of the last look at it, which is some sends ago.
    now_us: u64,
    sends_until_look: u32,
}

impl ReadingProducer {
    /// Asks nothing yet but to be let in: see [`ReadingProducer::check_topic`]. `records_per_s` is the pace, if there is one.
    pub fn new(kafka: &KafkaSettings, topic: &str, records_per_s: Option<f64>) -> Result<ReadingProducer, KafkaError> {
        admission::check(kafka)?;
        let context = DeliveryContext {
            epoch: Instant::now(),
            served_at_us: AtomicU64::new(CLOCK_UNREAD),
            reports: Mutex::new(Reports::new()),
            is_running: AtomicBool::new(false),
            has_id: AtomicBool::new(false),
            trouble: Mutex::default(),
        };
        let epoch = context.epoch;
        let linger_ms = linger_ms(records_per_s).to_string();
        let producer = kafka
            .client_config(&[ROLE, &[("linger.ms", linger_ms.as_str())]].concat())
            .create_with_context(context)
            .map_err(|error| KafkaError::client("producer", &error))?;
        let (topic, brokers) = (topic.to_owned(), kafka.brokers.clone());
        Ok(ReadingProducer {
            producer,
            topic,
            brokers,
            epoch,
            epoch_us: wall_clock_us(),
            now_us: 0,
            sends_until_look: 0,
        })
    }

    /// Makes sure that the cluster answers and the topic exists; returns its number of partitions. Asks for all topics,
    /// since a question for one would make it, where brokers make topics on demand.
    pub fn check_topic(&self) -> Result<usize, KafkaError> {
        let metadata = match self.producer.client().fetch_metadata(None, METADATA_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                // What really happened is in the client's events, which somebody must ask for.
                self.producer.poll(Duration::from_millis(50));
                let trouble = lock(&self.producer.context().trouble).take();
                let reason = trouble.unwrap_or_else(|| error.to_string());
                return Err(KafkaError(format!(
                    "cannot reach Kafka at {} within {} s: {reason}: check that it runs there (stack/stack up), or give --brokers \
                     (KAFKA_BOOTSTRAP_SERVERS)",
                    self.brokers,
                    METADATA_TIMEOUT.as_secs()
                )));
            }
        };
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match topic.map_or(0, |topic| topic.partitions().len()) {
            0 => Err(KafkaError::missing_topic(&self.topic, &self.brokers)),
            partitions => {
                self.await_producer_id();
                self.producer.context().is_running.store(true, Ordering::Relaxed);
                Ok(partitions)
            }
        }
    }

    /// An idempotent producer sends nothing before the cluster has given it an id, which may take half a second: a pace
    /// that began before would begin with a backlog. No answer is no failure: records are queued until there is one.
    fn await_producer_id(&self) {
        let deadline = Instant::now() + PRODUCER_ID_TIMEOUT;
        while !self.producer.context().has_id.load(Ordering::Relaxed) && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(10));
        }
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn elapsed_us(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    /// Hands a record to the client. `false`: its queue is full, serve reports and try again. The record's timestamp is
    /// the wall clock's; `header` is one header's name and value.
    #[inline]
    pub fn try_send(&mut self, key: &[u8], payload: &[u8], header: Option<(&str, &str)>) -> Result<bool, KafkaError> {
        if self.sends_until_look == 0 {
            self.now_us = self.elapsed_us();
            self.sends_until_look = SENDS_PER_LOOK;
        }
        self.sends_until_look -= 1;
        self.send_measured(key, payload, header, self.now_us as usize)
    }

    /// As [`ReadingProducer::try_send`], but its latency counts from when the record was due, by the wall clock; not at all
    /// where it was never.
    #[inline]
    pub fn try_send_due(&mut self, key: &[u8], payload: &[u8], due: Option<TimeMs>) -> Result<bool, KafkaError> {
        let after_epoch_us = |due: TimeMs| due.micros().saturating_sub(self.epoch_us);
        let from_us = due.map_or(UNMEASURED, |due| usize::try_from(after_epoch_us(due)).unwrap_or(0));
        self.send_measured(key, payload, None, from_us)
    }

    /// `from_us`: what the latency counts from, after the epoch.
    #[inline]
    fn send_measured(
        &self,
        key: &[u8],
        payload: &[u8],
        header: Option<(&str, &str)>,
        from_us: usize,
    ) -> Result<bool, KafkaError> {
        let record = BaseRecord::with_opaque_to(&self.topic, from_us)
            .key(key)
            .payload(payload);
        let record = match header {
            Some((key, value)) => record.headers(OwnedHeaders::new().insert(Header {
                key,
                value: Some(value),
            })),
            None => record,
        };
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => {
                let reason = self.fatal_error().unwrap_or_else(|| error.to_string());
                Err(KafkaError(format!(
                    "sending to topic {} on {} failed: {reason}",
                    self.topic, self.brokers
                )))
            }
        }
    }

    /// Takes the delivery reports that have arrived, without waiting for any.
    pub fn serve(&mut self) -> Settled {
        self.now_us = self.elapsed_us();
        self.sends_until_look = SENDS_PER_LOOK;
        let context = self.producer.context();
        context.served_at_us.store(self.now_us, Ordering::Relaxed);
        // One call takes one batch of reports, and there is no telling how many wait.
        let mut seen = None;
        let settled = loop {
            self.producer.poll(Duration::ZERO);
            let settled = lock(&context.reports).settled;
            if seen == Some(settled) {
                break settled;
            }
            seen = Some(settled);
        };
        context.served_at_us.store(CLOCK_UNREAD, Ordering::Relaxed);
        settled
    }

    /// All about the records settled so far; costs a walk over the latencies.
    pub fn deliveries(&self) -> Deliveries {
        lock(&self.producer.context().reports).summary()
    }

    /// From handing a record over, or from when it was due, to its acknowledgement; microseconds.
    pub fn latency_us(&self) -> Histogram<u64> {
        lock(&self.producer.context().reports).latency_us.clone()
    }

    fn fatal_error(&self) -> Option<String> {
        self.producer
            .client()
            .fatal_error()
            .map(|(code, reason)| format!("{reason} ({code})"))
    }
}

/// In the place of what a record's latency counts from: it does not count.
const UNMEASURED: usize = usize::MAX;

/// No clock reading in [`DeliveryContext::served_at_us`].
const CLOCK_UNREAD: u64 = u64::MAX;

/// Counts delivery reports. They come on the thread that polls, so the locks are free.
struct DeliveryContext {
    epoch: Instant,
    /// When the reports that come now were asked for: one look at the clock serves thousands.
    served_at_us: AtomicU64,
    reports: Mutex<Reports>,
    /// Whether the cluster has answered before: until then its errors are the caller's to tell.
    is_running: AtomicBool,
    /// The cluster has given the producer its id.
    has_id: AtomicBool,
    /// The last error of the client as a whole, for example a refused connection.
    trouble: Mutex<Option<String>>,
}

struct Reports {
    settled: Settled,
    /// To 1 %: small enough to stay in the processor's cache.
    latency_us: Histogram<u64>,
    first_error: Option<String>,
    /// First and last offset by partition.
    offsets: Vec<Option<(i64, i64)>>,
}

impl Reports {
    fn new() -> Reports {
        let longest = 2 * micros(DELIVERY_TIMEOUT);
        Reports {
            settled: Settled::default(),
            latency_us: Histogram::new_with_bounds(1, longest, 2).expect("constant bounds are in order"),
            first_error: None,
            offsets: Vec::new(),
        }
    }

    fn acknowledge(&mut self, partition: i32, offset: i64, latency_us: Option<u64>) {
        self.settled.acknowledged += 1;
        if let Some(latency_us) = latency_us {
            self.latency_us.saturating_record(latency_us);
        }
        let (Ok(partition), true) = (usize::try_from(partition), offset >= 0) else {
            return;
        };
        if partition >= self.offsets.len() {
            self.offsets.resize(partition + 1, None);
        }
        let (first, last) = self.offsets[partition].unwrap_or((offset, offset));
        self.offsets[partition] = Some((first.min(offset), last.max(offset)));
    }

    fn summary(&self) -> Deliveries {
        let offsets = (0..).zip(&self.offsets).filter_map(|(partition, range)| {
            let (first, last) = (*range)?;
            Some(AckedOffsets { partition, first, last })
        });
        Deliveries {
            acknowledged: self.settled.acknowledged,
            failed: self.settled.failed,
            ack_p50_us: self.latency_us.value_at_quantile(0.5),
            ack_p99_us: self.latency_us.value_at_quantile(0.99),
            ack_max_us: self.latency_us.max(),
            first_error: self.first_error.clone(),
            offsets: offsets.collect(),
        }
    }
}

impl ClientContext for DeliveryContext {
    /// The client's own words are for whoever looks for them: what matters arrives as a delivery report or an error.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
            self.has_id.store(true, Ordering::Relaxed);
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        if self.is_running.load(Ordering::Relaxed) {
            events::kafka_client_error(&error, reason);
        }
        let mut trouble = lock(&self.trouble);
        // That all brokers are down says less than why the first could not be reached.
        if trouble.is_none() || error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *trouble = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for DeliveryContext {
    /// Microseconds since the epoch when the record was handed over or due; [`UNMEASURED`] where its latency is not taken.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_at_us: usize) {
        let now_us = match self.served_at_us.load(Ordering::Relaxed) {
            CLOCK_UNREAD => micros(self.epoch.elapsed()),
            now_us => now_us,
        };
        let mut reports = lock(&self.reports);
        match result {
            Ok(message) => {
                let latency_us = (sent_at_us != UNMEASURED).then(|| now_us.saturating_sub(sent_at_us as u64).max(1));
                reports.acknowledge(message.partition(), message.offset(), latency_us);
            }
            Err((error, _)) => {
                reports.settled.failed += 1;
                if reports.first_error.is_none() {
                    reports.first_error = Some(error.to_string());
                }
            }
        }
    }
}

fn wall_clock_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A panic elsewhere leaves counters that are still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
