//! What the detectors remember of one measure, and what its rules make of a reading. `docs/windows-and-alerts.md` is the
//! specification; whatever is computed here must come out the same, to the bit, wherever and whenever it runs.

use std::sync::Arc;

use crate::model::{AlertEvent, Kind, Rule, Severity, Test, TimeMs};

/// The least weight of a new reading: older ones fade with a memory of so many.
const WEIGHT_MIN: f64 = 1.0 / 64.0;
/// Readings before errors are bounded, and how many spreads they may have from then on.
const BOUND_AFTER: u32 = 8;
const BOUND_SPREADS: f64 = 3.0;
/// Intervals before a longer one is bounded, and how many usual intervals it may count for from then on.
const INTERVAL_BOUND_AFTER: u32 = 4;
const INTERVAL_BOUND: f64 = 4.0;
/// The square root of pi/2: from the mean absolute error of a normal distribution to its standard deviation.
const ABSOLUTE_ERROR_TO_SPREAD: f64 = 1.253_314_137_315_500_3;

/// The one NaN: which bits an operation gives differs between platforms.
pub(super) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// What is remembered of the readings of one measure of one sensor and source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Memory {
    /// Event time of the newest reading.
    pub newest: TimeMs,
    pub last: f64,
    /// Readings in a row with the bits of `last`.
    pub run: u32,
    pub count: u32,
    /// Running mean, bounded against outliers.
    pub level: f64,
    /// Running standard deviation, likewise.
    pub spread: f64,
    pub intervals: u32,
    /// The usual time between two readings, milliseconds.
    pub interval: f64,
}

impl Memory {
    pub fn of_first(time: TimeMs, value: f64) -> Memory {
        Memory {
            newest: time,
            last: value,
            run: 1,
            count: 1,
            level: value,
            spread: 0.0,
            intervals: 0,
            interval: 0.0,
        }
    }

    fn run_with(&self, value: f64) -> u32 {
        if value.to_bits() == self.last.to_bits() {
            self.run.saturating_add(1)
        } else {
            1
        }
    }

    /// Takes in a reading that is newer than all before.
    fn take(&mut self, time: TimeMs, value: f64) {
        self.run = self.run_with(value);
        let weight = weight_after(self.count);
        let mut error = value - self.level;
        if self.count >= BOUND_AFTER && self.spread > 0.0 {
            let bound = BOUND_SPREADS * self.spread;
            error = if error > bound {
                bound
            } else if error < -bound {
                -bound
            } else {
                error
            };
        }
        self.level = canonical(self.level + weight * error);
        let deviation = ABSOLUTE_ERROR_TO_SPREAD * error.abs();
        self.spread = canonical(self.spread + weight * (deviation - self.spread));
        let mut interval = (time.0 - self.newest.0) as f64;
        if self.intervals >= INTERVAL_BOUND_AFTER {
            let bound = INTERVAL_BOUND * self.interval;
            interval = if interval < bound { interval } else { bound };
        }
        self.interval += weight_after(self.intervals) * (interval - self.interval);
        self.intervals = self.intervals.saturating_add(1);
        self.count = self.count.saturating_add(1);
        self.newest = time;
        self.last = value;
    }
}

fn weight_after(count: u32) -> f64 {
    let weight = 1.0 / (f64::from(count) + 1.0);
    if weight > WEIGHT_MIN { weight } else { WEIGHT_MIN }
}

/// What is remembered of one rule; only while there is something to remember.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleMemory {
    pub rule: Arc<str>,
    /// Readings in a row for which the rule held, before an alert.
    pub streak: u32,
    pub active: Option<Active>,
}

/// An alert that is not cleared yet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Active {
    /// Offset of the record that raised it.
    pub onset: i64,
    pub raised_at: TimeMs,
    pub value: f64,
    /// The most extreme measure so far, with its excess.
    pub peak: f64,
    pub excess: f64,
    /// The excess that was last told.
    pub told: f64,
    pub severity: Severity,
}

/// An alert changed.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub event: AlertEvent,
    pub rule: Arc<str>,
    pub alert: Active,
    pub cleared_at: Option<TimeMs>,
}

