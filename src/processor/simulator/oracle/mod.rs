//! What the store and the topics must hold, computed from the log alone, all at once, after docs/windows-and-alerts.md.
//!
//! Shares no code with the processor; only the model's plain types.

use std::collections::HashMap;
use std::ops::Range;

use super::cells::{ABSENT, Cell, HashCells, Value, Values, Version, same_change, window_bits};
use super::log::{Log, Said};
use super::plan::{Plan, STATUSES};
use crate::model::{Aggregate, AlertChange, MILLIS_PER_DAY, StatusChange, TimeMs};

mod detectors;
mod state;

use detectors::{Detector, Identity};

/// What must be there before the offset of a record may be committed.
#[derive(Clone, Copy, Debug)]
pub enum Demand {
    /// This version of a cell or a later one, on a majority of the replicas.
    Cell {
        cell: u32,
        version: Version,
    },
    /// A record on the topic of alerts, or of events.
    OnTopic {
        change: u64,
    },
    DeadLetter,
}

/// All that is expected.
pub struct Oracle {
    ids: HashMap<Cell, u32, HashCells>,
    pub cells: Vec<Cell>,
    /// How each cell ends.
    pub ends: Vec<Version>,
    /// Every version of cells that are no numbers, by write timestamp.
    histories: Vec<Vec<(i64, u64)>>,
    pub values: Values,
    /// Places of the changes of status, by source and offset.
    statuses: HashMap<(usize, i64), u64>,
    demands: Vec<Demand>,
    /// By source and by entry of its log.
    of_entry: Vec<Vec<Range<u32>>>,
}

/// What one sensor of one source has come to.
#[derive(Default)]
struct Progress {
    newest: Option<i64>,
    /// When it last said its status, and which.
    status: Option<(i64, usize)>,
    /// By kind.
    detectors: Vec<Option<Detector>>,
}

impl Oracle {
    pub fn new(plan: &Plan, log: &Log) -> Oracle {
        let mut oracle = Oracle {
            ids: HashMap::with_capacity_and_hasher(512, HashCells::default()),
            cells: Vec::with_capacity(256),
            ends: Vec::with_capacity(256),
            histories: Vec::with_capacity(256),
            values: Values::default(),
            statuses: HashMap::new(),
            demands: Vec::with_capacity(512),
            of_entry: Vec::new(),
        };
        for source in 0..plan.sources() {
            oracle.fold_source(plan, log, source);
        }
        oracle
    }

    fn fold_source(&mut self, plan: &Plan, log: &Log, source: usize) {
        let text = plan.source(source).to_string();
        let mut sensors: Vec<Progress> = Vec::new();
        sensors.resize_with(plan.sensors.len(), Progress::default);
        for progress in &mut sensors {
            progress.detectors.resize_with(plan.kinds.len(), || None);
        }
        let mut of_entry = Vec::new();
        for entry in &log.partitions[source].entries {
            let from = self.demands.len() as u32;
            match &entry.said {
                None => self.demands.push(Demand::DeadLetter),
                Some(said) => {
                    let readings = &log.readings[said.readings.clone()];
                    self.readings(said, readings, entry.timestamp);
                    self.windows(plan, source, said, readings, entry.offset);
                    if plan.keeps_state() {
                        let at = At {
                            source,
                            text: &text,
                            offset: entry.offset,
                        };
                        let progress = &mut sensors[said.sensor];
                        self.state(plan, &at, said, readings, &plan.rules[entry.rules], progress);
                    }
                }
            }
            of_entry.push(from..self.demands.len() as u32);
        }
        self.of_entry.push(of_entry);
        // The ledger follows, but for a source of which nothing was there to acknowledge.
        let acked_to = self.id(Cell::AckedTo { source: source as u8 });
        if let Some(last) = log.partitions[source].entries.last() {
            let to = last.offset + 1;
            self.ends[acked_to as usize] = Version {
                timestamp: to + 1,
                value: to as u64,
                sent: 0,
            };
        }
    }

