//! `iotpipe produce --replay`: recorded data from a CSV file into Kafka, or onto standard output.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};

use super::{Printer, outcome, send, sent_lines};
use crate::cli::{ProduceArgs, ReplayArgs, TimeUnit};
use crate::codec::parse_rfc3339;
use crate::command::{Exit, UsageError, now, subjects};
use crate::config::Config;
use crate::fleet::{Columns, Extent, Format, Replay, SensorColumn};
use crate::kafka::producer::ReadingProducer;
use crate::model::TimeMs;
use crate::pipeline::produce::{FLUSH_TIMEOUT, ProduceProgress};
use crate::pipeline::replay::{ReplayOutcome, ReplayRun, replay};

pub fn run(config: &Config, args: &ProduceArgs, file: &Path, stop: &AtomicBool) -> anyhow::Result<Exit> {
    let columns = columns(&args.replay, file)?;
    let named = || format!("replaying {}", file.display());
    // The whole file first: nothing is sent of one that cannot be sent to its end.
    let recorded = open(file, columns.clone(), &args.replay, 0)?;
    let Some(extent) = recorded.extent().with_context(named)? else {
        return Err(anyhow!("replaying {}: it holds no reading", file.display()));
    };
    let begin = |shift_ms: i64, schema_id: Option<u32>| -> anyhow::Result<ReplayRun<BufReader<File>>> {
        let recorded = open(file, columns.clone(), &args.replay, shift_ms)?;
        Ok(ReplayRun {
            replay: match schema_id {
                Some(id) => recorded.in_avro(id).with_context(named)?,
                None => recorded,
            },
            from: TimeMs(extent.first.0.saturating_add(shift_ms)),
            speed: args.replay.speed,
            count: args.count,
            duration: args.duration,
            flush_timeout: FLUSH_TIMEOUT,
        })
    };
    if args.stdout {
        let mut sink = Printer::new();
        let run = begin(shift_ms(&args.replay, extent), None)?;
        let ReplayOutcome { broken, .. } = replay(run, &mut sink, stop, &ProduceProgress::default())?;
        sink.finish()?;
        return broken.map_or(Ok(Exit::Ok), |error| Err(error).with_context(named));
    }
    let subject = subjects::of_topic(&config.kafka.topic);
    let schema_id = subjects::schema_id_of(Format::Narrow, config, &subject)?;
    let mut producer = ReadingProducer::new(&config.kafka(), &config.kafka.topic, None)?;
    let partitions = producer.check_topic()?;
    let shift_ms = shift_ms(&args.replay, extent);
    let run = begin(shift_ms, schema_id)?;
    let count = args.count.map_or(extent.records, |count| count.min(extent.records));
    let ReplayOutcome { summary, broken } =
        send(Some(count), stop, |progress| replay(run, &mut producer, stop, progress))?;
    let mut lines = vec![("file", file.display().to_string())];
    let [first, last] = [extent.first, extent.last].map(|time| TimeMs(time.0.saturating_add(shift_ms)));
    let times = format!("{first} to {last} in the whole file");
    lines.extend(sent_lines(&summary, times, producer.topic(), partitions));
    outcome(config, summary, &lines, None)?;
    broken.map_or(Ok(Exit::Ok), |error| Err(error).with_context(named))
}

fn open(file: &Path, columns: Columns, args: &ReplayArgs, shift_ms: i64) -> anyhow::Result<Replay<BufReader<File>>> {
    let named = || format!("replaying {}", file.display());
    let input = File::open(file).with_context(named)?;
    let parse_time = match args.time_unit {
        TimeUnit::Ms => milliseconds,
        TimeUnit::S => seconds,
    };
    Replay::new(BufReader::new(input), columns, parse_time, shift_ms).with_context(named)
}

fn columns(args: &ReplayArgs, file: &Path) -> Result<Columns, UsageError> {
    let values = match (&args.value_columns[..], &args.kind) {
        ([one], Some(kind)) => vec![(one.clone(), kind.clone())],
        (_, Some(_)) => {
            let several = "--kind names the measure of one --value-column: several are named by their columns";
            return Err(UsageError(several.to_owned()));
        }
        (columns, None) => columns.iter().map(|name| (name.clone(), name.clone())).collect(),
    };
    let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let sensor = match &args.id_column {
        Some(column) => SensorColumn::Column(column.clone()),
        None => SensorColumn::One(args.sensor.clone().unwrap_or_else(stem)),
    };
    Ok(Columns {
        time: args.time_column.clone(),
        values,
        sensor,
    })
}

/// What moves the first reading to now, where that is asked for.
fn shift_ms(args: &ReplayArgs, extent: Extent) -> i64 {
    if args.shift_to_now {
        now().0.saturating_sub(extent.first.0)
    } else {
        0
    }
}

fn milliseconds(text: &str) -> Option<TimeMs> {
    text.parse().ok().map(TimeMs).or_else(|| parse_rfc3339(text))
}

/// Seconds since 1970, cut to whole milliseconds. By digits: a double would be off by one now and then.
fn seconds(text: &str) -> Option<TimeMs> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return parse_rfc3339(text);
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{whole}{thousandths}").parse().ok().map(TimeMs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_recorded_data() {
        let noon = Some(TimeMs(1_762_344_000_500));
        assert_eq!(milliseconds("1762344000500"), noon);
        assert_eq!(milliseconds("2025-11-05 12:00:00.5"), noon);
        assert_eq!(seconds("1762344000.5"), noon);
        assert_eq!(seconds("1762344000.5009"), noon);
        assert_eq!(seconds("2025-11-05T13:00:00.5+01:00"), noon);
        assert_eq!(seconds("1762344000"), Some(TimeMs(1_762_344_000_000)));
        for wrong in ["", ".", "-5", "1.x", "noon"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }
}
