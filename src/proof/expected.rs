//! What one sensor of a run must have left in the store.

use std::collections::BTreeMap;
use std::fmt;

use crate::fleet::{Fault, History, Sent};
use crate::model::{Aggregate, Day, Kind, TimeMs};

/// A reading's place in the store, beside its sensor; in the store's order.
pub type ReadingKey = (TimeMs, Kind);

/// A window's place: size in seconds, measure, start; in the store's order.
pub type WindowPlace = (u32, Kind, TimeMs);

/// A window, computed here.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    pub count: i64,
    pub sum: f64,
    pub mean: f64,
    /// Sum of squared differences from the mean.
    pub m2: f64,
    pub min: f64,
    pub max: f64,
    /// Event time and value of the earliest and of the latest reading.
    pub first: (i64, f64),
    pub last: (i64, f64),
}

impl From<&Aggregate> for Totals {
    fn from(aggregate: &Aggregate) -> Totals {
        Totals {
            count: aggregate.count,
            sum: aggregate.sum,
            mean: aggregate.mean,
            m2: aggregate.m2,
            min: aggregate.min,
            max: aggregate.max,
            first: (aggregate.first_at.0, aggregate.first),
            last: (aggregate.last_at.0, aggregate.last),
        }
    }
}

/// In words, for a row that only one side has.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count {}, mean {}", self.count, self.mean)
    }
}

impl Totals {
    /// Equal to the bit.
    pub fn is_same(&self, other: &Totals) -> bool {
        self.parts() == other.parts()
    }

    /// Where they differ, in words: what `self` has and what `other` has.
    pub fn differing(&self, other: &Totals) -> [String; 2] {
        let names = [
            "count", "sum", "mean", "m2", "min", "max", "first_at", "first", "last_at", "last",
        ];
        let sides = [self, other].map(|totals| {
            let Totals {
                sum,
                mean,
                m2,
                min,
                max,
                first,
                last,
                ..
            } = totals;
            let texts = [sum, mean, m2, min, max].map(f64::to_string);
            let ends = [first, last].map(|(at, value)| [TimeMs(*at).to_string(), value.to_string()]);
            std::iter::once(totals.count.to_string())
                .chain(texts)
                .chain(ends.into_iter().flatten())
                .collect::<Vec<_>>()
        });
        let (ours, theirs) = (self.parts(), other.parts());
        let differ: Vec<usize> = (0..names.len()).filter(|&part| ours[part] != theirs[part]).collect();
        sides.map(|texts| {
            let parts: Vec<String> = differ
                .iter()
                .map(|&part| format!("{} {}", names[part], texts[part]))
                .collect();
            parts.join(", ")
        })
    }

    /// All of it as bits: 0 and -0 are two values.
    fn parts(&self) -> [u64; 10] {
        let ((first_at, first), (last_at, last)) = (self.first, self.last);
        [
            self.count.cast_unsigned(),
            self.sum.to_bits(),
            self.mean.to_bits(),
            self.m2.to_bits(),
            self.min.to_bits(),
            self.max.to_bits(),
            first_at.cast_unsigned(),
            first.to_bits(),
            last_at.cast_unsigned(),
            last.to_bits(),
        ]
    }

    fn of(time_ms: i64, value: f64) -> Totals {
        Totals {
            count: 1,
            // Sums begin at 0, which takes the sign of a -0.
            sum: 0.0 + value,
            mean: 0.0 + value,
            m2: 0.0,
            min: value,
            max: value,
            first: (time_ms, value),
            last: (time_ms, value),
        }
    }

    /// With one reading more. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2.
    fn and(self, time_ms: i64, value: f64) -> Totals {
        let count = self.count + 1;
        let mean = self.mean + (value - self.mean) / count as f64;
        Totals {
            count,
            sum: self.sum + value,
            mean,
            m2: self.m2 + (value - self.mean) * (value - mean),
            min: if value < self.min { value } else { self.min },
            max: if value > self.max { value } else { self.max },
            first: if time_ms < self.first.0 {
                (time_ms, value)
            } else {
                self.first
            },
            last: if time_ms < self.last.0 {
                self.last
            } else {
                (time_ms, value)
            },
        }
    }
}

