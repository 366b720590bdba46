//! `iotpipe bench store`: how fast the store takes readings, through the same writers as `consume` and without anything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::load::{self, Extent};
use super::place::Place;
use super::throughput::{self, Done};
use super::usage::Meter;
use super::{Bench, Exit, STORE, now, stages};
use crate::cli::BenchStoreArgs;
use crate::config::{Config, duration_text};
use crate::fleet::Histories;
use crate::model::{ReadingRow, SensorWrite, Source, TopicId, WriteId};
use crate::pipeline::write::write;
use crate::proof::bench_report::{Repetition, Stage};
use crate::proof::manifest::{Counts, Manifest};

pub fn run(config: &Config, args: &BenchStoreArgs) -> anyhow::Result<Exit> {
    let extent = Extent {
        records: Some(args.records),
        duration: args.duration,
        interval: args.event_time.interval,
    };
    let mut asked = vec![
        ("records", args.records.to_string()),
        ("interval", duration_text(extent.interval)),
        ("batch", args.batch.to_string()),
    ];
    asked.extend(args.duration.map(|duration| ("duration", duration_text(duration))));
    Bench::new(config)?.measure("store", &args.bench, &asked, STORE, |bench, place| {
        once(bench, place, extent, args.batch as usize)
    })
}

fn once(bench: &mut Bench, place: &Place, extent: Extent, batch: usize) -> anyhow::Result<Repetition> {
    let settings = load::unpaced(&place.config, extent)?;
    let slots = extent.records.unwrap_or(0);
    // A fleet without faults: a record a slot, though these never see a topic.
    let counts = Counts {
        sent: slots,
        acknowledged: slots,
        ..Counts::default()
    };
    let manifest = Manifest::new(&place.config.kafka.topic, &settings, slots, counts, Vec::new());
    let writes = writes(&manifest.histories()?, &manifest.topic, batch);
    let (runtime, store) = bench.open_store(place)?;
    let stored = AtomicU64::new(0);
    let total: u64 = writes.iter().map(|write| write.rows.len() as u64).sum();
    let began = Instant::now();
    let in_time = |_: &SensorWrite| {
        extent
            .duration
            .is_none_or(|duration: Duration| began.elapsed() < duration)
    };
    let meter = Meter::start(&bench.servers);
    let done = || Done {
        produced: None,
        stored: Some(stored.load(Ordering::Relaxed)),
    };
    let (written, throughput) = throughput::during(done, || {
        let writes = writes.into_iter().take_while(in_time);
        let in_flight = place.config.consume.writers;
        write(writes, in_flight, &store, &runtime, &bench.stop, &stored)
    });
    let written = written.map_err(|error| anyhow!(error))?;
    let usage = meter.stop(written.readings);
    // What a duration cut off cannot be told from the manifest.
    let verified = match written.readings == total {
        true => Some(bench.verify(place, &manifest, &[])?),
        false => None,
    };
    let elapsed_s = written.elapsed.as_secs_f64();
    Ok(Repetition {
        readings: written.readings,
        elapsed_s,
        readings_per_s: written.readings as f64 / elapsed_s,
        usage,
        counts: BTreeMap::from([
            ("readings".to_owned(), written.readings),
            ("writes".to_owned(), written.writes),
        ]),
        latencies: vec![stages::latency(Stage::Written, &written.latency_us)],
        throughput: throughput?,
        verified,
        ..Repetition::default()
    })
}

/// All readings of a fleet as writes of `batch` readings of one sensor, the sensors in turn as in a drain.
fn writes(histories: &Histories, topic: &str, batch: usize) -> Vec<SensorWrite> {
    let source = Arc::new(Source {
        topic: Arc::from(topic),
        topic_id: TopicId::UNKNOWN,
        partition: 0,
    });
    let timestamp = now();
    let mut sensors: Vec<_> = (0..histories.sensors())
        .map(|index| histories.of_sensor(index))
        .collect();
    let (mut writes, mut readings) = (Vec::new(), Vec::new());
    while !sensors.is_empty() {
        sensors.retain_mut(|history| {
            let mut rows = Vec::with_capacity(batch);
            while rows.len() < batch
                && let Some(sent) = history.next()
            {
                history.readings(&sent, &mut readings);
                rows.extend(readings.drain(..).map(|(kind, value)| ReadingRow {
                    time: sent.event_time,
                    kind,
                    value,
                    timestamp,
                }));
            }
            let has_more = rows.len() >= batch;
            if !rows.is_empty() {
                writes.push(SensorWrite {
                    id: WriteId(0),
                    partition: 0,
                    sensor: history.sensor(),
                    source: source.clone(),
                    rows,
                    windows: Vec::new(),
                    state: None,
                    sighting: None,
                });
            }
            has_more
        });
    }
    writes
}
