//! Reads at quorum: two of the three replicas, each at its own moment, then the repair of the one that lags.

use std::ops::Range;

use super::cells::{ABSENT, Cell, Value, Version};
use super::counts::Count;
use super::store::REPLICAS;
use super::world::{StoreTooth, Who, World};
use crate::model::{LedgerEntry, Load, Loaded};
use crate::processor::{Event, StartFacts};

/// What a process wants to know.
pub enum Question {
    Load(Box<Load>),
    /// The facts so far, each with its source; the ledger is missing.
    Starts(Vec<(usize, StartFacts)>),
    /// The row that holds, now that the source is entered.
    Opened(LedgerEntry),
    /// The process is gone, or has its answer.
    Nobody,
}

struct Read {
    who: Who,
    question: Question,
    /// All its cells, in the order of the question.
    cells: Range<usize>,
    /// Parts without an answer.
    open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    First,
    Second,
    Repairing,
    Done,
}

/// Cells of one partition of one table: one query to two replicas.
struct Part {
    read: usize,
    cells: Range<usize>,
    replicas: [usize; 2],
    stage: Stage,
    attempt: u32,
}

#[derive(Default)]
pub struct Reads {
    reads: Vec<Read>,
    parts: Vec<Part>,
    /// Cells that are read, and what was found so far.
    cells: Vec<(u32, Version)>,
    /// Parts without an answer.
    open: Vec<usize>,
}

impl Reads {
    pub fn attempt_of(&self, part: usize) -> u32 {
        self.parts[part].attempt
    }
}

impl World {
    pub fn load(&mut self, who: Who, load: Box<Load>) {
        self.counts.add(Count::Loads, 1);
        self.counts.add(Count::LateLoads, u64::from(!load.windows.is_empty()));
        let (source, sensor) = (
            self.plan.source_index(&load.source) as u8,
            self.plan.sensor_index(load.sensor) as u8,
        );
        let mut cells = Vec::with_capacity(1 + load.windows.len());
        if load.state {
            cells.push((Cell::State { source, sensor }, 0));
        }
        for key in &load.windows {
            let Some(kind) = self.plan.kind_index(&key.kind) else {
                return self.fail(format!("{who}: loads a window of a kind that there is not: {key:?}"));
            };
            let (kind, size_s, start) = (kind as u8, key.size_s, key.start.0);
            cells.push((
                Cell::Window {
                    source,
                    sensor,
                    kind,
                    size_s,
                    start,
                },
                1 + i64::from(key.day().0),
            ));
        }
        if cells.is_empty() {
            return self.fail(format!("{who}: loads nothing"));
        }
        self.read(who, Question::Load(load), &cells);
    }

    /// Each cell with its partition; a run of one partition is one query.
    pub fn read(&mut self, who: Who, question: Question, cells: &[(Cell, i64)]) {
        let index = self.store.reads.reads.len();
        let from = self.store.reads.cells.len();
        let first_part = self.store.reads.parts.len();
        let mut partition = None;
        for (cell, of) in cells {
            let Some(id) = self.oracle.find(*cell) else {
                return self.fail(format!("{who}: reads {cell:?}, of which the log says nothing"));
            };
            let at = self.store.reads.cells.len();
            self.store.reads.cells.push((id, ABSENT));
            let parts = &mut self.store.reads.parts;
            match parts.last_mut() {
                Some(part) if partition == Some(*of) && self.plan.atomic => part.cells.end = at + 1,
                _ => {
                    let (cells, stage, attempt) = (at..at + 1, Stage::First, 0);
                    parts.push(Part {
                        read: index,
                        cells,
                        replicas: [0, 1],
                        stage,
                        attempt,
                    });
                }
            }
            partition = Some(*of);
        }
        let open = self.store.reads.parts.len() - first_part;
        let cells = from..self.store.reads.cells.len();
        self.store.reads.reads.push(Read {
            who,
            question,
            cells,
            open,
        });
        for part in first_part..first_part + open {
            self.store.reads.open.push(part);
            self.begin_part(part);
        }
        if open == 0 {
            self.read_done(index);
        }
    }

    fn begin_part(&mut self, part: usize) {
        let mut first = self.dice.below(REPLICAS);
        let mut second = (first + 1 + self.dice.below(REPLICAS - 1)) % REPLICAS;
        if let Some((down, _)) = self.store.down {
            (first, second) = ((down + 1) % REPLICAS, (down + 2) % REPLICAS);
            if self.dice.chance(500) {
                std::mem::swap(&mut first, &mut second);
            }
        }
        let part = &mut self.store.reads.parts[part];
        part.replicas = [first, second];
        part.stage = Stage::First;
        part.attempt += 1;
    }

