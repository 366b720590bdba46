//! The core of `consume`: decides what is written when, and what may be committed.
//!
//! Pure and synchronous: events in, effects out. No clock, no randomness, no I/O; time comes with events. Whoever drives
//! it (the pipeline, a test, a simulator) carries the effects out and answers with events. It has four small parts:
//! [`sensor`] folds records, [`cache`] holds the sensors in bounded memory, [`scheduler`] says what is written next, and
//! [`offsets`] knows up to where a partition is acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{
    DeadLetter, LedgerEntry, ProcessingConfig, Reading, Record, RecordBatch, SensorWrite, Source, WriteId,
};

mod cache;
mod offsets;
mod scheduler;
mod sensor;
mod start;
#[cfg(test)]
mod tests;

use cache::Cache;
use offsets::{Offsets, Ticket};
use scheduler::Scheduler;

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
    /// The broker acknowledged a dead letter of this partition and offset.
    DeadLettered { partition: i32, offset: i64 },
    /// The answer to [`Effect::AdvanceLedger`].
    LedgerAdvanced,
    /// The answer to [`Effect::Commit`]: whether the broker took it.
    Committed(bool),
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

/// Bounds and intervals.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Writes in flight, over all sensors.
    pub writes_in_flight: usize,
    /// Readings of one write.
    pub readings_per_write: usize,
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
    pub start: StartPolicy,
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
}

/// What is known of an assigned partition.
struct Partition {
    source: Source,
    offsets: Offsets,
    /// The ledger's position as this process last raised it.
    ledger_to: i64,
    /// The committed position as this process last set it.
    committed_to: Option<i64>,
    /// Where this assignment began.
    started_at: i64,
    /// Below this offset records were acknowledged before this assignment.
    redelivered_below: i64,
    revoked: bool,
}

/// The processor. One owner feeds it events; it never blocks.
pub struct Processor {
    settings: Settings,
    partitions: BTreeMap<i32, Partition>,
    /// Assigned, and waiting for the facts or for the ledger.
    starting: BTreeMap<i32, Option<(Source, i64)>>,
    cache: Cache,
    scheduler: Scheduler,
    dead_letters: HashMap<(i32, i64), (Ticket, usize)>,
    dead_letter_bytes: usize,
    next_write: u64,
    counters: Counters,
    last_commit_ms: i64,
    no_commit_before_ms: i64,
    ledger_flying: Option<Vec<(i32, i64)>>,
    commit_flying: Option<Vec<(i32, i64)>>,
    draining: bool,
    drained: bool,
}

impl Processor {
    pub fn new(settings: Settings) -> Processor {
        Processor {
            cache: Cache::new(settings.cache_bytes),
            scheduler: Scheduler::new(settings.writes_in_flight),
            settings,
            partitions: BTreeMap::new(),
            starting: BTreeMap::new(),
            dead_letters: HashMap::new(),
            dead_letter_bytes: 0,
            next_write: 0,
            counters: Counters::default(),
            last_commit_ms: i64::MIN,
            no_commit_before_ms: i64::MIN,
            ledger_flying: None,
            commit_flying: None,
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
            Event::Records(batch) => self.records(batch),
            Event::Revoked(partitions) => self.revoked(&partitions, effects),
            Event::Lost(partitions) => partitions
                .into_iter()
                .for_each(|partition| self.drop_partition(partition)),
            Event::Written(write) => self.written(&write),
            Event::DeadLettered { partition, offset } => self.dead_lettered(partition, offset),
            Event::LedgerAdvanced => self.ledger_advanced(effects),
            Event::Committed(taken) => self.commit_done(taken, now_ms),
            Event::Drain => self.draining = true,
            Event::Tick => {}
        }
        self.send_writes(now_ms, effects);
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
        effects.push(Effect::FindStarts(partitions));
    }

    fn start_found(&mut self, facts: StartFacts, effects: &mut Vec<Effect>) {
        if !self.starting.contains_key(&facts.partition) {
            return; // revoked while the facts were looked up
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
        let state = Partition {
            source,
            offsets: Offsets::starting_at(offset),
            ledger_to: acked_to,
            committed_to: None,
            started_at: offset,
            redelivered_below: acked_to,
            revoked: false,
        };
        self.partitions.insert(partition, state);
        effects.push(Effect::Start { partition, offset });
    }

    fn records(&mut self, batch: RecordBatch) {
        let RecordBatch {
            records,
            readings,
            dead,
        } = batch;
        let mut dead = dead.into_iter().peekable();
        for (index, record) in records.iter().enumerate() {
            while let Some((_, letter)) = dead.next_if(|(before, _)| *before <= index) {
                self.dead_letter(letter);
            }
            let readings = &readings[record.readings.start as usize..record.readings.end as usize];
            self.record(record, readings);
        }
        dead.for_each(|(_, letter)| self.dead_letter(letter));
    }

    fn record(&mut self, record: &Record, readings: &[Reading]) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else {
            return;
        };
        let Some(ticket) = partition.offsets.enter(record.offset) else {
            return;
        };
        self.counters.records += 1;
        self.counters.redelivered += u64::from(record.offset < partition.redelivered_below);
        let slot = self.cache.entry(record.partition, record.sensor);
        self.scheduler.add_pending(readings.len());
        let sensor = self.cache.get_mut(slot);
        sensor.fold(record, readings, ticket);
        if sensor.queue_if_ready() {
            self.scheduler.ready(slot);
        }
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        let Some(partition) = self.partitions.get_mut(&letter.partition) else {
            return;
        };
        let Some(ticket) = partition.offsets.enter(letter.offset) else {
            return;
        };
        self.counters.records += 1;
        self.counters.redelivered += u64::from(letter.offset < partition.redelivered_below);
        let size_bytes = letter.size_bytes() + DEAD_LETTER_OVERHEAD_BYTES;
        self.dead_letter_bytes += size_bytes;
        self.dead_letters
            .insert((letter.partition, letter.offset), (ticket, size_bytes));
        self.scheduler.dead_letter(letter);
    }

