//! The processor against a model of the log, the group and the store, by seed: crashes at any point, lost and reordered
//! acknowledgements, rebalances in the middle of writes, resets of the group. Whatever happens, at the end every record is
//! stored or dead-lettered, and no offset was ever committed past a record that is neither.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Rng;

use super::*;
use crate::model::{Kind, Reason, SensorId, TimeMs, TopicId};

const TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(7));

fn settings() -> Settings {
    Settings {
        writes_in_flight: 3,
        readings_per_write: 4,
        pending_readings: 20,
        pending_dead_letter_bytes: 2_000,
        cache_bytes: 3_000,
        commit_interval_ms: 50,
        sighting_interval_ms: 1_000,
        start: StartPolicy {
            latest: false,
            on_data_loss: OnDataLoss::Refuse,
        },
        processing: ProcessingConfig {
            window_sizes_s: vec![],
            alerts: false,
            id_fields: vec![],
            time_fields: vec![],
            ignored_fields: vec![],
        },
        topic: Arc::from("t"),
    }
}

/// One record of the log: a dead letter, or readings of a sensor.
#[derive(Clone, Debug)]
enum Entry {
    Dead,
    Readings {
        sensor: u128,
        time: TimeMs,
        values: Vec<f64>,
    },
}

/// What outlives a crash.
#[derive(Default)]
struct World {
    log: BTreeMap<i32, BTreeMap<i64, Entry>>,
    committed: BTreeMap<i32, i64>,
    ledger: BTreeMap<i32, LedgerEntry>,
    stored: BTreeSet<(u128, i64, String, u64)>,
    days: BTreeMap<u128, (i32, i32)>,
    dead: BTreeSet<(i32, i64)>,
}

impl World {
    fn new(rng: &mut Rng) -> World {
        let mut world = World::default();
        for partition in 0..rng.random_range(1..4) {
            let mut offset = rng.random_range(0..5);
            let mut entries = BTreeMap::new();
            for _ in 0..rng.random_range(0..60) {
                offset += if rng.random_bool(0.1) {
                    rng.random_range(1..4)
                } else {
                    1
                }; // gaps
                let entry = match rng.random_bool(0.1) {
                    true => Entry::Dead,
                    false => Entry::Readings {
                        sensor: u128::from(rng.random_range(0..6u32)) + 10 * partition as u128,
                        time: TimeMs(rng.random_range(0..5) * crate::model::MILLIS_PER_DAY + rng.random_range(0..1000)),
                        values: (0..rng.random_range(1..7)).map(f64::from).collect(),
                    },
                };
                entries.insert(offset, entry);
            }
            world.log.insert(partition, entries);
        }
        world
    }

    fn low(&self, partition: i32) -> i64 {
        self.log[&partition].keys().next().copied().unwrap_or(0)
    }

    fn high(&self, partition: i32) -> i64 {
        self.log[&partition].keys().last().map_or(0, |offset| offset + 1)
    }

    fn apply(&mut self, write: &SensorWrite) {
        for row in &write.rows {
            self.stored.insert((
                write.sensor.0.as_u128(),
                row.time.0,
                row.kind.to_string(),
                row.value.to_bits(),
            ));
        }
        if let Some(sighting) = &write.sighting {
            let days = self
                .days
                .entry(write.sensor.0.as_u128())
                .or_insert((i32::MAX, i32::MIN));
            *days = (days.0.min(sighting.first_day.0), days.1.max(sighting.last_day.0));
        }
    }

    /// The invariant: whatever lies below a committed offset is in the store, or is a dead letter that was delivered.
    fn check(&self, partition: i32, below: i64) {
        for (offset, entry) in self.log[&partition].range(..below) {
            match entry {
                Entry::Dead => assert!(
                    self.dead.contains(&(partition, *offset)),
                    "dead letter {partition}/{offset}"
                ),
                Entry::Readings { sensor, time, values } => {
                    for (index, value) in values.iter().enumerate() {
                        let row = (*sensor, time.0, format!("k{index}"), value.to_bits());
                        assert!(
                            self.stored.contains(&row),
                            "committed, not stored: {partition}/{offset} {row:?}"
                        );
                    }
                    let day = time.day().0;
                    let (first, last) = self.days.get(sensor).copied().unwrap_or((i32::MAX, i32::MIN));
                    assert!(
                        (first..=last).contains(&day),
                        "committed, but the directory has no day {day} of {sensor}"
                    );
                }
            }
        }
    }
}

/// One life of a process.
struct Life {
    processor: Processor,
    now_ms: i64,
    positions: BTreeMap<i32, i64>,
    in_flight: Vec<SensorWrite>,
    flying: HashSet<(i32, SensorId)>,
    letters: VecDeque<(i32, i64)>,
    /// Answers on their way, in order.
    answers: VecDeque<Event>,
    drained: bool,
}

impl Life {
    fn new() -> Life {
        Life {
            processor: Processor::new(settings()),
            now_ms: 0,
            positions: BTreeMap::new(),
            in_flight: Vec::new(),
            flying: HashSet::new(),
            letters: VecDeque::new(),
            answers: VecDeque::new(),
            drained: false,
        }
    }

