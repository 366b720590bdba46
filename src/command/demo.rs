//! `iotpipe demo`: all of it in one process, on an embedded broker and SQLite. Nothing to install, nothing to start.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use super::{Exit, consume, now, produce as producing, query, runtime, stop, verify};
use crate::cli::{ConsumeArgs, DemoArgs};
use crate::config::Config;
use crate::fleet::{Emission, FaultSettings, Fleet, FleetSettings, Format, Timing};
use crate::kafka::embedded::{EmbeddedBroker, LAG_MAX};
use crate::kafka::producer::ReadingProducer;
use crate::model::{Order, ReadingsQuery, SensorId, TimeMs};
use crate::pipeline;
use crate::pipeline::consume::{ConsumeControl, ConsumeSummary};
use crate::pipeline::produce::{ProduceProgress, ProduceRun, ProduceSummary, produce};
use crate::proof;
use crate::report::{Out, grouped, rate, sparkline, summary};
use crate::store::{AnyStore, Store, StoreSettings, StoreUrl, schema};
use crate::telemetry::{self, events};

/// Enough to see that partitions are spread, few enough to start at once.
const PARTITIONS: i32 = 4;
/// One spike, drift or stuck sensor in so many records, so that there is something to see.
const ANOMALY_PROBABILITY: f64 = 0.002;
/// Readings in the live view's sparkline.
const SPARK_READINGS: usize = 60;
/// Readings in the table at the end.
const LATEST: u64 = 10;
/// More records a second than any machine takes through the embedded broker and SQLite.
const UNPACED_RATE_MAX: f64 = 1_000_000.0;
const VIEW_INTERVAL: Duration = Duration::from_millis(250);
/// How long what was produced may take to be stored once producing has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(config: &Config, args: &DemoArgs) -> anyhow::Result<Exit> {
    let directory = directory(args)?;
    let database = directory.join("iotpipe.db");
    // An earlier run's sensors are the same: its readings lie in the windows of this one's.
    let is_alone = !database.exists();
    let settings = store_settings(&database)?;
    let runtime = runtime()?;
    let report = runtime.block_on(schema::apply(&settings, &config.schema()))?;
    if let Some(difference) = report.differences.first() {
        return Err(anyhow!("{}: {difference}: give another --dir", database.display()));
    }
    let store = Arc::new(runtime.block_on(AnyStore::open(&settings))?);

    let broker = EmbeddedBroker::start()?;
    broker.create_topic(&config.kafka.topic, PARTITIONS)?;
    broker.create_topic(&config.kafka.dlq_topic, 1)?;
    broker.create_topic(&config.kafka.alerts_topic, 1)?;
    broker.create_topic(&config.kafka.events_topic, 1)?;
    let stop = stop::on_signals()?;
    let fleet = fleet(args)?;
    let sensor = first_sensor(args)?;
    let sent = fleet.fleet.settings().clone();

    let (produced, consumed) = play(config, args, &broker, fleet, &store, &runtime, &stop, sensor)?;
    let mut lines = describe(args, &produced, &consumed);
    let mut is_proven = true;
    if is_alone {
        let manifest = producing::manifest(&config.kafka.topic, &sent, &produced);
        let settings = verify::settings(config, 0);
        let unwatched = Arc::default();
        let proving = proof::verify::verify(&store, &manifest, &settings, &unwatched);
        let report = runtime.block_on(proving)?;
        is_proven = report.is_equal();
        lines.push(("verified", verify::verdict(&report)));
    }
    let mut out = Out::stdout();
    write!(out, "{}", summary(&lines))?;
    out.line(&format!("\nThe newest readings of sensor {sensor}:\n"))?;
    runtime.block_on(query::print_latest(&*store, &mut out, sensor, LATEST))?;
    out.line("")?;
    runtime.block_on(query::print_plot(&*store, &mut out, sensor))?;
    out.line(&format!(
        "\nThe database stays in {}. Ask it more:\n",
        database.display()
    ))?;
    out.line(&format!(
        "  iotpipe query --store sqlite:{} --sensor {sensor} --plot",
        database.display()
    ))?;
    out.line(&format!(
        "  iotpipe query --store sqlite:{} --sensors",
        database.display()
    ))?;
    out.flush()?;
    runtime.shutdown_background();
    if produced.failed > 0 || consumed.counters.readings_written < produced.acknowledged {
        let missing = produced.sent - consumed.counters.readings_written.min(produced.sent);
        return Err(anyhow!("{missing} readings did not arrive in the store"));
    }
    Ok(if is_proven { Exit::Ok } else { Exit::Differences })
}

