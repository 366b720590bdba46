//! One life of a process: the real processor, and the driver that carries its effects out.

use super::broker::Op;
use super::counts::Count;
use super::plan::PARTITIONS_MAX;
use super::store::Asked;
use super::world::{Who, World};
use crate::processor::{Effect, Event, Processor};

/// What a process has of a partition, as far as the process knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    No,
    /// Assigned, and nothing may be polled yet.
    Starting,
    /// Polled up to here.
    Started(i64),
    /// Taken back: to be released by this step.
    Revoking {
        polled_to: Option<i64>,
        until: u32,
    },
}

pub struct Life {
    pub who: Who,
    pub processor: Processor,
    pub now_ms: i64,
    /// Stands still until this step.
    pub paused_until: u32,
    pub holds: [Hold; PARTITIONS_MAX],
    /// Which life of the topic each partition was assigned in.
    pub incarnations: [usize; PARTITIONS_MAX],
    /// What the broker has taken of this assignment's commits.
    pub committed: [Option<i64>; PARTITIONS_MAX],
    /// It may have been told of a committed offset that is not of this topic.
    pub misplaced: [bool; PARTITIONS_MAX],
    pub draining: bool,
    pub drained: bool,
    /// The process has ended by itself.
    pub ended: bool,
    /// Sensors with a write in flight: partition and number.
    pub flying: Vec<(i32, usize)>,
    pub writes_in_flight: usize,
    loads_in_flight: usize,
}

impl Life {
    pub fn new(who: Who, processor: Processor) -> Life {
        Life {
            who,
            processor,
            now_ms: 0,
            paused_until: 0,
            holds: [Hold::No; PARTITIONS_MAX],
            incarnations: [0; PARTITIONS_MAX],
            committed: [None; PARTITIONS_MAX],
            misplaced: [false; PARTITIONS_MAX],
            draining: false,
            drained: false,
            ended: false,
            flying: Vec::new(),
            writes_in_flight: 0,
            loads_in_flight: 0,
        }
    }

    /// A partition begins anew, or is gone: what flies of it flies on, and so may its successor's.
    fn forget(&mut self, partition: usize) {
        self.flying.retain(|(of, _)| *of != partition as i32);
        self.committed[partition] = None;
    }

    pub fn source(&self, partition: usize) -> usize {
        self.incarnations[partition] * PARTITIONS_MAX + partition
    }
}

impl World {
    /// A process takes an event, and what it wants is set going.
    pub fn feed(&mut self, who: Who, event: Event) {
        let Some(slot) = self.slot(who) else { return };
        (self.fed, self.fed_a_zombie) = (Some(who), self.is_zombie(who));
        let Some(mut life) = self.lives[slot].take() else {
            return;
        };
        life.now_ms += self.dice.between(0, 8);
        self.before(&mut life, &event);
        let mut effects = std::mem::take(&mut self.effects);
        life.processor.handle(event, life.now_ms, &mut effects);
        for effect in effects.drain(..) {
            self.digest(&effect);
            self.carry_out(&mut life, effect);
        }
        self.effects = effects;
        let ended = life.ended;
        self.lives[slot] = Some(life);
        self.fed = None;
        if ended {
            self.end(who);
        }
    }

    /// What the driver notes before the processor hears of it.
    fn before(&mut self, life: &mut Life, event: &Event) {
        match event {
            Event::Written(write) => {
                let key = (write.partition, self.plan.sensor_index(write.sensor));
                if let Some(place) = life.flying.iter().position(|flying| *flying == key) {
                    life.flying.swap_remove(place);
                }
                life.writes_in_flight -= 1;
            }
            Event::AlertsWritten(_) => life.writes_in_flight -= 1,
            Event::Loaded(_) => life.loads_in_flight -= 1,
            Event::Assigned(partitions) => {
                for &partition in partitions {
                    let index = partition as usize;
                    life.forget(index);
                    life.holds[index] = Hold::Starting;
                    life.incarnations[index] = self.incarnation;
                    self.broker.groups[life.who.group].owner[index] = Some(life.who);
                }
            }
            Event::Lost(partitions) => {
                for &partition in partitions {
                    let index = partition as usize;
                    life.forget(index);
                    life.holds[index] = Hold::No;
                    let owner = &mut self.broker.groups[life.who.group].owner[index];
                    *owner = owner.filter(|owner| *owner != life.who);
                }
            }
            Event::Drain => life.draining = true,
            _ => {}
        }
    }

