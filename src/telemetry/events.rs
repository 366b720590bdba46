//! One function for each event of the domain: what is logged, how loudly, under which names.

use std::fmt::Display;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::model::Reason;

/// The store failed and is tried again until it is back; once for each outage.
pub fn store_unavailable(error: &dyn Display) {
    warn!(%error, "store unavailable, trying again");
}

/// The outage goes on. What is told of its beginning is often a broken connection; why it lasts is told here.
pub fn store_still_unavailable(error: &dyn Display, since: Duration) {
    warn!(%error, for_s = since.as_secs(), "store still unavailable");
}

pub fn store_recovered(after: Duration) {
    info!(after_ms = after.as_millis(), "store recovered");
}

/// The registry failed and is asked again until it is back; once for each outage.
pub fn registry_unavailable(error: &dyn Display) {
    warn!(%error, "registry unavailable, partitions that need it wait");
}

pub fn registry_recovered(after: Duration) {
    info!(after_ms = after.as_millis(), "registry recovered");
}

/// A schema was fetched from the registry.
pub fn schema_learned(id: u32) {
    info!(id, "schema learned");
}

/// The registry does not know a schema and is asked for it again; once for each schema.
pub fn schema_unknown(id: u32, wait: Duration) {
    warn!(
        id,
        wait_s = wait.as_secs(),
        "schema unknown to the registry, its records wait"
    );
}

pub fn partitions_assigned(partitions: &[i32]) {
    info!(?partitions, "partitions assigned");
}

pub fn partitions_revoked(partitions: &[i32]) {
    info!(?partitions, "partitions revoked");
}

/// Taken away without a chance to finish: another member has them already.
pub fn partitions_lost(partitions: &[i32]) {
    warn!(?partitions, "partitions lost");
}

/// Dead letters that get a line each; of later ones only every power of two, or a broken fleet would log as fast as it sends.
const DEAD_LETTERS_IN_FULL: u64 = 10;

static DEAD_LETTERS: AtomicU64 = AtomicU64::new(0);

/// A record goes to the dead-letter topic. `detail` is for a person and holds no more of the payload than it must.
pub fn dead_letter(partition: i32, offset: i64, reason: Reason, detail: &str) {
    let so_far = DEAD_LETTERS.fetch_add(1, Ordering::Relaxed) + 1;
    if so_far <= DEAD_LETTERS_IN_FULL || so_far.is_power_of_two() {
        warn!(partition, offset, %reason, detail, so_far, "dead letter");
    } else {
        debug!(partition, offset, %reason, detail, so_far, "dead letter");
    }
}

/// Partition and next offset, as committed.
pub fn offsets_committed(offsets: &[(i32, i64)]) {
    debug!(?offsets, "offsets committed");
}

pub fn commit_failed(error: &str) {
    warn!(error, "committing offsets failed, trying again");
}

/// librdkafka told of trouble that it works around by itself; it repeats itself, so it is only said once in a while.
pub fn kafka_client_error(error: &dyn Display, reason: &str) {
    if KAFKA_ERRORS.is_due() {
        warn!(%error, reason, "kafka unavailable, trying again");
    } else {
        debug!(%error, reason, "kafka client error");
    }
}

/// The group's change of owners could not be answered.
pub fn rebalance_failed(what: &str, error: &str) {
    warn!(what, error, "answering a rebalance failed");
}

/// Fetching stopped because nothing is stored any more, or goes on.
pub fn fetching_paused(paused: bool) {
    if paused {
        warn!("fetching paused until the store takes readings again");
    } else {
        info!("fetching goes on");
    }
}

/// Revoked partitions were given up unfinished: the next owner processes a little again.
pub fn release_timed_out(partitions: &[i32]) {
    warn!(
        ?partitions,
        "revoked partitions could not be finished in time, given up without a commit"
    );
}

/// The brokers do not say yet where to start.
pub fn start_delayed(error: &str) {
    if START_DELAYS.is_due() {
        warn!(error, "waiting for the brokers");
    }
}

/// Records that will never be processed: the user said to go on.
pub fn hole_accepted(detail: &str) {
    warn!(detail, "going on over a hole");
}

/// How a running producer is doing; `behind` are records that were due and not sent yet.
pub fn producing(sent: u64, acknowledged: u64, in_flight: u64, behind: u64, records_per_s: u64, ack_p99_ms: u64) {
    info!(
        sent,
        acknowledged, in_flight, behind, records_per_s, ack_p99_ms, "producing"
    );
}

/// The first of two signals: what is under way is finished.
pub fn stopping(signal: &str) {
    info!(signal, "stopping; once more to stop at once");
}

/// How `consume` is doing, where there is no terminal to show it on.
pub fn consume_progress(line: &str) {
    info!("{line}");
}

/// How the demonstration is doing, where there is no terminal to show it on.
pub fn demo_progress(line: &str) {
    info!("{line}");
}

/// A repetition of a measurement has ended.
pub fn bench_progress(line: &str) {
    info!("{line}");
}

static KAFKA_ERRORS: EveryNowAndThen = EveryNowAndThen::new();
static START_DELAYS: EveryNowAndThen = EveryNowAndThen::new();

/// Due once in ten seconds, counted from the process's first look at the clock.
struct EveryNowAndThen {
    next_s: AtomicU64,
}

impl EveryNowAndThen {
    const INTERVAL_S: u64 = 10;

    const fn new() -> EveryNowAndThen {
        EveryNowAndThen {
            next_s: AtomicU64::new(0),
        }
    }

    fn is_due(&self) -> bool {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now_s = BEGAN.elapsed().as_secs();
        let next_s = self.next_s.load(Ordering::Relaxed);
        let taken = |next_s| {
            self.next_s
                .compare_exchange(next_s, now_s + Self::INTERVAL_S, Ordering::Relaxed, Ordering::Relaxed)
        };
        now_s >= next_s && taken(next_s).is_ok()
    }
}
