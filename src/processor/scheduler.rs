//! What is written next: sensors in the order in which they became ready, one write in flight each, so many in all.

use std::collections::{HashMap, HashSet, VecDeque};

use super::cache::Slot;
use crate::model::{DeadLetter, WriteId};

/// Batches form by themselves: while a sensor waits for its turn, or for its write to land, its records collect.
#[derive(Debug)]
pub struct Scheduler {
    ready: VecDeque<Slot>,
    in_flight: HashMap<WriteId, Slot>,
    in_flight_max: usize,
    dead_letters: VecDeque<DeadLetter>,
    pending_readings: usize,
}

impl Scheduler {
    pub fn new(in_flight_max: usize) -> Scheduler {
        Scheduler {
            ready: VecDeque::new(),
            in_flight: HashMap::with_capacity(in_flight_max),
            in_flight_max,
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
        if self.in_flight.len() >= self.in_flight_max {
            return None;
        }
        self.ready.pop_front()
    }

    pub fn sent(&mut self, id: WriteId, slot: Slot) {
        self.in_flight.insert(id, slot);
    }

    pub fn landed(&mut self, id: WriteId) -> Option<Slot> {
        self.in_flight.remove(&id)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes sensors out of the queue that are no more.
    pub fn forget(&mut self, slots: &HashSet<Slot>) {
        if !slots.is_empty() {
            self.ready.retain(|slot| !slots.contains(slot));
        }
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
