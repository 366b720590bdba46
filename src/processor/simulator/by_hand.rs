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
        readings_in_flight: 1_000,
        busy_writes: 1_000,
        rest_ms: 100,
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
    writes_at(0, processor, event)
}

fn writes_at(now_ms: i64, processor: &mut Processor, event: Event) -> Vec<SensorWrite> {
    let mut effects = Vec::new();
    processor.handle(event, now_ms, &mut effects);
    let writes = effects.into_iter().filter_map(|effect| match effect {
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
fn while_the_store_is_busy_a_sensor_collects_after_a_write() {
    let mut processor = started(Settings {
        busy_writes: 0,
        rest_ms: 50,
        ..settings(false)
    });
    let first = writes_at(10, &mut processor, records([(0, 0)])).remove(0);
    assert_eq!(first.rows.len(), 1, "one that was not just written does not wait");
    assert_eq!(writes_at(10, &mut processor, Event::Written(Box::new(first))), []);
    assert_eq!(writes_at(20, &mut processor, records([(1, 1)])), []);
    assert_eq!(writes_at(59, &mut processor, records([(2, 2)])), []);
    let second = writes_at(60, &mut processor, Event::Tick).remove(0);
    assert_eq!(second.rows.len(), 2, "what had collected");

    assert_eq!(writes_at(70, &mut processor, Event::Written(Box::new(second))), []);
    let full = (3..).take(READINGS_PER_WRITE).map(|n| (n, n));
    let third = writes_at(71, &mut processor, records(full)).remove(0);
    assert_eq!(third.rows.len(), READINGS_PER_WRITE, "a full write does not wait");

    assert_eq!(writes_at(80, &mut processor, Event::Written(Box::new(third))), []);
    assert_eq!(writes_at(81, &mut processor, records([(7, 7)])), []);
    assert_eq!(
        writes_at(82, &mut processor, Event::Drain).len(),
        1,
        "nor what somebody waits for"
    );
}

#[test]
fn a_state_rides_along_with_every_fourth_write_or_goes_when_its_time_comes() {
    let interval_ms = 5_000;
    let mut processor = started(Settings {
        state_interval_ms: interval_ms,
        ..settings(true)
    });
    let mut write = write_after_load(&mut processor, records([(0, 0)]), None);
    let mut states = vec![write.state.is_some()];
    for n in 1..=8 {
        let now_ms = 1_000 * n;
        assert_eq!(
            writes_at(now_ms - 1, &mut processor, Event::Written(Box::new(write))),
            []
        );
        write = writes_at(now_ms, &mut processor, records([(n, n)])).remove(0);
        states.push(write.state.is_some());
    }
    assert_eq!(states, [true, false, false, false, true, false, false, false, true]);

    // Four at once are the fourth too early.
    for n in 9..=13 {
        assert_eq!(writes_at(8_000, &mut processor, Event::Written(Box::new(write))), []);
        write = writes_at(8_000, &mut processor, records([(n, n)])).remove(0);
        assert_eq!(write.state, None, "write {n}");
    }
    assert_eq!(writes_at(8_001, &mut processor, Event::Written(Box::new(write))), []);
    assert_eq!(writes_at(8_000 + interval_ms - 1, &mut processor, Event::Tick), []);
    let alone = writes_at(8_000 + interval_ms, &mut processor, Event::Tick).remove(0);
    assert_eq!(
        (alone.rows.len(), alone.state.map(|state| state.last_offset)),
        (0, Some(13))
    );
}

#[test]
fn windows_come_with_every_write_or_with_the_state_while_the_store_is_busy() {
    for (busy_writes, counts) in [(1_000, [1, 2, 3, 4, 5]), (0, [1, 0, 0, 0, 5])] {
        let mut with_windows = settings(true);
        with_windows.processing.window_sizes_s = vec![60];
        let mut processor = started(Settings {
            busy_writes,
            rest_ms: 0,
            state_interval_ms: 5_000,
            ..with_windows
        });
        let mut write = write_after_load(&mut processor, records([(0, 0)]), None);
        let mut found = Vec::new();
        for n in 1..=5 {
            let [windows, states] = [write.windows.len(), usize::from(write.state.is_some())];
            assert!(windows >= states, "no state without its windows");
            found.push(write.windows.first().map_or(0, |cell| cell.aggregate.count));
            assert_eq!(
                writes_at(1_000 * n, &mut processor, Event::Written(Box::new(write))),
                []
            );
            write = writes_at(1_000 * n, &mut processor, records([(n, n)])).remove(0);
        }
        assert_eq!(found, counts, "records in the window of each write");
    }
}

#[test]
fn a_state_rides_along_early_once_many_records_wait_for_it() {
    for (of_a_write, states) in [(32, [false, false, false, true]), (31, [false; 4])] {
        let mut processor = started(Settings {
            state_interval_ms: 5_000,
            readings_per_write: 50,
            ..settings(true)
        });
        let mut write = write_after_load(&mut processor, records([(0, 0)]), None);
        let mut next = 1;
        let found = states.map(|_| {
            let landed = Event::Written(Box::new(write.clone()));
            assert_eq!(writes_at(next, &mut processor, landed), []);
            let collected = (next..next + of_a_write).map(|n| (n, n));
            write = writes_at(next, &mut processor, records(collected)).remove(0);
            next += of_a_write;
            write.state.is_some()
        });
        assert_eq!(found, states, "{of_a_write} records a write");
    }
}

#[test]
fn who_has_caught_up_waits_for_no_states_turn() {
    let mut processor = started(Settings {
        state_interval_ms: 5_000,
        ..settings(true)
    });
    let first = write_after_load(&mut processor, records([(0, 0)]), None);
    assert_eq!(writes_at(1, &mut processor, Event::Written(Box::new(first))), []);
    let second = writes_at(2, &mut processor, records([(1, 1)])).remove(0);
    assert_eq!(second.state, None);
    assert_eq!(writes_at(3, &mut processor, Event::Written(Box::new(second))), []);
    let state = writes_at(4, &mut processor, Event::CaughtUp).remove(0).state;
    assert_eq!(state.map(|state| state.last_offset), Some(1));
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