    fn send_writes(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        while let Some(slot) = self.scheduler.next() {
            let id = WriteId(self.next_write);
            self.next_write += 1;
            let next_sighting_ms = now_ms.saturating_add(self.settings.sighting_interval_ms);
            let readings = self.settings.readings_per_write;
            let write = self
                .cache
                .get_mut(slot)
                .take_write(id, readings, now_ms, next_sighting_ms);
            self.scheduler.sent(id, slot);
            effects.push(Effect::Write(write));
        }
    }

    fn send_dead_letters(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(
            self.scheduler
                .dead_letters()
                .map(|letter| Effect::SendDeadLetter(Box::new(letter))),
        );
    }

    fn written(&mut self, write: &SensorWrite) {
        self.counters.writes += 1;
        self.counters.readings_written += write.rows.len() as u64;
        self.scheduler.drop_pending(write.rows.len());
        let Some(slot) = self.scheduler.landed(write.id) else {
            return;
        };
        let sensor = self.cache.get_mut(slot);
        let tickets = sensor.landed();
        if sensor.is_abandoned() {
            // Its partition went away while the write flew: nothing to acknowledge, and nobody to keep it for.
            self.cache.free(slot);
            return;
        }
        if let Some(partition) = self.partitions.get_mut(&sensor.partition()) {
            tickets.iter().for_each(|ticket| partition.offsets.acknowledge(*ticket));
        }
        if sensor.queue_if_ready() {
            self.scheduler.ready(slot);
        }
    }

    fn dead_lettered(&mut self, partition: i32, offset: i64) {
        let Some((ticket, size_bytes)) = self.dead_letters.remove(&(partition, offset)) else {
            return;
        };
        self.counters.dead_letters += 1;
        self.dead_letter_bytes -= size_bytes;
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.offsets.acknowledge(ticket);
        }
    }

    /// First the ledger, then the offsets, one round at a time: about once an interval, at once when draining or
    /// releasing.
    fn commit(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.ledger_flying.is_some() || self.commit_flying.is_some() || now_ms < self.no_commit_before_ms {
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
        let raise: Vec<(Source, i64)> = advanced
            .iter()
            .filter_map(|(partition, to)| {
                let state = &self.partitions[partition];
                (*to > state.ledger_to).then(|| (state.source.clone(), *to))
            })
            .collect();
        if raise.is_empty() {
            effects.push(Effect::Commit(advanced.clone()));
            self.commit_flying = Some(advanced);
        } else {
            effects.push(Effect::AdvanceLedger(raise));
            self.ledger_flying = Some(advanced);
        }
    }

    fn ledger_advanced(&mut self, effects: &mut Vec<Effect>) {
        let Some(mut advanced) = self.ledger_flying.take() else {
            return;
        };
        // Partitions that went away meanwhile are somebody else's to commit.
        advanced.retain(|(partition, to)| match self.partitions.get_mut(partition) {
            Some(state) => {
                state.ledger_to = state.ledger_to.max(*to);
                true
            }
            None => false,
        });
        if !advanced.is_empty() {
            effects.push(Effect::Commit(advanced.clone()));
            self.commit_flying = Some(advanced);
        }
    }

    fn commit_done(&mut self, taken: bool, now_ms: i64) {
        let Some(advanced) = self.commit_flying.take() else {
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

    fn revoked(&mut self, partitions: &[i32], effects: &mut Vec<Effect>) {
        for partition in partitions {
            self.starting.remove(partition);
            if let Some(state) = self.partitions.get_mut(partition) {
                state.revoked = true;
            } else {
                // Never started: there is nothing to wait for, but the answer is owed.
                effects.push(Effect::Release(vec![*partition]));
            }
        }
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
        self.scheduler.drop_dead_letters(partition);
        let bytes = &mut self.dead_letter_bytes;
        self.dead_letters.retain(|(of, _), (_, size_bytes)| {
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
        if self.draining && !self.drained && self.partitions.values().all(Partition::is_settled) {
            self.drained = true;
            effects.push(Effect::Drained);
        }
    }
}

impl Partition {
    /// All that was polled is acknowledged and committed.
    fn is_settled(&self) -> bool {
        self.offsets.is_idle() && self.committed_to.is_some_and(|to| to >= self.offsets.acknowledged_to())
    }
}

/// Records behind the oldest that is not acknowledged, over all partitions (16 bytes each): one write that is retried for
/// long must not let the others run ahead without end.
const OUTSTANDING_RECORDS_MAX: usize = 1_000_000;

/// What a dead letter costs beside its bytes.
const DEAD_LETTER_OVERHEAD_BYTES: usize = 256;
