//! `iotpipe bench`: the arguments of each measurement. The fleet and the consumer are settings, as in `produce` and `consume`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::parse_duration;

pub const BENCH_EXAMPLES: &str = "\
Each repetition makes topics and a keyspace of its own and removes them, also after a failure or Ctrl-C.

Examples:
  iotpipe bench drain --records 5000000 --out drain.json
  iotpipe bench e2e --sensors 1000 --rate 100000 --duration 5m
  iotpipe bench max --sensors 20000 --repetitions 1
  iotpipe bench show drain.json
  iotpipe bench compare before.json drain.json

Exit codes: 3 where the store differs from what was produced, 4 where a comparison is significantly slower.";

#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// How fast Kafka takes the readings of a simulated fleet
    Produce(BenchProduceArgs),
    /// How fast the store takes readings: writes alone
    Store(BenchStoreArgs),
    /// How fast a backlog in Kafka is stored
    Drain(BenchDrainArgs),
    /// How long readings take from when they are due until they can be asked for, at a rate
    E2e(BenchE2eArgs),
    /// Search the highest rate at which readings can be asked for in time
    Max(BenchMaxArgs),
    /// Draw what a report holds
    Show(BenchShowArgs),
    /// Test whether a report costs significantly more CPU a reading than another
    #[command(after_help = COMPARE_ABOUT)]
    Compare(BenchCompareArgs),
}

/// What all measurements have in common.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// How often it is measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), default_value_t = 3)]
    pub repetitions: u32,
    /// Write all figures of all repetitions to this file, for show and compare
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A run without pace.
#[derive(Args, Debug)]
pub struct BenchEventTimeArgs {
    /// Event time between two readings of one sensor
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub interval: Duration,
}

#[derive(Args, Debug)]
pub struct BenchProduceArgs {
    #[command(flatten)]
    pub bench: BenchArgs,
    #[command(flatten)]
    pub event_time: BenchEventTimeArgs,
    /// Records of each repetition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 1_000_000)]
    pub records: u64,
    /// Stop each repetition after so long instead
    #[arg(long, value_parser = parse_duration, conflicts_with = "records")]
    pub duration: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct BenchStoreArgs {
    #[command(flatten)]
    pub bench: BenchArgs,
    #[command(flatten)]
    pub event_time: BenchEventTimeArgs,
    /// Records of each repetition; their readings are made before it begins and held in memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 1_000_000)]
    pub records: u64,
    /// Stop each repetition after so long, if it has not ended by then
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Readings of one sensor in one write
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 30)]
    pub batch: u32,
}

#[derive(Args, Debug)]
pub struct BenchDrainArgs {
    #[command(flatten)]
    pub bench: BenchArgs,
    #[command(flatten)]
    pub event_time: BenchEventTimeArgs,
    /// Records of each repetition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 1_000_000)]
    pub records: u64,
}

#[derive(Args, Debug)]
pub struct BenchE2eArgs {
    #[command(flatten)]
    pub bench: BenchArgs,
    /// How long each repetition is measured
    #[arg(long, value_parser = parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// How long it runs before that
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub warm_up: Duration,
}

#[derive(Args, Debug)]
pub struct BenchMaxArgs {
    #[command(flatten)]
    pub bench: BenchArgs,
    /// How long each rate is measured
    #[arg(long, value_parser = parse_duration, default_value = "20s")]
    pub duration: Duration,
    /// How long it runs before that
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub warm_up: Duration,
    /// Records a second that the search begins with
    #[arg(long, value_name = "X", value_parser = rate, default_value = "20000")]
    pub start_rate: f64,
    /// What 99 % of the readings may take from when they are due until they can be asked for
    #[arg(long, value_parser = parse_duration, default_value = "250ms")]
    pub bound: Duration,
    /// The search ends when the highest good and the lowest bad rate are so close
    #[arg(long, value_parser = percent, default_value = "5%")]
    pub precision: f64,
}

#[derive(Args, Debug)]
pub struct BenchShowArgs {
    /// A file that --out wrote
    #[arg(value_name = "REPORT")]
    pub report: PathBuf,
}

const COMPARE_ABOUT: &str = "\
Slower is an increase of CPU time a reading that noise does not explain (Welch's t-test on the logarithms, 5 %) and that is
above the threshold. Both reports need three repetitions or more; five tell a tenth from noise of 3 %. Reports of different
measurements or settings are refused.";

#[derive(Args, Debug)]
pub struct BenchCompareArgs {
    /// The report to compare with
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The report that may be slower
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Increases up to this are no failure
    #[arg(long, value_parser = percent, default_value = "5%")]
    pub threshold: f64,
}

/// `5%` or `0.05`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / unit);
    let share = share.ok().filter(|share| (0.0..=10.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is no share: write for example 5% or 0.05"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.replace('_', "").parse::<f64>().ok();
    let rate = rate.filter(|rate| (1.0..=1e9).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate of 1 to 1e9 records a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_with_and_without_a_sign() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.05"), Ok(0.05));
        for wrong in ["", "%", "-1%", "five", "2000%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
