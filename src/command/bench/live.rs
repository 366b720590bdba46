//! Producer and consumer together at a rate: what `e2e` measures once and `max` at one rate after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hdrhistogram::Histogram;

use super::drain::counts;
use super::place::Place;
use super::stages::{self, Stages};
use super::throughput::{self, Done};
use super::usage::Meter;
use super::{Bench, load, millis, now};
use crate::cli::ConsumeArgs;
use crate::command::{consume, produce as producing};
use crate::fleet::FleetSettings;
use crate::kafka::producer::ReadingProducer;
use crate::model::TimeMs;
use crate::pipeline;
use crate::pipeline::consume::ConsumeControl;
use crate::pipeline::produce::{FLUSH_TIMEOUT, FromDueTime, ProduceProgress, ProduceRun, ProduceSummary, produce};
use crate::proof::bench_report::{Repetition, Stage, Usage};
use crate::proof::manifest::Manifest;
use crate::proof::statistics::median;

/// How long a consumer may take to get its partitions.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what was produced may take to be stored once producing has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a run is looked at.
const NAP: Duration = Duration::from_millis(20);
/// From making the schedule to its first record: the fleet is made in between.
const LEAD: Duration = Duration::from_millis(200);
const LEAD_PER_SENSOR: Duration = Duration::from_micros(1);

#[derive(Clone, Copy, Debug)]
pub struct LiveSettings {
    /// Records a second.
    pub rate: f64,
    pub warm_up: Duration,
    /// Measured after the warm-up.
    pub duration: Duration,
    /// The producer stops early when the consumer is so far behind.
    pub lag_max: Option<Duration>,
}

/// A run as it went.
pub struct Live {
    pub repetition: Repetition,
    pub manifest: Manifest,
    /// The consumer fell behind by more than was allowed.
    pub gave_up: bool,
    /// How far the consumer was behind, as time at the rate: the median over the last quarter of what was measured.
    pub lag_at_end: Duration,
}

/// Starts the consumer, then the producer; ends when all that was produced is stored.
pub fn run(bench: &mut Bench, place: &Place, settings: LiveSettings) -> anyhow::Result<Live> {
    let kafka = place.config.kafka();
    let (runtime, store) = bench.open_store(place)?;
    let mut producer = ReadingProducer::new(&kafka, &place.config.kafka.topic, Some(settings.rate))?;
    let partitions = producer.check_topic()?;
    let consumer = consume::settings(&place.config, &ConsumeArgs::default());
    let shared = Shared::new(load::readings_per_record(&place.config));
    let (measured, consumed, throughput) = std::thread::scope(|scope| {
        let consuming =
            scope.spawn(|| pipeline::consume::consume(&kafka, &consumer, &store, &runtime, &shared.control));
        let watcher = scope.spawn(|| throughput::watch(&shared.ended, || shared.done()));
        let is_over = || bench.stop.load(Ordering::Relaxed) || consuming.is_finished();
        let measured = drive(bench, place, settings, &shared, (&mut producer, partitions), &is_over);
        shared.end();
        (measured, consuming.join(), watcher.join())
    });
    // A consumer that failed is why the rest did.
    let consumed = consumed.map_err(|_| anyhow!("the consuming thread panicked"))??;
    bench.check_stop()?;
    let measured = measured?;
    let stages = &shared.stages;
    let readings = stages.measured();
    let elapsed_s = stages.last_stored_us().saturating_sub(micros(measured.from)) as f64 / 1e6;
    let acknowledged = stages::latency(Stage::Acknowledged, &measured.acknowledged_us);
    let repetition = Repetition {
        readings,
        elapsed_s,
        readings_per_s: readings as f64 / elapsed_s.max(1e-9),
        usage: measured.usage,
        counts: counts(&consumed.counters),
        latencies: [acknowledged].into_iter().chain(stages.latencies()).collect(),
        throughput: throughput.map_err(|_| anyhow!("the watching thread panicked"))?,
        ..Repetition::default()
    };
    Ok(Live {
        repetition,
        manifest: producing::manifest(&place.config.kafka.topic, &measured.fleet, &measured.sent),
        gave_up: measured.gave_up,
        lag_at_end: Duration::from_secs_f64(measured.lag_at_end_s),
    })
}

/// What the threads of a run share.
struct Shared {
    stages: Arc<Stages>,
    control: ConsumeControl,
    progress: ProduceProgress,
    stop_producing: AtomicBool,
    stop_consuming: Arc<AtomicBool>,
    ended: AtomicBool,
    readings_per_record: u64,
}

impl Shared {
    fn new(readings_per_record: u64) -> Shared {
        let (stages, stop_consuming) = (Arc::new(Stages::new()), Arc::new(AtomicBool::new(false)));
        Shared {
            control: ConsumeControl::new(stop_consuming.clone()).observed_by(stages.clone()),
            stages,
            progress: ProduceProgress::default(),
            stop_producing: AtomicBool::new(false),
            stop_consuming,
            ended: AtomicBool::new(false),
            readings_per_record,
        }
    }

    fn done(&self) -> Done {
        Done {
            produced: Some(self.progress.acknowledged.load(Ordering::Relaxed)),
            stored: Some(self.stages.stored()),
        }
    }

