//! `iotpipe bench compare`: whether a build got slower, by what noise does not disturb most: its own CPU time a reading.

use std::io::Write;

use anyhow::anyhow;

use super::{Exit, UsageError, read};
use crate::cli::BenchCompareArgs;
use crate::proof::bench_report::{BenchReport, Repetition};
use crate::proof::statistics::{Change, LEVEL, REPETITIONS_MIN, median};
use crate::report::{Column, Out, Table, short};

const COLUMNS: [Column; 5] = [
    Column::left("figure"),
    Column::right("base"),
    Column::right("new"),
    Column::right("change"),
    Column::right("interval of 95 %"),
];

pub fn run(args: &BenchCompareArgs) -> anyhow::Result<Exit> {
    let (base, new) = (read(&args.base)?, read(&args.new)?);
    let differences = base.differences(&new);
    if !differences.is_empty() {
        return Err(UsageError(format!(
            "these measurements cannot be compared: {}",
            differences.join("; ")
        ))
        .into());
    }
    let cpu = of_both("CPU time a reading", &base, &new, |it| it.usage.cpu_us_per_reading)?;
    let rate = of_both("readings a second", &base, &new, |it| Some(it.readings_per_s))?;
    let mut out = Out::stdout();
    if base.machine != new.machine {
        out.note("warning: the reports are of different machines");
    }
    let mut table = Table::new(&COLUMNS);
    let micros = |value: f64| format!("{value:.3} µs");
    table.row(&mut out, row("CPU a reading", &cpu, micros))?;
    table.row(&mut out, row("readings/s", &rate, short))?;
    table.finish(&mut out)?;
    let is_slower = cpu.change.is_increase(args.threshold);
    let verdict = match (is_slower, cpu.change.p_increase < LEVEL) {
        (true, _) => "significantly slower",
        (false, true) => "significantly slower, but not above the threshold",
        (false, false) => "not significantly slower",
    };
    out.line(&format!(
        "\n{verdict}: CPU a reading {}, threshold {}, p = {:.4}",
        change(cpu.change.ratio),
        change(1.0 + args.threshold),
        cpu.change.p_increase
    ))?;
    out.flush()?;
    Ok(if is_slower { Exit::Slower } else { Exit::Ok })
}

/// A figure of both reports.
struct Compared {
    base: f64,
    new: f64,
    change: Change,
}

fn of_both(
    what: &str,
    base: &BenchReport,
    new: &BenchReport,
    of: impl Fn(&Repetition) -> Option<f64>,
) -> anyhow::Result<Compared> {
    let figures = |report: &BenchReport, name: &str| {
        let figures = report.figures(&of);
        figures.ok_or_else(|| anyhow!("the {name} report says no {what}: it was not measured on Linux"))
    };
    let (base, new) = (figures(base, "base")?, figures(new, "new")?);
    let compared = Change::between(&base, &new)
        .zip(median(&base))
        .zip(median(&new))
        .map(|((change, base), new)| Compared { base, new, change });
    compared.ok_or_else(|| {
        let [base, new] = [base.len(), new.len()];
        anyhow!(
            "{base} and {new} repetitions with some {what} each do not tell noise from a change: both need \
             {REPETITIONS_MIN} or more (--repetitions)"
        )
    })
}

fn row(name: &str, compared: &Compared, text: impl Fn(f64) -> String) -> Vec<String> {
    let (low, high) = compared.change.interval;
    vec![
        name.to_owned(),
        text(compared.base),
        text(compared.new),
        change(compared.change.ratio),
        format!("{} to {}", change(low), change(high)),
    ]
}

/// A ratio as a person reads it: `+4.2 %`.
fn change(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}