    /// One read goes on: a replica answers, or the read takes too long and is asked again. Answers whether there was one.
    pub fn read_step(&mut self) -> bool {
        if self.store.reads.open.is_empty() {
            return false;
        }
        let index = self.dice.below(self.store.reads.open.len());
        let part = self.store.reads.open[index];
        let Part { replicas, stage, .. } = self.store.reads.parts[part];
        match stage {
            _ if self.dice.chance(10) => self.begin_part(part),
            Stage::First => {
                for index in self.store.reads.parts[part].cells.clone() {
                    let (cell, version) = &mut self.store.reads.cells[index];
                    *version = self.store.replicas[replicas[0]][*cell as usize];
                }
                self.store.reads.parts[part].stage = Stage::Second;
                if self.tooth == Some(StoreTooth::QuorumRead) {
                    self.part_done(part);
                }
            }
            Stage::Second => self.reconcile(part),
            Stage::Repairing if self.dice.chance(100) => self.begin_part(part),
            Stage::Repairing | Stage::Done => return false,
        }
        true
    }

    fn reconcile(&mut self, part: usize) {
        let Part {
            read,
            replicas: [first, second],
            ref cells,
            ..
        } = self.store.reads.parts[part];
        let mut repairs = Vec::new();
        let mut lagging = 0;
        for index in cells.clone() {
            let (cell, of_first) = self.store.reads.cells[index];
            let of_second = self.store.replicas[second][cell as usize];
            if of_first == of_second {
                continue;
            }
            let second_wins = self.replaces(cell, of_second, of_first);
            let winner = if second_wins { of_second } else { of_first };
            self.store.reads.cells[index].1 = winner;
            if !winner.is_same(if second_wins { of_first } else { of_second }) {
                lagging |= 1 << if second_wins { first } else { second };
                repairs.push((cell, winner));
            }
        }
        if repairs.is_empty() || self.tooth == Some(StoreTooth::ReadRepair) {
            return self.part_done(part);
        }
        self.store.reads.parts[part].stage = Stage::Repairing;
        let who = self.store.reads.reads[read].who;
        self.repair(who, part, lagging, &repairs);
    }

    pub fn part_done(&mut self, part: usize) {
        let of = &mut self.store.reads.parts[part];
        if of.stage == Stage::Done {
            return;
        }
        of.stage = Stage::Done;
        let read = of.read;
        self.store.reads.open.retain(|open| *open != part);
        self.store.reads.reads[read].open -= 1;
        if self.store.reads.reads[read].open == 0 {
            self.read_done(read);
        }
    }

    fn read_done(&mut self, read: usize) {
        let of = &mut self.store.reads.reads[read];
        let who = of.who;
        let cells = of.cells.clone();
        let found = &self.store.reads.cells[cells];
        match std::mem::replace(&mut of.question, Question::Nobody) {
            Question::Nobody => {}
            Question::Load(load) => {
                let event = self.loaded(&load, found);
                self.answer(who, event);
            }
            Question::Starts(facts) => {
                let acked: Vec<Version> = found.iter().map(|(_, version)| *version).collect();
                self.starts_found(who, facts, &acked);
            }
            Question::Opened(entry) => {
                let source = self.plan.source_index(&entry.source);
                let row = self.ledger_row(source, found[0].1);
                self.answer(who, Event::LedgerOpened(row.unwrap_or(entry)));
            }
        }
    }

    fn loaded(&self, load: &Load, found: &[(u32, Version)]) -> Event {
        let value =
            |(_, version): &(u32, Version)| (!version.is_absent()).then(|| self.oracle.values.get(version.value));
        let mut found = found.iter();
        let state = match load.state {
            true => found.next().and_then(value),
            false => None,
        };
        let state = state.map(|value| match value {
            Value::State(bytes) => bytes.clone(),
            other => unreachable!("{other:?} in the place of a state"),
        });
        let windows = found.map(|cell| match value(cell) {
            Some(Value::Window(window)) => Some(*window),
            None => None,
            other => unreachable!("{other:?} in the place of a window"),
        });
        Event::Loaded(Box::new(Loaded {
            id: load.id,
            state,
            windows: windows.collect(),
        }))
    }

    fn starts_found(&mut self, who: Who, facts: Vec<(usize, StartFacts)>, acked: &[Version]) {
        let facts = facts.into_iter().zip(acked).map(|((source, facts), acked)| StartFacts {
            ledger: self.ledger_row(source, *acked),
            ..facts
        });
        let event = Event::StartsFound(facts.collect());
        self.answer(who, event);
    }

    fn ledger_row(&self, source: usize, acked: Version) -> Option<LedgerEntry> {
        let from = self.store.opened[source]?;
        let acked_to = if acked.is_absent() {
            from
        } else {
            (acked.value as i64).max(from)
        };
        Some(LedgerEntry {
            source: self.plan.source(source),
            from,
            acked_to,
            processing: self.plan.settings.processing.clone(),
        })
    }

    /// Nobody waits for the answers of a process that is gone.
    pub fn orphan_reads(&mut self, who: Who) {
        let Reads { reads, parts, open, .. } = &mut self.store.reads;
        open.retain(|part| {
            let of = &mut reads[parts[*part].read];
            let is_mine = of.who == who;
            if is_mine {
                of.question = Question::Nobody;
                parts[*part].stage = Stage::Done;
            }
            !is_mine
        });
    }
}
