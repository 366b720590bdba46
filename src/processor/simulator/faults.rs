//! What goes wrong with processes, groups and the log, and how the group gives partitions out.

use super::cells::Cell;
use super::counts::Count;
use super::life::Hold;
use super::plan::{Fault, PARTITIONS_MAX};
use super::store::REPLICAS;
use super::world::{LIVES_MAX, Who, World};
use crate::processor::Event;

impl World {
    pub fn fault(&mut self) {
        let faults = self.plan.faults.len();
        let fault = self.plan.faults[self.dice.below(faults)];
        match fault {
            Fault::Timeout => self.time_out(),
            Fault::Congestion => self.congest(),
            Fault::ReplicaDown if self.store.down.is_none() => {
                let until = self.clock + self.dice.between(10, 150) as u32;
                self.store.down = Some((self.dice.below(REPLICAS), until));
            }
            Fault::ReplicaDown => {}
            Fault::Retention => self.delete_old_records(),
            Fault::Reset | Fault::Misplace if self.dice.chance(300) => self.set_offsets(fault),
            Fault::Reset | Fault::Misplace => {}
            Fault::Crash | Fault::Pause | Fault::TellLost => {
                if let Some(who) = self.some_life() {
                    self.process_fault(fault, who);
                }
            }
            Fault::TakeOver | Fault::Revoke | Fault::Lose => {
                let group = self.dice.below(self.plan.groups);
                let partition = self.dice.below(self.plan.partitions);
                if let Some(who) = self.broker.groups[group].owner[partition] {
                    self.rebalance(fault, who, partition);
                }
            }
        }
    }

    fn process_fault(&mut self, fault: Fault, who: Who) {
        match fault {
            Fault::Crash => {
                self.counts.add(Count::Crashes, 1);
                self.note(who, || "crashes".to_owned());
                self.end(who);
            }
            Fault::Pause => {
                self.counts.add(Count::Pauses, 1);
                let until = self.clock + self.dice.between(10, 150) as u32;
                self.note(who, || format!("stands still until {until}"));
                let is_taken_over = self.dice.chance(600);
                if let Some(life) = self.life_mut(who) {
                    life.paused_until = until;
                }
                for owner in &mut self.broker.groups[who.group].owner {
                    *owner = owner.filter(|owner| *owner != who || !is_taken_over);
                }
            }
            _ => self.tell_lost(who),
        }
    }

    /// A process hears of the partitions that are another's.
    fn tell_lost(&mut self, who: Who) {
        let owner = self.broker.groups[who.group].owner;
        let Some(life) = self.life(who) else { return };
        let lost =
            (0..self.plan.partitions).filter(|index| life.holds[*index] != Hold::No && owner[*index] != Some(who));
        let lost: Vec<i32> = lost.map(|index| index as i32).collect();
        if !lost.is_empty() {
            self.lose(who, lost);
        }
    }

    fn lose(&mut self, who: Who, partitions: Vec<i32>) {
        self.counts.add(Count::Lost, 1);
        self.note(who, || format!("loses {partitions:?}"));
        self.feed(who, Event::Lost(partitions));
    }

    fn rebalance(&mut self, fault: Fault, who: Who, partition: usize) {
        let Some(life) = self.life(who) else { return };
        if life.draining || life.paused_until > self.clock {
            return;
        }
        match (fault, life.holds[partition]) {
            (_, Hold::No) => {}
            (Fault::TakeOver, _) => {
                self.counts.add(Count::TakeOvers, 1);
                self.note(who, || format!("does not know that {partition} is taken over"));
                self.broker.groups[who.group].owner[partition] = None;
            }
            (Fault::Lose, _) => self.lose(who, vec![partition as i32]),
            (_, Hold::Revoking { .. }) => {}
            (_, hold) => {
                let polled_to = if let Hold::Started(position) = hold {
                    Some(position)
                } else {
                    None
                };
                let until = self.clock + self.dice.between(5, 250) as u32;
                self.note(who, || format!("is to release {partition} by {until}"));
                if let Some(life) = self.life_mut(who) {
                    life.holds[partition] = Hold::Revoking { polled_to, until };
                }
                self.feed(who, Event::Revoked(vec![partition as i32]));
            }
        }
    }