/// Kept: what the demo stored is there to be asked.
fn directory(args: &DemoArgs) -> anyhow::Result<PathBuf> {
    match &args.dir {
        Some(directory) => {
            let what = || format!("cannot make the directory {}", directory.display());
            std::fs::create_dir_all(directory).with_context(what)?;
            Ok(directory.clone())
        }
        None => {
            let directory = tempfile::Builder::new().prefix("iotpipe-demo-").tempdir();
            Ok(directory.context("cannot make a temporary directory")?.keep())
        }
    }
}

fn store_settings(database: &Path) -> anyhow::Result<StoreSettings> {
    let url: StoreUrl = format!("sqlite:{}", database.display()).parse()?;
    // What a power cut may take from a demonstration is not worth waiting for the disk.
    Ok(StoreSettings {
        sqlite_synchronous_full: false,
        ..StoreSettings::new(url)
    })
}

fn fleet_settings(args: &DemoArgs) -> anyhow::Result<(FleetSettings, Option<f64>)> {
    let timing = Timing {
        sensors: args.sensors,
        rate: Some(f64::from(args.rate)),
        interval: None,
        count: None,
        duration: Some(args.duration),
        start: (args.rate == 0).then(|| unpaced_start(args)),
        silence: 0.0,
    };
    let plan = timing.plan(now())?;
    let settings = FleetSettings {
        seed: args.seed,
        schedule: plan.schedule,
        kinds: Config::default().produce.kinds,
        format: Format::Narrow,
        faults: FaultSettings {
            anomaly: ANOMALY_PROBABILITY,
            ..FaultSettings::NONE
        },
        count: None,
        slots: plan.slots,
    };
    Ok((settings, plan.slots_per_s))
}

/// Without a pace each sensor has a reading a second: the first lies so long ago that none lies ahead of now.
fn unpaced_start(args: &DemoArgs) -> TimeMs {
    let readings = args.duration.as_secs_f64() * UNPACED_RATE_MAX / f64::from(args.sensors);
    TimeMs(now().0 - (readings * 1000.0) as i64)
}

fn fleet(args: &DemoArgs) -> anyhow::Result<ProduceRun> {
    let (settings, slots_per_s) = fleet_settings(args).map_err(|error| super::UsageError(error.to_string()))?;
    let fleet = Fleet::new(settings)?;
    Ok(ProduceRun {
        fleet,
        slots_per_s,
        duration: Some(args.duration),
        flush_timeout: SETTLE_TIMEOUT,
    })
}

/// The sensor that is shown: the one that comes first.
fn first_sensor(args: &DemoArgs) -> anyhow::Result<SensorId> {
    let mut emission = Emission::default();
    Fleet::new(fleet_settings(args)?.0)?.next_record(&mut emission);
    Ok(SensorId::from_text(std::str::from_utf8(&emission.key)?).0)
}

/// Produces and consumes side by side until the time is over and all has arrived.
#[expect(clippy::too_many_arguments, reason = "what the run is made of, each once")]
fn play(
    config: &Config,
    args: &DemoArgs,
    broker: &EmbeddedBroker,
    run: ProduceRun,
    store: &Arc<AnyStore>,
    runtime: &Runtime,
    stop: &AtomicBool,
    sensor: SensorId,
) -> anyhow::Result<(ProduceSummary, ConsumeSummary)> {
    let kafka = broker.settings();
    let mut settings = consume::settings(config, &ConsumeArgs::default());
    settings.consumer.topic_id = Some(broker.topic_id());
    let stop_consuming = Arc::new(AtomicBool::new(false));
    let control = ConsumeControl::new(stop_consuming.clone());
    let progress = ProduceProgress::default();
    let mut producer = ReadingProducer::new(&kafka, &config.kafka.topic, run.slots_per_s)?;
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| pipeline::consume::consume(&kafka, &settings, store, runtime, &control));
        let producer = scope.spawn(|| {
            let room = || {
                let taken = control.snapshot().counters.records;
                LAG_MAX.saturating_sub(progress.sent.load(Ordering::Relaxed).saturating_sub(taken))
            };
            produce(run, &mut producer, stop, &progress, room)
        });
        let mut view = View::new(args.duration);
        while !producer.is_finished() && !consumer.is_finished() {
            view.show(&progress, &control, store, runtime, sensor);
        }
        if consumer.is_finished() {
            stop.store(true, Ordering::Relaxed);
        }
        let produced = producer.join().map_err(|_| anyhow!("the producing thread panicked"))?;
        let settled_by = Instant::now() + SETTLE_TIMEOUT;
        let arrived = |sent| control.snapshot().counters.readings_written >= sent;
        let sent = progress.acknowledged.load(Ordering::Relaxed);
        while !consumer.is_finished() && !arrived(sent) && Instant::now() < settled_by {
            view.show(&progress, &control, store, runtime, sensor);
        }
        view.end();
        stop_consuming.store(true, Ordering::Relaxed);
        let consumed = consumer.join().map_err(|_| anyhow!("the consuming thread panicked"))?;
        Ok((produced?, consumed?))
    })
}

