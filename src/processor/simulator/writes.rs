//! What a process sends, as cells of the store.

use super::broker::Op;
use super::cells::{Cell, Value, Version};
use super::counts::Count;
use super::life::Life;
use super::store::Asked;
use super::world::{Check, Who, World};
use crate::model::{AlertWrite, DeadLetter, MILLIS_PER_DAY, SensorId, SensorWrite, Source, StateCell, WindowCell};

impl World {
    pub fn ledger_cell(&self, source: &Source, to: i64) -> (u32, Version) {
        let source = self.plan.source_index(source) as u8;
        let id = self.oracle.find(Cell::AckedTo { source }).expect("each source has one");
        (
            id,
            Version {
                timestamp: to + 1,
                value: to as u64,
                sent: 0,
            },
        )
    }

    pub fn send_dead_letter(&mut self, life: &Life, letter: &DeadLetter) {
        let who = life.who;
        let source = life.source(letter.partition as usize);
        let log = &self.log.partitions[source];
        let entry = log.index_of(letter.offset);
        let is_dead = log
            .entries
            .get(entry)
            .is_some_and(|known| known.offset == letter.offset && known.said.is_none());
        if !is_dead {
            return self.fail_at(
                Check::Sent,
                format!("{who}: a dead letter that is none: {source}/{}", letter.offset),
            );
        }
        self.broker.ops.push((who, Op::DeadLetter { source, entry }));
    }

    fn count_write(&mut self, life: &mut Life) {
        life.writes_in_flight += 1;
        if life.writes_in_flight > self.plan.settings.writes_in_flight && self.judges_what_is_sent {
            self.fail(format!("{}: {} writes in flight", life.who, life.writes_in_flight));
        }
        self.counts.add(Count::Writes, 1);
    }

    /// Rows and windows of a day are one mutation, the state is one, and the sighting is one.
    pub fn send_write(&mut self, life: &mut Life, write: Box<SensorWrite>) {
        let who = life.who;
        self.count_write(life);
        let sensor = self.plan.sensor_index(write.sensor);
        let key = (write.partition, sensor);
        if life.flying.contains(&key) && self.judges_what_is_sent {
            self.fail(format!(
                "{who}: two writes of sensor {sensor} of partition {} in flight",
                write.partition
            ));
        }
        life.flying.push(key);
        let mut cells: Vec<(i64, u32, Version)> = Vec::with_capacity(write.rows.len() + write.windows.len() + 3);
        for row in &write.rows {
            let kind = self.plan.kind_index(&row.kind).unwrap_or(usize::MAX) as u8;
            let cell = Cell::Reading {
                sensor: sensor as u8,
                kind,
                time: row.time.0,
            };
            let version = Version {
                timestamp: row.timestamp.0,
                value: row.value.to_bits(),
                sent: 0,
            };
            self.add(who, &mut cells, row.time.0.div_euclid(MILLIS_PER_DAY), cell, version);
        }
        for window in &write.windows {
            if let Some((id, version)) = self.window_version(who, write.sensor, &write.source, window) {
                cells.push((window.key.start.0.div_euclid(MILLIS_PER_DAY), id, version));
            }
        }
        if let Some(state) = &write.state
            && let Some((id, version)) = self.state_version(who, sensor, &write.source, state)
        {
            cells.push((i64::MAX - 1, id, version));
        }
        if let Some(sighting) = &write.sighting {
            let (first, last) = (i64::from(sighting.first_day.0), i64::from(sighting.last_day.0));
            let sensor = sensor as u8;
            let version = |timestamp, value: i64| Version {
                timestamp,
                value: value as u64,
                sent: 0,
            };
            self.add(
                who,
                &mut cells,
                i64::MAX,
                Cell::FirstDay { sensor },
                version(-first, first),
            );
            self.add(who, &mut cells, i64::MAX, Cell::LastDay { sensor }, version(last, last));
        }
        self.send_groups(who, Asked::Write(write), cells);
    }

