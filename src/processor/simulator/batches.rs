//! Batches form by themselves.

use std::sync::Arc;

use super::super::{Effect, Event, OnDataLoss, Processor, Settings, StartFacts, StartPolicy};
use super::plan::topic_id;
use crate::model::{
    Kind, LedgerEntry, ProcessingConfig, Reading, Record, RecordBatch, SensorId, SensorWrite, Source, TimeMs,
};

const READINGS_PER_WRITE: usize = 4;

fn settings() -> Settings {
    Settings {
        writes_in_flight: 3,
        readings_per_write: READINGS_PER_WRITE,
        pending_readings: 100,
        pending_dead_letter_bytes: 1_000,
        cache_bytes: 1 << 20,
        commit_interval_ms: 1_000,
        sighting_interval_ms: 1_000,
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
            alerts: false,
            id_fields: vec![],
            time_fields: vec![],
            ignored_fields: vec![],
        },
        topic: Arc::from("t"),
    }
}

/// Records of one sensor, a reading each.
fn records(offsets: std::ops::Range<i64>) -> Event {
    let mut batch = RecordBatch::default();
    for offset in offsets {
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
            time: TimeMs(offset),
            readings: index..index + 1,
            label: None,
            status: None,
            location: None,
        });
    }
    Event::Records(batch)
}

/// A processor that has started partition 0 at its beginning.
fn started() -> Processor {
    let source = Source {
        topic: Arc::from("t"),
        topic_id: topic_id(0),
        partition: 0,
    };
    let mut processor = Processor::new(settings());
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
            processing: settings().processing,
        }),
    };
    processor.handle(Event::Assigned(vec![0]), 0, &mut effects);
    processor.handle(Event::StartsFound(vec![facts]), 0, &mut effects);
    processor
}

fn writes_after(processor: &mut Processor, event: Event) -> Vec<SensorWrite> {
    let mut effects = Vec::new();
    processor.handle(event, 0, &mut effects);
    let writes = effects.into_iter().filter_map(|effect| match effect {
        Effect::Write(write) => Some(*write),
        _ => None,
    });
    writes.collect()
}

#[test]
fn batches_form_while_a_write_flies() {
    let mut processor = started();
    let first = writes_after(&mut processor, records(0..1)).remove(0);
    assert_eq!(first.rows.len(), 1, "at once");
    assert_eq!(
        writes_after(&mut processor, records(1..8)),
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
