//! The detectors of one kind of one sensor, as the document has them.

use std::cmp::Ordering;
use std::sync::Arc;

use uuid::{Uuid, uuid};

use super::one_nan;
use crate::model::{Alert, AlertChange, AlertEvent, AlertId, Kind, Rule, SensorId, Severity, Test, TimeMs};

const NAMESPACE: Uuid = uuid!("5b0c8f0e-4a7d-5c3e-9d1f-27c16a90e4b8");

/// What the detectors of one kind remember.
pub struct Detector {
    pub newest: i64,
    pub last: f64,
    pub run: u32,
    pub count: u32,
    pub level: f64,
    pub spread: f64,
    pub intervals: u32,
    pub interval: f64,
    /// Sorted by name; only those that have something to remember.
    pub rules: Vec<Remembered>,
}

/// What one rule remembers.
pub struct Remembered {
    pub rule: Arc<str>,
    pub streak: u32,
    pub active: Option<Active>,
}

/// An alert that is active.
#[derive(Clone)]
pub struct Active {
    pub id: AlertId,
    pub onset: i64,
    pub raised_at: i64,
    pub value: f64,
    pub peak: f64,
    pub excess: f64,
    pub told: f64,
    pub severity: Severity,
}

/// Whose reading is judged, and where it stands in the log.
pub struct Identity<'a> {
    pub sensor: SensorId,
    pub label: &'a Option<Arc<str>>,
    pub kind: &'a Kind,
    pub source: &'a str,
    pub offset: i64,
}

struct Verdict {
    holds: bool,
    stays: bool,
    measure: f64,
    excess: f64,
}

impl Identity<'_> {
    fn alert_id(&self, rule: &str) -> AlertId {
        let (sensor, kind) = (self.sensor.0.hyphenated(), &self.kind.0);
        let name = format!("{sensor}/{kind}/{rule}/{}/{}", self.source, self.offset);
        AlertId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    fn change(&self, event: AlertEvent, rule: &Arc<str>, active: &Active, cleared_at: Option<i64>) -> AlertChange {
        AlertChange {
            event,
            offset: self.offset,
            alert: Alert {
                id: active.id,
                sensor: self.sensor,
                label: self.label.clone(),
                kind: self.kind.clone(),
                rule: rule.clone(),
                severity: active.severity,
                raised_at: TimeMs(active.raised_at),
                value: active.value,
                peak: active.peak,
                cleared_at: cleared_at.map(TimeMs),
            },
        }
    }
}

/// Takes one reading of one kind.
pub fn judge(
    detector: &mut Option<Detector>,
    rules: &[Rule],
    identity: &Identity<'_>,
    t: i64,
    x: f64,
    changes: &mut Vec<AlertChange>,
) {
    if detector.as_ref().is_some_and(|known| t <= known.newest) {
        return;
    }
    let mut of_kind: Vec<&Rule> = rules.iter().filter(|rule| rule.judges(identity.kind)).collect();
    of_kind.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    let mut remembered = detector
        .as_mut()
        .map(|known| std::mem::take(&mut known.rules))
        .unwrap_or_default();
    clear_the_gone(&mut remembered, &of_kind, identity, t, changes);
    for rule in of_kind {
        let verdict = verdict(&rule.test, detector.as_ref(), t, x);
        let place = remembered.binary_search_by(|known| known.rule.as_bytes().cmp(rule.name.as_bytes()));
        let mut known = match place {
            Ok(place) => remembered.remove(place),
            Err(_) => Remembered {
                rule: rule.name.clone(),
                streak: 0,
                active: None,
            },
        };
        take(&mut known, rule, &verdict, identity, t, changes);
        if known.streak != 0 || known.active.is_some() {
            let (Ok(place) | Err(place)) = place;
            remembered.insert(place, known);
        }
    }
    remember(detector, t, x).rules = remembered;
}

/// Rules that judge this kind no more, and alerts of rules that became gaps.
fn clear_the_gone(
    remembered: &mut Vec<Remembered>,
    of_kind: &[&Rule],
    identity: &Identity<'_>,
    t: i64,
    changes: &mut Vec<AlertChange>,
) {
    remembered.retain_mut(|known| {
        let rule = of_kind.iter().find(|rule| rule.name == known.rule);
        let is_gap = rule.is_some_and(|rule| matches!(rule.test, Test::Gap { .. }));
        if (rule.is_none() || is_gap)
            && let Some(active) = known.active.take()
        {
            changes.push(identity.change(AlertEvent::Cleared, &known.rule, &active, Some(t)));
            known.streak = 0;
        }
        rule.is_some() && known.streak != 0 || known.active.is_some()
    });
}

