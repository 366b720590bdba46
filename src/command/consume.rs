//! `iotpipe consume`: Kafka into the store, until told to stop.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, millis, runtime_of_one_thread, stop, subjects};
use crate::cli::ConsumeArgs;
use crate::codec::{FieldNames, Limits, OutputEncoding};
use crate::config::{self, Config};
use crate::kafka::consumer::ConsumerSettings;
use crate::model::ProcessingConfig;
use crate::pipeline::consume::{
    ConsumeControl, ConsumeSettings, ConsumeSnapshot, ConsumeSummary, OutputTopics, consume,
};
use crate::pipeline::writers::SENSORS_TOGETHER;
use crate::processor::{self, OnDataLoss, StartPolicy};
use crate::report::{Out, duration, grouped, rate, summary};
use crate::store::AnyStore;
use crate::telemetry::{self, events};

pub fn run(config: &Config, args: &ConsumeArgs) -> anyhow::Result<Exit> {
    let runtime = runtime_of_one_thread()?;
    let store = Arc::new(runtime.block_on(AnyStore::open(&config.store()))?);
    let settings = ConsumeSettings {
        outputs: subjects::outputs(config)?,
        ..settings(config, args)
    };
    let control = ConsumeControl::new(stop::on_signals()?);

    let ended = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let shown = scope.spawn(|| show(&control, &ended));
        let outcome = consume(&config.kafka(), &settings, &store, &runtime, &control);
        ended.store(true, Ordering::Relaxed);
        shown
            .join()
            .map_err(|_| anyhow::anyhow!("the progress view panicked"))?;
        anyhow::Ok(outcome)
    })?;
    // What is still in flight after a failure is not waited for: it is written again later.
    runtime.shutdown_background();
    let ended = outcome?;
    let mut out = Out::stdout();
    write!(out, "{}", summary(&describe(&ended)))?;
    out.flush()?;
    Ok(if ended.counters.dead_letters > 0 && args.until_end {
        Exit::Differences
    } else {
        Exit::Ok
    })
}

/// What the pipeline is told, from configuration and arguments.
pub fn settings(config: &Config, args: &ConsumeArgs) -> ConsumeSettings {
    let consume = &config.consume;
    let fields = FieldNames {
        id: config.fields.id.clone(),
        time: config.fields.time.clone(),
        kind: config.fields.type_field.clone(),
        value: config.fields.value_field.clone(),
        location: config.fields.location.clone(),
        status: config.fields.status.clone(),
        ignored: config.fields.ignored.clone(),
    };
    let processing = ProcessingConfig {
        window_sizes_s: config.window_sizes_s(),
        alerts: config.alerts.enabled,
        id_fields: fields.id.clone(),
        time_fields: fields.time.clone(),
        ignored_fields: fields.ignored.clone(),
    };
    ConsumeSettings {
        consumer: ConsumerSettings {
            topic: config.kafka.topic.clone(),
            group: consume.group.clone(),
            instance_id: consume.instance_id.clone(),
            session_timeout: consume.session_timeout,
            release_timeout: consume.drain_timeout,
            max_records: args.max_records,
            topic_id: None,
        },
        dead_letter_topic: config.kafka.dlq_topic.clone(),
        topics: OutputTopics {
            alerts: config.kafka.alerts_topic.clone(),
            events: config.kafka.events_topic.clone(),
            analytics: config.kafka.analytics_topic.clone(),
        },
        fields,
        limits: Limits {
            max_payload_bytes: usize::try_from(consume.max_payload.0).unwrap_or(usize::MAX),
            readings_ttl_ms: config.store.readings_ttl.map(millis),
        },
        registry: config.registry(),
        outputs: OutputEncoding::Json,
        writers: consume.writers,
        processor: processor::Settings {
            writes_in_flight: consume.writers * SENSORS_TOGETHER,
            readings_in_flight: consume.writers * READINGS_PER_WRITE,
            readings_per_write: READINGS_PER_WRITE,
            busy_writes: BUSY_WRITES,
            rest_ms: REST_MS,
            pending_readings: consume.pending_readings,
            pending_dead_letter_bytes: PENDING_DEAD_LETTER_BYTES,
            cache_bytes: usize::try_from(consume.state_memory.0).unwrap_or(usize::MAX),
            commit_interval_ms: millis(consume.commit_interval),
            sighting_interval_ms: SIGHTING_INTERVAL_MS,
            loads_in_flight: consume.loaders,
            state_interval_ms: millis(consume.state_interval),
            analytics: config.analytics.enabled,
            rules: Arc::new(config.rules.clone()),
            start: StartPolicy {
                latest: consume.start == config::Start::Latest,
                on_data_loss: match consume.on_data_loss {
                    config::OnDataLoss::Refuse => OnDataLoss::Refuse,
                    config::OnDataLoss::Continue => OnDataLoss::Continue,
                },
            },
            processing,
            topic: Arc::from(config.kafka.topic.as_str()),
        },
        until_end: args.until_end,
        duration: args.duration,
        drain_timeout: consume.drain_timeout,
    }
}

