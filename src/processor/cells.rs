//! What is known of one sensor's cells: its state and those of its windows that matter now. All of it is a pure function of
//! the source's records; the store holds the same, up to what is dirty here.

use std::sync::Arc;

use super::Folding;
use super::detectors::{Change, Detectors, canonical};
use super::state::{self, Head, State, Status};
use super::teeth::{self, Tooth};
use crate::model::{Aggregate, Kind, ReadingRow, StateCell, TimeMs, WindowCell, WindowKey, window_start};

/// Measures of one sensor that have detectors: a bound on the state against records with ever new field names.
const DETECTED_KINDS_MAX: usize = 256;

/// The cells of one sensor and source.
#[derive(Debug)]
pub struct Cells {
    head: Head,
    /// The state differs from what was last sent or loaded.
    state_dirty: bool,
    /// Sorted by name.
    measures: Vec<Measure>,
    /// Of them, how many have detectors.
    detected_kinds: usize,
    status: Option<Status>,
    /// [`Head::newest`] as it was last sent.
    newest_sent: TimeMs,
}

/// One measure with its detectors, and its windows that are in memory.
#[derive(Debug)]
struct Measure {
    kind: Kind,
    detectors: Option<Detectors>,
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    size_s: u32,
    start: TimeMs,
    /// Empty with a count of 0.
    aggregate: Aggregate,
    /// The record that is being folded, where it was not in the window before: its other readings belong in as well.
    folding: i64,
    /// Differs from what was last sent or loaded.
    dirty: bool,
    /// Was sent, and the write has not landed.
    flying: bool,
}

const NEVER: Aggregate = Aggregate {
    last_offset: -1,
    count: 0,
    sum: 0.0,
    mean: 0.0,
    m2: 0.0,
    min: 0.0,
    max: 0.0,
    first: 0.0,
    first_at: TimeMs(0),
    last: 0.0,
    last_at: TimeMs(0),
};

impl Cells {
    /// From the state's bytes as loaded; where there are none nothing of the sensor was ever folded.
    pub fn new(bytes: Option<&[u8]>) -> Result<Cells, String> {
        let State { head, status, measures } = match bytes {
            Some(bytes) => state::decode(bytes)?,
            None => State {
                head: Head {
                    last_offset: -1,
                    newest: TimeMs(i64::MIN),
                },
                status: None,
                measures: Vec::new(),
            },
        };
        let detected_kinds = measures.len();
        let measures = measures.into_iter().map(|(kind, detectors)| Measure {
            kind,
            detectors: Some(detectors),
            windows: Vec::new(),
        });
        Ok(Cells {
            head,
            state_dirty: false,
            measures: measures.collect(),
            detected_kinds,
            status,
            newest_sent: head.newest,
        })
    }

    /// Offset of the last record that the state holds.
    pub fn last_offset(&self) -> i64 {
        self.head.last_offset
    }

    /// Largest event time that the state holds.
    pub fn newest(&self) -> TimeMs {
        self.head.newest
    }

    /// Whether the measure has detectors, which the state keeps.
    pub fn detects(&self, kind: &Kind) -> bool {
        self.measure(kind).is_some_and(|measure| measure.detectors.is_some())
    }

    pub fn is_state_dirty(&self) -> bool {
        self.state_dirty
    }

    /// Windows that the rows of a record need and that must be loaded first, appended to `missing`, perhaps more than once.
    /// A window that starts after the largest event time ever folded is empty: no record up to the state's last offset lies in it.
    pub fn missing(&self, sizes_s: &[u32], rows: &[ReadingRow], missing: &mut Vec<WindowKey>) {
        let newest = self.head.newest;
        for row in rows {
            let mut measure = None;
            for &size_s in sizes_s {
                let start = window_start(size_s, row.time);
                let is_new = start > newest || (start == newest && teeth::is_out(Tooth::NewestStrictly));
                if is_new {
                    continue;
                }
                let measure = *measure.get_or_insert_with(|| self.measure(&row.kind));
                if measure.is_none_or(|measure| measure.window(size_s, start).is_none()) {
                    missing.push(WindowKey {
                        kind: row.kind.clone(),
                        size_s,
                        start,
                    });
                }
            }
        }
    }

    fn measure(&self, kind: &Kind) -> Option<&Measure> {
        self.place(kind).ok().map(|index| &self.measures[index])
    }

    fn place(&self, kind: &Kind) -> Result<usize, usize> {
        self.measures.binary_search_by(|measure| measure.kind.cmp(kind))
    }

