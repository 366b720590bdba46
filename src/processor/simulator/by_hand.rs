//! Short scenes without any fault, driven by hand: how batches form, and when the directory learns of a sensor.

use std::sync::Arc;

use super::super::{Effect, Event, OnDataLoss, Processor, Settings, StartFacts, StartPolicy};
use super::plan::topic_id;
use crate::model::{
    Kind, LedgerEntry, Loaded, MILLIS_PER_DAY, ProcessingConfig, Reading, Record, RecordBatch, SensorId, SensorWrite,
    Sighting, Source, TimeMs,
};

const READINGS_PER_WRITE: usize = 4;
const SIGHTING_INTERVAL_MS: i64 = 1_000;

fn settings(alerts: bool) -> Settings {
    Settings {
        writes_in_flight: 3,
        readings_per_write: READINGS_PER_WRITE,
        pending_readings: 100,
        pending_dead_letter_bytes: 1_000,
        cache_bytes: 1 << 20,
        commit_interval_ms: 1_000,
        sighting_interval_ms: SIGHTING_INTERVAL_MS,
        loads_in_flight: 1,
        state_interval_ms: 0,
        analytics: false,
        rules: Arc::default(),
        start: StartPolicy {
            latest: false,
            on_data_loss: OnDataLoss::Refuse,
        },
        processing: ProcessingConfig {
            window_sizes_s: vec![],
            alerts,
            id_fields: vec![],
            time_fields: vec![],
            ignored_fields: vec![],
        },
        topic: Arc::from("t"),
    }
}

/// Records of one sensor, a reading each, at their offsets and times.
fn records(records: impl IntoIterator<Item = (i64, i64)>) -> Event {
    let mut batch = RecordBatch::default();
    for (offset, time) in records {
        let index = batch.readings.len() as u32;
        batch.readings.push(Reading {
            kind: Kind::new("temperature"),
            value: 20.0,
        });
        batch.records.push(Record {
            partition: 0,
            offset,
            timestamp: TimeMs(offset),
            sensor: SensorId(uuid::Uuid::from_u128(1)),
            time: TimeMs(time),
            readings: index..index + 1,
            label: None,
            status: None,
            location: None,
        });
    }
    Event::Records(batch)
}

/// A processor that has started partition 0 at its beginning.
fn started(settings: Settings) -> Processor {
    let source = Source {
        topic: Arc::from("t"),
        topic_id: topic_id(0),
        partition: 0,
    };
    let processing = settings.processing.clone();
    let mut processor = Processor::new(settings);
    let mut effects = Vec::new();
    let facts = StartFacts {
        partition: 0,
        topic_id: topic_id(0),
        committed: None,
        low: 0,
        high: 8,
        ledger: Some(LedgerEntry {
            source,
            from: 0,
            acked_to: 0,
            processing,
        }),
    };
    processor.handle(Event::Assigned(vec![0]), 0, &mut effects);
    processor.handle(Event::StartsFound(vec![facts]), 0, &mut effects);
    processor
}

fn effects_of(processor: &mut Processor, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    processor.handle(event, 0, &mut effects);
    effects
}

fn writes_after(processor: &mut Processor, event: Event) -> Vec<SensorWrite> {
    let writes = effects_of(processor, event)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Write(write) => Some(*write),
            _ => None,
        });
    writes.collect()
}

/// What is written of a sensor once its state is loaded.
fn write_after_load(processor: &mut Processor, records: Event, state: Option<Vec<u8>>) -> SensorWrite {
    let effects = effects_of(processor, records);
    let [Effect::Load(load)] = &effects[..] else {
        panic!("a load and nothing else: {effects:?}");
    };
    let loaded = Loaded {
        id: load.id,
        state,
        windows: vec![],
    };
    writes_after(processor, Event::Loaded(Box::new(loaded))).remove(0)
}

#[test]
fn batches_form_while_a_write_flies() {
    let mut processor = started(settings(false));
    let first = writes_after(&mut processor, records([(0, 0)])).remove(0);
    assert_eq!(first.rows.len(), 1, "at once");
    assert_eq!(
        writes_after(&mut processor, records((1..8).map(|n| (n, n)))),
        [],
        "one write of a sensor at a time"
    );
    let second = writes_after(&mut processor, Event::Written(Box::new(first))).remove(0);
    assert_eq!(
        second.rows.len(),
        READINGS_PER_WRITE,
        "what had collected, up to the bound"
    );
    let third = writes_after(&mut processor, Event::Written(Box::new(second))).remove(0);
    assert_eq!(third.rows.len(), 7 - READINGS_PER_WRITE);
}

#[test]
fn the_directory_learns_what_it_cannot_know_yet_and_no_more() {
    let new = || started(settings(true));
    let times = |write: &SensorWrite| {
        let days = |sighting: &Sighting| (sighting.first_day.0, sighting.last_day.0);
        write.sighting.as_deref().map(days)
    };
    let first = write_after_load(&mut new(), records([(0, 7)]), None);
    assert_eq!(times(&first), Some((0, 0)), "never seen before");
    let state = first.state.expect("the state rides along").bytes;
    let after = |of: &[(i64, i64)]| {
        let mut processor = new();
        let write = write_after_load(&mut processor, records(of.iter().copied()), Some(state.clone()));
        (processor, write)
    };

    assert_eq!(times(&after(&[(1, 8)]).1), None, "the state says that it is known");
    assert_eq!(
        times(&after(&[(0, 7), (1, 8)]).1),
        Some((0, 0)),
        "the sighting may be lost, the state not"
    );
    assert_eq!(times(&after(&[(1, MILLIS_PER_DAY)]).1), Some((1, 1)), "a new day");

    // Nothing more to write when it is to end, but what the directory lacks.
    for (time, lacks) in [(7 + SIGHTING_INTERVAL_MS, true), (6 + SIGHTING_INTERVAL_MS, false)] {
        let (mut processor, write) = after(&[(1, time)]);
        assert_eq!(times(&write), None);
        assert_eq!(writes_after(&mut processor, Event::Written(Box::new(write))), []);
        let last = writes_after(&mut processor, Event::Drain);
        assert_eq!(last.len(), usize::from(lacks), "{last:?}");
        if let Some(last) = last.first() {
            assert_eq!((times(last), last.rows.len(), &last.state), (Some((0, 0)), 0, &None));
        }
    }
}
