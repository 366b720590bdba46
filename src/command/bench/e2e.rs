//! `iotpipe bench e2e`: how long readings take at a rate, from when they are due until they can be asked for.

use std::time::Duration;

use super::live::{self, LiveSettings};
use super::{BOTH, Bench, Exit, UsageError};
use crate::cli::BenchE2eArgs;
use crate::config::{Config, duration_text};
use crate::proof::bench_report::Repetition;

pub fn run(config: &Config, args: &BenchE2eArgs) -> anyhow::Result<Exit> {
    let rate = config.produce.rate;
    if rate <= 0.0 {
        let what = "a rate of 0 has no schedule to measure latencies from: give --rate, or use bench drain";
        return Err(UsageError(what.to_owned()).into());
    }
    check_duration(args.duration)?;
    let settings = LiveSettings {
        rate,
        warm_up: args.warm_up,
        duration: args.duration,
        lag_max: None,
    };
    let asked = [
        ("duration", duration_text(args.duration)),
        ("warm-up", duration_text(args.warm_up)),
    ];
    Bench::new(config)?.measure("e2e", &args.bench, &asked, BOTH, |bench, place| {
        let live = live::run(bench, place, settings)?;
        let verified = bench.verify(place, &live.manifest, &place.config.window_sizes_s())?;
        Ok(Repetition {
            verified: Some(verified),
            ..live.repetition
        })
    })
}

pub fn check_duration(duration: Duration) -> Result<(), UsageError> {
    match duration.is_zero() {
        true => Err(UsageError("--duration must be longer than 0".to_owned())),
        false => Ok(()),
    }
}
