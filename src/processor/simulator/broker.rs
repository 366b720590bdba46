//! The broker: the groups' offsets, the dead letters and the topic of alerts. What is asked of it is done at some later
//! time, done twice, or done without an answer; also for a process that is gone, and for one that has no right to ask.

use super::cells::{Cell, Version};
use super::counts::Count;
use super::plan::PARTITIONS_MAX;
use super::reads::Question;
use super::world::{Check, Who, World};
use crate::model::{AlertWrite, LedgerEntry};
use crate::processor::{Event, StartFacts};

/// One consumer group.
#[derive(Clone, Default)]
pub struct Group {
    pub committed: [Option<i64>; PARTITIONS_MAX],
    /// The committed offset is not what a process of this topic put there.
    pub misplaced: [bool; PARTITIONS_MAX],
    /// Whose partition it is, as far as the group knows.
    pub owner: [Option<Who>; PARTITIONS_MAX],
}

/// What is on its way to the broker, or to the store's ledger.
pub enum Op {
    /// Partition, position, and which life of the topic the process thinks of.
    Commit(Vec<(usize, i64, usize)>),
    DeadLetter {
        source: usize,
        entry: usize,
    },
    Alerts(Box<AlertWrite>),
    Publish(Vec<(u32, Version)>),
    FindStarts(Vec<i32>),
    OpenLedger(LedgerEntry),
}

#[derive(Default)]
pub struct Broker {
    pub groups: Vec<Group>,
    pub ops: Vec<(Who, Op)>,
    /// By source and entry: on the dead-letter topic.
    pub dead: Vec<Vec<bool>>,
    /// By place of the change: on the topic of alerts, or of events.
    pub alerts: Vec<bool>,
    /// By cell: the latest version of a window on the topic of windows.
    pub published: Vec<i64>,
}

impl World {
    pub fn publish_alerts(&mut self, who: Who, write: Box<AlertWrite>) {
        self.broker.ops.push((who, Op::Alerts(write)));
    }

    /// The broker does one thing. Answers whether there was one.
    pub fn broker_step(&mut self) -> bool {
        if self.broker.ops.is_empty() {
            return false;
        }
        let index = self.dice.below(self.broker.ops.len());
        let (who, op) = self.broker.ops.swap_remove(index);
        let is_unanswered = self.dice.chance(self.plan.network.unanswered);
        match op {
            Op::Commit(positions) => self.commit(who, &positions),
            Op::DeadLetter { source, entry } => {
                self.broker.dead[source][entry] = true;
                self.counts.add(Count::DeadLetters, 1);
                let partition = (source % PARTITIONS_MAX) as i32;
                let offset = self.log.partitions[source].entries[entry].offset;
                match is_unanswered {
                    true => self.broker.ops.push((who, Op::DeadLetter { source, entry })),
                    false => self.answer(who, Event::DeadLettered { partition, offset }),
                }
            }
            Op::Alerts(write) => {
                self.take_alerts(who, &write);
                match is_unanswered {
                    true => self.broker.ops.push((who, Op::Alerts(write))),
                    false => self.answer(who, Event::AlertsWritten(write.id)),
                }
            }
            Op::Publish(cells) => {
                for (cell, version) in &cells {
                    let published = &mut self.broker.published[*cell as usize];
                    *published = version.timestamp.max(*published);
                }
                self.counts.add(Count::Published, 1);
                self.answer(who, Event::Published);
            }
            Op::FindStarts(partitions) => self.find_starts(who, &partitions),
            Op::OpenLedger(entry) => {
                let source = self.plan.source_index(&entry.source);
                self.store.opened[source].get_or_insert(entry.from);
                let cell = Cell::AckedTo { source: source as u8 };
                self.read(who, Question::Opened(entry), &[(cell, 0)]);
            }
        }
        true
    }

    /// Any process may commit anything.
    fn commit(&mut self, who: Who, positions: &[(usize, i64, usize)]) {
        let fails = self.dice.chance(self.plan.network.commits_fail);
        let is_done = !fails || self.dice.chance(500);
        let incarnation = self.incarnation;
        let mut is_foreign = false;
        for &(partition, to, of_topic) in positions.iter().filter(|_| is_done) {
            let group = &mut self.broker.groups[who.group];
            group.committed[partition] = Some(to);
            group.misplaced[partition] = of_topic != incarnation;
            is_foreign |= group.owner[partition] != Some(who);
        }
        if is_done {
            self.counts.add(Count::Commits, 1);
            self.counts.add(Count::ZombieCommits, u64::from(is_foreign));
        }
        if fails {
            self.counts.add(Count::CommitsFailed, 1);
        } else if let Some(life) = self.life_mut(who) {
            for &(partition, to, _) in positions {
                life.committed[partition] = Some(to);
            }
        }
        self.answer(who, Event::Committed(!fails));
    }

    fn take_alerts(&mut self, who: Who, write: &AlertWrite) {
        for change in &write.changes {
            let known = self.oracle.find(Cell::Alert(change.alert.id));
            let recognised = known.map(|id| self.oracle.recognise_change(id, change));
            let Some((place, true)) = recognised else {
                return self.fail_at(Check::Sent, format!("{who}: told of what is no alert: {change:?}"));
            };
            let told = &mut self.broker.alerts[place as usize];
            self.counts
                .add(if *told { Count::AlertsAgain } else { Count::Alerts }, 1);
            *told = true;
        }
        for change in &write.statuses {
            let source = self.plan.source_index(&write.source);
            let Some(place) = self.oracle.find_status(source, change) else {
                return self.fail_at(
                    Check::Sent,
                    format!("{who}: told of what is no change of status: {change:?}"),
                );
            };
            let told = &mut self.broker.alerts[place as usize];
            self.counts
                .add(if *told { Count::StatusesAgain } else { Count::Statuses }, 1);
            *told = true;
        }
    }

    /// The broker's part of the facts; the ledger is read after it.
    fn find_starts(&mut self, who: Who, partitions: &[i32]) {
        let mut facts = Vec::with_capacity(partitions.len());
        let mut cells = Vec::with_capacity(partitions.len());
        let Some(life) = self.life(who) else { return };
        for &partition in partitions {
            let index = partition as usize;
            let incarnation = life.incarnations[index];
            let source = incarnation * PARTITIONS_MAX + index;
            let log = &self.log.partitions[source];
            facts.push((
                source,
                StartFacts {
                    partition,
                    topic_id: super::plan::topic_id(incarnation),
                    committed: self.broker.groups[who.group].committed[index],
                    low: log.low(),
                    high: log.high(),
                    ledger: None,
                },
            ));
            cells.push((Cell::AckedTo { source: source as u8 }, partition.into()));
        }
        let misplaced = self.broker.groups[who.group].misplaced;
        if let Some(life) = self.life_mut(who) {
            for &partition in partitions {
                life.misplaced[partition as usize] |= misplaced[partition as usize];
            }
        }
        self.read(who, Question::Starts(facts), &cells);
    }

    /// What a process that is gone had asked for is done all the same, or is not.
    pub fn orphan_ops(&mut self, who: Who) {
        let dice = &mut self.dice;
        self.broker.ops.retain(|(of, op)| {
            let is_answer_all = matches!(op, Op::FindStarts(_) | Op::OpenLedger(_));
            *of != who || (!is_answer_all && dice.chance(500))
        });
    }
}
