//! One sensor of one partition: collects its records, folds them once its cells are known, and says what is written next.
//!
//! One thing of a sensor is in flight at a time: alerts and changes of its status, then the write that has seen them. While a
//! write flies records are folded on; once such are to be sent, folding waits until the write after them is on its way, so that nothing that is
//! sent knows of alerts that are not out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Folding;
use super::cells::Cells;
use super::seen::Seen;
use super::state_due::StateDue;
use super::teeth::{self, Tooth};
use super::waiting::{Waiting, give_back, rows_ahead};
use crate::model::{
    AlertChange, AlertId, AlertWrite, Load, LoadId, Loaded, Reading, ReadingRow, Record, SensorId, SensorWrite, Source,
    StatusChange, WindowKey, WriteId,
};

/// Records ahead whose windows are loaded together.
const LOAD_AHEAD_RECORDS: usize = 64;
/// Windows of one load. A record that needs more is folded after several.
const LOAD_WINDOWS_MAX: usize = 1_000;

/// What is kept of a sensor between records.
#[derive(Debug)]
pub struct Sensor {
    partition: i32,
    id: SensorId,
    source: Arc<Source>,
    /// Readings that wait for a write, in the order of offsets.
    rows: Vec<ReadingRow>,
    /// The records of `rows`.
    records: VecDeque<Waiting>,
    /// Of `records` and of `rows`, so many from the front are folded.
    folded: usize,
    folded_rows: usize,
    cells: Option<Box<Cells>>,
    load: LoadPhase,
    phase: Phase,
    /// Changes of alerts and of the status that are to be sent before any cell that has seen their records.
    outputs: Outputs,
    flying: Option<Flying>,
    /// Offsets of what is written, but not yet in a state that the store acknowledged. In a drain there are as many as are polled
    /// between two states.
    unstated: VecDeque<i64>,
    /// All records up to this offset are in a state that the store acknowledged.
    stated_to: i64,
    state_due: StateDue,
    queued: bool,
    deferred: bool,
    /// Was written just now, and collects for its next write unless that is urgent.
    resting: bool,
    /// The partition was dropped while a write flew.
    abandoned: bool,
    seen: Seen,
    /// Used since the cache last looked.
    touched: bool,
}

/// Changes that wait to be sent.
#[derive(Debug, Default)]
struct Outputs {
    alerts: Vec<AlertChange>,
    statuses: Vec<StatusChange>,
}

impl Outputs {
    fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.statuses.is_empty()
    }
}

#[derive(Debug)]
struct Flying {
    /// Offsets of its records.
    records: Vec<i64>,
    readings: usize,
    /// The last offset of the state that flies along.
    state_to: Option<i64>,
}

#[derive(Clone, PartialEq, Debug)]
enum LoadPhase {
    No,
    /// Stands in the queue for a load.
    Queued,
    Flying(Vec<WindowKey>),
}

/// Where the sensor is on its way from folding to the next write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Folding,
    /// Alerts fly.
    AlertsFlying,
    /// The alerts of all that is folded are out: the next thing is the write.
    AlertsOut,
}

/// What a sensor whose turn it is wants sent.
#[derive(Debug)]
pub enum Request {
    Write(Box<SensorWrite>),
    Alerts(Box<AlertWrite>),
}

/// How much a write takes, and how often sightings and states are due.
#[derive(Clone, Copy, Debug)]
pub struct WriteTerms {
    pub readings_max: usize,
    pub now_ms: i64,
    pub sighting_interval_ms: i64,
    /// The longest that a state waits for a write to take it along.
    pub state_interval_ms: i64,
    /// The state is to ride along now: somebody waits for the offsets.
    pub state_now: bool,
    /// The store has enough to do: windows wait for the state, with which they come to the store together.
    pub is_busy: bool,
    /// No more records come: the directory is to learn what it does not know yet.
    pub is_last: bool,
}

impl Sensor {
    pub fn new(partition: i32, id: SensorId, source: Arc<Source>) -> Sensor {
        Sensor {
            partition,
            id,
            source,
            rows: Vec::new(),
            records: VecDeque::new(),
            folded: 0,
            folded_rows: 0,
            cells: None,
            load: LoadPhase::No,
            phase: Phase::Folding,
            outputs: Outputs::default(),
            flying: None,
            unstated: VecDeque::new(),
            stated_to: -1,
            state_due: StateDue::NOW,
            queued: false,
            deferred: false,
            resting: false,
            abandoned: false,
            seen: Seen::new(),
            touched: true,
        }
    }

