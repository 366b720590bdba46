//! `iotpipe bench drain`: how fast a backlog in Kafka is stored. It is produced first; a fresh group then consumes it.

use std::collections::BTreeMap;

use super::load::{self, Extent};
use super::place::Place;
use super::throughput::{self, Done};
use super::usage::Meter;
use super::{BOTH, Bench, Exit};
use crate::cli::{BenchDrainArgs, ConsumeArgs};
use crate::command::{consume, produce};
use crate::config::{Config, duration_text};
use crate::kafka::producer::ReadingProducer;
use crate::pipeline;
use crate::pipeline::consume::ConsumeControl;
use crate::pipeline::produce::ProduceProgress;
use crate::processor::Counters;
use crate::proof::bench_report::Repetition;
use crate::proof::manifest::Manifest;

pub fn run(config: &Config, args: &BenchDrainArgs) -> anyhow::Result<Exit> {
    let extent = Extent {
        records: Some(args.records),
        duration: None,
        interval: args.event_time.interval,
    };
    let asked = [
        ("records", args.records.to_string()),
        ("interval", duration_text(extent.interval)),
    ];
    Bench::new(config)?.measure("drain", &args.bench, &asked, BOTH, |bench, place| {
        once(bench, place, extent)
    })
}

fn once(bench: &mut Bench, place: &Place, extent: Extent) -> anyhow::Result<Repetition> {
    let manifest = fill(bench, place, extent)?;
    bench.check_stop()?;
    let (runtime, store) = bench.open_store(place)?;
    // Ends with the last record: a look at what is committed would come later than it is.
    let until_last = ConsumeArgs {
        max_records: Some(manifest.counts.acknowledged),
        ..ConsumeArgs::default()
    };
    let settings = consume::settings(&place.config, &until_last);
    let control = ConsumeControl::new(bench.stop.clone());
    let meter = Meter::start(&bench.servers);
    let done = || Done {
        produced: None,
        stored: Some(control.snapshot().counters.readings_written),
    };
    let (consumed, throughput) = throughput::during(done, || {
        let kafka = place.config.kafka();
        pipeline::consume::consume(&kafka, &settings, &store, &runtime, &control)
    });
    let consumed = consumed?;
    bench.check_stop()?;
    let readings = consumed.counters.readings_written;
    let usage = meter.stop(readings);
    let verified = bench.verify(place, &manifest, &place.config.window_sizes_s())?;
    let elapsed_s = consumed.processing.as_secs_f64();
    Ok(Repetition {
        readings,
        elapsed_s,
        readings_per_s: readings as f64 / elapsed_s.max(1e-9),
        usage,
        counts: counts(&consumed.counters),
        throughput: throughput?,
        verified: Some(verified),
        ..Repetition::default()
    })
}

/// The backlog.
fn fill(bench: &Bench, place: &Place, extent: Extent) -> anyhow::Result<Manifest> {
    let topic = &place.config.kafka.topic;
    let mut producer = ReadingProducer::new(&place.config.kafka(), topic, None)?;
    producer.check_topic()?;
    let settings = load::unpaced(&place.config, extent)?;
    let progress = ProduceProgress::default();
    let fleet = load::fleet(&place.config, settings.clone())?;
    let sent = load::send(fleet, None, &mut producer, &bench.stop, &progress)?;
    Ok(produce::manifest(topic, &settings, &sent))
}

/// What the processor counted, by name.
pub fn counts(counters: &Counters) -> BTreeMap<String, u64> {
    let named = [
        ("records", counters.records),
        ("readings", counters.readings_written),
        ("writes", counters.writes),
        ("windows", counters.windows_written),
        ("states", counters.states_written),
        ("loads", counters.loads),
        ("alerts", counters.alerts),
        ("dead letters", counters.dead_letters),
        ("processed before", counters.redelivered),
    ];
    named.map(|(name, count)| (name.to_owned(), count)).into()
}