    fn handle(&mut self, event: Event, world: &mut World) {
        let mut effects = Vec::new();
        self.processor.handle(event, self.now_ms, &mut effects);
        for effect in effects {
            self.carry_out(effect, world);
        }
        assert!(self.in_flight.len() <= settings().writes_in_flight);
    }

    fn carry_out(&mut self, effect: Effect, world: &mut World) {
        match effect {
            Effect::FindStarts(partitions) => {
                let facts = partitions.into_iter().map(|partition| StartFacts {
                    partition,
                    topic_id: TOPIC_ID,
                    committed: world.committed.get(&partition).copied(),
                    low: world.low(partition),
                    high: world.high(partition),
                    ledger: world.ledger.get(&partition).cloned(),
                });
                self.answers.push_back(Event::StartsFound(facts.collect()));
            }
            Effect::OpenLedger(entry) => {
                let row = world.ledger.entry(entry.source.partition).or_insert(entry).clone();
                self.answers.push_back(Event::LedgerOpened(row));
            }
            Effect::Start { partition, offset } => {
                self.positions.insert(partition, offset);
            }
            Effect::Write(write) => {
                assert!(
                    self.flying.insert((write.partition, write.sensor)),
                    "two writes of one sensor in flight"
                );
                assert!(!write.rows.is_empty());
                self.in_flight.push(*write);
            }
            Effect::SendDeadLetter(letter) => self.letters.push_back((letter.partition, letter.offset)),
            Effect::AdvanceLedger(positions) => {
                for (source, to) in positions {
                    let row = world
                        .ledger
                        .get_mut(&source.partition)
                        .expect("entered before it is raised");
                    row.acked_to = row.acked_to.max(to);
                }
                self.answers.push_back(Event::LedgerAdvanced);
            }
            Effect::Commit(positions) => {
                for (partition, to) in positions {
                    world.check(partition, to);
                    assert!(to <= world.ledger[&partition].acked_to, "committed past the ledger");
                    world.committed.insert(partition, to);
                }
                self.answers.push_back(Event::Committed(true));
            }
            Effect::Release(partitions) => partitions.iter().for_each(|partition| {
                self.positions.remove(partition);
            }),
            Effect::HoleAccepted { detail, .. } => panic!("no hole was made: {detail}"),
            Effect::Refuse(refusal) => panic!("refused: {refusal}"),
            Effect::Drained => self.drained = true,
        }
    }

    /// Polls a few records of one partition, if there is room.
    fn poll(&mut self, rng: &mut Rng, world: &mut World) {
        if !self.processor.wants_records() || self.positions.is_empty() {
            return;
        }
        let index = rng.random_range(0..self.positions.len());
        let (&partition, &position) = self.positions.iter().nth(index).expect("within");
        let mut batch = RecordBatch::default();
        let entries = world.log[&partition].range(position..).take(rng.random_range(1..6));
        for (&offset, entry) in entries {
            self.positions.insert(partition, offset + 1);
            match entry {
                Entry::Dead => {
                    let letter = DeadLetter {
                        partition,
                        offset,
                        timestamp: TimeMs(0),
                        reason: Reason::InvalidJson,
                        detail: String::new(),
                        key: None,
                        payload: Some(vec![0; 100]),
                        headers: vec![],
                    };
                    batch.dead.push((batch.records.len(), letter));
                }
                Entry::Readings { sensor, time, values } => {
                    let start = batch.readings.len() as u32;
                    let named = values.iter().enumerate();
                    batch.readings.extend(named.map(|(index, value)| Reading {
                        kind: Kind::new(&format!("k{index}")),
                        value: *value,
                    }));
                    batch.records.push(Record {
                        partition,
                        offset,
                        timestamp: TimeMs(offset),
                        sensor: SensorId(uuid::Uuid::from_u128(*sensor)),
                        time: *time,
                        readings: start..batch.readings.len() as u32,
                        label: None,
                        status: None,
                        location: None,
                    });
                }
            }
        }
        self.handle(Event::Records(batch), world);
    }

    fn land_write(&mut self, rng: &mut Rng, world: &mut World) {
        if self.in_flight.is_empty() {
            return;
        }
        let write = self.in_flight.swap_remove(rng.random_range(0..self.in_flight.len()));
        self.flying.remove(&(write.partition, write.sensor));
        world.apply(&write);
        self.handle(Event::Written(Box::new(write)), world);
    }

    fn step(&mut self, rng: &mut Rng, world: &mut World) {
        self.now_ms += rng.random_range(0..30);
        match rng.random_range(0..10) {
            0..4 => self.poll(rng, world),
            4..7 => self.land_write(rng, world),
            7 => {
                if let Some((partition, offset)) = self.letters.pop_front() {
                    world.dead.insert((partition, offset));
                    self.handle(Event::DeadLettered { partition, offset }, world);
                }
            }
            _ => {
                let event = self.answers.pop_front().unwrap_or(Event::Tick);
                // A broker may refuse a commit; the next round takes it.
                let refused = matches!(event, Event::Committed(_)) && rng.random_bool(0.2);
                self.handle(if refused { Event::Committed(false) } else { event }, world);
            }
        }
    }