    /// Enters measures that are not known yet, all at once: a record may have thousands.
    fn enter_measures<'a>(&mut self, kinds: impl Iterator<Item = &'a Kind>) {
        let mut new: Vec<&Kind> = kinds.filter(|kind| self.place(kind).is_err()).collect();
        if new.is_empty() {
            return;
        }
        new.sort_unstable();
        new.dedup();
        self.measures.reserve_exact(new.len());
        self.measures.extend(new.into_iter().map(|kind| Measure {
            kind: kind.clone(),
            detectors: None,
            windows: Vec::new(),
        }));
        self.measures.sort_by(|a, b| a.kind.cmp(&b.kind));
    }

    fn measure_mut(&mut self, kind: &Kind) -> &mut Measure {
        let index = self.place(kind).expect("measures are entered before they are folded");
        &mut self.measures[index]
    }

    /// Takes in windows as they were loaded, in the order in which they were asked for.
    pub fn take_loaded(&mut self, keys: &[WindowKey], loaded: Vec<Option<Aggregate>>) {
        self.enter_measures(keys.iter().map(|key| &key.kind));
        for (key, aggregate) in keys.iter().zip(loaded) {
            let measure = self.measure_mut(&key.kind);
            if measure.window(key.size_s, key.start).is_none() {
                measure.windows.push(Window {
                    size_s: key.size_s,
                    start: key.start,
                    aggregate: aggregate.unwrap_or(NEVER),
                    folding: -1,
                    dirty: false,
                    flying: false,
                });
            }
        }
    }

    /// Folds one record whose windows are all here. What becomes of alerts is appended to `changes`, with the measure. Answers
    /// whether the state had not seen the record.
    pub fn fold(
        &mut self,
        folding: &Folding,
        offset: i64,
        rows: &[ReadingRow],
        changes: &mut Vec<(Kind, Change)>,
    ) -> bool {
        self.enter_measures(rows.iter().map(|row| &row.kind));
        for row in rows {
            let measure = self.measure_mut(&row.kind);
            for &size_s in &folding.window_sizes_s {
                measure.fold_window(size_s, offset, row, folding.rewrites_windows);
            }
        }
        if offset <= self.head.last_offset && !teeth::is_out(Tooth::LastOffsetPerCell) {
            return false;
        }
        if folding.detects {
            self.detect(folding, offset, rows, changes);
        }
        let newest = rows.iter().map(|row| row.time).max().unwrap_or(self.head.newest);
        self.head = Head {
            last_offset: offset.max(self.head.last_offset),
            newest: newest.max(self.head.newest),
        };
        self.state_dirty = true;
        true
    }

    fn detect(&mut self, folding: &Folding, offset: i64, rows: &[ReadingRow], changes: &mut Vec<(Kind, Change)>) {
        let mut of_measure = Vec::new();
        for row in rows {
            let is_full = self.detected_kinds >= DETECTED_KINDS_MAX;
            let measure = self.measure_mut(&row.kind);
            let is_first = measure.detectors.is_none();
            if is_full && is_first {
                continue;
            }
            let reading = (row.time, row.value);
            let detectors = &mut measure.detectors;
            Detectors::fold(detectors, &folding.rules, &row.kind, reading, offset, &mut of_measure);
            self.detected_kinds += usize::from(is_first);
            changes.extend(of_measure.drain(..).map(|change| (row.kind.clone(), change)));
        }
    }

    /// The status that was said last.
    pub fn status(&self) -> Option<&Arc<str>> {
        self.status.as_ref().map(|known| &known.status)
    }

    /// Takes in the status that a record says which the state had not seen. Where it differs from the one before it answers
    /// that one, if there was any. A status that is not newer than the last is ignored.
    pub fn say_status(&mut self, time: TimeMs, status: &Arc<str>) -> Option<Option<Arc<str>>> {
        let known = self.status.as_ref();
        if known.is_some_and(|known| time <= known.said_at) {
            return None;
        }
        let is_change = known.is_none_or(|known| known.status != *status);
        let said = Status {
            said_at: time,
            status: status.clone(),
        };
        let before = self.status.replace(said);
        is_change.then(|| before.map(|known| known.status))
    }

    /// Alerts that are active now: measure, rule, offset of the onset, and when they were raised.
    pub fn active_alerts(&self) -> impl Iterator<Item = (&Kind, &Arc<str>, i64, TimeMs)> {
        self.measures.iter().flat_map(|measure| {
            let rules = measure.detectors.iter().flat_map(|detectors| &detectors.rules);
            rules.filter_map(|rule| {
                let active = rule.active.as_ref()?;
                Some((&measure.kind, &rule.rule, active.onset, active.raised_at))
            })
        })
    }

    /// The windows that changed, to be sent now.
    pub fn take_dirty_windows(&mut self) -> Vec<WindowCell> {
        let mut cells = Vec::new();
        for measure in &mut self.measures {
            for window in measure.windows.iter_mut().filter(|window| window.dirty) {
                window.dirty = false;
                window.flying = true;
                cells.push(WindowCell {
                    key: WindowKey {
                        kind: measure.kind.clone(),
                        size_s: window.size_s,
                        start: window.start,
                    },
                    aggregate: window.aggregate,
                });
            }
        }
        cells
    }

    /// The state, to be sent now.
    pub fn take_state(&mut self) -> StateCell {
        let mut head = self.head;
        if teeth::is_out(Tooth::NewestInStateCell) {
            head.newest = std::mem::replace(&mut self.newest_sent, head.newest);
        }
        self.state_dirty = false;
        let measures = self
            .measures
            .iter()
            .filter_map(|measure| Some((&measure.kind, measure.detectors.as_ref()?)));
        StateCell {
            last_offset: head.last_offset,
            bytes: state::encode(head, self.status.as_ref(), measures),
        }
    }

    /// The write in flight landed. Windows that lie further back than the one before the newest are forgotten: they are
    /// loaded again for the odd late record.
    pub fn landed(&mut self) {
        let newest = self.head.newest.0;
        for measure in &mut self.measures {
            measure.windows.retain_mut(|window| {
                window.flying = false;
                window.dirty || window.start.0 + 2 * i64::from(window.size_s) * 1000 > newest
            });
        }
        self.measures
            .retain(|measure| measure.detectors.is_some() || !measure.windows.is_empty());
    }

    /// What it takes in memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let of_measure = |measure: &Measure| {
            let rules = measure
                .detectors
                .as_ref()
                .map_or(0, |detectors| detectors.rules.capacity());
            size_of::<Measure>()
                + measure.windows.capacity() * size_of::<Window>()
                + rules * size_of::<super::detectors::RuleMemory>()
        };
        size_of::<Cells>()
            + self.measures.iter().map(of_measure).sum::<usize>()
            + (self.measures.capacity() - self.measures.len()) * size_of::<Measure>()
            + 2 * ALLOCATION_BYTES
            + self.measures.len() * 2 * ALLOCATION_BYTES
    }
}

