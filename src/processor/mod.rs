//! The core of `consume`: decides what is written when, and what may be committed.
//!
//! Pure and synchronous: events in, effects out. No clock, no randomness, no I/O; time comes with events. Whoever drives
//! it (the pipeline, a test, a simulator) carries the effects out and answers with events. It has four small parts:
//! [`sensor`] folds records (into [`cells`]: windows, and the state that [`detectors`] keep), [`cache`] holds the sensors in
//! bounded memory, [`scheduler`] says what is written next, and [`offsets`] knows up to where a partition is acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{
    AlertWrite, DeadLetter, LedgerEntry, Load, LoadId, Loaded, ProcessingConfig, Reading, Record, RecordBatch, Rule,
    SensorId, SensorWrite, Source, WindowCell, WindowKey, WriteId,
};

mod cache;
mod cells;
mod detectors;
mod offsets;
mod partition;
mod scheduler;
mod seen;
mod sensor;
#[cfg(test)]
mod simulator;
mod start;
mod state;
mod state_due;
mod teeth;
mod waiting;

use cache::{Cache, Slot};
use partition::{Partition, Round};
use scheduler::Scheduler;
use sensor::{Request, WriteTerms};
use teeth::Tooth;

/// A map that is asked several times a record. Its keys are numbers and random UUIDs; seeded at random, and nothing depends on
/// its order.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

pub use start::{OnDataLoss, Refusal, StartFacts, StartPolicy};

/// What the processor is told.
#[derive(Debug)]
pub enum Event {
    /// Partitions were assigned; nothing of them is polled before their [`Effect::Start`].
    Assigned(Vec<i32>),
    /// The answer to [`Effect::FindStarts`].
    StartsFound(Vec<StartFacts>),
    /// The answer to [`Effect::OpenLedger`]: the row that holds now.
    LedgerOpened(LedgerEntry),
    /// Records of started partitions, in offset order within each.
    Records(RecordBatch),
    /// The group takes partitions back: they are answered by [`Effect::Release`] once all of them is committed.
    Revoked(Vec<i32>),
    /// Partitions are somebody else's already: dropped, never committed.
    Lost(Vec<i32>),
    /// The store acknowledged a write, which is handed back.
    Written(Box<SensorWrite>),
    /// The answer to [`Effect::Load`].
    Loaded(Box<Loaded>),
    /// The store and the broker acknowledged [`Effect::WriteAlerts`].
    AlertsWritten(WriteId),
    /// The broker acknowledged [`Effect::Publish`].
    Published,
    /// The broker acknowledged a dead letter of this partition and offset.
    DeadLettered { partition: i32, offset: i64 },
    /// The answer to [`Effect::AdvanceLedger`].
    LedgerAdvanced,
    /// The answer to [`Effect::Commit`]: whether the broker took it.
    Committed(bool),
    /// All that there is was polled, and somebody waits for its offsets: states are written now and wait for no write to take
    /// them along, until records come again.
    CaughtUp,
    /// Nothing will be polled any more: answered by [`Effect::Drained`] once all is acknowledged and committed.
    Drain,
    /// Time passes.
    Tick,
}

/// What the processor wants done.
#[derive(PartialEq, Debug)]
pub enum Effect {
    /// Ask the broker and the ledger where these partitions may start.
    FindStarts(Vec<i32>),
    /// Enter a source that was never folded.
    OpenLedger(LedgerEntry),
    /// Poll this partition from this offset on.
    Start {
        partition: i32,
        offset: i64,
    },
    /// A hole in what was processed was accepted: to be kept, and told to a person.
    HoleAccepted {
        source: Source,
        detail: String,
    },
    /// Stop: going on would pass off a partial result as whole.
    Refuse(Refusal),
    Write(Box<SensorWrite>),
    /// Read cells of a sensor that its records need.
    Load(Box<Load>),
    /// Write alerts to the store and to their topic: answered once both are acknowledged.
    WriteAlerts(Box<AlertWrite>),
    /// Send the windows that changed since the last commit to the analytics topic.
    Publish(Vec<ChangedWindow>),
    SendDeadLetter(Box<DeadLetter>),
    /// Raise the ledger before the offsets: a committed offset beyond the ledger would look like a hole.
    AdvanceLedger(Vec<(Source, i64)>),
    /// Commit these positions, by partition.
    Commit(Vec<(i32, i64)>),
    /// All of these partitions is acknowledged and committed: let go of them.
    Release(Vec<i32>),
    /// All is acknowledged and committed.
    Drained,
}