    pub fn send_alerts(&mut self, life: &mut Life, write: Box<AlertWrite>) {
        let who = life.who;
        self.count_write(life);
        let source = self.plan.source_index(&write.source) as u8;
        let sensor = self.plan.sensor_index(write.sensor) as u8;
        if write.changes.is_empty() {
            return self.publish_alerts(who, write); // the store keeps no changes of status
        }
        let mut cells = Vec::with_capacity(write.changes.len() + 1);
        for change in &write.changes {
            let Some(id) = self.oracle.find(Cell::Alert(change.alert.id)) else {
                return self.fail_at(Check::Sent, format!("{who}: an alert that is none: {change:?}"));
            };
            let (value, known) = self.oracle.recognise_change(id, change);
            self.check_known(who, known, || {
                format!("a change of an alert that is not so: {change:?}")
            });
            let timestamp = change.offset + 1;
            cells.push((
                change.alert.raised_at.0.div_euclid(MILLIS_PER_DAY),
                id,
                Version {
                    timestamp,
                    value,
                    sent: 0,
                },
            ));
        }
        let mut active: Vec<_> = write.active.iter().map(|(id, raised_at)| (*id, raised_at.0)).collect();
        active.sort();
        let Some(id) = self.oracle.find(Cell::ActiveAlerts { source, sensor }) else {
            return self.fail_at(
                Check::Sent,
                format!("{who}: active alerts of a sensor without any: {active:?}"),
            );
        };
        let timestamp = write.last_offset() + 1;
        let is = |known: &Value| matches!(known, Value::ActiveAlerts(known) if *known == active);
        let (value, known) = self
            .oracle
            .recognise(id, timestamp, is, || Value::ActiveAlerts(active.clone()));
        self.check_known(who, known, || {
            format!("active alerts that are not so at {}: {active:?}", timestamp - 1)
        });
        cells.push((
            i64::MAX,
            id,
            Version {
                timestamp,
                value,
                sent: 0,
            },
        ));
        self.send_groups(who, Asked::Alerts(write), cells);
    }

    fn add(&mut self, who: Who, cells: &mut Vec<(i64, u32, Version)>, group: i64, cell: Cell, version: Version) {
        match self.oracle.find(cell) {
            Some(id) => cells.push((group, id, version)),
            None => self.fail_at(
                Check::Sent,
                format!("{who}: writes {cell:?}, of which the log says nothing"),
            ),
        }
    }

    fn send_groups(&mut self, who: Who, asked: Asked, mut cells: Vec<(i64, u32, Version)>) {
        cells.sort_by_key(|(group, ..)| *group);
        let plain: Vec<(u32, Version)> = cells.iter().map(|&(_, id, version)| (id, version)).collect();
        let mut groups: Vec<&[(u32, Version)]> = Vec::with_capacity(4);
        let mut from = 0;
        for to in 1..=cells.len() {
            if to == cells.len() || cells[to].0 != cells[from].0 {
                groups.push(&plain[from..to]);
                from = to;
            }
        }
        self.request(who, asked, &groups);
    }

    pub fn window_version(
        &mut self,
        who: Who,
        sensor: SensorId,
        source: &Source,
        window: &WindowCell,
    ) -> Option<(u32, Version)> {
        let key = &window.key;
        let cell = Cell::Window {
            source: self.plan.source_index(source) as u8,
            sensor: self.plan.sensor_index(sensor) as u8,
            kind: self.plan.kind_index(&key.kind)? as u8,
            size_s: key.size_s,
            start: key.start.0,
        };
        let Some(id) = self.oracle.find(cell) else {
            self.fail_at(
                Check::Sent,
                format!("{who}: writes {cell:?}, of which the log says nothing"),
            );
            return None;
        };
        let (value, known) = self.oracle.recognise_window(id, &window.aggregate);
        self.check_known(who, known, || {
            format!("a window that is not so: {cell:?} {:?}", window.aggregate)
        });
        Some((
            id,
            Version {
                timestamp: window.aggregate.last_offset + 1,
                value,
                sent: 0,
            },
        ))
    }

    fn state_version(&mut self, who: Who, sensor: usize, source: &Source, state: &StateCell) -> Option<(u32, Version)> {
        let cell = Cell::State {
            source: self.plan.source_index(source) as u8,
            sensor: sensor as u8,
        };
        let Some(id) = self.oracle.find(cell) else {
            self.fail_at(
                Check::Sent,
                format!("{who}: writes {cell:?}, of which the log says nothing"),
            );
            return None;
        };
        let timestamp = state.last_offset + 1;
        let is = |known: &Value| matches!(known, Value::State(known) if *known == state.bytes);
        let (value, known) = self
            .oracle
            .recognise(id, timestamp, is, || Value::State(state.bytes.clone()));
        self.check_known(who, known, || {
            format!("a state that is not so: {cell:?} at {}", state.last_offset)
        });
        Some((
            id,
            Version {
                timestamp,
                value,
                sent: 0,
            },
        ))
    }
}
