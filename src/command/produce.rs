//! `iotpipe produce`: a simulated fleet into Kafka, or onto standard output.

mod record;
mod replay;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use crossbeam_channel::RecvTimeoutError;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, UsageError, now, stop, subjects};
use crate::cli::ProduceArgs;
use crate::config::{Codec, Config};
use crate::fleet::{Emission, FaultSettings, FleetCounts, FleetError, FleetSettings, Plan, Timing};
use crate::kafka::producer::{Deliveries, ReadingProducer, Settled};
use crate::pipeline::produce::{FLUSH_TIMEOUT, ProduceProgress, ProduceRun, ProduceSummary, RecordSink, produce};
use crate::proof::manifest::{Counts, Manifest, Offsets};
use crate::report::{self, Out, duration, grouped, rate};
use crate::telemetry::{self, events};
use record::RunRecord;

const DRAW_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(10);

pub fn run(config: &Config, args: &ProduceArgs) -> anyhow::Result<Exit> {
    if args.stdout && config.produce.codec == Codec::Avro {
        return Err(UsageError("--stdout prints lines of text: leave out --codec avro".to_owned()).into());
    }
    if let Some(file) = &args.replay.file {
        return replay::run(config, args, file, &*stop::on_signals()?);
    }
    let (run, _) = plan_run(config, args, None)?;
    let stop = stop::on_signals()?;
    if args.stdout {
        return print(run, &stop);
    }
    let schema_id = subjects::schema_id(config, &subjects::of_topic(&config.kafka.topic))?;
    let record = args
        .manifest
        .as_deref()
        .map(|file| RunRecord::open(file, config))
        .transpose()?;
    let mut producer = ReadingProducer::new(&config.kafka(), &config.kafka.topic, run.slots_per_s)?;
    let partitions = producer.check_topic()?;
    // Planned again: the schedule begins now, not before the cluster answered, or the first records would be late.
    let (run, plan) = plan_run(config, args, schema_id)?;
    let fleet = run.fleet.settings().clone();
    let summary = send(args.count, &stop, |progress| {
        produce(run, &mut producer, &stop, progress, || u64::MAX)
    })?;
    let mut lines = lines(&summary, &plan, producer.topic(), partitions);
    // A run whose record cannot be kept is told all the same.
    let kept = record.map(|record| record.keep(&manifest(&config.kafka.topic, &fleet, &summary)));
    if let Some(Ok((run, places))) = &kept {
        lines.extend([("run", run.to_string()), ("manifest", places.clone())]);
    }
    outcome(config, summary, &lines, kept.and_then(Result::err))
}

/// Tells what was sent. Fails where the record of the run could not be kept, or where not everything was acknowledged.
fn outcome(
    config: &Config,
    summary: ProduceSummary,
    lines: &[(&str, String)],
    not_kept: Option<anyhow::Error>,
) -> anyhow::Result<Exit> {
    let mut out = Out::stdout();
    out.write_all(report::summary(lines).as_bytes())?;
    out.flush()?;
    if let Some(error) = not_kept {
        return Err(error);
    }
    if summary.failed == 0 {
        return Ok(Exit::Ok);
    }
    let reason = summary.first_error.unwrap_or_else(|| "no answer in time".into());
    Err(anyhow!(
        "{} records were not acknowledged by {}: {reason}",
        grouped(summary.failed),
        config.kafka.brokers
    ))
}

/// What is needed to compute a run again that has ended.
pub fn manifest(topic: &str, fleet: &FleetSettings, summary: &ProduceSummary) -> Manifest {
    let ProduceSummary {
        sent,
        acknowledged,
        failed,
        ..
    } = *summary;
    let offsets = summary.deliveries.offsets.iter().map(|acked| Offsets {
        partition: acked.partition,
        first: acked.first,
        last: acked.last,
    });
    let counts = Counts::new(sent, acknowledged, failed, &summary.fleet);
    Manifest::new(topic, fleet, summary.slots, counts, offsets.collect())
}