/// A window as it stands, for the analytics topic.
#[derive(Clone, PartialEq, Debug)]
pub struct ChangedWindow {
    pub sensor: SensorId,
    pub source: Arc<Source>,
    pub cell: WindowCell,
}

/// Bounds and intervals.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Writes in flight, over all sensors.
    pub writes_in_flight: usize,
    /// Readings of writes in flight: with so many no further write is sent.
    pub readings_in_flight: usize,
    /// Readings of one write.
    pub readings_per_write: usize,
    /// With so many writes in flight the store is busy: a sensor that was just written collects for [`Settings::rest_ms`] before it is
    /// written again, unless a write is full, something waits for it, or there is little room for what collects meanwhile. Each write
    /// has its price, whatever it carries. And windows wait for their sensor's state.
    pub busy_writes: usize,
    pub rest_ms: i64,
    /// Readings that wait for a write: above it no more records are wanted.
    pub pending_readings: usize,
    /// Bytes of dead letters on their way: above it no more records are wanted.
    pub pending_dead_letter_bytes: usize,
    /// Bytes that the sensors may take (an estimate of the process's own).
    pub cache_bytes: usize,
    /// Between two commits.
    pub commit_interval_ms: i64,
    /// Between two sightings of a sensor that say nothing of a new day.
    pub sighting_interval_ms: i64,
    /// Loads in flight, over all sensors.
    pub loads_in_flight: usize,
    /// The longest that one sensor's state, and while the store is busy its windows, wait for a write to take them along; its
    /// offsets wait for it. 0: with every write.
    pub state_interval_ms: i64,
    /// Windows that changed go to the analytics topic.
    pub analytics: bool,
    pub rules: Arc<Vec<Rule>>,
    pub start: StartPolicy,
    /// Also says which windows there are, and whether rules judge.
    pub processing: ProcessingConfig,
    pub topic: Arc<str>,
}

/// Running totals, for people.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Records taken in, dead ones included.
    pub records: u64,
    /// Readings acknowledged by the store.
    pub readings_written: u64,
    /// Writes acknowledged by the store.
    pub writes: u64,
    /// Records that went to the dead-letter topic, acknowledged.
    pub dead_letters: u64,
    /// Records that lie below the ledger's `acked_to`: processed once more after a crash or a reset.
    pub redelivered: u64,
    /// Cells of windows acknowledged by the store.
    pub windows_written: u64,
    /// Cells of sensors' states acknowledged by the store.
    pub states_written: u64,
    /// Reads of cells that were answered.
    pub loads: u64,
    /// Changes of alerts that were sent.
    pub alerts: u64,
}

/// What the folding of a record depends on beside the record.
#[derive(Debug)]
struct Folding {
    window_sizes_s: Vec<u32>,
    detects: bool,
    /// Sorted by name.
    rules: Vec<Rule>,
    /// Windows that hold a record already are written (and so published) again when it comes again.
    rewrites_windows: bool,
}

impl Folding {
    fn new(settings: &Settings) -> Folding {
        let mut rules = settings.rules.to_vec();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        Folding {
            window_sizes_s: settings.processing.window_sizes_s.clone(),
            detects: settings.processing.alerts,
            rules,
            rewrites_windows: settings.analytics,
        }
    }