fn take(
    known: &mut Remembered,
    rule: &Rule,
    verdict: &Verdict,
    identity: &Identity<'_>,
    t: i64,
    changes: &mut Vec<AlertChange>,
) {
    if let Some(active) = &mut known.active {
        if verdict.stays {
            if verdict.excess > active.excess {
                (active.excess, active.peak) = (verdict.excess, verdict.measure);
                if active.excess >= 2.0 * active.told {
                    active.told = active.excess;
                    changes.push(identity.change(AlertEvent::Updated, &rule.name, active, None));
                }
            }
        } else {
            let active = active.clone();
            changes.push(identity.change(AlertEvent::Cleared, &rule.name, &active, Some(t)));
            (known.streak, known.active) = (0, None);
        }
        return;
    }
    known.streak = if verdict.holds { known.streak + 1 } else { 0 };
    if !verdict.holds || known.streak < rule.debounce {
        return;
    }
    let active = Active {
        id: identity.alert_id(&rule.name),
        onset: identity.offset,
        raised_at: t,
        value: verdict.measure,
        peak: verdict.measure,
        excess: verdict.excess,
        told: verdict.excess,
        severity: rule.severity,
    };
    if matches!(rule.test, Test::Gap { .. }) {
        changes.push(identity.change(AlertEvent::Raised, &rule.name, &active, Some(t)));
        known.streak = 0;
    } else {
        changes.push(identity.change(AlertEvent::Raised, &rule.name, &active, None));
        known.active = Some(active);
    }
}

fn verdict(test: &Test, before: Option<&Detector>, t: i64, x: f64) -> Verdict {
    let yes_no = |holds, stays, measure, excess| Verdict {
        holds,
        stays,
        measure: one_nan(measure),
        excess: one_nan(excess),
    };
    match (*test, before) {
        (Test::High { threshold, hysteresis }, _) => {
            yes_no(x > threshold, x > threshold - hysteresis, x, x - threshold)
        }
        (Test::Low { threshold, hysteresis }, _) => yes_no(x < threshold, x < threshold + hysteresis, x, threshold - x),
        (Test::Boolean, _) => yes_no(x != 0.0, x != 0.0, x, 1.0),
        (_, None) => yes_no(false, false, x, 0.0),
        (Test::Step { threshold }, Some(before)) => {
            let by = (x - before.last).abs();
            yes_no(by > threshold, by > threshold, x - before.last, by - threshold)
        }
        (Test::Flatline { readings }, Some(before)) => {
            let same = x.to_bits() == before.last.to_bits();
            let r = if same { before.run + 1 } else { 1 };
            yes_no(r >= readings, same, x, f64::from(r))
        }
        (
            Test::Zscore {
                threshold,
                hysteresis,
                warm_up,
            },
            Some(before),
        ) => {
            let by = (x - before.level).abs();
            let holds = before.count >= warm_up && before.spread > 0.0 && by > threshold * before.spread;
            yes_no(holds, by > (threshold - hysteresis) * before.spread, x, by)
        }
        (Test::Gap { times, warm_up }, Some(before)) => {
            let d = (t - before.newest) as f64;
            let holds = before.intervals >= warm_up && d > times * before.interval;
            yes_no(holds, false, d / 1000.0, d / 1000.0)
        }
    }
}

/// The memory takes the reading in.
fn remember(detector: &mut Option<Detector>, t: i64, x: f64) -> &mut Detector {
    let Some(known) = detector else {
        return detector.insert(Detector {
            newest: t,
            last: x,
            run: 1,
            count: 1,
            level: x,
            spread: 0.0,
            intervals: 0,
            interval: 0.0,
            rules: Vec::new(),
        });
    };
    known.run = if x.to_bits() == known.last.to_bits() {
        known.run + 1
    } else {
        1
    };
    let slowest: f64 = 1.0 / 64.0;
    let a = (1.0 / (f64::from(known.count) + 1.0)).max(slowest);
    let mut e = x - known.level;
    if known.count >= 8 && known.spread > 0.0 {
        e = e.max(-3.0 * known.spread).min(3.0 * known.spread);
    }
    known.level = one_nan(known.level + a * e);
    known.spread = one_nan(known.spread + a * (1.253_314_137_315_500_3 * e.abs() - known.spread));
    let mut d = (t - known.newest) as f64;
    let b = (1.0 / (f64::from(known.intervals) + 1.0)).max(slowest);
    if known.intervals >= 4 {
        d = d.min(4.0 * known.interval);
    }
    known.interval = one_nan(known.interval + b * (d - known.interval));
    known.intervals += 1;
    known.count += 1;
    (known.newest, known.last) = (t, x);
    known
}

/// Active alerts of all kinds, sorted.
pub fn active(detectors: &[Option<Detector>]) -> Vec<(AlertId, i64)> {
    let rules = detectors.iter().flatten().flat_map(|detector| &detector.rules);
    let mut active: Vec<_> = rules
        .filter_map(|known| known.active.as_ref().map(|active| (active.id, active.raised_at)))
        .collect();
    active.sort_by(|a, b| match a.0.cmp(&b.0) {
        Ordering::Equal => a.1.cmp(&b.1),
        unequal => unequal,
    });
    active
}