    pub fn key(&self) -> (i32, SensorId) {
        (self.partition, self.id)
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Takes one record in; [`Sensor::fold`] folds it.
    pub fn take(&mut self, record: &Record, readings: impl Iterator<Item = Reading>) {
        self.touched = true;
        let before = self.rows.len();
        self.rows.extend(readings.map(|reading| ReadingRow {
            time: record.time,
            kind: reading.kind,
            value: reading.value,
            timestamp: record.timestamp,
        }));
        let rows = &self.rows[before..];
        self.seen.fold(record, rows);
        self.records.push_back(Waiting::new(record, rows.len()));
    }

    /// Folds what can be folded now. Answers `true` once when cells must be loaded before it can go on: then a load is to
    /// be queued.
    pub fn fold(&mut self, folding: &Folding) -> bool {
        if !folding.keeps_cells() {
            (self.folded, self.folded_rows) = (self.records.len(), self.rows.len());
            return false;
        }
        if self.load != LoadPhase::No {
            return false;
        }
        let mut missing = Vec::new();
        let mut changes = Vec::new();
        while self.folded < self.records.len() {
            if self.phase != Phase::Folding && !teeth::is_out(Tooth::GateOnAllCovered) {
                break;
            }
            let Some(cells) = &mut self.cells else {
                self.load = LoadPhase::Queued;
                return true;
            };
            let record = &self.records[self.folded];
            let rows = &self.rows[self.folded_rows..self.folded_rows + record.readings()];
            cells.missing(&folding.window_sizes_s, rows, &mut missing);
            if !missing.is_empty() {
                self.load = LoadPhase::Queued;
                return true;
            }
            let is_new = cells.fold(folding, record.offset, rows, &mut changes);
            for (kind, change) in changes.drain(..) {
                let change = record.alert_change(self.id, &self.source, kind, change);
                self.outputs.alerts.push(change);
            }
            if let Some(said) = &record.said
                && let Some(status) = &said.status
                && is_new
                && folding.detects
                && let Some(time) = rows.first().map(|row| row.time)
                && let Some(previous) = cells.say_status(time, status)
            {
                self.outputs.statuses.push(StatusChange {
                    offset: record.offset,
                    sensor: self.id,
                    label: said.label.clone(),
                    at: time,
                    status: status.clone(),
                    previous,
                });
            }
            self.folded += 1;
            self.folded_rows += record.readings();
        }
        false
    }

    /// What is to be loaded; `None` where nothing is missing any more.
    pub fn take_load(&mut self, id: LoadId, folding: &Folding) -> Option<Box<Load>> {
        let mut windows = Vec::new();
        if let Some(cells) = &self.cells {
            let mut from = self.folded_rows;
            for record in self.records.iter().skip(self.folded).take(LOAD_AHEAD_RECORDS) {
                let rows = &self.rows[from..from + record.readings()];
                cells.missing(&folding.window_sizes_s, rows, &mut windows);
                from += record.readings();
            }
            windows.sort_unstable();
            windows.dedup();
            windows.truncate(LOAD_WINDOWS_MAX);
            if windows.is_empty() {
                self.load = LoadPhase::No;
                return None;
            }
        }
        self.load = LoadPhase::Flying(windows.clone());
        Some(Box::new(Load {
            id,
            sensor: self.id,
            source: self.source.clone(),
            state: self.cells.is_none(),
            windows,
        }))
    }

    /// Takes in what was loaded. Fails where the state's bytes are of another making.
    pub fn loaded(&mut self, loaded: Loaded, now_ms: i64, sighting_interval_ms: i64) -> Result<(), String> {
        let LoadPhase::Flying(windows) = std::mem::replace(&mut self.load, LoadPhase::No) else {
            return Ok(());
        };
        match &mut self.cells {
            None => {
                let cells = Cells::new(loaded.state.as_deref())?;
                self.stated_to = self.stated_to.max(cells.last_offset());
                let first = self.records.front();
                // Records that come again may have left a state, and nothing in the directory.
                let is_first_time = first.is_none_or(|first| first.offset > cells.last_offset());
                if is_first_time {
                    let next_sighting_ms = now_ms.saturating_add(share_of(sighting_interval_ms, self.id));
                    self.seen.goes_on(
                        cells.newest(),
                        |kind| cells.detects(kind),
                        cells.status(),
                        next_sighting_ms,
                    );
                }
                self.cells = Some(Box::new(cells));
            }
            Some(cells) => cells.take_loaded(&windows, loaded.windows),
        }
        Ok(())
    }

    /// Whether the sensor is to be queued for its turn now: something is to be sent, nothing is in flight, and it does not
    /// stand in the queue yet. Answers `true` once.
    pub fn queue_if_ready(&mut self, now_ms: i64, state_now: bool, readings_max: usize) -> bool {
        let has_work = self.folded > 0 || self.is_state_due(now_ms, state_now);
        let is_urgent =
            state_now || self.folded_rows >= readings_max || self.phase != Phase::Folding || !self.outputs.is_empty();
        has_work && (is_urgent || !self.resting) && self.queue_if_free()
    }

    /// Whether it collects for a while now; answers once until [`Sensor::rested`].
    pub fn rest(&mut self) -> bool {
        let begins = !self.resting && !self.abandoned;
        self.resting |= begins;
        begins
    }

    pub fn rested(&mut self) {
        self.resting = false;
    }

    /// Whether the sensor is to be queued only so that the directory learns of it once more, as by
    /// [`Sensor::queue_if_ready`]. What still waits for a write will say it.
    pub fn queue_if_behind(&mut self, sighting_interval_ms: i64) -> bool {
        self.records.is_empty() && self.seen.is_behind(sighting_interval_ms) && self.queue_if_free()
    }

    fn queue_if_free(&mut self) -> bool {
        let is_free = self.flying.is_none() && self.phase != Phase::AlertsFlying;
        let ready = !self.queued && is_free && !self.abandoned;
        self.queued |= ready;
        ready
    }

    fn is_state_due(&self, now_ms: i64, state_now: bool) -> bool {
        !self.unstated.is_empty() && self.is_state_dirty() && (state_now || now_ms >= self.state_due.by_ms())
    }

    fn is_state_dirty(&self) -> bool {
        self.cells.as_ref().is_some_and(|cells| cells.is_state_dirty())
    }

    /// When it is to be looked at again for its state alone; answers once until [`Sensor::undefer`].
    pub fn defer(&mut self) -> Option<i64> {
        let is_seen_to = self.deferred || self.queued || self.resting || self.in_flight() || self.abandoned;
        let waits = !is_seen_to && !self.unstated.is_empty() && self.is_state_dirty();
        self.deferred |= waits;
        waits.then_some(self.state_due.by_ms())
    }

    pub fn undefer(&mut self) {
        self.deferred = false;
    }

    /// The next request of a sensor whose turn it is.
    pub fn take_request(&mut self, id: WriteId, terms: &WriteTerms) -> Request {
        self.queued = false;
        if !self.outputs.is_empty() && self.phase == Phase::Folding {
            self.phase = Phase::AlertsFlying;
            return Request::Alerts(Box::new(self.take_alerts(id)));
        }
        Request::Write(Box::new(self.take_write(id, terms)))
    }

    fn take_alerts(&mut self, id: WriteId) -> AlertWrite {
        let source = self.source.to_string();
        let Outputs { alerts, statuses } = std::mem::take(&mut self.outputs);
        let active = self.cells.iter().flat_map(|cells| cells.active_alerts());
        let active =
            active.map(|(kind, rule, onset, raised_at)| (AlertId::new(self.id, kind, rule, &source, onset), raised_at));
        AlertWrite {
            id,
            partition: self.partition,
            sensor: self.id,
            source: self.source.clone(),
            active: active.collect(),
            changes: alerts,
            statuses,
        }
    }

    /// The oldest records, whole ones, up to the terms' readings or one record, with all that changed.
    fn take_write(&mut self, id: WriteId, terms: &WriteTerms) -> SensorWrite {
        let (mut records, mut readings) = (0, 0);
        for record in self.records.iter().take(self.folded) {
            if records > 0 && readings + record.readings() > terms.readings_max {
                break;
            }
            records += 1;
            readings += record.readings();
        }
        let mut rest = Vec::with_capacity(rows_ahead(self.rows.len(), readings));
        rest.extend(self.rows.drain(readings..));
        let mut rows = std::mem::replace(&mut self.rows, rest);
        let records: Vec<i64> = self.records.drain(..records).map(|record| record.offset).collect();
        give_back(&mut self.records, records.len());
        self.folded -= records.len();
        self.folded_rows -= readings;
        self.phase = Phase::Folding;
        if teeth::is_out(Tooth::RewriteCovered) && records.iter().all(|offset| *offset <= self.stated_to) {
            rows.clear();
        }
        let (mut windows, mut state) = (Vec::new(), None);
        if let Some(cells) = &mut self.cells {
            // Without records the state is what it was queued for, whatever has become of the reason since.
            let is_due = terms.state_now
                || self.state_due.rides(terms.now_ms, self.unstated.len() + records.len())
                || records.is_empty();
            // Offsets wait for the state, so windows may, too. Those of records that the loaded state covers do not: their offsets
            // wait for no other; and the first state after a load is due at once.
            let windows_wait =
                terms.is_busy && cells.is_state_dirty() && (!is_due || teeth::is_out(Tooth::WindowsWithState));
            if !windows_wait {
                windows = cells.take_dirty_windows();
            }
            if cells.is_state_dirty() && is_due {
                state = Some(cells.take_state());
                self.state_due.written(terms.now_ms, terms.state_interval_ms);
            } else {
                self.state_due.left_behind();
            }
        }
        self.flying = Some(Flying {
            records,
            readings,
            state_to: state.as_ref().map(|state| state.last_offset),
        });
        if teeth::is_out(Tooth::InFlightEviction) {
            self.forget_in_flight();
        }
        SensorWrite {
            id,
            partition: self.partition,
            sensor: self.id,
            source: self.source.clone(),
            rows,
            windows,
            state,
            sighting: self
                .seen
                .sighting(terms.now_ms, terms.sighting_interval_ms, terms.is_last),
        }
    }

    /// What eviction would do if it did not wait for the write in flight.
    fn forget_in_flight(&mut self) {
        if self.folded == 0 && self.load == LoadPhase::No && self.unstated.is_empty() && self.outputs.is_empty() {
            self.cells = None;
        }
    }

    /// The alerts in flight are out: what has seen them may be written.
    /// Answers whether there were any.
    pub fn alerts_out(&mut self) -> bool {
        let flew = self.phase == Phase::AlertsFlying;
        if flew {
            self.phase = Phase::AlertsOut;
        }
        flew
    }

    /// The write in flight was acknowledged. Appends the offsets of the records that are in the store now with all that
    /// covers them.
    pub fn landed(&mut self, folding: &Folding, done: &mut Vec<i64>) {
        let Some(flying) = self.flying.take() else { return };
        if !folding.keeps_cells() {
            done.extend(flying.records);
            return;
        }
        if let Some(cells) = &mut self.cells {
            cells.landed();
        }
        if let Some(offset) = flying.state_to {
            self.stated_to = self.stated_to.max(offset);
        }
        self.unstated.extend(flying.records);
        let stated = self.unstated.partition_point(|offset| *offset <= self.stated_to);
        done.extend(self.unstated.drain(..stated));
        give_back(&mut self.unstated, stated);
    }

    /// Readings of the write in flight.
    pub fn readings_in_flight(&self) -> usize {
        self.flying.as_ref().map_or(0, |flying| flying.readings)
    }

    /// Offsets of the records of the write in flight.
    pub fn flying_offsets(&self) -> impl Iterator<Item = i64> + '_ {
        self.flying.iter().flat_map(|flying| flying.records.iter().copied())
    }

