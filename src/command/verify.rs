//! `iotpipe verify`: proves that the store holds what a produced run must have left in it.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::{Exit, UsageError, runtime};
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::model::{Rule, Test};
use crate::proof::manifest::Manifest;
use crate::proof::verify::{AlertQuality, FaultQuality, Report, VerifyProgress, VerifySettings, verify};
use crate::report::{Column, Format, JsonRows, Out, Table, duration, grouped, rate, summary};
use crate::store::{AnyStore, Store};
use crate::telemetry;

const DRAW_EVERY: Duration = Duration::from_millis(200);

pub fn run(config: &Config, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let manifest = file_manifest(&args.run)?;
    let store = Arc::new(runtime.block_on(AnyStore::open(&config.store_that_misses_nothing()))?);
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => runtime.block_on(stored_manifest(&*store, &args.run))?,
    };
    let began = Instant::now();
    let report = runtime.block_on(watched(&store, &manifest, &settings(config, args.differences)))?;
    let mut out = Out::stdout();
    match args.format {
        Format::Table => print(&mut out, &manifest, &report, began.elapsed())?,
        _ => {
            let mut rows = JsonRows::lines();
            rows.row(&mut out, &json(&manifest, &report))?;
            rows.finish(&mut out)?;
        }
    }
    out.flush()?;
    runtime.shutdown_background();
    Ok(if report.is_equal() { Exit::Ok } else { Exit::Differences })
}

/// What a store must hold that is filled under this configuration.
pub fn settings(config: &Config, differences_max: usize) -> VerifySettings {
    VerifySettings {
        window_sizes_s: config.window_sizes_s(),
        anomaly_rules: config.alerts.enabled.then(|| anomaly_rules(&config.rules)),
        differences_max,
    }
}

/// Rules that find what a fleet's faults do; thresholds are crossed by healthy sensors as well.
fn anomaly_rules(rules: &[Rule]) -> BTreeSet<String> {
    let is_of_anomalies = |rule: &&Rule| {
        matches!(
            rule.test,
            Test::Step { .. } | Test::Flatline { .. } | Test::Zscore { .. }
        )
    };
    let names = rules.iter().filter(is_of_anomalies).map(|rule| rule.name.to_string());
    names.collect()
}

/// `None` where the run is no file but may be an id.
fn file_manifest(run: &str) -> Result<Option<Manifest>, UsageError> {
    let text = match std::fs::read_to_string(run) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match Uuid::try_parse(run) {
                Ok(_) => Ok(None),
                Err(_) => Err(UsageError(format!(
                    "there is no file {run}, and it is no id of a run: give what `iotpipe produce --manifest FILE` wrote"
                ))),
            };
        }
        Err(error) => return Err(UsageError(format!("cannot read the manifest {run}: {error}"))),
    };
    parse(run, &text).map(Some)
}

async fn stored_manifest(store: &impl Store, run: &str) -> anyhow::Result<Manifest> {
    let id = Uuid::try_parse(run)?;
    let text = store.load_run(id).await?;
    let text = text.ok_or_else(|| {
        UsageError(format!(
            "the store knows no run {id}: give the file that `iotpipe produce --manifest FILE` wrote"
        ))
    })?;
    Ok(parse(run, &text)?)
}

fn parse(run: &str, text: &str) -> Result<Manifest, UsageError> {
    Manifest::parse(text).map_err(|why| UsageError(format!("{run} is no manifest of a run: {why}")))
}

/// Runs the comparison with a bar on a terminal.
async fn watched(store: &Arc<AnyStore>, manifest: &Manifest, settings: &VerifySettings) -> anyhow::Result<Report> {
    let progress = Arc::new(VerifyProgress::default());
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(u64::from(manifest.fleet.sensors));
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}");
        telemetry::progress().add(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    });
    let began = Instant::now();
    let comparing = verify(store, manifest, settings, &progress);
    tokio::pin!(comparing);
    let report = loop {
        tokio::select! {
            report = &mut comparing => break report,
            () = tokio::time::sleep(DRAW_EVERY) => if let Some(bar) = &bar {
                let readings = progress.readings.load(Ordering::Relaxed);
                bar.set_position(progress.sensors.load(Ordering::Relaxed));
                let per_s = readings as f64 / began.elapsed().as_secs_f64();
                bar.set_message(format!("{} readings, {}", grouped(readings), rate(per_s)));
            },
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    report.with_context(|| format!("the run {} could not be verified", manifest.run))
}

fn print(out: &mut Out, manifest: &Manifest, report: &Report, took: Duration) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        Column::left("rows"),
        Column::right("expected"),
        Column::right("equal"),
        Column::right("missing"),
        Column::right("unexpected"),
        Column::right("different"),
    ]);
    for (name, tally) in [("readings", &report.readings), ("windows", &report.windows)] {
        let counts = [
            tally.expected,
            tally.equal,
            tally.missing,
            tally.unexpected,
            tally.different,
        ];
        table.row(
            out,
            std::iter::once(name.to_owned()).chain(counts.map(grouped)).collect(),
        )?;
    }
    table.finish(out)?;
    out.line("")?;
    print_differences(out, report)?;
    let mut lines = vec![(
        "run",
        format!(
            "{}: {} records of {} sensors",
            manifest.run,
            grouped(report.records),
            grouped(report.sensors)
        ),
    )];
    if manifest.counts.failed > 0 {
        let failed = grouped(manifest.counts.failed);
        lines.push(("not sent", format!("{failed} records were not acknowledged by Kafka")));
    }
    if let Some(quality) = &report.alerts {
        lines.extend(quality_lines(quality));
    }
    let per_s = report.readings.expected as f64 / took.as_secs_f64();
    lines.push(("took", format!("{} ({} readings)", duration(took), rate(per_s))));
    lines.push(("verdict", verdict(report)));
    out.write_all(summary(&lines).as_bytes())?;
    Ok(())
}

