//! The figures of a measurement as a table: the middle of all repetitions, and from where to where they lie.

use std::io;
use std::time::Duration;

use crate::proof::bench_report::{BenchReport, Repetition, Stage};
use crate::proof::statistics::{median, range};
use crate::report::{Column, Out, Table, bytes, duration, grouped, short};

/// Of every stage's latencies.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

const COLUMNS: [Column; 4] = [
    Column::left("figure"),
    Column::right("median"),
    Column::right("least"),
    Column::right("greatest"),
];

/// One repetition in a line.
pub fn line(repetition: &Repetition) -> String {
    let cpu = repetition.usage.cpu_us_per_reading;
    let cpu = cpu.map_or_else(String::new, |us| format!(", {us:.3} µs CPU a reading"));
    let readings = grouped(repetition.readings);
    format!("{readings} readings, {}/s{cpu}", short(repetition.readings_per_s))
}

pub fn print(out: &mut Out, report: &BenchReport) -> io::Result<()> {
    let count = report.repetitions.len();
    let noun = if count == 1 { "repetition" } else { "repetitions" };
    out.line(&format!("bench {}, {count} {noun}\n", report.bench))?;
    let mut table = Table::new(&COLUMNS);
    for figure in figures(report) {
        let (Some(middle), Some((least, greatest))) = (median(&figure.values), range(&figure.values)) else {
            continue;
        };
        let [middle, least, greatest] = [middle, least, greatest].map(figure.text);
        table.row(out, vec![figure.name, middle, least, greatest])?;
    }
    table.finish(out)?;
    for line in notes(report) {
        out.line(&line)?;
    }
    Ok(())
}

/// A figure of every repetition, and how it reads.
struct Figure {
    name: String,
    values: Vec<f64>,
    text: fn(f64) -> String,
}

/// What is absent in a repetition is left out.
fn figures(report: &BenchReport) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name: &str, text: fn(f64) -> String, of: &dyn Fn(&Repetition) -> Option<f64>| {
        if let Some(values) = report.figures(of) {
            let name = name.to_owned();
            figures.push(Figure { name, values, text });
        }
    };
    add("readings", count, &|it| Some(it.readings as f64));
    add("elapsed", seconds, &|it| Some(it.elapsed_s));
    add("readings/s", short, &|it| Some(it.readings_per_s));
    add("CPU a reading", micros_of_cpu, &|it| it.usage.cpu_us_per_reading);
    add("CPU", seconds, &|it| it.usage.cpu_s);
    add("memory, peak", memory, &|it| {
        it.usage.memory_peak_bytes.map(|bytes| bytes as f64)
    });
    add("memory, before", memory, &|it| {
        it.usage.memory_before_bytes.map(|bytes| bytes as f64)
    });
    let first = report.repetitions.first();
    for server in first.iter().flat_map(|it| it.usage.servers.keys()) {
        add(&format!("{server}, CPU"), seconds, &|it| {
            Some(it.usage.servers.get(server)?.cpu_s)
        });
        add(&format!("{server}, memory"), memory, &|it| {
            Some(it.usage.servers.get(server)?.memory_bytes as f64)
        });
    }
    add("other work", percent, &|it| it.usage.other_work);
    add("readings a write", decimal, &|it| {
        let writes = it.counts.get("writes").filter(|writes| **writes > 0)?;
        // Of the whole run, warm-up included, as the writes are.
        Some(*it.counts.get("readings")? as f64 / *writes as f64)
    });
    for stage in first
        .iter()
        .flat_map(|it| it.latencies.iter().map(|latency| latency.stage))
    {
        for (name, quantile) in QUANTILES {
            add(&format!("{}, {name}", stage.as_str()), micros, &|it| {
                at(it, stage, quantile)
            });
        }
    }
    figures
}

fn at(repetition: &Repetition, stage: Stage, quantile: f64) -> Option<f64> {
    let latency = repetition.latencies.iter().find(|latency| latency.stage == stage)?;
    Some(latency.at(quantile) as f64)
}

/// What is no figure: what was compared, and the rates that were tried.
fn notes(report: &BenchReport) -> Vec<String> {
    let mut notes = Vec::new();
    let verified: Option<Vec<_>> = report.repetitions.iter().map(|it| it.verified).collect();
    if let Some(all) = verified.filter(|all| !all.is_empty()) {
        let readings: u64 = all.iter().map(|it| it.readings).sum();
        let windows: u64 = all.iter().map(|it| it.windows).sum();
        let wrong: u64 = all.iter().map(|it| it.readings_wrong + it.windows_wrong).sum();
        let outcome = if wrong == 0 {
            "all as they must be".to_owned()
        } else {
            format!("{} missing, unexpected or different", grouped(wrong))
        };
        notes.push(format!(
            "\nverified: {} readings and {} windows, {outcome}",
            grouped(readings),
            grouped(windows)
        ));
    }
    for (number, repetition) in (1..).zip(&report.repetitions) {
        for tried in &repetition.tries {
            notes.push(format!(
                "repetition {number}: {}/s, p99 {}: {}",
                short(tried.rate),
                micros(tried.p99_us as f64),
                tried.failed.as_deref().unwrap_or("holds")
            ));
        }
    }
    notes
}

fn count(value: f64) -> String {
    grouped(value as u64)
}

fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

fn micros_of_cpu(value: f64) -> String {
    format!("{value:.3} µs")
}

fn decimal(value: f64) -> String {
    format!("{value:.1}")
}

fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

fn memory(value: f64) -> String {
    bytes(value as u64)
}

fn micros(value: f64) -> String {
    match value < 10_000.0 {
        true => format!("{:.2} ms", value / 1e3),
        false => duration(Duration::from_micros(value as u64)),
    }
}
