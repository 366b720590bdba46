//! The hot code on fixed input, a part each, for counting its instructions: `benches/instructions.sh` runs this under callgrind and
//! counts inside the functions named `counted_…` alone. Whatever else the machine does, the numbers stay the same to
//! some hundredths of a percent (hash maps are seeded at random); so a change is a change of the code or of the compiler.
//!
//! Parts: `encode` (the fleet makes records), `decode` (bytes to readings), `group` (the processor forms writes of readings
//! alone), `fold` (the same with windows, state and rules). All of 20,000 records of 200 sensors.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use iotpipe::codec::{Decoder, FieldNames, Limits};
use iotpipe::config::Config;
use iotpipe::fleet::{DEFAULT_KINDS, Emission, FaultSettings, Fleet, FleetSettings, Format, Schedule};
use iotpipe::model::{Loaded, ProcessingConfig, Record, RecordBatch, SensorWrite, TimeMs, TopicId};
use iotpipe::processor::{Effect, Event, OnDataLoss, Processor, Settings, StartFacts, StartPolicy};

const RECORDS: u64 = 20_000;
const SENSORS: u32 = 200;
/// As many as the consumer hands over at once.
const BATCH_RECORDS: usize = 1024;
const START: TimeMs = TimeMs(1_762_344_000_000);

fn main() {
    // `cargo bench` adds an argument of its own.
    let parts: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    for part in &parts {
        match part.as_str() {
            "encode" => {
                let mut emission = Emission::default();
                counted_encode(&mut fleet(), &mut emission);
            }
            "decode" => {
                let payloads = payloads();
                let mut readings = Vec::with_capacity(payloads.len());
                counted_decode(&mut decoder(), &payloads, &mut readings);
            }
            "group" => process(&Config::default(), Vec::new(), false),
            "fold" => process(&Config::default(), vec![60, 3600], true),
            _ => panic!("{part:?} is none of encode, decode, group, fold"),
        }
    }
}

#[inline(never)]
fn counted_encode(fleet: &mut Fleet, emission: &mut Emission) {
    while fleet.next_record(emission) {
        black_box(&*emission);
    }
}

#[inline(never)]
fn counted_decode(decoder: &mut Decoder, payloads: &[Vec<u8>], readings: &mut Vec<iotpipe::model::Reading>) {
    for payload in payloads {
        black_box(decoder.decode(Some(payload), TimeMs(START.0 + 86_400_000), readings)).expect("a good record");
    }
}

/// One batch, and acknowledgements of all that it leads to.
#[inline(never)]
fn counted_process(processor: &mut Processor, batch: RecordBatch, now_ms: i64, effects: &mut Vec<Effect>) {
    processor.handle(Event::Records(batch), now_ms, effects);
    settle(processor, now_ms, effects);
}

fn fleet() -> Fleet {
    let settings = FleetSettings {
        seed: 42,
        schedule: Schedule::new(SENSORS, Duration::from_secs(1), START).expect("a schedule"),
        kinds: DEFAULT_KINDS.map(str::to_owned).to_vec(),
        format: Format::Narrow,
        faults: FaultSettings::NONE,
        count: Some(RECORDS),
        slots: None,
    };
    Fleet::new(settings).expect("a fleet")
}

fn payloads() -> Vec<Vec<u8>> {
    let (mut fleet, mut emission) = (fleet(), Emission::default());
    let mut payloads = Vec::new();
    while fleet.next_record(&mut emission) {
        payloads.push(emission.payload.clone());
    }
    payloads
}

fn decoder() -> Decoder {
    Decoder::new(FieldNames::default(), Limits::default())
}

/// All records of one partition, in batches.
fn batches() -> Vec<RecordBatch> {
    let (mut decoder, mut batches, mut offset) = (decoder(), Vec::new(), 0);
    for payloads in payloads().chunks(BATCH_RECORDS) {
        let mut batch = RecordBatch::default();
        for payload in payloads {
            let first = batch.readings.len() as u32;
            let timestamp = TimeMs(START.0 + 86_400_000);
            let decoded = decoder
                .decode(Some(payload), timestamp, &mut batch.readings)
                .expect("a good record");
            batch.records.push(Record {
                partition: 0,
                offset,
                timestamp,
                sensor: decoded.sensor,
                time: decoded.time,
                readings: first..batch.readings.len() as u32,
                label: decoded.label,
                status: decoded.status,
                location: decoded.location,
            });
            offset += 1;
        }
        batches.push(batch);
    }
    batches
}

fn process(config: &Config, window_sizes_s: Vec<u32>, alerts: bool) {
    let fields = FieldNames::default();
    let mut processor = Processor::new(Settings {
        writes_in_flight: config.consume.writers,
        readings_in_flight: 50 * config.consume.writers,
        // Answered at once, this store is never busy.
        busy_writes: usize::MAX,
        rest_ms: 0,
        readings_per_write: 50,
        pending_readings: config.consume.pending_readings,
        pending_dead_letter_bytes: 16 << 20,
        cache_bytes: 256 << 20,
        commit_interval_ms: 1000,
        sighting_interval_ms: 60_000,
        loads_in_flight: config.consume.loaders,
        state_interval_ms: 1000,
        analytics: false,
        rules: Arc::new(config.rules.clone()),
        start: StartPolicy {
            latest: false,
            on_data_loss: OnDataLoss::Refuse,
        },
        processing: ProcessingConfig {
            window_sizes_s,
            alerts,
            id_fields: fields.id,
            time_fields: fields.time,
            ignored_fields: fields.ignored,
        },
        topic: Arc::from("topic"),
    });
    let mut effects = Vec::new();
    processor.handle(Event::Assigned(vec![0]), 0, &mut effects);
    settle(&mut processor, 0, &mut effects);
    for (now_ms, batch) in (1..).zip(batches()) {
        counted_process(&mut processor, batch, now_ms, &mut effects);
    }
    let written = processor.counters().readings_written;
    assert_eq!(written, RECORDS, "all is acknowledged");
}

/// Answers everything that the processor wants until it wants nothing more.
fn settle(processor: &mut Processor, now_ms: i64, effects: &mut Vec<Effect>) {
    let mut wanted = std::mem::take(effects);
    while !wanted.is_empty() {
        for effect in wanted.drain(..) {
            if let Some(event) = answer(effect) {
                processor.handle(event, now_ms, effects);
            }
        }
        std::mem::swap(&mut wanted, effects);
    }
}

fn answer(effect: Effect) -> Option<Event> {
    Some(match effect {
        Effect::FindStarts(partitions) => Event::StartsFound(partitions.into_iter().map(start_of).collect()),
        Effect::OpenLedger(entry) => Event::LedgerOpened(entry),
        Effect::Write(write) => written(write),
        Effect::Load(load) => Event::Loaded(Box::new(Loaded {
            id: load.id,
            state: None,
            windows: vec![None; load.windows.len()],
        })),
        Effect::WriteAlerts(alerts) => Event::AlertsWritten(alerts.id),
        Effect::Publish(_) => Event::Published,
        Effect::AdvanceLedger(_) => Event::LedgerAdvanced,
        Effect::Commit(_) => Event::Committed(true),
        _ => return None,
    })
}

fn written(write: Box<SensorWrite>) -> Event {
    Event::Written(black_box(write))
}

fn start_of(partition: i32) -> StartFacts {
    StartFacts {
        partition,
        topic_id: TopicId::UNKNOWN,
        committed: None,
        low: 0,
        high: i64::MAX,
        ledger: None,
    }
}
