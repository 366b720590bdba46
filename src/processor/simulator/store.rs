//! The store: three replicas, and the messages on their way to them.
//!
//! A request is a few mutations; each goes to every replica as a message of its own, which arrives at any time, twice, or
//! not at all. A mutation is acknowledged once a majority of the replicas has it and said so.

use std::ops::Range;

use super::cells::{ABSENT, Cell, Version};
use super::counts::Count;
use super::reads::Reads;
use super::world::{StoreTooth, Who, World};
use crate::model::{AlertWrite, SensorWrite};
use crate::processor::Event;

pub const REPLICAS: usize = 3;

/// What a process wants written.
pub enum Asked {
    Write(Box<SensorWrite>),
    Alerts(Box<AlertWrite>),
    Ledger,
    /// The process is gone, or has its answer.
    Nobody,
}

struct Request {
    who: Who,
    asked: Asked,
    mutations: Range<usize>,
    /// Mutations that are not acknowledged.
    open: usize,
    attempt: u32,
}

#[derive(Clone, Copy)]
enum Owner {
    Request(usize),
    /// Part of a read, which is answered once this is done.
    Repair(usize),
}

struct Mutation {
    owner: Owner,
    /// Of the process that sent it.
    who: Who,
    by_zombie: bool,
    writes: Range<usize>,
    /// Replicas that have it, as bits.
    applied: u8,
    /// Replicas that said so in this attempt.
    acknowledged: u8,
    done: bool,
}

#[derive(Clone, Copy)]
pub struct Message {
    mutation: usize,
    replica: usize,
    attempt: u32,
}

/// All of the store.
pub struct Store {
    /// By cell.
    pub replicas: [Vec<Version>; REPLICAS],
    pub reads: Reads,
    /// By source: the offset at which the ledger was opened. Compare-and-set, so there is one truth.
    pub opened: Vec<Option<i64>>,
    /// Not there, until then.
    pub down: Option<(usize, u32)>,
    writes: Vec<(u32, Version)>,
    mutations: Vec<Mutation>,
    requests: Vec<Request>,
    /// Requests that are not answered.
    open: Vec<usize>,
    net: Vec<Message>,
    /// Messages that are held up, perhaps for long.
    late: Vec<Message>,
    sent: u32,
}

impl Store {
    pub fn new(cells: usize, sources: usize) -> Store {
        Store {
            replicas: std::array::from_fn(|_| vec![ABSENT; cells]),
            reads: Reads::default(),
            opened: vec![None; sources],
            down: None,
            writes: Vec::with_capacity(512),
            mutations: Vec::with_capacity(256),
            requests: Vec::with_capacity(128),
            open: Vec::new(),
            net: Vec::with_capacity(64),
            late: Vec::with_capacity(64),
            sent: 0,
        }
    }
}

impl World {
    /// Sends a request; each mutation is a group of cells.
    pub fn request(&mut self, who: Who, asked: Asked, groups: &[&[(u32, Version)]]) {
        let first = self.store.mutations.len();
        let index = self.store.requests.len();
        let by_zombie = self.fed_a_zombie;
        self.store.sent += 1;
        for group in groups {
            if self.plan.atomic {
                self.mutation(Owner::Request(index), who, by_zombie, group);
            } else {
                group
                    .iter()
                    .for_each(|cell| self.mutation(Owner::Request(index), who, by_zombie, &[*cell]));
            }
        }
        let mutations = first..self.store.mutations.len();
        if mutations.is_empty() && self.judges_what_is_sent {
            return self.fail(format!("{who}: a request that writes nothing"));
        }
        self.store.requests.push(Request {
            who,
            asked,
            mutations,
            open: 0,
            attempt: 0,
        });
        self.store.open.push(index);
        if self.store.mutations.len() == first {
            return self.request_done(index);
        }
        self.attempt(index);
    }