/// Detectors of one measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Detectors {
    pub memory: Memory,
    /// Sorted by the rules' names.
    pub rules: Vec<RuleMemory>,
}

/// What a rule says of one reading.
struct Verdict {
    holds: bool,
    stays: bool,
    measure: f64,
    excess: f64,
}

impl Detectors {
    /// The first reading of a measure, or the next one of it; `changes` gets what becomes of alerts. Readings that are not
    /// newer than the newest are ignored. `rules` are sorted by name.
    pub fn fold(
        detectors: &mut Option<Detectors>,
        rules: &[Rule],
        kind: &Kind,
        (time, value): (TimeMs, f64),
        offset: i64,
        changes: &mut Vec<Change>,
    ) {
        match detectors {
            None => {
                let mut first = Detectors {
                    memory: Memory::of_first(time, value),
                    rules: Vec::new(),
                };
                first.judge(None, rules, kind, (time, value), offset, changes);
                *detectors = Some(first);
            }
            Some(known) if time <= known.memory.newest => {}
            Some(known) => {
                let memory = known.memory;
                known.clear_gone(rules, kind, time, changes);
                known.judge(Some(&memory), rules, kind, (time, value), offset, changes);
                known.memory.take(time, value);
            }
        }
    }

    /// Clears alerts of rules that are no more, or that are never active, and forgets those rules.
    fn clear_gone(&mut self, rules: &[Rule], kind: &Kind, time: TimeMs, changes: &mut Vec<Change>) {
        self.rules.retain(|known| {
            let rule = rules.iter().find(|rule| rule.name == known.rule && rule.judges(kind));
            let is_kept = rule.is_some_and(|rule| known.active.is_none() || !matches!(rule.test, Test::Gap { .. }));
            if !is_kept && let Some(alert) = known.active {
                changes.push(Change {
                    event: AlertEvent::Cleared,
                    rule: known.rule.clone(),
                    alert,
                    cleared_at: Some(time),
                });
            }
            is_kept
        });
    }

    fn judge(
        &mut self,
        memory: Option<&Memory>,
        rules: &[Rule],
        kind: &Kind,
        (time, value): (TimeMs, f64),
        offset: i64,
        changes: &mut Vec<Change>,
    ) {
        for rule in rules.iter().filter(|rule| rule.judges(kind)) {
            let verdict = verdict(&rule.test, memory, time, value);
            let place = self.rules.binary_search_by(|known| known.rule.as_ref().cmp(&rule.name));
            let mut of_rule = match place {
                Ok(index) => self.rules[index].clone(),
                Err(_) if !verdict.holds => continue,
                Err(_) => RuleMemory {
                    rule: rule.name.clone(),
                    streak: 0,
                    active: None,
                },
            };
            of_rule.judge(rule, &verdict, time, offset, changes);
            let is_empty = of_rule.streak == 0 && of_rule.active.is_none();
            match place {
                Ok(index) if is_empty => drop(self.rules.remove(index)),
                Ok(index) => self.rules[index] = of_rule,
                Err(_) if is_empty => {}
                Err(index) => self.rules.insert(index, of_rule),
            }
        }
    }
}

impl RuleMemory {
    fn judge(&mut self, rule: &Rule, verdict: &Verdict, time: TimeMs, offset: i64, changes: &mut Vec<Change>) {
        let mut tell = |event, alert, cleared_at| {
            changes.push(Change {
                event,
                rule: rule.name.clone(),
                alert,
                cleared_at,
            });
        };
        if let Some(active) = &mut self.active {
            if !verdict.stays {
                tell(AlertEvent::Cleared, *active, Some(time));
                self.streak = 0;
                self.active = None;
                return;
            }
            if verdict.excess > active.excess {
                (active.excess, active.peak) = (verdict.excess, verdict.measure);
                if active.excess >= 2.0 * active.told {
                    active.told = active.excess;
                    tell(AlertEvent::Updated, *active, None);
                }
            }
            return;
        }
        self.streak = if verdict.holds {
            self.streak.saturating_add(1)
        } else {
            0
        };
        if !verdict.holds || self.streak < rule.debounce {
            return;
        }
        let alert = Active {
            onset: offset,
            raised_at: time,
            value: verdict.measure,
            peak: verdict.measure,
            excess: verdict.excess,
            told: verdict.excess,
            severity: rule.severity,
        };
        if matches!(rule.test, Test::Gap { .. }) {
            tell(AlertEvent::Raised, alert, Some(time));
            self.streak = 0;
        } else {
            tell(AlertEvent::Raised, alert, None);
            self.active = Some(alert);
        }
    }
}

