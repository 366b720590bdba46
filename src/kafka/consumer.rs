//! The consumer: one blocking thread that polls, decodes and keeps the group's membership, whatever the rest does.
//!
//! librdkafka's callbacks become a closed list of [`FromConsumer`]; what the pipeline wants is a [`ToConsumer`].
//! Assignments and revocations are not answered inside the callback but when the pipeline says so, while the thread goes
//! on polling: a slow store delays a rebalance by a bound, it does not cost the membership.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::log::forward_log;
use super::{KafkaError as Error, KafkaSettings};
use crate::model::{RecordBatch, TopicId};
use crate::telemetry::events;

mod parked;
mod record;

pub use record::{RawRecord, Verdict};

/// How to join.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerSettings {
    pub topic: String,
    pub group: String,
    /// Static membership: a restart gets its partitions back at once.
    pub instance_id: Option<String>,
    pub session_timeout: Duration,
    /// How long revoked partitions may take to be finished and committed.
    pub release_timeout: Duration,
    /// End after so many records.
    pub max_records: Option<u64>,
    /// The topic's id, for a broker that cannot tell it; others are asked.
    pub topic_id: Option<TopicId>,
}

/// What the consumer's thread tells, in order.
#[derive(Debug)]
pub enum FromConsumer {
    /// To be answered by a [`ToConsumer::Start`] for each.
    Assigned(Vec<i32>),
    /// To be answered by [`ToConsumer::Release`].
    Revoked(Vec<i32>),
    /// Gone, or not released in time.
    Lost(Vec<i32>),
    Records(RecordBatch),
    /// No more records will come.
    Stopped,
    /// The group cannot be consumed: what, and what to do.
    Failed(String),
}

/// What the consumer's thread is told.
#[derive(Debug)]
pub enum ToConsumer {
    Start {
        partition: i32,
        offset: i64,
    },
    Release(Vec<i32>),
    /// Read no more, but stay a member.
    Stop,
    /// Leave the group and end.
    Close,
}

/// What others may see of the consumer while it runs.
#[derive(Default, Debug)]
pub struct ConsumerGauges {
    /// The end of each partition, as last fetched.
    ends: Mutex<BTreeMap<i32, i64>>,
    /// Fetching is paused because the store cannot keep up at all.
    paused: AtomicBool,
    /// Partitions that wait for a record to be decided.
    parked: AtomicUsize,
}

impl ConsumerGauges {
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Partitions of which nothing is read until somebody can say what their next record is.
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Records between committed positions and the ends of these partitions; `None` before the ends are known.
    pub fn lag(&self, committed: impl Iterator<Item = (i32, i64)>) -> Option<u64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lag = 0;
        for (partition, committed) in committed {
            lag += ends.get(&partition)?.saturating_sub(committed).max(0).unsigned_abs();
        }
        Some(lag)
    }
}

enum Rebalance {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    Lost(Vec<i32>),
}

/// Collects what librdkafka calls back with, for the thread that polls.
pub struct GroupContext {
    topic: String,
    gauges: Arc<ConsumerGauges>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Nobody answers rebalances: before the loop of the poll thread, and after it. A client whose rebalance is never answered is
    /// never closed.
    unattended: AtomicBool,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        events::kafka_client_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let mut ends = self.gauges.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in topic.partitions.values().filter(|partition| partition.partition >= 0) {
            if partition.hi_offset >= 0 {
                ends.insert(partition.partition, partition.hi_offset);
            }
        }
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let lost = consumer.assignment_lost();
        let unattended = self.unattended.load(Ordering::Relaxed);
        // Answered at once: an empty list (nobody would), a lost assignment, and whatever comes when nobody answers.
        let event = match (assigned, partitions.is_empty() || lost || unattended) {
            (true, false) => Rebalance::Assigned(partitions),
            (false, false) => Rebalance::Revoked(partitions),
            (true, true) => return warn_if_failed("assign", assign(consumer, list)),
            (false, true) => {
                warn_if_failed("unassign", unassign(consumer, list));
                if partitions.is_empty() {
                    return;
                }
                Rebalance::Lost(partitions)
            }
        };
        self.rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(event);
    }
}

fn warn_if_failed(what: &str, result: KafkaResult<()>) {
    if let Err(error) = result {
        events::rebalance_failed(what, &error.to_string());
    }
}

fn assign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Eager => consumer.assign(list),
        _ => consumer.incremental_assign(list),
    }
}

fn unassign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Eager => consumer.unassign(),
        _ => consumer.incremental_unassign(list),
    }
}