    /// What has taken too long: releases, and a replica that was away.
    pub fn keep_time(&mut self) {
        if self.store.down.is_some_and(|(_, until)| until <= self.clock) {
            self.store.down = None;
        }
        for slot in 0..LIVES_MAX {
            let Some(life) = &self.lives[slot] else { continue };
            let who = life.who;
            let is_late = |hold: &Hold| matches!(hold, Hold::Revoking { until, .. } if *until <= self.clock);
            let late = (0..PARTITIONS_MAX).filter(|index| is_late(&life.holds[*index]));
            let late: Vec<i32> = late.map(|index| index as i32).collect();
            if !late.is_empty() && life.paused_until <= self.clock {
                self.counts.add(Count::ReleasesTooLate, 1);
                self.lose(who, late);
            }
        }
    }

    /// The group gives its free partitions to one of its processes, old or new.
    pub fn assign(&mut self) {
        let group = self.dice.below(self.plan.groups);
        let owner = self.broker.groups[group].owner;
        let free: Vec<i32> = (0..self.plan.partitions)
            .filter(|index| owner[*index].is_none())
            .map(|i| i as i32)
            .collect();
        if free.is_empty() {
            return;
        }
        let free = match self.dice.chance(300) {
            true => vec![free[0]],
            false => free,
        };
        let alive = self.lives.iter().flatten().count();
        let mut candidates = self.lives.iter().flatten();
        let known =
            candidates.find(|life| life.who.group == group && life.paused_until <= self.clock && !life.draining);
        let known = known.map(|life| life.who);
        let who = match known {
            Some(who) if alive >= self.plan.lives_max || self.dice.chance(400) => who,
            _ if alive < LIVES_MAX => self.spawn(group),
            Some(who) => who,
            // All are others', or stand still: one has to go.
            None => return self.end_any(),
        };
        // Usually a process hears first that it had lost a partition.
        if self.dice.chance(700) {
            self.tell_lost(who);
        }
        self.note(who, || format!("is assigned {free:?}"));
        self.feed(who, Event::Assigned(free));
    }

    fn end_any(&mut self) {
        let slot = self.dice.below(LIVES_MAX);
        if let Some(life) = &self.lives[slot] {
            self.end(life.who);
        }
    }

    /// All processes of a group are gone or on their own, and somebody sets its offsets: back, or to what is not processed.
    fn set_offsets(&mut self, fault: Fault) {
        let group = self.dice.below(self.plan.groups);
        for slot in 0..LIVES_MAX {
            if let Some(life) = &self.lives[slot]
                && life.who.group == group
            {
                let who = life.who;
                if self.dice.chance(600) {
                    self.end(who);
                }
            }
        }
        self.broker.groups[group].owner = [None; PARTITIONS_MAX];
        self.counts.add(Count::Resets, 1);
        let to_beginning = self.dice.chance(500);
        for partition in 0..self.plan.partitions {
            let log = &self.log.partitions[self.incarnation * PARTITIONS_MAX + partition];
            let (low, high) = (log.low(), log.high());
            let of_group = &mut self.broker.groups[group];
            let committed = of_group.committed[partition];
            match (fault, committed) {
                (Fault::Misplace, _) => {
                    of_group.committed[partition] = Some(self.dice.between(low, high + 1));
                    of_group.misplaced[partition] = true;
                }
                (_, Some(committed)) if !to_beginning && committed > low => {
                    of_group.committed[partition] = Some(self.dice.between(low, committed));
                }
                _ => of_group.committed[partition] = None,
            }
        }
    }

    /// The oldest records are deleted, as far as they are processed.
    fn delete_old_records(&mut self) {
        let partition = self.dice.below(self.plan.partitions);
        let source = self.incarnation * PARTITIONS_MAX + partition;
        let id = self
            .oracle
            .find(Cell::AckedTo { source: source as u8 })
            .expect("each source has one") as usize;
        let mut acked: Vec<i64> = self
            .store
            .replicas
            .iter()
            .map(|cells| cells[id].timestamp.saturating_sub(1))
            .collect();
        acked.sort_unstable();
        let log = &mut self.log.partitions[source];
        let processed = log.index_of(acked[1]);
        if processed > log.deleted {
            self.counts.add(Count::Deleted, 1);
            log.deleted += self.dice.below(processed - log.deleted + 1);
        }
    }
}