/// More readings in one write gained nothing when measured.
const READINGS_PER_WRITE: usize = 50;
/// Fewer writes in flight than this leave the store idle most of the time.
const BUSY_WRITES: usize = 8;
/// A sensor of 100 readings/s then collects five or more for a write instead of three: a fifth less CPU for the store.
const REST_MS: i64 = 50;
/// Dead letters on their way: several of the largest.
const PENDING_DEAD_LETTER_BYTES: usize = 16 << 20;
/// The directory hears of a sensor at most once in this.
const SIGHTING_INTERVAL_MS: i64 = 60_000;

const SHOW_INTERVAL: Duration = Duration::from_millis(250);
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line in the log otherwise.
fn show(control: &ConsumeControl, ended: &AtomicBool) {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = telemetry::progress().add(ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
        bar
    });
    let mut last = (Instant::now(), control.snapshot());
    let interval = if bar.is_some() { SHOW_INTERVAL } else { LOG_INTERVAL };
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        if last.0.elapsed() < interval {
            continue;
        }
        let now = (Instant::now(), control.snapshot());
        let records = now.1.counters.records - last.1.counters.records;
        let records_per_s = records as f64 / now.0.duration_since(last.0).as_secs_f64();
        match &bar {
            Some(bar) => {
                bar.set_message(line(&now.1, records_per_s));
                bar.tick();
            }
            None => events::consume_progress(&line(&now.1, records_per_s)),
        }
        last = now;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn line(now: &ConsumeSnapshot, records_per_s: f64) -> String {
    let mut line = format!(
        "{} records, {}, lag {}, {} writes in flight, {} pending, {} dead letters, {} partitions",
        grouped(now.counters.records),
        rate(records_per_s),
        now.lag.map_or("unknown".to_owned(), grouped),
        now.writes_in_flight,
        grouped(now.pending_readings as u64),
        grouped(now.counters.dead_letters),
        now.partitions,
    );
    if let Some(p99) = now.latency_p99_ms {
        line += &format!(", event to stored p99 {}", duration(Duration::from_millis(p99)));
    }
    if now.paused {
        line += ", PAUSED";
    }
    if now.store_failing {
        line += ", store unavailable";
    }
    if now.partitions_without_schema > 0 {
        line += &format!(", {} partitions wait for a schema", now.partitions_without_schema);
    }
    if now.registry_failing {
        line += ", registry unavailable";
    }
    line
}

fn describe(ended: &ConsumeSummary) -> Vec<(&'static str, String)> {
    let counters = &ended.counters;
    let per_s = |count: u64| rate(count as f64 / ended.elapsed.as_secs_f64());
    let latency = |quantile: f64| duration(Duration::from_millis(ended.latency_ms.value_at_quantile(quantile)));
    let per_write = counters.readings_written as f64 / counters.writes.max(1) as f64;
    vec![
        (
            "records",
            format!("{} ({})", grouped(counters.records), per_s(counters.records)),
        ),
        (
            "readings stored",
            format!(
                "{} ({})",
                grouped(counters.readings_written),
                per_s(counters.readings_written)
            ),
        ),
        (
            "writes",
            format!("{} ({per_write:.1} readings each)", grouped(counters.writes)),
        ),
        (
            "beside them",
            format!(
                "{} windows and {} states written, {} loads",
                grouped(counters.windows_written),
                grouped(counters.states_written),
                grouped(counters.loads)
            ),
        ),
        (
            "alerts",
            format!("{} raised, updated or cleared", grouped(counters.alerts)),
        ),
        ("processed before", grouped(counters.redelivered)),
        ("dead letters", grouped(counters.dead_letters)),
        (
            "event to stored",
            format!("p50 {}, p99 {}", latency(0.5), latency(0.99)),
        ),
        ("took", duration(ended.elapsed)),
    ]
}
