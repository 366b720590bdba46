//! One schedule from its beginning to its end: a log, a store, a broker, and processes that come and go.

use std::fmt;

use super::broker::{Broker, Group};
use super::counts::{Count, Counts};
use super::dice::Dice;
use super::life::{Hold, Life};
use super::log::Log;
use super::oracle::Oracle;
use super::plan::{PARTITIONS_MAX, Phase, Plan};
use super::runner::Options;
use super::store::Store;
use crate::processor::{Effect, Event, Processor, Settings};

/// A process, by its life: one that is started anew is another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who {
    pub group: usize,
    pub id: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}/g{}", self.id, self.group)
    }
}

/// What can be taken out of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreTooth {
    /// Of two versions the one that was sent later wins, whatever offset it holds.
    FencingTimestamp,
    /// One replica answers for all.
    QuorumRead,
    /// One replica is enough for an acknowledgement.
    QuorumWrite,
    /// A replica that lags is not brought up to what was read.
    ReadRepair,
}

/// Where it was found out that something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// What a process sends is not so.
    Sent,
    /// Before an offset is committed.
    Commit,
    /// The store or a topic, once all is processed.
    End,
    /// As before, and nothing but the state of sensors is wrong.
    StateInTheEnd,
    /// A process does what it may not, or nothing at all.
    Driver,
    Panic,
}

/// Everything.
pub struct World {
    pub plan: Plan,
    pub dice: Dice,
    pub log: Log,
    pub oracle: Oracle,
    pub store: Store,
    pub broker: Broker,
    pub lives: [Option<Box<Life>>; LIVES_MAX],
    /// Answers on their way to processes.
    pub answers: Vec<(Who, Event)>,
    pub effects: Vec<Effect>,
    pub clock: u32,
    /// Which life of the topic it is now.
    pub incarnation: usize,
    /// Rules of processes that are started now.
    pub rules: usize,
    next_life: u32,
    /// The process that is taking an event just now.
    pub fed: Option<Who>,
    /// Whether the process that was fed last had a partition that was another's.
    pub fed_a_zombie: bool,
    pub tooth: Option<StoreTooth>,
    /// What is sent is compared with the oracle; else only what the store holds.
    pub judges_what_is_sent: bool,
    /// By source: entries below were judged at an earlier commit.
    pub checked_to: Vec<usize>,
    pub counts: Counts,
    pub failure: Option<(Check, String)>,
    pub traces: bool,
    /// Of all effects so far, where somebody wants it: equal in equal schedules.
    pub digest: Option<u64>,
}

pub const LIVES_MAX: usize = 5;

/// Steps after which whoever is to drain has failed to.
const DRAIN_STEPS_MAX: usize = 60_000;

impl World {
    pub fn new(seed: u64, options: &Options) -> World {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let log = Log::new(&plan, &mut dice);
        let oracle = Oracle::new(&plan, &log);
        let sources = plan.sources();
        let broker = Broker {
            groups: vec![Group::default(); plan.groups],
            ops: Vec::new(),
            dead: log
                .partitions
                .iter()
                .map(|log| vec![false; log.entries.len()])
                .collect(),
            alerts: vec![false; oracle.values.0.len()],
            published: vec![i64::MIN; oracle.cells.len()],
        };
        World {
            store: Store::new(oracle.cells.len(), sources),
            plan,
            dice,
            log,
            oracle,
            broker,
            lives: [const { None }; LIVES_MAX],
            answers: Vec::new(),
            effects: Vec::new(),
            clock: 0,
            incarnation: 0,
            rules: 0,
            next_life: 0,
            fed: None,
            fed_a_zombie: false,
            tooth: options.store_tooth,
            judges_what_is_sent: options.judges_what_is_sent,
            checked_to: vec![0; sources],
            counts: Counts::default(),
            failure: None,
            traces: options.traces,
            digest: options.digests.then_some(0),
        }
    }

    /// Runs the schedule; what is wrong is in `failure`.
    pub fn run(&mut self) {
        self.counts.add(Count::Schedules, 1);
        for index in 0..self.plan.phases.len() {
            self.begin_phase(index);
            for _ in 0..self.plan.phases[index].steps {
                if self.failure.is_some() {
                    return;
                }
                self.step();
            }
            self.end_phase(index);
        }
        self.settle();
        self.counts.add(Count::Steps, u64::from(self.clock));
    }

    fn begin_phase(&mut self, index: usize) {
        let Phase { incarnation, rules, .. } = self.plan.phases[index];
        if rules != self.rules {
            // Rules judge what is folded from now on: whoever knows the old ones must not fold any more.
            self.counts.add(Count::RuleChanges, 1);
            self.end_all();
        }
        if incarnation != self.incarnation {
            self.leave_topic();
        }
        (self.incarnation, self.rules) = (incarnation, rules);
        for partition in 0..self.plan.partitions {
            let end = self.end_of_phase(index, partition);
            let log = &mut self.log.partitions[incarnation * PARTITIONS_MAX + partition];
            let left = end - log.written;
            log.written += self.dice.below(left + 1);
        }
        self.note_phase(index);
    }