/// The run, and the plan that it follows from now on.
fn plan_run(config: &Config, args: &ProduceArgs, schema_id: Option<u32>) -> Result<(ProduceRun, Plan), UsageError> {
    let plan = timing(config, args).plan(now()).map_err(usage)?;
    let fleet = subjects::fleet(fleet_settings(config, args, &plan), schema_id).map_err(usage)?;
    let run = ProduceRun {
        fleet,
        slots_per_s: plan.slots_per_s,
        duration: args.duration,
        flush_timeout: FLUSH_TIMEOUT,
    };
    Ok((run, plan))
}

fn usage(error: FleetError) -> UsageError {
    UsageError(error.to_string())
}

fn timing(config: &Config, args: &ProduceArgs) -> Timing {
    let produce = &config.produce;
    // With a rate the interval agrees with it already, but for rounding.
    let interval = (produce.rate == 0.0).then(|| Duration::try_from_secs_f64(produce.interval_s()).unwrap_or_default());
    Timing {
        sensors: produce.sensors,
        rate: Some(produce.rate),
        interval,
        count: args.count,
        duration: args.duration,
        start: args.start_time,
        silence: config.faults.silence_probability,
    }
}

fn fleet_settings(config: &Config, args: &ProduceArgs, plan: &Plan) -> FleetSettings {
    FleetSettings {
        seed: config.produce.seed,
        schedule: plan.schedule,
        kinds: config.produce.kinds.clone(),
        format: subjects::format(config),
        faults: FaultSettings {
            anomaly: config.faults.anomaly_probability,
            late: config.faults.late_probability,
            late_max: config.faults.late_max,
            duplicate: config.faults.duplicate_probability,
            malformed: config.faults.malformed_probability,
            silence: config.faults.silence_probability,
        },
        count: args.count,
        slots: plan.slots,
    }
}

/// Sends on a thread of its own and shows how it goes on this one.
fn send<T: Send, E: Send>(
    count: Option<u64>,
    stop: &AtomicBool,
    sending: impl FnOnce(&ProduceProgress) -> Result<T, E> + Send,
) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    let progress = ProduceProgress::default();
    let (done, is_done) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        let on_thread = || {
            let outcome = sending(&progress);
            // Nobody waits only if the other thread panicked.
            let _ = done.send(outcome);
        };
        std::thread::Builder::new()
            .name("produce".into())
            .spawn_scoped(scope, on_thread)
            .context("starting a thread failed")?;
        let mut display = Display::new(count);
        loop {
            match is_done.recv_timeout(DRAW_EVERY) {
                Ok(outcome) => {
                    display.clear();
                    return Ok(outcome?);
                }
                Err(RecvTimeoutError::Timeout) => display.show(&progress, stop.load(Ordering::Relaxed)),
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the sending thread panicked")),
            }
        }
    })
}

/// A bar on a terminal, else a line in the log every now and then.
struct Display {
    bar: Option<ProgressBar>,
    at: Instant,
    acknowledged: u64,
}