    fn mutation(&mut self, owner: Owner, who: Who, by_zombie: bool, cells: &[(u32, Version)]) {
        let from = self.store.writes.len();
        let sent = self.store.sent;
        self.store
            .writes
            .extend(cells.iter().map(|&(cell, version)| match owner {
                Owner::Request(_) => (cell, Version { sent, ..version }),
                Owner::Repair(_) => (cell, version),
            }));
        let writes = from..self.store.writes.len();
        self.store.mutations.push(Mutation {
            owner,
            who,
            by_zombie,
            writes,
            applied: 0,
            acknowledged: 0,
            done: false,
        });
    }

    /// Sends all of a request, for the first time or again; mutations that were acknowledged once stay so.
    fn attempt(&mut self, request: usize) {
        let Request { mutations, attempt, .. } = &mut self.store.requests[request];
        *attempt += 1;
        let (mutations, attempt) = (mutations.clone(), *attempt);
        if attempt == 1 {
            self.store.requests[request].open = mutations.len();
        }
        if attempt > 1 {
            self.store.sent += 1;
        }
        for mutation in mutations {
            let of = &mut self.store.mutations[mutation];
            of.acknowledged = 0;
            if attempt > 1 {
                // Where nothing is fenced the server takes the time of each try.
                let writes = of.writes.clone();
                let sent = self.store.sent;
                self.store.writes[writes]
                    .iter_mut()
                    .for_each(|(_, version)| version.sent = sent);
            }
            (0..REPLICAS).for_each(|replica| {
                self.post(Message {
                    mutation,
                    replica,
                    attempt,
                })
            });
        }
    }

    fn post(&mut self, message: Message) {
        let network = self.plan.network;
        let is_down = self.store.down.is_some_and(|(replica, _)| replica == message.replica);
        if is_down || self.dice.chance(network.late) {
            self.store.late.push(message);
        } else if !self.dice.chance(network.lost) {
            self.store.net.push(message);
        }
    }

    /// Writes back to replicas what others had; the part of the read is answered once all of them have it.
    pub fn repair(&mut self, who: Who, part: usize, lagging: u8, cells: &[(u32, Version)]) {
        self.counts.add(Count::Repairs, 1);
        let by_zombie = false;
        self.mutation(Owner::Repair(part), who, by_zombie, cells);
        let mutation = self.store.mutations.len() - 1;
        // Counted as if the other replicas had answered already.
        self.store.mutations[mutation].acknowledged = !lagging;
        let attempt = self.store.reads.attempt_of(part);
        for replica in (0..REPLICAS).filter(|replica| lagging & (1 << replica) != 0) {
            self.post(Message {
                mutation,
                replica,
                attempt,
            });
        }
    }

    /// One message arrives. Answers whether there was one.
    pub fn network(&mut self) -> bool {
        if self.store.net.is_empty() {
            return false;
        }
        let index = self.dice.below(self.store.net.len());
        let message = self.store.net.swap_remove(index);
        self.arrive(message);
        true
    }

    /// One message that was held up arrives, or is lost at last.
    pub fn late_message(&mut self) {
        if self.store.late.is_empty() {
            return;
        }
        let index = self.dice.below(self.store.late.len());
        let message = self.store.late[index];
        if self.store.down.is_some_and(|(replica, _)| replica == message.replica) {
            return;
        }
        self.store.late.swap_remove(index);
        if self.dice.chance(850) {
            self.arrive(message);
        }
    }

    fn arrive(&mut self, message: Message) {
        let Message {
            mutation,
            replica,
            attempt,
        } = message;
        self.apply(mutation, replica);
        let network = self.plan.network;
        if self.dice.chance(network.twice) {
            self.store.late.push(message);
        }
        if self.dice.chance(network.unanswered) {
            return;
        }
        let of = &mut self.store.mutations[mutation];
        let current = match of.owner {
            Owner::Request(request) => self.store.requests[request].attempt,
            Owner::Repair(part) => self.store.reads.attempt_of(part),
        };
        if of.done || attempt != current {
            return;
        }
        of.acknowledged |= 1 << replica;
        let enough = match of.owner {
            Owner::Repair(_) => REPLICAS as u32,
            Owner::Request(_) if self.tooth == Some(StoreTooth::QuorumWrite) => 1,
            Owner::Request(_) => 2,
        };
        if (of.acknowledged & 0b111).count_ones() < enough {
            return;
        }
        of.done = true;
        match of.owner {
            Owner::Repair(part) => self.part_done(part),
            Owner::Request(request) => {
                self.store.requests[request].open -= 1;
                if self.store.requests[request].open == 0 {
                    self.request_done(request);
                }
            }
        }
    }

