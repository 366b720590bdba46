//! The sensors of the assigned partitions, in bounded memory.

use std::collections::{HashMap, HashSet};

use super::sensor::Sensor;
use crate::model::SensorId;

/// Where a sensor lies; stays the same until it is evicted or freed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot(usize);

/// What a sensor costs: itself, its place in map and list, and the usual capacity of its buffers.
const SENSOR_BYTES: usize = 640;

/// Sensors by partition and id. A sensor may be evicted only while nothing of it is pending or in flight; what is lost is
/// only when it was last told of in the directory.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Option<Sensor>>,
    free: Vec<Slot>,
    by_key: HashMap<(i32, SensorId), Slot>,
    sensors_max: usize,
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
    pub fn new(bytes: usize) -> Cache {
        let sensors_max = (bytes / SENSOR_BYTES).max(1);
        Cache {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            sensors_max,
            hand: 0,
        }
    }

    /// The sensor's slot; a new sensor takes the place of one that is idle once the bound is reached. Where all are busy
    /// the cache grows beyond its bound: what is pending is bounded elsewhere.
    pub fn entry(&mut self, partition: i32, id: SensorId) -> Slot {
        if let Some(slot) = self.by_key.get(&(partition, id)) {
            return *slot;
        }
        if self.by_key.len() >= self.sensors_max {
            self.evict_one();
        }
        let sensor = Some(Sensor::new(partition, id));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot.0] = sensor;
                slot
            }
            None => {
                self.slots.push(sensor);
                Slot(self.slots.len() - 1)
            }
        };
        self.by_key.insert((partition, id), slot);
        slot
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
            self.free.push(slot);
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
                self.free.push(slot);
            }
        }
        dropped
    }

    /// Two rounds of the clock at most: the first may find all of them touched.
    fn evict_one(&mut self) {
        for _ in 0..2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(sensor) = self.slots[self.hand].as_mut() else {
                continue;
            };
            if sensor.is_idle() && !sensor.is_abandoned() && !sensor.take_touched() {
                self.free(Slot(self.hand));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> SensorId {
        SensorId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn the_cache_stays_within_its_bound_and_finds_what_it_holds() {
        let mut cache = Cache::new(10 * SENSOR_BYTES);
        for n in 0..1000 {
            let slot = cache.entry(0, id(n));
            assert_eq!(cache.entry(0, id(n)), slot);
            assert_eq!(cache.get_mut(slot).key(), (0, id(n)));
        }
        assert_eq!((cache.by_key.len(), cache.slots.len()), (10, 10));
    }

    #[test]
    fn a_dropped_partition_takes_its_sensors_and_no_others() {
        let mut cache = Cache::new(10 * SENSOR_BYTES);
        let kept = cache.entry(1, id(1));
        cache.entry(0, id(1));
        cache.entry(0, id(2));
        assert_eq!(cache.drop_partition(0).slots.len(), 2);
        assert_eq!(cache.entry(1, id(1)), kept);
        assert_eq!(cache.by_key.len(), 1);
    }
}
