//! How well alerts meet the anomalies that the fleet labelled. Reported, and never part of the verdict.

use std::collections::BTreeMap;
use std::ops::Range;

use futures::TryStreamExt;
use serde::Serialize;

use super::expected::Episode;
use super::verify::VerifyError;
use crate::fleet::Fault;
use crate::model::{AlertsQuery, SensorId, TimeMs};
use crate::store::Store;

/// Readings after an anomaly that may still raise its alert: a step back, or a rule with a debounce.
const READINGS_AFTER: i64 = 2;

/// Episodes of one sensor that an alert can lie in or shortly after: they do not overlap, and each has a reading.
const EPISODES_NEAR: usize = READINGS_AFTER as usize + 1;

/// Alerts of rules that look for anomalies, and the anomalies.
#[derive(Clone, PartialEq, Default, Serialize, Debug)]
pub struct AlertQuality {
    pub alerts: u64,
    /// Of them, raised during an anomaly or by the two readings after it.
    pub true_alerts: u64,
    pub by_fault: BTreeMap<&'static str, FaultQuality>,
}

/// The anomalies of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Debug)]
pub struct FaultQuality {
    pub anomalies: u64,
    /// Of them, met by an alert.
    pub alerted: u64,
    /// From an anomaly's first reading to its first alert, event time, summed.
    pub delay_ms_sum: u64,
}

impl AlertQuality {
    pub(super) fn add(&mut self, other: &AlertQuality) {
        self.alerts += other.alerts;
        self.true_alerts += other.true_alerts;
        for (fault, quality) in &other.by_fault {
            let sum = self.by_fault.entry(fault).or_default();
            sum.anomalies += quality.anomalies;
            sum.alerted += quality.alerted;
            sum.delay_ms_sum += quality.delay_ms_sum;
        }
    }
}

/// Of one sensor; `episodes` in the order of time.
pub(super) async fn quality<S: Store>(
    store: &S,
    (sensor, range): (SensorId, Range<TimeMs>),
    is_of_anomalies: impl Fn(&str) -> bool,
    episodes: &[Episode],
    interval_ms: i64,
) -> Result<AlertQuality, VerifyError> {
    let query = AlertsQuery {
        sensor: Some(sensor),
        range,
    };
    let mut raised = Vec::new();
    let mut alerts = store.alerts(query);
    while let Some(alert) = alerts.try_next().await? {
        if is_of_anomalies(&alert.rule) {
            raised.push(alert.raised_at);
        }
    }
    raised.sort_unstable();
    Ok(matched(&raised, episodes, interval_ms))
}

fn matched(raised: &[TimeMs], episodes: &[Episode], interval_ms: i64) -> AlertQuality {
    let mut first_alerts: Vec<Option<TimeMs>> = vec![None; episodes.len()];
    let mut true_alerts = 0;
    for &raised in raised {
        let begun = episodes.partition_point(|episode| episode.from <= raised);
        let mut is_true = false;
        for index in begun.saturating_sub(EPISODES_NEAR)..begun {
            let late_by_ms = raised.0.saturating_sub(episodes[index].until.0);
            if late_by_ms <= interval_ms.saturating_mul(READINGS_AFTER) {
                is_true = true;
                first_alerts[index].get_or_insert(raised);
            }
        }
        true_alerts += u64::from(is_true);
    }
    let faults = [Fault::Spike, Fault::Drift, Fault::Stuck];
    let mut by_fault: BTreeMap<_, _> = faults.map(|fault| (fault.as_str(), FaultQuality::default())).into();
    for (episode, first) in episodes.iter().zip(first_alerts) {
        let of_fault = by_fault.entry(episode.fault.as_str()).or_default();
        of_fault.anomalies += 1;
        if let Some(first) = first {
            of_fault.alerted += 1;
            of_fault.delay_ms_sum += first.0.abs_diff(episode.from.0);
        }
    }
    AlertQuality {
        alerts: raised.len() as u64,
        true_alerts,
        by_fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_meets_the_anomaly_it_was_raised_in_or_shortly_after() {
        let episode = |fault, from, until| Episode {
            fault,
            from: TimeMs(from),
            until: TimeMs(until),
        };
        let episodes = [
            episode(Fault::Spike, 1_000, 1_000),
            episode(Fault::Drift, 5_000, 9_000),
            episode(Fault::Spike, 10_000, 10_000),
            episode(Fault::Stuck, 50_000, 60_000),
        ];
        // Before any; two readings after the spike; three after it; in the drift, and again; after the drift and in the spike.
        let raised = [500, 3_000, 4_000, 7_500, 8_000, 10_000].map(TimeMs);

        let quality = matched(&raised, &episodes, 1_000);

        assert_eq!((quality.alerts, quality.true_alerts), (6, 4));
        let of = |anomalies, alerted, delay_ms_sum| FaultQuality {
            anomalies,
            alerted,
            delay_ms_sum,
        };
        let expected = [
            ("drift", of(1, 1, 2_500)),
            ("spike", of(2, 2, 2_000)),
            ("stuck", of(1, 0, 0)),
        ];
        assert_eq!(quality.by_fault, expected.into());
    }
}