/// Joins the group; nothing is polled before [`PollThread::run`].
pub fn join(
    kafka: &KafkaSettings,
    settings: &ConsumerSettings,
    gauges: Arc<ConsumerGauges>,
) -> Result<Arc<BaseConsumer<GroupContext>>, Error> {
    let session_timeout_ms = settings.session_timeout.as_millis().to_string();
    let mut role = vec![
        ("group.id", settings.group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Offsets that the log does not hold are never jumped over silently.
        ("auto.offset.reset", "error"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("session.timeout.ms", &session_timeout_ms),
        ("statistics.interval.ms", "1000"),
        // Once the queue is full librdkafka sleeps this long before it fetches again; its default of 1 s starves a drain.
        ("fetch.queue.backoff.ms", "2"),
        ("fetch.wait.max.ms", "100"),
        ("queued.min.messages", "100000"),
        // Payload bytes fetched ahead. librdkafka needs several times as much for them: more costs memory and gains nothing.
        ("queued.max.messages.kbytes", "1024"),
        // Of one partition in a response, as the broker compressed it: all its messages are unpacked at once.
        ("fetch.message.max.bytes", "65536"),
    ];
    if let Some(instance_id) = &settings.instance_id {
        role.push(("group.instance.id", instance_id));
    }
    let context = GroupContext {
        topic: settings.topic.clone(),
        gauges,
        rebalances: Mutex::default(),
        unattended: AtomicBool::new(true),
    };
    let consumer: BaseConsumer<GroupContext> = kafka
        .client_config(&role)
        .create_with_context(context)
        .map_err(|error| Error::client("consumer", &error))?;
    consumer
        .subscribe(&[&settings.topic])
        .map_err(|error| Error::client("consumer", &error))?;
    Ok(Arc::new(consumer))
}

/// Records of one batch: enough to make the hand-over cheap, few enough to keep what waits in channels small, and a batch within
/// what the allocator keeps among its middling pieces.
const BATCH_RECORDS: usize = 256;
/// Payload bytes of one batch: dead letters carry theirs along.
const BATCH_BYTES: usize = 4 << 20;
/// How long a full channel is waited for before fetching is paused. Pausing throws the prefetched records away, so it is
/// for outages, not for the normal full channel of a drain.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How long a poll waits: also how long a command may wait.
const POLL_WAIT: Duration = Duration::from_millis(5);

/// The loop of the consumer's thread.
pub struct PollThread<D, W> {
    consumer: Arc<BaseConsumer<GroupContext>>,
    settings: ConsumerSettings,
    gauges: Arc<ConsumerGauges>,
    /// Decodes a record into the batch, or says that it cannot yet.
    decode: D,
    tell: Sender<FromConsumer>,
    /// Called when there is something new in `tell`.
    wake: W,
    told: Receiver<ToConsumer>,
    /// What could not be handed over yet, in order.
    waiting: VecDeque<FromConsumer>,
    batch: RecordBatch,
    batch_bytes: usize,
    /// Started partitions: records of others are not ours (any more, or yet).
    started: BTreeSet<i32>,
    /// Paused partitions, each with its next record, which cannot be decoded yet.
    parked: BTreeMap<i32, OwnedMessage>,
    /// Assigned by the group, and where those start that the pipeline has answered for.
    assigning: BTreeMap<i32, Option<i64>>,
    revoking: BTreeSet<i32>,
    revoked_until: Option<Instant>,
    polled: u64,
    stopping: bool,
    /// A record cannot be decoded, ever: nobody is asked again while the run ends.
    failed: bool,
    closed: bool,
}

impl<D: FnMut(&RawRecord<'_>, &mut RecordBatch) -> Verdict, W: Fn()> PollThread<D, W> {
    pub fn new(
        consumer: Arc<BaseConsumer<GroupContext>>,
        settings: ConsumerSettings,
        gauges: Arc<ConsumerGauges>,
        decode: D,
        (tell, wake): (Sender<FromConsumer>, W),
        told: Receiver<ToConsumer>,
    ) -> PollThread<D, W> {
        PollThread {
            consumer,
            settings,
            gauges,
            decode,
            tell,
            wake,
            told,
            waiting: VecDeque::new(),
            batch: RecordBatch::default(),
            batch_bytes: 0,
            started: BTreeSet::new(),
            parked: BTreeMap::new(),
            assigning: BTreeMap::new(),
            revoking: BTreeSet::new(),
            revoked_until: None,
            polled: 0,
            stopping: false,
            failed: false,
            closed: false,
        }
    }

    /// Polls until it is told to close, or nobody listens any more. Leaves the group when it returns.
    pub fn run(mut self) {
        self.consumer.context().unattended.store(false, Ordering::Relaxed);
        while !self.closed {
            self.take_commands();
            self.offer_parked();
            self.poll_batch();
            self.hand_over();
            self.give_up_release();
        }
        self.consumer.context().unattended.store(true, Ordering::Relaxed);
    }

    /// One batch at most; ends early when nothing is at hand.
    fn poll_batch(&mut self) {
        let consumer = self.consumer.clone();
        let mut wait = POLL_WAIT;
        while self.batch.len() < BATCH_RECORDS && self.batch_bytes < BATCH_BYTES {
            let polled = consumer.poll(wait);
            self.take_callbacks();
            match polled {
                None => break,
                Some(Ok(message)) => self.take_record(&message),
                Some(Err(error)) => self.take_error(&error),
            }
            wait = Duration::ZERO;
        }
        self.flush_batch();
    }

    fn take_record(&mut self, message: &BorrowedMessage<'_>) {
        if self.stopping || !self.started.contains(&message.partition()) {
            return;
        }
        if self.parked.contains_key(&message.partition()) {
            // To take it would be to lose the order, to leave it to lose the record.
            let failure = "librdkafka delivers records of a paused partition: start again".to_owned();
            return self.fail(failure);
        }
        match (self.decode)(&RawRecord::fresh(message), &mut self.batch) {
            Verdict::Taken => self.count(message.payload_len()),
            Verdict::Later => self.park(message),
            Verdict::Failed(failure) => {
                // Parked, so that nothing of its partition passes it until the run has ended.
                self.park(message);
                self.fail(failure);
            }
        }
    }

    fn fail(&mut self, failure: String) {
        self.failed = true;
        self.waiting.push_back(FromConsumer::Failed(failure));
    }

    fn count(&mut self, payload_bytes: usize) {
        self.batch_bytes += payload_bytes;
        self.polled += 1;
        if self.settings.max_records.is_some_and(|max| self.polled >= max) {
            self.stop();
        }
    }

    fn take_error(&mut self, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        let topic = &self.settings.topic;
        let failure = match error {
            KafkaError::MessageConsumptionFatal(Code::FencedInstanceId) => {
                "another consumer has joined with the same --instance-id: give each its own".to_owned()
            }
            KafkaError::MessageConsumptionFatal(_) => format!("consuming topic {topic} failed for good: {error}"),
            KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => format!(
                "the next offset of topic {topic} is not in the log any more: records were deleted before they were \
                 processed, or the log was truncated; start again to see which, or accept it with --on-data-loss continue"
            ),
            KafkaError::MessageConsumption(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
                format!(
                    "not allowed to consume topic {topic} as group {}: {error}",
                    self.settings.group
                )
            }
            _ => return events::kafka_client_error(error, "while polling"),
        };
        self.waiting.push_back(FromConsumer::Failed(failure));
    }

    fn flush_batch(&mut self) {
        if !self.batch.is_empty() {
            // The next one will be like this one.
            let next = RecordBatch::with_capacity(self.batch.records.len(), self.batch.readings.len());
            let batch = std::mem::replace(&mut self.batch, next);
            self.waiting.push_back(FromConsumer::Records(batch));
            self.batch_bytes = 0;
        }
    }

    fn take_callbacks(&mut self) {
        let consumer = self.consumer.clone();
        let context = consumer.context();
        while let Some(rebalance) = pop(&context.rebalances) {
            // What was polled before comes before.
            self.flush_batch();
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    events::partitions_assigned(&partitions);
                    // A member that the group took for gone may get back what it has not let go of yet: librdkafka takes a
                    // partition up only once.
                    let kept = partitions.iter().filter(|partition| self.revoking.contains(partition));
                    self.release(&kept.copied().collect::<Vec<_>>());
                    self.assigning = partitions.iter().map(|partition| (*partition, None)).collect();
                    self.waiting.push_back(FromConsumer::Assigned(partitions));
                }
                Rebalance::Revoked(partitions) => {
                    events::partitions_revoked(&partitions);
                    partitions.iter().for_each(|partition| self.forget(*partition));
                    self.revoking.extend(&partitions);
                    self.revoked_until = Some(Instant::now() + self.settings.release_timeout);
                    self.waiting.push_back(FromConsumer::Revoked(partitions));
                }
                Rebalance::Lost(partitions) => {
                    events::partitions_lost(&partitions);
                    partitions.iter().for_each(|partition| self.forget(*partition));
                    self.revoking.retain(|partition| !partitions.contains(partition));
                    self.waiting.push_back(FromConsumer::Lost(partitions));
                }
            }
        }
    }

    fn forget(&mut self, partition: i32) {
        self.started.remove(&partition);
        self.assigning.remove(&partition);
        // Undecided as it is, it belongs to the next owner.
        self.parked.remove(&partition);
        self.note_parked();
    }

    /// Hands over what waits. A channel that stays full for [`PAUSE_AFTER`] pauses fetching, and the loop goes on polling
    /// for heartbeats and rebalances until there is room.
    fn hand_over(&mut self) {
        let mut patience = if self.gauges.is_paused() {
            Duration::ZERO
        } else {
            PAUSE_AFTER
        };
        while let Some(event) = self.waiting.pop_front() {
            let slice = patience.min(Duration::from_millis(50));
            match self.tell.send_timeout(event, slice) {
                Ok(()) => (self.wake)(),
                Err(SendTimeoutError::Disconnected(_)) => {
                    self.closed = true;
                    return;
                }
                Err(SendTimeoutError::Timeout(event)) => {
                    self.waiting.push_front(event);
                    patience = patience.saturating_sub(slice);
                    self.take_commands();
                    if patience.is_zero() {
                        return self.set_paused(true);
                    }
                }
            }
        }
        self.set_paused(false);
    }

    fn set_paused(&mut self, paused: bool) {
        if self.gauges.paused.swap(paused, Ordering::Relaxed) == paused || self.stopping {
            return;
        }
        // Those that are parked are paused in any case.
        let started = self
            .started
            .iter()
            .filter(|partition| !self.parked.contains_key(partition));
        let started = self.list(started.map(|partition| (*partition, Offset::Invalid)));
        let result = if paused {
            self.consumer.pause(&started)
        } else {
            self.consumer.resume(&started)
        };
        events::fetching_paused(paused);
        warn_if_failed("pause or resume", result);
    }

    fn take_commands(&mut self) {
        loop {
            match self.told.try_recv() {
                Ok(ToConsumer::Start { partition, offset }) => self.start(partition, offset),
                Ok(ToConsumer::Release(partitions)) => self.release(&partitions),
                Ok(ToConsumer::Stop) => self.stop(),
                Ok(ToConsumer::Close) | Err(TryRecvError::Disconnected) => {
                    self.closed = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Takes a partition up at an offset. librdkafka is answered once for all that were assigned together.
    fn start(&mut self, partition: i32, offset: i64) {
        let Some(start) = self.assigning.get_mut(&partition) else {
            return;
        }; // revoked meanwhile
        *start = Some(offset);
        if self.assigning.values().any(Option::is_none) {
            return;
        }
        let starts = std::mem::take(&mut self.assigning);
        let at = |(partition, offset): (&i32, &Option<i64>)| (*partition, Offset::Offset(offset.unwrap_or_default()));
        let list = self.list(starts.iter().map(at));
        match assign(&self.consumer, &list) {
            Ok(()) => {
                self.started.extend(starts.keys());
                // librdkafka keeps a partition paused that was taken away while it was, also when it comes back.
                if self.gauges.is_paused() || self.stopping {
                    warn_if_failed("pause", self.consumer.pause(&list));
                } else {
                    warn_if_failed("resume", self.consumer.resume(&list));
                }
            }
            Err(error) => {
                let topic = &self.settings.topic;
                self.waiting.push_back(FromConsumer::Failed(format!(
                    "taking up partitions of {topic} failed: {error}"
                )));
            }
        }
    }

    fn release(&mut self, partitions: &[i32]) {
        let before = self.revoking.len();
        self.revoking.retain(|partition| !partitions.contains(partition));
        if before != self.revoking.len() {
            let list = self.list(partitions.iter().map(|partition| (*partition, Offset::Invalid)));
            warn_if_failed("unassign", unassign(&self.consumer, &list));
        }
    }

    /// Past the bound the partitions are let go of without a commit: the next owner processes a little again.
    fn give_up_release(&mut self) {
        if self.revoking.is_empty() || self.revoked_until.is_none_or(|until| Instant::now() < until) {
            return;
        }
        let partitions: Vec<i32> = std::mem::take(&mut self.revoking).into_iter().collect();
        events::release_timed_out(&partitions);
        let list = self.list(partitions.iter().map(|partition| (*partition, Offset::Invalid)));
        warn_if_failed("unassign", unassign(&self.consumer, &list));
        self.waiting.push_back(FromConsumer::Lost(partitions));
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.parked.clear();
        self.note_parked();
        self.flush_batch();
        let started = self.list(self.started.iter().map(|partition| (*partition, Offset::Invalid)));
        warn_if_failed("pause", self.consumer.pause(&started));
        self.waiting.push_back(FromConsumer::Stopped);
    }

    fn list(&self, partitions: impl Iterator<Item = (i32, Offset)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            list.add_partition(&self.settings.topic, partition)
                .set_offset(offset)
                .expect("librdkafka takes every offset that is not negative, and `invalid`");
        }
        list
    }
}

fn pop<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}