impl Display {
    fn new(count: Option<u64>) -> Display {
        let bar = io::stderr().is_terminal().then(|| {
            let (bar, template) = match count {
                Some(count) => (ProgressBar::new(count), "{bar:24} {percent:>3} %  {msg}"),
                None => (ProgressBar::no_length(), "{spinner} {elapsed}  {msg}"),
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            telemetry::progress().add(bar.with_style(style))
        });
        Display {
            bar,
            at: Instant::now(),
            acknowledged: 0,
        }
    }

    fn show(&mut self, progress: &ProduceProgress, is_stopping: bool) {
        let elapsed = self.at.elapsed();
        if elapsed < if self.bar.is_some() { DRAW_EVERY } else { LOG_EVERY } {
            return;
        }
        let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let (sent, acknowledged, in_flight) =
            (read(&progress.sent), read(&progress.acknowledged), progress.in_flight());
        let behind = read(&progress.behind_slots);
        let per_s = (acknowledged - self.acknowledged) as f64 / elapsed.as_secs_f64();
        let p99_us = read(&progress.ack_p99_us);
        (self.at, self.acknowledged) = (Instant::now(), acknowledged);
        let Some(bar) = &self.bar else {
            events::producing(sent, acknowledged, in_flight, behind, per_s as u64, p99_us / 1000);
            return;
        };
        bar.set_position(acknowledged.min(bar.length().unwrap_or(u64::MAX)));
        let p99 = duration(Duration::from_micros(p99_us));
        let stopping = if is_stopping { "stopping, " } else { "" };
        bar.set_message(format!(
            "{stopping}{}, {} acknowledged (p99 {p99}), {} in flight",
            rate(per_s),
            grouped(acknowledged),
            grouped(in_flight)
        ));
    }

    fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn lines(summary: &ProduceSummary, plan: &Plan, topic: &str, partitions: usize) -> Vec<(&'static str, String)> {
    let last = plan.schedule.event_time(summary.slots.saturating_sub(1));
    let times = format!(
        "{} to {last}, every {} per sensor",
        plan.schedule.start(),
        duration(plan.schedule.interval())
    );
    sent_lines(summary, times, topic, partitions)
}

fn sent_lines(
    summary: &ProduceSummary,
    event_times: String,
    topic: &str,
    partitions: usize,
) -> Vec<(&'static str, String)> {
    let ProduceSummary {
        sent,
        acknowledged,
        failed,
        fleet,
        deliveries,
        ..
    } = summary;
    let mut lines = vec![
        ("topic", format!("{topic}, {partitions} partitions")),
        ("sent", grouped(*sent)),
        ("acknowledged", grouped(*acknowledged)),
    ];
    if *failed > 0 {
        lines.push(("failed", grouped(*failed)));
    }
    if let Some(faults) = faults(fleet) {
        lines.push(("faults", faults));
    }
    let [p50, p99, max] = [deliveries.ack_p50_us, deliveries.ack_p99_us, deliveries.ack_max_us]
        .map(|us| duration(Duration::from_micros(us)));
    lines.extend([
        ("event times", event_times),
        ("elapsed", duration(summary.elapsed)),
        ("rate", rate(summary.records_per_s)),
        ("acknowledgement", format!("p50 {p50}, p99 {p99}, max {max}")),
    ]);
    lines
}

/// What was done to the records on purpose; nothing where nothing was.
fn faults(counts: &FleetCounts) -> Option<String> {
    let all = [
        ("spike", counts.spikes),
        ("drift", counts.drifts),
        ("stuck", counts.stuck),
        ("late", counts.late),
        ("duplicate", counts.duplicates),
        ("malformed", counts.malformed),
        ("silent slots", counts.silent),
    ];
    let some: Vec<String> = all
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{} {name}", grouped(*n)))
        .collect();
    (!some.is_empty()).then(|| some.join(", "))
}

fn print(run: ProduceRun, stop: &AtomicBool) -> anyhow::Result<Exit> {
    let mut sink = Printer::new();
    produce(run, &mut sink, stop, &ProduceProgress::default(), || u64::MAX)?;
    sink.finish()?;
    Ok(Exit::Ok)
}

/// Standard output as the place where records go: a payload a line.
struct Printer {
    out: Out,
    printed: u64,
}

impl Printer {
    fn new() -> Printer {
        Printer {
            out: Out::stdout(),
            printed: 0,
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl RecordSink for Printer {
    type Error = io::Error;

    fn try_send(&mut self, emission: &Emission) -> io::Result<bool> {
        self.out.write_all(&emission.payload)?;
        self.out.write_all(b"\n")?;
        self.printed += 1;
        Ok(true)
    }

    /// Whoever watches a slow fleet wants to see each record at once.
    fn serve(&mut self) -> io::Result<Settled> {
        self.out.flush()?;
        Ok(Settled {
            acknowledged: self.printed,
            failed: 0,
        })
    }

    fn deliveries(&self) -> Deliveries {
        Deliveries {
            acknowledged: self.printed,
            ..Deliveries::default()
        }
    }
}
