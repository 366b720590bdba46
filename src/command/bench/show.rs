//! `iotpipe bench show`: the figures of a report, its latencies and its throughput drawn.

use std::io::{self, Write};

use super::{Exit, read, table};
use crate::cli::BenchShowArgs;
use crate::model::TimeMs;
use crate::proof::bench_report::{BenchReport, Latency, Repetition, Throughput};
use crate::proof::statistics::median;
use crate::report::Out;
use crate::report::plot::{Series, draw_quantiles, draw_seconds};

/// A rate of a second, where it was measured.
type PerSecond = fn(&Throughput) -> Option<f64>;

pub fn run(args: &BenchShowArgs) -> anyhow::Result<Exit> {
    let report = read(&args.report)?;
    let mut out = Out::stdout();
    show(&mut out, &report)?;
    out.flush()?;
    Ok(Exit::Ok)
}

fn show(out: &mut Out, report: &BenchReport) -> io::Result<()> {
    let versions: Vec<String> = report
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let machine = &report.machine;
    let cores = machine.cores.map(|cores| format!("{cores} cores"));
    let machine: Vec<&str> = [machine.model.as_deref(), cores.as_deref(), machine.kernel.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    out.line(&format!(
        "{}\n{}\n{}\n",
        report.began,
        versions.join(", "),
        machine.join(", ")
    ))?;
    table::print(out, report)?;
    // All repetitions in one picture would hide each: the middle one is shown.
    let Some(repetition) = middle(report) else {
        return Ok(());
    };
    for latency in &repetition.latencies {
        out.line("")?;
        draw_latency(out, latency)?;
    }
    let lines: [(&str, PerSecond); 2] = [
        ("produced/s", |it| it.produced_per_s),
        ("stored/s", |it| it.stored_per_s),
    ];
    for (title, of) in lines {
        draw_throughput(out, report, repetition, title, of)?;
    }
    Ok(())
}

/// The repetition whose throughput is the median.
fn middle(report: &BenchReport) -> Option<&Repetition> {
    let wanted = median(&report.figures(|it| Some(it.readings_per_s))?)?;
    let distance = |it: &&Repetition| (it.readings_per_s - wanted).abs();
    report
        .repetitions
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

fn draw_latency(out: &mut Out, latency: &Latency) -> io::Result<()> {
    let points: Vec<(f64, f64)> = latency
        .quantiles
        .iter()
        .map(|it| (it.quantile, it.us as f64 / 1000.0))
        .collect();
    draw_quantiles(out, &format!("{}, ms", latency.stage.as_str()), latency.count, &points)
}

fn draw_throughput(
    out: &mut Out,
    report: &BenchReport,
    repetition: &Repetition,
    title: &str,
    of: PerSecond,
) -> io::Result<()> {
    let mut series = Series::default();
    for second in &repetition.throughput {
        if let Some(per_s) = of(second) {
            series.push(TimeMs(second.at_ms), per_s);
        }
    }
    if series.count() == 0 {
        return Ok(());
    }
    out.line("")?;
    draw_seconds(out, &format!("{} {title}", report.bench), &series)
}