    fn readings(&mut self, said: &Said, readings: &[(usize, f64)], timestamp: i64) {
        let sensor = said.sensor as u8;
        for &(kind, value) in readings {
            let cell = Cell::Reading {
                sensor,
                kind: kind as u8,
                time: said.time,
            };
            self.demand(
                cell,
                Version {
                    timestamp,
                    value: value.to_bits(),
                    sent: 0,
                },
            );
        }
        let day = said.time.div_euclid(MILLIS_PER_DAY);
        self.demand(
            Cell::FirstDay { sensor },
            Version {
                timestamp: -day,
                value: day as u64,
                sent: 0,
            },
        );
        self.demand(
            Cell::LastDay { sensor },
            Version {
                timestamp: day,
                value: day as u64,
                sent: 0,
            },
        );
    }

    fn windows(&mut self, plan: &Plan, source: usize, said: &Said, readings: &[(usize, f64)], offset: i64) {
        for &(kind, value) in readings {
            for &size_s in &plan.settings.processing.window_sizes_s {
                let cell = Cell::Window {
                    source: source as u8,
                    sensor: said.sensor as u8,
                    kind: kind as u8,
                    size_s,
                    start: said.time - said.time.rem_euclid(i64::from(size_s) * 1000),
                };
                let id = self.id(cell);
                let before = self.histories[id as usize].last().map(|(_, place)| *place);
                let before = before.map(|place| match self.values.get(place) {
                    Value::Window(window) => *window,
                    other => unreachable!("{other:?} in the place of a window"),
                });
                let window = fold_window(before, offset, said.time, value);
                self.push(id, offset + 1, Value::Window(window));
            }
        }
    }

    fn state(
        &mut self,
        plan: &Plan,
        at: &At<'_>,
        said: &Said,
        readings: &[(usize, f64)],
        rules: &[crate::model::Rule],
        progress: &mut Progress,
    ) {
        let (source, sensor) = (at.source as u8, said.sensor as u8);
        let mut changes: Vec<AlertChange> = Vec::new();
        for &(kind, value) in readings.iter().filter(|_| plan.settings.processing.alerts) {
            let identity = Identity {
                sensor: plan.sensors[said.sensor],
                label: &plan.labels[said.sensor],
                kind: &plan.kinds[kind],
                source: at.text,
                offset: at.offset,
            };
            detectors::judge(
                &mut progress.detectors[kind],
                rules,
                &identity,
                said.time,
                value,
                &mut changes,
            );
        }
        progress.newest = progress.newest.max(Some(said.time));
        if !changes.is_empty() {
            for change in changes {
                let id = self.id(Cell::Alert(change.alert.id));
                let place = self.push(id, at.offset + 1, Value::Alert(Box::new(change)));
                self.demands.push(Demand::OnTopic { change: place });
            }
            let active = detectors::active(&progress.detectors);
            let id = self.id(Cell::ActiveAlerts { source, sensor });
            self.push(id, at.offset + 1, Value::ActiveAlerts(active));
        }
        self.status(plan, at, said, progress);
        let bytes = state::encode(
            &plan.kinds,
            at.offset,
            progress.newest.unwrap_or_default(),
            progress.status.map(|(said_at, status)| (said_at, STATUSES[status])),
            &progress.detectors,
        );
        let id = self.id(Cell::State { source, sensor });
        self.push(id, at.offset + 1, Value::State(bytes));
    }

    fn status(&mut self, plan: &Plan, at: &At<'_>, said: &Said, progress: &mut Progress) {
        let Some(status) = said.status.filter(|_| plan.settings.processing.alerts) else {
            return;
        };
        let before = progress.status;
        if before.is_some_and(|(said_at, _)| said_at >= said.time) {
            return;
        }
        progress.status = Some((said.time, status));
        let before = before.map(|(_, before)| before);
        if before == Some(status) {
            return;
        }
        let change = self.values.push(Value::Status(StatusChange {
            offset: at.offset,
            sensor: plan.sensors[said.sensor],
            label: plan.labels[said.sensor].clone(),
            at: TimeMs(said.time),
            status: STATUSES[status].into(),
            previous: before.map(|before| STATUSES[before].into()),
        }));
        self.statuses.insert((at.source, at.offset), change);
        self.demands.push(Demand::OnTopic { change });
    }