/// What an allocation costs beside its bytes, and the name of a measure that was loaded.
const ALLOCATION_BYTES: usize = 32;

impl Measure {
    fn window(&self, size_s: u32, start: TimeMs) -> Option<usize> {
        self.windows
            .iter()
            .rposition(|window| window.start == start && window.size_s == size_s)
    }

    fn fold_window(&mut self, size_s: u32, offset: i64, row: &ReadingRow, rewrites: bool) {
        let start = window_start(size_s, row.time);
        let index = self.window(size_s, start).unwrap_or_else(|| {
            if self.windows.capacity() == 0 {
                self.windows.reserve_exact(2); // one of each size, usually
            }
            self.windows.push(Window {
                size_s,
                start,
                aggregate: NEVER,
                folding: -1,
                dirty: false,
                flying: false,
            });
            self.windows.len() - 1
        });
        let window = &mut self.windows[index];
        let is_new = offset > window.aggregate.last_offset || window.folding == offset;
        if is_new || teeth::is_out(Tooth::LastOffsetPerCell) {
            window.folding = offset;
            window.dirty = true;
            fold_reading(&mut window.aggregate, offset, row);
        } else if rewrites {
            window.dirty = true;
        }
    }
}

/// Welford, "Note on a method for calculating corrected sums of squares and products" (1962).
fn fold_reading(window: &mut Aggregate, offset: i64, row: &ReadingRow) {
    let (value, time) = (row.value, row.time);
    if window.count == 0 {
        (window.min, window.max) = (value, value);
        (window.first, window.first_at) = (value, time);
        (window.last, window.last_at) = (value, time);
    }
    window.count += 1;
    window.sum = canonical(window.sum + value);
    let delta = value - window.mean;
    window.mean = canonical(window.mean + delta / window.count as f64);
    window.m2 = canonical(window.m2 + delta * (value - window.mean));
    if value < window.min {
        window.min = value;
    }
    if value > window.max {
        window.max = value;
    }
    if time < window.first_at {
        (window.first, window.first_at) = (value, time);
    }
    if time >= window.last_at {
        (window.last, window.last_at) = (value, time);
    }
    window.last_offset = offset.max(window.last_offset);
}
