//! Tries store operations again for as long as it takes.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreError;
use crate::telemetry::events;

/// First and longest pause between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often an outage that goes on is told of.
const REMINDER: Duration = Duration::from_secs(30);

/// Whether the store takes requests, as seen by all who send them: told to a person once a change and now and then while it
/// lasts, not once a failure.
#[derive(Default, Debug)]
pub struct StoreHealth {
    outage: Mutex<Option<Outage>>,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    began: Instant,
    told: Instant,
}

impl StoreHealth {
    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_failing(&self) -> bool {
        self.outage().is_some()
    }

    fn failed(&self, error: &StoreError) {
        let (mut outage, now) = (self.outage(), Instant::now());
        match outage.as_mut() {
            None => {
                *outage = Some(Outage { began: now, told: now });
                events::store_unavailable(error);
            }
            Some(lasting) if now - lasting.told >= REMINDER => {
                lasting.told = now;
                events::store_still_unavailable(error, now - lasting.began);
            }
            Some(_) => {}
        }
    }

    /// A request that was sent at `sent` was answered: earlier ones say nothing about an outage that began after them.
    fn succeeded(&self, sent: Instant) {
        let mut outage = self.outage();
        if let Some(Outage { began, .. }) = *outage
            && sent > began
        {
            *outage = None;
            events::store_recovered(began.elapsed());
        }
    }
}

/// Calls `operation` until it succeeds or fails for good: exponential backoff with jitter, unbounded. The caller stops it
/// by dropping the future.
pub async fn until_done<T, F>(health: &StoreHealth, mut operation: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = BACKOFF.0;
    loop {
        let sent = Instant::now();
        match operation().await {
            Ok(value) => {
                health.succeeded(sent);
                return Ok(value);
            }
            Err(error) if error.is_transient() => health.failed(&error),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause.mul_f64(jitter())).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Half of the pause to all of it: writers that failed together do not come back together. The standard library's keys of
/// its hash maps are as random as this needs.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.5 + 0.5 * f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