/// A stretch of readings that one fault distorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Episode {
    pub fault: Fault,
    pub from: TimeMs,
    /// Event time of its last reading.
    pub until: TimeMs,
}

/// What is known of a run beside what its sensors sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// The longest that a record was held back, milliseconds.
    pub late_max_ms: i64,
    /// Between two readings of one sensor, rounded up.
    pub interval_ms: i64,
    /// Of the windows, seconds.
    pub sizes_s: Vec<u32>,
}

/// The sensor's readings in the store's order. Beside that it adds up the windows and notes the anomalies. What it holds in
/// memory is a day's windows and what the longest delay leaves undecided, however long the run was.
pub struct Expected<'f> {
    history: History<'f>,
    terms: &'f Terms,
    /// Readings that a late one may still come before.
    waiting: BTreeMap<ReadingKey, f64>,
    /// All readings up to this event time are waiting or gone.
    complete_to: i64,
    windows: BTreeMap<Day, BTreeMap<WindowPlace, Totals>>,
    /// In the order of time.
    pub episodes: Vec<Episode>,
    /// Records that the sensor sent so far.
    pub records: u64,
    scratch: Vec<(Kind, f64)>,
}

impl<'f> Expected<'f> {
    pub fn new(history: History<'f>, terms: &'f Terms) -> Expected<'f> {
        Expected {
            history,
            terms,
            waiting: BTreeMap::new(),
            complete_to: i64::MIN,
            windows: BTreeMap::new(),
            episodes: Vec::new(),
            records: 0,
            scratch: Vec::new(),
        }
    }

    /// The next reading by event time and kind. A reading that was sent twice comes once.
    pub fn next(&mut self) -> Option<(ReadingKey, f64)> {
        loop {
            if let Some(entry) = self.waiting.first_entry()
                && entry.key().0.0 <= self.complete_to
            {
                return Some(entry.remove_entry());
            }
            if !self.take_record() {
                self.complete_to = i64::MAX;
                return self.waiting.pop_first();
            }
        }
    }

    /// The windows of a day, whole once [`Expected::next`] has gone past it. They are gone then.
    pub fn take_windows(&mut self, day: Day) -> BTreeMap<WindowPlace, Totals> {
        self.windows.remove(&day).unwrap_or_default()
    }

    /// Takes the next record that the sensor sent; `false` at the end.
    fn take_record(&mut self) -> bool {
        let Some(sent) = self.history.next() else { return false };
        self.records += 1;
        // A record of an earlier event time would have been sent by now; also at the end, when all that was held back is let
        // go in the order in which it would have been.
        self.complete_to = self
            .complete_to
            .max(sent.sent_at.0.saturating_sub(self.terms.late_max_ms) - 1);
        let mut readings = std::mem::take(&mut self.scratch);
        self.history.readings(&sent, &mut readings);
        for (kind, value) in readings.drain(..) {
            self.add_to_windows(&kind, sent.event_time, value);
            // The same value where it was sent before.
            self.waiting.insert((sent.event_time, kind), value);
        }
        self.scratch = readings;
        self.note_anomaly(&sent);
        true
    }

    fn add_to_windows(&mut self, kind: &Kind, time: TimeMs, value: f64) {
        if self.terms.sizes_s.is_empty() {
            return;
        }
        let windows = self.windows.entry(time.day()).or_default();
        for size_s in &self.terms.sizes_s {
            let size_ms = i64::from(*size_s) * 1000;
            let start = TimeMs(time.0.div_euclid(size_ms) * size_ms);
            windows
                .entry((*size_s, kind.clone(), start))
                .and_modify(|totals| *totals = totals.and(time.0, value))
                .or_insert_with(|| Totals::of(time.0, value));
        }
    }

    fn note_anomaly(&mut self, sent: &Sent) {
        let Some(fault @ (Fault::Spike | Fault::Drift | Fault::Stuck)) = sent.fault else {
            return;
        };
        let time = sent.event_time;
        match self.episodes.last_mut() {
            // A spike is one reading; the others last.
            Some(episode)
                if episode.fault == fault
                    && fault != Fault::Spike
                    && time.0 - episode.until.0 <= self.terms.interval_ms =>
            {
                episode.until = time;
            }
            _ => self.episodes.push(Episode {
                fault,
                from: time,
                until: time,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
