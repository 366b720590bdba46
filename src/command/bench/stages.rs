//! Latencies of a reading on its way, from when it was due: nothing that waits is left out (no coordinated omission).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use crate::model::{Record, SensorWrite, TimeMs};
use crate::pipeline::consume::ConsumeObserver;
use crate::proof::bench_report::{Latency, Quantile, Stage};

/// Latencies above are counted as this.
const MAX_US: u64 = 3_600_000_000;

/// Shares of the readings that a report says the latency of.
const QUANTILES: [f64; 24] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999,
    0.9995, 0.9999, 0.99999, 0.999999, 1.0,
];

pub fn latency(stage: Stage, histogram: &Histogram<u64>) -> Latency {
    let quantiles = QUANTILES.map(|quantile| Quantile {
        quantile,
        us: histogram.value_at_quantile(quantile),
    });
    Latency {
        stage,
        count: histogram.len(),
        mean_us: histogram.mean(),
        max_us: histogram.max(),
        quantiles: quantiles.to_vec(),
    }
}

/// Measures in the consumer, for readings that were due from a time on.
pub struct Stages {
    from_ms: AtomicI64,
    polled_us: Mutex<Histogram<u64>>,
    queryable_us: Mutex<Histogram<u64>>,
    /// The wall clock when the last of them was stored, microseconds.
    last_stored_us: AtomicU64,
    /// All readings that were stored, measured or not.
    stored: AtomicU64,
}

impl Stages {
    /// Measures nothing before it is told from when.
    pub fn new() -> Stages {
        let histogram = || Mutex::new(Histogram::new_with_bounds(1, MAX_US, 3).expect("constant bounds are in order"));
        Stages {
            from_ms: AtomicI64::new(i64::MAX),
            polled_us: histogram(),
            queryable_us: histogram(),
            last_stored_us: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        }
    }

    pub fn measure_from(&self, from: TimeMs) {
        self.from_ms.store(from.0, Ordering::Relaxed);
    }

    /// Readings that the store has acknowledged, measured or not.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Of them those that are measured.
    pub fn measured(&self) -> u64 {
        locked(&self.queryable_us).len()
    }

    /// The wall clock when the last measured one was stored, microseconds.
    pub fn last_stored_us(&self) -> u64 {
        self.last_stored_us.load(Ordering::Relaxed)
    }

    pub fn latencies(&self) -> [Latency; 2] {
        [
            latency(Stage::Polled, &locked(&self.polled_us)),
            latency(Stage::Queryable, &locked(&self.queryable_us)),
        ]
    }
}

impl ConsumeObserver for Stages {
    fn polled(&self, record: &Record) {
        if record.time.0 >= self.from_ms.load(Ordering::Relaxed) {
            locked(&self.polled_us).saturating_record(after_us(record.time, wall_clock_us()));
        }
    }

    fn stored(&self, write: &SensorWrite) {
        let from_ms = self.from_ms.load(Ordering::Relaxed);
        let now_us = wall_clock_us();
        let mut queryable_us = locked(&self.queryable_us);
        for row in write.rows.iter().filter(|row| row.time.0 >= from_ms) {
            queryable_us.saturating_record(after_us(row.time, now_us));
            self.last_stored_us.store(now_us, Ordering::Relaxed);
        }
        self.stored.fetch_add(write.rows.len() as u64, Ordering::Relaxed);
    }
}

/// Each is used by one thread while it runs.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_clock_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// From when it was due, in whole milliseconds rounded down, so at most 1 ms too much.
fn after_us(due: TimeMs, now_us: u64) -> u64 {
    now_us.saturating_sub(due.micros().max(0).unsigned_abs())
}