/// The live view: two lines on a terminal, a line in the log every few seconds otherwise.
struct View {
    bars: Option<(ProgressBar, ProgressBar)>,
    began: Instant,
    duration: Duration,
    last: (Instant, u64),
    next_log: Instant,
}

const LOG_INTERVAL: Duration = Duration::from_secs(5);

impl View {
    fn new(duration: Duration) -> View {
        let bars = std::io::stderr().is_terminal().then(|| {
            let bars = telemetry::progress();
            let style = |template| ProgressStyle::with_template(template).expect("a fixed template");
            let time = bars.add(ProgressBar::new(duration.as_secs().max(1)));
            time.set_style(style("{bar:20} {msg}"));
            let spark = bars.add(ProgressBar::new_spinner());
            spark.set_style(style("{msg}"));
            (time, spark)
        });
        let now = Instant::now();
        View {
            bars,
            began: now,
            duration,
            last: (now, 0),
            next_log: now + LOG_INTERVAL,
        }
    }

    fn show(
        &mut self,
        progress: &ProduceProgress,
        control: &ConsumeControl,
        store: &AnyStore,
        runtime: &Runtime,
        sensor: SensorId,
    ) {
        std::thread::sleep(VIEW_INTERVAL);
        let snapshot = control.snapshot();
        let stored = snapshot.counters.readings_written;
        let per_s = (stored - self.last.1) as f64 / self.last.0.elapsed().as_secs_f64();
        self.last = (Instant::now(), stored);
        let sent = progress.sent.load(Ordering::Relaxed);
        let line = format!(
            "{} sent, {} stored, {}, lag {}",
            grouped(sent),
            grouped(stored),
            rate(per_s),
            grouped(sent.saturating_sub(stored))
        );
        let Some((time, spark)) = &self.bars else {
            if Instant::now() >= self.next_log {
                self.next_log = Instant::now() + LOG_INTERVAL;
                events::demo_progress(&line);
            }
            return;
        };
        time.set_position(self.began.elapsed().min(self.duration).as_secs());
        time.set_message(line);
        if let Ok(values) = runtime.block_on(latest_values(store, sensor)) {
            let newest = values.last().map_or_else(String::new, |value| format!(" {value}"));
            spark.set_message(format!(
                "sensor {sensor} {}{newest}",
                sparkline(&values, SPARK_READINGS)
            ));
        }
    }

    fn end(&self) {
        if let Some((time, spark)) = &self.bars {
            time.finish_and_clear();
            spark.finish_and_clear();
        }
    }
}

/// The newest values of a sensor, oldest first.
async fn latest_values(store: &AnyStore, sensor: SensorId) -> anyhow::Result<Vec<f64>> {
    let Some(row) = store.sensor(sensor).await? else {
        return Ok(Vec::new());
    };
    let query = ReadingsQuery {
        sensor,
        range: row.days(),
        kind: None,
        order: Order::NewestFirst,
        limit: Some(SPARK_READINGS as u64),
    };
    let mut values: Vec<f64> = store
        .readings(query)
        .map(|reading| reading.map(|it| it.value))
        .try_collect()
        .await?;
    values.reverse();
    Ok(values)
}

fn describe(args: &DemoArgs, produced: &ProduceSummary, consumed: &ConsumeSummary) -> Vec<(&'static str, String)> {
    let counters = &consumed.counters;
    vec![
        ("sensors", grouped(args.sensors.into())),
        (
            "produced",
            format!(
                "{} records ({})",
                grouped(produced.acknowledged),
                rate(produced.records_per_s)
            ),
        ),
        (
            "stored",
            format!(
                "{} readings in {} writes",
                grouped(counters.readings_written),
                grouped(counters.writes)
            ),
        ),
        ("anomalies", grouped(produced.fleet.anomalies())),
        ("dead letters", grouped(counters.dead_letters)),
    ]
}