    /// Everything that flies lands: what a crash leaves behind may still reach the store, or not.
    fn crash(self, rng: &mut Rng, world: &mut World) {
        for write in self.in_flight {
            if rng.random_bool(0.5) {
                world.apply(&write);
            }
        }
    }
}

/// One schedule. Answers how many lives it had and how often records were processed again.
fn run(seed: u64) -> (u32, u64) {
    let mut rng = Rng::seed_from_u64(seed);
    let mut world = World::new(&mut rng);
    let partitions: Vec<i32> = world.log.keys().copied().collect();
    let (mut lives, mut again) = (0, 0);
    loop {
        lives += 1;
        let mut life = Life::new();
        life.handle(Event::Assigned(partitions.clone()), &mut world);
        let last = lives > 4;
        for _ in 0..rng.random_range(20..300) {
            life.step(&mut rng, &mut world);
            if rng.random_bool(0.02) {
                // A rebalance in the middle: taken back, or gone, and assigned again later.
                let partition = partitions[rng.random_range(0..partitions.len())];
                if !life.positions.contains_key(&partition) {
                    continue;
                }
                if rng.random_bool(0.5) {
                    life.positions.remove(&partition);
                    // What flies of a lost partition goes on flying, and so may its successor's writes of the same sensor.
                    life.flying.retain(|(of, _)| *of != partition);
                    life.handle(Event::Lost(vec![partition]), &mut world);
                } else {
                    let position = life.positions.remove(&partition);
                    life.handle(Event::Revoked(vec![partition]), &mut world);
                    for _ in 0..2_000 {
                        if life.processor.partitions.contains_key(&partition) {
                            life.step(&mut rng, &mut world);
                        }
                    }
                    assert!(
                        !life.processor.partitions.contains_key(&partition),
                        "{position:?} not released"
                    );
                    assert_eq!(
                        world.committed.get(&partition).copied(),
                        position,
                        "released, but not all committed"
                    );
                }
                life.handle(Event::Assigned(vec![partition]), &mut world);
            }
        }
        if last {
            finish(life, &mut rng, &mut world);
            return (lives, again);
        }
        again += life.processor.counters().redelivered;
        life.crash(&mut rng, &mut world);
        if rng.random_bool(0.2) {
            world.committed.clear(); // the group was reset to the beginning
        }
    }
}

/// Polls to the end and drains; then everything must be there.
fn finish(mut life: Life, rng: &mut Rng, world: &mut World) {
    let partitions: Vec<i32> = world.log.keys().copied().collect();
    for _ in 0..20_000 {
        life.step(rng, world);
        let at_end = |partition: &i32| {
            life.positions
                .get(partition)
                .is_some_and(|at| *at >= world.high(*partition))
        };
        if partitions.iter().all(at_end) {
            break;
        }
    }
    life.handle(Event::Drain, world);
    for _ in 0..5_000 {
        if !life.drained {
            life.step(rng, world);
        }
    }
    assert!(life.drained, "not drained");
    for partition in partitions {
        assert_eq!(
            world.committed.get(&partition).copied(),
            Some(world.high(partition).max(0))
        );
        world.check(partition, i64::MAX);
    }
    assert_eq!(life.processor.pending_readings(), 0);
    assert_eq!(life.processor.dead_letter_bytes, 0);
    assert_eq!(life.processor.writes_in_flight(), 0);
}

#[test]
fn whatever_happens_every_record_is_stored_before_its_offset_is_committed() {
    let (mut lives, mut again) = (0, 0);
    for seed in 0..1_500 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let (of_run, again_in_run) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        lives += of_run;
        again += again_in_run;
    }
    assert!(
        lives > 5_000 && again > 1_000,
        "the faults must have fired: {lives} lives, {again} records again"
    );
}

#[test]
fn batches_form_while_a_write_flies() {
    let mut world = World::default();
    world.log.insert(
        0,
        (0..8)
            .map(|offset| {
                (
                    offset,
                    Entry::Readings {
                        sensor: 1,
                        time: TimeMs(offset),
                        values: vec![1.0],
                    },
                )
            })
            .collect(),
    );
    let mut life = Life::new();
    let mut rng = Rng::seed_from_u64(1);
    life.handle(Event::Assigned(vec![0]), &mut world);
    while let Some(answer) = life.answers.pop_front() {
        life.handle(answer, &mut world);
    }
    while life.positions[&0] < 8 {
        life.poll(&mut rng, &mut world);
    }
    assert_eq!(life.in_flight.len(), 1);
    let first = life.in_flight[0].rows.len();
    life.land_write(&mut rng, &mut world);
    assert_eq!(
        life.in_flight[0].rows.len(),
        settings().readings_per_write.min(8 - first)
    );
}