    pub fn in_flight(&self) -> bool {
        self.flying.is_some() || self.phase == Phase::AlertsFlying
    }

    /// Nothing pending and nothing in flight: only such a sensor may be forgotten.
    pub fn is_idle(&self) -> bool {
        self.records.is_empty()
            && !self.in_flight()
            && !self.resting
            && self.unstated.is_empty()
            && self.load == LoadPhase::No
    }

    /// Forgets what waits; what is in flight lands unheard. Answers the number of readings that were dropped.
    pub fn abandon(&mut self) -> usize {
        self.abandoned = true;
        self.records.clear();
        self.unstated.clear();
        self.outputs = Outputs::default();
        (self.folded, self.folded_rows) = (0, 0);
        self.cells = None;
        std::mem::take(&mut self.rows).len()
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Whether it was used since the last call.
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// What it takes in memory beside what waits, bytes.
    pub fn size_bytes(&self) -> usize {
        self.seen.size_bytes()
            + self.cells.as_ref().map_or(0, |cells| cells.size_bytes())
            + self.rows.capacity() * size_of::<ReadingRow>()
            + self.records.capacity() * size_of::<Waiting>()
            + self.unstated.capacity() * size_of::<i64>()
    }
}

/// A part of an interval that is each sensor's own, so that not all come at once. The multiplication (by 2^64 over the golden
/// ratio) spreads ids that count upwards.
fn share_of(interval_ms: i64, id: SensorId) -> i64 {
    let (high, low) = id.0.as_u64_pair();
    let spread = (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    i64::try_from((i128::from(interval_ms) * i128::from(spread)) >> 32).unwrap_or(interval_ms)
}