    /// Readings that Kafka has and the store has not.
    fn behind(&self) -> u64 {
        let produced = self.progress.acknowledged.load(Ordering::Relaxed) * self.readings_per_record;
        produced.saturating_sub(self.stages.stored())
    }

    fn end(&self) {
        for flag in [&self.stop_producing, &*self.stop_consuming, &self.ended] {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// What was seen while both ran.
struct Measured {
    fleet: FleetSettings,
    sent: ProduceSummary,
    acknowledged_us: Histogram<u64>,
    usage: Usage,
    from: TimeMs,
    gave_up: bool,
    lag_at_end_s: f64,
}

/// Waits for the consumer's partitions, produces, and waits until all of it is stored.
fn drive(
    bench: &Bench,
    place: &Place,
    settings: LiveSettings,
    shared: &Shared,
    (producer, partitions): (&mut ReadingProducer, usize),
    is_over: &dyn Fn() -> bool,
) -> anyhow::Result<Measured> {
    let joined_by = Instant::now() + JOIN_TIMEOUT;
    while shared.control.snapshot().partitions < partitions && !is_over() {
        if Instant::now() >= joined_by {
            return Err(anyhow!(
                "the consumer did not get its {partitions} partitions within {} s",
                JOIN_TIMEOUT.as_secs()
            ));
        }
        std::thread::sleep(NAP);
    }
    let (fleet, run) = paced_run(place, settings)?;
    let start = fleet.schedule.start();
    let from = TimeMs(start.0.saturating_add(millis(settings.warm_up)));
    shared.stages.measure_from(from);
    let (watched, sent) = std::thread::scope(|scope| {
        let mut sink = FromDueTime {
            producer: &mut *producer,
            measured_from: from,
        };
        let producing = scope.spawn(move || {
            wait_for(start);
            produce(run, &mut sink, &shared.stop_producing, &shared.progress, || u64::MAX)
        });
        let watched = watch(bench, settings, shared, from, &|| producing.is_finished(), is_over);
        (watched, producing.join())
    });
    let sent = sent.map_err(|_| anyhow!("the producing thread panicked"))??;
    load::all_acknowledged(&sent)?;
    let settled_by = Instant::now() + SETTLE_TIMEOUT;
    while shared.behind() > 0 && Instant::now() < settled_by && !is_over() {
        std::thread::sleep(NAP);
    }
    Ok(Measured {
        fleet,
        sent,
        acknowledged_us: producer.latency_us(),
        usage: watched.meter.stop(shared.stages.measured()),
        from,
        gave_up: watched.gave_up,
        lag_at_end_s: watched.lag_at_end_s(),
    })
}

/// A fleet whose first record is due in a moment, by when it is made.
fn paced_run(place: &Place, settings: LiveSettings) -> anyhow::Result<(FleetSettings, ProduceRun)> {
    let mut lead = LEAD + LEAD_PER_SENSOR * place.config.produce.sensors;
    let duration = settings.warm_up + settings.duration;
    loop {
        let start = TimeMs(now().0.saturating_add(millis(lead)));
        let (fleet, slots_per_s) = load::paced(&place.config, settings.rate, duration, start)?;
        let run = ProduceRun {
            fleet: load::fleet(&place.config, fleet.clone())?,
            slots_per_s: Some(slots_per_s),
            duration: Some(duration),
            flush_timeout: FLUSH_TIMEOUT,
        };
        if now() < start {
            return Ok((fleet, run));
        }
        lead *= 2;
    }
}

fn wait_for(time: TimeMs) {
    let left_ms = time.0.saturating_sub(now().0).max(0).unsigned_abs();
    std::thread::sleep(Duration::from_millis(left_ms));
}

/// What was seen while the producer ran.
struct Watched<'s> {
    /// Since the warm-up ended.
    meter: Meter<'s>,
    /// How far the consumer was behind since then, seconds at the rate.
    lags_s: Vec<f64>,
    gave_up: bool,
}

impl Watched<'_> {
    fn lag_at_end_s(&self) -> f64 {
        median(&self.lags_s[self.lags_s.len() * 3 / 4..]).unwrap_or(0.0)
    }
}

fn watch<'b>(
    bench: &'b Bench,
    settings: LiveSettings,
    shared: &Shared,
    from: TimeMs,
    has_produced: &dyn Fn() -> bool,
    is_over: &dyn Fn() -> bool,
) -> Watched<'b> {
    let mut watched = Watched {
        meter: Meter::start(&bench.servers),
        lags_s: Vec::new(),
        gave_up: false,
    };
    let mut is_measuring = false;
    while !has_produced() {
        std::thread::sleep(NAP);
        if !is_measuring && now() >= from {
            is_measuring = true;
            watched.meter = Meter::start(&bench.servers);
        }
        let lag_s = shared.behind() as f64 / (settings.rate * shared.readings_per_record as f64);
        if is_measuring {
            watched.lags_s.push(lag_s);
        }
        watched.gave_up |= settings.lag_max.is_some_and(|max| lag_s > max.as_secs_f64());
        if watched.gave_up || is_over() {
            shared.stop_producing.store(true, Ordering::Relaxed);
        }
    }
    watched
}

fn micros(time: TimeMs) -> u64 {
    time.micros().max(0).unsigned_abs()
}