    fn carry_out(&mut self, life: &mut Life, effect: Effect) {
        let who = life.who;
        self.note_effect(who, &effect);
        match effect {
            Effect::FindStarts(partitions) => self.broker.ops.push((who, Op::FindStarts(partitions))),
            Effect::OpenLedger(entry) => self.broker.ops.push((who, Op::OpenLedger(entry))),
            Effect::Start { partition, offset } => {
                let hold = &mut life.holds[partition as usize];
                if *hold != Hold::Starting {
                    self.fail(format!("{who}: starts partition {partition}, which is {hold:?}"));
                }
                *hold = Hold::Started(offset);
            }
            Effect::Write(write) => self.send_write(life, write),
            Effect::WriteAlerts(write) => self.send_alerts(life, write),
            Effect::Load(load) => {
                life.loads_in_flight += 1;
                if life.loads_in_flight > self.plan.settings.loads_in_flight {
                    self.fail(format!("{who}: {} loads in flight", life.loads_in_flight));
                }
                self.load(who, load);
            }
            Effect::Publish(cells) => {
                let published = cells.iter();
                let published =
                    published.filter_map(|cell| self.window_version(who, cell.sensor, &cell.source, &cell.cell));
                let published = published.collect();
                self.broker.ops.push((who, Op::Publish(published)));
            }
            Effect::SendDeadLetter(letter) => self.send_dead_letter(life, &letter),
            Effect::AdvanceLedger(positions) => {
                let cells = positions.iter().map(|(source, to)| self.ledger_cell(source, *to));
                let cells: Vec<_> = cells.collect();
                let groups: Vec<&[_]> = cells.chunks(1).collect();
                self.request(who, Asked::Ledger, &groups);
            }
            Effect::Commit(positions) => {
                let mut of_topic = Vec::with_capacity(positions.len());
                for (partition, to) in positions {
                    let partition = partition as usize;
                    self.check_commit(who, life.source(partition), to);
                    of_topic.push((partition, to, life.incarnations[partition]));
                }
                self.broker.ops.push((who, Op::Commit(of_topic)));
            }
            Effect::Release(partitions) => partitions
                .iter()
                .for_each(|partition| self.release(life, *partition as usize)),
            Effect::HoleAccepted { detail, .. } => self.fail(format!("{who}: accepts a hole: {detail}")),
            Effect::Refuse(refusal) => self.refused(life, &refusal.to_string()),
            Effect::Drained => life.drained = true,
        }
    }

    fn release(&mut self, life: &mut Life, partition: usize) {
        let who = life.who;
        match life.holds[partition] {
            Hold::Revoking { polled_to, .. } => {
                if polled_to.is_some() && life.committed[partition] != polled_to {
                    let committed = life.committed[partition];
                    self.fail(format!(
                        "{who}: released {partition} at {polled_to:?}, committed is {committed:?}"
                    ));
                }
                self.counts.add(Count::Releases, 1);
            }
            hold => self.fail(format!("{who}: released partition {partition}, which is {hold:?}")),
        }
        life.holds[partition] = Hold::No;
        life.forget(partition);
        let owner = &mut self.broker.groups[who.group].owner[partition];
        *owner = owner.filter(|owner| *owner != who);
    }

    /// A process may refuse to start only where somebody tampered with the group's offsets; then whoever looks after it
    /// sets them back to what was processed.
    fn refused(&mut self, life: &mut Life, refusal: &str) {
        let who = life.who;
        let mut was_misplaced = false;
        for partition in 0..self.plan.partitions {
            if life.holds[partition] == Hold::Starting && life.misplaced[partition] {
                was_misplaced = true;
                let group = &mut self.broker.groups[who.group];
                if group.misplaced[partition] {
                    (group.committed[partition], group.misplaced[partition]) = (None, false);
                }
            }
        }
        if !was_misplaced {
            self.fail(format!("{who}: refused without a reason: {refusal}"));
        }
        self.counts.add(Count::Refusals, 1);
        life.ended = true;
    }
}