    /// Without windows and alerts there is nothing to keep, to load or to fold.
    fn keeps_cells(&self) -> bool {
        self.detects || !self.window_sizes_s.is_empty()
    }
}

/// The processor. One owner feeds it events; it never blocks.
pub struct Processor {
    settings: Settings,
    partitions: BTreeMap<i32, Partition>,
    /// Assigned, and waiting for the facts or for the ledger.
    starting: BTreeMap<i32, Option<(Source, i64)>>,
    /// Partitions whose facts are being looked up; `true` where that was for an earlier assignment, so that the answer may
    /// be about a topic that is no more.
    looking_up: BTreeMap<i32, bool>,
    folding: Folding,
    cache: Cache,
    scheduler: Scheduler,
    /// Those on their way: partition, offset, and the bytes that each takes.
    dead_letters: HashMap<(i32, i64), usize>,
    dead_letter_bytes: usize,
    next_write: u64,
    next_load: u64,
    counters: Counters,
    last_commit_ms: i64,
    no_commit_before_ms: i64,
    round: Round,
    caught_up: bool,
    draining: bool,
    drained: bool,
}

impl Processor {
    pub fn new(settings: Settings) -> Processor {
        Processor {
            cache: Cache::new(settings.cache_bytes),
            scheduler: Scheduler::new(
                settings.writes_in_flight,
                settings.readings_in_flight,
                settings.loads_in_flight,
            ),
            folding: Folding::new(&settings),
            settings,
            partitions: BTreeMap::new(),
            starting: BTreeMap::new(),
            looking_up: BTreeMap::new(),
            dead_letters: HashMap::new(),
            dead_letter_bytes: 0,
            next_write: 0,
            next_load: 0,
            counters: Counters::default(),
            last_commit_ms: i64::MIN,
            no_commit_before_ms: i64::MIN,
            round: Round::Idle,
            caught_up: false,
            draining: false,
            drained: false,
        }
    }

    /// Whether there is room for another batch. Without it the driver keeps records waiting; all other events are taken
    /// at any time.
    pub fn wants_records(&self) -> bool {
        self.scheduler.pending_readings() < self.settings.pending_readings
            && self.dead_letter_bytes < self.settings.pending_dead_letter_bytes
            && self
                .partitions
                .values()
                .map(|state| state.offsets.outstanding())
                .sum::<usize>()
                < OUTSTANDING_RECORDS_MAX
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sensors that had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.cache.evicted()
    }

    pub fn writes_in_flight(&self) -> usize {
        self.scheduler.in_flight()
    }

    /// Partitions that are this process's, started or about to.
    pub fn owned(&self) -> usize {
        self.starting.len() + self.partitions.values().filter(|state| !state.revoked).count()
    }

    pub fn pending_readings(&self) -> usize {
        self.scheduler.pending_readings()
    }

    /// Committed positions of the partitions that are owned, for telling the lag.
    pub fn committed(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        let owned = self.partitions.iter().filter(|(_, state)| !state.revoked);
        owned.map(|(partition, state)| (*partition, state.committed_to.unwrap_or(state.started_at)))
    }

