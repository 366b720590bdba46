//! Rules: what is worth an alert.

use std::sync::Arc;

use super::{Kind, Severity};

/// What a rule looks for in the readings of one measure. The processor's `detectors` says how each is computed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Test {
    /// Above `threshold`; over again at or below `threshold - hysteresis`.
    High { threshold: f64, hysteresis: f64 },
    /// Below `threshold`; over again at or above `threshold + hysteresis`.
    Low { threshold: f64, hysteresis: f64 },
    /// Differs from the reading before by more than `threshold`; over again with the next that does not.
    Step { threshold: f64 },
    /// The same value in `readings` readings in a row; over again with another value.
    Flatline { readings: u32 },
    /// Not 0; over again at 0.
    Boolean,
    /// More than `threshold` times its usual spread away from its usual level, once `warm_up` readings are known; over
    /// again at or within `threshold - hysteresis` times.
    Zscore {
        threshold: f64,
        hysteresis: f64,
        warm_up: u32,
    },
    /// Came after more than `times` the usual interval, once `warm_up` intervals are known. Raised and over at once.
    Gap { times: f64, warm_up: u32 },
}

/// A named rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub name: Arc<str>,
    /// Measures that it judges; `None` for all.
    pub kinds: Option<Vec<Kind>>,
    pub test: Test,
    /// So many readings in a row must say so before the alert is raised; at least 1.
    pub debounce: u32,
    pub severity: Severity,
}

impl Rule {
    pub fn judges(&self, kind: &Kind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}
