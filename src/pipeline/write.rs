//! Writes alone: as many in flight as there are writers, straight into the store, without Kafka and without the processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::retry::StoreHealth;
use super::writers::{Landed, ToStore, Writers};
use crate::model::SensorWrite;
use crate::store::Store;

/// Latencies above are counted as this.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// How a run of writes went.
#[derive(Clone, Debug)]
pub struct WriteSummary {
    pub readings: u64,
    pub writes: u64,
    /// From the first write sent to the last acknowledged.
    pub elapsed: Duration,
    /// From handing a write to its writer to its acknowledgement, microseconds. The next is sent when one has landed, so what
    /// waits behind a slow one is not in it.
    pub latency_us: Histogram<u64>,
}

/// Sends all writes, or as many as there are before `stop`, and waits for what is in flight, all of it on `runtime`, where the
/// store was opened. `readings` counts those acknowledged so far. The error is that of a write that the store refused for good.
pub fn write<S: Store>(
    writes: impl Iterator<Item = SensorWrite>,
    in_flight: usize,
    store: &Arc<S>,
    runtime: &Runtime,
    stop: &AtomicBool,
    readings: &AtomicU64,
) -> Result<WriteSummary, String> {
    let (landed, landings) = mpsc::unbounded_channel(); // bounded by what is in flight
    let health = Arc::new(StoreHealth::default());
    let mut run = Run {
        writers: Writers::start::<S, Landed>(runtime.handle(), in_flight, store, &health, &landed),
        landings,
        sent_at: vec![Instant::now(); in_flight],
        free: (0..in_flight).collect(),
        summary: WriteSummary {
            readings: 0,
            writes: 0,
            elapsed: Duration::ZERO,
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds are in order"),
        },
    };
    let began = Instant::now();
    runtime.block_on(async {
        for write in writes {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if run.free.is_empty() {
                run.take_landing(readings).await?;
            }
            run.send(write);
        }
        while run.free.len() < in_flight {
            run.take_landing(readings).await?;
        }
        Ok::<_, String>(())
    })?;
    run.summary.elapsed = began.elapsed();
    Ok(run.summary)
}

struct Run {
    writers: Writers,
    landings: UnboundedReceiver<Landed>,
    /// When the write of a slot was sent; a write's id is its slot.
    sent_at: Vec<Instant>,
    free: Vec<usize>,
    summary: WriteSummary,
}

impl Run {
    fn send(&mut self, mut write: SensorWrite) {
        if let Some(slot) = self.free.pop() {
            write.id.0 = slot as u64;
            self.sent_at[slot] = Instant::now();
            self.writers.write(Box::new(write));
            self.writers.dispatch();
        }
    }

    /// Waits for one write.
    async fn take_landing(&mut self, readings: &AtomicU64) -> Result<(), String> {
        let landed = self.landings.recv().await.ok_or("the writers ended by themselves")?;
        let (writer, landed) = landed?;
        self.writers.is_free_again(writer);
        let ToStore::Writes(writes) = landed else { return Ok(()) };
        for write in writes {
            let slot = write.id.0 as usize;
            let latency_us = u64::try_from(self.sent_at[slot].elapsed().as_micros()).unwrap_or(u64::MAX);
            self.summary.latency_us.saturating_record(latency_us);
            self.summary.writes += 1;
            self.summary.readings += write.rows.len() as u64;
            self.free.push(slot);
            readings.store(self.summary.readings, Ordering::Relaxed);
        }
        Ok(())
    }
}
