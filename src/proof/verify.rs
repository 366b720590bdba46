//! Compares what the store holds of a run with what it must hold, sensor by sensor, streaming.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;

use super::alerts::quality;
pub use super::alerts::{AlertQuality, FaultQuality};
use super::compare::{Compared, compare};
use super::expected::{Expected, Terms};
use super::manifest::Manifest;
use crate::fleet::{FleetError, Histories};
use crate::model::{Kind, SensorId, TimeMs};
use crate::store::{Store, StoreError};

/// Sensors that are compared at once: enough to keep a store busy, each with a page or two in memory.
const SENSORS_AT_ONCE: usize = 16;

/// What is compared.
#[derive(Clone, PartialEq, Debug)]
pub struct VerifySettings {
    /// Sizes of the windows that the store must hold, seconds; empty where it keeps none.
    pub window_sizes_s: Vec<u32>,
    /// Rules that look for anomalies, where alerts are compared with the labelled ones.
    pub anomaly_rules: Option<BTreeSet<String>>,
    /// Differences that are told one by one.
    pub differences_max: usize,
}

/// Why it could not be found out.
#[derive(thiserror::Error, Debug)]
pub enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the manifest's fleet cannot be made: {0}")]
    Fleet(#[from] FleetError),
    #[error(
        "the manifest's fleet makes {made} records, and the run sent {sent}: the manifest was changed, or another version \
         of iotpipe ({by}) made it: use that one"
    )]
    AnotherFleet { made: u64, sent: u64, by: String },
    #[error("a task of the comparison failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// How a row is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Missing,
    /// There, and not expected.
    Unexpected,
    /// There, with another content.
    Different,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Unexpected => "unexpected",
            What::Different => "different",
        }
    }
}

/// How many rows of one kind were as they should be.
#[derive(Clone, Copy, PartialEq, Eq, Default, serde::Serialize, Debug)]
pub struct Tally {
    pub expected: u64,
    /// Of them, there and equal.
    pub equal: u64,
    pub missing: u64,
    pub unexpected: u64,
    pub different: u64,
}

impl Tally {
    pub fn wrong(&self) -> u64 {
        self.missing + self.unexpected + self.different
    }

    pub(super) fn count(&mut self, what: What) {
        match what {
            What::Missing => self.missing += 1,
            What::Unexpected => self.unexpected += 1,
            What::Different => self.different += 1,
        }
    }

    fn add(&mut self, other: &Tally) {
        self.expected += other.expected;
        self.equal += other.equal;
        self.missing += other.missing;
        self.unexpected += other.unexpected;
        self.different += other.different;
    }
}

/// One row that is not as it should be.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    pub sensor: SensorId,
    /// Event time of a reading, start of a window.
    pub time: TimeMs,
    pub kind: Kind,
    /// `reading`, or `window` and its size.
    pub row: String,
    pub what: What,
    /// Of a window that is there with another content: only what differs.
    pub expected: Option<String>,
    pub found: Option<String>,
}

/// The outcome.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Report {
    pub sensors: u64,
    /// Records that the fleet sent, computed again.
    pub records: u64,
    pub readings: Tally,
    pub windows: Tally,
    /// The first, by sensor as the fleet counts them, then by time.
    pub differences: Vec<Difference>,
    pub alerts: Option<AlertQuality>,
}

impl Report {
    /// Nothing lost, nothing doubled, nothing different. Alerts are no part of it.
    pub fn is_equal(&self) -> bool {
        self.wrong() == 0
    }

    /// Rows that are not as they should be.
    pub fn wrong(&self) -> u64 {
        self.readings.wrong() + self.windows.wrong()
    }

    fn add(&mut self, (compared, alerts): (Compared, Option<AlertQuality>), differences_max: usize) {
        self.sensors += 1;
        self.records += compared.records;
        self.readings.add(&compared.readings);
        self.windows.add(&compared.windows);
        let room = differences_max.saturating_sub(self.differences.len());
        self.differences.extend(compared.differences.into_iter().take(room));
        if let Some(quality) = alerts {
            self.alerts.get_or_insert_default().add(&quality);
        }
    }
}

/// How far it is, for whoever watches.
#[derive(Default, Debug)]
pub struct VerifyProgress {
    pub sensors: AtomicU64,
    pub readings: AtomicU64,
}

/// Compares all of a run. What else the store holds (other sensors, other times) is not looked at.
pub async fn verify<S: Store>(
    store: &Arc<S>,
    manifest: &Manifest,
    settings: &VerifySettings,
    progress: &Arc<VerifyProgress>,
) -> Result<Report, VerifyError> {
    let run = Arc::new(Run {
        histories: manifest.histories()?,
        terms: Terms {
            late_max_ms: manifest.late_max_ms(),
            interval_ms: manifest.interval_ms(),
            sizes_s: settings.window_sizes_s.clone(),
        },
        settings: settings.clone(),
    });
    let mut report = Report::default();
    // Tasks of their own, so that several cores take part; each answers with its sensor's part.
    let mut parts = futures::stream::iter(0..run.histories.sensors())
        .map(|index| {
            let (store, run, progress) = (store.clone(), run.clone(), progress.clone());
            tokio::spawn(async move { run.check_sensor(&*store, index, &progress).await })
        })
        .buffered(SENSORS_AT_ONCE);
    while let Some(part) = parts.next().await {
        report.add(part??, settings.differences_max);
    }
    let counts = &manifest.counts;
    if counts.failed == 0 && report.records != counts.sent {
        return Err(VerifyError::AnotherFleet {
            made: report.records,
            sent: counts.sent,
            by: manifest.iotpipe.clone(),
        });
    }
    Ok(report)
}

/// What all sensors' comparisons share.
struct Run {
    histories: Histories,
    terms: Terms,
    settings: VerifySettings,
}

impl Run {
    async fn check_sensor<S: Store>(
        &self,
        store: &S,
        index: u32,
        progress: &VerifyProgress,
    ) -> Result<(Compared, Option<AlertQuality>), VerifyError> {
        let Some(range) = self.histories.event_times(index) else {
            // The run ended before its first turn.
            return Ok((Compared::default(), None));
        };
        let history = self.histories.of_sensor(index);
        let place = (history.sensor(), range);
        let expected = Expected::new(history, &self.terms);
        let wanted = (self.terms.sizes_s.as_slice(), self.settings.differences_max);
        let compared = compare(store, place.clone(), expected, wanted, &progress.readings).await?;
        let alerts = match &self.settings.anomaly_rules {
            Some(rules) => {
                let is_of_anomalies = |rule: &str| rules.contains(rule);
                Some(
                    quality(
                        store,
                        place,
                        is_of_anomalies,
                        &compared.episodes,
                        self.terms.interval_ms,
                    )
                    .await?,
                )
            }
            None => None,
        };
        progress.sensors.fetch_add(1, Ordering::Relaxed);
        Ok((compared, alerts))
    }
}
