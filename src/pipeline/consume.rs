//! `consume`: joins the consumer's thread, the processor and the writers.
//!
//! The loop here owns the processor: it turns what comes in into events and carries the effects out. It never waits for a
//! store or a broker; what takes time runs beside it and answers on a channel. On a runtime of one thread the requests to the store
//! run on the loop's own thread, between its turns: nothing is handed from thread to thread on the way of a write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use hdrhistogram::Histogram;
use thiserror::Error;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::MissedTickBehavior;

use super::decode::RecordDecoder;
use super::loads::Loads;
use super::outputs::Outputs;
use super::retry::{StoreHealth, until_done};
use super::schemas::Schemas;
use super::writers::{Landed, ToStore, Writers};
use crate::codec::{FieldNames, Limits, OutputEncoding};
use crate::kafka::consumer::{self, ConsumerGauges, ConsumerSettings, FromConsumer, PollThread, ToConsumer};
use crate::kafka::dead_letters::{DeadLetterProducer, Delivery};
use crate::kafka::{Group, KafkaError, KafkaSettings, admission};
use crate::model::{LedgerEntry, Load, Loaded, Record, RecordBatch, SensorWrite, Source};
use crate::processor::{self, Counters, Effect, Event, Processor, StartFacts};
use crate::registry::RegistrySettings;
use crate::store::{Store, StoreError};
use crate::telemetry::events;

/// What to consume, and for how long.
#[derive(Clone, Debug)]
pub struct ConsumeSettings {
    pub consumer: ConsumerSettings,
    pub dead_letter_topic: String,
    pub topics: OutputTopics,
    pub fields: FieldNames,
    pub limits: Limits,
    /// Where the schemas of records in Avro are; without, such records are dead letters.
    pub registry: Option<RegistrySettings>,
    /// How alerts, events and analytics are written.
    pub outputs: OutputEncoding,
    /// Requests to the store in flight.
    pub writers: usize,
    pub processor: processor::Settings,
    /// End once the group has committed every partition's end as of the start.
    pub until_end: bool,
    /// End after so long.
    pub duration: Option<Duration>,
    /// How long finishing what was polled may take once it is to end.
    pub drain_timeout: Duration,
}

/// Where what is made of readings goes.
#[derive(Clone, Debug)]
pub struct OutputTopics {
    pub alerts: String,
    /// Changes of the devices' status.
    pub events: String,
    pub analytics: String,
}