    /// Takes one event at `now_ms` (any steady clock, milliseconds) and appends what is to be done.
    pub fn handle(&mut self, event: Event, now_ms: i64, effects: &mut Vec<Effect>) {
        match event {
            Event::Assigned(partitions) => self.assigned(partitions, effects),
            Event::StartsFound(facts) => facts.into_iter().for_each(|facts| self.start_found(facts, effects)),
            Event::LedgerOpened(entry) => self.ledger_opened(&entry, effects),
            Event::Records(batch) => self.records(batch, now_ms),
            Event::Revoked(partitions) => self.revoked(&partitions, now_ms, effects),
            Event::Lost(partitions) => partitions
                .into_iter()
                .for_each(|partition| self.drop_partition(partition)),
            Event::Written(write) => self.written(&write, now_ms),
            Event::Loaded(loaded) => self.loaded(*loaded, now_ms, effects),
            Event::AlertsWritten(id) => self.alerts_written(id, now_ms),
            Event::Published => self.published(effects),
            Event::DeadLettered { partition, offset } => self.dead_lettered(partition, offset),
            Event::LedgerAdvanced => self.ledger_advanced(effects),
            Event::Committed(taken) => self.commit_done(taken, now_ms),
            Event::CaughtUp => self.caught_up(now_ms),
            Event::Drain => self.drain(now_ms),
            Event::Tick => {}
        }
        self.wake_rested(now_ms);
        self.write_due_states(now_ms);
        self.send_writes(now_ms, effects);
        self.send_loads(effects);
        self.send_dead_letters(effects);
        self.commit(now_ms, effects);
        self.release(effects);
        self.finish_drain(effects);
    }

    fn assigned(&mut self, partitions: Vec<i32>, effects: &mut Vec<Effect>) {
        for &partition in &partitions {
            // Assigned again without having been revoked: what is known of it may be of another life.
            self.drop_partition(partition);
            self.starting.insert(partition, None);
        }
        self.find_starts(partitions, effects);
    }

    /// One look-up of a partition is in flight at a time, so that it is plain which assignment an answer is for.
    fn find_starts(&mut self, mut partitions: Vec<i32>, effects: &mut Vec<Effect>) {
        partitions.retain(|partition| match self.looking_up.get_mut(partition) {
            Some(is_outdated) => {
                *is_outdated = true;
                false
            }
            None => self.looking_up.insert(*partition, false).is_none(),
        });
        if !partitions.is_empty() {
            effects.push(Effect::FindStarts(partitions));
        }
    }

    fn start_found(&mut self, facts: StartFacts, effects: &mut Vec<Effect>) {
        let is_outdated = self.looking_up.remove(&facts.partition) == Some(true);
        if !self.starting.contains_key(&facts.partition) {
            return; // revoked while the facts were looked up
        }
        if is_outdated {
            return self.find_starts(vec![facts.partition], effects);
        }
        let source = Source {
            topic: self.settings.topic.clone(),
            topic_id: facts.topic_id,
            partition: facts.partition,
        };
        match start::decide(&facts, &source, &self.settings.start, &self.settings.processing) {
            Err(refusal) => effects.push(Effect::Refuse(refusal)),
            Ok(decision) => {
                if let Some(detail) = decision.hole {
                    effects.push(Effect::HoleAccepted {
                        source: source.clone(),
                        detail,
                    });
                }
                match facts.ledger {
                    Some(entry) => self.start(source, decision.offset, entry.acked_to, effects),
                    None => {
                        self.starting
                            .insert(facts.partition, Some((source.clone(), decision.offset)));
                        effects.push(Effect::OpenLedger(LedgerEntry {
                            source,
                            from: decision.offset,
                            acked_to: decision.offset,
                            processing: self.settings.processing.clone(),
                        }));
                    }
                }
            }
        }
    }

    fn ledger_opened(&mut self, entry: &LedgerEntry, effects: &mut Vec<Effect>) {
        let Some(Some((source, offset))) = self.starting.get(&entry.source.partition).cloned() else {
            return;
        };
        if source != entry.source {
            return; // an answer from an earlier assignment, of another topic
        }
        // Somebody else may have entered the source first: what it entered is judged like any row that was found.
        match start::check_entry(entry, &source, offset, &self.settings.start, &self.settings.processing) {
            Err(refusal) => effects.push(Effect::Refuse(refusal)),
            Ok(hole) => {
                if let Some(detail) = hole {
                    effects.push(Effect::HoleAccepted {
                        source: source.clone(),
                        detail,
                    });
                }
                self.start(source, offset, entry.acked_to, effects);
            }
        }
    }