/// The outcome in a line.
pub fn verdict(report: &Report) -> String {
    match report.is_equal() {
        true => format!(
            "{} readings and {} windows: nothing lost, nothing doubled, nothing different",
            grouped(report.readings.equal),
            grouped(report.windows.equal)
        ),
        false => format!("{} rows are not as they should be", grouped(report.wrong())),
    }
}

fn print_differences(out: &mut Out, report: &Report) -> anyhow::Result<()> {
    if report.differences.is_empty() {
        return Ok(());
    }
    let columns = ["sensor", "time", "kind", "row", "is", "expected", "found"];
    let mut table = Table::new(&columns.map(Column::left));
    for difference in &report.differences {
        let side = |side: &Option<String>| side.clone().unwrap_or_default();
        let cells = [
            difference.sensor.to_string(),
            difference.time.to_string(),
            difference.kind.to_string(),
            difference.row.clone(),
            difference.what.as_str().to_owned(),
            side(&difference.expected),
            side(&difference.found),
        ];
        table.row(out, cells.into())?;
    }
    table.finish(out)?;
    let untold = report.wrong() - report.differences.len() as u64;
    if untold > 0 {
        out.line(&format!("and {} more (--differences tells more)", grouped(untold)))?;
    }
    out.line("")?;
    Ok(())
}

fn quality_lines(quality: &AlertQuality) -> Vec<(&'static str, String)> {
    let share = |part: u64, whole: u64| match whole {
        0 => "none".to_owned(),
        whole => format!(
            "{} of {} ({:.0} %)",
            grouped(part),
            grouped(whole),
            100.0 * ratio(part, whole)
        ),
    };
    let precision = share(quality.true_alerts, quality.alerts);
    let mut lines = vec![("alerts", format!("{precision} met an anomaly"))];
    for (fault, of_fault) in &quality.by_fault {
        let mut line = format!("{} met by an alert", share(of_fault.alerted, of_fault.anomalies));
        if let Some(delay_ms) = of_fault.delay_ms_sum.checked_div(of_fault.alerted) {
            line += &format!(", after {} on average", duration(Duration::from_millis(delay_ms)));
        }
        lines.push((fault, line));
    }
    lines
}

/// Schema: `{"run","equal","sensors","records","failed","readings","windows","differences","alerts"}`. `readings` and
/// `windows` are `{"expected","equal","missing","unexpected","different"}`; a difference is `{"sensor_id","time","time_ms",
/// "kind","row","is","expected","found"}`; `alerts` is `null` or `{"alerts","precision","by_fault"}`, of each fault
/// `{"anomalies","recall","mean_delay_ms"}`. Ratios and means of nothing are `null`.
fn json(manifest: &Manifest, report: &Report) -> serde_json::Value {
    let differences = report.differences.iter().map(|difference| {
        serde_json::json!({
            "sensor_id": difference.sensor.to_string(),
            "time": difference.time.to_string(),
            "time_ms": difference.time.0,
            "kind": difference.kind.as_str(),
            "row": difference.row,
            "is": difference.what.as_str(),
            "expected": difference.expected,
            "found": difference.found,
        })
    });
    serde_json::json!({
        "run": manifest.run,
        "equal": report.is_equal(),
        "sensors": report.sensors,
        "records": report.records,
        "failed": manifest.counts.failed,
        "readings": report.readings,
        "windows": report.windows,
        "differences": differences.collect::<Vec<_>>(),
        "alerts": report.alerts.as_ref().map(json_quality),
    })
}

fn json_quality(quality: &AlertQuality) -> serde_json::Value {
    let of_fault = |(fault, of_fault): (&&str, &FaultQuality)| {
        let value = serde_json::json!({
            "anomalies": of_fault.anomalies,
            "recall": ratio(of_fault.alerted, of_fault.anomalies),
            "mean_delay_ms": ratio(of_fault.delay_ms_sum, of_fault.alerted),
        });
        ((*fault).to_owned(), value)
    };
    serde_json::json!({
        "alerts": quality.alerts,
        "precision": ratio(quality.true_alerts, quality.alerts),
        "by_fault": quality.by_fault.iter().map(of_fault).collect::<serde_json::Map<_, _>>(),
    })
}

/// Not a number, and `null` in JSON, of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