/// Judges one reading; without a memory it is the first of its measure.
fn verdict(test: &Test, memory: Option<&Memory>, time: TimeMs, value: f64) -> Verdict {
    let says = |holds, stays, measure, excess| Verdict {
        holds,
        stays,
        measure: canonical(measure),
        excess: canonical(excess),
    };
    match (*test, memory) {
        (Test::High { threshold, hysteresis }, _) => {
            let stays = value > threshold - hysteresis;
            says(value > threshold, stays, value, value - threshold)
        }
        (Test::Low { threshold, hysteresis }, _) => {
            let stays = value < threshold + hysteresis;
            says(value < threshold, stays, value, threshold - value)
        }
        (Test::Boolean, _) => says(value != 0.0, value != 0.0, value, 1.0),
        (_, None) => says(false, false, value, 0.0),
        (Test::Step { threshold }, Some(memory)) => {
            let change = value - memory.last;
            let is_step = change.abs() > threshold;
            says(is_step, is_step, change, change.abs() - threshold)
        }
        (Test::Flatline { readings }, Some(memory)) => {
            let run = memory.run_with(value);
            says(run >= readings, run > 1, value, f64::from(run))
        }
        (
            Test::Zscore {
                threshold,
                hysteresis,
                warm_up,
            },
            Some(memory),
        ) => {
            let distance = (value - memory.level).abs();
            let is_known = memory.count >= warm_up && memory.spread > 0.0;
            let stays = distance > (threshold - hysteresis) * memory.spread;
            says(is_known && distance > threshold * memory.spread, stays, value, distance)
        }
        (Test::Gap { times, warm_up }, Some(memory)) => {
            let silent_ms = (time.0 - memory.newest.0) as f64;
            let is_gap = memory.intervals >= warm_up && silent_ms > times * memory.interval;
            says(is_gap, false, silent_ms / 1000.0, silent_ms / 1000.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, test: Test) -> Rule {
        Rule {
            name: Arc::from(name),
            kinds: None,
            test,
            debounce: 1,
            severity: Severity::Warning,
        }
    }

    /// Folds values a second apart, the first at 0, and answers what became of alerts: index of the reading, event, peak.
    fn play(rules: &[Rule], values: &[f64]) -> Vec<(usize, AlertEvent, f64)> {
        let times: Vec<i64> = (0..values.len() as i64).map(|second| second * 1000).collect();
        play_at(rules, values, &times)
    }

    fn play_at(rules: &[Rule], values: &[f64], times_ms: &[i64]) -> Vec<(usize, AlertEvent, f64)> {
        let (mut detectors, mut told) = (None, Vec::new());
        let kind = Kind::new("x");
        for (index, (value, time)) in values.iter().zip(times_ms).enumerate() {
            let mut changes = Vec::new();
            let reading = (TimeMs(*time), *value);
            Detectors::fold(&mut detectors, rules, &kind, reading, index as i64, &mut changes);
            told.extend(changes.iter().map(|change| (index, change.event, change.alert.peak)));
        }
        told
    }

    use AlertEvent::{Cleared, Raised, Updated};

    #[test]
    fn a_threshold_has_hysteresis_and_tells_again_when_the_excess_has_doubled() {
        let high = rule(
            "high",
            Test::High {
                threshold: 30.0,
                hysteresis: 1.0,
            },
        );
        let told = play(&[high], &[30.0, 31.0, 31.9, 32.0, 33.9, 29.5, 29.0, 30.5]);
        assert_eq!(
            told,
            [
                (1, Raised, 31.0),
                (3, Updated, 32.0),
                (6, Cleared, 33.9),
                (7, Raised, 30.5)
            ]
        );
        let low = rule(
            "low",
            Test::Low {
                threshold: 10.0,
                hysteresis: 5.0,
            },
        );
        assert_eq!(play(&[low], &[9.0, 14.0, 15.0]), [(0, Raised, 9.0), (2, Cleared, 9.0)]);
    }

    #[test]
    fn debounce_counts_readings_in_a_row() {
        let mut high = rule(
            "high",
            Test::High {
                threshold: 0.0,
                hysteresis: 0.0,
            },
        );
        high.debounce = 3;
        assert_eq!(
            play(&[high], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]),
            [(5, Raised, 1.0), (6, Cleared, 1.0)]
        );
    }

    #[test]
    fn steps_flat_lines_and_booleans() {
        let step = rule("step", Test::Step { threshold: 5.0 });
        assert_eq!(
            play(&[step], &[0.0, 6.0, 6.5, -1.0]),
            [(1, Raised, 6.0), (2, Cleared, 6.0), (3, Raised, -7.5)]
        );
        let flat = rule("flat", Test::Flatline { readings: 3 });
        let told = play(&[flat], &[1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0]);
        assert_eq!(told, [(3, Raised, 2.0), (6, Updated, 2.0), (7, Cleared, 2.0)]);
        let boolean = rule("motion", Test::Boolean);
        assert_eq!(
            play(&[boolean], &[0.0, 1.0, 1.0, 0.0]),
            [(1, Raised, 1.0), (3, Cleared, 1.0)]
        );
    }

    #[test]
    fn an_outlier_stands_out_and_does_not_move_the_level() {
        let outlier = Test::Zscore {
            threshold: 6.0,
            hysteresis: 3.0,
            warm_up: 20,
        };
        // Between 19 and 21; the spread settles near 1.25 times the mean absolute error of 1.
        let mut values: Vec<f64> = (0..100).map(|n| if n % 2 == 0 { 19.0 } else { 21.0 }).collect();
        values[5] = 40.0; // while it warms up: no alert
        values[70] = 60.0;
        let told = play(&[rule("outlier", outlier)], &values);
        assert_eq!(told, [(70, Raised, 60.0), (71, Cleared, 60.0)]);
    }

    #[test]
    fn a_gap_is_told_by_the_reading_that_ends_it() {
        let gap = rule("gap", Test::Gap { times: 5.0, warm_up: 4 });
        let times = [0, 1000, 2000, 3000, 4000, 9000, 19_000, 20_000];
        let told = play_at(&[gap], &[0.0; 8], &times);
        // 5 s is not more than five times 1 s. Then the usual interval is 1.6 s, since 5 s counted for 4 s only.
        assert_eq!(told, [(6, Raised, 10.0)]);
    }

    #[test]
    fn what_is_late_or_repeated_is_ignored() {
        let high = rule(
            "high",
            Test::High {
                threshold: 0.0,
                hysteresis: 0.0,
            },
        );
        let told = play_at(&[high], &[-1.0, 5.0, 5.0, -1.0], &[1000, 500, 1000, 2000]);
        assert_eq!(told, []);
    }

    #[test]
    fn an_alert_of_a_rule_that_is_gone_is_cleared_by_the_next_reading() {
        let rules = [rule(
            "high",
            Test::High {
                threshold: 0.0,
                hysteresis: 0.0,
            },
        )];
        let (mut detectors, mut changes) = (None, Vec::new());
        let kind = Kind::new("x");
        Detectors::fold(&mut detectors, &rules, &kind, (TimeMs(0), 1.0), 0, &mut changes);
        Detectors::fold(&mut detectors, &[], &kind, (TimeMs(1), 1.0), 1, &mut changes);
        let told: Vec<_> = changes.iter().map(|change| (change.event, change.cleared_at)).collect();
        assert_eq!(told, [(Raised, None), (Cleared, Some(TimeMs(1)))]);
        assert_eq!(detectors.map(|detectors| detectors.rules), Some(vec![]));
    }
}
