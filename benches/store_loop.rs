//! The yardstick for `iotpipe bench store`: the same rows written by a loop with nothing around it. Unlogged batches of 30
//! readings of one partition, 32 in flight, the driver's own defaults; no retry, no order, no acknowledgements kept.
//!
//! `cargo bench --bench store_loop -- cassandra://HOST:PORT/KEYSPACE [RECORDS]`; the keyspace is made and removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use iotpipe::fleet::{DEFAULT_KINDS, FaultSettings, FleetSettings, Format, Histories, Schedule};
use iotpipe::model::TimeMs;
use iotpipe::store::{SchemaSettings, StoreSettings, StoreUrl, schema};
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::{CqlDate, CqlTimestamp};
use uuid::Uuid;

const SENSORS: u32 = 1000;
const BATCH: usize = 30;
const IN_FLIGHT: usize = 32;
const START: TimeMs = TimeMs(1_762_300_800_000);

/// sensor_id, day, reading_time, type, reading, write timestamp.
type Row = (Uuid, CqlDate, CqlTimestamp, String, f64, i64);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let Some(url) = arguments.first() else {
        panic!("give the store: cargo bench --bench store_loop -- cassandra://HOST:PORT/KEYSPACE [RECORDS]")
    };
    let records = arguments
        .get(1)
        .map_or(1_000_000, |text| text.parse().expect("a number of records"));
    let settings = StoreSettings::new(url.parse().expect("a store's address"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    runtime.block_on(run(&settings, records));
}

async fn run(settings: &StoreSettings, records: u64) {
    let StoreUrl::Cassandra { hosts, keyspace } = &settings.url else {
        panic!("it measures Cassandra")
    };
    let batches = Arc::new(batches(records));
    schema::apply(settings, &SchemaSettings::default())
        .await
        .expect("tables");
    let session = Arc::new(
        SessionBuilder::new()
            .known_nodes(hosts)
            .build()
            .await
            .expect("a session"),
    );
    let insert = format!(
        "INSERT INTO {keyspace}.sensor_readings (sensor_id, day, reading_time, type, reading) \
         VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
    );
    let insert = session.prepare(insert).await.expect("a statement");
    let mut batch = Batch::new(BatchType::Unlogged);
    (0..BATCH).for_each(|_| batch.append_statement(insert.clone()));
    let (batch, next) = (Arc::new(batch), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let writers = (0..IN_FLIGHT).map(|_| {
        let (session, batch, batches, next) = (session.clone(), batch.clone(), batches.clone(), next.clone());
        tokio::spawn(async move {
            while let Some(rows) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                session.batch(&batch, rows).await.expect("written");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    schema::remove(settings).await.expect("removed");
    let readings = batches.len() * BATCH;
    println!(
        "{readings} readings in {elapsed_s:.2} s: {:.0} readings/s",
        readings as f64 / elapsed_s
    );
}

/// Full batches of the fleet's readings, the sensors in turn; what makes none is left out.
fn batches(records: u64) -> Vec<Vec<Row>> {
    let settings = FleetSettings {
        seed: 42,
        schedule: Schedule::new(SENSORS, Duration::from_secs(1), START).expect("a schedule"),
        kinds: DEFAULT_KINDS.map(str::to_owned).to_vec(),
        format: Format::Narrow,
        faults: FaultSettings::NONE,
        count: None,
        slots: Some(records),
    };
    let histories = Histories::new(settings, records).expect("a fleet");
    let mut sensors: Vec<_> = (0..SENSORS).map(|index| histories.of_sensor(index)).collect();
    let (mut batches, mut readings) = (Vec::new(), Vec::new());
    while !sensors.is_empty() {
        sensors.retain_mut(|history| {
            let sensor = history.sensor().0;
            let mut rows = Vec::with_capacity(BATCH);
            for sent in history.by_ref().take(BATCH).collect::<Vec<_>>() {
                history.readings(&sent, &mut readings);
                let (time, day) = (
                    sent.event_time,
                    CqlDate(sent.event_time.day().0.cast_unsigned() ^ (1 << 31)),
                );
                let row = |(kind, value): (iotpipe::model::Kind, f64)| {
                    (
                        sensor,
                        day,
                        CqlTimestamp(time.0),
                        kind.to_string(),
                        value,
                        time.micros(),
                    )
                };
                rows.extend(readings.drain(..).map(row));
            }
            // A batch of one partition: the day is one.
            let is_whole = rows.len() == BATCH && rows.iter().all(|row| row.1 == rows[0].1);
            if is_whole {
                batches.push(rows);
            }
            is_whole
        });
    }
    batches
}