    fn apply(&mut self, mutation: usize, replica: usize) {
        let of = &mut self.store.mutations[mutation];
        of.applied |= 1 << replica;
        let by_zombie = of.by_zombie;
        let mut lost = false;
        for write in of.writes.clone() {
            let (id, new) = self.store.writes[write];
            let old = self.store.replicas[replica][id as usize];
            if self.replaces(id, new, old) {
                self.store.replicas[replica][id as usize] = new;
            } else {
                lost |= new.timestamp < old.timestamp;
            }
        }
        if lost && by_zombie {
            self.counts.add(Count::ZombieWritesLost, 1);
        }
    }

    /// Whether a replica that has `old` takes `new`.
    pub fn replaces(&self, id: u32, new: Version, old: Version) -> bool {
        let cell = self.oracle.cells[id as usize];
        if self.tooth == Some(StoreTooth::FencingTimestamp) {
            let fenced = !matches!(
                cell,
                Cell::FirstDay { .. } | Cell::LastDay { .. } | Cell::AckedTo { .. }
            );
            if fenced {
                return new.sent > old.sent;
            }
        }
        self.oracle.values.replaces(cell, new, old)
    }

    fn request_done(&mut self, request: usize) {
        self.store.open.retain(|open| *open != request);
        let Request { who, asked, .. } = &mut self.store.requests[request];
        let who = *who;
        match std::mem::replace(asked, Asked::Nobody) {
            Asked::Write(write) => self.answer(who, Event::Written(write)),
            Asked::Alerts(write) => self.publish_alerts(who, write),
            Asked::Ledger => self.answer(who, Event::LedgerAdvanced),
            Asked::Nobody => {}
        }
    }

    /// A request took too long for whoever sent it: it is sent again.
    pub fn time_out(&mut self) {
        if self.store.open.is_empty() {
            return;
        }
        let index = self.dice.below(self.store.open.len());
        let request = self.store.open[index];
        // Whoever tries again waits longer each time.
        if self.store.requests[request].attempt > 3 && !self.store.net.is_empty() {
            return;
        }
        let mutations = self.store.requests[request].mutations.clone();
        let is_done = |mutation: &Mutation| mutation.applied.count_ones() >= 2;
        if self.store.mutations[mutations].iter().all(is_done) {
            self.counts.add(Count::RetriedThoughDone, 1);
        }
        self.note(self.store.requests[request].who, || {
            format!("request {request} timed out: sent again")
        });
        self.attempt(request);
    }

    /// All that is on its way is held up.
    pub fn congest(&mut self) {
        self.store.late.append(&mut self.store.net);
    }

    /// The process is gone: nobody waits for its requests, and its messages arrive now, later or never.
    pub fn orphan_requests(&mut self, who: Who) {
        let requests = &mut self.store.requests;
        self.store.open.retain(|request| {
            let is_mine = requests[*request].who == who;
            if is_mine {
                requests[*request].asked = Asked::Nobody;
            }
            !is_mine
        });
        let fate = self.dice.below(3);
        let mut index = 0;
        while index < self.store.net.len() {
            let message = self.store.net[index];
            if fate == 0 || self.store.mutations[message.mutation].who != who || self.dice.chance(300) {
                index += 1;
                continue;
            }
            self.store.net.swap_remove(index);
            if self.dice.chance(600) {
                self.store.late.push(message);
            }
        }
    }

    /// All that is still on its way arrives, or never does.
    pub fn settle_messages(&mut self) {
        self.store.down = None;
        let mut messages = std::mem::take(&mut self.store.net);
        messages.append(&mut self.store.late);
        while !messages.is_empty() {
            let message = messages.swap_remove(self.dice.below(messages.len()));
            if self.dice.chance(700) {
                self.apply(message.mutation, message.replica);
            }
        }
    }
}
