//! The sensors of the assigned partitions, in bounded memory.

use std::collections::HashSet;
use std::sync::Arc;

use super::Map;
use super::sensor::Sensor;
use crate::model::{SensorId, Source};

/// Where a sensor lies; stays the same until it is evicted or freed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(usize);

/// What a sensor costs at least: itself, and its place in list and map (which are up to half empty).
const SENSOR_BYTES: usize = size_of::<Option<Sensor>>() * 3 / 2 + (size_of::<((i32, SensorId), Slot)>() + 1) * 2;

/// What a byte costs in memory, with what the allocator loses between pieces that come and go: measured with a million
/// sensors that make room for each other.
const BYTES_IN_MEMORY: (usize, usize) = (4, 3);

/// Sensors that one eviction looks at.
const CLOCK_STEPS: usize = 64;

/// Sensors by partition and id. A sensor may be evicted only while nothing of it is pending or in flight; its cells are
/// loaded again when its next record comes.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Option<Sensor>>,
    /// What each slot's sensor was last counted as, bytes.
    counted: Vec<usize>,
    free: Vec<Slot>,
    by_key: Map<(i32, SensorId), Slot>,
    bytes: usize,
    bytes_max: usize,
    evicted: u64,
    /// The clock hand: evicts what was not used since it last came by.
    hand: usize,
}

/// What went with a partition.
#[derive(Debug, Default)]
pub struct Dropped {
    pub slots: HashSet<Slot>,
    pub pending_readings: usize,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache {
            slots: Vec::new(),
            counted: Vec::new(),
            free: Vec::new(),
            by_key: Map::default(),
            bytes: 0,
            bytes_max,
            evicted: 0,
            hand: 0,
        }
    }

    /// The sensor's slot; where there is none yet, idle sensors make room. Where all are busy the cache grows beyond its
    /// bound: what is pending is bounded elsewhere.
    pub fn entry(&mut self, partition: i32, id: SensorId, source: &Arc<Source>) -> Slot {
        if let Some(slot) = self.by_key.get(&(partition, id)) {
            return *slot;
        }
        while self.bytes + SENSOR_BYTES > self.bytes_max && self.evict_one() {}
        let sensor = Some(Sensor::new(partition, id, source.clone()));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot.0] = sensor;
                slot
            }
            None => {
                self.slots.push(sensor);
                self.counted.push(0);
                Slot(self.slots.len() - 1)
            }
        };
        self.counted[slot.0] = SENSOR_BYTES;
        self.bytes += SENSOR_BYTES;
        self.by_key.insert((partition, id), slot);
        slot
    }

    /// Counts again what a sensor takes, after its cells have changed.
    pub fn count(&mut self, slot: Slot) {
        let Some(sensor) = &self.slots[slot.0] else { return };
        let bytes = SENSOR_BYTES + sensor.size_bytes() * BYTES_IN_MEMORY.0 / BYTES_IN_MEMORY.1;
        let counted = std::mem::replace(&mut self.counted[slot.0], bytes);
        self.bytes = self.bytes - counted + bytes;
    }

    /// Whether it takes more than it should, because too many sensors wait for something.
    pub fn is_over_bound(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Sensors that had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// All sensors whose partitions are assigned.
    pub fn slots(&self) -> Vec<Slot> {
        let known = |slot: &Slot| self.slots[slot.0].as_ref().is_some_and(|sensor| !sensor.is_abandoned());
        (0..self.slots.len()).map(Slot).filter(known).collect()
    }

    /// The sensor of a slot that was handed out and not freed since.
    pub fn get_mut(&mut self, slot: Slot) -> &mut Sensor {
        self.slots[slot.0].as_mut().expect("a slot in use holds a sensor")
    }

    /// Gives a slot back whose sensor is known to nobody any more.
    pub fn free(&mut self, slot: Slot) {
        if let Some(sensor) = self.slots[slot.0].take() {
            if self.by_key.get(&sensor.key()) == Some(&slot) {
                self.by_key.remove(&sensor.key());
            }
            self.release(slot);
        }
    }

    /// Forgets the sensors of a partition. One with a write in flight keeps its slot, unknown by key, until that lands.
    pub fn drop_partition(&mut self, partition: i32) -> Dropped {
        let mut dropped = Dropped::default();
        for index in 0..self.slots.len() {
            let Some(sensor) = self.slots[index]
                .as_mut()
                .filter(|sensor| sensor.partition() == partition)
            else {
                continue;
            };
            if sensor.is_abandoned() {
                continue;
            }
            let slot = Slot(index);
            dropped.slots.insert(slot);
            dropped.pending_readings += sensor.abandon();
            let (key, in_flight) = (sensor.key(), sensor.in_flight());
            self.by_key.remove(&key);
            if !in_flight {
                self.slots[index] = None;
                self.release(slot);
            }
        }
        dropped
    }

    fn release(&mut self, slot: Slot) {
        self.bytes -= std::mem::take(&mut self.counted[slot.0]);
        self.free.push(slot);
    }

    /// The clock goes on by a few sensors at most, since many may be touched or busy: over time it comes by all of them.
    /// Answers whether there was one to evict.
    fn evict_one(&mut self) -> bool {
        for _ in 0..CLOCK_STEPS.min(2 * self.slots.len()) {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(sensor) = self.slots[self.hand].as_mut() else {
                continue;
            };
            if sensor.is_idle() && !sensor.is_abandoned() && !sensor.take_touched() {
                self.free(Slot(self.hand));
                self.evicted += 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    fn id(n: u128) -> SensorId {
        SensorId(uuid::Uuid::from_u128(n))
    }

    fn source() -> Arc<Source> {
        Arc::new(Source {
            topic: Arc::from("t"),
            topic_id: TopicId::UNKNOWN,
            partition: 0,
        })
    }

    #[test]
    fn the_cache_stays_within_its_bound_and_finds_what_it_holds() {
        let mut cache = Cache::new(10 * SENSOR_BYTES);
        for n in 0..1000 {
            let slot = cache.entry(0, id(n), &source());
            assert_eq!(cache.entry(0, id(n), &source()), slot);
            assert_eq!(cache.get_mut(slot).key(), (0, id(n)));
        }
        assert_eq!((cache.by_key.len(), cache.slots.len()), (10, 10));
        assert_eq!(
            (cache.bytes, cache.evicted(), cache.is_over_bound()),
            (10 * SENSOR_BYTES, 990, false)
        );
    }

    #[test]
    fn a_dropped_partition_takes_its_sensors_and_no_others() {
        let mut cache = Cache::new(10 * SENSOR_BYTES);
        let kept = cache.entry(1, id(1), &source());
        cache.entry(0, id(1), &source());
        cache.entry(0, id(2), &source());
        assert_eq!(cache.drop_partition(0).slots.len(), 2);
        assert_eq!(cache.entry(1, id(1), &source()), kept);
        assert_eq!((cache.by_key.len(), cache.bytes), (1, SENSOR_BYTES));
    }
}
