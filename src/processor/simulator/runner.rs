//! Runs schedules on all cores.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::teeth::{self, Tooth};
use super::counts::Counts;
use super::world::{Check, StoreTooth, World};

/// What is taken out, and how much is judged.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub processor_tooth: Option<Tooth>,
    pub store_tooth: Option<StoreTooth>,
    /// Cells are compared with the oracle when they are sent; else only what the store holds counts.
    pub judges_what_is_sent: bool,
    pub stops_at_first: bool,
    /// Prints all that happens.
    pub traces: bool,
    /// Takes all that happens into [`World::digest`].
    pub digests: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            processor_tooth: None,
            store_tooth: None,
            judges_what_is_sent: true,
            stops_at_first: false,
            traces: false,
            digests: false,
        }
    }
}

/// What came of many schedules.
#[derive(Default)]
pub struct Report {
    pub counts: Counts,
    /// By seed, ascending.
    pub failures: Vec<(u64, Check, String)>,
}

/// Seeds that a thread takes at once.
const CHUNK: u64 = 32;

pub fn run(seeds: Range<u64>, options: &Options) -> Report {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                teeth::take_out(options.processor_tooth);
                let mut mine = Report::default();
                while !stop.load(Ordering::Relaxed) {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if from >= seeds.end {
                        break;
                    }
                    for seed in from..seeds.end.min(from + CHUNK) {
                        if let Some((check, failure)) = one(seed, options, &mut mine.counts).0 {
                            mine.failures.push((seed, check, failure));
                            stop.fetch_or(options.stops_at_first, Ordering::Relaxed);
                        }
                    }
                }
                let mut report = report.lock().expect("no thread panics with the report in hand");
                report.counts += &mine.counts;
                report.failures.append(&mut mine.failures);
            });
        }
    });
    let mut report = report.into_inner().expect("no thread panics with the report in hand");
    report.failures.sort();
    report
}

/// One schedule: what is wrong, and the digest of what happened.
fn one(seed: u64, options: &Options, counts: &mut Counts) -> (Option<(Check, String)>, Option<u64>) {
    let run = || {
        let mut world = World::new(seed, options);
        world.run();
        world
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(world) => {
            *counts += &world.counts;
            let (clock, digest) = (world.clock, world.digest);
            let failure = world
                .failure
                .map(|(check, failure)| (check, format!("at {clock}: {failure}")));
            (failure, digest)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (Some((Check::Panic, text.unwrap_or_default())), None)
        }
    }
}

/// Runs one schedule and prints all that happens.
pub fn replay(seed: u64) -> Option<(Check, String)> {
    let options = Options {
        traces: true,
        ..Options::default()
    };
    one(seed, &options, &mut Counts::default()).0
}

/// Of all that happens in a schedule.
pub fn digest(seed: u64) -> Option<u64> {
    let options = Options {
        digests: true,
        ..Options::default()
    };
    one(seed, &options, &mut Counts::default()).1
}

pub fn seed_to_replay() -> Option<u64> {
    number("IOTPIPE_SIMULATE_SEED")
}

pub fn number_of_schedules() -> Option<u64> {
    number("IOTPIPE_SIMULATE_SCHEDULES")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}