/// Why a run ended badly.
#[derive(Error, Debug)]
pub enum ConsumeError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Failed(String),
    #[error("starting a thread failed: {0}")]
    Thread(#[source] std::io::Error),
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct ConsumeSummary {
    pub counters: Counters,
    pub elapsed: Duration,
    /// From the first records to the last commit; zero where there were none.
    pub processing: Duration,
    /// From event time to acknowledged by the store, milliseconds.
    pub latency_ms: Histogram<u64>,
}

/// What a person may see while it runs.
#[derive(Clone, Debug, Default)]
pub struct ConsumeSnapshot {
    pub counters: Counters,
    /// Records between the committed offsets of this process's partitions and their ends; absent before it is known.
    pub lag: Option<u64>,
    pub writes_in_flight: usize,
    pub pending_readings: usize,
    pub partitions: usize,
    /// Fetching is paused: the store takes nothing.
    pub paused: bool,
    pub store_failing: bool,
    /// Partitions that wait for the schema of their next record.
    pub partitions_without_schema: usize,
    pub registry_failing: bool,
    /// p99 from event time to acknowledged by the store over the last interval, milliseconds.
    pub latency_p99_ms: Option<u64>,
}

/// Who measures records on their way. Called on the threads that do the work.
pub trait ConsumeObserver: Send + Sync {
    /// A record was polled and decoded.
    fn polled(&self, record: &Record);
    /// The store has acknowledged a write.
    fn stored(&self, write: &SensorWrite);
}

/// Shared between the run and who shows or stops it.
#[derive(Default)]
pub struct ConsumeControl {
    stop: Arc<AtomicBool>,
    snapshot: Mutex<ConsumeSnapshot>,
    observer: Option<Arc<dyn ConsumeObserver>>,
}

impl ConsumeControl {
    /// `stop`, once raised, asks the run to finish what was polled, commit, leave and end.
    pub fn new(stop: Arc<AtomicBool>) -> ConsumeControl {
        ConsumeControl {
            stop,
            ..ConsumeControl::default()
        }
    }

    /// With someone who measures.
    pub fn observed_by(self, observer: Arc<dyn ConsumeObserver>) -> ConsumeControl {
        ConsumeControl {
            observer: Some(observer),
            ..self
        }
    }

    pub fn snapshot(&self) -> ConsumeSnapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Batches between the consumer's thread and the processor: one in work, some ahead.
const BATCHES_AHEAD: usize = 8;
/// How long the loop sleeps at most: bounds how late a tick is.
const TICK: Duration = Duration::from_millis(20);
/// How often the snapshot is renewed.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(200);
/// How often `until_end` looks at what the group has committed.
const END_CHECK_INTERVAL: Duration = Duration::from_millis(300);
/// How long brokers may be silent about where to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Latencies above are counted as this.
const LATENCY_MAX_MS: u64 = 3_600_000;

enum Answer {
    Event(Event),
    /// What one request brought.
    Loaded(Vec<Loaded>),
    /// Those of one request, together.
    LoadsFailed(Vec<Load>),
    /// There is something to take: records, or the word that something was delivered.
    Wake,
    Landed(Landed),
    /// The group has not committed all that was there at the start.
    EndAhead,
    EndReached,
    Failed(String),
}

impl From<Landed> for Answer {
    fn from(landed: Landed) -> Answer {
        Answer::Landed(landed)
    }
}

/// Consumes until told to stop, or until the settings say so. Blocks; the loop and the requests to the store run on `runtime`,
/// where the store was opened.
pub fn consume<S: Store>(
    kafka: &KafkaSettings,
    settings: &ConsumeSettings,
    store: &Arc<S>,
    runtime: &Runtime,
    control: &ConsumeControl,
) -> Result<ConsumeSummary, ConsumeError> {
    let mut run = Run::start(kafka, settings, store, runtime.handle(), control.observer.clone())?;
    let outcome = runtime.block_on(run.drive(control));
    run.close();
    outcome?;
    Ok(ConsumeSummary {
        counters: run.processor.counters(),
        elapsed: run.began.elapsed(),
        processing: match (run.first_records, run.last_commit) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        },
        latency_ms: run.latency_ms,
    })
}

struct Run<'s, S> {
    settings: &'s ConsumeSettings,
    store: Arc<S>,
    runtime: Handle,
    processor: Processor,
    effects: Vec<Effect>,
    writers: Writers,
    loads: Loads,
    health: Arc<StoreHealth>,
    registry_failing: Arc<AtomicBool>,
    dead_letters: DeadLetterProducer,
    outputs: Outputs,
    group: Option<Group>,
    gauges: Arc<ConsumerGauges>,
    to_consumer: Sender<ToConsumer>,
    from_consumer: Option<Receiver<FromConsumer>>,
    /// All that hold the consumer: it leaves the group when the last of them is gone.
    threads: Vec<JoinHandle<()>>,
    answer: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
    began: Instant,
    latency_ms: Histogram<u64>,
    recent_latency_ms: Histogram<u64>,
    observer: Option<Arc<dyn ConsumeObserver>>,
    first_records: Option<Instant>,
    last_commit: Option<Instant>,
    stopping_since: Option<Instant>,
    drained: bool,
}

impl<'s, S: Store> Run<'s, S> {
    fn start(
        kafka: &KafkaSettings,
        settings: &'s ConsumeSettings,
        store: &Arc<S>,
        runtime: &Handle,
        observer: Option<Arc<dyn ConsumeObserver>>,
    ) -> Result<Run<'s, S>, ConsumeError> {
        admission::check(kafka)?;
        let topic = &settings.consumer.topic;
        let dead_letters = DeadLetterProducer::new(kafka, &settings.dead_letter_topic, topic)?;
        dead_letters.check_topic(&kafka.brokers)?;
        let gauges = Arc::new(ConsumerGauges::default());
        let client = consumer::join(kafka, &settings.consumer, gauges.clone())?;
        let group = Group::new(client.clone(), kafka, &settings.consumer);
        let partitions = group.partitions()?;

