//! `iotpipe bench produce`: how fast Kafka takes the fleet's records.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::load::{self, Extent};
use super::place::Place;
use super::throughput::{self, Done};
use super::usage::Meter;
use super::{Bench, Exit, KAFKA, stages};
use crate::cli::BenchProduceArgs;
use crate::config::{Config, duration_text};
use crate::kafka::producer::ReadingProducer;
use crate::pipeline::produce::ProduceProgress;
use crate::proof::bench_report::{Repetition, Stage};

pub fn run(config: &Config, args: &BenchProduceArgs) -> anyhow::Result<Exit> {
    let extent = Extent {
        records: args.duration.is_none().then_some(args.records),
        duration: args.duration,
        interval: args.event_time.interval,
    };
    let how_long = match args.duration {
        Some(duration) => ("duration", duration_text(duration)),
        None => ("records", args.records.to_string()),
    };
    let asked = [how_long, ("interval", duration_text(extent.interval))];
    Bench::new(config)?.measure("produce", &args.bench, &asked, KAFKA, |bench, place| {
        once(bench, place, extent)
    })
}

fn once(bench: &mut Bench, place: &Place, extent: Extent) -> anyhow::Result<Repetition> {
    let mut producer = ReadingProducer::new(&place.config.kafka(), &place.config.kafka.topic, None)?;
    producer.check_topic()?;
    let fleet = load::fleet(&place.config, load::unpaced(&place.config, extent)?)?;
    let progress = ProduceProgress::default();
    let meter = Meter::start(&bench.servers);
    let done = || Done {
        produced: Some(progress.acknowledged.load(Ordering::Relaxed)),
        stored: None,
    };
    let (sent, throughput) = throughput::during(done, || {
        load::send(fleet, extent.duration, &mut producer, &bench.stop, &progress)
    });
    let sent = sent?;
    let readings = sent.acknowledged * load::readings_per_record(&place.config);
    let elapsed_s = sent.elapsed.as_secs_f64();
    Ok(Repetition {
        readings,
        elapsed_s,
        readings_per_s: readings as f64 / elapsed_s,
        usage: meter.stop(readings),
        counts: BTreeMap::from([("records".to_owned(), sent.acknowledged)]),
        // Nothing is due here: from handing a record over.
        latencies: vec![stages::latency(Stage::Acknowledged, &producer.latency_us())],
        throughput: throughput?,
        ..Repetition::default()
    })
}
