//! How a process gets records.

use std::ops::Range;

use super::life::Hold;
use super::plan::STATUSES;
use super::world::World;
use crate::model::{DeadLetter, Reading, Reason, Record, RecordBatch, TimeMs};
use crate::processor::Event;

impl World {
    /// Polls a few records of one partition of one process, if it wants any. Answers whether anything was done.
    pub fn poll(&mut self) -> bool {
        let Some(who) = self.some_life() else { return false };
        let partition = self.dice.below(self.plan.partitions);
        let Some(life) = self.life(who) else { return false };
        let Hold::Started(position) = life.holds[partition] else {
            return false;
        };
        if life.draining || !life.processor.wants_records() {
            return false;
        }
        let source = life.source(partition);
        let log = &self.log.partitions[source];
        if position < log.low() {
            self.end(who); // what it wants to read is deleted
            return true;
        }
        // Now and then a consumer fetches once more what it had.
        let again = if self.dice.chance(30) { self.dice.below(4) } else { 0 };
        let from = log.index_of(position).saturating_sub(again).max(log.deleted);
        let to = log.written.min(from + 1 + self.dice.below(5));
        if from >= to {
            return false;
        }
        let next = position.max(log.entries[to - 1].offset + 1);
        let batch = self.batch(partition, source, from..to);
        self.note(who, || format!("polls {partition}: {position} to {}", next - 1));
        if let Some(life) = self.life_mut(who) {
            life.holds[partition] = Hold::Started(next);
        }
        self.feed(who, Event::Records(batch));
        true
    }

    fn batch(&self, partition: usize, source: usize, entries: Range<usize>) -> RecordBatch {
        let mut batch = RecordBatch::default();
        let partition = partition as i32;
        for entry in &self.log.partitions[source].entries[entries] {
            let (offset, timestamp) = (entry.offset, TimeMs(entry.timestamp));
            let Some(said) = &entry.said else {
                let letter = DeadLetter {
                    partition,
                    offset,
                    timestamp,
                    reason: Reason::InvalidJson,
                    detail: String::new(),
                    key: None,
                    payload: None,
                    headers: vec![],
                };
                batch.dead.push((batch.records.len(), letter));
                continue;
            };
            let start = batch.readings.len() as u32;
            let readings = self.log.readings[said.readings.clone()].iter();
            batch.readings.extend(readings.map(|&(kind, value)| Reading {
                kind: self.plan.kinds[kind].clone(),
                value,
            }));
            batch.records.push(Record {
                partition,
                offset,
                timestamp,
                sensor: self.plan.sensors[said.sensor],
                time: TimeMs(said.time),
                readings: start..batch.readings.len() as u32,
                label: self.plan.labels[said.sensor].clone(),
                status: said.status.map(|status| STATUSES[status].into()),
                location: None,
            });
        }
        batch
    }
}