        let (answer, answers) = mpsc::unbounded_channel(); // bounded by what is in flight
        let waker = answer.clone();
        let wake = move || drop(waker.send(Answer::Wake));
        let outputs = Outputs::new(kafka, settings, wake.clone())?;
        let (tell, from_consumer) = bounded(BATCHES_AHEAD);
        let (to_consumer, told) = unbounded(); // a few commands a second
        let schemas = settings.registry.as_ref().map(Schemas::start).transpose();
        let schemas = schemas.map_err(ConsumeError::Thread)?;
        let registry_failing = schemas.as_ref().map(Schemas::failing).unwrap_or_default();
        let mut decoder = RecordDecoder::new(settings.fields.clone(), settings.limits.clone(), schemas);
        let polls = observer.clone();
        let decode = move |raw: &consumer::RawRecord<'_>, batch: &mut RecordBatch| {
            let before = batch.records.len();
            let verdict = decoder.decode_into(raw, batch);
            if let Some(polls) = &polls {
                batch.records[before..].iter().for_each(|record| polls.polled(record));
            }
            verdict
        };
        let poll = PollThread::new(
            client,
            settings.consumer.clone(),
            gauges.clone(),
            decode,
            (tell, wake),
            told,
        );
        let poll_thread = std::thread::Builder::new()
            .name("poll".to_owned())
            .spawn(move || poll.run())
            .map_err(ConsumeError::Thread)?;

        let health = Arc::new(StoreHealth::default());
        let writers = Writers::start(runtime, settings.writers, store, &health, &answer);
        let watcher = match settings.until_end {
            true => Some(watch_end(group.clone(), partitions, answer.clone())?),
            false => None,
        };
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_MS, 3).expect("bounds of a histogram");
        Ok(Run {
            settings,
            store: store.clone(),
            runtime: runtime.clone(),
            processor: Processor::new(settings.processor.clone()),
            effects: Vec::new(),
            writers,
            loads: Loads::new(settings.processor.loads_in_flight),
            health,
            registry_failing,
            dead_letters,
            outputs,
            group: Some(group),
            gauges,
            to_consumer,
            from_consumer: Some(from_consumer),
            threads: watcher.into_iter().chain([poll_thread]).collect(),
            answer,
            answers,
            began: Instant::now(),
            latency_ms: histogram(),
            recent_latency_ms: histogram(),
            observer,
            first_records: None,
            last_commit: None,
            stopping_since: None,
            drained: false,
        })
    }

    /// The loop. Ends when all is drained, or with the first failure.
    async fn drive(&mut self, control: &ConsumeControl) -> Result<(), ConsumeError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_snapshot = Instant::now();
        let mut may_have_more = true;
        while !self.drained {
            if may_have_more {
                // The requests' turn.
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    biased;
                    answer = self.answers.recv() => if let Some(answer) = answer { self.on_answer(answer)?; },
                    _ = tick.tick() => {}
                }
            }
            while let Ok(answer) = self.answers.try_recv() {
                self.on_answer(answer)?;
            }
            may_have_more = self.take_from_consumer()?;
            self.take_deliveries()?;
            self.handle(Event::Tick)?;
            self.writers.dispatch();
            self.dispatch_loads();
            self.check_end(control)?;
            if Instant::now() >= next_snapshot {
                next_snapshot = Instant::now() + SNAPSHOT_INTERVAL;
                self.renew_snapshot(control);
            }
        }
        self.renew_snapshot(control);
        Ok(())
    }

    /// Takes what the consumer's thread tells next, if there is room for it: without, it stays in the channel, and that thread
    /// notices. Answers whether there was something.
    fn take_from_consumer(&mut self) -> Result<bool, ConsumeError> {
        let Some(from_consumer) = self.from_consumer.as_ref().filter(|_| self.processor.wants_records()) else {
            return Ok(false);
        };
        match from_consumer.try_recv() {
            Ok(told) => self.on_consumer(told).map(|()| true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => {
                Err(ConsumeError::Failed("the consumer's thread ended by itself".to_owned()))
            }
        }
    }

    fn on_consumer(&mut self, told: FromConsumer) -> Result<(), ConsumeError> {
        match told {
            FromConsumer::Records(batch) => {
                self.first_records.get_or_insert_with(Instant::now);
                self.handle(Event::Records(batch))
            }
            FromConsumer::Assigned(partitions) => self.handle(Event::Assigned(partitions)),
            FromConsumer::Revoked(partitions) => self.handle(Event::Revoked(partitions)),
            FromConsumer::Lost(partitions) => self.handle(Event::Lost(partitions)),
            FromConsumer::Stopped => {
                self.stopping_since.get_or_insert_with(Instant::now);
                self.handle(Event::Drain)
            }
            FromConsumer::Failed(failure) => Err(ConsumeError::Failed(failure)),
        }
    }

    fn on_answer(&mut self, answer: Answer) -> Result<(), ConsumeError> {
        match answer {
            Answer::Event(event) => {
                if matches!(event, Event::Committed(true)) {
                    self.last_commit = Some(Instant::now());
                }
                self.handle(event)
            }
            Answer::Loaded(loaded) => {
                self.loads.answered();
                loaded
                    .into_iter()
                    .try_for_each(|loaded| self.handle(Event::Loaded(Box::new(loaded))))
            }
            Answer::LoadsFailed(loads) => {
                self.loads.failed_together(loads);
                Ok(())
            }
            Answer::Wake => Ok(()),
            Answer::Landed(Ok((writer, landed))) => {
                self.writers.is_free_again(writer);
                match landed {
                    ToStore::Writes(writes) => writes.into_iter().try_for_each(|write| {
                        self.note_latency(&write);
                        self.handle(Event::Written(Box::new(write)))
                    }),
                    ToStore::Alerts(alerts) => Ok(self.outputs.send_alerts(&alerts)?),
                }
            }
            Answer::Landed(Err(failure)) | Answer::Failed(failure) => Err(ConsumeError::Failed(failure)),
            // What was polled is written; then nobody waits for a state's turn.
            Answer::EndAhead if self.processor.pending_readings() == 0 => self.handle(Event::CaughtUp),
            Answer::EndAhead => Ok(()),
            Answer::EndReached => {
                self.stop();
                Ok(())
            }
        }
    }

    /// The processor takes an event, and what it wants is set going.
    fn handle(&mut self, event: Event) -> Result<(), ConsumeError> {
        let now_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut effects = std::mem::take(&mut self.effects);
        self.processor.handle(event, now_ms, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect)?;
        }
        self.effects = effects;
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), ConsumeError> {
        match effect {
            Effect::Write(write) => self.writers.write(write),
            // The store keeps no changes of status.
            Effect::WriteAlerts(alerts) if alerts.changes.is_empty() => self.outputs.send_alerts(&alerts)?,
            Effect::WriteAlerts(alerts) => self.writers.write_alerts(alerts),
            Effect::Load(load) => self.loads.push(*load),
            Effect::Publish(windows) => self.outputs.publish(&windows)?,
            Effect::SendDeadLetter(letter) => {
                events::dead_letter(letter.partition, letter.offset, letter.reason, &letter.detail);
                self.dead_letters.send(*letter)?;
            }
            Effect::FindStarts(partitions) => self.find_starts(partitions),
            Effect::OpenLedger(entry) => self.open_ledger(entry),
            Effect::AdvanceLedger(positions) => self.advance_ledger(positions),
            Effect::Start { partition, offset } => self.tell(ToConsumer::Start { partition, offset }),
            Effect::Commit(positions) => self.commit(positions),
            Effect::Release(partitions) => self.tell(ToConsumer::Release(partitions)),
            Effect::HoleAccepted { source, detail } => self.record_hole(source, detail),
            Effect::Refuse(refusal) => return Err(ConsumeError::Failed(refusal.to_string())),
            Effect::Drained => self.drained = true,
        }
        Ok(())
    }

    fn tell(&self, command: ToConsumer) {
        // A thread that ended said so on its own channel.
        let _ = self.to_consumer.send(command);
    }

    /// Lets a question to the store or the brokers run by itself; its answer comes in by the channel.
    fn answer_later(&self, question: impl Future<Output = Result<Option<Answer>, ConsumeError>> + Send + 'static) {
        let answer = self.answer.clone();
        self.runtime.spawn(async move {
            let answered = match question.await {
                Ok(None) => return,
                Ok(Some(answer)) => answer,
                Err(error) => Answer::Failed(error.to_string()),
            };
            let _ = answer.send(answered);
        });
    }

    fn find_starts(&self, partitions: Vec<i32>) {
        let Some(group) = self.group.clone() else { return };
        let (store, health) = (self.store.clone(), self.health.clone());
        let topic: Arc<str> = self.settings.processor.topic.clone();
        self.answer_later(async move {
            let Ok(asked) = tokio::task::spawn_blocking(move || ask_brokers(&group, &partitions)).await else {
                return Ok(None); // the process ends
            };
            let (topic_id, facts) = asked?;
            let source = |partition| Source {
                topic: topic.clone(),
                topic_id,
                partition,
            };
            let sources: Vec<Source> = facts.iter().map(|facts| source(facts.partition)).collect();
            let rows = until_done(&health, || store.load_ledger(&sources)).await?;
            let facts = facts.iter().zip(rows).map(|(facts, ledger)| StartFacts {
                partition: facts.partition,
                topic_id,
                committed: facts.committed,
                low: facts.low,
                high: facts.high,
                ledger,
            });
            Ok(Some(Answer::Event(Event::StartsFound(facts.collect()))))
        });
    }

    fn dispatch_loads(&mut self) {
        while let Some(loads) = self.loads.next_request() {
            let (store, health) = (self.store.clone(), self.health.clone());
            self.answer_later(async move {
                if loads.len() == 1 {
                    let loaded = until_done(&health, || store.load_all(&loads)).await?;
                    return Ok(Some(Answer::Loaded(loaded)));
                }
                match store.load_all(&loads).await {
                    Ok(loaded) => Ok(Some(Answer::Loaded(loaded))),
                    Err(error) if error.is_transient() => Ok(Some(Answer::LoadsFailed(loads))),
                    Err(error) => Err(error.into()),
                }
            });
        }
    }

    fn open_ledger(&self, entry: LedgerEntry) {
        let (store, health) = (self.store.clone(), self.health.clone());
        self.answer_later(async move {
            let entry = until_done(&health, || store.open_ledger(&entry)).await?;
            Ok(Some(Answer::Event(Event::LedgerOpened(entry))))
        });
    }

    fn record_hole(&self, source: Source, detail: String) {
        events::hole_accepted(&detail);
        let (store, health) = (self.store.clone(), self.health.clone());
        self.answer_later(async move {
            until_done(&health, || store.record_hole(&source, &detail)).await?;
            Ok(None)
        });
    }

    fn advance_ledger(&self, positions: Vec<(Source, i64)>) {
        let (store, health) = (self.store.clone(), self.health.clone());
        self.answer_later(async move {
            until_done(&health, || store.advance_ledger(&positions)).await?;
            Ok(Some(Answer::Event(Event::LedgerAdvanced)))
        });
    }

    fn commit(&self, positions: Vec<(i32, i64)>) {
        let Some(group) = self.group.clone() else { return };
        let answer = self.answer.clone();
        self.runtime
            .spawn_blocking(move || drop(answer.send(Answer::Event(Event::Committed(group.commit(&positions))))));
    }

    fn take_deliveries(&mut self) -> Result<(), ConsumeError> {
        for delivery in self.dead_letters.deliveries()? {
            match delivery {
                Delivery::Acknowledged { partition, offset } => {
                    self.handle(Event::DeadLettered { partition, offset })?
                }
                Delivery::Failed(failure) => return Err(ConsumeError::Failed(failure)),
            }
        }
        for event in self.outputs.deliveries()? {
            self.handle(event)?;
        }
        Ok(())
    }

    fn check_end(&mut self, control: &ConsumeControl) -> Result<(), ConsumeError> {
        let elapsed = self
            .settings
            .duration
            .is_some_and(|duration| self.began.elapsed() >= duration);
        if elapsed || control.stop.load(Ordering::Relaxed) {
            self.stop();
        }
        match self.stopping_since {
            Some(since) if since.elapsed() > self.settings.drain_timeout && !self.drained => {
                Err(ConsumeError::Failed(format!(
                    "{} readings could not be stored and committed within {} s: they are processed again by whoever \
                     takes their partitions next, nothing is lost",
                    self.processor.pending_readings(),
                    self.settings.drain_timeout.as_secs()
                )))
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self) {
        if self.stopping_since.is_none() {
            self.stopping_since = Some(Instant::now());
            self.tell(ToConsumer::Stop);
        }
    }

    fn note_latency(&mut self, write: &SensorWrite) {
        if let Some(observer) = &self.observer {
            observer.stored(write);
        }
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        for row in &write.rows {
            let latency_ms = now_ms.saturating_sub(row.time.0).max(0).unsigned_abs();
            self.recent_latency_ms.saturating_record(latency_ms);
        }
    }

    fn renew_snapshot(&mut self, control: &ConsumeControl) {
        let latency_p99_ms =
            (!self.recent_latency_ms.is_empty()).then(|| self.recent_latency_ms.value_at_quantile(0.99));
        // Both have the same bounds.
        let _ = self.latency_ms.add(&self.recent_latency_ms);
        self.recent_latency_ms.reset();
        *control.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = ConsumeSnapshot {
            counters: self.processor.counters(),
            lag: self.gauges.lag(self.processor.committed()),
            writes_in_flight: self.processor.writes_in_flight(),
            pending_readings: self.processor.pending_readings(),
            partitions: self.processor.owned(),
            paused: self.gauges.is_paused(),
            store_failing: self.health.is_failing(),
            partitions_without_schema: self.gauges.parked(),
            registry_failing: self.registry_failing.load(Ordering::Relaxed),
            latency_p99_ms,
        };
    }

    /// Leaves the group. Also after a failure: the others get the partitions at once.
    fn close(&mut self) {
        self.tell(ToConsumer::Close);
        // The thread may be waiting for room in this channel; without it, it ends.
        self.from_consumer = None;
        self.answers.close();
        self.group = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type BrokerFacts = (crate::model::TopicId, Vec<crate::kafka::PartitionFacts>);

/// Brokers that restart are waited for; an answer that says no is passed on once the wait is over.
fn ask_brokers(group: &Group, partitions: &[i32]) -> Result<BrokerFacts, KafkaError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match group.topic_id().and_then(|id| Ok((id, group.facts(partitions)?))) {
            Ok(facts) => return Ok(facts),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(error) => {
                events::start_delayed(&error.to_string());
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }
}

/// Watches, on a thread of its own, until the group has committed all ends as they are now, whoever owns the partitions.
fn watch_end(
    group: Group,
    partitions: Vec<i32>,
    answer: UnboundedSender<Answer>,
) -> Result<JoinHandle<()>, ConsumeError> {
    let mut waiting = Vec::new();
    for partition in partitions {
        let (low, high) = group.bounds(partition)?;
        if high > low {
            waiting.push((partition, high));
        }
    }
    let watch = move || loop {
        let open: Vec<i32> = waiting.iter().map(|(partition, _)| *partition).collect();
        match group.committed(&open) {
            Ok(committed) => waiting.retain(|(partition, end)| committed.get(partition).is_none_or(|to| to < end)),
            Err(error) => events::start_delayed(&error.to_string()),
        }
        if waiting.is_empty() {
            let _ = answer.send(Answer::EndReached);
            return;
        }
        // Ends with the run: the answers' receiver is gone then, and so is the reason to look.
        std::thread::sleep(END_CHECK_INTERVAL);
        if answer.send(Answer::EndAhead).is_err() {
            return;
        }
    };
    std::thread::Builder::new()
        .name("until-end".to_owned())
        .spawn(watch)
        .map_err(ConsumeError::Thread)
}