    /// The topic is deleted and made again. Some process has just begun with the old one, and the group's offsets of the
    /// old one may stay for a while.
    fn leave_topic(&mut self) {
        self.counts.add(Count::Recreations, 1);
        if self.dice.chance(600) {
            let group = self.dice.below(self.plan.groups);
            let who = self.spawn(group);
            self.feed(who, Event::Assigned((0..self.plan.partitions as i32).collect()));
            for _ in 0..self.dice.below(12) {
                self.go_on();
            }
        }
        let forgotten = self.dice.chance(700);
        for group in &mut self.broker.groups {
            group.owner = [None; PARTITIONS_MAX];
            group.misplaced = [!forgotten; PARTITIONS_MAX];
            if forgotten {
                group.committed = [None; PARTITIONS_MAX];
            }
        }
    }

    /// Entries of the partition of the topic as it is in this phase, once all of the phase is written.
    fn end_of_phase(&self, index: usize, partition: usize) -> usize {
        let Phase { incarnation, .. } = self.plan.phases[index];
        let before = self.plan.phases[..index]
            .iter()
            .filter(|phase| phase.incarnation == incarnation);
        let log = &self.log.partitions[incarnation * PARTITIONS_MAX + partition];
        log.phase_ends[before.count()]
    }

    /// One thing happens somewhere.
    fn step(&mut self) {
        self.clock += 1;
        match self.dice.below(64) {
            0..53 => self.go_on(),
            53..57 => self.late_message(),
            57 => self.grow(),
            58 => self.keep_time(),
            59 => self.tick(),
            _ => self.assign(),
        }
        if self.dice.below(self.plan.fault_every) == 0 {
            self.fault();
        }
    }

    /// Something of what is to happen anyway does.
    fn go_on(&mut self) {
        let first = self.dice.pick(&[0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4]);
        for next in first..first + 5 {
            let is_done = match next % 5 {
                0 => self.network(),
                1 => self.deliver_answer(),
                2 => self.poll(),
                3 => self.read_step(),
                _ => self.broker_step(),
            };
            if is_done {
                return;
            }
        }
        self.tick();
    }

    /// The log gets more records.
    fn grow(&mut self) {
        let index = self
            .plan
            .phases
            .iter()
            .rposition(|phase| phase.incarnation == self.incarnation && phase.rules == self.rules);
        let partition = self.dice.below(self.plan.partitions);
        let end = self.end_of_phase(index.unwrap_or(0), partition);
        let log = &mut self.log.partitions[self.incarnation * PARTITIONS_MAX + partition];
        log.written = (log.written + self.dice.below(4)).min(end);
    }

    fn tick(&mut self) {
        let Some(who) = self.some_life() else { return };
        let later = self.dice.between(0, 60);
        if let Some(life) = self.life_mut(who) {
            life.now_ms += later;
        }
        let event = match self.dice.below(8) {
            0 => Event::CaughtUp,
            _ => Event::Tick,
        };
        self.feed(who, event);
    }

