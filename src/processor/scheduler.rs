//! What is written next: sensors in the order in which they became ready, one write in flight each, so many in all.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use foldhash::fast::RandomState;

use super::Map;
use super::cache::Slot;
use crate::model::{DeadLetter, LoadId, WriteId};

/// Batches form by themselves: while a sensor waits for its turn, or for its write to land, its records collect.
#[derive(Debug)]
pub struct Scheduler {
    ready: VecDeque<Slot>,
    /// With the readings of each.
    in_flight: Map<WriteId, (Slot, usize)>,
    in_flight_max: usize,
    readings_in_flight: usize,
    readings_in_flight_max: usize,
    to_load: VecDeque<Slot>,
    /// Without a slot: nobody waits for it any more.
    loads: Map<LoadId, Option<Slot>>,
    loads_max: usize,
    /// Sensors whose state is to be written by then though no more records come; the earliest comes first.
    deferred: BinaryHeap<Reverse<(i64, Slot)>>,
    /// Sensors that were just written, with the time from which they may be again, in the order of these.
    resting: VecDeque<(i64, Slot)>,
    dead_letters: VecDeque<DeadLetter>,
    pending_readings: usize,
}

impl Scheduler {
    pub fn new(in_flight_max: usize, readings_in_flight_max: usize, loads_max: usize) -> Scheduler {
        Scheduler {
            ready: VecDeque::new(),
            in_flight: Map::with_capacity_and_hasher(in_flight_max, RandomState::default()),
            in_flight_max,
            readings_in_flight: 0,
            readings_in_flight_max,
            to_load: VecDeque::new(),
            loads: Map::with_capacity_and_hasher(loads_max, RandomState::default()),
            loads_max,
            deferred: BinaryHeap::new(),
            resting: VecDeque::new(),
            dead_letters: VecDeque::new(),
            pending_readings: 0,
        }
    }

    /// A sensor has records and no write in flight. The sensor itself sees to it that it is queued once.
    pub fn ready(&mut self, slot: Slot) {
        self.ready.push_back(slot);
    }

    /// The sensor whose turn it is, while writes are free.
    pub fn next(&mut self) -> Option<Slot> {
        if self.in_flight.len() >= self.in_flight_max || self.readings_in_flight >= self.readings_in_flight_max {
            return None;
        }
        self.ready.pop_front()
    }

    pub fn sent(&mut self, id: WriteId, slot: Slot, readings: usize) {
        self.in_flight.insert(id, (slot, readings));
        self.readings_in_flight += readings;
    }

    pub fn landed(&mut self, id: WriteId) -> Option<Slot> {
        let (slot, readings) = self.in_flight.remove(&id)?;
        self.readings_in_flight -= readings;
        Some(slot)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Nothing is in flight and nobody waits for a turn.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.ready.is_empty()
    }

    /// Takes sensors out of the queue that are no more.
    pub fn forget(&mut self, slots: &HashSet<Slot>) {
        if !slots.is_empty() {
            self.ready.retain(|slot| !slots.contains(slot));
            self.to_load.retain(|slot| !slots.contains(slot));
            self.resting.retain(|(_, slot)| !slots.contains(slot));
            self.deferred.retain(|Reverse((_, slot))| !slots.contains(slot));
            let waiting = self.loads.values_mut();
            waiting
                .filter(|slot| slot.is_some_and(|slot| slots.contains(&slot)))
                .for_each(|slot| *slot = None);
        }
    }

    /// A sensor needs cells. The sensor itself sees to it that it is queued once.
    pub fn needs_load(&mut self, slot: Slot) {
        self.to_load.push_back(slot);
    }

    /// The sensor whose turn it is to load, while loads are free.
    pub fn next_load(&mut self) -> Option<Slot> {
        if self.loads.len() >= self.loads_max {
            return None;
        }
        self.to_load.pop_front()
    }

    pub fn load_sent(&mut self, id: LoadId, slot: Slot) {
        self.loads.insert(id, Some(slot));
    }

    /// Who waits for the load.
    pub fn loaded(&mut self, id: LoadId) -> Option<Slot> {
        self.loads.remove(&id).flatten()
    }

    /// A sensor is to be looked at again at `at_ms`.
    pub fn defer(&mut self, at_ms: i64, slot: Slot) {
        self.deferred.push(Reverse((at_ms, slot)));
    }

    /// Sensors that are to be looked at again.
    pub fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// The next deferred sensor whose time has come.
    pub fn next_due(&mut self, now_ms: i64) -> Option<Slot> {
        let next = self.deferred.peek_mut()?;
        let Reverse((at_ms, slot)) = *next;
        (at_ms <= now_ms).then(|| {
            PeekMut::pop(next);
            slot
        })
    }

    /// A sensor rests until `until_ms`; times come in ascending order.
    pub fn rest(&mut self, until_ms: i64, slot: Slot) {
        self.resting.push_back((until_ms, slot));
    }

    /// The next sensor that has rested.
    pub fn next_rested(&mut self, now_ms: i64) -> Option<Slot> {
        let is_over = self.resting.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms);
        is_over
            .then(|| self.resting.pop_front())
            .flatten()
            .map(|(_, slot)| slot)
    }

    pub fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters.push_back(letter);
    }

    /// Dead letters to send now: their bytes are bounded where records are taken in.
    pub fn dead_letters(&mut self) -> impl Iterator<Item = DeadLetter> + '_ {
        self.dead_letters.drain(..)
    }

    pub fn drop_dead_letters(&mut self, partition: i32) {
        self.dead_letters.retain(|letter| letter.partition != partition);
    }

    /// Readings that are not acknowledged, waiting or in flight.
    pub fn pending_readings(&self) -> usize {
        self.pending_readings
    }

    pub fn add_pending(&mut self, readings: usize) {
        self.pending_readings += readings;
    }

    pub fn drop_pending(&mut self, readings: usize) {
        self.pending_readings -= readings;
    }
}