    fn start(&mut self, source: Source, offset: i64, acked_to: i64, effects: &mut Vec<Effect>) {
        let partition = source.partition;
        self.starting.remove(&partition);
        self.partitions
            .insert(partition, Partition::new(source, offset, acked_to));
        effects.push(Effect::Start { partition, offset });
    }

    fn records(&mut self, batch: RecordBatch, now_ms: i64) {
        let RecordBatch {
            records,
            readings,
            dead,
        } = batch;
        self.caught_up = false;
        let mut dead = dead.into_iter().peekable();
        let mut readings = readings.into_iter();
        for (index, record) in records.iter().enumerate() {
            while let Some((_, letter)) = dead.next_if(|(before, _)| *before <= index) {
                self.dead_letter(letter);
            }
            // They lie one record's after the other's. Moved, not cloned: two threads that count a name's references at the
            // same time cost more than all the rest of it.
            let mut of_record = readings.by_ref().take(record.readings.len());
            self.record(record, &mut of_record, now_ms);
            of_record.for_each(drop);
        }
        dead.for_each(|(_, letter)| self.dead_letter(letter));
    }

    fn record(&mut self, record: &Record, readings: &mut impl ExactSizeIterator<Item = Reading>, now_ms: i64) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else {
            return;
        };
        if !partition.offsets.enter(record.offset) {
            return;
        }
        self.counters.records += 1;
        self.counters.redelivered += u64::from(record.offset < partition.redelivered_below);
        let slot = self.cache.entry(record.partition, record.sensor, &partition.source);
        self.scheduler.add_pending(readings.len());
        self.cache.get_mut(slot).take(record, readings);
        self.advance(slot, now_ms);
    }

    /// Folds what can be folded of a sensor, and queues it for what it needs next.
    fn advance(&mut self, slot: Slot, now_ms: i64) {
        let state_now = self.is_state_wanted_now(slot);
        let sensor = self.cache.get_mut(slot);
        if sensor.fold(&self.folding) {
            self.scheduler.needs_load(slot);
        }
        let interval_ms = self.settings.sighting_interval_ms;
        if sensor.queue_if_ready(now_ms, state_now, self.settings.readings_per_write)
            || (self.draining && sensor.queue_if_behind(interval_ms))
        {
            self.scheduler.ready(slot);
        } else if let Some(at_ms) = sensor.defer() {
            self.scheduler.defer(at_ms, slot);
        }
    }

    /// Whether somebody waits for the sensor's offsets, or for its memory.
    fn is_state_wanted_now(&mut self, slot: Slot) -> bool {
        let partition = self.partitions.get(&self.cache.get_mut(slot).partition());
        self.draining
            || self.caught_up
            || partition.is_some_and(|partition| partition.revoked)
            || self.cache.is_over_bound()
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        let Some(partition) = self.partitions.get_mut(&letter.partition) else {
            return;
        };
        if !partition.offsets.enter(letter.offset) {
            return;
        }
        self.counters.records += 1;
        self.counters.redelivered += u64::from(letter.offset < partition.redelivered_below);
        let size_bytes = letter.size_bytes() + DEAD_LETTER_OVERHEAD_BYTES;
        self.dead_letter_bytes += size_bytes;
        self.dead_letters.insert((letter.partition, letter.offset), size_bytes);
        self.scheduler.dead_letter(letter);
    }

    fn send_writes(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        while let Some(slot) = self.scheduler.next() {
            self.send_next(slot, now_ms, effects);
            if teeth::is_out(Tooth::OutputsBeforeState) {
                let sensor = self.cache.get_mut(slot);
                if sensor.alerts_out() {
                    self.send_next(slot, now_ms, effects);
                }
            }
        }
    }

    fn send_next(&mut self, slot: Slot, now_ms: i64, effects: &mut Vec<Effect>) {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        let terms = WriteTerms {
            readings_max: self.settings.readings_per_write,
            now_ms,
            sighting_interval_ms: self.settings.sighting_interval_ms,
            state_interval_ms: self.settings.state_interval_ms,
            state_now: self.is_state_wanted_now(slot),
            is_busy: self.is_store_busy(),
            is_last: self.draining,
        };
        let sensor = self.cache.get_mut(slot);
        let request = sensor.take_request(id, &terms);
        self.scheduler.sent(id, slot, sensor.readings_in_flight());
        match request {
            Request::Alerts(alerts) => {
                self.counters.alerts += alerts.changes.len() as u64;
                effects.push(Effect::WriteAlerts(alerts));
            }
            Request::Write(write) => {
                if teeth::is_out(Tooth::OffsetsLast)
                    && let Some(partition) = self.partitions.get_mut(&sensor.partition())
                {
                    sensor
                        .flying_offsets()
                        .for_each(|offset| partition.offsets.acknowledge(offset));
                }
                effects.push(Effect::Write(write));
                // While it flies, what waited behind its alerts is folded.
                self.advance(slot, now_ms);
            }
        }
    }

    fn send_loads(&mut self, effects: &mut Vec<Effect>) {
        while let Some(slot) = self.scheduler.next_load() {
            let id = LoadId(self.next_load);
            self.next_load += 1;
            if let Some(load) = self.cache.get_mut(slot).take_load(id, &self.folding) {
                self.scheduler.load_sent(id, slot);
                effects.push(Effect::Load(load));
            }
        }
    }

    fn loaded(&mut self, loaded: Loaded, now_ms: i64, effects: &mut Vec<Effect>) {
        self.counters.loads += 1;
        let Some(slot) = self.scheduler.loaded(loaded.id) else {
            return;
        };
        let sensor = self.cache.get_mut(slot);
        if let Err(why) = sensor.loaded(loaded, now_ms, self.settings.sighting_interval_ms) {
            let (partition, id) = sensor.key();
            effects.push(Effect::Refuse(Refusal(format!(
                "the state of sensor {id} (partition {partition}) cannot be read: {why}: it was written by another version of \
                 iotpipe, or by somebody else"
            ))));
            return;
        }
        self.cache.count(slot);
        self.advance(slot, now_ms);
    }

    /// Sensors that got no more records still owe their state, so that their offsets can be committed. Where memory is
    /// short they owe it now: what owes nothing can be evicted.
    fn write_due_states(&mut self, now_ms: i64) {
        let is_short = self.cache.is_over_bound();
        self.write_states_until(if is_short { i64::MAX } else { now_ms }, now_ms);
    }

    /// Looks at each deferred sensor once whose time comes by `until_ms`.
    fn write_states_until(&mut self, until_ms: i64, now_ms: i64) {
        for _ in 0..self.scheduler.deferred() {
            let Some(slot) = self.scheduler.next_due(until_ms) else {
                break;
            };
            self.cache.get_mut(slot).undefer();
            self.advance(slot, now_ms);
        }
    }

    fn send_dead_letters(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(
            self.scheduler
                .dead_letters()
                .map(|letter| Effect::SendDeadLetter(Box::new(letter))),
        );
    }

    fn written(&mut self, write: &SensorWrite, now_ms: i64) {
        self.counters.writes += 1;
        self.counters.readings_written += write.rows.len() as u64;
        self.counters.windows_written += write.windows.len() as u64;
        self.counters.states_written += u64::from(write.state.is_some());
        let Some(slot) = self.scheduler.landed(write.id) else {
            return;
        };
        let sensor = self.cache.get_mut(slot);
        self.scheduler.drop_pending(sensor.readings_in_flight());
        let mut done = Vec::new();
        sensor.landed(&self.folding, &mut done);
        if sensor.is_abandoned() {
            self.free_abandoned(slot);
            return;
        }
        if let Some(partition) = self.partitions.get_mut(&sensor.partition()) {
            done.iter().for_each(|offset| partition.offsets.acknowledge(*offset));
            if self.settings.analytics {
                partition.note_changed(write);
            }
        }
        let has_room = self.scheduler.pending_readings() < self.settings.pending_readings / 2;
        if self.is_store_busy() && has_room && self.cache.get_mut(slot).rest() {
            let until_ms = now_ms.saturating_add(self.settings.rest_ms);
            self.scheduler.rest(until_ms, slot);
        }
        self.cache.count(slot);
        self.advance(slot, now_ms);
    }

    fn is_store_busy(&self) -> bool {
        self.scheduler.in_flight() >= self.settings.busy_writes
    }

    fn wake_rested(&mut self, now_ms: i64) {
        while let Some(slot) = self.scheduler.next_rested(now_ms) {
            self.cache.get_mut(slot).rested();
            self.advance(slot, now_ms);
        }
    }

    fn alerts_written(&mut self, id: WriteId, now_ms: i64) {
        let Some(slot) = self.scheduler.landed(id) else {
            return;
        };
        let sensor = self.cache.get_mut(slot);
        sensor.alerts_out();
        if sensor.is_abandoned() {
            self.free_abandoned(slot);
        } else {
            self.advance(slot, now_ms);
        }
    }

    /// Its partition went away while something of it flew: nothing to acknowledge, and nobody to keep it for.
    fn free_abandoned(&mut self, slot: Slot) {
        if !self.cache.get_mut(slot).in_flight() {
            self.cache.free(slot);
        }
    }

    fn dead_lettered(&mut self, partition: i32, offset: i64) {
        let Some(size_bytes) = self.dead_letters.remove(&(partition, offset)) else {
            return;
        };
        self.counters.dead_letters += 1;
        self.dead_letter_bytes -= size_bytes;
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.offsets.acknowledge(offset);
        }
    }

    /// What changed is published, then the ledger is raised, then the offsets are committed, one round at a time: about
    /// once an interval, at once when draining or releasing.
    fn commit(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if !matches!(self.round, Round::Idle) || now_ms < self.no_commit_before_ms {
            return;
        }
        let due = now_ms >= self.last_commit_ms.saturating_add(self.settings.commit_interval_ms);
        let leaving = |state: &Partition| (self.draining || state.revoked) && state.offsets.is_idle();
        let advanced: Vec<(i32, i64)> = self
            .partitions
            .iter()
            .filter(|(_, state)| due || leaving(state))
            .filter_map(|(partition, state)| {
                let to = state.offsets.acknowledged_to();
                (state.committed_to.is_none_or(|committed| to > committed)).then_some((*partition, to))
            })
            .collect();
        if due {
            self.last_commit_ms = now_ms;
        }
        if advanced.is_empty() {
            return;
        }
        let mut changed = Vec::new();
        for (partition, _) in &advanced {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.take_changed(&mut changed);
            }
        }
        if changed.is_empty() {
            self.raise_ledger(advanced, effects);
        } else {
            effects.push(Effect::Publish(changed));
            self.round = Round::Publishing(advanced);
        }
    }

    fn published(&mut self, effects: &mut Vec<Effect>) {
        if let Round::Publishing(advanced) = std::mem::replace(&mut self.round, Round::Idle) {
            self.raise_ledger(advanced, effects);
        }
    }

    fn raise_ledger(&mut self, advanced: Vec<(i32, i64)>, effects: &mut Vec<Effect>) {
        let raise: Vec<(Source, i64)> = advanced
            .iter()
            .filter_map(|(partition, to)| {
                let state = self.partitions.get(partition)?;
                (*to > state.ledger_to).then(|| (Source::clone(&state.source), *to))
            })
            .collect();
        if raise.is_empty() {
            self.commit_offsets(advanced, effects);
        } else {
            effects.push(Effect::AdvanceLedger(raise));
            self.round = Round::Ledger(advanced);
        }
    }

    fn ledger_advanced(&mut self, effects: &mut Vec<Effect>) {
        let Round::Ledger(advanced) = std::mem::replace(&mut self.round, Round::Idle) else {
            return;
        };
        for (partition, to) in &advanced {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.ledger_to = state.ledger_to.max(*to);
            }
        }
        self.commit_offsets(advanced, effects);
    }

    fn commit_offsets(&mut self, advanced: Vec<(i32, i64)>, effects: &mut Vec<Effect>) {
        if !advanced.is_empty() {
            effects.push(Effect::Commit(advanced.clone()));
            self.round = Round::Committing(advanced);
        }
    }

    fn commit_done(&mut self, taken: bool, now_ms: i64) {
        let Round::Committing(advanced) = std::mem::replace(&mut self.round, Round::Idle) else {
            return;
        };
        if !taken {
            // The next round commits the same or more, after a pause also when somebody waits for it.
            self.no_commit_before_ms = now_ms.saturating_add(self.settings.commit_interval_ms);
            return;
        }
        for (partition, to) in advanced {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.committed_to = state.committed_to.max(Some(to));
            }
        }
    }

    fn caught_up(&mut self, now_ms: i64) {
        self.caught_up = true;
        self.write_states_until(i64::MAX, now_ms);
    }

    /// Every sensor is looked at once more: its state may be owed, and the directory may lag behind it.
    fn drain(&mut self, now_ms: i64) {
        self.draining = true;
        self.write_states_until(i64::MAX, now_ms);
        for slot in self.cache.slots() {
            self.advance(slot, now_ms);
        }
    }

    fn revoked(&mut self, partitions: &[i32], now_ms: i64, effects: &mut Vec<Effect>) {
        for partition in partitions {
            self.starting.remove(partition);
            if let Some(state) = self.partitions.get_mut(partition) {
                state.revoked = true;
            } else {
                // Never started: there is nothing to wait for, but the answer is owed.
                effects.push(Effect::Release(vec![*partition]));
            }
        }
        self.write_states_until(i64::MAX, now_ms);
    }

    /// Lets go of revoked partitions of which all is acknowledged and committed. One whose offsets cannot be committed
    /// stays until it is lost: the next owner processes a little again, which changes nothing.
    fn release(&mut self, effects: &mut Vec<Effect>) {
        let done = |state: &Partition| state.revoked && state.is_settled();
        let done: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, state)| done(state))
            .map(|(p, _)| *p)
            .collect();
        if !done.is_empty() {
            done.iter().for_each(|partition| self.drop_partition(*partition));
            effects.push(Effect::Release(done));
        }
    }

    /// Forgets all of a partition; what is in flight lands later and means nothing.
    fn drop_partition(&mut self, partition: i32) {
        self.starting.remove(&partition);
        if self.partitions.remove(&partition).is_none() {
            return;
        }
        self.round.forget(partition);
        self.scheduler.drop_dead_letters(partition);
        let bytes = &mut self.dead_letter_bytes;
        self.dead_letters.retain(|(of, _), size_bytes| {
            let keep = *of != partition;
            if !keep {
                *bytes -= *size_bytes;
            }
            keep
        });
        let dropped = self.cache.drop_partition(partition);
        self.scheduler.forget(&dropped.slots);
        self.scheduler.drop_pending(dropped.pending_readings);
    }

    fn finish_drain(&mut self, effects: &mut Vec<Effect>) {
        let is_settled = self.partitions.values().all(Partition::is_settled) && self.scheduler.is_idle();
        if self.draining && !self.drained && is_settled {
            self.drained = true;
            effects.push(Effect::Drained);
        }
    }
}

/// Records behind the oldest that is not acknowledged, over all partitions (some ten bytes each): one write that is retried for
/// long must not let the others run ahead without end.
const OUTSTANDING_RECORDS_MAX: usize = 1_000_000;

/// What a dead letter costs beside its bytes.
const DEAD_LETTER_OVERHEAD_BYTES: usize = 256;