    /// A process hears an answer. Answers whether one did.
    fn deliver_answer(&mut self) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let index = self.dice.below(self.answers.len());
        let who = self.answers[index].0;
        if self.life(who).is_some_and(|life| life.paused_until > self.clock) {
            return false;
        }
        let (who, event) = self.answers.swap_remove(index);
        self.note_event(who, &event);
        self.feed(who, event);
        true
    }

    /// One healthy process of each group processes all that there is.
    fn end_phase(&mut self, index: usize) {
        for partition in 0..self.plan.partitions {
            let end = self.end_of_phase(index, partition);
            self.log.partitions[self.incarnation * PARTITIONS_MAX + partition].written = end;
        }
        self.keep_zombies_only();
        let mut healthy: Vec<Option<Who>> = vec![None; self.plan.groups];
        let mut drained = vec![false; self.plan.groups];
        for step in 0..DRAIN_STEPS_MAX {
            if self.failure.is_some() || drained.iter().all(|drained| *drained) {
                return;
            }
            for group in 0..self.plan.groups {
                if !drained[group] {
                    drained[group] = self.drain_group(group, &mut healthy[group]);
                }
            }
            self.clock += 1;
            // Whoever goes on without a right to does so for a while.
            let patience = step > 400;
            match self.dice.below(20) {
                0..17 => self.go_on(),
                17 => self.tick(),
                18 => self.late_message(),
                _ if self.dice.chance(300) => self.time_out(),
                _ if patience => self.end_zombies(&healthy),
                _ => {}
            }
            if self.store.down.is_some_and(|(_, until)| until <= self.clock) {
                self.store.down = None;
            }
        }
        self.fail("not drained".to_owned());
    }

    /// One step of the healthy process of a group. Answers whether it is through.
    fn drain_group(&mut self, group: usize, healthy: &mut Option<Who>) -> bool {
        let who = match *healthy {
            Some(who) if self.life(who).is_some() => who,
            _ => {
                let who = self.spawn(group);
                *healthy = Some(who);
                self.feed(who, Event::Assigned((0..self.plan.partitions as i32).collect()));
                who
            }
        };
        let partitions = self.plan.partitions;
        let incarnation = self.incarnation;
        let Some(life) = self.life(who) else { return false };
        if life.drained {
            self.check_drained(who);
            self.end(who);
            return true;
        }
        let is_at_end = (0..partitions).all(|partition| {
            let high = self.log.partitions[incarnation * PARTITIONS_MAX + partition].high();
            matches!(life.holds[partition], Hold::Started(position) if position >= high)
        });
        if is_at_end && !life.draining {
            self.feed(who, Event::Drain);
        }
        false
    }

    /// Everyone is gone; what is on its way arrives, or never does.
    fn settle(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.end_all();
        self.settle_messages();
        self.check_end();
    }

    /// A process of a group that does not exist yet; where there are too many another makes room.
    pub fn spawn(&mut self, group: usize) -> Who {
        if self.lives.iter().all(Option::is_some) {
            let slot = self.dice.below(LIVES_MAX);
            if let Some(life) = &self.lives[slot] {
                self.end(life.who);
            }
        }
        let who = Who {
            group,
            id: self.next_life,
        };
        self.next_life += 1;
        self.counts.add(Count::Lives, 1);
        let settings = Settings {
            rules: self.plan.rules[self.rules].clone(),
            ..self.plan.settings.clone()
        };
        let life = Box::new(Life::new(who, Processor::new(settings)));
        if let Some(slot) = self.lives.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(life);
        }
        self.note(who, || "starts".to_owned());
        who
    }

    /// A process ends, whatever it was doing.
    pub fn end(&mut self, who: Who) {
        let Some(slot) = self.slot(who) else { return };
        let Some(life) = self.lives[slot].take() else { return };
        let counters = life.processor.counters();
        self.counts.add(Count::Redelivered, counters.redelivered);
        self.counts.add(Count::Evictions, life.processor.evicted());
        for owner in &mut self.broker.groups[who.group].owner {
            *owner = owner.filter(|owner| *owner != who);
        }
        self.answers.retain(|(of, _)| *of != who);
        self.orphan_requests(who);
        self.orphan_reads(who);
        self.orphan_ops(who);
        self.note(who, || "ends".to_owned());
    }

    pub fn end_all(&mut self) {
        for slot in 0..LIVES_MAX {
            if let Some(life) = &self.lives[slot] {
                self.end(life.who);
            }
        }
    }

    /// Of the processes of a phase some go on, though their partitions are taken.
    fn keep_zombies_only(&mut self) {
        for slot in 0..LIVES_MAX {
            let Some(life) = &self.lives[slot] else { continue };
            let who = life.who;
            if slot >= 2 || self.dice.chance(700) {
                self.end(who);
            }
        }
    }

    fn end_zombies(&mut self, healthy: &[Option<Who>]) {
        for slot in 0..LIVES_MAX {
            if let Some(life) = &self.lives[slot]
                && !healthy.contains(&Some(life.who))
            {
                self.end(life.who);
            }
        }
    }

    pub fn answer(&mut self, who: Who, event: Event) {
        if self.slot(who).is_some() || self.fed == Some(who) {
            self.answers.push((who, event));
        }
    }

    pub fn slot(&self, who: Who) -> Option<usize> {
        self.lives
            .iter()
            .position(|life| life.as_ref().is_some_and(|life| life.who == who))
    }

    pub fn life(&self, who: Who) -> Option<&Life> {
        self.lives
            .iter()
            .flatten()
            .find(|life| life.who == who)
            .map(|life| &**life)
    }

    pub fn life_mut(&mut self, who: Who) -> Option<&mut Life> {
        self.lives
            .iter_mut()
            .flatten()
            .find(|life| life.who == who)
            .map(|life| &mut **life)
    }

    /// A process that is not paused.
    pub fn some_life(&mut self) -> Option<Who> {
        let slot = self.dice.below(LIVES_MAX);
        let life = self.lives[slot..].iter().chain(&self.lives[..slot]).flatten().next()?;
        (life.paused_until <= self.clock).then_some(life.who)
    }

    /// Whether the process has a partition that the group gave to somebody else.
    pub fn is_zombie(&self, who: Who) -> bool {
        let owner = self.broker.groups[who.group].owner;
        match self.life(who) {
            Some(life) => (0..PARTITIONS_MAX).any(|index| life.holds[index] != Hold::No && owner[index] != Some(who)),
            None => false,
        }
    }

    pub fn fail(&mut self, failure: String) {
        self.fail_at(Check::Driver, failure);
    }

    pub fn fail_at(&mut self, check: Check, failure: String) {
        self.failure.get_or_insert((check, failure));
    }
}