    fn id(&mut self, cell: Cell) -> u32 {
        let next = self.cells.len() as u32;
        let id = *self.ids.entry(cell).or_insert(next);
        if id == next {
            self.cells.push(cell);
            self.ends.push(ABSENT);
            self.histories.push(Vec::new());
        }
        id
    }

    /// The next version of a cell. A second reading of one record replaces what the first made of it.
    fn push(&mut self, id: u32, timestamp: i64, value: Value) -> u64 {
        let place = self.values.push(value);
        let history = &mut self.histories[id as usize];
        if history.last().is_some_and(|(last, _)| *last == timestamp) {
            history.pop();
        }
        history.push((timestamp, place));
        let version = Version {
            timestamp,
            value: place,
            sent: 0,
        };
        self.ends[id as usize] = version;
        self.demands.push(Demand::Cell { cell: id, version });
        place
    }

    fn demand(&mut self, cell: Cell, version: Version) {
        let id = self.id(cell);
        if self.values.replaces(cell, version, self.ends[id as usize]) {
            self.ends[id as usize] = version;
        }
        self.demands.push(Demand::Cell { cell: id, version });
    }

    /// The number of a cell; `None` for one that nothing in the log speaks of.
    pub fn find(&self, cell: Cell) -> Option<u32> {
        self.ids.get(&cell).copied()
    }

    pub fn demands(&self, source: usize, entry: usize) -> &[Demand] {
        let range = &self.of_entry[source][entry];
        &self.demands[range.start as usize..range.end as usize]
    }

    /// The place of a value that the cell truly has at this timestamp; else the value is kept as what it is, wrong.
    pub fn recognise(
        &mut self,
        id: u32,
        timestamp: i64,
        is: impl Fn(&Value) -> bool,
        value: impl Fn() -> Value,
    ) -> (u64, bool) {
        let history = &self.histories[id as usize];
        if let Ok(index) = history.binary_search_by_key(&timestamp, |(timestamp, _)| *timestamp)
            && is(self.values.get(history[index].1))
        {
            return (history[index].1, true);
        }
        (self.values.push(value()), false)
    }

    pub fn recognise_window(&mut self, id: u32, window: &Aggregate) -> (u64, bool) {
        let is = |known: &Value| matches!(known, Value::Window(known) if window_bits(known) == window_bits(window));
        self.recognise(id, window.last_offset + 1, is, || Value::Window(*window))
    }

    /// The place of a change of status, if it is one.
    pub fn find_status(&self, source: usize, change: &StatusChange) -> Option<u64> {
        let place = *self.statuses.get(&(source, change.offset))?;
        matches!(self.values.get(place), Value::Status(known) if known == change).then_some(place)
    }

    pub fn recognise_change(&mut self, id: u32, change: &AlertChange) -> (u64, bool) {
        let is = |known: &Value| matches!(known, Value::Alert(known) if same_change(known, change));
        self.recognise(id, change.offset + 1, is, || Value::Alert(Box::new(change.clone())))
    }
}

/// Where a record is.
struct At<'a> {
    source: usize,
    text: &'a str,
    offset: i64,
}

fn fold_window(before: Option<Aggregate>, offset: i64, time: i64, x: f64) -> Aggregate {
    let mut window = before.unwrap_or(Aggregate {
        last_offset: offset,
        count: 0,
        sum: 0.0,
        mean: 0.0,
        m2: 0.0,
        min: x,
        max: x,
        first: x,
        first_at: TimeMs(time),
        last: x,
        last_at: TimeMs(time),
    });
    window.count += 1;
    window.sum = one_nan(window.sum + x);
    let delta = x - window.mean;
    window.mean = one_nan(window.mean + delta / window.count as f64);
    window.m2 = one_nan(window.m2 + delta * (x - window.mean));
    if x < window.min {
        window.min = x;
    }
    if x > window.max {
        window.max = x;
    }
    if time < window.first_at.0 {
        (window.first, window.first_at) = (x, TimeMs(time));
    }
    if time >= window.last_at.0 {
        (window.last, window.last_at) = (x, TimeMs(time));
    }
    window.last_offset = offset;
    window
}

/// A result that is not a number is always the same one.
fn one_nan(x: f64) -> f64 {
    if x.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        x
    }
}
