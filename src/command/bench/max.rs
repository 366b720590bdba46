//! `iotpipe bench max`: the highest rate at which readings can be asked for in time and the consumer does not fall behind.

use std::time::Duration;

use anyhow::anyhow;

use super::e2e::check_duration;
use super::live::{self, Live, LiveSettings};
use super::search::Search;
use super::{BOTH, Bench, Exit, NOTHING};
use crate::cli::BenchMaxArgs;
use crate::config::{Config, duration_text};
use crate::proof::bench_report::{Repetition, Stage, Try};
use crate::report::{duration, rate};
use crate::telemetry::events;

/// A sensor's readings are at least a millisecond apart.
const READINGS_PER_SENSOR_S: f64 = 1000.0;
/// Further behind than so many bounds, a rate has failed before its time is over.
const LAG_BOUNDS_MAX: u32 = 8;
/// What the latency may be above the bound for in a hundred readings.
const QUANTILE: f64 = 0.99;

pub fn run(config: &Config, args: &BenchMaxArgs) -> anyhow::Result<Exit> {
    check_duration(args.duration)?;
    let asked = [
        ("duration", duration_text(args.duration)),
        ("warm-up", duration_text(args.warm_up)),
        ("bound", duration_text(args.bound)),
        ("start rate", args.start_rate.to_string()),
        ("precision", args.precision.to_string()),
    ];
    // Each try has a place of its own.
    Bench::new(config)?.measure("max", &args.bench, &asked, NOTHING, |bench, _| once(bench, args))
}

fn once(bench: &mut Bench, args: &BenchMaxArgs) -> anyhow::Result<Repetition> {
    let limit = f64::from(bench.config.produce.sensors) * READINGS_PER_SENSOR_S;
    let mut search = Search::new(args.start_rate, limit, args.precision);
    let (mut best, mut tries) = (Repetition::default(), Vec::new());
    while let Some(rate_per_s) = search.next() {
        let settings = LiveSettings {
            rate: rate_per_s,
            warm_up: args.warm_up,
            duration: args.duration,
            lag_max: Some(args.bound * LAG_BOUNDS_MAX),
        };
        let live = bench.in_place(BOTH, |bench, place| live::run(bench, place, settings))?;
        let tried = judged(rate_per_s, args.bound, &live);
        let outcome = tried.failed.as_deref().unwrap_or("holds");
        let p99 = duration(Duration::from_micros(tried.p99_us));
        events::bench_progress(&format!("max: {}, p99 {p99}: {outcome}", rate(rate_per_s)));
        search.take(tried.failed.is_none());
        if tried.failed.is_none() {
            best = live.repetition;
        }
        tries.push(tried);
    }
    if search.found().is_none() {
        return Err(anyhow!(
            "no rate holds, not even 1 record a second: readings take longer than {}",
            duration(args.bound)
        ));
    }
    Ok(Repetition { tries, ..best })
}

/// Whether a rate held, and if not, why.
fn judged(rate: f64, bound: Duration, live: &Live) -> Try {
    let queryable = live.repetition.latencies.iter().find(|it| it.stage == Stage::Queryable);
    let measured = queryable.filter(|latency| latency.count > 0);
    let p99_us = measured.map_or(0, |latency| latency.at(QUANTILE));
    let failed = if live.gave_up {
        Some(format!("more than {} behind", duration(bound * LAG_BOUNDS_MAX)))
    } else if live.lag_at_end > bound {
        Some(format!("{} behind at the end", duration(live.lag_at_end)))
    } else if measured.is_none() {
        Some("nothing was measured".to_owned())
    } else if Duration::from_micros(p99_us) > bound {
        Some("p99 above the bound".to_owned())
    } else {
        None
    };
    Try { rate, failed, p99_us }
}
