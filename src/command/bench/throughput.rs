//! What was done in each second, by looking at counters.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::now;
use crate::model::TimeMs;
use crate::proof::bench_report::Throughput;

const INTERVAL: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(20);
/// What is left at the end counts as a second of its own from this on.
const LEFT_OVER_MIN: Duration = Duration::from_millis(200);

/// Counters as they stand now; absent is what does not count here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    pub produced: Option<u64>,
    pub stored: Option<u64>,
}

/// Does `work` and looks at `done` every second meanwhile.
pub fn during<T>(done: impl Fn() -> Done + Send, work: impl FnOnce() -> T) -> (T, anyhow::Result<Vec<Throughput>>) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&ended, done));
        let worked = work();
        ended.store(true, Ordering::Relaxed);
        let seconds = watcher.join().map_err(|_| anyhow!("the watching thread panicked"));
        (worked, seconds)
    })
}

/// Looks every second until `ended`.
pub fn watch(ended: &AtomicBool, done: impl Fn() -> Done) -> Vec<Throughput> {
    let began = Instant::now();
    let mut series = Series::default();
    loop {
        let is_end = ended.load(Ordering::Relaxed);
        series.look((began.elapsed(), now()), done(), is_end);
        if is_end {
            return series.seconds;
        }
        std::thread::sleep(NAP);
    }
}

#[derive(Default)]
struct Series {
    /// The last look that became a second.
    last: Option<(Duration, Done)>,
    seconds: Vec<Throughput>,
}

impl Series {
    /// `at`: since the beginning, and by the wall clock.
    fn look(&mut self, (at, clock): (Duration, TimeMs), done: Done, is_end: bool) {
        let Some((last_at, last)) = self.last else {
            self.last = Some((at, done));
            return;
        };
        let passed = at.saturating_sub(last_at);
        if passed < INTERVAL && !(is_end && passed >= LEFT_OVER_MIN) {
            return;
        }
        let per_s = |now: Option<u64>, last: Option<u64>| {
            let done = now?.saturating_sub(last?);
            Some(done as f64 / passed.as_secs_f64())
        };
        self.seconds.push(Throughput {
            at_ms: clock.0,
            produced_per_s: per_s(done.produced, last.produced),
            stored_per_s: per_s(done.stored, last.stored),
        });
        self.last = Some((at, done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_rates_by_the_second_and_a_scrap_at_the_end_is_left_out() {
        let mut series = Series::default();
        for (at_ms, stored, is_end) in [
            (0, 0, false),
            (500, 40, false),
            (1000, 100, false),
            (3000, 300, false),
            (3100, 900, true),
        ] {
            let done = Done {
                produced: None,
                stored: Some(stored),
            };
            series.look(
                (Duration::from_millis(at_ms), TimeMs(7_000 + at_ms as i64)),
                done,
                is_end,
            );
        }
        let seconds: Vec<_> = series
            .seconds
            .iter()
            .map(|second| (second.at_ms, second.stored_per_s))
            .collect();
        assert_eq!(seconds, [(8_000, Some(100.0)), (10_000, Some(100.0))]);
        assert!(series.seconds.iter().all(|second| second.produced_per_s.is_none()));
    }
}
